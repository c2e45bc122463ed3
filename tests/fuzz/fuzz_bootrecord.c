/* Boot record pages with any content: a bootloader that reads, decides and appends over them, by the rules of flash. */
#include <stdlib.h>
#include <string.h>

#include "node-fw/boot/boot.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/settings.h"
#include "tests/lib/flash_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 1024, SLOT = 4096 };

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Input 0: bit 0 completes the CRC of every cell, bit 1 write-once flash, bit 2 damages a cell. Then the cells. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flash_sim sim;
    struct nf_layout layout = {.boot_record = 0, .slot = {2 * PAGE, 2 * PAGE + SLOT}, .slot_size = SLOT};
    struct boot_env env = {.flash = &sim.flash, .layout = &layout, .crypto = crypto_sodium()};
    struct boot_choice choice;
    struct boot_record r, back;

    if (size < 2)
        return 0;
    bool write_once = (data[0] & 2) != 0;

    flash_sim_init(&sim, 2 * PAGE + 2 * SLOT, PAGE, write_once ? 8 : 4, write_once);
    memcpy(sim.data, data + 2, size - 2 < 2 * PAGE ? size - 2 : 2 * PAGE);
    for (uint32_t at = 0; (data[0] & 1) != 0 && at < 2 * PAGE && at + 2 < size; at += BOOT_RECORD_SIZE)
        mp_put32(sim.data + at + 28, mp_crc32(sim.data + at, 28));
    if ((data[0] & 4) != 0)
        flash_sim_damage(&sim, data[1] * 8u, 1);
    boot_select(&env, (enum boot_cause)(64 + data[1] % 6), &choice);
    check(choice.slot == -1); /* no slot holds an image */
    int found = boot_read(&sim.flash, &layout, &r);
    check((found == MP_OK) == (r.state != BOOT_NONE));
    check(r.home <= 1 && r.tries < BOOT_TRIES && r.reason < MP_REASON_COUNT);
    if (r.sequence >= UINT32_MAX - 100)
        return 0; /* four billion updates later */
    for (unsigned i = 0; i < 36; i++) {
        r.state = BOOT_CONFIRMED;
        r.release = i;
        check(boot_append(&sim.flash, &layout, &r) == MP_OK);
        check(boot_read(&sim.flash, &layout, &back) == MP_OK && back.release == i && back.sequence == r.sequence);
    }
    return 0;
}
