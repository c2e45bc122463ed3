/*
 * Where things lie in the flash of a POSIX node. Bootloader and images are built apart and must agree: this layout is
 * their binary interface, it depends on the geometry alone, and never changes for a geometry that is in the field.
 */
#ifndef PORT_LAYOUT_H
#define PORT_LAYOUT_H

#include "node-fw/store/flash.h"

#define PORT_OBJECTS_SIZE (32u * 1024) /* bytes of object log */

/* 0, or NF_FLASH_RANGE when the part is too small for two slots of four pages. */
int port_layout(struct nf_layout *layout, const struct nf_flash *flash);

#endif
