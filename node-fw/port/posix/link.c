#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define BACKOFF_MIN MP_MS(50)
#define BACKOFF_MAX MP_MS(2000)

static const char *after(const char *text, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

int port_link_init(struct port_link *l, const char *address, mp_time now)
{
    const char *path = after(address, "unix:");
    memset(l, 0, sizeof *l);
    l->fd = -1;
    l->retry_at = now;
    l->backoff = BACKOFF_MIN;
    if (path != NULL && (*path == 0 || strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path))
        return MP_ERR_FORMAT;
    if (path == NULL && (path = after(address, "tty:")) == NULL)
        return MP_ERR_FORMAT;
    if (*path == 0 || strlen(address) >= sizeof l->address)
        return MP_ERR_FORMAT;
    strcpy(l->address, address);
    return 0;
}

static void lose(struct port_link *l, mp_time now)
{
    if (l->fd >= 0) {
        close(l->fd);
        l->losses++;
    }
    l->fd = -1;
    l->queued = 0;
    l->retry_at = now + l->backoff;
    l->backoff = l->backoff * 2 < BACKOFF_MAX ? l->backoff * 2 : BACKOFF_MAX;
}

void port_link_close(struct port_link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->queued = 0;
    l->retry_at = MP_NEVER;
}

static int open_socket(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path); /* length checked by port_link_init() */
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&name, sizeof name) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static speed_t speed_of(const char *text)
{
    static const struct {
        long baud;
        speed_t speed;
    } table[] = {{115200, B115200},   {230400, B230400},   {460800, B460800},  {921600, B921600},
                 {1000000, B1000000}, {2000000, B2000000}, {3000000, B3000000}};
    const long baud = text != NULL ? strtol(text, NULL, 10) : 1000000;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].baud == baud)
            return table[i].speed;
    return B0;
}

static int open_serial(const char *device)
{
    char path[PORT_LINK_ADDRESS_MAX];
    struct termios t;
    strcpy(path, device);
    char *comma = strchr(path, ',');
    if (comma != NULL)
        *comma++ = 0;
    const speed_t speed = speed_of(comma);
    const int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (speed == B0 || tcgetattr(fd, &t) != 0)
        goto fail;
    cfmakeraw(&t);
    t.c_cflag |= CRTSCTS | CLOCAL | CREAD;
    if (cfsetspeed(&t, speed) != 0 || tcsetattr(fd, TCSANOW, &t) != 0)
        goto fail;
    tcflush(fd, TCIOFLUSH);
    return fd;
fail:
    close(fd);
    return -1;
}

bool port_link_expire(struct port_link *l, mp_time now)
{
    if (l->fd >= 0 || now < l->retry_at)
        return false;
    const char *path = after(l->address, "unix:");
    l->fd = path != NULL ? open_socket(path) : open_serial(after(l->address, "tty:"));
    if (l->fd < 0) {
        lose(l, now);
        return false;
    }
    l->retry_at = MP_NEVER;
    return true;
}

int port_link_read(struct port_link *l, mp_time now, uint8_t *buf, size_t cap)
{
    if (l->fd < 0)
        return MP_ERR_ABSENT;
    const ssize_t n = read(l->fd, buf, cap);
    if (n > 0) {
        l->backoff = BACKOFF_MIN; /* somebody is there */
        return (int)n;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    lose(l, now);
    return MP_ERR_ABSENT;
}

void port_link_flush(struct port_link *l, mp_time now)
{
    while (l->fd >= 0 && l->queued != 0) {
        const ssize_t n = write(l->fd, l->queue, l->queued);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            lose(l, now);
            return;
        }
        l->queued -= (size_t)n;
        memmove(l->queue, l->queue + n, l->queued);
    }
}

void port_link_put(struct port_link *l, mp_time now, const uint8_t *data, size_t len)
{
    if (l->fd < 0)
        return;
    if (len > sizeof l->queue - l->queued) {
        lose(l, now);
        return;
    }
    memcpy(l->queue + l->queued, data, len);
    l->queued += len;
    port_link_flush(l, now);
}

mp_time port_link_next_expiry(const struct port_link *l)
{
    return l->retry_at;
}
