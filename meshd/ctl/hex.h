/*
 * Intel HEX: sparse memory contents as programmers of microcontrollers take them (Intel, "Hexadecimal Object File Format
 * Specification", revision A, 1988). Bytes have 32-bit addresses; a byte is there or not. Reentrant.
 */
#ifndef MD_HEX_H
#define MD_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD_HEX_BYTES_MAX (32u * 1024 * 1024) /* of memory that a hex holds, counted in blocks of 256 */

struct md_hex;

/* NULL: no memory. */
struct md_hex *md_hex_new(void);
void md_hex_free(struct md_hex *h);

/* Puts bytes at an address. 0, MP_ERR_DUPLICATE (another value is there already; nothing is said of which of the bytes
 * were put), MP_ERR_LENGTH (beyond 32 bits), MP_ERR_ROOM. */
int md_hex_put(struct md_hex *h, uint32_t address, const uint8_t *data, size_t len);

/* Copies len bytes from an address on, `fill` where none are. How many were there. */
size_t md_hex_get(const struct md_hex *h, uint32_t address, uint8_t *data, size_t len, uint8_t fill);

/* The first run of bytes at or behind `from`: true, its address and length (longer runs are cut at 256-byte blocks). */
bool md_hex_next(const struct md_hex *h, uint64_t from, uint32_t *address, uint32_t *len);

/*
 * Reads a file's text. Records 00 to 05; start addresses (03, 05) are checked and dropped, nothing may follow the end
 * record but blank lines. What two records give differently is an error. 0, MP_ERR_FORMAT, MP_ERR_ROOM,
 * MP_ERR_DUPLICATE, with a sentence that names the line.
 */
int md_hex_parse(struct md_hex *h, const char *text, size_t len, char *error, size_t error_size);

/* Text of all that is there: ascending, 16 bytes a record, an end record; CR LF ends the lines as the format has it.
 * malloc'd and terminated, *len its length; NULL: no memory. It may hold keys: wipe it before free(). */
char *md_hex_text(const struct md_hex *h, size_t *len);

#endif
