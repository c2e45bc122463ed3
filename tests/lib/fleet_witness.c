/*
 * What happened in a fleet: the air's log on one side, the daemon's API on the other, and the nodes' flash.
 */
#include "fleet.h"

#include "fleet_part.h"
#include "fleet_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_EVERY 0.15

/* --- the air's log ------------------------------------------------------------------------------------------------ */

static void note_boot(struct fleet *f, const char *device, uint64_t at_us, const char *version)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct fleet_node *n = &f->node[i];
        if (strcmp(n->name, device) != 0)
            continue;
        if (n->boots == FLEET_BOOTS_MAX)
            fleet_fail(f, "%s started %u times", n->name, n->boots);
        n->boot[n->boots].at_us = at_us;
        snprintf(n->boot[n->boots].version, sizeof n->boot[0].version, "%s", version);
        n->boots++;
    }
}

void fleet_witness(struct fleet *f)
{
    char path[FLEET_PATH_MAX], line[300];
    snprintf(path, sizeof path, "%s/air.log", f->dir);
    FILE *file = fopen(path, "re");
    if (file == NULL || fseek(file, f->log_offset, SEEK_SET) != 0) {
        if (file != NULL)
            fclose(file);
        return;
    }
    while (fgets(line, sizeof line, file) != NULL && strchr(line, '\n') != NULL) {
        unsigned long long seconds, micros;
        char device[32], version[16];
        f->log_offset = ftell(file);
        if (sscanf(line, "%llu.%llu %31s log version=%15s", &seconds, &micros, device, version) == 4)
            note_boot(f, device, seconds * 1000000u + micros, version);
    }
    fclose(file);
}

const char *fleet_runs(const struct fleet_node *n)
{
    return n->boots > 0 ? n->boot[n->boots - 1].version : "";
}

unsigned fleet_booted(const struct fleet_node *n, const char *version)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n->boots; i++)
        count += strcmp(n->boot[i].version, version) == 0;
    return count;
}

unsigned fleet_changes(const struct fleet_node *n)
{
    unsigned count = 0;
    for (unsigned i = 1; i < n->boots; i++)
        count += strcmp(n->boot[i].version, n->boot[i - 1].version) != 0;
    return count;
}

uint64_t fleet_first_boot(const struct fleet_node *n, const char *version)
{
    for (unsigned i = 0; i < n->boots; i++)
        if (strcmp(n->boot[i].version, version) == 0)
            return n->boot[i].at_us;
    return UINT64_MAX;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

bool fleet_poll(struct fleet *f, double seconds, fleet_condition *condition, void *ctx)
{
    const double end = fleet_now() + seconds;
    for (;;) {
        fleet_witness(f);
        if (condition(f, ctx))
            return true;
        if (fleet_now() >= end)
            return false;
        fleet_pause(POLL_EVERY);
    }
}

void fleet_wait(struct fleet *f, double seconds, const char *what, fleet_condition *condition, void *ctx)
{
    if (!fleet_poll(f, seconds, condition, ctx))
        fleet_fail(f, "waited %.0f s for %s in vain", seconds, what);
}

/* --- the daemon --------------------------------------------------------------------------------------------------- */

static const cJSON *find_node(const cJSON *nodes, uint32_t id)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(nodes, "nodes"))
    {
        if ((uint32_t)fleet_number(item, "node") == id)
            return item;
    }
    return NULL;
}

bool fleet_reported(struct fleet *f, const struct fleet_node *n, struct fleet_report *report)
{
    char path[64];
    memset(report, 0, sizeof *report);
    snprintf(path, sizeof path, "/v1/nodes/%s", n->name);
    cJSON *json = fleet_get(f, path);
    const bool has = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "report"));
    snprintf(report->phase, sizeof report->phase, "%s", fleet_text(json, "report.phase"));
    snprintf(report->reason, sizeof report->reason, "%s", fleet_text(json, "report.reason"));
    report->running = (unsigned)fleet_number(json, "report.running");
    report->target = (unsigned)fleet_number(json, "report.target");
    cJSON_Delete(json);
    return has;
}

static bool all_enrolled(struct fleet *f, void *ctx)
{
    (void)ctx;
    cJSON *nodes = fleet_get(f, "/v1/nodes");
    bool all = nodes != NULL;
    for (unsigned i = 0; i < f->count && all; i++)
        all = f->node[i].pid == 0 || strcmp(fleet_text(find_node(nodes, f->node[i].id), "state"), "enrolled") == 0;
    cJSON_Delete(nodes);
    return all;
}

void fleet_wait_enrolled(struct fleet *f, double seconds)
{
    fleet_wait(f, seconds, "every node to be enrolled", all_enrolled, NULL);
}

struct phase_wanted {
    unsigned release;
    const char *phase;
    char last[300];
};

static bool has_phase(struct fleet *f, void *ctx)
{
    struct phase_wanted *w = ctx;
    char path[64];
    snprintf(path, sizeof path, "/v1/rollouts/%u", w->release);
    cJSON *json = fleet_get(f, path);
    snprintf(w->last, sizeof w->last, "%s: %s", fleet_text(json, "phase"), fleet_text(json, "why"));
    const bool has = strcmp(fleet_text(json, "phase"), w->phase) == 0;
    cJSON_Delete(json);
    return has;
}

void fleet_wait_phase(struct fleet *f, double seconds, unsigned release, const char *phase)
{
    struct phase_wanted wanted = {.release = release, .phase = phase};
    if (!fleet_poll(f, seconds, has_phase, &wanted))
        fleet_fail(f, "waited %.0f s for release %u to be %s; it is %s", seconds, release, phase, wanted.last);
}

struct running_wanted {
    const char *version;
    unsigned release;
    char last[120];
};

static bool all_run(struct fleet *f, void *ctx)
{
    struct running_wanted *w = ctx;
    cJSON *nodes = fleet_get(f, "/v1/nodes");
    bool all = nodes != NULL;
    for (unsigned i = 0; i < f->count && all; i++) {
        const cJSON *node = find_node(nodes, f->node[i].id);
        if (f->node[i].pid == 0)
            continue;
        all = strcmp(fleet_runs(&f->node[i]), w->version) == 0 &&
              (unsigned)fleet_number(node, "report.running") == w->release &&
              strcmp(fleet_text(node, "report.phase"), "trial") != 0;
        if (!all)
            snprintf(w->last, sizeof w->last, "%s runs %s, reports %u, %s", f->node[i].name, fleet_runs(&f->node[i]),
                     (unsigned)fleet_number(node, "report.running"), fleet_text(node, "report.phase"));
    }
    cJSON_Delete(nodes);
    return all;
}

void fleet_wait_running(struct fleet *f, double seconds, const char *version, unsigned release)
{
    struct running_wanted wanted = {.version = version, .release = release};
    if (!fleet_poll(f, seconds, all_run, &wanted))
        fleet_fail(f, "waited %.0f s for all to run %s: %s", seconds, version, wanted.last);
}

bool fleet_logged(const struct fleet *f, const char *name, const char *text)
{
    char path[FLEET_PATH_MAX], line[400];
    bool found = false;
    snprintf(path, sizeof path, "%s/%s.log", f->dir, name);
    FILE *file = fopen(path, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = strstr(line, text) != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

/* --- flash -------------------------------------------------------------------------------------------------------- */

bool fleet_holds(struct fleet *f, const struct fleet_node *n, unsigned release)
{
    static const char *const slots[] = {"slot0", "slot1"};
    if (n->part != NULL)
        return fleet_part_holds(n->part, release);
    cJSON *flash = fleet_inspect(f, n);
    bool holds = false;
    for (unsigned i = 0; i < 2; i++) {
        const cJSON *slot = cJSON_GetObjectItemCaseSensitive(flash, slots[i]);
        holds |= fleet_number(slot, "sealed") != 0 && fleet_number(slot, "verifies") != 0 &&
                 (unsigned)fleet_number(slot, "release") == release;
    }
    cJSON_Delete(flash);
    return holds;
}

struct staged_wanted {
    unsigned release;
    bool held[FLEET_NODES_MAX]; /* looked into once */
    char last[32];
};

static bool all_hold(struct fleet *f, void *ctx)
{
    struct staged_wanted *w = ctx;
    bool all = true;
    for (unsigned i = 0; i < f->count; i++) {
        if (w->held[i] || f->node[i].pid == 0)
            continue;
        w->held[i] = fleet_holds(f, &f->node[i], w->release);
        if (!w->held[i])
            snprintf(w->last, sizeof w->last, "%s", f->node[i].name);
        all = all && w->held[i];
    }
    return all;
}

void fleet_wait_staged(struct fleet *f, double seconds, unsigned release)
{
    struct staged_wanted wanted = {.release = release};
    if (!fleet_poll(f, seconds, all_hold, &wanted))
        fleet_fail(f, "waited %.0f s for all to hold release %u: %s does not", seconds, release, wanted.last);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

#define RECORD_LINE_MAX 4096
#define AD_HEAD 4 /* length, type, company: docs/SPEC.md section 9 */

static size_t from_hex(const char *text, uint8_t *out, size_t cap)
{
    size_t n = 0;
    unsigned byte;
    while (n < cap && sscanf(text + 2 * n, "%2x", &byte) == 1)
        out[n++] = (uint8_t)byte;
    return n;
}

void fleet_frames(struct fleet *f, fleet_each_frame *each, void *ctx)
{
    static char line[RECORD_LINE_MAX];
    char path[FLEET_PATH_MAX];
    process_stop(f->air, 3000);
    f->air = 0;
    snprintf(path, sizeof path, "%s/air.record", f->dir);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        fleet_fail(f, "nothing was recorded");
    while (fgets(line, sizeof line, file) != NULL) { // cppcheck-suppress nullPointerRedundantCheck
        unsigned long long start;
        char device[32], hex[600];
        uint8_t data[256];
        int used = 0;
        if (sscanf(line, "%llu %*u %31s %*u %*u %599s%n", &start, device, hex, &used) != 3)
            continue;
        const size_t n = from_hex(hex, data, sizeof data);
        if (n <= AD_HEAD)
            continue;
        const struct fleet_frame frame = {
            .at_us = start, .device = device, .frame = data + AD_HEAD, .len = n - AD_HEAD, .outcomes = line + used};
        each(f, &frame, ctx);
    }
    fclose(file);
}

bool fleet_received(const struct fleet_frame *frame, const char *device)
{
    char text[40];
    const int n = snprintf(text, sizeof text, " %s=R", device);
    const char *at = strstr(frame->outcomes, text);
    return at != NULL && (at[n] == ' ' || at[n] == '\n' || at[n] == 0);
}
