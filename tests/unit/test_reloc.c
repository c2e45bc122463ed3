/* Relocation list: vectors, packing, hostile lists, applying in pieces and undoing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/reloc.h"
#include "tests/lib/vectors.h"

static uint32_t random_state = 99;

static uint32_t draw_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

/* A payload in memory that counts what is read of it. */
struct payload {
    const uint8_t *data;
    uint32_t size;
    uint32_t furthest; /* end of the read that reached furthest */
    int reads;
    int fail_after; /* reads until MP_ERR_STORE, below 0 never */
};

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    struct payload *p = ctx;

    assert_true(len > 0 && len <= p->size && offset <= p->size - len);
    assert_int_equal(offset / 192, (offset + len - 1) / 192); /* within one chunk */
    p->reads++;
    if (p->fail_after >= 0 && p->fail_after-- == 0)
        return MP_ERR_STORE;
    memcpy(data, p->data + offset, len);
    if (p->furthest < offset + len)
        p->furthest = (uint32_t)(offset + len);
    return 0;
}

static int check(struct mp_reloc_header *h, const uint8_t *data, size_t size)
{
    struct payload p = {.data = data, .size = (uint32_t)size, .fail_after = -1};
    return mp_reloc_check(h, payload_read, &p, (uint32_t)size);
}

static void sha256(const uint8_t *data, size_t len, uint8_t digest[32])
{
    struct mp_sha256 state;

    crypto_sodium()->sha256_init(&state);
    crypto_sodium()->sha256_update(&state, data, len);
    crypto_sodium()->sha256_final(&state, digest);
}

/* Applies to a whole payload in pieces of `piece` bytes (a multiple of 4), reading the list from the canonical one. */
static void apply_in_pieces(const struct mp_reloc_header *h, struct payload *canonical, uint32_t distance,
                            uint8_t *data, uint32_t piece, struct mp_reloc_mark *mark)
{
    for (uint32_t offset = 0; offset < canonical->size; offset += piece) {
        uint32_t len = canonical->size - offset < piece ? canonical->size - offset : piece;
        assert_int_equal(mp_reloc_apply(h, payload_read, canonical, distance, offset, data + offset, len, mark), MP_OK);
    }
}

static void vectors_match(void **state)
{
    static uint8_t a[70000], b[70000], payload[71000], moved[71000];
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "reloc"); vectors_next(&v);) {
        uint32_t size = (uint32_t)vectors_int(&v, "size"), base_a = (uint32_t)vectors_int(&v, "base_a");
        uint32_t base_b = (uint32_t)vectors_int(&v, "base_b"), align = (uint32_t)vectors_int(&v, "align");
        uint8_t list[8192], digest[32], wanted[32];
        size_t list_size = vectors_hex(&v, "list", list, sizeof list);
        char words[2048], *at = words;
        struct mp_reloc_header h;
        struct payload canonical = {.data = payload, .fail_after = -1};
        size_t bad;

        assert_true(size <= sizeof a);
        if (vectors_has(&v, "image"))
            vectors_hex(&v, "image", a, sizeof a);
        else
            vectors_noise((uint32_t)vectors_int(&v, "seed"), a, size);
        memcpy(b, a, size);
        vectors_word(&v, "words", words, sizeof words);
        while (*at >= '0' && *at <= '9') {
            uint8_t *word = b + 4 * strtoul(at, &at, 10);
            mp_put32(word, mp_get32(word) + base_b - base_a);
            at += *at == ',';
        }
        vectors_hex(&v, "other_sha256", wanted, 32);
        sha256(b, size, digest);
        assert_memory_equal(digest, wanted, 32);

        canonical.size = (uint32_t)(list_size + size);
        assert_int_equal(mp_reloc_pack(payload, sizeof payload, a, b, size, base_a, base_b, align, &bad),
                         canonical.size);
        assert_memory_equal(payload, list, list_size);
        vectors_hex(&v, "payload_sha256", wanted, 32);
        sha256(payload, canonical.size, digest);
        assert_memory_equal(digest, wanted, 32);

        assert_int_equal(mp_reloc_check(&h, payload_read, &canonical, canonical.size), MP_OK);
        assert_int_equal(h.list_size, list_size);
        assert_int_equal(h.image_base, list_size > 0 ? base_a : 0);
        memcpy(moved, payload, canonical.size);
        apply_in_pieces(&h, &canonical, base_b - base_a, moved, 192, NULL);
        assert_memory_equal(moved + list_size, b, size);
    }
    assert_int_equal(v.count, 14);
}

/* A random image and its second link, about one word in `rarity` relocated. Returns the number of those. */
static uint32_t two_links(uint8_t *a, uint8_t *b, size_t size, uint32_t distance, uint32_t rarity)
{
    uint32_t count = 0;

    vectors_noise(draw_random(), a, size);
    memcpy(b, a, size);
    for (size_t at = 0; at + 4 <= size; at += 4)
        if (draw_random() % rarity == 0) {
            mp_put32(b + at, mp_get32(a + at) + distance);
            count++;
        }
    return count;
}

static void pack_check_apply_and_undo(void **state)
{
    enum { SIZE_MAX_TEST = 9000 };
    enum { ROOM = 2 * SIZE_MAX_TEST + MP_RELOC_ALIGN_MAX };
    static uint8_t a[SIZE_MAX_TEST], b[SIZE_MAX_TEST], payload[ROOM], moved[ROOM];
    static const uint32_t rarities[] = {1, 2, 7, 50, 300, 5000};
    (void)state;

    for (unsigned round = 0; round < 600; round++) {
        uint32_t size = 1 + draw_random() % (round % 3 == 0 ? 40 : SIZE_MAX_TEST);
        uint32_t base_a = draw_random() << 8, base_b = base_a + 4 + (draw_random() << 6);
        uint32_t count = two_links(a, b, size, base_b - base_a, rarities[round % 6]);
        uint32_t align = round % 2 == 0 ? 4 : 4u << draw_random() % 11, at = draw_random() << 6;
        struct payload canonical = {.data = payload, .fail_after = -1}, place = {.data = moved, .fail_after = -1};
        struct mp_reloc_header h;
        struct mp_reloc_mark mark = {0, 0, 0};
        size_t bad;
        long packed = mp_reloc_pack(payload, sizeof payload, a, b, size, base_a, base_b, align, &bad);

        assert_true(packed >= (long)size);
        canonical.size = place.size = (uint32_t)packed;
        assert_int_equal(mp_reloc_check(&h, payload_read, &canonical, canonical.size), MP_OK);
        assert_int_equal(h.count, count);
        assert_int_equal(h.list_size, canonical.size - size);
        assert_int_equal(h.list_size % align, 0);
        assert_true(h.list_size < 12 + 3 * count + align);
        assert_true(canonical.furthest <= (h.list_size + 191) / 192 * 192 || h.list_size == 0);
        memcpy(moved, payload, canonical.size);
        apply_in_pieces(&h, &canonical, base_b - base_a, moved, 4 * (1 + draw_random() % 100), NULL);
        assert_memory_equal(moved, payload, h.list_size);
        assert_memory_equal(moved + h.list_size, b, size);
        /* Undone from the moved bytes alone: the list in them is as it was. */
        apply_in_pieces(&h, &place, base_a - base_b, moved, 192, &mark);
        assert_memory_equal(moved, payload, canonical.size);
        /* A payload that lies where the image behind its list is at its link address is not moved at all. */
        if (h.list_size > 0)
            assert_int_equal(mp_reloc_distance(&h, base_a - h.list_size + at), at);
    }
}

/* The most that fits a slot of 96 KB, an address in every second word: without a mark it is some millions of deltas. */
static void a_pass_with_a_mark_reads_the_list_once(void **state)
{
    enum { SIZE = 80000, PIECE = 192 };
    static uint8_t a[SIZE], b[SIZE], payload[2 * SIZE], moved[2 * SIZE];
    struct payload canonical = {.data = payload, .fail_after = -1};
    struct mp_reloc_header h;
    struct mp_reloc_mark mark = {0, 0, 0};
    (void)state;

    for (uint32_t i = 0; i < SIZE; i += 4) {
        mp_put32(a + i, i);
        mp_put32(b + i, i % 8 == 0 ? i + 0x18000 : i);
    }
    canonical.size = (uint32_t)mp_reloc_pack(payload, sizeof payload, a, b, SIZE, 0, 0x18000, 4, NULL);
    assert_int_equal(mp_reloc_check(&h, payload_read, &canonical, canonical.size), MP_OK);
    assert_int_equal(h.count, SIZE / 8);
    memcpy(moved, payload, canonical.size);
    canonical.reads = 0;
    apply_in_pieces(&h, &canonical, 0x18000, moved, PIECE, &mark);
    assert_memory_equal(moved + h.list_size, b, SIZE);
    /* Windows of 32 bytes; a piece begins in the window where the one before ended. */
    assert_in_range(canonical.reads, h.list_size / 32, h.list_size / 32 + 1 + SIZE / PIECE + 1);

    /* Backwards, every piece begins anew. */
    for (uint32_t at = (canonical.size - 1) / PIECE + 1; at-- > 0;) {
        uint32_t len = canonical.size - at * PIECE < PIECE ? canonical.size - at * PIECE : PIECE;
        assert_int_equal(
            mp_reloc_apply(&h, payload_read, &canonical, 0u - 0x18000, at * PIECE, moved + at * PIECE, len, &mark),
            MP_OK);
    }
    assert_memory_equal(moved, payload, canonical.size);
}

/* Ranges of any kind with one mark. */
static void a_mark_of_any_range_is_no_harm(void **state)
{
    enum { SIZE = 1201 };
    uint8_t a[SIZE], b[SIZE], payload[2 * SIZE], whole[2 * SIZE], part[2 * SIZE];
    struct payload canonical = {.data = payload, .fail_after = -1};
    struct mp_reloc_header h;
    struct mp_reloc_mark mark = {0, 0, 0};
    (void)state;

    two_links(a, b, SIZE, 0x01FF01FF, 2);
    canonical.size = (uint32_t)mp_reloc_pack(payload, sizeof payload, a, b, SIZE, 0, 0x01FF01FF, 4, NULL);
    assert_int_equal(mp_reloc_check(&h, payload_read, &canonical, canonical.size), MP_OK);
    memcpy(whole, payload, h.list_size);
    memcpy(whole + h.list_size, b, SIZE);
    for (int i = 0; i < 100000; i++) {
        uint32_t offset = draw_random() % (canonical.size / 4) * 4, len = draw_random() % 300;

        if (len > canonical.size - offset)
            len = canonical.size - offset;
        memcpy(part, payload, canonical.size);
        assert_int_equal(mp_reloc_apply(&h, payload_read, &canonical, 0x01FF01FF, offset, part + offset, len, &mark),
                         MP_OK);
        assert_memory_equal(part + offset, whole + offset, len);
    }
}

static void every_range_shows_the_same_bytes(void **state)
{
    enum { SIZE = 203 };
    uint8_t a[SIZE], b[SIZE], payload[2 * SIZE], whole[2 * SIZE], part[2 * SIZE];
    struct payload canonical = {.data = payload, .fail_after = -1};
    struct mp_reloc_header h;
    (void)state;

    two_links(a, b, SIZE, 0x01FF01FF, 2);
    canonical.size = (uint32_t)mp_reloc_pack(payload, sizeof payload, a, b, SIZE, 0, 0x01FF01FF, 4, NULL);
    assert_int_equal(mp_reloc_check(&h, payload_read, &canonical, canonical.size), MP_OK);
    memcpy(whole, payload, h.list_size);
    memcpy(whole + h.list_size, b, SIZE);
    for (uint32_t offset = 0; offset < canonical.size; offset++)
        for (uint32_t len = 0; offset + len <= canonical.size; len++) {
            int wanted = offset % 4 == 0 ? MP_OK : MP_ERR_LENGTH;

            memcpy(part, payload, canonical.size);
            assert_int_equal(mp_reloc_apply(&h, payload_read, &canonical, 0x01FF01FF, offset, part + offset, len, NULL),
                             wanted);
            if (wanted == MP_OK)
                assert_memory_equal(part + offset, whole + offset, len);
            /* Nothing outside the range. */
            assert_memory_equal(part, payload, offset);
            assert_memory_equal(part + offset + len, payload + offset + len, canonical.size - offset - len);
        }
}

static void links_that_differ_in_more_are_refused(void **state)
{
    enum { SIZE = 401 };
    static uint8_t a[SIZE], b[SIZE], out[2 * SIZE];
    /* Not a power of two apart: no flip of one bit may look like a relocation. */
    const uint32_t base_a = 0x8000, base_b = 0x2A0B4;
    size_t bad;
    (void)state;

    two_links(a, b, SIZE, base_b - base_a, 4);
    assert_true(mp_reloc_pack(out, sizeof out, a, b, SIZE, base_a, base_b, 4, &bad) > 0);
    for (size_t bit = 0; bit < 8 * SIZE; bit++) {
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bad = SIZE;
        assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, base_a, base_b, 4, &bad), MP_ERR_FORMAT);
        assert_int_equal(bad, bit / 8 / 4 * 4);
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, base_a, base_b + 4, 4, &bad), MP_ERR_FORMAT);
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, base_b, base_a, 4, &bad), MP_ERR_FORMAT);
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, base_a, base_a, 4, NULL), MP_ERR_FORMAT);
    /* The right distance, but not on a word's boundary. */
    memcpy(b, a, SIZE);
    mp_put32(b + 6, mp_get32(a + 6) + (base_b - base_a));
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, base_a, base_b, 4, &bad), MP_ERR_FORMAT);
    assert_int_equal(bad, 4);
}

static void packing_respects_the_room(void **state)
{
    enum { SIZE = 300 };
    uint8_t a[SIZE], b[SIZE], out[3 * SIZE];
    long whole;
    (void)state;

    two_links(a, b, SIZE, 0x1000, 3);
    whole = mp_reloc_pack(out, sizeof out, a, b, SIZE, 0, 0x1000, 4, NULL);
    assert_true(whole > SIZE + 12);
    for (size_t cap = 0; cap <= sizeof out; cap++) {
        uint8_t *tight = malloc(cap + 1);

        assert_non_null(tight);
        tight[cap] = 0xEE;
        assert_int_equal(mp_reloc_pack(tight, cap, a, b, SIZE, 0, 0x1000, 4, NULL),
                         cap < (size_t)whole ? MP_ERR_ROOM : whole);
        assert_int_equal(tight[cap], 0xEE);
        free(tight);
    }
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, 0, 0, 0x1000, 4, NULL), MP_ERR_LENGTH);
    for (uint32_t align = 0; align < 9000; align++)
        if (align < 4 || align > MP_RELOC_ALIGN_MAX || (align & (align - 1)) != 0)
            assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, 0, 0x1000, align, NULL), MP_ERR_LENGTH);
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, 0, 0x1000, UINT32_MAX, NULL), MP_ERR_LENGTH);
    assert_int_equal(mp_reloc_pack(out, 512 + SIZE - 1, a, b, SIZE, 0, 0x1000, 512, NULL), MP_ERR_ROOM);
    assert_int_equal(mp_reloc_pack(out, sizeof out, a, b, SIZE, 0, 0x1000, 4096, NULL), MP_ERR_ROOM);
    assert_int_equal(mp_reloc_pack(out, 3, a, NULL, 3, 0, 0, 4, NULL), 3);
    assert_int_equal(mp_reloc_pack(out, 3, (const uint8_t *)"RLx", NULL, 3, 0, 0, 4, NULL), MP_ERR_ROOM);
    assert_int_equal(mp_reloc_pack(out, MP_IMAGE_MAX + 8u, a, NULL, MP_IMAGE_MAX + 1u, 0, 0, 4, NULL), MP_ERR_ROOM);
}

static void gaps_beyond_three_bytes_cannot_be_listed(void **state)
{
    const size_t size = 4 * (size_t)(MP_RELOC_DELTA_MAX + 2);
    uint8_t *a = calloc(1, size), *b = calloc(1, size), *out = calloc(1, size + 64);
    struct mp_reloc_header h;
    size_t bad;
    (void)state;

    assert_true(a != NULL && b != NULL && out != NULL);
    mp_put32(b + 4 * (size_t)MP_RELOC_DELTA_MAX, 16);
    assert_int_equal(mp_reloc_pack(out, size + 64, a, b, size, 0, 16, 4, &bad), size + 16);
    assert_int_equal(check(&h, out, size + 16), MP_OK);
    assert_int_equal(h.count, 1);
    mp_put32(b + 4 * (size_t)MP_RELOC_DELTA_MAX, 0);
    mp_put32(b + 4 * (size_t)(MP_RELOC_DELTA_MAX + 1), 16);
    assert_int_equal(mp_reloc_pack(out, size + 64, a, b, size, 0, 16, 4, &bad), MP_ERR_FORMAT);
    assert_int_equal(bad, 4 * (MP_RELOC_DELTA_MAX + 1));
    free(a);
    free(b);
    free(out);
}

static void an_image_without_list_stays_as_it_is(void **state)
{
    uint8_t image[200], out[220], copy[200];
    struct payload p = {.data = image, .size = sizeof image, .fail_after = -1};
    struct mp_reloc_header h;
    (void)state;

    vectors_noise(3, image, sizeof image);
    assert_int_equal(mp_reloc_pack(out, sizeof out, image, NULL, sizeof image, 5, 0, 4, NULL), sizeof image);
    assert_memory_equal(out, image, sizeof image);
    assert_int_equal(mp_reloc_check(&h, payload_read, &p, p.size), MP_OK);
    assert_int_equal(h.list_size + h.count + h.image_base, 0);
    memcpy(copy, image, sizeof copy);
    assert_int_equal(mp_reloc_apply(&h, payload_read, &p, 0x1000, 0, copy, sizeof copy, NULL), MP_OK);
    assert_memory_equal(copy, image, sizeof copy);
    memcpy(image, "RL", 2);
    assert_int_equal(mp_reloc_pack(out, sizeof out, image, NULL, sizeof image, 5, 0, 4, NULL), sizeof image + 12);
    assert_int_equal(check(&h, out, sizeof image + 12), MP_OK);
    assert_int_equal(h.list_size, 12);
    assert_int_equal(h.count, 0);
    assert_int_equal(h.image_base, 5);
    for (size_t len = 1; len <= 12; len++) {
        assert_int_equal(check(&h, out, len), len < 2 ? MP_OK : MP_ERR_LENGTH);
        assert_int_equal(check(&h, (const uint8_t *)"plain image!", len), MP_OK);
    }
    assert_int_equal(mp_reloc_check(&h, payload_read, &p, 0), MP_ERR_LENGTH);
    assert_int_equal(mp_reloc_check(&h, payload_read, &p, MP_IMAGE_MAX + 1), MP_ERR_LENGTH);
    assert_int_equal(mp_reloc_check(&h, payload_read, &p, UINT32_MAX), MP_ERR_LENGTH);
}

/* Checks a payload of `total` bytes: header, `count`, the given bytes of list, zeros. */
static int check_list(uint32_t count, const uint8_t *list, size_t list_len, size_t total)
{
    uint8_t data[512] = {'R', 'L', 1, 0, 0, 0x80};
    struct mp_reloc_header h;

    mp_put32(data + 8, count);
    memcpy(data + 12, list, list_len);
    return check(&h, data, total);
}

static void hostile_lists_are_refused(void **state)
{
#define LIST(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
    uint8_t data[64] = {'R', 'L', 1, 0};
    struct mp_reloc_header h;
    (void)state;

    assert_int_equal(check_list(1, LIST(0, 0, 0, 0), 20), MP_OK);
    assert_int_equal(check_list(1, LIST(0, 0, 0, 0), 19), MP_ERR_FORMAT); /* word 0 is cut off */
    assert_int_equal(check_list(1, LIST(1, 0, 0, 0), 20), MP_ERR_FORMAT); /* word 1 is not there */
    assert_int_equal(check_list(1, LIST(1, 0, 0, 0), 24), MP_OK);
    assert_int_equal(check_list(1, LIST(0, 0, 1, 0), 20), MP_ERR_FORMAT); /* padding */
    assert_int_equal(check_list(1, LIST(0, 0, 0, 1), 20), MP_ERR_FORMAT);
    assert_int_equal(check_list(2, LIST(0, 0, 0, 0), 24), MP_OK);
    assert_int_equal(check_list(2, LIST(0, 0, 0, 0), 20), MP_ERR_FORMAT);
    assert_int_equal(check_list(4, LIST(0, 0, 0, 0), 16), MP_ERR_LENGTH); /* four words, no image */
    assert_int_equal(check_list(0, LIST(9), 12), MP_ERR_LENGTH);          /* no image behind an empty list */
    assert_int_equal(check_list(0, LIST(9), 13), MP_OK);
    assert_int_equal(check_list(1, LIST(0, 0, 0, 0), 16), MP_ERR_LENGTH);
    assert_int_equal(check_list(1, LIST(0x80, 0, 0, 0), 400), MP_ERR_FORMAT); /* longer than needed */
    assert_int_equal(check_list(1, LIST(0x81, 0x80, 0, 0), 400), MP_ERR_FORMAT);
    assert_int_equal(check_list(1, LIST(0x80, 0x80, 0x80, 1), 400), MP_ERR_FORMAT); /* four bytes */
    assert_int_equal(check_list(1, LIST(0x80, 0x80, 1, 0), 400), MP_ERR_FORMAT);    /* word 16384 */
    assert_int_equal(check_list(1, LIST(0xFF, 0xFF, 0x7F, 0), 400), MP_ERR_FORMAT);
    assert_int_equal(check_list(1, LIST(0x80), 13), MP_ERR_LENGTH);
    assert_int_equal(check_list(UINT32_MAX, LIST(0), 400), MP_ERR_FORMAT);
    assert_int_equal(check_list(0x40000000, LIST(0), 400), MP_ERR_FORMAT);
    for (unsigned value = 0; value < 256; value++) {
        data[2] = (uint8_t)value;
        assert_int_equal(check(&h, data, sizeof data), value == 1 ? MP_OK : MP_ERR_FORMAT);
        data[2] = 1;
        data[3] = (uint8_t)value;
        assert_int_equal(check(&h, data, sizeof data), value < 4    ? MP_OK
                                                       : value < 11 ? MP_ERR_LENGTH /* ends in the padding */
                                                                    : MP_ERR_FORMAT);
        data[3] = 0;
    }
    /* The last byte of a longer padding. */
    data[3] = 2;
    data[15] = 1;
    assert_int_equal(check(&h, data, sizeof data), MP_ERR_FORMAT);
    data[15] = 0;
    data[16] = 1;
    assert_int_equal(check(&h, data, sizeof data), MP_OK);
    assert_int_equal(h.list_size, 16);
#undef LIST
}

static void every_truncation_is_refused(void **state)
{
    enum { SIZE = 800 };
    static uint8_t a[SIZE], b[SIZE], payload[2 * SIZE];
    struct mp_reloc_header h;
    uint32_t size;
    (void)state;

    two_links(a, b, SIZE, 0x1000, 3);
    mp_put32(b + SIZE - 4, mp_get32(a + SIZE - 4) + 0x1000); /* the last word is listed */
    size = (uint32_t)mp_reloc_pack(payload, sizeof payload, a, b, SIZE, 0, 0x1000, 4, NULL);
    assert_int_equal(check(&h, payload, size), MP_OK);
    for (uint32_t len = 2; len < size; len++)
        assert_true(check(&h, payload, len) < 0);
}

static void read_errors_pass_through(void **state)
{
    enum { SIZE = 800 };
    static uint8_t a[SIZE], b[SIZE], payload[2 * SIZE], data[2 * SIZE];
    struct payload p = {.data = payload, .fail_after = -1};
    struct mp_reloc_header h;
    int reads;
    (void)state;

    two_links(a, b, SIZE, 0x1000, 3);
    p.size = (uint32_t)mp_reloc_pack(payload, sizeof payload, a, b, SIZE, 0, 0x1000, 4, NULL);
    assert_int_equal(mp_reloc_check(&h, payload_read, &p, p.size), MP_OK);
    reads = p.reads;
    for (int n = 0; n <= reads; n++) {
        p.fail_after = n;
        assert_int_equal(mp_reloc_check(&h, payload_read, &p, p.size), n < reads ? MP_ERR_STORE : MP_OK);
    }
    p.fail_after = 0;
    assert_int_equal(mp_reloc_apply(&h, payload_read, &p, 1, h.list_size, data, SIZE, NULL), MP_ERR_STORE);
    assert_int_equal(mp_reloc_apply(&h, payload_read, &p, 1, 0, data, h.list_size, NULL), MP_OK); /* reads nothing */
    p.fail_after = -1;
    memset(payload + 12, 0xFF, h.list_size - 12); /* the list changed under us */
    assert_int_equal(mp_reloc_apply(&h, payload_read, &p, 1, h.list_size, data, SIZE, NULL), MP_ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_match),
        cmocka_unit_test(pack_check_apply_and_undo),
        cmocka_unit_test(every_range_shows_the_same_bytes),
        cmocka_unit_test(a_pass_with_a_mark_reads_the_list_once),
        cmocka_unit_test(a_mark_of_any_range_is_no_harm),
        cmocka_unit_test(links_that_differ_in_more_are_refused),
        cmocka_unit_test(packing_respects_the_room),
        cmocka_unit_test(gaps_beyond_three_bytes_cannot_be_listed),
        cmocka_unit_test(an_image_without_list_stays_as_it_is),
        cmocka_unit_test(hostile_lists_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(read_errors_pass_through),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("reloc", tests, NULL, NULL);
}
