/*
 * What runs on the nodes of a simulated world: this project's node (sim/fleet), a baseline (sim/baseline), or a
 * generator of traffic with a known closed form (sim/validate). One table of functions and one context a world.
 *
 * The engine calls, always with the node's own events in order of time:
 *   start     once per node of this rank, at time 0, ascending
 *   receive   a frame heard; the data is the engine's and valid during the call
 *   expire    when next_expiry() is reached
 *   write     when something may be worth sending and the radio could take it: returns one frame or nothing
 *   mail      what another node sent outside the radio (backhaul)
 * After each of them the engine asks next_expiry() again. A stack must not look at other nodes' state (they may live on
 * another rank), only at what is the same everywhere; what nodes of a rank share must never change what they do.
 */
#ifndef SIM_STACK_H
#define SIM_STACK_H

#include "archive.h"
#include "sim/field/field.h"

struct sim_engine;

/* How frames travel. */
enum sim_bearer {
    SIM_BEARER_EXTENDED, /* Bluetooth LE extended advertising: up to 229 bytes of advertising data a frame */
    SIM_BEARER_LEGACY,   /* Bluetooth LE legacy advertising, non-connectable: up to 31 bytes */
    SIM_BEARER_802154 /* IEEE 802.15.4, 2.4 GHz O-QPSK, unslotted CSMA-CA: up to 125 bytes of MAC frame without FCS */
};

/* A frame as heard. */
struct sim_heard {
    sim_time at;     /* end of its packet; the host has it now, which is later */
    uint32_t from;   /* transmitting node: for statistics and ideal models; real stacks read the frame */
    uint32_t number; /* of the sender's transmissions: (from, number) names one transmission */
    int8_t rssi_dbm;
    const uint8_t *data;
    size_t len;
};

/* A frame to send. */
struct sim_frame {
    size_t len;   /* bytes in data; 0 is a valid, empty frame */
    uint8_t type; /* 0 to 15, for statistics only; names come from sim_stack.types */
    uint8_t data[255];
};

struct sim_stack {
    const char *name;
    const char *const *types; /* [16] names of frame types, NULL where unused */
    enum sim_bearer bearer;
    /* Shared state for the nodes of this rank. NULL with a sentence in error. */
    void *(*open)(struct sim_engine *e, char *error, size_t cap);
    void (*close)(void *ctx);
    /* 0, or -1 with a sentence for sim_engine_fail(). */
    int (*start)(void *ctx, uint32_t node, sim_time now);
    void (*receive)(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard);
    void (*expire)(void *ctx, uint32_t node, sim_time now);
    /* 1: `frame` is to be sent; 0: nothing now (the engine asks again at next_expiry(), or after the next call). */
    int (*write)(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame);
    /* When to call expire or write next: at or before now means as soon as the radio is free; SIM_NEVER. */
    sim_time (*next_expiry)(void *ctx, uint32_t node);
    /* May be NULL: */
    void (*mail)(void *ctx, uint32_t node, sim_time now, uint32_t from, const uint8_t *data, size_t len);
    /* Hints that receive() of this node comes soon: prefetch its state. */
    void (*prefetch)(const void *ctx, uint32_t node);
    /* Checkpoint of everything behind ctx. 0 or -1 (sticky in the archive). */
    int (*save)(void *ctx, struct sim_archive *a);
    int (*load)(void *ctx, struct sim_archive *a);
    /* End of the run: hands summaries of the nodes to the result. */
    void (*finish)(void *ctx, sim_time now);
};

#endif
