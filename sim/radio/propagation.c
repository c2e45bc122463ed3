#include "radio.h"

void sim_radio_defaults(struct sim_radio *radio)
{
    *radio = (struct sim_radio){.tx_mdbm = 0,
                                .loss_1m_mdb = 40000,
                                .exponent_milli = 2700,
                                .shadowing_mdb = 0,
                                .noise_mdbm = -104000,
                                .sensitivity_mdbm = -94000,
                                .capture_mdb = 8000,
                                .primary_gap_us = 250,
                                .aux_gap_us = 300,
                                .interval_us = 20000,
                                .delay_us = 10000,
                                .processing_us = 150};
}

static bool outside(int64_t value, int64_t low, int64_t high)
{
    return value < low || value > high;
}

const char *sim_radio_check(const struct sim_radio *r)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } field[] = {
        {"tx_power", r->tx_mdbm, -127000, 20000},    {"loss_1m", r->loss_1m_mdb, 0, 120000},
        {"exponent", r->exponent_milli, 1000, 8000}, {"shadowing", r->shadowing_mdb, 0, 20000},
        {"noise", r->noise_mdbm, -130000, -50000},   {"sensitivity", r->sensitivity_mdbm, -120000, -30000},
        {"capture", r->capture_mdb, 0, 30000},       {"primary_gap", r->primary_gap_us, 150, 5000},
        {"aux_gap", r->aux_gap_us, 300, 5000},       {"interval", r->interval_us, 20000, 1000000},
        {"delay", r->delay_us, 0, 100000},           {"processing", r->processing_us, 0, 100000},
    };
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        if (outside(field[i].value, field[i].low, field[i].high))
            return field[i].name;
    return NULL;
}

/* --- logarithms and powers in integers ---------------------------------------------------------------------------- */

#define LOG_BITS 24
#define LOG_ONE ((int64_t)1 << LOG_BITS)
#define LOG10_2 5050445             /* log10(2) */
#define LOG2_SQUARE_METRE 334396231 /* log2(10^6): a square metre in square millimetres */

/* log2(x) with LOG_BITS binary places, x at least 1: the integer part is the highest bit, every squaring of the
 * mantissa gives one more place. */
static int64_t log2_fixed(uint64_t x)
{
    int top = 63;
    while (!(x >> top))
        top--;
    uint64_t mantissa = top > 31 ? x >> (top - 31) : x << (31 - top); /* 1.31 */
    int64_t result = (int64_t)top << LOG_BITS;
    for (int bit = LOG_BITS - 1; bit >= 0; bit--) {
        mantissa = mantissa * mantissa >> 31;
        if (mantissa >> 32) {
            mantissa >>= 1;
            result |= (int64_t)1 << bit;
        }
    }
    return result;
}

/* Square of a difference of coordinates; beyond 2,000 km it makes no difference, and three sums must fit. */
static uint64_t square(int32_t a, int32_t b)
{
    int64_t d = (int64_t)a - b;
    if (d < 0)
        d = -d;
    if (d > 2000000000)
        d = 2000000000;
    return (uint64_t)d * (uint64_t)d;
}

#define NEAREST_SQUARE 10000u /* 10 cm */

int32_t sim_path_loss_mdb(const struct sim_radio *radio, const struct sim_position *a, const struct sim_position *b)
{
    uint64_t square_mm = square(a->x_mm, b->x_mm) + square(a->y_mm, b->y_mm) + square(a->z_mm, b->z_mm);
    if (square_mm < NEAREST_SQUARE)
        square_mm = NEAREST_SQUARE;
    /* 10 n log10(d) = 5 n log10(d^2), so that no root is taken */
    int64_t decades = (log2_fixed(square_mm) - LOG2_SQUARE_METRE) * LOG10_2 / LOG_ONE;
    return (int32_t)(radio->loss_1m_mdb + decades * 5 * radio->exponent_milli / LOG_ONE);
}

int32_t sim_shadowing_mdb(const struct sim_radio *radio, uint64_t seed, uint32_t a, uint32_t b)
{
    if (radio->shadowing_mdb == 0)
        return 0;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[8];
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t counter[4] = {a < b ? a : b, a < b ? b : a, half, SIM_DRAW_SHADOW};
        sim_philox(counter, key, word + 4 * half);
    }
    int64_t sum = 0;
    for (int i = 0; i < 6; i++)
        sum += (word[i] & 0xFFFF) + (word[i] >> 16);
    return (int32_t)((sum - 6 * 65535) * radio->shadowing_mdb / 65536);
}

/* 10^(k/100) for k = 0 to 100, times 2^30. */
static const uint64_t POWER[101] = {
    1073741824u, 1098752484u,  1124345717u,  1150535093u,  1177334498u,  1204758142u, 1232820564u, 1261536644u,
    1290921607u, 1320991034u,  1351760868u,  1383247423u,  1415467395u,  1448437866u, 1482176318u, 1516700640u,
    1552029136u, 1588180539u,  1625174016u,  1663029181u,  1701766107u,  1741405332u, 1781967873u, 1823475237u,
    1865949432u, 1909412977u,  1953888919u,  1999400839u,  2045972867u,  2093629697u, 2142396597u, 2192299425u,
    2243364638u, 2295619314u,  2349091157u,  2403808519u,  2459800412u,  2517096524u, 2575727234u, 2635723629u,
    2697117519u, 2759941456u,  2824228751u,  2890013490u,  2957330552u,  3026215629u, 3096705247u, 3168836778u,
    3242648469u, 3318179454u,  3395469783u,  3474560434u,  3555493344u,  3638311423u, 3723058583u, 3809779757u,
    3898520928u, 3989329146u,  4082252559u,  4177340436u,  4274643195u,  4374212426u, 4476100922u, 4580362706u,
    4687053059u, 4796228550u,  4907947064u,  5022267838u,  5139251484u,  5258960029u, 5381456944u, 5506807179u,
    5635077196u, 5766335006u,  5900650203u,  6038094002u,  6178739279u,  6322660606u, 6469934290u, 6620638420u,
    6774852899u, 6932659496u,  7094141880u,  7259385672u,  7428478486u,  7601509978u, 7778571891u, 7959758106u,
    8145164691u, 8334889949u,  8529034476u,  8727701210u,  8930995487u,  9139025096u, 9351900337u, 9569734080u,
    9792641822u, 10020741752u, 10254154812u, 10493004761u, 10737418240u,
};

#define LINEAR_FLOOR_MDBM (-140000)
#define LINEAR_CEILING_MDBM 10000

uint64_t sim_linear(int32_t mdbm)
{
    if (mdbm < LINEAR_FLOOR_MDBM)
        return 0;
    if (mdbm > LINEAR_CEILING_MDBM)
        mdbm = LINEAR_CEILING_MDBM;
    uint32_t above = (uint32_t)(mdbm - LINEAR_FLOOR_MDBM);
    uint32_t decade = above / 10000, rest = above % 10000;
    uint64_t low = POWER[rest / 100], high = POWER[rest / 100 + 1];
    uint64_t value = low + (high - low) * (rest % 100) / 100;
    /* below 10^10 * 2^30 / 2^30; ten to the eighth at most before the shift, so that nothing overflows */
    uint32_t step = 0;
    for (; step < decade && step < 8; step++)
        value *= 10;
    value >>= 30;
    for (; step < decade; step++)
        value *= 10;
    return value;
}

bool sim_captures(const struct sim_radio *radio, int32_t signal_mdbm, uint64_t interference)
{
    uint64_t disturbance = (sim_linear(radio->noise_mdbm) | 1) + interference; /* never 0 */
    /* capture_mdb as a ratio with 10 binary places: sim_linear() of a level 140 dB up is that ratio itself */
    uint64_t ratio = (sim_linear(radio->capture_mdb + LINEAR_FLOOR_MDBM + 60000) << 10) / 1000000;
    return (sim_linear(signal_mdbm) << 10) / disturbance >= ratio;
}
