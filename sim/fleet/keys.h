/*
 * Keys of a simulated world, all from its seed: three roots, one publisher, one release key, a network key for every
 * network and a report key for every node. Real Ed25519 through libsodium. Reentrant.
 */
#ifndef SIM_FLEET_KEYS_H
#define SIM_FLEET_KEYS_H

#include "proto/object/keyset.h"
#include "sim/radio/radio.h"

/* What the fleet draws from the seed alone, besides each node's own sequence (sim_engine_random()). */
enum sim_fleet_purpose {
    SIM_FLEET_KEY = 1, /* a: which; b: network, node */
    SIM_FLEET_PAYLOAD,
    SIM_FLEET_MODEL,
    SIM_FLEET_REVISION,
    SIM_FLEET_CANARY,
    SIM_FLEET_DRIFT,
    SIM_FLEET_FAULT,
    SIM_FLEET_LIFE,  /* life.c */
    SIM_FLEET_ATTACK /* attack.c */
};
/* Four uniform numbers named by purpose, a and b. */
void sim_fleet_draw(uint64_t seed, enum sim_fleet_purpose purpose, uint32_t a, uint32_t b, uint32_t out[4]);
/* Exponential with this mean, at least 1 us, from one uniform number; integers only, the logarithm to 2^-16. */
sim_time sim_fleet_exponential(sim_time mean_us, uint32_t draw);

struct sim_key {
    uint8_t pub[32];
    uint8_t secret[64]; /* libsodium's form */
};

struct sim_keys {
    uint64_t seed;
    struct sim_key root[3];
    struct sim_key publisher; /* id 0, generation 1 */
    struct sim_key release;   /* id 0, generation 1 */
    uint8_t keyset[MP_KEYSET_SIZE];
};

/* 0, or -1: libsodium does not start. */
int sim_keys_make(struct sim_keys *keys, uint64_t seed);
/* Key of a network (its only one: slot 0, key id 1), and of a node's reports. */
void sim_keys_network(const struct sim_keys *keys, uint16_t network, uint8_t key[16]);
void sim_keys_report(const struct sim_keys *keys, uint32_t node, uint8_t key[16]);
/* Signs `len` bytes (at most MP_SIGNED_BODY_MAX) under a domain tag of proto/object/signed.h: what follows the object. */
void sim_keys_sign(const struct sim_key *key, const char *tag, const uint8_t *object, size_t len, uint8_t sig[64]);

#endif
