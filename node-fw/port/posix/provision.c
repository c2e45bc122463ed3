#include "provision.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"

/* Everything that goes into the flash, read and checked before it is written. */
struct material {
    const struct mp_crypto *crypto;
    struct mp_settings settings;
    uint8_t raw_manifest[MP_MANIFEST_SIZE];
    struct mp_manifest manifest;
    uint8_t id[8];
    uint8_t *image;
    size_t image_len;
};

static int complain(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    return -1;
}

/* Reads a whole file of at most `cap` bytes. Its length, or -1 after a complaint. */
static long read_file(const char *path, uint8_t *data, size_t cap)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return complain(path, strerror(errno));
    const size_t n = fread(data, 1, cap, f);
    const bool more = n == cap && fgetc(f) != EOF;
    const bool failed = ferror(f) != 0;
    fclose(f);
    if (failed)
        return complain(path, "cannot be read");
    return more ? complain(path, "too long") : (long)n;
}

static int read_settings(const struct port_provision *what, struct material *m)
{
    uint8_t raw[MP_SETTINGS_SIZE];
    const long n = read_file(what->settings, raw, sizeof raw);
    if (n < 0)
        return -1;
    const int rc = mp_settings_get(&m->settings, raw, (size_t)n);
    return rc == 0 ? 0 : complain(what->settings, rc == MP_ERR_CHUNK ? "damaged (CRC)" : "not a settings record");
}

static int check_manifest(const struct port_provision *what, const struct material *m)
{
    struct mp_keyset keys;
    uint8_t pub[32];
    const struct mp_settings *s = &m->settings;
    int rc = mp_keyset_get(&keys, s->keyset, MP_KEYSET_SIZE);
    if (rc == 0)
        rc = mp_keyset_find(&keys, MP_ROLE_PUBLISHER, m->manifest.key_id, m->manifest.generation, pub);
    if (rc != 0)
        return complain(what->manifest, "its publisher key is not in the settings' keyset");
    if (mp_manifest_verify(m->crypto, m->raw_manifest, pub) != 0)
        return complain(what->manifest, "wrong signature");
    if (m->manifest.product != s->product || m->manifest.model != s->model ||
        (m->manifest.hw_revisions >> s->hw_revision & 1) == 0)
        return complain(what->manifest, "for another product, model or hardware revision");
    if (m->manifest.kind != MP_PAYLOAD_FULL)
        return complain(what->manifest, "a delta cannot be provisioned");
    return 0;
}

static int read_manifest(const struct port_provision *what, struct material *m)
{
    const long n = read_file(what->manifest, m->raw_manifest, sizeof m->raw_manifest);
    if (n < 0)
        return -1;
    if (mp_manifest_get(&m->manifest, m->raw_manifest, (size_t)n) != 0)
        return complain(what->manifest, "not a manifest");
    mp_manifest_id(m->crypto, m->raw_manifest, m->id);
    return check_manifest(what, m);
}

static int read_image(const struct port_provision *what, struct material *m)
{
    m->image = malloc(m->manifest.image_size);
    if (m->image == NULL)
        return complain(what->image, strerror(errno));
    const long n = read_file(what->image, m->image, m->manifest.image_size);
    if (n < 0)
        return -1;
    m->image_len = (size_t)n;
    return m->image_len == m->manifest.image_size ? 0 : complain(what->image, "not the size that the manifest says");
}

/* Writes everything into a blank part. */
static int fill(const struct port_provision *what, const struct material *m, struct port_flash *f)
{
    struct nf_layout layout;
    struct boot_record record = {.state = BOOT_CONFIRMED,
                                 .home = 0,
                                 .reason = MP_REASON_NONE,
                                 .floor = m->manifest.security_counter,
                                 .release = m->manifest.release};
    if (port_layout(&layout, &f->flash) != 0)
        return complain(what->flash, "too small a geometry");
    memcpy(record.id, m->id, sizeof record.id);
    uint8_t *memory = malloc(nf_slot_memory(&f->flash, &layout));
    if (memory == NULL)
        return complain(what->flash, strerror(errno));
    const int rc = nf_store_install(&f->flash, &layout, m->crypto, 0, m->raw_manifest, m->image, m->image_len, memory);
    free(memory);
    if (rc == MP_ERR_ROOM)
        return complain(what->image, "does not fit a slot");
    if (rc == MP_ERR_CHUNK)
        return complain(what->image, "not the image that the manifest names");
    if (rc != 0)
        return complain(what->flash, "cannot write the slot");
    if (nf_settings_store(&m->settings, &f->flash, &layout) != 0)
        return complain(what->flash, "cannot write the settings");
    return boot_append(&f->flash, &layout, &record) == 0 ? 0 : complain(what->flash, "cannot write the boot record");
}

/* The flash at the path may be replaced: nobody runs from it, or it is not there. */
static int check_free(const char *path)
{
    struct port_flash f;
    const int rc = port_flash_open(&f, path);
    if (rc == 0)
        port_flash_close(&f);
    return rc == -EWOULDBLOCK ? complain(path, "a node runs from it") : 0;
}

static int write_flash(const struct port_provision *what, const struct material *m)
{
    char fresh[PATH_MAX];
    struct port_flash f;
    const int n = snprintf(fresh, sizeof fresh, "%s.fresh", what->flash);
    if (n < 0 || (size_t)n >= sizeof fresh)
        return complain(what->flash, "path too long");
    int rc = port_flash_create(fresh, &what->geometry);
    if (rc == 0)
        rc = port_flash_open(&f, fresh);
    if (rc != 0)
        return complain(fresh, rc == -EINVAL ? "geometry out of range" : strerror(-rc));
    rc = fill(what, m, &f);
    port_flash_sync(&f);
    port_flash_close(&f);
    if (rc == 0 && rename(fresh, what->flash) != 0)
        rc = complain(what->flash, strerror(errno));
    if (rc != 0)
        unlink(fresh);
    return rc;
}

int port_provision(const struct port_provision *what)
{
    struct material m = {.crypto = crypto_sodium()};
    int rc = m.crypto != NULL ? check_free(what->flash) : complain("libsodium", "cannot start");
    if (rc == 0)
        rc = read_settings(what, &m);
    if (rc == 0)
        rc = read_manifest(what, &m);
    if (rc == 0)
        rc = read_image(what, &m);
    if (rc == 0)
        rc = write_flash(what, &m);
    free(m.image);
    return rc;
}
