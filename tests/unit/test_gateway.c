/*
 * The gateway with its real store, registry, engine and release engine; frames and directives of others are handed to
 * its engine as if heard. What it signs, adopts, commits, acknowledges, and what it does when the disk is full or it
 * was killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/ctl/pack.h"
#include "meshd/daemon/api.h"
#include "meshd/daemon/gateway_state.h"
#include "meshd/daemon/import.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"

#define RELEASE 2

struct world {
    char dir[64];
    struct md_config config;
    struct md_key publisher, release;
    struct event_base *base;
    struct md_gateway *gateway;
    struct md_api *api;
    struct mp_settings node;
    uint32_t counter; /* of the frames sent as that node */
};

/* --- set up ------------------------------------------------------------------------------------------------------- */

static void open_gateway(struct world *w)
{
    char error[400] = "";
    w->gateway = md_gateway_open(w->base, &w->config, error, sizeof error);
    if (w->gateway == NULL)
        fail_msg("%s", error);
    w->api = md_api_new(w->gateway);
    assert_non_null(w->api);
}

static void close_gateway(struct world *w)
{
    md_api_free(w->api);
    md_gateway_close(w->gateway);
    w->gateway = NULL;
}

static void make_files(struct world *w)
{
    struct md_key root[3];
    uint8_t record[MP_KEYSET_SIZE];
    char error[300];
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(md_key_generate(&root[i], MP_ROLE_ROOT, i, 0), MP_OK);
    assert_int_equal(md_key_generate(&w->publisher, MP_ROLE_PUBLISHER, 0, 1), MP_OK);
    assert_int_equal(md_key_generate(&w->release, MP_ROLE_RELEASE, 0, 1), MP_OK);
    assert_int_equal(md_keyset_make(crypto_sodium(), (const struct md_key *)root, &w->publisher, &w->release, record),
                     MP_OK);
    md_config_init(&w->config);
    w->config.network = 7;
    w->config.hci = MD_HCI_UNIX;
    snprintf(w->config.hci_path, sizeof w->config.hci_path, "%s/none", w->dir);
    snprintf(w->config.database, sizeof w->config.database, "%s/m.db", w->dir);
    snprintf(w->config.keyset, sizeof w->config.keyset, "%s/keyset", w->dir);
    snprintf(w->config.release_key, sizeof w->config.release_key, "%s/release.key", w->dir);
    assert_int_equal(md_file_write(w->config.keyset, record, sizeof record, 0644, error, sizeof error), MP_OK);
    assert_int_equal(md_key_write(w->config.release_key, &w->release, true, NULL, error, sizeof error), MP_OK);
}

static void import_release(struct world *w)
{
    static uint8_t payload[1000], bundle[4000];
    const struct md_image image = {.product = 1,
                                   .model = 1,
                                   .hw_revisions = 1,
                                   .version = 2u << 24,
                                   .payload = payload,
                                   .payload_size = sizeof payload};
    const struct md_sign_options options = {.release = RELEASE};
    uint8_t manifest[1][MP_MANIFEST_SIZE];
    const uint8_t *payloads[1] = {payload};
    struct md_import imported;
    char error[300] = "";
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &w->publisher, manifest[0]), MP_OK);
    long n = md_bundle_put(crypto_sodium(), (const uint8_t(*)[MP_MANIFEST_SIZE])manifest, payloads, 1, bundle,
                           sizeof bundle, error, sizeof error);
    assert_true(n > 0);
    if (md_import_bundle(w->gateway->store, 1, 0, bundle, (size_t)n, "test", &imported, error, sizeof error) != MP_OK)
        fail_msg("%s", error);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const struct md_provision in = {.product = 1, .model = 1, .labels = 1, .name = "n"};
    struct md_node node;
    uint8_t settings[MP_SETTINGS_SIZE];
    *state = w;
    md_log_set(MD_LOG_ERROR);
    strcpy(w->dir, "/tmp/test-gateway-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_non_null(crypto_sodium());
    w->base = event_base_new();
    assert_non_null(w->base);
    make_files(w);
    open_gateway(w);
    import_release(w);
    assert_int_equal(md_registry_provision(w->gateway->registry, 1, &in, &node, settings), MP_OK);
    assert_int_equal(mp_settings_get(&w->node, settings, sizeof settings), MP_OK);
    assert_int_equal(md_gateway_node_changed(w->gateway, node.node), MP_OK);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"m.db", "m.db-wal", "m.db-shm", "keyset", "release.key", ""};
    struct world *w = *state;
    char path[200];
    close_gateway(w);
    event_base_free(w->base);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        remove(path);
    }
    free(w);
    return 0;
}

/* --- helpers ------------------------------------------------------------------------------------------------------ */

/* Runs the loop for so long. */
static void run_ms(struct world *w, unsigned ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    event_base_loopexit(w->base, &tv);
    event_base_dispatch(w->base);
}

static int api(struct world *w, const char *method, const char *path, const char *body, cJSON **json)
{
    const struct md_http_request request = {.method = method,
                                            .path = path,
                                            .query = "",
                                            .body = (const uint8_t *)body,
                                            .body_len = body != NULL ? strlen(body) : 0};
    struct md_http_reply reply = {0};
    md_api_handle(w->api, &request, &reply);
    if (json != NULL)
        *json = reply.json;
    else
        cJSON_Delete(reply.json);
    return reply.status;
}

static void start_rollout(struct world *w)
{
    assert_int_equal(api(w, "POST", "/v1/rollouts",
                         "{\"release\":2,\"policy\":\"confirm=60; canary: label=0 soak=1; all: share=100%\"}", NULL),
                     201);
}

static bool head(struct world *w, struct mp_directive *d, uint8_t id[8])
{
    uint8_t raw[MP_DIRECTIVE_MAX];
    size_t len = 0;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        if (mp_node_directive(&w->gateway->node, &w->gateway->env, i, d, raw, &len) != MP_OK || d->release != RELEASE)
            continue;
        mp_directive_id(crypto_sodium(), raw, len, id);
        return true;
    }
    return false;
}

static const char *phase(struct world *w, struct md_rollout_info *info)
{
    assert_int_equal(md_release_find(w->gateway->release, RELEASE, info), MP_OK);
    return md_phase_name(info->phase);
}

/* Signs d as another gateway would, and lets the engine hear it. */
static int hear_directive(struct world *w, const struct mp_directive *d, uint8_t id[8])
{
    uint8_t raw[MP_DIRECTIVE_MAX];
    size_t len = mp_directive_put(raw, d);
    md_sign(MD_OBJECT_DIRECTIVE, w->release.secret, raw, len, raw + len);
    mp_directive_id(crypto_sodium(), raw, len + 64, id);
    return mp_node_publish(&w->gateway->node, &w->gateway->env, md_bearer_now(), MP_TYPE_DIRECTIVE, raw, len + 64);
}

/* A REPORT frame of the node, to the gateway. */
static int send_report(struct world *w, uint16_t serial, uint16_t running, enum mp_phase node_phase,
                       const uint8_t key[16])
{
    uint8_t frame[MP_FRAME_MAX];
    const struct mp_header h = {.type = MP_TYPE_REPORT,
                                .key_id = w->node.key_id[w->node.key_active],
                                .hop = 1,
                                .network = 7,
                                .source = w->node.node,
                                .counter = (uint64_t)1 << 24 | ++w->counter};
    const struct mp_report report = {
        .node = w->node.node, .serial = serial, .running = running, .target = RELEASE, .phase = (uint8_t)node_phase};
    mp_header_put(frame, &h);
    uint8_t *body = frame + MP_HEADER_SIZE;
    mp_put32(body, w->gateway->id);
    mp_put32(body + 4, w->gateway->node.nonce);
    body[8] = 1;
    body[9] = 0;
    mp_report_put(crypto_sodium(), body + 10, &report, key);
    size_t len = mp_frame_seal(crypto_sodium(), frame, MP_HEADER_SIZE + 10 + MP_REPORT_ENTRY_SIZE,
                               w->node.network_key[w->node.key_active]);
    return mp_node_receive(&w->gateway->node, &w->gateway->env, md_bearer_now(), frame, len);
}

static bool is_in_custody(struct world *w)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    return mp_node_custody(&w->gateway->node, 0, entry);
}

/* Forbids the process to write files beyond this size, as a full disk does. 0: as before. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes != 0 ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void a_start_is_signed_published_and_served(void **state)
{
    struct world *w = *state;
    struct mp_directive d;
    uint8_t id[8];
    uint32_t held = 0, positions = 0;
    start_rollout(w);
    assert_true(head(w, &d, id));
    assert_int_equal(d.action, MP_ACTION_STAGE);
    assert_int_equal(d.sequence, 1);
    assert_int_equal(d.network, 7);
    assert_int_equal(d.confirm_s, 60);
    assert_true(d.epoch == (uint32_t)(time(NULL) / 86400) || d.epoch + 1 == (uint32_t)(time(NULL) / 86400));
    assert_int_equal(md_store_is_own(w->gateway->store, id), MP_OK);
    assert_int_equal(md_store_find_place(w->gateway->store, d.manifests[0]), 0);
    assert_int_equal(mp_node_progress(&w->gateway->node, 0, &held, &positions), MP_OK);
    assert_true(positions > 0 && held == positions);
    assert_int_equal(api(w, "POST", "/v1/rollouts", "{\"release\":2,\"policy\":\"a: share=100%\"}", NULL), 409);
}

static void operators_steer_and_a_restart_knows(void **state)
{
    struct world *w = *state;
    struct mp_directive d;
    struct md_rollout_info info;
    uint8_t id[8];
    start_rollout(w);
    assert_int_equal(api(w, "POST", "/v1/rollouts/2/hold", "{}", NULL), 200);
    assert_true(head(w, &d, id));
    assert_int_equal(d.action, MP_ACTION_HOLD);
    assert_int_equal(d.floor, d.sequence);
    assert_int_equal(api(w, "POST", "/v1/rollouts/2/hold", "{}", NULL), 409);
    close_gateway(w);
    open_gateway(w);
    run_ms(w, 50);
    assert_string_equal(phase(w, &info), "held");
    assert_true(head(w, &d, id));
    uint32_t hold = d.sequence;
    assert_int_equal(d.action, MP_ACTION_HOLD);
    assert_int_equal(api(w, "POST", "/v1/rollouts/2/resume", "{}", NULL), 200);
    assert_true(head(w, &d, id));
    assert_int_equal(d.action, MP_ACTION_STAGE);
    assert_int_equal(d.floor, hold);
    assert_int_equal(d.sequence, hold + 1);
}

static void a_higher_head_is_adopted_before_signing(void **state)
{
    struct world *w = *state;
    struct mp_directive d, other;
    struct md_rollout_info info;
    uint8_t id[8], foreign_id[8];
    start_rollout(w);
    assert_true(head(w, &d, id));
    other = d;
    other.sequence = 40;
    other.action = MP_ACTION_OPEN;
    other.share = 10000;
    memcpy(other.previous, id, 8);
    assert_int_equal(hear_directive(w, &other, foreign_id), MP_OK);
    run_ms(w, 100);
    assert_string_equal(phase(w, &info), "held");
    assert_int_equal(info.cause, MD_CAUSE_FOREIGN);
    assert_true(head(w, &d, id));
    assert_int_equal(d.sequence, 40); /* it did not sign against the other */
    assert_int_equal(api(w, "POST", "/v1/rollouts/2/resume", "{}", NULL), 200);
    assert_true(head(w, &d, id));
    assert_int_equal(d.sequence, 41);
    assert_memory_equal(d.previous, foreign_id, 8);
    assert_int_equal(md_store_is_own(w->gateway->store, id), MP_OK);
}

static void two_gateways_with_one_sequence_end_with_one_head(void **state)
{
    struct world *w = *state;
    struct mp_directive d, other;
    struct md_rollout_info info;
    uint8_t id[8], foreign_id[8];
    start_rollout(w);
    assert_true(head(w, &d, id));
    /* another gateway signed the same sequence with something else; of the two the higher H4 wins, on every member */
    other = d;
    other.action = MP_ACTION_OPEN;
    int bad = MP_ERR_OLD;
    for (other.spread_s = 1; bad == MP_ERR_OLD && other.spread_s < 20000; other.spread_s++)
        bad = hear_directive(w, &other, foreign_id);
    assert_int_equal(bad, MP_OK);
    assert_true(mp_get32(foreign_id) > mp_get32(id));
    run_ms(w, 100);
    assert_true(head(w, &d, id));
    assert_memory_equal(id, foreign_id, 8);
    assert_string_equal(phase(w, &info), "held");
    assert_int_equal(info.cause, MD_CAUSE_FOREIGN);
}

static void reports_are_committed_acknowledged_and_receipted(void **state)
{
    struct world *w = *state;
    struct md_node node;
    uint8_t raw[MP_RECEIPT_MAX];
    struct mp_receipt receipt;
    start_rollout(w);
    assert_int_equal(send_report(w, 1, 1, MP_PHASE_STAGED, w->node.report_key), MP_OK);
    assert_true(is_in_custody(w));
    mp_node_events(&w->gateway->node);
    md_bearer_run(w->gateway->bearer);
    /* as on the air: the event is seen in the turn after the frame */
    assert_int_equal(send_report(w, 2, 1, MP_PHASE_STAGED, w->node.report_key), MP_OK);
    md_bearer_run(w->gateway->bearer);
    run_ms(w, 200);
    assert_false(is_in_custody(w));
    assert_int_equal(md_registry_find(w->gateway->registry, w->node.node, &node), MP_OK);
    assert_true(node.enrolled);
    assert_int_equal(node.report.serial, 2);
    run_ms(w, 2500);
    int n = md_store_engine()->get(w->gateway->store, MP_KIND_RECEIPT, 0, raw, sizeof raw);
    assert_true(n > 0);
    assert_int_equal(mp_receipt_get(&receipt, raw, (size_t)n), MP_OK);
    assert_int_equal(mp_receipt_nibble(&receipt, w->node.index), 2);
    assert_int_equal(mp_receipt_verify(crypto_sodium(), raw, (size_t)n, w->release.pub), MP_OK);
    uint16_t round = receipt.round;
    close_gateway(w);
    open_gateway(w);
    run_ms(w, 100);
    n = md_store_engine()->get(w->gateway->store, MP_KIND_RECEIPT, 0, raw, sizeof raw);
    assert_int_equal(mp_receipt_get(&receipt, raw, (size_t)n), MP_OK);
    assert_true((int16_t)(receipt.round - round) > 0);
}

static void forged_reports_are_dropped_and_told(void **state)
{
    struct world *w = *state;
    struct md_node node;
    uint8_t wrong[16] = {1};
    assert_int_equal(send_report(w, 1, 1, MP_PHASE_CONFIRMED, wrong), MP_OK);
    md_bearer_run(w->gateway->bearer);
    run_ms(w, 200);
    assert_false(is_in_custody(w)); /* refused for good: it must not fill the custody */
    assert_int_equal(md_registry_find(w->gateway->registry, w->node.node, &node), MP_OK);
    assert_false(node.enrolled);
    assert_int_equal(md_registry_intake(w->gateway->registry)->by[MD_INTAKE_FORGED], 1);
}

static void a_full_disk_loses_nothing_that_was_acknowledged(void **state)
{
    struct world *w = *state;
    struct md_node node;
    struct mp_directive d;
    struct md_rollout_info info;
    struct stat st;
    cJSON *json = NULL;
    uint8_t id[8];
    char wal[200];
    start_rollout(w);
    snprintf(wal, sizeof wal, "%s-wal", w->config.database);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(send_report(w, 3, 1, MP_PHASE_STAGED, w->node.report_key), MP_OK);
    limit_files(1);
    md_bearer_run(w->gateway->bearer);
    run_ms(w, 300);
    /* not committed: not acknowledged, and the release engine does not know it either */
    assert_true(is_in_custody(w));
    assert_int_equal(md_registry_find(w->gateway->registry, w->node.node, &node), MP_OK);
    assert_false(node.enrolled);
    int status = api(w, "POST", "/v1/rollouts/2/hold", "{}", &json);
    assert_true(status >= 500);
    assert_non_null(cJSON_GetObjectItem(json, "error"));
    cJSON_Delete(json);
    assert_string_equal(phase(w, &info), "staging");
    assert_true(head(w, &d, id));
    assert_int_equal(d.action, MP_ACTION_STAGE); /* no hold was radiated that is not on the disk */
    assert_true(api(w, "POST", "/v1/nodes", "{\"product\":1,\"model\":1}", NULL) >= 500);
    limit_files(0);
    run_ms(w, 2500);
    assert_false(is_in_custody(w));
    assert_int_equal(md_registry_find(w->gateway->registry, w->node.node, &node), MP_OK);
    assert_true(node.enrolled);
    assert_int_equal(node.report.serial, 3);
    assert_int_equal(api(w, "POST", "/v1/rollouts/2/hold", "{}", NULL), 200);
    assert_true(head(w, &d, id));
    assert_int_equal(d.action, MP_ACTION_HOLD);
}

static void a_gateway_without_the_key_in_force_signs_nothing(void **state)
{
    struct world *w = *state;
    struct md_key other;
    struct mp_directive d;
    struct md_gateway_status s;
    uint8_t id[8];
    char error[300];
    close_gateway(w);
    assert_int_equal(unlink(w->config.release_key), 0);
    assert_int_equal(md_key_generate(&other, MP_ROLE_RELEASE, 0, 1), MP_OK);
    assert_int_equal(md_key_write(w->config.release_key, &other, true, NULL, error, sizeof error), MP_OK);
    open_gateway(w);
    md_gateway_status(w->gateway, &s);
    assert_false(s.can_sign);
    assert_int_equal(api(w, "POST", "/v1/rollouts", "{\"release\":2,\"policy\":\"a: share=100%\"}", NULL), 409);
    assert_false(head(w, &d, id));
    close_gateway(w);
    /* a publisher key is no release key; a missing file is told */
    assert_int_equal(unlink(w->config.release_key), 0);
    assert_null(md_gateway_open(w->base, &w->config, error, sizeof error));
    assert_non_null(strstr(error, "release.key"));
    assert_int_equal(md_key_write(w->config.release_key, &w->publisher, true, NULL, error, sizeof error), MP_OK);
    assert_null(md_gateway_open(w->base, &w->config, error, sizeof error));
    assert_non_null(strstr(error, "not a release key"));
    assert_int_equal(unlink(w->config.release_key), 0);
    w->config.release_key[0] = '\0';
    open_gateway(w);
    snprintf(w->config.release_key, sizeof w->config.release_key, "%s/release.key", w->dir);
}

static void a_database_of_another_network_or_no_database_is_refused(void **state)
{
    struct world *w = *state;
    char error[400];
    struct md_config config = w->config;
    close_gateway(w);
    config.network = 8;
    assert_null(md_gateway_open(w->base, &config, error, sizeof error));
    assert_non_null(strstr(error, "another network"));
    config = w->config;
    snprintf(config.database, sizeof config.database, "%s/keyset", w->dir);
    assert_null(md_gateway_open(w->base, &config, error, sizeof error));
    assert_non_null(strstr(error, "keyset"));
    open_gateway(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_start_is_signed_published_and_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(operators_steer_and_a_restart_knows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_higher_head_is_adopted_before_signing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_gateways_with_one_sequence_end_with_one_head, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reports_are_committed_acknowledged_and_receipted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forged_reports_are_dropped_and_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing_that_was_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gateway_without_the_key_in_force_signs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_database_of_another_network_or_no_database_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
