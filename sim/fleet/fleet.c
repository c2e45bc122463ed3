#include "fleet.h"

#include <stdlib.h>
#include <string.h>

#include "attack.h"
#include "fleet_state.h"
#include "gateway.h"
#include "life.h"
#include "node.h"

#define ASK_AGAIN MP_MS(1) /* who is due but has nothing to say */
enum { LINE = 64, TYPE_ATTACK = 15 };

/* --- the engine's calls ------------------------------------------------------------------------------------------- */

static bool is_gateway(const struct sim_fleet *f)
{
    return (f->m->flags & SIM_MEMBER_GATEWAY) != 0;
}

static bool is_attacker(const struct sim_fleet *f)
{
    return (f->m->flags & SIM_MEMBER_ATTACKER) != 0;
}

static void arm(struct sim_fleet *f)
{
    sim_time next;

    if (is_attacker(f)) {
        f->m->next = sim_attack_next_expiry(f);
    } else if (is_gateway(f)) {
        next = sim_clock_engine(f->m, mp_node_next_expiry(&f->n->mp));
        f->m->next = sim_gateway_next_expiry(f);
        if (next < f->m->next)
            f->m->next = next;
    } else {
        sim_node_arm(f);
    }
}

static int start_member(struct sim_fleet *f)
{
    if (is_attacker(f)) {
        sim_engine_power(f->e, f->node, true);
        return sim_attack_start(f);
    }
    if (is_gateway(f)) {
        sim_engine_power(f->e, f->node, true);
        return sim_gateway_start(f);
    }
    if (!f->is_load && f->lives != NULL && !sim_life_start(f))
        return 0;
    if (sim_node_start(f) != 0)
        return -1;
    if (f->is_load)
        sim_load_start(f);
    return 0;
}

static int fleet_start(void *ctx, uint32_t node, sim_time now)
{
    struct sim_fleet *f = ctx;

    sim_node_open(f, node);
    sim_fleet_enter(f, node, now);
    if (sim_fleet_is_gateway(f, node))
        f->m->flags |= SIM_MEMBER_GATEWAY;
    else if (f->attacks != NULL && sim_attack_is(f, node))
        f->m->flags |= SIM_MEMBER_ATTACKER;
    if (start_member(f) != 0)
        return -1;
    arm(f);
    return 0;
}

/* The frame inside advertising data, or NULL: somebody else's. */
static const uint8_t *frame_of(const struct sim_heard *heard)
{
    const uint8_t *d = heard->data;

    if (heard->len < SIM_AD_HEADER || d[0] != heard->len - 1 || d[1] != 0xFF || d[2] != 0xFF || d[3] != 0xFF)
        return NULL;
    return d + SIM_AD_HEADER;
}

static void fleet_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct sim_fleet *f = ctx;
    const uint8_t *frame = frame_of(heard);
    size_t len = heard->len - SIM_AD_HEADER;

    if (frame == NULL)
        return;
    sim_fleet_enter(f, node, now);
    if (is_attacker(f)) {
        sim_attack_receive(f, frame, len);
    } else if (is_gateway(f)) {
        f->env.mp.relay = NULL;
        (void)mp_node_receive(&f->n->mp, &f->env.mp, sim_clock_local(f->m, now), frame, len);
        sim_gateway_heard(f);
    } else if (!sim_node_receive(f, frame, len)) {
        return; /* nearly always: nothing is due at another time than before */
    }
    arm(f);
}

static void fleet_expire(void *ctx, uint32_t node, sim_time now)
{
    struct sim_fleet *f = ctx;

    sim_fleet_enter(f, node, now);
    if (is_attacker(f)) {
        sim_attack_expire(f);
    } else if (is_gateway(f)) {
        mp_time local = sim_clock_local(f->m, now);
        f->env.mp.relay = NULL;
        if (sim_gateway_next_expiry(f) <= now)
            sim_gateway_expire(f);
        if (mp_node_next_expiry(&f->n->mp) <= local)
            mp_node_expire(&f->n->mp, &f->env.mp, local);
        sim_gateway_heard(f);
    } else {
        if (f->lives != NULL && sim_life_next_expiry(f) <= now)
            sim_life_expire(f);
        sim_node_expire(f);
    }
    arm(f);
}

static int write_frame(struct sim_fleet *f, uint8_t *buf, size_t cap)
{
    int len;

    if (is_attacker(f))
        return sim_attack_write(f, buf, cap);
    if (!is_gateway(f))
        return sim_node_write(f, buf, cap);
    f->env.mp.relay = NULL;
    mp_time local = sim_clock_local(f->m, f->now);

    if (mp_node_next_expiry(&f->n->mp) > local)
        return 0;
    len = mp_node_write(&f->n->mp, &f->env.mp, local, buf, cap);
    sim_gateway_heard(f);
    return len;
}

static int fleet_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct sim_fleet *f = ctx;

    sim_fleet_enter(f, node, now);
    int len = write_frame(f, frame->data + SIM_AD_HEADER, sizeof frame->data - SIM_AD_HEADER);

    arm(f);
    if (len <= 0) {
        if (f->m->next <= now)
            f->m->next = now + ASK_AGAIN;
        return 0;
    }
    frame->data[0] = (uint8_t)(len + SIM_AD_HEADER - 1);
    memset(frame->data + 1, 0xFF, 3);
    frame->len = (size_t)len + SIM_AD_HEADER;
    frame->type = is_attacker(f) ? TYPE_ATTACK : frame->data[SIM_AD_HEADER] & 15;
    return 1;
}

static sim_time fleet_next_expiry(void *ctx, uint32_t node)
{
    const struct sim_fleet *f = ctx;

    return f->member[node - f->field->first].next;
}

static void fleet_mail(void *ctx, uint32_t node, sim_time now, uint32_t from, const uint8_t *data, size_t len)
{
    struct sim_fleet *f = ctx;

    sim_fleet_enter(f, node, now);
    if (is_gateway(f)) {
        f->env.mp.relay = NULL;
        sim_gateway_mail(f, from, data, len);
        sim_gateway_heard(f);
    }
    arm(f);
}

static void fleet_prefetch(const void *ctx, uint32_t node)
{
    const struct sim_fleet *f = ctx;
    const uint8_t *n = (const uint8_t *)&f->nf[node - f->field->first];

    /* Timers, identity, keys and the table's tags come first; then the neighbours, and what is gossiped. Not what
     * fetching needs. */
    __builtin_prefetch(&f->member[node - f->field->first], 1);
#pragma GCC unroll 16
    for (size_t at = 0; at < sizeof(mp_time) + offsetof(struct mp_node, manifests); at += LINE)
        __builtin_prefetch(n + at, 1);
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

static int fleet_save(void *ctx, struct sim_archive *a)
{
    struct sim_fleet *f = ctx;
    size_t own = f->field->limit - f->field->first;

    sim_archive_section(a, "FLEE");
    sim_archive_put_count(a, sizeof *f->nf);
    sim_archive_put_count(a, sizeof *f->member);
    sim_archive_put(a, f->nf, own * sizeof *f->nf);
    sim_archive_put(a, f->member, own * sizeof *f->member);
    sim_archive_section(a, "STOR");
    sim_objects_save(&f->objects, a);
    sim_pool_save(&f->more, a);
    sim_pool_save(&f->bitmaps, a);
    sim_pool_save(&f->relays, a);
    sim_pool_save(&f->histories, a);
    if (f->attacks != NULL)
        sim_attack_save(f, a);
    if (f->lives != NULL)
        sim_life_save(f, a);
    if (f->gateways != NULL)
        sim_gateway_save(f, a);
    return sim_archive_failed(a) ? -1 : 0;
}

/* A checkpoint is the program's own and has a checksum; this keeps one of another build from leading outside. */
static bool is_member_good(const struct sim_fleet *f, const struct sim_member *m)
{
    bool good = m->running < 2 && m->home < 2 && m->named < f->images.count && m->marked <= 2 && m->sealed < 4 &&
                m->more < f->more.count && m->bitmap < f->bitmaps.count && m->relay < f->relays.count &&
                m->history < f->histories.count;

    for (unsigned slot = 0; slot < 2; slot++)
        good = good &&
               (m->image[slot] < f->images.count || (m->image[slot] == SIM_IMAGE_NONE && (m->sealed >> slot & 1) == 0));
    for (unsigned i = 0; i < SIM_RECORDS; i++)
        good = good && (m->record[i] & 0xFFFFFF) < f->objects.head.count;
    return good;
}

static int fleet_load(void *ctx, struct sim_archive *a)
{
    struct sim_fleet *f = ctx;
    size_t own = f->field->limit - f->field->first;
    uint64_t nf_size = 0, member_size = 0;

    sim_archive_section(a, "FLEE");
    sim_archive_get_count(a, &nf_size, UINT32_MAX);
    if (sim_archive_get_count(a, &member_size, UINT32_MAX) != 0)
        return -1;
    if (nf_size != sizeof *f->nf || member_size != sizeof *f->member)
        return sim_archive_fail(a, "it is of a build whose nodes have another size");
    sim_archive_get(a, f->nf, own * sizeof *f->nf);
    sim_archive_get(a, f->member, own * sizeof *f->member);
    sim_archive_section(a, "STOR");
    sim_objects_load(&f->objects, a);
    sim_pool_load(&f->more, a);
    sim_pool_load(&f->bitmaps, a);
    sim_pool_load(&f->relays, a);
    if (sim_pool_load(&f->histories, a) != 0)
        return -1;
    for (size_t i = 0; i < own; i++)
        if (!is_member_good(f, &f->member[i]))
            return sim_archive_fail(a, "a node's record points outside");
    if (f->attacks != NULL)
        sim_attack_load(f, a);
    if (f->lives != NULL)
        sim_life_load(f, a);
    if (f->gateways != NULL)
        sim_gateway_load(f, a);
    return sim_archive_failed(a) ? -1 : 0;
}

/* --- end ---------------------------------------------------------------------------------------------------------- */

static void summarise(struct sim_fleet *f, uint32_t node, uint16_t hops)
{
    const struct sim_member *m = &f->member[node - f->field->first];
    bool gateway = (m->flags & SIM_MEMBER_GATEWAY) != 0, attacker = (m->flags & SIM_MEMBER_ATTACKER) != 0;
    struct sim_node_summary s = {.node = node,
                                 .is_gateway = gateway,
                                 .is_attacker = attacker,
                                 .model = gateway || attacker ? 0 : (uint8_t)sim_fleet_model(f, node),
                                 .hw_revision = sim_fleet_revision(f, node),
                                 .is_down = m->down,
                                 .hops = hops,
                                 .complete_at = SIM_NEVER,
                                 .installed_at = SIM_NEVER,
                                 .confirmed_at = SIM_NEVER,
                                 .release = f->images.image[m->image[m->running]].manifest.release};

    if (m->history != 0) {
        const struct sim_history *h = sim_pool_at(&f->histories, m->history);
        s.complete_at = h->complete_at;
        s.installed_at = h->installed_at;
        s.confirmed_at = h->confirmed_at;
    }
    sim_engine_summarise(f->e, &s);
}

static void fleet_finish(void *ctx, sim_time now)
{
    struct sim_fleet *f = ctx;
    uint16_t *hops = calloc(f->field->count, sizeof *hops);

    (void)now;
    if (hops == NULL || f->gateway_count == 0 ||
        sim_field_hops(f->field, f->gateway, f->gateway_count, hops, NULL) != 0) {
        free(hops);
        hops = NULL;
    }
    for (uint32_t node = f->field->first; node < f->field->limit; node++)
        summarise(f, node, hops != NULL ? hops[node] : UINT16_MAX);
    free(hops);
}

uint32_t sim_fleet_rollouts_open(const void *ctx)
{
    const struct sim_fleet *f = ctx;

    return f->gateways != NULL ? sim_gateway_rollouts_open(f) : 0;
}

const struct sim_stack *sim_fleet_stack(void)
{
    static const char *const types[16] = {
        [MP_TYPE_SUMMARY] = "summary",     [MP_TYPE_MANIFEST] = "manifest",     [MP_TYPE_DIRECTIVE] = "directive",
        [MP_TYPE_KEYCHANGE] = "keychange", [MP_TYPE_REQUEST] = "request",       [MP_TYPE_CHUNK] = "chunk",
        [MP_TYPE_REPORT] = "report",       [MP_TYPE_REPORT_ACK] = "report-ack", [MP_TYPE_RECEIPT] = "receipt",
        [TYPE_ATTACK] = "attack",
    };
    static const struct sim_stack stack = {
        .name = "mesh",
        .types = types,
        .bearer = SIM_BEARER_EXTENDED,
        .open = sim_fleet_open,
        .close = sim_fleet_close,
        .start = fleet_start,
        .receive = fleet_receive,
        .expire = fleet_expire,
        .write = fleet_write,
        .next_expiry = fleet_next_expiry,
        .mail = fleet_mail,
        .prefetch = fleet_prefetch,
        .save = fleet_save,
        .load = fleet_load,
        .finish = fleet_finish,
    };

    return &stack;
}
