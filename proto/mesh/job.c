/*
 * Jobs: timers and frames that wait, each with a due time while its bit in `armed` is set. engine.h lists them.
 */
#include "engine.h"

_Static_assert(MP_JOB_COUNT <= 16, "armed has 16 bits");

void mp_job_arm(struct mp_node *n, enum mp_job job, uint32_t at_ms)
{
    n->due_ms[job] = at_ms;
    n->armed = (uint16_t)(n->armed | 1u << job);
}

void mp_job_hasten(struct mp_node *n, enum mp_job job, uint32_t at_ms)
{
    if (!mp_job_is_armed(n, job) || mp_is_before(at_ms, n->due_ms[job]))
        mp_job_arm(n, job, at_ms);
}

void mp_job_disarm(struct mp_node *n, enum mp_job job)
{
    n->armed = (uint16_t)(n->armed & ~(1u << job));
}

bool mp_job_is_armed(const struct mp_node *n, enum mp_job job)
{
    return n->armed >> job & 1;
}

bool mp_job_is_due(const struct mp_call *c, enum mp_job job)
{
    return mp_job_is_armed(c->n, job) && !mp_is_before(c->now_ms, c->n->due_ms[job]);
}
