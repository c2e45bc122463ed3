/*
 * Reading of scenarios: lines to libinih, keys to their table, overrides after them.
 */
#include "scenario.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario_parser.h"

#define LINE_MAX_CHARS 198 /* what libinih hands over in one piece */

bool sim_parser_fail(struct sim_parser *p, int line, const char *format, ...)
{
    if (p->is_failed)
        return false;
    p->is_failed = true;
    p->error_line = line;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->error, sizeof p->error, format, args);
    va_end(args);
    return false;
}

const char *sim_parser_where(int line, char out[32])
{
    (void)snprintf(out, 32, line < 0 ? "by --set" : "on line %d", line);
    return out;
}

static int on_key(void *user, const char *section, const char *key, const char *text)
{
    struct sim_parser *p = user;
    return !p->is_failed && sim_parser_key(p, section, key, text);
}

/* libinih would pass over a section without keys in silence: for [node x] that is a device less than written. */
static void check_section_used(struct sim_parser *p)
{
    if (p->section_line != 0 && !p->is_section_used)
        (void)sim_parser_fail(p, p->section_line, "this section has no key");
}

/* Hands libinih one line, as fgets() would, but without indentation, which it would take for the continuation of a
 * value. It splits what is too long and stops at a zero byte; neither must pass. */
static char *read_line(char *out, int cap, void *stream)
{
    struct sim_parser *p = stream;
    size_t left = p->len - p->at, len = 0;
    if (left == 0 || p->is_failed)
        return NULL;
    const char *line = p->text + p->at;
    while (len < left && line[len] != '\n')
        len++;
    p->line++;
    p->at += len + (len < left);
    if (len > LINE_MAX_CHARS || len + 2 > (size_t)cap) {
        (void)sim_parser_fail(p, p->line, "line too long: at most %d characters", LINE_MAX_CHARS);
        return NULL;
    }
    if (memchr(line, '\0', len) != NULL) {
        (void)sim_parser_fail(p, p->line, "a zero byte: this is no text");
        return NULL;
    }
    for (; len > 0 && (*line == ' ' || *line == '\t'); len--)
        line++;
    memcpy(out, line, len);
    out[len] = '\n';
    out[len + 1] = '\0';
    if (out[0] == '[') {
        check_section_used(p);
        p->section_line = p->line;
        p->is_section_used = false;
    }
    return out;
}

/* --- overrides ------------------------------------------------------------------------------------------------------ */

/* A copy of a piece of text without the spaces around it. */
static bool cut(const char *from, const char *to, char *out, size_t cap)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    if ((size_t)(to - from) >= cap)
        return false;
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = '\0';
    return true;
}

/* section.key=value; names of devices may have dots, keys have none. */
static bool take_set(struct sim_parser *p, const char *set)
{
    char section[64], key[64], value[SIM_POLICY_TEXT_MAX];
    const char *equals = strchr(set, '='), *dot = equals;
    while (dot != NULL && dot > set && *dot != '.')
        dot--;
    if (dot == NULL || *dot != '.' || !cut(set, dot, section, sizeof section) ||
        !cut(dot + 1, equals, key, sizeof key) || !cut(equals + 1, set + strlen(set), value, sizeof value))
        return sim_parser_fail(p, p->line, "must be section.key=value, as in radio.frame_loss=10%%");
    return sim_parser_key(p, section, key, value);
}

/* --- the whole ------------------------------------------------------------------------------------------------------ */

static void set_defaults(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    memset(s, 0, sizeof *s);
    memcpy(s->name, "scenario", sizeof "scenario");
    memcpy(s->prefix, "n", sizeof "n");
    s->seed = 1;
    sim_parser_defaults(p);
}

static void write_error(const struct sim_parser *p, char *error, size_t cap)
{
    if (cap == 0)
        return;
    if (p->error_line > 0)
        (void)snprintf(error, cap, "%s:%d: %s", p->path, p->error_line, p->error);
    else if (p->error_line < 0)
        (void)snprintf(error, cap, "--set %.80s: %s", p->sets[-1 - p->error_line], p->error);
    else
        (void)snprintf(error, cap, "%s: %s", p->path, p->error);
}

static void read_text(struct sim_parser *p)
{
    if (p->len > SIM_SCENARIO_TEXT_MAX) {
        (void)sim_parser_fail(p, 0, "too long: at most %u bytes", SIM_SCENARIO_TEXT_MAX);
        return;
    }
    int line = ini_parse_stream(read_line, p, on_key, p);
    if (line == 0)
        check_section_used(p);
    /* a line that libinih could not read; what failed elsewhere came later */
    if (line > 0 && (!p->is_failed || line < p->error_line)) {
        p->is_failed = false;
        (void)sim_parser_fail(p, line, "must be [section], key = value, or a comment that begins with ; or #");
    }
}

int sim_scenario_parse_with(struct sim_scenario *s, const char *path, const char *text, size_t len,
                            const char *const *sets, size_t set_count, char *error, size_t cap)
{
    struct sim_parser *p = calloc(1, sizeof *p);
    int status = -1;
    memset(s, 0, sizeof *s);
    if (p == NULL || (p->node = calloc(SIM_DEVICES_MAX, sizeof *p->node)) == NULL) {
        (void)snprintf(error, cap, "%s: out of memory", path);
        goto out;
    }
    p->s = s;
    p->path = path;
    p->text = text;
    p->len = len;
    p->sets = sets;
    set_defaults(p);
    read_text(p);
    for (size_t i = 0; i < set_count && !p->is_failed; i++) {
        p->line = -1 - (int)i;
        (void)take_set(p, sets[i]);
    }
    if (!p->is_failed && sim_parser_check(p) && sim_parser_build(p) && sim_parser_check_fleet(p))
        status = 0;
    else
        write_error(p, error, cap);
out:
    if (p != NULL) {
        free(p->node);
        free(p->link);
    }
    free(p);
    if (status != 0)
        sim_scenario_free(s);
    return status;
}

int sim_scenario_parse(struct sim_scenario *s, const char *path, const char *text, size_t len, char *error, size_t cap)
{
    return sim_scenario_parse_with(s, path, text, len, NULL, 0, error, cap);
}

int sim_scenario_read_with(struct sim_scenario *s, const char *path, const char *const *sets, size_t set_count,
                           char *error, size_t cap)
{
    int status = -1;
    char *text = NULL;
    size_t len = 0;
    FILE *file = fopen(path, "rb");
    memset(s, 0, sizeof *s);
    if (file == NULL) {
        (void)snprintf(error, cap, "%s: %s", path, strerror(errno));
        return -1;
    }
    text = malloc(SIM_SCENARIO_TEXT_MAX + 1);
    if (text == NULL) {
        (void)snprintf(error, cap, "%s: out of memory", path);
        goto out;
    }
    len = fread(text, 1, SIM_SCENARIO_TEXT_MAX + 1, file);
    if (ferror(file)) {
        (void)snprintf(error, cap, "%s: cannot be read", path);
        goto out;
    }
    status = sim_scenario_parse_with(s, path, text, len, sets, set_count, error, cap);
out:
    free(text);
    (void)fclose(file);
    return status;
}

int sim_scenario_read(struct sim_scenario *s, const char *path, char *error, size_t cap)
{
    return sim_scenario_read_with(s, path, NULL, 0, error, cap);
}

void sim_scenario_free(struct sim_scenario *s)
{
    free(s->node);
    free(s->link);
    memset(s, 0, sizeof *s);
}
