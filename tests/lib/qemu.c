#include "qemu_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fleet_process.h"

enum { START_S = 20, SEND_S = 5, SERIAL_S = 5, LOG_TAIL = 2000 };

static void give_up(void)
{
    exit(1);
}

void (*qemu_failed)(void) = give_up;

double qemu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void rest_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

void qemu_file(const struct qemu *q, char out[QEMU_PATH_MAX], const char *suffix)
{
    if (snprintf(out, QEMU_PATH_MAX, "%s/%s.%s", q->dir, q->name, suffix) >= QEMU_PATH_MAX)
        abort(); /* qemu_open() made sure that it fits */
}

const char *qemu_log(const struct qemu *q)
{
    static char path[QEMU_PATH_MAX];
    qemu_file(q, path, "log");
    return path;
}

void qemu_fail(struct qemu *q, const char *format, ...)
{
    static bool is_failing; /* the registers' own failure */
    va_list list;
    printf("part %s: ", q->name);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    if (!is_failing && q->pid > 0 && q->qmp >= 0 && !process_is_gone(q->pid)) {
        char text[1024];
        is_failing = true;
        qemu_monitor(q, "info registers", text, sizeof text);
        printf("--- its registers%s (%s, reset %u times from outside and %u times by itself)\n", text,
               q->running ? "running" : "stopped", q->resets_asked, q->resets_own);
    }
    is_failing = false;
    process_tail(qemu_log(q), LOG_TAIL);
    fflush(stdout);
    qemu_failed();
    abort();
}

void qemu_check_alive(struct qemu *q)
{
    int status = 0;
    if (q->pid <= 0 || !process_ended(q->pid, &status))
        return;
    q->pid = 0;
    qemu_fail(q, "its QEMU has ended with %d", status);
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */

static void address_of(const struct qemu *q, struct sockaddr_un *out, const char *suffix)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    qemu_file(q, out->sun_path, suffix);
}

int qemu_connect(struct qemu *q, const char *suffix)
{
    struct sockaddr_un address;
    address_of(q, &address, suffix);
    for (const double until = qemu_now() + START_S; qemu_now() < until; rest_ms(5)) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            qemu_fail(q, "no socket: %s", strerror(errno));
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            fcntl(fd, F_SETFL, O_NONBLOCK);
            return fd;
        }
        close(fd);
        qemu_check_alive(q);
    }
    qemu_fail(q, "%s: QEMU does not answer there", address.sun_path);
}

bool qemu_readable(int fd, double until)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        const double left = until - qemu_now();
        const int n = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

void qemu_send(struct qemu *q, int fd, const void *data, size_t len)
{
    const uint8_t *next = data;
    const double until = qemu_now() + SEND_S;
    while (len > 0) {
        const ssize_t n = send(fd, next, len, MSG_NOSIGNAL);
        if (n > 0) {
            next += n;
            len -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            qemu_check_alive(q);
            qemu_fail(q, "a line to QEMU broke: %s", strerror(errno));
        } else if (qemu_now() > until) {
            qemu_fail(q, "QEMU takes nothing for %d s", SEND_S);
        } else {
            rest_ms(1);
        }
    }
}

static void serial_listen(struct qemu *q)
{
    struct sockaddr_un address;
    address_of(q, &address, "u");
    q->serial_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->serial_listener < 0 || bind(q->serial_listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(q->serial_listener, 1) != 0)
        qemu_fail(q, "%s: %s", address.sun_path, strerror(errno));
}

int qemu_serial(struct qemu *q)
{
    if (q->serial >= 0)
        return q->serial;
    if (q->serial_listener < 0 || !qemu_readable(q->serial_listener, qemu_now() + SERIAL_S))
        qemu_fail(q, "its UART is not connected");
    q->serial = accept4(q->serial_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (q->serial < 0)
        qemu_fail(q, "its UART is not connected: %s", strerror(errno));
    return q->serial;
}

void qemu_serial_drop(struct qemu *q)
{
    if (q->serial >= 0)
        close(q->serial);
    q->serial = -1;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void start(struct qemu *q, const struct qemu_options *options)
{
    char path[QEMU_PATH_MAX], serial[QEMU_PATH_MAX], line[QEMU_PATH_MAX + 80], qmp[QEMU_PATH_MAX + 60],
        gdb[QEMU_PATH_MAX + 40], icount[24];
    const char *argv[40] = {"/usr/bin/env", "qemu-system-arm"};
    size_t n = 2;
    if (options->serial == NULL) {
        serial_listen(q);
        qemu_file(q, serial, "u");
    } else if (snprintf(serial, sizeof serial, "%s", options->serial) >= (int)sizeof serial || strchr(serial, ',')) {
        qemu_fail(q, "%s: QEMU takes no such path", options->serial);
    }
    /* tries again every second, so neither side needs to be there first */
    snprintf(line, sizeof line, "socket,id=line,path=%s,server=off,reconnect=1", serial);
    qemu_file(q, path, "q");
    snprintf(qmp, sizeof qmp, "socket,id=qmp,path=%s,server=on,wait=off", path);
    qemu_file(q, path, "g");
    snprintf(gdb, sizeof gdb, "unix:%s,server=on,wait=off", path);
    const char *const fixed[] = {"-M",
                                 "microbit",
                                 "-nodefaults",
                                 "-no-user-config",
                                 "-display",
                                 "none",
                                 "-S",
                                 "-accel",
                                 "tcg,tb-size=16",
                                 "-chardev",
                                 line,
                                 "-serial",
                                 "chardev:line",
                                 "-chardev",
                                 qmp,
                                 "-mon",
                                 "chardev=qmp,mode=control",
                                 "-gdb",
                                 gdb};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        argv[n++] = fixed[i];
    if (options->icount_shift >= 0) {
        snprintf(icount, sizeof icount, "shift=%d", options->icount_shift > 0 ? options->icount_shift : 6);
        argv[n++] = "-icount";
        argv[n++] = icount;
    }
    if (options->trace_guest_errors) {
        argv[n++] = "-d";
        argv[n++] = "guest_errors,unimp";
    }
    q->pid = process_start(qemu_log(q), argv);
    if (q->pid < 0)
        qemu_fail(q, "cannot start it: %s", strerror(errno));
}

void qemu_open(struct qemu *q, const struct qemu_options *options)
{
    *q = (struct qemu){.qmp = -1, .gdb = -1, .serial_listener = -1, .serial = -1};
    const int a = snprintf(q->name, sizeof q->name, "%s", options->name);
    const int b = snprintf(q->dir, sizeof q->dir, "%s", options->dir);
    /* its longest file: "/", ".mem" */
    if (a <= 0 || a >= (int)sizeof q->name || b <= 0 || a + b + 6 > QEMU_PATH_MAX || strchr(q->name, '/') != NULL ||
        strpbrk(q->dir, ",") != NULL || strchr(q->name, ',') != NULL)
        qemu_fail(q, "%s in %s: name or folder are not fit for a socket's address", options->name, options->dir);
    start(q, options);
    qemu_qmp_open(q);
}

void qemu_close(struct qemu *q)
{
    static const char *const suffixes[] = {"q", "g", "u", "mem", "log"};
    if (q->name[0] == 0)
        return;
    process_kill(q->pid);
    int *const fds[] = {&q->qmp, &q->gdb, &q->serial_listener, &q->serial};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[QEMU_PATH_MAX];
        qemu_file(q, path, suffixes[i]);
        unlink(path);
    }
    *q = (struct qemu){.qmp = -1, .gdb = -1, .serial_listener = -1, .serial = -1};
}

void qemu_run(struct qemu *q)
{
    qemu_qmp_do(q, "cont", NULL);
    q->running = true; /* its event may come later */
}

void qemu_pause(struct qemu *q)
{
    qemu_qmp_do(q, "stop", NULL);
    q->running = false;
}

void qemu_reset(struct qemu *q)
{
    const unsigned before = q->resets_asked;
    qemu_qmp_do(q, "system_reset", NULL);
    const double until = qemu_now() + START_S;
    while (q->resets_asked == before) {
        if (!qemu_readable(q->qmp, until))
            qemu_fail(q, "was not reset for %d s after it was asked to be", START_S);
        qemu_qmp_events(q);
    }
    if (q->resets_asked != before + 1)
        qemu_fail(q, "was reset more than once");
}

/* --- flash -------------------------------------------------------------------------------------------------------- */

void qemu_load(struct qemu *q, const uint8_t *image, size_t size)
{
    static uint8_t flash[QEMU_FLASH_SIZE], back[QEMU_FLASH_SIZE];
    const bool was_attached = q->gdb >= 0;
    if (size > QEMU_FLASH_SIZE)
        qemu_fail(q, "%zu bytes do not fit into its flash", size);
    memset(flash, 0xff, sizeof flash);
    if (size > 0)
        memcpy(flash, image, size);
    /* Only what the debugger's end writes survives a reset: QEMU would restore what it loaded itself. */
    if (!was_attached)
        qemu_gdb_open(q);
    qemu_gdb_write(q, 0, flash, sizeof flash);
    if (!was_attached)
        qemu_gdb_close(q);
    qemu_flash(q, back);
    for (size_t i = 0; i < sizeof flash; i++)
        if (flash[i] != back[i])
            qemu_fail(q, "flash at 0x%zx reads as %02x after %02x was written", i, back[i], flash[i]);
    qemu_reset(q); /* stack and start from the new vectors */
}

void qemu_image_file(struct qemu *q, uint8_t image[QEMU_FLASH_SIZE], uint32_t address, const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        qemu_fail(q, "%s: %s", path, strerror(errno));
    const size_t room = address < QEMU_FLASH_SIZE ? QEMU_FLASH_SIZE - address : 0;
    const size_t n = fread(image + (QEMU_FLASH_SIZE - room), 1, room, file);
    const bool fits = n > 0 && fgetc(file) == EOF && ferror(file) == 0;
    fclose(file);
    if (!fits)
        qemu_fail(q, "%s: empty, or does not fit into flash at 0x%lx", path, (unsigned long)address);
}

static void save_memory(struct qemu *q, uint32_t address, uint8_t *out, size_t len)
{
    char path[QEMU_PATH_MAX];
    qemu_file(q, path, "mem");
    cJSON *arguments = cJSON_CreateObject();
    if (arguments == NULL || !cJSON_AddNumberToObject(arguments, "val", address) ||
        !cJSON_AddNumberToObject(arguments, "size", (double)len) ||
        !cJSON_AddStringToObject(arguments, "filename", path))
        qemu_fail(q, "out of memory");
    /* by the processor's own addresses: pmemsave, by those of the machine, reads zeros */
    qemu_qmp_do(q, "memsave", arguments);
    FILE *file = fopen(path, "rbe");
    const size_t n = file != NULL ? fread(out, 1, len, file) : 0;
    if (file != NULL)
        fclose(file);
    unlink(path);
    if (n != len)
        qemu_fail(q, "only %zu of %zu bytes of memory at 0x%lx were saved", n, len, (unsigned long)address);
}

void qemu_peek(struct qemu *q, uint32_t address, void *out, size_t len)
{
    const bool in_flash = address < QEMU_FLASH_SIZE && len <= QEMU_FLASH_SIZE - address;
    const bool in_ram =
        address >= QEMU_RAM && address - QEMU_RAM < QEMU_RAM_SIZE && len <= QEMU_RAM_SIZE - (address - QEMU_RAM);
    if (len == 0 || (!in_flash && !in_ram))
        qemu_fail(q, "%zu bytes at 0x%lx are neither flash nor RAM", len, (unsigned long)address);
    qemu_qmp_events(q);
    const bool was_running = q->running;
    if (was_running && q->gdb >= 0)
        qemu_fail(q, "cannot be looked into while it runs with the debugger attached");
    /* a single word is whole anyway */
    const bool pause = was_running && !(len == 4 && address % 4 == 0);
    if (pause)
        qemu_pause(q);
    save_memory(q, address, out, len);
    if (pause)
        qemu_run(q);
}

uint32_t qemu_peek_u32(struct qemu *q, uint32_t address)
{
    uint8_t b[4];
    qemu_peek(q, address, b, sizeof b);
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

void qemu_flash(struct qemu *q, uint8_t out[QEMU_FLASH_SIZE])
{
    qemu_peek(q, 0, out, QEMU_FLASH_SIZE);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

void qemu_poll(struct qemu *const parts[], size_t count, int ms)
{
    struct pollfd fds[64];
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (parts[i] != NULL && parts[i]->pid > 0 && n < sizeof fds / sizeof *fds)
            fds[n++] = (struct pollfd){.fd = parts[i]->qmp, .events = POLLIN};
    poll(fds, (nfds_t)n, ms);
    for (size_t i = 0; i < count; i++) {
        if (parts[i] == NULL || parts[i]->pid <= 0)
            continue;
        qemu_qmp_events(parts[i]);
        qemu_check_alive(parts[i]);
    }
}

bool qemu_until(struct qemu *q, double seconds, qemu_condition *condition, void *ctx)
{
    struct qemu *const parts[] = {q};
    for (const double until = qemu_now() + seconds;;) {
        qemu_poll(parts, 1, 0);
        if (condition(q, ctx))
            return true;
        if (qemu_now() >= until)
            return false;
        rest_ms(20);
    }
}

int64_t qemu_lag_ms(struct qemu *q)
{
    char text[4096];
    qemu_monitor(q, "info jit", text, sizeof text);
    const char *line = strstr(text, "Host - Guest clock");
    if (line == NULL)
        qemu_fail(q, "has no clock of its own (icount)");
    q->lag_ms = strtoll(line + strlen("Host - Guest clock"), NULL, 10);
    return q->lag_ms;
}

void qemu_pass(struct qemu *q, unsigned ms, double limit_s)
{
    const int64_t lag = qemu_lag_ms(q);
    const double begin = qemu_now();
    for (;;) {
        const double host_ms = (qemu_now() - begin) * 1e3;
        const double own_ms = host_ms - (double)(qemu_lag_ms(q) - lag);
        if (!q->running)
            qemu_fail(q, "cannot let time pass while it is stopped");
        if (own_ms >= ms)
            return;
        if (host_ms > limit_s * 1e3)
            qemu_fail(q, "only %.0f of %u ms passed on its clock in %.1f s", own_ms, ms, limit_s);
        /* busy, it may be ten times as fast as the host's clock */
        rest_ms(ms - own_ms > 200 ? 20 : 1 + (long)((ms - own_ms) / 10));
    }
}
