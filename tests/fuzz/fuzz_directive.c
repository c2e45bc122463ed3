/* What decodes as a directive encodes to the same bytes and keeps its bounds; the order of any two is antisymmetric. */
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/directive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void check_bounds(const struct mp_directive *d)
{
    expect(d->manifest_count >= 1 && d->manifest_count <= MP_DIRECTIVE_MANIFESTS_MAX);
    expect(d->action <= MP_ACTION_REVERT && d->share <= MP_SHARE_ALL && d->release != 0 && d->sequence != 0);
    expect(d->confirm_s >= 1 && d->confirm_s <= 3600);
    expect(d->action == MP_ACTION_HOLD ? d->floor == d->sequence : d->floor < d->sequence);
    for (int i = 0; i < d->manifest_count; i++)
        expect(mp_directive_find(d, d->manifests[i]) == i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t pub[32] = {1};
    const struct mp_crypto *crypto = crypto_sodium();
    struct mp_directive d;
    struct mp_head head, other;
    uint8_t again[MP_DIRECTIVE_MAX], id[8];
    uint32_t spread_ms;
    int result = mp_directive_get(&d, data, size);

    expect(result == MP_OK || result == MP_ERR_LENGTH || result == MP_ERR_FORMAT);
    if (result != MP_OK)
        return 0;
    expect(mp_directive_put(again, &d) + 64 == size);
    expect(memcmp(again, data, size - 64) == 0);
    check_bounds(&d);
    expect(mp_directive_verify(crypto, data, size, pub) == MP_ERR_SIGNATURE);
    mp_directive_id(crypto, data, size, id);
    head = mp_directive_head(&d, id);
    expect(mp_head_is_hold(&head) == (d.action == MP_ACTION_HOLD));
    expect(mp_head_compare(&head, &head) == 0);
    other = head;
    other.floor ^= data[size - 1] & 3u;
    other.sequence ^= data[size - 2] & 3u;
    other.digest ^= data[size - 3] & 3u;
    expect(mp_head_compare(&head, &other) == -mp_head_compare(&other, &head));
    expect((mp_head_compare(&head, &other) == 0) == (((data[size - 1] | data[size - 2] | data[size - 3]) & 3) == 0));
    expect(mp_directive_draw(crypto, d.salt, d.release, d.spread_s, &spread_ms) < 10000);
    expect(spread_ms <= d.spread_s * 1000u);
    if (d.share == MP_SHARE_ALL)
        expect(mp_directive_is_in(crypto, &d, d.release, 0));
    return 0;
}
