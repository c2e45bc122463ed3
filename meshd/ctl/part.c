#include "part.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/boot/boot.h"
#include "node-fw/port/nrf51/map.h"
#include "node-fw/store/store.h"
#include "pack.h"
#include "recover.h"

enum { FLASH_MAX = 32 * 1024 * 1024, LINE_MAX_BYTES = 200 };

static int refuse(char *error, size_t size, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

/* --- descriptions -------------------------------------------------------------------------------------------------- */

bool md_part_named(struct md_part *part, const char *name)
{
    if (strcmp(name, "nrf51") != 0)
        return false;
    *part = (struct md_part){.flash_size = NRF51_FLASH_SIZE,
                             .page_size = NRF51_PAGE_SIZE,
                             .granule = 4,
                             .boot = NRF51_BOOT,
                             .boot_size = NRF51_BOOT_SIZE,
                             .layout = {.boot_record = NRF51_BOOT_RECORD,
                                        .settings = NRF51_SETTINGS,
                                        .objects = NRF51_OBJECTS,
                                        .objects_size = NRF51_OBJECTS_SIZE,
                                        .slot = {NRF51_SLOT_A, NRF51_SLOT_B},
                                        .slot_size = NRF51_SLOT_SIZE,
                                        .slot_base = {NRF51_SLOT_A, NRF51_SLOT_B}}};
    return true;
}

enum field {
    FLASH_SIZE,
    PAGE_SIZE,
    GRANULE,
    BOOT_RECORD,
    SETTINGS,
    OBJECTS,
    OBJECTS_SIZE,
    SLOT_A,
    SLOT_B,
    SLOT_SIZE,
    NEEDED, /* those above */
    FLASH_BASE = NEEDED,
    BOOT,
    BOOT_SIZE,
    SLOT_BASE_A,
    SLOT_BASE_B,
    SEAL_A,
    SEAL_B,
    FIELDS
};

static const char *const names[FIELDS] = {[FLASH_SIZE] = "flash_size",
                                          [PAGE_SIZE] = "page_size",
                                          [GRANULE] = "granule",
                                          [BOOT_RECORD] = "boot_record",
                                          [SETTINGS] = "settings",
                                          [OBJECTS] = "objects",
                                          [OBJECTS_SIZE] = "objects_size",
                                          [SLOT_A] = "slot_a",
                                          [SLOT_B] = "slot_b",
                                          [SLOT_SIZE] = "slot_size",
                                          [FLASH_BASE] = "flash_base",
                                          [BOOT] = "boot",
                                          [BOOT_SIZE] = "boot_size",
                                          [SLOT_BASE_A] = "slot_base_a",
                                          [SLOT_BASE_B] = "slot_base_b",
                                          [SEAL_A] = "seal_a",
                                          [SEAL_B] = "seal_b"};

struct fields {
    uint32_t value[FIELDS];
    bool seen[FIELDS];
};

/* "16K", "0x4000", "16384" */
static bool parse_number(const char *text, uint32_t *value)
{
    char *end;
    int base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
    unsigned long long v = strtoull(text, &end, base);
    if (text[0] < '0' || text[0] > '9' || v > UINT32_MAX)
        return false;
    if (*end == 'K') {
        v *= 1024;
        end++;
    }
    *value = (uint32_t)v;
    return *end == '\0' && v <= UINT32_MAX;
}

static int take_line(struct fields *f, char *line, unsigned number, char *error, size_t error_size)
{
    char name[32], value[32], rest[2];
    line[strcspn(line, "#\r\n")] = '\0';
    if (line[strspn(line, " \t")] == '\0')
        return MP_OK;
    if (sscanf(line, " %31[a-z_] = %31s %1s", name, value, rest) != 2)
        return refuse(error, error_size, MP_ERR_FORMAT, "line %u: expected \"name = number\"", number);
    for (unsigned i = 0; i < FIELDS; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        if (f->seen[i])
            return refuse(error, error_size, MP_ERR_FORMAT, "line %u: %s is there twice", number, name);
        f->seen[i] = true;
        return parse_number(value, &f->value[i])
                   ? MP_OK
                   : refuse(error, error_size, MP_ERR_FORMAT, "line %u: \"%s\" is no number", number, value);
    }
    return refuse(error, error_size, MP_ERR_FORMAT, "line %u: there is no \"%s\"", number, name);
}

static int check_part(const struct md_part *p, char *error, size_t error_size)
{
    uint32_t g = p->granule, page = p->page_size;
    const struct nf_layout *l = &p->layout;
    const struct {
        uint32_t start, size;
    } region[] = {{l->boot_record, 2 * page}, {l->settings, page},        {l->objects, l->objects_size},
                  {l->slot[0], l->slot_size}, {l->slot[1], l->slot_size}, {l->seal[0], page},
                  {l->seal[1], page}};
    const unsigned regions = l->seal[0] == l->seal[1] ? 5 : 7;
    if (p->flash_size > FLASH_MAX || p->flash_size - 1 > UINT32_MAX - p->flash_base)
        return refuse(error, error_size, MP_ERR_FORMAT, "flash_size is out of range");
    if (g != 4 && g != 8 && g != 16 && g != 32)
        return refuse(error, error_size, MP_ERR_FORMAT, "granule must be 4, 8, 16 or 32");
    if (p->page_size < 1024 || p->page_size > 8192)
        return refuse(error, error_size, MP_ERR_FORMAT, "page_size must be 1024 to 8192");
    if (!md_layout_is_sound(l, p->flash_size, p->page_size))
        return refuse(error, error_size, MP_ERR_FORMAT, "regions must be whole pages within flash that do not overlap");
    if (p->boot_size > p->flash_size || p->boot > p->flash_size - p->boot_size)
        return refuse(error, error_size, MP_ERR_FORMAT, "the bootloader's region is not within flash");
    for (unsigned i = 0; i < regions; i++)
        if (p->boot_size > 0 && region[i].start < p->boot + p->boot_size && p->boot < region[i].start + region[i].size)
            return refuse(error, error_size, MP_ERR_FORMAT, "the bootloader's region overlaps another one");
    return MP_OK;
}

int md_part_parse(struct md_part *part, const char *text, size_t len, char *error, size_t error_size)
{
    struct fields f = {.seen = {false}};
    char line[LINE_MAX_BYTES];
    unsigned number = 1;
    for (size_t at = 0; at < len; number++) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : len - at;
        if (n >= sizeof line || memchr(text + at, '\0', n) != NULL)
            return refuse(error, error_size, MP_ERR_FORMAT, "line %u: no line of a part description", number);
        memcpy(line, text + at, n);
        line[n] = '\0';
        int code = take_line(&f, line, number, error, error_size);
        if (code != MP_OK)
            return code;
        at += n + (end != NULL);
    }
    for (unsigned i = 0; i < NEEDED; i++)
        if (!f.seen[i])
            return refuse(error, error_size, MP_ERR_FORMAT, "%s is missing", names[i]);
    const uint32_t *v = f.value;
    *part = (struct md_part){.flash_base = v[FLASH_BASE],
                             .flash_size = v[FLASH_SIZE],
                             .page_size = v[PAGE_SIZE],
                             .granule = v[GRANULE],
                             .boot = v[BOOT],
                             .boot_size = v[BOOT_SIZE],
                             .layout = {.boot_record = v[BOOT_RECORD],
                                        .settings = v[SETTINGS],
                                        .objects = v[OBJECTS],
                                        .objects_size = v[OBJECTS_SIZE],
                                        .slot = {v[SLOT_A], v[SLOT_B]},
                                        .slot_size = v[SLOT_SIZE],
                                        .slot_base = {f.seen[SLOT_BASE_A] ? v[SLOT_BASE_A] : v[FLASH_BASE] + v[SLOT_A],
                                                      f.seen[SLOT_BASE_B] ? v[SLOT_BASE_B] : v[FLASH_BASE] + v[SLOT_B]},
                                        .seal = {v[SEAL_A], v[SEAL_B]}}};
    return check_part(part, error, error_size);
}

int md_part_load(struct md_part *part, const char *name, char *error, size_t error_size)
{
    uint8_t *text = NULL;
    size_t len = 0;
    char why[200];
    if (md_part_named(part, name))
        return MP_OK;
    if (md_file_read(name, MD_PART_TEXT_MAX, &text, &len, why, sizeof why) != MP_OK)
        return refuse(error, error_size, MP_ERR_STORE, "%s (a part by name: nrf51)", why);
    int code = md_part_parse(part, (const char *)text, len, why, sizeof why);
    free(text);
    return code == MP_OK ? MP_OK : refuse(error, error_size, code, "%s: %s", name, why);
}

/* --- flash in memory ----------------------------------------------------------------------------------------------- */

struct memory {
    uint8_t *data;
    uint32_t size, page_size;
};

static int memory_read(void *ctx, uint32_t address, void *data, size_t len)
{
    const struct memory *m = ctx;
    if (address > m->size || len > m->size - address)
        return NF_FLASH_RANGE;
    memcpy(data, m->data + address, len);
    return NF_FLASH_OK;
}

static int memory_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    const struct memory *m = ctx;
    if (address > m->size || len > m->size - address)
        return NF_FLASH_RANGE;
    memcpy(m->data + address, data, len);
    return NF_FLASH_OK;
}

static int memory_erase(void *ctx, uint32_t address)
{
    const struct memory *m = ctx;
    if (address % m->page_size != 0 || address >= m->size)
        return NF_FLASH_RANGE;
    memset(m->data + address, 0xFF, m->page_size);
    return NF_FLASH_OK;
}

/* Everything that provisioning writes, in flash. */
static int fill(const struct nf_flash *flash, const struct md_part *part, const struct mp_crypto *crypto,
                const struct md_material *m)
{
    struct mp_settings settings;
    struct mp_manifest manifest;
    struct boot_record record = {.state = BOOT_CONFIRMED};
    if (mp_settings_get(&settings, m->settings, MP_SETTINGS_SIZE) != MP_OK ||
        mp_manifest_get(&manifest, m->manifest, MP_MANIFEST_SIZE) != MP_OK)
        return MP_ERR_FORMAT;
    uint8_t *bits = malloc(nf_slot_memory(flash, &part->layout));
    if (bits == NULL)
        return MP_ERR_STORE;
    int code = nf_store_install(flash, &part->layout, crypto, 0, m->manifest, m->payload, m->size, bits);
    free(bits);
    if (code == MP_OK)
        code = nf_settings_store(&settings, flash, &part->layout);
    if (code != MP_OK)
        return code;
    record.floor = manifest.security_counter;
    record.release = manifest.release;
    mp_manifest_id(crypto, m->manifest, record.id);
    return boot_append(flash, &part->layout, &record);
}

static int put(struct md_hex *hex, const struct md_part *part, const uint8_t *data, uint32_t at, uint32_t len)
{
    return md_hex_put(hex, part->flash_base + at, data + at, len);
}

/* What of the flash goes into the hex. */
static int take_over(struct md_hex *hex, const struct md_part *part, const struct nf_flash *flash, const uint8_t *data)
{
    const struct nf_layout *l = &part->layout;
    uint32_t page = part->page_size, end = l->slot_size;
    int code = put(hex, part, data, l->boot_record, 2 * page);
    if (code == MP_OK)
        code = put(hex, part, data, l->settings, page);
    if (code == MP_OK)
        code = put(hex, part, data, l->objects, l->objects_size);
    for (unsigned slot = 0; slot < 2 && code == MP_OK; slot++)
        code = put(hex, part, data, boot_image_seal_address(flash, l, slot), page);
    if (l->seal[0] == l->seal[1])
        end -= page;
    while (end > 0 && data[l->slot[0] + end - 1] == 0xFF)
        end--;
    return code == MP_OK ? put(hex, part, data, l->slot[0], end) : code;
}

int md_part_flash(struct md_hex *hex, const struct md_part *part, const struct mp_crypto *crypto,
                  const struct md_material *material, char *error, size_t error_size)
{
    struct memory memory = {.size = part->flash_size, .page_size = part->page_size};
    struct nf_flash flash = {.ctx = &memory,
                             .size = part->flash_size,
                             .page_size = part->page_size,
                             .granule = part->granule,
                             .read = memory_read,
                             .program = memory_program,
                             .erase = memory_erase};
    memory.data = malloc(memory.size);
    if (memory.data == NULL)
        return refuse(error, error_size, MP_ERR_ROOM, "out of memory");
    memset(memory.data, 0xFF, memory.size);
    int code = fill(&flash, part, crypto, material);
    if (code == MP_OK)
        code = take_over(hex, part, &flash, memory.data);
    sodium_memzero(memory.data, memory.size); /* keys */
    free(memory.data);
    if (code == MP_ERR_ROOM)
        return refuse(error, error_size, code, "the image does not fit a slot of this part");
    if (code == MP_ERR_CHUNK)
        return refuse(error, error_size, code, "the image is not the one that the manifest names");
    return code == MP_OK ? MP_OK : refuse(error, error_size, code, "the flash cannot be filled: %s", mp_strerror(code));
}

/* --- bootloader ---------------------------------------------------------------------------------------------------- */

static bool lies_in(uint32_t address, uint32_t len, uint32_t start, uint32_t size)
{
    return address >= start && address - start <= size && len <= size - (address - start);
}

/* Copies the bootloader's hex, run by run. */
static int merge(struct md_hex *hex, const struct md_part *part, const struct md_hex *boot, char *error,
                 size_t error_size)
{
    uint8_t data[256];
    uint32_t address, len, base = part->flash_base, count = 0;
    for (uint64_t from = 0; md_hex_next(boot, from, &address, &len); from = (uint64_t)address + len, count++) {
        bool is_flash = (uint64_t)address + len > base && address < (uint64_t)base + part->flash_size;
        if (is_flash && part->boot_size == 0)
            return refuse(error, error_size, MP_ERR_FORMAT,
                          "the part's description does not say where its bootloader lies (boot, boot_size)");
        if (is_flash && !lies_in(address, len, base + part->boot, part->boot_size))
            return refuse(error, error_size, MP_ERR_FORMAT,
                          "0x%x lies in flash, but outside of the bootloader's region", (unsigned)address);
        md_hex_get(boot, address, data, len, 0xFF);
        int code = md_hex_put(hex, address, data, len);
        if (code != MP_OK)
            return refuse(error, error_size, code, "%s", mp_strerror(code));
    }
    return count > 0 ? MP_OK : refuse(error, error_size, MP_ERR_LENGTH, "there is nothing in it");
}

int md_part_bootloader(struct md_hex *hex, const struct md_part *part, const uint8_t *file, size_t len, char *error,
                       size_t error_size)
{
    struct md_hex *boot = md_hex_new();
    int code = MP_ERR_ROOM;
    if (boot == NULL)
        return refuse(error, error_size, code, "out of memory");
    if (len > 0 && file[0] == ':')
        code = md_hex_parse(boot, (const char *)file, len, error, error_size);
    else if (len > part->boot_size)
        code =
            refuse(error, error_size, MP_ERR_ROOM, "%zu bytes, and its region has %u", len, (unsigned)part->boot_size);
    else
        code = md_hex_put(boot, part->flash_base + part->boot, file, len);
    if (code == MP_OK)
        code = merge(hex, part, boot, error, error_size);
    md_hex_free(boot);
    return code;
}
