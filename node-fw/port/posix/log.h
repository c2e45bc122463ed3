/*
 * One line of log, written at once: seconds of the monotonic clock (all processes of a machine share it), then the
 * text.
 */
#ifndef PORT_LOG_H
#define PORT_LOG_H

#define PORT_LOG_LINE_MAX 400 /* longer lines are cut */

/* Puts /dev/null where standard input, output or error is closed, so that no file opened later takes that number and
 * what is printed goes into it (the flash of a node, say). 0, or -1 with errno. Call first of all. */
int port_log_start(void);
/* Lines go to this descriptor from now on (standard output before). */
void port_log_to(int fd);
__attribute__((format(printf, 1, 2))) void port_log(const char *format, ...);

#endif
