/*
 * Simulated nodes, with the real field, engine, radio, gateway and release engine: whole updates, every kind of bad
 * image, clocks, checkpoints, networks. tests/unit/test_sim_gateway.c looks at the gateway's side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim_fleet_world.h"

#define SECONDS(n) ((sim_time)(n)*1000000u)

static const char line_text[] =
    "[scenario]\nname = line\nseed = 11\n"
    "[topology]\nkind = line\nnodes = %u\nreach = neighbours\n"
    "[run]\nduration = 2 h\n"
    "[fleet]\nsize = 4 KB\ncanaries = 1\n%s\n"
    "[release 2]\nat = 5 s\nsize = %u B\npolicy = all: share=100%% soak=10s max-failures=any\n%s\n"
    "[life]\n%s\n";

static void open_line(struct sim_fleet_world *w, unsigned nodes, const char *fleet, unsigned size, const char *release,
                      const char *life)
{
    char text[1200];

    assert_true(snprintf(text, sizeof text, line_text, nodes, fleet, size, release,
                         life[0] != 0 ? life : "boot = 2 s") < (int)sizeof text);
    sim_fleet_world_open(w, text);
}

static void advance(struct sim_fleet_world *w, sim_time until)
{
    if (sim_engine_advance(w->e, until) != 0)
        fail_msg("%s", sim_engine_error(w->e));
}

/* --- updates ------------------------------------------------------------------------------------------------------ */

/* What a good update says of a node, in this order and once. */
static void expect_update(const struct sim_fleet_world *w, uint32_t node)
{
    static const enum sim_row_kind order[] = {SIM_ROW_COMPLETE, SIM_ROW_RESET, SIM_ROW_INSTALLED, SIM_ROW_CONFIRMED};
    const struct sim_row *before = NULL;

    for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
        const struct sim_row *row = sim_fleet_world_find(w, node, order[i]);
        assert_non_null(row);
        assert_int_equal(sim_fleet_world_count(w, node, order[i]), 1);
        assert_true(before == NULL || before->at <= row->at);
        if (order[i] != SIM_ROW_RESET)
            assert_int_equal(row->a, 2);
        before = row;
    }
    assert_int_equal(sim_fleet_world_find(w, node, SIM_ROW_RESET)->b, BOOT_CAUSE_REQUEST);
    assert_int_equal(sim_fleet_world_count(w, node, SIM_ROW_ROLLED_BACK), 0);
}

static void five_nodes_are_updated(void **state)
{
    struct sim_fleet_world w;

    (void)state;
    open_line(&w, 5, "", 9000, "", "boot = 2 s\nselftest = 1 s");
    advance(&w, SECONDS(300));
    for (uint32_t node = 1; node < 5; node++)
        expect_update(&w, node);
    assert_int_equal(sim_fleet_rollouts_open(w.f), 0);
    sim_fleet_world_close(&w);
    assert_true(w.summary[0].is_gateway);
    for (uint32_t node = 1; node < 5; node++) {
        const struct sim_node_summary *s = &w.summary[node];
        assert_int_equal(s->release, 2);
        assert_int_equal(s->is_down, 0);
        assert_int_equal(s->hops, node);
        assert_int_equal(s->complete_at, sim_fleet_world_find(&w, node, SIM_ROW_COMPLETE)->at);
        assert_int_equal(s->confirmed_at, sim_fleet_world_find(&w, node, SIM_ROW_CONFIRMED)->at);
        assert_true(s->installed_at >= sim_fleet_world_find(&w, node, SIM_ROW_RESET)->at + SECONDS(2));
        assert_true(s->confirmed_at >= s->installed_at + SECONDS(1));
        assert_true(s->complete_at > w.summary[node - 1].complete_at || node == 1);
    }
}

/* Two releases, one after the other: the slots change places twice. */
static void a_second_update_goes_to_the_other_slot(void **state)
{
    struct sim_fleet_world w;

    (void)state;
    open_line(&w, 2, "", 3000, "[release 3]\nat = 60 s\nsize = 5000 B\npolicy = all: share=100% soak=10s",
              "boot = 1 s");
    advance(&w, SECONDS(180));
    sim_fleet_enter(w.f, 1, SECONDS(180));
    assert_int_equal(w.f->m->running, 0);
    assert_int_equal(w.f->m->sealed, 3);
    assert_int_equal(w.f->images.image[w.f->m->image[0]].manifest.release, 3);
    assert_int_equal(w.f->images.image[w.f->m->image[1]].manifest.release, 2);
    assert_int_equal(sim_fleet_world_count(&w, 1, SIM_ROW_CONFIRMED), 2);
    sim_fleet_world_close(&w);
    assert_int_equal(w.summary[1].release, 3);
}

/* Nodes of two models between each other: each gets its own image, passed on by those that cannot use it. */
static void models_get_their_own_images(void **state)
{
    struct sim_fleet_world w;
    unsigned relays = 0, of[2] = {0, 0};

    (void)state;
    open_line(&w, 8, "models = 2", 6000, "", "");
    advance(&w, SECONDS(900));
    for (uint32_t node = 1; node < 8; node++) {
        sim_fleet_enter(w.f, node, SECONDS(900));
        expect_update(&w, node);
        assert_int_equal(w.f->images.image[w.f->m->image[w.f->m->running]].manifest.model, sim_fleet_model(w.f, node));
        of[sim_fleet_model(w.f, node) - 1]++;
    }
    relays = w.f->relays.count - 1;
    assert_true(of[0] > 0 && of[1] > 0);
    assert_true(relays > 0 && relays < 8); /* only those that relayed have a cache */
    sim_fleet_world_close(&w);
}

/* --- bad images --------------------------------------------------------------------------------------------------- */

/* A release that the trial catches: tried three times, given up, never confirmed. */
static void expect_fallback(const char *fault, enum boot_cause cause, enum mp_reason reason, sim_time until)
{
    struct sim_fleet_world w;
    char release[128];

    snprintf(release, sizeof release, "on_hold = stop\nfault = %s", fault);
    open_line(&w, 3, "", 3000, release, "boot = 1 s");
    advance(&w, until);
    for (uint32_t node = 1; node < 3; node++) {
        const struct sim_row *row = sim_fleet_world_find(&w, node, SIM_ROW_ROLLED_BACK);
        unsigned resets = 0;
        assert_non_null(row);
        assert_int_equal(row->a, 2);
        assert_int_equal(row->b, reason);
        assert_int_equal(sim_fleet_world_count(&w, node, SIM_ROW_ROLLED_BACK), 1);
        assert_int_equal(sim_fleet_world_count(&w, node, SIM_ROW_INSTALLED), 1);
        assert_int_equal(sim_fleet_world_count(&w, node, SIM_ROW_CONFIRMED), 0);
        for (unsigned i = 0; i < w.rows; i++)
            resets += w.row[i].node == node && w.row[i].kind == SIM_ROW_RESET && w.row[i].b == (uint32_t)cause;
        assert_int_equal(resets, BOOT_TRIES);
        sim_fleet_enter(w.f, node, until);
        assert_true(w.f->n->has_failed);
        assert_int_equal(w.f->n->failed_release, 2);
        assert_int_equal(w.f->m->alarm_kind, SIM_ALARM_NONE);
    }
    sim_fleet_world_close(&w);
    assert_int_equal(w.summary[1].release, 1);
    assert_int_equal(w.summary[2].release, 1);
}

static void crash_falls_back(void **state)
{
    (void)state;
    expect_fallback("crash", BOOT_CAUSE_CRASH, MP_REASON_CRASHED, SECONDS(120));
}

static void selftest_falls_back(void **state)
{
    (void)state;
    expect_fallback("selftest", BOOT_CAUSE_SELFTEST, MP_REASON_SELFTEST, SECONDS(120));
}

static void hang_falls_back(void **state)
{
    (void)state;
    expect_fallback("hang", BOOT_CAUSE_WATCHDOG, MP_REASON_WATCHDOG, SECONDS(120));
}

static void mute_falls_back(void **state)
{
    (void)state;
    expect_fallback("mute", BOOT_CAUSE_MUTE, MP_REASON_MUTE, SECONDS(2000));
}

static void brick_shows_after_it_was_confirmed(void **state)
{
    struct sim_fleet_world w;

    (void)state;
    open_line(&w, 3, "", 3000, "fault = brick\nfault_after = 30 s", "boot = 1 s");
    advance(&w, SECONDS(1200));
    for (uint32_t node = 1; node < 3; node++) {
        const struct sim_row *down = sim_fleet_world_find(&w, node, SIM_ROW_DOWN);
        expect_update(&w, node);
        assert_non_null(down);
        assert_int_equal(down->b, SIM_DOWN_BRICK);
        assert_true(down->at > sim_fleet_world_find(&w, node, SIM_ROW_CONFIRMED)->at);
        sim_fleet_enter(w.f, node, SECONDS(1200));
        assert_true(w.f->m->next == SIM_NEVER);
    }
    sim_fleet_world_close(&w);
    assert_int_equal(w.summary[1].is_down, SIM_DOWN_BRICK);
    assert_int_equal(w.summary[1].release, 2);
}

static void degraded_nodes_reset_now_and_then(void **state)
{
    struct sim_fleet_world w;
    unsigned crashes = 0;

    (void)state;
    open_line(&w, 3, "", 3000, "fault = degrade\nfault_after = 30 s", "boot = 1 s");
    advance(&w, SECONDS(7000));
    for (uint32_t node = 1; node < 3; node++) {
        const struct sim_row *degraded = sim_fleet_world_find(&w, node, SIM_ROW_DEGRADED);
        assert_non_null(degraded);
        assert_int_equal(degraded->a, 2);
        assert_int_equal(sim_fleet_world_count(&w, node, SIM_ROW_DEGRADED), 1);
        assert_int_equal(sim_fleet_world_count(&w, node, SIM_ROW_ROLLED_BACK), 0);
        for (unsigned i = 0; i < w.rows; i++) {
            if (w.row[i].node != node || w.row[i].kind != SIM_ROW_RESET || w.row[i].b != BOOT_CAUSE_CRASH)
                continue;
            assert_true(w.row[i].at > degraded->at);
            crashes++;
        }
    }
    assert_true(crashes >= 8 && crashes <= 50); /* 23 on average */
    sim_fleet_world_close(&w);
}

/* The same nodes fail whatever else happens, about as many as asked for, and of one revision only. */
static void faults_are_drawn_once_a_node(void **state)
{
    struct sim_fleet_world w;
    unsigned failed = 0;

    (void)state;
    open_line(&w, 40, "hw_revisions = 2", 400, "fault = crash\nfault_revision = 2\nfault_probability = 50 %", "");
    advance(&w, SECONDS(400));
    for (uint32_t node = 1; node < 40; node++) {
        unsigned back = sim_fleet_world_count(&w, node, SIM_ROW_ROLLED_BACK);
        assert_true(back == 0 || sim_fleet_revision(w.f, node) == 2);
        failed += back;
    }
    assert_true(failed >= 4 && failed <= 16); /* a quarter of 39 */
    sim_fleet_world_close(&w);
}

/* --- clocks ------------------------------------------------------------------------------------------------------- */

static void clocks_turn_both_ways(void **state)
{
    static const int32_t drifts[] = {0, 1, -1, 21990232, -21990232, 1099511628, -1099511628};
    static const uint64_t times[] = {0, 1, 999, 1000000, 3600000000, 604800000000, 604800000001, 31536000000000};

    (void)state;
    for (unsigned d = 0; d < sizeof drifts / sizeof drifts[0]; d++) {
        struct sim_member m = {.drift_q40 = drifts[d]};
        assert_true(sim_clock_engine(&m, MP_NEVER) == SIM_NEVER);
        for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++) {
            for (uint64_t t = times[i]; t < times[i] + 3000; t += 7) {
                sim_time at = sim_clock_engine(&m, t);
                assert_true(sim_clock_local(&m, at) >= t);
                assert_true(at == 0 || sim_clock_local(&m, at - 1) < t);
                assert_true(sim_clock_local(&m, t + 1) >= sim_clock_local(&m, t));
            }
        }
    }
    struct sim_member fast = {.drift_q40 = 1099511628}; /* 1000 ppm */

    assert_true(sim_clock_local(&fast, 1000000000) == 1001000000 || sim_clock_local(&fast, 1000000000) == 1000999999);
}

static void drift_is_within_its_bound(void **state)
{
    struct sim_fleet_world w;
    int fast = 0, slow = 0;

    (void)state;
    open_line(&w, 40, "", 400, "", "drift = 50 ppm");
    for (uint32_t node = 0; node < 40; node++) {
        const struct sim_member *m = &w.f->member[node];
        mp_time hour = sim_clock_local(m, SECONDS(3600));
        assert_true(hour >= SECONDS(3600) - 180000 && hour <= SECONDS(3600) + 180000);
        fast += hour > SECONDS(3600) + 18000;
        slow += hour < SECONDS(3600) - 18000;
    }
    assert_true(fast > 5 && slow > 5);
    sim_fleet_world_close(&w);
}

/* The logarithm in integers: mean and median of many draws. */
static void exponential_draws(void **state)
{
    uint64_t sum = 0;
    unsigned below = 0;

    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        sim_time t = sim_fleet_exponential(1000000, i * 65536u + 32768u);
        sum += t;
        below += t < 693147;
    }
    assert_true(sum / 65536 > 998000 && sum / 65536 < 1002000);
    assert_true(below > 32600 && below < 32940);
    assert_true(sim_fleet_exponential(0, 5) == 1);
    assert_true(sim_fleet_exponential(SECONDS(86400) * 365, 0) > SECONDS(86400) * 365 * 22);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static void expect_same(const struct sim_totals *a, const struct sim_totals *b)
{
    assert_memory_equal(a->digest, b->digest, sizeof a->digest);
    assert_memory_equal(a->frames, b->frames, sizeof a->frames);
    assert_memory_equal(a->outcome, b->outcome, sizeof a->outcome);
}

/* Interrupted in the middle of a fetch, with models, faults, drift and resets, at `at`; equal to one that was not. */
static void resume_at(sim_time at)
{
    static const char release[] = "fault = hang\nfault_probability = 30 %";
    static const char life[] = "boot = 1 s\nreboot_every = 120 s";
    struct sim_fleet_world whole, first, second;
    struct sim_totals a, b;
    char path[64], error[128];

    snprintf(path, sizeof path, "/tmp/test-sim-fleet-%ld", (long)getpid());
    open_line(&whole, 6, "models = 2", 8000, release, life);
    advance(&whole, SECONDS(200));
    sim_engine_totals(whole.e, &a);

    open_line(&first, 6, "models = 2", 8000, release, life);
    advance(&first, at);
    struct sim_archive *archive = sim_archive_create(path, error, sizeof error);
    assert_non_null(archive);
    assert_int_equal(sim_engine_save(first.e, archive), 0);
    assert_int_equal(sim_archive_close(archive, error, sizeof error), 0);

    open_line(&second, 6, "models = 2", 8000, release, life);
    archive = sim_archive_open(path, error, sizeof error);
    assert_non_null(archive);
    if (sim_engine_load(second.e, archive) != 0)
        fail_msg("the checkpoint is not read: %s", sim_engine_error(second.e));
    assert_int_equal(sim_archive_close(archive, error, sizeof error), 0);
    second.rows = 0;
    advance(&second, SECONDS(200));
    sim_engine_totals(second.e, &b);
    expect_same(&a, &b);
    sim_fleet_world_close(&whole);
    sim_fleet_world_close(&first);
    sim_fleet_world_close(&second);
    assert_int_equal(first.rows + second.rows, whole.rows);
    for (unsigned i = 0; i < second.rows; i++)
        assert_memory_equal(&second.row[i], &whole.row[first.rows + i], sizeof second.row[i]);
    for (uint32_t node = 0; node < 6; node++) {
        const struct sim_node_summary *one = &second.summary[node], *other = &whole.summary[node];
        assert_true(one->complete_at == other->complete_at && one->installed_at == other->installed_at);
        assert_true(one->confirmed_at == other->confirmed_at && one->release == other->release);
        assert_true(one->frames == other->frames && one->energy_uj == other->energy_uj);
        assert_int_equal(one->is_down, other->is_down);
    }
    unlink(path);
}

static void resumed_runs_are_equal(void **state)
{
    (void)state;
    resume_at(SECONDS(1));
    resume_at(SECONDS(7)); /* fetching */
    resume_at(SECONDS(9) + 123457);
    resume_at(SECONDS(60)); /* some on trial */
}

/* --- networks and labels ------------------------------------------------------------------------------------------ */

static void networks_are_divided_by_hops(void **state)
{
    struct sim_fleet_world w;
    unsigned size[2] = {0, 0}, canaries[2] = {0, 0};
    bool taken[2][SIM_WORLD_NODES] = {{false}};

    (void)state;
    sim_fleet_world_open(&w, "[scenario]\nname = two\nseed = 4\n"
                             "[topology]\nkind = disc\nnodes = 60\ndegree = 8\n"
                             "[fleet]\ngateways = 2\nnetworks = own\ncanaries = 3\nsize = 1 KB\n");
    assert_int_equal(w.f->network_count, 2);
    for (uint32_t node = 0; node < 60; node++) {
        uint16_t network = sim_fleet_network(w.f, node), index = sim_fleet_index(w.f, node);
        struct mp_identity id;
        assert_in_range(network, 1, 2);
        assert_true(index < 60 && !taken[network - 1][index]);
        taken[network - 1][index] = true;
        size[network - 1]++;
        canaries[network - 1] += sim_fleet_labels(w.f, node);
        assert_false(sim_fleet_labels(w.f, node) != 0 && sim_fleet_is_gateway(w.f, node));
        sim_fleet_identity(w.f, node, &id);
        assert_int_equal(id.node, node + 1);
        assert_int_equal(id.network, network);
    }
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(canaries[n], 3);
        assert_true(size[n] > 5);
        for (unsigned i = 0; i < size[n]; i++)
            assert_true(taken[n][i]); /* without gaps */
        assert_int_equal(sim_fleet_network(w.f, w.f->gateway[n]), n + 1);
    }
    uint8_t a[16], b[16];

    sim_keys_network(&w.f->keys, 1, a);
    sim_keys_network(&w.f->keys, 2, b);
    assert_memory_not_equal(a, b, 16);
    sim_fleet_world_close(&w);
}

static void too_large_a_network_is_refused(void **state)
{
    static struct sim_fleet_world w;

    (void)state;
    assert_false(sim_fleet_world_try(&w, "[scenario]\nname = large\nseed = 4\n"
                                         "[topology]\nkind = line\nnodes = 65536\nreach = neighbours\n"
                                         "[fleet]\nsize = 1 KB\n"));
    assert_non_null(strstr(w.error, "65535"));
    assert_non_null(strstr(w.error, "networks = own"));
}

/* --- idle load ---------------------------------------------------------------------------------------------------- */

static void the_idle_load_is_one_summary_a_second(void **state)
{
    struct sim_fleet_world w;
    struct sim_totals before, after;
    uint64_t other = 0;

    (void)state;
    sim_fleet_world_open(&w, "[scenario]\nname = idle\nseed = 4\n"
                             "[topology]\nkind = grid\ncolumns = 5\nrows = 4\nreach = neighbours\n"
                             "[run]\nstack = idle-load\nstop = never\nduration = 1 h\n"
                             "[fleet]\nsize = 1 KB\n");
    advance(&w, SECONDS(10));
    sim_engine_totals(w.e, &before);
    advance(&w, SECONDS(70));
    sim_engine_totals(w.e, &after);
    for (unsigned type = 0; type < 16; type++)
        other += type != MP_TYPE_SUMMARY ? after.frames[type] : 0;
    assert_int_equal(other, 0);
    uint64_t summaries = after.frames[MP_TYPE_SUMMARY] - before.frames[MP_TYPE_SUMMARY];

    assert_true(summaries >= 20 * 60 && summaries <= 20 * 60 + 20 * 60 / 50);
    for (uint32_t node = 0; node < 20; node++) {
        struct mp_neighbour_info info;
        assert_true(mp_node_neighbour(&w.f->nf[node].mp, 0, sim_clock_local(&w.f->member[node], SECONDS(70)), &info));
        assert_true(info.age_ms < 5000);
    }
    assert_int_equal(w.rows, 0);
    sim_fleet_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_nodes_are_updated),
        cmocka_unit_test(a_second_update_goes_to_the_other_slot),
        cmocka_unit_test(models_get_their_own_images),
        cmocka_unit_test(crash_falls_back),
        cmocka_unit_test(selftest_falls_back),
        cmocka_unit_test(hang_falls_back),
        cmocka_unit_test(mute_falls_back),
        cmocka_unit_test(brick_shows_after_it_was_confirmed),
        cmocka_unit_test(degraded_nodes_reset_now_and_then),
        cmocka_unit_test(faults_are_drawn_once_a_node),
        cmocka_unit_test(clocks_turn_both_ways),
        cmocka_unit_test(drift_is_within_its_bound),
        cmocka_unit_test(exponential_draws),
        cmocka_unit_test(resumed_runs_are_equal),
        cmocka_unit_test(networks_are_divided_by_hops),
        cmocka_unit_test(too_large_a_network_is_refused),
        cmocka_unit_test(the_idle_load_is_one_summary_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
