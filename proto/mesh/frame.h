/*
 * Frame codec: header, tag, types (docs/SPEC.md section 1). Reentrant.
 */
#ifndef MP_FRAME_H
#define MP_FRAME_H

#include "../mp_types.h"

#define MP_FRAME_VERSION 1
#define MP_HOP_NONE 255

enum mp_type {
    MP_TYPE_SUMMARY = 1,
    MP_TYPE_MANIFEST = 2,
    MP_TYPE_DIRECTIVE = 3,
    MP_TYPE_KEYCHANGE = 4,
    MP_TYPE_REQUEST = 5,
    MP_TYPE_CHUNK = 6,
    MP_TYPE_REPORT = 7,
    MP_TYPE_REPORT_ACK = 8,
    MP_TYPE_RECEIPT = 9
};

struct mp_header {
    uint8_t type;
    uint8_t key_id;
    uint8_t hop;
    uint16_t network;
    uint16_t round;
    uint32_t source;
    uint64_t counter; /* boot << 24 | seq */
};

/* Encodes the 17 header bytes. */
void mp_header_put(uint8_t out[MP_HEADER_SIZE], const struct mp_header *h);
/* Decodes a frame's header; checks total length (25 to 225), version, source and boot. Not the tag. 0, MP_ERR_LENGTH,
 * MP_ERR_FORMAT, MP_ERR_SOURCE. */
int mp_header_get(struct mp_header *h, const uint8_t *frame, size_t len);
/* Appends the tag after len bytes of header and body; returns len + 8. */
size_t mp_frame_seal(const struct mp_crypto *crypto, uint8_t *frame, size_t len, const uint8_t key[16]);
/* 0 or MP_ERR_TAG. len counts the tag and is at least 25. */
int mp_frame_check(const struct mp_crypto *crypto, const uint8_t *frame, size_t len, const uint8_t key[16]);

#endif
