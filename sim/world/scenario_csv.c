#include "scenario_csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "scenario_parser.h"

#define FIELDS_MAX 4

struct reader {
    const char *path;
    const char *at, *end;
    uint32_t line;
    struct sim_scenario_node *node;
    uint32_t *node_line; /* where each was */
    uint32_t count, cap;
    char *error;
    size_t error_cap;
};

/* Always -1, so that it can be returned. */
#define REFUSE(r, line, format, ...)                                                                                   \
    ((void)snprintf((r)->error, (r)->error_cap, "%s:%u: " format, (r)->path, line, __VA_ARGS__), -1)

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts one line into fields without surrounding spaces. Number of fields, FIELDS_MAX + 1 for more. */
static int split(const char *line, size_t len, const char *field[FIELDS_MAX], size_t field_len[FIELDS_MAX])
{
    const char *end = line + len;
    int count = 0;
    for (const char *at = line; count <= FIELDS_MAX; count++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *from = at, *to = comma != NULL ? comma : end;
        while (from < to && is_space(*from))
            from++;
        while (to > from && is_space(to[-1]))
            to--;
        if (count < FIELDS_MAX) {
            field[count] = from;
            field_len[count] = (size_t)(to - from);
        }
        if (comma == NULL)
            return count + 1;
        at = comma + 1;
    }
    return count;
}

static bool is_word(const char *field, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(field, word, len) == 0;
}

static int get_metres(struct reader *r, const char *field, size_t len, int32_t *mm)
{
    char text[32] = "";
    int64_t value;
    if (len < sizeof text && memchr(field, '\0', len) == NULL)
        memcpy(text, field, len);
    if (sim_quantity_get(SIM_FACTOR, text, &value) != 0 || value < -SIM_FARTHEST_MM || value > SIM_FARTHEST_MM)
        return REFUSE(r, r->line, "\"%.*s\": must be metres, at most 1000000 and three digits after the point",
                      len < 40 ? (int)len : 40, field);
    *mm = (int32_t)value;
    return 0;
}

static int get_name(struct reader *r, const char *field, size_t len, char name[SIM_NAME_MAX])
{
    memset(name, 0, SIM_NAME_MAX);
    if (len < SIM_NAME_MAX && memchr(field, '\0', len) == NULL)
        memcpy(name, field, len);
    if (!sim_is_name(name, SIM_NAME_MAX - 1))
        return REFUSE(r, r->line,
                      "name \"%.*s\": must be 1 to %d letters, digits, - _ or ., beginning with a letter or "
                      "digit",
                      len < 40 ? (int)len : 40, field, SIM_NAME_MAX - 1);
    return 0;
}

static int grow(struct reader *r)
{
    if (r->count < r->cap)
        return 0;
    if (r->count == SIM_NODES_MAX)
        return REFUSE(r, r->line, "too many devices: at most %u", SIM_NODES_MAX);
    uint32_t cap = r->cap == 0 ? 256 : r->cap * 2;
    struct sim_scenario_node *node = realloc(r->node, cap * sizeof *node);
    if (node != NULL)
        r->node = node;
    uint32_t *line = realloc(r->node_line, cap * sizeof *line);
    if (line != NULL)
        r->node_line = line;
    if (node == NULL || line == NULL)
        return REFUSE(r, r->line, "%s", "out of memory");
    r->cap = cap;
    return 0;
}

static int read_line(struct reader *r, const char *line, size_t len)
{
    const char *field[FIELDS_MAX] = {NULL};
    size_t field_len[FIELDS_MAX] = {0};
    int count = split(line, len, field, field_len);
    struct sim_scenario_node node = {.position = {0, 0, 0}};
    int32_t *axis[] = {&node.position.x_mm, &node.position.y_mm, &node.position.z_mm};
    if ((count == 1 && field_len[0] == 0) || (field_len[0] > 0 && field[0][0] == '#'))
        return 0;
    if (count < 3 || count > FIELDS_MAX)
        return REFUSE(r, r->line, "%d fields: must be name,x,y or name,x,y,z", count);
    if (r->count == 0 && is_word(field[0], field_len[0], "name") && is_word(field[1], field_len[1], "x"))
        return 0;
    if (get_name(r, field[0], field_len[0], node.name) != 0)
        return -1;
    for (int i = 1; i < count; i++)
        if (get_metres(r, field[i], field_len[i], axis[i - 1]) != 0)
            return -1;
    if (grow(r) != 0)
        return -1;
    r->node_line[r->count] = r->line;
    r->node[r->count++] = node;
    return 0;
}

static int compare_names(const void *a, const void *b, void *ctx)
{
    const struct sim_scenario_node *node = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = strcmp(node[x].name, node[y].name);
    return order != 0 ? order : (x > y) - (x < y);
}

uint32_t *sim_names_sort(const struct sim_scenario_node *node, uint32_t count)
{
    uint32_t *order = malloc(((size_t)count + 1) * sizeof *order);
    if (order == NULL)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, count, sizeof *order, compare_names, (void *)(uintptr_t)node);
    return order;
}

int sim_names_find(const struct sim_scenario_node *node, const uint32_t *order, uint32_t count, const char *name)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int side = strcmp(name, node[order[middle]].name);
        if (side == 0)
            return (int)order[middle];
        if (side < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static int check_names(struct reader *r)
{
    int status = 0;
    if (r->count == 0)
        return REFUSE(r, r->line, "%s", "no device: must have a line name,x,y or name,x,y,z for each");
    uint32_t *order = sim_names_sort(r->node, r->count);
    if (order == NULL)
        return REFUSE(r, r->line, "%s", "out of memory");
    for (uint32_t i = 1; i < r->count && status == 0; i++)
        if (strcmp(r->node[order[i]].name, r->node[order[i - 1]].name) == 0)
            status = REFUSE(r, r->node_line[order[i]], "name %s was given on line %u already", r->node[order[i]].name,
                            r->node_line[order[i - 1]]);
    free(order);
    return status;
}

int sim_csv_parse(const char *path, const char *text, size_t len, struct sim_scenario_node **node, uint32_t *count,
                  char *error, size_t cap)
{
    struct reader r = {.path = path, .at = text, .end = text + len, .error = error, .error_cap = cap};
    int status = 0;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.at += 3;
    while (r.at < r.end && status == 0) {
        const char *newline = memchr(r.at, '\n', (size_t)(r.end - r.at));
        const char *end = newline != NULL ? newline : r.end;
        r.line++;
        status = read_line(&r, r.at, (size_t)(end - r.at));
        r.at = newline != NULL ? newline + 1 : r.end;
    }
    if (status == 0)
        status = check_names(&r);
    free(r.node_line);
    if (status != 0) {
        free(r.node);
        r.node = NULL;
        r.count = 0;
    }
    *node = r.node;
    *count = r.count;
    return status;
}

int sim_csv_read(const char *path, struct sim_scenario_node **node, uint32_t *count, char *error, size_t cap)
{
    int status = -1;
    struct stat st;
    char *text = NULL;
    FILE *file = fopen(path, "rb");
    *node = NULL;
    *count = 0;
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        (void)snprintf(error, cap, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SIM_CSV_TEXT_MAX) {
        (void)snprintf(error, cap, "%s: must be a file of at most %u bytes", path, SIM_CSV_TEXT_MAX);
        goto out;
    }
    text = malloc((size_t)st.st_size + 1);
    if (text == NULL) {
        (void)snprintf(error, cap, "%s: out of memory", path);
        goto out;
    }
    size_t len = fread(text, 1, (size_t)st.st_size, file);
    if (ferror(file))
        (void)snprintf(error, cap, "%s: cannot be read", path);
    else
        status = sim_csv_parse(path, text, len, node, count, error, cap);
out:
    free(text);
    if (file != NULL)
        (void)fclose(file);
    return status;
}
