/* `meshsim sweep`: runs are child processes, `meshsim run` each, so that one that fails takes no other with it. */
#include "sweep.h"

#include "progress.h"
#include "sim/engine/parallel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
    pid_t pid; /* 0: free */
    size_t run;
    double began_s;
};

/* The runs in progress. Signals are blocked but while waiting, so that none is missed. */
struct crew {
    struct sim_sweep *sweep;
    struct job *job;
    unsigned jobs, busy;
    sigset_t outside; /* mask of before */
    bool is_told;     /* the jobs were told to end */
};

/* --- signals ------------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    if (number == SIGCHLD)
        return;
    if (signals++ > 0)
        _exit(128 + number); /* the children get SIGTERM then */
}

static void catch_signals(struct crew *crew)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGCHLD};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    signals = 0;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&blocked, numbers[i]);
        sigaction(numbers[i], &action, NULL);
    }
    sigprocmask(SIG_BLOCK, &blocked, &crew->outside);
}

static void release_signals(const struct crew *crew)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &crew->outside, NULL);
}

/* --- one run ------------------------------------------------------------------------------------------------------ */

/* Arguments of `meshsim run` for a run, from argv[0] on. NULL: out of memory. Free with free_arguments(). */
static char **make_arguments(const struct sim_sweep *w, const struct sim_sweep_run *run, const char *program,
                             size_t *count)
{
    size_t sets, n = 0;
    char **set = sim_sweep_sets(w->options, run->combination, &sets);
    char **argv = set != NULL ? calloc(2 * sets + 9, sizeof *argv) : NULL;
    char seed[24], out[1300];
    bool is_whole = argv != NULL;
    snprintf(seed, sizeof seed, "%" PRIu64, run->seed);
    snprintf(out, sizeof out, "%s/%s", w->dir, run->id);
    const char *const head[] = {program, "run", w->options->scenario, "--seed", seed, "--out", out, "--quiet"};
    for (size_t i = 0; is_whole && i < sizeof head / sizeof head[0]; i++)
        is_whole = (argv[n++] = strdup(head[i])) != NULL;
    for (size_t i = 0; is_whole && i < 2 * sets; i++)
        is_whole = (argv[n++] = strdup(i % 2 == 0 ? "--set" : set[i / 2])) != NULL;
    sim_sweep_sets_free(set, sets);
    *count = n;
    if (is_whole)
        return argv;
    sim_sweep_sets_free(argv, n);
    return NULL;
}

/* The environment without what a launcher put there: a run is no rank of ours. NULL: out of memory. */
static char **make_environment(void)
{
    size_t n = 0, kept = 0;
    while (environ[n] != NULL)
        n++;
    char **own = calloc(n + 1, sizeof *own);
    for (size_t i = 0; own != NULL && i < n; i++)
        if (!sim_parallel_is_launcher_variable(environ[i]))
            own[kept++] = environ[i];
    return own;
}

static int make_folders(const char *path)
{
    char part[1400];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1;; at++) {
        const char was = *at;
        if (was != '/' && was != '\0')
            continue;
        *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return -1;
        if (was == '\0')
            return 0;
        *at = was;
    }
}

/* In the child. */
_Noreturn static void become(char **argv, char **env, int log, const sigset_t *outside)
{
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, outside, NULL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(127);
    execve("/proc/self/exe", argv, env);
    _exit(127);
}

/* Process id, or -1 after a message. */
static pid_t start(const struct sim_sweep *w, const struct sim_sweep_run *run, const sigset_t *outside)
{
    char path[1400];
    size_t n = 0;
    pid_t pid = -1;
    int log = -1;
    char **argv = make_arguments(w, run, "meshsim", &n), **env = make_environment();
    snprintf(path, sizeof path, "%s/%s", w->dir, run->id);
    if (argv == NULL || env == NULL)
        errno = ENOMEM;
    else if (make_folders(path) == 0) {
        snprintf(path, sizeof path, "%s/%s/log", w->dir, run->id);
        log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (log >= 0 && (pid = fork()) == 0)
            become(argv, env, log, outside);
    }
    if (pid < 0)
        fprintf(stderr, "meshsim: %s cannot be started: %s\n", path, strerror(errno));
    if (log >= 0)
        close(log);
    sim_sweep_sets_free(argv, n);
    free(env);
    return pid;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static void take_end(struct sim_sweep *w, const struct job *job, int status)
{
    struct sim_sweep_run *run = &w->run[job->run];
    run->is_finished = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    run->has_failed = !run->is_finished && signals == 0;
    if (run->has_failed)
        fprintf(stderr, "meshsim: %s failed, see %s/%s/log\n", run->id, w->dir, run->id);
    else if (!w->options->quiet && run->is_finished)
        fprintf(stderr, "%s done in %.1f s\n", run->id, sim_progress_now() - job->began_s);
}

/* Takes in what has ended; else waits for a signal, of a child's end or to stop, which is passed on. */
static void wait_for_some(struct crew *crew)
{
    int status;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    for (unsigned i = 0; pid > 0 && i < crew->jobs; i++)
        if (crew->job[i].pid == pid) {
            take_end(crew->sweep, &crew->job[i], status);
            crew->job[i].pid = 0;
            crew->busy--;
        }
    if (pid > 0)
        return;
    if (signals > 0 && !crew->is_told) {
        for (unsigned i = 0; i < crew->jobs; i++)
            if (crew->job[i].pid > 0)
                kill(crew->job[i].pid, SIGTERM);
        crew->is_told = true;
    }
    sigsuspend(&crew->outside);
}

/* The next run to start from `at` on, or run_count. */
static size_t next_own(const struct sim_sweep *w, size_t at)
{
    while (at < w->run_count && (!sim_sweep_is_own(w, at) || w->run[at].is_finished || w->run[at].is_twin))
        at++;
    return at;
}

static void start_one(struct crew *crew, size_t run)
{
    struct sim_sweep *w = crew->sweep;
    unsigned slot = 0;
    while (crew->job[slot].pid > 0)
        slot++;
    const pid_t pid = start(w, &w->run[run], &crew->outside);
    w->run[run].has_failed = pid < 0;
    if (pid < 0)
        return;
    crew->job[slot] = (struct job){.pid = pid, .run = run, .began_s = sim_progress_now()};
    crew->busy++;
}

int sim_sweep_execute(struct sim_sweep *w, unsigned jobs)
{
    struct crew crew = {.sweep = w, .jobs = jobs, .job = calloc(jobs, sizeof *crew.job)};
    bool has_failed = false;
    if (crew.job == NULL) {
        fputs("meshsim: out of memory\n", stderr);
        return -1;
    }
    catch_signals(&crew);
    size_t next = next_own(w, 0);
    while (crew.busy > 0 || (next < w->run_count && signals == 0)) {
        if (crew.busy < jobs && next < w->run_count && signals == 0) {
            start_one(&crew, next);
            next = next_own(w, next + 1);
        } else {
            wait_for_some(&crew);
        }
    }
    release_signals(&crew);
    for (size_t i = 0; i < w->run_count; i++)
        has_failed |= w->run[i].has_failed;
    free(crew.job);
    return signals > 0 ? 1 : has_failed ? -1 : 0;
}

/* --- list --------------------------------------------------------------------------------------------------------- */

static void print_quoted(const char *text)
{
    if (text[0] != '\0' &&
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+") == strlen(text)) {
        fputs(text, stdout);
        return;
    }
    putchar('\'');
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    putchar('\'');
}

void sim_sweep_list(const struct sim_sweep *w, const char *program)
{
    for (size_t i = next_own(w, 0); i < w->run_count; i = next_own(w, i + 1)) {
        size_t n = 0;
        char **argv = make_arguments(w, &w->run[i], program, &n);
        for (size_t k = 0; argv != NULL && k < n; k++) {
            if (k > 0)
                putchar(' ');
            print_quoted(argv[k]);
        }
        putchar('\n');
        sim_sweep_sets_free(argv, n);
    }
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static unsigned default_jobs(void)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (sim_parallel_size() > 1)
        return 1;
    return cores > 1 && cores <= 1024 ? (unsigned)cores : 1;
}

/* Rank 0, once all are through. The exit status. */
static int conclude(struct sim_sweep *w, uint64_t failed)
{
    char error[512];
    const size_t finished = sim_sweep_look(w);
    const bool is_part = w->options->only != NULL || w->options->tasks > 1;
    if (finished < w->run_count && is_part) {
        fprintf(stderr, "meshsim: %zu of %zu runs of this sweep are finished\n", finished, w->run_count);
        return failed > 0;
    }
    if (finished > 0 && sim_sweep_tables(w, error, sizeof error) != 0) {
        fprintf(stderr, "meshsim: %s\n", error);
        return 1;
    }
    if (finished < w->run_count)
        fprintf(stderr, "meshsim: %zu of %zu runs failed\n", w->run_count - finished, w->run_count);
    else if (!w->options->quiet)
        printf("%zu runs: %s/runs.csv, %s/summary.csv\n", finished, w->dir, w->dir);
    return finished < w->run_count;
}

static int sweep(struct sim_sweep *w)
{
    char program[4096];
    const struct sim_sweep_options *o = w->options;
    (void)sim_sweep_look(w);
    if (o->list) {
        const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
        program[n > 0 ? n : 0] = '\0';
        if (sim_parallel_rank() == 0)
            sim_sweep_list(w, n > 0 ? program : "meshsim");
        return 0;
    }
    const bool has_folder = make_folders(w->dir) == 0;
    if (!has_folder)
        fprintf(stderr, "meshsim: %s: %s\n", w->dir, strerror(errno));
    if (sim_parallel_max(!has_folder) != 0)
        return 1;
    const int rc = sim_sweep_execute(w, o->jobs > 0 ? o->jobs : default_jobs());
    uint64_t verdict[] = {rc > 0, rc < 0}, status = 0;
    sim_parallel_sum(verdict, 2);
    if (verdict[0] > 0)
        return 130;
    if (sim_parallel_rank() == 0)
        status = (uint64_t)conclude(w, verdict[1]);
    return (int)sim_parallel_max(status);
}

int sim_sweep_command(int argc, char **argv)
{
    struct sim_sweep_options options;
    struct sim_sweep w = {0};
    char error[512] = "";
    int rc = sim_sweep_options_get(&options, argc, argv, error, sizeof error);
    if (rc > 0 && sim_parallel_rank() == 0)
        fputs(sim_sweep_help, stdout);
    if (rc == 0)
        rc = sim_sweep_plan(&w, &options, error, sizeof error);
    if (rc < 0)
        fprintf(stderr, "meshsim sweep: %s\n", error);
    int status = sim_parallel_max(rc < 0) != 0 ? 2 : 0;
    if (rc == 0 && status == 0)
        status = sweep(&w);
    sim_sweep_free(&w);
    sim_sweep_options_free(&options);
    return status;
}
