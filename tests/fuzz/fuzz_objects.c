/* Object log pages with any content: mounting never fails, what is put comes back, and the rules of flash hold. */
#include <stdlib.h>
#include <string.h>

#include "node-fw/store/objects.h"
#include "proto/mp_wire.h"
#include "proto/object/settings.h"
#include "tests/lib/flash_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 1024, PAGES = 8 };

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Gives group headers and records the CRC they ask for, so that more than the first check is reached. */
static void complete(uint8_t *region)
{
    uint8_t sum[4 + MP_RECORD_MAX];

    for (uint32_t page = 0; page < PAGES; page++) {
        uint8_t *p = region + page * PAGE;
        uint32_t at = page % (PAGES / 2) == 0 ? 32 : 0;
        if (at != 0) {
            mp_put32(p, 0x31424F4Eu);
            mp_put32(p + 8, mp_crc32(p, 8));
        }
        while (at + 8 <= PAGE) {
            uint32_t len = mp_get16(p + at + 2);
            if (len > MP_RECORD_MAX || at + 8 + len > PAGE)
                break;
            memcpy(sum, p + at, 4);
            memcpy(sum + 4, p + at + 8, len);
            mp_put32(p + at + 4, mp_crc32(sum, 4 + len));
            at += (8 + len + 7) / 8 * 8;
        }
    }
}

static void use(struct nf_objects *o, const struct nf_flash *flash, const struct nf_layout *layout)
{
    uint8_t record[MP_RECORD_MAX], back[MP_RECORD_MAX];

    for (unsigned kind = 0; kind <= NF_KIND_COUNT; kind++)
        for (unsigned slot = 0; slot <= MP_KEYCHAIN_MAX; slot++)
            check(nf_objects_get(o, kind, slot, back, sizeof back) <= MP_RECORD_MAX);
    for (unsigned i = 0; i < 60; i++) {
        size_t len = 1 + i * 37 % 200;
        memset(record, (int)i, len);
        /* A log full of others' records may have no room; one that has keeps what it took. */
        if (nf_objects_put(o, MP_KIND_RECEIPT, 0, record, len) != MP_OK)
            return;
        if (i % 5 == 0)
            check(nf_objects_mount(o, flash, layout) == MP_OK);
        check(nf_objects_get(o, MP_KIND_RECEIPT, 0, back, sizeof back) == (int)len && memcmp(record, back, len) == 0);
    }
}

/* Input 0: bit 0 completes the CRCs, bit 1 write-once flash, bit 2 damages a granule. Then the region. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flash_sim sim;
    struct nf_layout layout = {.objects = 0, .objects_size = PAGES * PAGE};
    struct nf_objects o;

    if (size < 3)
        return 0;
    bool write_once = (data[0] & 2) != 0;

    flash_sim_init(&sim, PAGES * PAGE, PAGE, write_once ? 8 : 4, write_once);
    memcpy(sim.data, data + 3, size - 3 < PAGES * PAGE ? size - 3 : PAGES * PAGE);
    if ((data[0] & 1) != 0)
        complete(sim.data);
    if ((data[0] & 4) != 0)
        flash_sim_damage(&sim, (uint32_t)(mp_get16(data + 1) % (PAGES * PAGE)), 1);
    check(nf_objects_mount(&o, &sim.flash, &layout) == MP_OK);
    if (o.sequence < UINT32_MAX - 100)
        use(&o, &sim.flash, &layout);
    return 0;
}
