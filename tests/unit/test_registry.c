/*
 * Registry: provisioning to enrolled node, report intake with forged and repeated ones, commits that fail, receipts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "meshd/daemon/registry.h"
#include "meshd/daemon/store_state.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "tests/lib/sign.h"

#define NETWORK 77

static char path[64];

struct rig {
    struct md_store *store;
    struct md_registry *registry;
    struct sign_fleet fleet;
};

static void reopen(struct rig *g)
{
    char error[256] = "";
    md_registry_close(g->registry);
    md_store_close(g->store);
    if (md_store_open(&g->store, path, crypto_sodium(), error, sizeof error) < 0)
        fail_msg("%s", error);
    if (md_registry_open(&g->registry, g->store, NETWORK) < 0)
        fail_msg("%s", md_store_error(g->store));
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    uint8_t record[MP_KEYSET_SIZE];
    snprintf(path, sizeof path, "/tmp/test_registry.XXXXXX");
    int fd = mkstemp(path);
    assert_non_null(g);
    assert_true(fd >= 0);
    close(fd);
    reopen(g);
    sign_fleet_make(&g->fleet);
    mp_keyset_put(record, &g->fleet.keyset);
    assert_int_equal(md_store_engine()->put(g->store, MP_KIND_KEYSET, 0, record, sizeof record), 0);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    char name[80];
    md_registry_close(g->registry);
    md_store_close(g->store);
    free(g);
    unlink(path);
    snprintf(name, sizeof name, "%s-wal", path);
    unlink(name);
    return 0;
}

static struct mp_settings provision(struct rig *g, const char *name)
{
    struct md_provision in = {.product = 7, .model = 8, .labels = 5, .hw_revision = 2};
    uint8_t record[MP_SETTINGS_SIZE];
    struct md_node node;
    struct mp_settings s;
    snprintf(in.name, sizeof in.name, "%s", name);
    if (md_registry_provision(g->registry, 1000, &in, &node, record) < 0)
        fail_msg("%s", md_registry_error(g->registry));
    assert_int_equal(mp_settings_get(&s, record, sizeof record), 0);
    assert_int_equal(s.node, node.node);
    return s;
}

static void make_report(uint8_t entry[MP_REPORT_ENTRY_SIZE], const struct mp_settings *s, uint16_t serial,
                        enum mp_phase phase)
{
    struct mp_report r = {.node = s->node, .serial = serial, .running = 1, .target = 2, .phase = (uint8_t)phase};
    mp_report_put(crypto_sodium(), entry, &r, s->report_key);
}

static int feed(struct rig *g, const uint8_t *entry)
{
    struct mp_report report;
    return md_registry_report(g->registry, 5000, entry, &report);
}

/* One report in a transaction of its own. */
static int give(struct rig *g, const struct mp_settings *s, uint16_t serial, enum mp_phase phase)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    make_report(entry, s, serial, phase);
    assert_int_equal(md_store_begin(g->store), 0);
    int result = feed(g, entry);
    assert_int_equal(md_registry_commit(g->registry), 0);
    return result;
}

static void test_provision(void **state)
{
    struct rig *g = *state;
    struct md_node node;
    struct mp_settings a = provision(g, "hall"), b = provision(g, "");
    struct md_network_keys keys;
    assert_int_not_equal(a.node, b.node);
    assert_int_not_equal(a.index, b.index);
    assert_memory_not_equal(a.report_key, b.report_key, 16);
    assert_int_equal(a.network, NETWORK);
    assert_int_equal(a.labels, 5);
    assert_int_equal(a.model, 8);
    assert_int_equal(a.product, 7);
    assert_int_equal(a.hw_revision, 2);
    md_registry_network_keys(g->registry, &keys);
    assert_int_equal(a.key_count, 1);
    assert_memory_equal(a.network_key[0], keys.key[0], 16);
    assert_int_equal(md_registry_find_name(g->registry, "hall", &node), 0);
    assert_string_equal(md_node_state_name(&node), "provisioned");
    reopen(g);
    uint8_t record[MP_SETTINGS_SIZE];
    struct mp_settings again;
    assert_int_equal(md_registry_settings(g->registry, a.node, record), 0);
    assert_int_equal(mp_settings_get(&again, record, sizeof record), 0);
    assert_memory_equal(again.report_key, a.report_key, 16);
    assert_memory_equal(again.network_key[0], keys.key[0], 16);
    assert_int_equal(again.index, a.index);
    char text[24];
    snprintf(text, sizeof text, "0x%x", (unsigned)b.node);
    assert_int_equal(md_registry_find_name(g->registry, text, &node), 0);
    assert_int_equal(node.node, b.node);
    assert_int_equal(md_registry_find_name(g->registry, "nobody", &node), MP_ERR_ABSENT);
    assert_int_equal(md_registry_settings(g->registry, 4711, record), MP_ERR_ABSENT);
}

static void test_provision_refusals(void **state)
{
    struct rig *g = *state;
    uint8_t record[MP_SETTINGS_SIZE];
    struct md_node node;
    struct md_provision in = {.model = 8};
    struct mp_settings a = provision(g, "hall");
    strcpy(in.name, "hall");
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_DUPLICATE);
    strcpy(in.name, "a b");
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_FORMAT);
    memset(in.name, 'x', sizeof in.name);
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_FORMAT);
    in.name[0] = '\0';
    in.node = a.node;
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_DUPLICATE);
    in.node = UINT32_MAX;
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_FORMAT);
    in.node = 0;
    in.hw_revision = 32;
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_FORMAT);
    assert_int_equal(md_registry_count(g->registry), 1);
    assert_int_equal(md_store_engine()->put(g->store, MP_KIND_KEYSET, 0, NULL, 0), 0);
    in.hw_revision = 0;
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_KEY);
    for (size_t i = 0; i < sizeof record; i++)
        assert_int_equal(record[i], 0);
}

static void test_changes_stand_alone(void **state)
{
    struct rig *g = *state;
    struct mp_settings a = provision(g, "hall");
    struct md_provision in = {.model = 8};
    struct md_node node;
    uint8_t record[MP_SETTINGS_SIZE];
    assert_int_equal(md_store_begin(g->store), 0);
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &node, record), MP_ERR_STATE);
    assert_int_equal(md_registry_retire(g->registry, a.node, true), MP_ERR_STATE);
    assert_int_equal(md_registry_rename(g->registry, a.node, "x"), MP_ERR_STATE);
    assert_int_equal(md_registry_set_labels(g->registry, a.node, 1), MP_ERR_STATE);
    assert_int_equal(md_registry_name_label(g->registry, 1, "x"), MP_ERR_STATE);
    md_store_rollback(g->store);
}

static void test_network_is_fixed(void **state)
{
    struct rig *g = *state;
    struct md_registry *other;
    assert_int_equal(md_registry_open(&other, g->store, NETWORK + 1), MP_ERR_NETWORK);
    assert_null(other);
    assert_non_null(strstr(md_store_error(g->store), "network 77"));
}

static void test_gateway_identity_stays(void **state)
{
    struct rig *g = *state;
    uint32_t node, again;
    uint16_t index, index_again;
    uint8_t key[16], key_again[16];
    assert_int_equal(md_registry_gateway(g->registry, &node, &index, key), 0);
    struct mp_settings a = provision(g, "hall");
    assert_int_not_equal(a.node, node);
    assert_int_not_equal(a.index, index);
    reopen(g);
    assert_int_equal(md_registry_gateway(g->registry, &again, &index_again, key_again), 0);
    assert_int_equal(again, node);
    assert_int_equal(index_again, index);
    assert_memory_equal(key, key_again, 16);
}

/* A gateway that joins late takes an id that no node has. */
static void test_gateway_after_nodes(void **state)
{
    struct rig *g = *state;
    uint32_t node;
    uint16_t index;
    uint8_t key[16];
    struct md_provision in = {.node = 1};
    struct md_node first;
    uint8_t record[MP_SETTINGS_SIZE];
    assert_int_equal(md_registry_provision(g->registry, 0, &in, &first, record), 0);
    assert_int_equal(md_registry_gateway(g->registry, &node, &index, key), 0);
    assert_int_not_equal(node, 1);
    assert_int_not_equal(index, first.index);
}

static void test_first_report_enrols(void **state)
{
    struct rig *g = *state;
    struct md_node node;
    struct mp_settings a = provision(g, "hall");
    assert_int_equal(give(g, &a, 1, MP_PHASE_IDLE), MD_INTAKE_NEW);
    assert_int_equal(md_registry_find(g->registry, a.node, &node), 0);
    assert_string_equal(md_node_state_name(&node), "enrolled");
    assert_int_equal(node.report_ms, 5000);
    reopen(g);
    assert_int_equal(md_registry_find(g->registry, a.node, &node), 0);
    assert_true(node.enrolled && node.has_report);
    assert_int_equal(node.report.serial, 1);
    assert_int_equal(node.report.target, 2);
}

static void test_intake(void **state)
{
    struct rig *g = *state;
    struct md_node node;
    struct mp_settings a = provision(g, "hall");
    assert_int_equal(give(g, &a, 1, MP_PHASE_IDLE), MD_INTAKE_NEW);
    assert_int_equal(give(g, &a, 1, MP_PHASE_IDLE), MD_INTAKE_DUPLICATE);
    /* content of a serial may change; an old copy of it does not come back */
    assert_int_equal(give(g, &a, 1, MP_PHASE_FETCHING), MD_INTAKE_NEW);
    assert_int_equal(give(g, &a, 1, MP_PHASE_IDLE), MD_INTAKE_DUPLICATE);
    assert_int_equal(md_registry_find(g->registry, a.node, &node), 0);
    assert_int_equal(node.report.phase, MP_PHASE_FETCHING);
    reopen(g);
    assert_int_equal(give(g, &a, 1, MP_PHASE_IDLE), MD_INTAKE_DUPLICATE);
    assert_int_equal(give(g, &a, 3, MP_PHASE_STAGED), MD_INTAKE_NEW);
    assert_int_equal(give(g, &a, 2, MP_PHASE_STAGED), MD_INTAKE_OLD);
    /* serial numbers wrap */
    assert_int_equal(give(g, &a, 30003, MP_PHASE_STAGED), MD_INTAKE_NEW);
    assert_int_equal(give(g, &a, 60003, MP_PHASE_STAGED), MD_INTAKE_NEW);
    assert_int_equal(give(g, &a, 5, MP_PHASE_STAGED), MD_INTAKE_NEW);
    assert_int_equal(give(g, &a, 60003, MP_PHASE_STAGED), MD_INTAKE_OLD);
    assert_int_equal(md_registry_intake(g->registry)->by[MD_INTAKE_OLD], 2);
}

static int count_audit(void *ctx, const struct md_audit_row *row)
{
    *(unsigned *)ctx += strcmp(row->what, "report.refused") == 0;
    return 0;
}

static void test_forged_and_unknown(void **state)
{
    struct rig *g = *state;
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    unsigned audited = 0;
    struct mp_settings a = provision(g, "hall"), b = provision(g, "attic");
    assert_int_equal(md_store_begin(g->store), 0);
    for (unsigned bit = 0; bit < MP_REPORT_ENTRY_SIZE * 8; bit++) {
        make_report(entry, &a, 1, MP_PHASE_CONFIRMED);
        entry[bit / 8] = (uint8_t)(entry[bit / 8] ^ 1u << bit % 8);
        int result = feed(g, entry);
        assert_true(result == MD_INTAKE_FORGED || result == MD_INTAKE_UNKNOWN);
    }
    /* another node's key */
    make_report(entry, &a, 1, MP_PHASE_CONFIRMED);
    struct mp_settings mixed = a;
    memcpy(mixed.report_key, b.report_key, 16);
    make_report(entry, &mixed, 1, MP_PHASE_CONFIRMED);
    assert_int_equal(feed(g, entry), MD_INTAKE_FORGED);
    mixed.node = 4711;
    make_report(entry, &mixed, 1, MP_PHASE_CONFIRMED);
    assert_int_equal(feed(g, entry), MD_INTAKE_UNKNOWN);
    assert_int_equal(md_registry_commit(g->registry), 0);
    struct md_node node;
    assert_int_equal(md_registry_find(g->registry, a.node, &node), 0);
    assert_false(node.has_report || node.enrolled);
    assert_int_equal(md_store_each_audit(g->store, 0, 1000, count_audit, &audited), 0);
    assert_int_equal(audited, 10);
}

static void test_report_needs_a_transaction(void **state)
{
    struct rig *g = *state;
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    struct mp_settings a = provision(g, "hall");
    make_report(entry, &a, 1, MP_PHASE_IDLE);
    assert_int_equal(feed(g, entry), MP_ERR_STATE);
}

static void test_failed_commit_forgets(void **state)
{
    struct rig *g = *state;
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    struct md_node node;
    struct mp_settings a = provision(g, "hall");
    make_report(entry, &a, 1, MP_PHASE_IDLE);
    assert_int_equal(md_store_begin(g->store), 0);
    assert_int_equal(feed(g, entry), MD_INTAKE_NEW);
    assert_int_equal(feed(g, entry), MD_INTAKE_DUPLICATE);
    md_registry_rollback(g->registry);
    assert_int_equal(md_registry_find(g->registry, a.node, &node), 0);
    assert_false(node.has_report || node.enrolled);
    assert_false(md_registry_receipt_due(g->registry));
    /* the disk fills up in the middle of a group */
    char sql[64];
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_prepare_v2(g->store->db, "PRAGMA page_count", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", sqlite3_column_int(q, 0));
    sqlite3_finalize(q);
    assert_int_equal(sqlite3_exec(g->store->db, sql, NULL, NULL, NULL), SQLITE_OK);
    int result = 0;
    assert_int_equal(md_store_begin(g->store), 0);
    for (uint16_t serial = 1; serial < 2000 && result >= 0; serial++) {
        make_report(entry, &a, serial, MP_PHASE_IDLE);
        result = feed(g, entry);
    }
    assert_int_equal(result, MD_STORE_FULL);
    md_registry_rollback(g->registry);
    assert_int_equal(md_registry_find(g->registry, a.node, &node), 0);
    assert_false(node.has_report || node.enrolled);
    assert_int_equal(sqlite3_exec(g->store->db, "PRAGMA max_page_count=100000", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(give(g, &a, 1, MP_PHASE_IDLE), MD_INTAKE_NEW);
}

static void test_names_labels_retirement(void **state)
{
    struct rig *g = *state;
    struct md_node node;
    struct mp_settings a = provision(g, "hall");
    provision(g, "attic");
    assert_int_equal(md_registry_rename(g->registry, a.node, "attic"), MP_ERR_DUPLICATE);
    assert_int_equal(md_registry_rename(g->registry, a.node, "bad/name"), MP_ERR_FORMAT);
    assert_int_equal(md_registry_rename(g->registry, 4711, "x"), MP_ERR_ABSENT);
    assert_int_equal(md_registry_rename(g->registry, a.node, "cellar"), 0);
    assert_int_equal(md_registry_set_labels(g->registry, a.node, 0x8001), 0);
    assert_int_equal(md_registry_retire(g->registry, a.node, true), 0);
    assert_int_equal(md_registry_retire(g->registry, a.node, true), MP_ERR_STATE);
    assert_int_equal(md_registry_name_label(g->registry, 3, "canary"), 0);
    assert_int_equal(md_registry_name_label(g->registry, 4, "canary"), MP_ERR_DUPLICATE);
    assert_int_equal(md_registry_name_label(g->registry, 16, "x"), MP_ERR_FORMAT);
    assert_int_equal(md_registry_name_label(g->registry, 4, "12"), MP_ERR_FORMAT);
    reopen(g);
    assert_int_equal(md_registry_find_name(g->registry, "cellar", &node), 0);
    assert_int_equal(node.labels, 0x8001);
    assert_string_equal(md_node_state_name(&node), "retired");
    assert_int_equal(md_registry_retire(g->registry, a.node, false), 0);
    assert_int_equal(md_registry_label(g->registry, "canary"), 3);
    assert_int_equal(md_registry_label(g->registry, "15"), 15);
    assert_int_equal(md_registry_label(g->registry, "16"), -1);
    assert_int_equal(md_registry_label(g->registry, ""), -1);
    assert_int_equal(md_registry_label(g->registry, "nobody"), -1);
    assert_string_equal(md_registry_label_name(g->registry, 3), "canary");
    assert_int_equal(md_registry_name_label(g->registry, 3, ""), 0);
    assert_string_equal(md_registry_label_name(g->registry, 3), "");
}

static int count_reports(void *ctx, const struct md_report_row *row)
{
    uint16_t *last = ctx;
    assert_true(*last == 0 || row->report.serial < *last);
    *last = row->report.serial;
    return 0;
}

static void test_history(void **state)
{
    struct rig *g = *state;
    uint16_t last = 0;
    struct mp_settings a = provision(g, "hall"), b = provision(g, "attic");
    for (uint16_t serial = 1; serial <= 5; serial++)
        give(g, &a, serial, MP_PHASE_IDLE);
    give(g, &b, 1, MP_PHASE_IDLE);
    assert_int_equal(md_registry_each_report(g->registry, a.node, 4, count_reports, &last), 0);
    assert_int_equal(last, 2);
    last = 0;
    assert_int_equal(md_registry_each_report(g->registry, 0, 1, count_reports, &last), 0);
    assert_int_equal(last, 1);
}

static struct mp_receipt receipt(struct rig *g, uint16_t round)
{
    uint8_t object[MP_RECEIPT_MAX];
    struct mp_receipt r;
    int len = md_registry_receipt(g->registry, round, 0, 1, g->fleet.release.secret, object);
    assert_true(len > 0);
    assert_int_equal(mp_receipt_get(&r, object, (size_t)len), 0);
    assert_int_equal(mp_receipt_verify(crypto_sodium(), object, (size_t)len, g->fleet.release.pub), 0);
    assert_int_equal(r.network, NETWORK);
    return r;
}

static void test_receipts(void **state)
{
    struct rig *g = *state;
    struct mp_settings a = provision(g, "hall"), b = provision(g, "attic");
    uint8_t entry[MP_REPORT_ENTRY_SIZE], object[MP_RECEIPT_MAX];
    assert_false(md_registry_receipt_due(g->registry));
    give(g, &a, 0x21, MP_PHASE_IDLE);
    assert_true(md_registry_receipt_due(g->registry));
    struct mp_receipt r = receipt(g, 0);
    assert_int_equal(r.round, 1);
    assert_int_equal(mp_receipt_nibble(&r, a.index), 1);
    assert_int_equal(mp_receipt_nibble(&r, b.index), 0);
    assert_false(md_registry_receipt_due(g->registry));
    /* what is not committed is not receipted */
    assert_int_equal(md_store_begin(g->store), 0);
    make_report(entry, &b, 3, MP_PHASE_IDLE);
    assert_int_equal(feed(g, entry), MD_INTAKE_NEW);
    assert_int_equal(md_registry_receipt(g->registry, 0, 0, 1, g->fleet.release.secret, object), MP_ERR_STATE);
    md_registry_rollback(g->registry);
    r = receipt(g, 0);
    assert_int_equal(mp_receipt_nibble(&r, b.index), 0);
    assert_int_equal(r.round, 2);
    /* rounds rise over restarts and above what the mesh has seen, and wrap */
    reopen(g);
    assert_int_equal(receipt(g, 0).round, 3);
    assert_int_equal(receipt(g, 40).round, 41);
    assert_int_equal(receipt(g, 7).round, 42);
    assert_int_equal(receipt(g, 30000).round, 30001);
    assert_int_equal(receipt(g, 60000).round, 60001);
    assert_int_equal(receipt(g, 65535).round, 1); /* 0 stands for none */
    assert_int_equal(receipt(g, 60001).round, 2);
}

static void test_receipt_windows(void **state)
{
    struct rig *g = *state;
    struct mp_settings s[260];
    for (unsigned i = 0; i < 260; i++)
        s[i] = provision(g, "");
    for (unsigned i = 245; i < 260; i++)
        give(g, &s[i], 5, MP_PHASE_IDLE);
    struct mp_receipt r = receipt(g, 0);
    assert_int_equal(r.base, 248);
    assert_int_equal(r.count, s[259].index - 248 + 1);
    assert_int_equal(mp_receipt_nibble(&r, s[259].index), 5);
    assert_true(md_registry_receipt_due(g->registry));
    r = receipt(g, 0);
    assert_int_equal(r.base, 0);
    assert_int_equal(r.count, 248);
    assert_int_equal(mp_receipt_nibble(&r, s[246].index), 5);
    assert_int_equal(mp_receipt_nibble(&r, s[0].index), 0);
    assert_false(md_registry_receipt_due(g->registry));
    /* without news they take turns */
    assert_int_equal(receipt(g, 0).base, 248);
    assert_int_equal(receipt(g, 0).base, 0);
}

static void test_settings_record(void **state)
{
    struct rig *g = *state;
    struct mp_settings a = provision(g, "hall"), b;
    uint8_t record[MP_SETTINGS_SIZE];
    mp_settings_put(record, &a);
    assert_int_equal(mp_settings_get(&b, record, sizeof record), 0);
    assert_int_equal(mp_settings_get(&b, record, sizeof record - 1), MP_ERR_LENGTH);
    for (unsigned bit = 32; bit < MP_SETTINGS_SIZE * 8; bit++) {
        record[bit / 8] = (uint8_t)(record[bit / 8] ^ 1u << bit % 8);
        assert_true(mp_settings_get(&b, record, sizeof record) < 0);
        record[bit / 8] = (uint8_t)(record[bit / 8] ^ 1u << bit % 8);
    }
    memset(record, 0xFF, sizeof record);
    assert_int_equal(mp_settings_get(&b, record, sizeof record), MP_ERR_ABSENT);
    b = a;
    b.hw_revision = 32;
    mp_settings_put(record, &b);
    assert_int_equal(mp_settings_get(&b, record, sizeof record), MP_ERR_FORMAT);
    b = a;
    b.key_count = 2;
    b.key_id[1] = b.key_id[0];
    mp_settings_put(record, &b);
    assert_int_equal(mp_settings_get(&b, record, sizeof record), MP_ERR_FORMAT);
    b = a;
    b.keyset[2] = 9;
    mp_settings_put(record, &b);
    assert_true(mp_settings_get(&b, record, sizeof record) < 0);
    /* the check value of CRC-32 */
    assert_int_equal(mp_crc32((const uint8_t *)"123456789", 9), 0xCBF43926u);
}

#define REGISTRY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGISTRY_TEST(test_provision),
        REGISTRY_TEST(test_provision_refusals),
        REGISTRY_TEST(test_changes_stand_alone),
        REGISTRY_TEST(test_network_is_fixed),
        REGISTRY_TEST(test_gateway_identity_stays),
        REGISTRY_TEST(test_gateway_after_nodes),
        REGISTRY_TEST(test_first_report_enrols),
        REGISTRY_TEST(test_intake),
        REGISTRY_TEST(test_forged_and_unknown),
        REGISTRY_TEST(test_report_needs_a_transaction),
        REGISTRY_TEST(test_failed_commit_forgets),
        REGISTRY_TEST(test_names_labels_retirement),
        REGISTRY_TEST(test_history),
        REGISTRY_TEST(test_receipts),
        REGISTRY_TEST(test_receipt_windows),
        REGISTRY_TEST(test_settings_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
