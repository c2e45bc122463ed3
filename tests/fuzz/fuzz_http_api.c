/*
 * The daemon's API: any bytes as a request, through the head parser, the routes and the real gateway over a store in
 * memory. Every refusal must be 4xx or 5xx with "error" and "hint"; nothing may crash; a GET must change nothing. Input
 * that begins with '#' is a policy text: what the daemon takes must format and parse to itself. Input that begins with
 * '=' is an option of --ring: what meshctl makes of it must be one clause for the policy parser.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "meshd/ctl/keyfile.h"
#include "meshd/ctl/pack.h"
#include "meshd/ctl/rollout_args.h"
#include "meshd/daemon/api.h"
#include "node-fw/port/crypto/crypto_sodium.h"

#define RENEW 400 /* requests that may change something before the gateway starts afresh */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct md_config config;
static struct md_gateway *gateway;
static struct md_api *api;
static unsigned changes;

static void check(bool good)
{
    if (!good)
        abort();
}

/* Keys and keyset in a folder of their own; removed as soon as the gateway has read them is not possible, since it is
 * opened again, so the process removes them when it ends. */
static char folder[64];

static void clean_up(void)
{
    char path[128];
    static const char *const names[] = {"keyset", "release.key", ""};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
}

static void prepare(void)
{
    struct md_key root[3], publisher, release;
    uint8_t record[MP_KEYSET_SIZE];
    char error[300];
    md_log_set(MD_LOG_ERROR);
    check(crypto_sodium() != NULL);
    strcpy(folder, "/tmp/fuzz-api-XXXXXX");
    check(mkdtemp(folder) != NULL);
    atexit(clean_up);
    for (uint8_t i = 0; i < 3; i++)
        md_key_generate(&root[i], MP_ROLE_ROOT, i, 0);
    md_key_generate(&publisher, MP_ROLE_PUBLISHER, 0, 1);
    md_key_generate(&release, MP_ROLE_RELEASE, 0, 1);
    check(md_keyset_make(crypto_sodium(), (const struct md_key *)root, &publisher, &release, record) == MP_OK);
    md_config_init(&config);
    config.network = 7;
    config.hci = MD_HCI_UNIX;
    snprintf(config.hci_path, sizeof config.hci_path, "%s/none", folder);
    snprintf(config.database, sizeof config.database, ":memory:");
    snprintf(config.keyset, sizeof config.keyset, "%s/keyset", folder);
    snprintf(config.release_key, sizeof config.release_key, "%s/release.key", folder);
    check(md_file_write(config.keyset, record, sizeof record, 0600, error, sizeof error) == MP_OK);
    check(md_key_write(config.release_key, &release, true, NULL, error, sizeof error) == MP_OK);
    base = event_base_new();
    check(base != NULL);
}

static void open_gateway(void)
{
    char error[400];
    md_api_free(api);
    md_gateway_close(gateway);
    gateway = md_gateway_open(base, &config, error, sizeof error);
    check(gateway != NULL);
    api = md_api_new(gateway);
    check(api != NULL);
    /* a node and a label, so that paths which need one can be reached */
    static const char body[] = "{\"product\":1,\"model\":1,\"name\":\"n\",\"labels\":[\"l\"]}";
    const struct md_http_request request = {
        .method = "POST", .path = "/v1/nodes", .query = "", .body = (const uint8_t *)body, .body_len = sizeof body - 1};
    struct md_http_reply reply = {0};
    md_api_handle(api, &request, &reply);
    check(reply.status == 201);
    cJSON_Delete(reply.json);
    changes = 0;
}

static void fuzz_policy(const char *text)
{
    struct md_policy a, b;
    char error[MD_TEXT_MAX], out[MD_POLICY_TEXT_MAX];
    if (md_policy_parse(&a, text, NULL, NULL, error, sizeof error) != MP_OK) {
        check(error[0] != '\0');
        return;
    }
    check(md_policy_format(&a, out, sizeof out) > 0);
    check(md_policy_parse(&b, out, NULL, NULL, error, sizeof error) == MP_OK);
    char again[MD_POLICY_TEXT_MAX];
    check(md_policy_format(&b, again, sizeof again) > 0 && strcmp(out, again) == 0);
}

static void fuzz_ring(const char *option)
{
    char text[MD_RINGS_TEXT_MAX] = "", error[300];
    if (md_ring_clause(option, text, sizeof text, error, sizeof error) == 0)
        check(strchr(text, ';') == NULL && strchr(text, '\n') == NULL && strchr(text, '#') == NULL &&
              strchr(text, ':') == strrchr(text, ':'));
}

static void fuzz_request(const uint8_t *data, size_t size)
{
    struct md_http_head head;
    int used = md_http_parse(&head, (const char *)data, size);
    if (used <= 0)
        return;
    check((size_t)used <= size);
    size_t left = size - (size_t)used;
    if (left > md_api_body_max(api, head.method, head.path))
        return;
    const struct md_http_request request = {.method = head.method,
                                            .path = head.path,
                                            .query = head.query,
                                            .body = left > 0 ? data + used : NULL,
                                            .body_len = left,
                                            .last = true};
    struct md_http_reply reply = {0};
    md_api_handle(api, &request, &reply);
    check(reply.status >= 200 && reply.status < 600 && reply.json != NULL);
    if (reply.status >= 300)
        check(cJSON_IsString(cJSON_GetObjectItem(reply.json, "error")) &&
              cJSON_IsString(cJSON_GetObjectItem(reply.json, "hint")));
    cJSON_Delete(reply.json);
    if (strcmp(head.method, "POST") == 0 && ++changes >= RENEW)
        open_gateway();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (base == NULL) {
        prepare();
        open_gateway();
    }
    if (size > 0 && (data[0] == '#' || data[0] == '=')) {
        char *text = malloc(size);
        check(text != NULL);
        memcpy(text, data + 1, size - 1);
        text[size - 1] = '\0';
        if (data[0] == '#')
            fuzz_policy(text);
        else
            fuzz_ring(text);
        free(text);
        return 0;
    }
    fuzz_request(data, size);
    return 0;
}
