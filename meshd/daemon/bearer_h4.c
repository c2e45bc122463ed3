/*
 * One timer: min(HCI host's next expiry, engine's next expiry when a frame could be sent). While the controller cannot
 * take a frame the engine's timers are run every IDLE_MS at most, since a due frame that nobody can send would
 * otherwise turn the loop. Reopening is a timer of its own.
 */
#include "bearer_h4.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define OUT_MAX 4096
#define IDLE_MS 250
#define REOPEN_FIRST_MS 500
#define REOPEN_MAX_MS 8000

struct md_bearer {
    struct event_base *base;
    struct md_config config;
    struct md_bearer_handler handler;
    struct mp_hci hci;
    struct event *timer;
    struct event *reopen;
    struct event *readable;
    struct event *writable;
    int fd;
    unsigned reopen_ms;
    uint32_t opens;
    enum mp_hci_phase phase_seen;
    bool in_run;
    char problem[128];
    size_t out_len;
    uint8_t out[OUT_MAX];
};

mp_time md_bearer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mp_time)t.tv_sec * 1000000u + (mp_time)t.tv_nsec / 1000u;
}

static int open_unix(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static speed_t speed_of(uint32_t baud)
{
    static const struct {
        uint32_t baud;
        speed_t speed;
    } speeds[] = {{9600, B9600},       {19200, B19200},     {38400, B38400},     {57600, B57600},
                  {115200, B115200},   {230400, B230400},   {460800, B460800},   {500000, B500000},
                  {921600, B921600},   {1000000, B1000000}, {1500000, B1500000}, {2000000, B2000000},
                  {3000000, B3000000}, {4000000, B4000000}};
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].baud == baud)
            return speeds[i].speed;
    return B0;
}

static int open_tty(const char *path, uint32_t baud)
{
    struct termios t;
    int why;
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    speed_t speed = speed_of(baud);
    if (speed == B0) {
        errno = EINVAL;
        goto fail;
    }
    if (tcgetattr(fd, &t) < 0)
        goto fail;
    cfmakeraw(&t);
    t.c_cflag |= CLOCAL | CREAD | CRTSCTS;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    if (cfsetspeed(&t, speed) < 0 || tcsetattr(fd, TCSANOW, &t) < 0)
        goto fail;
    tcflush(fd, TCIOFLUSH);
    return fd;
fail:
    why = errno;
    close(fd);
    errno = why;
    return -1;
}

static void note(struct md_bearer *b, enum md_log_level level, const char *what, const char *why)
{
    char text[sizeof b->problem];
    snprintf(text, sizeof text, "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
    /* the same problem is told once, not at every try */
    if (strcmp(text, b->problem) != 0)
        md_log(level, "bearer", "%s: %s", b->config.hci_path, text);
    memcpy(b->problem, text, sizeof text);
}

static void arm_reopen(struct md_bearer *b)
{
    struct timeval tv = {.tv_sec = b->reopen_ms / 1000, .tv_usec = (suseconds_t)(b->reopen_ms % 1000) * 1000};
    evtimer_add(b->reopen, &tv);
    b->reopen_ms = b->reopen_ms * 2 < REOPEN_MAX_MS ? b->reopen_ms * 2 : REOPEN_MAX_MS;
}

static void close_device(struct md_bearer *b)
{
    if (b->readable != NULL)
        event_free(b->readable);
    if (b->writable != NULL)
        event_free(b->writable);
    b->readable = NULL;
    b->writable = NULL;
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    b->out_len = 0;
}

static void lose(struct md_bearer *b, const char *what, const char *why)
{
    note(b, MD_LOG_WARNING, what, why);
    close_device(b);
    arm_reopen(b);
}

static void flush(struct md_bearer *b)
{
    size_t done = 0;
    while (b->fd >= 0 && done < b->out_len) {
        ssize_t n = write(b->fd, b->out + done, b->out_len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            lose(b, "write", strerror(errno));
            return;
        }
        done += (size_t)n;
    }
    memmove(b->out, b->out + done, b->out_len - done);
    b->out_len -= done;
    if (b->out_len > 0 && b->writable != NULL)
        event_add(b->writable, NULL);
}

static void deliver(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct md_bearer *b = ctx;
    b->handler.heard(b->handler.ctx, now, heard->frame, heard->length);
}

static void watch_phase(struct md_bearer *b)
{
    enum mp_hci_phase phase = mp_hci_phase(&b->hci);
    if (phase == b->phase_seen)
        return;
    b->phase_seen = phase;
    if (phase == MP_HCI_RUN) {
        md_log(MD_LOG_INFO, "bearer", "%s: controller runs", b->config.hci_path);
        b->problem[0] = '\0';
        b->reopen_ms = REOPEN_FIRST_MS;
    } else if (phase == MP_HCI_FAILED) {
        lose(b, "controller unusable", mp_hci_strerror(mp_hci_error(&b->hci)));
    }
}

/* Bytes of the HCI host and at most one frame of the engine into out[]. */
static void fill(struct md_bearer *b, mp_time now)
{
    uint8_t frame[MP_FRAME_MAX];
    if (b->out_len == 0 && mp_hci_is_ready(&b->hci, now)) {
        int len = b->handler.next(b->handler.ctx, now, frame, sizeof frame);
        int n = len > 0 ? mp_hci_send(&b->hci, now, frame, (size_t)len, b->out, sizeof b->out) : 0;
        if (n > 0)
            b->out_len = (size_t)n;
    }
    while (sizeof b->out - b->out_len >= MP_HCI_COMMAND_MAX) {
        int n = mp_hci_write(&b->hci, now, b->out + b->out_len, sizeof b->out - b->out_len);
        if (n <= 0)
            break;
        b->out_len += (size_t)n;
    }
}

static void arm(struct md_bearer *b, mp_time now)
{
    mp_time due = now + MP_MS(IDLE_MS);
    mp_time node = b->handler.next_expiry(b->handler.ctx);
    bool is_up = b->fd >= 0;
    if (is_up && b->out_len == 0 && mp_hci_is_ready(&b->hci, now))
        due = node;
    else if (node > due)
        due = node;
    mp_time hci = is_up ? mp_hci_next_expiry(&b->hci, now) : MP_NEVER;
    if (hci < due)
        due = hci;
    if (due == MP_NEVER) {
        evtimer_del(b->timer);
        return;
    }
    mp_time left = due > now ? due - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(left / 1000000u), .tv_usec = (suseconds_t)(left % 1000000u)};
    evtimer_add(b->timer, &tv);
}

void md_bearer_run(struct md_bearer *b)
{
    if (b->in_run)
        return;
    b->in_run = true;
    mp_time now = md_bearer_now();
    b->handler.expire(b->handler.ctx, now);
    b->handler.done(b->handler.ctx, now);
    if (b->fd >= 0) {
        mp_hci_expire(&b->hci, now);
        fill(b, now);
        flush(b);
        watch_phase(b);
    }
    arm(b, md_bearer_now());
    b->in_run = false;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct md_bearer *b = ctx;
    uint8_t bytes[4096];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n > 0)
        mp_hci_receive(&b->hci, md_bearer_now(), bytes, (size_t)n, deliver, b);
    else if (n == 0)
        lose(b, "controller closed the line", "");
    else if (errno != EAGAIN && errno != EINTR)
        lose(b, "read", strerror(errno));
    md_bearer_run(b);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct md_bearer *b = ctx;
    flush(b);
    md_bearer_run(b);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    md_bearer_run(ctx);
}

static void open_device(struct md_bearer *b)
{
    b->fd =
        b->config.hci == MD_HCI_UNIX ? open_unix(b->config.hci_path) : open_tty(b->config.hci_path, b->config.hci_baud);
    if (b->fd < 0) {
        lose(b, "open", strerror(errno));
        return;
    }
    b->readable = event_new(b->base, b->fd, EV_READ | EV_PERSIST, on_readable, b);
    b->writable = event_new(b->base, b->fd, EV_WRITE, on_writable, b);
    if (b->readable == NULL || b->writable == NULL || event_add(b->readable, NULL) < 0) {
        lose(b, "open", "out of memory");
        return;
    }
    if (b->opens++ > 0)
        mp_hci_restart(&b->hci, md_bearer_now());
    b->phase_seen = MP_HCI_WAIT;
}

static void on_reopen(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct md_bearer *b = ctx;
    open_device(b);
    md_bearer_run(b); /* also without a device: the engine's timers run all the same */
}

struct md_bearer *md_bearer_new(struct event_base *base, const struct md_config *config, const uint8_t address[6],
                                const struct md_bearer_handler *handler)
{
    struct md_bearer *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    struct mp_hci_config hci = {.pace_us = 0};
    memcpy(hci.address, address, sizeof hci.address);
    b->base = base;
    b->config = *config;
    b->handler = *handler;
    b->fd = -1;
    b->reopen_ms = REOPEN_FIRST_MS;
    b->timer = evtimer_new(base, on_timer, b);
    b->reopen = evtimer_new(base, on_reopen, b);
    const struct timeval at_once = {0, 0};
    if (b->timer == NULL || b->reopen == NULL || mp_hci_init(&b->hci, &hci, md_bearer_now()) != MP_OK ||
        evtimer_add(b->reopen, &at_once) < 0) {
        md_bearer_free(b);
        return NULL;
    }
    return b;
}

void md_bearer_free(struct md_bearer *b)
{
    if (b == NULL)
        return;
    close_device(b);
    if (b->timer != NULL)
        event_free(b->timer);
    if (b->reopen != NULL)
        event_free(b->reopen);
    free(b);
}

void md_bearer_info(const struct md_bearer *b, struct md_bearer_info *info)
{
    memset(info, 0, sizeof *info);
    info->is_open = b->fd >= 0;
    info->is_running = info->is_open && mp_hci_phase(&b->hci) == MP_HCI_RUN;
    info->opens = b->opens;
    snprintf(info->device, sizeof info->device, "%s:%s", b->config.hci == MD_HCI_TTY ? "tty" : "unix",
             b->config.hci_path);
    memcpy(info->problem, b->problem, sizeof info->problem);
    info->counters = b->hci.counters;
}
