#include "mp_types.h"

/*
 * t / 1000 = x / 125 with x = t / 8. Of a quotient whose remainder r is known, the low word is that of (x - r) times the
 * inverse of 125 modulo 2^32 (Warren, Hacker's Delight, 2nd ed., section 10-16); and r follows from the two words of x,
 * since 2^32 leaves 46.
 */
#define INVERSE_OF_125 0x26E978D5u

uint32_t mp_ms_divide(mp_time t)
{
    const mp_time x = t >> 3;
    const uint32_t low = (uint32_t)x;
    const uint32_t rest = ((uint32_t)(x >> 32) % 125 * 46 + low % 125) % 125;

    return (low - rest) * INVERSE_OF_125;
}
