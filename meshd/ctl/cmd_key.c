/*
 * meshctl key: signing keys, and the root-signed statements that replace them.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "keyfile.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "pack.h"
#include "passphrase.h"

static const char key_help[] = "meshctl key - signing keys\n"
                               "\n"
                               "Usage:\n"
                               "  meshctl key generate publisher|release FILE [--id 0|1] [--generation N]\n"
                               "  meshctl key show FILE\n"
                               "  meshctl key public FILE -o FILE     the public part alone\n"
                               "  meshctl key list                    keys in force at the daemon\n"
                               "  meshctl key keyset -o FILE          the daemon's keyset record, for signing offline\n"
                               "  meshctl key change install|revoke --key FILE --root FILE --root FILE\n"
                               "                     [--keyset FILE] -o FILE\n"
                               "  meshctl key apply FILE              give a key change to the daemon\n"
                               "\n"
                               "Replacing a key takes two of the three root keys, and no node is ever bricked by\n"
                               "it: what was accepted under the old key stays and keeps booting.\n"
                               "  1. meshctl key keyset -o keyset.now\n"
                               "  2. meshctl key generate publisher new.key --id 1 --generation 2\n"
                               "  3. meshctl key change install --key new.key --root root-0.key --root root-2.key \\\n"
                               "       --keyset keyset.now -o 1.change\n"
                               "  4. meshctl key apply 1.change\n"
                               "  then revoke the old one the same way, from a fresh keyset record.\n"
                               "A new key may take the other id (both are in force until one is revoked) or the\n"
                               "same id (the old one is replaced at once). Generations rise: the first key has 1.\n"
                               "\n"
                               "Options:\n"
                               "  --key FILE               key to install (public part is enough) or to revoke\n"
                               "  --root FILE              a root key; twice, two different ones\n"
                               "  --keyset FILE            keyset record to build on (default: ask the daemon)\n"
                               "  --id N, --generation N   of a generated key (default 0 and 1)\n"
                               "  --passphrase-file FILE   opens or seals key files (or $MESHCTL_PASSPHRASE)\n";

static void print_hex(char *out, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sprintf(out + 2 * i, "%02x", data[i]);
}

static int print_key(const struct md_ctl *c, const char *path, const struct md_key *k)
{
    char hex[65];
    print_hex(hex, k->pub, 32);
    const char *secret = k->has_secret ? (k->is_sealed ? "sealed" : "open") : k->is_sealed ? "sealed" : "none";
    if (!c->json) {
        printf("%s: %s key %u, generation %u, secret: %s\npublic %s\n", path, md_role_name(k->role), k->id,
               k->generation, secret, hex);
        return MD_EXIT_OK;
    }
    cJSON *j = cJSON_CreateObject();
    cJSON_AddStringToObject(j, "file", path);
    cJSON_AddStringToObject(j, "role", md_role_name(k->role));
    cJSON_AddNumberToObject(j, "id", k->id);
    cJSON_AddNumberToObject(j, "generation", k->generation);
    cJSON_AddStringToObject(j, "secret", secret);
    cJSON_AddStringToObject(j, "public", hex);
    int status = md_ctl_print_json(j);
    cJSON_Delete(j);
    return status;
}

static int generate(struct md_ctl *c, int argc, char **argv)
{
    const char *args[2], *passphrase_file = NULL;
    uint64_t id = 0, generation = 1;
    const struct md_option options[] = {{"id", MD_OPTION_NUMBER, &id, 0, 2},
                                        {"generation", MD_OPTION_NUMBER, &generation, 0, 65535},
                                        {"passphrase-file", MD_OPTION_STRING, &passphrase_file, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 2, 2, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    enum mp_role role = strcmp(args[0], "root") == 0        ? MP_ROLE_ROOT
                        : strcmp(args[0], "publisher") == 0 ? MP_ROLE_PUBLISHER
                        : strcmp(args[0], "release") == 0   ? MP_ROLE_RELEASE
                                                            : (enum mp_role)0;
    struct md_key key;
    char passphrase[MD_PASSPHRASE_MAX], error[300];
    if (role == (enum mp_role)0 || md_key_generate(&key, role, (uint8_t)id, (uint16_t)generation) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_USAGE, "no such key: %s, id %u", args[0], (unsigned)id);
    int status = md_ctl_passphrase(c, passphrase_file, passphrase);
    if (status == MD_EXIT_OK && md_key_write(args[1], &key, true, passphrase, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    key.is_sealed = passphrase[0] != '\0';
    sodium_memzero(passphrase, sizeof passphrase);
    if (status == MD_EXIT_OK)
        status = print_key(c, args[1], &key);
    md_key_wipe(&key);
    return status;
}

static int show(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    struct md_key key;
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = md_ctl_read_key(c, args[0], "", false, &key);
    if (status == MD_EXIT_OK)
        status = print_key(c, args[0], &key);
    md_key_wipe(&key);
    return status;
}

static int export_public(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1], *output = NULL;
    char error[300];
    struct md_key key;
    const struct md_option options[] = {{"output", MD_OPTION_STRING, &output, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (output == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "-o FILE is missing");
    int status = md_ctl_read_key(c, args[0], "", false, &key);
    if (status == MD_EXIT_OK && md_key_write(output, &key, false, NULL, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    md_key_wipe(&key);
    return status;
}

/* The daemon's keyset object. */
static int ask_keyset(struct md_ctl *c, cJSON **status_json, const cJSON **keyset)
{
    int status = md_ctl_call(c, "GET", "/v1/status", NULL, status_json);
    *keyset = status == MD_EXIT_OK ? cJSON_GetObjectItem(*status_json, "keyset") : NULL;
    return status;
}

static void print_keyset(const cJSON *keyset)
{
    static const char *const roles[] = {"publisher", "release"};
    printf("key change %u%s\n", (unsigned)md_json_number(keyset, "number"),
           md_json_true(keyset, "frozen") ? ", FROZEN: two different statements with one number were seen" : "");
    for (size_t r = 0; r < 2; r++) {
        const cJSON *k;
        cJSON_ArrayForEach(k, cJSON_GetObjectItem(keyset, roles[r]))
        {
            if (strcmp(md_json_string(k, "state"), "none") == 0)
                continue;
            printf("%-9s key %u  generation %-4u %-8s %.16s...\n", roles[r], (unsigned)md_json_number(k, "id"),
                   (unsigned)md_json_number(k, "generation"), md_json_string(k, "state"), md_json_string(k, "public"));
        }
    }
}

static int list(struct md_ctl *c, int argc, char **argv)
{
    cJSON *j = NULL;
    const cJSON *keyset;
    int count = md_ctl_options(argc, argv, NULL, 0, NULL, 0, 0, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = ask_keyset(c, &j, &keyset);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json)
        md_ctl_print_json(keyset);
    else
        print_keyset(keyset);
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* The keyset record, from a file or the daemon. */
static int read_record(struct md_ctl *c, const char *file, uint8_t record[MP_KEYSET_SIZE])
{
    char error[300];
    uint8_t *data = NULL;
    size_t len = 0;
    if (file == NULL) {
        cJSON *j = NULL;
        const cJSON *keyset;
        int status = ask_keyset(c, &j, &keyset);
        if (status == MD_EXIT_OK && md_json_hex(keyset, "record", record, MP_KEYSET_SIZE) != MP_KEYSET_SIZE)
            status = md_ctl_fail(c, MD_EXIT_FAILED, "the daemon gave no keyset record");
        cJSON_Delete(j);
        return status;
    }
    if (md_file_read(file, MP_KEYSET_SIZE, &data, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    bool whole = len == MP_KEYSET_SIZE;
    if (whole)
        memcpy(record, data, len);
    free(data);
    return whole ? MD_EXIT_OK : md_ctl_fail(c, MD_EXIT_FAILED, "%s: not a keyset record", file);
}

static int keyset(struct md_ctl *c, int argc, char **argv)
{
    const char *output = NULL;
    char error[300];
    uint8_t record[MP_KEYSET_SIZE];
    const struct md_option options[] = {{"output", MD_OPTION_STRING, &output, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), NULL, 0, 0, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (output == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "-o FILE is missing");
    int status = read_record(c, NULL, record);
    if (status == MD_EXIT_OK && md_file_write(output, record, sizeof record, 0644, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    return status;
}

/* --- key changes -------------------------------------------------------------------------------------------------- */

struct change {
    enum mp_keyop op;
    const char *key_file, *keyset_file, *output, *passphrase_file;
    struct md_list roots;
    struct md_key key, root[2];
};

static int make_change(struct md_ctl *c, struct change *n)
{
    char passphrase[MD_PASSPHRASE_MAX], error[300];
    uint8_t record[MP_KEYSET_SIZE], out[MP_KEYCHANGE_SIZE];
    struct mp_keyset set;
    int status = md_ctl_passphrase(c, n->passphrase_file, passphrase);
    if (status == MD_EXIT_OK)
        status = read_record(c, n->keyset_file, record);
    if (status == MD_EXIT_OK)
        status = md_ctl_read_key(c, n->key_file, passphrase, false, &n->key);
    for (unsigned i = 0; i < 2 && status == MD_EXIT_OK; i++)
        status = md_ctl_read_key(c, n->roots.item[i], passphrase, true, &n->root[i]);
    sodium_memzero(passphrase, sizeof passphrase);
    if (status != MD_EXIT_OK)
        return status;
    int bad = mp_keyset_get(&set, record, sizeof record);
    if (bad == MP_OK) {
        const struct mp_key *keys = n->key.role == MP_ROLE_PUBLISHER ? set.publisher : set.release;
        unsigned newest = keys[0].generation > keys[1].generation ? keys[0].generation : keys[1].generation;
        /* what the key signs carries the generation of its file, so the two must agree from the start */
        if (n->op == MP_KEYOP_INSTALL && n->key.role != MP_ROLE_ROOT && n->key.generation <= newest)
            return md_ctl_fail(c, MD_EXIT_REFUSED,
                               "%s has generation %u, but the role has had %u: generate it with --generation %u",
                               n->key_file, n->key.generation, newest, newest + 1);
        bad = md_keychange_make(crypto_sodium(), &set, n->op, &n->key, &n->root[0], &n->root[1], out);
    }
    if (bad != MP_OK)
        return md_ctl_fail(c, MD_EXIT_REFUSED, "no key change: %s", mp_strerror(bad));
    if (md_file_write(n->output, out, sizeof out, 0644, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    if (!c->json)
        printf("%s: key change %u, apply it with: meshctl key apply %s\n", n->output, set.number + 1u, n->output);
    return MD_EXIT_OK;
}

static int change(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    struct change n = {0};
    const struct md_option options[] = {{"key", MD_OPTION_STRING, &n.key_file, 0, 0},
                                        {"root", MD_OPTION_LIST, &n.roots, 0, 0},
                                        {"keyset", MD_OPTION_STRING, &n.keyset_file, 0, 0},
                                        {"output", MD_OPTION_STRING, &n.output, 0, 0},
                                        {"passphrase-file", MD_OPTION_STRING, &n.passphrase_file, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (strcmp(args[0], "install") == 0)
        n.op = MP_KEYOP_INSTALL;
    else if (strcmp(args[0], "revoke") == 0)
        n.op = MP_KEYOP_REVOKE;
    else
        return md_ctl_fail(c, MD_EXIT_USAGE, "\"install\" or \"revoke\", not \"%s\"", args[0]);
    if (n.key_file == NULL || n.output == NULL || n.roots.count != 2)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--key, -o and two times --root are needed");
    int status = make_change(c, &n);
    md_key_wipe(&n.key);
    md_key_wipe(&n.root[0]);
    md_key_wipe(&n.root[1]);
    return status;
}

static int apply(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    char error[300];
    uint8_t *data = NULL;
    size_t len = 0;
    cJSON *j = NULL;
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, key_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (md_file_read(args[0], MP_KEYCHANGE_SIZE, &data, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    int status = md_ctl_upload(c, "/v1/keychange", data, len, 30, &j);
    free(data);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json)
        md_ctl_print_json(j);
    else
        print_keyset(j);
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

int md_cmd_key(struct md_ctl *c, int argc, char **argv)
{
    static const struct md_subcommand subs[] = {{"generate", generate}, {"show", show},     {"public", export_public},
                                                {"list", list},         {"keyset", keyset}, {"change", change},
                                                {"apply", apply},       {NULL, NULL}};
    return md_ctl_group(c, argc, argv, subs, key_help);
}
