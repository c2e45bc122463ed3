/*
 * Two models in one mesh: each gets its own image, and one is reached only through the other, which relays what it
 * cannot use itself.
 */
#include "e2e.h"

#include "proto/mesh/frame.h"
#include "proto/mp_wire.h"
#include "proto/object/manifest.h"

#include <stdio.h>
#include <string.h>

#define HANDLE_AT MP_HEADER_SIZE /* a CHUNK begins with the handle of its payload */

struct relayed {
    uint32_t handle[2]; /* of model 1 and 2, as nodes of that model ask for them */
    unsigned chunks[2]; /* of model 2's payload, sent by n1 and n2 */
    unsigned n3_heard_gateway;
};

static void count_frame(struct fleet *f, const struct fleet_frame *frame, void *ctx)
{
    struct relayed *r = ctx;
    const unsigned type = frame->frame[0] & 15;
    (void)f;
    if (frame->len < HANDLE_AT + 12)
        return;
    r->n3_heard_gateway += strcmp(frame->device, "gw") == 0 && fleet_received(frame, "n3");
    if (type != MP_TYPE_CHUNK || mp_get32(frame->frame + HANDLE_AT) != r->handle[1])
        return;
    r->chunks[0] += strcmp(frame->device, "n1") == 0;
    r->chunks[1] += strcmp(frame->device, "n2") == 0;
}

/* Handles of release 2 for both models. */
static void read_handles(struct fleet *f, struct relayed *r)
{
    cJSON *json = fleet_get(f, "/v1/releases");
    const cJSON *m;
    cJSON_ArrayForEach(m, cJSON_GetObjectItem(json, "manifests"))
    {
        unsigned bytes[4] = {0};
        const unsigned model = (unsigned)fleet_number(m, "model");
        if ((unsigned)fleet_number(m, "release") != 2 || model < 1 || model > 2)
            continue;
        sscanf(fleet_text(m, "id"), "%2x%2x%2x%2x", &bytes[0], &bytes[1], &bytes[2], &bytes[3]);
        r->handle[model - 1] = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24;
    }
    cJSON_Delete(json);
    FLEET_REQUIRE(f, r->handle[0] != 0 && r->handle[1] != 0 && r->handle[0] != r->handle[1]);
}

static void one_model_is_reached_through_the_other(void **state)
{
    struct fleet *f = &e2e_fleet;
    struct relayed relayed = {{0}, {0}, 0};
    (void)state;
    /* gw - n1 - n2 - n3, and only n3 is of model 2 */
    fleet_open(f, &(struct fleet_options){.name = "two models", .text = e2e_line(3, 5), .record = true});
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << 1 | 1u << 2);
    fleet_node_start(f, fleet_add(f, "n1", 1, NULL, 1));
    fleet_node_start(f, fleet_add(f, "n2", 1, NULL, 1));
    fleet_node_start(f, fleet_add(f, "n3", 2, NULL, 1));
    fleet_wait_enrolled(f, 45);
    fleet_release(f, 2, "2.0.0", 1u << 1 | 1u << 2);
    read_handles(f, &relayed);
    fleet_rollout(f, 2, E2E_ALL);
    fleet_wait_phase(f, 150, 2, "done");
    fleet_wait_running(f, 20, "2.0.0", 2);
    fleet_frames(f, count_frame, &relayed);
    FLEET_REQUIRE(f, relayed.n3_heard_gateway == 0);
    /* 357 chunks passed through both, in order to come where they came */
    FLEET_REQUIRE(f, relayed.chunks[0] >= 340 && relayed.chunks[1] >= 340);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(one_model_is_reached_through_the_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
