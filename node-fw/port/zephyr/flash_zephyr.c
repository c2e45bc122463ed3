/*
 * Flash and its map from the devicetree, and storage under MCUboot.
 */
#include <errno.h>
#include <zephyr/device.h>
#include <zephyr/drivers/flash.h>
#include <zephyr/kernel.h>
#include <zephyr/storage/flash_map.h>

#include "node-fw/port/mcuboot/mcuboot.h"
#include "node-fw/port/port.h"
#include "port_zephyr.h"

#define XIP IS_ENABLED(CONFIG_MESHFW_MCUBOOT_XIP_REVERT)
#define HAS_SEALS DT_NODE_EXISTS(DT_NODELABEL(meshfw_seals_partition))
BUILD_ASSERT(HAS_SEALS != XIP, "MCUboot moves images: meshfw_seals_partition; direct-XIP does not: none");

#define PAGE_LEAST 1024u
#define MAX_ALIGN 8u

static const struct device *const device = FIXED_PARTITION_DEVICE(slot0_partition);
BUILD_ASSERT(DT_SAME_NODE(DT_MTD_FROM_FIXED_PARTITION(DT_NODELABEL(slot0_partition)),
                          DT_MTD_FROM_FIXED_PARTITION(DT_NODELABEL(slot1_partition))),
             "both slots lie in one flash device");

static struct nf_flash flash;
static struct nf_layout layout;
static struct nf_mcuboot_map map;
static struct nf_mcuboot storage;
static uint8_t memory[NF_LOOP_MEMORY(FIXED_PARTITION_SIZE(slot0_partition), PAGE_LEAST)];

/* --- the seam ----------------------------------------------------------------------------------------------------- */

static bool is_inside(uint32_t address, size_t len)
{
    return address <= flash.size && len <= flash.size - address;
}

/* A driver that meets bytes it cannot correct returns an error, if it notices at all; docs/PORTING.md says more. */
static int flash_seam_read(void *ctx, uint32_t address, void *data, size_t len)
{
    ARG_UNUSED(ctx);
    if (!is_inside(address, len))
        return NF_FLASH_RANGE;
    return flash_read(device, (off_t)address, data, len) == 0 ? NF_FLASH_OK : NF_FLASH_UNCORRECTABLE;
}

static int flash_seam_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    ARG_UNUSED(ctx);
    if (!is_inside(address, len) || address % flash.granule != 0 || len % flash.granule != 0)
        return NF_FLASH_RANGE;
    return flash_write(device, (off_t)address, data, len) == 0 ? NF_FLASH_OK : NF_FLASH_FAILED;
}

static int flash_seam_erase(void *ctx, uint32_t address)
{
    ARG_UNUSED(ctx);
    if (!is_inside(address, flash.page_size) || address % flash.page_size != 0)
        return NF_FLASH_RANGE;
    return flash_erase(device, (off_t)address, flash.page_size) == 0 ? NF_FLASH_OK : NF_FLASH_FAILED;
}

/* --- the map ------------------------------------------------------------------------------------------------------ */

static uint32_t page_size_at(uint32_t address)
{
    struct flash_pages_info info;

    return flash_get_page_info_by_offs(device, (off_t)address, &info) == 0 ? (uint32_t)info.size : 0;
}

#define REGION(label)                                                                                                  \
    {                                                                                                                  \
        FIXED_PARTITION_OFFSET(label), FIXED_PARTITION_SIZE(label)                                                     \
    }
static const struct {
    uint32_t address, size;
} regions[] = {
    REGION(slot0_partition),           REGION(slot1_partition),          REGION(meshfw_record_partition),
    REGION(meshfw_settings_partition), REGION(meshfw_objects_partition),
#if HAS_SEALS
    REGION(meshfw_seals_partition),
#endif
};

/* Geometry from the driver; the same pages everywhere. */
static int start_flash(void)
{
    const struct flash_parameters *parameters;
    uint32_t end = 0;

    if (!device_is_ready(device))
        return MP_ERR_STORE;
    parameters = flash_get_parameters(device);
    flash = (struct nf_flash){.page_size = page_size_at(regions[0].address),
                              .granule = parameters->write_block_size > 4 ? (uint32_t)parameters->write_block_size : 4,
                              .write_once = IS_ENABLED(CONFIG_MESHFW_WRITE_ONCE),
                              .read = flash_seam_read,
                              .program = flash_seam_program,
                              .erase = flash_seam_erase};
    for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
        if (page_size_at(regions[i].address) != flash.page_size)
            return MP_ERR_FORMAT;
        end = MAX(end, regions[i].address + regions[i].size);
    }
    flash.size = end;
    return parameters->erase_value == 0xFF && flash.granule % parameters->write_block_size == 0 ? 0 : MP_ERR_FORMAT;
}

static uint8_t mode(void)
{
    if (IS_ENABLED(CONFIG_MESHFW_MCUBOOT_SCRATCH))
        return NF_MCUBOOT_SCRATCH;
    if (IS_ENABLED(CONFIG_MESHFW_MCUBOOT_OFFSET))
        return NF_MCUBOOT_OFFSET;
    if (IS_ENABLED(CONFIG_MESHFW_MCUBOOT_OVERWRITE))
        return NF_MCUBOOT_OVERWRITE;
    return XIP ? NF_MCUBOOT_XIP_REVERT : NF_MCUBOOT_MOVE;
}

int nf_zephyr_flash_start(void)
{
    int rc = start_flash();

    if (rc != 0)
        return rc;
    map = (struct nf_mcuboot_map)
    {
        .shape = {.mode = mode(),
                  .align = (uint8_t)flash_get_parameters(device)->write_block_size,
                  .max_align = MAX(MAX_ALIGN, (uint8_t)flash_get_parameters(device)->write_block_size),
                  .max_sectors = CONFIG_MESHFW_MCUBOOT_MAX_SECTORS,
                  .sector = flash.page_size},
        .slot = {{FIXED_PARTITION_OFFSET(slot0_partition), FIXED_PARTITION_SIZE(slot0_partition)},
                 {FIXED_PARTITION_OFFSET(slot1_partition), FIXED_PARTITION_SIZE(slot1_partition)}},
        .boot_record = FIXED_PARTITION_OFFSET(meshfw_record_partition),
        .settings = FIXED_PARTITION_OFFSET(meshfw_settings_partition),
        .objects = FIXED_PARTITION_OFFSET(meshfw_objects_partition),
        .objects_size = FIXED_PARTITION_SIZE(meshfw_objects_partition),
#if HAS_SEALS
        .seal = {FIXED_PARTITION_OFFSET(meshfw_seals_partition),
                 FIXED_PARTITION_OFFSET(meshfw_seals_partition) + flash.page_size},
#endif
    };
    return nf_mcuboot_layout(&layout, &map, &flash);
}

const struct nf_flash *nf_port_flash(void)
{
    return &flash;
}

const struct nf_layout *nf_port_layout(void)
{
    return &layout;
}

unsigned nf_port_slot(void)
{
    return DT_SAME_NODE(DT_CHOSEN(zephyr_code_partition), DT_NODELABEL(slot1_partition)) ? 1 : 0;
}

/* --- storage ------------------------------------------------------------------------------------------------------ */

static int mount(enum boot_cause cause, struct nf_store **store, const struct nf_storage **functions)
{
    *store = &storage.store;
    *functions = &storage.storage;
    return nf_mcuboot_init(&storage, &flash, &map, nf_port_crypto(), nf_port_slot(), cause, memory, sizeof memory);
}

static void note(enum boot_cause cause)
{
    nf_mcuboot_note(&storage, cause);
}

_Noreturn void nf_zephyr_run(const struct app *app, const char *version)
{
    static const struct nf_loop_boot boot = {.mount = mount, .note = note};

    nf_loop_run_under(&boot, app, version);
}
