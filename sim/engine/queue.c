/*
 * A calendar of wheels. Time is read as eight digits of eight bits. `cursor` splits the pending events:
 *
 *   at <= cursor   the bottom, in order: a sorted run, and a small heap of what was pushed after the run was sorted
 *   at > cursor    bucket (l, d): l is the highest digit in which the time differs from the cursor, d that digit. Each
 *                  bucket is an unsorted list of chunks; all of a lower level come before all of a higher one.
 *
 * When the bottom is empty the first bucket is taken. A small one is sorted and becomes the run: so the width of what is
 * sorted follows the load, from one microsecond to hours. A large one is dealt out to the levels below. An event is
 * moved once for each level it passes, always from one list to the ends of a few others, which is what makes a million
 * pending events cost little more than a thousand: no access goes to a random place in a large array.
 *
 * When many events arrive at or before the cursor (a burst after the calendar has looked far ahead), the cursor is moved
 * back to the earliest of them: fold(). Buckets that are then no longer split finely enough are joined, list by list.
 */
#include "queue.h"

#include "parallel.h"

#include <stdlib.h>
#include <string.h>

#define LEVELS 8
#define DIGIT_BITS 8
#define DIGITS 256u
#define CHUNK_EVENTS 31  /* a chunk is 512 bytes */
#define RUN_MAX 512u     /* a bucket of at most this many is sorted whatever its width */
#define INSERTION_MAX 24 /* events that insertion sort takes */
#define LATE_MAX 128u    /* from here on the heap is looked at for folding */
#define KEEP_MIN 4096u   /* arrays and free lists up to this many entries are kept */

struct chunk {
    struct chunk *next;
    size_t count;
    struct sim_event_key event[CHUNK_EVENTS];
};

/* Pushes go to the head chunk; chunks behind it may be partly filled after a fold. */
struct bucket {
    struct chunk *head, *tail;
    size_t count;
};

/* A growing array of events. */
struct array {
    struct sim_event_key *event;
    size_t count, cap;
};

struct sim_queue {
    sim_time cursor;
    struct array run; /* sorted from run_next on */
    size_t run_next;
    struct array late; /* heap_count events in heap order, then what was pushed since */
    size_t heap_count;
    size_t count;
    size_t level_count[LEVELS];
    uint64_t used[LEVELS][DIGITS / 64]; /* bit d of level l: the bucket is not empty */
    struct chunk *free;
    size_t chunks, free_chunks;
    struct bucket bucket[LEVELS][DIGITS];
};

static bool is_before(const struct sim_event_key *a, const struct sim_event_key *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    return ((uint64_t)a->node << 32 | a->kind) < ((uint64_t)b->node << 32 | b->kind);
}

/* --- arrays and sorting ------------------------------------------------------------------------------------------- */

static int reserve(struct array *a, size_t count)
{
    if (count <= a->cap)
        return 0;
    size_t cap = count + count / 4 + 64;
    struct sim_event_key *grown = realloc(a->event, cap * sizeof *grown);
    if (grown == NULL)
        return -1;
    a->event = grown;
    a->cap = cap;
    return 0;
}

/* Gives an empty array's memory back when it is large and will soon hold far less. */
static void relax(struct array *a, size_t coming)
{
    if (a->cap > KEEP_MIN && a->cap / 4 > coming) {
        free(a->event);
        *a = (struct array){0};
    }
}

static void sift_up(struct sim_event_key *heap, size_t i)
{
    const struct sim_event_key event = heap[i];
    while (i > 0 && is_before(&event, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = event;
}

static void sift_down(struct sim_event_key *heap, size_t n, size_t i)
{
    const struct sim_event_key event = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &event))
            break;
        heap[i] = heap[child];
    }
    heap[i] = event;
}

static void swap(struct sim_event_key *a, struct sim_event_key *b)
{
    const struct sim_event_key t = *a;
    *a = *b;
    *b = t;
}

static void sort_by_insertion(struct sim_event_key *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct sim_event_key event = e[i];
        size_t to = i;
        for (; to > 0 && is_before(&event, &e[to - 1]); to--)
            e[to] = e[to - 1];
        e[to] = event;
    }
}

static void sort_by_heap(struct sim_event_key *e, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(e, n, i);
    for (size_t left = n; left > 1; left--) { /* the heap's top is the least: this sorts backwards */
        swap(&e[0], &e[left - 1]);
        sift_down(e, left - 1, 0);
    }
    for (size_t i = 0; i < n / 2; i++)
        swap(&e[i], &e[n - 1 - i]);
}

/* Quicksort about the median of three; after `depth` uneven splits the rest is left to heapsort. In place. */
static void sort_deep(struct sim_event_key *e, size_t n, unsigned depth)
{
    while (n > INSERTION_MAX) {
        if (depth-- == 0) {
            sort_by_heap(e, n);
            return;
        }
        if (is_before(&e[n / 2], &e[0]))
            swap(&e[n / 2], &e[0]);
        if (is_before(&e[n - 1], &e[n / 2]))
            swap(&e[n - 1], &e[n / 2]);
        if (is_before(&e[n / 2], &e[0]))
            swap(&e[n / 2], &e[0]);
        const struct sim_event_key pivot = e[n / 2];
        size_t i = 0, j = n - 1;
        for (;;) {
            while (is_before(&e[i], &pivot))
                i++;
            while (is_before(&pivot, &e[j]))
                j--;
            if (i >= j)
                break;
            swap(&e[i++], &e[j--]);
        }
        /* [0, i) is at most the pivot and [i, n) at least; the smaller part by recursion */
        if (i < n - i) {
            sort_deep(e, i, depth);
            e += i;
            n -= i;
        } else {
            sort_deep(e + i, n - i, depth);
            n = i;
        }
    }
    sort_by_insertion(e, n);
}

static void sort(struct sim_event_key *e, size_t n)
{
    size_t sorted = 1;
    while (sorted < n && !is_before(&e[sorted], &e[sorted - 1]))
        sorted++;
    if (sorted >= n) /* bursts are mostly told in order of nodes */
        return;
    unsigned depth = 8;
    for (size_t i = n; i > 1; i /= 2)
        depth += 2;
    sort_deep(e, n, depth);
}

/* --- buckets ------------------------------------------------------------------------------------------------------ */

static unsigned digit(sim_time at, unsigned level)
{
    return (unsigned)(at >> (level * DIGIT_BITS)) & (DIGITS - 1);
}

/* The highest level in which two different times differ. */
static unsigned level_of(sim_time a, sim_time b)
{
    return (63u - (unsigned)__builtin_clzll(a ^ b)) / DIGIT_BITS;
}

static struct chunk *take_chunk(struct sim_queue *q)
{
    struct chunk *c = q->free;
    if (c != NULL) {
        q->free = c->next;
        q->free_chunks--;
        return c;
    }
    c = malloc(sizeof *c);
    if (c != NULL)
        q->chunks++;
    return c;
}

static void drop_chunk(struct sim_queue *q, struct chunk *c)
{
    if (q->free_chunks > KEEP_MIN / CHUNK_EVENTS && q->free_chunks > q->chunks / 2) {
        free(c);
        q->chunks--;
        return;
    }
    c->next = q->free;
    q->free = c;
    q->free_chunks++;
}

/* Into the bucket of a time after the cursor. */
static int place(struct sim_queue *q, const struct sim_event_key *event)
{
    unsigned level = level_of(event->at, q->cursor), d = digit(event->at, level);
    struct bucket *b = &q->bucket[level][d];
    if (b->head == NULL || b->head->count == CHUNK_EVENTS) {
        struct chunk *c = take_chunk(q);
        if (c == NULL)
            return -1;
        c->next = b->head;
        c->count = 0;
        if (b->head == NULL) {
            b->tail = c;
            q->used[level][d / 64] |= UINT64_C(1) << d % 64;
        }
        b->head = c;
    }
    b->head->event[b->head->count++] = *event;
    b->count++;
    q->level_count[level]++;
    return 0;
}

/* Takes a bucket out of the calendar with its list. */
static struct bucket detach(struct sim_queue *q, unsigned level, unsigned d)
{
    struct bucket taken = q->bucket[level][d];
    q->bucket[level][d] = (struct bucket){0};
    q->used[level][d / 64] &= ~(UINT64_C(1) << d % 64);
    q->level_count[level] -= taken.count;
    return taken;
}

/* First bucket of a level that is not empty, or DIGITS. */
static unsigned first_used(const struct sim_queue *q, unsigned level)
{
    for (unsigned w = 0; w < DIGITS / 64; w++)
        if (q->used[level][w] != 0)
            return w * 64 + (unsigned)__builtin_ctzll(q->used[level][w]);
    return DIGITS;
}

static void push_late(struct sim_queue *q, const struct sim_event_key *event)
{
    q->late.event[q->late.count++] = *event;
}

_Noreturn static void run_out_of_memory(void)
{
    sim_parallel_abort("out of memory: no room to sort pending events");
}

/* --- the bottom --------------------------------------------------------------------------------------------------- */

/* Copies a bucket's events into the run, in order: by the digit below the bucket's level, then within equal digits. */
static void sort_bucket(struct sim_queue *q, struct bucket *b, unsigned level)
{
    relax(&q->run, b->count);
    if (reserve(&q->run, b->count) != 0 || q->run.event == NULL)
        run_out_of_memory();
    struct sim_event_key *run = q->run.event;
    q->run.count = b->count;
    const bool is_dealt = b->count > INSERTION_MAX && level > 0;
    uint32_t end[DIGITS] = {0}; /* events with this digit or a lower one, while dealing: next place */
    if (is_dealt) {
        for (const struct chunk *c = b->head; c != NULL; c = c->next)
            for (size_t i = 0; i < c->count; i++)
                end[digit(c->event[i].at, level - 1)]++;
        for (uint32_t d = 0, sum = 0; d < DIGITS; d++) {
            const uint32_t n = end[d];
            end[d] = sum;
            sum += n;
        }
    }
    size_t n = 0;
    for (struct chunk *c = b->head, *next; c != NULL; c = next) {
        for (size_t i = 0; i < c->count; i++)
            run[is_dealt ? end[digit(c->event[i].at, level - 1)]++ : n++] = c->event[i];
        next = c->next;
        drop_chunk(q, c);
    }
    if (!is_dealt) {
        sort(run, n);
        return;
    }
    for (uint32_t d = 0, from = 0; d < DIGITS; from = end[d++])
        if (end[d] - from > 1)
            sort(run + from, end[d] - from);
}

/* Deals a bucket out to the levels below; what lies at its very beginning belongs to the bottom. */
static void deal_bucket(struct sim_queue *q, struct bucket *b)
{
    for (struct chunk *c = b->head, *next; c != NULL; c = next) {
        next = c->next;
        if (next != NULL)
            __builtin_prefetch(next);
        for (size_t i = 0; i < c->count; i++) {
            if (c->event[i].at > q->cursor) {
                if (place(q, &c->event[i]) != 0)
                    run_out_of_memory();
            } else {
                if (reserve(&q->late, q->late.count + 1) != 0)
                    run_out_of_memory();
                push_late(q, &c->event[i]);
            }
        }
        drop_chunk(q, c);
    }
}

/* The bottom is empty and the calendar is not: moves the cursor on until there is something at or before it. */
static void refill(struct sim_queue *q)
{
    while (q->late.count == 0) {
        unsigned level = 0;
        while (q->level_count[level] == 0)
            level++;
        const unsigned d = first_used(q, level);
        struct bucket b = detach(q, level, d);
        const sim_time low = (UINT64_C(1) << level * DIGIT_BITS) - 1; /* the digits below this one */
        const sim_time own = (sim_time)(DIGITS - 1) << level * DIGIT_BITS;
        const sim_time first = (q->cursor & ~(low | own)) | (sim_time)d << level * DIGIT_BITS;
        if (level <= 1 || b.count <= RUN_MAX) {
            q->cursor = first | low;
            sort_bucket(q, &b, level);
            return;
        }
        q->cursor = first;
        deal_bucket(q, &b);
    }
}

/* Moves the cursor back. What lies in levels that the new one does not split any more joins one bucket. */
static void lower_cursor(struct sim_queue *q, sim_time to)
{
    const unsigned level = level_of(to, q->cursor), d = digit(q->cursor, level);
    struct bucket *into = &q->bucket[level][d];
    for (unsigned l = 0; l < level; l++)
        for (unsigned from; q->level_count[l] > 0 && (from = first_used(q, l)) < DIGITS;) {
            struct bucket b = detach(q, l, from);
            if (into->head == NULL)
                into->tail = b.tail;
            b.tail->next = into->head;
            into->head = b.head;
            into->count += b.count;
            q->level_count[level] += b.count;
            q->used[level][d / 64] |= UINT64_C(1) << d % 64;
        }
    q->cursor = to;
}

static sim_time earliest(const struct sim_queue *q)
{
    sim_time at = q->run_next < q->run.count ? q->run.event[q->run_next].at : SIM_NEVER;
    for (size_t i = q->heap_count; i < q->late.count; i++)
        if (q->late.event[i].at < at)
            at = q->late.event[i].at;
    return q->heap_count > 0 && q->late.event[0].at < at ? q->late.event[0].at : at;
}

/* Makes the bottom hold the earliest time alone, sorted; everything later goes to the calendar. */
static void fold(struct sim_queue *q, sim_time to)
{
    const size_t left = q->run.count - q->run_next;
    if (left > 0)
        memmove(q->run.event, q->run.event + q->run_next, left * sizeof *q->run.event);
    q->run.count = left;
    q->run_next = 0;
    if (reserve(&q->run, left + q->late.count) != 0)
        run_out_of_memory();
    if (q->late.count > 0)
        memcpy(q->run.event + left, q->late.event, q->late.count * sizeof *q->run.event);
    q->run.count += q->late.count;
    q->late.count = q->heap_count = 0;
    relax(&q->late, 0);
    if (to < q->cursor)
        lower_cursor(q, to);
    size_t kept = 0;
    for (size_t i = 0; i < q->run.count; i++) {
        if (q->run.event[i].at <= to)
            q->run.event[kept++] = q->run.event[i];
        else if (place(q, &q->run.event[i]) != 0)
            run_out_of_memory();
    }
    q->run.count = kept;
    sort(q->run.event, kept);
}

/* Whether folding costs little for each event that came late: what it moves is at most 16 times as much. When
 * everything in the bottom is of one time it sorts, which must not happen for every event of a few. */
static bool is_worth_folding(const struct sim_queue *q, sim_time to)
{
    const size_t left = q->run.count - q->run_next;
    if (to == q->cursor)
        return (q->late.count - q->heap_count) * 8 >= left + q->heap_count;
    size_t moved = left;
    for (unsigned l = level_of(to, q->cursor); l-- > 0;)
        moved += q->level_count[l];
    return q->late.count * 16 >= moved;
}

static void settle(struct sim_queue *q)
{
    if (q->late.count > LATE_MAX) {
        const sim_time to = earliest(q);
        if (is_worth_folding(q, to)) {
            fold(q, to);
            return;
        }
    }
    while (q->heap_count < q->late.count)
        sift_up(q->late.event, q->heap_count++);
}

/* Makes the earliest event the run's next or the heap's top. False when there is none. */
static inline bool prepare(struct sim_queue *q)
{
    if (q->count == 0)
        return false;
    if (q->run_next == q->run.count && q->late.count == 0) {
        q->run.count = q->run_next = 0;
        refill(q);
    }
    if (q->heap_count < q->late.count)
        settle(q);
    return true;
}

static inline bool is_heap_first(const struct sim_queue *q)
{
    return q->heap_count > 0 &&
           (q->run_next == q->run.count || is_before(&q->late.event[0], &q->run.event[q->run_next]));
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

struct sim_queue *sim_queue_open(void)
{
    return calloc(1, sizeof(struct sim_queue));
}

static void free_chunks(struct chunk *c)
{
    for (struct chunk *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
}

void sim_queue_close(struct sim_queue *q)
{
    if (q == NULL)
        return;
    for (unsigned l = 0; l < LEVELS; l++)
        for (unsigned d = 0; d < DIGITS; d++)
            free_chunks(q->bucket[l][d].head);
    free_chunks(q->free);
    free(q->run.event);
    free(q->late.event);
    free(q);
}

int sim_queue_push(struct sim_queue *q, struct sim_event_key event)
{
    if (event.at > q->cursor) {
        if (place(q, &event) != 0)
            return -1;
    } else {
        if (reserve(&q->late, q->late.count + 1) != 0)
            return -1;
        push_late(q, &event);
    }
    q->count++;
    return 0;
}

bool sim_queue_peek(struct sim_queue *q, struct sim_event_key *event)
{
    if (!prepare(q))
        return false;
    *event = is_heap_first(q) ? q->late.event[0] : q->run.event[q->run_next];
    return true;
}

bool sim_queue_pop(struct sim_queue *q, struct sim_event_key *event)
{
    if (!prepare(q))
        return false;
    q->count--;
    if (!is_heap_first(q)) {
        *event = q->run.event[q->run_next++];
        return true;
    }
    *event = q->late.event[0];
    q->late.event[0] = q->late.event[--q->late.count];
    q->heap_count--;
    if (q->heap_count > 1)
        sift_down(q->late.event, q->heap_count, 0);
    return true;
}

size_t sim_queue_count(const struct sim_queue *q)
{
    return q->count;
}

size_t sim_queue_bytes(const struct sim_queue *q)
{
    return sizeof *q + q->chunks * sizeof(struct chunk) + (q->run.cap + q->late.cap) * sizeof(struct sim_event_key);
}

int sim_queue_save(const struct sim_queue *q, struct sim_archive *a)
{
    sim_archive_section(a, "QUEU");
    sim_archive_put_count(a, q->count);
    sim_archive_put(a, q->run.event + q->run_next, (q->run.count - q->run_next) * sizeof *q->run.event);
    sim_archive_put(a, q->late.event, q->late.count * sizeof *q->late.event);
    for (unsigned l = 0; l < LEVELS; l++)
        for (unsigned d = 0; d < DIGITS; d++)
            for (const struct chunk *c = q->bucket[l][d].head; c != NULL; c = c->next)
                sim_archive_put(a, c->event, c->count * sizeof *c->event);
    return sim_archive_failed(a) ? -1 : 0;
}

static void empty(struct sim_queue *q)
{
    for (unsigned l = 0; l < LEVELS; l++)
        for (unsigned d = 0; d < DIGITS; d++)
            free_chunks(detach(q, l, d).head);
    free_chunks(q->free);
    free(q->run.event);
    free(q->late.event);
    memset(q, 0, sizeof *q);
}

int sim_queue_load(struct sim_queue *q, struct sim_archive *a)
{
    uint64_t count;
    empty(q);
    if (sim_archive_section(a, "QUEU") != 0 || sim_archive_get_count(a, &count, SIZE_MAX / 64) != 0)
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        struct sim_event_key event;
        if (sim_archive_get(a, &event, sizeof event) != 0)
            return -1;
        if (sim_queue_push(q, event) != 0)
            return sim_archive_fail(a, "out of memory for pending events");
    }
    return 0;
}
