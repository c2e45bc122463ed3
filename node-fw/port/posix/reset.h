/*
 * What bootloader and image of a POSIX node tell each other: the environment of an image, and why it ended.
 */
#ifndef PORT_RESET_H
#define PORT_RESET_H

#include "node-fw/boot/boot.h" /* enum boot_cause: its values are the exit statuses of images */

/* Environment of an image. */
#define PORT_ENV_FLASH "NODE_FLASH_FD"       /* open, locked descriptor of the flash file */
#define PORT_ENV_KICK "NODE_KICK_FD"         /* write end of the watchdog pipe, non-blocking: any byte is a kick */
#define PORT_ENV_WATCHDOG "NODE_WATCHDOG_MS" /* longest time between two kicks */
#define PORT_ENV_CAUSE "NODE_RESET_CAUSE"    /* enum boot_cause as a decimal number */
#define PORT_ENV_SLOT "NODE_SLOT"            /* slot the image runs from: 0 or 1 */
#define PORT_ENV_HCI "NODE_HCI"              /* unix:PATH or tty:DEVICE[,BAUD] */

#endif
