/*
 * Packet errors of the IEEE 802.15.4 2.4 GHz O-QPSK radio, in integers.
 *
 * A bit is lost with the probability of IEEE Std 802.15.4-2006, E.4.1.8:
 *
 *   BER(x) = 8/15 * 1/16 * sum(k = 2..16) (-1)^k C(16, k) exp(20 x (1/k - 1))
 *
 * x is the ratio of signal to noise and interference, after the implementation loss and the fluctuation of the packet
 * below. A packet is lost when one of its bits is; bits under different interference are counted apart. What is kept of
 * a bit is -log2(1 - BER), so that the bits of a packet add up.
 *
 * Theory alone puts the steep part of the curve at -2 dB and makes it 1.5 dB wide; CC2420 radios were measured to have
 * it at 5.3 dB and 4 dB wide (H. Lee, A. Cerpa, P. Levis, "Improving wireless simulation through noise modeling", IPSN
 * 2007). Two numbers bring theory there: a fixed loss of the implementation, and a fluctuation drawn once for every
 * packet and receiver. With thermal noise and a noise figure of 7 dB (-104 dBm in 2 MHz) they also give the 1 % loss of
 * 20-byte packets at -95 dBm that the CC2420's data sheet has as its sensitivity. Pure functions; no floating point.
 */
#ifndef SIM_PHY_IEEE802154_ERROR_H
#define SIM_PHY_IEEE802154_ERROR_H

#include <stdint.h>

#define SIM_154_LOSS_MDB 7100        /* implementation loss */
#define SIM_154_FLUCTUATION_MDB 1000 /* standard deviation of a packet's fluctuation */
#define SIM_154_BIT_ONE ((uint64_t)1 << 40)
#define SIM_154_CERTAIN ((uint64_t)1 << 32)

/* -log2(1 - BER) in units of 2^-40 at a ratio in milli-dB, which is that of the formula: nothing is subtracted. Linear
 * between tenths of a dB; constant below -20 dB, 0 from 5 dB. Fewer than 2^20 bits add up without overflow. */
uint64_t sim_154_bit_loss(int32_t sinr_mdb);
/* 2^-loss, loss as above, in units of 2^-32: 0 to SIM_154_CERTAIN. */
uint64_t sim_154_survival(uint64_t loss);
/* Level in milli-dBm of a linear power in the units of sim_linear(), to 0.01 dB; 0 counts as 1. */
int32_t sim_154_level_mdbm(uint64_t linear);

/* What chance has in store for one packet at one receiver, from its name alone. */
struct sim_154_chance {
    int32_t fluctuation_mdb; /* added to its signal: normal (sum of six uniforms) */
    uint32_t draw;           /* the packet survives when it is below sim_154_survival() */
};
void sim_154_chance(struct sim_154_chance *chance, uint64_t seed, uint32_t from, uint32_t number, uint32_t to);

#endif
