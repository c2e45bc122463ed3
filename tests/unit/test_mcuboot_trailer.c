/*
 * MCUboot's image trailer against what MCUboot itself wrote and read (tests/vectors/mcuboot_trailer.txt): places of the
 * fields, every state it leaves, bytes of our requests and confirmations. Power is cut at every flash operation of
 * these: the state before or the one after, as MCUboot would judge it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node-fw/port/mcuboot/trailer.h"
#include "proto/mp_types.h"
#include "tests/lib/flash_sim.h"
#include "tests/lib/vectors.h"

enum { PROGRAMMED = 1, TEXT = 512 };

static const char *const mode_names[NF_MCUBOOT_MODES] = {"scratch", "move", "offset", "overwrite", "xip", "xip-revert"};

static struct flash_sim sim;
static struct nf_mcuboot_shape shape;
static struct nf_mcuboot_area slot[2];

static void shape_read(const struct vectors *v)
{
    char text[TEXT], mode[32];
    unsigned align, max_align, sectors, sector, key, primary, secondary;

    vectors_word(v, "shape", text, sizeof text);
    assert_int_equal(sscanf(text, "%31s %u %u %u %u %u %u %u", mode, &align, &max_align, &sectors, &sector, &key,
                            &primary, &secondary),
                     8);
    memset(&shape, 0, sizeof shape);
    while (shape.mode < NF_MCUBOOT_MODES && strcmp(mode, mode_names[shape.mode]) != 0)
        shape.mode++;
    assert_true(shape.mode < NF_MCUBOOT_MODES);
    shape.align = (uint8_t)align;
    shape.max_align = (uint8_t)max_align;
    shape.max_sectors = (uint16_t)sectors;
    shape.sector = sector;
    shape.key_size = (uint16_t)key;
    slot[0] = (struct nf_mcuboot_area){0, primary};
    slot[1] = (struct nf_mcuboot_area){primary, secondary};
}

/* A part of this shape; wide units are write-once. */
static void part_make(void)
{
    uint32_t granule = shape.align < 4 ? 4 : shape.align, size = slot[0].size + slot[1].size;

    flash_sim_init(&sim, size + shape.sector, shape.sector, granule, granule >= 8);
    assert_true(nf_mcuboot_shape_is_valid(&shape, &sim.flash));
}

/* Puts what a vector says (BEFORE_END:HEX,...) into the end of a slot. */
static void trailer_load(const char *text, unsigned which)
{
    const uint32_t end = slot[which].address + slot[which].size;

    while (strcmp(text, "blank") != 0 && *text != '\0') {
        char *hex;
        uint32_t at = end - (uint32_t)strtoul(text, &hex, 10);

        assert_true(*hex == ':' && at >= slot[which].address);
        for (text = hex + 1; *text != '\0' && *text != ','; text += 2) {
            char two[3] = {text[0], text[1], '\0'};

            assert_true(at < end);
            sim.state[at / sim.flash.granule] |= PROGRAMMED;
            sim.data[at++] = (uint8_t)strtoul(two, NULL, 16);
        }
        text += *text == ',';
    }
}

static void state_load(const struct vectors *v)
{
    static const char *const keys[2] = {"primary", "secondary"};
    char text[TEXT];

    part_make();
    for (unsigned i = 0; i < 2; i++) {
        vectors_word(v, keys[i], text, sizeof text);
        trailer_load(text, i);
    }
}

static void trailers_read(struct nf_mcuboot_trailer t[2])
{
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(nf_mcuboot_trailer_read(&t[i], &shape, &sim.flash, &slot[i]), MP_OK);
}

/* --- places ------------------------------------------------------------------------------------------------------- */

static void check_fields(const struct vectors *v)
{
    struct nf_mcuboot_fields f;

    nf_mcuboot_fields(&f, &shape);
    assert_int_equal(f.magic, vectors_int(v, "magic_at"));
    assert_int_equal(f.image_ok, vectors_int(v, "image_ok_at"));
    assert_int_equal(f.copy_done, vectors_int(v, "copy_done_at"));
    assert_int_equal(f.swap_info, vectors_int(v, "swap_info_at"));
    assert_int_equal(f.tlv_sizes, vectors_int(v, "tlv_sizes_at"));
    assert_int_equal(f.swap_size, vectors_int(v, "swap_size_at"));
    assert_int_equal(f.size, vectors_int(v, "size"));
    if (vectors_has(v, "status_at"))
        assert_int_equal(f.status, vectors_int(v, "status_at"));
    if (vectors_has(v, "key0_at")) {
        assert_int_equal(f.key[0], vectors_int(v, "key0_at"));
        assert_int_equal(f.key[1], vectors_int(v, "key1_at"));
    }
    assert_true(nf_mcuboot_reserved(&shape) % shape.sector == 0);
    assert_true(nf_mcuboot_reserved(&shape) >= (shape.mode < NF_MCUBOOT_OVERWRITE ? f.size : f.swap_info));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void check_is(const struct vectors *v, const char *key, const struct nf_mcuboot_trailer *t)
{
    static const char *const magics[] = {"unset", "good", "bad"}, *const flags[] = {"unset", "set", "bad"};
    char want[TEXT], have[TEXT];

    vectors_word(v, key, want, sizeof want);
    snprintf(have, sizeof have, "%s %s %s %u", magics[t->magic], flags[t->image_ok], flags[t->copy_done], t->swap_type);
    assert_string_equal(have, want);
}

static void check_state(const struct vectors *v, const char *name)
{
    struct nf_mcuboot_trailer t[2];
    bool is_xip = shape.mode == NF_MCUBOOT_XIP || shape.mode == NF_MCUBOOT_XIP_REVERT;

    state_load(v);
    trailers_read(t);
    check_is(v, "primary_is", &t[0]);
    check_is(v, "secondary_is", &t[1]);
    if (!is_xip)
        assert_int_equal(nf_mcuboot_swap_type(&shape, &t[0], &t[1]), vectors_int(v, "swap"));
    if (strncmp(name, "boot", 4) != 0)
        return;
    /* In direct-XIP the second slot runs then, but after "boot back". */
    unsigned running = shape.mode == NF_MCUBOOT_XIP_REVERT && strcmp(name, "boot back") != 0 &&
                       strcmp(name, "boot erases what was not asked for") != 0;
    bool is_trial = strncmp(name, "boot on trial", 13) == 0 && shape.mode != NF_MCUBOOT_XIP;

    assert_int_equal(nf_mcuboot_is_trial(&shape, &t[running], &t[running ^ 1]), is_trial);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Our request over whatever lay there makes MCUboot's bytes, and nothing else. */
static void check_pending(const struct vectors *v, bool permanent)
{
    static struct flash_sim want;
    char text[TEXT];

    state_load(v);
    want = sim;
    part_make();
    vectors_word(v, "primary", text, sizeof text);
    trailer_load(text, 0);
    trailer_load("48:0001ff02,24:00,16:77c295f360", 1);
    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[1], permanent), MP_OK);
    assert_memory_equal(sim.data, want.data, sizeof sim.data);
    uint64_t ops = sim.ops;

    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[1], permanent), MP_OK);
    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[1], !permanent), MP_ERR_STATE);
    assert_int_equal(sim.ops, ops);
    assert_int_equal(nf_mcuboot_trailer_erase(&shape, &sim.flash, &slot[1]), MP_OK);
    trailer_load(text, 0);
    for (uint32_t at = slot[1].address; at < slot[1].address + slot[1].size; at++)
        assert_int_equal(sim.data[at], 0xFF);
}

/* From the state after MCUboot booted the image on trial: in swapping modes the primary slot runs, else the second. */
static void check_confirmed(const struct vectors *v, const struct flash_sim *trial)
{
    static struct flash_sim want;
    unsigned running = shape.mode == NF_MCUBOOT_XIP || shape.mode == NF_MCUBOOT_XIP_REVERT;

    state_load(v);
    want = sim;
    memcpy(sim.data, trial->data, sizeof sim.data);
    memcpy(sim.state, trial->state, sizeof sim.state);
    assert_int_equal(nf_mcuboot_set_confirmed(&shape, &sim.flash, &slot[running]), MP_OK);
    assert_memory_equal(sim.data, want.data, sizeof sim.data);
    uint64_t ops = sim.ops;

    assert_int_equal(nf_mcuboot_set_confirmed(&shape, &sim.flash, &slot[running]), MP_OK);
    assert_int_equal(sim.ops, ops);
}

static void test_vectors(void **state)
{
    static struct flash_sim trial;
    struct vectors v;
    char name[64];
    unsigned fields = 0, states = 0, pending = 0, confirmed = 0;
    (void)state;

    vectors_open(&v, "mcuboot_trailer");
    while (vectors_next(&v)) {
        shape_read(&v);
        vectors_word(&v, "case", name, sizeof name);
        if (strcmp(name, "fields") == 0 || strcmp(name, "keys") == 0) {
            check_fields(&v);
            fields++;
            continue;
        }
        check_state(&v, name);
        states++;
        if (strcmp(name, "boot on trial") == 0)
            trial = sim;
        if (strncmp(name, "pending", 7) == 0) {
            check_pending(&v, strcmp(name, "pending for good") == 0);
            pending++;
        }
        if (strcmp(name, "confirmed") == 0) {
            check_confirmed(&v, &trial);
            confirmed++;
        }
    }
    assert_int_equal(fields, 65);
    assert_int_equal(pending, 180);
    assert_int_equal(confirmed, 50);
    assert_true(states > 600);
}

/* --- power cuts --------------------------------------------------------------------------------------------------- */

/* What MCUboot would do: its swap type, and whether what runs goes. */
static unsigned verdict(unsigned running)
{
    struct nf_mcuboot_trailer t[2];

    trailers_read(t);
    return (unsigned)nf_mcuboot_swap_type(&shape, &t[0], &t[1]) * 4 +
           (nf_mcuboot_is_trial(&shape, &t[running], &t[running ^ 1]) ? 2u : 0u) +
           (t[running ^ 1].magic == NF_MCUBOOT_MAGIC_GOOD ? 1u : 0u);
}

enum act { PENDING, FOR_GOOD, WITHDRAW, CONFIRM };

static int act(enum act what, unsigned running)
{
    switch (what) {
    case PENDING:
    case FOR_GOOD:
        return nf_mcuboot_set_pending(&shape, &sim.flash, &slot[running ^ 1], what == FOR_GOOD);
    case WITHDRAW:
        return nf_mcuboot_trailer_erase(&shape, &sim.flash, &slot[running ^ 1]);
    case CONFIRM:
        return nf_mcuboot_set_confirmed(&shape, &sim.flash, &slot[running]);
    }
    return MP_ERR_STATE;
}

static void cut_everywhere(enum act what, unsigned running)
{
    static struct flash_sim start, done;
    unsigned before = verdict(running), after, seen_before = 0, seen_after = 0;

    start = sim;
    assert_int_equal(act(what, running), MP_OK);
    done = sim;
    after = verdict(running);
    assert_true(before != after);
    for (uint64_t op = start.ops; op < done.ops; op++)
        for (unsigned cut = 0; cut < FLASH_SIM_CUTS; cut++) {
            sim = start;
            flash_sim_cut_at(&sim, op, (enum flash_sim_cut)cut);
            assert_int_not_equal(act(what, running), MP_OK);
            assert_true(sim.is_dead);
            flash_sim_power_on(&sim);
            unsigned now = verdict(running);

            assert_true(now == before || now == after);
            seen_before += now == before;
            seen_after += now == after;
            int again = act(what, running);

            /* Once more, and it is done; but a granule that takes one program may not take this one any more. */
            if (again != MP_OK) {
                assert_true(what == CONFIRM && (shape.mode == NF_MCUBOOT_XIP_REVERT || sim.flash.write_once));
                now = verdict(running);
                assert_true(now == before || now == after);
                continue;
            }
            assert_int_equal(verdict(running), after);
            if (what != CONFIRM)
                assert_memory_equal(sim.data, done.data, sizeof sim.data);
        }
    assert_true(seen_before > 0 && seen_after > 0);
    sim = done;
}

/* MCUboot's part of it, as the vectors have it: the trailer of what it started on trial. */
static void trial_make(unsigned running)
{
    struct nf_mcuboot_fields f;
    const uint8_t flag = 1;
    uint8_t unit[32];

    nf_mcuboot_fields(&f, &shape);
    assert_int_equal(nf_mcuboot_trailer_erase(&shape, &sim.flash, &slot[0]), MP_OK);
    assert_int_equal(nf_mcuboot_trailer_erase(&shape, &sim.flash, &slot[1]), MP_OK);
    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[running], false), MP_OK);
    memset(unit, 0xFF, sizeof unit);
    unit[0] = flag;
    assert_int_equal(
        sim.flash.program(&sim, slot[running].address + slot[running].size - f.copy_done, unit, sim.flash.granule),
        NF_FLASH_OK);
}

static void test_power_cuts(void **state)
{
    static const struct {
        uint8_t granule, align, max_align;
        bool write_once;
    } parts[] = {{4, 4, 8, false}, {4, 1, 8, false},   {8, 8, 8, true},
                 {8, 8, 32, true}, {16, 16, 16, true}, {32, 32, 32, true}};
    (void)state;

    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++)
        for (unsigned mode = 0; mode < NF_MCUBOOT_MODES; mode++) {
            unsigned running = mode == NF_MCUBOOT_XIP_REVERT;

            shape = (struct nf_mcuboot_shape){.mode = (uint8_t)mode,
                                              .align = parts[p].align,
                                              .max_align = parts[p].max_align,
                                              .max_sectors = 24,
                                              .sector = 1024};
            slot[0] = (struct nf_mcuboot_area){0, 20 * 1024};
            slot[1] = (struct nf_mcuboot_area){20 * 1024, 20 * 1024};
            flash_sim_init(&sim, 40 * 1024, 1024, parts[p].granule, parts[p].write_once);
            cut_everywhere(PENDING, 0);
            cut_everywhere(WITHDRAW, 0);
            cut_everywhere(FOR_GOOD, 0);
            if (mode == NF_MCUBOOT_OVERWRITE || mode == NF_MCUBOOT_XIP)
                continue;
            trial_make(running);
            cut_everywhere(CONFIRM, running);
        }
}

/* --- what is refused ---------------------------------------------------------------------------------------------- */

static void test_shapes(void **state)
{
    const struct nf_mcuboot_shape good = {.align = 4, .max_align = 8, .max_sectors = 24, .sector = 1024};
    struct nf_mcuboot_shape s = good;
    (void)state;

    flash_sim_init(&sim, 40 * 1024, 1024, 4, false);
    assert_true(nf_mcuboot_shape_is_valid(&good, &sim.flash));
#define BAD(edit)                                                                                                      \
    s = good;                                                                                                          \
    s.edit;                                                                                                            \
    assert_false(nf_mcuboot_shape_is_valid(&s, &sim.flash))
    BAD(mode = NF_MCUBOOT_MODES);
    BAD(align = 0);
    BAD(align = 3);
    BAD(align = 16);
    BAD(max_align = 4);
    BAD(max_align = 24);
    BAD(max_align = 64);
    BAD(max_sectors = 0);
    BAD(image = 15);
    BAD(sector = 0);
    BAD(sector = 512);
    BAD(sector = 1536);
    BAD(sector = 80 * 1024);
#undef BAD
    /* Two fields in one granule could not be written one after the other. */
    flash_sim_init(&sim, 40 * 1024, 1024, 16, true);
    assert_false(nf_mcuboot_shape_is_valid(&good, &sim.flash));
}

/* Another image pair keeps its number; a damaged trailer is not confirmed; what cannot be read is neither. */
static void test_odd_trailers(void **state)
{
    struct nf_mcuboot_trailer t;
    (void)state;

    shape = (struct nf_mcuboot_shape){
        .mode = NF_MCUBOOT_MOVE, .align = 8, .max_align = 8, .image = 3, .max_sectors = 24, .sector = 1024};
    slot[0] = (struct nf_mcuboot_area){0, 20 * 1024};
    slot[1] = (struct nf_mcuboot_area){20 * 1024, 20 * 1024};
    flash_sim_init(&sim, 40 * 1024, 1024, 8, true);
    assert_int_equal(nf_mcuboot_set_confirmed(&shape, &sim.flash, &slot[0]), MP_OK);
    assert_int_equal(sim.ops, 0);
    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[1], false), MP_OK);
    assert_int_equal(nf_mcuboot_trailer_read(&t, &shape, &sim.flash, &slot[1]), MP_OK);
    assert_int_equal(t.image, 3);
    assert_int_equal(t.swap_type, NF_MCUBOOT_SWAP_TEST);
    flash_sim_damage(&sim, slot[1].address + slot[1].size - 40, 1);
    assert_int_equal(nf_mcuboot_trailer_read(&t, &shape, &sim.flash, &slot[1]), MP_OK);
    assert_true(t.magic == NF_MCUBOOT_MAGIC_BAD && t.image_ok == NF_MCUBOOT_FLAG_BAD &&
                t.copy_done == NF_MCUBOOT_FLAG_BAD && t.swap_type == NF_MCUBOOT_SWAP_NONE && t.image == 0);
    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[1], true), MP_OK);
    trailer_load("16:77c2", 0);
    assert_int_equal(nf_mcuboot_set_confirmed(&shape, &sim.flash, &slot[0]), MP_ERR_STATE);
    sim.is_dead = true;
    assert_int_equal(nf_mcuboot_trailer_read(&t, &shape, &sim.flash, &slot[1]), MP_ERR_STORE);
    assert_int_equal(nf_mcuboot_set_pending(&shape, &sim.flash, &slot[1], true), MP_ERR_STORE);
    assert_int_equal(nf_mcuboot_set_confirmed(&shape, &sim.flash, &slot[0]), MP_ERR_STORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_odd_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
