#include "layout.h"

int port_layout(struct nf_layout *layout, const struct nf_flash *flash)
{
    const uint32_t page = flash->page_size;
    const uint32_t settings = 2 * page;
    const uint32_t objects = settings + page;
    const uint32_t slots = objects + PORT_OBJECTS_SIZE; /* the log is whole pages of any size allowed */
    if (flash->size < slots || (flash->size - slots) / (2 * page) < 4)
        return NF_FLASH_RANGE;
    const uint32_t slot_size = (flash->size - slots) / (2 * page) * page;
    /* Both slots are seen at the same address: a process has its own memory, nothing is relocated. */
    *layout = (struct nf_layout){.boot_record = 0,
                                 .settings = settings,
                                 .objects = objects,
                                 .objects_size = PORT_OBJECTS_SIZE,
                                 .slot = {slots, slots + slot_size},
                                 .slot_size = slot_size,
                                 .slot_base = {0, 0}};
    return 0;
}
