#include "fleet_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 80

/* What runs, for the end of this process. */
static volatile pid_t started[PROCESSES_MAX];
static pid_t caretaker;
static int caretaker_pipe = -1;

static void forget(pid_t pid)
{
    for (unsigned i = 0; i < PROCESSES_MAX; i++)
        if (started[i] == pid)
            started[i] = 0;
}

static int remember(pid_t pid)
{
    for (unsigned i = 0; i < PROCESSES_MAX; i++) {
        if (started[i] == 0) {
            started[i] = pid;
            return 0;
        }
    }
    return -1;
}

static void rest_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* --- folder ------------------------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    /* a process that is just dying may still make a file */
    for (int i = 0; i < 20 && nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0 && access(path, F_OK) == 0; i++)
        rest_ms(50);
}

/* Sleeps until the other end of the pipe is closed, by process_folder_close() or by death. */
_Noreturn static void take_care(int fd, const char *dir, bool keep)
{
    char letter;
    ssize_t n;
    setsid(); /* a terminal's signals are not for it */
    signal(SIGTERM, SIG_IGN);
    const int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++) /* whoever reads this program's output must not wait for it */
        dup2(null, i);
    while ((n = read(fd, &letter, 1)) < 0 && errno == EINTR)
        ;
    if (n == 0)
        rest_ms(200); /* the processes that died with it go */
    if (!keep)
        remove_tree(dir);
    _exit(0);
}

static void on_exit_of_this(void)
{
    for (unsigned i = 0; i < PROCESSES_MAX; i++)
        process_kill(started[i]);
    if (caretaker > 0) {
        close(caretaker_pipe);
        waitpid(caretaker, NULL, 0);
        caretaker = 0;
    }
}

static void on_signal(int number)
{
    for (unsigned i = 0; i < PROCESSES_MAX; i++)
        if (started[i] > 0)
            kill(started[i], SIGKILL);
    signal(number, SIG_DFL);
    raise(number);
}

int process_folder(char *out, size_t cap, bool keep)
{
    static bool is_armed;
    const char *base = getenv("TMPDIR");
    int fd[2];
    snprintf(out, cap, "%s/fleet-XXXXXX", base != NULL && *base != 0 ? base : "/tmp");
    if (mkdtemp(out) == NULL || pipe2(fd, O_CLOEXEC) != 0)
        return -1;
    fflush(NULL);
    caretaker = fork();
    if (caretaker < 0)
        return -1;
    if (caretaker == 0) {
        close(fd[1]);
        take_care(fd[0], out, keep);
    }
    close(fd[0]);
    caretaker_pipe = fd[1];
    if (!is_armed) {
        is_armed = true;
        atexit(on_exit_of_this);
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        signal(SIGHUP, on_signal);
        signal(SIGPIPE, SIG_IGN);
    }
    return 0;
}

void process_folder_close(void)
{
    if (caretaker <= 0)
        return;
    if (write(caretaker_pipe, "c", 1) != 1)
        perror("caretaker");
    close(caretaker_pipe);
    waitpid(caretaker, NULL, 0);
    caretaker = 0;
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

/* In the child. out: where standard output goes, -1 to the log. */
_Noreturn static void become(pid_t parent, int out, const char *log, const char *const argv[])
{
    const int null = open("/dev/null", O_RDONLY);
    const int err = log != NULL ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0 || err < 0)
        _exit(125);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    dup2(null, 0);
    if (out >= 0 || log != NULL)
        dup2(out >= 0 ? out : err, 1);
    dup2(err, 2);
    execv(argv[0], (char *const *)argv);
    perror(argv[0]);
    _exit(126);
}

pid_t process_start(const char *log, const char *const argv[])
{
    const pid_t parent = getpid();
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        become(parent, -1, log, argv);
    if (pid > 0 && remember(pid) != 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        errno = EAGAIN;
        return -1;
    }
    return pid;
}

void process_kill(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    forget(pid);
}

int process_ended(pid_t pid, int *status)
{
    int raw = 0;
    if (pid <= 0 || waitpid(pid, &raw, WNOHANG) == 0)
        return pid <= 0;
    forget(pid);
    *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return 1;
}

int process_is_gone(pid_t pid)
{
    int status;
    return process_ended(pid, &status);
}

void process_stop(pid_t pid, int ms)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    for (; ms > 0; ms -= 10) {
        if (process_is_gone(pid))
            return;
        rest_ms(10);
    }
    process_kill(pid);
}

int process_run(char *out, size_t cap, const char *log, const char *const argv[])
{
    int fd[2], status = 0;
    size_t n = 0;
    const pid_t parent = getpid();
    if (pipe2(fd, O_CLOEXEC) != 0)
        return -1;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        become(parent, fd[1], log, argv);
    close(fd[1]);
    for (;;) {
        char spare[4096];
        const bool fits = out != NULL && n + 1 < cap;
        const ssize_t got = read(fd[0], fits ? out + n : spare, fits ? cap - n - 1 : sizeof spare);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += fits ? (size_t)got : 0;
    }
    close(fd[0]);
    if (out != NULL && cap > 0)
        out[n] = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Parent of a process, by /proc. */
static pid_t parent_of(const char *pid)
{
    char path[300], line[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    const char *end = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    if (end != NULL && sscanf(end + 1, " %*c %d", &parent) != 1)
        parent = 0;
    fclose(file);
    return parent;
}

pid_t process_child(pid_t parent)
{
    pid_t found = 0;
    DIR *dir = opendir("/proc");
    if (dir == NULL || parent <= 0) {
        if (dir != NULL)
            closedir(dir);
        return 0;
    }
    for (struct dirent *e; found == 0 && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && parent_of(e->d_name) == parent)
            found = (pid_t)strtol(e->d_name, NULL, 10);
    closedir(dir);
    return found;
}

void process_tail(const char *path, size_t bytes)
{
    char text[8192];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (bytes > sizeof text)
        bytes = sizeof text;
    if (fseek(file, -(long)bytes, SEEK_END) != 0)
        rewind(file);
    const size_t n = fread(text, 1, bytes, file);
    fclose(file);
    if (n == 0)
        return;
    printf("--- %s\n%.*s%s", path, (int)n, text, text[n - 1] == '\n' ? "" : "\n");
}
