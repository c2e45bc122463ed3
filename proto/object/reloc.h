/*
 * Relocation list of a canonical payload (docs/SPEC.md section 4). Reentrant.
 */
#ifndef MP_RELOC_H
#define MP_RELOC_H

#include "../mp_types.h"

#define MP_RELOC_HEADER 12

/*
 * Reader over a list that is fed in order, in pieces of any size, as chunks arrive: init, feed until done, then next().
 * The list is untrusted until the whole image verified, so every field is bounded: words ascend and lie inside the image.
 */
struct mp_reloc_header {
    uint32_t list_size;  /* bytes, header and padding included; 0: payload has no list */
    uint32_t image_base; /* link address */
    uint32_t count;
};

/* Reads bytes of the payload: 0 or negative code (passed through). */
typedef int (*mp_reloc_read)(void *ctx, uint32_t offset, uint8_t *data, size_t len);

/* Parses and checks a whole list: bounds, ascending words inside payload_size - list_size, padding zero. 0 or MP_ERR_FORMAT, MP_ERR_LENGTH, or what read returned. */
int mp_reloc_check(struct mp_reloc_header *h, mp_reloc_read read, void *ctx, uint32_t payload_size);

/*
 * Adds `distance` (mod 2^32; pass the negation to undo) to every listed word that lies wholly or partly inside
 * image[offset .. offset+len). Words are aligned to 4 and so are offset and len except at the image's end. h must come from mp_reloc_check().
 * 0 or what read returned.
 */
int mp_reloc_apply(const struct mp_reloc_header *h, mp_reloc_read read, void *ctx, uint32_t distance, uint32_t offset,
                   uint8_t *data, size_t len);

/*
 * Packs two links of one build, at base_a and base_b, into out: list and image a. Bytes written, or MP_ERR_FORMAT (they differ in more than
 * aligned words by exactly base_b - base_a; *bad receives the offset), MP_ERR_LENGTH (sizes differ or 0), MP_ERR_ROOM. Host tool.
 * With b == NULL the image is position independent: no list unless it starts with the magic, then an empty one.
 */
long mp_reloc_pack(uint8_t *out, size_t cap, const uint8_t *a, const uint8_t *b, size_t len, uint32_t base_a, uint32_t base_b, size_t *bad);

#endif
