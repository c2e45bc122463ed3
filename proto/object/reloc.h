/*
 * Relocation list of a canonical payload (docs/SPEC.md section 4). Reentrant.
 */
#ifndef MP_RELOC_H
#define MP_RELOC_H

#include "../mp_types.h"

#define MP_RELOC_HEADER 12
#define MP_RELOC_DELTA_MAX 0x1FFFFFu /* words that three LEB128 bytes can skip */
#define MP_RELOC_ALIGN_MAX 4096u

/*
 * Where the image runs is where it lies: behind the list. So for a payload at address A, `distance` below is
 * A + list_size - image_base, mp_reloc_distance().
 *
 * The list is never kept in memory: check() and apply() read it through a callback, in small pieces and in order, from
 * wherever the payload lies. All offsets are payload offsets: image word w is at list_size + 4w, and since list_size is
 * a multiple of 4 no word straddles two chunks.
 */
struct mp_reloc_header {
    uint32_t list_size;  /* bytes, header and padding included; 0: payload has no list */
    uint32_t image_base; /* link address of the image's first byte; 0 without a list */
    uint32_t count;
};

/* How far a pass over a payload got in its list; all zero before it starts. Of one list and one pass: a range that lies
 * behind the one before goes on from there, any other begins anew. */
struct mp_reloc_mark {
    uint32_t list_at; /* payload offset of the next delta */
    uint32_t index;   /* deltas before it */
    uint32_t word_at; /* payload offset of the word that a delta of 0 means */
};

/* What to add to the listed words of a payload that lies at `address` (as the CPU sees it). */
static inline uint32_t mp_reloc_distance(const struct mp_reloc_header *h, uint32_t address)
{
    return address + h->list_size - h->image_base;
}

/* Reads canonical bytes of the payload: 0 or a negative code, which is passed through. */
typedef int (*mp_reloc_read)(void *ctx, uint32_t offset, uint8_t *data, size_t len);

/*
 * Parses and checks a whole list, of which nothing is trusted: deltas in their shortest form, every word wholly inside
 * the image, padding zero, an image behind it. 0, MP_ERR_FORMAT, MP_ERR_LENGTH (payload_size is 0, above MP_IMAGE_MAX,
 * or ends before the list and one byte of image), or what read returned. Never reads beyond the chunk that holds the
 * last byte of the list, so it can run as soon as those chunks are held.
 */
int mp_reloc_check(struct mp_reloc_header *h, mp_reloc_read read, void *ctx, uint32_t payload_size);

/*
 * Adds `distance` (mod 2^32; pass its negation to undo) to the listed words in data, which holds the payload bytes from
 * offset on: typically a chunk. Bytes of the list itself stay. offset is a multiple of 4; when len is not, the low
 * bytes of a listed word that is cut off come out as they do in the whole word. h comes from mp_reloc_check(). Reads
 * the list from its start up to the word behind the range, nothing when the range lies in the list. With a mark (may be
 * NULL) a pass from front to back reads it once, where it would take a time that grows with the square of the payload.
 * 0, MP_ERR_LENGTH (offset not aligned), MP_ERR_FORMAT (the list reads differently now), or what read returned; on an
 * error words may have been changed already.
 */
int mp_reloc_apply(const struct mp_reloc_header *h, mp_reloc_read read, void *ctx, uint32_t distance, uint32_t offset,
                   uint8_t *data, size_t len, struct mp_reloc_mark *mark);

/*
 * Packs two links of one build, at base_a and base_b, into out: list and image a (buffers do not overlap). Bytes
 * written, or MP_ERR_FORMAT (they differ in more than aligned words by exactly base_b - base_a, or more than
 * MP_RELOC_DELTA_MAX words lie between two that differ; *bad receives the offset in a), MP_ERR_LENGTH (len is 0, or a
 * wrong align),
 * MP_ERR_ROOM (above cap or MP_IMAGE_MAX). With b == NULL, or without a difference, the image is position independent:
 * no list unless it starts with the magic, then an empty one. A list is padded to a multiple of align (a power of two,
 * 4 to MP_RELOC_ALIGN_MAX), so that an image keeps that alignment in a slot that has it (vector tables want it). bad may
 * be NULL. Host tool.
 */
long mp_reloc_pack(uint8_t *out, size_t cap, const uint8_t *a, const uint8_t *b, size_t len, uint32_t base_a,
                   uint32_t base_b, uint32_t align, size_t *bad);

#endif
