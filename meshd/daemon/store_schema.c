/*
 * Schema of the store and its migrations. Step i brings a database from version i to i + 1; PRAGMA user_version holds
 * the version. Steps are never edited once released, only added to.
 */
#include <stdio.h>

#include "store_state.h"

#define APPLICATION_ID 0x6D657368 /* "mesh": tells another program's database from ours */

static const char *const steps[MD_STORE_SCHEMA] = {
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;"
    /* what the engine keeps, by kind and slot */
    "CREATE TABLE objects(kind INTEGER NOT NULL, slot INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(kind, slot))"
    " WITHOUT ROWID;"
    "CREATE TABLE keychanges(number INTEGER PRIMARY KEY, object BLOB NOT NULL);"
    "CREATE TABLE network_keys(slot INTEGER PRIMARY KEY, id INTEGER NOT NULL, active INTEGER NOT NULL, key BLOB NOT "
    "NULL);"
    "CREATE TABLE manifests(id BLOB PRIMARY KEY, release INTEGER NOT NULL, product INTEGER NOT NULL, model INTEGER NOT "
    "NULL,"
    " counter INTEGER NOT NULL, object BLOB NOT NULL, at_ms INTEGER NOT NULL);"
    "CREATE INDEX manifests_release ON manifests(release);"
    "CREATE TABLE payloads(id BLOB PRIMARY KEY REFERENCES manifests(id), data BLOB NOT NULL);"
    "CREATE TABLE rollouts(release INTEGER PRIMARY KEY, live INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL, policy TEXT NOT NULL, phase TEXT NOT NULL, why TEXT NOT NULL, state BLOB NOT NULL);"
    "CREATE TABLE rollout_nodes(release INTEGER NOT NULL, node INTEGER NOT NULL, outcome INTEGER NOT NULL,"
    " phase INTEGER NOT NULL, reason INTEGER NOT NULL, serial INTEGER NOT NULL, opened_ms INTEGER NOT NULL, PRIMARY "
    "KEY(release, node)) WITHOUT "
    "ROWID;"
    "CREATE TABLE signed(id BLOB PRIMARY KEY, release INTEGER NOT NULL, sequence INTEGER NOT NULL, object BLOB NOT "
    "NULL,"
    " at_ms INTEGER NOT NULL);"
    "CREATE TABLE nodes(ordinal INTEGER PRIMARY KEY, node INTEGER NOT NULL UNIQUE, idx INTEGER NOT NULL UNIQUE,"
    " name TEXT NOT NULL UNIQUE, product INTEGER NOT NULL, model INTEGER NOT NULL, labels INTEGER NOT NULL,"
    " hw INTEGER NOT NULL, retired INTEGER NOT NULL, enrolled INTEGER NOT NULL, provisioned_ms INTEGER NOT NULL,"
    " report_key BLOB NOT NULL, report BLOB, report_ms INTEGER NOT NULL);"
    "CREATE TABLE labels(bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE reports(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, node INTEGER NOT NULL, entry BLOB NOT NULL);"
    "CREATE INDEX reports_node ON reports(node, id);"
    "CREATE TABLE audit(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,"
    " text TEXT NOT NULL, hash BLOB NOT NULL);"
    /* append-only for everybody who comes through SQL */
    "CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;"
    "CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); "
    "END;",
};

static int read_pragma(struct md_store *s, const char *sql, int *value)
{
    sqlite3_stmt *q = store_statement(s, sql);
    int result = store_row(s, q, "reading the schema version");
    if (result <= 0)
        return result < 0 ? result : store_refuse(s, MD_STORE_CORRUPT, "no schema version");
    *value = sqlite3_column_int(q, 0);
    sqlite3_reset(q);
    return MP_OK;
}

static int migrate_one(struct md_store *s, int version)
{
    char pragma[96];
    int result = md_store_begin(s);
    if (result < 0)
        return result;
    snprintf(pragma, sizeof pragma, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID, version + 1);
    if (sqlite3_exec(s->db, steps[version], NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(s->db, pragma, NULL, NULL, NULL) != SQLITE_OK) {
        result = store_fail(s, "bringing the schema up to date");
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        s->in_transaction = false;
        return result;
    }
    return md_store_commit(s);
}

int store_migrate(struct md_store *s)
{
    int version = 0, application = 0;
    int result = read_pragma(s, "PRAGMA user_version", &version);
    if (result < 0 || (result = read_pragma(s, "PRAGMA application_id", &application)) < 0)
        return result;
    if (version < 0 || (version > 0 && application != APPLICATION_ID))
        return store_refuse(s, MD_STORE_CORRUPT, "a database, but not one of meshd");
    if (version > MD_STORE_SCHEMA)
        return store_refuse(s, MD_STORE_VERSION, "schema %d is newer than this meshd, which knows %d", version,
                            MD_STORE_SCHEMA);
    for (; version < MD_STORE_SCHEMA; version++)
        if ((result = migrate_one(s, version)) < 0)
            return result;
    return MP_OK;
}
