/* Intel HEX, descriptions of parts, and what of a part's flash goes into a hex. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/hex.h"
#include "meshd/ctl/part.h"
#include "node-fw/port/nrf51/map.h"
#include "tests/lib/recovery_part.h"

static char error[300];

static int parse(struct md_hex *h, const char *text)
{
    error[0] = '\0';
    return md_hex_parse(h, text, strlen(text), error, sizeof error);
}

static void expect_error(const char *text, int code, const char *why)
{
    struct md_hex *h = md_hex_new();

    assert_int_equal(parse(h, text), code);
    if (strstr(error, why) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", error, why);
    md_hex_free(h);
}

/* The example of the format's specification, and what each type does. */
static void records_are_read(void **state)
{
    uint8_t data[64];
    struct md_hex *h = md_hex_new();
    (void)state;

    assert_int_equal(parse(h, ":0B0010006164647265737320676170A7\r\n:00000001FF\r\n\r\n"), MP_OK);
    assert_int_equal(md_hex_get(h, 0x0E, data, 16, 0xEE), 11);
    assert_memory_equal(data,
                        "\xEE\xEE"
                        "address gap\xEE\xEE\xEE",
                        16);
    assert_int_equal(parse(h, ":020000021200EA\n:0100000055AA\n" /* 0x12000 */
                              ":02000004FFFFFC\n:01FFFF00AA57\n" /* 0xFFFFFFFF */
                              ":0400000508000131BD\n:0400000300003800C1\n:00000001FF"),
                     MP_OK);
    assert_int_equal(md_hex_get(h, 0x12000, data, 1, 0), 1);
    assert_int_equal(data[0], 0x55);
    assert_int_equal(md_hex_get(h, 0xFFFFFFFE, data, 2, 0), 1);
    assert_int_equal(data[1], 0xAA);
    md_hex_free(h);
    /* Offsets wrap within a segment. */
    h = md_hex_new();
    assert_int_equal(parse(h, ":020000021000EC\n:02FFFF000102FD\n:00000001ff"), MP_OK);
    assert_int_equal(md_hex_get(h, 0x1FFFF, data, 1, 0), 1);
    assert_int_equal(data[0], 1);
    assert_int_equal(md_hex_get(h, 0x10000, data, 1, 0), 1);
    assert_int_equal(data[0], 2);
    md_hex_free(h);
}

static void malformed_records_are_refused(void **state)
{
    (void)state;
    expect_error("", MP_ERR_FORMAT, "no end record");
    expect_error(":0100000055AA\n", MP_ERR_FORMAT, "no end record");
    expect_error("0100000055AA\n", MP_ERR_FORMAT, "line 1: it does not begin with a colon");
    expect_error("\n:0100000055AB\n", MP_ERR_FORMAT, "line 2: wrong checksum");
    expect_error(":0100000055A\n", MP_ERR_FORMAT, "not the length of a record");
    expect_error(":010000005G AA\n", MP_ERR_FORMAT, "");
    expect_error(":01000000GGAA\n", MP_ERR_FORMAT, "not a hexadecimal digit");
    expect_error(":0200000055A9\n", MP_ERR_FORMAT, "not what it says");
    expect_error(":00000001FF\n:00000001FF\n", MP_ERR_FORMAT, "line 2: something behind the end record");
    expect_error(":0100000100FE\n", MP_ERR_FORMAT, "end record with data");
    expect_error(":0100000400FB\n", MP_ERR_FORMAT, "without its two bytes");
    expect_error(":0100000500FA\n", MP_ERR_FORMAT, "without its four bytes");
    expect_error(":00000006FA\n", MP_ERR_FORMAT, "unknown type");
    expect_error(":0100000055AA\n:0100000054AB\n", MP_ERR_DUPLICATE, "line 2: other data");
    expect_error(":02000004FFFFFC\n:02FFFF000102FD\n", MP_ERR_FORMAT, "beyond the end");
}

static void what_is_written_is_read_again(void **state)
{
    static uint8_t data[5000], back[5000];
    uint32_t x = 5;
    (void)state;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + i / 256);
    for (unsigned round = 0; round < 200; round++) {
        struct md_hex *h = md_hex_new(), *again = md_hex_new();
        uint32_t base = round % 4 == 0 ? UINT32_MAX - 4999 : round * 0x01234567u % 0xFFFF0000u;
        size_t len, there = 0;

        for (unsigned run = 0; run < 5; run++) {
            x = x * 1664525u + 1013904223u;
            uint32_t at = (x >> 8) % 4900, n = 1 + (x >> 20) % 100;
            assert_int_equal(md_hex_put(h, base + at, data + at, n), MP_OK);
        }
        char *text = md_hex_text(h, &len);
        assert_non_null(text);
        for (size_t i = 0; i < len; i++) { /* short lines, each a record */
            size_t n = strcspn(text + i, "\r");
            assert_true(text[i] == ':' && n <= 43 && text[i + n + 1] == '\n');
            i += n + 1;
        }
        assert_int_equal(md_hex_parse(again, text, len, error, sizeof error), MP_OK);
        there = md_hex_get(h, base, back, sizeof back, 0xFF);
        assert_int_equal(md_hex_get(again, base, data, 0, 0), 0);
        static uint8_t third[5000];
        assert_int_equal(md_hex_get(again, base, third, sizeof third, 0xFF), there);
        assert_memory_equal(back, third, sizeof back);
        free(text);
        md_hex_free(h);
        md_hex_free(again);
    }
}

static void a_hex_has_bounds(void **state)
{
    struct md_hex *h = md_hex_new();
    uint8_t byte = 1;
    uint32_t address, len;
    int code = MP_OK;
    uint64_t blocks = 0;
    (void)state;

    assert_int_equal(md_hex_put(h, UINT32_MAX, (const uint8_t *)"ab", 2), MP_ERR_LENGTH);
    assert_false(md_hex_next(h, 0, &address, &len));
    for (uint64_t at = 0; at < UINT32_MAX && code == MP_OK; at += 256, blocks++)
        code = md_hex_put(h, (uint32_t)at, &byte, 1);
    assert_int_equal(code, MP_ERR_ROOM);
    assert_int_equal(blocks, MD_HEX_BYTES_MAX / 256 + 1);
    md_hex_free(h);
    md_hex_free(NULL);
}

/* --- parts ---------------------------------------------------------------------------------------------------------- */

static const char sound[] = "# a part\nflash_base = 0x08000000\nflash_size = 64K\npage_size=1024\n  granule = 4\n"
                            "boot = 0\nboot_size = 8K\nboot_record = 8K\nsettings = 10K\nobjects = 11K # log\n"
                            "objects_size = 8K\nslot_a = 20K\nslot_b = 40K\nslot_size = 20K\r\n";

static int part_of(const char *from, const char *to)
{
    struct md_part part;
    char text[600];
    const char *at = strstr(sound, from);

    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - sound), sound, to, at + strlen(from));
    error[0] = '\0';
    return md_part_parse(&part, text, strlen(text), error, sizeof error);
}

static void parts_are_described(void **state)
{
    struct md_part part;
    (void)state;

    assert_int_equal(md_part_parse(&part, sound, strlen(sound), error, sizeof error), MP_OK);
    assert_int_equal(part.flash_base, 0x08000000);
    assert_int_equal(part.flash_size, 65536);
    assert_int_equal(part.layout.slot[1], 40960);
    assert_int_equal(part.layout.slot_base[1], 0x0800A000);
    assert_int_equal(part.boot_size, 8192);
    assert_true(md_part_named(&part, "nrf51"));
    assert_int_equal(part.layout.slot_base[1], NRF51_SLOT_B);
    assert_false(md_part_named(&part, "nrf5"));
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 40K\nslot_base_a = 1\nslot_base_b = 2"), MP_OK);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 39K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 45K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 40001"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K\n", ""), MP_ERR_FORMAT);
    assert_non_null(strstr(error, "slot_b is missing"));
    assert_int_equal(part_of("slot_b = 40K", "slot_c = 40K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 40K\nslot_b = 40K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b 40K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 40K 1"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = 4194305K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("slot_b = 40K", "slot_b = -1"), MP_ERR_FORMAT);
    assert_int_equal(part_of("granule = 4", "granule = 5"), MP_ERR_FORMAT);
    assert_int_equal(part_of("page_size=1024", "page_size=1000"), MP_ERR_FORMAT);
    assert_int_equal(part_of("page_size=1024", "page_size=0"), MP_ERR_FORMAT);
    assert_int_equal(part_of("boot_size = 8K", "boot_size = 9K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("boot_size = 8K", "boot_size = 65K"), MP_ERR_FORMAT);
    /* Inside of a slot, and over seals outside of them. */
    assert_int_equal(part_of("boot = 0", "boot = 45K"), MP_ERR_FORMAT);
    assert_non_null(strstr(error, "overlaps another one"));
    assert_int_equal(part_of("boot = 0", "seal_a = 62K\nseal_b = 63K\nboot = 0"), MP_OK);
    assert_int_equal(part_of("boot_record = 8K", "seal_a = 1K\nseal_b = 63K\nboot_record = 8K"), MP_ERR_FORMAT);
    assert_int_equal(part_of("boot_record = 8K", "boot_record = 10K"), MP_ERR_FORMAT);
    assert_int_equal(md_part_load(&part, "/nowhere", error, sizeof error), MP_ERR_STORE);
    assert_non_null(strstr(error, "nrf51"));
}

static void bootloaders_stay_in_their_region(void **state)
{
    struct md_part part;
    uint8_t data[9000], back[16];
    (void)state;

    assert_int_equal(md_part_parse(&part, sound, strlen(sound), error, sizeof error), MP_OK);
    memset(data, 0x11, sizeof data);
    struct md_hex *h = md_hex_new();
    assert_int_equal(md_part_bootloader(h, &part, data, 8192, error, sizeof error), MP_OK);
    assert_int_equal(md_hex_get(h, 0x08001FF8, back, 16, 0), 8);
    assert_int_equal(md_part_bootloader(h, &part, data, 8193, error, sizeof error), MP_ERR_ROOM);
    assert_int_equal(md_part_bootloader(h, &part, data, 0, error, sizeof error), MP_ERR_LENGTH);
    md_hex_free(h);
    h = md_hex_new();
    /* In its region, and in fuses; in the boot record; over the end of the region. */
    static const char good[] = ":020000040800F2\n:0100000055AA\n:020000041000EA\n:0110140077 64\n:00000001FF\n";
    static const char fuses[] = ":020000040800F2\n:0100000055AA\n:020000041000EA\n:011014007764\n:00000001FF\n";
    static const char record[] = ":020000040800F2\n:01200000558A\n:00000001FF\n";
    static const char over[] = ":020000040800F2\n:021FFF000102DD\n:00000001FF\n";
    assert_int_equal(md_part_bootloader(h, &part, (const uint8_t *)good, strlen(good), error, sizeof error),
                     MP_ERR_FORMAT);
    assert_int_equal(md_part_bootloader(h, &part, (const uint8_t *)record, strlen(record), error, sizeof error),
                     MP_ERR_FORMAT);
    assert_int_equal(md_part_bootloader(h, &part, (const uint8_t *)fuses, strlen(fuses), error, sizeof error), MP_OK);
    assert_int_equal(md_hex_get(h, 0x10001014, back, 1, 0), 1);
    assert_int_equal(back[0], 0x77);
    assert_int_equal(md_part_bootloader(h, &part, (const uint8_t *)over, strlen(over), error, sizeof error),
                     MP_ERR_FORMAT);
    assert_non_null(strstr(error, "outside of the bootloader's region"));
    md_hex_free(h);
}

/* A whole flash: put into a part, it boots; what must be erased is there as ones. */
static void a_flash_boots(void **state)
{
    static const struct rig_part kinds[] = {
        {.name = "word", .page_size = 1024, .granule = 4, .relocates = true},
        {.name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true}};
    static struct recovery_part part;
    uint8_t settings[MP_SETTINGS_SIZE];
    (void)state;

    for (unsigned k = 0; k < 2; k++) {
        rig_images(&kinds[k], NULL);
        recovery_part_init(&part, &kinds[k]);
        recovery_settings(settings, 12);
        struct md_part described = {.flash_base = 0x08000000,
                                    .flash_size = part.flash.size,
                                    .page_size = part.flash.page_size,
                                    .granule = part.flash.granule,
                                    .layout = part.layout};
        struct md_material material = {settings, rig_image[1].manifest, rig_image[1].payload, rig_image[1].size};
        struct md_hex *h = md_hex_new();
        struct boot_choice choice;

        assert_int_equal(md_part_flash(h, &described, rig_crypto(), &material, error, sizeof error), MP_OK);
        md_hex_get(h, 0x08000000, part.sim.data, part.flash.size, 0xFF);
        assert_int_equal(recovery_part_boot(&part, &choice), 0);
        assert_int_equal(choice.row, 2);
        assert_int_equal(choice.record.release, 1);
        uint32_t start = 0x08000000 + part.layout.boot_record, end = part.layout.slot[0] - part.layout.boot_record;
        uint8_t *page = malloc(end);
        assert_int_equal(md_hex_get(h, start, page, end, 0), end); /* record, settings, objects: every byte */
        free(page);
        md_hex_free(h);

        h = md_hex_new();
        material.payload = rig_image[2].payload;
        assert_int_equal(md_part_flash(h, &described, rig_crypto(), &material, error, sizeof error), MP_ERR_CHUNK);
        md_hex_free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(malformed_records_are_refused),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_hex_has_bounds),
        cmocka_unit_test(parts_are_described),
        cmocka_unit_test(bootloaders_stay_in_their_region),
        cmocka_unit_test(a_flash_boots),
    };

    return cmocka_run_group_tests_name("hex", tests, NULL, NULL);
}
