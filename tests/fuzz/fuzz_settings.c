/*
 * Fuzzes the settings record, as it is and with its CRC and constant fields mended: what is accepted encodes to itself.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_one(const uint8_t *data, size_t size)
{
    struct mp_settings s;
    uint8_t again[MP_SETTINGS_SIZE];
    if (mp_settings_get(&s, data, size) < 0)
        return;
    mp_settings_put(again, &s);
    if (memcmp(again, data, sizeof again) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    try_one(copy, size);
    if (size >= MP_SETTINGS_SIZE) {
        mp_put32(copy, MP_SETTINGS_MAGIC);
        mp_put16(copy + 4, 1);
        mp_put16(copy + 6, MP_SETTINGS_SIZE);
        mp_put32(copy + MP_SETTINGS_SIZE - 4, mp_crc32(copy, MP_SETTINGS_SIZE - 4));
        try_one(copy, size);
    }
    free(copy);
    return 0;
}
