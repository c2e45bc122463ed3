#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum md_log_level threshold = MD_LOG_INFO;
static const char *const names[MD_LOG_LEVELS] = {"error", "warning", "info", "debug"};

void md_log_set(enum md_log_level level)
{
    threshold = level;
}

int md_log_start(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

int md_log_parse(const char *name)
{
    for (int i = 0; i < MD_LOG_LEVELS; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

const char *md_log_name(enum md_log_level level)
{
    return names[level];
}

void md_log(enum md_log_level level, const char *module, const char *format, ...)
{
    if (level > threshold)
        return;
    int saved = errno;
    char line[1100];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s: ", now.tv_nsec / 1000000, names[level], module);
    size_t text = n;
    va_list ap;
    va_start(ap, format);
    int added = vsnprintf(line + n, sizeof line - n - 1, format, ap);
    va_end(ap);
    if (added > 0)
        n += (size_t)added < sizeof line - n - 1 ? (size_t)added : sizeof line - n - 2;
    for (size_t i = text; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    /* one write a line, so that lines of several processes on one pipe do not mix */
    ssize_t done = write(STDERR_FILENO, line, n);
    (void)done;
    errno = saved;
}
