/*
 * A result file that grows: bytes gather in memory and are written as a whole at every flush, so that a full disk is
 * noticed there, and what the file then holds ends with a whole record. Rank 0 only; not thread safe.
 */
#ifndef SIM_OUT_H
#define SIM_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_out {
    int fd; /* -1: not open; everything but open then does nothing */
    bool is_text;
    bool failed;
    uint64_t length; /* of what is safely in the file */
    char *path;      /* owned */
    char *data;      /* not yet written */
    size_t size, cap;
    char error[320];
};

/* Creates the file, or takes an old one, which the first flush empties unless a cut says that it goes on. With is_text records are lines, else what was added between two flushes is one record.
 * 0, or -1 with a sentence in out->error. sim_out_close() in either case. */
int sim_out_open(struct sim_out *out, const char *dir, const char *name, bool is_text);
void sim_out_add(struct sim_out *out, const void *data, size_t size);
__attribute__((format(printf, 2, 3))) void sim_out_print(struct sim_out *out, const char *format, ...);
/* A field of a CSV line, quoted as RFC 4180 says where it needs to be. */
void sim_out_field(struct sim_out *out, const char *text);
/* 0, or -1: cannot be written (now or earlier). The file is cut back to whole records. */
int sim_out_flush(struct sim_out *out);
/* Cuts the file (and what was not flushed) to an earlier length, to go on from there. 0 or -1: it is shorter. */
int sim_out_cut(struct sim_out *out, uint64_t length);
/* Flushes and closes. 0 or -1; the error stays readable. */
int sim_out_close(struct sim_out *out);

#endif
