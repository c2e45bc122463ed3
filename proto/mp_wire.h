/*
 * Little-endian integers in byte buffers. Callers check bounds first. Reentrant, header only.
 */
#ifndef MP_WIRE_H
#define MP_WIRE_H

#include <stdint.h>
#include <string.h>

static inline uint16_t mp_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint32_t)p[1] << 8);
}

static inline uint32_t mp_get24(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static inline uint32_t mp_get32(const uint8_t *p)
{
    return mp_get24(p) | (uint32_t)p[3] << 24;
}

static inline uint64_t mp_get64(const uint8_t *p)
{
    return mp_get32(p) | (uint64_t)mp_get32(p + 4) << 32;
}

static inline void mp_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void mp_put24(uint8_t *p, uint32_t v)
{
    mp_put16(p, v);
    p[2] = (uint8_t)(v >> 16);
}

static inline void mp_put32(uint8_t *p, uint32_t v)
{
    mp_put24(p, v);
    p[3] = (uint8_t)(v >> 24);
}

static inline void mp_put64(uint8_t *p, uint64_t v)
{
    mp_put32(p, (uint32_t)v);
    mp_put32(p + 4, (uint32_t)(v >> 32));
}

#endif
