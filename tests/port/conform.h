/*
 * Inside of the conformance test: checks in groups, and what they share.
 */
#ifndef TESTS_PORT_CONFORM_H
#define TESTS_PORT_CONFORM_H

#include "conformance.h"
#include "node-fw/port/port.h"

/* A check: NULL when all is well; a sentence "what is wrong: what the contract says"; or CONFORM_SKIP("why"). */
typedef const char *conform_check(const struct conformance *c);
#define CONFORM_SKIP(why) "~" why

struct conform_case {
    const char *name;
    conform_check *check;
};

/* A group is begun once: when the part resets in the middle of it, the rest of it has failed. */
struct conform_group {
    const char *name;
    const struct conform_case *cases;
    unsigned count;
};

extern const struct conform_group conform_basis, conform_time, conform_random, conform_crypto, conform_flash,
    conform_link;

/* A number that the sentence of the check is followed by: what was found. Returns the sentence. */
const char *conform_found(const char *sentence, uint32_t number);

/* Feeds the watchdog. */
void conform_breathe(void);
/* Waits, awake, with the watchdog fed. */
void conform_wait(mp_time us);

/* The first page of the object log is the driver's; the rest of it, and the other slot, may be destroyed. */

#endif
