#include "reloc.h"

#include <string.h>

#include "../mp_wire.h"

enum { MAGIC = 0x4C52, VERSION = 1, WINDOW = 32, PADDING_MAX = 10 };
_Static_assert(4u << PADDING_MAX == MP_RELOC_ALIGN_MAX, "the header's padding byte doubles a word");

/* A cursor over payload bytes [0, end), read a small window at a time. */
_Static_assert(MP_CHUNK_SIZE % WINDOW == 0, "a window must not reach into a chunk that may not be held");

struct cursor {
    mp_reloc_read read;
    void *ctx;
    uint32_t at;
    uint32_t end;
    uint32_t window; /* payload offset of buf, a multiple of WINDOW; UINT32_MAX: nothing read yet */
    uint8_t buf[WINDOW];
};

static void cursor_init(struct cursor *c, mp_reloc_read read, void *ctx, uint32_t at, uint32_t end)
{
    c->read = read;
    c->ctx = ctx;
    c->at = at;
    c->end = end;
    c->window = UINT32_MAX;
}

/* The next byte, or MP_ERR_LENGTH at the end, or what read returned. */
static int cursor_next(struct cursor *c)
{
    uint32_t window = c->at - c->at % WINDOW;

    if (c->at >= c->end)
        return MP_ERR_LENGTH;
    if (window != c->window) {
        uint32_t rest = c->end - window;
        int error = c->read(c->ctx, window, c->buf, rest < WINDOW ? rest : WINDOW);

        if (error < 0)
            return error;
        c->window = window;
    }
    return c->buf[c->at++ % WINDOW];
}

/* The next delta in words: LEB128 of at most three bytes in its shortest form. */
static int delta_next(struct cursor *c, uint32_t *delta)
{
    *delta = 0;
    for (unsigned shift = 0; shift <= 14; shift += 7) {
        int byte = cursor_next(c);

        if (byte < 0)
            return byte;
        *delta |= ((uint32_t)byte & 0x7F) << shift;
        if (byte < 0x80)
            return byte == 0 && shift > 0 ? MP_ERR_FORMAT : MP_OK;
    }
    return MP_ERR_FORMAT;
}

/* Walks `count` deltas and the padding to a multiple of `align`; *end receives one past the last listed word. */
static int list_walk(struct cursor *c, uint32_t count, uint32_t align, uint32_t *end)
{
    uint32_t delta;
    int error;

    /* *end stays far below 2^32: no step may lead past the payload. */
    for (*end = 0; count > 0; count--) {
        error = delta_next(c, &delta);
        if (error != MP_OK)
            return error;
        *end += delta + 1;
        if (*end > c->end / 4)
            return MP_ERR_FORMAT;
    }
    while ((c->at & (align - 1)) != 0) {
        error = cursor_next(c);
        if (error != 0)
            return error < 0 ? error : MP_ERR_FORMAT;
    }
    return MP_OK;
}

int mp_reloc_check(struct mp_reloc_header *h, mp_reloc_read read, void *ctx, uint32_t payload_size)
{
    struct cursor c;
    uint8_t head[MP_RELOC_HEADER] = {0};
    uint32_t end;
    int error;

    *h = (struct mp_reloc_header){0, 0, 0};
    if (payload_size == 0 || payload_size > MP_IMAGE_MAX)
        return MP_ERR_LENGTH;
    error = read(ctx, 0, head, payload_size < sizeof head ? payload_size : sizeof head);
    if (error < 0)
        return error;
    if (mp_get16(head) != MAGIC)
        return MP_OK;
    if (payload_size <= sizeof head)
        return MP_ERR_LENGTH;
    if (head[2] != VERSION || head[3] > PADDING_MAX)
        return MP_ERR_FORMAT;
    cursor_init(&c, read, ctx, sizeof head, payload_size);
    error = list_walk(&c, mp_get32(head + 8), 4u << head[3], &end);
    if (error != MP_OK)
        return error;
    if (c.at >= payload_size)
        return MP_ERR_LENGTH;
    if (end > (payload_size - c.at) / 4)
        return MP_ERR_FORMAT;
    h->list_size = c.at;
    h->image_base = mp_get32(head + 4);
    h->count = mp_get32(head + 8);
    return MP_OK;
}

/* Adds to a little-endian word of which only the low `len` bytes are there. What carries out of 32 bits is above the word. */
static void word_add(uint8_t *p, size_t len, uint32_t distance)
{
    for (size_t i = 0; i < 4 && i < len; i++) {
        distance += p[i];
        p[i] = (uint8_t)distance;
        distance >>= 8;
    }
}

int mp_reloc_apply(const struct mp_reloc_header *h, mp_reloc_read read, void *ctx, uint32_t distance, uint32_t offset,
                   uint8_t *data, size_t len, struct mp_reloc_mark *mark)
{
    struct cursor c;
    struct mp_reloc_mark none;

    none.word_at = 0;
    if (mark == NULL)
        mark = &none;
    if (offset % 4 != 0)
        return MP_ERR_LENGTH;
    if (distance == 0 || (offset < h->list_size && len <= h->list_size - offset))
        return MP_OK;
    if (mark->word_at - 1 >= offset) /* behind the range, or 0 */
        *mark = (struct mp_reloc_mark){MP_RELOC_HEADER, 0, h->list_size};
    cursor_init(&c, read, ctx, mark->list_at, h->list_size);
    for (; mark->index < h->count; mark->index++) {
        uint32_t delta;
        int error = delta_next(&c, &delta);

        if (error != MP_OK)
            return error == MP_ERR_LENGTH ? MP_ERR_FORMAT : error;
        uint32_t word = mark->word_at + 4 * delta;
        if (word >= offset) {
            if (word - offset >= len)
                break;
            word_add(data + (word - offset), len - (word - offset), distance);
        }
        mark->list_at = c.at;
        mark->word_at = word + 4;
    }
    return MP_OK;
}

/* Appends a delta; its bytes, or 0 when they do not fit. */
static size_t delta_put(uint8_t *out, size_t cap, uint32_t delta)
{
    size_t n = 0;

    for (; n < cap; delta >>= 7) {
        out[n++] = (uint8_t)((delta & 0x7F) | (delta > 0x7F ? 0x80u : 0));
        if (delta <= 0x7F)
            return n;
    }
    return 0;
}

/* Writes the deltas of all words that differ behind out[at]; where they end, or an error. */
static long list_pack(uint8_t *out, size_t cap, const uint8_t *a, const uint8_t *b, size_t len, uint32_t distance,
                      uint32_t *count, size_t *bad)
{
    size_t at = MP_RELOC_HEADER, next = 0, n;

    *count = 0;
    for (*bad = 0; *bad < len; *bad += 4) {
        size_t rest = len - *bad;

        if (memcmp(a + *bad, b + *bad, rest < 4 ? rest : 4) == 0)
            continue;
        if (rest < 4 || mp_get32(b + *bad) - mp_get32(a + *bad) != distance)
            return MP_ERR_FORMAT;
        if (*bad / 4 - next > MP_RELOC_DELTA_MAX)
            return MP_ERR_FORMAT;
        n = delta_put(out + at, cap - at, (uint32_t)(*bad / 4 - next));
        if (n == 0)
            return MP_ERR_ROOM;
        at += n;
        next = *bad / 4 + 1;
        ++*count;
    }
    return (long)at;
}

long mp_reloc_pack(uint8_t *out, size_t cap, const uint8_t *a, const uint8_t *b, size_t len, uint32_t base_a,
                   uint32_t base_b, uint32_t align, size_t *bad)
{
    size_t place, list;
    uint32_t count;
    uint8_t padding = 0;
    long end;

    while (padding < PADDING_MAX && 4u << padding < align)
        padding++;
    if (len == 0 || 4u << padding != align)
        return MP_ERR_LENGTH;
    cap = cap < MP_IMAGE_MAX ? cap : MP_IMAGE_MAX;
    if (len > cap)
        return MP_ERR_ROOM;
    if (b == NULL)
        b = a;
    if (cap < MP_RELOC_HEADER) {
        /* Too small for any list: only an image without one can still fit. */
        if (memcmp(a, b, len) != 0 || (len >= 2 && mp_get16(a) == MAGIC))
            return MP_ERR_ROOM;
        memcpy(out, a, len);
        return (long)len;
    }
    end = list_pack(out, cap, a, b, len, base_b - base_a, &count, bad != NULL ? bad : &place);
    if (end < 0)
        return end;
    list = ((size_t)end + align - 1) / align * align;
    if (count == 0 && (len < 2 || mp_get16(a) != MAGIC))
        list = 0;
    if (list > cap || len > cap - list)
        return MP_ERR_ROOM;
    if (list > 0) {
        memset(out + end, 0, list - (size_t)end);
        mp_put16(out, MAGIC);
        out[2] = VERSION;
        out[3] = padding;
        mp_put32(out + 4, base_a);
        mp_put32(out + 8, count);
    }
    memcpy(out + list, a, len);
    return (long)(list + len);
}
