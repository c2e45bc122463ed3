/*
 * Sealed images and the processes that run them. The image is this very program: started with a role in its
 * environment, it plays an image that exits, crashes, hangs or behaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node-fw/port/cause.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/posix/child.h"
#include "node-fw/port/posix/log.h"

#define ROLE "TEST_CHILD_ROLE"

static uint8_t *image;
static uint32_t image_size;
static uint8_t image_digest[32];
static int flash_fd;

/* --- the image's side --------------------------------------------------------------------------------------------- */

static int number(const char *name)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : -1;
}

static void nap(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Kicks every 20 ms for `ms`. */
static void kick_for(long ms)
{
    for (; ms > 0; ms -= 20) {
        if (write(number(PORT_ENV_KICK), "k", 1) != 1)
            _exit(99);
        nap(20);
    }
}

static int check_environment(void)
{
    char text[8] = {0};
    const char *hci = getenv(PORT_ENV_HCI);
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    const bool right = pread(number(PORT_ENV_FLASH), text, 5, 0) == 5 && strcmp(text, "flash") == 0 &&
                       number(PORT_ENV_WATCHDOG) == 3000 && number(PORT_ENV_CAUSE) == BOOT_CAUSE_CRASH && hci != NULL &&
                       strcmp(hci, "unix:/x") == 0 && sigismember(&blocked, SIGTERM) == 0 &&
                       (fcntl(number(PORT_ENV_KICK), F_GETFL) & O_NONBLOCK) != 0;
    return right ? BOOT_CAUSE_REQUEST : 1;
}

static int play(const char *role)
{
    if (strcmp(role, "environment") == 0)
        return check_environment();
    if (strcmp(role, "hang") == 0)
        for (;;)
            nap(1000);
    if (strcmp(role, "kick then hang") == 0) {
        kick_for(600);
        nap(60000);
    }
    if (strcmp(role, "kick then reset") == 0) {
        kick_for(900);
        return BOOT_CAUSE_REQUEST;
    }
    if (strcmp(role, "leave one behind") == 0) {
        if (fork() == 0)
            nap(60000);
        return BOOT_CAUSE_REQUEST;
    }
    if (strcmp(role, "loader variables") == 0)
        return getenv("LD_PRELOAD") == NULL && getenv("LD_LIBRARY_PATH") == NULL ? BOOT_CAUSE_REQUEST : 1;
    if (strcmp(role, "close kick") == 0) {
        close(number(PORT_ENV_KICK));
        nap(60000);
    }
    if (strcmp(role, "abort") == 0) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    return atoi(role);
}

/* --- the bootloader's side ---------------------------------------------------------------------------------------- */

static int read_image(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const uint8_t *bytes = ctx;
    memcpy(data, bytes + offset, len);
    return 0;
}

static int refuse(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    (void)ctx;
    memset(data, 0, len);
    return offset < 4096 ? 0 : -1;
}

static int load(void)
{
    const int fd = port_image_load(crypto_sodium(), read_image, image, image_size, image_digest);
    assert_true(fd >= 0);
    return fd;
}

static struct port_end run_role(const char *role, uint32_t watchdog_ms)
{
    struct port_end end;
    struct port_child c = {.image = load(),
                           .flash = flash_fd,
                           .log = -1,
                           .stop = -1,
                           .hci = "unix:/x",
                           .watchdog_ms = watchdog_ms,
                           .cause = BOOT_CAUSE_CRASH};
    setenv(ROLE, role, 1);
    assert_int_equal(port_child_run(&c, &end), 0);
    unsetenv(ROLE);
    close(c.image);
    return end;
}

static void test_image_is_sealed(void **state)
{
    (void)state;
    const int fd = load();
    char byte = 0;
    assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, (off_t)image_size + 1), -1);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, 0), -1);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    close(fd);
}

static void test_tampered_image_is_refused(void **state)
{
    (void)state;
    const uint32_t at[] = {0, image_size / 2, image_size - 1};
    for (size_t i = 0; i < 3; i++) {
        image[at[i]] ^= 1;
        assert_int_equal(port_image_load(crypto_sodium(), read_image, image, image_size, image_digest), -EBADMSG);
        image[at[i]] ^= 1;
    }
    assert_int_equal(port_image_load(crypto_sodium(), read_image, image, image_size - 1, image_digest), -EBADMSG);
    assert_int_equal(port_image_load(crypto_sodium(), refuse, NULL, image_size, image_digest), -EIO);
}

static void test_image_is_told_what_it_needs(void **state)
{
    (void)state;
    const struct port_end end = run_role("environment", 3000);
    assert_int_equal(end.cause, BOOT_CAUSE_REQUEST);
    assert_false(end.stopped);
}

static void test_exit_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *role;
        enum boot_cause cause;
    } table[] = {{"0", BOOT_CAUSE_REQUEST},  {"65", BOOT_CAUSE_SELFTEST}, {"66", BOOT_CAUSE_MUTE},
                 {"67", BOOT_CAUSE_STORAGE}, {"68", BOOT_CAUSE_CRASH},    {"1", BOOT_CAUSE_CRASH},
                 {"70", BOOT_CAUSE_CRASH},   {"255", BOOT_CAUSE_CRASH}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(run_role(table[i].role, 10000).cause, table[i].cause);
}

static void test_signal_is_a_crash(void **state)
{
    (void)state;
    const struct port_end end = run_role("abort", 10000);
    assert_int_equal(end.cause, BOOT_CAUSE_CRASH);
    assert_true(WIFSIGNALED(end.status));
    assert_int_equal(WTERMSIG(end.status), SIGABRT);
}

static void test_missed_kicks_end_it(void **state)
{
    (void)state;
    struct port_end end = run_role("hang", 300);
    assert_int_equal(end.cause, BOOT_CAUSE_WATCHDOG);
    assert_in_range(end.lived_ms, 290, 5000);
    end = run_role("close kick", 300);
    assert_int_equal(end.cause, BOOT_CAUSE_WATCHDOG);
    end = run_role("kick then hang", 450);
    assert_int_equal(end.cause, BOOT_CAUSE_WATCHDOG);
    assert_in_range(end.lived_ms, 1000, 8000);
}

static void test_kicks_keep_it_alive(void **state)
{
    (void)state;
    const struct port_end end = run_role("kick then reset", 600);
    assert_int_equal(end.cause, BOOT_CAUSE_REQUEST);
    assert_in_range(end.lived_ms, 800, 8000);
}

static void kill_it(void *ctx, int pid)
{
    (void)ctx;
    kill(pid, SIGKILL);
}

static void remember(void *ctx, int pid)
{
    int *out = ctx;
    *out = pid;
}

static void test_killed_from_outside(void **state)
{
    (void)state;
    struct port_end end;
    struct port_child c = {
        .image = load(), .flash = flash_fd, .log = -1, .stop = -1, .watchdog_ms = 5000, .started = kill_it};
    assert_int_equal(port_child_run(&c, &end), 0);
    assert_int_equal(end.cause, BOOT_CAUSE_CRASH);
    assert_int_equal(WTERMSIG(end.status), SIGKILL);
    close(c.image);
}

static void test_stop_ends_it(void **state)
{
    (void)state;
    int stop[2], pid = 0;
    struct port_end end;
    assert_int_equal(pipe(stop), 0);
    assert_int_equal(write(stop[1], "x", 1), 1);
    struct port_child c = {.image = load(),
                           .flash = flash_fd,
                           .log = -1,
                           .stop = stop[0],
                           .watchdog_ms = 60000,
                           .started = remember,
                           .ctx = &pid};
    setenv(ROLE, "hang", 1);
    assert_int_equal(port_child_run(&c, &end), 0);
    unsetenv(ROLE);
    assert_true(end.stopped);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    close(c.image);
    close(stop[0]);
    close(stop[1]);
}

static void tell_pid(void *ctx, int pid)
{
    const int *fd = ctx;
    if (write(*fd, &pid, sizeof pid) != (ssize_t)sizeof pid)
        _exit(98);
}

/* A bootloader that is killed takes its image with it. */
static void test_dies_with_the_bootloader(void **state)
{
    (void)state;
    int told[2], life[2], pid = 0, status;
    char byte;
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(life), 0); /* both ends in the image, too: end of file once all are gone */
    const pid_t bootloader = fork();
    assert_true(bootloader >= 0);
    if (bootloader == 0) {
        struct port_end end;
        close(life[0]);
        struct port_child c = {.image = load(),
                               .flash = flash_fd,
                               .log = -1,
                               .stop = -1,
                               .watchdog_ms = 60000,
                               .started = tell_pid,
                               .ctx = &told[1]};
        setenv(ROLE, "hang", 1); /* one that kicks would notice the broken pipe */
        port_child_run(&c, &end);
        _exit(97);
    }
    close(life[1]);
    assert_int_equal(read(told[0], &pid, sizeof pid), sizeof pid);
    nap(200);
    struct pollfd p = {.fd = life[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0); /* both live */
    assert_int_equal(kill(bootloader, SIGKILL), 0);
    assert_int_equal(waitpid(bootloader, &status, 0), bootloader);
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(read(life[0], &byte, 1), 0);
    close(told[0]);
    close(told[1]);
    close(life[0]);
}

/* What an image started ends with it: it could write to the flash while the next boot reads. */
static void test_nothing_of_an_image_outlives_it(void **state)
{
    (void)state;
    int life[2];
    char byte;
    assert_int_equal(pipe(life), 0); /* inherited by all: end of file once all are gone */
    assert_int_equal(run_role("leave one behind", 10000).cause, BOOT_CAUSE_REQUEST);
    close(life[1]);
    struct pollfd p = {.fd = life[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(read(life[0], &byte, 1), 0);
    close(life[0]);
}

static void test_loader_variables_are_not_passed_on(void **state)
{
    (void)state;
    setenv("LD_PRELOAD", "/nonexistent/other.so", 1);
    setenv("LD_LIBRARY_PATH", "/nonexistent", 1);
    const struct port_end end = run_role("loader variables", 10000);
    unsetenv("LD_PRELOAD");
    unsetenv("LD_LIBRARY_PATH");
    assert_int_equal(end.cause, BOOT_CAUSE_REQUEST);
}

/* Started with its standard descriptors closed, nothing opened later takes their numbers. */
static void test_closed_standard_descriptors_are_filled(void **state)
{
    (void)state;
    int status = -1;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        _exit(port_log_start() == 0 && open("/dev/null", O_RDWR) > STDERR_FILENO ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_what_cannot_run(void **state)
{
    (void)state;
    static uint8_t text[4096] = "this is no program";
    const struct mp_crypto *crypto = crypto_sodium();
    struct mp_sha256 hash;
    uint8_t digest[32];
    struct port_end end;
    crypto->sha256_init(&hash);
    crypto->sha256_update(&hash, text, sizeof text);
    crypto->sha256_final(&hash, digest);
    struct port_child c = {.flash = flash_fd, .log = -1, .stop = -1, .watchdog_ms = 5000};
    c.image = port_image_load(crypto, read_image, text, sizeof text, digest);
    assert_true(c.image >= 0);
    assert_int_equal(port_child_run(&c, &end), 0);
    assert_int_equal(end.cause, BOOT_CAUSE_CRASH);
    c.watchdog_ms = 0;
    assert_int_equal(port_child_run(&c, &end), -EINVAL);
    close(c.image);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(nf_cause_name(BOOT_CAUSE_POWER), "power");
    assert_string_equal(nf_cause_name(BOOT_CAUSE_CRASH), "crash");
    assert_string_equal(nf_cause_name((enum boot_cause)1), "unknown");
}

static int load_self(void **state)
{
    (void)state;
    FILE *self = fopen("/proc/self/exe", "rb");
    struct mp_sha256 hash;
    assert_non_null(self);
    assert_int_equal(fseek(self, 0, SEEK_END), 0);
    image_size = (uint32_t)ftell(self);
    rewind(self);
    image = malloc(image_size);
    assert_non_null(image);
    assert_int_equal(fread(image, 1, image_size, self), image_size);
    fclose(self);
    const struct mp_crypto *crypto = crypto_sodium();
    crypto->sha256_init(&hash);
    crypto->sha256_update(&hash, image, image_size);
    crypto->sha256_final(&hash, image_digest);
    flash_fd = memfd_create("flash", MFD_CLOEXEC);
    assert_int_equal(write(flash_fd, "flash", 5), 5);
    return 0;
}

static int unload_self(void **state)
{
    (void)state;
    free(image);
    close(flash_fd);
    return 0;
}

int main(void)
{
    const char *role = getenv(ROLE);
    if (role != NULL)
        _exit(play(role));
    setvbuf(stdout, NULL, _IONBF, 0); /* or what is buffered would be printed by forked children too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_is_sealed),
        cmocka_unit_test(test_tampered_image_is_refused),
        cmocka_unit_test(test_image_is_told_what_it_needs),
        cmocka_unit_test(test_exit_statuses),
        cmocka_unit_test(test_signal_is_a_crash),
        cmocka_unit_test(test_missed_kicks_end_it),
        cmocka_unit_test(test_kicks_keep_it_alive),
        cmocka_unit_test(test_killed_from_outside),
        cmocka_unit_test(test_stop_ends_it),
        cmocka_unit_test(test_dies_with_the_bootloader),
        cmocka_unit_test(test_nothing_of_an_image_outlives_it),
        cmocka_unit_test(test_loader_variables_are_not_passed_on),
        cmocka_unit_test(test_closed_standard_descriptors_are_filled),
        cmocka_unit_test(test_what_cannot_run),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, load_self, unload_self);
}
