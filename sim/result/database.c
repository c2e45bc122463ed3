#include "database.h"

#include "csv.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS run(run TEXT PRIMARY KEY, name TEXT, configuration TEXT, seed TEXT, stack TEXT, "
    "version TEXT, ended TEXT, time_us INTEGER, nodes INTEGER, complete INTEGER, first_us INTEGER, median_us INTEGER, "
    "last_us INTEGER, frames INTEGER, chunk_frames INTEGER, bytes INTEGER, installed INTEGER, confirmed INTEGER, "
    "rolled_back INTEGER, down INTEGER, energy_mean_uj INTEGER, digest TEXT, json TEXT) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS row(run TEXT, time_us INTEGER, node INTEGER, what TEXT, a INTEGER, b INTEGER, text "
    "TEXT);"
    "CREATE TABLE IF NOT EXISTS node(run TEXT, node INTEGER, name TEXT, x_mm INTEGER, y_mm INTEGER, z_mm INTEGER, "
    "gateway INTEGER, attacker INTEGER, model INTEGER, hw_revision INTEGER, hops INTEGER, complete_us INTEGER, "
    "installed_us INTEGER, confirmed_us INTEGER, release INTEGER, down INTEGER, frames INTEGER, tx_us INTEGER, "
    "rx_us INTEGER, energy_uj INTEGER);"
    "CREATE TABLE IF NOT EXISTS curve(run TEXT, time_us INTEGER, complete INTEGER, installed INTEGER, "
    "confirmed INTEGER, rolled_back INTEGER, refused INTEGER, down INTEGER, heard INTEGER, missed_off INTEGER, "
    "missed_deaf INTEGER, missed_half_duplex INTEGER, missed_collision INTEGER, missed_aux INTEGER, "
    "missed_noise INTEGER, missed_loss INTEGER, missed_cut INTEGER, airtime_us INTEGER, frames INTEGER, bytes INTEGER, "
    "types TEXT);"
    "CREATE INDEX IF NOT EXISTS row_run ON row(run, time_us);"
    "CREATE INDEX IF NOT EXISTS node_run ON node(run, node);"
    "CREATE INDEX IF NOT EXISTS curve_run ON curve(run, time_us);";

/* Columns behind `run` of the tables that are files; those of curve end before types. */
static const struct table {
    const char *name, *file, *columns;
    const char *texts; /* columns that are no numbers */
    bool has_types;    /* further columns of the file go to `types` as a JSON object */
} tables[] = {
    {"row", "rows.csv", "time_us,node,what,a,b,text", ",what,text,", false},
    {"node", "nodes.csv",
     "node,name,x_mm,y_mm,z_mm,gateway,attacker,model,hw_revision,hops,complete_us,installed_us,confirmed_us,release,"
     "down,frames,tx_us,rx_us,energy_uj",
     ",name,", false},
    {"curve", "curve.csv",
     "time_us,complete,installed,confirmed,rolled_back,refused,down,heard,missed_off,missed_deaf,missed_half_duplex,"
     "missed_collision,missed_aux,missed_noise,missed_loss,missed_cut,airtime_us,frames,bytes",
     ",", true},
};

struct filling {
    sqlite3 *db;
    const char *dir, *run;
    char *error;
    size_t cap;
};

static int fail_sql(const struct filling *f, const char *path)
{
    snprintf(f->error, f->cap, "%s: %s", path, sqlite3_errmsg(f->db));
    return -1;
}

static int execute(const struct filling *f, const char *path, const char *sql)
{
    return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail_sql(f, path);
}

/* Columns of the table in the file, -1 where it has none. Returns how many the table has. */
static int match(const struct table *table, const struct sim_csv *csv, int column[SIM_CSV_FIELDS_MAX],
                 bool is_text[SIM_CSV_FIELDS_MAX])
{
    int n = 0;
    for (const char *at = table->columns; at != NULL && n < SIM_CSV_FIELDS_MAX; n++) {
        char name[32], listed[40];
        size_t len = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)len, at);
        snprintf(listed, sizeof listed, ",%s,", name);
        column[n] = sim_csv_column(csv, name);
        is_text[n] = strstr(table->texts, listed) != NULL;
        at = at[len] == ',' ? at + len + 1 : NULL;
    }
    return n;
}

/* The columns that are not in the table, as {"name": number}. NULL: out of memory. */
static char *types_of(const struct sim_csv *csv, const int column[], int n)
{
    cJSON *json = cJSON_CreateObject();
    for (unsigned i = 0; i < csv->head_count; i++) {
        bool is_known = false;
        for (int k = 0; k < n; k++)
            is_known |= column[k] == (int)i;
        if (!is_known)
            (void)cJSON_AddNumberToObject(json, csv->head[i], (double)sim_csv_number(csv, (int)i, 0));
    }
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

static int bind_record(sqlite3_stmt *insert, const struct table *table, const struct sim_csv *csv, const int column[],
                       const bool is_text[], int n)
{
    for (int i = 0; i < n; i++) {
        const char *text = sim_csv_text(csv, column[i]);
        int result;
        if (is_text[i])
            result = sqlite3_bind_text(insert, i + 2, text, -1, SQLITE_TRANSIENT);
        else if (*text == '\0')
            result = sqlite3_bind_null(insert, i + 2);
        else
            result = sqlite3_bind_int64(insert, i + 2, sim_csv_signed(csv, column[i], 0));
        if (result != SQLITE_OK)
            return -1;
    }
    if (!table->has_types)
        return 0;
    char *types = types_of(csv, column, n);
    int result = types == NULL ? SQLITE_NOMEM : sqlite3_bind_text(insert, n + 2, types, -1, SQLITE_TRANSIENT);
    free(types);
    return result == SQLITE_OK ? 0 : -1;
}

static sqlite3_stmt *prepare_insert(const struct filling *f, const struct table *table, int n)
{
    char sql[256];
    int len = snprintf(sql, sizeof sql, "INSERT INTO %s VALUES(?", table->name);
    for (int i = 0; i < n + (table->has_types ? 1 : 0); i++)
        len += snprintf(sql + len, sizeof sql - (size_t)len, ",?");
    snprintf(sql + len, sizeof sql - (size_t)len, ")");
    sqlite3_stmt *insert = NULL;
    return sqlite3_prepare_v2(f->db, sql, -1, &insert, NULL) == SQLITE_OK ? insert : NULL;
}

static int fill(const struct filling *f, const struct table *table, const char *path)
{
    char name[4200];
    struct sim_csv csv;
    int column[SIM_CSV_FIELDS_MAX], result = -1;
    bool is_text[SIM_CSV_FIELDS_MAX];
    sqlite3_stmt *insert = NULL;
    snprintf(name, sizeof name, "%s/%s", f->dir, table->file);
    if (sim_csv_open(&csv, name) != 0) {
        /* A run whose folder has no nodes.csv was cut short; what there is counts. */
        result = errno == ENOENT ? 0 : -1;
        if (result != 0)
            snprintf(f->error, f->cap, "%s: cannot be read: %s", name, strerror(errno));
        goto out;
    }
    int n = match(table, &csv, column, is_text);
    insert = prepare_insert(f, table, n);
    if (insert == NULL || sqlite3_bind_text(insert, 1, f->run, -1, SQLITE_STATIC) != SQLITE_OK) {
        (void)fail_sql(f, path);
        goto out;
    }
    while (sim_csv_next(&csv)) {
        if (bind_record(insert, table, &csv, column, is_text, n) != 0 || sqlite3_step(insert) != SQLITE_DONE ||
            sqlite3_reset(insert) != SQLITE_OK) {
            (void)fail_sql(f, path);
            goto out;
        }
    }
    result = 0;
out:
    (void)sqlite3_finalize(insert);
    sim_csv_close(&csv);
    return result;
}

static int bind_value(sqlite3_stmt *insert, int at, const cJSON *value)
{
    if (cJSON_IsString(value))
        return sqlite3_bind_text(insert, at, value->valuestring, -1, SQLITE_TRANSIENT);
    /* a file from elsewhere may have numbers that are none of ours */
    if (cJSON_IsNumber(value) && value->valuedouble >= -SIM_NUMBER_MAX && value->valuedouble <= SIM_NUMBER_MAX)
        return sqlite3_bind_int64(insert, at, (sqlite3_int64)value->valuedouble);
    return sqlite3_bind_null(insert, at);
}

static int fill_run(const struct filling *f, const cJSON *json, const char *text, const char *path)
{
    static const char *const keys[] = {"run", "name", "configuration", "seed", "stack", "version", "ended", "time_us"};
    static const char *const figures[] = {"nodes",       "complete",     "first_us",       "median_us", "last_us",
                                          "frames",      "chunk_frames", "bytes",          "installed", "confirmed",
                                          "rolled_back", "down",         "energy_mean_uj", "digest"};
    sqlite3_stmt *insert = NULL;
    const cJSON *headline = cJSON_GetObjectItemCaseSensitive(json, "headline");
    int at = 1, result = sqlite3_prepare_v2(
                    f->db, "INSERT INTO run VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", -1, &insert, NULL);
    for (size_t i = 0; result == SQLITE_OK && i < sizeof keys / sizeof keys[0]; i++)
        result = bind_value(insert, at++, cJSON_GetObjectItemCaseSensitive(json, keys[i]));
    for (size_t i = 0; result == SQLITE_OK && i < sizeof figures / sizeof figures[0]; i++)
        result = bind_value(insert, at++, cJSON_GetObjectItemCaseSensitive(headline, figures[i]));
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(insert, at, text, -1, SQLITE_STATIC);
    bool is_good = result == SQLITE_OK && sqlite3_step(insert) == SQLITE_DONE;
    if (!is_good)
        (void)fail_sql(f, path);
    (void)sqlite3_finalize(insert);
    return is_good ? 0 : -1;
}

static int replace(const struct filling *f, const cJSON *json, const char *text, const char *path)
{
    static const char *const names[] = {"run", "row", "node", "curve"};
    if (execute(f, path, "BEGIN IMMEDIATE") != 0 || execute(f, path, schema) != 0)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        char sql[64];
        sqlite3_stmt *drop = NULL;
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE run = ?", names[i]);
        bool is_good = sqlite3_prepare_v2(f->db, sql, -1, &drop, NULL) == SQLITE_OK &&
                       sqlite3_bind_text(drop, 1, f->run, -1, SQLITE_STATIC) == SQLITE_OK &&
                       sqlite3_step(drop) == SQLITE_DONE;
        if (!is_good)
            (void)fail_sql(f, path);
        (void)sqlite3_finalize(drop);
        if (!is_good)
            return -1;
    }
    if (fill_run(f, json, text, path) != 0)
        return -1;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (fill(f, &tables[i], path) != 0)
            return -1;
    return execute(f, path, "COMMIT");
}

char *sim_database_text(const char *path, size_t max)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    char *text = malloc(max + 1);
    size_t size = text != NULL ? fread(text, 1, max + 1, file) : 0;
    if (text != NULL && (size > max || ferror(file))) {
        free(text);
        text = NULL;
        errno = EFBIG;
    }
    if (text != NULL)
        text[size] = '\0';
    (void)fclose(file);
    return text;
}

int sim_database_add(const char *path, const char *dir, char *error, size_t cap)
{
    char name[4200];
    struct filling f = {.dir = dir, .error = error, .cap = cap};
    snprintf(name, sizeof name, "%s/run.json", dir);
    int result = -1;
    char *text = sim_database_text(name, SIM_RUN_JSON_MAX);
    cJSON *json = text != NULL ? cJSON_Parse(text) : NULL;
    const cJSON *run = cJSON_GetObjectItemCaseSensitive(json, "run");
    if (text == NULL) {
        snprintf(error, cap, "%s: cannot be read: %s", name, strerror(errno));
        goto out;
    }
    if (!cJSON_IsString(run)) {
        snprintf(error, cap, "%s: is not the description of a run", name);
        goto out;
    }
    f.run = run->valuestring;
    if (sqlite3_open(path, &f.db) != SQLITE_OK) {
        (void)fail_sql(&f, path);
        goto out;
    }
    (void)sqlite3_busy_timeout(f.db, 60000); /* runs of a sweep end at the same time */
    result = replace(&f, json, text, path);
    if (result != 0)
        (void)sqlite3_exec(f.db, "ROLLBACK", NULL, NULL, NULL);
out:
    (void)sqlite3_close(f.db);
    cJSON_Delete(json);
    free(text);
    return result;
}
