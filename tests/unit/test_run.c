/*
 * The test runner on programs that pass, fail, crash, hang, say nothing, or leave something running. If it could be
 * deceived, every other test could.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ONE_PASSES "echo '[==========] Running 1 test(s).'; echo '[       OK ] a'; echo '[  PASSED  ] 1 test(s).'; "

static char folder[200];
static char output[16384];

/* Writes a shell script under the test's folder. */
static void script(const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", text);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

static int shell(const char *command)
{
    return system(command); /* NOLINT(cert-env33-c): scripts are what is tested */
}

/* Runs the runner with these arguments; its output is kept. Exit status. */
static int run(const char *arguments)
{
    const char *build = getenv("BUILD");
    char command[1200];
    snprintf(command, sizeof command, "cd '%s' && TMPDIR='%s' timeout 60 '%s/tests/run' -b b %s 2>&1", folder, folder,
             build ? build : "build", arguments);
    FILE *f = popen(command, "r"); /* NOLINT(cert-env33-c): scripts are what is tested */
    assert_non_null(f);
    size_t len = fread(output, 1, sizeof output - 1, f);
    output[len] = '\0';
    int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *last_line(void)
{
    size_t len = strlen(output);
    if (len > 0 && output[len - 1] == '\n')
        output[len - 1] = '\0';
    const char *line = strrchr(output, '\n');
    return line ? line + 1 : output;
}

/* The process whose id a script left in `name` is gone. */
static bool is_gone(const char *name)
{
    char path[300];
    long pid = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld", &pid), 1);
    fclose(f);
    return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static void passes_are_counted(void **state)
{
    (void)state;
    script("one", ONE_PASSES "echo 'note: worth knowing'");
    script("two", "echo '[  PASSED  ] 41 test(s).'");
    assert_int_equal(run("unit:./one unit:./two"), 0);
    assert_non_null(strstr(output, "worth knowing"));
    assert_string_equal(last_line(), "42 passed, 0 failed");
}

static void a_failed_test_is_counted_once_and_shown(void **state)
{
    (void)state;
    script(
        "fails",
        "echo '[==========] Running 2 test(s).'; echo '[       OK ] a'; echo 'because of this'; echo '[  FAILED  ] b';"
        "echo '[  PASSED  ] 1 test(s).'; echo '[  FAILED  ] 1 test(s), listed below:'; echo '[  FAILED  ] b';"
        "echo ' 1 FAILED TEST(S)'; exit 1");
    assert_int_equal(run("unit:./fails"), 1);
    assert_non_null(strstr(output, "because of this"));
    assert_string_equal(last_line(), "1 passed, 1 failed");
}

static void an_exit_status_is_not_overruled_by_words(void **state)
{
    (void)state;
    script("words", ONE_PASSES "exit 3");
    assert_int_equal(run("unit:./words"), 1);
    assert_string_equal(last_line(), "1 passed, 1 failed");
}

static void a_crash_is_a_failure(void **state)
{
    (void)state;
    script("crash", ONE_PASSES "kill -SEGV $$");
    assert_int_equal(run("unit:./crash"), 1);
    assert_non_null(strstr(output, "killed by signal 11"));
    assert_string_equal(last_line(), "1 passed, 1 failed");
}

static void silence_is_a_failure(void **state)
{
    (void)state;
    script("silent", "exit 0");
    assert_int_equal(run("unit:./silent fuzz:./silent unit:./absent"), 1);
    assert_string_equal(last_line(), "0 passed, 3 failed");
}

static void fewer_tests_than_announced_is_a_failure(void **state)
{
    (void)state;
    script("stops", "echo '[==========] Running 4 test(s).'; echo '[       OK ] a'; exit 0");
    assert_int_equal(run("unit:./stops"), 1);
    assert_string_equal(last_line(), "1 passed, 3 failed");
}

static void a_hanging_program_is_killed_with_all_it_started(void **state)
{
    (void)state;
    script("hangs",
           ONE_PASSES "trap '' TERM; setsid sh -c 'echo $$ > escaped; exec sleep 300' & echo $$ > hung; sleep 300");
    assert_int_equal(run("-t 1 unit:./hangs"), 1);
    assert_non_null(strstr(output, "timed out"));
    assert_true(is_gone("hung"));
    assert_true(is_gone("escaped"));
    assert_string_equal(last_line(), "1 passed, 1 failed");
}

static void what_is_left_running_is_killed_and_told(void **state)
{
    (void)state;
    script("leaves",
           ONE_PASSES "setsid sh -c 'echo $$ > left; exec sleep 300' & while [ ! -s left ]; do sleep 0.1; done");
    assert_int_equal(run("unit:./leaves"), 1);
    assert_non_null(strstr(output, "left processes running"));
    assert_true(is_gone("left"));
    assert_string_equal(last_line(), "1 passed, 1 failed");
}

static void what_ends_by_itself_soon_is_forgiven(void **state)
{
    (void)state;
    script("trails", ONE_PASSES "sleep 0.3 &");
    assert_int_equal(run("unit:./trails"), 0);
}

static void every_program_has_a_folder_that_is_removed(void **state)
{
    (void)state;
    script("writes", ONE_PASSES "mkdir $TMPDIR/a; echo x > $TMPDIR/a/b; echo $TMPDIR > where; [ -d $BUILD/crashes ]");
    assert_int_equal(run("unit:./writes"), 0);
    char command[300];
    snprintf(command, sizeof command, "[ ! -e \"$(cat '%s/where')\" ]", folder);
    assert_int_equal(shell(command), 0);
}

static void a_pattern_selects(void **state)
{
    (void)state;
    script("one", ONE_PASSES);
    script("two", ONE_PASSES);
    assert_int_equal(run("-m unit/tw unit:./one unit:./two e2e:./two"), 0);
    assert_string_equal(last_line(), "1 passed, 0 failed");
    assert_int_equal(run("-m '*two' unit:./one unit:./two e2e:./two"), 0);
    assert_string_equal(last_line(), "2 passed, 0 failed");
    assert_int_equal(run("-m three unit:./one"), 1);
    assert_string_equal(last_line(), "0 passed, 0 failed");
}

static void the_summary_holds_every_program(void **state)
{
    (void)state;
    script("one", ONE_PASSES);
    script("bad", "exit 7");
    assert_int_equal(run("-o sum.json unit:./one attack:./bad; cat sum.json"), 0);
    assert_non_null(strstr(output, "\"passed\": 1,\n  \"failed\": 1,"));
    assert_non_null(strstr(output, "{\"kind\": \"unit\", \"name\": \"one\", \"passed\": 1, \"failed\": 0"));
    assert_non_null(strstr(output, "\"name\": \"bad\", \"passed\": 0, \"failed\": 1"));
    assert_non_null(strstr(output, "\"cause\": \"exit status 7\""));
}

static int make_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/runXXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return shell(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_are_counted),
        cmocka_unit_test(a_failed_test_is_counted_once_and_shown),
        cmocka_unit_test(an_exit_status_is_not_overruled_by_words),
        cmocka_unit_test(a_crash_is_a_failure),
        cmocka_unit_test(silence_is_a_failure),
        cmocka_unit_test(fewer_tests_than_announced_is_a_failure),
        cmocka_unit_test(a_hanging_program_is_killed_with_all_it_started),
        cmocka_unit_test(what_is_left_running_is_killed_and_told),
        cmocka_unit_test(what_ends_by_itself_soon_is_forgiven),
        cmocka_unit_test(every_program_has_a_folder_that_is_removed),
        cmocka_unit_test(a_pattern_selects),
        cmocka_unit_test(the_summary_holds_every_program),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
