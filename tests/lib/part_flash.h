/*
 * What the factory puts into an nRF51822: all of its flash, from the bootloader's bytes and the files that meshctl made.
 */
#ifndef TESTS_PART_FLASH_H
#define TESTS_PART_FLASH_H

#include <stdint.h>

#include "node-fw/boot/boot.h"

#define PART_FLASH_SIZE 0x40000u

struct part_flash {
    const char *boot;     /* path of boot.bin */
    const char *settings; /* of `meshctl provision` */
    const char *manifest; /* 200 bytes; NULL: both slots stay blank */
    const char *payload;  /* canonical */
    unsigned slot;        /* that gets the image, and is home: 0 or 1 */
};

/* Fills out. 0, or -1 after a sentence on standard output. */
int part_flash_build(uint8_t out[PART_FLASH_SIZE], const struct part_flash *what);

/* Writes an image with its seal into a slot of such a flash; the boot record stays. 0, or -1 after a sentence. */
int part_flash_install(uint8_t out[PART_FLASH_SIZE], const char *manifest, const char *payload, unsigned slot);

/* Flash over such an image, by the part's rules: a seam for host code that looks into it. It refers to the image. */
struct nf_flash part_flash_over(uint8_t image[PART_FLASH_SIZE]);
const struct nf_layout *part_flash_layout(void);

#endif
