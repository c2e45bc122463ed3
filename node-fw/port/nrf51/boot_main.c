/*
 * The bootloader of the part: learns why it was reset, decides which slot to boot (node-fw/boot/boot.h), and starts it
 * where it lies; or waits for help on the serial line when nothing boots or the button is held.
 *
 * It is written once, by the programmer, never over the air. What it exports lies at a fixed address.
 */
#include "board.h"
#include "part.h"
#include "start.h"
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

static const struct boot_env env = {.flash = &nrf51_flash,
                                    .layout = &nrf51_layout,
                                    .crypto = &nrf51_exports.crypto,
                                    .verify = verify,
                                    .accept = accept};

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

static _Noreturn void run(unsigned slot)
{
    const uint32_t *vectors = find_vectors(slot);
    if (vectors == NULL || !is_sound(slot, vectors))
        nrf51_reset(BOOT_CAUSE_CRASH);
    NRF51_SHARED->handover.slot = slot;
    NRF51_SHARED->boot_stack = nrf51_stack_peak();
    NRF51_SHARED->boot_us = (uint32_t)nrf51_clock_now();
    nrf51_watchdog_kick();
    NRF51_SHARED->handover.vectors = (uint32_t)(uintptr_t)vectors;
    jump(vectors[0], vectors[1]);
}

static _Noreturn void recover(void)
{
    for (;;) {
        nrf51_watchdog_kick();
        __asm__ volatile("wfi");
    }
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
    if (choice.slot >= 0)
        run((unsigned)choice.slot);
    recover();
}
