/*
 * Settings record: what a node is told once, when it is provisioned (docs/SPEC.md section 10).
 *
 * The gateway's registry makes it, a programmer writes it to the node's settings page, and nothing changes it
 * afterwards. It holds secrets (network keys, report key). Reentrant.
 */
#ifndef MP_SETTINGS_H
#define MP_SETTINGS_H

#include "../mp_types.h"
#include "keyset.h"

#define MP_SETTINGS_SIZE 360
#define MP_SETTINGS_MAGIC 0x5445534Du /* "MSET" */

struct mp_settings {
    uint32_t node; /* not 0, not 0xFFFFFFFF */
    uint16_t network;
    uint16_t index; /* enrolment index, for receipts */
    uint16_t labels;
    uint16_t model;
    uint32_t product;
    uint8_t hw_revision; /* 0 to 31 */
    uint8_t key_count;   /* network key slots in use: 1 or 2 */
    uint8_t key_active;  /* slot used for sending: below key_count */
    uint8_t key_id[2];   /* different when both are in use */
    uint8_t network_key[2][16];
    uint8_t report_key[16];
    uint8_t keyset[MP_KEYSET_SIZE]; /* keyset record, SPEC 2.5 */
};

/* Encodes with the CRC. Fields are taken as they are: run mp_settings_get() over the result to check them. */
void mp_settings_put(uint8_t out[MP_SETTINGS_SIZE], const struct mp_settings *s);

/* Decodes and checks CRC and every range, the keyset record's too. len at least 360 (what follows is padding).
 * 0, MP_ERR_LENGTH, MP_ERR_FORMAT, MP_ERR_ABSENT (blank: the first four bytes are all ones or all zero), MP_ERR_CHUNK
 * (CRC wrong). */
int mp_settings_get(struct mp_settings *s, const uint8_t *data, size_t len);

/* CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320, start and final xor all ones). */
uint32_t mp_crc32(const uint8_t *data, size_t len);

#endif
