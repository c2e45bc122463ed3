/*
 * [node NAME] and [link A B]: what a scenario says of single devices.
 */
#include <stdlib.h>
#include <string.h>

#include "scenario_parser.h"

#define LINKS_MAX 16384

bool sim_is_name(const char *text, size_t max)
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

bool sim_parser_name(struct sim_parser *p, const char *what, const char *text, char *out, size_t max)
{
    if (!sim_is_name(text, max))
        return sim_parser_fail(p, p->line,
                               "%s \"%.60s\": must be 1 to %zu letters, digits, - _ or ., beginning with a letter or "
                               "digit",
                               what, text, max);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool get_position(struct sim_parser *p, const char *text, struct sim_position *position)
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
            value < -SIM_FARTHEST_MM || value > SIM_FARTHEST_MM)
            return sim_parser_fail(
                p, p->line, "position \"%.60s\": must be x, y or x, y, z, each with mm, cm, m or km, within 1000 km",
                text);
        *axis[count] = (int32_t)value;
        at = comma != NULL ? comma + 1 : NULL;
    }
    if (count < 2)
        return sim_parser_fail(p, p->line, "position \"%.60s\": y is missing", text);
    return true;
}

bool sim_parser_node(struct sim_parser *p, const char *name, const char *key, const char *text)
{
    struct sim_named_node node = {.line = p->line};
    char where[32];
    if (strcmp(key, "position") != 0)
        return sim_parser_fail(p, p->line, "unknown key \"%.60s\" in [node %.40s]: only position is known", key, name);
    if (!sim_parser_name(p, "node name", name, node.node.name, SIM_NAME_MAX - 1) ||
        !get_position(p, text, &node.node.position))
        return false;
    for (uint32_t i = 0; i < p->node_count; i++) {
        if (strcmp(p->node[i].node.name, name) != 0)
            continue;
        if (p->line >= 0)
            return sim_parser_fail(p, p->line, "node %s was given %s already", name,
                                   sim_parser_where(p->node[i].line, where));
        p->node[i] = node;
        return true;
    }
    if (p->node_count == SIM_DEVICES_MAX)
        return sim_parser_fail(p, p->line, "too many nodes: at most %d, more come from a file with kind = csv",
                               SIM_DEVICES_MAX);
    p->node[p->node_count++] = node;
    return true;
}

static bool grow_links(struct sim_parser *p)
{
    if (p->link_count < p->link_cap)
        return true;
    if (p->link_cap == LINKS_MAX)
        return sim_parser_fail(p, p->line, "too many links: at most %d", LINKS_MAX);
    uint32_t cap = p->link_cap == 0 ? 64 : p->link_cap * 2;
    struct sim_named_link *link = realloc(p->link, cap * sizeof *link);
    if (link == NULL)
        return sim_parser_fail(p, p->line, "out of memory");
    p->link = link;
    p->link_cap = cap;
    return true;
}

static bool get_link_loss(struct sim_parser *p, const char *text, int32_t *loss_mdb)
{
    int64_t value;
    *loss_mdb = SIM_LOSS_NONE;
    if (strcmp(text, "none") == 0)
        return true;
    if (sim_quantity_get(SIM_RATIO, text, &value) != 0 || value < 0 || value > 200000)
        return sim_parser_fail(p, p->line, "loss \"%.60s\": must be 0 dB to 200 dB, or none", text);
    *loss_mdb = (int32_t)value;
    return true;
}

bool sim_parser_link(struct sim_parser *p, const char *names, const char *key, const char *text)
{
    struct sim_named_link link = {.line = p->line};
    char first[64];
    size_t len = strcspn(names, " ");
    if (strcmp(key, "loss") != 0)
        return sim_parser_fail(p, p->line, "unknown key \"%.60s\" in [link %.40s]: only loss is known", key, names);
    if (names[len] != ' ' || len >= sizeof first)
        return sim_parser_fail(p, p->line, "[link %.40s]: must name two devices, as in [link a b]", names);
    memcpy(first, names, len);
    first[len] = '\0';
    if (!sim_parser_name(p, "link's first name", first, link.name[0], SIM_NAME_MAX - 1) ||
        !sim_parser_name(p, "link's second name", names + len + 1, link.name[1], SIM_NAME_MAX - 1) ||
        !get_link_loss(p, text, &link.link.loss_mdb) || !grow_links(p))
        return false;
    p->link[p->link_count++] = link;
    return true;
}
