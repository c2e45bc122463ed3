/*
 * A mesh of real engines for tests: stores in RAM whose calls fail on demand, a link between every two nodes with a
 * loss of its own, virtual time, and a hand to forge frames with. No collisions: tests/bench has the radio. The host's
 * part (opening a place, committing reports, persisting counters) is done by the rig unless a test takes it over.
 *
 * Anything that can never be right ends the program with a message: a chunk reaching the store that is not the signed
 * payload's, a frame longer than the bearer's, an engine that wants to run again and again without getting anywhere.
 */
#ifndef TESTS_MESH_RIG_H
#define TESTS_MESH_RIG_H

#include "proto/mesh/node.h"
#include "proto/mesh/relay.h"
#include "proto/object/tree.h"
#include "tests/lib/sign.h"

enum {
    MESH_NODES_MAX = 26,
    MESH_SLOTS = 16,
    MESH_NETWORK = 7,
    MESH_KEY_ID = 1,
    MESH_ID = 0x1000,       /* node i has the id MESH_ID + i */
    MESH_STRANGER = 0x9000, /* forged sources */
    MESH_LOG = 8192,
    MESH_TYPES = 16,
    MESH_AIR_MS = 25 /* what a frame takes from one node's bearer */
};

/* A payload with its tree and signed manifest. */
struct mesh_image {
    struct mp_manifest manifest;
    uint8_t raw[MP_MANIFEST_SIZE];
    uint8_t id[8];
    uint32_t handle;
    struct mp_tree tree;
    uint8_t *chunk; /* positions times MP_CHUNK_SIZE */
};

struct mesh;

/* What a node keeps across reboots, and what it was told once. */
struct mesh_node {
    struct mesh *mesh;
    unsigned index;
    struct mp_node engine;
    struct mp_env env;
    struct mp_counters counters;
    struct mp_relay relay;
    struct mp_identity identity;
    uint16_t len[MP_KIND_COUNT][MESH_SLOTS];
    uint8_t record[MP_KIND_COUNT][MESH_SLOTS][MP_RECORD_MAX];
    const struct mesh_image *image[MP_PLACES_MAX]; /* NULL: place not open */
    uint8_t *bitmap[MP_PLACES_MAX];
    uint32_t events;       /* all since the last mesh_take_events() */
    uint32_t draws;        /* random state */
    uint32_t fail_puts;    /* the next so many put and chunk_put calls fail */
    uint32_t fail_gets;    /* the next so many get and chunk_get calls fail */
    uint32_t fail_every;   /* every nth call to the store fails, 0 none */
    uint32_t fail_percent; /* so many calls to the store fail at random */
    uint32_t calls;        /* to the store */
    uint32_t put_count;    /* successful puts of records */
    mp_time free_at;       /* bearer */
    uint16_t model;        /* opens a place for this model's manifests, 0 none */
    bool is_off;           /* neither hears nor runs */
    bool is_committing;    /* gateway: commits custody at once */
};

/* A frame that went out. */
struct mesh_sent {
    mp_time at;
    unsigned node;
    size_t len;
    uint8_t frame[MP_FRAME_MAX];
};

struct mesh {
    mp_time now;
    unsigned count;
    uint32_t seed;
    struct sign_fleet fleet;
    uint8_t key[16];
    uint8_t loss[MESH_NODES_MAX][MESH_NODES_MAX]; /* percent from, to; 100: no link */
    struct mesh_node node[MESH_NODES_MAX];
    /* Sees every frame that goes out; false keeps it from everybody. May be NULL. */
    bool (*on_frame)(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len);
    const struct mesh_image *const *images; /* NULL-ended: what nodes of a model open when the manifest comes */
    unsigned sent_count;                    /* frames logged; older ones are overwritten */
    struct mesh_sent sent[MESH_LOG];
    /* header fields of forged frames */
    uint64_t forged_counter;
    uint16_t forged_round;
    uint8_t forged_hop;
};

/* Ed25519 checks since the program started, by all engines. */
extern unsigned long mesh_verifies;

/* Allocates a mesh of `count` nodes that knows the fleet's keys; node 0 is the gateway. Nobody hears anybody. now is
 * where virtual time begins. mesh_free() frees it. */
struct mesh *mesh_new(unsigned count, mp_time now, uint32_t seed);
void mesh_free(struct mesh *mesh);
/* Both ways. */
void mesh_link(struct mesh *mesh, unsigned a, unsigned b, unsigned loss_percent);
/* 0 - 1 - 2 - ... */
void mesh_line(struct mesh *mesh, unsigned loss_percent);
void mesh_full(struct mesh *mesh, unsigned loss_percent);
/* Restarts a node's engine from its store, with the next boot number. */
void mesh_boot(struct mesh *mesh, unsigned i);

void mesh_run(struct mesh *mesh, mp_time duration);
/* Runs until done() says so, at most for `limit`; whether it did. */
bool mesh_until(struct mesh *mesh, mp_time limit, bool (*done)(const struct mesh *mesh));
/* Lets one node send all it wants now, unheard by anybody; frames. */
unsigned mesh_drain(struct mesh *mesh, unsigned i);
uint32_t mesh_take_events(struct mesh *mesh, unsigned i);

/* Seals a frame into out[MP_FRAME_MAX] under the network key and the next forged counter; its length. */
size_t mesh_seal(struct mesh *mesh, uint8_t *out, uint32_t source, unsigned type, const uint8_t *body, size_t len);
/* Seals and hands to node `to`: what its engine says. */
int mesh_forge(struct mesh *mesh, unsigned to, uint32_t source, unsigned type, const uint8_t *body, size_t len);
/* Makes `source` a neighbour of node `to` with an empty state list; nonce not 0. */
int mesh_greet(struct mesh *mesh, unsigned to, uint32_t source, uint32_t nonce, uint32_t home, uint32_t target,
               uint32_t held);
/* The newest frame of a type that node i sent at or after `since`, or NULL. */
const struct mesh_sent *mesh_last(const struct mesh *mesh, unsigned i, unsigned type, mp_time since);

/* Makes a payload of pseudo-random bytes and signs its manifest. mesh_image_free() frees it. */
struct mesh_image *mesh_image_new(const struct mesh *mesh, uint16_t model, uint32_t release, uint32_t size);
void mesh_image_free(struct mesh_image *image);
/* Opens a place for a payload, whole or empty, and tells the engine. */
void mesh_open(struct mesh *mesh, unsigned i, unsigned place, const struct mesh_image *image, bool is_whole);
void mesh_close(struct mesh *mesh, unsigned i, unsigned place);
/* A CHUNK body; its length. */
size_t mesh_chunk_body(const struct mesh_image *image, uint32_t position, uint8_t *body);

/* Publishes at node i; what the engine says. */
int mesh_publish(struct mesh *mesh, unsigned i, unsigned type, const uint8_t *object, size_t len);
/* Signs a directive that names `count` images and publishes it at node i. */
int mesh_direct(struct mesh *mesh, unsigned i, enum mp_action action, uint32_t release, uint32_t sequence,
                uint32_t floor, const struct mesh_image *const *images, unsigned count);
/* Stage directive and manifest of one image at node i, which must take both. */
void mesh_release(struct mesh *mesh, unsigned i, const struct mesh_image *image);
/* Signs a receipt for enrolment indices 0 to count-1 with these serials and publishes it at node i. */
int mesh_receipt(struct mesh *mesh, unsigned i, uint16_t round, const uint16_t *serials, unsigned count);

/* Whether all running nodes show the same state list and round. */
bool mesh_agrees(const struct mesh *mesh);
/* Whether a place holds every chunk. */
bool mesh_has(const struct mesh *mesh, unsigned i, unsigned place);

#endif
