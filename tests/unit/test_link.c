/* The byte stream to a controller: opening, losing, backing off, a controller that stops reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node-fw/port/posix/link.h"

struct fixture {
    char directory[32], path[64], address[80];
    int listener;
    struct port_link link;
};

static int listen_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    strcpy(x->directory, "/tmp/link-XXXXXX");
    assert_non_null(mkdtemp(x->directory));
    snprintf(x->path, sizeof x->path, "%s/hci", x->directory);
    snprintf(x->address, sizeof x->address, "unix:%s", x->path);
    x->listener = -1;
    assert_int_equal(port_link_init(&x->link, x->address, 1000), 0);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    port_link_close(&x->link);
    if (x->listener >= 0)
        close(x->listener);
    unlink(x->path);
    rmdir(x->directory);
    free(x);
    return 0;
}

static void test_addresses(void **state)
{
    (void)state;
    struct port_link l;
    char path[300] = "unix:";
    memset(path + 5, 'x', 200);
    assert_int_equal(port_link_init(&l, path, 0), MP_ERR_FORMAT);
    memcpy(path, "tty:x", 5);
    assert_int_equal(port_link_init(&l, path, 0), MP_ERR_FORMAT);
    assert_int_equal(port_link_init(&l, "unix:", 0), MP_ERR_FORMAT);
    assert_int_equal(port_link_init(&l, "tty:", 0), MP_ERR_FORMAT);
    assert_int_equal(port_link_init(&l, "", 0), MP_ERR_FORMAT);
    assert_int_equal(port_link_init(&l, "tcp:host", 0), MP_ERR_FORMAT);
    assert_int_equal(port_link_init(&l, "tty:/dev/null", 0), 0);
    assert_false(port_link_expire(&l, 0)); /* no terminal */
    assert_int_equal(port_link_init(&l, "tty:/dev/ptmx,7", 0), 0);
    assert_false(port_link_expire(&l, 0)); /* no such speed */
}

static void test_backs_off_until_there_is_a_controller(void **state)
{
    struct fixture *x = *state;
    uint8_t buf[8];
    mp_time now = port_link_next_expiry(&x->link), last = 0;
    assert_int_equal(now, 1000);
    for (int i = 0; i < 10; i++) {
        assert_false(port_link_expire(&x->link, now));
        assert_true(port_link_next_expiry(&x->link) - now >= last);
        last = port_link_next_expiry(&x->link) - now;
        assert_false(port_link_expire(&x->link, now)); /* not before its time */
        now += last;
    }
    assert_int_equal(last, MP_MS(2000));
    port_link_put(&x->link, now, (const uint8_t *)"lost", 4);
    assert_int_equal(port_link_read(&x->link, now, buf, sizeof buf), MP_ERR_ABSENT);
    x->listener = listen_at(x->path);
    assert_true(port_link_expire(&x->link, now));
    assert_int_equal(port_link_next_expiry(&x->link), MP_NEVER);
}

static void test_carries_both_ways_and_notices_the_end(void **state)
{
    struct fixture *x = *state;
    uint8_t buf[8];
    x->listener = listen_at(x->path);
    assert_true(port_link_expire(&x->link, 1000));
    const int controller = accept(x->listener, NULL, NULL);
    assert_true(controller >= 0);
    assert_int_equal(port_link_read(&x->link, 1000, buf, sizeof buf), 0);
    port_link_put(&x->link, 1000, (const uint8_t *)"hello", 5);
    assert_int_equal(read(controller, buf, sizeof buf), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(write(controller, "yes", 3), 3);
    assert_int_equal(port_link_read(&x->link, 1000, buf, sizeof buf), 3);
    close(controller);
    assert_int_equal(port_link_read(&x->link, 2000, buf, sizeof buf), MP_ERR_ABSENT);
    assert_int_equal(x->link.fd, -1);
    assert_int_equal(x->link.losses, 1);
    assert_int_equal(port_link_next_expiry(&x->link), 2000 + MP_MS(50));
    assert_true(port_link_expire(&x->link, 2000 + MP_MS(50)));
}

static void test_controller_that_stops_reading_is_dropped(void **state)
{
    struct fixture *x = *state;
    static uint8_t burst[512], drain[1 << 16];
    size_t put = 0, got = 0;
    x->listener = listen_at(x->path);
    assert_true(port_link_expire(&x->link, 1000));
    const int controller = accept(x->listener, NULL, NULL);
    assert_true(controller >= 0);
    while (x->link.queued == 0) {
        for (size_t i = 0; i < sizeof burst; i++)
            burst[i] = (uint8_t)((put + i) % 251);
        port_link_put(&x->link, 1000, burst, sizeof burst);
        put += sizeof burst;
        assert_true(put < 64u << 20);
    }
    /* It reads again: nothing is missing. */
    while (got < put) {
        const ssize_t n = read(controller, drain, sizeof drain);
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(drain[i], (got + (size_t)i) % 251);
        got += (size_t)n;
        port_link_flush(&x->link, 1000);
    }
    assert_int_equal(x->link.queued, 0);
    for (put = 0; x->link.fd >= 0; put += sizeof burst) {
        port_link_put(&x->link, 1000, burst, sizeof burst);
        assert_true(put < 64u << 20);
    }
    assert_int_equal(x->link.losses, 1);
    close(controller);
}

static void test_write_to_a_closed_controller(void **state)
{
    struct fixture *x = *state;
    x->listener = listen_at(x->path);
    assert_true(port_link_expire(&x->link, 1000));
    close(accept(x->listener, NULL, NULL));
    port_link_put(&x->link, 1000, (const uint8_t *)"hello", 5);
    assert_int_equal(x->link.fd, -1);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backs_off_until_there_is_a_controller, setup, teardown),
        cmocka_unit_test_setup_teardown(test_carries_both_ways_and_notices_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_controller_that_stops_reading_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_to_a_closed_controller, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
