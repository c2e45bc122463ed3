/*
 * What a bootloader of this project exports to the image that it starts, and what the two hand each other (docs/SPEC.md
 * section 14). For parts where both share one address space; a POSIX node needs none of it.
 *
 * The table lies in the bootloader's flash at an address that is part of the port's flash map and never changes. The
 * bootloader is never written over the air, so a table of this version is what every image of this part's life finds:
 * fields are only ever added at the end, `size` tells how many there are.
 */
#ifndef NF_EXPORTS_H
#define NF_EXPORTS_H

#include "proto/mp_types.h"

#define NF_EXPORTS_MAGIC 0x5458454Du /* "MEXT" */
#define NF_EXPORTS_VERSION 1

/* Absolute addresses; every function is reentrant, keeps no state in RAM, and runs on the caller's stack. */
struct nf_exports {
    uint32_t magic;
    uint16_t version;
    uint16_t size; /* bytes of this table */
    struct mp_crypto crypto;
    /* Feeds the watchdog that the bootloader started. */
    void (*kick)(void);
    /* Version of the bootloader: major << 24 | minor << 16 | patch. */
    uint32_t boot_version;
};

/*
 * Handed from bootloader to image and back, at a fixed place in RAM that neither of them clears. The bootloader writes
 * all of it before it starts an image; the image writes `cause` and then `cause_check` before it resets the part.
 */
#define NF_HANDOVER_MAGIC 0x4F444E48u /* "HNDO" */
struct nf_handover {
    uint32_t magic;   /* written by the bootloader: the fields below are valid */
    uint32_t vectors; /* address of the image's vector table: the bootloader forwards interrupts to it; 0 none */
    uint32_t slot;    /* 0 or 1 */
    uint32_t cause;   /* enum boot_cause: of the reset before this start; then, of the one to come */
    uint32_t
        cause_check; /* ~cause when the image (or a fault handler) asked for the reset; anything else: it did not */
    uint32_t missed; /* the stand-in watchdog's: periods without a kick */
};

#endif
