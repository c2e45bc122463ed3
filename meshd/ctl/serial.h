/*
 * A line to a part: a unix socket (emulated parts, a socket of somebody who holds the real line) or a terminal. And the
 * loop that runs serial recovery over it. Blocking; one line a struct.
 */
#ifndef MD_SERIAL_H
#define MD_SERIAL_H

#include "recover.h"

struct md_serial {
    const char *name; /* as given */
    char path[256];
    bool is_tty;
    uint32_t baud;
    int fd; /* -1: not open */
};

/* "unix:PATH" or "tty:DEVICE[,BAUD]" (115,200 without). Opens nothing. 0 or MP_ERR_FORMAT. */
int md_serial_parse(struct md_serial *s, const char *text);
/* 0, or MP_ERR_ABSENT with errno's sentence in error. A terminal is set to raw, 8 data bits, no parity, 1 stop bit, no
 * flow control. */
int md_serial_open(struct md_serial *s, char *error, size_t error_size);
void md_serial_close(struct md_serial *s);

/* Called whenever something has moved, and at least every 200 ms. */
typedef void md_serial_progress(void *ctx, const struct md_recover *r);

/*
 * Runs a started recovery to its end; opens the line if it is not open, and again when it breaks, until the plan's
 * patience ends. The state is in r; when nobody could be reached at all, r is FAILED and silent.
 */
void md_serial_run(struct md_serial *s, struct md_recover *r, md_serial_progress *progress, void *ctx);

/* Microseconds of the monotonic clock. */
mp_time md_serial_now(void);

#endif
