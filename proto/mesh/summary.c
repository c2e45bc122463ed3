#include "summary.h"

#include "../mp_wire.h"

_Static_assert(MP_SUMMARY_MAX <= MP_BODY_MAX, "a full SUMMARY must fit one frame");

/* Sorts entries of a list on the wire by the number that each begins with. */
static void sort(uint8_t *list, unsigned count, size_t size)
{
    uint8_t swap[MP_SUMMARY_HEAD];

    for (unsigned i = 1; i < count; i++)
        for (uint8_t *p = list + i * size; p > list && mp_get32(p) < mp_get32(p - size); p -= size) {
            memcpy(swap, p, size);
            memcpy(p, p - size, size);
            memcpy(p - size, swap, size);
        }
}

size_t mp_summary_put(uint8_t out[MP_SUMMARY_MAX], const struct mp_summary *s)
{
    uint8_t *p = out + MP_SUMMARY_FIXED;

    mp_put32(out, s->nonce);
    out[4] = s->flags;
    out[5] = (uint8_t)(s->head_count | s->manifest_count << 4);
    mp_put16(out + 6, s->failed);
    mp_put32(out + 8, s->home);
    mp_put32(out + 12, s->target);
    mp_put24(out + 16, s->held);
    mp_put16(out + 19, s->key_number);
    mp_put32(out + 21, s->key_head);
    for (unsigned i = 0; i < s->head_count; i++, p += MP_SUMMARY_HEAD) {
        mp_put32(p, s->heads[i].release);
        mp_put16(p + 4, s->heads[i].generation);
        mp_put32(p + 6, s->heads[i].floor);
        mp_put32(p + 10, s->heads[i].sequence);
        mp_put32(p + 14, s->heads[i].digest);
    }
    sort(out + MP_SUMMARY_FIXED, s->head_count, MP_SUMMARY_HEAD);
    for (unsigned i = 0; i < s->manifest_count; i++, p += 4)
        mp_put32(p, s->manifests[i]);
    sort(p - 4 * s->manifest_count, s->manifest_count, 4);
    return (size_t)(p - out);
}

int mp_summary_get(struct mp_summary *s, const uint8_t *body, size_t len)
{
    const uint8_t *p = body + MP_SUMMARY_FIXED;

    if (len < MP_SUMMARY_FIXED)
        return MP_ERR_LENGTH;
    s->nonce = mp_get32(body);
    s->flags = body[4];
    s->head_count = body[5] & 15;
    s->manifest_count = body[5] >> 4;
    s->failed = mp_get16(body + 6);
    s->home = mp_get32(body + 8);
    s->target = mp_get32(body + 12);
    s->held = mp_get24(body + 16);
    s->key_number = mp_get16(body + 19);
    s->key_head = mp_get32(body + 21);
    if (s->head_count > MP_RELEASES_MAX || s->manifest_count > MP_MANIFESTS_MAX || (s->flags & ~MP_SUMMARY_FLAGS) ||
        s->nonce == 0)
        return MP_ERR_FORMAT;
    if (len != MP_SUMMARY_FIXED + MP_SUMMARY_HEAD * (size_t)s->head_count + 4 * (size_t)s->manifest_count)
        return MP_ERR_LENGTH;
    for (unsigned i = 0; i < s->head_count; i++, p += MP_SUMMARY_HEAD) {
        struct mp_head *h = &s->heads[i];

        h->release = mp_get32(p);
        h->generation = mp_get16(p + 4);
        h->floor = mp_get32(p + 6);
        h->sequence = mp_get32(p + 10);
        h->digest = mp_get32(p + 14);
        if (h->release <= (i ? s->heads[i - 1].release : 0) || h->sequence == 0 || h->floor > h->sequence)
            return MP_ERR_FORMAT;
    }
    for (unsigned i = 0; i < s->manifest_count; i++, p += 4) {
        s->manifests[i] = mp_get32(p);
        if (s->manifests[i] <= (i ? s->manifests[i - 1] : 0))
            return MP_ERR_FORMAT;
    }
    return MP_OK;
}
