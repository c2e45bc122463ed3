/*
 * The event queue: a calendar of buckets whose width and number follow the load, so that push and pop stay near constant
 * time at a million pending events (R. Brown, "Calendar queues", CACM 31(10), 1988).
 *
 * Order is total: time, then node, then kind. Two events that agree in all three are one fact told twice and may come
 * out in any order. Opaque; memory from malloc; not thread safe, reentrant across queues.
 */
#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#include "archive.h"
#include "sim/radio/radio.h"

struct sim_event_key {
    sim_time at;
    uint32_t node;
    uint32_t kind; /* the owner's; part of the order */
};

struct sim_queue;

/* NULL: out of memory. */
struct sim_queue *sim_queue_open(void);
void sim_queue_close(struct sim_queue *q);
/* Any time, also before the last one that was popped. 0, or -1: out of memory, nothing changed. */
int sim_queue_push(struct sim_queue *q, struct sim_event_key event);
/* The earliest event without (peek) or with (pop) taking it. False when empty. */
bool sim_queue_peek(struct sim_queue *q, struct sim_event_key *event);
bool sim_queue_pop(struct sim_queue *q, struct sim_event_key *event);
size_t sim_queue_count(const struct sim_queue *q);
/* Bytes of memory it holds. */
size_t sim_queue_bytes(const struct sim_queue *q);
/* Checkpoint: every pending event. Load replaces the content. Errors as in archive.h. */
int sim_queue_save(const struct sim_queue *q, struct sim_archive *a);
int sim_queue_load(struct sim_queue *q, struct sim_archive *a);

#endif
