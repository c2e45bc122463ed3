/* What decodes as a receipt or report entry encodes to the same bytes; nibbles lie where the bytes say. */
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void check_report(const uint8_t *data)
{
    static const uint8_t key[16] = {1};
    struct mp_report r;
    uint8_t again[MP_REPORT_ENTRY_SIZE];
    int result = mp_report_get(&r, data);

    expect(result == MP_OK || result == MP_ERR_FORMAT);
    if (result != MP_OK)
        return;
    expect(r.node != 0 && r.node != UINT32_MAX && r.phase < MP_PHASE_COUNT && r.reason < MP_REASON_COUNT);
    mp_report_put(crypto_sodium(), again, &r, key);
    expect(memcmp(again, data, 11) == 0);
    expect(mp_report_verify(crypto_sodium(), again, key) == MP_OK);
    expect(mp_report_verify(crypto_sodium(), data, key) ==
           (memcmp(again, data, sizeof again) == 0 ? MP_OK : MP_ERR_TAG));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t pub[32] = {1};
    struct mp_receipt r;
    uint8_t again[MP_RECEIPT_MAX];
    int result = mp_receipt_get(&r, data, size);
    unsigned covered = 0;

    if (size >= MP_REPORT_ENTRY_SIZE)
        check_report(data);
    expect(result == MP_OK || result == MP_ERR_LENGTH || result == MP_ERR_FORMAT);
    if (result != MP_OK)
        return 0;
    expect(mp_receipt_put(again, &r) + 64 == size);
    expect(memcmp(again, data, size - 64) == 0);
    expect(mp_receipt_verify(crypto_sodium(), data, size, pub) == MP_ERR_SIGNATURE);
    for (uint32_t index = 0; index < 65536; index++) {
        int nibble = mp_receipt_nibble(&r, (uint16_t)index);
        uint32_t i = index - r.base;

        expect(nibble >= -1 && nibble < 16);
        if (nibble < 0)
            continue;
        covered++;
        expect(i < r.count && nibble == (data[12 + i / 2] >> (i % 2 != 0 ? 4 : 0) & 15));
    }
    expect(covered == r.count);
    expect(mp_round_compare(r.generation, r.round, r.generation, r.round) == 0);
    return 0;
}
