/*
 * The commands that run scenarios: their options, when a run ends, how sweeps expand; and whole runs of a small world,
 * each in a process of its own: ended, interrupted, resumed, refused, on a full disk, swept. Started with "run" as its
 * first argument the program is meshsim, which is what a sweep starts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/run/checkpoint.h"
#include "sim/run/progress.h"
#include "sim/run/sweep.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char error[512];

/* --- options ------------------------------------------------------------------------------------------------------ */

static int get_run(struct sim_run_options *o, const char *const *words)
{
    char *argv[32];
    int argc = 0;
    argv[argc++] = "run";
    while (words[argc - 1] != NULL) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    argv[argc] = NULL;
    error[0] = '\0';
    return sim_run_options_get(o, argc, argv, error, sizeof error);
}

static void run_takes_its_options(void **state)
{
    (void)state;
    struct sim_run_options o;
    const char *const all[] = {
        "x.ini",   "--seed",  "0xFFFFFFFFFFFFFFFF", "--set", "a.b=1",    "--set",   "c.d=2", "--out", "dir",
        "--until", "1.5 min", "--checkpoint",       "60s",   "--resume", "--quiet", NULL};
    assert_int_equal(get_run(&o, all), 0);
    assert_string_equal(o.scenario, "x.ini");
    assert_true(o.has_seed && o.seed == UINT64_MAX && o.resume && o.quiet && !o.no_result);
    assert_int_equal(o.set_count, 2);
    assert_string_equal(o.set[1], "c.d=2");
    assert_string_equal(o.out, "dir");
    assert_int_equal(o.until, 90000000);
    assert_int_equal(o.checkpoint_us, 60000000);
    sim_run_options_free(&o);
    assert_int_equal(get_run(&o, (const char *const[]){"x.ini", "--no-result", NULL}), 0);
    assert_true(o.no_result && o.until == SIM_NEVER && !o.has_seed);
    sim_run_options_free(&o);
    assert_int_equal(get_run(&o, (const char *const[]){"--help", NULL}), 1);
    sim_run_options_free(&o);
}

static void run_refuses_what_makes_no_sense(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        const char *says;
    } cases[] = {
        {{NULL}, "a scenario file"},
        {{"a", "b", NULL}, "one scenario"},
        {{"a", "--seed", "-1", NULL}, "--seed -1"},
        {{"a", "--seed", "1x", NULL}, "--seed 1x"},
        {{"a", "--seed", "18446744073709551616", NULL}, "--seed"},
        {{"a", "--seed", NULL}, "no value for --seed"},
        {{"a", "--until", "10", NULL}, "--until 10: a time"},
        {{"a", "--until", "0 s", NULL}, "--until"},
        {{"a", "--checkpoint", "often", NULL}, "--checkpoint"},
        {{"a", "--out", "", NULL}, "--out"},
        {{"a", "--wrong", NULL}, "unknown option --wrong"},
        {{"a", "--no-result", "--resume", NULL}, "--no-result"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_run_options o;
        assert_int_equal(get_run(&o, cases[i].words), -1);
        if (strstr(error, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error, cases[i].says);
        sim_run_options_free(&o);
    }
}

/* --- the end of a run --------------------------------------------------------------------------------------------- */

static void run_ends_by_the_scenario_and_facts(void **state)
{
    (void)state;
    struct sim_scenario s = {.run = {.stack = SIM_RUN_MESH, .duration_us = 1000, .settle_us = 100}, .release_count = 2};
    s.release[0].at_us = 50;
    s.release[1].at_us = 300;
    const struct sim_run_facts going = {
        .now = 500, .next = 501, .changed_at = 420, .awaiting = 9, .complete = 8, .open = 1};
    struct sim_run_facts f = going;
    s.run.stop = SIM_STOP_COMPLETE;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON);
    f.complete = 9;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_COMPLETE);
    f.awaiting = f.complete = 0; /* nobody awaits anything: not complete but pointless */
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON);
    f.next = SIM_NEVER;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_DONE);
    f = going;
    s.run.stop = SIM_STOP_DONE;
    f.complete = 9; /* is no end by itself */
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON);
    f.open = 0;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON); /* changed 80 ago */
    f.now = 520;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_DONE);
    f.now = 399;
    f.changed_at = 60;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON); /* the second release is too young */
    f.now = 400;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_DONE);
    f = going;
    s.run.stop = SIM_STOP_NEVER;
    f.complete = 9;
    f.open = 0;
    f.next = SIM_NEVER;
    f.now = 999;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON);
    f.now = 1000;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_DURATION);
    s.run.stack = SIM_RUN_FLOOD; /* no rollouts: done when complete */
    s.run.stop = SIM_STOP_DONE;
    f = going;
    f.open = 0;
    f.now = 900;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_GOES_ON);
    f.complete = 9;
    assert_int_equal(sim_watch_decide(&s, &f), SIM_RUN_DONE);
}

static void progress_tells_time_and_rate(void **state)
{
    (void)state;
    char span[SIM_SPAN_MAX], line[256];
    const struct {
        sim_time span;
        const char *text;
    } spans[] = {{7, "7 us"},
                 {1234, "1.2 ms"},
                 {12345678, "12.3 s"},
                 {200000000, "3 min 20 s"},
                 {UINT64_C(7500000000), "2 h 5 min"},
                 {UINT64_C(529200000000), "6 d 3 h"},
                 {SIM_NEVER, "never"}};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        sim_progress_span(spans[i].span, span);
        assert_string_equal(span, spans[i].text);
    }
    struct sim_progress p = {.duration = 100000000, .is_terminal = true};
    struct sim_run_facts f = {.now = 25000000, .awaiting = 4, .complete = 1};
    sim_progress_line(&p, &f, 5, 10000000, line, sizeof line);
    assert_string_equal(line, "[#####...............] 25.0 s of 1 min 40 s, 25% complete, 5.00x real time, 2.00 M "
                              "events/s, 15.0 s left");
    p = (struct sim_progress){.duration = 100000000, .ends_early = true};
    f.complete = 2;
    sim_progress_line(&p, &f, 5, 10000000, line, sizeof line);
    assert_non_null(strstr(line, "about 5.0 s left"));
    f.complete = 0;
    sim_progress_line(&p, &f, 5, 10000000, line, sizeof line);
    assert_non_null(strstr(line, "at most 15.0 s left"));
    f.now = 0;
    sim_progress_line(&p, &f, 0, 0, line, sizeof line);
    assert_non_null(strstr(line, "time left unknown"));
}

/* --- sweeps ------------------------------------------------------------------------------------------------------- */

static void parameter_has_values(void **state)
{
    (void)state;
    struct sim_sweep_axis axis;
    assert_int_equal(sim_sweep_axis_get(&axis, "release 2.policy=a: x\\,y,b,c=d", error, sizeof error), 0);
    assert_string_equal(axis.key, "release 2.policy");
    assert_int_equal(axis.count, 3);
    assert_string_equal(axis.value[0], "a: x,y");
    assert_string_equal(axis.value[1], "b");
    assert_string_equal(axis.value[2], "c=d");
    sim_sweep_axis_free(&axis);
    static const char *const wrong[] = {"", "a.b", "=1", "ab=1", "ab=1.5", "a.b=", "a.b=1,", "a.b=,1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(sim_sweep_axis_get(&axis, wrong[i], error, sizeof error), -1);
        sim_sweep_axis_free(&axis);
    }
}

static void seeds_are_ranges(void **state)
{
    (void)state;
    struct sim_sweep_options o = {0};
    assert_int_equal(sim_sweep_seeds_get(&o, "9,1-3,0x10", error, sizeof error), 0);
    const uint64_t seeds[] = {1, 2, 3, 9, 16};
    assert_int_equal(o.seed_count, 5);
    assert_memory_equal(o.seed, seeds, sizeof seeds);
    static const char *const wrong[] = {"", "1-", "-1", "3-1", "1,,2", "a", "1-3,2", "1-2000000", "1-2-3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        o.seed_count = 0;
        free(o.seed);
        o.seed = NULL;
        assert_int_equal(sim_sweep_seeds_get(&o, wrong[i], error, sizeof error), -1);
    }
    o.seed_count = 0;
    free(o.seed);
    o.seed = NULL;
    assert_int_equal(sim_sweep_seeds_get(&o, "18446744073709551614-18446744073709551615", error, sizeof error), 0);
    assert_int_equal(o.seed_count, 2);
    free(o.seed);
}

static void tasks_are_numbered_both_ways(void **state)
{
    (void)state;
    struct sim_sweep_options o = {0};
    assert_int_equal(sim_sweep_task_get(&o, "0/4"), 0);
    assert_int_equal(o.task, 0);
    assert_int_equal(o.tasks, 4);
    assert_int_equal(sim_sweep_task_get(&o, "4/4"), 0);
    assert_int_equal(o.task, 0);
    assert_int_equal(sim_sweep_task_get(&o, "3/4"), 0);
    assert_int_equal(o.task, 3);
    static const char *const wrong[] = {"5/4", "1", "/4", "1/0", "1/", "-1/4", "1/x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(sim_sweep_task_get(&o, wrong[i]), -1);
}

/* --- a small world ------------------------------------------------------------------------------------------------ */

static char folder[256], scenario[300], output[300];

static const char world[] =
    "[scenario]\nname = small\nseed = 3\n"
    "[topology]\nkind = line\nnodes = 5\nspacing = 10 m\nreach = neighbours\nlink_loss = 60 dB\n"
    "[radio]\nframe_loss = 10 %\n"
    "[fleet]\nsize = 4 KB\n"
    "[run]\nduration = 30 min\nstop = complete\n"
    "[release 2]\nat = 5 s\nsize = 4 KB\npolicy = all: share=100% soak=60s\n";

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static char *read_text(const char *path)
{
    static char text[4][200000];
    static unsigned turn;
    char *to = text[turn++ % 4];
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s is missing", path);
    size_t n = fread(to, 1, sizeof text[0] - 1, f);
    fclose(f);
    to[n] = '\0';
    return to;
}

static const char *in(const char *dir, const char *name)
{
    static char path[4][600];
    static unsigned turn;
    char *to = path[turn++ % 4];
    snprintf(to, sizeof path[0], "%s/%s%s%s", folder, dir, name[0] != '\0' ? "/" : "", name);
    return to;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%.200s/simrun.XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(scenario, sizeof scenario, "%s/small.ini", folder);
    snprintf(output, sizeof output, "%s/output", folder);
    write_text(scenario, world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Starts a command as meshsim would, its words split at single spaces; output and errors go to `output`. */
static pid_t start(const char *format, ...) __attribute__((format(printf, 1, 2)));
static pid_t start(const char *format, ...)
{
    char line[2048], *rest = line, *argv[40];
    int argc = 0;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(99);
    for (char *word; argc < 39 && (word = strsep(&rest, " ")) != NULL;) {
        for (char *at = word; *at != '\0'; at++)
            if (*at == '~') /* for spaces within words */
                *at = ' ';
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    exit(strcmp(argv[0], "run") == 0 ? sim_run_command(argc, argv) : sim_sweep_command(argc, argv));
}

static int finish(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void expect(int status, int wanted, const char *says)
{
    const char *text = read_text(output);
    if (status != wanted || strstr(text, says) == NULL)
        fail_msg("status %d, not %d, or no \"%s\" in: %s", status, wanted, says, text);
}

static void expect_same(const char *a, const char *b)
{
    static const char *const names[] = {"rows.csv", "nodes.csv", "curve.csv"};
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(read_text(in(a, names[i])), read_text(in(b, names[i])));
}

static void small_world_is_run(void **state)
{
    (void)state;
    expect(finish(start("run %s --out %s", scenario, in("a", ""))), 0, "4 of 4");
    const char *line = strstr(read_text(output), "\ndigest: ");
    assert_non_null(line);
    assert_int_equal(strspn(line + 9, "0123456789abcdef"), 32);
    assert_non_null(strstr(read_text(in("a", "run.json")), "\"complete\""));
    expect(finish(start("run %s --no-result --seed 3", scenario)), 0, "digest: ");
    assert_int_equal(strncmp(read_text(output), "digest: ", 8), 0);
    expect(finish(start("run %s --quiet --out %s --set run.stack=flood", scenario, in("b", ""))), 0, "digest: ");
}

static void resumed_run_is_the_same(void **state)
{
    (void)state;
    char digest[64];
    expect(finish(start("run %s --quiet --out %s", scenario, in("whole", ""))), 0, "digest: ");
    snprintf(digest, sizeof digest, "%.40s", strstr(read_text(output), "digest: "));
    expect(finish(start("run %s --quiet --out %s --until 3.0001~s", scenario, in("parts", ""))), 0, "--resume goes on");
    assert_true(access(in("parts", "checkpoint.0"), F_OK) == 0);
    assert_non_null(strstr(read_text(in("parts", "run.json")), "interrupted"));
    expect(finish(start("run %s --quiet --resume --out %s --until 6~s", scenario, in("parts", ""))), 0,
           "--resume goes");
    expect(finish(start("run %s --quiet --resume --out %s", scenario, in("parts", ""))), 0, digest);
    expect_same("whole", "parts");
    assert_true(access(in("parts", "checkpoint.0"), F_OK) != 0);
    /* periodic checkpoints change nothing, and are gone at the end */
    expect(finish(start("run %s --quiet --out %s --checkpoint 1~ms", scenario, in("often", ""))), 0, digest);
    expect_same("whole", "often");
    assert_true(access(in("often", "checkpoint.0"), F_OK) != 0);
}

static void checkpoint_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    uint8_t byte;
    expect(finish(start("run %s --out %s --resume", scenario, in("a", ""))), 1, "nothing to resume");
    assert_int_equal(finish(start("run %s --quiet --out %s --until 4~s", scenario, in("a", ""))), 0);
    expect(finish(start("run %s --out %s --resume --seed 4", scenario, in("a", ""))), 1, "with seed 3; this one has 4");
    expect(finish(start("run %s --out %s --resume --set radio.frame_loss=11~%%", scenario, in("a", ""))), 1,
           "of another scenario");
    expect(finish(start("run %s --out %s --resume --set run.stack=flood", scenario, in("a", ""))), 1,
           "of another scenario");
    int fd = open(in("a", "checkpoint.0"), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 300), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 300), 1);
    expect(finish(start("run %s --out %s --resume", scenario, in("a", ""))), 1, "damaged");
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 300), 1);
    close(fd);
    assert_int_equal(finish(start("run %s --quiet --out %s --resume", scenario, in("a", ""))), 0);
}

static void wait_for(const char *path)
{
    for (unsigned i = 0; access(path, F_OK) != 0 && i < 5000; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
}

static void signal_ends_a_run_with_a_checkpoint(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < 2; i++) {
        char dir[8];
        snprintf(dir, sizeof dir, "s%zu", i);
        pid_t pid = start("run %s --out %s --set run.stop=never --set run.duration=3000~d", scenario, in(dir, ""));
        wait_for(in(dir, "run.json"));
        nanosleep(&(struct timespec){0, 200000000}, NULL);
        assert_int_equal(kill(pid, numbers[i]), 0);
        expect(finish(pid), 130, "interrupted after");
        expect(130, 130, "--resume goes on from here");
        assert_true(access(in(dir, "checkpoint.0"), F_OK) == 0);
        assert_non_null(strstr(read_text(in(dir, "run.json")), "\"interrupted\""));
    }
}

static void errors_are_told_and_results_kept(void **state)
{
    (void)state;
    struct rlimit old, limit;
    char wrong[400];
    snprintf(wrong, sizeof wrong, "%s/wrong.ini", folder);
    write_text(wrong, "[scenario]\nname = x\n[run]\nduration = 5\n");
    expect(finish(start("run %s", wrong)), 2, "wrong.ini:4: ");
    expect(finish(start("run %s/none.ini", folder)), 2, "none.ini");
    expect(finish(start("run %s --set run.stack=carrier-pigeon", scenario)), 2, "carrier-pigeon");
    expect(finish(start("run %s --wrong", scenario)), 2, "unknown option --wrong");
    write_text(in("file", ""), "");
    expect(finish(start("run %s --out %s", scenario, in("file", "x"))), 1, "file");
    /* a full disk: no file may grow beyond what run.json needs */
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 8000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    pid_t pid =
        start("run %s --quiet --out %s --set run.stop=never --set run.duration=10~min", scenario, in("full", ""));
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    expect(finish(pid), 1, "curve.csv: cannot be written");
    expect(1, 1, "results so far are in");
    const char *curve = read_text(in("full", "curve.csv"));
    assert_true(strlen(curve) > 4000 && strlen(curve) <= 8000 && curve[strlen(curve) - 1] == '\n');
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void sweep_expands_runs_and_sums_up(void **state)
{
    (void)state;
    struct sim_sweep_options o = {.scenario = scenario, .tasks = 1};
    struct sim_sweep w;
    char other[700];
    assert_int_equal(sim_sweep_axis_get(&o.axis[o.axis_count++], "run.stack=mesh,flood", error, sizeof error), 0);
    assert_int_equal(
        sim_sweep_axis_get(&o.axis[o.axis_count++], "release 2.size=2 KB,3 KB,2048 B", error, sizeof error), 0);
    assert_int_equal(sim_sweep_seeds_get(&o, "1-2", error, sizeof error), 0);
    snprintf(o.out, sizeof o.out, "%s", in("sweep", ""));
    assert_int_equal(sim_sweep_plan(&w, &o, error, sizeof error), 0);
    assert_int_equal(w.combination_count, 6);
    assert_int_equal(w.run_count, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(w.run[i].combination, i / 2);
        assert_int_equal(w.run[i].seed, i % 2 + 1);
        assert_int_equal(w.run[i].is_twin, i % 6 >= 4); /* 2048 B is 2 KB */
        for (size_t k = 0; k < i; k++)
            assert_int_equal(strcmp(w.run[i].id, w.run[k].id) == 0, w.run[i].is_twin && k == i - 4);
    }
    assert_int_equal(sim_sweep_value(&o, 4, 0), 1);
    assert_int_equal(sim_sweep_value(&o, 4, 1), 1);
    int len = snprintf(other, sizeof other,
                       "sweep %s --stack mesh,flood --param release~2.size=2~KB,3~KB,2048~B --seeds 1-2 --out %s",
                       scenario, o.out);
    assert_true(len > 0 && (size_t)len < sizeof other);
    /* one that cannot have its folder: the others are run all the same */
    mkdir(o.out, 0777);
    char path[1400];
    snprintf(path, sizeof path, "%s/%s", o.out, w.run[3].id);
    write_text(path, "");
    expect(finish(start("%s --jobs 2", other)), 1, w.run[3].id);
    assert_int_equal(sim_sweep_look(&w), 11);
    assert_int_equal(count_lines(read_text(in("sweep", "runs.csv"))), 12);
    unlink(path);
    expect(finish(start("%s --list", other)), 0, "--seed 2");
    assert_int_equal(count_lines(read_text(output)), 1);
    expect(finish(start("%s --only %s", other, w.run[3].id)), 0, "12 runs: ");
    snprintf(path, sizeof path, "%s/%s/log", o.out, w.run[0].id);
    write_text(path, "untouched");
    expect(finish(start("%s --sqlite", other)), 0, "12 runs: ");
    assert_string_equal(read_text(path), "untouched");
    assert_int_equal(count_lines(read_text(in("sweep", "runs.csv"))), 13);
    assert_int_equal(count_lines(read_text(in("sweep", "summary.csv"))), 7);
    assert_true(access(in("sweep", "runs.sqlite"), F_OK) == 0);
    sim_sweep_free(&w);
    sim_sweep_options_free(&o);
}

static void sweep_is_split_among_tasks_and_stopped(void **state)
{
    (void)state;
    expect(finish(start("sweep %s --seeds 1-3 --out %s --task 1/2", scenario, in("t", ""))), 0, "1 of 3 runs");
    assert_true(access(in("t", "runs.csv"), F_OK) != 0);
    expect(finish(start("sweep %s --seeds 1-3 --out %s --task 2/2", scenario, in("t", ""))), 0, "3 runs: ");
    assert_int_equal(count_lines(read_text(in("t", "runs.csv"))), 4);
    expect(finish(start("sweep %s --only x --out %s", scenario, in("t", ""))), 2, "no run with that id");
    expect(finish(start("sweep %s --param run.duration=1~h,now", scenario)), 2, "now");
    pid_t pid = start("sweep %s --seeds 1-9 --out %s --jobs 1 --set run.stop=never --set run.duration=3000~d", scenario,
                      in("long", ""));
    wait_for(in("long", ""));
    nanosleep(&(struct timespec){1, 0}, NULL);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(finish(pid), 130);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_takes_its_options),
        cmocka_unit_test(run_refuses_what_makes_no_sense),
        cmocka_unit_test(run_ends_by_the_scenario_and_facts),
        cmocka_unit_test(progress_tells_time_and_rate),
        cmocka_unit_test(parameter_has_values),
        cmocka_unit_test(seeds_are_ranges),
        cmocka_unit_test(tasks_are_numbered_both_ways),
        cmocka_unit_test_setup_teardown(small_world_is_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(resumed_run_is_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(checkpoint_that_does_not_fit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signal_ends_a_run_with_a_checkpoint, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_are_told_and_results_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sweep_expands_runs_and_sums_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sweep_is_split_among_tasks_and_stopped, set_up, tear_down),
    };
    if (argc > 1 && strcmp(argv[1], "run") == 0)
        return sim_run_command(argc - 1, argv + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
