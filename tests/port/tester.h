/*
 * The other end of the line for the conformance test (conformance.h): takes its lines, echoes, sends, falls silent.
 * Sans-IO; tester_pump() moves bytes between it and a socket. For hosts.
 */
#ifndef TESTS_PORT_TESTER_H
#define TESTS_PORT_TESTER_H

#include "conformance.h"
#include "proto/hci/hci_defs.h"

enum { TESTER_JOBS = 8 };

struct tester {
    void (*line)(void *ctx, const char *text); /* a line of the test */
    void *ctx;
    uint64_t pause_until; /* takes nothing before, us */
    uint64_t last;        /* bytes came then */
    size_t have;
    uint8_t in[HCI_COMMAND_MAX];
    /* What is to be sent, in order. */
    struct tester_job {
        uint64_t due;
        uint32_t count, at;
        bool is_echo;
        uint8_t data[HCI_PARAMETERS_MAX];
    } job[TESTER_JOBS];
    unsigned jobs;
    bool is_done;                 /* the closing line came */
    unsigned ok, failed, skipped; /* as it says */
};

void tester_init(struct tester *t, void (*line)(void *ctx, const char *text), void *ctx);
/* Takes bytes of the part. now: us, any origin. Nothing may be handed in while it pauses. */
void tester_take(struct tester *t, uint64_t now, const uint8_t *data, size_t n);
bool tester_is_paused(const struct tester *t, uint64_t now);
/* Bytes for the part that are due, at most cap. */
size_t tester_give(struct tester *t, uint64_t now, uint8_t *out, size_t cap);
/* The connection was lost: what was under way is forgotten. */
void tester_drop(struct tester *t);

/* Moves bytes for at most ms; false when the other end has closed. The clock is the host's. */
bool tester_pump(struct tester *t, int fd, int ms);

#endif
