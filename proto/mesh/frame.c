#include "frame.h"

#include "../mp_wire.h"

void mp_header_put(uint8_t out[MP_HEADER_SIZE], const struct mp_header *h)
{
    out[0] = (uint8_t)(MP_FRAME_VERSION << 4 | (h->type & 15));
    out[1] = h->key_id;
    mp_put16(out + 2, h->network);
    mp_put32(out + 4, h->source);
    mp_put24(out + 8, (uint32_t)(h->counter >> 24));
    mp_put24(out + 11, (uint32_t)h->counter);
    mp_put16(out + 14, h->round);
    out[16] = h->hop;
}

int mp_header_get(struct mp_header *h, const uint8_t *frame, size_t len)
{
    if (len < MP_HEADER_SIZE + MP_TAG_SIZE || len > MP_FRAME_MAX)
        return MP_ERR_LENGTH;
    if (frame[0] >> 4 != MP_FRAME_VERSION)
        return MP_ERR_FORMAT;
    h->type = frame[0] & 15;
    h->key_id = frame[1];
    h->network = mp_get16(frame + 2);
    h->source = mp_get32(frame + 4);
    h->counter = (uint64_t)mp_get24(frame + 8) << 24 | mp_get24(frame + 11);
    h->round = mp_get16(frame + 14);
    h->hop = frame[16];
    if (h->source == 0 || h->source == UINT32_MAX)
        return MP_ERR_SOURCE;
    if (h->counter >> 24 == 0)
        return MP_ERR_FORMAT;
    return MP_OK;
}

size_t mp_frame_seal(const struct mp_crypto *crypto, uint8_t *frame, size_t len, const uint8_t key[16])
{
    mp_put64(frame + len, crypto->siphash(key, frame, len));
    return len + MP_TAG_SIZE;
}

int mp_frame_check(const struct mp_crypto *crypto, const uint8_t *frame, size_t len, const uint8_t key[16])
{
    uint64_t tag = mp_get64(frame + len - MP_TAG_SIZE);

    return crypto->siphash(key, frame, len - MP_TAG_SIZE) == tag ? MP_OK : MP_ERR_TAG;
}
