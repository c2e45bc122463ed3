/*
 * meshd's configuration: good files, every kind of bad file with the line it must name, overrides, and the round trip.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/daemon/config.h"

static const char whole[] = "# a comment\n"
                            "[meshd]\n"
                            "database = /tmp/x#y;z.db\n"
                            "http=/run/h.sock\n"
                            "log = debug\n"
                            "; another\n"
                            "[bearer]\n"
                            "  hci = tty:/dev/ttyUSB0:1000000\r\n"
                            "[network]\n"
                            "number = 0x1234\n"
                            "keyset = /s\nrelease_key = /r\nrelease_passphrase = /p";

static int parse(struct md_config *c, const char *text, char error[256])
{
    md_config_init(c);
    error[0] = '\0';
    return md_config_parse(c, "x.conf", text, strlen(text), error, 256);
}

static void a_whole_file_is_read(void **state)
{
    (void)state;
    struct md_config c;
    char error[256];
    assert_int_equal(parse(&c, whole, error), 0);
    assert_string_equal(c.database, "/tmp/x#y;z.db");
    assert_string_equal(c.http, "/run/h.sock");
    assert_int_equal(c.log, MD_LOG_DEBUG);
    assert_int_equal(c.hci, MD_HCI_TTY);
    assert_string_equal(c.hci_path, "/dev/ttyUSB0");
    assert_int_equal(c.hci_baud, 1000000);
    assert_int_equal(c.network, 0x1234);
    assert_string_equal(c.keyset, "/s");
    assert_string_equal(c.release_key, "/r");
    assert_int_equal(md_config_check(&c, error, sizeof error), 0);
}

static void every_error_names_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expect;
    } cases[] = {
        {"x = 1\n", "x.conf:1: \"x\" stands before any [section]"},
        {"[meshd]\nnonsense\n", "x.conf:2: not understood"},
        {"[meshd\ndatabase = a\n", "x.conf:1: not understood"},
        {"[mesh]\na = 1\n", "x.conf:2: unknown section [mesh]"},
        {"[meshd]\n\ndatabas = 1\n", "x.conf:3: unknown setting \"databas\" in [meshd]"},
        {"[meshd]\nlog = loud\n", "x.conf:2: log must be error"},
        {"[meshd]\ndatabase =\n", "x.conf:2: database is empty"},
        {"[meshd]\nlog = info\nlog = info\n", "x.conf:3: the same setting twice"},
        {"[bearer]\nhci = usb\n", "x.conf:2: hci must be unix:PATH"},
        {"[bearer]\nhci = unix:\n", "x.conf:2: hci is empty"},
        {"[bearer]\nhci = tty:/dev/x\n", "x.conf:2: hci must be tty:DEVICE:BAUD"},
        {"[bearer]\nhci = tty:/dev/x:9\n", "x.conf:2: hci baud rate must be a number"},
        {"[network]\nnumber = 0\n", "x.conf:2: number must be a number from 1 to 65535"},
        {"[network]\nnumber = 65536\n", "x.conf:2: number must be"},
        {"[network]\nnumber = -1\n", "x.conf:2: number must be"},
        {"[network]\nnumber = 1x\n", "x.conf:2: number must be"},
        {"[network]\nnumber = 99999999999999999999999\n", "x.conf:2: number must be"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct md_config c;
        char error[256];
        assert_int_equal(parse(&c, cases[i].text, error), -1);
        if (strncmp(error, cases[i].expect, strlen(cases[i].expect)) != 0)
            fail_msg("case %zu: got \"%s\"", i, error);
    }
}

static void a_long_line_a_nul_and_a_first_error_are_told(void **state)
{
    (void)state;
    struct md_config c;
    char error[256], text[600] = "[meshd]\n";
    memset(text + 8, 'a', 500);
    assert_int_equal(parse(&c, text, error), -1);
    assert_string_equal(error, "x.conf:2: line too long");
    md_config_init(&c);
    assert_int_equal(md_config_parse(&c, "x.conf", "[meshd]\nlog\0=info\n", 18, error, sizeof error), -1);
    assert_string_equal(error, "x.conf:2: a NUL byte: this is no text file");
    /* of two errors the first is told */
    assert_int_equal(parse(&c, "[meshd]\nlog = loud\nrubbish\n", error), -1);
    assert_non_null(strstr(error, "x.conf:2: log"));
}

static void a_bad_file_changes_nothing(void **state)
{
    (void)state;
    struct md_config c, before;
    char error[256];
    md_config_init(&before);
    assert_int_equal(parse(&c, "[meshd]\ndatabase = /other\nlog = loud\n", error), -1);
    assert_memory_equal(&c, &before, sizeof c);
}

static void overrides_work_and_fail_like_lines(void **state)
{
    (void)state;
    struct md_config c;
    char error[256];
    md_config_init(&c);
    assert_int_equal(md_config_override(&c, "bearer.hci=unix:/tmp/a=b.sock", error, sizeof error), 0);
    assert_string_equal(c.hci_path, "/tmp/a=b.sock");
    assert_int_equal(md_config_override(&c, "network.number=7", error, sizeof error), 0);
    assert_int_equal(c.network, 7);
    static const char *const bad[] = {"network.number",
                                      "number=7",
                                      "network.numbre=7",
                                      "network.number=x",
                                      "=",
                                      ".=",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b=c"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(md_config_override(&c, bad[i], error, sizeof error), -1);
}

static void what_a_start_needs_is_asked_for(void **state)
{
    (void)state;
    struct md_config c;
    char error[256];
    md_config_init(&c);
    static const char *const steps[][2] = {{"bearer.hci=unix:/x", "[bearer] hci"},
                                           {"network.number=7", "[network] number"},
                                           {"network.keyset=/s", "[network] keyset"}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(md_config_check(&c, error, sizeof error), -1);
        assert_int_equal(strncmp(error, steps[i][1], strlen(steps[i][1])), 0);
        assert_int_equal(md_config_override(&c, steps[i][0], error, sizeof error), 0);
    }
    assert_int_equal(md_config_check(&c, error, sizeof error), 0);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct md_config a, b;
    char error[256], text[2048];
    assert_int_equal(parse(&a, whole, error), 0);
    int n = md_config_write(&a, text, sizeof text);
    assert_true(n > 0);
    md_config_init(&b);
    assert_int_equal(md_config_parse(&b, "y", text, (size_t)n, error, sizeof error), 0);
    assert_memory_equal(&a, &b, sizeof a);
    for (int cap = 0; cap <= n; cap++)
        assert_int_equal(md_config_write(&a, text, (size_t)cap), -1);
}

static void files_that_cannot_be_read_are_told(void **state)
{
    (void)state;
    struct md_config c;
    char error[256];
    md_config_init(&c);
    assert_int_equal(md_config_load(&c, "/nonexistent/meshd.conf", error, sizeof error), -1);
    assert_string_equal(error, "/nonexistent/meshd.conf: No such file or directory");
    assert_int_equal(md_config_load(&c, "/", error, sizeof error), -1);
    char path[] = "/tmp/test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 70000), 0);
    assert_int_equal(md_config_load(&c, path, error, sizeof error), -1);
    assert_non_null(strstr(error, "larger than"));
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_read),
        cmocka_unit_test(every_error_names_its_line),
        cmocka_unit_test(a_long_line_a_nul_and_a_first_error_are_told),
        cmocka_unit_test(a_bad_file_changes_nothing),
        cmocka_unit_test(overrides_work_and_fail_like_lines),
        cmocka_unit_test(what_a_start_needs_is_asked_for),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(files_that_cannot_be_read_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
