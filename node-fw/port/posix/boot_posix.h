/*
 * Bootloader of a node that is a program: decides, loads, runs, learns why it ended, decides again.
 *
 * The decision is boot_select()'s. An image is verified in the sealed memory it is executed from, never in flash. An
 * image that ends while its slot is confirmed is started again, with a growing pause if it keeps ending early; one on
 * trial has its three boots and no pause. When nothing boots it says so and waits for a new flash file at the same path
 * (serial recovery).
 */
#ifndef PORT_BOOT_POSIX_H
#define PORT_BOOT_POSIX_H

#include "proto/mp_types.h"

#define PORT_WATCHDOG_MS 5000 /* default */

struct port_boot_options {
    const char *flash;                   /* path */
    const char *hci;                     /* address of the controller for the image, may be NULL */
    int output;                          /* descriptor for the image's output; -1: standard output */
    int stop;                            /* ends everything when readable; -1: nothing does */
    uint32_t watchdog_ms;                /* 50 to 3,600,000 */
    bool once;                           /* one boot, no recovery */
    bool verbose;                        /* say more */
    void (*started)(void *ctx, int pid); /* for tests, may be NULL */
    void *ctx;
};

/* Exit statuses of the bootloader beside 0 (stopped) and, with `once`, the image's enum boot_cause. */
#define PORT_BOOT_USAGE 2
#define PORT_BOOT_FLASH 3    /* the flash file cannot be opened */
#define PORT_BOOT_LOCKED 4   /* another bootloader runs from it */
#define PORT_BOOT_RECOVERY 5 /* nothing boots (only with `once`) */

/* Runs until stopped. An exit status. */
int port_boot_run(const struct port_boot_options *options);

/* Pause before the next boot after `failures` early ends in a row of a confirmed image: 0 for none, then 100 ms
 * doubling to 10 s. */
uint32_t port_boot_backoff_ms(unsigned failures);

#endif
