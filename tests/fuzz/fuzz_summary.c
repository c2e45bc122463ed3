/*
 * SUMMARY body: whatever is accepted is in order and encodes back to the very same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/mesh/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[MP_SUMMARY_MAX];
    struct mp_summary s;

    if (mp_summary_get(&s, data, size) != MP_OK)
        return 0;
    if (s.head_count > MP_RELEASES_MAX || s.manifest_count > MP_MANIFESTS_MAX || s.nonce == 0)
        abort();
    for (unsigned i = 0; i < s.head_count; i++)
        if (s.heads[i].release == 0 || (i && s.heads[i].release <= s.heads[i - 1].release))
            abort();
    if (mp_summary_put(again, &s) != size || memcmp(again, data, size) != 0)
        abort();
    return 0;
}
