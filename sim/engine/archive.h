/*
 * Checkpoint files: a sequence of sections, each with a tag, cut into blocks that carry a length and a checksum.
 *
 *   file     magic "SIMARCH1", blocks, the end block (tag "\0END", length 0)
 *   block    tag (4 bytes; zeros: goes on with the section), length (uint32), bytes, BLAKE2b-128 of the block's number
 *            (uint64, from 0), tag, length and bytes
 *
 * So nothing is handed out that was not verified first, and a file that was cut short is known by its missing end.
 * Written to a temporary file beside the target and renamed when whole, so that a checkpoint is the old one or the new
 * one whatever happens. Values are stored in host byte order; a file from another machine type, another version of the
 * program or another scenario is refused by its first section. Errors are sticky: after the first one every call does
 * nothing and returns it, so that callers may check once, at the end. Not thread safe, reentrant across archives.
 */
#ifndef SIM_ARCHIVE_H
#define SIM_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_archive;

/* Opens for writing or reading. NULL with a sentence in error. */
struct sim_archive *sim_archive_create(const char *path, char *error, size_t cap);
struct sim_archive *sim_archive_open(const char *path, char *error, size_t cap);
/* Writing: flush, sync, rename. Reading: everything must have been read. 0, or -1 with a sentence in error, the first one
 * that came up; freed in either case, and an incomplete file is removed. */
int sim_archive_close(struct sim_archive *a, char *error, size_t cap);
/* Drops a file that is being written, or stops reading. NULL is allowed. */
void sim_archive_abandon(struct sim_archive *a);

/* Begins a section. Reading: the tag (four characters, as "NODE") must be the next one's, and the section before it must
 * have been read to its end. 0 or -1. */
int sim_archive_section(struct sim_archive *a, const char tag[4]);
/* Bytes of the current section. Reading beyond its end is an error. 0 or -1. */
int sim_archive_put(struct sim_archive *a, const void *data, size_t size);
int sim_archive_get(struct sim_archive *a, void *data, size_t size);
/* 64-bit numbers, for counts: get fails above max. */
int sim_archive_put_count(struct sim_archive *a, uint64_t count);
int sim_archive_get_count(struct sim_archive *a, uint64_t *count, uint64_t max);
/* The content cannot be used (a range check of the caller's failed): makes the error sticky. */
int sim_archive_fail(struct sim_archive *a, const char *why);
bool sim_archive_failed(const struct sim_archive *a);
/* The first error's sentence, or an empty string. */
const char *sim_archive_error(const struct sim_archive *a);

#endif
