/*
 * Same seed, same run: the digest, and the files of results but for wall times and rank counts, must not depend on the
 * number of ranks, on an interruption, on the compiler, or on the level of optimisation. Every world here is run by the
 * program that ships; build/plain holds the same program by clang -O0.
 */
#include <errno.h>
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
#define COMMAND 4096

static char build[PATH], scratch[PATH];

/* A world small enough for -O0 and yet with everything in it: several gateways and models, a partition, resets, churn,
 * duty cycles, a bad image, an attacker. */
static const char *const LIVELY[] = {
    "run.duration=4 min",       "run.stop=never",          "topology.nodes=60",    "fleet.gateways=3",
    "fleet.models=2",           "life.reboot_every=2 min", "life.off_every=5 min", "life.off_for=20 s",
    "life.partition_at=60 s",   "life.partition_for=30 s", "life.duty_share=20 %", "attack.kind=replay",
    "release 2.fault=crash",    "release 2.at=5 s",        "release 2.size=8 KB",  "release 2.fault_probability=50 %",
    "release 2.on_hold=revert", "run.trace=pcap",
};

/* --- running meshsim ---------------------------------------------------------------------------------------------- */

struct outcome {
    int status;
    char digest[33];
};

/* Exit status of the command, whose output goes to a file of its own and is shown when it fails. */
static struct outcome run(const char *prefix, const char *program, const char *scenario, const char *out,
                          const char *more)
{
    struct outcome o = {.digest = ""};
    char command[COMMAND], line[256], log[PATH + 64];
    size_t n;

    snprintf(log, sizeof log, "%s/log", scratch);
    n = (size_t)snprintf(command, sizeof command, "%s %s run sim/scenarios/%s.ini --quiet --out %s/%s %s", prefix,
                         program, scenario, scratch, out, more);
    assert_true(n < sizeof command);
    n += (size_t)snprintf(command + n, sizeof command - n, " >%s 2>&1", log);
    assert_true(n < sizeof command);
    const int status = system(command);
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    FILE *f = fopen(log, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "digest: %32[0-9a-f]", o.digest) != 1 && o.status != 0)
            print_message("%s", line);
    fclose(f);
    return o;
}

static const char *lively(void)
{
    static char text[COMMAND];
    size_t n = 0;
    for (size_t i = 0; i < sizeof LIVELY / sizeof LIVELY[0]; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, " --set '%s'", LIVELY[i]);
    assert_true(n < sizeof text);
    return text;
}

static char *slurp(const char *dir, const char *name, size_t *size)
{
    char path[2 * PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s/%s", scratch, dir, name);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fstat(fileno(f), &st), 0);
    *size = (size_t)st.st_size;
    char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    data[*size] = '\0';
    fclose(f);
    return data;
}

static void same_files(const char *a, const char *b)
{
    static const char *const names[] = {"rows.csv", "nodes.csv", "curve.csv", "trace.pcap"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size[2];
        char *data[2] = {slurp(a, names[i], &size[0]), slurp(b, names[i], &size[1])};
        if (size[0] != size[1] || memcmp(data[0], data[1], size[0]) != 0)
            fail_msg("%s of %s and %s differ", names[i], a, b);
        assert_true(size[0] > 100);
        free(data[0]);
        free(data[1]);
    }
}

static const char *program(void)
{
    static char path[PATH + 32];
    snprintf(path, sizeof path, "%s/bin/meshsim", build);
    return path;
}

#define MPIRUN "mpirun --allow-run-as-root --oversubscribe -np "

/* --- tests -------------------------------------------------------------------------------------------------------- */

static struct outcome reference;

static void a_world_runs(void **state)
{
    (void)state;
    reference = run("", program(), "bad-release", "one", lively());
    assert_int_equal(reference.status, 0);
    assert_int_equal(strlen(reference.digest), 32);
}

static void the_seed_matters(void **state)
{
    (void)state;
    char more[COMMAND + 32];
    snprintf(more, sizeof more, "%s --seed 99", lively());
    const struct outcome o = run("", program(), "bad-release", "other", more);
    assert_int_equal(o.status, 0);
    assert_string_not_equal(o.digest, reference.digest);
}

static void ranks_agree(const char *prefix, const char *out)
{
    const struct outcome o = run(prefix, program(), "bad-release", out, lively());
    assert_int_equal(o.status, 0);
    assert_string_equal(o.digest, reference.digest);
    same_files("one", out);
}

static void two_ranks_agree(void **state)
{
    (void)state;
    ranks_agree(MPIRUN "2", "two");
}

static void four_ranks_agree(void **state)
{
    (void)state;
    ranks_agree(MPIRUN "4", "four");
}

static void resuming_agrees(const char *prefix, const char *out)
{
    char more[COMMAND + 64];
    snprintf(more, sizeof more, "%s --until 70s", lively());
    struct outcome o = run(prefix, program(), "bad-release", out, more);
    assert_int_equal(o.status, 0);
    snprintf(more, sizeof more, "%s --resume", lively());
    o = run(prefix, program(), "bad-release", out, more);
    assert_int_equal(o.status, 0);
    assert_string_equal(o.digest, reference.digest);
    same_files("one", out);
}

static void a_resumed_run_agrees(void **state)
{
    (void)state;
    resuming_agrees("", "resumed");
}

static void a_resumed_run_of_two_ranks_agrees(void **state)
{
    (void)state;
    resuming_agrees(MPIRUN "2", "resumed-two");
}

static void another_compiler_agrees(void **state)
{
    char other[PATH + 32];
    (void)state;
    snprintf(other, sizeof other, "%s/plain/bin/meshsim", build);
    const struct outcome o = run("", other, "bad-release", "plain", lively());
    assert_int_equal(o.status, 0);
    assert_string_equal(o.digest, reference.digest);
    same_files("one", "plain");
}

static void baselines_agree(void **state)
{
    static const char *const stacks[] = {"flood", "unicast", "deluge", "mesh-dfu"};
    char more[COMMAND];
    (void)state;
    for (size_t i = 0; i < sizeof stacks / sizeof stacks[0]; i++) {
        snprintf(more, sizeof more,
                 "--set run.stack=%s --set 'release 2.size=4 KB' --set topology.nodes=30 --set 'run.duration=3 min'",
                 stacks[i]);
        const struct outcome one = run("", program(), "line-12", "b1", more);
        assert_int_equal(one.status, 0);
        const struct outcome two = run(MPIRUN "2", program(), "line-12", "b2", more);
        assert_int_equal(two.status, 0);
        assert_int_equal(strlen(one.digest), 32);
        assert_string_equal(one.digest, two.digest);
    }
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR"), *dir = getenv("BUILD");
    (void)state;
    snprintf(scratch, sizeof scratch, "%.200s/digest.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(scratch) == NULL)
        return -1;
    return realpath(dir != NULL ? dir : "build", build) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[PATH + 16];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_world_runs),
        cmocka_unit_test(the_seed_matters),
        cmocka_unit_test(two_ranks_agree),
        cmocka_unit_test(four_ranks_agree),
        cmocka_unit_test(a_resumed_run_agrees),
        cmocka_unit_test(a_resumed_run_of_two_ranks_agrees),
        cmocka_unit_test(another_compiler_agrees),
        cmocka_unit_test(baselines_agree),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
