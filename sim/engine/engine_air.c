/*
 * Transmissions: the pool they wait and fly in, the cells in which those on air are found, and their way to other ranks.
 *
 * A cell holds a short array of what is on air from its nodes, enough for a verdict without a look at the transmission
 * itself. Nothing is taken out when it ends: whoever adds to a cell drops what is too old to overlap anything that is
 * still to be decided.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

#define KEEP_MORE_US 500 /* turnarounds before and after what overlaps */

/* --- pool ---------------------------------------------------------------------------------------------------------- */

static struct sim_tx *slot_at(const struct sim_pool *p, uint32_t slot)
{
    return (struct sim_tx *)(void *)(p->chunk[slot / SIM_POOL_CHUNK] + slot % SIM_POOL_CHUNK * p->slot_bytes);
}

static int grow_pool(struct sim_pool *p)
{
    if (p->chunks == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        uint8_t **chunk = realloc(p->chunk, cap * sizeof *chunk);
        if (chunk == NULL)
            return -1;
        p->chunk = chunk;
        p->cap = cap;
    }
    p->chunk[p->chunks] = calloc(SIM_POOL_CHUNK, p->slot_bytes);
    if (p->chunk[p->chunks] == NULL)
        return -1;
    uint32_t first = (uint32_t)(p->chunks++ * SIM_POOL_CHUNK);
    for (uint32_t i = SIM_POOL_CHUNK; i-- > 0;) {
        struct sim_tx *tx = slot_at(p, first + i);
        tx->slot = first + i;
        tx->next = p->free;
        p->free = tx->slot;
    }
    return 0;
}

/* A cleared slot at the head of the node's chain. */
static struct sim_tx *take_slot(struct sim_engine *e, uint32_t node)
{
    struct sim_pool *p = &e->pool;
    if (p->free == SIM_TX_NONE && grow_pool(p) != 0) {
        sim_engine_fail(e, "out of memory for transmissions");
        return NULL;
    }
    struct sim_tx *tx = slot_at(p, p->free);
    p->free = tx->next;
    p->used++;
    tx->node = node;
    tx->next = p->newest[node];
    tx->has_begun = 0;
    memset(tx->note, 0, sizeof tx->note);
    memset(tx->caught, 0, p->slot_bytes - sizeof *tx);
    p->newest[node] = tx->slot;
    return tx;
}

struct sim_tx *sim_engine_tx_new(struct sim_engine *e, uint32_t node, const struct sim_frame *frame)
{
    struct sim_tx *tx = take_slot(e, node);
    if (tx == NULL)
        return NULL;
    tx->len = (uint16_t)frame->len;
    tx->type = frame->type & 15;
    memcpy(tx->data, frame->data, frame->len);
    return tx;
}

void sim_engine_tx_release(struct sim_engine *e, struct sim_tx *tx)
{
    struct sim_pool *p = &e->pool;
    uint32_t *link = &p->newest[tx->node];
    while (*link != tx->slot)
        link = &slot_at(p, *link)->next;
    *link = tx->next;
    tx->next = p->free;
    p->free = tx->slot;
    p->used--;
}

struct sim_tx *sim_engine_tx_first(struct sim_engine *e, uint32_t node)
{
    uint32_t slot = e->pool.newest[node];
    return slot == SIM_TX_NONE ? NULL : slot_at(&e->pool, slot);
}

struct sim_tx *sim_engine_tx_next(struct sim_engine *e, const struct sim_tx *tx)
{
    return tx->next == SIM_TX_NONE ? NULL : slot_at(&e->pool, tx->next);
}

/* --- cells --------------------------------------------------------------------------------------------------------- */

static void put_in_cell(struct sim_engine *e, const struct sim_tx *tx)
{
    const struct sim_field *f = e->field;
    struct sim_cell *c = &e->cell[f->cell_of[tx->node]];
    sim_time keep = (sim_time)e->longest_us + e->lookahead + e->scenario->radio_run.delivery_us + KEEP_MORE_US;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->entry[i].start + c->entry[i].span_us + keep >= e->now)
            c->entry[kept++] = c->entry[i];
    c->count = kept;
    if (c->count == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 4;
        struct sim_on_air *entry = realloc(c->entry, cap * sizeof *entry);
        if (entry == NULL) {
            sim_engine_fail(e, "out of memory for transmissions");
            return;
        }
        c->entry = entry;
        c->cap = cap;
    }
    if (tx->start + tx->span_us > c->busy_until)
        c->busy_until = tx->start + tx->span_us;
    uint32_t at = c->count++;
    for (; at > 0 && c->entry[at - 1].start > tx->start; at--)
        c->entry[at] = c->entry[at - 1];
    c->entry[at] = (struct sim_on_air){.start = tx->start,
                                       .node = tx->node,
                                       .span_us = (uint16_t)tx->span_us,
                                       .channel = tx->channel,
                                       .note = tx->note[0],
                                       .x_mm = f->position[tx->node].x_mm,
                                       .y_mm = f->position[tx->node].y_mm};
}

static bool is_beyond(int32_t a, int32_t b, int64_t reach_mm)
{
    return (uint64_t)((int64_t)a - b + reach_mm) > (uint64_t)(2 * reach_mm);
}

static bool add_near(struct sim_engine *e, const struct sim_on_air *entry, uint32_t *n)
{
    if (*n == e->near_cap) {
        uint32_t cap = e->near_cap ? 2 * e->near_cap : 64;
        struct sim_on_air *near = realloc(e->near, cap * sizeof *near);
        if (near == NULL) {
            sim_engine_fail(e, "out of memory for transmissions");
            return false;
        }
        e->near = near;
        e->near_cap = cap;
    }
    e->near[(*n)++] = *entry;
    return true;
}

/* What collect() looks for. */
struct wanted {
    uint32_t node; /* around it, not from it */
    int64_t reach_mm;
    sim_time first, last; /* start, both included */
    sim_time from;        /* ends after that */
    int channel;          /* -1: any */
};

/* Entries are in order of their start: from the latest backwards. */
static bool search_cell(struct sim_engine *e, const struct sim_cell *c, const struct wanted *w, uint32_t *n)
{
    const struct sim_position *at = &e->field->position[w->node];
    for (uint32_t i = c->count; i-- > 0;) {
        const struct sim_on_air *o = &c->entry[i];
        if (o->start > w->last)
            continue;
        if (o->start < w->first)
            break;
        if (w->channel >= 0 && o->channel != w->channel)
            continue;
        if (o->start + o->span_us <= w->from || o->node == w->node || is_beyond(o->x_mm, at->x_mm, w->reach_mm) ||
            is_beyond(o->y_mm, at->y_mm, w->reach_mm))
            continue;
        if (!add_near(e, o, n))
            return false;
    }
    return true;
}

static const struct sim_on_air *collect(struct sim_engine *e, const struct wanted *w, uint32_t *count)
{
    const struct sim_field *f = e->field;
    uint32_t x = f->cell_of[w->node] % f->cells_x, y = f->cell_of[w->node] / f->cells_x;
    uint32_t x_end = x + 1 < f->cells_x ? x + 2 : x + 1, y_end = y + 1 < f->cells_y ? y + 2 : y + 1, n = 0;
    for (uint32_t cy = y > 0 ? y - 1 : 0; cy < y_end; cy++) {
        for (uint32_t cx = x > 0 ? x - 1 : 0; cx < x_end; cx++) {
            const struct sim_cell *c = &e->cell[cy * f->cells_x + cx];
            if (c->busy_until > w->from && !search_cell(e, c, w, &n))
                break;
        }
    }
    *count = n;
    return e->near;
}

static struct wanted overlapping(const struct sim_engine *e, uint32_t node, sim_time from, sim_time to)
{
    return (struct wanted){.node = node,
                           .reach_mm = (int64_t)e->field->range_mm + e->field->interference_mm,
                           .first = from > e->longest_us ? from - e->longest_us : 0,
                           .last = to - 1,
                           .from = from,
                           .channel = -1};
}

const struct sim_on_air *sim_engine_collect(struct sim_engine *e, uint32_t node, sim_time from, sim_time to,
                                            uint32_t *count)
{
    struct wanted w = overlapping(e, node, from, to);
    return collect(e, &w, count);
}

const struct sim_on_air *sim_engine_collect_on(struct sim_engine *e, uint32_t node, sim_time from, sim_time to,
                                               uint8_t channel, uint32_t *count)
{
    struct wanted w = overlapping(e, node, from, to);
    w.channel = channel;
    return collect(e, &w, count);
}

const struct sim_on_air *sim_engine_collect_started(struct sim_engine *e, uint32_t node, sim_time first, sim_time last,
                                                    uint32_t *count)
{
    struct wanted w = overlapping(e, node, first, last + 1);
    w.first = first;
    return collect(e, &w, count);
}

const struct sim_on_air *sim_engine_collect_at(struct sim_engine *e, uint32_t node, sim_time from, sim_time to,
                                               uint32_t *count)
{
    struct wanted w = overlapping(e, node, from, to);
    w.reach_mm = e->field->interference_mm;
    return collect(e, &w, count);
}

bool sim_engine_is_cut(const struct sim_engine *e, uint32_t a, uint32_t b, sim_time at)
{
    if (at < e->cut_from || at >= e->cut_until)
        return false;
    const struct sim_position *p = e->field->position;
    return (p[a].x_mm < e->cut_x_mm) != (p[b].x_mm < e->cut_x_mm);
}

/* Beyond the interference radius, to the millimetre: who is told of a transmission must not matter. */
static bool is_too_far(const struct sim_field *f, uint32_t a, uint32_t b)
{
    const struct sim_position *p = &f->position[a], *q = &f->position[b];
    int64_t dx = (int64_t)p->x_mm - q->x_mm, dy = (int64_t)p->y_mm - q->y_mm, dz = (int64_t)p->z_mm - q->z_mm;
    uint64_t square = (uint64_t)(dx * dx) + (uint64_t)(dy * dy) + (uint64_t)(dz * dz);
    return square > (uint64_t)f->interference_mm * (uint64_t)f->interference_mm;
}

uint64_t sim_engine_power_at(const struct sim_engine *e, uint32_t from, uint32_t to, sim_time at)
{
    if (from == to || is_too_far(e->field, from, to) || sim_engine_is_cut(e, from, to, at))
        return 0;
    int32_t loss = sim_field_loss(e->field, from, to);
    return loss == SIM_LOSS_NONE ? 0 : sim_linear(e->scenario->radio.tx_mdbm - loss);
}

/* --- to and from other ranks --------------------------------------------------------------------------------------- */

struct parcel {
    sim_time at; /* start; mail: arrival */
    uint32_t node, number;
    uint32_t to;      /* mail */
    uint32_t span_us; /* transmission */
    uint64_t order;   /* mail */
    uint16_t len;
    uint8_t is_mail, type, channel;
    uint8_t note[3];
};

static void send_parcel(struct sim_engine *e, unsigned rank, const struct parcel *p, const uint8_t *data)
{
    uint8_t *at = sim_buffer_add(&e->out[rank], sizeof *p + p->len);
    if (at == NULL) {
        sim_engine_fail(e, "out of memory for messages to other ranks");
        return;
    }
    memcpy(at, p, sizeof *p);
    if (p->len > 0)
        memcpy(at + sizeof *p, data, p->len);
}

static void announce(struct sim_engine *e, const struct sim_tx *tx)
{
    uint64_t mask = e->field->halo_mask == NULL ? 0 : e->field->halo_mask[tx->node];
    struct parcel p;
    memset(&p, 0, sizeof p);
    p.at = tx->start;
    p.node = tx->node;
    p.number = tx->number;
    p.span_us = tx->span_us;
    p.len = tx->len;
    p.type = tx->type;
    p.channel = tx->channel;
    memcpy(p.note, tx->note, sizeof p.note);
    for (unsigned rank = 0; mask != 0 && rank < e->ranks; rank++, mask >>= 1)
        if ((mask & 1) && rank != e->rank)
            send_parcel(e, rank, &p, tx->data);
}

void sim_air_export_mail(struct sim_engine *e, unsigned rank, const struct sim_mail *mail)
{
    struct parcel p;
    memset(&p, 0, sizeof p);
    p.at = mail->at;
    p.node = mail->from;
    p.to = mail->to;
    p.order = mail->order;
    p.len = (uint16_t)mail->len;
    p.is_mail = 1;
    send_parcel(e, rank, &p, mail->data);
}

static void import_tx(struct sim_engine *e, const struct parcel *p, const uint8_t *data)
{
    struct sim_tx *tx = take_slot(e, p->node);
    if (tx == NULL)
        return;
    tx->start = p->at;
    tx->number = p->number;
    tx->span_us = p->span_us;
    tx->len = p->len;
    tx->type = p->type;
    tx->channel = p->channel;
    memcpy(tx->note, p->note, sizeof tx->note);
    if (p->len > 0)
        memcpy(tx->data, data, p->len);
    tx->has_begun = 1;
    if (tx->span_us > e->longest_us)
        e->longest_us = tx->span_us;
    put_in_cell(e, tx);
    e->phy->arrived(e->phy_ctx, tx);
}

void sim_air_import(struct sim_engine *e, const struct sim_buffer *in)
{
    struct parcel p;
    for (size_t at = 0; at + sizeof p <= in->size; at += sizeof p + p.len) {
        memcpy(&p, in->data + at, sizeof p);
        uint8_t *data = in->data + at + sizeof p;
        if (p.is_mail) {
            const struct sim_mail mail = {
                .at = p.at, .to = p.to, .from = p.node, .order = p.order, .len = p.len, .data = data};
            sim_engine_put_mail(e, &mail);
        } else {
            import_tx(e, &p, data);
        }
    }
}

/* --- begin --------------------------------------------------------------------------------------------------------- */

static uint64_t hash_data(const uint8_t *data, size_t len)
{
    uint64_t h = len, word;
    for (; len >= 8; len -= 8, data += 8) {
        memcpy(&word, data, 8);
        h = (h ^ word) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    for (word = 0; len > 0; len--)
        word = word << 8 | data[len - 1];
    return sim_mix(h ^ word);
}

void sim_engine_begin(struct sim_engine *e, struct sim_tx *tx, uint32_t airtime_us)
{
    tx->number = e->frames[tx->node - e->first]++;
    tx->has_begun = 1;
    if (tx->span_us > e->longest_us)
        e->longest_us = tx->span_us;
    put_in_cell(e, tx);
    if (e->ranks > 1)
        announce(e, tx);
    e->totals.frames[tx->type]++;
    e->totals.bytes[tx->type] += tx->len;
    e->totals.airtime_us += airtime_us;
    uint64_t key = sim_tx_key(tx);
    sim_digest(e, sim_mix(key ^ tx->start) + sim_mix(hash_data(tx->data, tx->len) ^ key));
}

uint32_t sim_engine_tx_number(const struct sim_engine *e, uint32_t node)
{
    return e->frames[node - e->first];
}

/* --- opening, checkpoint ------------------------------------------------------------------------------------------- */

static void find_middle(struct sim_engine *e)
{
    const struct sim_position *p = e->field->position;
    const struct sim_life *life = &e->scenario->life;
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (uint32_t i = 0; i < e->field->count; i++) {
        low = p[i].x_mm < low ? p[i].x_mm : low;
        high = p[i].x_mm > high ? p[i].x_mm : high;
    }
    e->cut_x_mm = (int32_t)(((int64_t)low + high + 1) / 2);
    e->cut_from = life->partition_at_us;
    e->cut_until = life->partition_at_us + life->partition_for_us;
}

int sim_air_open(struct sim_engine *e)
{
    const struct sim_field *f = e->field;
    uint32_t most = 0, links;
    for (uint32_t i = 0; i < f->count; i++) {
        (void)sim_field_links(f, i, &links);
        most = links > most ? links : most;
    }
    e->pool.slot_bytes = sizeof(struct sim_tx) + (most + 63u) / 64 * sizeof(uint64_t);
    e->pool.free = SIM_TX_NONE;
    e->pool.newest = sim_engine_alloc(f->count, sizeof *e->pool.newest);
    e->cell = sim_engine_alloc((size_t)f->cells_x * f->cells_y, sizeof *e->cell);
    e->near_cap = 64;
    e->near = calloc(e->near_cap, sizeof *e->near);
    if (e->pool.newest == NULL || e->cell == NULL || e->near == NULL)
        return -1;
    for (uint32_t i = 0; i < f->count; i++)
        e->pool.newest[i] = SIM_TX_NONE;
    find_middle(e);
    return 0;
}

void sim_air_close(struct sim_engine *e)
{
    for (size_t i = 0; e->cell != NULL && i < (size_t)e->field->cells_x * e->field->cells_y; i++)
        free(e->cell[i].entry);
    for (size_t i = 0; i < e->pool.chunks; i++)
        free(e->pool.chunk[i]);
    free(e->pool.chunk);
    free(e->pool.newest);
    free(e->cell);
    free(e->near);
}

size_t sim_air_bytes(const struct sim_engine *e)
{
    size_t cells = (size_t)e->field->cells_x * e->field->cells_y, sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += sizeof e->cell[i] + e->cell[i].cap * sizeof *e->cell[i].entry;
    return sum + e->pool.chunks * SIM_POOL_CHUNK * e->pool.slot_bytes + e->field->count * sizeof *e->pool.newest;
}

/* One transmission without its place in the pool, followed by what was caught. */
static void save_tx(struct sim_engine *e, struct sim_archive *a, struct sim_tx *tx)
{
    /* older ones first: loading puts each at the head of the chain */
    struct sim_tx *older = sim_engine_tx_next(e, tx);
    if (older != NULL)
        save_tx(e, a, older);
    (void)sim_archive_put(a, tx, e->pool.slot_bytes);
}

int sim_air_save(struct sim_engine *e, struct sim_archive *a)
{
    (void)sim_archive_section(a, "AIR ");
    (void)sim_archive_put_count(a, e->longest_us);
    (void)sim_archive_put_count(a, e->pool.slot_bytes);
    (void)sim_archive_put_count(a, e->pool.used);
    for (uint32_t i = 0; i < e->field->count; i++)
        if (e->pool.newest[i] != SIM_TX_NONE)
            save_tx(e, a, slot_at(&e->pool, e->pool.newest[i]));
    for (size_t i = 0; i < (size_t)e->field->cells_x * e->field->cells_y; i++) {
        (void)sim_archive_put_count(a, e->cell[i].count);
        (void)sim_archive_put(a, e->cell[i].entry, e->cell[i].count * sizeof *e->cell[i].entry);
    }
    return sim_archive_failed(a) ? -1 : 0;
}

static int load_pool(struct sim_engine *e, struct sim_archive *a)
{
    uint64_t used, slot_bytes;
    struct sim_pool *p = &e->pool;
    for (uint32_t i = 0; i < e->field->count; i++)
        while (p->newest[i] != SIM_TX_NONE)
            sim_engine_tx_release(e, slot_at(p, p->newest[i]));
    if (sim_archive_get_count(a, &slot_bytes, SIZE_MAX) != 0 || sim_archive_get_count(a, &used, UINT32_MAX) != 0)
        return -1;
    if (slot_bytes != p->slot_bytes)
        return sim_archive_fail(a, "the checkpoint is of another field");
    struct sim_tx *copy = malloc(p->slot_bytes);
    if (copy == NULL)
        return sim_archive_fail(a, "out of memory");
    int result = 0;
    for (uint64_t i = 0; result == 0 && i < used; i++) {
        result = sim_archive_get(a, copy, p->slot_bytes);
        if (result == 0 && (copy->node >= e->field->count || copy->len > sizeof copy->data || copy->type > 15))
            result = sim_archive_fail(a, "a transmission in the checkpoint cannot be");
        struct sim_tx *tx = result == 0 ? take_slot(e, copy->node) : NULL;
        if (tx == NULL) {
            result = result == 0 ? sim_archive_fail(a, "out of memory") : result;
            break;
        }
        copy->slot = tx->slot;
        copy->next = tx->next;
        memcpy(tx, copy, p->slot_bytes);
    }
    free(copy);
    return result;
}

int sim_air_load(struct sim_engine *e, struct sim_archive *a)
{
    uint64_t longest, count;
    if (sim_archive_section(a, "AIR ") != 0 || sim_archive_get_count(a, &longest, SIM_SPAN_MAX) != 0)
        return -1;
    e->longest_us = (uint32_t)longest;
    if (load_pool(e, a) != 0)
        return -1;
    for (size_t i = 0; i < (size_t)e->field->cells_x * e->field->cells_y; i++) {
        struct sim_cell *c = &e->cell[i];
        if (sim_archive_get_count(a, &count, 1u << 26) != 0)
            return -1;
        if (count > c->cap) {
            struct sim_on_air *entry = realloc(c->entry, (size_t)count * sizeof *entry);
            if (entry == NULL)
                return sim_archive_fail(a, "out of memory");
            c->entry = entry;
            c->cap = (uint32_t)count;
        }
        c->count = (uint32_t)count;
        c->busy_until = 0;
        if (sim_archive_get(a, c->entry, (size_t)count * sizeof *c->entry) != 0)
            return -1;
        for (uint32_t k = 0; k < c->count; k++) {
            if (c->entry[k].node >= e->field->count)
                return sim_archive_fail(a, "a transmission in the checkpoint cannot be");
            if (c->entry[k].start + c->entry[k].span_us > c->busy_until)
                c->busy_until = c->entry[k].start + c->entry[k].span_us;
        }
    }
    return 0;
}
