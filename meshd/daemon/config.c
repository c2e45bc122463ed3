#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 65536

/* The text being read, line by line, and the first error found in it. */
struct reader {
    struct md_config *config;
    const char *name;
    const char *text;
    size_t len;
    size_t at;
    int line;       /* the line the parser holds, from 1 */
    int error_line; /* 0 none */
    bool ended;     /* a line too long or a NUL: nothing more is handed out */
    char why[160];
    uint32_t seen; /* bit per entry of settings[] */
};

typedef int (*setter)(struct md_config *c, const char *value, char *why, size_t cap);

static int set_string(char *out, size_t out_size, const char *value, char *why, size_t cap)
{
    size_t n = strlen(value);
    if (n == 0 || n >= out_size) {
        snprintf(why, cap, n == 0 ? "is empty" : "is longer than %zu bytes", out_size - 1);
        return -1;
    }
    /* no rest of an older value: configs are compared whole */
    memset(out, 0, out_size);
    memcpy(out, value, n);
    return 0;
}

static int set_number(uint64_t *out, const char *value, uint64_t min, uint64_t max, char *why, size_t cap)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(value, &end, 0);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || v < min || v > max) {
        snprintf(why, cap, "must be a number from %llu to %llu", (unsigned long long)min, (unsigned long long)max);
        return -1;
    }
    *out = v;
    return 0;
}

static int set_database(struct md_config *c, const char *value, char *why, size_t cap)
{
    return set_string(c->database, sizeof c->database, value, why, cap);
}

static int set_http(struct md_config *c, const char *value, char *why, size_t cap)
{
    return set_string(c->http, sizeof c->http, value, why, cap);
}

static int set_log(struct md_config *c, const char *value, char *why, size_t cap)
{
    int level = md_log_parse(value);
    if (level < 0) {
        snprintf(why, cap, "must be error, warning, info or debug");
        return -1;
    }
    c->log = (enum md_log_level)level;
    return 0;
}

static int set_tty(struct md_config *c, const char *value, char *why, size_t cap)
{
    const char *colon = strrchr(value, ':');
    uint64_t baud;
    char path[sizeof c->hci_path] = "";
    if (colon == NULL || colon == value || (size_t)(colon - value) >= sizeof path) {
        snprintf(why, cap, "must be tty:DEVICE:BAUD");
        return -1;
    }
    memcpy(path, value, (size_t)(colon - value));
    path[colon - value] = '\0';
    char number[120];
    if (set_number(&baud, colon + 1, 9600, 4000000, number, sizeof number) < 0) {
        snprintf(why, cap, "baud rate %s", number);
        return -1;
    }
    memcpy(c->hci_path, path, sizeof path);
    c->hci_baud = (uint32_t)baud;
    c->hci = MD_HCI_TTY;
    return 0;
}

static int set_hci(struct md_config *c, const char *value, char *why, size_t cap)
{
    if (strncmp(value, "tty:", 4) == 0)
        return set_tty(c, value + 4, why, cap);
    if (strncmp(value, "unix:", 5) == 0) {
        if (set_string(c->hci_path, sizeof c->hci_path, value + 5, why, cap) < 0)
            return -1;
        c->hci = MD_HCI_UNIX;
        return 0;
    }
    snprintf(why, cap, "must be unix:PATH or tty:DEVICE:BAUD");
    return -1;
}

static int set_network(struct md_config *c, const char *value, char *why, size_t cap)
{
    uint64_t v = 0;
    if (set_number(&v, value, 1, 65535, why, cap) < 0)
        return -1;
    c->network = (uint16_t)v;
    return 0;
}

static int set_keyset(struct md_config *c, const char *value, char *why, size_t cap)
{
    return set_string(c->keyset, sizeof c->keyset, value, why, cap);
}

static int set_release_key(struct md_config *c, const char *value, char *why, size_t cap)
{
    return set_string(c->release_key, sizeof c->release_key, value, why, cap);
}

static int set_release_passphrase(struct md_config *c, const char *value, char *why, size_t cap)
{
    return set_string(c->release_passphrase, sizeof c->release_passphrase, value, why, cap);
}

static const struct {
    const char *section;
    const char *name;
    setter set;
} settings[] = {
    {"meshd", "database", set_database},
    {"meshd", "http", set_http},
    {"meshd", "log", set_log},
    {"bearer", "hci", set_hci},
    {"network", "number", set_network},
    {"network", "keyset", set_keyset},
    {"network", "release_key", set_release_key},
    {"network", "release_passphrase", set_release_passphrase},
};
#define SETTINGS (sizeof settings / sizeof settings[0])

void md_config_init(struct md_config *c)
{
    memset(c, 0, sizeof *c);
    strcpy(c->database, "/var/lib/meshd/meshd.db");
    strcpy(c->http, MD_HTTP_SOCKET);
    c->log = MD_LOG_INFO;
}

/* Index in settings[], or -1 with a sentence. */
static int find_setting(const char *section, const char *name, char *why, size_t cap)
{
    bool section_known = false;
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcmp(section, settings[i].section) != 0)
            continue;
        section_known = true;
        if (strcmp(name, settings[i].name) == 0)
            return (int)i;
    }
    if (section[0] == '\0')
        snprintf(why, cap, "\"%.40s\" stands before any [section]", name);
    else if (!section_known)
        snprintf(why, cap, "unknown section [%.40s]; there are [meshd], [bearer] and [network]", section);
    else
        snprintf(why, cap, "unknown setting \"%.40s\" in [%s]", name, section);
    return -1;
}

static int apply(struct md_config *c, int setting, const char *value, char *why, size_t cap)
{
    char detail[120];
    if (settings[setting].set(c, value, detail, sizeof detail) == 0)
        return 0;
    snprintf(why, cap, "%s %s", settings[setting].name, detail);
    return -1;
}

static int fail(struct reader *r, const char *why)
{
    if (r->error_line == 0) {
        r->error_line = r->line;
        snprintf(r->why, sizeof r->why, "%s", why);
    }
    return 0;
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    char why[160];
    int i = find_setting(section, name, why, sizeof why);
    if (i < 0)
        return fail(r, why);
    if ((r->seen >> i & 1) != 0)
        return fail(r, "the same setting twice");
    r->seen |= 1u << i;
    return apply(r->config, i, value, why, sizeof why) == 0 ? 1 : fail(r, why);
}

/* fgets() over the text. A line that does not fit, or with a NUL in it, ends the reading with an error. */
static char *next_line(char *out, int cap, void *stream)
{
    struct reader *r = stream;
    if (r->ended || r->at >= r->len)
        return NULL;
    const char *from = r->text + r->at;
    const char *end = memchr(from, '\n', r->len - r->at);
    size_t n = end != NULL ? (size_t)(end - from) + 1 : r->len - r->at;
    r->line++;
    if (n >= (size_t)cap - 2 || memchr(from, '\0', n) != NULL) {
        fail(r, memchr(from, '\0', n) != NULL ? "a NUL byte: this is no text file" : "line too long");
        r->ended = true;
        return NULL;
    }
    memcpy(out, from, n);
    out[n] = '\0';
    r->at += n;
    return out;
}

int md_config_parse(struct md_config *c, const char *name, const char *text, size_t len, char *error, size_t cap)
{
    struct md_config work = *c;
    struct reader r = {.config = &work, .name = name, .text = text, .len = len};
    /* an indented line is a line like any other, and a '#' or ';' starts a comment at the start of a line only: paths
     * may hold them */
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    int bad = ini_parse_stream(next_line, &r, on_value, &r);
    if (bad > 0 && (r.error_line == 0 || bad < r.error_line)) {
        r.error_line = bad;
        snprintf(r.why, sizeof r.why, "not understood; expected [section], name = value, or a comment");
    }
    if (r.error_line != 0) {
        snprintf(error, cap, "%s:%d: %s", name, r.error_line, r.why);
        return -1;
    }
    if (bad != 0) {
        snprintf(error, cap, "%s: cannot be read", name);
        return -1;
    }
    *c = work;
    return 0;
}

int md_config_load(struct md_config *c, const char *path, char *error, size_t cap)
{
    int result = -1;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        snprintf(error, cap, "%s: %s", path, strerror(errno));
        return -1;
    }
    char *text = malloc(FILE_MAX + 1);
    if (text == NULL) {
        snprintf(error, cap, "%s: out of memory", path);
        goto out;
    }
    size_t len = fread(text, 1, FILE_MAX + 1, f);
    if (ferror(f)) {
        snprintf(error, cap, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (len > FILE_MAX) {
        snprintf(error, cap, "%s: larger than %d bytes", path, FILE_MAX);
        goto out;
    }
    result = md_config_parse(c, path, text, len, error, cap);
out:
    free(text);
    fclose(f);
    return result;
}

int md_config_override(struct md_config *c, const char *assignment, char *error, size_t cap)
{
    const char *dot = strchr(assignment, '.');
    const char *equals = strchr(assignment, '=');
    char section[32], name[32], why[160];
    if (dot == NULL || equals == NULL || dot > equals || (size_t)(dot - assignment) >= sizeof section ||
        (size_t)(equals - dot - 1) >= sizeof name) {
        snprintf(error, cap, "\"%.60s\" is not of the form section.name=value", assignment);
        return -1;
    }
    memcpy(section, assignment, (size_t)(dot - assignment));
    section[dot - assignment] = '\0';
    memcpy(name, dot + 1, (size_t)(equals - dot - 1));
    name[equals - dot - 1] = '\0';
    int i = find_setting(section, name, why, sizeof why);
    if (i < 0 || apply(c, i, equals + 1, why, sizeof why) < 0) {
        snprintf(error, cap, "%.60s: %s", assignment, why);
        return -1;
    }
    return 0;
}

int md_config_check(const struct md_config *c, char *error, size_t cap)
{
    const char *missing = NULL;
    if (c->hci == MD_HCI_NONE)
        missing = "[bearer] hci";
    else if (c->network == 0)
        missing = "[network] number";
    else if (c->keyset[0] == '\0')
        missing = "[network] keyset";
    if (missing == NULL)
        return 0;
    snprintf(error, cap, "%s is not set (see meshd --help)", missing);
    return -1;
}

int md_config_write(const struct md_config *c, char *out, size_t cap)
{
    char hci[160] = "";
    if (c->hci == MD_HCI_UNIX)
        snprintf(hci, sizeof hci, "hci = unix:%s\n", c->hci_path);
    else if (c->hci == MD_HCI_TTY)
        snprintf(hci, sizeof hci, "hci = tty:%s:%u\n", c->hci_path, c->hci_baud);
    int n = snprintf(out, cap, "[meshd]\ndatabase = %s\nhttp = %s\nlog = %s\n\n[bearer]\n%s\n[network]\n", c->database,
                     c->http, md_log_name(c->log), hci);
    size_t at = n > 0 ? (size_t)n : cap;
    if (at < cap && c->network != 0)
        at += (size_t)snprintf(out + at, cap - at, "number = %u\n", c->network);
    const struct {
        const char *name;
        const char *value;
    } files[] = {{"keyset", c->keyset}, {"release_key", c->release_key}, {"release_passphrase", c->release_passphrase}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (at < cap && files[i].value[0] != '\0')
            at += (size_t)snprintf(out + at, cap - at, "%s = %s\n", files[i].name, files[i].value);
    return at < cap ? (int)at : -1;
}
