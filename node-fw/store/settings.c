#include "settings.h"

#include <string.h>

enum { STORED = 384 }; /* the record and fill to a multiple of every granule */
_Static_assert(STORED >= MP_SETTINGS_SIZE && STORED % 32 == 0, "whole granules");

int nf_settings_load(struct mp_settings *s, const struct nf_flash *flash, const struct nf_layout *layout)
{
    uint8_t data[MP_SETTINGS_SIZE];

    if (flash->read(flash->ctx, layout->settings, data, sizeof data) != NF_FLASH_OK)
        return MP_ERR_STORE;
    return mp_settings_get(s, data, sizeof data);
}

int nf_settings_store(const struct mp_settings *s, const struct nf_flash *flash, const struct nf_layout *layout)
{
    uint8_t data[STORED], back[MP_SETTINGS_SIZE];
    struct mp_settings check;

    memset(data, 0xFF, sizeof data);
    mp_settings_put(data, s);
    if (mp_settings_get(&check, data, MP_SETTINGS_SIZE) != MP_OK)
        return MP_ERR_FORMAT;
    if (flash->erase(flash->ctx, layout->settings) != NF_FLASH_OK ||
        flash->program(flash->ctx, layout->settings, data, sizeof data) != NF_FLASH_OK ||
        flash->read(flash->ctx, layout->settings, back, sizeof back) != NF_FLASH_OK ||
        memcmp(back, data, sizeof back) != 0)
        return MP_ERR_STORE;
    return MP_OK;
}
