/*
 * The engine's state, laid out so that a microcontroller can hold it: no pointers, times as wrapping 32-bit
 * milliseconds. Open so that callers can allocate it; only proto/mesh touches the fields.
 */
#ifndef MP_NODE_STATE_H
#define MP_NODE_STATE_H

#include "../mp_types.h"
#include "../object/directive.h"
#include "../object/receipt.h"
#include "bucket.h"
#include "trickle.h"

#ifdef MP_PROFILE_MCU
#define MP_FORWARDS_MAX 8
#define MP_DEMAND_BYTES 64
#else
#define MP_FORWARDS_MAX 16
#define MP_DEMAND_BYTES 128
#endif

/* A member heard directly. */
struct mp_neighbour {
    uint32_t node;       /* 0: free */
    uint32_t nonce;      /* from its SUMMARY, 0 unknown */
    uint16_t counter[3]; /* highest frame counter, low word first */
    uint16_t heard;      /* last heard, in 256 ms */
    uint16_t list;       /* hash of its newest state list */
    uint16_t round;
    uint16_t failed; /* low bits of the release it rolled back from */
    uint16_t home;   /* low bits of a handle */
    uint16_t target;
    uint16_t held; /* positions of target, clipped */
    uint8_t hop;
    uint8_t flags; /* enum mp_neighbour_flag */
    uint8_t quality;
    uint8_t resets; /* Trickle resets that `list` has caused */
};

enum mp_neighbour_flag {
    MP_NEIGHBOUR_GATEWAY = 1,
    MP_NEIGHBOUR_KNOWN = 2, /* was there before the newest release began */
    MP_NEIGHBOUR_WANTS = 4, /* lacks chunks of its target, as far as is known */
    MP_NEIGHBOUR_RELAYS = 8
};

/* A payload that is held or fetched. */
struct mp_place {
    uint32_t handle; /* 0: free */
    uint32_t size;
    uint32_t positions;
    uint32_t held;
    uint8_t salt[8];
    uint8_t root[MP_HASH_SIZE];
};

/* A newly verified chunk waiting to be passed on. */
struct mp_forward {
    uint32_t due_ms;
    uint32_t position : 24;
    uint32_t place : 4; /* MP_PLACES_MAX: free */
    uint32_t copies : 4;
};

/* Chunks that neighbours asked for. */
struct mp_demand {
    uint32_t base;
    uint32_t cursor;
    uint8_t place; /* MP_PLACES_MAX: nothing wanted */
    uint8_t asked; /* when somebody last asked, in 256 ms */
    uint8_t bits[MP_DEMAND_BYTES];
};

/* A report in custody. */
struct mp_custody {
    uint32_t from;
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    uint8_t flags; /* enum mp_custody_flag, 0: free */
};

enum mp_custody_flag {
    MP_CUSTODY_USED = 1,
    MP_CUSTODY_ACK = 2, /* an acknowledgement is owed to `from` */
    MP_CUSTODY_DONE = 4 /* passed on or committed; free once the acknowledgement is out */
};

struct mp_own_report {
    uint16_t running;
    uint16_t target;
    uint16_t serial;    /* of the content above */
    uint16_t receipted; /* newest serial known to be receipted */
    uint8_t phase;
    uint8_t reason;
    uint8_t is_set;
    uint8_t is_rewritten; /* content changed without a serial of its own: take one when receipted */
    uint8_t tries;
    uint8_t is_taken; /* a parent has it in custody */
};

/* Timers and frames that wait, each with a due time while its bit in `armed` is set. */
enum mp_job {
    MP_JOB_TRICKLE, /* timer: t or end of the interval */
    MP_JOB_STALE,   /* timer: no epoch for 7 days */
    MP_JOB_RELAY,   /* timer: the relay's window is given up */
    MP_JOB_ACK,     /* frames from here on, in order of precedence */
    MP_JOB_PUSH,
    MP_JOB_SUMMARY,
    MP_JOB_REPORT,
    MP_JOB_REQUEST,
    MP_JOB_FORWARD,
    MP_JOB_SERVE,
    MP_JOB_COUNT
};

/* Objects that gossip may push, as bits of push_mask; in order of precedence. */
enum {
    MP_PUSH_KEY = 0,
    MP_PUSH_DIRECTIVE = 1,
    MP_PUSH_RECEIPT = MP_PUSH_DIRECTIVE + MP_RELEASES_MAX,
    MP_PUSH_MANIFEST = MP_PUSH_RECEIPT + 1,
    MP_PUSH_COUNT = MP_PUSH_MANIFEST + MP_MANIFESTS_MAX
};

/* What every reception looks at comes first, and a neighbour lies in one piece of 32 bytes, so that a host with very many
 * nodes touches few lines of its cache. */
struct mp_node {
    mp_time now; /* of the last call */
    uint8_t network_key_id[2];
    uint8_t key_active;
    uint8_t key_count;
    uint8_t hop;
    uint8_t is_frozen;
    uint8_t fetch; /* place being fetched, MP_PLACES_MAX none */
    uint8_t request_skips;
    uint8_t request_stalls;
    uint8_t custody_count;
    uint8_t loud;          /* so many SUMMARYs go out whatever was heard */
    uint8_t head_mask;     /* bit i: heads[i] is in use */
    uint8_t manifest_mask; /* the same of manifests */
    uint8_t is_gateway : 1;
    uint8_t is_trial : 1;
    uint8_t is_stale : 1;
    uint8_t is_counter_pending : 1; /* nothing is sent until the boot counter is persisted */
    uint8_t is_relay_turn : 1;      /* the next REQUEST is the relay's */
    uint16_t network;
    uint16_t key_number; /* newest key change */
    uint16_t round;      /* newest verified round */
    uint16_t full_until; /* nobody in the neighbour table gives way to a newcomer before, in 256 ms */
    uint16_t failed;
    uint32_t id;
    uint32_t events;
    uint32_t key_head; /* H4 of the newest key change */
    uint32_t nonce;
    uint64_t counter; /* of the next frame */
    uint32_t epoch;
    uint32_t push_left; /* two bits an object: how often it is still sent because it is new */
    uint32_t due_ms[MP_JOB_COUNT];
    uint16_t armed;
    uint16_t index;
    struct mp_trickle trickle;
    uint8_t neighbour_tag[MP_NEIGHBOURS_MAX]; /* low bits of each neighbour's node */
    uint8_t network_key[2][16];
    struct mp_neighbour neighbours[MP_NEIGHBOURS_MAX];
    struct mp_head heads[MP_RELEASES_MAX];  /* index = slot in the store; release 0: free */
    uint8_t manifests[MP_MANIFESTS_MAX][8]; /* ids, index = slot in the store; all zero: free */
    uint32_t echo_node;                     /* who waits for an echo, 0 none */
    uint32_t echo_nonce;
    uint32_t ack_node; /* who brought reports last, and low 32 bits of that frame's counter */
    uint32_t ack_mark;
    uint32_t report_mark;      /* low 32 bits of the counter of the last REPORT sent */
    uint16_t epoch_generation; /* of the key that signed `epoch` */
    uint16_t round_generation; /* of the key that signed `round` */
    uint16_t push_mask;
    uint16_t push_key;                 /* number of the next key change to push */
    uint16_t push_last[MP_PUSH_COUNT]; /* when each was last sent or heard, in 16 ms */
    uint8_t report_key[16];
    uint32_t frontier;     /* first position above all that were heard of the fetched payload */
    uint32_t fetch_new_ms; /* when a new chunk of it last came */
    struct mp_bucket verify_bucket;
    struct mp_bucket reset_bucket;
    struct mp_bucket service_bucket;
    struct mp_bucket unknown_bucket;
    struct mp_own_report report;
    struct mp_place places[MP_PLACES_MAX];
    struct mp_demand demand;
    struct mp_forward forwards[MP_FORWARDS_MAX];
    struct mp_custody custody[MP_CUSTODY_MAX];
};

#endif
