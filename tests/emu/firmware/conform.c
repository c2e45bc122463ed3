/*
 * The conformance test as an image of the part: what it says of the nRF51's port, test_conform_part.c reads.
 */
#include "node-fw/port/nrf51/start.h"
#include "node-fw/port/port.h"
#include "tests/port/conformance.h"

/* The emulator's clock is the part's, whatever the port makes of it: not compared. */
static const struct conformance conformance = {.say = conformance_say_link, .has_tester = true, .may_reset = true};

int main(void)
{
    conformance_run(&conformance);
    for (;;)
        nf_port_kick(nf_port_now());
}
