#include "vectors.h"

#include <stdlib.h>
#include <string.h>

static _Noreturn void fail(const struct vectors *v, const char *key, const char *what)
{
    fprintf(stderr, "vectors: %s.txt, case %u, %s: %s\n", v->name, v->count, key, what);
    abort();
}

void vectors_open(struct vectors *v, const char *name)
{
    const char *dir = getenv("VECTORS_DIR");
    char path[4096];

    *v = (struct vectors){.name = name};
    snprintf(path, sizeof path, "%s/%s.txt", dir != NULL ? dir : "tests/vectors", name);
    v->file = fopen(path, "r");
    if (v->file == NULL)
        fail(v, path, "cannot be opened");
}

bool vectors_next(struct vectors *v)
{
    char *line = NULL;
    size_t room = 0, used = 0;
    ssize_t len;

    free(v->text);
    v->text = NULL;
    while ((len = getline(&line, &room, v->file)) > 0) {
        if (line[0] == '#')
            continue;
        if (line[0] == '\n') {
            if (used > 0)
                break;
            continue;
        }
        v->text = realloc(v->text, used + (size_t)len + 1);
        if (v->text == NULL)
            abort();
        memcpy(v->text + used, line, (size_t)len + 1);
        used += (size_t)len;
    }
    free(line);
    if (used == 0) {
        fclose(v->file);
        return false;
    }
    v->count++;
    return true;
}

/* Start of the value of a key up to its newline, whose length goes to len; NULL when there is none. */
static const char *find(const struct vectors *v, const char *key, size_t *len)
{
    size_t key_len = strlen(key);

    for (const char *line = v->text; *line != '\0';) {
        size_t line_len = strcspn(line, "\n");

        if (line_len > key_len && memcmp(line, key, key_len) == 0 && line[key_len] == ' ') {
            *len = line_len - key_len - 1;
            return line + key_len + 1;
        }
        line += line_len + (line[line_len] == '\n');
    }
    return NULL;
}

static const char *need(const struct vectors *v, const char *key, size_t *len)
{
    const char *value = find(v, key, len);
    if (value == NULL)
        fail(v, key, "missing");
    return value;
}

bool vectors_has(const struct vectors *v, const char *key)
{
    size_t len;
    return find(v, key, &len) != NULL;
}

long long vectors_int(const struct vectors *v, const char *key)
{
    size_t len;
    const char *value = need(v, key, &len);
    char *end;
    long long number = strtoll(value, &end, 10);

    if (len == 0 || end != value + len)
        fail(v, key, "not a number");
    return number;
}

static unsigned digit(const struct vectors *v, const char *key, char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, c, 16);

    if (at == NULL)
        fail(v, key, "not hex");
    return (unsigned)(at - digits);
}

size_t vectors_hex(const struct vectors *v, const char *key, uint8_t *out, size_t cap)
{
    size_t len;
    const char *value = need(v, key, &len);

    if (len == 1 && *value == '-')
        return 0;
    if (len % 2 != 0 || len / 2 > cap)
        fail(v, key, "odd, or longer than expected");
    for (size_t i = 0; i < len / 2; i++)
        out[i] = (uint8_t)(digit(v, key, value[2 * i]) << 4 | digit(v, key, value[2 * i + 1]));
    return len / 2;
}

void vectors_word(const struct vectors *v, const char *key, char *out, size_t cap)
{
    size_t len;
    const char *value = need(v, key, &len);

    if (len >= cap)
        fail(v, key, "longer than expected");
    memcpy(out, value, len);
    out[len] = '\0';
}

void vectors_noise(uint32_t seed, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (uint8_t)(seed >> 24);
    }
}
