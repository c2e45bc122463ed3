/*
 * Checks of the baselines against what was published of the systems they stand for.
 */
#include <math.h>
#include <stdlib.h>

#include "lab.h"
#include "sim/baseline/baseline.h"
#include "validate.h"

#define SECOND UINT64_C(1000000)
#define KIB 1024.0

/* What a baseline did with an image. */
struct spread {
    uint32_t complete;
    double last_s; /* from its start to the last node */
    struct sim_totals totals;
};

static void count_row(void *ctx, const struct sim_row *row)
{
    struct spread *s = ctx;
    if (row->kind != SIM_ROW_COMPLETE)
        return;
    s->complete++;
    s->last_s = (double)row->at / 1e6;
}

/* Runs until every node but the gateway has the image, at most so long. 0; or -1 after telling the judge. */
static int spread_image(struct sim_judge *judge, const char *text, const struct sim_stack *stack, uint64_t seed,
                        sim_time limit, struct spread *s)
{
    struct sim_lab lab;
    const struct sim_engine_hooks hooks = {.ctx = s, .row = count_row};
    int result = -1;
    *s = (struct spread){0};
    if (sim_lab_open(&lab, text) != 0 || sim_lab_start(&lab, stack, seed, &hooks) != 0)
        goto out;
    for (sim_time at = SECOND; s->complete + 1 < lab.field.count && at <= limit; at += SECOND)
        if (sim_lab_run(&lab, at) != 0)
            goto out;
    s->totals = sim_lab_totals(&lab);
    if (s->complete + 1 == lab.field.count)
        result = 0;
    else
        snprintf(lab.error, sizeof lab.error, "%u of %u nodes have the image after %.0f s", s->complete + 1,
                 lab.field.count, (double)limit / 1e6);
out:
    if (result != 0)
        sim_judge_broken(judge, "%s", lab.error);
    sim_lab_close(&lab);
    return result;
}

static const char *grid_text(uint32_t columns, uint32_t rows, double spacing_m, uint32_t kib, const char *baseline)
{
    static char text[1024];
    snprintf(text, sizeof text,
             "[scenario]\nname = validate\nseed = 1\n"
             "[topology]\nkind = grid\ncolumns = %u\nrows = %u\nspacing = %.1f m\n"
             "[baseline]\ndeluge_page = 48\n%s"
             "[release 2]\nat = 0 s\nsize = %u KB\n",
             columns, rows, spacing_m, baseline, kib);
    return text;
}

/* --- Deluge -------------------------------------------------------------------------------------------------------- */

/*
 * J. Hui, D. Culler (SenSys 2004): 75 nodes over several hops get "nearly 90 bytes/second, one-ninth the maximum
 * transmission rate of the radio supported under TinyOS", and control messages are "limited to 18 % of all
 * transmissions". The maximum here is the pace that TinyOS gives a sender with the CC2420 (sim/baseline/deluge.c): 23
 * bytes every 2.3 ms + U(9.5 ms). The paper does not say how many hops its network has: a grid of three and one of four
 * are tried.
 */
#define DELUGE_KIB 64
#define DELUGE_SEEDS 6
#define DELUGE_MAX_RATE (23 / (0.0023 + 0.0095 / 2))

static void measure_deluge(struct sim_judge *judge, uint64_t seed, double spacing_m, unsigned hops)
{
    struct sim_sample rate = {0}, control = {0};
    for (uint32_t i = 0; i < DELUGE_SEEDS; i++) {
        struct spread s;
        if (spread_image(judge, grid_text(15, 5, spacing_m, DELUGE_KIB, ""), sim_baseline_deluge(),
                         sim_lab_seed(seed, i), 3600 * SECOND, &s) != 0)
            return;
        uint64_t all = 0;
        for (int type = 0; type < 16; type++)
            all += s.totals.frames[type];
        sim_sample_add(&rate, DELUGE_KIB * KIB / s.last_s / DELUGE_MAX_RATE);
        sim_sample_add(&control, 1 - (double)s.totals.frames[2] / (double)all);
    }
    sim_judge_near(judge, 1.0 / 9, sim_sample_mean(&rate), sim_sample_half(&rate), "Deluge, share of the rate, %u hops",
                   hops);
    sim_judge_at_most(judge, 0.18, sim_sample_mean(&control), "Deluge, control messages, %u hops", hops);
}

void sim_check_deluge(struct sim_judge *judge, uint64_t seed)
{
    measure_deluge(judge, seed, 16, 3);
    measure_deluge(judge, seed + 100, 20, 4);
}

/* --- mesh DFU ------------------------------------------------------------------------------------------------------ */

/*
 * Nordic's documentation of its DFU distributor: 34 min for one node by unicast and 100 times that for 100, 2 h for two
 * nodes by multicast and 135 min for 100: 121 min for 8, the most that a distributor takes by default, on the line
 * between. With the sample's 326 KB (see sim/baseline/mesh_dfu.c) in chunks of 161 bytes, all nodes in range of each
 * other.
 */
#define DFU_KIB 326

static double measure_dfu(struct sim_judge *judge, uint64_t seed, uint32_t targets, uint32_t together, uint32_t kib)
{
    struct spread s;
    char baseline[64];
    snprintf(baseline, sizeof baseline, "dfu_chunk = 161 B\ndfu_targets = %u\n", together);
    if (spread_image(judge, grid_text(targets + 1, 1, 5, kib, baseline), sim_baseline_mesh_dfu(), seed,
                     12 * 3600 * SECOND, &s) != 0)
        return NAN;
    return s.last_s / 60;
}

void sim_check_mesh_dfu(struct sim_judge *judge, uint64_t seed)
{
    double one = measure_dfu(judge, seed, 1, 1, DFU_KIB);
    sim_judge_near(judge, 34, one, 0, "mesh DFU, minutes, 1 node, unicast");
    double four = measure_dfu(judge, seed + 1, 4, 1, DFU_KIB / 2) * 2;
    sim_judge_near(judge, 4, four / one, 0, "mesh DFU, 4 nodes over 1, unicast");
    double two = measure_dfu(judge, seed + 2, 2, 0, DFU_KIB);
    sim_judge_near(judge, 120, two, 0, "mesh DFU, minutes, 2 nodes, multicast");
    double eight = measure_dfu(judge, seed + 3, 8, 0, DFU_KIB / 4) * 4;
    sim_judge_near(judge, 121, eight, 0, "mesh DFU, minutes, 8 nodes, multicast");
}
