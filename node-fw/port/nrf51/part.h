/*
 * The parts of this port that bootloader and images are both made of. Not reentrant; interrupts touch what uart.c and
 * rng.c keep, and the handover.
 */
#ifndef NRF51_PART_H
#define NRF51_PART_H

#include "layout.h"
#include "regs.h"
#include "node-fw/boot/boot.h"
#include "node-fw/port/exports.h"

/* What lies in the handover area: the contract, and behind it what the bootloader measured, for tests and `make size`.
 * Whoever runs later finds it there. */
struct nrf51_shared {
    struct nf_handover handover;
    uint32_t boot_stack; /* bytes of stack that the bootloader used at most */
    uint32_t boot_us;    /* reset to the start of the image */
    uint32_t early;      /* resets in a row that an image caused soon after its start */
};
_Static_assert(sizeof(struct nrf51_shared) <= NRF51_HANDOVER_SIZE, "the handover area is part of the flash map");
#define NRF51_SHARED ((volatile struct nrf51_shared *)(uintptr_t)NRF51_HANDOVER)

/* --- flash.c -------------------------------------------------------------------------------------------------------- */

extern const struct nf_flash nrf51_flash;

/* --- clock.c -------------------------------------------------------------------------------------------------------- */

/* Starts the crystal and TIMER0 at 1 MHz: the bootloader. An image goes on with its count. */
void nrf51_clock_start(void);
/* Microseconds since the reset. To be called at least once in 71 minutes, never from an interrupt. */
mp_time nrf51_clock_now(void);
/* Makes TIMER0's interrupt come at `at`, or soon when it has passed; at the latest in ten minutes. False: has passed. */
bool nrf51_clock_arm(mp_time at);
void nrf51_clock_irq(void);

/* --- uart.c --------------------------------------------------------------------------------------------------------- */

/* Line of 1 Mbaud, 8N1, RTS and CTS. With interrupts on, what comes is taken in by nrf51_uart_irq(). */
void nrf51_uart_start(void);
/* Contracts: nf_port_link_read() and nf_port_link_write(). */
int nrf51_uart_read(uint8_t *buf, size_t cap);
int nrf51_uart_write(const uint8_t *data, size_t len);
/* nrf51_uart_read() has something to say. */
bool nrf51_uart_has_input(void);
void nrf51_uart_irq(void);

/* --- rng.c ---------------------------------------------------------------------------------------------------------- */

/* 0, or MP_ERR_STATE when no number comes. Needs the clock. */
int nrf51_rng_start(void);
uint32_t nrf51_rng_draw(void);
void nrf51_rng_irq(void);

/* --- watchdog.c: bootloader ------------------------------------------------------------------------------------------ */

#define NRF51_WATCHDOG_S 8
/* Starts the part's watchdog, and a timer that stands in for it where it is not modelled. */
void nrf51_watchdog_start(void);
/* Exported to images. */
void nrf51_watchdog_kick(void);
void nrf51_watchdog_irq(void);

/* --- reset.c -------------------------------------------------------------------------------------------------------- */

_Noreturn void nrf51_reset(enum boot_cause cause);

/* --- stack.c -------------------------------------------------------------------------------------------------------- */

#define NRF51_STACK_PAINT 0x5AC3A53Cu
/* From the linker script: the first word behind the data, and where the stack starts. */
extern uint32_t nrf51_stack_end[], nrf51_stack_top[];
/* Writes NRF51_STACK_PAINT over the stack that is not in use. */
void nrf51_stack_paint(void);
/* Bytes of stack that were used at most since then. Up to the whole stack: it may have run over. */
uint32_t nrf51_stack_peak(void);

/* --- interrupts ----------------------------------------------------------------------------------------------------- */

/* Enables interrupt irq (0 to 31) at priority 0 (highest: the bootloader's) to 3. */
static inline void nrf51_irq_enable(unsigned irq, unsigned priority)
{
    const unsigned shift = irq % 4 * 8;
    NRF51_NVIC_IPR(irq) = (NRF51_NVIC_IPR(irq) & ~(0xFFu << shift)) | priority << (shift + 6);
    NRF51_NVIC_ICPR = 1u << irq;
    NRF51_NVIC_ISER = 1u << irq;
}

#endif
