/*
 * Direct-mapped tables: a question's place follows from a few of its bytes, an entry is overwritten by the next question
 * of its place. What is in memory decides how long an answer takes, never what it is.
 *
 * SHA-256 comes in pieces: the first INPUT_MAX bytes of the one running hash are gathered in `scratch`, and only a
 * longer input, or a second hash begun before the first one ended, is computed as it comes. The real state takes 104
 * bytes of the 112 of struct mp_sha256; the last word says which of the two a hash is.
 */
#include "verdict.h"

#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"

enum { INPUT_MAX = 256, MESSAGE_MAX = 160, RECHECK = 1024 };
enum { SIPHASH_ENTRIES = 64, SHA256_ENTRIES = 4096, VERIFY_ENTRIES = 1024 }; /* powers of two */
enum { MODE_WORD = 13, LENGTH_WORD = 0 };
#define MODE_GATHER UINT64_C(0x6761746865720001)
#define MODE_REAL UINT64_C(0x7265616C00000001)

struct siphash_entry {
    uint8_t data[INPUT_MAX];
    uint8_t key[16];
    uint64_t answer;
    uint32_t len;
    bool used;
};

struct sha256_entry {
    uint8_t data[INPUT_MAX];
    uint8_t answer[32];
    uint32_t len;
    bool used;
};

struct verify_entry {
    uint8_t message[MESSAGE_MAX];
    uint8_t sig[64];
    uint8_t pub[32];
    uint32_t len;
    int answer;
    bool used;
};

struct memory {
    const struct mp_crypto *real;
    void (*fail)(void *ctx, const char *why);
    void *ctx;
    struct sim_verdict_counts counts;
    uint32_t until_recheck;
    bool is_gathering; /* scratch belongs to a hash */
    uint8_t scratch[INPUT_MAX];
    struct siphash_entry siphash[SIPHASH_ENTRIES];
    struct sha256_entry sha256[SHA256_ENTRIES];
    struct verify_entry verify[VERIFY_ENTRIES];
};

static struct memory *memory;

/* Whether this answer from memory is to be computed again. */
static inline bool is_checked(void)
{
    if (--memory->until_recheck > 0)
        return false;
    memory->until_recheck = RECHECK;
    memory->counts.rechecked++;
    return true;
}

static void disagree(const char *what)
{
    if (memory->fail != NULL)
        memory->fail(memory->ctx, what);
}

/* Spreads inputs that differ in their length or in one of three words. */
static inline uint32_t place_of(const uint8_t *data, size_t len)
{
    uint64_t mix = len;

    if (len >= 8)
        mix += mp_get64(data + len - 8) * 3 + mp_get64(data + len / 2 - 4) * 5 + mp_get64(data);
    return (uint32_t)(mix * UINT64_C(0x9E3779B97F4A7C15) >> 40);
}

/* --- SipHash ------------------------------------------------------------------------------------------------------ */

static uint64_t siphash(const uint8_t key[16], const uint8_t *data, size_t len)
{
    struct siphash_entry *e = &memory->siphash[place_of(data, len) % SIPHASH_ENTRIES];

    memory->counts.siphash++;
    if (len == e->len && e->used && memcmp(e->key, key, 16) == 0 && memcmp(e->data, data, len) == 0) {
        if (is_checked() && memory->real->siphash(key, data, len) != e->answer)
            disagree("a remembered SipHash is not what SipHash says");
        return e->answer;
    }
    memory->counts.siphash_computed++;
    if (len > INPUT_MAX)
        return memory->real->siphash(key, data, len);
    memcpy(e->key, key, 16);
    memcpy(e->data, data, len);
    e->len = (uint32_t)len;
    e->used = true;
    return e->answer = memory->real->siphash(key, data, len);
}

/* --- SHA-256 ------------------------------------------------------------------------------------------------------ */

static void sha256_init(struct mp_sha256 *state)
{
    if (memory->is_gathering) {
        memory->real->sha256_init(state);
        state->opaque[MODE_WORD] = MODE_REAL;
        return;
    }
    memory->is_gathering = true;
    state->opaque[LENGTH_WORD] = 0;
    state->opaque[MODE_WORD] = MODE_GATHER;
}

static void sha256_update(struct mp_sha256 *state, const uint8_t *data, size_t len)
{
    size_t have = (size_t)state->opaque[LENGTH_WORD];

    if (state->opaque[MODE_WORD] == MODE_GATHER && len <= INPUT_MAX - have) {
        if (len > 0)
            memcpy(memory->scratch + have, data, len);
        state->opaque[LENGTH_WORD] = have + len;
        return;
    }
    if (state->opaque[MODE_WORD] == MODE_GATHER) {
        memory->is_gathering = false;
        memory->counts.sha256++;
        memory->counts.sha256_computed++;
        memory->real->sha256_init(state);
        memory->real->sha256_update(state, memory->scratch, have);
        state->opaque[MODE_WORD] = MODE_REAL;
    }
    memory->real->sha256_update(state, data, len);
}

static void sha256_real(const uint8_t *data, size_t len, uint8_t digest[32])
{
    struct mp_sha256 state;

    memory->real->sha256_init(&state);
    memory->real->sha256_update(&state, data, len);
    memory->real->sha256_final(&state, digest);
}

static void sha256_final(struct mp_sha256 *state, uint8_t digest[32])
{
    size_t len = (size_t)state->opaque[LENGTH_WORD];

    if (state->opaque[MODE_WORD] != MODE_GATHER) {
        memory->real->sha256_final(state, digest);
        return;
    }
    struct sha256_entry *e = &memory->sha256[place_of(memory->scratch, len) % SHA256_ENTRIES];

    memory->is_gathering = false;
    memory->counts.sha256++;
    if (!e->used || e->len != len || memcmp(e->data, memory->scratch, len) != 0) {
        memory->counts.sha256_computed++;
        memcpy(e->data, memory->scratch, len);
        e->len = (uint32_t)len;
        e->used = true;
        sha256_real(e->data, len, e->answer);
    } else if (is_checked()) {
        uint8_t again[32];
        sha256_real(e->data, len, again);
        if (memcmp(again, e->answer, sizeof again) != 0)
            disagree("a remembered SHA-256 is not what SHA-256 says");
    }
    memcpy(digest, e->answer, sizeof e->answer);
}

/* --- Ed25519 ------------------------------------------------------------------------------------------------------ */

static int verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    struct verify_entry *e = &memory->verify[place_of(sig, 64) % VERIFY_ENTRIES];

    memory->counts.verify++;
    if (e->used && e->len == len && memcmp(e->sig, sig, 64) == 0 && memcmp(e->pub, pub, 32) == 0 &&
        memcmp(e->message, message, len) == 0) {
        if (is_checked() && memory->real->verify(sig, message, len, pub) != e->answer)
            disagree("a remembered signature check is not what Ed25519 says");
        return e->answer;
    }
    memory->counts.verify_computed++;
    if (len > MESSAGE_MAX)
        return memory->real->verify(sig, message, len, pub);
    memcpy(e->sig, sig, 64);
    memcpy(e->pub, pub, 32);
    memcpy(e->message, message, len);
    e->len = (uint32_t)len;
    e->used = true;
    return e->answer = memory->real->verify(sig, message, len, pub);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static const struct mp_crypto table = {
    .siphash = siphash,
    .sha256_init = sha256_init,
    .sha256_update = sha256_update,
    .sha256_final = sha256_final,
    .verify = verify,
};

const struct mp_crypto *sim_verdict_open(const struct mp_crypto *real, void (*fail)(void *ctx, const char *why),
                                         void *ctx)
{
    sim_verdict_close();
    memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return NULL;
    memory->real = real;
    memory->fail = fail;
    memory->ctx = ctx;
    memory->until_recheck = RECHECK;
    return &table;
}

void sim_verdict_close(void)
{
    free(memory);
    memory = NULL;
}

struct sim_verdict_counts sim_verdict_count(void)
{
    return memory->counts;
}
