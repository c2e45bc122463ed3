/*
 * Between the files of the rig for emulated parts (qemu.h): its two lines to QEMU.
 */
#ifndef TESTS_QEMU_INTERNAL_H
#define TESTS_QEMU_INTERNAL_H

#include <cjson/cJSON.h>

#include "qemu.h"

double qemu_now(void); /* seconds, monotonic */
/* Connects to a unix socket, trying until QEMU listens there; the socket, non-blocking. Fails after 10 s. */
int qemu_connect(struct qemu *q, const char *suffix);
/* Waits until the socket is readable: true; or the time, of qemu_now(), has come: false. */
bool qemu_readable(int fd, double until);
/* Sends all of it; fails when QEMU does not take it within 5 s. */
void qemu_send(struct qemu *q, int fd, const void *data, size_t len);
/* Fails if the process has ended. */
void qemu_check_alive(struct qemu *q);
/* Path of one of the part's files, DIR/NAME.SUFFIX. */
void qemu_file(const struct qemu *q, char out[QEMU_PATH_MAX], const char *suffix);

/* --- QMP (QEMU's docs/interop/qmp-spec.txt): lines of JSON ------------------------------------------------------------ */

/* Connects and leaves the negotiation mode. */
void qemu_qmp_open(struct qemu *q);
/* Runs a command with these arguments (NULL: none; taken over): what it returned, for the caller to delete. Takes in
 * events meanwhile. Fails when QEMU refuses. */
cJSON *qemu_qmp_call(struct qemu *q, const char *command, cJSON *arguments);
/* The same, when only success matters. */
void qemu_qmp_do(struct qemu *q, const char *command, cJSON *arguments);
/* Takes in what is there. */
void qemu_qmp_events(struct qemu *q);

/* --- debugger's end (GDB manual, appendix E, remote serial protocol) ---------------------------------------------------- */

/* Connects, which stops the part; disconnects and leaves it stopped. */
void qemu_gdb_open(struct qemu *q);
void qemu_gdb_close(struct qemu *q);
/* Writes memory, flash included, whatever the rules of the part. */
void qemu_gdb_write(struct qemu *q, uint32_t address, const uint8_t *data, size_t len);

#endif
