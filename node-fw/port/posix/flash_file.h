/*
 * Flash in a file: struct nf_flash for nodes that are programs, with the rules of NOR flash enforced.
 *
 * The file is a header, a side map with one byte per program granule, an erase counter per page, and the cells. A map
 * of the file is changed store by store, in an order that makes the death of the process at any instruction look like a
 * power cut: a granule that was being programmed, or a page that was being erased, stays marked as torn. Torn granules
 * of a write-once part (ECC) read as uncorrectable; those of other parts read as whatever bits got there. A page that
 * was torn while being erased refuses to be programmed until it is erased whole.
 *
 * Survives the death of every process; for a crash of the machine call port_flash_sync(). Opened by one party at a
 * time: the lock is held by the open file description, so a child that inherits the descriptor keeps it. Not thread
 * safe per struct; reentrant across structs.
 */
#ifndef PORT_FLASH_FILE_H
#define PORT_FLASH_FILE_H

#include "node-fw/store/flash.h"

struct port_flash_geometry {
    uint32_t size;      /* bytes: whole pages, at most 64 MiB */
    uint32_t page_size; /* bytes: 1,024 to 8,192, a power of two */
    uint32_t granule;   /* bytes: 4, 8, 16 or 32 */
    bool write_once;
};

/* Word-write part without ECC (4 bytes, pages of 4,096), and write-once part with ECC (8 bytes, pages of 2,048). */
struct port_flash_geometry port_flash_word(uint32_t size);
struct port_flash_geometry port_flash_once8(uint32_t size);

struct port_flash {
    struct nf_flash flash; /* hand out &flash; its ctx is this struct, which must not move while open */
    int fd;
    uint8_t *map;
    size_t map_size;
    uint8_t *cells; /* state per granule */
    uint8_t *wear;  /* u32 per page */
    uint8_t *data;
    uint64_t operations; /* erase and program calls since open */
    uint64_t cut_at;     /* operation that is torn, UINT64_MAX never */
    uint32_t cut_bytes;  /* bytes of it that still happen */
    bool dead;           /* the power is gone: every further operation fails */
    void (*on_cut)(void *ctx);
    void *on_cut_ctx;
};

/* Writes a new, erased part to `path`, replacing what is there at once (rename). 0 or -errno; -EINVAL for a geometry
 * out of range, -EWOULDBLOCK when somebody runs from the old one. */
int port_flash_create(const char *path, const struct port_flash_geometry *geometry);

/* Opens and locks. 0, -EWOULDBLOCK (another process holds it), -EINVAL (not a flash file), or another -errno. */
int port_flash_open(struct port_flash *f, const char *path);

/* Uses a descriptor that was opened and locked by port_flash_open() of a parent process; takes it over, also on
 * failure. */
int port_flash_adopt(struct port_flash *f, int fd);

/* Looks at the contents as they are now, without the lock, also while a node runs: reads only, every other operation
 * fails. 0, -EINVAL or another -errno. */
int port_flash_peek(struct port_flash *f, const char *path);

void port_flash_close(struct port_flash *f);
void port_flash_sync(struct port_flash *f);

/* Times the page at `address` was erased. */
uint32_t port_flash_wear(const struct port_flash *f, uint32_t address);

/* Makes every granule that touches address..address+len read as uncorrectable until its page is erased. */
void port_flash_spoil(struct port_flash *f, uint32_t address, uint32_t len);

/*
 * Plans a power cut: the erase or program call number `after` from now (0 the next) does its first `bytes` bytes,
 * leaves the granule (erase: the page) torn, and returns NF_FLASH_FAILED; so does everything after it. `on_cut` (may be
 * NULL) is called at that moment, for example to kill the process. When `bytes` covers the whole operation it
 * completes, and the cut comes right after.
 */
void port_flash_cut(struct port_flash *f, uint64_t after, uint32_t bytes, void (*on_cut)(void *ctx), void *ctx);

#endif
