/*
 * Storage of simulated nodes: struct mp_store and struct nf_storage over what all nodes of a rank share. Records are
 * interned by content, payloads exist once (image.h), a node holds a bitmap of the one it fetches. No pointers in what
 * a node owns: indices into tables, so that a checkpoint is a write.
 *
 * A chunk that the engine wants to store was verified against the manifest, so it must equal the shared payload's: that
 * it does is checked, and ends the run if not.
 */
#ifndef SIM_FLEET_STORE_H
#define SIM_FLEET_STORE_H

#include "node-fw/store/storage.h"
#include "sim/engine/archive.h"

/* Equal items addressed by index; index 0 is never given out. Freed ones are used again, lowest last. */
struct sim_pool {
    uint8_t *data;
    uint32_t item;  /* bytes of one, at least 4 */
    uint32_t count; /* given out so far, 0 included */
    uint32_t cap;
    uint32_t free; /* chain of freed ones, 0 none */
};
void sim_pool_init(struct sim_pool *p, uint32_t item);
void sim_pool_close(struct sim_pool *p);
/* A zeroed item, or 0: out of memory. */
uint32_t sim_pool_take(struct sim_pool *p);
void sim_pool_give(struct sim_pool *p, uint32_t index);
static inline void *sim_pool_at(const struct sim_pool *p, uint32_t index)
{
    return p->data + (size_t)index * p->item;
}
int sim_pool_save(const struct sim_pool *p, struct sim_archive *a);
int sim_pool_load(struct sim_pool *p, struct sim_archive *a);
size_t sim_pool_bytes(const struct sim_pool *p);

/* Records by content, with counts of how many nodes hold them. */
struct sim_objects {
    struct sim_pool head;                         /* struct sim_object, see store.c */
    struct sim_pool body[MP_RECORD_MAX / 32 + 1]; /* of (i + 1) * 32 bytes */
    uint32_t *bucket;                             /* first of each chain, [mask + 1] */
    uint32_t mask;
    uint32_t live;
};
int sim_objects_open(struct sim_objects *o);
void sim_objects_close(struct sim_objects *o);
/* Index (1 and up, below 2^24) of this content, one more holder; 0: out of memory. len 1 to MP_RECORD_MAX. */
uint32_t sim_objects_hold(struct sim_objects *o, const uint8_t *data, size_t len);
void sim_objects_drop(struct sim_objects *o, uint32_t index);
const uint8_t *sim_objects_at(const struct sim_objects *o, uint32_t index, size_t *len);
int sim_objects_save(const struct sim_objects *o, struct sim_archive *a);
int sim_objects_load(struct sim_objects *o, struct sim_archive *a);
size_t sim_objects_bytes(const struct sim_objects *o);

/* Bytes of a block of further records: an item of sim_fleet.more. */
extern const uint32_t sim_record_block_size;

/* Tables for struct mp_env and struct nf_env; their ctx is the struct sim_fleet, about the node it is in
 * (sim_fleet_enter). */
extern const struct mp_store sim_fleet_store;
extern const struct nf_storage sim_fleet_storage;

#endif
