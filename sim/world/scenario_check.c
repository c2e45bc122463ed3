/*
 * Relations between values of a scenario: what would be without effect or cannot be is refused, with the line that says
 * it.
 */
#include <stdio.h>
#include <string.h>

#include "meshd/release/policy.h"
#include "scenario_parser.h"

#define KINDS(topology) (1u << (topology))
#define LINE KINDS(SIM_TOPOLOGY_LINE)
#define GRID KINDS(SIM_TOPOLOGY_GRID)
#define DISC KINDS(SIM_TOPOLOGY_DISC)
#define BUILDINGS KINDS(SIM_TOPOLOGY_BUILDINGS)
#define CSV KINDS(SIM_TOPOLOGY_CSV)

/* Keys of [topology] and the kinds that know them. */
static const struct {
    const char *key;
    unsigned kinds;
    const char *words;
} TOPOLOGY_KEYS[] = {
    {"nodes", LINE | DISC | BUILDINGS, "line, disc or buildings"},
    {"columns", GRID, "grid"},
    {"rows", GRID, "grid"},
    {"spacing", LINE | GRID, "line or grid"},
    {"first", LINE | GRID, "line or grid"},
    {"prefix", LINE | GRID | DISC | BUILDINGS, "line, grid, disc or buildings"},
    {"degree", DISC, "disc"},
    {"radius", DISC, "disc"},
    {"buildings", BUILDINGS, "buildings"},
    {"floors", BUILDINGS, "buildings"},
    {"width", BUILDINGS, "buildings"},
    {"depth", BUILDINGS, "buildings"},
    {"street", BUILDINGS, "buildings"},
    {"floor_height", BUILDINGS, "buildings"},
    {"floor_loss", BUILDINGS, "buildings"},
    {"wall_loss", BUILDINGS, "buildings"},
    {"file", CSV, "csv"},
};

static bool check_needed(struct sim_parser *p, unsigned kind, int line)
{
    bool has_nodes = sim_parser_given(p, "topology", "nodes") != 0;
    if ((kind & (LINE | DISC | BUILDINGS)) && !has_nodes)
        return sim_parser_fail(p, line, "kind = %s needs nodes, 1 to %u",
                               kind == LINE   ? "line"
                               : kind == DISC ? "disc"
                                              : "buildings",
                               SIM_NODES_MAX);
    if (kind == GRID &&
        (sim_parser_given(p, "topology", "columns") == 0 || sim_parser_given(p, "topology", "rows") == 0))
        return sim_parser_fail(p, line, "kind = grid needs columns and rows");
    if (kind == CSV && p->file[0] == '\0')
        return sim_parser_fail(p, line, "kind = csv needs file");
    if (kind == KINDS(SIM_TOPOLOGY_LIST) && p->node_count == 0)
        return sim_parser_fail(
            p, line, "no device: give each a [node NAME], or [topology] a kind = line, grid, disc, buildings or csv");
    return true;
}

static bool check_topology(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    unsigned kind = KINDS(s->topology);
    int reach = sim_parser_given(p, "topology", "reach"), link_loss = sim_parser_given(p, "topology", "link_loss");
    int radius = sim_parser_given(p, "topology", "radius");
    bool is_near = s->reach == SIM_REACH_NEIGHBOURS;
    for (size_t i = 0; i < sizeof TOPOLOGY_KEYS / sizeof TOPOLOGY_KEYS[0]; i++) {
        int line = sim_parser_given(p, "topology", TOPOLOGY_KEYS[i].key);
        if (line != 0 && !(kind & TOPOLOGY_KEYS[i].kinds))
            return sim_parser_fail(p, line, "%s goes with kind = %s only", TOPOLOGY_KEYS[i].key,
                                   TOPOLOGY_KEYS[i].words);
    }
    if (is_near && !(kind & (LINE | GRID)))
        return sim_parser_fail(p, reach, "reach = neighbours goes with kind = line or grid only");
    if (link_loss != 0 && !is_near)
        return sim_parser_fail(p, link_loss, "link_loss goes with reach = neighbours only");
    if (radius != 0 && sim_parser_given(p, "topology", "degree") != 0)
        return sim_parser_fail(p, radius, "radius: degree sets it already, give one of the two");
    if (radius != 0)
        s->place.degree_milli = 0;
    if (!check_needed(p, kind, sim_parser_given(p, "topology", "kind")))
        return false;
    if (is_near && p->node_count > 0)
        return sim_parser_fail(p, p->node[0].line, "a position is without effect with reach = neighbours");
    if ((kind & (DISC | BUILDINGS | CSV)) && p->node_count > 0)
        return sim_parser_fail(p, p->node[0].line, "[node NAME] goes with kind = list, line or grid only");
    return true;
}

/* --- policies ------------------------------------------------------------------------------------------------------- */

static int find_label(void *ctx, const char *name)
{
    bool *is_used = ctx;
    if (strcmp(name, "canary") != 0)
        return -1;
    *is_used = true;
    return 0;
}

static bool check_release(struct sim_parser *p, unsigned slot)
{
    const struct sim_scenario *s = p->s;
    const struct sim_release_plan *plan = &p->release[slot];
    struct md_policy policy;
    char why[256];
    bool is_canary_used = false;
    int policy_line = sim_parser_release_given(p, slot, "policy");
    if (md_policy_parse(&policy, plan->policy, find_label, &is_canary_used, why, sizeof why) != 0 ||
        md_policy_check(&policy, why, sizeof why) != 0)
        return sim_parser_fail(p, policy_line, "policy: %s", why);
    if (is_canary_used && s->fleet.canaries == 0)
        return sim_parser_fail(p, policy_line, "policy: label=canary, but [fleet] canaries = 0");
    if (plan->at_us >= s->run.duration_us)
        return sim_parser_fail(
            p,
            sim_parser_release_given(p, slot, "at") ? sim_parser_release_given(p, slot, "at") : p->release_line[slot],
            "at: release %u would be published after the end: duration must be longer", slot + SIM_RELEASE_FIRST);
    if (plan->model > s->fleet.models)
        return sim_parser_fail(p, sim_parser_release_given(p, slot, "model"),
                               "model %u: must be 0 (all) to %u, the number of [fleet] models", plan->model,
                               s->fleet.models);
    if (plan->fault_revision > s->fleet.hw_revisions)
        return sim_parser_fail(p, sim_parser_release_given(p, slot, "fault_revision"),
                               "fault_revision %u: must be 0 (all) to %u, the number of [fleet] hw_revisions",
                               plan->fault_revision, s->fleet.hw_revisions);
    return true;
}

static bool check_releases(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    for (unsigned slot = 0; slot < SIM_RELEASES_MAX; slot++) {
        if (p->release_line[slot] == 0)
            continue;
        if (!check_release(p, slot))
            return false;
        s->release[s->release_count] = p->release[slot];
        s->release[s->release_count++].release = slot + SIM_RELEASE_FIRST;
    }
    int stop = sim_parser_given(p, "run", "stop");
    if (s->release_count == 0 && stop == 0)
        s->run.stop = SIM_STOP_NEVER;
    if (s->release_count == 0 && s->run.stop != SIM_STOP_NEVER)
        return sim_parser_fail(p, stop, "stop = %s: there is no [release 2] to wait for; must be never",
                               s->run.stop == SIM_STOP_DONE ? "done" : "complete");
    return true;
}

/* The first of the keys that was given. */
static int either(const struct sim_parser *p, const char *section, const char *a, const char *b)
{
    int line = sim_parser_given(p, section, a);
    return line != 0 ? line : sim_parser_given(p, section, b);
}

bool sim_parser_check(struct sim_parser *p)
{
    const struct sim_scenario *s = p->s;
    if (!check_topology(p) || !check_releases(p))
        return false;
    if (s->radio_run.scan_window_us > s->radio_run.scan_interval_us)
        return sim_parser_fail(p, either(p, "radio", "scan_window", "scan_interval"),
                               "scan_window: must not be longer than scan_interval");
    const struct sim_baseline_plan *b = &s->baseline;
    if (b->dfu_chunk_bytes > b->dfu_block_bytes || b->dfu_block_bytes > 256 * b->dfu_chunk_bytes)
        return sim_parser_fail(p, either(p, "baseline", "dfu_block", "dfu_chunk"),
                               "dfu_block: must be 1 to 256 times dfu_chunk");
    if (s->life.duty_window_us > s->life.duty_interval_us)
        return sim_parser_fail(p, either(p, "life", "duty_window", "duty_interval"),
                               "duty_window: must not be longer than duty_interval");
    if (s->run.warmup_us >= s->run.duration_us)
        return sim_parser_fail(p, either(p, "run", "warmup", "duration"), "warmup: must be shorter than duration");
    if (s->life.partition_for_us != 0 && s->life.partition_at_us >= s->run.duration_us)
        return sim_parser_fail(p, either(p, "life", "partition_at", "partition_for"),
                               "partition_at: must be before the end, duration");
    if (s->attack.kind != SIM_ATTACK_NONE && s->attack.from_us >= s->run.duration_us)
        return sim_parser_fail(p, either(p, "attack", "from", "kind"), "from: must be before the end, duration");
    return true;
}

bool sim_parser_check_fleet(struct sim_parser *p)
{
    const struct sim_scenario *s = p->s;
    uint32_t gateways = s->fleet.gateways;
    if (gateways > s->count)
        return sim_parser_fail(p, sim_parser_given(p, "fleet", "gateways"), "gateways %u: there are only %u nodes",
                               gateways, s->count);
    int canaries = sim_parser_given(p, "fleet", "canaries");
    if (canaries != 0 && s->fleet.canaries > s->count - gateways)
        return sim_parser_fail(p, canaries, "canaries %u: there are only %u nodes that are no gateways",
                               s->fleet.canaries, s->count - gateways);
    if (s->attack.kind != SIM_ATTACK_NONE && s->attack.nodes > s->count - gateways)
        return sim_parser_fail(p, either(p, "attack", "nodes", "kind"),
                               "nodes %u: there are only %u nodes that are no gateways", s->attack.nodes,
                               s->count - gateways);
    return true;
}
