/*
 * HCI host: one Bluetooth LE controller behind an H4 byte stream, used for one thing: sending and hearing mesh frames
 * as extended advertising (docs/SPEC.md section 9). Sans-IO, freestanding, reentrant, no pointers in its state; the
 * gateway, the POSIX node and microcontrollers link the same code.
 *
 *   bytes from the controller to   mp_hci_receive()   (pieces of any size)
 *   when due, call                 mp_hci_expire()
 *   until it returns 0:            mp_hci_write()     (bytes for the controller)
 *   when mp_hci_is_ready():        ask the engine for a frame, mp_hci_send()
 *   arm one timer for              mp_hci_next_expiry()
 *
 * Late binding. The engine decides what is worth sending at the moment it is asked, so it must be asked only when the
 * controller can start the event at once or nearly. A controller starts one event every `pace_us` (20 ms) plus a random
 * 0 to 10 ms. mp_hci_is_ready() is therefore false until the last set has terminated *and* `pace_us` have passed since
 * the estimated start of the last event; mp_hci_ready_at() tells when that will be, and mp_hci_next_expiry() includes
 * it. The loop of a host:
 *
 *   mp_hci_receive(...) / mp_node_receive(...)        on input
 *   mp_hci_expire(h, now); mp_node_expire(n, env, now);
 *   if (mp_hci_is_ready(h, now) && (len = mp_node_write(n, env, now, frame, sizeof frame)) > 0)
 *       put(mp_hci_send(h, now, frame, len, buf, sizeof buf));
 *   while ((len = mp_hci_write(h, now, buf, sizeof buf)) > 0)
 *       put(buf, len);
 *   arm min(mp_hci_next_expiry(h), ready ? mp_node_next_expiry(n) : never)
 *
 * A controller that does not answer, reports a hardware error or was reset behind the host's back is reset and set up
 * again without help; what was being sent is lost and counted. A controller that cannot do what is asked ends in
 * MP_HCI_FAILED, and mp_hci_error() says why.
 */
#ifndef MP_HCI_H
#define MP_HCI_H

#include "../mp_types.h"
#include "hci_defs.h"

#define MP_HCI_AD_HEADER 4 /* length, 0xFF, company id u16 */
#define MP_HCI_SETS_MAX 2
#define MP_HCI_COMPANY 0xFFFF /* "no company": the default of experiments; a product sets its own */
#define MP_HCI_COMMAND_MAX HCI_COMMAND_MAX

enum mp_hci_phy {
    MP_HCI_PHY_1M = 0,   /* primary and secondary LE 1M */
    MP_HCI_PHY_2M = 1,   /* secondary LE 2M */
    MP_HCI_PHY_CODED = 2 /* primary and secondary LE Coded */
};

/* Copied by mp_hci_init(). All zero but the address is a good configuration. */
struct mp_hci_config {
    uint8_t
        address[6];   /* random address, least significant byte first; its two top bits are set by the host (static) */
    uint16_t company; /* of the AD structure; 0: MP_HCI_COMPANY */
    uint8_t phy;      /* enum mp_hci_phy */
    uint8_t sets;     /* advertising sets: 0 or 1: one; 2: two, which hides a slow link but binds one frame earlier */
    int8_t tx_power;  /* dBm, -127 to 20; 0: no preference */
    uint8_t reserved;
    uint32_t pace_us; /* least time between two event starts; 0: 20 ms */
};

enum mp_hci_phase {
    MP_HCI_WAIT = 0,  /* holds back before a reset */
    MP_HCI_START = 1, /* start-up commands under way */
    MP_HCI_RUN = 2,   /* scanning; can advertise */
    MP_HCI_FAILED = 3 /* needs mp_hci_restart() */
};

enum mp_hci_error {
    MP_HCI_ERROR_NONE = 0,
    MP_HCI_ERROR_LEGACY = 1, /* the controller has no LE extended advertising */
    MP_HCI_ERROR_PHY = 2,    /* it lacks the PHY asked for */
    MP_HCI_ERROR_COMMAND =
        3, /* it does not know, or refuses, a command that start-up needs (mp_hci.failed_opcode, .failed_status) */
    MP_HCI_ERROR_COUNT = 4
};

struct mp_hci_counters {
    uint32_t reports;    /* advertising reports of any origin */
    uint32_t frames;     /* reports handed out */
    uint32_t foreign;    /* reports without our AD structure, legacy, scan responses */
    uint32_t fragments;  /* reports with incomplete data: not reassembled, dropped */
    uint32_t malformed;  /* events dropped because a length or field is wrong */
    uint32_t noise;      /* bytes skipped while looking for an event */
    uint32_t unexpected; /* well-formed events that nobody asked for */
    uint32_t sent;       /* frames whose event the controller reported done */
    uint32_t lost;       /* frames accepted by mp_hci_send() that were refused, timed out or cut by a restart */
    uint32_t timeouts;   /* commands without an answer, sets that did not terminate */
    uint32_t restarts;   /* resets after the first */
};

/* Open so that callers can allocate it; private but for counters and failed_*. */
struct mp_hci {
    mp_time hold_until;               /* WAIT ends */
    mp_time command_due;              /* the outstanding command, or a missing credit, times out; MP_NEVER if none */
    mp_time set_due[MP_HCI_SETS_MAX]; /* a set must have terminated; MP_NEVER if not on */
    mp_time ready_at;
    struct mp_hci_config config;
    struct mp_hci_counters counters;
    uint16_t opcode; /* outstanding command, 0 none */
    uint16_t failed_opcode;
    uint8_t failed_status;
    uint8_t phase, step, error;
    uint8_t credits;
    uint8_t set; /* set of the outstanding or next set command */
    uint8_t set_state[MP_HCI_SETS_MAX];
    uint8_t set_length[MP_HCI_SETS_MAX]; /* bytes of AD in the set, for the start estimate */
    uint16_t rx_length;
    uint8_t rx[HCI_EVENT_MAX];
};

/* A frame heard. Points into the host's state: valid during the call only. */
struct mp_hci_heard {
    const uint8_t *frame; /* AD header stripped */
    size_t length;
    int8_t rssi;            /* dBm, 127 unknown */
    const uint8_t *address; /* 6 bytes, advertiser */
};

/* Called once for each frame heard; may call the engine, but not this host. */
typedef void mp_hci_deliver(void *ctx, mp_time now, const struct mp_hci_heard *heard);

/* Starts from nothing: the first mp_hci_write() gives the reset. 0, or MP_ERR_FORMAT: a field of config is out of
 * range. */
int mp_hci_init(struct mp_hci *h, const struct mp_hci_config *config, mp_time now);

/* Resets the controller and sets it up again, e.g. after the transport was opened anew. Counters stay. */
void mp_hci_restart(struct mp_hci *h, mp_time now);

/* Takes n bytes of the stream. Frames heard are handed to deliver (may be NULL). Never fails: what is malformed is
 * dropped and counted. */
void mp_hci_receive(struct mp_hci *h, mp_time now, const uint8_t *bytes, size_t n, mp_hci_deliver *deliver, void *ctx);

/* Runs the timers that are due. */
void mp_hci_expire(struct mp_hci *h, mp_time now);

/* When to call mp_hci_expire(), or to ask again whether it is ready; MP_NEVER if neither. */
mp_time mp_hci_next_expiry(const struct mp_hci *h, mp_time now);

/* Next bytes for the controller, in buf of cap bytes (MP_HCI_COMMAND_MAX is always enough): their number, 0: none now,
 * MP_ERR_ROOM. They must all reach the controller, in order. */
int mp_hci_write(struct mp_hci *h, mp_time now, uint8_t *buf, size_t cap);

/* A frame can be sent now and would start nearly at once. */
bool mp_hci_is_ready(const struct mp_hci *h, mp_time now);

/* Earliest time a frame can be bound; MP_NEVER while that depends on the controller (starting up, set still on). */
mp_time mp_hci_ready_at(const struct mp_hci *h);

/*
 * Advertises one frame of 1 to MP_FRAME_MAX bytes exactly once. Writes the command into buf and returns its length, as
 * mp_hci_write() does (which gives the rest). frame may lie in buf. MP_ERR_STATE: not ready; MP_ERR_LENGTH: frame too
 * long or empty; MP_ERR_ROOM: cap too small. The frame is not kept: if the controller refuses it, it is lost and
 * counted.
 */
int mp_hci_send(struct mp_hci *h, mp_time now, const uint8_t *frame, size_t length, uint8_t *buf, size_t cap);

/* Sends a command of the host's own (vendor commands) between ours, in RUN only; its result is ignored. The bytes to
 * send in buf, or MP_ERR_STATE (try again later), MP_ERR_LENGTH, MP_ERR_ROOM. */
int mp_hci_command(struct mp_hci *h, mp_time now, uint16_t opcode, const uint8_t *parameters, size_t length,
                   uint8_t *buf, size_t cap);

enum mp_hci_phase mp_hci_phase(const struct mp_hci *h);
enum mp_hci_error mp_hci_error(const struct mp_hci *h);
/* One sentence for an error (static storage). */
const char *mp_hci_strerror(enum mp_hci_error error);

#endif
