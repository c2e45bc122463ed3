#include "batch.h"

#include <stdlib.h>
#include <string.h>

/* In a buffer: header, content, fill to 8 bytes. Entries begin aligned, since buffers come from malloc. */
struct head {
    struct sim_batch_key key;
    uint64_t size;
};
#define CONTENT_MAX (1u << 20)
#define BATCH_MAX (1ull << 34)

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static struct head *last(const struct sim_batch *b)
{
    return b->own.size == 0 ? NULL : (struct head *)(void *)(b->own.data + b->last_at);
}

void sim_batch_add(struct sim_batch *b, const struct sim_batch_key *key, const void *content, size_t size)
{
    struct head head = {.key = *key, .size = size};
    size_t at = b->own.size;
    uint8_t *to = sim_buffer_add(&b->own, sizeof head + padded(size));
    if (to == NULL) {
        b->failed = true;
        return;
    }
    b->last_at = at;
    memset(to, 0, sizeof head + padded(size));
    memcpy(to, &head, sizeof head);
    if (size > 0)
        memcpy(to + sizeof head, content, size);
}

void sim_batch_extend(struct sim_batch *b, const void *content, size_t size)
{
    struct head *head = last(b);
    if (head == NULL || size == 0)
        return;
    size_t had = (size_t)head->size, more = padded(had + size) - padded(had);
    if (more > 0) {
        uint8_t *to = sim_buffer_add(&b->own, more);
        if (to == NULL) {
            b->failed = true;
            return;
        }
        memset(to, 0, more);
        head = last(b); /* the buffer may have moved */
    }
    memcpy((uint8_t *)(head + 1) + had, content, size);
    head->size = had + size;
}

const struct sim_batch_key *sim_batch_last(const struct sim_batch *b)
{
    struct head *head = last(b);
    return head != NULL ? &head->key : NULL;
}

#define COMPARE(x, y)                                                                                                  \
    do {                                                                                                               \
        if ((x) != (y))                                                                                                \
            return (x) < (y) ? -1 : 1;                                                                                 \
    } while (0)

static int by_key(const void *left, const void *right)
{
    const struct head *l = *(const struct head *const *)left, *r = *(const struct head *const *)right;
    COMPARE(l->key.at, r->key.at);
    COMPARE(l->key.node, r->key.node);
    COMPARE(l->key.kind, r->key.kind);
    COMPARE(l->key.a, r->key.a);
    COMPARE(l->key.b, r->key.b);
    COMPARE(l->size, r->size);
    return memcmp(l + 1, r + 1, (size_t)l->size);
}

static size_t collect(const struct sim_buffer *buffer, const struct head **list)
{
    size_t n = 0;
    for (size_t at = 0; at < buffer->size; n++) {
        const struct head *head = (const struct head *)(const void *)(buffer->data + at);
        if (list != NULL)
            list[n] = head;
        at += sizeof *head + padded((size_t)head->size);
    }
    return n;
}

int sim_batch_gather(struct sim_batch *b, sim_time limit,
                     void (*take)(void *ctx, const struct sim_batch_key *key, const uint8_t *content, size_t size),
                     void *ctx)
{
    int result = b->failed ? -1 : 0;
    const struct head **list = NULL;
    struct sim_buffer kept = {0};
    unsigned ranks = sim_parallel_size();
    if (ranks > 1)
        sim_parallel_gather(&b->own, b->in);
    if (sim_parallel_rank() != 0) {
        b->own.size = 0;
        return result;
    }
    size_t n = collect(&b->kept, NULL) + collect(&b->own, NULL);
    for (unsigned r = 1; r < ranks; r++)
        n += collect(&b->in[r], NULL);
    if (n == 0)
        return result;
    list = malloc(n * sizeof *list);
    if (list == NULL)
        return -1;
    size_t filled = collect(&b->kept, list);
    filled += collect(&b->own, list + filled);
    for (unsigned r = 1; r < ranks; r++)
        filled += collect(&b->in[r], list + filled);
    qsort(list, n, sizeof *list, by_key);
    for (size_t i = 0; i < n; i++) {
        if (list[i]->key.at < limit) {
            take(ctx, &list[i]->key, (const uint8_t *)(list[i] + 1), (size_t)list[i]->size);
            continue;
        }
        size_t size = sizeof **list + padded((size_t)list[i]->size);
        uint8_t *to = sim_buffer_add(&kept, size);
        if (to == NULL)
            result = -1;
        else
            memcpy(to, list[i], size);
    }
    sim_buffer_free(&b->kept);
    b->kept = kept;
    b->own.size = 0;
    free(list);
    return result;
}

void sim_batch_free(struct sim_batch *b)
{
    sim_buffer_free(&b->own);
    sim_buffer_free(&b->kept);
    for (unsigned r = 0; r < SIM_RANKS_MAX; r++)
        sim_buffer_free(&b->in[r]);
}

static int save_buffer(const struct sim_buffer *buffer, struct sim_archive *a)
{
    (void)sim_archive_put_count(a, buffer->size);
    return buffer->size > 0 ? sim_archive_put(a, buffer->data, buffer->size) : 0;
}

/* Sizes inside are checked: a file whose checksum fits may still come from somewhere else. */
static int load_buffer(struct sim_buffer *buffer, struct sim_archive *a, size_t *last_at)
{
    uint64_t size = 0;
    buffer->size = 0;
    *last_at = 0;
    if (sim_archive_get_count(a, &size, BATCH_MAX) != 0)
        return -1;
    if (size == 0)
        return 0;
    uint8_t *to = sim_buffer_add(buffer, (size_t)size);
    if (to == NULL)
        return sim_archive_fail(a, "out of memory");
    if (sim_archive_get(a, to, (size_t)size) != 0) {
        buffer->size = 0;
        return -1;
    }
    for (size_t at = 0; at < size;) {
        struct head head;
        bool is_short = size - at < sizeof head;
        if (!is_short)
            memcpy(&head, buffer->data + at, sizeof head);
        if (is_short || head.size > CONTENT_MAX || size - at - sizeof head < padded((size_t)head.size)) {
            buffer->size = 0;
            return sim_archive_fail(a, "results that wait to be written do not fit their lengths");
        }
        *last_at = at;
        at += sizeof head + padded((size_t)head.size);
    }
    return 0;
}

int sim_batch_save(const struct sim_batch *b, struct sim_archive *a)
{
    (void)save_buffer(&b->own, a);
    return save_buffer(&b->kept, a);
}

int sim_batch_load(struct sim_batch *b, struct sim_archive *a)
{
    size_t ignored;
    return load_buffer(&b->own, a, &b->last_at) != 0 || load_buffer(&b->kept, a, &ignored) != 0 ? -1 : 0;
}
