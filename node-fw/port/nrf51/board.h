/*
 * Pins: those of Nordic's nRF51 development kit (PCA10028), whose serial line has flow control. Another board changes
 * this file alone.
 */
#ifndef NRF51_BOARD_H
#define NRF51_BOARD_H

#define NRF51_PIN_RTS 8
#define NRF51_PIN_TXD 9
#define NRF51_PIN_CTS 10
#define NRF51_PIN_RXD 11
/* Pressed (low) during a reset: serial recovery. */
#define NRF51_PIN_BUTTON 17

#endif
