/*
 * The bootloader of the emulated part by itself: what it exports, what it answers when there is nothing to boot, and
 * how it goes on with an image that keeps failing.
 */
#include "emu.h"

#include <stdio.h>
#include <string.h>

#include "node-fw/boot/recovery.h"
#include "node-fw/port/nrf51/part.h"
#include "proto/mp_wire.h"
#include "proto/object/settings.h" /* mp_crc32() */
#include "tests/lib/fleet_part.h"

#define MODEL 2u

static struct fleet fleet;

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

static int fleet_setup(void **state)
{
    (void)state;
    fleet_failed = qemu_failed = fail_test;
    return 0;
}

static int fleet_teardown(void **state)
{
    (void)state;
    fleet_close(&fleet);
    return 0;
}

/* --- recovery ----------------------------------------------------------------------------------------------------- */

/* One request; false without a proper reply of this length. */
static bool ask(struct qemu *q, unsigned type, const void *payload, size_t len, uint8_t *reply, size_t reply_len)
{
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX] = {BOOT_RECOVERY_MAGIC, (uint8_t)type, (uint8_t)len, (uint8_t)(len >> 8)};
    uint8_t answer[BOOT_RECOVERY_FRAME_MAX] = {0};
    const size_t total = BOOT_RECOVERY_HEAD + reply_len + 4;
    if (len > 0)
        memcpy(frame + BOOT_RECOVERY_HEAD, payload, len);
    mp_put32(frame + BOOT_RECOVERY_HEAD + len, mp_crc32(frame, BOOT_RECOVERY_HEAD + len));
    if (!emu_send(q, frame, BOOT_RECOVERY_HEAD + len + 4, 5) || emu_receive(q, answer, total, 10) != total)
        return false;
    memcpy(reply, answer + BOOT_RECOVERY_HEAD, reply_len);
    return answer[0] == BOOT_RECOVERY_MAGIC && answer[1] == (type | 0x80) && mp_get16(answer + 2) == reply_len &&
           mp_get32(answer + total - 4) == mp_crc32(answer, total - 4);
}

/* A part fresh from the factory, bootloader alone: says what it is, through noise, and for longer than the watchdog
 * lasts. */
static void a_blank_part_answers(void **state)
{
    uint8_t hello[BOOT_RECOVERY_HELLO_SIZE] = {0}, noise[1000];
    struct qemu *q = emu_open(0, emu_built("nrf51/boot.bin"));
    (void)state;
    qemu_run(q);
    for (unsigned round = 0; round < 3; round++) {
        assert_true(ask(q, BOOT_RECOVERY_HELLO, NULL, 0, hello, sizeof hello));
        assert_int_equal(hello[0], 0);
        assert_int_equal(hello[1], BOOT_RECOVERY_VERSION);
        assert_int_equal(hello[3], BOOT_RECOVERY_FLAG_WRITE_ONCE);
        assert_int_equal(mp_get32(hello + 16), NRF51_FLASH_SIZE);
        assert_int_equal(mp_get32(hello + 20), NRF51_PAGE_SIZE);
        assert_int_equal(mp_get32(hello + 24), NRF51_BOOT_RECORD);
        assert_int_equal(mp_get32(hello + 40), NRF51_SLOT_A);
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)(i * 7 + round);
        assert_true(emu_send(q, noise, sizeof noise, 5));
        qemu_pass(q, 5000, 60);
        memset(noise, 0, sizeof noise); /* ends whatever it believes to be in */
        assert_true(emu_send(q, noise, BOOT_RECOVERY_FRAME_MAX, 5));
    }
    assert_int_equal(q->resets_own, 0);
}

static void recovery_ends_with_a_reset(void **state)
{
    uint8_t status = 0xFF;
    struct qemu *q = emu_open(0, emu_built("nrf51/boot.bin"));
    (void)state;
    qemu_run(q);
    assert_true(ask(q, BOOT_RECOVERY_RESET, NULL, 0, &status, 1));
    assert_int_equal(status, 0);
    for (unsigned i = 0; i < 100 && q->resets_own == 0; i++)
        qemu_poll(&q, 1, 100);
    assert_int_equal(q->resets_own, 1);
    assert_true(ask(q, BOOT_RECOVERY_RESET, NULL, 0, &status, 1));
}

/* --- exports ------------------------------------------------------------------------------------------------------ */

/* What docs/SPEC.md section 14 says of the first bytes of the part, byte for byte. */
static void the_exports_are_where_images_look(void **state)
{
    uint8_t table[36];
    struct qemu *q = emu_open(0, emu_built("nrf51/boot.bin"));
    (void)state;
    qemu_peek(q, 0xC0, table, sizeof table);
    assert_memory_equal(table, "MEXT", 4);
    assert_int_equal(mp_get16(table + 4), 1);
    assert_int_equal(mp_get16(table + 6), sizeof table);
    for (unsigned at = 8; at <= 28; at += 4) {
        assert_int_equal(table[at] & 1, 1); /* Thumb */
        assert_true(mp_get32(table + at) > 0xC0 && mp_get32(table + at) < NRF51_BOOT_SIZE);
    }
    assert_int_equal(mp_get32(table + 32), 1u << 24);
}

/* --- failing images ----------------------------------------------------------------------------------------------- */

/* A fleet of one part n1 with this image in slot A. Not started. */
static struct fleet_part *open_part(struct fleet *f, const char *name, const char *stem)
{
    fleet_open(f, &(struct fleet_options){.name = name,
                                          .text = "[scenario]\nname = test\nseed = 11\n[topology]\nkind = line\n"
                                                  "nodes = 2\nspacing = 2 m\nfirst = gw\nprefix = n\n"});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, stem, 1u << MODEL);
    return fleet_part_add(f, "n1", MODEL, NULL, 1, 0);
}

/* Confirmed in the factory, crashes soon after each start: started again and again, ever more slowly; never given up,
 * since there is nothing else. */
static void a_confirmed_image_that_fails_is_slowed_down(void **state)
{
    struct fleet *f = &fleet;
    struct fleet_part *p = open_part(f, "crashing", "3.0.2-crash");
    (void)state;
    fleet_part_start(f, p);
    qemu_pass(&p->qemu, 13000, 120);
    fleet_witness(f);
    const unsigned boots = p->node->boots;
    printf("%u starts in 13 s\n", boots);
    /* pauses of 0.1, 0.2, ... 3.2 s, and about half a second for each start */
    FLEET_REQUIRE(f, boots >= 4 && boots <= 8);
    FLEET_REQUIRE(f, p->qemu.resets_own >= boots - 1 && p->qemu.resets_own <= boots + 1);
    FLEET_REQUIRE(f, p->node->boot[boots - 1].at_us - p->node->boot[boots - 2].at_us >
                         p->node->boot[1].at_us - p->node->boot[0].at_us);
}

static bool has_booted(struct fleet *f, void *ctx)
{
    const struct fleet_part *p = ctx;
    (void)f;
    return p->node->boots > 0;
}

/* Slot A holds what is confirmed, damaged in flash; slot B another whole image: that one is booted, and the record says
 * why. */
static void a_damaged_image_gives_way_to_the_other(void **state)
{
    struct fleet *f = &fleet;
    char manifest[FLEET_PATH_MAX], payload[FLEET_PATH_MAX];
    struct boot_record record;
    struct fleet_part *p = open_part(f, "damage", "1.0.0");
    (void)state;
    fleet_sign(f, 2, "2.0.0", 1u << MODEL);
    fleet_factory(f, 2, MODEL, manifest, payload);
    FLEET_REQUIRE(f, part_flash_install(p->flash, manifest, payload, 1) == 0);
    p->flash[NRF51_SLOT_A + 0x9001] ^= 0x10;
    fleet_part_start(f, p);
    fleet_wait(f, 60, "n1 to start", has_booted, p);
    FLEET_REQUIRE(f, strcmp(fleet_runs(p->node), "2.0.0") == 0);
    FLEET_REQUIRE(f, fleet_part_record(p, &record) && record.state == BOOT_CONFIRMED && record.home == 1);
    FLEET_REQUIRE(f, record.reason == MP_REASON_CORRUPT_HOME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMU_TEST(a_blank_part_answers),
        EMU_TEST(recovery_ends_with_a_reset),
        EMU_TEST(the_exports_are_where_images_look),
        cmocka_unit_test_setup_teardown(a_confirmed_image_that_fails_is_slowed_down, fleet_setup, fleet_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_image_gives_way_to_the_other, fleet_setup, fleet_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
