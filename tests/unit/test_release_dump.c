/*
 * Exact copies of a release engine: a copy taken at any moment goes on as the original does, and damaged ones are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "meshd/release/release.h"
#include "node-fw/port/crypto/crypto_sodium.h"

#define NODES 40u
#define STEPS 120u
#define PRODUCT 70u

static const char PLAN[] =
    "spread=10 confirm=30 stage-deadline=100; canary: label=0 soak=20 deadline=200 min-reports=2;"
    "quarter: share=25% soak=10 deadline=200 max-failures=1; all: share=100% soak=5 deadline=90"
    " max-failures=any max-failures-percent=20%";

struct copy {
    uint8_t data[1 << 16];
    size_t len, at;
};

static int put(void *ctx, const void *data, size_t size)
{
    struct copy *c = ctx;
    if (size > sizeof c->data - c->len)
        return MP_ERR_ROOM;
    memcpy(c->data + c->len, data, size);
    c->len += size;
    return 0;
}

static int get(void *ctx, void *data, size_t size)
{
    struct copy *c = ctx;
    if (size > c->len - c->at)
        return MP_ERR_LENGTH;
    memcpy(data, c->data + c->at, size);
    c->at += size;
    return 0;
}

static struct md_release *fleet(void)
{
    struct md_release *r = md_release_new(crypto_sodium());
    assert_non_null(r);
    for (uint32_t i = 0; i < NODES; i++) {
        const struct md_fact fact = {.node = 10 + i,
                                     .product = PRODUCT,
                                     .model = (uint16_t)(1 + i % 2),
                                     .labels = i < 4,
                                     .hw_revision = (uint8_t)(i % 3),
                                     .enrolled = i % 7 != 6,
                                     .retired = i == 12};
        assert_int_equal(md_release_node(r, 1000, &fact), 0);
    }
    return r;
}

static void start(struct md_release *r, uint64_t now, uint32_t release)
{
    struct md_rollout_config c = {.release = release, .salt = 99 + release, .image_count = 2};
    char error[MD_TEXT_MAX];
    for (unsigned i = 0; i < 2; i++)
        c.image[i] =
            (struct md_release_image){{(uint8_t)release, (uint8_t)i}, PRODUCT, (uint16_t)(1 + i), 0xF, release << 24};
    assert_int_equal(md_policy_parse(&c.policy, PLAN, NULL, NULL, error, sizeof error), 0);
    assert_int_equal(md_release_start(r, now, &c, "test", error, sizeof error), 0);
}

/* What the host does in step k: reports that walk through the phases, some failures, holds and resumes. */
static void feed(struct md_release *r, unsigned k)
{
    uint64_t now = 1000 + k * 5000u;
    if (k == 2 || k == 30)
        start(r, now, k == 2 ? 5 : 6);
    for (uint32_t i = k % 5; i < NODES; i += 5) {
        static const uint8_t phases[] = {MP_PHASE_FETCHING, MP_PHASE_STAGED, MP_PHASE_TRIAL, MP_PHASE_CONFIRMED};
        unsigned stage = (k + i) / 6 % 4;
        bool fails = i == 20 && stage == 3;
        const struct mp_report report = {.node = 10 + i,
                                         .serial = (uint16_t)(k + 1),
                                         .running = (uint16_t)(stage == 3 && !fails ? 5 : 4),
                                         .target = (uint16_t)(k < 60 ? 5 : 6),
                                         .phase = fails ? MP_PHASE_ROLLED_BACK : phases[stage],
                                         .reason = fails ? MP_REASON_CRASHED : MP_REASON_NONE};
        md_release_report(r, now, &report);
    }
    if (k == 50)
        md_release_hold(r, now, 5, "test");
    if (k % 10 == 5)
        md_release_resume(r, now, 5, "test");
    if (k % 4 != 3) /* some changes wait for the next tick */
        md_release_tick(r, now);
}

static void same(struct md_release *a, struct md_release *b)
{
    struct md_decision x, y;
    assert_int_equal(md_release_next_expiry(a), md_release_next_expiry(b));
    bool more;
    do {
        memset(&x, 0, sizeof x);
        memset(&y, 0, sizeof y);
        more = md_release_decision(a, &x);
        assert_int_equal(md_release_decision(b, &y), more);
        assert_string_equal(x.text, y.text);
        assert_int_equal(x.at_ms, y.at_ms);
        assert_int_equal(x.kind, y.kind);
        assert_memory_equal(&x.counts, &y.counts, sizeof x.counts);
    } while (more);
}

/* Field by field: between them lies what nobody wrote. */
static void same_node(const struct md_release_node *x, const struct md_release_node *y)
{
    assert_int_equal(x->node, y->node);
    assert_int_equal(x->release, y->release);
    assert_int_equal(x->ring, y->ring);
    assert_int_equal(x->outcome, y->outcome);
    assert_int_equal(x->phase, y->phase);
    assert_int_equal(x->reason, y->reason);
    assert_int_equal(x->serial, y->serial);
    assert_int_equal(x->opened_ms, y->opened_ms);
}

static struct md_release *copied(const struct md_release *r, struct copy *c)
{
    c->len = c->at = 0;
    assert_int_equal(md_release_dump(r, put, c), 0);
    struct md_release *twin = md_release_new(crypto_sodium());
    assert_int_equal(md_release_undump(twin, get, c), 0);
    assert_int_equal(c->at, c->len);
    return twin;
}

static void test_goes_on_alike(void **state)
{
    (void)state;
    static struct copy c, again;
    unsigned decisions = 0;
    for (unsigned cut = 0; cut < STEPS; cut += 7) {
        struct md_release *r = fleet();
        for (unsigned k = 0; k < cut; k++)
            feed(r, k);
        struct md_release *twin = copied(r, &c);
        again.len = again.at = 0;
        assert_int_equal(md_release_dump(twin, put, &again), 0);
        assert_int_equal(again.len, c.len);
        assert_memory_equal(again.data, c.data, c.len);
        for (unsigned k = cut; k < STEPS; k++) {
            feed(r, k);
            feed(twin, k);
            same(r, twin);
            struct md_release_node x, y;
            while (md_release_pop_node(r, &x)) {
                assert_true(md_release_pop_node(twin, &y));
                same_node(&x, &y);
                decisions++;
            }
            assert_false(md_release_pop_node(twin, &y));
        }
        assert_int_equal(md_release_bytes(r) > 0, md_release_bytes(twin) > 0);
        md_release_free(r);
        md_release_free(twin);
    }
    assert_true(decisions > 100);
}

static void test_refuses_damage(void **state)
{
    (void)state;
    static struct copy c, bad;
    struct md_release *r = fleet();
    for (unsigned k = 0; k < 40; k++)
        feed(r, k);
    c.len = 0;
    assert_int_equal(md_release_dump(r, put, &c), 0);
    assert_int_equal(md_release_undump(r, get, &c), MP_ERR_STATE);
    md_release_free(r);
    for (size_t len = 0; len < c.len; len += 1 + len / 50) {
        bad = c;
        bad.at = 0;
        bad.len = len;
        r = md_release_new(crypto_sodium());
        assert_int_equal(md_release_undump(r, get, &bad), MP_ERR_LENGTH);
        md_release_free(r);
    }
    unsigned refused = 0;
    for (size_t at = 0; at < c.len; at++) { /* none may crash; many must be refused */
        bad = c;
        bad.at = 0;
        bad.data[at] ^= 0xFF;
        r = md_release_new(crypto_sodium());
        refused += md_release_undump(r, get, &bad) < 0;
        md_release_free(r);
    }
    assert_true(refused > c.len / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goes_on_alike), cmocka_unit_test(test_refuses_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
