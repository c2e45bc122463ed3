/*
 * meshctl's command line: option parser, ring clauses, human units, help and exit statuses of every command, and the
 * offline commands from a new network to a bundle and a key change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/ctl/ctl.h"
#include "meshd/ctl/human.h"
#include "meshd/ctl/pack.h"
#include "meshd/ctl/rollout_args.h"
#include "meshd/release/policy.h"
#include "node-fw/port/crypto/crypto_sodium.h"

#define ARGS_MAX 32

static char out_text[65536];
static char err_text[65536];

static void read_back(int fd, char *text, size_t cap)
{
    lseek(fd, 0, SEEK_SET);
    ssize_t n = read(fd, text, cap - 1);
    text[n > 0 ? n : 0] = '\0';
}

/* Runs a command line, words separated by spaces ("\x01" stands for a space within a word). Exit status; what it
 * printed is in out_text and err_text. */
static int run(const char *line)
{
    char copy[2000], *argv[ARGS_MAX + 1] = {0}, *save = NULL;
    int argc = 0;
    snprintf(copy, sizeof copy, "meshctl %s", line);
    for (char *word = strtok_r(copy, " ", &save); word != NULL && argc < ARGS_MAX; word = strtok_r(NULL, " ", &save)) {
        for (char *p = word; *p != '\0'; p++)
            if (*p == '\x01')
                *p = ' ';
        argv[argc++] = word;
    }
    char out_path[] = "/tmp/test-ctl-XXXXXX", err_path[] = "/tmp/test-ctl-XXXXXX";
    fflush(NULL);
    int out = mkstemp(out_path), err = mkstemp(err_path), keep_out = dup(1), keep_err = dup(2);
    unlink(out_path);
    unlink(err_path);
    dup2(out, 1);
    dup2(err, 2);
    int status = md_ctl_run(argc, argv);
    fflush(NULL);
    dup2(keep_out, 1);
    dup2(keep_err, 2);
    close(keep_out);
    close(keep_err);
    read_back(out, out_text, sizeof out_text);
    read_back(err, err_text, sizeof err_text);
    close(out);
    close(err);
    return status;
}

static void expect(const char *line, int status)
{
    int got = run(line);
    if (got != status)
        fail_msg("meshctl %s: exit %d, not %d\n%s%s", line, got, status, out_text, err_text);
}

/* --- parsers ------------------------------------------------------------------------------------------------------ */

static void numbers_are_strict(void **state)
{
    (void)state;
    uint64_t v = 5;
    assert_true(md_ctl_number("0", 0, 9, &v) && v == 0);
    assert_true(md_ctl_number("010", 0, 99, &v) && v == 10);
    assert_true(md_ctl_number("0x1F", 0, 99, &v) && v == 31);
    assert_true(md_ctl_number("18446744073709551615", 0, UINT64_MAX, &v) && v == UINT64_MAX);
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1x", "0x", "0xg", "1e3", "10", "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(md_ctl_number(bad[i], 0, 9, &v));
}

static void options_are_parsed(void **state)
{
    (void)state;
    bool flag = false;
    const char *text = NULL, *args[2];
    uint64_t number = 7;
    struct md_list list = {0};
    const struct md_option options[] = {{"flag", MD_OPTION_FLAG, &flag, 0, 0},
                                        {"text", MD_OPTION_STRING, &text, 0, 0},
                                        {"output", MD_OPTION_NUMBER, &number, 1, 10},
                                        {"list", MD_OPTION_LIST, &list, 0, 0}};
    char *good[] = {"x", "--text", "--flag", "a", "--list=1", "-o", "3", "--flag", "--list", "2", "--", "--b", NULL};
    assert_int_equal(md_ctl_options(12, good, MD_OPTIONS(options), args, 1, 2, ""), 2);
    assert_true(flag);
    assert_string_equal(text, "--flag"); /* a value is a value, whatever it looks like */
    assert_int_equal(number, 3);
    assert_int_equal(list.count, 2);
    assert_string_equal(args[0], "a");
    assert_string_equal(args[1], "--b");
}

static void ring_options_become_a_policy(void **state)
{
    (void)state;
    char text[MD_RINGS_TEXT_MAX] = "", error[300];
    struct md_policy p;
    assert_int_equal(md_policy_setting("confirm", "2m", text, sizeof text, error, sizeof error), 0);
    assert_int_equal(md_policy_setting("spread", NULL, text, sizeof text, error, sizeof error), 0);
    assert_int_equal(md_policy_setting("cap", "50", text, sizeof text, error, sizeof error), 0);
    assert_int_equal(
        md_ring_clause("name=canary,label=3,soak=1h,max-failures=0", text, sizeof text, error, sizeof error), 0);
    assert_int_equal(md_ring_clause("share=25.5%,name=quarter,deadline=900", text, sizeof text, error, sizeof error),
                     0);
    assert_string_equal(text, "confirm=2m cap=50; canary: label=3 soak=1h max-failures=0; quarter: share=25.5% "
                              "deadline=900");
    /* and the daemon's parser reads it so */
    if (md_policy_parse(&p, text, NULL, NULL, error, sizeof error) != MP_OK)
        fail_msg("%s", error);
    assert_int_equal(p.ring_count, 2);
    assert_int_equal(p.confirm_s, 120);
    assert_int_equal(p.cap, 50);
    assert_string_equal(p.ring[0].name, "canary");
    assert_int_equal(p.ring[0].labels, 1 << 3);
    assert_int_equal(p.ring[0].soak_s, 3600);
    assert_int_equal(p.ring[1].share, 2550);
    assert_int_equal(p.ring[1].deadline_s, 900);
}

static void bad_ring_options_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      "label=canary",
                                      "name=",
                                      "name=a;b",
                                      "name=a,share",
                                      "name=a,share=",
                                      "name=a,color=red",
                                      "name=a,share=1;x",
                                      "name=a,share=1 2",
                                      "name=a\nb",
                                      "name=a,label=x:y",
                                      "name=a,,share=1",
                                      "name=a,name=b",
                                      "name=a,=1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[200] = "", error[300] = "";
        if (md_ring_clause(bad[i], text, sizeof text, error, sizeof error) != -1)
            fail_msg("\"%s\" was taken as \"%s\"", bad[i], text);
        assert_true(error[0] != '\0');
    }
    char error[300];
    for (size_t cap = 1; cap < 30; cap++) {
        char text[40] = "";
        assert_int_equal(md_ring_clause("name=abcdef,share=1%,soak=10", text, cap, error, sizeof error),
                         cap > strlen("abcdef: share=1% soak=10") ? 0 : -1);
        assert_true(strlen(text) < cap);
    }
}

static void units_are_human(void **state)
{
    (void)state;
    char t[MD_HUMAN_MAX];
    assert_string_equal(md_human_bytes(0, t), "0 B");
    assert_string_equal(md_human_bytes(1023, t), "1023 B");
    assert_string_equal(md_human_bytes(1536, t), "1.5 KB");
    assert_string_equal(md_human_bytes(16u << 20, t), "16.0 MB");
    assert_string_equal(md_human_seconds(59, t), "59s");
    assert_string_equal(md_human_seconds(65, t), "1m 05s");
    assert_string_equal(md_human_seconds(7260, t), "2h 01m");
    assert_string_equal(md_human_seconds(90000, t), "1d 1h");
    assert_true(strlen(md_human_seconds(UINT64_MAX, t)) < MD_HUMAN_MAX);
    assert_true(strlen(md_human_time(INT64_MAX, t)) < MD_HUMAN_MAX);
    assert_string_equal(md_human_time(0, t), "-");
    assert_string_equal(md_human_share(10000, t), "100%");
    assert_string_equal(md_human_share(2550, t), "25.5%");
    assert_string_equal(md_human_share(1, t), "0.01%");
}

/* --- the command line --------------------------------------------------------------------------------------------- */

static void every_command_has_help(void **state)
{
    (void)state;
    static const char *const commands[] = {"network", "key",      "provision",     "image",       "sign",      "import",
                                           "rollout", "nodes",    "labels",        "status",      "watch",     "audit",
                                           "version", "releases", "rollout start", "nodes label", "key change"};
    char line[80];
    expect("--help", MD_EXIT_OK);
    assert_non_null(strstr(out_text, "Exit status"));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        snprintf(line, sizeof line, "%s --help", commands[i]);
        expect(line, MD_EXIT_OK);
        assert_non_null(strstr(out_text, "meshctl"));
        assert_string_equal(err_text, "");
    }
    expect("version", MD_EXIT_OK);
    expect("--version", MD_EXIT_OK);
    expect("--json version", MD_EXIT_OK);
    assert_int_equal(out_text[0], '{');
}

static void wrong_usage_is_2(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "frobnicate",
        "--socket",
        "rollout",
        "rollout frobnicate",
        "status extra",
        "status --nonsense",
        "status --json=1 x",
        "provision",
        "provision --product 1 --model 1",
        "provision --product x --model 1 -o f",
        "provision --product 1 --model 65536 -o f",
        "provision --product 1 --model 1 -o",
        "image pack",
        "image pack a.bin --product 1 --model 1 --version 1 -o f",
        "image pack a.bin b.bin --product 1 --model 1 --version 1.0.0 -o f",
        "image pack a.bin --product 1 --model 1 --version 1.0.0 -o f --hw-revisions 32",
        "image pack a.bin --product 1 --model 1 --version 1.0.0 -o f --hw-revisions 3-1",
        "image pack a.bin --product 1 --model 1 --version 1.0.0 -o f --hw-revisions 1,",
        "sign a.mfi --key k",
        "sign a.mfi --key k --release 0 -o f",
        "sign a.mfi --key k --release 1 -o f --battery-min 101",
        "sign a.mfi --key k --release 1 -o f --version-min 1.2",
        "rollout start",
        "rollout start x --policy y",
        "rollout start 2",
        "rollout start 2 --ring label=x",
        "rollout start 2 --policy x --ring name=x",
        "rollout hold",
        "rollout hold 0",
        "rollout hold 4294967296",
        "rollout override 2 maybe",
        "nodes show",
        "nodes show a/b",
        "nodes label a",
        "labels name 16 x",
        "watch 2 3",
        "key generate admin f",
        "key change install --key k -o f --root a",
        "key change destroy --key k -o f --root a --root b",
        "network create",
        "network create /tmp/x"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        expect(lines[i], MD_EXIT_USAGE);
        assert_true(err_text[0] != '\0');
    }
}

static void no_daemon_is_3(void **state)
{
    (void)state;
    static const char *const lines[] = {"status",       "nodes",          "audit",    "watch",
                                        "rollout list", "rollout hold 2", "key list", "labels"};
    char line[120];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(line, sizeof line, "%s --socket /nonexistent/x.sock", lines[i]);
        expect(line, MD_EXIT_UNREACHABLE);
        assert_non_null(strstr(err_text, "/nonexistent/x.sock"));
    }
    setenv("MESHD_SOCKET", "/nonexistent/env.sock", 1);
    expect("--json status", MD_EXIT_UNREACHABLE);
    assert_non_null(strstr(err_text, "/nonexistent/env.sock"));
    cJSON *j = cJSON_Parse(out_text);
    assert_int_equal(cJSON_GetObjectItem(j, "exit")->valueint, MD_EXIT_UNREACHABLE);
    cJSON_Delete(j);
    unsetenv("MESHD_SOCKET");
}

static void remove_files(const char *dir)
{
    static const char *const names[] = {"net/root-0.key",
                                        "net/root-1.key",
                                        "net/root-2.key",
                                        "net/publisher.key",
                                        "net/release.key",
                                        "net/keyset",
                                        "net/meshd.conf",
                                        "a.bin",
                                        "a.mfi",
                                        "a.mfr",
                                        "new.key",
                                        "new.pub",
                                        "1.change",
                                        "m",
                                        "p",
                                        "net",
                                        ""};
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        remove(path);
    }
}

static void offline_commands_make_a_release(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-ctl-XXXXXX", error[300];
    uint8_t *data = NULL;
    size_t len = 0;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    expect("network create net --number 7", MD_EXIT_OK);
    expect("network create net --number 7", MD_EXIT_REFUSED); /* keys are never replaced */
    assert_int_equal(stat("net/root-0.key", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(md_file_write("a.bin", "not much of a program", 21, 0644, error, sizeof error), MP_OK);
    expect("image pack a.bin --product 1 --model 2 --version 2.0.0 --hw-revisions 0-3,7 -o a.mfi", MD_EXIT_OK);
    expect("--json image info a.mfi", MD_EXIT_OK);
    assert_non_null(strstr(out_text, "\"2.0.0\""));
    expect("sign a.mfi --key net/publisher.key --release 2 --security-counter 1 -o a.mfr", MD_EXIT_OK);
    assert_non_null(strstr(err_text, "point of no return"));
    expect("image info a.mfr", MD_EXIT_OK);
    expect("image extract a.mfr --manifest m --payload p", MD_EXIT_OK);
    expect("image extract a.mfr --manifest m --payload p --index 1", MD_EXIT_NOT_FOUND);
    assert_int_equal(md_file_read("p", 100, &data, &len, error, sizeof error), MP_OK);
    assert_int_equal(len, 21);
    free(data);
    /* a release key does not sign images, a bundle is no image, an image is no key */
    expect("sign a.mfi --key net/release.key --release 2 -o b.mfr", MD_EXIT_REFUSED);
    expect("sign a.mfr --key net/publisher.key --release 2 -o b.mfr", MD_EXIT_REFUSED);
    assert_true(run("sign a.mfi --key a.mfi --release 2 -o b.mfr") != MD_EXIT_OK);
    expect("image info a.bin", MD_EXIT_REFUSED);
    assert_int_equal(access("b.mfr", F_OK), -1);
    /* keys: the generation must rise, two different roots must sign */
    expect("key generate publisher new.key --id 1", MD_EXIT_OK);
    expect(
        "key change install --key new.key --root net/root-0.key --root net/root-2.key --keyset net/keyset -o 1.change",
        MD_EXIT_REFUSED);
    assert_non_null(strstr(err_text, "--generation 2"));
    assert_int_equal(unlink("new.key"), 0);
    expect("key generate publisher new.key --id 1 --generation 2", MD_EXIT_OK);
    expect("key generate publisher new.key --id 1 --generation 2", MD_EXIT_FAILED);
    expect("key public new.key -o new.pub", MD_EXIT_OK);
    expect(
        "key change install --key new.pub --root net/root-0.key --root net/root-0.key --keyset net/keyset -o 1.change",
        MD_EXIT_REFUSED);
    expect(
        "key change install --key new.pub --root net/root-0.key --root net/root-2.key --keyset net/keyset -o 1.change",
        MD_EXIT_OK);
    assert_int_equal(stat("1.change", &st), 0);
    assert_int_equal(st.st_size, MP_KEYCHANGE_SIZE);
    expect("--json key show new.pub", MD_EXIT_OK);
    assert_non_null(strstr(out_text, "\"none\""));
    assert_int_equal(chdir("/"), 0);
    remove_files(dir);
}

static void sealed_keys_need_their_passphrase(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-ctl-XXXXXX", error[300];
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(md_file_write("p", "correct horse\n", 14, 0600, error, sizeof error), MP_OK);
    assert_int_equal(md_file_write("m", "wrong\n", 6, 0600, error, sizeof error), MP_OK);
    assert_int_equal(md_file_write("a.bin", "x", 1, 0600, error, sizeof error), MP_OK);
    expect("key generate publisher new.key --passphrase-file p", MD_EXIT_OK);
    expect("image pack a.bin --product 1 --model 2 --version 2.0.0 -o a.mfi", MD_EXIT_OK);
    expect("sign a.mfi --key new.key --release 2 -o a.mfr", MD_EXIT_REFUSED);
    expect("sign a.mfi --key new.key --release 2 -o a.mfr --passphrase-file m", MD_EXIT_REFUSED);
    expect("sign a.mfi --key new.key --release 2 -o a.mfr --passphrase-file p", MD_EXIT_OK);
    expect("key show new.key", MD_EXIT_OK);
    assert_int_equal(chdir("/"), 0);
    remove_files(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(options_are_parsed),
        cmocka_unit_test(ring_options_become_a_policy),
        cmocka_unit_test(bad_ring_options_are_told),
        cmocka_unit_test(units_are_human),
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(wrong_usage_is_2),
        cmocka_unit_test(no_daemon_is_3),
        cmocka_unit_test(offline_commands_make_a_release),
        cmocka_unit_test(sealed_keys_need_their_passphrase),
    };
    unsetenv("MESHD_SOCKET");
    unsetenv("MESHCTL_PASSPHRASE");
    return crypto_sodium() != NULL ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
