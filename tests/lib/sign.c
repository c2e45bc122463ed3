#include "sign.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/signed.h"
#include "proto/object/tree.h"
#include "proto/mp_wire.h"

static const struct mp_crypto *crypto(void)
{
    const struct mp_crypto *table = crypto_sodium();
    if (table == NULL)
        abort();
    return table;
}

void sign_key_make(struct sign_key *key, uint8_t seed)
{
    uint8_t bytes[crypto_sign_SEEDBYTES];

    memset(bytes, seed, sizeof bytes);
    (void)crypto();
    crypto_sign_seed_keypair(key->pub, key->secret, bytes);
}

void sign_bytes(uint8_t sig[64], const char *tag, const uint8_t *object, size_t len, const struct sign_key *key)
{
    uint8_t message[MP_SIGNED_MAX];

    if (len > MP_SIGNED_BODY_MAX)
        abort();
    crypto_sign_detached(sig, NULL, message, mp_signed_message(message, tag, object, len), key->secret);
}

void sign_manifest(uint8_t out[MP_MANIFEST_SIZE], const struct mp_manifest *m, const struct sign_key *publisher)
{
    mp_manifest_put(out, m);
    sign_bytes(out + MP_MANIFEST_SIGNED, MP_TAG_MANIFEST, out, MP_MANIFEST_SIGNED, publisher);
}

size_t sign_directive(uint8_t out[MP_DIRECTIVE_MAX], const struct mp_directive *d, const struct sign_key *release)
{
    size_t len = mp_directive_put(out, d);

    sign_bytes(out + len, MP_TAG_DIRECTIVE, out, len, release);
    return len + MP_SIGNATURE_SIZE;
}

size_t sign_receipt(uint8_t out[MP_RECEIPT_MAX], const struct mp_receipt *r, const struct sign_key *release)
{
    size_t len = mp_receipt_put(out, r);

    sign_bytes(out + len, MP_TAG_RECEIPT, out, len, release);
    return len + MP_SIGNATURE_SIZE;
}

void sign_keychange(uint8_t out[MP_KEYCHANGE_SIZE], const struct mp_keychange *c, const struct sign_key *first,
                    const struct sign_key *second)
{
    mp_keychange_put(out, c);
    sign_bytes(out + MP_KEYCHANGE_SIGNED, MP_TAG_KEYCHANGE, out, MP_KEYCHANGE_SIGNED, first);
    sign_bytes(out + MP_KEYCHANGE_SIGNED + MP_SIGNATURE_SIZE, MP_TAG_KEYCHANGE, out, MP_KEYCHANGE_SIGNED, second);
}

void sign_fleet_make(struct sign_fleet *fleet)
{
    uint8_t root[3][32];

    for (uint8_t i = 0; i < 3; i++) {
        sign_key_make(&fleet->root[i], (uint8_t)(i + 1));
        memcpy(root[i], fleet->root[i].pub, 32);
    }
    sign_key_make(&fleet->publisher, 16);
    sign_key_make(&fleet->release, 32);
    mp_keyset_init(&fleet->keyset, crypto(), (const uint8_t(*)[32])root);
    fleet->keyset.publisher[0] = (struct mp_key){.state = MP_KEY_VALID, .generation = 1};
    fleet->keyset.release[0] = fleet->keyset.publisher[0];
    memcpy(fleet->keyset.publisher[0].pub, fleet->publisher.pub, 32);
    memcpy(fleet->keyset.release[0].pub, fleet->release.pub, 32);
}

void sign_manifest_fill(struct mp_manifest *m, uint16_t model, uint32_t release)
{
    *m = (struct mp_manifest){
        .kind = MP_PAYLOAD_FULL,
        .generation = 1,
        .product = 1,
        .model = model,
        .hw_revisions = UINT32_MAX,
        .version = release << 24,
        .release = release,
    };
    mp_put64(m->salt, 0x5A17000000000000u | release);
}

struct image {
    const uint8_t *bytes;
};

static int image_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct image *image = ctx;
    memcpy(data, image->bytes + offset, len);
    return 0;
}

void sign_manifest_image(struct mp_manifest *m, const uint8_t *image, size_t size)
{
    struct image ctx = {image};
    struct mp_tree tree;

    if (size > MP_IMAGE_MAX || mp_tree_init(&tree, (uint32_t)size) != MP_OK)
        abort();
    mp_tree_build(&tree, crypto(), m->salt, image_read, NULL, &ctx, m->image_root);
    memcpy(m->payload_root, m->image_root, MP_HASH_SIZE);
    m->image_size = m->payload_size = (uint32_t)size;
    crypto_hash_sha256(m->image_sha256, image, size);
}

void sign_directive_fill(struct mp_directive *d, enum mp_action action, uint16_t network, uint32_t release,
                         uint32_t sequence, const uint8_t id[8])
{
    *d = (struct mp_directive){
        .action = (uint8_t)action,
        .manifest_count = 1,
        .network = network,
        .generation = 1,
        .share = MP_SHARE_ALL,
        .confirm_s = 60,
        .release = release,
        .sequence = sequence,
        .floor = action == MP_ACTION_HOLD ? sequence : 0,
    };
    memcpy(d->manifests[0], id, 8);
}
