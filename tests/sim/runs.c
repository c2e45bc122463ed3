#include "runs.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH 1024
#define JSON_MAX (8u << 20)

/* --- reading ------------------------------------------------------------------------------------------------------ */

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = f != NULL ? malloc(JSON_MAX) : NULL;
    size_t n = text != NULL ? fread(text, 1, JSON_MAX - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    if (n == 0) {
        fprintf(stderr, "%s: %s\n", path, f == NULL ? strerror(errno) : "empty");
        free(text);
        return NULL;
    }
    text[n] = '\0';
    return text;
}

static double number(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(json, key);
    return cJSON_IsNumber(item) ? item->valuedouble : RUNS_NONE;
}

static double seconds(const cJSON *json, const char *key)
{
    const double us = number(json, key);
    return us < 0 ? RUNS_NONE : us / 1e6;
}

static void copy(char *to, size_t cap, const cJSON *json, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, key));
    snprintf(to, cap, "%s", text != NULL ? text : "");
}

int runs_read(const char *dir, struct run_figures *r)
{
    char path[PATH], seed[32];
    snprintf(path, sizeof path, "%s/run.json", dir);
    char *text = slurp(path);
    cJSON *json = text != NULL ? cJSON_Parse(text) : NULL;
    const cJSON *head = cJSON_GetObjectItem(json, "headline"), *frame;
    free(text);
    memset(r, 0, sizeof *r);
    if (head == NULL) {
        fprintf(stderr, "%s: no finished run\n", path);
        cJSON_Delete(json);
        return -1;
    }
    copy(r->name, sizeof r->name, json, "name");
    copy(r->stack, sizeof r->stack, json, "stack");
    copy(r->ended, sizeof r->ended, json, "ended");
    copy(seed, sizeof seed, json, "seed");
    r->seed = strtoull(seed, NULL, 10);
    r->nodes = number(head, "nodes");
    r->complete = number(head, "complete");
    r->first_s = seconds(head, "first_us");
    r->median_s = seconds(head, "median_us");
    r->last_s = seconds(head, "last_us");
    r->frames = number(head, "frames");
    r->chunk_frames = number(head, "chunk_frames");
    r->bytes = number(head, "bytes");
    r->installed = number(head, "installed");
    r->confirmed = number(head, "confirmed");
    r->rolled_back = number(head, "rolled_back");
    r->down = number(head, "down");
    r->energy_mj = number(head, "energy_mean_uj") / 1e3;
    r->simulated_s = seconds(json, "time_us");
    r->wall_s = number(cJSON_GetObjectItem(json, "execution"), "wall_ms") / 1e3;
    for (frame = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "totals"), "frames"),
        frame = frame ? frame->child : NULL;
         frame != NULL; frame = frame->next)
        r->all_frames += frame->valuedouble;
    cJSON_Delete(json);
    return 0;
}

static int by_seed(const void *left, const void *right)
{
    const struct run_figures *l = left, *r = right;
    return l->seed < r->seed ? -1 : l->seed > r->seed;
}

int runs_scan(const char *dir, struct run_figures *figures, size_t cap)
{
    char path[PATH];
    const struct dirent *entry;
    size_t n = 0;
    DIR *d = opendir(dir);
    if (d == NULL) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        return -1;
    }
    while ((entry = readdir(d)) != NULL && n < cap) {
        snprintf(path, sizeof path, "%s/%s/run.json", dir, entry->d_name);
        if (entry->d_name[0] == '.' || access(path, R_OK) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (runs_read(path, &figures[n]) != 0) {
            closedir(d);
            return -1;
        }
        n++;
    }
    closedir(d);
    qsort(figures, n, sizeof *figures, by_seed);
    return (int)n;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

int runs_start(const char *const argv[], const char *log)
{
    const pid_t pid = fork();
    if (pid < 0)
        fprintf(stderr, "fork: %s\n", strerror(errno));
    if (pid != 0)
        return (int)pid;
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644), null = open("/dev/null", O_RDONLY);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

int runs_wait(int pid, const char *log)
{
    int status = -1;
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    fprintf(stderr, "a run failed (status %d), see %s\n", status, log);
    return -1;
}

/* --- statistics --------------------------------------------------------------------------------------------------- */

static int by_value(const void *left, const void *right)
{
    const double l = *(const double *)left, r = *(const double *)right;
    return l < r ? -1 : l > r;
}

struct runs_interval runs_median(double *values, size_t n)
{
    struct runs_interval out = {NAN, NAN, NAN};
    if (n == 0)
        return out;
    qsort(values, n, sizeof *values, by_value);
    out.middle = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    /* Largest k for which the k lowest and the k highest together hold the median with at most 5 %: binomial(n, 1/2). */
    double below = 0, term = pow(0.5, (double)n);
    size_t k = 0;
    while (k < n / 2 && 2 * (below + term) <= 0.05) {
        below += term;
        term *= (double)(n - k) / (double)(k + 1);
        k++;
    }
    k = k > 0 ? k - 1 : 0;
    out.low = values[k];
    out.high = values[n - 1 - k];
    return out;
}

/* 97.5 % point of Student's t: exact for few degrees of freedom, Cornish-Fisher's expansion (Abramowitz and Stegun
 * 26.7.5) for many. */
static double student(size_t freedom)
{
    static const double few[] = {0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
    if (freedom < sizeof few / sizeof few[0])
        return few[freedom];
    const double z = 1.959964, v = (double)freedom;
    return z + (z * z * z + z) / (4 * v) + (5 * pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * v * v);
}

struct runs_interval runs_mean(const double *values, size_t n)
{
    struct runs_interval out = {NAN, NAN, NAN};
    double sum = 0, squares = 0;
    if (n == 0)
        return out;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    out.middle = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - out.middle) * (values[i] - out.middle);
    const double half = n > 1 ? student(n - 1) * sqrt(squares / (double)(n - 1) / (double)n) : 0;
    out.low = out.middle - half;
    out.high = out.middle + half;
    return out;
}
