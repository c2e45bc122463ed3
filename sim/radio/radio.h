/*
 * The radio as pure functions: Bluetooth LE airtimes, the timeline of an extended advertising event, the channel a
 * scanner listens to, path loss, capture. Nothing here keeps state, and no verdict uses floating point, so a world
 * gives the same result with every compiler, at every optimisation level and on any number of processes.
 *
 * Units: times in microseconds; powers in milli-dBm and ratios in milli-dB (1 dB = 1000); linear powers in units of
 * 10^-14 mW; positions in millimetres. Bluetooth terms and numbers are those of the Core Specification, Vol 6 Part B.
 */
#ifndef SIM_RADIO_H
#define SIM_RADIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds since an origin of the caller's choosing. The same unit as mp_time. */
typedef uint64_t sim_time;
#define SIM_NEVER UINT64_MAX

enum sim_phy { SIM_PHY_1M = 1, SIM_PHY_2M = 2, SIM_PHY_CODED = 3 }; /* values as in HCI; Coded is S=8 */

#define SIM_AD_MAX 229      /* bytes of advertising data that fit one HCI extended advertising report */
#define SIM_PRIMARY_COUNT 3 /* channels 37, 38, 39 */
#define SIM_PRIMARY_FIRST 37
#define SIM_DATA_CHANNELS 37 /* 0 to 36 */
#define SIM_EXT_HEADER_MAX 63

/* --- airtimes ----------------------------------------------------------------------------------------------------- */

/* Airtime of a packet whose PDU has a 2-byte header and `payload` bytes (0 to 255), CRC included. */
uint32_t sim_airtime_us(enum sim_phy phy, unsigned payload);
/* ADV_EXT_IND of a non-connectable, non-scannable event: extended header length, flags, ADI, AuxPtr (7 bytes). */
uint32_t sim_airtime_ext_ind_us(enum sim_phy phy);
/* AUX_ADV_IND with n bytes of advertising data (0 to 245): extended header length, flags, AdvA, ADI (10 bytes), data.
 */
uint32_t sim_airtime_aux_us(enum sim_phy phy, unsigned n);
/* ADV_NONCONN_IND with n bytes of advertising data (0 to 31), on LE 1M: AdvA (6 bytes), data. */
uint32_t sim_airtime_legacy_us(unsigned n);

/* --- the radio's constants ---------------------------------------------------------------------------------------- */

struct sim_radio {
    int32_t tx_mdbm;          /* default transmit power, -127000 to 20000 */
    int32_t loss_1m_mdb;      /* path loss at one metre, 0 to 120000 */
    int32_t exponent_milli;   /* path loss exponent in thousandths, 1000 to 8000 */
    int32_t shadowing_mdb;    /* standard deviation of the shadowing of a pair, 0 to 20000, 0 none */
    int32_t noise_mdbm;       /* noise floor over the receiver's bandwidth, -130000 to -50000 */
    int32_t sensitivity_mdbm; /* below it nothing is received, -120000 to -30000 */
    int32_t capture_mdb;      /* SINR from which a packet is received, 0 to 30000 */
    uint32_t primary_gap_us;  /* end of a primary PDU to the start of the next, 150 to 5000 */
    uint32_t aux_gap_us;      /* end of the last primary PDU to the AUX; T_MAFS is 300; 300 to 5000 */
    uint32_t interval_us;     /* least time between two event starts of one controller, 20000 to 1000000 */
    uint32_t delay_us;        /* advDelay: up to this is added at random, 0 to 100000 */
    uint32_t processing_us;   /* host command to the earliest start of an event, 0 to 100000 */
};

/* A 0 dBm LE 1M radio indoors: 40 dB at 1 m, exponent 2.7, no shadowing, noise -104 dBm, sensitivity -94 dBm, capture
 * 8 dB, gaps 250 and 300 us, events 20 ms + 0 to 10 ms apart, processing 150 us. */
void sim_radio_defaults(struct sim_radio *radio);
/* NULL when every field is in the range given above, else the name of the first one that is not (static storage). */
const char *sim_radio_check(const struct sim_radio *radio);

/* --- one extended advertising event ------------------------------------------------------------------------------- */

struct sim_pdu {
    uint8_t channel; /* 0 to 39 */
    sim_time start;
    sim_time end;
};

/* Up to three ADV_EXT_IND, one for each channel in use, then the AUX_ADV_IND. */
struct sim_event {
    uint8_t primaries; /* 1 to 3 */
    struct sim_pdu primary[SIM_PRIMARY_COUNT];
    struct sim_pdu aux;
};

/* channel_map: bit 0 = 37, bit 1 = 38, bit 2 = 39; 0 is taken as all three. aux_channel 0 to 36; bytes 0 to 245. */
void sim_event_plan(struct sim_event *event, const struct sim_radio *radio, sim_time start, unsigned channel_map,
                    enum sim_phy primary_phy, enum sim_phy secondary_phy, unsigned aux_channel, unsigned bytes);

/* --- scanner ------------------------------------------------------------------------------------------------------ */

/*
 * Primary channel (37, 38, 39, changing with every scan interval) that a scanner started at `origin` listens to from
 * `start` to `end` without a break, or 0: before the origin, outside the window, or across a change. 0 < window <=
 * interval. With window = interval a scanner is deaf only for the packet that is on air when it changes channel.
 */
unsigned sim_scan_channel(sim_time origin, uint32_t interval_us, uint32_t window_us, sim_time start, sim_time end);

/* --- propagation -------------------------------------------------------------------------------------------------- */

struct sim_position {
    int32_t x_mm, y_mm, z_mm;
};

/* Log-distance path loss in milli-dB; distances below 10 cm count as 10 cm. Without shadowing. */
int32_t sim_path_loss_mdb(const struct sim_radio *radio, const struct sim_position *a, const struct sim_position *b);
/* Shadowing of the pair {a, b}: symmetric, normal (sum of 12 uniforms) with radio->shadowing_mdb, from the seed alone.
 */
int32_t sim_shadowing_mdb(const struct sim_radio *radio, uint64_t seed, uint32_t a, uint32_t b);
/* Milli-dBm to units of 10^-14 mW: 0 below -140 dBm, clamped at +10 dBm; exact to 0.01 dB. */
uint64_t sim_linear(int32_t mdbm);
/* Whether a packet at `signal_mdbm` survives interference (sum of sim_linear() of everything else on its channel). */
bool sim_captures(const struct sim_radio *radio, int32_t signal_mdbm, uint64_t interference);

/* --- randomness --------------------------------------------------------------------------------------------------- */

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11): counter-based, so a draw depends
 * on nothing but its name. */
void sim_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

enum sim_draw {
    SIM_DRAW_LOSS = 1,
    SIM_DRAW_DELAY,
    SIM_DRAW_CHANNEL,
    SIM_DRAW_SHADOW,
    SIM_DRAW_WORLD,
    SIM_DRAW_STACK, /* node, how many before */
    SIM_DRAW_SCAN,  /* node: phase of its scanner, and whether it is duty-cycled */
    SIM_DRAW_CSMA   /* node, how many before */
};
/* One uniform 32-bit draw named by seed, purpose, and three numbers (for a loss: transmitter, its event's number,
 * receiver). */
uint32_t sim_draw(uint64_t seed, enum sim_draw purpose, uint32_t a, uint32_t b, uint32_t c);
/* Uniform 0 to n-1 out of a 32-bit draw; n at least 1. */
uint32_t sim_scale(uint32_t draw, uint32_t n);

#endif
