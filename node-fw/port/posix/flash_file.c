#include "flash_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mp_wire.h"

#define HEADER_SIZE 64u
#define SIZE_MAX_BYTES (64u << 20)
#define ALIGNMENT 4096u

static const uint8_t magic[8] = {'N', 'F', 'F', 'L', 'A', 'S', 'H', '1'};

/* What the side map says of a granule. */
enum cell {
    CELL_BLANK,
    CELL_PROGRAMMED,
    CELL_TORN,   /* a program was cut */
    CELL_ERASED, /* an erase was cut: contents may look blank, but will not take a program */
    CELL_SPOILED
};

struct port_flash_geometry port_flash_word(uint32_t size)
{
    return (struct port_flash_geometry){.size = size, .page_size = 4096, .granule = 4, .write_once = false};
}

struct port_flash_geometry port_flash_once8(uint32_t size)
{
    return (struct port_flash_geometry){.size = size, .page_size = 2048, .granule = 8, .write_once = true};
}

static bool geometry_is_valid(const struct port_flash_geometry *g)
{
    const bool page = g->page_size >= 1024 && g->page_size <= 8192 && (g->page_size & (g->page_size - 1)) == 0;
    const bool granule = g->granule == 4 || g->granule == 8 || g->granule == 16 || g->granule == 32;
    return page && granule && g->size != 0 && g->size <= SIZE_MAX_BYTES && g->size % g->page_size == 0;
}

static size_t cells_at(void)
{
    return HEADER_SIZE;
}

static size_t wear_at(const struct port_flash_geometry *g)
{
    return cells_at() + g->size / g->granule;
}

static size_t data_at(const struct port_flash_geometry *g)
{
    const size_t end = wear_at(g) + (size_t)(g->size / g->page_size) * 4;
    return (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Orders the stores into the map as the next process will see them should this one die in between. */
static void step(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* --- creating and opening ----------------------------------------------------------------------------------------- */

static int write_blank(int fd, const struct port_flash_geometry *g)
{
    uint8_t header[HEADER_SIZE] = {0};
    memcpy(header, magic, sizeof magic);
    mp_put32(header + 8, g->size);
    mp_put32(header + 12, g->page_size);
    mp_put32(header + 16, g->granule);
    header[20] = g->write_once ? 1 : 0;

    const size_t total = data_at(g) + g->size;
    if (ftruncate(fd, (off_t)total) != 0)
        return -errno;
    uint8_t *map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    memcpy(map, header, sizeof header);
    memset(map + data_at(g), 0xFF, g->size);
    const int rc = msync(map, total, MS_SYNC) == 0 ? 0 : -errno;
    munmap(map, total);
    return rc;
}

/* 0 when nobody runs from the file at `path`, or there is none. */
static int check_unused(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    const int rc = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

int port_flash_create(const char *path, const struct port_flash_geometry *geometry)
{
    if (!geometry_is_valid(geometry))
        return -EINVAL;
    char temporary[PATH_MAX];
    const int n = snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary)
        return -ENAMETOOLONG;
    int rc = check_unused(path);
    if (rc != 0)
        return rc;
    const int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    rc = write_blank(fd, geometry);
    close(fd);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = -errno;
    if (rc != 0)
        unlink(temporary);
    return rc;
}

static int flash_read(void *ctx, uint32_t address, void *data, size_t len);
static int flash_program(void *ctx, uint32_t address, const void *data, size_t len);
static int flash_erase(void *ctx, uint32_t address);

static int read_geometry(int fd, struct port_flash_geometry *g)
{
    uint8_t header[HEADER_SIZE];
    struct stat st;
    if (pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header || memcmp(header, magic, sizeof magic) != 0)
        return -EINVAL;
    *g = (struct port_flash_geometry){.size = mp_get32(header + 8),
                                      .page_size = mp_get32(header + 12),
                                      .granule = mp_get32(header + 16),
                                      .write_once = header[20] == 1};
    if (header[20] > 1 || !geometry_is_valid(g))
        return -EINVAL;
    if (fstat(fd, &st) != 0)
        return -errno;
    return (uint64_t)st.st_size == data_at(g) + g->size ? 0 : -EINVAL;
}

/* Maps the file; takes fd over. sharing: MAP_SHARED, or MAP_PRIVATE of a descriptor open for reading. */
static int attach(struct port_flash *f, int fd, int sharing)
{
    struct port_flash_geometry g;
    memset(f, 0, sizeof *f);
    f->fd = -1;
    int rc = read_geometry(fd, &g);
    if (rc != 0)
        goto out;
    f->map_size = data_at(&g) + g.size;
    f->map = mmap(NULL, f->map_size, PROT_READ | PROT_WRITE, sharing, fd, 0);
    if (f->map == MAP_FAILED) {
        rc = -errno;
        f->map = NULL;
        goto out;
    }
    f->fd = fd;
    f->cells = f->map + cells_at();
    f->wear = f->map + wear_at(&g);
    f->data = f->map + data_at(&g);
    f->cut_at = UINT64_MAX;
    f->flash = (struct nf_flash){.ctx = f,
                                 .size = g.size,
                                 .page_size = g.page_size,
                                 .granule = g.granule,
                                 .write_once = g.write_once,
                                 .read = flash_read,
                                 .program = flash_program,
                                 .erase = flash_erase};
out:
    if (rc != 0)
        close(fd);
    return rc;
}

int port_flash_adopt(struct port_flash *f, int fd)
{
    return attach(f, fd, MAP_SHARED);
}

int port_flash_peek(struct port_flash *f, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const int rc = attach(f, fd, MAP_PRIVATE);
    if (rc == 0)
        f->dead = true;
    return rc;
}

int port_flash_open(struct port_flash *f, const char *path)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int rc = -errno;
        close(fd);
        return rc;
    }
    return port_flash_adopt(f, fd);
}

void port_flash_close(struct port_flash *f)
{
    if (f->map != NULL)
        munmap(f->map, f->map_size);
    if (f->fd >= 0)
        close(f->fd);
    memset(f, 0, sizeof *f);
    f->fd = -1;
}

void port_flash_sync(struct port_flash *f)
{
    msync(f->map, f->map_size, MS_SYNC);
}

/* --- the three operations ----------------------------------------------------------------------------------------- */

static bool is_inside(const struct port_flash *f, uint32_t address, size_t len)
{
    return address <= f->flash.size && len <= f->flash.size - address;
}

static int flash_read(void *ctx, uint32_t address, void *data, size_t len)
{
    const struct port_flash *f = ctx;
    if (!is_inside(f, address, len))
        return NF_FLASH_RANGE;
    if (len == 0)
        return NF_FLASH_OK;
    const uint32_t last = (uint32_t)(address + len - 1) / f->flash.granule;
    for (uint32_t g = address / f->flash.granule; g <= last; g++) {
        const bool torn = f->cells[g] == CELL_TORN || f->cells[g] == CELL_ERASED;
        if (f->cells[g] == CELL_SPOILED || (torn && f->flash.write_once))
            return NF_FLASH_UNCORRECTABLE;
    }
    memcpy(data, f->data + address, len);
    return NF_FLASH_OK;
}

/* The number of bytes of this operation that happen before the power goes; len when it completes. */
static uint32_t begin(struct port_flash *f, uint32_t len)
{
    return f->operations++ == f->cut_at && f->cut_bytes < len ? f->cut_bytes : len;
}

/* Ends an operation: NF_FLASH_OK, or the planned cut. */
static int finish(struct port_flash *f, int rc)
{
    if (f->operations == 0 || f->operations - 1 != f->cut_at)
        return rc;
    f->dead = true;
    if (f->on_cut != NULL)
        f->on_cut(f->on_cut_ctx);
    return NF_FLASH_FAILED;
}

/* Whether the part would take these bytes into this granule. */
static bool is_programmable(const struct port_flash *f, uint32_t granule, const uint8_t *data)
{
    const uint32_t size = f->flash.granule;
    if (f->cells[granule] == CELL_BLANK)
        return true;
    if (f->flash.write_once || f->cells[granule] == CELL_ERASED || f->cells[granule] == CELL_SPOILED)
        return false;
    for (uint32_t i = 0; i < size; i++)
        if ((data[i] & ~f->data[granule * size + i]) != 0)
            return false;
    return true;
}

static int flash_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    struct port_flash *f = ctx;
    const uint32_t size = f->flash.granule;
    const uint8_t *from = data;
    if (f->dead)
        return NF_FLASH_FAILED;
    if (!is_inside(f, address, len) || len == 0 || address % size != 0 || len % size != 0)
        return NF_FLASH_RANGE;
    for (uint32_t i = 0; i < len; i += size)
        if (!is_programmable(f, (address + i) / size, from + i))
            return NF_FLASH_FAILED;

    const uint32_t happens = begin(f, (uint32_t)len);
    for (uint32_t i = 0; i < happens; i += size) {
        volatile uint8_t *cell = &f->cells[(address + i) / size];
        const uint32_t part = happens - i < size ? happens - i : size;
        *cell = CELL_TORN;
        step();
        for (uint32_t b = 0; b < part; b++)
            f->data[address + i + b] &= from[i + b];
        step();
        if (part == size)
            *cell = CELL_PROGRAMMED;
    }
    return finish(f, NF_FLASH_OK);
}

static int flash_erase(void *ctx, uint32_t address)
{
    struct port_flash *f = ctx;
    const uint32_t page = f->flash.page_size;
    if (f->dead)
        return NF_FLASH_FAILED;
    if (!is_inside(f, address, page) || address % page != 0)
        return NF_FLASH_RANGE;
    const uint32_t happens = begin(f, page);
    uint8_t *wear = f->wear + (size_t)(address / page) * 4;
    if (happens != 0) {
        mp_put32(wear, mp_get32(wear) + 1);
        memset(f->cells + address / f->flash.granule, CELL_ERASED, page / f->flash.granule);
        step();
        memset(f->data + address, 0xFF, happens);
        step();
    }
    if (happens == page)
        memset(f->cells + address / f->flash.granule, CELL_BLANK, page / f->flash.granule);
    step();
    return finish(f, NF_FLASH_OK);
}

/* --- watching and breaking ---------------------------------------------------------------------------------------- */

uint32_t port_flash_wear(const struct port_flash *f, uint32_t address)
{
    return address < f->flash.size ? mp_get32(f->wear + (size_t)(address / f->flash.page_size) * 4) : 0;
}

void port_flash_spoil(struct port_flash *f, uint32_t address, uint32_t len)
{
    if (len == 0 || !is_inside(f, address, len))
        return;
    const uint32_t last = (address + len - 1) / f->flash.granule;
    for (uint32_t g = address / f->flash.granule; g <= last; g++)
        f->cells[g] = CELL_SPOILED;
}

void port_flash_cut(struct port_flash *f, uint64_t after, uint32_t bytes, void (*on_cut)(void *ctx), void *ctx)
{
    f->cut_at = f->operations + after;
    f->cut_bytes = bytes;
    f->on_cut = on_cut;
    f->on_cut_ctx = ctx;
}
