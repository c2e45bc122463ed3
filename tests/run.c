/*
 * Test runner: runs test programs side by side, counts the tests in their output, and cleans up after them.
 *
 *   run [-j JOBS] [-b BUILD] [-o FILE.json] [-f FUZZ_SECONDS] [-t TIMEOUT_SECONDS] [-m PATTERN] KIND:PROGRAM...
 *
 * Every program runs under a supervisor process of its own: in its own process group, with an empty temporary folder
 * (TMPDIR), BUILD set to the absolute build folder, the top of the source tree as working directory and no stdin. The
 * supervisor adopts whatever the program leaves behind (PR_SET_CHILD_SUBREAPER), kills it by process id, and calls that
 * a failure; the same happens when the runner itself dies. So nothing outlives a run, and two runs never meet.
 *
 * A program passes when it exits with 0 and reports at least one test and no failure, in cmocka's words. One that
 * crashes, hangs, reports nothing or fewer tests than it announced has failed. A fuzz harness counts as one test. Lines
 * that begin with "note: " are shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

enum { NAME_MAX_LEN = 64, TAIL_BYTES = 16384, GRACE_MS = 1500, TERM_MS = 2000 };

/* A family of programs. */
struct kind {
    const char *name;
    unsigned timeout_s;
    bool fuzz;
};

static const struct kind kinds[] = {
    {"power", 780, false}, {"sim", 600, false}, {"emu", 600, false}, {"e2e", 420, false}, {"attack", 300, false},
    {"unit", 180, false},  {"mcu", 180, false}, {"fuzz", 60, true}, /* beside the seconds it fuzzes */
};

/* One program. Lies in memory shared with its supervisor, which fills in the lower half. */
struct job {
    const struct kind *kind;
    const char *path;
    char name[NAME_MAX_LEN];
    char log[PATH_MAX];
    pid_t supervisor;
    bool done;
    int passed;
    int failed;
    int skipped;
    char cause[96]; /* empty: none */

    int status; /* of wait() */
    bool timed_out;
    bool left_running;
    double seconds;
};

static struct {
    unsigned slots;
    unsigned fuzz_seconds;
    unsigned timeout_s; /* instead of the kind's; 0: the kind's */
    const char *pattern;
    const char *json;
    char build[PATH_MAX];
    char temp[PATH_MAX];
} options = {.slots = 2, .fuzz_seconds = 5};

static volatile sig_atomic_t stopped;
static unsigned running; /* supervisors */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "run: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* --- supervisor --------------------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Waits for a child to end, at most ms. Its id (status filled in), 0 on timeout or when asked to stop, -1 without
 * children. */
static pid_t wait_child(int *status, long ms)
{
    double end = now_s() + (double)ms / 1000;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    for (;;) {
        pid_t pid = waitpid(-1, status, WNOHANG);
        if (pid != 0) {
            return pid;
        }
        double left = end - now_s();
        if (left <= 0) {
            return 0;
        }
        struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        if (sigtimedwait(&set, NULL, &t) == SIGTERM) {
            stopped = 1;
            return 0;
        }
    }
}

/* Kills every process whose parent is this one; says whether there was any. */
static bool kill_children(void)
{
    bool any = false;
    DIR *dir = opendir("/proc");
    if (!dir) {
        return false;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end != '\0' || pid <= 0) {
            continue;
        }
        char path[64];
        char line[512];
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        FILE *f = fopen(path, "r");
        if (!f) {
            continue;
        }
        /* "pid (name) state ppid": the name may hold anything, so look behind the last parenthesis. */
        char state;
        int parent;
        const char *tail = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        fclose(f);
        if (tail && sscanf(tail + 1, " %c %d", &state, &parent) == 2 && parent == getpid() && state != 'Z') {
            kill((pid_t)pid, SIGKILL);
            any = true;
        }
    }
    closedir(dir);
    return any;
}

/* Ends what the program left behind. What is about to end by itself gets a moment; the rest is counted. */
static void sweep(struct job *job, bool patient)
{
    double end = now_s() + (patient ? GRACE_MS / 1000.0 : 0);
    int status;
    while (now_s() < end && !stopped) {
        if (wait_child(&status, 100) < 0) {
            return;
        }
    }
    for (int i = 0; i < 100; i++) {
        job->left_running |= kill_children();
        if (wait_child(&status, 50) < 0) {
            return;
        }
    }
}

/* Becomes the program. argv[0] is looked up as it is. */
static void become(const struct job *job, const char *temp)
{
    char fuzz_time[32], artifacts[PATH_MAX + 128], found[PATH_MAX + 32], corpus[256];
    const char *argv[10] = {job->path};
    if (job->kind->fuzz) {
        size_t n = 1;
        snprintf(fuzz_time, sizeof fuzz_time, "-max_total_time=%u", options.fuzz_seconds);
        snprintf(artifacts, sizeof artifacts, "-artifact_prefix=%s/crashes/%s-", options.build, job->name);
        snprintf(found, sizeof found, "%s/corpus", temp);
        const char *base = strncmp(job->name, "fuzz_", 5) == 0 ? job->name + 5 : job->name;
        snprintf(corpus, sizeof corpus, "tests/fuzz/corpus/%s", base);
        mkdir(found, 0700);
        argv[n++] = fuzz_time;
        argv[n++] = artifacts;
        argv[n++] = "-print_final_stats=1";
        argv[n++] = "-timeout=10";
        argv[n++] = "-rss_limit_mb=1024";
        argv[n++] = found;
        argv[n] = access(corpus, R_OK) == 0 ? corpus : NULL;
    }
    setenv("TMPDIR", temp, 1);
    setenv("BUILD", options.build, 1);
    setenv("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1", 1);
    setenv("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1", 1);
    unsetenv("MAKEFLAGS");
    unsetenv("MAKELEVEL");
    unsetenv("MFLAGS");
    int in = open("/dev/null", O_RDONLY);
    int out = open(job->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
        _exit(127);
    }
    close(in);
    close(out);
    execv(job->path, (char *const *)argv);
    fprintf(stderr, "cannot execute %s: %s\n", job->path, strerror(errno));
    _exit(127);
}

static void supervise(struct job *job, unsigned number)
{
    char temp[PATH_MAX + 16];
    snprintf(temp, sizeof temp, "%s/%u", options.temp, number);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (mkdir(temp, 0700) < 0) {
        _exit(2);
    }
    double start = now_s();
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGINT, SIG_DFL);
        setpgid(0, 0);
        become(job, temp);
    }
    if (pid < 0) {
        _exit(2);
    }
    setpgid(pid, pid);
    unsigned timeout_s = options.timeout_s > 0 ? options.timeout_s : job->kind->timeout_s;
    timeout_s += job->kind->fuzz ? options.fuzz_seconds : 0;
    bool ended = false;
    while (!ended && !stopped) {
        double left = start + timeout_s - now_s();
        int status;
        pid_t got = left > 0 ? wait_child(&status, (long)(left * 1000) + 1) : 0;
        if (got == pid) {
            job->status = status;
            ended = true;
        } else if (left <= 0) {
            break;
        }
    }
    if (!ended) {
        job->timed_out = !stopped;
        stopped = 0;
        kill(-pid, SIGTERM);
        for (double end = now_s() + TERM_MS / 1000.0; now_s() < end && wait_child(&job->status, 100) != pid;) {
        }
    }
    job->seconds = now_s() - start;
    if (ended) {
        sweep(job, true);
    }
    kill(-pid, SIGKILL);
    sweep(job, false);
    remove_tree(temp);
    _exit(0);
}

/* --- verdict ------------------------------------------------------------------------------------------------------ */

static int number_at(const char *s, const char *before)
{
    const char *p = strstr(s, before);
    return p ? (int)strtol(p + strlen(before), NULL, 10) : 0;
}

struct tally {
    int announced;
    int ok;         /* "[       OK ] name" */
    int passed;     /* "[  PASSED  ] n test(s)" */
    int failed;     /* " n FAILED TEST(S)" */
    int fail_lines; /* "[  FAILED  ] name" */
    int skipped;
    long executed; /* units of a fuzz harness */
};

static void tally_line(struct tally *t, const char *line)
{
    if (strncmp(line, "[==========]", 12) == 0 && strstr(line, "Running")) {
        t->announced += number_at(line, "Running");
    } else if (strncmp(line, "[       OK ]", 12) == 0) {
        t->ok++;
    } else if (strncmp(line, "[  PASSED  ]", 12) == 0) {
        t->passed += number_at(line, "]");
    } else if (strncmp(line, "[  SKIPPED ]", 12) == 0 && strstr(line, "test(s)")) {
        t->skipped += number_at(line, "]");
    } else if (strncmp(line, "[  FAILED  ]", 12) == 0 && !strstr(line, "test(s)")) {
        t->fail_lines++;
    } else if (strstr(line, " FAILED TEST(S)")) {
        t->failed += (int)strtol(line, NULL, 10);
    } else if (strncmp(line, "stat::number_of_executed_units:", 31) == 0) {
        t->executed = strtol(line + 31, NULL, 10);
    }
}

static void blame(struct job *job, const char *cause)
{
    if (job->failed == 0) {
        job->failed = 1;
    }
    if (job->cause[0] == '\0') {
        snprintf(job->cause, sizeof job->cause, "%s", cause);
    }
}

/* Reads the log and fills in passed, failed, skipped, cause. */
static void judge(struct job *job)
{
    struct tally t = {0};
    char line[1024];
    FILE *f = fopen(job->log, "r");
    while (f && fgets(line, sizeof line, f)) {
        tally_line(&t, line);
    }
    if (f) {
        fclose(f);
    }
    bool clean = WIFEXITED(job->status) && WEXITSTATUS(job->status) == 0;
    if (job->kind->fuzz) {
        job->passed = clean && t.executed > 0;
    } else {
        job->passed = t.ok > t.passed ? t.ok : t.passed;
        job->skipped = t.skipped;
        job->failed = t.failed > 0 ? t.failed : t.fail_lines;
        int missing = t.announced - job->passed - job->failed - job->skipped;
        job->failed += missing > 0 ? missing : 0; /* ended before all announced tests ran */
    }
    char cause[64];
    if (job->timed_out) {
        blame(job, "timed out");
    } else if (WIFSIGNALED(job->status)) {
        snprintf(cause, sizeof cause, "killed by signal %d", WTERMSIG(job->status));
        blame(job, cause);
    } else if (!clean) {
        snprintf(cause, sizeof cause, "exit status %d", WEXITSTATUS(job->status));
        blame(job, cause);
    } else if (job->passed + job->failed == 0) {
        blame(job, job->kind->fuzz ? "executed nothing" : "reported no test");
    }
    if (job->left_running && !job->timed_out) {
        job->failed++;
        blame(job, "left processes running");
    }
}

/* --- report ------------------------------------------------------------------------------------------------------- */

static void print_output(const struct job *job)
{
    char line[1024];
    FILE *f = fopen(job->log, "r");
    if (!f) {
        return;
    }
    bool whole = job->failed > 0;
    if (whole && fseek(f, 0, SEEK_END) == 0 && ftell(f) > TAIL_BYTES) {
        fseek(f, -TAIL_BYTES, SEEK_END);
        printf("        ...\n");
    } else {
        rewind(f);
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (whole) {
            printf("        | %s\n", line);
        } else if (strncmp(line, "note: ", 6) == 0) {
            printf("        %s\n", line + 6);
        }
    }
    fclose(f);
}

static void print_job(const struct job *job)
{
    printf("  %-4s  %-8s %-32s %4d passed", job->failed > 0 ? "FAIL" : "ok", job->kind->name, job->name, job->passed);
    if (job->failed > 0) {
        printf(", %d failed", job->failed);
    }
    if (job->skipped > 0) {
        printf(", %d skipped", job->skipped);
    }
    printf("  %6.1f s", job->seconds);
    if (job->cause[0] != '\0') {
        printf("  (%s)", job->cause);
    }
    printf("\n");
    print_output(job);
    if (job->failed > 0) {
        printf("        again: make test TESTS=%s/%s\n", job->kind->name, job->name);
    }
    fflush(stdout);
}

/* Written beside and renamed, so that a reader never sees half a file. Names are made of safe characters (main checks).
 */
static void write_json(const struct job *jobs, unsigned count, int passed, int failed, double seconds)
{
    char part[PATH_MAX + 32];
    snprintf(part, sizeof part, "%s.%d", options.json, (int)getpid());
    FILE *f = fopen(part, "w");
    if (!f) {
        die(part);
    }
    fprintf(f, "{\n  \"passed\": %d,\n  \"failed\": %d,\n  \"seconds\": %.1f,\n  \"programs\": [", passed, failed,
            seconds);
    for (unsigned i = 0; i < count; i++) {
        const struct job *j = &jobs[i];
        fprintf(f,
                "%s\n    {\"kind\": \"%s\", \"name\": \"%s\", \"passed\": %d, \"failed\": %d, \"skipped\": %d, "
                "\"seconds\": %.1f, \"cause\": \"%s\"}",
                i > 0 ? "," : "", j->kind->name, j->name, j->passed, j->failed, j->skipped, j->seconds, j->cause);
    }
    fprintf(f, "\n  ]\n}\n");
    if (fclose(f) != 0 || rename(part, options.json) < 0) {
        die(options.json);
    }
}

/* --- runner ------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct job *job)
{
    char name[NAME_MAX_LEN + 16];
    snprintf(name, sizeof name, "%s/%s", job->kind->name, job->name);
    const char *p = options.pattern;
    return !p || !*p || strstr(name, p) || fnmatch(p, name, 0) == 0 || fnmatch(p, job->name, 0) == 0;
}

/* "KIND:PROGRAM" */
static void job_init(struct job *job, const char *arg)
{
    const char *path = strchr(arg, ':');
    for (size_t i = 0; path && i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i].name);
        if ((size_t)(path - arg) == len && strncmp(arg, kinds[i].name, len) == 0) {
            job->kind = &kinds[i];
        }
    }
    if (!path || !job->kind) {
        fprintf(stderr, "run: %s: not KIND:PROGRAM\n", arg);
        exit(2);
    }
    job->path = path + 1;
    const char *slash = strrchr(job->path, '/');
    const char *name = slash ? slash + 1 : job->path;
    size_t len = strlen(name);
    if (len == 0 || len >= sizeof job->name || strspn(name, "abcdefghijklmnopqrstuvwxyz_-.0123456789") != len) {
        fprintf(stderr, "run: %s: program names are made of a-z 0-9 _ - .\n", name);
        exit(2);
    }
    memcpy(job->name, name, len + 1);
}

static void on_stop(int sig)
{
    (void)sig;
    stopped = 1;
}

static void start(struct job *jobs, unsigned i)
{
    struct job *job = &jobs[i];
    pid_t runner = getpid();
    snprintf(job->log, sizeof job->log, "%.4000s/%u.log", options.temp, i);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGINT, SIG_IGN); /* the terminal tells the runner, the runner tells us */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != runner) {
            _exit(2);
        }
        supervise(job, i);
    }
    job->supervisor = pid;
    running++;
}

/* Waits for one supervisor; judges and prints its job. False when none is left. */
static bool finish_one(struct job *jobs, unsigned count)
{
    int status;
    pid_t pid = wait(&status);
    if (pid < 0 && errno == EINTR) {
        for (unsigned i = 0; i < count; i++) {
            if (jobs[i].supervisor > 0 && !jobs[i].done) {
                kill(jobs[i].supervisor, SIGTERM);
            }
        }
        return true;
    }
    for (unsigned i = 0; pid > 0 && i < count; i++) {
        struct job *job = &jobs[i];
        if (job->supervisor == pid) {
            job->done = true;
            running--;
            if (!stopped) {
                judge(job);
                if (status != 0) {
                    blame(job, "the supervisor failed");
                }
                print_job(job);
            }
        }
    }
    return pid > 0;
}

static void run_all(struct job *jobs, unsigned count)
{
    for (unsigned i = 0; i < count && !stopped; i++) {
        while (running == options.slots && finish_one(jobs, i)) {
        }
        if (!stopped) {
            start(jobs, i);
        }
    }
    while (finish_one(jobs, count)) {
    }
}

static void parse_options(int argc, char **argv)
{
    const char *build = "build";
    for (int c; (c = getopt(argc, argv, "j:b:o:f:t:m:")) != -1;) {
        switch (c) {
        case 'j':
            options.slots = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'b':
            build = optarg;
            break;
        case 'o':
            options.json = optarg;
            break;
        case 'f':
            options.fuzz_seconds = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            options.timeout_s = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            options.pattern = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (options.slots == 0 || options.slots > 64) {
        options.slots = 1;
    }
    mkdir(build, 0777);
    if (!realpath(build, options.build)) {
        die(build);
    }
    char crashes[PATH_MAX + 16];
    snprintf(crashes, sizeof crashes, "%s/crashes", options.build);
    mkdir(crashes, 0777);
    /* Short: unix socket paths below it hold about 100 characters. */
    const char *base = getenv("TMPDIR");
    snprintf(options.temp, sizeof options.temp, "%.60s/mftXXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(options.temp)) {
        die(options.temp);
    }
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    unsigned count = 0;
    unsigned room = (unsigned)(argc - optind) + 1;
    struct job *jobs = mmap(NULL, room * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (jobs == MAP_FAILED) {
        die("mmap");
    }
    for (int i = optind; i < argc; i++) {
        struct job *job = &jobs[count];
        job_init(job, argv[i]);
        if (is_wanted(job)) {
            count++;
        } else {
            memset(job, 0, sizeof *job);
        }
    }
    struct sigaction stop = {.sa_handler = on_stop}; /* without SA_RESTART: wait() must return */
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    double start_s = now_s();
    run_all(jobs, count);
    remove_tree(options.temp);
    if (stopped) {
        fprintf(stderr, "run: interrupted\n");
        return 130;
    }
    int passed = 0, failed = 0;
    for (unsigned i = 0; i < count; i++) {
        passed += jobs[i].passed;
        failed += jobs[i].failed;
    }
    if (count == 0) {
        fprintf(stderr, "run: no test program%s%s\n", options.pattern ? " matches " : "",
                options.pattern ? options.pattern : "");
    }
    if (options.json) {
        write_json(jobs, count, passed, failed, now_s() - start_s);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
