#include "objects.h"

#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"

/*
 * A group starts with a header of 32 bytes (magic, sequence, CRC), which is programmed after everything that compaction
 * copied: only then is the group valid, and all its pages are known to be erased as a whole. Records follow, none
 * across a page boundary:
 *
 *     kind u8, slot u8, length u16, CRC-32 of these four bytes and the data, data, fill to the unit
 *
 * Each is one program operation. A record that a cut tore closes its page: nothing is appended behind it, so a scan
 * that stops there misses nothing.
 */

enum { HEADER = 32, RECORD = 8, UNIT_MIN = 8, BUFFER = (RECORD + MP_RECORD_MAX + 31) / 32 * 32 };
#define MAGIC 0x31424F4Eu /* "NOB1" */

static const uint8_t slots_of[NF_KIND_COUNT] = {
    [MP_KIND_MANIFEST] = MP_MANIFESTS_MAX,
    [MP_KIND_DIRECTIVE] = MP_RELEASES_MAX,
    [MP_KIND_KEYCHANGE] = MP_KEYCHAIN_MAX,
    [MP_KIND_RECEIPT] = 1,
    [MP_KIND_KEYSET] = 1,
    [MP_KIND_REPORT] = 1,
    [NF_KIND_BOOT] = 1,
    [NF_KIND_FETCH] = 1,
    [NF_KIND_FAILED] = 1,
    [NF_KIND_REVERTED] = 1,
    [NF_KIND_APP] = NF_OBJECT_APP_SLOTS,
};

/* Index of a record's key, or -1. */
static int key_of(unsigned kind, unsigned slot)
{
    unsigned key = slot;

    if (kind >= NF_KIND_COUNT || slot >= slots_of[kind])
        return -1;
    for (unsigned i = 0; i < kind; i++)
        key += slots_of[i];
    return (int)key;
}

static uint32_t unit(const struct nf_objects *o)
{
    return o->flash->granule < UNIT_MIN ? UNIT_MIN : o->flash->granule;
}

static uint32_t record_size(const struct nf_objects *o, size_t len)
{
    uint32_t u = unit(o);

    return ((uint32_t)len + RECORD + u - 1) / u * u;
}

static uint32_t group_address(const struct nf_objects *o, unsigned group)
{
    return o->address + group * o->group_size;
}

static bool read_at(const struct nf_objects *o, uint32_t offset, uint8_t *data, size_t len)
{
    return o->flash->read(o->flash->ctx, group_address(o, o->group) + offset, data, len) == NF_FLASH_OK;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* CRC over the four bytes of the record header and the data behind the CRC itself: buf holds the whole record. */
static uint32_t record_crc(uint8_t *buf, size_t len)
{
    uint8_t saved[4];
    uint32_t crc;

    /* The CRC field is in between, so the four bytes are moved next to the data for the time of the sum. */
    memcpy(saved, buf + 4, 4);
    memcpy(buf + 4, buf, 4);
    crc = mp_crc32(buf + 4, len + 4);
    memcpy(buf + 4, saved, 4);
    return crc;
}

enum { FOUND_BLANK = 0, FOUND_DAMAGED = -1 };

/* Reads the record at offset into buf: its stored size, FOUND_BLANK or FOUND_DAMAGED. */
static long load(const struct nf_objects *o, uint32_t offset, uint8_t buf[BUFFER])
{
    uint32_t room = o->flash->page_size - offset % o->flash->page_size;

    if (room < RECORD)
        return FOUND_BLANK;
    if (!read_at(o, offset, buf, RECORD))
        return FOUND_DAMAGED;
    if (nf_flash_is_blank(o->flash, group_address(o, o->group) + offset, buf, RECORD))
        return FOUND_BLANK;
    size_t len = mp_get16(buf + 2);

    if (key_of(buf[0], buf[1]) < 0 || len > MP_RECORD_MAX || record_size(o, len) > room ||
        !read_at(o, offset + RECORD, buf + RECORD, len) || record_crc(buf, len) != mp_get32(buf + 4))
        return FOUND_DAMAGED;
    return (long)record_size(o, len);
}

/* Sequence of a group, 0 when its header is not valid. */
static uint32_t group_sequence(const struct nf_objects *o, unsigned group)
{
    uint8_t header[HEADER];

    if (o->flash->read(o->flash->ctx, group_address(o, group), header, sizeof header) != NF_FLASH_OK ||
        mp_get32(header) != MAGIC || mp_get32(header + 8) != mp_crc32(header, 8))
        return 0;
    return mp_get32(header + 4);
}

/* Indexes a page; where appending may go on: behind its last record, or the next page when it is closed. */
static uint32_t index_page(struct nf_objects *o, uint32_t page_offset)
{
    uint8_t buf[BUFFER];
    uint32_t offset = page_offset == 0 ? HEADER : page_offset, end = page_offset + o->flash->page_size;

    while (offset < end) {
        long size = load(o, offset, buf);

        if (size == FOUND_BLANK)
            return offset;
        if (size == FOUND_DAMAGED) {
            o->damaged++;
            return end;
        }
        o->at[key_of(buf[0], buf[1])] = (uint16_t)(offset / UNIT_MIN);
        offset += (uint32_t)size;
    }
    return end;
}

int nf_objects_mount(struct nf_objects *o, const struct nf_flash *flash, const struct nf_layout *layout)
{
    uint32_t pages = layout->objects_size / flash->page_size;

    memset(o, 0, sizeof *o);
    o->flash = flash;
    o->address = layout->objects;
    o->group_size = pages / 2 * flash->page_size;
    if (pages < 4 || layout->objects % flash->page_size != 0 || flash->page_size < 512 || flash->granule > 32 ||
        flash->granule == 0 || o->group_size / UNIT_MIN > UINT16_MAX)
        return MP_ERR_FORMAT;

    uint32_t sequence[2] = {group_sequence(o, 0), group_sequence(o, 1)};

    o->group = sequence[1] > sequence[0];
    o->sequence = sequence[o->group];
    if (o->sequence == 0)
        return MP_OK;
    o->next = HEADER;
    for (uint32_t page = 0; page < o->group_size; page += flash->page_size) {
        uint32_t end = index_page(o, page);
        /* A later page that is untouched says nothing about where the last record is. */
        if (page == 0 || end != page)
            o->next = end;
    }
    return MP_OK;
}

int nf_objects_get(const struct nf_objects *o, unsigned kind, unsigned slot, uint8_t *data, size_t cap)
{
    uint8_t buf[BUFFER];
    int key = key_of(kind, slot);

    if (key < 0)
        return MP_ERR_FORMAT;
    if (o->at[key] == 0)
        return 0;
    if (load(o, (uint32_t)o->at[key] * UNIT_MIN, buf) <= 0)
        return MP_ERR_STORE;
    size_t len = mp_get16(buf + 2);

    if (len > cap)
        return MP_ERR_ROOM;
    memcpy(data, buf + RECORD, len);
    return (int)len;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Programs `size` bytes at an offset of the live group and reads them back. */
static bool program_checked(const struct nf_objects *o, uint32_t offset, const uint8_t *data, uint32_t size)
{
    uint8_t back[32];

    if (o->flash->program(o->flash->ctx, group_address(o, o->group) + offset, data, size) != NF_FLASH_OK)
        return false;
    for (uint32_t i = 0; i < size; i += sizeof back) {
        uint32_t n = size - i < sizeof back ? size - i : sizeof back;
        if (!read_at(o, offset + i, back, n) || memcmp(back, data + i, n) != 0)
            return false;
    }
    return true;
}

static bool is_blank_at(const struct nf_objects *o, uint32_t offset, uint32_t size)
{
    uint8_t back[32];

    for (uint32_t i = 0; i < size; i += sizeof back) {
        uint32_t n = size - i < sizeof back ? size - i : sizeof back;
        if (!read_at(o, offset + i, back, n) ||
            !nf_flash_is_blank(o->flash, group_address(o, o->group) + offset + i, back, n))
            return false;
    }
    return true;
}

/* Appends a whole record to the live group; a page that does not take it is closed. False: the group is full. */
static bool append(struct nf_objects *o, const uint8_t *record, uint32_t size)
{
    uint32_t page_size = o->flash->page_size;

    while (o->next < o->group_size) {
        uint32_t next_page = (o->next / page_size + 1) * page_size;

        if (o->next + size <= next_page && is_blank_at(o, o->next, size)) {
            if (program_checked(o, o->next, record, size)) {
                o->at[key_of(record[0], record[1])] = (uint16_t)(o->next / UNIT_MIN);
                o->next += size;
                return true;
            }
        }
        o->next = next_page;
    }
    return false;
}

/* Copies the newest records, but that of `except`, and the new one to the other group, which becomes live with its
 * header. */
static int compact(struct nf_objects *o, int except, const uint8_t *record, uint32_t size)
{
    struct nf_objects to = *o;
    uint8_t buf[BUFFER], header[HEADER];

    to.group = o->sequence == 0 ? 0 : o->group ^ 1;
    to.sequence = o->sequence + 1;
    to.next = HEADER;
    to.compactions++;
    memset(to.at, 0, sizeof to.at);
    for (uint32_t page = 0; page < o->group_size; page += o->flash->page_size)
        if (o->flash->erase(o->flash->ctx, group_address(&to, to.group) + page) != NF_FLASH_OK)
            return MP_ERR_STORE;
    for (int key = 0; key < NF_OBJECT_KEYS; key++) {
        if (key == except || o->at[key] == 0)
            continue;
        memset(buf, 0xFF, sizeof buf);
        long old = load(o, (uint32_t)o->at[key] * UNIT_MIN, buf);
        if (old <= 0)
            to.damaged++;
        else if (mp_get16(buf + 2) > 0 && !append(&to, buf, (uint32_t)old))
            return MP_ERR_STORE;
    }
    if (size > 0 && !append(&to, record, size))
        return MP_ERR_STORE;
    memset(header, 0xFF, sizeof header);
    mp_put32(header, MAGIC);
    mp_put32(header + 4, to.sequence);
    mp_put32(header + 8, mp_crc32(header, 8));
    if (!program_checked(&to, 0, header, sizeof header))
        return MP_ERR_STORE;
    *o = to;
    return MP_OK;
}

/* True when the log already says this. */
static bool is_same(const struct nf_objects *o, int key, const uint8_t *data, size_t len)
{
    uint8_t buf[BUFFER];

    if (o->at[key] == 0)
        return len == 0;
    return load(o, (uint32_t)o->at[key] * UNIT_MIN, buf) > 0 && mp_get16(buf + 2) == len &&
           (len == 0 || memcmp(buf + RECORD, data, len) == 0);
}

int nf_objects_put(struct nf_objects *o, unsigned kind, unsigned slot, const uint8_t *data, size_t len)
{
    uint8_t buf[BUFFER];
    int key = key_of(kind, slot);

    if (key < 0 || len > MP_RECORD_MAX)
        return MP_ERR_FORMAT;
    if (is_same(o, key, data, len))
        return MP_OK;
    memset(buf, 0xFF, sizeof buf);
    buf[0] = (uint8_t)kind;
    buf[1] = (uint8_t)slot;
    mp_put16(buf + 2, (uint32_t)len);
    if (len > 0)
        memcpy(buf + RECORD, data, len);
    mp_put32(buf + 4, record_crc(buf, len));
    uint32_t size = record_size(o, len);

    if (o->sequence != 0 && append(o, buf, size))
        return MP_OK;
    return compact(o, key, buf, len > 0 ? size : 0);
}
