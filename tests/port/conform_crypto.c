/*
 * Checks of the table of cryptographic functions against published vectors, also with data at odd addresses: parts
 * without unaligned access trap on what a host forgives.
 */
#include <string.h>

#include "conform.h"

#define COUNT(a) ((unsigned)(sizeof(a) / sizeof *(a)))

static const char *has_table(const struct conformance *c)
{
    const struct mp_crypto *k = nf_port_crypto();

    (void)c;
    if (k == NULL || k->siphash == NULL || k->sha256_init == NULL || k->sha256_update == NULL ||
        k->sha256_final == NULL || k->verify == NULL)
        return "nf_port_crypto() or one of its functions is NULL";
    return NULL;
}

/* SipHash reference implementation (Aumasson, Bernstein), vectors_sip64: key and message count up from 0. */
static const char *siphash(const struct conformance *c)
{
    uint8_t buf[16 + 15 + 3], *key = buf + 1;

    (void)c;
    if (has_table(c) != NULL)
        return has_table(c);
    for (uint8_t i = 0; i < 16; i++)
        key[i] = i;
    for (unsigned odd = 0; odd < 3; odd++) {
        uint8_t *message = buf + 16 + 1 + odd;
        for (uint8_t i = 0; i < 15; i++)
            message[i] = i;
        if (nf_port_crypto()->siphash(key, message, 0) != 0x726fdb47dd0e0e31u ||
            nf_port_crypto()->siphash(key, message, 15) != 0xa129ca6149be45e5u)
            return "a published vector comes out wrong: SipHash-2-4, little-endian";
    }
    return NULL;
}

static void digest(const uint8_t *data, size_t len, size_t cut, uint8_t out[32])
{
    struct mp_sha256 state;

    nf_port_crypto()->sha256_init(&state);
    nf_port_crypto()->sha256_update(&state, data, cut);
    nf_port_crypto()->sha256_update(&state, data + cut, len - cut);
    nf_port_crypto()->sha256_final(&state, out);
}

/* FIPS 180-2, appendix B.1 and B.2. */
static const char *sha256(const struct conformance *c)
{
    static const uint8_t one[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                    0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                    0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    static const uint8_t two[32] = {0x24, 0x8d, 0x6a, 0x61, 0xd2, 0x06, 0x38, 0xb8, 0xe5, 0xc0, 0x26,
                                    0x93, 0x0c, 0x3e, 0x60, 0x39, 0xa3, 0x3c, 0xe4, 0x59, 0x64, 0xff,
                                    0x21, 0x67, 0xf6, 0xec, 0xed, 0xd4, 0x19, 0xdb, 0x06, 0xc1};
    static const char text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    uint8_t buf[sizeof text + 3], out[32];

    (void)c;
    if (has_table(c) != NULL)
        return has_table(c);
    digest((const uint8_t *)"abc", 3, 0, out);
    if (memcmp(out, one, sizeof out) != 0)
        return "a published vector comes out wrong: SHA-256";
    for (size_t odd = 0; odd < 4; odd++) {
        memcpy(buf + odd, text, sizeof text - 1);
        for (size_t cut = 0; cut < sizeof text; cut += 11) {
            digest(buf + odd, sizeof text - 1, cut, out);
            if (memcmp(out, two, sizeof out) != 0)
                return conform_found("a published vector comes out wrong in two pieces: SHA-256", (uint32_t)cut);
        }
    }
    return NULL;
}

/* RFC 8032 section 7.1, TEST 3. */
static const uint8_t public_key[32] = {0xfc, 0x51, 0xcd, 0x8e, 0x62, 0x18, 0xa1, 0xa3, 0x8d, 0xa4, 0x7e,
                                       0xd0, 0x02, 0x30, 0xf0, 0x58, 0x08, 0x16, 0xed, 0x13, 0xba, 0x33,
                                       0x03, 0xac, 0x5d, 0xeb, 0x91, 0x15, 0x48, 0x90, 0x80, 0x25};
static const uint8_t signature[64] = {0x62, 0x91, 0xd6, 0x57, 0xde, 0xec, 0x24, 0x02, 0x48, 0x27, 0xe6, 0x9c, 0x3a,
                                      0xbe, 0x01, 0xa3, 0x0c, 0xe5, 0x48, 0xa2, 0x84, 0x74, 0x3a, 0x44, 0x5e, 0x36,
                                      0x80, 0xd7, 0xdb, 0x5a, 0xc3, 0xac, 0x18, 0xff, 0x9b, 0x53, 0x8d, 0x16, 0xf2,
                                      0x90, 0xae, 0x67, 0xf7, 0x60, 0x98, 0x4d, 0xc6, 0x59, 0x4a, 0x7c, 0x15, 0xe9,
                                      0x71, 0x6e, 0xd2, 0x8d, 0xc0, 0x27, 0xbe, 0xce, 0xea, 0x1e, 0xc4, 0x0a};
static const uint8_t message[2] = {0xaf, 0x82};
/* The order of the base point, RFC 8032 section 5.1, little-endian. */
static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                  0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                  0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

static int verify(const uint8_t *sig, const uint8_t *text, size_t len, const uint8_t *pub)
{
    conform_breathe();
    return nf_port_crypto()->verify(sig, text, len, pub);
}

static const char *accepts(const struct conformance *c)
{
    uint8_t buf[64 + 32 + 2 + 1];

    (void)c;
    if (has_table(c) != NULL)
        return has_table(c);
    memcpy(buf + 1, signature, 64);
    memcpy(buf + 65, public_key, 32);
    memcpy(buf + 97, message, 2);
    const mp_time start = nf_port_now();
    const int rc = verify(buf + 1, buf + 97, 2, buf + 65);
    const mp_time took = nf_port_now() - start;
    if (rc != 0)
        return conform_found("a published signature is refused: Ed25519", (uint32_t)-rc);
    if (took > MP_SECONDS(3))
        return conform_found("a signature takes longer (us) than the watchdog may allow: 4 s between two kicks",
                             (uint32_t)took);
    return NULL;
}

static const char *refuses(const struct conformance *c)
{
    uint8_t sig[64], pub[32], text[2], zero[64] = {0};
    unsigned carry = 0;

    (void)c;
    if (has_table(c) != NULL)
        return has_table(c);
    memcpy(sig, signature, sizeof sig);
    memcpy(pub, public_key, sizeof pub);
    memcpy(text, message, sizeof text);
    sig[5] ^= 1;
    if (verify(sig, message, 2, public_key) != MP_ERR_SIGNATURE)
        return "a signature with another R is taken: MP_ERR_SIGNATURE";
    sig[5] ^= 1;
    sig[40] ^= 0x80;
    if (verify(sig, message, 2, public_key) != MP_ERR_SIGNATURE)
        return "a signature with another S is taken: MP_ERR_SIGNATURE";
    pub[3] ^= 1;
    if (verify(signature, message, 2, pub) != MP_ERR_SIGNATURE)
        return "a signature of another key is taken: MP_ERR_SIGNATURE";
    text[1] ^= 1;
    if (verify(signature, text, 2, public_key) != MP_ERR_SIGNATURE || verify(signature, text, 1, public_key) == 0)
        return "a signature of another message is taken: MP_ERR_SIGNATURE";
    memcpy(sig, signature, sizeof sig);
    for (unsigned i = 0; i < 32; i++) {
        carry += (unsigned)sig[32 + i] + order[i];
        sig[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    if (verify(sig, message, 2, public_key) != MP_ERR_SIGNATURE)
        return "S above the group's order is taken: RFC 8032 section 5.1.7";
    if (verify(zero, message, 2, zero) != MP_ERR_SIGNATURE)
        return "a key of small order is taken: nobody's signature fits every message";
    return NULL;
}

static const struct conform_case crypto_cases[] = {
    {"crypto-siphash", siphash},
    {"crypto-sha256", sha256},
    {"crypto-accepts", accepts},
    {"crypto-refuses", refuses},
};
const struct conform_group conform_crypto = {"crypto", crypto_cases, COUNT(crypto_cases)};
