#include "checkpoint.h"

#include "sim/engine/parallel.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FORMAT 1u

/* What must agree for a checkpoint to fit. No padding: it is compared and written as bytes. */
struct head {
    char version[16];
    char stack[16];
    uint64_t scenario, seed;
    uint32_t format, ranks, rank, profile; /* profile: size of what depends on the build's limits */
    uint64_t generation, at;
};

static void path_of(const char *dir, const char *suffix, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/checkpoint.%u%s", dir, sim_parallel_rank(), suffix);
}

static void fill_head(const struct sim_checkpoint *c, struct head *head)
{
    memset(head, 0, sizeof *head);
    snprintf(head->version, sizeof head->version, "%s", SIM_VERSION);
    snprintf(head->stack, sizeof head->stack, "%s", c->stack->name);
    head->scenario = sim_scenario_hash(c->scenario);
    head->seed = c->seed;
    head->format = FORMAT;
    head->ranks = sim_parallel_size();
    head->rank = sim_parallel_rank();
#ifdef MP_PROFILE_MCU
    head->profile = 1;
#endif
    head->generation = c->generation;
    head->at = sim_engine_now(c->engine);
}

/* Everybody's verdict: 0 only if all had 0. */
static int agree(int rc)
{
    return sim_parallel_max(rc != 0) == 0 ? 0 : -1;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static int write_next(struct sim_checkpoint *c, char *error, size_t cap)
{
    char path[PATH_MAX];
    struct head head;
    path_of(c->dir, ".next", path);
    struct sim_archive *a = sim_archive_create(path, error, cap);
    if (a == NULL)
        return -1;
    fill_head(c, &head);
    (void)sim_archive_section(a, "HEAD");
    (void)sim_archive_put(a, &head, sizeof head);
    /* each stops at its first error, which the archive keeps */
    (void)(sim_engine_save(c->engine, a) == 0 && sim_result_save(c->result, a) == 0 &&
           sim_watch_save(c->watch, a) == 0);
    return sim_archive_close(a, error, cap);
}

int sim_checkpoint_write(struct sim_checkpoint *c, char *error, size_t cap)
{
    char path[PATH_MAX], next[PATH_MAX];
    error[0] = '\0';
    c->generation++;
    path_of(c->dir, "", path);
    path_of(c->dir, ".next", next);
    if (agree(write_next(c, error, cap)) != 0) {
        (void)unlink(next);
        c->generation--;
        return -1;
    }
    int rc = rename(next, path);
    if (rc != 0)
        snprintf(error, cap, "%.200s: %s", path, strerror(errno));
    return agree(rc);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int refuse(const char *path, const char *why, char *error, size_t cap)
{
    snprintf(error, cap, "%.200s: %s", path, why);
    return -1;
}

static int compare(const struct head *is, const struct head *wanted, const char *path, char *error, size_t cap)
{
    char why[96];
    if (is->format != FORMAT || memcmp(is->version, wanted->version, sizeof is->version) != 0 ||
        is->profile != wanted->profile)
        return refuse(path, "written by another version of meshsim", error, cap);
    if (is->ranks != wanted->ranks) {
        snprintf(why, sizeof why, "of a run with %" PRIu32 " ranks; this one has %" PRIu32, is->ranks, wanted->ranks);
        return refuse(path, why, error, cap);
    }
    if (is->rank != wanted->rank)
        return refuse(path, "of another rank", error, cap);
    if (is->seed != wanted->seed) {
        snprintf(why, sizeof why, "of a run with seed %" PRIu64 "; this one has %" PRIu64, is->seed, wanted->seed);
        return refuse(path, why, error, cap);
    }
    if (memcmp(is->stack, wanted->stack, sizeof is->stack) != 0 || is->scenario != wanted->scenario)
        return refuse(path, "of another scenario, or other values of --set", error, cap);
    return 0;
}

/* Opens one of the two files and checks its head. NULL with a sentence. */
static struct sim_archive *open_checked(const struct sim_checkpoint *c, const char *suffix, struct head *head,
                                        char *error, size_t cap)
{
    char path[PATH_MAX];
    struct head wanted;
    path_of(c->dir, suffix, path);
    fill_head(c, &wanted);
    struct sim_archive *a = sim_archive_open(path, error, cap);
    if (a == NULL)
        return NULL;
    if (sim_archive_section(a, "HEAD") != 0 || sim_archive_get(a, head, sizeof *head) != 0) {
        snprintf(error, cap, "%s", sim_archive_error(a));
        sim_archive_abandon(a);
        return NULL;
    }
    if (compare(head, &wanted, path, error, cap) != 0) {
        sim_archive_abandon(a);
        return NULL;
    }
    return a;
}

/* The file of the generation that the most advanced rank has. */
static struct sim_archive *open_newest(struct sim_checkpoint *c, struct head *head, char *error, size_t cap)
{
    struct sim_archive *a = open_checked(c, "", head, error, cap);
    if (agree(a == NULL) != 0) {
        sim_archive_abandon(a);
        return NULL;
    }
    const uint64_t newest = sim_parallel_max(head->generation);
    if (head->generation < newest) {
        sim_archive_abandon(a);
        a = open_checked(c, ".next", head, error, cap);
        if (a != NULL && head->generation != newest) {
            snprintf(error, cap, "%.200s: the ranks' checkpoints are not of one moment", c->dir);
            sim_archive_abandon(a);
            a = NULL;
        }
    }
    if (agree(a == NULL) != 0) {
        sim_archive_abandon(a);
        return NULL;
    }
    c->generation = newest;
    return a;
}

int sim_checkpoint_read(struct sim_checkpoint *c, char *error, size_t cap)
{
    struct head head = {.generation = 0};
    error[0] = '\0';
    struct sim_archive *a = open_newest(c, &head, error, cap);
    if (a == NULL)
        return -1;
    if ((sim_engine_load(c->engine, a) != 0 || sim_result_load(c->result, a) != 0 ||
         sim_watch_load(c->watch, a) != 0) &&
        !sim_archive_failed(a))
        (void)sim_archive_fail(a, "cannot be used");
    return agree(sim_archive_close(a, error, cap));
}

void sim_checkpoint_remove(const struct sim_checkpoint *c)
{
    char path[PATH_MAX];
    path_of(c->dir, "", path);
    (void)unlink(path);
    path_of(c->dir, ".next", path);
    (void)unlink(path);
}

bool sim_checkpoint_exists(const char *dir)
{
    char path[PATH_MAX];
    path_of(dir, "", path);
    return access(path, F_OK) == 0;
}
