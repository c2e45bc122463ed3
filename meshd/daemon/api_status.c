/*
 * What the daemon is and did: status, events, audit log, keys.
 */
#include "api_state.h"

#include <stdio.h>
#include <string.h>

#include "version.h"
#include "proto/mp_wire.h"

#define EVENTS_WAIT_MAX_S 60
#define AUDIT_LIMIT 500

static cJSON *keys_json(const struct mp_key keys[2])
{
    static const char *const states[] = {"none", "valid", "revoked"};
    cJSON *array = cJSON_CreateArray();
    for (unsigned i = 0; i < 2; i++) {
        cJSON *k = cJSON_CreateObject();
        md_api_add_u64(k, "id", i);
        cJSON_AddStringToObject(k, "state", states[keys[i].state < 3 ? keys[i].state : 0]);
        md_api_add_u64(k, "generation", keys[i].generation);
        md_api_add_hex(k, "public", keys[i].pub, 32);
        cJSON_AddItemToArray(array, k);
    }
    return array;
}

static cJSON *keyset_json(const struct mp_keyset *set)
{
    uint8_t record[MP_KEYSET_SIZE];
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "number", set->number);
    cJSON_AddBoolToObject(j, "frozen", set->frozen);
    md_api_add_hex(j, "head", set->head, 32);
    cJSON_AddItemToObject(j, "publisher", keys_json(set->publisher));
    cJSON_AddItemToObject(j, "release", keys_json(set->release));
    mp_keyset_put(record, set);
    md_api_add_hex(j, "record", record, sizeof record);
    return j;
}

static cJSON *neighbours_json(const struct mp_node *n)
{
    struct mp_neighbour_info info;
    cJSON *array = cJSON_CreateArray();
    for (unsigned i = 0; i < MP_NEIGHBOURS_MAX; i++) {
        if (!mp_node_neighbour(n, i, md_bearer_now(), &info))
            continue;
        cJSON *j = cJSON_CreateObject();
        md_api_add_u64(j, "node", info.node);
        md_api_add_u64(j, "hop", info.hop);
        md_api_add_u64(j, "quality_percent", info.quality * 100u / 255u);
        md_api_add_u64(j, "age_ms", info.age_ms);
        md_api_add_u64(j, "held", info.held);
        cJSON_AddItemToArray(array, j);
    }
    return array;
}

static cJSON *heads_json(const struct mp_node *n, const struct mp_env *env)
{
    static const char *const actions[] = {"stage", "open", "hold", "revert"};
    struct mp_directive d;
    cJSON *array = cJSON_CreateArray();
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        if (mp_node_directive(n, env, i, &d, NULL, NULL) != MP_OK)
            continue;
        cJSON *j = cJSON_CreateObject();
        md_api_add_u64(j, "release", d.release);
        md_api_add_u64(j, "generation", d.generation);
        md_api_add_u64(j, "sequence", d.sequence);
        cJSON_AddStringToObject(j, "action", actions[d.action & 3]);
        md_api_add_u64(j, "labels", d.labels);
        md_api_add_u64(j, "share_bp", d.share);
        md_api_add_u64(j, "epoch", d.epoch);
        cJSON_AddItemToArray(array, j);
    }
    return array;
}

/* Live manifests, with what this gateway holds of their payloads. */
static cJSON *manifests_json(struct md_api *a, const struct mp_node *n, const struct mp_env *env)
{
    struct mp_manifest m;
    uint8_t id[8];
    cJSON *array = cJSON_CreateArray();
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
        if (mp_node_manifest(n, env, i, &m, id) != MP_OK)
            continue;
        cJSON *j = md_api_manifest(id, &m);
        uint32_t held = 0, positions = 0;
        int place = md_store_find_place(md_gateway_store(a->gateway), id);
        if (place >= 0)
            mp_node_progress(n, (unsigned)place, &held, &positions);
        md_api_add_u64(j, "chunks_held", held);
        md_api_add_u64(j, "chunks", positions);
        cJSON_AddItemToArray(array, j);
    }
    return array;
}

static cJSON *counters_json(const struct mp_counters *c)
{
    static const char *const types[] = {NULL,      "summary", "manifest", "directive",  "keychange",
                                        "request", "chunk",   "report",   "report_ack", "receipt"};
    cJSON *j = cJSON_CreateObject();
    cJSON *received = cJSON_AddObjectToObject(j, "received");
    cJSON *written = cJSON_AddObjectToObject(j, "written");
    cJSON *dropped = cJSON_AddObjectToObject(j, "dropped");
    for (size_t i = 1; i < sizeof types / sizeof types[0]; i++) {
        md_api_add_u64(received, types[i], c->received[i]);
        md_api_add_u64(written, types[i], c->written[i]);
    }
    for (int i = 1; i < MP_ERROR_COUNT; i++)
        if (c->dropped[i] != 0)
            md_api_add_u64(dropped, mp_strerror(-i), c->dropped[i]);
    md_api_add_u64(j, "written_bytes", c->written_bytes);
    md_api_add_u64(j, "chunks_stored", c->chunks_stored);
    md_api_add_u64(j, "chunks_duplicate", c->chunks_duplicate);
    return j;
}

static cJSON *bearer_json(const struct md_bearer_info *b)
{
    cJSON *j = cJSON_CreateObject();
    cJSON_AddStringToObject(j, "device", b->device);
    cJSON_AddStringToObject(j, "state", b->is_running ? "running" : b->is_open ? "starting" : "closed");
    cJSON_AddStringToObject(j, "problem", b->problem);
    md_api_add_u64(j, "opens", b->opens);
    md_api_add_u64(j, "frames_heard", b->counters.frames);
    md_api_add_u64(j, "frames_sent", b->counters.sent);
    md_api_add_u64(j, "frames_lost", b->counters.lost);
    md_api_add_u64(j, "malformed", b->counters.malformed);
    md_api_add_u64(j, "foreign", b->counters.foreign);
    md_api_add_u64(j, "timeouts", b->counters.timeouts);
    md_api_add_u64(j, "restarts", b->counters.restarts);
    return j;
}

static cJSON *node_counts_json(struct md_registry *registry)
{
    unsigned counts[MD_NODE_STATE_COUNT] = {0};
    struct md_node node;
    for (uint32_t i = 0; md_registry_get(registry, i, &node) == MP_OK; i++)
        counts[node.retired ? MD_NODE_RETIRED : node.enrolled ? MD_NODE_ENROLLED : MD_NODE_PROVISIONED]++;
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "provisioned", counts[MD_NODE_PROVISIONED]);
    md_api_add_u64(j, "enrolled", counts[MD_NODE_ENROLLED]);
    md_api_add_u64(j, "retired", counts[MD_NODE_RETIRED]);
    return j;
}

static cJSON *intake_json(struct md_registry *registry)
{
    static const char *const names[MD_INTAKE_COUNT] = {"new", "duplicate", "old", "forged", "unknown"};
    const struct md_intake_counts *counts = md_registry_intake(registry);
    cJSON *j = cJSON_CreateObject();
    for (unsigned i = 0; i < MD_INTAKE_COUNT; i++)
        md_api_add_u64(j, names[i], counts->by[i]);
    return j;
}

void md_api_status(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    (void)call;
    struct md_gateway_status s;
    const struct mp_env *env;
    const struct mp_node *n = md_gateway_node(a->gateway, &env);
    md_gateway_status(a->gateway, &s);
    cJSON *j = reply->json = cJSON_CreateObject();
    cJSON_AddStringToObject(j, "version", MD_VERSION);
    md_api_add_u64(j, "network", s.network);
    md_api_add_u64(j, "node", s.node);
    md_api_add_u64(j, "epoch", s.epoch);
    md_api_add_u64(j, "round", s.round);
    md_api_add_u64(j, "uptime_s", s.uptime_s);
    md_api_add_u64(j, "changes", s.changes);
    cJSON_AddBoolToObject(j, "signs", s.can_sign);
    cJSON_AddStringToObject(j, "signs_not_because", s.cannot_sign);
    cJSON_AddItemToObject(j, "bearer", bearer_json(&s.bearer));
    cJSON_AddItemToObject(j, "nodes", node_counts_json(md_gateway_registry(a->gateway)));
    cJSON_AddItemToObject(j, "reports", intake_json(md_gateway_registry(a->gateway)));
    cJSON_AddItemToObject(j, "keyset", keyset_json(&s.keyset));
    cJSON_AddItemToObject(j, "heads", heads_json(n, env));
    cJSON_AddItemToObject(j, "manifests", manifests_json(a, n, env));
    cJSON_AddItemToObject(j, "neighbours", neighbours_json(n));
    cJSON_AddItemToObject(j, "counters", counters_json(&s.counters));
}

/* --- audit -------------------------------------------------------------------------------------------------------- */

struct listing {
    cJSON *array;
    int64_t last;
};

static int add_audit(void *ctx, const struct md_audit_row *row)
{
    struct listing *l = ctx;
    cJSON *j = cJSON_CreateObject();
    cJSON_AddNumberToObject(j, "id", (double)row->id);
    cJSON_AddNumberToObject(j, "at_ms", (double)row->at_ms);
    cJSON_AddStringToObject(j, "who", row->who);
    cJSON_AddStringToObject(j, "what", row->what);
    cJSON_AddStringToObject(j, "text", row->text);
    md_api_add_hex(j, "hash", row->hash, 32);
    cJSON_AddItemToArray(l->array, j);
    l->last = row->id;
    return 0;
}

/* Rows after `since` into a new object {"audit": [...], "next": id}. NULL with the reply filled in. */
static cJSON *audit_after(struct md_api *a, uint64_t since, unsigned limit, struct md_http_reply *reply)
{
    struct listing l = {.last = (int64_t)since};
    cJSON *j = cJSON_CreateObject();
    l.array = cJSON_AddArrayToObject(j, "audit");
    int bad = md_store_each_audit(md_gateway_store(a->gateway), (int64_t)since, limit, add_audit, &l);
    if (bad != 0) {
        cJSON_Delete(j);
        md_api_fail_code(a, reply, bad, "audit log", md_store_error(md_gateway_store(a->gateway)));
        return NULL;
    }
    cJSON_AddNumberToObject(j, "next", (double)l.last);
    return j;
}

void md_api_audit(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint64_t since = 0, limit = AUDIT_LIMIT;
    md_http_query(call->request->query, "since", &since);
    md_http_query(call->request->query, "limit", &limit);
    reply->json = audit_after(a, since, limit < AUDIT_LIMIT ? (unsigned)limit : AUDIT_LIMIT, reply);
}

void md_api_audit_verify(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    (void)call;
    int64_t row = 0;
    int bad = md_store_verify_audit(md_gateway_store(a->gateway), &row);
    if (bad != 0 && bad != MD_STORE_TAMPERED) {
        md_api_fail_code(a, reply, bad, "audit log", md_store_error(md_gateway_store(a->gateway)));
        return;
    }
    reply->json = cJSON_CreateObject();
    cJSON_AddBoolToObject(reply->json, "intact", bad == 0);
    if (bad != 0)
        cJSON_AddNumberToObject(reply->json, "first_bad", (double)row);
}

/* Long poll: answers as soon as there is an audit row after `since` or the change counter is not `changes` any more. */
void md_api_events(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint64_t since = 0, wait = 20, changes = UINT64_MAX;
    struct md_gateway_status s;
    md_http_query(call->request->query, "since", &since);
    md_http_query(call->request->query, "wait", &wait);
    bool has_changes = md_http_query(call->request->query, "changes", &changes);
    md_gateway_status(a->gateway, &s);
    cJSON *j = audit_after(a, since, 100, reply);
    if (j == NULL)
        return;
    bool news = cJSON_GetArraySize(cJSON_GetObjectItem(j, "audit")) > 0 || (has_changes && changes != s.changes);
    if (!news && !call->request->last && wait > 0) {
        cJSON_Delete(j);
        reply->wait_s = wait < EVENTS_WAIT_MAX_S ? (unsigned)wait : EVENTS_WAIT_MAX_S;
        return;
    }
    md_api_add_u64(j, "changes", s.changes);
    reply->json = j;
}

void md_api_keychange(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    int bad = md_gateway_keychange(a->gateway, call->request->body, call->request->body_len, call->who);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "key change", "");
        return;
    }
    struct md_gateway_status s;
    md_gateway_status(a->gateway, &s);
    reply->json = keyset_json(&s.keyset);
}
