/*
 * Serial recovery, host side: a part that answers anything. The run ends within its bounds, does not read or write out
 * of bounds, and says DONE only of a part that said so; a description of a part that is taken fits its flash.
 */
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/recover.h"
#include "proto/mp_wire.h"
#include "proto/object/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE = 20 * MP_CHUNK_SIZE - 5, STEPS_MAX = 20000 };

static struct md_recover host;
static uint8_t settings[MP_SETTINGS_SIZE], manifest[MP_MANIFEST_SIZE], payload[SIZE], tree[8 * MP_CHUNK_SIZE];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void prepare(struct md_recover_plan *plan, unsigned flags)
{
    struct mp_manifest m = {.hw_revisions = 1, .release = 1, .image_size = SIZE, .payload_size = SIZE};

    mp_manifest_put(manifest, &m);
    mp_put32(settings + 8, 7);
    *plan = (struct md_recover_plan){.erase = (flags & 1) != 0,
                                     .settings = (flags & 2) != 0 ? settings : NULL,
                                     .manifest = (flags & 4) != 0 ? manifest : NULL,
                                     .id = {1, 2, 3, 4, 5, 6, 7, 8},
                                     .payload = payload,
                                     .tree = (flags & 8) != 0 ? tree : NULL,
                                     .slot = (flags & 16) != 0 ? (int)(flags >> 5 & 1) : -1,
                                     .reset = (flags & 64) != 0,
                                     .patience_ms = 5000};
}

/* A reply to HELLO that can be, with some bytes of the input. */
static size_t hello(uint8_t *out, const uint8_t *data, size_t size)
{
    static const uint32_t layout[] = {0, 2048, 3072, 8192, 16384, 32768, 16384, 0x8000, 0x10000, 0, 0};
    struct boot_record record = {.sequence = 1, .state = BOOT_CONFIRMED, .id = {1, 2, 3, 4, 5, 6, 7, 8}};

    memset(out, 0, BOOT_RECOVERY_HELLO_SIZE);
    out[1] = BOOT_RECOVERY_VERSION;
    out[2] = 4;
    out[3] = size > 0 ? data[0] & 3 : 0;
    mp_put32(out + 16, 65536);
    mp_put32(out + 20, 1024);
    for (unsigned i = 0; i < 11; i++)
        mp_put32(out + 24 + 4 * i, layout[i]);
    if (size > 0 && (data[0] & 4) != 0)
        memcpy(out + 68, record.id, 8);
    if (size > 0 && (data[0] & 8) != 0)
        mp_put32(out + 84, 7);
    if (size > 0 && (data[0] & 16) != 0)
        boot_record_put(out + 88, &record);
    for (size_t i = 1; i + 1 < size; i += 2)
        out[data[i] % BOOT_RECOVERY_HELLO_SIZE] = data[i + 1];
    return BOOT_RECOVERY_HELLO_SIZE;
}

/* An answer of the right type, wrapped. */
static void answer(mp_time now, const uint8_t *data, size_t size)
{
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX] = {BOOT_RECOVERY_MAGIC};
    uint8_t type = host.out_len >= 12 ? host.out[host.out_len > 392 ? 393 : 1] : BOOT_RECOVERY_HELLO;
    size_t len = size < 200 ? size : 200;

    if (type == BOOT_RECOVERY_HELLO) {
        len = hello(frame + BOOT_RECOVERY_HEAD, data, size);
    } else if (size >= 2 && size <= 3) { /* what a good part says */
        frame[BOOT_RECOVERY_HEAD] = data[0] & 0x80 ? data[1] : 0;
        mp_put32(frame + BOOT_RECOVERY_HEAD + 1, type == BOOT_RECOVERY_BEGIN ? data[1] % 30u : host.piece + 1);
        len = 5;
    } else {
        memcpy(frame + BOOT_RECOVERY_HEAD, data, len);
    }
    frame[1] = type | 0x80;
    mp_put16(frame + 2, (uint32_t)len);
    mp_put32(frame + BOOT_RECOVERY_HEAD + len, mp_crc32(frame, BOOT_RECOVERY_HEAD + len));
    md_recover_receive(&host, now, frame, BOOT_RECOVERY_HEAD + len + 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct md_recover_plan plan;
    struct md_part_info info;
    uint8_t out[1000];
    mp_time now = 1000;
    unsigned steps = 0;

    if (size < 2)
        return 0;
    if (md_part_info_get(&info, data, size) == MP_OK)
        check(md_layout_is_sound(&info.layout, info.flash_size, info.page_size));
    prepare(&plan, data[0]);
    check(md_recover_start(&host, &plan, now) == MP_OK);
    for (size_t at = 1; at < size && md_recover_state(&host) == MD_RECOVER_RUNNING;) {
        size_t len = data[at] % 32, left = size - at - 1;

        len = len < left ? len : left;
        check(md_recover_write(&host, out, sizeof out) <= sizeof out);
        if (data[at] >> 5 == 0)
            md_recover_receive(&host, now, data + at + 1, len);
        else if (data[at] >> 5 == 1)
            md_recover_expire(&host, now = md_recover_next_expiry(&host));
        else if (data[at] >> 5 == 2)
            md_recover_resume(&host, now);
        else
            answer(now, data + at + 1, len);
        at += 1 + len;
    }
    while (md_recover_state(&host) == MD_RECOVER_RUNNING) {
        check(++steps < STEPS_MAX && md_recover_next_expiry(&host) != MP_NEVER);
        md_recover_expire(&host, md_recover_next_expiry(&host));
    }
    check(md_recover_write(&host, out, sizeof out) == 0);
    if (md_recover_state(&host) == MD_RECOVER_DONE && plan.manifest != NULL)
        check(host.has_info && memcmp(host.info.sealed[host.info.record.home], plan.id, 8) == 0);
    return 0;
}
