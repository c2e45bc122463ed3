#include "provision.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"

/* One line or JSON member a call; `first` tracks commas. */
struct writer {
    FILE *out;
    bool json;
    bool first;
};

static void open_object(struct writer *w, const char *name)
{
    if (w->json)
        fprintf(w->out, name == NULL ? "{" : "%s\"%s\":{", w->first ? "" : ",", name);
    else if (name != NULL)
        fprintf(w->out, "%s:\n", name);
    w->first = true;
}

static void close_object(struct writer *w)
{
    if (w->json)
        fputc('}', w->out);
    w->first = false;
}

static void put_number(struct writer *w, const char *name, uint32_t value)
{
    fprintf(w->out, w->json ? "%s\"%s\":%u" : "%s  %-14s %u\n", w->json && !w->first ? "," : "", name, value);
    w->first = false;
}

/* Texts are our own words and hex digits: nothing to escape. */
static void put_text(struct writer *w, const char *name, const char *value)
{
    fprintf(w->out, w->json ? "%s\"%s\":\"%s\"" : "%s  %-14s %s\n", w->json && !w->first ? "," : "", name, value);
    w->first = false;
}

static void put_bool(struct writer *w, const char *name, bool value)
{
    if (w->json)
        fprintf(w->out, "%s\"%s\":%s", w->first ? "" : ",", name, value ? "true" : "false");
    else
        fprintf(w->out, "  %-14s %s\n", name, value ? "yes" : "no");
    w->first = false;
}

static void put_hex(struct writer *w, const char *name, const uint8_t *data, size_t len)
{
    char text[65];
    for (size_t i = 0; i < len && i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    put_text(w, name, text);
}

static void put_version(struct writer *w, uint32_t version)
{
    char text[20];
    snprintf(text, sizeof text, "%u.%u.%u", version >> 24, version >> 16 & 0xFF, version & 0xFFFF);
    put_text(w, "version", text);
}

static void put_geometry(struct writer *w, const struct port_flash *f, const struct nf_layout *layout)
{
    uint32_t most = 0;
    for (uint32_t a = 0; a < f->flash.size; a += f->flash.page_size)
        most = port_flash_wear(f, a) > most ? port_flash_wear(f, a) : most;
    open_object(w, "flash");
    put_number(w, "size", f->flash.size);
    put_number(w, "page_size", f->flash.page_size);
    put_number(w, "granule", f->flash.granule);
    put_bool(w, "write_once", f->flash.write_once);
    put_number(w, "slot_size", layout->slot_size);
    put_number(w, "erases_max", most);
    close_object(w);
}

static void put_settings(struct writer *w, const struct port_flash *f, const struct nf_layout *layout)
{
    struct mp_settings s;
    const int rc = nf_settings_load(&s, &f->flash, layout);
    open_object(w, "settings");
    put_bool(w, "valid", rc == 0);
    if (rc == 0) {
        put_number(w, "node", s.node);
        put_number(w, "network", s.network);
        put_number(w, "index", s.index);
        put_number(w, "labels", s.labels);
        put_number(w, "product", s.product);
        put_number(w, "model", s.model);
        put_number(w, "hw_revision", s.hw_revision);
    }
    close_object(w);
}

static const char *state_name(unsigned state)
{
    static const char *const names[] = {"none", "confirmed", "pending", "trial"};
    return state < 4 ? names[state] : "unknown";
}

static void put_record(struct writer *w, const struct port_flash *f, const struct nf_layout *layout)
{
    struct boot_record r;
    open_object(w, "boot_record");
    const bool there = boot_read(&f->flash, layout, &r) == 0;
    put_text(w, "state", state_name(there ? r.state : BOOT_NONE));
    if (there) {
        put_number(w, "sequence", r.sequence);
        put_number(w, "home", r.home);
        put_number(w, "tries", r.tries);
        put_number(w, "reason", r.reason);
        put_number(w, "floor", r.floor);
        put_number(w, "release", r.release);
        put_number(w, "confirm_s", r.confirm_s);
        put_hex(w, "id", r.id, sizeof r.id);
    }
    close_object(w);
}

static void put_slot(struct writer *w, const struct port_flash *f, const struct nf_layout *layout,
                     const struct mp_crypto *crypto, unsigned slot)
{
    struct boot_image image;
    open_object(w, slot == 0 ? "slot0" : "slot1");
    const bool sealed = boot_image_open(&image, &f->flash, layout, slot, crypto, NULL) == 0;
    put_bool(w, "sealed", sealed);
    if (sealed) {
        put_version(w, image.manifest.version);
        put_number(w, "release", image.manifest.release);
        put_number(w, "counter", image.manifest.security_counter);
        put_number(w, "size", image.manifest.image_size);
        put_hex(w, "id", image.id, sizeof image.id);
        put_hex(w, "sha256", image.manifest.image_sha256, sizeof image.manifest.image_sha256);
        put_bool(w, "verifies", boot_image_verify(&image, crypto) == 0);
    }
    close_object(w);
}

/* The keyset in force: the object log's, else the provisioned one. */
static void put_keyset(struct writer *w, const struct port_flash *f, const struct nf_layout *layout)
{
    struct nf_objects objects;
    struct mp_keyset keys;
    uint8_t raw[MP_KEYSET_SIZE];
    if (nf_objects_mount(&objects, &f->flash, layout) != 0)
        return;
    const int n = nf_objects_get(&objects, MP_KIND_KEYSET, 0, raw, sizeof raw);
    if (n <= 0 || mp_keyset_get(&keys, raw, (size_t)n) != 0)
        return;
    open_object(w, "keyset");
    put_number(w, "number", keys.number);
    put_bool(w, "frozen", keys.frozen);
    close_object(w);
}

int port_inspect(const char *flash, bool json, FILE *out)
{
    struct port_flash f;
    struct nf_layout layout;
    struct writer w = {.out = out, .json = json, .first = true};
    const struct mp_crypto *crypto = crypto_sodium();
    int rc = port_flash_peek(&f, flash);
    if (rc != 0 || crypto == NULL) {
        fprintf(stderr, "%s: %s\n", flash, rc == -EINVAL ? "not a flash file" : strerror(-rc));
        return -1;
    }
    rc = port_layout(&layout, &f.flash);
    if (rc != 0) {
        fprintf(stderr, "%s: too small\n", flash);
        goto out;
    }
    open_object(&w, NULL);
    put_geometry(&w, &f, &layout);
    put_settings(&w, &f, &layout);
    put_record(&w, &f, &layout);
    put_slot(&w, &f, &layout, crypto, 0);
    put_slot(&w, &f, &layout, crypto, 1);
    put_keyset(&w, &f, &layout);
    close_object(&w);
    if (json)
        fputc('\n', out);
    rc = ferror(out) ? -1 : 0;
out:
    port_flash_close(&f);
    return rc == 0 ? 0 : -1;
}
