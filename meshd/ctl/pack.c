#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mp_wire.h"
#include "proto/object/reloc.h"
#include "proto/object/tree.h"

#define IMAGE_MAGIC 0x3149464Du /* "MFI1" */
#define DIGEST_AT 48            /* in an image file's header */

static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size)
        vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

int md_version_parse(const char *text, uint32_t *version)
{
    static const uint32_t max[3] = {255, 255, 65535};
    uint32_t part[3];
    for (unsigned i = 0; i < 3; i++) {
        if (*text < '0' || *text > '9')
            return MP_ERR_FORMAT;
        for (part[i] = 0; *text >= '0' && *text <= '9'; text++) {
            part[i] = part[i] * 10 + (uint32_t)(*text - '0');
            if (part[i] > max[i])
                return MP_ERR_FORMAT;
        }
        if (*text++ != (i < 2 ? '.' : '\0'))
            return MP_ERR_FORMAT;
    }
    *version = part[0] << 24 | part[1] << 16 | part[2];
    return MP_OK;
}

void md_version_format(uint32_t version, char out[16])
{
    snprintf(out, 16, "%u.%u.%u", version >> 24, version >> 16 & 0xFF, version & 0xFFFF);
}

/* --- links
 * ------------------------------------------------------------------------------------------------------------ */

static uint8_t byte_at(const uint8_t *data, size_t len, size_t at)
{
    return at < len ? data[at] : 0;
}

int md_pack_links(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, uint32_t base_a, uint32_t base_b,
                  uint32_t align, uint8_t **payload, size_t *size, char *error, size_t error_size)
{
    *payload = NULL;
    *size = 0;
    if (a_len == 0)
        return refuse(error, error_size, MP_ERR_LENGTH, "the image is empty");
    if (b && a_len != b_len)
        return refuse(error, error_size, MP_ERR_LENGTH, "the two links differ in size: %zu and %zu bytes", a_len,
                      b_len);
    if (a_len > MP_IMAGE_MAX)
        return refuse(error, error_size, MP_ERR_ROOM, "%zu bytes, more than %u", a_len, MP_IMAGE_MAX);
    /* no word takes more than three bytes of list */
    size_t cap = a_len + a_len / 4 * 3 + 64 + MP_RELOC_ALIGN_MAX, bad = 0;
    uint8_t *out = malloc(cap);
    if (!out)
        return refuse(error, error_size, MP_ERR_ROOM, "out of memory");
    long n = mp_reloc_pack(out, cap, a, b, a_len, base_a, base_b, align, &bad);
    if (n < 0) {
        free(out);
        if (n == MP_ERR_FORMAT)
            return refuse(
                error, error_size, MP_ERR_FORMAT,
                "the two links differ in more than relocations at offset 0x%zx: 0x%02x there, 0x%02x here; words "
                "may differ by 0x%x only",
                bad, byte_at(a, a_len, bad), byte_at(b, b ? b_len : 0, bad), base_b - base_a);
        return refuse(error, error_size, (int)n, "the image cannot be packed: %s", mp_strerror((int)n));
    }
    *payload = out;
    *size = (size_t)n;
    return MP_OK;
}

/* --- image file
 * ------------------------------------------------------------------------------------------------------- */

static void digest_of(const struct mp_crypto *crypto, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                      uint8_t digest[32])
{
    struct mp_sha256 state;
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, a, a_len);
    crypto->sha256_update(&state, b, b_len);
    crypto->sha256_final(&state, digest);
}

long md_image_put(const struct mp_crypto *crypto, const struct md_image *image, uint8_t *out, size_t cap)
{
    if (image->payload_size == 0 || image->payload_size > MP_IMAGE_MAX || image->hw_revisions == 0)
        return MP_ERR_FORMAT;
    if (cap < (size_t)MD_IMAGE_HEADER + image->payload_size)
        return MP_ERR_ROOM;
    memset(out, 0, MD_IMAGE_HEADER);
    mp_put32(out, IMAGE_MAGIC);
    mp_put16(out + 4, 1);
    mp_put16(out + 6, MD_IMAGE_HEADER);
    mp_put32(out + 8, image->product);
    mp_put16(out + 12, image->model);
    mp_put32(out + 16, image->hw_revisions);
    mp_put32(out + 20, image->version);
    mp_put32(out + 24, image->payload_size);
    memcpy(out + MD_IMAGE_HEADER, image->payload, image->payload_size);
    digest_of(crypto, out, DIGEST_AT, image->payload, image->payload_size, out + DIGEST_AT);
    return (long)MD_IMAGE_HEADER + (long)image->payload_size;
}

static bool is_zero(const uint8_t *data, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= data[i];
    return any == 0;
}

int md_image_get(const struct mp_crypto *crypto, struct md_image *image, const uint8_t *data, size_t len, char *error,
                 size_t error_size)
{
    uint8_t digest[32];
    memset(image, 0, sizeof *image);
    if (len < MD_IMAGE_HEADER)
        return refuse(error, error_size, MP_ERR_LENGTH, "not an image file: %zu bytes are less than its header", len);
    if (mp_get32(data) != IMAGE_MAGIC)
        return refuse(error, error_size, MP_ERR_FORMAT, "not an image file: it does not start with \"MFI1\"");
    if (mp_get16(data + 4) != 1 || mp_get16(data + 6) != MD_IMAGE_HEADER || !is_zero(data + 14, 2) ||
        !is_zero(data + 28, DIGEST_AT - 28))
        return refuse(error, error_size, MP_ERR_FORMAT, "image file of an unknown version");
    image->product = mp_get32(data + 8);
    image->model = mp_get16(data + 12);
    image->hw_revisions = mp_get32(data + 16);
    image->version = mp_get32(data + 20);
    image->payload_size = mp_get32(data + 24);
    image->payload = data + MD_IMAGE_HEADER;
    if (image->hw_revisions == 0 || image->payload_size == 0 || image->payload_size > MP_IMAGE_MAX)
        return refuse(error, error_size, MP_ERR_FORMAT, "image file with a size or hardware revision out of range");
    if (len != (size_t)MD_IMAGE_HEADER + image->payload_size)
        return refuse(error, error_size, MP_ERR_LENGTH, "image file of %zu bytes that should have %u", len,
                      MD_IMAGE_HEADER + image->payload_size);
    digest_of(crypto, data, DIGEST_AT, image->payload, image->payload_size, digest);
    if (memcmp(digest, data + DIGEST_AT, 32) != 0)
        return refuse(error, error_size, MP_ERR_CHUNK, "image file is damaged: its digest is wrong");
    return MP_OK;
}

/* --- manifest
 * --------------------------------------------------------------------------------------------------------- */

struct memory {
    const uint8_t *data;
    uint32_t size;
};

static int memory_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct memory *m = ctx;
    if (offset > m->size || len > m->size - offset)
        return MP_ERR_LENGTH;
    memcpy(data, m->data + offset, len);
    return MP_OK;
}

static int root_of(const struct mp_crypto *crypto, const uint8_t *payload, uint32_t size, const uint8_t salt[8],
                   uint8_t root[MP_HASH_SIZE])
{
    struct mp_tree tree;
    struct memory memory = {payload, size};
    int result = mp_tree_init(&tree, size);
    return result < 0 ? result : mp_tree_build(&tree, crypto, salt, memory_read, NULL, &memory, root);
}

static int check_list(const uint8_t *payload, uint32_t size)
{
    struct mp_reloc_header header;
    struct memory memory = {payload, size};
    return mp_reloc_check(&header, memory_read, &memory, size);
}

int md_manifest_make(const struct mp_crypto *crypto, const struct md_image *image,
                     const struct md_sign_options *options, const struct md_key *key,
                     uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct mp_manifest m = {.kind = MP_PAYLOAD_FULL,
                            .key_id = key->id,
                            .battery_min_percent = options->battery_min_percent,
                            .model = image->model,
                            .generation = key->generation,
                            .product = image->product,
                            .hw_revisions = image->hw_revisions,
                            .version = image->version,
                            .release = options->release,
                            .security_counter = options->security_counter,
                            .image_size = image->payload_size,
                            .payload_size = image->payload_size,
                            .version_min = options->version_min,
                            .expiry_epoch = options->expiry_epoch};
    uint8_t id[8];
    if (key->role != MP_ROLE_PUBLISHER || !key->has_secret)
        return MP_ERR_KEY;
    if (check_list(image->payload, image->payload_size) < 0)
        return MP_ERR_FORMAT;
    digest_of(crypto, image->payload, image->payload_size, NULL, 0, m.image_sha256);
    /* a handle of zero means "none" on the air: another salt gives another one */
    do {
        randombytes_buf(m.salt, sizeof m.salt);
        int result = root_of(crypto, image->payload, image->payload_size, m.salt, m.image_root);
        if (result < 0)
            return result;
        memcpy(m.payload_root, m.image_root, MP_HASH_SIZE);
        mp_manifest_put(manifest, &m);
        md_sign(MD_OBJECT_MANIFEST, key->secret, manifest, MP_MANIFEST_SIGNED, manifest + MP_MANIFEST_SIGNED);
        mp_manifest_id(crypto, manifest, id);
    } while (mp_get32(id) == 0);
    return mp_manifest_get(&m, manifest, MP_MANIFEST_SIZE);
}

int md_payload_check(const struct mp_crypto *crypto, const struct mp_manifest *m, const uint8_t *payload, char *error,
                     size_t error_size)
{
    uint8_t digest[32], root[MP_HASH_SIZE];
    if (m->kind != MP_PAYLOAD_FULL)
        return refuse(error, error_size, MP_ERR_UNSUPPORTED, "a delta payload, which this version cannot use");
    digest_of(crypto, payload, m->payload_size, NULL, 0, digest);
    if (memcmp(digest, m->image_sha256, 32) != 0)
        return refuse(error, error_size, MP_ERR_CHUNK,
                      "the payload is not the one that was signed: its SHA-256 differs");
    int result = root_of(crypto, payload, m->payload_size, m->salt, root);
    if (result < 0)
        return refuse(error, error_size, result, "no chunk tree: %s", mp_strerror(result));
    if (memcmp(root, m->payload_root, MP_HASH_SIZE) != 0)
        return refuse(error, error_size, MP_ERR_CHUNK,
                      "the payload's chunk tree has another root than the manifest says");
    if (check_list(payload, m->payload_size) < 0)
        return refuse(error, error_size, MP_ERR_FORMAT, "the payload's relocation list is malformed");
    return MP_OK;
}

/* --- files
 * ------------------------------------------------------------------------------------------------------------ */

int md_file_read(const char *path, size_t max, uint8_t **data, size_t *len, char *error, size_t error_size)
{
    struct stat st;
    int result = MP_OK;
    *data = NULL;
    *len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        result = refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        result = refuse(error, error_size, MP_ERR_STORE, "%s: not a regular file", path);
        goto out;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        result = refuse(error, error_size, MP_ERR_LENGTH, "%s: longer than %zu bytes", path, max);
        goto out;
    }
    size_t size = (size_t)st.st_size;
    *data = malloc(size ? size : 1);
    if (!*data) {
        result = refuse(error, error_size, MP_ERR_ROOM, "%s: out of memory", path);
        goto out;
    }
    while (*len < size) {
        ssize_t n = read(fd, *data + *len, size - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            result =
                refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, n < 0 ? strerror(errno) : "it became shorter");
            goto out;
        }
        *len += (size_t)n;
    }
out:
    if (fd >= 0)
        close(fd);
    if (result < 0) {
        free(*data);
        *data = NULL;
        *len = 0;
    }
    return result;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd);
}

int md_file_write(const char *path, const void *data, size_t len, unsigned mode, char *error, size_t error_size)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof temporary)
        return refuse(error, error_size, MP_ERR_STORE, "%s: path too long", path);
    int fd = mkstemp(temporary);
    if (fd < 0)
        return refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, strerror(errno));
    int failed = write_all(fd, data, len) != 0 || fchmod(fd, (mode_t)mode) != 0;
    int cause = errno;
    close(fd);
    if (!failed && rename(temporary, path) == 0)
        return MP_OK;
    if (!failed)
        cause = errno;
    unlink(temporary);
    return refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, strerror(cause));
}
