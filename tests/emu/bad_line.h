/*
 * A line that goes bad: between an emulated part's UART and its controller in the live air sits a thread that hands on
 * what both say, or does with it what a broken controller would. HCI over H4; packets of the controller are kept whole
 * unless the fault is that they are not.
 *
 *     bad_line_open(&line, part's socket, "DIR/air/n1.sock", seed)
 *     bad_line_set(&line, BAD_FLOOD_REPORTS, 0)   ... and BAD_NOTHING to be a good line again
 *     bad_line_seen(&line, &seen)                 what went over it
 *     bad_line_close(&line)
 *
 * A part is never sent more than it takes: QEMU's UART has no way to overrun it.
 */
#ifndef TESTS_BAD_LINE_H
#define TESTS_BAD_LINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bad_mode {
    BAD_NOTHING,         /* a good line */
    BAD_SPRINKLED,       /* in one of so many packets bytes are changed, inserted or left out */
    BAD_NOISE,           /* bursts of random bytes between packets and inside them */
    BAD_HALF,            /* half of the next packet comes, then nothing */
    BAD_SILENT,          /* takes everything, says nothing */
    BAD_DEAF,            /* takes nothing: its flow control never lets the part send */
    BAD_FLOOD_BYTES,     /* random bytes without end */
    BAD_FLOOD_EVENTS,    /* well-formed events of random kinds, the controller's own among them */
    BAD_FLOOD_REPORTS,   /* advertising reports of other makes of devices, likewise */
    BAD_FLOOD_FOREIGN,   /* advertising reports that look like frames of a mesh, but belong to none, likewise */
    BAD_FLOOD_OVERSIZED, /* events whose inner lengths and counts lie, likewise */
    BAD_MODES
};

struct bad_seen {
    uint64_t to_part, from_part; /* bytes that were read by, and from, the part */
    uint64_t made_up;            /* bytes of those to the part that no controller said */
    unsigned damaged;            /* packets of the controller that did not arrive as they were */
    unsigned resets;             /* of the controller by the part: completed HCI Reset */
    bool scans;                  /* scanning was switched on since then */
    unsigned advertised;         /* advertising events that the controller reported done */
    unsigned reports;            /* advertising reports of the controller */
    unsigned drops;              /* of bad_line_drop() */
};

struct bad_line {
    pthread_t thread;
    pthread_mutex_t lock; /* over what is below */
    int part, air, wake[2];
    char path[108];
    bool stop;
    const char *broken; /* what ended or failed, which nobody asked for; NULL: nothing */
    enum bad_mode mode;
    unsigned one_in; /* BAD_SPRINKLED */
    bool half_done;
    unsigned retries; /* of the connection to the air, since a drop */
    uint32_t random;
    size_t peeked; /* BAD_DEAF: bytes that were looked at, but stay in the part's socket */
    struct bad_seen seen;
    size_t in_len, out_len;
    uint8_t in[512];   /* of the controller, not yet a packet */
    uint8_t out[8192]; /* for the part */
};

/* part stays the caller's. 0, or -1 with errno. seed is of what is random. */
int bad_line_open(struct bad_line *l, int part, const char *air, uint32_t seed);
void bad_line_close(struct bad_line *l);

/* one_in: BAD_SPRINKLED damages one packet in so many. */
void bad_line_set(struct bad_line *l, enum bad_mode mode, unsigned one_in);
/* Puts these bytes (at most 512) between two packets of the controller. */
void bad_line_say(struct bad_line *l, const uint8_t *data, size_t len);
/* The controller's power fails: it forgets everything and says nothing of it. */
void bad_line_drop(struct bad_line *l);
/* What has ended or failed; NULL: nothing. */
const char *bad_line_seen(struct bad_line *l, struct bad_seen *seen);
const char *bad_line_name(enum bad_mode mode);

#endif
