#include "plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/object/tree.h"

#define FRAME_BYTES SIM_AD_MAX /* of a CHUNK frame with its advertising structure: full */
#define STEPS 256              /* of the integral over the spread, even */
#define CANARY 1u              /* bit of label 0 */

void sim_plan_defaults(struct sim_plan_options *o)
{
    *o = (struct sim_plan_options){.factor = 1.4, .fault_probability = -1, .delta_ratio = 0.1};
}

/* --- probabilities -------------------------------------------------------------------------------------------------- */

double sim_plan_binomial(uint32_t n, double p, uint32_t most)
{
    double sum = 0;
    if (most >= n || p <= 0)
        return 1;
    if (p >= 1)
        return 0;
    /* in logarithms: the first terms of a large n are too small for anything else */
    double term = n * log1p(-p), odds = log(p) - log1p(-p);
    for (uint32_t i = 0; i <= most; i++) {
        sum += exp(term);
        term += log((double)(n - i) / (i + 1)) + odds;
    }
    return sum < 1 ? sum : 1;
}

/*
 * A node whose turn is at u of the spread is exposed when at most `limit` of the others failed by u less the delay; each
 * of them failed by then with probability p times that fraction. The mean over u by Simpson's rule.
 */
double sim_plan_exposed(uint32_t m, double p, uint32_t limit, double spread_s, double delay_s)
{
    if (m == 0 || delay_s >= spread_s)
        return m;
    double delay = delay_s / spread_s, rest = 1 - delay, sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double weight = i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2;
        sum += weight * sim_plan_binomial(m - 1, p * rest * i / STEPS, limit);
    }
    return m * (delay + rest * sum / (3 * STEPS));
}

/* --- image ---------------------------------------------------------------------------------------------------------- */

static double seconds(sim_time us)
{
    return (double)us / 1e6;
}

/* Mean time between two events of a node, and the share of frames that arrive. */
static double event_s(const struct sim_scenario *s)
{
    return seconds(s->radio.interval_us) + seconds(s->radio.delay_us) / 2;
}

static double frames_s(const struct sim_scenario *s, double frames)
{
    return frames * event_s(s) / (1 - s->loss_ppm / 1e6);
}

static void plan_image(struct sim_plan_image *image, const struct sim_scenario *s, const struct sim_plan *p,
                       double factor, uint32_t bytes, uint32_t rebuilt_bytes)
{
    const struct sim_energy *e = &s->energy;
    double volt = e->voltage_mv / 1e3;
    double listen = (double)s->radio_run.scan_window_us / s->radio_run.scan_interval_us;
    uint32_t airtime_us = 3 * sim_airtime_ext_ind_us(SIM_PHY_1M) +
                          sim_airtime_aux_us((enum sim_phy)s->radio_run.secondary_phy, FRAME_BYTES);
    *image = (struct sim_plan_image){.bytes = bytes, .chunks = mp_tree_positions(bytes)};
    image->floor_s = frames_s(s, (double)image->chunks + p->hops);
    image->distribution_s = image->floor_s * factor;
    double send_s = image->chunks * seconds(airtime_us), listen_s = image->distribution_s * listen - send_s;
    image->send_j = send_s * e->tx_ua / 1e6 * volt;
    image->listen_j = (listen_s > 0 ? listen_s : 0) * e->rx_ua / 1e6 * volt +
                      image->distribution_s * (1 - listen) * e->sleep_na / 1e9 * volt;
    image->flash_j =
        ((double)image->chunks + (rebuilt_bytes > 0 ? mp_tree_positions(rebuilt_bytes) : 0)) * e->flash_write_nj / 1e9;
    image->node_j = image->listen_j + image->send_j + image->flash_j;
    image->fleet_kwh = image->node_j * p->nodes / 3.6e6;
    image->cost = image->fleet_kwh * e->price_milli / 1e3;
    if (s->life.battery_uah > 0)
        image->battery = image->node_j / (s->life.battery_uah / 1e6 * 3600 * volt);
}

/* --- rings ---------------------------------------------------------------------------------------------------------- */

static int find_label(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "canary") == 0 ? 0 : -1;
}

static uint32_t limit_of(const struct md_ring_policy *ring, uint32_t members)
{
    uint32_t percent = (uint32_t)((uint64_t)members * ring->max_failures_bp / 10000);
    return ring->max_failures_bp < 10000 && percent < ring->max_failures ? percent : ring->max_failures;
}

/* Members of each ring: the canaries, where their label is named, and the share of the others. Rounded as a whole, so
 * that the last ring of 100 % has everybody. */
static void count_members(struct sim_plan *p, const struct md_policy *policy, double canaries)
{
    double reached = 0, others = p->nodes - canaries;
    bool has_canaries = false;
    uint32_t before = 0;
    for (uint32_t i = 0; i < policy->ring_count; i++) {
        double share = policy->ring[i].share / 1e4;
        has_canaries = has_canaries || (policy->ring[i].labels & CANARY);
        reached = others * share + (has_canaries ? canaries : canaries * share);
        uint32_t now = (uint32_t)(reached + 0.5);
        p->ring[i].members = now > before ? now - before : 0;
        before = now;
    }
}

/* From a failing node's boot to the hold at the others. */
static double detection_s(const struct sim_scenario *s, const struct sim_release_plan *r,
                          const struct md_policy *policy, uint32_t hops)
{
    double boot = seconds(s->life.boot_us), told = 2 * frames_s(s, hops) + seconds(s->fleet.backhaul_us);
    switch (r->fault) {
    case SIM_FAULT_CRASH:
        return boot + boot + told;
    case SIM_FAULT_SELFTEST:
        return boot + seconds(s->life.selftest_us) + boot + told;
    case SIM_FAULT_NONE:
    case SIM_FAULT_HANG:
    case SIM_FAULT_MUTE:
    case SIM_FAULT_BRICK:
    case SIM_FAULT_DEGRADE:
        break;
    }
    return boot + policy->confirm_s + boot + told;
}

/* Probability that a member fails where the ring's gate can see it. */
static double shown(const struct sim_plan *p, double soak_s)
{
    if (!p->is_seen)
        return 0;
    return p->fault_probability * (p->shows_after_s > 0 ? -expm1(-soak_s / p->shows_after_s) : 1);
}

static void plan_rings(struct sim_plan *p, const struct sim_scenario *s, const struct md_policy *policy)
{
    double confirm = seconds(s->life.boot_us) + seconds(s->life.selftest_us) + 2 * frames_s(s, p->hops);
    double at = 0, latest = 0, opens = 1;
    p->ring_count = policy->ring_count;
    for (uint32_t i = 0; i < p->ring_count; i++) {
        const struct md_ring_policy *rule = &policy->ring[i];
        struct sim_plan_ring *ring = &p->ring[i];
        memcpy(ring->name, rule->name, sizeof ring->name);
        ring->limit = limit_of(rule, ring->members);
        ring->spread_s = policy->spread_s;
        ring->confirm_s = confirm;
        ring->soak_s = rule->soak_s;
        ring->deadline_s = rule->deadline_s;
        ring->is_stuck = ring->members < rule->min_reports;
        double staged = i == 0 ? p->full.distribution_s : 0;
        ring->opens_s = at + (staged < policy->stage_deadline_s ? staged : policy->stage_deadline_s);
        ring->ends_s = at = ring->opens_s + ring->spread_s + confirm + ring->soak_s;
        ring->latest_s = latest += policy->stage_deadline_s + ring->deadline_s + ring->soak_s;
        ring->opens = opens;
        bool in_trial = p->is_seen && p->shows_after_s <= 0;
        ring->expected = in_trial ? sim_plan_exposed(ring->members, p->fault_probability, ring->limit, ring->spread_s,
                                                     p->detection_s)
                                  : ring->members;
        double fails = shown(p, ring->soak_s);
        ring->passes = fails > 0 ? sim_plan_binomial(ring->members, fails, ring->limit) : 1;
        if (ring->is_stuck)
            ring->passes = 0;
        p->expected += opens * ring->expected;
        opens *= ring->passes;
    }
    p->ends_s = at;
    p->latest_s = latest;
    p->everywhere = opens;
}

static const struct sim_release_plan *find_release(const struct sim_scenario *s, uint32_t release)
{
    for (uint32_t i = 0; i < s->release_count; i++)
        if (release == 0 || s->release[i].release == release)
            return &s->release[i];
    return NULL;
}

static const char *check_options(const struct sim_plan_options *o)
{
    if (!(o->factor >= 1 && o->factor <= 100))
        return "factor: must be 1 to 100";
    if (!(o->fault_probability <= 1))
        return "fault probability: must be 0 % to 100 %";
    if (!(o->delta_ratio > 0 && o->delta_ratio <= 1))
        return "delta ratio: must be above 0 and at most 1";
    return NULL;
}

int sim_plan_make(struct sim_plan *p, const struct sim_scenario *s, const struct sim_plan_options *o, uint32_t hops,
                  uint32_t unreached, char *error, size_t cap)
{
    const struct sim_release_plan *r = find_release(s, o->release);
    const char *wrong = check_options(o);
    struct md_policy policy;
    char why[200] = "";
    if (wrong == NULL && r == NULL)
        wrong = "there is no such [release]";
    if (wrong == NULL && s->loss_ppm >= 1000000)
        wrong = "frame_loss: nothing arrives";
    if (wrong == NULL && md_policy_parse(&policy, r->policy, find_label, NULL, why, sizeof why) != 0)
        wrong = why;
    if (wrong != NULL || r == NULL) {
        (void)snprintf(error, cap, "%s", wrong != NULL ? wrong : "");
        return -1;
    }
    *p = (struct sim_plan){.release = r->release, .hops = hops, .unreached = unreached};
    uint32_t nodes = s->count - s->fleet.gateways;
    uint32_t canaries = s->fleet.canaries < nodes ? s->fleet.canaries : nodes;
    uint32_t parts = r->model == 0 ? 1 : s->fleet.models;
    p->nodes = nodes / parts;
    p->fault_probability = o->fault_probability >= 0    ? o->fault_probability
                           : r->fault == SIM_FAULT_NONE ? 1
                           : r->fault_revision != 0     ? r->fault_ppm / 1e6 / s->fleet.hw_revisions
                                                        : r->fault_ppm / 1e6;
    p->is_seen = r->fault != SIM_FAULT_BRICK || policy.roll_call_s > 0;
    if (r->fault == SIM_FAULT_BRICK || r->fault == SIM_FAULT_DEGRADE)
        p->shows_after_s = seconds(r->fault_after_us);
    p->detection_s = detection_s(s, r, &policy, hops);
    double delta = ceil(r->size_bytes * o->delta_ratio);
    plan_image(&p->full, s, p, o->factor, r->size_bytes, 0);
    plan_image(&p->delta, s, p, o->factor, (uint32_t)delta, r->size_bytes);
    count_members(p, &policy, (double)canaries / parts);
    plan_rings(p, s, &policy);
    return 0;
}
