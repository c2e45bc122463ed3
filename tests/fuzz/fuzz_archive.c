/*
 * Checkpoint loader: any file gives sections or an error, and never more than it holds. Odd first byte: the rest is the
 * file. Even: the rest is content, which gets right checksums first, so that what lies behind them is reached too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "sim/engine/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 8, SUM = 16, BLOCKS_MAX = 8 };

static void must_write(int fd, const void *data, size_t size)
{
    if (write(fd, data, size) != (ssize_t)size)
        abort();
}

/* A block of the given content, as documented in archive.h. */
static void write_block(int fd, uint64_t number, const uint8_t tag[4], const uint8_t *data, uint32_t size)
{
    uint8_t sum[SUM];
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SUM);
    crypto_generichash_update(&state, (const uint8_t *)&number, sizeof number);
    crypto_generichash_update(&state, tag, 4);
    crypto_generichash_update(&state, (const uint8_t *)&size, sizeof size);
    crypto_generichash_update(&state, data, size);
    crypto_generichash_final(&state, sum, SUM);
    must_write(fd, tag, 4);
    must_write(fd, &size, sizeof size);
    must_write(fd, data, size);
    must_write(fd, sum, SUM);
}

/* Blocks of which the content tells tag and length: one byte each. */
static void write_blocks(int fd, const uint8_t *data, size_t size)
{
    static const uint8_t tags[][4] = {{'Q', 'U', 'E', 'U'}, {0, 0, 0, 0}, {'N', 'E', 'X', 'T'}, {0, 'E', 'N', 'D'}};
    uint64_t number = 0;
    must_write(fd, "SIMARCH1", 8);
    while (size >= 2 && number < BLOCKS_MAX) {
        const uint32_t n = data[1] < size - 2 ? data[1] : (uint32_t)(size - 2);
        write_block(fd, number++, tags[data[0] % 4], data + 2, n);
        data += 2 + n;
        size -= 2 + n;
    }
    write_block(fd, number, tags[3], data, 0);
}

static void read_queue(const char *path, size_t size)
{
    char error[128];
    struct sim_event_key event, last = {0, 0, 0};
    memset(error, 0x7F, sizeof error);
    struct sim_archive *a = sim_archive_open(path, error, sizeof error);
    struct sim_queue *q = sim_queue_open();
    if (q == NULL)
        abort();
    if (a == NULL && memchr(error, '\0', sizeof error) == NULL)
        abort();
    if (a != NULL) {
        int rc = sim_queue_load(q, a);
        if ((rc != 0) != sim_archive_failed(a))
            abort();
        if (sim_archive_close(a, error, sizeof error) != 0 && memchr(error, '\0', sizeof error) == NULL)
            abort();
    }
    if (sim_queue_count(q) > size / sizeof event)
        abort();
    while (sim_queue_pop(q, &event)) {
        if (event.at < last.at)
            abort();
        last = event;
    }
    sim_queue_close(q);
}

/* Whatever sections there are, in pieces that the input chose. */
static void read_pieces(const char *path, uint8_t step)
{
    char error[128];
    uint8_t piece[256];
    uint64_t count;
    struct sim_archive *a = sim_archive_open(path, error, sizeof error);
    if (a == NULL)
        return;
    sim_archive_section(a, "QUEU");
    while (sim_archive_get(a, piece, 1u + step) == 0)
        if (step % 3 == 0 && sim_archive_get_count(a, &count, 1000) == 0 && count > 1000)
            abort();
    sim_archive_close(a, error, sizeof error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    if (size < 2)
        return 0;
    if (fd < 0 && (sodium_init() < 0 || (fd = memfd_create("archive", MFD_CLOEXEC)) < 0))
        abort();
    if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    if (data[0] % 2 == 1)
        must_write(fd, data + 2, size - 2);
    else
        write_blocks(fd, data + 2, size - 2);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_queue(path, size);
    read_pieces(path, data[1]);
    return 0;
}
