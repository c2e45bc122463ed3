/*
 * What `meshsim run` reads from a scenario beyond devices and radio: what runs on them, which releases come, what goes
 * wrong, and what is measured. Filled by sim/world/scenario.c; plain data. All keys are optional; the values shown are
 * the defaults.
 */
#ifndef SIM_RUN_PLAN_H
#define SIM_RUN_PLAN_H

#include "sim/radio/radio.h"

#define SIM_RELEASES_MAX 4
#define SIM_MODELS_MAX 4
#define SIM_POLICY_TEXT_MAX 1024

/* [topology], kinds disc, buildings, csv. */
struct sim_topology_run {
    uint32_t degree_milli; /* disc; 0: by radius */
    int32_t radius_mm;
    uint32_t buildings, floors;
    int32_t width_mm, depth_mm, street_mm, floor_height_mm;
    int32_t floor_loss_mdb, wall_loss_mdb;
};

/*
 *   [run]
 *   stack = mesh             ; mesh (this project's node), flood, unicast, deluge (802.15.4), deluge-ble, mesh-dfu,
 *                            ; idle-load
 *   duration = 1 h           ; at most
 *   stop = complete          ; complete: every node that should has the image; done: the rollouts ended (done, held or
 *                            ; reverted) and nothing changed for `settle`; never: at duration. Without any [release] the
 *                            ; default is never
 *   settle = 60 s
 *   sample = 1 s             ; period of the curves, and of looking whether to stop
 *   warmup = 0 s             ; curves, frame counts and control share begin here
 *   trace = none             ; none or pcap
 *   rows = all               ; all, nodes (no rows of single happenings), none (sums only): for large worlds
 */
enum sim_stack_kind {
    SIM_RUN_MESH,
    SIM_RUN_FLOOD,
    SIM_RUN_UNICAST,
    SIM_RUN_DELUGE,
    SIM_RUN_MESH_DFU,
    SIM_RUN_DELUGE_BLE, /* over extended advertising */
    SIM_RUN_IDLE_LOAD   /* mesh nodes of which each sends one SUMMARY a second: the load of benchmarks */
};
enum sim_stop { SIM_STOP_COMPLETE, SIM_STOP_DONE, SIM_STOP_NEVER };
enum sim_rows { SIM_ROWS_ALL, SIM_ROWS_NODES, SIM_ROWS_NONE };
struct sim_run {
    enum sim_stack_kind stack;
    sim_time duration_us, settle_us, sample_us, warmup_us;
    enum sim_stop stop;
    bool trace_pcap;
    enum sim_rows rows;
};

/*
 *   [fleet]
 *   gateways = 1             ; how many of the nodes are gateways; the first is node 0 for line, grid, list and csv, else
 *                            ; they are the nodes closest to the centres of equal shares of the area (as many as there are
 *                            ; buildings: one in each); with more than one, the others too
 *   networks = one           ; one: all gateways serve one network, with one release engine at the first of them, reached
 *                            ; over `backhaul` by the others; own: every gateway has its own network of the nodes nearest
 *                            ; to it by hops, and its own release engine
 *   backhaul = 50 ms         ; delay between a gateway and the release engine
 *   models = 1               ; nodes are dealt out to models 1..n at random, evenly
 *   hw_revisions = 1         ; and to hardware revisions 1..n
 *   canaries = 5             ; nodes with label 0 ("canary"), drawn at random, in each release engine's fleet
 *   enrolled = yes           ; nodes are in the registry from the start; no: with their first report
 *   size = 64 KB             ; image that every node runs at the start (release 1)
 */
struct sim_fleet_plan {
    uint32_t gateways;
    bool own_networks;
    uint32_t backhaul_us;
    uint8_t models, hw_revisions;
    uint32_t canaries;
    bool enrolled;
    uint32_t size_bytes;
};

/*
 *   [release 2]              ; 2 to 5: release sequence, one after the other or at once
 *   at = 10 s                ; when it is published and its rollout starts
 *   size = 64 KB
 *   model = 0                ; 0: all models, each with an image of its own (of this size)
 *   policy = all: share=100% soak=60s    ; as typed for meshctl (meshd/release/policy.h); label names: canary. May be
 *                            ; repeated, a clause a line (after a space, a semicolon begins a comment here)
 *   on_hold = stop           ; stop: stays held; revert: a signed revert follows after 60 s
 *   fault = none             ; none, crash (at boot), selftest (fails), hang (watchdog), mute (radio stops in the trial),
 *                            ; brick (dead some time after it was confirmed), degrade (misbehaves in service: resets at
 *                            ; random from then on)
 *   fault_probability = 100 %; of the nodes that boot it (drawn once a node)
 *   fault_revision = 0       ; only on this hardware revision; 0: all
 *   fault_after = 10 min     ; brick, degrade: after confirm, exponential with this mean
 */
enum sim_fault {
    SIM_FAULT_NONE,
    SIM_FAULT_CRASH,
    SIM_FAULT_SELFTEST,
    SIM_FAULT_HANG,
    SIM_FAULT_MUTE,
    SIM_FAULT_BRICK,
    SIM_FAULT_DEGRADE
};
struct sim_release_plan {
    uint32_t release;
    sim_time at_us;
    uint32_t size_bytes;
    uint8_t model;
    char policy[SIM_POLICY_TEXT_MAX];
    bool reverts_on_hold;
    enum sim_fault fault;
    uint32_t fault_ppm;
    uint8_t fault_revision;
    sim_time fault_after_us;
};

/*
 *   [life]
 *   drift = 20 ppm           ; clock error of a node, uniform between minus and plus this
 *   boot = 2 s               ; from reset to running
 *   selftest = 1 s           ; of the application, on trial
 *   reboot_every = 0 s       ; mean time between spontaneous resets of a node (exponential); 0: none
 *   off_every = 0 s          ; churn: mean time until a node goes off; 0: none
 *   off_for = 10 min         ; mean time it stays off
 *   join_within = 0 s        ; nodes appear at a random time up to this; 0: all at once at time 0
 *   partition_at = 0 s       ; the field is cut in two at its middle in x
 *   partition_for = 0 s      ; 0: no partition
 *   duty_share = 0 %         ; of nodes that scan only scan_window of every scan_interval below
 *   duty_interval = 1 s
 *   duty_window = 100 ms
 *   battery = 0 mAh          ; capacity; a node is off for good when it is used up; 0: mains
 */
struct sim_life {
    uint32_t drift_ppm;
    sim_time boot_us, selftest_us, reboot_every_us, off_every_us, off_for_us, join_within_us;
    sim_time partition_at_us, partition_for_us;
    uint32_t duty_ppm, duty_interval_us, duty_window_us;
    uint32_t battery_uah;
};

/*
 *   [energy]                 ; of the radio chip; defaults are the nRF52832's data sheet at 3 V with DC/DC, 0 dBm
 *   voltage = 3 V
 *   tx = 5.3 mA
 *   rx = 5.4 mA
 *   sleep = 1.9 uA
 *   flash_write = 1 uJ       ; for each chunk stored
 *   price = 0.25             ; cost of a kWh, for the calculator
 */
struct sim_energy {
    uint32_t voltage_mv, tx_ua, rx_ua, sleep_na, flash_write_nj, price_milli;
};

/*
 *   [attack]
 *   kind = none              ; none, flood (noise with valid framing and wrong tags), replay (of what was heard), forge
 *                            ; (an insider with the network key sends chunks that do not verify), sinkhole (an insider
 *                            ; says hop 1 and passes nothing on), jam (back-to-back advertising)
 *   nodes = 1                ; how many of the nodes, drawn at random (no gateway)
 *   every = 30 ms            ; between an attacker's frames
 *   from = 0 s
 */
enum sim_attack_kind {
    SIM_ATTACK_NONE,
    SIM_ATTACK_FLOOD,
    SIM_ATTACK_REPLAY,
    SIM_ATTACK_FORGE,
    SIM_ATTACK_SINKHOLE,
    SIM_ATTACK_JAM
};
struct sim_attack {
    enum sim_attack_kind kind;
    uint32_t nodes, every_us;
    sim_time from_us;
};

/*
 *   [baseline]               ; parameters of the baselines; each file in sim/baseline says what they are
 *   flood_probability = 100 %
 *   flood_repeats = 1
 *   unicast_retries = 10
 *   deluge_page = 48         ; packets a page
 *   deluge_packet = 23 B     ; payload of a packet
 *   dfu_block = 4096 B
 *   dfu_chunk = 256 B
 *   dfu_ttl = 7
 *   dfu_transmits = 3        ; network transmit count
 *   dfu_relay_transmits = 3
 *   dfu_targets = 0          ; nodes updated together; 0: all
 */
struct sim_baseline_plan {
    uint32_t flood_ppm, flood_repeats, unicast_retries;
    uint32_t deluge_page, deluge_packet_bytes;
    uint32_t dfu_block_bytes, dfu_chunk_bytes, dfu_ttl, dfu_transmits, dfu_relay_transmits, dfu_targets;
};

#endif
