/*
 * Real code of an ARM part through a slot: what lies behind the list in a slot is, byte for byte, what the linker makes
 * for that address, and what is read back is the canonical payload. Without a cross compiler the links are synthesized.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"
#include "proto/mp_wire.h"
#include "tests/lib/flash_sim.h"
#include "tests/lib/sign.h"
#include "tests/lib/vectors.h"

enum { PAGE = 1024, SLOT_PAGES = 24, LINK_MAX = 16384 };
enum { BASE_A = 0x10000, BASE_B = 0x28000 };

/* Vector table, literal pools, jump table, strings, pointers to data, code and RAM, initial values of data. */
static const char program[] =
    "#include <stdint.h>\n"
    "extern uint32_t stack_end[], data_load[], data_start[], data_end[];\n"
    "void start(void); void fault(void);\n"
    "__attribute__((section(\".vectors\"), used)) const void *const vectors[48] = {stack_end, start, fault, fault,\n"
    "    [16] = start, [17 ... 47] = fault};\n"
    "static const char *const names[] = {\"north\", \"east\", \"south\", \"west\"};\n"
    "volatile uint32_t counter = 0x12345678;\n"
    "const char *volatile picked = \"none\";\n"
    "struct work { uint32_t (*run)(uint32_t); const char *name; struct work *next; };\n"
    "static uint32_t twice(uint32_t x) { return x * 2; }\n"
    "static uint32_t hash(uint32_t x) { return (x ^ 0x9E3779B9u) * 0x85EBCA6Bu; }\n"
    "struct work second = {hash, \"hash\", 0}, first = {twice, \"twice\", &second};\n"
    "const uint32_t table[] = {0, 0x10000, 0x10001, 0x28000, 0xFFFFFFFF, 0x0000FFFF};\n"
    "__attribute__((noinline)) uint32_t pick(uint32_t n) {\n"
    "    switch (n) { case 0: return counter; case 1: return table[counter & 3]; case 2: return hash(n);\n"
    "    case 3: return twice(counter); case 4: return (uint32_t)(uintptr_t)names; case 5: return 77;\n"
    "    case 6: return (uint32_t)(uintptr_t)&first; default: return (uint32_t)(uintptr_t)fault; } }\n"
    "void fault(void) { for (;;) counter++; }\n"
    "void start(void) {\n"
    "    for (uint32_t *to = data_start, *from = data_load; to < data_end;) *to++ = *from++;\n"
    "    for (uint32_t n = 0;; n++) { picked = names[n & 3]; counter += pick(n & 7);\n"
    "        for (struct work *w = &first; w; w = w->next) counter = w->run(counter); } }\n";

static const char script[] =
    "SECTIONS {\n"
    "  .text BASE : { KEEP(*(.vectors)) *(.text*) *(.rodata*) . = ALIGN(4); }\n"
    "  data_load = LOADADDR(.data);\n"
    "  .data 0x20000040 : AT(ADDR(.text) + SIZEOF(.text)) { data_start = .; *(.data*) . = ALIGN(4); data_end = .; }\n"
    "  .bss : { *(.bss*) }\n"
    "  stack_end = 0x20004000;\n"
    "  /DISCARD/ : { *(.ARM.*) *(.comment) }\n"
    "}\n";

struct link {
    uint8_t data[LINK_MAX];
    size_t size;
};

static char folder[32];

static void file_write(const char *name, const char *text)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool run(const char *format, ...)
{
    char command[600];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_in_range(n, 1, sizeof command - 1);
    return system(command) == 0; /* NOLINT(cert-env33-c): a fixed command line of this test */
}

static bool has_compiler;
static const char *cpu;

static bool compile(void)
{
    return run("arm-none-eabi-gcc -mcpu=%s -mthumb -Os -ffreestanding -c %s/program.c -o %s/program.o", cpu, folder,
               folder);
}

static void link_arm(struct link *link, uint32_t base)
{
    char path[64];
    FILE *f;

    assert_true(run("arm-none-eabi-gcc -mcpu=%s -mthumb -nostdlib -Wl,--build-id=none,--defsym=BASE=0x%x "
                    "-Wl,--no-warn-rwx-segments -T %s/link.ld %s/program.o -lgcc -o %s/program.elf",
                    cpu, base, folder, folder, folder));
    assert_true(run("arm-none-eabi-objcopy -O binary %s/program.elf %s/program.bin", folder, folder));
    snprintf(path, sizeof path, "%s/program.bin", folder);
    f = fopen(path, "rb");
    assert_non_null(f);
    link->size = fread(link->data, 1, sizeof link->data, f);
    fclose(f);
    assert_in_range(link->size, 400, sizeof link->data - 1);
}

/* The same without a compiler: noise with addresses of its own in it. */
static void link_synthetic(struct link *link, uint32_t base)
{
    link->size = 5001;
    vectors_noise(41, link->data, link->size);
    for (uint32_t at = 0, step; at + 4 <= link->size; at += step) {
        step = at < 192 ? 4 : 4 * (1 + link->data[at] % 40u);
        mp_put32(link->data + at, base + at * 37 % 5000);
    }
}

static void link_for(struct link *link, uint32_t base)
{
    memset(link, 0, sizeof *link);
    if (has_compiler)
        link_arm(link, base);
    else
        link_synthetic(link, base);
}

static struct flash_sim sim;
static struct link link_a, link_b, placed;
static uint8_t payload[2 * LINK_MAX], memory[256];
static uint32_t payload_size;

static const struct nf_layout layout = {.boot_record = 0,
                                        .settings = 2 * PAGE,
                                        .objects = 3 * PAGE,
                                        .objects_size = 8 * PAGE,
                                        .slot = {11 * PAGE, (11 + SLOT_PAGES) * PAGE},
                                        .slot_size = SLOT_PAGES * PAGE,
                                        .slot_base = {BASE_A, BASE_B}};

/* Packs both links, installs the payload in a slot, and compares what lies there with the link for its address. */
static void place(unsigned slot, uint32_t align)
{
    const struct mp_crypto *crypto = crypto_sodium();
    struct sign_fleet fleet;
    struct mp_manifest m;
    uint8_t manifest[MP_MANIFEST_SIZE], data[MP_CHUNK_SIZE];
    struct boot_image image;
    uint32_t start, at = layout.slot[slot];
    long n = mp_reloc_pack(payload, sizeof payload, link_a.data, link_b.data, link_a.size, BASE_A, BASE_B, align, NULL);

    assert_true(n > (long)link_a.size);
    payload_size = (uint32_t)n;
    sign_fleet_make(&fleet);
    sign_manifest_fill(&m, 3, 1);
    sign_manifest_image(&m, payload, payload_size);
    sign_manifest(manifest, &m, &fleet.publisher);
    flash_sim_init(&sim, 72 * PAGE, PAGE, 4, false);
    assert_in_range(nf_slot_memory(&sim.flash, &layout), 1, sizeof memory);
    assert_int_equal(nf_store_install(&sim.flash, &layout, crypto, slot, manifest, payload, payload_size, memory), 0);

    assert_int_equal(boot_image_open(&image, &sim.flash, &layout, slot, crypto, NULL), MP_OK);
    start = boot_image_start(&image);
    assert_int_equal(start % align, 0);
    assert_int_equal(start, payload_size - link_a.size);
    assert_true(image.reloc.count > 40);
    link_for(&placed, layout.slot_base[slot] + start);
    assert_int_equal(placed.size, link_a.size);
    assert_memory_equal(sim.data + at + start, placed.data, placed.size);
    assert_memory_equal(sim.data + at, payload, start);
    for (uint32_t offset = 0; offset < payload_size; offset += MP_CHUNK_SIZE) {
        uint32_t len = payload_size - offset < MP_CHUNK_SIZE ? payload_size - offset : MP_CHUNK_SIZE;
        assert_int_equal(boot_image_read(&image, offset, data, len), MP_OK);
        assert_memory_equal(data, payload + offset, len);
    }
    assert_int_equal(boot_image_verify(&image, crypto), MP_OK);
}

static void code_lies_in_every_slot_as_if_linked_for_it(void **state)
{
    static const char *const cpus[] = {"cortex-m0", "cortex-m4"};
    (void)state;

    for (unsigned i = 0; i < (has_compiler ? 2 : 1); i++) {
        cpu = cpus[i];
        if (has_compiler)
            assert_true(compile());
        link_for(&link_a, BASE_A);
        link_for(&link_b, BASE_B);
        for (unsigned slot = 0; slot < 2; slot++)
            for (uint32_t align = 4; align <= 1024; align *= 16)
                place(slot, align);
    }
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_reloc_arm.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    has_compiler = run("command -v arm-none-eabi-gcc >/dev/null");
    file_write("program.c", program);
    file_write("link.ld", script);
    return 0;
}

static int drop_folder(void **state)
{
    static const char *const names[] = {"program.c", "link.ld", "program.o", "program.elf", "program.bin"};
    char path[64];
    (void)state;

    for (unsigned i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_lies_in_every_slot_as_if_linked_for_it),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("reloc_arm", tests, make_folder, drop_folder);
}
