/*
 * Checks of the mesh's Trickle timer in a cell, of pipelining along a line, and of 802.15.4 packet reception over the
 * signal to noise ratio.
 */
#include <math.h>
#include <stdlib.h>

#include "gen.h"
#include "lab.h"
#include "proto/mesh/trickle.h"
#include "validate.h"

#define SECOND UINT64_C(1000000)

/* --- Trickle ------------------------------------------------------------------------------------------------------- */

#define DOUBLINGS 11 /* from Imin to Imax */
#define TRICKLE_TEXT "processing = 0 us\ncollisions = no\n"

static sim_time end_of_interval(uint32_t number)
{
    sim_time end = 0;
    for (uint32_t i = 0; i <= number; i++)
        end += (sim_time)MP_TRICKLE_IMIN_MS * 1000 << (i < DOUBLINGS ? i : DOUBLINGS);
    return end;
}

/* Transmissions in each of so many intervals of Imax. 0, or -1. */
static int measure_cell(struct sim_lab *lab, uint64_t seed, uint32_t intervals, struct sim_sample *sent)
{
    static struct sim_trickle_plan plan;
    plan = (struct sim_trickle_plan){.bearer = SIM_BEARER_LEGACY, .len = 20};
    uint32_t last = DOUBLINGS + intervals;
    if (sim_lab_start(lab, sim_gen_trickle(&plan), seed, NULL) != 0 || sim_lab_run(lab, end_of_interval(last)) != 0)
        return -1;
    for (uint32_t i = DOUBLINGS + 1; i <= last; i++)
        sim_sample_add(sent, plan.sent[i]);
    return 0;
}

/* RFC 6206, section 3 and 4.2: synchronised and without loss, k nodes of a cell transmit in each interval. */
void sim_check_trickle(struct sim_judge *judge, uint64_t seed)
{
    static const uint32_t counts[] = {4, 32, 128};
    for (uint32_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct sim_lab lab;
        struct sim_sample sent = {0};
        if (sim_lab_open(&lab, sim_lab_cell(counts[i], TRICKLE_TEXT)) != 0 ||
            measure_cell(&lab, sim_lab_seed(seed, i), 100, &sent) != 0)
            sim_judge_broken(judge, "%s", lab.error);
        else
            sim_judge_exact(judge, MP_TRICKLE_K, sim_sample_mean(&sent), sim_sample_half(&sent),
                            "sent an interval, %u nodes, no loss", counts[i]);
        sim_lab_close(&lab);
    }
}

/* Chance that a node which could have heard n transmissions heard fewer than k of them. */
static double transmits(uint32_t n, double loss)
{
    double chance = pow(loss, n), sum = chance;
    for (uint32_t heard = 1; heard < MP_TRICKLE_K && heard <= n; heard++) {
        chance *= (double)(n - heard + 1) / heard * (1 - loss) / loss;
        sum += chance;
    }
    return sum;
}

/* Mean number of transmissions: nodes come to their times one after the other, and each has had every earlier
 * transmission with the same chance. */
#define SENT_MAX 64
static double mean_sent(uint32_t nodes, double loss)
{
    double chance[SENT_MAX] = {1}; /* of so many sent by now */
    for (uint32_t node = 0; node < nodes; node++) {
        for (uint32_t n = SENT_MAX - 1; n > 0; n--)
            chance[n] = chance[n] * (1 - transmits(n, loss)) + chance[n - 1] * transmits(n - 1, loss);
        chance[0] = 0;
    }
    double mean = 0;
    for (uint32_t n = 0; n < SENT_MAX; n++)
        mean += n * chance[n];
    return mean;
}

/* Slope of y over x, least squares. */
static double slope(const double *x, const double *y, uint32_t n)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (uint32_t i = 0; i < n; i++) {
        sx += x[i];
        sy += y[i];
        sxx += x[i] * x[i];
        sxy += x[i] * y[i];
    }
    return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

#define DENSITIES 7

static void measure_growth(struct sim_judge *judge, uint64_t seed, double loss)
{
    double decade[DENSITIES], sent[DENSITIES];
    char text[128];
    snprintf(text, sizeof text, TRICKLE_TEXT "frame_loss = %.0f %%\n", 100 * loss);
    for (uint32_t i = 0; i < DENSITIES; i++) {
        uint32_t nodes = 8u << i;
        struct sim_lab lab;
        struct sim_sample sample = {0};
        if (sim_lab_open(&lab, sim_lab_cell(nodes, text)) != 0 ||
            measure_cell(&lab, sim_lab_seed(seed, i), 100, &sample) != 0) {
            sim_judge_broken(judge, "%s", lab.error);
            sim_lab_close(&lab);
            return;
        }
        sim_lab_close(&lab);
        decade[i] = log10(nodes);
        sent[i] = sim_sample_mean(&sample);
        if (i % 3 == 0)
            sim_judge_near(judge, mean_sent(nodes, loss), sent[i], sim_sample_half(&sample),
                           "sent an interval, %u nodes, %.0f %% lost", nodes, 100 * loss);
    }
    sim_judge_near(judge, 1 / log10(1 / loss), slope(decade, sent, DENSITIES), 0,
                   "growth a decade of density, %.0f %% lost", 100 * loss);
}

/*
 * P. Levis, N. Patel, D. Culler, S. Shenker, "Trickle" (NSDI 2004), section 3.2: with a share p of packets lost, one node
 * in 1/p misses a transmission, one in 1/p^2 two and so on: transmissions grow with the logarithm of the density to the
 * base 1/p. The mean for each density follows from the binomial distribution.
 */
void sim_check_trickle_loss(struct sim_judge *judge, uint64_t seed)
{
    measure_growth(judge, seed, 0.1);
    measure_growth(judge, seed + 1, 0.3);
}

/* --- line ---------------------------------------------------------------------------------------------------------- */

#define HOPS 10
#define PACKETS 600
#define LINE_LEN 200
#define LINE_INTERVAL_US 25000
#define DELIVERY_US 1000
/* three ADV_EXT_IND of 136 us, the gaps between and after them, the AUX_ADV_IND at 1 Mbit/s */
#define EVENT_US (3 * 136 + 2 * 250 + 300 + (1 + 4 + 2 + 10 + LINE_LEN + 3) * 8)

static void measure_line(struct sim_judge *judge, struct sim_lab *lab, uint64_t seed, uint32_t hold_us)
{
    struct sim_line_plan plan = {
        .bearer = SIM_BEARER_EXTENDED, .len = LINE_LEN, .packets = PACKETS, .span_us = EVENT_US, .hold_us = hold_us};
    if (sim_lab_start(lab, sim_gen_line(&plan), seed, NULL) != 0 || sim_lab_run(lab, 120 * SECOND) != 0) {
        sim_judge_broken(judge, "%s", lab->error);
        return;
    }
    if (plan.arrived != PACKETS) {
        sim_judge_broken(judge, "%u of %d packets arrived at the end of the line", plan.arrived, PACKETS);
        return;
    }
    const double t = LINE_INTERVAL_US / 1e6, last = EVENT_US + DELIVERY_US, measured = (double)plan.last_at / 1e6;
    if (hold_us == 0) {
        sim_judge_exact(judge, (PACKETS - 1) * t + HOPS * last / 1e6, measured, 0,
                        "s, (k-1) t + D h, passed on at once");
        return;
    }
    sim_judge_exact(judge, (PACKETS + HOPS - 2) * t + last / 1e6, measured, 0, "s, (k+D-2) t + h, one event a hop");
    sim_judge_exact(judge, (PACKETS + HOPS) * t, measured, 2 * t, "s, (k+D) t to within two events");
}

/* k packets over D hops, one every t: the last leaves after (k-1) t and takes h for every hop. */
void sim_check_line(struct sim_judge *judge, uint64_t seed)
{
    struct sim_lab lab;
    char text[512];
    snprintf(text, sizeof text,
             "[scenario]\nname = validate\nseed = 1\n"
             "[radio]\ninterval = 25 ms\ndelay = 0 ms\nprocessing = 0 us\ndelivery = 1 ms\ncollisions = no\n"
             "[topology]\nkind = line\nnodes = %d\nspacing = 10 m\nreach = neighbours\n",
             HOPS + 1);
    if (sim_lab_open(&lab, text) != 0) {
        sim_judge_broken(judge, "%s", lab.error);
    } else {
        measure_line(judge, &lab, seed, 0);
        measure_line(judge, &lab, seed, LINE_INTERVAL_US);
    }
    sim_lab_close(&lab);
}

/* --- 802.15.4 ------------------------------------------------------------------------------------------------------ */

/*
 * PRR over SNR of packets of 23 bytes, as TOSSIM has it: (1 - Q(1.3687 sqrt(SNR - 0.9187)))^46, 46 symbols, fitted to
 * measurements of CC2420 radios by H. Lee, A. Cerpa, P. Levis, "Improving wireless simulation through noise modeling"
 * (IPSN 2007). The radio model has the standard's formula, moved by two numbers (sim/phy/ieee802154_error.h) that were
 * chosen so that its steep part lies where these measurements have it: what four points can still tell is whether the
 * shape is right, and whether packets in the engine follow the formula.
 */
#define PRR_PAIRS 33
#define PRR_LEN (23 - 4) /* SFD, length and FCS are the other four */

static void measure_prr(struct sim_judge *judge, uint64_t seed, int snr_db, double expected)
{
    const struct sim_beacon_plan plan = {.bearer = SIM_BEARER_802154,
                                         .len = PRR_LEN,
                                         .phase_us = 10000,
                                         .in_pairs = true,
                                         .scan_interval_us = 1000,
                                         .scan_window_us = 1000};
    struct sim_lab lab;
    char text[512];
    snprintf(text, sizeof text,
             "[scenario]\nname = validate\nseed = 1\n"
             "[radio]\ntx_power = 0 dBm\nnoise = -104 dBm\nsensitivity = -110 dBm\nprocessing = 0 us\n"
             "[topology]\nkind = line\nnodes = %d\nspacing = 10 m\nreach = neighbours\nlink_loss = %d dB\n",
             3 * PRR_PAIRS, 104 - snr_db);
    if (sim_lab_open(&lab, text) != 0 || sim_lab_start(&lab, sim_gen_beacon(&plan), seed, NULL) != 0 ||
        sim_lab_run(&lab, 2 * SECOND) != 0) {
        sim_judge_broken(judge, "%s", lab.error);
    } else {
        struct sim_totals totals = sim_lab_totals(&lab);
        double heard = (double)totals.outcome[SIM_HEARD], lost = (double)totals.outcome[SIM_MISSED_NOISE];
        double share = heard / (heard + lost);
        sim_judge_near(judge, expected, share, 3.29 * sqrt(share * (1 - share) / (heard + lost)),
                       "PRR of 23 bytes at %d dB", snr_db);
    }
    sim_lab_close(&lab);
}

void sim_check_prr(struct sim_judge *judge, uint64_t seed)
{
    static const double measured[] = {0.139, 0.392, 0.681, 0.879};
    for (int i = 0; i < 4; i++)
        measure_prr(judge, sim_lab_seed(seed, (uint32_t)i), 4 + i, measured[i]);
}
