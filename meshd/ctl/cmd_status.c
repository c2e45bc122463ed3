/*
 * meshctl status, audit, version.
 */
#include <stdio.h>
#include <string.h>

#include "../daemon/version.h"
#include "ctl.h"
#include "human.h"

static const char status_help[] = "meshctl status - gateway, radio, mesh and keys at a glance\n"
                                  "\n"
                                  "Usage: meshctl status\n"
                                  "\n"
                                  "With --json everything the daemon knows of itself: counters by frame type and by\n"
                                  "cause of drop, heads, manifests, neighbours.\n";

static const char audit_help[] = "meshctl audit - who did what, and what was decided and why\n"
                                 "\n"
                                 "Usage: meshctl audit [--since ID] [--limit N] [--no-verify]\n"
                                 "\n"
                                 "Every row carries the hash of the one before. The daemon walks the whole chain\n"
                                 "first; a chain that does not close is exit status 7.\n"
                                 "\n"
                                 "Options:\n"
                                 "  --since ID       rows after this one (default 0: from the first)\n"
                                 "  --limit N        at most so many rows (default: all)\n"
                                 "  --no-verify      skip the chain\n";

/* --- status ------------------------------------------------------------------------------------------------------- */

static void print_bearer(const cJSON *j)
{
    const cJSON *b = cJSON_GetObjectItem(j, "bearer");
    const char *problem = md_json_string(b, "problem");
    printf("radio     %s, %s%s%s; %u frames heard, %u sent, %u lost\n", md_json_string(b, "device"),
           md_json_string(b, "state"), problem[0] != '\0' ? ": " : "", problem,
           (unsigned)md_json_number(b, "frames_heard"), (unsigned)md_json_number(b, "frames_sent"),
           (unsigned)md_json_number(b, "frames_lost"));
}

static void print_mesh(const cJSON *j)
{
    const cJSON *n = cJSON_GetObjectItem(j, "nodes"), *item;
    printf("nodes     %u enrolled, %u provisioned, %u retired; %d neighbours\n",
           (unsigned)md_json_number(n, "enrolled"), (unsigned)md_json_number(n, "provisioned"),
           (unsigned)md_json_number(n, "retired"), cJSON_GetArraySize(cJSON_GetObjectItem(j, "neighbours")));
    n = cJSON_GetObjectItem(j, "reports");
    printf("reports   %u taken, %u duplicate, %u old, %u forged, %u from unknown nodes\n",
           (unsigned)md_json_number(n, "new"), (unsigned)md_json_number(n, "duplicate"),
           (unsigned)md_json_number(n, "old"), (unsigned)md_json_number(n, "forged"),
           (unsigned)md_json_number(n, "unknown"));
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(j, "heads"))
    {
        char share[MD_HUMAN_MAX];
        printf("release   %u: directive %u, %s, labels 0x%04x, share %s\n", (unsigned)md_json_number(item, "release"),
               (unsigned)md_json_number(item, "sequence"), md_json_string(item, "action"),
               (unsigned)md_json_number(item, "labels"),
               md_human_share((unsigned)md_json_number(item, "share_bp"), share));
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(j, "manifests"))
    {
        printf("payload   %s %s, model %u: %u of %u chunks\n", md_json_string(item, "id"),
               md_json_string(item, "version"), (unsigned)md_json_number(item, "model"),
               (unsigned)md_json_number(item, "chunks_held"), (unsigned)md_json_number(item, "chunks"));
    }
}

int md_cmd_status(struct md_ctl *c, int argc, char **argv)
{
    cJSON *j = NULL;
    char up[MD_HUMAN_MAX];
    int count = md_ctl_options(argc, argv, NULL, 0, NULL, 0, 0, status_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = md_ctl_call(c, "GET", "/v1/status", NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json) {
        md_ctl_print_json(j);
    } else {
        const cJSON *keys = cJSON_GetObjectItem(j, "keyset");
        printf("meshd     %s, up %s; network %u, gateway node %u, epoch %u, round %u\n", md_json_string(j, "version"),
               md_human_seconds((uint64_t)md_json_number(j, "uptime_s"), up), (unsigned)md_json_number(j, "network"),
               (unsigned)md_json_number(j, "node"), (unsigned)md_json_number(j, "epoch"),
               (unsigned)md_json_number(j, "round"));
        print_bearer(j);
        printf("keys      key change %u%s; %s%s\n", (unsigned)md_json_number(keys, "number"),
               md_json_true(keys, "frozen") ? ", FROZEN" : "",
               md_json_true(j, "signs") ? "signs rollouts" : "signs nothing: ", md_json_string(j, "signs_not_because"));
        print_mesh(j);
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* --- audit -------------------------------------------------------------------------------------------------------- */

static int verify(struct md_ctl *c)
{
    cJSON *j = NULL;
    int status = md_ctl_call(c, "GET", "/v1/audit/verify", NULL, &j);
    if (status == MD_EXIT_OK && !md_json_true(j, "intact"))
        status = md_ctl_fail(c, MD_EXIT_TAMPERED, "the audit log was tampered with: its chain breaks at row %u",
                             (unsigned)md_json_number(j, "first_bad"));
    cJSON_Delete(j);
    return status;
}

static void print_audit(const cJSON *j)
{
    const cJSON *row;
    char when[MD_HUMAN_MAX];
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(j, "audit"))
    {
        printf("%5u  %s  %-10s %-18s %s\n", (unsigned)md_json_number(row, "id"),
               md_human_time((int64_t)md_json_number(row, "at_ms"), when), md_json_string(row, "who"),
               md_json_string(row, "what"), md_json_string(row, "text"));
    }
}

/* Moves a page's rows to the document that is printed in the end. */
static void collect(cJSON *page, cJSON *collected)
{
    cJSON *rows = cJSON_GetObjectItem(page, "audit");
    while (rows != NULL && rows->child != NULL)
        cJSON_AddItemToArray(collected, cJSON_DetachItemViaPointer(rows, rows->child));
}

int md_cmd_audit(struct md_ctl *c, int argc, char **argv)
{
    uint64_t since = 0, limit = UINT32_MAX;
    bool no_verify = false;
    const struct md_option options[] = {{"since", MD_OPTION_NUMBER, &since, 0, UINT32_MAX},
                                        {"limit", MD_OPTION_NUMBER, &limit, 1, UINT32_MAX},
                                        {"no-verify", MD_OPTION_FLAG, &no_verify, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), NULL, 0, 0, audit_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = no_verify ? MD_EXIT_OK : verify(c);
    cJSON *all = cJSON_CreateObject(), *collected = cJSON_AddArrayToObject(all, "audit");
    while (status == MD_EXIT_OK && limit > 0) {
        char path[80];
        cJSON *j = NULL;
        snprintf(path, sizeof path, "/v1/audit?since=%llu&limit=%u", (unsigned long long)since,
                 (unsigned)(limit < 200 ? limit : 200));
        status = md_ctl_call(c, "GET", path, NULL, &j);
        if (status != MD_EXIT_OK)
            break;
        int rows = cJSON_GetArraySize(cJSON_GetObjectItem(j, "audit"));
        if (c->json)
            collect(j, collected);
        else
            print_audit(j);
        since = (uint64_t)md_json_number(j, "next");
        limit -= (uint64_t)rows < limit ? (uint64_t)rows : limit;
        cJSON_Delete(j);
        if (rows < 200)
            break;
    }
    cJSON_AddNumberToObject(all, "next", (double)since);
    if (status == MD_EXIT_OK && c->json)
        md_ctl_print_json(all);
    cJSON_Delete(all);
    return status;
}

/* --- version ------------------------------------------------------------------------------------------------------ */

int md_cmd_version(struct md_ctl *c, int argc, char **argv)
{
    int count = md_ctl_options(argc, argv, NULL, 0, NULL, 0, 0, "meshctl version - the version of meshctl\n");
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (c->json)
        printf("{\"version\": \"%s\"}\n", MD_VERSION);
    else
        printf("meshctl %s\n", MD_VERSION);
    return MD_EXIT_OK;
}
