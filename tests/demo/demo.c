/*
 * How the demonstrations tell what happens.
 */
#include "demo.h"

#include "tests/lib/fleet_process.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void demo_begin(struct demo *d, const char *scenario, unsigned nodes)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    d->begun = fleet_now();
    d->is_terminal = isatty(STDOUT_FILENO) != 0;
    d->scenario = scenario;
    d->nodes = nodes;
}

void demo_headline(struct demo *d, const char *text)
{
    printf("\n[%5.1f s] %s\n", fleet_now() - d->begun, text);
    fflush(stdout);
}

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

struct enrolling {
    const struct demo *demo;
    unsigned count;
};

static bool enrolled(struct fleet *f, void *ctx)
{
    const struct enrolling *e = ctx;
    cJSON *status = fleet_get(f, "/v1/status");
    const unsigned n = (unsigned)fleet_number(status, "nodes.enrolled"), left = e->count > n ? e->count - n : 0;
    cJSON_Delete(status);
    if (e->demo->is_terminal) {
        printf("\r  enrolled   [%.*s%.*s] %u/%u", (int)n, "################################", (int)left,
               "................................", n, e->count);
        fflush(stdout);
    }
    return n == e->count;
}

void demo_wait_enrolled(struct demo *d, unsigned count, double seconds)
{
    struct enrolling enrolling = {.demo = d, .count = count};
    fleet_wait(&d->fleet, seconds, "the nodes to be enrolled", enrolled, &enrolling);
    if (d->is_terminal)
        putchar('\n');
}

int demo_watch(struct demo *d, unsigned release, unsigned timeout_s, void (*tick)(struct demo *d, void *ctx), void *ctx)
{
    struct fleet *f = &d->fleet;
    char program[FLEET_PATH_MAX * 2], number[16], timeout[16];
    int status;
    snprintf(program, sizeof program, "%s/bin/meshctl", f->build);
    snprintf(number, sizeof number, "%u", release);
    snprintf(timeout, sizeof timeout, "%u", timeout_s);
    const char *const argv[] = {program, "--socket", f->http, "watch", number, "--timeout", timeout, NULL};
    const pid_t watch = process_start(NULL, argv);
    while (!process_ended(watch, &status)) {
        fleet_witness(f);
        if (tick != NULL)
            tick(d, ctx);
        fleet_pause(0.15);
    }
    fleet_witness(f);
    return status;
}

void demo_check_gate(struct demo *d, const struct demo_release *r)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/rollouts/%u", r->release);
    cJSON *rollout = fleet_get(&d->fleet, path);
    const char *why = fleet_text(rollout, "why");
    demo_check(d, strcmp(fleet_text(rollout, "cause"), "gate") == 0 && *why != 0, "the gate says: %s", why);
    cJSON_Delete(rollout);
}
