/*
 * Start-up of the HCI host: a flat table of commands, sent one after the other, each answered before the next. Features
 * are read before anything that an older controller might refuse, so that it is named for what it is.
 */
#include "hci.h"
#include "hci_state.h"

#define SCAN_INTERVAL 0x0060 /* 60 ms, in units of 0.625 ms; window = interval: always on */
#define ADV_INTERVAL 0x20    /* 20 ms, the least there is */
#define ADV_CHANNELS 0x07
#define RETRY_US 1000000u

struct step {
    uint16_t opcode;
    uint8_t length;
    uint8_t set;
};

static const struct step steps[] = {
    {HCI_RESET, 0, 0},
    {HCI_LE_READ_FEATURES, 0, 0},
    {HCI_SET_EVENT_MASK, 8, 0},
    {HCI_LE_SET_EVENT_MASK, 8, 0},
    {HCI_LE_SET_RANDOM_ADDRESS, 6, 0},
    {HCI_LE_SET_EXT_SCAN_PARAMS, 8, 0},
    {HCI_LE_SET_EXT_ADV_PARAMS, 25, 0},
    {HCI_LE_SET_ADV_SET_ADDRESS, 7, 0},
    {HCI_LE_SET_EXT_ADV_PARAMS, 25, 1},
    {HCI_LE_SET_ADV_SET_ADDRESS, 7, 1},
    {HCI_LE_SET_EXT_SCAN_ENABLE, 6, 0},
};
#define STEP_COUNT (sizeof steps / sizeof steps[0])

static void put_adv_params(const struct mp_hci *h, uint8_t *p, uint8_t set)
{
    bool coded = h->config.phy == MP_HCI_PHY_CODED;
    p[0] = set;
    /* p[1], p[2]: properties 0 = extended, non-connectable, non-scannable, undirected, with the address shown */
    mp_put24(p + 3, ADV_INTERVAL);
    mp_put24(p + 6, ADV_INTERVAL);
    p[9] = ADV_CHANNELS;
    p[10] = HCI_OWN_ADDRESS_RANDOM;
    /* p[11] to p[18]: peer address and filter policy, unused */
    p[19] = (uint8_t)(h->config.tx_power ? h->config.tx_power : HCI_TX_POWER_NO_PREFERENCE);
    p[20] = coded ? HCI_PHY_CODED : HCI_PHY_1M;
    /* p[21]: no secondary event may be skipped */
    p[22] = coded ? HCI_PHY_CODED : h->config.phy == MP_HCI_PHY_2M ? HCI_PHY_2M : HCI_PHY_1M;
    p[23] = set; /* advertising SID */
    /* p[24]: no scan request notifications */
}

static void put_parameters(const struct mp_hci *h, uint8_t *p, const struct step *s)
{
    switch (s->opcode) {
    case HCI_SET_EVENT_MASK:
        mp_put64(p, HCI_MASK_HARDWARE_ERROR | HCI_MASK_LE_META);
        break;
    case HCI_LE_SET_EVENT_MASK:
        mp_put64(p, HCI_LE_MASK_EXT_ADV_REPORT | HCI_LE_MASK_ADV_SET_TERMINATED);
        break;
    case HCI_LE_SET_RANDOM_ADDRESS:
        memcpy(p, h->config.address, 6);
        break;
    case HCI_LE_SET_ADV_SET_ADDRESS:
        p[0] = s->set;
        memcpy(p + 1, h->config.address, 6);
        break;
    case HCI_LE_SET_EXT_ADV_PARAMS:
        put_adv_params(h, p, s->set);
        break;
    case HCI_LE_SET_EXT_SCAN_PARAMS:
        p[0] = HCI_OWN_ADDRESS_RANDOM;
        /* p[1]: accept all */
        p[2] = h->config.phy == MP_HCI_PHY_CODED ? HCI_PHY_BIT_CODED : HCI_PHY_BIT_1M;
        /* p[3]: passive */
        mp_put16(p + 4, SCAN_INTERVAL);
        mp_put16(p + 6, SCAN_INTERVAL);
        break;
    case HCI_LE_SET_EXT_SCAN_ENABLE:
        p[0] = 1; /* and p[1] = 0: duplicates are wanted; no duration, no period */
        break;
    default:
        break;
    }
}

int mp_hci_start_write(struct mp_hci *h, mp_time now, uint8_t *buf, size_t cap)
{
    while (steps[h->step].set >= hci_sets(h))
        h->step++; /* the last step is of set 0 */
    const struct step *s = &steps[h->step];
    uint8_t *p = mp_hci_begin(h, now, s->opcode, s->length, buf, cap);
    if (!p)
        return MP_ERR_ROOM;
    memset(p, 0, s->length);
    put_parameters(h, p, s);
    return HCI_COMMAND_HEADER + s->length;
}

static void fail(struct mp_hci *h, enum mp_hci_error error, uint8_t status)
{
    h->phase = MP_HCI_FAILED;
    h->error = (uint8_t)error;
    h->failed_opcode = h->opcode;
    h->failed_status = status;
    h->command_due = MP_NEVER;
}

static bool has_feature(const uint8_t *features, unsigned bit)
{
    return features[bit / 8] >> bit % 8 & 1;
}

/* What the controller cannot do, MP_HCI_ERROR_NONE if it will do. */
static enum mp_hci_error judge_features(const struct mp_hci *h, const uint8_t features[8])
{
    if (!has_feature(features, HCI_LE_FEATURE_EXT_ADV))
        return MP_HCI_ERROR_LEGACY;
    if ((h->config.phy == MP_HCI_PHY_2M && !has_feature(features, HCI_LE_FEATURE_2M)) ||
        (h->config.phy == MP_HCI_PHY_CODED && !has_feature(features, HCI_LE_FEATURE_CODED)))
        return MP_HCI_ERROR_PHY;
    return MP_HCI_ERROR_NONE;
}

void mp_hci_start_done(struct mp_hci *h, mp_time now, uint8_t status, const uint8_t *values, size_t length)
{
    bool is_features = h->opcode == HCI_LE_READ_FEATURES;
    if (status == HCI_UNKNOWN_COMMAND || status == HCI_UNSUPPORTED || status == HCI_INVALID_PARAMETERS) {
        fail(h, is_features ? MP_HCI_ERROR_LEGACY : MP_HCI_ERROR_COMMAND, status);
        return;
    }
    if (status != HCI_OK) { /* busy or confused: another reset may help */
        mp_hci_recover(h, now, RETRY_US);
        return;
    }
    if (is_features) {
        if (length < 8) {
            h->counters.malformed++;
            mp_hci_recover(h, now, RETRY_US);
            return;
        }
        enum mp_hci_error error = judge_features(h, values);
        if (error != MP_HCI_ERROR_NONE) {
            fail(h, error, HCI_UNSUPPORTED);
            return;
        }
    }
    if (++h->step == STEP_COUNT) {
        h->phase = MP_HCI_RUN;
        h->ready_at = now;
    }
}
