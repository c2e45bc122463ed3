/*
 * The watchdog, owned by the bootloader so that no image can run without one.
 *
 * The part's own counts 8 s, also while the CPU sleeps, and cannot be stopped. An emulator that has none is served by
 * TIMER2, whose interrupt has the highest priority and stays with the bootloader: it counts periods without a kick in
 * the handover area. That one needs interrupts; a hang with interrupts masked ends by the part's own alone. Both run
 * everywhere: the interrupt costs little, and where both work it comes first and so names the cause.
 *
 * The interrupt runs on the image's stack and touches nothing but registers and the handover area: the rest of RAM is
 * the image's.
 */
#include "part.h"

#define TICKS_PER_S 31250u /* 16 MHz / 2^9 */
#define PERIODS_PER_S 4u
#define LIVED_US 20000000u                              /* since the reset */
#define LIMIT ((NRF51_WATCHDOG_S * PERIODS_PER_S) - 2u) /* before the part's own, whose clock is 2% off at worst */

void nrf51_watchdog_start(void)
{
    NRF51_SHARED->handover.missed = 0;
    NRF51_WDT_CONFIG = NRF51_WDT_CONFIG_SLEEP;
    NRF51_WDT_CRV = NRF51_WATCHDOG_S * 32768u - 1;
    NRF51_WDT_RREN = 1;
    NRF51_WDT_START = 1;
    NRF51_WDT_RR0 = NRF51_WDT_RELOAD; /* it may have run on through the reset */
    NRF51_TIMER_MODE(2) = 0;
    NRF51_TIMER_BITMODE(2) = NRF51_TIMER_BITMODE_16;
    NRF51_TIMER_PRESCALER(2) = 9;
    NRF51_TIMER_CC(2, 0) = TICKS_PER_S / PERIODS_PER_S;
    NRF51_TIMER_COMPARE(2, 0) = 0;
    NRF51_TIMER_SHORTS(2) = 1;
    NRF51_TIMER_INTENSET(2) = NRF51_TIMER_INT(0);
    nrf51_irq_enable(NRF51_IRQ_TIMER2, 0);
    NRF51_TIMER_START(2) = 1;
}

/* Also forgets early failures once an image has lived on: exported, so without state of its own. */
void nrf51_watchdog_kick(void)
{
    NRF51_TIMER_CAPTURE(0, 2) = 1;
    if (NRF51_TIMER_CC(0, 2) > LIVED_US)
        NRF51_SHARED->early = 0;
    NRF51_SHARED->handover.missed = 0;
    NRF51_WDT_RR0 = NRF51_WDT_RELOAD;
}

void nrf51_watchdog_irq(void)
{
    NRF51_TIMER_COMPARE(2, 0) = 0;
    if (++NRF51_SHARED->handover.missed >= LIMIT)
        nrf51_reset(BOOT_CAUSE_WATCHDOG);
}
