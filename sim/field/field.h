/*
 * The field: where nodes stand, who is in range of whom, and which rank has which nodes.
 *
 * In range means that the mean power received, shadowing, floors and walls included, reaches the sensitivity. The search
 * for links ends where the loss less three standard deviations of the shadowing leaves it: of pairs beyond, one in a
 * thousand or fewer would have coupled. Interference is looked for up to the distance at which its power is 6 dB below
 * the noise, at most three times the range: a single transmitter farther away raises the noise by less than 1 dB, and
 * the sum of many of them is left out.
 *
 * Nodes are numbered in an order that keeps neighbours close (strips of cells along x for generated topologies; as
 * written for line, grid, list and files), and every rank owns one contiguous range of numbers. Every rank knows all
 * positions; links are kept for the nodes it owns and for those of others that reach into its range (its halo). Built
 * from the scenario and the seed alone, so that all ranks agree. Read-only once open.
 */
#ifndef SIM_FIELD_H
#define SIM_FIELD_H

#include "sim/world/scenario.h"

/* A receiver in range of a node. */
struct sim_link {
    uint32_t node : 20;
    uint32_t loss : 12; /* path loss in 1/16 dB, 0 to 255.9 dB, shadowing and walls included */
};
#define SIM_LINK_MDB(link) ((int32_t)((link).loss * 1000u / 16u))

struct sim_field {
    uint32_t count;                /* nodes in the world */
    uint32_t first, limit;         /* own nodes: first to limit-1 */
    struct sim_position *position; /* [count] */
    uint32_t *rank_first;          /* [ranks + 1]: first node of each rank */
    uint32_t *link_at;             /* [count + 1] for own and halo nodes, else empty ranges: index into link[] */
    struct sim_link *link;         /* those of one node ascending by node; on this rank only links to own receivers */
    uint32_t link_count;
    uint64_t *halo_mask; /* [count] bit r: rank r must learn of this node's transmissions: it owns a node in range of
                          * it, or within interference_mm; NULL with one rank */
    /* Square cells, row by row (x fastest), of side range_mm + interference_mm or more: whatever may disturb a receiver
     * of a node stands in the 3 x 3 cells around that node. */
    uint32_t cells_x, cells_y;
    uint32_t *cell_of;       /* [count] y * cells_x + x */
    int32_t range_mm;        /* no link is farther */
    int32_t interference_mm; /* farther away nothing disturbs; at least range_mm */
    uint32_t gateway_count;
    uint32_t *gateway; /* [gateway_count] ascending */
    const struct sim_scenario *scenario;
};

/* Places all nodes of the scenario and links them. 0, or -1 with a sentence in error (memory; too many nodes; a file that
 * cannot be read). sim_field_close() in either case. */
int sim_field_open(struct sim_field *f, const struct sim_scenario *s, unsigned rank, unsigned ranks, char *error,
                   size_t cap);
void sim_field_close(struct sim_field *f);
/* Path loss from a to b in mdB as the model has it (links are rounded from it): distance, shadowing, floors, walls,
 * explicit links of the scenario; SIM_LOSS_NONE: does not couple. */
int32_t sim_field_loss(const struct sim_field *f, uint32_t a, uint32_t b);
/* Links of a node; *count of them. */
static inline const struct sim_link *sim_field_links(const struct sim_field *f, uint32_t node, uint32_t *count)
{
    *count = f->link_at[node + 1] - f->link_at[node];
    return f->link + f->link_at[node];
}
/* Gateways: node numbers, ascending; chosen by the scenario's rule. How many there are; at most cap are written. */
uint32_t sim_field_gateways(const struct sim_field *f, uint32_t *gateways, uint32_t cap);
/* Fewest hops from the nearest of `from` to every node, by links (UINT16_MAX: not reached), and which of them; either
 * may be NULL. Needs all links: builds them for the call when there are several ranks. 0 or -1 (memory). */
int sim_field_hops(const struct sim_field *f, const uint32_t *from, uint32_t n, uint16_t *hops, uint32_t *nearest);
size_t sim_field_bytes(const struct sim_field *f);

#endif
