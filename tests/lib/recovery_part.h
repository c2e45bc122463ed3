/*
 * A part in its bootloader, over simulated flash: the device side of serial recovery as it is shipped, and frames for
 * it. For tests of both sides and for the fuzzer. Layout and images are those of tests/lib/rig.h.
 *
 * The flash stops the program (see flash_sim.h) on any program or erase outside of settings, object log, boot record
 * and slots: a range in front of them stands for the bootloader, one behind them for the application.
 */
#ifndef TESTS_RECOVERY_PART_H
#define TESTS_RECOVERY_PART_H

#include "node-fw/boot/recovery.h"
#include "rig.h"

struct recovery_part {
    struct flash_sim sim;
    struct nf_flash flash; /* in front of sim: watches where things are written */
    struct nf_layout layout;
    struct boot_recovery_env env;
    struct boot_recovery r;
    uint32_t kicks;
};

/* Blank, powered, in recovery. Not to be moved afterwards. rig_images() comes first. */
void recovery_part_init(struct recovery_part *p, const struct rig_part *kind);
/* Power comes back, or the part was reset: recovery starts anew. */
void recovery_part_restart(struct recovery_part *p);
/* What the bootloader of this part does at a reset: slot that it boots, -1: recovery. choice may be NULL. */
int recovery_part_boot(struct recovery_part *p, struct boot_choice *choice);
/* A settings record as rig.h's node has it, with `node` as its number. */
void recovery_settings(uint8_t out[MP_SETTINGS_SIZE], uint32_t node);

/* A frame around a payload; its length. out: BOOT_RECOVERY_FRAME_MAX bytes. */
size_t recovery_frame(uint8_t *out, unsigned type, const void *payload, size_t len);
/* Feeds bytes; bytes of the last reply, which is in p->r.frame, or 0. */
size_t recovery_part_feed(struct recovery_part *p, const uint8_t *data, size_t len);
/* One request: the status of its reply (0 or negative), or 1 when there is none. The reply is in p->r.frame. */
int recovery_part_ask(struct recovery_part *p, unsigned type, const void *payload, size_t len);
/* BEGIN and DATA with their payloads put together. */
int recovery_part_begin(struct recovery_part *p, unsigned slot, const uint8_t manifest[MP_MANIFEST_SIZE]);
int recovery_part_data(struct recovery_part *p, uint32_t piece, const uint8_t *data, size_t len);
/* The piece that an image's stream has at a place: leaves, then interior chunks. Its length. */
size_t recovery_piece(const struct rig_image *image, uint32_t piece, const uint8_t **data);
/* Brings image `release` into a slot from wherever the part is; pieces with or without the tree. 0, or the first status
 * that was none. Settings must be there. */
int recovery_part_install(struct recovery_part *p, unsigned slot, uint32_t release, bool with_tree);

#endif
