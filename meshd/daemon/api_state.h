/*
 * Inside of the API, shared by its files: api.c (routes, helpers), api_status.c, api_nodes.c, api_rollout.c.
 */
#ifndef MD_API_STATE_H
#define MD_API_STATE_H

#include "api.h"
#include "import.h"

struct md_api {
    struct md_gateway *gateway;
};

/* One request, after routing and parsing. */
struct md_call {
    const struct md_http_request *request;
    cJSON *body;          /* JSON object, NULL for GET and uploads */
    char arg[64];         /* the path's variable segment, "" none */
    char who[MD_WHO_MAX]; /* who asks */
};

typedef void md_route(struct md_api *a, const struct md_call *call, struct md_http_reply *reply);

md_route md_api_status, md_api_events, md_api_audit, md_api_audit_verify, md_api_keychange;
md_route md_api_nodes, md_api_node, md_api_node_settings, md_api_provision, md_api_retire, md_api_unretire,
    md_api_label, md_api_name, md_api_labels, md_api_set_label;
md_route md_api_releases, md_api_import, md_api_rollouts, md_api_rollout, md_api_plan, md_api_start, md_api_hold,
    md_api_resume, md_api_advance, md_api_revert, md_api_override;

/* --- helpers --- */

/* Answers a code of proto or of the store: status by kind, its sentence (detail when not ""), and a hint. */
void md_api_fail_code(struct md_api *a, struct md_http_reply *reply, int code, const char *what, const char *detail);
/* Number of the body within a range. 1 there, 0 absent (*value untouched), -1 wrong (reply is filled in). */
int md_api_number(const struct md_call *call, const char *name, uint64_t min, uint64_t max, uint64_t *value,
                  struct md_http_reply *reply);
/* The same, but it must be there. */
bool md_api_need_number(const struct md_call *call, const char *name, uint64_t min, uint64_t max, uint64_t *value,
                        struct md_http_reply *reply);
/* String of the body, at most max bytes. 1, 0, -1 as above. */
int md_api_string(const struct md_call *call, const char *name, size_t max, const char **value,
                  struct md_http_reply *reply);
/* The path's segment as a release sequence. */
bool md_api_arg_release(const struct md_call *call, uint32_t *release, struct md_http_reply *reply);
void md_api_add_hex(cJSON *object, const char *name, const uint8_t *data, size_t len);
void md_api_add_u64(cJSON *object, const char *name, uint64_t value);
/* Names (or numbers) of label bits as an array. */
cJSON *md_api_label_names(struct md_api *a, uint16_t labels);
cJSON *md_api_manifest(const uint8_t id[8], const struct mp_manifest *m);

#endif
