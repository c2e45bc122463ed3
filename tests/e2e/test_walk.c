/*
 * The road by hand in docs/OPERATING.md, run as it stands there: every example works as printed.
 */
#include "e2e.h"

#include "tests/lib/fleet_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOCUMENT "docs/OPERATING.md"
#define SECTION "## Try it without a radio\n"

static char folder[FLEET_PATH_MAX];

/* The section's block of that number as a script, which ends at its first error and cleans up in any case. */
static void write_script(const char *path, int number)
{
    char line[300];
    bool is_inside = false;
    int block = 0, lines = 0;
    FILE *in = fopen(DOCUMENT, "re"), *out = fopen(path, "we");
    assert_non_null(in);
    assert_non_null(out);
    fprintf(out, "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\ncd '%s'\n", folder);
    while (fgets(line, sizeof line, in) != NULL && strcmp(line, SECTION) != 0)
        ;
    while (fgets(line, sizeof line, in) != NULL && strncmp(line, "## ", 3) != 0) {
        if (strncmp(line, "```", 3) == 0) {
            is_inside = !is_inside;
            block += is_inside;
        } else if (is_inside && block == number) {
            fputs(line, out);
            lines++;
        }
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
    assert_true(lines > 20);
}

/* A source tree as the reader has it, as far as the commands look. */
static void make_tree(void)
{
    char from[2 * FLEET_PATH_MAX], to[2 * FLEET_PATH_MAX], top[FLEET_PATH_MAX];
    static const char *const parts[] = {"bin", "images"};
    const char *given = getenv("BUILD");
    const char *build = given != NULL ? given : "build";
    assert_non_null(getcwd(top, sizeof top));
    snprintf(to, sizeof to, "%s/build", folder);
    assert_int_equal(mkdir(to, 0700), 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(from, sizeof from, "%s%s%s/%s", build[0] == '/' ? "" : top, build[0] == '/' ? "" : "/", build,
                 parts[i]);
        snprintf(to, sizeof to, "%s/build/%s", folder, parts[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    snprintf(from, sizeof from, "%s/sim", top);
    snprintf(to, sizeof to, "%s/sim", folder);
    assert_int_equal(symlink(from, to), 0);
}

static void the_road_by_hand_works_as_printed(void **state)
{
    static char said[1u << 16];
    char script[2 * FLEET_PATH_MAX], log[2 * FLEET_PATH_MAX];
    (void)state;
    assert_int_equal(process_folder(folder, sizeof folder, false), 0);
    make_tree();
    snprintf(script, sizeof script, "%s/walk.sh", folder);
    snprintf(log, sizeof log, "%s/walk.log", folder);
    write_script(script, 2);
    const char *const argv[] = {"/usr/bin/timeout", "300", "/bin/bash", script, NULL};
    const int status = process_run(said, sizeof said, log, argv);
    if (status != 0)
        process_tail(log, 3000);
    assert_int_equal(status, 0);
    assert_non_null(strstr(said, "done: 6 of 6 nodes run 2.0.0"));
    assert_non_null(strstr(said, "rollout.done"));
    process_folder_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_road_by_hand_works_as_printed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
