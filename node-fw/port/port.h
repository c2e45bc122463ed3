/*
 * What a port supplies: the few functions between the node's loop (node-fw/port/loop.h) and one part or system.
 *
 * A port implements every function below once, for its part; the loop, the protocol, the update state machine and the
 * bootloader's decision stay as they are. docs/PORTING.md walks through several parts; tests/port runs against any
 * port and says what is wrong with it. One thread calls all of these; interrupts are the port's own business. None of
 * them allocates after nf_port_start().
 */
#ifndef NF_PORT_H
#define NF_PORT_H

#include "node-fw/boot/boot.h" /* enum boot_cause */
#include "node-fw/store/flash.h"
#include "proto/mp_types.h"

/*
 * Starts clock, random numbers, flash and the line to the controller. Called once, first. 0, or an error of
 * enum mp_error: the loop then resets with BOOT_CAUSE_STORAGE.
 */
int nf_port_start(void);

/* --- time --------------------------------------------------------------------------------------------------------- */

/* Microseconds since the reset or an earlier origin. Never goes back, does not stop while asleep; drift at most 500
 * ppm. Callable at any rate. */
mp_time nf_port_now(void);

/*
 * Sleeps until `until` (absolute), in the lowest power state in which the port can still receive. Returns at once when
 * it has passed, within 10 ms after it otherwise, and early on whatever may concern the loop: bytes from the
 * controller, room on the line, the port's own timers. May return early for no reason at all, but not always: a loop
 * with nothing to do must not spin.
 */
void nf_port_sleep(mp_time until);

/*
 * Tells the watchdog that the loop runs; returns when it must be told next at the latest (MP_NEVER: there is none). A
 * port whose watchdog fires resets with BOOT_CAUSE_WATCHDOG. The loop may be busy for 4 s between two calls (a
 * signature on a Cortex-M0 takes one), so no watchdog may be shorter than 5 s.
 */
mp_time nf_port_kick(mp_time now);

/* 32 uniform random bits, fit for nonces: from a hardware source, or a generator seeded by one. */
uint32_t nf_port_random(void);

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* Flash with the rules of flash.h, and where things lie in it. The same struct and contents at every call; the
 * bootloader of this part uses the same values. */
const struct nf_flash *nf_port_flash(void);
const struct nf_layout *nf_port_layout(void);
/* The table of cryptographic functions; on parts with a bootloader of this project, the one that it exports. */
const struct mp_crypto *nf_port_crypto(void);

/* --- the line to the controller: HCI over H4 ---------------------------------------------------------------------- */

/* True while there is a line to write to. A port that cannot know says true. */
bool nf_port_link_is_up(void);
/*
 * Bytes that came from the controller, in order: how many were put into buf, 0 when there are none now, MP_ERR_ABSENT
 * when bytes were lost since the last call, or the line broke or was opened anew: the loop starts the HCI host over
 * then. Reported once for each such event, before any byte that came after it. At least 256 bytes are buffered, and the
 * line's flow control keeps the controller from sending more.
 */
int nf_port_link_read(uint8_t *buf, size_t cap);
/* Gives all of len (at most MP_HCI_COMMAND_MAX) bytes to the line: 0, or MP_ERR_ABSENT when the controller takes none
 * for 100 ms, or not all within a second, or the line is down; some may have left then, the loop starts the HCI host over. Does not keep data. */
int nf_port_link_write(const uint8_t *data, size_t len);

/* --- boot --------------------------------------------------------------------------------------------------------- */

/* Slot that runs: 0 or 1. */
unsigned nf_port_slot(void);
/* Why the part was reset before this start, as the bootloader learned it. */
enum boot_cause nf_port_cause(void);
/* Resets the part, so that the bootloader learns the cause. Does not return. */
_Noreturn void nf_port_reset(enum boot_cause cause);

/* One line of text for a person, without its end of line. A port without a place for it drops it. */
void nf_port_log(const char *line);

#endif
