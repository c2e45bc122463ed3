#include "place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FARTHEST_MM 1000000000
#define NEAREST_MM 100 /* the path loss model goes no nearer */
#define REACH_MAX_MM 2000000000
#define DRAW_TAG 0x504C4143u /* "PLAC": which of the draws of SIM_DRAW_WORLD */
#define ATTEMPTS 256         /* a point misses the disc with probability 0.22, all of them never */

/* --- ranges and losses ---------------------------------------------------------------------------------------------- */

static int32_t loss_at(const struct sim_radio *radio, int32_t distance_mm)
{
    const struct sim_position here = {0, 0, 0}, there = {distance_mm, 0, 0};
    return sim_path_loss_mdb(radio, &here, &there);
}

int32_t sim_place_range(const struct sim_radio *radio, int32_t loss_mdb)
{
    int32_t low = NEAREST_MM, high = REACH_MAX_MM;
    while (low < high) {
        int32_t middle = high - (high - low) / 2;
        if (loss_at(radio, middle) <= loss_mdb)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int32_t difference(int32_t a, int32_t b)
{
    return a > b ? a - b : b - a;
}

/* Floors between two nodes, and two outer walls when they are in different buildings. */
static int32_t obstacles(const struct sim_topology_run *t, const struct sim_position *a, const struct sim_position *b)
{
    int32_t pitch_x = t->width_mm + t->street_mm, pitch_y = t->depth_mm + t->street_mm;
    bool is_same = a->x_mm / pitch_x == b->x_mm / pitch_x && a->y_mm / pitch_y == b->y_mm / pitch_y;
    int32_t floors = difference(a->z_mm / t->floor_height_mm, b->z_mm / t->floor_height_mm);
    return floors * t->floor_loss_mdb + (is_same ? 0 : 2 * t->wall_loss_mdb);
}

static bool is_adjacent(const struct sim_scenario *s, uint32_t a, uint32_t b)
{
    int32_t dx = difference((int32_t)(a % s->columns), (int32_t)(b % s->columns));
    int32_t dy = difference((int32_t)(a / s->columns), (int32_t)(b / s->columns));
    return a != b && dx <= 1 && dy <= 1;
}

int32_t sim_place_loss(const struct sim_scenario *s, uint32_t a, const struct sim_position *pa, uint32_t b,
                       const struct sim_position *pb)
{
    if (s->reach == SIM_REACH_NEIGHBOURS)
        return is_adjacent(s, a, b) ? s->link_loss_mdb : SIM_LOSS_NONE;
    int32_t loss = sim_path_loss_mdb(&s->radio, pa, pb) + sim_shadowing_mdb(&s->radio, s->seed, a, b);
    return s->topology == SIM_TOPOLOGY_BUILDINGS ? loss + obstacles(&s->place, pa, pb) : loss;
}

/* --- radius of a disc ----------------------------------------------------------------------------------------------- */

/*
 * Two random points of a disc of radius 1 are within s of each other with probability
 *   F(s) = 1 + (2/pi) (s^2 - 1) acos(s/2) - (s/pi) (1 + s^2/2) sqrt(1 - s^2/4)
 * (disc line picking; Solomon, Geometric Probability, 1978). F(s) / s^2 for s = 0, 1/32 .. 2, times 2^16.
 */
static const uint32_t NEAR[65] = {
    65536, 64667, 63798, 62929, 62061, 61193, 60325, 59459, 58593, 57729, 56865, 56003, 55142,
    54283, 53426, 52570, 51716, 50865, 50015, 49168, 48324, 47482, 46643, 45806, 44973, 44143,
    43317, 42494, 41674, 40859, 40047, 39240, 38437, 37639, 36845, 36056, 35272, 34493, 33720,
    32952, 32190, 31435, 30685, 29942, 29205, 28476, 27754, 27039, 26332, 25633, 24942, 24260,
    23587, 22923, 22269, 21625, 20991, 20369, 19759, 19160, 18575, 18003, 17447, 16906, 16384,
};
#define UNIT_BITS 16
#define UNIT ((uint64_t)1 << UNIT_BITS)
#define STEP_BITS 11 /* 1/32 in units */

/* Whether a disc of `ratio` ranges (2^-16, at least a half) gives a mean degree of at least degree_milli. */
static bool is_dense(uint64_t ratio, uint32_t count, uint32_t degree_milli)
{
    uint64_t s = UNIT * UNIT / ratio; /* range over radius, at most 2 */
    uint64_t at = s >> STEP_BITS, rest = s & ((1u << STEP_BITS) - 1);
    uint64_t near = at >= 64 ? NEAR[64] : NEAR[at] - (((NEAR[at] - NEAR[at + 1]) * rest) >> STEP_BITS);
    /* (count - 1) * near * s^2, with 1 / s^2 = ratio^2 on the other side: 2^46 and below 2^62 */
    return (uint64_t)(count - 1) * 1000 * near >= degree_milli * (ratio * ratio >> UNIT_BITS);
}

int sim_place_radius(const struct sim_scenario *s, int32_t *radius_mm, char *error, size_t cap)
{
    uint32_t degree = s->place.degree_milli;
    uint64_t low = UNIT / 2, high = UNIT << 15;
    *radius_mm = s->place.radius_mm;
    if (degree == 0 || s->count == 1)
        return 0;
    if (degree > (s->count - 1) * (uint64_t)1000) {
        (void)snprintf(error, cap, "degree: %u nodes have at most %u others in range", (unsigned)s->count,
                       (unsigned)(s->count - 1));
        return -1;
    }
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (is_dense(middle, s->count, degree))
            low = middle;
        else
            high = middle - 1;
    }
    int64_t range = sim_place_range(&s->radio, s->radio.tx_mdbm - s->radio.sensitivity_mdbm);
    uint64_t radius = (uint64_t)range * low >> UNIT_BITS;
    if (radius > FARTHEST_MM) {
        (void)snprintf(error, cap, "degree: so few in range need a disc of more than 1000 km");
        return -1;
    }
    *radius_mm = radius > 0 ? (int32_t)radius : 1;
    return 0;
}

/* --- generators ----------------------------------------------------------------------------------------------------- */

/* Buildings along a side of the square they form. */
static uint32_t building_columns(uint32_t buildings)
{
    uint32_t side = 1;
    while (side * side < buildings)
        side++;
    return side;
}

static void draw(const struct sim_scenario *s, uint32_t node, uint32_t attempt, uint32_t out[4])
{
    const uint32_t counter[4] = {node, attempt, DRAW_TAG, SIM_DRAW_WORLD};
    const uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    sim_philox(counter, key, out);
}

/* Uniform in the disc: points of the square around it until one is inside. */
static void place_disc(const struct sim_scenario *s, int32_t radius, struct sim_position *position)
{
    int64_t limit = (int64_t)radius * radius;
    uint32_t word[4], side = 2 * (uint32_t)radius + 1;
    for (uint32_t i = 0; i < s->count; i++) {
        int64_t x = 0, y = 0;
        for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
            draw(s, i, attempt, word);
            x = (int64_t)sim_scale(word[0], side) - radius;
            y = (int64_t)sim_scale(word[1], side) - radius;
            if (x * x + y * y <= limit)
                break;
        }
        position[i] = (struct sim_position){(int32_t)x, (int32_t)y, 0};
    }
}

static void place_buildings(const struct sim_scenario *s, struct sim_position *position)
{
    const struct sim_topology_run *t = &s->place;
    uint32_t word[4], columns = building_columns(t->buildings);
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t building = i % t->buildings, floor = i / t->buildings % t->floors;
        draw(s, i, 0, word);
        position[i].x_mm = (int32_t)(building % columns) * (t->width_mm + t->street_mm) +
                           (int32_t)sim_scale(word[0], (uint32_t)t->width_mm);
        position[i].y_mm = (int32_t)(building / columns) * (t->depth_mm + t->street_mm) +
                           (int32_t)sim_scale(word[1], (uint32_t)t->depth_mm);
        position[i].z_mm = (int32_t)floor * t->floor_height_mm + t->floor_height_mm / 2;
    }
}

/* --- numbering ------------------------------------------------------------------------------------------------------ */

struct place {
    uint64_t key; /* strip, then cell in it */
    uint32_t made;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->made > y->made) - (x->made < y->made);
}

/* Renumbers nodes strip after strip of cells as wide as the range, so that who is near has a near number. */
static int number_in_strips(const struct sim_scenario *s, struct sim_position *position)
{
    int32_t cell = sim_place_range(&s->radio, s->radio.tx_mdbm - s->radio.sensitivity_mdbm);
    struct place *order = malloc(s->count * sizeof *order);
    struct sim_position *made = malloc(s->count * sizeof *made);
    int status = order == NULL || made == NULL ? -1 : 0;
    for (uint32_t i = 0; i < s->count && status == 0; i++) {
        uint64_t x = (uint64_t)((int64_t)position[i].x_mm + FARTHEST_MM) / (uint64_t)cell;
        uint64_t y = (uint64_t)((int64_t)position[i].y_mm + FARTHEST_MM) / (uint64_t)cell;
        order[i] = (struct place){x << 32 | y, i};
        made[i] = position[i];
    }
    if (status == 0)
        qsort(order, s->count, sizeof *order, compare_places);
    for (uint32_t i = 0; i < s->count && status == 0; i++)
        position[i] = made[order[i].made];
    free(order);
    free(made);
    return status;
}

/* --- all of it ------------------------------------------------------------------------------------------------------ */

int sim_place_check(const struct sim_scenario *s, char *error, size_t cap)
{
    const struct sim_topology_run *t = &s->place;
    int32_t radius;
    if (s->topology == SIM_TOPOLOGY_DISC)
        return sim_place_radius(s, &radius, error, cap);
    if (s->topology != SIM_TOPOLOGY_BUILDINGS)
        return 0;
    int64_t side = building_columns(t->buildings);
    int64_t pitch = t->street_mm + (t->width_mm > t->depth_mm ? t->width_mm : t->depth_mm);
    if (side * pitch <= FARTHEST_MM)
        return 0;
    (void)snprintf(error, cap, "buildings: they would take more than 1000 km");
    return -1;
}

int sim_place(const struct sim_scenario *s, struct sim_position *position, char *error, size_t cap)
{
    int32_t radius = 0;
    if (sim_place_check(s, error, cap) != 0)
        return -1;
    switch (s->topology) {
    case SIM_TOPOLOGY_LIST:
    case SIM_TOPOLOGY_CSV:
    case SIM_TOPOLOGY_LINE:
    case SIM_TOPOLOGY_GRID:
        for (uint32_t i = 0; i < s->count; i++) {
            if (s->node != NULL)
                position[i] = s->node[i].position;
            else
                position[i] = (struct sim_position){(int32_t)(i % s->columns) * s->spacing_mm,
                                                    (int32_t)(i / s->columns) * s->spacing_mm, 0};
        }
        return 0;
    case SIM_TOPOLOGY_DISC:
        if (sim_place_radius(s, &radius, error, cap) != 0)
            return -1;
        place_disc(s, radius, position);
        break;
    case SIM_TOPOLOGY_BUILDINGS:
        place_buildings(s, position);
        break;
    }
    if (number_in_strips(s, position) == 0)
        return 0;
    (void)snprintf(error, cap, "out of memory");
    return -1;
}
