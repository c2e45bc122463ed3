/*
 * meshctl nodes, meshctl labels.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "human.h"
#include "pack.h"
#include "proto/object/settings.h"

static const char nodes_help[] =
    "meshctl nodes - members of the network\n"
    "\n"
    "Usage:\n"
    "  meshctl nodes [list] [--label NAME] [--phase PHASE]\n"
    "  meshctl nodes show NODE             labels, rollouts, latest reports\n"
    "  meshctl nodes label NODE LABEL...   add labels; -LABEL after \"--\" removes one\n"
    "  meshctl nodes name NODE NAME\n"
    "  meshctl nodes retire NODE           out of every ring and denominator\n"
    "  meshctl nodes unretire NODE\n"
    "  meshctl nodes settings NODE -o FILE its settings record again (holds secrets)\n"
    "\n"
    "NODE is a name or a number. A node is \"provisioned\" until its first authentic\n"
    "report, then \"enrolled\". --phase picks by its last report: idle, fetching, staged,\n"
    "trial, confirmed, \"rolled back\", deferred or refused. Labels decide which ring a node\n"
    "is in; the node itself acts on those in its settings record, so write the record\n"
    "again after a change.\n"
    "\n"
    "Examples:\n"
    "  meshctl nodes --label canary\n"
    "  meshctl nodes label lamp-7 canary\n"
    "  meshctl nodes label lamp-7 -- -canary\n";

static const char labels_help[] = "meshctl labels - the 16 labels of a network\n"
                                  "\n"
                                  "Usage:\n"
                                  "  meshctl labels                 list\n"
                                  "  meshctl labels name BIT NAME   name one (0 to 15); \"\" removes the name\n";

/* --- list, show --------------------------------------------------------------------------------------------------- */

static void print_age(const cJSON *report, double now_ms)
{
    char age[MD_HUMAN_MAX];
    double at = md_json_number(report, "at_ms");
    printf("%s ago", md_human_seconds(now_ms > at ? (uint64_t)((now_ms - at) / 1000) : 0, age));
}

static void print_row(const cJSON *n, double now_ms)
{
    const cJSON *report = cJSON_GetObjectItem(n, "report");
    char labels[400], runs[32] = "-";
    md_json_join(n, "labels", labels, sizeof labels);
    if (md_json_string(n, "version")[0] != '\0')
        snprintf(runs, sizeof runs, "%s", md_json_string(n, "version"));
    else if (cJSON_IsObject(report))
        snprintf(runs, sizeof runs, "release %u", (unsigned)md_json_number(report, "running"));
    printf("%-8u %-16s %-11s %-6u %-10s %-12s ", (unsigned)md_json_number(n, "node"), md_json_string(n, "name"),
           md_json_string(n, "state"), (unsigned)md_json_number(n, "model"), runs, labels[0] != '\0' ? labels : "-");
    if (cJSON_IsObject(report)) {
        const char *reason = md_json_string(report, "reason");
        printf("%s%s%s, ", md_json_string(report, "phase"), reason[0] != '\0' ? ": " : "", reason);
        print_age(report, now_ms);
    }
    putchar('\n');
}

static bool has_label(const cJSON *n, const char *label)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(n, "labels"))
    {
        if (cJSON_IsString(item) && strcmp(item->valuestring, label) == 0)
            return true;
    }
    return false;
}

static int list(struct md_ctl *c, int argc, char **argv)
{
    const char *label = NULL, *phase = NULL;
    const struct md_option options[] = {{"label", MD_OPTION_STRING, &label, 0, 0},
                                        {"phase", MD_OPTION_STRING, &phase, 0, 0}};
    cJSON *j = NULL, *n, *next;
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), NULL, 0, 0, nodes_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = md_ctl_call(c, "GET", "/v1/nodes", NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    cJSON *array = cJSON_GetObjectItem(j, "nodes");
    for (n = array != NULL ? array->child : NULL; n != NULL; n = next) {
        next = n->next;
        if ((label != NULL && !has_label(n, label)) ||
            (phase != NULL && strcmp(md_json_string(cJSON_GetObjectItem(n, "report"), "phase"), phase) != 0))
            cJSON_Delete(cJSON_DetachItemViaPointer(array, n));
    }
    if (c->json) {
        md_ctl_print_json(j);
    } else {
        printf("%-8s %-16s %-11s %-6s %-10s %-12s %s\n", "NODE", "NAME", "STATE", "MODEL", "RUNS", "LABELS", "REPORT");
        cJSON_ArrayForEach(n, array)
        {
            print_row(n, md_json_number(j, "now_ms"));
        }
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

static void print_node(const cJSON *n)
{
    const cJSON *item;
    char labels[400], when[MD_HUMAN_MAX];
    md_json_join(n, "labels", labels, sizeof labels);
    printf("%s: node %u, %s, index %u\n", md_json_string(n, "name"), (unsigned)md_json_number(n, "node"),
           md_json_string(n, "state"), (unsigned)md_json_number(n, "index"));
    printf("  product %u, model %u, hardware revision %u, labels %s\n", (unsigned)md_json_number(n, "product"),
           (unsigned)md_json_number(n, "model"), (unsigned)md_json_number(n, "hw_revision"),
           labels[0] != '\0' ? labels : "none");
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(n, "rollouts"))
    {
        printf("  release %u: ring %s, %s %s\n", (unsigned)md_json_number(item, "release"),
               md_json_string(item, "ring")[0] != '\0' ? md_json_string(item, "ring") : "none",
               md_json_string(item, "outcome"), md_json_string(item, "reason"));
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(n, "history"))
    {
        printf("  %s  runs %u, target %u: %s %s\n", md_human_time((int64_t)md_json_number(item, "at_ms"), when),
               (unsigned)md_json_number(item, "running"), (unsigned)md_json_number(item, "target"),
               md_json_string(item, "phase"), md_json_string(item, "reason"));
    }
}

/* METHOD /v1/nodes/NODE[/verb] */
static int call_node(struct md_ctl *c, const char *node, const char *verb, const cJSON *body, cJSON **j)
{
    char path[120];
    if (!md_ctl_is_name(node))
        return md_ctl_fail(c, MD_EXIT_USAGE, "\"%s\" is no node's name or number", node);
    snprintf(path, sizeof path, "/v1/nodes/%s%s%s", node, verb != NULL ? "/" : "", verb != NULL ? verb : "");
    return md_ctl_call(c, body != NULL ? "POST" : "GET", path, body, j);
}

static int show(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    cJSON *j = NULL;
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, nodes_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = call_node(c, args[0], NULL, NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json)
        md_ctl_print_json(j);
    else
        print_node(j);
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

/* Calls a verb with a body (which it frees) and prints the node's row. */
static int change(struct md_ctl *c, const char *node, const char *verb, cJSON *body)
{
    cJSON *j = NULL;
    int status = call_node(c, node, verb, body, &j);
    cJSON_Delete(body);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json)
        md_ctl_print_json(j);
    else
        print_node(j);
    if (md_json_string(j, "note")[0] != '\0')
        fprintf(stderr, "note: %s\n", md_json_string(j, "note"));
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

static int label(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1 + MD_LIST_MAX];
    int count = md_ctl_options(argc, argv, NULL, 0, args, 2, 1 + MD_LIST_MAX, nodes_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    cJSON *body = cJSON_CreateObject();
    cJSON *add = cJSON_AddArrayToObject(body, "add"), *remove = cJSON_AddArrayToObject(body, "remove");
    for (int i = 1; i < count; i++) {
        bool off = args[i][0] == '-';
        cJSON_AddItemToArray(off ? remove : add, cJSON_CreateString(args[i] + (off || args[i][0] == '+')));
    }
    return change(c, args[0], "label", body);
}

static int name(struct md_ctl *c, int argc, char **argv)
{
    const char *args[2];
    int count = md_ctl_options(argc, argv, NULL, 0, args, 2, 2, nodes_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "name", args[1]);
    return change(c, args[0], "name", body);
}

static int verb_only(struct md_ctl *c, int argc, char **argv, const char *verb)
{
    const char *args[1];
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, nodes_help);
    return count < 0 ? MD_OPTIONS_EXIT(count) : change(c, args[0], verb, cJSON_CreateObject());
}

static int retire(struct md_ctl *c, int argc, char **argv)
{
    return verb_only(c, argc, argv, "retire");
}

static int unretire(struct md_ctl *c, int argc, char **argv)
{
    return verb_only(c, argc, argv, "unretire");
}

static int settings(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1], *output = NULL;
    char error[300];
    uint8_t record[MP_SETTINGS_SIZE];
    cJSON *j = NULL;
    const struct md_option options[] = {{"output", MD_OPTION_STRING, &output, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, nodes_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (output == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "-o FILE is missing");
    int status = call_node(c, args[0], "settings", NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    if (md_json_hex(j, "settings", record, sizeof record) != MP_SETTINGS_SIZE)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "the daemon gave no settings record");
    else if (md_file_write(output, record, sizeof record, 0600, error, sizeof error) != MP_OK)
        status = md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    sodium_memzero(record, sizeof record);
    cJSON_Delete(j);
    return status;
}

int md_cmd_nodes(struct md_ctl *c, int argc, char **argv)
{
    static const struct md_subcommand subs[] = {{"list", list},         {"show", show},     {"label", label},
                                                {"name", name},         {"retire", retire}, {"unretire", unretire},
                                                {"settings", settings}, {NULL, NULL}};
    /* "meshctl nodes" alone, or with options only, lists */
    if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0))
        return list(c, argc, argv);
    return md_ctl_group(c, argc, argv, subs, nodes_help);
}

/* --- labels ------------------------------------------------------------------------------------------------------- */

static int print_labels(struct md_ctl *c, cJSON *j)
{
    const cJSON *item;
    if (c->json) {
        md_ctl_print_json(j);
    } else {
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(j, "labels"))
        {
            printf("%2u  %s\n", (unsigned)md_json_number(item, "bit"), md_json_string(item, "name"));
        }
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

int md_cmd_labels(struct md_ctl *c, int argc, char **argv)
{
    const char *args[3];
    uint64_t bit;
    cJSON *j = NULL;
    int count = md_ctl_options(argc, argv, NULL, 0, args, 0, 3, labels_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (count == 0) {
        int status = md_ctl_call(c, "GET", "/v1/labels", NULL, &j);
        return status == MD_EXIT_OK ? print_labels(c, j) : status;
    }
    if (count != 3 || strcmp(args[0], "name") != 0 || !md_ctl_number(args[1], 0, 15, &bit))
        return md_ctl_fail(c, MD_EXIT_USAGE, "expected: meshctl labels name BIT NAME");
    cJSON *body = cJSON_CreateObject();
    cJSON_AddNumberToObject(body, "bit", (double)bit);
    cJSON_AddStringToObject(body, "name", args[2]);
    int status = md_ctl_call(c, "POST", "/v1/labels", body, &j);
    cJSON_Delete(body);
    return status == MD_EXIT_OK ? print_labels(c, j) : status;
}
