/*
 * The demonstration with emulated parts (`make demo-mcu`): a gateway, eight nRF51822 in QEMU and eight node processes,
 * two products in one mesh. Rooms of one product lie behind rooms of the other, so each relays for the other what it
 * cannot use. Half of the parts start in slot A, half in slot B: while they are updated, those that fill slot A and
 * those that fill slot B serve each other. A second release, for the parts alone, brings each back into the slot it came
 * from; then one that hard-faults and one that hangs stop at the canaries, which save themselves. What the nodes said is held against what
 * the air saw and what lies in the parts' flash.
 */
#include "demo.h"
#include "demo_flash.h"
#include "demo_record.h"

#include "tests/lib/fleet_part.h"

#include <stdio.h>
#include <string.h>

#define PROGRAM 1u /* models */
#define PART 2u
#define EACH 8u
#define NODES (2 * EACH)
#define RELEASES 4
#define PAYLOADS 5
#define GOOD_PAYLOADS 3 /* of those: of releases that all nodes of the model took */
#define SCENARIO "sim/scenarios/demo-mcu.ini"
/* Switched on only when its neighbours m7 and m8, the canaries, have been updated. */
#define LATE "m6"
#define POLICY                                                                                                         \
    "confirm=15 stage-deadline=600; canary: label=canary soak=1 deadline=60; all: share=100% soak=1 deadline=60"

/* Next to the gateway: of each product one; m7 starts in slot A, m8 in slot B. */
static const char *const canaries[] = {"p2", "m7", "m8"};
#define CANARIES (sizeof canaries / sizeof canaries[0])

static struct demo demo;
static struct demo_payload payload[PAYLOADS];
/* By model: the release that its nodes are to run, its version, and how often each of them changed its version. */
static struct {
    unsigned release;
    const char *version;
    unsigned changes;
} expected[] = {[PROGRAM] = {1, "1.0.0", 0}, [PART] = {1, "1.0.0", 0}};

static bool is_canary(const char *name)
{
    for (size_t i = 0; i < CANARIES; i++)
        if (strcmp(name, canaries[i]) == 0)
            return true;
    return false;
}

static void fail_part(void)
{
    fleet_fail(&demo.fleet, "an emulated part failed");
}

struct running {
    unsigned on, right; /* nodes that are switched on; those of them that run what they are to run */
};

static bool all_run(struct fleet *f, void *ctx)
{
    struct running *r = ctx;
    *r = (struct running){0};
    for (unsigned i = 0; i < NODES; i++) {
        struct fleet_report report;
        const struct fleet_node *n = &f->node[i];
        r->on += n->pid != 0;
        r->right += strcmp(fleet_runs(n), expected[n->model].version) == 0 && fleet_reported(f, n, &report) &&
                    report.running == expected[n->model].release && strcmp(report.phase, "trial") != 0;
    }
    return r->right == r->on;
}

/* Checks that every node runs what it is to run, by its own word to its radio and by its report. */
static void check_running(struct demo *d)
{
    struct running r;
    fleet_poll(&d->fleet, 40, all_run, &r);
    demo_check(d, r.right == r.on, "programs run %s, parts run %s: by the air and by their reports, %u of %u do",
               expected[PROGRAM].version, expected[PART].version, r.right, r.on);
}

/* --- start -------------------------------------------------------------------------------------------------------- */

/* Slot that a part starts in: every other one in slot B. */
static unsigned first_slot(const struct fleet_node *n)
{
    return (unsigned)(n->name[1] - '1') & 1;
}

static void add_nodes(struct fleet *f)
{
    char name[8];
    for (unsigned i = 0; i < EACH; i++) {
        snprintf(name, sizeof name, "p%u", i + 1);
        fleet_node_start(f, fleet_add(f, name, PROGRAM, is_canary(name) ? "canary" : NULL, 1));
    }
    for (unsigned i = 0; i < EACH; i++) {
        snprintf(name, sizeof name, "m%u", i + 1);
        struct fleet_part *p = fleet_part_add(f, name, PART, is_canary(name) ? "canary" : NULL, 1, i & 1);
        if (strcmp(name, LATE) != 0)
            fleet_part_start(f, p);
    }
}

/* Whom the mesh reaches only through nodes of the other product: bit i, node i. */
static uint32_t beyond(const struct demo *d)
{
    unsigned hops[FLEET_NODES_MAX];
    uint32_t nodes = 0;
    for (unsigned model = PROGRAM; model <= PART; model++) {
        demo_reach(d, 0, 1u << model, hops);
        for (unsigned i = 0; i < NODES; i++)
            if (d->fleet.node[i].model == model && hops[i] == DEMO_FAR)
                nodes |= 1u << i;
    }
    return nodes;
}

static void print_names(const struct demo *d, uint32_t nodes)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes >> i & 1)
            printf(" %s", d->fleet.node[i].name);
}

static void start(struct demo *d)
{
    struct fleet *f = &d->fleet;
    demo_headline(d, "One gateway, 8 emulated nRF51822 (Cortex-M0, 16 KB of RAM), 8 node processes");
    fleet_open(f, &(struct fleet_options){
                      .name = "demo-mcu", .scenario = SCENARIO, .watchdog_ms = 8000, .part_shift = -1, .record = true});
    f->part_models = 1u << PART;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << PROGRAM | 1u << PART);
    add_nodes(f);
    demo_hops(d);
    demo_wait_enrolled(d, NODES - 1, 60);
    demo_check(d, demo_farthest(d) == 3, "%u hops to the farthest node, %u %% frame loss", demo_farthest(d),
               d->loss_percent);
    const uint32_t far = beyond(d);
    demo_check(d, __builtin_popcount(far) == 8,
               "%d of %u nodes are reached through the other product alone:", __builtin_popcount(far), NODES);
    printf("     ");
    print_names(d, far);
    putchar('\n');
    check_running(d);
    demo_check_flash(d, 1, PART, first_slot);
}

/* --- good releases ------------------------------------------------------------------------------------------------ */

static unsigned other_slot(const struct fleet_node *n)
{
    return first_slot(n) ^ 1;
}

static void publish(struct demo *d, struct demo_release *r)
{
    struct fleet *f = &d->fleet;
    demo_name(r);
    fleet_release(f, r->release, r->stem, r->models);
    demo_measure_bundle(d, r);
    r->begun_us = demo_air(d);
    r->begun = fleet_now();
    fleet_rollout(f, r->release, POLICY);
}

static bool is_updated(struct fleet *f, const struct fleet_node *n, const struct demo_release *r)
{
    struct fleet_report report;
    return fleet_booted(n, r->version) > 0 && fleet_reported(f, n, &report) && report.running == r->release &&
           strcmp(report.phase, "confirmed") == 0;
}

/* Switches the late part on when its neighbours run the release. */
static void start_late(struct demo *d, void *ctx)
{
    struct fleet *f = &d->fleet;
    struct fleet_node *late = fleet_find(f, LATE);
    if (late->pid != 0 || !is_updated(f, fleet_find(f, "m7"), ctx) || !is_updated(f, fleet_find(f, "m8"), ctx))
        return;
    fleet_part_start(f, late->part);
    printf("  %s, which was off, is switched on: m7 and m8 beside it run the release\n", LATE);
}

static void good(struct demo *d, struct demo_release *r, unsigned slot_of(const struct fleet_node *n))
{
    struct fleet *f = &d->fleet;
    unsigned once = 0, count = 0;
    publish(d, r);
    demo_check(d, demo_watch(d, r->release, 200, start_late, r) == 0, "the rollout is done");
    for (unsigned model = PROGRAM; model <= PART; model++) {
        if (!(r->models >> model & 1))
            continue;
        expected[model].release = r->release;
        expected[model].version = r->version;
        expected[model].changes++;
    }
    check_running(d);
    for (unsigned i = 0; i < NODES; i++) {
        const struct fleet_node *n = &f->node[i];
        count += r->models >> n->model & 1;
        once += (r->models >> n->model & 1) && fleet_changes(n) == expected[n->model].changes;
    }
    demo_check(d, once == count, "%u of %u nodes went to %s once, from the version before, and never back", once, count,
               r->version);
    demo_check_flash(d, r->release, PART, slot_of);
}

/* --- bad releases ------------------------------------------------------------------------------------------------- */

struct failure {
    const struct demo_release *release;
    const char *reason;
    unsigned tried, back; /* canaries that booted it; those of them that reported it and gave it up for this reason */
};

static bool all_back(struct fleet *f, void *ctx)
{
    struct failure *x = ctx;
    x->tried = x->back = 0;
    for (unsigned i = 0; i < NODES; i++) {
        struct fleet_report report;
        const struct fleet_node *n = &f->node[i];
        if (fleet_booted(n, x->release->version) == 0)
            continue;
        x->tried++;
        x->back += fleet_reported(f, n, &report) && report.running == expected[PART].release &&
                   report.target == x->release->release && strcmp(report.phase, "rolled back") == 0 &&
                   strcmp(report.reason, x->reason) == 0 && strcmp(fleet_runs(n), expected[PART].version) == 0;
    }
    return x->tried > 0 && x->back == x->tried;
}

static void bad(struct demo *d, struct demo_release *r, const char *reason)
{
    struct fleet *f = &d->fleet;
    struct failure failure = {.release = r, .reason = reason};
    unsigned boots = 0, others = 0;
    publish(d, r);
    demo_check(d, demo_watch(d, r->release, 120, NULL, NULL) == 6, "the gate stopped it");
    fleet_poll(f, 40, all_back, &failure);
    demo_check_gate(d, r);
    for (unsigned i = 0; i < NODES; i++)
        *(is_canary(f->node[i].name) ? &boots : &others) += fleet_booted(&f->node[i], r->version);
    demo_check(d, failure.tried > 0 && failure.back == failure.tried,
               "%u of %u canaries that booted it (%u times) gave it up by themselves: %s", failure.back, failure.tried,
               boots, reason);
    demo_check(d, others == 0, "no other node ever booted it");
    check_running(d);
    demo_check_flash(d, 3, PART, first_slot);
}

/* --- what the air recorded ---------------------------------------------------------------------------------------- */

static void prepare(struct demo *d, struct demo_release *releases)
{
    unsigned count = 0;
    for (unsigned k = 0; k < RELEASES; k++) {
        struct demo_release *r = &releases[k];
        const bool is_good = r->release <= 3;
        for (unsigned model = PROGRAM; model <= PART; model++) {
            if (!(r->models >> model & 1))
                continue;
            struct demo_payload *p = &payload[count++];
            demo_record_prepare(d, p, r, model);
            for (unsigned i = 0; i < NODES; i++) {
                const struct fleet_node *n = &d->fleet.node[i];
                p->is_measured[i] = n->model == model && (is_good || fleet_booted(n, r->version) > 0);
                p->slot[i] = (uint8_t)(r->release == 3 ? first_slot(n) : other_slot(n));
                if (!p->is_measured[i])
                    continue;
                r->nodes++;
                r->hops = d->hops[i] > r->hops ? d->hops[i] : r->hops;
            }
        }
    }
}

/* Every chunk of a payload came into each room behind the other product through nodes of that product. */
static void check_relay(struct demo *d, const struct demo_payload *p, uint32_t far)
{
    uint32_t left = far;
    for (unsigned i = 0; i < NODES; i++) {
        unsigned hops[FLEET_NODES_MAX];
        uint32_t room = 0;
        if (!(left >> i & 1) || d->fleet.node[i].model != p->model)
            continue;
        demo_reach(d, i + 1, 1u << p->model, hops);
        for (unsigned k = 0; k < NODES; k++)
            if (d->fleet.node[k].model == p->model && hops[k] != DEMO_FAR)
                room |= 1u << k;
        left &= ~room;
        const uint32_t relayed = demo_record_relayed(d, p, room);
        if (relayed == p->tree.positions)
            continue;
        printf("     ");
        print_names(d, room);
        demo_check(d, false, "only %u of %u chunks came by foreign relay", relayed, p->tree.positions);
    }
}

/* The late part was served by neighbours that ran the image, one in the slot that it filled and one in the other. */
static void check_late(struct demo *d, const struct demo_payload *p)
{
    struct fleet_node *node = d->fleet.node;
    const unsigned late = (unsigned)(fleet_find(&d->fleet, LATE) - node);
    const unsigned m7 = (unsigned)(fleet_find(&d->fleet, "m7") - node),
                   m8 = (unsigned)(fleet_find(&d->fleet, "m8") - node);
    const uint32_t from[2] = {demo_record_given(p, m7, late), demo_record_given(p, m8, late)};
    demo_check(
        d, from[0] > 0 && from[1] > 0 && p->from_updated[late] == from[0] + from[1],
        "%s: %s, filling slot %c, took %u chunks from m7, which ran it in slot %c, %u from m8, which did in slot %c",
        p->release->version, LATE, "AB"[p->slot[late]], from[0], "AB"[p->slot[m7]], from[1], "AB"[p->slot[m8]]);
}

static void check_record(struct demo *d, struct demo_release *releases)
{
    static const char *const what[] = {"", "the programs' image", "the parts' image"};
    const uint32_t far = beyond(d);
    prepare(d, releases);
    demo_record_read(d, payload, PAYLOADS);
    for (const struct demo_payload *p = payload; p < payload + GOOD_PAYLOADS; p++) {
        check_relay(d, p, far);
        demo_check(d, true, "%s, %s: each room behind the other product took all %u chunks from its relays",
                   p->release->version, what[p->model], p->tree.positions);
    }
    for (const struct demo_payload *p = payload; p < payload + GOOD_PAYLOADS; p++) {
        if (p->model != PART)
            continue;
        const uint32_t ab = demo_record_crossed(d, p, 0, 1), ba = demo_record_crossed(d, p, 1, 0);
        demo_check(d, ab > 0 && ba > 0,
                   "%s: parts with it in slot A gave %u chunks to parts that filled slot B, and those gave them %u",
                   p->release->version, ab, ba);
    }
    check_late(d, &payload[1]);
}

int main(void)
{
    static struct demo_release release[RELEASES] = {
        {.release = 2, .stem = "2.0.0", .models = 1u << PROGRAM | 1u << PART},
        {.release = 3, .stem = "2.1.0", .models = 1u << PART},
        {.release = 4, .stem = "3.0.2-crash", .models = 1u << PART},
        {.release = 5, .stem = "3.0.1-hang", .models = 1u << PART}};
    struct demo *d = &demo;
    demo_begin(d, SCENARIO, NODES);
    qemu_failed = fail_part;
    start(d);
    demo_headline(d, "2.0.0 for both products: parts in slot A fill slot B, parts in slot B fill slot A");
    good(d, &release[0], other_slot);
    demo_headline(d, "2.1.0 for the parts alone: each back into its first slot");
    good(d, &release[1], first_slot);
    demo_headline(d, "3.0.2 for the parts, which runs into a hard fault");
    bad(d, &release[2], "crashed");
    demo_headline(d, "3.0.1 for the parts, which hangs");
    bad(d, &release[3], "watchdog");
    demo_headline(d, "What the air recorded");
    check_record(d, release);
    demo_table(d, release, RELEASES);
    fleet_close(&d->fleet);
    printf("took %.0f s\ndemo-mcu: ok\n", fleet_now() - d->begun);
    return 0;
}
