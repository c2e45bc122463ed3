/*
 * Devices and links, once every value is known.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario_csv.h"
#include "scenario_parser.h"
#include "sim/field/place.h"

/* Number of a generated name, prefix and digits without leading zeros, or -1. */
static int generated_index(const struct sim_scenario *s, const char *name)
{
    size_t len = strlen(s->prefix);
    uint32_t index = 0;
    if (strncmp(name, s->prefix, len) != 0 || name[len] == '\0' || (name[len] == '0' && name[len + 1] != '\0'))
        return -1;
    for (const char *c = name + len; *c != '\0'; c++) {
        if (*c < '0' || *c > '9' || index >= SIM_NODES_MAX)
            return -1;
        index = index * 10 + (uint32_t)(*c - '0');
    }
    return index < s->count && (index > 0 || s->first[0] == '\0') ? (int)index : -1;
}

static bool is_generated(const struct sim_scenario *s)
{
    return s->topology != SIM_TOPOLOGY_LIST && s->topology != SIM_TOPOLOGY_CSV;
}

int sim_scenario_find(const struct sim_scenario *s, const char *name)
{
    if (is_generated(s))
        return s->first[0] != '\0' && strcmp(s->first, name) == 0 ? 0 : generated_index(s, name);
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->node[i].name, name) == 0)
            return (int)i;
    return -1;
}

void sim_scenario_name(const struct sim_scenario *s, uint32_t index, char out[SIM_NAME_MAX])
{
    if (s->node != NULL && index < s->count)
        memcpy(out, s->node[index].name, SIM_NAME_MAX);
    else if (index == 0 && s->first[0] != '\0')
        memcpy(out, s->first, SIM_NAME_MAX);
    else
        (void)snprintf(out, SIM_NAME_MAX, "%s%u", s->prefix, (unsigned)(index % 10000000u));
}

/* --- devices -------------------------------------------------------------------------------------------------------- */

/* Positions that a generator makes, into node[]. */
static int place_nodes(struct sim_scenario *s, struct sim_scenario_node *node, char *error, size_t cap)
{
    struct sim_position *position = malloc(s->count * sizeof *position);
    int status = -1;
    if (position == NULL)
        (void)snprintf(error, cap, "out of memory");
    else
        status = sim_place(s, position, error, cap);
    for (uint32_t i = 0; status == 0 && i < s->count; i++)
        node[i].position = position[i];
    free(position);
    return status;
}

static bool count_nodes(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    char error[400];
    uint64_t count = (uint64_t)s->columns * s->rows;
    if (s->topology == SIM_TOPOLOGY_CSV) {
        const char *slash = strrchr(p->path, '/');
        char path[1024];
        int folder = slash != NULL && p->file[0] != '/' ? (int)(slash - p->path) + 1 : 0;
        (void)snprintf(path, sizeof path, "%.*s%s", folder, p->path, p->file);
        if (sim_csv_read(path, &s->node, &s->count, error, sizeof error) != 0)
            return sim_parser_fail(p, sim_parser_given(p, "topology", "file"), "file: %s", error);
    } else if (s->topology == SIM_TOPOLOGY_LIST) {
        s->count = p->node_count;
    } else if (s->topology == SIM_TOPOLOGY_GRID) {
        if (count > SIM_NODES_MAX)
            return sim_parser_fail(p, sim_parser_given(p, "topology", "columns"),
                                   "%u columns and %u rows are %llu devices: at most %u", s->columns, s->rows,
                                   (unsigned long long)count, SIM_NODES_MAX);
        s->count = (uint32_t)count;
    }
    if (s->topology != SIM_TOPOLOGY_GRID) {
        s->columns = s->count;
        s->rows = 1;
    }
    bool is_spaced = s->topology == SIM_TOPOLOGY_GRID || s->topology == SIM_TOPOLOGY_LINE;
    if (is_spaced && (int64_t)(s->columns > s->rows ? s->columns : s->rows) * s->spacing_mm > SIM_FARTHEST_MM)
        return sim_parser_fail(p, sim_parser_given(p, "topology", "spacing"),
                               "spacing: the last device would be more than 1000 km away");
    return true;
}

static bool move_nodes(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    for (uint32_t i = 0; i < p->node_count; i++) {
        char first[SIM_NAME_MAX], last[SIM_NAME_MAX];
        int at = sim_scenario_find(s, p->node[i].node.name);
        sim_scenario_name(s, 0, first);
        sim_scenario_name(s, s->count - 1, last);
        if (at < 0)
            return sim_parser_fail(p, p->node[i].line, "no device is called %s: they are %s to %s",
                                   p->node[i].node.name, first, last);
        s->node[at].position = p->node[i].node.position;
    }
    return true;
}

static bool make_nodes(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    char error[200];
    int first = sim_parser_given(p, "topology", "first");
    if (!count_nodes(p))
        return false;
    if (first != 0 && generated_index(s, s->first) > 0)
        return sim_parser_fail(p, first, "first \"%s\" is also the name of device %d: choose another", s->first,
                               generated_index(s, s->first));
    if (sim_place_check(s, error, sizeof error) != 0)
        return sim_parser_fail(p, sim_parser_given(p, "topology", "nodes"), "%s", error);
    if (s->topology == SIM_TOPOLOGY_CSV || (s->count > SIM_DEVICES_MAX && p->node_count == 0))
        return true;
    struct sim_scenario_node *node = calloc(s->count, sizeof *node);
    if (node == NULL)
        return sim_parser_fail(p, 0, "out of memory");
    for (uint32_t i = 0; i < s->count; i++) {
        if (is_generated(s))
            sim_scenario_name(s, i, node[i].name);
        else
            node[i] = p->node[i].node;
    }
    /* node is set when done: until then positions are generated, not copied from it */
    int status = is_generated(s) ? place_nodes(s, node, error, sizeof error) : 0;
    s->node = node;
    if (status != 0)
        return sim_parser_fail(p, 0, "%s", error);
    return !is_generated(s) || move_nodes(p);
}

int sim_scenario_reseed(struct sim_scenario *s, uint64_t seed)
{
    char error[200];
    uint64_t before = s->seed;
    s->seed = seed;
    if (s->node == NULL || (s->topology != SIM_TOPOLOGY_DISC && s->topology != SIM_TOPOLOGY_BUILDINGS) ||
        place_nodes(s, s->node, error, sizeof error) == 0)
        return 0;
    s->seed = before;
    return -1;
}

/* --- links ---------------------------------------------------------------------------------------------------------- */

static bool find_ends(struct sim_parser *p, const uint32_t *order)
{
    const struct sim_scenario *s = p->s;
    for (uint32_t i = 0; i < p->link_count; i++) {
        struct sim_named_link *l = &p->link[i];
        int end[2];
        for (int e = 0; e < 2; e++) {
            end[e] =
                order != NULL ? sim_names_find(s->node, order, s->count, l->name[e]) : sim_scenario_find(s, l->name[e]);
            if (end[e] < 0)
                return sim_parser_fail(p, l->line, "no device is called %s", l->name[e]);
        }
        if (end[0] == end[1])
            return sim_parser_fail(p, l->line, "a link needs two different devices");
        l->link.a = (uint32_t)(end[0] < end[1] ? end[0] : end[1]);
        l->link.b = (uint32_t)(end[0] < end[1] ? end[1] : end[0]);
    }
    return true;
}

/* By pair; what the file says before overrides in their order. */
static int compare_links(const void *a, const void *b)
{
    const struct sim_named_link *x = a, *y = b;
    if (x->link.a != y->link.a)
        return x->link.a < y->link.a ? -1 : 1;
    if (x->link.b != y->link.b)
        return x->link.b < y->link.b ? -1 : 1;
    if ((x->line < 0) != (y->line < 0))
        return x->line < 0 ? 1 : -1;
    return abs(x->line) - abs(y->line);
}

static bool make_links(struct sim_parser *p)
{
    struct sim_scenario *s = p->s;
    uint32_t *order = NULL;
    char where[32];
    if (p->link_count == 0)
        return true;
    if (!is_generated(s) && (order = sim_names_sort(s->node, s->count)) == NULL)
        return sim_parser_fail(p, 0, "out of memory");
    bool is_found = find_ends(p, order);
    free(order);
    if (!is_found)
        return false;
    qsort(p->link, p->link_count, sizeof *p->link, compare_links);
    s->link = calloc(p->link_count, sizeof *s->link);
    if (s->link == NULL)
        return sim_parser_fail(p, 0, "out of memory");
    for (uint32_t i = 0; i < p->link_count; i++) {
        const struct sim_named_link *l = &p->link[i];
        bool is_again = i > 0 && l->link.a == l[-1].link.a && l->link.b == l[-1].link.b;
        if (is_again && l->line >= 0)
            return sim_parser_fail(p, l->line, "the link of %s and %s was given %s already", l->name[0], l->name[1],
                                   sim_parser_where(l[-1].line, where));
        s->link[is_again ? s->link_count - 1 : s->link_count++] = l->link;
    }
    return true;
}

bool sim_parser_build(struct sim_parser *p)
{
    return make_nodes(p) && make_links(p);
}
