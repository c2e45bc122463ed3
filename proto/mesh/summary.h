/*
 * SUMMARY body codec (docs/SPEC.md 1.1). Reentrant.
 */
#ifndef MP_SUMMARY_H
#define MP_SUMMARY_H

#include "../mp_types.h"
#include "../object/directive.h"

#define MP_SUMMARY_FIXED 25
#define MP_SUMMARY_HEAD 18
#define MP_SUMMARY_LIST 19 /* offset of the state list */
#define MP_SUMMARY_MAX (MP_SUMMARY_FIXED + MP_SUMMARY_HEAD * MP_RELEASES_MAX + 4 * MP_MANIFESTS_MAX)

enum mp_summary_flag {
    MP_SUMMARY_TRIAL = 1,
    MP_SUMMARY_GATEWAY = 2,
    MP_SUMMARY_STALE = 4,
    MP_SUMMARY_FROZEN = 8,
    MP_SUMMARY_RELAYS = 16,
    MP_SUMMARY_ASKS = 32,
    MP_SUMMARY_FLAGS = 63
};

struct mp_summary {
    uint32_t nonce;
    uint32_t home;
    uint32_t target;
    uint32_t held;
    uint32_t key_head;
    uint16_t key_number;
    uint16_t failed;
    uint8_t flags;
    uint8_t head_count;
    uint8_t manifest_count;
    struct mp_head heads[MP_RELEASES_MAX]; /* ascending release when decoded */
    uint32_t manifests[MP_MANIFESTS_MAX];  /* handles, ascending when decoded */
};

/* Encodes; its length. Heads and handles may come in any order. */
size_t mp_summary_put(uint8_t out[MP_SUMMARY_MAX], const struct mp_summary *s);
/* 0, MP_ERR_LENGTH, or MP_ERR_FORMAT (order, counts, unknown flags, zero release or handle). */
int mp_summary_get(struct mp_summary *s, const uint8_t *body, size_t len);

#endif
