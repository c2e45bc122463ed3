/*
 * The HCI host: phases, advertising sets, timers.
 *
 * Phases: WAIT (holds back before a reset, so that a broken controller is not hammered) -> START (hci_start.c) -> RUN,
 * and back to WAIT by mp_hci_recover() from anywhere. FAILED is left only by mp_hci_restart().
 *
 * Timers: hold_until (WAIT ends); command_due (2 s for the answer to a command, or for a credit: then recover);
 * set_due (1 s for a set to terminate: then it is disabled and its frame counted as lost); ready_at (pacing, not a
 * timer of the host's own).
 *
 * One command is outstanding at a time, whatever the controller's credits allow, so an answer is never ambiguous.
 */
#include "hci.h"
#include "hci_state.h"

#define COMMAND_TIMEOUT MP_MS(2000)
#define SET_TIMEOUT MP_MS(1000)
#define PACE_DEFAULT_US 20000u
#define PACE_MAX_US 10000000u
#define HOLD_US 100000u

int mp_hci_init(struct mp_hci *h, const struct mp_hci_config *config, mp_time now)
{
    uint8_t zeros = 0, ones = 0xFF;
    memset(h, 0, sizeof *h);
    h->config = *config;
    h->phase = MP_HCI_FAILED;
    for (unsigned i = 0; i < 6; i++) {
        uint8_t byte = config->address[i];
        zeros |= i < 5 ? byte : (uint8_t)(byte & 0x3F);
        ones &= i < 5 ? byte : (uint8_t)(byte | 0xC0);
    }
    /* A static address needs a 0 and a 1 in its random part. */
    if (zeros == 0 || ones == 0xFF || config->phy > MP_HCI_PHY_CODED || config->sets > MP_HCI_SETS_MAX ||
        config->tx_power > 20 || config->tx_power == -128 || config->pace_us > PACE_MAX_US)
        return MP_ERR_FORMAT;
    h->config.address[5] |= 0xC0;
    if (config->company == 0)
        h->config.company = MP_HCI_COMPANY;
    if (config->pace_us == 0)
        h->config.pace_us = PACE_DEFAULT_US;
    mp_hci_restart(h, now);
    h->counters.restarts = 0;
    return 0;
}

void mp_hci_recover(struct mp_hci *h, mp_time now, uint32_t hold_us)
{
    for (unsigned i = 0; i < MP_HCI_SETS_MAX; i++) {
        if (h->set_state[i] != SET_IDLE && h->set_state[i] != SET_ENDED)
            h->counters.lost++;
        h->set_state[i] = SET_IDLE;
        h->set_due[i] = MP_NEVER;
    }
    h->counters.restarts++;
    h->phase = MP_HCI_WAIT;
    h->hold_until = now + hold_us;
    h->command_due = MP_NEVER;
    h->opcode = 0;
    h->ready_at = 0;
}

void mp_hci_restart(struct mp_hci *h, mp_time now)
{
    mp_hci_recover(h, now, 0);
    h->error = MP_HCI_ERROR_NONE;
    h->rx_length = 0;
    mp_hci_expire(h, now);
}

uint8_t *mp_hci_begin(struct mp_hci *h, mp_time now, uint16_t opcode, size_t length, uint8_t *buf, size_t cap)
{
    if (cap < HCI_COMMAND_HEADER + length)
        return NULL;
    buf[0] = HCI_H4_COMMAND;
    mp_put16(buf + 1, opcode);
    buf[3] = (uint8_t)length;
    h->opcode = opcode;
    h->credits--;
    h->command_due = now + COMMAND_TIMEOUT;
    return buf + HCI_COMMAND_HEADER;
}

static bool can_command(const struct mp_hci *h)
{
    return h->opcode == 0 && h->credits > 0;
}

/* Enables or disables one set; max_events = 1 makes the controller send exactly one event. */
static int write_enable(struct mp_hci *h, mp_time now, unsigned set, bool on, uint8_t *buf, size_t cap)
{
    uint8_t *p = mp_hci_begin(h, now, HCI_LE_SET_EXT_ADV_ENABLE, 6, buf, cap);
    if (!p)
        return MP_ERR_ROOM;
    p[0] = on;
    p[1] = 1;
    p[2] = (uint8_t)set;
    mp_put16(p + 3, 0); /* no duration */
    p[5] = on;
    h->set = (uint8_t)set;
    h->set_state[set] = on ? SET_ENABLING : SET_STOPPING;
    return HCI_COMMAND_HEADER + 6;
}

int mp_hci_write(struct mp_hci *h, mp_time now, uint8_t *buf, size_t cap)
{
    if (!can_command(h))
        return 0;
    if (h->phase == MP_HCI_START)
        return mp_hci_start_write(h, now, buf, cap);
    for (unsigned i = 0; h->phase == MP_HCI_RUN && i < hci_sets(h); i++)
        if (h->set_state[i] == SET_LOADED || h->set_state[i] == SET_STOP)
            return write_enable(h, now, i, h->set_state[i] == SET_LOADED, buf, cap);
    return 0;
}

/* The set that takes the next frame, -1 when none is free. */
static int free_set(const struct mp_hci *h)
{
    for (unsigned i = 0; i < hci_sets(h); i++)
        if (h->set_state[i] == SET_IDLE)
            return (int)i;
    return -1;
}

/* A set waits for its enable or disable: that goes before anything new. */
static bool has_set_work(const struct mp_hci *h)
{
    for (unsigned i = 0; i < hci_sets(h); i++)
        if (h->set_state[i] == SET_LOADED || h->set_state[i] == SET_STOP)
            return true;
    return false;
}

mp_time mp_hci_ready_at(const struct mp_hci *h)
{
    if (h->phase != MP_HCI_RUN || !can_command(h) || has_set_work(h) || free_set(h) < 0)
        return MP_NEVER;
    return h->ready_at;
}

bool mp_hci_is_ready(const struct mp_hci *h, mp_time now)
{
    return mp_hci_ready_at(h) <= now;
}

int mp_hci_send(struct mp_hci *h, mp_time now, const uint8_t *frame, size_t length, uint8_t *buf, size_t cap)
{
    size_t ad = length + MP_HCI_AD_HEADER;
    if (!mp_hci_is_ready(h, now))
        return MP_ERR_STATE;
    if (length == 0 || length > MP_FRAME_MAX)
        return MP_ERR_LENGTH;
    if (cap < HCI_COMMAND_HEADER + 4 + ad)
        return MP_ERR_ROOM;
    memmove(buf + HCI_COMMAND_HEADER + 4 + MP_HCI_AD_HEADER, frame, length); /* first: it may lie in buf */
    h->set = (uint8_t)free_set(h);
    h->set_state[h->set] = SET_LOADING;
    h->set_length[h->set] = (uint8_t)ad;
    uint8_t *p = mp_hci_begin(h, now, HCI_LE_SET_EXT_ADV_DATA, 4 + ad, buf, cap);
    p[0] = h->set;
    p[1] = HCI_ADV_DATA_COMPLETE;
    p[2] = 1; /* should not be fragmented on the air */
    p[3] = (uint8_t)ad;
    p[4] = (uint8_t)(ad - 1);
    p[5] = HCI_AD_MANUFACTURER;
    mp_put16(p + 6, h->config.company);
    return (int)(HCI_COMMAND_HEADER + 4 + ad);
}

int mp_hci_command(struct mp_hci *h, mp_time now, uint16_t opcode, const uint8_t *parameters, size_t length,
                   uint8_t *buf, size_t cap)
{
    if (h->phase != MP_HCI_RUN || !can_command(h) || has_set_work(h) || opcode == 0)
        return MP_ERR_STATE;
    if (length > HCI_PARAMETERS_MAX)
        return MP_ERR_LENGTH;
    if (cap < HCI_COMMAND_HEADER + length)
        return MP_ERR_ROOM;
    if (length > 0)
        memmove(buf + HCI_COMMAND_HEADER, parameters, length);
    mp_hci_begin(h, now, opcode, length, buf, cap);
    return (int)(HCI_COMMAND_HEADER + length);
}

/* About how long an event of `ad` data bytes takes from its start on the first primary channel, us: three primary
 * packets and the offset to the secondary one, then preamble, address, headers, data and CRC. Only used to place the
 * next binding. */
static uint32_t event_us(const struct mp_hci *h, unsigned ad)
{
    uint32_t bytes = ad + 28;
    switch ((enum mp_hci_phy)h->config.phy) {
    case MP_HCI_PHY_1M:
        return 1500 + bytes * 8;
    case MP_HCI_PHY_2M:
        return 1500 + bytes * 4;
    case MP_HCI_PHY_CODED:
        return 6500 + bytes * 64;
    }
    return 0;
}

void mp_hci_set_ended(struct mp_hci *h, mp_time now, uint8_t status, unsigned set)
{
    uint8_t state = set < hci_sets(h) ? h->set_state[set] : SET_IDLE;
    if (state != SET_ENABLING && state != SET_ON && state != SET_STOP) {
        h->counters.unexpected += state != SET_STOPPING; /* a disable that crossed it is no surprise */
        return;
    }
    if (status == HCI_LIMIT_REACHED)
        h->counters.sent++;
    else
        h->counters.lost++;
    h->set_state[set] = state == SET_ENABLING ? SET_ENDED : SET_IDLE;
    h->set_due[set] = MP_NEVER;
    uint32_t spent = event_us(h, h->set_length[set]);
    h->ready_at = now + (spent < h->config.pace_us ? h->config.pace_us - spent : 0);
}

void mp_hci_run_done(struct mp_hci *h, mp_time now, uint8_t status)
{
    uint8_t *state = &h->set_state[h->set];
    if (h->opcode != HCI_LE_SET_EXT_ADV_DATA && h->opcode != HCI_LE_SET_EXT_ADV_ENABLE)
        return;
    if (status != HCI_OK) { /* it knew the set a moment ago: it was reset, or is broken */
        mp_hci_recover(h, now, HOLD_US);
        return;
    }
    switch (*state) {
    case SET_LOADING:
        *state = SET_LOADED;
        break;
    case SET_ENABLING:
        *state = SET_ON;
        h->set_due[h->set] = now + SET_TIMEOUT;
        break;
    case SET_STOPPING:
        h->counters.lost++;
        *state = SET_IDLE;
        break;
    case SET_ENDED:
        *state = SET_IDLE;
        break;
    default:
        break;
    }
}

void mp_hci_expire(struct mp_hci *h, mp_time now)
{
    if (h->phase == MP_HCI_WAIT && now >= h->hold_until) {
        h->phase = MP_HCI_START;
        h->step = 0;
        h->credits = 1; /* a reset may always be sent */
    }
    if (now >= h->command_due) {
        h->counters.timeouts++;
        h->rx_length = 0; /* what the answer may be stuck behind */
        mp_hci_recover(h, now, HOLD_US);
    }
    for (unsigned i = 0; i < hci_sets(h); i++) {
        if (now < h->set_due[i])
            continue;
        h->counters.timeouts++;
        h->set_due[i] = MP_NEVER;
        h->set_state[i] = SET_STOP;
    }
}

mp_time mp_hci_next_expiry(const struct mp_hci *h, mp_time now)
{
    mp_time next = h->command_due, ready = mp_hci_ready_at(h);
    if (h->phase == MP_HCI_WAIT)
        next = h->hold_until;
    for (unsigned i = 0; i < hci_sets(h); i++)
        next = h->set_due[i] < next ? h->set_due[i] : next;
    return ready > now && ready < next ? ready : next;
}

enum mp_hci_phase mp_hci_phase(const struct mp_hci *h)
{
    return (enum mp_hci_phase)h->phase;
}

enum mp_hci_error mp_hci_error(const struct mp_hci *h)
{
    return (enum mp_hci_error)h->error;
}

const char *mp_hci_strerror(enum mp_hci_error error)
{
    switch (error) {
    case MP_HCI_ERROR_NONE:
        return "no error";
    case MP_HCI_ERROR_LEGACY:
        return "the controller has no LE extended advertising";
    case MP_HCI_ERROR_PHY:
        return "the controller lacks the radio mode (PHY) asked for";
    case MP_HCI_ERROR_COMMAND:
        return "the controller refused a command that start-up needs";
    case MP_HCI_ERROR_COUNT:
        break;
    }
    return "unknown error";
}
