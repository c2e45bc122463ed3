/*
 * What lies in the flash of emulated parts.
 */
#ifndef TESTS_DEMO_FLASH_H
#define TESTS_DEMO_FLASH_H

#include "demo.h"

/*
 * Checks, in the flash of every part of this model that is switched on: its boot record is confirmed and boots from slot_of() it; there
 * lies the image of this release, in canonical form the signed payload bit for bit; code in slot A and code in slot B
 * differ in the words of the relocation list alone, by the distance of the slots; and its application counted at least
 * the starts that changed the version that the air saw, and no more than the air saw at all.
 */
void demo_check_flash(struct demo *d, unsigned release, unsigned model, unsigned slot_of(const struct fleet_node *n));

#endif
