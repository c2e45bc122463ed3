/*
 * The bootloader: why was the part reset, which slot to boot, and into it. The decision is boot_select()'s; this file
 * is what a part has of its own around it. Written once, by the programmer; node-fw/port/nrf51/boot_main.c is a
 * finished one, with serial recovery.
 */
#include "map.h"
#include "node-fw/port/exports.h"
#include "node-fw/port/port.h"
#include "node-fw/store/store.h"

/* At the start of RAM, which neither start-up code clears; images and this program agree on the address. */
static struct nf_handover handover;

static void kick(void)
{
    nf_port_kick(nf_port_now());
}

/*
 * The table at its fixed address, behind the vectors (section of your linker script). The crypto lies here once, for
 * both slots; libsodium's table for parts is CRYPTO_TABLE in node-fw/port/crypto/crypto_table.h.
 */
extern const struct nf_exports part_exports;
__attribute__((used, section(".exports"))) const struct nf_exports part_exports = {
    .magic = NF_EXPORTS_MAGIC, .version = NF_EXPORTS_VERSION, .size = sizeof(struct nf_exports), .kick = kick};

/*
 * The part's reset reasons first (watchdog, lockup, brown-out): they are of what could not say anything any more. Then
 * what was handed over: valid when cause_check is ~cause. Else BOOT_CAUSE_POWER.
 */
static enum boot_cause read_cause(void)
{
    if (handover.magic != NF_HANDOVER_MAGIC || handover.cause_check != ~handover.cause)
        return BOOT_CAUSE_POWER;
    return (enum boot_cause)handover.cause;
}

/* A key that was revoked is looked at once, before the first boot of an image. */
static int accept(void *ctx, const uint8_t *manifest)
{
    (void)ctx;
    kick(); /* a signature may take a second */
    return nf_store_accept(nf_port_flash(), nf_port_layout(), nf_port_crypto(), manifest);
}

static int verify(void *ctx, unsigned slot, const struct boot_image *image)
{
    (void)ctx, (void)slot;
    kick(); /* hashing a slot may take seconds */
    return boot_image_verify(image, nf_port_crypto());
}

/*
 * Into the image at this address of the seam: what its vector table says, once the stack pointer lies in RAM and the
 * entry in the slot. With a VTOR: write the address of the vectors to it. Without (Cortex-M0): interrupts go on to come
 * here, and are forwarded through handover.vectors. Protect the bootloader's pages from here on, if the part can.
 */
static void jump(uint32_t address)
{
    (void)address; /* returns: the image is not started */
}

static void run(unsigned slot)
{
    struct boot_image image;
    if (boot_image_open(&image, nf_port_flash(), nf_port_layout(), slot, nf_port_crypto(), NULL) != 0)
        return;
    handover.slot = slot;
    jump(PART_FLASH_BASE + image.address + boot_image_start(&image));
}

int main(void)
{
    struct boot_choice choice;
    const enum boot_cause cause = read_cause();
    const struct boot_env env = {.flash = nf_port_flash(),
                                 .layout = nf_port_layout(),
                                 .crypto = nf_port_crypto(),
                                 .verify = verify,
                                 .accept = accept};
    handover = (struct nf_handover){.magic = NF_HANDOVER_MAGIC, .cause = (uint32_t)cause};
    if (nf_port_start() == 0) {
        boot_select(&env, cause, &choice);
        if (choice.slot >= 0)
            run((unsigned)choice.slot);
    }
    for (;;)
        kick(); /* serial recovery (node-fw/boot/recovery.h) belongs here */
}
