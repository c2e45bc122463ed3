/*
 * How deep the stack went: what lies between the data and the stack pointer is painted at the start, and looked at later.
 */
#include "part.h"

#define SPARE 32u /* bytes below the stack pointer that painting itself may use */

void nrf51_stack_paint(void)
{
    uint32_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *p = nrf51_stack_end; (uintptr_t)p < here - SPARE; p++)
        *p = NRF51_STACK_PAINT;
}

uint32_t nrf51_stack_peak(void)
{
    const volatile uint32_t *p = nrf51_stack_end;
    while ((uintptr_t)p < (uintptr_t)nrf51_stack_top && *p == NRF51_STACK_PAINT)
        p++;
    return (uint32_t)((uintptr_t)nrf51_stack_top - (uintptr_t)p);
}
