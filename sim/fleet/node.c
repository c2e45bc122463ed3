/*
 * A node's life as its host sees it:
 *
 *   off        down is CHURN, BATTERY or BRICK: nothing happens until sim_node_up()
 *   booting    down is BOOT, alarm BOOT: the reset takes life.boot_us, then the bootloader decides
 *   dead start  the image that was chosen crashes or hangs at once: alarm CRASH or HANG, nothing runs
 *   running    SIM_MEMBER_RUNS: the update state machine with the protocol engine in it. On trial the alarm is the
 *              self-test; in service of a faulty release it is the day on which it shows
 *
 * Faults belong to releases (run_plan.h) and are drawn once for each node and release.
 */
#include "node.h"

#include <string.h>

#include "life.h"
#include "proto/mp_wire.h"

#define CRASH_AFTER MP_MS(50) /* a boot that does not get far */
#define WATCHDOG MP_SECONDS(4)
#define MISBEHAVES_EVERY MP_SECONDS(600) /* mean */
#define ASK_AGAIN MP_MS(1)               /* who is due but has nothing to say */
enum { STEPS_MAX = 16, DRAINED_MAX = 64 };

/* --- what runs ---------------------------------------------------------------------------------------------------- */

static const struct sim_image *running_image(const struct sim_fleet *f)
{
    return &f->images.image[f->m->image[f->m->running]];
}

static uint32_t running_release(const struct sim_fleet *f)
{
    return running_image(f)->manifest.release;
}

/* The plan of the release that runs when it is to go wrong on this node, else NULL. */
static const struct sim_release_plan *running_fault(const struct sim_fleet *f)
{
    uint32_t release = running_release(f), draw[4];

    for (uint32_t i = 0; i < f->s->release_count; i++) {
        const struct sim_release_plan *plan = &f->s->release[i];
        if (plan->release != release)
            continue;
        if (plan->fault == SIM_FAULT_NONE ||
            (plan->fault_revision != 0 && plan->fault_revision != sim_fleet_revision(f, f->node)))
            return NULL;
        sim_fleet_draw(f->seed, SIM_FLEET_FAULT, f->node, release, draw);
        return sim_scale(draw[0], 1000000) < plan->fault_ppm ? plan : NULL;
    }
    return NULL;
}

static void alarm_set(struct sim_fleet *f, enum sim_alarm kind, sim_time after)
{
    f->m->alarm = kind == SIM_ALARM_NONE ? SIM_NEVER : f->now + after;
    f->m->alarm_kind = (uint8_t)kind;
}

static void tell(struct sim_fleet *f, enum sim_row_kind kind, uint32_t a, uint32_t b)
{
    sim_engine_tell(f->e, f->node, f->now, kind, a, b, NULL);
}

static struct sim_history *history(struct sim_fleet *f)
{
    if (f->m->history == 0) {
        f->m->history = sim_pool_take(&f->histories);
        if (f->m->history == 0) {
            sim_engine_fail(f->e, "no memory for the nodes' histories");
            return NULL;
        }
        *(struct sim_history *)sim_pool_at(&f->histories, f->m->history) =
            (struct sim_history){SIM_NEVER, SIM_NEVER, SIM_NEVER};
    }
    return sim_pool_at(&f->histories, f->m->history);
}

void sim_node_completed(struct sim_fleet *f, const struct sim_image *image)
{
    struct sim_history *h = history(f);

    if (h != NULL)
        h->complete_at = f->now;
    tell(f, SIM_ROW_COMPLETE, image->manifest.release, 0);
}

/* A release that goes wrong in service: when it shows. Without memory, so that a reset in between changes nothing. */
static void service_begin(struct sim_fleet *f)
{
    const struct sim_release_plan *plan = running_fault(f);
    uint32_t draw = plan != NULL ? sim_engine_random(f->e, f->node) : 0;

    if (plan == NULL || plan->fault != SIM_FAULT_DEGRADE)
        f->m->flags &= (uint8_t)~SIM_MEMBER_DEGRADED;
    alarm_set(f, SIM_ALARM_NONE, 0);
    if (plan != NULL && plan->fault == SIM_FAULT_BRICK)
        alarm_set(f, SIM_ALARM_BRICK, sim_fleet_exponential(plan->fault_after_us, draw));
    if (plan != NULL && plan->fault == SIM_FAULT_DEGRADE && (f->m->flags & SIM_MEMBER_DEGRADED) == 0)
        alarm_set(f, SIM_ALARM_DEGRADE, sim_fleet_exponential(plan->fault_after_us, draw));
    else if (plan != NULL && plan->fault == SIM_FAULT_DEGRADE)
        alarm_set(f, SIM_ALARM_MISBEHAVE, sim_fleet_exponential(MISBEHAVES_EVERY, draw));
}

void sim_node_confirmed(struct sim_fleet *f)
{
    struct sim_history *h = history(f);

    if (h != NULL)
        h->confirmed_at = f->now;
    tell(f, SIM_ROW_CONFIRMED, running_release(f), 0);
    service_begin(f);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

void sim_node_open(struct sim_fleet *f, uint32_t node)
{
    struct sim_member *m = &f->member[node - f->field->first];
    int image = sim_images_find(&f->images, 1, sim_fleet_model(f, node));
    uint32_t draw[4], most_ppb = f->s->life.drift_ppm * 1000u;

    memset(m, 0, sizeof *m);
    sim_fleet_draw(f->seed, SIM_FLEET_DRIFT, node, 0, draw);
    int64_t drift_ppb = (int64_t)sim_scale(draw[0], 2 * most_ppb + 1) - most_ppb;

    m->drift_q40 = (int32_t)(drift_ppb * (INT64_C(1) << 40) / 1000000000);
    m->next = m->alarm = SIM_NEVER;
    m->image[0] = (uint8_t)image;
    m->image[1] = SIM_IMAGE_NONE;
    m->sealed = 1;
    sim_engine_power(f->e, node, false);
}

static void settings_make(const struct sim_fleet *f, struct mp_settings *s)
{
    struct mp_identity id;

    sim_fleet_identity(f, f->node, &id);
    memset(s, 0, sizeof *s);
    s->node = id.node;
    s->network = id.network;
    s->index = id.index;
    s->labels = sim_fleet_labels(f, f->node);
    s->model = sim_fleet_model(f, f->node);
    s->product = SIM_PRODUCT;
    s->hw_revision = sim_fleet_revision(f, f->node);
    s->key_count = id.key_count;
    s->key_active = id.key_active;
    memcpy(s->key_id, id.key_id, sizeof s->key_id);
    memcpy(s->network_key, id.network_key, sizeof s->network_key);
    memcpy(s->report_key, id.report_key, sizeof s->report_key);
    memcpy(s->keyset, f->keys.keyset, sizeof s->keyset);
}

/* The cache of one that relays is its own; the others share an empty one until they put something into it. */
static void relay_before(struct sim_fleet *f)
{
    if (f->has_relays)
        f->env.mp.relay = f->m->relay != 0 ? sim_pool_at(&f->relays, f->m->relay) : &f->relay_scratch;
}

static void relay_after(struct sim_fleet *f)
{
    if (!f->has_relays || f->env.mp.relay != &f->relay_scratch || f->relay_scratch.handle == 0)
        return;
    f->m->relay = sim_pool_take(&f->relays);
    if (f->m->relay == 0)
        sim_engine_fail(f->e, "no memory for the relays' caches");
    else
        *(struct mp_relay *)sim_pool_at(&f->relays, f->m->relay) = f->relay_scratch;
    memset(&f->relay_scratch, 0, sizeof f->relay_scratch);
}

/* After the update state machine ran: what it refuses, and whether it wants a reset. */
static void look(struct sim_fleet *f)
{
    enum boot_cause cause;

    relay_after(f);
    if (f->n->reported_phase != MP_PHASE_REFUSED)
        f->m->told = 0;
    else if (f->m->told != (uint8_t)f->n->reported_target) {
        f->m->told = (uint8_t)f->n->reported_target;
        tell(f, SIM_ROW_REFUSED, f->n->reported_target, f->n->reported_reason);
    }
    if (nf_wants_reset(f->n, &cause))
        sim_node_reset(f, cause);
}

static void image_run(struct sim_fleet *f, enum boot_cause cause, bool is_mute)
{
    struct mp_settings settings;

    settings_make(f, &settings);
    relay_before(f);
    int error = nf_init(f->n, &f->env, &settings, sim_clock_local(f->m, f->now));

    if (error != MP_OK) {
        sim_engine_fail(f->e, "a node does not start");
        return;
    }
    nf_note_reset(f->n, &f->env, sim_clock_local(f->m, f->now), cause);
    f->m->flags |= SIM_MEMBER_RUNS;
    if (is_mute)
        f->m->flags |= SIM_MEMBER_MUTE;
    else
        sim_engine_power(f->e, f->node, true);
    look(f);
}

/* The bootloader jumped into an image. */
static void image_start(struct sim_fleet *f, enum boot_cause cause)
{
    const struct sim_release_plan *plan = running_fault(f);
    enum sim_fault fault = plan != NULL ? plan->fault : SIM_FAULT_NONE;
    bool is_trial = f->m->state == BOOT_TRIAL && f->m->running != f->m->home;

    f->m->down = 0;
    if (fault == SIM_FAULT_CRASH) {
        alarm_set(f, SIM_ALARM_CRASH, CRASH_AFTER);
        return;
    }
    if (fault == SIM_FAULT_HANG) {
        alarm_set(f, SIM_ALARM_HANG, WATCHDOG);
        return;
    }
    if (is_trial)
        alarm_set(f, SIM_ALARM_SELFTEST, f->s->life.selftest_us);
    else
        service_begin(f);
    image_run(f, cause, is_trial && fault == SIM_FAULT_MUTE);
}

/* Tells what the bootloader did to the update in question. */
static void boot_tell(struct sim_fleet *f, uint32_t before)
{
    const struct sim_member *m = f->m;
    uint32_t release = f->images.image[m->named].manifest.release;

    if (m->sequence == before)
        return;
    if (m->state == BOOT_CONFIRMED && m->reason != MP_REASON_NONE)
        tell(f, SIM_ROW_ROLLED_BACK, release, m->reason);
    if (m->state == BOOT_TRIAL && m->tries == BOOT_TRIES - 1) {
        struct sim_history *h = history(f);
        if (h != NULL)
            h->installed_at = f->now;
        tell(f, SIM_ROW_INSTALLED, release, 0);
    }
}

static void boot(struct sim_fleet *f, enum boot_cause cause)
{
    uint32_t before = f->m->sequence;

    alarm_set(f, SIM_ALARM_NONE, 0);
    if (!sim_boot_select(f, cause)) {
        f->m->down = 0;
        sim_node_down(f, SIM_DOWN_BRICK);
        return;
    }
    boot_tell(f, before);
    image_start(f, cause);
}

int sim_node_start(struct sim_fleet *f)
{
    boot(f, BOOT_CAUSE_POWER);
    return f->m->down == 0 ? 0 : -1;
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

static void stop(struct sim_fleet *f)
{
    sim_engine_power(f->e, f->node, false);
    f->m->flags &= (uint8_t) ~(SIM_MEMBER_RUNS | SIM_MEMBER_MUTE | SIM_MEMBER_VERIFYING);
    if (f->m->relay != 0)
        sim_pool_give(&f->relays, f->m->relay);
    f->m->relay = 0;
    alarm_set(f, SIM_ALARM_NONE, 0);
}

void sim_node_reset(struct sim_fleet *f, enum boot_cause cause)
{
    if (f->m->down != 0)
        return;
    tell(f, SIM_ROW_RESET, running_release(f), (uint32_t)cause);
    stop(f);
    f->m->down = SIM_DOWN_BOOT;
    f->m->cause = (uint8_t)cause;
    alarm_set(f, SIM_ALARM_BOOT, f->s->life.boot_us);
}

void sim_node_down(struct sim_fleet *f, enum sim_down why)
{
    if (f->m->down != 0 && f->m->down != SIM_DOWN_BOOT && f->m->down != SIM_DOWN_CHURN)
        return;
    tell(f, SIM_ROW_DOWN, 0, (uint32_t)why);
    stop(f);
    f->m->down = (uint8_t)why;
}

void sim_node_up(struct sim_fleet *f)
{
    if (f->m->down != SIM_DOWN_CHURN)
        return;
    tell(f, SIM_ROW_UP, 0, 0);
    f->m->down = SIM_DOWN_BOOT;
    f->m->cause = BOOT_CAUSE_POWER;
    alarm_set(f, SIM_ALARM_BOOT, f->s->life.boot_us);
}

/* --- the host's loop ---------------------------------------------------------------------------------------------- */

static void ring(struct sim_fleet *f)
{
    struct sim_member *m = f->m;
    enum sim_alarm kind = (enum sim_alarm)m->alarm_kind;
    const struct sim_release_plan *plan;

    alarm_set(f, SIM_ALARM_NONE, 0);
    switch (kind) {
    case SIM_ALARM_NONE:
        break;
    case SIM_ALARM_BOOT:
        boot(f, (enum boot_cause)m->cause);
        break;
    case SIM_ALARM_SELFTEST:
        plan = running_fault(f);
        nf_selftest(f->n, &f->env, sim_clock_local(m, f->now), plan == NULL || plan->fault != SIM_FAULT_SELFTEST);
        break;
    case SIM_ALARM_CRASH:
        sim_node_reset(f, BOOT_CAUSE_CRASH);
        break;
    case SIM_ALARM_HANG:
        sim_node_reset(f, BOOT_CAUSE_WATCHDOG);
        break;
    case SIM_ALARM_BRICK:
        sim_node_down(f, SIM_DOWN_BRICK);
        break;
    case SIM_ALARM_DEGRADE:
        m->flags |= SIM_MEMBER_DEGRADED;
        tell(f, SIM_ROW_DEGRADED, running_release(f), 0);
        service_begin(f);
        break;
    case SIM_ALARM_MISBEHAVE:
        sim_node_reset(f, BOOT_CAUSE_CRASH);
        break;
    case SIM_ALARM_LOAD:
        sim_load_expire(f);
        break;
    }
}

static bool runs(const struct sim_fleet *f)
{
    return (f->m->flags & SIM_MEMBER_RUNS) != 0;
}

/* What is due now, and what that leads to at once: erasing leads to fetching, verifying to being staged. */
static void step(struct sim_fleet *f, mp_time local)
{
    for (unsigned i = 0; i < STEPS_MAX && runs(f) && nf_next_expiry(f->n) <= local; i++) {
        relay_before(f);
        nf_expire(f->n, &f->env, local);
        look(f);
        if (f->n->due > local)
            return; /* the rest are frames, which wait for the radio */
    }
}

bool sim_node_receive(struct sim_fleet *f, const uint8_t *frame, size_t len)
{
    /* All that mp_node_next_expiry() reads besides the time, side by side in the engine's state. */
    enum {
        FIRST = offsetof(struct mp_node, due_ms),
        SIZE = offsetof(struct mp_node, armed) + sizeof(uint16_t) - FIRST
    };
    _Static_assert(offsetof(struct mp_node, armed) == FIRST + sizeof f->n->mp.due_ms, "due times, then armed");
    uint8_t timers[SIZE];

    if (!runs(f))
        return false;
    mp_time due = f->n->due;

    memcpy(timers, (const uint8_t *)&f->n->mp + FIRST, SIZE);
    relay_before(f);
    (void)nf_receive(f->n, &f->env, sim_clock_local(f->m, f->now), frame, len);
    relay_after(f);
    return due != f->n->due || memcmp(timers, (const uint8_t *)&f->n->mp + FIRST, SIZE) != 0;
}

void sim_node_expire(struct sim_fleet *f)
{
    mp_time local = sim_clock_local(f->m, f->now);

    if (f->m->alarm <= f->now)
        ring(f);
    step(f, local);
    if (!runs(f) || (f->m->flags & SIM_MEMBER_MUTE) == 0)
        return;
    /* What it has to say goes nowhere. */
    uint8_t frame[MP_FRAME_MAX];

    for (unsigned i = 0; i < DRAINED_MAX && nf_next_expiry(f->n) <= local; i++) {
        relay_before(f);
        if (nf_write(f->n, &f->env, local, frame, sizeof frame) <= 0)
            break;
    }
    relay_after(f);
}

int sim_node_write(struct sim_fleet *f, uint8_t *buf, size_t cap)
{
    mp_time local = sim_clock_local(f->m, f->now);
    int len;

    if (!runs(f) || (f->m->flags & SIM_MEMBER_MUTE) != 0 || nf_next_expiry(f->n) > local)
        return 0;
    if (f->n->due <= local)
        step(f, local);
    if (!runs(f))
        return 0;
    relay_before(f);
    len = nf_write(f->n, &f->env, local, buf, cap);
    relay_after(f);
    return len > 0 ? len : 0;
}

static sim_time earlier(sim_time a, sim_time b)
{
    return a < b ? a : b;
}

void sim_node_arm(struct sim_fleet *f)
{
    struct sim_member *m = f->m;
    sim_time next = m->alarm;

    if (runs(f))
        next = earlier(next, sim_clock_engine(m, nf_next_expiry(f->n)));
    if (f->lives != NULL)
        next = earlier(next, sim_life_next_expiry(f));
    if (next <= f->now && (m->flags & SIM_MEMBER_MUTE) != 0)
        next = f->now + ASK_AGAIN;
    m->next = next;
}
