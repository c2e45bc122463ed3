/*
 * Release engine: every rule of the gate, the operator's calls, other gateways, persistence, the policy's text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "meshd/release/release.h"
#include "node-fw/port/crypto/crypto_sodium.h"

#define MODEL 7
#define PRODUCT 70
#define RELEASE 3
#define CANARY 1u /* label bit */

static const char plan[] =
    "roll-call=none spread=10 confirm=30 stage-deadline=100; canary: label=0 soak=20 deadline=200 min-reports=2;"
    "quarter: share=25% soak=10 deadline=200 max-failures=1; all: share=100% soak=5 deadline=200"
    " max-failures=any max-failures-percent=20%";

struct rig {
    struct md_release *r;
    uint64_t now;
    struct md_rollout_config config;
};

static struct md_rollout_config config_of(uint32_t release, const char *policy)
{
    struct md_rollout_config c = {.release = release, .salt = 99, .image_count = 1};
    char error[200] = "";
    c.image[0] = (struct md_release_image){{(uint8_t)release, 2, 3}, PRODUCT, MODEL, 0x3, release << 24};
    if (md_policy_parse(&c.policy, policy, NULL, NULL, error, sizeof error) < 0)
        fail_msg("%s", error);
    return c;
}

static struct md_fact fact_of(uint32_t node)
{
    return (struct md_fact){.node = node,
                            .product = PRODUCT,
                            .model = MODEL,
                            .labels = node <= 11 ? CANARY : 0,
                            .hw_revision = 1,
                            .enrolled = true};
}

/* Nodes 10 to 10+count-1; 10 and 11 are canaries. */
static void add_nodes(struct rig *g, unsigned count)
{
    for (uint32_t node = 10; node < 10 + count; node++) {
        struct md_fact fact = fact_of(node);
        assert_int_equal(md_release_node(g->r, g->now, &fact), 0);
    }
}

static void start(struct rig *g, const char *policy)
{
    char error[200] = "";
    g->config = config_of(RELEASE, policy);
    if (md_release_start(g->r, g->now, &g->config, "ann", error, sizeof error) < 0)
        fail_msg("%s", error);
    md_release_tick(g->r, g->now);
}

static struct rig rig_of(unsigned nodes)
{
    struct rig g = {.r = md_release_new(crypto_sodium()), .now = 1000000};
    assert_non_null(g.r);
    add_nodes(&g, nodes);
    return g;
}

static uint16_t next_serial = 1;

static void say(struct rig *g, uint32_t node, uint16_t running, uint16_t target, enum mp_phase phase,
                enum mp_reason reason)
{
    struct mp_report report = {.node = node,
                               .serial = next_serial++,
                               .running = running,
                               .target = target,
                               .phase = (uint8_t)phase,
                               .reason = (uint8_t)reason};
    assert_int_equal(md_release_report(g->r, g->now, &report), 0);
    md_release_tick(g->r, g->now);
}

static void stage(struct rig *g, uint32_t node)
{
    say(g, node, RELEASE - 1, RELEASE, MP_PHASE_STAGED, MP_REASON_NONE);
}

static void confirm(struct rig *g, uint32_t node)
{
    say(g, node, RELEASE, RELEASE, MP_PHASE_CONFIRMED, MP_REASON_NONE);
}

static void roll_back(struct rig *g, uint32_t node)
{
    say(g, node, RELEASE - 1, RELEASE, MP_PHASE_ROLLED_BACK, MP_REASON_SELFTEST);
}

static void wait_s(struct rig *g, unsigned seconds)
{
    g->now += (uint64_t)seconds * 1000;
    md_release_tick(g->r, g->now);
}

static struct md_rollout_info info_of(const struct rig *g)
{
    struct md_rollout_info info;
    assert_int_equal(md_release_find(g->r, RELEASE, &info), 0);
    return info;
}

static struct md_want want_of(const struct rig *g)
{
    struct md_want want;
    assert_int_equal(md_release_want(g->r, RELEASE, &want), 0);
    return want;
}

static void expect(const struct rig *g, enum md_phase phase, unsigned ring, enum mp_action action)
{
    struct md_rollout_info info = info_of(g);
    if (info.phase != phase || info.ring != ring)
        fail_msg("%s at ring %u: %s", md_phase_name(info.phase), info.ring, info.why);
    assert_int_equal(want_of(g).action, action);
}

static void expect_why(const struct rig *g, const char *text)
{
    struct md_rollout_info info = info_of(g);
    if (!strstr(info.why, text))
        fail_msg("\"%s\" lacks \"%s\"", info.why, text);
}

/* Members of the quarter ring, as nodes would compute it. */
static unsigned quarter(const struct rig *g, unsigned count, uint32_t *member)
{
    unsigned n = 0;
    struct mp_directive d = {.share = 2500, .salt = 99};
    (void)g;
    for (uint32_t node = 12; node < 10 + count; node++)
        if (mp_directive_is_in(crypto_sodium(), &d, node, 0))
            member[n++] = node;
    return n;
}

/* Both canaries staged, confirmed and soaked: the quarter stages. */
static void pass_canary(struct rig *g)
{
    stage(g, 10);
    stage(g, 11);
    confirm(g, 10);
    confirm(g, 11);
    wait_s(g, 20);
}

/* Stops after every step, saves, loads into a new engine, and must end like one that never stopped. */
static struct md_release *reload(struct rig *g, unsigned nodes, struct md_release_node *kept, unsigned *kept_count)
{
    uint8_t blob[MD_RELEASE_STATE_MAX];
    struct md_release_node node;
    int len = md_release_save(g->r, RELEASE, blob, sizeof blob);
    assert_true(len > 0);
    while (md_release_pop_node(g->r, &node)) {
        unsigned i = 0;
        while (i < *kept_count && kept[i].node != node.node)
            i++;
        kept[i] = node;
        *kept_count += i == *kept_count;
    }
    struct rig fresh = {.r = md_release_new(crypto_sodium()), .now = g->now};
    add_nodes(&fresh, nodes);
    for (int cut = 0; cut < len; cut++)
        assert_true(md_release_load(fresh.r, blob, (size_t)cut) < 0);
    assert_int_equal(md_release_load(fresh.r, blob, (size_t)len), 0);
    assert_int_equal(md_release_load(fresh.r, blob, (size_t)len), MP_ERR_DUPLICATE);
    for (unsigned i = 0; i < *kept_count; i++)
        assert_int_equal(md_release_put_node(fresh.r, &kept[i]), 0);
    md_release_free(g->r);
    return fresh.r;
}

static void test_whole_rollout(void **state)
{
    struct rig g = rig_of(40);
    uint32_t member[40];
    (void)state;
    start(&g, plan);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    assert_int_equal(want_of(&g).share, 0);
    stage(&g, 10);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    stage(&g, 11);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    assert_int_equal(want_of(&g).labels, CANARY);
    assert_int_equal(want_of(&g).share, 0);
    assert_int_equal(want_of(&g).spread_s, 10);
    assert_int_equal(want_of(&g).confirm_s, 30);
    say(&g, 10, RELEASE - 1, RELEASE, MP_PHASE_TRIAL, MP_REASON_NONE);
    confirm(&g, 10);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    confirm(&g, 11);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 19);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    assert_int_equal(want_of(&g).share, 0);
    for (uint32_t node = 12; node < 50; node++)
        stage(&g, node);
    expect(&g, MD_PHASE_OPEN, 1, MP_ACTION_OPEN);
    assert_int_equal(want_of(&g).share, 2500);
    assert_int_equal(want_of(&g).labels, CANARY);
    unsigned n = quarter(&g, 40, member);
    struct md_counts c;
    assert_int_equal(md_release_counts(g.r, RELEASE, 1, &c), 0);
    assert_int_equal(c.members, n);
    assert_true(n >= 3);
    for (unsigned i = 0; i < n; i++)
        confirm(&g, member[i]);
    wait_s(&g, 10);
    expect(&g, MD_PHASE_OPEN, 2, MP_ACTION_OPEN);
    assert_int_equal(want_of(&g).share, MP_SHARE_ALL);
    for (uint32_t node = 12; node < 50; node++)
        confirm(&g, node);
    wait_s(&g, 5);
    expect(&g, MD_PHASE_DONE, 2, MP_ACTION_OPEN);
    expect_why(&g, "done: 40 of 40 nodes run 3.0.0");
    assert_true(md_release_next_expiry(g.r) == MD_NEVER_MS);
    md_release_free(g.r);
}

static void test_bad_canary_holds(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    roll_back(&g, 10);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(info_of(&g).cause, MD_CAUSE_GATE);
    assert_string_equal(info_of(&g).why,
                        "held at ring canary: 1 of 2 nodes rolled back from 3.0.0 (self-test failed), limit 0");
    assert_true(want_of(&g).sign);
    /* nothing but an operator moves it */
    confirm(&g, 11);
    wait_s(&g, 100000);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_refusal_while_staging_holds(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, plan);
    say(&g, 10, RELEASE - 1, RELEASE, MP_PHASE_REFUSED, MP_REASON_NO_ROOM);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    expect_why(&g, "1 of 2 nodes refused 3.0.0 (no room), limit 0");
    md_release_free(g.r);
}

/* A refusal of a later ring is that ring's business. */
static void test_refusal_of_a_later_ring_waits(void **state)
{
    struct rig g = rig_of(40);
    uint32_t member[40];
    (void)state;
    start(&g, plan);
    assert_true(quarter(&g, 40, member) >= 2);
    say(&g, member[0], RELEASE - 1, RELEASE, MP_PHASE_REFUSED, MP_REASON_NO_ROOM);
    say(&g, member[1], RELEASE - 1, RELEASE, MP_PHASE_REFUSED, MP_REASON_NO_ROOM);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    pass_canary(&g);
    expect(&g, MD_PHASE_HELD, 1, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_silence_is_failure(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    say(&g, 11, RELEASE - 1, RELEASE, MP_PHASE_TRIAL, MP_REASON_NONE);
    /* the bad canary never returns */
    wait_s(&g, 199);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    assert_true(md_release_next_expiry(g.r) == g.now + 1000);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    expect_why(&g, "1 of 2 nodes silent past 200 s, limit 0");
    md_release_free(g.r);
}

static void test_stage_deadline_opens_all_the_same(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    wait_s(&g, 99);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    confirm(&g, 10);
    wait_s(&g, 200);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_limits(void **state)
{
    struct rig g = rig_of(40);
    uint32_t member[40];
    (void)state;
    start(&g, plan);
    for (uint32_t node = 12; node < 50; node++)
        stage(&g, node);
    pass_canary(&g);
    unsigned n = quarter(&g, 40, member);
    roll_back(&g, member[0]);
    expect(&g, MD_PHASE_OPEN, 1, MP_ACTION_OPEN);
    /* all but the last: it may still fail, and that would be one too many */
    for (unsigned i = 1; i + 1 < n; i++)
        confirm(&g, member[i]);
    expect(&g, MD_PHASE_OPEN, 1, MP_ACTION_OPEN);
    confirm(&g, member[n - 1]);
    wait_s(&g, 10);
    expect(&g, MD_PHASE_OPEN, 2, MP_ACTION_OPEN);
    /* gates stay armed: a second failure in the quarter holds the last ring */
    say(&g, member[1], RELEASE - 1, 0, MP_PHASE_CONFIRMED, MP_REASON_CORRUPT_HOME);
    expect(&g, MD_PHASE_HELD, 2, MP_ACTION_HOLD);
    expect_why(&g, "held at ring quarter");
    expect_why(&g, "1 of ");
    expect_why(&g, "left 3.0.0 after confirming it");
    md_release_free(g.r);
}

static void test_percent_limit(void **state)
{
    struct rig g = rig_of(12);
    (void)state;
    start(&g,
          "roll-call=none confirm=10; all: share=100% soak=0 deadline=100 max-failures=any max-failures-percent=25%");
    for (uint32_t node = 10; node < 22; node++)
        stage(&g, node);
    for (uint32_t node = 10; node < 13; node++)
        roll_back(&g, node);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    roll_back(&g, 13);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    expect_why(&g, "4 of 12 nodes rolled back from 3.0.0 (self-test failed), limit 3");
    md_release_free(g.r);
}

static void test_worst_case_passes_early(void **state)
{
    struct rig g = rig_of(12);
    (void)state;
    start(&g, "roll-call=none confirm=10; all: share=100% soak=5 deadline=100 max-failures=1");
    for (uint32_t node = 10; node < 22; node++)
        stage(&g, node);
    for (uint32_t node = 10; node < 21; node++)
        confirm(&g, node);
    /* one has not answered, and one may fail */
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 5);
    expect(&g, MD_PHASE_DONE, 0, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_minimum_of_reports(void **state)
{
    struct rig g = rig_of(12);
    (void)state;
    start(&g, "roll-call=none confirm=10 stage-deadline=50; canary: label=0 soak=0 deadline=100 min-reports=3; all: "
              "share=100%");
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    confirm(&g, 11);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(info_of(&g).cause, MD_CAUSE_REPORTS);
    expect_why(&g, "2 of 2 nodes confirmed or failed");
    expect_why(&g, "3 reports are required");
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    assert_int_equal(info_of(&g).ring, 1);
    md_release_free(g.r);
}

static void test_empty_ring_never_passes(void **state)
{
    struct rig g = rig_of(12);
    (void)state;
    start(&g, "roll-call=none confirm=10 stage-deadline=50; canary: label=9 soak=0 deadline=100; all: share=100%");
    wait_s(&g, 49);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    expect_why(&g, "no node belongs to it");
    md_release_free(g.r);
}

static void test_retired_leave_the_denominator(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, "roll-call=none confirm=30; canary: label=0 soak=20 deadline=200; all: share=100%");
    stage(&g, 10);
    struct md_fact fact = fact_of(11);
    fact.retired = true;
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    confirm(&g, 10);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    /* a retired node's failure is nobody's */
    roll_back(&g, 11);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    /* back in service it counts, with what it said last */
    fact.retired = false;
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_only_addressed_nodes_count(void **state)
{
    struct rig g = rig_of(2);
    struct md_fact other = fact_of(12);
    (void)state;
    other.labels = CANARY;
    other.model = MODEL + 1;
    assert_int_equal(md_release_node(g.r, g.now, &other), 0);
    other = fact_of(13);
    other.labels = CANARY;
    other.hw_revision = 5;
    assert_int_equal(md_release_node(g.r, g.now, &other), 0);
    other = fact_of(14);
    other.labels = CANARY;
    other.enrolled = false;
    assert_int_equal(md_release_node(g.r, g.now, &other), 0);
    start(&g, plan);
    struct md_counts c;
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.members, 2);
    /* a refusal that is right is no failure */
    say(&g, 12, RELEASE - 1, RELEASE, MP_PHASE_REFUSED, MP_REASON_PRECONDITION);
    say(&g, 13, RELEASE - 1, RELEASE, MP_PHASE_REFUSED, MP_REASON_PRECONDITION);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    /* something newer runs there */
    say(&g, 10, RELEASE + 1, RELEASE + 1, MP_PHASE_CONFIRMED, MP_REASON_NONE);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.members, 1);
    /* enrolled by its first report: it joins */
    say(&g, 14, RELEASE - 1, 0, MP_PHASE_IDLE, MP_REASON_NONE);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.members, 2);
    md_release_free(g.r);
}

static void test_already_running(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    say(&g, 10, RELEASE, 0, MP_PHASE_IDLE, MP_REASON_NONE);
    say(&g, 11, RELEASE, 0, MP_PHASE_CONFIRMED, MP_REASON_NONE);
    start(&g, plan);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_late_joiner(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, "roll-call=none confirm=30; canary: label=0 soak=20 deadline=200; all: share=100%");
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    confirm(&g, 11);
    wait_s(&g, 10);
    struct md_fact fact = fact_of(12);
    fact.labels = CANARY;
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    /* its deadline counts from when it joined, not from when the ring opened */
    wait_s(&g, 199);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    confirm(&g, 12);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 20);
    assert_int_equal(info_of(&g).ring, 1);
    md_release_free(g.r);
}

static void test_deferred_is_not_an_outcome(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    say(&g, 11, RELEASE - 1, RELEASE, MP_PHASE_DEFERRED, MP_REASON_BATTERY);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    wait_s(&g, 200);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_failure_stands_until_retried(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, "roll-call=none confirm=30; canary: label=0 soak=20 deadline=200 max-failures=1; all: share=100%");
    stage(&g, 10);
    stage(&g, 11);
    roll_back(&g, 10);
    struct md_counts c;
    /* fetching it again, or speaking of something else, mends nothing */
    say(&g, 10, RELEASE - 1, RELEASE, MP_PHASE_FETCHING, MP_REASON_NONE);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.failed, 1);
    say(&g, 10, RELEASE - 1, 0, MP_PHASE_IDLE, MP_REASON_NONE);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.failed, 1);
    confirm(&g, 10);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.failed, 0);
    assert_int_equal(c.confirmed, 1);
    md_release_free(g.r);
}

static void test_operator_hold_and_resume(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, plan);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), MP_ERR_STATE);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    wait_s(&g, 150);
    assert_int_equal(md_release_hold(g.r, g.now, RELEASE, "bob"), 0);
    assert_int_equal(md_release_hold(g.r, g.now, RELEASE, "bob"), MP_ERR_STATE);
    assert_int_equal(md_release_hold(g.r, g.now, 99, "bob"), MP_ERR_ABSENT);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    expect_why(&g, "by bob");
    /* time held is nobody's silence */
    wait_s(&g, 5000);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    wait_s(&g, 49);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_soak_goes_on_after_a_hold(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    confirm(&g, 11);
    wait_s(&g, 15);
    assert_int_equal(md_release_hold(g.r, g.now, RELEASE, "bob"), 0);
    wait_s(&g, 1000);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "bob"), 0);
    md_release_tick(g.r, g.now);
    wait_s(&g, 4);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 1);
    assert_int_equal(info_of(&g).ring, 1);
    md_release_free(g.r);
}

static void test_resume_waives(void **state)
{
    struct rig g = rig_of(2);
    struct md_counts c;
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    roll_back(&g, 10);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.waived, 1);
    assert_int_equal(c.members, 1);
    /* repeating itself changes nothing, a new trial does */
    roll_back(&g, 10);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    say(&g, 10, RELEASE - 1, RELEASE, MP_PHASE_TRIAL, MP_REASON_NONE);
    roll_back(&g, 10);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_advance(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, "roll-call=none confirm=30; canary: label=0 deadline=100; more: label=1 deadline=100 min-reports=0; all: "
              "share=100% "
              "min-reports=0");
    assert_int_equal(md_release_advance(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    roll_back(&g, 10);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(md_release_advance(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    assert_int_equal(info_of(&g).ring, 1);
    assert_int_equal(want_of(&g).action, MP_ACTION_OPEN);
    md_release_free(g.r);
}

/* The report a node was waived with is no new trial, however often it is fed (a restart feeds it again). */
static void test_waived_stays_waived_when_fed_again(void **state)
{
    struct rig g = rig_of(2);
    struct md_counts c;
    struct md_fact fact = fact_of(11);
    struct mp_report trial = {
        .node = 11, .serial = 9, .running = RELEASE - 1, .target = RELEASE, .phase = MP_PHASE_TRIAL};
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    assert_int_equal(md_release_report(g.r, g.now, &trial), 0);
    md_release_tick(g.r, g.now);
    assert_int_equal(md_release_advance(g.r, g.now, RELEASE, "ann"), 0);
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    assert_int_equal(md_release_report(g.r, g.now, &trial), 0);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.waived, 2);
    struct md_release_node kept[2];
    unsigned kept_count = 0;
    g.r = reload(&g, 2, kept, &kept_count);
    assert_int_equal(md_release_report(g.r, g.now, &trial), 0);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.waived, 2);
    trial.serial++;
    assert_int_equal(md_release_report(g.r, g.now, &trial), 0);
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.waived, 1);
    md_release_free(g.r);
}

static void test_revert(void **state)
{
    struct rig g = rig_of(3);
    const uint8_t to[1][8] = {{9, 9, 9}};
    (void)state;
    start(&g, plan);
    pass_canary(&g);
    assert_int_equal(md_release_revert(g.r, g.now, RELEASE, RELEASE, to, 1, "ann"), MP_ERR_FORMAT);
    assert_int_equal(md_release_revert(g.r, g.now, RELEASE, 2, to, 2, "ann"), MP_ERR_FORMAT);
    assert_int_equal(md_release_revert(g.r, g.now, RELEASE, 2, to, 1, "ann"), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_REVERTING, info_of(&g).ring, MP_ACTION_REVERT);
    struct md_want want = want_of(&g);
    assert_int_equal(want.manifest_count, 2);
    assert_memory_equal(want.manifests[0], g.config.image[0].id, 8);
    assert_memory_equal(want.manifests[1], to[0], 8);
    assert_int_equal(want.share, MP_SHARE_ALL);
    say(&g, 10, 2, 2, MP_PHASE_CONFIRMED, MP_REASON_NONE);
    expect(&g, MD_PHASE_REVERTING, info_of(&g).ring, MP_ACTION_REVERT);
    say(&g, 11, 2, 2, MP_PHASE_CONFIRMED, MP_REASON_NONE);
    expect(&g, MD_PHASE_REVERTED, info_of(&g).ring, MP_ACTION_REVERT);
    expect_why(&g, "no node runs 3.0.0 any more");
    assert_int_equal(md_release_revert(g.r, g.now, RELEASE, 2, to, 1, "ann"), MP_ERR_STATE);
    md_release_free(g.r);
}

static void test_revert_deadline(void **state)
{
    struct rig g = rig_of(2);
    const uint8_t to[1][8] = {{9, 9, 9}};
    (void)state;
    start(&g, plan);
    confirm(&g, 10);
    assert_int_equal(md_release_revert(g.r, g.now, RELEASE, 2, to, 1, "ann"), 0);
    md_release_tick(g.r, g.now);
    wait_s(&g, 200);
    expect(&g, MD_PHASE_REVERTED, 0, MP_ACTION_REVERT);
    expect_why(&g, "1 nodes still say that they run 3.0.0");
    md_release_free(g.r);
}

static void test_foreign_gateway(void **state)
{
    struct rig g = rig_of(2);
    struct mp_directive head;
    const uint8_t id[8] = {1};
    (void)state;
    start(&g, plan);
    struct md_want want = want_of(&g);
    md_want_directive(&want, NULL, NULL, &head);
    assert_int_equal(head.sequence, 1);
    assert_int_equal(head.floor, 0);
    /* one that says the same is adopted, its own changes nothing */
    assert_int_equal(md_release_head(g.r, g.now, &head, false), 0);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    head.action = MP_ACTION_HOLD;
    head.floor = head.sequence = 2;
    assert_int_equal(md_release_head(g.r, g.now, &head, true), 0);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    assert_int_equal(md_release_head(g.r, g.now, &head, false), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(info_of(&g).cause, MD_CAUSE_FOREIGN);
    assert_false(want_of(&g).sign);
    expect_why(&g, "another gateway holds it");
    /* taking over: the next directive names the hold */
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    want = want_of(&g);
    assert_true(want.sign);
    assert_true(md_want_differs(&want, &head));
    struct mp_directive next;
    md_want_directive(&want, &head, id, &next);
    assert_int_equal(next.sequence, 3);
    assert_int_equal(next.floor, 2);
    assert_memory_equal(next.previous, id, 8);
    assert_false(md_want_differs(&want, &next));
    /* the same old head again is no news */
    assert_int_equal(md_release_head(g.r, g.now, &head, false), 0);
    expect(&g, MD_PHASE_STAGING, 0, MP_ACTION_STAGE);
    head.release = 77;
    assert_int_equal(md_release_head(g.r, g.now, &head, false), MP_ERR_ABSENT);
    md_release_free(g.r);
}

static void test_hold_directive_carries_its_own_floor(void **state)
{
    struct md_want want = {.action = MP_ACTION_HOLD, .release = 3};
    struct mp_directive head = {.release = 3, .sequence = 7, .floor = 4}, next;
    const uint8_t id[8] = {0};
    (void)state;
    md_want_directive(&want, &head, id, &next);
    assert_int_equal(next.sequence, 8);
    assert_int_equal(next.floor, 8);
    want.action = MP_ACTION_OPEN;
    md_want_directive(&want, &head, id, &next);
    assert_int_equal(next.floor, 4);
}

static void test_cap(void **state)
{
    struct rig g = rig_of(0);
    unsigned opened = 0;
    (void)state;
    for (uint32_t node = 100; node < 200; node++) {
        struct md_fact fact = fact_of(node);
        assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    }
    start(&g, "roll-call=none confirm=10 cap=10; all: share=100% soak=0 deadline=100");
    for (uint32_t node = 100; node < 200; node++)
        stage(&g, node);
    for (unsigned step = 0; step < 100 && info_of(&g).phase == MD_PHASE_OPEN; step++) {
        struct mp_directive d;
        struct md_want want = want_of(&g);
        unsigned flying = 0;
        md_want_directive(&want, NULL, NULL, &d);
        opened += step == 0 && want.share < MP_SHARE_ALL;
        for (uint32_t node = 100; node < 200; node++) {
            struct md_release_node member;
            assert_int_equal(md_release_member(g.r, RELEASE, node - 100, &member), 0);
            flying += member.outcome != MD_OUTCOME_CONFIRMED && mp_directive_is_in(crypto_sodium(), &d, node, 0);
        }
        assert_in_range(flying, 1, 10);
        for (uint32_t node = 100; node < 200; node++)
            if (mp_directive_is_in(crypto_sodium(), &d, node, 0))
                confirm(&g, node);
    }
    assert_int_equal(opened, 1);
    expect(&g, MD_PHASE_DONE, 0, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_cap_against_labels(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, "roll-call=none confirm=10 cap=1; canary: label=0 soak=0 deadline=100");
    stage(&g, 10);
    stage(&g, 11);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(info_of(&g).cause, MD_CAUSE_CAP);
    assert_int_equal(want_of(&g).labels, 0);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_gap_moves_deadlines(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    wait_s(&g, 100);
    g.now += 7200 * 1000;
    md_release_gap(g.r, g.now, 7200 * 1000);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    wait_s(&g, 99);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    md_release_free(g.r);
}

static void test_clock_never_goes_back(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, plan);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    confirm(&g, 11);
    md_release_tick(g.r, 5);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 20);
    assert_int_equal(info_of(&g).ring, 1);
    md_release_free(g.r);
}

static void test_several_rollouts(void **state)
{
    struct rig g = rig_of(4);
    struct md_rollout_config c;
    struct md_rollout_info info;
    char error[200];
    (void)state;
    start(&g, plan);
    assert_int_equal(md_release_start(g.r, g.now, &g.config, "ann", error, sizeof error), MP_ERR_DUPLICATE);
    c = config_of(5, plan);
    assert_int_equal(md_release_start(g.r, g.now, &c, "ann", error, sizeof error), 0);
    c = config_of(2, plan);
    assert_int_equal(md_release_start(g.r, g.now, &c, "ann", error, sizeof error), 0);
    c = config_of(4, plan);
    assert_int_equal(md_release_start(g.r, g.now, &c, "ann", error, sizeof error), 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(md_release_info(g.r, i, &info), 0);
        assert_int_equal(info.release, i + 2);
    }
    c = config_of(6, plan);
    assert_int_equal(md_release_start(g.r, g.now, &c, "ann", error, sizeof error), MP_ERR_ROOM);
    assert_non_null(strstr(error, "drop one"));
    /* one node's rollback from 3 is no business of the others */
    stage(&g, 10);
    roll_back(&g, 10);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(md_release_find(g.r, 5, &info), 0);
    assert_int_equal(info.phase, MD_PHASE_STAGING);
    assert_int_equal(md_release_drop(g.r, 5), MP_ERR_STATE);
    assert_int_equal(md_release_drop(g.r, RELEASE), 0);
    assert_int_equal(md_release_start(g.r, g.now, &c, "ann", error, sizeof error), 0);
    md_release_free(g.r);
}

static void test_several_models(void **state)
{
    struct rig g = rig_of(2);
    struct md_fact fact = fact_of(12);
    char error[200];
    (void)state;
    fact.model = MODEL + 1;
    fact.labels = CANARY;
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    g.config = config_of(RELEASE, plan);
    g.config.image[1] = g.config.image[0];
    g.config.image_count = 2;
    assert_int_equal(md_release_start(g.r, g.now, &g.config, "ann", error, sizeof error), MP_ERR_FORMAT);
    g.config.image[1].id[0] ^= 1;
    assert_int_equal(md_release_start(g.r, g.now, &g.config, "ann", error, sizeof error), MP_ERR_FORMAT);
    g.config.image[1].model++;
    assert_int_equal(md_release_start(g.r, g.now, &g.config, "ann", error, sizeof error), 0);
    struct md_counts c;
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.members, 3);
    assert_int_equal(want_of(&g).manifest_count, 2);
    md_release_free(g.r);
}

static void test_override_flag(void **state)
{
    struct rig g = rig_of(2);
    (void)state;
    start(&g, plan);
    assert_int_equal(want_of(&g).flags, 0);
    assert_int_equal(md_release_override(g.r, g.now, RELEASE, true, "ann"), 0);
    assert_int_equal(want_of(&g).flags, MP_DIRECTIVE_OVERRIDE);
    assert_int_equal(md_release_override(g.r, g.now, RELEASE, true, "ann"), MP_ERR_STATE);
    md_release_free(g.r);
}

static void test_restart_after_every_step(void **state)
{
    struct rig g = rig_of(20);
    struct md_release_node kept[20];
    unsigned kept_count = 0;
    (void)state;
    start(&g, plan);
    for (uint32_t node = 10; node < 30; node++) {
        stage(&g, node);
        g.r = reload(&g, 20, kept, &kept_count);
        md_release_tick(g.r, g.now);
    }
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    confirm(&g, 10);
    g.r = reload(&g, 20, kept, &kept_count);
    wait_s(&g, 150);
    g.r = reload(&g, 20, kept, &kept_count);
    wait_s(&g, 49);
    expect(&g, MD_PHASE_OPEN, 0, MP_ACTION_OPEN);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    char why[MD_TEXT_MAX];
    memcpy(why, info_of(&g).why, sizeof why);
    g.r = reload(&g, 20, kept, &kept_count);
    md_release_tick(g.r, g.now);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_string_equal(info_of(&g).why, why);
    md_release_free(g.r);
}

static void test_changes_are_marked(void **state)
{
    struct rig g = rig_of(2);
    struct md_release_node node;
    (void)state;
    start(&g, plan);
    assert_true(md_release_pop_changed(g.r, RELEASE));
    assert_false(md_release_pop_changed(g.r, RELEASE));
    while (md_release_pop_node(g.r, &node))
        ;
    stage(&g, 11);
    assert_true(md_release_pop_node(g.r, &node));
    assert_int_equal(node.node, 11);
    assert_int_equal(node.outcome, MD_OUTCOME_STAGED);
    assert_false(md_release_pop_node(g.r, &node));
    md_release_touch(g.r);
    assert_true(md_release_pop_changed(g.r, RELEASE));
    assert_true(md_release_pop_node(g.r, &node));
    assert_true(md_release_pop_node(g.r, &node));
    assert_false(md_release_pop_node(g.r, &node));
    md_release_free(g.r);
}

static void test_decisions_tell_the_story(void **state)
{
    static const enum md_decision_kind kinds[] = {MD_DECISION_STARTED, MD_DECISION_OPENED, MD_DECISION_SOAKING,
                                                  MD_DECISION_PASSED};
    struct rig g = rig_of(2);
    struct md_decision d;
    (void)state;
    start(&g, "roll-call=none confirm=30; canary: label=0 soak=20 deadline=200; all: share=100%");
    pass_canary(&g);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_true(md_release_decision(g.r, &d));
        assert_int_equal(d.kind, kinds[i]);
        assert_int_equal(d.release, RELEASE);
        assert_true(d.text[0]);
    }
    assert_int_equal(d.counts.confirmed, 2);
    assert_string_equal(d.text,
                        "ring canary passed: 2 of 2 nodes confirmed, 0 failed, 0 silent, 0 open, limit 0, soaked 20 s");
    md_release_free(g.r);
}

static void test_hostile_calls(void **state)
{
    struct rig g = rig_of(2);
    struct mp_report report = {.node = 4711};
    struct md_fact fact = {.node = 0};
    struct md_want want;
    struct md_counts c;
    (void)state;
    assert_int_equal(md_release_report(g.r, g.now, &report), MP_ERR_ABSENT);
    assert_int_equal(md_release_node(g.r, g.now, &fact), MP_ERR_FORMAT);
    fact = (struct md_fact){.node = 5, .hw_revision = 32};
    assert_int_equal(md_release_node(g.r, g.now, &fact), MP_ERR_FORMAT);
    assert_int_equal(md_release_want(g.r, RELEASE, &want), MP_ERR_ABSENT);
    start(&g, plan);
    assert_int_equal(md_release_counts(g.r, RELEASE, 3, &c), MP_ERR_ABSENT);
    /* phases that contradict each other */
    for (unsigned phase = 0; phase < MP_PHASE_COUNT; phase++)
        for (uint16_t running = 0; running < 6; running++)
            for (uint16_t target = 0; target < 6; target++) {
                report = (struct mp_report){.node = 10, .running = running, .target = target, .phase = (uint8_t)phase};
                assert_int_equal(md_release_report(g.r, g.now, &report), 0);
                md_release_tick(g.r, g.now);
            }
    md_release_free(g.r);
}

/* --- policy
 * ----------------------------------------------------------------------------------------------------------- */

static int lookup(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "canary") == 0 ? 3 : -1;
}

/* --- the roll call ------------------------------------------------------------------------------------------------ */

static const char calling[] =
    "roll-call=60 spread=10 confirm=30 stage-deadline=100; canary: label=0 soak=20 deadline=200 "
    "min-reports=2; all: share=100% soak=10 deadline=200 max-failures=1";

/* Both canaries confirmed and soaked: the roll is called. */
static void call_canaries(struct rig *g)
{
    start(g, calling);
    for (unsigned i = 10; i < 12; i++) {
        stage(g, i);
        confirm(g, i);
    }
    assert_int_equal(want_of(g).flags, 0);
    wait_s(g, 20);
    expect(g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    assert_int_equal(want_of(g).flags, MP_DIRECTIVE_ROLL_CALL);
    expect_why(g, "2 nodes that confirmed are called, 60 s to answer");
}

static void test_everybody_answers_the_roll_call(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    assert_true(md_release_next_expiry(g.r) == g.now + 60000);
    confirm(&g, 10);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    confirm(&g, 11);
    /* no directive is signed for the end of a roll call */
    expect(&g, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    assert_int_equal(want_of(&g).flags, MP_DIRECTIVE_ROLL_CALL);
    for (uint32_t node = 12; node < 30; node++)
        stage(&g, node);
    expect(&g, MD_PHASE_OPEN, 1, MP_ACTION_OPEN);
    assert_int_equal(want_of(&g).flags, 0);
    for (uint32_t node = 12; node < 30; node++)
        confirm(&g, node);
    wait_s(&g, 10);
    expect(&g, MD_PHASE_SOAKING, 1, MP_ACTION_OPEN);
    expect_why(&g, "20 nodes that confirmed are called");
    for (uint32_t node = 10; node < 28; node++)
        confirm(&g, node);
    expect(&g, MD_PHASE_SOAKING, 1, MP_ACTION_OPEN);
    /* the limit is one: whatever became of the last node does not matter */
    confirm(&g, 28);
    expect(&g, MD_PHASE_DONE, 1, MP_ACTION_OPEN);
    expect_why(&g, "done: 20 of 20 nodes run");
    assert_int_equal(want_of(&g).flags, 0);
    assert_true(md_release_next_expiry(g.r) == MD_NEVER_MS);
    md_release_free(g.r);
}

static void test_dead_canary_is_missed(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    confirm(&g, 10);
    wait_s(&g, 59);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_string_equal(info_of(&g).why,
                        "held at ring canary: 1 of 2 nodes did not answer the roll call within 60 s, limit 0");
    assert_int_equal(want_of(&g).flags, 0);
    md_release_free(g.r);
}

static uint8_t outcome_of(const struct rig *g, uint32_t i)
{
    struct md_release_node m;
    assert_int_equal(md_release_member(g->r, RELEASE, i, &m), 0);
    return m.outcome;
}

/* A report of before the call is none, however often it is fed; a later one is, whatever it says. */
static void test_only_a_new_report_answers(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, calling);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    struct mp_report old = {
        .node = 11, .serial = next_serial++, .running = RELEASE, .target = RELEASE, .phase = MP_PHASE_CONFIRMED};
    assert_int_equal(md_release_report(g.r, g.now, &old), 0);
    md_release_tick(g.r, g.now);
    wait_s(&g, 20);
    confirm(&g, 10);
    assert_int_equal(md_release_report(g.r, g.now, &old), 0);
    struct md_fact fact = fact_of(11);
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    wait_s(&g, 60);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_int_equal(outcome_of(&g, 1), MD_OUTCOME_SILENT);
    assert_int_equal(md_release_report(g.r, g.now, &old), 0);
    assert_int_equal(md_release_node(g.r, g.now, &fact), 0);
    assert_int_equal(outcome_of(&g, 1), MD_OUTCOME_SILENT);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    assert_int_equal(md_release_report(g.r, g.now, &old), 0);
    assert_int_equal(outcome_of(&g, 1), MD_OUTCOME_WAIVED);
    wait_s(&g, 0);
    expect(&g, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    /* late, and about another update */
    say(&g, 11, RELEASE, RELEASE + 1, MP_PHASE_FETCHING, MP_REASON_NONE);
    assert_int_equal(outcome_of(&g, 1), MD_OUTCOME_CONFIRMED);
    md_release_free(g.r);
}

static void test_late_answer_heals(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    wait_s(&g, 60);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    confirm(&g, 10);
    confirm(&g, 11);
    assert_int_equal(outcome_of(&g, 0), MD_OUTCOME_CONFIRMED);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    wait_s(&g, 0);
    expect(&g, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    struct md_counts c;
    assert_int_equal(md_release_counts(g.r, RELEASE, 0, &c), 0);
    assert_int_equal(c.confirmed, 2);
    md_release_free(g.r);
}

/* A canary that dies in the second ring's time is missed at the second ring's end. */
static void test_rings_before_are_called_again(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    confirm(&g, 10);
    confirm(&g, 11);
    for (uint32_t node = 12; node < 30; node++) {
        stage(&g, node);
        confirm(&g, node);
    }
    wait_s(&g, 100);
    for (uint32_t node = 11; node < 30; node++)
        confirm(&g, node);
    wait_s(&g, 10);
    for (uint32_t node = 11; node < 30; node++)
        confirm(&g, node);
    expect(&g, MD_PHASE_SOAKING, 1, MP_ACTION_OPEN);
    wait_s(&g, 60);
    expect(&g, MD_PHASE_HELD, 1, MP_ACTION_HOLD);
    expect_why(&g, "held at ring canary: 1 of 2 nodes did not answer");
    md_release_free(g.r);
}

/* Held in the middle: its time stands still, and the resumed directive asks again. */
static void test_roll_call_over_a_hold(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    wait_s(&g, 50);
    assert_int_equal(md_release_hold(g.r, g.now, RELEASE, "ann"), 0);
    wait_s(&g, 1000);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    wait_s(&g, 0);
    assert_int_equal(want_of(&g).flags, MP_DIRECTIVE_ROLL_CALL);
    assert_true(md_release_next_expiry(g.r) == g.now + 10000);
    wait_s(&g, 9);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    assert_int_equal(md_release_advance(g.r, g.now, RELEASE, "ann"), 0);
    wait_s(&g, 50);
    expect(&g, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_roll_call_over_a_restart(void **state)
{
    static struct md_release_node kept[64];
    unsigned count = 0;
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    g.r = reload(&g, 20, kept, &count);
    md_release_tick(g.r, g.now);
    assert_int_equal(want_of(&g).flags, MP_DIRECTIVE_ROLL_CALL);
    confirm(&g, 10);
    g.r = reload(&g, 20, kept, &count);
    wait_s(&g, 59);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    assert_int_equal(outcome_of(&g, 0), MD_OUTCOME_CONFIRMED);
    g.r = reload(&g, 20, kept, &count);
    wait_s(&g, 1);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    g.r = reload(&g, 20, kept, &count);
    assert_int_equal(outcome_of(&g, 0), MD_OUTCOME_CONFIRMED);
    assert_int_equal(outcome_of(&g, 1), MD_OUTCOME_SILENT);
    confirm(&g, 11);
    assert_int_equal(outcome_of(&g, 1), MD_OUTCOME_CONFIRMED);
    md_release_free(g.r);
}

/* The gateway did not listen for a while: the call goes on for as much longer, and the soak is not begun again. */
static void test_roll_call_over_a_gap(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    call_canaries(&g);
    wait_s(&g, 50);
    md_release_gap(g.r, g.now, 30000);
    md_release_tick(g.r, g.now);
    assert_true(md_release_next_expiry(g.r) == g.now + 40000);
    confirm(&g, 10);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    confirm(&g, 11);
    expect(&g, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    md_release_free(g.r);
}

/* What a version without roll calls had stored goes on without them. */
static void test_older_state_is_read(void **state)
{
    uint8_t blob[MD_RELEASE_STATE_MAX];
    struct rig g = rig_of(20), old = rig_of(20);
    (void)state;
    start(&g, plan);
    pass_canary(&g);
    int len = md_release_save(g.r, RELEASE, blob, sizeof blob);
    assert_true(len > 0);
    const size_t policy_at = 1 + 4 + 4 + 1 + 22 + 2 + 2 + 4 + 4, called_at = (size_t)len - MD_TEXT_MAX - 1 - 8;
    memmove(blob + called_at, blob + called_at + 8, (size_t)len - called_at - 8);
    memmove(blob + policy_at, blob + policy_at + 4, (size_t)len - policy_at - 12);
    blob[0] = 1;
    assert_int_equal(md_release_load(old.r, blob, (size_t)len - 12), 0);
    old.now = g.now;
    expect(&old, MD_PHASE_STAGING, 1, MP_ACTION_OPEN);
    assert_int_equal(info_of(&old).config->policy.roll_call_s, 0);
    assert_string_equal(info_of(&old).why, info_of(&g).why);
    blob[0] = 0;
    assert_int_equal(md_release_load(old.r, blob, (size_t)len - 12), MP_ERR_FORMAT);
    md_release_free(g.r);
    md_release_free(old.r);
}

/* A stored state whose revert names more manifests than a directive has room for, or fewer than the release has. */
static void test_stored_revert_that_cannot_be(void **state)
{
    const uint8_t to[3][8] = {{9, 1}, {9, 2}, {9, 3}};
    uint8_t blob[MD_RELEASE_STATE_MAX];
    struct rig g = rig_of(2);
    (void)state;
    g.config = config_of(RELEASE, plan);
    for (uint8_t i = 1; i < 3; i++)
        g.config.image[g.config.image_count++] = (struct md_release_image){{7, i}, 1, (uint16_t)(100 + i), 1, 1};
    assert_int_equal(md_release_start(g.r, g.now, &g.config, "ann", NULL, 0), 0);
    assert_int_equal(md_release_revert(g.r, g.now, RELEASE, 2, to, 3, "ann"), 0);
    int len = md_release_save(g.r, RELEASE, blob, sizeof blob);
    assert_true(len > 0);
    /* images: 22 bytes each behind format, release, salt and count; "to" lies before the text */
    const size_t image_at = 1 + 4 + 4 + 1, to_at = (size_t)len - MD_TEXT_MAX - 3 * 8;
    assert_int_equal(blob[image_at - 1], 3);
    assert_int_equal(blob[to_at - 1], 3);
    struct md_release *r = md_release_new(crypto_sodium());
    assert_non_null(r);
    assert_int_equal(md_release_load(r, blob, (size_t)len), 0);
    md_release_free(r);
    r = md_release_new(crypto_sodium());
    assert_non_null(r);
    /* five images more */
    uint8_t more[MD_RELEASE_STATE_MAX];
    const size_t extra = (size_t)5 * 22;
    memcpy(more, blob, image_at);
    for (uint8_t i = 0; i < 5; i++)
        memset(more + image_at + (size_t)i * 22, 50 + i, 22);
    memcpy(more + image_at + extra, blob + image_at, (size_t)len - image_at);
    more[image_at - 1] = 8;
    assert_int_equal(md_release_load(r, more, (size_t)len + extra), MP_ERR_FORMAT);
    /* two manifests fewer, then none */
    for (size_t gone = 2; gone <= 3; gone++) {
        memcpy(more, blob, to_at);
        more[to_at - 1] = (uint8_t)(3 - gone);
        memcpy(more + to_at + (3 - gone) * 8, blob + to_at + (size_t)3 * 8, MD_TEXT_MAX);
        assert_int_equal(md_release_load(r, more, (size_t)len - gone * 8), MP_ERR_FORMAT);
    }
    md_release_free(r);
    md_release_free(g.r);
}

/* Nobody is asked where no answer could change anything. */
static void test_roll_call_that_cannot_matter(void **state)
{
    struct rig g = rig_of(4);
    (void)state;
    start(&g, "confirm=10; all: share=100% soak=5 deadline=100 max-failures=any");
    for (uint32_t node = 10; node < 14; node++)
        stage(&g, node);
    confirm(&g, 10);
    wait_s(&g, 5);
    expect(&g, MD_PHASE_DONE, 0, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_reset_in_service_is_failure(void **state)
{
    struct rig g = rig_of(20);
    (void)state;
    start(&g, calling);
    stage(&g, 10);
    stage(&g, 11);
    confirm(&g, 10);
    confirm(&g, 11);
    say(&g, 10, RELEASE, RELEASE, MP_PHASE_CONFIRMED, MP_REASON_KEYS_FROZEN);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    say(&g, 10, RELEASE, RELEASE, MP_PHASE_CONFIRMED, MP_REASON_WATCHDOG);
    expect(&g, MD_PHASE_HELD, 0, MP_ACTION_HOLD);
    assert_string_equal(info_of(&g).why, "held at ring canary: 1 of 2 nodes reset in service (watchdog), limit 0");
    /* what it says of another update does not mend it; an operator waives it, and a roll call does not bring it back */
    say(&g, 10, RELEASE, RELEASE + 1, MP_PHASE_FETCHING, MP_REASON_NONE);
    assert_int_equal(outcome_of(&g, 0), MD_OUTCOME_FAILED);
    assert_int_equal(md_release_resume(g.r, g.now, RELEASE, "ann"), 0);
    say(&g, 10, RELEASE, RELEASE, MP_PHASE_CONFIRMED, MP_REASON_WATCHDOG);
    assert_int_equal(outcome_of(&g, 0), MD_OUTCOME_WAIVED);
    expect(&g, MD_PHASE_SOAKING, 0, MP_ACTION_OPEN);
    md_release_free(g.r);
}

static void test_policy_text(void **state)
{
    struct md_policy p, again;
    char error[200], text[MD_POLICY_TEXT_MAX];
    (void)state;
    assert_int_equal(md_policy_parse(&p,
                                     "# rings of the north\nspread=2m confirm=90 cap=40\n"
                                     "canary: label=canary label=5 soak=1h deadline=1d max-failures=any\n"
                                     "half:share=12.5% max-failures-percent=0.5%;all: share=10000",
                                     lookup, NULL, error, sizeof error),
                     0);
    assert_int_equal(p.ring_count, 3);
    assert_int_equal(p.spread_s, 120);
    assert_int_equal(p.cap, 40);
    assert_int_equal(p.roll_call_s, MD_ROLL_CALL_S);
    assert_int_equal(p.ring[0].labels, 1 << 3 | 1 << 5);
    assert_int_equal(p.ring[0].soak_s, 3600);
    assert_int_equal(p.ring[0].deadline_s, 86400);
    assert_int_equal(p.ring[0].max_failures, MD_UNLIMITED);
    assert_int_equal(p.ring[1].share, 1250);
    assert_int_equal(p.ring[1].max_failures_bp, 50);
    assert_int_equal(p.ring[2].share, 10000);
    assert_true(md_policy_format(&p, text, sizeof text) > 0);
    assert_int_equal(md_policy_parse(&again, text, NULL, NULL, error, sizeof error), 0);
    assert_memory_equal(&p, &again, sizeof p);
    assert_int_equal(md_policy_format(&p, text, 20), MP_ERR_ROOM);
}

static void test_longest_policy_fits(void **state)
{
    struct md_policy p;
    char text[MD_POLICY_TEXT_MAX];
    (void)state;
    md_policy_init(&p);
    p.cap = MD_UNLIMITED - 1;
    p.stage_deadline_s = UINT32_MAX;
    for (unsigned i = 0; i < MD_RINGS_MAX; i++) {
        struct md_ring_policy *ring = md_policy_add(&p, "abcdefghijklmnopqrstuvw");
        ring->labels = 0xFFFF;
        ring->share = 9999;
        ring->soak_s = ring->deadline_s = ring->min_reports = UINT32_MAX;
        ring->max_failures = UINT32_MAX - 1;
        ring->max_failures_bp = 9999;
    }
    assert_null(md_policy_add(&p, "x"));
    assert_true(md_policy_format(&p, text, sizeof text) > 0);
}

static void test_policy_refusals(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "1 to 8 rings"},
        {"spread=1", "1 to 8 rings"},
        {"a: share=50%; a: share=60%", "named twice"},
        {"a: share=50%; b: share=40%", "below that of the ring before"},
        {"a: share=50%; b: share=50%", "adds neither"},
        {"a: label=1; b: label=1", "adds neither"},
        {"a: label=16", "cannot be"},
        {"a: label=nobody", "cannot be"},
        {"a: share=101%", "cannot be"},
        {"a: share=10.%", "cannot be"},
        {"a: share=-1", "cannot be"},
        {"a: share=10 soak=1w", "cannot be"},
        {"a: share=10 soak=999999999", "cannot be"},
        {"a: share=10 deadline=60", "deadline 60 s is not above"},
        {"a: share=10 what=1", "unknown"},
        {"a: share=10 b: share=20", "';' is missing"},
        {"a: share", "neither"},
        {": share=1", "no ring name"},
        {"a/b: share=1", "no ring name"},
        {"abcdefghijklmnopqrstuvwxyz: share=1", "no ring name"},
        {"cap=0; a: share=1", "cap of 0"},
        {"roll-call=0; a: share=1", "cannot be"},
        {"roll-call=never; a: share=1", "cannot be"},
        {"roll-call=30 spread=40; a: share=1", "roll call 30 s is not above the 40 s"},
        {"roll-call=60 spread=200; a: share=1", "roll call 60 s is not above the 60 s"},
        {"confirm=0; a: share=1", "confirm window"},
        {"confirm=3601; a: share=1", "cannot be"},
        {"a:share=1;b:share=2;c:share=3;d:share=4;e:share=5;f:share=6;g:share=7;h:share=8;i:share=9", "more than 8"},
    };
    struct md_policy p;
    char error[200];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        error[0] = '\0';
        assert_int_equal(md_policy_parse(&p, cases[i].text, NULL, NULL, error, sizeof error), MP_ERR_FORMAT);
        if (!strstr(error, cases[i].says))
            fail_msg("\"%s\" gave \"%s\"", cases[i].text, error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_rollout),
        cmocka_unit_test(test_bad_canary_holds),
        cmocka_unit_test(test_refusal_while_staging_holds),
        cmocka_unit_test(test_refusal_of_a_later_ring_waits),
        cmocka_unit_test(test_silence_is_failure),
        cmocka_unit_test(test_stage_deadline_opens_all_the_same),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_percent_limit),
        cmocka_unit_test(test_worst_case_passes_early),
        cmocka_unit_test(test_minimum_of_reports),
        cmocka_unit_test(test_empty_ring_never_passes),
        cmocka_unit_test(test_retired_leave_the_denominator),
        cmocka_unit_test(test_only_addressed_nodes_count),
        cmocka_unit_test(test_already_running),
        cmocka_unit_test(test_late_joiner),
        cmocka_unit_test(test_deferred_is_not_an_outcome),
        cmocka_unit_test(test_failure_stands_until_retried),
        cmocka_unit_test(test_operator_hold_and_resume),
        cmocka_unit_test(test_soak_goes_on_after_a_hold),
        cmocka_unit_test(test_resume_waives),
        cmocka_unit_test(test_advance),
        cmocka_unit_test(test_waived_stays_waived_when_fed_again),
        cmocka_unit_test(test_revert),
        cmocka_unit_test(test_revert_deadline),
        cmocka_unit_test(test_foreign_gateway),
        cmocka_unit_test(test_hold_directive_carries_its_own_floor),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_cap_against_labels),
        cmocka_unit_test(test_gap_moves_deadlines),
        cmocka_unit_test(test_clock_never_goes_back),
        cmocka_unit_test(test_several_rollouts),
        cmocka_unit_test(test_several_models),
        cmocka_unit_test(test_override_flag),
        cmocka_unit_test(test_restart_after_every_step),
        cmocka_unit_test(test_changes_are_marked),
        cmocka_unit_test(test_decisions_tell_the_story),
        cmocka_unit_test(test_hostile_calls),
        cmocka_unit_test(test_everybody_answers_the_roll_call),
        cmocka_unit_test(test_dead_canary_is_missed),
        cmocka_unit_test(test_only_a_new_report_answers),
        cmocka_unit_test(test_late_answer_heals),
        cmocka_unit_test(test_rings_before_are_called_again),
        cmocka_unit_test(test_roll_call_over_a_hold),
        cmocka_unit_test(test_roll_call_over_a_restart),
        cmocka_unit_test(test_roll_call_over_a_gap),
        cmocka_unit_test(test_older_state_is_read),
        cmocka_unit_test(test_stored_revert_that_cannot_be),
        cmocka_unit_test(test_roll_call_that_cannot_matter),
        cmocka_unit_test(test_reset_in_service_is_failure),
        cmocka_unit_test(test_policy_text),
        cmocka_unit_test(test_longest_policy_fits),
        cmocka_unit_test(test_policy_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
