/* Exact copies of a release engine from hostile bytes: refused, or an engine that can be used. */
#include <string.h>

#include "meshd/release/release.h"
#include "node-fw/port/crypto/crypto_sodium.h"

struct input {
    const uint8_t *data;
    size_t len;
};

static int get(void *ctx, void *data, size_t size)
{
    struct input *in = ctx;
    if (size > in->len)
        return MP_ERR_LENGTH;
    memcpy(data, in->data, size);
    in->data += size;
    in->len -= size;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct md_release *r = md_release_new(crypto_sodium());
    struct md_decision d;
    struct md_release_node n;
    if (r != NULL && md_release_undump(r, get, &in) == MP_OK) {
        md_release_tick(r, UINT64_MAX / 4);
        while (md_release_decision(r, &d))
            ;
        while (md_release_pop_node(r, &n))
            ;
    }
    md_release_free(r);
    return 0;
}
