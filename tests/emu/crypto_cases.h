/*
 * Questions to a struct mp_crypto and its answers, as bytes: asked on the host and, by firmware/crypto.c, on an emulated
 * part. One runner for both, which knows no answer: whoever asked compares.
 *
 * Questions follow each other in one little-endian block, each of them struct crypto_question, then the fields that its
 * kind has, then `len` bytes of message, then up to 3 bytes so that the next one begins at a multiple of 4. Answers
 * follow each other without gaps. Both machines are little endian.
 */
#ifndef TESTS_EMU_CRYPTO_CASES_H
#define TESTS_EMU_CRYPTO_CASES_H

#include "proto/mp_types.h"

enum crypto_kind {
    CRYPTO_END,     /* no more */
    CRYPTO_VERIFY,  /* signature 64, key 32; answer 1: 1 good, 0 not, 2 neither MP_OK nor MP_ERR_SIGNATURE */
    CRYPTO_SHA256,  /* answer 32 */
    CRYPTO_SIPHASH, /* key 16; answer 8, little endian */
    CRYPTO_KINDS
};

struct crypto_question {
    uint32_t kind;
    uint32_t len;
    uint32_t times; /* CRYPTO_SHA256: the message is hashed so often, one after the other */
    uint32_t piece; /* CRYPTO_SHA256: bytes of each update, 0: the whole message */
};

#define CRYPTO_ANSWERS_MAX 8192
#define CRYPTO_DONE 0x454E4F44u  /* all answered */
#define CRYPTO_ROOM 0x4D4F4F52u  /* no room for another answer */
#define CRYPTO_FAULT 0x544C4146u /* the part took an exception */

/* What the dearest question of a kind took. */
struct crypto_cost {
    uint32_t ticks; /* of the meter's clock */
    uint32_t stack; /* bytes below the runner's frame */
};

struct crypto_answers {
    uint32_t state; /* 0: not yet */
    uint32_t count;
    uint32_t used;
    struct crypto_cost cost[CRYPTO_KINDS];
    uint8_t bytes[CRYPTO_ANSWERS_MAX];
};

/* Called around each question; NULL where costs are not measured. */
struct crypto_meter {
    void (*start)(void);
    struct crypto_cost (*stop)(void);
};

/* Answers them all. `out` is zeroed by the caller; its state is set last. */
void crypto_cases_run(const struct mp_crypto *crypto, const struct crypto_meter *meter, const uint8_t *questions,
                      volatile struct crypto_answers *out);

#endif
