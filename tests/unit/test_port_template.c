/*
 * The port to fill in does not pretend: as it is, it fails the conformance test at its first function; and when the
 * ones that come first are filled in (here), every other one is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node-fw/port/port.h"
#include "tests/port/conformance.h"

/* Those of the template that are filled in here go by other names. */
int template_start(void);
mp_time template_now(void);
const struct nf_flash *template_flash(void);
const struct nf_layout *template_layout(void);
unsigned template_slot(void);
enum boot_cause template_cause(void);
#define nf_port_start template_start
#define nf_port_now template_now
#define nf_port_flash template_flash
#define nf_port_layout template_layout
#define nf_port_slot template_slot
#define nf_port_cause template_cause
#include "node-fw/port/template/port.c" /* NOLINT(bugprone-suspicious-include) */
#undef nf_port_start
#undef nf_port_now
#undef nf_port_flash
#undef nf_port_layout
#undef nf_port_slot
#undef nf_port_cause

enum { PAGE = 1024 };
static unsigned filled;          /* functions, in this order */
static struct nf_flash geometry; /* over the template's functions */
static char lines[64][256];
static unsigned count;

int nf_port_start(void)
{
    return filled >= 1 ? 0 : template_start();
}

const struct nf_flash *nf_port_flash(void)
{
    return filled >= 2 ? &geometry : template_flash();
}

const struct nf_layout *nf_port_layout(void)
{
    static const struct nf_layout some = {.boot_record = 0,
                                          .settings = 2 * PAGE,
                                          .objects = 3 * PAGE,
                                          .objects_size = 4 * PAGE,
                                          .slot = {8 * PAGE, 20 * PAGE},
                                          .slot_size = 12 * PAGE};
    return filled >= 3 ? &some : template_layout();
}

unsigned nf_port_slot(void)
{
    return filled >= 4 ? 0 : template_slot();
}

enum boot_cause nf_port_cause(void)
{
    return filled >= 5 ? BOOT_CAUSE_POWER : template_cause();
}

mp_time nf_port_now(void)
{
    static mp_time now;
    return filled >= 6 ? now += 50 : template_now();
}

static void say(const char *line)
{
    assert_true(count < sizeof lines / sizeof lines[0]);
    snprintf(lines[count++], sizeof lines[0], "%s", line);
}

static void run(unsigned functions)
{
    static const struct conformance c = {.say = say, .has_tester = true};
    filled = functions;
    count = 0;
    geometry = flash;
    geometry.size = 32 * PAGE;
    geometry.page_size = PAGE;
    geometry.granule = 4;
    assert_int_not_equal(conformance_run(&c), 0);
}

static void assert_failed(const char *name)
{
    char start[64];
    snprintf(start, sizeof start, "FAIL %s: ", name);
    for (unsigned i = 0; i < count; i++)
        if (strncmp(lines[i], start, strlen(start)) == 0)
            return;
    fail_msg("%s is not named", name);
}

static void test_it_says_what_to_fill_in_next(void **state)
{
    static const char *const next[] = {"start", "flash-geometry", "layout-apart", "slot", "cause", "clock-moves"};
    (void)state;
    for (unsigned i = 0; i < sizeof next / sizeof next[0]; i++) {
        run(i);
        assert_failed(next[i]);
        for (unsigned k = 0; k + 2 < count; k++)
            assert_memory_equal(lines[k], "ok ", 3);
    }
}

static void test_the_rest_is_named_at_once(void **state)
{
    static const char *const rest[] = {"sleep-rests",    "watchdog-ahead", "random-differs", "random-bits",
                                       "random-bytes",   "crypto-siphash", "crypto-sha256",  "crypto-accepts",
                                       "crypto-refuses", "flash-erase",    "flash-program",  "flash-outside",
                                       "flash-read-any", "link-up",        "link-echo"};
    (void)state;
    run(6);
    for (unsigned i = 0; i < sizeof rest / sizeof rest[0]; i++)
        assert_failed(rest[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_says_what_to_fill_in_next),
        cmocka_unit_test(test_the_rest_is_named_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
