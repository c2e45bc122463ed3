/*
 * The port over Zephyr (3.7 and later): port.h with Zephyr's flash, UART, watchdog, random and hardware information
 * drivers, and MCUboot as the bootloader (node-fw/port/mcuboot).
 *
 *     int main(void) { nf_zephyr_run(&my_app, APP_VERSION_STRING); }
 *
 * The devicetree says where things lie: slot0_partition and slot1_partition as for MCUboot; meshfw_record_partition (two
 * pages), meshfw_settings_partition (one), meshfw_objects_partition (four or more), and meshfw_seals_partition (two,
 * none with direct-XIP), all on one flash device of equal pages. Chosen: meshfw,hci-uart, with hw-flow-control; may be
 * missing: meshfw,handover, a retention area of 8 bytes for the cause of a reset; alias watchdog0.
 */
#ifndef NF_ZEPHYR_H
#define NF_ZEPHYR_H

#include "node-fw/port/loop.h"

/* Runs the node on the calling thread, which needs about 5 KB of stack: an Ed25519 check is the deepest. */
_Noreturn void nf_zephyr_run(const struct app *app, const char *version);

/* Between the files of this folder. Each: 0, or an error of enum mp_error. */
int nf_zephyr_flash_start(void);
int nf_zephyr_uart_start(void);
/* True when there is something to read. */
bool nf_zephyr_uart_has_input(void);
/* Wakes nf_port_sleep(); from interrupts, too. */
void nf_zephyr_wake(void);

#endif
