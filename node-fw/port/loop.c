#include "loop.h"

#include <string.h>

#include "cause.h"
#include "line.h"
#include "node-fw/core/nf.h"
#include "port.h"

#define HELD_BACK MP_MS(20) /* asks again this soon while the radio is busy and the engine has something to send */
#define SELFTEST_EVERY MP_MS(100) /* while it is pending */
#define START_OVER_EVERY MP_MS(100)
#define MUTE_PAUSE MP_MS(500)       /* after the controller took nothing */
#define FAILED_PAUSE MP_SECONDS(10) /* after it refused what start-up needs */
#define VERSION_MAX 60u

/* Bytes taken from the line at once, and how often in a round. Small: they lie under the deepest stack. */
enum { READ_SIZE = 64, READS_MAX = 16 };

struct loop {
    struct nf_store *store;
    struct nf_env env;
    struct nf_node nf;
    struct mp_hci hci;
    union nf_arena arena;
    const struct nf_loop_boot *boot;
    const struct app *app;
    const char *version;
    mp_time app_due;
    mp_time selftest_due; /* MP_NEVER once decided, or not on trial */
    mp_time kick_due;
    mp_time held_until; /* nothing is given to the line before */
    mp_time over_from;  /* the HCI host begins again no earlier */
    uint32_t node;
    bool announced; /* on this connection */
    bool is_over;   /* started over, and nothing given to the line since */
};

static struct loop loop;

static mp_time earlier(mp_time a, mp_time b)
{
    return a < b ? a : b;
}

/* --- log ---------------------------------------------------------------------------------------------------------- */

static void log_number(struct nf_line *line, const char *name, uint32_t value)
{
    nf_line_text(line, name);
    nf_line_number(line, value);
}

static void log_phase(void *ctx, enum nf_phase from, enum nf_phase to, enum mp_phase reported, enum mp_reason reason)
{
    static const char *const names[NF_PHASE_COUNT] = {"idle",   "erasing",   "fetching", "verifying",
                                                      "staged", "resetting", "trial"};
    struct nf_line line;

    (void)ctx;
    nf_line_begin(&line, "node: phase=");
    nf_line_text(&line, names[to]);
    nf_line_text(&line, " from=");
    nf_line_text(&line, names[from]);
    log_number(&line, " reported=", reported);
    log_number(&line, " reason=", reason);
    nf_port_log(line.text);
}

static const struct nf_hooks log_hooks = {.phase = log_phase};

static void log_start(const struct loop *l, enum boot_cause cause)
{
    struct nf_line line;

    nf_line_begin(&line, "node: version=");
    nf_line_text(&line, l->version);
    log_number(&line, " node=", l->node);
    log_number(&line, " slot=", nf_port_slot());
    nf_line_text(&line, " cause=");
    nf_line_text(&line, nf_cause_name(cause));
    log_number(&line, " trial=", nf_is_trial(&l->nf));
    nf_port_log(line.text);
}

static void log_failure(const struct mp_hci *h)
{
    struct nf_line line;

    nf_line_begin(&line, "node: ");
    nf_line_text(&line, mp_hci_strerror(mp_hci_error(h)));
    nf_line_text(&line, " (command ");
    nf_line_hex(&line, h->failed_opcode, 4);
    nf_line_text(&line, " status ");
    nf_line_hex(&line, h->failed_status, 2);
    nf_line_text(&line, ")");
    nf_port_log(line.text);
}

_Noreturn static void reset(enum boot_cause cause)
{
    if (NF_LOOP_LOG) {
        struct nf_line line;
        nf_line_begin(&line, "node: reset cause=");
        nf_line_text(&line, nf_cause_name(cause));
        nf_port_log(line.text);
    }
    if (loop.boot->note != NULL)
        loop.boot->note(cause);
    nf_port_reset(cause);
}

_Noreturn static void fail(const char *what, int code)
{
    if (NF_LOOP_LOG) {
        struct nf_line line;
        nf_line_begin(&line, "node: ");
        nf_line_text(&line, what);
        nf_line_text(&line, " (");
        nf_line_signed(&line, code);
        nf_line_text(&line, ")");
        nf_port_log(line.text);
    }
    reset(BOOT_CAUSE_STORAGE);
}

/* --- callbacks ---------------------------------------------------------------------------------------------------- */

static uint32_t draw(void *ctx)
{
    (void)ctx;
    return nf_port_random();
}

static void deliver(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct loop *l = ctx;

    nf_receive(&l->nf, &l->env, now, heard->frame, heard->length);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static void start_storage(struct loop *l, enum boot_cause cause)
{
    const struct nf_storage *storage = NULL;
    const int rc = l->boot->mount(cause, &l->store, &storage);

    if (rc != MP_OK)
        fail("store", rc);
    l->env = (struct nf_env){.mp = {.ctx = l->store,
                                    .crypto = nf_port_crypto(),
                                    .store = &nf_flash_store,
                                    .random = draw,
                                    .relay = &l->arena.relay},
                             .storage = storage,
                             .hooks = NF_LOOP_LOG ? &log_hooks : NULL};
}

static void start_radio(struct loop *l, const struct mp_settings *settings, mp_time now)
{
    struct mp_hci_config config = {0};

    config.address[0] = (uint8_t)settings->node;
    config.address[1] = (uint8_t)(settings->node >> 8);
    config.address[2] = (uint8_t)(settings->node >> 16);
    config.address[3] = (uint8_t)(settings->node >> 24);
    config.address[4] = (uint8_t)settings->network;
    config.address[5] = (uint8_t)(settings->network >> 8);
    const int rc = mp_hci_init(&l->hci, &config, now);
    if (rc != MP_OK)
        fail("controller's address", rc);
}

static struct app_view look(struct loop *l, mp_time now)
{
    return (struct app_view){.now = now,
                             .flash = nf_port_flash(),
                             .layout = nf_port_layout(),
                             .crypto = l->env.mp.crypto,
                             .radio = &l->hci.counters,
                             .version = l->version,
                             .store = l->store,
                             .node = l->node,
                             .radio_runs = nf_port_link_is_up() && l->announced && mp_hci_phase(&l->hci) == MP_HCI_RUN,
                             .is_trial = nf_is_trial(&l->nf)};
}

static MP_APART void start(struct loop *l)
{
    struct mp_settings *settings = &l->arena.settings;
    const enum boot_cause cause = nf_port_cause();
    mp_time now = nf_port_now();

    l->kick_due = nf_port_kick(now);
    start_storage(l, cause);
    int rc = nf_settings_load(settings, nf_port_flash(), nf_port_layout());
    if (rc != MP_OK)
        fail("settings", rc);
    l->node = settings->node;
    now = nf_port_now(); /* the slots were hashed meanwhile */
    l->kick_due = nf_port_kick(now);
    rc = nf_init(&l->nf, &l->env, settings, now);
    if (rc != MP_OK)
        fail("node", rc);
    nf_note_reset(&l->nf, &l->env, now, cause);
    start_radio(l, settings, now);
    memset(&l->arena, 0, sizeof l->arena); /* an empty relay cache */
    if (NF_LOOP_LOG)
        log_start(l, cause);
    const struct app_view view = look(l, now);
    l->app->start(&view);
    l->app_due = now;
    l->selftest_due = view.is_trial ? now : MP_NEVER;
}

/* --- the line ----------------------------------------------------------------------------------------------------- */

/* The HCI host begins with a reset of the controller, `pause` from now, or later if that was done just now. */
static void start_over(struct loop *l, mp_time now, mp_time pause)
{
    mp_hci_restart(&l->hci, now);
    l->announced = false;
    l->is_over = true;
    l->held_until = now + pause > l->over_from ? now + pause : l->over_from;
}

/* Whether bytes may be given to the line. */
static bool is_open(const struct loop *l, mp_time now)
{
    return now >= l->held_until && nf_port_link_is_up();
}

static void put(struct loop *l, mp_time now, const uint8_t *data, int len)
{
    if (l->is_over)
        l->over_from = now + START_OVER_EVERY;
    l->is_over = false;
    if (nf_port_link_write(data, (size_t)len) != MP_OK)
        start_over(l, now, MUTE_PAUSE);
}

/* What the HCI host cannot get over by itself. A refusal may have been noise on the line, so it is tried again. */
static void watch_host(struct loop *l, mp_time now)
{
    if (nf_port_link_is_up())
        mp_hci_expire(&l->hci, now);
    if (mp_hci_phase(&l->hci) != MP_HCI_FAILED)
        return;
    if (NF_LOOP_LOG)
        log_failure(&l->hci);
    start_over(l, now, FAILED_PAUSE);
}

static void feed(struct loop *l, mp_time now)
{
    l->kick_due = nf_port_kick(now);
}

static MP_APART void receive(struct loop *l)
{
    uint8_t buf[READ_SIZE];

    for (unsigned i = 0; i < READS_MAX; i++) {
        const mp_time now = nf_port_now();
        const int len = nf_port_link_read(buf, sizeof buf);

        if (len == 0)
            return;
        if (len < 0)
            start_over(l, now, 0);
        else
            mp_hci_receive(&l->hci, now, buf, (size_t)len, deliver, l);
        feed(l, nf_port_now()); /* a signature may have been checked */
        if (len > 0 && len < READ_SIZE)
            return;
    }
}

/* Tells the controller who runs: on a bench, a witness of its own. Controllers that do not know the command refuse it.
 */
static MP_APART void announce(struct loop *l, mp_time now)
{
    static const char key[] = "version=";
    uint8_t buf[HCI_COMMAND_HEADER + sizeof key + VERSION_MAX];
    uint8_t *text = buf + HCI_COMMAND_HEADER;
    size_t n = strlen(l->version);

    n = n < VERSION_MAX ? n : VERSION_MAX;
    memcpy(text, key, sizeof key - 1);
    memcpy(text + sizeof key - 1, l->version, n);
    const int len = mp_hci_command(&l->hci, now, HCI_VENDOR_LOG, text, sizeof key - 1 + n, buf, sizeof buf);
    if (len <= 0)
        return;
    l->announced = true;
    put(l, now, buf, len);
}

/* Whether a frame could start now. */
static bool can_send(struct loop *l, mp_time now)
{
    if (!is_open(l, now) || !mp_hci_is_ready(&l->hci, now))
        return false;
    const struct app_view view = look(l, now);
    return l->app->may_transmit(&view);
}

static MP_APART void send(struct loop *l, mp_time now)
{
    uint8_t buf[MP_HCI_COMMAND_MAX];
    int len;

    if (can_send(l, now) && (len = nf_write(&l->nf, &l->env, now, buf, MP_FRAME_MAX)) > 0) {
        len = mp_hci_send(&l->hci, now, buf, (size_t)len, buf, sizeof buf);
        if (len > 0)
            put(l, now, buf, len);
    }
    while (is_open(l, now) && (len = mp_hci_write(&l->hci, now, buf, sizeof buf)) > 0)
        put(l, now, buf, len);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static MP_APART void run_app(struct loop *l, mp_time now)
{
    const struct app_view view = look(l, now);

    if (now >= l->selftest_due) {
        const enum app_verdict verdict = l->app->selftest(&view);
        l->selftest_due = verdict == APP_PENDING ? now + SELFTEST_EVERY : MP_NEVER;
        if (verdict != APP_PENDING) {
            if (NF_LOOP_LOG)
                nf_port_log(verdict == APP_PASSED ? "node: self-test passed" : "node: self-test FAILED");
            nf_selftest(&l->nf, &l->env, now, verdict == APP_PASSED);
        }
    }
    l->app_due = l->app->loop(&view);
}

/* The earliest timer. */
static mp_time next_due(struct loop *l, mp_time now)
{
    mp_time due = nf_next_expiry(&l->nf);

    /* What the engine wants to send may have to wait for the radio, whose own timer tells when; do not spin until
     * then. */
    if (due < now + HELD_BACK && !can_send(l, now))
        due = now + HELD_BACK;
    if (nf_port_link_is_up())
        due = earlier(due, now < l->held_until ? l->held_until : mp_hci_next_expiry(&l->hci, now));
    return earlier(earlier(due, l->kick_due), earlier(l->app_due, l->selftest_due));
}

static void turn(struct loop *l)
{
    enum boot_cause cause;
    mp_time now;

    receive(l);
    now = nf_port_now();
    feed(l, now);
    watch_host(l, now);
    nf_expire(&l->nf, &l->env, now);
    if (!l->announced && is_open(l, now))
        announce(l, now);
    run_app(l, now);
    send(l, now);
    if (nf_wants_reset(&l->nf, &cause))
        reset(cause);
    nf_port_sleep(next_due(l, now));
}

_Noreturn void nf_loop_run_under(const struct nf_loop_boot *boot, const struct app *app, const char *version)
{
    const int rc = nf_port_start();

    memset(&loop, 0, sizeof loop);
    loop.boot = boot;
    loop.app = app;
    loop.version = version;
    if (rc != 0)
        fail("port", rc);
    start(&loop);
    for (;;)
        turn(&loop);
}

/* --- under this project's bootloader ------------------------------------------------------------------------------ */

static struct {
    struct nf_store store;
    uint8_t *memory;
    size_t size;
} own;

static int mount(enum boot_cause cause, struct nf_store **store, const struct nf_storage **storage)
{
    (void)cause;
    *store = &own.store;
    *storage = &nf_flash_storage;
    return nf_store_init(&own.store, nf_port_flash(), nf_port_layout(), nf_port_crypto(), nf_port_slot(), own.memory,
                         own.size);
}

_Noreturn void nf_loop_run(const struct app *app, const char *version, uint8_t *memory, size_t size)
{
    static const struct nf_loop_boot boot = {.mount = mount};

    own.memory = memory;
    own.size = size;
    nf_loop_run_under(&boot, app, version);
}
