/*
 * Frames that one core receives and handles in a second, by type; and what a duplicate chunk costs over its tag alone.
 *
 *   bench FILE.json
 *
 * Every frame is authentic, newer than the one before, verified, and changes or refreshes something; records and chunks
 * go to a store in RAM. Virtual time passes between frames, so that no token bucket runs dry, and timers and sending
 * run between batches, outside of what is measured. Each rate is the median of five runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mesh/summary.h"
#include "proto/mp_wire.h"
#include "rig.h"

#define DUPLICATE_OVER_TAG_MAX 1.75

enum { RUNS = 5, PASSES = 41, BATCH = 64, BATCHES = 60, SIGNED = 64 };

static struct rig_image image;
static struct rig rig;
static struct rig_frame frames[RIG_POSITIONS];

/* A SUMMARY of the peer that agrees with the engine's own. */
static double summary_rate(void)
{
    uint8_t body[MP_BODY_MAX];
    double seconds = 0;
    rig_init(&rig, false);
    rig_place(&rig, &image, 0, true);
    size_t len = rig_summary(&rig, body);
    mp_put32(body, 0x01020304); /* nonce */
    for (unsigned i = 0; i < BATCHES; i++) {
        for (unsigned k = 0; k < BATCH; k++) {
            rig_frame(&rig, &frames[k], MP_TYPE_SUMMARY, body, len);
        }
        seconds += rig_receive(&rig, frames, BATCH, MP_MS(100));
        rig_run(&rig, MP_SECONDS(1));
    }
    return BATCH * BATCHES / seconds;
}

/* Release after release, each with eight manifests that push the oldest out. */
static double manifest_rate(void)
{
    double seconds = 0;
    rig_init(&rig, false);
    for (uint32_t release = 1; release <= SIGNED / MP_MANIFESTS_MAX; release++) {
        uint8_t raw[MP_MANIFESTS_MAX][MP_MANIFEST_SIZE], object[MP_DIRECTIVE_MAX];
        struct mp_directive d;
        sign_directive_fill(&d, MP_ACTION_STAGE, RIG_NETWORK, release, 1, image.id);
        d.manifest_count = MP_MANIFESTS_MAX;
        for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
            struct mp_manifest m = image.manifest;
            m.release = release;
            m.model = (uint16_t)(i + 1);
            sign_manifest(raw[i], &m, &rig.fleet.publisher);
            mp_manifest_id(rig.env.crypto, raw[i], d.manifests[i]);
            rig_frame(&rig, &frames[i], MP_TYPE_MANIFEST, raw[i], MP_MANIFEST_SIZE);
        }
        size_t len = sign_directive(object, &d, &rig.fleet.release);
        rig_need(mp_node_publish(&rig.node, &rig.env, rig.now, MP_TYPE_DIRECTIVE, object, len) == MP_OK, "directive");
        seconds += rig_receive(&rig, frames, MP_MANIFESTS_MAX, MP_SECONDS(1));
        rig_run(&rig, MP_SECONDS(20));
    }
    return SIGNED / seconds;
}

/* One release whose directives rise. */
static double directive_rate(void)
{
    rig_init(&rig, false);
    for (uint32_t i = 0; i < SIGNED; i++) {
        struct mp_directive d;
        uint8_t raw[MP_DIRECTIVE_MAX];
        sign_directive_fill(&d, MP_ACTION_STAGE, RIG_NETWORK, 1, i + 1, image.id);
        rig_frame(&rig, &frames[i], MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &rig.fleet.release));
    }
    return SIGNED / rig_receive(&rig, frames, SIGNED, MP_SECONDS(1));
}

/* A chain of publisher keys. Two signatures each. */
static double keychange_rate(void)
{
    rig_init(&rig, false);
    struct mp_keychange c = {.op = MP_KEYOP_INSTALL, .role = MP_ROLE_PUBLISHER, .key_id = 0, .signer = {0, 1}};
    memcpy(c.previous, rig.fleet.keyset.head, sizeof c.previous);
    for (uint16_t i = 0; i < SIGNED; i++) {
        struct sign_key key;
        uint8_t raw[MP_KEYCHANGE_SIZE];
        sign_key_make(&key, (uint8_t)(100 + i));
        c.number = (uint16_t)(i + 1);
        c.generation = (uint16_t)(i + 2);
        memcpy(c.key, key.pub, sizeof c.key);
        sign_keychange(raw, &c, &rig.fleet.root[0], &rig.fleet.root[1]);
        mp_keychange_digest(rig.env.crypto, raw, c.previous);
        rig_frame(&rig, &frames[i], MP_TYPE_KEYCHANGE, raw, sizeof raw);
    }
    return SIGNED / rig_receive(&rig, frames, SIGNED, MP_SECONDS(1));
}

/* Receipts of rising rounds. */
static double receipt_rate(void)
{
    rig_init(&rig, false);
    for (uint16_t i = 0; i < SIGNED; i++) {
        struct mp_receipt receipt = {.network = RIG_NETWORK, .generation = 1, .round = (uint16_t)(i + 1), .count = 64};
        uint8_t raw[MP_RECEIPT_MAX];
        size_t len = sign_receipt(raw, &receipt, &rig.fleet.release);
        rig_frame(&rig, &frames[i], MP_TYPE_RECEIPT, raw, len);
    }
    return SIGNED / rig_receive(&rig, frames, SIGNED, MP_SECONDS(1));
}

/* A neighbour asks for a page of what the engine holds. */
static double request_rate(void)
{
    uint8_t own[MP_BODY_MAX], body[15 + 32];
    double seconds = 0;
    rig_init(&rig, false);
    rig_place(&rig, &image, 0, true);
    rig_summary(&rig, own);
    mp_put32(body, RIG_SELF);
    memcpy(body + 4, own, 4); /* the engine's nonce */
    mp_put32(body + 8, image.handle);
    memset(body + 15, 0xff, 32);
    for (unsigned i = 0; i < BATCHES; i++) {
        for (unsigned k = 0; k < BATCH; k++) {
            mp_put24(body + 12, k % 2 * 256);
            rig_frame(&rig, &frames[k], MP_TYPE_REQUEST, body, sizeof body);
        }
        seconds += rig_receive(&rig, frames, BATCH, MP_MS(400));
        rig_run(&rig, MP_SECONDS(10));
    }
    return BATCH * BATCHES / seconds;
}

static void chunk_frame(struct rig_frame *f, uint32_t position)
{
    uint8_t body[7 + MP_CHUNK_SIZE];
    size_t len = mp_tree_length(&image.tree, position);
    mp_put32(body, image.handle);
    mp_put24(body + 4, position);
    memcpy(body + 7, image.chunk[position], len);
    rig_frame(&rig, f, MP_TYPE_CHUNK, body, 7 + len);
}

/* A whole payload, chunk by chunk, several times over. */
static double chunk_rate(void)
{
    enum { TIMES = 10 };
    double seconds = 0;
    for (unsigned i = 0; i < TIMES; i++) {
        rig_init(&rig, false);
        rig_place(&rig, &image, 1, false);
        for (uint32_t p = 0; p < RIG_POSITIONS; p++) {
            chunk_frame(&frames[p], p);
        }
        seconds += rig_receive(&rig, frames, RIG_POSITIONS, MP_MS(25));
        rig_need(rig.counters.chunks_stored == RIG_POSITIONS, "not every chunk was stored");
        rig_need((mp_node_events(&rig.node) & MP_EVENT_COMPLETE) != 0, "the payload is not complete");
    }
    return TIMES * RIG_POSITIONS / seconds;
}

/* Ten reports of other nodes, the serial rising with each round. Returns the body's length. */
static size_t report_body(uint8_t body[MP_BODY_MAX], const uint8_t nonce[4], unsigned first, uint16_t serial)
{
    static const uint8_t key[16] = {1};
    mp_put32(body, RIG_SELF);
    memcpy(body + 4, nonce, 4);
    body[8] = 10;
    body[9] = 0;
    for (unsigned i = 0; i < 10; i++) {
        struct mp_report report = {
            .node = 0x2000 + first + i, .serial = serial, .running = 1, .phase = MP_PHASE_CONFIRMED};
        mp_report_put(rig.env.crypto, body + 10 + i * MP_REPORT_ENTRY_SIZE, &report, key);
    }
    return 10 + 10 * MP_REPORT_ENTRY_SIZE;
}

/* A gateway takes reports into custody, sixty at a time, and has them committed in between. */
static double report_rate(void)
{
    uint8_t own[MP_BODY_MAX], body[MP_BODY_MAX];
    double seconds = 0;
    rig_init(&rig, true);
    rig_summary(&rig, own);
    for (uint16_t round = 1; round <= BATCHES; round++) {
        for (unsigned i = 0; i < 6; i++) {
            rig_frame(&rig, &frames[i], MP_TYPE_REPORT, body, report_body(body, own, i * 10, round));
        }
        seconds += rig_receive(&rig, frames, 6, MP_MS(20));
        uint8_t entry[MP_REPORT_ENTRY_SIZE];
        rig_need(mp_node_custody(&rig.node, 59, entry), "reports are not in custody");
        mp_node_custody_done(&rig.node, rig.now, 60);
        rig_run(&rig, MP_SECONDS(5));
    }
    return 6 * BATCHES / seconds;
}

/* A parent acknowledges what the engine has in custody, thirty reports a frame. */
static double report_ack_rate(void)
{
    uint8_t own[MP_BODY_MAX], body[MP_BODY_MAX];
    double seconds = 0;
    rig_init(&rig, false);
    rig_summary(&rig, own);
    for (uint16_t round = 1; round <= BATCHES; round++) {
        for (unsigned i = 0; i < 6; i++) {
            rig_frame(&rig, &frames[i], MP_TYPE_REPORT, body, report_body(body, own, i * 10, round));
        }
        rig_receive(&rig, frames, 6, MP_MS(20));
        for (unsigned i = 0; i < 2; i++) {
            mp_put32(body, RIG_SELF);
            memcpy(body + 4, own, 4);
            for (unsigned k = 0; k < 30; k++) {
                mp_put32(body + 8 + 6 * k, 0x2000 + i * 30 + k);
                mp_put16(body + 12 + 6 * k, round);
            }
            rig_frame(&rig, &frames[i], MP_TYPE_REPORT_ACK, body, 8 + 6 * 30);
        }
        seconds += rig_receive(&rig, frames, 2, MP_MS(20));
        rig_run(&rig, MP_SECONDS(5));
    }
    return 2 * BATCHES / seconds;
}

/* Every chunk of a payload that is held already, heard again in newer frames: the whole engine over the tag alone. */
static double duplicate_over_tag(void)
{
    double ratio[PASSES];
    rig_init(&rig, false);
    rig_place(&rig, &image, 0, true);
    rig_run(&rig, MP_SECONDS(10));
    for (unsigned pass = 0; pass < PASSES; pass++) {
        for (uint32_t p = 0; p < RIG_POSITIONS; p++) {
            chunk_frame(&frames[p], p);
        }
        int bad = 0;
        double start = rig_clock();
        for (uint32_t p = 0; p < RIG_POSITIONS; p++) {
            bad |= mp_frame_check(rig.env.crypto, frames[p].bytes, frames[p].len, rig.key);
        }
        double tag = rig_clock() - start;
        rig_need(bad == 0, "a tag is wrong");
        uint32_t before = rig.counters.chunks_duplicate;
        start = rig_clock();
        for (uint32_t p = 0; p < RIG_POSITIONS; p++) {
            mp_node_receive(&rig.node, &rig.env, rig.now, frames[p].bytes, frames[p].len);
            rig.now += MP_MS(25);
        }
        ratio[pass] = (rig_clock() - start) / tag;
        rig_need(rig.counters.chunks_duplicate - before == RIG_POSITIONS, "a duplicate was not seen as one");
        rig_run(&rig, MP_SECONDS(1));
    }
    return rig_median(ratio, PASSES);
}

static const struct {
    const char *name;
    double (*run)(void);
} rates[] = {
    {"summary", summary_rate},     {"manifest", manifest_rate},     {"directive", directive_rate},
    {"keychange", keychange_rate}, {"request", request_rate},       {"chunk", chunk_rate},
    {"report", report_rate},       {"report_ack", report_ack_rate}, {"receipt", receipt_rate},
};

int main(int argc, char **argv)
{
    rig_need(argc == 2, "usage: bench FILE.json");
    FILE *json = fopen(argv[1], "w");
    rig_need(json != NULL, "cannot write the result");
    rig_image_make(&image);
    fprintf(json, "{\n  \"receive_per_s\": {\n");
    printf("frames received and handled per second, one core, median of %d\n", RUNS);
    size_t count = sizeof rates / sizeof rates[0];
    for (size_t i = 0; i < count; i++) {
        double value[RUNS];
        for (unsigned k = 0; k < RUNS; k++) {
            value[k] = rates[i].run();
        }
        double median = rig_median(value, RUNS);
        printf("  %-12s %10.0f   (%.0f to %.0f)\n", rates[i].name, median, value[0], value[RUNS - 1]);
        fprintf(json, "    \"%s\": %.0f%s\n", rates[i].name, median, i + 1 < count ? "," : "");
    }
    double ratio = duplicate_over_tag();
    printf("duplicate chunk over its tag alone: %.2f (at most %.2f)\n", ratio, DUPLICATE_OVER_TAG_MAX);
    fprintf(json, "  },\n  \"duplicate_chunk_over_tag\": %.3f\n}\n", ratio);
    rig_need(fclose(json) == 0, "cannot write the result");
    rig_need(ratio <= DUPLICATE_OVER_TAG_MAX, "a duplicate chunk costs too much");
    return 0;
}
