/*
 * What the dissemination benchmarks spread: a random payload with its tree, a signed manifest and the stage directive
 * that names it; and what their members do with them, whatever clock and radio they run on.
 *
 * The clock of a run starts with the first frame that names the manifest (its stage directive is accepted everywhere
 * already) and ends when the last node holds every chunk and the SHA-256 over them is right. The floor is what one
 * controller would need to send everything once, and the pipeline to fill: (k + D) * 25 ms / (1 - loss), k = positions
 * of the payload's tree, D = hops to the farthest node.
 */
#ifndef BENCH_PAYLOAD_H
#define BENCH_PAYLOAD_H

#include "member.h"

#define PAYLOAD_PLACE 1

struct payload {
    struct mp_manifest manifest;
    uint8_t raw[MP_MANIFEST_SIZE];
    uint8_t id[8];
};

/* Makes a payload of `size` bytes (1 to MP_IMAGE_MAX) from the seed, signs its manifest and fills the gateway's
 * PAYLOAD_PLACE. Nothing is published yet. 0 or -1. */
int payload_make(struct payload *p, struct member *gateway, const struct sign_fleet *fleet, uint64_t seed,
                 uint32_t size);

/* The gateway adopts and gossips the stage directive; then the manifest, whose payload it serves from then on. 0 or
 * what the engine said. */
int payload_publish_directive(const struct payload *p, struct member *gateway, const struct sign_fleet *fleet,
                              mp_time now);
int payload_publish_manifest(const struct payload *p, struct member *gateway, mp_time now);

/* A node's engine raised something: makes room for the payload once its manifest is there, and fetches it. 0, or -1
 * (memory, or the engine refused the place). */
int payload_accept(struct member *m, mp_time now);
/* Every chunk is held and their SHA-256 is the manifest's. */
bool payload_is_right(const struct payload *p, const struct member *m);

/* A frame (tag and all) that names a manifest: MANIFEST, or a SUMMARY that counts one. */
bool payload_is_named(const uint8_t *frame, size_t len);
/* Seconds. loss_ppm below 1000000. */
double payload_floor_s(uint32_t positions, uint32_t depth, uint32_t loss_ppm);
/* D of a grid with 8 neighbours and the gateway in the corner; one row makes a line. */
uint32_t payload_depth(uint32_t columns, uint32_t rows);

#endif
