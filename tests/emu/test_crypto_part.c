/*
 * The cryptography that a bootloader exports, on an emulated nRF51, and the same questions to the host's libsodium:
 * published vectors, vectors of an independent implementation (tests/vectors/generate_crypto.py), every byte of a
 * signature, key and message changed. All are asked at once; each test looks at its group of answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto_cases.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "tests/lib/qemu.h"
#include "tests/lib/vectors.h"

enum {
    QUESTIONS = 0x10000, /* in flash: crypto.ld */
    CASES_MAX = 1024,
    MESSAGE_MAX = 4096,
    TICKS_PER_128_INSTRUCTIONS = 131 /* 64 ns an instruction (icount shift 6), 62.5 ns a tick; rounded up */
};

static struct {
    uint8_t questions[QEMU_FLASH_SIZE - QUESTIONS];
    size_t len;
    unsigned count;
    struct crypto_case {
        char group[16];
        uint16_t answer; /* offset */
        uint16_t answer_len;
        uint8_t expected[32];
    } cases[CASES_MAX];
    size_t answers_len;
    struct crypto_answers host, part;
} all;

/* A question with its expected answer joins. */
static void ask(const char *group, struct crypto_question q, const uint8_t *fields, size_t fields_len,
                const uint8_t *message, const uint8_t *expected, size_t expected_len)
{
    struct crypto_case *c = &all.cases[all.count++];

    assert_true(all.count < CASES_MAX);
    assert_true(all.len + sizeof q + fields_len + q.len + 3 + sizeof q <= sizeof all.questions);
    memcpy(all.questions + all.len, &q, sizeof q);
    if (fields_len > 0)
        memcpy(all.questions + all.len + sizeof q, fields, fields_len);
    if (q.len > 0)
        memcpy(all.questions + all.len + sizeof q + fields_len, message, q.len);
    all.len += sizeof q + ((fields_len + q.len + 3) & ~(size_t)3);
    snprintf(c->group, sizeof c->group, "%s", group);
    c->answer = (uint16_t)all.answers_len;
    c->answer_len = (uint16_t)expected_len;
    memcpy(c->expected, expected, expected_len);
    all.answers_len += expected_len;
}

static void ask_verify(const char *group, const uint8_t fields[96], const uint8_t *message, size_t len, bool good)
{
    ask(group, (struct crypto_question){CRYPTO_VERIFY, (uint32_t)len, 0, 0}, fields, 96, message, &(uint8_t){good}, 1);
}

/* Each byte of signature, key and message once, in another bit each. */
static void ask_changed(const uint8_t fields[96], uint8_t *message, size_t len)
{
    uint8_t changed[96];

    for (unsigned i = 0; i < 96; i++) {
        memcpy(changed, fields, sizeof changed);
        changed[i] ^= (uint8_t)(1u << i * 5 % 8);
        ask_verify("changed", changed, message, len, false);
    }
    for (unsigned i = 0; i < len; i++) {
        message[i] ^= (uint8_t)(1u << i % 8);
        ask_verify("changed", fields, message, len, false);
        message[i] ^= (uint8_t)(1u << i % 8);
    }
    ask_verify("changed", fields, message, len, true); /* what was changed was good */
}

static void ask_all(void)
{
    struct vectors v;
    bool is_changed = false;

    for (vectors_open(&v, "crypto"); vectors_next(&v);) {
        uint8_t message[MESSAGE_MAX], fields[96], expected[32];
        const size_t len = vectors_hex(&v, "message", message, sizeof message);
        char group[16];

        vectors_word(&v, "group", group, sizeof group);
        if (vectors_has(&v, "sig")) {
            assert_int_equal(vectors_hex(&v, "sig", fields, 64), 64);
            assert_int_equal(vectors_hex(&v, "pub", fields + 64, 32), 32);
            ask_verify(group, fields, message, len, vectors_int(&v, "good") == 1);
            if (!is_changed && strcmp(group, "rfc8032") == 0 && len == 2) {
                ask_changed(fields, message, len);
                is_changed = true;
            }
        } else if (vectors_has(&v, "digest")) {
            const struct crypto_question q = {CRYPTO_SHA256, (uint32_t)len, (uint32_t)vectors_int(&v, "times"),
                                              (uint32_t)vectors_int(&v, "piece")};
            assert_int_equal(vectors_hex(&v, "digest", expected, 32), 32);
            ask(group, q, NULL, 0, message, expected, 32);
        } else {
            assert_int_equal(vectors_hex(&v, "key", fields, 16), 16);
            assert_int_equal(vectors_hex(&v, "hash", expected, 8), 8);
            ask(group, (struct crypto_question){CRYPTO_SIPHASH, (uint32_t)len, 0, 0}, fields, 16, message, expected, 8);
        }
    }
    assert_true(is_changed);
}

static bool is_answered(struct qemu *q, void *ctx)
{
    return qemu_peek_u32(q, *(const uint32_t *)ctx) != 0;
}

static void run_part(const char *build)
{
    static uint8_t flash[QEMU_FLASH_SIZE];
    const char *dir = getenv("TMPDIR");
    char bin[256], elf[256];
    uint32_t answers, size;
    struct qemu q = {0};

    snprintf(bin, sizeof bin, "%s/emu/crypto.bin", build);
    snprintf(elf, sizeof elf, "%s/emu/crypto.elf", build);
    assert_int_equal(qemu_symbol(elf, "crypto_answers", &answers, &size), 0);
    assert_int_equal(size, sizeof all.part);
    qemu_open(&q, &(struct qemu_options){.name = "crypto", .dir = dir != NULL ? dir : "/tmp"});
    memset(flash, 0xFF, sizeof flash);
    qemu_image_file(&q, flash, 0, bin);
    memcpy(flash + QUESTIONS, all.questions, sizeof all.questions);
    qemu_load(&q, flash, sizeof flash);
    qemu_run(&q);
    if (!qemu_until(&q, 300, is_answered, &answers))
        qemu_fail(&q, "answers nothing");
    qemu_peek(&q, answers, &all.part, sizeof all.part);
    qemu_close(&q);
}

static int setup(void **state)
{
    const char *build = getenv("BUILD");

    (void)state;
    ask_all();
    crypto_cases_run(crypto_sodium(), NULL, all.questions, &all.host);
    run_part(build != NULL ? build : "build");
    return 0;
}

static void answers_everything(void **state)
{
    (void)state;
    assert_int_equal(all.host.state, CRYPTO_DONE);
    assert_int_equal(all.part.state, CRYPTO_DONE);
    assert_int_equal(all.host.count, all.count);
    assert_int_equal(all.part.count, all.count);
    assert_int_equal(all.part.used, all.answers_len);
    assert_memory_equal(all.part.bytes, all.host.bytes, all.answers_len);
}

/* Compares the answers of a group, of which there must be `count`, with what is expected. */
static void check(const char *group, unsigned count)
{
    unsigned seen = 0;

    for (unsigned i = 0; i < all.count; i++) {
        const struct crypto_case *c = &all.cases[i];
        if (strcmp(c->group, group) != 0)
            continue;
        seen++;
        if (memcmp(all.host.bytes + c->answer, c->expected, c->answer_len) != 0)
            fail_msg("question %u (%s %u): the host's libsodium is wrong", i, group, seen - 1);
        if (memcmp(all.part.bytes + c->answer, c->expected, c->answer_len) != 0)
            fail_msg("question %u (%s %u): the part is wrong", i, group, seen - 1);
    }
    assert_int_equal(seen, count);
}

static void rfc8032(void **state)
{
    (void)state;
    check("rfc8032", 5);
    check("own", 16);
}

static void changed_bytes(void **state)
{
    (void)state;
    check("changed", 64 + 32 + 2 + 1);
}

static void scalar_not_below_order(void **state)
{
    (void)state;
    check("noncanonical", 75);
}

static void points_of_small_order(void **state)
{
    (void)state;
    check("smallorder", 28);
}

static void keys_off_the_curve(void **state)
{
    (void)state;
    check("offcurve", 8);
}

static void sha256(void **state)
{
    (void)state;
    check("sha256", 160);
}

static void siphash(void **state)
{
    (void)state;
    check("siphash", 69);
}

/* A bootloader's stack and a watchdog's patience are planned with these: port.h says one second for a signature. */
static void costs(void **state)
{
    static const char *const name[CRYPTO_KINDS] = {NULL, "verify", "sha256", "siphash"};

    (void)state;
    for (unsigned kind = CRYPTO_VERIFY; kind < CRYPTO_KINDS; kind++) {
        const struct crypto_cost *cost = &all.part.cost[kind];
        printf("note: dearest %s: %.2f M instructions, %u bytes of stack\n", name[kind],
               (double)cost->ticks * 128 / TICKS_PER_128_INSTRUCTIONS / 1e6, (unsigned)cost->stack);
        assert_in_range(cost->stack, 100, 4096);
    }
    assert_in_range((uint64_t)all.part.cost[CRYPTO_VERIFY].ticks * 128 / TICKS_PER_128_INSTRUCTIONS, 1000000, 32000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_everything),
        cmocka_unit_test(rfc8032),
        cmocka_unit_test(changed_bytes),
        cmocka_unit_test(scalar_not_below_order),
        cmocka_unit_test(points_of_small_order),
        cmocka_unit_test(keys_off_the_curve),
        cmocka_unit_test(sha256),
        cmocka_unit_test(siphash),
        cmocka_unit_test(costs),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("crypto_part", tests, setup, NULL);
}
