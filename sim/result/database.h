/*
 * Run folders as tables of an SQLite file: run, row, node, curve, each with the id of its run, so that the runs of a
 * sweep can share a file. Read from the folder's CSV files and run.json, which stay the original. Not thread safe.
 */
#ifndef SIM_DATABASE_H
#define SIM_DATABASE_H

#include <stddef.h>

/* Adds the run in `dir` to the file at `path` (made if missing) in one transaction; a run with the same id is replaced.
 * 0, or -1 with a sentence in error; the file then is as before. */
int sim_database_add(const char *path, const char *dir, char *error, size_t cap);

#define SIM_RUN_JSON_MAX (1u << 20)
#define SIM_NUMBER_MAX 9e15 /* larger ones are none of ours; exact in a double */
/* Content of a file of at most max bytes, to be freed, with a terminator; NULL: errno says why (EFBIG: larger). */
char *sim_database_text(const char *path, size_t max);

#endif
