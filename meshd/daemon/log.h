/*
 * The daemon's log: one line an event on stderr, "2026-01-31T12:00:00.123Z level module: text".
 *
 * Control bytes in the text are replaced, so nothing heard from outside can forge a line. Not thread safe: the daemon
 * has one thread.
 */
#ifndef MD_LOG_H
#define MD_LOG_H

enum md_log_level { MD_LOG_ERROR, MD_LOG_WARNING, MD_LOG_INFO, MD_LOG_DEBUG, MD_LOG_LEVELS };

/* Puts /dev/null where standard input, output or error is closed: a connection that took the number of standard error
 * would be sent the log. 0, or -1 with errno. Call first of all. */
int md_log_start(void);
/* Lines above this level are dropped. MD_LOG_INFO at start. */
void md_log_set(enum md_log_level level);
/* "error", "warning", "info", "debug" to a level; -1 for anything else. */
int md_log_parse(const char *name);
const char *md_log_name(enum md_log_level level);
/* Writes one line. Longer than about 1,000 bytes is cut. errno is kept. */
void md_log(enum md_log_level level, const char *module, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
