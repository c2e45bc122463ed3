/*
 * Cache of a member that passes on a payload it cannot use itself: one path of the chunk tree and the children of its
 * last node.
 *
 * Memory of its own, handed in through struct mp_env, so that a part that needs the room for something else (or never
 * relays) leaves it out. All zero is a valid empty cache; it may be wiped at any time between calls.
 */
#ifndef MP_RELAY_H
#define MP_RELAY_H

#include "../mp_types.h"

#define MP_RELAY_WANTED_BYTES 128
#define MP_RELAY_PATH_MAX (MP_TREE_LEVELS_MAX - 1) /* interior levels */

struct mp_relay {
    uint32_t handle; /* payload being relayed, 0 none */
    uint32_t size;
    uint8_t salt[8];
    uint8_t root[MP_HASH_SIZE];
    uint32_t path_position[MP_RELAY_PATH_MAX]; /* from the top down to the node whose children are relayed */
    uint8_t path_count;                        /* 0: the window is the top chunk alone */
    uint8_t path_held;                         /* bit i: path_data[i] is verified */
    uint16_t held;                             /* bit i: data[i] is verified */
    uint32_t first;                            /* position of data[0] */
    uint8_t count;                             /* chunks in the window */
    uint32_t wanted_base;
    uint8_t wanted[MP_RELAY_WANTED_BYTES]; /* what neighbours asked for and was not passed on yet */
    uint8_t path_data[MP_RELAY_PATH_MAX][MP_CHUNK_SIZE];
    uint8_t data[MP_TREE_FANOUT][MP_CHUNK_SIZE];
};

#endif
