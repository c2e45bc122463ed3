/*
 * Little-endian integers in byte buffers. Callers check bounds first. Reentrant, header only.
 *
 * Whole words go through memcpy(), which compilers turn into one load or store where the part allows unaligned ones,
 * and into bytes where it does not.
 */
#ifndef MP_WIRE_H
#define MP_WIRE_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MP_LE16(v) (v)
#define MP_LE32(v) (v)
#define MP_LE64(v) (v)
#else
#define MP_LE16(v) __builtin_bswap16(v)
#define MP_LE32(v) __builtin_bswap32(v)
#define MP_LE64(v) __builtin_bswap64(v)
#endif

static inline uint16_t mp_get16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return MP_LE16(v);
}

static inline uint32_t mp_get24(const uint8_t *p)
{
    return mp_get16(p) | (uint32_t)p[2] << 16;
}

static inline uint32_t mp_get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return MP_LE32(v);
}

static inline uint64_t mp_get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return MP_LE64(v);
}

static inline void mp_put16(uint8_t *p, uint32_t v)
{
    uint16_t low = MP_LE16((uint16_t)v);

    memcpy(p, &low, sizeof low);
}

static inline void mp_put24(uint8_t *p, uint32_t v)
{
    mp_put16(p, v);
    p[2] = (uint8_t)(v >> 16);
}

static inline void mp_put32(uint8_t *p, uint32_t v)
{
    uint32_t le = MP_LE32(v);

    memcpy(p, &le, sizeof le);
}

static inline void mp_put64(uint8_t *p, uint64_t v)
{
    uint64_t le = MP_LE64(v);

    memcpy(p, &le, sizeof le);
}

#endif
