/* Gossip: acceptance rules, the total order whatever the order of arrival, pruning, caps, key chain, bounds (SPEC 5).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "tests/lib/mesh_rig.h"

enum { SELF = 1 };
#define PEER MESH_STRANGER
#define HOUR MP_SECONDS(3600)

static struct mp_node *engine(struct mesh *mesh, unsigned i)
{
    return &mesh->node[i].engine;
}

static unsigned count_manifests(const struct mp_node *n)
{
    unsigned count = 0;

    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        count += mp_get64(n->manifests[i]) != 0;
    return count;
}

/* Manifests without payloads: gossip does not care. */
static void make_images(struct mesh *mesh, struct mesh_image **image, unsigned count, uint32_t release)
{
    for (unsigned i = 0; i < count; i++)
        image[i] = mesh_image_new(mesh, (uint16_t)(i + 1), release, 100 + i);
}

static void free_images(struct mesh_image **image, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        mesh_image_free(image[i]);
}

#define CONST(images) ((const struct mesh_image *const *)(images))

/* --- acceptance --------------------------------------------------------------------------------------------------- */

/* Each rule of SPEC 5 in its order; nothing that is refused costs more than its place in that order. */
static void directives_are_checked_in_order(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image[1];
    struct mp_directive d;
    uint8_t raw[MP_DIRECTIVE_MAX];
    unsigned long verifies;
    size_t len;
    (void)state;

    make_images(mesh, image, 1, 5);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 3, 0, CONST(image), 1), MP_OK);
    verifies = mesh_verifies;
    sign_directive_fill(&d, MP_ACTION_OPEN, MESH_NETWORK + 1, 5, 4, image[0]->id);
    len = sign_directive(raw, &d, &mesh->fleet.release);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len), MP_ERR_NETWORK);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 3, 0, CONST(image), 1), MP_ERR_DUPLICATE);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_OPEN, 5, 2, 0, CONST(image), 1), MP_ERR_OLD);
    sign_directive_fill(&d, MP_ACTION_OPEN, MESH_NETWORK, 5, 4, image[0]->id);
    d.generation = 2;
    len = sign_directive(raw, &d, &mesh->fleet.release);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len), MP_ERR_KEY);
    d.generation = 1;
    d.key_id = 1;
    len = sign_directive(raw, &d, &mesh->fleet.release);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len), MP_ERR_KEY);
    assert_int_equal(mesh_verifies, verifies);
    d.key_id = 0;
    len = sign_directive(raw, &d, &mesh->fleet.publisher); /* another role's key */
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len), MP_ERR_SIGNATURE);
    assert_int_equal(mesh_verifies, verifies + 1);
    len = sign_directive(raw, &d, &mesh->fleet.release);
    mesh->node[SELF].fail_puts = 1;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len), MP_ERR_STORE);
    assert_true(mesh_take_events(mesh, SELF) & MP_EVENT_STORE);
    assert_int_equal(engine(mesh, SELF)->heads[0].sequence, 3);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len), MP_OK);
    assert_int_equal(mesh_take_events(mesh, SELF) & MP_EVENT_DIRECTIVE, MP_EVENT_DIRECTIVE);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_CHUNK, raw, len), MP_ERR_TYPE);
    free_images(image, 1);
    mesh_free(mesh);
}

static void manifests_only_when_named(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image[2];
    uint8_t raw[MP_MANIFEST_SIZE];
    unsigned long verifies = mesh_verifies;
    (void)state;

    make_images(mesh, image, 2, 5);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), MP_ERR_UNNAMED);
    assert_int_equal(mesh_verifies, verifies);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 1, 0, CONST(image), 1), MP_OK);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[1]->raw, 200), MP_ERR_UNNAMED);
    memcpy(raw, image[0]->raw, sizeof raw);
    raw[150] ^= 1; /* another signature is another manifest */
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, raw, 200), MP_ERR_UNNAMED);
    mesh->node[SELF].fail_puts = 1;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), MP_ERR_STORE);
    assert_int_equal(count_manifests(engine(mesh, SELF)), 0);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), MP_OK);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), MP_ERR_DUPLICATE);
    free_images(image, 2);
    mesh_free(mesh);
}

/* Named by a directive, yet signed by nobody the keyset knows. */
static void named_manifests_are_still_verified(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image[1];
    struct mp_manifest m;
    (void)state;

    make_images(mesh, image, 1, 5);
    m = image[0]->manifest;
    for (unsigned i = 0; i < 3; i++) {
        image[0]->manifest = m;
        image[0]->manifest.generation = i == 1 ? 2 : 1;
        sign_manifest(image[0]->raw, &image[0]->manifest, i == 0 ? &mesh->fleet.release : &mesh->fleet.publisher);
        mp_manifest_id(crypto_sodium(), image[0]->raw, image[0]->id);
        assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, i + 1, 0, CONST(image), 1), MP_OK);
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), i == 0   ? MP_ERR_SIGNATURE
                                                                                         : i == 1 ? MP_ERR_KEY
                                                                                                  : MP_OK);
    }
    free_images(image, 1);
    mesh_free(mesh);
}

static void expired_manifests_are_refused(void **state)
{
    (void)state;

    for (uint32_t expiry = 99; expiry <= 101; expiry++) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        struct mesh_image *image[1];
        struct mp_directive d;
        uint8_t raw[MP_DIRECTIVE_MAX];

        make_images(mesh, image, 1, 5);
        image[0]->manifest.expiry_epoch = expiry;
        sign_manifest(image[0]->raw, &image[0]->manifest, &mesh->fleet.publisher);
        mp_manifest_id(crypto_sodium(), image[0]->raw, image[0]->id);
        sign_directive_fill(&d, MP_ACTION_STAGE, MESH_NETWORK, 5, 1, image[0]->id);
        d.epoch = 100;
        assert_int_equal(
            mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &mesh->fleet.release)), MP_OK);
        assert_int_equal(mp_node_epoch(engine(mesh, SELF)), 100);
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200),
                         expiry < 100 ? MP_ERR_EXPIRED : MP_OK);
        free_images(image, 1);
        mesh_free(mesh);
    }
}

static void receipts_are_checked(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_receipt r = {.network = MESH_NETWORK, .generation = 1, .round = 3, .count = 2, .nibbles = {0x11}};
    uint8_t raw[MP_RECEIPT_MAX];
    uint16_t generation;
    size_t len;
    (void)state;

    r.network++;
    len = sign_receipt(raw, &r, &mesh->fleet.release);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_RECEIPT, raw, len), MP_ERR_NETWORK);
    r.network--;
    len = sign_receipt(raw, &r, &mesh->fleet.publisher);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_RECEIPT, raw, len), MP_ERR_SIGNATURE);
    len = sign_receipt(raw, &r, &mesh->fleet.release);
    mesh->node[SELF].fail_puts = 1;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_RECEIPT, raw, len), MP_ERR_STORE);
    assert_int_equal(mp_node_round(engine(mesh, SELF), &generation), 0);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_RECEIPT, raw, len), MP_OK);
    assert_int_equal(mp_node_round(engine(mesh, SELF), &generation), 3);
    assert_int_equal(generation, 1);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_RECEIPT, raw, len), MP_ERR_DUPLICATE);
    r.round = 2;
    len = sign_receipt(raw, &r, &mesh->fleet.release);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_RECEIPT, raw, len), MP_ERR_OLD);
    mesh_boot(mesh, SELF);
    assert_int_equal(mp_node_round(engine(mesh, SELF), &generation), 3);
    mesh_free(mesh);
}

/* Each object cut at every length, from a member and from the host. */
static void cut_objects_are_refused(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image[1];
    struct mp_directive d;
    uint8_t raw[MP_BODY_MAX];
    unsigned long verifies = mesh_verifies;
    size_t whole;
    (void)state;

    make_images(mesh, image, 1, 5);
    sign_directive_fill(&d, MP_ACTION_STAGE, MESH_NETWORK, 5, 1, image[0]->id);
    whole = sign_directive(raw, &d, &mesh->fleet.release);
    for (size_t len = 0; len < whole; len++)
        assert_true(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, len) < 0);
    for (size_t len = 0; len < 200; len++)
        assert_true(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, len) < 0);
    assert_int_equal(mesh_verifies, verifies);
    assert_int_equal(mesh->node[SELF].put_count, 0);
    free_images(image, 1);
    mesh_free(mesh);
}

/* --- the total order ---------------------------------------------------------------------------------------------- */

enum { ORDERED = 6 };

/* Six directives of one release, lowest first: what a hold beats, what names it, and a second gateway's. */
static void make_order(struct mesh *mesh, const uint8_t id[8], uint8_t raw[ORDERED][MP_DIRECTIVE_MAX],
                       size_t len[ORDERED])
{
    static const struct {
        enum mp_action action;
        uint32_t sequence, floor;
    } row[ORDERED] = {
        {MP_ACTION_STAGE, 1, 0}, {MP_ACTION_OPEN, 2, 0}, {MP_ACTION_OPEN, 9, 0}, /* far ahead, knew of no hold */
        {MP_ACTION_HOLD, 3, 3},  {MP_ACTION_OPEN, 4, 3}, {MP_ACTION_HOLD, 5, 5},
    };

    for (unsigned i = 0; i < ORDERED; i++) {
        struct mp_directive d;

        sign_directive_fill(&d, row[i].action, MESH_NETWORK, 5, row[i].sequence, id);
        d.floor = row[i].floor;
        len[i] = sign_directive(raw[i], &d, &mesh->fleet.release);
    }
}

static bool permute(unsigned *p, unsigned n)
{
    unsigned i = n - 1, j = n - 1, swap;

    while (i > 0 && p[i - 1] >= p[i])
        i--;
    if (i == 0)
        return false;
    while (p[j] <= p[i - 1])
        j--;
    swap = p[i - 1];
    p[i - 1] = p[j];
    p[j] = swap;
    for (j = n - 1; i < j; i++, j--) {
        swap = p[i];
        p[i] = p[j];
        p[j] = swap;
    }
    return true;
}

static void any_order_of_arrival_ends_the_same(void **state)
{
    unsigned p[ORDERED] = {0, 1, 2, 3, 4, 5}, runs = 0;
    struct mesh *mesh = mesh_new(1, 0, 1);
    struct mesh_image *image[1];
    uint8_t raw[ORDERED][MP_DIRECTIVE_MAX];
    size_t len[ORDERED];
    struct mp_node fresh = mesh->node[0].engine;
    (void)state;

    make_images(mesh, image, 1, 5);
    make_order(mesh, image[0]->id, raw, len);
    do {
        unsigned top = 0;

        mesh->node[0].engine = fresh;
        for (unsigned i = 0; i < ORDERED; i++) {
            int error = mesh_publish(mesh, 0, MP_TYPE_DIRECTIVE, raw[p[i]], len[p[i]]);

            assert_int_equal(error, i == 0 || p[i] > top ? MP_OK : MP_ERR_OLD);
            top = p[i] > top ? p[i] : top;
        }
        assert_int_equal(engine(mesh, 0)->heads[0].sequence, 5);
        assert_memory_equal(mesh->node[0].record[MP_KIND_DIRECTIVE][0], raw[5], len[5]);
        runs++;
    } while (permute(p, ORDERED));
    assert_int_equal(runs, 720);
    free_images(image, 1);
    mesh_free(mesh);
}

/* Six nodes start with one directive each and agree on the highest, over lossy links. */
static void nodes_converge_on_the_highest(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct mesh *mesh = mesh_new(ORDERED, 0, seed);
        struct mesh_image *image[1];
        uint8_t raw[ORDERED][MP_DIRECTIVE_MAX];
        size_t len[ORDERED];

        make_images(mesh, image, 1, 5);
        make_order(mesh, image[0]->id, raw, len);
        for (unsigned i = 0; i < ORDERED; i++)
            assert_int_equal(mesh_publish(mesh, (i * 5 + seed) % ORDERED, MP_TYPE_DIRECTIVE, raw[i], len[i]), MP_OK);
        mesh_line(mesh, 20);
        assert_true(mesh_until(mesh, MP_SECONDS(300), mesh_agrees));
        for (unsigned i = 0; i < ORDERED; i++)
            assert_int_equal(engine(mesh, i)->heads[0].sequence, 5);
        free_images(image, 1);
        mesh_free(mesh);
    }
}

/* Two gateways sign the same sequence: the mesh settles on one of them. */
static void a_tie_is_settled(void **state)
{
    struct mesh *mesh = mesh_new(6, 0, 3);
    struct mesh_image *image[2];
    (void)state;

    make_images(mesh, image, 2, 5);
    assert_int_equal(mesh_direct(mesh, 0, MP_ACTION_OPEN, 5, 1, 0, CONST(image), 1), MP_OK);
    assert_int_equal(mesh_direct(mesh, 5, MP_ACTION_OPEN, 5, 1, 0, CONST(image + 1), 1), MP_OK);
    mesh_line(mesh, 10);
    assert_true(mesh_until(mesh, MP_SECONDS(300), mesh_agrees));
    free_images(image, 2);
    mesh_free(mesh);
}

/* --- caps and pruning --------------------------------------------------------------------------------------------- */

static void what_no_head_names_is_dropped(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image[3];
    (void)state;

    make_images(mesh, image, 3, 5);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 1, 0, CONST(image), 2), MP_OK);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[i]->raw, 200), MP_OK);
    mesh_take_events(mesh, SELF);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 2, 0, CONST(image + 1), 2), MP_OK);
    assert_true(mesh_take_events(mesh, SELF) & MP_EVENT_MANIFEST);
    assert_int_equal(count_manifests(engine(mesh, SELF)), 1);
    assert_int_equal(mesh->node[SELF].len[MP_KIND_MANIFEST][0] + mesh->node[SELF].len[MP_KIND_MANIFEST][1], 200);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[2]->raw, 200), MP_OK);
    free_images(image, 3);
    mesh_free(mesh);
}

/* A store that cannot be read for a moment must not look like a directive that names nothing. */
static void unreadable_heads_prune_nothing(void **state)
{
    (void)state;

    for (unsigned fail = 1; fail <= 6; fail++) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        struct mesh_image *image[2];
        const struct mesh_image *second;

        make_images(mesh, image, 2, 5);
        second = image[1];
        assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 1, 0, CONST(image), 1), MP_OK);
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), MP_OK);
        mesh->node[SELF].calls = 0;
        mesh->node[SELF].fail_every = fail;
        (void)mesh_direct(mesh, SELF, MP_ACTION_STAGE, 6, 1, 0, &second, 1);
        mesh->node[SELF].fail_every = 0;
        assert_int_equal(count_manifests(engine(mesh, SELF)), 1);
        mesh->now += MP_SECONDS(60);
        (void)mesh_direct(mesh, SELF, MP_ACTION_STAGE, 6, 1, 0, &second, 1);
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[1]->raw, 200), MP_OK);
        assert_int_equal(count_manifests(engine(mesh, SELF)), 2);
        free_images(image, 2);
        mesh_free(mesh);
    }
}

/* Four releases of eight manifests each, in any order, over several nodes: all hold the same eight. */
static void caps_hold_the_same_everywhere(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 6; seed++) {
        struct mesh *mesh = mesh_new(5, 0, seed);
        struct mesh_image *image[6][8];

        mesh_full(mesh, 15);
        for (unsigned r = 0; r < 6; r++)
            make_images(mesh, image[r], 8, 10 + r);
        for (unsigned k = 0; k < 6; k++) {
            unsigned r = (k * 5 + seed) % 6, at = k % mesh->count;

            (void)mesh_direct(mesh, at, MP_ACTION_STAGE, 10 + r, 1, 0, CONST(image[r]), 8);
            for (unsigned i = 0; i < 8; i++)
                (void)mesh_publish(mesh, at, MP_TYPE_MANIFEST, image[r][i]->raw, 200);
            mesh_run(mesh, MP_SECONDS(seed));
        }
        /* Each release's gateway offers what its directive names again, as the daemon does. */
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned k = 0; k < 6; k++)
                for (unsigned i = 0; i < 8; i++)
                    (void)mesh_publish(mesh, 0, MP_TYPE_MANIFEST, image[k][i]->raw, 200);
            mesh_run(mesh, MP_SECONDS(20));
        }
        assert_true(mesh_until(mesh, MP_SECONDS(600), mesh_agrees));
        for (unsigned i = 0; i < mesh->count; i++) {
            assert_int_equal(count_manifests(engine(mesh, i)), 8);
            for (unsigned h = 0; h < MP_RELEASES_MAX; h++)
                assert_in_range(engine(mesh, i)->heads[h].release, 12, 15);
            for (unsigned m = 0; m < 8; m++)
                assert_true(mp_get32(engine(mesh, i)->manifests[m]) != 0);
        }
        for (unsigned r = 0; r < 6; r++)
            free_images(image[r], 8);
        mesh_free(mesh);
    }
}

/* A replaced release key undoes what the stolen one signed to the end of every counter. */
static void a_new_key_generation_outranks_any_release(void **state)
{
    (void)state;

    for (unsigned order = 0; order < 2; order++) {
        struct mesh *mesh = mesh_new(3, 0, 1);
        struct mesh_image *image[2];
        struct sign_key next;
        struct mp_keychange c = {.op = MP_KEYOP_INSTALL,
                                 .role = MP_ROLE_RELEASE,
                                 .key_id = 0,
                                 .signer = {0, 1},
                                 .number = 1,
                                 .generation = 2};
        struct mp_directive d;
        uint8_t raw[MP_BODY_MAX];
        const struct mesh_image *stolen;

        make_images(mesh, image, 2, 5);
        stolen = image[1];
        for (uint32_t i = 0; i < MP_RELEASES_MAX; i++) {
            uint32_t release = UINT32_MAX - (order ? i : MP_RELEASES_MAX - i);

            assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_OPEN, release, UINT32_MAX, 0, &stolen, 1), MP_OK);
        }
        sign_key_make(&next, 40);
        memcpy(c.previous, mesh->fleet.keyset.head, 32);
        memcpy(c.key, next.pub, 32);
        sign_keychange(raw, &c, &mesh->fleet.root[0], &mesh->fleet.root[1]);
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE), MP_OK);
        sign_directive_fill(&d, MP_ACTION_OPEN, MESH_NETWORK, 6, 1, image[0]->id);
        d.generation = 2;
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &next)), MP_OK);
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_MANIFEST, image[0]->raw, 200), MP_OK);
        mesh_line(mesh, 0);
        mesh_run(mesh, MP_SECONDS(120));
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(count_manifests(engine(mesh, i)), 1);
            assert_memory_equal(engine(mesh, i)->manifests[0], image[0]->id, 8);
        }
        free_images(image, 2);
        mesh_free(mesh);
    }
}

/* --- verification bucket and Trickle resets ----------------------------------------------------------------------- */

static void a_flood_costs_few_signatures(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image[1];
    unsigned long before = mesh_verifies;
    unsigned busy = 0;
    (void)state;

    make_images(mesh, image, 1, 5);
    for (uint32_t i = 0; i < 6000; i++) { /* a minute of 100 frames a second */
        struct mp_directive d;
        uint8_t raw[MP_DIRECTIVE_MAX] = {0};
        size_t len;

        sign_directive_fill(&d, MP_ACTION_OPEN, MESH_NETWORK, 5, i + 1, image[0]->id);
        len = mp_directive_put(raw, &d) + 64;
        busy += mesh_forge(mesh, SELF, PEER + i % 50, MP_TYPE_DIRECTIVE, raw, len) == MP_ERR_BUSY;
        mesh->now += MP_MS(10);
    }
    assert_in_range(mesh_verifies - before, 16, 16 + 60000 / 500);
    assert_int_equal(mesh->node[SELF].counters.dropped[-MP_ERR_BUSY], busy);
    /* And what is good is taken as soon as the flood is over. */
    mesh->now += MP_SECONDS(1);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_STAGE, 5, 1, 0, CONST(image), 1), MP_OK);
    free_images(image, 1);
    mesh_free(mesh);
}

/* SPEC 5: eight resets for a neighbour and its list, and 12 from the bucket, one more every 300 s. */
static void resets_are_bounded(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_trickle *t = &engine(mesh, SELF)->trickle;
    uint8_t body[43] = {0};
    unsigned resets = 0;
    (void)state;

    mp_put32(body, 1);
    body[5] = 1;
    mp_put32(body + 25, 9);
    mp_put32(body + 35, 1);
    for (unsigned i = 0; i < 40; i++) { /* the same list again and again */
        mesh_run(mesh, MP_SECONDS(10));
        assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_SUMMARY, body, sizeof body), MP_OK);
        resets += t->interval_ms == MP_TRICKLE_IMIN_MS;
    }
    assert_int_equal(resets, 8);
    resets = 0;
    for (uint32_t i = 0; i < 360; i++) { /* an hour of a new list every time */
        mesh_run(mesh, MP_SECONDS(10));
        mp_put32(body + 35, i + 2);
        assert_int_equal(mesh_forge(mesh, SELF, PEER + i % 30, MP_TYPE_SUMMARY, body, sizeof body), MP_OK);
        resets += t->interval_ms == MP_TRICKLE_IMIN_MS;
    }
    assert_in_range(resets, 12, 12 + 4 + 2);
    mesh_free(mesh);
}

static void strangers_reset_nothing(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t body[43] = {0};
    (void)state;

    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        mesh_greet(mesh, SELF, PEER + i, 1, 0, 0, 0);
    mesh_run(mesh, MP_SECONDS(30));
    mp_put32(body, 1);
    body[5] = 1;
    mp_put32(body + 25, 9);
    mp_put32(body + 35, 1);
    assert_true(engine(mesh, SELF)->trickle.interval_ms > MP_TRICKLE_IMIN_MS);
    assert_int_equal(mesh_forge(mesh, SELF, PEER + 5000, MP_TYPE_SUMMARY, body, sizeof body), MP_OK);
    assert_true(engine(mesh, SELF)->trickle.interval_ms > MP_TRICKLE_IMIN_MS);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_SUMMARY, body, sizeof body), MP_OK);
    assert_int_equal(engine(mesh, SELF)->trickle.interval_ms, MP_TRICKLE_IMIN_MS);
    mesh_free(mesh);
}

/* In a settled mesh Trickle falls silent: at most about one SUMMARY an interval and neighbourhood. */
static void agreement_is_quiet(void **state)
{
    struct mesh *mesh = mesh_new(10, 0, 2);
    struct mesh_image *image[1];
    uint32_t before = 0, after = 0;
    (void)state;

    mesh_full(mesh, 5);
    make_images(mesh, image, 1, 5);
    mesh_release(mesh, 0, image[0]);
    mesh_run(mesh, HOUR);
    assert_true(mesh_agrees(mesh));
    for (unsigned i = 0; i < mesh->count; i++)
        for (unsigned type = 0; type < MESH_TYPES; type++)
            before += mesh->node[i].counters.written[type];
    mesh_run(mesh, 10 * HOUR);
    for (unsigned i = 0; i < mesh->count; i++)
        for (unsigned type = 0; type < MESH_TYPES; type++)
            after += mesh->node[i].counters.written[type];
    assert_in_range(after - before, 20, 36000 / 1024 * 6); /* k = 2, and intervals are not aligned */
    free_images(image, 1);
    mesh_free(mesh);
}

/* --- key chain ---------------------------------------------------------------------------------------------------- */

/* Statement `number` of a chain that installs publisher key 1 anew each time; *head moves on. */
static void make_change(const struct mesh *mesh, uint16_t number, uint8_t fill, uint8_t head[32],
                        uint8_t raw[MP_KEYCHANGE_SIZE])
{
    struct mp_keychange c = {.op = MP_KEYOP_INSTALL,
                             .role = MP_ROLE_PUBLISHER,
                             .key_id = 1,
                             .signer = {0, 2},
                             .number = number,
                             .generation = (uint16_t)(number + 1)};

    memcpy(c.previous, head, 32);
    memset(c.key, fill, 32);
    sign_keychange(raw, &c, &mesh->fleet.root[0], &mesh->fleet.root[2]);
    mp_keychange_digest(crypto_sodium(), raw, head);
}

static void extend(struct mesh *mesh, unsigned i, uint16_t from, uint16_t to, uint8_t head[32])
{
    for (uint16_t number = from; number <= to; number++) {
        uint8_t raw[MP_KEYCHANGE_SIZE];

        make_change(mesh, number, (uint8_t)number, head, raw);
        assert_int_equal(mesh_publish(mesh, i, MP_TYPE_KEYCHANGE, raw, sizeof raw), MP_OK);
        mesh->now += MP_SECONDS(2); /* the verification bucket */
    }
}

static void a_chain_catches_up(void **state)
{
    (void)state;

    for (uint16_t behind = 1; behind <= MP_KEYCHAIN_MAX; behind = (uint16_t)(behind + 5)) {
        struct mesh *mesh = mesh_new(4, 0, behind);
        uint8_t head[32];

        memcpy(head, mesh->fleet.keyset.head, 32);
        extend(mesh, 0, 1, behind, head);
        mesh_line(mesh, 10);
        assert_true(mesh_until(mesh, MP_SECONDS(600), mesh_agrees));
        for (unsigned i = 0; i < mesh->count; i++) {
            assert_int_equal(engine(mesh, i)->key_number, behind);
            mesh_boot(mesh, i);
            assert_int_equal(engine(mesh, i)->key_number, behind);
        }
        mesh_free(mesh);
    }
}

/* Two stragglers at different points; a node that is further behind than the chain kept stays where it is. */
static void stragglers_catch_up_or_stay(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 9);
    uint8_t head[32];
    (void)state;

    memcpy(head, mesh->fleet.keyset.head, 32);
    extend(mesh, 0, 1, 1, head);
    mesh_link(mesh, 0, 1, 0);
    mesh_run(mesh, MP_SECONDS(20));
    mesh_link(mesh, 0, 1, 100);
    extend(mesh, 0, 2, 9, head);
    mesh_link(mesh, 0, 2, 0);
    mesh_run(mesh, MP_SECONDS(60));
    assert_int_equal(engine(mesh, 2)->key_number, 9);
    mesh_link(mesh, 0, 2, 100);
    extend(mesh, 0, 10, 17, head);
    mesh_link(mesh, 0, 3, 0);
    mesh_run(mesh, MP_SECONDS(600));
    assert_int_equal(engine(mesh, 3)->key_number, 0); /* 17 behind: out of reach */
    mesh_full(mesh, 0);
    mesh_run(mesh, MP_SECONDS(600));
    assert_int_equal(engine(mesh, 0)->key_number, 17);
    assert_int_equal(engine(mesh, 1)->key_number, 17); /* 16 behind */
    assert_int_equal(engine(mesh, 2)->key_number, 17);
    mesh_free(mesh);
}

static void gaps_and_old_statements_are_refused(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t head[32], raw[3][MP_KEYCHANGE_SIZE];
    unsigned long verifies;
    (void)state;

    memcpy(head, mesh->fleet.keyset.head, 32);
    for (uint16_t i = 0; i < 3; i++)
        make_change(mesh, (uint16_t)(i + 1), (uint8_t)i, head, raw[i]);
    verifies = mesh_verifies;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[1], 200), MP_ERR_GAP);
    assert_int_equal(mesh_verifies, verifies);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[0], 200), MP_OK);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[0], 200), MP_ERR_DUPLICATE);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[1], 200), MP_OK);
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[0], 200), MP_ERR_OLD);
    raw[2][80] ^= 1;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[2], 200), MP_ERR_SIGNATURE);
    raw[2][80] ^= 1;
    raw[2][199] ^= 1;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[2], 200), MP_ERR_SIGNATURE);
    raw[2][199] ^= 1;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw[2], 200), MP_OK);
    mesh_free(mesh);
}

/* Each put of a key change fails once; and power is cut between its two puts. */
static void a_cut_between_the_two_puts_is_repaired(void **state)
{
    (void)state;

    for (unsigned cut = 0; cut < 2; cut++) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        struct mesh_node *n = &mesh->node[SELF];
        uint8_t head[32], raw[MP_KEYCHANGE_SIZE];

        memcpy(head, mesh->fleet.keyset.head, 32);
        extend(mesh, SELF, 1, 3, head);
        make_change(mesh, 4, 4, head, raw);
        n->calls = 0;
        n->fail_every = cut + 2; /* get keyset, put statement, put keyset */
        assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw, 200), MP_ERR_STORE);
        n->fail_every = 0;
        assert_int_equal(engine(mesh, SELF)->key_number, 3);
        if (cut == 0) {
            assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_KEYCHANGE, raw, 200), MP_OK);
        } else {
            mesh_boot(mesh, SELF);
        }
        assert_int_equal(engine(mesh, SELF)->key_number, 4);
        assert_int_equal(mp_get16(n->record[MP_KIND_KEYSET][0]), 4);
        mesh_free(mesh);
    }
}

static void a_fork_freezes_and_is_told(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    uint8_t head[32], other[32], raw[MP_KEYCHANGE_SIZE];
    const struct mesh_sent *s;
    (void)state;

    memcpy(head, mesh->fleet.keyset.head, 32);
    extend(mesh, 0, 1, 1, head);
    memcpy(other, head, 32);
    mesh_line(mesh, 0);
    mesh_run(mesh, MP_SECONDS(30));
    extend(mesh, 0, 2, 2, head);
    mesh_run(mesh, MP_SECONDS(30));
    make_change(mesh, 2, 99, other, raw); /* two roots signed another second statement */
    raw[180] ^= 1;
    assert_int_equal(mesh_publish(mesh, 2, MP_TYPE_KEYCHANGE, raw, 200), MP_ERR_OLD); /* one of them did not */
    assert_false(engine(mesh, 2)->is_frozen);
    raw[180] ^= 1;
    mesh_run(mesh, MP_SECONDS(5));
    assert_int_equal(mesh_publish(mesh, 2, MP_TYPE_KEYCHANGE, raw, 200), MP_ERR_FROZEN);
    assert_true(mesh_take_events(mesh, 2) & MP_EVENT_FORK);
    assert_int_equal(engine(mesh, 2)->key_number, 2);
    mesh_boot(mesh, 2);
    assert_true(engine(mesh, 2)->is_frozen);
    make_change(mesh, 3, 3, head, raw);
    assert_int_equal(mesh_publish(mesh, 2, MP_TYPE_KEYCHANGE, raw, 200), MP_ERR_FROZEN);
    mesh_run(mesh, MP_SECONDS(5));
    s = mesh_last(mesh, 2, MP_TYPE_SUMMARY, mesh->now - MP_SECONDS(5));
    assert_non_null(s);
    assert_int_equal(s->frame[MP_HEADER_SIZE + 4] & 8, 8);
    /* What the keys in force sign is taken as before. */
    struct mesh_image *image[1];
    make_images(mesh, image, 1, 5);
    mesh_release(mesh, 0, image[0]);
    mesh_run(mesh, MP_SECONDS(60));
    assert_int_equal(count_manifests(engine(mesh, 2)), 1);
    free_images(image, 1);
    mesh_free(mesh);
}

/* Two halves of a mesh that took different statements: the fork shows where they meet. */
static void halves_find_their_fork(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint8_t left[32], right[32], raw[MP_KEYCHANGE_SIZE];
    (void)state;

    memcpy(left, mesh->fleet.keyset.head, 32);
    memcpy(right, left, 32);
    make_change(mesh, 1, 1, left, raw);
    assert_int_equal(mesh_publish(mesh, 0, MP_TYPE_KEYCHANGE, raw, 200), MP_OK);
    make_change(mesh, 1, 2, right, raw);
    assert_int_equal(mesh_publish(mesh, 1, MP_TYPE_KEYCHANGE, raw, 200), MP_OK);
    mesh_full(mesh, 0);
    mesh_run(mesh, MP_SECONDS(60));
    assert_true(engine(mesh, 0)->is_frozen || engine(mesh, 1)->is_frozen);
    mesh_free(mesh);
}

/* --- staleness ---------------------------------------------------------------------------------------------------- */

static void stale_after_seven_days(void **state)
{
    struct mesh *mesh = mesh_new(2, MP_MS((mp_time)UINT32_MAX - 50000), 1);
    struct mesh_image *image[1];
    struct mp_directive d;
    uint8_t raw[MP_DIRECTIVE_MAX];
    const struct mesh_sent *s;
    (void)state;

    make_images(mesh, image, 1, 5);
    mesh_run(mesh, 100 * HOUR);
    sign_directive_fill(&d, MP_ACTION_STAGE, MESH_NETWORK, 5, 1, image[0]->id);
    d.epoch = 20;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &mesh->fleet.release)),
                     MP_OK);
    mesh_run(mesh, 7 * 24 * HOUR - MP_SECONDS(1));
    assert_false(mp_node_is_stale(engine(mesh, SELF), mesh->now));
    d.sequence = 2; /* an older day's directive is no news */
    d.epoch = 19;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &mesh->fleet.release)),
                     MP_OK);
    assert_int_equal(mp_node_epoch(engine(mesh, SELF)), 20);
    mesh->now += MP_SECONDS(2);
    assert_true(mp_node_is_stale(engine(mesh, SELF), mesh->now)); /* before any timer ran */
    mesh_run(mesh, MP_SECONDS(2000));
    assert_true(mp_node_is_stale(engine(mesh, SELF), mesh->now));
    s = mesh_last(mesh, SELF, MP_TYPE_SUMMARY, mesh->now - MP_SECONDS(2000));
    assert_non_null(s);
    assert_int_equal(s->frame[MP_HEADER_SIZE + 4] & 4, 4);
    d.sequence = 3;
    d.epoch = 21;
    assert_int_equal(mesh_publish(mesh, SELF, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &mesh->fleet.release)),
                     MP_OK);
    assert_false(mp_node_is_stale(engine(mesh, SELF), mesh->now));
    assert_int_equal(mp_node_epoch(engine(mesh, SELF)), 21);
    mesh_run(mesh, 30 * 24 * HOUR); /* and it stays stale however long it lasts */
    assert_true(mp_node_is_stale(engine(mesh, SELF), mesh->now));
    mesh_run(mesh, 30 * 24 * HOUR);
    assert_true(mp_node_is_stale(engine(mesh, SELF), mesh->now));
    free_images(image, 1);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directives_are_checked_in_order),
        cmocka_unit_test(manifests_only_when_named),
        cmocka_unit_test(named_manifests_are_still_verified),
        cmocka_unit_test(expired_manifests_are_refused),
        cmocka_unit_test(receipts_are_checked),
        cmocka_unit_test(cut_objects_are_refused),
        cmocka_unit_test(any_order_of_arrival_ends_the_same),
        cmocka_unit_test(nodes_converge_on_the_highest),
        cmocka_unit_test(a_tie_is_settled),
        cmocka_unit_test(what_no_head_names_is_dropped),
        cmocka_unit_test(unreadable_heads_prune_nothing),
        cmocka_unit_test(caps_hold_the_same_everywhere),
        cmocka_unit_test(a_new_key_generation_outranks_any_release),
        cmocka_unit_test(a_flood_costs_few_signatures),
        cmocka_unit_test(resets_are_bounded),
        cmocka_unit_test(strangers_reset_nothing),
        cmocka_unit_test(agreement_is_quiet),
        cmocka_unit_test(a_chain_catches_up),
        cmocka_unit_test(stragglers_catch_up_or_stay),
        cmocka_unit_test(gaps_and_old_statements_are_refused),
        cmocka_unit_test(a_cut_between_the_two_puts_is_repaired),
        cmocka_unit_test(a_fork_freezes_and_is_told),
        cmocka_unit_test(halves_find_their_fork),
        cmocka_unit_test(stale_after_seven_days),
    };

    return cmocka_run_group_tests_name("gossip", tests, NULL, NULL);
}
