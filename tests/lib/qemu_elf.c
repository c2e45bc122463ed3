/*
 * Symbols of firmware: the symbol table of a 32-bit little-endian ELF file (System V ABI, chapter 4).
 */
#include "qemu.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ELF_FILE_MAX = 16 << 20 };

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rbe");
    uint8_t *data = NULL;
    if (file == NULL)
        return NULL;
    const long n = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (n >= (long)sizeof(Elf32_Ehdr) && n <= ELF_FILE_MAX && fseek(file, 0, SEEK_SET) == 0)
        data = malloc((size_t)n);
    if (data != NULL && fread(data, 1, (size_t)n, file) != (size_t)n) {
        free(data);
        data = NULL;
    }
    fclose(file);
    *size = n > 0 ? (size_t)n : 0;
    return data;
}

/* Copies section header `index` if it lies in the file, as does what it describes. */
static bool get_section(Elf32_Shdr *out, const uint8_t *data, size_t size, const Elf32_Ehdr *head, unsigned index)
{
    const uint64_t at = (uint64_t)head->e_shoff + (uint64_t)index * sizeof *out;
    if (index >= head->e_shnum || head->e_shentsize != sizeof *out || at + sizeof *out > size)
        return false;
    memcpy(out, data + at, sizeof *out);
    return out->sh_type == SHT_NOBITS || (uint64_t)out->sh_offset + out->sh_size <= size;
}

static bool find_symbol(Elf32_Sym *out, const uint8_t *data, const Elf32_Shdr *table, const Elf32_Shdr *names,
                        const char *symbol)
{
    const size_t len = strlen(symbol) + 1;
    for (size_t i = 0; i < table->sh_size / sizeof *out; i++) {
        memcpy(out, data + table->sh_offset + i * sizeof *out, sizeof *out);
        if (out->st_shndx != SHN_UNDEF && out->st_name < names->sh_size && names->sh_size - out->st_name >= len &&
            memcmp(data + names->sh_offset + out->st_name, symbol, len) == 0)
            return true;
    }
    return false;
}

int qemu_symbol(const char *elf, const char *symbol, uint32_t *value, uint32_t *size)
{
    size_t n = 0;
    uint8_t *data = read_file(elf, &n);
    Elf32_Ehdr head;
    Elf32_Shdr table, names;
    Elf32_Sym found;
    int result = -1;
    if (data == NULL)
        return -1;
    memcpy(&head, data, sizeof head);
    const bool fits = memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == ELFCLASS32 &&
                      head.e_ident[EI_DATA] == ELFDATA2LSB;
    for (unsigned i = 0; fits && result != 0 && i < head.e_shnum; i++) {
        if (!get_section(&table, data, n, &head, i) || table.sh_type != SHT_SYMTAB ||
            !get_section(&names, data, n, &head, table.sh_link) || names.sh_type != SHT_STRTAB ||
            !find_symbol(&found, data, &table, &names, symbol))
            continue;
        const bool is_function = ELF32_ST_TYPE(found.st_info) == STT_FUNC;
        *value = is_function ? found.st_value & ~UINT32_C(1) : found.st_value;
        if (size != NULL)
            *size = found.st_size;
        result = 0;
    }
    free(data);
    return result;
}
