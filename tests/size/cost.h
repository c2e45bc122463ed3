/*
 * What the firmware that measures itself (part/cost.c) and the program that runs it (cost_main.c) share.
 *
 * Frames lie in flash behind the payload of slot A, at COST_FRAMES: struct cost_head, then frames, each behind a length
 * of one byte, the last one followed by 0. Results come to be in RAM, symbol `cost`.
 */
#ifndef TESTS_SIZE_COST_H
#define TESTS_SIZE_COST_H

#include "proto/object/manifest.h"

#define COST_FRAMES 0x24000u /* slot A's last part: neither payload nor tree reach it, the seal lies above */
#define COST_FRAMES_SIZE 0x3000u
#define COST_DONE 0x454E4F44u
#define COST_CHUNKS 32u /* frames with a chunk */

struct cost_head {
    uint8_t manifest[MP_MANIFEST_SIZE];
    uint8_t pub[32]; /* that signed it */
};

/* Ticks of TIMER1: 62.5 ns. */
struct cost {
    uint32_t state; /* 0, COST_DONE, or the line of part/cost.c that did not go as planned */
    uint32_t empty; /* of measuring nothing */
    uint32_t sign;  /* one signature check */
    uint32_t chunks;
    uint32_t chunk_sum, chunk_most; /* of frames with a chunk, from the bytes of the controller's event to flash */
    uint32_t boot_us;               /* reset to the start of the image, with its hash */
    uint32_t boot_stack, stack;     /* bytes used at most */
};

#endif
