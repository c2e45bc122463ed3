/*
 * docs/SECURITY.md says which test shows what: every `SUITE/PROGRAM:TEST` it names must exist and be one that its
 * program runs, and every fuzz harness it names must be there, and none be left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOCUMENT "docs/SECURITY.md"

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    char *text = NULL;
    size_t cap = 0;
    ssize_t n = getdelim(&text, &cap, '\0', f);
    fclose(f);
    if (n >= 0)
        return text;
    free(text);
    return NULL;
}

/* Whether the word stands in the text so often, and not as a part of a longer one. */
static unsigned count_word(const char *text, const char *word)
{
    unsigned count = 0;
    size_t len = strlen(word);
    for (const char *p = text; (p = strstr(p, word)) != NULL; p += len) {
        char before = p == text ? ' ' : p[-1];
        if (!isalnum((unsigned char)before) && before != '_' && !isalnum((unsigned char)p[len]) && p[len] != '_')
            count++;
    }
    return count;
}

static void every_test_it_names_exists(void **state)
{
    (void)state;
    char *document = read_text(DOCUMENT);
    unsigned checked = 0;
    assert_non_null(document);
    for (char *at = document; (at = strchr(at, '`')) != NULL; at++) {
        char suite[16], program[48], test[120], path[100];
        int len = 0;
        if (sscanf(at, "`%15[a-z0-9]/%47[a-z0-9_]:%119[a-z0-9_]`%n", suite, program, test, &len) != 3 || len == 0)
            continue;
        snprintf(path, sizeof path, "tests/%s/%s.c", suite, program);
        char *source = read_text(path);
        if (source == NULL)
            fail_msg("%s does not exist", path);
        if (count_word(source, test) < 2) /* it is defined, and it is run */
            fail_msg("%s has no test %s", path, test);
        free(source);
        checked++;
    }
    assert_true(checked > 50);
    free(document);
}

static void every_harness_is_named(void **state)
{
    (void)state;
    char *document = read_text(DOCUMENT);
    DIR *folder = opendir("tests/fuzz");
    unsigned checked = 0;
    assert_non_null(document);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[64];
        if (sscanf(entry->d_name, "fuzz_%50[a-z0-9_].c", name) != 1)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(entry->d_name, "."), entry->d_name);
        if (count_word(document, name) == 0)
            fail_msg("%s is not in %s", name, DOCUMENT);
        checked++;
    }
    assert_true(checked > 15);
    closedir(folder);
    free(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_test_it_names_exists),
        cmocka_unit_test(every_harness_is_named),
    };
    return cmocka_run_group_tests_name("security table", tests, NULL, NULL);
}
