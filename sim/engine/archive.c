#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#define BLOCK_MAX 65536u /* bytes of content in a block */
#define HEADER 8u        /* tag and length */
#define SUM 16u          /* of the checksum */
#define PART ".part"

static const char magic[8] = {'S', 'I', 'M', 'A', 'R', 'C', 'H', '1'};
static const char tag_more[4] = {0, 0, 0, 0};
static const char tag_end[4] = {0, 'E', 'N', 'D'};

struct sim_archive {
    int fd;
    bool is_writing;
    bool has_section; /* begun; reading: the block in the buffer is a section's */
    bool is_failed;
    uint64_t number; /* of the block in the buffer */
    size_t at;       /* next byte of content in the buffer */
    size_t size;     /* reading: bytes of content in the buffer */
    char error[256];
    char path[PATH_MAX];
    uint8_t block[HEADER + BLOCK_MAX + SUM];
};

/* --- errors ------------------------------------------------------------------------------------------------------- */

int sim_archive_fail(struct sim_archive *a, const char *why)
{
    if (!a->is_failed)
        snprintf(a->error, sizeof a->error, "%.160s: %s", a->path, why);
    a->is_failed = true;
    return -1;
}

bool sim_archive_failed(const struct sim_archive *a)
{
    return a->is_failed;
}

const char *sim_archive_error(const struct sim_archive *a)
{
    return a->error;
}

static struct sim_archive *give_up(struct sim_archive *a, const char *path, const char *why, char *error, size_t cap)
{
    snprintf(error, cap, "%.160s: %s", path, why);
    if (a != NULL && a->fd >= 0)
        close(a->fd);
    free(a);
    return NULL;
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

static void checksum(const struct sim_archive *a, size_t size, uint8_t out[SUM])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, SUM);
    crypto_generichash_update(&state, (const uint8_t *)&a->number, sizeof a->number);
    crypto_generichash_update(&state, a->block, HEADER + size);
    crypto_generichash_final(&state, out, SUM);
}

static int write_all(struct sim_archive *a, const void *data, size_t size)
{
    for (const uint8_t *p = data; size > 0;) {
        ssize_t n = write(a->fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sim_archive_fail(a, strerror(errno));
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static int read_all(struct sim_archive *a, void *data, size_t size)
{
    for (uint8_t *p = data; size > 0;) {
        ssize_t n = read(a->fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sim_archive_fail(a, strerror(errno));
        if (n == 0)
            return sim_archive_fail(a, "cut short");
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Writes the block in the buffer, which has a->at bytes, and begins one that goes on with the section. */
static int write_block(struct sim_archive *a)
{
    const uint32_t size = (uint32_t)a->at;
    memcpy(a->block + 4, &size, sizeof size);
    checksum(a, size, a->block + HEADER + size);
    if (write_all(a, a->block, HEADER + size + SUM) != 0)
        return -1;
    memcpy(a->block, tag_more, sizeof tag_more);
    a->number++;
    a->at = 0;
    return 0;
}

/* Reads the next block into the buffer. */
static int read_block(struct sim_archive *a)
{
    uint32_t size;
    uint8_t sum[SUM];
    a->at = a->size = 0;
    a->number++;
    if (read_all(a, a->block, HEADER) != 0)
        return -1;
    memcpy(&size, a->block + 4, sizeof size);
    if (size > BLOCK_MAX)
        return sim_archive_fail(a, "damaged: a block is too long");
    if (read_all(a, a->block + HEADER, size + SUM) != 0)
        return -1;
    checksum(a, size, sum);
    if (memcmp(sum, a->block + HEADER + size, SUM) != 0)
        return sim_archive_fail(a, "damaged: the checksum of a block is wrong");
    a->size = size;
    return 0;
}

static bool is_tagged(const struct sim_archive *a, const char tag[4])
{
    return memcmp(a->block, tag, 4) == 0;
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static struct sim_archive *open_file(const char *path, const char *suffix, int flags, char *error, size_t cap)
{
    char name[PATH_MAX];
    struct sim_archive *a = sodium_init() < 0 ? NULL : calloc(1, sizeof *a);
    if (a == NULL)
        return give_up(NULL, path, "out of memory", error, cap);
    a->fd = -1;
    if (snprintf(name, sizeof name, "%s%s", path, suffix) >= (int)sizeof name)
        return give_up(a, path, "the name is too long", error, cap);
    memcpy(a->path, path, strlen(path) + 1);
    a->fd = open(name, flags | O_CLOEXEC, 0666);
    if (a->fd < 0)
        return give_up(a, path, strerror(errno), error, cap);
    return a;
}

struct sim_archive *sim_archive_create(const char *path, char *error, size_t cap)
{
    struct sim_archive *a = open_file(path, PART, O_WRONLY | O_CREAT | O_TRUNC, error, cap);
    if (a == NULL)
        return NULL;
    a->is_writing = true;
    write_all(a, magic, sizeof magic); /* an error stays until the end */
    return a;
}

struct sim_archive *sim_archive_open(const char *path, char *error, size_t cap)
{
    struct sim_archive *a = open_file(path, "", O_RDONLY, error, cap);
    char head[sizeof magic];
    if (a == NULL)
        return NULL;
    if (read_all(a, head, sizeof head) != 0 || memcmp(head, magic, sizeof magic) != 0)
        return give_up(a, path, a->is_failed ? "not a checkpoint: cut short" : "not a checkpoint", error, cap);
    a->number = UINT64_MAX; /* the first block is number 0 */
    if (read_block(a) != 0) {
        snprintf(error, cap, "%s", a->error);
        sim_archive_abandon(a);
        return NULL;
    }
    return a;
}

/* The name of a file is safe only when its folder is. */
static int sync_folder(struct sim_archive *a)
{
    char folder[PATH_MAX];
    memcpy(folder, a->path, sizeof folder);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        memcpy(folder, ".", 2);
    else
        slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sim_archive_fail(a, strerror(errno));
    int rc = fsync(fd) != 0 && errno != EINVAL ? sim_archive_fail(a, strerror(errno)) : 0;
    close(fd);
    return rc;
}

static void part_name(const struct sim_archive *a, char name[PATH_MAX + sizeof PART])
{
    snprintf(name, PATH_MAX + sizeof PART, "%s" PART, a->path);
}

static int finish_writing(struct sim_archive *a)
{
    char name[PATH_MAX + sizeof PART];
    if (a->is_failed || (a->has_section && write_block(a) != 0))
        return -1;
    memcpy(a->block, tag_end, sizeof tag_end);
    if (write_block(a) != 0)
        return -1;
    if (fsync(a->fd) != 0 && errno != EINVAL)
        return sim_archive_fail(a, strerror(errno));
    part_name(a, name);
    if (rename(name, a->path) != 0)
        return sim_archive_fail(a, strerror(errno));
    return sync_folder(a);
}

static int finish_reading(struct sim_archive *a)
{
    char more;
    if (a->is_failed)
        return -1;
    if (a->at < a->size)
        return sim_archive_fail(a, "longer than expected");
    if (a->has_section && read_block(a) != 0)
        return -1;
    if (!is_tagged(a, tag_end) || a->size != 0 || read(a->fd, &more, 1) != 0)
        return sim_archive_fail(a, "longer than expected");
    return 0;
}

int sim_archive_close(struct sim_archive *a, char *error, size_t cap)
{
    int rc = a->is_writing ? finish_writing(a) : finish_reading(a);
    if (rc != 0)
        snprintf(error, cap, "%s", a->error);
    if (rc == 0)
        a->is_writing = false; /* whole: nothing to remove */
    sim_archive_abandon(a);
    return rc;
}

void sim_archive_abandon(struct sim_archive *a)
{
    char name[PATH_MAX + sizeof PART];
    if (a == NULL)
        return;
    close(a->fd);
    if (a->is_writing) {
        part_name(a, name);
        unlink(name);
    }
    free(a);
}

/* --- content ------------------------------------------------------------------------------------------------------ */

static int begin_reading(struct sim_archive *a, const char tag[4])
{
    if (a->has_section && a->at < a->size)
        return sim_archive_fail(a, "a section is longer than expected");
    if (a->has_section && read_block(a) != 0)
        return -1;
    a->has_section = true;
    return is_tagged(a, tag) ? 0 : sim_archive_fail(a, "a section other than the expected one");
}

int sim_archive_section(struct sim_archive *a, const char tag[4])
{
    if (a->is_failed)
        return -1;
    if (!a->is_writing)
        return begin_reading(a, tag);
    if (a->has_section && write_block(a) != 0)
        return -1;
    a->has_section = true;
    memcpy(a->block, tag, 4);
    return 0;
}

int sim_archive_put(struct sim_archive *a, const void *data, size_t size)
{
    if (a->is_failed || !a->is_writing || !a->has_section)
        return sim_archive_fail(a, "not in a section that is being written");
    for (const uint8_t *p = data; size > 0;) {
        if (a->at == BLOCK_MAX && write_block(a) != 0)
            return -1;
        size_t n = BLOCK_MAX - a->at < size ? BLOCK_MAX - a->at : size;
        memcpy(a->block + HEADER + a->at, p, n);
        a->at += n;
        p += n;
        size -= n;
    }
    return 0;
}

int sim_archive_get(struct sim_archive *a, void *data, size_t size)
{
    if (a->is_failed || a->is_writing || !a->has_section)
        return sim_archive_fail(a, "not in a section that is being read");
    for (uint8_t *p = data; size > 0;) {
        if (a->at == a->size) {
            if (read_block(a) != 0)
                return -1;
            if (!is_tagged(a, tag_more) || a->size == 0)
                return sim_archive_fail(a, "a section is shorter than expected");
        }
        size_t n = a->size - a->at < size ? a->size - a->at : size;
        memcpy(p, a->block + HEADER + a->at, n);
        a->at += n;
        p += n;
        size -= n;
    }
    return 0;
}

int sim_archive_put_count(struct sim_archive *a, uint64_t count)
{
    return sim_archive_put(a, &count, sizeof count);
}

int sim_archive_get_count(struct sim_archive *a, uint64_t *count, uint64_t max)
{
    *count = 0;
    if (sim_archive_get(a, count, sizeof *count) != 0) {
        *count = 0;
        return -1;
    }
    if (*count > max) {
        *count = 0;
        return sim_archive_fail(a, "a count is too large");
    }
    return 0;
}
