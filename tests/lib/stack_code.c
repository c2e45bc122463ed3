/*
 * Following one function: every path from its entry, with the stack pointer's distance from where the caller left it
 * and the registers whose values are constants (large frames are subtracted through one).
 *
 * Where two paths meet at different depths the greater one counts. Instructions that no path reaches lie behind a jump
 * table or a call that does not return; they are taken up at the function's greatest depth so far.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "stack.h"
#include "stack_internal.h"

enum { SP = 13, LR = 14, PC = 15, NO_REGISTER = 16, DEPTH_MAX = 65536 };

/* --- reading operands --------------------------------------------------------------------------------------------- */

/* Number of the register that text begins with. */
static unsigned reg(const char *text)
{
    static const char *const names[] = {"sb", "sl", "fp", "ip", "sp", "lr", "pc"};

    for (unsigned i = 0; i < 7; i++)
        if (strncmp(text, names[i], 2) == 0 && !isalnum((unsigned char)text[2]))
            return 9 + i;
    if (text[0] == 'r' && isdigit((unsigned char)text[1])) {
        const unsigned n = (unsigned)strtoul(text + 1, NULL, 10);
        return n < 16 ? n : NO_REGISTER;
    }
    return NO_REGISTER;
}

/* The nth operand, counted from 0; commas inside brackets and braces do not separate. */
static const char *operand(const char *args, unsigned n)
{
    int nested = 0;

    for (; *args != 0 && n > 0; args++) {
        nested += (*args == '[' || *args == '{') - (*args == ']' || *args == '}');
        if (*args == ',' && nested == 0)
            n--;
    }
    while (*args == ' ')
        args++;
    return args;
}

/* Registers of "{r4, r5-r7, lr}", as bits. */
static uint32_t reg_list(const char *text)
{
    uint32_t bits = 0;
    unsigned from = NO_REGISTER;

    for (text = strchr(text, '{'); text != NULL && *text != '}' && *text != 0; text++) {
        const unsigned r = reg(text + 1);
        if ((*text == '{' || *text == ',' || *text == ' ' || *text == '-') && r != NO_REGISTER) {
            for (unsigned i = *text == '-' && from != NO_REGISTER ? from : r; i <= r; i++)
                bits |= 1u << i;
            from = r;
        }
    }
    return bits;
}

static bool immediate(const char *text, uint32_t *value)
{
    if (*text != '#')
        return false;
    *value = (uint32_t)strtol(text + 1, NULL, 0);
    return true;
}

static const struct stack_insn *insn_at(const struct stack_function *f, uint32_t address)
{
    size_t low = 0, high = f->insns;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (f->insn[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->insns && f->insn[low].address == address ? &f->insn[low] : NULL;
}

/* "ldr rN, [pc, #n] @ (address <name+offset>)": the word there, if it is this function's. */
static bool literal(const struct stack_function *f, const struct stack_insn *i, uint32_t *value)
{
    const char *at = strstr(i->args, "[pc");
    const char *target = at != NULL ? strchr(at, '(') : NULL;

    if (target == NULL)
        return false;
    const struct stack_insn *word = insn_at(f, (uint32_t)strtoul(target + 1, NULL, 16));
    if (word == NULL || word->op[0] != 0)
        return false;
    *value = (uint32_t)strtoul(word->args, NULL, 0);
    return true;
}

/* --- one instruction ---------------------------------------------------------------------------------------------- */

struct state {
    long depth;
    uint32_t value[16];
    uint16_t known;
};

static bool is_condition(const char *text)
{
    static const char all[] = "eq ne cs cc mi pl vs vc hi ls ge lt gt le hs lo ";
    const char *at = strlen(text) == 2 ? strstr(all, text) : NULL;

    return at != NULL && (at - all) % 3 == 0;
}

/* The mnemonic is `base`, or base with a condition: then it may also not happen. */
static bool is_op(const char *op, const char *base, bool *is_conditional)
{
    const size_t n = strlen(base);

    if (strncmp(op, base, n) != 0)
        return false;
    *is_conditional = is_condition(op + n);
    return op[n] == 0 || *is_conditional;
}

static bool is_any(const char *op, const char *const bases[], bool *is_conditional)
{
    for (; *bases != NULL; bases++)
        if (is_op(op, *bases, is_conditional))
            return true;
    return false;
}

static unsigned bits_set(uint32_t bits)
{
    return (unsigned)__builtin_popcount(bits);
}

static void forget(struct state *s, const char *args)
{
    for (const char *p = args; *p != 0; p++)
        if ((p == args || !isalnum((unsigned char)p[-1])) && reg(p) < 16)
            s->known &= (uint16_t) ~(1u << reg(p));
}

/* Constants that reach the stack pointer in practice: loaded from a literal, or moved and then shifted or negated. */
static void track(const struct stack_function *f, const struct stack_insn *i, struct state *s)
{
    const unsigned d = reg(i->args);
    const char *last = operand(i->args, 2);
    unsigned from = reg(operand(i->args, 1));
    uint32_t n = 0, value = 0;
    bool is_known = false, is_conditional;

    if (*last == 0) { /* "lsls r3, #2" */
        last = operand(i->args, 1);
        from = d;
    }
    const bool has_from = from < 16 && (s->known >> from & 1) != 0;
    if (is_op(i->op, "ldr", &is_conditional) && !is_conditional) {
        is_known = literal(f, i, &value);
    } else if (strcmp(i->op, "movs") == 0 || strcmp(i->op, "mov") == 0 || strcmp(i->op, "movw") == 0) {
        is_known = immediate(operand(i->args, 1), &value);
    } else if (has_from && immediate(last, &n)) {
        is_known = true;
        if (strcmp(i->op, "lsls") == 0 && n < 32)
            value = s->value[from] << n;
        else if (strcmp(i->op, "adds") == 0)
            value = s->value[from] + n;
        else if (strcmp(i->op, "subs") == 0)
            value = s->value[from] - n;
        else
            is_known = false;
    } else if (strcmp(i->op, "negs") == 0) {
        from = reg(operand(i->args, 1));
        is_known = from < 16 && (s->known >> from & 1) != 0;
        value = is_known ? 0u - s->value[from] : 0;
    }
    forget(s, i->args);
    if (is_known && d < 16) {
        s->value[d] = value;
        s->known |= (uint16_t)(1u << d);
    }
}

/* The stack pointer is the destination of an addition. False: by an amount that is not known. */
static bool adjust(const struct stack_insn *i, struct state *s, bool is_subtraction)
{
    const bool is_three = *operand(i->args, 2) != 0;
    const char *amount = operand(i->args, is_three ? 2 : 1);
    const unsigned r = reg(amount);
    uint32_t n;

    if (is_three && reg(operand(i->args, 1)) != SP)
        return false;
    if (!immediate(amount, &n)) {
        if (r >= 16 || (s->known >> r & 1) == 0)
            return false;
        n = s->value[r];
    }
    s->depth += is_subtraction ? (long)(int32_t)n : -(long)(int32_t)n;
    return true;
}

/* What an instruction does to the stack pointer. 0, or -1: it cannot be told. */
static int move_stack(const struct stack_function *f, const struct stack_insn *i, struct state *s)
{
    static const char *const pushes[] = {"push", "stmdb", "stmfd", NULL};
    static const char *const pops[] = {"pop", "ldmia", "ldmfd", "ldm", NULL};
    static const char *const additions[] = {"add", "addw", "adds", NULL};
    static const char *const subtractions[] = {"sub", "subw", "subs", NULL};
    const bool is_on_stack = i->op[0] == 'p' || (reg(i->args) == SP && strncmp(i->args, "sp!", 3) == 0);
    const long before = s->depth;
    bool is_conditional = false;
    uint32_t n;

    if (i->op[0] == 'v' && (strstr(i->op, "push") || strstr(i->op, "pop") || strstr(i->args, "sp!")))
        return -1; /* no part of this project has a floating point unit */
    if (is_on_stack && is_any(i->op, pushes, &is_conditional)) {
        s->depth += 4 * (long)bits_set(reg_list(i->args));
    } else if (is_on_stack && is_any(i->op, pops, &is_conditional)) {
        s->depth -= 4 * (long)bits_set(reg_list(i->args));
        forget(s, i->args);
    } else if (reg(i->args) == SP && is_any(i->op, additions, &is_conditional)) {
        if (!adjust(i, s, false))
            return -1;
    } else if (reg(i->args) == SP && is_any(i->op, subtractions, &is_conditional)) {
        if (!adjust(i, s, true))
            return -1;
    } else if (strstr(i->args, "[sp, #") != NULL && strstr(i->args, "]!") != NULL) {
        if (!immediate(strstr(i->args, "[sp, #") + 5, &n))
            return -1;
        s->depth -= (long)(int32_t)n;
        forget(s, i->args);
    } else if (strstr(i->args, "[sp], #") != NULL) {
        if (!immediate(strstr(i->args, "[sp], #") + 6, &n))
            return -1;
        s->depth -= (long)(int32_t)n;
        forget(s, i->args);
    } else if (reg(i->args) == SP && strncmp(i->op, "str", 3) != 0 && strncmp(i->op, "cmp", 3) != 0 &&
               strncmp(i->op, "stm", 3) != 0) {
        return -1; /* mov sp, r7 and the like */
    } else if (strncmp(i->op, "msr", 3) == 0 && strstr(i->args, "SP") != NULL) {
        s->depth = 0; /* a stack of its own begins */
    } else {
        track(f, i, s);
    }
    if (is_conditional && s->depth < before)
        s->depth = before; /* it may not have happened */
    return 0;
}

/* --- all paths ---------------------------------------------------------------------------------------------------- */

struct walk {
    struct stack_function *f;
    size_t *todo; /* indexes of instructions whose state changed */
    size_t count;
};

/* A path comes to instruction `at` in this state. */
static void reach(struct walk *w, size_t at, const struct state *s)
{
    struct stack_insn *i = &w->f->insn[at];
    bool is_new = i->depth < 0;

    if (i->op[0] == 0) /* behind a call that does not return */
        return;
    if (is_new) {
        i->depth = s->depth;
        i->known = s->known;
        memcpy(i->value, s->value, sizeof i->value);
    } else {
        uint16_t known = i->known & s->known;
        for (unsigned r = 0; r < 16; r++)
            if (i->value[r] != s->value[r])
                known &= (uint16_t) ~(1u << r);
        is_new = s->depth > i->depth || known != i->known;
        i->known = known;
        i->depth = s->depth > i->depth ? s->depth : i->depth;
    }
    if (!is_new)
        return;
    for (size_t k = 0; k < w->count; k++)
        if (w->todo[k] == at)
            return;
    w->todo[w->count++] = at;
}

static struct stack_call *add_call(struct stack_function *f, const struct stack_insn *i, uint32_t target, long depth)
{
    for (size_t k = 0; k < f->calls; k++)
        if (f->call[k].at == i->address) {
            f->call[k].depth = depth > f->call[k].depth ? depth : f->call[k].depth;
            return &f->call[k];
        }
    struct stack_call *all = realloc(f->call, (f->calls + 1) * sizeof *all);
    if (all == NULL)
        abort();
    f->call = all;
    all[f->calls] = (struct stack_call){target, depth, i->file, i->line, i->address, false};
    return &all[f->calls++];
}

/* Whether "bx rN" returns: rN is lr, or was popped, or moved from lr just before. */
static bool is_return(const struct stack_function *f, size_t at)
{
    const unsigned r = reg(f->insn[at].args);

    if (r == LR)
        return true;
    for (size_t k = at; k-- > 0 && at - k < 4;) {
        const struct stack_insn *i = &f->insn[k];
        if (strncmp(i->op, "pop", 3) == 0 && (reg_list(i->args) >> r & 1) != 0)
            return true;
        if (strcmp(i->op, "mov") == 0 && reg(i->args) == r && reg(operand(i->args, 1)) == LR)
            return true;
    }
    return false;
}

/* Whether "ldr pc, ..." takes its word from a table of jumps behind it: relative to pc, or to what was just set to that. */
static bool is_table_jump(const struct stack_function *f, size_t at)
{
    const char *base = strchr(f->insn[at].args, '[');
    const struct stack_insn *before = at > 0 ? &f->insn[at - 1] : NULL;

    if (base == NULL || strstr(base, "lsl #2]") == NULL)
        return false;
    return reg(base + 1) == PC || (before != NULL && strncmp(before->op, "add", 3) == 0 &&
                                   reg(before->args) == reg(base + 1) && reg(operand(before->args, 1)) == PC);
}

/* Where a path goes on after instruction `at`, in state s. 0, or -1. */
static int go_on(struct walk *w, size_t at, struct state *s)
{
    static const char *const calls[] = {"bl", "blx", NULL};
    static const char *const branches[] = {"b", "cbz", "cbnz", NULL};
    struct stack_function *f = w->f;
    const struct stack_insn *i = &f->insn[at];
    bool is_conditional = false, ends = false;

    if (is_any(i->op, calls, &is_conditional)) {
        const uint32_t address = reg(i->args) == NO_REGISTER ? (uint32_t)strtoul(i->args, NULL, 16) : 0;
        const struct stack_insn *target = address != f->address ? insn_at(f, address) : NULL;
        if (target != NULL) { /* not a call: the far jump of a core whose branches reach 2 KB */
            reach(w, (size_t)(target - f->insn), s);
            return 0;
        }
        add_call(f, i, address, s->depth);
        s->known &= 0x0FF0; /* the callee keeps r4 to r11 */
    } else if (is_any(i->op, branches, &is_conditional)) {
        const char *to = operand(i->args, i->op[0] == 'c' ? 1 : 0);
        const uint32_t address = (uint32_t)strtoul(to, NULL, 16);
        const struct stack_insn *target = insn_at(f, address);
        if (target != NULL)
            reach(w, (size_t)(target - f->insn), s);
        else
            add_call(f, i, address, s->depth);
        ends = i->op[0] == 'b' && !is_conditional;
    } else if (is_op(i->op, "bx", &is_conditional)) {
        if (!is_return(f, at))
            add_call(f, i, 0, s->depth)->may_stay = true;
        ends = !is_conditional;
    } else if (is_op(i->op, "udf", &is_conditional) || strncmp(i->op, "tb", 2) == 0) {
        ends = true;
    } else if ((is_op(i->op, "pop", &is_conditional) || strncmp(i->op, "ldm", 3) == 0) &&
               (reg_list(i->args) >> PC & 1) != 0) {
        ends = !is_condition(i->op + (i->op[0] == 'p' ? 3 : 5));
    } else if (strncmp(i->op, "ldr", 3) == 0 && reg(i->args) == PC) {
        /* "[sp], #4" is the return of a function that saved lr alone. */
        if (strstr(i->args, "[sp]") == NULL && !is_table_jump(f, at))
            add_call(f, i, 0, s->depth)->may_stay = true;
        ends = !is_condition(i->op + 3);
    } else if (strncmp(i->op, "mov", 3) == 0 && reg(i->args) == PC) {
        if (reg(operand(i->args, 1)) != LR)
            add_call(f, i, 0, s->depth)->may_stay = true;
        ends = true;
    }
    if (!ends && at + 1 < f->insns)
        reach(w, at + 1, s);
    else if (!ends && !is_any(i->op, calls, &is_conditional))
        add_call(f, i, f->end, s->depth); /* falls into what follows; a call at the end does not return */
    return s->depth < 0 || s->depth > DEPTH_MAX ? -1 : 0;
}

static int drain(struct walk *w)
{
    struct stack_function *f = w->f;

    while (w->count > 0) {
        const size_t at = w->todo[--w->count];
        const struct stack_insn *i = &f->insn[at];
        struct state s = {.depth = i->depth, .known = i->known};

        memcpy(s.value, i->value, sizeof s.value);
        if (move_stack(f, i, &s) != 0 || go_on(w, at, &s) != 0) {
            fprintf(stderr, "%x <%s:%s>: the stack pointer cannot be followed: %s %s\n", i->address, f->image, f->name,
                    i->op, i->args);
            return -1;
        }
        f->own = s.depth > f->own ? s.depth : f->own;
    }
    return 0;
}

int stack_follow(struct stack_function *f)
{
    struct walk w = {.f = f, .todo = malloc((f->insns + 1) * sizeof(size_t))};
    struct state s = {0};
    int rc;

    if (w.todo == NULL)
        abort();
    if (f->insns == 0) {
        free(w.todo);
        return -1;
    }
    for (size_t k = 0; k < f->insns; k++)
        f->insn[k].depth = -1;
    reach(&w, 0, &s);
    rc = drain(&w);
    for (size_t k = 0; k < f->insns && rc == 0; k++)
        if (f->insn[k].op[0] != 0 && f->insn[k].depth < 0 && strcmp(f->insn[k].op, "nop") != 0) {
            s.depth = f->own;
            reach(&w, k, &s);
            rc = drain(&w);
        }
    free(w.todo);
    return rc;
}
