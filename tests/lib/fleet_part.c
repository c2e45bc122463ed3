#include "fleet_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"

struct fleet_part *fleet_part_add(struct fleet *f, const char *name, unsigned model, const char *label,
                                  unsigned release, unsigned slot)
{
    char boot[FLEET_PATH_MAX * 2], settings[FLEET_PATH_MAX], manifest[FLEET_PATH_MAX], payload[FLEET_PATH_MAX];
    char file[40];
    struct fleet_part *p = calloc(1, sizeof *p);
    if (p == NULL)
        fleet_fail(f, "no memory");
    p->node = fleet_enter(f, name, model, label);
    p->node->part = p;
    snprintf(file, sizeof file, "%s.settings", name);
    fleet_path(f, settings, file);
    fleet_factory(f, release, model, manifest, payload);
    snprintf(boot, sizeof boot, "%s/nrf51/boot.bin", f->build);
    const struct part_flash what = {
        .boot = boot, .settings = settings, .manifest = manifest, .payload = payload, .slot = slot};
    if (part_flash_build(p->flash, &what) != 0)
        fleet_fail(f, "%s cannot be provisioned", name);
    return p;
}

void fleet_part_start(struct fleet *f, struct fleet_part *p)
{
    char line[FLEET_PATH_MAX], file[48];
    snprintf(file, sizeof file, "air/%s.sock", p->node->name);
    fleet_path(f, line, file);
    qemu_open(&p->qemu, &(struct qemu_options){.name = p->node->name, .dir = f->dir, .serial = line});
    qemu_load(&p->qemu, p->flash, sizeof p->flash);
    qemu_run(&p->qemu);
    p->node->pid = p->qemu.pid;
}

void fleet_part_stop(struct fleet_part *p)
{
    qemu_close(&p->qemu);
    p->node->pid = 0;
}

void fleet_parts_close(struct fleet *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (f->node[i].part == NULL)
            continue;
        fleet_part_stop(f->node[i].part);
        free(f->node[i].part);
        f->node[i].part = NULL;
    }
}

bool fleet_part_record(struct fleet_part *p, struct boot_record *record)
{
    uint8_t image[PART_FLASH_SIZE];
    const struct nf_flash flash = part_flash_over(image);
    qemu_flash(&p->qemu, image);
    return boot_read(&flash, part_flash_layout(), record) == 0;
}

bool fleet_part_holds(struct fleet_part *p, unsigned release)
{
    uint8_t image[PART_FLASH_SIZE];
    const struct nf_flash flash = part_flash_over(image);
    qemu_flash(&p->qemu, image);
    for (unsigned slot = 0; slot < 2; slot++) {
        struct boot_image b;
        if (boot_image_open(&b, &flash, part_flash_layout(), slot, crypto_sodium(), NULL) == 0 &&
            b.manifest.release == release && boot_image_verify(&b, crypto_sodium()) == 0)
            return true;
    }
    return false;
}

uint32_t fleet_part_variable(struct fleet *f, struct fleet_part *p, const char *stem, const char *symbol)
{
    char elf[FLEET_PATH_MAX * 2];
    uint32_t address;
    snprintf(elf, sizeof elf, "%s/nrf51/%s.elf", f->build, stem);
    if (qemu_symbol(elf, symbol, &address, NULL) != 0)
        fleet_fail(f, "%s has no %s", elf, symbol);
    return qemu_peek_u32(&p->qemu, address);
}
