/*
 * Packing of links, image files, manifests, bundles, and files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/ctl/pack.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/reloc.h"

#define SIZE 5000u
#define BASE_A 0x8000000u
#define BASE_B 0x8040000u

static char error[300];

/* Two links of one build: every tenth word is an address. */
static void make_links(uint8_t a[SIZE], uint8_t b[SIZE])
{
    for (uint32_t i = 0; i < SIZE; i++)
        a[i] = (uint8_t)(i * 7 + i / 256);
    memcpy(b, a, SIZE);
    for (uint32_t word = 0; word < SIZE / 4; word += 10) {
        mp_put32(a + 4 * word, BASE_A + word);
        mp_put32(b + 4 * word, BASE_B + word);
    }
}

static void expect_error(const char *says)
{
    if (!strstr(error, says))
        fail_msg("\"%s\" lacks \"%s\"", error, says);
}

static void test_versions(void **state)
{
    static const char *const bad[] = {"",        "1",         "1.2",    "1.2.",   "1.2.3.", "1.2.3.4", "256.0.0",
                                      "0.256.0", "0.0.65536", "-1.0.0", " 1.0.0", "1..0",   "1.0.0x",  "v1.0.0"};
    uint32_t version;
    char text[16];
    (void)state;
    assert_int_equal(md_version_parse("255.254.65535", &version), 0);
    assert_int_equal(version, 0xFFFEFFFFu);
    md_version_format(version, text);
    assert_string_equal(text, "255.254.65535");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(md_version_parse(bad[i], &version), MP_ERR_FORMAT);
}

static void test_links(void **state)
{
    uint8_t a[SIZE], b[SIZE], *payload;
    size_t size;
    (void)state;
    make_links(a, b);
    assert_int_equal(md_pack_links(a, SIZE, b, SIZE, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error), 0);
    assert_true(size > SIZE);
    assert_int_equal(mp_get16(payload), 0x4C52);
    assert_memory_equal(payload + size - SIZE, a, SIZE);
    free(payload);
    assert_int_equal(md_pack_links(a, SIZE, NULL, 0, 0, 0, 4, &payload, &size, error, sizeof error), 0);
    assert_int_equal(size, SIZE);
    free(payload);
    assert_int_equal(md_pack_links(a, SIZE, b, SIZE - 1, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error),
                     MP_ERR_LENGTH);
    expect_error("5000 and 4999 bytes");
    assert_null(payload);
    assert_int_equal(md_pack_links(a, 0, NULL, 0, 0, 0, 4, &payload, &size, error, sizeof error), MP_ERR_LENGTH);
}

static void test_links_that_differ_in_more(void **state)
{
    uint8_t a[SIZE], b[SIZE], *payload;
    size_t size;
    (void)state;
    make_links(a, b);
    b[0x123] ^= 1;
    assert_int_equal(md_pack_links(a, SIZE, b, SIZE, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error),
                     MP_ERR_FORMAT);
    expect_error("differ in more than relocations at offset 0x12");
    make_links(a, b);
    b[SIZE - 1] ^= 1;
    assert_int_equal(md_pack_links(a, SIZE, b, SIZE, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error),
                     MP_ERR_FORMAT);
    /* the wrong bases */
    make_links(a, b);
    assert_int_equal(md_pack_links(a, SIZE, b, SIZE, BASE_A, BASE_B + 4, 4, &payload, &size, error, sizeof error),
                     MP_ERR_FORMAT);
    expect_error("offset 0x0");
}

static struct md_image image_of(const uint8_t *payload, uint32_t size, uint16_t model)
{
    return (struct md_image){.product = 7,
                             .model = model,
                             .hw_revisions = 3,
                             .version = 0x02000001,
                             .payload = payload,
                             .payload_size = size};
}

static void test_image_file(void **state)
{
    uint8_t payload[300], file[MD_IMAGE_HEADER + sizeof payload];
    struct md_image image, back;
    (void)state;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 3);
    image = image_of(payload, sizeof payload, 8);
    assert_int_equal(md_image_put(crypto_sodium(), &image, file, sizeof file - 1), MP_ERR_ROOM);
    assert_int_equal(md_image_put(crypto_sodium(), &image, file, sizeof file), sizeof file);
    assert_int_equal(md_image_get(crypto_sodium(), &back, file, sizeof file, error, sizeof error), 0);
    assert_int_equal(back.product, 7);
    assert_int_equal(back.model, 8);
    assert_int_equal(back.hw_revisions, 3);
    assert_int_equal(back.version, 0x02000001);
    assert_memory_equal(back.payload, payload, sizeof payload);
    for (size_t len = 0; len < sizeof file; len++)
        assert_true(md_image_get(crypto_sodium(), &back, file, len, error, sizeof error) < 0);
    for (size_t bit = 0; bit < sizeof file * 8; bit++) {
        file[bit / 8] = (uint8_t)(file[bit / 8] ^ 1u << bit % 8);
        error[0] = '\0';
        assert_true(md_image_get(crypto_sodium(), &back, file, sizeof file, error, sizeof error) < 0);
        assert_true(error[0]);
        file[bit / 8] = (uint8_t)(file[bit / 8] ^ 1u << bit % 8);
    }
    image.hw_revisions = 0;
    assert_int_equal(md_image_put(crypto_sodium(), &image, file, sizeof file), MP_ERR_FORMAT);
}

struct signed_image {
    struct md_key key;
    struct mp_keyset set;
    uint8_t payload[2][SIZE];
    uint8_t manifest[2][MP_MANIFEST_SIZE];
    const uint8_t *payloads[2];
};

static void make_signed(struct signed_image *s)
{
    struct md_key root[3], release;
    struct md_sign_options options = {.release = 2, .security_counter = 4, .expiry_epoch = 500};
    uint8_t record[MP_KEYSET_SIZE];
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(md_key_generate(&root[i], MP_ROLE_ROOT, i, 0), 0);
    assert_int_equal(md_key_generate(&s->key, MP_ROLE_PUBLISHER, 0, 1), 0);
    assert_int_equal(md_key_generate(&release, MP_ROLE_RELEASE, 0, 1), 0);
    assert_int_equal(md_keyset_make(crypto_sodium(), root, &s->key, &release, record), 0);
    assert_int_equal(mp_keyset_get(&s->set, record, sizeof record), 0);
    for (unsigned m = 0; m < 2; m++) {
        for (uint32_t i = 0; i < SIZE; i++)
            s->payload[m][i] = (uint8_t)(i * 5 + i / 256 + m);
        struct md_image image = image_of(s->payload[m], SIZE, (uint16_t)(8 + m));
        assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s->key, s->manifest[m]), 0);
        s->payloads[m] = s->payload[m];
    }
}

static size_t make_bundle(const struct signed_image *s, unsigned count, uint8_t *out, size_t cap)
{
    long len = md_bundle_put(crypto_sodium(), s->manifest, s->payloads, count, out, cap, error, sizeof error);
    if (len < 0)
        fail_msg("%s", error);
    return (size_t)len;
}

static void test_manifest(void **state)
{
    struct signed_image s;
    struct mp_manifest m;
    (void)state;
    make_signed(&s);
    assert_int_equal(mp_manifest_get(&m, s.manifest[0], MP_MANIFEST_SIZE), 0);
    assert_int_equal(mp_manifest_verify(crypto_sodium(), s.manifest[0], s.key.pub), 0);
    assert_int_equal(m.release, 2);
    assert_int_equal(m.security_counter, 4);
    assert_int_equal(m.image_size, SIZE);
    assert_int_equal(md_payload_check(crypto_sodium(), &m, s.payload[0], error, sizeof error), 0);
    s.payload[0][77] ^= 1;
    assert_int_equal(md_payload_check(crypto_sodium(), &m, s.payload[0], error, sizeof error), MP_ERR_CHUNK);
    struct md_image image = image_of(s.payload[0], SIZE, 8);
    struct md_sign_options options = {.release = 0};
    uint8_t manifest[MP_MANIFEST_SIZE];
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, manifest), MP_ERR_FORMAT);
    options.release = 1;
    options.battery_min_percent = 101;
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, manifest), MP_ERR_FORMAT);
    s.key.role = MP_ROLE_RELEASE;
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, manifest), MP_ERR_KEY);
}

/* The salt is drawn after the content is frozen: the same image twice gives two trees. */
static void test_salt_is_fresh(void **state)
{
    struct signed_image s;
    struct md_image image;
    struct md_sign_options options = {.release = 2};
    uint8_t again[MP_MANIFEST_SIZE];
    struct mp_manifest a, b;
    (void)state;
    make_signed(&s);
    image = image_of(s.payload[0], SIZE, 8);
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, again), 0);
    assert_int_equal(mp_manifest_get(&a, s.manifest[0], MP_MANIFEST_SIZE), 0);
    assert_int_equal(mp_manifest_get(&b, again, MP_MANIFEST_SIZE), 0);
    assert_memory_not_equal(a.salt, b.salt, sizeof a.salt);
    assert_memory_not_equal(a.image_root, b.image_root, sizeof a.image_root);
    assert_memory_equal(a.image_sha256, b.image_sha256, 32);
}

static void test_bundle(void **state)
{
    struct signed_image s;
    struct md_bundle b;
    static uint8_t file[3 * SIZE];
    (void)state;
    make_signed(&s);
    size_t len = make_bundle(&s, 2, file, sizeof file);
    assert_int_equal(md_bundle_put(crypto_sodium(), s.manifest, s.payloads, 2, file, len - 1, error, sizeof error),
                     MP_ERR_ROOM);
    len = make_bundle(&s, 2, file, sizeof file);
    assert_int_equal(md_bundle_verify(crypto_sodium(), &b, file, len, &s.set, 500, error, sizeof error), 0);
    assert_int_equal(b.count, 2);
    assert_memory_equal(b.payload[1], s.payload[1], SIZE);
    assert_memory_equal(b.raw[1], s.manifest[1], MP_MANIFEST_SIZE);
    assert_int_equal(md_bundle_verify(crypto_sodium(), &b, file, len, &s.set, 501, error, sizeof error),
                     MP_ERR_EXPIRED);
    expect_error("manifest 1: expired with epoch 500");
    assert_int_equal(md_bundle_verify(crypto_sodium(), &b, file, len, &s.set, 0, error, sizeof error), 0);
    /* keys */
    struct mp_keyset set = s.set;
    set.publisher[0].state = MP_KEY_REVOKED;
    assert_int_equal(md_bundle_verify(crypto_sodium(), &b, file, len, &set, 0, error, sizeof error), MP_ERR_REVOKED);
    expect_error("revoked");
    set = s.set;
    set.publisher[0].generation = 2;
    assert_int_equal(md_bundle_verify(crypto_sodium(), &b, file, len, &set, 0, error, sizeof error), MP_ERR_KEY);
    set = s.set;
    set.publisher[0].pub[0] ^= 1;
    assert_int_equal(md_bundle_verify(crypto_sodium(), &b, file, len, &set, 0, error, sizeof error), MP_ERR_SIGNATURE);
}

static void test_bundle_cut_and_flipped(void **state)
{
    struct signed_image s;
    struct md_bundle b;
    static uint8_t file[3 * SIZE];
    (void)state;
    make_signed(&s);
    size_t len = make_bundle(&s, 1, file, sizeof file);
    for (size_t cut = 0; cut < len; cut += cut < 300 ? 1 : 97) {
        uint8_t *exact = malloc(cut ? cut : 1);
        assert_non_null(exact);
        memcpy(exact, file, cut);
        assert_true(md_bundle_get(crypto_sodium(), &b, exact, cut, error, sizeof error) < 0);
        free(exact);
    }
    for (size_t at = 0; at < len; at += at < 300 ? 1 : 41) {
        file[at] ^= 0x10;
        error[0] = '\0';
        assert_true(md_bundle_get(crypto_sodium(), &b, file, len, error, sizeof error) < 0);
        assert_true(error[0]);
        file[at] ^= 0x10;
    }
    assert_true(md_bundle_get(crypto_sodium(), &b, file, len + 1, error, sizeof error) < 0);
}

static void test_bundle_set(void **state)
{
    struct signed_image s;
    static uint8_t file[3 * SIZE];
    struct md_sign_options options = {.release = 3};
    struct md_image image;
    (void)state;
    make_signed(&s);
    image = image_of(s.payload[1], SIZE, 9);
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, s.manifest[1]), 0);
    assert_int_equal(md_bundle_put(crypto_sodium(), s.manifest, s.payloads, 2, file, sizeof file, error, sizeof error),
                     MP_ERR_FORMAT);
    expect_error("release 3");
    options.release = 2;
    image.model = 8;
    image.hw_revisions = 2;
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, s.manifest[1]), 0);
    assert_int_equal(md_bundle_put(crypto_sodium(), s.manifest, s.payloads, 2, file, sizeof file, error, sizeof error),
                     MP_ERR_FORMAT);
    expect_error("same devices");
    image.hw_revisions = 4;
    assert_int_equal(md_manifest_make(crypto_sodium(), &image, &options, &s.key, s.manifest[1]), 0);
    make_bundle(&s, 2, file, sizeof file);
    assert_int_equal(md_bundle_put(crypto_sodium(), s.manifest, s.payloads, 0, file, sizeof file, error, sizeof error),
                     MP_ERR_FORMAT);
    assert_int_equal(md_bundle_put(crypto_sodium(), s.manifest, s.payloads, 9, file, sizeof file, error, sizeof error),
                     MP_ERR_FORMAT);
}

static void test_files(void **state)
{
    char folder[] = "/tmp/test_pack.XXXXXX", path[64];
    uint8_t *data;
    size_t len;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(md_file_read(path, 10, &data, &len, error, sizeof error), MP_ERR_STORE);
    assert_int_equal(md_file_write(path, "first", 5, 0600, error, sizeof error), 0);
    assert_int_equal(md_file_write(path, "second!", 7, 0640, error, sizeof error), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(md_file_read(path, 6, &data, &len, error, sizeof error), MP_ERR_LENGTH);
    assert_null(data);
    assert_int_equal(md_file_read(path, 7, &data, &len, error, sizeof error), 0);
    assert_int_equal(len, 7);
    assert_memory_equal(data, "second!", 7);
    free(data);
    assert_int_equal(md_file_read(folder, 10, &data, &len, error, sizeof error), MP_ERR_STORE);
    expect_error("not a regular file");
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/no/file", folder);
    assert_int_equal(md_file_write(path, "x", 1, 0600, error, sizeof error), MP_ERR_STORE);
    /* nothing is left behind */
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_links_that_differ_in_more),
        cmocka_unit_test(test_image_file),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_salt_is_fresh),
        cmocka_unit_test(test_bundle),
        cmocka_unit_test(test_bundle_cut_and_flipped),
        cmocka_unit_test(test_bundle_set),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
