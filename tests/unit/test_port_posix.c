/*
 * The port of node programs against its contract: this program is the image that its bootloader starts, again and again
 * as the conformance test asks for, with a tester at the other end of its line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/port.h"
#include "node-fw/port/posix/boot_posix.h"
#include "node-fw/port/posix/log.h"
#include "node-fw/port/posix/provision.h"
#include "node-fw/port/posix/reset.h"
#include "proto/object/settings.h"
#include "tests/lib/sign.h"
#include "tests/port/conformance.h"
#include "tests/port/tester.h"

enum { MODEL = 7, LIMIT_S = 240 };
#define WITH_RESETS "CONFORMANCE_WITH_RESETS" /* in the image's environment */

/* --- the image's side --------------------------------------------------------------------------------------------- */

static bool is_image(void)
{
    return getenv(PORT_ENV_KICK) != NULL;
}

_Noreturn static void be_image(void)
{
    /* A machine that builds something else meanwhile may keep the tester waiting. */
    const struct conformance c = {
        .say = conformance_say_link, .has_tester = true, .may_reset = getenv(WITH_RESETS) != NULL, .clock_percent = 25};
    conformance_run(&c);
    for (;;) {
        nf_port_kick(nf_port_now());
        nf_port_sleep(nf_port_now() + MP_MS(200));
    }
}

/* --- the factory and the bootloader ------------------------------------------------------------------------------- */

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static uint8_t *load_self(uint32_t *size)
{
    FILE *f = fopen("/proc/self/exe", "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (uint32_t)ftell(f);
    rewind(f);
    uint8_t *self = malloc(*size);
    assert_non_null(self);
    assert_int_equal(fread(self, 1, *size, f), *size);
    fclose(f);
    return self;
}

/* A flash with this program in slot 0, at "flash" in the working folder. */
static void provision(const struct port_flash_geometry *g)
{
    struct sign_fleet fleet;
    struct mp_manifest m;
    struct mp_settings s = {.node = 0x1234,
                            .network = 9,
                            .index = 1,
                            .model = MODEL,
                            .product = 1,
                            .key_count = 1,
                            .network_key = {{1}},
                            .report_key = {2}};
    uint8_t settings[MP_SETTINGS_SIZE], manifest[MP_MANIFEST_SIZE];
    uint32_t size;
    uint8_t *self = load_self(&size);
    sign_fleet_make(&fleet);
    sign_manifest_fill(&m, MODEL, 1);
    sign_manifest_image(&m, self, size);
    sign_manifest(manifest, &m, &fleet.publisher);
    mp_keyset_put(s.keyset, &fleet.keyset);
    mp_settings_put(settings, &s);
    write_file("settings", settings, sizeof settings);
    write_file("manifest", manifest, sizeof manifest);
    write_file("image", self, size);
    free(self);
    struct port_provision what = {
        .flash = "flash", .settings = "settings", .image = "image", .manifest = "manifest", .geometry = *g};
    /* Twice the image for two slots, an eighth for tree, log and rounding. */
    what.geometry.size = (size / 8192 + 40) * 8192 / 8 * 9 * 2 / 8192 * 8192 + (128u << 10);
    assert_int_equal(port_provision(&what), 0);
}

static pid_t start_bootloader(int stop)
{
    const struct port_boot_options options = {
        .flash = "flash", .hci = "unix:line", .output = -1, .stop = stop, .watchdog_ms = 6000};
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(port_boot_run(&options));
    return pid;
}

/* --- the tester's side -------------------------------------------------------------------------------------------- */

static char failures[4096];

static void hear(void *ctx, const char *line)
{
    (void)ctx;
    print_message("    %s\n", line);
    if (strncmp(line, "FAIL ", 5) == 0 && strlen(failures) + strlen(line) + 2 < sizeof failures)
        strcat(strcat(failures, line), "\n");
}

static int listen_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const int size = 4096;
    strcpy(name.sun_path, path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void test_the_contract(const struct port_flash_geometry *g)
{
    struct tester tester;
    int stop[2], status;
    char folder[] = "/tmp/port-posix-XXXXXX";
    const int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    provision(g);
    const int listener = listen_at("line");
    assert_int_equal(pipe(stop), 0);
    const pid_t boot = start_bootloader(stop[0]);
    const time_t end = time(NULL) + LIMIT_S;
    failures[0] = 0;
    tester_init(&tester, hear, NULL);
    while (!tester.is_done && time(NULL) < end) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0)
            continue;
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_true(fd >= 0);
        tester_drop(&tester);
        while (!tester.is_done && time(NULL) < end && tester_pump(&tester, fd, 100))
            ;
        close(fd);
    }
    assert_int_equal(write(stop[1], "x", 1), 1);
    assert_int_equal(waitpid(boot, &status, 0), boot);
    close(listener);
    close(stop[0]);
    close(stop[1]);
    const char *const files[] = {"flash", "settings", "manifest", "image", "line"};
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(files[i]);
    assert_int_equal(fchdir(home), 0);
    close(home);
    assert_int_equal(rmdir(folder), 0);
    assert_string_equal(failures, "");
    assert_true(tester.is_done);
    assert_int_equal(tester.failed, 0);
    assert_int_equal(tester.skipped, 1); /* flash-blank */
    assert_int_equal(tester.ok, getenv(WITH_RESETS) != NULL ? 49 : 41);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_with_word_flash(void **state)
{
    (void)state;
    const struct port_flash_geometry g = port_flash_word(0);
    setenv(WITH_RESETS, "1", 1);
    test_the_contract(&g);
}

static void test_with_write_once_flash(void **state)
{
    (void)state;
    unsetenv(WITH_RESETS);
    const struct port_flash_geometry g = {.page_size = 8192, .granule = 32, .write_once = true};
    test_the_contract(&g);
}

int main(void)
{
    if (is_image())
        be_image();
    setenv("ASAN_OPTIONS", "detect_leaks=0", 0); /* of the image, whose resets are exits */
    port_log_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_word_flash),
        cmocka_unit_test(test_with_write_once_flash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
