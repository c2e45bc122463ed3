/*
 * A node's storage where MCUboot decides what boots: updates, rollbacks, refusals and requests of others in every mode,
 * and a whole update with power cut at every flash operation. MCUboot's part is tests/lib/mcuboot_model.c, compared here
 * with what MCUboot itself left in flash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/mp_wire.h"
#include "tests/lib/mcuboot_model.h"
#include "tests/lib/rig.h"
#include "tests/lib/vectors.h"

enum { SECTOR = 1024, SLOT = 16 * SECTOR, SECTORS_MAX = 24, BODY = 2900, MEMORY = 128, IMAGES = 4 };

static const struct part {
    uint8_t mode;
    uint8_t granule;
    uint8_t max_align;
    bool write_once;
} parts[] = {
    {NF_MCUBOOT_SCRATCH, 4, 8, false},   {NF_MCUBOOT_MOVE, 4, 8, false},       {NF_MCUBOOT_OFFSET, 4, 8, false},
    {NF_MCUBOOT_OVERWRITE, 4, 8, false}, {NF_MCUBOOT_XIP_REVERT, 4, 8, false}, {NF_MCUBOOT_SCRATCH, 8, 8, true},
    {NF_MCUBOOT_MOVE, 16, 16, true},     {NF_MCUBOOT_OFFSET, 8, 8, true},      {NF_MCUBOOT_OVERWRITE, 32, 32, true},
    {NF_MCUBOOT_XIP_REVERT, 8, 8, true},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

static struct flash_sim sim;
static struct nf_mcuboot_map map;
static struct nf_mcuboot m;
static uint8_t memory[MEMORY];
static struct rig_image image[IMAGES]; /* by release */
static struct sign_fleet fleet;

/* --- images ------------------------------------------------------------------------------------------------------- */

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    memcpy(data, ((struct rig_image *)ctx)->payload + offset, len);
    return MP_OK;
}

static int chunk_keep(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    memcpy(((struct rig_image *)ctx)->chunk[position], data, len);
    return MP_OK;
}

/* Manifest and chunks of what lies in payload. */
static void image_sign(struct rig_image *i, uint32_t release)
{
    uint8_t root[MP_HASH_SIZE];

    sign_manifest_fill(&i->m, RIG_MODEL, release);
    sign_manifest_image(&i->m, i->payload, i->size);
    i->m.security_counter = release;
    sign_manifest(i->manifest, &i->m, &fleet.publisher);
    mp_manifest_id(rig_crypto(), i->manifest, i->id);
    mp_tree_init(&i->tree, i->size);
    assert_true(i->tree.positions <= RIG_CHUNKS_MAX);
    assert_int_equal(mp_tree_build(&i->tree, rig_crypto(), i->m.salt, payload_read, chunk_keep, i, root), MP_OK);
    for (uint32_t n = 0; n < i->tree.count[0]; n++)
        memcpy(i->chunk[i->tree.first[0] + n], i->payload + n * MP_CHUNK_SIZE,
               mp_tree_length(&i->tree, i->tree.first[0] + n));
}

static void images_make(void)
{
    sign_fleet_make(&fleet);
    for (uint32_t r = 1; r < IMAGES; r++) {
        memset(&image[r], 0, sizeof image[r]);
        image[r].size = mcuboot_model_image(image[r].payload, (uint8_t)r, BODY + 200 * (r % 2), r, (uint8_t)(r * 11));
        image_sign(&image[r], r);
    }
}

/* --- a part ------------------------------------------------------------------------------------------------------- */

static void map_make(const struct part *p)
{
    uint32_t at;

    memset(&map, 0, sizeof map);
    map.shape = (struct nf_mcuboot_shape){
        .mode = p->mode, .align = p->granule, .max_align = p->max_align, .max_sectors = SECTORS_MAX, .sector = SECTOR};
    map.slot[0] = (struct nf_mcuboot_area){0, SLOT + (p->mode == NF_MCUBOOT_MOVE ? SECTOR : 0)};
    map.slot[1] = (struct nf_mcuboot_area){map.slot[0].size, SLOT + (p->mode == NF_MCUBOOT_OFFSET ? SECTOR : 0)};
    at = map.slot[1].address + map.slot[1].size;
    map.boot_record = at;
    map.settings = at + 2 * SECTOR;
    map.objects = at + 3 * SECTOR;
    map.objects_size = 8 * SECTOR;
    if (p->mode != NF_MCUBOOT_XIP_REVERT) {
        map.seal[0] = at + 11 * SECTOR;
        map.seal[1] = at + 12 * SECTOR;
    }
}

static void load(unsigned slot, uint32_t offset, const struct rig_image *i)
{
    uint32_t at = map.slot[slot].address + offset;
    uint8_t buf[32];

    for (uint32_t n = 0; n < i->size; n += sim.flash.granule) {
        uint32_t len = i->size - n < sim.flash.granule ? i->size - n : sim.flash.granule;

        memset(buf, 0xFF, sizeof buf);
        memcpy(buf, i->payload + n, len);
        assert_int_equal(sim.flash.program(&sim, at + n, buf, sim.flash.granule), NF_FLASH_OK);
    }
}

/* From the factory: image 1 in the primary slot, no seal, nothing remembered. */
static void factory(const struct part *p)
{
    flash_sim_init(&sim, 64 * 1024, SECTOR, p->granule, p->write_once);
    map_make(p);
    load(0, 0, &image[1]);
    if (p->mode == NF_MCUBOOT_XIP_REVERT)
        assert_int_equal(nf_mcuboot_set_pending(&map.shape, &sim.flash, &map.slot[0], true), MP_OK);
}

static int running;

/* A reset: MCUboot, then the application. What nf_mcuboot_init() returned. */
static int start(enum boot_cause cause)
{
    running = mcuboot_model_boot(&sim, &map);
    assert_true(running >= 0);
    memset(&m, 0, sizeof m);
    assert_true(nf_mcuboot_memory(&map, &sim.flash) <= sizeof memory);
    return nf_mcuboot_init(&m, &sim.flash, &map, rig_crypto(), (unsigned)running, cause, memory, sizeof memory);
}

static struct boot_record record(void)
{
    struct boot_record r;

    assert_int_equal(m.storage.boot_read(&m.store, &r), MP_OK);
    return r;
}

/* Version of the image that runs, as its header has it. */
static unsigned version(void)
{
    return sim.data[map.slot[running].address + 20];
}

static bool holds(unsigned place, uint32_t release)
{
    uint8_t data[MP_MANIFEST_SIZE];

    return m.storage.sealed(&m.store, place, data) == MP_OK && memcmp(data, image[release].manifest, sizeof data) == 0;
}

static int work_all(void)
{
    int more;

    do
        more = m.storage.work(&m.store);
    while (more == 1);
    return more;
}

static int chunks_put(const struct rig_image *i)
{
    for (unsigned pass = 0; pass < 4 && !nf_slot_is_complete(&m.store.slot[NF_PLACE_TARGET]); pass++)
        for (uint32_t p = 0; p < i->tree.positions; p++) {
            int error =
                nf_flash_store.chunk_put(&m.store, NF_PLACE_TARGET, p, i->chunk[p], mp_tree_length(&i->tree, p));
            if (error != MP_OK && error != MP_ERR_PARENT)
                return error;
        }
    return MP_OK;
}

/* Opens, fills and seals the other slot. */
static int fetch(uint32_t release)
{
    int error = m.storage.open(&m.store, image[release].manifest);

    if (error == MP_OK)
        error = work_all();
    if (error == MP_OK)
        error = chunks_put(&image[release]);
    if (error == MP_OK)
        error = m.storage.verify(&m.store);
    return error == MP_OK ? work_all() : error;
}

static int request(uint32_t release)
{
    return m.storage.boot_request(&m.store, image[release].manifest, 120, false);
}

/* Every chunk of the image that runs can be served. */
static void serves(uint32_t release)
{
    uint8_t data[MP_CHUNK_SIZE];

    for (uint32_t p = 0; p < image[release].tree.positions; p++) {
        int len = nf_flash_store.chunk_get(&m.store, NF_PLACE_HOME, p, data);

        assert_int_equal(len, mp_tree_length(&image[release].tree, p));
        assert_memory_equal(data, image[release].chunk[p], (size_t)len);
    }
}

/* --- updates ------------------------------------------------------------------------------------------------------ */

static void update(uint32_t from, uint32_t to, unsigned mode)
{
    struct boot_record r;

    assert_int_equal(fetch(to), MP_OK);
    assert_true(holds(NF_PLACE_TARGET, to));
    assert_int_equal(request(to), MP_OK);
    assert_int_equal(record().state, BOOT_PENDING);
    assert_int_equal(start(BOOT_CAUSE_REQUEST), MP_OK);
    assert_int_equal(version(), to);
    r = record();
    assert_int_equal(r.state, BOOT_TRIAL);
    assert_int_equal(r.confirm_s, 120);
    assert_int_equal(r.release, to);
    assert_memory_equal(r.id, image[to].id, 8);
    assert_true(holds(NF_PLACE_HOME, to));
    serves(to);
    /* What is there to go back to is not erased. */
    assert_int_equal(m.storage.open(&m.store, image[from].manifest), MP_ERR_STATE);
    assert_int_equal(m.storage.boot_confirm(&m.store, to), MP_OK);
    assert_int_equal(m.storage.boot_confirm(&m.store, to), MP_ERR_STATE);
    r = record();
    assert_int_equal(r.state, BOOT_CONFIRMED);
    assert_int_equal(r.reason, MP_REASON_NONE);
    assert_int_equal(r.flags, BOOT_FLAG_UPDATED);
    assert_int_equal(r.floor, to);
    uint32_t sequence = r.sequence;

    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(version(), to);
        assert_int_equal(record().sequence, sequence);
        assert_true(holds(NF_PLACE_HOME, to));
        /* The image before is where swapping put it, sealed; swap-offset puts it where nothing boots from. */
        bool is_kept = from > 1 && mode != NF_MCUBOOT_OFFSET && mode != NF_MCUBOOT_OVERWRITE;
        assert_int_equal(holds(NF_PLACE_TARGET, from), is_kept);
    }
    serves(to);
}

static void test_updates(void **state)
{
    (void)state;
    for (unsigned p = 0; p < PARTS; p++) {
        factory(&parts[p]);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(record().state, BOOT_CONFIRMED);
        assert_int_equal(record().floor, 0);
        assert_false(holds(NF_PLACE_HOME, 1));
        update(1, 2, parts[p].mode);
        update(2, 3, parts[p].mode);
    }
}

/* The image before comes back by a signed revert where it is still there. */
static void test_revert(void **state)
{
    (void)state;
    for (unsigned p = 0; p < PARTS; p++) {
        if (parts[p].mode != NF_MCUBOOT_SCRATCH && parts[p].mode != NF_MCUBOOT_MOVE)
            continue;
        factory(&parts[p]);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        for (uint32_t release = 2; release < IMAGES; release++) {
            image[release].m.security_counter = 2;
            update(release - 1, release, parts[p].mode);
        }
        /* Counters: image 2's is below the floor that image 3 raised. */
        assert_int_equal(request(2), MP_ERR_COUNTER);
        struct boot_record r = record();

        r.floor = 2;
        assert_int_equal(boot_append(&sim.flash, &m.store.layout, &r), MP_OK);
        assert_int_equal(m.storage.boot_request(&m.store, image[2].manifest, 60, true), MP_OK);
        assert_int_equal(start(BOOT_CAUSE_REQUEST), MP_OK);
        assert_int_equal(version(), 2);
        assert_int_equal(record().state, BOOT_TRIAL);
        assert_int_equal(record().flags, BOOT_FLAG_REVERT);
        assert_int_equal(m.storage.boot_confirm(&m.store, 2), MP_OK);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_true(holds(NF_PLACE_HOME, 2) && holds(NF_PLACE_TARGET, 3));
    }
}

/* --- rollbacks ---------------------------------------------------------------------------------------------------- */

/* How a trial ended, and the reason that the record has to give. */
static const struct ending {
    enum boot_cause noted; /* REQUEST: nothing was */
    enum boot_cause cause; /* as the port learned it */
    bool crashes;          /* before the application ran at all */
    enum mp_reason reason;
} endings[] = {
    {BOOT_CAUSE_SELFTEST, BOOT_CAUSE_POWER, false, MP_REASON_SELFTEST},
    {BOOT_CAUSE_MUTE, BOOT_CAUSE_WATCHDOG, false, MP_REASON_WATCHDOG},
    {BOOT_CAUSE_REQUEST, BOOT_CAUSE_CRASH, false, MP_REASON_CRASHED},
    {BOOT_CAUSE_REQUEST, BOOT_CAUSE_POWER, false, MP_REASON_OTHER},
    {BOOT_CAUSE_REQUEST, BOOT_CAUSE_WATCHDOG, true, MP_REASON_WATCHDOG},
    {BOOT_CAUSE_REQUEST, BOOT_CAUSE_POWER, true, MP_REASON_OTHER},
};

static void roll_back(const struct part *p, const struct ending *e)
{
    struct boot_record r;

    assert_int_equal(fetch(3), MP_OK);
    assert_int_equal(request(3), MP_OK);
    if (e->crashes) {
        assert_int_equal(mcuboot_model_boot(&sim, &map), p->mode == NF_MCUBOOT_XIP_REVERT ? running ^ 1 : 0);
    } else {
        assert_int_equal(start(BOOT_CAUSE_REQUEST), MP_OK);
        assert_int_equal(version(), 3);
        assert_int_equal(nf_mcuboot_note(&m, e->noted), MP_OK);
    }
    assert_int_equal(start(e->cause), MP_OK);
    assert_int_equal(version(), 2);
    r = record();
    assert_int_equal(r.state, BOOT_CONFIRMED);
    assert_int_equal(r.home, running);
    /* Direct-XIP erases what fell; nobody was there to see why. */
    bool is_gone = p->mode == NF_MCUBOOT_XIP_REVERT && e->crashes && e->reason == MP_REASON_OTHER;
    assert_int_equal(r.reason, is_gone ? MP_REASON_BAD_IMAGE : e->reason);
    assert_int_equal(r.floor, 2);
    assert_int_equal(r.release, 3);
    assert_memory_equal(r.id, image[3].id, 8);
    assert_true(holds(NF_PLACE_HOME, 2));
    assert_int_equal(holds(NF_PLACE_TARGET, 3), p->mode != NF_MCUBOOT_XIP_REVERT);
}

static void test_rollbacks(void **state)
{
    static struct flash_sim updated;
    (void)state;

    for (unsigned p = 0; p < PARTS; p++) {
        if (parts[p].mode == NF_MCUBOOT_OVERWRITE)
            continue;
        factory(&parts[p]);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        update(1, 2, parts[p].mode);
        updated = sim;
        for (size_t e = 0; e < sizeof endings / sizeof endings[0]; e++) {
            sim = updated;
            assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
            roll_back(&parts[p], &endings[e]);
            /* And nothing is in the way of the next one. */
            update(2, 3, parts[p].mode);
        }
    }
}

/* Overwriting cannot go back: the image has as many tries as elsewhere, then it stays, blamed. */
static void test_overwriting_has_no_way_back(void **state)
{
    (void)state;
    for (unsigned p = 0; p < PARTS; p++) {
        if (parts[p].mode != NF_MCUBOOT_OVERWRITE)
            continue;
        factory(&parts[p]);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(fetch(2), MP_OK);
        assert_int_equal(request(2), MP_OK);
        for (unsigned boot = 0; boot < BOOT_TRIES; boot++) {
            assert_int_equal(start(boot == 0 ? BOOT_CAUSE_REQUEST : BOOT_CAUSE_MUTE), MP_OK);
            assert_int_equal(record().state, BOOT_TRIAL);
            assert_int_equal(record().tries, BOOT_TRIES - 1 - boot);
            assert_int_equal(m.storage.open(&m.store, image[3].manifest), MP_ERR_STATE);
        }
        assert_int_equal(start(BOOT_CAUSE_MUTE), MP_OK);
        assert_int_equal(record().state, BOOT_CONFIRMED);
        assert_int_equal(record().reason, MP_REASON_MUTE);
        assert_int_equal(record().floor, 0);
        assert_int_equal(version(), 2);
        update(2, 3, NF_MCUBOOT_OVERWRITE);
    }
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

static void test_mcuboot_refuses(void **state)
{
    (void)state;
    for (unsigned p = 0; p < PARTS; p++) {
        factory(&parts[p]);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        image[2].payload[500] ^= 1; /* signed by us, and not what its TLV says */
        image_sign(&image[2], 2);
        assert_int_equal(fetch(2), MP_OK);
        assert_int_equal(request(2), MP_OK);
        assert_int_equal(start(BOOT_CAUSE_REQUEST), MP_OK);
        assert_int_equal(version(), 1);
        assert_int_equal(record().state, BOOT_CONFIRMED);
        assert_int_equal(record().reason, MP_REASON_BAD_IMAGE);
        assert_false(holds(NF_PLACE_TARGET, 2));
        images_make();
        update(1, 2, parts[p].mode);
    }
}

static void expect_refused(uint32_t at, uint32_t value, int error)
{
    uint32_t before = mp_get32(image[2].payload + at);

    mp_put32(image[2].payload + at, value);
    image_sign(&image[2], 2);
    assert_int_equal(fetch(2), MP_OK);
    assert_int_equal(request(2), error);
    assert_int_equal(record().state, BOOT_CONFIRMED);
    mp_put32(image[2].payload + at, before);
}

static void test_payloads(void **state)
{
    const uint32_t tlv = MCUBOOT_MODEL_HEADER + BODY;
    (void)state;

    factory(&parts[1]);
    assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
    expect_refused(0, 0x96F3B83C, MP_ERR_FORMAT);
    expect_refused(8, 31 | 12u << 16, MP_ERR_FORMAT);
    expect_refused(8, 0xFFFF | 12u << 16, MP_ERR_FORMAT);
    expect_refused(8, 32, MP_ERR_FORMAT);
    expect_refused(8, 32 | 16u << 16, MP_ERR_FORMAT);
    expect_refused(12, 0xFFFFFFFF, MP_ERR_FORMAT);
    expect_refused(12, BODY - 4, MP_ERR_FORMAT);
    expect_refused(16, 0x04, MP_ERR_UNSUPPORTED);
    expect_refused(16, 0x10, MP_ERR_UNSUPPORTED);
    expect_refused(16, 0x400, MP_ERR_UNSUPPORTED);
    expect_refused(tlv + 4, 0x50 | 5u << 16, MP_ERR_FORMAT);
    expect_refused(tlv + 8, 3, MP_ERR_COUNTER);
    expect_refused(tlv + 12, 0x6907 | 36u << 16, MP_ERR_FORMAT);
    expect_refused(tlv + 12, 0x6907 | 44u << 16, MP_ERR_FORMAT);
    expect_refused(tlv + 12, 0x6909 | 40u << 16, MP_ERR_FORMAT);
    images_make();
    image[2].size++; /* padded */
    image_sign(&image[2], 2);
    assert_int_equal(fetch(2), MP_OK);
    assert_int_equal(request(2), MP_ERR_FORMAT);
    images_make();
    image[2].size = 31;
    image_sign(&image[2], 2);
    assert_int_equal(fetch(2), MP_OK);
    assert_int_equal(request(2), MP_ERR_FORMAT);
    images_make();
}

static void test_states(void **state)
{
    (void)state;
    for (unsigned p = 0; p < PARTS; p++) {
        factory(&parts[p]);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(request(2), MP_ERR_STATE);
        assert_int_equal(m.storage.boot_confirm(&m.store, 1), MP_ERR_STATE);
        assert_int_equal(m.storage.boot_abort(&m.store, MP_REASON_OTHER), MP_ERR_STATE);
        assert_int_equal(fetch(2), MP_OK);
        assert_int_equal(request(2), MP_OK);
        assert_int_equal(request(2), MP_ERR_STATE);
        /* Withdrawn before the reset: MCUboot hears nothing of it. */
        assert_int_equal(m.storage.boot_abort(&m.store, MP_REASON_BATTERY), MP_OK);
        assert_int_equal(record().state, BOOT_CONFIRMED);
        assert_int_equal(record().reason, MP_REASON_BATTERY);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(version(), 1);
        assert_int_equal(record().reason, MP_REASON_BATTERY);
        /* Given up on trial. */
        if (!holds(NF_PLACE_TARGET, 2))
            assert_int_equal(fetch(2), MP_OK);
        assert_int_equal(request(2), MP_OK);
        assert_int_equal(start(BOOT_CAUSE_REQUEST), MP_OK);
        assert_int_equal(m.storage.boot_abort(&m.store, MP_REASON_SELFTEST), MP_OK);
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(record().state, BOOT_CONFIRMED);
        assert_int_equal(record().reason, MP_REASON_SELFTEST);
        assert_int_equal(version(), parts[p].mode == NF_MCUBOOT_OVERWRITE ? 2 : 1);
    }
}

/* --- somebody else's updates -------------------------------------------------------------------------------------- */

static void expect_hands_off(void)
{
    struct boot_record r;

    assert_int_equal(m.storage.boot_read(&m.store, &r), MP_ERR_ABSENT);
    assert_int_equal(m.storage.open(&m.store, image[2].manifest), MP_ERR_STATE);
    assert_int_equal(m.storage.boot_confirm(&m.store, 9), MP_ERR_STATE);
    assert_int_not_equal(
        nf_flash_store.chunk_put(&m.store, NF_PLACE_TARGET, 0, image[2].chunk[0], mp_tree_length(&image[2].tree, 0)),
        MP_OK);
}

/* What the node had done before somebody else came. */
enum past { NEVER_STARTED, FETCHING, UPDATED, PASTS };

static void past_make(const struct part *p, enum past past)
{
    factory(p);
    switch (past) {
    case NEVER_STARTED:
    case PASTS:
        break;
    case FETCHING:
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        assert_int_equal(m.storage.open(&m.store, image[2].manifest), MP_OK);
        assert_int_equal(work_all(), MP_OK);
        break;
    case UPDATED:
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        update(1, 2, p->mode);
        break;
    }
}

/* Another updater brings image 3 and asks for it. */
static void foreign_request(const struct part *p, enum past past)
{
    unsigned slot = past == UPDATED && p->mode == NF_MCUBOOT_XIP_REVERT ? 0 : 1;

    for (uint32_t at = 0; at < map.slot[slot].size; at += SECTOR)
        assert_int_equal(sim.flash.erase(&sim, map.slot[slot].address + at), NF_FLASH_OK);
    load(slot, p->mode == NF_MCUBOOT_OFFSET ? SECTOR : 0, &image[3]);
    assert_int_equal(nf_mcuboot_set_pending(&map.shape, &sim.flash, &map.slot[slot], false), MP_OK);
    assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
    assert_int_equal(version(), 3);
    assert_false(holds(NF_PLACE_HOME, 2));
    if (p->mode != NF_MCUBOOT_OVERWRITE)
        expect_hands_off();
}

static void test_foreign_updates(void **state)
{
    static struct flash_sim trial;
    (void)state;

    for (unsigned p = 0; p < PARTS; p++)
        for (unsigned past = 0; past < PASTS; past++) {
            past_make(&parts[p], (enum past)past);
            foreign_request(&parts[p], (enum past)past);
            trial = sim;
            if (parts[p].mode != NF_MCUBOOT_OVERWRITE) {
                /* It goes back, or it is confirmed. */
                assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
                assert_int_equal(version(), past == UPDATED ? 2 : 1);
                assert_int_equal(record().state, BOOT_CONFIRMED);
                assert_int_equal(holds(NF_PLACE_HOME, 2), past == UPDATED);
                sim = trial;
                running = past == UPDATED || parts[p].mode != NF_MCUBOOT_XIP_REVERT ? 0 : 1;
                assert_int_equal(nf_mcuboot_set_confirmed(&map.shape, &sim.flash, &map.slot[running]), MP_OK);
                assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
            }
            assert_int_equal(version(), 3);
            assert_int_equal(record().state, BOOT_CONFIRMED);
            assert_int_equal(record().home, running);
            assert_false(holds(NF_PLACE_HOME, 2));
            /* The next one is ours again. */
            image[2].size = mcuboot_model_image(image[2].payload, 4, BODY, 4, 44);
            image_sign(&image[2], 4);
            assert_int_equal(fetch(2), MP_OK);
            assert_int_equal(request(2), MP_OK);
            assert_int_equal(start(BOOT_CAUSE_REQUEST), MP_OK);
            assert_int_equal(version(), 4);
            images_make();
        }
}

/* --- layouts ------------------------------------------------------------------------------------------------------ */

static void test_layouts(void **state)
{
    struct nf_layout layout;
    (void)state;

    for (unsigned p = 0; p < PARTS; p++) {
        factory(&parts[p]);
        uint32_t reserved = nf_mcuboot_reserved(&map.shape);

        assert_int_equal(nf_mcuboot_layout(&layout, &map, &sim.flash), MP_OK);
        for (unsigned i = 0; i < 2; i++) {
            uint32_t end = map.slot[i].address + map.slot[i].size - reserved;

            assert_true(layout.slot[i] + layout.slot_size <= end);
            assert_true(layout.slot[i] >= map.slot[i].address);
        }
        assert_int_equal(layout.slot_base[0], layout.slot_base[1]);
        assert_int_equal(layout.slot_size, SLOT - reserved);
    }
#define EXPECT(error, edit)                                                                                            \
    map_make(&parts[1]);                                                                                               \
    edit;                                                                                                              \
    assert_int_equal(nf_mcuboot_layout(&layout, &map, &sim.flash), error)
    flash_sim_init(&sim, 64 * 1024, SECTOR, 4, false);
    EXPECT(MP_OK, (void)0);
    EXPECT(MP_OK, map.slot[0].size -= SECTOR);
    assert_int_equal(layout.slot_size, SLOT - SECTOR - nf_mcuboot_reserved(&map.shape));
    EXPECT(MP_ERR_FORMAT, map.slot[0].size -= 2 * SECTOR);
    EXPECT(MP_ERR_FORMAT, map.slot[1].size -= SECTOR);
    EXPECT(MP_ERR_FORMAT, map.shape.mode = NF_MCUBOOT_SCRATCH);
    EXPECT(MP_ERR_FORMAT, map.shape.mode = NF_MCUBOOT_OFFSET);
    EXPECT(MP_ERR_FORMAT, map.shape.mode = NF_MCUBOOT_MODES);
    EXPECT(MP_ERR_FORMAT, map.shape.max_sectors = 16);
    EXPECT(MP_ERR_FORMAT, map.slot[1].address -= SECTOR);
    EXPECT(MP_ERR_FORMAT, map.slot[1].address = 64 * 1024);
    EXPECT(MP_ERR_FORMAT, map.boot_record = map.slot[1].address);
    EXPECT(MP_ERR_FORMAT, map.settings += 4);
    EXPECT(MP_ERR_FORMAT, map.objects_size = 0);
    EXPECT(MP_ERR_FORMAT, map.seal[1] = map.seal[0]);
    EXPECT(MP_ERR_FORMAT, map.seal[0] = map.seal[1] = 0);
    EXPECT(MP_ERR_FORMAT, map.seal[1] = 64 * 1024);
    EXPECT(MP_ERR_UNSUPPORTED, map.shape.key_size = 16);
    map_make(&parts[4]);
    map.seal[0] = map.objects;
    assert_int_equal(nf_mcuboot_layout(&layout, &map, &sim.flash), MP_ERR_FORMAT);
    map_make(&parts[4]);
    map.shape.mode = NF_MCUBOOT_XIP;
    assert_int_equal(nf_mcuboot_layout(&layout, &map, &sim.flash), MP_ERR_UNSUPPORTED);
    EXPECT(MP_ERR_ROOM, map.slot[0].size = 3 * SECTOR; map.slot[1].size = 2 * SECTOR);
    EXPECT(MP_ERR_ROOM, map.slot[0].size = 2 * SECTOR; map.slot[1].size = SECTOR);
    assert_int_equal(nf_mcuboot_memory(&map, &sim.flash), 0);
    assert_int_equal(nf_mcuboot_init(&m, &sim.flash, &map, rig_crypto(), 0, BOOT_CAUSE_POWER, memory, sizeof memory),
                     MP_ERR_ROOM);
    EXPECT(MP_OK, (void)0);
    assert_int_equal(nf_mcuboot_init(&m, &sim.flash, &map, rig_crypto(), 1, BOOT_CAUSE_POWER, memory, sizeof memory),
                     MP_ERR_FORMAT);
    assert_int_equal(nf_mcuboot_init(&m, &sim.flash, &map, rig_crypto(), 0, BOOT_CAUSE_POWER, memory, 3), MP_ERR_ROOM);
#undef EXPECT
}

/* --- power cuts --------------------------------------------------------------------------------------------------- */

/* One step of a life that ends with image 2 as home; how it went is of no concern. */
static void live(void)
{
    struct boot_record r;
    uint8_t data[MP_MANIFEST_SIZE];

    if (m.storage.boot_read(&m.store, &r) != MP_OK)
        return;
    switch ((enum boot_state)r.state) {
    case BOOT_NONE:
        break;
    case BOOT_TRIAL:
        m.storage.boot_confirm(&m.store, 2);
        break;
    case BOOT_PENDING:
        m.storage.boot_abort(&m.store, MP_REASON_STORAGE);
        break;
    case BOOT_CONFIRMED:
        if (holds(NF_PLACE_TARGET, 2)) {
            if (request(2) == MP_OK && !sim.is_dead)
                start(BOOT_CAUSE_REQUEST);
        } else if (m.storage.fetching(&m.store, data) != MP_OK || !m.store.slot[NF_PLACE_TARGET].open) {
            m.storage.open(&m.store, image[2].manifest);
        } else if (work_all() == MP_OK && chunks_put(&image[2]) == MP_OK && m.storage.verify(&m.store) == MP_OK) {
            work_all();
        }
        break;
    }
}

static bool is_there(void)
{
    struct boot_record r;

    return !sim.is_dead && holds(NF_PLACE_HOME, 2) && m.storage.boot_read(&m.store, &r) == MP_OK &&
           r.state == BOOT_CONFIRMED;
}

static void live_to_the_end(void)
{
    for (unsigned step = 0; step < 40 && !is_there(); step++) {
        if (sim.is_dead) {
            flash_sim_power_on(&sim);
            assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
            assert_true(version() == 1 || version() == 2);
        }
        live();
    }
    assert_true(is_there());
    assert_int_equal(version(), 2);
    assert_int_equal(record().floor, 2);
    assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
    assert_true(is_there());
    serves(2);
}

static void test_power_cuts(void **state)
{
    static struct flash_sim new;
    uint64_t ops, cuts = 0;
    (void)state;

    for (unsigned p = 0; p < PARTS; p++) {
        factory(&parts[p]);
        new = sim;
        assert_int_equal(start(BOOT_CAUSE_POWER), MP_OK);
        live_to_the_end();
        ops = sim.ops;
        for (uint64_t op = new.ops; op < ops; op++)
            for (unsigned cut = 0; cut < FLASH_SIM_CUTS; cut++) {
                sim = new;
                flash_sim_cut_at(&sim, op, (enum flash_sim_cut)cut);
                start(BOOT_CAUSE_POWER);
                live_to_the_end();
                cuts++;
            }
    }
    assert_true(cuts > 4000);
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

/* Bytes above the swap status, as the vectors list them. */
static void trailer_text(char *out, size_t cap, unsigned slot)
{
    struct nf_mcuboot_fields f;
    const uint8_t *end = sim.data + map.slot[slot].address + map.slot[slot].size;
    size_t n = 0;

    nf_mcuboot_fields(&f, &map.shape);
    out[0] = '\0';
    for (uint32_t before = f.swap_size; before > 0;) {
        uint32_t last = before;

        if (*(end - before) == 0xFF) {
            before--;
            continue;
        }
        for (uint32_t at = before; at > 0 && last - at < 4; at--)
            if (*(end - at) != 0xFF)
                last = at;
        n += (size_t)snprintf(out + n, cap - n, "%s%u:", n > 0 ? "," : "", (unsigned)before);
        for (; before >= last; before--)
            n += (size_t)snprintf(out + n, cap - n, "%02x", *(end - before));
    }
    if (n == 0)
        snprintf(out, cap, "blank");
}

static void expect_trailers(const struct vectors *v)
{
    static const char *const keys[2] = {"primary", "secondary"};
    char want[512], have[512];

    for (unsigned slot = 0; slot < 2; slot++) {
        vectors_word(v, keys[slot], want, sizeof want);
        trailer_text(have, sizeof have, slot);
        assert_string_equal(have, want);
    }
}

static void map_from(const struct vectors *v)
{
    static const char *const names[NF_MCUBOOT_MODES] = {"scratch", "move", "offset", "overwrite", "xip", "xip-revert"};
    char text[128], mode[32];
    unsigned align, max_align, sectors, sector, key, primary, secondary;

    vectors_word(v, "shape", text, sizeof text);
    assert_int_equal(sscanf(text, "%31s %u %u %u %u %u %u %u", mode, &align, &max_align, &sectors, &sector, &key,
                            &primary, &secondary),
                     8);
    memset(&map, 0, sizeof map);
    while (map.shape.mode < NF_MCUBOOT_MODES && strcmp(mode, names[map.shape.mode]) != 0)
        map.shape.mode++;
    assert_true(map.shape.mode < NF_MCUBOOT_MODES);
    map.shape.align = (uint8_t)align;
    map.shape.max_align = (uint8_t)max_align;
    map.shape.max_sectors = (uint16_t)sectors;
    map.shape.sector = sector;
    map.slot[0] = (struct nf_mcuboot_area){0, primary};
    map.slot[1] = (struct nf_mcuboot_area){primary, secondary};
}

/* The images that the vectors were made with: whole sizes of 6,072 and 5,072 bytes, versions 1 and 2. */
static void vector_images(void)
{
    static struct rig_image one, two;

    one.size = mcuboot_model_image(one.payload, 1, 6072 - MCUBOOT_MODEL_FRAME, 0, 7);
    two.size = mcuboot_model_image(two.payload, 2, 5072 - MCUBOOT_MODEL_FRAME, 0, 14);
    uint32_t granule = map.shape.align < 4 ? 4 : map.shape.align;

    flash_sim_init(&sim, map.slot[1].address + map.slot[1].size, map.shape.sector, granule, false);
    load(0, 0, &one);
    load(1, map.shape.mode == NF_MCUBOOT_OFFSET ? map.shape.sector : 0, &two);
}

static void test_model(void **state)
{
    struct vectors v;
    char name[64], text[512];
    unsigned compared = 0;
    bool for_good;
    (void)state;

    vectors_open(&v, "mcuboot_trailer");
    while (vectors_next(&v)) {
        vectors_word(&v, "case", name, sizeof name);
        bool is_trial = strcmp(name, "boot on trial") == 0, is_back = strcmp(name, "boot back") == 0;

        if (!is_trial && !is_back && strcmp(name, "boot for good") != 0 && strcmp(name, "boot overwritten") != 0)
            continue;
        map_from(&v);
        if (map.shape.mode == NF_MCUBOOT_XIP)
            continue;
        /* Overwriting copies the trailer, too: asked for one boot or for good. */
        vectors_word(&v, "primary", text, sizeof text);
        for_good = strcmp(name, "boot for good") == 0 ||
                   (strcmp(name, "boot overwritten") == 0 && strstr(text, ":03") != NULL);
        vector_images();
        if (map.shape.mode == NF_MCUBOOT_XIP_REVERT)
            assert_int_equal(nf_mcuboot_set_pending(&map.shape, &sim.flash, &map.slot[0], true), MP_OK);
        assert_int_equal(nf_mcuboot_set_pending(&map.shape, &sim.flash, &map.slot[1], for_good), MP_OK);
        for (unsigned boot = 0; boot < (is_back ? 2u : 1u); boot++)
            assert_true(mcuboot_model_boot(&sim, &map) >= 0);
        expect_trailers(&v);
        compared++;
    }
    assert_true(compared > 80);
}

static int setup(void **state)
{
    (void)state;
    images_make();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_updates),
        cmocka_unit_test(test_revert),
        cmocka_unit_test(test_rollbacks),
        cmocka_unit_test(test_overwriting_has_no_way_back),
        cmocka_unit_test(test_mcuboot_refuses),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_foreign_updates),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_power_cuts),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
