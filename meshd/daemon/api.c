#include "api_state.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ctl/pack.h"

/* Path patterns: '*' stands for one segment. json: the body is a JSON object; otherwise the body is taken as it is. */
static const struct {
    const char *method;
    const char *path;
    md_route *handle;
    bool json;
    size_t body_max;
} routes[] = {
    {"GET", "/v1/status", md_api_status, false, 0},
    {"GET", "/v1/events", md_api_events, false, 0},
    {"GET", "/v1/audit", md_api_audit, false, 0},
    {"GET", "/v1/audit/verify", md_api_audit_verify, false, 0},
    {"POST", "/v1/keychange", md_api_keychange, false, MP_KEYCHANGE_SIZE},
    {"GET", "/v1/nodes", md_api_nodes, false, 0},
    {"POST", "/v1/nodes", md_api_provision, true, MD_HTTP_JSON_MAX},
    {"GET", "/v1/nodes/*", md_api_node, false, 0},
    {"GET", "/v1/nodes/*/settings", md_api_node_settings, false, 0},
    {"POST", "/v1/nodes/*/retire", md_api_retire, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/nodes/*/unretire", md_api_unretire, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/nodes/*/label", md_api_label, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/nodes/*/name", md_api_name, true, MD_HTTP_JSON_MAX},
    {"GET", "/v1/labels", md_api_labels, false, 0},
    {"POST", "/v1/labels", md_api_set_label, true, MD_HTTP_JSON_MAX},
    {"GET", "/v1/releases", md_api_releases, false, 0},
    {"POST", "/v1/import", md_api_import, false, MD_BUNDLE_MAX},
    {"GET", "/v1/rollouts", md_api_rollouts, false, 0},
    {"POST", "/v1/rollouts", md_api_start, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/rollouts/plan", md_api_plan, true, MD_HTTP_JSON_MAX},
    {"GET", "/v1/rollouts/*", md_api_rollout, false, 0},
    {"POST", "/v1/rollouts/*/hold", md_api_hold, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/rollouts/*/resume", md_api_resume, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/rollouts/*/advance", md_api_advance, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/rollouts/*/revert", md_api_revert, true, MD_HTTP_JSON_MAX},
    {"POST", "/v1/rollouts/*/override", md_api_override, true, MD_HTTP_JSON_MAX},
};
#define ROUTES (sizeof routes / sizeof routes[0])

struct md_api *md_api_new(struct md_gateway *gateway)
{
    struct md_api *a = calloc(1, sizeof *a);
    if (a != NULL)
        a->gateway = gateway;
    return a;
}

void md_api_free(struct md_api *a)
{
    free(a);
}

/* Matches a path; copies the variable segment to arg. */
static bool match(const char *pattern, const char *path, char arg[64])
{
    arg[0] = '\0';
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '*') {
            if (*path++ != *pattern)
                return false;
            continue;
        }
        size_t n = strcspn(path, "/");
        if (n == 0 || n >= 64)
            return false;
        memcpy(arg, path, n);
        arg[n] = '\0';
        path += n;
    }
    return *path == '\0';
}

/* Index in routes[]; -1 unknown path; -2 known path, other method. */
static int find_route(const char *method, const char *path, char arg[64])
{
    int result = -1;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!match(routes[i].path, path, arg))
            continue;
        if (strcmp(routes[i].method, method) == 0)
            return (int)i;
        result = -2;
    }
    return result;
}

size_t md_api_body_max(void *ctx, const char *method, const char *path)
{
    (void)ctx;
    char arg[64];
    int i = find_route(method, path, arg);
    return i >= 0 ? routes[i].body_max : MD_HTTP_JSON_MAX;
}

static bool parse_body(struct md_call *call, struct md_http_reply *reply)
{
    const char *text = (const char *)call->request->body;
    size_t len = call->request->body_len;
    const char *end = NULL;
    if (len == 0) {
        call->body = cJSON_CreateObject();
        return call->body != NULL;
    }
    call->body = cJSON_ParseWithLengthOpts(text, len, &end, false);
    while (call->body != NULL && end < text + len && strchr(" \t\r\n", *end) != NULL && *end != '\0')
        end++;
    if (call->body == NULL) {
        md_http_fail(reply, 400, "send a JSON object", "the body is not JSON (near byte %zu)",
                     end != NULL ? (size_t)(end - text) : 0);
        return false;
    }
    if (end != text + len || !cJSON_IsObject(call->body)) {
        md_http_fail(reply, 400, "send one JSON object", "the body is not one JSON object");
        return false;
    }
    return true;
}

/* The client's user name, from the kernel's word for who connected. */
static void name_client(char who[MD_WHO_MAX], unsigned uid)
{
    struct passwd pw, *found = NULL;
    char buffer[2048];
    if (getpwuid_r(uid, &pw, buffer, sizeof buffer, &found) == 0 && found != NULL && pw.pw_name[0] != '\0')
        snprintf(who, MD_WHO_MAX, "%.31s", pw.pw_name);
    else
        snprintf(who, MD_WHO_MAX, "uid %u", uid);
}

void md_api_handle(void *ctx, const struct md_http_request *request, struct md_http_reply *reply)
{
    struct md_api *a = ctx;
    struct md_call call = {.request = request};
    int i = find_route(request->method, request->path, call.arg);
    reply->status = 200;
    if (i < 0) {
        md_http_fail(reply, i == -1 ? 404 : 405, "the API is described in docs/OPERATING.md", "no such %s: %s %s",
                     i == -1 ? "path" : "method", request->method, request->path);
        return;
    }
    if (request->body_len > routes[i].body_max) {
        md_http_fail(reply, 413, "", "the body is larger than %zu bytes", routes[i].body_max);
        return;
    }
    name_client(call.who, request->uid);
    if (!routes[i].json || parse_body(&call, reply))
        routes[i].handle(a, &call, reply);
    cJSON_Delete(call.body);
    if (reply->wait_s == 0 && reply->json == NULL)
        md_http_fail(reply, 500, "", "no answer");
}

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static int status_of(int code)
{
    switch (code) {
    case MP_ERR_ABSENT:
        return 404;
    case MP_ERR_LENGTH:
    case MP_ERR_FORMAT:
        return 400;
    case MP_ERR_DUPLICATE:
    case MP_ERR_STATE:
    case MP_ERR_ROOM:
    case MP_ERR_OLD:
        return 409;
    case MP_ERR_STORE:
    case MP_ERR_BUSY:
    case MD_STORE_LOCKED:
    case MD_STORE_FULL:
    case MD_STORE_IO:
        return 503;
    case MD_STORE_CORRUPT:
    case MD_STORE_TAMPERED:
    case MD_STORE_VERSION:
        return 500;
    default: /* an object that proto refuses: key, signature, expiry, counter, ... */
        return 422;
    }
}

void md_api_fail_code(struct md_api *a, struct md_http_reply *reply, int code, const char *what, const char *detail)
{
    const char *sentence = detail;
    int status = status_of(code);
    if (sentence == NULL || sentence[0] == '\0')
        sentence = code > -MP_ERROR_COUNT ? mp_strerror(code) : md_store_strerror(code);
    const char *hint = "nothing was changed";
    if (status == 503)
        hint = "nothing was changed; see the daemon's log, and try again";
    else if (status == 500)
        hint = "the database needs attention; see docs/OPERATING.md";
    (void)a;
    md_http_fail(reply, status, hint, "%s: %s", what, sentence);
}

int md_api_number(const struct md_call *call, const char *name, uint64_t min, uint64_t max, uint64_t *value,
                  struct md_http_reply *reply)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(call->body, name);
    if (item == NULL || cJSON_IsNull(item))
        return 0;
    double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(v >= (double)min && v <= (double)max) || v != (double)(uint64_t)v) {
        md_http_fail(reply, 400, "nothing was changed", "\"%s\" must be a whole number from %llu to %llu", name,
                     (unsigned long long)min, (unsigned long long)max);
        return -1;
    }
    *value = (uint64_t)v;
    return 1;
}

bool md_api_need_number(const struct md_call *call, const char *name, uint64_t min, uint64_t max, uint64_t *value,
                        struct md_http_reply *reply)
{
    int found = md_api_number(call, name, min, max, value, reply);
    if (found == 0)
        md_http_fail(reply, 400, "nothing was changed", "\"%s\" is missing", name);
    return found > 0;
}

int md_api_string(const struct md_call *call, const char *name, size_t max, const char **value,
                  struct md_http_reply *reply)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(call->body, name);
    if (item == NULL || cJSON_IsNull(item))
        return 0;
    if (!cJSON_IsString(item) || strlen(item->valuestring) > max) {
        md_http_fail(reply, 400, "nothing was changed", "\"%s\" must be a string of at most %zu bytes", name, max);
        return -1;
    }
    *value = item->valuestring;
    return 1;
}

bool md_api_arg_release(const struct md_call *call, uint32_t *release, struct md_http_reply *reply)
{
    char *end;
    unsigned long long v = strtoull(call->arg, &end, 10);
    if (call->arg[0] < '0' || call->arg[0] > '9' || *end != '\0' || v == 0 || v > UINT32_MAX) {
        md_http_fail(reply, 404, "see GET /v1/rollouts", "no rollout \"%s\": a release is a number", call->arg);
        return false;
    }
    *release = (uint32_t)v;
    return true;
}

void md_api_add_hex(cJSON *object, const char *name, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * len + 1);
    if (text == NULL)
        return;
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * len] = '\0';
    cJSON_AddStringToObject(object, name, text);
    free(text);
}

void md_api_add_u64(cJSON *object, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(object, name, (double)value);
}

cJSON *md_api_label_names(struct md_api *a, uint16_t labels)
{
    cJSON *array = cJSON_CreateArray();
    for (unsigned bit = 0; bit < MD_LABELS; bit++) {
        if ((labels >> bit & 1) == 0)
            continue;
        char number[4];
        const char *name = md_registry_label_name(md_gateway_registry(a->gateway), bit);
        snprintf(number, sizeof number, "%u", bit);
        cJSON_AddItemToArray(array, cJSON_CreateString(name[0] != '\0' ? name : number));
    }
    return array;
}

cJSON *md_api_manifest(const uint8_t id[8], const struct mp_manifest *m)
{
    char version[16];
    cJSON *j = cJSON_CreateObject();
    md_version_format(m->version, version);
    md_api_add_hex(j, "id", id, 8);
    md_api_add_u64(j, "release", m->release);
    cJSON_AddStringToObject(j, "version", version);
    md_api_add_u64(j, "product", m->product);
    md_api_add_u64(j, "model", m->model);
    md_api_add_u64(j, "hw_revisions", m->hw_revisions);
    md_api_add_u64(j, "security_counter", m->security_counter);
    md_api_add_u64(j, "image_bytes", m->image_size);
    md_api_add_u64(j, "payload_bytes", m->payload_size);
    md_api_add_u64(j, "expiry_epoch", m->expiry_epoch);
    md_api_add_u64(j, "battery_min_percent", m->battery_min_percent);
    md_api_add_hex(j, "sha256", m->image_sha256, 32);
    return j;
}
