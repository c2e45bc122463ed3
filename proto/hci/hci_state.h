/*
 * What the files of the HCI host share; not for hosts. Reentrant.
 */
#ifndef MP_HCI_STATE_H
#define MP_HCI_STATE_H

#include "hci.h"
#include "../mp_wire.h"

/* An advertising set, from free to free. */
enum {
    SET_IDLE,     /* can take a frame */
    SET_LOADING,  /* data command outstanding */
    SET_LOADED,   /* enable to be written */
    SET_ENABLING, /* enable outstanding */
    SET_ENDED,    /* terminated before the enable was answered */
    SET_ON,       /* waits for Advertising Set Terminated */
    SET_STOP,     /* did not terminate: disable to be written */
    SET_STOPPING  /* disable outstanding */
};

static inline unsigned hci_sets(const struct mp_hci *h)
{
    return h->config.sets == 2 ? 2u : 1u;
}

/* Writes a command of `length` parameters (left for the caller to fill in) and accounts for it; returns the parameters,
 * or NULL when cap is too small. */
uint8_t *mp_hci_begin(struct mp_hci *h, mp_time now, uint16_t opcode, size_t length, uint8_t *buf, size_t cap);

/* Gives up what is under way and resets the controller after hold_us. */
void mp_hci_recover(struct mp_hci *h, mp_time now, uint32_t hold_us);

/* hci_start.c: the start-up commands, one after the other. write: bytes written or MP_ERR_ROOM; done: the answer to the
 * outstanding one, parameters after the status. */
int mp_hci_start_write(struct mp_hci *h, mp_time now, uint8_t *buf, size_t cap);
void mp_hci_start_done(struct mp_hci *h, mp_time now, uint8_t status, const uint8_t *values, size_t length);

/* hci.c: the answer to an outstanding command in RUN; a set's end. */
void mp_hci_run_done(struct mp_hci *h, mp_time now, uint8_t status);
void mp_hci_set_ended(struct mp_hci *h, mp_time now, uint8_t status, unsigned set);

#endif
