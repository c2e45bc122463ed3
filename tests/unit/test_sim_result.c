/* Results of a run: files, figures, order, quoting, full disks, checkpoints, SQLite, intervals. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <sqlite3.h>

#include "sim/result/batch.h"
#include "sim/result/config.h"
#include "sim/result/csv.h"
#include "sim/result/database.h"
#include "sim/result/interval.h"
#include "sim/result/out.h"
#include "sim_feed_engine.h"

static char top[64]; /* folder of all tests */

static char *in_top(const char *name, char path[256])
{
    assert_true(snprintf(path, 256, "%s/%s", top, name) < 256);
    return path;
}

static char *content(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    char *text = sim_database_text(path, 1u << 24);
    assert_non_null(text);
    return text;
}

static void assert_content(const char *dir, const char *name, const char *wanted)
{
    char *text = content(dir, name);
    assert_string_equal(text, wanted);
    free(text);
}

static struct sim_result *open_result(struct sim_feed *feed, const char *dir)
{
    char error[256] = "";
    struct sim_result *r = sim_result_open(dir, &feed->scenario, &feed->field, &feed->stack, 42, error, sizeof error);
    if (r == NULL)
        fail_msg("%s", error);
    else
        feed->hooks = sim_result_hooks(r);
    return r;
}

/* --- files of a run -------------------------------------------------------------------------------------------------- */

static void rows_are_sorted_and_quoted(void **state)
{
    struct sim_feed feed;
    char dir[256];
    (void)state;
    sim_feed_open(&feed, 4);
    struct sim_result *r = open_result(&feed, in_top("rows", dir));
    sim_feed_row(&feed, 900, 3, SIM_ROW_COMPLETE, 2, 0, NULL);
    sim_feed_row(&feed, 900, 1, SIM_ROW_INSTALLED, 2, 0, NULL);
    sim_feed_row(&feed, 900, 1, SIM_ROW_COMPLETE, 2, 0, NULL);
    sim_feed_row(&feed, 500, 2, SIM_ROW_DECISION, 2, 1, "hold, \"2 %\"\nof 5");
    sim_feed_row(&feed, 1500, 0, SIM_ROW_RESET, 64, 0, NULL); /* told early: belongs behind what is still to come */
    sim_feed_time(&feed, 1000);
    assert_int_equal(sim_result_sample(r, feed.engine), 0);
    assert_content(dir, "rows.csv",
                   "time_us,node,what,a,b,text\n500,2,decision,2,1,\"hold, \"\"2 %\"\"\nof 5\"\n900,1,installed,2,0,\n"
                   "900,1,complete,2,0,\n900,3,complete,2,0,\n");
    sim_feed_row(&feed, 1400, 2, SIM_ROW_ROLLED_BACK, 2, 3, NULL);
    sim_feed_time(&feed, 2000);
    assert_int_equal(sim_result_close(r, feed.engine, "done"), 0);
    char *text = content(dir, "rows.csv");
    assert_non_null(strstr(text, "900,3,complete,2,0,\n1400,2,rolled-back,2,3,\n1500,0,reset,64,0,\n"));
    free(text);
    sim_result_free(r);
    sim_feed_close(&feed);
}

static void curve_counts_nodes_once_and_from_warmup(void **state)
{
    struct sim_feed feed;
    char dir[256];
    (void)state;
    sim_feed_open(&feed, 5);
    feed.scenario.run.warmup_us = 2000;
    struct sim_result *r = open_result(&feed, in_top("curve", dir));
    feed.totals.frames[6] = 10;
    feed.totals.bytes[6] = 100;
    sim_feed_time(&feed, 1000);
    assert_int_equal(sim_result_sample(r, feed.engine), 0);
    sim_feed_row(&feed, 1100, 1, SIM_ROW_COMPLETE, 2, 0, NULL);
    sim_feed_time(&feed, 2000);
    assert_int_equal(sim_result_sample(r, feed.engine), 0);
    feed.totals.frames[6] = 17;
    feed.totals.bytes[6] = 170;
    feed.totals.outcome[SIM_MISSED_COLLISION] = 3;
    sim_feed_row(&feed, 2100, 1, SIM_ROW_COMPLETE, 2, 0, NULL); /* again */
    sim_feed_row(&feed, 2200, 0, SIM_ROW_COMPLETE, 2, 0, NULL); /* a gateway */
    sim_feed_row(&feed, 2300, 2, SIM_ROW_COMPLETE, 3, 0, NULL);
    sim_feed_row(&feed, 2400, 3, SIM_ROW_DOWN, SIM_DOWN_CHURN, 0, NULL);
    sim_feed_row(&feed, 2500, 4, SIM_ROW_DOWN, SIM_DOWN_CHURN, 0, NULL);
    sim_feed_row(&feed, 2600, 3, SIM_ROW_UP, 0, 0, NULL);
    sim_feed_row(&feed, 2700, 1, SIM_ROW_INSTALLED, 1, 0, NULL); /* back to the first release */
    sim_feed_time(&feed, 3000);
    assert_int_equal(sim_result_sample(r, feed.engine), 0);
    assert_content(dir, "curve.csv",
                   "time_us,complete,installed,confirmed,rolled_back,refused,down,heard,missed_off,missed_deaf,"
                   "missed_half_duplex,missed_collision,missed_aux,missed_noise,missed_loss,missed_cut,airtime_us,"
                   "frames,bytes,SUMMARY,MANIFEST,REQUEST,CHUNK,REPORT\n"
                   "2000,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
                   "3000,2,0,0,0,0,1,0,0,0,0,3,0,0,0,0,0,7,70,0,0,0,7,0\n");
    feed.totals.frames[6] = 1000; /* after the last completion: not of the headline */
    sim_feed_time(&feed, 4000);
    assert_int_equal(sim_result_close(r, feed.engine, "duration"), 0);
    const struct sim_headline *h = sim_result_headline(r);
    assert_int_equal(h->nodes, 4);
    assert_int_equal(h->complete, 2);
    assert_true(h->first == 0 && h->median == 0 &&
                h->last == SIM_NEVER); /* before the release's time counts as at it */
    assert_int_equal(h->frames, 7);
    assert_int_equal(h->chunk_frames, 7);
    assert_int_equal(h->bytes, 70);
    assert_int_equal(h->down, 1);
    assert_int_equal(h->installed, 0);
    sim_result_free(r);
    sim_feed_close(&feed);
}

static void headline_leaves_out_who_is_not_meant(void **state)
{
    struct sim_feed feed;
    char dir[256];
    (void)state;
    sim_feed_open(&feed, 8);
    feed.scenario.release[0].at_us = 1000;
    feed.scenario.release[0].model = 1;
    feed.summary[6].model = 2;
    feed.summary[7].is_attacker = 1;
    struct sim_result *r = open_result(&feed, in_top("meant", dir));
    for (uint32_t i = 1; i < 6; i++) {
        feed.summary[i].energy_uj = 10 * i;
        sim_feed_row(&feed, 1000 + 100 * i, i, SIM_ROW_COMPLETE, 2, 0, NULL);
    }
    feed.summary[7].energy_uj = 1000000;
    sim_feed_time(&feed, 5000);
    assert_int_equal(sim_result_close(r, feed.engine, "complete"), 0);
    const struct sim_headline *h = sim_result_headline(r);
    assert_int_equal(h->nodes, 5);
    assert_int_equal(h->complete, 5);
    assert_true(h->first == 100 && h->median == 300 && h->last == 500);
    assert_int_equal(h->energy_mean_uj, 30);
    char *text = content(dir, "nodes.csv");
    assert_non_null(
        strstr(text, "\n0,n0,0,0,0,1,0,1,1,0,,,,1,0,0,0,0,0\n1,n1,10000,0,0,0,0,1,1,1,1100,,,1,0,0,0,0,10\n"));
    free(text);
    sim_result_free(r);
    sim_feed_close(&feed);
}

static unsigned lines_of(const char *dir, const char *name)
{
    char *text = content(dir, name);
    unsigned lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    free(text);
    return lines;
}

static void large_worlds_keep_what_they_are_told(void **state)
{
    static const struct {
        enum sim_rows rows;
        unsigned row_lines, node_lines;
    } cases[] = {{SIM_ROWS_ALL, 4, 11}, {SIM_ROWS_NODES, 2, 11}};
    char dir[256], path[512];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct sim_feed feed;
        sim_feed_open(&feed, 10);
        feed.scenario.run.rows = i < 2 ? cases[i].rows : SIM_ROWS_NONE;
        struct sim_result *r = open_result(&feed, in_top("large", dir));
        sim_feed_row(&feed, 10, 1, SIM_ROW_COMPLETE, 2, 0, NULL);
        sim_feed_row(&feed, 11, 0, SIM_ROW_DECISION, 2, 0, "opens");
        sim_feed_row(&feed, 12, 2, SIM_ROW_COMPLETE, 2, 0, NULL);
        sim_feed_time(&feed, 1000);
        assert_int_equal(sim_result_close(r, feed.engine, "complete"), 0);
        assert_int_equal(sim_result_headline(r)->complete, 2);
        assert_int_equal(lines_of(dir, "rows.csv"), i < 2 ? cases[i].row_lines : 1);
        if (i < 2)
            assert_int_equal(lines_of(dir, "nodes.csv"), cases[i].node_lines);
        else
            assert_int_not_equal(access(strcat(strcpy(path, dir), "/nodes.csv"), F_OK), 0); /* of the run before */
        sim_result_free(r);
        sim_feed_close(&feed);
    }
}

static void description_tells_the_run(void **state)
{
    char dir[256], error[256] = "", id[SIM_RUN_ID_MAX];
    (void)state;
    assert_int_equal(
        sim_feed_run(in_top("deep/er", dir), "mesh", 100, 18446744073709551615u, 50000, false, error, sizeof error), 0);
    char *text = content(dir, "run.json");
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    assert_string_equal(cJSON_GetObjectItem(json, "ended")->valuestring, "complete");
    assert_string_equal(cJSON_GetObjectItem(json, "seed")->valuestring, "18446744073709551615");
    assert_string_equal(cJSON_GetObjectItem(json, "version")->valuestring, SIM_VERSION);
    const cJSON *headline = cJSON_GetObjectItem(json, "headline"), *config = cJSON_GetObjectItem(json, "config");
    assert_int_equal(cJSON_GetObjectItem(headline, "nodes")->valueint, 99);
    assert_int_equal(cJSON_GetObjectItem(headline, "complete")->valueint, 99);
    assert_string_equal(cJSON_GetObjectItem(config, "radio.noise")->valuestring, "-104 dBm");
    assert_string_equal(cJSON_GetObjectItem(config, "release 2.size")->valuestring, "64 KB");
    assert_null(cJSON_GetObjectItem(config, "scenario.seed"));
    const cJSON *release = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "releases"), 0);
    assert_int_equal(cJSON_GetObjectItem(release, "installed")->valueint, 99);
    struct sim_feed feed;
    sim_feed_open(&feed, 100);
    sim_result_run_id(&feed.scenario, 18446744073709551615u, id);
    assert_string_equal(strrchr(id, '-'), "-18446744073709551615");
    assert_string_equal(strrchr(cJSON_GetObjectItem(json, "run")->valuestring, '-'), strrchr(id, '-'));
    sim_feed_close(&feed);
    cJSON_Delete(json);
    free(text);
}

/* --- full disks ------------------------------------------------------------------------------------------------------ */

static void full_disk_is_noticed_at_the_sample(void **state)
{
    static const char *const names[] = {"rows.csv", "curve.csv", "trace.pcap"};
    char dir[256], path[512];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct sim_feed feed;
        sim_feed_open(&feed, 4);
        feed.scenario.run.trace_pcap = true;
        snprintf(path, sizeof path, "full-%u", i);
        in_top(path, dir);
        assert_int_equal(mkdir(dir, 0777), 0);
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(symlink("/dev/full", path), 0);
        struct sim_result *r = open_result(&feed, dir);
        sim_feed_row(&feed, 10, 1, SIM_ROW_COMPLETE, 2, 0, NULL);
        sim_feed_time(&feed, 1000);
        assert_int_equal(sim_result_sample(r, feed.engine), -1);
        assert_non_null(strstr(sim_result_error(r), names[i]));
        assert_non_null(strstr(sim_result_error(r), "No space left on device"));
        assert_int_equal(sim_result_close(r, feed.engine, "failed: disk"), -1);
        assert_non_null(strstr(sim_result_error(r), names[i])); /* still the first sentence */
        assert_int_equal(lines_of(dir, "nodes.csv"), 5);
        sim_result_free(r);
        sim_feed_close(&feed);
    }
}

/* A limit on file sizes cuts a write in its middle, as a disk does that fills up. */
static void cut_write_leaves_whole_lines(void **state)
{
    const char lines[] = "head,text\n1,\"two\nlines\"\n", next[] = "2,\"three\nmore\"\n";
    struct rlimit was, less;
    struct sim_out out;
    char path[256];
    (void)state;
    assert_int_equal(sim_out_open(&out, top, "cut.csv", true), 0);
    sim_out_print(&out, "head,text\n");
    assert_int_equal(sim_out_flush(&out), 0);
    sim_out_print(&out, "%s%s", lines + 10, next);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    less = was;
    less.rlim_cur = sizeof lines - 1 + sizeof next - 3; /* into the second record, behind the newline in it */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    int result = sim_out_flush(&out);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(result, -1);
    assert_int_equal(sim_out_flush(&out), -1); /* it stays failed, though there would be room again */
    assert_int_equal(sim_out_close(&out), -1);
    assert_non_null(strstr(out.error, "cut.csv: cannot be written: File too large"));
    assert_content(top, "cut.csv", lines);
    assert_null(sim_database_text(in_top("cut.csv", path), 5));
}

static void folder_that_cannot_be_made_is_named(void **state)
{
    struct sim_feed feed;
    char dir[256], error[256] = "";
    (void)state;
    FILE *file = fopen(in_top("plain", dir), "w");
    assert_non_null(file);
    fclose(file);
    sim_feed_open(&feed, 4);
    strcat(dir, "/below");
    assert_null(sim_result_open(dir, &feed.scenario, &feed.field, &feed.stack, 1, error, sizeof error));
    assert_non_null(strstr(error, "plain"));
    sim_feed_close(&feed);
}

/* --- checkpoints ----------------------------------------------------------------------------------------------------- */

static void first_half(struct sim_feed *feed)
{
    sim_feed_row(feed, 100, 1, SIM_ROW_COMPLETE, 2, 0, NULL);
    sim_feed_row(feed, 1500, 2, SIM_ROW_COMPLETE, 2, 0, "waits");
    feed->totals.frames[6] = 20;
    sim_feed_time(feed, 1000);
}

static void second_half(struct sim_feed *feed)
{
    sim_feed_row(feed, 1200, 3, SIM_ROW_COMPLETE, 2, 0, NULL);
    sim_feed_row(feed, 1300, 1, SIM_ROW_COMPLETE, 2, 0, NULL);
    feed->totals.frames[6] = 50;
    sim_feed_time(feed, 2000);
}

static void send_packet(struct sim_feed *feed, sim_time at)
{
    const uint8_t data[] = {5, 0xFF, 0xFF, 0xFF, 1, 2};
    const struct sim_sent sent = {.start = at,
                                  .end = at + 100,
                                  .node = 1,
                                  .number = (uint32_t)at,
                                  .bearer = SIM_BEARER_EXTENDED,
                                  .channel = 37,
                                  .phy = SIM_PHY_1M,
                                  .data = data,
                                  .len = sizeof data};
    feed->hooks.sent(feed->hooks.ctx, &sent);
}

static void resumed_run_is_the_same(void **state)
{
    static const char *const names[] = {"rows.csv", "curve.csv", "nodes.csv", "trace.pcap"};
    char whole[256], cut[256], file[256], error[256] = "";
    struct sim_feed feed;
    (void)state;
    in_top("whole", whole);
    in_top("cut", cut);
    for (unsigned kind = 0; kind < 2; kind++) {
        sim_feed_open(&feed, 5);
        feed.scenario.run.trace_pcap = true;
        struct sim_result *r = open_result(&feed, kind == 0 ? whole : cut);
        first_half(&feed);
        send_packet(&feed, 900);
        send_packet(&feed, 1100);
        assert_int_equal(sim_result_sample(r, feed.engine), 0);
        if (kind == 1) {
            struct sim_archive *a = sim_archive_create(in_top("result.check", file), error, sizeof error);
            assert_non_null(a);
            assert_int_equal(sim_result_save(r, a), 0);
            assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
            /* It went on for a while before it was killed. */
            sim_feed_row(&feed, 1600, 4, SIM_ROW_ROLLED_BACK, 2, 1, "gone");
            send_packet(&feed, 1700);
            sim_feed_time(&feed, 1900);
            assert_int_equal(sim_result_sample(r, feed.engine), 0);
            sim_result_free(r);
            r = open_result(&feed, cut);
            a = sim_archive_open(file, error, sizeof error);
            assert_non_null(a);
            assert_int_equal(sim_result_load(r, a), 0);
            assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
        }
        second_half(&feed);
        assert_int_equal(sim_result_sample(r, feed.engine), 0);
        assert_int_equal(sim_result_close(r, feed.engine, "complete"), 0);
        assert_int_equal(sim_result_headline(r)->complete, 3);
        assert_int_equal(sim_result_headline(r)->frames, 50);
        sim_result_free(r);
        sim_feed_close(&feed);
    }
    for (unsigned i = 0; i < 4; i++) {
        char *one = content(whole, names[i]), *other = content(cut, names[i]);
        struct stat s[2];
        char path[512];
        snprintf(path, sizeof path, "%s/%s", whole, names[i]);
        assert_int_equal(stat(path, &s[0]), 0);
        snprintf(path, sizeof path, "%s/%s", cut, names[i]);
        assert_int_equal(stat(path, &s[1]), 0);
        assert_int_equal(s[0].st_size, s[1].st_size);
        assert_memory_equal(one, other, (size_t)s[0].st_size);
        free(one);
        free(other);
    }
}

static void shortened_file_is_not_gone_on_with(void **state)
{
    char dir[256], file[256], path[512], error[256] = "";
    struct sim_feed feed;
    (void)state;
    sim_feed_open(&feed, 5);
    struct sim_result *r = open_result(&feed, in_top("short", dir));
    first_half(&feed);
    assert_int_equal(sim_result_sample(r, feed.engine), 0);
    struct sim_archive *a = sim_archive_create(in_top("short.check", file), error, sizeof error);
    assert_int_equal(sim_result_save(r, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    sim_result_free(r);
    snprintf(path, sizeof path, "%s/rows.csv", dir);
    assert_int_equal(truncate(path, 10), 0);
    r = open_result(&feed, dir);
    a = sim_archive_open(file, error, sizeof error);
    assert_int_equal(sim_result_load(r, a), -1);
    assert_non_null(strstr(sim_result_error(r), "rows.csv"));
    sim_archive_abandon(a);
    sim_result_free(r);
    sim_feed_close(&feed);
}

/* --- SQLite ---------------------------------------------------------------------------------------------------------- */

static int64_t ask(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

static void runs_share_a_database(void **state)
{
    char one[256], two[256], path[256], file[512], error[256] = "";
    (void)state;
    assert_int_equal(sim_feed_run(in_top("one", one), "mesh", 60, 1, 50000, false, error, sizeof error), 0);
    assert_int_equal(sim_feed_run(in_top("two", two), "flood", 60, 2, 90000, true, error, sizeof error), 0);
    in_top("sweep.sqlite", path);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(sim_database_add(path, one, error, sizeof error), 0);
        assert_int_equal(sim_database_add(path, two, error, sizeof error), 0);
    }
    assert_int_equal(ask(path, "SELECT count(*) FROM run"), 2);
    assert_int_equal(ask(path, "SELECT count(*) FROM node"), 120);
    assert_int_equal(ask(path, "SELECT complete FROM run WHERE stack = 'flood'"), 59);
    assert_int_equal(ask(path, "SELECT count(*) FROM row WHERE what = 'decision'"), 8);
    assert_int_equal(
        ask(path, "SELECT count(*) FROM row JOIN run USING (run) WHERE stack = 'flood' AND what = 'rolled-back'"), 3);
    assert_int_equal(ask(path, "SELECT complete_us IS NULL FROM node WHERE node = 0"), 1);
    assert_int_equal(ask(path, "SELECT max(time_us) FROM curve"), 120000000);
    assert_int_equal(ask(path, "SELECT json_extract(types, '$.CHUNK') > 0 FROM curve WHERE time_us = 60000000"), 1);
    snprintf(file, sizeof file, "%s/result.sqlite", one);
    assert_int_equal(ask(file, "SELECT count(*) FROM node"), 60);
    assert_int_equal(sim_database_add(path, top, error, sizeof error), -1);
    assert_non_null(strstr(error, "run.json"));
    assert_int_equal(ask(path, "SELECT count(*) FROM run"), 2);
}

/* --- parts ----------------------------------------------------------------------------------------------------------- */

static void csv_reads_what_out_wrote(void **state)
{
    static const char *const texts[] = {"", "plain", "a,b", "say \"so\"", "two\nlines", "\"", "\"\"", ",\r\n,", " 12"};
    struct sim_out out;
    struct sim_csv csv;
    char path[256];
    (void)state;
    assert_int_equal(sim_out_open(&out, top, "quoted.csv", true), 0);
    sim_out_print(&out, "n,text,last\n");
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        sim_out_print(&out, "%u,", i);
        sim_out_field(&out, texts[i]);
        sim_out_print(&out, ",-%u\n", i);
    }
    sim_out_print(&out, "9,\"cut");
    assert_int_equal(sim_out_close(&out), 0);
    assert_int_equal(sim_csv_open(&csv, in_top("quoted.csv", path)), 0);
    int n = sim_csv_column(&csv, "n"), text = sim_csv_column(&csv, "text"), last = sim_csv_column(&csv, "last");
    assert_int_equal(sim_csv_column(&csv, "none"), -1);
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(sim_csv_next(&csv));
        assert_int_equal(sim_csv_number(&csv, n, 99), i);
        assert_string_equal(sim_csv_text(&csv, text), texts[i]);
        assert_int_equal(sim_csv_signed(&csv, last, 99), -(int)i);
        assert_int_equal(sim_csv_number(&csv, last, 99), 99);
    }
    assert_false(sim_csv_next(&csv)); /* what is left of a write that was cut */
    assert_false(sim_csv_next(&csv));
    sim_csv_close(&csv);
}

static void values_read_back(void **state)
{
    static const struct {
        enum sim_quantity quantity;
        int64_t value;
        const char *text;
    } cases[] = {{SIM_POWER, -94500, "-94.5 dBm"}, {SIM_POWER, 0, "0 dBm"},        {SIM_TIME, 250, "250 us"},
                 {SIM_TIME, 3600000000, "1 h"},    {SIM_TIME, 90000000, "90 s"},   {SIM_TIME, 0, "0 us"},
                 {SIM_SIZE, 65536, "64 KB"},       {SIM_SIZE, 65537, "65537 B"},   {SIM_SHARE, 125000, "12.5 %"},
                 {SIM_SHARE, 1, "0.0001 %"},       {SIM_FACTOR, 2700, "2.7"},      {SIM_COUNT, 17, "17"},
                 {SIM_LENGTH, -1500, "-150 cm"},   {SIM_CURRENT, 5300, "5300 uA"}, {SIM_LEAKAGE, 1900, "1900 nA"},
                 {SIM_ENERGY, 1000, "1 uJ"},       {SIM_CHARGE, 230000, "230 mAh"}};
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[SIM_QUANTITY_MAX];
        int64_t value = 1234567;
        sim_config_quantity(cases[i].quantity, cases[i].value, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(sim_quantity_get(cases[i].quantity, text, &value), 0);
        assert_int_equal(value, cases[i].value);
    }
}

static void close_to(double value, double wanted)
{
    assert_true(value > wanted - 0.0005 && value < wanted + 0.0005);
}

static void intervals_are_those_of_the_tables(void **state)
{
    double ten[10], six[6] = {6, 1, 5, 2, 4, 3}, five[5] = {5, 4, 3, 2, 1};
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        ten[i] = 10.0 - i;
    struct sim_interval i = sim_interval_mean(ten, 10);
    close_to(i.value, 5.5);
    close_to(i.low, 3.3342); /* 5.5 - 2.262 * 3.02765 / sqrt(10) */
    close_to(i.high, 7.6658);
    i = sim_interval_median(ten, 10); /* coverage of (2nd, 9th) is 97.9 %, of (3rd, 8th) 89.1 % */
    close_to(i.value, 5.5);
    assert_true(i.low == 2 && i.high == 9);
    i = sim_interval_median(six, 6);
    assert_true(i.value == 3.5 && i.low == 1 && i.high == 6);
    i = sim_interval_median(five, 5);
    assert_true(i.value == 3 && i.low == 1 && i.high == 5);
    i = sim_interval_mean(five, 1);
    assert_true(i.value == 1 && i.low == 1 && i.high == 1);
    i = sim_interval_share(0, 20);
    assert_true(i.value == 0 && i.low == 0);
    close_to(i.high, 0.1611);
    i = sim_interval_share(5, 100);
    close_to(i.low, 0.0215);
    close_to(i.high, 0.1118);
    i = sim_interval_share(7, 7);
    assert_true(i.high == 1);
}

static int make_top(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/sim-result-XXXXXX");
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
        cmocka_unit_test(rows_are_sorted_and_quoted),
        cmocka_unit_test(curve_counts_nodes_once_and_from_warmup),
        cmocka_unit_test(headline_leaves_out_who_is_not_meant),
        cmocka_unit_test(large_worlds_keep_what_they_are_told),
        cmocka_unit_test(description_tells_the_run),
        cmocka_unit_test(full_disk_is_noticed_at_the_sample),
        cmocka_unit_test(cut_write_leaves_whole_lines),
        cmocka_unit_test(folder_that_cannot_be_made_is_named),
        cmocka_unit_test(resumed_run_is_the_same),
        cmocka_unit_test(shortened_file_is_not_gone_on_with),
        cmocka_unit_test(runs_share_a_database),
        cmocka_unit_test(csv_reads_what_out_wrote),
        cmocka_unit_test(values_read_back),
        cmocka_unit_test(intervals_are_those_of_the_tables),
    };
    return cmocka_run_group_tests_name("sim_result", tests, make_top, remove_top);
}
