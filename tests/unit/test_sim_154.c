/* The 802.15.4 radio: its error tables against the standard's formula in floating point, chance, and packet loss against
 * the curve that was measured on CC2420 radios. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "sim/phy/ieee802154_error.h"
#include "sim/radio/radio.h"

#define BIT_ONE ((double)SIM_154_BIT_ONE)
#define CERTAIN ((double)SIM_154_CERTAIN)

/* IEEE Std 802.15.4-2006, E.4.1.8. */
static double bit_error_rate(double ratio)
{
    double sum = 0, binomial = 16;
    for (int k = 2; k <= 16; k++) {
        binomial = binomial * (17 - k) / k;
        sum += (k % 2 ? -1 : 1) * binomial * exp(20 * ratio * (1.0 / k - 1));
    }
    return 8.0 / 15 / 16 * sum;
}

static double bit_loss(double sinr_db)
{
    return -log1p(-bit_error_rate(pow(10, sinr_db / 10))) / log(2) * BIT_ONE;
}

static void table_is_the_standards_formula(void **state)
{
    (void)state;
    for (int tenth = -200; tenth <= 50; tenth++) {
        double theory = bit_loss(tenth / 10.0);
        double table = (double)sim_154_bit_loss(tenth * 100);
        assert_true(fabs(table - theory) <= 1 + 1e-9 * theory);
    }
}

static void between_entries_the_error_stays_small(void **state)
{
    (void)state;
    for (int mdb = -20000; mdb < 5000; mdb += 7) {
        double theory = bit_loss(mdb / 1000.0);
        double table = (double)sim_154_bit_loss(mdb);
        /* 2 % where packets are lost, more where next to none is */
        assert_true(fabs(table - theory) <= 2 + (theory > 1e-5 * BIT_ONE ? 0.02 : 0.08) * theory);
    }
    assert_true(sim_154_bit_loss(INT32_MIN) == sim_154_bit_loss(-20000));
    assert_true(sim_154_bit_loss(INT32_MAX) == 0);
    for (int mdb = -25000; mdb < 6000; mdb++)
        assert_true(sim_154_bit_loss(mdb) >= sim_154_bit_loss(mdb + 1));
}

static void survival_is_a_power_of_two(void **state)
{
    (void)state;
    assert_true(sim_154_survival(0) == SIM_154_CERTAIN);
    assert_true(sim_154_survival(SIM_154_BIT_ONE) == SIM_154_CERTAIN / 2);
    assert_true(sim_154_survival(UINT64_MAX) == 0);
    uint64_t last = SIM_154_CERTAIN;
    for (uint64_t loss = 0; loss < 40 * SIM_154_BIT_ONE; loss += 999999937) {
        uint64_t survival = sim_154_survival(loss);
        double theory = exp2(-(double)loss / BIT_ONE) * CERTAIN;
        assert_true(fabs((double)survival - theory) <= 1.5 + 2e-6 * theory);
        assert_true(survival <= last);
        last = survival;
    }
}

static void level_inverts_linear(void **state)
{
    (void)state;
    for (int32_t mdbm = -110000; mdbm <= 10000; mdbm += 37)
        assert_in_range(sim_154_level_mdbm(sim_linear(mdbm)) - mdbm + 1000, 990, 1010);
    for (uint64_t linear = 1; linear < (uint64_t)1 << 60; linear += 1 + linear / 7)
        assert_true(fabs(sim_154_level_mdbm(linear) - (10000 * log10((double)linear) - 140000)) < 1.5);
    assert_int_equal(sim_154_level_mdbm(0), -140000);
    assert_true(sim_154_level_mdbm(UINT64_MAX) > 52000);
}

static void chance_is_named_and_normal(void **state)
{
    (void)state;
    struct sim_154_chance chance, again, other;
    double sum = 0, squares = 0, draws = 0;
    int beyond_two = 0;
    const int count = 40000;
    for (int i = 0; i < count; i++) {
        sim_154_chance(&chance, 7, 3, (uint32_t)i, 5);
        double z = chance.fluctuation_mdb / (double)SIM_154_FLUCTUATION_MDB;
        sum += z;
        squares += z * z;
        draws += chance.draw / CERTAIN;
        beyond_two += fabs(z) > 2;
    }
    /* 4 standard errors of a mean, a variance and a share: 1/sqrt(n), sqrt(2/n), ... */
    assert_true(fabs(sum / count) < 0.02);
    assert_true(fabs(squares / count - 1) < 0.03);
    assert_true(fabs(draws / count - 0.5) < 0.006);
    assert_true(fabs(beyond_two / (double)count - 0.0455) < 0.006);
    sim_154_chance(&chance, 7, 3, 1, 5);
    sim_154_chance(&again, 7, 3, 1, 5);
    assert_int_equal(chance.draw, again.draw);
    assert_int_equal(chance.fluctuation_mdb, again.fluctuation_mdb);
    sim_154_chance(&other, 7, 5, 1, 3);
    assert_int_not_equal(chance.draw, other.draw);
}

/* Share of packets of so many bits that survive at a signal to noise ratio. */
static double survivors(int32_t snr_mdb, uint32_t bits)
{
    const uint32_t count = 40000;
    uint32_t heard = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_154_chance chance;
        sim_154_chance(&chance, 99, 1, i, 2);
        uint64_t loss = bits * sim_154_bit_loss(snr_mdb - SIM_154_LOSS_MDB + chance.fluctuation_mdb);
        heard += chance.draw < sim_154_survival(loss);
    }
    return heard / (double)count;
}

/* PRR of 23 bytes over SNR as TOSSIM has it, fitted to measurements of CC2420 radios (Lee, Cerpa, Levis, IPSN 2007). */
static void curve_is_the_measured_one(void **state)
{
    (void)state;
    static const double measured[] = {0.139, 0.392, 0.681, 0.879};
    for (int i = 0; i < 4; i++) {
        double share = survivors(4000 + 1000 * i, 23 * 8);
        assert_true(fabs(share / measured[i] - 1) < 0.1);
    }
    assert_true(survivors(1000, 23 * 8) < 0.01);
    assert_true(survivors(11000, 23 * 8) > 0.999);
}

/* At the default noise floor the data sheet's sensitivity: 1 % of packets of 20 bytes lost at -95 dBm. */
static void sensitivity_is_the_data_sheets(void **state)
{
    (void)state;
    assert_true(survivors(-95000 + 104000, (20 + 2) * 8) > 0.99);
    assert_true(survivors(-96000 + 104000, (20 + 2) * 8) < 0.99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_the_standards_formula), cmocka_unit_test(between_entries_the_error_stays_small),
        cmocka_unit_test(survival_is_a_power_of_two),     cmocka_unit_test(level_inverts_linear),
        cmocka_unit_test(chance_is_named_and_normal),     cmocka_unit_test(curve_is_the_measured_one),
        cmocka_unit_test(sensitivity_is_the_data_sheets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
