/*
 * The image's own vector table. The bootloader takes stack pointer and entry from it and forwards interrupts to the
 * rest; faults never come here.
 */
#include "start.h"

#include "part.h"

/* An interrupt that nobody asked for. */
static void unexpected(void)
{
    nrf51_reset(BOOT_CAUSE_CRASH);
}

#define NONE                                                                                                           \
    {                                                                                                                  \
        .handler = unexpected                                                                                          \
    }
#define IRQ(n) [16 + (n)]

__attribute__((used, section(".vectors"))) const union nrf51_vector nrf51_vectors[NRF51_VECTORS] = {
    {.stack = nrf51_stack_top},
    {.handler = nrf51_start},
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    NONE,
    IRQ(0) = NONE,
    IRQ(1) = NONE,
    IRQ(NRF51_IRQ_UART) = {.handler = nrf51_uart_irq},
    IRQ(3) = NONE,
    IRQ(4) = NONE,
    IRQ(5) = NONE,
    IRQ(6) = NONE,
    IRQ(7) = NONE,
    IRQ(NRF51_IRQ_TIMER0) = {.handler = nrf51_clock_irq},
    IRQ(9) = NONE,
    IRQ(10) = NONE,
    IRQ(11) = NONE,
    IRQ(12) = NONE,
    IRQ(NRF51_IRQ_RNG) = {.handler = nrf51_rng_irq},
    IRQ(14) = NONE,
    IRQ(15) = NONE,
    IRQ(16) = NONE,
    IRQ(17) = NONE,
    IRQ(18) = NONE,
    IRQ(19) = NONE,
    IRQ(20) = NONE,
    IRQ(21) = NONE,
    IRQ(22) = NONE,
    IRQ(23) = NONE,
    IRQ(24) = NONE,
    IRQ(25) = NONE,
    IRQ(26) = NONE,
    IRQ(27) = NONE,
    IRQ(28) = NONE,
    IRQ(29) = NONE,
    IRQ(30) = NONE,
    IRQ(31) = NONE,
};
