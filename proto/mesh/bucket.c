#include "bucket.h"

void mp_bucket_init(struct mp_bucket *b, uint32_t now_ms, uint16_t cap)
{
    b->last_ms = now_ms;
    b->level = cap;
}

bool mp_bucket_take(struct mp_bucket *b, uint32_t now_ms, uint16_t tokens, uint16_t cap, uint32_t period_ms)
{
    uint32_t gained = (now_ms - b->last_ms) / period_ms;

    if (gained >= (uint32_t)(cap - b->level)) {
        b->level = cap;
        b->last_ms = now_ms;
    } else {
        b->level = (uint16_t)(b->level + gained);
        b->last_ms += gained * period_ms;
    }
    if (b->level < tokens)
        return false;
    b->level = (uint16_t)(b->level - tokens);
    return true;
}
