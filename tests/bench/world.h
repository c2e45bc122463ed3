/*
 * A mesh in virtual time: members (member.h) on the shared medium (sim/world). Used by the dissemination benchmark; as
 * fast as one core allows, and the same seed gives the same run.
 *
 * The host loop of every node is the one of a real host: feed what is heard, expire what is due, and ask for a frame
 * once the minimum gap after the last event's start is over. The controller then adds its random delay, which a host
 * cannot know. Flash and hashing take no virtual time.
 */
#ifndef BENCH_WORLD_H
#define BENCH_WORLD_H

#include "member.h"
#include "sim/world/medium.h"

#define WORLD_AD_HEADER 4     /* advertising data before a frame */
#define WORLD_LINK_LOSS 60000 /* mdB between devices that hear each other */

struct world;

struct world_node {
    struct world *world;
    mp_time wake;  /* when the host looks at it next */
    mp_time ready; /* when it may hand the controller a frame: MP_NEVER while an event is waiting or on air */
    struct member member;
};

/* All may be NULL. */
struct world_hooks {
    /* Events an engine raised, right after the call that raised them. */
    void (*raised)(void *ctx, struct world_node *node, uint32_t events);
    /* A frame was heard and handled: what mp_node_receive() said. */
    void (*heard)(void *ctx, struct world_node *node, const uint8_t *frame, size_t len, int result);
    /* A frame's event is over. report->data holds WORLD_AD_HEADER bytes before the frame. */
    void (*sent)(void *ctx, const struct sim_event_report *report);
};

struct world {
    uint32_t count;
    uint64_t seed;
    struct sim_medium *medium;
    struct world_node *node;
    struct sign_fleet fleet;
    struct world_hooks hooks;
    void *ctx;
};

/* count nodes that do not couple yet, engines started at time 0, scanning with the window of the whole interval. 0 or
 * -1 (memory, or an engine that did not start). world_close() in either case. */
int world_open(struct world *w, uint32_t count, uint64_t seed, uint32_t loss_ppm, const struct world_hooks *hooks,
               void *ctx);
void world_close(struct world *w);
/* Couples what is adjacent in a grid (8 neighbours); one row makes a line. columns * rows = count. */
void world_link_grid(struct world *w, uint32_t columns, uint32_t rows);
mp_time world_now(const struct world *w);
/* Runs until `until`, or until *stop is set (by a hook). */
void world_run(struct world *w, mp_time until, const bool *stop);

/* An engine was called from outside of world_run(): handles its events and looks at it again. */
void world_touch(struct world_node *n);

#endif
