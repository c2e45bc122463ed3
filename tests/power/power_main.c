/*
 * Power cuts at every flash operation of a node's life.
 *
 * The life: it runs release 1; release 2 is staged, fetched, opened, tried and confirmed; a signed revert takes it back
 * to release 1, which the other slot still holds; release 3, whose self-test fails, is tried and given up; release 4 is
 * confirmed; a revert takes it to release 2, which must be fetched for it. The boot record changes pages and the object
 * log is compacted on the way. A first run without cuts records every operation. Then, for every operation and every
 * way a cut may leave it, the life is resumed from a snapshot just before, cut there, and brought to its end. And for
 * every one of these, every operation from the restart until work goes on where it was (progress beyond that at the
 * cut) is cut a second time, in every way.
 *
 * Asserted: the cut fired; something boots after every cut; what boots as confirmed was healthy in a trial; an image is
 * tried three times at most; the life always ends as it should, revert and rollback included; not more chunks are
 * fetched again than lie in one page for every cut. The simulated flash itself stops on any broken rule of flash.
 *
 *     power [--case ID] [--part NAME]     a failing case prints the ID that replays it alone
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "geometry.h"

enum stage { STAGE_STAGE, STAGE_OPEN, STAGE_REVERT, STAGE_BAD, STAGE_NEXT, STAGE_BACK, STAGE_DONE };
enum { OPS_MAX = 2000, SNAPSHOTS_MAX = 2000, STEPS_MAX = 4000, NO_OP = -1 };
enum { FULL_RUN_EVERY = 32 }; /* second cuts: one of so many is followed to the end of the life */

/* Everything that a snapshot holds. */
struct world {
    struct rig rig;
    enum stage stage;
    enum boot_cause cause; /* of the next boot */
    uint32_t progress;     /* highest so far */
    uint32_t allowed;      /* bit r: release r was healthy, so it may be confirmed */
    uint32_t cuts;
    uint32_t steps;
    uint32_t recovered; /* pages erased for the remains of a cut, before the newest boot */
};

/* The one case asked for: operations and cuts; NO_OP: all. */
struct replay {
    long i;
    long j;
    int v;
    int w;
};

static struct world world;
static struct world *snapshots; /* of the first run */
static struct world *recovery;  /* of the run after a first cut */
static uint16_t ops[OPS_MAX];   /* granules of the operations of the first run, by number; 0: an erase */
static uint16_t recovery_ops[OPS_MAX];
static uint32_t chunks_without_cut;
static uint64_t planned, fired, recovered; /* of one geometry */
static uint64_t possible;                  /* second cuts that there are */
static char case_id[96];
static bool is_replay;

static void fail(const char *what, long value)
{
    printf("power: FAILED case %s: %s (%ld); stage %d, release %u, phase %u, progress %u, boots %u\n", case_id, what,
           value, (int)world.stage, world.rig.running, world.rig.node.phase, world.progress, world.rig.boots);
    printf("replay with: --case %s\n", case_id);
    exit(1);
}

static void on_panic(const char *what, uint32_t address)
{
    fail(what, (long)address);
}

/* --- the life ----------------------------------------------------------------------------------------------------- */

static void publish(struct world *w)
{
    struct rig *r = &w->rig;

    switch (w->stage) {
    case STAGE_STAGE:
        rig_direct(r, MP_ACTION_STAGE, 2, 1, 0);
        rig_manifest(r, 2);
        break;
    case STAGE_OPEN:
        rig_direct(r, MP_ACTION_OPEN, 2, 2, 0);
        rig_manifest(r, 2);
        break;
    case STAGE_REVERT:
        rig_direct(r, MP_ACTION_REVERT, 2, 3, 1);
        rig_manifest(r, 1);
        rig_manifest(r, 2);
        break;
    case STAGE_BAD:
        rig_direct(r, MP_ACTION_OPEN, 3, 1, 0);
        rig_manifest(r, 3);
        break;
    case STAGE_NEXT:
        rig_direct(r, MP_ACTION_OPEN, 4, 1, 0);
        rig_manifest(r, 4);
        break;
    case STAGE_BACK:
        rig_direct(r, MP_ACTION_REVERT, 4, 2, 2);
        rig_manifest(r, 4);
        rig_manifest(r, 2);
        break;
    case STAGE_DONE:
        break;
    }
}

/* The operator looks at the node, and goes on when it sees what it waits for. */
static void operate(struct world *w)
{
    const struct nf_node *n = &w->rig.node;
    bool is_settled = n->is_confirmed && n->phase != NF_PHASE_TRIAL;
    enum stage before = w->stage;

    if (w->stage == STAGE_STAGE && n->phase == NF_PHASE_STAGED && n->target.release == 2)
        w->stage = STAGE_OPEN;
    else if (w->stage == STAGE_OPEN && is_settled && w->rig.running == 2)
        w->stage = STAGE_REVERT;
    else if (w->stage == STAGE_REVERT && is_settled && w->rig.running == 1)
        w->stage = STAGE_BAD;
    else if (w->stage == STAGE_BAD && is_settled && w->rig.running == 1 && n->reported_phase == MP_PHASE_ROLLED_BACK &&
             n->reported_target == 3 && n->failed_release == 3)
        w->stage = STAGE_NEXT;
    else if (w->stage == STAGE_NEXT && is_settled && w->rig.running == 4)
        w->stage = STAGE_BACK;
    else if (w->stage == STAGE_BACK && is_settled && w->rig.running == 2)
        w->stage = STAGE_DONE;
    if (w->stage != before)
        publish(w);
}

static uint32_t progress(const struct world *w)
{
    const struct nf_node *n = &w->rig.node;
    uint32_t at = (uint32_t)w->stage * 100000,
             tried = w->rig.is_trial ? 8000 + 100 * w->rig.trial_boots[w->rig.running] : 0;

    switch ((enum nf_phase)n->phase) {
    case NF_PHASE_IDLE:
    case NF_PHASE_COUNT:
        return at;
    case NF_PHASE_ERASING:
        return at + 1000 + w->rig.store.work_at;
    case NF_PHASE_FETCHING:
        return at + 2000 + w->rig.store.slot[NF_PLACE_TARGET].count;
    case NF_PHASE_VERIFYING:
        return at + 5000;
    case NF_PHASE_STAGED:
        return at + 6000;
    case NF_PHASE_RESETTING:
        return at + (w->rig.is_trial ? tried + 50 : 7000);
    case NF_PHASE_TRIAL:
        return at + tried;
    }
    return at;
}

/* What must hold whenever something has booted. */
static void check_boot(struct world *w)
{
    const struct rig *r = &w->rig;

    if (r->running == 0 || r->running >= RIG_IMAGES)
        fail("booted something unknown", r->running);
    if (!r->is_placed)
        fail("the CPU sees something else than what was linked for this slot", r->choice.slot);
    if (r->choice.record.state == BOOT_CONFIRMED && (w->allowed >> r->running & 1) == 0)
        fail("an image that never was healthy stays", r->running);
    if (r->trial_boots[r->running] > BOOT_TRIES * 2u)
        fail("tried too often", r->trial_boots[r->running]);
    if (r->running == 3 && r->trial_boots[3] > BOOT_TRIES)
        fail("the bad image was tried too often", r->trial_boots[3]);
}

static void boot(struct world *w)
{
    w->recovered += w->rig.store.pages_recovered;
    w->rig.store.pages_recovered = 0;

    int slot = rig_boot(&w->rig, w->cause);

    w->cause = BOOT_CAUSE_POWER;
    if (slot == -2)
        return;
    if (slot < 0)
        fail("nothing boots", slot);
    check_boot(w);
    publish(w);
    if (w->rig.running == 3) {
        nf_selftest(&w->rig.node, &w->rig.env, w->rig.now, false);
    } else {
        w->allowed |= 1u << w->rig.running; /* from here on it may be confirmed */
        nf_selftest(&w->rig.node, &w->rig.env, w->rig.now, true);
    }
}

/* One step of the life; the caller looks whether power went. */
static void step(struct world *w)
{
    enum boot_cause cause;

    if (++w->steps > STEPS_MAX)
        fail("stuck", w->steps);
    if (!w->rig.is_up) {
        boot(w);
        return;
    }
    operate(w);
    rig_supply(&w->rig);
    if (w->rig.sim.is_dead)
        return;
    rig_step(&w->rig, MP_MS(20));
    if (w->rig.sim.is_dead)
        return;
    if (nf_wants_reset(&w->rig.node, &cause)) {
        w->cause = cause;
        if (progress(w) > w->progress)
            w->progress = progress(w);
        w->rig.is_up = false;
        return;
    }
    if (progress(w) > w->progress)
        w->progress = progress(w);
}

static void check_end(struct world *w)
{
    uint32_t page = w->rig.sim.flash.page_size, in_a_page = (page - 2) / MP_CHUNK_SIZE + 2;
    uint32_t allowance = chunks_without_cut + w->cuts * in_a_page;

    recovered += w->recovered + w->rig.store.pages_recovered;
    if (w->rig.counters.chunks_stored > allowance)
        fail("more than a page fetched again for a cut", w->rig.counters.chunks_stored);
    if (w->stage == STAGE_DONE &&
        (w->rig.running != 2 || w->rig.trial_boots[1] < 1 || w->rig.trial_boots[3] < 1 || w->rig.trial_boots[4] < 1))
        fail("ends in the wrong image", w->rig.running);
}

/* --- cuts --------------------------------------------------------------------------------------------------------- */

static void note_ops(uint16_t *into, uint64_t from, const struct flash_sim *sim)
{
    for (uint64_t i = from; i < sim->ops; i++) {
        if (i >= OPS_MAX)
            fail("too many operations", (long)i);
        into[i] = sim->trace[i % FLASH_SIM_TRACE];
    }
}

/* Plans a cut, runs until it fired, and leaves the world powered again but down. */
static void cut_and_restart(struct world *w, uint64_t at, enum flash_sim_cut cut)
{
    flash_sim_cut_at(&w->rig.sim, at, cut);
    planned++;
    while (!w->rig.sim.is_dead && w->rig.sim.ops <= at)
        step(w);
    if (!w->rig.sim.is_dead)
        fail("the cut did not fire", (long)at);
    fired++;
    flash_sim_power_on(&w->rig.sim);
    w->rig.is_up = false;
    w->cause = BOOT_CAUSE_POWER;
    w->cuts++;
    w->steps = 0;
}

static void run_to_end(struct world *w)
{
    while (w->stage != STAGE_DONE)
        step(w);
    check_end(w);
}

/* Newest snapshot that is not after operation `at`. */
static const struct world *snapshot_before(const struct world *list, int count, uint64_t at)
{
    int i = count - 1;

    while (i > 0 && list[i].rig.sim.ops > at)
        i--;
    return &list[i];
}

/* Runs the recovery once without a second cut, with a snapshot before every step that came behind an operation; their
 * number. */
static int record_recovery(struct world *w, uint32_t until, uint64_t *end)
{
    uint64_t seen = UINT64_MAX;
    int count = 0;

    while (w->progress <= until && w->stage != STAGE_DONE) {
        uint64_t from = w->rig.sim.ops;
        if (from != seen) {
            if (count == SNAPSHOTS_MAX)
                fail("recovery too long", count);
            recovery[count++] = *w;
            seen = from;
        }
        step(w);
        note_ops(recovery_ops, from, &w->rig.sim);
    }
    *end = w->rig.sim.ops;
    return count;
}

static uint64_t second_cut(const char *part, uint64_t i, int v, uint64_t j, enum flash_sim_cut cut, int count,
                           uint32_t until)
{
    snprintf(case_id, sizeof case_id, "%s:%llu.%d:%llu.%d", part, (unsigned long long)i, v, (unsigned long long)j,
             (int)cut);
    world = *snapshot_before(recovery, count, j);
    cut_and_restart(&world, j, cut);
    if (is_replay || planned % FULL_RUN_EVERY == 0) {
        run_to_end(&world);
        return 1;
    }
    while (world.progress <= until && world.stage != STAGE_DONE)
        step(&world);
    check_end(&world);
    return 1;
}

/* Is this second cut among those that are made? A fixed choice by its number. */
static bool is_sampled(const struct geometry *g)
{
    uint64_t x = (possible++ + 1) * 0x9E3779B97F4A7C15u;

    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    return g->second_every == 1 || (x >> 32) % g->second_every == 0;
}

/* One first cut, and the second cuts after it (or only the one asked for). */
static uint64_t first_cut(const struct geometry *g, const struct world *before, uint64_t i, enum flash_sim_cut v,
                          const struct replay *only)
{
    const char *name = g->part.name;
    uint64_t count = 0, end;
    int taken;

    snprintf(case_id, sizeof case_id, "%s:%llu.%d", name, (unsigned long long)i, (int)v);
    world = *before;
    cut_and_restart(&world, i, v);

    uint32_t until = world.progress;
    uint64_t start = world.rig.sim.ops;

    taken = record_recovery(&world, until, &end);
    run_to_end(&world);
    for (uint64_t j = start; j < end; j++)
        for (int w = 0; w < FLASH_SIM_CUTS; w++) {
            if (!geometry_is_distinct(g, recovery_ops[j], (enum flash_sim_cut)w))
                continue;
            if (is_replay ? only->j == NO_OP || (only->j == (long)j && only->w == w) : is_sampled(g))
                count += second_cut(name, i, (int)v, j, (enum flash_sim_cut)w, taken, until);
        }
    return count;
}

/* The life without cuts: snapshots and operations. */
static int record_life(const struct geometry *g, uint64_t *first, uint64_t *end)
{
    uint64_t seen = UINT64_MAX;
    int count = 0;

    snprintf(case_id, sizeof case_id, "%s", g->part.name);
    memset(&world, 0, sizeof world);
    rig_init(&world.rig, &g->part);
    world.cause = BOOT_CAUSE_POWER;
    world.allowed = 1u << 1;
    if (!geometry_age(g, &world.rig))
        fail("aging", 0);
    *first = world.rig.sim.ops;
    while (world.stage != STAGE_DONE) {
        uint64_t from = world.rig.sim.ops;
        if (from != seen) {
            if (count == SNAPSHOTS_MAX)
                fail("life too long", count);
            snapshots[count++] = world;
            snapshots[count - 1].steps = 0;
            seen = from;
        }
        step(&world);
        note_ops(ops, from, &world.rig.sim);
    }
    *end = world.rig.sim.ops;
    chunks_without_cut = world.rig.counters.chunks_stored;
    check_end(&world);
    if (world.rig.store.objects.sequence < 2)
        fail("the object log was not compacted", world.rig.store.objects.sequence);
    if (world.rig.choice.record.sequence <= g->part.page_size / BOOT_RECORD_SIZE + 2)
        fail("the boot record did not change pages", world.rig.choice.record.sequence);
    return count;
}

/* Cuts while the factory writes settings and image: nothing half written boots, and the factory succeeds when it begins
 * again. */
static uint64_t cut_provisioning(const struct geometry *g)
{
    uint64_t count = 0, end;

    rig_init(&world.rig, &g->part);
    end = world.rig.sim.ops;
    if (end > FLASH_SIM_TRACE)
        fail("too many operations", (long)end);
    note_ops(ops, 0, &world.rig.sim);
    for (uint64_t i = 0; i < end; i++)
        for (int v = 0; v < FLASH_SIM_CUTS; v++) {
            struct rig *r = &world.rig;
            if (!geometry_is_distinct(g, ops[i], (enum flash_sim_cut)v))
                continue;
            snprintf(case_id, sizeof case_id, "%s, provisioning, %llu.%d", g->part.name, (unsigned long long)i, v);
            rig_make(r, &g->part);
            flash_sim_cut_at(&r->sim, i, (enum flash_sim_cut)v);
            planned++;
            if (rig_provision(r) == MP_OK || !r->sim.is_dead)
                fail("the cut did not fire", (long)i);
            fired++;
            count++;
            flash_sim_power_on(&r->sim);
            if (rig_boot(r, BOOT_CAUSE_POWER) >= 0 && (r->running != 1 || !r->is_placed))
                fail("boots what the factory did not finish", r->running);
            if (rig_provision(r) != MP_OK || rig_boot(r, BOOT_CAUSE_POWER) != 0 || r->running != 1 || !r->is_placed)
                fail("cannot be provisioned again", r->choice.slot);
        }
    return count;
}

/* False when it did not make the cuts that it should. */
static bool run_geometry(const struct geometry *g, const struct replay *only)
{
    uint64_t first, end, factory = 0, single = 0, twice = 0;
    int count;

    planned = fired = recovered = possible = 0;
    rig_images(&g->part, NULL);
    if (!is_replay)
        factory = cut_provisioning(g);
    count = record_life(g, &first, &end);
    for (uint64_t i = first; i < end; i++)
        for (int v = 0; v < FLASH_SIM_CUTS; v++) {
            if (!geometry_is_distinct(g, ops[i], (enum flash_sim_cut)v) ||
                (is_replay && (only->i != (long)i || only->v != v)))
                continue;
            single++;
            twice += first_cut(g, snapshot_before(snapshots, count, i), i, (enum flash_sim_cut)v, only);
        }
    printf("power: %s: %s: page %u, granule %u%s%s; %llu operations, %u chunks; cuts: %llu while provisioned, %llu in "
           "the life, %llu of %llu second ones; pages erased for remains %llu times\n",
           g->part.name, g->text, g->part.page_size, g->part.granule, g->part.write_once ? " write-once" : "",
           g->part.is_encrypted ? " encrypted" : "", (unsigned long long)(end - first), chunks_without_cut,
           (unsigned long long)factory, (unsigned long long)single, (unsigned long long)twice,
           (unsigned long long)(is_replay ? twice : possible), (unsigned long long)recovered);
    printf("note: %s: %llu cuts planned, %llu fired; of %llu second cuts %llu\n", g->part.name,
           (unsigned long long)planned, (unsigned long long)fired, (unsigned long long)(is_replay ? twice : possible),
           (unsigned long long)twice);
    fflush(stdout);
    if (planned == 0)
        fprintf(stderr, "power: no such case\n");
    else if (!is_replay && fired < g->cuts_min)
        printf("power: fewer than %u cuts\n", g->cuts_min);
    return planned == fired && planned > 0 && (is_replay || (fired >= g->cuts_min && recovered > 0));
}

static int usage(void)
{
    fprintf(stderr, "usage: power [--part NAME] [--case NAME:OP.CUT[:OP.CUT]]\n");
    return 2;
}

/* Speaks cmocka's words at the end, so that the runner counts a test for each geometry. */
int main(int argc, char **argv)
{
    char name[32] = "";
    struct replay only = {NO_OP, NO_OP, 0, 0};
    unsigned chosen = 0, ran = 0;

    if (argc == 3 && strcmp(argv[1], "--case") == 0) {
        if (sscanf(argv[2], "%31[a-z0-9-]:%ld.%d:%ld.%d", name, &only.i, &only.v, &only.j, &only.w) < 3)
            return usage();
        is_replay = true;
    } else if (argc == 3 && strcmp(argv[1], "--part") == 0) {
        snprintf(name, sizeof name, "%s", argv[2]);
    } else if (argc != 1) {
        return usage();
    }
    flash_sim_panic = on_panic;
    snapshots = calloc(SNAPSHOTS_MAX, sizeof *snapshots);
    recovery = calloc(SNAPSHOTS_MAX, sizeof *recovery);
    if (snapshots == NULL || recovery == NULL)
        return 1;
    for (size_t p = 0; p < GEOMETRIES; p++)
        chosen += name[0] == '\0' || strcmp(name, geometries[p].part.name) == 0;
    printf("[==========] Running %u test(s).\n", chosen);
    for (size_t p = 0; p < GEOMETRIES; p++) {
        if (name[0] != '\0' && strcmp(name, geometries[p].part.name) != 0)
            continue;
        if (!run_geometry(&geometries[p], &only))
            return 1;
        printf("[       OK ] every_cut_on_%s_is_survived\n", geometries[p].part.name);
        ran++;
    }
    free(snapshots);
    free(recovery);
    if (ran == 0) {
        fprintf(stderr, "power: no such part\n");
        return 1;
    }
    printf("[  PASSED  ] %u test(s).\n", ran);
    return 0;
}
