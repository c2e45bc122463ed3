/*
 * Gateway, releases and nodes of a fleet, each made with the tools that an operator has.
 */
#include "fleet.h"

#include "fleet_process.h"
#include "proto/object/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NETWORK "7"
#define BUNDLE_HEAD 16 /* docs/SPEC.md section 11.2 */
#define BUNDLE_MAX (1u << 20)
/* Link addresses of a part's image: node-fw/port/nrf51/map.h */
#define PART_BASE_A "0x10000"
#define PART_BASE_B "0x28000"

static void path_in(const struct fleet *f, char out[FLEET_PATH_MAX], const char *name, const char *suffix)
{
    snprintf(out, FLEET_PATH_MAX, "%s/%s%s", f->dir, name, suffix);
}

/* --- gateway ------------------------------------------------------------------------------------------------------ */

void fleet_network(struct fleet *f)
{
    char hci[FLEET_PATH_MAX + 8], database[FLEET_PATH_MAX], keys[FLEET_PATH_MAX];
    snprintf(hci, sizeof hci, "unix:%s/air/gw.sock", f->dir);
    path_in(f, database, "meshd.db", "");
    path_in(f, keys, "keys", "");
    snprintf(f->publisher, sizeof f->publisher, "%s/keys/publisher.key", f->dir);
    fleet_do(f, NULL, "network", "create", keys, "--number", NETWORK, "--hci", hci, "--database", database, "--http",
             f->http, NULL);
}

static bool gateway_runs(struct fleet *f, void *ctx)
{
    (void)ctx;
    if (process_is_gone(f->gateway)) {
        f->gateway = 0;
        fleet_fail(f, "meshd ended");
    }
    cJSON *status = fleet_get(f, "/v1/status");
    const bool runs = strcmp(fleet_text(status, "bearer.state"), "running") == 0;
    cJSON_Delete(status);
    return runs;
}

void fleet_gateway_start(struct fleet *f)
{
    char program[FLEET_PATH_MAX * 2], config[FLEET_PATH_MAX], log[FLEET_PATH_MAX];
    snprintf(program, sizeof program, "%s/bin/meshd", f->build);
    path_in(f, config, "keys/meshd.conf", "");
    path_in(f, log, "meshd.log", "");
    const char *const argv[] = {program, "--config", config, NULL};
    f->gateway = process_start(log, argv);
    if (f->gateway < 0)
        fleet_fail(f, "meshd: %s", strerror(errno));
    fleet_wait(f, 15, "meshd to run", gateway_runs, NULL);
}

void fleet_gateway_kill(struct fleet *f)
{
    process_kill(f->gateway);
    f->gateway = 0;
}

/* --- releases ----------------------------------------------------------------------------------------------------- */

const char *fleet_bundle(const struct fleet *f, unsigned release)
{
    static char path[FLEET_PATH_MAX];
    snprintf(path, sizeof path, "%s/release-%u.mfr", f->dir, release);
    return path;
}

/* Number of the product that a model belongs to, as text. Static storage. */
static const char *product_of(const struct fleet *f, unsigned model)
{
    static char text[16];
    snprintf(text, sizeof text, "%d", f->part_models >> model & 1 ? FLEET_PART_PRODUCT : FLEET_PRODUCT);
    return text;
}

/* Packs the image of a build for a model: one file of a process, two links for a part. */
static void pack(struct fleet *f, const char *stem, const char *version, unsigned model, const char *packed)
{
    char image[2][FLEET_PATH_MAX * 2], number[16];
    snprintf(number, sizeof number, "%u", model);
    if ((f->part_models >> model & 1) == 0) {
        snprintf(image[0], sizeof image[0], "%s/images/node-%s.bin", f->build, stem);
        fleet_do(f, NULL, "image", "pack", image[0], "--product", product_of(f, model), "--model", number, "--version",
                 version, "-o", packed, NULL);
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        snprintf(image[i], sizeof image[i], "%s/nrf51/node-%s.%c.bin", f->build, stem, "ab"[i]);
    fleet_do(f, NULL, "image", "pack", image[0], image[1], "--base-a", PART_BASE_A, "--base-b", PART_BASE_B,
             "--product", product_of(f, model), "--model", number, "--version", version, "-o", packed, NULL);
}

void fleet_sign(struct fleet *f, unsigned release, const char *stem, unsigned models)
{
    char version[16], packed[8][FLEET_PATH_MAX], sequence[16];
    const char *argv[24] = {"meshctl", "sign", "--key", f->publisher, "--release", sequence, "-o"};
    unsigned n = 8, count = 0;
    snprintf(sequence, sizeof sequence, "%u", release);
    argv[7] = fleet_bundle(f, release);
    snprintf(version, sizeof version, "%.*s", (int)strcspn(stem, "-"), stem);
    for (unsigned model = 0; model < 32 && count < 8; model++) {
        if ((models >> model & 1) == 0)
            continue;
        snprintf(packed[count], FLEET_PATH_MAX, "%s/release-%u-%u.mfi", f->dir, release, model);
        pack(f, stem, version, model, packed[count]);
        argv[n++] = packed[count++];
    }
    argv[n] = NULL;
    if (fleet_run(f, NULL, 0, argv) != 0)
        fleet_fail(f, "release %u cannot be signed", release);
}

void fleet_import(struct fleet *f, unsigned release)
{
    fleet_do(f, NULL, "import", fleet_bundle(f, release), NULL);
}

void fleet_release(struct fleet *f, unsigned release, const char *stem, unsigned models)
{
    fleet_sign(f, release, stem, models);
    fleet_import(f, release);
}

void fleet_rollout(struct fleet *f, unsigned release, const char *policy)
{
    char number[16];
    snprintf(number, sizeof number, "%u", release);
    fleet_do(f, NULL, "rollout", "start", number, "--policy", policy, NULL);
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static void write_file(struct fleet *f, const char *path, const uint8_t *data, size_t len)
{
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0)
        fleet_fail(f, "%s: %s", path, strerror(errno));
}

/* Takes manifest and payload for a model out of a bundle, for the factory. */
static void unpack(struct fleet *f, unsigned release, unsigned model, const char *manifest, const char *payload)
{
    uint8_t *data = malloc(BUNDLE_MAX);
    FILE *file = fopen(fleet_bundle(f, release), "re");
    const size_t len = data != NULL && file != NULL ? fread(data, 1, BUNDLE_MAX, file) : 0;
    const unsigned count = len > BUNDLE_HEAD ? data[6] : 0;
    size_t at = BUNDLE_HEAD + (size_t)count * MP_MANIFEST_SIZE;
    bool found = false;
    for (unsigned i = 0; i < count && at <= len && !found; i++) {
        struct mp_manifest m;
        const uint8_t *raw = data + BUNDLE_HEAD + (size_t)i * MP_MANIFEST_SIZE;
        if (mp_manifest_get(&m, raw, MP_MANIFEST_SIZE) != 0 || m.payload_size > len - at)
            break;
        if (m.model == model) {
            write_file(f, manifest, raw, MP_MANIFEST_SIZE);
            write_file(f, payload, data + at, m.payload_size);
            found = true;
        }
        at += m.payload_size;
    }
    if (file != NULL)
        fclose(file);
    free(data);
    if (!found)
        fleet_fail(f, "no image for model %u in %s", model, fleet_bundle(f, release));
}

struct fleet_node *fleet_enter(struct fleet *f, const char *name, unsigned model, const char *label)
{
    char settings[FLEET_PATH_MAX], number[16];
    cJSON *json = NULL;
    if (f->count == FLEET_NODES_MAX)
        fleet_fail(f, "too many nodes");
    struct fleet_node *n = &f->node[f->count++];
    *n = (struct fleet_node){.model = (uint16_t)model};
    snprintf(n->name, sizeof n->name, "%s", name);
    path_in(f, settings, name, ".settings");
    snprintf(number, sizeof number, "%u", model);
    const char *const option = label != NULL ? "--label" : NULL;
    fleet_do(f, &json, "provision", "--product", product_of(f, model), "--model", number, "--name", name, "-o",
             settings, option, label, NULL);
    n->id = (uint32_t)fleet_number(json, "node");
    cJSON_Delete(json);
    if (n->id == 0)
        fleet_fail(f, "%s cannot be entered", name);
    return n;
}

void fleet_factory(struct fleet *f, unsigned release, unsigned model, char manifest[FLEET_PATH_MAX],
                   char payload[FLEET_PATH_MAX])
{
    char part[48];
    snprintf(part, sizeof part, "factory-%u-%u", release, model);
    path_in(f, manifest, part, ".manifest");
    path_in(f, payload, part, ".payload");
    if (access(manifest, F_OK) != 0)
        unpack(f, release, model, manifest, payload);
}

struct fleet_node *fleet_add(struct fleet *f, const char *name, unsigned model, const char *label, unsigned release)
{
    char settings[FLEET_PATH_MAX], flash[FLEET_PATH_MAX], manifest[FLEET_PATH_MAX], payload[FLEET_PATH_MAX];
    struct fleet_node *n = fleet_enter(f, name, model, label);
    path_in(f, settings, name, ".settings");
    path_in(f, flash, name, ".flash");
    fleet_factory(f, release, model, manifest, payload);
    const char *const argv[] = {"node-boot",  "provision", "--flash", flash,   "--settings", settings,
                                "--manifest", manifest,    "--image", payload, NULL};
    if (fleet_run(f, NULL, 0, argv) != 0)
        fleet_fail(f, "%s cannot be provisioned", name);
    return n;
}

void fleet_node_start(struct fleet *f, struct fleet_node *n)
{
    char program[FLEET_PATH_MAX * 2], flash[FLEET_PATH_MAX], log[FLEET_PATH_MAX], hci[FLEET_PATH_MAX + 40];
    char watchdog[16];
    snprintf(program, sizeof program, "%s/bin/node-boot", f->build);
    path_in(f, flash, n->name, ".flash");
    path_in(f, log, n->name, ".log");
    snprintf(hci, sizeof hci, "unix:%s/air/%s.sock", f->dir, n->name);
    snprintf(watchdog, sizeof watchdog, "%u", f->options.watchdog_ms);
    const char *const argv[] = {program, "--flash", flash, "--hci", hci, "--log", log, "--watchdog-ms", watchdog, NULL};
    n->pid = process_start(log, argv);
    if (n->pid < 0)
        fleet_fail(f, "%s: %s", n->name, strerror(errno));
}

void fleet_node_kill(struct fleet *f, struct fleet_node *n)
{
    (void)f;
    process_kill(n->pid);
    n->pid = 0;
}

pid_t fleet_node_image(const struct fleet_node *n)
{
    return process_child(n->pid);
}

struct fleet_node *fleet_find(struct fleet *f, const char *name)
{
    for (unsigned i = 0; i < f->count; i++)
        if (strcmp(f->node[i].name, name) == 0)
            return &f->node[i];
    fleet_fail(f, "no node %s", name);
}

cJSON *fleet_inspect(struct fleet *f, const struct fleet_node *n)
{
    char flash[FLEET_PATH_MAX], out[8192];
    path_in(f, flash, n->name, ".flash");
    const char *const argv[] = {"node-boot", "inspect", "--flash", flash, "--json", NULL};
    cJSON *json = fleet_run(f, out, sizeof out, argv) == 0 ? cJSON_Parse(out) : NULL;
    if (json == NULL)
        fleet_fail(f, "the flash of %s cannot be read", n->name);
    return json;
}

void fleet_start(struct fleet *f, const struct fleet_options *options, unsigned count, unsigned canaries)
{
    fleet_open(f, options);
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << 1);
    for (unsigned i = 1; i <= count; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%u", i);
        fleet_node_start(f, fleet_add(f, name, 1, i <= canaries ? "canary" : NULL, 1));
    }
    fleet_wait_enrolled(f, 45);
}
