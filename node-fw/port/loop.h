/*
 * The main loop of a node, the same on every part: it owns the storage, the update state machine with the protocol
 * engine in it, the HCI host and the relay cache, and drives them, the application (app.h) and the watchdog through the
 * functions of port.h.
 *
 * A port's firmware is: start-up code, port.h, and
 *
 *     static uint8_t memory[NF_LOOP_MEMORY(SLOT_SIZE, PAGE_SIZE)];
 *     int main(void) { nf_loop_run(&my_app, "1.2.3", memory, sizeof memory); }
 *
 * One round: feed the watchdog; take what the controller sent; run the timers of HCI host and state machine; tell the
 * controller who runs (once a connection); the application; at most one frame out, and what the HCI host wants to send;
 * sleep until the earliest timer. A round is bounded whatever the controller sends.
 *
 * The line. When it loses bytes, breaks or does not take any, the HCI host starts over, at most every 100 ms (500 ms
 * when nothing was taken), so that neither a flood nor a dead controller keeps the node from its other work. A
 * controller that is silent, or resets itself, is the HCI host's business (proto/hci/hci.h); one that refuses what
 * start-up needs is tried again after 10 s.
 *
 * RAM: everything lies in one static struct, nothing is allocated. Not reentrant: one loop a program.
 */
#ifndef NF_LOOP_H
#define NF_LOOP_H

#include "app.h"
#include "proto/mesh/relay.h"
#include "proto/object/settings.h"

/*
 * Log lines for a person, through nf_port_log(): 1 or 0. A part that has no place for them leaves them out with
 * -DNF_LOOP_LOG=0, formatter and strings with them.
 */
#ifndef NF_LOOP_LOG
#define NF_LOOP_LOG 1
#endif

/*
 * One arena for what is large and never needed at the same time. The relay cache serves others while this node has
 * nothing better to do; whoever needs the room for its own update (a delta decoder) takes the arena between two rounds:
 * it sets env.mp.relay to NULL, so that the engine relays nothing, uses the memory, and when it is done clears all of
 * it (all zero is an empty cache) and sets env.mp.relay back. New users become members here; none may need it across a
 * reset.
 */
union nf_arena {
    struct mp_relay relay;
    struct mp_settings settings; /* while the node starts */
};

/*
 * Bytes of memory that nf_loop_run() needs for slots of this size: two bitmaps over chunks and two over pages, as
 * nf_store_memory() says for the layout, from above. For static arrays.
 */
#define NF_LOOP_MEMORY(slot_size, page_size)                                                                           \
    (2u * (((slot_size) / MP_CHUNK_SIZE + 8u) / 8u + ((slot_size) / (page_size) + 7u) / 8u))

/*
 * Runs the node for ever: calls nf_port_start() first, ends with nf_port_reset(). version: the text that the controller
 * is told, at most 60 bytes; app and version stay valid. memory: NF_LOOP_MEMORY() bytes, kept; too little of it is
 * found at the start and resets with BOOT_CAUSE_STORAGE, as does a flash map or settings page that is not valid.
 */
_Noreturn void nf_loop_run(const struct app *app, const char *version, uint8_t *memory, size_t size);

/* Storage where something else than this project's bootloader decides what boots (node-fw/port/mcuboot). */
struct nf_loop_boot {
    /* Mounts it, once, after nf_port_start(): *store becomes the ctx of all callbacks; both stay valid. 0, or an error
     * of enum mp_error: the loop resets with BOOT_CAUSE_STORAGE. */
    int (*mount)(enum boot_cause cause, struct nf_store **store, const struct nf_storage **storage);
    /* The loop is about to reset the part; may be NULL. */
    void (*note)(enum boot_cause cause);
};

/* As nf_loop_run(), with such storage. */
_Noreturn void nf_loop_run_under(const struct nf_loop_boot *boot, const struct app *app, const char *version);

#endif
