/*
 * meshctl network: the files a new network starts from.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <errno.h>
#include <limits.h>

#include "../daemon/config.h"
#include "ctl.h"
#include "keyfile.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "pack.h"
#include "passphrase.h"

static const char network_help[] = "meshctl network - files a new network starts from\n"
                                   "\n"
                                   "Usage: meshctl network create DIR --number N [OPTIONS]\n"
                                   "\n"
                                   "Writes to DIR (made if missing, mode 0700; existing files are never replaced):\n"
                                   "  root-0.key root-1.key root-2.key   keep offline, in three places: any two can\n"
                                   "                                     replace every other key\n"
                                   "  publisher.key    signs releases; keep offline or with the build\n"
                                   "  release.key      signs rollouts; belongs to the gateway\n"
                                   "  keyset           public: which keys the network starts with\n"
                                   "  meshd.conf       configuration for meshd\n"
                                   "Copy release.key, keyset and meshd.conf to the gateway, and move the rest away.\n"
                                   "\n"
                                   "Options:\n"
                                   "  --number N               network number, 1 to 65535, unique on the air\n"
                                   "  --hci WHERE              HCI controller: tty:DEVICE:BAUD or unix:PATH\n"
                                   "                           (default tty:/dev/ttyACM0:1000000)\n"
                                   "  --prefix DIR             where the gateway will have the files, if not in DIR\n"
                                   "  --database FILE          default /var/lib/meshd/meshd.db\n"
                                   "  --http PATH              default " MD_HTTP_SOCKET "\n"
                                   "  --passphrase-file FILE   seal root and publisher keys with its first line\n"
                                   "                           (or $MESHCTL_PASSPHRASE)\n"
                                   "\n"
                                   "Example:\n"
                                   "  meshctl network create /etc/meshd --number 7 --hci tty:/dev/ttyACM0:1000000\n";

struct create {
    const char *dir, *hci, *prefix, *database, *http;
    uint64_t number;
    char passphrase[MD_PASSPHRASE_MAX];
    struct md_key root[3], publisher, release;
};

static int write_config(struct md_ctl *c, const struct create *n)
{
    struct md_config config;
    char path[400], error[300], text[2048], value[PATH_MAX + 40], here[PATH_MAX];
    const char *at = n->prefix;
    if (at == NULL)
        at = realpath(n->dir, here); /* the daemon may start in another folder */
    if (at == NULL)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s: %s", n->dir, strerror(errno));
    const struct {
        const char *name;
        const char *value;
        const char *tail;
    } settings[] = {{"bearer.hci", n->hci, ""},
                    {"meshd.database", n->database, ""},
                    {"meshd.http", n->http, ""},
                    {"network.keyset", at, "/keyset"},
                    {"network.release_key", at, "/release.key"}};
    md_config_init(&config);
    config.network = (uint16_t)n->number;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        snprintf(value, sizeof value, "%s=%s%s", settings[i].name, settings[i].value, settings[i].tail);
        if (md_config_override(&config, value, error, sizeof error) < 0)
            return md_ctl_fail(c, MD_EXIT_USAGE, "%s", error);
    }
    int len = md_config_write(&config, text, sizeof text);
    snprintf(path, sizeof path, "%s/meshd.conf", n->dir);
    if (len < 0 || md_file_write(path, text, (size_t)len, 0644, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    return MD_EXIT_OK;
}

static int write_keys(struct md_ctl *c, const struct create *n)
{
    const struct {
        const char *name;
        const struct md_key *key;
        bool seal;
    } files[] = {{"root-0.key", &n->root[0], true},
                 {"root-1.key", &n->root[1], true},
                 {"root-2.key", &n->root[2], true},
                 {"publisher.key", &n->publisher, true},
                 {"release.key", &n->release, false}};
    char path[400], error[300];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", n->dir, files[i].name);
        if (md_key_write(path, files[i].key, true, files[i].seal ? n->passphrase : NULL, error, sizeof error) != MP_OK)
            return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    }
    return MD_EXIT_OK;
}

static int make_keys(struct md_ctl *c, struct create *n, uint8_t record[MP_KEYSET_SIZE])
{
    int bad = 0;
    for (uint8_t i = 0; i < 3; i++)
        bad |= md_key_generate(&n->root[i], MP_ROLE_ROOT, i, 0);
    bad |= md_key_generate(&n->publisher, MP_ROLE_PUBLISHER, 0, 1);
    bad |= md_key_generate(&n->release, MP_ROLE_RELEASE, 0, 1);
    if (bad != 0 ||
        md_keyset_make(crypto_sodium(), (const struct md_key *)n->root, &n->publisher, &n->release, record) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "the keys could not be made");
    return MD_EXIT_OK;
}

static bool is_taken(const char *dir, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static int create_files(struct md_ctl *c, struct create *n)
{
    static const char *const names[] = {"root-0.key",  "root-1.key", "root-2.key", "publisher.key",
                                        "release.key", "keyset",     "meshd.conf"};
    uint8_t record[MP_KEYSET_SIZE];
    char path[400], error[300];
    if (mkdir(n->dir, 0700) < 0 && errno != EEXIST)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s: %s", n->dir, strerror(errno));
    /* all or nothing: a half-made set of keys is worse than none */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is_taken(n->dir, names[i]))
            return md_ctl_fail(c, MD_EXIT_REFUSED, "%s/%s exists; keys are never replaced", n->dir, names[i]);
    int status = write_config(c, n);
    if (status == MD_EXIT_OK)
        status = make_keys(c, n, record);
    if (status == MD_EXIT_OK)
        status = write_keys(c, n);
    if (status != MD_EXIT_OK)
        return status;
    snprintf(path, sizeof path, "%s/keyset", n->dir);
    if (md_file_write(path, record, sizeof record, 0644, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    return MD_EXIT_OK;
}

static int create(struct md_ctl *c, int argc, char **argv)
{
    struct create n = {
        .hci = "tty:/dev/ttyACM0:1000000", .database = "/var/lib/meshd/meshd.db", .http = MD_HTTP_SOCKET};
    const char *args[1], *passphrase_file = NULL;
    const struct md_option options[] = {{"number", MD_OPTION_NUMBER, &n.number, 1, 65535},
                                        {"hci", MD_OPTION_STRING, &n.hci, 0, 0},
                                        {"prefix", MD_OPTION_STRING, &n.prefix, 0, 0},
                                        {"database", MD_OPTION_STRING, &n.database, 0, 0},
                                        {"http", MD_OPTION_STRING, &n.http, 0, 0},
                                        {"passphrase-file", MD_OPTION_STRING, &passphrase_file, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, network_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (n.number == 0)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--number is missing");
    n.dir = args[0];
    int status = md_ctl_passphrase(c, passphrase_file, n.passphrase);
    if (status == MD_EXIT_OK)
        status = create_files(c, &n);
    sodium_memzero(n.passphrase, sizeof n.passphrase);
    for (int i = 0; i < 3; i++)
        md_key_wipe(&n.root[i]);
    md_key_wipe(&n.publisher);
    md_key_wipe(&n.release);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json) {
        cJSON *j = cJSON_CreateObject();
        cJSON_AddStringToObject(j, "directory", n.dir);
        cJSON_AddNumberToObject(j, "network", (double)n.number);
        md_ctl_print_json(j);
        cJSON_Delete(j);
    } else {
        printf("network %u: keys, keyset and meshd.conf are in %s\n", (unsigned)n.number, n.dir);
        printf("now move root-*.key and publisher.key to where they are kept offline\n");
    }
    return MD_EXIT_OK;
}

int md_cmd_network(struct md_ctl *c, int argc, char **argv)
{
    static const struct md_subcommand subs[] = {{"create", create}, {NULL, NULL}};
    return md_ctl_group(c, argc, argv, subs, network_help);
}
