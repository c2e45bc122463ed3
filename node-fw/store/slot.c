#include "slot.h"

#include <string.h>

/*
 * When may a page be programmed? `trusted` says so: it was erased as a whole since the reset, or it holds a verified
 * chunk, which was programmed after such an erase. The second reason fails where an erase of verified chunks was itself
 * cut, so whoever erases a page that is not blank keeps a marker in the object log meanwhile (nf_slot_put() asks for it
 * by returning the page). Only a page that reads blank is erased here without one: nothing in it could ever be taken
 * for a chunk.
 */

enum { COMPARE = 32 };

static uint32_t page_size(const struct nf_slot *s)
{
    return s->image.flash->page_size;
}

static bool bit_get(const uint8_t *bits, uint32_t i)
{
    return (bits[i / 8] >> (i % 8) & 1) != 0;
}

static void bit_set(uint8_t *bits, uint32_t i)
{
    bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

static void bit_clear(uint8_t *bits, uint32_t i)
{
    bits[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

/* Pages of a slot with the seal's, which is the last one wherever it lies. */
static uint32_t slot_pages(const struct nf_flash *flash, const struct nf_layout *layout)
{
    return layout->slot_size / flash->page_size + (layout->seal[0] != layout->seal[1]);
}

static uint32_t page_address(const struct nf_slot *s, uint32_t page)
{
    return page + 1 == s->pages ? s->image.seal : s->image.address + page * page_size(s);
}

size_t nf_slot_memory(const struct nf_flash *flash, const struct nf_layout *layout)
{
    uint32_t positions = mp_tree_positions(boot_image_capacity(flash, layout));

    return (positions + 7) / 8 + (slot_pages(flash, layout) + 7) / 8;
}

void nf_slot_init(struct nf_slot *s, const struct nf_flash *flash, const struct nf_layout *layout,
                  const struct mp_crypto *crypto, uint8_t *memory)
{
    memset(s, 0, sizeof *s);
    s->crypto = crypto;
    s->pages = slot_pages(flash, layout);
    s->trusted = memory;
    s->held = memory + (s->pages + 7) / 8;
    s->image.flash = flash;
}

void nf_slot_close(struct nf_slot *s)
{
    s->open = s->sealed = s->tree_stored = false;
    s->count = 0;
}

static void forget_all(struct nf_slot *s)
{
    memset(s->held, 0, (s->image.tree.positions + 7) / 8);
    memset(s->trusted, 0, (s->pages + 7) / 8);
    s->count = 0;
}

/* --- geometry ----------------------------------------------------------------------------------------------------- */

static bool is_leaf(const struct nf_slot *s, uint32_t position)
{
    return position >= s->image.tree.first[0];
}

/* Payload offset of a leaf. */
static uint32_t leaf_offset(const struct nf_slot *s, uint32_t position)
{
    return (position - s->image.tree.first[0]) * MP_CHUNK_SIZE;
}

/* Bytes a chunk takes in flash: whole granules. */
static uint32_t extent(const struct nf_slot *s, uint32_t len)
{
    uint32_t granule = s->image.flash->granule;

    return (len + granule - 1) / granule * granule;
}

/* Page of the slot that a flash address lies in. */
static uint32_t page_of(const struct nf_slot *s, uint32_t address)
{
    return (address - s->image.address) / page_size(s);
}

/* First and one past the last position whose chunks touch a page; an empty range for pages without any. */
static void page_positions(const struct nf_slot *s, uint32_t page, uint32_t *first, uint32_t *end)
{
    const struct mp_tree *t = &s->image.tree;
    uint32_t from = page * page_size(s), base = t->first[0], limit = t->positions;

    if (from >= s->image.tree_offset) {
        from -= s->image.tree_offset;
        base = 0;
        limit = t->first[0];
    }
    *first = base + from / MP_CHUNK_SIZE;
    *end = base + (from + page_size(s) - 1) / MP_CHUNK_SIZE + 1;
    if (*end > limit)
        *end = limit;
    if (*first > *end)
        *first = *end;
}

static bool raw_read(const struct nf_slot *s, uint32_t address, uint8_t *data, size_t len)
{
    return s->image.flash->read(s->image.flash->ctx, address, data, len) == NF_FLASH_OK;
}

static bool is_blank(const struct nf_slot *s, uint32_t address, const uint8_t *data, size_t len)
{
    return nf_flash_is_blank(s->image.flash, address, data, len);
}

/* --- verifying what lies in flash --------------------------------------------------------------------------------- */

/* Reads a chunk in canonical form as far as the relocation list is known. */
static bool chunk_read(const struct nf_slot *s, uint32_t position, uint8_t *data, size_t len)
{
    if (is_leaf(s, position))
        return boot_image_read(&s->image, leaf_offset(s, position), data, len) == MP_OK;
    return raw_read(s, boot_image_chunk_address(&s->image, position), data, len);
}

/* The hash a chunk must have; false when its parent is not held or not readable. */
static bool hash_wanted(const struct nf_slot *s, uint32_t position, uint8_t hash[MP_HASH_SIZE])
{
    unsigned at;
    uint32_t parent = mp_tree_parent(&s->image.tree, position, &at);

    if (parent == UINT32_MAX) {
        memcpy(hash, s->image.manifest.image_root, MP_HASH_SIZE);
        return true;
    }
    return bit_get(s->held, parent) &&
           raw_read(s, boot_image_chunk_address(&s->image, parent) + at, hash, MP_HASH_SIZE);
}

static bool chunk_matches(const struct nf_slot *s, uint32_t position)
{
    uint8_t data[MP_CHUNK_SIZE], want[MP_HASH_SIZE], have[MP_HASH_SIZE];
    unsigned len = mp_tree_length(&s->image.tree, position);
    uint32_t index;
    unsigned level = mp_tree_level(&s->image.tree, position, &index);

    if (!hash_wanted(s, position, want) || !chunk_read(s, position, data, len))
        return false;
    mp_tree_hash(s->crypto, s->image.manifest.salt, level, index, data, len, have);
    return memcmp(want, have, MP_HASH_SIZE) == 0;
}

/* Reads in pieces; true when all of it is readable and blank. */
static bool is_blank_at(const struct nf_slot *s, uint32_t address, uint32_t len)
{
    uint8_t buf[COMPARE];

    for (uint32_t i = 0; i < len; i += COMPARE) {
        uint32_t n = len - i < COMPARE ? len - i : COMPARE;
        if (!raw_read(s, address + i, buf, n) || !is_blank(s, address + i, buf, n))
            return false;
    }
    return true;
}

/* Marks a chunk as held, and its pages as fit for programming. A chunk of all ones verifies in a page that was only
 * half erased, so it proves nothing. */
static void hold(struct nf_slot *s, uint32_t position)
{
    uint32_t address = boot_image_chunk_address(&s->image, position);
    uint32_t last = address + extent(s, mp_tree_length(&s->image.tree, position)) - 1;

    if (bit_get(s->held, position))
        return;
    bit_set(s->held, position);
    s->count++;
    if (is_blank_at(s, address, mp_tree_length(&s->image.tree, position)))
        return;
    for (uint32_t page = page_of(s, address); page <= page_of(s, last); page++)
        bit_set(s->trusted, page);
}

static void scan_range(struct nf_slot *s, uint32_t first, uint32_t end)
{
    for (uint32_t position = first; position < end; position++)
        if (!bit_get(s->held, position) && chunk_matches(s, position))
            hold(s, position);
}

/* One past the last position that tells what the relocation list is: leaf 0 at least, which tells that there is none.
 */
static uint32_t list_end(const struct nf_slot *s)
{
    uint32_t leaves = (s->image.reloc.list_size + MP_CHUNK_SIZE - 1) / MP_CHUNK_SIZE;

    return s->image.tree.first[0] + (leaves > 0 ? leaves : 1);
}

/* The list as it lies in flash is believed if all chunks that hold it verify; they count as held then. */
static void list_find(struct nf_slot *s)
{
    const struct mp_reloc_header before = s->image.reloc;
    uint32_t first = s->image.tree.first[0];
    bool is_whole = boot_image_list(&s->image) == MP_OK;

    for (uint32_t position = first; is_whole && position < list_end(s); position++)
        is_whole = bit_get(s->held, position) || chunk_matches(s, position);
    s->image.list_known = is_whole;
    if (!is_whole)
        s->image.reloc = before;
    for (uint32_t position = first; is_whole && s->image.relocates && position < list_end(s); position++)
        hold(s, position);
}

void nf_slot_scan(struct nf_slot *s)
{
    const struct mp_tree *t = &s->image.tree;
    struct mp_reloc_mark mark = {0, 0, 0};

    forget_all(s);
    s->image.mark = &mark;
    scan_range(s, 0, t->first[0]);
    s->image.list_known = !s->image.relocates;
    if (s->image.relocates)
        list_find(s);
    /* Without the list only leaves that need none verify: those that hold the list itself. */
    scan_range(s, t->first[0], t->positions);
    s->image.mark = NULL;
    s->changed = true;
}

/* The list became known: leaves that were there already can be verified now. */
static void scan_known_list(struct nf_slot *s)
{
    uint8_t head[COMPARE];
    struct mp_reloc_mark mark = {0, 0, 0};

    s->image.mark = &mark;
    for (uint32_t position = s->image.tree.first[0]; position < s->image.tree.positions; position++) {
        uint32_t address = boot_image_chunk_address(&s->image, position);

        if (bit_get(s->held, position) ||
            (raw_read(s, address, head, sizeof head) && is_blank(s, address, head, sizeof head)) ||
            !chunk_matches(s, position))
            continue;
        hold(s, position);
        s->changed = true;
    }
    s->image.mark = NULL;
}

/* After an interior chunk came: chunks below it that were there already are held again without being fetched. */
static void adopt(struct nf_slot *s, uint32_t position)
{
    uint32_t first = 0;
    unsigned count = mp_tree_children(&s->image.tree, position, &first);

    for (uint32_t child = first; child < first + count; child++) {
        if (bit_get(s->held, child) || !chunk_matches(s, child))
            continue;
        hold(s, child);
        s->changed = true;
        adopt(s, child);
    }
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

int nf_slot_open(struct nf_slot *s, const struct nf_layout *layout, unsigned index,
                 const uint8_t manifest[MP_MANIFEST_SIZE])
{
    nf_slot_close(s);
    int error = boot_image_describe(&s->image, s->image.flash, layout, index, s->crypto, manifest);

    if (error != MP_OK)
        return error;
    s->image.list_known = !s->image.relocates;
    forget_all(s);
    s->open = true;
    s->changed = true;
    return MP_OK;
}

int nf_slot_open_sealed(struct nf_slot *s, const struct nf_layout *layout, unsigned index)
{
    nf_slot_close(s);
    int error = boot_image_open(&s->image, s->image.flash, layout, index, s->crypto, NULL);

    if (error != MP_OK)
        return error;
    forget_all(s);
    scan_range(s, 0, s->image.tree.first[0]);
    s->tree_stored = s->count == s->image.tree.first[0];
    for (uint32_t position = 0; position < s->image.tree.positions; position++)
        hold(s, position);
    s->open = s->sealed = s->changed = true;
    return MP_OK;
}

/* --- erasing and programming -------------------------------------------------------------------------------------- */

int nf_slot_erase_page(struct nf_slot *s, uint32_t page)
{
    uint32_t first, end, lost = 0;

    page_positions(s, page, &first, &end);
    for (uint32_t position = first; position < end; position++) {
        if (!bit_get(s->held, position))
            continue;
        lost++;
        bit_clear(s->held, position);
        s->count--;
        s->changed = true;
        if (s->image.relocates && is_leaf(s, position) && position < list_end(s))
            s->image.list_known = false;
    }
    bit_clear(s->trusted, page);
    if (s->image.flash->erase(s->image.flash->ctx, page_address(s, page)) != NF_FLASH_OK) {
        s->faulted = true;
        return MP_ERR_STORE;
    }
    bit_set(s->trusted, page);
    if (s->open && lost > 0)
        scan_range(s, first, end); /* a chunk of all ones is still there */
    return MP_OK;
}

/*
 * Might an untrusted page hold chunks that only cannot be verified yet, because a parent above `position` is missing?
 * Then `position` waits until that parent came, or a cut would cost more than the page it hit. Parents have lower
 * positions, so waiting cannot go in circles.
 */
static bool must_wait(const struct nf_slot *s, uint32_t page, uint32_t position)
{
    uint32_t first, end;

    page_positions(s, page, &first, &end);
    for (uint32_t other = first; other < end; other++) {
        unsigned at;
        uint8_t data[MP_CHUNK_SIZE];
        uint32_t parent = mp_tree_parent(&s->image.tree, other, &at);
        unsigned len = mp_tree_length(&s->image.tree, other);
        uint32_t address = boot_image_chunk_address(&s->image, other);

        if (parent == UINT32_MAX || parent >= position || bit_get(s->held, parent))
            continue;
        if (raw_read(s, address, data, len) && !is_blank(s, address, data, len))
            return true;
    }
    return false;
}

/* What a stretch of flash needs to hold these bytes. */
enum stretch { STRETCH_THERE, STRETCH_BLANK, STRETCH_DIRTY };

static enum stretch compare(const struct nf_slot *s, uint32_t address, const uint8_t *data, uint32_t len)
{
    uint8_t buf[COMPARE];
    uint32_t granule = s->image.flash->granule;
    bool is_there = true;

    for (uint32_t i = 0; i < len; i += granule) {
        if (!raw_read(s, address + i, buf, granule))
            return STRETCH_DIRTY;
        bool is_erased = is_blank(s, address + i, buf, granule);
        /* Ones are there where erased flash reads as ones, and must be programmed where it does not. */
        if (memcmp(buf, data + i, granule) == 0 && !(is_erased && s->image.flash->is_blank != NULL))
            continue;
        if (!is_erased)
            return STRETCH_DIRTY;
        is_there = false;
    }
    return is_there ? STRETCH_THERE : STRETCH_BLANK;
}

/* Makes a page fit to take these bytes at an address within it. 0, or as nf_slot_put(). */
static long prepare(struct nf_slot *s, uint32_t position, uint32_t address, const uint8_t *data, uint32_t len)
{
    uint32_t page = page_of(s, address);

    if (bit_get(s->trusted, page)) {
        if (compare(s, address, data, len) != STRETCH_DIRTY)
            return MP_OK;
        return (long)page + 1;
    }
    if (is_blank_at(s, s->image.address + page * page_size(s), page_size(s)))
        return nf_slot_erase_page(s, page);
    if (must_wait(s, page, position))
        return MP_ERR_PARENT;
    return (long)page + 1;
}

/* Programs the granules that are blank yet; runs of them in one operation. */
static int program(struct nf_slot *s, uint32_t address, const uint8_t *data, uint32_t len)
{
    const struct nf_flash *f = s->image.flash;
    uint32_t granule = f->granule, start = 0;

    while (start < len) {
        uint32_t end = start;

        while (end < len && compare(s, address + end, data + end, granule) == STRETCH_BLANK)
            end += granule;
        if (end > start && f->program(f->ctx, address + start, data + start, end - start) != NF_FLASH_OK)
            return MP_ERR_STORE;
        start = end > start ? end : start + granule;
    }
    return compare(s, address, data, len) == STRETCH_THERE ? MP_OK : MP_ERR_STORE;
}

/* Reading the list while chunks still come: from the held leaves and the one in hand. */
struct list_reader {
    const struct nf_slot *slot;
    const uint8_t *data; /* leaf in hand, canonical */
    uint32_t offset;     /* its payload offset */
    uint32_t len;
    uint32_t missing; /* payload offset that was not to be had, UINT32_MAX: none */
};

static int list_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    struct list_reader *r = ctx;
    const struct nf_slot *s = r->slot;

    if (offset >= r->offset && offset - r->offset + len <= r->len) {
        memcpy(data, r->data + (offset - r->offset), len);
        return MP_OK;
    }
    if (!bit_get(s->held, s->image.tree.first[0] + offset / MP_CHUNK_SIZE)) {
        r->missing = offset;
        return MP_ERR_ABSENT;
    }
    return raw_read(s, s->image.address + offset, data, len) ? MP_OK : MP_ERR_STORE;
}

/* Turns a canonical leaf into what this slot holds. 0, MP_ERR_PARENT (earlier list chunks are missing), MP_ERR_STORE.
 */
static int relocate(const struct nf_slot *s, uint32_t position, uint8_t *data, uint32_t len)
{
    uint8_t canonical[MP_CHUNK_SIZE];
    struct list_reader r = {s, canonical, leaf_offset(s, position), len, UINT32_MAX};
    const struct boot_image *image = &s->image;
    struct mp_reloc_header list = image->reloc;

    if (!image->relocates)
        return MP_OK;
    memcpy(canonical, data, len);
    /* The list becomes known for good only when its last leaf is stored, which may have to wait. */
    if (!image->list_known) {
        int error = mp_reloc_check(&list, list_read, &r, image->manifest.image_size);
        if (error == MP_ERR_ABSENT) /* a list that ends behind this leaf makes it part of the list */
            return r.missing > r.offset ? MP_OK : MP_ERR_PARENT;
        if (error != MP_OK)
            return MP_ERR_STORE;
    }
    if (mp_reloc_apply(&list, list_read, &r, mp_reloc_distance(&list, image->base), r.offset, data, len, NULL) != 0)
        return MP_ERR_STORE;
    return MP_OK;
}

long nf_slot_put(struct nf_slot *s, uint32_t position, const uint8_t *data, size_t len)
{
    uint8_t buf[MP_CHUNK_SIZE];
    bool was_known = s->image.list_known;

    if (!s->open || position >= s->image.tree.positions || len != mp_tree_length(&s->image.tree, position))
        return MP_ERR_STORE;
    if (bit_get(s->held, position))
        return MP_OK;
    memset(buf, 0xFF, sizeof buf);
    memcpy(buf, data, len);
    int error = is_leaf(s, position) ? relocate(s, position, buf, (uint32_t)len) : MP_OK;

    if (error != MP_OK)
        return error;
    uint32_t address = boot_image_chunk_address(&s->image, position), total = extent(s, (uint32_t)len);
    /* A chunk lies in one page or two. */
    uint32_t cut = page_size(s) - (address - s->image.address) % page_size(s);
    uint32_t head = total < cut ? total : cut;
    long result = prepare(s, position, address, buf, head);

    if (result == MP_OK && head < total)
        result = prepare(s, position, address + head, buf + head, total - head);
    if (result != MP_OK)
        return result;
    /* A granule that reads blank does not take a program when a cut has touched it; an erase of its page helps. */
    if (program(s, address, buf, head) != MP_OK)
        return (long)page_of(s, address) + 1;
    if (head < total && program(s, address + head, buf + head, total - head) != MP_OK)
        return (long)page_of(s, address + head) + 1;
    hold(s, position);
    adopt(s, position);
    if (!s->image.list_known)
        list_find(s);
    if (!was_known && s->image.list_known)
        scan_known_list(s);
    return MP_OK;
}

/* --- serving ------------------------------------------------------------------------------------------------------ */

/* Computes an interior chunk from what is below it: one leaf after the other, level by level. */
static int compute(const struct nf_slot *s, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    uint8_t child[MP_CHUNK_SIZE];
    uint32_t first = 0;
    unsigned count = mp_tree_children(&s->image.tree, position, &first);

    for (unsigned i = 0; i < count; i++) {
        uint32_t index;
        unsigned level = mp_tree_level(&s->image.tree, first + i, &index);
        int len = (int)mp_tree_length(&s->image.tree, first + i);

        if (level > 0)
            len = compute(s, first + i, child);
        else if (!chunk_read(s, first + i, child, (size_t)len))
            return MP_ERR_STORE;
        if (len < 0)
            return len;
        mp_tree_hash(s->crypto, s->image.manifest.salt, level, index, child, (size_t)len, data + i * MP_HASH_SIZE);
    }
    return (int)(count * MP_HASH_SIZE);
}

int nf_slot_get(const struct nf_slot *s, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    if (!s->open || position >= s->image.tree.positions || !bit_get(s->held, position))
        return MP_ERR_ABSENT;
    unsigned len = mp_tree_length(&s->image.tree, position);

    if (!is_leaf(s, position) && s->sealed && !s->tree_stored)
        return compute(s, position, data);
    if (is_leaf(s, position) && !s->image.list_known && s->image.reloc.list_size != 0 &&
        leaf_offset(s, position) + len > s->image.reloc.list_size)
        return MP_ERR_ABSENT; /* a cut cost the list; it comes again */
    return chunk_read(s, position, data, len) ? (int)len : MP_ERR_STORE;
}

bool nf_slot_is_complete(const struct nf_slot *s)
{
    return s->open && s->count == s->image.tree.positions && s->image.list_known;
}

int nf_slot_seal(struct nf_slot *s, const struct nf_layout *layout, unsigned index,
                 const uint8_t manifest[MP_MANIFEST_SIZE])
{
    uint8_t seal[BOOT_SEAL_SIZE];
    uint32_t address = boot_image_seal_address(s->image.flash, layout, index);

    if (!nf_slot_is_complete(s))
        return MP_ERR_STATE;
    memset(seal, 0xFF, sizeof seal);
    boot_image_seal_put(seal, manifest);
    /* Chunks of all ones may lie in pages whose erase was cut; an erase makes them certain. */
    for (uint32_t page = 0; page + 1 < s->pages; page++) {
        uint32_t first, end;
        page_positions(s, page, &first, &end);
        if (first < end && !bit_get(s->trusted, page) && nf_slot_erase_page(s, page) != MP_OK)
            return MP_ERR_STORE;
    }
    if (!nf_slot_is_complete(s))
        return MP_ERR_STATE;
    /* Of this page nothing is ever verified but a whole seal, so after a reset it is erased again. */
    if (!bit_get(s->trusted, s->pages - 1) || !is_blank_at(s, address, sizeof seal)) {
        int error = nf_slot_erase_page(s, s->pages - 1);
        if (error != MP_OK)
            return error;
    }
    if (program(s, address, seal, sizeof seal) != MP_OK) {
        s->faulted = true;
        return MP_ERR_STORE;
    }
    s->sealed = s->tree_stored = true;
    return MP_OK;
}
