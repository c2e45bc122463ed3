#include "fault.h"

#include <stdlib.h>
#include <unistd.h>

static void start(const struct app_view *view)
{
    app_sensor.start(view);
}

static enum app_verdict selftest(const struct app_view *view)
{
    return NODE_FAULT == FAULT_SELFTEST ? APP_FAILED : app_sensor.selftest(view);
}

static mp_time loop(const struct app_view *view)
{
    /* Only once the radio runs, so that a bad build has every chance to do harm in the mesh. */
    if (NODE_FAULT == FAULT_HANG && view->radio_runs)
        for (;;)
            pause();
    if (NODE_FAULT == FAULT_CRASH && view->radio_runs)
        abort();
    return app_sensor.loop(view);
}

static bool may_transmit(const struct app_view *view)
{
    return NODE_FAULT != FAULT_MUTE && app_sensor.may_transmit(view);
}

const struct app app_faulty = {.start = start, .selftest = selftest, .loop = loop, .may_transmit = may_transmit};
