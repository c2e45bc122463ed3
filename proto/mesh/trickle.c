#include "trickle.h"

static void begin(struct mp_trickle *t, uint32_t start_ms, uint32_t random)
{
    uint32_t half = t->interval_ms / 2;

    t->start_ms = start_ms;
    t->at_ms = start_ms + half + random % half;
    t->heard = 0;
    t->is_past_t = false;
}

void mp_trickle_start(struct mp_trickle *t, uint32_t now_ms, uint32_t random)
{
    t->interval_ms = MP_TRICKLE_IMIN_MS;
    begin(t, now_ms, random);
}

bool mp_trickle_reset(struct mp_trickle *t, uint32_t now_ms, uint32_t random)
{
    if (t->interval_ms == MP_TRICKLE_IMIN_MS)
        return false;
    mp_trickle_start(t, now_ms, random);
    return true;
}

void mp_trickle_hear(struct mp_trickle *t)
{
    if (t->heard < UINT8_MAX)
        t->heard++;
}

bool mp_trickle_expire(struct mp_trickle *t, uint32_t random)
{
    uint32_t end = t->start_ms + t->interval_ms;

    if (!t->is_past_t) {
        t->is_past_t = true;
        t->at_ms = end;
        return t->heard < MP_TRICKLE_K;
    }
    if (t->interval_ms < MP_TRICKLE_IMAX_MS)
        t->interval_ms *= 2;
    begin(t, end, random);
    return false;
}
