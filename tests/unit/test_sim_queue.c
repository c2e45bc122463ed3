/* The event queue against a sorted reference: random workloads of every shape a run has, and some that none should have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/engine/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- reference: a sorted array, least last ------------------------------------------------------------------------ */

#define REFERENCE_MAX 60000

static struct sim_event_key reference[REFERENCE_MAX];
static size_t reference_count;
static uint64_t draws;

static uint32_t draw(uint32_t n)
{
    return sim_scale(sim_draw(7, SIM_DRAW_WORLD, (uint32_t)draws++, 0, 0), n);
}

static int compare(const void *x, const void *y)
{
    const struct sim_event_key *a = x, *b = y;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

static void reference_push(struct sim_event_key event)
{
    size_t low = 0, high = reference_count;
    assert_true(reference_count < REFERENCE_MAX);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(&reference[middle], &event) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(&reference[low + 1], &reference[low], (reference_count - low) * sizeof reference[0]);
    reference[low] = event;
    reference_count++;
}

static void push_both(struct sim_queue *q, sim_time at, uint32_t node, uint32_t kind)
{
    const struct sim_event_key event = {at, node, kind};
    assert_int_equal(sim_queue_push(q, event), 0);
    reference_push(event);
    assert_int_equal(sim_queue_count(q), reference_count);
}

static struct sim_event_key pop_both(struct sim_queue *q)
{
    struct sim_event_key peeked, popped;
    assert_true(sim_queue_peek(q, &peeked));
    assert_true(sim_queue_pop(q, &popped));
    assert_memory_equal(&peeked, &popped, sizeof popped);
    assert_memory_equal(&popped, &reference[--reference_count], sizeof popped);
    return popped;
}

static void drain_both(struct sim_queue *q)
{
    struct sim_event_key event;
    while (reference_count > 0)
        pop_both(q);
    assert_false(sim_queue_peek(q, &event));
    assert_false(sim_queue_pop(q, &event));
    assert_int_equal(sim_queue_count(q), 0);
}

static struct sim_queue *open_both(void)
{
    struct sim_queue *q = sim_queue_open();
    assert_non_null(q);
    reference_count = 0;
    draws = 0;
    return q;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void empty_queue_gives_nothing(void **state)
{
    (void)state;
    struct sim_queue *q = open_both();
    drain_both(q);
    push_both(q, 0, 0, 0);
    drain_both(q);
    push_both(q, SIM_NEVER, UINT32_MAX, UINT32_MAX);
    push_both(q, 0, 0, 0);
    drain_both(q);
    sim_queue_close(q);
    sim_queue_close(NULL);
}

/* Increment of a hold model: what is popped is pushed again so much later. */
static sim_time increment(unsigned shape)
{
    switch (shape) {
    case 0: /* even */
        return draw(1000000);
    case 1: /* constant: all pile up */
        return 1000;
    case 2: /* a radio's: mostly short, sometimes a second, rarely an hour */
        return draw(100) < 90 ? 150 + draw(3000) : draw(100) < 98 ? 1000000 : UINT64_C(3600000000);
    case 3: /* over all magnitudes */
        return UINT64_C(1) << draw(45);
    case 4: /* bursts: everything to the next full second, soon in the same microsecond */
        return 0;
    default: /* tiny and nothing at all */
        return draw(3);
    }
}

static void hold_model_agrees_with_a_sorted_array(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 30, 800, 4000};
    for (unsigned shape = 0; shape < 6; shape++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            struct sim_queue *q = open_both();
            for (uint32_t i = 0; i < sizes[s]; i++)
                push_both(q, increment(shape), draw(1u << 20), draw(4));
            for (unsigned step = 0; step < 6000; step++) {
                struct sim_event_key event = pop_both(q);
                sim_time at = shape == 4 ? (event.at / 1000000 + 1) * 1000000 : event.at + increment(shape);
                push_both(q, at, draw(8) == 0 ? draw(1u << 20) : event.node, draw(4));
            }
            drain_both(q);
            sim_queue_close(q);
        }
}

static void pushes_before_the_last_popped_time_come_first(void **state)
{
    (void)state;
    struct sim_queue *q = open_both();
    for (uint32_t i = 0; i < 3000; i++)
        push_both(q, UINT64_C(1000000000) + draw(1u << 30), i, 0);
    for (unsigned i = 0; i < 1500; i++)
        pop_both(q);
    for (uint32_t i = 0; i < 200; i++)
        push_both(q, draw(1000), i, 1);
    for (unsigned i = 0; i < 100; i++)
        pop_both(q);
    for (uint32_t i = 0; i < 3000; i++)
        push_both(q, draw(1u << 31), i, 2);
    drain_both(q);
    sim_queue_close(q);
}

/* An idle world looks hours ahead; then a burst begins now, again and again. */
static void burst_after_looking_far_ahead_is_ordered(void **state)
{
    (void)state;
    struct sim_queue *q = open_both();
    struct sim_event_key event;
    for (uint32_t i = 0; i < 2000; i++)
        push_both(q, UINT64_C(7200000000) + (sim_time)draw(1u << 28) * 16, i, 0);
    for (unsigned round = 0; round < 12; round++) {
        assert_true(sim_queue_peek(q, &event));
        const sim_time now = UINT64_C(600000000) * round;
        for (uint32_t i = 0; i < 150 + round * 150; i++)
            push_both(q, now + draw(round % 2 ? 1 : 5000000), draw(4000), 1);
        for (unsigned i = 0; i < 100 + round * 150; i++)
            pop_both(q);
    }
    drain_both(q);
    sim_queue_close(q);
}

static void random_mix_agrees_with_a_sorted_array(void **state)
{
    (void)state;
    for (unsigned world = 0; world < 20; world++) {
        struct sim_queue *q = open_both();
        draws = (uint64_t)world << 20;
        sim_time now = 0;
        for (unsigned step = 0; step < 400; step++) {
            const sim_time base = draw(4) == 0 ? now / 2 : now;
            const unsigned width = draw(40), burst = draw(20) == 0 ? 1000 : 20;
            for (unsigned n = draw(burst); n > 0 && reference_count < 20000; n--)
                push_both(q, base + (draw(UINT32_MAX) & ((UINT64_C(1) << width) - 1)), draw(50), draw(3));
            for (unsigned n = draw(burst); n > 0 && reference_count > 0; n--)
                now = pop_both(q).at;
        }
        drain_both(q);
        sim_queue_close(q);
    }
}

static void equal_events_all_come_out(void **state)
{
    (void)state;
    struct sim_queue *q = open_both();
    for (unsigned i = 0; i < 5000; i++)
        push_both(q, 77, 5, 1);
    for (unsigned i = 0; i < 2500; i++) {
        pop_both(q);
        push_both(q, 77, 5, i % 3);
    }
    drain_both(q);
    sim_queue_close(q);
}

/* Inputs that make a plain quicksort quadratic, at one time, so that only the queue's sort orders them. */
static void burst_at_one_time_is_sorted_whatever_its_order(void **state)
{
    (void)state;
    enum { N = 50000 };
    for (unsigned shape = 0; shape < 5; shape++) {
        struct sim_queue *q = open_both();
        struct sim_event_key event, last = {0, 0, 0};
        for (uint32_t i = 0; i < N; i++) {
            const uint32_t node[] = {i, N - i, i < N / 2 ? i : N - i, i % 7, draw(N)};
            assert_int_equal(sim_queue_push(q, (struct sim_event_key){12345, node[shape], i % 2}), 0);
        }
        for (uint32_t i = 0; i < N; i++) {
            assert_true(sim_queue_pop(q, &event));
            assert_true(i == 0 || compare(&last, &event) <= 0);
            last = event;
        }
        assert_int_equal(sim_queue_count(q), 0);
        sim_queue_close(q);
    }
}

static void a_million_events_need_little_memory(void **state)
{
    (void)state;
    enum { N = 1000000 };
    struct sim_queue *q = open_both();
    struct sim_event_key event;
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(sim_queue_push(q, (struct sim_event_key){0, i, 0}), 0);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(sim_queue_pop(q, &event));
        assert_int_equal(event.node, i);
        assert_int_equal(sim_queue_push(q, (struct sim_event_key){1 + draw(1000000), i, 0}), 0);
    }
    size_t most = 0;
    for (uint32_t i = 0; i < N; i++) {
        assert_true(sim_queue_pop(q, &event));
        assert_int_equal(sim_queue_push(q, (struct sim_event_key){event.at + 1000000, event.node, 0}), 0);
        if (i % 1024 == 0 && sim_queue_bytes(q) > most)
            most = sim_queue_bytes(q);
    }
    assert_true(most < (size_t)2 * 16 * N);
    sim_queue_close(q);
}

static void saved_queue_goes_on_as_the_first(void **state)
{
    (void)state;
    char path[64], error[256] = "";
    snprintf(path, sizeof path, "%s/queue.%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    struct sim_queue *q = open_both(), *copy = sim_queue_open();
    struct sim_event_key event;
    assert_non_null(copy);
    for (uint32_t i = 0; i < 20000; i++)
        push_both(q, draw(1u << 28), i, draw(2));
    for (unsigned i = 0; i < 7000; i++) {
        sim_time at = pop_both(q).at;
        push_both(q, at + draw(500), i, 0);
    }
    assert_int_equal(sim_queue_push(copy, (struct sim_event_key){1, 2, 3}), 0); /* is replaced */
    struct sim_archive *a = sim_archive_create(path, error, sizeof error);
    assert_non_null(a);
    assert_int_equal(sim_queue_save(q, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    a = sim_archive_open(path, error, sizeof error);
    assert_non_null(a);
    assert_int_equal(sim_queue_load(copy, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    assert_int_equal(sim_queue_count(copy), sim_queue_count(q));
    for (size_t i = reference_count; i-- > 0;) {
        assert_true(sim_queue_pop(copy, &event));
        assert_memory_equal(&event, &reference[i], sizeof event);
    }
    drain_both(q);
    unlink(path);
    sim_queue_close(copy);
    sim_queue_close(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_queue_gives_nothing),
        cmocka_unit_test(hold_model_agrees_with_a_sorted_array),
        cmocka_unit_test(pushes_before_the_last_popped_time_come_first),
        cmocka_unit_test(burst_after_looking_far_ahead_is_ordered),
        cmocka_unit_test(random_mix_agrees_with_a_sorted_array),
        cmocka_unit_test(equal_events_all_come_out),
        cmocka_unit_test(burst_at_one_time_is_sorted_whatever_its_order),
        cmocka_unit_test(a_million_events_need_little_memory),
        cmocka_unit_test(saved_queue_goes_on_as_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
