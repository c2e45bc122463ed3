/*
 * What an attacker has is what its kind says and nothing else: its radio and what it hears (flood, replay, jam), and for
 * an insider also its identity and the network key of its network (forge, sinkhole). Nobody has a signing key or the
 * report key of another node.
 *
 *   flood     frames that look right (network, key id and round of what was heard; sources heard and made up) under tags
 *             drawn at random: what it costs to throw them away
 *   replay    frames heard earlier, unchanged, from a collection in which old ones stay for a while
 *   forge     chunks of the payload that is spread, of the right length, under a valid tag, with bytes drawn at random
 *   sinkhole  SUMMARYs that agree with everybody, claim hop 1 and the whole payload; acknowledges the reports it is
 *             given, passes none on and answers no request
 *   jam       a full frame whenever the radio can take one
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mesh/summary.h"
#include "proto/mp_wire.h"

#define RING 24         /* frames that a replaying attacker keeps */
#define REPORT_FIXED 10 /* bytes of a REPORT before its entries */
#define ENTRIES_MAX 10
#define ACK_ENTRY 6 /* of a REPORT_ACK: node and serial */
#define POSITION_SIZE 7

struct attacker {
    sim_time next;
    uint64_t counter; /* of its own frames */
    uint32_t node;
    uint32_t nonce;
    uint32_t handle; /* of the payload that is spread, 0 unknown */
    uint32_t release;
    uint32_t size;   /* of that payload, 0 unknown */
    uint32_t beyond; /* positions of it that were heard of */
    uint32_t ack_to;
    uint32_t ack_echo;
    uint16_t heard_network;
    uint16_t heard_round;
    uint16_t list_len; /* of the state list below */
    uint8_t heard_key;
    uint8_t has_heard;
    uint8_t list_counts;
    uint8_t ring_count;
    uint8_t ack_count;
    uint8_t ack[ENTRIES_MAX][ACK_ENTRY];
    uint8_t list[MP_SUMMARY_MAX]; /* state list of the newest SUMMARY heard */
    uint8_t ring_len[RING];
    uint8_t ring[RING][MP_FRAME_MAX];
};

struct sim_attacks {
    uint32_t count;
    uint32_t *node; /* attackers of the world, ascending */
    uint32_t own;
    struct attacker *attacker; /* those of this rank, ascending */
};

_Static_assert(MP_FRAME_MAX <= UINT8_MAX, "ring_len holds the length of a frame");

/* --- who attacks -------------------------------------------------------------------------------------------------- */

/* First entry of the list that is not below `node`. */
static uint32_t lower_bound(const struct sim_attacks *a, uint32_t node)
{
    uint32_t low = 0, high = a->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (a->node[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool sim_attack_is(const struct sim_fleet *f, uint32_t node)
{
    if (f->attacks == NULL)
        return false;
    uint32_t i = lower_bound(f->attacks, node);
    return i < f->attacks->count && f->attacks->node[i] == node;
}

static void choose(struct sim_fleet *f, struct sim_attacks *a, uint32_t wanted)
{
    for (uint32_t k = 0; a->count < wanted; k++) {
        uint32_t word[4];
        sim_fleet_draw(f->seed, SIM_FLEET_ATTACK, k, 0, word);
        uint32_t node = sim_scale(word[0], f->field->count), at = lower_bound(a, node);
        if (sim_fleet_is_gateway(f, node) || (at < a->count && a->node[at] == node))
            continue;
        memmove(a->node + at + 1, a->node + at, (a->count - at) * sizeof *a->node);
        a->node[at] = node;
        a->count++;
    }
}

/* States of the attackers that are nodes of this rank. False: out of memory. */
static bool open_own(struct sim_fleet *f, struct sim_attacks *a)
{
    uint32_t first = lower_bound(a, f->field->first);
    a->own = lower_bound(a, f->field->limit) - first;
    a->attacker = calloc(a->own > 0 ? a->own : 1, sizeof *a->attacker);
    for (uint32_t i = 0; a->attacker != NULL && i < a->own; i++)
        a->attacker[i].node = a->node[first + i];
    return a->attacker != NULL;
}

int sim_attack_open(struct sim_fleet *f, char *error, size_t cap)
{
    const struct sim_attack *plan = &f->s->attack;
    uint32_t others = f->field->count - f->gateway_count;
    f->attacks = NULL;
    if (f->is_load || plan->kind == SIM_ATTACK_NONE || plan->nodes == 0)
        return 0;
    if (plan->nodes > others / 2) {
        snprintf(error, cap, "%u attackers among %u nodes that are no gateways: at most half of them",
                 (unsigned)plan->nodes, (unsigned)others);
        return -1;
    }
    struct sim_attacks *a = f->attacks = calloc(1, sizeof *a);
    if (a != NULL)
        a->node = malloc((plan->nodes + 1u) * sizeof *a->node);
    if (a != NULL && a->node != NULL)
        choose(f, a, plan->nodes);
    if (a == NULL || a->node == NULL || !open_own(f, a)) {
        snprintf(error, cap, "out of memory");
        return -1;
    }
    return 0;
}

void sim_attack_close(struct sim_fleet *f)
{
    if (f->attacks != NULL) {
        free(f->attacks->node);
        free(f->attacks->attacker);
    }
    free(f->attacks);
    f->attacks = NULL;
}

static struct attacker *attacker_of(const struct sim_fleet *f)
{
    const struct sim_attacks *a = f->attacks;
    return &a->attacker[lower_bound(a, f->node) - lower_bound(a, f->field->first)];
}

static bool is_insider(const struct sim_fleet *f)
{
    return f->s->attack.kind == SIM_ATTACK_FORGE || f->s->attack.kind == SIM_ATTACK_SINKHOLE;
}

int sim_attack_start(struct sim_fleet *f)
{
    struct attacker *a = attacker_of(f);
    a->next = f->s->attack.from_us > f->now ? f->s->attack.from_us : f->now;
    a->counter = 1u << 24;
    a->nonce = sim_engine_random(f->e, f->node) | 1;
    f->m->flags |= SIM_MEMBER_ATTACKER;
    sim_engine_power(f->e, f->node, true);
    /* duty cycles are for others */
    sim_engine_scan(f->e, f->node, f->s->radio_run.scan_interval_us, f->s->radio_run.scan_window_us);
    return 0;
}

/* --- hearing ------------------------------------------------------------------------------------------------------ */

static void keep(struct sim_fleet *f, struct attacker *a, const uint8_t *frame, size_t len)
{
    unsigned at = a->ring_count < RING ? a->ring_count++ : sim_scale(sim_engine_random(f->e, f->node), RING);
    memcpy(a->ring[at], frame, len);
    a->ring_len[at] = (uint8_t)len;
}

static void learn_payload(struct attacker *a, uint32_t handle, uint32_t position)
{
    if (handle == 0)
        return;
    if (a->handle != handle) {
        a->handle = handle;
        a->size = 0;
        a->beyond = 0;
    }
    if (position >= a->beyond)
        a->beyond = position + 1;
}

static void learn_manifest(struct sim_fleet *f, struct attacker *a, const uint8_t *body, size_t len)
{
    struct mp_manifest m;
    uint8_t id[8];
    if (mp_manifest_get(&m, body, len) != MP_OK || m.release < a->release)
        return;
    mp_manifest_id(f->env.mp.crypto, body, id);
    a->release = m.release;
    learn_payload(a, mp_get32(id), 0);
    a->size = m.payload_size;
}

static void learn_summary(struct attacker *a, const struct mp_header *h, const uint8_t *body, size_t len)
{
    struct mp_summary s;
    if (mp_summary_get(&s, body, len) != MP_OK || s.head_count == 0)
        return;
    if (a->release == 0)
        learn_payload(a, s.target, s.held);
    a->list_len = (uint16_t)(len - MP_SUMMARY_LIST);
    a->list_counts = body[5];
    memcpy(a->list, body + MP_SUMMARY_LIST, a->list_len);
    if (h->round != 0 && mp_round_compare(1, h->round, 1, a->heard_round) > 0)
        a->heard_round = h->round;
}

/* A report that was given to this node: what it owes for it. */
static void learn_report(struct sim_fleet *f, struct attacker *a, const struct mp_header *h, const uint8_t *body,
                         size_t len)
{
    if (len < REPORT_FIXED || mp_get32(body) != f->node + 1 || mp_get32(body + 4) != a->nonce ||
        body[8] > ENTRIES_MAX || len != REPORT_FIXED + (size_t)body[8] * MP_REPORT_ENTRY_SIZE)
        return;
    a->ack_to = h->source;
    a->ack_echo = (uint32_t)h->counter;
    a->ack_count = body[8];
    for (unsigned i = 0; i < a->ack_count; i++)
        memcpy(a->ack[i], body + REPORT_FIXED + (size_t)i * MP_REPORT_ENTRY_SIZE, ACK_ENTRY);
}

static void learn_inside(struct sim_fleet *f, struct attacker *a, const struct mp_header *h, const uint8_t *frame,
                         size_t len)
{
    const uint8_t *body = frame + MP_HEADER_SIZE;
    uint8_t key[16];
    sim_keys_network(&f->keys, sim_fleet_network(f, f->node), key);
    if (h->network != sim_fleet_network(f, f->node) || mp_frame_check(f->env.mp.crypto, frame, len, key) != MP_OK)
        return;
    len -= MP_HEADER_SIZE + MP_TAG_SIZE;
    switch ((enum mp_type)h->type) {
    case MP_TYPE_MANIFEST:
        learn_manifest(f, a, body, len);
        break;
    case MP_TYPE_SUMMARY:
        learn_summary(a, h, body, len);
        break;
    case MP_TYPE_REPORT:
        learn_report(f, a, h, body, len);
        break;
    case MP_TYPE_REQUEST:
    case MP_TYPE_CHUNK:
        if (len > POSITION_SIZE && a->release == 0 && h->type == MP_TYPE_CHUNK)
            learn_payload(a, mp_get32(body), mp_get24(body + 4));
        break;
    case MP_TYPE_DIRECTIVE:
    case MP_TYPE_KEYCHANGE:
    case MP_TYPE_REPORT_ACK:
    case MP_TYPE_RECEIPT:
        break;
    }
}

void sim_attack_receive(struct sim_fleet *f, const uint8_t *frame, size_t len)
{
    struct attacker *a = attacker_of(f);
    struct mp_header h;
    if (len > MP_FRAME_MAX || mp_header_get(&h, frame, len) != MP_OK)
        return;
    a->has_heard = 1;
    a->heard_network = h.network;
    a->heard_key = h.key_id;
    if (f->s->attack.kind == SIM_ATTACK_REPLAY || f->s->attack.kind == SIM_ATTACK_FLOOD)
        keep(f, a, frame, len);
    if (f->s->attack.kind == SIM_ATTACK_FLOOD && h.round != 0)
        a->heard_round = h.round;
    if (is_insider(f))
        learn_inside(f, a, &h, frame, len);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void fill_random(struct sim_fleet *f, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i += 4) {
        uint32_t word = sim_engine_random(f->e, f->node);
        for (size_t k = i; k < len && k < i + 4; k++, word >>= 8)
            out[k] = (uint8_t)word;
    }
}

static size_t write_flood(struct sim_fleet *f, struct attacker *a, uint8_t *buf)
{
    uint32_t word = sim_engine_random(f->e, f->node);
    struct mp_header h = {.type = (uint8_t)(1 + word % 9),
                          .key_id = a->has_heard ? a->heard_key : (uint8_t)(word >> 8),
                          .hop = (uint8_t)(word >> 16 & 3),
                          .network = a->has_heard ? a->heard_network : (uint16_t)sim_engine_random(f->e, f->node),
                          .round = a->heard_round,
                          .source = sim_engine_random(f->e, f->node) >> 4 | 1,
                          .counter = (uint64_t)0xFFFF << 24 | (sim_engine_random(f->e, f->node) & 0xFFFFFF)};
    if (a->ring_count > 0 && (word >> 24 & 1)) /* in the name of somebody who is there */
        h.source = mp_get32(a->ring[(word >> 25) % a->ring_count] + 4);
    size_t len = MP_HEADER_SIZE + MP_TAG_SIZE + sim_scale(sim_engine_random(f->e, f->node), MP_BODY_MAX + 1);
    mp_header_put(buf, &h);
    fill_random(f, buf + MP_HEADER_SIZE, len - MP_HEADER_SIZE);
    return len;
}

static size_t write_replay(struct sim_fleet *f, struct attacker *a, uint8_t *buf)
{
    if (a->ring_count == 0)
        return 0;
    unsigned at = sim_scale(sim_engine_random(f->e, f->node), a->ring_count);
    memcpy(buf, a->ring[at], a->ring_len[at]);
    return a->ring_len[at];
}

/* Header and tag around `len` bytes of body: a frame of a member of the network. */
static size_t seal(struct sim_fleet *f, struct attacker *a, enum mp_type type, uint8_t hop, uint8_t *buf, size_t len)
{
    struct mp_identity id;
    sim_fleet_identity(f, f->node, &id);
    const struct mp_header h = {.type = (uint8_t)type,
                                .key_id = id.key_id[id.key_active],
                                .hop = hop,
                                .network = id.network,
                                .round = a->heard_round,
                                .source = id.node,
                                .counter = a->counter++};
    mp_header_put(buf, &h);
    return mp_frame_seal(f->env.mp.crypto, buf, MP_HEADER_SIZE + len, id.network_key[id.key_active]);
}

static size_t write_forged(struct sim_fleet *f, struct attacker *a, uint8_t *buf)
{
    uint8_t *body = buf + MP_HEADER_SIZE;
    struct mp_tree tree;
    bool is_known = a->size > 0 && mp_tree_init(&tree, a->size) == MP_OK;
    if (a->handle == 0)
        return 0;
    uint32_t position = sim_scale(sim_engine_random(f->e, f->node), is_known ? tree.positions : a->beyond + 16);
    size_t len = is_known ? mp_tree_length(&tree, position) : MP_CHUNK_SIZE;
    mp_put32(body, a->handle);
    mp_put24(body + 4, position);
    fill_random(f, body + POSITION_SIZE, len);
    return seal(f, a, MP_TYPE_CHUNK, MP_HOP_NONE, buf, POSITION_SIZE + len);
}

static size_t write_sinkhole(struct sim_fleet *f, struct attacker *a, uint8_t *buf)
{
    uint8_t *body = buf + MP_HEADER_SIZE;
    if (a->ack_count > 0) {
        size_t len = 8;
        mp_put32(body, a->ack_to);
        mp_put32(body + 4, a->ack_echo);
        for (unsigned i = 0; i < a->ack_count; i++, len += ACK_ENTRY)
            memcpy(body + len, a->ack[i], ACK_ENTRY);
        a->ack_count = 0;
        return seal(f, a, MP_TYPE_REPORT_ACK, 1, buf, len);
    }
    if (a->list_len == 0)
        return 0;
    memset(body, 0, MP_SUMMARY_LIST);
    mp_put32(body, a->nonce);
    body[5] = a->list_counts;
    mp_put32(body + 8, a->handle);
    memcpy(body + MP_SUMMARY_LIST, a->list, a->list_len);
    return seal(f, a, MP_TYPE_SUMMARY, 1, buf, MP_SUMMARY_LIST + (size_t)a->list_len);
}

void sim_attack_expire(struct sim_fleet *f)
{
    (void)f; /* an attacker only ever sends */
}

int sim_attack_write(struct sim_fleet *f, uint8_t *buf, size_t cap)
{
    struct attacker *a = attacker_of(f);
    size_t len = 0;
    if (f->now < a->next || cap < MP_FRAME_MAX)
        return 0;
    a->next = f->now + (f->s->attack.every_us > 0 ? f->s->attack.every_us : 1);
    switch (f->s->attack.kind) {
    case SIM_ATTACK_FLOOD:
        len = write_flood(f, a, buf);
        break;
    case SIM_ATTACK_REPLAY:
        len = write_replay(f, a, buf);
        break;
    case SIM_ATTACK_FORGE:
        len = write_forged(f, a, buf);
        break;
    case SIM_ATTACK_SINKHOLE:
        len = write_sinkhole(f, a, buf);
        break;
    case SIM_ATTACK_JAM:
        a->next = f->now; /* again as soon as the radio is free */
        len = MP_FRAME_MAX;
        fill_random(f, buf, len);
        break;
    case SIM_ATTACK_NONE:
        break;
    }
    return (int)len;
}

sim_time sim_attack_next_expiry(const struct sim_fleet *f)
{
    return attacker_of(f)->next;
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

int sim_attack_save(struct sim_fleet *f, struct sim_archive *a)
{
    uint32_t count = f->attacks != NULL ? f->attacks->own : 0;
    sim_archive_section(a, "ATTK");
    sim_archive_put_count(a, count);
    return count > 0 ? sim_archive_put(a, f->attacks->attacker, count * sizeof *f->attacks->attacker)
                     : -(int)sim_archive_failed(a);
}

static bool is_sound(const struct attacker *a)
{
    for (unsigned i = 0; i < a->ring_count && i < RING; i++)
        if (a->ring_len[i] > MP_FRAME_MAX || a->ring_len[i] < MP_HEADER_SIZE)
            return false;
    return a->ring_count <= RING && a->ack_count <= ENTRIES_MAX && a->list_len <= MP_SUMMARY_MAX - MP_SUMMARY_LIST &&
           a->size <= MP_IMAGE_MAX && a->beyond <= 1u << 24;
}

int sim_attack_load(struct sim_fleet *f, struct sim_archive *a)
{
    uint32_t own = f->attacks != NULL ? f->attacks->own : 0;
    uint64_t count = 0;
    sim_archive_section(a, "ATTK");
    if (sim_archive_get_count(a, &count, own) != 0)
        return -1;
    if (count != own)
        return sim_archive_fail(a, "another number of attackers");
    for (uint32_t i = 0; i < own; i++) {
        struct attacker one;
        if (sim_archive_get(a, &one, sizeof one) != 0)
            return -1;
        if (one.node != f->attacks->attacker[i].node || !is_sound(&one))
            return sim_archive_fail(a, "an attacker is out of range");
        f->attacks->attacker[i] = one;
    }
    return 0;
}
