#include "fleet_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet_process.h"
#include "node-fw/port/cause.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/exports.h"
#include "node-fw/port/nrf51/map.h"

static struct fleet_part *allocate(struct fleet *f)
{
    struct fleet_part *p = calloc(1, sizeof *p);
    if (p == NULL)
        fleet_fail(f, "no memory");
    return p;
}

struct fleet_part *fleet_part_add(struct fleet *f, const char *name, unsigned model, const char *label,
                                  unsigned release, unsigned slot)
{
    char boot[FLEET_PATH_MAX * 2], settings[FLEET_PATH_MAX], manifest[FLEET_PATH_MAX], payload[FLEET_PATH_MAX];
    char file[40];
    struct fleet_part *p = allocate(f);
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
    qemu_open(&p->qemu,
              &(struct qemu_options){
                  .name = p->node->name, .dir = f->dir, .serial = line, .icount_shift = f->options.part_shift});
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

/* --- diagnosis ---------------------------------------------------------------------------------------------------- */

static void tell_slot(const struct nf_flash *flash, unsigned slot)
{
    struct boot_image b;
    if (boot_image_open(&b, flash, part_flash_layout(), slot, crypto_sodium(), NULL) != 0)
        printf("; slot %c not sealed", "AB"[slot]);
    else
        printf("; slot %c release %u, %s", "AB"[slot], b.manifest.release,
               boot_image_verify(&b, crypto_sodium()) == 0 ? "whole" : "damaged");
}

void fleet_part_tell(struct fleet_part *p)
{
    static const char *const states[] = {"no record", "confirmed", "pending", "trial"};
    static uint8_t image[PART_FLASH_SIZE];
    const struct nf_flash flash = part_flash_over(image);
    struct qemu *q = &p->qemu;
    struct boot_record record;
    char registers[1024];
    if (q->pid <= 0 || process_is_gone(q->pid)) {
        printf("part %s: off\n", p->node->name);
        q->pid = 0;
        return;
    }
    qemu_flash(q, image);
    const bool has = boot_read(&flash, part_flash_layout(), &record) == 0;
    printf("part %s: %s, home %c, record %u, tries left %u, reason %u, release %u", p->node->name,
           states[has ? record.state & 3 : 0], "AB"[record.home & 1], record.sequence, record.tries, record.reason,
           record.release);
    tell_slot(&flash, 0);
    tell_slot(&flash, 1);
    qemu_monitor(q, "info registers", registers, sizeof registers);
    struct nf_handover handover;
    qemu_peek(q, NRF51_HANDOVER, &handover, sizeof handover);
    printf("; reset %u times by itself (last: %s), %u times from outside\n%s\n", q->resets_own,
           nf_cause_name((enum boot_cause)handover.cause), q->resets_asked, registers);
}
