#include "crypto_small.h"

#include <stdbool.h>
#include <string.h>

/* The first 64 bits of the fractional parts of the cube roots of the first 80 primes (FIPS 180-4, section 4.2.3). */
static const uint64_t round_constant[80] = {
    0x428A2F98D728AE22, 0x7137449123EF65CD, 0xB5C0FBCFEC4D3B2F, 0xE9B5DBA58189DBBC, 0x3956C25BF348B538,
    0x59F111F1B605D019, 0x923F82A4AF194F9B, 0xAB1C5ED5DA6D8118, 0xD807AA98A3030242, 0x12835B0145706FBE,
    0x243185BE4EE4B28C, 0x550C7DC3D5FFB4E2, 0x72BE5D74F27B896F, 0x80DEB1FE3B1696B1, 0x9BDC06A725C71235,
    0xC19BF174CF692694, 0xE49B69C19EF14AD2, 0xEFBE4786384F25E3, 0x0FC19DC68B8CD5B5, 0x240CA1CC77AC9C65,
    0x2DE92C6F592B0275, 0x4A7484AA6EA6E483, 0x5CB0A9DCBD41FBD4, 0x76F988DA831153B5, 0x983E5152EE66DFAB,
    0xA831C66D2DB43210, 0xB00327C898FB213F, 0xBF597FC7BEEF0EE4, 0xC6E00BF33DA88FC2, 0xD5A79147930AA725,
    0x06CA6351E003826F, 0x142929670A0E6E70, 0x27B70A8546D22FFC, 0x2E1B21385C26C926, 0x4D2C6DFC5AC42AED,
    0x53380D139D95B3DF, 0x650A73548BAF63DE, 0x766A0ABB3C77B2A8, 0x81C2C92E47EDAEE6, 0x92722C851482353B,
    0xA2BFE8A14CF10364, 0xA81A664BBC423001, 0xC24B8B70D0F89791, 0xC76C51A30654BE30, 0xD192E819D6EF5218,
    0xD69906245565A910, 0xF40E35855771202A, 0x106AA07032BBD1B8, 0x19A4C116B8D2D0C8, 0x1E376C085141AB53,
    0x2748774CDF8EEB99, 0x34B0BCB5E19B48A8, 0x391C0CB3C5C95A63, 0x4ED8AA4AE3418ACB, 0x5B9CCA4F7763E373,
    0x682E6FF3D6B2B8A3, 0x748F82EE5DEFB2FC, 0x78A5636F43172F60, 0x84C87814A1F0AB72, 0x8CC702081A6439EC,
    0x90BEFFFA23631E28, 0xA4506CEBDE82BDE9, 0xBEF9A3F7B2C67915, 0xC67178F2E372532B, 0xCA273ECEEA26619C,
    0xD186B8C721C0C207, 0xEADA7DD6CDE0EB1E, 0xF57D4F7FEE6ED178, 0x06F067AA72176FBA, 0x0A637DC5A2C898A6,
    0x113F9804BEF90DAE, 0x1B710B35131C471B, 0x28DB77F523047D84, 0x32CAAB7B40C72493, 0x3C9EBE0A15C9BEBC,
    0x431D67C49C100D4C, 0x4CC5D4BECB3E42B6, 0x597F299CFC657E2A, 0x5FCB6FAB3AD6FAEC, 0x6C44198C4A475817,
};

static const uint64_t first_state[8] = {
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
};

/* Three rotations to the right, by bytes of `by` from the lowest; with a zero on top the third is a shift. */
static __attribute__((noinline)) uint64_t mix(uint64_t x, uint32_t by)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 3; i++, by >>= 8) {
        const unsigned n = by & 63;
        sum ^= x >> n;
        if ((by & 128) == 0)
            sum ^= x << (64 - n);
    }
    return sum;
}
#define SHIFT 128u
#define BY(a, b, c) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16)

/* Word i of the schedule lies in w[i % 16]; a to h of round i in v[(8 - i + n) % 8]. */
static void compress(uint64_t state[8], const uint8_t block[128])
{
    uint64_t w[16], v[8];

    memcpy(v, state, sizeof v);
    for (unsigned i = 0; i < 80; i++) {
        uint64_t *word = &w[i % 16], t;

        if (i < 16) {
            *word = 0;
            for (unsigned k = 0; k < 8; k++)
                *word = *word << 8 | block[8 * i + k];
        } else {
            *word += mix(w[(i + 14) % 16], BY(19, 61, SHIFT | 6)) + w[(i + 9) % 16] +
                     mix(w[(i + 1) % 16], BY(1, 8, SHIFT | 7));
        }
        t = v[7] + mix(v[4], BY(14, 18, 41)) + ((v[4] & (v[5] ^ v[6])) ^ v[6]) + round_constant[i] + *word;
        v[7] = t + mix(v[0], BY(28, 34, 39)) + ((v[0] & (v[1] | v[2])) | (v[1] & v[2]));
        v[3] += t;
        /* h, which is the new a, to the front. */
        t = v[7];
        memmove(v + 1, v, 7 * sizeof *v);
        v[0] = t;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += v[i];
}

int crypto_small_sha512_init(crypto_hash_sha512_state *state)
{
    memcpy(state->state, first_state, sizeof first_state);
    state->count[0] = state->count[1] = 0;
    return 0;
}

int crypto_small_sha512_update(crypto_hash_sha512_state *state, const unsigned char *data, unsigned long long len)
{
    while (len-- > 0) {
        state->buf[state->count[1]++ % 128] = *data++;
        if (state->count[1] % 128 == 0)
            compress(state->state, state->buf);
    }
    return 0;
}

int crypto_small_sha512_final(crypto_hash_sha512_state *state, unsigned char *out)
{
    const uint64_t bits = state->count[1] * 8;
    uint8_t pad = 0x80;

    do {
        crypto_small_sha512_update(state, &pad, 1);
        pad = 0;
    } while (state->count[1] % 128 != 112);
    for (unsigned i = 0; i < 16; i++) { /* 128 bits of length, the upper half zeros */
        pad = i < 8 ? 0 : (uint8_t)(bits >> (120 - 8 * i));
        crypto_small_sha512_update(state, &pad, 1);
    }
    for (unsigned i = 0; i < 64; i++)
        out[i] = (uint8_t)(state->state[i / 8] >> (56 - i % 8 * 8));
    return 0;
}

/* r - L to out; whether r is at least L, that is, nothing was borrowed. */
static bool subtract_order(uint32_t out[8], const uint32_t r[8])
{
    static const uint32_t order[8] = {0x5CF5D3ED, 0x5812631A, 0xA2F79CD6, 0x14DEF9DE, 0, 0, 0, 0x10000000};
    uint32_t borrow = 0;

    for (unsigned i = 0; i < 8; i++) {
        const uint64_t difference = (uint64_t)r[i] - order[i] - borrow;
        out[i] = (uint32_t)difference;
        borrow = (uint32_t)(difference >> 32) & 1;
    }
    return borrow == 0;
}

/* Long division in binary: the remainder so far is below L, so twice it and one more fits in 254 bits. */
void crypto_small_reduce(unsigned char *s)
{
    uint32_t r[8] = {0}, less[8];

    for (unsigned bit = 512; bit-- > 0;) {
        uint32_t carry = s[bit / 8] >> bit % 8 & 1;
        for (unsigned i = 0; i < 8; i++) {
            const uint32_t up = r[i] >> 31;
            r[i] = r[i] << 1 | carry;
            carry = up;
        }
        if (subtract_order(less, r))
            memcpy(r, less, sizeof r);
    }
    memset(s, 0, 64);
    for (unsigned i = 0; i < 32; i++)
        s[i] = (uint8_t)(r[i / 4] >> i % 4 * 8);
}
