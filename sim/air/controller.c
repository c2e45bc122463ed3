/*
 * The virtual controller: stream, queue, dispatch, events, and the commands that only inform or configure.
 */
#include "controller_state.h"

#include <stdlib.h>

#define ANSWER_MAX 64 /* longest return parameters: supported commands */
#define ANSWER_ROOM (6 + 1 + ANSWER_MAX)
#define REPORT_RESERVE 1024 /* kept free of reports, for answers and terminations */
#define EVENT_MASK_DEFAULT 0x00001FFFFFFFFFFFull
#define LE_EVENT_MASK_DEFAULT 0x1Full
#define VERSION_5_2 0x0B
#define COMPANY_NONE 0xFFFF
#define LENGTH_ANY 0xFFFF

static void forget(struct sim_controller *c, sim_time now)
{
    sim_medium_reset(c->config.medium, now, c->config.device);
    c->event_mask = EVENT_MASK_DEFAULT;
    c->le_event_mask = LE_EVENT_MASK_DEFAULT;
    memset(c->set, 0, sizeof c->set);
    c->has_address = false;
    c->is_scanning = false;
    c->scan_address_type = 0;
    c->scan_interval_us = c->scan_window_us = 10000;
    c->counters.resets++;
}

struct sim_controller *sim_controller_open(const struct sim_controller_config *config)
{
    struct sim_controller *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->config = *config;
    sim_controller_power(c, 0);
    c->counters.resets = 0;
    return c;
}

void sim_controller_close(struct sim_controller *c)
{
    free(c);
}

void sim_controller_power(struct sim_controller *c, sim_time now)
{
    forget(c, now);
    c->is_lost = false;
    c->in_size = c->out_first = c->out_size = 0;
}

const struct sim_controller_counters *sim_controller_counters(const struct sim_controller *c)
{
    return &c->counters;
}

/* --- output ------------------------------------------------------------------------------------------------------- */

/* An event of `length` parameters at the end of the queue, or NULL when less than `reserve` bytes would stay free. */
static uint8_t *queue_event(struct sim_controller *c, uint8_t code, size_t length, size_t reserve)
{
    size_t size = HCI_EVENT_HEADER + length;
    if (sizeof c->out - c->out_size < size + reserve)
        return NULL;
    if (c->out_first + c->out_size + size > sizeof c->out) {
        memmove(c->out, c->out + c->out_first, c->out_size);
        c->out_first = 0;
    }
    uint8_t *p = c->out + c->out_first + c->out_size;
    c->out_size += size;
    p[0] = HCI_H4_EVENT;
    p[1] = code;
    p[2] = (uint8_t)length;
    return p + HCI_EVENT_HEADER;
}

const uint8_t *sim_controller_output(const struct sim_controller *c, size_t *n)
{
    *n = c->out_size;
    return c->out + c->out_first;
}

void sim_controller_consume(struct sim_controller *c, size_t n)
{
    n = n < c->out_size ? n : c->out_size;
    c->out_size -= n;
    c->out_first = c->out_size > 0 ? c->out_first + n : 0;
}

bool sim_controller_has_room(const struct sim_controller *c)
{
    return sizeof c->out - c->out_size >= ANSWER_ROOM + HCI_EVENT_HEADER + 1; /* and a Hardware Error */
}

static void queue_hardware_error(struct sim_controller *c)
{
    if (!(c->event_mask & HCI_MASK_HARDWARE_ERROR))
        return;
    uint8_t *p = queue_event(c, HCI_EVENT_HARDWARE_ERROR, 1, ANSWER_ROOM);
    if (p)
        p[0] = 0;
}

static bool wants_le_event(const struct sim_controller *c, uint64_t bit)
{
    return (c->event_mask & HCI_MASK_LE_META) && (c->le_event_mask & bit);
}

void sim_controller_set_ended(struct sim_controller *c, unsigned set, enum sim_set_end why, uint32_t events)
{
    if (set >= SIM_SETS_MAX || !c->set[set].exists || !wants_le_event(c, HCI_LE_MASK_ADV_SET_TERMINATED))
        return;
    uint8_t *p = queue_event(c, HCI_EVENT_LE_META, 6, ANSWER_ROOM);
    if (!p)
        return;
    p[0] = HCI_LE_ADV_SET_TERMINATED;
    p[1] = why == SIM_END_EVENTS ? HCI_LIMIT_REACHED : HCI_ADV_TIMEOUT;
    p[2] = c->set[set].handle;
    mp_put16(p + 3, 0);
    p[5] = (uint8_t)(events < 255 ? events : 255);
}

void sim_controller_hear(struct sim_controller *c, const struct sim_controller *sender,
                         const struct sim_reception *reception)
{
    if (!c->is_scanning || !wants_le_event(c, HCI_LE_MASK_EXT_ADV_REPORT) || reception->len > HCI_REPORT_DATA_MAX ||
        reception->set >= SIM_SETS_MAX)
        return;
    uint8_t *p = queue_event(c, HCI_EVENT_LE_META, 2 + HCI_REPORT_HEADER + reception->len, REPORT_RESERVE);
    if (!p) {
        c->counters.reports_dropped++;
        return;
    }
    const struct controller_set *set = &sender->set[reception->set];
    bool is_random = set->own_address_type == HCI_OWN_ADDRESS_RANDOM;
    memset(p, 0, 2 + HCI_REPORT_HEADER);
    p[0] = HCI_LE_EXT_ADV_REPORT;
    p[1] = 1;
    p += 2; /* event type 0: extended, not connectable, not scannable, data complete */
    p[2] = is_random;
    memcpy(p + 3, is_random ? set->address : sender->config.public_address, 6);
    p[9] = (uint8_t)reception->primary_phy;
    p[10] = (uint8_t)reception->secondary_phy;
    p[11] = reception->sid;
    p[12] = HCI_TX_POWER_NO_PREFERENCE; /* not in the packet */
    p[13] = (uint8_t)reception->rssi_dbm;
    p[23] = (uint8_t)reception->len;
    memcpy(p + HCI_REPORT_HEADER, reception->data, reception->len);
    c->counters.reports++;
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static uint8_t on_reset(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)p, (void)n, (void)answer;
    forget(c, now); /* what is queued stays: the host may have read half of an event */
    return HCI_OK;
}

static uint8_t on_event_mask(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)now, (void)n, (void)answer;
    c->event_mask = mp_get64(p);
    return HCI_OK;
}

static uint8_t on_le_event_mask(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)now, (void)n, (void)answer;
    c->le_event_mask = mp_get64(p);
    return HCI_OK;
}

static uint8_t on_version(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    answer[0] = VERSION_5_2;
    answer[3] = VERSION_5_2;
    mp_put16(answer + 4, COMPANY_NONE);
    return HCI_OK;
}

static uint8_t on_features(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    answer[4] = 0x60; /* no BR/EDR; LE */
    return HCI_OK;
}

static uint8_t on_le_features(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    mp_put64(answer, 1ull << HCI_LE_FEATURE_2M | 1ull << HCI_LE_FEATURE_EXT_ADV);
    return HCI_OK;
}

static uint8_t on_buffer_size(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    mp_put16(answer, 27); /* ACL: the least; nothing connects */
    mp_put16(answer + 3, 1);
    return HCI_OK;
}

static uint8_t on_le_buffer_size(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    mp_put16(answer, 27);
    answer[2] = 1;
    return HCI_OK;
}

static uint8_t on_public_address(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)now, (void)p, (void)n;
    memcpy(answer, c->config.public_address, 6);
    return HCI_OK;
}

static uint8_t on_states(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    mp_put64(answer, 0x111); /* non-connectable advertising, passive scanning, both */
    return HCI_OK;
}

static uint8_t on_random_address(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)now, (void)n, (void)answer;
    if (c->is_scanning)
        return HCI_DISALLOWED;
    memcpy(c->address, p, 6);
    c->has_address = true;
    return HCI_OK;
}

static uint8_t on_max_data(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    mp_put16(answer, SIM_AD_MAX);
    return HCI_OK;
}

static uint8_t on_set_count(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    answer[0] = SIM_SETS_MAX;
    return HCI_OK;
}

static uint8_t on_log(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    char text[HCI_PARAMETERS_MAX + 1];
    (void)now, (void)answer;
    if (n == 0)
        return HCI_INVALID_PARAMETERS;
    for (size_t i = 0; i < n; i++)
        text[i] = p[i] >= 0x20 && p[i] <= 0x7E ? (char)p[i] : '?';
    text[n] = 0;
    if (c->config.log)
        c->config.log(c->config.ctx, c->config.device, text);
    return HCI_OK;
}

static controller_handler on_commands;

/* Every command there is. `bit` is its place in the map of supported commands: 8 * octet + bit (Vol 4 Part E, 6.27). */
static const struct command {
    uint16_t opcode;
    uint16_t length; /* of the parameters, or LENGTH_ANY */
    uint16_t answer; /* bytes after the status */
    int16_t bit;     /* -1: has none */
    controller_handler *handler;
} commands[] = {
    {HCI_SET_EVENT_MASK, 8, 0, 5 * 8 + 6, on_event_mask},
    {HCI_RESET, 0, 0, 5 * 8 + 7, on_reset},
    {HCI_READ_LOCAL_VERSION, 0, 8, 14 * 8 + 3, on_version},
    {HCI_READ_LOCAL_COMMANDS, 0, 64, -1, on_commands},
    {HCI_READ_LOCAL_FEATURES, 0, 8, 14 * 8 + 5, on_features},
    {HCI_READ_BUFFER_SIZE, 0, 7, 14 * 8 + 7, on_buffer_size},
    {HCI_READ_BD_ADDR, 0, 6, 15 * 8 + 1, on_public_address},
    {HCI_LE_SET_EVENT_MASK, 8, 0, 25 * 8 + 0, on_le_event_mask},
    {HCI_LE_READ_BUFFER_SIZE, 0, 3, 25 * 8 + 1, on_le_buffer_size},
    {HCI_LE_READ_FEATURES, 0, 8, 25 * 8 + 2, on_le_features},
    {HCI_LE_SET_RANDOM_ADDRESS, 6, 0, 25 * 8 + 4, on_random_address},
    {HCI_LE_READ_STATES, 0, 8, 28 * 8 + 3, on_states},
    {HCI_LE_SET_ADV_SET_ADDRESS, 7, 0, 36 * 8 + 1, sim_controller_adv_address},
    {HCI_LE_SET_EXT_ADV_PARAMS, 25, 1, 36 * 8 + 2, sim_controller_adv_params},
    {HCI_LE_SET_EXT_ADV_DATA, LENGTH_ANY, 0, 36 * 8 + 3, sim_controller_adv_data},
    {HCI_LE_SET_EXT_ADV_ENABLE, LENGTH_ANY, 0, 36 * 8 + 5, sim_controller_adv_enable},
    {HCI_LE_READ_MAX_ADV_DATA, 0, 2, 36 * 8 + 6, on_max_data},
    {HCI_LE_READ_ADV_SETS, 0, 1, 36 * 8 + 7, on_set_count},
    {HCI_LE_REMOVE_ADV_SET, 1, 0, 37 * 8 + 0, sim_controller_adv_remove},
    {HCI_LE_CLEAR_ADV_SETS, 0, 0, 37 * 8 + 1, sim_controller_adv_clear},
    {HCI_LE_SET_EXT_SCAN_PARAMS, LENGTH_ANY, 0, 37 * 8 + 5, sim_controller_scan_params},
    {HCI_LE_SET_EXT_SCAN_ENABLE, 6, 0, 37 * 8 + 6, sim_controller_scan_enable},
    {HCI_VENDOR_LOG, LENGTH_ANY, 0, -1, on_log},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static uint8_t on_commands(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer)
{
    (void)c, (void)now, (void)p, (void)n;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (commands[i].bit >= 0)
            answer[commands[i].bit / 8] |= (uint8_t)(1u << commands[i].bit % 8);
    return HCI_OK;
}

/* The caller has made sure that the answer fits. */
static void answer_unknown(struct sim_controller *c, uint16_t opcode)
{
    uint8_t *p = queue_event(c, HCI_EVENT_COMMAND_STATUS, 4, 0);
    p[0] = HCI_UNKNOWN_COMMAND;
    p[1] = 1;
    mp_put16(p + 2, opcode);
    c->counters.unknown++;
    c->counters.refused++;
}

static void on_command(struct sim_controller *c, sim_time now)
{
    uint16_t opcode = mp_get16(c->in + 1);
    const struct command *command = NULL;
    uint8_t values[ANSWER_MAX] = {0};
    c->counters.commands++;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (commands[i].opcode == opcode)
            command = &commands[i];
    if (!command) {
        answer_unknown(c, opcode);
        return;
    }
    uint8_t status = HCI_INVALID_PARAMETERS;
    if (command->length == LENGTH_ANY || command->length == c->in[3])
        status = command->handler(c, now, c->in + HCI_COMMAND_HEADER, c->in[3], values);
    if (status != HCI_OK) {
        memset(values, 0, sizeof values);
        c->counters.refused++;
    }
    uint8_t *p = queue_event(c, HCI_EVENT_COMMAND_COMPLETE, 4u + command->answer, 0);
    p[0] = 1; /* credit */
    mp_put16(p + 1, opcode);
    p[3] = status;
    memcpy(p + 4, values, command->answer);
}

/* A byte that begins no command. */
static void on_noise(struct sim_controller *c)
{
    c->counters.noise++;
    if (!c->is_lost)
        queue_hardware_error(c);
    c->is_lost = true;
}

size_t sim_controller_receive(struct sim_controller *c, sim_time now, const uint8_t *bytes, size_t n)
{
    size_t taken = 0;
    while (taken < n && sim_controller_has_room(c)) {
        if (c->in_size == 0 && bytes[taken] != HCI_H4_COMMAND) {
            on_noise(c);
            taken++;
            continue;
        }
        size_t need = c->in_size < HCI_COMMAND_HEADER ? HCI_COMMAND_HEADER : (size_t)HCI_COMMAND_HEADER + c->in[3];
        size_t part = need - c->in_size < n - taken ? need - c->in_size : n - taken;
        memcpy(c->in + c->in_size, bytes + taken, part);
        c->in_size += part;
        taken += part;
        if (c->in_size >= HCI_COMMAND_HEADER && c->in_size == (size_t)HCI_COMMAND_HEADER + c->in[3]) {
            on_command(c, now);
            c->in_size = 0;
            c->is_lost = false;
        }
    }
    return taken;
}
