#include "part.h"

_Noreturn void nrf51_reset(enum boot_cause cause)
{
    NRF51_SHARED->handover.cause = (uint32_t)cause;
    NRF51_SHARED->handover.cause_check = ~(uint32_t)cause;
    __asm__ volatile("dsb" ::: "memory");
    NRF51_SCB_AIRCR = NRF51_SCB_AIRCR_RESET;
    for (;;)
        __asm__ volatile("dsb");
}
