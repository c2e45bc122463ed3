/*
 * What the receive benchmarks share: one engine on a store in RAM, a neighbour made of nothing but its frames, and a
 * stopwatch around mp_node_receive(). Anything that does not go as planned ends the program: a rate of refused frames
 * would be worth nothing.
 */
#ifndef TESTS_BENCH_RIG_H
#define TESTS_BENCH_RIG_H

#include "proto/mesh/node.h"
#include "proto/object/tree.h"
#include "tests/lib/sign.h"

enum {
    RIG_NETWORK = 7,
    RIG_SELF = 0x1001,
    RIG_PEER = 0x1002,
    RIG_PAYLOAD = 131072,
    RIG_POSITIONS = 730,
    RIG_SLOTS = 16
};

struct rig_frame {
    size_t len;
    uint8_t bytes[MP_FRAME_MAX];
};

struct rig_record {
    size_t len;
    uint8_t data[MP_RECORD_MAX];
};

struct rig_place {
    bool is_used;
    uint8_t bitmap[RIG_POSITIONS / 8 + 1];
    uint8_t chunk[RIG_POSITIONS][MP_CHUNK_SIZE];
};

struct rig {
    struct mp_node node;
    struct mp_env env;
    struct mp_counters counters;
    mp_time now;
    uint64_t counter; /* of the peer's next frame */
    uint32_t seed;
    uint8_t key[16];
    struct sign_fleet fleet;
    struct rig_record record[MP_KIND_COUNT][RIG_SLOTS];
    struct rig_place place[2];
};

/* A payload of RIG_PAYLOAD bytes with its tree and a signed manifest (release 1). Made once. */
struct rig_image {
    struct mp_manifest manifest;
    uint8_t raw[MP_MANIFEST_SIZE];
    uint8_t id[8];
    uint32_t handle;
    struct mp_tree tree;
    uint8_t bytes[RIG_PAYLOAD];
    uint8_t chunk[RIG_POSITIONS][MP_CHUNK_SIZE];
};

/* Ends the program with a message unless ok. */
void rig_need(bool ok, const char *what);

void rig_image_make(struct rig_image *image);

/* Starts an engine that knows the fleet's keys and nothing else. */
void rig_init(struct rig *r, bool is_gateway);
/* Has it accept the stage directive and the manifest of the image, and puts the payload in `place`: whole or empty. */
void rig_place(struct rig *r, const struct rig_image *image, unsigned place, bool is_whole);

/* Seals the peer's next frame. */
void rig_frame(struct rig *r, struct rig_frame *f, enum mp_type type, const uint8_t *body, size_t len);
/* Hands frames to the engine, `step` of virtual time apart. All must be accepted. Seconds it took, by the clock on the
 * wall. */
double rig_receive(struct rig *r, const struct rig_frame *frames, size_t count, mp_time step);
/* Lets the engine run its timers and send what it wants, for a while of virtual time. */
void rig_run(struct rig *r, mp_time duration);
/* The body of the engine's own next SUMMARY; its length. */
size_t rig_summary(struct rig *r, uint8_t body[MP_BODY_MAX]);

/* Monotonic, in seconds. */
double rig_clock(void);
/* Median of n values, which are sorted in place. */
double rig_median(double *values, size_t n);

#endif
