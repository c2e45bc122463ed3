/*
 * Ranks: the same calls alone and, in a build with MPI, as processes of mpirun: 1, 2 and 4 of them, more than there may
 * be cores. Started as "test_sim_parallel rank ROUNDS", the program is one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/engine/parallel.h"
#include "sim/radio/radio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- one rank ----------------------------------------------------------------------------------------------------- */

/* Everybody knows what everybody sends: bytes of message `round` from a to b, of any length up to three times the first
 * message's. */
static size_t length(unsigned round, unsigned a, unsigned b)
{
    const uint32_t d = sim_draw(round, SIM_DRAW_WORLD, a, b, 0);
    return d % 4 == 0 ? 0 : d % 4 == 1 ? d / 4 % 25000 : d % 4 == 2 ? 8190 + d / 4 % 5 : d / 4 % 200;
}

static uint8_t byte_of(unsigned round, unsigned a, unsigned b, size_t i)
{
    return (uint8_t)(round * 7 + a * 31 + b * 101 + i);
}

static uint64_t next_of(unsigned round, unsigned rank)
{
    return (uint64_t)sim_draw(round, SIM_DRAW_DELAY, rank, 0, 0) << 20 | rank;
}

static void expect(bool is_true, const char *what)
{
    if (!is_true)
        sim_parallel_abort(what);
}

static void exchange_rounds(unsigned rounds)
{
    static struct sim_buffer out[SIM_RANKS_MAX], in[SIM_RANKS_MAX];
    const unsigned me = sim_parallel_rank(), n = sim_parallel_size();
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t least = SIM_NEVER;
        for (unsigned r = 0; r < n; r++) {
            const size_t size = r == me ? 3 : length(round, me, r);
            uint8_t *to = sim_buffer_add(&out[r], size);
            expect(to != NULL, "no room");
            for (size_t i = 0; i < size; i++)
                to[i] = byte_of(round, me, r, i);
            least = next_of(round, r) < least ? next_of(round, r) : least;
        }
        expect(sim_parallel_exchange(out, in, next_of(round, me)) == least, "wrong minimum");
        for (unsigned r = 0; r < n; r++) {
            expect(out[r].size == 0, "what was sent is left");
            expect(in[r].size == (r == me ? 0 : length(round, r, me)), "wrong size");
            for (size_t i = 0; i < in[r].size; i++)
                expect(in[r].data[i] == byte_of(round, r, me, i), "wrong byte");
        }
        if (sim_draw(round, SIM_DRAW_LOSS, me, 0, 0) % 64 == 0) /* one is late */
            nanosleep(&(struct timespec){0, 300000}, NULL);
    }
    for (unsigned r = 0; r < n; r++) {
        sim_buffer_free(&out[r]);
        sim_buffer_free(&in[r]);
    }
}

static void exchange_collectives(void)
{
    const unsigned me = sim_parallel_rank(), n = sim_parallel_size();
    uint64_t values[3] = {me + 1, UINT64_MAX, 1}, sums[3] = {(uint64_t)n * (n + 1) / 2, (uint64_t)0 - n, n};
    sim_parallel_sum(values, 3);
    expect(memcmp(values, sums, sizeof sums) == 0, "wrong sum");
    expect(sim_parallel_max(me * 10) == (n - 1) * 10, "wrong maximum");
    struct sim_buffer own = {0}, in[SIM_RANKS_MAX] = {{0}};
    for (unsigned round = 0; round < 3; round++) {
        own.size = 0;
        if (me != 1) /* one has nothing to say */
            snprintf(sim_buffer_add(&own, 30), 30, "rank %u round %u", me, round);
        sim_parallel_gather(&own, in);
        for (unsigned r = 0; me == 0 && r < n; r++) {
            char text[30];
            snprintf(text, sizeof text, "rank %u round %u", r, round);
            expect(in[r].size == (r == 1 ? 0 : 30), "wrong size gathered");
            expect(r == 1 || strcmp((const char *)in[r].data, text) == 0, "wrong bytes gathered");
        }
    }
    char word[8] = "other";
    if (me == 0)
        memcpy(word, "first", 6);
    sim_parallel_broadcast(word, sizeof word);
    expect(strcmp(word, "first") == 0, "wrong bytes broadcast");
    sim_buffer_free(&own);
    for (unsigned r = 0; r < n; r++)
        sim_buffer_free(&in[r]);
}

static int run_rank(int argc, char **argv)
{
    if (sim_parallel_init(&argc, &argv) != 0)
        return 3;
    if (strcmp(argv[2], "abort") == 0) {
        if (sim_parallel_rank() == sim_parallel_size() - 1)
            sim_parallel_abort("this one gives up");
        exchange_rounds(1);
        for (;;)
            pause();
    }
    exchange_rounds((unsigned)atoi(argv[2]));
    exchange_collectives();
    if (sim_parallel_rank() == 0)
        printf("%u ranks agree\n", sim_parallel_size());
    sim_parallel_finish();
    return 0;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static char own_path[4096];

/* Runs a shell command; its output, standard error included, is left in `text`. Its exit status. */
static int shell(const char *command, char *text, size_t cap)
{
    FILE *p = popen(command, "r"); /* NOLINT(cert-env33-c): mpirun is what is tested */
    assert_non_null(p);
    size_t n = fread(text, 1, cap - 1, p);
    text[n] = '\0';
    while (getc(p) != EOF)
        ;
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* As root in a container, more ranks than cores; the leaks are MPI's own. */
static int mpirun(unsigned n, const char *argument, char *text, size_t cap)
{
    char command[8192];
    snprintf(command, sizeof command,
             "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 "
             "timeout 60 mpirun --oversubscribe -np %u '%s' rank %s 2>&1 </dev/null",
             n, own_path, argument);
    return shell(command, text, cap);
}

static bool has_mpirun(void)
{
    char text[64];
    return sim_parallel_is_built() && shell("command -v mpirun", text, sizeof text) == 0;
}

static void one_process_is_all_ranks(void **state)
{
    (void)state;
    int argc = 1;
    char *args[] = {own_path, NULL}, **argv = args;
    assert_int_equal(sim_parallel_init(&argc, &argv), 0);
    assert_int_equal(sim_parallel_rank(), 0);
    assert_int_equal(sim_parallel_size(), 1);
    exchange_rounds(50);
    exchange_collectives();
    sim_parallel_finish();
}

static void buffers_grow_and_refuse_the_impossible(void **state)
{
    (void)state;
    struct sim_buffer b = {0};
    assert_non_null(sim_buffer_add(&b, 0));
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t *at = sim_buffer_add(&b, 3);
        assert_non_null(at);
        memset(at, (int)(i & 0xFF), 3);
    }
    assert_int_equal(b.size, 9000);
    assert_int_equal(b.data[8999], 2999 & 0xFF);
    assert_null(sim_buffer_add(&b, SIZE_MAX));
    assert_int_equal(b.size, 9000);
    sim_buffer_free(&b);
    assert_null(b.data);
}

static void launcher_is_known_by_the_environment(void **state)
{
    (void)state;
    assert_true(sim_parallel_is_launcher_variable("OMPI_COMM_WORLD_SIZE=2"));
    assert_true(sim_parallel_is_launcher_variable("PMIX_RANK"));
    assert_true(sim_parallel_is_launcher_variable("PMI_RANK=0"));
    assert_false(sim_parallel_is_launcher_variable("PATH=/bin"));
    assert_false(sim_parallel_is_launcher_variable("SLURM_ARRAY_TASK_ID=1"));
    assert_false(sim_parallel_is_launched());
    setenv("PMIX_RANK", "0", 1);
    assert_true(sim_parallel_is_launched());
    unsetenv("PMIX_RANK");
}

static void build_without_mpi_refuses_a_launcher(void **state)
{
    (void)state;
    char command[8192], text[4096];
    snprintf(command, sizeof command, "OMPI_COMM_WORLD_SIZE=2 '%s' rank 1 2>&1", own_path);
    assert_int_equal(shell(command, text, sizeof text), 3);
    assert_non_null(strstr(text, "built without MPI"));
}

static void ranks_agree(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 4};
    if (!has_mpirun())
        skip();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char text[8192], wanted[32];
        int rc = mpirun(counts[i], "400", text, sizeof text);
        if (rc != 0)
            print_error("%s\n", text);
        assert_int_equal(rc, 0);
        snprintf(wanted, sizeof wanted, "%u ranks agree\n", counts[i]);
        assert_non_null(strstr(text, wanted));
    }
}

static void one_rank_ends_all(void **state)
{
    (void)state;
    char text[8192];
    if (!has_mpirun())
        skip();
    assert_int_not_equal(mpirun(2, "abort", text, sizeof text), 0);
    assert_non_null(strstr(text, "meshsim: rank 1: this one gives up"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest with_mpi[] = {
        cmocka_unit_test(one_process_is_all_ranks),
        cmocka_unit_test(buffers_grow_and_refuse_the_impossible),
        cmocka_unit_test(launcher_is_known_by_the_environment),
        cmocka_unit_test(ranks_agree),
        cmocka_unit_test(one_rank_ends_all),
    };
    const struct CMUnitTest without_mpi[] = {
        cmocka_unit_test(one_process_is_all_ranks),
        cmocka_unit_test(buffers_grow_and_refuse_the_impossible),
        cmocka_unit_test(launcher_is_known_by_the_environment),
        cmocka_unit_test(build_without_mpi_refuses_a_launcher),
    };
    if (argc == 3 && strcmp(argv[1], "rank") == 0)
        return run_rank(argc, argv);
    if (readlink("/proc/self/exe", own_path, sizeof own_path - 1) < 0)
        return 1;
    if (sim_parallel_is_built())
        return cmocka_run_group_tests(with_mpi, NULL, NULL);
    return cmocka_run_group_tests(without_mpi, NULL, NULL);
}
