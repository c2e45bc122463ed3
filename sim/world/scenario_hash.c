/*
 * Hash of a scenario: FNV-1a, 64 bits, over the values of all keys in the order of the table, then devices and links.
 */
#include <string.h>

#include "scenario_parser.h"

static uint64_t add(uint64_t hash, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        hash ^= value >> (8 * i) & 0xFF;
        hash *= 0x100000001B3u;
    }
    return hash;
}

static uint64_t add_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = add(hash, (unsigned char)*text);
    return add(hash, 0);
}

static uint64_t get_field(const void *base, const struct sim_key *k)
{
    const char *field = (const char *)base + k->offset;
    uint8_t byte;
    uint32_t word;
    uint64_t value;
    if (k->size == sizeof byte) {
        memcpy(&byte, field, sizeof byte);
        return byte;
    }
    if (k->size == sizeof word) {
        memcpy(&word, field, sizeof word);
        return word;
    }
    memcpy(&value, field, sizeof value);
    return value;
}

static uint64_t add_key(uint64_t hash, const struct sim_scenario *s, const struct sim_key *k)
{
    if (strcmp(k->section, "release") != 0)
        return add(hash, get_field(s, k));
    for (uint32_t i = 0; i < s->release_count; i++)
        hash = add(hash, get_field(&s->release[i], k));
    return hash;
}

uint64_t sim_scenario_family(const struct sim_scenario *s)
{
    bool is_seeded = s->topology == SIM_TOPOLOGY_DISC || s->topology == SIM_TOPOLOGY_BUILDINGS;
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < sim_key_count; i++)
        if (sim_keys[i].type != SIM_KEY_TEXT)
            hash = add_key(hash, s, &sim_keys[i]);
    hash = add_text(add_text(add_text(hash, s->name), s->first), s->prefix);
    for (uint32_t i = 0; i < s->release_count; i++)
        hash = add_text(add(hash, s->release[i].release), s->release[i].policy);
    for (uint32_t i = 0; !is_seeded && s->node != NULL && i < s->count; i++) {
        const struct sim_position *at = &s->node[i].position;
        hash = add_text(hash, s->node[i].name);
        hash = add(add(add(hash, (uint32_t)at->x_mm), (uint32_t)at->y_mm), (uint32_t)at->z_mm);
    }
    for (uint32_t i = 0; i < s->link_count; i++)
        hash = add(add(add(hash, s->link[i].a), s->link[i].b), (uint32_t)s->link[i].loss_mdb);
    return hash;
}

uint64_t sim_scenario_hash(const struct sim_scenario *s)
{
    return add(sim_scenario_family(s), s->seed);
}
