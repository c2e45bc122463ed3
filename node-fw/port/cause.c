#include "cause.h"

const char *nf_cause_name(enum boot_cause cause)
{
    switch (cause) {
    case BOOT_CAUSE_REQUEST:
        return "request";
    case BOOT_CAUSE_POWER:
        return "power";
    case BOOT_CAUSE_SELFTEST:
        return "selftest";
    case BOOT_CAUSE_MUTE:
        return "mute";
    case BOOT_CAUSE_STORAGE:
        return "storage";
    case BOOT_CAUSE_CRASH:
        return "crash";
    case BOOT_CAUSE_WATCHDOG:
        return "watchdog";
    }
    return "unknown";
}
