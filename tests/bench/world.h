/*
 * A mesh in virtual time: real engines (proto/mesh) with stores in RAM on the shared medium (sim/world). Used by the
 * dissemination benchmark; as fast as one core allows, and the same seed gives the same run.
 *
 * The host loop of every node is the one of a real host: feed what is heard, expire what is due, and ask for a frame
 * once the minimum gap after the last event's start is over. The controller then adds its random delay, which a host
 * cannot know. Flash and hashing take no virtual time.
 */
#ifndef BENCH_WORLD_H
#define BENCH_WORLD_H

#include "proto/mesh/node.h"
#include "proto/object/tree.h"
#include "sim/world/medium.h"
#include "tests/lib/sign.h"

#define WORLD_NETWORK 7
#define WORLD_PLACES 2
#define WORLD_NODE_ID 1000    /* node i has id WORLD_NODE_ID + i; node 0 is the gateway */
#define WORLD_AD_HEADER 4     /* advertising data before a frame */
#define WORLD_LINK_LOSS 60000 /* mdB between devices that hear each other */
#define WORLD_RECORDS_MAX 16  /* slots of a kind */

struct world;

/* One payload held in RAM. */
struct world_place {
    struct mp_tree tree;
    uint8_t *data;   /* positions * MP_CHUNK_SIZE; NULL: empty place */
    uint8_t *bitmap; /* (positions + 7) / 8 */
    uint32_t held;
};

struct world_record {
    uint16_t len;
    uint8_t data[MP_RECORD_MAX];
};

struct world_node {
    struct world *world;
    uint32_t index;
    uint32_t draws; /* random numbers taken so far */
    mp_time wake;   /* when the host looks at it next */
    mp_time ready;  /* when it may hand the controller a frame: MP_NEVER while an event is waiting or on air */
    struct mp_node engine;
    struct mp_env env;
    struct mp_counters counters;
    struct world_place place[WORLD_PLACES];
    struct world_record record[MP_KIND_COUNT][WORLD_RECORDS_MAX];
};

/* All may be NULL. */
struct world_hooks {
    /* Events an engine raised, right after the call that raised them. */
    void (*raised)(void *ctx, struct world_node *node, uint32_t events);
    /* A frame was heard and handled: what mp_node_receive() said. */
    void (*heard)(void *ctx, struct world_node *node, const uint8_t *frame, size_t len, int result);
    /* A frame's event is over. report->data holds WORLD_AD_HEADER bytes before the frame. */
    void (*sent)(void *ctx, const struct sim_event_report *report);
};

struct world {
    uint32_t count;
    uint64_t seed;
    struct sim_medium *medium;
    struct world_node *node;
    struct sign_fleet fleet;
    struct world_hooks hooks;
    void *ctx;
};

/* count nodes that do not couple yet, engines started at time 0, scanning with the window of the whole interval. 0 or
 * -1 (memory, or an engine that did not start). world_close() in either case. */
int world_open(struct world *w, uint32_t count, uint64_t seed, uint32_t loss_ppm, const struct world_hooks *hooks,
               void *ctx);
void world_close(struct world *w);
/* Couples what is adjacent in a grid (8 neighbours); one row makes a line. columns * rows = count. */
void world_link_grid(struct world *w, uint32_t columns, uint32_t rows);
/* Greatest number of hops between the gateway and any node over those links. */
uint32_t world_depth(uint32_t columns, uint32_t rows);

mp_time world_now(const struct world *w);
/* Runs until `until`, or until *stop is set (by a hook). */
void world_run(struct world *w, mp_time until, const bool *stop);

/* Makes room for a payload, empty. 0, or -1 (memory, size out of range). */
int world_place_open(struct world_node *n, unsigned place, uint32_t size);
/* Fills a place with the payload and its tree, every chunk held. 0 or -1. */
int world_place_fill(struct world_node *n, unsigned place, const uint8_t *payload, uint32_t size,
                     const uint8_t salt[8]);
/* SHA-256 of the leaves. False when not every chunk is held. */
bool world_place_sha256(const struct world_node *n, unsigned place, uint8_t digest[32]);
/* An engine was called from outside of world_run(): handles its events and looks at it again. */
void world_touch(struct world_node *n);

#endif
