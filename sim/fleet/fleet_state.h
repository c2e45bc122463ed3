/*
 * What the files of sim/fleet share: the stack's context and the record of a node. Private to sim/fleet.
 *
 *   fleet.c    the stack's table: dispatches the engine's calls; fleet_open.c what it begins with
 *   node.c     a node as its host runs it: clock, nf_node, image that runs, resets
 *   boot.c     the bootloader of node-fw/boot, over what a member has of flash
 *   store.c    storage;  image.c  payloads and manifests;  keys.c  keys;  verdict.c  crypto with a memory
 *   load.c     nodes of `stack = idle-load`
 *   gateway.h  what a gateway does besides gossip: release engine, reports, backhaul
 *   life.h     resets, churn, late joiners, batteries, duty cycles;  attack.h  nodes that attack
 *
 * Every call about a node begins with sim_fleet_enter(); the callbacks of the protocol engine then find the node in the
 * context. Nothing here may depend on the rank count: what is asked of nodes of other ranks comes from the functions
 * below that derive it from the seed.
 */
#ifndef SIM_FLEET_STATE_H
#define SIM_FLEET_STATE_H

#include "fleet.h"
#include "image.h"
#include "keys.h"
#include "node-fw/core/nf.h"
#include "node-fw/store/flash.h"
#include "proto/mesh/relay.h"
#include "store.h"

#define SIM_RECORDS 6   /* records of a node without a chain of more */
#define SIM_AD_HEADER 4 /* bytes before a frame on air: length, manufacturer specific data, company */

/* Why a node's own alarm goes off. */
enum sim_alarm {
    SIM_ALARM_NONE,
    SIM_ALARM_BOOT,      /* the bootloader is done: the image starts */
    SIM_ALARM_SELFTEST,  /* the application's self-test ends */
    SIM_ALARM_CRASH,     /* the image crashes */
    SIM_ALARM_HANG,      /* the watchdog bites */
    SIM_ALARM_BRICK,     /* dead for good */
    SIM_ALARM_DEGRADE,   /* misbehaves from now on */
    SIM_ALARM_MISBEHAVE, /* resets, and again after a while */
    SIM_ALARM_LOAD       /* the next SUMMARY of the idle load */
};

enum sim_member_flag {
    SIM_MEMBER_GATEWAY = 1 << 0,
    SIM_MEMBER_ATTACKER = 1 << 1,
    SIM_MEMBER_RUNS = 1 << 2,     /* nf is valid: an image runs (or a gateway) */
    SIM_MEMBER_MUTE = 1 << 3,     /* runs, radio off */
    SIM_MEMBER_DEGRADED = 1 << 4, /* told already */
    SIM_MEMBER_ERASING = 1 << 5,  /* the other slot is marked for its image but not erased yet */
    SIM_MEMBER_VERIFYING = 1 << 6 /* the other slot is complete, its hash is asked for */
};

/*
 * A node of this rank besides its struct nf_node. No pointers. Zero is not valid: sim_node_open() fills it, for
 * gateways and attackers too. To have a gateway serve an image in slot s: image[s] = its number, sealed |= 1 << s.
 */
struct sim_member {
    sim_time next;      /* when to call it next, kept by sim_node_arm() */
    sim_time alarm;     /* see alarm_kind; SIM_NEVER */
    int32_t drift_q40;  /* of its clock: gains so many times 2^-40 of the time */
    uint8_t alarm_kind; /* enum sim_alarm */
    uint8_t down;       /* enum sim_down, 0 up */
    uint8_t cause;      /* enum boot_cause of the reset that SIM_ALARM_BOOT ends */
    uint8_t flags;      /* enum sim_member_flag */
    /* What is above is looked at in every call, what is below seldom. */
    uint32_t record[SIM_RECORDS]; /* kind << 28 | slot << 24 | object; 0: free */
    uint32_t more;                /* chain of further records, 0 none */
    uint32_t history;             /* struct sim_history in f->histories, 0: nothing happened yet */
    uint32_t bitmap;              /* of the other slot while something is missing, 0: it is empty or complete */
    uint32_t held;                /* chunks in that bitmap */
    uint32_t relay;               /* cache for foreign payloads, 0 none */
    uint32_t boot_counter;        /* NF_KIND_BOOT */
    /* Boot record: the newest, and its place in its two pages of flash. */
    uint32_t sequence; /* 0: there is none */
    uint32_t floor;
    uint16_t confirm_s;
    uint8_t state; /* enum boot_state */
    uint8_t tries;
    uint8_t reason; /* enum mp_reason */
    uint8_t boot_flags;
    uint8_t home;     /* slot */
    uint8_t named;    /* image that release and id name */
    uint8_t cell;     /* of the newest */
    uint8_t running;  /* slot that runs */
    uint8_t image[2]; /* in each slot, SIM_IMAGE_NONE */
    uint8_t sealed;   /* bit s: the image in slot s is complete and verified */
    uint8_t marked;   /* 1 + slot that is being filled, or was last, 0 none */
    uint8_t told;     /* release last told as refused, low bits */
};

/* When a node last completed an image, began a trial and confirmed one. */
struct sim_history {
    sim_time complete_at, installed_at, confirmed_at; /* SIM_NEVER: not */
};

struct sim_gateways; /* gateway.c */
struct sim_lives;    /* life.c */
struct sim_attacks;  /* attack.c */

struct sim_fleet {
    struct sim_engine *e;
    const struct sim_scenario *s;
    const struct sim_field *field;
    uint64_t seed;
    bool is_load;    /* stack = idle-load: no gateways, lives or attackers */
    bool has_relays; /* several models: nodes pass on what they cannot use */
    struct sim_keys keys;
    struct sim_images images;
    struct sim_objects objects;
    struct sim_pool more, bitmaps, relays, histories;
    /* Of all nodes of the world: */
    uint32_t gateway_count;
    uint32_t *gateway;      /* node numbers, ascending */
    uint16_t network_count; /* 1 to this are the networks' ids */
    uint16_t *network;      /* [field->count], NULL with one network */
    uint16_t *place;        /* [field->count] enrolment index, NULL with one network: the node number */
    uint32_t canary_count;
    uint32_t *canary; /* node numbers, ascending */
    /* Of the nodes of this rank, index: node - field->first. */
    struct nf_node *nf;
    struct sim_member *member;
    struct sim_gateways *gateways;
    struct sim_lives *lives;
    struct sim_attacks *attacks;
    /* The call in progress: */
    struct nf_env env;     /* ctx is this struct */
    struct nf_flash flash; /* what the bootloader sees of the node: boot record and seals (boot.c) */
    struct nf_layout layout;
    struct sim_member fresh[SIM_MODELS_MAX]; /* boot record of a new device with that image */
    uint32_t node;
    struct sim_member *m;
    struct nf_node *n;
    sim_time now;                  /* engine's */
    struct mp_relay relay_scratch; /* of a node that has none so far */
};

/* The stack's open and close. */
void *sim_fleet_open(struct sim_engine *e, char *error, size_t cap);
void sim_fleet_close(void *ctx);

/* What follows is about `node` at engine time `now`: sets the call in progress. */
static inline void sim_fleet_enter(struct sim_fleet *f, uint32_t node, sim_time now)
{
    f->node = node;
    f->m = &f->member[node - f->field->first];
    f->n = &f->nf[node - f->field->first];
    f->now = now;
}

/* About any node of the world, from the seed. Node ids are node number + 1. */
uint16_t sim_fleet_network(const struct sim_fleet *f, uint32_t node); /* id, 1 and up */
uint16_t sim_fleet_index(const struct sim_fleet *f, uint32_t node);   /* enrolment index within its network */
uint16_t sim_fleet_model(const struct sim_fleet *f, uint32_t node);   /* 1 and up */
uint8_t sim_fleet_revision(const struct sim_fleet *f, uint32_t node); /* 1 and up */
uint16_t sim_fleet_labels(const struct sim_fleet *f, uint32_t node);  /* bit 0: canary */
bool sim_fleet_is_gateway(const struct sim_fleet *f, uint32_t node);
/* The identity a node starts with; `boot` is left 0 and is_gateway false. */
void sim_fleet_identity(const struct sim_fleet *f, uint32_t node, struct mp_identity *id);

/*
 * A node's clock: local time at an engine's time, and the first engine's time at which the clock shows at least `local`
 * (MP_NEVER: SIM_NEVER). Both never go back. The first is floor(now * drift / 2^40) fast or slow, without leaving 64
 * bits for centuries.
 */
static inline mp_time sim_clock_local(const struct sim_member *m, sim_time now)
{
    bool is_slow = m->drift_q40 < 0;
    uint64_t q = (uint64_t)(is_slow ? -(int64_t)m->drift_q40 : (int64_t)m->drift_q40);
    uint64_t off = ((now >> 20) * q + ((now & 0xFFFFF) * q >> 20)) >> 20;

    return is_slow ? now - off : now + off;
}
sim_time sim_clock_engine(const struct sim_member *m, mp_time local);

#endif
