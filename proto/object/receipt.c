#include "receipt.h"

#include <string.h>

#include "../mp_wire.h"
#include "signed.h"

enum { FORMAT = 1, MAC_AT = 11, RECEIPT_MIN = MP_RECEIPT_FIXED + 1 + MP_SIGNATURE_SIZE };

size_t mp_receipt_put(uint8_t out[MP_RECEIPT_MAX], const struct mp_receipt *r)
{
    size_t count = r->count <= MP_RECEIPT_INDICES_MAX ? r->count : MP_RECEIPT_INDICES_MAX;
    size_t bytes = (count + 1) / 2;

    out[0] = FORMAT;
    out[1] = r->key_id;
    mp_put16(out + 2, r->network);
    mp_put16(out + 4, r->generation);
    mp_put16(out + 6, r->round);
    mp_put16(out + 8, r->base);
    mp_put16(out + 10, r->count);
    memcpy(out + MP_RECEIPT_FIXED, r->nibbles, bytes);
    return MP_RECEIPT_FIXED + bytes;
}

int mp_receipt_get(struct mp_receipt *r, const uint8_t *data, size_t len)
{
    size_t bytes;

    if (len < RECEIPT_MIN || len > MP_RECEIPT_MAX)
        return MP_ERR_LENGTH;
    if (data[0] != FORMAT || data[1] > 1)
        return MP_ERR_FORMAT;
    r->key_id = data[1];
    r->network = mp_get16(data + 2);
    r->generation = mp_get16(data + 4);
    r->round = mp_get16(data + 6);
    r->base = mp_get16(data + 8);
    r->count = mp_get16(data + 10);
    if (r->count == 0 || r->count > MP_RECEIPT_INDICES_MAX || (uint32_t)r->base + r->count > 65536)
        return MP_ERR_FORMAT;
    bytes = (r->count + 1u) / 2;
    if (len != MP_RECEIPT_FIXED + bytes + MP_SIGNATURE_SIZE)
        return MP_ERR_LENGTH;
    memset(r->nibbles, 0, sizeof r->nibbles);
    memcpy(r->nibbles, data + MP_RECEIPT_FIXED, bytes);
    if (r->count % 2 != 0 && r->nibbles[bytes - 1] >> 4 != 0)
        return MP_ERR_FORMAT;
    return MP_OK;
}

int mp_receipt_verify(const struct mp_crypto *crypto, const uint8_t *data, size_t len, const uint8_t pub[32])
{
    if (len < RECEIPT_MIN || len > MP_RECEIPT_MAX)
        return MP_ERR_LENGTH;
    len -= MP_SIGNATURE_SIZE;
    return mp_signed_verify(crypto, MP_TAG_RECEIPT, data, len, data + len, pub);
}

int mp_receipt_nibble(const struct mp_receipt *r, uint16_t index)
{
    unsigned i = (unsigned)index - r->base;

    if (index < r->base || i >= r->count)
        return -1;
    return r->nibbles[i / 2] >> (i % 2 * 4) & 15;
}

int mp_round_compare(uint16_t generation_a, uint16_t round_a, uint16_t generation_b, uint16_t round_b)
{
    uint16_t ahead = (uint16_t)(round_a - round_b);

    if (generation_a != generation_b)
        return generation_a > generation_b ? 1 : -1;
    if (ahead == 0)
        return 0;
    return ahead < 0x8000 ? 1 : -1;
}

void mp_report_put(const struct mp_crypto *crypto, uint8_t out[MP_REPORT_ENTRY_SIZE], const struct mp_report *r,
                   const uint8_t key[16])
{
    mp_put32(out, r->node);
    mp_put16(out + 4, r->serial);
    mp_put16(out + 6, r->running);
    mp_put16(out + 8, r->target);
    out[10] = (uint8_t)((r->phase & 15u) | (uint32_t)r->reason << 4);
    mp_put64(out + MAC_AT, crypto->siphash(key, out, MAC_AT));
}

int mp_report_get(struct mp_report *r, const uint8_t entry[MP_REPORT_ENTRY_SIZE])
{
    r->node = mp_get32(entry);
    r->serial = mp_get16(entry + 4);
    r->running = mp_get16(entry + 6);
    r->target = mp_get16(entry + 8);
    r->phase = entry[10] & 15u;
    r->reason = entry[10] >> 4;
    return r->node == 0 || r->node == UINT32_MAX || r->phase >= MP_PHASE_COUNT ? MP_ERR_FORMAT : MP_OK;
}

int mp_report_verify(const struct mp_crypto *crypto, const uint8_t entry[MP_REPORT_ENTRY_SIZE], const uint8_t key[16])
{
    return crypto->siphash(key, entry, MAC_AT) == mp_get64(entry + MAC_AT) ? MP_OK : MP_ERR_TAG;
}
