/*
 * The virtual controller: advertising sets and scanning (Vol 4 Part E, 7.8.52 to 7.8.65). Parameters are checked in
 * full before anything changes.
 */
#include "controller_state.h"

#define HANDLE_MAX 0xEF
#define SCAN_UNIT_US 625
#define DURATION_UNIT_US 10000
#define PHYS_KNOWN 0x07 /* bits of the scan parameters: 1M, (2M is not a primary PHY), Coded */

static struct controller_set *find_set(struct sim_controller *c, uint8_t handle)
{
    for (unsigned i = 0; i < SIM_SETS_MAX; i++)
        if (c->set[i].exists && c->set[i].handle == handle)
            return &c->set[i];
    return NULL;
}

static unsigned index_of(const struct sim_controller *c, const struct controller_set *set)
{
    return (unsigned)(set - c->set);
}

static bool is_enabled(const struct sim_controller *c, const struct controller_set *set)
{
    return sim_medium_set_is_enabled(c->config.medium, c->config.device, index_of(c, set));
}

/* Fields outside what the specification allows. */
static bool are_adv_params_valid(const uint8_t *p)
{
    uint32_t least = mp_get24(p + 3), most = mp_get24(p + 6);
    int8_t power = (int8_t)p[19];
    return p[0] <= HANDLE_MAX && (mp_get16(p + 1) & 0xFF80) == 0 && least >= 0x20 && most >= least && p[9] != 0 &&
           p[9] <= 7 && p[10] <= 3 && p[18] <= 3 && power >= -127 && (power <= 20 || power == 127) &&
           (p[20] == HCI_PHY_1M || p[20] == HCI_PHY_CODED) && p[22] >= HCI_PHY_1M && p[22] <= HCI_PHY_CODED &&
           p[23] <= 0x0F && p[24] <= 1;
}

/* Valid, but not of this controller: connectable, scannable, directed, legacy, anonymous; resolvable addresses; Coded.
 */
static bool are_adv_params_supported(const uint8_t *p)
{
    return mp_get16(p + 1) == 0 && p[10] <= HCI_OWN_ADDRESS_RANDOM && p[20] == HCI_PHY_1M && p[22] != HCI_PHY_CODED;
}

uint8_t sim_controller_adv_params(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    struct controller_set *set = find_set(c, p[0]);
    (void)now, (void)n;
    if (!are_adv_params_valid(p))
        return HCI_INVALID_PARAMETERS;
    if (!are_adv_params_supported(p))
        return HCI_UNSUPPORTED;
    if (set && is_enabled(c, set))
        return HCI_DISALLOWED;
    for (unsigned i = 0; !set && i < SIM_SETS_MAX; i++)
        if (!c->set[i].exists)
            set = &c->set[i];
    if (!set)
        return HCI_MEMORY_EXCEEDED;
    int8_t power = (int8_t)p[19];
    const struct sim_set_params params = {
        .interval_us = mp_get24(p + 3) < 6553600u ? mp_get24(p + 3) * SCAN_UNIT_US : UINT32_MAX,
        .tx_mdbm = power == HCI_TX_POWER_NO_PREFERENCE ? SIM_TX_DEFAULT : power * 1000,
        .channel_map = p[9],
        .sid = p[23],
        .primary_phy = SIM_PHY_1M,
        .secondary_phy = p[22],
    };
    if (sim_medium_set_params(c->config.medium, c->config.device, index_of(c, set), &params) != 0)
        return HCI_UNSUPPORTED;
    set->exists = true;
    set->handle = p[0];
    set->own_address_type = p[10];
    answer[0] = (uint8_t)(power == HCI_TX_POWER_NO_PREFERENCE ? c->config.tx_dbm : power);
    return HCI_OK;
}

uint8_t sim_controller_adv_address(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    struct controller_set *set = find_set(c, p[0]);
    (void)now, (void)n, (void)answer;
    if (p[0] > HANDLE_MAX)
        return HCI_INVALID_PARAMETERS;
    if (!set)
        return HCI_UNKNOWN_ADV_SET;
    memcpy(set->address, p + 1, 6);
    set->has_address = true;
    return HCI_OK;
}

static uint8_t use_data(struct sim_controller *c, struct controller_set *set, const uint8_t *data, size_t size)
{
    set->is_gathering = false;
    if (size > SIM_AD_MAX)
        return HCI_MEMORY_EXCEEDED;
    if (sim_medium_set_data(c->config.medium, c->config.device, index_of(c, set), data, size) != 0)
        return HCI_MEMORY_EXCEEDED;
    set->has_data = true;
    return HCI_OK;
}

static uint8_t gather_data(struct sim_controller *c, struct controller_set *set, uint8_t operation, const uint8_t *data,
                           size_t size)
{
    if (operation == HCI_ADV_DATA_FIRST) {
        set->is_gathering = true;
        set->is_overrun = false;
        set->fragments_size = 0;
    } else if (!set->is_gathering) {
        return HCI_DISALLOWED;
    }
    if (set->is_overrun || size > sizeof set->fragments - set->fragments_size) {
        set->is_overrun = true; /* refused until a first fragment comes again */
        return HCI_MEMORY_EXCEEDED;
    }
    memcpy(set->fragments + set->fragments_size, data, size);
    set->fragments_size += size;
    return operation == HCI_ADV_DATA_LAST ? use_data(c, set, set->fragments, set->fragments_size) : HCI_OK;
}

uint8_t sim_controller_adv_data(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)now, (void)answer;
    if (n < 4 || p[3] != n - 4 || p[3] > 251 || p[0] > HANDLE_MAX || p[1] > HCI_ADV_DATA_UNCHANGED || p[2] > 1)
        return HCI_INVALID_PARAMETERS;
    struct controller_set *set = find_set(c, p[0]);
    if (!set)
        return HCI_UNKNOWN_ADV_SET;
    if (p[1] == HCI_ADV_DATA_UNCHANGED) /* a fresh data id: the medium gives every event its own anyway */
        return p[3] == 0 && set->has_data && is_enabled(c, set) ? HCI_OK : HCI_INVALID_PARAMETERS;
    if (p[1] == HCI_ADV_DATA_COMPLETE)
        return use_data(c, set, p + 4, p[3]);
    if (p[3] == 0)
        return HCI_INVALID_PARAMETERS;
    if (is_enabled(c, set))
        return HCI_DISALLOWED;
    return gather_data(c, set, p[1], p + 4, p[3]);
}

static void disable_all(struct sim_controller *c, sim_time now)
{
    for (unsigned i = 0; i < SIM_SETS_MAX; i++)
        if (c->set[i].exists)
            sim_medium_set_disable(c->config.medium, now, c->config.device, i);
}

/* All of `count` entries (handle, duration u16, events) can be done, or the status to refuse with. */
static uint8_t judge_enable(struct sim_controller *c, const uint8_t *entry, unsigned count, bool on)
{
    uint8_t status = HCI_OK;
    for (unsigned i = 0; i < count; i++) {
        if (entry[4 * i] > HANDLE_MAX)
            return HCI_INVALID_PARAMETERS;
        for (unsigned k = 0; k < i; k++)
            if (entry[4 * k] == entry[4 * i])
                return HCI_INVALID_PARAMETERS;
    }
    for (unsigned i = 0; i < count && status == HCI_OK; i++) {
        const struct controller_set *set = find_set(c, entry[4 * i]);
        if (!set)
            status = HCI_UNKNOWN_ADV_SET;
        else if (on && set->is_gathering)
            status = HCI_DISALLOWED;
        else if (on && set->own_address_type == HCI_OWN_ADDRESS_RANDOM && !set->has_address)
            status = HCI_INVALID_PARAMETERS;
    }
    return status;
}

uint8_t sim_controller_adv_enable(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)answer;
    if (n < 2 || p[0] > 1 || n != 2u + 4u * p[1] || p[1] > SIM_SETS_MAX || (p[0] == 1 && p[1] == 0))
        return HCI_INVALID_PARAMETERS;
    uint8_t status = judge_enable(c, p + 2, p[1], p[0] == 1);
    if (status != HCI_OK)
        return status;
    if (p[1] == 0)
        disable_all(c, now);
    for (const uint8_t *entry = p + 2; entry < p + n; entry += 4) {
        unsigned set = index_of(c, find_set(c, entry[0]));
        if (p[0] == 0)
            sim_medium_set_disable(c->config.medium, now, c->config.device, set);
        else
            sim_medium_set_enable(c->config.medium, now, c->config.device, set, entry[3],
                                  (sim_time)mp_get16(entry + 1) * DURATION_UNIT_US);
    }
    return HCI_OK;
}

uint8_t sim_controller_adv_remove(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    struct controller_set *set = find_set(c, p[0]);
    (void)now, (void)n, (void)answer;
    if (p[0] > HANDLE_MAX)
        return HCI_INVALID_PARAMETERS;
    if (!set)
        return HCI_UNKNOWN_ADV_SET;
    if (sim_medium_set_remove(c->config.medium, c->config.device, index_of(c, set)) != 0)
        return HCI_DISALLOWED;
    memset(set, 0, sizeof *set);
    return HCI_OK;
}

uint8_t sim_controller_adv_clear(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)now, (void)p, (void)n, (void)answer;
    for (unsigned i = 0; i < SIM_SETS_MAX; i++)
        if (c->set[i].exists && is_enabled(c, &c->set[i]))
            return HCI_DISALLOWED;
    for (unsigned i = 0; i < SIM_SETS_MAX; i++)
        if (c->set[i].exists)
            sim_medium_set_remove(c->config.medium, c->config.device, i);
    memset(c->set, 0, sizeof c->set);
    return HCI_OK;
}

uint8_t sim_controller_scan_params(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    unsigned phys = 0;
    (void)now, (void)answer;
    if (n < 3 || p[0] > 3 || p[1] > 3 || p[2] == 0 || (p[2] & ~PHYS_KNOWN) != 0)
        return HCI_INVALID_PARAMETERS;
    for (unsigned bit = 0; bit < 3; bit++)
        phys += p[2] >> bit & 1;
    if (n != 3 + 5 * phys)
        return HCI_INVALID_PARAMETERS;
    for (const uint8_t *phy = p + 3; phy < p + n; phy += 5)
        if (phy[0] > 1 || mp_get16(phy + 1) < 4 || mp_get16(phy + 3) < 4 || mp_get16(phy + 3) > mp_get16(phy + 1))
            return HCI_INVALID_PARAMETERS;
    if (c->is_scanning)
        return HCI_DISALLOWED;
    if (p[0] > HCI_OWN_ADDRESS_RANDOM || p[1] != 0 || p[2] != HCI_PHY_BIT_1M)
        return HCI_UNSUPPORTED;
    c->scan_address_type = p[0];
    c->scan_interval_us = mp_get16(p + 4) * (uint32_t)SCAN_UNIT_US;
    c->scan_window_us = mp_get16(p + 6) * (uint32_t)SCAN_UNIT_US;
    return HCI_OK;
}

uint8_t sim_controller_scan_enable(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)n, (void)answer;
    if (p[0] > 1 || p[1] > 2)
        return HCI_INVALID_PARAMETERS;
    if (p[0] == 0) {
        c->is_scanning = false;
        sim_medium_scan_stop(c->config.medium, now, c->config.device);
        return HCI_OK;
    }
    if (p[1] != 0 || mp_get16(p + 2) != 0 || mp_get16(p + 4) != 0)
        return HCI_UNSUPPORTED;
    if (c->scan_address_type == HCI_OWN_ADDRESS_RANDOM && !c->has_address)
        return HCI_INVALID_PARAMETERS;
    if (c->is_scanning)
        return HCI_OK; /* allowed, and changes nothing */
    if (sim_medium_scan_start(c->config.medium, now, c->config.device, c->scan_interval_us, c->scan_window_us) != 0)
        return HCI_INVALID_PARAMETERS;
    c->is_scanning = true;
    return HCI_OK;
}
