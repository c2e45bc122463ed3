/*
 * What the live air writes down: the record of frames, the log of happenings, the statistics. Formats: live.h.
 */
#include "live_state.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORD_BUFFER (256u << 10)

static int open_file(FILE **file, const char *path)
{
    if (!path)
        return 0;
    *file = fopen(path, "we");
    if (*file)
        return 0;
    fprintf(stderr, "meshsim: %s: %s\n", path, strerror(errno));
    return -1;
}

int sim_live_record_open(struct sim_live *l)
{
    char text[128];
    if (open_file(&l->record, l->config.record) != 0 || open_file(&l->log, l->config.log) != 0)
        return -1;
    if (l->record)
        setvbuf(l->record, NULL, _IOFBF, RECORD_BUFFER);
    if (l->log)
        setvbuf(l->log, NULL, _IOLBF, 4096);
    snprintf(text, sizeof text, "%lld %s", (long long)time(NULL), l->scenario.name);
    sim_live_log(l, UINT32_MAX, "start", text);
    return 0;
}

void sim_live_log(struct sim_live *l, uint32_t device, const char *what, const char *text)
{
    if (!l->log)
        return;
    sim_time now = sim_medium_now(l->medium);
    fprintf(l->log, "%" PRIu64 ".%06" PRIu64 " %s %s%s%s\n", now / 1000000u, now % 1000000u,
            device < l->scenario.count ? l->scenario.node[device].name : "-", what, text ? " " : "", text ? text : "");
}

void sim_live_record_event(struct sim_live *l, const struct sim_event_report *report)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[SIM_VERDICT_COUNT] = {
        [SIM_RECEIVED] = 'R',     [SIM_LOST_OFF] = 'O', [SIM_LOST_DEAF] = 'D',   [SIM_LOST_HALF_DUPLEX] = 'H',
        [SIM_LOST_PRIMARY] = 'P', [SIM_LOST_AUX] = 'A', [SIM_LOST_RANDOM] = 'L', [SIM_LOST_CUT] = 'C'};
    char hex[2 * SIM_AD_MAX + 1] = "-";
    for (size_t i = 0; i < report->len && i < SIM_AD_MAX; i++) {
        hex[2 * i] = digits[report->data[i] >> 4];
        hex[2 * i + 1] = digits[report->data[i] & 15];
        hex[2 * i + 2] = 0;
    }
    fprintf(l->record, "%" PRIu64 " %" PRIu64 " %s %u %u %s", report->start, report->end,
            l->scenario.node[report->device].name, report->set, report->aux_channel, hex);
    for (size_t i = 0; i < report->hearers; i++)
        fprintf(l->record, " %s=%c", l->scenario.node[report->hearer[i]].name, letters[report->verdict[i]]);
    fputc('\n', l->record);
}

/* --- statistics
 * ---------------------------------------------------------------------------------------------------------- */

/* Numbers are doubles in the library: exact up to 2^53, which no run reaches. */
static void put(cJSON *tree, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(tree, name, (double)value);
}

static void put_verdicts(cJSON *tree, const uint64_t verdict[SIM_VERDICT_COUNT], int first)
{
    for (int v = first; v < SIM_VERDICT_COUNT; v++) {
        char name[32];
        snprintf(name, sizeof name, "%s", sim_verdict_name((enum sim_verdict)v));
        for (char *space = name; (space = strchr(space, ' ')) != NULL;)
            *space = '_';
        put(tree, name, verdict[v]);
    }
}

static void put_radio(cJSON *tree, const struct sim_medium_counters *counters)
{
    put(tree, "events", counters->events);
    put(tree, "bytes", counters->bytes);
    put(tree, "airtime_us", counters->airtime_us);
    put(tree, "received", counters->verdict[SIM_RECEIVED]);
    put_verdicts(cJSON_AddObjectToObject(tree, "lost"), counters->verdict, SIM_RECEIVED + 1);
}

static void put_device(cJSON *devices, const struct live_host *h)
{
    const struct sim_live *l = h->live;
    const struct sim_controller_counters *counters = sim_controller_counters(h->controller);
    cJSON *tree = cJSON_AddObjectToObject(devices, l->scenario.node[h->device].name);
    put_radio(tree, sim_medium_device_counters(l->medium, h->device));
    put_verdicts(cJSON_AddObjectToObject(tree, "heard"), h->heard, SIM_RECEIVED);
    cJSON_AddBoolToObject(tree, "connected", h->fd >= 0);
    put(tree, "connections", h->connections);
    put(tree, "commands", counters->commands);
    put(tree, "refused", counters->refused);
    put(tree, "noise", counters->noise);
    put(tree, "reports", counters->reports);
    put(tree, "reports_dropped", counters->reports_dropped);
}

struct cJSON *sim_live_stats(struct sim_live *l)
{
    char seed[24];
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddStringToObject(tree, "scenario", l->scenario.name);
    snprintf(seed, sizeof seed, "%" PRIu64, l->scenario.seed);
    cJSON_AddRawToObject(tree, "seed", seed); /* all 64 bits of it */
    cJSON_AddNumberToObject(tree, "seconds", (double)sim_medium_now(l->medium) / 1e6);
    put(tree, "loss_ppm", l->loss_ppm);
    cJSON *late = cJSON_AddObjectToObject(tree, "late_us");
    put(late, "mean", l->wakes > 0 ? l->late_sum_us / l->wakes : 0);
    put(late, "max", l->late_max_us);
    put_radio(tree, sim_medium_counters(l->medium));
    cJSON *devices = cJSON_AddObjectToObject(tree, "devices");
    for (uint32_t i = 0; i < l->scenario.count; i++)
        put_device(devices, &l->host[i]);
    return tree;
}

static int write_stats(struct sim_live *l)
{
    if (!l->config.stats)
        return 0;
    cJSON *tree = sim_live_stats(l);
    char *text = cJSON_Print(tree);
    FILE *file = NULL;
    int result = -1;
    if (text && open_file(&file, l->config.stats) == 0) {
        bool is_written = fprintf(file, "%s\n", text) > 0;
        if (fclose(file) == 0 && is_written)
            result = 0;
        else
            fprintf(stderr, "meshsim: %s: %s\n", l->config.stats, strerror(errno));
    }
    cJSON_free(text);
    cJSON_Delete(tree);
    return result;
}

int sim_live_record_close(struct sim_live *l)
{
    int result = 0;
    sim_live_now(l);
    sim_live_log(l, UINT32_MAX, "stop", NULL);
    if (l->record && (ferror(l->record) | fclose(l->record)) != 0) {
        fprintf(stderr, "meshsim: %s: could not be written in full\n", l->config.record);
        result = -1;
    }
    if (l->log && fclose(l->log) != 0)
        result = -1;
    l->record = l->log = NULL;
    return write_stats(l) == 0 ? result : -1;
}
