/* Reports, custody, receipts, echo, breaker (SPEC 1.4, 1.5, 2.4, 7): nothing that an origin has to say is ever lost. */
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

enum { SELF = 1, NONCE = 77 };
#define PEER MESH_STRANGER
#define HOUR MP_SECONDS(3600)

static struct mp_node *engine(struct mesh *mesh, unsigned i)
{
    return &mesh->node[i].engine;
}

static int report(struct mesh *mesh, unsigned i, uint16_t target, enum mp_phase phase)
{
    return mp_node_report(engine(mesh, i), &mesh->node[i].env, mesh->now, 1, target, phase, MP_REASON_NONE);
}

/* What the gateway committed: newest serial of each origin, fed from custody like a daemon's registry. */
struct ledger {
    uint16_t serial[MESH_NODES_MAX];
    uint8_t phase[MESH_NODES_MAX];
    unsigned commits;
};

static void commit(struct mesh *mesh, struct ledger *l)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    unsigned count = 0;

    for (; mp_node_custody(engine(mesh, 0), count, entry); count++) {
        struct mp_report r;
        unsigned origin;

        assert_int_equal(mp_report_get(&r, entry), MP_OK);
        origin = r.node - MESH_ID;
        if (origin >= mesh->count ||
            mp_report_verify(crypto_sodium(), entry, mesh->node[origin].identity.report_key) != MP_OK)
            continue; /* refused for good */
        if (l->serial[origin] == 0 || (int16_t)(r.serial - l->serial[origin]) >= 0) {
            l->serial[origin] = r.serial;
            l->phase[origin] = r.phase;
        }
    }
    mp_node_custody_done(engine(mesh, 0), mesh->now, count);
    l->commits += count;
}

/* Runs with a gateway that commits every 100 ms and signs a receipt every `period` (0: never). */
static void run(struct mesh *mesh, struct ledger *l, mp_time duration, mp_time period)
{
    mp_time end = mesh->now + duration, next = mesh->now;
    uint16_t generation;

    mesh->node[0].is_committing = false;
    while (mesh->now < end) {
        mesh_run(mesh, MP_MS(100));
        commit(mesh, l);
        if (period && mesh->now >= next) {
            uint16_t round = (uint16_t)(mp_node_round(engine(mesh, 0), &generation) + 1);

            assert_int_equal(mesh_receipt(mesh, 0, round, l->serial, mesh->count), MP_OK);
            next = mesh->now + period;
        }
    }
}

static bool all_receipted(const struct mesh *mesh)
{
    for (unsigned i = 1; i < mesh->count; i++)
        if (!mesh->node[i].is_off && !mp_node_is_receipted(&mesh->node[i].engine))
            return false;
    return true;
}

/* --- from origin to receipt --------------------------------------------------------------------------------------- */

static void everybody_is_receipted(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 4; seed++) {
        struct mesh *mesh = mesh_new(12, 0, seed);
        struct ledger l = {{0}, {0}, 0};

        for (unsigned i = 1; i < 12; i++)
            mesh_link(mesh, i, (i - 1) / 2, 20); /* a tree four hops deep */
        run(mesh, &l, MP_SECONDS(10), MP_SECONDS(5));
        for (unsigned phase = 1; phase <= 4; phase++) {
            for (unsigned i = 1; i < 12; i++)
                assert_int_equal(report(mesh, i, 2, (enum mp_phase)phase), MP_OK);
            run(mesh, &l, MP_SECONDS(120), MP_SECONDS(5));
            assert_true(all_receipted(mesh));
            for (unsigned i = 1; i < 12; i++) {
                assert_int_equal(l.phase[i], phase);
                assert_true(mesh_take_events(mesh, i) & MP_EVENT_RECEIPT);
            }
        }
        mesh_free(mesh);
    }
}

static void equal_content_is_no_news(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint32_t puts;
    (void)state;

    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    puts = mesh->node[SELF].put_count;
    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    assert_int_equal(mesh->node[SELF].put_count, puts);
    mesh->node[SELF].fail_puts = 1;
    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_TRIAL), MP_ERR_STORE);
    assert_int_equal(engine(mesh, SELF)->report.phase, MP_PHASE_STAGED);
    assert_int_equal(engine(mesh, SELF)->report.serial, 1);
    mesh_free(mesh);
}

/* A fetch that is over within a minute is never reported; what follows it is, at once. */
static void short_fetches_are_not_reported(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    const struct mp_node *n = engine(mesh, SELF);
    uint32_t now_ms;
    (void)state;

    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_FETCHING), MP_OK);
    now_ms = (uint32_t)(mesh->now / 1000);
    assert_true(mp_job_is_armed(n, MP_JOB_REPORT));
    assert_in_range(n->due_ms[MP_JOB_REPORT] - now_ms, 60000, 120000);
    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    assert_in_range(n->due_ms[MP_JOB_REPORT] - now_ms, 0, 2000);
    mesh_free(mesh);
}

/* No serial whose low nibble is 0, and never more than 15 ahead of what is receipted: then the last is rewritten. */
static void serials_stay_in_their_window(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_own_report *o = &engine(mesh, SELF)->report;
    struct ledger l = {{0}, {0}, 0};
    uint16_t last = 0;
    (void)state;

    for (uint16_t i = 0; i < 40; i++) {
        assert_int_equal(report(mesh, SELF, (uint16_t)(i + 2), MP_PHASE_STAGED), MP_OK);
        assert_true((o->serial & 15) != 0);
        assert_true((uint16_t)(o->serial - o->receipted) <= 15);
        assert_true(o->serial >= last);
        last = o->serial;
    }
    assert_true(o->is_rewritten);
    assert_int_equal(last, 15);
    assert_false(mp_node_is_receipted(engine(mesh, SELF)));
    mesh_full(mesh, 0);
    run(mesh, &l, MP_SECONDS(200), MP_SECONDS(3));
    assert_true(mp_node_is_receipted(engine(mesh, SELF)));
    assert_false(o->is_rewritten);
    for (uint16_t i = 0; i < 300; i++) {
        assert_int_equal(report(mesh, SELF, (uint16_t)(i + 2), MP_PHASE_TRIAL), MP_OK);
        assert_true((o->serial & 15) != 0 && (uint16_t)(o->serial - o->receipted) <= 15);
        if (i % 7 == 0) {
            run(mesh, &l, MP_SECONDS(100), MP_SECONDS(3));
            assert_true(mp_node_is_receipted(engine(mesh, SELF)));
        }
    }
    mesh_free(mesh);
}

/* A report that was rewritten while its serial was on the way must not be taken for receipted. */
static void a_rewritten_report_is_sent_again(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_own_report *o = &engine(mesh, SELF)->report;
    uint16_t serials[2] = {0, 15};
    struct ledger l = {{0}, {0}, 0};
    (void)state;

    for (uint16_t i = 0; i < 15; i++)
        assert_int_equal(report(mesh, SELF, (uint16_t)(i + 2), MP_PHASE_STAGED), MP_OK);
    assert_int_equal(o->serial, 15);
    assert_int_equal(report(mesh, SELF, 99, MP_PHASE_ROLLED_BACK), MP_OK); /* the content of serial 15 is another now */
    assert_int_equal(o->serial, 15);
    assert_int_equal(mesh_receipt(mesh, SELF, 1, serials, 2), MP_OK);
    assert_false(mp_node_is_receipted(engine(mesh, SELF)));
    assert_int_equal(o->serial, 17);
    mesh_full(mesh, 0);
    mesh->node[0].engine.round = 1;
    run(mesh, &l, MP_SECONDS(100), MP_SECONDS(3));
    assert_true(mp_node_is_receipted(engine(mesh, SELF)));
    assert_int_equal(l.phase[1], MP_PHASE_ROLLED_BACK);
    mesh_free(mesh);
}

static void receipts_of_other_serials_cover_nothing(void **state)
{
    (void)state;

    for (uint16_t nibble = 0; nibble < 16; nibble++) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        uint16_t serials[2] = {7, nibble};

        for (uint16_t i = 0; i < 5; i++)
            assert_int_equal(report(mesh, SELF, (uint16_t)(i + 2), MP_PHASE_STAGED), MP_OK);
        assert_int_equal(mesh_receipt(mesh, SELF, 1, serials, 2), MP_OK);
        assert_int_equal(mp_node_is_receipted(engine(mesh, SELF)), nibble == 5);
        assert_int_equal(engine(mesh, SELF)->report.receipted, nibble <= 5 ? nibble : 0);
        mesh_free(mesh);
    }
}

/* --- reboots and failing stores ----------------------------------------------------------------------------------- */

static void a_reboot_keeps_the_report(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    struct ledger l = {{0}, {0}, 0};
    (void)state;

    mesh_line(mesh, 0);
    assert_int_equal(report(mesh, 2, 2, MP_PHASE_ROLLED_BACK), MP_OK);
    mesh_boot(mesh, 2);
    assert_int_equal(engine(mesh, 2)->failed, 2);
    run(mesh, &l, MP_SECONDS(100), MP_SECONDS(5));
    assert_true(mp_node_is_receipted(engine(mesh, 2)));
    assert_int_equal(l.phase[2], MP_PHASE_ROLLED_BACK);
    mesh_boot(mesh, 2);
    assert_true(mp_node_is_receipted(engine(mesh, 2)));
    assert_int_equal(report(mesh, 2, 2, MP_PHASE_ROLLED_BACK), MP_OK); /* the same again: nothing to send */
    assert_true(mp_node_is_receipted(engine(mesh, 2)));
    assert_int_equal(report(mesh, 2, 3, MP_PHASE_CONFIRMED), MP_OK);
    assert_int_equal(engine(mesh, 2)->failed, 0);
    run(mesh, &l, MP_SECONDS(100), MP_SECONDS(5));
    assert_int_equal(l.phase[2], MP_PHASE_CONFIRMED);
    mesh_free(mesh);
}

/* Power is cut, or the store fails, after the receipt was stored and before the report was: the same receipt must still
 * count after the next start, since no other may ever come. */
static void a_receipt_counts_after_a_cut(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_node *n = &mesh->node[SELF];
    uint16_t serials[2] = {0, 1};
    (void)state;

    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    n->calls = 0;
    n->fail_every = 3; /* get keyset, put receipt, put report */
    assert_int_equal(mesh_receipt(mesh, SELF, 1, serials, 2), MP_OK);
    n->fail_every = 0;
    assert_true(mesh_take_events(mesh, SELF) & MP_EVENT_STORE);
    mesh_boot(mesh, SELF);
    assert_true(mp_node_is_receipted(engine(mesh, SELF)));
    mesh_free(mesh);
}

static void broken_records_are_ignored(void **state)
{
    (void)state;

    for (unsigned len = 0; len <= 32; len++)
        for (unsigned fill = 0; fill < 256; fill += 51) {
            struct mesh *mesh = mesh_new(2, 0, 1);
            struct mesh_node *n = &mesh->node[SELF];

            memset(n->record[MP_KIND_REPORT][0], (int)fill, len);
            n->len[MP_KIND_REPORT][0] = (uint16_t)len;
            mesh_boot(mesh, SELF);
            assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
            mesh_run(mesh, MP_SECONDS(5));
            mesh_free(mesh);
        }
}

/* --- custody ------------------------------------------------------------------------------------------------------ */

/* A node with two parents at the same hop; whichever is the better dies at the worst moment. */
static void a_parents_death_loses_nothing(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 8; seed++) {
        struct mesh *mesh = mesh_new(5, 0, seed);
        struct ledger l = {{0}, {0}, 0};

        mesh_link(mesh, 0, 1, 0);
        mesh_link(mesh, 0, 2, 0);
        mesh_link(mesh, 1, 3, 0);
        mesh_link(mesh, 2, 3, 0);
        mesh_link(mesh, 3, 4, 0);
        run(mesh, &l, MP_SECONDS(20), MP_SECONDS(5));
        mesh->node[0].is_off = true; /* custody piles up in the parents */
        assert_int_equal(report(mesh, 3, 2, MP_PHASE_STAGED), MP_OK);
        assert_int_equal(report(mesh, 4, 2, MP_PHASE_STAGED), MP_OK);
        run(mesh, &l, MP_SECONDS(30), 0);
        assert_int_equal(l.commits, 0);
        mesh->node[seed % 2 + 1].is_off = true; /* takes what it had with it */
        mesh->node[0].is_off = false;
        run(mesh, &l, MP_SECONDS(1000), MP_SECONDS(5));
        assert_true(mp_node_is_receipted(engine(mesh, 3)));
        assert_true(mp_node_is_receipted(engine(mesh, 4)));
        mesh_free(mesh);
    }
}

/* The only parent is gone for good; a sibling that was no parent so far has another way. Receipts may not come at all
 * while nobody is heard at the gateway. */
static void a_sibling_becomes_the_parent(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 2);
    struct ledger l = {{0}, {0}, 0};
    (void)state;

    mesh_link(mesh, 0, 1, 0);
    mesh_link(mesh, 0, 2, 0);
    mesh_link(mesh, 2, 3, 0);
    mesh_link(mesh, 1, 3, 0);
    run(mesh, &l, MP_SECONDS(20), MP_SECONDS(5));
    mesh_link(mesh, 0, 3, 0); /* for a moment the gateway itself is heard */
    run(mesh, &l, MP_SECONDS(20), MP_SECONDS(5));
    assert_int_equal(mp_node_hop(engine(mesh, 3)), 1);
    mesh_link(mesh, 0, 3, 100);
    assert_int_equal(report(mesh, 3, 2, MP_PHASE_STAGED), MP_OK);
    run(mesh, &l, 3 * HOUR, HOUR * 9); /* one receipt at most */
    assert_int_equal(l.serial[3], 1);
    mesh_free(mesh);
}

/* Children that keep on bringing reports must not keep a node from turning to its other parent. */
static void busy_children_do_not_pin_a_dead_parent(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 4);
    uint8_t body[29] = {0};
    uint16_t serial = 0;
    const struct mesh_sent *s;
    unsigned to_second = 0;
    (void)state;

    assert_int_equal(mesh_receipt(mesh, SELF, 1, &serial, 1), MP_OK);
    mesh->forged_round = 1;
    mesh->forged_hop = 0;
    mesh_greet(mesh, SELF, PEER, NONCE, 0, 0, 0); /* both silent from now on; PEER is the better */
    mesh_greet(mesh, SELF, PEER, NONCE, 0, 0, 0);
    mesh_greet(mesh, SELF, PEER + 1, NONCE, 0, 0, 0);
    mesh->forged_hop = MP_HOP_NONE;
    for (uint16_t i = 1; i < 60; i++) {
        mp_put32(body, engine(mesh, SELF)->id);
        mp_put32(body + 4, engine(mesh, SELF)->nonce);
        body[8] = 1;
        mp_put32(body + 10, 5);
        mp_put16(body + 14, i);
        assert_int_equal(mesh_forge(mesh, SELF, PEER + 2, MP_TYPE_REPORT, body, sizeof body), MP_OK);
        mesh_run(mesh, MP_MS(900));
        s = mesh_last(mesh, SELF, MP_TYPE_REPORT, mesh->now - MP_MS(900));
        to_second += s && mp_get32(s->frame + MP_HEADER_SIZE) == PEER + 1;
    }
    assert_in_range(to_second, 10, 50);
    mesh_free(mesh);
}

/* However long a gateway was away, both parents are still tried in turn. */
static void endless_tries_still_alternate(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 4);
    uint16_t serial = 0;
    unsigned to[2] = {0, 0};
    (void)state;

    assert_int_equal(mesh_receipt(mesh, SELF, 1, &serial, 1), MP_OK);
    mesh->forged_round = 1;
    mesh->forged_hop = 0;
    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    engine(mesh, SELF)->report.tries = 250;
    for (unsigned i = 0; i < 40; i++) {
        const struct mesh_sent *s;

        mesh_greet(mesh, SELF, PEER, NONCE, 0, 0, 0);
        mesh_greet(mesh, SELF, PEER, NONCE, 0, 0, 0);
        mesh_greet(mesh, SELF, PEER + 1, NONCE, 0, 0, 0);
        mesh_run(mesh, MP_SECONDS(130));
        s = mesh_last(mesh, SELF, MP_TYPE_REPORT, mesh->now - MP_SECONDS(130));
        if (s && i > 12)
            to[mp_get32(s->frame + MP_HEADER_SIZE) - PEER]++;
    }
    assert_true(to[0] > 2 && to[1] > 2);
    mesh_free(mesh);
}

static void a_forged_acknowledgement_loses_nothing(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 5);
    struct ledger l = {{0}, {0}, 0};
    uint8_t body[14];
    (void)state;

    mesh_line(mesh, 0);
    run(mesh, &l, MP_SECONDS(20), MP_SECONDS(5));
    mesh->node[0].is_off = true;
    assert_int_equal(report(mesh, 3, 2, MP_PHASE_STAGED), MP_OK);
    for (unsigned i = 0; i < 200; i++) { /* whoever has it is told at once that it was taken */
        for (unsigned to = 1; to < 4; to++) {
            mp_put32(body, engine(mesh, to)->id);
            mp_put32(body + 4, engine(mesh, to)->nonce);
            mp_put32(body + 8, engine(mesh, 3)->id);
            mp_put16(body + 12, engine(mesh, 3)->report.serial);
            assert_int_equal(mesh_forge(mesh, to, PEER, MP_TYPE_REPORT_ACK, body, sizeof body), MP_OK);
        }
        run(mesh, &l, MP_MS(200), 0);
    }
    assert_int_equal(engine(mesh, 1)->custody_count, 0);
    assert_false(mp_node_is_receipted(engine(mesh, 3)));
    mesh->node[0].is_off = false;
    run(mesh, &l, MP_SECONDS(600), MP_SECONDS(5));
    assert_true(mp_node_is_receipted(engine(mesh, 3)));
    mesh_free(mesh);
}

static void acknowledgements_need_the_nonce(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t body[14];
    (void)state;

    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    mp_put32(body, engine(mesh, SELF)->id);
    mp_put32(body + 4, engine(mesh, SELF)->nonce + 1);
    mp_put32(body + 8, engine(mesh, SELF)->id);
    mp_put16(body + 12, 1);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 14), MP_ERR_REPLAY);
    assert_false(engine(mesh, SELF)->report.is_taken);
    mp_put32(body + 4, engine(mesh, SELF)->nonce);
    mp_put16(body + 12, 2); /* another serial */
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 14), MP_OK);
    assert_false(engine(mesh, SELF)->report.is_taken);
    mp_put16(body + 12, 1);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 14), MP_OK);
    assert_true(engine(mesh, SELF)->report.is_taken);
    mesh_free(mesh);
}

/* Instead of the nonce, the mark of the last REPORT serves; of no other, not before there was one, and not as an echo.
 */
static void acknowledgements_may_echo_the_report(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_node *n = engine(mesh, SELF);
    struct ledger l = {{0}, {0}, 0};
    uint8_t body[14];
    (void)state;

    mp_put32(body, n->id);
    mp_put32(body + 4, 0);
    mp_put32(body + 8, n->id);
    mp_put16(body + 12, 1);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 14), MP_ERR_REPLAY);
    mesh_full(mesh, 0);
    run(mesh, &l, MP_SECONDS(20), MP_SECONDS(5));
    assert_int_equal(report(mesh, SELF, 2, MP_PHASE_STAGED), MP_OK);
    mesh_run(mesh, MP_SECONDS(5));
    assert_true(mesh->node[SELF].counters.written[MP_TYPE_REPORT] > 0);
    n->report.is_taken = false;
    mp_put32(body + 4, n->report_mark + 1);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 14), MP_ERR_REPLAY);
    mp_put32(body + 4, n->report_mark);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 8), MP_ERR_REPLAY);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 14), MP_OK);
    assert_true(n->report.is_taken);
    mesh_free(mesh);
}

/* A REPORT body for node `to` with `count` entries of origins from `origin` on. */
static size_t make_report(struct mesh *mesh, unsigned to, uint32_t origin, unsigned count, uint16_t serial,
                          uint8_t *body)
{
    memset(body, 0, 10);
    mp_put32(body, engine(mesh, to)->id);
    mp_put32(body + 4, engine(mesh, to)->nonce);
    body[8] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        struct mp_report r = {.node = origin + i, .serial = serial};

        mp_report_put(crypto_sodium(), body + 10 + MP_REPORT_ENTRY_SIZE * i, &r, mesh->key);
    }
    return 10 + (size_t)count * MP_REPORT_ENTRY_SIZE;
}

static void malformed_reports_are_refused_whole(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t good[MP_BODY_MAX], body[MP_BODY_MAX];
    size_t len = make_report(mesh, SELF, 100, 3, 1, good);
    (void)state;

#define REFUSED(at, value, error)                                                                                      \
    do {                                                                                                               \
        memcpy(body, good, len);                                                                                       \
        body[at] = value;                                                                                              \
        assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, body, len), error);                              \
        assert_int_equal(engine(mesh, SELF)->custody_count, 0);                                                        \
    } while (0)
    REFUSED(8, 0, MP_ERR_LENGTH);
    REFUSED(8, 2, MP_ERR_LENGTH);
    REFUSED(8, 4, MP_ERR_LENGTH);
    REFUSED(8, 11, MP_ERR_LENGTH);
    REFUSED(8, 255, MP_ERR_LENGTH);
    REFUSED(9, 1, MP_ERR_FORMAT);
    REFUSED(10 + 38 + 10, 8, MP_ERR_FORMAT); /* phase of the third */
    REFUSED(4, (uint8_t)(good[4] + 1), MP_ERR_REPLAY);
    REFUSED(0, (uint8_t)(good[0] + 1), MP_OK); /* for somebody else */
#undef REFUSED
    memcpy(body, good, len);
    mp_put32(body + 10, 0);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, body, len), MP_ERR_FORMAT);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, good, len), MP_OK);
    assert_int_equal(engine(mesh, SELF)->custody_count, 3);
    mesh_free(mesh);
}

/* The neighbour table is full; who reports all the same is told that it was taken, and can stop. */
static void strangers_are_acknowledged(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t body[MP_BODY_MAX];
    const struct mesh_sent *ack;
    (void)state;

    for (unsigned i = 0; i < MP_NEIGHBOURS_MAX; i++)
        mesh_greet(mesh, SELF, PEER + i, NONCE, 0, 0, 0);
    mesh_greet(mesh, SELF, PEER + 100, NONCE, 0, 0, 0);
    assert_null(mp_neighbour_find(engine(mesh, SELF), PEER + 100));
    assert_int_equal(mesh_forge(mesh, SELF, PEER + 100, MP_TYPE_REPORT, body, make_report(mesh, SELF, 100, 3, 1, body)),
                     MP_OK);
    mesh_run(mesh, MP_MS(100));
    ack = mesh_last(mesh, SELF, MP_TYPE_REPORT_ACK, 0);
    assert_non_null(ack);
    assert_int_equal(ack->len, 25 + 8 + 3 * 6);
    assert_int_equal(mp_get32(ack->frame + MP_HEADER_SIZE), PEER + 100);
    assert_int_equal(mp_get32(ack->frame + MP_HEADER_SIZE + 4), (uint32_t)(mesh->forged_counter - 1));
    mesh_free(mesh);
}

static void full_custody_takes_no_more(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t body[MP_BODY_MAX];
    uint32_t origin = 100;
    int error;
    (void)state;

    do {
        size_t len = make_report(mesh, SELF, origin, 1, 1, body);

        error = mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, body, len);
        origin++;
    } while (error == MP_OK);
    assert_int_equal(error, MP_ERR_ROOM);
    assert_int_equal(engine(mesh, SELF)->custody_count, MP_CUSTODY_MAX);
    /* A newer report of an origin that is there takes its place; an older one changes nothing. */
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, body, make_report(mesh, SELF, 101, 1, 2, body)),
                     MP_OK);
    assert_int_equal(mp_get16(engine(mesh, SELF)->custody[1].entry + 4), 2);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, body, make_report(mesh, SELF, 101, 1, 1, body)),
                     MP_ERR_ROOM);
    assert_int_equal(engine(mesh, SELF)->custody_count, MP_CUSTODY_MAX);
    mesh_free(mesh);
}

/* The gateway acknowledges what is committed and nothing else, and its list keeps its order while it is read. */
static void gateways_acknowledge_after_the_commit(void **state)
{
    struct mesh *mesh = mesh_new(1, 0, 1);
    struct mp_node *n = engine(mesh, 0);
    uint8_t body[MP_BODY_MAX], entry[MP_REPORT_ENTRY_SIZE];
    (void)state;

    if (MP_CUSTODY_MAX < 10) /* no gateway's profile */
        skip();
    mesh->node[0].is_committing = false;
    mesh_greet(mesh, 0, PEER, NONCE, 0, 0, 0);
    mesh_greet(mesh, 0, PEER + 1, NONCE + 1, 0, 0, 0);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(
            mesh_forge(mesh, 0, PEER + i % 2, MP_TYPE_REPORT, body, make_report(mesh, 0, 100 + i, 1, 1, body)), MP_OK);
    assert_true(mesh_take_events(mesh, 0) & MP_EVENT_CUSTODY);
    mesh_run(mesh, MP_SECONDS(5));
    assert_null(mesh_last(mesh, 0, MP_TYPE_REPORT_ACK, 0));
    for (unsigned i = 0; i < 8; i++) {
        assert_true(mp_node_custody(n, i, entry));
        assert_int_equal(mp_get32(entry), 100 + i);
    }
    assert_false(mp_node_custody(n, 8, entry));
    /* What comes in while the host commits, repeats included, goes to the end. */
    assert_int_equal(mesh_forge(mesh, 0, PEER, MP_TYPE_REPORT, body, make_report(mesh, 0, 100, 1, 2, body)), MP_OK);
    assert_int_equal(mesh_forge(mesh, 0, PEER, MP_TYPE_REPORT, body, make_report(mesh, 0, 101, 1, 1, body)), MP_OK);
    mp_node_custody_done(n, mesh->now, 3);
    mesh_run(mesh, MP_MS(100));
    assert_true(mp_node_custody(n, 0, entry));
    assert_int_equal(mp_get32(entry), 103);
    /* 100 and 102 to the one, 101 twice to the other: whoever brought it last */
    assert_int_equal(mesh->node[0].counters.written[MP_TYPE_REPORT_ACK], 1);
    assert_int_equal(mesh_last(mesh, 0, MP_TYPE_REPORT_ACK, 0)->len, 25 + 8 + 3 * 6);
    assert_int_equal(mp_get32(mesh_last(mesh, 0, MP_TYPE_REPORT_ACK, 0)->frame + MP_HEADER_SIZE), PEER);
    mp_node_custody_done(n, mesh->now, 100);
    assert_false(mp_node_custody(n, 0, entry));
    mesh_run(mesh, MP_SECONDS(1));
    assert_int_equal(n->custody_count, 0);
    /* A repeat of what was committed is shown to the host again: it knows its ledger. */
    assert_int_equal(mesh_forge(mesh, 0, PEER, MP_TYPE_REPORT, body, make_report(mesh, 0, 105, 1, 1, body)), MP_OK);
    assert_true(mp_node_custody(n, 0, entry));
    mesh_free(mesh);
}

/* A gateway that can commit nothing for an hour (disk full) loses nothing and is not stormed. */
static void a_gateway_that_cannot_commit_is_waited_for(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 6);
    struct ledger l = {{0}, {0}, 0};
    uint32_t sent = 0;
    (void)state;

    mesh_line(mesh, 0);
    run(mesh, &l, MP_SECONDS(20), MP_SECONDS(5));
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(report(mesh, i, 2, MP_PHASE_STAGED), MP_OK);
    mesh->node[0].is_committing = false;
    mesh_run(mesh, HOUR);
    for (unsigned i = 1; i < 4; i++)
        sent += mesh->node[i].counters.written[MP_TYPE_REPORT];
    assert_in_range(sent, 10, 600);
    run(mesh, &l, MP_SECONDS(300), MP_SECONDS(5));
    assert_true(all_receipted(mesh));
    mesh_free(mesh);
}

/* --- echo --------------------------------------------------------------------------------------------------------- */

static void a_trial_is_echoed(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 10; seed++) {
        struct mesh *mesh = mesh_new(6, 0, seed);
        uint32_t nonce = engine(mesh, 3)->nonce, echoes = 0;

        mesh_full(mesh, 10);
        mesh->node[0].is_off = true; /* a dead gateway is no reason */
        mesh_run(mesh, MP_SECONDS(100));
        mesh_take_events(mesh, 3);
        mp_node_trial(engine(mesh, 3), &mesh->node[3].env, mesh->now, true);
        assert_true(engine(mesh, 3)->nonce != nonce && engine(mesh, 3)->nonce != 0);
        mesh_run(mesh, MP_SECONDS(10));
        assert_true(mesh_take_events(mesh, 3) & MP_EVENT_ECHO);
        for (unsigned i = 0; i < 6; i++)
            echoes += mesh->node[i].counters.written[MP_TYPE_REPORT_ACK];
        assert_in_range(echoes, 1, 20); /* the first one heard silences the rest */
        mp_node_trial(engine(mesh, 3), &mesh->node[3].env, mesh->now, false);
        mesh_take_events(mesh, 3);
        mesh_run(mesh, MP_SECONDS(100));
        assert_false(mesh_take_events(mesh, 3) & MP_EVENT_ECHO);
        mesh_free(mesh);
    }
}

/* Mute or deaf, a node on trial gets no echo. */
static void the_mute_and_the_deaf_get_no_echo(void **state)
{
    (void)state;

    for (unsigned deaf = 0; deaf < 2; deaf++) {
        struct mesh *mesh = mesh_new(3, 0, 3);

        mesh_full(mesh, 0);
        for (unsigned i = 0; i < 3; i++)
            mesh->loss[deaf ? i : 2][deaf ? 2 : i] = 100;
        mp_node_trial(engine(mesh, 2), &mesh->node[2].env, mesh->now, true);
        mesh_run(mesh, MP_SECONDS(300));
        assert_false(mesh_take_events(mesh, 2) & MP_EVENT_ECHO);
        mesh_free(mesh);
    }
}

/* An echo of the nonce before the trial (recorded, replayed) proves nothing. */
static void old_echoes_prove_nothing(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t body[8];
    (void)state;

    mp_put32(body, engine(mesh, SELF)->id);
    mp_put32(body + 4, engine(mesh, SELF)->nonce);
    mp_node_trial(engine(mesh, SELF), &mesh->node[SELF].env, mesh->now, true);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 8), MP_ERR_REPLAY);
    assert_false(mesh_take_events(mesh, SELF) & MP_EVENT_ECHO);
    mp_put32(body + 4, engine(mesh, SELF)->nonce);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 8), MP_OK);
    assert_true(mesh_take_events(mesh, SELF) & MP_EVENT_ECHO);
    mesh_free(mesh);
}

/* Ten nodes on trial at once around one member all get theirs within the shortest window worth setting. */
static void many_trials_at_once(void **state)
{
    struct mesh *mesh = mesh_new(11, 0, 8);
    (void)state;

    for (unsigned i = 1; i < 11; i++)
        mesh_link(mesh, 0, i, 10);
    mesh_run(mesh, MP_SECONDS(60));
    for (unsigned i = 1; i < 11; i++)
        mp_node_trial(engine(mesh, i), &mesh->node[i].env, mesh->now, true);
    mesh_run(mesh, MP_SECONDS(60));
    for (unsigned i = 1; i < 11; i++)
        assert_true(mesh_take_events(mesh, i) & MP_EVENT_ECHO);
    mesh_free(mesh);
}

/* --- breaker ------------------------------------------------------------------------------------------------------ */

static void neighbour_says(struct mesh *mesh, uint32_t source, uint16_t failed)
{
    uint8_t body[25] = {0};

    mp_put32(body, NONCE);
    mp_put16(body + 6, failed);
    assert_int_equal(mesh_forge(mesh, SELF, source, MP_TYPE_SUMMARY, body, sizeof body), MP_OK);
}

static void the_breaker_counts(void **state)
{
    const unsigned most = MP_NEIGHBOURS_MAX < 16 ? MP_NEIGHBOURS_MAX : 16;
    (void)state;

    for (unsigned known = 0; known <= most; known++)
        for (unsigned failed = 0; failed <= known; failed++) {
            struct mesh *mesh = mesh_new(2, 0, 1);
            struct mesh_image *image = mesh_image_new(mesh, 1, 0x10005, 10);

            for (unsigned i = 0; i < known; i++)
                neighbour_says(mesh, PEER + i, 0);
            mesh_release(mesh, SELF, image);
            mesh_take_events(mesh, SELF);
            for (unsigned i = 0; i < failed; i++)
                neighbour_says(mesh, PEER + i, 5); /* the low bits count */
            assert_int_equal(mesh_take_events(mesh, SELF) & MP_EVENT_BREAKER, failed ? MP_EVENT_BREAKER : 0);
            assert_int_equal(mp_node_breaker(engine(mesh, SELF), 0x10005), failed >= 3 && 4 * failed >= known);
            assert_false(mp_node_breaker(engine(mesh, SELF), 6));
            assert_false(mp_node_breaker(engine(mesh, SELF), 0));
            mesh_image_free(image);
            mesh_free(mesh);
        }
}

/* Who comes after the directive has no say. */
static void newcomers_do_not_trip_the_breaker(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = mesh_image_new(mesh, 1, 5, 10);
    (void)state;

    neighbour_says(mesh, PEER, 0);
    neighbour_says(mesh, PEER + 1, 0);
    mesh_release(mesh, SELF, image);
    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        neighbour_says(mesh, PEER + i, 5);
    assert_false(mp_node_breaker(engine(mesh, SELF), 5));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* Three that fail in the same moment agree with everybody else, so Trickle would keep two of them silent. */
static void failing_together_trips_the_breaker(void **state)
{
    enum { NODES = 6, FAILING = 3 };
    static const uint16_t none[NODES];
    (void)state;

    for (uint32_t seed = 1; seed <= 50; seed++) {
        struct mesh *mesh = mesh_new(NODES, MP_SECONDS(1), seed);
        struct mesh_image *image = mesh_image_new(mesh, 1, 5, 10);

        mesh_full(mesh, 10);
        assert_int_equal(mesh_receipt(mesh, 0, 1, none, NODES), MP_OK);
        for (unsigned i = 1; i < NODES; i++) /* so that all have been heard by all */
            mp_node_report(engine(mesh, i), &mesh->node[i].env, mesh->now, 1, 0, MP_PHASE_IDLE, MP_REASON_NONE);
        mesh_run(mesh, MP_SECONDS(100));
        mesh_release(mesh, 0, image);
        mesh_run(mesh, MP_SECONDS(20));
        for (unsigned i = NODES - FAILING; i < NODES; i++) {
            mesh_boot(mesh, i);
            mp_node_report(engine(mesh, i), &mesh->node[i].env, mesh->now, 1, 5, MP_PHASE_ROLLED_BACK,
                           MP_REASON_SELFTEST);
        }
        mesh_run(mesh, MP_SECONDS(4));
        for (unsigned i = 1; i < NODES - FAILING; i++)
            assert_true(mp_node_breaker(engine(mesh, i), 5));
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_receipted),
        cmocka_unit_test(equal_content_is_no_news),
        cmocka_unit_test(short_fetches_are_not_reported),
        cmocka_unit_test(serials_stay_in_their_window),
        cmocka_unit_test(a_rewritten_report_is_sent_again),
        cmocka_unit_test(receipts_of_other_serials_cover_nothing),
        cmocka_unit_test(a_reboot_keeps_the_report),
        cmocka_unit_test(a_receipt_counts_after_a_cut),
        cmocka_unit_test(broken_records_are_ignored),
        cmocka_unit_test(a_parents_death_loses_nothing),
        cmocka_unit_test(a_sibling_becomes_the_parent),
        cmocka_unit_test(busy_children_do_not_pin_a_dead_parent),
        cmocka_unit_test(endless_tries_still_alternate),
        cmocka_unit_test(a_forged_acknowledgement_loses_nothing),
        cmocka_unit_test(acknowledgements_need_the_nonce),
        cmocka_unit_test(acknowledgements_may_echo_the_report),
        cmocka_unit_test(strangers_are_acknowledged),
        cmocka_unit_test(malformed_reports_are_refused_whole),
        cmocka_unit_test(full_custody_takes_no_more),
        cmocka_unit_test(gateways_acknowledge_after_the_commit),
        cmocka_unit_test(a_gateway_that_cannot_commit_is_waited_for),
        cmocka_unit_test(a_trial_is_echoed),
        cmocka_unit_test(the_mute_and_the_deaf_get_no_echo),
        cmocka_unit_test(old_echoes_prove_nothing),
        cmocka_unit_test(many_trials_at_once),
        cmocka_unit_test(the_breaker_counts),
        cmocka_unit_test(newcomers_do_not_trip_the_breaker),
        cmocka_unit_test(failing_together_trips_the_breaker),
    };

    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
