/*
 * Flash and RAM map of the nRF51822 with 256 KB of flash and 16 KB of RAM: the binary interface between bootloader,
 * images and provisioning, which never changes for a part in the field. Read by C and by the linker scripts (which are
 * run through the preprocessor), so it holds nothing but numbers.
 *
 *     flash   0x00000  bootloader, 40 KB; its exports at NRF51_EXPORTS
 *             0x0A000  boot record, two pages
 *             0x0A800  settings, one page
 *             0x0AC00  object log, 21 pages' room, of which 20 are used (groups of ten)
 *             0x10000  slot A, 96 KB
 *             0x28000  slot B, 96 KB
 *     RAM     0x20000000  handover, 64 bytes; then data, bss and arena of whoever runs; the stack from the top down
 */
#ifndef NRF51_MAP_H
#define NRF51_MAP_H

#define NRF51_FLASH_SIZE 0x40000
#define NRF51_PAGE_SIZE 0x400

#define NRF51_BOOT 0x00000
#define NRF51_BOOT_SIZE 0x0A000
#define NRF51_EXPORTS 0x000C0 /* right behind the 48 vectors of the part */

#define NRF51_BOOT_RECORD 0x0A000
#define NRF51_SETTINGS 0x0A800
#define NRF51_OBJECTS 0x0AC00
#define NRF51_OBJECTS_SIZE 0x05000
#define NRF51_SLOT_A 0x10000
#define NRF51_SLOT_B 0x28000
#define NRF51_SLOT_SIZE 0x18000

#define NRF51_RAM 0x20000000
#define NRF51_RAM_SIZE 0x4000
#define NRF51_HANDOVER NRF51_RAM
#define NRF51_HANDOVER_SIZE 0x40
/* What bootloader, protocol and the deepest stack may use in all; the rest is the application's. */
#define NRF51_RAM_BUDGET 0x3000

#endif
