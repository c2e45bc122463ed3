/*
 * The processor of a node that is a program: loads an image into sealed memory, runs it, and tells how it ended.
 *
 * The image's process is the bootloader's child. How it ends is the reset cause, a pipe that it must kick is the
 * watchdog, and the kernel kills it when the bootloader dies. Reentrant; one child a call.
 */
#ifndef PORT_CHILD_H
#define PORT_CHILD_H

#include "reset.h"

/* Reads bytes of the image: 0 or a negative code, which ends the load. */
typedef int port_image_read(void *ctx, uint32_t offset, uint8_t *data, size_t len);

/*
 * Copies an image of `size` bytes into anonymous memory, seals it against every change, and only then compares the
 * SHA-256 of what is sealed. A descriptor to execute, owned by the caller; -EBADMSG: other digest; -EIO: read failed;
 * or another -errno.
 */
int port_image_load(const struct mp_crypto *crypto, port_image_read *read, void *ctx, uint32_t size,
                    const uint8_t sha256[32]);

struct port_child {
    int image;                           /* from port_image_load() */
    unsigned slot;                       /* it came from: 0 or 1 */
    int flash;                           /* descriptor handed to the image */
    int log;                             /* its stdout and stderr; -1: the caller's */
    int stop;                            /* the run ends when this becomes readable; -1: none */
    const char *hci;                     /* may be NULL */
    uint32_t watchdog_ms;                /* from 50 */
    enum boot_cause cause;               /* why it starts */
    void (*started)(void *ctx, int pid); /* may be NULL */
    void *ctx;
};

struct port_end {
    enum boot_cause cause;
    bool stopped; /* `stop` became readable and the image was killed for it; cause means nothing */
    int status;   /* as from waitpid() */
    uint32_t lived_ms;
};

/* Runs the image to its end. 0, or -errno: it was not started. */
int port_child_run(const struct port_child *child, struct port_end *end);

#endif
