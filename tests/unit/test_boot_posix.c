/*
 * The POSIX bootloader with real processes. Both slots hold this very program under two manifests; what an image does
 * is its slot's role, taken from the environment. Every image prints its slot, so the output tells which were booted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/posix/boot_posix.h"
#include "node-fw/port/posix/flash_file.h"
#include "node-fw/port/posix/layout.h"
#include "node-fw/port/posix/log.h"
#include "node-fw/port/posix/provision.h"
#include "node-fw/port/posix/reset.h"
#include "node-fw/store/store.h"
#include "tests/lib/sign.h"

#define MODEL 7

struct fixture {
    char directory[48];
    char flash[80], settings[80], image[80], manifest[80], output[80];
    struct port_boot_options options;
    int stop[2];
    unsigned starts;     /* seen by started() */
    unsigned stop_after; /* starts; then stop */
    unsigned kill_mask;  /* bit i: start i is killed from outside */
};

static struct sign_fleet fleet;
static uint8_t *self;
static uint32_t self_size;
static uint8_t raw[2][MP_MANIFEST_SIZE]; /* of slot 0: release 1; slot 1: release 2 */

/* --- the image's side --------------------------------------------------------------------------------------------- */

static int number(const char *name)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : -1;
}

/* Confirms its own trial, as a healthy update does. */
static int confirm(void)
{
    struct port_flash f;
    struct nf_layout layout;
    if (port_flash_adopt(&f, number(PORT_ENV_FLASH)) != 0 || port_layout(&layout, &f.flash) != 0)
        return BOOT_CAUSE_STORAGE;
    const int rc = boot_confirm(&f.flash, &layout, 2);
    return rc == 0 || rc == MP_ERR_STATE ? BOOT_CAUSE_REQUEST : BOOT_CAUSE_STORAGE;
}

static int play(const char *role)
{
    if (strcmp(role, "abort") == 0) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    if (strcmp(role, "confirm") == 0)
        return confirm();
    if (strcmp(role, "hang") == 0)
        for (;;)
            pause();
    return atoi(role);
}

static bool is_image(void)
{
    return number(PORT_ENV_KICK) >= 0;
}

static int be_image(void)
{
    const int slot = number(PORT_ENV_SLOT);
    char line[2] = {(char)('0' + slot), ' '};
    if (write(STDOUT_FILENO, line, 2) != 2)
        return 99;
    const char *role = getenv(slot == 0 ? "ROLE_0" : "ROLE_1");
    return role != NULL ? play(role) : 98;
}

/* --- the factory -------------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void make_settings(const char *path)
{
    struct mp_settings s = {.node = 0x1234,
                            .network = 9,
                            .index = 1,
                            .labels = 1,
                            .model = MODEL,
                            .product = 1,
                            .key_count = 1,
                            .network_key = {{1}},
                            .report_key = {2}};
    uint8_t blob[MP_SETTINGS_SIZE];
    mp_keyset_put(s.keyset, &fleet.keyset);
    mp_settings_put(blob, &s);
    write_file(path, blob, sizeof blob);
}

static struct port_provision factory(const struct fixture *x)
{
    /* Twice the image for two slots, an eighth for tree, log and rounding. */
    const uint32_t size = (self_size / 4096 + 40) * 4096 / 8 * 9 * 2 / 4096 * 4096 + (64u << 10);
    return (struct port_provision){.flash = x->flash,
                                   .settings = x->settings,
                                   .image = x->image,
                                   .manifest = x->manifest,
                                   .geometry = {.size = size, .page_size = 4096, .granule = 8, .write_once = true}};
}

static void open_part(const struct fixture *x, struct port_flash *f, struct nf_layout *layout)
{
    assert_int_equal(port_flash_open(f, x->flash), 0);
    assert_int_equal(port_layout(layout, &f->flash), 0);
}

/* Installs the update into slot 1; asks for its trial. */
static void stage(const struct fixture *x, bool request)
{
    struct port_flash f;
    struct nf_layout layout;
    open_part(x, &f, &layout);
    uint8_t *memory = malloc(nf_slot_memory(&f.flash, &layout));
    assert_non_null(memory);
    assert_int_equal(nf_store_install(&f.flash, &layout, crypto_sodium(), 1, raw[1], self, self_size, memory), 0);
    free(memory);
    if (request)
        assert_int_equal(boot_request(&f.flash, &layout, crypto_sodium(), raw[1], 60, false), 0);
    port_flash_close(&f);
}

static struct boot_record record_of(const struct fixture *x)
{
    struct port_flash f;
    struct nf_layout layout;
    struct boot_record r;
    open_part(x, &f, &layout);
    assert_int_equal(boot_read(&f.flash, &layout, &r), 0);
    port_flash_close(&f);
    return r;
}

/* Flips a bit of a slot behind the back of everything. */
static void tamper(const struct fixture *x, unsigned slot)
{
    struct port_flash f;
    struct nf_layout layout;
    open_part(x, &f, &layout);
    f.data[layout.slot[slot] + self_size / 2] ^= 1;
    port_flash_close(&f);
}

static void started(void *ctx, int pid)
{
    struct fixture *x = ctx;
    if ((x->kill_mask >> x->starts & 1) != 0)
        kill(pid, SIGKILL);
    if (++x->starts == x->stop_after)
        assert_int_equal(write(x->stop[1], "x", 1), 1);
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    strcpy(x->directory, "/tmp/boot-posix-XXXXXX");
    assert_non_null(mkdtemp(x->directory));
    snprintf(x->flash, sizeof x->flash, "%s/flash", x->directory);
    snprintf(x->settings, sizeof x->settings, "%s/settings", x->directory);
    snprintf(x->image, sizeof x->image, "%s/image", x->directory);
    snprintf(x->manifest, sizeof x->manifest, "%s/manifest", x->directory);
    snprintf(x->output, sizeof x->output, "%s/output", x->directory);
    make_settings(x->settings);
    write_file(x->image, self, self_size);
    write_file(x->manifest, raw[0], MP_MANIFEST_SIZE);
    const struct port_provision what = factory(x);
    assert_int_equal(port_provision(&what), 0);
    assert_int_equal(pipe(x->stop), 0);
    x->options = (struct port_boot_options){.flash = x->flash,
                                            .hci = "unix:/none",
                                            .output = open(x->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
                                            .stop = x->stop[0],
                                            .watchdog_ms = 10000,
                                            .started = started,
                                            .ctx = x};
    assert_true(x->options.output >= 0);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    close(x->options.output);
    close(x->stop[0]);
    close(x->stop[1]);
    unlink(x->flash);
    unlink(x->settings);
    unlink(x->image);
    unlink(x->manifest);
    unlink(x->output);
    assert_int_equal(rmdir(x->directory), 0); /* nothing else was left there */
    free(x);
    return 0;
}

static void roles(const char *role_0, const char *role_1)
{
    setenv("ROLE_0", role_0, 1);
    setenv("ROLE_1", role_1, 1);
}

/* What the images printed; an image may be killed before it does. */
static void assert_output(const struct fixture *x, const char *expected)
{
    char text[128] = {0};
    FILE *f = fopen(x->output, "rb");
    assert_non_null(f);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    assert_string_equal(text, expected);
}

static int boot_once(struct fixture *x)
{
    x->options.once = true;
    return port_boot_run(&x->options);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_confirmed_image_boots_again_and_again(void **state)
{
    struct fixture *x = *state;
    roles("0", "99");
    assert_int_equal(boot_once(x), BOOT_CAUSE_REQUEST);
    roles("68", "99");
    assert_int_equal(boot_once(x), BOOT_CAUSE_CRASH);
    assert_output(x, "0 0 ");
    assert_int_equal(record_of(x).state, BOOT_CONFIRMED);
}

/* A bootloader that lives on: three trials, then home, with the reason that the processes' ends gave. */
static void loop_bad_update(struct fixture *x, const char *role, enum mp_reason reason)
{
    roles("hang", role);
    stage(x, true);
    x->stop_after = BOOT_TRIES + 1;
    x->starts = 0;
    assert_int_equal(port_boot_run(&x->options), 0);
    const struct boot_record r = record_of(x);
    assert_int_equal(r.state, BOOT_CONFIRMED);
    assert_int_equal(r.home, 0);
    assert_int_equal(r.reason, reason);
    assert_int_equal(r.release, 2);
}

static void test_failing_selftest_falls_back(void **state)
{
    loop_bad_update(*state, "65", MP_REASON_SELFTEST);
}

static void test_crashing_update_falls_back(void **state)
{
    loop_bad_update(*state, "abort", MP_REASON_CRASHED);
}

static void test_mute_update_falls_back(void **state)
{
    loop_bad_update(*state, "66", MP_REASON_MUTE);
}

static void test_hanging_update_falls_back(void **state)
{
    struct fixture *x = *state;
    x->options.watchdog_ms = 300;
    loop_bad_update(x, "hang", MP_REASON_WATCHDOG);
}

static void test_update_killed_in_all_trials_falls_back(void **state)
{
    struct fixture *x = *state;
    x->kill_mask = 7;
    loop_bad_update(x, "hang", MP_REASON_CRASHED);
}

/* Each boot by another bootloader: the trials are counted in flash, why they ended is forgotten. */
static void test_restarted_bootloader_counts_too(void **state)
{
    struct fixture *x = *state;
    roles("0", "65");
    stage(x, true);
    for (int i = 1; i <= BOOT_TRIES; i++) {
        assert_int_equal(boot_once(x), BOOT_CAUSE_SELFTEST);
        assert_int_equal(record_of(x).state, BOOT_TRIAL);
        assert_int_equal(record_of(x).tries, BOOT_TRIES - i);
    }
    assert_int_equal(boot_once(x), BOOT_CAUSE_REQUEST);
    assert_output(x, "1 1 1 0 ");
    assert_int_equal(record_of(x).state, BOOT_CONFIRMED);
    assert_int_equal(record_of(x).home, 0);
    assert_int_equal(record_of(x).reason, MP_REASON_OTHER);
}

static void test_one_kill_costs_one_trial_boot(void **state)
{
    struct fixture *x = *state;
    roles("hang", "confirm");
    stage(x, true);
    x->kill_mask = 1;
    x->stop_after = 3;
    assert_int_equal(port_boot_run(&x->options), 0);
    const struct boot_record r = record_of(x);
    assert_int_equal(r.state, BOOT_CONFIRMED);
    assert_int_equal(r.home, 1);
    assert_int_equal(r.floor, 2);
    assert_true((r.flags & BOOT_FLAG_UPDATED) != 0);
}

/* kill -9 of the bootloader in mid-trial: the image goes with it, the next bootloader goes on with the next trial. */
static void test_killed_bootloader_costs_one_trial_boot(void **state)
{
    struct fixture *x = *state;
    int status, tries = BOOT_TRIES;
    char byte;
    roles("0", "hang");
    stage(x, true);
    while (tries-- > 0) {
        int life[2];
        assert_int_equal(pipe(life), 0);
        const pid_t bootloader = fork();
        assert_true(bootloader >= 0);
        if (bootloader == 0) {
            close(life[0]);
            dup2(life[1], x->options.output); /* the image's only output: seen to run, and to go */
            close(life[1]);
            port_boot_run(&x->options);
            _exit(96);
        }
        close(life[1]);
        assert_int_equal(read(life[0], &byte, 1), 1);
        assert_int_equal(byte, '1');
        assert_int_equal(kill(bootloader, SIGKILL), 0);
        assert_int_equal(waitpid(bootloader, &status, 0), bootloader);
        while (read(life[0], &byte, 1) == 1)
            ;
        close(life[0]);
        assert_int_equal(record_of(x).state, BOOT_TRIAL);
        assert_int_equal(record_of(x).tries, tries);
    }
    assert_int_equal(boot_once(x), BOOT_CAUSE_REQUEST);
    assert_output(x, "0 ");
}

static void test_tampered_home_falls_over_to_the_other_slot(void **state)
{
    struct fixture *x = *state;
    roles("0", "0");
    stage(x, false);
    tamper(x, 0);
    assert_int_equal(boot_once(x), BOOT_CAUSE_REQUEST);
    assert_output(x, "1 ");
    assert_int_equal(record_of(x).reason, MP_REASON_CORRUPT_HOME);
    tamper(x, 1);
    assert_int_equal(boot_once(x), PORT_BOOT_RECOVERY);
    assert_output(x, "1 ");
}

static void test_tampered_update_is_never_run(void **state)
{
    struct fixture *x = *state;
    roles("0", "99");
    stage(x, true);
    tamper(x, 1);
    assert_int_equal(boot_once(x), BOOT_CAUSE_REQUEST);
    assert_output(x, "0 ");
    assert_int_equal(record_of(x).reason, MP_REASON_BAD_IMAGE);
}

static void test_unsigned_update_is_never_run(void **state)
{
    struct fixture *x = *state;
    uint8_t good[MP_MANIFEST_SIZE];
    roles("0", "99");
    memcpy(good, raw[1], sizeof good);
    raw[1][MP_MANIFEST_SIZE - 1] ^= 1;
    stage(x, true);
    memcpy(raw[1], good, sizeof good);
    assert_int_equal(boot_once(x), BOOT_CAUSE_REQUEST);
    assert_output(x, "0 ");
    assert_int_equal(record_of(x).state, BOOT_CONFIRMED);
}

static void test_recovery_waits_for_a_new_flash(void **state)
{
    struct fixture *x = *state;
    int status;
    roles("hang", "99");
    tamper(x, 0);
    x->stop_after = 1;
    const pid_t bootloader = fork();
    assert_true(bootloader >= 0);
    if (bootloader == 0)
        _exit(port_boot_run(&x->options) == 0 && x->starts == 1 ? 0 : 1);
    usleep(500000);
    assert_int_equal(waitpid(bootloader, &status, WNOHANG), 0);
    const struct port_provision what = factory(x);
    assert_int_equal(port_provision(&what), 0); /* recovery does not hold the old one */
    assert_int_equal(waitpid(bootloader, &status, 0), bootloader);
    assert_int_equal(status, 0);
}

static void test_two_bootloaders_refuse(void **state)
{
    struct fixture *x = *state;
    struct port_flash f;
    const struct port_provision what = factory(x);
    assert_int_equal(port_flash_open(&f, x->flash), 0);
    assert_int_equal(boot_once(x), PORT_BOOT_LOCKED);
    assert_int_equal(port_provision(&what), -1);
    port_flash_close(&f);
    x->options.flash = "/nonexistent";
    assert_int_equal(boot_once(x), PORT_BOOT_FLASH);
    x->options.flash = x->settings;
    assert_int_equal(boot_once(x), PORT_BOOT_FLASH);
}

static void test_crash_loop_slows_down(void **state)
{
    struct fixture *x = *state;
    struct timespec a, b;
    assert_int_equal(port_boot_backoff_ms(0), 0);
    assert_int_equal(port_boot_backoff_ms(1), 100);
    assert_int_equal(port_boot_backoff_ms(2), 200);
    assert_int_equal(port_boot_backoff_ms(7), 6400);
    assert_int_equal(port_boot_backoff_ms(8), 10000);
    assert_int_equal(port_boot_backoff_ms(UINT32_MAX), 10000);
    roles("68", "99");
    x->stop_after = 4;
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(port_boot_run(&x->options), 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 700);
}

/* --- provisioning and inspection ---------------------------------------------------------------------------------- */

static void refuse(const struct fixture *x)
{
    const struct port_provision what = factory(x);
    struct stat before, after;
    assert_int_equal(stat(x->flash, &before), 0);
    assert_int_equal(port_provision(&what), -1);
    assert_int_equal(stat(x->flash, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_int_equal(record_of(x).state, BOOT_CONFIRMED);
}

static void test_provision_refuses_what_does_not_fit_together(void **state)
{
    struct fixture *x = *state;
    struct mp_manifest m;
    struct sign_key stranger;
    uint8_t bad[MP_MANIFEST_SIZE], blob[MP_SETTINGS_SIZE] = {0};

    memcpy(bad, raw[0], sizeof bad);
    bad[MP_MANIFEST_SIZE - 1] ^= 1;
    write_file(x->manifest, bad, sizeof bad);
    refuse(x); /* signature */
    write_file(x->manifest, raw[0], sizeof bad - 1);
    refuse(x); /* truncated */
    assert_int_equal(mp_manifest_get(&m, raw[0], sizeof raw[0]), 0);
    m.model++;
    sign_manifest(bad, &m, &fleet.publisher);
    write_file(x->manifest, bad, sizeof bad);
    refuse(x); /* model */
    m.model--;
    m.image_sha256[0] ^= 1;
    sign_manifest(bad, &m, &fleet.publisher);
    write_file(x->manifest, bad, sizeof bad);
    refuse(x); /* another image */
    m.image_sha256[0] ^= 1;
    sign_key_make(&stranger, 77);
    sign_manifest(bad, &m, &stranger);
    write_file(x->manifest, bad, sizeof bad);
    refuse(x); /* another publisher */

    write_file(x->manifest, raw[0], sizeof raw[0]);
    write_file(x->image, self, self_size - 1);
    refuse(x);
    write_file(x->image, self, self_size);
    write_file(x->settings, blob, sizeof blob);
    refuse(x);
    make_settings(x->settings);
    struct port_provision what = factory(x);
    what.geometry.size = 128u << 10;
    assert_int_equal(port_provision(&what), -1); /* no room */
    what = factory(x);
    assert_int_equal(port_provision(&what), 0);
}

static cJSON *inspect(const struct fixture *x)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(port_inspect(x->flash, true, out), 0);
    fclose(out);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    free(text);
    return json;
}

static void test_inspect_tells_what_is_there(void **state)
{
    struct fixture *x = *state;
    struct port_flash f;
    stage(x, true);
    assert_int_equal(port_flash_open(&f, x->flash), 0); /* a node may be running */
    cJSON *json = inspect(x);
    const cJSON *record = cJSON_GetObjectItem(json, "boot_record"), *slot = cJSON_GetObjectItem(json, "slot1");
    assert_string_equal(cJSON_GetObjectItem(record, "state")->valuestring, "pending");
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "settings"), "node")->valueint, 0x1234);
    assert_string_equal(cJSON_GetObjectItem(slot, "version")->valuestring, "2.0.0");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(slot, "verifies")));
    cJSON_Delete(json);
    port_flash_close(&f);
    tamper(x, 1);
    json = inspect(x);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "slot1"), "verifies")));
    cJSON_Delete(json);
    assert_int_equal(port_inspect(x->settings, true, stdout), -1);
    assert_int_equal(port_inspect("/nonexistent", true, stdout), -1);
}

static int load_self(void **state)
{
    (void)state;
    FILE *f = fopen("/proc/self/exe", "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    self_size = (uint32_t)ftell(f);
    rewind(f);
    self = malloc(self_size);
    assert_non_null(self);
    assert_int_equal(fread(self, 1, self_size, f), self_size);
    fclose(f);
    sign_fleet_make(&fleet);
    for (uint32_t i = 0; i < 2; i++) {
        struct mp_manifest m;
        sign_manifest_fill(&m, MODEL, i + 1);
        m.security_counter = i + 1;
        sign_manifest_image(&m, self, self_size);
        sign_manifest(raw[i], &m, &fleet.publisher);
    }
    port_log_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
    return 0;
}

static int unload_self(void **state)
{
    (void)state;
    free(self);
    return 0;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    if (is_image())
        _exit(be_image());
    const struct CMUnitTest tests[] = {
        TEST(test_confirmed_image_boots_again_and_again),
        TEST(test_failing_selftest_falls_back),
        TEST(test_crashing_update_falls_back),
        TEST(test_mute_update_falls_back),
        TEST(test_hanging_update_falls_back),
        TEST(test_update_killed_in_all_trials_falls_back),
        TEST(test_restarted_bootloader_counts_too),
        TEST(test_one_kill_costs_one_trial_boot),
        TEST(test_killed_bootloader_costs_one_trial_boot),
        TEST(test_tampered_home_falls_over_to_the_other_slot),
        TEST(test_tampered_update_is_never_run),
        TEST(test_unsigned_update_is_never_run),
        TEST(test_recovery_waits_for_a_new_flash),
        TEST(test_two_bootloaders_refuse),
        TEST(test_crash_loop_slows_down),
        TEST(test_provision_refuses_what_does_not_fit_together),
        TEST(test_inspect_tells_what_is_there),
    };
    return cmocka_run_group_tests(tests, load_self, unload_self);
}
