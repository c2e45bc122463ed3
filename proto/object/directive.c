#include "directive.h"

#include <string.h>

#include "../mp_wire.h"
#include "signed.h"

enum { FORMAT = 1, CONFIRM_MAX_S = 3600 };

size_t mp_directive_put(uint8_t out[MP_DIRECTIVE_MAX], const struct mp_directive *d)
{
    size_t count = d->manifest_count <= MP_DIRECTIVE_MANIFESTS_MAX ? d->manifest_count : MP_DIRECTIVE_MANIFESTS_MAX;

    memset(out, 0, MP_DIRECTIVE_FIXED);
    out[0] = FORMAT;
    out[1] = d->action;
    out[2] = d->key_id;
    out[3] = d->manifest_count;
    mp_put16(out + 4, d->network);
    mp_put16(out + 6, d->generation);
    mp_put32(out + 8, d->release);
    mp_put32(out + 12, d->sequence);
    mp_put32(out + 16, d->floor);
    memcpy(out + 20, d->previous, 8);
    mp_put16(out + 28, d->labels);
    mp_put16(out + 30, d->share);
    mp_put16(out + 32, d->spread_s);
    mp_put16(out + 34, d->confirm_s);
    mp_put32(out + 36, d->epoch);
    mp_put32(out + 40, d->salt);
    out[44] = d->flags;
    memcpy(out + MP_DIRECTIVE_FIXED, d->manifests, 8 * count);
    return MP_DIRECTIVE_FIXED + 8 * count;
}

static bool has_duplicates(const struct mp_directive *d)
{
    for (unsigned i = 1; i < d->manifest_count; i++)
        for (unsigned j = 0; j < i; j++)
            if (memcmp(d->manifests[i], d->manifests[j], 8) == 0)
                return true;
    return false;
}

static bool is_in_range(const struct mp_directive *d)
{
    if (d->action > MP_ACTION_REVERT || d->key_id > 1 || (d->flags & ~MP_DIRECTIVE_FLAGS) != 0)
        return false;
    if (d->release == 0 || d->sequence == 0 || d->share > MP_SHARE_ALL)
        return false;
    if (d->confirm_s == 0 || d->confirm_s > CONFIRM_MAX_S)
        return false;
    if (d->action == MP_ACTION_HOLD ? d->floor != d->sequence : d->floor >= d->sequence)
        return false;
    if (d->action == MP_ACTION_REVERT && d->manifest_count % 2 != 0)
        return false;
    return !has_duplicates(d);
}

int mp_directive_get(struct mp_directive *d, const uint8_t *data, size_t len)
{
    if (len < MP_DIRECTIVE_MIN || len > MP_DIRECTIVE_MAX)
        return MP_ERR_LENGTH;
    if (data[0] != FORMAT || data[3] == 0 || data[3] > MP_DIRECTIVE_MANIFESTS_MAX)
        return MP_ERR_FORMAT;
    if (len != MP_DIRECTIVE_FIXED + 8u * data[3] + MP_SIGNATURE_SIZE)
        return MP_ERR_LENGTH;
    if ((data[45] | data[46] | data[47]) != 0)
        return MP_ERR_FORMAT;
    d->action = data[1];
    d->key_id = data[2];
    d->manifest_count = data[3];
    d->network = mp_get16(data + 4);
    d->generation = mp_get16(data + 6);
    d->release = mp_get32(data + 8);
    d->sequence = mp_get32(data + 12);
    d->floor = mp_get32(data + 16);
    memcpy(d->previous, data + 20, 8);
    d->labels = mp_get16(data + 28);
    d->share = mp_get16(data + 30);
    d->spread_s = mp_get16(data + 32);
    d->confirm_s = mp_get16(data + 34);
    d->epoch = mp_get32(data + 36);
    d->salt = mp_get32(data + 40);
    d->flags = data[44];
    memset(d->manifests, 0, sizeof d->manifests);
    memcpy(d->manifests, data + MP_DIRECTIVE_FIXED, 8u * d->manifest_count);
    return is_in_range(d) ? MP_OK : MP_ERR_FORMAT;
}

void mp_directive_id(const struct mp_crypto *crypto, const uint8_t *data, size_t len, uint8_t id[8])
{
    mp_signed_id(crypto, data, len, id);
}

int mp_directive_verify(const struct mp_crypto *crypto, const uint8_t *data, size_t len, const uint8_t pub[32])
{
    if (len < MP_DIRECTIVE_MIN || len > MP_DIRECTIVE_MAX)
        return MP_ERR_LENGTH;
    len -= MP_SIGNATURE_SIZE;
    return mp_signed_verify(crypto, MP_TAG_DIRECTIVE, data, len, data + len, pub);
}

struct mp_head mp_directive_head(const struct mp_directive *d, const uint8_t id[8])
{
    return (struct mp_head){
        .release = d->release,
        .floor = d->floor,
        .sequence = d->sequence,
        .digest = mp_get32(id),
        .generation = d->generation,
    };
}

bool mp_head_is_hold(const struct mp_head *h)
{
    return h->floor == h->sequence;
}

static int compare(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int mp_head_compare(const struct mp_head *a, const struct mp_head *b)
{
    int order = compare(a->generation, b->generation);

    if (order == 0)
        order = compare(a->floor, b->floor);
    if (order == 0)
        order = compare(!mp_head_is_hold(a), !mp_head_is_hold(b));
    if (order == 0)
        order = compare(a->sequence, b->sequence);
    if (order == 0)
        order = compare(a->digest, b->digest);
    return order;
}

/* A little-endian u64 mod m, m below 2^28, a nibble at a time: small parts have no 64-bit division. */
static uint32_t mod64(const uint8_t le[8], uint32_t m)
{
    uint32_t rest = 0;

    for (unsigned i = 8; i-- > 0;) {
        rest = (rest << 4 | le[i] >> 4) % m;
        rest = (rest << 4 | (le[i] & 15u)) % m;
    }
    return rest;
}

unsigned mp_directive_draw(const struct mp_crypto *crypto, uint32_t salt, uint32_t node, uint16_t spread_s,
                           uint32_t *spread_ms)
{
    struct mp_sha256 state;
    uint8_t digest[32];

    memcpy(digest, "meshfw-share---1", MP_TAG_LEN);
    mp_put32(digest + MP_TAG_LEN, salt);
    mp_put32(digest + MP_TAG_LEN + 4, node);
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, digest, MP_TAG_LEN + 8);
    crypto->sha256_final(&state, digest);
    if (spread_ms != NULL)
        *spread_ms = mod64(digest + 8, spread_s * 1000u + 1);
    return mod64(digest, MP_SHARE_ALL);
}

bool mp_directive_is_in(const struct mp_crypto *crypto, const struct mp_directive *d, uint32_t node, uint16_t labels)
{
    if ((d->labels & labels) != 0)
        return true;
    return d->share > mp_directive_draw(crypto, d->salt, node, 0, NULL);
}

int mp_directive_find(const struct mp_directive *d, const uint8_t id[8])
{
    for (unsigned i = 0; i < d->manifest_count && i < MP_DIRECTIVE_MANIFESTS_MAX; i++)
        if (memcmp(d->manifests[i], id, 8) == 0)
            return (int)i;
    return -1;
}
