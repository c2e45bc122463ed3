#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- sealed images ------------------------------------------------------------------------------------------------ */

static int fill(int fd, port_image_read *read, void *ctx, uint32_t size)
{
    uint8_t piece[4096];
    for (uint32_t at = 0; at < size;) {
        const uint32_t len = size - at < sizeof piece ? size - at : (uint32_t)sizeof piece;
        if (read(ctx, at, piece, len) != 0)
            return -EIO;
        const ssize_t n = write(fd, piece, len);
        if (n != (ssize_t)len)
            return n < 0 ? -errno : -ENOSPC;
        at += len;
    }
    return 0;
}

static int check_digest(int fd, const struct mp_crypto *crypto, uint32_t size, const uint8_t sha256[32])
{
    struct mp_sha256 state;
    uint8_t piece[4096], digest[32];
    crypto->sha256_init(&state);
    for (uint32_t at = 0; at < size;) {
        const ssize_t n = pread(fd, piece, sizeof piece, at);
        if (n <= 0 || (uint32_t)n > size - at)
            return -EIO;
        crypto->sha256_update(&state, piece, (size_t)n);
        at += (uint32_t)n;
    }
    crypto->sha256_final(&state, digest);
    return memcmp(digest, sha256, sizeof digest) == 0 ? 0 : -EBADMSG;
}

int port_image_load(const struct mp_crypto *crypto, port_image_read *read, void *ctx, uint32_t size,
                    const uint8_t sha256[32])
{
    const int fd = memfd_create("node-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int rc = fill(fd, read, ctx, size);
    if (rc == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        rc = -errno;
    if (rc == 0)
        rc = check_digest(fd, crypto, size, sha256);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    return fd;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void set_number(const char *name, unsigned value)
{
    char text[12];
    snprintf(text, sizeof text, "%u", value);
    setenv(name, text, 1);
}

static void keep_across_exec(int fd)
{
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) != 0)
        _exit(126);
}

/* What tells the loader to put other code into a process is not for one whose code was verified. */
static void drop_loader_variables(void)
{
    char **to = environ;
    for (char **from = environ; *from != NULL; from++)
        if (strncmp(*from, "LD_", 3) != 0)
            *to++ = *from;
    *to = NULL;
}

/* The child's side of the fork; does not return. */
static void become_image(const struct port_child *c, int kick, pid_t parent)
{
    sigset_t none;
    const struct rlimit no_core = {0, 0};
    static char name[] = "node";
    char *const argv[] = {name, NULL};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
    setrlimit(RLIMIT_CORE, &no_core); /* a device that crashes leaves nothing but its flash */
    setpgid(0, 0);                    /* a terminal's signals are for the bootloader, which decides */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const int null = open("/dev/null", O_RDWR);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (c->log >= 0) {
        dup2(c->log, STDOUT_FILENO);
        dup2(c->log, STDERR_FILENO);
    }
    if (null > STDERR_FILENO)
        close(null);
    keep_across_exec(c->flash);
    keep_across_exec(kick);
    drop_loader_variables();
    set_number(PORT_ENV_FLASH, (unsigned)c->flash);
    set_number(PORT_ENV_KICK, (unsigned)kick);
    set_number(PORT_ENV_WATCHDOG, c->watchdog_ms);
    set_number(PORT_ENV_CAUSE, c->cause);
    set_number(PORT_ENV_SLOT, c->slot);
    if (c->hci != NULL)
        setenv(PORT_ENV_HCI, c->hci, 1);
    else
        unsetenv(PORT_ENV_HCI);
    fexecve(c->image, argv, environ);
    _exit(126);
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

static enum boot_cause cause_of(int status)
{
    return WIFEXITED(status) ? boot_cause_from_exit(WEXITSTATUS(status)) : BOOT_CAUSE_CRASH;
}

/* Waits until the child ended, must be stopped, or missed its kicks; the last two leave it running. */
static void watch(const struct port_child *c, int process, int kick, struct port_end *end, bool *late)
{
    uint64_t due = now_ms() + c->watchdog_ms;
    struct pollfd p[3] = {
        {.fd = process, .events = POLLIN}, {.fd = kick, .events = POLLIN}, {.fd = c->stop, .events = POLLIN}};
    *late = false;
    for (;;) {
        uint8_t kicks[256];
        const uint64_t now = now_ms();
        const int n = poll(p, 3, due > now ? (int)(due - now) : 0);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0 && p[2].revents != 0) {
            end->stopped = true;
            return;
        }
        if (n > 0 && p[0].revents != 0)
            return;
        if (n > 0 && p[1].revents != 0) {
            const ssize_t got = read(kick, kicks, sizeof kicks);
            if (got > 0)
                due = now_ms() + c->watchdog_ms;
            else if (got == 0)
                p[1].fd = -1; /* it closed its end: the time still runs */
            continue;
        }
        if (now_ms() >= due) {
            *late = true;
            return;
        }
    }
}

int port_child_run(const struct port_child *c, struct port_end *end)
{
    int kick[2], rc = 0;
    bool late = false;
    memset(end, 0, sizeof *end);
    if (c->watchdog_ms < 50 || c->watchdog_ms > 3600000)
        return -EINVAL;
    if (pipe2(kick, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    const uint64_t begun = now_ms();
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        rc = -errno;
        close(kick[0]);
        close(kick[1]);
        return rc;
    }
    if (pid == 0)
        become_image(c, kick[1], parent);
    close(kick[1]);
    if (c->started != NULL)
        c->started(c->ctx, pid);

    const int process = pidfd_open(pid, 0);
    if (process >= 0)
        watch(c, process, kick[0], end, &late);
    else
        rc = -errno;
    /* No other process or group can have this id before waitpid(). The group: what the image started has the flash
     * open, too, and must not write while the next boot reads. */
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
    while (waitpid(pid, &end->status, 0) < 0 && errno == EINTR)
        ;
    end->cause = late ? BOOT_CAUSE_WATCHDOG : cause_of(end->status);
    end->lived_ms = (uint32_t)(now_ms() - begun);
    if (process >= 0)
        close(process);
    close(kick[0]);
    return rc;
}
