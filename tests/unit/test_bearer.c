/*
 * The gateway's bearer against a controller played by the test, on a unix socket and on a pseudo terminal: the first
 * bytes are a reset, what is heard reaches the handler, noise is survived, and a controller that goes away is opened
 * again and set up anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/daemon/bearer_h4.h"

static const uint8_t reset[] = {0x01, 0x03, 0x0C, 0x00};

struct fixture {
    struct event_base *base;
    struct md_bearer *bearer;
    struct md_config config;
    char path[100];
    int listener;
    unsigned heard, expired;
};

static void on_heard(void *ctx, mp_time now, const uint8_t *frame, size_t len)
{
    (void)now;
    (void)frame;
    struct fixture *f = ctx;
    assert_true(len <= MP_FRAME_MAX);
    f->heard++;
}

static void on_expire(void *ctx, mp_time now)
{
    (void)now;
    ((struct fixture *)ctx)->expired++;
}

/* A frame always waits: the loop must not turn because nobody can send it. */
static int on_next(void *ctx, mp_time now, uint8_t *buf, size_t cap)
{
    (void)ctx;
    (void)now;
    (void)buf;
    (void)cap;
    return 0;
}

static mp_time on_next_expiry(void *ctx)
{
    (void)ctx;
    return 1;
}

static void on_done(void *ctx, mp_time now)
{
    (void)ctx;
    (void)now;
}

static void start(struct fixture *f)
{
    const uint8_t address[6] = {1, 2, 3, 4, 5, 0xC0};
    const struct md_bearer_handler handler = {.ctx = f,
                                              .heard = on_heard,
                                              .expire = on_expire,
                                              .next = on_next,
                                              .next_expiry = on_next_expiry,
                                              .done = on_done};
    f->base = event_base_new();
    assert_non_null(f->base);
    f->bearer = md_bearer_new(f->base, &f->config, address, &handler);
    assert_non_null(f->bearer);
}

static void run_ms(struct fixture *f, unsigned ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    event_base_loopexit(f->base, &tv);
    event_base_dispatch(f->base);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    md_log_set(MD_LOG_ERROR);
    md_config_init(&f->config);
    snprintf(f->path, sizeof f->path, "/tmp/test-bearer-%d.sock", (int)getpid());
    f->listener = -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    md_bearer_free(f->bearer);
    event_base_free(f->base);
    if (f->listener >= 0)
        close(f->listener);
    unlink(f->path);
    free(f);
    return 0;
}

static void listen_at(struct fixture *f)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    strcpy(addr.sun_path, f->path);
    unlink(f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(f->listener >= 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(f->listener, 4), 0);
}

static int take(struct fixture *f, int timeout_ms)
{
    struct pollfd p = {.fd = f->listener, .events = POLLIN};
    for (; timeout_ms > 0 && poll(&p, 1, 0) == 0; timeout_ms -= 50)
        run_ms(f, 50);
    return poll(&p, 1, 0) > 0 ? accept(f->listener, NULL, NULL) : -1;
}

static void expect_reset(struct fixture *f, int fd)
{
    uint8_t bytes[4] = {0};
    size_t got = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 60 && got < sizeof bytes; i++) {
        run_ms(f, 50);
        ssize_t n = read(fd, bytes + got, sizeof bytes - got);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(got, sizeof bytes);
    assert_memory_equal(bytes, reset, sizeof reset);
}

static void a_controller_that_comes_late_or_goes_is_opened_again(void **state)
{
    struct fixture *f = *state;
    struct md_bearer_info info;
    f->config.hci = MD_HCI_UNIX;
    strcpy(f->config.hci_path, f->path);
    start(f);
    run_ms(f, 100);
    md_bearer_info(f->bearer, &info);
    assert_false(info.is_open);
    assert_non_null(strstr(info.problem, "No such file"));
    listen_at(f);
    int fd = take(f, 3000);
    assert_true(fd >= 0);
    expect_reset(f, fd);
    close(fd);
    fd = take(f, 5000);
    assert_true(fd >= 0);
    expect_reset(f, fd);
    md_bearer_info(f->bearer, &info);
    assert_true(info.is_open && !info.is_running);
    assert_int_equal(info.opens, 2);
    close(fd);
}

static void noise_from_the_controller_is_survived(void **state)
{
    struct fixture *f = *state;
    uint8_t noise[512];
    unsigned seed = 3;
    f->config.hci = MD_HCI_UNIX;
    strcpy(f->config.hci_path, f->path);
    listen_at(f);
    start(f);
    int fd = take(f, 3000);
    assert_true(fd >= 0);
    expect_reset(f, fd);
    for (int i = 0; i < 100; i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)(rand_r(&seed) >> 7);
        noise[0] = 0x04; /* an event */
        assert_int_equal(send(fd, noise, sizeof noise, MSG_NOSIGNAL), (ssize_t)sizeof noise);
        run_ms(f, 2);
    }
    struct md_bearer_info info;
    md_bearer_info(f->bearer, &info);
    assert_true(info.is_open);
    assert_true(info.counters.noise + info.counters.malformed + info.counters.unexpected > 0);
    close(fd);
}

static void a_frame_nobody_can_send_does_not_turn_the_loop(void **state)
{
    struct fixture *f = *state;
    struct rusage before, after;
    f->config.hci = MD_HCI_UNIX;
    strcpy(f->config.hci_path, f->path);
    start(f);
    run_ms(f, 50);
    f->expired = 0;
    getrusage(RUSAGE_SELF, &before);
    run_ms(f, 1000);
    getrusage(RUSAGE_SELF, &after);
    assert_true(f->expired >= 2 && f->expired <= 20);
    assert_true((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
                    before.ru_utime.tv_usec <
                200000);
}

static void a_serial_line_is_raw_with_flow_control(void **state)
{
    struct fixture *f = *state;
    struct termios t;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    f->config.hci = MD_HCI_TTY;
    f->config.hci_baud = 1000000;
    snprintf(f->config.hci_path, sizeof f->config.hci_path, "%s", ptsname(master));
    start(f);
    expect_reset(f, master);
    assert_int_equal(tcgetattr(master, &t), 0);
    assert_int_equal(t.c_lflag & (tcflag_t)(ICANON | ECHO), 0);
    assert_true((t.c_cflag & CRTSCTS) != 0);
    assert_int_equal(cfgetospeed(&t), B1000000);
    close(master);
    struct md_bearer_info info;
    run_ms(f, 100);
    md_bearer_info(f->bearer, &info);
    assert_false(info.is_open);
}

static void a_baud_rate_no_line_has_is_told(void **state)
{
    struct fixture *f = *state;
    struct md_bearer_info info;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    f->config.hci = MD_HCI_TTY;
    f->config.hci_baud = 12345;
    snprintf(f->config.hci_path, sizeof f->config.hci_path, "%s", ptsname(master));
    start(f);
    run_ms(f, 50);
    md_bearer_info(f->bearer, &info);
    assert_non_null(strstr(info.problem, "Invalid argument"));
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_controller_that_comes_late_or_goes_is_opened_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(noise_from_the_controller_is_survived, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_frame_nobody_can_send_does_not_turn_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_serial_line_is_raw_with_flow_control, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_baud_rate_no_line_has_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
