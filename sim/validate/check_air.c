/*
 * Checks of the radio under load and of discovery: pure ALOHA, dense advertisers, a continuous scanner, and a scanner
 * with a duty cycle. All over Bluetooth LE legacy advertising with 31 bytes: 376 us a packet.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"
#include "lab.h"
#include "validate.h"

#define LEN 31
#define PACKET_US ((1 + 4 + 2 + 6 + LEN + 3) * 8) /* preamble, address, header, AdvA, data, CRC at 1 Mbit/s */
#define GAP_US 250
#define SECOND UINT64_C(1000000)

/* --- pure ALOHA ---------------------------------------------------------------------------------------------------- */

/*
 * N. Abramson, "The ALOHA system" (AFIPS 1970): packets of one length offered at random at a rate of G a packet time
 * get through at S = G exp(-2G). A thousand senders stand for infinitely many: they miss it by 2G/1000.
 */
#define ALOHA_SENDERS 1000
#define ALOHA_BATCHES 40

static void measure_aloha(struct sim_judge *judge, struct sim_lab *lab, uint64_t seed, double load, double packets)
{
    struct sim_poisson_plan plan = {
        .bearer = SIM_BEARER_LEGACY, .len = LEN, .mean_us = ALOHA_SENDERS * PACKET_US / load};
    struct sim_sample through = {0};
    sim_time batch_us = (sim_time)(packets * PACKET_US / load / ALOHA_BATCHES), at = SECOND;
    if (sim_lab_start(lab, sim_gen_poisson(&plan), seed, NULL) != 0 || sim_lab_run(lab, at) != 0) {
        sim_judge_broken(judge, "%s", lab->error);
        return;
    }
    uint64_t heard = sim_lab_totals(lab).outcome[SIM_HEARD];
    for (int i = 0; i < ALOHA_BATCHES; i++) {
        at += batch_us;
        if (sim_lab_run(lab, at) != 0) {
            sim_judge_broken(judge, "%s", lab->error);
            return;
        }
        uint64_t now = sim_lab_totals(lab).outcome[SIM_HEARD];
        sim_sample_add(&through, (double)(now - heard) * PACKET_US / (double)batch_us);
        heard = now;
    }
    sim_judge_exact(judge, load * exp(-2 * load), sim_sample_mean(&through), sim_sample_half(&through),
                    "S = G exp(-2G), G = %.2f", load);
}

void sim_check_aloha(struct sim_judge *judge, uint64_t seed)
{
    static const struct {
        double load, packets;
    } at[] = {{0.1, 30000}, {0.25, 60000}, {0.5, 110000}, {1, 200000}};
    struct sim_lab lab;
    if (sim_lab_open(&lab, sim_lab_cell(ALOHA_SENDERS + 1, "interval = 20 ms\ndelay = 0 ms\nprocessing = 0 us\n"
                                                           "capture_effect = no\n")) != 0)
        sim_judge_broken(judge, "%s", lab.error);
    else
        for (uint32_t i = 0; i < sizeof at / sizeof at[0]; i++)
            measure_aloha(judge, &lab, sim_lab_seed(seed, i), at[i].load, at[i].packets);
    sim_lab_close(&lab);
}

/* --- dense advertisers --------------------------------------------------------------------------------------------- */

/*
 * N advertisers with interval T and a delay of 0 to 10 ms, their phases independent: a packet is clear when none of the
 * others begins within its length before or after, P = (1 - 2 tau/(T + 5 ms))^(N-1).
 */
#define DENSE_INTERVAL_US 1000000.0
#define DENSE_DELAY_US 10000.0

static int measure_world(struct sim_lab *lab, const struct sim_beacon_plan *plan, uint64_t seed, uint32_t events,
                         struct sim_sample *clear)
{
    if (sim_lab_start(lab, sim_gen_beacon(plan), seed, NULL) != 0 || sim_lab_run(lab, 2 * SECOND) != 0)
        return -1;
    struct sim_totals before = sim_lab_totals(lab);
    if (sim_lab_run(lab, (2 + events) * SECOND) != 0)
        return -1;
    struct sim_totals after = sim_lab_totals(lab);
    double heard = (double)(after.outcome[SIM_HEARD] - before.outcome[SIM_HEARD]);
    double lost = (double)(after.outcome[SIM_MISSED_COLLISION] - before.outcome[SIM_MISSED_COLLISION]);
    sim_sample_add(clear, heard / (heard + lost));
    return 0;
}

static void measure_dense(struct sim_judge *judge, uint64_t seed, uint32_t count, uint32_t worlds, uint32_t events)
{
    const struct sim_beacon_plan plan = {.bearer = SIM_BEARER_LEGACY,
                                         .len = LEN,
                                         .phase_us = (uint32_t)(DENSE_INTERVAL_US + DENSE_DELAY_US / 2),
                                         .scan_interval_us = 40 * SECOND,
                                         .scan_window_us = 40 * SECOND};
    struct sim_sample clear = {0};
    struct sim_lab lab;
    if (sim_lab_open(&lab, sim_lab_cell(count + 1, "interval = 1 s\ndelay = 10 ms\nprocessing = 0 us\n"
                                                   "capture_effect = no\n")) != 0)
        goto broken;
    for (uint32_t i = 0; i < worlds; i++)
        if (measure_world(&lab, &plan, sim_lab_seed(seed, i), events, &clear) != 0)
            goto broken;
    double share = 2 * PACKET_US / (DENSE_INTERVAL_US + DENSE_DELAY_US / 2);
    sim_judge_exact(judge, pow(1 - share, count - 1.0), sim_sample_mean(&clear), sim_sample_half(&clear),
                    "P(clear), %u advertisers, T = 1 s", count);
    sim_lab_close(&lab);
    return;
broken:
    sim_judge_broken(judge, "%s", lab.error);
    sim_lab_close(&lab);
}

void sim_check_dense(struct sim_judge *judge, uint64_t seed)
{
    measure_dense(judge, seed, 100, 40, 10);
    measure_dense(judge, seed + 1, 500, 40, 4);
    measure_dense(judge, seed + 2, 1000, 30, 4);
}

/* --- discovery ----------------------------------------------------------------------------------------------------- */

#define PAIRS 334
#define LISTENERS_END (3 * PAIRS)

static const char *pairs_text(double interval_ms, const char *delay)
{
    static char text[1024];
    snprintf(text, sizeof text,
             "[scenario]\nname = validate\nseed = 1\n"
             "[radio]\ninterval = %.3f ms\ndelay = %s\nprocessing = 0 us\nprimary_gap = %d us\n"
             "[topology]\nkind = line\nnodes = %d\nspacing = 10 m\nreach = neighbours\nlink_loss = 60 dB\n",
             interval_ms, delay, GAP_US, LISTENERS_END);
    return text;
}

/*
 * A scanner that listens all the time discovers a beacon that advertises since long ago in the first event that begins
 * after it started. Events are T + U(0, d) apart, so the next begins after E[X^2]/2E[X] = (T + d/2)/2 + d^2/24(T + d/2)
 * on average, and its packet ends on channel i after i packets and gaps and the packet itself.
 */
#define STEADY_INTERVAL_US 100000.0
#define STEADY_DELAY_US 10000.0
#define STEADY_WORLDS 60

struct steady {
    struct sim_beacon_plan plan;
    struct sim_sample latency[SIM_PRIMARY_COUNT];
    bool found[SIM_PRIMARY_COUNT][LISTENERS_END];
};

static void steady_heard(void *ctx, uint32_t listener, sim_time now, const struct sim_heard *heard)
{
    struct steady *s = ctx;
    (void)now;
    sim_time turn = (heard->at - s->plan.listen_at) / s->plan.scan_interval_us;
    sim_time since = s->plan.listen_at + turn * s->plan.scan_interval_us;
    if (turn >= SIM_PRIMARY_COUNT || s->found[turn][listener] ||
        heard->at - PACKET_US - turn * (PACKET_US + GAP_US) < since)
        return;
    s->found[turn][listener] = true;
    sim_sample_add(&s->latency[turn], (double)(heard->at - since) / 1000);
}

void sim_check_discovery(struct sim_judge *judge, uint64_t seed)
{
    static struct steady s;
    struct sim_lab lab;
    s = (struct steady){.plan = {.bearer = SIM_BEARER_LEGACY,
                                 .len = LEN,
                                 .phase_us = (uint32_t)(STEADY_INTERVAL_US + STEADY_DELAY_US / 2),
                                 .in_pairs = true,
                                 .listen_at = 2 * SECOND,
                                 .scan_interval_us = SECOND,
                                 .scan_window_us = SECOND,
                                 .heard = steady_heard,
                                 .ctx = &s}};
    if (sim_lab_open(&lab, pairs_text(STEADY_INTERVAL_US / 1000, "10 ms")) != 0)
        goto broken;
    for (uint32_t i = 0; i < STEADY_WORLDS; i++) {
        memset(s.found, 0, sizeof s.found);
        if (sim_lab_start(&lab, sim_gen_beacon(&s.plan), sim_lab_seed(seed, i), NULL) != 0 ||
            sim_lab_run(&lab, 5 * SECOND) != 0)
            goto broken;
    }
    double mean = STEADY_INTERVAL_US + STEADY_DELAY_US / 2;
    for (int i = 0; i < SIM_PRIMARY_COUNT; i++) {
        double wait = mean / 2 + pow(STEADY_DELAY_US, 2) / 24 / mean + i * (PACKET_US + GAP_US) + PACKET_US;
        if (s.latency[i].count == PAIRS * STEADY_WORLDS)
            sim_judge_exact(judge, wait / 1000, sim_sample_mean(&s.latency[i]), sim_sample_half(&s.latency[i]),
                            "mean wait in ms, T = 100 ms, channel %d", SIM_PRIMARY_FIRST + i);
        else
            sim_judge_broken(judge, "only %llu of %d were found on channel %d", (unsigned long long)s.latency[i].count,
                             PAIRS * STEADY_WORLDS, SIM_PRIMARY_FIRST + i);
    }
    sim_lab_close(&lab);
    return;
broken:
    sim_judge_broken(judge, "%s", lab.error);
    sim_lab_close(&lab);
}

/*
 * P. Kindt, M. Saur, M. Balszun, S. Chakraborty, "Neighbor discovery latency in BLE-like protocols" (IEEE Transactions
 * on Mobile Computing, 2018): with advertisements exactly T_a apart and scan windows of d_s every T_s, the latency
 * follows from the offset of the two alone, and all offsets are equally likely. Their recursion finds the mean without
 * trying all; here all are tried, which gives the same.
 */
#define OFFSET_STEP_US 10
#define EVENTS_MAX 200000

struct duty {
    uint32_t advertise_us, scan_us, window_us;
};

/* From the start of the scanner until the end of the packet that it hears, a beacon's event beginning at `offset`;
 * negative: never. */
static double latency_us(const struct duty *d, uint64_t offset)
{
    for (uint32_t n = 0; n < EVENTS_MAX; n++) {
        for (unsigned i = 0; i < SIM_PRIMARY_COUNT; i++) {
            uint64_t start = offset + (uint64_t)n * d->advertise_us + i * (PACKET_US + GAP_US);
            uint64_t turn = start / d->scan_us;
            if (turn % SIM_PRIMARY_COUNT == i && start + PACKET_US <= turn * d->scan_us + d->window_us)
                return (double)(start + PACKET_US);
        }
    }
    return -1;
}

/* Mean over all offsets; negative when some are never found. */
static double mean_latency_us(const struct duty *d)
{
    double sum = 0;
    uint32_t count = 0;
    for (uint64_t offset = 0; offset < d->advertise_us; offset += OFFSET_STEP_US) {
        double latency = latency_us(d, offset);
        if (latency < 0)
            return -1;
        sum += latency;
        count++;
    }
    return sum / count;
}

struct hunt {
    struct sim_beacon_plan plan;
    struct sim_sample latency;
    uint32_t missing;
    bool found[LISTENERS_END];
};

static void hunt_heard(void *ctx, uint32_t listener, sim_time now, const struct sim_heard *heard)
{
    struct hunt *h = ctx;
    (void)now;
    if (h->found[listener])
        return;
    h->found[listener] = true;
    h->missing--;
    sim_sample_add(&h->latency, (double)(heard->at - h->plan.listen_at) / 1000);
}

#define HUNT_WORLDS 20
#define HUNT_MAX (600 * SECOND)

static int hunt_world(struct sim_lab *lab, struct hunt *h, uint64_t seed)
{
    memset(h->found, 0, sizeof h->found);
    h->missing = PAIRS;
    if (sim_lab_start(lab, sim_gen_beacon(&h->plan), seed, NULL) != 0)
        return -1;
    for (sim_time at = 0; h->missing > 0 && at < HUNT_MAX;) {
        at += SECOND;
        if (sim_lab_run(lab, at) != 0)
            return -1;
    }
    return 0;
}

static void measure_duty(struct sim_judge *judge, const struct duty *d, uint64_t seed)
{
    static struct hunt h;
    struct sim_lab lab;
    h = (struct hunt){.plan = {.bearer = SIM_BEARER_LEGACY,
                               .len = LEN,
                               .phase_us = d->advertise_us,
                               .in_pairs = true,
                               .listen_at = 2 * SECOND,
                               .scan_interval_us = d->scan_us,
                               .scan_window_us = d->window_us,
                               .heard = hunt_heard,
                               .ctx = &h}};
    if (sim_lab_open(&lab, pairs_text(d->advertise_us / 1000.0, "0 ms")) != 0)
        goto broken;
    for (uint32_t i = 0; i < HUNT_WORLDS; i++)
        if (hunt_world(&lab, &h, sim_lab_seed(seed, i)) != 0)
            goto broken;
    double expected = mean_latency_us(d) / 1000;
    if (expected < 0 || h.latency.count != PAIRS * HUNT_WORLDS)
        sim_judge_broken(judge, "some offsets are never discovered");
    else
        sim_judge_near(judge, expected, sim_sample_mean(&h.latency), sim_sample_half(&h.latency),
                       "mean ms, Ta %.4g, Ts %.5g, ds %.5g ms", d->advertise_us / 1000.0, d->scan_us / 1000.0,
                       d->window_us / 1000.0);
    sim_lab_close(&lab);
    return;
broken:
    sim_judge_broken(judge, "%s", lab.error);
    sim_lab_close(&lab);
}

void sim_check_kindt(struct sim_judge *judge, uint64_t seed)
{
    static const struct duty at[] = {
        {152500, 100000, 30000},    {211250, 320000, 30000},    {417500, 1280000, 11250},
        {760000, 4096000, 1024000}, {1000000, 2560000, 328125}, {22500, 1280000, 11250},
    };
    for (uint32_t i = 0; i < sizeof at / sizeof at[0]; i++)
        measure_duty(judge, &at[i], seed + i);
}
