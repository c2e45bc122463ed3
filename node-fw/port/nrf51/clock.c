/*
 * Time from TIMER0 at 1 MHz, 32 bits on this part, extended to 64 bits in software.
 *
 * It runs from the 16 MHz crystal, which UART at 1 Mbaud needs anyway while the controller may send at any time; a
 * product whose controller wakes it by a pin would count with RTC0 at 32,768 Hz while asleep instead. Drift is the
 * crystal's, 40 ppm or better.
 */
#include "part.h"

#define WAIT_CRYSTAL 100000 /* rounds: the crystal takes at most 1.5 ms; without it the RC oscillator goes on */
#define ARM_MAX (600u * 1000000u)

static uint32_t low, high;

void nrf51_clock_start(void)
{
    NRF51_HFCLKSTARTED = 0;
    NRF51_HFCLKSTART = 1;
    for (uint32_t i = 0; i < WAIT_CRYSTAL && NRF51_HFCLKSTARTED == 0; i++)
        ;
    NRF51_TIMER_MODE(0) = 0;
    NRF51_TIMER_BITMODE(0) = NRF51_TIMER_BITMODE_32;
    NRF51_TIMER_PRESCALER(0) = 4;
    NRF51_TIMER_START(0) = 1;
}

static uint32_t capture(void)
{
    NRF51_TIMER_CAPTURE(0, 1) = 1;
    return NRF51_TIMER_CC(0, 1);
}

mp_time nrf51_clock_now(void)
{
    const uint32_t value = capture();
    if (value < low)
        high++;
    low = value;
    return (mp_time)high << 32 | value;
}

bool nrf51_clock_arm(mp_time at)
{
    const mp_time now = nrf51_clock_now();
    if (at <= now)
        return false;
    const uint32_t wait = at - now < ARM_MAX ? (uint32_t)(at - now) : ARM_MAX;
    NRF51_TIMER_CC(0, 0) = (uint32_t)now + wait;
    NRF51_TIMER_COMPARE(0, 0) = 0;
    NRF51_TIMER_INTENSET(0) = NRF51_TIMER_INT(0);
    /* A compare value that the counter reached meanwhile would be met 71 minutes later only. */
    return capture() - (uint32_t)now < wait;
}

void nrf51_clock_irq(void)
{
    NRF51_TIMER_INTENCLR(0) = NRF51_TIMER_INT(0);
    NRF51_TIMER_COMPARE(0, 0) = 0;
}
