/*
 * Releases and rollouts.
 */
#include "api_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ctl/pack.h"
#include "proto/mp_wire.h"

#define POLICY_MAX 4096    /* bytes of a policy as text */
#define CONFIRM_SHORT_S 60 /* a shorter confirm window is warned of */

/* --- releases ----------------------------------------------------------------------------------------------------- */

static int add_manifest(void *ctx, const uint8_t id[8], const uint8_t raw[MP_MANIFEST_SIZE], bool whole, int64_t at_ms)
{
    struct mp_manifest m;
    if (mp_manifest_get(&m, raw, MP_MANIFEST_SIZE) != MP_OK)
        return 0;
    cJSON *j = md_api_manifest(id, &m);
    cJSON_AddBoolToObject(j, "payload_held", whole);
    cJSON_AddNumberToObject(j, "at_ms", (double)at_ms);
    cJSON_AddItemToArray(ctx, j);
    return 0;
}

void md_api_releases(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    (void)call;
    reply->json = cJSON_CreateObject();
    cJSON *array = cJSON_AddArrayToObject(reply->json, "manifests");
    int bad = md_store_each_manifest(md_gateway_store(a->gateway), add_manifest, array);
    if (bad != 0)
        md_api_fail_code(a, reply, bad, "releases", md_store_error(md_gateway_store(a->gateway)));
}

static cJSON *import_json(const struct md_import *imported)
{
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "release", imported->release);
    cJSON *array = cJSON_AddArrayToObject(j, "manifests");
    for (unsigned i = 0; i < imported->count; i++)
        cJSON_AddItemToArray(array, md_api_manifest(imported->image[i].id, &imported->manifest[i]));
    return j;
}

void md_api_import(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_import imported;
    struct md_gateway_status s;
    char error[MD_STORE_ERROR_MAX] = "";
    md_gateway_status(a->gateway, &s);
    if (call->request->body == NULL) {
        md_http_fail(reply, 400, "send a bundle (.mfr)", "the body is empty");
        return;
    }
    int bad = md_import_bundle(md_gateway_store(a->gateway), md_gateway_now_ms(a->gateway), s.epoch,
                               call->request->body, call->request->body_len, call->who, &imported, error, sizeof error);
    if (bad != MP_OK && bad != MP_ERR_DUPLICATE) {
        md_log(MD_LOG_WARNING, "import", "refused: %s", error);
        md_api_fail_code(a, reply, bad, "import refused", error);
        return;
    }
    reply->status = bad == MP_OK ? 201 : 200;
    reply->json = import_json(&imported);
    cJSON_AddBoolToObject(reply->json, "already", bad == MP_ERR_DUPLICATE);
}

/* --- rollouts as JSON --------------------------------------------------------------------------------------------- */

static cJSON *counts_json(const struct md_counts *c)
{
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "members", c->members);
    md_api_add_u64(j, "waiting", c->waiting);
    md_api_add_u64(j, "staged", c->staged);
    md_api_add_u64(j, "trial", c->trial);
    md_api_add_u64(j, "confirmed", c->confirmed);
    md_api_add_u64(j, "failed", c->failed);
    md_api_add_u64(j, "silent", c->silent);
    md_api_add_u64(j, "waived", c->waived);
    if (c->limit == MD_UNLIMITED)
        cJSON_AddNullToObject(j, "failures_allowed");
    else
        md_api_add_u64(j, "failures_allowed", c->limit);
    return j;
}

/* "pending", "staging", "open", "soaking", "passed", "held", "reverting", "reverted" */
static const char *ring_state(const struct md_rollout_info *info, unsigned ring)
{
    if (info->phase == MD_PHASE_DONE || ring < info->ring)
        return info->phase == MD_PHASE_REVERTING || info->phase == MD_PHASE_REVERTED ? md_phase_name(info->phase)
                                                                                     : "passed";
    return ring == info->ring ? md_phase_name(info->phase) : "pending";
}

static cJSON *rings_json(struct md_api *a, const struct md_rollout_info *info)
{
    struct md_release *r = md_gateway_release(a->gateway);
    cJSON *array = cJSON_CreateArray();
    for (uint8_t i = 0; i < info->ring_count; i++) {
        const struct md_ring_policy *ring = &info->config->policy.ring[i];
        struct md_counts counts;
        cJSON *j = cJSON_CreateObject();
        cJSON_AddStringToObject(j, "name", ring->name);
        cJSON_AddStringToObject(j, "state", ring_state(info, i));
        cJSON_AddItemToObject(j, "labels", md_api_label_names(a, ring->labels));
        md_api_add_u64(j, "share_bp", ring->share);
        md_api_add_u64(j, "soak_s", ring->soak_s);
        md_api_add_u64(j, "deadline_s", ring->deadline_s);
        if (md_release_counts(r, info->release, i, &counts) == MP_OK)
            cJSON_AddItemToObject(j, "counts", counts_json(&counts));
        cJSON_AddItemToArray(array, j);
    }
    return array;
}

static void add_info(struct md_api *a, cJSON *j, const struct md_rollout_info *info)
{
    struct md_counts counts;
    cJSON_AddStringToObject(j, "phase", md_phase_name(info->phase));
    cJSON_AddStringToObject(j, "resumes", info->phase == MD_PHASE_HELD ? md_phase_name(info->resumes) : "");
    cJSON_AddStringToObject(j, "cause", info->cause == MD_CAUSE_NONE ? "" : md_cause_name(info->cause));
    cJSON_AddStringToObject(j, "why", info->why);
    cJSON_AddStringToObject(j, "ring", info->ring < info->ring_count ? info->config->policy.ring[info->ring].name : "");
    md_api_add_u64(j, "opened_share_bp", info->share);
    cJSON_AddItemToObject(j, "opened_labels", md_api_label_names(a, info->labels));
    md_api_add_u64(j, "started_ms", info->started_ms);
    md_api_add_u64(j, "phase_ms", info->phase_ms);
    if (info->due_ms == MD_NEVER_MS)
        cJSON_AddNullToObject(j, "due_ms");
    else
        md_api_add_u64(j, "due_ms", info->due_ms);
    md_api_add_u64(j, "salt", info->config->salt);
    cJSON_AddItemToObject(j, "rings", rings_json(a, info));
    if (md_release_counts(md_gateway_release(a->gateway), info->release, MD_RING_TOTAL, &counts) == MP_OK)
        cJSON_AddItemToObject(j, "counts", counts_json(&counts));
}

struct rollout_listing {
    struct md_api *api;
    cJSON *array;     /* of all, or */
    uint32_t release; /* this one only, into */
    cJSON *found;
};

static int add_rollout(void *ctx, const struct md_rollout_row *row)
{
    struct rollout_listing *l = ctx;
    struct md_rollout_info info;
    if (l->release != 0 && row->release != l->release)
        return 0;
    cJSON *j = cJSON_CreateObject();
    md_api_add_u64(j, "release", row->release);
    cJSON_AddBoolToObject(j, "live", row->live);
    cJSON_AddStringToObject(j, "policy", row->policy);
    cJSON_AddNumberToObject(j, "updated_ms", (double)row->updated_ms);
    if (md_release_find(md_gateway_release(l->api->gateway), row->release, &info) == MP_OK) {
        add_info(l->api, j, &info);
    } else {
        cJSON_AddStringToObject(j, "phase", row->phase);
        cJSON_AddStringToObject(j, "why", row->why);
        cJSON_AddNumberToObject(j, "started_ms", (double)row->started_ms);
    }
    if (l->array != NULL) {
        cJSON_AddItemToArray(l->array, j);
    } else {
        cJSON_Delete(l->found);
        l->found = j;
    }
    return 0;
}

void md_api_rollouts(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    (void)call;
    struct rollout_listing l = {.api = a};
    reply->json = cJSON_CreateObject();
    cJSON_AddNumberToObject(reply->json, "now_ms", (double)md_gateway_now_ms(a->gateway));
    l.array = cJSON_AddArrayToObject(reply->json, "rollouts");
    int bad = md_store_each_rollout(md_gateway_store(a->gateway), add_rollout, &l);
    if (bad != 0)
        md_api_fail_code(a, reply, bad, "rollouts", md_store_error(md_gateway_store(a->gateway)));
}

static cJSON *members_json(struct md_api *a, uint32_t release)
{
    struct md_release *r = md_gateway_release(a->gateway);
    struct md_rollout_info info;
    struct md_release_node m;
    struct md_node node;
    cJSON *array = cJSON_CreateArray();
    if (md_release_find(r, release, &info) != MP_OK)
        return array;
    for (uint32_t i = 0; md_release_member(r, release, i, &m) == MP_OK; i++) {
        if (m.outcome == MD_OUTCOME_OUTSIDE)
            continue;
        cJSON *j = cJSON_CreateObject();
        md_api_add_u64(j, "node", m.node);
        cJSON_AddStringToObject(
            j, "name", md_registry_find(md_gateway_registry(a->gateway), m.node, &node) == MP_OK ? node.name : "");
        cJSON_AddStringToObject(j, "ring", m.ring < info.ring_count ? info.config->policy.ring[m.ring].name : "");
        cJSON_AddStringToObject(j, "outcome", md_outcome_name((enum md_outcome)m.outcome));
        cJSON_AddStringToObject(j, "reason", m.reason == MP_REASON_NONE ? "" : md_reason_name(m.reason));
        cJSON_AddItemToArray(array, j);
    }
    return array;
}

static void answer_rollout(struct md_api *a, uint32_t release, struct md_http_reply *reply)
{
    struct rollout_listing l = {.api = a, .release = release};
    int bad = md_store_each_rollout(md_gateway_store(a->gateway), add_rollout, &l);
    if (bad != 0) {
        cJSON_Delete(l.found);
        md_api_fail_code(a, reply, bad, "rollout", md_store_error(md_gateway_store(a->gateway)));
        return;
    }
    if (l.found == NULL) {
        md_http_fail(reply, 404, "see GET /v1/rollouts (meshctl rollout list)", "no rollout of release %u", release);
        return;
    }
    reply->json = l.found;
    cJSON_AddNumberToObject(l.found, "now_ms", (double)md_gateway_now_ms(a->gateway));
    cJSON_AddItemToObject(l.found, "members", members_json(a, release));
}

void md_api_rollout(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint32_t release;
    if (md_api_arg_release(call, &release, reply))
        answer_rollout(a, release, reply);
}

/* --- plan and start ----------------------------------------------------------------------------------------------- */

/* Release and policy of a body into a configuration. False with the reply filled in. */
static bool read_config(struct md_api *a, const struct md_call *call, struct md_rollout_config *c,
                        struct md_import *imported, struct md_http_reply *reply)
{
    uint64_t release = 0;
    const char *policy = NULL;
    char error[MD_TEXT_MAX];
    if (!md_api_need_number(call, "release", 1, UINT32_MAX, &release, reply))
        return false;
    int found = md_api_string(call, "policy", POLICY_MAX, &policy, reply);
    if (found <= 0) {
        if (found == 0)
            md_http_fail(reply, 400, "e.g. \"canary: label=canary soak=300; all: share=100%\"",
                         "\"policy\" is missing");
        return false;
    }
    memset(c, 0, sizeof *c);
    if (md_policy_parse(&c->policy, policy, md_registry_label, md_gateway_registry(a->gateway), error, sizeof error) !=
            MP_OK ||
        md_policy_check(&c->policy, error, sizeof error) != MP_OK) {
        md_http_fail(reply, 400, "see meshctl rollout start --help", "policy: %s", error);
        return false;
    }
    int count = md_import_release(md_gateway_store(a->gateway), (uint32_t)release, imported);
    if (count < 0) {
        md_api_fail_code(a, reply, count, "release",
                         count == MP_ERR_ABSENT ? "not imported (meshctl import FILE)" : "");
        return false;
    }
    c->release = (uint32_t)release;
    c->image_count = imported->count;
    memcpy(c->image, imported->image, sizeof c->image);
    /* the signer's salt made this id random, and a plan made beforehand shows the members that the start will have */
    c->salt = mp_get32(c->image[0].id);
    return true;
}

static bool covers(const struct md_rollout_config *c, const struct md_node *node)
{
    for (unsigned i = 0; i < c->image_count; i++)
        if (c->image[i].product == node->product && c->image[i].model == node->model &&
            (c->image[i].hw_revisions >> (node->hw_revision & 31) & 1) != 0)
            return true;
    return false;
}

struct counter_query {
    const struct mp_manifest *m;
    uint32_t highest; /* security counter of earlier releases for the same device */
    bool any;
};

static int highest_counter(void *ctx, const uint8_t id[8], const uint8_t raw[MP_MANIFEST_SIZE], bool whole,
                           int64_t at_ms)
{
    (void)id;
    (void)whole;
    (void)at_ms;
    struct counter_query *q = ctx;
    struct mp_manifest m;
    if (mp_manifest_get(&m, raw, MP_MANIFEST_SIZE) != MP_OK || m.release >= q->m->release ||
        m.product != q->m->product || m.model != q->m->model)
        return 0;
    q->any = true;
    if (m.security_counter > q->highest)
        q->highest = m.security_counter;
    return 0;
}

static cJSON *warnings_json(struct md_api *a, const struct md_rollout_config *c, const struct md_import *imported)
{
    char text[200];
    cJSON *array = cJSON_CreateArray();
    if (c->policy.confirm_s < CONFIRM_SHORT_S) {
        snprintf(text, sizeof text, "the confirm window is %u s; below %d s a healthy image may be rolled back",
                 c->policy.confirm_s, CONFIRM_SHORT_S);
        cJSON_AddItemToArray(array, cJSON_CreateString(text));
    }
    for (unsigned i = 0; i < imported->count; i++) {
        struct counter_query q = {.m = &imported->manifest[i]};
        md_store_each_manifest(md_gateway_store(a->gateway), highest_counter, &q);
        if (!q.any || imported->manifest[i].security_counter <= q.highest)
            continue;
        snprintf(text, sizeof text,
                 "product %u model %u: the security counter rises from %u to %u; once confirmed this is a point of no "
                 "return, no earlier release can be reverted to",
                 imported->manifest[i].product, imported->manifest[i].model, q.highest,
                 imported->manifest[i].security_counter);
        cJSON_AddItemToArray(array, cJSON_CreateString(text));
    }
    return array;
}

static cJSON *plan_json(struct md_api *a, const struct md_rollout_config *c)
{
    cJSON *j = cJSON_CreateObject(), *member[MD_RINGS_MAX];
    cJSON *rings = cJSON_AddArrayToObject(j, "rings");
    struct md_node node;
    unsigned outside = 0;
    for (unsigned i = 0; i < c->policy.ring_count; i++) {
        const struct md_ring_policy *p = &c->policy.ring[i];
        cJSON *ring = cJSON_CreateObject();
        cJSON_AddStringToObject(ring, "name", p->name);
        cJSON_AddItemToObject(ring, "labels", md_api_label_names(a, p->labels));
        md_api_add_u64(ring, "share_bp", p->share);
        md_api_add_u64(ring, "soak_s", p->soak_s);
        md_api_add_u64(ring, "deadline_s", p->deadline_s);
        member[i] = cJSON_AddArrayToObject(ring, "members");
        cJSON_AddItemToArray(rings, ring);
    }
    for (uint32_t i = 0; md_registry_get(md_gateway_registry(a->gateway), i, &node) == MP_OK; i++) {
        unsigned draw = mp_directive_draw(md_store_crypto(md_gateway_store(a->gateway)), c->salt, node.node, 0, NULL);
        int ring = md_policy_ring(&c->policy, node.labels, draw);
        if (node.retired || !node.enrolled || !covers(c, &node) || ring < 0) {
            outside++;
            continue;
        }
        cJSON *m = cJSON_CreateObject();
        md_api_add_u64(m, "node", node.node);
        cJSON_AddStringToObject(m, "name", node.name);
        md_api_add_u64(m, "draw", draw);
        cJSON_AddItemToArray(member[ring], m);
    }
    md_api_add_u64(j, "outside", outside);
    return j;
}

void md_api_plan(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_rollout_config config;
    struct md_import imported;
    char policy[MD_POLICY_TEXT_MAX];
    if (!read_config(a, call, &config, &imported, reply))
        return;
    reply->json = plan_json(a, &config);
    md_api_add_u64(reply->json, "release", config.release);
    md_api_add_u64(reply->json, "salt", config.salt);
    if (md_policy_format(&config.policy, policy, sizeof policy) > 0)
        cJSON_AddStringToObject(reply->json, "policy", policy);
    cJSON_AddItemToObject(reply->json, "warnings", warnings_json(a, &config, &imported));
}

static bool can_sign(struct md_api *a, struct md_http_reply *reply)
{
    struct md_gateway_status s;
    md_gateway_status(a->gateway, &s);
    if (!s.can_sign)
        md_http_fail(reply, 409, "set [network] release_key in meshd.conf and restart",
                     "this gateway signs nothing: %s", s.cannot_sign);
    return s.can_sign;
}

void md_api_start(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    struct md_rollout_config config;
    struct md_import imported;
    char error[MD_TEXT_MAX] = "";
    if (!can_sign(a, reply) || !read_config(a, call, &config, &imported, reply))
        return;
    int bad = md_release_start(md_gateway_release(a->gateway), (uint64_t)md_gateway_now_ms(a->gateway), &config,
                               call->who, error, sizeof error);
    if (bad != MP_OK) {
        md_api_fail_code(a, reply, bad, "rollout not started",
                         bad == MP_ERR_DUPLICATE ? "this release is being rolled out already" : error);
        return;
    }
    cJSON *warnings = warnings_json(a, &config, &imported);
    bad = md_gateway_commit(a->gateway, call->who);
    if (bad != MP_OK) {
        cJSON_Delete(warnings);
        md_api_fail_code(a, reply, bad, "rollout not started", md_store_error(md_gateway_store(a->gateway)));
        return;
    }
    answer_rollout(a, config.release, reply);
    if (reply->status == 200)
        reply->status = 201;
    cJSON_AddItemToObject(reply->json, "warnings", warnings);
}

/* --- steering ----------------------------------------------------------------------------------------------------- */

static void finish(struct md_api *a, const struct md_call *call, struct md_http_reply *reply, uint32_t release, int bad,
                   const char *what)
{
    struct md_rollout_info info;
    char detail[120] = "";
    if (bad == MP_OK) {
        bad = md_gateway_commit(a->gateway, call->who);
        if (bad == MP_OK) {
            answer_rollout(a, release, reply);
            return;
        }
        snprintf(detail, sizeof detail, "%.110s", md_store_error(md_gateway_store(a->gateway)));
    } else if (bad == MP_ERR_STATE && md_release_find(md_gateway_release(a->gateway), release, &info) == MP_OK) {
        snprintf(detail, sizeof detail, "not possible while it is %s", md_phase_name(info.phase));
    } else if (bad == MP_ERR_ABSENT) {
        snprintf(detail, sizeof detail, "no live rollout of release %u", release);
    }
    md_api_fail_code(a, reply, bad, what, detail);
}

void md_api_hold(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint32_t release;
    if (!md_api_arg_release(call, &release, reply) || !can_sign(a, reply))
        return;
    int bad =
        md_release_hold(md_gateway_release(a->gateway), (uint64_t)md_gateway_now_ms(a->gateway), release, call->who);
    finish(a, call, reply, release, bad, "hold");
}

void md_api_resume(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint32_t release;
    if (!md_api_arg_release(call, &release, reply) || !can_sign(a, reply))
        return;
    int bad =
        md_release_resume(md_gateway_release(a->gateway), (uint64_t)md_gateway_now_ms(a->gateway), release, call->who);
    finish(a, call, reply, release, bad, "resume");
}

void md_api_advance(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint32_t release;
    if (!md_api_arg_release(call, &release, reply) || !can_sign(a, reply))
        return;
    int bad =
        md_release_advance(md_gateway_release(a->gateway), (uint64_t)md_gateway_now_ms(a->gateway), release, call->who);
    finish(a, call, reply, release, bad, "advance");
}

void md_api_override(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint32_t release;
    const cJSON *on = cJSON_GetObjectItemCaseSensitive(call->body, "on");
    if (!md_api_arg_release(call, &release, reply) || !can_sign(a, reply))
        return;
    if (!cJSON_IsBool(on)) {
        md_http_fail(reply, 400, "nothing was changed", "\"on\" must be true or false");
        return;
    }
    int bad = md_release_override(md_gateway_release(a->gateway), (uint64_t)md_gateway_now_ms(a->gateway), release,
                                  cJSON_IsTrue(on), call->who);
    finish(a, call, reply, release, bad, "override");
}

/* The image of an earlier release for the same device, its index in `to`, or -1. */
static int counterpart(const struct md_release_image *image, const struct md_import *to)
{
    for (unsigned i = 0; i < to->count; i++)
        if (to->image[i].product == image->product && to->image[i].model == image->model &&
            (to->image[i].hw_revisions & image->hw_revisions) == image->hw_revisions)
            return (int)i;
    return -1;
}

/* Manifest ids of release `to`, in the order of the rollout's images. False when one is missing. */
static bool pair_images(const struct md_rollout_config *c, const struct md_import *to, uint8_t ids[][8])
{
    for (unsigned i = 0; i < c->image_count; i++) {
        int k = counterpart(&c->image[i], to);
        if (k < 0)
            return false;
        memcpy(ids[i], to->image[k].id, 8);
    }
    return true;
}

struct newest_query {
    uint32_t below;
    uint32_t newest;
};

static int newest_below(void *ctx, const uint8_t id[8], const uint8_t raw[MP_MANIFEST_SIZE], bool whole, int64_t at_ms)
{
    (void)id;
    (void)at_ms;
    struct newest_query *q = ctx;
    struct mp_manifest m;
    if (whole && mp_manifest_get(&m, raw, MP_MANIFEST_SIZE) == MP_OK && m.release < q->below && m.release > q->newest)
        q->newest = m.release;
    return 0;
}

/* The newest imported release below this one that has an image for each of its devices. */
static bool choose_target(struct md_api *a, const struct md_rollout_config *c, struct md_import *to, uint8_t ids[][8])
{
    struct newest_query q = {.below = c->release};
    for (;;) {
        q.newest = 0;
        if (md_store_each_manifest(md_gateway_store(a->gateway), newest_below, &q) != 0 || q.newest == 0)
            return false;
        if (md_import_release(md_gateway_store(a->gateway), q.newest, to) > 0 && pair_images(c, to, ids))
            return true;
        q.below = q.newest;
    }
}

void md_api_revert(struct md_api *a, const struct md_call *call, struct md_http_reply *reply)
{
    uint32_t release;
    uint64_t to_release = 0;
    struct md_rollout_info info;
    struct md_import to;
    uint8_t ids[MP_DIRECTIVE_MANIFESTS_MAX][8];
    if (!md_api_arg_release(call, &release, reply) || !can_sign(a, reply) ||
        md_api_number(call, "to", 1, UINT32_MAX, &to_release, reply) < 0)
        return;
    if (md_release_find(md_gateway_release(a->gateway), release, &info) != MP_OK) {
        md_api_fail_code(a, reply, MP_ERR_ABSENT, "revert", "no live rollout of this release");
        return;
    }
    bool found = to_release != 0 ? md_import_release(md_gateway_store(a->gateway), (uint32_t)to_release, &to) > 0 &&
                                       pair_images(info.config, &to, ids)
                                 : choose_target(a, info.config, &to, ids);
    if (!found) {
        md_http_fail(reply, 409, "import the release to go back to, for every model of this one",
                     "no imported release to revert to");
        return;
    }
    int bad = md_release_revert(md_gateway_release(a->gateway), (uint64_t)md_gateway_now_ms(a->gateway), release,
                                to.release, (const uint8_t(*)[8])ids, info.config->image_count, call->who);
    finish(a, call, reply, release, bad, "revert");
}
