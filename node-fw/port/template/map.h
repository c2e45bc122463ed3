/*
 * Flash and RAM map of PART (fill in), the binary interface between bootloader, images and provisioning: it never
 * changes for a part in the field. Numbers only, so that linker scripts can read it, too.
 *
 * Unfilled: everything is 0, and the conformance test says so.
 */
#ifndef TEMPLATE_MAP_H
#define TEMPLATE_MAP_H

#define PART_FLASH_SIZE 0 /* bytes; addresses of the seam run from 0, whatever the CPU sees */
#define PART_PAGE_SIZE 0  /* erase unit: 1,024 to 8,192, a power of two. Larger sectors do not fit this store */
#define PART_GRANULE 0    /* program unit: 4, 8, 16 or 32. A smaller one: 4, programmed in pieces */
#define PART_WRITE_ONCE 0 /* 1 when a granule takes one program between erases (ECC) */
#define PART_FLASH_BASE 0 /* where the CPU sees address 0 of the seam */

#define PART_BOOT_SIZE 0   /* the bootloader, at 0, whole pages */
#define PART_BOOT_RECORD 0 /* two pages */
#define PART_SETTINGS 0    /* one page */
#define PART_OBJECTS 0     /* the object log: at least four pages; ten each half is roomy on pages of 1 KB */
#define PART_OBJECTS_SIZE 0
#define PART_SLOT_A 0 /* canonical image, its tree (a fifteenth), and one page for the seal */
#define PART_SLOT_B 0
#define PART_SLOT_SIZE 0

#endif
