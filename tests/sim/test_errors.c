/*
 * What goes wrong around a run: each gets a clear sentence and a status that says so, and what was there is kept. The
 * program that ships is run as a user runs it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH 512
#define COMMAND 2048
#define TEXT 65536

static char program[PATH], scratch[PATH], text[TEXT];

/* Runs a shell command; its exit status. What it printed is in `text`. */
static int run(const char *format, ...)
{
    char command[COMMAND] = "(";
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(command + 1, sizeof command - 1, format, list);
    va_end(list);
    assert_in_range(n, 1, sizeof command - 16);
    strcat(command, ") 2>&1");
    FILE *out = popen(command, "re");
    assert_non_null(out);
    const size_t got = fread(text, 1, sizeof text - 1, out);
    text[got] = '\0';
    const int status = pclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void says(const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("\"%s\" is not in: %s", what, text);
}

static void write_scenario(const char *name, const char *content)
{
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s.ini", scratch, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(content, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static size_t size_of(const char *name)
{
    char path[2 * PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

/* --- scenarios ---------------------------------------------------------------------------------------------------- */

static void bad_scenarios_name_the_line(void **state)
{
    static const struct {
        const char *content, *expected[2];
    } bad[] = {
        {"[scenario]\nname = a\n[radio]\nframe_los = 10 %\n", {":4:", "frame_loss"}},
        {"[scenario]\nname = a\n[radio]\nframe_loss = 10 dB\n", {":4:", "%"}},
        {"[scenario]\nname = a\n[topology]\nkind = disc\nnodes = 0\n", {":5:", "1 to"}},
        {"[scenario]\nname = a\n[topology]\nkind = ring\n", {":4:", "disc"}},
        {"[scenario]\nname = a\n[topologie]\nkind = disc\n", {":4:", "topology"}},
        {"[scenario]\nname = a\n[topology]\nkind = disc\nnodes = 10\n[release 2]\npolicy = all share=100%\n",
         {":7:", ""}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_scenario("bad", bad[i].content);
        assert_int_equal(run("%s run %s/bad.ini --out %s/bad", program, scratch, scratch), 2);
        says("bad.ini");
        says(bad[i].expected[0]);
        says(bad[i].expected[1]);
    }
    assert_int_equal(run("%s run %s/absent.ini", program, scratch), 2);
    says("No such file");
    assert_int_equal(run("%s run sim/scenarios/line-12.ini --set radio.nose=1 --out %s/bad", program, scratch), 2);
    says("noise");
    assert_int_equal(run("%s run sim/scenarios/line-12.ini --sed 1", program), 2);
}

/* --- resources ---------------------------------------------------------------------------------------------------- */

static void a_full_disk_keeps_what_was_written(void **state)
{
    (void)state;
    /* A limit on the size of files fails like a disk that is full, and needs no disk of its own. */
    const int status =
        run("ulimit -f 200; trap '' XFSZ; %s run sim/scenarios/office-100.ini --set run.trace=pcap --set "
            "'release 2.at=5 s' --quiet --out %s/full",
            program, scratch);
    assert_int_equal(status, 1);
    says("trace.pcap");
    assert_true(size_of("full/trace.pcap") > 1000);
    assert_true(size_of("full/rows.csv") > 0);
}

static void short_memory_is_said(void **state)
{
    (void)state;
    assert_int_equal(
        run("ulimit -v 400000; %s run sim/scenarios/million.ini --quiet --out %s/memory", program, scratch), 1);
    says("no memory for 1000000 nodes");
}

/* --- interruption ------------------------------------------------------------------------------------------------- */

#define LONG_RUN "sim/scenarios/idle-week.ini --set 'run.duration=3000 d' --set run.sample=1h --quiet"

static void an_interrupted_run_can_be_resumed(void **state)
{
    (void)state;
    /* The signal goes to the very process, by its id. */
    const int status =
        run("%s run " LONG_RUN " --out %s/stopped & p=$!; sleep 2; kill -INT $p; wait $p", program, scratch);
    assert_int_equal(status, 130);
    assert_true(size_of("stopped/checkpoint.0") > 1000);
    assert_true(size_of("stopped/run.json") > 100);
    assert_int_equal(run("%s run " LONG_RUN " --resume --seed 77 --out %s/stopped", program, scratch), 1);
    says("seed");
}

static void a_killed_rank_ends_the_run(void **state)
{
    (void)state;
    if (run("command -v mpirun") != 0) {
        print_message("mpirun is not here\n");
        fail();
    }
    /* Rank 1 is the child of the launcher that has it in its environment. */
    const int status =
        run("mpirun --allow-run-as-root --oversubscribe -np 2 %s run " LONG_RUN " --out %s/killed & p=$!; sleep 4; "
            "for c in $(cat /proc/$p/task/$p/children); do tr '\\0' '\\n' < /proc/$c/environ | grep -q "
            "'^OMPI_COMM_WORLD_RANK=1$' && kill -KILL $c; done; wait $p",
            program, scratch);
    assert_int_not_equal(status, 0);
    assert_true(size_of("killed/curve.csv") > 0);
    says("rank");
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR"), *build = getenv("BUILD");
    char path[PATH];
    (void)state;
    snprintf(scratch, sizeof scratch, "%.200s/errors.XXXXXX", tmp != NULL ? tmp : "/tmp");
    snprintf(path, sizeof path, "%.400s/bin/meshsim", build != NULL ? build : "build");
    return mkdtemp(scratch) != NULL && realpath(path, program) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return run("rm -rf '%s'", scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_scenarios_name_the_line), cmocka_unit_test(a_full_disk_keeps_what_was_written),
        cmocka_unit_test(short_memory_is_said),        cmocka_unit_test(an_interrupted_run_can_be_resumed),
        cmocka_unit_test(a_killed_rank_ends_the_run),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
