#include "signed.h"

#include <string.h>

size_t mp_signed_message(uint8_t out[MP_SIGNED_MAX], const char *tag, const uint8_t *object, size_t len)
{
    memcpy(out, tag, MP_TAG_LEN);
    memcpy(out + MP_TAG_LEN, object, len);
    return MP_TAG_LEN + len;
}

int mp_signed_verify(const struct mp_crypto *crypto, const char *tag, const uint8_t *object, size_t len,
                     const uint8_t sig[MP_SIGNATURE_SIZE], const uint8_t pub[32])
{
    uint8_t message[MP_SIGNED_MAX];

    if (len > MP_SIGNED_BODY_MAX)
        return MP_ERR_LENGTH;
    return crypto->verify(sig, message, mp_signed_message(message, tag, object, len), pub);
}

void mp_signed_id(const struct mp_crypto *crypto, const uint8_t *data, size_t len, uint8_t id[8])
{
    struct mp_sha256 state;
    uint8_t digest[32];

    crypto->sha256_init(&state);
    crypto->sha256_update(&state, data, len);
    crypto->sha256_final(&state, digest);
    memcpy(id, digest, 8);
}
