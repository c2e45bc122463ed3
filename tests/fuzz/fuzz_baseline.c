/*
 * The baselines against frames that none of them would send: a row of four nodes on the real engine, into which
 * anything is thrown while it runs. Nothing may crash, and no frame may be longer than its bearer carries.
 *
 * Input: one byte for the stack, then records of one byte what (0 to 199: a frame for node what % 4; above: let time
 * pass), one byte length, and so many bytes. A frame that begins with the byte 0xFF has the rest of the header of one
 * the stack knows put in front, so that the fuzzer gets past addresses and lengths.
 */
#include "sim/baseline/baseline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NODES 4

static const char SCENARIO[] =
    "[scenario]\nname = fuzz\nseed = 1\n[radio]\nframe_loss = 10 %\n[topology]\nkind = line\n"
    "nodes = 4\nspacing = 10 m\nreach = neighbours\n[release 2]\nat = 0 s\nsize = 3 KB\n";

static struct sim_scenario scenario;
static struct sim_field field;

static void open_world(void)
{
    char error[256];
    if (sim_scenario_parse(&scenario, "fuzz", SCENARIO, sizeof(SCENARIO) - 1, error, sizeof(error)) != 0 ||
        sim_field_open(&field, &scenario, 0, 1, error, sizeof(error)) != 0) {
        (void)fprintf(stderr, "%s\n", error);
        abort();
    }
}

static const struct sim_stack *stack_of(uint8_t byte)
{
    switch (byte % 5) {
    case 0:
        return sim_baseline_flood();
    case 1:
        return sim_baseline_unicast();
    case 2:
        return sim_baseline_deluge();
    case 3:
        return sim_baseline_deluge_extended();
    default:
        return sim_baseline_mesh_dfu();
    }
}

static void throw_frame(struct sim_engine *e, const struct sim_stack *stack, uint32_t node, const uint8_t *data,
                        size_t len, bool is_guided)
{
    uint8_t frame[255] = {0};
    size_t most = stack->bearer == SIM_BEARER_EXTENDED ? 229 : stack->bearer == SIM_BEARER_LEGACY ? 31 : 125;
    size_t at = 0;
    if (is_guided && stack->bearer == SIM_BEARER_LEGACY) { /* AD header, group or node, as long as the input */
        frame[0] = (uint8_t)(len + 9);
        frame[1] = 0x2A;
        frame[3] = 5;
        frame[9] = len > 0 && (data[0] & 1) != 0 ? 0 : (uint8_t)(node + 1);
        frame[10] = frame[9] == 0 ? 0xC0 : 0;
        frame[7] = len > 1 ? data[1] % NODES + 1 : 1;
        at = 11;
    }
    if (len > most - at)
        len = most - at;
    memcpy(frame + at, data, len);
    if (at > 0)
        frame[0] = (uint8_t)(len + at - 1);
    if (at == 0 && is_guided) /* the length of a data frame */
        len = most;
    struct sim_heard heard = {.at = sim_engine_now(e), .from = node, .data = frame, .len = len + at};
    stack->receive(sim_engine_stack_ctx(e), node, sim_engine_now(e), &heard);
    sim_engine_touch(e, node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[256];
    if (scenario.count == 0)
        open_world();
    if (size == 0)
        return 0;
    const struct sim_stack *stack = stack_of(data[0]);
    const struct sim_engine_config config = {.scenario = &scenario, .field = &field, .stack = stack, .seed = data[0]};
    struct sim_engine *e = sim_engine_open(&config, error, sizeof(error));
    if (e == NULL)
        abort();
    for (size_t at = 1; at + 2 <= size;) {
        uint8_t what = data[at], len = data[at + 1];
        at += 2;
        if (len > size - at)
            len = (uint8_t)(size - at);
        bool is_guided = len > 0 && data[at] == 0xFF;
        if (what < 200)
            throw_frame(e, stack, what % NODES, data + at + is_guided, (size_t)len - is_guided, is_guided);
        if (sim_engine_advance(e, sim_engine_now(e) + (what < 200 ? 500u : (what - 199u) * 2000u)) != 0)
            abort();
        at += len;
    }
    sim_engine_finish(e);
    sim_engine_close(e);
    return 0;
}
