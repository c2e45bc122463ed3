#include "gateway_state.h"

#include <string.h>

static bool is_live(struct md_gateway *g, const uint8_t id[8])
{
    struct mp_manifest m;
    uint8_t other[8];
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if (mp_node_manifest(&g->node, &g->env, i, &m, other) == MP_OK && memcmp(other, id, 8) == 0)
            return true;
    return false;
}

void md_gateway_offer_manifests(struct md_gateway *g)
{
    struct mp_directive d;
    uint8_t raw[MP_MANIFEST_SIZE];
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        if (mp_node_directive(&g->node, &g->env, i, &d, NULL, NULL) != MP_OK)
            continue;
        for (unsigned m = 0; m < d.manifest_count; m++) {
            if (is_live(g, d.manifests[m]) || md_store_manifest(g->store, d.manifests[m], raw) != MP_OK)
                continue;
            int bad = mp_node_publish(&g->node, &g->env, md_bearer_now(), MP_TYPE_MANIFEST, raw, sizeof raw);
            if (bad != MP_OK && bad != MP_ERR_BUSY && bad != MP_ERR_DUPLICATE && bad != MP_ERR_OLD)
                md_log(MD_LOG_WARNING, "gateway", "manifest of release %u not published: %s", d.release,
                       mp_strerror(bad));
        }
    }
}

static void place(struct md_gateway *g, const struct mp_manifest *m, const uint8_t id[8])
{
    unsigned p = 0;
    for (unsigned i = 0; i < MP_PLACES_MAX; i++)
        if (g->place_used[i] && memcmp(g->place_id[i], id, 8) == 0)
            return;
    while (p < MP_PLACES_MAX && g->place_used[p])
        p++;
    if (p == MP_PLACES_MAX)
        return;
    int bad = md_store_place(g->store, p, m, id);
    if (bad == MP_OK) {
        bad = mp_node_place(&g->node, &g->env, md_bearer_now(), p, m, id);
        if (bad != MP_OK)
            md_store_unplace(g->store, p);
    }
    if (bad != MP_OK) {
        md_log(MD_LOG_WARNING, "gateway", "payload of release %u cannot be served: %s", m->release,
               bad > -MP_ERROR_COUNT ? mp_strerror(bad) : md_store_error(g->store));
        return;
    }
    g->place_used[p] = true;
    memcpy(g->place_id[p], id, 8);
}

void md_gateway_sync_places(struct md_gateway *g)
{
    struct mp_manifest m;
    uint8_t id[8];
    for (unsigned p = 0; p < MP_PLACES_MAX; p++) {
        if (!g->place_used[p] || is_live(g, g->place_id[p]))
            continue;
        mp_node_drop(&g->node, p);
        md_store_unplace(g->store, p);
        g->place_used[p] = false;
    }
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if (mp_node_manifest(&g->node, &g->env, i, &m, id) == MP_OK)
            place(g, &m, id);
}

void md_gateway_seal_places(struct md_gateway *g)
{
    uint32_t held, positions;
    for (unsigned p = 0; p < MP_PLACES_MAX; p++) {
        if (!g->place_used[p] || mp_node_progress(&g->node, p, &held, &positions) != MP_OK || held != positions ||
            md_store_has_payload(g->store, g->place_id[p]) == MP_OK)
            continue;
        int bad = md_store_seal_place(g->store, p);
        if (bad == MP_ERR_CHUNK) {
            md_log(MD_LOG_WARNING, "gateway", "a fetched payload does not match its manifest; fetching it again");
            mp_node_recheck(&g->node, &g->env, md_bearer_now(), p);
        } else if (bad != MP_OK) {
            md_log(MD_LOG_WARNING, "gateway", "a fetched payload is not kept: %s", md_store_error(g->store));
        }
    }
}
