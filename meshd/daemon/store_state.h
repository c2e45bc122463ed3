/*
 * State of the store: private to meshd/daemon/store*.c and registry*.c, which keep their tables through it.
 */
#ifndef MD_STORE_STATE_H
#define MD_STORE_STATE_H

#include <sqlite3.h>

#include "proto/object/tree.h"
#include "store.h"

#define STATEMENTS_MAX 64

struct md_release;

/* Payload held in RAM for the engine: leaves in one piece, interior chunks after them in slots of 192 bytes. */
struct store_place {
    bool used;
    bool sealed; /* verified as a whole and in the database */
    uint8_t id[8];
    struct mp_manifest manifest;
    struct mp_tree tree;
    uint32_t held;
    uint8_t *payload;
    uint8_t *interior;
    uint8_t *bitmap;
};

#define RECORD_SLOTS 16 /* the most slots of any kind */
struct store_record {
    uint16_t len;
    uint8_t data[MP_RECORD_MAX];
};

struct md_store {
    sqlite3 *db;
    const struct mp_crypto *crypto;
    bool in_transaction;
    char error[MD_STORE_ERROR_MAX];
    struct {
        const char *sql; /* static text: compared by address */
        sqlite3_stmt *statement;
    } prepared[STATEMENTS_MAX];
    unsigned prepared_count;
    struct store_record record[MP_KIND_COUNT][RECORD_SLOTS];
    bool records_touched;     /* by the open transaction */
    struct md_release *saved; /* release engine that saved into the open transaction */
    struct store_place place[MP_PLACES_MAX];
};

/* store.c. Statements are prepared once per literal; step and reset belong to the caller; NULL on failure (store_fail()
 * was called). */
sqlite3_stmt *store_statement(struct md_store *s, const char *sql);
/* Code for the database's newest error; sets the sentence, prefixed by what was being done. */
int store_fail(struct md_store *s, const char *doing);
__attribute__((format(printf, 3, 4))) int store_refuse(struct md_store *s, int code, const char *format, ...);
/* Runs a statement that returns no row and resets it. */
int store_run(struct md_store *s, sqlite3_stmt *statement, const char *doing);
/* Steps a query: 1 a row is there, 0 none (statement reset), or a code (statement reset). */
int store_row(struct md_store *s, sqlite3_stmt *statement, const char *doing);
/* A savepoint around several statements, whether or not the caller is in a transaction. */
int store_enter(struct md_store *s, bool *own);
int store_leave(struct md_store *s, bool own, int result);

/* store_engine.c */
int store_records_load(struct md_store *s);
void store_places_free(struct md_store *s);

/* store_audit.c: checks the newest `rows` of the chain (0: all). */
int store_audit_check(struct md_store *s, unsigned rows, int64_t *bad);

/* store_schema.c */
int store_migrate(struct md_store *s);

#endif
