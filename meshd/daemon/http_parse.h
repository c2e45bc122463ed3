/*
 * Head of an HTTP/1.1 request (RFC 9112), for the daemon's own small server. Pure; reentrant.
 *
 * Strict on purpose: only what the API needs is understood. No chunked request bodies, no line folding, no percent
 * encoding in paths, no bytes outside printable ASCII.
 */
#ifndef MD_HTTP_PARSE_H
#define MD_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_HTTP_HEAD_MAX 8192 /* request line and headers, bytes */
#define MD_HTTP_HEADERS_MAX 64

struct md_http_head {
    char method[8];
    char path[256];  /* begins with '/' */
    char query[256]; /* what follows '?', "" none */
    uint64_t length; /* Content-Length, 0 when there is none */
    bool has_length;
    bool wants_continue; /* Expect: 100-continue */
};

/*
 * Parses a head. Its length in bytes (up to and with the empty line), 0 when it is not complete yet, or the status to
 * answer, negative: -400 malformed, -411 body without Content-Length (chunked), -414 path too long, -417 other Expect,
 * -431 head too large, -505 not HTTP/1.0 or 1.1.
 */
int md_http_parse(struct md_http_head *h, const char *data, size_t len);

/* Value of "name=" in a query as an unsigned number: true and *value set when it is there and is one. */
bool md_http_query(const char *query, const char *name, uint64_t *value);

/* Reason phrase of a status the server uses. */
const char *md_http_reason(int status);

#endif
