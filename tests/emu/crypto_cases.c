#include "crypto_cases.h"

#include <string.h>

#include "proto/mp_wire.h"

/* Fields of a kind, and its answer. */
static const struct {
    uint8_t fields;
    uint8_t answer;
} shape[CRYPTO_KINDS] = {[CRYPTO_VERIFY] = {96, 1}, [CRYPTO_SHA256] = {0, 32}, [CRYPTO_SIPHASH] = {16, 8}};

static void hash(const struct mp_crypto *crypto, const struct crypto_question *q, const uint8_t *message,
                 uint8_t out[32])
{
    const uint32_t piece = q->piece != 0 ? q->piece : q->len;
    struct mp_sha256 state;

    crypto->sha256_init(&state);
    for (uint32_t i = 0; i < q->times; i++)
        for (uint32_t at = 0; at < q->len; at += piece)
            crypto->sha256_update(&state, message + at, q->len - at < piece ? q->len - at : piece);
    crypto->sha256_final(&state, out);
}

static void answer(const struct mp_crypto *crypto, const struct crypto_question *q, const uint8_t *fields,
                   uint8_t out[32])
{
    const uint8_t *message = fields + shape[q->kind].fields;
    int verdict;

    switch ((enum crypto_kind)q->kind) {
    case CRYPTO_VERIFY:
        verdict = crypto->verify(fields, message, q->len, fields + 64);
        out[0] = verdict == MP_OK ? 1 : verdict == MP_ERR_SIGNATURE ? 0 : 2;
        break;
    case CRYPTO_SHA256:
        hash(crypto, q, message, out);
        break;
    case CRYPTO_SIPHASH:
        mp_put64(out, crypto->siphash(fields, message, q->len));
        break;
    case CRYPTO_END:
    case CRYPTO_KINDS:
        break;
    }
}

void crypto_cases_run(const struct mp_crypto *crypto, const struct crypto_meter *meter, const uint8_t *questions,
                      volatile struct crypto_answers *out)
{
    struct crypto_question q;

    for (;; questions += sizeof q + ((shape[q.kind].fields + q.len + 3) & ~3u)) {
        uint8_t bytes[32] = {0};

        memcpy(&q, questions, sizeof q);
        if (q.kind == CRYPTO_END || q.kind >= CRYPTO_KINDS)
            break;
        if (CRYPTO_ANSWERS_MAX - out->used < shape[q.kind].answer) {
            out->state = CRYPTO_ROOM;
            return;
        }
        if (meter != NULL)
            meter->start();
        answer(crypto, &q, questions + sizeof q, bytes);
        if (meter != NULL) {
            const struct crypto_cost cost = meter->stop();
            if (cost.ticks > out->cost[q.kind].ticks)
                out->cost[q.kind].ticks = cost.ticks;
            if (cost.stack > out->cost[q.kind].stack)
                out->cost[q.kind].stack = cost.stack;
        }
        for (uint32_t i = 0; i < shape[q.kind].answer; i++)
            out->bytes[out->used + i] = bytes[i];
        out->used += shape[q.kind].answer;
        out->count++;
    }
    out->state = CRYPTO_DONE;
}
