/*
 * What the gateway signs, and under which key.
 *
 * A directive is based on the mesh's head: whoever signed it, it is read first, and sequence, floor and previous follow
 * from it. When two gateways sign the same sequence the total order decides; the loser reads the winner as its head and
 * either agrees with it or holds (md_release_head). The epoch is the day number of UTC; it rises with the clock, never
 * falls, and a clock that is ten years ahead of what the mesh knows is not believed, since an epoch cannot be taken
 * back.
 */
#include "gateway_state.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../ctl/pack.h"

#define EPOCH_LEAP_MAX 3650 /* days */
#define RECEIPT_GAP MP_SECONDS(2)
#define RECEIPT_IDLE MP_SECONDS(3600)

/* --- keys --------------------------------------------------------------------------------------------------------- */

int md_gateway_read_keyset(struct md_gateway *g)
{
    uint8_t record[MP_RECORD_MAX];
    int n = md_store_engine()->get(g->store, MP_KIND_KEYSET, 0, record, sizeof record);
    if (n <= 0)
        return n == 0 ? MP_ERR_ABSENT : n;
    int bad = mp_keyset_get(&g->keyset, record, (size_t)n);
    if (bad != MP_OK)
        return bad;
    if (!g->key.has_secret) {
        g->cannot_sign = "no release key is configured";
        return MP_OK;
    }
    g->cannot_sign = "the release key is not in the network's keyset";
    for (uint8_t id = 0; id < 2; id++) {
        const struct mp_key *k = &g->keyset.release[id];
        if (k->state == MP_KEY_NONE || memcmp(k->pub, g->key.pub, 32) != 0)
            continue;
        g->key_id = id;
        g->key_generation = k->generation;
        g->cannot_sign = k->state == MP_KEY_VALID ? "" : "the release key is revoked";
    }
    return MP_OK;
}

static int adopt_keyset_file(struct md_gateway *g, char *error, size_t cap)
{
    uint8_t *data = NULL;
    size_t len = 0;
    struct mp_keyset set;
    if (md_file_read(g->config.keyset, MP_KEYSET_SIZE, &data, &len, error, cap) != MP_OK)
        return -1;
    int bad = mp_keyset_get(&set, data, len);
    if (bad == MP_OK && md_store_engine()->put(g->store, MP_KIND_KEYSET, 0, data, len) != MP_OK)
        bad = MP_ERR_STORE;
    free(data);
    if (bad != MP_OK)
        snprintf(error, cap, "%s: no keyset record (%s)", g->config.keyset, mp_strerror(bad));
    return bad == MP_OK ? 0 : -1;
}

static int read_release_key(struct md_gateway *g, char *error, size_t cap)
{
    char passphrase[MD_PASSPHRASE_MAX] = "";
    if (g->config.release_key[0] == '\0')
        return 0;
    if (g->config.release_passphrase[0] != '\0') {
        uint8_t *data = NULL;
        size_t len = 0;
        if (md_file_read(g->config.release_passphrase, sizeof passphrase - 1, &data, &len, error, cap) != MP_OK)
            return -1;
        while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
            len--;
        memcpy(passphrase, data, len);
        passphrase[len] = '\0';
        sodium_memzero(data, len);
        free(data);
    }
    int bad = md_key_read(g->config.release_key, &g->key, passphrase, error, cap);
    sodium_memzero(passphrase, sizeof passphrase);
    if (bad != MP_OK)
        return -1;
    if (g->key.role != MP_ROLE_RELEASE || !g->key.has_secret) {
        snprintf(error, cap, "%s: not a release key with its secret", g->config.release_key);
        return -1;
    }
    return 0;
}

int md_gateway_load_keys(struct md_gateway *g, char *error, size_t cap)
{
    if (read_release_key(g, error, cap) < 0)
        return -1;
    int bad = md_gateway_read_keyset(g);
    if (bad == MP_ERR_ABSENT) {
        if (adopt_keyset_file(g, error, cap) < 0)
            return -1;
        bad = md_gateway_read_keyset(g);
    }
    if (bad != MP_OK) {
        snprintf(error, cap, "%s: the stored keyset cannot be read: %s", g->config.database,
                 bad > -MP_ERROR_COUNT ? mp_strerror(bad) : md_store_strerror(bad));
        return -1;
    }
    if (g->cannot_sign[0] != '\0')
        md_log(MD_LOG_WARNING, "gateway", "signs nothing: %s", g->cannot_sign);
    return 0;
}

/* --- directives --------------------------------------------------------------------------------------------------- */

/* The mesh's head of a release: 0, or MP_ERR_ABSENT. */
static int find_head(struct md_gateway *g, uint32_t release, struct mp_directive *d, uint8_t id[8])
{
    uint8_t raw[MP_DIRECTIVE_MAX];
    size_t len = 0;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        if (mp_node_directive(&g->node, &g->env, i, d, raw, &len) != MP_OK || d->release != release)
            continue;
        mp_directive_id(g->env.crypto, raw, len, id);
        return MP_OK;
    }
    return MP_ERR_ABSENT;
}

void md_gateway_feed_heads(struct md_gateway *g)
{
    struct md_rollout_info info;
    struct mp_directive head;
    uint8_t id[8];
    for (unsigned i = 0; md_release_info(g->release, i, &info) == MP_OK; i++)
        if (find_head(g, info.release, &head, id) == MP_OK)
            md_release_head(g->release, (uint64_t)md_gateway_now_ms(g), &head, md_store_is_own(g->store, id) == MP_OK);
}

static uint32_t today(struct md_gateway *g)
{
    uint32_t known = mp_node_epoch(&g->node);
    time_t now = time(NULL);
    uint32_t day = now > 0 ? (uint32_t)(now / 86400) : 0;
    if (known != 0 && day > known + EPOCH_LEAP_MAX) {
        if (!g->clock_told)
            md_log(MD_LOG_ERROR, "gateway", "the clock says day %u, the mesh day %u: not believed", day, known);
        g->clock_told = true;
        return known;
    }
    return day > known ? day : known;
}

static struct md_unpublished *unpublished(struct md_gateway *g, uint32_t release)
{
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++)
        if (g->unpublished[i].release == release)
            return &g->unpublished[i];
    return NULL;
}

static int sign_one(struct md_gateway *g, const struct md_want *want, const struct mp_directive *head,
                    const uint8_t head_id[8], uint32_t epoch)
{
    struct mp_directive d;
    struct md_unpublished *u = unpublished(g, 0);
    uint8_t id[8];
    if (u == NULL)
        return MP_OK; /* four wait already; the next tick comes back */
    md_want_directive(want, head, head_id, &d);
    d.network = g->config.network;
    d.key_id = g->key_id;
    d.generation = g->key_generation;
    d.epoch = epoch;
    size_t len = mp_directive_put(u->object, &d);
    md_sign(MD_OBJECT_DIRECTIVE, g->key.secret, u->object, len, u->object + len);
    len += 64;
    mp_directive_id(g->env.crypto, u->object, len, id);
    int bad = md_store_add_signed(g->store, d.release, d.sequence, id, u->object, len, md_gateway_now_ms(g));
    if (bad != MP_OK)
        return bad;
    u->release = d.release;
    u->len = len;
    g->has_news = true;
    static const char *const actions[] = {"stage", "open", "hold", "revert"};
    md_log(MD_LOG_INFO, "gateway", "release %u: signed directive %u, %s, labels 0x%04x, share %u.%02u%%", d.release,
           d.sequence, actions[d.action & 3], d.labels, d.share / 100, d.share % 100);
    return MP_OK;
}

int md_gateway_sign_wanted(struct md_gateway *g)
{
    struct md_rollout_info info;
    if (g->cannot_sign[0] != '\0')
        return MP_OK;
    uint32_t epoch = today(g), newest = 0;
    for (unsigned i = 0; md_release_info(g->release, i, &info) == MP_OK; i++)
        newest = info.release;
    for (unsigned i = 0; md_release_info(g->release, i, &info) == MP_OK; i++) {
        struct md_want want;
        struct mp_directive head;
        uint8_t id[8] = {0};
        if (md_release_want(g->release, info.release, &want) != MP_OK || !want.sign ||
            unpublished(g, info.release) != NULL)
            continue;
        bool has_head = find_head(g, info.release, &head, id) == MP_OK;
        /* the epoch ticks with the newest release alone: one object a day is enough for the whole mesh */
        bool ticks = has_head && info.release == newest && head.epoch < epoch;
        /* a rotated release key signs again what the old one had signed, else its directives would count as of old */
        bool rekeyed = has_head && head.generation < g->key_generation;
        if (!md_want_differs(&want, has_head ? &head : NULL) && !ticks && !rekeyed)
            continue;
        int bad = sign_one(g, &want, has_head ? &head : NULL, id, epoch);
        if (bad != MP_OK)
            return bad;
    }
    return MP_OK;
}

void md_gateway_publish(struct md_gateway *g)
{
    bool any = false;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        struct md_unpublished *u = &g->unpublished[i];
        if (u->release == 0)
            continue;
        int bad = mp_node_publish(&g->node, &g->env, md_bearer_now(), MP_TYPE_DIRECTIVE, u->object, u->len);
        if (bad == MP_ERR_BUSY)
            continue;
        if (bad != MP_OK)
            md_log(MD_LOG_WARNING, "gateway", "release %u: directive not taken: %s", u->release, mp_strerror(bad));
        u->release = 0;
        any = true;
    }
    if (!any)
        return;
    md_gateway_feed_heads(g);
    md_gateway_offer_manifests(g);
    md_gateway_sync_places(g);
}

/* --- receipts ----------------------------------------------------------------------------------------------------- */

void md_gateway_receipt(struct md_gateway *g)
{
    uint8_t object[MP_RECEIPT_MAX];
    mp_time now = md_bearer_now();
    uint16_t generation;
    if (g->cannot_sign[0] != '\0')
        return;
    if (g->receipt_at != 0 && now - g->receipt_at < RECEIPT_GAP)
        return;
    if (g->receipt_at != 0 && !md_registry_receipt_due(g->registry) && now - g->receipt_at < RECEIPT_IDLE)
        return;
    int n = md_registry_receipt(g->registry, mp_node_round(&g->node, &generation), g->key_id, g->key_generation,
                                g->key.secret, object);
    if (n <= 0) {
        md_log(MD_LOG_WARNING, "gateway", "no receipt: %s", md_registry_error(g->registry));
        return;
    }
    int bad = mp_node_publish(&g->node, &g->env, now, MP_TYPE_RECEIPT, object, (size_t)n);
    if (bad != MP_OK)
        md_log(MD_LOG_WARNING, "gateway", "receipt not taken: %s", mp_strerror(bad));
    g->receipt_at = now;
}
