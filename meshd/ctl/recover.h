/*
 * Serial recovery, host side (docs/SPEC.md section 15): brings settings and an image into a part whose bootloader waits
 * on a serial line. Sans-IO, no allocation, reentrant; serial.h drives it over a line.
 *
 *     md_recover_start(&r, &plan, now)
 *     loop: md_recover_write() until 0; what came: md_recover_receive(); at md_recover_next_expiry(): md_recover_expire()
 *     until md_recover_state() is not MD_RECOVER_RUNNING
 *
 * Nothing that the part says is trusted further than its word about itself: lengths, sequence and geometry are checked,
 * every step is tried a bounded number of times. A request whose answer is late is asked again; a line that broke is
 * taken up where it was with md_recover_resume().
 */
#ifndef MD_RECOVER_H
#define MD_RECOVER_H

#include "node-fw/boot/recovery.h"

/* What a part says of itself, checked: sizes and addresses are such that the layout lies in its flash. */
struct md_part_info {
    uint8_t number[8];
    uint32_t boot_version;
    uint32_t flash_size;
    uint32_t page_size;
    uint32_t granule;
    bool write_once;
    struct nf_layout layout;
    bool has_settings;
    uint32_t node;        /* with settings */
    bool is_sealed[2];    /* slot holds a whole image */
    uint8_t sealed[2][8]; /* its manifest's id */
    bool has_record;
    struct boot_record record;
};

/* What is to be done; in this order, each as far as it is wanted. Everything pointed to must outlive the run. */
struct md_recover_plan {
    bool erase;              /* factory reset */
    const uint8_t *settings; /* 360 bytes; NULL: those that are there stay */
    const uint8_t *manifest; /* 200 bytes; NULL: no image */
    uint8_t id[8];           /* of the manifest */
    const uint8_t *payload;  /* canonical, as long as the manifest's image_size says */
    const uint8_t *tree;     /* interior chunks by position, 192 bytes each; NULL: the part gets none */
    int slot;                /* 0, 1, or -1: the one that does not boot now */
    bool reset;              /* at the end */
    uint32_t patience_ms;    /* how long a part may stay silent before it is given up */
};

enum md_recover_state { MD_RECOVER_RUNNING, MD_RECOVER_DONE, MD_RECOVER_FAILED };

/* What the run is at. */
enum md_recover_step {
    MD_RECOVER_HELLO,
    MD_RECOVER_ERASE,
    MD_RECOVER_ERASED, /* HELLO again, and look */
    MD_RECOVER_SETTINGS,
    MD_RECOVER_SETTLED, /* HELLO again, and look */
    MD_RECOVER_BEGIN,
    MD_RECOVER_DATA,
    MD_RECOVER_FINISH,
    MD_RECOVER_CHECK, /* HELLO again, and look */
    MD_RECOVER_RESET,
    MD_RECOVER_END
};

struct md_recover {
    const struct md_recover_plan *plan;
    struct mp_tree tree;
    struct md_part_info info; /* as of the newest HELLO */
    bool has_info;
    bool is_erased; /* was erased in this run */
    bool was_there; /* the image was there already */
    unsigned slot;
    uint32_t piece, pieces;  /* next, and all of them */
    uint8_t state;           /* enum md_recover_state */
    uint8_t step;            /* enum md_recover_step */
    bool is_failure_refusal; /* the part said no, or what it holds forbids it */
    bool is_silent;          /* nobody answered */
    unsigned tries;          /* of the request at hand */
    unsigned setbacks;       /* times that the part was not where it should be */
    unsigned resent;         /* requests that had to be repeated */
    mp_time asked, deadline; /* of the request at hand; patience runs from `heard` */
    mp_time heard;
    char error[160];
    uint16_t out_len, out_at;
    uint16_t used;                                                  /* bytes of in */
    uint8_t out[BOOT_RECOVERY_FRAME_MAX + BOOT_RECOVERY_FRAME_MAX]; /* filler and a request */
    uint8_t in[BOOT_RECOVERY_FRAME_MAX];
};

/* 0, or MP_ERR_FORMAT (the plan's manifest is none, or of a delta). */
int md_recover_start(struct md_recover *r, const struct md_recover_plan *plan, mp_time now);
/* The line is a new one: asks from the start, and goes on where the part is. */
void md_recover_resume(struct md_recover *r, mp_time now);

enum md_recover_state md_recover_state(const struct md_recover *r);
/* Bytes for the line: their number, at most cap; 0 nothing now. */
size_t md_recover_write(struct md_recover *r, uint8_t *data, size_t cap);
void md_recover_receive(struct md_recover *r, mp_time now, const uint8_t *data, size_t len);
mp_time md_recover_next_expiry(const struct md_recover *r);
void md_recover_expire(struct md_recover *r, mp_time now);

/* Decodes and checks a reply to HELLO (all of its payload). 0, MP_ERR_LENGTH, MP_ERR_UNSUPPORTED (protocol version),
 * MP_ERR_FORMAT (a field that cannot be). */
int md_part_info_get(struct md_part_info *info, const uint8_t *data, size_t len);

/* Does a layout fit a flash: aligned, inside, nothing overlapping. Shared with part.h. */
bool md_layout_is_sound(const struct nf_layout *layout, uint32_t flash_size, uint32_t page_size);

#endif
