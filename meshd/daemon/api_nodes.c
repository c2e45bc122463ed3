/*
 * Nodes and labels.
 */
#include "api_state.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ctl/pack.h"
#include "proto/mp_wire.h"

#define HISTORY_LIMIT 32

/* --- what a node runs: versions of the imported releases ---------------------------------------------------------- */

struct version_query {
    const struct md_node *node;
    uint16_t running;
    uint32_t version; /* 0 not found */
};

static int match_version(void *ctx, const uint8_t id[8], const uint8_t raw[MP_MANIFEST_SIZE], bool whole, int64_t at_ms)
{
    (void)id;
    (void)whole;
    (void)at_ms;
    struct version_query *q = ctx;
    struct mp_manifest m;
    if (mp_manifest_get(&m, raw, MP_MANIFEST_SIZE) == MP_OK && (uint16_t)m.release == q->running &&
        m.product == q->node->product && m.model == q->node->model &&
        (m.hw_revisions >> (q->node->hw_revision & 31) & 1) != 0)
        q->version = m.version;
    return 0;
}

static cJSON *report_json(const struct mp_report *r, int64_t at_ms)
{
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "at_ms", (uint64_t)at_ms);
    md_api_add_u64(j, "serial", r->serial);
    md_api_add_u64(j, "running", r->running);
    md_api_add_u64(j, "target", r->target);
    cJSON_AddStringToObject(j, "phase", md_report_phase_name(r->phase));
    cJSON_AddStringToObject(j, "reason", r->reason == MP_REASON_NONE ? "" : md_reason_name(r->reason));
    return j;
}

static cJSON *node_json(struct md_api *a, const struct md_node *node)
{
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "node", node->node);
    cJSON_AddStringToObject(j, "name", node->name);
    cJSON_AddStringToObject(j, "state", md_node_state_name(node));
    md_api_add_u64(j, "index", node->index);
    md_api_add_u64(j, "product", node->product);
    md_api_add_u64(j, "model", node->model);
    md_api_add_u64(j, "hw_revision", node->hw_revision);
    cJSON_AddItemToObject(j, "labels", md_api_label_names(a, node->labels));
    md_api_add_u64(j, "provisioned_ms", (uint64_t)node->provisioned_ms);
    if (!node->has_report) {
        cJSON_AddNullToObject(j, "report");
        return j;
    }
    struct version_query q = {.node = node, .running = node->report.running};
    md_store_each_manifest(md_gateway_store(a->gateway), match_version, &q);
    if (q.version != 0) {
        char version[16];
        md_version_format(q.version, version);
        cJSON_AddStringToObject(j, "version", version);
    }
    cJSON_AddItemToObject(j, "report", report_json(&node->report, node->report_ms));
    return j;
}

void md_api_nodes(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    (void)call;
    struct md_node node;
    reply->json = cJSON_CreateObject();
    cJSON_AddNumberToObject(reply->json, "now_ms", (double)md_gateway_now_ms(a->gateway));
    cJSON *array = cJSON_AddArrayToObject(reply->json, "nodes");
    for (uint32_t i = 0; md_registry_get(md_gateway_registry(a->gateway), i, &node) == MP_OK; i++)
        cJSON_AddItemToArray(array, node_json(a, &node));
}

static bool find_node(struct md_api *a, const struct md_call *call, struct md_node *node, struct md_http_reply *reply)
{
    if (md_registry_find_name(md_gateway_registry(a->gateway), call->arg, node) == MP_OK)
        return true;
    md_http_fail(reply, 404, "see GET /v1/nodes (meshctl nodes)", "no node \"%s\"", call->arg);
    return false;
}

static int add_report(void *ctx, const struct md_report_row *row)
{
    cJSON_AddItemToArray(ctx, report_json(&row->report, row->at_ms));
    return 0;
}

/* What the node is to each live rollout. */
static cJSON *memberships(struct md_api *a, uint32_t id)
{
    struct md_release *r = md_gateway_release(a->gateway);
    struct md_rollout_info info;
    cJSON *array = cJSON_CreateArray();
    for (unsigned i = 0; md_release_info(r, i, &info) == MP_OK; i++) {
        struct md_release_node m;
        for (uint32_t k = 0; md_release_member(r, info.release, k, &m) == MP_OK; k++) {
            if (m.node != id)
                continue;
            cJSON *j = cJSON_CreateObject();
            md_api_add_u64(j, "release", info.release);
            cJSON_AddStringToObject(j, "ring", m.ring < info.ring_count ? info.config->policy.ring[m.ring].name : "");
            cJSON_AddStringToObject(j, "outcome", md_outcome_name((enum md_outcome)m.outcome));
            cJSON_AddStringToObject(j, "reason", m.reason == MP_REASON_NONE ? "" : md_reason_name(m.reason));
            cJSON_AddItemToArray(array, j);
        }
    }
    return array;
}

void md_api_node(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_node node;
    if (!find_node(a, call, &node, reply))
        return;
    reply->json = node_json(a, &node);
    cJSON_AddNumberToObject(reply->json, "now_ms", (double)md_gateway_now_ms(a->gateway));
    cJSON_AddItemToObject(reply->json, "rollouts", memberships(a, node.node));
    cJSON *history = cJSON_AddArrayToObject(reply->json, "history");
    md_registry_each_report(md_gateway_registry(a->gateway), node.node, HISTORY_LIMIT, add_report, history);
}

void md_api_node_settings(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_node node;
    uint8_t settings[MP_SETTINGS_SIZE];
    if (!find_node(a, call, &node, reply))
        return;
    int bad = md_registry_settings(md_gateway_registry(a->gateway), node.node, settings);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "settings", md_registry_error(md_gateway_registry(a->gateway)));
        return;
    }
    md_gateway_audit(a->gateway, call->who, "node.settings", "settings record of %s (%u) handed out again", node.name,
                     node.node);
    reply->json = node_json(a, &node);
    md_api_add_hex(reply->json, "settings", settings, sizeof settings);
    sodium_memzero(settings, sizeof settings);
}

/* --- labels ------------------------------------------------------------------------------------------------------- */

/* Bit of a label; a name that is not known gets the lowest free bit when `made` is given, which notes it. -1 with the
 * reply filled in. */
static int label_bit(struct md_api *a, const cJSON *item, uint16_t *made, struct md_http_reply *reply)
{
    struct md_registry *g = md_gateway_registry(a->gateway);
    char number[16];
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < MD_LABELS &&
        item->valuedouble == (double)item->valueint) {
        snprintf(number, sizeof number, "%d", item->valueint);
        name = number;
    }
    int bit = md_registry_label(g, name);
    for (unsigned i = 0; bit < 0 && made != NULL && name[0] != '\0' && i < MD_LABELS; i++) {
        if (md_registry_label_name(g, i)[0] != '\0')
            continue;
        if (md_registry_name_label(g, i, name) != MP_OK)
            break;
        *made = (uint16_t)(*made | 1u << i);
        bit = (int)i;
    }
    if (bit < 0)
        md_http_fail(reply, made != NULL ? 400 : 404, "at most 16 labels; letters, digits, '-' and '_'",
                     "no label \"%.40s\"", name);
    return bit;
}

/* Takes back the labels that a request made and then had no use for: a refusal leaves nothing behind. */
static void forget_labels(struct md_api *a, uint16_t made)
{
    for (unsigned bit = 0; bit < MD_LABELS; bit++)
        if ((made >> bit & 1) != 0)
            md_registry_name_label(md_gateway_registry(a->gateway), bit, "");
}

/* Labels of a JSON array as bits; made (may be NULL: none are made) tells which are new. False with the reply filled in
 * and nothing made. */
static bool label_bits(struct md_api *a, const struct md_call *call, const char *field, uint16_t *made, uint16_t *bits,
                       struct md_http_reply *reply)
{
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(call->body, field), *item;
    *bits = 0;
    if (array == NULL || cJSON_IsNull(array))
        return true;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) > MD_LABELS) {
        md_http_fail(reply, 400, "nothing was changed", "\"%s\" must be an array of at most 16 labels", field);
        return false;
    }
    cJSON_ArrayForEach(item, array)
    {
        int bit = label_bit(a, item, made, reply);
        if (bit < 0) {
            forget_labels(a, made != NULL ? *made : 0);
            return false;
        }
        *bits = (uint16_t)(*bits | 1u << bit);
    }
    return true;
}

void md_api_labels(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    (void)call;
    reply->json = cJSON_CreateObject();
    cJSON *array = cJSON_AddArrayToObject(reply->json, "labels");
    for (unsigned bit = 0; bit < MD_LABELS; bit++) {
        const char *name = md_registry_label_name(md_gateway_registry(a->gateway), bit);
        if (name[0] == '\0')
            continue;
        cJSON *j = cJSON_CreateObject();
        md_api_add_u64(j, "bit", bit);
        cJSON_AddStringToObject(j, "name", name);
        cJSON_AddItemToArray(array, j);
    }
}

void md_api_set_label(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint64_t bit = 0;
    const char *name = "";
    if (!md_api_need_number(call, "bit", 0, MD_LABELS - 1, &bit, reply) ||
        md_api_string(call, "name", MD_LABEL_NAME_MAX - 1, &name, reply) < 0)
        return;
    int bad = md_registry_name_label(md_gateway_registry(a->gateway), (unsigned)bit, name);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "label", md_registry_error(md_gateway_registry(a->gateway)));
        return;
    }
    md_gateway_audit(a->gateway, call->who, "label.name", "label %u is called \"%s\"", (unsigned)bit, name);
    md_api_labels(a, call, reply);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static void answer_node(struct md_api *a, uint32_t id, struct md_http_reply *reply)
{
    struct md_node node;
    int bad = md_gateway_node_changed(a->gateway, id);
    if (bad == MP_OK)
        bad = md_registry_find(md_gateway_registry(a->gateway), id, &node);
    if (bad != MP_OK)
        md_api_fail_code(a, reply, bad, "node", "");
    else
        reply->json = node_json(a, &node);
}

void md_api_provision(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint64_t id = 0, product = 0, model = 0, revision = 0;
    const char *name = "";
    struct md_provision in = {0};
    struct md_node node;
    uint8_t settings[MP_SETTINGS_SIZE];
    uint16_t made = 0;
    if (md_api_number(call, "node", 1, 0xFFFFFFFEu, &id, reply) < 0 ||
        !md_api_need_number(call, "product", 0, UINT32_MAX, &product, reply) ||
        !md_api_need_number(call, "model", 0, UINT16_MAX, &model, reply) ||
        md_api_number(call, "hw_revision", 0, 31, &revision, reply) < 0 ||
        md_api_string(call, "name", MD_NODE_NAME_MAX - 1, &name, reply) < 0 ||
        !label_bits(a, call, "labels", &made, &in.labels, reply))
        return;
    in.node = (uint32_t)id;
    in.product = (uint32_t)product;
    in.model = (uint16_t)model;
    in.hw_revision = (uint8_t)revision;
    snprintf(in.name, sizeof in.name, "%s", name);
    int bad =
        md_registry_provision(md_gateway_registry(a->gateway), md_gateway_now_ms(a->gateway), &in, &node, settings);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "provision", md_registry_error(md_gateway_registry(a->gateway)));
        forget_labels(a, made);
        return;
    }
    md_gateway_audit(a->gateway, call->who, "node.provision", "%s is node %u, product %u model %u revision %u",
                     node.name, node.node, node.product, node.model, node.hw_revision);
    answer_node(a, node.node, reply);
    if (reply->json != NULL && reply->status == 200) {
        reply->status = 201;
        md_api_add_hex(reply->json, "settings", settings, sizeof settings);
    }
    sodium_memzero(settings, sizeof settings);
}

static void set_retired(struct md_api *a, const struct md_call *call, struct md_http_reply *reply, bool retired)
{
    struct md_node node;
    if (!find_node(a, call, &node, reply))
        return;
    int bad = md_registry_retire(md_gateway_registry(a->gateway), node.node, retired);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, retired ? "retire" : "unretire",
                         bad == MP_ERR_STATE ? "the node is so already" : "");
        return;
    }
    md_gateway_audit(a->gateway, call->who, retired ? "node.retire" : "node.unretire", "%s (%u) %s", node.name,
                     node.node, retired ? "counts no more" : "counts again");
    answer_node(a, node.node, reply);
}

void md_api_retire(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    set_retired(a, call, reply, true);
}

void md_api_unretire(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    set_retired(a, call, reply, false);
}

void md_api_label(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_node node;
    uint16_t add, remove, made = 0;
    if (!find_node(a, call, &node, reply) || !label_bits(a, call, "remove", NULL, &remove, reply) ||
        !label_bits(a, call, "add", &made, &add, reply))
        return;
    uint16_t labels = (uint16_t)((node.labels & ~remove) | add);
    int bad = md_registry_set_labels(md_gateway_registry(a->gateway), node.node, labels);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "label", md_registry_error(md_gateway_registry(a->gateway)));
        forget_labels(a, made);
        return;
    }
    md_gateway_audit(a->gateway, call->who, "node.label", "labels of %s (%u) are 0x%04x, were 0x%04x", node.name,
                     node.node, labels, node.labels);
    answer_node(a, node.node, reply);
    if (reply->status == 200)
        cJSON_AddStringToObject(reply->json, "note",
                                "the node itself acts on the labels in its settings record: write it again "
                                "(meshctl nodes settings)");
}

void md_api_name(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_node node;
    const char *name = "";
    if (!find_node(a, call, &node, reply) || md_api_string(call, "name", MD_NODE_NAME_MAX - 1, &name, reply) < 0)
        return;
    int bad = md_registry_rename(md_gateway_registry(a->gateway), node.node, name);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "name", md_registry_error(md_gateway_registry(a->gateway)));
        return;
    }
    md_gateway_audit(a->gateway, call->who, "node.name", "node %u is called %s, was %s", node.node, name, node.name);
    answer_node(a, node.node, reply);
}
