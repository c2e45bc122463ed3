/*
 * Emulated parts in a mesh of real programs: they join, they are updated over the air, they prove the new image on
 * probation and keep it.
 */
#include "emu.h"

#include <stdio.h>
#include <string.h>

#include "node-fw/port/nrf51/app_sensor.h"
#include "node-fw/port/nrf51/part.h"
#include "proto/mp_wire.h"
#include "tests/lib/fleet_part.h"

#define MODEL 2u
#define ALL "confirm=12 stage-deadline=600; all: share=100% soak=1 deadline=200"
#define CANARY "confirm=8 stage-deadline=600; canary: label=canary soak=1 deadline=120"
/* All hear all: the gateway and parts n1 to n3. */
#define ROOM                                                                                                           \
    "[scenario]\nname = test\nseed = 11\n[radio]\nframe_loss = 2 %\n[topology]\nkind = line\nnodes = 4\n"              \
    "spacing = 2 m\nfirst = gw\nprefix = n\n"

static struct fleet fleet;

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

static int setup(void **state)
{
    (void)state;
    fleet_failed = qemu_failed = fail_test;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fleet_close(&fleet);
    return 0;
}

static const char *release_text(unsigned release)
{
    static char text[16];
    snprintf(text, sizeof text, "%u", release);
    return text;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static uint32_t symbol_of(struct fleet *f, const char *stem, const char *name)
{
    char elf[FLEET_PATH_MAX * 2];
    uint32_t value = 0;
    snprintf(elf, sizeof elf, "%s/nrf51/%s.elf", f->build, stem);
    if (qemu_symbol(elf, name, &value, NULL) != 0)
        fleet_fail(f, "%s has no %s", elf, name);
    return value;
}

/* What bootloader and image used at most since the part was reset; fails when it is over what docs/SPEC.md section 14
 * allows. */
static void check_memory(struct fleet *f, struct fleet_part *p, const char *version)
{
    static uint8_t ram[QEMU_RAM_SIZE];
    char stem[40];
    snprintf(stem, sizeof stem, "node-%s.a", version);
    const uint32_t end = symbol_of(f, stem, "nrf51_stack_end"), updater = symbol_of(f, stem, "nrf51_updater_end");
    const uint32_t boot_data = symbol_of(f, "boot", "nrf51_stack_end") - QEMU_RAM;
    qemu_peek(&p->qemu, QEMU_RAM, ram, sizeof ram);
    uint32_t at = end - QEMU_RAM, word = NRF51_STACK_PAINT;
    for (; at < QEMU_RAM_SIZE; at += 4) {
        memcpy(&word, ram + at, sizeof word);
        if (word != NRF51_STACK_PAINT)
            break;
    }
    struct nrf51_shared shared;
    memcpy(&shared, ram, sizeof shared);
    const uint32_t stack = QEMU_RAM_SIZE - at, data = updater - QEMU_RAM;
    printf("%s runs %s in slot %u: boot took %u us, data %u, stack %u; image data %u, stack %u; application %u\n",
           p->node->name, version, shared.handover.slot, shared.boot_us, boot_data, shared.boot_stack, data, stack,
           end - updater);
    FLEET_REQUIRE(f, shared.handover.magic == NF_HANDOVER_MAGIC && stack > 0 && stack + data <= NRF51_RAM_BUDGET);
    FLEET_REQUIRE(f, shared.boot_stack > 0 && shared.boot_stack + boot_data <= NRF51_RAM_BUDGET);
}

/* --- the application's records ------------------------------------------------------------------------------------ */

enum { INTERVAL_S = 7 }; /* not the default */

static void mount(struct fleet *f, struct nf_objects *log, struct nf_flash *flash, uint8_t *image)
{
    *flash = part_flash_over(image);
    FLEET_REQUIRE(f, nf_objects_mount(log, flash, part_flash_layout()) == 0);
}

/* The factory sets the sensor's interval. */
static void set_interval(struct fleet *f, struct fleet_part *p)
{
    const uint8_t record[SENSOR_SETTINGS_SIZE] = {SENSOR_FORMAT, 0, INTERVAL_S, 0, 0xE8, 0x03, 0x54, 0x01};
    struct nf_objects log;
    struct nf_flash flash;
    mount(f, &log, &flash, p->flash);
    FLEET_REQUIRE(f, nf_objects_put(&log, NF_KIND_APP, SENSOR_RECORD_SETTINGS, record, sizeof record) == 0);
}

/* It is still there after updates; and the starts that the application counted are those that the air saw. */
static void check_records(struct fleet *f, struct fleet_part *p)
{
    static uint8_t image[PART_FLASH_SIZE];
    uint8_t settings[SENSOR_SETTINGS_SIZE], life[SENSOR_LIFE_SIZE];
    struct nf_objects log;
    struct nf_flash flash;
    qemu_flash(&p->qemu, image);
    mount(f, &log, &flash, image);
    FLEET_REQUIRE(f, nf_objects_get(&log, NF_KIND_APP, SENSOR_RECORD_SETTINGS, settings, sizeof settings) ==
                         SENSOR_SETTINGS_SIZE);
    FLEET_REQUIRE(f, settings[2] == INTERVAL_S && settings[3] == 0);
    FLEET_REQUIRE(f, nf_objects_get(&log, NF_KIND_APP, SENSOR_RECORD_LIFE, life, sizeof life) == SENSOR_LIFE_SIZE);
    if (mp_get32(life + 4) != p->node->boots)
        fleet_fail(f, "%s counted %u starts, the air %u", p->node->name, mp_get32(life + 4), p->node->boots);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void start(struct fleet *f, const char *name, unsigned parts)
{
    fleet_open(f, &(struct fleet_options){.name = name, .text = ROOM});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << MODEL);
    for (unsigned i = 1; i <= parts; i++) {
        char name_of[8];
        snprintf(name_of, sizeof name_of, "n%u", i);
        struct fleet_part *p = fleet_part_add(f, name_of, MODEL, i == 1 ? "canary" : NULL, 1, i % 2 == 0);
        set_interval(f, p);
        fleet_part_start(f, p);
    }
    fleet_wait_enrolled(f, 60);
    fleet_wait_running(f, 20, "1.0.0", 1);
}

/* Slot of a part's home by its boot record; fails unless that is confirmed. */
static unsigned home_of(struct fleet *f, struct fleet_part *p)
{
    struct boot_record record;
    FLEET_REQUIRE(f, fleet_part_record(p, &record) && record.state == BOOT_CONFIRMED);
    return record.home;
}

/* n1 starts in slot A, n2 in slot B; each serves the other. Twice, so that each comes back to where it began. */
static void parts_in_both_slots_are_updated_twice(void **state)
{
    static const char *const versions[] = {"2.0.0", "2.1.0"};
    struct fleet *f = &fleet;
    (void)state;
    start(f, "update", 2);
    for (unsigned release = 2; release <= 3; release++) {
        const char *version = versions[release - 2];
        fleet_release(f, release, version, 1u << MODEL);
        fleet_rollout(f, release, ALL);
        fleet_wait_phase(f, 200, release, "done");
        fleet_wait_running(f, 20, version, release);
        for (unsigned i = 0; i < 2; i++) {
            struct fleet_part *p = f->node[i].part;
            check_memory(f, p, version);
            check_records(f, p);
            FLEET_REQUIRE(f, home_of(f, p) == ((i + release + 1) & 1));
            FLEET_REQUIRE(f, fleet_booted(&f->node[i], version) == 1 && fleet_part_holds(p, release));
        }
    }
}

static bool gave_up(struct fleet *f, void *ctx)
{
    const unsigned *release = ctx;
    struct fleet_report report;
    return fleet_reported(f, &f->node[0], &report) && report.target == *release &&
           strcmp(report.phase, "rolled back") == 0;
}

/* A bad release: tried by the canary alone, given up for this reason; the gate says no. */
static void expect_failure(struct fleet *f, unsigned release, const char *stem, const char *reason)
{
    struct fleet_report report;
    char version[16];
    snprintf(version, sizeof version, "%.*s", (int)strcspn(stem, "-"), stem);
    fleet_release(f, release, stem, 1u << MODEL);
    fleet_rollout(f, release, CANARY);
    fleet_wait_phase(f, 150, release, "held");
    fleet_wait(f, 60, "n1 to have given it up", gave_up, &release);
    fleet_wait_running(f, 20, "1.0.0", 1);
    fleet_reported(f, &f->node[0], &report);
    if (strcmp(report.reason, reason) != 0)
        fleet_fail(f, "%s was given up because: %s", version, report.reason);
    const unsigned boots = fleet_booted(&f->node[0], version);
    printf("%s: started %u times, given up: %s\n", stem, boots, report.reason);
    FLEET_REQUIRE(f, boots >= 1 && boots <= BOOT_TRIES);
    FLEET_REQUIRE(f, fleet_booted(&f->node[1], version) == 0 && home_of(f, f->node[0].part) == 0);
    check_records(f, f->node[0].part);
    fleet_do(f, NULL, "rollout", "revert", release_text(release), NULL);
    fleet_wait_phase(f, 60, release, "reverted");
}

/* What only firmware can do: a hard fault and a hang with interrupts on, beside a self-test that fails. */
static void images_that_fail_are_given_up(void **state)
{
    struct fleet *f = &fleet;
    (void)state;
    start(f, "bad images", 2);
    expect_failure(f, 2, "3.0.0-selftest", "self-test failed");
    expect_failure(f, 3, "3.0.1-hang", "watchdog");
    expect_failure(f, 4, "3.0.2-crash", "crashed");
    expect_failure(f, 5, "3.0.3-mute", "mute");
    fleet_release(f, 6, "2.0.0", 1u << MODEL);
    fleet_rollout(f, 6, CANARY); /* n2, never restarted, has begun as many fetches as it does in a row */
    fleet_wait_phase(f, 150, 6, "done");
    FLEET_REQUIRE(f, strcmp(fleet_runs(&f->node[0]), "2.0.0") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_in_both_slots_are_updated_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(images_that_fail_are_given_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
