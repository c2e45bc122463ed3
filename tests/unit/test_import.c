/*
 * Import of release bundles: what is taken, what is refused, and that a refusal leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "meshd/ctl/pack.h"
#include "meshd/daemon/import.h"
#include "meshd/daemon/store_state.h"
#include "node-fw/port/crypto/crypto_sodium.h"

#define SIZE 9000u
#define FILE_MAX (3 * SIZE)

struct rig {
    struct md_store *store;
    struct md_key root[3];
    struct md_key publisher;
    struct md_key release;
    uint8_t file[FILE_MAX];
    size_t len;
    struct md_import import;
    char error[300];
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    uint8_t record[MP_KEYSET_SIZE];
    assert_non_null(g);
    assert_int_equal(md_store_open(&g->store, ":memory:", crypto_sodium(), NULL, 0), 0);
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(md_key_generate(&g->root[i], MP_ROLE_ROOT, i, 0), 0);
    assert_int_equal(md_key_generate(&g->publisher, MP_ROLE_PUBLISHER, 0, 1), 0);
    assert_int_equal(md_key_generate(&g->release, MP_ROLE_RELEASE, 0, 1), 0);
    assert_int_equal(md_keyset_make(crypto_sodium(), g->root, &g->publisher, &g->release, record), 0);
    assert_int_equal(md_store_engine()->put(g->store, MP_KIND_KEYSET, 0, record, sizeof record), 0);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    md_store_close(g->store);
    free(g);
    return 0;
}

struct recipe {
    uint32_t release;
    uint32_t counter;
    uint32_t expiry;
    uint32_t hw;
    uint16_t model;
    uint8_t seed;
};

/* A bundle of one image for each recipe. */
static void make(struct rig *g, const struct recipe *recipes, unsigned count)
{
    static uint8_t payload[2][SIZE];
    uint8_t manifest[2][MP_MANIFEST_SIZE];
    const uint8_t *payloads[2] = {payload[0], payload[1]};
    for (unsigned i = 0; i < count; i++) {
        const struct recipe *r = &recipes[i];
        struct md_image image = {.product = 7,
                                 .model = r->model ? r->model : 8,
                                 .hw_revisions = r->hw ? r->hw : 1,
                                 .version = r->release << 24,
                                 .payload = payload[i],
                                 .payload_size = SIZE};
        struct md_sign_options options = {
            .release = r->release, .security_counter = r->counter, .expiry_epoch = r->expiry};
        for (uint32_t at = 0; at < SIZE; at++)
            payload[i][at] = (uint8_t)(at * 3 + at / 256 + r->release + r->seed + i);
        assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &g->publisher, manifest[i]), 0);
    }
    long len = md_bundle_put(crypto_sodium(), (const uint8_t(*)[MP_MANIFEST_SIZE])manifest, payloads, count, g->file,
                             sizeof g->file, g->error, sizeof g->error);
    if (len < 0)
        fail_msg("%s", g->error);
    g->len = (size_t)len;
}

static int import(struct rig *g)
{
    g->error[0] = '\0';
    int result = md_import_bundle(g->store, 1000, 100, g->file, g->len, "ann", &g->import, g->error, sizeof g->error);
    assert_true((result == 0) == (g->error[0] == '\0'));
    return result;
}

static int import_one(struct rig *g, struct recipe recipe)
{
    make(g, &recipe, 1);
    return import(g);
}

static int64_t count_rows(struct rig *g, const char *table)
{
    char sql[64];
    sqlite3_stmt *q;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    assert_int_equal(sqlite3_prepare_v2(g->store->db, sql, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return count;
}

static void expect(struct rig *g, int64_t images, const char *says)
{
    assert_int_equal(count_rows(g, "manifests"), images);
    assert_int_equal(count_rows(g, "payloads"), images);
    assert_false(md_store_in_transaction(g->store));
    if (!strstr(g->error, says))
        fail_msg("\"%s\" lacks \"%s\"", g->error, says);
}

static void test_import(void **state)
{
    struct rig *g = *state;
    struct md_import again;
    const struct recipe recipes[2] = {{.release = 2}, {.release = 2, .model = 9}};
    make(g, recipes, 2);
    assert_int_equal(import(g), 0);
    expect(g, 2, "");
    assert_int_equal(g->import.release, 2);
    assert_int_equal(g->import.count, 2);
    assert_int_equal(g->import.image[1].model, 9);
    assert_int_equal(g->import.image[1].version, 2u << 24);
    assert_int_equal(md_store_has_payload(g->store, g->import.image[0].id), 0);
    assert_int_equal(md_import_release(g->store, 2, &again), 2);
    assert_memory_equal(again.image[1].id, g->import.image[1].id, 8);
    assert_int_equal(md_import_release(g->store, 3, &again), MP_ERR_ABSENT);
    assert_int_equal(count_rows(g, "audit"), 1);
    /* once more: nothing changes, but it is described */
    assert_int_equal(import(g), MP_ERR_DUPLICATE);
    expect(g, 2, "imported already");
    assert_int_equal(g->import.count, 2);
    assert_int_equal(count_rows(g, "audit"), 1);
    /* what a gateway imports it can serve */
    assert_int_equal(md_store_place(g->store, 1, &g->import.manifest[0], g->import.image[0].id), 0);
    uint8_t data[MP_CHUNK_SIZE];
    assert_true(md_store_engine()->chunk_get(g->store, 1, 0, data) > 0);
}

static void test_signature_and_keys(void **state)
{
    struct rig *g = *state;
    struct md_key good = g->publisher;
    uint8_t change[MP_KEYCHANGE_SIZE], record[MP_KEYSET_SIZE];
    struct mp_keyset set;
    assert_int_equal(md_key_generate(&g->publisher, MP_ROLE_PUBLISHER, 0, 1), 0);
    assert_int_equal(import_one(g, (struct recipe){.release = 2}), MP_ERR_SIGNATURE);
    expect(g, 0, "signature is wrong");
    g->publisher.generation = 2;
    assert_int_equal(import_one(g, (struct recipe){.release = 2}), MP_ERR_KEY);
    expect(g, 0, "not in force");
    g->publisher = good;
    assert_true(md_store_engine()->get(g->store, MP_KIND_KEYSET, 0, record, sizeof record) > 0);
    assert_int_equal(mp_keyset_get(&set, record, sizeof record), 0);
    assert_int_equal(md_keychange_make(crypto_sodium(), &set, MP_KEYOP_REVOKE, &good, &g->root[0], &g->root[1], change),
                     0);
    assert_int_equal(mp_keyset_apply(&set, crypto_sodium(), change, sizeof change), 0);
    mp_keyset_put(record, &set);
    assert_int_equal(md_store_engine()->put(g->store, MP_KIND_KEYSET, 0, record, sizeof record), 0);
    assert_int_equal(import_one(g, (struct recipe){.release = 2}), MP_ERR_REVOKED);
    expect(g, 0, "revoked");
    assert_int_equal(md_store_engine()->put(g->store, MP_KIND_KEYSET, 0, NULL, 0), 0);
    assert_int_equal(import_one(g, (struct recipe){.release = 2}), MP_ERR_KEY);
    expect(g, 0, "no keyset");
}

static void test_release_and_counter(void **state)
{
    struct rig *g = *state;
    assert_int_equal(import_one(g, (struct recipe){.release = 5, .counter = 20}), 0);
    assert_int_equal(import_one(g, (struct recipe){.release = 4, .counter = 20}), MP_ERR_RELEASE);
    expect(g, 1, "release 4 is below 5");
    assert_int_equal(import_one(g, (struct recipe){.release = 6, .counter = 19}), MP_ERR_COUNTER);
    expect(g, 1, "security counter 19 is below 20");
    assert_int_equal(import_one(g, (struct recipe){.release = 6, .counter = 37}), MP_ERR_COUNTER);
    expect(g, 1, "more than 16 above 20");
    assert_int_equal(import_one(g, (struct recipe){.release = 6, .counter = 36}), 0);
    /* another model has its own history */
    assert_int_equal(import_one(g, (struct recipe){.release = 1, .counter = 0, .model = 9}), 0);
    /* the same release once more with other content */
    assert_int_equal(import_one(g, (struct recipe){.release = 6, .counter = 36, .seed = 1}), MP_ERR_DUPLICATE);
    expect(g, 3, "with another image");
    /* ... but for other hardware it is another image */
    assert_int_equal(import_one(g, (struct recipe){.release = 6, .counter = 36, .hw = 2}), 0);
}

static void test_expired(void **state)
{
    struct rig *g = *state;
    assert_int_equal(import_one(g, (struct recipe){.release = 2, .expiry = 99}), MP_ERR_EXPIRED);
    expect(g, 0, "expired with epoch 99; it is 100 now");
    assert_int_equal(import_one(g, (struct recipe){.release = 2, .expiry = 100}), 0);
}

static void test_bad_bytes(void **state)
{
    struct rig *g = *state;
    const struct recipe recipe = {.release = 2};
    make(g, &recipe, 1);
    for (size_t at = 0; at < g->len; at += 7) {
        g->file[at] ^= 4;
        assert_true(import(g) < 0);
        g->file[at] ^= 4;
    }
    size_t len = g->len;
    for (g->len = 0; g->len < len; g->len += 111)
        assert_true(import(g) < 0);
    g->len = len;
    expect(g, 0, "");
    assert_int_equal(count_rows(g, "audit"), 0);
    assert_int_equal(import(g), 0);
}

/* A payload that is not the signed one, in a container that is in order. */
static void test_payload_swapped(void **state)
{
    struct rig *g = *state;
    const struct recipe recipe = {.release = 2};
    uint8_t manifest[1][MP_MANIFEST_SIZE], *payload = malloc(SIZE);
    assert_non_null(payload);
    make(g, &recipe, 1);
    memcpy(manifest[0], g->file + MD_BUNDLE_HEADER, MP_MANIFEST_SIZE);
    memcpy(payload, g->file + MD_BUNDLE_HEADER + MP_MANIFEST_SIZE, SIZE);
    payload[SIZE / 2] ^= 1;
    const uint8_t *payloads[1] = {payload};
    assert_int_equal(md_bundle_put(crypto_sodium(), (const uint8_t(*)[MP_MANIFEST_SIZE])manifest, payloads, 1, g->file,
                                   sizeof g->file, g->error, sizeof g->error),
                     g->len);
    assert_int_equal(import(g), MP_ERR_CHUNK);
    expect(g, 0, "not the one that was signed");
    free(payload);
}

/* The second image is refused: the first must not stay. */
static void test_all_or_nothing(void **state)
{
    struct rig *g = *state;
    assert_int_equal(import_one(g, (struct recipe){.release = 5, .model = 9}), 0);
    const struct recipe recipes[2] = {{.release = 4}, {.release = 4, .model = 9}};
    make(g, recipes, 2);
    assert_int_equal(import(g), MP_ERR_RELEASE);
    expect(g, 1, "release 4 is below 5");
    assert_int_equal(count_rows(g, "audit"), 1);
}

static void test_full_database(void **state)
{
    struct rig *g = *state;
    assert_int_equal(sqlite3_exec(g->store->db, "PRAGMA max_page_count=1", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(import_one(g, (struct recipe){.release = 2}), MD_STORE_FULL);
    expect(g, 0, "full");
    assert_int_equal(sqlite3_exec(g->store->db, "PRAGMA max_page_count=10000", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(import(g), 0);
    expect(g, 1, "");
}

#define IMPORT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IMPORT_TEST(test_import),         IMPORT_TEST(test_signature_and_keys), IMPORT_TEST(test_release_and_counter),
        IMPORT_TEST(test_expired),        IMPORT_TEST(test_bad_bytes),          IMPORT_TEST(test_payload_swapped),
        IMPORT_TEST(test_all_or_nothing), IMPORT_TEST(test_full_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
