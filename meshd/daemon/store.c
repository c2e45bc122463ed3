/*
 * Opening, transactions, errors, settings of the store.
 *
 * The lock is SQLite's own: locking_mode=EXCLUSIVE with an immediate first write transaction, so that a second meshd
 * fails at once with a sentence instead of two gateways signing from one database.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../release/release.h"
#include "store_state.h"

#define BUSY_TIMEOUT_MS 2000
#define AUDIT_CHECKED 256 /* newest rows of the audit chain that open looks at */

const char *md_store_strerror(int code)
{
    switch (code) {
    case MD_STORE_LOCKED:
        return "the database is locked by another process";
    case MD_STORE_CORRUPT:
        return "the database is corrupt";
    case MD_STORE_FULL:
        return "the disk or the database is full";
    case MD_STORE_VERSION:
        return "the database belongs to a newer version";
    case MD_STORE_IO:
        return "the database file cannot be read or written";
    case MD_STORE_TAMPERED:
        return "the audit log was tampered with";
    default:
        return mp_strerror(code);
    }
}

int store_refuse(struct md_store *s, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->error, sizeof s->error, format, args);
    va_end(args);
    return code;
}

static int code_of(int sqlite_code)
{
    switch (sqlite_code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MD_STORE_LOCKED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return MD_STORE_CORRUPT;
    case SQLITE_FULL:
        return MD_STORE_FULL;
    default:
        return MD_STORE_IO;
    }
}

int store_fail(struct md_store *s, const char *doing)
{
    int code = code_of(sqlite3_errcode(s->db));
    return store_refuse(s, code, "%s: %s (%s)", doing, md_store_strerror(code), sqlite3_errmsg(s->db));
}

sqlite3_stmt *store_statement(struct md_store *s, const char *sql)
{
    for (unsigned i = 0; i < s->prepared_count; i++)
        if (s->prepared[i].sql == sql) {
            sqlite3_clear_bindings(s->prepared[i].statement);
            return s->prepared[i].statement;
        }
    sqlite3_stmt *statement = NULL;
    if (s->prepared_count == STATEMENTS_MAX) {
        store_refuse(s, MD_STORE_IO, "more than %d statements", STATEMENTS_MAX);
        return NULL;
    }
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
        store_fail(s, "preparing a statement");
        return NULL;
    }
    s->prepared[s->prepared_count].sql = sql;
    s->prepared[s->prepared_count++].statement = statement;
    return statement;
}

int store_run(struct md_store *s, sqlite3_stmt *statement, const char *doing)
{
    if (!statement)
        return code_of(sqlite3_errcode(s->db));
    int stepped = sqlite3_step(statement);
    int result = stepped == SQLITE_DONE || stepped == SQLITE_ROW ? MP_OK : store_fail(s, doing);
    sqlite3_reset(statement);
    return result;
}

int store_row(struct md_store *s, sqlite3_stmt *statement, const char *doing)
{
    if (!statement)
        return code_of(sqlite3_errcode(s->db));
    int stepped = sqlite3_step(statement);
    if (stepped == SQLITE_ROW)
        return 1;
    int result = stepped == SQLITE_DONE ? 0 : store_fail(s, doing);
    sqlite3_reset(statement);
    return result;
}

static int execute(struct md_store *s, const char *sql, const char *doing)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? MP_OK : store_fail(s, doing);
}

/* --- transactions
 * ----------------------------------------------------------------------------------------------------- */

int md_store_begin(struct md_store *s)
{
    if (s->in_transaction)
        return store_refuse(s, MP_ERR_STATE, "a transaction is open already");
    int result = execute(s, "BEGIN IMMEDIATE", "beginning a transaction");
    s->in_transaction = result == MP_OK;
    s->records_touched = false;
    s->saved = NULL;
    return result;
}

int md_store_commit(struct md_store *s)
{
    if (!s->in_transaction)
        return store_refuse(s, MP_ERR_STATE, "no transaction is open");
    int result = sqlite3_get_autocommit(s->db)
                     ? store_refuse(s, MD_STORE_IO, "committing: an earlier failure ended the transaction")
                     : execute(s, "COMMIT", "committing");
    if (result < 0) {
        char error[MD_STORE_ERROR_MAX];
        memcpy(error, s->error, sizeof error);
        md_store_rollback(s);
        memcpy(s->error, error, sizeof error);
        return result;
    }
    s->in_transaction = false;
    return MP_OK;
}

void md_store_rollback(struct md_store *s)
{
    if (!s->in_transaction)
        return;
    s->in_transaction = false;
    /* a full disk may have rolled back by itself */
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    if (s->records_touched)
        store_records_load(s);
    if (s->saved)
        md_release_touch(s->saved);
    s->saved = NULL;
}

bool md_store_in_transaction(const struct md_store *s)
{
    return s->in_transaction;
}

int store_enter(struct md_store *s, bool *own)
{
    *own = !s->in_transaction;
    return *own ? md_store_begin(s) : execute(s, "SAVEPOINT part", "beginning a part");
}

int store_leave(struct md_store *s, bool own, int result)
{
    char error[MD_STORE_ERROR_MAX];
    if (result >= 0) {
        int left = own ? md_store_commit(s) : execute(s, "RELEASE part", "ending a part");
        return left < 0 ? left : result;
    }
    memcpy(error, s->error, sizeof error);
    if (own)
        md_store_rollback(s);
    else
        sqlite3_exec(s->db, "ROLLBACK TO part; RELEASE part", NULL, NULL, NULL);
    memcpy(s->error, error, sizeof error);
    return result;
}

/* --- opening
 * ---------------------------------------------------------------------------------------------------------- */

/* SQLite would create the file readable by all, and it holds keys. */
static int create_private(struct md_store *s, const char *path)
{
    struct stat st;
    if (strcmp(path, ":memory:") == 0)
        return MP_OK;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int result =
            store_refuse(s, MD_STORE_IO, "%s%s", strerror(errno), errno == ENOENT ? " (its folder is missing)" : "");
        if (fd >= 0)
            close(fd);
        return result;
    }
    close(fd);
    return S_ISREG(st.st_mode) ? MP_OK : store_refuse(s, MD_STORE_IO, "not a regular file");
}

static int check_integrity(struct md_store *s)
{
    sqlite3_stmt *statement = store_statement(s, "PRAGMA quick_check(1)");
    int result = store_row(s, statement, "checking integrity");
    if (result <= 0)
        return result < 0 ? result : store_refuse(s, MD_STORE_CORRUPT, "the integrity check gave no answer");
    const char *said = (const char *)sqlite3_column_text(statement, 0);
    result = said && strcmp(said, "ok") == 0
                 ? MP_OK
                 : store_refuse(s, MD_STORE_CORRUPT, "the database is corrupt: %.150s", said ? said : "no answer");
    sqlite3_reset(statement);
    return result;
}

static int configure(struct md_store *s)
{
    static const char *const pragmas[] = {
        "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL",   "PRAGMA synchronous=FULL",
        "PRAGMA foreign_keys=ON",        "PRAGMA trusted_schema=OFF",
    };
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    sqlite3_extended_result_codes(s->db, 1);
    for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++) {
        int result = execute(s, pragmas[i], "opening");
        if (result < 0)
            return result;
    }
    /* takes the exclusive lock and keeps it */
    return execute(s, "BEGIN IMMEDIATE; COMMIT", "locking");
}

static int open_steps(struct md_store *s, const char *path)
{
    int result = create_private(s, path);
    if (result < 0)
        return result;
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return s->db ? store_fail(s, "opening") : store_refuse(s, MP_ERR_ROOM, "out of memory");
    if ((result = configure(s)) < 0 || (result = check_integrity(s)) < 0 || (result = store_migrate(s)) < 0)
        return result;
    if ((result = store_records_load(s)) < 0)
        return result;
    return store_audit_check(s, AUDIT_CHECKED, NULL);
}

int md_store_open(struct md_store **out, const char *path, const struct mp_crypto *crypto, char *error,
                  size_t error_size)
{
    *out = NULL;
    struct md_store *s = calloc(1, sizeof *s);
    if (!s) {
        if (error && error_size)
            snprintf(error, error_size, "%s: out of memory", path);
        return MP_ERR_ROOM;
    }
    s->crypto = crypto;
    int result = open_steps(s, path);
    if (result < 0) {
        if (error && error_size)
            snprintf(error, error_size, "%s: %s", path, s->error);
        md_store_close(s);
        return result;
    }
    *out = s;
    return MP_OK;
}

void md_store_close(struct md_store *s)
{
    if (!s)
        return;
    if (s->in_transaction)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    for (unsigned i = 0; i < s->prepared_count; i++)
        sqlite3_finalize(s->prepared[i].statement);
    store_places_free(s);
    sqlite3_close(s->db);
    sodium_memzero(s, sizeof *s);
    free(s);
}

const char *md_store_error(const struct md_store *s)
{
    return s->error;
}

const struct mp_crypto *md_store_crypto(const struct md_store *s)
{
    return s->crypto;
}

uint32_t md_store_random(void *ctx)
{
    (void)ctx;
    return randombytes_random();
}

/* --- settings
 * --------------------------------------------------------------------------------------------------------- */

int md_store_get_number(struct md_store *s, const char *name, int64_t *value)
{
    sqlite3_stmt *q = store_statement(s, "SELECT value FROM settings WHERE name = ?1");
    if (q)
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    int result = store_row(s, q, "reading a setting");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    *value = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return MP_OK;
}

static const char set_setting[] = "INSERT INTO settings(name, value) VALUES(?1, ?2) "
                                  "ON CONFLICT(name) DO UPDATE SET value = excluded.value";

int md_store_set_number(struct md_store *s, const char *name, int64_t value)
{
    sqlite3_stmt *q = store_statement(s, set_setting);
    if (q) {
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 2, value);
    }
    return store_run(s, q, "writing a setting");
}

int md_store_get_blob(struct md_store *s, const char *name, void *data, size_t cap)
{
    sqlite3_stmt *q = store_statement(s, "SELECT value FROM settings WHERE name = ?1");
    if (q)
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    int result = store_row(s, q, "reading a setting");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    const void *blob = sqlite3_column_blob(q, 0);
    int len = sqlite3_column_bytes(q, 0);
    if ((size_t)len > cap)
        result = MP_ERR_ROOM;
    else if (len)
        memcpy(data, blob, (size_t)len);
    sqlite3_reset(q);
    return result < 0 ? result : len;
}

int md_store_set_blob(struct md_store *s, const char *name, const void *data, size_t len)
{
    if (len > INT32_MAX)
        return store_refuse(s, MP_ERR_ROOM, "setting %s is too long", name);
    sqlite3_stmt *q = store_statement(s, set_setting);
    if (q) {
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_blob(q, 2, data, (int)len, SQLITE_STATIC);
    }
    return store_run(s, q, "writing a setting");
}

int md_store_next_boot(struct md_store *s, uint32_t *boot)
{
    int64_t last = 0;
    int result = md_store_get_number(s, "boot", &last);
    if (result < 0 && result != MP_ERR_ABSENT)
        return result;
    if (last < 0 || last >= 0xFFFFFF)
        return store_refuse(s, MP_ERR_ROOM, "the boot counter is used up: this gateway needs a new node id");
    result = md_store_set_number(s, "boot", last + 1);
    if (result == MP_OK)
        *boot = (uint32_t)(last + 1);
    return result;
}

int md_store_set_boot(struct md_store *s, uint32_t boot)
{
    int64_t last = 0;
    int result = md_store_get_number(s, "boot", &last);
    if (result < 0 && result != MP_ERR_ABSENT)
        return result;
    if (boot == 0 || boot > 0xFFFFFF || boot < last)
        return store_refuse(s, MP_ERR_FORMAT, "boot counter %u is below %lld", (unsigned)boot, (long long)last);
    return md_store_set_number(s, "boot", boot);
}
