/*
 * meshctl image, sign, import: from a build to what the daemon holds.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "human.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "pack.h"
#include "passphrase.h"
#include "proto/object/reloc.h"

static const char image_help[] =
    "meshctl image - image files\n"
    "\n"
    "Usage:\n"
    "  meshctl image pack A.bin [B.bin --base-a ADDR --base-b ADDR] --product N\n"
    "                     --model N --version X.Y.Z -o FILE.mfi [--hw-revisions LIST]\n"
    "                     [--align N]\n"
    "  meshctl image info FILE\n"
    "  meshctl image extract FILE.mfr --manifest FILE --payload FILE [--index N]\n"
    "\n"
    "pack takes one position-independent build, or two links of one build at two addresses\n"
    "of their first bytes; they may differ in aligned words by the distance of these and in\n"
    "nothing else. The result runs from either slot, behind the list of these words.\n"
    "info reads an image file (.mfi) or a release bundle (.mfr) and checks its digests.\n"
    "extract writes one signed manifest of a bundle and its payload (default index 0), as\n"
    "the tool that prepares a new node's flash wants them (POSIX: node-boot provision).\n"
    "\n"
    "Options:\n"
    "  --base-a, --base-b ADDR  addresses of the first bytes of A.bin and B.bin\n"
    "  --align N                the image starts at a multiple of N bytes in its slot (4 to\n"
    "                           4096, default 4): what its vector table needs on parts\n"
    "                           with VTOR, e.g. 256 or 512\n"
    "  --hw-revisions LIST      revisions that can run it, e.g. 0-3,7 (default 0-31)\n"
    "\n"
    "Examples:\n"
    "  meshctl image pack app.bin --product 1 --model 1 --version 2.0.0 -o app.mfi\n"
    "  meshctl image pack a.bin b.bin --base-a 0x8000 --base-b 0x40000 --product 1 \\\n"
    "          --model 2 --version 2.0.0 -o mcu.mfi\n";

static const char sign_help[] =
    "meshctl sign - sign image files into one release bundle\n"
    "\n"
    "Usage: meshctl sign IMAGE.mfi... --key FILE --release N -o FILE.mfr [OPTIONS]\n"
    "\n"
    "One image for each product, model and hardware revision the release covers (up to 8).\n"
    "Signing takes the publisher key, no daemon and no network: an image is signed once.\n"
    "\n"
    "Options:\n"
    "  --key FILE               publisher key with its secret\n"
    "  --release N              release sequence; rises with every release\n"
    "  --security-counter N     nodes never again run anything lower (default 0). Raising\n"
    "                           it is a point of no return: once confirmed, no release\n"
    "                           with a lower counter can be reverted to. At most 16 a step\n"
    "  --version-min X.Y.Z      nodes must run at least this version to take it\n"
    "  --expires DAYS           not accepted any more after so many days (default never)\n"
    "  --battery-min N          percent a battery must hold to activate (default 0)\n"
    "  --passphrase-file FILE   if the key is sealed (or $MESHCTL_PASSPHRASE)\n"
    "\n"
    "Example:\n"
    "  meshctl sign lamp.mfi sensor.mfi --key publisher.key --release 2 -o 2.0.0.mfr\n";

static const char import_help[] =
    "meshctl import - give a release bundle to the daemon\n"
    "\n"
    "Usage: meshctl import FILE.mfr\n"
    "\n"
    "The daemon checks container, signature, payloads, release sequence and security\n"
    "counter, and stores all of it or nothing. Nothing is sent to nodes before a rollout\n"
    "is started.\n";

/* --- pack --------------------------------------------------------------------------------------------------------- */

/* "0-3,7" to bits. */
static bool parse_revisions(const char *text, uint32_t *bits)
{
    *bits = 0;
    while (*text != '\0') {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (end == text || *text < '0' || *text > '9')
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text || *text < '0' || *text > '9')
                return false;
        }
        if (first > last || last > 31)
            return false;
        for (unsigned long r = first; r <= last; r++)
            *bits |= 1u << r;
        if (*end == ',' && end[1] != '\0')
            end++;
        else if (*end != '\0')
            return false;
        text = end;
    }
    return *bits != 0;
}

struct pack {
    const char *args[2], *version, *revisions, *output;
    uint64_t base_a, base_b, align, product, model;
};

/* {"file", name: value, "bytes"} for --json. */
static void print_made(const char *file, const char *name, const char *value, uint64_t bytes)
{
    cJSON *j = cJSON_CreateObject();
    cJSON_AddStringToObject(j, "file", file);
    cJSON_AddStringToObject(j, name, value);
    cJSON_AddNumberToObject(j, "bytes", (double)bytes);
    md_ctl_print_json(j);
    cJSON_Delete(j);
}

static int write_image(struct md_ctl *c, const struct pack *p, struct md_image *image)
{
    char error[300], size[MD_HUMAN_MAX];
    size_t cap = MD_IMAGE_HEADER + (size_t)image->payload_size;
    uint8_t *out = malloc(cap);
    long n = out != NULL ? md_image_put(crypto_sodium(), image, out, cap) : MP_ERR_ROOM;
    int status = MD_EXIT_OK;
    if (n < 0)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "image: %s", mp_strerror((int)n));
    else if (md_file_write(p->output, out, (size_t)n, 0644, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    free(out);
    if (status == MD_EXIT_OK && c->json)
        print_made(p->output, "version", p->version, image->payload_size);
    else if (status == MD_EXIT_OK)
        printf("%s: product %u, model %u, version %s, payload %s\n", p->output, image->product, image->model,
               p->version, md_human_bytes(image->payload_size, size));
    return status;
}

static int pack_files(struct md_ctl *c, const struct pack *p, struct md_image *image)
{
    char error[300];
    uint8_t *a = NULL, *b = NULL, *payload = NULL;
    size_t a_len = 0, b_len = 0, size = 0;
    int status = MD_EXIT_OK;
    if (md_file_read(p->args[0], MP_IMAGE_MAX, &a, &a_len, error, sizeof error) != MP_OK ||
        (p->args[1] != NULL && md_file_read(p->args[1], MP_IMAGE_MAX, &b, &b_len, error, sizeof error) != MP_OK)) {
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
        goto out;
    }
    int bad = md_pack_links(a, a_len, b, b_len, (uint32_t)p->base_a, (uint32_t)p->base_b, (uint32_t)p->align, &payload,
                            &size, error, sizeof error);
    if (bad != MP_OK) {
        status = md_ctl_fail(c, MD_EXIT_REFUSED, "not packed: %s", error);
        goto out;
    }
    image->payload = payload;
    image->payload_size = (uint32_t)size;
    status = write_image(c, p, image);
out:
    free(a);
    free(b);
    free(payload);
    return status;
}

static int pack(struct md_ctl *c, int argc, char **argv)
{
    struct pack p = {.revisions = "0-31",
                     .base_a = UINT64_MAX,
                     .base_b = UINT64_MAX,
                     .align = 4,
                     .product = UINT64_MAX,
                     .model = UINT64_MAX};
    struct md_image image = {0};
    const struct md_option options[] = {{"base-a", MD_OPTION_NUMBER, &p.base_a, 0, UINT32_MAX},
                                        {"base-b", MD_OPTION_NUMBER, &p.base_b, 0, UINT32_MAX},
                                        {"align", MD_OPTION_NUMBER, &p.align, 4, MP_RELOC_ALIGN_MAX},
                                        {"product", MD_OPTION_NUMBER, &p.product, 0, UINT32_MAX},
                                        {"model", MD_OPTION_NUMBER, &p.model, 0, UINT16_MAX},
                                        {"version", MD_OPTION_STRING, &p.version, 0, 0},
                                        {"hw-revisions", MD_OPTION_STRING, &p.revisions, 0, 0},
                                        {"output", MD_OPTION_STRING, &p.output, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), p.args, 1, 2, image_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (p.product == UINT64_MAX || p.model == UINT64_MAX || p.version == NULL || p.output == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--product, --model, --version and -o are needed");
    if (count == 2 && (p.base_a == UINT64_MAX || p.base_b == UINT64_MAX))
        return md_ctl_fail(c, MD_EXIT_USAGE, "two links need --base-a and --base-b");
    if ((p.align & (p.align - 1)) != 0)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--align must be a power of two from 4 to %u", MP_RELOC_ALIGN_MAX);
    if (md_version_parse(p.version, &image.version) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--version must be like 1.2.3, not \"%s\"", p.version);
    if (!parse_revisions(p.revisions, &image.hw_revisions))
        return md_ctl_fail(c, MD_EXIT_USAGE, "--hw-revisions must be like 0-3,7 (0 to 31), not \"%s\"", p.revisions);
    image.product = (uint32_t)p.product;
    image.model = (uint16_t)p.model;
    return pack_files(c, &p, &image);
}

/* --- info --------------------------------------------------------------------------------------------------------- */

static void add_revisions(cJSON *j, uint32_t bits)
{
    cJSON *array = cJSON_AddArrayToObject(j, "hw_revisions");
    for (unsigned r = 0; r < 32; r++)
        if ((bits >> r & 1) != 0)
            cJSON_AddItemToArray(array, cJSON_CreateNumber(r));
}

static void add_hex(cJSON *j, const char *name, const uint8_t *data, size_t len)
{
    char text[2 * 64 + 1] = "";
    for (size_t i = 0; i < len && i < 64; i++)
        sprintf(text + 2 * i, "%02x", data[i]);
    cJSON_AddStringToObject(j, name, text);
}

static cJSON *image_json(const struct md_image *image)
{
    char version[16];
    cJSON *j = cJSON_CreateObject();
    md_version_format(image->version, version);
    cJSON_AddStringToObject(j, "kind", "image");
    cJSON_AddNumberToObject(j, "product", image->product);
    cJSON_AddNumberToObject(j, "model", image->model);
    cJSON_AddStringToObject(j, "version", version);
    cJSON_AddNumberToObject(j, "payload_bytes", image->payload_size);
    add_revisions(j, image->hw_revisions);
    return j;
}

static cJSON *manifest_json(const struct mp_manifest *m, const uint8_t id[8])
{
    char version[16];
    cJSON *j = cJSON_CreateObject();
    md_version_format(m->version, version);
    add_hex(j, "id", id, 8);
    cJSON_AddNumberToObject(j, "product", m->product);
    cJSON_AddNumberToObject(j, "model", m->model);
    cJSON_AddStringToObject(j, "version", version);
    cJSON_AddNumberToObject(j, "payload_bytes", m->payload_size);
    cJSON_AddNumberToObject(j, "security_counter", m->security_counter);
    cJSON_AddNumberToObject(j, "expiry_epoch", m->expiry_epoch);
    cJSON_AddNumberToObject(j, "key_id", m->key_id);
    cJSON_AddNumberToObject(j, "key_generation", m->generation);
    add_hex(j, "sha256", m->image_sha256, 32);
    add_revisions(j, m->hw_revisions);
    return j;
}

static void print_image(const cJSON *j)
{
    char size[MD_HUMAN_MAX];
    printf("product %u, model %u, version %s, payload %s", (unsigned)md_json_number(j, "product"),
           (unsigned)md_json_number(j, "model"), md_json_string(j, "version"),
           md_human_bytes((uint64_t)md_json_number(j, "payload_bytes"), size));
    if (md_json_number(j, "security_counter") != 0)
        printf(", security counter %u", (unsigned)md_json_number(j, "security_counter"));
    if (md_json_string(j, "id")[0] != '\0')
        printf(", id %s", md_json_string(j, "id"));
    putchar('\n');
}

static int info(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    char why_image[300], why[300];
    uint8_t *data = NULL;
    size_t len = 0;
    struct md_image image;
    struct md_bundle bundle;
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, image_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (md_file_read(args[0], MD_BUNDLE_MAX, &data, &len, why, sizeof why) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", why);
    cJSON *j = NULL;
    if (md_image_get(crypto_sodium(), &image, data, len, why_image, sizeof why_image) == MP_OK) {
        j = image_json(&image);
    } else if (md_bundle_get(crypto_sodium(), &bundle, data, len, why, sizeof why) == MP_OK) {
        j = cJSON_CreateObject();
        cJSON_AddStringToObject(j, "kind", "bundle");
        cJSON_AddNumberToObject(j, "release", bundle.manifest[0].release);
        cJSON *array = cJSON_AddArrayToObject(j, "manifests");
        for (unsigned i = 0; i < bundle.count; i++)
            cJSON_AddItemToArray(array, manifest_json(&bundle.manifest[i], bundle.id[i]));
    }
    free(data);
    if (j == NULL)
        return md_ctl_fail(c, MD_EXIT_REFUSED, "%s: no image file (%s) and no bundle (%s)", args[0], why_image, why);
    const cJSON *m;
    if (c->json) {
        md_ctl_print_json(j);
    } else if (strcmp(md_json_string(j, "kind"), "image") == 0) {
        print_image(j);
    } else {
        printf("release %u\n", (unsigned)md_json_number(j, "release"));
        cJSON_ArrayForEach(m, cJSON_GetObjectItem(j, "manifests"))
        {
            print_image(m);
        }
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* --- extract ------------------------------------------------------------------------------------------------------ */

static int extract(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1], *manifest = NULL, *payload = NULL;
    char error[300];
    uint64_t index = 0;
    uint8_t *data = NULL;
    size_t len = 0;
    struct md_bundle b;
    const struct md_option options[] = {{"manifest", MD_OPTION_STRING, &manifest, 0, 0},
                                        {"payload", MD_OPTION_STRING, &payload, 0, 0},
                                        {"index", MD_OPTION_NUMBER, &index, 0, MD_BUNDLE_MANIFESTS_MAX - 1}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, image_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (manifest == NULL || payload == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--manifest and --payload are needed");
    if (md_file_read(args[0], MD_BUNDLE_MAX, &data, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    int status = MD_EXIT_OK;
    if (md_bundle_get(crypto_sodium(), &b, data, len, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_REFUSED, "%s: %s", args[0], error);
    else if (index >= b.count)
        status = md_ctl_fail(c, MD_EXIT_NOT_FOUND, "%s: holds %u manifests", args[0], b.count);
    else if (md_file_write(manifest, b.raw[index], MP_MANIFEST_SIZE, 0644, error, sizeof error) != MP_OK ||
             md_file_write(payload, b.payload[index], b.manifest[index].payload_size, 0644, error, sizeof error) !=
                 MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    free(data);
    return status;
}

int md_cmd_image(struct md_ctl *c, int argc, char **argv)
{
    static const struct md_subcommand subs[] = {{"pack", pack}, {"info", info}, {"extract", extract}, {NULL, NULL}};
    return md_ctl_group(c, argc, argv, subs, image_help);
}

/* --- sign --------------------------------------------------------------------------------------------------------- */

struct sign {
    const char *args[MD_BUNDLE_MANIFESTS_MAX], *key_file, *output, *version_min, *passphrase_file;
    uint64_t release, counter, expires, battery;
    struct md_sign_options options;
    uint8_t *file[MD_BUNDLE_MANIFESTS_MAX];
    const uint8_t *payload[MD_BUNDLE_MANIFESTS_MAX];
    uint8_t manifest[MD_BUNDLE_MANIFESTS_MAX][MP_MANIFEST_SIZE];
    unsigned count;
};

static int sign_images(struct md_ctl *c, struct sign *s, const struct md_key *key)
{
    char error[300];
    for (unsigned i = 0; i < s->count; i++) {
        struct md_image image;
        size_t len = 0;
        if (md_file_read(s->args[i], MD_IMAGE_FILE_MAX, &s->file[i], &len, error, sizeof error) != MP_OK)
            return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
        if (md_image_get(crypto_sodium(), &image, s->file[i], len, error, sizeof error) != MP_OK)
            return md_ctl_fail(c, MD_EXIT_REFUSED, "%s: %s", s->args[i], error);
        int bad = md_manifest_make(crypto_sodium(), &image, &s->options, key, s->manifest[i]);
        if (bad != MP_OK)
            return md_ctl_fail(c, MD_EXIT_REFUSED, "%s: not signed: %s", s->args[i], mp_strerror(bad));
        s->payload[i] = image.payload;
    }
    return MD_EXIT_OK;
}

static int write_bundle(struct md_ctl *c, struct sign *s)
{
    struct mp_manifest decoded[MD_BUNDLE_MANIFESTS_MAX];
    char error[300], human[MD_HUMAN_MAX];
    for (unsigned i = 0; i < s->count; i++)
        if (mp_manifest_get(&decoded[i], s->manifest[i], MP_MANIFEST_SIZE) != MP_OK)
            return md_ctl_fail(c, MD_EXIT_REFUSED, "%s: a value is out of range", s->args[i]);
    size_t cap = md_bundle_size(decoded, s->count);
    uint8_t *out = malloc(cap);
    long n = out == NULL ? MP_ERR_ROOM
                         : md_bundle_put(crypto_sodium(), (const uint8_t(*)[MP_MANIFEST_SIZE])s->manifest, s->payload,
                                         s->count, out, cap, error, sizeof error);
    int status = MD_EXIT_OK;
    if (n < 0)
        status = md_ctl_fail(c, MD_EXIT_REFUSED, "no bundle: %s", out == NULL ? "out of memory" : error);
    else if (md_file_write(s->output, out, (size_t)n, 0644, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    free(out);
    if (status == MD_EXIT_OK && c->json)
        print_made(s->output, "kind", "bundle", (uint64_t)n);
    else if (status == MD_EXIT_OK)
        printf("%s: release %u, %u image%s, %s\n", s->output, s->options.release, s->count, s->count == 1 ? "" : "s",
               md_human_bytes((uint64_t)n, human));
    return status;
}

static int sign_all(struct md_ctl *c, struct sign *s)
{
    char passphrase[MD_PASSPHRASE_MAX];
    struct md_key key;
    int status = md_ctl_passphrase(c, s->passphrase_file, passphrase);
    if (status == MD_EXIT_OK)
        status = md_ctl_read_key(c, s->key_file, passphrase, true, &key);
    sodium_memzero(passphrase, sizeof passphrase);
    if (status != MD_EXIT_OK)
        return status;
    status = sign_images(c, s, &key);
    md_key_wipe(&key);
    if (status == MD_EXIT_OK)
        status = write_bundle(c, s);
    for (unsigned i = 0; i < s->count; i++)
        free(s->file[i]);
    return status;
}

int md_cmd_sign(struct md_ctl *c, int argc, char **argv)
{
    struct sign s = {0};
    const struct md_option options[] = {{"key", MD_OPTION_STRING, &s.key_file, 0, 0},
                                        {"release", MD_OPTION_NUMBER, &s.release, 1, UINT32_MAX},
                                        {"security-counter", MD_OPTION_NUMBER, &s.counter, 0, UINT32_MAX},
                                        {"version-min", MD_OPTION_STRING, &s.version_min, 0, 0},
                                        {"expires", MD_OPTION_NUMBER, &s.expires, 1, 36500},
                                        {"battery-min", MD_OPTION_NUMBER, &s.battery, 0, 100},
                                        {"passphrase-file", MD_OPTION_STRING, &s.passphrase_file, 0, 0},
                                        {"output", MD_OPTION_STRING, &s.output, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), s.args, 1, MD_BUNDLE_MANIFESTS_MAX, sign_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (s.key_file == NULL || s.release == 0 || s.output == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--key, --release and -o are needed");
    if (s.version_min != NULL && md_version_parse(s.version_min, &s.options.version_min) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--version-min must be like 1.2.3, not \"%s\"", s.version_min);
    s.count = (unsigned)count;
    s.options.release = (uint32_t)s.release;
    s.options.security_counter = (uint32_t)s.counter;
    s.options.battery_min_percent = (uint8_t)s.battery;
    if (s.expires != 0)
        s.options.expiry_epoch = (uint32_t)((uint64_t)time(NULL) / 86400 + s.expires);
    if (s.counter != 0)
        md_ctl_warn("security counter %u: if nodes have a lower one this is a point of no return; once confirmed, no "
                    "release below it can be reverted to",
                    (unsigned)s.counter);
    return sign_all(c, &s);
}

/* --- import ------------------------------------------------------------------------------------------------------- */

int md_cmd_import(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    char error[300];
    uint8_t *data = NULL;
    size_t len = 0;
    cJSON *j = NULL;
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, import_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (md_file_read(args[0], MD_BUNDLE_MAX, &data, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    int status = md_ctl_upload(c, "/v1/import", data, len, 120, &j);
    free(data);
    if (status != MD_EXIT_OK)
        return status;
    const cJSON *m;
    if (c->json) {
        md_ctl_print_json(j);
    } else {
        printf("release %u %s\n", (unsigned)md_json_number(j, "release"),
               md_json_true(j, "already") ? "was there already" : "imported");
        cJSON_ArrayForEach(m, cJSON_GetObjectItem(j, "manifests"))
        {
            print_image(m);
        }
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* --- releases ----------------------------------------------------------------------------------------------------- */

static const char releases_help[] = "meshctl releases - what was imported, or fetched from the mesh\n"
                                    "\n"
                                    "Usage: meshctl releases\n";

int md_cmd_releases(struct md_ctl *c, int argc, char **argv)
{
    cJSON *j = NULL;
    const cJSON *m;
    int count = md_ctl_options(argc, argv, NULL, 0, NULL, 0, 0, releases_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = md_ctl_call(c, "GET", "/v1/releases", NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json) {
        md_ctl_print_json(j);
    } else {
        cJSON_ArrayForEach(m, cJSON_GetObjectItem(j, "manifests"))
        {
            printf("release %-5u %s", (unsigned)md_json_number(m, "release"),
                   md_json_true(m, "payload_held") ? "" : "(payload not held) ");
            print_image(m);
        }
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}
