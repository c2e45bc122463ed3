/*
 * Reads CSV as RFC 4180 has it, one record at a time, in memory that does not grow with the file. Reentrant across
 * readers.
 */
#ifndef SIM_CSV_H
#define SIM_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_CSV_FIELDS_MAX 64
#define SIM_CSV_RECORD_MAX 8192 /* bytes of a record's fields, their terminators included */

struct sim_csv {
    FILE *file; /* owned */
    unsigned count;
    const char *field[SIM_CSV_FIELDS_MAX]; /* of the record last read; valid until the next */
    unsigned head_count;
    char *head[SIM_CSV_FIELDS_MAX]; /* of the first record */
    uint64_t record;                /* number of the record last read, the head is 0 */
    char text[SIM_CSV_RECORD_MAX];
};

/* Opens a file and reads its head; or takes an open one. 0, or -1: errno says why (EINVAL: no head). sim_csv_close() in
 * either case. */
int sim_csv_open(struct sim_csv *csv, const char *path);
int sim_csv_take(struct sim_csv *csv, FILE *file);
void sim_csv_close(struct sim_csv *csv);
/* The next record: true, or false at the end. A last record without its newline, too long, or with too many fields or
 * another number of them than the head, ends the file: it is what is left of a write that was cut. */
bool sim_csv_next(struct sim_csv *csv);
/* Column of a name in the head, or -1. */
int sim_csv_column(const struct sim_csv *csv, const char *name);
/* A column's text of the record, "" when column is -1. */
const char *sim_csv_text(const struct sim_csv *csv, int column);
/* As a number; other when empty, not a number or out of range. */
uint64_t sim_csv_number(const struct sim_csv *csv, int column, uint64_t other);
int64_t sim_csv_signed(const struct sim_csv *csv, int column, int64_t other);

#endif
