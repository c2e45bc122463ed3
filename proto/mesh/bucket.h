/*
 * Token bucket over the engine's wrapping millisecond clock. Reentrant.
 */
#ifndef MP_BUCKET_H
#define MP_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct mp_bucket {
    uint32_t last_ms; /* when the level was last brought up to date */
    uint16_t level;
};

/* Full at start. */
void mp_bucket_init(struct mp_bucket *b, uint32_t now_ms, uint16_t cap);
/* Takes `tokens`, or nothing and false. One token comes back every period_ms, up to cap. */
bool mp_bucket_take(struct mp_bucket *b, uint32_t now_ms, uint16_t tokens, uint16_t cap, uint32_t period_ms);

#endif
