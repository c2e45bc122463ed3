/*
 * node: the program that a POSIX node runs, and the image that the mesh distributes.
 *
 * The bootloader hands it flash, watchdog and the address of the controller in its environment (reset.h). One loop
 * drives the HCI host, the update state machine with the protocol engine in it, and the application, and sleeps until
 * the earliest of their timers. It ends with an enum boot_cause as exit status: that is its reset.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "flash_file.h"
#include "layout.h"
#include "link.h"
#include "log.h"
#include "reset.h"
#include "node-fw/core/nf.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"
#include "proto/hci/hci.h"
#include "proto/mesh/relay.h"

#ifndef NODE_VERSION
#define NODE_VERSION "0.0.0"
#endif

#define HELD_BACK MP_MS(20) /* asks again this soon while the radio is busy and the engine has something to send */
#define SELFTEST_EVERY MP_MS(100) /* while it is pending */

struct node {
    struct port_flash flash;
    struct nf_layout layout;
    struct nf_store store;
    struct nf_env env;
    struct nf_node nf;
    struct mp_relay relay;
    struct mp_counters counters;
    struct mp_hci hci;
    struct port_link link;
    mp_time app_due;
    mp_time selftest_due; /* MP_NEVER once decided, or not on trial */
    mp_time kick_due;
    mp_time kick_every;
    int kick;
    bool announced; /* on this connection */
};

static struct node node;

static mp_time now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mp_time)t.tv_sec * 1000000 + (mp_time)t.tv_nsec / 1000;
}

static mp_time earlier(mp_time a, mp_time b)
{
    return a < b ? a : b;
}

/* --- callbacks ---------------------------------------------------------------------------------------------------- */

static uint32_t draw(void *ctx)
{
    uint32_t value = 0;
    (void)ctx;
    while (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
        ;
    return value;
}

static void log_phase(void *ctx, enum nf_phase from, enum nf_phase to, enum mp_phase reported, enum mp_reason reason)
{
    static const char *const names[NF_PHASE_COUNT] = {"idle",   "erasing",   "fetching", "verifying",
                                                      "staged", "resetting", "trial"};
    (void)ctx;
    port_log("node: phase=%s from=%s reported=%d reason=%d", names[to], names[from], (int)reported, (int)reason);
}

static const struct nf_hooks hooks = {.phase = log_phase};

static void deliver(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct node *n = ctx;
    nf_receive(&n->nf, &n->env, now, heard->frame, heard->length);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/* A number from the environment, or -1. */
static long from_environment(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL || *text == 0)
        return -1;
    const long value = strtol(text, &end, 10);
    return *end == 0 && value >= 0 && value <= 3600000 ? value : -1;
}

static int fail(const char *what, int code)
{
    port_log("node: %s (%d)", what, code);
    return BOOT_CAUSE_STORAGE;
}

static int start_storage(struct node *n, unsigned slot)
{
    const int fd = (int)from_environment(PORT_ENV_FLASH);
    const struct mp_crypto *crypto = crypto_sodium();
    if (fd < 0 || crypto == NULL)
        return fail("no flash handed down, or no crypto", fd);
    int rc = port_flash_adopt(&n->flash, fd);
    if (rc != 0)
        return fail("flash", rc);
    if (port_layout(&n->layout, &n->flash.flash) != 0)
        return fail("flash too small", 0);
    const size_t size = nf_store_memory(&n->flash.flash, &n->layout);
    uint8_t *memory = malloc(size); /* for the life of the process */
    if (memory == NULL)
        return fail("no memory", 0);
    rc = nf_store_init(&n->store, &n->flash.flash, &n->layout, crypto, slot, memory, size);
    if (rc != 0)
        return fail("store", rc);
    n->env = (struct nf_env){.mp = {.ctx = &n->store,
                                    .crypto = crypto,
                                    .store = &nf_flash_store,
                                    .random = draw,
                                    .relay = &n->relay,
                                    .counters = &n->counters},
                             .storage = &nf_flash_storage,
                             .hooks = &hooks};
    return 0;
}

static int start_radio(struct node *n, const struct mp_settings *settings, mp_time now)
{
    const char *address = getenv(PORT_ENV_HCI);
    struct mp_hci_config config = {0};
    config.address[0] = (uint8_t)settings->node;
    config.address[1] = (uint8_t)(settings->node >> 8);
    config.address[2] = (uint8_t)(settings->node >> 16);
    config.address[3] = (uint8_t)(settings->node >> 24);
    config.address[4] = (uint8_t)settings->network;
    config.address[5] = (uint8_t)(settings->network >> 8);
    int rc = mp_hci_init(&n->hci, &config, now);
    if (rc == 0)
        rc = port_link_init(&n->link, address != NULL ? address : "", now);
    return rc == 0 ? 0 : fail("controller's address", rc);
}

static struct app_view look(const struct node *n, mp_time now)
{
    return (struct app_view){.now = now,
                             .flash = &n->flash.flash,
                             .layout = &n->layout,
                             .crypto = n->env.mp.crypto,
                             .radio_runs = n->link.fd >= 0 && n->announced && mp_hci_phase(&n->hci) == MP_HCI_RUN};
}

/* 0, or the exit status. */
static int start(struct node *n)
{
    const mp_time now = now_us();
    const long watchdog_ms = from_environment(PORT_ENV_WATCHDOG);
    const long slot = from_environment(PORT_ENV_SLOT);
    struct mp_settings settings;
    n->kick = (int)from_environment(PORT_ENV_KICK);
    n->kick_every = MP_MS((mp_time)(watchdog_ms > 0 ? watchdog_ms : 4000)) / 4;
    n->kick_due = now;
    int rc = start_storage(n, slot == 1 ? 1 : 0);
    if (rc != 0)
        return rc;
    rc = nf_settings_load(&settings, &n->flash.flash, &n->layout);
    if (rc != 0)
        return fail("settings", rc);
    rc = nf_init(&n->nf, &n->env, &settings, now);
    if (rc != 0)
        return fail("node", rc);
    const enum boot_cause cause = (enum boot_cause)from_environment(PORT_ENV_CAUSE);
    nf_note_reset(&n->nf, &n->env, now, cause);
    rc = start_radio(n, &settings, now);
    if (rc != 0)
        return rc;
    port_log("node: version=%s node=%u slot=%ld cause=%s trial=%d", NODE_VERSION, settings.node, slot,
             port_cause_name(cause), nf_is_trial(&n->nf));
    const struct app_view view = look(n, now);
    NODE_APP->start(&view);
    n->app_due = now;
    n->selftest_due = nf_is_trial(&n->nf) ? now : MP_NEVER;
    return 0;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void kick(struct node *n, mp_time now)
{
    if (now < n->kick_due)
        return;
    n->kick_due = now + n->kick_every;
    if (n->kick >= 0 && write(n->kick, "k", 1) < 0 && errno != EAGAIN)
        n->kick = -1; /* nobody watches */
}

/* Tells the controller who runs: on a bench, a witness of its own. Controllers that do not know the command refuse it.
 */
static void announce(struct node *n, mp_time now)
{
    static const char text[] = "version=" NODE_VERSION;
    uint8_t buf[MP_HCI_COMMAND_MAX];
    if (n->announced || n->link.fd < 0)
        return;
    const int len =
        mp_hci_command(&n->hci, now, HCI_VENDOR_LOG, (const uint8_t *)text, sizeof text - 1, buf, sizeof buf);
    if (len <= 0)
        return;
    n->announced = true;
    port_link_put(&n->link, now, buf, (size_t)len);
}

static void run_app(struct node *n, mp_time now)
{
    const struct app_view view = look(n, now);
    if (now >= n->selftest_due) {
        const enum app_verdict verdict = NODE_APP->selftest(&view);
        n->selftest_due = verdict == APP_PENDING ? now + SELFTEST_EVERY : MP_NEVER;
        if (verdict != APP_PENDING) {
            port_log("node: self-test %s", verdict == APP_PASSED ? "passed" : "FAILED");
            nf_selftest(&n->nf, &n->env, now, verdict == APP_PASSED);
        }
    }
    n->app_due = NODE_APP->loop(&view);
}

/* Whether a frame could start now. */
static bool can_send(const struct node *n, mp_time now)
{
    const struct app_view view = look(n, now);
    return n->link.fd >= 0 && mp_hci_is_ready(&n->hci, now) && NODE_APP->may_transmit(&view);
}

static void send(struct node *n, mp_time now)
{
    uint8_t frame[MP_FRAME_MAX], buf[MP_HCI_COMMAND_MAX];
    int len;
    if (can_send(n, now) && (len = nf_write(&n->nf, &n->env, now, frame, sizeof frame)) > 0) {
        len = mp_hci_send(&n->hci, now, frame, (size_t)len, buf, sizeof buf);
        if (len > 0)
            port_link_put(&n->link, now, buf, (size_t)len);
    }
    while (n->link.fd >= 0 && (len = mp_hci_write(&n->hci, now, buf, sizeof buf)) > 0)
        port_link_put(&n->link, now, buf, (size_t)len);
}

static void receive(struct node *n, mp_time now)
{
    uint8_t buf[4096];
    const int len = port_link_read(&n->link, now, buf, sizeof buf);
    if (len > 0)
        mp_hci_receive(&n->hci, now, buf, (size_t)len, deliver, n);
    else if (len < 0)
        port_log("node: controller lost");
}

/* The earliest timer. */
static mp_time next_due(const struct node *n, mp_time now)
{
    mp_time due = nf_next_expiry(&n->nf);
    /* What the engine wants to send may have to wait for the radio, whose own timer tells when; do not spin until then.
     */
    if (!can_send(n, now) && due < now + HELD_BACK)
        due = now + HELD_BACK;
    if (n->link.fd >= 0)
        due = earlier(due, mp_hci_next_expiry(&n->hci, now));
    due = earlier(due, earlier(n->app_due, n->selftest_due));
    return earlier(earlier(due, n->kick_due), port_link_next_expiry(&n->link));
}

static void sleep_until(struct node *n, mp_time due)
{
    const mp_time now = now_us();
    const mp_time wait = due > now ? due - now : 0;
    const struct timespec t = {.tv_sec = (time_t)(wait / 1000000), .tv_nsec = (long)(wait % 1000000 * 1000)};
    struct pollfd p = {.fd = n->link.fd, .events = POLLIN};
    if (n->link.queued != 0)
        p.events |= POLLOUT;
    if (ppoll(&p, 1, &t, NULL) <= 0)
        return;
    if ((p.revents & POLLOUT) != 0)
        port_link_flush(&n->link, now_us());
    if ((p.revents & ~POLLOUT) != 0)
        receive(n, now_us());
}

/* One round; true when it is time to reset. */
static bool turn(struct node *n, enum boot_cause *cause)
{
    const mp_time now = now_us();
    kick(n, now);
    if (port_link_expire(&n->link, now)) {
        mp_hci_restart(&n->hci, now);
        n->announced = false;
    }
    if (n->link.fd >= 0)
        mp_hci_expire(&n->hci, now);
    nf_expire(&n->nf, &n->env, now);
    announce(n, now);
    run_app(n, now);
    send(n, now);
    if (nf_wants_reset(&n->nf, cause))
        return true;
    sleep_until(n, next_due(n, now));
    return false;
}

int main(void)
{
    enum boot_cause cause = BOOT_CAUSE_REQUEST;
    signal(SIGPIPE, SIG_IGN);
    const int rc = start(&node);
    if (rc != 0)
        return rc;
    while (!turn(&node, &cause))
        ;
    port_log("node: reset cause=%s", port_cause_name(cause));
    return (int)cause;
}
