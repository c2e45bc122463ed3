/*
 * What the signed objects have in common (docs/SPEC.md section 2): domain tags, the message under a signature, its
 * check and the short digest that names an object. Used by the codecs here and by whatever signs. Reentrant.
 */
#ifndef MP_SIGNED_H
#define MP_SIGNED_H

#include "../mp_types.h"

#define MP_TAG_LEN 16
#define MP_TAG_MANIFEST "meshfw-manifest1"
#define MP_TAG_DIRECTIVE "meshfw-directiv1"
#define MP_TAG_KEYCHANGE "meshfw-keychang1"
#define MP_TAG_RECEIPT "meshfw-receipt-1"
#define MP_SIGNATURE_SIZE 64
#define MP_SIGNED_BODY_MAX 136 /* the longest object without its signatures */
#define MP_SIGNED_MAX (MP_TAG_LEN + MP_SIGNED_BODY_MAX)

/* The bytes that are signed: tag, then the object without its signatures (len up to MP_SIGNED_BODY_MAX). Their number.
 */
size_t mp_signed_message(uint8_t out[MP_SIGNED_MAX], const char *tag, const uint8_t *object, size_t len);

/* Checks one signature over that message. 0, MP_ERR_LENGTH (len above MP_SIGNED_BODY_MAX) or MP_ERR_SIGNATURE. */
int mp_signed_verify(const struct mp_crypto *crypto, const char *tag, const uint8_t *object, size_t len,
                     const uint8_t sig[MP_SIGNATURE_SIZE], const uint8_t pub[32]);

/* First 8 bytes of the SHA-256 of len bytes. */
void mp_signed_id(const struct mp_crypto *crypto, const uint8_t *data, size_t len, uint8_t id[8]);

#endif
