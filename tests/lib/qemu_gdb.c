#include "qemu_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PACKET_MAX = 4096, ANSWER_S = 20, WRITE_MAX = 1024 };

static unsigned sum_of(const char *data, size_t len)
{
    unsigned sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += (uint8_t)data[i];
    return sum & 0xff;
}

/* One byte of the stub's, -1 when none came in time. */
static int next_byte(struct qemu *q, double until)
{
    uint8_t byte;
    for (;;) {
        const ssize_t n = read(q->gdb, &byte, 1);
        if (n == 1)
            return byte;
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            qemu_check_alive(q);
            qemu_fail(q, "the debugger's line is closed");
        }
        if (!qemu_readable(q->gdb, until))
            return -1;
    }
}

/* A packet's text; false when none began in time. Acknowledges it. */
static bool receive(struct qemu *q, char out[PACKET_MAX], double until)
{
    int byte;
    while ((byte = next_byte(q, until)) != '$')
        if (byte < 0)
            return false;
    const double end = qemu_now() + ANSWER_S;
    size_t n = 0;
    while ((byte = next_byte(q, end)) != '#') {
        if (byte < 0 || n + 1 >= PACKET_MAX)
            qemu_fail(q, "the debugger's line broke off in a packet");
        out[n++] = (char)byte;
    }
    out[n] = 0;
    char digits[3] = {0};
    for (unsigned i = 0; i < 2; i++)
        digits[i] = (char)next_byte(q, end);
    if (strtoul(digits, NULL, 16) != sum_of(out, n))
        qemu_fail(q, "a packet on the debugger's line has a wrong checksum: $%s#%s", out, digits);
    qemu_send(q, q->gdb, "+", 1);
    return true;
}

/* Sends a packet and waits until it is acknowledged. */
static void transmit(struct qemu *q, const char *text)
{
    char packet[PACKET_MAX + 8];
    const size_t len = strlen(text);
    const int n = snprintf(packet, sizeof packet, "$%s#%02x", text, sum_of(text, len));
    if (n < 0 || (size_t)n >= sizeof packet)
        qemu_fail(q, "a packet for the debugger's line is too long");
    const double until = qemu_now() + ANSWER_S;
    for (unsigned tries = 0; tries < 3; tries++) {
        int byte;
        qemu_send(q, q->gdb, packet, (size_t)n);
        while ((byte = next_byte(q, until)) != '+' && byte != '-')
            if (byte < 0)
                qemu_fail(q, "the debugger's line does not acknowledge: %.40s", text);
        if (byte == '+')
            return;
    }
    qemu_fail(q, "the debugger's line refuses a packet three times: %.40s", text);
}

static void ask(struct qemu *q, const char *text, char answer[PACKET_MAX])
{
    transmit(q, text);
    if (!receive(q, answer, qemu_now() + ANSWER_S)) {
        qemu_check_alive(q);
        qemu_fail(q, "the debugger's line does not answer: %.40s", text);
    }
}

static void order(struct qemu *q, const char *text)
{
    char answer[PACKET_MAX];
    ask(q, text, answer);
    if (strcmp(answer, "OK") != 0)
        qemu_fail(q, "the debugger's line answers \"%.40s\" to %.40s", answer, text);
}

/* --- line --------------------------------------------------------------------------------------------------------- */

/* Events come on another line than the debugger's news; an answer on that line comes behind all of them. */
static void catch_up(struct qemu *q)
{
    qemu_qmp_do(q, "query-status", NULL);
}

void qemu_gdb_open(struct qemu *q)
{
    char answer[PACKET_MAX];
    if (q->gdb >= 0)
        qemu_fail(q, "the debugger is attached already");
    q->gdb = qemu_connect(q, "g");
    /* Whatever byte comes first stops a part that runs; its answer to '?' is the first that counts. */
    ask(q, "?", answer);
    while (answer[0] != 'T' && answer[0] != 'S')
        if (!receive(q, answer, qemu_now() + ANSWER_S))
            qemu_fail(q, "the debugger's line does not say why the part is stopped");
    catch_up(q);
}

/* Not by a D packet, after which QEMU would run on. */
void qemu_gdb_close(struct qemu *q)
{
    if (q->gdb >= 0)
        close(q->gdb);
    q->gdb = -1;
}

void qemu_gdb_write(struct qemu *q, uint32_t address, const uint8_t *data, size_t len)
{
    char packet[2 * WRITE_MAX + 40];
    while (len > 0) {
        const size_t part = len < WRITE_MAX ? len : WRITE_MAX;
        int n = snprintf(packet, sizeof packet, "M%lx,%zx:", (unsigned long)address, part);
        for (size_t i = 0; i < part; i++)
            n += snprintf(packet + n, sizeof packet - (size_t)n, "%02x", data[i]);
        order(q, packet);
        address += (uint32_t)part;
        data += part;
        len -= part;
    }
}

/* --- registers and places ------------------------------------------------------------------------------------------- */

/* Little-endian hexadecimal word. */
static uint32_t word_at(struct qemu *q, const char *hex)
{
    uint32_t word = 0;
    for (unsigned i = 0; i < 4; i++) {
        char digits[3] = {0}, *end;
        memcpy(digits, hex + 2 * i, 2);
        word |= (uint32_t)strtoul(digits, &end, 16) << (8 * i);
        if (*end != 0)
            qemu_fail(q, "the debugger's line has no register: %.16s", hex);
    }
    return word;
}

/* All of them, as the stub sends them without a description of the target: r0 to r15, eight of 12 bytes and one word
 * that no part has had for long, xPSR. */
static void read_registers(struct qemu *q, uint32_t out[17])
{
    enum { XPSR = (16 + 8 * 3 + 1) * 8 };
    char answer[PACKET_MAX];
    ask(q, "g", answer);
    if (strlen(answer) < XPSR + 8)
        qemu_fail(q, "the debugger's line answers \"%.40s\" to g", answer);
    for (unsigned i = 0; i < 16; i++)
        out[i] = word_at(q, answer + (size_t)8 * i);
    out[16] = word_at(q, answer + XPSR);
}

void qemu_registers(struct qemu *q, uint32_t out[17])
{
    const bool was_attached = q->gdb >= 0, was_running = q->running;
    if (!was_attached)
        qemu_gdb_open(q);
    read_registers(q, out);
    if (!was_attached) {
        qemu_gdb_close(q);
        if (was_running)
            qemu_run(q);
    }
}

void qemu_poke(struct qemu *q, uint32_t address, const void *data, size_t len)
{
    const bool was_attached = q->gdb >= 0, was_running = q->running;
    if (!was_attached)
        qemu_gdb_open(q);
    qemu_gdb_write(q, address, data, len);
    if (!was_attached) {
        qemu_gdb_close(q);
        if (was_running)
            qemu_run(q);
    }
}

void qemu_debug(struct qemu *q)
{
    qemu_gdb_open(q);
    q->places = 0;
}

static void change_place(struct qemu *q, char how, const struct qemu_place *p)
{
    char text[40];
    snprintf(text, sizeof text, "%c%c,%lx,%lx", how, p->kind, (unsigned long)p->address, (unsigned long)p->size);
    order(q, text);
}

static void set_place(struct qemu *q, char kind, uint32_t address, uint32_t size)
{
    const struct qemu_place p = {kind, address, size};
    if (q->places == QEMU_PLACES_MAX)
        qemu_fail(q, "more than %d breakpoints and watched places", QEMU_PLACES_MAX);
    change_place(q, 'Z', &p);
    q->place[q->places++] = p;
}

void qemu_break(struct qemu *q, uint32_t address)
{
    set_place(q, '1', address, 2);
}

void qemu_watch(struct qemu *q, uint32_t address, uint32_t size)
{
    set_place(q, '2', address, size);
}

void qemu_debug_run(struct qemu *q)
{
    /* past the place where it stands, which would stop it again at once */
    if (q->places > 0)
        qemu_debug_step(q, 1);
    transmit(q, "c");
    q->running = true; /* its event may come later */
}

bool qemu_debug_wait(struct qemu *q, int ms, uint32_t *pc)
{
    char answer[PACKET_MAX];
    if (!receive(q, answer, qemu_now() + ms / 1e3))
        return false;
    if (answer[0] != 'T' && answer[0] != 'S')
        qemu_fail(q, "the debugger's line says \"%.40s\" instead of why the part stopped", answer);
    catch_up(q);
    if (pc != NULL) {
        uint32_t registers[17];
        read_registers(q, registers);
        *pc = registers[15];
    }
    return true;
}

void qemu_debug_stop(struct qemu *q)
{
    qemu_send(q, q->gdb, "\x03", 1);
    if (!qemu_debug_wait(q, ANSWER_S * 1000, NULL))
        qemu_fail(q, "the debugger cannot stop it");
}

void qemu_debug_step(struct qemu *q, unsigned instructions)
{
    char answer[PACKET_MAX];
    for (unsigned i = 0; i < q->places; i++)
        change_place(q, 'z', &q->place[i]);
    while (instructions-- > 0)
        ask(q, "s", answer);
    for (unsigned i = 0; i < q->places; i++)
        change_place(q, 'Z', &q->place[i]);
    catch_up(q);
}

void qemu_debug_end(struct qemu *q)
{
    while (q->places > 0)
        change_place(q, 'z', &q->place[--q->places]);
    qemu_gdb_close(q);
}
