/*
 * Store: settings, engine records and places, transactions, audit chain; and what happens when the database is corrupt,
 * locked, full, newer, or not a database.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "meshd/daemon/store.h"
#include "meshd/daemon/store_state.h"
#include "meshd/release/release.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/tree.h"
#include "tests/lib/sign.h"

#define SIZE 20000u

static char folder[] = "/tmp/test_store.XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/db", folder);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"db", "db-wal", "db-shm", "db-journal"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static struct md_store *open_good(void)
{
    struct md_store *s;
    char error[256] = "";
    if (md_store_open(&s, path, crypto_sodium(), error, sizeof error) < 0)
        fail_msg("%s", error);
    return s;
}

static void expect_open(int code, const char *says)
{
    struct md_store *s = (struct md_store *)(uintptr_t)1;
    char error[256] = "";
    assert_int_equal(md_store_open(&s, path, crypto_sodium(), error, sizeof error), code);
    assert_null(s);
    if (!strstr(error, says) || !strstr(error, path))
        fail_msg("\"%s\" lacks \"%s\" or the path", error, says);
}

/* SQL from outside, as another program would. */
static void outside(const char *sql)
{
    sqlite3 *db;
    char *error = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s", error);
    sqlite3_close(db);
}

static void limit_pages(struct md_store *s, int more)
{
    char sql[64];
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_prepare_v2(s->db, "PRAGMA page_count", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", sqlite3_column_int(q, 0) + more);
    sqlite3_finalize(q);
    assert_int_equal(sqlite3_exec(s->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void unlimit_pages(struct md_store *s)
{
    assert_int_equal(sqlite3_exec(s->db, "PRAGMA max_page_count=1000000", NULL, NULL, NULL), SQLITE_OK);
}

struct reader {
    const uint8_t *data;
};

static int read_payload(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    memcpy(data, ((struct reader *)ctx)->data + offset, len);
    return 0;
}

static uint8_t *make_payload(uint8_t manifest[MP_MANIFEST_SIZE], struct mp_manifest *m, uint8_t id[8], uint8_t seed)
{
    const struct mp_crypto *crypto = crypto_sodium();
    struct mp_tree tree;
    struct mp_sha256 sha;
    struct sign_key key;
    uint8_t *payload = malloc(SIZE);
    assert_non_null(payload);
    for (uint32_t i = 0; i < SIZE; i++)
        payload[i] = (uint8_t)(i * 31 + i / 251 + seed);
    memset(m, 0, sizeof *m);
    m->generation = 1;
    m->product = 7;
    m->model = 8;
    m->hw_revisions = 1;
    m->version = (uint32_t)seed << 24;
    m->release = seed;
    m->image_size = m->payload_size = SIZE;
    crypto->sha256_init(&sha);
    crypto->sha256_update(&sha, payload, SIZE);
    crypto->sha256_final(&sha, m->image_sha256);
    assert_int_equal(mp_tree_init(&tree, SIZE), 0);
    struct reader reader = {payload};
    assert_int_equal(mp_tree_build(&tree, crypto, m->salt, read_payload, NULL, &reader, m->image_root), 0);
    memcpy(m->payload_root, m->image_root, MP_HASH_SIZE);
    sign_key_make(&key, 16);
    sign_manifest(manifest, m, &key);
    mp_manifest_id(crypto, manifest, id);
    return payload;
}

/* --- opening
 * ---------------------------------------------------------------------------------------------------------- */

static void test_open_is_private_and_lasting(void **state)
{
    struct stat st;
    int64_t value;
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(md_store_get_number(s, "epoch", &value), MP_ERR_ABSENT);
    assert_int_equal(md_store_set_number(s, "epoch", 20000), 0);
    assert_int_equal(md_store_set_number(s, "epoch", 20001), 0);
    md_store_close(s);
    s = open_good();
    assert_int_equal(md_store_get_number(s, "epoch", &value), 0);
    assert_int_equal(value, 20001);
    md_store_close(s);
}

static void test_second_process_is_refused(void **state)
{
    (void)state;
    struct md_store *s = open_good();
    expect_open(MD_STORE_LOCKED, "locked");
    /* the first one is none the worse for it */
    assert_int_equal(md_store_set_number(s, "x", 1), 0);
    md_store_close(s);
    md_store_close(open_good());
}

static void test_not_a_database(void **state)
{
    (void)state;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", f);
    fclose(f);
    expect_open(MD_STORE_CORRUPT, "corrupt");
}

static void test_somebody_elses_database(void **state)
{
    (void)state;
    outside("CREATE TABLE t(x); PRAGMA user_version=1");
    expect_open(MD_STORE_CORRUPT, "not one of meshd");
}

static void test_newer_schema(void **state)
{
    (void)state;
    md_store_close(open_good());
    outside("PRAGMA user_version=99");
    expect_open(MD_STORE_VERSION, "schema 99 is newer");
}

static void test_unreachable(void **state)
{
    char saved[sizeof path];
    (void)state;
    memcpy(saved, path, sizeof path);
    snprintf(path, sizeof path, "%s/no/such/db", folder);
    expect_open(MD_STORE_IO, "No such file");
    snprintf(path, sizeof path, "%s", folder);
    expect_open(MD_STORE_IO, "");
    memcpy(path, saved, sizeof path);
}

/* Damage at many places: opening says so or everything can be read; it never crashes. */
static void test_damaged_pages(void **state)
{
    struct stat st;
    unsigned refused = 0, tried = 0;
    (void)state;
    struct md_store *s = open_good();
    for (int i = 0; i < 300; i++)
        assert_int_equal(md_store_audit(s, i, "ann", "test", "a row that takes some room in the file"), 0);
    md_store_close(s);
    assert_int_equal(stat(path, &st), 0);
    uint8_t *good = malloc((size_t)st.st_size);
    int fd = open(path, O_RDWR);
    assert_non_null(good);
    assert_int_equal(read(fd, good, (size_t)st.st_size), st.st_size);
    for (off_t at = 0; at < st.st_size; at += 509) {
        uint8_t junk[16];
        size_t len = (size_t)(st.st_size - at) < sizeof junk ? (size_t)(st.st_size - at) : sizeof junk;
        char error[256] = "";
        memset(junk, 0xA5, sizeof junk);
        assert_int_equal(pwrite(fd, junk, len, at), len);
        tried++;
        int result = md_store_open(&s, path, crypto_sodium(), error, sizeof error);
        if (result < 0) {
            assert_true(error[0]);
            refused++;
        } else {
            refused += md_store_verify_audit(s, NULL) < 0;
            md_store_close(s);
        }
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, good, (size_t)st.st_size, 0), st.st_size);
    }
    /* the rest fell on free space and on rows that nobody hashed */
    assert_true(refused > tried / 5);
    close(fd);
    free(good);
    md_store_close(open_good());
}

/* --- transactions
 * ----------------------------------------------------------------------------------------------------- */

static void test_rollback_restores_the_mirror(void **state)
{
    const struct mp_store *engine = md_store_engine();
    uint8_t data[MP_RECORD_MAX];
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(engine->put(s, MP_KIND_RECEIPT, 0, (const uint8_t *)"old", 3), 0);
    assert_int_equal(md_store_begin(s), 0);
    assert_int_equal(md_store_begin(s), MP_ERR_STATE);
    assert_int_equal(engine->put(s, MP_KIND_RECEIPT, 0, (const uint8_t *)"newer", 5), 0);
    assert_int_equal(md_store_set_number(s, "x", 1), 0);
    assert_int_equal(engine->get(s, MP_KIND_RECEIPT, 0, data, sizeof data), 5);
    md_store_rollback(s);
    assert_int_equal(engine->get(s, MP_KIND_RECEIPT, 0, data, sizeof data), 3);
    assert_memory_equal(data, "old", 3);
    int64_t value;
    assert_int_equal(md_store_get_number(s, "x", &value), MP_ERR_ABSENT);
    assert_int_equal(md_store_commit(s), MP_ERR_STATE);
    md_store_close(s);
}

static void test_full_disk(void **state)
{
    const struct mp_store *engine = md_store_engine();
    uint8_t manifest[MP_MANIFEST_SIZE], id[8], record[200], data[MP_RECORD_MAX];
    struct mp_manifest m;
    uint8_t *payload = make_payload(manifest, &m, id, 2);
    int64_t value;
    (void)state;
    memset(record, 1, sizeof record);
    struct md_store *s = open_good();
    assert_int_equal(md_store_set_number(s, "before", 1), 0);
    assert_int_equal(engine->put(s, MP_KIND_RECEIPT, 0, record, sizeof record), 0);
    limit_pages(s, 1);
    assert_int_equal(md_store_add_payload(s, manifest, payload, 0), MD_STORE_FULL);
    assert_non_null(strstr(md_store_error(s), "full"));
    assert_false(md_store_in_transaction(s));
    /* all or nothing */
    assert_int_equal(md_store_has_payload(s, id), MP_ERR_ABSENT);
    assert_int_equal(md_store_manifest(s, id, data), MP_ERR_ABSENT);
    /* within a group */
    assert_int_equal(md_store_begin(s), 0);
    assert_int_equal(md_store_set_number(s, "during", 1), 0);
    assert_int_equal(md_store_add_payload(s, manifest, payload, 0), MD_STORE_FULL);
    md_store_rollback(s);
    assert_int_equal(md_store_get_number(s, "during", &value), MP_ERR_ABSENT);
    /* the engine hears of it and keeps what it had */
    char blob[4000];
    memset(blob, 'x', sizeof blob);
    blob[sizeof blob - 1] = '\0';
    int result = 0;
    for (int i = 0; i < 100 && result == 0; i++) {
        char name[16];
        snprintf(name, sizeof name, "fill%d", i);
        result = md_store_set_blob(s, name, blob, sizeof blob);
    }
    assert_int_equal(result, MD_STORE_FULL);
    result = 0;
    for (int i = 0; i < 5 && result == 0; i++)
        result = md_store_audit(s, 0, "ann", "x", blob);
    assert_int_equal(result, MD_STORE_FULL);
    result = 0;
    for (unsigned slot = 0; slot < MP_KEYCHAIN_MAX && result == 0; slot++)
        result = engine->put(s, MP_KIND_KEYCHANGE, slot, record, sizeof record);
    for (unsigned slot = 0; slot < MP_MANIFESTS_MAX && result == 0; slot++)
        result = engine->put(s, MP_KIND_MANIFEST, slot, record, sizeof record - 1);
    assert_int_equal(result, MP_ERR_STORE);
    assert_int_equal(engine->get(s, MP_KIND_RECEIPT, 0, data, sizeof data), sizeof record);
    /* room again: it goes on where it was */
    unlimit_pages(s);
    assert_int_equal(md_store_add_payload(s, manifest, payload, 0), 0);
    assert_int_equal(md_store_get_number(s, "before", &value), 0);
    md_store_close(s);
    s = open_good();
    assert_int_equal(md_store_has_payload(s, id), 0);
    md_store_close(s);
    free(payload);
}

/* What was committed is there after a kill -9, at whatever moment. */
static void test_kill(void **state)
{
    int pipe_fd[2];
    (void)state;
    md_store_close(open_good());
    for (int round = 0; round < 4; round++) {
        int64_t told = -1, value = -1;
        assert_int_equal(pipe(pipe_fd), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct md_store *s;
            close(pipe_fd[0]);
            if (md_store_open(&s, path, crypto_sodium(), NULL, 0) < 0)
                _exit(1);
            for (int64_t i = 0;; i++)
                if (md_store_set_number(s, "count", i) < 0 || md_store_audit(s, i, "a", "b", "c") < 0 ||
                    write(pipe_fd[1], &i, sizeof i) != sizeof i)
                    _exit(2);
        }
        close(pipe_fd[1]);
        for (int i = 0; i < 5 + round * 7; i++)
            assert_int_equal(read(pipe_fd[0], &told, sizeof told), sizeof told);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipe_fd[0], &value, sizeof value) == sizeof value)
            told = value;
        close(pipe_fd[0]);
        struct md_store *s = open_good();
        assert_int_equal(md_store_get_number(s, "count", &value), 0);
        assert_true(value >= told && value <= told + 1);
        assert_int_equal(md_store_verify_audit(s, NULL), 0);
        md_store_close(s);
    }
}

/* --- settings
 * --------------------------------------------------------------------------------------------------------- */

static void test_boot_counter(void **state)
{
    uint32_t boot = 0;
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(md_store_next_boot(s, &boot), 0);
    assert_int_equal(boot, 1);
    assert_int_equal(md_store_set_boot(s, 7), 0);
    assert_int_equal(md_store_set_boot(s, 6), MP_ERR_FORMAT);
    md_store_close(s);
    s = open_good();
    assert_int_equal(md_store_next_boot(s, &boot), 0);
    assert_int_equal(boot, 8);
    assert_int_equal(md_store_set_boot(s, 0xFFFFFF), 0);
    assert_int_equal(md_store_next_boot(s, &boot), MP_ERR_ROOM);
    md_store_close(s);
}

static void test_blobs(void **state)
{
    uint8_t data[8];
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(md_store_get_blob(s, "b", data, sizeof data), MP_ERR_ABSENT);
    assert_int_equal(md_store_set_blob(s, "b", "abcdefgh", 8), 0);
    assert_int_equal(md_store_get_blob(s, "b", data, sizeof data), 8);
    assert_memory_equal(data, "abcdefgh", 8);
    assert_int_equal(md_store_get_blob(s, "b", data, 7), MP_ERR_ROOM);
    md_store_close(s);
}

/* --- engine
 * ----------------------------------------------------------------------------------------------------------- */

static void test_records(void **state)
{
    const struct mp_store *engine = md_store_engine();
    uint8_t data[MP_RECORD_MAX], record[MP_RECORD_MAX], change[200];
    (void)state;
    struct md_store *s = open_good();
    for (size_t i = 0; i < sizeof record; i++)
        record[i] = (uint8_t)i;
    assert_int_equal(engine->get(s, MP_KIND_KEYSET, 0, data, sizeof data), 0);
    assert_int_equal(engine->put(s, MP_KIND_KEYSET, 0, record, 276), 0);
    assert_int_equal(engine->put(s, MP_KIND_DIRECTIVE, 3, record, 120), 0);
    for (unsigned i = 0; i < 20; i++) {
        memset(change, 0, sizeof change);
        mp_put16(change + 4, i + 1);
        assert_int_equal(engine->put(s, MP_KIND_KEYCHANGE, (i + 1) % 16, change, 200), 0);
    }
    assert_int_equal(engine->put(s, MP_KIND_DIRECTIVE, MP_RELEASES_MAX, record, 120), MP_ERR_STORE);
    assert_int_equal(engine->put(s, MP_KIND_KEYSET, 0, record, 277), MP_ERR_STORE);
    assert_int_equal(engine->put(s, MP_KIND_COUNT, 0, record, 1), MP_ERR_STORE);
    md_store_close(s);
    s = open_good();
    assert_int_equal(engine->get(s, MP_KIND_KEYSET, 0, data, sizeof data), 276);
    assert_memory_equal(data, record, 276);
    assert_int_equal(engine->get(s, MP_KIND_KEYSET, 0, data, 275), MP_ERR_ROOM);
    assert_int_equal(engine->get(s, MP_KIND_DIRECTIVE, 3, data, sizeof data), 120);
    assert_int_equal(engine->put(s, MP_KIND_DIRECTIVE, 3, NULL, 0), 0);
    assert_int_equal(engine->get(s, MP_KIND_DIRECTIVE, 3, data, sizeof data), 0);
    /* the chain is kept for good, the slots only hold the newest sixteen */
    assert_int_equal(md_store_keychange(s, 1, data), 0);
    assert_int_equal(mp_get16(data + 4), 1);
    assert_int_equal(md_store_keychange(s, 20, data), 0);
    assert_int_equal(md_store_keychange(s, 21, data), MP_ERR_ABSENT);
    md_store_close(s);
}

static void verify_chunk(const struct mp_manifest *m, const struct mp_tree *tree, struct md_store *s, unsigned place,
                         uint32_t position)
{
    const struct mp_store *engine = md_store_engine();
    uint8_t data[MP_CHUNK_SIZE], parent[MP_CHUNK_SIZE], hash[MP_HASH_SIZE];
    uint32_t index;
    unsigned at = 0, level = mp_tree_level(tree, position, &index);
    int len = engine->chunk_get(s, place, position, data);
    assert_int_equal(len, mp_tree_length(tree, position));
    mp_tree_hash(crypto_sodium(), m->salt, level, index, data, (size_t)len, hash);
    uint32_t above = mp_tree_parent(tree, position, &at);
    if (above == UINT32_MAX) {
        assert_memory_equal(hash, m->payload_root, MP_HASH_SIZE);
        return;
    }
    assert_true(engine->chunk_get(s, place, above, parent) > 0);
    assert_memory_equal(hash, parent + at, MP_HASH_SIZE);
}

static void test_place_serves_what_was_imported(void **state)
{
    const struct mp_store *engine = md_store_engine();
    uint8_t manifest[MP_MANIFEST_SIZE], id[8], data[MP_CHUNK_SIZE];
    struct mp_manifest m;
    struct mp_tree tree;
    (void)state;
    uint8_t *payload = make_payload(manifest, &m, id, 2);
    struct md_store *s = open_good();
    assert_int_equal(md_store_add_payload(s, manifest, payload, 5), 0);
    assert_int_equal(md_store_add_payload(s, manifest, payload, 6), MP_ERR_DUPLICATE);
    md_store_close(s);
    s = open_good();
    assert_null(engine->bitmap(s, 1));
    assert_int_equal(engine->chunk_get(s, 1, 0, data), MP_ERR_ABSENT);
    assert_int_equal(md_store_find_place(s, id), -1);
    assert_int_equal(md_store_place(s, 1, &m, id), 0);
    assert_int_equal(md_store_find_place(s, id), 1);
    assert_int_equal(md_store_place(s, MP_PLACES_MAX, &m, id), MP_ERR_FORMAT);
    assert_int_equal(mp_tree_init(&tree, SIZE), 0);
    for (uint32_t position = 0; position < tree.positions; position++) {
        assert_true(engine->bitmap(s, 1)[position / 8] >> position % 8 & 1);
        verify_chunk(&m, &tree, s, 1, position);
    }
    assert_int_equal(engine->chunk_get(s, 1, tree.positions, data), MP_ERR_ABSENT);
    if (tree.positions % 8)
        assert_int_equal(engine->bitmap(s, 1)[tree.positions / 8] >> tree.positions % 8, 0);
    md_store_unplace(s, 1);
    assert_null(engine->bitmap(s, 1));
    md_store_close(s);
    free(payload);
}

static void test_place_fetches_and_seals(void **state)
{
    const struct mp_store *engine = md_store_engine();
    uint8_t manifest[MP_MANIFEST_SIZE], id[8], data[MP_CHUNK_SIZE];
    struct mp_manifest m, other;
    struct mp_tree tree;
    (void)state;
    uint8_t *payload = make_payload(manifest, &m, id, 2);
    struct md_store *s = open_good();
    /* as the engine does when it accepts a manifest */
    assert_int_equal(engine->put(s, MP_KIND_MANIFEST, 0, manifest, sizeof manifest), 0);
    assert_int_equal(md_store_manifest(s, id, manifest), 0);
    assert_int_equal(md_store_has_payload(s, id), MP_ERR_ABSENT);
    assert_int_equal(md_store_place(s, 1, &m, id), 0);
    assert_int_equal(engine->bitmap(s, 1)[0], 0);
    assert_int_equal(mp_tree_init(&tree, SIZE), 0);
    assert_int_equal(md_store_seal_place(s, 1), MP_ERR_STATE);
    /* a second store gives the chunks */
    struct md_store *giver;
    assert_int_equal(md_store_open(&giver, ":memory:", crypto_sodium(), NULL, 0), 0);
    assert_int_equal(md_store_add_payload(giver, manifest, payload, 0), 0);
    assert_int_equal(md_store_place(giver, 0, &m, id), 0);
    for (uint32_t position = 0; position < tree.positions; position++) {
        int len = engine->chunk_get(giver, 0, position, data);
        assert_true(len > 0);
        assert_int_equal(engine->chunk_put(s, 1, position, data, (size_t)len + 1), MP_ERR_STORE);
        assert_int_equal(engine->chunk_put(s, 1, position, data, (size_t)len), 0);
    }
    assert_int_equal(engine->chunk_put(s, 1, tree.positions, data, 1), MP_ERR_STORE);
    assert_int_equal(engine->chunk_put(s, 2, 0, data, 1), MP_ERR_STORE);
    assert_int_equal(md_store_seal_place(s, 1), 0);
    assert_int_equal(md_store_has_payload(s, id), 0);
    md_store_close(giver);
    md_store_close(s);
    s = open_good();
    assert_int_equal(md_store_place(s, 0, &m, id), 0);
    for (uint32_t position = 0; position < tree.positions; position++)
        verify_chunk(&m, &tree, s, 0, position);
    /* a whole payload that is another one is emptied, not kept */
    other = m;
    other.image_sha256[0] ^= 1;
    id[0] ^= 1;
    assert_int_equal(md_store_place(s, 3, &other, id), 0);
    for (uint32_t position = 0; position < tree.positions; position++) {
        int len = engine->chunk_get(s, 0, position, data);
        assert_int_equal(engine->chunk_put(s, 3, position, data, (size_t)len), 0);
    }
    assert_int_equal(md_store_seal_place(s, 3), MP_ERR_CHUNK);
    assert_int_equal(engine->chunk_get(s, 3, 0, data), MP_ERR_ABSENT);
    assert_int_equal(md_store_has_payload(s, id), MP_ERR_ABSENT);
    md_store_close(s);
    free(payload);
}

static void test_changed_payload_is_noticed(void **state)
{
    uint8_t manifest[MP_MANIFEST_SIZE], id[8];
    struct mp_manifest m;
    (void)state;
    uint8_t *payload = make_payload(manifest, &m, id, 2);
    struct md_store *s = open_good();
    assert_int_equal(md_store_add_payload(s, manifest, payload, 5), 0);
    md_store_close(s);
    outside("UPDATE payloads SET data = zeroblob(20000)");
    s = open_good();
    assert_int_equal(md_store_place(s, 0, &m, id), MD_STORE_CORRUPT);
    assert_int_equal(md_store_find_place(s, id), -1);
    md_store_close(s);
    outside("UPDATE payloads SET data = zeroblob(19999)");
    s = open_good();
    assert_int_equal(md_store_place(s, 0, &m, id), MD_STORE_CORRUPT);
    md_store_close(s);
    free(payload);
}

/* --- audit
 * ------------------------------------------------------------------------------------------------------------ */

static int count_rows(void *ctx, const struct md_audit_row *row)
{
    int64_t *last = ctx;
    assert_int_equal(row->id, *last + 1);
    *last = row->id;
    return row->id == 7 ? 42 : 0;
}

static void test_audit_chain(void **state)
{
    int64_t bad = 0, last = 2;
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(md_store_verify_audit(s, &bad), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(md_store_audit(s, 1000 + i, "ann", "rollout.start", "words \"quoted\" 'twice'"), 0);
    assert_int_equal(md_store_verify_audit(s, &bad), 0);
    assert_int_equal(md_store_each_audit(s, 2, 100, count_rows, &last), 42);
    assert_int_equal(last, 7);
    last = 0;
    assert_int_equal(md_store_each_audit(s, 0, 3, count_rows, &last), 0);
    assert_int_equal(last, 3);
    /* append-only even for whoever comes through this connection */
    assert_int_not_equal(sqlite3_exec(s->db, "DELETE FROM audit WHERE id = 10", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(s->db, "UPDATE audit SET who = 'bob'", NULL, NULL, NULL), SQLITE_OK);
    md_store_close(s);
}

static void tamper(const char *sql, int64_t row)
{
    char all[300];
    struct md_store *s = open_good();
    for (int i = 0; i < 10; i++)
        assert_int_equal(md_store_audit(s, 1000 + i, "ann", "rollout.start", "words"), 0);
    md_store_close(s);
    snprintf(all, sizeof all, "DROP TRIGGER audit_update; DROP TRIGGER audit_delete; %s", sql);
    outside(all);
    char says[32];
    snprintf(says, sizeof says, "row %lld", (long long)row);
    expect_open(MD_STORE_TAMPERED, says);
    teardown(NULL);
    setup(NULL);
}

static void test_audit_tampering(void **state)
{
    (void)state;
    tamper("UPDATE audit SET text = 'other words' WHERE id = 4", 4);
    tamper("UPDATE audit SET at_ms = 1 WHERE id = 1", 1);
    tamper("DELETE FROM audit WHERE id = 5", 5);
    tamper("DELETE FROM audit WHERE id = 1", 1);
    tamper("UPDATE audit SET hash = x'00' WHERE id = 9", 9);
    tamper("UPDATE audit SET who = 'annr', what = 'ollout.start' WHERE id = 2", 2);
    tamper("INSERT INTO audit VALUES(11, 0, 'x', 'y', 'z', zeroblob(32))", 11);
}

static void test_old_tampering_shows_on_request(void **state)
{
    int64_t bad = 0;
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(md_store_begin(s), 0);
    for (int i = 0; i < 400; i++)
        assert_int_equal(md_store_audit(s, 1000 + i, "ann", "rollout.start", "words"), 0);
    assert_int_equal(md_store_commit(s), 0);
    md_store_close(s);
    outside("DROP TRIGGER audit_update; UPDATE audit SET text = 'x' WHERE id = 3");
    s = open_good();
    assert_int_equal(md_store_verify_audit(s, &bad), MD_STORE_TAMPERED);
    assert_int_equal(bad, 3);
    md_store_close(s);
}

/* --- rollouts
 * --------------------------------------------------------------------------------------------------------- */

static struct md_release *release_of(unsigned nodes)
{
    struct md_release *r = md_release_new(crypto_sodium());
    assert_non_null(r);
    for (uint32_t node = 1; node <= nodes; node++) {
        struct md_fact fact = {.node = node, .product = 7, .model = 8, .enrolled = true};
        assert_int_equal(md_release_node(r, 1000, &fact), 0);
    }
    return r;
}

static void start(struct md_release *r, uint32_t release)
{
    struct md_rollout_config c = {.release = release, .salt = 5, .image_count = 1};
    c.image[0] = (struct md_release_image){{(uint8_t)release}, 7, 8, 1, release << 24};
    assert_int_equal(md_policy_parse(&c.policy,
                                     "confirm=10; all: share=100% soak=0 min-reports=0 deadline=1000 max-failures=any",
                                     NULL, NULL, NULL, 0),
                     0);
    assert_int_equal(md_release_start(r, 2000, &c, "ann", NULL, 0), 0);
}

static int count_rollouts(void *ctx, const struct md_rollout_row *row)
{
    unsigned *count = ctx;
    assert_true(row->policy[0] && row->phase[0] && row->why[0]);
    count[row->live ? 0 : 1]++;
    return 0;
}

static void test_rollouts_survive(void **state)
{
    unsigned count[2] = {0, 0};
    struct md_rollout_info before, after;
    struct md_release_node member;
    (void)state;
    struct md_store *s = open_good();
    struct md_release *r = release_of(5);
    start(r, 3);
    struct mp_report report = {
        .node = 4, .serial = 1, .running = 2, .target = 3, .phase = MP_PHASE_ROLLED_BACK, .reason = 3};
    assert_int_equal(md_release_report(r, 3000, &report), 0);
    md_release_tick(r, 3000);
    assert_int_equal(md_release_find(r, 3, &before), 0);
    /* a transaction that fails takes nothing of it away */
    assert_int_equal(md_store_begin(s), 0);
    assert_int_equal(md_store_save_release(s, r, 3000), 0);
    md_store_rollback(s);
    assert_int_equal(md_store_save_release(s, r, 3000), 0);
    md_release_free(r);
    md_store_close(s);
    s = open_good();
    r = release_of(5);
    assert_int_equal(md_store_load_release(s, r), 0);
    assert_int_equal(md_release_find(r, 3, &after), 0);
    assert_int_equal(after.phase, before.phase);
    assert_string_equal(after.why, before.why);
    assert_int_equal(md_release_member(r, 3, 3, &member), 0);
    assert_int_equal(member.node, 4);
    assert_int_equal(member.outcome, MD_OUTCOME_FAILED);
    assert_int_equal(member.reason, 3);
    /* four more: the finished one is pushed out and becomes past */
    for (uint32_t release = 4; release < 7; release++)
        start(r, release);
    md_release_tick(r, 4000);
    for (uint32_t node = 1; node <= 5; node++) {
        report = (struct mp_report){.node = node, .serial = 2, .running = 3, .phase = MP_PHASE_CONFIRMED};
        assert_int_equal(md_release_report(r, 5000, &report), 0);
    }
    md_release_tick(r, 5000);
    start(r, 7);
    assert_int_equal(md_store_save_release(s, r, 6000), 0);
    assert_int_equal(md_store_each_rollout(s, count_rollouts, count), 0);
    assert_int_equal(count[0], 4);
    assert_int_equal(count[1], 1);
    md_release_free(r);
    r = release_of(5);
    assert_int_equal(md_store_load_release(s, r), 0);
    assert_int_equal(md_store_end_rollout(s, 3, 7000), MP_ERR_ABSENT);
    assert_int_equal(md_store_end_rollout(s, 7, 7000), 0);
    md_release_free(r);
    md_store_close(s);
}

static void test_damaged_rollout_is_refused(void **state)
{
    (void)state;
    struct md_store *s = open_good();
    struct md_release *r = release_of(2);
    start(r, 3);
    assert_int_equal(md_store_save_release(s, r, 3000), 0);
    md_release_free(r);
    md_store_close(s);
    outside("UPDATE rollouts SET state = zeroblob(50)");
    s = open_good();
    r = release_of(2);
    assert_int_equal(md_store_load_release(s, r), MD_STORE_CORRUPT);
    assert_non_null(strstr(md_store_error(s), "rollout 3"));
    md_release_free(r);
    md_store_close(s);
}

static void test_signed(void **state)
{
    const uint8_t id[8] = {1, 2, 3}, other[8] = {4};
    (void)state;
    struct md_store *s = open_good();
    assert_int_equal(md_store_is_own(s, id), MP_ERR_ABSENT);
    assert_int_equal(md_store_add_signed(s, 3, 1, id, (const uint8_t *)"object", 6, 99), 0);
    assert_int_equal(md_store_is_own(s, id), 0);
    assert_int_equal(md_store_is_own(s, other), MP_ERR_ABSENT);
    md_store_close(s);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_open_is_private_and_lasting),
        STORE_TEST(test_second_process_is_refused),
        STORE_TEST(test_not_a_database),
        STORE_TEST(test_somebody_elses_database),
        STORE_TEST(test_newer_schema),
        STORE_TEST(test_unreachable),
        STORE_TEST(test_damaged_pages),
        STORE_TEST(test_rollback_restores_the_mirror),
        STORE_TEST(test_full_disk),
        STORE_TEST(test_kill),
        STORE_TEST(test_boot_counter),
        STORE_TEST(test_blobs),
        STORE_TEST(test_records),
        STORE_TEST(test_place_serves_what_was_imported),
        STORE_TEST(test_place_fetches_and_seals),
        STORE_TEST(test_changed_payload_is_noticed),
        STORE_TEST(test_audit_chain),
        STORE_TEST(test_audit_tampering),
        STORE_TEST(test_old_tampering_shows_on_request),
        STORE_TEST(test_rollouts_survive),
        STORE_TEST(test_damaged_rollout_is_refused),
        STORE_TEST(test_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
