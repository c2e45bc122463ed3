/*
 * Serial recovery, device side (docs/SPEC.md section 15): how a part without a bootable image, or without settings, gets
 * them over its serial line. Sans-IO and small; the host side is meshd/ctl/recover.h.
 *
 * The host asks, the part answers; one request at a time. Nothing here reads memory out, nothing is written outside
 * settings, object log, boot record and slots, and once there are settings only a manifest that the bootloader accepts
 * gets into a slot. A cut at any flash operation leaves a part that comes back here and starts over.
 *
 *     boot_select(&env.boot, cause, &choice);
 *     if (choice.slot < 0 || !boot_has_settings(&env.boot)) {
 *         boot_recovery_init(&r, &env);
 *         for (;;) {
 *             size_t n = boot_recovery_receive(&r, next byte of the line);
 *             write n bytes of r.frame to the line;
 *             if (n > 0 && r.reset)
 *                 reset the part, once the line has sent all;
 *         }
 *     }
 *
 * Reentrant, no globals. Stack: about 600 bytes above what env->boot.accept and the SHA-256 take.
 */
#ifndef BOOT_RECOVERY_H
#define BOOT_RECOVERY_H

#include "boot.h"

#define BOOT_RECOVERY_VERSION 1
#define BOOT_RECOVERY_MAGIC 0xC5 /* first byte of a frame */
#define BOOT_RECOVERY_HEAD 4     /* magic u8, type u8, length of the payload u16 */
#define BOOT_RECOVERY_PAYLOAD_MAX 384
#define BOOT_RECOVERY_FRAME_MAX (BOOT_RECOVERY_HEAD + BOOT_RECOVERY_PAYLOAD_MAX + 4) /* a CRC-32 behind */

/* Types of requests; a reply has the same type with the high bit, and a status (0 or -enum mp_error) in front. */
enum boot_recovery_type {
    BOOT_RECOVERY_HELLO = 1,    /* nothing -> what the part is and holds, BOOT_RECOVERY_HELLO_SIZE bytes */
    BOOT_RECOVERY_SETTINGS = 2, /* settings record, 360 bytes */
    BOOT_RECOVERY_BEGIN = 3,    /* slot u8, manifest 200 bytes -> pieces that are there already u32 */
    BOOT_RECOVERY_DATA = 4,     /* piece u32, 1 to 192 bytes -> next piece u32 */
    BOOT_RECOVERY_FINISH = 5,   /* nothing */
    BOOT_RECOVERY_ERASE = 6,    /* BOOT_RECOVERY_ERASE_WORD u32 */
    BOOT_RECOVERY_RESET = 7     /* nothing */
};
#define BOOT_RECOVERY_ERASE_WORD 0x53415245u /* "ERAS" */

/*
 * Reply to HELLO, by offset: 0 status u8, 1 BOOT_RECOVERY_VERSION u8, 2 granule u8, 3 flags u8, 4 part's number 8 bytes,
 * 12 bootloader's version, 16 flash size, 20 page size, 24 struct nf_layout (boot_record, settings, objects,
 * objects_size, slot 0, slot 1, slot_size, slot_base 0, slot_base 1, seal 0, seal 1), all u32; 68 and 76 ids of the
 * manifests sealed in the slots, 8 bytes each, zero: none; 84 node u32, 0 without settings; 88 boot record in force, 32
 * bytes, or zeros.
 */
#define BOOT_RECOVERY_HELLO_SIZE 120
enum { BOOT_RECOVERY_FLAG_SETTINGS = 1, BOOT_RECOVERY_FLAG_WRITE_ONCE = 2 };

struct boot_recovery_env {
    /* Flash, layout and crypto; accept (not NULL) judges manifests; verify as in boot_select(), after every piece was
     * programmed. ctx is handed to them and to kick. */
    struct boot_env boot;
    /* Feeds the watchdog: called before every page erase and before the image is hashed, at most one page erase or one
     * hash apart; NULL: there is none. A port whose hash takes longer than its watchdog feeds it in verify. */
    void (*kick)(void *ctx);
    uint8_t part[8];       /* number of this part, for people */
    uint32_t boot_version; /* major << 24 | minor << 16 | patch */
};

/* Caller-allocated. frame and reset may be read, the rest is private. */
struct boot_recovery {
    const struct boot_recovery_env *env;
    int status;                             /* of the request at hand, 0 or an error */
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX]; /* request as it comes; then the reply */
    uint16_t used;                          /* bytes of frame */
    bool reset;                             /* the host asked for a reset */
    bool open;                              /* an image is on its way; the fields below are valid */
    bool sealed;                            /* ... and has arrived */
    uint8_t slot;
    uint32_t next; /* piece that comes next */
    uint8_t manifest[MP_MANIFEST_SIZE];
    struct boot_image image;
};

/* env must outlive r. */
void boot_recovery_init(struct boot_recovery *r, const struct boot_recovery_env *env);

/*
 * Takes one byte of the line. 0, or the bytes of a reply in r->frame, which are to be written before the next call.
 * Does what the request says meanwhile: at most, erases the object log, or hashes an image. Bytes that are no frame are
 * skipped; nothing answers them.
 */
size_t boot_recovery_receive(struct boot_recovery *r, uint8_t byte);

/* Is there a valid settings record? A part without one has nothing to boot for. */
bool boot_has_settings(const struct boot_env *env);

#endif
