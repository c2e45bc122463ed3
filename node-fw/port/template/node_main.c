/*
 * The image: the loop of every node, and the application, which is yours. Start-up code (vectors, data, bss, stack)
 * calls main(); there is one in node-fw/port/nrf51. Built with -DMP_PROFILE_MCU and, without a place for log lines,
 * -DNF_LOOP_LOG=0.
 */
#include "map.h"
#include "node-fw/port/loop.h"

#ifndef NODE_VERSION
#define NODE_VERSION "0.0.0" /* as in the manifest */
#endif

#define PAGE_SIZE (PART_PAGE_SIZE > 0 ? PART_PAGE_SIZE : 1)

static void app_start(const struct app_view *view)
{
    (void)view; /* what it keeps over resets and updates: nf_app_get() */
}

/* What would be broken by a bad build: peripherals that must answer, settings that must be readable, the radio. */
static enum app_verdict app_selftest(const struct app_view *view)
{
    (void)view;
    return APP_FAILED; /* nothing is tested, so nothing is passed */
}

static mp_time app_loop(const struct app_view *view)
{
    (void)view;
    return MP_NEVER;
}

static bool app_may_transmit(const struct app_view *view)
{
    (void)view;
    return true;
}

static const struct app app = {
    .start = app_start, .selftest = app_selftest, .loop = app_loop, .may_transmit = app_may_transmit};

static uint8_t memory[NF_LOOP_MEMORY(PART_SLOT_SIZE, PAGE_SIZE)];

int main(void)
{
    nf_loop_run(&app, NODE_VERSION, memory, sizeof memory);
}
