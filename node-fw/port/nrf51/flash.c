/*
 * Flash over the part's memory controller (nRF51 Series Reference Manual 3.0, NVMC): pages of 1 KB, an erase halts the
 * CPU for about 22 ms, the write of a word for about 46 us. How often a word may be written between erases is limited
 * (nWRITE, 2 on this family's later members). This driver writes a word once, only over a blank one, so the seam calls
 * the part write-once. Writing is enabled around each word and each erase alone, and never in the bootloader's own
 * region. User information registers (UICR) lie outside the address range of this driver.
 */
#include "part.h"

#include <string.h>

#define BLANK 0xFFFFFFFFu

static void wait_ready(void)
{
    /* The CPU is halted while flash is busy, when it runs from flash: at most a few rounds. */
    while ((NRF51_NVMC_READY & 1) == 0)
        ;
}

static bool is_inside(uint32_t address, size_t len)
{
    return address <= NRF51_FLASH_SIZE && len <= NRF51_FLASH_SIZE - address;
}

static volatile uint32_t *word_at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static int flash_read(void *ctx, uint32_t address, void *data, size_t len)
{
    (void)ctx;
    if (!is_inside(address, len))
        return NF_FLASH_RANGE;
    memcpy(data, (const void *)(uintptr_t)address, len);
    return NF_FLASH_OK;
}

static void write_word(uint32_t address, uint32_t value)
{
    NRF51_NVMC_CONFIG = NRF51_NVMC_CONFIG_WRITE;
    wait_ready();
    *word_at(address) = value;
    wait_ready();
    NRF51_NVMC_CONFIG = NRF51_NVMC_CONFIG_READ;
    wait_ready();
}

static int flash_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    const uint8_t *from = data;
    (void)ctx;
    if (!is_inside(address, len) || address < NRF51_BOOT_SIZE || address % 4 != 0 || len % 4 != 0)
        return NF_FLASH_RANGE;
    for (size_t at = 0; at < len; at += 4) {
        uint32_t value;
        memcpy(&value, from + at, sizeof value);
        volatile uint32_t *word = word_at(address + at);
        if (*word == value)
            continue; /* the remains of a cut, or all ones */
        if (*word != BLANK)
            return NF_FLASH_FAILED;
        write_word(address + at, value);
        if (*word != value)
            return NF_FLASH_FAILED;
    }
    return NF_FLASH_OK;
}

static int flash_erase(void *ctx, uint32_t address)
{
    (void)ctx;
    if (!is_inside(address, NRF51_PAGE_SIZE) || address < NRF51_BOOT_SIZE || address % NRF51_PAGE_SIZE != 0)
        return NF_FLASH_RANGE;
    NRF51_NVMC_CONFIG = NRF51_NVMC_CONFIG_ERASE;
    wait_ready();
    NRF51_NVMC_ERASEPAGE = address;
    wait_ready();
    NRF51_NVMC_CONFIG = NRF51_NVMC_CONFIG_READ;
    wait_ready();
    for (uint32_t at = 0; at < NRF51_PAGE_SIZE; at += 4)
        if (*word_at(address + at) != BLANK)
            return NF_FLASH_FAILED;
    return NF_FLASH_OK;
}

const struct nf_flash nrf51_flash = {.size = NRF51_FLASH_SIZE,
                                     .page_size = NRF51_PAGE_SIZE,
                                     .granule = 4,
                                     .write_once = true,
                                     .read = flash_read,
                                     .program = flash_program,
                                     .erase = flash_erase};
