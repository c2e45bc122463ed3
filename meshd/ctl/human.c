#include "human.h"

#include <stdio.h>
#include <time.h>

const char *md_human_bytes(uint64_t bytes, char out[MD_HUMAN_MAX])
{
    if (bytes < 1024)
        snprintf(out, MD_HUMAN_MAX, "%u B", (unsigned)bytes);
    else if (bytes < 1024 * 1024)
        snprintf(out, MD_HUMAN_MAX, "%.1f KB", (double)bytes / 1024);
    else
        snprintf(out, MD_HUMAN_MAX, "%.1f MB", (double)bytes / (1024 * 1024));
    return out;
}

const char *md_human_seconds(uint64_t s, char out[MD_HUMAN_MAX])
{
    if (s < 60)
        snprintf(out, MD_HUMAN_MAX, "%us", (unsigned)s);
    else if (s < 3600)
        snprintf(out, MD_HUMAN_MAX, "%um %02us", (unsigned)(s / 60), (unsigned)(s % 60));
    else if (s < 86400)
        snprintf(out, MD_HUMAN_MAX, "%uh %02um", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
    else
        snprintf(out, MD_HUMAN_MAX, "%llud %uh", (unsigned long long)(s / 86400), (unsigned)(s / 3600 % 24));
    return out;
}

const char *md_human_time(int64_t ms, char out[MD_HUMAN_MAX])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (ms <= 0 || localtime_r(&t, &tm) == NULL || strftime(out, MD_HUMAN_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(out, MD_HUMAN_MAX, "-");
    return out;
}

const char *md_human_share(unsigned bp, char out[MD_HUMAN_MAX])
{
    if (bp % 100 == 0)
        snprintf(out, MD_HUMAN_MAX, "%u%%", bp / 100);
    else if (bp % 10 == 0)
        snprintf(out, MD_HUMAN_MAX, "%u.%u%%", bp / 100, bp / 10 % 10);
    else
        snprintf(out, MD_HUMAN_MAX, "%u.%02u%%", bp / 100, bp % 100);
    return out;
}
