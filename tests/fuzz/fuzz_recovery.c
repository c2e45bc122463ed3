/*
 * Serial recovery, device side: any bytes on the line, well-formed requests with any contents, good ones out of order,
 * and power cuts. Nothing is written outside its places or against the rules of flash, nothing sealed does not verify,
 * every reply is a whole frame, the floor sinks by erasing only, and what boots was signed.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "tests/lib/recovery_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KINDS = 2, STEPS_MAX = 64, PIECES_MAX = 80 };

static const struct rig_part kinds[KINDS] = {
    {.name = "word", .page_size = 1024, .granule = 4, .relocates = true},
    {.name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true}};
static struct recovery_part start[KINDS][2], part; /* blank; with image 1 in slot 0 */
static struct rig_image images[KINDS][RIG_IMAGES];
static uint8_t settings[MP_SETTINGS_SIZE];
static uint32_t floor_seen;

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* What the input still holds. */
struct input {
    const uint8_t *data;
    size_t left;
};

static uint8_t take(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->data++;
}

static size_t take_bytes(struct input *in, uint8_t *out, size_t len)
{
    if (len > in->left)
        len = in->left;
    memcpy(out, in->data, len);
    in->data += len;
    in->left -= len;
    return len;
}

static void edit(uint32_t release, struct mp_manifest *m)
{
    m->security_counter = release;
}

/* The starting point is copied: to one address, since the parts point into themselves. */
static void prepare(unsigned kind, unsigned whole)
{
    if (images[kind][1].size == 0) {
        rig_images(&kinds[kind], edit);
        memcpy(images[kind], rig_image, sizeof rig_image);
        recovery_part_init(&part, &kinds[kind]);
        recovery_settings(settings, 77);
        start[kind][0] = part;
        check(recovery_part_ask(&part, BOOT_RECOVERY_SETTINGS, settings, sizeof settings) == MP_OK);
        check(recovery_part_install(&part, 0, 1, true) == MP_OK);
        start[kind][1] = part;
    }
    memcpy(rig_image, images[kind], sizeof rig_image);
    part = start[kind][whole];
    floor_seen = whole;
}

static void check_slots(void)
{
    struct boot_image image;
    struct boot_record record;

    if (part.sim.is_dead)
        return;
    for (unsigned slot = 0; slot < 2; slot++)
        if (boot_image_open(&image, &part.flash, &part.layout, slot, rig_crypto(), NULL) == MP_OK)
            check(boot_image_verify(&image, rig_crypto()) == MP_OK);
    boot_read(&part.flash, &part.layout, &record);
    check(record.floor >= floor_seen);
    floor_seen = record.floor;
}

/* Feeds a frame and looks at what comes back. */
static void feed(const uint8_t *data, size_t len)
{
    size_t n = recovery_part_feed(&part, data, len);
    const uint8_t *reply = part.r.frame;

    if (n == 0)
        return;
    check(n >= BOOT_RECOVERY_HEAD + 5 && n <= BOOT_RECOVERY_HEAD + BOOT_RECOVERY_HELLO_SIZE + 4);
    check(reply[0] == BOOT_RECOVERY_MAGIC && mp_get16(reply + 2) + BOOT_RECOVERY_HEAD + 4u == n);
    check(mp_get32(reply + n - 4) == mp_crc32(reply, n - 4) && reply[BOOT_RECOVERY_HEAD] < MP_ERROR_COUNT);
    check(part.r.used == 0 && part.r.next <= PIECES_MAX);
}

static void feed_frame(unsigned type, const uint8_t *payload, size_t len)
{
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX];

    if (type == BOOT_RECOVERY_ERASE && len == 4 && mp_get32(payload) == BOOT_RECOVERY_ERASE_WORD)
        floor_seen = 0;
    feed(frame, recovery_frame(frame, type, payload, len));
}

static void send_begin(struct input *in)
{
    uint8_t payload[1 + MP_MANIFEST_SIZE], release = 1 + take(in) % (RIG_IMAGES - 1), at = take(in), flip = take(in);

    payload[0] = at >> 7;
    memcpy(payload + 1, rig_image[release].manifest, MP_MANIFEST_SIZE);
    payload[at % 128] ^= flip;
    feed_frame(BOOT_RECOVERY_BEGIN, payload, sizeof payload);
}

/* Pieces of an image from where the part is, one of them perhaps with a wrong byte. */
static void send_pieces(struct input *in)
{
    uint8_t count = take(in) % PIECES_MAX, bad = take(in), flip = take(in), payload[4 + MP_CHUNK_SIZE];
    const struct rig_image *image = &rig_image[1 + flip % (RIG_IMAGES - 1)];
    uint32_t piece = part.r.next;

    for (uint32_t i = 0; i < count && piece < image->tree.positions; i++, piece++) {
        const uint8_t *data;
        size_t len = recovery_piece(image, piece, &data);

        mp_put32(payload, piece);
        memcpy(payload + 4, data, len);
        payload[4 + bad % len] ^= i == bad % PIECES_MAX ? flip >> 4 : 0;
        feed_frame(BOOT_RECOVERY_DATA, payload, 4 + len);
    }
}

static void step(struct input *in)
{
    static const uint8_t word[4] = {0x45, 0x52, 0x41, 0x53};
    uint8_t op = take(in), bytes[BOOT_RECOVERY_PAYLOAD_MAX] = {0};
    size_t len;

    switch (op % 10) {
    case 0:
        len = take_bytes(in, bytes, op);
        feed(bytes, len);
        break;
    case 1:
        len = take_bytes(in, bytes, op & 0x80 ? sizeof bytes : op >> 2);
        feed_frame(op >> 4, bytes, len);
        break;
    case 2:
        feed_frame(BOOT_RECOVERY_SETTINGS, settings, sizeof settings);
        break;
    case 3:
        send_begin(in);
        break;
    case 4:
        send_pieces(in);
        break;
    case 5:
        feed_frame(BOOT_RECOVERY_FINISH, bytes, 0);
        break;
    case 6:
        feed_frame(BOOT_RECOVERY_ERASE, word, sizeof word);
        break;
    case 7:
        feed_frame(BOOT_RECOVERY_HELLO, bytes, 0);
        break;
    case 8:
        flash_sim_cut_at(&part.sim, part.sim.ops + op / 10, (enum flash_sim_cut)(take(in) % FLASH_SIM_CUTS));
        break;
    case 9:
        recovery_part_restart(&part);
        break;
    }
    check_slots();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t head = take(&in);
    struct boot_choice choice;

    prepare(head & 1, head >> 1 & 1);
    for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
        step(&in);
    recovery_part_restart(&part);
    if (recovery_part_boot(&part, &choice) >= 0)
        check(choice.record.release >= 1 && choice.record.release < RIG_IMAGES &&
              memcmp(choice.record.id, rig_image[choice.record.release].id, 8) == 0);
    check_slots();
    return 0;
}
