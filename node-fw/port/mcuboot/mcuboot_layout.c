/*
 * Where things lie when MCUboot owns the slots.
 */
#include <string.h>

#include "mcuboot.h"

enum { REGIONS = 7 };

static bool is_moving(const struct nf_mcuboot_map *map)
{
    return map->shape.mode != NF_MCUBOOT_XIP && map->shape.mode != NF_MCUBOOT_XIP_REVERT;
}

static bool is_region(const struct nf_flash *flash, const struct nf_mcuboot_area *a, uint32_t unit)
{
    return a->size > 0 && a->size <= flash->size && a->address <= flash->size - a->size && a->address % unit == 0 &&
           a->size % unit == 0;
}

static bool is_apart(const struct nf_mcuboot_area *a, const struct nf_mcuboot_area *b)
{
    return a->address + a->size <= b->address || b->address + b->size <= a->address;
}

/* Every region within the flash, in whole units of its own, none over another. */
static bool regions_are_valid(const struct nf_mcuboot_map *map, const struct nf_flash *flash)
{
    const uint32_t page = flash->page_size;
    const struct nf_mcuboot_area region[REGIONS] = {map->slot[0],
                                                    map->slot[1],
                                                    {map->boot_record, 2 * page},
                                                    {map->settings, page},
                                                    {map->objects, map->objects_size},
                                                    {map->seal[0], page},
                                                    {map->seal[1], page}};
    size_t count = is_moving(map) ? REGIONS : REGIONS - 2;

    for (size_t i = 0; i < count; i++) {
        if (!is_region(flash, &region[i], i < 2 ? map->shape.sector : page))
            return false;
        for (size_t j = 0; j < i; j++)
            if (!is_apart(&region[i], &region[j]))
                return false;
    }
    return is_moving(map) || map->seal[0] == map->seal[1];
}

/* boot_slots_compatible() of MCUboot's swap_*.c, for sectors of one size. */
static bool slots_are_compatible(const struct nf_mcuboot_map *map)
{
    uint32_t primary = map->slot[0].size / map->shape.sector, secondary = map->slot[1].size / map->shape.sector;

    if (primary > map->shape.max_sectors || secondary > map->shape.max_sectors)
        return false;
    if (map->shape.mode == NF_MCUBOOT_MOVE && primary == secondary + 1)
        return true;
    if (map->shape.mode == NF_MCUBOOT_OFFSET && primary + 1 == secondary)
        return true;
    return primary == secondary;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int nf_mcuboot_layout(struct nf_layout *layout, const struct nf_mcuboot_map *map, const struct nf_flash *flash)
{
    const struct nf_mcuboot_shape *shape = &map->shape;
    uint32_t spare[2] = {0, 0}; /* a sector that swapping needs: on top of the primary, below the secondary image */

    if (!nf_mcuboot_shape_is_valid(shape, flash) || !regions_are_valid(map, flash) || !slots_are_compatible(map))
        return MP_ERR_FORMAT;
    if (shape->mode == NF_MCUBOOT_XIP || shape->key_size != 0)
        return MP_ERR_UNSUPPORTED;
    spare[0] = shape->mode == NF_MCUBOOT_MOVE ? shape->sector : 0;
    spare[1] = shape->mode == NF_MCUBOOT_OFFSET ? shape->sector : 0;
    for (unsigned i = 0; i < 2; i++)
        if (map->slot[i].size <= nf_mcuboot_reserved(shape) + spare[i])
            return MP_ERR_ROOM;
    memset(layout, 0, sizeof *layout);
    layout->boot_record = map->boot_record;
    layout->settings = map->settings;
    layout->objects = map->objects;
    layout->objects_size = map->objects_size;
    layout->slot[0] = map->slot[0].address;
    layout->slot[1] = map->slot[1].address + spare[1];
    layout->slot_size = least(map->slot[0].size - spare[0], map->slot[1].size - spare[1]) - nf_mcuboot_reserved(shape);
    layout->seal[0] = map->seal[0];
    layout->seal[1] = map->seal[1];
    return boot_image_capacity(flash, layout) > 0 ? MP_OK : MP_ERR_ROOM;
}

size_t nf_mcuboot_memory(const struct nf_mcuboot_map *map, const struct nf_flash *flash)
{
    struct nf_layout layout;

    return nf_mcuboot_layout(&layout, map, flash) == MP_OK ? nf_store_memory(flash, &layout) : 0;
}
