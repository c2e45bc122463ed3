/*
 * The rig for emulated parts itself, with a firmware that does nothing but what is looked at: tests/emu/firmware/rig.c.
 */
#include "emu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/fleet_process.h"

/* Where the firmware writes, see there. */
enum { STARTS = 0x3F000, TWICE = 0x3F400, REFUSED = 0x3F404, BITS = 0x3F408, ERASED = 0x3F800, UNTOUCHED = 0x3FC00 };

static uint32_t random_state;

/* xorshift32 (Marsaglia, "Xorshift RNGs", 2003), 31 bits of it. */
static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state >> 1;
}

static struct qemu *start_rig(unsigned i)
{
    struct qemu *q = emu_open(i, emu_built("emu/rig.bin"));
    qemu_run(q);
    return q;
}

static uint32_t symbol(const char *name)
{
    uint32_t value = 0;
    if (qemu_symbol(emu_built("emu/rig.elf"), name, &value, NULL) != 0)
        fail_msg("no symbol %s", name);
    return value;
}

/* Starts that flash tells of: cleared bits, which must be the first ones. */
static unsigned starts_in(const uint8_t *flash)
{
    unsigned starts = 0;
    while (starts < 8192 && (flash[STARTS + starts / 8] >> (starts % 8) & 1) == 0)
        starts++;
    for (unsigned i = starts; i < 8192; i++)
        assert_int_equal(flash[STARTS + i / 8] >> (i % 8) & 1, 1);
    return starts;
}

static bool has_ticked(struct qemu *q, void *ctx)
{
    return qemu_peek_u32(q, symbol("rig_ticks")) >= *(const uint32_t *)ctx;
}

static void wait_ticks(struct qemu *q, uint32_t ticks)
{
    if (!qemu_until(q, 20, has_ticked, &ticks))
        qemu_fail(q, "its timer does not run");
}

static void rest_ms(long ms)
{
    const struct timespec t = {0, ms * 1000000};
    nanosleep(&t, NULL);
}

static void expect_echo(struct qemu *q, const char *text)
{
    char back[600] = {0};
    assert_true(emu_send(q, text, strlen(text), 10));
    assert_int_equal(emu_receive(q, back, strlen(text), 10), strlen(text));
    assert_string_equal(back, text);
}

/* --- running ------------------------------------------------------------------------------------------------------- */

static void test_runs_and_echoes(void **state)
{
    struct qemu *q = start_rig(0);
    char all[513] = {0};
    (void)state;
    wait_ticks(q, 5);
    expect_echo(q, "hello");
    for (size_t i = 0; i < sizeof all - 1; i++)
        all[i] = (char)('a' + i % 26);
    expect_echo(q, all);
    assert_int_equal(qemu_peek_u32(q, symbol("rig_echoed")), 5 + 512);
    assert_true(q->running);
    qemu_pause(q);
    const uint32_t ticks = qemu_peek_u32(q, symbol("rig_ticks"));
    rest_ms(100);
    assert_int_equal(qemu_peek_u32(q, symbol("rig_ticks")), ticks);
    qemu_run(q);
    wait_ticks(q, ticks + 5);
}

static void test_clock_passes(void **state)
{
    struct qemu *q = start_rig(0);
    (void)state;
    wait_ticks(q, 5);
    for (unsigned ms = 50; ms <= 800; ms *= 4) {
        const uint32_t before = qemu_peek_u32(q, symbol("rig_ticks"));
        qemu_pass(q, ms, 60);
        const uint32_t passed = qemu_peek_u32(q, symbol("rig_ticks")) - before;
        if (passed + 3 < ms)
            fail_msg("%u ms of the part's took only %u of its ticks", ms, passed);
    }
}

static void test_line_comes_back(void **state)
{
    struct qemu *q = start_rig(0);
    (void)state;
    wait_ticks(q, 5);
    expect_echo(q, "before");
    qemu_serial_drop(q);
    expect_echo(q, "after"); /* on the connection that QEMU opens anew */
    assert_int_equal(qemu_peek_u32(q, symbol("rig_starts")), 1);
}

/* --- resets -------------------------------------------------------------------------------------------------------- */

static void test_resets_are_counted(void **state)
{
    static uint8_t flash[QEMU_FLASH_SIZE];
    struct qemu *q = start_rig(0);
    unsigned starts = 1;
    (void)state;
    random_state = 7;
    /* q->resets_asked counts the one of qemu_load(), before the first instruction */
    assert_int_equal(q->resets_asked, 1);
    for (unsigned i = 0; i < 40; i++) {
        wait_ticks(q, 1);
        rest_ms(draw() % 20);
        if (i % 5 == 4)
            expect_echo(q, "R");
        else
            qemu_reset(q);
        for (unsigned n = 0; n < 500 && q->resets_asked + q->resets_own < starts + 1; n++)
            qemu_poll((struct qemu *const[]){q}, 1, 10);
        starts++;
        assert_int_equal(q->resets_asked + q->resets_own, starts);
        wait_ticks(q, 1);
        assert_int_equal(qemu_peek_u32(q, symbol("rig_starts")), starts);
    }
    assert_int_equal(q->resets_own, 8);
    assert_int_equal(q->resets_asked, 33);
    qemu_flash(q, flash);
    assert_int_equal(starts_in(flash), starts);
    assert_true(q->running);
    expect_echo(q, "still here");
}

/* Stopped at the write that counts the start: a reset right before it and right after it. */
static void test_reset_inside_a_flash_operation(void **state)
{
    static uint8_t flash[QEMU_FLASH_SIZE];
    struct qemu *q = emu_open(0, emu_built("emu/rig.bin"));
    uint32_t pc = 0, registers[17];
    (void)state;
    qemu_debug(q);
    qemu_watch(q, STARTS, 1024);
    qemu_watch(q, 0x4001E504, 4); /* NVMC CONFIG */
    for (unsigned start = 0; start < 6; start++) {
        qemu_debug_run(q); /* to the permission to write, */
        assert_true(qemu_debug_wait(q, 10000, &pc));
        qemu_debug_run(q); /* and to the write */
        assert_true(qemu_debug_wait(q, 10000, &pc));
        assert_false(q->running);
        assert_true(pc > 0 && pc < 1024);
        qemu_registers(q, registers);
        assert_int_equal(registers[15], pc);
        qemu_flash(q, flash);
        assert_int_equal(starts_in(flash), start / 2);
        if (start % 2 == 1) {
            qemu_debug_step(q, 1);
            qemu_flash(q, flash);
            assert_int_equal(starts_in(flash), start / 2 + 1);
        }
        assert_int_equal(flash[TWICE], 0xff); /* what follows the write is not done */
        qemu_reset(q);
        assert_int_equal(q->resets_asked, 1 + start + 1);
    }
    qemu_debug_end(q);
    qemu_run(q);
    wait_ticks(q, 2);
    qemu_flash(q, flash);
    assert_int_equal(starts_in(flash), 4);
    expect_echo(q, "alive");
}

static void test_breakpoint(void **state)
{
    struct qemu *q = start_rig(0);
    uint32_t pc = 0;
    (void)state;
    wait_ticks(q, 2);
    qemu_debug(q);
    uint32_t ticks = qemu_peek_u32(q, symbol("rig_ticks"));
    qemu_break(q, symbol("rig_timer"));
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t before = ticks;
        qemu_debug_run(q);
        assert_true(qemu_debug_wait(q, 10000, &pc));
        assert_int_equal(pc, symbol("rig_timer"));
        ticks = qemu_peek_u32(q, symbol("rig_ticks"));
        assert_true(i == 0 || ticks > before); /* once a time */
    }
    qemu_debug_end(q);
    qemu_debug(q);
    qemu_debug_run(q);
    assert_false(qemu_debug_wait(q, 200, NULL)); /* none is left */
    qemu_debug_stop(q);
    qemu_debug_end(q);
    qemu_run(q);
    wait_ticks(q, ticks + 10);
}

/* --- memory -------------------------------------------------------------------------------------------------------- */

static void test_flash_has_its_rules(void **state)
{
    static uint8_t image[QEMU_FLASH_SIZE], flash[QEMU_FLASH_SIZE];
    struct qemu *q = &emu_part[0];
    (void)state;
    qemu_open(q, &(struct qemu_options){.name = "rules", .dir = emu_dir});
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (uint8_t)(i * 7 + (i >> 8));
    memset(image + STARTS, 0xff, UNTOUCHED - STARTS);
    memset(image + ERASED, 0x12, 1024);
    qemu_image_file(q, image, 0, emu_built("emu/rig.bin"));
    qemu_load(q, image, sizeof image);
    for (unsigned i = 0; i < 3; i++) {
        if (i > 0)
            qemu_reset(q);
        qemu_run(q);
        wait_ticks(q, 2);
        qemu_flash(q, flash);
        static const uint8_t both[4] = {0x00, 0xf0, 0x00, 0xf0};
        assert_memory_equal(flash + TWICE, both, 4);              /* ones only become zeros */
        assert_memory_equal(flash + REFUSED, image + REFUSED, 4); /* not without permission */
        for (unsigned n = 0; n < 1024; n++)
            assert_int_equal(flash[ERASED + n], 0xff);
        assert_int_equal(starts_in(flash), i + 1);
        /* whatever nobody wrote is what was loaded, after a reset, too */
        assert_memory_equal(flash, image, STARTS);
        assert_memory_equal(flash + UNTOUCHED, image + UNTOUCHED, 1024);
    }
    assert_true(emu_send(q, "WWW", 3, 5));
    assert_int_equal(emu_receive(q, image, 3, 5), 3);
    wait_ticks(q, qemu_peek_u32(q, symbol("rig_ticks")) + 3);
    assert_int_equal(qemu_peek_u32(q, BITS), 0xfffffff8);
}

static void test_peek_and_poke(void **state)
{
    struct qemu *q = start_rig(0);
    uint8_t ram[QEMU_RAM_SIZE];
    const uint32_t word = 0x12345678;
    (void)state;
    wait_ticks(q, 2);
    qemu_poke(q, symbol("rig_starts"), &word, 4);
    assert_true(q->running);
    assert_int_equal(qemu_peek_u32(q, symbol("rig_starts")), word);
    qemu_peek(q, QEMU_RAM, ram, sizeof ram);
    assert_memory_equal(ram + (symbol("rig_starts") - QEMU_RAM), &word, 4);
    qemu_reset(q);
    wait_ticks(q, 1);
    assert_int_equal(qemu_peek_u32(q, symbol("rig_starts")), 2);
    /* a jump into nowhere: the part sits in its handler, and does not end QEMU */
    uint32_t registers[17], where = symbol("rig_stuck");
    assert_true(emu_send(q, "F", 1, 5));
    rest_ms(200);
    qemu_registers(q, registers);
    assert_in_range(registers[15], where, where + 2);
}

static void test_symbols_are_bounded(void **state)
{
    char path[QEMU_PATH_MAX];
    uint32_t value = 0, size = 0;
    (void)state;
    assert_int_equal(qemu_symbol(emu_built("emu/rig.elf"), "rig_ticks", &value, &size), 0);
    assert_int_equal(size, 4);
    assert_int_equal(value & ~UINT32_C(0xfff), QEMU_RAM);
    assert_int_equal(qemu_symbol(emu_built("emu/rig.elf"), "rig_nothing", &value, NULL), -1);
    assert_int_equal(qemu_symbol(emu_built("emu/rig.bin"), "rig_ticks", &value, NULL), -1);
    assert_int_equal(qemu_symbol("/nowhere", "rig_ticks", &value, NULL), -1);
    /* any prefix, and any with a byte changed: an answer or none, but nothing outside of it is read */
    FILE *in = fopen(emu_built("emu/rig.elf"), "rb");
    static uint8_t elf[1 << 16];
    assert_non_null(in);
    const size_t n = fread(elf, 1, sizeof elf, in);
    fclose(in);
    snprintf(path, sizeof path, "%s/cut.elf", emu_dir);
    random_state = 3;
    for (unsigned i = 0; i < 300; i++) {
        const size_t at = (size_t)draw() % (i % 3 == 0 ? 52 : n), len = i % 2 == 0 ? n : at;
        const uint8_t kept = elf[at];
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        elf[at] = (uint8_t)draw();
        assert_int_equal(fwrite(elf, 1, len, out), len);
        elf[at] = kept;
        fclose(out);
        (void)qemu_symbol(path, "rig_ticks", &value, &size);
    }
}

/* --- many, and their end --------------------------------------------------------------------------------------------- */

static void test_many_parts(void **state)
{
    enum { PARTS = 8 };
    static uint8_t flash[QEMU_FLASH_SIZE];
    struct qemu *parts[PARTS];
    (void)state;
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = start_rig(i);
    for (unsigned round = 0; round < PARTS; round++) {
        for (unsigned i = 0; i < PARTS; i++)
            wait_ticks(parts[i], 1);
        for (unsigned i = round; i < PARTS; i++)
            qemu_reset(parts[i]);
        qemu_poll(parts, PARTS, 0);
    }
    for (unsigned i = 0; i < PARTS; i++) {
        char text[40];
        snprintf(text, sizeof text, "this is part %u", i);
        wait_ticks(parts[i], 1);
        expect_echo(parts[i], text);
        assert_int_equal(parts[i]->resets_asked, 1 + i + 1);
        qemu_flash(parts[i], flash);
        assert_int_equal(starts_in(flash), 1 + i + 1);
    }
}

static void test_same_name_elsewhere(void **state)
{
    char other[QEMU_PATH_MAX / 2];
    (void)state;
    struct qemu *q = start_rig(0);
    assert_true(snprintf(other, sizeof other, "%s/b", emu_dir) < (int)sizeof other);
    assert_int_equal(mkdir(other, 0700), 0);
    qemu_open(&emu_part[1], &(struct qemu_options){.name = q->name, .dir = other});
    static uint8_t image[QEMU_FLASH_SIZE];
    memset(image, 0xff, sizeof image);
    qemu_image_file(&emu_part[1], image, 0, emu_built("emu/rig.bin"));
    qemu_load(&emu_part[1], image, sizeof image);
    qemu_run(&emu_part[1]);
    qemu_reset(&emu_part[1]);
    wait_ticks(&emu_part[1], 1);
    wait_ticks(q, 1);
    assert_int_equal(qemu_peek_u32(q, symbol("rig_starts")), 1);
    assert_in_range(qemu_peek_u32(&emu_part[1], symbol("rig_starts")), 1, 2);
}

static jmp_buf failed;

static void jump(void)
{
    longjmp(failed, 1);
}

/* A part that dies is noticed at the next call. */
static void test_dead_part_fails(void **state)
{
    struct qemu *volatile q = start_rig(0);
    (void)state;
    kill(q->pid, SIGKILL);
    rest_ms(100);
    qemu_failed = jump;
    if (setjmp(failed) == 0) {
        qemu_poll((struct qemu *const[]){q}, 1, 1000);
        fail_msg("nobody noticed");
    }
    assert_int_equal(q->pid, 0);
}

static void test_close_leaves_nothing(void **state)
{
    static const char *const suffixes[] = {"q", "g", "u", "mem", "log"};
    char path[QEMU_PATH_MAX];
    struct qemu *q = start_rig(0);
    const pid_t pid = q->pid;
    (void)state;
    qemu_close(q);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(path, sizeof path, "%s/p0.%s", emu_dir, suffixes[i]);
        assert_int_equal(access(path, F_OK), -1);
    }
    qemu_close(q);
}

/* A test that is killed takes its parts along. */
static void test_ends_with_its_parent(void **state)
{
    int fd[2];
    pid_t part = 0;
    (void)state;
    assert_int_equal(pipe(fd), 0);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        qemu_open(&emu_part[0], &(struct qemu_options){.name = "orphan", .dir = emu_dir});
        if (write(fd[1], &emu_part[0].pid, sizeof(pid_t)) != sizeof(pid_t))
            _exit(1);
        pause();
        _exit(1);
    }
    assert_true(child > 0);
    close(fd[1]);
    assert_int_equal(read(fd[0], &part, sizeof part), sizeof part);
    close(fd[0]);
    assert_int_equal(kill(part, 0), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    char state_of[64], line[256] = "";
    snprintf(state_of, sizeof state_of, "/proc/%d/stat", (int)part);
    bool gone = false;
    for (unsigned i = 0; i < 200 && !gone; i++, rest_ms(20)) {
        FILE *file = fopen(state_of, "r");
        gone = file == NULL || fgets(line, sizeof line, file) == NULL || strstr(line, ") Z ") != NULL;
        if (file != NULL)
            fclose(file);
    }
    assert_true(gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMU_TEST(test_runs_and_echoes),
        EMU_TEST(test_clock_passes),
        EMU_TEST(test_line_comes_back),
        EMU_TEST(test_resets_are_counted),
        EMU_TEST(test_reset_inside_a_flash_operation),
        EMU_TEST(test_breakpoint),
        EMU_TEST(test_flash_has_its_rules),
        EMU_TEST(test_peek_and_poke),
        EMU_TEST(test_symbols_are_bounded),
        EMU_TEST(test_many_parts),
        EMU_TEST(test_same_name_elsewhere),
        EMU_TEST(test_dead_part_fails),
        EMU_TEST(test_close_leaves_nothing),
        EMU_TEST(test_ends_with_its_parent),
    };
    return cmocka_run_group_tests_name("qemu_rig", tests, NULL, NULL);
}
