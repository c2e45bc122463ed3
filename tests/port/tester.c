#include "tester.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/mp_wire.h"

#define STALE_US 3000000u    /* half a command this old is the rest of a line that was given up */
#define GIVE_UP_US 10000000u /* the part takes nothing */
enum { CYCLE = 251 };

void tester_init(struct tester *t, void (*line)(void *ctx, const char *text), void *ctx)
{
    memset(t, 0, sizeof *t);
    t->line = line;
    t->ctx = ctx;
}

void tester_drop(struct tester *t)
{
    t->have = 0;
    t->jobs = 0;
}

static void hear(struct tester *t, const uint8_t *text, size_t n)
{
    char line[HCI_PARAMETERS_MAX + 1];

    memcpy(line, text, n);
    line[n] = 0;
    if (sscanf(line, "conformance: %u ok, %u failed, %u skipped", &t->ok, &t->failed, &t->skipped) == 3)
        t->is_done = true;
    t->line(t->ctx, line);
}

static void obey(struct tester *t, uint64_t now, uint16_t opcode, const uint8_t *p, size_t n)
{
    if (opcode == HCI_VENDOR_LOG)
        hear(t, p, n);
    if (opcode == CONFORMANCE_PAUSE && n == 2)
        t->pause_until = now + mp_get16(p) * 1000u;
    if (t->jobs == TESTER_JOBS)
        return;
    struct tester_job *j = &t->job[t->jobs];
    *j = (struct tester_job){.due = now};
    if (opcode == CONFORMANCE_ECHO) {
        j->is_echo = true;
        j->count = (uint32_t)n;
        memcpy(j->data, p, n);
        t->jobs++;
    } else if (opcode == CONFORMANCE_SEND && n == 4) {
        j->count = mp_get16(p);
        j->due += mp_get16(p + 2) * 1000u;
        t->jobs++;
    }
}

void tester_take(struct tester *t, uint64_t now, const uint8_t *data, size_t n)
{
    if (now - t->last > STALE_US)
        t->have = 0;
    t->last = now;
    for (size_t i = 0; i < n; i++) {
        if (t->have == 0 && data[i] != HCI_H4_COMMAND)
            continue;
        t->in[t->have++] = data[i];
        if (t->have < HCI_COMMAND_HEADER || t->have < (size_t)HCI_COMMAND_HEADER + t->in[3])
            continue;
        t->have = 0;
        obey(t, now, (uint16_t)mp_get16(t->in + 1), t->in + HCI_COMMAND_HEADER, t->in[3]);
    }
}

bool tester_is_paused(const struct tester *t, uint64_t now)
{
    return now < t->pause_until;
}

size_t tester_give(struct tester *t, uint64_t now, uint8_t *out, size_t cap)
{
    size_t n = 0;

    while (t->jobs > 0 && t->job[0].due <= now && n < cap) {
        struct tester_job *j = &t->job[0];
        while (j->at < j->count && n < cap) {
            out[n++] = j->is_echo ? j->data[j->at] : (uint8_t)(j->at % CYCLE);
            j->at++;
        }
        if (j->at == j->count)
            memmove(&t->job[0], &t->job[1], --t->jobs * sizeof t->job[0]);
    }
    return n;
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Gives what is due and what the socket takes. */
static bool give(struct tester *t, int fd, uint64_t now)
{
    static const size_t piece = 64;
    uint8_t out[64];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0)
            return true;
        const size_t n = tester_give(t, now, out, piece);
        size_t done = 0;
        if (n == 0)
            return true;
        while (done < n) {
            const ssize_t sent = send(fd, out + done, n - done, MSG_NOSIGNAL);
            if (sent > 0)
                done += (size_t)sent;
            else if (now_us() - now > GIVE_UP_US || (errno != EAGAIN && errno != EINTR))
                return false;
            else
                poll(&p, 1, 100);
        }
    }
}

bool tester_pump(struct tester *t, int fd, int ms)
{
    const uint64_t end = now_us() + (uint64_t)ms * 1000u;

    for (uint64_t now = now_us(); now < end; now = now_us()) {
        uint8_t in[512];
        const bool takes = !tester_is_paused(t, now);
        struct pollfd p = {.fd = fd, .events = takes ? POLLIN : 0};
        if (!give(t, fd, now))
            return false;
        if (poll(&p, 1, t->jobs > 0 ? 1 : 10) <= 0)
            continue;
        const ssize_t n = takes ? read(fd, in, sizeof in) : 0;
        if (n > 0)
            tester_take(t, now_us(), in, (size_t)n);
        else if (takes && (n == 0 || (errno != EAGAIN && errno != EINTR)))
            return false;
        else if (!takes && (p.revents & (POLLHUP | POLLERR)) != 0)
            return false;
    }
    return true;
}
