/* Flash in a file: NOR rules, geometry, locking, planned cuts, death of the process in mid-operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node-fw/port/posix/flash_file.h"

#define SIZE (64u * 1024)

struct fixture {
    char directory[64];
    char path[96];
    struct port_flash f;
};

static int setup_with(void **state, struct port_flash_geometry g)
{
    struct fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    strcpy(x->directory, "/tmp/flash-file-XXXXXX");
    assert_non_null(mkdtemp(x->directory));
    snprintf(x->path, sizeof x->path, "%s/flash", x->directory);
    assert_int_equal(port_flash_create(x->path, &g), 0);
    assert_int_equal(port_flash_open(&x->f, x->path), 0);
    *state = x;
    return 0;
}

static int setup_word(void **state)
{
    return setup_with(state, port_flash_word(SIZE));
}

static int setup_once8(void **state)
{
    return setup_with(state, port_flash_once8(SIZE));
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    port_flash_close(&x->f);
    unlink(x->path);
    rmdir(x->directory);
    free(x);
    return 0;
}

static void reopen(struct fixture *x)
{
    port_flash_close(&x->f);
    assert_int_equal(port_flash_open(&x->f, x->path), 0);
}

static int read_at(struct fixture *x, uint32_t a, void *data, size_t len)
{
    return x->f.flash.read(x->f.flash.ctx, a, data, len);
}

static int program_at(struct fixture *x, uint32_t a, const void *data, size_t len)
{
    return x->f.flash.program(x->f.flash.ctx, a, data, len);
}

static int erase_at(struct fixture *x, uint32_t a)
{
    return x->f.flash.erase(x->f.flash.ctx, a);
}

static void assert_filled(struct fixture *x, uint32_t a, size_t len, uint8_t value)
{
    uint8_t data[8192];
    assert_true(len <= sizeof data);
    assert_int_equal(read_at(x, a, data, len), NF_FLASH_OK);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], value);
}

static void test_fresh_part_is_blank_and_persistent(void **state)
{
    struct fixture *x = *state;
    const uint8_t word[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t back[8];
    assert_int_equal(x->f.flash.size, SIZE);
    for (uint32_t a = 0; a < SIZE; a += 4096)
        assert_filled(x, a, 4096, 0xFF);
    assert_int_equal(program_at(x, 4096, word, 8), NF_FLASH_OK);
    reopen(x);
    assert_int_equal(read_at(x, 4096, back, 8), NF_FLASH_OK);
    assert_memory_equal(word, back, 8);
    assert_int_equal(erase_at(x, 4096), NF_FLASH_OK);
    reopen(x);
    assert_filled(x, 4096, 4096, 0xFF);
    assert_int_equal(port_flash_wear(&x->f, 4096), 1);
    assert_int_equal(port_flash_wear(&x->f, 0), 0);
}

static void test_ranges_and_alignment(void **state)
{
    struct fixture *x = *state;
    uint8_t data[64] = {0};
    const uint32_t g = x->f.flash.granule;
    assert_int_equal(read_at(x, SIZE, data, 1), NF_FLASH_RANGE);
    assert_int_equal(read_at(x, SIZE - 1, data, 2), NF_FLASH_RANGE);
    assert_int_equal(read_at(x, UINT32_MAX, data, 2), NF_FLASH_RANGE);
    assert_int_equal(read_at(x, SIZE - 1, data, 1), NF_FLASH_OK);
    assert_int_equal(program_at(x, 1, data, g), NF_FLASH_RANGE);
    assert_int_equal(program_at(x, 0, data, g + 1), NF_FLASH_RANGE);
    assert_int_equal(program_at(x, 0, data, 0), NF_FLASH_RANGE);
    assert_int_equal(program_at(x, SIZE - g, data, 2 * g), NF_FLASH_RANGE);
    assert_int_equal(erase_at(x, 4), NF_FLASH_RANGE);
    assert_int_equal(erase_at(x, SIZE), NF_FLASH_RANGE);
    assert_filled(x, 0, 4096, 0xFF);
}

static void test_word_part_clears_bits_only(void **state)
{
    struct fixture *x = *state;
    const uint8_t first[4] = {0xF0, 0xFF, 0xFF, 0xFF};
    const uint8_t fewer[4] = {0x70, 0xFF, 0x00, 0xFF};
    const uint8_t more[4] = {0xF0, 0xFF, 0xFF, 0xFF};
    uint8_t back[4];
    assert_int_equal(program_at(x, 8, first, 4), NF_FLASH_OK);
    assert_int_equal(program_at(x, 8, fewer, 4), NF_FLASH_OK);
    assert_int_equal(program_at(x, 8, more, 4), NF_FLASH_FAILED);
    assert_int_equal(read_at(x, 8, back, 4), NF_FLASH_OK);
    assert_memory_equal(back, fewer, 4);
}

static void test_write_once_part_refuses_second_program(void **state)
{
    struct fixture *x = *state;
    const uint8_t ones[8] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    uint8_t two[16] = {0};
    assert_int_equal(program_at(x, 8, ones, 8), NF_FLASH_OK);
    assert_int_equal(program_at(x, 8, two, 8), NF_FLASH_FAILED);
    assert_int_equal(program_at(x, 0, two, 16), NF_FLASH_FAILED); /* refused as a whole */
    assert_filled(x, 0, 16, 0xFF);
    assert_int_equal(erase_at(x, 0), NF_FLASH_OK);
    assert_int_equal(program_at(x, 0, two, 16), NF_FLASH_OK);
}

static void test_torn_program(void **state)
{
    struct fixture *x = *state;
    const uint8_t zeros[32] = {0};
    const bool once = x->f.flash.write_once;
    const uint32_t g = x->f.flash.granule;
    uint8_t back[32];
    port_flash_cut(&x->f, 1, g + 2, NULL, NULL);
    assert_int_equal(program_at(x, 4096, zeros, g), NF_FLASH_OK);
    assert_int_equal(program_at(x, 0, zeros, 4 * g), NF_FLASH_FAILED);
    assert_true(x->f.dead);
    assert_int_equal(program_at(x, 8192, zeros, g), NF_FLASH_FAILED);
    assert_int_equal(erase_at(x, 0), NF_FLASH_FAILED);
    reopen(x);
    assert_filled(x, 0, g, 0);
    assert_filled(x, 2 * g, 2 * g, 0xFF);
    assert_int_equal(read_at(x, g, back, g), once ? NF_FLASH_UNCORRECTABLE : NF_FLASH_OK);
    assert_int_equal(read_at(x, 0, back, 4 * g), once ? NF_FLASH_UNCORRECTABLE : NF_FLASH_OK);
    if (!once)
        assert_memory_equal(back + g, "\0\0\xff\xff", 4);
    assert_int_equal(program_at(x, g, zeros, g), once ? NF_FLASH_FAILED : NF_FLASH_OK);
    assert_int_equal(erase_at(x, 0), NF_FLASH_OK);
    assert_int_equal(program_at(x, g, zeros, g), NF_FLASH_OK);
}

static void test_torn_erase(void **state)
{
    struct fixture *x = *state;
    uint8_t zeros[2048] = {0};
    const uint32_t page = x->f.flash.page_size;
    assert_int_equal(program_at(x, 0, zeros, sizeof zeros), NF_FLASH_OK);
    port_flash_cut(&x->f, 0, 1024, NULL, NULL);
    assert_int_equal(erase_at(x, 0), NF_FLASH_FAILED);
    reopen(x);
    if (x->f.flash.write_once) {
        assert_int_equal(read_at(x, 0, zeros, 8), NF_FLASH_UNCORRECTABLE);
    } else {
        assert_filled(x, 0, 1024, 0xFF);
        assert_filled(x, 1024, 1024, 0);
    }
    memset(zeros, 0, sizeof zeros);
    assert_int_equal(program_at(x, 0, zeros, 32), NF_FLASH_FAILED); /* may look blank, is not */
    assert_int_equal(erase_at(x, 0), NF_FLASH_OK);
    assert_filled(x, 0, page, 0xFF);
    assert_int_equal(program_at(x, 0, zeros, 32), NF_FLASH_OK);
}

static void test_cut_before_and_after(void **state)
{
    struct fixture *x = *state;
    const uint8_t zeros[32] = {0};
    port_flash_cut(&x->f, 0, 0, NULL, NULL);
    assert_int_equal(program_at(x, 0, zeros, 32), NF_FLASH_FAILED);
    reopen(x);
    assert_filled(x, 0, 4096, 0xFF);
    assert_int_equal(program_at(x, 0, zeros, 32), NF_FLASH_OK);
    port_flash_cut(&x->f, 0, UINT32_MAX, NULL, NULL);
    assert_int_equal(erase_at(x, 0), NF_FLASH_FAILED);
    reopen(x);
    assert_filled(x, 0, 4096, 0xFF);
    assert_int_equal(program_at(x, 0, zeros, 32), NF_FLASH_OK);
}

static void test_spoiled_range(void **state)
{
    struct fixture *x = *state;
    const uint8_t zeros[64] = {0};
    uint8_t back[64];
    const uint32_t g = x->f.flash.granule;
    assert_int_equal(program_at(x, 0, zeros, 64), NF_FLASH_OK);
    port_flash_spoil(&x->f, g + 1, 1);
    reopen(x);
    assert_int_equal(read_at(x, 0, back, g), NF_FLASH_OK);
    assert_int_equal(read_at(x, 2 * g, back, g), NF_FLASH_OK);
    assert_int_equal(read_at(x, g + g - 1, back, 1), NF_FLASH_UNCORRECTABLE);
    assert_int_equal(read_at(x, 0, back, 64), NF_FLASH_UNCORRECTABLE);
    assert_int_equal(erase_at(x, 0), NF_FLASH_OK);
    assert_int_equal(read_at(x, 0, back, 64), NF_FLASH_OK);
}

static void test_second_opener_is_refused(void **state)
{
    struct fixture *x = *state;
    const struct port_flash_geometry g = port_flash_word(SIZE);
    struct port_flash other;
    assert_int_equal(port_flash_open(&other, x->path), -EWOULDBLOCK);
    assert_int_equal(port_flash_create(x->path, &g), -EWOULDBLOCK);
    /* The lock belongs to the description: a holder of a copy keeps it. */
    const int copy = dup(x->f.fd);
    port_flash_close(&x->f);
    assert_int_equal(port_flash_open(&other, x->path), -EWOULDBLOCK);
    assert_int_equal(port_flash_adopt(&x->f, copy), 0);
    port_flash_close(&x->f);
    assert_int_equal(port_flash_open(&x->f, x->path), 0);
}

static void test_bad_files_are_refused(void **state)
{
    struct fixture *x = *state;
    struct port_flash other;
    char path[128];
    port_flash_close(&x->f);
    assert_int_equal(port_flash_open(&other, "/nonexistent/flash"), -ENOENT);
    assert_int_equal(port_flash_open(&other, x->directory), -EISDIR);

    snprintf(path, sizeof path, "%s/short", x->directory);
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "NFFLASH1", 8), 8);
    assert_int_equal(port_flash_open(&other, path), -EINVAL);
    close(fd);
    unlink(path);

    const int whole = open(x->path, O_RDWR);
    assert_true(whole >= 0);
    assert_int_equal(ftruncate(whole, SIZE), 0);
    assert_int_equal(port_flash_open(&other, x->path), -EINVAL);
    close(whole);

    struct port_flash_geometry g = port_flash_word(SIZE);
    unlink(x->path);
    g.granule = 2;
    assert_int_equal(port_flash_create(x->path, &g), -EINVAL);
    g = port_flash_word(SIZE + 1);
    assert_int_equal(port_flash_create(x->path, &g), -EINVAL);
    g = port_flash_word(0);
    assert_int_equal(port_flash_create(x->path, &g), -EINVAL);
    g = port_flash_word(SIZE);
    assert_int_equal(port_flash_create(x->path, &g), 0);
    assert_int_equal(port_flash_open(&x->f, x->path), 0);
}

static void test_peek_reads_what_another_holds(void **state)
{
    struct fixture *x = *state;
    const uint8_t zeros[32] = {0};
    uint8_t back[32];
    struct port_flash other;
    assert_int_equal(program_at(x, 0, zeros, 32), NF_FLASH_OK);
    assert_int_equal(port_flash_peek(&other, x->path), 0);
    assert_int_equal(other.flash.read(&other, 0, back, 32), NF_FLASH_OK);
    assert_memory_equal(back, zeros, 32);
    assert_int_equal(other.flash.program(&other, 64, zeros, 32), NF_FLASH_FAILED);
    assert_int_equal(other.flash.erase(&other, 0), NF_FLASH_FAILED);
    port_flash_close(&other);
    assert_filled(x, 64, 32, 0xFF);
    assert_filled(x, 0, 32, 0);
    assert_int_equal(port_flash_peek(&other, "/nonexistent"), -ENOENT);
}

static void die(void *ctx)
{
    (void)ctx;
    raise(SIGKILL);
}

/* Erases and fills page 1 for ever, telling nobody. */
static void churn(const char *path)
{
    struct port_flash f;
    uint8_t row[64];
    if (port_flash_open(&f, path) != 0)
        _exit(1);
    for (unsigned round = 0;; round++) {
        memset(row, (int)(round & 0x7F), sizeof row);
        if (f.flash.erase(&f, f.flash.page_size) != 0)
            _exit(2);
        for (uint32_t a = 0; a < f.flash.page_size; a += sizeof row)
            if (f.flash.program(&f, f.flash.page_size + a, row, sizeof row) != 0)
                _exit(3);
    }
}

static void kill_churning_child(struct fixture *x, unsigned delay_us)
{
    const pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0)
        churn(x->path);
    usleep(delay_us);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

/* Killed at any moment: each granule is blank, of one round, or torn and says so where the part can; one erase heals
 * the page. */
static void test_kill_in_mid_operation(void **state)
{
    struct fixture *x = *state;
    const uint32_t g = x->f.flash.granule;
    uint8_t cell[32];
    for (unsigned i = 0; i < 60; i++) {
        port_flash_close(&x->f);
        kill_churning_child(x, 1500 + 137 * i);
        assert_int_equal(port_flash_open(&x->f, x->path), 0);
        unsigned odd = 0;
        for (uint32_t a = x->f.flash.page_size; a < 2 * x->f.flash.page_size; a += g) {
            if (read_at(x, a, cell, g) != NF_FLASH_OK)
                continue;
            for (uint32_t b = 1; b < g; b++)
                if (cell[b] != cell[0]) {
                    odd++;
                    break;
                }
        }
        assert_true(odd <= (x->f.flash.write_once ? 0u : 1u));
        assert_int_equal(erase_at(x, x->f.flash.page_size), NF_FLASH_OK);
        assert_filled(x, x->f.flash.page_size, x->f.flash.page_size, 0xFF);
    }
    assert_true(port_flash_wear(&x->f, x->f.flash.page_size) > 60); /* the children did work */
}

static void test_planned_cut_can_kill(void **state)
{
    struct fixture *x = *state;
    const uint8_t zeros[32] = {0};
    uint8_t back[8];
    port_flash_close(&x->f);
    const pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        struct port_flash f;
        if (port_flash_open(&f, x->path) != 0)
            _exit(1);
        port_flash_cut(&f, 0, 3, die, NULL);
        f.flash.program(&f, 0, zeros, 32);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(port_flash_open(&x->f, x->path), 0);
    if (x->f.flash.write_once) {
        assert_int_equal(read_at(x, 0, back, 8), NF_FLASH_UNCORRECTABLE);
    } else {
        assert_int_equal(read_at(x, 0, back, 4), NF_FLASH_OK);
        assert_memory_equal(back, "\0\0\0\xff", 4);
    }
}

#define BOTH(test)                                                                                                     \
    {#test " (word)", test, setup_word, teardown, NULL},                                                               \
    {                                                                                                                  \
#test " (once8)", test, setup_once8, teardown, NULL                                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_fresh_part_is_blank_and_persistent),
        BOTH(test_ranges_and_alignment),
        cmocka_unit_test_setup_teardown(test_word_part_clears_bits_only, setup_word, teardown),
        cmocka_unit_test_setup_teardown(test_write_once_part_refuses_second_program, setup_once8, teardown),
        BOTH(test_torn_program),
        BOTH(test_torn_erase),
        BOTH(test_cut_before_and_after),
        BOTH(test_spoiled_range),
        BOTH(test_second_opener_is_refused),
        BOTH(test_bad_files_are_refused),
        BOTH(test_peek_reads_what_another_holds),
        BOTH(test_kill_in_mid_operation),
        BOTH(test_planned_cut_can_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
