#include "payload.h"

#include <stdlib.h>
#include <string.h>

#include "sim/radio/radio.h"

#define MODEL 1
#define RELEASE 2
#define SUMMARY_COUNTS (MP_HEADER_SIZE + 5)
#define SLOT_S 0.025 /* 20 ms between event starts and 0 to 10 ms at random */

int payload_make(struct payload *p, struct member *gateway, const struct sign_fleet *fleet, uint64_t seed,
                 uint32_t size)
{
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return -1;
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(sim_draw(seed, SIM_DRAW_WORLD, UINT32_MAX, i / 4, 1) >> 8 * (i % 4));
    sign_manifest_fill(&p->manifest, MODEL, RELEASE);
    sign_manifest_image(&p->manifest, bytes, size);
    sign_manifest(p->raw, &p->manifest, &fleet->publisher);
    mp_manifest_id(gateway->env.crypto, p->raw, p->id);
    int result = member_place_fill(gateway, PAYLOAD_PLACE, bytes, size, p->manifest.salt);
    free(bytes);
    return result;
}

int payload_publish_directive(const struct payload *p, struct member *gateway, const struct sign_fleet *fleet,
                              mp_time now)
{
    struct mp_directive d;
    uint8_t object[MP_DIRECTIVE_MAX];
    sign_directive_fill(&d, MP_ACTION_STAGE, MEMBER_NETWORK, RELEASE, 1, p->id);
    size_t len = sign_directive(object, &d, &fleet->release);
    return mp_node_publish(&gateway->engine, &gateway->env, now, MP_TYPE_DIRECTIVE, object, len);
}

int payload_publish_manifest(const struct payload *p, struct member *gateway, mp_time now)
{
    int result = mp_node_publish(&gateway->engine, &gateway->env, now, MP_TYPE_MANIFEST, p->raw, sizeof p->raw);
    if (result != 0)
        return result;
    return mp_node_place(&gateway->engine, &gateway->env, now, PAYLOAD_PLACE, &p->manifest, p->id);
}

int payload_accept(struct member *m, mp_time now)
{
    struct mp_manifest manifest;
    uint8_t id[8];
    for (unsigned i = 0; i < MP_MANIFESTS_MAX && m->place[PAYLOAD_PLACE].data == NULL; i++) {
        if (mp_node_manifest(&m->engine, &m->env, i, &manifest, id) != 0 || manifest.model != MODEL)
            continue;
        if (member_place_open(m, PAYLOAD_PLACE, manifest.payload_size) != 0 ||
            mp_node_place(&m->engine, &m->env, now, PAYLOAD_PLACE, &manifest, id) != 0)
            return -1;
    }
    return 0;
}

bool payload_is_right(const struct payload *p, const struct member *m)
{
    uint8_t digest[32];
    return member_place_sha256(m, PAYLOAD_PLACE, digest) &&
           memcmp(digest, p->manifest.image_sha256, sizeof digest) == 0;
}

bool payload_is_named(const uint8_t *frame, size_t len)
{
    unsigned type = frame[0] & 15;
    return type == MP_TYPE_MANIFEST || (type == MP_TYPE_SUMMARY && len > SUMMARY_COUNTS && frame[SUMMARY_COUNTS] >> 4);
}

double payload_floor_s(uint32_t positions, uint32_t depth, uint32_t loss_ppm)
{
    return (positions + depth) * SLOT_S / (1 - loss_ppm / 1e6);
}

uint32_t payload_depth(uint32_t columns, uint32_t rows)
{
    return (columns > rows ? columns : rows) - 1;
}
