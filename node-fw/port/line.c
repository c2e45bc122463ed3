#include "line.h"

static void put(struct nf_line *l, char c)
{
    if (l->length + 1 < sizeof l->text) {
        l->text[l->length++] = c;
        l->text[l->length] = 0;
    }
}

void nf_line_begin(struct nf_line *l, const char *text)
{
    l->length = 0;
    l->text[0] = 0;
    nf_line_text(l, text);
}

void nf_line_text(struct nf_line *l, const char *text)
{
    while (*text != 0)
        put(l, *text++);
}

void nf_line_number(struct nf_line *l, uint32_t value)
{
    char digits[10];
    unsigned n = 0;

    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    while (n > 0)
        put(l, digits[--n]);
}

void nf_line_signed(struct nf_line *l, int32_t value)
{
    if (value < 0)
        put(l, '-');
    nf_line_number(l, value < 0 ? 0u - (uint32_t)value : (uint32_t)value);
}

void nf_line_hex(struct nf_line *l, uint32_t value, unsigned digits)
{
    static const char digit[] = "0123456789abcdef";
    unsigned n = 8;

    while (n > 1 && n > digits && value >> (4 * n - 4) == 0)
        n--;
    while (n-- > 0)
        put(l, digit[value >> (4 * n) & 15]);
}
