/*
 * Types shared by every module of proto/: time, error codes, and the environment an engine is given at each call.
 *
 * Nothing here keeps state. All of proto/ is reentrant: it has no globals, allocates nothing, reads no clock and does
 * no I/O; what it needs from outside comes through struct mp_env.
 */
#ifndef MP_TYPES_H
#define MP_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mp_config.h"

/*
 * Keeps a function's frame apart from its caller's. Compilers merge a function that is called once into its caller, and
 * its buffers then lie under everything else that the caller calls: on a part whose stack is 4 KB, under a signature
 * check.
 */
#define MP_APART __attribute__((noinline))

/* Microseconds since an origin of the host's choosing; never goes back while a struct lives. */
typedef uint64_t mp_time;
#define MP_NEVER UINT64_MAX
#define MP_MS(n) ((mp_time)(n)*1000u)
#define MP_SECONDS(n) ((mp_time)(n)*1000000u)

/* Milliseconds of a time, modulo 2^32, without a 64-bit division: parts have none, and its library is 750 bytes. */
uint32_t mp_ms_divide(mp_time t);
/* The same by the shorter way for this machine. */
static inline uint32_t mp_ms(mp_time t)
{
    return UINTPTR_MAX > UINT32_MAX ? (uint32_t)(t / 1000) : mp_ms_divide(t);
}

/* 0 is success, a positive return value a count or length; mp_strerror() has a sentence for each. */
enum mp_error {
    MP_OK = 0,
    MP_ERR_LENGTH = -1,       /* truncated, oversized, or a count that does not fit the length */
    MP_ERR_FORMAT = -2,       /* unknown version or a field outside its range */
    MP_ERR_TYPE = -3,         /* unknown frame type */
    MP_ERR_NETWORK = -4,      /* another network, or a network key id that is not held */
    MP_ERR_TAG = -5,          /* network tag wrong */
    MP_ERR_SOURCE = -6,       /* own, zero or broadcast source */
    MP_ERR_REPLAY = -7,       /* counter not higher than the last one of that neighbour, or a stale nonce */
    MP_ERR_UNNAMED = -8,      /* no release head names it */
    MP_ERR_OLD = -9,          /* not newer than what is held */
    MP_ERR_BUSY = -10,        /* a token bucket is empty */
    MP_ERR_KEY = -11,         /* key unknown or of another generation */
    MP_ERR_REVOKED = -12,     /* key revoked */
    MP_ERR_SIGNATURE = -13,   /* signature wrong */
    MP_ERR_FROZEN = -14,      /* the key chain is forked */
    MP_ERR_GAP = -15,         /* a key change before it is missing */
    MP_ERR_EXPIRED = -16,     /* expiry epoch passed */
    MP_ERR_MODEL = -17,       /* other product, model or hardware revision */
    MP_ERR_VERSION = -18,     /* running version below the earliest one allowed */
    MP_ERR_RELEASE = -19,     /* release sequence not higher */
    MP_ERR_COUNTER = -20,     /* security counter below the floor, or rising by more than 16 */
    MP_ERR_ROOM = -21,        /* does not fit the slot or the buffer */
    MP_ERR_BATTERY = -22,     /* battery below the manifest's minimum */
    MP_ERR_UNSUPPORTED = -23, /* a kind of payload this build cannot use */
    MP_ERR_STORE = -24,       /* the store failed or could not correct what it read */
    MP_ERR_CHUNK = -25,       /* chunk hash wrong */
    MP_ERR_PARENT = -26,      /* chunk whose parent is not held yet */
    MP_ERR_ABSENT = -27,      /* nothing there */
    MP_ERR_DUPLICATE = -28,   /* already held */
    MP_ERR_STATE = -29,       /* not possible in this state */
    MP_ERROR_COUNT = 30
};

/* One sentence for an error code (static storage); "unknown error" for anything else. Hosts only: not linked on parts
 * that do not call it. */
const char *mp_strerror(int error);

/* Running SHA-256; opaque to proto, big enough for libsodium's and small implementations. */
struct mp_sha256 {
    uint64_t opaque[14];
};

/* Cryptography, supplied by the host (node-fw/port/crypto). None of these may fail but verify(). */
struct mp_crypto {
    /* SipHash-2-4 of len bytes, as u64 (little-endian reading of the 8-byte result). */
    uint64_t (*siphash)(const uint8_t key[16], const uint8_t *data, size_t len);
    void (*sha256_init)(struct mp_sha256 *state);
    void (*sha256_update)(struct mp_sha256 *state, const uint8_t *data, size_t len);
    void (*sha256_final)(struct mp_sha256 *state, uint8_t digest[32]);
    /* Ed25519: 0 when sig is the signature of the message under pub, else MP_ERR_SIGNATURE. */
    int (*verify)(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32]);
};

/* What the engine keeps outside its own state. "slot" counts from 0 within a kind; sizes as in docs/SPEC.md section 2.
 */
enum mp_kind {
    MP_KIND_MANIFEST,  /* slots 0 to MP_MANIFESTS_MAX-1, 200 bytes */
    MP_KIND_DIRECTIVE, /* slots 0 to MP_RELEASES_MAX-1, up to 176 bytes */
    MP_KIND_KEYCHANGE, /* slot = number mod MP_KEYCHAIN_MAX, 200 bytes */
    MP_KIND_RECEIPT,   /* slot 0, up to 200 bytes */
    MP_KIND_KEYSET,    /* slot 0, 276 bytes */
    MP_KIND_REPORT,    /* slot 0, up to 32 bytes: own report, serial and what was receipted */
    MP_KIND_COUNT
};
#define MP_RECORD_MAX 276

/* Storage, supplied by the host. A call that returns an error has changed nothing. */
struct mp_store {
    /* Replaces the record atomically (after a power cut: the old or the new one). len 0 erases. 0 or MP_ERR_STORE. */
    int (*put)(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len);
    /* Length of the record copied to data, 0 when there is none, MP_ERR_ROOM if longer than cap, MP_ERR_STORE. */
    int (*get)(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap);
    /* Stores a verified chunk of the payload in `place` and sets its bit. Only called when the bit is clear. 0,
     * MP_ERR_PARENT (not now, because its page must be erased first: to be sent again later), or MP_ERR_STORE. */
    int (*chunk_put)(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len);
    /* Length of the chunk copied to data (canonical form), MP_ERR_ABSENT, MP_ERR_STORE. */
    int (*chunk_get)(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE]);
    /* Bitmap of the verified chunks of the payload in `place`: bit position%8 of byte position/8. NULL when the place
     * is empty. Owned by the store, valid until the next call to it; proto only reads it. */
    const uint8_t *(*bitmap)(void *ctx, unsigned place);
};

/* Why a frame or object was not used, and what was sent. Owned by the host; may be shared by engines of one thread. */
enum { MP_TYPE_COUNT = 16 };
struct mp_counters {
    uint32_t received[MP_TYPE_COUNT]; /* authentic frames by type */
    uint32_t written[MP_TYPE_COUNT];  /* frames handed to the bearer by type */
    uint32_t written_bytes;
    uint32_t dropped[MP_ERROR_COUNT]; /* index: -error */
    uint32_t chunks_stored;
    uint32_t chunks_duplicate;
};

struct mp_relay;

/* Handed to every call of an engine; nothing of it is kept. */
struct mp_env {
    void *ctx; /* handed to the callbacks below and those of the store */
    const struct mp_crypto *crypto;
    const struct mp_store *store;
    uint32_t (*random)(void *ctx); /* uniform; quality as for nonces */
    struct mp_relay *relay;        /* cache for foreign payloads, NULL: relays nothing */
    struct mp_counters *counters;  /* NULL: not counted */
};

#endif
