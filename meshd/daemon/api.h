/*
 * The daemon's JSON API (docs/OPERATING.md has the table): what a request means, apart from how it came.
 *
 * Bodies are JSON objects of at most MD_HTTP_JSON_MAX bytes, but for /v1/import, which takes a bundle. A request that
 * is malformed, out of range or against a rule changes nothing and is answered with 4xx and {"error", "hint"}. Opaque;
 * one thread.
 */
#ifndef MD_API_H
#define MD_API_H

#include "gateway.h"
#include "http.h"

struct md_api;

struct md_api *md_api_new(struct md_gateway *gateway);
void md_api_free(struct md_api *a);
/* For struct md_http_handler; ctx is the md_api. */
size_t md_api_body_max(void *ctx, const char *method, const char *path);
void md_api_handle(void *ctx, const struct md_http_request *request, struct md_http_reply *reply);

#endif
