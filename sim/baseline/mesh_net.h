/*
 * Bluetooth mesh below the models: advertising bearer, network layer with managed flooding, and the lower transport
 * layer's segmentation and reassembly, for the nodes of one rank. Internal to sim/baseline; mesh_dfu.c is its user.
 *
 * Follows the Mesh Protocol specification v1.1 (MshPRT) and, where that leaves things open, Zephyr's implementation
 * (subsys/bluetooth/mesh: adv, net.c, transport.c) with its default configuration and the SAR settings of the nRF
 * Connect SDK's mesh DFU samples. Sizes are those of the specification; keys are not used, MICs are counted.
 *
 *   Bearer     One PDU at a time in legacy advertising, AD header 2 bytes; local ones before relayed ones, at most 8
 *              and 32 waiting, what comes on top is lost. Each is sent `transmits` (relayed: `relay_transmits`) times,
 *              20 ms and the radio's random delay apart.
 *   Network    Header 9 bytes, MIC 4 (control PDUs 8). A cache of 256 (source, sequence) drops repetitions; a PDU not
 *              for this node alone is relayed with TTL - 1 while its TTL is 2 or more, after a random delay of up to 20
 *              ms as MshPRT recommends, so that neighbours do not begin at once. Every node relays.
 *   Transport  Messages of up to 11 bytes travel in one PDU, longer ones in segments of 12 bytes (at most 32), MIC of 4
 *              bytes included, 60 ms apart from start to start (or when the bearer is done). To a group all segments go
 *              three times, with 250 ms after each pass. To one node what is not acknowledged is repeated after 200 ms
 *              and 50 ms for each of TTL - 1, in at most 6 passes and 4 without progress. A receiver acknowledges a
 *              whole message at once, else 1.36 s (at most) after a new segment, drops what stood still for 10 s, and
 *              reassembles at most two messages at a time, the distributor ten.
 *
 * A message is known by its length and its first SIM_MESH_HEAD bytes; the rest is content that nobody looks at. The
 * network identifier (constant in a real network) carries the statistics' type.
 *
 * Timers of a node, all behind sim_mesh_next(): repetition of a PDU, bearer done, next segment or repetition of the
 * message being sent, acknowledgement and discarding of each message being received.
 */
#ifndef SIM_BASELINE_MESH_NET_H
#define SIM_BASELINE_MESH_NET_H

#include "common.h"

#define SIM_MESH_HEAD 40
#define SIM_MESH_MESSAGE_MAX 380 /* bytes of an access message without MIC */
#define SIM_MESH_NODES_MAX 32767 /* unicast addresses */
#define SIM_MESH_GROUP 0xC000u   /* first group address */
#define SIM_MESH_RX 2            /* messages being received, by a node and by the distributor */
#define SIM_MESH_RX_DISTRIBUTOR 10

/* Types of frames: values of sim_frame.type. */
enum sim_mesh_type { SIM_MESH_DATA, SIM_MESH_ACK, SIM_MESH_REQUEST, SIM_MESH_STATUS };

struct sim_mesh_ops {
    /* A whole message for this node. head has min(len, SIM_MESH_HEAD) bytes. May send. */
    void (*message)(void *ctx, uint32_t node, sim_time now, uint16_t from, bool is_group, const uint8_t *head,
                    size_t len);
    /* What sim_mesh_send() took has been sent, acknowledged, or given up. May send. */
    void (*sent)(void *ctx, uint32_t node, sim_time now);
    /* Whether the node is subscribed to a group. */
    bool (*listens)(void *ctx, uint32_t node, uint16_t group);
};

struct sim_mesh_config {
    struct sim_baseline *base; /* must outlive the mesh */
    const struct sim_mesh_ops *ops;
    void *ctx;
    uint32_t distributor;                    /* node */
    uint8_t ttl, transmits, relay_transmits; /* ttl 1 to 127, transmissions in all 1 to 8 */
};

struct sim_mesh;

/* NULL: out of memory. */
struct sim_mesh *sim_mesh_open(const struct sim_mesh_config *config);
void sim_mesh_close(struct sim_mesh *m);
static inline uint16_t sim_mesh_address(uint32_t node)
{
    return (uint16_t)(node + 1);
}
/* True while a message of this node is on its way: sim_mesh_send() refuses another. */
bool sim_mesh_is_sending(const struct sim_mesh *m, uint32_t node);
/* Sends a message of len bytes (1 to SIM_MESH_MESSAGE_MAX) that begins with head[min(len, SIM_MESH_HEAD)]; sent() tells
 * the end of it. 0, or -1: another one is being sent. */
int sim_mesh_send(struct sim_mesh *m, uint32_t node, sim_time now, uint16_t to, enum sim_mesh_type type,
                  const uint8_t *head, size_t len);
/* As in struct sim_stack. */
void sim_mesh_receive(struct sim_mesh *m, uint32_t node, sim_time now, const struct sim_heard *heard);
void sim_mesh_expire(struct sim_mesh *m, uint32_t node, sim_time now);
int sim_mesh_write(struct sim_mesh *m, uint32_t node, sim_time now, struct sim_frame *frame);
sim_time sim_mesh_next(const struct sim_mesh *m, uint32_t node);
int sim_mesh_save(const struct sim_mesh *m, struct sim_archive *a);
int sim_mesh_load(struct sim_mesh *m, struct sim_archive *a);

#endif
