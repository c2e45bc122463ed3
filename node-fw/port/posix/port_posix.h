/*
 * The port of a node that is a program: port.h over Linux. The bootloader (boot_posix.h) hands flash, watchdog and the
 * controller's address down in the environment (reset.h); a reset is the end of the process with the cause as status.
 */
#ifndef PORT_POSIX_H
#define PORT_POSIX_H

#include "node-fw/port/loop.h"

/* Enough for the largest flash file of the smallest pages; what is not used costs a process nothing. */
#define PORT_STORE_MEMORY NF_LOOP_MEMORY(32u << 20, 1024u)

#endif
