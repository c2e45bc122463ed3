/*
 * Firmware that answers the questions of tests/emu/crypto_cases.h on a bare nRF51822, with the table that a bootloader
 * exports: questions lie in flash at CRYPTO_QUESTIONS, answers come to be in RAM. Measures what each takes: time in
 * ticks of 62.5 ns (TIMER0; nRF51 Series Reference Manual 3.0, chapter 18), stack by what was overwritten.
 */
#include <stdint.h>

#include "node-fw/port/crypto/crypto_table.h"
#include "tests/emu/crypto_cases.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define TIMER_START REG(0x40008000)
#define TIMER_CLEAR REG(0x4000800C)
#define TIMER_CAPTURE0 REG(0x40008040)
#define TIMER_BITMODE REG(0x40008508)
#define TIMER_PRESCALER REG(0x40008510)
#define TIMER_CC0 REG(0x40008540)

#define PAINT 0xA5C3960Fu

/* For the test to look at. */
struct crypto_answers crypto_answers;
extern const uint8_t crypto_questions[];
extern uint32_t crypto_bss[], crypto_bss_end[], crypto_stack_top[];

void crypto_reset(void);
void crypto_fault(void);

static uint32_t *stack_pointer(void)
{
    uint32_t *sp;
    __asm volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

/* Not inlined: the frame below which everything is painted is that of the runner, above this one. */
__attribute__((noinline)) static void meter_start(void)
{
    for (volatile uint32_t *word = crypto_bss_end, *end = stack_pointer() - 4; word < end; word++)
        *word = PAINT;
    TIMER_CLEAR = 1;
}

__attribute__((noinline)) static struct crypto_cost meter_stop(void)
{
    const uint32_t *word = crypto_bss_end;

    TIMER_CAPTURE0 = 1;
    while (*word == PAINT)
        word++;
    return (struct crypto_cost){TIMER_CC0, (uint32_t)((uintptr_t)stack_pointer() - (uintptr_t)word)};
}

void crypto_fault(void)
{
    crypto_answers.state = CRYPTO_FAULT;
    for (;;)
        __asm volatile("wfi");
}

void crypto_reset(void)
{
    static const struct crypto_meter meter = {meter_start, meter_stop};

    for (volatile uint32_t *word = crypto_bss; word < crypto_bss_end; word++)
        *word = 0;
    TIMER_BITMODE = 3; /* 32 bits */
    TIMER_PRESCALER = 0;
    TIMER_START = 1;
    crypto_cases_run(&crypto_table, &meter, crypto_questions, &crypto_answers);
    for (;;)
        __asm volatile("wfi");
}

__attribute__((section(".vectors"), used)) static void (*const vectors[48])(void) = {
    [0] = (void (*)(void))(uintptr_t)crypto_stack_top,
    [1] = crypto_reset,
    [2] = crypto_fault, /* NMI */
    [3] = crypto_fault, /* HardFault */
};
