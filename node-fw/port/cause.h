/*
 * Reset causes for people.
 */
#ifndef NF_CAUSE_H
#define NF_CAUSE_H

#include "node-fw/boot/boot.h"

/* One word (static storage). */
const char *nf_cause_name(enum boot_cause cause);

#endif
