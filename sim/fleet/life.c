/*
 * Timers of a node: `reset` of spontaneous resets, `churn` (off, and on again; also joining late), `battery` (when it
 * could be used up at the earliest). All intervals are exponential and drawn from the node's own sequence, so they do
 * not depend on what other nodes do.
 *
 * A battery is not watched: from what is left and the most that the radio can draw follows a time before which it cannot
 * be empty; that is when it is looked at again, and where little is left every BATTERY_LEAST.
 */
#include "life.h"

#include <stdio.h>
#include <stdlib.h>

#include "node.h"

#define BATTERY_LEAST MP_SECONDS(60)
#define UA_US_PER_UAH 3600000000u

struct life {
    sim_time reset_at, churn_at, battery_at; /* SIM_NEVER: not armed */
};

struct sim_lives {
    uint32_t count;
    struct life *life; /* of the nodes of this rank */
};

static bool is_lively(const struct sim_life *l)
{
    return l->reboot_every_us > 0 || l->off_every_us > 0 || l->join_within_us > 0 || l->battery_uah > 0;
}

int sim_life_open(struct sim_fleet *f, char *error, size_t cap)
{
    f->lives = NULL;
    if (f->is_load || !is_lively(&f->s->life))
        return 0;
    uint32_t count = f->field->limit - f->field->first;
    f->lives = calloc(1, sizeof *f->lives);
    if (f->lives != NULL) {
        f->lives->count = count;
        f->lives->life = malloc((count > 0 ? count : 1) * sizeof *f->lives->life);
    }
    if (f->lives == NULL || f->lives->life == NULL) {
        snprintf(error, cap, "out of memory");
        return -1;
    }
    for (uint32_t i = 0; i < count; i++)
        f->lives->life[i] = (struct life){SIM_NEVER, SIM_NEVER, SIM_NEVER};
    return 0;
}

void sim_life_close(struct sim_fleet *f)
{
    if (f->lives != NULL)
        free(f->lives->life);
    free(f->lives);
    f->lives = NULL;
}

static struct life *life_of(const struct sim_fleet *f)
{
    return &f->lives->life[f->node - f->field->first];
}

/* Time until something that happens every `mean` on average, or SIM_NEVER when it does not. */
static sim_time draw(struct sim_fleet *f, sim_time mean)
{
    if (mean == 0)
        return SIM_NEVER;
    return f->now + sim_fleet_exponential(mean, sim_engine_random(f->e, f->node));
}

/* The node is there from now on. */
static void begin(struct sim_fleet *f, struct life *l)
{
    l->reset_at = draw(f, f->s->life.reboot_every_us);
    l->churn_at = draw(f, f->s->life.off_every_us);
}

/* --- batteries ---------------------------------------------------------------------------------------------------- */

uint64_t sim_life_charge(const struct sim_energy *e, const struct sim_radio_use *use, sim_time elapsed)
{
    sim_time busy = use->tx_us + use->rx_us, idle = elapsed > busy ? elapsed - busy : 0;
    return use->tx_us * e->tx_ua + use->rx_us * e->rx_ua + idle / 1000 * e->sleep_na;
}

/* Charge left in uA us. */
static uint64_t charge_left(const struct sim_fleet *f)
{
    struct sim_radio_use use;
    uint64_t capacity = (uint64_t)f->s->life.battery_uah * UA_US_PER_UAH;
    sim_engine_radio_use(f->e, f->node, &use);
    uint64_t used = sim_life_charge(&f->s->energy, &use, f->now);
    return used < capacity ? capacity - used : 0;
}

uint8_t sim_life_battery_percent(const struct sim_fleet *f)
{
    uint64_t capacity = (uint64_t)f->s->life.battery_uah * UA_US_PER_UAH;
    return capacity == 0 ? 100 : (uint8_t)(charge_left(f) / (capacity / 100));
}

/* Looks at the battery: when to look again. SIM_NEVER: it is empty. */
static sim_time battery_look(const struct sim_fleet *f)
{
    const struct sim_energy *e = &f->s->energy;
    uint64_t left = charge_left(f), most = e->tx_ua > e->rx_ua ? e->tx_ua : e->rx_ua;
    if (left == 0)
        return SIM_NEVER;
    if (e->sleep_na / 1000 + 1u > most)
        most = e->sleep_na / 1000 + 1u;
    uint64_t wait = left / most;
    return f->now + (wait > BATTERY_LEAST ? wait : BATTERY_LEAST);
}

/* --- the calls ---------------------------------------------------------------------------------------------------- */

bool sim_life_start(struct sim_fleet *f)
{
    if (f->lives == NULL)
        return true;
    struct life *l = life_of(f);
    if (f->s->life.battery_uah > 0)
        l->battery_at = battery_look(f);
    if (f->s->life.join_within_us > 0) {
        /* microseconds up to years: two draws' worth of resolution is not needed */
        sim_time within = f->s->life.join_within_us;
        uint32_t at = sim_engine_random(f->e, f->node);
        l->churn_at = f->now + (within >> 32) * at + ((within & UINT32_MAX) * at >> 32);
        f->m->down = SIM_DOWN_CHURN;
        return false;
    }
    begin(f, l);
    return true;
}

static void churn(struct sim_fleet *f, struct life *l)
{
    if (f->m->down == SIM_DOWN_CHURN) {
        sim_node_up(f);
        begin(f, l);
    } else {
        sim_node_down(f, SIM_DOWN_CHURN);
        l->reset_at = SIM_NEVER;
        l->churn_at = draw(f, f->s->life.off_for_us > 0 ? f->s->life.off_for_us : 1);
    }
}

void sim_life_expire(struct sim_fleet *f)
{
    if (f->lives == NULL)
        return;
    struct life *l = life_of(f);
    bool is_empty = false;
    if (l->battery_at <= f->now) {
        l->battery_at = battery_look(f);
        is_empty = l->battery_at == SIM_NEVER;
        if (is_empty)
            sim_node_down(f, SIM_DOWN_BATTERY);
    }
    if (is_empty || f->m->down == SIM_DOWN_BATTERY || f->m->down == SIM_DOWN_BRICK) { /* for good */
        *l = (struct life){SIM_NEVER, SIM_NEVER, SIM_NEVER};
        return;
    }
    if (l->reset_at <= f->now) {
        l->reset_at = draw(f, f->s->life.reboot_every_us);
        if (f->m->down == 0)
            sim_node_reset(f, BOOT_CAUSE_POWER);
    }
    if (l->churn_at <= f->now)
        churn(f, l);
}

sim_time sim_life_next_expiry(const struct sim_fleet *f)
{
    if (f->lives == NULL)
        return SIM_NEVER;
    const struct life *l = life_of(f);
    sim_time next = l->reset_at < l->churn_at ? l->reset_at : l->churn_at;
    return next < l->battery_at ? next : l->battery_at;
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

int sim_life_save(struct sim_fleet *f, struct sim_archive *a)
{
    uint32_t count = f->lives != NULL ? f->lives->count : 0;
    sim_archive_section(a, "LIFE");
    sim_archive_put_count(a, count);
    return count > 0 ? sim_archive_put(a, f->lives->life, count * sizeof *f->lives->life) : -(int)sim_archive_failed(a);
}

int sim_life_load(struct sim_fleet *f, struct sim_archive *a)
{
    uint32_t expected = f->lives != NULL ? f->lives->count : 0;
    uint64_t count = 0;
    sim_archive_section(a, "LIFE");
    if (sim_archive_get_count(a, &count, expected) != 0)
        return -1;
    if (count != expected)
        return sim_archive_fail(a, "another number of nodes with a life of their own");
    return count > 0 ? sim_archive_get(a, f->lives->life, (size_t)count * sizeof *f->lives->life) : 0;
}
