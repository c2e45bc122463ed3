/*
 * A whole node over simulated flash, with a scripted gateway: bootloader, store, engine and update state machine as
 * they are shipped, on virtual time. For tests of core/ and for the power-cut suite.
 *
 * struct rig is flat, so memcpy takes and restores a snapshot (to the same address). Images and signed objects are made
 * once and shared.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include "flash_sim.h"
#include "node-fw/core/nf.h"
#include "node-fw/store/store.h"
#include "sign.h"

enum { RIG_IMAGES = 5, RIG_CHUNKS_MAX = 80, RIG_PAYLOAD_MAX = 64 * MP_CHUNK_SIZE, RIG_MEMORY = 256 };
enum { RIG_NODE = 77, RIG_GATEWAY = 5, RIG_NETWORK = 9, RIG_MODEL = 3, RIG_LABELS = 2 };

/* A signed image and all its chunks. Index = release sequence; 0 is unused. */
struct rig_image {
    uint8_t payload[RIG_PAYLOAD_MAX];
    uint32_t size;
    uint8_t link[2][RIG_PAYLOAD_MAX]; /* what the CPU of slot 0, 1 must see */
    uint32_t link_size;               /* the payload begins with a list if this is less than size */
    struct mp_manifest m;
    uint8_t manifest[MP_MANIFEST_SIZE];
    uint8_t id[8];
    struct mp_tree tree;
    uint8_t chunk[RIG_CHUNKS_MAX][MP_CHUNK_SIZE];
};

/* A part. What is zero or NULL is as its comment says. */
struct rig_part {
    const char *name;
    uint32_t page_size;
    uint32_t granule;
    bool write_once;
    bool relocates;
    bool is_encrypted;
    uint8_t writes_max;             /* programs of a granule between erases, 0: no limit */
    const struct nf_layout *layout; /* NULL: as small as the images allow; flash_size is not read then */
    uint32_t flash_size;
    uint32_t image_size;  /* bytes, a multiple of 4; 0: about 11,900. The releases' sizes differ by a few words */
    uint32_t list_stride; /* relocates: bytes from one listed word to the next, a multiple of 4; 0: 92 */
    uint32_t list_align;  /* relocates: of the list; 0: 4 */
};

struct rig {
    struct flash_sim sim;
    struct nf_layout layout;
    struct nf_store store;
    uint8_t memory[RIG_MEMORY];
    struct nf_env env;
    struct mp_settings settings;
    struct mp_counters counters;
    struct nf_node node;
    mp_time now;
    uint64_t frame_counter;
    uint32_t random;
    uint32_t cursor; /* chunk supply */
    uint32_t boots;
    uint32_t trial_boots[RIG_IMAGES]; /* by release */
    struct boot_choice choice;        /* of the newest boot */
    uint32_t running;                 /* release sequence that was booted, 0: none */
    uint32_t echo_nonce;              /* heard in a SUMMARY with the trial flag, 0 none */
    uint32_t frames_written;
    uint8_t battery_percent;
    bool is_up;
    bool is_placed; /* of the newest boot: the CPU sees the image as it is linked for the slot */
    bool answers;   /* the gateway echoes */
    bool is_trial;
};

extern struct rig_image rig_image[RIG_IMAGES];
extern struct sign_fleet rig_fleet;

/* Makes images 1 to 4 for a kind of part. edit (may be NULL) may change a manifest before it is signed. */
void rig_images(const struct rig_part *part, void (*edit)(uint32_t release, struct mp_manifest *m));
/* The crypto of the rig: libsodium with a cache of signatures that verified. */
const struct mp_crypto *rig_crypto(void);

/* A new part, blank and powered. */
void rig_make(struct rig *r, const struct rig_part *part);
/* Settings and image 1 in slot 0, as the factory writes them. 0, MP_ERR_STORE (power went). */
int rig_provision(struct rig *r);
/* A provisioned node with image 1 in slot 0; powered, not booted. */
void rig_init(struct rig *r, const struct rig_part *part);
/* Bootloader and start of the application. Slot, or -1: nothing boots, -2: power went meanwhile. */
int rig_boot(struct rig *r, enum boot_cause cause);
/* One frame of the gateway. What nf_receive() returned. */
int rig_send(struct rig *r, enum mp_type type, const uint8_t *body, size_t len);
/* The same from another member. */
int rig_send_from(struct rig *r, uint32_t source, enum mp_type type, const uint8_t *body, size_t len);
/* A directive for release `release`, signed; its length. to = 0: names image `release`; else a revert from `release` to
 * `to`. */
size_t rig_directive(uint8_t out[MP_DIRECTIVE_MAX], enum mp_action action, uint32_t release, uint32_t sequence,
                     uint32_t to, void (*edit)(struct mp_directive *d));
/* Signs and sends it. */
int rig_direct(struct rig *r, enum mp_action action, uint32_t release, uint32_t sequence, uint32_t to);
/* Sends a manifest. */
int rig_manifest(struct rig *r, uint32_t release);
/* Lets time pass: expire, write until nothing comes, answer a trial. */
void rig_step(struct rig *r, mp_time advance);
/* Sends the next missing chunk of what is being fetched. False: nothing is. */
bool rig_supply(struct rig *r);
/* Steps and supplies until the phase is reached; false after `steps`. */
bool rig_run_to(struct rig *r, enum nf_phase phase, unsigned steps);

#endif
