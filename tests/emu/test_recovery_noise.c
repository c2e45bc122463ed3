/*
 * Bad input to serial recovery on an emulated part without an image: noise, half frames, wrong checksums, huge lengths,
 * requests that make no sense, floods, a host that does not read. The part stays alive and stores nothing; then it is
 * provisioned as if nothing had been.
 */
#include "emu.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/recover.h"
#include "meshd/ctl/serial.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/exports.h"
#include "node-fw/port/nrf51/map.h"
#include "proto/mp_wire.h"
#include "proto/object/manifest.h"
#include "proto/object/settings.h"
#include "tests/lib/fleet_part.h"

#define MODEL 2u
#define ROOM                                                                                                           \
    "[scenario]\nname = test\nseed = 13\n[topology]\nkind = line\nnodes = 2\nspacing = 2 m\nfirst = gw\nprefix = n\n"

enum { NOISE = 150000, FRAMES = 400 };

static struct fleet fleet;
static uint8_t blank[QEMU_FLASH_SIZE];
static uint8_t settings[MP_SETTINGS_SIZE], manifest[MP_MANIFEST_SIZE], payload[NRF51_SLOT_SIZE];

static uint32_t random_state;

/* xorshift32 (Marsaglia, "Xorshift RNGs", 2003), 31 bits of it. */
static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state >> 1;
}

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

static size_t read_whole(const char *path, uint8_t *data, size_t cap)
{
    FILE *file = fopen(path, "rb");
    const size_t n = file != NULL ? fread(data, 1, cap, file) : 0;
    const bool is_whole = n > 0 && fgetc(file) == EOF;
    if (file != NULL)
        fclose(file);
    if (!is_whole)
        fleet_fail(&fleet, "%s cannot be read", path);
    return n;
}

/* What a factory has: settings of a node, an image. */
static int make_goods(void **state)
{
    struct fleet *f = &fleet;
    char path[FLEET_PATH_MAX], image[FLEET_PATH_MAX];
    (void)state;
    fleet_open(f, &(struct fleet_options){.name = "recovery", .text = ROOM});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << MODEL);
    fleet_enter(f, "n1", MODEL, NULL);
    fleet_path(f, path, "n1.settings");
    assert_int_equal(read_whole(path, settings, sizeof settings), sizeof settings);
    fleet_factory(f, 1, MODEL, path, image);
    assert_int_equal(read_whole(path, manifest, sizeof manifest), sizeof manifest);
    read_whole(image, payload, sizeof payload);
    return 0;
}

static int drop_goods(void **state)
{
    (void)state;
    fleet_close(&fleet);
    return 0;
}

static int set_up(void **state)
{
    struct qemu *q = &emu_part[0];
    (void)state;
    fleet_failed = qemu_failed = fail_test;
    random_state = 5;
    qemu_open(q, &(struct qemu_options){.name = "p0", .dir = fleet.dir});
    memset(blank, 0xFF, sizeof blank);
    qemu_image_file(q, blank, 0, emu_built("nrf51/boot.bin"));
    qemu_load(q, blank, sizeof blank);
    qemu_run(q);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qemu_close(&emu_part[0]);
    return 0;
}

/* --- frames --------------------------------------------------------------------------------------------------------- */

static size_t make_frame(uint8_t out[BOOT_RECOVERY_FRAME_MAX], unsigned type, const void *data, size_t len)
{
    out[0] = BOOT_RECOVERY_MAGIC;
    out[1] = (uint8_t)type;
    mp_put16(out + 2, (uint16_t)len);
    if (len > 0)
        memcpy(out + BOOT_RECOVERY_HEAD, data, len);
    mp_put32(out + BOOT_RECOVERY_HEAD + len, mp_crc32(out, BOOT_RECOVERY_HEAD + len));
    return BOOT_RECOVERY_HEAD + len + 4;
}

static void give(struct qemu *q, const void *data, size_t len)
{
    if (!emu_send(q, data, len, 60))
        qemu_fail(q, "takes no bytes any more");
}

/* Reads what the part says until it says nothing for a while; how much that was. */
static size_t drain(struct qemu *q)
{
    uint8_t spare[4096];
    size_t all = 0;
    for (size_t n; (n = emu_receive(q, spare, sizeof spare, 0.3)) > 0;)
        all += n;
    return all;
}

/* The status of the reply that comes; fails when none does. */
static unsigned expect_reply(struct qemu *q)
{
    uint8_t reply[BOOT_RECOVERY_FRAME_MAX];
    size_t len = BOOT_RECOVERY_HEAD;
    if (emu_receive(q, reply, len, 30) != len || reply[0] != BOOT_RECOVERY_MAGIC)
        qemu_fail(q, "does not answer");
    len = (size_t)mp_get16(reply + 2) + 4;
    if (len < 5 || len > sizeof reply - BOOT_RECOVERY_HEAD ||
        emu_receive(q, reply + BOOT_RECOVERY_HEAD, len, 30) != len)
        qemu_fail(q, "answers with half a frame");
    return reply[BOOT_RECOVERY_HEAD];
}

/* Fills up whatever frame the part waits for the end of, and asks: it must answer, have stored nothing, and not have
 * been reset. */
static void expect_alive_and_blank(struct qemu *q)
{
    static uint8_t flash[QEMU_FLASH_SIZE];
    static const uint8_t filler[BOOT_RECOVERY_FRAME_MAX];
    uint8_t request[BOOT_RECOVERY_FRAME_MAX], reply[BOOT_RECOVERY_HEAD + BOOT_RECOVERY_HELLO_SIZE + 4];
    struct md_part_info info;
    give(q, filler, sizeof filler);
    drain(q);
    give(q, request, make_frame(request, BOOT_RECOVERY_HELLO, NULL, 0));
    if (emu_receive(q, reply, sizeof reply, 10) != sizeof reply)
        qemu_fail(q, "does not answer");
    assert_int_equal(md_part_info_get(&info, reply + BOOT_RECOVERY_HEAD, BOOT_RECOVERY_HELLO_SIZE), 0);
    assert_false(info.has_settings || info.has_record || info.is_sealed[0] || info.is_sealed[1]);
    qemu_poll(&q, 1, 0);
    assert_int_equal(q->resets_own, 0);
    qemu_flash(q, flash);
    for (size_t i = 0; i < sizeof flash; i++)
        if (flash[i] != blank[i])
            qemu_fail(q, "stored %02x at 0x%05zx", flash[i], i);
}

/* --- what it must get over ------------------------------------------------------------------------------------------- */

static void noise(void **state)
{
    struct qemu *q = &emu_part[0];
    static uint8_t bytes[NOISE];
    (void)state;
    expect_alive_and_blank(q);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) /* then, much of it looks like the start of a request */
            bytes[i] = (uint8_t)(round > 0 && draw() % 8 == 0 ? BOOT_RECOVERY_MAGIC : draw() >> 7);
        for (size_t i = 0; round > 0 && i + 4 < sizeof bytes; i++)
            if (bytes[i] == BOOT_RECOVERY_MAGIC) {
                bytes[i + 1] = (uint8_t)(draw() % 9);
                bytes[i + 3] = (uint8_t)(draw() % 3);
            }
        give(q, bytes, sizeof bytes);
        drain(q);
        expect_alive_and_blank(q);
    }
}

/* Half a request, then silence, as from a host whose plug was pulled; after it, a whole one without a filler is lost,
 * and the next is not. */
static void half_frames(void **state)
{
    struct qemu *q = &emu_part[0];
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX];
    const size_t len = make_frame(frame, BOOT_RECOVERY_SETTINGS, settings, sizeof settings);
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        give(q, frame, 1 + (size_t)draw() % (len - 1));
        qemu_pass(q, 50 + draw() % 400, 60);
        assert_int_equal(drain(q), 0);
        expect_alive_and_blank(q);
    }
}

/* Requests that would do something, each with a wrong checksum, or changed in one bit. */
static void wrong_checksums(void **state)
{
    struct qemu *q = &emu_part[0];
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX], word[4];
    (void)state;
    for (unsigned i = 0; i < FRAMES; i++) {
        size_t len;
        mp_put32(word, BOOT_RECOVERY_ERASE_WORD);
        if (i % 3 == 0)
            len = make_frame(frame, BOOT_RECOVERY_SETTINGS, settings, sizeof settings);
        else
            len = i % 3 == 1 ? make_frame(frame, BOOT_RECOVERY_ERASE, word, sizeof word)
                             : make_frame(frame, BOOT_RECOVERY_RESET, NULL, 0);
        /* not in the length, or frames would run into each other */
        const size_t at = draw() % 2 == 0 ? 1 : BOOT_RECOVERY_HEAD + (size_t)draw() % (len - BOOT_RECOVERY_HEAD);
        frame[at] ^= (uint8_t)(1u << draw() % 8);
        give(q, frame, len);
    }
    assert_int_equal(drain(q), 0);
    expect_alive_and_blank(q);
}

static void huge_lengths(void **state)
{
    struct qemu *q = &emu_part[0];
    uint8_t frame[2000];
    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        const unsigned len = i == 0 ? BOOT_RECOVERY_PAYLOAD_MAX + 1 : i == 1 ? 0xFFFF : 385 + draw() % 65000;
        for (size_t k = 0; k < sizeof frame; k++)
            frame[k] = (uint8_t)(draw() >> 7);
        frame[0] = BOOT_RECOVERY_MAGIC;
        frame[1] = (uint8_t)(draw() % 8);
        mp_put16(frame + 2, (uint16_t)len);
        give(q, frame, sizeof frame);
    }
    drain(q);
    expect_alive_and_blank(q);
}

/* Whole requests of every type and length with random contents, in random order; none of it is signed. */
static void senseless_requests(void **state)
{
    struct qemu *q = &emu_part[0];
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX], data[BOOT_RECOVERY_PAYLOAD_MAX];
    static const uint16_t lengths[] = {0, 1, 4, 5, 196, 201, MP_SETTINGS_SIZE, BOOT_RECOVERY_PAYLOAD_MAX};
    unsigned refused = 0;
    (void)state;
    for (unsigned i = 0; i < FRAMES; i++) {
        unsigned type = draw() % 12;
        if (type == BOOT_RECOVERY_RESET || type == BOOT_RECOVERY_ERASE)
            type += 100;
        for (size_t k = 0; k < sizeof data; k++)
            data[k] = (uint8_t)(draw() >> 7);
        data[0] &= 3; /* slot; the rest of a piece's number is as likely huge */
        const size_t len = i % 3 == 0 ? (size_t)draw() % sizeof data : lengths[(size_t)draw() % 8];
        give(q, frame, make_frame(frame, type, data, len));
        refused += expect_reply(q) != 0;
    }
    printf("%u of %u refused\n", refused, (unsigned)FRAMES);
    assert_true(refused > FRAMES * 3 / 4); /* what is not was a question */
    expect_alive_and_blank(q);
}

/* A manifest that nobody signed, and a piece for it: refused, also when there are settings to judge it by. */
static void unsigned_image(void **state)
{
    struct qemu *q = &emu_part[0];
    static uint8_t flash[QEMU_FLASH_SIZE];
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX], data[1 + MP_MANIFEST_SIZE];
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        if (i == 4) {
            expect_alive_and_blank(q);
            give(q, frame, make_frame(frame, BOOT_RECOVERY_SETTINGS, settings, sizeof settings));
            assert_int_equal(expect_reply(q), 0);
        }
        memcpy(data + 1, manifest, sizeof manifest);
        data[0] = (uint8_t)(i % 2);
        data[1 + (size_t)draw() % MP_MANIFEST_SIZE] ^= 0x10;
        give(q, frame, make_frame(frame, BOOT_RECOVERY_BEGIN, data, sizeof data));
        assert_int_not_equal(expect_reply(q), 0);
        mp_put32(data, 0);
        give(q, frame, make_frame(frame, BOOT_RECOVERY_DATA, data, 196));
        assert_int_not_equal(expect_reply(q), 0);
    }
    qemu_flash(q, flash);
    for (size_t i = NRF51_SLOT_A; i < QEMU_FLASH_SIZE; i++)
        assert_int_equal(flash[i], 0xFF);
    assert_int_equal(q->resets_own, 0);
}

/* Requests as fast as the line takes them, answers read only afterwards. */
static void floods(void **state)
{
    struct qemu *q = &emu_part[0];
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX];
    const size_t len = make_frame(frame, BOOT_RECOVERY_HELLO, NULL, 0);
    unsigned sent = 0;
    (void)state;
    while (sent < 20000 && emu_send(q, frame, len, 1)) /* until the part is stuck with its answer */
        sent++;
    printf("%u requests sent without reading an answer\n", sent);
    qemu_pass(q, 3000, 60);
    assert_true(drain(q) > 0);
    expect_alive_and_blank(q);
}

static bool boots_image(struct qemu *q, void *ctx)
{
    (void)ctx;
    const uint32_t vectors = qemu_peek_u32(q, NRF51_HANDOVER + (uint32_t)offsetof(struct nf_handover, vectors));
    return vectors >= NRF51_SLOT_A && vectors < NRF51_SLOT_B;
}

/* After all of that at once: the real thing. */
static void is_provisioned_afterwards(void **state)
{
    struct qemu *q = &emu_part[0];
    struct md_recover r;
    struct md_recover_plan plan = {
        .settings = settings, .manifest = manifest, .payload = payload, .slot = 0, .reset = true, .patience_ms = 20000};
    (void)state;
    noise(state);
    wrong_checksums(state);
    huge_lengths(state);
    uint8_t bytes[600];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(draw() >> 7);
    give(q, bytes, sizeof bytes); /* and the line is not clean either */
    mp_manifest_id(crypto_sodium(), manifest, plan.id);
    assert_int_equal(md_recover_start(&r, &plan, md_serial_now()), 0);
    for (const mp_time end = md_serial_now() + 120u * 1000000u;
         md_recover_state(&r) == MD_RECOVER_RUNNING && md_serial_now() < end;) {
        uint8_t data[512];
        for (size_t n; (n = md_recover_write(&r, data, sizeof data)) > 0;)
            give(q, data, n);
        const size_t n = emu_receive(q, data, 1, 0.02);
        if (n > 0)
            md_recover_receive(&r, md_serial_now(), data, n + emu_receive(q, data + 1, sizeof data - 1, 0.001));
        md_recover_expire(&r, md_serial_now());
    }
    if (md_recover_state(&r) != MD_RECOVER_DONE)
        qemu_fail(q, "cannot be provisioned: %s", r.error);
    assert_true(qemu_until(q, 60, boots_image, NULL));
    assert_int_equal(q->resets_own, 1);
    /* its image talks to its controller */
    static const uint8_t reset[4] = {0x01, 0x03, 0x0C, 0x00};
    uint8_t said[4];
    assert_int_equal(emu_receive(q, said, sizeof said, 30), sizeof said);
    assert_memory_equal(said, reset, sizeof reset);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(noise),
        TEST(half_frames),
        TEST(wrong_checksums),
        TEST(huge_lengths),
        TEST(senseless_requests),
        TEST(unsigned_image),
        TEST(floods),
        TEST(is_provisioned_afterwards),
    };
    return cmocka_run_group_tests_name("recovery_noise", tests, make_goods, drop_goods);
}
