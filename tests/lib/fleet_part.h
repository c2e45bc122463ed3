/*
 * Emulated nRF51822 parts as nodes of a fleet: their UART is the line to a controller of the live air. What fleet.h says
 * of nodes holds for them too; only their flash is looked into here.
 *
 * Set fleet.part_models before the first release for these models.
 */
#ifndef TESTS_FLEET_PART_H
#define TESTS_FLEET_PART_H

#include "fleet.h"
#include "part_flash.h"
#include "qemu.h"

struct fleet_part {
    struct qemu qemu;
    struct fleet_node *node;
    uint8_t flash[PART_FLASH_SIZE]; /* of the factory */
};

/* Enters a node (label NULL: none) and prepares its flash with the release's image for its model in slot 0 or 1; not
 * started. It belongs to the fleet. */
struct fleet_part *fleet_part_add(struct fleet *f, const char *name, unsigned model, const char *label,
                                  unsigned release, unsigned slot);
/* Switches it on with the factory's flash: an emulator of its own, running. */
void fleet_part_start(struct fleet *f, struct fleet_part *p);
/* Switches it off; its flash is lost. Harmless when off. */
void fleet_part_stop(struct fleet_part *p);
/* Ends all parts of a fleet: fleet_close() does it. */
void fleet_parts_close(struct fleet *f);

/* Newest boot record in its flash; false when there is none. */
bool fleet_part_record(struct fleet_part *p, struct boot_record *record);
/* Whether its flash holds the image of this release sealed and whole, in either slot. */
bool fleet_part_holds(struct fleet_part *p, unsigned release);
/* A 32-bit variable of the bootloader or the image, by the name in BUILD/nrf51/STEM.elf. */
uint32_t fleet_part_variable(struct fleet *f, struct fleet_part *p, const char *stem, const char *symbol);

/* Prints what it is and does: boot record, slots, registers, how late it is. fleet_fail() does it for all. */
void fleet_part_tell(struct fleet_part *p);

#endif
