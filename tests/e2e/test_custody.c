/*
 * A parent that has a report in custody dies with it: the report arrives all the same, and so does its receipt.
 */
#include "e2e.h"

#include "proto/mesh/frame.h"
#include "proto/mp_wire.h"
#include "proto/object/receipt.h"

#include <stdio.h>
#include <string.h>

/* gw hears n1 and n2, both hear n3, and n3 hears nobody else. */
static const char diamond[] = "[scenario]\nname = diamond\nseed = 5\n[radio]\nframe_loss = 5 %\n"
                              "[topology]\nkind = list\n"
                              "[node gw]\nposition = 0 m, 0 m\n"
                              "[node n1]\nposition = 5000 m, 0 m\n"
                              "[node n2]\nposition = 0 m, 5000 m\n"
                              "[node n3]\nposition = 5000 m, 5000 m\n"
                              "[link gw n1]\nloss = 60 dB\n"
                              "[link gw n2]\nloss = 60 dB\n"
                              "[link n1 n2]\nloss = 60 dB\n"
                              "[link n1 n3]\nloss = 60 dB\n"
                              "[link n2 n3]\nloss = 60 dB\n";

#define ACK_ENTRIES_AT (MP_HEADER_SIZE + 8)

struct witness {
    uint32_t origin;
    uint16_t index, serial;
    bool in_custody; /* n1 acknowledged that serial */
    bool receipted;  /* n3 received a receipt of it, after */
};

static void watch_frame(struct fleet *f, const struct fleet_frame *frame, void *ctx)
{
    struct witness *w = ctx;
    const unsigned type = frame->frame[0] & 15;
    struct mp_receipt receipt;
    (void)f;
    if (type == MP_TYPE_REPORT_ACK && strcmp(frame->device, "n1") == 0)
        for (size_t at = ACK_ENTRIES_AT; at + 6 + MP_TAG_SIZE <= frame->len; at += 6)
            w->in_custody |= mp_get32(frame->frame + at) == w->origin && mp_get16(frame->frame + at + 4) == w->serial;
    if (type == MP_TYPE_RECEIPT && w->in_custody && fleet_received(frame, "n3") &&
        mp_receipt_get(&receipt, frame->frame + MP_HEADER_SIZE, frame->len - MP_HEADER_SIZE - MP_TAG_SIZE) == 0)
        w->receipted |= mp_receipt_nibble(&receipt, w->index) == (w->serial & 15);
}

static bool n1_is_staged(struct fleet *f, void *ctx)
{
    (void)ctx;
    return fleet_holds(f, fleet_find(f, "n1"), 2);
}

static bool n3_is_staged(struct fleet *f, void *ctx)
{
    (void)ctx;
    return fleet_holds(f, fleet_find(f, "n3"), 2);
}

static bool n3_said_so(struct fleet *f, void *ctx)
{
    struct fleet_report report;
    (void)ctx;
    return fleet_reported(f, fleet_find(f, "n3"), &report) && strcmp(report.phase, "staged") == 0;
}

static void a_report_outlives_its_custodian(void **state)
{
    struct fleet *f = &e2e_fleet;
    struct witness witness = {0};
    char answer[32];
    (void)state;
    fleet_open(f, &(struct fleet_options){.name = "custody", .text = diamond, .record = true});
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << 1);
    for (unsigned i = 1; i <= 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        fleet_node_start(f, fleet_add(f, name, 1, NULL, 1));
    }
    fleet_wait_enrolled(f, 45);
    fleet_air(f, answer, sizeof answer, "cut n2 n3"); /* so that n1 is the parent */
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, "confirm=8 stage-deadline=600; all: share=100% soak=60 deadline=120");
    /* the gateway is gone before n3 has anything to say: whoever takes its report can only keep it */
    fleet_wait(f, 60, "n1 to hold the image", n1_is_staged, NULL);
    fleet_gateway_kill(f);
    fleet_wait(f, 60, "n3 to hold the image", n3_is_staged, NULL);
    fleet_pause(10);
    fleet_node_kill(f, fleet_find(f, "n1"));
    fleet_air(f, answer, sizeof answer, "heal n2 n3");
    fleet_gateway_start(f);
    fleet_wait(f, 60, "n3's report", n3_said_so, NULL);
    fleet_pause(6); /* for the receipt */
    cJSON *node = fleet_get(f, "/v1/nodes/n3");
    witness.origin = fleet_find(f, "n3")->id;
    witness.index = (uint16_t)fleet_number(node, "index");
    witness.serial = (uint16_t)fleet_number(node, "report.serial");
    cJSON_Delete(node);
    fleet_frames(f, watch_frame, &witness);
    FLEET_REQUIRE(f, witness.in_custody);
    FLEET_REQUIRE(f, witness.receipted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(a_report_outlives_its_custodian)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
