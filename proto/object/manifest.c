#include "manifest.h"

#include <string.h>

#include "../mp_wire.h"
#include "signed.h"

enum { FORMAT = 1 };

void mp_manifest_put(uint8_t out[MP_MANIFEST_SIZE], const struct mp_manifest *m)
{
    memset(out, 0, MP_MANIFEST_SIGNED);
    out[0] = FORMAT;
    out[1] = m->kind;
    out[2] = m->key_id;
    mp_put32(out + 4, m->product);
    mp_put16(out + 8, m->model);
    mp_put16(out + 10, m->generation);
    mp_put32(out + 12, m->hw_revisions);
    mp_put32(out + 16, m->version);
    mp_put32(out + 20, m->release);
    mp_put32(out + 24, m->security_counter);
    mp_put32(out + 28, m->image_size);
    mp_put32(out + 32, m->payload_size);
    mp_put32(out + 36, m->version_min);
    mp_put32(out + 40, m->expiry_epoch);
    out[44] = m->battery_min_percent;
    memcpy(out + 48, m->salt, 8);
    memcpy(out + 56, m->image_root, MP_HASH_SIZE);
    memcpy(out + 68, m->payload_root, MP_HASH_SIZE);
    memcpy(out + 80, m->base, 8);
    memcpy(out + 88, m->image_sha256, 32);
}

static bool is_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;
    while (len-- > 0)
        any |= *p++;
    return any == 0;
}

static bool is_size(uint32_t size)
{
    return size > 0 && size <= MP_IMAGE_MAX;
}

static bool is_in_range(const struct mp_manifest *m)
{
    if (m->key_id > 1 || m->hw_revisions == 0 || m->release == 0 || m->battery_min_percent > 100)
        return false;
    if (!is_size(m->image_size) || !is_size(m->payload_size))
        return false;
    if (m->kind == MP_PAYLOAD_FULL)
        return m->payload_size == m->image_size && memcmp(m->payload_root, m->image_root, MP_HASH_SIZE) == 0 &&
               is_zero(m->base, sizeof m->base);
    return m->kind == MP_PAYLOAD_DELTA;
}

int mp_manifest_get(struct mp_manifest *m, const uint8_t *data, size_t len)
{
    if (len != MP_MANIFEST_SIZE)
        return MP_ERR_LENGTH;
    if (data[0] != FORMAT || data[3] != 0 || !is_zero(data + 45, 3) || !is_zero(data + 120, 16))
        return MP_ERR_FORMAT;
    m->kind = data[1];
    m->key_id = data[2];
    m->product = mp_get32(data + 4);
    m->model = mp_get16(data + 8);
    m->generation = mp_get16(data + 10);
    m->hw_revisions = mp_get32(data + 12);
    m->version = mp_get32(data + 16);
    m->release = mp_get32(data + 20);
    m->security_counter = mp_get32(data + 24);
    m->image_size = mp_get32(data + 28);
    m->payload_size = mp_get32(data + 32);
    m->version_min = mp_get32(data + 36);
    m->expiry_epoch = mp_get32(data + 40);
    m->battery_min_percent = data[44];
    memcpy(m->salt, data + 48, 8);
    memcpy(m->image_root, data + 56, MP_HASH_SIZE);
    memcpy(m->payload_root, data + 68, MP_HASH_SIZE);
    memcpy(m->base, data + 80, 8);
    memcpy(m->image_sha256, data + 88, 32);
    return is_in_range(m) ? MP_OK : MP_ERR_FORMAT;
}

void mp_manifest_id(const struct mp_crypto *crypto, const uint8_t data[MP_MANIFEST_SIZE], uint8_t id[8])
{
    mp_signed_id(crypto, data, MP_MANIFEST_SIZE, id);
}

int mp_manifest_verify(const struct mp_crypto *crypto, const uint8_t data[MP_MANIFEST_SIZE], const uint8_t pub[32])
{
    return mp_signed_verify(crypto, MP_TAG_MANIFEST, data, MP_MANIFEST_SIGNED, data + MP_MANIFEST_SIGNED, pub);
}

int mp_manifest_check(const struct mp_manifest *m, const struct mp_device *device, bool revert)
{
    if (m->product != device->product || m->model != device->model || device->hw_revision > 31 ||
        (m->hw_revisions >> device->hw_revision & 1) == 0)
        return MP_ERR_MODEL;
    if (m->kind != MP_PAYLOAD_FULL)
        return MP_ERR_UNSUPPORTED;
    if (m->image_size > device->slot_size)
        return MP_ERR_ROOM;
    /* The subtraction cannot wrap behind the first test, the sum could. */
    if (m->security_counter < device->counter_floor ||
        m->security_counter - device->counter_floor > MP_COUNTER_STEP_MAX)
        return MP_ERR_COUNTER;
    if (!revert && m->release <= device->release)
        return MP_ERR_RELEASE;
    if (device->version < m->version_min)
        return MP_ERR_VERSION;
    if (m->expiry_epoch != 0 && device->epoch > m->expiry_epoch)
        return MP_ERR_EXPIRED;
    if (device->battery_percent < m->battery_min_percent)
        return MP_ERR_BATTERY;
    return MP_OK;
}
