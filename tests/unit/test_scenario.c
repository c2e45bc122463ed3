/* Scenario files: what a good one means, and that a bad one is refused with its line and what would be right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sim/world/quantity.h"
#include "sim/world/scenario.h"

static int parse(struct sim_scenario *s, const char *text, char error[256])
{
    return sim_scenario_parse(s, "x.ini", text, strlen(text), error, 256);
}

static void quantities_are_exact(void **state)
{
    (void)state;
    const struct {
        enum sim_quantity quantity;
        const char *text;
        int status;
        int64_t value;
    } cases[] = {
        {SIM_POWER, "-12.5 dBm", 0, -12500},
        {SIM_POWER, "0dBm", 0, 0},
        {SIM_POWER, "3 dB", -1, 0},
        {SIM_POWER, "3", -1, 0},
        {SIM_POWER, "0.0001 dBm", -1, 0},
        {SIM_RATIO, "0.001 dB", 0, 1},
        {SIM_TIME, "1.5 ms", 0, 1500},
        {SIM_TIME, "0.000001 s", 0, 1},
        {SIM_TIME, "0.5 us", -1, 0},
        {SIM_TIME, " 2\ts ", 0, 2000000},
        {SIM_TIME, "2 sec", -1, 0},
        {SIM_TIME, "2 m", -1, 0},
        {SIM_LENGTH, "2 m", 0, 2000},
        {SIM_LENGTH, "-1.2 km", 0, -1200000},
        {SIM_LENGTH, "3 cm", 0, 30},
        {SIM_LENGTH, "3 mm", 0, 3},
        {SIM_SHARE, "10 %", 0, 100000},
        {SIM_SHARE, "0.0001%", 0, 1},
        {SIM_SHARE, "0.00001 %", -1, 0},
        {SIM_FACTOR, "2.7", 0, 2700},
        {SIM_FACTOR, "2.7 x", -1, 0},
        {SIM_COUNT, "25", 0, 25},
        {SIM_COUNT, "25.5", -1, 0},
        {SIM_COUNT, "", -1, 0},
        {SIM_COUNT, "+1", -1, 0},
        {SIM_COUNT, "1.", -1, 0},
        {SIM_COUNT, ".5", -1, 0},
        {SIM_COUNT, "-", -1, 0},
        {SIM_COUNT, "0x10", -1, 0},
        {SIM_COUNT, "1e3", -1, 0},
        {SIM_COUNT, "999999999", 0, 999999999},
        {SIM_COUNT, "1000000000", -1, 0},
        {SIM_LENGTH, "-999999999.999 km", 0, -999999999999000},
        {SIM_COUNT, "1.0000000", -1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        if (sim_quantity_get(cases[i].quantity, cases[i].text, &value) != cases[i].status)
            fail_msg("\"%s\": not %d", cases[i].text, cases[i].status);
        assert_int_equal(value, cases[i].value);
    }
}

static void every_key_is_read(void **state)
{
    (void)state;
    static const char TEXT[] =
        "\xEF\xBB\xBF# a comment\n"
        "[link gw n2]\nloss = 75.5 dB ; inline\n"
        "[scenario]\nname = office-1\nseed = 0xFFFFFFFFFFFFFFFF\n"
        "[radio]\ntx_power = -4 dBm\nloss_1m = 41 dB\n  exponent = 3.1\nshadowing = 2 dB\n"
        "noise = -98.5 dBm\nsensitivity = -90 dBm\ncapture = 6 dB\nprimary_gap = 300 us\n"
        "aux_gap = 0.5 ms\ninterval = 30 ms\ndelay = 5 ms\nprocessing = 1 ms\nframe_loss = 12.5 %\n"
        "[topology]\r\nkind = grid\r\ncolumns = 4\nrows = 3\nspacing = 250 cm\nfirst = gw\nprefix = n\n"
        "reach = physics\n"
        "[node n11]\nposition = 1 km, -2 m, 30 cm\n"
        "[link n1 gw]\nloss = none";
    struct sim_scenario s;
    char error[256] = "";
    if (parse(&s, TEXT, error) != 0)
        fail_msg("%s", error);
    assert_string_equal(s.name, "office-1");
    assert_true(s.seed == UINT64_MAX);
    assert_int_equal(s.loss_ppm, 125000);
    assert_int_equal(s.radio.tx_mdbm, -4000);
    assert_int_equal(s.radio.loss_1m_mdb, 41000);
    assert_int_equal(s.radio.exponent_milli, 3100);
    assert_int_equal(s.radio.shadowing_mdb, 2000);
    assert_int_equal(s.radio.noise_mdbm, -98500);
    assert_int_equal(s.radio.sensitivity_mdbm, -90000);
    assert_int_equal(s.radio.capture_mdb, 6000);
    assert_int_equal(s.radio.primary_gap_us, 300);
    assert_int_equal(s.radio.aux_gap_us, 500);
    assert_int_equal(s.radio.interval_us, 30000);
    assert_int_equal(s.radio.delay_us, 5000);
    assert_int_equal(s.radio.processing_us, 1000);
    assert_int_equal(s.topology, SIM_TOPOLOGY_GRID);
    assert_int_equal(s.reach, SIM_REACH_PHYSICS);
    assert_int_equal(s.count, 12);
    assert_string_equal(s.node[0].name, "gw");
    assert_string_equal(s.node[5].name, "n5");
    assert_int_equal(s.node[5].position.x_mm, 2500);
    assert_int_equal(s.node[5].position.y_mm, 2500);
    assert_int_equal(s.node[11].position.x_mm, 1000000);
    assert_int_equal(s.node[11].position.y_mm, -2000);
    assert_int_equal(s.node[11].position.z_mm, 300);
    assert_int_equal(sim_scenario_find(&s, "n7"), 7);
    assert_int_equal(sim_scenario_find(&s, "n0"), -1);
    assert_int_equal(s.link_count, 2);
    assert_int_equal(s.link[0].a, 0);
    assert_int_equal(s.link[0].b, 1);
    assert_int_equal(s.link[0].loss_mdb, SIM_LOSS_NONE);
    assert_int_equal(s.link[1].loss_mdb, 75500);
    sim_scenario_free(&s);
    assert_null(s.node);
}

static void defaults_are_the_radios(void **state)
{
    (void)state;
    struct sim_scenario s;
    struct sim_radio radio;
    char error[256] = "";
    assert_int_equal(parse(&s, "[node a]\nposition = 0 m, 0 m\n[node b]\nposition = 5 m, 0 m, 1 m\n", error), 0);
    sim_radio_defaults(&radio);
    assert_memory_equal(&s.radio, &radio, sizeof radio);
    assert_int_equal(s.topology, SIM_TOPOLOGY_LIST);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.loss_ppm, 0);
    assert_int_equal(s.seed, 1);
    sim_scenario_free(&s);
}

static void errors_name_line_and_remedy(void **state)
{
    (void)state;
    const struct {
        const char *text, *error;
    } cases[] = {
        {"", "x.ini: no device"},
        {"[topology]\nkind = ring\n", "x.ini:2: kind \"ring\": must be line, grid, disc, buildings, csv or list"},
        {"[topology]\nkind = line\n", "x.ini:2: kind = line needs nodes"},
        {"[topology]\nkind = grid\ncolumns = 3\n", "x.ini:2: kind = grid needs columns and rows"},
        {"[topology]\nkind = grid\ncolumns = 1025\nrows = 1024\n",
         "x.ini:3: 1025 columns and 1024 rows are 1049600 devices: at most 1048576"},
        {"[topology]\nkind = line\nnodes = 0\n", "x.ini:3: nodes \"0\": must be 1 to 1048576"},
        {"[topology]\nkind = line\nnodes = 1048577\n", "x.ini:3: nodes \"1048577\": must be 1 to 1048576"},
        {"[topology]\nkind = line\nnodes = many\n",
         "x.ini:3: nodes \"many\": must be a number with no unit, 1 to 1048576"},
        {"[topology]\nkind = line\nnodes = 3\nrows = 3\n", "x.ini:4: rows goes with kind = grid only"},
        {"[topology]\nkind = line\nnodes = 3\nlink_loss = 60 dB\n",
         "x.ini:4: link_loss goes with reach = neighbours only"},
        {"[topology]\nkind = line\nnodes = 3\nspacing = 10\n",
         "x.ini:4: spacing \"10\": must be a number with mm, cm, m or km, 1 mm to 10 km"},
        {"[topology]\nkind = line\nnodes = 1024\nspacing = 1 km\n", "x.ini:4: spacing: the last device would be"},
        {"[topology]\nkind = line\nnodes = 3\nnodes = 4\n", "x.ini:4: nodes in [topology] was given on line 3 already"},
        {"[topology]\nkind = line\nnodes = 3\nfirst = n2\n", "x.ini:4: first \"n2\" is also the name of device 2"},
        {"[topology]\nkind = line\nnodes = 3\nfirst = a b\n", "x.ini:4: first \"a b\": must be 1 to 20 letters"},
        {"[topology]\nkind = line\nnodes = 3\n[node n3]\nposition = 0 m, 0 m\n",
         "x.ini:5: no device is called n3: they are n0 to n2"},
        {"[topology]\nkind = line\nnodes = 3\nreach = neighbours\n[node n1]\nposition = 0 m, 0 m\n",
         "x.ini:6: a position is without effect"},
        {"[topology]\nreach = neighbours\n[node n1]\nposition = 0 m, 0 m\n",
         "x.ini:2: reach = neighbours goes with kind = line or grid only"},
        {"[radio]\ntx_powr = 0 dBm\n", "x.ini:2: unknown key \"tx_powr\" in [radio]: did you mean tx_power?"},
        {"[radio]\ntx_power = 0\n", "x.ini:2: tx_power \"0\": must be a number with dBm, -127 dBm to 20 dBm"},
        {"[radio]\ntx_power = 21 dBm\n", "x.ini:2: tx_power \"21 dBm\": must be -127 dBm to 20 dBm"},
        {"[radio]\nframe_loss = 101 %\n", "x.ini:2: frame_loss \"101 %\": must be 0 % to 100 %"},
        {"[radio]\ninterval = 19999 us\n", "x.ini:2: interval \"19999 us\": must be 20 ms to 1 s"},
        {"[redio]\ntx_power = 0 dBm\n", "x.ini:2: unknown section [redio]: did you mean [radio]?"},
        {"tx_power = 0 dBm\n", "x.ini:1: unknown section []"},
        {"[scenario]\nseed = -1\n", "x.ini:2: seed \"-1\": must be a number"},
        {"[scenario]\nseed = 18446744073709551616\n", "x.ini:2: seed \"18446744073709551616\""},
        {"[scenario]\nname =\n", "x.ini:2: name \"\": must be"},
        {"[scenario]\nname\n", "x.ini:2: must be [section], key = value, or a comment"},
        {"[scenario\nname = x\n", "x.ini:1: must be [section]"},
        {"[node a]\n[node b]\nposition = 0 m, 0 m\n", "x.ini:1: this section has no key"},
        {"[node a]\nposition = 0 m, 0 m\n[node b]\n", "x.ini:3: this section has no key"},
        {"[node a]\nposition = 0 m\n", "x.ini:2: position \"0 m\": y is missing"},
        {"[node a]\nposition = 0 m, 0 m, 0 m, 0 m\n",
         "x.ini:2: position \"0 m, 0 m, 0 m, 0 m\": must be x, y or x, y, z"},
        {"[node a]\nposition = 0 m, 1001 km\n", "x.ini:2: position \"0 m, 1001 km\": must be"},
        {"[node a]\nposition = 0, 0\n", "x.ini:2: position \"0, 0\": must be"},
        {"[node a]\nplace = 0 m, 0 m\n", "x.ini:2: unknown key \"place\" in [node a]: only position is known"},
        {"[node -a]\nposition = 0 m, 0 m\n", "x.ini:2: node name \"-a\": must be"},
        {"[node abcdefghijklmnopqrstu]\nposition = 0 m, 0 m\n",
         "x.ini:2: node name \"abcdefghijklmnopqrstu\": must be"},
        {"[node a]\nposition = 0 m, 0 m\n[node a]\nposition = 1 m, 0 m\n",
         "x.ini:4: node a was given on line 2 already"},
        {"[node a]\nposition = 0 m, 0 m\n[link a]\nloss = 1 dB\n", "x.ini:4: [link a]: must name two devices"},
        {"[node a]\nposition = 0 m, 0 m\n[link a b]\nloss = 1 dB\n", "x.ini:4: no device is called b"},
        {"[node a]\nposition = 0 m, 0 m\n[link a a]\nloss = 1 dB\n", "x.ini:4: a link needs two different devices"},
        {"[node a]\nposition = 0 m, 0 m\n[link a b]\nloss = 201 dB\n",
         "x.ini:4: loss \"201 dB\": must be 0 dB to 200 dB, or none"},
        {"[node a]\nposition = 0 m, 0 m\n[node b]\nposition = 0 m, 0 m\n[link a b]\nloss = 1 dB\n[link b a]\nloss = 2 "
         "dB\n",
         "x.ini:8: the link of b and a was given on line 6 already"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_scenario s;
        char error[256] = "";
        if (parse(&s, cases[i].text, error) != -1)
            fail_msg("accepted: %s", cases[i].text);
        if (strncmp(error, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("said \"%s\", not \"%s\"", error, cases[i].error);
        assert_null(s.node);
    }
}

static void strange_bytes_are_refused(void **state)
{
    (void)state;
    struct sim_scenario s;
    char error[256] = "", line[400];
    static const char ZERO[] = "[topology]\nkind = l\0ine\nnodes = 3\n";
    assert_int_equal(sim_scenario_parse(&s, "x.ini", ZERO, sizeof ZERO - 1, error, sizeof error), -1);
    assert_string_equal(error, "x.ini:2: a zero byte: this is no text");
    memset(line, ' ', sizeof line);
    memcpy(line, "[topology]\n;", 12);
    line[sizeof line - 1] = '\0';
    assert_int_equal(parse(&s, line, error), -1);
    assert_string_equal(error, "x.ini:2: line too long: at most 198 characters");
    assert_int_equal(sim_scenario_parse(&s, "x.ini", line, SIM_SCENARIO_TEXT_MAX + 1u, error, sizeof error), -1);
    assert_string_equal(error, "x.ini: too long: at most 1048576 bytes");
    /* cut to what the caller has room for */
    char small[8];
    assert_int_equal(sim_scenario_parse(&s, "x.ini", "", 0, small, sizeof small), -1);
    assert_string_equal(small, "x.ini: ");
    assert_int_equal(sim_scenario_parse(&s, "x.ini", "", 0, NULL, 0), -1);
    assert_int_equal(sim_scenario_read(&s, "/nonexistent/x.ini", error, sizeof error), -1);
    assert_string_equal(error, "/nonexistent/x.ini: No such file or directory");
    assert_int_equal(sim_scenario_read(&s, "/", error, sizeof error), -1);
}

/* Bounds that the parser states are those the radio checks. */
static void parser_and_radio_agree_on_ranges(void **state)
{
    (void)state;
    const struct {
        const char *key, *low, *high;
    } range[] = {
        {"tx_power", "-127 dBm", "20 dBm"}, {"loss_1m", "0 dB", "120 dB"},     {"exponent", "1", "8"},
        {"shadowing", "0 dB", "20 dB"},     {"noise", "-130 dBm", "-50 dBm"},  {"sensitivity", "-120 dBm", "-30 dBm"},
        {"capture", "0 dB", "30 dB"},       {"primary_gap", "150 us", "5 ms"}, {"aux_gap", "300 us", "5 ms"},
        {"interval", "20 ms", "1 s"},       {"delay", "0 us", "100 ms"},       {"processing", "0 us", "100 ms"},
    };
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++) {
        for (int end = 0; end < 2; end++) {
            struct sim_scenario s;
            char error[256] = "", text[200];
            (void)snprintf(text, sizeof text, "[topology]\nkind = line\nnodes = 2\n[radio]\n%s = %s\n", range[i].key,
                           end == 0 ? range[i].low : range[i].high);
            if (parse(&s, text, error) != 0)
                fail_msg("%s", error);
            assert_null(sim_radio_check(&s.radio));
            sim_scenario_free(&s);
        }
    }
}

static unsigned receptions[8];

static void on_received(void *ctx, uint32_t device, const struct sim_reception *r)
{
    (void)ctx;
    (void)r;
    receptions[device & 7]++;
}

static void hear(const char *text, unsigned expected)
{
    struct sim_scenario s;
    char error[256] = "";
    const struct sim_medium_ops ops = {.received = on_received};
    memset(receptions, 0, sizeof receptions);
    if (parse(&s, text, error) != 0)
        fail_msg("%s", error);
    struct sim_medium *m = sim_scenario_medium(&s, &ops, NULL);
    assert_non_null(m);
    for (uint32_t i = 0; i < s.count; i++)
        (void)sim_medium_scan_start(m, 0, i, 100000, 100000);
    assert_int_equal(sim_medium_submit(m, 0, 0, (const uint8_t *)"x", 1), 0);
    sim_medium_advance(m, 50000);
    unsigned heard = 0;
    for (uint32_t i = 0; i < 8; i++)
        heard |= (receptions[i] != 0 ? 1u : 0u) << i;
    assert_int_equal(heard, expected);
    sim_medium_close(m);
    sim_scenario_free(&s);
}

static void medium_couples_what_the_scenario_says(void **state)
{
    (void)state;
    hear("[topology]\nkind = line\nnodes = 4\nreach = neighbours\n", 2);
    hear("[topology]\nkind = grid\ncolumns = 2\nrows = 3\nreach = neighbours\n", 2 | 4 | 8);
    hear("[topology]\nkind = line\nnodes = 4\nreach = neighbours\n[link n0 n1]\nloss = none\n[link n0 n3]\nloss = 80 "
         "dB\n",
         8);
    /* exponent 2.7, 40 dB at 1 m: 94 dB at 100 m is just enough, 94.4 dB is not */
    hear("[topology]\nkind = line\nnodes = 4\nspacing = 99.9 m\n", 2);
    hear("[topology]\nkind = line\nnodes = 4\nspacing = 103 m\n", 0);
    hear("[topology]\nkind = line\nnodes = 4\nspacing = 45 m\n", 2 | 4);
    hear("[node a]\nposition = 0 m, 0 m\n[node b]\nposition = 0 m, 1 km\n[node c]\nposition = 1 m, 1 m, 1 m\n", 4);
    hear("[topology]\nkind = line\nnodes = 2\nreach = neighbours\n[radio]\nframe_loss = 100 %\n", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantities_are_exact),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(defaults_are_the_radios),
        cmocka_unit_test(errors_name_line_and_remedy),
        cmocka_unit_test(strange_bytes_are_refused),
        cmocka_unit_test(parser_and_radio_agree_on_ranges),
        cmocka_unit_test(medium_couples_what_the_scenario_says),
    };
    return cmocka_run_group_tests_name("scenario", tests, NULL, NULL);
}
