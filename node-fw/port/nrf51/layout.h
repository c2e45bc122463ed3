/*
 * Where things lie in the part's flash (map.h) as the bootloader, the images, and whoever prepares a flash image for it
 * see it. Also compiled on hosts.
 */
#ifndef NRF51_LAYOUT_H
#define NRF51_LAYOUT_H

#include "map.h"
#include "node-fw/store/flash.h"

extern const struct nf_layout nrf51_layout;

#endif
