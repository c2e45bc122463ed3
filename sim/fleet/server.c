#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/release/release.h"
#include "proto/mp_wire.h"
#include "proto/object/signed.h"

#define SEEN_MAX 4 /* contents remembered of a node's newest serial */
#define WINDOWS (65536 / MP_RECEIPT_INDICES_MAX + 1)
#define RECEIPT_GAP MP_SECONDS(2)
#define RECEIPT_IDLE MP_SECONDS(3600)
#define REVERT_AFTER MP_SECONDS(60)
#define DAY MP_SECONDS(86400)
#define FIRST_DAY 20000u /* epoch at time 0 */
#define DRAW_SALT 0x53414C54u

enum member_flag { HAS_REPORT = 1, RECEIPT_DUE = 2, MEMBER_FLAGS = 3 };

/* A node of the registry. */
struct server_member {
    uint32_t node;
    uint32_t seen[SEEN_MAX]; /* low halves of MACs: they stand for the content */
    uint16_t index;
    uint16_t serial;
    uint8_t seen_count;
    uint8_t flags; /* enum member_flag */
};

/* One planned release. */
struct rollout_plan {
    sim_time revert_at; /* SIM_NEVER: not held, or stays held */
    uint8_t started;
    uint8_t reverted; /* tried, with or without success */
    uint16_t head_len;
    uint8_t head[MP_DIRECTIVE_MAX]; /* newest directive: nobody else signs, so it is the mesh's head */
};

struct sim_server {
    struct md_release *release;
    struct server_member *member; /* ascending node */
    uint32_t count;
    uint32_t node; /* gateway */
    uint16_t network;
    uint16_t due[WINDOWS]; /* members of a window of indices that wait for a receipt */
    uint8_t used[WINDOWS];
    uint32_t due_count;
    uint16_t next_window;
    uint16_t round;
    sim_time receipt_at; /* when the last one was signed, SIM_NEVER none */
    sim_time next;
    uint32_t open;
    struct rollout_plan plan[SIM_RELEASES_MAX];
    struct sim_intake intake;
};

static uint64_t ms_of(sim_time now)
{
    return now / 1000;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int label_bit(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "canary") == 0 ? 0 : -1;
}

static int read_policy(const struct sim_release_plan *p, struct md_policy *policy, char *error, size_t cap)
{
    char why[MD_TEXT_MAX];
    if (md_policy_parse(policy, p->policy, label_bit, NULL, why, sizeof why) == MP_OK)
        return 0;
    snprintf(error, cap, "policy of release %u: %s", (unsigned)p->release, why);
    return -1;
}

/* How many rollouts still move. */
static void count_open(struct sim_fleet *f, struct sim_server *s)
{
    struct md_rollout_info info;
    s->open = 0;
    for (uint32_t i = 0; s->count > 0 && i < f->s->release_count; i++) {
        const struct rollout_plan *p = &s->plan[i];
        if (!p->started)
            s->open++;
        else if (md_release_find(s->release, f->s->release[i].release, &info) != MP_OK)
            continue; /* finished long ago: made room for a later one */
        else if (info.phase == MD_PHASE_HELD)
            s->open += f->s->release[i].reverts_on_hold && !p->reverted;
        else
            s->open += info.phase != MD_PHASE_DONE && info.phase != MD_PHASE_REVERTED;
    }
}

/* Earliest thing that happens by itself. */
static void arm(struct sim_fleet *f, struct sim_server *s, sim_time now)
{
    uint64_t due_ms = md_release_next_expiry(s->release);
    sim_time next = due_ms > SIM_NEVER / 1000 ? SIM_NEVER : due_ms * 1000;
    sim_time receipt =
        s->receipt_at == SIM_NEVER ? now : s->receipt_at + (s->due_count > 0 ? RECEIPT_GAP : RECEIPT_IDLE);
    bool has_head = false;
    for (uint32_t i = 0; i < f->s->release_count; i++) {
        const struct rollout_plan *p = &s->plan[i];
        if (!p->started && s->count > 0 && f->s->release[i].at_us < next)
            next = f->s->release[i].at_us;
        if (p->revert_at < next)
            next = p->revert_at;
        has_head = has_head || p->head_len > 0;
    }
    if (s->count > 0 && receipt < next)
        next = receipt;
    if (has_head && (now / DAY + 1) * DAY < next)
        next = (now / DAY + 1) * DAY;
    s->next = next;
}

static int add_member(struct sim_fleet *f, struct sim_server *s, uint32_t node)
{
    struct server_member *m = &s->member[s->count++];
    const struct md_fact fact = {.node = node + 1,
                                 .product = SIM_PRODUCT,
                                 .model = sim_fleet_model(f, node),
                                 .labels = sim_fleet_labels(f, node),
                                 .hw_revision = sim_fleet_revision(f, node),
                                 .enrolled = f->s->fleet.enrolled};
    m->node = node + 1;
    m->index = sim_fleet_index(f, node);
    s->used[m->index / MP_RECEIPT_INDICES_MAX] = 1;
    return md_release_node(s->release, 0, &fact);
}

struct sim_server *sim_server_open(struct sim_fleet *f, uint32_t node, const uint32_t *nodes, uint32_t count,
                                   char *error, size_t cap)
{
    struct md_policy policy;
    for (uint32_t i = 0; i < f->s->release_count; i++)
        if (read_policy(&f->s->release[i], &policy, error, cap) != 0)
            return NULL;
    struct sim_server *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->release = md_release_new(f->env.mp.crypto);
        s->member = calloc(count > 0 ? count : 1, sizeof *s->member);
    }
    int bad = s != NULL && s->release != NULL && s->member != NULL ? MP_OK : MP_ERR_ROOM;
    for (uint32_t i = 0; bad == MP_OK && i < count; i++)
        bad = add_member(f, s, nodes[i]);
    if (bad != MP_OK) {
        snprintf(error, cap, "out of memory for a release engine of %u nodes", (unsigned)count);
        sim_server_close(s);
        return NULL;
    }
    s->node = node;
    s->network = sim_fleet_network(f, node);
    s->receipt_at = SIM_NEVER;
    for (unsigned i = 0; i < SIM_RELEASES_MAX; i++)
        s->plan[i].revert_at = SIM_NEVER;
    count_open(f, s);
    s->next = 0;
    return s;
}

void sim_server_close(struct sim_server *s)
{
    if (s == NULL)
        return;
    md_release_free(s->release);
    free(s->member);
    free(s);
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static struct server_member *find_member(const struct sim_server *s, uint32_t node)
{
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->member[middle].node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->count && s->member[low].node == node ? &s->member[low] : NULL;
}

enum verdict { TAKE, DUPLICATE, OLD };

/* As the registry of meshd judges: by serial, and by content where the serial is the same. */
static enum verdict judge(const struct server_member *m, uint16_t serial, uint32_t mac)
{
    int16_t ahead = (int16_t)(uint16_t)(serial - m->serial);
    if (!(m->flags & HAS_REPORT) || ahead > 0)
        return TAKE;
    if (ahead < 0)
        return OLD;
    for (unsigned i = 0; i < m->seen_count; i++)
        if (m->seen[i] == mac)
            return DUPLICATE;
    return TAKE;
}

static void take(struct sim_server *s, struct server_member *m, uint16_t serial, uint32_t mac)
{
    if (!(m->flags & HAS_REPORT) || m->serial != serial)
        m->seen_count = 0;
    if (m->seen_count == SEEN_MAX)
        memmove(m->seen, m->seen + 1, (SEEN_MAX - 1) * sizeof m->seen[0]);
    else
        m->seen_count++;
    m->seen[m->seen_count - 1] = mac;
    m->serial = serial;
    m->flags |= HAS_REPORT;
    if (!(m->flags & RECEIPT_DUE)) {
        m->flags |= RECEIPT_DUE;
        s->due[m->index / MP_RECEIPT_INDICES_MAX]++;
        s->due_count++;
    }
}

void sim_server_report(struct sim_fleet *f, struct sim_server *s, const uint8_t entry[MP_REPORT_ENTRY_SIZE])
{
    struct mp_report report;
    uint8_t key[16];
    if (mp_report_get(&report, entry) != MP_OK) {
        s->intake.forged++;
        return;
    }
    struct server_member *m = find_member(s, report.node);
    if (m == NULL) {
        s->intake.unknown++;
        return;
    }
    sim_keys_report(&f->keys, report.node - 1, key);
    if (mp_report_verify(f->env.mp.crypto, entry, key) != MP_OK) {
        s->intake.forged++;
        return;
    }
    uint32_t mac = mp_get32(entry + 11);
    switch (judge(m, report.serial, mac)) {
    case DUPLICATE:
        s->intake.duplicate++;
        break;
    case OLD:
        s->intake.old++;
        break;
    case TAKE:
        s->intake.taken++;
        take(s, m, report.serial, mac);
        md_release_report(s->release, ms_of(f->now), &report);
        sim_engine_tell(f->e, s->node, f->now, SIM_ROW_REPORTED, report.node - 1, report.phase, NULL);
        break;
    }
}

/* --- receipts ----------------------------------------------------------------------------------------------------- */

/* Window with the most reports that wait; without any, the next in turn that has a node. */
static uint16_t pick_window(const struct sim_server *s)
{
    unsigned best = s->next_window % WINDOWS;
    for (unsigned i = 0; i < WINDOWS && !s->used[best]; i++)
        best = (best + 1) % WINDOWS;
    for (unsigned i = 0; i < WINDOWS; i++)
        if (s->due[i] > s->due[best])
            best = i;
    return (uint16_t)best;
}

static void fill_window(struct sim_server *s, struct mp_receipt *r, uint16_t window)
{
    uint16_t last = r->base;
    for (uint32_t i = 0; i < s->count; i++) {
        struct server_member *m = &s->member[i];
        if (m->index / MP_RECEIPT_INDICES_MAX != window)
            continue;
        unsigned at = m->index - r->base;
        if (m->index > last)
            last = m->index;
        if (m->flags & HAS_REPORT)
            r->nibbles[at / 2] = (uint8_t)(r->nibbles[at / 2] | (m->serial & 15u) << (at % 2 * 4));
        if (m->flags & RECEIPT_DUE)
            s->due_count--;
        m->flags &= (uint8_t)~RECEIPT_DUE;
    }
    s->due[window] = 0;
    r->count = (uint16_t)(last - r->base + 1);
}

static void sign_receipt(struct sim_fleet *f, struct sim_server *s)
{
    uint8_t object[MP_RECEIPT_MAX];
    if (s->receipt_at != SIM_NEVER && f->now - s->receipt_at < (s->due_count > 0 ? RECEIPT_GAP : RECEIPT_IDLE))
        return;
    uint16_t window = pick_window(s);
    s->round = s->round == UINT16_MAX ? 1 : (uint16_t)(s->round + 1); /* 0 stands for none */
    struct mp_receipt r = {.key_id = 0,
                           .network = s->network,
                           .generation = 1,
                           .round = s->round,
                           .base = (uint16_t)(window * MP_RECEIPT_INDICES_MAX)};
    s->next_window = (uint16_t)(window + 1);
    fill_window(s, &r, window);
    size_t len = mp_receipt_put(object, &r);
    sim_keys_sign(&f->keys.release, MP_TAG_RECEIPT, object, len, object + len);
    s->receipt_at = f->now;
    s->intake.receipts++;
    sim_gateway_publish(f, MP_TYPE_RECEIPT, object, len + MP_SIGNATURE_SIZE);
}

/* --- rollouts ----------------------------------------------------------------------------------------------------- */

/* Images of a release; their number. */
static unsigned images_of(const struct sim_fleet *f, const struct sim_release_plan *p, uint8_t image[SIM_MODELS_MAX])
{
    unsigned n = 0;
    for (uint16_t model = 1; model <= f->s->fleet.models; model++) {
        int i = p->model == 0 || p->model == model ? sim_images_find(&f->images, p->release, model) : -1;
        if (i >= 0)
            image[n++] = (uint8_t)i;
    }
    return n;
}

static void start_release(struct sim_fleet *f, struct sim_server *s, uint32_t i)
{
    const struct sim_release_plan *p = &f->s->release[i];
    struct md_rollout_config c = {.release = p->release};
    uint8_t image[SIM_MODELS_MAX];
    char why[MD_TEXT_MAX + 64], text[MD_TEXT_MAX + 128];
    c.salt = sim_draw(f->seed, SIM_DRAW_WORLD, p->release, s->network, DRAW_SALT);
    c.image_count = (uint8_t)images_of(f, p, image);
    for (unsigned k = 0; k < c.image_count; k++) {
        const struct sim_image *m = &f->images.image[image[k]];
        c.image[k] = (struct md_release_image){.product = m->manifest.product,
                                               .model = m->manifest.model,
                                               .hw_revisions = m->manifest.hw_revisions,
                                               .version = m->manifest.version};
        memcpy(c.image[k].id, m->id, sizeof c.image[k].id);
    }
    int bad = read_policy(p, &c.policy, why, sizeof why);
    if (bad == 0)
        bad = md_release_start(s->release, ms_of(f->now), &c, "plan", why, sizeof why);
    s->plan[i].started = 1;
    if (bad == 0)
        return;
    snprintf(text, sizeof text, "release %u cannot be started: %s", (unsigned)p->release, why);
    sim_engine_fail(f->e, text);
}

/* Image that a device of this model had before a release: the newest planned one below it that covers the model. */
static int image_before(const struct sim_fleet *f, uint32_t release, uint16_t model)
{
    int found = sim_images_find(&f->images, 1, model);
    for (uint32_t i = 0; i < f->s->release_count; i++) {
        const struct sim_release_plan *p = &f->s->release[i];
        int image = p->model == 0 || p->model == model ? sim_images_find(&f->images, p->release, model) : -1;
        if (image >= 0 && p->release < release && (found < 0 || p->release > f->images.image[found].manifest.release))
            found = image;
    }
    return found;
}

static void revert_release(struct sim_fleet *f, struct sim_server *s, uint32_t i)
{
    const struct sim_release_plan *p = &f->s->release[i];
    uint8_t image[SIM_MODELS_MAX], to[SIM_MODELS_MAX][8];
    unsigned count = images_of(f, p, image);
    uint32_t to_release = 0;
    int bad = MP_OK;
    for (unsigned k = 0; bad == MP_OK && k < count; k++) {
        int before = image_before(f, p->release, f->images.image[image[k]].manifest.model);
        if (before < 0) {
            bad = MP_ERR_ABSENT;
            break;
        }
        memcpy(to[k], f->images.image[before].id, 8);
        if (f->images.image[before].manifest.release > to_release)
            to_release = f->images.image[before].manifest.release;
    }
    if (bad == MP_OK)
        bad = md_release_revert(s->release, ms_of(f->now), p->release, to_release, (const uint8_t(*)[8])to, count,
                                "plan");
    s->plan[i].revert_at = SIM_NEVER;
    s->plan[i].reverted = 1;
    if (bad != MP_OK)
        sim_engine_tell(f->e, s->node, f->now, SIM_ROW_DECISION, p->release, MD_DECISION_HELD,
                        "cannot be reverted: it stays held");
}

/* What was decided goes into the result; a hold begins the wait for the operator who reverts. */
static void tell_decisions(struct sim_fleet *f, struct sim_server *s)
{
    struct md_decision d;
    while (md_release_decision(s->release, &d)) {
        sim_engine_tell(f->e, s->node, f->now, SIM_ROW_DECISION, d.release, d.kind, d.text);
        for (uint32_t i = 0; d.kind == MD_DECISION_HELD && i < f->s->release_count; i++)
            if (f->s->release[i].release == d.release && f->s->release[i].reverts_on_hold && !s->plan[i].reverted)
                s->plan[i].revert_at = f->now + REVERT_AFTER;
    }
}

/* --- directives --------------------------------------------------------------------------------------------------- */

static void sign_directive(struct sim_fleet *f, struct sim_server *s, struct rollout_plan *p,
                           const struct md_want *want, const struct mp_directive *head, uint32_t epoch)
{
    struct mp_directive d;
    uint8_t id[8] = {0};
    if (head != NULL)
        mp_directive_id(f->env.mp.crypto, p->head, p->head_len, id);
    md_want_directive(want, head, id, &d);
    d.network = s->network;
    d.key_id = 0;
    d.generation = 1;
    d.epoch = epoch;
    size_t len = mp_directive_put(p->head, &d);
    sim_keys_sign(&f->keys.release, MP_TAG_DIRECTIVE, p->head, len, p->head + len);
    p->head_len = (uint16_t)(len + MP_SIGNATURE_SIZE);
    s->intake.directives++;
    sim_gateway_publish(f, MP_TYPE_DIRECTIVE, p->head, p->head_len);
}

static struct rollout_plan *plan_of(struct sim_fleet *f, struct sim_server *s, uint32_t release)
{
    for (uint32_t i = 0; i < f->s->release_count; i++)
        if (f->s->release[i].release == release)
            return &s->plan[i];
    return NULL;
}

static void sign_wanted(struct sim_fleet *f, struct sim_server *s)
{
    struct md_rollout_info info;
    uint32_t epoch = FIRST_DAY + (uint32_t)(f->now / DAY), newest = 0;
    for (unsigned i = 0; md_release_info(s->release, i, &info) == MP_OK; i++)
        newest = info.release;
    for (unsigned i = 0; md_release_info(s->release, i, &info) == MP_OK; i++) {
        struct md_want want;
        struct mp_directive head;
        struct rollout_plan *p = plan_of(f, s, info.release);
        if (p == NULL || md_release_want(s->release, info.release, &want) != MP_OK || !want.sign)
            continue;
        bool has_head = p->head_len > 0 && mp_directive_get(&head, p->head, p->head_len) == MP_OK;
        /* the epoch ticks with the newest release alone: one object a day is enough for the whole mesh */
        bool ticks = has_head && info.release == newest && head.epoch < epoch;
        if (md_want_differs(&want, has_head ? &head : NULL) || ticks)
            sign_directive(f, s, p, &want, has_head ? &head : NULL, epoch);
    }
}

void sim_server_run(struct sim_fleet *f, struct sim_server *s)
{
    for (uint32_t i = 0; s->count > 0 && i < f->s->release_count; i++) {
        if (!s->plan[i].started && f->s->release[i].at_us <= f->now)
            start_release(f, s, i);
        if (s->plan[i].revert_at <= f->now)
            revert_release(f, s, i);
    }
    md_release_tick(s->release, ms_of(f->now));
    tell_decisions(f, s);
    sign_wanted(f, s);
    if (s->count > 0)
        sign_receipt(f, s);
    count_open(f, s);
    arm(f, s, f->now);
}

sim_time sim_server_next(const struct sim_server *s)
{
    return s->next;
}

uint32_t sim_server_rollouts_open(const struct sim_server *s)
{
    return s->open;
}

const struct md_release *sim_server_release(const struct sim_server *s)
{
    return s->release;
}

const struct sim_intake *sim_server_intake(const struct sim_server *s)
{
    return &s->intake;
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

static int archive_put(void *ctx, const void *data, size_t size)
{
    return sim_archive_put(ctx, data, size) == 0 ? MP_OK : MP_ERR_STORE;
}

static int archive_get(void *ctx, void *data, size_t size)
{
    return sim_archive_get(ctx, data, size) == 0 ? MP_OK : MP_ERR_STORE;
}

/* The fields that are neither rebuilt at opening nor summed up from the members. */
struct server_fixed {
    sim_time receipt_at, next;
    struct rollout_plan plan[SIM_RELEASES_MAX];
    struct sim_intake intake;
    uint32_t open;
    uint16_t next_window, round;
};

int sim_server_save(const struct sim_server *s, struct sim_archive *a)
{
    struct server_fixed fixed;
    memset(&fixed, 0, sizeof fixed);
    fixed.receipt_at = s->receipt_at;
    fixed.next = s->next;
    memcpy(fixed.plan, s->plan, sizeof fixed.plan);
    fixed.intake = s->intake;
    fixed.open = s->open;
    fixed.next_window = s->next_window;
    fixed.round = s->round;
    sim_archive_put(a, &fixed, sizeof fixed);
    sim_archive_put_count(a, s->count);
    sim_archive_put(a, s->member, s->count * sizeof *s->member);
    if (md_release_dump(s->release, archive_put, a) != MP_OK)
        return -1;
    return sim_archive_failed(a) ? -1 : 0;
}

/* Members as saved, over those of the scenario; what is summed up from them. 0 or -1. */
static int load_members(struct sim_server *s, struct sim_archive *a)
{
    uint64_t count = 0;
    if (sim_archive_get_count(a, &count, s->count) != 0)
        return -1;
    if (count != s->count)
        return sim_archive_fail(a, "another number of nodes in a network");
    s->due_count = 0;
    memset(s->due, 0, sizeof s->due);
    for (uint32_t i = 0; i < s->count; i++) {
        struct server_member m;
        if (sim_archive_get(a, &m, sizeof m) != 0)
            return -1;
        if (m.node != s->member[i].node || m.index != s->member[i].index || m.seen_count > SEEN_MAX ||
            m.flags > MEMBER_FLAGS)
            return sim_archive_fail(a, "a node of the registry is not the scenario's");
        s->member[i] = m;
        if (m.flags & RECEIPT_DUE) {
            s->due[m.index / MP_RECEIPT_INDICES_MAX]++;
            s->due_count++;
        }
    }
    return 0;
}

int sim_server_load(struct sim_fleet *f, struct sim_server *s, struct sim_archive *a)
{
    struct server_fixed fixed;
    struct md_release *r = md_release_new(f->env.mp.crypto);
    if (r == NULL)
        return sim_archive_fail(a, "out of memory");
    if (sim_archive_get(a, &fixed, sizeof fixed) != 0 || load_members(s, a) != 0) {
        md_release_free(r);
        return -1;
    }
    for (unsigned i = 0; i < SIM_RELEASES_MAX; i++)
        if (fixed.plan[i].head_len > MP_DIRECTIVE_MAX) {
            md_release_free(r);
            return sim_archive_fail(a, "a directive is too long");
        }
    if (md_release_undump(r, archive_get, a) != MP_OK) {
        md_release_free(r);
        return sim_archive_fail(a, "a release engine cannot be restored");
    }
    md_release_free(s->release);
    s->release = r;
    s->receipt_at = fixed.receipt_at;
    s->next = fixed.next;
    memcpy(s->plan, fixed.plan, sizeof s->plan);
    s->intake = fixed.intake;
    s->open = fixed.open;
    s->next_window = fixed.next_window;
    s->round = fixed.round;
    return 0;
}

size_t sim_server_bytes(const struct sim_server *s)
{
    return sizeof *s + s->count * sizeof *s->member + md_release_bytes(s->release);
}
