/* Checkpoint files: what was put comes back; every damage, every cut and a full disk are noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/engine/archive.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

static char path[128], part[160], error[256];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/archive.%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    snprintf(part, sizeof part, "%s.part", path);
    error[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 131 + i / 251);
}

/* Three sections: small, empty, and longer than several blocks, written in odd pieces. */
enum { LONG = 200001 };

static struct sim_archive *create(void)
{
    struct sim_archive *a = sim_archive_create(path, error, sizeof error);
    assert_non_null(a);
    return a;
}

static void write_sections(void)
{
    unlink(path);
    struct sim_archive *a = create();
    assert_int_equal(sim_archive_section(a, "HEAD"), 0);
    assert_int_equal(sim_archive_put_count(a, 12), 0);
    assert_int_equal(sim_archive_put(a, "hello", 5), 0);
    assert_int_equal(sim_archive_section(a, "NONE"), 0);
    assert_int_equal(sim_archive_section(a, "LONG"), 0);
    for (size_t i = 0, n; i < LONG; i += n) {
        uint8_t piece[997];
        n = LONG - i < sizeof piece ? LONG - i : sizeof piece;
        for (size_t k = 0; k < n; k++)
            piece[k] = byte_at(i + k);
        assert_int_equal(sim_archive_put(a, piece, n), 0);
    }
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(access(part, F_OK), -1);
}

/* Reads all of it in other pieces: 0, or -1 with `error`. */
static int read_sections(void)
{
    uint64_t count;
    uint8_t piece[1501];
    struct sim_archive *a = sim_archive_open(path, error, sizeof error);
    if (a == NULL)
        return -1;
    sim_archive_section(a, "HEAD");
    if (sim_archive_get_count(a, &count, 12) == 0)
        assert_int_equal(count, 12);
    if (sim_archive_get(a, piece, 5) == 0)
        assert_memory_equal(piece, "hello", 5);
    sim_archive_section(a, "NONE");
    sim_archive_section(a, "LONG");
    for (size_t i = 0, n; i < LONG; i += n) {
        n = LONG - i < sizeof piece ? LONG - i : sizeof piece;
        if (sim_archive_get(a, piece, n) != 0)
            break;
        for (size_t k = 0; k < n; k++)
            assert_int_equal(piece[k], byte_at(i + k));
    }
    return sim_archive_close(a, error, sizeof error);
}

static void what_was_put_comes_back(void **state)
{
    (void)state;
    write_sections();
    assert_int_equal(read_sections(), 0);
    struct sim_archive *a = create(); /* no section at all */
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    a = sim_archive_open(path, error, sizeof error);
    assert_non_null(a);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
}

static long file_size(void)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fclose(f);
    return size;
}

static void every_damage_is_noticed(void **state)
{
    (void)state;
    write_sections();
    const long size = file_size();
    for (long at = 0; at < size; at += at < 120 || at > size - 60 ? 1 : 4999) {
        uint8_t byte;
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        error[0] = '\0';
        assert_int_equal(read_sections(), -1);
        assert_non_null(strstr(error, path));
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_int_equal(read_sections(), 0);
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    write_sections();
    for (long size = file_size(); size > 0; size -= size < 120 ? 1 : size < 200000 ? 7919 : 13) {
        assert_int_equal(truncate(path, size - 1), 0);
        assert_int_equal(read_sections(), -1);
    }
    write_sections();
    FILE *f = fopen(path, "ab");
    fputc('x', f);
    fclose(f);
    assert_int_equal(read_sections(), -1);
}

static void reading_other_than_was_written_is_an_error(void **state)
{
    (void)state;
    uint8_t byte[16];
    uint64_t count;
    write_sections();
    struct sim_archive *a = sim_archive_open(path, error, sizeof error);
    assert_int_equal(sim_archive_section(a, "LONG"), -1); /* another one comes first */
    assert_int_equal(sim_archive_section(a, "HEAD"), -1); /* and the error stays */
    assert_true(sim_archive_failed(a));
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1);
    a = sim_archive_open(path, error, sizeof error);
    assert_int_equal(sim_archive_section(a, "HEAD"), 0);
    assert_int_equal(sim_archive_get_count(a, &count, 11), -1); /* above the limit */
    assert_int_equal(count, 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1);
    a = sim_archive_open(path, error, sizeof error);
    assert_int_equal(sim_archive_section(a, "HEAD"), 0);
    assert_int_equal(sim_archive_get(a, byte, 14), -1); /* beyond the section */
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1);
    a = sim_archive_open(path, error, sizeof error);
    assert_int_equal(sim_archive_section(a, "HEAD"), 0);
    assert_int_equal(sim_archive_get(a, byte, 12), 0);
    assert_int_equal(sim_archive_section(a, "NONE"), -1); /* one byte was left */
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1);
    a = sim_archive_open(path, error, sizeof error);
    assert_int_equal(sim_archive_section(a, "HEAD"), 0);
    assert_int_equal(sim_archive_get(a, byte, 13), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1); /* sections were left */
    a = sim_archive_open(path, error, sizeof error);
    assert_int_equal(sim_archive_fail(a, "why not"), -1);
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1);
    assert_non_null(strstr(error, "why not"));
}

static void failed_writing_keeps_the_old_file(void **state)
{
    (void)state;
    write_sections();
    struct sim_archive *a = create();
    sim_archive_section(a, "ELSE");
    sim_archive_fail(a, "gave up");
    assert_int_equal(sim_archive_close(a, error, sizeof error), -1);
    assert_int_equal(access(part, F_OK), -1);
    a = create();
    sim_archive_abandon(a);
    assert_int_equal(access(part, F_OK), -1);
    assert_int_equal(read_sections(), 0);
}

static void full_disk_is_an_error(void **state)
{
    (void)state;
    struct rlimit old, limit;
    uint8_t piece[4096] = {0};
    write_sections();
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 150000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct sim_archive *a = create();
    sim_archive_section(a, "LONG");
    for (unsigned i = 0; i < 100; i++)
        sim_archive_put(a, piece, sizeof piece);
    int rc = sim_archive_close(a, error, sizeof error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(error, path));
    assert_int_equal(access(part, F_OK), -1);
    assert_int_equal(read_sections(), 0);
}

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    assert_null(sim_archive_open("/nonexistent/x", error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/x: No such file"));
    assert_null(sim_archive_create("/nonexistent/x", error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/x: No such file"));
    FILE *f = fopen(path, "w");
    fputs("[scenario]\nname = x\n", f);
    fclose(f);
    assert_null(sim_archive_open(path, error, sizeof error));
    assert_non_null(strstr(error, "not a checkpoint"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_damage_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_cut_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_other_than_was_written_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_writing_keeps_the_old_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_disk_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_opened_is_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
