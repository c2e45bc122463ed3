/*
 * Links: who hears whom.
 *
 * Receivers are looked at in ascending order and appended to the list of everyone they hear, so every list comes out
 * ascending. Losses are the same both ways: of a pair of own nodes the loss is calculated for one direction, and copied
 * for the other when its receiver's turn comes. A first pass counts, a second fills, so that nothing is held twice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field_state.h"
#include "place.h"

#define SHADOWING_SIGMAS 3
#define INTERFERENCE_BELOW_NOISE_MDB 6000
#define INTERFERENCE_RANGES 3
#define PAIRS_MAX 60000000000u /* looked at; more would take minutes */
#define LOSS_UNIT_MAX 4095

struct builder {
    struct sim_field *f;
    struct sim_cells cells;
    uint64_t near_square, far_square; /* within the one every pair couples, beyond the other none */
    int32_t budget_mdb;
    bool has_explicit;
    uint8_t *is_explicit; /* bit set: the node has an explicit link */
    uint32_t *fill;       /* [count] where the next link of each goes; NULL while counting */
};

static int32_t budget(const struct sim_radio *radio)
{
    return radio->tx_mdbm - radio->sensitivity_mdbm;
}

/* Farther pairs are not looked at. Ranges are whole millimetres, distances are not. */
static int32_t search_range(const struct sim_radio *radio)
{
    return sim_place_range(radio, budget(radio) + SHADOWING_SIGMAS * radio->shadowing_mdb) + 1;
}

static int32_t reach(int64_t mm)
{
    return mm < 2000000000 ? (int32_t)mm : 2000000000;
}

/* --- ranges --------------------------------------------------------------------------------------------------------- */

static int32_t distance_mm(const struct sim_field *f, uint32_t a, uint32_t b)
{
    uint64_t square = sim_square_mm(&f->position[a], &f->position[b]);
    uint64_t low = 0, high = 4000000000u;
    while (low < high) { /* rounded up */
        uint64_t middle = (low + high) / 2;
        if (middle * middle >= square)
            high = middle;
        else
            low = middle + 1;
    }
    return reach((int64_t)low);
}

void sim_field_set_ranges(struct sim_field *f)
{
    const struct sim_scenario *s = f->scenario;
    const struct sim_radio *r = &s->radio;
    if (s->reach == SIM_REACH_NEIGHBOURS) {
        f->range_mm = reach((int64_t)s->spacing_mm * 3 / 2 + 1);
        f->interference_mm = f->range_mm;
    } else {
        int32_t mean = sim_place_range(r, budget(r));
        int32_t disturbing = sim_place_range(r, r->tx_mdbm - r->noise_mdbm + INTERFERENCE_BELOW_NOISE_MDB);
        int32_t most = reach((int64_t)mean * INTERFERENCE_RANGES);
        f->range_mm = search_range(r);
        f->interference_mm = disturbing < most ? disturbing : most;
    }
    for (uint32_t i = 0; i < s->link_count; i++) {
        const struct sim_scenario_link *l = &s->link[i];
        if (l->loss_mdb == SIM_LOSS_NONE)
            continue;
        int32_t distance = distance_mm(f, l->a, l->b);
        if (l->loss_mdb <= budget(r) && distance > f->range_mm)
            f->range_mm = distance;
        if (distance > f->interference_mm)
            f->interference_mm = distance;
    }
    if (f->interference_mm < f->range_mm)
        f->interference_mm = f->range_mm;
}

/* --- explicit links ------------------------------------------------------------------------------------------------- */

bool sim_field_explicit(const struct sim_scenario *s, uint32_t a, uint32_t b, int32_t *loss_mdb)
{
    uint64_t pair = a < b ? (uint64_t)a << 32 | b : (uint64_t)b << 32 | a;
    uint32_t low = 0, high = s->link_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint64_t at = (uint64_t)s->link[middle].a << 32 | s->link[middle].b;
        if (at == pair) {
            *loss_mdb = s->link[middle].loss_mdb;
            return true;
        }
        if (at < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool is_marked(const struct builder *b, uint32_t node)
{
    return b->has_explicit && (b->is_explicit[node / 8] >> node % 8 & 1);
}

static int mark_explicit(struct builder *b)
{
    const struct sim_scenario *s = b->f->scenario;
    b->has_explicit = s->link_count > 0;
    b->is_explicit = calloc(b->f->count / 8 + 1, 1);
    if (b->is_explicit == NULL)
        return -1;
    for (uint32_t i = 0; i < s->link_count; i++) {
        b->is_explicit[s->link[i].a / 8] |= (uint8_t)(1u << s->link[i].a % 8);
        b->is_explicit[s->link[i].b / 8] |= (uint8_t)(1u << s->link[i].b % 8);
    }
    return 0;
}

/* --- one pair ------------------------------------------------------------------------------------------------------- */

static bool is_own(const struct sim_field *f, uint32_t node)
{
    return node >= f->first && node < f->limit;
}

static void append(struct builder *b, uint32_t from, uint32_t to, int32_t loss_mdb)
{
    if (b->fill == NULL) {
        b->f->link_at[from + 1]++;
        return;
    }
    /* rounded down, so that rounding takes no link out of range */
    int32_t unit = loss_mdb > 0 ? (int32_t)((int64_t)loss_mdb * 16 / 1000) : 0;
    struct sim_link *link = &b->f->link[b->fill[from]++];
    link->node = to & 0xFFFFF;
    link->loss = (unsigned)(unit < LOSS_UNIT_MAX ? unit : LOSS_UNIT_MAX) & 0xFFF;
}

/* The receiver hears `from`. While counting, the other direction of a pair of own nodes is counted with it; when filling
 * it is copied from the receiver's own list. */
static void join(struct builder *b, uint32_t receiver, uint32_t from, int32_t loss_mdb)
{
    append(b, from, receiver, loss_mdb);
    if (b->fill == NULL && is_own(b->f, from))
        append(b, receiver, from, loss_mdb);
}

static void try_pair(struct builder *b, uint32_t receiver, uint32_t from)
{
    const struct sim_field *f = b->f;
    const struct sim_position *pr = &f->position[receiver], *pf = &f->position[from];
    uint64_t square = sim_square_mm(pr, pf);
    int32_t loss = 0;
    if (square > b->far_square)
        return;
    if (is_marked(b, receiver) && is_marked(b, from) && sim_field_explicit(f->scenario, receiver, from, &loss))
        return; /* has its turn with the explicit ones */
    if (b->fill != NULL || square > b->near_square) {
        loss = sim_place_loss(f->scenario, receiver, pr, from, pf);
        if (loss > b->budget_mdb)
            return;
    }
    join(b, receiver, from, loss);
}

/* --- all partners of a receiver ------------------------------------------------------------------------------------- */

/* A pair of own nodes is looked at when it is the turn of the lower one. */
static bool is_turn(const struct sim_field *f, uint32_t receiver, uint32_t from)
{
    return from > receiver || from < f->first;
}

static void try_cells(struct builder *b, uint32_t receiver)
{
    const struct sim_cells *c = &b->cells;
    const struct sim_position *at = &b->f->position[receiver];
    uint32_t column = sim_cells_column(c, at), row = sim_cells_row(c, at);
    uint32_t low_row = row > 0 ? row - 1 : 0, high_row = row + 1 < c->rows ? row + 1 : row;
    for (uint32_t x = column > 0 ? column - 1 : 0; x <= column + 1 && x < c->columns; x++) {
        uint32_t end = c->start[x * c->rows + high_row + 1];
        for (uint32_t i = c->start[x * c->rows + low_row]; i < end; i++)
            if (is_turn(b->f, receiver, c->node[i]))
                try_pair(b, receiver, c->node[i]);
    }
}

static void try_adjacent(struct builder *b, uint32_t receiver)
{
    const struct sim_scenario *s = b->f->scenario;
    int64_t x = receiver % s->columns, y = receiver / s->columns;
    for (int64_t ny = y - 1; ny <= y + 1; ny++) {
        for (int64_t nx = x - 1; nx <= x + 1; nx++) {
            if (nx < 0 || ny < 0 || nx >= s->columns || ny >= s->rows || (nx == x && ny == y))
                continue;
            uint32_t from = (uint32_t)(ny * s->columns + nx);
            if (is_turn(b->f, receiver, from))
                try_pair(b, receiver, from);
        }
    }
}

static void try_explicit(struct builder *b, uint32_t receiver)
{
    const struct sim_scenario *s = b->f->scenario;
    for (uint32_t i = 0; i < s->link_count; i++) {
        const struct sim_scenario_link *l = &s->link[i];
        if ((l->a != receiver && l->b != receiver) || l->loss_mdb > b->budget_mdb)
            continue;
        uint32_t from = l->a == receiver ? l->b : l->a;
        if (is_turn(b->f, receiver, from))
            join(b, receiver, from, l->loss_mdb);
    }
}

/* The directions whose other side had its turn: everyone below that this receiver was joined to hears it, and it them. */
static void copy_back(struct builder *b, uint32_t receiver)
{
    const struct sim_field *f = b->f;
    for (uint32_t i = f->link_at[receiver]; i < b->fill[receiver]; i++) {
        struct sim_link *link = &b->f->link[b->fill[f->link[i].node]++];
        link->node = receiver & 0xFFFFF;
        link->loss = f->link[i].loss;
    }
}

static void pass(struct builder *b)
{
    const struct sim_field *f = b->f;
    bool is_near = f->scenario->reach == SIM_REACH_NEIGHBOURS;
    for (uint32_t receiver = f->first; receiver < f->limit; receiver++) {
        if (b->fill != NULL)
            copy_back(b, receiver);
        if (is_near)
            try_adjacent(b, receiver);
        else
            try_cells(b, receiver);
        if (is_marked(b, receiver))
            try_explicit(b, receiver);
    }
}

/* --- both passes ---------------------------------------------------------------------------------------------------- */

static void set_squares(struct builder *b)
{
    const struct sim_scenario *s = b->f->scenario;
    bool is_plain =
        s->radio.shadowing_mdb == 0 && s->topology != SIM_TOPOLOGY_BUILDINGS && s->reach == SIM_REACH_PHYSICS;
    /* between a whole millimetre and the next the loss decides */
    uint64_t near = (uint64_t)sim_place_range(&s->radio, b->budget_mdb);
    uint64_t far = (uint64_t)search_range(&s->radio);
    bool is_any = sim_path_loss_mdb(&s->radio, &b->f->position[0], &b->f->position[0]) <= b->budget_mdb;
    b->near_square = is_plain && is_any ? near * near : 0;
    b->far_square = s->reach == SIM_REACH_PHYSICS ? far * far : UINT64_MAX;
}

/* Pairs that cells bring together: everybody in one place would be a trillion. */
static int check_density(const struct builder *b, char *error, size_t cap)
{
    const struct sim_cells *c = &b->cells;
    uint64_t pairs = 0;
    for (uint32_t x = 0; x < c->columns; x++) {
        for (uint32_t y = 0; y < c->rows; y++) {
            uint64_t here = c->start[x * c->rows + y + 1] - c->start[x * c->rows + y];
            for (uint32_t nx = x > 0 ? x - 1 : 0; here > 0 && nx <= x + 1 && nx < c->columns; nx++)
                pairs += here * (c->start[nx * c->rows + (y + 1 < c->rows ? y + 1 : y) + 1] -
                                 c->start[nx * c->rows + (y > 0 ? y - 1 : 0)]);
        }
    }
    if (pairs <= PAIRS_MAX)
        return 0;
    (void)snprintf(error, cap,
                   "too dense: a node would have about %llu others in reach; spread them or shorten the range",
                   (unsigned long long)pairs / b->f->count / 3);
    return -1;
}

/* Counts into places: link_at[i + 1] holds the number of links of node i. */
static int make_room(struct builder *b, char *error, size_t cap)
{
    struct sim_field *f = b->f;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        sum += f->link_at[i + 1];
        if (sum > INT32_MAX) {
            (void)snprintf(error, cap, "too dense: more than %d links", INT32_MAX);
            return -1;
        }
        f->link_at[i + 1] = (uint32_t)sum;
    }
    f->link_count = (uint32_t)sum;
    f->link = calloc((size_t)sum + 1, sizeof *f->link);
    b->fill = calloc((size_t)f->count + 1, sizeof *b->fill);
    if (f->link == NULL || b->fill == NULL) {
        (void)snprintf(error, cap, "out of memory for %u links", (unsigned)f->link_count);
        return -1;
    }
    memcpy(b->fill, f->link_at, f->count * sizeof *b->fill);
    return 0;
}

int sim_field_set_links(struct sim_field *f, char *error, size_t cap)
{
    struct builder b = {.f = f, .budget_mdb = budget(&f->scenario->radio)};
    int status = -1;
    (void)snprintf(error, cap, "out of memory for %u nodes", (unsigned)f->count);
    f->link_at = calloc((size_t)f->count + 1, sizeof *f->link_at);
    set_squares(&b);
    int32_t cell = search_range(&f->scenario->radio);
    if (f->link_at == NULL || mark_explicit(&b) != 0 || sim_cells_open(&b.cells, f->position, f->count, cell) != 0)
        goto out;
    if (f->scenario->reach == SIM_REACH_PHYSICS && check_density(&b, error, cap) != 0)
        goto out;
    pass(&b);
    if (make_room(&b, error, cap) != 0)
        goto out;
    pass(&b);
    status = 0;
out:
    sim_cells_close(&b.cells);
    free(b.is_explicit);
    free(b.fill);
    return status;
}
