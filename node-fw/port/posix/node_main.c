/*
 * node: the program that a POSIX node runs, and the image that the mesh distributes: the node's loop over this port.
 */
#include "fault.h"
#include "port_posix.h"

#ifndef NODE_VERSION
#define NODE_VERSION "0.0.0"
#endif

static uint8_t memory[PORT_STORE_MEMORY];

int main(void)
{
    nf_loop_run(NODE_APP, NODE_VERSION, memory, sizeof memory);
}
