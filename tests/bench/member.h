/*
 * One member of a mesh with everything in RAM: a real engine (proto/mesh), its store, and up to MEMBER_PLACES payloads.
 * The dissemination benchmarks build their worlds of these, whatever clock and radio they run on.
 */
#ifndef BENCH_MEMBER_H
#define BENCH_MEMBER_H

#include "proto/mesh/node.h"
#include "proto/object/tree.h"
#include "tests/lib/sign.h"

#define MEMBER_NETWORK 7
#define MEMBER_PLACES 2
#define MEMBER_ID 1000        /* member i has node id MEMBER_ID + i; member 0 is the gateway */
#define MEMBER_RECORDS_MAX 16 /* slots of a kind */

/* One payload held in RAM. */
struct member_place {
    struct mp_tree tree;
    uint8_t *data;   /* positions * MP_CHUNK_SIZE; NULL: empty place */
    uint8_t *bitmap; /* (positions + 7) / 8 */
    uint32_t held;
};

struct member_record {
    uint16_t len;
    uint8_t data[MP_RECORD_MAX];
};

struct member {
    uint32_t index;
    uint64_t seed;
    uint32_t draws; /* random numbers taken so far */
    struct mp_node engine;
    struct mp_env env;
    struct mp_counters counters;
    struct member_place place[MEMBER_PLACES];
    struct member_record record[MP_KIND_COUNT][MEMBER_RECORDS_MAX];
};

/* Starts a member that knows the fleet's keys and nothing else; its random numbers follow from seed and index. It must
 * not move from then on. 0 or -1 (the engine did not start). */
int member_open(struct member *m, uint32_t index, uint64_t seed, const struct sign_fleet *fleet, mp_time now);
/* Frees its payloads; also after a failed open, and of a zeroed struct. */
void member_close(struct member *m);

/* Makes room for a payload, empty. 0, or -1 (memory, size out of range). */
int member_place_open(struct member *m, unsigned place, uint32_t size);
/* Fills a place with the payload and its tree, every chunk held. 0 or -1. */
int member_place_fill(struct member *m, unsigned place, const uint8_t *payload, uint32_t size, const uint8_t salt[8]);
/* SHA-256 of the leaves. False when not every chunk is held. */
bool member_place_sha256(const struct member *m, unsigned place, uint8_t digest[32]);

#endif
