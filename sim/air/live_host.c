/*
 * The live air's hosts: one socket a device. Nothing a host does or fails to do blocks the loop: reads are one piece a
 * wake-up, the controller's output is bounded, and a host that does not read is not read from either.
 */
#include "live_state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DRAIN_MAX 64
#define SEND_BUFFER 65536 /* of the kernel: keeps what a stopped host finds later from being very old */

void sim_live_host_dirty(struct live_host *h)
{
    if (h->is_dirty || h->fd < 0)
        return;
    h->is_dirty = true;
    h->live->dirty[h->live->dirty_count++] = h->device;
}

static void disconnect(struct live_host *h)
{
    if (h->fd < 0)
        return;
    event_free(h->readable);
    event_free(h->writable);
    h->readable = h->writable = NULL;
    close(h->fd);
    h->fd = -1;
    h->input_size = 0;
    h->is_stalled = false;
    sim_controller_power(h->controller, sim_live_now(h->live));
    sim_live_log(h->live, h->device, "disconnect", NULL);
}

/* Hands the controller what was read; reads no further while it has no room. */
static void feed(struct live_host *h)
{
    size_t taken = sim_controller_receive(h->controller, sim_live_now(h->live), h->input, h->input_size);
    h->input_size -= taken;
    memmove(h->input, h->input + taken, h->input_size);
    if (h->input_size > 0 && !h->is_stalled)
        event_del(h->readable);
    else if (h->input_size == 0 && h->is_stalled)
        event_add(h->readable, NULL);
    h->is_stalled = h->input_size > 0;
}

/* Sends until nothing is left (true), or the socket is full or gone. */
static bool send_output(struct live_host *h)
{
    size_t n;
    const uint8_t *p;
    while (p = sim_controller_output(h->controller, &n), n > 0) {
        ssize_t sent = send(h->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            sim_controller_consume(h->controller, (size_t)sent);
        } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            event_add(h->writable, NULL);
            return false;
        } else if (sent == 0 || errno != EINTR) {
            disconnect(h);
            return false;
        }
    }
    return true;
}

void sim_live_host_flush(struct live_host *h)
{
    if (h->fd < 0 || !send_output(h))
        return;
    event_del(h->writable);
    while (h->is_stalled && sim_controller_has_room(h->controller)) {
        feed(h);
        if (!send_output(h))
            return;
    }
}

/* One piece of input. False when the host is gone. */
static bool read_input(struct live_host *h)
{
    if (h->is_stalled)
        return true;
    ssize_t n = recv(h->fd, h->input, sizeof h->input, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return true;
    if (n <= 0) {
        disconnect(h);
        return false;
    }
    h->input_size = (size_t)n;
    feed(h);
    sim_live_host_dirty(h);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    struct live_host *h = ctx;
    (void)fd, (void)what;
    read_input(h);
    sim_live_settle(h->live);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
    struct live_host *h = ctx;
    (void)fd, (void)what;
    sim_live_now(h->live);
    sim_live_host_dirty(h);
    sim_live_settle(h->live);
}

/* Takes what the present host still said, up to the end of its connection if there is one. */
static void drain(struct live_host *h)
{
    char peek;
    for (unsigned i = 0; i < DRAIN_MAX && h->fd >= 0 && !h->is_stalled; i++) {
        if (recv(h->fd, &peek, 1, MSG_PEEK | MSG_DONTWAIT) < 0 || !read_input(h))
            return;
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int size, void *ctx)
{
    struct live_host *h = ctx;
    struct sim_live *l = h->live;
    static const int buffer = SEND_BUFFER;
    (void)listener, (void)from, (void)size;
    drain(h); /* a host that was restarted may be here before the end of its predecessor's connection was noticed */
    if (h->fd >= 0) {
        close(fd);
        return;
    }
    h->readable = event_new(l->base, fd, EV_READ | EV_PERSIST, on_readable, h);
    h->writable = event_new(l->base, fd, EV_WRITE | EV_PERSIST, on_writable, h);
    if (!h->readable || !h->writable || event_add(h->readable, NULL) != 0) {
        if (h->readable)
            event_free(h->readable);
        if (h->writable)
            event_free(h->writable);
        h->readable = h->writable = NULL;
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    h->fd = fd;
    h->connections++;
    sim_controller_power(h->controller, sim_live_now(l));
    sim_live_log(l, h->device, "connect", NULL);
    sim_live_settle(l);
}

static void on_log(void *ctx, uint32_t device, const char *text)
{
    sim_live_log(ctx, device, "log", text);
}

int sim_live_host_open(struct sim_live *l, uint32_t device)
{
    struct live_host *h = &l->host[device];
    int32_t tx_dbm = l->scenario.radio.tx_mdbm / 1000;
    const struct sim_controller_config config = {
        .medium = l->medium,
        .device = device,
        .public_address = {(uint8_t)device, (uint8_t)(device >> 8), 0x01, 0x00, 0x00, 0x02}, /* locally administered */
        .tx_dbm = (int8_t)tx_dbm,
        .log = on_log,
        .ctx = l,
    };
    h->live = l;
    h->device = device;
    if (sim_live_address(&h->address, l->config.dir, l->scenario.node[device].name) != 0)
        return -1;
    h->controller = sim_controller_open(&config);
    if (!h->controller) {
        fprintf(stderr, "meshsim: out of memory\n");
        return -1;
    }
    h->listener = sim_live_listen(l, &h->address, on_accept, h);
    return h->listener ? 0 : -1;
}

void sim_live_host_close(struct live_host *h)
{
    disconnect(h);
    if (h->listener) {
        evconnlistener_free(h->listener);
        unlink(h->address.sun_path);
    }
    if (h->controller)
        sim_controller_close(h->controller);
}
