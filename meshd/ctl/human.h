/*
 * Numbers as people read them. Pure; reentrant. Every function terminates out, which needs 24 bytes.
 */
#ifndef MD_HUMAN_H
#define MD_HUMAN_H

#include <stddef.h>
#include <stdint.h>

#define MD_HUMAN_MAX 24

/* "0 B", "1023 B", "1.5 KB" (1,024 bytes), "16.0 MB" */
const char *md_human_bytes(uint64_t bytes, char out[MD_HUMAN_MAX]);
/* "12s", "3m 05s", "2h 10m", "4d 3h" */
const char *md_human_seconds(uint64_t seconds, char out[MD_HUMAN_MAX]);
/* "2026-01-31 12:00:00" in local time */
const char *md_human_time(int64_t ms, char out[MD_HUMAN_MAX]);
/* Basis points: "25%", "0.5%" */
const char *md_human_share(unsigned bp, char out[MD_HUMAN_MAX]);

#endif
