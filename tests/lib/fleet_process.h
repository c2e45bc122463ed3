/*
 * Processes of a fleet: started so that none outlives this one, and the folder they write to.
 */
#ifndef TESTS_FLEET_PROCESS_H
#define TESTS_FLEET_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Makes a temporary folder ($TMPDIR or /tmp) with a caretaker process that removes it (unless it is to be kept) when
 * this process is gone, however it went. 0, or -1 with errno. */
int process_folder(char *out, size_t cap, bool keep);
/* Has it removed now. */
void process_folder_close(void);

/* Starts a program; its output is appended to the file (NULL: goes where this program's goes). It is killed when this
 * process ends. Its id, or -1 with errno. */
pid_t process_start(const char *log, const char *const argv[]);
/* SIGKILL and wait. Harmless with 0. */
void process_kill(pid_t pid);
/* SIGTERM, wait for at most so many milliseconds, then SIGKILL. */
void process_stop(pid_t pid, int ms);
/* Whether it ended by itself; then it is gone, with this exit status (128 + signal). */
int process_ended(pid_t pid, int *status);
int process_is_gone(pid_t pid);
/* Runs a program to its end: its exit status, 128 + signal, or -1. What it wrote to standard output goes to out, cut to
 * cap, terminated; standard error is appended to the file. */
int process_run(char *out, size_t cap, const char *log, const char *const argv[]);
/* The one child of a process, 0 none. */
pid_t process_child(pid_t parent);

/* Prints the last lines of a file. */
void process_tail(const char *path, size_t bytes);

#endif
