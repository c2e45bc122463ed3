/*
 * `meshsim validate`: every comparison of the simulator with a closed form or a published figure is a test here. The
 * program's own list says which there are, so that a new one cannot be forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CHECKS_MAX 128
#define NAME_MAX_CHARS 64

static char name[CHECKS_MAX][NAME_MAX_CHARS];

static const char *program(void)
{
    static char path[512];
    const char *build = getenv("BUILD");
    snprintf(path, sizeof path, "%.480s/bin/meshsim", build != NULL ? build : "build");
    return path;
}

static void holds(void **state)
{
    char command[1024], line[512];
    snprintf(command, sizeof command, "%s validate --only '%s' 2>&1", program(), (const char *)*state);
    FILE *out = popen(command, "re");
    assert_non_null(out);
    while (fgets(line, sizeof line, out) != NULL)
        print_message("%s", line);
    assert_int_equal(pclose(out), 0);
}

int main(void)
{
    static struct CMUnitTest tests[CHECKS_MAX];
    char command[1024], line[512];
    size_t n = 0;

    snprintf(command, sizeof command, "%s validate --list", program());
    FILE *out = popen(command, "re");
    while (out != NULL && n < CHECKS_MAX && fgets(line, sizeof line, out) != NULL) {
        if (sscanf(line, "%63s", name[n]) != 1)
            continue;
        tests[n] = (struct CMUnitTest){.name = name[n], .test_func = holds, .initial_state = name[n]};
        n++;
    }
    if (out == NULL || pclose(out) != 0 || n == 0) {
        fprintf(stderr, "test_validate: no list from %s\n", program());
        return 1;
    }
    return _cmocka_run_group_tests("validate", tests, n, NULL, NULL);
}
