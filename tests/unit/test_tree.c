/* Chunk tree: vectors, geometry at every boundary, hashes, the one-pass build against a naive one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/tree.h"
#include "tests/lib/vectors.h"

static const uint8_t salt[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* Sizes around every change of the tree's shape: multiples of a subtree of each height, and the ends. */
static size_t boundary_sizes(uint32_t *out, size_t cap)
{
    size_t n = 0;

    for (uint64_t subtree = 192; subtree <= MP_IMAGE_MAX; subtree *= 16)
        for (uint64_t times = 1; times <= 17; times++)
            for (int64_t near = -1; near <= 1; near++) {
                uint64_t size = subtree * times + (uint64_t)near;
                if (size <= MP_IMAGE_MAX && n < cap)
                    out[n++] = (uint32_t)size;
            }
    for (uint32_t size = 1; size <= 200; size++)
        out[n++] = size;
    out[n++] = MP_IMAGE_MAX - 1;
    out[n++] = MP_IMAGE_MAX;
    return n;
}

static void sizes_out_of_range_have_no_tree(void **state)
{
    struct mp_tree t;
    (void)state;

    assert_int_equal(mp_tree_init(&t, 0), MP_ERR_FORMAT);
    assert_int_equal(mp_tree_init(&t, MP_IMAGE_MAX + 1), MP_ERR_FORMAT);
    assert_int_equal(mp_tree_init(&t, UINT32_MAX), MP_ERR_FORMAT);
    assert_int_equal(mp_tree_positions(0), 0);
    assert_int_equal(mp_tree_positions(MP_IMAGE_MAX + 1), 0);
    assert_int_equal(mp_tree_positions(UINT32_MAX), 0);
    assert_int_equal(mp_tree_init(&t, MP_IMAGE_MAX), MP_OK);
    assert_int_equal(t.levels, MP_TREE_LEVELS_MAX);
    assert_int_equal(t.positions, 93211);
}

/* One position: its place, length, parent and children agree with each other. */
static void check_position(const struct mp_tree *t, uint32_t position)
{
    uint32_t index, first = 0, level_bytes;
    unsigned level = mp_tree_level(t, position, &index), at = 0, children;
    unsigned len = mp_tree_length(t, position);

    assert_true(level < t->levels && index < t->count[level]);
    assert_int_equal(t->first[level] + index, position);
    level_bytes = level == 0 ? t->size : 12 * t->count[level - 1];
    assert_int_equal(len, index + 1 < t->count[level] ? 192 : level_bytes - 192 * (t->count[level] - 1));
    assert_in_range(len, 1, 192);
    children = mp_tree_children(t, position, &first);
    assert_int_equal(children, level == 0 ? 0 : len / 12);
    for (unsigned i = 0; i < children; i++) {
        assert_int_equal(mp_tree_parent(t, first + i, &at), position);
        assert_int_equal(at, 12 * i);
    }
    if (position == 0) {
        assert_int_equal(mp_tree_parent(t, 0, &at), UINT32_MAX);
    } else {
        uint32_t parent = mp_tree_parent(t, position, &at);

        assert_true(parent < position);
        children = mp_tree_children(t, parent, &first);
        assert_int_equal(first + at / 12, position);
        assert_true(at % 12 == 0 && at / 12 < children);
        assert_true(at + 12 <= mp_tree_length(t, parent));
    }
}

static void positions_parents_and_children_agree(void **state)
{
    static uint32_t sizes[1000];
    size_t n = boundary_sizes(sizes, 700);
    (void)state;

    for (size_t i = 0; i < n; i++) {
        struct mp_tree t;
        uint32_t leaves = (sizes[i] + 191) / 192, sum = 0, stride;

        assert_int_equal(mp_tree_init(&t, sizes[i]), MP_OK);
        assert_int_equal(t.count[0], leaves);
        assert_int_equal(t.count[t.levels - 1], 1);
        assert_int_equal(t.first[t.levels - 1], 0);
        for (unsigned level = 0; level < t.levels; level++)
            sum += t.count[level];
        assert_int_equal(sum, t.positions);
        assert_int_equal(mp_tree_positions(sizes[i]), t.positions);
        /* Every position of small trees; of big ones a stride and both ends of every level. */
        stride = t.positions < 2000 ? 1 : 61;
        for (uint32_t position = 0; position < t.positions; position += stride)
            check_position(&t, position);
        for (unsigned level = 0; level < t.levels; level++) {
            check_position(&t, t.first[level]);
            check_position(&t, t.first[level] + t.count[level] - 1);
        }
    }
}

static void every_position_of_the_biggest_tree(void **state)
{
    struct mp_tree t;
    (void)state;

    assert_int_equal(mp_tree_init(&t, MP_IMAGE_MAX), MP_OK);
    for (uint32_t position = 0; position < t.positions; position++)
        check_position(&t, position);
}

static void every_input_of_the_hash_counts(void **state)
{
    uint8_t data[192], base[12], other[12], salted[8];
    (void)state;

    vectors_noise(1, data, sizeof data);
    mp_tree_hash(crypto_sodium(), salt, 1, 258, data, 100, base);
    mp_tree_hash(crypto_sodium(), salt, 1, 258, data, 100, other);
    assert_memory_equal(base, other, 12);
    mp_tree_hash(crypto_sodium(), salt, 2, 258, data, 100, other);
    assert_memory_not_equal(base, other, 12);
    mp_tree_hash(crypto_sodium(), salt, 1, 259, data, 100, other);
    assert_memory_not_equal(base, other, 12);
    mp_tree_hash(crypto_sodium(), salt, 1, 258 + 65536, data, 100, other);
    assert_memory_not_equal(base, other, 12);
    mp_tree_hash(crypto_sodium(), salt, 1, 258, data, 99, other);
    assert_memory_not_equal(base, other, 12);
    memcpy(salted, salt, 8);
    salted[7] ^= 1;
    mp_tree_hash(crypto_sodium(), salted, 1, 258, data, 100, other);
    assert_memory_not_equal(base, other, 12);
    for (size_t bit = 0; bit < 800; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        mp_tree_hash(crypto_sodium(), salt, 1, 258, data, 100, other);
        assert_memory_not_equal(base, other, 12);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* A payload, and where the interior chunks of a build go. */
struct payload {
    const uint8_t *data;
    uint32_t size;
    uint32_t next; /* offset that the next read must have */
    const struct mp_tree *tree;
    uint8_t *chunks; /* 192 bytes a position */
    uint8_t *seen;
    int fail_after; /* calls until an error, below 0 never */
};

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    struct payload *p = ctx;

    assert_int_equal(offset, p->next);
    assert_true(len >= 1 && len <= 192 && offset + len <= p->size);
    if (p->fail_after >= 0 && p->fail_after-- == 0)
        return MP_ERR_STORE;
    memcpy(data, p->data + offset, len);
    p->next += (uint32_t)len;
    return 0;
}

static int payload_emit(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct payload *p = ctx;
    uint32_t first, index;
    unsigned children;

    if (p->fail_after >= 0 && p->fail_after-- == 0)
        return MP_ERR_ROOM;
    assert_true(position < p->tree->first[0]);
    assert_int_equal(p->seen[position], 0);
    assert_int_equal(len, mp_tree_length(p->tree, position));
    if (mp_tree_level(p->tree, position, &index) > 1) {
        children = mp_tree_children(p->tree, position, &first);
        for (unsigned i = 0; i < children; i++)
            assert_int_equal(p->seen[first + i], 1);
    }
    if (index > 0)
        assert_int_equal(p->seen[position - 1], 1);
    p->seen[position] = 1;
    memcpy(p->chunks + 192 * (size_t)position, data, len);
    return 0;
}

static void sha256_12(const uint8_t *prefix, size_t prefix_len, const uint8_t *data, size_t len, uint8_t out[12])
{
    const struct mp_crypto *crypto = crypto_sodium();
    struct mp_sha256 state;
    uint8_t digest[32];

    crypto->sha256_init(&state);
    crypto->sha256_update(&state, prefix, prefix_len);
    crypto->sha256_update(&state, data, len);
    crypto->sha256_final(&state, digest);
    memcpy(out, digest, 12);
}

/* The tree from the specification's words, top down: the hash of chunk `index` of a level, by recursion. Returns how
 * many bytes of that level's content the chunk holds, 0 when the payload does not reach that far. */
static unsigned naive_hash(const struct payload *p, unsigned level, uint32_t index, uint8_t out[12])
{
    uint8_t data[192], prefix[31] = "meshfw-chunk---1";
    unsigned len = 0;

    if (level == 0) {
        uint64_t from = 192ull * index;

        if (from >= p->size)
            return 0;
        len = p->size - from < 192 ? (unsigned)(p->size - from) : 192;
        memcpy(data, p->data + from, len);
    } else {
        for (unsigned i = 0; i < 16 && naive_hash(p, level - 1, 16 * index + i, data + len) > 0; i++)
            len += 12;
        if (len == 0)
            return 0;
    }
    memcpy(prefix + 16, salt, 8);
    prefix[24] = (uint8_t)level;
    for (unsigned i = 0; i < 4; i++)
        prefix[25 + i] = (uint8_t)(index >> (8 * i));
    prefix[29] = (uint8_t)len;
    prefix[30] = 0;
    sha256_12(prefix, sizeof prefix, data, len, out);
    return len;
}

static void check_build(const uint8_t *noise, uint32_t size)
{
    uint8_t root[12], again[12], naive[12], hash[12];
    struct mp_tree t;
    struct payload p = {.data = noise, .size = size, .tree = &t, .fail_after = -1};

    assert_int_equal(mp_tree_init(&t, size), MP_OK);
    p.chunks = calloc(t.positions, 192);
    p.seen = calloc(t.positions, 1);
    assert_non_null(p.chunks);
    assert_non_null(p.seen);
    assert_int_equal(mp_tree_build(&t, crypto_sodium(), salt, payload_read, payload_emit, &p, root), MP_OK);
    assert_int_equal(p.next, size);
    naive_hash(&p, t.levels - 1u, 0, naive);
    assert_memory_equal(root, naive, 12);
    p.next = 0;
    assert_int_equal(mp_tree_build(&t, crypto_sodium(), salt, payload_read, NULL, &p, again), MP_OK);
    assert_memory_equal(root, again, 12);
    /* A receiver's view: every chunk verifies against its parent, the first against the root. */
    for (uint32_t position = 0; position < t.positions; position++) {
        uint32_t index, parent;
        unsigned at = 0, level = mp_tree_level(&t, position, &index), len = mp_tree_length(&t, position);
        const uint8_t *data = level == 0 ? noise + 192 * (size_t)index : p.chunks + 192 * (size_t)position;

        assert_int_equal(p.seen[position], level > 0);
        parent = mp_tree_parent(&t, position, &at);
        mp_tree_hash(crypto_sodium(), salt, level, index, data, len, hash);
        assert_memory_equal(hash, position == 0 ? root : p.chunks + 192 * (size_t)parent + at, 12);
    }
    free(p.chunks);
    free(p.seen);
}

static void the_build_agrees_with_a_naive_one(void **state)
{
    static const uint32_t sizes[] = {1,     2,     11,    12,    191,   192,    193,    383,    384,    385,
                                     3071,  3072,  3073,  6143,  6144,  6145,   46080,  46081,  49151,  49152,
                                     49153, 52224, 52225, 98304, 98305, 131072, 786431, 786432, 786433, 800000};
    uint8_t *noise = malloc(MP_IMAGE_MAX);
    (void)state;

    assert_non_null(noise);
    vectors_noise(5, noise, MP_IMAGE_MAX);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_build(noise, sizes[i]);
    check_build(noise, MP_IMAGE_MAX);
    free(noise);
}

static void an_error_ends_the_build(void **state)
{
    static uint8_t noise[10000], chunks[100 * 192], seen[100];
    uint8_t root[12];
    struct mp_tree t;
    int calls = 0;
    (void)state;

    vectors_noise(6, noise, sizeof noise);
    assert_int_equal(mp_tree_init(&t, sizeof noise), MP_OK);
    for (int result = MP_ERR_STORE; result != MP_OK; calls++) {
        struct payload p = {
            .data = noise, .size = sizeof noise, .tree = &t, .chunks = chunks, .seen = seen, .fail_after = calls};

        memset(seen, 0, sizeof seen);
        result = mp_tree_build(&t, crypto_sodium(), salt, payload_read, payload_emit, &p, root);
        assert_true(result == MP_OK || result == MP_ERR_STORE || result == MP_ERR_ROOM);
    }
    /* One call a leaf, one an interior chunk, and the last round without an error. */
    assert_int_equal(calls, t.positions + 1);
}

static void vectors_match(void **state)
{
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "tree"); vectors_next(&v);) {
        uint32_t size = (uint32_t)vectors_int(&v, "size");
        uint8_t *noise = malloc(size), own_salt[8], wanted[12], root[12];
        struct mp_tree t;
        struct payload p = {.data = noise, .size = size, .tree = &t, .fail_after = -1};

        assert_non_null(noise);
        vectors_noise((uint32_t)vectors_int(&v, "seed"), noise, size);
        vectors_hex(&v, "salt", own_salt, 8);
        vectors_hex(&v, "root", wanted, 12);
        assert_int_equal(mp_tree_init(&t, size), MP_OK);
        assert_int_equal(t.positions, vectors_int(&v, "positions"));
        assert_int_equal(mp_tree_build(&t, crypto_sodium(), own_salt, payload_read, NULL, &p, root), MP_OK);
        assert_memory_equal(root, wanted, 12);
        free(noise);
    }
    assert_int_equal(v.count, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_out_of_range_have_no_tree),
        cmocka_unit_test(positions_parents_and_children_agree),
        cmocka_unit_test(every_position_of_the_biggest_tree),
        cmocka_unit_test(every_input_of_the_hash_counts),
        cmocka_unit_test(the_build_agrees_with_a_naive_one),
        cmocka_unit_test(an_error_ends_the_build),
        cmocka_unit_test(vectors_match),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
