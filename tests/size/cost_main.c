/*
 * size-cost: what the firmware costs to run, by running it on an emulated part (tests/lib/qemu.h), and how many flash
 * operations it takes to switch slots.
 *
 *     cost BOOT_BIN COST_STEM COST_ELF UPDATE_STEM
 *
 * STEM.a.bin and STEM.b.bin are two links of one build. Prints lines "NAME NUMBER". The flash holds what a release
 * would have brought: image COST in slot A, and half of UPDATE, signed and staged, in slot B. All of it is made by the
 * node's own code running here, so that the part goes on with it. Nothing depends on the time of day or on chance: the
 * same firmware gives the same numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "node-fw/core/nf.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/nrf51/layout.h"
#include "node-fw/store/store.h"
#include "proto/mesh/frame.h"
#include "proto/mp_wire.h"
#include "tests/lib/fleet_process.h"
#include "tests/lib/part_flash.h"
#include "tests/lib/qemu.h"
#include "tests/lib/sign.h"

enum { NODE = 77, GATEWAY = 5, NETWORK = 9, MODEL = 3, SWITCHES = 40, STEPS_MAX = 100000 };
#define SECONDS_MAX 120.0 /* of this machine */

struct image {
    uint8_t payload[NRF51_SLOT_SIZE];
    uint32_t size;
    struct mp_manifest m;
    uint8_t manifest[MP_MANIFEST_SIZE];
    uint8_t id[8];
};

static struct image running, update;
static struct sign_fleet fleet;
static uint8_t flash_bytes[PART_FLASH_SIZE], spare[PART_FLASH_SIZE];
static uint8_t memory[4096];
static const uint8_t network_key[16] = "network key 1234";

static struct {
    struct nf_store store;
    struct nf_env env;
    struct nf_node nf;
    uint64_t counter;
    uint32_t random;
    mp_time now;
} node;

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "cost: %s\n", what);
    exit(1);
}

/* --- images ----------------------------------------------------------------------------------------------------------- */

static long read_file(const char *path, uint8_t *data, size_t cap)
{
    FILE *in = fopen(path, "rb");
    const size_t n = in != NULL ? fread(data, 1, cap, in) : 0;

    if (in != NULL)
        fclose(in);
    if (n == 0 || n == cap)
        fail(path);
    return (long)n;
}

static void image_make(struct image *i, const char *stem, uint32_t release)
{
    static uint8_t a[NRF51_SLOT_SIZE], b[NRF51_SLOT_SIZE];
    char path[512];
    size_t bad;

    snprintf(path, sizeof path, "%s.a.bin", stem);
    const long len = read_file(path, a, sizeof a);
    snprintf(path, sizeof path, "%s.b.bin", stem);
    if (read_file(path, b, sizeof b) != len)
        fail("two links of different length");
    const long size =
        mp_reloc_pack(i->payload, sizeof i->payload, a, b, (size_t)len, NRF51_SLOT_A, NRF51_SLOT_B, 4, &bad);
    if (size < 0)
        fail("two links that do not differ by their distance alone");
    i->size = (uint32_t)size;
    sign_manifest_fill(&i->m, MODEL, release);
    sign_manifest_image(&i->m, i->payload, i->size);
    sign_manifest(i->manifest, &i->m, &fleet.publisher);
    mp_manifest_id(crypto_sodium(), i->manifest, i->id);
}

/* --- the factory ------------------------------------------------------------------------------------------------------ */

static void provision(const struct nf_flash *flash)
{
    struct mp_settings s = {.node = NODE, .network = NETWORK, .index = 1, .model = MODEL, .key_count = 1};
    struct boot_record r = {.state = BOOT_CONFIRMED, .release = running.m.release};

    s.product = running.m.product;
    s.key_id[0] = 1;
    memcpy(s.network_key[0], network_key, sizeof network_key);
    mp_keyset_put(s.keyset, &fleet.keyset);
    memcpy(r.id, running.id, sizeof r.id);
    if (nf_settings_store(&s, flash, part_flash_layout()) != MP_OK ||
        nf_store_install(flash, part_flash_layout(), crypto_sodium(), 0, running.manifest, running.payload,
                         running.size, memory) != MP_OK ||
        boot_append(flash, part_flash_layout(), &r) != MP_OK)
        fail("not to be provisioned");
}

/* --- the node here, until half of the update is there ------------------------------------------------------------------ */

static uint32_t draw(void *ctx)
{
    (void)ctx;
    node.random = node.random * 1664525 + 1013904223; /* Numerical Recipes; the engine wants anything */
    return node.random >> 8;
}

/* A frame of the gateway; its length. */
static size_t frame_make(uint8_t frame[MP_FRAME_MAX], enum mp_type type, const uint8_t *body, size_t len)
{
    const struct mp_header h = {.type = (uint8_t)type,
                                .key_id = 1,
                                .network = NETWORK,
                                .source = GATEWAY,
                                .counter = ((uint64_t)1 << 24) + ++node.counter};

    mp_header_put(frame, &h);
    memcpy(frame + MP_HEADER_SIZE, body, len);
    return mp_frame_seal(crypto_sodium(), frame, MP_HEADER_SIZE + len, network_key);
}

static int receive(enum mp_type type, const uint8_t *body, size_t len)
{
    uint8_t frame[MP_FRAME_MAX];

    len = frame_make(frame, type, body, len);
    node.now += MP_MS(25);
    return nf_receive(&node.nf, &node.env, node.now, frame, len);
}

static void wait_for(enum nf_phase phase)
{
    uint8_t frame[MP_FRAME_MAX];

    for (unsigned i = 0; i < STEPS_MAX && node.nf.phase != phase; i++) {
        node.now += MP_MS(20);
        nf_expire(&node.nf, &node.env, node.now);
        while (nf_write(&node.nf, &node.env, node.now, frame, sizeof frame) > 0)
            ;
    }
    if (node.nf.phase != phase)
        fail("the node does not come to fetch");
}

static void node_start(const struct nf_flash *flash)
{
    struct mp_settings s;

    node.now = MP_SECONDS(1);
    node.env =
        (struct nf_env){.mp = {.ctx = &node.store, .crypto = crypto_sodium(), .store = &nf_flash_store, .random = draw},
                        .storage = &nf_flash_storage};
    if (nf_store_init(&node.store, flash, part_flash_layout(), crypto_sodium(), 0, memory, sizeof memory) != MP_OK ||
        nf_settings_load(&s, flash, part_flash_layout()) != MP_OK ||
        nf_init(&node.nf, &node.env, &s, node.now) != MP_OK)
        fail("the node does not start");
}

static size_t directive_make(uint8_t out[MP_DIRECTIVE_MAX], uint32_t sequence)
{
    struct mp_directive d;

    sign_directive_fill(&d, MP_ACTION_STAGE, NETWORK, update.m.release, sequence, update.id);
    return sign_directive(out, &d, &fleet.release);
}

/* The body of a CHUNK; its length. */
static size_t chunk_make(uint8_t *body, const struct mp_tree *tree, const uint8_t *chunks, uint32_t position)
{
    const unsigned len = mp_tree_length(tree, position);

    memcpy(body, update.id, 4);
    mp_put24(body + 4, position);
    memcpy(body + 7, chunks + (size_t)position * MP_CHUNK_SIZE, len);
    return 7 + len;
}

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    (void)ctx;
    memcpy(data, update.payload + offset, len);
    return 0;
}

static int chunk_emit(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    memcpy((uint8_t *)ctx + (size_t)position * MP_CHUNK_SIZE, data, len);
    return 0;
}

/* Fetches half of the update into flash, and writes the frames that come next behind the image in slot A. */
static void prepare(const struct nf_flash *flash)
{
    static uint8_t chunks[2 * NRF51_SLOT_SIZE];
    uint8_t body[MP_BODY_MAX], root[MP_HASH_SIZE], *at = flash_bytes + COST_FRAMES;
    struct mp_tree tree;

    mp_tree_init(&tree, update.size);
    for (uint32_t i = 0; i < tree.count[0]; i++)
        memcpy(chunks + (size_t)(tree.first[0] + i) * MP_CHUNK_SIZE, update.payload + i * MP_CHUNK_SIZE,
               mp_tree_length(&tree, tree.first[0] + i));
    if (mp_tree_build(&tree, crypto_sodium(), update.m.salt, payload_read, chunk_emit, chunks, root) != MP_OK)
        fail("no tree");
    node_start(flash);
    const size_t directive = directive_make(body, 1);
    if (receive(MP_TYPE_DIRECTIVE, body, directive) != MP_OK ||
        receive(MP_TYPE_MANIFEST, update.manifest, sizeof update.manifest) != MP_OK)
        fail("the release is refused");
    wait_for(NF_PHASE_FETCHING);
    const uint32_t half = tree.first[0] + tree.count[0] / 2;
    for (uint32_t position = 0; position < half; position++)
        if (receive(MP_TYPE_CHUNK, body, chunk_make(body, &tree, chunks, position)) != MP_OK)
            fail("a chunk is refused");
    struct cost_head head;

    memcpy(head.manifest, update.manifest, sizeof head.manifest);
    memcpy(head.pub, fleet.publisher.pub, sizeof head.pub);
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    for (uint32_t i = 0; i < COST_CHUNKS + 1; i++) {
        const size_t len = i == 0 ? directive_make(body, 2) : chunk_make(body, &tree, chunks, half + i - 1);
        *at = (uint8_t)frame_make(at + 1, i == 0 ? MP_TYPE_DIRECTIVE : MP_TYPE_CHUNK, body, len);
        at += 1 + *at;
    }
    *at = 0;
    if (at >= flash_bytes + COST_FRAMES + COST_FRAMES_SIZE)
        fail("no room for the frames");
}

/* --- on the part ------------------------------------------------------------------------------------------------------ */

static bool has_stopped(struct qemu *q, void *ctx)
{
    return qemu_peek_u32(q, *(const uint32_t *)ctx) != 0;
}

static void run(const char *elf)
{
    static struct qemu part;
    char dir[64];
    struct cost cost;
    uint32_t at;

    if (process_folder(dir, sizeof dir, false) != 0)
        fail("no folder");
    if (qemu_symbol(elf, "cost", &at, NULL) != 0)
        fail("no results in the firmware");
    qemu_open(&part, &(struct qemu_options){.name = "cost", .dir = dir});
    qemu_load(&part, flash_bytes, sizeof flash_bytes);
    qemu_serial(&part);
    qemu_run(&part);
    if (!qemu_until(&part, SECONDS_MAX, has_stopped, &at))
        fail("the part does not come to an end");
    qemu_peek(&part, at, &cost, sizeof cost);
    qemu_close(&part);
    process_folder_close();
    if (cost.state != COST_DONE) {
        fprintf(stderr, "cost: stopped at line %u of part/cost.c\n", cost.state);
        exit(1);
    }
    /* An instruction takes 64 ns, a tick 62.5 ns. */
    printf("sign_instr %.0f\n", cost.sign * 62.5 / 64);
    printf("chunk_instr %.0f\n", cost.chunk_sum / (double)cost.chunks * 62.5 / 64);
    printf("chunk_instr_most %.0f\n", cost.chunk_most * 62.5 / 64);
    printf("boot_instr %.0f\n", cost.boot_us * 1000.0 / 64);
    printf("boot_stack_seen %u\n", cost.boot_stack);
    printf("stack_seen %u\n", cost.stack);
}

/* --- switching slots --------------------------------------------------------------------------------------------------- */

static struct {
    struct nf_flash under;
    unsigned ops;
} counted;

static int counted_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    counted.ops++;
    return counted.under.program(ctx, address, data, len);
}

static int counted_erase(void *ctx, uint32_t address)
{
    counted.ops++;
    return counted.under.erase(ctx, address);
}

/* Calls of the flash driver that change flash, from the decision to activate until the new image is confirmed: the most
 * of many switches there and back, since now and then a page of the boot record is full. */
static unsigned switch_ops(void)
{
    const struct nf_layout *layout = part_flash_layout();
    const struct mp_crypto *crypto = crypto_sodium();
    struct nf_flash flash;
    struct boot_choice choice;
    unsigned most = 0;

    memset(spare, 0xFF, sizeof spare);
    flash = counted.under = part_flash_over(spare);
    flash.program = counted_program;
    flash.erase = counted_erase;
    provision(&counted.under);
    if (nf_store_install(&counted.under, layout, crypto, 1, update.manifest, update.payload, update.size, memory) !=
        MP_OK)
        fail("the update cannot be installed");
    const struct boot_env env = {.flash = &flash, .layout = layout, .crypto = crypto};

    for (unsigned i = 0; i < SWITCHES; i++) {
        const struct image *to = i % 2 == 0 ? &update : &running;
        counted.ops = 0;
        if (boot_request(&flash, layout, crypto, to->manifest, 60, false) != MP_OK)
            fail("no boot request");
        boot_select(&env, BOOT_CAUSE_REQUEST, &choice);
        if (choice.slot != (int)(i % 2 == 0) || boot_confirm(&flash, layout, 0) != MP_OK)
            fail("no switch");
        most = counted.ops > most ? counted.ops : most;
    }
    return most;
}

int main(int argc, char **argv)
{
    if (argc != 5 || crypto_sodium() == NULL)
        fail("cost BOOT_BIN COST_STEM COST_ELF UPDATE_STEM");
    sign_fleet_make(&fleet);
    image_make(&running, argv[2], 1);
    image_make(&update, argv[4], 2);
    memset(flash_bytes, 0xFF, sizeof flash_bytes);
    read_file(argv[1], flash_bytes, NRF51_BOOT_SIZE);
    const struct nf_flash flash = part_flash_over(flash_bytes);

    provision(&flash);
    prepare(&flash);
    printf("switch_ops %u\n", switch_ops());
    fflush(stdout);
    run(argv[3]);
    return 0;
}
