/*
 * Attacks on the mesh engine by an insider, who has the network key and may use any source, any counter and any rate,
 * but no signing key. What must hold: nobody is cut off for good, nothing unsigned is stored or passed on, and what an
 * attack costs its victims is bounded, whatever it costs the attacker. An outsider gets no further than the tag
 * (tests/unit/test_frame.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mesh/engine.h"
#include "proto/mp_wire.h"
#include "tests/lib/mesh_rig.h"

enum { NONCE = 77 };
#define EVIL MESH_STRANGER
#define HOUR MP_SECONDS(3600)

static struct mp_node *engine(struct mesh *mesh, unsigned i)
{
    return &mesh->node[i].engine;
}

static uint32_t written(const struct mesh *mesh, unsigned i)
{
    uint32_t sum = 0;

    for (unsigned type = 0; type < MESH_TYPES; type++)
        sum += mesh->node[i].counters.written[type];
    return sum;
}

static bool everybody_has_it(const struct mesh *mesh)
{
    for (unsigned i = 1; i < mesh->count; i++)
        if (!mesh_has(mesh, i, 1))
            return false;
    return true;
}

static struct mesh_image *begin_fetch(struct mesh *mesh, uint32_t size)
{
    struct mesh_image *image = mesh_image_new(mesh, 1, 5, size);

    for (unsigned i = 0; i < mesh->count; i++) {
        mesh_release(mesh, i, image);
        mesh_open(mesh, i, 1, image, i == 0);
    }
    return image;
}

/* Has the attacker strike every `period` until done() or the limit; whether it was done. */
typedef void (*strike_fn)(struct mesh *mesh, unsigned n);

static bool under_attack(struct mesh *mesh, strike_fn strike, mp_time period, mp_time limit,
                         bool (*done)(const struct mesh *mesh))
{
    mp_time end = mesh->now + limit;

    for (unsigned n = 0; mesh->now < end; n++) {
        if (done && done(mesh))
            return true;
        strike(mesh, n);
        mesh_run(mesh, period);
    }
    return done && done(mesh);
}

/* What the victim would send anyway, without the attack, in the same time. */
static uint32_t usual(mp_time duration)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    uint32_t sum;

    mesh_full(mesh, 0);
    mesh_run(mesh, duration);
    sum = written(mesh, 1);
    mesh_free(mesh);
    return sum;
}

/* --- reports: sinkhole, forged acknowledgements, custody flood ---------------------------------------------------- */

static uint16_t committed[MESH_NODES_MAX];
static bool is_sinkhole_mute; /* takes reports without a word */
static unsigned sinkholes;

/* Signs a receipt for what the gateway's custody brought. */
static void commit(struct mesh *mesh)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    unsigned count = 0;
    uint16_t generation, before[MESH_NODES_MAX];

    memcpy(before, committed, sizeof before);
    for (; mp_node_custody(engine(mesh, 0), count, entry); count++) {
        unsigned origin = mp_get32(entry) - MESH_ID;

        if (origin < mesh->count &&
            mp_report_verify(crypto_sodium(), entry, mesh->node[origin].identity.report_key) == MP_OK)
            committed[origin] = mp_get16(entry + 4);
    }
    mp_node_custody_done(engine(mesh, 0), mesh->now, count);
    if (memcmp(before, committed, sizeof before) != 0)
        assert_int_equal(
            mesh_receipt(mesh, 0, (uint16_t)(mp_node_round(engine(mesh, 0), &generation) + 1), committed, mesh->count),
            MP_OK);
}

static void greet_as_gateway(struct mesh *mesh, unsigned to, uint32_t source)
{
    uint16_t generation;

    mesh->forged_round = mp_node_round(engine(mesh, to), &generation);
    mesh->forged_hop = 0;
    mesh_greet(mesh, to, source, NONCE, 0, 0, 0);
}

/* Hears every report that names one of the sinkholes and says thank you. */
static bool swallow(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    const uint8_t *report = frame + MP_HEADER_SIZE;
    uint8_t body[MP_BODY_MAX];

    if ((frame[0] & 15) != MP_TYPE_REPORT || mp_get32(report) - EVIL >= sinkholes || is_sinkhole_mute)
        return true;
    mp_put32(body, engine(mesh, from)->id);
    mp_put32(body + 4, engine(mesh, from)->nonce);
    for (unsigned i = 0; i < report[8]; i++)
        memcpy(body + 8 + 6 * i, report + 10 + MP_REPORT_ENTRY_SIZE * i, 6);
    assert_true(len >= 25u + 10 + 19);
    assert_int_equal(mesh_forge(mesh, from, mp_get32(report), MP_TYPE_REPORT_ACK, body, 8 + 6u * report[8]), MP_OK);
    return true;
}

static void strike_as_sinkhole(struct mesh *mesh, unsigned n)
{
    for (unsigned to = 2; to < mesh->count && n % 10 == 0; to++)
        for (unsigned k = 0; k < sinkholes; k++)
            greet_as_gateway(mesh, to, EVIL + k);
    commit(mesh);
}

static void strike_as_nobody(struct mesh *mesh, unsigned n)
{
    (void)n;
    commit(mesh);
}

static bool everybody_is_receipted(const struct mesh *mesh)
{
    for (unsigned i = 2; i < mesh->count; i++)
        if (!mp_node_is_receipted(&mesh->node[i].engine))
            return false;
    return true;
}

static void check_sinkhole(uint32_t seed, unsigned count, bool is_mute)
{
    struct mesh *mesh = mesh_new(5, 0, seed);

    memset(committed, 0, sizeof committed);
    sinkholes = count;
    is_sinkhole_mute = is_mute;
    mesh->node[0].is_committing = false;
    mesh_line(mesh, 0);
    assert_int_equal(mesh_receipt(mesh, 0, 1, committed, mesh->count), MP_OK);
    mesh_run(mesh, MP_SECONDS(30));
    assert_int_equal(mp_node_hop(engine(mesh, 4)), 4);
    mesh->on_frame = swallow;
    strike_as_sinkhole(mesh, 0);
    for (unsigned i = 2; i < 5; i++)
        assert_int_equal(mp_node_report(engine(mesh, i), &mesh->node[i].env, mesh->now, 1, 2, MP_PHASE_ROLLED_BACK,
                                        MP_REASON_CRASHED),
                         MP_OK);
    (void)under_attack(mesh, strike_as_sinkhole, MP_SECONDS(1), HOUR, NULL);
    for (unsigned i = 2; i < 5; i++) /* nobody takes the thief's word for a receipt */
        assert_int_equal(mp_node_is_receipted(engine(mesh, i)), committed[i] != 0);
    mesh->on_frame = NULL;
    assert_true(under_attack(mesh, strike_as_nobody, MP_SECONDS(1), 3 * HOUR, everybody_is_receipted));
    mesh_free(mesh);
}

/* It claims to be next to a gateway and takes all reports of its surroundings, with thanks or without. While it is
 * there they may wait (whoever has the network key can take custody of anything); none is lost by it. */
static void sinkholes_hold_reports_up_and_no_more(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 4; seed++) {
        check_sinkhole(seed, 1, false);
        check_sinkhole(seed, 1, true);
        check_sinkhole(seed, MP_NEIGHBOURS_MAX < 10 ? 3 : 6, false);
    }
}

static void strike_custody(struct mesh *mesh, unsigned n)
{
    uint8_t body[MP_BODY_MAX] = {0};

    for (unsigned to = 1; to < mesh->count; to++) {
        mp_put32(body, engine(mesh, to)->id);
        mp_put32(body + 4, engine(mesh, to)->nonce);
        body[8] = 10;
        for (unsigned i = 0; i < 10; i++)
            mp_put32(body + 10 + 19 * i, 0x100000 + n * 10 + i);
        (void)mesh_forge(mesh, to, EVIL, MP_TYPE_REPORT, body, 200);
    }
    commit(mesh);
}

/* Fifty forged reports a second for every node: custody is full most of the time, yet the true ones get through. */
static void a_custody_flood_only_delays(void **state)
{
    struct mesh *mesh = mesh_new(5, 0, 4);
    (void)state;

    memset(committed, 0, sizeof committed);
    mesh->node[0].is_committing = false;
    mesh_line(mesh, 0);
    assert_int_equal(mesh_receipt(mesh, 0, 1, committed, mesh->count), MP_OK);
    mesh_run(mesh, MP_SECONDS(30));
    for (unsigned i = 2; i < 5; i++)
        assert_int_equal(
            mp_node_report(engine(mesh, i), &mesh->node[i].env, mesh->now, 1, 2, MP_PHASE_STAGED, MP_REASON_NONE),
            MP_OK);
    assert_true(under_attack(mesh, strike_custody, MP_MS(200), HOUR, everybody_is_receipted));
    mesh_free(mesh);
}

/* --- gossip: storms ----------------------------------------------------------------------------------------------- */

static void send_summary(struct mesh *mesh, unsigned to, uint32_t source, uint16_t key_number, uint32_t release,
                         uint32_t sequence, uint8_t flags)
{
    uint8_t body[43] = {0};

    mp_put32(body, NONCE);
    body[4] = flags;
    body[5] = release != 0;
    mp_put16(body + 19, key_number);
    mp_put32(body + 21, key_number);
    mp_put32(body + 25, release);
    mp_put32(body + 35, sequence);
    (void)mesh_forge(mesh, to, source, MP_TYPE_SUMMARY, body, release ? 43 : 25);
}

static void strike_advertising(struct mesh *mesh, unsigned n)
{
    mesh->forged_round = (uint16_t)(n * 7);
    mesh->forged_hop = (uint8_t)n;
    send_summary(mesh, 1, EVIL + n % 40, (uint16_t)(1000 + n), 0xF0000000u + n, n + 1, 0);
}

/* Releases, rounds and key changes that do not exist, from 40 sources, all day long. */
static void advertisement_storms_cost_a_few_frames(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    unsigned long verifies = mesh_verifies;
    (void)state;

    mesh_full(mesh, 0);
    (void)under_attack(mesh, strike_advertising, MP_SECONDS(1), 24 * HOUR, NULL);
    assert_int_equal(mesh_verifies, verifies);
    /* 12 resets and 288 that the day brings; each is worth the eleven frames of a doubling interval at most. */
    assert_in_range(written(mesh, 1), 1, usual(24 * HOUR) + (12 + 288) * 11);
    mesh_free(mesh);
}

static void strike_lacking(struct mesh *mesh, unsigned n)
{
    mesh->forged_round = 1;
    send_summary(mesh, 1, EVIL + n % 40, 0, 0, 0, 0);
}

/* Whoever pretends to lack everything gets each object once a second at most, however often and as whom it asks. */
static void lacking_storms_cost_a_frame_an_object_and_second(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 2);
    struct mesh_image *image[8];
    uint16_t serial = 0;
    uint32_t before;
    (void)state;

    for (unsigned i = 0; i < 8; i++)
        image[i] = mesh_image_new(mesh, (uint16_t)(i + 1), 5, 100);
    assert_int_equal(mesh_direct(mesh, 1, MP_ACTION_STAGE, 5, 1, 0, (const struct mesh_image *const *)image, 8), MP_OK);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(mesh_publish(mesh, 1, MP_TYPE_MANIFEST, image[i]->raw, 200), MP_OK);
    assert_int_equal(mesh_receipt(mesh, 1, 9, &serial, 1), MP_OK);
    mesh_run(mesh, MP_SECONDS(60));
    before = written(mesh, 1);
    (void)under_attack(mesh, strike_lacking, MP_MS(20), MP_SECONDS(100), NULL);
    assert_in_range(written(mesh, 1) - before, 500, 100 * 10 + 100);
    for (unsigned i = 0; i < 8; i++)
        mesh_image_free(image[i]);
    mesh_free(mesh);
}

/* A member that is always sixteen key changes behind must not turn the others into senders of key changes. */
static void key_chain_storms_are_bounded(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 3);
    uint8_t head[32];
    uint32_t before;
    (void)state;

    memcpy(head, mesh->fleet.keyset.head, 32);
    for (uint16_t number = 1; number <= 16; number++) {
        struct mp_keychange c = {.op = MP_KEYOP_INSTALL,
                                 .role = MP_ROLE_PUBLISHER,
                                 .key_id = 1,
                                 .signer = {0, 1},
                                 .number = number,
                                 .generation = (uint16_t)(number + 1)};
        uint8_t raw[MP_KEYCHANGE_SIZE];

        memcpy(c.previous, head, 32);
        memset(c.key, number, 32);
        sign_keychange(raw, &c, &mesh->fleet.root[0], &mesh->fleet.root[1]);
        mp_keychange_digest(crypto_sodium(), raw, head);
        assert_int_equal(mesh_publish(mesh, 1, MP_TYPE_KEYCHANGE, raw, sizeof raw), MP_OK);
        mesh_run(mesh, MP_SECONDS(2));
    }
    mesh_run(mesh, MP_SECONDS(60));
    before = written(mesh, 1);
    (void)under_attack(mesh, strike_lacking, MP_MS(20), MP_SECONDS(100), NULL);
    assert_in_range(written(mesh, 1) - before, 500, 100 * 12 + 50); /* the bearer alone would take 3,600 */
    mesh_free(mesh);
}

/* A round that no gateway signed is believed by nobody and lets nobody near. */
static void forged_rounds_lead_nowhere(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 4);
    uint16_t serial = 0, generation;
    (void)state;

    mesh_line(mesh, 0);
    assert_int_equal(mesh_receipt(mesh, 0, 3, &serial, 1), MP_OK);
    mesh_run(mesh, MP_SECONDS(20));
    for (unsigned n = 0; n < 2000; n++) {
        mesh->forged_round = (uint16_t)(4 + n * 31);
        mesh->forged_hop = 0;
        send_summary(mesh, 3, EVIL, 0, 0, 0, 0);
        assert_true(mp_node_hop(engine(mesh, 3)) == 3 || mesh->forged_round <= 3);
        if (n % 20 == 0)
            mesh_run(mesh, MP_SECONDS(1));
        assert_int_equal(mp_node_round(engine(mesh, 3), &generation), 3);
    }
    assert_int_equal(mesh_receipt(mesh, 0, 4, &serial, 1), MP_OK); /* and the true next one is still the next */
    mesh_run(mesh, MP_SECONDS(60));
    assert_int_equal(mp_node_round(engine(mesh, 3), &generation), 4);
    assert_int_equal(mp_node_hop(engine(mesh, 3)), 3);
    mesh_free(mesh);
}

/* --- neighbours: eviction, forged counters and nonces ------------------------------------------------------------- */

static void strike_table(struct mesh *mesh, unsigned n)
{
    mesh->forged_hop = MP_HOP_NONE;
    for (unsigned to = 1; to < mesh->count; to++)
        for (unsigned k = 0; k < 2; k++)
            send_summary(mesh, to, EVIL + (2 * n + k) % 40, 0, 1, 1, 0);
}

/* Forty sources that are always there, after the true neighbours had been quiet: parents stay, and chunks still come.
 */
static void forty_forged_neighbours(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 5);
    struct mesh_image *image;
    uint16_t serial = 0;
    (void)state;

    mesh_line(mesh, 10);
    assert_int_equal(mesh_receipt(mesh, 0, 1, &serial, 1), MP_OK);
    mesh_run(mesh, 2 * HOUR); /* Trickle is at its slowest */
    (void)under_attack(mesh, strike_table, MP_MS(100), HOUR, NULL);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(mp_node_hop(engine(mesh, i)), i);
    image = begin_fetch(mesh, 6000);
    assert_true(under_attack(mesh, strike_table, MP_MS(100), HOUR / 2, everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* Frames in the names of all others, with counters far ahead and nonces that are wrong. Who is silenced by it is heard
 * again once the attack ends, and objects still pass: those who are cut off are only so towards some. */
static void forged_counters_do_not_silence_for_good(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 6);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 0);
    image = begin_fetch(mesh, 6000);
    for (unsigned to = 0; to < 4; to++)
        for (unsigned as = 0; as < 4; as++) {
            mesh->forged_counter = ((uint64_t)0xFFFFFF << 24) + 0xFFFFF0;
            if (to != as)
                mesh_greet(mesh, to, MESH_ID + as, 1, 0, 0, 0);
        }
    mesh_run(mesh, MP_SECONDS(600));
    assert_false(everybody_has_it(mesh)); /* that is how bad it is */
    mesh_run(mesh, HOUR);
    assert_true(mesh_until(mesh, HOUR / 2, everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

static void strike_nonces(struct mesh *mesh, unsigned n)
{
    for (unsigned to = 0; to < mesh->count; to++) {
        unsigned as = to ? to - 1 : 1;

        mesh->forged_counter = engine(mesh, as)->counter; /* just ahead of the true one */
        if (n % 20 == 0)
            mesh_greet(mesh, to, MESH_ID + as, 1 + n, 0, 0, 0);
    }
}

static void forged_nonces_only_slow_down(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 7);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 5);
    image = begin_fetch(mesh, 12000);
    assert_true(under_attack(mesh, strike_nonces, MP_MS(50), HOUR / 2, everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- exchange: poison, floods of requests, false suppliers -------------------------------------------------------- */

static const struct mesh_image *target;

static void strike_poison(struct mesh *mesh, unsigned n)
{
    uint8_t body[MP_BODY_MAX];

    for (unsigned to = 1; to < mesh->count; to++) {
        uint32_t at = (n * 2654435761u + to) % target->tree.positions;
        size_t len = mesh_chunk_body(target, at, body);

        body[7 + n % (len - 7)] ^= 1;
        (void)mesh_forge(mesh, to, EVIL + n % 3, MP_TYPE_CHUNK, body, len);
    }
}

/* Wrong chunks at every position, faster than the true ones: the store sees none (the rig checks), all complete. */
static void a_flood_of_poison_only_slows_down(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 8);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 10);
    target = image = begin_fetch(mesh, 20000);
    assert_true(under_attack(mesh, strike_poison, MP_MS(10), MP_SECONDS(300), everybody_has_it));
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(mesh->node[i].counters.chunks_stored, image->tree.positions);
    mesh_image_free(image);
    mesh_free(mesh);
}

static void strike_requests(struct mesh *mesh, unsigned n)
{
    for (unsigned to = 0; to < mesh->count; to++) {
        uint8_t body[15 + 128];
        uint32_t base = n % 2 ? 0 : (target->tree.positions - 64) & ~7u;
        size_t len = n % 2 ? 128 : 4;

        memset(body, 0xFF, sizeof body);
        mp_put32(body, engine(mesh, to)->id);
        mp_put32(body + 4, engine(mesh, to)->nonce);
        mp_put32(body + 8, target->handle);
        mp_put24(body + 12, base);
        (void)mesh_forge(mesh, to, EVIL, MP_TYPE_REQUEST, body, 15 + len);
    }
}

/* Requests by name for windows far apart, ten a second at every node: what others asked for is pushed aside again and
 * again, yet the transfer ends. */
static void request_floods_only_slow_down(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 9);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 5);
    target = image = begin_fetch(mesh, 300000);
    assert_true(under_attack(mesh, strike_requests, MP_MS(100), 8 * HOUR, everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* And a node that is asked for everything all day sends what the bucket allows. */
static void request_floods_do_not_drain(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 9);
    struct mesh_image *image;
    uint32_t before;
    (void)state;

    target = image = begin_fetch(mesh, 100000);
    mesh_open(mesh, 1, 1, image, true);
    (void)under_attack(mesh, strike_requests, MP_MS(500), HOUR, NULL); /* spends what was saved */
    before = written(mesh, 1);
    (void)under_attack(mesh, strike_requests, MP_MS(500), HOUR, NULL);
    assert_in_range(written(mesh, 1) - before, 1000, 3600 * 4 + 100);
    mesh_image_free(image);
    mesh_free(mesh);
}

static void strike_suppliers(struct mesh *mesh, unsigned n)
{
    uint8_t body[25] = {0};

    mp_put32(body, NONCE);
    body[4] = MP_SUMMARY_GATEWAY;
    mp_put32(body + 8, target->handle);
    mp_put32(body + 12, target->handle);
    mp_put24(body + 16, target->tree.positions);
    for (unsigned to = 1; to < mesh->count; to++)
        (void)mesh_forge(mesh, to, EVIL + n % (MP_NEIGHBOURS_MAX - 3), MP_TYPE_SUMMARY, body, sizeof body);
}

/* Nearly all neighbours say that they have it, and answer nothing. */
static void false_suppliers_only_slow_down(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 10);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 20);
    target = image = begin_fetch(mesh, 20000);
    assert_true(under_attack(mesh, strike_suppliers, MP_MS(50), HOUR / 2, everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- relay -------------------------------------------------------------------------------------------------------- */

static const struct mesh_image *decoy;

static void strike_relay(struct mesh *mesh, unsigned n)
{
    uint8_t body[16] = {0};

    (void)n;
    mp_put32(body + 8, decoy->handle);
    body[15] = 0xFF;
    (void)mesh_forge(mesh, 1, EVIL, MP_TYPE_REQUEST, body, sizeof body);
}

static bool last_has_it(const struct mesh *mesh)
{
    return mesh_has(mesh, mesh->count - 1, 1);
}

/* A payload that is named but nowhere to be had is asked for all the time; the relay still carries the other one. */
static void a_decoy_does_not_keep_a_relay(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 11);
    struct mesh_image *image[2] = {mesh_image_new(mesh, 1, 5, 20000), mesh_image_new(mesh, 2, 5, 1000)};
    (void)state;

    decoy = image[1];
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(mesh_direct(mesh, i, MP_ACTION_STAGE, 5, 1, 0, (const struct mesh_image *const *)image, 2),
                         MP_OK);
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(mesh_publish(mesh, i, MP_TYPE_MANIFEST, image[k]->raw, 200), MP_OK);
    }
    mesh->node[1].env.relay = &mesh->node[1].relay;
    mesh_open(mesh, 0, 1, image[0], true);
    mesh_open(mesh, 2, 1, image[0], false);
    mesh_line(mesh, 5);
    mesh_greet(mesh, 1, EVIL, NONCE, 0, decoy->handle, 0);
    assert_true(under_attack(mesh, strike_relay, MP_MS(100), HOUR, last_has_it));
    mesh_image_free(image[0]);
    mesh_image_free(image[1]);
    mesh_free(mesh);
}

/* --- echo and breaker --------------------------------------------------------------------------------------------- */

static void strike_trials(struct mesh *mesh, unsigned n)
{
    send_summary(mesh, 1, EVIL + n % 40, 0, 0, 0, MP_SUMMARY_TRIAL);
}

/* One echo at a time, each after 200 ms on average: forged trials cost about what forged requests may. */
static void echo_storms_are_bounded(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 12);
    uint32_t before;
    (void)state;

    (void)under_attack(mesh, strike_trials, MP_MS(40), HOUR, NULL);
    before = written(mesh, 1);
    (void)under_attack(mesh, strike_trials, MP_MS(40), HOUR, NULL);
    assert_in_range(written(mesh, 1) - before, 1000, 3600 * 5);
    mesh_free(mesh);
}

/* And a true trial gets its echo in the midst of them. */
static bool has_echo(const struct mesh *mesh)
{
    return mesh->node[1].events & MP_EVENT_ECHO;
}

static void strike_member(struct mesh *mesh, unsigned n)
{
    send_summary(mesh, 0, EVIL + n % 40, 0, 0, 0, MP_SUMMARY_TRIAL);
}

static void a_trial_is_echoed_in_a_storm(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 10; seed++) {
        struct mesh *mesh = mesh_new(2, 0, seed);

        mesh_full(mesh, 10);
        mesh_run(mesh, MP_SECONDS(60));
        mp_node_trial(engine(mesh, 1), &mesh->node[1].env, mesh->now, true);
        mesh_take_events(mesh, 1);
        assert_true(under_attack(mesh, strike_member, MP_MS(100), MP_SECONDS(300), has_echo));
        mesh_free(mesh);
    }
}

/* Identities made up after the directive have no say; two that were there before are too few; the table of a small
 * part cannot be filled with liars once three true neighbours in four are in it. */
static void breaker_abuse(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 13);
    struct mesh_image *image = mesh_image_new(mesh, 1, 5, 100);
    uint8_t body[25] = {0};
    (void)state;

    for (uint32_t i = 0; i < 6; i++)
        mesh_greet(mesh, 1, MESH_ID + 10 + i, NONCE, 0, 0, 0);
    for (uint32_t i = 0; i < 2; i++)
        mesh_greet(mesh, 1, EVIL + i, NONCE, 0, 0, 0);
    mesh_release(mesh, 1, image);
    mp_put32(body, NONCE);
    mp_put16(body + 6, 5);
    for (uint32_t n = 0; n < 5000; n++) {
        (void)mesh_forge(mesh, 1, EVIL + n % 50, MP_TYPE_SUMMARY, body, sizeof body);
        assert_false(mp_node_breaker(engine(mesh, 1), 5));
        if (n % 50 == 0)
            mesh_run(mesh, MP_SECONDS(7));
    }
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- everything at once ------------------------------------------------------------------------------------------- */

static void strike_all(struct mesh *mesh, unsigned n)
{
    strike_poison(mesh, n);
    strike_requests(mesh, n);
    strike_suppliers(mesh, n);
    strike_trials(mesh, n);
    strike_advertising(mesh, n);
    strike_lacking(mesh, n);
    if (n % 50 == 0)
        strike_nonces(mesh, n);
}

static void all_at_once_only_slows_down(void **state)
{
    struct mesh *mesh = mesh_new(5, MP_MS((mp_time)UINT32_MAX - 9000), 14);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 5);
    mesh_link(mesh, 0, 2, 30);
    mesh_link(mesh, 1, 3, 30);
    target = image = begin_fetch(mesh, 20000);
    assert_true(under_attack(mesh, strike_all, MP_MS(100), HOUR, everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sinkholes_hold_reports_up_and_no_more),
        cmocka_unit_test(a_custody_flood_only_delays),
        cmocka_unit_test(advertisement_storms_cost_a_few_frames),
        cmocka_unit_test(lacking_storms_cost_a_frame_an_object_and_second),
        cmocka_unit_test(key_chain_storms_are_bounded),
        cmocka_unit_test(forged_rounds_lead_nowhere),
        cmocka_unit_test(forty_forged_neighbours),
        cmocka_unit_test(forged_counters_do_not_silence_for_good),
        cmocka_unit_test(forged_nonces_only_slow_down),
        cmocka_unit_test(a_flood_of_poison_only_slows_down),
        cmocka_unit_test(request_floods_only_slow_down),
        cmocka_unit_test(request_floods_do_not_drain),
        cmocka_unit_test(false_suppliers_only_slow_down),
        cmocka_unit_test(a_decoy_does_not_keep_a_relay),
        cmocka_unit_test(echo_storms_are_bounded),
        cmocka_unit_test(a_trial_is_echoed_in_a_storm),
        cmocka_unit_test(breaker_abuse),
        cmocka_unit_test(all_at_once_only_slows_down),
    };

    return cmocka_run_group_tests_name("mesh_attacks", tests, NULL, NULL);
}
