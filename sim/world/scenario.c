#include "scenario.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantity.h"

#define LINKS_MAX 16384
#define PREFIX_MAX 12 /* characters; four digits may follow */
#define FARTHEST_MM 1000000000
#define LINE_MAX_CHARS 198 /* what libinih hands over in one piece */

/* Where a key's number goes: a field of struct sim_scenario. */
enum field_type { FIELD_I32, FIELD_U32 };

struct number_key {
    const char *section, *key;
    enum sim_quantity quantity;
    enum field_type type;
    size_t offset;
    int64_t low, high;
    const char *right; /* the range in words */
};

#define AT(field) offsetof(struct sim_scenario, field)

/* The ranges of [radio] are those of sim_radio_check(). */
static const struct number_key NUMBER_KEYS[] = {
    {"radio", "tx_power", SIM_POWER, FIELD_I32, AT(radio.tx_mdbm), -127000, 20000, "-127 dBm to 20 dBm"},
    {"radio", "loss_1m", SIM_RATIO, FIELD_I32, AT(radio.loss_1m_mdb), 0, 120000, "0 dB to 120 dB"},
    {"radio", "exponent", SIM_FACTOR, FIELD_I32, AT(radio.exponent_milli), 1000, 8000, "1 to 8"},
    {"radio", "shadowing", SIM_RATIO, FIELD_I32, AT(radio.shadowing_mdb), 0, 20000, "0 dB to 20 dB"},
    {"radio", "noise", SIM_POWER, FIELD_I32, AT(radio.noise_mdbm), -130000, -50000, "-130 dBm to -50 dBm"},
    {"radio", "sensitivity", SIM_POWER, FIELD_I32, AT(radio.sensitivity_mdbm), -120000, -30000, "-120 dBm to -30 dBm"},
    {"radio", "capture", SIM_RATIO, FIELD_I32, AT(radio.capture_mdb), 0, 30000, "0 dB to 30 dB"},
    {"radio", "primary_gap", SIM_TIME, FIELD_U32, AT(radio.primary_gap_us), 150, 5000, "150 us to 5 ms"},
    {"radio", "aux_gap", SIM_TIME, FIELD_U32, AT(radio.aux_gap_us), 300, 5000, "300 us to 5 ms"},
    {"radio", "interval", SIM_TIME, FIELD_U32, AT(radio.interval_us), 20000, 1000000, "20 ms to 1 s"},
    {"radio", "delay", SIM_TIME, FIELD_U32, AT(radio.delay_us), 0, 100000, "0 us to 100 ms"},
    {"radio", "processing", SIM_TIME, FIELD_U32, AT(radio.processing_us), 0, 100000, "0 us to 100 ms"},
    {"radio", "frame_loss", SIM_SHARE, FIELD_U32, AT(loss_ppm), 0, 1000000, "0 % to 100 %"},
    {"topology", "nodes", SIM_COUNT, FIELD_U32, AT(count), 1, SIM_DEVICES_MAX, "1 to 1024"},
    {"topology", "columns", SIM_COUNT, FIELD_U32, AT(columns), 1, SIM_DEVICES_MAX, "1 to 1024"},
    {"topology", "rows", SIM_COUNT, FIELD_U32, AT(rows), 1, SIM_DEVICES_MAX, "1 to 1024"},
    {"topology", "spacing", SIM_LENGTH, FIELD_I32, AT(spacing_mm), 1, 10000000, "1 mm to 10 km"},
    {"topology", "link_loss", SIM_RATIO, FIELD_I32, AT(link_loss_mdb), 0, 200000, "0 dB to 200 dB"},
};
#define NUMBER_KEY_COUNT (sizeof NUMBER_KEYS / sizeof NUMBER_KEYS[0])

/* Keys that hold text. */
enum word_key { WORD_NAME, WORD_SEED, WORD_KIND, WORD_REACH, WORD_FIRST, WORD_PREFIX, WORD_COUNT };
static const struct {
    const char *section, *key;
} WORD_KEYS[WORD_COUNT] = {{"scenario", "name"},  {"scenario", "seed"},  {"topology", "kind"},
                           {"topology", "reach"}, {"topology", "first"}, {"topology", "prefix"}};

struct named_node {
    struct sim_scenario_node node;
    int line;
};

struct named_link {
    char name[2][SIM_NAME_MAX];
    struct sim_scenario_link link;
    int line;
};

struct parser {
    struct sim_scenario *s;
    const char *path;
    const char *text;
    size_t len, at;
    int line;                          /* being read */
    int section_line;                  /* of the last [section] */
    bool is_section_used;              /* a key of it was seen */
    int number_line[NUMBER_KEY_COUNT]; /* where each key was given, 0 not */
    int word_line[WORD_COUNT];
    char first[SIM_NAME_MAX];
    char prefix[PREFIX_MAX + 1];
    struct named_node *node;
    uint32_t node_count;
    struct named_link *link;
    uint32_t link_count, link_cap;
    int error_line; /* 0: none yet */
    bool is_failed;
    char error[256];
};

/* Notes the first error; line 0 speaks of the whole file. Always false, so that a handler can return it. */
__attribute__((format(printf, 3, 4))) static bool fail(struct parser *p, int line, const char *format, ...)
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

/* --- words
 * ------------------------------------------------------------------------------------------------------------- */

static bool is_name(const char *text, size_t max)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && (i == 0 || (c != '-' && c != '_' && c != '.')))
            return false;
    }
    return len >= 1 && len <= max;
}

static bool get_name(struct parser *p, const char *what, const char *text, char *out, size_t max)
{
    if (!is_name(text, max))
        return fail(p, p->line,
                    "%s \"%.60s\": must be 1 to %zu letters, digits, - _ or ., beginning with a letter or digit", what,
                    text, max);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool get_seed(struct parser *p, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long seed = strtoull(text, &end, 0);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return fail(p, p->line, "seed \"%.60s\": must be a number from 0 to 2^64 - 1, decimal or 0x...", text);
    p->s->seed = seed;
    return true;
}

static bool get_word(struct parser *p, enum word_key key, const char *text)
{
    struct sim_scenario *s = p->s;
    switch (key) {
    case WORD_NAME:
        return get_name(p, "name", text, s->name, sizeof s->name - 1);
    case WORD_SEED:
        return get_seed(p, text);
    case WORD_KIND:
        if (strcmp(text, "list") != 0 && strcmp(text, "line") != 0 && strcmp(text, "grid") != 0)
            return fail(p, p->line, "kind \"%.60s\": must be line, grid or list", text);
        s->topology = text[0] == 'g'              ? SIM_TOPOLOGY_GRID
                      : strcmp(text, "line") == 0 ? SIM_TOPOLOGY_LINE
                                                  : SIM_TOPOLOGY_LIST;
        return true;
    case WORD_REACH:
        if (strcmp(text, "neighbours") != 0 && strcmp(text, "physics") != 0)
            return fail(p, p->line, "reach \"%.60s\": must be neighbours or physics", text);
        s->reach = text[0] == 'n' ? SIM_REACH_NEIGHBOURS : SIM_REACH_PHYSICS;
        return true;
    case WORD_FIRST:
        return get_name(p, "first", text, p->first, sizeof p->first - 1);
    case WORD_PREFIX:
        return get_name(p, "prefix", text, p->prefix, PREFIX_MAX);
    case WORD_COUNT:
        break;
    }
    return false;
}

/* --- [node NAME], [link A B]
 * ------------------------------------------------------------------------------------------- */

static bool get_position(struct parser *p, const char *text, struct sim_position *position)
{
    int32_t *axis[3] = {&position->x_mm, &position->y_mm, &position->z_mm};
    int count = 0;
    char part[64];
    *position = (struct sim_position){0, 0, 0};
    for (const char *at = text; at != NULL; count++) {
        const char *comma = strchr(at, ',');
        size_t len = comma != NULL ? (size_t)(comma - at) : strlen(at);
        int64_t value = 0;
        if (count < 3 && len < sizeof part) {
            memcpy(part, at, len);
            part[len] = '\0';
        }
        if (count == 3 || len >= sizeof part || sim_quantity_get(SIM_LENGTH, part, &value) != 0 ||
            value < -FARTHEST_MM || value > FARTHEST_MM)
            return fail(p, p->line,
                        "position \"%.60s\": must be x, y or x, y, z, each with mm, cm, m or km, within 1000 km", text);
        *axis[count] = (int32_t)value;
        at = comma != NULL ? comma + 1 : NULL;
    }
    if (count < 2)
        return fail(p, p->line, "position \"%.60s\": y is missing", text);
    return true;
}

static bool add_node(struct parser *p, const char *name, const char *key, const char *text)
{
    struct named_node node = {.line = p->line};
    if (strcmp(key, "position") != 0)
        return fail(p, p->line, "unknown key \"%.60s\" in [node %.40s]: only position is known", key, name);
    if (!get_name(p, "node name", name, node.node.name, SIM_NAME_MAX - 1) ||
        !get_position(p, text, &node.node.position))
        return false;
    for (uint32_t i = 0; i < p->node_count; i++)
        if (strcmp(p->node[i].node.name, name) == 0)
            return fail(p, p->line, "node %s was given on line %d already", name, p->node[i].line);
    if (p->node_count == SIM_DEVICES_MAX)
        return fail(p, p->line, "too many nodes: at most %d", SIM_DEVICES_MAX);
    p->node[p->node_count++] = node;
    return true;
}

static bool grow_links(struct parser *p)
{
    if (p->link_count < p->link_cap)
        return true;
    if (p->link_cap == LINKS_MAX)
        return fail(p, p->line, "too many links: at most %d", LINKS_MAX);
    uint32_t cap = p->link_cap == 0 ? 64 : p->link_cap * 2;
    struct named_link *link = realloc(p->link, cap * sizeof *link);
    if (link == NULL)
        return fail(p, p->line, "out of memory");
    p->link = link;
    p->link_cap = cap;
    return true;
}

static bool get_link_loss(struct parser *p, const char *text, int32_t *loss_mdb)
{
    int64_t value;
    *loss_mdb = SIM_LOSS_NONE;
    if (strcmp(text, "none") == 0)
        return true;
    if (sim_quantity_get(SIM_RATIO, text, &value) != 0 || value < 0 || value > 200000)
        return fail(p, p->line, "loss \"%.60s\": must be 0 dB to 200 dB, or none", text);
    *loss_mdb = (int32_t)value;
    return true;
}

static bool add_link(struct parser *p, const char *names, const char *key, const char *text)
{
    struct named_link link = {.line = p->line};
    char first[64];
    size_t len = strcspn(names, " ");
    if (strcmp(key, "loss") != 0)
        return fail(p, p->line, "unknown key \"%.60s\" in [link %.40s]: only loss is known", key, names);
    if (names[len] != ' ' || len >= sizeof first)
        return fail(p, p->line, "[link %.40s]: must name two devices, as in [link a b]", names);
    memcpy(first, names, len);
    first[len] = '\0';
    if (!get_name(p, "link's first name", first, link.name[0], SIM_NAME_MAX - 1) ||
        !get_name(p, "link's second name", names + len + 1, link.name[1], SIM_NAME_MAX - 1) ||
        !get_link_loss(p, text, &link.link.loss_mdb) || !grow_links(p))
        return false;
    p->link[p->link_count++] = link;
    return true;
}

/* --- keys
 * -------------------------------------------------------------------------------------------------------------- */

static bool note_key(struct parser *p, const char *section, const char *key, int *line)
{
    if (*line != 0)
        return fail(p, p->line, "%s in [%s] was given on line %d already", key, section, *line);
    *line = p->line;
    return true;
}

static bool get_number(struct parser *p, size_t index, const char *text)
{
    const struct number_key *k = &NUMBER_KEYS[index];
    int64_t value;
    if (sim_quantity_get(k->quantity, text, &value) != 0)
        return fail(p, p->line, "%s \"%.60s\": must be a number with %s, %s", k->key, text,
                    sim_quantity_units(k->quantity), k->right);
    if (value < k->low || value > k->high)
        return fail(p, p->line, "%s \"%.60s\": must be %s", k->key, text, k->right);
    char *field = (char *)p->s + k->offset;
    if (k->type == FIELD_I32)
        *(int32_t *)(void *)field = (int32_t)value;
    else
        *(uint32_t *)(void *)field = (uint32_t)value;
    return true;
}

/* "unknown key", with the keys that the section has; or "unknown section". */
static bool fail_unknown(struct parser *p, const char *section, const char *key)
{
    char known[200] = "";
    size_t len = 0;
    for (size_t i = 0; i < WORD_COUNT + NUMBER_KEY_COUNT; i++) {
        const char *in = i < WORD_COUNT ? WORD_KEYS[i].section : NUMBER_KEYS[i - WORD_COUNT].section;
        const char *name = i < WORD_COUNT ? WORD_KEYS[i].key : NUMBER_KEYS[i - WORD_COUNT].key;
        if (strcmp(in, section) == 0 && len < sizeof known)
            len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "", name);
    }
    if (len > 0)
        return fail(p, p->line, "unknown key \"%.40s\" in [%s]: known are %s", key, section, known);
    return fail(p, p->line, "unknown section [%.49s]: known are scenario, radio, topology, node NAME, link NAME NAME",
                section);
}

static bool take_key(struct parser *p, const char *section, const char *key, const char *text)
{
    p->is_section_used = true;
    if (strncmp(section, "node ", 5) == 0)
        return add_node(p, section + 5, key, text);
    if (strncmp(section, "link ", 5) == 0)
        return add_link(p, section + 5, key, text);
    for (size_t i = 0; i < WORD_COUNT; i++)
        if (strcmp(section, WORD_KEYS[i].section) == 0 && strcmp(key, WORD_KEYS[i].key) == 0)
            return note_key(p, section, key, &p->word_line[i]) && get_word(p, (enum word_key)i, text);
    for (size_t i = 0; i < NUMBER_KEY_COUNT; i++)
        if (strcmp(section, NUMBER_KEYS[i].section) == 0 && strcmp(key, NUMBER_KEYS[i].key) == 0)
            return note_key(p, section, key, &p->number_line[i]) && get_number(p, i, text);
    return fail_unknown(p, section, key);
}

static int on_key(void *user, const char *section, const char *key, const char *text)
{
    struct parser *p = user;
    return !p->is_failed && take_key(p, section, key, text);
}

/* libinih would pass over a section without keys in silence: for [node x] that is a device less than written. */
static void check_section_used(struct parser *p)
{
    if (p->section_line != 0 && !p->is_section_used)
        (void)fail(p, p->section_line, "this section has no key");
}

/* Hands libinih one line, as fgets() would, but without indentation, which it would take for the continuation of a
 * value. It splits what is too long and stops at a zero byte; neither must pass. */
static char *read_line(char *out, int cap, void *stream)
{
    struct parser *p = stream;
    size_t left = p->len - p->at, len = 0;
    if (left == 0 || p->is_failed)
        return NULL;
    const char *line = p->text + p->at;
    while (len < left && line[len] != '\n')
        len++;
    p->line++;
    p->at += len + (len < left);
    if (len > LINE_MAX_CHARS || len + 2 > (size_t)cap) {
        (void)fail(p, p->line, "line too long: at most %d characters", LINE_MAX_CHARS);
        return NULL;
    }
    if (memchr(line, '\0', len) != NULL) {
        (void)fail(p, p->line, "a zero byte: this is no text");
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

/* --- putting it together
 * ----------------------------------------------------------------------------------------------- */

/* Line on which a number key was given, 0 not. */
static int given(const struct parser *p, const char *key)
{
    for (size_t i = 0; i < NUMBER_KEY_COUNT; i++)
        if (strcmp(NUMBER_KEYS[i].key, key) == 0)
            return p->number_line[i];
    return 0;
}

/* Keys of [topology] that the chosen kind does not know would be without effect: refused. */
static bool check_topology(struct parser *p)
{
    const struct sim_scenario *s = p->s;
    bool is_list = s->topology == SIM_TOPOLOGY_LIST, is_grid = s->topology == SIM_TOPOLOGY_GRID;
    bool is_line = s->topology == SIM_TOPOLOGY_LINE, is_near = s->reach == SIM_REACH_NEIGHBOURS;
    const struct {
        int line;
        bool is_ok;
        const char *message;
    } rule[] = {
        {given(p, "nodes"), is_line, "nodes goes with kind = line only"},
        {given(p, "columns"), is_grid, "columns goes with kind = grid only"},
        {given(p, "rows"), is_grid, "rows goes with kind = grid only"},
        {given(p, "spacing"), !is_list, "spacing goes with kind = line or grid only"},
        {given(p, "link_loss"), is_near, "link_loss goes with reach = neighbours only"},
        {p->word_line[WORD_REACH], !is_list || !is_near, "reach = neighbours goes with kind = line or grid only"},
        {p->word_line[WORD_FIRST], !is_list, "first goes with kind = line or grid only"},
        {p->word_line[WORD_PREFIX], !is_list, "prefix goes with kind = line or grid only"},
    };
    for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++)
        if (rule[i].line != 0 && !rule[i].is_ok)
            return fail(p, rule[i].line, "%s", rule[i].message);
    int kind = p->word_line[WORD_KIND];
    if (is_line && given(p, "nodes") == 0)
        return fail(p, kind, "kind = line needs nodes, 1 to %d", SIM_DEVICES_MAX);
    if (is_grid && (given(p, "columns") == 0 || given(p, "rows") == 0))
        return fail(p, kind, "kind = grid needs columns and rows");
    if (is_grid && s->columns * s->rows > SIM_DEVICES_MAX)
        return fail(p, given(p, "columns"), "%u columns and %u rows are %u devices: at most %d", s->columns, s->rows,
                    s->columns * s->rows, SIM_DEVICES_MAX);
    if (is_list && p->node_count == 0)
        return fail(p, kind, "no device: give each a [node NAME], or [topology] a kind = line or grid");
    if (is_near && p->node_count > 0)
        return fail(p, p->node[0].line, "a position is without effect with reach = neighbours");
    return true;
}

static bool generate_nodes(struct parser *p)
{
    struct sim_scenario *s = p->s;
    for (uint32_t i = 0; i < s->count; i++) {
        struct sim_scenario_node *n = &s->node[i];
        (void)snprintf(n->name, sizeof n->name, "%s%u", p->prefix, i);
        n->position.x_mm = (int32_t)(i % s->columns) * s->spacing_mm;
        n->position.y_mm = (int32_t)(i / s->columns) * s->spacing_mm;
        if (i > 0 && strcmp(n->name, p->first) == 0)
            return fail(p, p->word_line[WORD_FIRST], "first \"%s\" is also the name of device %u: choose another",
                        p->first, i);
    }
    if (p->first[0] != '\0')
        memcpy(s->node[0].name, p->first, sizeof p->first);
    for (uint32_t i = 0; i < p->node_count; i++) {
        int at = sim_scenario_find(s, p->node[i].node.name);
        if (at < 0)
            return fail(p, p->node[i].line, "no device is called %s: they are %s to %s", p->node[i].node.name,
                        s->node[0].name, s->node[s->count - 1].name);
        s->node[at].position = p->node[i].node.position;
    }
    return true;
}

static bool make_nodes(struct parser *p)
{
    struct sim_scenario *s = p->s;
    if (s->topology == SIM_TOPOLOGY_LIST)
        s->count = p->node_count;
    else if (s->topology == SIM_TOPOLOGY_GRID)
        s->count = s->columns * s->rows;
    if (s->topology != SIM_TOPOLOGY_GRID) {
        s->columns = s->count;
        s->rows = 1;
    }
    if ((int64_t)(s->columns > s->rows ? s->columns : s->rows) * s->spacing_mm > FARTHEST_MM)
        return fail(p, given(p, "spacing"), "spacing: the last device would be more than 1000 km away");
    s->node = calloc(s->count, sizeof *s->node);
    if (s->node == NULL)
        return fail(p, 0, "out of memory");
    if (s->topology != SIM_TOPOLOGY_LIST)
        return generate_nodes(p);
    for (uint32_t i = 0; i < s->count; i++)
        s->node[i] = p->node[i].node;
    return true;
}

static int compare_links(const void *a, const void *b)
{
    const struct named_link *x = a, *y = b;
    if (x->link.a != y->link.a)
        return x->link.a < y->link.a ? -1 : 1;
    if (x->link.b != y->link.b)
        return x->link.b < y->link.b ? -1 : 1;
    return x->line - y->line;
}

static bool make_links(struct parser *p)
{
    struct sim_scenario *s = p->s;
    if (p->link_count == 0)
        return true;
    for (uint32_t i = 0; i < p->link_count; i++) {
        struct named_link *l = &p->link[i];
        int end[2];
        for (int e = 0; e < 2; e++) {
            end[e] = sim_scenario_find(s, l->name[e]);
            if (end[e] < 0)
                return fail(p, l->line, "no device is called %s", l->name[e]);
        }
        if (end[0] == end[1])
            return fail(p, l->line, "a link needs two different devices");
        l->link.a = (uint32_t)(end[0] < end[1] ? end[0] : end[1]);
        l->link.b = (uint32_t)(end[0] < end[1] ? end[1] : end[0]);
    }
    qsort(p->link, p->link_count, sizeof *p->link, compare_links);
    s->link = calloc(p->link_count, sizeof *s->link);
    if (s->link == NULL)
        return fail(p, 0, "out of memory");
    for (uint32_t i = 0; i < p->link_count; i++) {
        const struct named_link *l = &p->link[i];
        if (i > 0 && l->link.a == l[-1].link.a && l->link.b == l[-1].link.b)
            return fail(p, l->line, "the link of %s and %s was given on line %d already", l->name[0], l->name[1],
                        l[-1].line);
        s->link[i] = l->link;
    }
    s->link_count = p->link_count;
    return true;
}

static void set_defaults(struct parser *p)
{
    struct sim_scenario *s = p->s;
    memset(s, 0, sizeof *s);
    memcpy(s->name, "scenario", sizeof "scenario");
    memcpy(p->prefix, "n", sizeof "n");
    sim_radio_defaults(&s->radio);
    s->seed = 1;
    s->spacing_mm = 10000;
    s->link_loss_mdb = 60000;
}

static void write_error(const struct parser *p, char *error, size_t cap)
{
    if (cap == 0)
        return;
    if (p->error_line > 0)
        (void)snprintf(error, cap, "%s:%d: %s", p->path, p->error_line, p->error);
    else
        (void)snprintf(error, cap, "%s: %s", p->path, p->error);
}

int sim_scenario_parse(struct sim_scenario *s, const char *path, const char *text, size_t len, char *error, size_t cap)
{
    struct parser *p = calloc(1, sizeof *p);
    int status = -1;
    memset(s, 0, sizeof *s);
    if (p == NULL || (p->node = calloc(SIM_DEVICES_MAX, sizeof *p->node)) == NULL) {
        (void)snprintf(error, cap, "%s: out of memory", path);
        goto out;
    }
    *p = (struct parser){.s = s, .path = path, .text = text, .len = len, .node = p->node};
    set_defaults(p);
    if (len > SIM_SCENARIO_TEXT_MAX) {
        (void)fail(p, 0, "too long: at most %u bytes", SIM_SCENARIO_TEXT_MAX);
    } else {
        int line = ini_parse_stream(read_line, p, on_key, p);
        if (line == 0)
            check_section_used(p);
        /* a line that libinih could not read; what failed elsewhere came later */
        if (line > 0 && (!p->is_failed || line < p->error_line)) {
            p->is_failed = false;
            (void)fail(p, line, "must be [section], key = value, or a comment that begins with ; or #");
        }
    }
    if (!p->is_failed && check_topology(p) && make_nodes(p) && make_links(p))
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

int sim_scenario_read(struct sim_scenario *s, const char *path, char *error, size_t cap)
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
    status = sim_scenario_parse(s, path, text, len, error, cap);
out:
    free(text);
    (void)fclose(file);
    return status;
}

void sim_scenario_free(struct sim_scenario *s)
{
    free(s->node);
    free(s->link);
    memset(s, 0, sizeof *s);
}

int sim_scenario_find(const struct sim_scenario *s, const char *name)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->node[i].name, name) == 0)
            return (int)i;
    return -1;
}
