/*
 * The idle load of benchmarks: nodes of one network without a gateway that run release 1 and each send one SUMMARY a
 * second, at a phase drawn for each. Nothing is wanted, so nothing else is said, and Trickle, which would soon be silent
 * among so many that agree, goes on as it does; the second's SUMMARY is asked for through mp_node_announce(), as a host
 * may. Receiving, neighbour tables and timers are those of any node. The first seconds fill the neighbour tables.
 */
#include "node.h"

#define EVERY MP_SECONDS(1)

static void again(struct sim_fleet *f, sim_time after)
{
    f->m->alarm = f->now + after;
    f->m->alarm_kind = SIM_ALARM_LOAD;
}

void sim_load_start(struct sim_fleet *f)
{
    again(f, sim_scale(sim_engine_random(f->e, f->node), (uint32_t)EVERY));
}

void sim_load_expire(struct sim_fleet *f)
{
    mp_node_announce(&f->n->mp, sim_clock_local(f->m, f->now));
    again(f, EVERY);
}
