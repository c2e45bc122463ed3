/*
 * The analysis of the deepest stack, on code small enough to count by hand. Disassembly as objdump writes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/stack.h"

static FILE *text(const char *s)
{
    FILE *in = fmemopen((void *)(uintptr_t)s, strlen(s), "r");

    assert_non_null(in);
    return in;
}

static struct stack *load(const char *rules, const char *code)
{
    struct stack *s = stack_open();
    FILE *in = text(rules);

    assert_int_equal(stack_rules(s, in), 0);
    fclose(in);
    in = text(code);
    assert_int_equal(stack_read(s, "a", in), 0);
    fclose(in);
    return s;
}

/* Bytes of `main` of this code. */
static long depth(const char *rules, const char *code)
{
    struct stack *s = load(rules, code);
    const long n = stack_function(s, "a", "main");

    stack_close(s);
    return n;
}

#define LEAF "00000100 <leaf>:\n 100:\tpush\t{r4, r5, r6, lr}\n 102:\tpop\t{r4, r5, r6, pc}\n\n"

static void test_frames_and_calls(void **state)
{
    (void)state;
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tbx\tlr\n"), 0);
    /* 8 and 4 of its own, 16 below the call */
    assert_int_equal(depth("#\n", LEAF "00000200 <main>:\n 200:\tpush\t{r4, lr}\n 202:\tsub\tsp, #4\n"
                                       " 204:\tbl\t100 <leaf>\n 208:\tadd\tsp, #4\n 20a:\tpop\t{r4, pc}\n"),
                     28);
    /* the depth at the call counts, not the deepest of the function */
    assert_int_equal(depth("#\n", LEAF "00000200 <main>:\n 200:\tsub\tsp, #20\n 202:\tadd\tsp, #20\n"
                                       " 204:\tb.w\t100 <leaf>\n"),
                     20);
    assert_int_equal(depth("#\n", LEAF "00000200 <main>:\n 200:\tpush\t{lr}\n 202:\tsub\tsp, #4\n 204:\tadd\tsp, #4\n"
                                       " 206:\tpop\t{lr}\n 208:\tb.n\t100 <leaf>\n"),
                     16);
}

static void test_two_returns(void **state)
{
    (void)state;
    /* The first return does not lift what comes behind it. */
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tpush\t{r4, lr}\n 2:\tcmp\tr0, #0\n 4:\tbne.n\t8 <main+0x8>\n"
                                  " 6:\tpop\t{r4, pc}\n 8:\tsub\tsp, #8\n a:\tadd\tsp, #8\n c:\tb.n\t6 <main+0x6>\n"),
                     16);
}

static void test_large_frames(void **state)
{
    (void)state;
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tpush\t{r4, lr}\n 2:\tldr\tr4, [pc, #8]\t@ (c <main+0xc>)\n"
                                  " 4:\tadd\tsp, r4\n 6:\tmovs\tr3, #128\n 8:\tlsls\tr3, r3, #2\n a:\tadd\tsp, r3\n"
                                  " b:\tpop\t{r4, pc}\n c:\t.word\t0xfffffe00\n"),
                     520);
    /* Register with a value that is not known. */
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tpush\t{r4, lr}\n 2:\tadd\tsp, r4\n 4:\tpop\t{r4, pc}\n"), -1);
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tmov\tsp, r7\n 2:\tbx\tlr\n"), -1);
    assert_int_equal(depth("frame main 96\n", "00000000 <main>:\n 0:\tmov\tsp, r7\n 2:\tbx\tlr\n"), 96);
}

static void test_wide_instructions(void **state)
{
    (void)state;
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tstmdb\tsp!, {r4, r5, r6, r7, r8, lr}\n"
                                  " 4:\tsub.w\tsp, sp, #1024\t@ 0x400\n 8:\tadd.w\tsp, sp, #1024\t@ 0x400\n"
                                  " c:\tldmia.w\tsp!, {r4, r5, r6, r7, r8, pc}\n"),
                     1048);
    assert_int_equal(depth("#\n", LEAF "00000200 <main>:\n 200:\tstr.w\tlr, [sp, #-4]!\n 204:\tbl\t100 <leaf>\n"
                                       " 208:\tldr.w\tpc, [sp], #4\n"),
                     20);
    /* What happens on a condition may not have happened. */
    assert_int_equal(depth("#\n",
                           LEAF "00000200 <main>:\n 200:\tpush\t{r4, lr}\n 202:\tit\teq\n 204:\tpopeq\t{r4, pc}\n"
                                " 206:\tbl\t100 <leaf>\n 20a:\tpop\t{r4, pc}\n"),
                     24);
    /* Behind a table of jumps. */
    assert_int_equal(depth("#\n", LEAF "00000200 <main>:\n 200:\tpush\t{r4, lr}\n 202:\ttbb\t[pc, r0]\n"
                                       " 206:\t.short\t0x0201\n 208:\tbl\t100 <leaf>\n 20c:\tpop\t{r4, pc}\n"),
                     24);
}

static void test_recursion(void **state)
{
    static const char code[] = "00000040 <main>:\n 40:\tpush\t{r4, lr}\n 42:\tbl\t40 <main>\n 46:\tpop\t{r4, pc}\n";
    static const char two[] = "00000040 <main>:\n 40:\tpush\t{r4, lr}\n 42:\tbl\t100 <other>\n 46:\tpop\t{r4, pc}\n"
                              "00000100 <other>:\n 100:\tpush\t{r4, lr}\n 102:\tbl\t40 <main>\n 106:\tpop\t{r4, pc}\n";

    (void)state;
    assert_int_equal(depth("#\n", code), -1);
    assert_int_equal(depth("recursion main 5\n", code), 40);
    assert_int_equal(depth("recursion main 5\n", two), -1);
}

static void test_calls_through_pointers(void **state)
{
    char path[] = "/tmp/test_stack.XXXXXX", code[512], plain[512];
    const int fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");

    (void)state;
    assert_non_null(out);
    fputs("int f(struct s *s)\n{\n    return s->read(s->ctx);\n}\n", out);
    fclose(out);
    snprintf(code, sizeof code,
             LEAF "00000200 <main>:\nmain():\n%s:3 (discriminator 1)\n 200:\tpush\t{r4, lr}\n 202:\tblx\tr3\n"
                  " 204:\tpop\t{r4, pc}\n",
             path);
    snprintf(plain, sizeof plain, LEAF "00000200 <main>:\nmain():\n%s:3\n 200:\tbx\tr3\n", path);
    assert_int_equal(depth("#\n", code), -1);
    assert_int_equal(depth("call s->write( leaf\n", code), -1);
    assert_int_equal(depth("call s->read( leaf\n", code), 24);
    assert_int_equal(depth("call s->read( -\n", code), 8);
    assert_int_equal(depth("call s->read( absent\n", code), -1);
    assert_int_equal(depth("call s->read( leaf absent?\n", code), 24);
    assert_int_equal(depth("call s->read( b:leaf\n", code), -1);
    assert_int_equal(depth("call s->read( a:leaf\n", code), 24);
    /* A jump of its own is a call unless somebody says that it stays. */
    assert_int_equal(depth("call s->read( leaf\n", plain), 16);
    assert_int_equal(depth("jump s->read(\n", plain), 0);
    assert_int_equal(depth("jump s->read(\n", code), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(depth("call s->read( leaf\n", code), -1);
}

static void test_interrupts(void **state)
{
    struct stack *s =
        load("root a main\ninterrupt a 0 leaf\ninterrupt a 2 leaf\ninterrupt a 2 small\n",
             LEAF "00000200 <main>:\n 200:\tpush\t{lr}\n 202:\tpop\t{pc}\n\n00000300 <small>:\n 300:\tbx\tlr\n");

    (void)state;
    /* main, and two levels of 36 and the handler */
    assert_int_equal(stack_deepest(s, "a", NULL), 4 + 2 * (36 + 16));
    assert_int_equal(stack_deepest(s, "b", NULL), -1);
    stack_close(s);
}

static void test_bad_input(void **state)
{
    struct stack *s = stack_open();
    static const char *const rules[] = {"call x\n", "leaf 3\n", "recursion a\n", "root a\n", "frame a 3 4\n"};

    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        FILE *in = text(rules[i]);
        assert_int_equal(stack_rules(s, in), -1);
        fclose(in);
    }
    FILE *in = text("nothing\n");

    assert_int_equal(stack_read(s, "a", in), -1);
    fclose(in);
    stack_close(s);
    /* A call to where nothing is. */
    assert_int_equal(depth("#\n", "00000000 <main>:\n 0:\tbl\t4000 <far>\n 4:\tbx\tlr\n"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_and_calls), cmocka_unit_test(test_two_returns),
        cmocka_unit_test(test_large_frames),     cmocka_unit_test(test_wide_instructions),
        cmocka_unit_test(test_recursion),        cmocka_unit_test(test_calls_through_pointers),
        cmocka_unit_test(test_interrupts),       cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
