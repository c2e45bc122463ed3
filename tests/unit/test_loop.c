/*
 * The loop of every part over a port in memory on virtual time, with a controller that may be as bad as it likes. What
 * the loop owes: it feeds the watchdog, runs the application, does not spin, and comes back when the controller does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node-fw/port/cause.h"
#include "node-fw/port/line.h"
#include "node-fw/port/loop.h"
#include "node-fw/port/port.h"
#include "proto/mp_wire.h"
#include "tests/lib/rig.h"

enum { IN_MAX = 4096, LINES_MAX = 64, WATCHDOG_MS = 5000 };

static const struct rig_part part = {.name = "word", .page_size = 1024, .granule = 4};
static struct rig rig;

/* The part and its controller. */
static struct {
    mp_time now, end;
    jmp_buf out;
    enum boot_cause cause, reset_cause;
    unsigned slot;
    int start_rc;
    /* the controller */
    bool is_up, answers, takes, refuses;
    bool floods; /* there is always noise to read */
    bool loses;  /* every read says that bytes were lost */
    bool lost;   /* the next one does */
    mp_time ended_at;
    uint8_t in[IN_MAX];
    size_t in_length;
    /* what was seen */
    unsigned resets, writes, frames, announced, sleeps, reads_in_a_row, reads_in_a_row_max;
    char version[80];
    mp_time kicked, kick_gap;
    uint32_t draws;
    char line[LINES_MAX][NF_LINE_MAX];
    unsigned lines;
} fake;

/* The application. */
static struct {
    unsigned starts, loops, asked;
    enum app_verdict verdict;
    bool silent, radio_runs, is_trial;
    mp_time late, next;
    uint32_t heard;
    void (*act)(const struct app_view *view);
} seen;

static void app_start(const struct app_view *view)
{
    seen.starts++;
    seen.next = view->now + MP_SECONDS(1);
    seen.is_trial = view->is_trial;
    assert_string_equal(view->version, "1.2.3");
    assert_int_equal(view->node, RIG_NODE);
    if (seen.act != NULL)
        seen.act(view);
}

static enum app_verdict app_selftest(const struct app_view *view)
{
    seen.asked++;
    return view->radio_runs ? seen.verdict : APP_PENDING;
}

static mp_time app_loop(const struct app_view *view)
{
    seen.radio_runs = view->radio_runs;
    seen.heard = view->radio->noise;
    if (view->now < seen.next)
        return seen.next;
    if (view->now - seen.next > seen.late)
        seen.late = view->now - seen.next;
    seen.loops++;
    seen.next = view->now + MP_SECONDS(1);
    return seen.next;
}

static bool app_may_transmit(const struct app_view *view)
{
    (void)view;
    return !seen.silent;
}

static const struct app app = {app_start, app_selftest, app_loop, app_may_transmit};

/* --- the controller ----------------------------------------------------------------------------------------------- */

static void say(const uint8_t *data, size_t len)
{
    assert_true(len <= IN_MAX - fake.in_length);
    memcpy(fake.in + fake.in_length, data, len);
    fake.in_length += len;
}

static void complete(uint16_t opcode, const uint8_t *values, size_t len)
{
    uint8_t event[32] = {HCI_H4_EVENT, HCI_EVENT_COMMAND_COMPLETE, (uint8_t)(3 + len), 1};
    mp_put16(event + 4, opcode);
    memcpy(event + 6, values, len);
    say(event, 6 + len);
}

static void obey(const uint8_t *command, size_t len)
{
    static const uint8_t ok = 0, unknown = HCI_UNKNOWN_COMMAND, features[9] = {0, 0xFF, 0xFF};
    const uint16_t opcode = mp_get16(command + 1);
    assert_int_equal(command[0], HCI_H4_COMMAND);
    assert_int_equal(command[3], len - 4);
    if (opcode == HCI_RESET)
        fake.resets++;
    if (opcode == HCI_VENDOR_LOG) {
        fake.announced++;
        memcpy(fake.version, command + 4, command[3]);
        fake.version[command[3]] = 0;
    }
    if (opcode == HCI_LE_SET_EXT_ADV_DATA)
        fake.frames++;
    if (!fake.answers)
        return;
    if (opcode == HCI_LE_READ_FEATURES)
        complete(opcode, fake.refuses ? &unknown : features, fake.refuses ? 1 : sizeof features);
    else
        complete(opcode, opcode == HCI_VENDOR_LOG ? &unknown : &ok, 1);
    if (opcode == HCI_LE_SET_EXT_ADV_ENABLE && command[4] == 1)
        fake.ended_at = fake.now + MP_MS(4);
}

static void controller_turn(void)
{
    static const uint8_t ended[9] = {
        HCI_H4_EVENT, HCI_EVENT_LE_META, 6, HCI_LE_ADV_SET_TERMINATED, HCI_LIMIT_REACHED, 0, 0, 0, 1};
    if (fake.now < fake.ended_at)
        return;
    fake.ended_at = MP_NEVER;
    say(ended, sizeof ended);
}

/* --- the port ----------------------------------------------------------------------------------------------------- */

int nf_port_start(void)
{
    return fake.start_rc;
}

mp_time nf_port_now(void)
{
    return fake.now++;
}

void nf_port_sleep(mp_time until)
{
    fake.sleeps++;
    fake.reads_in_a_row = 0;
    controller_turn();
    const bool is_awake = fake.is_up && (fake.in_length > 0 || fake.floods || fake.loses || fake.lost);
    const mp_time next = fake.is_up && fake.ended_at < until ? fake.ended_at : until;
    if (is_awake)
        fake.now += MP_MS(1); /* what a round takes */
    else if (next > fake.now)
        fake.now = next < fake.end ? next : fake.end;
    controller_turn();
    if (fake.now >= fake.end)
        longjmp(fake.out, 1);
}

mp_time nf_port_kick(mp_time now)
{
    if (now - fake.kicked > fake.kick_gap)
        fake.kick_gap = now - fake.kicked;
    fake.kicked = now;
    return now + MP_MS(WATCHDOG_MS) / 2;
}

uint32_t nf_port_random(void)
{
    fake.draws = fake.draws * 1664525u + 1013904223u;
    return fake.draws >> 8 ^ fake.draws << 16;
}

const struct nf_flash *nf_port_flash(void)
{
    return &rig.sim.flash;
}

const struct nf_layout *nf_port_layout(void)
{
    return &rig.layout;
}

const struct mp_crypto *nf_port_crypto(void)
{
    return rig_crypto();
}

bool nf_port_link_is_up(void)
{
    return fake.is_up;
}

int nf_port_link_read(uint8_t *buf, size_t cap)
{
    if (++fake.reads_in_a_row > fake.reads_in_a_row_max)
        fake.reads_in_a_row_max = fake.reads_in_a_row;
    if (!fake.is_up)
        return 0;
    if (fake.loses || fake.lost) {
        fake.lost = false;
        return MP_ERR_ABSENT;
    }
    if (fake.floods) {
        for (size_t i = 0; i < cap; i++)
            buf[i] = (uint8_t)nf_port_random();
        return (int)cap;
    }
    const size_t n = cap < fake.in_length ? cap : fake.in_length;
    memcpy(buf, fake.in, n);
    memmove(fake.in, fake.in + n, fake.in_length - n);
    fake.in_length -= n;
    return (int)n;
}

int nf_port_link_write(const uint8_t *data, size_t len)
{
    fake.writes++;
    assert_true(fake.is_up && len <= MP_HCI_COMMAND_MAX);
    if (!fake.takes) {
        fake.now += MP_MS(100);
        return MP_ERR_ABSENT;
    }
    obey(data, len);
    return 0;
}

unsigned nf_port_slot(void)
{
    return fake.slot;
}

enum boot_cause nf_port_cause(void)
{
    return fake.cause;
}

_Noreturn void nf_port_reset(enum boot_cause cause)
{
    fake.reset_cause = cause;
    longjmp(fake.out, 2);
}

void nf_port_log(const char *line)
{
    if (fake.lines < LINES_MAX)
        strcpy(fake.line[fake.lines++], line);
}

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static bool has_line(const char *text)
{
    for (unsigned i = 0; i < fake.lines; i++)
        if (strstr(fake.line[i], text) != NULL)
            return true;
    return false;
}

static uint8_t memory[NF_LOOP_MEMORY(FLASH_SIM_SIZE_MAX / 2, 1024)];

/* Runs the loop from its start to `end`; true when it ended in a reset before. */
static bool run(mp_time length)
{
    fake.end = fake.now + length;
    fake.kicked = fake.now;
    const int how = setjmp(fake.out);
    if (how == 0)
        nf_loop_run(&app, "1.2.3", memory, sizeof memory);
    return how == 2;
}

/* A provisioned node that was booted by its bootloader, and a controller that is well. */
static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(&seen, 0, sizeof seen);
    rig_init(&rig, &part);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    fake.now = 1000;
    fake.ended_at = MP_NEVER;
    fake.is_up = fake.answers = fake.takes = true;
    fake.draws = 1;
    seen.verdict = APP_PASSED;
    return 0;
}

/* A round must never be further from the watchdog than this. */
static void assert_alive(mp_time length)
{
    const unsigned seconds = (unsigned)(length / MP_SECONDS(1));
    assert_in_range(fake.kick_gap, 0, MP_MS(WATCHDOG_MS) / 2 + MP_SECONDS(1));
    assert_in_range(seen.loops, seconds * 9 / 10 - 1, seconds);
    assert_in_range(seen.late, 0, MP_MS(400));
    assert_in_range(fake.reads_in_a_row_max, 1, 16);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_a_node_starts_says_who_it_is_and_sends(void **state)
{
    (void)state;
    assert_false(run(MP_SECONDS(60)));
    assert_alive(MP_SECONDS(60));
    assert_int_equal(fake.resets, 1);
    assert_int_equal(fake.announced, 1);
    assert_string_equal(fake.version, "version=1.2.3");
    assert_int_equal(seen.starts, 1);
    assert_true(seen.radio_runs);
    assert_int_equal(seen.asked, 0); /* not on trial */
    assert_true(fake.frames >= 3);
    assert_true(fake.sleeps < 60 * 60); /* 20 ms while the radio is busy, seldom else */
    assert_true(has_line("node: version=1.2.3 node=77 slot=0 cause=request trial=0"));
}

static void test_an_application_keeps_the_radio_silent(void **state)
{
    (void)state;
    seen.silent = true;
    assert_false(run(MP_SECONDS(60)));
    assert_alive(MP_SECONDS(60));
    assert_int_equal(fake.frames, 0);
    assert_int_equal(fake.announced, 1);
    assert_true(fake.sleeps < 60 * 60);
}

static void test_without_a_line_nothing_is_written(void **state)
{
    (void)state;
    fake.is_up = false;
    assert_false(run(MP_SECONDS(60)));
    assert_alive(MP_SECONDS(60));
    assert_int_equal(fake.writes, 0);
    assert_false(seen.radio_runs);
    assert_true(fake.sleeps < 60 * 60);
}

/* Something happens to the controller at 20 s and is over at 40 s of a run of 60. */
static void (*trouble)(bool on);

static mp_time troubled_loop(const struct app_view *view)
{
    static bool is_on;
    const bool on = fake.now - (fake.end - MP_SECONDS(60)) > MP_SECONDS(20) && fake.end - fake.now > MP_SECONDS(20);
    if (on != is_on)
        trouble(on);
    is_on = on;
    return app_loop(view);
}

static const struct app troubled = {app_start, app_selftest, troubled_loop, app_may_transmit};

/* Runs it, and sees the node well again in the end. */
static void run_troubled(void (*what)(bool on))
{
    trouble = what;
    fake.end = fake.now + MP_SECONDS(60);
    fake.kicked = fake.now;
    if (setjmp(fake.out) == 0)
        nf_loop_run(&troubled, "1.2.3", memory, sizeof memory);
    assert_int_equal(fake.reset_cause, 0);
    assert_alive(MP_SECONDS(60));
    assert_true(seen.radio_runs);
}

static void go_silent(bool on)
{
    fake.answers = !on;
    if (on)
        fake.ended_at = MP_NEVER;
}

static void test_a_silent_controller_is_reset_until_it_answers(void **state)
{
    (void)state;
    run_troubled(go_silent);
    assert_in_range(fake.resets, 5, 14); /* every 2.1 s */
    assert_true(fake.sleeps < 60 * 60);
}

static void take_nothing(bool on)
{
    fake.takes = !on;
}

static void test_a_dead_line_is_tried_twice_a_second(void **state)
{
    (void)state;
    run_troubled(take_nothing);
    assert_in_range(fake.writes, 30, 300); /* each costs 100 ms */
    assert_true(fake.announced >= 2);
    assert_true(fake.sleeps < 60 * 60);
}

static void flood(bool on)
{
    fake.floods = on;
    fake.in_length = 0;
}

static void test_a_flood_keeps_nobody_from_working(void **state)
{
    (void)state;
    run_troubled(flood);
    assert_true(seen.heard > 100000); /* the application sees what the radio heard */
}

static void lose_always(bool on)
{
    fake.loses = on;
}

static void test_a_line_that_loses_bytes_is_not_hammered(void **state)
{
    (void)state;
    run_troubled(lose_always);
    assert_in_range(fake.resets, 10, 210); /* at most every 100 ms */
}

static void lose_once(bool on)
{
    if (on)
        fake.lost = true;
}

static void test_lost_bytes_start_the_host_over(void **state)
{
    (void)state;
    run_troubled(lose_once);
    assert_int_equal(fake.resets, 2);
    assert_int_equal(fake.announced, 2);
}

static void reset_itself(bool on)
{
    static const uint8_t ok = 0;
    if (on)
        complete(HCI_RESET, &ok, 1);
}

static void test_a_controller_that_resets_itself_is_set_up_again(void **state)
{
    (void)state;
    run_troubled(reset_itself);
    assert_int_equal(fake.resets, 2);
}

static void refuse(bool on)
{
    fake.refuses = on;
    if (on)
        fake.lost = true;
}

static void test_a_refusal_is_tried_again_later(void **state)
{
    (void)state;
    run_troubled(refuse);
    assert_in_range(fake.resets, 3, 6); /* every 10 s */
    assert_true(has_line("node: the controller has no LE extended advertising (command 2003 status 01)"));
    assert_true(fake.sleeps < 60 * 60);
}

/* The same build with too little of something. */
static void expect_storage(void)
{
    assert_true(run(MP_SECONDS(5)));
    assert_int_equal(fake.reset_cause, BOOT_CAUSE_STORAGE);
    assert_int_equal(seen.starts, 0);
    assert_int_equal(fake.writes, 0);
}

static void test_what_is_missing_at_the_start_resets(void **state)
{
    fake.start_rc = MP_ERR_STORE;
    expect_storage();
    assert_true(has_line("node: port (-24)"));
    assert_true(has_line("node: reset cause=storage"));

    setup(state);
    rig.sim.flash.erase(rig.sim.flash.ctx, rig.layout.settings);
    expect_storage();
    assert_true(has_line("node: settings (-27)"));

    setup(state);
    fake.end = MP_NEVER;
    if (setjmp(fake.out) == 0)
        nf_loop_run(&app, "1.2.3", memory, nf_store_memory(&rig.sim.flash, &rig.layout) - 1);
    assert_int_equal(fake.reset_cause, BOOT_CAUSE_STORAGE);
}

static void test_the_memory_macro_is_enough(void **state)
{
    (void)state;
    static const uint32_t pages[] = {1024, 2048, 4096, 8192};
    for (unsigned i = 0; i < 4; i++)
        for (uint32_t size = 4 * pages[i]; size <= 16u << 20; size = size * 3 / 2 / pages[i] * pages[i]) {
            const struct nf_flash flash = {.size = 2 * size, .page_size = pages[i], .granule = 4};
            const struct nf_layout layout = {.slot = {0, size}, .slot_size = size};
            const size_t need = nf_store_memory(&flash, &layout);
            assert_in_range(NF_LOOP_MEMORY(size, pages[i]), need, need + need / 4 + 16);
        }
}

/* --- records of the application ----------------------------------------------------------------------------------- */

static void put_records(const struct app_view *view)
{
    uint8_t data[NF_APP_RECORD_MAX + 1];
    memset(data, 0x5A, sizeof data);
    for (unsigned i = 0; i < NF_APP_RECORDS; i++) {
        data[0] = (uint8_t)i;
        assert_int_equal(nf_app_put(view, i, data, i == 3 ? NF_APP_RECORD_MAX : 8), 0);
    }
    assert_int_equal(nf_app_put(view, NF_APP_RECORDS, data, 8), MP_ERR_FORMAT);
    assert_int_equal(nf_app_put(view, 0, data, NF_APP_RECORD_MAX + 1), MP_ERR_FORMAT);
    assert_int_equal(nf_app_put(view, 2, NULL, 0), 0);
}

static void get_records(const struct app_view *view)
{
    uint8_t data[NF_APP_RECORD_MAX];
    assert_int_equal(nf_app_get(view, 0, data, sizeof data), 8);
    assert_int_equal(data[0], 0);
    assert_int_equal(data[7], 0x5A);
    assert_int_equal(nf_app_get(view, 1, data, 7), MP_ERR_ROOM);
    assert_int_equal(nf_app_get(view, 2, data, sizeof data), 0);
    assert_int_equal(nf_app_get(view, 3, data, sizeof data), NF_APP_RECORD_MAX);
    assert_int_equal(nf_app_get(view, NF_APP_RECORDS, data, sizeof data), MP_ERR_FORMAT);
}

/* Brings the node to a trial of image 2 in slot 1. */
static void update(void)
{
    assert_int_equal(rig_direct(&rig, MP_ACTION_STAGE, 2, 1, 0), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_STAGED, 600));
    assert_int_equal(rig_direct(&rig, MP_ACTION_OPEN, 2, 2, 0), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 400));
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_REQUEST), 1);
    fake.slot = 1;
}

static void test_records_survive_updates_and_rollbacks(void **state)
{
    (void)state;
    seen.act = put_records;
    assert_false(run(MP_SECONDS(2)));
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    update();
    seen.act = get_records;
    assert_false(run(MP_SECONDS(2)));
    assert_true(seen.is_trial);
    for (unsigned i = 0; i < BOOT_TRIES; i++)
        rig_boot(&rig, BOOT_CAUSE_CRASH);
    assert_int_equal(rig.choice.slot, 0);
    fake.slot = 0;
    assert_false(run(MP_SECONDS(2)));
    assert_false(seen.is_trial);
    assert_int_equal(seen.starts, 3);
}

static void test_a_trial_asks_the_application(void **state)
{
    (void)state;
    update();
    seen.verdict = APP_FAILED;
    assert_true(run(MP_SECONDS(60)));
    assert_int_equal(fake.reset_cause, BOOT_CAUSE_SELFTEST);
    assert_true(seen.asked >= 1);
    assert_true(has_line("node: self-test FAILED"));
    assert_true(has_line("node: reset cause=selftest"));
}

static void test_a_mute_trial_ends(void **state)
{
    (void)state;
    update();
    fake.answers = false;
    assert_true(run(MP_SECONDS(3600)));
    assert_int_equal(fake.reset_cause, BOOT_CAUSE_SELFTEST); /* pending to the end: the radio never ran */

    setup(state);
    update();
    assert_true(run(MP_SECONDS(3600)));
    assert_int_equal(fake.reset_cause, BOOT_CAUSE_MUTE); /* nobody echoed */
    assert_true(has_line("node: self-test passed"));
    assert_int_equal(seen.asked, 2);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static void test_lines(void **state)
{
    (void)state;
    struct nf_line l;
    nf_line_begin(&l, "a=");
    nf_line_number(&l, 0);
    nf_line_text(&l, " ");
    nf_line_number(&l, UINT32_MAX);
    nf_line_text(&l, " ");
    nf_line_signed(&l, INT32_MIN);
    nf_line_text(&l, " ");
    nf_line_signed(&l, 7);
    nf_line_text(&l, " ");
    nf_line_hex(&l, 0xBEEF, 4);
    nf_line_text(&l, " ");
    nf_line_hex(&l, 0xBEEF, 1);
    nf_line_text(&l, " ");
    nf_line_hex(&l, 0, 2);
    nf_line_text(&l, " ");
    nf_line_hex(&l, UINT32_MAX, 8);
    assert_string_equal(l.text, "a=0 4294967295 -2147483648 7 beef beef 00 ffffffff");
    for (unsigned i = 0; i < 50; i++)
        nf_line_text(&l, "0123456789");
    assert_int_equal(strlen(l.text), NF_LINE_MAX - 1);
    assert_string_equal(nf_cause_name(BOOT_CAUSE_WATCHDOG), "watchdog");
}

static int make_images(void **state)
{
    (void)state;
    rig_images(&part, NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_node_starts_says_who_it_is_and_sends),
        TEST(test_an_application_keeps_the_radio_silent),
        TEST(test_without_a_line_nothing_is_written),
        TEST(test_a_silent_controller_is_reset_until_it_answers),
        TEST(test_a_dead_line_is_tried_twice_a_second),
        TEST(test_a_flood_keeps_nobody_from_working),
        TEST(test_a_line_that_loses_bytes_is_not_hammered),
        TEST(test_lost_bytes_start_the_host_over),
        TEST(test_a_controller_that_resets_itself_is_set_up_again),
        TEST(test_a_refusal_is_tried_again_later),
        TEST(test_what_is_missing_at_the_start_resets),
        TEST(test_the_memory_macro_is_enough),
        TEST(test_records_survive_updates_and_rollbacks),
        TEST(test_a_trial_asks_the_application),
        TEST(test_a_mute_trial_ends),
        TEST(test_lines),
    };
    return cmocka_run_group_tests(tests, make_images, NULL);
}
