/*
 * The HCI host under hostile streams. Two runs of every input: one host is fed all at once and one in pieces, and both
 * must end alike; a third host is driven as a real one would be (time, sending, writing between the pieces) and must
 * keep its promises.
 */
#include <stdlib.h>

#include "proto/hci/hci.h"
#include "proto/mp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    uint32_t count;
    uint32_t hash;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void tally_frame(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct tally *t = ctx;
    (void)now;
    require(heard->length >= 1 && heard->length <= MP_FRAME_MAX);
    t->count++;
    for (size_t i = 0; i < heard->length; i++)
        t->hash = t->hash * 31 + heard->frame[i];
    t->hash = t->hash * 31 + heard->address[5] + (uint8_t)heard->rssi;
}

static void open_host(struct mp_hci *h, uint8_t choice)
{
    const struct mp_hci_config config = {
        .address = {1, 2, 3, 4, 5, 6}, .phy = choice % 3, .sets = (uint8_t)(1 + choice / 3 % 2)};
    require(mp_hci_init(h, &config, 0) == 0);
    if (choice & 0x80)
        return; /* the stream meets it during start-up */
    uint8_t buf[MP_HCI_COMMAND_MAX];
    while (mp_hci_write(h, 0, buf, sizeof buf) > 0) {
        uint8_t answer[] = {4, 0x0E, 12, 1, buf[1], buf[2], 0, 0, 0x19, 0, 0, 0, 0, 0, 0};
        mp_hci_receive(h, 0, answer, sizeof answer, NULL, NULL);
    }
    require(mp_hci_phase(h) == MP_HCI_RUN);
}

/* The same state but for bytes of rx that are not in use. */
static bool is_alike(const struct mp_hci *a, const struct mp_hci *b)
{
    return memcmp(&a->counters, &b->counters, sizeof a->counters) == 0 && a->phase == b->phase && a->step == b->step &&
           a->error == b->error && a->credits == b->credits && a->opcode == b->opcode &&
           a->command_due == b->command_due && a->hold_until == b->hold_until && a->ready_at == b->ready_at &&
           memcmp(a->set_state, b->set_state, sizeof a->set_state) == 0 && a->rx_length == b->rx_length &&
           memcmp(a->rx, b->rx, a->rx_length) == 0;
}

/* Length of the next piece, from the input's own bytes. */
static size_t piece(const uint8_t *data, size_t size, size_t i)
{
    size_t n = 1u + (data[(i * 7 + 3) % size] & 0x3F);
    return n < size - i ? n : size - i;
}

static void compare_splits(const uint8_t *data, size_t size)
{
    struct mp_hci whole, split;
    struct tally a = {0}, b = {0};
    open_host(&whole, data[0]);
    open_host(&split, data[0]);
    mp_hci_receive(&whole, 1, data + 1, size - 1, tally_frame, &a);
    for (size_t i = 1; i < size;) {
        size_t n = piece(data, size, i);
        mp_hci_receive(&split, 1, data + i, n, tally_frame, &b);
        i += n;
    }
    require(a.count == b.count && a.hash == b.hash && a.count == whole.counters.frames);
    require(is_alike(&whole, &split));
}

static void check_command(const uint8_t *buf, int n)
{
    require(n >= HCI_COMMAND_HEADER && n <= MP_HCI_COMMAND_MAX && buf[0] == HCI_H4_COMMAND &&
            n == HCI_COMMAND_HEADER + buf[3]);
}

static void drive(const uint8_t *data, size_t size)
{
    struct mp_hci h;
    struct tally t = {0};
    mp_time now = 1;
    uint32_t sends = 0;
    open_host(&h, data[0]);
    for (size_t i = 1; i < size;) {
        uint8_t buf[MP_HCI_COMMAND_MAX];
        size_t n = piece(data, size, i);
        int len;
        mp_hci_receive(&h, now, data + i, n, tally_frame, &t);
        i += n;
        now += MP_MS(data[i % size]) * (data[i / 2] & 1 ? 20 : 1);
        mp_hci_expire(&h, now);
        require(h.rx_length < HCI_EVENT_MAX && h.phase <= MP_HCI_FAILED);
        require(mp_hci_next_expiry(&h, now) > now);
        if (mp_hci_is_ready(&h, now)) {
            len = mp_hci_send(&h, now, data, size < MP_FRAME_MAX ? size : MP_FRAME_MAX, buf, sizeof buf);
            check_command(buf, len);
            sends++;
        }
        while ((len = mp_hci_write(&h, now, buf, sizeof buf)) > 0)
            check_command(buf, len);
        require(len == 0);
        require(h.counters.sent + h.counters.lost <= sends);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    compare_splits(data, size);
    drive(data, size);
    return 0;
}
