/*
 * One request to the daemon over its unix socket. Blocking, bounded in time and size. Not reentrant only in that
 * SIGPIPE must be ignored by the program.
 */
#ifndef MD_CLIENT_H
#define MD_CLIENT_H

#include <cjson/cJSON.h>
#include <stddef.h>

#define MD_CLIENT_REPLY_MAX (8u << 20) /* bytes of a reply */

struct md_client_reply {
    int status;  /* HTTP status */
    cJSON *json; /* the caller frees it; an object or array */
};

/*
 * Sends one request and reads the reply. body may be NULL. timeout_s counts from the call. 0 with *reply filled in, or
 * -1 with a sentence in error: nobody there, no answer in time, an answer that is not HTTP or not JSON.
 */
int md_client_call(const char *socket_path, const char *method, const char *path, const void *body, size_t len,
                   unsigned timeout_s, struct md_client_reply *reply, char *error, size_t cap);

/* Parses a whole reply (head and body) as the above does; for tests. 0 or -1 with a sentence. */
int md_client_parse(const char *data, size_t len, struct md_client_reply *reply, char *error, size_t cap);

#endif
