/*
 * The server is its own and not libevent's evhttp because that one (2.1) bounds neither the number of connections nor
 * the whole time of a request, has one body limit for all routes, and answers what it refuses itself in HTML.
 *
 * A connection's states and its one timer:
 *   HEAD     reading request line and headers   MD_HTTP_REQUEST_S from connect
 *   BODY     reading Content-Length bytes       the same timer, or MD_HTTP_UPLOAD_S for an upload
 *   WAIT     handler asked to wait              what the handler said
 *   REPLY    writing                            MD_HTTP_REPLY_S
 *   LINGER   written, sending side shut; input is thrown away until the client closes, so that a client still sending a
 *            refused body gets to read why      2 s
 */
#include "http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "log.h"

#define LINGER_S 2

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_WAIT, PHASE_REPLY, PHASE_LINGER };

struct connection {
    struct md_http *server;
    struct connection *next, **link;
    struct bufferevent *bev;
    struct event *timer;
    struct md_http_head head;
    enum phase phase;
    unsigned uid;
    bool is_upload;
    bool has_waited;
    bool has_ended; /* the client shut its sending side */
};

struct md_http {
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *retry; /* accept() failed: listen again in a second */
    struct md_http_handler handler;
    struct connection *connections;
    unsigned count;
    unsigned uploads;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

static void arm(struct connection *c, unsigned seconds)
{
    struct timeval tv = {.tv_sec = (time_t)seconds};
    evtimer_add(c->timer, &tv);
}

static void free_connection(struct connection *c)
{
    struct md_http *h = c->server;
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    if (c->is_upload)
        h->uploads--;
    h->count--;
    event_free(c->timer);
    bufferevent_free(c->bev);
    free(c);
    if (h->listener != NULL)
        evconnlistener_enable(h->listener);
}

void md_http_fail(struct md_http_reply *reply, int status, const char *hint, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    cJSON_Delete(reply->json);
    reply->status = status;
    reply->wait_s = 0;
    reply->json = cJSON_CreateObject();
    cJSON_AddStringToObject(reply->json, "error", text);
    cJSON_AddStringToObject(reply->json, "hint", hint != NULL ? hint : "");
}

static void send_reply(struct connection *c, struct md_http_reply *reply)
{
    char *text = reply->json != NULL ? cJSON_PrintUnformatted(reply->json) : NULL;
    cJSON_Delete(reply->json);
    int status = text != NULL ? reply->status : 500;
    const char *body = text != NULL ? text : "{\"error\":\"out of memory\",\"hint\":\"\"}";
    struct evbuffer *out = bufferevent_get_output(c->bev);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                        status, md_http_reason(status), strlen(body));
    evbuffer_add(out, body, strlen(body));
    cJSON_free(text);
    /* the upload's bytes are no longer needed, whatever the client does with the reply */
    struct evbuffer *in = bufferevent_get_input(c->bev);
    evbuffer_drain(in, evbuffer_get_length(in));
    if (c->is_upload) {
        c->is_upload = false;
        c->server->uploads--;
    }
    c->phase = PHASE_REPLY;
    arm(c, MD_HTTP_REPLY_S);
}

static void refuse(struct connection *c, int status)
{
    static const struct {
        int status;
        const char *error, *hint;
    } texts[] = {
        {400, "the request is not well-formed HTTP", "one request a connection: request line, headers, empty line"},
        {408, "the request took too long to arrive", "send it in one go"},
        {411, "a body needs Content-Length", "chunked bodies are not taken"},
        {413, "the body is too large", "see the limits in docs/OPERATING.md"},
        {414, "the path is too long", "the API is described in docs/OPERATING.md"},
        {417, "unknown Expect header", "only 100-continue is understood"},
        {431, "the headers are too large", "at most 8 KiB and 64 headers"},
        {503, "too many uploads at a time", "try again in a moment"},
        {505, "unknown HTTP version", "use HTTP/1.1"},
    };
    struct md_http_reply reply = {0};
    size_t i = 0;
    while (i < sizeof texts / sizeof texts[0] - 1 && texts[i].status != status)
        i++;
    md_http_fail(&reply, status, texts[i].hint, "%s", texts[i].error);
    md_log(MD_LOG_DEBUG, "http", "refused with %d", status);
    send_reply(c, &reply);
}

static void dispatch(struct connection *c, bool last)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t n = (size_t)c->head.length;
    const uint8_t *body = n > 0 ? evbuffer_pullup(in, (ev_ssize_t)n) : NULL;
    struct md_http_request request = {.method = c->head.method,
                                      .path = c->head.path,
                                      .query = c->head.query,
                                      .body = body,
                                      .body_len = body != NULL ? n : 0,
                                      .uid = c->uid,
                                      .last = last};
    struct md_http_reply reply = {.status = 200};
    if (n > 0 && body == NULL)
        md_http_fail(&reply, 503, "try again in a moment", "out of memory");
    else
        c->server->handler.handle(c->server->handler.ctx, &request, &reply);
    if (reply.wait_s != 0 && !last) {
        cJSON_Delete(reply.json);
        c->phase = PHASE_WAIT;
        if (!c->has_waited)
            arm(c, reply.wait_s);
        c->has_waited = true;
        return;
    }
    if (c->head.path[0] != '\0' && strcmp(c->head.method, "GET") != 0)
        md_log(MD_LOG_INFO, "http", "%s %s: %d", c->head.method, c->head.path, reply.status);
    send_reply(c, &reply);
}

static void on_body(struct connection *c)
{
    if (evbuffer_get_length(bufferevent_get_input(c->bev)) >= c->head.length)
        dispatch(c, false);
}

static void on_head(struct connection *c)
{
    char data[MD_HTTP_HEAD_MAX];
    struct evbuffer *in = bufferevent_get_input(c->bev);
    ev_ssize_t n = evbuffer_copyout(in, data, sizeof data);
    int used = md_http_parse(&c->head, data, n > 0 ? (size_t)n : 0);
    if (used == 0)
        return;
    if (used < 0) {
        refuse(c, -used);
        return;
    }
    evbuffer_drain(in, (size_t)used);
    size_t max = c->server->handler.body_max(c->server->handler.ctx, c->head.method, c->head.path);
    if (c->head.length > max) {
        refuse(c, 413);
        return;
    }
    if (c->head.length > MD_HTTP_JSON_MAX) {
        if (c->server->uploads >= MD_HTTP_UPLOADS_MAX) {
            refuse(c, 503);
            return;
        }
        c->is_upload = true;
        c->server->uploads++;
        arm(c, MD_HTTP_UPLOAD_S);
    }
    if (c->head.length > 0 && c->head.wants_continue)
        evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
    bufferevent_setwatermark(c->bev, EV_READ, 0, (size_t)c->head.length + MD_HTTP_HEAD_MAX);
    c->phase = PHASE_BODY;
    on_body(c);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
    struct connection *c = ctx;
    struct evbuffer *in = bufferevent_get_input(bev);
    switch (c->phase) {
    case PHASE_HEAD:
        on_head(c);
        break;
    case PHASE_BODY:
        on_body(c);
        break;
    case PHASE_WAIT:
    case PHASE_REPLY:
    case PHASE_LINGER:
        evbuffer_drain(in, evbuffer_get_length(in));
        break;
    }
}

static void on_write(struct bufferevent *bev, void *ctx)
{
    struct connection *c = ctx;
    if (c->phase != PHASE_REPLY || evbuffer_get_length(bufferevent_get_output(bev)) != 0)
        return;
    if (c->has_ended) {
        free_connection(c);
        return;
    }
    c->phase = PHASE_LINGER;
    shutdown(bufferevent_getfd(bev), SHUT_WR);
    arm(c, LINGER_S);
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    (void)bev;
    struct connection *c = ctx;
    /* a client may shut its sending side and still read its reply */
    if ((what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0 && c->phase == PHASE_REPLY) {
        c->has_ended = true;
        return;
    }
    free_connection(c);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct connection *c = ctx;
    switch (c->phase) {
    case PHASE_HEAD:
    case PHASE_BODY:
        refuse(c, 408);
        break;
    case PHASE_WAIT:
        dispatch(c, true);
        break;
    case PHASE_REPLY:
    case PHASE_LINGER:
        free_connection(c);
        break;
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr, int len, void *ctx)
{
    (void)addr;
    (void)len;
    struct md_http *h = ctx;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->server = h;
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t peer_len = sizeof peer;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len);
    c->uid = peer.uid;
    c->bev = bufferevent_socket_new(h->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->timer = evtimer_new(h->base, on_timer, c);
    if (c->bev == NULL || c->timer == NULL) {
        if (c->bev != NULL)
            bufferevent_free(c->bev);
        else
            close(fd);
        if (c->timer != NULL)
            event_free(c->timer);
        free(c);
        return;
    }
    c->next = h->connections;
    c->link = &h->connections;
    if (c->next != NULL)
        c->next->link = &c->next;
    h->connections = c;
    if (++h->count >= MD_HTTP_CONNECTIONS_MAX)
        evconnlistener_disable(listener);
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, MD_HTTP_HEAD_MAX);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    arm(c, h->handler.request_s != 0 ? h->handler.request_s : MD_HTTP_REQUEST_S);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct md_http *h = ctx;
    if (h->count < MD_HTTP_CONNECTIONS_MAX)
        evconnlistener_enable(h->listener);
}

static void on_accept_error(struct evconnlistener *listener, void *ctx)
{
    struct md_http *h = ctx;
    const struct timeval second = {.tv_sec = 1};
    md_log(MD_LOG_WARNING, "http", "accept: %s", strerror(errno));
    evconnlistener_disable(listener);
    evtimer_add(h->retry, &second);
}

/* A socket file nobody answers is left from a daemon that was killed. */
static int clear_stale(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int result = connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    int why = errno;
    close(fd);
    if (result == 0) {
        errno = EADDRINUSE;
        return -1;
    }
    if (why == ENOENT)
        return 0;
    struct stat st;
    if (why != ECONNREFUSED || lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        errno = why;
        return -1;
    }
    return unlink(addr->sun_path);
}

static int listen_on(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, path);
    if (clear_stale(&addr) < 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* the mode is set by the umask, so that there is no moment at which it is wider */
    mode_t old = umask(0117);
    int bad = bind(fd, (struct sockaddr *)&addr, sizeof addr);
    umask(old);
    if (bad < 0 || listen(fd, MD_HTTP_CONNECTIONS_MAX) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

struct md_http *md_http_open(struct event_base *base, const char *path, const struct md_http_handler *handler,
                             char *error, size_t cap)
{
    struct md_http *h = calloc(1, sizeof *h);
    int fd = h != NULL ? listen_on(path) : -1;
    if (fd < 0) {
        snprintf(error, cap, "%s: %s", path, errno == EADDRINUSE ? "another daemon answers there" : strerror(errno));
        free(h);
        return NULL;
    }
    h->base = base;
    h->handler = *handler;
    snprintf(h->path, sizeof h->path, "%s", path);
    h->retry = evtimer_new(base, on_retry, h);
    h->listener = evconnlistener_new(base, on_accept, h, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (h->retry == NULL || h->listener == NULL) {
        snprintf(error, cap, "%s: out of memory", path);
        if (h->listener == NULL)
            close(fd);
        md_http_close(h);
        return NULL;
    }
    evconnlistener_set_error_cb(h->listener, on_accept_error);
    return h;
}

void md_http_wake(struct md_http *h)
{
    struct connection *next;
    for (struct connection *c = h->connections; c != NULL; c = next) {
        next = c->next;
        if (c->phase == PHASE_WAIT)
            dispatch(c, false);
    }
}

void md_http_close(struct md_http *h)
{
    if (h == NULL)
        return;
    if (h->listener != NULL)
        evconnlistener_free(h->listener);
    h->listener = NULL;
    struct connection *next;
    for (struct connection *c = h->connections; c != NULL; c = next) {
        next = c->next;
        free_connection(c);
    }
    if (h->retry != NULL)
        event_free(h->retry);
    if (h->path[0] != '\0')
        unlink(h->path);
    free(h);
}

unsigned md_http_connections(const struct md_http *h)
{
    return h->count;
}
