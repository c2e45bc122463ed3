#include "geometry.h"

#include "node-fw/port/nrf51/map.h"
#include "proto/mp_wire.h"

/*
 * Where the rules come from:
 *
 * nRF51: pages of 1 KB, words of 4 bytes, bits from 1 to 0 only, and nWRITE programs of a word between erases (nRF51
 * Series Reference Manual 3.0, chapter 6, "NVMC"). Two are allowed here, which is what Nordic grants for the same
 * controller in later parts. The map is that of the port.
 *
 * STM32L4: pages of 2 KB, double words of 8 bytes with ECC; a double word that is not erased takes no other program
 * (PROGERR), and one that a cut left half programmed or half erased is uncorrectable (ST RM0351, section 3.3, "FLASH
 * functional description").
 *
 * ESP32: sectors of 4 KB; behind flash encryption whole blocks of 32 bytes, whose ciphertext takes no second program,
 * no ECC, and erased flash that reads as what the cipher makes of it (ESP-IDF Programming Guide, "Flash Encryption",
 * "Reading and writing to encrypted flash"). Its MMU shows either slot at the same address, so nothing is relocated.
 */
static const struct nf_layout nrf51_map = {
    .boot_record = NRF51_BOOT_RECORD,
    .settings = NRF51_SETTINGS,
    .objects = NRF51_OBJECTS,
    .objects_size = NRF51_OBJECTS_SIZE,
    .slot = {NRF51_SLOT_A, NRF51_SLOT_B},
    .slot_size = NRF51_SLOT_SIZE,
    .slot_base = {NRF51_SLOT_A, NRF51_SLOT_B},
};

const struct geometry geometries[GEOMETRIES] = {
    {.part = {.name = "nrf51",
              .page_size = NRF51_PAGE_SIZE,
              .granule = 4,
              .writes_max = 2,
              .relocates = true,
              .image_size = 5000,
              .list_stride = 20},
     .text = "nRF51 with the smallest slots",
     .second_every = 1,
     .cuts_min = 20000,
     .log_room = 1500},
    {.part = {.name = "nrf51-map",
              .page_size = NRF51_PAGE_SIZE,
              .granule = 4,
              .writes_max = 2,
              .relocates = true,
              .layout = &nrf51_map,
              .flash_size = NRF51_FLASH_SIZE,
              .image_size = 9000,
              .list_stride = 20},
     .text = "nRF51 with its port's map",
     .second_every = 50,
     .cuts_min = 5000,
     .log_room = 3000},
    {.part = {.name = "stm32l4",
              .page_size = 2048,
              .granule = 8,
              .write_once = true,
              .relocates = true,
              .image_size = 9000,
              .list_stride = 52,
              .list_align = 512},
     .text = "STM32L4",
     .second_every = 1,
     .cuts_min = 20000,
     .log_room = 1500},
    {.part = {.name = "esp32",
              .page_size = 4096,
              .granule = 32,
              .write_once = true,
              .is_encrypted = true,
              .image_size = 9000},
     .text = "ESP32 with flash encryption",
     .second_every = 1,
     .cuts_min = 20000,
     .log_room = 3000},
};

bool geometry_is_distinct(const struct geometry *g, unsigned granules, enum flash_sim_cut cut)
{
    bool is_erase = granules == 0;

    switch (cut) {
    case FLASH_SIM_TORN_MIDDLE:
        return is_erase || granules > 2;
    case FLASH_SIM_TORN_LAST:
        return is_erase || granules > 1;
    case FLASH_SIM_NOISE:
        return is_erase;
    case FLASH_SIM_FAINT_FIRST: /* parts that take several writes do not mind: as absent */
        return is_erase || g->part.write_once;
    case FLASH_SIM_FAINT_MIDDLE:
        return granules > 1;
    case FLASH_SIM_ABSENT:
    case FLASH_SIM_TORN_FIRST:
    case FLASH_SIM_WHOLE:
    case FLASH_SIM_CUTS:
        break;
    }
    return true;
}

/* Fills the live group of a new object log: pages that cuts have closed, then small records. */
static bool log_age(const struct geometry *g, struct rig *r)
{
    struct flash_sim *sim = &r->sim;
    struct nf_objects objects;
    uint8_t filler[100] = {0};

    if (nf_objects_mount(&objects, &sim->flash, &r->layout) != MP_OK ||
        nf_objects_put(&objects, NF_KIND_APP, 0, filler, sizeof filler) != MP_OK)
        return false;
    for (uint32_t i = 1; objects.next + g->log_room < objects.group_size; i++) {
        bool is_cut = objects.next + g->part.page_size + g->log_room < objects.group_size;

        mp_put32(filler, i);
        if (is_cut)
            flash_sim_cut_at(sim, sim->ops, FLASH_SIM_TORN_FIRST);
        if ((nf_objects_put(&objects, NF_KIND_APP, 0, filler, sizeof filler) == MP_OK) == is_cut)
            return false;
        flash_sim_power_on(sim);
        if (nf_objects_mount(&objects, &sim->flash, &r->layout) != MP_OK)
            return false;
    }
    return true;
}

bool geometry_age(const struct geometry *g, struct rig *r)
{
    struct boot_record record = {.state = BOOT_CONFIRMED, .release = 1};

    for (uint32_t i = 0; i + 2 < g->part.page_size / BOOT_RECORD_SIZE; i++)
        if (boot_append(&r->sim.flash, &r->layout, &record) != MP_OK)
            return false;
    return log_age(g, r);
}
