#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 8192

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for events on fd until the deadline. 0, or -1 with errno. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - now_ms();
        struct pollfd p = {.fd = fd, .events = events};
        int n = left > 0 ? poll(&p, 1, left > 60000 ? 60000 : (int)left) : 0;
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0 && left <= 0) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* 0 sent; 1 the daemon stopped listening (its answer says why); -1 with errno. */
static int send_all(int fd, const char *data, size_t len, int64_t deadline_ms)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 1;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n < 0 && wait_for(fd, POLLOUT, deadline_ms) < 0)
            return -1;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Reads until the end, at most MD_CLIENT_REPLY_MAX. The caller frees *data, also after an error. */
static int read_all(int fd, char **data, size_t *len, int64_t deadline_ms)
{
    size_t room = 0;
    *len = 0;
    for (;;) {
        if (*len == room) {
            room = room == 0 ? 65536 : room * 2;
            char *more = room <= 2 * MD_CLIENT_REPLY_MAX ? realloc(*data, room) : NULL;
            if (more == NULL) {
                errno = EMSGSIZE;
                return -1;
            }
            *data = more;
        }
        ssize_t n = recv(fd, *data + *len, room - *len, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET && *len > 0))
            return 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n < 0 && wait_for(fd, POLLIN, deadline_ms) < 0)
            return -1;
        if (n > 0)
            *len += (size_t)n;
    }
}

int md_client_parse(const char *data, size_t len, struct md_client_reply *reply, char *error, size_t cap)
{
    static const char end[] = "\r\n\r\n";
    /* an interim "100 Continue" is skipped */
    while (len >= 12 && memcmp(data, "HTTP/1.1 100", 12) == 0) {
        const char *next = memmem(data, len, end, 4);
        if (next == NULL)
            break;
        len -= (size_t)(next + 4 - data);
        data = next + 4;
    }
    const char *body = memmem(data, len < HEAD_MAX ? len : HEAD_MAX, end, 4);
    if (len < 12 || memcmp(data, "HTTP/1.", 7) != 0 || body == NULL) {
        snprintf(error, cap, "the answer is not HTTP");
        return -1;
    }
    reply->status = 0;
    for (int i = 9; i < 12; i++) {
        if (data[i] < '0' || data[i] > '9') {
            snprintf(error, cap, "the answer has no status");
            return -1;
        }
        reply->status = reply->status * 10 + (data[i] - '0');
    }
    body += 4;
    reply->json = cJSON_ParseWithLength(body, len - (size_t)(body - data));
    if (reply->json == NULL) {
        snprintf(error, cap, "the answer is cut off or not JSON");
        return -1;
    }
    return 0;
}

int md_client_call(const char *socket_path, const char *method, const char *path, const void *body, size_t len,
                   unsigned timeout_s, struct md_client_reply *reply, char *error, size_t cap)
{
    int64_t deadline = now_ms() + (int64_t)timeout_s * 1000;
    int result = -1;
    char *data = NULL, head[700];
    size_t got = 0;
    int fd = connect_to(socket_path);
    if (fd < 0) {
        snprintf(error, cap, "%s: %s", socket_path, strerror(errno));
        return -1;
    }
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: meshd\r\nContent-Length: %zu\r\n\r\n", method, path,
                     body != NULL ? len : 0);
    if (n < 0 || (size_t)n >= sizeof head) {
        snprintf(error, cap, "the request's path is too long");
        goto out;
    }
    int sent = send_all(fd, head, (size_t)n, deadline);
    if (sent == 0 && body != NULL)
        sent = send_all(fd, body, len, deadline);
    if (sent < 0 || read_all(fd, &data, &got, deadline) < 0) {
        snprintf(error, cap, "%s: %s", socket_path, strerror(errno));
        goto out;
    }
    result = md_client_parse(data, got, reply, error, cap);
out:
    free(data);
    close(fd);
    return result;
}
