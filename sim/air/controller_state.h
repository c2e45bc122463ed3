/*
 * What the files of the virtual controller share; private to sim/air.
 */
#ifndef SIM_CONTROLLER_STATE_H
#define SIM_CONTROLLER_STATE_H

#include "controller.h"

#include <string.h>

#include "proto/mp_wire.h"

/* An advertising set; its index is that of the medium's set. */
struct controller_set {
    bool exists;
    uint8_t handle;
    uint8_t own_address_type;
    bool has_address;
    uint8_t address[6];
    bool has_data;
    bool is_gathering;     /* first fragment seen, last one not */
    bool is_overrun;       /* the fragments are longer than the controller can hold */
    size_t fragments_size; /* bytes gathered */
    uint8_t fragments[SIM_AD_MAX];
};

struct sim_controller {
    struct sim_controller_config config;
    struct sim_controller_counters counters;
    uint64_t event_mask, le_event_mask;
    struct controller_set set[SIM_SETS_MAX];
    bool has_address;
    uint8_t address[6];
    bool is_scanning;
    uint8_t scan_address_type;
    uint32_t scan_interval_us, scan_window_us;
    bool is_lost; /* in noise; Hardware Error was sent for it */
    size_t in_size;
    uint8_t in[HCI_COMMAND_MAX];
    size_t out_first, out_size; /* queued bytes: out[out_first .. out_first + out_size) */
    uint8_t out[SIM_CONTROLLER_OUTPUT];
};

/*
 * One command: parameters p, n bytes (the table has checked a fixed length); answer: return parameters after the
 * status, zeroed, of the table's length. Returns the status.
 */
typedef uint8_t controller_handler(struct sim_controller *c, sim_time now, const uint8_t *p, size_t n, uint8_t *answer);

/* controller_radio.c: advertising and scanning. */
controller_handler sim_controller_adv_params, sim_controller_adv_address, sim_controller_adv_data,
    sim_controller_adv_enable, sim_controller_adv_remove, sim_controller_adv_clear, sim_controller_scan_params,
    sim_controller_scan_enable;

#endif
