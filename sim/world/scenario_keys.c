#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_config.h"
#include "scenario_parser.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): types and fields cannot be in parentheses */
#define SIZE_OF(owner_, field) sizeof(((owner_ *)0)->field)
#define PLACE(owner_, field) .offset = offsetof(owner_, field), .size = SIZE_OF(owner_, field)
#define NUMBER_OF(owner_, section_, key_, quantity_, field, low_, high_, right_, standard_)                            \
    {                                                                                                                  \
        .section = section_, .key = key_, .type = SIM_KEY_NUMBER, PLACE(owner_, field), .quantity = quantity_,         \
        .low = low_, .high = high_, .right = right_, .standard = standard_                                             \
    }
#define CHOICE_OF(owner_, section_, key_, field, choice_, standard_)                                                   \
    {                                                                                                                  \
        .section = section_, .key = key_, .type = SIM_KEY_CHOICE, PLACE(owner_, field), .choice = choice_,             \
        .standard = standard_                                                                                          \
    }
#define NUMBER(...) NUMBER_OF(struct sim_scenario, __VA_ARGS__)
#define CHOICE(...) CHOICE_OF(struct sim_scenario, __VA_ARGS__)
#define RELEASE(...) NUMBER_OF(struct sim_release_plan, "release", __VA_ARGS__)
#define RELEASE_CHOICE(...) CHOICE_OF(struct sim_release_plan, "release", __VA_ARGS__)
#define TEXT(section_, key_, text_)                                                                                    \
    {                                                                                                                  \
        .section = section_, .key = key_, .type = SIM_KEY_TEXT, .text = text_                                          \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

#define MINUTE INT64_C(60000000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define YEAR (366 * DAY)

static const struct sim_choice NO_YES[] = {{"no", 0}, {"yes", 1}, {NULL, 0}};
static const struct sim_choice PHYS[] = {{"1M", SIM_PHY_1M}, {"2M", SIM_PHY_2M}, {"coded", SIM_PHY_CODED}, {NULL, 0}};
static const struct sim_choice KINDS[] = {{"line", SIM_TOPOLOGY_LINE},
                                          {"grid", SIM_TOPOLOGY_GRID},
                                          {"disc", SIM_TOPOLOGY_DISC},
                                          {"buildings", SIM_TOPOLOGY_BUILDINGS},
                                          {"csv", SIM_TOPOLOGY_CSV},
                                          {"list", SIM_TOPOLOGY_LIST},
                                          {NULL, 0}};
static const struct sim_choice REACHES[] = {
    {"neighbours", SIM_REACH_NEIGHBOURS}, {"physics", SIM_REACH_PHYSICS}, {NULL, 0}};
static const struct sim_choice STACKS[] = {{"mesh", SIM_RUN_MESH},
                                           {"flood", SIM_RUN_FLOOD},
                                           {"unicast", SIM_RUN_UNICAST},
                                           {"deluge", SIM_RUN_DELUGE},
                                           {"deluge-ble", SIM_RUN_DELUGE_BLE},
                                           {"mesh-dfu", SIM_RUN_MESH_DFU},
                                           {"idle-load", SIM_RUN_IDLE_LOAD},
                                           {NULL, 0}};
static const struct sim_choice STOPS[] = {
    {"complete", SIM_STOP_COMPLETE}, {"done", SIM_STOP_DONE}, {"never", SIM_STOP_NEVER}, {NULL, 0}};
static const struct sim_choice TRACES[] = {{"none", 0}, {"pcap", 1}, {NULL, 0}};
static const struct sim_choice ROWS[] = {
    {"all", SIM_ROWS_ALL}, {"nodes", SIM_ROWS_NODES}, {"none", SIM_ROWS_NONE}, {NULL, 0}};
static const struct sim_choice NETWORKS[] = {{"one", 0}, {"own", 1}, {NULL, 0}};
static const struct sim_choice HOLDS[] = {{"stop", 0}, {"revert", 1}, {NULL, 0}};
static const struct sim_choice FAULTS[] = {
    {"none", SIM_FAULT_NONE}, {"crash", SIM_FAULT_CRASH}, {"selftest", SIM_FAULT_SELFTEST}, {"hang", SIM_FAULT_HANG},
    {"mute", SIM_FAULT_MUTE}, {"brick", SIM_FAULT_BRICK}, {"degrade", SIM_FAULT_DEGRADE},   {NULL, 0}};
static const struct sim_choice ATTACKS[] = {{"none", SIM_ATTACK_NONE},
                                            {"flood", SIM_ATTACK_FLOOD},
                                            {"replay", SIM_ATTACK_REPLAY},
                                            {"forge", SIM_ATTACK_FORGE},
                                            {"sinkhole", SIM_ATTACK_SINKHOLE},
                                            {"jam", SIM_ATTACK_JAM},
                                            {NULL, 0}};

/* clang-format off */
const struct sim_key sim_keys[] = {
    TEXT("scenario", "name", SIM_TEXT_NAME),
    TEXT("scenario", "seed", SIM_TEXT_SEED),
    /* the ranges of [radio] are those of sim_radio_check() */
    NUMBER("radio", "tx_power", SIM_POWER, radio.tx_mdbm, -127000, 20000, "-127 dBm to 20 dBm", "0 dBm"),
    NUMBER("radio", "loss_1m", SIM_RATIO, radio.loss_1m_mdb, 0, 120000, "0 dB to 120 dB", "40 dB"),
    NUMBER("radio", "exponent", SIM_FACTOR, radio.exponent_milli, 1000, 8000, "1 to 8", "2.7"),
    NUMBER("radio", "shadowing", SIM_RATIO, radio.shadowing_mdb, 0, 20000, "0 dB to 20 dB", "0 dB"),
    NUMBER("radio", "noise", SIM_POWER, radio.noise_mdbm, -130000, -50000, "-130 dBm to -50 dBm", "-104 dBm"),
    NUMBER("radio", "sensitivity", SIM_POWER, radio.sensitivity_mdbm, -120000, -30000, "-120 dBm to -30 dBm", "-94 dBm"),
    NUMBER("radio", "capture", SIM_RATIO, radio.capture_mdb, 0, 30000, "0 dB to 30 dB", "8 dB"),
    NUMBER("radio", "primary_gap", SIM_TIME, radio.primary_gap_us, 150, 5000, "150 us to 5 ms", "250 us"),
    NUMBER("radio", "aux_gap", SIM_TIME, radio.aux_gap_us, 300, 5000, "300 us to 5 ms", "300 us"),
    NUMBER("radio", "interval", SIM_TIME, radio.interval_us, 20000, 1000000, "20 ms to 1 s", "20 ms"),
    NUMBER("radio", "delay", SIM_TIME, radio.delay_us, 0, 100000, "0 us to 100 ms", "10 ms"),
    NUMBER("radio", "processing", SIM_TIME, radio.processing_us, 0, 100000, "0 us to 100 ms", "150 us"),
    NUMBER("radio", "frame_loss", SIM_SHARE, loss_ppm, 0, 1000000, "0 % to 100 %", "0 %"),
    NUMBER("radio", "delivery", SIM_TIME, radio_run.delivery_us, 100, 10000, "100 us to 10 ms", "1 ms"),
    CHOICE("radio", "capture_effect", radio_run.capture_effect, NO_YES, "yes"),
    CHOICE("radio", "collisions", radio_run.collisions, NO_YES, "yes"),
    CHOICE("radio", "secondary_phy", radio_run.secondary_phy, PHYS, "1M"),
    NUMBER("radio", "scan_interval", SIM_TIME, radio_run.scan_interval_us, 2500, 10240000, "2.5 ms to 10.24 s", "100 ms"),
    NUMBER("radio", "scan_window", SIM_TIME, radio_run.scan_window_us, 2500, 10240000, "2.5 ms to 10.24 s", "100 ms"),
    NUMBER("radio", "channel", SIM_COUNT, radio_run.channel, 11, 26, "11 to 26", "15"),

    CHOICE("topology", "kind", topology, KINDS, "list"),
    NUMBER("topology", "nodes", SIM_COUNT, count, 1, SIM_NODES_MAX, "1 to 1048576", NULL),
    NUMBER("topology", "columns", SIM_COUNT, columns, 1, SIM_NODES_MAX, "1 to 1048576", NULL),
    NUMBER("topology", "rows", SIM_COUNT, rows, 1, SIM_NODES_MAX, "1 to 1048576", NULL),
    NUMBER("topology", "spacing", SIM_LENGTH, spacing_mm, 1, 10000000, "1 mm to 10 km", "10 m"),
    CHOICE("topology", "reach", reach, REACHES, "physics"),
    NUMBER("topology", "link_loss", SIM_RATIO, link_loss_mdb, 0, 200000, "0 dB to 200 dB", "60 dB"),
    TEXT("topology", "first", SIM_TEXT_FIRST),
    TEXT("topology", "prefix", SIM_TEXT_PREFIX),
    NUMBER("topology", "degree", SIM_FACTOR, place.degree_milli, 1, 1000000, "0.001 to 1000", "20"),
    NUMBER("topology", "radius", SIM_LENGTH, place.radius_mm, 1, 1000000000, "1 mm to 1000 km", NULL),
    NUMBER("topology", "buildings", SIM_COUNT, place.buildings, 1, 10000, "1 to 10000", "4"),
    NUMBER("topology", "floors", SIM_COUNT, place.floors, 1, 200, "1 to 200", "5"),
    NUMBER("topology", "width", SIM_LENGTH, place.width_mm, 1000, 10000000, "1 m to 10 km", "60 m"),
    NUMBER("topology", "depth", SIM_LENGTH, place.depth_mm, 1000, 10000000, "1 m to 10 km", "30 m"),
    NUMBER("topology", "street", SIM_LENGTH, place.street_mm, 0, 10000000, "0 m to 10 km", "20 m"),
    NUMBER("topology", "floor_height", SIM_LENGTH, place.floor_height_mm, 1000, 100000, "1 m to 100 m", "3 m"),
    NUMBER("topology", "floor_loss", SIM_RATIO, place.floor_loss_mdb, 0, 100000, "0 dB to 100 dB", "15 dB"),
    NUMBER("topology", "wall_loss", SIM_RATIO, place.wall_loss_mdb, 0, 100000, "0 dB to 100 dB", "10 dB"),
    TEXT("topology", "file", SIM_TEXT_FILE),

    CHOICE("run", "stack", run.stack, STACKS, "mesh"),
    NUMBER("run", "duration", SIM_TIME, run.duration_us, 1000, 10 * YEAR, "1 ms to 3660 d", "1 h"),
    CHOICE("run", "stop", run.stop, STOPS, "complete"),
    NUMBER("run", "settle", SIM_TIME, run.settle_us, 0, YEAR, "0 s to 366 d", "60 s"),
    NUMBER("run", "sample", SIM_TIME, run.sample_us, 1000, YEAR, "1 ms to 366 d", "1 s"),
    NUMBER("run", "warmup", SIM_TIME, run.warmup_us, 0, YEAR, "0 s to 366 d", "0 s"),
    CHOICE("run", "trace", run.trace_pcap, TRACES, "none"),
    CHOICE("run", "rows", run.rows, ROWS, "all"),

    NUMBER("fleet", "gateways", SIM_COUNT, fleet.gateways, 1, 65536, "1 to 65536", "1"),
    CHOICE("fleet", "networks", fleet.own_networks, NETWORKS, "one"),
    NUMBER("fleet", "backhaul", SIM_TIME, fleet.backhaul_us, 1000, 3600000000, "1 ms to 1 h", "50 ms"),
    NUMBER("fleet", "models", SIM_COUNT, fleet.models, 1, SIM_MODELS_MAX, "1 to 4", "1"),
    NUMBER("fleet", "hw_revisions", SIM_COUNT, fleet.hw_revisions, 1, 16, "1 to 16", "1"),
    NUMBER("fleet", "canaries", SIM_COUNT, fleet.canaries, 0, SIM_NODES_MAX, "0 to 1048576", "5"),
    CHOICE("fleet", "enrolled", fleet.enrolled, NO_YES, "yes"),
    NUMBER("fleet", "size", SIM_SIZE, fleet.size_bytes, 1, MP_IMAGE_MAX, "1 B to 16 MB", "64 KB"),

    RELEASE("at", SIM_TIME, at_us, 0, YEAR, "0 s to 366 d", "10 s"),
    RELEASE("size", SIM_SIZE, size_bytes, 1, MP_IMAGE_MAX, "1 B to 16 MB", "64 KB"),
    RELEASE("model", SIM_COUNT, model, 0, SIM_MODELS_MAX, "0 to 4", "0"),
    {.section = "release", .key = "policy", .type = SIM_KEY_TEXT, .text = SIM_TEXT_POLICY,
     .standard = "all: share=100% soak=60s"},
    RELEASE_CHOICE("on_hold", reverts_on_hold, HOLDS, "stop"),
    RELEASE_CHOICE("fault", fault, FAULTS, "none"),
    RELEASE("fault_probability", SIM_SHARE, fault_ppm, 0, 1000000, "0 % to 100 %", "100 %"),
    RELEASE("fault_revision", SIM_COUNT, fault_revision, 0, 16, "0 to 16", "0"),
    RELEASE("fault_after", SIM_TIME, fault_after_us, 1000, YEAR, "1 ms to 366 d", "10 min"),

    NUMBER("life", "drift", SIM_PPM, life.drift_ppm, 0, 1000, "0 ppm to 1000 ppm", "20 ppm"),
    NUMBER("life", "boot", SIM_TIME, life.boot_us, 1000, HOUR, "1 ms to 1 h", "2 s"),
    NUMBER("life", "selftest", SIM_TIME, life.selftest_us, 0, HOUR, "0 s to 1 h", "1 s"),
    NUMBER("life", "reboot_every", SIM_TIME, life.reboot_every_us, 0, 10 * YEAR, "0 s to 3660 d", "0 s"),
    NUMBER("life", "off_every", SIM_TIME, life.off_every_us, 0, 10 * YEAR, "0 s to 3660 d", "0 s"),
    NUMBER("life", "off_for", SIM_TIME, life.off_for_us, 1000, YEAR, "1 ms to 366 d", "10 min"),
    NUMBER("life", "join_within", SIM_TIME, life.join_within_us, 0, YEAR, "0 s to 366 d", "0 s"),
    NUMBER("life", "partition_at", SIM_TIME, life.partition_at_us, 0, YEAR, "0 s to 366 d", "0 s"),
    NUMBER("life", "partition_for", SIM_TIME, life.partition_for_us, 0, YEAR, "0 s to 366 d", "0 s"),
    NUMBER("life", "duty_share", SIM_SHARE, life.duty_ppm, 0, 1000000, "0 % to 100 %", "0 %"),
    NUMBER("life", "duty_interval", SIM_TIME, life.duty_interval_us, 2500, 40960000, "2.5 ms to 40.96 s", "1 s"),
    NUMBER("life", "duty_window", SIM_TIME, life.duty_window_us, 2500, HOUR, "2.5 ms to 1 h", "100 ms"),
    NUMBER("life", "battery", SIM_CHARGE, life.battery_uah, 0, 1000000000, "0 mAh to 1000 Ah", "0 mAh"),

    NUMBER("energy", "voltage", SIM_VOLTAGE, energy.voltage_mv, 1, 48000, "1 mV to 48 V", "3 V"),
    NUMBER("energy", "tx", SIM_CURRENT, energy.tx_ua, 0, 1000000, "0 mA to 1000 mA", "5.3 mA"),
    NUMBER("energy", "rx", SIM_CURRENT, energy.rx_ua, 0, 1000000, "0 mA to 1000 mA", "5.4 mA"),
    NUMBER("energy", "sleep", SIM_LEAKAGE, energy.sleep_na, 0, 1000000000, "0 uA to 1000 mA", "1.9 uA"),
    NUMBER("energy", "flash_write", SIM_ENERGY, energy.flash_write_nj, 0, 1000000000, "0 uJ to 1000 mJ", "1 uJ"),
    NUMBER("energy", "price", SIM_FACTOR, energy.price_milli, 0, 1000000000, "0 to 1000000", "0.25"),

    CHOICE("attack", "kind", attack.kind, ATTACKS, "none"),
    NUMBER("attack", "nodes", SIM_COUNT, attack.nodes, 1, SIM_NODES_MAX, "1 to 1048576", "1"),
    NUMBER("attack", "every", SIM_TIME, attack.every_us, 1000, 3600000000, "1 ms to 1 h", "30 ms"),
    NUMBER("attack", "from", SIM_TIME, attack.from_us, 0, YEAR, "0 s to 366 d", "0 s"),

    NUMBER("baseline", "flood_probability", SIM_SHARE, baseline.flood_ppm, 0, 1000000, "0 % to 100 %", "100 %"),
    NUMBER("baseline", "flood_repeats", SIM_COUNT, baseline.flood_repeats, 1, 100, "1 to 100", "1"),
    NUMBER("baseline", "unicast_retries", SIM_COUNT, baseline.unicast_retries, 0, 1000, "0 to 1000", "10"),
    NUMBER("baseline", "deluge_page", SIM_COUNT, baseline.deluge_page, 1, 128, "1 to 128", "48"),
    NUMBER("baseline", "deluge_packet", SIM_SIZE, baseline.deluge_packet_bytes, 1, 100, "1 B to 100 B", "23 B"),
    NUMBER("baseline", "dfu_block", SIM_SIZE, baseline.dfu_block_bytes, 64, 1048576, "64 B to 1 MB", "4096 B"),
    NUMBER("baseline", "dfu_chunk", SIM_SIZE, baseline.dfu_chunk_bytes, 8, 377, "8 B to 377 B", "256 B"),
    NUMBER("baseline", "dfu_ttl", SIM_COUNT, baseline.dfu_ttl, 1, 127, "1 to 127", "7"),
    NUMBER("baseline", "dfu_transmits", SIM_COUNT, baseline.dfu_transmits, 1, 8, "1 to 8", "3"),
    NUMBER("baseline", "dfu_relay_transmits", SIM_COUNT, baseline.dfu_relay_transmits, 1, 8, "1 to 8", "3"),
    NUMBER("baseline", "dfu_targets", SIM_COUNT, baseline.dfu_targets, 0, SIM_NODES_MAX, "0 to 1048576", "0"),
};
/* clang-format on */
const size_t sim_key_count = sizeof sim_keys / sizeof sim_keys[0];
_Static_assert(sizeof sim_keys / sizeof sim_keys[0] <= SIM_KEYS_MAX, "room for the line of every key");

static const char *const SECTIONS[] = {"scenario", "radio",  "topology", "run",     "fleet",
                                       "life",     "energy", "attack",   "baseline"};
#define SECTION_COUNT (sizeof SECTIONS / sizeof SECTIONS[0])

/* --- values --------------------------------------------------------------------------------------------------------- */

static void put_field(void *base, const struct sim_key *k, uint64_t value)
{
    char *field = (char *)base + k->offset;
    uint8_t byte = (uint8_t)value;
    uint32_t word = (uint32_t)value;
    if (k->size == sizeof byte)
        memcpy(field, &byte, sizeof byte);
    else if (k->size == sizeof word)
        memcpy(field, &word, sizeof word);
    else
        memcpy(field, &value, sizeof value);
}

static bool get_number(struct sim_parser *p, void *base, const struct sim_key *k, const char *text)
{
    int64_t value;
    if (sim_quantity_get(k->quantity, text, &value) != 0)
        return sim_parser_fail(p, p->line, "%s \"%.60s\": must be a number with %s, %s", k->key, text,
                               sim_quantity_units(k->quantity), k->right);
    if (value < k->low || value > k->high)
        return sim_parser_fail(p, p->line, "%s \"%.60s\": must be %s", k->key, text, k->right);
    put_field(base, k, (uint64_t)value);
    return true;
}

/* "line, grid or disc" */
static void list_choices(const struct sim_choice *choice, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = '\0';
    for (const struct sim_choice *c = choice; c->name != NULL && len < cap; c++) {
        const char *before = c == choice ? "" : c[1].name == NULL ? " or " : ", ";
        len += (size_t)snprintf(out + len, cap - len, "%s%s", before, c->name);
    }
}

static bool get_choice(struct sim_parser *p, void *base, const struct sim_key *k, const char *text)
{
    char known[160];
    for (const struct sim_choice *c = k->choice; c->name != NULL; c++) {
        if (strcmp(c->name, text) == 0) {
            put_field(base, k, c->value);
            return true;
        }
    }
    list_choices(k->choice, known, sizeof known);
    return sim_parser_fail(p, p->line, "%s \"%.60s\": must be %s", k->key, text, known);
}

static bool get_seed(struct sim_parser *p, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long seed = strtoull(text, &end, 0);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return sim_parser_fail(p, p->line, "seed \"%.60s\": must be a number from 0 to 2^64 - 1, decimal or 0x...",
                               text);
    p->s->seed = seed;
    return true;
}

static bool get_file(struct sim_parser *p, const char *text)
{
    if (text[0] == '\0' || strlen(text) >= sizeof p->file)
        return sim_parser_fail(p, p->line, "file \"%.60s\": must be a path of 1 to %zu bytes", text,
                               sizeof p->file - 1);
    memcpy(p->file, text, strlen(text) + 1);
    return true;
}

/* A further policy line of the file adds clauses; the syntax is checked when all are there. */
static bool get_policy(struct sim_parser *p, struct sim_release_plan *plan, const char *text, bool is_first)
{
    size_t len = is_first ? 0 : strlen(plan->policy);
    if (len + strlen(text) + 3 > sizeof plan->policy)
        return sim_parser_fail(p, p->line, "policy: too long: at most %d bytes", SIM_POLICY_TEXT_MAX - 3);
    (void)snprintf(plan->policy + len, sizeof plan->policy - len, "%s%s", len > 0 ? "; " : "", text);
    return true;
}

static bool get_text(struct sim_parser *p, void *base, const struct sim_key *k, const char *text, bool is_first)
{
    struct sim_scenario *s = p->s;
    switch (k->text) {
    case SIM_TEXT_NAME:
        return sim_parser_name(p, "name", text, s->name, sizeof s->name - 1);
    case SIM_TEXT_SEED:
        return get_seed(p, text);
    case SIM_TEXT_FIRST:
        return sim_parser_name(p, "first", text, s->first, sizeof s->first - 1);
    case SIM_TEXT_PREFIX:
        return sim_parser_name(p, "prefix", text, s->prefix, sizeof s->prefix - 1);
    case SIM_TEXT_FILE:
        return get_file(p, text);
    case SIM_TEXT_POLICY:
        return get_policy(p, base, text, is_first);
    }
    return false;
}

static bool get_value(struct sim_parser *p, void *base, const struct sim_key *k, const char *text, bool is_first)
{
    switch (k->type) {
    case SIM_KEY_NUMBER:
        return get_number(p, base, k, text);
    case SIM_KEY_CHOICE:
        return get_choice(p, base, k, text);
    case SIM_KEY_TEXT:
        return get_text(p, base, k, text, is_first);
    }
    return false;
}

void sim_parser_defaults(struct sim_parser *p)
{
    for (size_t i = 0; i < sim_key_count; i++) {
        const struct sim_key *k = &sim_keys[i];
        unsigned copies = strcmp(k->section, "release") == 0 ? SIM_RELEASES_MAX : 1;
        for (unsigned slot = 0; k->standard != NULL && slot < copies; slot++)
            (void)get_value(p, copies > 1 ? (void *)&p->release[slot] : (void *)p->s, k, k->standard, true);
    }
}

/* --- what is not known ---------------------------------------------------------------------------------------------- */

#define WORD_MAX 32

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Letters to insert, remove or replace to get from one word to the other (Levenshtein). */
static unsigned edits(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX;
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned above = row[j];
            row[j] = least(least(above, row[j - 1]) + 1, corner + (a[i - 1] != b[j - 1]));
            corner = above;
        }
    }
    return row[lb];
}

/* Whether `word` is a likely misspelling of `known`, better than the best so far. */
static bool is_nearer(const char *word, const char *known, unsigned *best)
{
    unsigned n = edits(word, known);
    if (n >= *best || n > (strlen(known) + 2) / 3)
        return false;
    *best = n;
    return true;
}

static bool fail_section(struct sim_parser *p, const char *section)
{
    unsigned best = WORD_MAX;
    const char *nearest = NULL;
    for (size_t i = 0; i < SECTION_COUNT; i++)
        if (is_nearer(section, SECTIONS[i], &best))
            nearest = SECTIONS[i];
    if (nearest != NULL)
        return sim_parser_fail(p, p->line, "unknown section [%.49s]: did you mean [%s]?", section, nearest);
    return sim_parser_fail(p, p->line,
                           "unknown section [%.49s]: known are scenario, radio, topology, node NAME, link NAME NAME, "
                           "run, fleet, release N, life, energy, attack, baseline",
                           section);
}

static bool fail_key(struct sim_parser *p, const char *section, const char *key)
{
    char known[320] = "";
    size_t len = 0;
    unsigned best = WORD_MAX;
    const char *nearest = NULL, *elsewhere = NULL;
    for (size_t i = 0; i < sim_key_count; i++) {
        const struct sim_key *k = &sim_keys[i];
        if (strcmp(k->section, section) == 0) {
            if (len < sizeof known)
                len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "", k->key);
            if (is_nearer(key, k->key, &best))
                nearest = k->key;
        } else if (strcmp(k->key, key) == 0) {
            elsewhere = k->section;
        }
    }
    if (elsewhere != NULL)
        return sim_parser_fail(p, p->line, "unknown key \"%.40s\" in [%s]: it belongs in [%s%s]", key, section,
                               elsewhere, strcmp(elsewhere, "release") == 0 ? " N" : "");
    if (nearest != NULL)
        return sim_parser_fail(p, p->line, "unknown key \"%.40s\" in [%s]: did you mean %s?", key, section, nearest);
    return sim_parser_fail(p, p->line, "unknown key \"%.40s\" in [%s]: known are %s", key, section, known);
}

static bool is_section(const char *section)
{
    for (size_t i = 0; i < SECTION_COUNT; i++)
        if (strcmp(SECTIONS[i], section) == 0)
            return true;
    return strcmp(section, "release") == 0;
}

/* --- keys ----------------------------------------------------------------------------------------------------------- */

static bool take_known(struct sim_parser *p, size_t index, unsigned slot, const char *text)
{
    const struct sim_key *k = &sim_keys[index];
    bool is_release = strcmp(k->section, "release") == 0,
         is_policy = k->type == SIM_KEY_TEXT && k->text == SIM_TEXT_POLICY;
    int *line = &p->key_line[slot][index];
    bool is_first = *line == 0 || p->line < 0;
    char where[32];
    if (!is_first && !is_policy)
        return sim_parser_fail(p, p->line, "%s in [%s] was given %s already", k->key, k->section,
                               sim_parser_where(*line, where));
    *line = p->line;
    if (is_release && p->release_line[slot] == 0)
        p->release_line[slot] = p->line;
    return get_value(p, is_release ? (void *)&p->release[slot] : (void *)p->s, k, text, is_first);
}

/* Place of [release N], or -1. */
static int release_slot(const char *number)
{
    if (number[0] < '0' + SIM_RELEASE_FIRST || number[0] >= '0' + SIM_RELEASE_FIRST + SIM_RELEASES_MAX ||
        number[1] != '\0')
        return -1;
    return number[0] - '0' - SIM_RELEASE_FIRST;
}

bool sim_parser_key(struct sim_parser *p, const char *section, const char *key, const char *text)
{
    int slot = 0;
    p->is_section_used = true;
    if (strncmp(section, "node ", 5) == 0)
        return sim_parser_node(p, section + 5, key, text);
    if (strncmp(section, "link ", 5) == 0)
        return sim_parser_link(p, section + 5, key, text);
    if (strncmp(section, "release ", 8) == 0) {
        if ((slot = release_slot(section + 8)) < 0)
            return sim_parser_fail(p, p->line, "[%.40s]: must be release 2 to 5 (release 1 is what nodes start with)",
                                   section);
        section = "release";
    } else if (strcmp(section, "release") == 0) {
        return sim_parser_fail(p, p->line, "[release]: must have a number, as in [release 2]");
    }
    for (size_t i = 0; i < sim_key_count; i++)
        if (strcmp(section, sim_keys[i].section) == 0 && strcmp(key, sim_keys[i].key) == 0)
            return take_known(p, i, (unsigned)slot, text);
    return is_section(section) ? fail_key(p, section, key) : fail_section(p, section);
}

int sim_parser_release_given(const struct sim_parser *p, unsigned slot, const char *key)
{
    for (size_t i = 0; i < sim_key_count; i++)
        if (strcmp(sim_keys[i].section, "release") == 0 && strcmp(sim_keys[i].key, key) == 0)
            return p->key_line[slot][i];
    return 0;
}

int sim_parser_given(const struct sim_parser *p, const char *section, const char *key)
{
    for (size_t i = 0; i < sim_key_count; i++)
        if (strcmp(sim_keys[i].section, section) == 0 && strcmp(sim_keys[i].key, key) == 0)
            return p->key_line[0][i];
    return 0;
}
