/*
 * Byte stream to a Bluetooth LE controller: a unix socket or a serial line, opened again when lost.
 *
 * Non-blocking throughout; the host polls fd, feeds what read() gives to the HCI host and puts what that writes. A
 * controller that goes away, or stops taking bytes, costs the connection only: the next try comes after 50 ms, doubling
 * to 2 s. The host ignores SIGPIPE. Not thread safe per struct.
 */
#ifndef PORT_LINK_H
#define PORT_LINK_H

#include "proto/mp_types.h"

#define PORT_LINK_QUEUE 2048 /* bytes that may wait for the controller */
#define PORT_LINK_ADDRESS_MAX 120

struct port_link {
    int fd; /* -1 while closed */
    char address[PORT_LINK_ADDRESS_MAX];
    mp_time retry_at; /* MP_NEVER while open */
    mp_time backoff;
    uint32_t losses;
    size_t queued;
    uint8_t queue[PORT_LINK_QUEUE];
};

/* address: unix:PATH or tty:DEVICE[,BAUD] (default 1000000, RTS/CTS). The first try is due at once. 0 or MP_ERR_FORMAT.
 */
int port_link_init(struct port_link *l, const char *address, mp_time now);
void port_link_close(struct port_link *l);

/* Opens if that is due. True when it has just been opened: start the HCI host anew. */
bool port_link_expire(struct port_link *l, mp_time now);

/* Bytes received, 0: none now, MP_ERR_ABSENT: closed (by this very call, too). */
int port_link_read(struct port_link *l, mp_time now, uint8_t *buf, size_t cap);

/* Sends or queues all of it; while closed, or when the queue is full (then it closes), the bytes are dropped. */
void port_link_put(struct port_link *l, mp_time now, const uint8_t *data, size_t len);

/* Sends what is queued: call when fd is writable. */
void port_link_flush(struct port_link *l, mp_time now);

/* When port_link_expire() has something to do; MP_NEVER while open. */
mp_time port_link_next_expiry(const struct port_link *l);

#endif
