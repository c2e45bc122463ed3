#include "part_flash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/nrf51/layout.h"
#include "node-fw/store/store.h"

static const struct nf_layout layout = NRF51_LAYOUT;

const struct nf_layout *part_flash_layout(void)
{
    return &layout;
}

/* --- flash over a buffer ------------------------------------------------------------------------------------------ */

static int buffer_read(void *ctx, uint32_t address, void *data, size_t len)
{
    if (address > PART_FLASH_SIZE || len > PART_FLASH_SIZE - address)
        return NF_FLASH_RANGE;
    memcpy(data, (const uint8_t *)ctx + address, len);
    return NF_FLASH_OK;
}

static int buffer_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    uint8_t *to = (uint8_t *)ctx + address;
    if (address > PART_FLASH_SIZE || len > PART_FLASH_SIZE - address || address % 4 != 0 || len % 4 != 0 ||
        address < NRF51_BOOT_SIZE)
        return NF_FLASH_RANGE;
    for (size_t i = 0; i < len; i++)
        if (to[i] != 0xFF && to[i] != ((const uint8_t *)data)[i])
            return NF_FLASH_FAILED;
    memcpy(to, data, len);
    return NF_FLASH_OK;
}

static int buffer_erase(void *ctx, uint32_t address)
{
    if (address > PART_FLASH_SIZE - NRF51_PAGE_SIZE || address % NRF51_PAGE_SIZE != 0 || address < NRF51_BOOT_SIZE)
        return NF_FLASH_RANGE;
    memset((uint8_t *)ctx + address, 0xFF, NRF51_PAGE_SIZE);
    return NF_FLASH_OK;
}

struct nf_flash part_flash_over(uint8_t image[PART_FLASH_SIZE])
{
    return (struct nf_flash){.ctx = image,
                             .size = PART_FLASH_SIZE,
                             .page_size = NRF51_PAGE_SIZE,
                             .granule = 4,
                             .write_once = true,
                             .read = buffer_read,
                             .program = buffer_program,
                             .erase = buffer_erase};
}

/* --- the factory -------------------------------------------------------------------------------------------------- */

static int complain(const char *path, const char *why)
{
    printf("%s: %s\n", path, why);
    return -1;
}

/* Length of a file of at most cap bytes, or -1 after a complaint. */
static long take(const char *path, uint8_t *data, size_t cap)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return complain(path, strerror(errno));
    const size_t n = fread(data, 1, cap, file);
    const bool is_whole = n > 0 && fgetc(file) == EOF && ferror(file) == 0;
    fclose(file);
    return is_whole ? (long)n : complain(path, "empty, or too large");
}

static int take_manifest(const char *path, uint8_t raw[MP_MANIFEST_SIZE], struct mp_manifest *m)
{
    if (take(path, raw, MP_MANIFEST_SIZE) != MP_MANIFEST_SIZE || mp_manifest_get(m, raw, MP_MANIFEST_SIZE) != 0)
        return complain(path, "not a manifest");
    return 0;
}

int part_flash_install(uint8_t out[PART_FLASH_SIZE], const char *manifest, const char *payload, unsigned slot)
{
    const struct nf_flash flash = part_flash_over(out);
    uint8_t raw[MP_MANIFEST_SIZE];
    struct mp_manifest m;
    uint8_t *data = malloc(NRF51_SLOT_SIZE), *memory = malloc(nf_slot_memory(&flash, &layout));
    int rc = data != NULL && memory != NULL ? take_manifest(manifest, raw, &m) : complain("factory", "no memory");
    const long len = rc == 0 ? take(payload, data, NRF51_SLOT_SIZE) : -1;
    if (rc == 0 &&
        (len < 0 || nf_store_install(&flash, &layout, crypto_sodium(), slot & 1, raw, data, (size_t)len, memory) != 0))
        rc = complain(payload, "cannot be installed");
    free(data);
    free(memory);
    return rc;
}

static int install_home(uint8_t out[PART_FLASH_SIZE], const struct part_flash *what)
{
    const struct nf_flash flash = part_flash_over(out);
    uint8_t raw[MP_MANIFEST_SIZE];
    struct mp_manifest m;
    struct boot_record record = {.state = BOOT_CONFIRMED, .home = (uint8_t)(what->slot & 1)};
    if (part_flash_install(out, what->manifest, what->payload, what->slot) != 0 ||
        take_manifest(what->manifest, raw, &m) != 0)
        return -1;
    record.floor = m.security_counter;
    record.release = m.release;
    mp_manifest_id(crypto_sodium(), raw, record.id);
    return boot_append(&flash, &layout, &record) == 0 ? 0 : complain("factory", "no boot record");
}

int part_flash_build(uint8_t out[PART_FLASH_SIZE], const struct part_flash *what)
{
    const struct nf_flash flash = part_flash_over(out);
    uint8_t raw[MP_SETTINGS_SIZE];
    struct mp_settings settings;
    memset(out, 0xFF, PART_FLASH_SIZE);
    if (take(what->boot, out, NRF51_BOOT_SIZE) < 0)
        return -1;
    if (what->settings != NULL) {
        const long n = take(what->settings, raw, sizeof raw);
        if (n < 0 || mp_settings_get(&settings, raw, (size_t)n) != 0)
            return complain(what->settings, "not a settings record");
        if (nf_settings_store(&settings, &flash, &layout) != 0)
            return complain(what->settings, "cannot be written");
    }
    return what->manifest != NULL ? install_home(out, what) : 0;
}
