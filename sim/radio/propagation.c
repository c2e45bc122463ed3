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

/* log2(1 + i/256), times 2^24, by log2_fixed(). */
static const int32_t LOG2[257] = {
    0,        94364,    188362,   281996,   375269,   468184,   560744,   652952,   744809,   836319,   927485,
    1018308,  1108792,  1198939,  1288751,  1378232,  1467382,  1556206,  1644705,  1732881,  1820738,  1908276,
    1995500,  2082410,  2169009,  2255299,  2341283,  2426962,  2512339,  2597416,  2682195,  2766679,  2850868,
    2934765,  3018373,  3101693,  3184727,  3267477,  3349946,  3432134,  3514044,  3595678,  3677037,  3758124,
    3838940,  3919487,  3999767,  4079782,  4159533,  4239022,  4318251,  4397221,  4475935,  4554393,  4632598,
    4710551,  4788254,  4865708,  4942915,  5019877,  5096595,  5173070,  5249304,  5325299,  5401057,  5476578,
    5551863,  5626916,  5701736,  5776326,  5850687,  5924820,  5998727,  6072408,  6145866,  6219102,  6292117,
    6364912,  6437489,  6509849,  6581994,  6653924,  6725640,  6797145,  6868440,  6939525,  7010401,  7081071,
    7151535,  7221795,  7291851,  7361705,  7431358,  7500811,  7570066,  7639123,  7707983,  7776648,  7845119,
    7913396,  7981482,  8049377,  8117081,  8184597,  8251925,  8319066,  8386022,  8452793,  8519380,  8585784,
    8652007,  8718049,  8783912,  8849595,  8915101,  8980430,  9045583,  9110562,  9175366,  9239997,  9304456,
    9368744,  9432862,  9496810,  9560590,  9624202,  9687648,  9750927,  9814042,  9876992,  9939779,  10002404,
    10064867, 10127169, 10189311, 10251295, 10313119, 10374787, 10436297, 10497652, 10558851, 10619897, 10680788,
    10741527, 10802114, 10862549, 10922834, 10982970, 11042956, 11102794, 11162484, 11222027, 11281425, 11340677,
    11399784, 11458747, 11517567, 11576245, 11634780, 11693174, 11751428, 11809542, 11867516, 11925353, 11983051,
    12040612, 12098036, 12155325, 12212478, 12269497, 12326381, 12383133, 12439751, 12496238, 12552593, 12608817,
    12664910, 12720874, 12776709, 12832415, 12887994, 12943445, 12998769, 13053968, 13109040, 13163988, 13218811,
    13273510, 13328086, 13382539, 13436870, 13491079, 13545167, 13599135, 13652982, 13706710, 13760319, 13813810,
    13867182, 13920437, 13973575, 14026597, 14079503, 14132293, 14184969, 14237530, 14289977, 14342311, 14394532,
    14446641, 14498637, 14550522, 14602296, 14653960, 14705514, 14756958, 14808293, 14859519, 14910637, 14961647,
    15012550, 15063347, 15114037, 15164620, 15215099, 15265472, 15315741, 15365906, 15415967, 15465924, 15515779,
    15565531, 15615181, 15664729, 15714177, 15763523, 15812769, 15861915, 15910961, 15959909, 16008757, 16057507,
    16106159, 16154714, 16203171, 16251532, 16299796, 16347964, 16396036, 16444013, 16491895, 16539683, 16587376,
    16634976, 16682482, 16729895, 16777216,
};
#define CHORD_BELOW 52 /* the logarithm is less than 2^-18.5 above the chord of a step of the table; and rounding */
#define CHORD_ABOVE 4  /* rounding */

/* A lower bound of log2_fixed(x), x at least 1, by a chord of the logarithm. The upper one is this + ABOVE + BELOW. */
static int64_t log2_below(uint64_t x)
{
    int top = 63 - __builtin_clzll(x);
    uint32_t mantissa = (uint32_t)(top > 31 ? x >> (top - 31) : x << (31 - top)); /* 1.31 */
    uint32_t step = mantissa >> 23 & 255, rest = mantissa & ((1u << 23) - 1);
    int64_t chord = LOG2[step] + (((int64_t)(LOG2[step + 1] - LOG2[step]) * rest) >> 23);
    return ((int64_t)top << LOG_BITS) + chord - CHORD_ABOVE;
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

/* 10 n log10(d) = 5 n log10(d^2), so that no root is taken */
static int64_t loss_at(const struct sim_radio *radio, int64_t log2_square_mm)
{
    int64_t decades = (log2_square_mm - LOG2_SQUARE_METRE) * LOG10_2 / LOG_ONE;
    return radio->loss_1m_mdb + decades * 5 * radio->exponent_milli / LOG_ONE;
}

int32_t sim_path_loss_mdb(const struct sim_radio *radio, const struct sim_position *a, const struct sim_position *b)
{
    uint64_t square_mm = square(a->x_mm, b->x_mm) + square(a->y_mm, b->y_mm) + square(a->z_mm, b->z_mm);
    if (square_mm < NEAREST_SQUARE)
        square_mm = NEAREST_SQUARE;
    /* rounding down to mdB, the two bounds nearly always agree, and then it is that; else it takes the exact logarithm */
    int64_t below = log2_below(square_mm);
    int64_t loss = loss_at(radio, below);
    if (loss != loss_at(radio, below + CHORD_ABOVE + CHORD_BELOW))
        loss = loss_at(radio, log2_fixed(square_mm));
    return (int32_t)loss;
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

static const uint64_t TEN[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

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
    uint32_t before = decade < 8 ? decade : 8;
    value = value * TEN[before] >> 30;
    value *= TEN[decade - before];
    return value;
}

bool sim_captures(const struct sim_radio *radio, int32_t signal_mdbm, uint64_t interference)
{
    uint64_t disturbance = (sim_linear(radio->noise_mdbm) | 1) + interference; /* never 0 */
    /* capture_mdb as a ratio with 10 binary places: sim_linear() of a level 140 dB up is that ratio itself */
    uint64_t ratio = (sim_linear(radio->capture_mdb + LINEAR_FLOOR_MDBM + 60000) << 10) / 1000000;
    return (sim_linear(signal_mdbm) << 10) / disturbance >= ratio;
}
