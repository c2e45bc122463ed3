/*
 * The conformance test of ports, run by the nRF51's port itself on an emulated part, started by its bootloader. This
 * program is the other end of its line.
 */
#include "emu.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"
#include "tests/lib/part_flash.h"
#include "tests/lib/sign.h"
#include "tests/port/tester.h"

#define LIMIT_S 240u /* of the part's clock */

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

/* The tester goes by the part's own clock, so that neither can outrun the other on a busy machine. Asking takes a while,
 * by which the answer is old: it never goes back. */
static uint64_t part_us(struct qemu *q)
{
    static uint64_t last;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const uint64_t now = (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u - (uint64_t)qemu_lag_ms(q) * 1000u;
    last = now > last ? now : last;
    return last;
}

/* Bytes for the part that its line has not taken yet. */
static struct {
    uint8_t data[64];
    size_t at, len;
} given;

static void give(struct tester *t, int fd, uint64_t now)
{
    for (;;) {
        if (given.at == given.len) {
            given.at = 0;
            given.len = tester_give(t, now, given.data, sizeof given.data);
        }
        if (given.len == 0)
            return;
        const ssize_t n = send(fd, given.data + given.at, given.len - given.at, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        given.at += (size_t)n;
    }
}

static void pump(struct tester *t, struct qemu *q)
{
    uint8_t in[512];
    const int fd = qemu_serial(q);
    const uint64_t now = part_us(q);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    give(t, fd, now);
    if (tester_is_paused(t, now))
        poll(NULL, 0, 1);
    else if (poll(&p, 1, 1) > 0) {
        const ssize_t n = read(fd, in, sizeof in);
        assert_true(n > 0);
        tester_take(t, part_us(q), in, (size_t)n);
    }
}

static void the_port_conforms(void **state)
{
    static uint8_t flash[PART_FLASH_SIZE];
    struct tester tester;
    struct qemu *q = emu_open(0, emu_built("nrf51/boot.bin"));
    (void)state;
    provision(flash);
    qemu_load(q, flash, sizeof flash);
    tester_init(&tester, print_line, NULL);
    qemu_serial(q);
    qemu_run(q);
    const uint64_t end = part_us(q) + LIMIT_S * 1000000u;
    while (!tester.is_done && part_us(q) < end) {
        pump(&tester, q);
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
