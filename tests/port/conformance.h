/*
 * Conformance test of a port: runs on the part itself, over node-fw/port/port.h alone, and says check by check what is
 * wrong with the port and what the contract asks for. Freestanding, like the node.
 *
 *     static const struct conformance c = {.say = nf_port_log, .may_reset = true};
 *     int main(void) { conformance_run(&c); for (;;) nf_port_kick(nf_port_now()); }
 *
 * It is an image like any other: provisioned into a slot, started by the port's bootloader. It prints one line a check,
 *
 *     ok NAME            FAIL NAME: what is wrong: what the contract says            skip NAME: why
 *
 * and in the end "conformance: N ok, N failed, N skipped". It destroys the other slot and the object log and nothing
 * else; boot record and settings are only looked at. Takes about half a minute; with may_reset it resets the part six
 * times on the way and finds out where it was from the first page of the object log.
 */
#ifndef TESTS_PORT_CONFORMANCE_H
#define TESTS_PORT_CONFORMANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conformance {
    void (*say)(const char *line); /* where the lines go: nf_port_log, conformance_say_link, or the harness's own */
    void (*crash)(void);           /* makes the part crash; NULL: an undefined instruction */
    bool has_tester;               /* the line leads to a tester (tester.h), so that it can be tested */
    bool may_reset;                /* ends and restarts the image, six times */
    uint8_t clock_percent; /* with a tester: the part's clock may differ from its clock by this; 0: not compared */
};

/* Runs everything that is left to run, returns after the last check: the number of failures. Calls nf_port_start(). */
int conformance_run(const struct conformance *c);

/* For parts without another place for lines: as the HCI vendor command that the live air, and the tester, take for a
 * line of log. */
void conformance_say_link(const char *line);

/* What the tester is asked for, as HCI commands of the vendor's group. Numbers little-endian. */
#define CONFORMANCE_ECHO 0xFC02  /* sends the parameters back, raw */
#define CONFORMANCE_SEND 0xFC03  /* u16 count, u16 delay in ms: then sends `count` bytes 0, 1, ..., 250, 0, ... */
#define CONFORMANCE_PAUSE 0xFC04 /* u16 ms: takes nothing for so long, as a controller that hangs */

#endif
