/*
 * HTTP/1.1 server on a unix socket (mode 0660), for the daemon's JSON API.
 *
 * One request a connection. Everything is bounded: connections, bytes of head and body (by route), and the time from
 * connect to the last byte of the request, which a client that sends a byte now and then cannot stretch. Whatever is
 * wrong with a request is answered with a status and {"error", "hint"}. A handler that has nothing to say yet may leave
 * the request waiting (long poll); it is asked again at md_http_wake() and once more at the end of its time.
 */
#ifndef MD_HTTP_H
#define MD_HTTP_H

#include <cjson/cJSON.h>
#include <event2/event.h>

#include "http_parse.h"

#define MD_HTTP_CONNECTIONS_MAX 64
#define MD_HTTP_UPLOADS_MAX 1  /* bodies above MD_HTTP_JSON_MAX at a time */
#define MD_HTTP_JSON_MAX 65536 /* bytes of a JSON body */
#define MD_HTTP_REQUEST_S 10   /* time for a request to arrive, s */
#define MD_HTTP_UPLOAD_S 120   /* the same for an upload */
#define MD_HTTP_REPLY_S 20     /* time for a client to take its reply */

struct md_http_request {
    const char *method;
    const char *path;
    const char *query;
    const uint8_t *body;
    size_t body_len;
    unsigned uid; /* of the client's process */
    bool last;    /* a waiting request's time is over: answer now */
};

struct md_http_reply {
    int status;      /* e.g. 200 */
    cJSON *json;     /* the server frees it */
    unsigned wait_s; /* not 0: no answer yet, ask again within that time; status and json are not looked at */
};

struct md_http_handler {
    void *ctx;
    /* Most bytes a body of this request may have; 0 for none. */
    size_t (*body_max)(void *ctx, const char *method, const char *path);
    /* Answers a whole request. Buffers belong to the server and end with the call. */
    void (*handle)(void *ctx, const struct md_http_request *request, struct md_http_reply *reply);
    unsigned request_s; /* 0: MD_HTTP_REQUEST_S */
};

struct md_http;

/* Binds and listens. A socket left behind is replaced, one that somebody answers is not. handler is copied. NULL with a
 * sentence in error. */
struct md_http *md_http_open(struct event_base *base, const char *path, const struct md_http_handler *handler,
                             char *error, size_t cap);
/* Asks the handler again for every waiting request. */
void md_http_wake(struct md_http *h);
/* Drops all connections and removes the socket. */
void md_http_close(struct md_http *h);
/* Open connections, for tests and status. */
unsigned md_http_connections(const struct md_http *h);

/* {"error": "...", "hint": "..."} with a status. format is the error's. */
void md_http_fail(struct md_http_reply *reply, int status, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
