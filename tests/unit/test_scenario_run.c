/* Scenarios of runs: documented defaults, every key, overrides, hashes, positions from files, and bad ones refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/field/field.h"
#include "sim/world/quantity.h"
#include "sim/world/scenario_csv.h"

#define LINE_TEXT "[topology]\nkind = line\nnodes = 20\n"

static void scenario(struct sim_scenario *s, const char *text)
{
    char error[512] = "";
    if (sim_scenario_parse(s, "x.ini", text, strlen(text), error, sizeof error) != 0)
        fail_msg("%s", error);
}

static uint64_t hash_of(const char *text)
{
    struct sim_scenario s;
    scenario(&s, text);
    uint64_t hash = sim_scenario_hash(&s);
    sim_scenario_free(&s);
    return hash;
}

static void new_units(void **state)
{
    (void)state;
    const struct {
        enum sim_quantity quantity;
        const char *text;
        int status;
        int64_t value;
    } cases[] = {
        {SIM_TIME, "2 min", 0, 120000000},
        {SIM_TIME, "1.5 h", 0, 5400000000},
        {SIM_TIME, "7 d", 0, 604800000000},
        {SIM_TIME, "0.000001 d", 0, 86400},
        {SIM_TIME, "1 m", -1, 0},
        {SIM_TIME, "999999999 d", 0, INT64_MAX / 2},
        {SIM_TIME, "-999999999 d", 0, -(INT64_MAX / 2)},
        {SIM_SIZE, "64 KB", 0, 65536},
        {SIM_SIZE, "1.5KB", 0, 1536},
        {SIM_SIZE, "0.0005 KB", -1, 0},
        {SIM_SIZE, "16 MB", 0, 16777216},
        {SIM_SIZE, "23 B", 0, 23},
        {SIM_SIZE, "64 kB", -1, 0},
        {SIM_SIZE, "64", -1, 0},
        {SIM_PPM, "20 ppm", 0, 20},
        {SIM_PPM, "0.5 ppm", -1, 0},
        {SIM_VOLTAGE, "3.3 V", 0, 3300},
        {SIM_VOLTAGE, "900 mV", 0, 900},
        {SIM_CURRENT, "5.3 mA", 0, 5300},
        {SIM_CURRENT, "12 uA", 0, 12},
        {SIM_CURRENT, "12 nA", -1, 0},
        {SIM_LEAKAGE, "1.9 uA", 0, 1900},
        {SIM_LEAKAGE, "200 nA", 0, 200},
        {SIM_CHARGE, "225 mAh", 0, 225000},
        {SIM_CHARGE, "2.4 Ah", 0, 2400000},
        {SIM_ENERGY, "1 uJ", 0, 1000},
        {SIM_ENERGY, "250 nJ", 0, 250},
        {SIM_ENERGY, "2 mJ", 0, 2000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        if (sim_quantity_get(cases[i].quantity, cases[i].text, &value) != cases[i].status)
            fail_msg("\"%s\": not %d", cases[i].text, cases[i].status);
        assert_int_equal(value, cases[i].value);
    }
}

/* The comments of a header, from its first "[section]" of `run` on, are a scenario: what they show are the defaults. */
static void read_documented(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "r");
    char line[256];
    size_t len = 0;
    unsigned keys = 0;
    if (file == NULL)
        fail_msg("%s cannot be read: run from the top folder", path);
    while (fgets(line, sizeof line, file) != NULL) {
        char word[40];
        bool is_section = strncmp(line, " *   [", 6) == 0;
        bool is_key = sscanf(line, " * %39[a-z_] = ", word) == 1 && strncmp(line, " *   ", 5) == 0;
        if (!is_section && !(is_key && strstr(line, " = ") != NULL))
            continue;
        /* a share's sign and its comment may touch */
        char *semicolon = strchr(line, ';');
        if (semicolon != NULL)
            memcpy(semicolon, "\n", 2);
        keys += is_key;
        len += (size_t)snprintf(out + len, cap - len, "%s", line + 5);
        assert_true(len < cap);
    }
    fclose(file);
    assert_true(keys >= 59);
}

static void documented_defaults_are_the_defaults(void **state)
{
    (void)state;
    static char text[16384];
    struct sim_scenario plain, documented;
    strcpy(text, LINE_TEXT);
    read_documented("sim/world/run_plan.h", text + strlen(text), sizeof text - strlen(text));
    scenario(&documented, text);
    scenario(&plain, LINE_TEXT "[release 2]\nat = 10 s\n[run]\nstop = complete\n");
    assert_memory_equal(&plain.run, &documented.run, sizeof plain.run);
    assert_memory_equal(&plain.fleet, &documented.fleet, sizeof plain.fleet);
    assert_memory_equal(&plain.life, &documented.life, sizeof plain.life);
    assert_memory_equal(&plain.energy, &documented.energy, sizeof plain.energy);
    assert_memory_equal(&plain.attack, &documented.attack, sizeof plain.attack);
    assert_memory_equal(&plain.baseline, &documented.baseline, sizeof plain.baseline);
    assert_int_equal(plain.release[0].size_bytes, 65536);
    assert_string_equal(plain.release[0].policy, documented.release[0].policy);
    assert_true(sim_scenario_hash(&plain) == sim_scenario_hash(&documented));
    sim_scenario_free(&plain);
    sim_scenario_free(&documented);
}

/* Each key with a value that is not its default changes its field and the hash. */
static void every_key_counts(void **state)
{
    (void)state;
    static const char *const SETS[] = {
        "scenario.name=other",
        "scenario.seed=2",
        "radio.tx_power=4 dBm",
        "radio.loss_1m=41 dB",
        "radio.exponent=3",
        "radio.shadowing=1 dB",
        "radio.noise=-100 dBm",
        "radio.sensitivity=-90 dBm",
        "radio.capture=9 dB",
        "radio.primary_gap=300 us",
        "radio.aux_gap=400 us",
        "radio.interval=30 ms",
        "radio.delay=5 ms",
        "radio.processing=200 us",
        "radio.frame_loss=5 %",
        "radio.delivery=2 ms",
        "radio.capture_effect=no",
        "radio.collisions=no",
        "radio.secondary_phy=2M",
        "radio.scan_interval=200 ms",
        "radio.scan_window=50 ms",
        "radio.channel=20",
        "topology.nodes=21",
        "topology.spacing=9 m",
        "topology.reach=neighbours",
        "topology.first=gw",
        "topology.prefix=m",
        "run.stack=deluge",
        "run.duration=2 h",
        "run.stop=done",
        "run.settle=2 min",
        "run.sample=2 s",
        "run.warmup=1 min",
        "run.trace=pcap",
        "run.rows=none",
        "fleet.gateways=2",
        "fleet.networks=own",
        "fleet.backhaul=1 s",
        "fleet.models=2",
        "fleet.hw_revisions=2",
        "fleet.canaries=4",
        "fleet.enrolled=no",
        "fleet.size=1 MB",
        "release 2.at=11 s",
        "release 2.size=1 KB",
        "release 2.model=1",
        "release 2.policy=all: share=100%",
        "release 2.on_hold=revert",
        "release 2.fault=hang",
        "release 2.fault_probability=1 %",
        "release 2.fault_revision=1",
        "release 2.fault_after=1 h",
        "release 3.at=1 min",
        "life.drift=0 ppm",
        "life.boot=3 s",
        "life.selftest=0 s",
        "life.reboot_every=1 d",
        "life.off_every=1 d",
        "life.off_for=1 h",
        "life.join_within=1 min",
        "life.partition_at=1 min",
        "life.partition_for=1 min",
        "life.duty_share=50 %",
        "life.duty_interval=2 s",
        "life.duty_window=50 ms",
        "life.battery=225 mAh",
        "energy.voltage=1.8 V",
        "energy.tx=8 mA",
        "energy.rx=10 mA",
        "energy.sleep=500 nA",
        "energy.flash_write=2 uJ",
        "energy.price=0.3",
        "attack.kind=jam",
        "attack.nodes=2",
        "attack.every=1 s",
        "attack.from=1 s",
        "baseline.flood_probability=50 %",
        "baseline.flood_repeats=2",
        "baseline.unicast_retries=1",
        "baseline.deluge_page=10",
        "baseline.deluge_packet=20 B",
        "baseline.dfu_block=1 KB",
        "baseline.dfu_chunk=64 B",
        "baseline.dfu_ttl=9",
        "baseline.dfu_transmits=1",
        "baseline.dfu_relay_transmits=1",
        "baseline.dfu_targets=8",
        "node n3.position=1 m, 1 m",
        "link n1 n2.loss=80 dB",
    };
    enum { COUNT = sizeof SETS / sizeof SETS[0] };
    static const char TEXT[] = LINE_TEXT "[release 2]\nat = 10 s\n";
    uint64_t hash[COUNT + 1] = {hash_of(TEXT)};
    for (size_t i = 0; i < COUNT; i++) {
        struct sim_scenario s;
        char error[512] = "";
        if (sim_scenario_parse_with(&s, "x.ini", TEXT, sizeof TEXT - 1, &SETS[i], 1, error, sizeof error) != 0)
            fail_msg("%s", error);
        hash[i + 1] = sim_scenario_hash(&s);
        sim_scenario_free(&s);
        for (size_t j = 0; j <= i; j++)
            if (hash[i + 1] == hash[j])
                fail_msg("%s: the hash is that of %s", SETS[i], j == 0 ? "the file" : SETS[j - 1]);
    }
}

static void overrides_come_after_the_file(void **state)
{
    (void)state;
    static const char TEXT[] = "[topology]\nkind = line\nnodes = 5\n[release 2]\nsize = 1 KB\n"
                               "policy = canary: label=canary soak=5m\npolicy = all: share=100%\n"
                               "[node n1]\nposition = 1 m, 0 m\n[link n0 n1]\nloss = 50 dB\n"
                               "[fleet]\ncanaries = 2\n";
    const char *sets[] = {"radio.frame_loss=20 %",     " radio.frame_loss = 30 % ",
                          "release 2.size=2 KB",       "release 2.policy=confirm=90 all: share=100%",
                          "node n1.position=2 m, 0 m", "link n1 n0.loss=60 dB",
                          "release 3.at=20 s"};
    struct sim_scenario s;
    char error[512] = "";
    assert_int_equal(sim_scenario_parse(&s, "x.ini", TEXT, sizeof TEXT - 1, error, sizeof error), 0);
    assert_string_equal(s.release[0].policy, "canary: label=canary soak=5m; all: share=100%");
    assert_int_equal(s.run.stop, SIM_STOP_COMPLETE);
    sim_scenario_free(&s);
    sets[3] = "release 2.policy=all: share=100% soak=1s";
    if (sim_scenario_parse_with(&s, "x.ini", TEXT, sizeof TEXT - 1, sets, 7, error, sizeof error) != 0)
        fail_msg("%s", error);
    assert_int_equal(s.loss_ppm, 300000);
    assert_int_equal(s.release_count, 2);
    assert_int_equal(s.release[0].release, 2);
    assert_int_equal(s.release[0].size_bytes, 2048);
    assert_string_equal(s.release[0].policy, "all: share=100% soak=1s");
    assert_int_equal(s.release[1].release, 3);
    assert_true(s.release[1].at_us == 20000000);
    assert_int_equal(s.node[1].position.x_mm, 2000);
    assert_int_equal(s.link_count, 1);
    assert_int_equal(s.link[0].loss_mdb, 60000);
    sim_scenario_free(&s);
}

static void bad_overrides_are_named(void **state)
{
    (void)state;
    const struct {
        const char *set, *error;
    } cases[] = {
        {"radio", "--set radio: must be section.key=value, as in radio.frame_loss=10%"},
        {"frame_loss=1", "--set frame_loss=1: must be section.key=value"},
        {"=", "--set =: must be section.key=value"},
        {".=", "--set .=: unknown section []"},
        {"radio.frame_los=1 %",
         "--set radio.frame_los=1 %: unknown key \"frame_los\" in [radio]: did you mean frame_loss?"},
        {"raadio.frame_loss=1 %", "--set raadio.frame_loss=1 %: unknown section [raadio]: did you mean [radio]?"},
        {"radio.frame_loss=1", "--set radio.frame_loss=1: frame_loss \"1\": must be a number with %, 0 % to 100 %"},
        {"topology.degree=3", "--set topology.degree=3: degree goes with kind = disc only"},
        {"fleet.gateways=21", "--set fleet.gateways=21: gateways 21: there are only 20 nodes"},
        {"release 6.size=1 KB", "--set release 6.size=1 KB: [release 6]: must be release 2 to 5"},
        {"node n20.position=0 m, 0 m", "--set node n20.position=0 m, 0 m: no device is called n20: they are n0 to n19"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_scenario s;
        char error[512] = "";
        if (sim_scenario_parse_with(&s, "x.ini", LINE_TEXT, sizeof LINE_TEXT - 1, &cases[i].set, 1, error,
                                    sizeof error) != -1)
            fail_msg("accepted: %s", cases[i].set);
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("said \"%s\", not \"%s\"", error, cases[i].error);
        assert_null(s.node);
    }
}

static void errors_name_line_and_remedy(void **state)
{
    (void)state;
    const struct {
        const char *text, *error; /* behind LINE_TEXT, three lines */
    } cases[] = {
        {"[run]\nduration = 1 hour\n",
         "x.ini:5: duration \"1 hour\": must be a number with us, ms, s, min, h or d, 1 ms "},
        {"[run]\nduration = 0 s\n", "x.ini:5: duration \"0 s\": must be 1 ms to 3660 d"},
        {"[run]\nduration = 999999999 d\n", "x.ini:5: duration \"999999999 d\": must be 1 ms to 3660 d"},
        {"[run]\nstack = mash\n",
         "x.ini:5: stack \"mash\": must be mesh, flood, unicast, deluge, deluge-ble, mesh-dfu or idle-load"},
        {"[run]\nstop = complete\n", "x.ini:5: stop = complete: there is no [release 2] to wait for; must be never"},
        {"[run]\nstop = done\n", "x.ini:5: stop = done: there is no [release 2]"},
        {"[run]\nwarmup = 1 h\n", "x.ini:5: warmup: must be shorter than duration"},
        {"[run]\ndurations = 1 h\n", "x.ini:5: unknown key \"durations\" in [run]: did you mean duration?"},
        {"[run]\nnodes = 3\n", "x.ini:5: unknown key \"nodes\" in [run]: it belongs in [attack]"},
        {"[run]\nfault = hang\n", "x.ini:5: unknown key \"fault\" in [run]: it belongs in [release N]"},
        {"[run]\nxyzzy = 1\n", "x.ini:5: unknown key \"xyzzy\" in [run]: known are stack, duration, stop"},
        {"[fleets]\ngateways = 1\n", "x.ini:5: unknown section [fleets]: did you mean [fleet]?"},
        {"[release]\nsize = 1 KB\n", "x.ini:5: [release]: must have a number, as in [release 2]"},
        {"[release 1]\nsize = 1 KB\n", "x.ini:5: [release 1]: must be release 2 to 5"},
        {"[release 22]\nsize = 1 KB\n", "x.ini:5: [release 22]: must be release 2 to 5"},
        {"[release 2]\nsize = 0 B\n", "x.ini:5: size \"0 B\": must be 1 B to 16 MB"},
        {"[release 2]\nsize = 17 MB\n", "x.ini:5: size \"17 MB\": must be 1 B to 16 MB"},
        {"[release 2]\nsize = 64 kB\n", "x.ini:5: size \"64 kB\": must be a number with B, KB or MB, 1 B to 16 MB"},
        {"[release 2]\nsize = 1 KB\n[release 2]\nsize = 2 KB\n",
         "x.ini:7: size in [release] was given on line 5 already"},
        {"[release 2]\npolicy = all: shar=100%\n", "x.ini:5: policy: "},
        {"[release 2]\npolicy = all: label=blue\n", "x.ini:5: policy: "},
        {"[release 2]\npolicy = a: share=50%\npolicy = b: share=20%\n", "x.ini:6: policy: "},
        {"[release 2]\npolicy = c: label=canary\n[fleet]\ncanaries = 0\n",
         "x.ini:5: policy: label=canary, but [fleet] canaries = 0"},
        {"[release 2]\nat = 1 h\n", "x.ini:5: at: release 2 would be published after the end: duration must be longer"},
        {"[release 3]\nmodel = 2\n", "x.ini:5: model 2: must be 0 (all) to 1, the number of [fleet] models"},
        {"[release 2]\nfault_revision = 2\n", "x.ini:5: fault_revision 2: must be 0 (all) to 1"},
        {"[fleet]\nmodels = 5\n", "x.ini:5: models \"5\": must be 1 to 4"},
        {"[fleet]\ncanaries = 20\n", "x.ini:5: canaries 20: there are only 19 nodes that are no gateways"},
        {"[radio]\nscan_window = 200 ms\n", "x.ini:5: scan_window: must not be longer than scan_interval"},
        {"[radio]\nscan_interval = 50 ms\n", "x.ini:5: scan_window: must not be longer than scan_interval"},
        {"[radio]\nsecondary_phy = 3M\n", "x.ini:5: secondary_phy \"3M\": must be 1M, 2M or coded"},
        {"[radio]\ncollisions = maybe\n", "x.ini:5: collisions \"maybe\": must be no or yes"},
        {"[life]\nduty_interval = 50 ms\n", "x.ini:5: duty_window: must not be longer than duty_interval"},
        {"[life]\npartition_at = 2 h\npartition_for = 1 s\n",
         "x.ini:5: partition_at: must be before the end, duration"},
        {"[life]\ndrift = 20\n", "x.ini:5: drift \"20\": must be a number with ppm, 0 ppm to 1000 ppm"},
        {"[attack]\nkind = jam\nnodes = 20\n", "x.ini:6: nodes 20: there are only 19 nodes that are no gateways"},
        {"[attack]\nkind = jam\nfrom = 1 h\n", "x.ini:6: from: must be before the end, duration"},
        {"[energy]\nvoltage = 3\n", "x.ini:5: voltage \"3\": must be a number with mV or V, 1 mV to 48 V"},
        {"[baseline]\ndfu_ttl = 128\n", "x.ini:5: dfu_ttl \"128\": must be 1 to 127"},
        {"[topology]\ndegree = 20\n", "x.ini:5: degree goes with kind = disc only"},
        {"[topology]\nfloors = 2\n", "x.ini:5: floors goes with kind = buildings only"},
        {"[topology]\nfile = x.csv\n", "x.ini:5: file goes with kind = csv only"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_scenario s;
        char error[512] = "", text[600];
        (void)snprintf(text, sizeof text, "%s%s", LINE_TEXT, cases[i].text);
        if (sim_scenario_parse(&s, "x.ini", text, strlen(text), error, sizeof error) != -1)
            fail_msg("accepted: %s", cases[i].text);
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("said \"%s\", not \"%s\"", error, cases[i].error);
    }
}

static void topologies_are_checked(void **state)
{
    (void)state;
    const struct {
        const char *text, *error;
    } cases[] = {
        {"kind = disc\n", "x.ini:2: kind = disc needs nodes"},
        {"kind = disc\nnodes = 5\ndegree = 5\n", "x.ini:3: degree: 5 nodes have at most 4 others in range"},
        {"kind = disc\nnodes = 5\n", "x.ini:3: degree: 5 nodes have at most 4 others in range"},
        {"kind = disc\nnodes = 50\nradius = 5 m\ndegree = 5\n", "x.ini:4: radius: degree sets it already"},
        {"kind = disc\nnodes = 50\nspacing = 5 m\n", "x.ini:4: spacing goes with kind = line or grid only"},
        {"kind = disc\nnodes = 50\nreach = neighbours\n", "x.ini:4: reach = neighbours goes with kind = line or grid"},
        {"kind = disc\nnodes = 50\n[node n1]\nposition = 0 m, 0 m\n", "x.ini:5: [node NAME] goes with kind = list"},
        {"kind = buildings\n", "x.ini:2: kind = buildings needs nodes"},
        {"kind = buildings\nnodes = 4\nbuildings = 10000\nwidth = 10 km\nstreet = 10 km\n",
         "x.ini:3: buildings: they would"},
        {"kind = csv\n", "x.ini:2: kind = csv needs file"},
        {"kind = csv\nfile = /nonexistent.csv\n", "x.ini:3: file: /nonexistent.csv: No such file or directory"},
        {"kind = csv\nfile = /\n", "x.ini:3: file: /: must be a file of at most"},
        {"kind = csv\nfile =\n", "x.ini:3: file \"\": must be a path"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_scenario s;
        char error[512] = "", text[600];
        (void)snprintf(text, sizeof text, "[topology]\n%s", cases[i].text);
        if (sim_scenario_parse(&s, "x.ini", text, strlen(text), error, sizeof error) != -1)
            fail_msg("accepted: %s", cases[i].text);
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("said \"%s\", not \"%s\"", error, cases[i].error);
    }
}

static void hashes_are_of_what_is_meant(void **state)
{
    (void)state;
    struct sim_scenario s;
    uint64_t hash = hash_of(LINE_TEXT);
    assert_true(hash ==
                hash_of("; words\n[radio]\nexponent = 2.700\n[topology]\nnodes = 20\nkind=line\nspacing = 1000 cm\n"));
    assert_true(hash_of("[topology]\nkind = list\n[node a]\nposition = 0 m, 0 m\n") !=
                hash_of("[topology]\nkind = list\n[node a]\nposition = 0 m, 1 mm\n"));
    /* a larger world has no array of devices, and its hash is defined all the same */
    assert_true(hash_of("[topology]\nkind = disc\nnodes = 5000\n") !=
                hash_of("[topology]\nkind = disc\nnodes = 5001\n"));
    static const char *const DISCS[] = {"[topology]\nkind = disc\nnodes = 500\n", LINE_TEXT};
    for (unsigned i = 0; i < 2; i++) {
        scenario(&s, DISCS[i]);
        uint64_t family = sim_scenario_family(&s);
        hash = sim_scenario_hash(&s);
        assert_int_equal(sim_scenario_reseed(&s, 99), 0);
        assert_true(sim_scenario_family(&s) == family);
        assert_true(sim_scenario_hash(&s) != hash);
        assert_int_equal(sim_scenario_reseed(&s, 1), 0);
        assert_true(sim_scenario_hash(&s) == hash);
        sim_scenario_free(&s);
    }
}

static void devices_have_names(void **state)
{
    (void)state;
    struct sim_scenario s;
    char name[SIM_NAME_MAX];
    scenario(&s, "[topology]\nkind = grid\ncolumns = 1024\nrows = 1024\nfirst = gw\nprefix = abcdefghijkl\n");
    assert_null(s.node);
    assert_int_equal(s.count, SIM_NODES_MAX);
    sim_scenario_name(&s, 0, name);
    assert_string_equal(name, "gw");
    sim_scenario_name(&s, 1048575, name);
    assert_string_equal(name, "abcdefghijkl1048575");
    assert_int_equal(sim_scenario_find(&s, name), 1048575);
    assert_int_equal(sim_scenario_find(&s, "gw"), 0);
    assert_int_equal(sim_scenario_find(&s, "abcdefghijkl0"), -1);
    assert_int_equal(sim_scenario_find(&s, "abcdefghijkl01"), -1);
    assert_int_equal(sim_scenario_find(&s, "abcdefghijkl"), -1);
    assert_int_equal(sim_scenario_find(&s, "abcdefghijkl1048576"), -1);
    assert_int_equal(sim_scenario_find(&s, "abcdefghijkl4294967297"), -1);
    sim_scenario_free(&s);
    scenario(&s, "[topology]\nkind = line\nnodes = 2000\nspacing = 1 m\n[node n1999]\nposition = 5 m, 5 m\n");
    assert_non_null(s.node);
    assert_int_equal(s.node[1999].position.y_mm, 5000);
    sim_scenario_name(&s, 7, name);
    assert_string_equal(name, "n7");
    sim_scenario_free(&s);
}

/* --- positions from files ------------------------------------------------------------------------------------------- */

static void csv_is_read(void **state)
{
    (void)state;
    static const char TEXT[] =
        "\xEF\xBB\xBFname,x,y,z\r\n# the roof\r\n gw , 0, -1.5 ,3\r\n\r\nlamp-1,12.345,6\nname,1,2";
    struct sim_scenario_node *node;
    uint32_t count;
    char error[256] = "";
    assert_int_equal(sim_csv_parse("p.csv", TEXT, sizeof TEXT - 1, &node, &count, error, sizeof error), 0);
    assert_int_equal(count, 3);
    assert_string_equal(node[0].name, "gw");
    assert_int_equal(node[0].position.y_mm, -1500);
    assert_int_equal(node[0].position.z_mm, 3000);
    assert_int_equal(node[1].position.x_mm, 12345);
    assert_int_equal(node[1].position.z_mm, 0);
    assert_string_equal(node[2].name, "name");
    free(node);
}

static void bad_csv_is_refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *error;
    } cases[] = {
        {"", "p.csv:0: no device: must have a line name,x,y or name,x,y,z for each"},
        {"# none\n", "p.csv:1: no device"},
        {"a,1\n", "p.csv:1: 2 fields: must be name,x,y or name,x,y,z"},
        {"a,1,2,3,4\n", "p.csv:1: 5 fields"},
        {"a,1,2,3,4,5,6\n", "p.csv:1: 5 fields"},
        {"a,1,2\nb;1;2\n", "p.csv:2: 1 fields: must be name,x,y"},
        {"a,1,2\n-b,1,2\n", "p.csv:2: name \"-b\": must be 1 to 20 letters"},
        {"abcdefghijklmnopqrstu,1,2\n", "p.csv:1: name \"abcdefghijklmnopqrstu\": must be"},
        {",1,2\n", "p.csv:1: name \"\": must be"},
        {"a,1,2\nb,1,\n", "p.csv:2: \"\": must be metres"},
        {"a,1,2 m\n", "p.csv:1: \"2 m\": must be metres"},
        {"a,1,1e3\n", "p.csv:1: \"1e3\": must be metres"},
        {"a,1,1.2345\n", "p.csv:1: \"1.2345\": must be metres, at most 1000000 and three digits after the point"},
        {"a,1,1000001\n", "p.csv:1: \"1000001\": must be metres"},
        {"a,1,2\nb,1,2\na,3,4\n", "p.csv:3: name a was given on line 1 already"},
        {"a,1,2\nname,x,y\n", "p.csv:2: \"x\": must be metres"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_scenario_node *node;
        uint32_t count;
        char error[256] = "";
        if (sim_csv_parse("p.csv", cases[i].text, strlen(cases[i].text), &node, &count, error, sizeof error) != -1)
            fail_msg("accepted: %s", cases[i].text);
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("said \"%s\", not \"%s\"", error, cases[i].error);
        assert_null(node);
    }
}

static void csv_belongs_to_a_scenario(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_scenario_XXXXXX", path[64], error[512] = "";
    struct sim_scenario s;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/places.csv", folder);
    FILE *file = fopen(path, "w");
    for (unsigned i = 0; i < 3000; i++)
        (void)fprintf(file, "d%u,%u,0\n", i, 2999 - i);
    fclose(file);
    (void)snprintf(path, sizeof path, "%s/x.ini", folder);
    file = fopen(path, "w");
    (void)fputs("[topology]\nkind = csv\nfile = places.csv\n[link d7 d2999]\nloss = 1 dB\n", file);
    fclose(file);
    if (sim_scenario_read(&s, path, error, sizeof error) != 0)
        fail_msg("%s", error);
    assert_int_equal(s.count, 3000);
    assert_int_equal(s.link[0].a, 7);
    assert_int_equal(s.link[0].b, 2999);
    assert_int_equal(s.node[1].position.x_mm, 2998000);
    assert_null(sim_scenario_medium(&s, NULL, NULL));
    struct sim_field f;
    assert_int_equal(sim_field_open(&f, &s, 0, 1, error, sizeof error), 0);
    assert_int_equal(f.position[2999].x_mm, 0);
    assert_int_equal(f.gateway[0], 0);
    sim_field_close(&f);
    sim_scenario_free(&s);
    remove(path);
    (void)snprintf(path, sizeof path, "%s/places.csv", folder);
    remove(path);
    remove(folder);
}

/* --- what ships ----------------------------------------------------------------------------------------------------- */

static void shipped_scenarios_are_good(void **state)
{
    (void)state;
    DIR *folder = opendir("sim/scenarios");
    unsigned count = 0;
    if (folder == NULL) {
        fail_msg("sim/scenarios cannot be read: run from the top folder");
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300], error[512] = "", name[80];
        struct sim_scenario s;
        if (strstr(entry->d_name, ".ini") == NULL)
            continue;
        (void)snprintf(path, sizeof path, "sim/scenarios/%s", entry->d_name);
        if (sim_scenario_read(&s, path, error, sizeof error) != 0)
            fail_msg("%s", error);
        (void)snprintf(name, sizeof name, "%s.ini", s.name);
        assert_string_equal(name, entry->d_name);
        sim_scenario_free(&s);
        count++;
    }
    closedir(folder);
    assert_true(count >= 18);
}

static void open_shipped(struct sim_scenario *s, struct sim_field *f, const char *name, uint64_t seed)
{
    char path[100], error[512] = "";
    (void)snprintf(path, sizeof path, "sim/scenarios/%s.ini", name);
    if (sim_scenario_read(s, path, error, sizeof error) != 0)
        fail_msg("%s", error);
    if (seed != 0)
        assert_int_equal(sim_scenario_reseed(s, seed), 0);
    if (sim_field_open(f, s, 0, 1, error, sizeof error) != 0)
        fail_msg("%s", error);
}

static unsigned farthest(const char *name, uint64_t seed)
{
    struct sim_scenario s;
    struct sim_field f;
    unsigned most = 0;
    open_shipped(&s, &f, name, seed);
    uint16_t *hops = calloc(f.count, sizeof *hops);
    assert_int_equal(sim_field_hops(&f, f.gateway, f.gateway_count, hops, NULL), 0);
    for (uint32_t i = 0; i < f.count; i++)
        most = hops[i] > most ? hops[i] : most;
    free(hops);
    sim_field_close(&f);
    sim_scenario_free(&s);
    return most;
}

/* Both offices are five hops deep with their own seed and with those that results are made with. */
static void offices_are_five_hops_deep(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed <= 20; seed++)
        assert_int_equal(farthest("office-100", seed), 5);
    for (uint64_t seed = 0; seed <= 10; seed++)
        assert_int_equal(farthest("office-1000", seed), 5);
    assert_int_equal(farthest("line-12", 0), 12);
    assert_int_equal(farthest("grid-1000", 0), 39);
    /* everybody is reached */
    assert_in_range(farthest("city-10k", 0), 1, 10);
    assert_in_range(farthest("bad-release-10k", 0), 1, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_units),
        cmocka_unit_test(documented_defaults_are_the_defaults),
        cmocka_unit_test(every_key_counts),
        cmocka_unit_test(overrides_come_after_the_file),
        cmocka_unit_test(bad_overrides_are_named),
        cmocka_unit_test(errors_name_line_and_remedy),
        cmocka_unit_test(topologies_are_checked),
        cmocka_unit_test(hashes_are_of_what_is_meant),
        cmocka_unit_test(devices_have_names),
        cmocka_unit_test(csv_is_read),
        cmocka_unit_test(bad_csv_is_refused),
        cmocka_unit_test(csv_belongs_to_a_scenario),
        cmocka_unit_test(shipped_scenarios_are_good),
        cmocka_unit_test(offices_are_five_hops_deep),
    };
    return cmocka_run_group_tests_name("scenario_run", tests, NULL, NULL);
}
