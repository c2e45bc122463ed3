/*
 * What the node's loop asks of a port (node-fw/port/port.h), for an image of this part. The bootloader has started
 * clock, watchdog and crystal; its exports give crypto and the watchdog's kick.
 */
#include "node-fw/port/port.h"

#include "part.h"

#define KICK_EVERY MP_SECONDS(2)

/* At NRF51_EXPORTS, by the linker script. */
extern const struct nf_exports nrf51_exports;

int nf_port_start(void)
{
    if (nrf51_exports.magic != NF_EXPORTS_MAGIC || nrf51_exports.version != NF_EXPORTS_VERSION ||
        nrf51_exports.size < sizeof nrf51_exports || NRF51_SHARED->handover.magic != NF_HANDOVER_MAGIC)
        return MP_ERR_UNSUPPORTED;
    nrf51_uart_start();
    nrf51_irq_enable(NRF51_IRQ_UART, 1);
    nrf51_irq_enable(NRF51_IRQ_TIMER0, 2);
    return nrf51_rng_start();
}

mp_time nf_port_now(void)
{
    return nrf51_clock_now();
}

/*
 * Interrupts are masked while it is decided whether there is anything to do; one that comes then stays pending, and
 * WFI returns at once for a pending interrupt, masked or not. So none is missed. The bootloader's timer wakes it up
 * four times a second in any case, which an emulated part needs to take input after a reset.
 */
void nf_port_sleep(mp_time until)
{
    bool slept = true;
    while (slept) {
        __asm__ volatile("cpsid i" ::: "memory");
        slept = !nrf51_uart_has_input() && nrf51_clock_arm(until);
        if (slept)
            __asm__ volatile("dsb\nwfi" ::: "memory");
        __asm__ volatile("cpsie i\nisb" ::: "memory");
    }
}

/* A stack that grew into the data is found here, not by what it does to it. */
mp_time nf_port_kick(mp_time now)
{
    if (*(volatile uint32_t *)nrf51_stack_end != NRF51_STACK_PAINT)
        nrf51_reset(BOOT_CAUSE_CRASH);
    nrf51_exports.kick();
    return now + KICK_EVERY;
}

uint32_t nf_port_random(void)
{
    return nrf51_rng_draw();
}

const struct nf_flash *nf_port_flash(void)
{
    return &nrf51_flash;
}

const struct nf_layout *nf_port_layout(void)
{
    return &nrf51_layout;
}

const struct mp_crypto *nf_port_crypto(void)
{
    return &nrf51_exports.crypto;
}

/* The wires do not tell whether a controller is there. */
bool nf_port_link_is_up(void)
{
    return true;
}

int nf_port_link_read(uint8_t *buf, size_t cap)
{
    return nrf51_uart_read(buf, cap);
}

int nf_port_link_write(const uint8_t *data, size_t len)
{
    return nrf51_uart_write(data, len);
}

unsigned nf_port_slot(void)
{
    return NRF51_SHARED->handover.slot & 1;
}

enum boot_cause nf_port_cause(void)
{
    return (enum boot_cause)NRF51_SHARED->handover.cause;
}

_Noreturn void nf_port_reset(enum boot_cause cause)
{
    nrf51_reset(cause);
}

/* No place for it: the one serial line is the controller's. */
void nf_port_log(const char *line)
{
    (void)line;
}
