/*
 * Directive: the signed state of one release (docs/SPEC.md 2.2). Codec, signature, total order, who is in. Reentrant.
 */
#ifndef MP_DIRECTIVE_H
#define MP_DIRECTIVE_H

#include "../mp_types.h"

#define MP_DIRECTIVE_FIXED 48 /* bytes before the manifest ids */
#define MP_DIRECTIVE_MANIFESTS_MAX 8
#define MP_DIRECTIVE_MIN (MP_DIRECTIVE_FIXED + 8 + 64)
#define MP_DIRECTIVE_MAX (MP_DIRECTIVE_FIXED + 8 * MP_DIRECTIVE_MANIFESTS_MAX + 64)
#define MP_SHARE_ALL 10000       /* basis points */
#define MP_ROLL_CALL_SPREAD_S 60 /* answers are spread over the directive's spread, at most so long */

enum mp_action { MP_ACTION_STAGE = 0, MP_ACTION_OPEN = 1, MP_ACTION_HOLD = 2, MP_ACTION_REVERT = 3 };
enum { MP_DIRECTIVE_OVERRIDE = 1, MP_DIRECTIVE_ROLL_CALL = 2, MP_DIRECTIVE_FLAGS = 3 }; /* flags; all of them */

struct mp_directive {
    uint8_t action; /* enum mp_action */
    uint8_t key_id;
    uint8_t manifest_count;
    uint8_t flags;
    uint16_t network;
    uint16_t generation;
    uint16_t labels;
    uint16_t share; /* basis points */
    uint16_t spread_s;
    uint16_t confirm_s;
    uint32_t release;
    uint32_t sequence;
    uint32_t floor;
    uint32_t epoch;
    uint32_t salt;
    uint8_t previous[8];
    uint8_t manifests[MP_DIRECTIVE_MANIFESTS_MAX][8];
};

/* Where a directive stands in the total order of its release. */
struct mp_head {
    uint32_t release;
    uint32_t floor;
    uint32_t sequence;
    uint32_t digest; /* H4 */
    uint16_t generation;
};

/* Encodes all but the signature. Bytes before the signature (48 + 8n); out holds at least that plus 64. */
size_t mp_directive_put(uint8_t out[MP_DIRECTIVE_MAX], const struct mp_directive *d);

/* Decodes and checks every range of SPEC 2.2 (counts, duplicates, floor, action), not the signature. 0, MP_ERR_LENGTH,
 * MP_ERR_FORMAT. */
int mp_directive_get(struct mp_directive *d, const uint8_t *data, size_t len);

/* First 8 bytes of the SHA-256 of the whole object. */
void mp_directive_id(const struct mp_crypto *crypto, const uint8_t *data, size_t len, uint8_t id[8]);

/* Checks the signature (the last 64 bytes). 0, MP_ERR_LENGTH or MP_ERR_SIGNATURE. */
int mp_directive_verify(const struct mp_crypto *crypto, const uint8_t *data, size_t len, const uint8_t pub[32]);

/* The head of a decoded directive whose id is given. */
struct mp_head mp_directive_head(const struct mp_directive *d, const uint8_t id[8]);

/* A hold carries its own sequence as floor. */
bool mp_head_is_hold(const struct mp_head *h);

/* Total order within a release: below, equal, above zero. Releases must be equal. */
int mp_head_compare(const struct mp_head *a, const struct mp_head *b);

/* draw of SPEC 2.2: 0 to 9999, and, unless NULL, the spread delay in ms. */
unsigned mp_directive_draw(const struct mp_crypto *crypto, uint32_t salt, uint32_t node, uint16_t spread_s,
                           uint32_t *spread_ms);

/* Whether a node with these labels is opened by d. Looks at labels and share only, not at the action. */
bool mp_directive_is_in(const struct mp_crypto *crypto, const struct mp_directive *d, uint32_t node, uint16_t labels);

/* Index of a manifest id in d, or -1. */
int mp_directive_find(const struct mp_directive *d, const uint8_t id[8]);

#endif
