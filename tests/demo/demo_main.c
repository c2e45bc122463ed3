/*
 * The demonstration (`make demo`): one gateway and 24 node processes in one mesh on the live air. A good release
 * reaches every node ring after ring; two bad ones stop at the canaries, which save themselves. Everything is done with
 * the programs and tools that an operator has, and each claim is checked against what the air saw and the nodes said.
 */
#include "demo.h"

#include "tests/lib/fleet_process.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLICY                                                                                                         \
    "confirm=10 stage-deadline=900; canary: label=canary soak=2 deadline=40; quarter: share=25% soak=1 deadline=60; "  \
    "all: share=100% soak=1 deadline=60"

static const char *const canaries[] = {"n6", "n18"};
#define CANARIES (sizeof canaries / sizeof canaries[0])

static struct demo demo;

void demo_check(struct demo *d, bool is_so, const char *format, ...)
{
    va_list list;
    printf(is_so ? "  ok: " : "  NOT SO: ");
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    if (!is_so)
        fleet_fail(&d->fleet, "an expectation was not met");
}

static void headline(struct demo *d, const char *text)
{
    printf("\n[%5.1f s] %s\n", fleet_now() - d->begun, text);
    fflush(stdout);
}

static bool is_canary(const struct fleet_node *n)
{
    for (size_t i = 0; i < CANARIES; i++)
        if (strcmp(n->name, canaries[i]) == 0)
            return true;
    return false;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

static bool enrolled(struct fleet *f, void *ctx)
{
    struct demo *d = ctx;
    cJSON *status = fleet_get(f, "/v1/status");
    const unsigned n = (unsigned)fleet_number(status, "nodes.enrolled");
    cJSON_Delete(status);
    if (d->is_terminal) {
        printf("\r  enrolled   [%.*s%.*s] %u/%d", (int)n, "########################", (int)(DEMO_NODES - n),
               "........................", n, DEMO_NODES);
        fflush(stdout);
    }
    return n == DEMO_NODES;
}

static void start(struct demo *d)
{
    struct fleet *f = &d->fleet;
    unsigned farthest = 0, versions = 0;
    headline(d, "One gateway, 24 nodes: keys, settings, flash, processes");
    fleet_open(f, &(struct fleet_options){.name = "demo", .scenario = DEMO_SCENARIO});
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << 1);
    for (unsigned i = 1; i <= DEMO_NODES; i++) {
        char name[16];
        bool label = false;
        snprintf(name, sizeof name, "n%u", i);
        for (size_t k = 0; k < CANARIES; k++)
            label |= strcmp(name, canaries[k]) == 0;
        fleet_node_start(f, fleet_add(f, name, 1, label ? "canary" : NULL, 1));
    }
    demo_hops(d);
    fleet_wait(f, 60, "every node to be enrolled", enrolled, d);
    if (d->is_terminal)
        putchar('\n');
    for (unsigned i = 0; i < DEMO_NODES; i++) {
        farthest = d->hops[i] > farthest ? d->hops[i] : farthest;
        versions += f->node[i].boots == 1 && strcmp(fleet_runs(&f->node[i]), "1.0.0") == 0;
    }
    demo_check(d, farthest >= 5 && d->loss_percent == 10, "%u hops to the farthest node, %u %% frame loss", farthest,
               d->loss_percent);
    demo_check(d, versions == DEMO_NODES, "%u of %d nodes run 1.0.0 and are enrolled", versions, DEMO_NODES);
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

/* Follows the distribution while `meshctl watch` shows the rings; its exit status. */
static int follow(struct demo *d, struct demo_release *r, bool to_all)
{
    struct fleet *f = &d->fleet;
    char program[FLEET_PATH_MAX * 2], number[16];
    const double frames = d->frames, bytes = d->bytes;
    int status;
    snprintf(program, sizeof program, "%s/bin/meshctl", f->build);
    snprintf(number, sizeof number, "%u", r->release);
    const char *const argv[] = {program, "--socket", f->http, "watch", number, "--timeout", "110", NULL};
    const pid_t watch = process_start(NULL, argv);
    while (!process_ended(watch, &status)) {
        unsigned staged = 0;
        double last = 0;
        fleet_witness(f);
        for (unsigned i = 0; i < DEMO_NODES && r->seconds == 0; i++) {
            const double at = to_all || is_canary(&f->node[i]) ? staged_at(f, &f->node[i], r->begun) : 0;
            last = at > last ? at : last;
            staged += at > 0;
        }
        if (r->seconds == 0 && staged == r->nodes) {
            demo_air(d);
            r->seconds = last - r->begun;
            r->frames = d->frames - frames;
            r->bytes = d->bytes - bytes;
        }
        fleet_pause(0.15);
    }
    fleet_witness(f);
    demo_openings(d, r);
    return status;
}

static void publish(struct demo *d, struct demo_release *r)
{
    struct fleet *f = &d->fleet;
    snprintf(r->version, sizeof r->version, "%.*s", (int)strcspn(r->stem, "-"), r->stem);
    /* A share is a draw: a quarter of 24 may be nobody, once in 500 times. Then it is signed again, with a new salt. */
    for (unsigned quarter = 0; quarter == 0;) {
        fleet_sign(f, r->release, r->stem, 1u << 1);
        for (unsigned i = 0; i < DEMO_NODES; i++)
            r->ring[i] = is_canary(&f->node[i]) ? 0 : 2;
        demo_rings(d, r);
        for (unsigned i = 0; i < DEMO_NODES; i++)
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
    headline(d, "2.0.0: pack, sign, import; canary, 25 %, everybody");
    publish(d, r);
    demo_compare_plan(d, r, POLICY);
    r->nodes = DEMO_NODES;
    for (unsigned i = 0; i < DEMO_NODES; i++)
        r->hops = d->hops[i] > r->hops ? d->hops[i] : r->hops;
    begin(d, r);
    demo_check(d, follow(d, r, true) == 0, "the rollout is done");
    fleet_wait_running(f, 20, r->version, r->release);
    for (unsigned i = 0; i < DEMO_NODES; i++) {
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
    demo_check(d, once == DEMO_NODES, "all %u run %s: the air saw each start it once, and each reports it", once,
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
    for (unsigned i = 0; i < DEMO_NODES; i++) {
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
    char path[64], text[400] = "";
    publish(d, r);
    r->nodes = CANARIES;
    for (unsigned i = 0; i < DEMO_NODES; i++)
        if (is_canary(&f->node[i]) && d->hops[i] > r->hops)
            r->hops = d->hops[i];
    begin(d, r);
    demo_check(d, follow(d, r, false) == 6, "the gate stopped it");
    fleet_poll(f, 30, all_back, &failure);
    fleet_wait_running(f, 20, "2.0.0", 2);
    snprintf(path, sizeof path, "/v1/rollouts/%u", r->release);
    cJSON *rollout = fleet_get(f, path);
    snprintf(text, sizeof text, "%s", fleet_text(rollout, "why"));
    const bool by_gate = strcmp(fleet_text(rollout, "cause"), "gate") == 0 && text[0] != 0;
    cJSON_Delete(rollout);
    for (unsigned i = 0; i < DEMO_NODES; i++)
        *(is_canary(&f->node[i]) ? &boots : &others) += fleet_booted(&f->node[i], r->version);
    demo_check(d, by_gate, "the gate says: %s", text);
    demo_check(d, failure.tried > 0 && failure.back == failure.tried,
               "%u of %u canaries that booted it (%u times) gave it up by themselves: %s", failure.back, failure.tried,
               boots, reason);
    demo_check(d, others == 0, "no other node ever booted it; all run 2.0.0");
}

int main(void)
{
    static struct demo_release release[] = {{.release = 2, .stem = "2.0.0"},
                                            {.release = 3, .stem = "3.0.0-selftest"},
                                            {.release = 4, .stem = "3.0.1-hang"}};
    struct demo *d = &demo;
    setvbuf(stdout, NULL, _IOLBF, 0);
    d->begun = fleet_now();
    d->is_terminal = isatty(STDOUT_FILENO) != 0;
    start(d);
    good(d, &release[0]);
    headline(d, "3.0.0, whose self-test fails");
    bad(d, &release[1], "self-test failed");
    headline(d, "3.0.1, which hangs");
    bad(d, &release[2], "watchdog");
    demo_table(d, release, sizeof release / sizeof release[0]);
    fleet_close(&d->fleet);
    printf("took %.0f s\ndemo: ok\n", fleet_now() - d->begun);
    return 0;
}
