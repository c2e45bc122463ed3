#include "settings.h"

#include "../mp_wire.h"

#define FORMAT 1
#define CRC_AT (MP_SETTINGS_SIZE - 4)

/* Bit by bit: it runs once a boot over a few hundred bytes, a table would cost a kilobyte of flash. */
uint32_t mp_crc32(const uint8_t *data, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

void mp_settings_put(uint8_t out[MP_SETTINGS_SIZE], const struct mp_settings *s)
{
    memset(out, 0, MP_SETTINGS_SIZE);
    mp_put32(out, MP_SETTINGS_MAGIC);
    mp_put16(out + 4, FORMAT);
    mp_put16(out + 6, MP_SETTINGS_SIZE);
    mp_put32(out + 8, s->node);
    mp_put16(out + 12, s->network);
    mp_put16(out + 14, s->index);
    mp_put16(out + 16, s->labels);
    mp_put16(out + 18, s->model);
    mp_put32(out + 20, s->product);
    out[24] = s->hw_revision;
    out[25] = s->key_count;
    out[26] = s->key_active;
    out[28] = s->key_id[0];
    out[29] = s->key_id[1];
    memcpy(out + 32, s->network_key[0], 16);
    memcpy(out + 48, s->network_key[1], 16);
    memcpy(out + 64, s->report_key, 16);
    memcpy(out + 80, s->keyset, MP_KEYSET_SIZE);
    mp_put32(out + CRC_AT, mp_crc32(out, CRC_AT));
}

static bool in_range(const struct mp_settings *s)
{
    if (s->node == 0 || s->node == UINT32_MAX || s->hw_revision > 31)
        return false;
    if (s->key_count < 1 || s->key_count > 2 || s->key_active >= s->key_count)
        return false;
    return s->key_count == 1 || s->key_id[0] != s->key_id[1];
}

int mp_settings_get(struct mp_settings *s, const uint8_t *data, size_t len)
{
    if (len < MP_SETTINGS_SIZE)
        return MP_ERR_LENGTH;
    uint32_t magic = mp_get32(data);
    if (magic == UINT32_MAX || magic == 0)
        return MP_ERR_ABSENT;
    if (magic != MP_SETTINGS_MAGIC || mp_get16(data + 4) != FORMAT || mp_get16(data + 6) != MP_SETTINGS_SIZE)
        return MP_ERR_FORMAT;
    if (mp_get32(data + CRC_AT) != mp_crc32(data, CRC_AT))
        return MP_ERR_CHUNK;
    if (data[27] != 0 || mp_get16(data + 30) != 0)
        return MP_ERR_FORMAT;
    s->node = mp_get32(data + 8);
    s->network = mp_get16(data + 12);
    s->index = mp_get16(data + 14);
    s->labels = mp_get16(data + 16);
    s->model = mp_get16(data + 18);
    s->product = mp_get32(data + 20);
    s->hw_revision = data[24];
    s->key_count = data[25];
    s->key_active = data[26];
    s->key_id[0] = data[28];
    s->key_id[1] = data[29];
    memcpy(s->network_key[0], data + 32, 16);
    memcpy(s->network_key[1], data + 48, 16);
    memcpy(s->report_key, data + 64, 16);
    memcpy(s->keyset, data + 80, MP_KEYSET_SIZE);
    struct mp_keyset set;
    return in_range(s) ? mp_keyset_get(&set, s->keyset, MP_KEYSET_SIZE) : MP_ERR_FORMAT;
}
