/*
 * The live air with real hosts: a process of its own, three devices in a row (b hears both ends, the ends do not hear
 * each other), connected through the HCI host that nodes use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/hci/hci.h"
#include "sim/air/live.h"

#define HOSTS 3
#define READY_LINE "ready "

struct host {
    const char *name;
    int fd;
    struct mp_hci hci;
    unsigned to_send; /* frames still to be sent; each holds its name and a number */
    unsigned sent;
    const char *say;       /* text for the air's log */
    unsigned heard[HOSTS]; /* by the sender's first letter: a, b, c */
};

static struct host hosts[HOSTS];
static char top[64], dir[96], path[4][128];
static pid_t air;

static mp_time now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mp_time)t.tv_sec * 1000000u + (mp_time)t.tv_nsec / 1000u;
}

/* --- the air
 * ------------------------------------------------------------------------------------------------------------- */

static void write_scenario(const char *file)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs("[scenario]\nname = three\nseed = 5\n[topology]\nkind = line\nnodes = 3\nreach = neighbours\n"
          "first = a\nprefix = x\n",
          f);
    fclose(f);
}

static const char *const names[HOSTS] = {"a", "x1", "x2"};

static int open_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s.sock", dir, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Starts an air in a child; returns when it says that it is ready. */
static pid_t start_air(const struct sim_live_config *config)
{
    int line[2];
    char text[256] = "";
    assert_int_equal(pipe(line), 0);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(line[1], STDOUT_FILENO);
        close(line[0]);
        close(line[1]);
        _exit(sim_live_run(config));
    }
    close(line[1]);
    ssize_t n = read(line[0], text, sizeof text - 1);
    close(line[0]);
    assert_true(n > 0);
    assert_memory_equal(text, READY_LINE, strlen(READY_LINE));
    return pid;
}

static int stop_air(int number)
{
    int status = -1;
    kill(air, number);
    assert_int_equal(waitpid(air, &status, 0), air);
    air = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct sim_live_config make_config(void)
{
    return (struct sim_live_config){
        .scenario = path[0], .dir = dir, .record = path[1], .log = path[2], .stats = path[3]};
}

static void connect_host(unsigned i)
{
    const struct mp_hci_config config = {.address = {(uint8_t)(i + 1), 2, 3, 4, 5, 6}};
    hosts[i] = (struct host){.name = names[i], .fd = open_socket(names[i])};
    assert_true(hosts[i].fd >= 0);
    assert_int_equal(mp_hci_init(&hosts[i].hci, &config, now_us()), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/test-live-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/air", top);
    static const char *const files[] = {"three.ini", "record", "log", "stats"};
    for (unsigned i = 0; i < 4; i++)
        snprintf(path[i], sizeof path[i], "%s/%s", top, files[i]);
    write_scenario(path[0]);
    const struct sim_live_config config = make_config();
    air = start_air(&config);
    for (unsigned i = 0; i < HOSTS; i++)
        connect_host(i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HOSTS; i++)
        if (hosts[i].fd >= 0)
            close(hosts[i].fd);
    if (air > 0)
        stop_air(SIGTERM);
    for (unsigned i = 0; i < 4; i++)
        unlink(path[i]);
    assert_int_equal(access(dir, F_OK), -1); /* the air cleans up after itself */
    assert_int_equal(rmdir(top), 0);
    return 0;
}

/* --- hosts
 * --------------------------------------------------------------------------------------------------------------- */

static void on_frame(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct host *h = ctx;
    (void)now;
    assert_int_equal(heard->length, 225);
    assert_true(heard->frame[0] < HOSTS);
    assert_int_equal(heard->address[0], heard->frame[0] + 1);
    for (size_t i = 2; i < heard->length; i++)
        assert_int_equal(heard->frame[i], heard->frame[1]);
    h->heard[heard->frame[0]]++;
}

static void put(struct host *h, const uint8_t *bytes, int n)
{
    assert_true(n >= 0);
    for (int done = 0; done < n;) {
        ssize_t sent = send(h->fd, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
        assert_true(sent > 0);
        done += (int)sent;
    }
}

/* One turn of a host's loop; its next deadline. */
static mp_time turn(struct host *h)
{
    uint8_t buf[MP_HCI_COMMAND_MAX], frame[MP_FRAME_MAX];
    mp_time now = now_us();
    mp_hci_expire(&h->hci, now);
    if (h->say && mp_hci_is_ready(&h->hci, now)) {
        put(h, buf,
            mp_hci_command(&h->hci, now, HCI_VENDOR_LOG, (const uint8_t *)h->say, strlen(h->say), buf, sizeof buf));
        h->say = NULL;
    } else if (h->to_send > 0 && mp_hci_is_ready(&h->hci, now)) {
        memset(frame, (int)h->sent, sizeof frame);
        frame[0] = (uint8_t)(h - hosts);
        put(h, buf, mp_hci_send(&h->hci, now, frame, sizeof frame, buf, sizeof buf));
        h->to_send--;
        h->sent++;
    }
    for (int n; (n = mp_hci_write(&h->hci, now, buf, sizeof buf)) > 0;)
        put(h, buf, n);
    return mp_hci_next_expiry(&h->hci, now);
}

static bool is_busy(const struct host *h)
{
    return h->fd >= 0 && (h->to_send > 0 || h->say || mp_hci_phase(&h->hci) != MP_HCI_RUN || h->hci.opcode != 0 ||
                          h->hci.counters.sent + h->hci.counters.lost < h->sent);
}

/* Runs the hosts until none has anything left to do, and then a little for what is on the way. */
static void run(void)
{
    mp_time limit = now_us() + MP_SECONDS(20), quiet = MP_NEVER;
    for (;;) {
        struct pollfd set[HOSTS];
        mp_time next = now_us() + MP_MS(20);
        bool busy = false;
        for (unsigned i = 0; i < HOSTS; i++) {
            set[i] = (struct pollfd){.fd = hosts[i].fd, .events = POLLIN};
            if (hosts[i].fd < 0)
                continue;
            mp_time due = turn(&hosts[i]);
            next = due < next ? due : next;
            busy |= is_busy(&hosts[i]);
        }
        mp_time now = now_us();
        assert_true(now < limit);
        quiet = busy ? MP_NEVER : quiet == MP_NEVER ? now + MP_MS(60) : quiet;
        if (now >= quiet)
            return;
        poll(set, HOSTS, next > now ? (int)((next - now + 999) / 1000) : 0);
        for (unsigned i = 0; i < HOSTS; i++) {
            uint8_t bytes[1000];
            ssize_t n = set[i].revents ? recv(hosts[i].fd, bytes, sizeof bytes, MSG_DONTWAIT) : -1;
            if (n > 0)
                mp_hci_receive(&hosts[i].hci, now_us(), bytes, (size_t)n, on_frame, &hosts[i]);
        }
    }
}

/* Sends n frames from host i, alone on the air. */
static void send_frames(unsigned i, unsigned n)
{
    hosts[i].to_send = n;
    run();
}

/* One control command; its answer, to be freed. */
static char *control(const char *line)
{
    size_t size = 0, cap = 1u << 16;
    char *answer = calloc(1, cap);
    int fd = open_socket("control");
    assert_non_null(answer);
    assert_true(fd >= 0);
    assert_true(dprintf(fd, "%s\n", line) > 0);
    for (ssize_t n; size < cap - 1 && !strchr(answer, '\n') && (n = read(fd, answer + size, cap - 1 - size)) > 0;)
        size += (size_t)n;
    close(fd);
    char *end = strchr(answer, '\n');
    assert_non_null(end);
    *end = 0;
    return answer;
}

static void assert_control(const char *line, const char *expected)
{
    char *answer = control(line);
    assert_memory_equal(answer, expected, strlen(expected));
    free(answer);
}

static double stat_of(const char *device, const char *name)
{
    char *text = control("stats");
    cJSON *tree = cJSON_Parse(text);
    assert_non_null(tree);
    cJSON *at = device ? cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "devices"), device) : tree;
    cJSON *value = cJSON_GetObjectItem(at, name);
    assert_true(cJSON_IsNumber(value) || cJSON_IsBool(value));
    double number = cJSON_IsBool(value) ? cJSON_IsTrue(value) : cJSON_GetNumberValue(value);
    cJSON_Delete(tree);
    free(text);
    return number;
}

/* Lines of a file that contain text. */
static unsigned count_lines(const char *file, const char *text)
{
    char line[4096];
    unsigned n = 0;
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, text) != NULL;
    fclose(f);
    return n;
}

/* --- tests
 * --------------------------------------------------------------------------------------------------------------- */

static void test_neighbours_hear_each_other(void **state)
{
    (void)state;
    run();
    mp_time start = now_us();
    for (unsigned i = 0; i < HOSTS; i++)
        send_frames(i, 12);
    /* A scanner loses what is on air while it changes channel (every 60 ms here): some, not many. */
    assert_in_range(hosts[1].heard[0], 8, 12);
    assert_in_range(hosts[1].heard[2], 8, 12);
    assert_in_range(hosts[0].heard[1], 8, 12);
    assert_in_range(hosts[2].heard[1], 8, 12);
    assert_int_equal(hosts[0].heard[2], 0);
    assert_int_equal(hosts[2].heard[0], 0);
    for (unsigned i = 0; i < HOSTS; i++) {
        assert_int_equal(hosts[i].heard[i], 0);
        assert_int_equal(hosts[i].hci.counters.sent, 12);
        assert_int_equal(hosts[i].hci.counters.lost, 0);
        assert_int_equal(hosts[i].hci.counters.malformed, 0);
        assert_int_equal(hosts[i].hci.counters.noise, 0);
    }
    assert_true(now_us() - start >= 36 * MP_MS(20)); /* the pace was kept */
    assert_int_equal(stat_of(NULL, "events"), 36);
    assert_int_equal(stat_of("a", "bytes"), 12 * 229);
    assert_int_equal(stat_of("x1", "received"), hosts[0].heard[1] + hosts[2].heard[1]);
}

static void test_loss_is_drawn(void **state)
{
    (void)state;
    assert_control("loss 50", "ok");
    send_frames(0, 60);
    assert_in_range(hosts[1].heard[0], 15, 45);
    unsigned before = hosts[1].heard[0];
    assert_control("loss 100", "ok");
    send_frames(0, 5);
    assert_int_equal(hosts[1].heard[0], before);
    assert_control("loss 0", "ok");
    send_frames(0, 5);
    assert_true(hosts[1].heard[0] > before);
    assert_control("loss 101", "error");
    assert_control("loss", "error");
    assert_control("loss nan", "error");
    assert_control("loss 5 %", "ok"); /* further words are ignored */
}

static void test_cut_and_heal(void **state)
{
    (void)state;
    assert_control("cut a", "ok");
    send_frames(0, 5);
    send_frames(1, 8);
    assert_int_equal(hosts[1].heard[0], 0);
    assert_int_equal(hosts[0].heard[1], 0);
    assert_true(hosts[2].heard[1] > 0);
    assert_control("heal a", "ok");
    send_frames(0, 8);
    assert_true(hosts[1].heard[0] > 0);
    assert_int_equal(hosts[2].heard[0], 0);
    unsigned before = hosts[2].heard[1];
    assert_control("cut x1 x2", "ok");
    send_frames(1, 8);
    assert_int_equal(hosts[2].heard[1], before);
    assert_true(hosts[0].heard[1] > 0);
    assert_control("heal x2 x1", "ok");
    send_frames(1, 8);
    assert_true(hosts[2].heard[1] > before);
    assert_control("cut nobody", "error");
    assert_control("cut", "error");
    assert_control("cut a x1 x2", "error");
    assert_control("", "error");
    assert_control("sing", "error");
}

static void test_reconnect_resets_the_controller(void **state)
{
    uint8_t byte;
    (void)state;
    run();
    int second = open_socket("a");
    assert_true(second >= 0);
    assert_int_equal(read(second, &byte, 1), 0); /* the place is taken */
    close(second);
    send_frames(1, 5);
    close(hosts[0].fd);
    connect_host(0);
    send_frames(0, 8);
    assert_true(hosts[1].heard[0] > 0);
    assert_int_equal(hosts[0].hci.counters.restarts, 0);
    assert_int_equal(stat_of("a", "connections"), 2);
    close(hosts[0].fd);
    hosts[0].fd = -1;
    run();
    assert_int_equal(stat_of("a", "connected"), 0);
    assert_int_equal(count_lines(path[2], " a connect"), 2);
    assert_int_equal(count_lines(path[2], " a disconnect"), 2);
}

static void test_host_that_loses_its_way_recovers(void **state)
{
    (void)state;
    run();
    put(&hosts[0], (const uint8_t *)"\x00garbage", 8);
    run(); /* hardware error: the host starts over */
    mp_time limit = now_us() + MP_SECONDS(5);
    while (hosts[0].hci.counters.restarts == 0 && now_us() < limit)
        run();
    send_frames(0, 8);
    assert_true(hosts[1].heard[0] > 0);
    assert_int_equal(hosts[0].hci.counters.restarts, 1);
    assert_int_equal(stat_of("a", "noise"), 8);
}

static void test_slow_host_stops_nobody(void **state)
{
    uint8_t ask[400];
    (void)state;
    run();
    int fd = hosts[2].fd; /* reads nothing any more, and asks for more and more */
    hosts[2].fd = -1;
    for (size_t i = 0; i < sizeof ask; i += 4)
        memcpy(ask + i, (const uint8_t[]){1, 0x02, 0x10, 0}, 4);
    ssize_t n, total = 0;
    while ((n = send(fd, ask, sizeof ask, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0 && total < 1 << 24)
        total += n;
    assert_true(n < 0 && errno == EAGAIN); /* it is not read from for ever either */
    send_frames(1, 12);
    assert_in_range(hosts[0].heard[1], 8, 12);
    assert_true(stat_of("x2", "reports_dropped") > 0);
    /* What it was answered is whole packets when it reads at last. */
    mp_hci_init(&hosts[2].hci, &(const struct mp_hci_config){.address = {3}}, now_us());
    hosts[2].fd = fd;
    run();
    send_frames(1, 8);
    assert_int_equal(hosts[2].hci.counters.noise, 0);
    assert_int_equal(hosts[2].hci.counters.malformed, 0);
    assert_true(hosts[2].heard[1] > 0);
}

static void test_files_tell_what_happened(void **state)
{
    (void)state;
    hosts[1].say = "version 2.0.0";
    send_frames(0, 10);
    assert_int_equal(count_lines(path[2], " x1 log version 2.0.0"), 1);
    assert_int_equal(stop_air(SIGTERM), 0);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(count_lines(path[2], " - stop"), 1);
    assert_int_equal(count_lines(path[1], " a 0 "), 10);
    assert_int_equal(count_lines(path[1], " x1=R\n"), hosts[1].heard[0]);
    assert_int_equal(count_lines(path[1], " e4ffffff00"), 10);
    assert_int_equal(count_lines(path[3], "\"scenario\":\t\"three\""), 1);
}

static void test_interrupt_and_quit_end_it(void **state)
{
    const struct sim_live_config config = make_config();
    int status;
    (void)state;
    assert_int_equal(stop_air(SIGINT), 0);
    air = start_air(&config);
    assert_control("quit", "ok");
    assert_int_equal(waitpid(air, &status, 0), air);
    air = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_only_one_air_in_a_directory(void **state)
{
    struct sim_live_config config = make_config();
    int status;
    (void)state;
    config.record = config.log = config.stats = NULL;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fclose(stderr);
        _exit(sim_live_run(&config));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    run(); /* the first one is unharmed */
    /* What a killed one left behind does not stop the next. */
    kill(air, SIGKILL);
    assert_int_equal(waitpid(air, &status, 0), air);
    config = make_config();
    air = start_air(&config);
    for (unsigned i = 0; i < HOSTS; i++) {
        close(hosts[i].fd);
        connect_host(i);
    }
    run();
    assert_int_equal(stop_air(SIGTERM), 0);
    rmdir(dir); /* it was there before the second one, who leaves it */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_neighbours_hear_each_other),
        TEST(test_loss_is_drawn),
        TEST(test_cut_and_heal),
        TEST(test_reconnect_resets_the_controller),
        TEST(test_host_that_loses_its_way_recovers),
        TEST(test_slow_host_stops_nobody),
        TEST(test_files_tell_what_happened),
        TEST(test_interrupt_and_quit_end_it),
        TEST(test_only_one_air_in_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
