#include "recovery_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"

static const uint8_t network_key[16] = {7};

/* --- flash that watches -------------------------------------------------------------------------------------------- */

static bool lies_in(uint32_t address, size_t len, uint32_t start, uint32_t size)
{
    return address >= start && address - start <= size && len <= size - (address - start);
}

static void watch(const struct recovery_part *p, uint32_t address, size_t len)
{
    const struct nf_layout *l = &p->layout;
    uint32_t page = p->sim.flash.page_size;

    if (lies_in(address, len, l->boot_record, 2 * page) || lies_in(address, len, l->settings, page) ||
        lies_in(address, len, l->objects, l->objects_size) || lies_in(address, len, l->slot[0], l->slot_size) ||
        lies_in(address, len, l->slot[1], l->slot_size) ||
        (l->seal[0] != l->seal[1] &&
         (lies_in(address, len, l->seal[0], page) || lies_in(address, len, l->seal[1], page))))
        return;
    if (flash_sim_panic != NULL)
        flash_sim_panic("write outside", address);
    fprintf(stderr, "recovery_part: %zu bytes written at 0x%x\n", len, (unsigned)address);
    abort();
}

static int part_read(void *ctx, uint32_t address, void *data, size_t len)
{
    struct recovery_part *p = ctx;

    return p->sim.flash.read(&p->sim, address, data, len);
}

static int part_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    struct recovery_part *p = ctx;

    watch(p, address, len);
    return p->sim.flash.program(&p->sim, address, data, len);
}

static int part_erase(void *ctx, uint32_t address)
{
    struct recovery_part *p = ctx;

    watch(p, address, p->sim.flash.page_size);
    return p->sim.flash.erase(&p->sim, address);
}

/* --- the part ------------------------------------------------------------------------------------------------------ */

static int accept(void *ctx, const uint8_t *manifest)
{
    struct recovery_part *p = ctx;

    return nf_store_accept(&p->flash, &p->layout, rig_crypto(), manifest);
}

static void kick(void *ctx)
{
    ((struct recovery_part *)ctx)->kicks++;
}

void recovery_part_init(struct recovery_part *p, const struct rig_part *kind)
{
    uint32_t page = kind->page_size, behind = page > 2048 ? 0 : page, at = page;

    memset(p, 0, sizeof *p);
    p->layout.boot_record = at;
    p->layout.settings = at + 2 * page;
    p->layout.objects = at + 3 * page;
    p->layout.objects_size = (page >= 2048 ? 4 : 8) * page;
    p->layout.slot_size = (RIG_PAYLOAD_MAX / page + 2) * page;
    p->layout.slot[0] = p->layout.objects + p->layout.objects_size;
    p->layout.slot[1] = p->layout.slot[0] + p->layout.slot_size;
    for (unsigned i = 0; i < 2; i++)
        p->layout.slot_base[i] = kind->relocates ? 0x08000000 + p->layout.slot[i] : 0;
    flash_sim_init(&p->sim, p->layout.slot[1] + p->layout.slot_size + behind, page, kind->granule, kind->write_once);
    p->flash = p->sim.flash;
    p->flash.ctx = p;
    p->flash.read = part_read;
    p->flash.program = part_program;
    p->flash.erase = part_erase;
    p->env.boot =
        (struct boot_env){.flash = &p->flash, .layout = &p->layout, .crypto = rig_crypto(), .ctx = p, .accept = accept};
    p->env.kick = kick;
    memcpy(p->env.part, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    p->env.boot_version = 0x01020003;
    boot_recovery_init(&p->r, &p->env);
}

void recovery_part_restart(struct recovery_part *p)
{
    flash_sim_power_on(&p->sim);
    boot_recovery_init(&p->r, &p->env);
}

int recovery_part_boot(struct recovery_part *p, struct boot_choice *choice)
{
    struct boot_choice own;

    if (choice == NULL)
        choice = &own;
    boot_select(&p->env.boot, BOOT_CAUSE_POWER, choice);
    return boot_has_settings(&p->env.boot) ? choice->slot : -1;
}

void recovery_settings(uint8_t out[MP_SETTINGS_SIZE], uint32_t node)
{
    struct mp_settings s = {.node = node,
                            .network = RIG_NETWORK,
                            .index = 4,
                            .labels = RIG_LABELS,
                            .model = RIG_MODEL,
                            .product = rig_image[1].m.product,
                            .key_count = 1,
                            .key_id = {1, 0}};

    memcpy(s.network_key[0], network_key, 16);
    memset(s.report_key, 0x44, 16);
    mp_keyset_put(s.keyset, &rig_fleet.keyset);
    mp_settings_put(out, &s);
}

/* --- frames -------------------------------------------------------------------------------------------------------- */

size_t recovery_frame(uint8_t *out, unsigned type, const void *payload, size_t len)
{
    if (len > BOOT_RECOVERY_PAYLOAD_MAX)
        abort();
    out[0] = BOOT_RECOVERY_MAGIC;
    out[1] = (uint8_t)type;
    mp_put16(out + 2, (uint32_t)len);
    if (len > 0)
        memcpy(out + BOOT_RECOVERY_HEAD, payload, len);
    mp_put32(out + BOOT_RECOVERY_HEAD + len, mp_crc32(out, BOOT_RECOVERY_HEAD + len));
    return BOOT_RECOVERY_HEAD + len + 4;
}

size_t recovery_part_feed(struct recovery_part *p, const uint8_t *data, size_t len)
{
    size_t reply = 0;

    for (size_t i = 0; i < len; i++) {
        size_t n = boot_recovery_receive(&p->r, data[i]);
        if (n > 0)
            reply = n;
    }
    return reply;
}

int recovery_part_ask(struct recovery_part *p, unsigned type, const void *payload, size_t len)
{
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX];
    size_t n = recovery_part_feed(p, frame, recovery_frame(frame, type, payload, len));
    const uint8_t *reply = p->r.frame;

    if (n == 0)
        return 1;
    /* Every reply is a whole frame of its kind. */
    if (n < BOOT_RECOVERY_HEAD + 1 + 4 || reply[0] != BOOT_RECOVERY_MAGIC || reply[1] != (type | 0x80) ||
        mp_get16(reply + 2) + BOOT_RECOVERY_HEAD + 4u != n || mp_get32(reply + n - 4) != mp_crc32(reply, n - 4))
        abort();
    return -reply[BOOT_RECOVERY_HEAD];
}

int recovery_part_begin(struct recovery_part *p, unsigned slot, const uint8_t manifest[MP_MANIFEST_SIZE])
{
    uint8_t payload[1 + MP_MANIFEST_SIZE] = {(uint8_t)slot};

    memcpy(payload + 1, manifest, MP_MANIFEST_SIZE);
    return recovery_part_ask(p, BOOT_RECOVERY_BEGIN, payload, sizeof payload);
}

int recovery_part_data(struct recovery_part *p, uint32_t piece, const uint8_t *data, size_t len)
{
    uint8_t payload[4 + MP_CHUNK_SIZE + 1];

    mp_put32(payload, piece);
    memcpy(payload + 4, data, len);
    return recovery_part_ask(p, BOOT_RECOVERY_DATA, payload, 4 + len);
}

size_t recovery_piece(const struct rig_image *image, uint32_t piece, const uint8_t **data)
{
    uint32_t position = (piece + image->tree.first[0]) % image->tree.positions;

    *data = image->chunk[position];
    return mp_tree_length(&image->tree, position);
}

int recovery_part_install(struct recovery_part *p, unsigned slot, uint32_t release, bool with_tree)
{
    const struct rig_image *image = &rig_image[release];
    uint32_t count = with_tree ? image->tree.positions : image->tree.count[0];
    int status = recovery_part_begin(p, slot, image->manifest);

    for (uint32_t piece = mp_get32(p->r.frame + BOOT_RECOVERY_HEAD + 1); status == 0 && piece < count; piece++) {
        const uint8_t *data;
        size_t len = recovery_piece(image, piece, &data);
        status = recovery_part_data(p, piece, data, len);
    }
    return status != 0 ? status : recovery_part_ask(p, BOOT_RECOVERY_FINISH, NULL, 0);
}
