/*
 * The conformance test as an image of the part: what it says of the nRF51's port, test_conform_part.c reads.
 */
#include "node-fw/port/nrf51/start.h"
#include "node-fw/port/port.h"
#include "tests/port/conformance.h"

static const struct conformance conformance = {
    .say = conformance_say_link, .has_tester = true, .may_reset = true, .clock_percent = 5};

int main(void)
{
    conformance_run(&conformance);
    for (;;)
        nf_port_kick(nf_port_now());
}
