#include "serial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { REOPEN_MS = 200, POLL_MS = 200 };

static const struct {
    uint32_t baud;
    speed_t speed;
} speeds[] = {{9600, B9600},     {19200, B19200},   {38400, B38400},   {57600, B57600},    {115200, B115200},
              {230400, B230400}, {460800, B460800}, {921600, B921600}, {1000000, B1000000}};

static bool find_speed(uint32_t baud, speed_t *speed)
{
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].baud == baud) {
            *speed = speeds[i].speed;
            return true;
        }
    return false;
}

int md_serial_parse(struct md_serial *s, const char *text)
{
    speed_t speed;
    memset(s, 0, sizeof *s);
    s->name = text;
    s->fd = -1;
    s->baud = 115200;
    s->is_tty = strncmp(text, "tty:", 4) == 0;
    if (!s->is_tty && strncmp(text, "unix:", 5) != 0)
        return MP_ERR_FORMAT;
    const char *path = text + (s->is_tty ? 4 : 5), *comma = s->is_tty ? strrchr(path, ',') : NULL;
    size_t len = comma != NULL ? (size_t)(comma - path) : strlen(path);
    if (len == 0 || len >= (s->is_tty ? sizeof s->path : sizeof((struct sockaddr_un *)NULL)->sun_path))
        return MP_ERR_FORMAT;
    memcpy(s->path, path, len);
    if (comma != NULL) {
        char *end;
        unsigned long baud = strtoul(comma + 1, &end, 10);
        if (comma[1] < '0' || comma[1] > '9' || *end != '\0' || baud > UINT32_MAX)
            return MP_ERR_FORMAT;
        s->baud = (uint32_t)baud;
    }
    return find_speed(s->baud, &speed) ? MP_OK : MP_ERR_FORMAT;
}

static int open_tty(const struct md_serial *s)
{
    struct termios t;
    speed_t speed;
    int fd = open(s->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (!find_speed(s->baud, &speed) || tcgetattr(fd, &t) != 0)
        goto fail;
    cfmakeraw(&t);
    t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSTOPB | CRTSCTS)) | CLOCAL | CREAD;
    if (cfsetspeed(&t, speed) != 0 || tcsetattr(fd, TCSANOW, &t) != 0)
        goto fail;
    tcflush(fd, TCIFLUSH); /* what a program before this one left */
    return fd;
fail:;
    int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

static int open_unix(const struct md_serial *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, s->path, strlen(s->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

int md_serial_open(struct md_serial *s, char *error, size_t error_size)
{
    s->fd = s->is_tty ? open_tty(s) : open_unix(s);
    if (s->fd >= 0)
        return MP_OK;
    snprintf(error, error_size, "%s: %s", s->name, strerror(errno));
    return MP_ERR_ABSENT;
}

void md_serial_close(struct md_serial *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

mp_time md_serial_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mp_time)t.tv_sec * 1000000u + (mp_time)t.tv_nsec / 1000u;
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

/* Bytes on their way to the line. */
struct outgoing {
    uint8_t data[2 * BOOT_RECOVERY_FRAME_MAX];
    size_t len, at;
};

/* Gives the line what it takes. False: it broke. */
static bool send_some(const struct md_serial *s, struct md_recover *r, struct outgoing *out)
{
    for (;;) {
        if (out->at == out->len) {
            out->at = 0;
            out->len = md_recover_write(r, out->data, sizeof out->data);
            if (out->len == 0)
                return true;
        }
        ssize_t n = s->is_tty ? write(s->fd, out->data + out->at, out->len - out->at)
                              : send(s->fd, out->data + out->at, out->len - out->at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        out->at += (size_t)n;
    }
}

/* False: the line broke. */
static bool take_some(const struct md_serial *s, struct md_recover *r)
{
    uint8_t data[512];
    for (;;) {
        ssize_t n = read(s->fd, data, sizeof data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        md_recover_receive(r, md_serial_now(), data, (size_t)n);
    }
}

/* One wait and what it brought. False: the line broke. */
static bool turn(const struct md_serial *s, struct md_recover *r, struct outgoing *out)
{
    if (!send_some(s, r, out))
        return false;
    mp_time now = md_serial_now(), until = md_recover_next_expiry(r);
    uint64_t wait_ms = until <= now ? 0 : (until - now + 999) / 1000;
    struct pollfd p = {.fd = s->fd, .events = (short)(POLLIN | (out->at < out->len ? POLLOUT : 0))};
    int n = poll(&p, 1, wait_ms < POLL_MS ? (int)wait_ms : POLL_MS);
    if (n > 0 && (p.revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) != 0 && !take_some(s, r))
        return false;
    md_recover_expire(r, md_serial_now());
    return true;
}

/* A line that was open and broke, or never opened: waits a moment and opens it. False: patience is at its end. */
static bool reopen(struct md_serial *s, struct md_recover *r, mp_time broke_at)
{
    char error[sizeof r->error];
    bool is_last = md_serial_now() - broke_at >= MP_MS(r->plan->patience_ms);
    if (md_serial_open(s, error, sizeof error) == MP_OK && !is_last) {
        md_recover_resume(r, md_serial_now());
        return true;
    }
    if (!is_last) {
        poll(NULL, 0, REOPEN_MS);
        return true;
    }
    if (s->fd >= 0)
        snprintf(error, sizeof error, "%.100s: the line is closed again and again", s->name);
    md_serial_close(s);
    r->state = MD_RECOVER_FAILED;
    r->is_silent = true;
    memcpy(r->error, error, sizeof error);
    return false;
}

void md_serial_run(struct md_serial *s, struct md_recover *r, md_serial_progress *progress, void *ctx)
{
    struct outgoing out = {.len = 0};
    mp_time broke_at = md_serial_now();
    while (md_recover_state(r) == MD_RECOVER_RUNNING) {
        if (progress != NULL)
            progress(ctx, r);
        if (s->fd >= 0 && turn(s, r, &out))
            continue;
        if (md_recover_state(r) != MD_RECOVER_RUNNING)
            break;
        if (s->fd >= 0) {
            md_serial_close(s);
            if (r->heard > broke_at) /* somebody was there meanwhile */
                broke_at = md_serial_now();
            poll(NULL, 0, REOPEN_MS);
        }
        out.at = out.len = 0;
        if (!reopen(s, r, broke_at))
            break;
    }
    if (progress != NULL)
        progress(ctx, r);
}
