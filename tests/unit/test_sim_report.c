/* The report: grouping, figures and intervals, hostile names, thinning of large runs, damaged folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "sim/result/database.h"
#include "sim/result/interval.h"
#include "sim/result/report.h"
#include "sim_feed_engine.h"

static char top[64];

static char *in_top(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", top, name);
    return path;
}

static void make_run(const char *name, const char *stack, uint64_t seed, sim_time pace_us, bool is_bad, char dir[256])
{
    char error[256] = "";
    if (sim_feed_run(in_top(name, dir), stack, 100, seed, pace_us, is_bad, error, sizeof error) != 0)
        fail_msg("%s", error);
}

static char *read_page(const char *path)
{
    char *page = sim_database_text(path, 16u << 20);
    assert_non_null(page);
    return page;
}

/* The data of a page. */
static cJSON *data_of(const char *page)
{
    static const char before[] = "id=\"data\">\n";
    const char *at = strstr(page, before), *end;
    assert_non_null(at);
    at += sizeof before - 1;
    end = strstr(at, "</script>");
    assert_non_null(end);
    cJSON *json = cJSON_ParseWithLength(at, (size_t)(end - at));
    assert_non_null(json);
    return json;
}

static int report(const char *a, const char *b, const char *out)
{
    char *arguments[] = {"report", (char *)(uintptr_t)a, (char *)(uintptr_t)b, "--out", (char *)(uintptr_t)out, NULL};
    return sim_report_command(5, arguments);
}

static const cJSON *get(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    if (item == NULL)
        fail_msg("%s is missing", key);
    return item;
}

static const cJSON *group_at(const cJSON *data, int g)
{
    return cJSON_GetArrayItem(get(data, "groups"), g);
}

static double figure(const cJSON *data, int g, const char *name, int which)
{
    return cJSON_GetArrayItem(get(get(group_at(data, g), "figures"), name), which)->valuedouble;
}

static void assert_close(double value, double wanted)
{
    assert_true(value >= wanted * 0.999999 && value <= wanted * 1.000001);
}

static void runs_are_grouped_over_seeds(void **state)
{
    char dir[256], out[256], name[64];
    double last[3];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "sweep/flood-%u", i);
        make_run(name, "flood", i + 1, 100000, false, dir);
        snprintf(name, sizeof name, "sweep/ours-%u", i);
        make_run(name, "mesh", i + 1, 50000, false, dir);
        char path[512];
        snprintf(path, sizeof path, "%s/run.json", dir);
        char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
        cJSON *json = cJSON_Parse(text);
        last[i] = get(get(json, "headline"), "last_us")->valuedouble / 1e6;
        cJSON_Delete(json);
        free(text);
    }
    make_run("sweep/bad", "mesh", 1, 50000, true, dir);
    in_top("sweep", dir);
    assert_int_equal(report(dir, dir, in_top("sweep.html", out)), 0); /* named twice: counts once */
    char *page = read_page(out);
    cJSON *data = data_of(page);
    assert_int_equal(cJSON_GetArraySize(get(data, "runs")), 7);
    assert_int_equal(cJSON_GetArraySize(get(data, "groups")), 3);
    /* This project's node first, then baselines, then the bad release. */
    const cJSON *runs = get(data, "runs");
    static const char *const stacks[] = {"mesh", "flood", "mesh"};
    static const int counts[] = {3, 3, 1};
    for (int g = 0; g < 3; g++) {
        const cJSON *lead = cJSON_GetArrayItem(runs, get(group_at(data, g), "first")->valueint);
        assert_string_equal(get(lead, "stack")->valuestring, stacks[g]);
        assert_int_equal(get(group_at(data, g), "runs")->valueint, counts[g]);
        assert_int_equal(get(lead, "group")->valueint, g);
        assert_non_null(get(lead, "nodes"));
        assert_non_null(get(lead, "curve"));
        assert_non_null(get(lead, "config"));
    }
    struct sim_interval wanted = sim_interval_mean(last, 3);
    assert_close(figure(data, 0, "last", 0), wanted.value);
    assert_close(figure(data, 0, "last", 1), wanted.low);
    assert_close(figure(data, 0, "last", 2), wanted.high);
    assert_close(figure(data, 0, "last", 3), 3);
    assert_close(figure(data, 0, "complete", 0), 1);
    assert_close(figure(data, 2, "rolled_back", 0), 5.0 / 99);
    assert_close(figure(data, 2, "installed", 0), 5.0 / 99);
    cJSON_Delete(data);
    free(page);
}

/* Everything that a page could load or that could end its script early. */
static void assert_self_contained(const char *page)
{
    static const char *const forbidden[] = {"src=",           "@import",   "url(",  "https:",        "fetch(",
                                            "XMLHttpRequest", "innerHTML", "eval(", "document.write"};
    for (unsigned i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (strstr(page, forbidden[i]) != NULL)
            fail_msg("%s in the page", forbidden[i]);
    unsigned scripts = 0;
    for (const char *at = page; (at = strstr(at, "</script")) != NULL; at++)
        scripts++;
    assert_int_equal(scripts, 2);
    for (const char *at = page; (at = strstr(at, "http:")) != NULL; at++) /* the name of SVG's name space */
        assert_true(strncmp(at, "http://www.w3.org/2000/svg'", 27) == 0);
}

static void hostile_names_stay_text(void **state)
{
    static const char name[] = "</script><img src=x onerror=alert(1)>&\"'\\ \xE2\x80\xA8 \xFF";
    char dir[256], out[256], path[512];
    (void)state;
    make_run("hostile", "mesh", 1, 50000, true, dir);
    snprintf(path, sizeof path, "%s/run.json", dir);
    char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
    cJSON *json = cJSON_Parse(text);
    free(text);
    cJSON_ReplaceItemInObjectCaseSensitive(json, "name", cJSON_CreateString(name));
    cJSON_ReplaceItemInObjectCaseSensitive(json, "ended", cJSON_CreateString(name));
    cJSON_AddStringToObject((cJSON *)(uintptr_t)get(json, "config"), "</script>", "<!--<script>");
    text = cJSON_Print(json);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    free(text);
    cJSON_Delete(json);
    assert_int_equal(report(dir, dir, in_top("hostile.html", out)), 0);
    char *page = read_page(out);
    /* What the page itself says may stand as it is; the data must not. */
    char *data = strstr(page, "id=\"data\">\n") + 11, *end = strstr(data, "</script>");
    for (const char *at = data; at < end; at++)
        assert_true(*at != '<' && *at != '>' && *at != '&');
    json = data_of(page);
    assert_string_equal(get(cJSON_GetArrayItem(get(json, "runs"), 0), "name")->valuestring, name);
    const cJSON *decisions = get(cJSON_GetArrayItem(get(json, "runs"), 0), "decisions");
    const cJSON *held = cJSON_GetArrayItem(decisions, cJSON_GetArraySize(decisions) - 1);
    assert_string_equal(cJSON_GetArrayItem(held, 3)->valuestring, "held");
    assert_non_null(strstr(cJSON_GetArrayItem(held, 4)->valuestring, "<b>bad</b>"));
    cJSON_Delete(json);
    memmove(data, end, strlen(end) + 1);
    assert_self_contained(page);
    free(page);
}

/* Figures beyond every range leave the page readable, and go into no table. */
static void hostile_numbers_are_left_out(void **state)
{
    static const char *const keys[][2] = {{"first_us", "1e999"},
                                          {"median_us", "-1e999"},
                                          {"bytes", "1e300"},
                                          {"energy_mean_uj", "-1e300"},
                                          {"nodes", "1e-300"}};
    char dir[256], out[256], path[512], error[256] = "";
    (void)state;
    make_run("numbers", "mesh", 1, 50000, false, dir);
    snprintf(path, sizeof path, "%s/run.json", dir);
    char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
    cJSON *json = cJSON_Parse(text);
    free(text);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        cJSON_ReplaceItemInObjectCaseSensitive((cJSON *)(uintptr_t)get(json, "headline"), keys[i][0],
                                               cJSON_CreateRaw(keys[i][1]));
    text = cJSON_Print(json);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    free(text);
    cJSON_Delete(json);
    assert_int_equal(sim_database_add(in_top("numbers.sqlite", out), dir, error, sizeof error), 0);
    assert_int_equal(report(dir, dir, in_top("numbers.html", out)), 0);
    char *page = read_page(out);
    cJSON *data = data_of(page);
    const cJSON *figures = get(group_at(data, 0), "figures");
    assert_null(cJSON_GetObjectItemCaseSensitive(figures, "first"));
    assert_null(cJSON_GetObjectItemCaseSensitive(figures, "complete"));
    assert_non_null(get(figures, "last"));
    cJSON_Delete(data);
    free(page);
}

static void large_runs_are_thinned(void **state)
{
    char dir[256], out[256], path[512];
    (void)state;
    make_run("large", "mesh", 1, 50000, false, dir);
    snprintf(path, sizeof path, "%s/nodes.csv", dir);
    FILE *file = fopen(path, "w");
    fputs("node,name,x_mm,y_mm,z_mm,gateway,attacker,model,hw_revision,hops,complete_us,installed_us,confirmed_us,"
          "release,"
          "down,frames,tx_us,rx_us,energy_uj\n",
          file);
    for (unsigned i = 0; i < 100000; i++)
        fprintf(file, "%u,,%u,%u,0,%d,0,1,1,5,%u,,,1,0,10,20,30,%u\n", i, i % 300 * 1000, i / 300 * 1000, i % 1000 == 7,
                20000000 + i * 100, i);
    assert_int_equal(fclose(file), 0);
    snprintf(path, sizeof path, "%s/curve.csv", dir);
    file = fopen(path, "w");
    fputs("time_us,complete\n", file);
    for (unsigned i = 1; i <= 50001; i++)
        fprintf(file, "%u,%u\n", i * 1000, i);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(report(dir, dir, in_top("large.html", out)), 0);
    struct stat status;
    assert_int_equal(stat(out, &status), 0);
    assert_true(status.st_size < 1000000);
    char *page = read_page(out);
    cJSON *data = data_of(page);
    const cJSON *run = cJSON_GetArrayItem(get(data, "runs"), 0), *item;
    int nodes = cJSON_GetArraySize(get(run, "nodes")), gateways = 0;
    cJSON_ArrayForEach(item, get(run, "nodes")) gateways += cJSON_GetArrayItem(item, 4)->valueint & 1;
    assert_in_range(nodes, 4000, 4100);
    assert_int_equal(gateways, 100); /* all of them */
    const cJSON *times = get(get(run, "curve"), "time_us");
    int points = cJSON_GetArraySize(times);
    assert_in_range(points, 360, 721);
    assert_true(cJSON_GetArrayItem(times, 0)->valuedouble == 1000);
    assert_true(cJSON_GetArrayItem(times, points - 1)->valuedouble == 50001000);
    for (int i = 1; i < points; i++)
        assert_true(cJSON_GetArrayItem(times, i)->valuedouble > cJSON_GetArrayItem(times, i - 1)->valuedouble);
    const cJSON *completion = get(run, "completion"), *values = get(completion, "values");
    assert_int_equal(get(completion, "of")->valueint, 99900);
    assert_int_equal(get(completion, "known")->valueint, 99900);
    assert_int_equal(cJSON_GetArrayItem(values, 0)->valueint, 20000);
    assert_int_equal(cJSON_GetArrayItem(values, cJSON_GetArraySize(values) - 1)->valueint, 29999);
    cJSON_Delete(data);
    free(page);
}

static void cut_short_runs_are_shown_as_far_as_they_went(void **state)
{
    static const char *const names[] = {"nodes.csv", "rows.csv", "curve.csv"};
    char dir[256], out[256], path[512];
    (void)state;
    make_run("killed", "mesh", 1, 50000, false, dir);
    snprintf(path, sizeof path, "%s/run.json", dir);
    char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
    cJSON *json = cJSON_Parse(text);
    free(text);
    cJSON_DeleteItemFromObject(json, "headline");
    cJSON_DeleteItemFromObject(json, "totals");
    cJSON_DeleteItemFromObject(json, "releases");
    text = cJSON_Print(json);
    cJSON_Delete(json);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    free(text);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        if (i == 0)
            assert_int_equal(unlink(path), 0);
        else
            assert_int_equal(truncate(path, status.st_size / 2), 0);
        assert_int_equal(report(dir, dir, in_top("killed.html", out)), 0);
        char *page = read_page(out);
        cJSON *data = data_of(page);
        int points = cJSON_GetArraySize(get(get(cJSON_GetArrayItem(get(data, "runs"), 0), "curve"), "time_us"));
        assert_in_range(points, i < 2 ? 120 : 40, i < 2 ? 121 : 80);
        assert_int_equal(cJSON_GetArraySize(get(group_at(data, 0), "figures")), 0);
        cJSON_Delete(data);
        free(page);
    }
}

static void mistakes_have_their_status(void **state)
{
    char dir[256], out[256], path[512];
    char *none[] = {"report", NULL}, *help[] = {"report", "--help", NULL};
    (void)state;
    assert_int_equal(sim_report_command(1, none), 2);
    assert_int_equal(sim_report_command(2, help), 0);
    char *unknown[] = {"report", "--fast", top, NULL}, *lone[] = {"report", top, "--out", NULL};
    assert_int_equal(sim_report_command(3, unknown), 2);
    assert_int_equal(sim_report_command(3, lone), 2);
    assert_int_equal(mkdir(in_top("empty", dir), 0777), 0);
    assert_int_equal(report(dir, dir, in_top("no.html", out)), 1);
    assert_int_not_equal(access(out, F_OK), 0);
    snprintf(path, sizeof path, "%s/run.json", dir);
    FILE *file = fopen(path, "w");
    fputs("{\"run\": 5}", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(report(dir, dir, out), 1);
    make_run("fine", "mesh", 1, 50000, false, dir);
    assert_int_equal(report(dir, dir, "/nowhere/at/all.html"), 1);
    assert_int_equal(symlink("/dev/full", strcat(strcpy(path, in_top("full.html", out)), ".part")), 0);
    assert_int_equal(report(dir, dir, out), 1);
    assert_int_not_equal(access(out, F_OK), 0);
}

static void page_is_whole_without_the_network(void **state)
{
    char dir[256], out[256];
    (void)state;
    make_run("plain", "mesh", 1, 50000, false, dir);
    char *arguments[] = {"report", dir, NULL};
    assert_int_equal(sim_report_command(2, arguments), 0);
    snprintf(out, sizeof out, "%.200s/report.html", dir);
    char *page = read_page(out);
    assert_self_contained(page);
    assert_true(strncmp(page, "<!doctype html>\n", 16) == 0);
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_string_equal(page + strlen(page) - 16, "</body>\n</html>\n");
    free(page);
}

static int make_top(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/sim-report-XXXXXX");
    return mkdtemp(top) != NULL ? 0 : -1;
}

static int remove_top(void **state)
{
    (void)state;
    return sim_feed_remove(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_grouped_over_seeds),
        cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(hostile_numbers_are_left_out),
        cmocka_unit_test(large_runs_are_thinned),
        cmocka_unit_test(cut_short_runs_are_shown_as_far_as_they_went),
        cmocka_unit_test(mistakes_have_their_status),
        cmocka_unit_test(page_is_whole_without_the_network),
    };
    return cmocka_run_group_tests_name("sim_report", tests, make_top, remove_top);
}
