/*
 * Start-up common to bootloader and images.
 */
#ifndef NRF51_START_H
#define NRF51_START_H

#include <stdint.h>

/* An entry of a vector table: the initial stack pointer, or a handler. */
union nrf51_vector {
    uint32_t *stack;
    void (*handler)(void);
};

/* Paints the stack, copies data, clears bss, calls main(). */
_Noreturn void nrf51_start(void);

/* Called by it; does not return. */
int main(void);

#endif
