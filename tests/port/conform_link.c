/*
 * Checks of the line to the controller, with a tester at its other end (tester.h) that echoes, sends and falls silent
 * when it is asked to. What it sends is raw bytes: 0 to 250, over and over.
 */
#include <string.h>

#include "conform.h"
#include "proto/hci/hci_defs.h"
#include "proto/mp_wire.h"

#define COUNT(a) ((unsigned)(sizeof(a) / sizeof *(a)))
#define NO_TESTER CONFORM_SKIP("no tester at the other end of the line")

enum { CYCLE = 251, BUFFERED = 256 };

static int write_command(uint16_t opcode, const uint8_t *parameters, size_t len)
{
    uint8_t command[HCI_COMMAND_MAX] = {HCI_H4_COMMAND};

    mp_put16(command + 1, opcode);
    command[3] = (uint8_t)len;
    memcpy(command + HCI_COMMAND_HEADER, parameters, len);
    return nf_port_link_write(command, HCI_COMMAND_HEADER + len);
}

static int ask(uint16_t opcode, uint16_t a, uint16_t b)
{
    uint8_t parameters[4];

    mp_put16(parameters, a);
    mp_put16(parameters + 2, b);
    return write_command(opcode, parameters, opcode == CONFORMANCE_SEND ? 4 : 2);
}

/* Takes what is there, until nothing has come for `quiet` us. */
static void drain(mp_time quiet)
{
    uint8_t buf[64];
    mp_time end = nf_port_now() + quiet;

    for (unsigned i = 0; i < 1000000 && nf_port_now() < end; i++) {
        conform_breathe();
        if (nf_port_link_read(buf, sizeof buf) != 0)
            end = nf_port_now() + quiet;
        else
            nf_port_sleep(end);
    }
}

/* What reading in pieces of `cap` gave: bytes in order, until `count` are there, something is wrong, or 3 s pass. */
struct got {
    uint32_t count;
    bool is_lost;  /* MP_ERR_ABSENT, or another error */
    bool is_wrong; /* other bytes than were sent, or more than cap */
};

static struct got take(uint32_t count, size_t cap, const uint8_t *expected)
{
    struct got g = {0};
    uint8_t buf[64 + 1];
    const mp_time end = nf_port_now() + MP_SECONDS(3);

    while (g.count < count && !g.is_lost && !g.is_wrong && nf_port_now() < end) {
        buf[cap] = 0x3C;
        const int n = nf_port_link_read(buf, cap);
        g.is_lost = n < 0;
        g.is_wrong = n > (int)cap || buf[cap] != 0x3C;
        for (int i = 0; i < n && !g.is_wrong; i++, g.count++)
            g.is_wrong = g.count >= count || buf[i] != (expected != NULL ? expected[g.count] : g.count % CYCLE);
        conform_breathe();
        if (n == 0)
            nf_port_sleep(nf_port_now() + MP_MS(20));
    }
    return g;
}

static const char *judge(const struct got *g, uint32_t count)
{
    if (g->is_lost)
        return conform_found("nf_port_link_read() says that bytes were lost, but the line was well: after a loss alone",
                             g->count);
    if (g->is_wrong)
        return conform_found("nf_port_link_read() gives other bytes than came: in order, at most cap", g->count);
    if (g->count < count)
        return conform_found("bytes are missing, and nf_port_link_read() did not say so", g->count);
    return NULL;
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

static const char *comes_up(const struct conformance *c)
{
    if (!c->has_tester)
        return NO_TESTER;
    const mp_time end = nf_port_now() + MP_SECONDS(5);
    /* A line that is opened says so once, before any byte. */
    drain(MP_MS(300));
    while (!nf_port_link_is_up() && nf_port_now() < end)
        drain(MP_MS(100));
    if (!nf_port_link_is_up())
        return "nf_port_link_is_up() stays false: true while there is a line to write to";
    for (unsigned i = 0; i < 100; i++) {
        uint8_t byte;
        const int n = nf_port_link_read(&byte, 1);
        if (n != 0)
            return conform_found("nf_port_link_read() does not return 0: when there are no bytes now",
                                 (uint32_t)(n < 0 ? -n : n));
    }
    return NULL;
}

static const char *echoes(const struct conformance *c)
{
    static const uint8_t lengths[] = {1, 2, 3, 63, 64, 65, 127, 255};
    static const uint8_t caps[] = {64, 1, 7};
    uint8_t data[255];

    if (!c->has_tester)
        return NO_TESTER;
    for (unsigned i = 0; i < COUNT(lengths); i++)
        for (unsigned k = 0; k < COUNT(caps); k++) {
            for (unsigned b = 0; b < lengths[i]; b++)
                data[b] = (uint8_t)(nf_port_random() & 0xFF);
            if (write_command(CONFORMANCE_ECHO, data, lengths[i]) != 0)
                return "nf_port_link_write() returns an error, but the tester takes bytes: 0";
            const struct got g = take(lengths[i], caps[k], data);
            const char *verdict = judge(&g, lengths[i]);
            if (verdict != NULL)
                return verdict;
        }
    return NULL;
}

static const char *buffers(const struct conformance *c)
{
    if (!c->has_tester)
        return NO_TESTER;
    if (ask(CONFORMANCE_SEND, BUFFERED, 0) != 0)
        return "nf_port_link_write() returns an error, but the tester takes bytes: 0";
    conform_wait(MP_MS(400)); /* as the loop does while it checks a signature */
    const struct got g = take(BUFFERED, 64, NULL);
    return judge(&g, BUFFERED);
}

static const char *holds_the_controller_back(const struct conformance *c)
{
    enum { MANY = 6000 };
    uint32_t at = 0;

    if (!c->has_tester)
        return NO_TESTER;
    if (ask(CONFORMANCE_SEND, MANY, 0) != 0)
        return "nf_port_link_write() returns an error, but the tester takes bytes: 0";
    uint8_t buf[32];
    const mp_time end = nf_port_now() + MP_SECONDS(20);
    while (at < MANY && nf_port_now() < end) {
        const int n = nf_port_link_read(buf, sizeof buf);
        if (n < 0)
            return conform_found("bytes were lost: the line's flow control keeps the controller from sending more", at);
        for (int i = 0; i < n; i++, at++)
            if (buf[i] != at % CYCLE)
                return conform_found("bytes are missing in a long stream, and nf_port_link_read() did not say so", at);
        conform_wait(MP_MS(2)); /* slower than the line */
    }
    return at < MANY ? conform_found("a long stream stops: room in the buffer lets the controller go on", at) : NULL;
}

static const char *wakes(const struct conformance *c)
{
    if (!c->has_tester)
        return NO_TESTER;
    drain(MP_MS(50));
    if (ask(CONFORMANCE_SEND, 1, 200) != 0)
        return "nf_port_link_write() returns an error, but the tester takes bytes: 0";
    const mp_time start = nf_port_now();
    uint8_t byte;
    int n = 0;
    while (n == 0 && nf_port_now() - start < MP_SECONDS(2)) {
        conform_breathe();
        nf_port_sleep(start + MP_SECONDS(2));
        n = nf_port_link_read(&byte, 1);
    }
    const mp_time took = nf_port_now() - start;
    if (n != 1)
        return conform_found("the tester's byte did not come", (uint32_t)(n < 0 ? -n : n));
    if (took > MP_SECONDS(1))
        return conform_found("nf_port_sleep() does not end when a byte comes (us): early on bytes from the controller",
                             (uint32_t)took);
    return NULL;
}

/* Time until a byte that the tester sends a second later, asleep in between. */
static const char *keeps_time(const struct conformance *c)
{
    if (!c->has_tester || c->clock_percent == 0)
        return CONFORM_SKIP("no tester with a clock of its own");
    drain(MP_MS(50));
    if (ask(CONFORMANCE_SEND, 1, 2000) != 0)
        return "nf_port_link_write() returns an error, but the tester takes bytes: 0";
    const mp_time start = nf_port_now();
    uint8_t byte;
    for (unsigned i = 0; i < 1000000 && nf_port_link_read(&byte, 1) == 0 && nf_port_now() - start < MP_SECONDS(10);
         i++) {
        conform_breathe();
        nf_port_sleep(start + MP_SECONDS(10));
    }
    const uint32_t took = (uint32_t)(nf_port_now() - start), slack = 20000u * c->clock_percent + 20000u;
    if (took + slack < 2000000 || took > 2000000 + slack)
        return conform_found("2 s of the tester are another time (us) here: microseconds, does not stop while asleep",
                             took);
    return NULL;
}

static const char *gives_up(const struct conformance *c)
{
    enum { TRIES = 20000 };
    uint8_t data[255] = {0};
    mp_time longest = 0;
    int rc = 0;

    if (!c->has_tester)
        return NO_TESTER;
    if (ask(CONFORMANCE_PAUSE, 4000, 0) != 0)
        return "nf_port_link_write() returns an error, but the tester takes bytes: 0";
    const mp_time began = nf_port_now();
    conform_wait(MP_MS(100));
    for (unsigned i = 0; i < TRIES && rc == 0 && nf_port_now() - began < MP_SECONDS(3); i++) {
        const mp_time start = nf_port_now();
        conform_breathe();
        rc = write_command(HCI_NOP, data, sizeof data);
        const mp_time took = nf_port_now() - start;
        longest = took > longest ? took : longest;
    }
    const mp_time over = began + MP_MS(6500); /* the tester may have begun its pause late */
    for (unsigned i = 0; i < 1000000 && nf_port_now() < over; i++)
        drain(MP_MS(50));
    comes_up(c); /* whatever became of the line */
    if (rc == 0)
        return "nf_port_link_write() goes on although nothing is taken: MP_ERR_ABSENT after 100 ms";
    if (rc != MP_ERR_ABSENT)
        return conform_found("nf_port_link_write() returns another error than MP_ERR_ABSENT", (uint32_t)-rc);
    if (longest > MP_MS(600))
        return conform_found("nf_port_link_write() waits too long (us) for a controller that takes nothing: 100 ms",
                             (uint32_t)longest);
    return NULL;
}

/* After all that: the line still works. */
static const char *still_echoes(const struct conformance *c)
{
    if (!c->has_tester)
        return NO_TESTER;
    /* What stood in the buffers may have made the tester see half a command: zeros end it, whatever its length. */
    static const uint8_t zeros[HCI_COMMAND_MAX] = {0};
    nf_port_link_write(zeros, sizeof zeros);
    for (unsigned i = 0; i < 2; i++) {
        write_command(HCI_NOP, (const uint8_t *)"", 0);
        drain(MP_MS(200));
    }
    return echoes(c);
}

static const struct conform_case link_cases[] = {
    {"link-up", comes_up},     {"link-echo", echoes},
    {"link-buffer", buffers},  {"link-flow", holds_the_controller_back},
    {"link-wakes", wakes},     {"clock-rate", keeps_time},
    {"link-stalls", gives_up}, {"link-again", still_echoes},
};
const struct conform_group conform_link = {"link", link_cases, COUNT(link_cases)};
