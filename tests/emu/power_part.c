#include "power_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/nrf51/part.h"
#include "node-fw/store/objects.h"
#include "node-fw/store/store.h"
#include "proto/object/manifest.h"

#define MODEL 2u
#define NVMC_CONFIG                                                                                                    \
    0x4001E504u /* nRF51 Series Reference Manual 3.0, chapter 6: written before and after each operation */
#define POLICY "confirm=25 stage-deadline=900; all: share=100% soak=1 deadline=600 max-failures=any"

enum { HITS_MAX = 40, STEPS_MAX = 12, HIT_MS = 1500, BOOTS_S = 120, SETTLES_S = 400, ARMED_S = 60 };
enum { WORDS = BOOT_RECORD_SIZE / 4 }; /* writes of an append */

/* One part, and what is foretold of it. */
struct player {
    struct fleet_part *part;
    double due;     /* looked at again; struck if its phase has a reset left */
    unsigned armed; /* struck at so many writes to the boot record from now; 0: not waiting for any */
    double disarm;  /* waits no longer */
    bool is_struck; /* reset, its boot not seen yet */
    double deadline;
    unsigned own; /* resets by itself, when it was struck */
    struct boot_record before;
    struct boot_choice choice;
    unsigned left[POWER_PHASES]; /* resets in this cycle */
    bool settled;
};

struct power {
    struct fleet *f;
    const struct power_options *options;
    struct power_result *result;
    struct player player[POWER_PARTS_MAX];
    uint32_t random;
    unsigned release; /* newest */
    unsigned base;    /* the one that the parts go back to */
    bool is_kept;     /* this cycle's release becomes the base */
    uint8_t id[8];    /* of its manifest */
    bool is_reverting;
    double end;
};

static const char *const phase_names[POWER_PHASES] = {"download", "activation", "trial", "revert", "rest"};

/* xorshift32 (Marsaglia, "Xorshift RNGs", 2003): below n. */
static uint32_t draw(struct power *w, uint32_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 17;
    w->random ^= w->random << 5;
    return (w->random >> 3) % n;
}

/* --- looking at flash ----------------------------------------------------------------------------------------------- */

/* Whether the slot holds a whole image; its release. */
static bool is_whole(const struct nf_flash *flash, unsigned slot, const struct boot_record *r, unsigned *release,
                     uint8_t id[8])
{
    struct boot_image image;
    if (boot_image_open(&image, flash, part_flash_layout(), slot, crypto_sodium(), NULL) != 0 ||
        image.manifest.security_counter < r->floor || boot_image_verify(&image, crypto_sodium()) != 0)
        return false;
    *release = image.manifest.release;
    memcpy(id, image.id, 8);
    return true;
}

/* A cell of the boot record that is neither blank nor a record: its append was cut. */
static bool is_torn(const uint8_t cell[BOOT_RECORD_SIZE])
{
    struct boot_record r;
    uint8_t ones = 0xFF;
    for (uint32_t i = 0; i < BOOT_RECORD_SIZE; i++)
        ones &= cell[i];
    return ones != 0xFF && boot_record_get(&r, cell) != 0;
}

/* The append after the newest record was cut. */
static bool has_torn_append(const uint8_t *image, const struct boot_record *newest)
{
    for (uint32_t at = NRF51_BOOT_RECORD; at + BOOT_RECORD_SIZE < NRF51_SETTINGS; at += BOOT_RECORD_SIZE) {
        struct boot_record r;
        if (boot_record_get(&r, image + at) == 0 && r.sequence == newest->sequence)
            return is_torn(image + at + BOOT_RECORD_SIZE);
    }
    return false;
}

/* The image of the update, or of the way back, is there; it waits for its trial. */
static bool is_staged(const struct power *w, const struct nf_flash *flash, const struct boot_record *r)
{
    uint8_t seal[MP_MANIFEST_SIZE], id[8];
    if (r->state != BOOT_CONFIRMED || boot_image_seal(flash, part_flash_layout(), r->home ^ 1u, seal) != 0)
        return false;
    mp_manifest_id(crypto_sodium(), seal, id);
    return (memcmp(id, w->id, sizeof id) == 0) != w->is_reverting;
}

static enum power_phase phase_of(const struct power *w, const uint8_t *image, const struct nf_flash *flash,
                                 struct boot_record *r)
{
    struct nf_objects log;
    uint8_t fetch[MP_RECORD_MAX];
    if (boot_read(flash, part_flash_layout(), r) != 0)
        return POWER_REST;
    switch ((enum boot_state)r->state) {
    case BOOT_PENDING:
        return (r->flags & BOOT_FLAG_REVERT) != 0 ? POWER_REVERT : POWER_ACTIVATION;
    case BOOT_TRIAL:
        return (r->flags & BOOT_FLAG_REVERT) != 0 ? POWER_REVERT : POWER_TRIAL;
    case BOOT_CONFIRMED:
        if (is_staged(w, flash, r)) /* what was being written is the request for a trial */
            return !has_torn_append(image, r) ? POWER_REST : w->is_reverting ? POWER_REVERT : POWER_ACTIVATION;
        return nf_objects_mount(&log, flash, part_flash_layout()) == 0 &&
                       nf_objects_get(&log, NF_KIND_FETCH, 0, fetch, sizeof fetch) > 0
                   ? POWER_DOWNLOAD
                   : POWER_REST;
    case BOOT_NONE:
        break;
    }
    return POWER_REST;
}

/* The record of this sequence, wherever it lies. */
static bool find_record(const uint8_t *pages, uint32_t sequence, struct boot_record *r)
{
    for (uint32_t at = 0; at < NRF51_SETTINGS - NRF51_BOOT_RECORD; at += BOOT_RECORD_SIZE)
        if (boot_record_get(r, pages + at) == 0 && r->sequence == sequence)
            return true;
    return false;
}

static bool same_record(const struct boot_record *a, const struct boot_record *b)
{
    uint8_t x[BOOT_RECORD_SIZE], y[BOOT_RECORD_SIZE];
    boot_record_put(x, a);
    boot_record_put(y, b);
    return memcmp(x, y, sizeof x) == 0;
}

/* --- foretelling a boot ---------------------------------------------------------------------------------------------- */

static int accept(void *ctx, const uint8_t *manifest)
{
    return nf_store_accept(ctx, part_flash_layout(), crypto_sodium(), manifest);
}

/* What the table says of this flash, by its pure function, from facts found here. */
static const struct boot_rule *decide(const struct nf_flash *flash, const struct boot_record *r)
{
    unsigned release = 0;
    uint8_t id[8], manifest[MP_MANIFEST_SIZE];
    struct boot_facts facts = {.home = is_whole(flash, r->home, r, &release, id)};
    facts.other = is_whole(flash, r->home ^ 1u, r, &release, id);
    facts.target = facts.other && memcmp(id, r->id, sizeof id) == 0;
    if (facts.target && r->state == BOOT_PENDING)
        facts.target = boot_image_seal(flash, part_flash_layout(), r->home ^ 1u, manifest) == 0 &&
                       nf_store_accept(flash, part_flash_layout(), crypto_sodium(), manifest) == 0;
    return boot_decide((enum boot_state)r->state, r->tries, &facts);
}

/* The cause that the bootloader will find in RAM. */
static enum boot_cause cause_of(const struct nf_handover *h)
{
    return h->magic == NF_HANDOVER_MAGIC && h->cause_check == ~h->cause ? (enum boot_cause)h->cause : BOOT_CAUSE_POWER;
}

/* Works on a copy of the flash at the moment of the reset. */
static void foretell(struct power *w, struct player *p, const uint8_t *image, enum boot_cause cause)
{
    static uint8_t copy[QEMU_FLASH_SIZE];
    memcpy(copy, image, sizeof copy);
    struct nf_flash flash = part_flash_over(copy);
    const struct boot_env env = {
        .flash = &flash, .layout = part_flash_layout(), .crypto = crypto_sodium(), .ctx = &flash, .accept = accept};
    const struct boot_rule *rule = decide(&flash, &p->before);
    boot_select(&env, cause, &p->choice);
    if (p->choice.row != rule->row || p->choice.slot < 0)
        qemu_fail(&p->part->qemu, "its flash asks for row %u, slot %d; the table says row %u", p->choice.row,
                  p->choice.slot, rule->row);
    const unsigned slot = rule->target == BOOT_TARGET_HOME ? p->before.home : p->before.home ^ 1u;
    if (rule->target == BOOT_TARGET_BEST || rule->target == BOOT_TARGET_RECOVERY || slot != (unsigned)p->choice.slot)
        qemu_fail(&p->part->qemu, "row %u leads to slot %d", rule->row, p->choice.slot);
    w->result->rows[rule->row < 10 ? rule->row : 0]++;
}

/* --- striking --------------------------------------------------------------------------------------------------------- */

/* Stops it at a random write to the flash controller's registers that comes soon, or a few instructions behind it; the
 * debugger stays attached. False: none came, and it is stopped wherever it is. */
static bool stop_inside(struct power *w, struct qemu *q)
{
    bool was_hit = false;
    qemu_debug(q);
    qemu_watch(q, NVMC_CONFIG, 4);
    for (uint32_t hits = 1 + draw(w, HITS_MAX); hits > 0; hits--) {
        qemu_debug_run(q);
        if (!qemu_debug_wait(q, HIT_MS, NULL)) {
            qemu_debug_stop(q);
            return was_hit;
        }
        was_hit = true;
    }
    qemu_debug_step(q, draw(w, STEPS_MAX));
    return true;
}

/* What is wiped is what the bootloader writes anew: seen again, it is a proof. */
static void wipe_handover(struct qemu *q)
{
    static const uint32_t zero[1];
    qemu_poke(q, NRF51_HANDOVER + (uint32_t)offsetof(struct nf_handover, vectors), zero, sizeof zero);
    qemu_poke(q, NRF51_HANDOVER + (uint32_t)offsetof(struct nrf51_shared, boot_us), zero, sizeof zero);
}

/* Resets a stopped part. */
static void reset_now(struct power *w, struct player *p, const uint8_t *image)
{
    static uint8_t after[QEMU_FLASH_SIZE];
    struct qemu *q = &p->part->qemu;
    struct nf_handover handover;
    qemu_peek(q, NRF51_HANDOVER, &handover, sizeof handover);
    foretell(w, p, image, cause_of(&handover));
    const unsigned resets = q->resets_asked;
    qemu_reset(q);
    if (q->resets_asked != resets + 1)
        qemu_fail(q, "was not reset");
    qemu_flash(q, after);
    if (memcmp(image, after, sizeof after) != 0)
        qemu_fail(q, "lost flash in the reset");
    wipe_handover(q);
    p->is_struck = true;
    p->own = q->resets_own;
    p->deadline = fleet_now() + BOOTS_S;
}

/* The boot before was cut: it left the record as it was, or as foretold. */
static void check_cut_boot(struct player *p, const struct boot_record *now)
{
    if (!same_record(now, &p->before) && !same_record(now, &p->choice.record))
        qemu_fail(&p->part->qemu, "a cut boot by row %u left record %u, state %u", p->choice.row, now->sequence,
                  now->state);
}

/* Resets the stopped part if it is in a phase that has a reset left; lets it run on. */
static void strike_here(struct power *w, struct player *p, bool is_inside)
{
    static uint8_t image[QEMU_FLASH_SIZE];
    struct qemu *q = &p->part->qemu;
    const struct nf_flash flash = part_flash_over(image);
    struct boot_record r;
    qemu_flash(q, image);
    const enum power_phase phase = phase_of(w, image, &flash, &r);
    if (p->left[phase] > 0) {
        const bool tears = has_torn_append(image, &r);
        if (p->is_struck && q->resets_own == p->own)
            check_cut_boot(p, &r);
        w->result->early += p->is_struck;
        p->left[phase]--;
        p->before = r;
        reset_now(w, p, image);
        w->result->resets += phase != POWER_REST;
        w->result->by_phase[phase]++;
        w->result->inside += is_inside;
        w->result->torn += tears;
        printf("%3u %s: %s, record %u, state %u, tries %u: row %u, slot %d%s%s\n", w->result->resets, q->name,
               phase_names[phase], r.sequence, r.state, r.tries, p->choice.row, p->choice.slot,
               is_inside ? ", inside" : "", tears ? ", torn" : "");
    }
    if (q->gdb >= 0)
        qemu_debug_end(q);
    qemu_run(q);
    /* every third time so soon that the bootloader is still at work, and not late in short phases */
    p->due =
        fleet_now() + (draw(w, 3) == 0 ? draw(w, 300) : 200 + draw(w, phase == POWER_DOWNLOAD ? 2500 : 1000)) / 1e3;
}

/* Stops the part at a random point, and strikes. */
static void strike(struct power *w, struct player *p)
{
    bool is_inside = false;
    if (draw(w, 2) == 0)
        is_inside = stop_inside(w, &p->part->qemu);
    else
        qemu_pause(&p->part->qemu);
    strike_here(w, p, is_inside);
}

/* Lets it run until a write to its boot record, the `writes`th from now: the short moments are hit this way. */
static void arm(struct player *p, unsigned writes)
{
    p->armed = writes;
    p->disarm = fleet_now() + ARMED_S;
    qemu_debug(&p->part->qemu);
    qemu_watch(&p->part->qemu, NRF51_BOOT_RECORD, NRF51_SETTINGS - NRF51_BOOT_RECORD);
    qemu_debug_run(&p->part->qemu);
}

static void await(struct power *w, struct player *p)
{
    struct qemu *q = &p->part->qemu;
    while (p->armed > 0 && qemu_debug_wait(q, 0, NULL)) {
        if (--p->armed == 0) {
            qemu_debug_step(q, draw(w, STEPS_MAX));
            strike_here(w, p, true);
        } else {
            qemu_debug_run(q);
        }
    }
    if (p->armed > 0 && fleet_now() > p->disarm) {
        p->armed = 0;
        qemu_debug_stop(q);
        qemu_debug_end(q);
        qemu_run(q);
    }
}

/* --- seeing the boot --------------------------------------------------------------------------------------------------- */

static void check_boot(struct power *w, struct player *p)
{
    struct qemu *q = &p->part->qemu;
    struct nrf51_shared shared;
    uint8_t pages[NRF51_SETTINGS - NRF51_BOOT_RECORD];
    struct boot_record r;
    qemu_peek(q, NRF51_HANDOVER, &shared, sizeof shared);
    const uint32_t vectors = shared.handover.vectors;
    if (q->resets_own != p->own) { /* already on to the next, by itself */
        p->is_struck = false;
        return;
    }
    if (vectors != 0 && vectors < NRF51_SLOT_A)
        qemu_fail(q, "boots nothing after row %u", p->choice.row);
    if (vectors == 0) {
        if (fleet_now() > p->deadline)
            qemu_fail(q, "did not boot within %d s after row %u", BOOTS_S, p->choice.row);
        return;
    }
    const int slot = vectors >= NRF51_SLOT_B;
    if (slot != p->choice.slot || shared.handover.slot != (uint32_t)slot || shared.boot_us == 0)
        qemu_fail(q, "boots slot %d instead of %d after row %u", slot, p->choice.slot, p->choice.row);
    qemu_peek(q, NRF51_BOOT_RECORD, pages, sizeof pages);
    if (!find_record(pages, p->choice.record.sequence, &r) || !same_record(&r, &p->choice.record))
        qemu_fail(q, "row %u did not leave record %u", p->choice.row, p->choice.record.sequence);
    if (!p->choice.appended && !same_record(&p->before, &p->choice.record))
        qemu_fail(q, "row %u changed the record", p->choice.row);
    p->is_struck = false;
    w->result->boots++;
}

/* --- a cycle ------------------------------------------------------------------------------------------------------------ */

/* Newest record, and the release of the home slot by its seal; 0 when it cannot be read. */
static unsigned home_release(struct player *p, struct boot_record *r)
{
    static uint8_t image[QEMU_FLASH_SIZE];
    const struct nf_flash flash = part_flash_over(image);
    unsigned release = 0;
    uint8_t id[8];
    qemu_flash(&p->part->qemu, image);
    if (boot_read(&flash, part_flash_layout(), r) != 0 || !is_whole(&flash, r->home, r, &release, id))
        return 0;
    return release;
}

/* Its record says how this update, or the way back, went. */
static bool is_settled(struct power *w, struct player *p)
{
    struct boot_record r;
    if (p->armed > 0 || p->is_struck)
        return false;
    const unsigned release = home_release(p, &r);
    if (release == 0 || r.state != BOOT_CONFIRMED)
        return false;
    if (w->is_reverting)
        return release != w->release || (r.reason != MP_REASON_NONE && (r.flags & BOOT_FLAG_REVERT) != 0);
    if (release == w->release)
        return r.reason == MP_REASON_NONE && (r.flags & BOOT_FLAG_UPDATED) != 0;
    return r.reason != MP_REASON_NONE && memcmp(r.id, w->id, sizeof r.id) == 0;
}

/* State of the boot record alone, which is cheap to read. */
static unsigned state_of(struct player *p)
{
    static uint8_t image[QEMU_FLASH_SIZE]; /* only the boot record is read */
    const struct nf_flash flash = part_flash_over(image);
    struct boot_record r;
    qemu_peek(&p->part->qemu, NRF51_BOOT_RECORD, image + NRF51_BOOT_RECORD, NRF51_SETTINGS - NRF51_BOOT_RECORD);
    return boot_read(&flash, part_flash_layout(), &r) == 0 ? r.state : BOOT_NONE;
}

static void step(struct power *w, struct player *p)
{
    if (p->armed > 0) {
        await(w, p);
        return;
    }
    const double now = fleet_now();
    if (p->is_struck)
        check_boot(w, p);
    if (p->settled)
        return;
    const unsigned state = state_of(p);
    /* the short phases are struck soon; every second time when the trial's end is written */
    if ((state == BOOT_PENDING || state == BOOT_TRIAL) && p->due > now + 1.5)
        p->due = now + draw(w, 1500) / 1e3;
    if (now < p->due)
        return;
    if (state == BOOT_TRIAL && !p->is_struck && p->left[w->is_reverting ? POWER_REVERT : POWER_TRIAL] > 0 &&
        draw(w, 2) == 0)
        arm(p, 1 + draw(w, WORDS));
    else
        strike(w, p);
}

/* A request for a trial is near: it is waited for, and perhaps for the bootloader's record that begins the trial, and
 * the one that ends it. */
static void lie_in_wait(struct power *w, struct player *p)
{
    static uint8_t image[QEMU_FLASH_SIZE];
    const struct nf_flash flash = part_flash_over(image);
    struct boot_record r;
    if (p->armed > 0 || p->is_struck || p->left[w->is_reverting ? POWER_REVERT : POWER_ACTIVATION] == 0)
        return;
    qemu_flash(&p->part->qemu, image);
    if (boot_read(&flash, part_flash_layout(), &r) == 0 && is_staged(w, &flash, &r))
        arm(p, 1 + draw(w, 3 * WORDS));
}

/* Until every part has settled; so long, they are struck. */
static void run_until_settled(struct power *w)
{
    const double end = fleet_now() + SETTLES_S;
    double look = 0;
    for (unsigned settled = 0; settled < w->options->parts;) {
        for (unsigned i = 0; i < w->options->parts; i++)
            step(w, &w->player[i]);
        fleet_witness(w->f);
        fleet_pause(0.02);
        if (fleet_now() > end || fleet_now() > w->end)
            fleet_fail(w->f, "only %u of %u parts are through with release %u%s", settled, w->options->parts,
                       w->release, w->is_reverting ? ", back" : "");
        if (fleet_now() < look)
            continue;
        look = fleet_now() + 1;
        settled = 0;
        for (unsigned i = 0; i < w->options->parts; i++)
            settled += w->player[i].settled = is_settled(w, &w->player[i]);
        for (unsigned i = 0; i < w->options->parts; i++)
            if (!w->player[i].settled)
                lie_in_wait(w, &w->player[i]);
    }
}

static void plan(struct power *w, struct player *p)
{
    memset(p->left, 0, sizeof p->left);
    p->settled = false;
    if (w->is_reverting) {
        p->left[POWER_REVERT] = 2 + (draw(w, 6) == 0);
    } else {
        p->left[POWER_DOWNLOAD] = 2 + draw(w, 3);
        p->left[POWER_ACTIVATION] = 1 + draw(w, 2);
        /* two leave it one boot, three or more none */
        p->left[POWER_TRIAL] = w->is_kept ? 1 : 1 + draw(w, 2) + (draw(w, 8) == 0 ? 2u : 0u);
    }
    p->due = fleet_now() + draw(w, 4000) / 1e3;
}

static const char *stem_of(unsigned release)
{
    return release % 2 == 0 ? "2.0.0" : "2.1.0";
}

static void start_release(struct power *w)
{
    char path[FLEET_PATH_MAX], payload[FLEET_PATH_MAX];
    uint8_t manifest[MP_MANIFEST_SIZE];
    w->release++;
    w->is_reverting = false;
    fleet_release(w->f, w->release, stem_of(w->release), 1u << MODEL);
    fleet_factory(w->f, w->release, MODEL, path, payload);
    FILE *file = fopen(path, "rbe");
    const size_t n = file != NULL ? fread(manifest, 1, sizeof manifest, file) : 0;
    if (file != NULL)
        fclose(file);
    if (n != sizeof manifest)
        fleet_fail(w->f, "%s cannot be read", path);
    mp_manifest_id(crypto_sodium(), manifest, w->id);
    fleet_rollout(w->f, w->release, POLICY);
}

static void tell_ends(struct power *w)
{
    for (unsigned i = 0; i < w->options->parts; i++) {
        struct boot_record r;
        const unsigned release = home_release(&w->player[i], &r);
        if (w->is_reverting)
            w->result->reverted += release != w->release;
        else if (release == w->release)
            w->result->updated++;
        else
            w->result->kept++;
    }
}

static void go_back(struct power *w)
{
    char from[16], to[16];
    w->is_reverting = true;
    snprintf(from, sizeof from, "%u", w->release);
    /* not to the release before, which may have been reverted itself */
    snprintf(to, sizeof to, "%u", w->base);
    fleet_do(w->f, NULL, "rollout", "revert", from, "--to", to, NULL);
    for (unsigned i = 0; i < w->options->parts; i++)
        plan(w, &w->player[i]);
    run_until_settled(w);
    tell_ends(w);
}

/* An update, and mostly the way back; every third one is kept, so that home is now in one slot, now in the other. */
static void run_cycle(struct power *w)
{
    w->is_kept = w->result->cycles % 3 == 1;
    start_release(w);
    for (unsigned i = 0; i < w->options->parts; i++)
        plan(w, &w->player[i]);
    run_until_settled(w);
    tell_ends(w);
    if (w->is_kept)
        w->base = w->release;
    else
        go_back(w);
    w->result->cycles++;
}

/* --- all of it ---------------------------------------------------------------------------------------------------------- */

static bool is_enough(const struct power *w)
{
    bool enough = w->result->resets >= w->options->resets;
    for (unsigned i = 0; i < POWER_REST; i++)
        enough = enough && w->result->by_phase[i] >= w->options->least;
    return enough;
}

static void start(struct power *w)
{
    struct fleet *f = w->f;
    static char scenario[300];
    snprintf(scenario, sizeof scenario,
             "[scenario]\nname = power\nseed = %u\n[radio]\nframe_loss = 2 %%\n[topology]\nkind = line\nnodes = %u\n"
             "spacing = 2 m\nfirst = gw\nprefix = n\n",
             (unsigned)(w->options->seed % 1000 + 1), w->options->parts + 1);
    fleet_open(f, &(struct fleet_options){.name = w->options->name, .text = scenario});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    w->release = w->base = 1;
    fleet_release(f, 1, "1.0.0", 1u << MODEL);
    for (unsigned i = 0; i < w->options->parts; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i + 1);
        w->player[i].part = fleet_part_add(f, name, MODEL, NULL, 1, i % 2);
        fleet_part_start(f, w->player[i].part);
    }
    fleet_wait_enrolled(f, 120);
}

/* Nothing is broken: without further resets, all take an update and say so. */
static void finish(struct power *w)
{
    char version[16];
    start_release(w);
    snprintf(version, sizeof version, "%s", stem_of(w->release));
    for (unsigned i = 0; i < w->options->parts; i++) {
        memset(w->player[i].left, 0, sizeof w->player[i].left);
        w->player[i].settled = false;
        w->player[i].due = fleet_now() + 1e6;
    }
    run_until_settled(w);
    fleet_wait_running(w->f, 120, version, w->release);
}

void power_run(struct fleet *f, const struct power_options *options, struct power_result *result)
{
    struct power w = {.f = f, .options = options, .result = result, .random = options->seed | 1};
    memset(result, 0, sizeof *result);
    w.end = fleet_now() + options->limit_s;
    printf("seed %u, %u parts, at least %u resets\n", (unsigned)options->seed, options->parts, options->resets);
    if (options->parts > POWER_PARTS_MAX)
        fleet_fail(f, "at most %d parts", POWER_PARTS_MAX);
    start(&w);
    while (!is_enough(&w))
        run_cycle(&w);
    finish(&w);
}

void power_print(const struct power_result *r)
{
    printf("note: %u resets:", r->resets);
    for (unsigned i = 0; i < POWER_REST; i++)
        printf(" %s %u", phase_names[i], r->by_phase[i]);
    printf("; %u inside flash operations, %u records torn, %u during a boot; rows", r->inside, r->torn, r->early);
    for (unsigned i = 0; i < 10; i++)
        if (r->rows[i] > 0)
            printf(" %u:%u", i, r->rows[i]);
    printf("; %u boots foretold; %u updates taken, %u given up, %u reverts\n", r->boots, r->updated, r->kept,
           r->reverted);
}
