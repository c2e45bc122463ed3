/*
 * Chunk tree: geometry, hashes, verification (docs/SPEC.md section 3). Reentrant.
 */
#ifndef MP_TREE_H
#define MP_TREE_H

#include "../mp_types.h"

struct mp_tree {
    uint32_t size;                      /* payload bytes, 1 to MP_IMAGE_MAX */
    uint32_t positions;                 /* k */
    uint8_t levels;                     /* number of levels, leaves included: 1 to MP_TREE_LEVELS_MAX */
    uint32_t first[MP_TREE_LEVELS_MAX]; /* position of the first chunk of each level; [0] = leaves */
    uint32_t count[MP_TREE_LEVELS_MAX]; /* chunks of each level */
};

/* Geometry of a payload. 0, or MP_ERR_FORMAT when size is 0 or above MP_IMAGE_MAX. */
int mp_tree_init(struct mp_tree *t, uint32_t size);
/* Number of positions of a payload (0 for a size out of range); cheap. */
uint32_t mp_tree_positions(uint32_t size);
/* Level and index of a position below t->positions. */
unsigned mp_tree_level(const struct mp_tree *t, uint32_t position, uint32_t *index);
/* Length in bytes of the chunk at a position below t->positions: 1 to 192. */
unsigned mp_tree_length(const struct mp_tree *t, uint32_t position);
/* Position of the parent chunk, and through `at` the byte offset of the child's hash in it. Not for position 0 (its
 * hash is the root): UINT32_MAX. */
uint32_t mp_tree_parent(const struct mp_tree *t, uint32_t position, unsigned *at);
/* Positions of the children of an interior chunk: first, and how many (0 for a leaf). */
unsigned mp_tree_children(const struct mp_tree *t, uint32_t position, uint32_t *first);
/* Truncated hash of a chunk. */
void mp_tree_hash(const struct mp_crypto *crypto, const uint8_t salt[8], unsigned level, uint32_t index,
                  const uint8_t *data, size_t len, uint8_t hash[MP_HASH_SIZE]);

/* Reads len bytes of payload at offset into data: 0 or a negative code, which ends the build with that code. */
typedef int (*mp_tree_read)(void *ctx, uint32_t offset, uint8_t *data, size_t len);
/* Receives each interior chunk once, a parent after its children, each level by index; data is valid during the call.
 * 0 or a negative code, which ends the build with that code. */
typedef int (*mp_tree_emit)(void *ctx, uint32_t position, const uint8_t *data, size_t len);
/* Builds the tree in one pass over the payload, on about 1.2 KB of stack; emit may be NULL. root receives the root
 * hash. */
int mp_tree_build(const struct mp_tree *t, const struct mp_crypto *crypto, const uint8_t salt[8], mp_tree_read read,
                  mp_tree_emit emit, void *ctx, uint8_t root[MP_HASH_SIZE]);

#endif
