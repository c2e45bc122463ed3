#include "keys.h"

#include <sodium.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/signed.h"

#define DOMAIN 0x666C6565u /* keeps these draws apart from those of the engine and the radio */

/* Of SIM_FLEET_KEY: 0 to 2 are the roots. */
enum { KEY_PUBLISHER = 3, KEY_RELEASE, KEY_NETWORK, KEY_REPORT };

/* --- draws -------------------------------------------------------------------------------------------------------- */

void sim_fleet_draw(uint64_t seed, enum sim_fleet_purpose purpose, uint32_t a, uint32_t b, uint32_t out[4])
{
    const uint32_t counter[4] = {a, b, (uint32_t)purpose, DOMAIN};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    sim_philox(counter, key, out);
}

/* -ln(u) in 2^-16 for u = (draw + 1) / 2^32: whole powers of two, then sixteen bits of log2 by squaring, times ln 2. */
static uint64_t minus_log(uint32_t draw)
{
    uint64_t u = (uint64_t)draw + 1;
    unsigned whole = 0;
    uint64_t fraction = 0;

    while (u < (UINT64_C(1) << 32)) {
        u <<= 1;
        whole++;
    }
    /* u is 2^32 times a number from 1 to 2; log2(u0) = -whole + log2(u). */
    for (unsigned i = 0; i < 16; i++) {
        u = (u >> 1) * (u >> 1) >> 30;
        fraction <<= 1;
        if (u >= (UINT64_C(2) << 32)) {
            u >>= 1;
            fraction |= 1;
        }
    }
    return (((uint64_t)whole << 16) - fraction) * 45426 >> 16; /* ln 2 = 45426 / 65536 */
}

sim_time sim_fleet_exponential(sim_time mean_us, uint32_t draw)
{
    uint64_t factor = minus_log(draw);
    sim_time t = (mean_us >> 16) * factor + ((mean_us & 0xFFFF) * factor >> 16);

    return t > 0 ? t : 1;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void bytes_make(uint64_t seed, uint32_t which, uint32_t of, uint8_t out[16])
{
    uint32_t words[4];

    sim_fleet_draw(seed, SIM_FLEET_KEY, which, of, words);
    for (unsigned i = 0; i < 4; i++)
        mp_put32(out + 4 * i, words[i]);
}

static void key_make(struct sim_key *key, uint64_t seed, uint32_t which)
{
    uint8_t bytes[crypto_sign_SEEDBYTES];

    _Static_assert(sizeof bytes == 32, "two draws make a seed");
    bytes_make(seed, which, 0, bytes);
    bytes_make(seed, which, 1, bytes + 16);
    crypto_sign_seed_keypair(key->pub, key->secret, bytes);
}

int sim_keys_make(struct sim_keys *keys, uint64_t seed)
{
    const struct mp_crypto *crypto = crypto_sodium();
    struct mp_keyset set;
    uint8_t root[3][32];

    if (crypto == NULL)
        return -1;
    keys->seed = seed;
    for (uint32_t i = 0; i < 3; i++) {
        key_make(&keys->root[i], seed, i);
        memcpy(root[i], keys->root[i].pub, 32);
    }
    key_make(&keys->publisher, seed, KEY_PUBLISHER);
    key_make(&keys->release, seed, KEY_RELEASE);
    mp_keyset_init(&set, crypto, (const uint8_t(*)[32])root);
    set.publisher[0] = (struct mp_key){.state = MP_KEY_VALID, .generation = 1};
    set.release[0] = set.publisher[0];
    memcpy(set.publisher[0].pub, keys->publisher.pub, 32);
    memcpy(set.release[0].pub, keys->release.pub, 32);
    mp_keyset_put(keys->keyset, &set);
    return 0;
}

void sim_keys_network(const struct sim_keys *keys, uint16_t network, uint8_t key[16])
{
    bytes_make(keys->seed, KEY_NETWORK, network, key);
}

void sim_keys_report(const struct sim_keys *keys, uint32_t node, uint8_t key[16])
{
    bytes_make(keys->seed, KEY_REPORT, node, key);
}

void sim_keys_sign(const struct sim_key *key, const char *tag, const uint8_t *object, size_t len, uint8_t sig[64])
{
    uint8_t message[MP_SIGNED_MAX];

    crypto_sign_detached(sig, NULL, message, mp_signed_message(message, tag, object, len), key->secret);
}
