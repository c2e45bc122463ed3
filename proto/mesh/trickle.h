/*
 * Trickle timer (RFC 6206): one interval after another, doubling while nothing is inconsistent; in each, one
 * transmission at a random point of the second half unless k consistent ones were heard before it. The clock is in
 * wrapping milliseconds. Reentrant.
 */
#ifndef MP_TRICKLE_H
#define MP_TRICKLE_H

#include <stdbool.h>
#include <stdint.h>

#define MP_TRICKLE_IMIN_MS 500u
#define MP_TRICKLE_IMAX_MS (500u << 11)
#define MP_TRICKLE_K 2

struct mp_trickle {
    uint32_t interval_ms; /* I */
    uint32_t start_ms;    /* when the interval began */
    uint32_t at_ms;       /* t, then the interval's end */
    uint8_t heard;        /* c */
    bool is_past_t;
};

/* Starts with I = Imin at now; random is any uniform number. */
void mp_trickle_start(struct mp_trickle *t, uint32_t now_ms, uint32_t random);
/* An inconsistency: back to Imin, unless already there. True when the timer changed. */
bool mp_trickle_reset(struct mp_trickle *t, uint32_t now_ms, uint32_t random);
/* A consistent transmission was heard. */
void mp_trickle_hear(struct mp_trickle *t);
/* Call when at_ms is reached: true when it is time to transmit. Moves at_ms on. */
bool mp_trickle_expire(struct mp_trickle *t, uint32_t random);

#endif
