/*
 * The demonstration (`make demo`): one gateway and 24 node processes in one mesh on the live air. A good release
 * reaches every node ring after ring; two bad ones stop at the canaries, which save themselves. Everything is done with
 * the programs and tools that an operator has, and each claim is checked against what the air saw and the nodes said.
 */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES 24
#define SCENARIO "sim/scenarios/demo-25.ini"

#define POLICY                                                                                                         \
    "confirm=10 stage-deadline=900; canary: label=canary soak=2 deadline=40; quarter: share=25% soak=1 deadline=60; "  \
    "all: share=100% soak=1 deadline=60"

static const char *const canaries[] = {"n6", "n18"};
#define CANARIES (sizeof canaries / sizeof canaries[0])

static struct demo demo;

static bool is_canary(const struct fleet_node *n)
{
    for (size_t i = 0; i < CANARIES; i++)
        if (strcmp(n->name, canaries[i]) == 0)
            return true;
    return false;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

static void start(struct demo *d)
{
    struct fleet *f = &d->fleet;
    unsigned versions = 0;
    demo_headline(d, "One gateway, 24 nodes: keys, settings, flash, processes");
    fleet_open(f, &(struct fleet_options){.name = "demo", .scenario = SCENARIO});
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << 1);
    for (unsigned i = 1; i <= NODES; i++) {
        char name[16];
        bool label = false;
        snprintf(name, sizeof name, "n%u", i);
        for (size_t k = 0; k < CANARIES; k++)
            label |= strcmp(name, canaries[k]) == 0;
        fleet_node_start(f, fleet_add(f, name, 1, label ? "canary" : NULL, 1));
    }
    demo_hops(d);
    demo_wait_enrolled(d, NODES, 60);
    for (unsigned i = 0; i < NODES; i++)
        versions += f->node[i].boots == 1 && strcmp(fleet_runs(&f->node[i]), "1.0.0") == 0;
    demo_check(d, demo_farthest(d) >= 5 && d->loss_percent == 10, "%u hops to the farthest node, %u %% frame loss",
               demo_farthest(d), d->loss_percent);
    demo_check(d, versions == NODES, "%u of %d nodes run 1.0.0 and are enrolled", versions, NODES);
}

/* --- a rollout ---------------------------------------------------------------------------------------------------- */

/* When a node last sealed an image, in monotonic seconds, from its own log; 0 not since. */
static double staged_at(const struct fleet *f, const struct fleet_node *n, double since)
{
    char path[FLEET_PATH_MAX], line[300];
    double at, last = 0;
    snprintf(path, sizeof path, "%s/%s.log", f->dir, n->name);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strstr(line, "phase=staged from=verifying") != NULL && sscanf(line, "%lf", &at) == 1 && at >= since)
            last = at;
    if (file != NULL)
        fclose(file);
    return last;
}

/* A release whose distribution is being followed. */
struct following {
    struct demo_release *release;
    bool to_all;          /* else to the canaries */
    double frames, bytes; /* of the air when it began */
};

static void look(struct demo *d, void *ctx)
{
    struct following *w = ctx;
    struct demo_release *r = w->release;
    unsigned staged = 0;
    double last = 0;
    for (unsigned i = 0; i < NODES && r->seconds == 0; i++) {
        const struct fleet_node *n = &d->fleet.node[i];
        const double at = w->to_all || is_canary(n) ? staged_at(&d->fleet, n, r->begun) : 0;
        last = at > last ? at : last;
        staged += at > 0;
    }
    if (r->seconds == 0 && staged == r->nodes) {
        demo_air(d);
        r->seconds = last - r->begun;
        r->frames = d->frames - w->frames;
        r->bytes = d->bytes - w->bytes;
    }
}

/* Follows the distribution while `meshctl watch` shows the rings; its exit status. */
static int follow(struct demo *d, struct demo_release *r, bool to_all)
{
    struct following following = {.release = r, .to_all = to_all, .frames = d->frames, .bytes = d->bytes};
    const int status = demo_watch(d, r->release, 110, look, &following);
    demo_openings(d, r);
    return status;
}

static void publish(struct demo *d, struct demo_release *r)
{
    struct fleet *f = &d->fleet;
    demo_name(r);
    /* A share is a draw: a quarter of 24 may be nobody, once in 500 times. Then it is signed again, with a new salt. */
    for (unsigned quarter = 0; quarter == 0;) {
        fleet_sign(f, r->release, r->stem, r->models);
        for (unsigned i = 0; i < NODES; i++)
            r->ring[i] = is_canary(&f->node[i]) ? 0 : 2;
        demo_rings(d, r);
        for (unsigned i = 0; i < NODES; i++)
            quarter += r->ring[i] == 1;
    }
    fleet_import(f, r->release);
    demo_measure_bundle(d, r);
}

static void begin(struct demo *d, struct demo_release *r)
{
    demo_air(d);
    r->begun = fleet_now();
    fleet_rollout(&d->fleet, r->release, POLICY);
}

static void good(struct demo *d, struct demo_release *r)
{
    struct fleet *f = &d->fleet;
    unsigned said[DEMO_RINGS] = {0}, in_time[DEMO_RINGS] = {0}, once = 0;
    demo_headline(d, "2.0.0: pack, sign, import; canary, 25 %, everybody");
    publish(d, r);
    demo_compare_plan(d, r, POLICY);
    r->nodes = NODES;
    for (unsigned i = 0; i < NODES; i++)
        r->hops = d->hops[i] > r->hops ? d->hops[i] : r->hops;
    begin(d, r);
    demo_check(d, follow(d, r, true) == 0, "the rollout is done");
    fleet_wait_running(f, 20, r->version, r->release);
    for (unsigned i = 0; i < NODES; i++) {
        const int k = r->ring[i];
        const double at = (double)fleet_first_boot(&f->node[i], r->version);
        said[k]++;
        once += fleet_booted(&f->node[i], r->version) == 1 && f->node[i].boots == 2;
        in_time[k] += r->opened_us[k] > 0 && at >= r->opened_us[k] && (k == 2 || at < r->opened_us[k + 1]);
    }
    demo_check(d, in_time[0] == CANARIES && said[0] == CANARIES, "%u of %u canaries booted it first", in_time[0],
               said[0]);
    demo_check(d, in_time[1] == said[1], "%u of %u of the hash share booted it next, before the others were let",
               in_time[1], said[1]);
    demo_check(d, in_time[2] == said[2], "%u of %u others booted it last", in_time[2], said[2]);
    demo_check(d, once == NODES, "all %u run %s: the air saw each start it once, and each reports it", once,
               r->version);
}

/* What a bad release is expected to end in. */
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
        if (!is_canary(n) || fleet_booted(n, x->release->version) == 0)
            continue;
        x->tried++;
        x->back += fleet_reported(f, n, &report) && report.running == 2 && report.target == x->release->release &&
                   strcmp(report.phase, "rolled back") == 0 && strcmp(report.reason, x->reason) == 0;
    }
    return x->tried > 0 && x->back == x->tried;
}

/* A release that must stop at the canaries, for this reason. */
static void bad(struct demo *d, struct demo_release *r, const char *reason)
{
    struct fleet *f = &d->fleet;
    struct failure failure = {.release = r, .reason = reason};
    unsigned boots = 0, others = 0;
    publish(d, r);
    r->nodes = CANARIES;
    for (unsigned i = 0; i < NODES; i++)
        if (is_canary(&f->node[i]) && d->hops[i] > r->hops)
            r->hops = d->hops[i];
    begin(d, r);
    demo_check(d, follow(d, r, false) == 6, "the gate stopped it");
    fleet_poll(f, 30, all_back, &failure);
    fleet_wait_running(f, 20, "2.0.0", 2);
    demo_check_gate(d, r);
    for (unsigned i = 0; i < NODES; i++)
        *(is_canary(&f->node[i]) ? &boots : &others) += fleet_booted(&f->node[i], r->version);
    demo_check(d, failure.tried > 0 && failure.back == failure.tried,
               "%u of %u canaries that booted it (%u times) gave it up by themselves: %s", failure.back, failure.tried,
               boots, reason);
    demo_check(d, others == 0, "no other node ever booted it; all run 2.0.0");
}

int main(void)
{
    static struct demo_release release[] = {{.release = 2, .stem = "2.0.0", .models = 1u << 1},
                                            {.release = 3, .stem = "3.0.0-selftest", .models = 1u << 1},
                                            {.release = 4, .stem = "3.0.1-hang", .models = 1u << 1}};
    struct demo *d = &demo;
    demo_begin(d, SCENARIO, NODES);
    start(d);
    good(d, &release[0]);
    demo_headline(d, "3.0.0, whose self-test fails");
    bad(d, &release[1], "self-test failed");
    demo_headline(d, "3.0.1, which hangs");
    bad(d, &release[2], "watchdog");
    demo_table(d, release, sizeof release / sizeof release[0]);
    fleet_close(&d->fleet);
    printf("took %.0f s\ndemo: ok\n", fleet_now() - d->begun);
    return 0;
}
