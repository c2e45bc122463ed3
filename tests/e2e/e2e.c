#include "e2e.h"

#include <stdio.h>

struct fleet e2e_fleet;

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

int e2e_setup(void **state)
{
    (void)state;
    fleet_failed = fail_test;
    return 0;
}

int e2e_teardown(void **state)
{
    (void)state;
    fleet_close(&e2e_fleet);
    return 0;
}

static const char *scenario(const char *topology, unsigned loss_percent)
{
    static char text[600];
    snprintf(text, sizeof text,
             "[scenario]\nname = test\nseed = 11\n[radio]\nframe_loss = %u %%\n[topology]\n%s"
             "reach = neighbours\nlink_loss = 60 dB\nspacing = 10 m\nfirst = gw\nprefix = n\n",
             loss_percent, topology);
    return text;
}

const char *e2e_line(unsigned nodes, unsigned loss_percent)
{
    char topology[80];
    snprintf(topology, sizeof topology, "kind = line\nnodes = %u\n", nodes + 1);
    return scenario(topology, loss_percent);
}

const char *e2e_grid(unsigned columns, unsigned rows, unsigned loss_percent)
{
    char topology[80];
    snprintf(topology, sizeof topology, "kind = grid\ncolumns = %u\nrows = %u\n", columns, rows);
    return scenario(topology, loss_percent);
}

const char *e2e_room(unsigned nodes, unsigned loss_percent)
{
    static char text[400];
    snprintf(text, sizeof text,
             "[scenario]\nname = test\nseed = 11\n[radio]\nframe_loss = %u %%\n[topology]\nkind = line\nnodes = %u\n"
             "spacing = 2 m\nfirst = gw\nprefix = n\n",
             loss_percent, nodes + 1);
    return text;
}
