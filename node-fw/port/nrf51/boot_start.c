/*
 * The vector table at address 0. A Cortex-M0 cannot move it, so the bootloader forwards what is an image's to the table
 * that the handover names: every interrupt but TIMER2, SVC and PendSV. Faults, NMI, SysTick (which this part does not
 * have) and TIMER2, the stand-in for the watchdog, stay here.
 */
#include "start.h"

#include "part.h"

void nrf51_forward(void);
void nrf51_fault(void);

/* A fault while the stack pointer is sound: the cause survives in the handover area. If it is not, the core locks up,
 * which resets the part with a reason of its own. */
void nrf51_fault(void)
{
    nrf51_reset(BOOT_CAUSE_CRASH);
}

/*
 * r0 to r3 and r12 were saved by the exception entry, lr holds what ends it, so the image's handler is jumped to and
 * returns to where the interrupt came from. No table yet: a fault. 14 cycles.
 */
__attribute__((naked)) void nrf51_forward(void)
{
    __asm__ volatile("mrs r0, ipsr\n"
                     "lsl r0, r0, #2\n"
                     "ldr r1, =%c0\n"
                     "ldr r1, [r1]\n"
                     "cmp r1, #0\n"
                     "beq 1f\n"
                     "ldr r0, [r1, r0]\n"
                     "bx r0\n"
                     "1: ldr r0, =nrf51_fault\n"
                     "bx r0\n"
                     ".pool\n" ::"i"(NRF51_HANDOVER + offsetof(struct nf_handover, vectors)));
}

#define FORWARD                                                                                                        \
    {                                                                                                                  \
        .handler = nrf51_forward                                                                                       \
    }
#define FAULT                                                                                                          \
    {                                                                                                                  \
        .handler = nrf51_fault                                                                                         \
    }

__attribute__((used, section(".vectors"))) const union nrf51_vector nrf51_vectors[NRF51_VECTORS] = {
    {.stack = nrf51_stack_top},
    {.handler = nrf51_start},
    FAULT, /* NMI */
    FAULT, /* HardFault */
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FORWARD, /* SVC */
    FAULT,
    FAULT,
    FORWARD, /* PendSV */
    FAULT,   /* SysTick */
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    {.handler = nrf51_watchdog_irq}, /* TIMER2 */
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
    FORWARD,
};
_Static_assert(sizeof nrf51_vectors == NRF51_EXPORTS, "exports lie right behind the vectors");
