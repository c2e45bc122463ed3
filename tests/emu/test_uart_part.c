/*
 * Bad input over an emulated part's UART: noise, half packets, a controller that stops answering, loses its power,
 * floods, or takes nothing. Each time, without a reset: the node scans and advertises again, hears the mesh again, and
 * boot record, settings and both slots are what they were, byte by byte. At last it takes an update over a line that
 * goes on being bad.
 *
 * One part runs through all tests, in their order; between it and its controller in the live air is bad_line.h.
 */
#include "emu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bad_line.h"
#include "node-fw/port/exports.h"
#include "node-fw/port/nrf51/map.h"
#include "node-fw/store/objects.h"
#include "proto/hci/hci_defs.h"
#include "proto/object/directive.h"
#include "tests/lib/fleet_part.h"

#define MODEL 2u
#define ROOM                                                                                                           \
    "[scenario]\nname = test\nseed = 11\n[radio]\nframe_loss = 2 %\n[topology]\nkind = line\nnodes = 3\n"              \
    "spacing = 2 m\nfirst = gw\nprefix = n\n"
/* The canary is a node that never comes, so every node stages the image and none installs it. */
#define STAGE_ONLY "confirm=12 stage-deadline=86400; canary: label=canary soak=1 deadline=86400; all: share=100%"
#define ALL "confirm=20 stage-deadline=600; all: share=100% soak=1 deadline=200"

enum { RECOVERS_S = 45, HEARS_S = 60, UPDATES_S = 280 };

static struct fleet fleet;
static struct fleet_part *part;
static struct bad_line line;
static uint8_t before[QEMU_FLASH_SIZE];

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

/* --- the node ------------------------------------------------------------------------------------------------------ */

static struct bad_seen look(void)
{
    struct bad_seen seen;
    const char *broken = bad_line_seen(&line, &seen);
    if (broken != NULL)
        qemu_fail(&part->qemu, "its line: %s", broken);
    return seen;
}

/* Whatever it did, it was not by a reset. */
static void check_resets(unsigned own)
{
    qemu_poll((struct qemu *const[]){&part->qemu}, 1, 0);
    if (part->qemu.resets_own != own)
        qemu_fail(&part->qemu, "was reset, cause %u",
                  qemu_peek_u32(&part->qemu, NRF51_HANDOVER + (uint32_t)offsetof(struct nf_handover, cause)));
}

/* Boot record, settings and slots of these two are the same; the object log, which heard more, need not be. */
static void check_flash(void)
{
    static uint8_t now[QEMU_FLASH_SIZE];
    static const struct {
        const char *name;
        uint32_t from, to;
    } regions[] = {{"bootloader", 0, NRF51_BOOT_RECORD},
                   {"boot record", NRF51_BOOT_RECORD, NRF51_SETTINGS},
                   {"settings", NRF51_SETTINGS, NRF51_OBJECTS},
                   {"slot A", NRF51_SLOT_A, NRF51_SLOT_B},
                   {"slot B", NRF51_SLOT_B, QEMU_FLASH_SIZE}};
    qemu_flash(&part->qemu, now);
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
        for (uint32_t at = regions[i].from; at < regions[i].to; at++)
            if (now[at] != before[at])
                qemu_fail(&part->qemu, "%s has changed at 0x%05x: %02x instead of %02x", regions[i].name, at, now[at],
                          before[at]);
}

/* Sequence of the newest directive of release 2 that it keeps, 0 none. */
static uint32_t newest_directive(void)
{
    static uint8_t image[QEMU_FLASH_SIZE];
    const struct nf_flash flash = part_flash_over(image);
    struct nf_objects log;
    uint32_t newest = 0;
    qemu_flash(&part->qemu, image);
    if (nf_objects_mount(&log, &flash, part_flash_layout()) != 0)
        qemu_fail(&part->qemu, "its object log cannot be read");
    for (unsigned slot = 0; slot < MP_RELEASES_MAX; slot++) {
        uint8_t raw[MP_DIRECTIVE_MAX];
        struct mp_directive d;
        const int len = nf_objects_get(&log, MP_KIND_DIRECTIVE, slot, raw, sizeof raw);
        if (len > 0 && mp_directive_get(&d, raw, (size_t)len) == 0 && d.release == 2 && d.sequence > newest)
            newest = d.sequence;
    }
    return newest;
}

static bool runs_again(struct fleet *f, void *ctx)
{
    const struct bad_seen *then = ctx;
    const struct bad_seen now = look();
    (void)f;
    return now.scans && now.advertised > then->advertised;
}

static bool has_heard(struct fleet *f, void *ctx)
{
    (void)f;
    return newest_directive() > *(const uint32_t *)ctx;
}

/* The gateway gets something new to say, which every node hears, keeps and passes on. */
static void speak(void)
{
    static bool is_held;
    fleet_do(&fleet, NULL, "rollout", is_held ? "resume" : "hold", "2", NULL);
    is_held = !is_held;
}

/* What the gateway says must be heard, kept, and passed on. */
static void check_recovery(const char *what)
{
    const struct bad_seen then = look();
    const uint32_t newest = newest_directive();
    const double begin = fleet_now();
    speak();
    fleet_wait(&fleet, RECOVERS_S, "the part to scan and to advertise", runs_again, (void *)(uintptr_t)&then);
    const double advertised = fleet_now() - begin;
    fleet_wait(&fleet, HEARS_S, "the part to hear the gateway", has_heard, (void *)(uintptr_t)&newest);
    printf("%s: advertises after %.1f s, heard the gateway after %.1f s\n", what, advertised, fleet_now() - begin);
    check_resets(0);
    check_flash();
}

/* --- set-up --------------------------------------------------------------------------------------------------------- */

static bool holds_both(struct fleet *f, void *ctx)
{
    (void)f, (void)ctx;
    return fleet_part_holds(part, 2);
}

static void start_part(struct fleet *f)
{
    char air[FLEET_PATH_MAX];
    fleet_path(f, air, "air/n1.sock");
    part = fleet_part_add(f, "n1", MODEL, NULL, 1, 0);
    qemu_open(&part->qemu, &(struct qemu_options){.name = "n1", .dir = f->dir});
    qemu_load(&part->qemu, part->flash, sizeof part->flash);
    if (bad_line_open(&line, qemu_serial(&part->qemu), air, 20260101) != 0)
        fleet_fail(f, "no line to the air");
    qemu_run(&part->qemu);
    part->node->pid = part->qemu.pid;
}

static int setup(void **state)
{
    struct fleet *f = &fleet;
    (void)state;
    fleet_open(f, &(struct fleet_options){.name = "bad line", .text = ROOM});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << MODEL);
    start_part(f);
    fleet_wait_enrolled(f, 60);
    fleet_enter(f, "n2", MODEL, "canary");
    fleet_release(f, 2, "2.0.0", 1u << MODEL);
    fleet_rollout(f, 2, STAGE_ONLY);
    fleet_wait(f, 150, "the part to hold two images", holds_both, NULL);
    fleet_pause(2); /* what is still to be written about it */
    qemu_flash(&part->qemu, before);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bad_line_close(&line);
    fleet_close(&fleet);
    return 0;
}

static int fail_here(void **state)
{
    (void)state;
    fleet_failed = qemu_failed = fail_test;
    return 0;
}

/* --- faults --------------------------------------------------------------------------------------------------------- */

/* The line is bad for so long, then good. */
static void suffer(enum bad_mode mode, unsigned seconds)
{
    const struct bad_seen then = look();
    bad_line_set(&line, mode, 4);
    for (unsigned passed = 0; passed < seconds; passed++) { /* there is traffic meanwhile */
        speak();
        fleet_pause(1);
    }
    const struct bad_seen now = look();
    bad_line_set(&line, BAD_NOTHING, 0);
    printf("%s: in %u s, %llu bytes for the part, %llu of them made up, %u packets damaged, %llu bytes from it, "
           "%u resets of the controller\n",
           bad_line_name(mode), seconds, (unsigned long long)(now.to_part - then.to_part),
           (unsigned long long)(now.made_up - then.made_up), now.damaged - then.damaged,
           (unsigned long long)(now.from_part - then.from_part), now.resets - then.resets);
    if (mode == BAD_NOISE)
        assert_true(now.made_up > then.made_up + 1000);
    if (mode == BAD_SPRINKLED || mode == BAD_HALF)
        assert_true(now.damaged > then.damaged);
    if (mode >= BAD_FLOOD_BYTES)
        assert_true(now.to_part > then.to_part + 20000);
    if (mode == BAD_HALF || mode == BAD_SILENT) /* it noticed */
        assert_true(now.from_part > then.from_part);
    check_recovery(bad_line_name(mode));
}

static void good_line(void **state)
{
    (void)state;
    check_recovery("a good line");
}

static void noise(void **state)
{
    (void)state;
    suffer(BAD_NOISE, 8);
    suffer(BAD_SPRINKLED, 8);
}

static void half_a_packet_then_silence(void **state)
{
    (void)state;
    suffer(BAD_HALF, 6);
}

static void silence_for_a_while(void **state)
{
    (void)state;
    suffer(BAD_SILENT, 3);
    suffer(BAD_SILENT, 12);
}

/* It loses its power: silently, with the answer to a reset that nobody asked for, with Hardware Error. */
static void controller_resets_itself(void **state)
{
    static const uint8_t unasked[] = {HCI_H4_EVENT, HCI_EVENT_COMMAND_COMPLETE, 4, 1, 0x03, 0x0C, 0};
    static const uint8_t error[] = {HCI_H4_EVENT, HCI_EVENT_HARDWARE_ERROR, 1, 0x42};
    (void)state;
    bad_line_drop(&line);
    check_recovery("a controller that lost its power");
    bad_line_drop(&line);
    bad_line_say(&line, unasked, sizeof unasked);
    check_recovery("a controller that was reset by itself");
    bad_line_drop(&line);
    bad_line_say(&line, error, sizeof error);
    check_recovery("a controller that reports a hardware error");
    for (unsigned i = 0; i < 40; i++) {
        bad_line_drop(&line);
        bad_line_say(&line, error, sizeof error);
        fleet_pause(0.1);
    }
    check_recovery("a controller that fails for 4 s");
}

static void takes_nothing(void **state)
{
    (void)state;
    const struct bad_seen then = look();
    bad_line_set(&line, BAD_DEAF, 0);
    /* Hardware errors make the host say much: until the line is full, which it is after some hundred bytes. */
    static const uint8_t error[] = {HCI_H4_EVENT, HCI_EVENT_HARDWARE_ERROR, 1, 0};
    struct bad_seen now = then;
    for (unsigned i = 0; i < 100; i++) {
        const struct bad_seen last = now;
        bad_line_say(&line, error, sizeof error);
        fleet_pause(0.7);
        now = look();
        if (now.from_part == last.from_part && now.from_part > then.from_part + 100)
            break;
    }
    assert_true(now.from_part > then.from_part + 100);
    fleet_pause(5);
    assert_int_equal(look().from_part, now.from_part); /* it wants to, but cannot */
    bad_line_set(&line, BAD_NOTHING, 0);
    check_recovery(bad_line_name(BAD_DEAF));
}

static void flood_of_bytes(void **state)
{
    (void)state;
    suffer(BAD_FLOOD_BYTES, 10);
}

static void flood_of_events(void **state)
{
    (void)state;
    suffer(BAD_FLOOD_EVENTS, 10);
}

static void flood_of_reports(void **state)
{
    (void)state;
    suffer(BAD_FLOOD_REPORTS, 10);
}

static void flood_of_foreign_frames(void **state)
{
    (void)state;
    suffer(BAD_FLOOD_FOREIGN, 10);
}

static void flood_of_oversized_events(void **state)
{
    (void)state;
    suffer(BAD_FLOOD_OVERSIZED, 10);
}

static bool is_updated(struct fleet *f, void *ctx)
{
    static double next;
    struct boot_record r;
    (void)ctx;
    /* its controller fails now and then, too */
    if (fleet_now() > next) {
        if (next > 0)
            bad_line_drop(&line);
        next = fleet_now() + 6;
    }
    (void)look();
    return strcmp(fleet_runs(part->node), "2.1.0") == 0 && fleet_part_record(part, &r) && r.release == 3 &&
           r.state == BOOT_CONFIRMED && f->air > 0;
}

/* Download, trial and confirmation over a line that goes on being bad. */
static void takes_an_update_over_a_bad_line(void **state)
{
    struct fleet *f = &fleet;
    struct boot_record r;
    const struct bad_seen then = look();
    const double begin = fleet_now();
    (void)state;
    fleet_release(f, 3, "2.1.0", 1u << MODEL);
    bad_line_set(&line, BAD_SPRINKLED, 25);
    fleet_rollout(f, 3, ALL);
    fleet_wait(f, UPDATES_S, "the part to be updated", is_updated, NULL);
    const struct bad_seen now = look();
    bad_line_set(&line, BAD_NOTHING, 0);
    printf("updated in %.0f s: %u reports, %u resets of the controller, %u failures of its power, %u packets damaged\n",
           fleet_now() - begin, now.reports - then.reports, now.resets - then.resets, now.drops - then.drops,
           now.damaged - then.damaged);
    assert_true(now.drops > then.drops);
    assert_true(now.damaged > then.damaged + 5);
    check_resets(1); /* the one into the new image: no trial was lost */
    assert_true(fleet_part_record(part, &r));
    assert_int_equal(r.reason, MP_REASON_NONE);
    assert_true((r.flags & BOOT_FLAG_UPDATED) != 0);
    assert_true(fleet_part_holds(part, 3));
    fleet_wait_phase(f, 60, 3, "done");
}

#define TEST(function) cmocka_unit_test_setup(function, fail_here)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good_line),
        TEST(noise),
        TEST(half_a_packet_then_silence),
        TEST(silence_for_a_while),
        TEST(controller_resets_itself),
        TEST(takes_nothing),
        TEST(flood_of_bytes),
        TEST(flood_of_events),
        TEST(flood_of_reports),
        TEST(flood_of_foreign_frames),
        TEST(flood_of_oversized_events),
        TEST(takes_an_update_over_a_bad_line),
    };
    return cmocka_run_group_tests_name("uart_part", tests, setup, teardown);
}
