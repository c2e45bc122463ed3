/*
 * The bootloader of the part: learns why it was reset, decides which slot to boot (node-fw/boot/boot.h), and starts it
 * where it lies; or waits for help on the serial line when nothing boots or the button is held.
 *
 * It is written once, by the programmer, never over the air. What it exports lies at a fixed address.
 */
#include "board.h"
#include "part.h"
#include "start.h"
#include "node-fw/boot/recovery.h"
#include "node-fw/port/crypto/crypto_table.h"
#include "node-fw/store/store.h"

#define BOOT_VERSION (1u << 24)

__attribute__((used, section(".exports"))) const struct nf_exports nrf51_exports = {
    .magic = NF_EXPORTS_MAGIC,
    .version = NF_EXPORTS_VERSION,
    .size = sizeof(struct nf_exports),
    .crypto = CRYPTO_TABLE,
    .kick = nrf51_watchdog_kick,
    .boot_version = BOOT_VERSION,
};

/* --- why -------------------------------------------------------------------------------------------------------------- */

/* What was left by whoever asked for the reset; BOOT_CAUSE_POWER when nobody did. */
static enum boot_cause handed_cause(void)
{
    const uint32_t cause = NRF51_SHARED->handover.cause;
    if (NRF51_SHARED->handover.magic != NF_HANDOVER_MAGIC || NRF51_SHARED->handover.cause_check != ~cause)
        return BOOT_CAUSE_POWER;
    return cause == BOOT_CAUSE_REQUEST || (cause >= BOOT_CAUSE_POWER && cause <= BOOT_CAUSE_WATCHDOG)
               ? (enum boot_cause)cause
               : BOOT_CAUSE_CRASH;
}

/* The part's own reasons first: they are of what could not say anything any more. Where they are not modelled, the
 * register reads as a reset by the pin. */
static enum boot_cause read_cause(void)
{
    const uint32_t reasons = NRF51_RESETREAS;
    NRF51_RESETREAS = reasons; /* cleared by writing ones */
    if ((reasons & NRF51_RESETREAS_DOG) != 0)
        return BOOT_CAUSE_WATCHDOG;
    if ((reasons & NRF51_RESETREAS_LOCKUP) != 0)
        return BOOT_CAUSE_CRASH;
    return handed_cause();
}

/* Whether the button is held. The pull-up needs a moment. */
static bool is_button_held(void)
{
    NRF51_GPIO_PIN_CNF(NRF51_PIN_BUTTON) = NRF51_GPIO_PIN_CNF_INPUT | NRF51_GPIO_PIN_CNF_PULLUP;
    const mp_time until = nrf51_clock_now() + 100;
    while (nrf51_clock_now() < until)
        ;
    return (NRF51_GPIO_IN & 1u << NRF51_PIN_BUTTON) == 0;
}

/* --- which ------------------------------------------------------------------------------------------------------------ */

/* Hashing a slot takes seconds, and there may be two: the watchdog is fed before each. */
static int verify(void *ctx, unsigned slot, const struct boot_image *image)
{
    (void)ctx;
    (void)slot;
    nrf51_watchdog_kick();
    return boot_image_verify(image, &nrf51_exports.crypto);
}

static int accept(void *ctx, const uint8_t *manifest)
{
    (void)ctx;
    nrf51_watchdog_kick();
    return nf_store_accept(&nrf51_flash, &nrf51_layout, &nrf51_exports.crypto, manifest);
}

static void kick(void *ctx)
{
    (void)ctx;
    nrf51_watchdog_kick();
}

#define BOOT_ENV                                                                                                       \
    {                                                                                                                  \
        .flash = &nrf51_flash, .layout = &nrf51_layout, .crypto = &nrf51_exports.crypto, .verify = verify,             \
        .accept = accept,                                                                                              \
    }

static const struct boot_env env = BOOT_ENV;

/* --- starting --------------------------------------------------------------------------------------------------------- */

static _Noreturn void jump(uint32_t stack, uint32_t entry)
{
    __asm__ volatile("msr msp, %0\n"
                     "bx %1" ::"r"(stack),
                     "r"(entry));
    __builtin_unreachable();
}

/* The verified image's vector table: where its bytes start, behind the relocation list. */
static const uint32_t *find_vectors(unsigned slot)
{
    struct boot_image image;
    if (boot_image_open(&image, &nrf51_flash, &nrf51_layout, slot, &nrf51_exports.crypto, NULL) != 0)
        return NULL;
    return (const uint32_t *)(uintptr_t)(image.address + boot_image_start(&image));
}

/* Whether stack pointer and entry are such that the image can at least fail properly. */
static bool is_sound(unsigned slot, const uint32_t *vectors)
{
    const uint32_t stack = vectors[0], entry = vectors[1], base = nrf51_layout.slot[slot];
    return stack > NRF51_RAM + NRF51_HANDOVER_SIZE && stack <= NRF51_RAM + NRF51_RAM_SIZE && stack % 8 == 0 &&
           (entry & 1) == 1 && entry > base && entry - base < NRF51_SLOT_SIZE;
}

/* Whatever an image does, the next reset finds this bootloader. An emulator may not model it. */
static void protect(void)
{
    _Static_assert(NRF51_BOOT == 0 && NRF51_BOOT_SIZE % NRF51_MPU_BLOCK == 0, "whole blocks from 0 on");
    NRF51_MPU_PROTENSET0 = (1u << NRF51_BOOT_SIZE / NRF51_MPU_BLOCK) - 1;
}

static _Noreturn void start(unsigned slot, const uint32_t *vectors)
{
    NRF51_SHARED->handover.slot = slot;
    NRF51_SHARED->boot_stack = nrf51_stack_peak();
    NRF51_SHARED->boot_us = (uint32_t)nrf51_clock_now();
    nrf51_watchdog_kick();
    protect();
    NRF51_SHARED->handover.vectors = (uint32_t)(uintptr_t)vectors;
    jump(vectors[0], vectors[1]);
}

/*
 * An image that is confirmed and keeps failing soon after its start is started with a growing pause, 100 ms to 10 s, so
 * that it neither wears flash out (a node counts its starts there) nor floods the air. One on trial has its three boots
 * and no pause.
 */
static void back_off(enum boot_cause cause, const struct boot_record *record)
{
    const uint32_t early = NRF51_SHARED->early;
    if (cause == BOOT_CAUSE_REQUEST || cause == BOOT_CAUSE_POWER || record->state != BOOT_CONFIRMED) {
        NRF51_SHARED->early = 0;
        return;
    }
    const uint32_t pause_ms = early < 7 ? 100u << early : 10000;
    NRF51_SHARED->early = early < 8 ? early + 1 : 8;
    for (const mp_time until = nrf51_clock_now() + MP_MS(pause_ms); nrf51_clock_now() < until;) {
        nrf51_watchdog_kick();
        __asm__ volatile("wfi"); /* the watchdog's timer wakes it up */
    }
}

/* --- recovery --------------------------------------------------------------------------------------------------------- */

/* What interrupts are forwarded to while there is no image. */
static const union nrf51_vector recovery_vectors[16 + NRF51_IRQ_UART + 1] = {
    [16 + NRF51_IRQ_UART] = {.handler = nrf51_uart_irq},
};

static void sleep_until_input(void)
{
    __asm__ volatile("cpsid i" ::: "memory"); /* an interrupt that comes now stays pending and ends the sleep */
    if (!nrf51_uart_has_input())
        __asm__ volatile("dsb\nwfi" ::: "memory");
    __asm__ volatile("cpsie i\nisb" ::: "memory");
}

static _Noreturn void recover(void)
{
    static struct boot_recovery recovery;
    static struct boot_recovery_env recovery_env = {.boot = BOOT_ENV, .kick = kick, .boot_version = BOOT_VERSION};
    uint8_t byte;
    for (unsigned i = 0; i < sizeof recovery_env.part; i++)
        recovery_env.part[i] = (uint8_t)(NRF51_FICR_DEVICEID(i / 4) >> i % 4 * 8);
    boot_recovery_init(&recovery, &recovery_env);
    NRF51_SHARED->handover.vectors = (uint32_t)(uintptr_t)recovery_vectors;
    nrf51_uart_start();
    nrf51_irq_enable(NRF51_IRQ_UART, 1);
    for (;;) {
        nrf51_watchdog_kick();
        if (nrf51_uart_read(&byte, 1) <= 0) {
            sleep_until_input();
            continue;
        }
        const size_t len = boot_recovery_receive(&recovery, byte);
        if (len > 0 && nrf51_uart_write(recovery.frame, len) == 0 && recovery.reset)
            nrf51_reset(BOOT_CAUSE_POWER);
    }
}

/* A trial that cannot even be started has failed, like one that crashes. An image that cannot be started and is home all
 * the same came by serial recovery, for another part: only serial recovery helps. */
static _Noreturn void run(const struct boot_choice *choice)
{
    const uint32_t *vectors = find_vectors((unsigned)choice->slot);
    if (vectors != NULL && is_sound((unsigned)choice->slot, vectors))
        start((unsigned)choice->slot, vectors);
    if (choice->record.state == BOOT_CONFIRMED)
        recover();
    nrf51_reset(BOOT_CAUSE_CRASH);
}

int main(void)
{
    const enum boot_cause cause = read_cause();
    NRF51_SHARED->handover.cause_check = (uint32_t)cause; /* not its complement: nobody asked for the next one yet */
    NRF51_SHARED->handover.vectors = 0;
    NRF51_SHARED->handover.cause = (uint32_t)cause;
    NRF51_SHARED->handover.magic = NF_HANDOVER_MAGIC;
    nrf51_clock_start();
    nrf51_watchdog_start();
    if (is_button_held())
        recover();
    struct boot_choice choice;
    boot_select(&env, cause, &choice);
    if (choice.slot < 0 || !boot_has_settings(&env))
        recover();
    back_off(cause, &choice.record);
    run(&choice);
}
