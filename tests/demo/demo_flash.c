#include "demo_flash.h"

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/nrf51/app_sensor.h"
#include "node-fw/port/nrf51/map.h"
#include "node-fw/store/objects.h"
#include "proto/mp_wire.h"
#include "tests/lib/fleet_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One part's flash, and the image it boots. */
struct look {
    uint8_t flash[PART_FLASH_SIZE];
    struct nf_flash seam;
    struct boot_record record;
    struct boot_image image;
};

static void look(struct demo *d, struct fleet_node *n, struct look *l)
{
    qemu_flash(&n->part->qemu, l->flash);
    l->seam = part_flash_over(l->flash);
    if (boot_read(&l->seam, part_flash_layout(), &l->record) != 0)
        fleet_fail(&d->fleet, "%s has no boot record", n->name);
    if (boot_image_open(&l->image, &l->seam, part_flash_layout(), l->record.home, crypto_sodium(), NULL) != 0 ||
        boot_image_verify(&l->image, crypto_sodium()) != 0)
        fleet_fail(&d->fleet, "%s has no image that verifies in slot %c", n->name, "AB"[l->record.home]);
}

/* The payload as it was signed. */
static size_t read_payload(struct demo *d, unsigned release, unsigned model, uint8_t *out, size_t cap)
{
    char manifest[FLEET_PATH_MAX], payload[FLEET_PATH_MAX];
    fleet_factory(&d->fleet, release, model, manifest, payload);
    FILE *file = fopen(payload, "re");
    const size_t len = file != NULL ? fread(out, 1, cap, file) : 0;
    if (file != NULL)
        fclose(file);
    if (len == 0)
        fleet_fail(&d->fleet, "%s cannot be read", payload);
    return len;
}

/* Whether the slot, read in canonical form, is this. */
static bool is_canonical(const struct boot_image *image, const uint8_t *payload, size_t len)
{
    uint8_t chunk[MP_CHUNK_SIZE];
    for (size_t at = 0; at < len; at += sizeof chunk) {
        const size_t n = len - at < sizeof chunk ? len - at : sizeof chunk;
        if (boot_image_read(image, (uint32_t)at, chunk, n) != 0 || memcmp(chunk, payload + at, n) != 0)
            return false;
    }
    return image->manifest.payload_size == len;
}

/* Starts that the application counted in its records, 0 none. */
static unsigned counted_starts(const struct look *l)
{
    struct nf_objects log;
    uint8_t life[SENSOR_LIFE_SIZE];
    return nf_objects_mount(&log, &l->seam, part_flash_layout()) == 0 &&
                   nf_objects_get(&log, NF_KIND_APP, SENSOR_RECORD_LIFE, life, sizeof life) == SENSOR_LIFE_SIZE
               ? mp_get32(life + 4)
               : 0;
}

/* Words in which slot A of one part and slot B of another differ; UINT32_MAX when one differs by something else than
 * the distance of the slots. */
static uint32_t words_apart(const struct look *a, const struct look *b, size_t len)
{
    uint32_t count = 0;
    for (size_t at = 0; at + 4 <= len; at += 4) {
        const uint32_t x = mp_get32(a->flash + NRF51_SLOT_A + at), y = mp_get32(b->flash + NRF51_SLOT_B + at);
        if (x != y && y - x != NRF51_SLOT_B - NRF51_SLOT_A)
            return UINT32_MAX;
        count += x != y;
    }
    return count;
}

void demo_check_flash(struct demo *d, unsigned release, unsigned model, unsigned slot_of(const struct fleet_node *n))
{
    static uint8_t payload[NRF51_SLOT_SIZE];
    static struct look looks[2]; /* the newest one by slot */
    unsigned in[2] = {0, 0}, whole = 0, starts = 0, count = 0;
    const size_t len = read_payload(d, release, model, payload, sizeof payload);
    fleet_witness(&d->fleet);
    for (unsigned i = 0; i < d->fleet.count; i++) {
        struct fleet_node *n = &d->fleet.node[i];
        if (n->part == NULL || n->pid == 0 || n->model != model)
            continue;
        struct look *l = &looks[slot_of(n)];
        look(d, n, l);
        const bool is_home = l->record.state == BOOT_CONFIRMED && l->record.home == slot_of(n);
        in[slot_of(n)] += is_home;
        whole += is_home && is_canonical(&l->image, payload, len);
        const unsigned counted = counted_starts(l);
        starts += counted > fleet_changes(n) && counted <= n->boots;
        count++;
    }
    const uint32_t words = words_apart(&looks[0], &looks[1], len);
    demo_check(d, in[0] + in[1] == count && in[0] > 0 && in[1] > 0 && whole == count,
               "flash: %u parts boot it from slot A, %u from slot B; all %u hold the signed payload bit for bit", in[0],
               in[1], whole);
    demo_check(d, words == looks[0].image.reloc.count && words > 0,
               "flash: slots A and B differ in the %u words of the relocation list alone, each by 0x%x", words,
               NRF51_SLOT_B - NRF51_SLOT_A);
    demo_check(d, starts == count,
               "flash: the applications of %u parts counted a start for every version that the air saw, and no other",
               starts);
}
