/*
 * The image of a node on this part: the loop that all ports share, and the application.
 */
#include "fault.h"
#include "map.h"
#include "start.h"
#include "node-fw/port/loop.h"

#ifndef NODE_VERSION
#define NODE_VERSION "0.0.0"
#endif

static uint8_t memory[NF_LOOP_MEMORY(NRF51_SLOT_SIZE, NRF51_PAGE_SIZE)];

int main(void)
{
    nf_loop_run(NODE_APP, NODE_VERSION, memory, sizeof memory);
}
