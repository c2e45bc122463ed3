#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int log_fd = STDOUT_FILENO;

int port_log_start(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

void port_log_to(int fd)
{
    log_fd = fd;
}

void port_log(const char *format, ...)
{
    char line[PORT_LOG_LINE_MAX];
    struct timespec t;
    va_list args;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int n = snprintf(line, sizeof line - 1, "%ld.%03ld ", (long)t.tv_sec, t.tv_nsec / 1000000);
    va_start(args, format);
    const int m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, format, args);
    va_end(args);
    n = m < 0 ? n : n + m;
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(log_fd, line, (size_t)n) < 0)
        return; /* a full disk must not stop a node */
}
