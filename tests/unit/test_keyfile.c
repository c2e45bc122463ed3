/*
 * Key files and what keys make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/ctl/keyfile.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/signed.h"

static int text_of(const struct md_key *k, bool secret, const char *passphrase, char *text)
{
    int len = md_key_format(k, secret, passphrase, text, MD_KEYFILE_MAX);
    assert_true(len > 0);
    return len;
}

static void test_round_trip(void **state)
{
    static const char *const passphrases[] = {NULL, "", "correct horse"};
    struct md_key k, back;
    char text[MD_KEYFILE_MAX], error[200];
    (void)state;
    for (size_t i = 0; i < sizeof passphrases / sizeof passphrases[0]; i++) {
        assert_int_equal(md_key_generate(&k, MP_ROLE_ROOT, 2, 7), 0);
        int len = text_of(&k, true, passphrases[i], text);
        assert_int_equal(md_key_parse(&back, text, (size_t)len, passphrases[i], error, sizeof error), 0);
        assert_true(back.has_secret);
        assert_int_equal(back.is_sealed, i == 2);
        assert_int_equal(back.role, MP_ROLE_ROOT);
        assert_int_equal(back.id, 2);
        assert_int_equal(back.generation, 7);
        assert_memory_equal(back.pub, k.pub, 32);
        assert_memory_equal(back.secret, k.secret, 64);
        if (i == 2) {
            assert_null(strstr(text, "secret"));
            assert_int_equal(md_key_parse(&back, text, (size_t)len, "wrong", error, sizeof error), MP_ERR_SIGNATURE);
            assert_false(back.has_secret);
            assert_int_equal(md_key_parse(&back, text, (size_t)len, NULL, error, sizeof error), MP_ERR_ABSENT);
            assert_memory_equal(back.pub, k.pub, 32);
            assert_false(back.has_secret);
        }
    }
}

static void test_public_part(void **state)
{
    struct md_key k, back;
    char text[MD_KEYFILE_MAX], small[64], error[200];
    (void)state;
    assert_int_equal(md_key_generate(&k, MP_ROLE_PUBLISHER, 1, 3), 0);
    int len = text_of(&k, false, NULL, text);
    assert_null(strstr(text, "secret"));
    assert_int_equal(md_key_parse(&back, text, (size_t)len, NULL, error, sizeof error), 0);
    assert_false(back.has_secret);
    assert_memory_equal(back.pub, k.pub, 32);
    assert_int_equal(md_key_format(&back, true, NULL, text, sizeof text), MP_ERR_STATE);
    assert_int_equal(md_key_format(&k, true, NULL, small, sizeof small), MP_ERR_ROOM);
    assert_int_equal(md_key_generate(&k, MP_ROLE_PUBLISHER, 2, 1), MP_ERR_FORMAT);
    assert_int_equal(md_key_generate(&k, (enum mp_role)4, 0, 1), MP_ERR_FORMAT);
}

static void test_refusals(void **state)
{
    static const char z[] = "0000000000000000000000000000000000000000000000000000000000000000";
    static const struct {
        const char *format; /* %s is 64 zeroes */
        int code;
        const char *says;
    } cases[] = {
        {"", MP_ERR_FORMAT, "ends before"},
        {"role root\n", MP_ERR_FORMAT, "line 1: not a key file"},
        {"meshfw-key 2\n", MP_ERR_FORMAT, "line 1: unknown version"},
        {"meshfw-key 1\nrole king\n", MP_ERR_FORMAT, "line 2: the role is"},
        {"meshfw-key 1\nrole root\nrole root\n", MP_ERR_FORMAT, "line 3: a field appears twice"},
        {"meshfw-key 1\nid 3\n", MP_ERR_FORMAT, "line 2: the id is"},
        {"meshfw-key 1\nid -1\n", MP_ERR_FORMAT, "line 2: the id is"},
        {"meshfw-key 1\ngeneration 65536\n", MP_ERR_FORMAT, "generation is"},
        {"meshfw-key 1\npublic 00\n", MP_ERR_FORMAT, "64 hex digits"},
        {"meshfw-key 1\npublic %sg\n", MP_ERR_FORMAT, "64 hex digits"},
        {"meshfw-key 1\nnonsense 1\n", MP_ERR_FORMAT, "unknown field"},
        {"meshfw-key 1\nrole\n", MP_ERR_FORMAT, "without a value"},
        {"meshfw-key 1\nrole publisher\nid 2\ngeneration 1\npublic %s\n", MP_ERR_FORMAT, "only a root key"},
        {"meshfw-key 1\nrole root\nid 0\ngeneration 1\npublic %s\nsecret %s\n", MP_ERR_KEY, "does not belong"},
        {"meshfw-key 1\nsecret %s\npublic %s\n", MP_ERR_KEY, "does not belong"},
        {"meshfw-key 1\npublic %s\nsealed 1 2 3\n", MP_ERR_FORMAT, "\"sealed\" takes"},
        {"meshfw-key 1\npublic %s\nsealed 99999 67108864 00 00 00\n", MP_ERR_FORMAT, "\"sealed\" takes"},
    };
    struct md_key k;
    char text[512], error[200];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = 0;
        for (const char *p = cases[i].format; *p; p++) {
            if (p[0] == '%' && p[1] == 's') {
                memcpy(text + len, z, 64);
                len += 64;
                p++;
            } else {
                text[len++] = *p;
            }
        }
        int result = md_key_parse(&k, text, len, "x", error, sizeof error);
        if (result != cases[i].code || !strstr(error, cases[i].says))
            fail_msg("case %zu gave %d \"%s\"", i, result, error);
    }
    memset(text, 'x', sizeof text);
    text[5] = '\0';
    assert_int_equal(md_key_parse(&k, text, 10, NULL, error, sizeof error), MP_ERR_FORMAT);
    char *huge = calloc(1, MD_KEYFILE_MAX + 1);
    assert_non_null(huge);
    assert_int_equal(md_key_parse(&k, huge, MD_KEYFILE_MAX + 1, NULL, error, sizeof error), MP_ERR_LENGTH);
    free(huge);
}

static void test_every_cut_and_flip(void **state)
{
    struct md_key k, back;
    char text[MD_KEYFILE_MAX], error[200];
    (void)state;
    assert_int_equal(md_key_generate(&k, MP_ROLE_RELEASE, 0, 1), 0);
    int len = text_of(&k, true, NULL, text);
    for (int cut = 0; cut < len - 1; cut++)
        if (md_key_parse(&back, text, (size_t)cut, NULL, error, sizeof error) == 0)
            assert_false(back.has_secret);
    for (int at = 0; at < len; at++) {
        char was = text[at];
        text[at] = (char)(was ^ 1);
        if (md_key_parse(&back, text, (size_t)len, NULL, error, sizeof error) == 0 && back.has_secret)
            assert_memory_equal(back.secret, k.secret, 64);
        text[at] = was;
    }
}

static void test_files(void **state)
{
    char folder[] = "/tmp/test_keyfile.XXXXXX", path[64], error[300] = "";
    struct md_key k, back;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key", folder);
    assert_int_equal(md_key_generate(&k, MP_ROLE_RELEASE, 0, 1), 0);
    assert_int_equal(md_key_write(path, &k, true, NULL, error, sizeof error), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* never overwritten */
    assert_int_equal(md_key_write(path, &k, true, NULL, error, sizeof error), MP_ERR_STORE);
    assert_non_null(strstr(error, "File exists"));
    assert_int_equal(md_key_read(path, &back, NULL, error, sizeof error), 0);
    assert_memory_equal(back.secret, k.secret, 64);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(md_key_read(path, &back, NULL, error, sizeof error), MP_ERR_STATE);
    assert_non_null(strstr(error, "chmod 600"));
    assert_false(back.has_secret);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(md_key_read(path, &back, NULL, error, sizeof error), MP_ERR_STORE);
    /* a sealed one may lie in the open, so may a public one */
    assert_int_equal(md_key_write(path, &k, true, "open sesame", error, sizeof error), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(md_key_read(path, &back, "open sesame", error, sizeof error), 0);
    assert_memory_equal(back.secret, k.secret, 64);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(md_key_write(path, &k, false, NULL, error, sizeof error), 0);
    assert_int_equal(md_key_read(path, &back, NULL, error, sizeof error), 0);
    assert_false(back.has_secret);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

struct fleet {
    struct md_key root[3];
    struct md_key publisher;
    struct md_key release;
    struct mp_keyset set;
};

static void make_fleet(struct fleet *f)
{
    uint8_t record[MP_KEYSET_SIZE];
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(md_key_generate(&f->root[i], MP_ROLE_ROOT, i, 0), 0);
    assert_int_equal(md_key_generate(&f->publisher, MP_ROLE_PUBLISHER, 0, 1), 0);
    assert_int_equal(md_key_generate(&f->release, MP_ROLE_RELEASE, 0, 1), 0);
    assert_int_equal(md_keyset_make(crypto_sodium(), f->root, &f->publisher, &f->release, record), 0);
    assert_int_equal(mp_keyset_get(&f->set, record, sizeof record), 0);
}

static void test_first_keyset(void **state)
{
    struct fleet f;
    uint8_t record[MP_KEYSET_SIZE], pub[32];
    (void)state;
    make_fleet(&f);
    assert_int_equal(f.set.number, 0);
    assert_int_equal(mp_keyset_find(&f.set, MP_ROLE_PUBLISHER, 0, 1, pub), 0);
    assert_memory_equal(pub, f.publisher.pub, 32);
    assert_int_equal(mp_keyset_find(&f.set, MP_ROLE_RELEASE, 0, 1, pub), 0);
    assert_memory_equal(pub, f.release.pub, 32);
    struct md_key swapped[3] = {f.root[1], f.root[0], f.root[2]};
    assert_int_equal(md_keyset_make(crypto_sodium(), swapped, &f.publisher, &f.release, record), MP_ERR_KEY);
    assert_int_equal(md_keyset_make(crypto_sodium(), f.root, &f.release, &f.publisher, record), MP_ERR_KEY);
    struct md_key twice[3] = {f.root[0], f.root[0], f.root[2]};
    twice[1].id = 1;
    assert_int_equal(md_keyset_make(crypto_sodium(), twice, &f.publisher, &f.release, record), MP_ERR_KEY);
}

static void test_key_changes(void **state)
{
    struct fleet f;
    struct md_key fresh;
    uint8_t change[MP_KEYCHANGE_SIZE], pub[32];
    (void)state;
    make_fleet(&f);
    /* a new publisher key beside the old one, then the old one goes */
    assert_int_equal(md_key_generate(&fresh, MP_ROLE_PUBLISHER, 1, 0), 0);
    assert_int_equal(
        md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_INSTALL, &fresh, &f.root[0], &f.root[2], change), 0);
    assert_int_equal(mp_keyset_apply(&f.set, crypto_sodium(), change, sizeof change), 0);
    assert_int_equal(mp_keyset_find(&f.set, MP_ROLE_PUBLISHER, 1, 2, pub), 0);
    assert_memory_equal(pub, fresh.pub, 32);
    assert_int_equal(
        md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_REVOKE, &f.publisher, &f.root[1], &f.root[2], change), 0);
    assert_int_equal(mp_keyset_apply(&f.set, crypto_sodium(), change, sizeof change), 0);
    assert_int_equal(mp_keyset_find(&f.set, MP_ROLE_PUBLISHER, 0, 1, pub), MP_ERR_REVOKED);
    /* a root is replaced, and the old one signs nothing more */
    struct md_key root;
    assert_int_equal(md_key_generate(&root, MP_ROLE_ROOT, 0, 0), 0);
    assert_int_equal(
        md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_INSTALL, &root, &f.root[1], &f.root[2], change), 0);
    assert_int_equal(mp_keyset_apply(&f.set, crypto_sodium(), change, sizeof change), 0);
    assert_int_equal(md_key_generate(&fresh, MP_ROLE_RELEASE, 1, 0), 0);
    assert_int_equal(
        md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_INSTALL, &fresh, &f.root[0], &f.root[1], change),
        MP_ERR_KEY);
    assert_int_equal(md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_INSTALL, &fresh, &root, &f.root[1], change),
                     0);
    assert_int_equal(md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_INSTALL, &fresh, &root, &root, change),
                     MP_ERR_KEY);
    f.set.frozen = true;
    assert_int_equal(md_keychange_make(crypto_sodium(), &f.set, MP_KEYOP_INSTALL, &fresh, &root, &f.root[1], change),
                     MP_ERR_FROZEN);
}

static void test_signatures_fit_their_kind(void **state)
{
    static const char *const tags[] = {MP_TAG_MANIFEST, MP_TAG_DIRECTIVE, MP_TAG_KEYCHANGE, MP_TAG_RECEIPT};
    struct md_key k;
    uint8_t object[100] = {1, 2, 3}, sig[64];
    (void)state;
    assert_int_equal(md_key_generate(&k, MP_ROLE_RELEASE, 0, 1), 0);
    for (unsigned kind = 0; kind < 4; kind++) {
        md_sign((enum md_object)kind, k.secret, object, sizeof object, sig);
        for (unsigned tag = 0; tag < 4; tag++)
            assert_int_equal(mp_signed_verify(crypto_sodium(), tags[tag], object, sizeof object, sig, k.pub),
                             tag == kind ? 0 : MP_ERR_SIGNATURE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_public_part),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_every_cut_and_flip),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_first_keyset),
        cmocka_unit_test(test_key_changes), cmocka_unit_test(test_signatures_fit_their_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
