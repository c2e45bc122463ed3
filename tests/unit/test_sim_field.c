/* Field: positions, links, ranks and hops, against brute force and figures worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/field/field.h"
#include "sim/field/place.h"
#include "sim/world/scenario_csv.h"

struct world {
    struct sim_scenario s;
    struct sim_field f;
};

static void scenario(struct sim_scenario *s, const char *text)
{
    char error[512] = "";
    if (sim_scenario_parse(s, "x.ini", text, strlen(text), error, sizeof error) != 0)
        fail_msg("%s", error);
}

static void open_rank(struct world *w, const char *text, unsigned rank, unsigned ranks)
{
    char error[512] = "";
    scenario(&w->s, text);
    if (sim_field_open(&w->f, &w->s, rank, ranks, error, sizeof error) != 0)
        fail_msg("%s", error);
}

static void open_world(struct world *w, const char *text)
{
    open_rank(w, text, 0, 1);
}

static void close_world(struct world *w)
{
    sim_field_close(&w->f);
    sim_scenario_free(&w->s);
}

/* Loss of the link from a to b in units of 1/16 dB, or -1. Lists must be ascending and without the node itself. */
static int link_of(const struct sim_field *f, uint32_t a, uint32_t b)
{
    uint32_t count;
    const struct sim_link *link = sim_field_links(f, a, &count);
    int found = -1;
    for (uint32_t i = 0; i < count; i++) {
        assert_true(link[i].node != a && link[i].node < f->count);
        assert_true(i == 0 || link[i].node > link[i - 1].node);
        if (link[i].node == b)
            found = (int)link[i].loss;
    }
    return found;
}

static int64_t square_mm(const struct sim_field *f, uint32_t a, uint32_t b)
{
    int64_t dx = f->position[a].x_mm - f->position[b].x_mm, dy = f->position[a].y_mm - f->position[b].y_mm;
    int64_t dz = f->position[a].z_mm - f->position[b].z_mm;
    return dx * dx + dy * dy + dz * dz;
}

/* Every pair, against the model itself; the search ends at the range. */
static void check_links(const struct sim_field *f)
{
    const struct sim_radio *r = &f->scenario->radio;
    uint32_t links = 0;
    for (uint32_t a = 0; a < f->count; a++) {
        for (uint32_t b = 0; b < f->count; b++) {
            int32_t loss = sim_field_loss(f, a, b);
            bool is_own = b >= f->first && b < f->limit;
            bool couples = a != b && is_own && loss != SIM_LOSS_NONE && r->tx_mdbm - loss >= r->sensitivity_mdbm &&
                           square_mm(f, a, b) <= (int64_t)f->range_mm * f->range_mm;
            int unit = link_of(f, a, b);
            if (couples != (unit >= 0))
                fail_msg("%u to %u: loss %d, link %d", a, b, loss, unit);
            if (couples && unit != (loss > 0 ? loss * 16 / 1000 : 0))
                fail_msg("%u to %u: loss %d, link %d", a, b, loss, unit);
            assert_true(!couples || sim_field_loss(f, b, a) == loss);
            links += couples;
        }
    }
    assert_int_equal(links, f->link_count);
}

static void line_and_grid_are_as_written(void **state)
{
    (void)state;
    struct world w;
    /* 100 m is the range of the default radio */
    open_world(&w, "[topology]\nkind = line\nnodes = 5\nspacing = 99 m\nfirst = gw\n");
    assert_int_equal(w.f.link_count, 8);
    assert_int_equal(link_of(&w.f, 2, 1), link_of(&w.f, 2, 3));
    assert_int_equal(w.f.position[4].x_mm, 396000);
    check_links(&w.f);
    uint32_t zero = 0;
    uint16_t hops[5];
    uint32_t nearest[5];
    assert_int_equal(sim_field_hops(&w.f, &zero, 1, hops, nearest), 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(hops[i], i);
        assert_int_equal(nearest[i], 0);
    }
    close_world(&w);

    open_world(&w, "[topology]\nkind = grid\ncolumns = 4\nrows = 3\nreach = neighbours\nlink_loss = 61.5 dB\n");
    /* 4 corners of 3, 6 on edges of 5, 2 inside of 8 */
    assert_int_equal(w.f.link_count, 4 * 3 + 6 * 5 + 2 * 8);
    assert_int_equal(link_of(&w.f, 5, 10), 61 * 16 + 8);
    assert_int_equal(link_of(&w.f, 3, 4), -1);
    assert_int_equal(SIM_LINK_MDB(*w.f.link), 61500);
    check_links(&w.f);
    close_world(&w);

    /* a loss beyond the sensitivity couples nobody */
    open_world(&w, "[topology]\nkind = grid\ncolumns = 4\nrows = 3\nreach = neighbours\nlink_loss = 94.1 dB\n");
    assert_int_equal(w.f.link_count, 0);
    check_links(&w.f);
    close_world(&w);
    /* one node */
    open_world(&w, "[topology]\nkind = line\nnodes = 1\n");
    assert_int_equal(w.f.link_count, 0);
    assert_int_equal(w.f.gateway[0], 0);
    close_world(&w);
}

static void explicit_links_override(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "[topology]\nkind = line\nnodes = 6\nspacing = 99 m\n"
                   "[link n0 n1]\nloss = none\n[link n0 n5]\nloss = 80 dB\n[link n2 n3]\nloss = 95 dB\n"
                   "[link n3 n4]\nloss = 50 dB\n");
    assert_int_equal(link_of(&w.f, 0, 1), -1);
    assert_int_equal(link_of(&w.f, 5, 0), 80 * 16);
    assert_int_equal(link_of(&w.f, 3, 2), -1);
    assert_int_equal(link_of(&w.f, 3, 4), 50 * 16);
    assert_int_equal(link_of(&w.f, 0, 2), -1);
    assert_true(w.f.range_mm >= 495000 && w.f.interference_mm >= 495000);
    check_links(&w.f);
    close_world(&w);
    open_world(&w, "[topology]\nkind = line\nnodes = 4\nreach = neighbours\n[link n0 n3]\nloss = 70 dB\n"
                   "[link n1 n2]\nloss = none\n");
    assert_int_equal(w.f.link_count, 6);
    check_links(&w.f);
    close_world(&w);
    open_world(&w,
               "[node a]\nposition = 0 m, 0 m\n[node b]\nposition = 1 km, 0 m\n[node c]\nposition = 1.01 km, 0 m, 5 "
               "m\n[link a c]\nloss = 70 dB\n");
    assert_int_equal(w.f.link_count, 4);
    check_links(&w.f);
    close_world(&w);
}

static void links_match_brute_force(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "[topology]\nkind = disc\nnodes = 300\ndegree = 12\n",
        "[topology]\nkind = disc\nnodes = 300\nradius = 300 m\n[radio]\nshadowing = 5 dB\n",
        "[topology]\nkind = buildings\nnodes = 300\nbuildings = 5\nfloors = 3\n[link n5 n250]\nloss = 60 dB\n",
        "[topology]\nkind = grid\ncolumns = 20\nrows = 15\nspacing = 31 m\n[node n7]\nposition = 5 m, 5 m, 5 m\n",
        "[topology]\nkind = disc\nnodes = 200\nradius = 40 m\n[radio]\nsensitivity = -30 dBm\n",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct world w;
        open_world(&w, TEXTS[i]);
        check_links(&w.f);
        for (uint32_t a = 0; a < w.f.count; a++) {
            uint32_t count;
            const struct sim_link *link = sim_field_links(&w.f, a, &count);
            for (uint32_t j = 0; j < count; j++)
                assert_int_equal(link_of(&w.f, link[j].node, a), link[j].loss);
        }
        close_world(&w);
    }
}

/* Mean over seeds of the mean number of others in range. */
static double degree(uint32_t nodes, const char *wanted, unsigned seeds)
{
    double sum = 0;
    for (unsigned seed = 1; seed <= seeds; seed++) {
        char text[200];
        struct world w;
        (void)snprintf(text, sizeof text, "[scenario]\nseed = %u\n[topology]\nkind = disc\nnodes = %u\ndegree = %s\n",
                       seed, nodes, wanted);
        open_world(&w, text);
        sum += (double)w.f.link_count / nodes / seeds;
        close_world(&w);
    }
    return sum;
}

static void disc_has_its_degree(void **state)
{
    (void)state;
    assert_float_equal(degree(20000, "20", 1), 20, 0.5);
    assert_float_equal(degree(1000, "20", 10), 20, 0.6);
    assert_float_equal(degree(100, "20", 40), 20, 0.8);
    assert_float_equal(degree(1000, "5.5", 10), 5.5, 0.2);
    assert_float_equal(degree(50, "30", 40), 30, 1.2);
    assert_float_equal(degree(10, "9", 5), 9, 0.001);
    assert_float_equal(degree(2, "0.5", 400), 0.5, 0.08);
}

/* A strip follows another: the numbers of linked nodes are near each other. */
static void numbers_keep_neighbours_close(void **state)
{
    (void)state;
    struct world w;
    uint64_t sum = 0;
    open_world(&w, "[topology]\nkind = disc\nnodes = 20000\ndegree = 20\n");
    for (uint32_t a = 0; a < w.f.count; a++) {
        uint32_t count;
        const struct sim_link *link = sim_field_links(&w.f, a, &count);
        for (uint32_t i = 0; i < count; i++)
            sum += link[i].node > a ? link[i].node - a : a - link[i].node;
    }
    /* a strip has about 20000 / 56 nodes */
    assert_true(sum / w.f.link_count < 400);
    close_world(&w);
}

static void buildings_have_floors_and_walls(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "[topology]\nkind = buildings\nnodes = 40\nbuildings = 2\nfloors = 4\nwidth = 10 m\ndepth = 8 m\n"
                   "street = 5 m\nfloor_height = 3 m\nfloor_loss = 12 dB\nwall_loss = 7 dB\n");
    unsigned on[2][4] = {{0}};
    for (uint32_t i = 0; i < w.f.count; i++) {
        const struct sim_position *at = &w.f.position[i];
        assert_in_range(at->x_mm % 15000, 0, 9999);
        assert_in_range(at->y_mm, 0, 7999);
        on[at->x_mm / 15000][at->z_mm / 3000]++;
    }
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(on[i / 4][i % 4], 5);
    for (uint32_t a = 0; a < w.f.count; a++) {
        for (uint32_t b = 0; b < w.f.count; b++) {
            const struct sim_position *pa = &w.f.position[a], *pb = &w.f.position[b];
            if (a == b)
                continue;
            int floors = abs(pa->z_mm / 3000 - pb->z_mm / 3000), walls = pa->x_mm / 15000 != pb->x_mm / 15000 ? 2 : 0;
            int32_t expected = sim_path_loss_mdb(&w.s.radio, pa, pb) + floors * 12000 + walls * 7000;
            assert_int_equal(sim_field_loss(&w.f, a, b), expected);
        }
    }
    close_world(&w);
}

/* --- gateways and hops ---------------------------------------------------------------------------------------------- */

static void gateways_share_the_area(void **state)
{
    (void)state;
    struct world w;
    uint32_t gateway[64];
    open_world(&w, "[topology]\nkind = disc\nnodes = 4000\ndegree = 20\n[fleet]\ngateways = 64\ncanaries = 0\n");
    assert_int_equal(sim_field_gateways(&w.f, gateway, 64), 64);
    uint16_t *hops = calloc(4000, sizeof *hops);
    uint32_t *nearest = calloc(4000, sizeof *nearest), served[64] = {0};
    assert_int_equal(sim_field_hops(&w.f, gateway, 64, hops, nearest), 0);
    for (uint32_t i = 0; i < 4000; i++) {
        assert_in_range(hops[i], 0, 4);
        for (unsigned g = 0; g < 64; g++)
            served[g] += nearest[i] == gateway[g];
    }
    for (unsigned g = 0; g < 64; g++) {
        assert_true(g == 0 || gateway[g] > gateway[g - 1]);
        assert_in_range(served[g], 25, 140); /* 62 on average */
    }
    /* only as many as there is room for */
    uint32_t few[2] = {9, 9};
    assert_int_equal(sim_field_gateways(&w.f, few, 1), 64);
    assert_int_equal(few[0], gateway[0]);
    assert_int_equal(few[1], 9);
    free(hops);
    free(nearest);
    close_world(&w);

    open_world(&w, "[topology]\nkind = line\nnodes = 9\n[fleet]\ngateways = 3\n");
    assert_int_equal(sim_field_gateways(&w.f, gateway, 64), 3);
    assert_int_equal(gateway[0], 0);
    assert_int_equal(gateway[1], 4);
    assert_int_equal(gateway[2], 7);
    close_world(&w);
    open_world(&w, "[topology]\nkind = grid\ncolumns = 5\nrows = 5\n[fleet]\ngateways = 25\ncanaries = 0\n");
    for (uint32_t i = 0; i < 25; i++)
        assert_int_equal(w.f.gateway[i], i);
    close_world(&w);
    /* one in every building */
    open_world(&w, "[topology]\nkind = buildings\nnodes = 600\nbuildings = 12\n[fleet]\ngateways = 12\n");
    unsigned in[12] = {0};
    for (uint32_t i = 0; i < 12; i++) {
        const struct sim_position *g = &w.f.position[w.f.gateway[i]];
        in[g->x_mm / 80000 + g->y_mm / 50000 * 4]++;
        assert_in_range(g->x_mm % 80000, 20000, 40000);
    }
    for (uint32_t i = 0; i < 12; i++)
        assert_int_equal(in[i], 1);
    close_world(&w);
    open_world(&w, "[topology]\nkind = disc\nnodes = 500\nradius = 100 m\n");
    const struct sim_position *at = &w.f.position[w.f.gateway[0]];
    assert_true(abs(at->x_mm) < 15000 && abs(at->y_mm) < 15000);
    close_world(&w);
}

static void hops_name_who_is_not_reached(void **state)
{
    (void)state;
    struct world w;
    const uint32_t from[] = {4, 1, 4};
    uint16_t hops[6];
    uint32_t nearest[6];
    open_world(&w, "[topology]\nkind = line\nnodes = 6\nspacing = 90 m\n[node n5]\nposition = 9 km, 0 m\n");
    assert_int_equal(sim_field_hops(&w.f, from, 3, hops, nearest), 0);
    const uint16_t expected[] = {1, 0, 1, 1, 0, UINT16_MAX};
    const uint32_t expected_nearest[] = {1, 1, 1, 4, 4, UINT32_MAX};
    assert_memory_equal(hops, expected, sizeof hops);
    assert_memory_equal(nearest, expected_nearest, sizeof nearest);
    assert_int_equal(sim_field_hops(&w.f, from, 3, NULL, nearest), 0);
    assert_int_equal(sim_field_hops(&w.f, from, 3, hops, NULL), 0);
    assert_int_equal(hops[5], UINT16_MAX);
    close_world(&w);
}

/* --- ranks ---------------------------------------------------------------------------------------------------------- */

static void check_ranks(const char *text, unsigned ranks)
{
    struct world one, w[8];
    uint32_t links = 0;
    open_world(&one, text);
    assert_null(one.f.halo_mask);
    for (unsigned r = 0; r < ranks; r++) {
        open_rank(&w[r], text, r, ranks);
        assert_memory_equal(w[r].f.position, one.f.position, one.f.count * sizeof *one.f.position);
        assert_memory_equal(w[r].f.rank_first, w[0].f.rank_first, (ranks + 1u) * sizeof(uint32_t));
        assert_memory_equal(w[r].f.halo_mask, w[0].f.halo_mask, one.f.count * sizeof(uint64_t));
        assert_memory_equal(w[r].f.gateway, one.f.gateway, one.f.gateway_count * sizeof(uint32_t));
        assert_int_equal(w[r].f.first, r == 0 ? 0 : w[r - 1].f.limit);
        assert_in_range(w[r].f.limit - w[r].f.first, one.f.count / ranks, one.f.count / ranks + 1);
        links += w[r].f.link_count;
    }
    assert_int_equal(w[ranks - 1].f.limit, one.f.count);
    assert_int_equal(links, one.f.link_count);
    for (uint32_t a = 0; a < one.f.count; a++) {
        uint64_t disturbs = 0;
        unsigned owner = 0;
        while (a >= w[owner].f.limit)
            owner++;
        for (uint32_t b = 0; b < one.f.count; b++) {
            unsigned r = 0;
            while (b >= w[r].f.limit)
                r++;
            int unit = link_of(&one.f, a, b);
            assert_int_equal(link_of(&w[r].f, a, b), unit);
            int64_t limit = one.f.interference_mm;
            bool is_near = square_mm(&one.f, a, b) <= limit * limit;
            assert_true(unit < 0 || is_near);
            if (is_near && r != owner)
                disturbs |= UINT64_C(1) << r;
        }
        if (disturbs != w[0].f.halo_mask[a])
            fail_msg("node %u: mask %llx, not %llx", a, (unsigned long long)w[0].f.halo_mask[a],
                     (unsigned long long)disturbs);
    }
    /* all links are made for hops, whatever the rank has */
    uint16_t *hops = calloc(one.f.count, sizeof *hops), *other = calloc(one.f.count, sizeof *other);
    assert_int_equal(sim_field_hops(&one.f, one.f.gateway, one.f.gateway_count, hops, NULL), 0);
    assert_int_equal(sim_field_hops(&w[1].f, one.f.gateway, one.f.gateway_count, other, NULL), 0);
    assert_memory_equal(hops, other, one.f.count * sizeof *hops);
    free(hops);
    free(other);
    for (unsigned r = 0; r < ranks; r++)
        close_world(&w[r]);
    close_world(&one);
}

static void ranks_cover_everything(void **state)
{
    (void)state;
    check_ranks("[topology]\nkind = disc\nnodes = 500\ndegree = 6\n", 4);
    check_ranks("[topology]\nkind = disc\nnodes = 301\ndegree = 20\n[radio]\nshadowing = 4 dB\n", 3);
    check_ranks("[topology]\nkind = grid\ncolumns = 12\nrows = 20\nreach = neighbours\n[link n0 n200]\nloss = 60 dB\n",
                8);
    check_ranks("[topology]\nkind = buildings\nnodes = 200\nbuildings = 9\n[fleet]\ngateways = 4\n", 2);
    check_ranks("[topology]\nkind = line\nnodes = 8\nspacing = 70 m\n", 8);
}

static void what_cannot_be_opened_is_said(void **state)
{
    (void)state;
    struct sim_scenario s;
    struct sim_field f;
    char error[256] = "";
    scenario(&s, "[topology]\nkind = line\nnodes = 4\n");
    assert_int_equal(sim_field_open(&f, &s, 0, 5, error, sizeof error), -1);
    assert_string_equal(error, "5 ranks: must be 1 to 64, and no more than the 4 nodes");
    sim_field_close(&f);
    assert_int_equal(sim_field_open(&f, &s, 2, 2, error, sizeof error), -1);
    sim_field_close(&f);
    sim_scenario_free(&s);
    scenario(&s, "[topology]\nkind = disc\nnodes = 1000000\nradius = 1 m\n");
    assert_int_equal(sim_field_open(&f, &s, 0, 1, error, sizeof error), -1);
    assert_non_null(strstr(error, "too dense: a node would have about"));
    sim_field_close(&f);
    sim_scenario_free(&s);
}

/* Same seed, same field; another seed, another. */
static void seed_decides(void **state)
{
    (void)state;
    struct world a, b;
    const char *text = "[topology]\nkind = disc\nnodes = 800\n[radio]\nshadowing = 3 dB\n";
    open_world(&a, text);
    open_world(&b, text);
    assert_int_equal(a.f.link_count, b.f.link_count);
    assert_memory_equal(a.f.link, b.f.link, a.f.link_count * sizeof *a.f.link);
    assert_memory_equal(a.f.position, b.f.position, 800 * sizeof *a.f.position);
    /* what live places devices by */
    for (uint32_t i = 0; i < 800; i++)
        assert_memory_equal(&a.s.node[i].position, &a.f.position[i], sizeof *a.f.position);
    sim_field_close(&b.f);
    assert_int_equal(sim_scenario_reseed(&b.s, 77), 0);
    char error[256];
    assert_int_equal(sim_field_open(&b.f, &b.s, 0, 1, error, sizeof error), 0);
    assert_memory_not_equal(a.f.position, b.f.position, 800 * sizeof *a.f.position);
    for (uint32_t i = 0; i < 800; i++)
        assert_memory_equal(&b.s.node[i].position, &b.f.position[i], sizeof *b.f.position);
    close_world(&a);
    close_world(&b);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "[topology]\nkind = disc\nnodes = 50000\ndegree = 20\n[fleet]\ngateways = 50\n");
    assert_true(sim_field_bytes(&w.f) / w.f.count <= 104);
    assert_null(w.s.node);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_and_grid_are_as_written),
        cmocka_unit_test(explicit_links_override),
        cmocka_unit_test(links_match_brute_force),
        cmocka_unit_test(disc_has_its_degree),
        cmocka_unit_test(numbers_keep_neighbours_close),
        cmocka_unit_test(buildings_have_floors_and_walls),
        cmocka_unit_test(gateways_share_the_area),
        cmocka_unit_test(hops_name_who_is_not_reached),
        cmocka_unit_test(ranks_cover_everything),
        cmocka_unit_test(what_cannot_be_opened_is_said),
        cmocka_unit_test(seed_decides),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests_name("sim_field", tests, NULL, NULL);
}
