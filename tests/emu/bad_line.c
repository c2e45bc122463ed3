#include "bad_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/hci/hci_defs.h"
#include "proto/hci/hci.h"
#include "proto/mp_wire.h"

enum { FLOOD_AHEAD = 512, SEND_BUFFER = 4096, NOISE_EVERY = 2, NOISE_MAX = 400, RETRIES = 40 };

const char *bad_line_name(enum bad_mode mode)
{
    static const char *const names[BAD_MODES] = {"nothing",
                                                 "sprinkled noise",
                                                 "bursts of noise",
                                                 "half a packet, then silence",
                                                 "silence",
                                                 "takes nothing",
                                                 "a flood of bytes",
                                                 "a flood of events",
                                                 "a flood of reports",
                                                 "a flood of foreign frames",
                                                 "a flood of oversized events"};
    return names[mode];
}

/* xorshift32 (Marsaglia, "Xorshift RNGs", 2003) */
static uint32_t draw(struct bad_line *l)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 17;
    l->random ^= l->random << 5;
    return l->random;
}

static void fill_random(struct bad_line *l, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(draw(l) >> 11);
}

/* --- towards the part --------------------------------------------------------------------------------------------- */

static bool has_room(const struct bad_line *l, size_t len)
{
    return sizeof l->out - l->out_len >= len;
}

static void put(struct bad_line *l, const uint8_t *data, size_t len)
{
    if (!has_room(l, len))
        return;
    memcpy(l->out + l->out_len, data, len);
    l->out_len += len;
}

static void make_up(struct bad_line *l, const uint8_t *data, size_t len)
{
    put(l, data, len);
    l->seen.made_up += len;
}

static void make_noise(struct bad_line *l, size_t max)
{
    uint8_t noise[NOISE_MAX];
    const size_t len = 1 + draw(l) % max;
    fill_random(l, noise, len);
    make_up(l, noise, len);
}

/* An extended advertising report with `len` bytes of data, which are random but for the start that is given. */
static void make_report(struct bad_line *l, const uint8_t *start, size_t start_len, size_t len)
{
    uint8_t e[HCI_EVENT_MAX];
    uint8_t *data = e + HCI_EVENT_HEADER + 2 + HCI_REPORT_HEADER;
    fill_random(l, e, sizeof e);
    e[0] = HCI_H4_EVENT;
    e[1] = HCI_EVENT_LE_META;
    e[2] = (uint8_t)(2 + HCI_REPORT_HEADER + len);
    e[3] = HCI_LE_EXT_ADV_REPORT;
    e[4] = 1;
    mp_put16(e + 5, 0); /* complete, neither connectable nor legacy */
    e[7] = 1;           /* random address */
    e[14] = HCI_PHY_1M;
    e[15] = HCI_PHY_1M;
    mp_put16(e + 19, 0); /* not periodic */
    e[28] = (uint8_t)len;
    memcpy(data, start, start_len);
    make_up(l, e, HCI_EVENT_HEADER + 2 + HCI_REPORT_HEADER + len);
}

static void make_flood(struct bad_line *l)
{
    uint8_t e[HCI_EVENT_MAX];
    const size_t len = 12 + draw(l) % 200;
    static const uint8_t heard[] = {HCI_EVENT_COMMAND_COMPLETE, HCI_EVENT_COMMAND_STATUS, HCI_EVENT_HARDWARE_ERROR,
                                    HCI_EVENT_LE_META};
    const uint8_t flags[3] = {2, 1, 6};
    const uint8_t frame[6] = {(uint8_t)(len - 1),  HCI_AD_MANUFACTURER,     MP_HCI_COMPANY & 0xff,
                              MP_HCI_COMPANY >> 8, (uint8_t)(draw(l) >> 9), 7};
    fill_random(l, e, sizeof e);
    e[0] = HCI_H4_EVENT;
    switch (l->mode) {
    case BAD_FLOOD_BYTES:
        make_up(l, e, sizeof e);
        break;
    case BAD_FLOOD_EVENTS: /* every code, more often those that a host listens to */
        if (e[1] >= 0x40)
            e[1] = heard[e[1] % sizeof heard];
        make_up(l, e, HCI_EVENT_HEADER + (size_t)e[2]);
        break;
    case BAD_FLOOD_REPORTS:
        make_report(l, flags, sizeof flags, len);
        break;
    case BAD_FLOOD_FOREIGN:
        make_report(l, frame, sizeof frame, len);
        break;
    case BAD_FLOOD_OVERSIZED: /* the event is as long as it says, what is in it is not */
        e[1] = HCI_EVENT_LE_META;
        e[2] = (uint8_t)(draw(l) % 3 == 0 ? 255 : 1 + draw(l) % 255);
        e[3] = HCI_LE_EXT_ADV_REPORT;
        e[4] = (uint8_t)(draw(l) % 2 == 0 ? 1 : draw(l));
        e[28] = (uint8_t)(255 - draw(l) % 32);
        make_up(l, e, HCI_EVENT_HEADER + (size_t)e[2]);
        break;
    case BAD_NOTHING:
    case BAD_SPRINKLED:
    case BAD_NOISE:
    case BAD_HALF:
    case BAD_SILENT:
    case BAD_DEAF:
    case BAD_MODES:
        break;
    }
}

static bool floods(enum bad_mode mode)
{
    return mode >= BAD_FLOOD_BYTES && mode <= BAD_FLOOD_OVERSIZED;
}

/* One packet of the controller, on its way to the part. */
static void hand_on(struct bad_line *l, uint8_t *packet, size_t len)
{
    switch (l->mode) {
    case BAD_SPRINKLED:
        if (draw(l) % l->one_in == 0) {
            const size_t at = draw(l) % len;
            const unsigned kind = draw(l) % 3;
            put(l, packet, at);
            if (kind != 0)
                make_noise(l, 3);                                    /* inserted, or */
            put(l, packet + at + (kind < 2), len - at - (kind < 2)); /* instead of a byte; or one is missing */
            l->seen.damaged++;
            return;
        }
        break;
    case BAD_NOISE:
        if (draw(l) % NOISE_EVERY == 0) {
            const size_t at = draw(l) % len;
            put(l, packet, at);
            make_noise(l, NOISE_MAX);
            l->seen.damaged++;
            packet += at;
            len -= at;
        }
        break;
    case BAD_HALF:
        if (!l->half_done)
            put(l, packet, len / 2);
        l->half_done = true;
        l->seen.damaged++;
        return;
    case BAD_SILENT:
        l->seen.damaged++;
        return;
    case BAD_NOTHING:
    case BAD_DEAF:
    case BAD_FLOOD_BYTES:
    case BAD_FLOOD_EVENTS:
    case BAD_FLOOD_REPORTS:
    case BAD_FLOOD_FOREIGN:
    case BAD_FLOOD_OVERSIZED:
    case BAD_MODES:
        break;
    }
    put(l, packet, len);
}

/* What the controller says tells what the part does. */
static void witness(struct bad_line *l, const uint8_t *packet, size_t len)
{
    if (packet[1] == HCI_EVENT_COMMAND_COMPLETE && len >= 7 && packet[6] == HCI_OK) {
        const uint16_t opcode = mp_get16(packet + 4);
        l->seen.resets += opcode == HCI_RESET;
        l->seen.scans = opcode == HCI_LE_SET_EXT_SCAN_ENABLE || (l->seen.scans && opcode != HCI_RESET);
    } else if (packet[1] == HCI_EVENT_LE_META && len >= 4) {
        l->seen.advertised += packet[3] == HCI_LE_ADV_SET_TERMINATED;
        l->seen.reports += packet[3] == HCI_LE_EXT_ADV_REPORT;
    }
}

static void take_packets(struct bad_line *l)
{
    for (;;) {
        const size_t len = l->in_len >= HCI_EVENT_HEADER ? HCI_EVENT_HEADER + (size_t)l->in[2] : SIZE_MAX;
        if (l->in_len < len)
            return;
        witness(l, l->in, len);
        hand_on(l, l->in, len);
        memmove(l->in, l->in + len, l->in_len - len);
        l->in_len -= len;
    }
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */

static int connect_air(struct bad_line *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, l->path, sizeof address.sun_path);
    l->air = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->air < 0 || connect(l->air, (const struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    fcntl(l->air, F_SETFL, O_NONBLOCK);
    l->in_len = 0;
    return 0;
}

/* Long enough for the air to see it, too, mostly: it turns a second connection away. */
static void connect_anew(struct bad_line *l)
{
    const struct timespec off = {0, 50000000};
    close(l->air);
    nanosleep(&off, NULL);
    if (connect_air(l) != 0)
        l->broken = "the air does not answer";
}

static void read_air(struct bad_line *l)
{
    const ssize_t n = recv(l->air, l->in + l->in_len, sizeof l->in - l->in_len, 0);
    if (n == 0 && l->retries > 0) {
        l->retries--;
        connect_anew(l);
        return;
    }
    if (n > 0)
        l->retries = 0;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        l->broken = n == 0 ? "the air hung up" : strerror(errno);
    if (n <= 0)
        return;
    l->in_len += (size_t)n;
    take_packets(l);
}

static void read_part(struct bad_line *l)
{
    uint8_t data[1024];
    const ssize_t n = recv(l->part, data, sizeof data, l->mode == BAD_DEAF ? MSG_PEEK : 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        l->broken = n == 0 ? "the part hung up" : strerror(errno);
    if (n <= 0)
        return;
    l->seen.from_part += (uint64_t)n;
    if (l->mode == BAD_DEAF)
        l->peeked += (size_t)n;
    /* the air always has room for what one part can say; what a connection that it turned away took is lost */
    if (l->mode != BAD_SILENT && send(l->air, data, (size_t)n, MSG_NOSIGNAL) != n && l->retries == 0)
        l->broken = "the air takes no command";
}

static void write_part(struct bad_line *l)
{
    const ssize_t n = send(l->part, l->out, l->out_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        l->broken = "the part takes no byte";
    if (n <= 0)
        return;
    l->seen.to_part += (uint64_t)n;
    memmove(l->out, l->out + n, l->out_len - (size_t)n);
    l->out_len -= (size_t)n;
}

static void step(struct bad_line *l, const struct pollfd fds[3])
{
    uint8_t spare[16];
    if ((fds[2].revents & POLLIN) != 0)
        while (read(l->wake[0], spare, sizeof spare) > 0)
            ;
    if (l->mode == BAD_DEAF || (fds[0].revents & (POLLIN | POLLHUP)) != 0)
        read_part(l);
    if ((fds[1].revents & (POLLIN | POLLHUP)) != 0 && fds[1].fd == l->air)
        read_air(l);
    while (floods(l->mode) && l->out_len < FLOOD_AHEAD)
        make_flood(l);
    if (l->mode == BAD_NOISE && l->out_len == 0 && draw(l) % 64 == 0)
        make_noise(l, NOISE_MAX);
    if (l->out_len > 0)
        write_part(l);
}

static void *run(void *ctx)
{
    struct bad_line *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && l->broken == NULL) {
        struct pollfd fds[3] = {
            {.fd = l->part, .events = POLLIN}, {.fd = l->air, .events = POLLIN}, {.fd = l->wake[0], .events = POLLIN}};
        if (l->mode == BAD_DEAF) /* what was only looked at would wake it at once */
            fds[0].events = 0;
        if (l->out_len > 0 || floods(l->mode))
            fds[0].events |= POLLOUT;
        if (!has_room(l, 1024 + NOISE_MAX)) /* what one read may bring, and noise in it */
            fds[1].fd = -1;
        pthread_mutex_unlock(&l->lock);
        poll(fds, 3, 20);
        pthread_mutex_lock(&l->lock);
        step(l, fds);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------------------------- */

static void wake_up(struct bad_line *l)
{
    if (write(l->wake[1], "", 1) != 1)
        l->broken = "its thread cannot be woken";
}

int bad_line_open(struct bad_line *l, int part, const char *air, uint32_t seed)
{
    const int buffer = SEND_BUFFER; /* small, or a packet would wait for seconds behind a flood */
    memset(l, 0, sizeof *l);
    l->part = part;
    l->random = seed | 1;
    if (strlen(air) >= sizeof l->path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(l->path, air, strlen(air));
    if (setsockopt(part, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) != 0 || connect_air(l) != 0 ||
        pipe2(l->wake, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    pthread_mutex_init(&l->lock, NULL);
    errno = pthread_create(&l->thread, NULL, run, l);
    return errno == 0 ? 0 : -1;
}

void bad_line_close(struct bad_line *l)
{
    if (l->path[0] == 0)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    wake_up(l);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->lock);
    close(l->air);
    close(l->wake[0]);
    close(l->wake[1]);
    memset(l, 0, sizeof *l);
}

/* What was handed on without being taken is taken at last. */
static void take_peeked(struct bad_line *l)
{
    uint8_t spare[256];
    const int off = -1;
    while (l->peeked > 0) {
        const ssize_t n = recv(l->part, spare, l->peeked < sizeof spare ? l->peeked : sizeof spare, 0);
        if (n <= 0) {
            l->broken = "the part's bytes are gone";
            break;
        }
        l->peeked -= (size_t)n;
    }
    if (setsockopt(l->part, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off) != 0)
        l->broken = "the part's bytes cannot be looked at";
}

void bad_line_set(struct bad_line *l, enum bad_mode mode, unsigned one_in)
{
    const int from = 0;
    pthread_mutex_lock(&l->lock);
    if (l->mode == BAD_DEAF)
        take_peeked(l);
    /* so that the controller sees what the part's line still lets out, and goes on provoking it until that is full */
    if (mode == BAD_DEAF && setsockopt(l->part, SOL_SOCKET, SO_PEEK_OFF, &from, sizeof from) != 0)
        l->broken = "the part's bytes cannot be looked at";
    l->mode = mode;
    l->one_in = one_in > 0 ? one_in : 1;
    l->half_done = false;
    wake_up(l);
    pthread_mutex_unlock(&l->lock);
}

void bad_line_say(struct bad_line *l, const uint8_t *data, size_t len)
{
    pthread_mutex_lock(&l->lock);
    make_up(l, data, len);
    wake_up(l);
    pthread_mutex_unlock(&l->lock);
}

void bad_line_drop(struct bad_line *l)
{
    pthread_mutex_lock(&l->lock);
    l->retries = RETRIES;
    connect_anew(l);
    l->seen.drops++;
    l->seen.scans = false;
    wake_up(l);
    pthread_mutex_unlock(&l->lock);
}

const char *bad_line_seen(struct bad_line *l, struct bad_seen *seen)
{
    pthread_mutex_lock(&l->lock);
    *seen = l->seen;
    const char *broken = l->broken;
    pthread_mutex_unlock(&l->lock);
    return broken;
}
