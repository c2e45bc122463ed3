/*
 * The frame of a binary signed for MCUboot: header, image, protected TLVs, TLVs (MCUboot v2.4.0, docs/design.md "Image
 * format", boot/bootutil/include/bootutil/image.h). Everything little-endian.
 */
#include "mcuboot.h"

#include "proto/mp_wire.h"

enum { HEADER = 32, TLV = 4, TLV_MAGIC = 0x6907, TLV_PROTECTED_MAGIC = 0x6908, TLV_COUNTER = 0x50 };
#define MAGIC 0x96F3B83Du

/* Reads a TLV area's head: 0 and its size, which is at least the head's. */
static int area_get(nf_mcuboot_read read, void *ctx, uint32_t at, uint32_t len, uint16_t magic, uint32_t *size)
{
    uint8_t head[TLV];

    if (len < TLV || at > len - TLV)
        return MP_ERR_FORMAT;
    int error = read(ctx, at, head, sizeof head);

    if (error != MP_OK)
        return error;
    *size = mp_get16(head + 2);
    return mp_get16(head) == magic && *size >= TLV && *size <= len - at ? MP_OK : MP_ERR_FORMAT;
}

/* Looks for the security counter in the protected area [at, end); MCUboot believes no other. */
static int counter_find(struct nf_mcuboot_image *image, nf_mcuboot_read read, void *ctx, uint32_t at, uint32_t end)
{
    uint8_t tlv[2 * TLV];

    for (at += TLV; at < end;) {
        if (end - at < TLV)
            return MP_ERR_FORMAT;
        int error = read(ctx, at, tlv, TLV);
        uint32_t len = mp_get16(tlv + 2);

        if (error != MP_OK)
            return error;
        if (len > end - at - TLV)
            return MP_ERR_FORMAT;
        if (mp_get16(tlv) == TLV_COUNTER) {
            if (len != 4 || image->has_counter)
                return MP_ERR_FORMAT;
            error = read(ctx, at + TLV, tlv + TLV, 4);
            if (error != MP_OK)
                return error;
            image->has_counter = true;
            image->counter = mp_get32(tlv + TLV);
        }
        at += TLV + len;
    }
    return MP_OK;
}

int nf_mcuboot_image_get(struct nf_mcuboot_image *image, nf_mcuboot_read read, void *ctx, uint32_t len)
{
    uint8_t head[HEADER];
    uint32_t protected_size, size;

    if (len < HEADER)
        return MP_ERR_FORMAT;
    int error = read(ctx, 0, head, sizeof head);

    if (error != MP_OK)
        return error;
    *image = (struct nf_mcuboot_image){
        .header_size = mp_get16(head + 8), .image_size = mp_get32(head + 12), .flags = mp_get32(head + 16)};
    protected_size = mp_get16(head + 10);
    if (mp_get32(head) != MAGIC || image->header_size < HEADER || image->header_size > len ||
        image->image_size > len - image->header_size)
        return MP_ERR_FORMAT;
    image->size = image->header_size + image->image_size;
    if (protected_size != 0) {
        error = area_get(read, ctx, image->size, len, TLV_PROTECTED_MAGIC, &size);
        if (error == MP_OK && size != protected_size)
            error = MP_ERR_FORMAT;
        if (error == MP_OK)
            error = counter_find(image, read, ctx, image->size, image->size + size);
        if (error != MP_OK)
            return error;
        image->size += size;
    }
    error = area_get(read, ctx, image->size, len, TLV_MAGIC, &size);
    if (error != MP_OK)
        return error;
    image->size += size;
    return image->size == len ? MP_OK : MP_ERR_FORMAT;
}
