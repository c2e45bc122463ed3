/* What the engine tells: rows, sums, summaries, errors, and its configuration; and its checkpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

/* --- rows and sums ------------------------------------------------------------------------------------------------- */

void sim_engine_tell(struct sim_engine *e, uint32_t node, sim_time now, enum sim_row_kind kind, uint32_t a, uint32_t b,
                     const char *text)
{
    const struct sim_row row = {.at = now, .node = node, .kind = kind, .a = a, .b = b};
    if (kind < SIM_ROW_KIND_COUNT)
        e->told[kind]++;
    uint64_t who = sim_mix((uint64_t)node << 32 | (uint32_t)kind);
    sim_digest(e, sim_mix(now ^ who) + sim_mix(((uint64_t)a << 32 | b) + who * 3));
    if (e->hooks.row != NULL)
        e->hooks.row(e->hooks.ctx, &row);
    if (text != NULL && e->hooks.say != NULL)
        e->hooks.say(e->hooks.ctx, &row, text);
}

uint64_t sim_engine_told(const struct sim_engine *e, enum sim_row_kind kind)
{
    return e->told[kind];
}

void sim_engine_outcome(struct sim_engine *e, const struct sim_tx *tx, uint32_t to, enum sim_outcome outcome)
{
    sim_count_outcome(e, sim_tx_key(tx), to, outcome);
}

_Static_assert(sizeof(struct sim_totals) % sizeof(uint64_t) == 0, "sums are a row of 64-bit numbers");

void sim_engine_totals(struct sim_engine *e, struct sim_totals *totals)
{
    uint64_t sum[sizeof *totals / sizeof(uint64_t)];
    memcpy(sum, &e->totals, sizeof sum);
    if (e->ranks > 1)
        sim_parallel_sum(sum, sizeof sum / sizeof sum[0]);
    memcpy(totals, sum, sizeof sum);
}

void sim_engine_finish(struct sim_engine *e)
{
    if (e->stack->finish != NULL)
        e->stack->finish(e->stack_ctx, e->now);
}

/* Energy of the radio: microamperes times microseconds is picocoulombs, times millivolts femtojoules. Split so that a
 * year at tens of milliamperes fits. */
static uint64_t energy_uj(const struct sim_engine *e, const struct sim_radio_use *use)
{
    const struct sim_energy *k = &e->scenario->energy;
    uint64_t active = use->tx_us + use->rx_us, sleep = e->now > active ? e->now - active : 0;
    uint64_t pc = use->tx_us * k->tx_ua + use->rx_us * k->rx_ua + sleep * k->sleep_na / 1000;
    return pc / 1000000 * k->voltage_mv / 1000 + pc % 1000000 * k->voltage_mv / 1000000000;
}

void sim_engine_summarise(struct sim_engine *e, struct sim_node_summary *summary)
{
    struct sim_radio_use use;
    sim_engine_radio_use(e, summary->node, &use);
    summary->frames = use.frames;
    summary->tx_us = use.tx_us;
    summary->rx_us = use.rx_us;
    summary->energy_uj = energy_uj(e, &use);
    if (e->hooks.summary != NULL)
        e->hooks.summary(e->hooks.ctx, summary);
}

void sim_engine_radio_use(const struct sim_engine *e, uint32_t node, struct sim_radio_use *use)
{
    e->phy->use(e->phy_ctx, node, e->now, use);
    use->frames = e->frames[node - e->first];
}

bool sim_engine_is_traced(const struct sim_engine *e)
{
    return e->hooks.sent != NULL;
}

void sim_engine_sent(struct sim_engine *e, const struct sim_sent *sent)
{
    if (e->hooks.sent != NULL)
        e->hooks.sent(e->hooks.ctx, sent);
}

void sim_engine_fail(struct sim_engine *e, const char *why)
{
    if (!e->has_failed)
        (void)snprintf(e->error, sizeof e->error, "%s", why);
    e->has_failed = true;
}

const char *sim_engine_error(const struct sim_engine *e)
{
    return e->error;
}

const struct sim_scenario *sim_engine_scenario(const struct sim_engine *e)
{
    return e->scenario;
}

const struct sim_field *sim_engine_field(const struct sim_engine *e)
{
    return e->field;
}

uint64_t sim_engine_seed(const struct sim_engine *e)
{
    return e->seed;
}

sim_time sim_engine_now(const struct sim_engine *e)
{
    return e->now;
}

sim_time sim_engine_next(const struct sim_engine *e)
{
    return e->next;
}

sim_time sim_engine_lookahead(const struct sim_engine *e)
{
    return e->lookahead;
}

void *sim_engine_stack_ctx(struct sim_engine *e)
{
    return e->stack_ctx;
}

size_t sim_engine_bytes(const struct sim_engine *e)
{
    size_t own = (size_t)(e->limit - e->first) * (sizeof *e->host + sizeof *e->frames + sizeof *e->draws);
    return sizeof *e + own + sim_queue_bytes(e->queue) + sim_air_bytes(e) + e->phy->bytes(e->phy_ctx);
}

/* --- checkpoint ---------------------------------------------------------------------------------------------------- */

static void save_mail(const struct sim_engine *e, struct sim_archive *a)
{
    (void)sim_archive_section(a, "MAIL");
    (void)sim_archive_put_count(a, e->mail_order);
    (void)sim_archive_put_count(a, e->mails);
    for (size_t i = 0; i < e->mails; i++) {
        const struct sim_mail *m = &e->mail[i];
        (void)sim_archive_put_count(a, m->at);
        (void)sim_archive_put_count(a, m->to);
        (void)sim_archive_put_count(a, m->from);
        (void)sim_archive_put_count(a, m->order);
        (void)sim_archive_put_count(a, m->len);
        (void)sim_archive_put(a, m->data, m->len);
    }
}

static int load_mail(struct sim_engine *e, struct sim_archive *a)
{
    uint64_t n, at, to, from, order, len;
    uint8_t data[1024];
    while (e->mails > 0)
        free(e->mail[--e->mails].data);
    if (sim_archive_section(a, "MAIL") != 0 || sim_archive_get_count(a, &e->mail_order, UINT64_MAX) != 0 ||
        sim_archive_get_count(a, &n, UINT32_MAX) != 0)
        return -1;
    for (uint64_t i = 0; i < n; i++) {
        if (sim_archive_get_count(a, &at, UINT64_MAX) != 0 || sim_archive_get_count(a, &to, e->limit - 1) != 0 ||
            sim_archive_get_count(a, &from, e->field->count - 1) != 0 ||
            sim_archive_get_count(a, &order, UINT64_MAX) != 0 || sim_archive_get_count(a, &len, sizeof data) != 0 ||
            sim_archive_get(a, data, (size_t)len) != 0)
            return -1;
        if (to < e->first)
            return sim_archive_fail(a, "mail in the checkpoint is for another rank");
        const struct sim_mail mail = {
            .at = at, .to = (uint32_t)to, .from = (uint32_t)from, .order = order, .len = (uint32_t)len, .data = data};
        sim_engine_put_mail(e, &mail);
    }
    return e->has_failed ? sim_archive_fail(a, e->error) : 0;
}

/* What must agree for a checkpoint to fit this engine. */
struct identity {
    uint64_t seed, lookahead;
    uint32_t first, limit, count, ranks;
};

static struct identity identity_of(const struct sim_engine *e)
{
    struct identity id;
    memset(&id, 0, sizeof id);
    id.seed = e->seed;
    id.lookahead = e->lookahead;
    id.first = e->first;
    id.limit = e->limit;
    id.count = e->field->count;
    id.ranks = e->ranks;
    return id;
}

int sim_engine_save(struct sim_engine *e, struct sim_archive *a)
{
    const struct identity id = identity_of(e);
    size_t own = e->limit - e->first;
    sim_engine_give_back(e);
    (void)sim_archive_section(a, "ENGI");
    (void)sim_archive_put(a, &id, sizeof id);
    (void)sim_archive_put_count(a, e->now);
    (void)sim_archive_put(a, &e->totals, sizeof e->totals);
    (void)sim_archive_put(a, e->told, sizeof e->told);
    (void)sim_archive_put(a, e->host, own * sizeof *e->host);
    (void)sim_archive_put(a, e->frames, own * sizeof *e->frames);
    (void)sim_archive_put(a, e->draws, own * sizeof *e->draws);
    save_mail(e, a);
    (void)sim_air_save(e, a);
    (void)sim_archive_section(a, "RADI");
    if (e->phy->save(e->phy_ctx, a) != 0 || sim_queue_save(e->queue, a) != 0)
        return -1;
    if (e->stack->save == NULL)
        return sim_archive_fail(a, "what runs on the nodes cannot be saved");
    return e->stack->save(e->stack_ctx, a) != 0 || sim_archive_failed(a) ? -1 : 0;
}

int sim_engine_load(struct sim_engine *e, struct sim_archive *a)
{
    const struct identity own_id = identity_of(e);
    struct identity id;
    size_t own = e->limit - e->first;
    if (sim_archive_section(a, "ENGI") != 0 || sim_archive_get(a, &id, sizeof id) != 0)
        return -1;
    if (memcmp(&id, &own_id, sizeof id) != 0)
        return sim_archive_fail(a, "the checkpoint is of another world, seed or number of ranks");
    if (sim_archive_get_count(a, &e->now, SIM_NEVER - 1) != 0 ||
        sim_archive_get(a, &e->totals, sizeof e->totals) != 0 || sim_archive_get(a, e->told, sizeof e->told) != 0 ||
        sim_archive_get(a, e->host, own * sizeof *e->host) != 0 ||
        sim_archive_get(a, e->frames, own * sizeof *e->frames) != 0 ||
        sim_archive_get(a, e->draws, own * sizeof *e->draws) != 0)
        return -1;
    /* the queue comes last: it has the events of the mail already */
    e->ahead.count = 0;
    if (load_mail(e, a) != 0 || sim_air_load(e, a) != 0 || sim_archive_section(a, "RADI") != 0 ||
        e->phy->load(e->phy_ctx, a) != 0 || sim_queue_load(e->queue, a) != 0)
        return -1;
    if (e->stack->load == NULL)
        return sim_archive_fail(a, "what runs on the nodes cannot be loaded");
    return e->stack->load(e->stack_ctx, a) != 0 || sim_archive_failed(a) ? -1 : 0;
}
