#include "hex.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_types.h"

enum { BLOCK = 256, LINE = 16, RECORD_MAX = 255, BLOCKS_MAX = MD_HEX_BYTES_MAX / BLOCK };
enum { DATA = 0, END = 1, SEGMENT = 2, START_SEGMENT = 3, LINEAR = 4, START_LINEAR = 5 };

struct block {
    uint32_t address; /* a multiple of BLOCK */
    uint8_t data[BLOCK];
    uint8_t there[BLOCK / 8];
};

struct md_hex {
    struct block **block; /* by address */
    size_t count, room;
};

struct md_hex *md_hex_new(void)
{
    return calloc(1, sizeof(struct md_hex));
}

void md_hex_free(struct md_hex *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; i < h->count; i++) {
        sodium_memzero(h->block[i], sizeof *h->block[i]); /* a part's settings hold keys */
        free(h->block[i]);
    }
    free(h->block);
    free(h);
}

/* Index of the first block whose address is not below. */
static size_t find(const struct md_hex *h, uint32_t address)
{
    size_t low = 0, high = h->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->block[middle]->address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The block at an address that is a multiple of BLOCK, made if it is not there. NULL: no room. */
static struct block *take(struct md_hex *h, uint32_t address)
{
    size_t at = find(h, address);
    if (at < h->count && h->block[at]->address == address)
        return h->block[at];
    if (h->count == BLOCKS_MAX)
        return NULL;
    if (h->count == h->room) {
        size_t room = h->room == 0 ? 64 : 2 * h->room;
        struct block **more = realloc(h->block, room * sizeof(struct block *));
        if (more == NULL)
            return NULL;
        h->block = more;
        h->room = room;
    }
    struct block *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->address = address;
    memmove(h->block + at + 1, h->block + at, (h->count - at) * sizeof(struct block *));
    h->block[at] = b;
    h->count++;
    return b;
}

static bool is_there(const struct block *b, unsigned i)
{
    return (b->there[i / 8] >> i % 8 & 1) != 0;
}

int md_hex_put(struct md_hex *h, uint32_t address, const uint8_t *data, size_t len)
{
    struct block *b = NULL;
    if (len > 0 && len - 1 > UINT32_MAX - address)
        return MP_ERR_LENGTH;
    for (size_t k = 0; k < len; k++, address++) {
        unsigned i = address % BLOCK;
        if (b == NULL || i == 0)
            b = take(h, address - i);
        if (b == NULL)
            return MP_ERR_ROOM;
        if (is_there(b, i) && b->data[i] != data[k])
            return MP_ERR_DUPLICATE;
        b->data[i] = data[k];
        b->there[i / 8] |= (uint8_t)(1u << i % 8);
    }
    return MP_OK;
}

size_t md_hex_get(const struct md_hex *h, uint32_t address, uint8_t *data, size_t len, uint8_t fill)
{
    size_t found = 0, at = find(h, address - address % BLOCK);
    memset(data, fill, len);
    for (; at < h->count; at++) {
        const struct block *b = h->block[at];
        for (unsigned i = 0; i < BLOCK; i++) {
            uint64_t offset = (uint64_t)b->address + i - address;
            if ((uint64_t)b->address + i < address || !is_there(b, i))
                continue;
            if (offset >= len)
                return found;
            data[offset] = b->data[i];
            found++;
        }
    }
    return found;
}

bool md_hex_next(const struct md_hex *h, uint64_t from, uint32_t *address, uint32_t *len)
{
    if (from > UINT32_MAX)
        return false;
    for (size_t at = find(h, (uint32_t)from - (uint32_t)from % BLOCK); at < h->count; at++) {
        const struct block *b = h->block[at];
        for (unsigned i = b->address < from ? (unsigned)(from - b->address) : 0; i < BLOCK; i++) {
            if (!is_there(b, i))
                continue;
            unsigned end = i;
            while (end < BLOCK && is_there(b, end))
                end++;
            *address = b->address + i;
            *len = end - i;
            return true;
        }
    }
    return false;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

struct parser {
    struct md_hex *h;
    uint32_t base;   /* of the newest extended address */
    bool is_segment; /* base came from a segment: offsets wrap within 64 KB */
    bool ended;
    unsigned line;
    char *error;
    size_t error_size;
};

static int complain(const struct parser *p, int code, const char *what)
{
    if (p->error_size > 0)
        snprintf(p->error, p->error_size, "line %u: %s", p->line, what);
    return code;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int put_data(struct parser *p, uint32_t offset, const uint8_t *data, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        uint64_t address = (uint64_t)p->base + (p->is_segment ? (offset + i) & 0xFFFF : offset + i);
        int code = address > UINT32_MAX ? MP_ERR_FORMAT : md_hex_put(p->h, (uint32_t)address, data + i, 1);
        if (code == MP_ERR_FORMAT)
            return complain(p, code, "data beyond the end of memory");
        if (code == MP_ERR_DUPLICATE)
            return complain(p, code, "other data was there already");
        if (code != MP_OK)
            return complain(p, code, "too much data");
    }
    return MP_OK;
}

/* bytes: count, address, type, data, checksum; n of them. */
static int take_record(struct parser *p, const uint8_t *bytes, unsigned n)
{
    const uint8_t *data = bytes + 4;
    unsigned len = bytes[0], sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += bytes[i];
    if (n != len + 5)
        return complain(p, MP_ERR_FORMAT, "the record's length is not what it says");
    if ((sum & 0xFF) != 0)
        return complain(p, MP_ERR_FORMAT, "wrong checksum");
    switch (bytes[3]) {
    case DATA:
        return put_data(p, (uint32_t)(bytes[1] << 8 | bytes[2]), data, len);
    case END:
        p->ended = true;
        return len == 0 ? MP_OK : complain(p, MP_ERR_FORMAT, "an end record with data");
    case SEGMENT:
    case LINEAR:
        if (len != 2)
            return complain(p, MP_ERR_FORMAT, "an address record without its two bytes");
        p->is_segment = bytes[3] == SEGMENT;
        p->base = (uint32_t)(data[0] << 8 | data[1]) << (p->is_segment ? 4 : 16);
        return MP_OK;
    case START_SEGMENT:
    case START_LINEAR:
        return len == 4 ? MP_OK : complain(p, MP_ERR_FORMAT, "a start address without its four bytes");
    default:
        return complain(p, MP_ERR_FORMAT, "a record of an unknown type");
    }
}

/* A line without its end. */
static int take_line(struct parser *p, const char *line, size_t len)
{
    uint8_t bytes[RECORD_MAX + 5];
    unsigned n = 0;
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    if (len == 0)
        return MP_OK;
    if (p->ended)
        return complain(p, MP_ERR_FORMAT, "something behind the end record");
    if (line[0] != ':')
        return complain(p, MP_ERR_FORMAT, "it does not begin with a colon");
    if (len % 2 == 0 || len < 11 || (len - 1) / 2 > sizeof bytes)
        return complain(p, MP_ERR_FORMAT, "not the length of a record");
    for (size_t i = 1; i < len; i += 2) {
        int high = digit(line[i]), low = digit(line[i + 1]);
        if (high < 0 || low < 0)
            return complain(p, MP_ERR_FORMAT, "not a hexadecimal digit");
        bytes[n++] = (uint8_t)(high << 4 | low);
    }
    return take_record(p, bytes, n);
}

int md_hex_parse(struct md_hex *h, const char *text, size_t len, char *error, size_t error_size)
{
    struct parser p = {.h = h, .error = error, .error_size = error_size};
    int code = MP_OK;
    for (size_t at = 0; at < len && code == MP_OK;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : len - at;
        p.line++;
        code = take_line(&p, text + at, n);
        at += n + (end != NULL);
    }
    if (code == MP_OK && !p.ended)
        return complain(&p, MP_ERR_FORMAT, "there is no end record");
    return code;
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

struct writer {
    char *text;
    size_t len, room;
    bool failed;
};

static void put_record(struct writer *w, unsigned type, uint32_t offset, const uint8_t *data, unsigned len)
{
    enum { TEXT = 2 * (RECORD_MAX + 5) + 4 };
    uint8_t bytes[RECORD_MAX + 5] = {(uint8_t)len, (uint8_t)(offset >> 8), (uint8_t)offset, (uint8_t)type};
    unsigned sum = 0;
    if (w->failed)
        return;
    if (w->room - w->len < TEXT) {
        size_t room = 2 * w->room + 4 * TEXT;
        char *more = malloc(room); /* not realloc(): what is left behind may hold keys */
        if (more == NULL) {
            w->failed = true;
            return;
        }
        if (w->text != NULL) {
            memcpy(more, w->text, w->len);
            sodium_memzero(w->text, w->len);
            free(w->text);
        }
        w->text = more;
        w->room = room;
    }
    if (len > 0)
        memcpy(bytes + 4, data, len);
    for (unsigned i = 0; i < len + 4; i++)
        sum += bytes[i];
    bytes[len + 4] = (uint8_t)(0u - sum);
    w->text[w->len++] = ':';
    for (unsigned i = 0; i < len + 5; i++) {
        w->text[w->len++] = "0123456789ABCDEF"[bytes[i] >> 4];
        w->text[w->len++] = "0123456789ABCDEF"[bytes[i] & 15];
    }
    w->text[w->len++] = '\r';
    w->text[w->len++] = '\n';
    w->text[w->len] = '\0';
}

char *md_hex_text(const struct md_hex *h, size_t *len)
{
    struct writer w = {.text = NULL};
    uint32_t address, n, high = 0;
    for (uint64_t from = 0; md_hex_next(h, from, &address, &n); from = (uint64_t)address + n) {
        uint8_t data[LINE];
        n = n < LINE - address % LINE ? n : LINE - address % LINE;
        md_hex_get(h, address, data, n, 0);
        if (address >> 16 != high) {
            high = address >> 16;
            put_record(&w, LINEAR, 0, (const uint8_t[]){(uint8_t)(high >> 8), (uint8_t)high}, 2);
        }
        put_record(&w, DATA, address & 0xFFFF, data, n);
    }
    put_record(&w, END, 0, NULL, 0);
    if (w.failed) {
        if (w.text != NULL)
            sodium_memzero(w.text, w.len);
        free(w.text);
        return NULL;
    }
    *len = w.len;
    return w.text;
}
