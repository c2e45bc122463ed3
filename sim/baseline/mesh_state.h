/*
 * State shared by mesh_net.c (bearer, network) and mesh_sar.c (transport). Private to these two.
 */
#ifndef SIM_BASELINE_MESH_STATE_H
#define SIM_BASELINE_MESH_STATE_H

#include "mesh_net.h"

#define MESH_PDU_MAX 29
#define MESH_NET_HEADER 9
#define MESH_LOCAL_MAX 8
#define MESH_RELAY_MAX 32
#define MESH_CACHE_SETS 64
#define MESH_CACHE_WAYS 4
#define MESH_SEGMENT 12
#define MESH_MIC 4
#define MESH_CONTROL_MIC 8

/* What the end of a PDU's transmissions leads to. */
enum mesh_notify { NOTIFY_NOBODY, NOTIFY_MESSAGE, NOTIFY_SEGMENT };

struct mesh_pdu {
    uint8_t len;
    uint8_t left;   /* transmissions to come */
    uint8_t notify; /* enum mesh_notify */
    uint8_t data[MESH_PDU_MAX];
    sim_time due; /* not before */
};

/* A message being sent. */
struct mesh_tx {
    bool is_active;
    bool is_segmented;
    bool is_group;
    bool was_acked; /* an acknowledgement came since the last segment went out */
    bool is_on_air; /* a segment is with the bearer */
    uint8_t type;
    uint8_t last;    /* index of the last segment */
    uint8_t segment; /* next one, last + 1: all sent in this pass */
    uint8_t attempts, attempts_idle;
    uint16_t to;
    uint16_t sequence; /* SeqZero */
    uint16_t len;      /* with MIC */
    uint32_t open;     /* segments not acknowledged */
    sim_time timer_at;
    sim_time began_at; /* first transmission of the last segment */
    uint8_t head[SIM_MESH_HEAD];
};

/* A message being received, or the last one that was (is_whole). */
struct mesh_rx {
    bool is_used;
    bool is_whole;
    uint8_t last;
    uint8_t tail; /* bytes in the last segment */
    uint16_t from, to;
    uint32_t sequence; /* of its first segment */
    uint32_t got;
    sim_time ack_at, acked_at, discard_at;
    uint8_t head[SIM_MESH_HEAD];
};

struct mesh_node {
    struct mesh_pdu now; /* on the bearer while now.left > 0 */
    struct mesh_pdu local[MESH_LOCAL_MAX];
    struct mesh_pdu relay[MESH_RELAY_MAX];
    uint8_t locals, relays;
    uint8_t relay_first; /* ring */
    bool has_begun;      /* `now` was transmitted at least once */
    uint8_t done;        /* enum mesh_notify, told at done_at */
    sim_time repeat_at;
    sim_time done_at;
    uint32_t sequence;
    struct mesh_tx tx;
    uint32_t cache[MESH_CACHE_SETS][MESH_CACHE_WAYS]; /* 0: empty */
    uint8_t cache_next[MESH_CACHE_SETS];
};

struct sim_mesh {
    struct sim_mesh_config config;
    struct mesh_node *node; /* [own nodes] */
    struct mesh_rx *rx;     /* [own nodes][SIM_MESH_RX], then [SIM_MESH_RX_DISTRIBUTOR] for the distributor */
    size_t rx_count;
};

static inline struct mesh_node *mesh_node_of(const struct sim_mesh *m, uint32_t node)
{
    return &m->node[node - m->config.base->first];
}

/* Contexts for reception of a node; *count of them. */
static inline struct mesh_rx *mesh_rx_of(const struct sim_mesh *m, uint32_t node, unsigned *count)
{
    bool is_distributor = node == m->config.distributor;
    *count = is_distributor ? SIM_MESH_RX_DISTRIBUTOR : SIM_MESH_RX;
    uint32_t at = is_distributor ? m->config.base->count : node - m->config.base->first;
    return m->rx + (size_t)at * SIM_MESH_RX;
}

/* --- mesh_net.c, for transport ----------------------------------------------------------------------------------- */

/* Hands a transport PDU (n bytes, MIC of the network not included) to the network layer. 0, or -1: no room. */
int mesh_net_send(struct sim_mesh *m, uint32_t node, uint16_t to, enum sim_mesh_type type, bool is_control,
                  const uint8_t *pdu, size_t n, enum mesh_notify notify);

/* --- mesh_sar.c, for the network layer --------------------------------------------------------------------------- */

/* sequence: of the network PDU, 24 bits. */
void mesh_sar_receive(struct sim_mesh *m, uint32_t node, sim_time now, uint16_t from, uint16_t to, uint32_t sequence,
                      bool is_control, const uint8_t *pdu, size_t n);
/* The bearer is done with a PDU. */
void mesh_sar_done(struct sim_mesh *m, uint32_t node, sim_time now, enum mesh_notify what);
/* The first transmission of a segment begins. */
void mesh_sar_began(struct sim_mesh *m, uint32_t node, sim_time now);
void mesh_sar_expire(struct sim_mesh *m, uint32_t node, sim_time now);
sim_time mesh_sar_next(const struct sim_mesh *m, uint32_t node);

#endif
