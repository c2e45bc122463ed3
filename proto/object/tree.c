#include "tree.h"

#include <string.h>

#include "../mp_wire.h"

enum { PREFIX = 16 + 8 + 1 + 4 + 2 };

int mp_tree_init(struct mp_tree *t, uint32_t size)
{
    uint32_t first = 0;
    unsigned level = 0;

    if (size == 0 || size > MP_IMAGE_MAX)
        return MP_ERR_FORMAT;
    memset(t, 0, sizeof *t);
    t->size = size;
    t->count[0] = (size + MP_CHUNK_SIZE - 1) / MP_CHUNK_SIZE;
    for (; t->count[level] > 1; level++)
        t->count[level + 1] = (t->count[level] + MP_TREE_FANOUT - 1) / MP_TREE_FANOUT;
    t->levels = (uint8_t)(level + 1);
    for (unsigned i = t->levels; i-- > 0; first += t->count[i])
        t->first[i] = first;
    t->positions = first;
    return MP_OK;
}

uint32_t mp_tree_positions(uint32_t size)
{
    uint32_t count, sum;

    if (size == 0 || size > MP_IMAGE_MAX)
        return 0;
    count = (size + MP_CHUNK_SIZE - 1) / MP_CHUNK_SIZE;
    for (sum = count; count > 1; sum += count)
        count = (count + MP_TREE_FANOUT - 1) / MP_TREE_FANOUT;
    return sum;
}

unsigned mp_tree_level(const struct mp_tree *t, uint32_t position, uint32_t *index)
{
    unsigned level = 0;

    while (position < t->first[level])
        level++;
    *index = position - t->first[level];
    return level;
}

/* Bytes of a whole level: the payload, or the hashes of the level below. */
static uint32_t level_size(const struct mp_tree *t, unsigned level)
{
    return level == 0 ? t->size : t->count[level - 1] * MP_HASH_SIZE;
}

unsigned mp_tree_length(const struct mp_tree *t, uint32_t position)
{
    uint32_t index;
    unsigned level = mp_tree_level(t, position, &index);
    uint32_t rest = level_size(t, level) - index * MP_CHUNK_SIZE;

    return rest < MP_CHUNK_SIZE ? rest : MP_CHUNK_SIZE;
}

uint32_t mp_tree_parent(const struct mp_tree *t, uint32_t position, unsigned *at)
{
    uint32_t index;
    unsigned level = mp_tree_level(t, position, &index);

    if (level + 1u >= t->levels)
        return UINT32_MAX;
    *at = index % MP_TREE_FANOUT * MP_HASH_SIZE;
    return t->first[level + 1] + index / MP_TREE_FANOUT;
}

unsigned mp_tree_children(const struct mp_tree *t, uint32_t position, uint32_t *first)
{
    uint32_t index;
    unsigned level = mp_tree_level(t, position, &index);

    if (level == 0)
        return 0;
    *first = t->first[level - 1] + index * MP_TREE_FANOUT;
    return mp_tree_length(t, position) / MP_HASH_SIZE;
}

void mp_tree_hash(const struct mp_crypto *crypto, const uint8_t salt[8], unsigned level, uint32_t index,
                  const uint8_t *data, size_t len, uint8_t hash[MP_HASH_SIZE])
{
    struct mp_sha256 state;
    uint8_t block[32];

    memcpy(block, "meshfw-chunk---1", 16);
    memcpy(block + 16, salt, 8);
    block[24] = (uint8_t)level;
    mp_put32(block + 25, index);
    mp_put16(block + 29, (uint32_t)len);
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, block, PREFIX);
    crypto->sha256_update(&state, data, len);
    crypto->sha256_final(&state, block);
    memcpy(hash, block, MP_HASH_SIZE);
}

/* A build in progress: the chunk being filled on each level, and how many of the level are finished. */
struct build {
    const struct mp_tree *t;
    const struct mp_crypto *crypto;
    const uint8_t *salt;
    mp_tree_emit emit;
    void *ctx;
    uint8_t *root;
    uint32_t done[MP_TREE_LEVELS_MAX];
    uint8_t chunk[MP_TREE_LEVELS_MAX][MP_CHUNK_SIZE];
};

/* The leaf in chunk[0] is complete: hashes it and every interior chunk that it completes. */
static int climb(struct build *b)
{
    for (unsigned level = 0;; level++) {
        uint32_t index = b->done[level]++;
        uint32_t position = b->t->first[level] + index;
        unsigned len = mp_tree_length(b->t, position);
        bool is_top = level + 1u == b->t->levels;
        uint8_t *hash = is_top ? b->root : b->chunk[level + 1] + index % MP_TREE_FANOUT * MP_HASH_SIZE;

        mp_tree_hash(b->crypto, b->salt, level, index, b->chunk[level], len, hash);
        if (level > 0 && b->emit != NULL) {
            int error = b->emit(b->ctx, position, b->chunk[level], len);
            if (error < 0)
                return error;
        }
        if (is_top || (b->done[level] % MP_TREE_FANOUT != 0 && b->done[level] != b->t->count[level]))
            return MP_OK;
    }
}

int mp_tree_build(const struct mp_tree *t, const struct mp_crypto *crypto, const uint8_t salt[8], mp_tree_read read,
                  mp_tree_emit emit, void *ctx, uint8_t root[MP_HASH_SIZE])
{
    struct build b = {.t = t, .crypto = crypto, .salt = salt, .emit = emit, .ctx = ctx, .root = root};

    for (uint32_t offset = 0; offset < t->size; offset += MP_CHUNK_SIZE) {
        uint32_t rest = t->size - offset;
        int error = read(ctx, offset, b.chunk[0], rest < MP_CHUNK_SIZE ? rest : MP_CHUNK_SIZE);

        if (error == MP_OK)
            error = climb(&b);
        if (error < 0)
            return error;
    }
    return MP_OK;
}
