/*
 * The four functions that every C compiler calls by itself, small: a C library's are many times the size, for copies
 * that are long. Here they are of a frame at most, but for what is hashed, where copying is lost in the noise.
 *
 * Compiled without the compiler's knowledge of what they are (nrf51.mk), or it would make them call themselves.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t __attribute__((may_alias)) any_word;

/* Upwards; where both are aligned in words, which is never more than the distance of what overlaps. */
static void *copy(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if ((((uintptr_t)t | (uintptr_t)f) & 3) == 0)
        for (; n >= 4; n -= 4, t += 4, f += 4)
            *(any_word *)(void *)t = *(const any_word *)(const void *)f;
    while (n-- > 0)
        *t++ = *f++;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    return copy(to, from, n);
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if (t <= f)
        return copy(to, from, n);
    while (n-- > 0)
        t[n] = f[n];
    return to;
}

void *memset(void *to, int value, size_t n)
{
    uint8_t *t = to;

    while (n-- > 0)
        *t++ = (uint8_t)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (; n > 0; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *text)
{
    const char *end = text;

    while (*end != 0)
        end++;
    return (size_t)(end - text);
}
