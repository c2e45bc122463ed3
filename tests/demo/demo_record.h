/*
 * What the air's record of every frame says of chunks: who took which chunk from whom.
 *
 * A chunk is taken at the first reception at which it can be verified, that is, once the chunk above it in the tree was
 * taken; what comes again, or too early, is not. Nodes follow the same rule (docs/SPEC.md section 3), so a node that
 * was given by its radio all that the record says it received took exactly these.
 */
#ifndef TESTS_DEMO_RECORD_H
#define TESTS_DEMO_RECORD_H

#include "demo.h"
#include "proto/object/tree.h"

#define DEMO_POSITIONS_MAX 1024
#define DEMO_NOBODY 0xFF

/* One payload in the record. */
struct demo_payload {
    struct demo_release *release;
    unsigned model;
    uint32_t handle;
    struct mp_tree tree;
    bool is_measured[FLEET_NODES_MAX]; /* the distribution is measured to this node */
    uint8_t slot[FLEET_NODES_MAX];     /* that the node puts it into */
    /* Who gave it: 0 the gateway, i + 1 node i of the fleet, or nobody. */
    uint8_t from[FLEET_NODES_MAX][DEMO_POSITIONS_MAX];
    uint32_t count[FLEET_NODES_MAX];        /* taken */
    uint32_t from_updated[FLEET_NODES_MAX]; /* of those, from nodes of the same model that ran the image already */
    uint64_t last_us;                       /* when a measured node took its last one */
};

/* Takes handle and tree from the bundle; nothing taken, nobody measured. */
void demo_record_prepare(struct demo *d, struct demo_payload *p, struct demo_release *r, unsigned model);
/* Reads the record (which ends the air) for all these payloads, in the order of their releases' begin, and puts into
 * their releases how long the distribution to the measured nodes took and what all the mesh sent meanwhile. */
void demo_record_read(struct demo *d, struct demo_payload *payloads, unsigned count);

/* How many different chunks of it came into a group (bit i: node i) from nodes of another model, that is, by foreign
 * relay. */
uint32_t demo_record_relayed(const struct demo *d, const struct demo_payload *p, uint32_t group);
/* How many chunks node `from` of the fleet gave to node `to`. */
uint32_t demo_record_given(const struct demo_payload *p, unsigned from, unsigned to);
/* How many chunks nodes with it in slot `from` gave to nodes that were filling slot `to`. */
uint32_t demo_record_crossed(const struct demo *d, const struct demo_payload *p, unsigned from, unsigned to);

#endif
