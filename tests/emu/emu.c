#include "emu.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "tests/lib/fleet_process.h"

struct qemu emu_part[EMU_PARTS_MAX];
char emu_dir[QEMU_PATH_MAX / 2];

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

int emu_setup(void **state)
{
    (void)state;
    qemu_failed = fail_test;
    return process_folder(emu_dir, sizeof emu_dir, getenv("EMU_KEEP") != NULL);
}

int emu_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EMU_PARTS_MAX; i++)
        qemu_close(&emu_part[i]);
    process_folder_close();
    return 0;
}

const char *emu_built(const char *name)
{
    static char path[512];
    const char *build = getenv("BUILD");
    snprintf(path, sizeof path, "%s/%s", build != NULL ? build : "build", name);
    return path;
}

struct qemu *emu_open(unsigned i, const char *firmware)
{
    static uint8_t image[QEMU_FLASH_SIZE];
    struct qemu *q = &emu_part[i];
    char name[16];
    snprintf(name, sizeof name, "p%u", i);
    qemu_open(q, &(struct qemu_options){.name = name, .dir = emu_dir});
    memset(image, 0xff, sizeof image);
    qemu_image_file(q, image, 0, firmware);
    qemu_load(q, image, sizeof image);
    return q;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Waits until the socket is ready for these events; false when the time has come. */
static bool ready(int fd, short events, double until)
{
    struct pollfd p = {.fd = fd, .events = events};
    const double left = until - now();
    return left > 0 && poll(&p, 1, (int)(left * 1000) + 1) > 0;
}

bool emu_send(struct qemu *q, const void *data, size_t len, double seconds)
{
    const uint8_t *next = data;
    const double until = now() + seconds;
    const int fd = qemu_serial(q);
    while (len > 0) {
        const ssize_t n = send(fd, next, len, MSG_NOSIGNAL);
        if (n > 0) {
            next += n;
            len -= (size_t)n;
        } else if ((n < 0 && errno != EAGAIN) || !ready(fd, POLLOUT, until)) {
            return false;
        }
    }
    return true;
}

size_t emu_receive(struct qemu *q, void *data, size_t len, double seconds)
{
    uint8_t *next = data;
    size_t got = 0;
    const double until = now() + seconds;
    const int fd = qemu_serial(q);
    while (got < len) {
        const ssize_t n = recv(fd, next + got, len - got, 0);
        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !ready(fd, POLLIN, until))
            break;
    }
    return got;
}
