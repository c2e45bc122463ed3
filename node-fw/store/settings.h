/*
 * Settings: what provisioning wrote once (docs/SPEC.md section 10). Updates never touch it. Reentrant.
 */
#ifndef NF_SETTINGS_H
#define NF_SETTINGS_H

#include "flash.h"
#include "proto/object/keyset.h"

#define NF_SETTINGS_SIZE 384 /* 356 bytes and fill to a multiple of every granule */

struct nf_settings {
    uint32_t node; /* not 0, not 0xFFFFFFFF */
    uint16_t network;
    uint16_t index;  /* enrolment index */
    uint16_t labels; /* one bit a label */
    uint16_t model;
    uint32_t product;
    uint8_t hw_revision; /* 0 to 31 */
    uint8_t key_count;   /* 1 or 2 network keys */
    uint8_t key_active;  /* the one used for sending */
    uint8_t key_id[2];
    uint8_t network_key[2][16];
    uint8_t report_key[16];
    struct mp_keyset keyset; /* as provisioned; later changes lie in the object log */
};

/* Codec. get: 0, MP_ERR_LENGTH (len below NF_SETTINGS_SIZE), MP_ERR_FORMAT (magic, CRC or a field out of range). */
void nf_settings_put(uint8_t out[NF_SETTINGS_SIZE], const struct nf_settings *s);
int nf_settings_get(struct nf_settings *s, const uint8_t *data, size_t len);

/* Reads them from flash. 0, MP_ERR_FORMAT (never provisioned, or damaged), MP_ERR_STORE. */
int nf_settings_load(struct nf_settings *s, const struct nf_flash *flash, const struct nf_layout *layout);
/* Erases the page, writes them and reads them back: provisioning only. 0, MP_ERR_FORMAT, MP_ERR_STORE. */
int nf_settings_store(const struct nf_settings *s, const struct nf_flash *flash, const struct nf_layout *layout);

#endif
