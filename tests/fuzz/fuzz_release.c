/*
 * Fuzzes what the release engine reads: policies as text, saved rollouts, and sequences of calls, with every call an
 * operator, a node or another gateway can make. The first byte chooses.
 */
#include <stdlib.h>
#include <string.h>

#include "meshd/release/release.h"
#include "node-fw/port/crypto/crypto_sodium.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_policy(const uint8_t *data, size_t size)
{
    struct md_policy p, again;
    char text[MD_POLICY_TEXT_MAX], text_again[MD_POLICY_TEXT_MAX], error[128];
    char *copy = malloc(size + 1);
    if (!copy)
        return;
    memcpy(copy, data, size);
    copy[size] = '\0';
    if (md_policy_parse(&p, copy, NULL, NULL, error, sizeof error) == 0)
        if (md_policy_format(&p, text, sizeof text) < 0 ||
            md_policy_parse(&again, text, NULL, NULL, error, sizeof error) != 0 ||
            md_policy_format(&again, text_again, sizeof text_again) < 0 || strcmp(text, text_again) != 0)
            abort();
    free(copy);
}

static struct md_release *engine(unsigned nodes)
{
    struct md_release *r = md_release_new(crypto_sodium());
    if (!r)
        abort();
    for (uint32_t node = 1; node <= nodes; node++) {
        struct md_fact fact = {.node = node, .product = 1, .model = 1, .labels = (uint16_t)node, .enrolled = true};
        md_release_node(r, 1, &fact);
    }
    return r;
}

static void try_saved(const uint8_t *data, size_t size)
{
    struct md_release *r = engine(4);
    struct md_rollout_info info;
    struct md_want want;
    uint8_t state[MD_RELEASE_STATE_MAX];
    if (md_release_load(r, data, size) == 0) {
        md_release_tick(r, 5000);
        if (md_release_info(r, 0, &info) != 0 || md_release_save(r, info.release, state, sizeof state) < 0)
            abort();
        if (md_release_want(r, info.release, &want) < 0 || want.manifest_count > MP_DIRECTIVE_MANIFESTS_MAX)
            abort();
        md_release_next_expiry(r);
    }
    md_release_free(r);
}

/* Four bytes a call. */
static void call(struct md_release *r, uint64_t *now, const uint8_t c[4])
{
    static const uint8_t to[1][8] = {{99}};
    struct md_want want;
    struct mp_directive head;
    struct mp_report report = {.node = c[1] % 6u + 1,
                               .serial = (uint16_t)(c[1] / 6u),
                               .running = c[2] % 6u,
                               .target = c[2] / 6u % 6u,
                               .phase = c[3] % MP_PHASE_COUNT,
                               .reason = c[3] / MP_PHASE_COUNT % MP_REASON_COUNT};
    struct md_fact fact = {.node = c[1] % 6u + 1,
                           .product = 1,
                           .model = c[3] % 3u,
                           .labels = c[2],
                           .enrolled = c[3] & 16,
                           .retired = c[3] & 32};
    uint32_t release = c[1] % 6u;
    switch (c[0] % 10u) {
    case 0:
        *now += (uint64_t)c[1] * c[2] * 100u;
        break;
    case 1:
        md_release_node(r, *now, &fact);
        break;
    case 2:
    case 3:
        md_release_report(r, *now, &report);
        break;
    case 4:
        md_release_hold(r, *now, release, "a");
        break;
    case 5:
        md_release_resume(r, *now, release, "a");
        break;
    case 6:
        md_release_advance(r, *now, release, "a");
        break;
    case 7:
        md_release_revert(r, *now, release, c[2], to, 1, "a");
        break;
    case 8:
        if (md_release_want(r, release, &want) == 0) {
            md_want_directive(&want, NULL, NULL, &head);
            head.action = c[2] % 4u;
            head.share = c[3];
            md_release_head(r, *now, &head, c[3] & 1);
        }
        break;
    default:
        if (c[2] & 1)
            md_release_drop(r, release);
        else
            md_release_gap(r, *now, c[3] * 1000u);
        break;
    }
    md_release_tick(r, *now);
}

static void try_calls(const uint8_t *data, size_t size)
{
    struct md_release *r = engine(4);
    struct md_rollout_config config = {.salt = 7, .image_count = 1};
    struct md_counts counts;
    struct md_want want;
    struct md_decision decision;
    uint64_t now = 1000;
    config.image[0] = (struct md_release_image){{1}, 1, 1, 1, 1};
    md_policy_parse(
        &config.policy,
        "confirm=1 cap=2 roll-call=5; a: label=0 soak=3 deadline=10; b: share=50% deadline=20; c: share=100%", NULL,
        NULL, NULL, 0);
    for (uint32_t release = 1; release <= 3; release++) {
        config.release = release;
        config.image[0].id[0] = (uint8_t)release;
        md_release_start(r, now, &config, "a", NULL, 0);
    }
    for (; size >= 4; data += 4, size -= 4) {
        call(r, &now, data);
        for (uint32_t release = 1; release <= 3; release++) {
            if (md_release_want(r, release, &want) < 0)
                continue;
            /* whatever happened, what is to be signed is well formed */
            if (want.share > MP_SHARE_ALL || want.manifest_count < 1 || want.manifest_count > 2)
                abort();
            if (md_release_counts(r, release, MD_RING_TOTAL, &counts) < 0 || counts.members > 6)
                abort();
        }
        while (md_release_decision(r, &decision))
            if (decision.text[0] == '\0')
                abort();
    }
    md_release_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        try_policy(data + 1, size - 1);
        break;
    case 1:
        try_saved(data + 1, size - 1);
        break;
    default:
        try_calls(data + 1, size - 1);
        break;
    }
    return 0;
}
