/*
 * The input as a payload: a list that passes the check lists ascending words inside the image, moves exactly those and
 * moves them back, whole or in chunks alike. Cut in half, the input is two links for the packing tool, and what it
 * packs becomes the second link.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/object/reloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct payload {
    const uint8_t *data;
    uint32_t size;
};

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct payload *p = ctx;

    expect(len > 0 && len <= p->size && offset <= p->size - len);
    memcpy(data, p->data + offset, len);
    return 0;
}

static uint8_t *copy_of(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    expect(copy != NULL);
    memcpy(copy, data, size);
    return copy;
}

static void check_payload(const uint8_t *data, size_t size)
{
    struct payload p = {data, (uint32_t)size};
    struct mp_reloc_header h;
    uint8_t *whole, *pieces;
    struct mp_reloc_mark mark = {0, 0, 0};
    uint32_t moved = 0;

    if (mp_reloc_check(&h, payload_read, &p, p.size) != MP_OK)
        return;
    expect(h.list_size % 4 == 0 && h.list_size < size && (h.list_size == 0 || h.list_size % (4u << data[3]) == 0));
    expect(h.count <= (size - h.list_size) / 4);
    whole = copy_of(data, size);
    pieces = copy_of(data, size);
    expect(mp_reloc_apply(&h, payload_read, &p, 0x10101010, 0, whole, size, NULL) == MP_OK);
    for (uint32_t at = 0; at < size; at += 192)
        expect(mp_reloc_apply(&h, payload_read, &p, 0x10101010, at, pieces + at, size - at < 192 ? size - at : 192,
                              &mark) == MP_OK);
    expect(memcmp(whole, pieces, size) == 0 && memcmp(whole, data, h.list_size) == 0);
    for (size_t at = h.list_size; at < size; at += 4)
        moved += memcmp(whole + at, data + at, size - at < 4 ? size - at : 4) != 0;
    expect(moved == h.count);
    expect(mp_reloc_apply(&h, payload_read, &p, 0u - 0x10101010, 0, whole, size, NULL) == MP_OK);
    expect(memcmp(whole, data, size) == 0);
    free(whole);
    free(pieces);
}

static void check_pack(const uint8_t *a, const uint8_t *b, size_t len, uint32_t distance, uint32_t align)
{
    size_t cap = 2 * len + 16 + align, bad;
    uint8_t *out = malloc(cap);
    struct payload p = {.data = out};
    struct mp_reloc_header h;
    uint8_t *moved;
    long packed;

    expect(out != NULL);
    packed = mp_reloc_pack(out, cap, a, b, len, 0x8000, 0x8000 + distance, align, &bad);
    if (packed >= 0) {
        p.size = (uint32_t)packed;
        expect(mp_reloc_check(&h, payload_read, &p, p.size) == MP_OK && p.size == h.list_size + len &&
               h.list_size % align == 0);
        moved = copy_of(out, p.size);
        expect(mp_reloc_apply(&h, payload_read, &p, distance, 0, moved, p.size, NULL) == MP_OK);
        expect(memcmp(moved + h.list_size, b, len) == 0);
        free(moved);
    } else {
        expect(packed == MP_ERR_FORMAT && bad < len);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *link;

    if (size == 0 || size > 65536)
        return 0;
    check_payload(data, size);
    if (size < 2)
        return 0;
    check_pack(data, data + size / 2, size / 2, data[0] * 4u, 4u << data[1] % 11);
    /* A second link made from the first: the words whose first byte is odd are moved. */
    link = copy_of(data, size);
    for (size_t at = 0; at + 4 <= size; at += 4)
        if ((link[at] & 1) != 0)
            link[at + 2]++, link[at + 3] = (uint8_t)(link[at + 3] + (link[at + 2] == 0));
    check_pack(data, link, size, 0x10000, 4u << data[1] % 11);
    free(link);
    return 0;
}
