#include "fault.h"

/* A bad build shows its fault once the radio runs and not before, so that the mesh sees it run and it has every chance
 * to do harm. */

static void start(const struct app_view *view)
{
    app_sensor.start(view);
}

static enum app_verdict selftest(const struct app_view *view)
{
    if (NODE_FAULT == FAULT_SELFTEST)
        return view->radio_runs ? APP_FAILED : APP_PENDING;
    return app_sensor.selftest(view);
}

static mp_time loop(const struct app_view *view)
{
    if (NODE_FAULT == FAULT_HANG && view->radio_runs)
        for (;;)
            __asm__ volatile("wfi");
    if (NODE_FAULT == FAULT_CRASH && view->radio_runs)
        __asm__ volatile("udf #0"); /* undefined: hard fault */
    return app_sensor.loop(view);
}

static bool may_transmit(const struct app_view *view)
{
    return NODE_FAULT != FAULT_MUTE && app_sensor.may_transmit(view);
}

const struct app app_faulty = {.start = start, .selftest = selftest, .loop = loop, .may_transmit = may_transmit};
