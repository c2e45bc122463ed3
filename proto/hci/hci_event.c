/*
 * The stream from the controller: framing and events. Everything here reads hostile bytes.
 *
 * Framing. Only events can come, since there are no connections: a packet starts with 0x04, one of five event codes and
 * a length that the code allows; what does not is skipped byte by byte until something does. Once framed, a packet that
 * proves malformed is dropped whole and never searched again: its inside may be somebody's advertising data, which must
 * not be taken for events of the controller.
 */
#include "hci.h"
#include "hci_state.h"

#define HARDWARE_HOLD_US 100000u
#define REPORTS_MAX 10 /* a controller puts at most ten into one event */

/* The three bytes could begin an event. */
static bool is_header(const uint8_t *p)
{
    uint8_t length = p[2];
    switch (p[1]) {
    case HCI_EVENT_COMMAND_COMPLETE:
        return length >= 3;
    case HCI_EVENT_COMMAND_STATUS:
        return length == 4;
    case HCI_EVENT_HARDWARE_ERROR:
        return length == 1;
    case HCI_EVENT_LE_META:
        return length >= 1;
    case HCI_EVENT_VENDOR:
        return true;
    default:
        return false;
    }
}

/* Credits, then the answer itself. values: what follows the status. */
static void on_answer(struct mp_hci *h, mp_time now, uint8_t credits, uint16_t opcode, const uint8_t *status,
                      size_t length)
{
    bool starting = h->phase == MP_HCI_START;
    if (h->phase == MP_HCI_WAIT || h->phase == MP_HCI_FAILED)
        return;
    if (starting && h->step == 0 && opcode != HCI_RESET)
        return; /* from before the reset: neither the answer nor its credits count */
    h->credits = credits;
    if (opcode == HCI_NOP || opcode != h->opcode) {
        if (opcode == HCI_RESET && !(starting && h->step == 0))
            mp_hci_recover(h, now, 0); /* somebody else reset it */
        else
            h->counters.unexpected += opcode != HCI_NOP;
    } else if (length == 0) {
        h->counters.malformed++; /* no status: it times out */
        return;
    } else {
        if (starting)
            mp_hci_start_done(h, now, status[0], status + 1, length - 1);
        else
            mp_hci_run_done(h, now, status[0]);
        if (h->phase == MP_HCI_WAIT || h->phase == MP_HCI_FAILED)
            return;
        h->opcode = 0;
        h->command_due = MP_NEVER;
    }
    if (h->phase == MP_HCI_WAIT || h->opcode != 0)
        return;
    /* Without a credit nothing can be sent; one must come in time. */
    h->command_due = h->credits > 0 ? MP_NEVER : h->command_due == MP_NEVER ? now + MP_MS(2000) : h->command_due;
}

/* The frame in a payload: the first manufacturer specific AD structure with our company id. */
static bool find_frame(const struct mp_hci *h, const uint8_t *data, size_t length, struct mp_hci_heard *heard)
{
    for (size_t i = 0; i + 1 < length && data[i] != 0; i += 1u + data[i]) {
        if (data[i] > length - i - 1)
            return false;
        if (data[i] > 3 && data[i] - 3u <= MP_FRAME_MAX && data[i + 1] == HCI_AD_MANUFACTURER &&
            mp_get16(data + i + 2) == h->config.company) {
            heard->frame = data + i + MP_HCI_AD_HEADER;
            heard->length = data[i] - 3u;
            return true;
        }
    }
    return false;
}

static void on_report(struct mp_hci *h, mp_time now, const uint8_t *p, mp_hci_deliver *deliver, void *ctx)
{
    struct mp_hci_heard heard = {.rssi = (int8_t)p[13], .address = p + 3};
    uint16_t type = mp_get16(p);
    h->counters.reports++;
    if (type & HCI_REPORT_STATUS_MASK) {
        h->counters.fragments++;
    } else if (type & (HCI_REPORT_LEGACY | HCI_REPORT_SCAN_RESPONSE) ||
               !find_frame(h, p + HCI_REPORT_HEADER, p[HCI_REPORT_HEADER - 1], &heard)) {
        h->counters.foreign++;
    } else {
        h->counters.frames++;
        if (deliver)
            deliver(ctx, now, &heard);
    }
}

/* n reports that fill the event exactly. */
static bool are_reports_sound(const uint8_t *p, size_t length, unsigned n)
{
    while (n-- > 0) {
        if (length < HCI_REPORT_HEADER || length - HCI_REPORT_HEADER < p[HCI_REPORT_HEADER - 1])
            return false;
        size_t size = HCI_REPORT_HEADER + (size_t)p[HCI_REPORT_HEADER - 1];
        p += size;
        length -= size;
    }
    return length == 0;
}

static void on_reports(struct mp_hci *h, mp_time now, const uint8_t *p, size_t length, mp_hci_deliver *deliver,
                       void *ctx)
{
    if (length < 1 || p[0] == 0 || p[0] > REPORTS_MAX || !are_reports_sound(p + 1, length - 1, p[0])) {
        h->counters.malformed++;
        return;
    }
    if (h->phase != MP_HCI_RUN) {
        h->counters.unexpected++;
        return;
    }
    unsigned n = p[0];
    for (p++; n > 0; n--, p += HCI_REPORT_HEADER + p[HCI_REPORT_HEADER - 1])
        on_report(h, now, p, deliver, ctx);
}

static void on_le_meta(struct mp_hci *h, mp_time now, const uint8_t *p, size_t length, mp_hci_deliver *deliver,
                       void *ctx)
{
    switch (p[0]) {
    case HCI_LE_EXT_ADV_REPORT:
        on_reports(h, now, p + 1, length - 1, deliver, ctx);
        break;
    case HCI_LE_ADV_SET_TERMINATED:
        if (length != 6)
            h->counters.malformed++;
        else if (h->phase == MP_HCI_RUN)
            mp_hci_set_ended(h, now, p[1], p[2]);
        break;
    default:
        h->counters.unexpected++;
        break;
    }
}

/* One framed event; is_header() has checked the least length of each. */
static void on_event(struct mp_hci *h, mp_time now, mp_hci_deliver *deliver, void *ctx)
{
    const uint8_t *p = h->rx + HCI_EVENT_HEADER;
    size_t length = h->rx[2];
    switch (h->rx[1]) {
    case HCI_EVENT_COMMAND_COMPLETE:
        on_answer(h, now, p[0], mp_get16(p + 1), p + 3, length - 3);
        break;
    case HCI_EVENT_COMMAND_STATUS:
        /* Status 0 only says that the answer is still to come. */
        if (p[0] != HCI_OK || mp_get16(p + 2) == HCI_NOP)
            on_answer(h, now, p[1], mp_get16(p + 2), p, 1);
        else if (h->phase == MP_HCI_RUN)
            h->credits = p[1];
        break;
    case HCI_EVENT_HARDWARE_ERROR:
        if (h->phase == MP_HCI_RUN || (h->phase == MP_HCI_START && h->step > 0))
            mp_hci_recover(h, now, HARDWARE_HOLD_US);
        else
            h->counters.unexpected++;
        break;
    case HCI_EVENT_LE_META:
        on_le_meta(h, now, p, length, deliver, ctx);
        break;
    default:
        h->counters.unexpected++;
        break;
    }
}

/* Drops bytes from the front of rx until it could begin an event. At most the three header bytes are there. */
static void align(struct mp_hci *h)
{
    while (h->rx_length > 0 && (h->rx[0] != HCI_H4_EVENT || (h->rx_length >= HCI_EVENT_HEADER && !is_header(h->rx)))) {
        h->counters.noise++;
        h->rx_length--;
        memmove(h->rx, h->rx + 1, h->rx_length);
    }
}

void mp_hci_receive(struct mp_hci *h, mp_time now, const uint8_t *bytes, size_t n, mp_hci_deliver *deliver, void *ctx)
{
    while (n > 0) {
        if (h->rx_length < HCI_EVENT_HEADER) {
            h->rx[h->rx_length++] = *bytes++;
            n--;
            align(h);
        } else {
            size_t take = HCI_EVENT_HEADER + (size_t)h->rx[2] - h->rx_length;
            take = take < n ? take : n;
            memcpy(h->rx + h->rx_length, bytes, take);
            h->rx_length = (uint16_t)(h->rx_length + take);
            bytes += take;
            n -= take;
        }
        if (h->rx_length >= HCI_EVENT_HEADER && h->rx_length == HCI_EVENT_HEADER + h->rx[2]) {
            h->rx_length = 0;
            on_event(h, now, deliver, ctx);
        }
    }
}
