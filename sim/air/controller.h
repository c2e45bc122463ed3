/*
 * A virtual Bluetooth LE controller: HCI over H4 towards a host, the shared medium (sim/world/medium.h) towards the
 * others. Sans-IO: bytes in, bytes out, time passed in. One instance per device; not thread safe, reentrant across
 * instances with a medium each.
 *
 * What it is: an LE-only controller (version 5.2) with extended advertising on up to SIM_SETS_MAX sets and passive
 * extended scanning on LE 1M (secondary 2M, too). It does what the specification says for what it offers and answers
 * the rest with the specified error:
 *   - advertising: non-connectable, non-scannable, undirected, extended PDUs, up to 229 bytes (in fragments, too),
 * duration, max events. Anything else that is valid gets Unsupported Feature (0x11);
 *   - scanning: no duplicate filter, no duration or period (0x11 for both); active scanning sees what passive scanning
 * does;
 *   - one credit, and an answer to every command before the next one is looked at;
 *   - unknown commands: Command Status with 0x01.
 * On bytes that are no command packet it sends Hardware Error once and skips them, as H4 asks for when synchronisation
 * is lost. ACL, SCO and ISO data cannot be for anybody and count as such bytes.
 *
 * Output is bounded. Reports are dropped (and counted) when a slow host leaves no room for them; when there is not even
 * room for the answer to a command, no more commands are taken until the host has read.
 *
 * Vendor command HCI_VENDOR_LOG (0xFC01): 1 to 255 bytes of text, handed to the `log` callback with bytes outside 0x20
 * to 0x7E replaced by '?'. Answered by Command Complete, status 0.
 */
#ifndef SIM_CONTROLLER_H
#define SIM_CONTROLLER_H

#include "proto/hci/hci_defs.h"
#include "sim/world/medium.h"

#define SIM_CONTROLLER_OUTPUT 32768 /* bytes: more than a second of the reports that a busy place produces */

struct sim_controller;

struct sim_controller_config {
    struct sim_medium *medium; /* must outlive the controller */
    uint32_t device;           /* of the medium */
    uint8_t public_address[6];
    int8_t tx_dbm; /* power of a set whose host has no preference, for its answer */
    /* A line of text from the host; may be NULL. */
    void (*log)(void *ctx, uint32_t device, const char *text);
    void *ctx;
};

struct sim_controller_counters {
    uint64_t commands;        /* answered */
    uint64_t refused;         /* of those, with a status that is not 0 */
    uint64_t unknown;         /* of those, unknown */
    uint64_t noise;           /* bytes skipped */
    uint64_t reports;         /* queued for the host */
    uint64_t reports_dropped; /* no room: slow host */
    uint64_t resets;          /* HCI Reset and power */
};

/* NULL: out of memory. */
struct sim_controller *sim_controller_open(const struct sim_controller_config *config);
void sim_controller_close(struct sim_controller *c);

/* Off and on again: everything forgotten, queued bytes in both directions too. What a new connection finds. */
void sim_controller_power(struct sim_controller *c, sim_time now);

/* Takes bytes from the host. The medium must have been advanced to now. Returns how many were taken: less than n when
 * the output is full. */
size_t sim_controller_receive(struct sim_controller *c, sim_time now, const uint8_t *bytes, size_t n);

/* Bytes for the host: where they are, and how many; then consumed, all or in part. */
const uint8_t *sim_controller_output(const struct sim_controller *c, size_t *n);
void sim_controller_consume(struct sim_controller *c, size_t n);
/* sim_controller_receive() would take a command. */
bool sim_controller_has_room(const struct sim_controller *c);

/* From the medium's callbacks. `sender` is the controller the reception came from. */
void sim_controller_hear(struct sim_controller *c, const struct sim_controller *sender,
                         const struct sim_reception *reception);
void sim_controller_set_ended(struct sim_controller *c, unsigned set, enum sim_set_end why, uint32_t events);

const struct sim_controller_counters *sim_controller_counters(const struct sim_controller *c);

#endif
