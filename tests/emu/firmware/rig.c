/*
 * Firmware for the test of the emulation rig itself, for a bare nRF51822: counts its starts in flash, tries the rules
 * of flash, echoes its UART, and sleeps between TIMER interrupts. Addresses: nRF51 Series Reference Manual 3.0,
 * chapters 6 (NVMC), 18 (TIMER), 29 (UART).
 *
 * Flash that it writes: page 0x3F000 one cleared bit a start; 0x3F400 one word written twice; 0x3F404 one word written
 * without permission; page 0x3F800 erased at each start. UART: 'R' resets the part by software, 'W' clears one bit
 * more of the word at 0x3F408, 'F' jumps into nowhere; every byte comes back.
 */
#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

#define AIRCR REG(0xE000ED0C)
#define NVIC_ISER REG(0xE000E100)
#define NVMC_READY REG(0x4001E400)
#define NVMC_CONFIG REG(0x4001E504)
#define NVMC_ERASEPAGE REG(0x4001E508)
#define UART_STARTRX REG(0x40002000)
#define UART_STARTTX REG(0x40002008)
#define UART_RXDRDY REG(0x40002108)
#define UART_TXDRDY REG(0x4000211C)
#define UART_INTENSET REG(0x40002304)
#define UART_ENABLE REG(0x40002500)
#define UART_RXD REG(0x40002518)
#define UART_TXD REG(0x4000251C)
#define TIMER_START REG(0x40008000)
#define TIMER_CLEAR REG(0x4000800C)
#define TIMER_CAPTURE1 REG(0x40008044)
#define TIMER_COMPARE0 REG(0x40008140)
#define TIMER_INTENSET REG(0x40008304)
#define TIMER_BITMODE REG(0x40008508)
#define TIMER_PRESCALER REG(0x40008510)
#define TIMER_CC0 REG(0x40008540)
#define TIMER_CC1 REG(0x40008544)

enum { UART_IRQ = 2, TIMER_IRQ = 8, READ = 0, WRITE = 1, ERASE = 2 };

#define STARTS 0x3F000
#define TWICE 0x3F400
#define REFUSED 0x3F404
#define BITS 0x3F408
#define ERASED 0x3F800

/* For the test to look at; a reset keeps RAM, so each start sets them. */
volatile uint32_t rig_ticks;   /* ms since the start */
volatile uint32_t rig_starts;  /* of this part, this one included */
volatile uint32_t rig_echoed;  /* bytes since the start */
static uint8_t ring[1024];     /* one writer, the interrupt; one reader, main */
static volatile uint32_t head; /* written */
static uint32_t tail;          /* echoed */

void rig_reset(void);
void rig_uart(void);
void rig_timer(void);
void rig_stuck(void);

static void set_mode(uint32_t mode)
{
    NVMC_CONFIG = mode;
    while (NVMC_READY == 0)
        ;
}

static void write_word(uint32_t address, uint32_t word)
{
    set_mode(WRITE);
    REG(address) = word;
    set_mode(READ);
}

static void count_start(void)
{
    rig_starts = 1;
    for (uint32_t address = STARTS; address < STARTS + 1024; address += 4, rig_starts += 32) {
        const uint32_t word = REG(address);
        if (word != 0) {
            uint32_t rest = word;
            for (; (rest & 1) == 0; rest >>= 1)
                rig_starts++;
            write_word(address, word & (word - 1));
            return;
        }
    }
}

static void try_rules(void)
{
    write_word(TWICE, 0xF0F0F0F0);
    write_word(TWICE, 0xFF00FF00);
    REG(REFUSED) = 0;
    set_mode(ERASE);
    NVMC_ERASEPAGE = ERASED;
    set_mode(READ);
}

void rig_uart(void)
{
    while (UART_RXDRDY != 0) {
        UART_RXDRDY = 0;
        ring[head % sizeof ring] = (uint8_t)UART_RXD;
        head++;
    }
}

/* Also keeps the emulator's main loop awake, without which input stalls. The counter runs on freely: one that COMPARE
 * clears loses what passed since, and a next CC that has passed when it is set (an emulator may sleep late) never comes. */
void rig_timer(void)
{
    TIMER_COMPARE0 = 0;
    TIMER_CAPTURE1 = 1;
    TIMER_CC0 = TIMER_CC1 + 1000;
    rig_ticks = TIMER_CC1 / 1000;
}

void rig_stuck(void)
{
    for (;;)
        ;
}

static void answer(uint8_t byte)
{
    UART_TXDRDY = 0;
    UART_TXD = byte;
    while (UART_TXDRDY == 0)
        ;
    rig_echoed++;
    if (byte == 'R')
        AIRCR = 0x05FA0004;
    if (byte == 'W')
        write_word(BITS, REG(BITS) & (REG(BITS) - 1));
    if (byte == 'F')
        ((void (*)(void))0x30000000)();
}

void rig_reset(void)
{
    rig_ticks = rig_echoed = 0;
    head = tail = 0;
    count_start();
    try_rules();
    UART_ENABLE = 4;
    UART_INTENSET = 1u << 2; /* RXDRDY */
    UART_STARTRX = 1;
    UART_STARTTX = 1;
    TIMER_BITMODE = 3;
    TIMER_PRESCALER = 4; /* 1 MHz */
    TIMER_CC0 = 1000;
    TIMER_INTENSET = 1u << 16;
    TIMER_CLEAR = 1;
    TIMER_START = 1;
    NVIC_ISER = 1u << UART_IRQ | 1u << TIMER_IRQ;
    for (;;) {
        while (tail != head)
            answer(ring[tail++ % sizeof ring]);
        __asm volatile("wfi");
    }
}

extern uint32_t rig_stack_top[];
__attribute__((section(".vectors"), used)) static void (*const vectors[48])(void) = {
    [0] = (void (*)(void))(uintptr_t)rig_stack_top,
    [1] = rig_reset,
    [2] = rig_stuck, /* NMI */
    [3] = rig_stuck, /* HardFault */
    [16 + UART_IRQ] = rig_uart,
    [16 + TIMER_IRQ] = rig_timer,
};
