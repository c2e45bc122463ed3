/*
 * meshctl provision: enter a node, and write the settings record its bootloader's tool puts into flash.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "pack.h"
#include "proto/object/settings.h"

static const char provision_help[] =
    "meshctl provision - enter a node into the network\n"
    "\n"
    "Usage: meshctl provision --product N --model N -o FILE [OPTIONS]\n"
    "\n"
    "The daemon allocates id, enrolment index and report key. FILE receives the settings\n"
    "record (360 bytes, mode 0600): it holds the network key, so write it to the node\n"
    "(POSIX: node-boot provision) and delete it. The node is enrolled with its first\n"
    "authentic report.\n"
    "\n"
    "Options:\n"
    "  --product N, --model N   what the node is; decide which images it takes\n"
    "  --hw-revision N          0 to 31 (default 0)\n"
    "  --label NAME             label (may be repeated); a new name gets a free one of 16\n"
    "  --name NAME              name for people (default node-ID)\n"
    "  --node ID                id instead of the next free one\n"
    "\n"
    "Example:\n"
    "  meshctl provision --product 1 --model 2 --label canary --name lamp-7 -o lamp-7.settings\n";

/* Writes the record of a reply to a file, and takes it out of the reply. */
static int write_settings(struct md_ctl *c, cJSON *j, const char *path)
{
    uint8_t record[MP_SETTINGS_SIZE];
    char error[300];
    if (md_json_hex(j, "settings", record, sizeof record) != MP_SETTINGS_SIZE)
        return md_ctl_fail(c, MD_EXIT_FAILED, "the daemon gave no settings record");
    cJSON_DeleteItemFromObject(j, "settings");
    int bad = md_file_write(path, record, sizeof record, 0600, error, sizeof error);
    sodium_memzero(record, sizeof record);
    return bad == MP_OK ? MD_EXIT_OK : md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
}

static cJSON *request(uint64_t node, uint64_t product, uint64_t model, uint64_t revision, const char *name,
                      const struct md_list *labels)
{
    cJSON *body = cJSON_CreateObject();
    if (node != 0)
        cJSON_AddNumberToObject(body, "node", (double)node);
    cJSON_AddNumberToObject(body, "product", (double)product);
    cJSON_AddNumberToObject(body, "model", (double)model);
    cJSON_AddNumberToObject(body, "hw_revision", (double)revision);
    if (name != NULL)
        cJSON_AddStringToObject(body, "name", name);
    cJSON *array = cJSON_AddArrayToObject(body, "labels");
    for (unsigned i = 0; i < labels->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(labels->item[i]));
    return body;
}

int md_cmd_provision(struct md_ctl *c, int argc, char **argv)
{
    uint64_t node = 0, product = UINT64_MAX, model = UINT64_MAX, revision = 0;
    const char *name = NULL, *output = NULL;
    struct md_list labels = {0};
    const struct md_option options[] = {
        {"node", MD_OPTION_NUMBER, &node, 1, 0xFFFFFFFEu},  {"product", MD_OPTION_NUMBER, &product, 0, UINT32_MAX},
        {"model", MD_OPTION_NUMBER, &model, 0, UINT16_MAX}, {"hw-revision", MD_OPTION_NUMBER, &revision, 0, 31},
        {"label", MD_OPTION_LIST, &labels, 0, 0},           {"name", MD_OPTION_STRING, &name, 0, 0},
        {"output", MD_OPTION_STRING, &output, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), NULL, 0, 0, provision_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (product == UINT64_MAX || model == UINT64_MAX || output == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--product, --model and -o are needed");
    cJSON *body = request(node, product, model, revision, name, &labels), *j = NULL;
    int status = md_ctl_call(c, "POST", "/v1/nodes", body, &j);
    cJSON_Delete(body);
    if (status != MD_EXIT_OK)
        return status;
    status = write_settings(c, j, output);
    if (status == MD_EXIT_OK && c->json)
        md_ctl_print_json(j);
    else if (status == MD_EXIT_OK)
        printf("%s: node %u, index %u; settings in %s\n", md_json_string(j, "name"),
               (unsigned)md_json_number(j, "node"), (unsigned)md_json_number(j, "index"), output);
    cJSON_Delete(j);
    return status;
}
