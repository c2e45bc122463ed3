/*
 * Receipt: which reports the gateway has committed (docs/SPEC.md 2.4), and the 19-byte report entry (1.4). Reentrant.
 */
#ifndef MP_RECEIPT_H
#define MP_RECEIPT_H

#include "../mp_types.h"

#define MP_RECEIPT_FIXED 12
#define MP_RECEIPT_INDICES_MAX 248
#define MP_RECEIPT_MAX (MP_RECEIPT_FIXED + MP_RECEIPT_INDICES_MAX / 2 + 64)

struct mp_receipt {
    uint8_t key_id;
    uint16_t network;
    uint16_t generation;
    uint16_t round;
    uint16_t base;
    uint16_t count; /* 1 to 248 */
    uint8_t nibbles[MP_RECEIPT_INDICES_MAX / 2];
};

/* Encodes all but the signature; bytes before it. The caller supplies count in range. */
size_t mp_receipt_put(uint8_t out[MP_RECEIPT_MAX], const struct mp_receipt *r);
/* 0, MP_ERR_LENGTH, MP_ERR_FORMAT (count 0 or above 248, base + count above 65536, spare nibble not 0). */
int mp_receipt_get(struct mp_receipt *r, const uint8_t *data, size_t len);
/* Checks the signature (the last 64 bytes). 0, MP_ERR_LENGTH or MP_ERR_SIGNATURE. */
int mp_receipt_verify(const struct mp_crypto *crypto, const uint8_t *data, size_t len, const uint8_t pub[32]);
/* Nibble of an enrolment index, 0 to 15, or -1 when the receipt does not cover it. */
int mp_receipt_nibble(const struct mp_receipt *r, uint16_t index);
/* Above 0 when (generation, round) a is newer than b, 0 when equal: generation first, round by RFC 1982 (of two rounds
 * exactly 32,768 apart neither is newer). */
int mp_round_compare(uint16_t generation_a, uint16_t round_a, uint16_t generation_b, uint16_t round_b);

#define MP_REPORT_ENTRY_SIZE 19

enum mp_phase {
    MP_PHASE_IDLE,
    MP_PHASE_FETCHING,
    MP_PHASE_STAGED,
    MP_PHASE_TRIAL,
    MP_PHASE_CONFIRMED,
    MP_PHASE_ROLLED_BACK,
    MP_PHASE_DEFERRED,
    MP_PHASE_REFUSED,
    MP_PHASE_COUNT
};

enum mp_reason {
    MP_REASON_NONE,
    MP_REASON_SELFTEST,
    MP_REASON_WATCHDOG,
    MP_REASON_CRASHED,
    MP_REASON_MUTE,
    MP_REASON_BAD_IMAGE,
    MP_REASON_CORRUPT_HOME,
    MP_REASON_NO_ROOM,
    MP_REASON_BATTERY,
    MP_REASON_BREAKER,
    MP_REASON_STALE,
    MP_REASON_PRECONDITION,
    MP_REASON_EXPIRED,
    MP_REASON_STORAGE,
    MP_REASON_KEYS_FROZEN,
    MP_REASON_OTHER,
    MP_REASON_COUNT
};

struct mp_report {
    uint32_t node;
    uint16_t serial;
    uint16_t running; /* low 16 bits of a release sequence */
    uint16_t target;
    uint8_t phase;  /* enum mp_phase */
    uint8_t reason; /* enum mp_reason */
};

/* Encodes with its MAC under the origin's report key. */
void mp_report_put(const struct mp_crypto *crypto, uint8_t out[MP_REPORT_ENTRY_SIZE], const struct mp_report *r,
                   const uint8_t key[16]);
/* Decodes; does not check the MAC. 0 or MP_ERR_FORMAT (phase or node out of range). */
int mp_report_get(struct mp_report *r, const uint8_t entry[MP_REPORT_ENTRY_SIZE]);
/* 0 or MP_ERR_TAG. Only the origin and the gateway know the key. */
int mp_report_verify(const struct mp_crypto *crypto, const uint8_t entry[MP_REPORT_ENTRY_SIZE], const uint8_t key[16]);

#endif
