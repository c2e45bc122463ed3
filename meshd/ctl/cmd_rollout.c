/*
 * meshctl rollout: plan, start and steer staged releases.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "human.h"
#include "pack.h"
#include "rollout_args.h"

static const char rollout_help[] =
    "meshctl rollout - staged releases\n"
    "\n"
    "Usage:\n"
    "  meshctl rollout plan RELEASE RINGS      members of every ring; changes nothing\n"
    "  meshctl rollout start RELEASE RINGS     stage the release and open its first ring\n"
    "  meshctl rollout list                    every rollout there was\n"
    "  meshctl rollout show RELEASE            rings, counts, members, and why\n"
    "  meshctl rollout hold RELEASE            stop: no node activates it from now on\n"
    "  meshctl rollout resume RELEASE          go on; failures so far are waived\n"
    "  meshctl rollout advance RELEASE         pass the current ring against its gate\n"
    "  meshctl rollout revert RELEASE [--to RELEASE]\n"
    "                                          back to the release before (or that one)\n"
    "  meshctl rollout override RELEASE on|off nodes ignore the circuit breaker\n"
    "\n"
    "RINGS: one --ring for each, in order, or --policy TEXT, or --policy-file FILE:\n"
    "  --ring name=NAME[,label=L][,share=P%][,SETTING=VALUE...]\n"
    "      label=L          nodes with this label (may be repeated)\n"
    "      share=25%        this share of all nodes, by hash; includes earlier rings\n"
    "      soak=1h          healthy time before the next ring (default 5m)\n"
    "      deadline=2h      a member opened for so long without an outcome has failed\n"
    "                       (default 1h): silence is failure\n"
    "      max-failures=0   members that may fail (default 0), or max-failures-percent=2%\n"
    "      min-reports=1    members that must be heard of before the ring may pass\n"
    "Settings of the whole:\n"
    "  --spread TIME            activations are spread over this window (default 0)\n"
    "  --confirm TIME           a new image has to prove itself within it (default 60s;\n"
    "                           warned of below 60s, 1s to 1h)\n"
    "  --stage-deadline TIME    a ring opens when its members hold the image, or at the\n"
    "                           latest after this (default 1d)\n"
    "  --cap N                  members opened and without outcome at any time\n"
    "  --roll-call TIME|none    before a ring passes, all that confirmed so far are asked\n"
    "                           again; who does not answer for so long is silent\n"
    "                           (default 30m, ends as soon as enough have answered)\n"
    "Times are seconds, or end in s, m, h or d.\n"
    "\n"
    "The ring a gate stops at is where the release ends: nodes that tried it fall back by\n"
    "themselves, the others never boot it. See also: meshctl watch RELEASE.\n"
    "\n"
    "Example:\n"
    "  meshctl rollout start 2 --ring name=canary,label=canary,soak=1h \\\n"
    "    --ring name=quarter,share=25%,soak=4h,max-failures=1 --ring name=all,share=100% \\\n"
    "    --confirm 120 --spread 10m\n";

/* --- plan, start -------------------------------------------------------------------------------------------------- */

struct start {
    struct md_list rings;
    const char *policy, *policy_file, *spread, *confirm, *stage_deadline, *cap, *roll_call;
    char text[MD_RINGS_TEXT_MAX];
};

static int read_policy_file(struct md_ctl *c, struct start *s)
{
    char error[300];
    uint8_t *data = NULL;
    size_t len = 0;
    if (md_file_read(s->policy_file, sizeof s->text - 1, &data, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    memcpy(s->text, data, len);
    s->text[len] = '\0';
    bool is_text = strlen(s->text) == len;
    free(data);
    return is_text ? MD_EXIT_OK : md_ctl_fail(c, MD_EXIT_FAILED, "%s: not a text file", s->policy_file);
}

/* The policy's text from the options. */
static int make_policy(struct md_ctl *c, struct start *s)
{
    char error[300];
    int ways = (s->rings.count > 0) + (s->policy != NULL) + (s->policy_file != NULL);
    if (ways != 1)
        return md_ctl_fail(c, MD_EXIT_USAGE, "give the rings by --ring, by --policy, or by --policy-file");
    if (s->policy_file != NULL)
        return read_policy_file(c, s);
    if (s->policy != NULL) {
        if (strlen(s->policy) >= sizeof s->text)
            return md_ctl_fail(c, MD_EXIT_USAGE, "the policy is too long");
        strcpy(s->text, s->policy);
        return MD_EXIT_OK;
    }
    int bad = md_policy_setting("spread", s->spread, s->text, sizeof s->text, error, sizeof error);
    if (bad == 0)
        bad = md_policy_setting("confirm", s->confirm, s->text, sizeof s->text, error, sizeof error);
    if (bad == 0)
        bad = md_policy_setting("stage-deadline", s->stage_deadline, s->text, sizeof s->text, error, sizeof error);
    if (bad == 0)
        bad = md_policy_setting("cap", s->cap, s->text, sizeof s->text, error, sizeof error);
    if (bad == 0)
        bad = md_policy_setting("roll-call", s->roll_call, s->text, sizeof s->text, error, sizeof error);
    for (unsigned i = 0; i < s->rings.count && bad == 0; i++)
        bad = md_ring_clause(s->rings.item[i], s->text, sizeof s->text, error, sizeof error);
    return bad == 0 ? MD_EXIT_OK : md_ctl_fail(c, MD_EXIT_USAGE, "%s", error);
}

/* The arguments both take, to a request body. -1, or an exit status; body is the caller's. */
static int read_start(struct md_ctl *c, int argc, char **argv, cJSON **body)
{
    struct start s = {.text = ""};
    const char *args[1];
    uint64_t release;
    const struct md_option options[] = {{"ring", MD_OPTION_LIST, &s.rings, 0, 0},
                                        {"policy", MD_OPTION_STRING, &s.policy, 0, 0},
                                        {"policy-file", MD_OPTION_STRING, &s.policy_file, 0, 0},
                                        {"spread", MD_OPTION_STRING, &s.spread, 0, 0},
                                        {"confirm", MD_OPTION_STRING, &s.confirm, 0, 0},
                                        {"stage-deadline", MD_OPTION_STRING, &s.stage_deadline, 0, 0},
                                        {"cap", MD_OPTION_STRING, &s.cap, 0, 0},
                                        {"roll-call", MD_OPTION_STRING, &s.roll_call, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, rollout_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (!md_ctl_number(args[0], 1, UINT32_MAX, &release))
        return md_ctl_fail(c, MD_EXIT_USAGE, "\"%s\" is no release sequence", args[0]);
    int status = make_policy(c, &s);
    if (status != MD_EXIT_OK)
        return status;
    *body = cJSON_CreateObject();
    cJSON_AddNumberToObject(*body, "release", (double)release);
    cJSON_AddStringToObject(*body, "policy", s.text);
    return -1;
}

static void print_ring_line(const cJSON *ring)
{
    char share[MD_HUMAN_MAX], soak[MD_HUMAN_MAX], deadline[MD_HUMAN_MAX], labels[400];
    unsigned bp = (unsigned)md_json_number(ring, "share_bp");
    md_json_join(ring, "labels", labels, sizeof labels);
    printf("%s:", md_json_string(ring, "name"));
    if (labels[0] != '\0')
        printf(" label %s", labels);
    if (bp > 0)
        printf("%s share %s", labels[0] != '\0' ? "," : "", md_human_share(bp, share));
    printf(", soak %s, deadline %s", md_human_seconds((uint64_t)md_json_number(ring, "soak_s"), soak),
           md_human_seconds((uint64_t)md_json_number(ring, "deadline_s"), deadline));
}

static void print_plan(const cJSON *j)
{
    const cJSON *ring, *m;
    printf("release %u, salt %u\n", (unsigned)md_json_number(j, "release"), (unsigned)md_json_number(j, "salt"));
    cJSON_ArrayForEach(ring, cJSON_GetObjectItem(j, "rings"))
    {
        const cJSON *members = cJSON_GetObjectItem(ring, "members");
        print_ring_line(ring);
        printf(": %d node%s\n", cJSON_GetArraySize(members), cJSON_GetArraySize(members) == 1 ? "" : "s");
        cJSON_ArrayForEach(m, members)
        {
            printf("  %-20s node %-8u draw %u\n", md_json_string(m, "name"), (unsigned)md_json_number(m, "node"),
                   (unsigned)md_json_number(m, "draw"));
        }
    }
    printf("outside (retired, never heard, other model, or in no ring): %u\n", (unsigned)md_json_number(j, "outside"));
}

static int plan(struct md_ctl *c, int argc, char **argv)
{
    cJSON *body = NULL, *j = NULL;
    int status = read_start(c, argc, argv, &body);
    if (status >= 0)
        return status;
    status = md_ctl_call(c, "POST", "/v1/rollouts/plan", body, &j);
    cJSON_Delete(body);
    if (status != MD_EXIT_OK)
        return status;
    md_ctl_print_warnings(j);
    if (c->json)
        md_ctl_print_json(j);
    else
        print_plan(j);
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* --- list, show --------------------------------------------------------------------------------------------------- */

static void print_counts(const cJSON *counts)
{
    static const char *const names[] = {"waiting", "staged", "trial", "confirmed", "failed", "silent", "waived"};
    printf("%u members", (unsigned)md_json_number(counts, "members"));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (md_json_number(counts, names[i]) != 0)
            printf(", %u %s", (unsigned)md_json_number(counts, names[i]), names[i]);
}

static void print_rollout(const cJSON *j)
{
    char when[MD_HUMAN_MAX];
    const cJSON *ring, *m;
    const char *cause = md_json_string(j, "cause");
    printf("release %u: %s%s%s%s, started %s\n", (unsigned)md_json_number(j, "release"), md_json_string(j, "phase"),
           cause[0] != '\0' ? " (" : "", cause, cause[0] != '\0' ? ")" : "",
           md_human_time((int64_t)md_json_number(j, "started_ms"), when));
    if (md_json_string(j, "why")[0] != '\0')
        printf("  %s\n", md_json_string(j, "why"));
    if (md_json_number(j, "due_ms") > 0) {
        int64_t left = (int64_t)(md_json_number(j, "due_ms") - md_json_number(j, "now_ms")) / 1000;
        printf("  next by itself in %s\n", md_human_seconds(left > 0 ? (uint64_t)left : 0, when));
    }
    cJSON_ArrayForEach(ring, cJSON_GetObjectItem(j, "rings"))
    {
        printf("  [%s] ", md_json_string(ring, "state"));
        print_ring_line(ring);
        printf("\n      ");
        print_counts(cJSON_GetObjectItem(ring, "counts"));
        putchar('\n');
    }
    cJSON_ArrayForEach(m, cJSON_GetObjectItem(j, "members"))
    {
        const char *reason = md_json_string(m, "reason");
        printf("  %-20s %-12s %s%s%s\n", md_json_string(m, "name"), md_json_string(m, "ring"),
               md_json_string(m, "outcome"), reason[0] != '\0' ? ": " : "", reason);
    }
    printf("  policy: %s\n", md_json_string(j, "policy"));
}

static int list(struct md_ctl *c, int argc, char **argv)
{
    cJSON *j = NULL;
    const cJSON *r;
    char when[MD_HUMAN_MAX];
    int count = md_ctl_options(argc, argv, NULL, 0, NULL, 0, 0, rollout_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = md_ctl_call(c, "GET", "/v1/rollouts", NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json) {
        md_ctl_print_json(j);
    } else {
        printf("%-8s %-10s %-12s %-20s %s\n", "RELEASE", "PHASE", "RING", "STARTED", "WHY");
        cJSON_ArrayForEach(r, cJSON_GetObjectItem(j, "rollouts"))
        {
            printf("%-8u %-10s %-12s %-20s %s\n", (unsigned)md_json_number(r, "release"), md_json_string(r, "phase"),
                   md_json_true(r, "live") ? md_json_string(r, "ring") : "-",
                   md_human_time((int64_t)md_json_number(r, "started_ms"), when), md_json_string(r, "why"));
        }
    }
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* Calls METHOD /v1/rollouts/RELEASE[/verb] and prints the rollout. */
static int one(struct md_ctl *c, const char *text, const char *verb, const cJSON *body)
{
    char path[80];
    uint64_t release;
    cJSON *j = NULL;
    if (!md_ctl_number(text, 1, UINT32_MAX, &release))
        return md_ctl_fail(c, MD_EXIT_USAGE, "\"%s\" is no release sequence", text);
    snprintf(path, sizeof path, "/v1/rollouts/%u%s%s", (unsigned)release, verb != NULL ? "/" : "",
             verb != NULL ? verb : "");
    int status = md_ctl_call(c, verb != NULL ? "POST" : "GET", path, body, &j);
    if (status != MD_EXIT_OK)
        return status;
    if (c->json)
        md_ctl_print_json(j);
    else if (verb == NULL)
        print_rollout(j);
    else
        printf("release %u: %s. %s\n", (unsigned)release, md_json_string(j, "phase"), md_json_string(j, "why"));
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

static int start(struct md_ctl *c, int argc, char **argv)
{
    cJSON *body = NULL, *j = NULL;
    int status = read_start(c, argc, argv, &body);
    if (status >= 0)
        return status;
    status = md_ctl_call(c, "POST", "/v1/rollouts", body, &j);
    cJSON_Delete(body);
    if (status != MD_EXIT_OK)
        return status;
    md_ctl_print_warnings(j);
    if (c->json)
        md_ctl_print_json(j);
    else
        print_rollout(j);
    cJSON_Delete(j);
    return MD_EXIT_OK;
}

/* --- steering ----------------------------------------------------------------------------------------------------- */

static int verb_only(struct md_ctl *c, int argc, char **argv, const char *verb)
{
    const char *args[1];
    int count = md_ctl_options(argc, argv, NULL, 0, args, 1, 1, rollout_help);
    return count < 0 ? MD_OPTIONS_EXIT(count) : one(c, args[0], verb, NULL);
}

static int show(struct md_ctl *c, int argc, char **argv)
{
    return verb_only(c, argc, argv, NULL);
}

static int hold(struct md_ctl *c, int argc, char **argv)
{
    return verb_only(c, argc, argv, "hold");
}

static int resume(struct md_ctl *c, int argc, char **argv)
{
    return verb_only(c, argc, argv, "resume");
}

static int advance(struct md_ctl *c, int argc, char **argv)
{
    return verb_only(c, argc, argv, "advance");
}

static int revert(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    uint64_t to = 0;
    const struct md_option options[] = {{"to", MD_OPTION_NUMBER, &to, 1, UINT32_MAX}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 1, 1, rollout_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    cJSON *body = cJSON_CreateObject();
    if (to != 0)
        cJSON_AddNumberToObject(body, "to", (double)to);
    int status = one(c, args[0], "revert", body);
    cJSON_Delete(body);
    return status;
}

static int override(struct md_ctl *c, int argc, char **argv)
{
    const char *args[2];
    int count = md_ctl_options(argc, argv, NULL, 0, args, 2, 2, rollout_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    bool on = strcmp(args[1], "on") == 0;
    if (!on && strcmp(args[1], "off") != 0)
        return md_ctl_fail(c, MD_EXIT_USAGE, "\"on\" or \"off\", not \"%s\"", args[1]);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddBoolToObject(body, "on", on);
    int status = one(c, args[0], "override", body);
    cJSON_Delete(body);
    return status;
}

int md_cmd_rollout(struct md_ctl *c, int argc, char **argv)
{
    static const struct md_subcommand subs[] = {
        {"plan", plan},     {"start", start},     {"list", list},     {"show", show},         {"hold", hold},
        {"resume", resume}, {"advance", advance}, {"revert", revert}, {"override", override}, {NULL, NULL}};
    return md_ctl_group(c, argc, argv, subs, rollout_help);
}
