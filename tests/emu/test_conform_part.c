/*
 * The conformance test of ports, run by the nRF51's port itself on an emulated part, started by its bootloader. This
 * program is the other end of its line.
 */
#include "emu.h"

#include <stdio.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"
#include "tests/lib/part_flash.h"
#include "tests/lib/sign.h"
#include "tests/port/tester.h"

#define LIMIT_S 240

static void print_line(void *ctx, const char *text)
{
    (void)ctx;
    printf("    %s\n", text);
}

/* All of flash: bootloader, settings of somebody, and the image in slot A, confirmed. */
static void provision(uint8_t flash[PART_FLASH_SIZE])
{
    static uint8_t image[PART_FLASH_SIZE], memory[1024];
    const struct nf_flash seam = part_flash_over(flash);
    const struct nf_layout *layout = part_flash_layout();
    const struct part_flash what = {.boot = emu_built("nrf51/boot.bin")};
    struct mp_settings settings = {.network = 9, .node = 77, .product = 1, .model = 2, .key_count = 1};
    struct boot_record record = {.state = BOOT_CONFIRMED, .release = 1};
    struct sign_fleet keys;
    struct mp_manifest m;
    uint8_t manifest[MP_MANIFEST_SIZE];
    assert_int_equal(part_flash_build(flash, &what), 0);
    FILE *file = fopen(emu_built("nrf51/conform.bin"), "rbe");
    assert_non_null(file);
    const size_t size = fread(image, 1, sizeof image, file);
    fclose(file);
    sign_fleet_make(&keys);
    mp_keyset_put(settings.keyset, &keys.keyset);
    sign_manifest_fill(&m, 2, 1);
    sign_manifest_image(&m, image, size);
    sign_manifest(manifest, &m, &keys.publisher);
    assert_true(nf_slot_memory(&seam, layout) <= sizeof memory);
    assert_int_equal(nf_store_install(&seam, layout, crypto_sodium(), 0, manifest, image, size, memory), 0);
    assert_int_equal(nf_settings_store(&settings, &seam, layout), 0);
    assert_int_equal(boot_append(&seam, layout, &record), 0);
}

static void the_port_conforms(void **state)
{
    static uint8_t flash[PART_FLASH_SIZE];
    struct tester tester;
    struct qemu *q = &emu_part[0];
    (void)state;
    /* On the host's clock: the tester goes by it, too. */
    qemu_open(q, &(struct qemu_options){.name = "p0", .dir = emu_dir, .icount_shift = -1});
    provision(flash);
    qemu_load(q, flash, sizeof flash);
    tester_init(&tester, print_line, NULL);
    qemu_run(q);
    for (unsigned i = 0; i < LIMIT_S * 10 && !tester.is_done; i++) {
        assert_true(tester_pump(&tester, qemu_serial(q), 100));
        qemu_poll(&q, 1, 0);
    }
    assert_true(tester.is_done);
    assert_int_equal(tester.failed, 0);
    assert_true(tester.ok > 20);
    assert_int_equal(q->resets_own, 6); /* one for each cause that there is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {EMU_TEST(the_port_conforms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
