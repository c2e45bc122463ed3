/*
 * Lines of log without printf: text and numbers one after the other, cut at the end of the line. Reentrant.
 *
 *     struct nf_line l;
 *     nf_line_begin(&l, "sensor: ");
 *     nf_line_number(&l, value);
 *     nf_port_log(l.text);
 */
#ifndef NF_LINE_H
#define NF_LINE_H

#include <stddef.h>
#include <stdint.h>

#define NF_LINE_MAX 200 /* with the closing zero */

struct nf_line {
    size_t length;
    char text[NF_LINE_MAX]; /* always closed */
};

void nf_line_begin(struct nf_line *l, const char *text);
void nf_line_text(struct nf_line *l, const char *text);
void nf_line_number(struct nf_line *l, uint32_t value);
void nf_line_signed(struct nf_line *l, int32_t value);
/* At least `digits` hexadecimal digits, 1 to 8. */
void nf_line_hex(struct nf_line *l, uint32_t value, unsigned digits);

#endif
