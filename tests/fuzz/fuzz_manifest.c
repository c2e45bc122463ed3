/* What decodes as a manifest encodes to the same bytes and keeps its bounds; nothing unsigned verifies. */
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t pub[32] = {1};
    struct mp_manifest m;
    struct mp_device device = {.hw_revision = 31, .slot_size = MP_IMAGE_MAX / 2, .battery_percent = 50};
    uint8_t again[MP_MANIFEST_SIZE];
    int result = mp_manifest_get(&m, data, size);

    expect(result == MP_OK || result == (size == MP_MANIFEST_SIZE ? MP_ERR_FORMAT : MP_ERR_LENGTH));
    if (result != MP_OK)
        return 0;
    mp_manifest_put(again, &m);
    expect(memcmp(again, data, MP_MANIFEST_SIGNED) == 0);
    expect(m.image_size >= 1 && m.image_size <= MP_IMAGE_MAX && m.payload_size >= 1 && m.payload_size <= MP_IMAGE_MAX);
    expect(m.hw_revisions != 0 && m.release != 0 && m.battery_min_percent <= 100);
    expect(mp_manifest_verify(crypto_sodium(), data, pub) == MP_ERR_SIGNATURE);
    device.product = m.product;
    device.model = m.model;
    device.counter_floor = data[199];
    result = mp_manifest_check(&m, &device, (data[198] & 1) != 0);
    if (result == MP_OK)
        expect(m.kind == MP_PAYLOAD_FULL && m.hw_revisions >> 31 != 0 && m.image_size <= device.slot_size &&
               m.security_counter >= device.counter_floor && m.security_counter <= device.counter_floor + 16u);
    return 0;
}
