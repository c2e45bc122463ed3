/*
 * Scenario files: which devices there are, where they stand, what their radio is like, and what happens in their world.
 * Read by `meshsim live` (which uses [scenario], [radio], [topology], [node] and [link], and accepts and ignores the
 * rest) and by `meshsim run`. An INI file (comments start with ; or at the beginning of a line with #):
 *
 *   [scenario]
 *   name = office            ; up to 63 characters
 *   seed = 42                ; 64-bit number; everything random follows from it
 *
 *   [radio]                  ; all optional, the values here are the defaults; units are obligatory
 *   tx_power = 0 dBm         ; also of a set that leaves the power to the controller
 *   loss_1m = 40 dB          ; path loss at one metre
 *   exponent = 2.7           ; of the log-distance path loss
 *   shadowing = 0 dB         ; standard deviation, drawn once a pair
 *   noise = -104 dBm
 *   sensitivity = -94 dBm
 *   capture = 8 dB           ; least SINR at which a packet is received
 *   primary_gap = 250 us     ; between the ADV_EXT_IND of an event
 *   aux_gap = 300 us         ; from the last of them to the AUX_ADV_IND
 *   interval = 20 ms         ; least time between two event starts of one controller
 *   delay = 10 ms            ; a random time up to this is added to it
 *   processing = 150 us      ; from a host's command to the start of an event
 *   frame_loss = 0 %         ; drawn for every reception besides all the above
 *   delivery = 1 ms          ; run: from the end of a packet to the host that hears it
 *   capture_effect = yes     ; run: no: any overlap in range destroys both packets
 *   collisions = yes         ; run: no: an ideal radio, nothing collides
 *   secondary_phy = 1M       ; run: 1M, 2M or coded, of the auxiliary packet
 *   scan_interval = 100 ms   ; run: scanning of nodes that are not duty-cycled
 *   scan_window = 100 ms
 *   channel = 15             ; run: 802.15.4, 11 to 26
 *
 *   [topology]
 *   kind = grid              ; line, grid, disc, buildings, csv, or list (the default: every device has a [node])
 *   nodes = 7                ; line, disc, buildings: devices, gateways included
 *                            ; (live: at most 1024)
 *   columns = 5              ; grid
 *   rows = 5                 ; grid
 *   spacing = 10 m           ; line, grid: between neighbours
 *   reach = neighbours       ; line, grid: only adjacent devices couple (grid: 8 around), at link_loss;
 *                            ; physics (the default): path loss from the positions
 *   link_loss = 60 dB        ; with reach = neighbours
 *   first = gw               ; line, grid: name of the first device (corner, end); default: prefix and 0
 *   prefix = n               ; all but list and csv: the others are n1, n2, ...
 *   degree = 20              ; disc: mean number of others in range, which sets the radius; or
 *   radius = 100 m           ; disc
 *   buildings = 4            ; buildings: how many, side by side in a square
 *   floors = 5               ; of each; nodes spread evenly over floors, at random on them
 *   width = 60 m             ; of a building, along x
 *   depth = 30 m             ; along y
 *   street = 20 m            ; between buildings
 *   floor_height = 3 m
 *   floor_loss = 15 dB       ; for each floor between two nodes
 *   wall_loss = 10 dB        ; for each outer wall between two nodes (two when in different buildings)
 *   file = positions.csv     ; csv: lines "name,x,y[,z]" in metres; relative to the scenario file
 *
 *   [node gw]                ; list: adds a device; line, grid: moves one (reach = physics)
 *   position = 1.5 m, 2 m    ; x, y and perhaps z
 *
 *   [link gw n3]             ; overrides the path loss of a pair, both ways
 *   loss = 75 dB             ; or none
 *
 * The sections of `run` are below, at the structs they fill. Names: 1 to 20 of a-z A-Z 0-9 - _ . beginning with a letter
 * or digit. Sections may come in any order; each key once. Reentrant.
 */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "medium.h"
#include "run_plan.h"

#define SIM_NODES_MAX (1u << 20) /* of a world; live: SIM_DEVICES_MAX */
#define SIM_NAME_MAX 21          /* bytes of a device's name, terminator included */
#define SIM_PREFIX_MAX 13        /* bytes of the prefix of generated names, terminator included */
#define SIM_SCENARIO_TEXT_MAX (1u << 20)

enum sim_topology {
    SIM_TOPOLOGY_LIST,
    SIM_TOPOLOGY_LINE,
    SIM_TOPOLOGY_GRID,
    SIM_TOPOLOGY_DISC,
    SIM_TOPOLOGY_BUILDINGS,
    SIM_TOPOLOGY_CSV
};
enum sim_reach { SIM_REACH_PHYSICS, SIM_REACH_NEIGHBOURS };

struct sim_scenario_node {
    char name[SIM_NAME_MAX];
    struct sim_position position;
};

struct sim_scenario_link {
    uint32_t a, b;    /* indices into node[] */
    int32_t loss_mdb; /* or SIM_LOSS_NONE */
};

/* What `run` needs beyond the radio of sim/radio. */
struct sim_radio_run {
    uint32_t delivery_us; /* 100 to 10000 */
    bool capture_effect, collisions;
    uint8_t secondary_phy; /* enum sim_phy */
    uint8_t channel;       /* 802.15.4 */
    uint32_t scan_interval_us, scan_window_us;
};

struct sim_scenario {
    char name[64];
    uint64_t seed;
    uint32_t loss_ppm;
    struct sim_radio radio;
    enum sim_topology topology;
    enum sim_reach reach;
    uint32_t columns, rows; /* line: columns = nodes, rows = 1 */
    int32_t spacing_mm;
    int32_t link_loss_mdb;
    uint32_t count;           /* devices: 1 to SIM_DEVICES_MAX for live, to SIM_NODES_MAX for run */
    char first[SIM_NAME_MAX]; /* empty: the first is named like the others */
    char prefix[SIM_PREFIX_MAX];
    /* [count] when count is at most SIM_DEVICES_MAX, the kind is list or csv, or a [node] moves a device; else NULL */
    struct sim_scenario_node *node;
    struct sim_topology_run place;
    struct sim_radio_run radio_run;
    struct sim_run run;
    struct sim_fleet_plan fleet;
    uint32_t release_count;
    struct sim_release_plan release[SIM_RELEASES_MAX]; /* in order of their numbers */
    struct sim_life life;
    struct sim_energy energy;
    struct sim_attack attack;
    struct sim_baseline_plan baseline;
    uint32_t link_count;
    struct sim_scenario_link *link;
};

/* Reads a file, or parses text (len at most SIM_SCENARIO_TEXT_MAX) that came from `path` (for messages only). 0, or -1
 * with "path:line: what is wrong and what would be right" in error (cut to cap bytes); s needs no freeing then. */
int sim_scenario_read(struct sim_scenario *s, const char *path, char *error, size_t cap);
int sim_scenario_parse(struct sim_scenario *s, const char *path, const char *text, size_t len, char *error, size_t cap);
/* Reads a file, then applies overrides "section.key=value" ("release 2.size=256 KB"; the last of several for one key
 * counts). Errors in them are named "--set TEXT: what is wrong". */
int sim_scenario_read_with(struct sim_scenario *s, const char *path, const char *const *sets, size_t set_count,
                           char *error, size_t cap);
/* The same of text, as sim_scenario_parse(). */
int sim_scenario_parse_with(struct sim_scenario *s, const char *path, const char *text, size_t len,
                            const char *const *sets, size_t set_count, char *error, size_t cap);
void sim_scenario_free(struct sim_scenario *s);
/* Another seed: generated positions follow it. A seed is only ever changed through this (or "scenario.seed=N"). 0, or
 * -1: out of memory, nothing changed. */
int sim_scenario_reseed(struct sim_scenario *s, uint64_t seed);
/* Hash of everything as understood: the same for two files that mean the same. The family leaves out the seed and what
 * follows from it: the same for all runs that differ only in it. */
uint64_t sim_scenario_hash(const struct sim_scenario *s);
uint64_t sim_scenario_family(const struct sim_scenario *s);
/* Name of a device, also when node is NULL. */
void sim_scenario_name(const struct sim_scenario *s, uint32_t index, char out[SIM_NAME_MAX]);
/* Index of a device by name, or -1. */
int sim_scenario_find(const struct sim_scenario *s, const char *name);
/* Opens a medium with the scenario's devices, couplings, loss and seed. NULL: out of memory, or more than SIM_DEVICES_MAX
 * devices. */
struct sim_medium *sim_scenario_medium(const struct sim_scenario *s, const struct sim_medium_ops *ops, void *ctx);

#endif
