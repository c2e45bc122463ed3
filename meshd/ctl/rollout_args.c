#include "rollout_args.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const ring_settings[] = {
    "label", "share", "soak", "deadline", "min-reports", "max-failures", "max-failures-percent"};

/* Letters, digits and what numbers and names are made of. */
static bool is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("-_.%", c) != NULL)))
            return false;
    }
    return len > 0;
}

static int append(char *out, size_t cap, const char *format, int a_len, const char *a, int b_len, const char *b)
{
    size_t at = strlen(out);
    int n = snprintf(out + at, cap - at, format, a_len, a, b_len, b);
    return n >= 0 && (size_t)n < cap - at ? 0 : -1;
}

/* Finds "name=value" among comma-separated parts: the value and its length, or NULL. */
static const char *find_name(const char *arg, size_t *len)
{
    for (const char *p = arg; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, "name=", 5) == 0) {
            *len = strcspn(p + 5, ",");
            return p + 5;
        }
    }
    return NULL;
}

static bool is_ring_setting(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof ring_settings / sizeof ring_settings[0]; i++)
        if (strlen(ring_settings[i]) == len && memcmp(ring_settings[i], name, len) == 0)
            return true;
    return false;
}

int md_ring_clause(const char *arg, char *out, size_t cap, char *error, size_t error_size)
{
    size_t name_len = 0;
    const char *name = find_name(arg, &name_len);
    if (name == NULL || !is_plain(name, name_len)) {
        snprintf(error, error_size, "--ring \"%.80s\": needs name=NAME (letters, digits, '-', '_')", arg);
        return -1;
    }
    if (append(out, cap, "%.*s%.*s:", out[0] != '\0' ? 2 : 0, "; ", (int)name_len, name) < 0)
        goto full;
    for (const char *p = arg; *p != '\0';) {
        size_t part = strcspn(p, ","), key = strcspn(p, "=,");
        bool is_name = p + key + 1 == name;
        if (!is_name && (key >= part || !is_ring_setting(p, key) || !is_plain(p + key + 1, part - key - 1))) {
            snprintf(error, error_size,
                     "--ring: \"%.*s\" is none of name=, label=, share=, soak=, deadline=, min-reports=, "
                     "max-failures=, max-failures-percent=",
                     part < 60 ? (int)part : 60, p);
            return -1;
        }
        if (!is_name && append(out, cap, " %.*s=%.*s", (int)key, p, (int)(part - key - 1), p + key + 1) < 0)
            goto full;
        p += part;
        p += *p == ',';
    }
    return 0;
full:
    snprintf(error, error_size, "the policy is too long");
    return -1;
}

int md_policy_setting(const char *name, const char *value, char *out, size_t cap, char *error, size_t error_size)
{
    if (value == NULL)
        return 0;
    if (!is_plain(value, strlen(value))) {
        snprintf(error, error_size, "--%s \"%.60s\": not a number, duration or name", name, value);
        return -1;
    }
    if ((out[0] != '\0' && append(out, cap, "%.*s%.*s", 1, " ", 0, "") < 0) ||
        append(out, cap, "%.*s=%.*s", (int)strlen(name), name, (int)strlen(value), value) < 0) {
        snprintf(error, error_size, "the policy is too long");
        return -1;
    }
    return 0;
}
