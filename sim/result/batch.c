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

/* What one node told at one time stays in the order it told it: all of it comes from one rank. */
struct item {
    const struct head *head;
    size_t order;
};

static int by_key(const void *left, const void *right)
{
    const struct item *l = left, *r = right;
    COMPARE(l->head->key.at, r->head->key.at);
    COMPARE(l->head->key.node, r->head->key.node);
    COMPARE(l->order, r->order);
    return 0;
}

/* Puts a buffer's entries behind the first n of the list, or only counts them. Returns how many there are then. */
static size_t collect(const struct sim_buffer *buffer, struct item *list, size_t n)
{
    for (size_t at = 0; at < buffer->size; n++) {
        const struct head *head = (const struct head *)(const void *)(buffer->data + at);
        if (list != NULL)
            list[n] = (struct item){head, n};
        at += sizeof *head + padded((size_t)head->size);
    }
    return n;
}

int sim_batch_gather(struct sim_batch *b, sim_time limit,
                     void (*take)(void *ctx, const struct sim_batch_key *key, const uint8_t *content, size_t size),
                     void *ctx)
{
    int result = b->failed ? -1 : 0;
    struct item *list = NULL;
    struct sim_buffer kept = {0};
    unsigned ranks = sim_parallel_size();
    if (ranks > 1)
        sim_parallel_gather(&b->own, b->in);
    if (sim_parallel_rank() != 0) {
        b->own.size = 0;
        return result;
    }
    size_t n = collect(&b->own, NULL, collect(&b->kept, NULL, 0));
    for (unsigned r = 1; r < ranks; r++)
        n = collect(&b->in[r], NULL, n);
    if (n == 0)
        return result;
    list = malloc(n * sizeof *list);
    if (list == NULL)
        return -1;
    size_t filled = collect(&b->own, list, collect(&b->kept, list, 0));
    for (unsigned r = 1; r < ranks; r++)
        filled = collect(&b->in[r], list, filled);
    qsort(list, n, sizeof *list, by_key);
    for (size_t i = 0; i < n; i++) {
        const struct head *head = list[i].head;
        if (head->key.at < limit) {
            take(ctx, &head->key, (const uint8_t *)(head + 1), (size_t)head->size);
            continue;
        }
        size_t size = sizeof *head + padded((size_t)head->size);
        uint8_t *to = sim_buffer_add(&kept, size);
        if (to == NULL)
            result = -1;
        else
            memcpy(to, head, size);
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
