/*
 * CRC-32 (IEEE 802.3, reflected, as in zlib) of what boot/ and store/ write. Against torn writes, not against
 * attackers. Reentrant.
 */
#ifndef BOOT_CRC32_H
#define BOOT_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC of len bytes, continuing from crc (0 to start). */
uint32_t boot_crc32(uint32_t crc, const void *data, size_t len);

#endif
