/*
 * The gateway's store: one SQLite database, the only place where meshd keeps anything.
 *
 * WAL, synchronous=FULL, one connection, prepared statements. Every change is committed before what it says is radiated
 * or answered: outside begin/commit each call is its own transaction. A database that is corrupt, of a newer schema,
 * locked by another process or full makes the call fail with a code and a sentence (md_store_error()); nothing is lost
 * that was acknowledged and nothing half written stays. Opaque; not thread safe. Registry, import and HTTP use it
 * through their own modules.
 */
#ifndef MD_STORE_H
#define MD_STORE_H

#include "proto/mp_types.h"
#include "proto/object/manifest.h"

/* Beside enum mp_error; md_store_strerror() has a sentence for each. */
enum md_store_code {
    MD_STORE_LOCKED = -101,  /* another process holds it (a second meshd) */
    MD_STORE_CORRUPT = -102, /* not a database, or the integrity check failed */
    MD_STORE_FULL = -103,    /* disk or page limit */
    MD_STORE_VERSION = -104, /* schema of a newer meshd */
    MD_STORE_IO = -105,      /* any other failure of the file */
    MD_STORE_TAMPERED = -106 /* the audit chain does not close */
};

#define MD_STORE_SCHEMA 1
#define MD_STORE_ERROR_MAX 256

struct md_store;

/*
 * Opens or creates (mode 0600) the database, checks integrity, schema version and the newest part of the audit chain,
 * migrates, and holds an exclusive lock for as long as it is open. path ":memory:" for tests. On error *out is NULL and
 * error (may be NULL) holds a sentence that names path and cause. 0 or a code.
 */
int md_store_open(struct md_store **out, const char *path, const struct mp_crypto *crypto, char *error,
                  size_t error_size);
/* Rolls back an open transaction. NULL is allowed. */
void md_store_close(struct md_store *s);
/* Sentence of the newest failure, "" if none. Valid until the next call. */
const char *md_store_error(const struct md_store *s);
const char *md_store_strerror(int code);
const struct mp_crypto *md_store_crypto(const struct md_store *s);

/* Groups calls. Not nested: MP_ERR_STATE. After a failed commit the transaction is rolled back. */
int md_store_begin(struct md_store *s);
int md_store_commit(struct md_store *s);
void md_store_rollback(struct md_store *s);
bool md_store_in_transaction(const struct md_store *s);

/* --- settings: named numbers and blobs (round, epoch, salt ...)
 * ------------------------------------------------------- */
/* 0 and *value, MP_ERR_ABSENT or a code. */
int md_store_get_number(struct md_store *s, const char *name, int64_t *value);
int md_store_set_number(struct md_store *s, const char *name, int64_t value);
/* Length copied, MP_ERR_ABSENT, MP_ERR_ROOM or a code. */
int md_store_get_blob(struct md_store *s, const char *name, void *data, size_t cap);
int md_store_set_blob(struct md_store *s, const char *name, const void *data, size_t len);
/* Takes the next boot counter (1 to 2^24-1), committed before it is returned. MP_ERR_ROOM when used up. */
int md_store_next_boot(struct md_store *s, uint32_t *boot);
/* Engine crossed into a new boot number: commits it. */
int md_store_set_boot(struct md_store *s, uint32_t boot);

/* --- the engine's storage (struct mp_env: ctx = the md_store, store = md_store_engine())
 * ------------------------------- */
/* Records are written through and cached; chunks of imported payloads are served from RAM; a payload fetched from the
 * mesh lives in RAM until complete, then it is committed. Calls made inside a transaction are part of it: publish only
 * after commit. Key changes are also kept for good (md_store_keychange()). */
const struct mp_store *md_store_engine(void);
/* Uniform random, for struct mp_env (ignores ctx). */
uint32_t md_store_random(void *ctx);
/* Key change of a number, 200 bytes: 0, MP_ERR_ABSENT or a code. */
int md_store_keychange(struct md_store *s, uint16_t number, uint8_t out[200]);

/* --- payloads
 * --------------------------------------------------------------------------------------------------------- */
/* Keeps a manifest and its payload (NULL: fetched later). Length is m->payload_size. Does not verify: import and the
 * engine do. 0, MP_ERR_DUPLICATE or a code. */
int md_store_add_payload(struct md_store *s, const uint8_t manifest[MP_MANIFEST_SIZE], const uint8_t *payload,
                         int64_t at_ms);
/* 0 when the whole payload is there, MP_ERR_ABSENT or a code. */
int md_store_has_payload(struct md_store *s, const uint8_t id[8]);
/* Signed manifest of an id, known by import or by having been fetched: 0, MP_ERR_ABSENT or a code. */
int md_store_manifest(struct md_store *s, const uint8_t id[8], uint8_t out[MP_MANIFEST_SIZE]);
/* Each manifest known, ascending release; stops when each() returns non-zero and returns that. */
typedef int (*md_manifest_each)(void *ctx, const uint8_t id[8], const uint8_t manifest[MP_MANIFEST_SIZE], bool whole,
                                int64_t at_ms);
int md_store_each_manifest(struct md_store *s, md_manifest_each each, void *ctx);
/* Fills place (0 to MP_PLACES_MAX-1) with this manifest's payload: whole when imported, else empty for fetching. Then
 * mp_node_place(). 0, MP_ERR_FORMAT, MP_ERR_ROOM (memory) or a code. */
int md_store_place(struct md_store *s, unsigned place, const struct mp_manifest *m, const uint8_t id[8]);
/* Frees a place; mp_node_drop() first. */
void md_store_unplace(struct md_store *s, unsigned place);
/* Place that holds this manifest, or -1. */
int md_store_find_place(const struct md_store *s, const uint8_t id[8]);
/* On MP_EVENT_COMPLETE: checks SHA-256 of a complete fetched place and commits it. 0, MP_ERR_STATE (not complete),
 * MP_ERR_CHUNK (hash wrong: the place is emptied) or a code. */
int md_store_seal_place(struct md_store *s, unsigned place);

/* --- rollouts
 * --------------------------------------------------------------------------------------------------------- */
struct md_release;
/* Writes what changed of every rollout (md_release_save, _pop_changed, _pop_node). In the caller's transaction or its
 * own. */
int md_store_save_release(struct md_store *s, struct md_release *r, int64_t now_ms);
/* Loads every live rollout and its nodes; the nodes must be known to r. */
int md_store_load_release(struct md_store *s, struct md_release *r);
/* Ends a rollout's row when it was dropped from the engine; it stays listed as past. */
int md_store_end_rollout(struct md_store *s, uint32_t release, int64_t now_ms);
/* Each rollout ever started, oldest first: policy text, phase name, last sentence, live or past. */
struct md_rollout_row {
    uint32_t release;
    bool live;
    int64_t started_ms;
    int64_t updated_ms;
    const char *policy; /* valid during the call */
    const char *phase;
    const char *why;
};
typedef int (*md_rollout_each)(void *ctx, const struct md_rollout_row *row);
int md_store_each_rollout(struct md_store *s, md_rollout_each each, void *ctx);
/* Directives this gateway signed: put before publishing; is_own asks by id: 0, MP_ERR_ABSENT or a code. */
int md_store_add_signed(struct md_store *s, uint32_t release, uint32_t sequence, const uint8_t id[8],
                        const uint8_t *object, size_t len, int64_t at_ms);
int md_store_is_own(struct md_store *s, const uint8_t id[8]);

/* --- audit log
 * -------------------------------------------------------------------------------------------------------- */
/* Appends one row: who (operator name, "gate", "meshd"), what (short word: "rollout.hold"), text (a sentence). Each row
 * carries the hash of the one before. */
int md_store_audit(struct md_store *s, int64_t at_ms, const char *who, const char *what, const char *text);
struct md_audit_row {
    int64_t id; /* from 1, without gaps */
    int64_t at_ms;
    const char *who; /* valid during the call */
    const char *what;
    const char *text;
    uint8_t hash[32]; /* of this row and the hash before */
};
typedef int (*md_audit_each)(void *ctx, const struct md_audit_row *row);
/* Rows with id > after, ascending, at most limit. 0, what each() returned, or a code. */
int md_store_each_audit(struct md_store *s, int64_t after, unsigned limit, md_audit_each each, void *ctx);
/* Walks the whole chain. 0, or MD_STORE_TAMPERED with *bad = first bad row. */
int md_store_verify_audit(struct md_store *s, int64_t *bad);

#endif
