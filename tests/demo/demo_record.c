#include "demo_record.h"

#include "proto/mesh/frame.h"
#include "proto/mp_config.h"
#include "proto/mp_wire.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_FIXED 7u /* handle u32, position u24: docs/SPEC.md section 1.3 */

void demo_record_prepare(struct demo *d, struct demo_payload *p, struct demo_release *r, unsigned model)
{
    uint8_t raw[MP_MANIFEST_SIZE], id[32];
    struct mp_manifest m;
    memset(p, 0, sizeof *p);
    p->release = r;
    p->model = model;
    memset(p->from, DEMO_NOBODY, sizeof p->from);
    if (!demo_manifest(d, r, model, raw, &m) || mp_tree_init(&p->tree, m.payload_size) != 0 ||
        p->tree.positions > DEMO_POSITIONS_MAX)
        fleet_fail(&d->fleet, "%s has no payload for model %u that could be followed", r->version, model);
    crypto_hash_sha256(id, raw, sizeof raw);
    p->handle = mp_get32(id);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct reading {
    struct demo *demo;
    struct demo_payload *payload;
    unsigned count;
};

/* 0 the gateway, i + 1 node i of the fleet. */
static unsigned sender_of(struct fleet *f, const char *device)
{
    return strcmp(device, "gw") == 0 ? 0 : (unsigned)(fleet_find(f, device) - f->node) + 1;
}

static bool is_complete(const struct demo *d, const struct demo_payload *p)
{
    for (unsigned i = 0; i < d->nodes; i++)
        if (p->is_measured[i] && p->count[i] < p->tree.positions)
            return false;
    return true;
}

/* Whether it ran this version when the frame was sent. */
static bool ran(const struct fleet_node *n, const char *version, uint64_t at_us)
{
    bool is_so = false;
    for (unsigned i = 0; i < n->boots && n->boot[i].at_us <= at_us; i++)
        is_so = strcmp(n->boot[i].version, version) == 0;
    return is_so;
}

static void take(struct demo *d, struct demo_payload *p, const struct fleet_frame *frame, unsigned sender,
                 uint32_t position)
{
    struct fleet *f = &d->fleet;
    unsigned at;
    const uint32_t parent = mp_tree_parent(&p->tree, position, &at);
    for (unsigned i = 0; i < d->nodes; i++) {
        if (f->node[i].model != p->model || p->from[i][position] != DEMO_NOBODY ||
            (parent != UINT32_MAX && p->from[i][parent] == DEMO_NOBODY) || !fleet_received(frame, f->node[i].name))
            continue;
        p->from[i][position] = (uint8_t)sender;
        p->count[i]++;
        if (p->is_measured[i] && p->count[i] == p->tree.positions)
            p->last_us = frame->at_us;
        if (sender != 0 && f->node[sender - 1].model == p->model)
            p->from_updated[i] += ran(&f->node[sender - 1], p->release->version, frame->at_us);
    }
}

/* Whether it lies in the time of this payload's distribution; false also for the second payload of a release whose
 * first one counts it. */
static bool counts(const struct reading *r, unsigned i, uint64_t at_us)
{
    const struct demo_release *release = r->payload[i].release;
    bool is_complete_all = true;
    if ((double)at_us < release->begun_us || (i > 0 && r->payload[i - 1].release == release))
        return false;
    for (unsigned k = i; k < r->count && r->payload[k].release == release; k++)
        is_complete_all = is_complete_all && is_complete(r->demo, &r->payload[k]);
    return !is_complete_all;
}

static void read_frame(struct fleet *f, const struct fleet_frame *frame, void *ctx)
{
    struct reading *r = ctx;
    for (unsigned i = 0; i < r->count; i++) {
        if (!counts(r, i, frame->at_us))
            continue;
        r->payload[i].release->frames++;
        r->payload[i].release->bytes += (double)frame->len;
    }
    if (frame->len < MP_HEADER_SIZE + CHUNK_FIXED + MP_TAG_SIZE || (frame->frame[0] & 15) != MP_TYPE_CHUNK)
        return;
    const uint32_t handle = mp_get32(frame->frame + MP_HEADER_SIZE);
    const uint32_t position = mp_get24(frame->frame + MP_HEADER_SIZE + 4);
    for (unsigned i = 0; i < r->count; i++)
        if (handle == r->payload[i].handle && position < r->payload[i].tree.positions)
            take(r->demo, &r->payload[i], frame, sender_of(f, frame->device), position);
}

void demo_record_read(struct demo *d, struct demo_payload *payloads, unsigned count)
{
    struct reading reading = {.demo = d, .payload = payloads, .count = count};
    fleet_witness(&d->fleet);
    for (unsigned i = 0; i < count; i++)
        payloads[i].release->frames = payloads[i].release->bytes = 0;
    fleet_frames(&d->fleet, read_frame, &reading);
    for (unsigned i = 0; i < count; i++) {
        struct demo_release *release = payloads[i].release;
        const double seconds = ((double)payloads[i].last_us - release->begun_us) / 1e6;
        for (unsigned k = 0; k < d->nodes; k++)
            if (payloads[i].is_measured[k] && payloads[i].count[k] < payloads[i].tree.positions)
                fleet_fail(&d->fleet, "by the record, %s took only %u of %u chunks of %s", d->fleet.node[k].name,
                           payloads[i].count[k], payloads[i].tree.positions, release->version);
        release->seconds = seconds > release->seconds ? seconds : release->seconds;
    }
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

uint32_t demo_record_relayed(const struct demo *d, const struct demo_payload *p, uint32_t group)
{
    uint32_t count = 0;
    for (uint32_t position = 0; position < p->tree.positions; position++) {
        bool is_relayed = false;
        for (unsigned i = 0; i < d->nodes; i++) {
            const uint8_t from = p->from[i][position];
            is_relayed = is_relayed || ((group >> i & 1) && from != DEMO_NOBODY && from != 0 &&
                                        d->fleet.node[from - 1].model != p->model);
        }
        count += is_relayed;
    }
    return count;
}

uint32_t demo_record_given(const struct demo_payload *p, unsigned from, unsigned to)
{
    uint32_t count = 0;
    for (uint32_t position = 0; position < p->tree.positions; position++)
        count += p->from[to][position] == from + 1;
    return count;
}

uint32_t demo_record_crossed(const struct demo *d, const struct demo_payload *p, unsigned from, unsigned to)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < d->nodes; i++) {
        for (uint32_t position = 0; position < p->tree.positions && d->fleet.node[i].model == p->model; position++) {
            const uint8_t sender = p->from[i][position];
            count += sender != DEMO_NOBODY && sender != 0 && d->fleet.node[sender - 1].model == p->model &&
                     p->slot[sender - 1] == from && p->slot[i] == to;
        }
    }
    return count;
}
