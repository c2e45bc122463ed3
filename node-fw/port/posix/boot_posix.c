#include "boot_posix.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "flash_file.h"
#include "layout.h"
#include "log.h"
#include "node-fw/port/cause.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/store/store.h"

#define EARLY_MS 10000       /* an end before this counts towards the pause */
#define RECOVERY_POLL_MS 200 /* looks for a new flash file */
#define START_RETRIES 5      /* the machine is out of processes */
#define START_PAUSE_MS 200
#define LOCK_RETRIES 10 /* the image of a killed bootloader takes a moment to go */
#define LOCK_PAUSE_MS 50

struct boot {
    const struct port_boot_options *options;
    const struct mp_crypto *crypto;
    struct port_flash flash;
    struct nf_layout layout;
    int image[2]; /* sealed copies of the slots verified for this boot, -1 none */
    struct mp_manifest manifest[2];
};

/* --- slots -------------------------------------------------------------------------------------------------------- */

static int read_slot(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    return boot_image_read(ctx, offset, data, len);
}

static void drop_images(struct boot *b)
{
    for (unsigned i = 0; i < 2; i++) {
        if (b->image[i] >= 0)
            close(b->image[i]);
        b->image[i] = -1;
    }
}

/* boot_select() asks whether a slot verifies: what is verified is the sealed copy, and the copy is what will run. */
static int verify_copy(void *ctx, unsigned slot, const struct boot_image *image)
{
    struct boot *b = ctx;
    struct boot_image source = *image;
    if (b->image[slot] >= 0)
        close(b->image[slot]);
    b->manifest[slot] = image->manifest;
    b->image[slot] =
        port_image_load(b->crypto, read_slot, &source, image->manifest.image_size, image->manifest.image_sha256);
    if (b->image[slot] >= 0)
        return 0;
    port_log("boot: slot %u does not verify: %s", slot,
             b->image[slot] == -EBADMSG ? "wrong digest" : strerror(-b->image[slot]));
    return b->image[slot] == -EBADMSG ? MP_ERR_CHUNK : MP_ERR_STORE;
}

static int accept_manifest(void *ctx, const uint8_t *manifest)
{
    struct boot *b = ctx;
    return nf_store_accept(&b->flash.flash, &b->layout, b->crypto, manifest);
}

static const char *state_name(unsigned state)
{
    static const char *const names[] = {"none", "confirmed", "pending", "trial"};
    return state < 4 ? names[state] : "unknown";
}

static void select_slot(struct boot *b, enum boot_cause cause, struct boot_choice *choice)
{
    const struct boot_env env = {.flash = &b->flash.flash,
                                 .layout = &b->layout,
                                 .crypto = b->crypto,
                                 .ctx = b,
                                 .verify = verify_copy,
                                 .accept = accept_manifest};
    drop_images(b);
    boot_select(&env, cause, choice);
    if (choice->slot >= 0 && b->image[choice->slot] < 0)
        choice->slot = -1; /* never run what was not verified as a copy */
    if (choice->slot < 0)
        return;
    const struct mp_manifest *m = &b->manifest[choice->slot];
    port_log("boot: slot=%d version=%u.%u.%u release=%u state=%s tries=%u reason=%u row=%u cause=%s", choice->slot,
             m->version >> 24, m->version >> 16 & 0xFF, m->version & 0xFFFF, m->release,
             state_name(choice->record.state), choice->record.tries, choice->record.reason, choice->row,
             nf_cause_name(cause));
}

/* --- one boot ----------------------------------------------------------------------------------------------------- */

/* Sleeps; true when asked to stop. */
static bool rest(const struct boot *b, uint32_t ms)
{
    struct pollfd p = {.fd = b->options->stop, .events = POLLIN};
    return poll(&p, 1, (int)ms) > 0;
}

/* Runs the chosen slot to its end. False: the machine would not start it. */
static bool run_slot(struct boot *b, const struct boot_choice *choice, enum boot_cause cause, struct port_end *end)
{
    const struct port_child child = {.image = b->image[choice->slot],
                                     .slot = (unsigned)choice->slot,
                                     .flash = b->flash.fd,
                                     .log = b->options->output,
                                     .stop = b->options->stop,
                                     .hci = b->options->hci,
                                     .watchdog_ms = b->options->watchdog_ms,
                                     .cause = cause,
                                     .started = b->options->started,
                                     .ctx = b->options->ctx};
    int rc = 0;
    for (unsigned i = 0; i < START_RETRIES; i++) {
        rc = port_child_run(&child, end);
        if (rc == 0)
            return true;
        if (rest(b, START_PAUSE_MS))
            break;
    }
    port_log("boot: cannot start the image: %s", strerror(-rc));
    memset(end, 0, sizeof *end);
    return false;
}

static void log_end(const struct port_end *end)
{
    if (WIFSIGNALED(end->status))
        port_log("boot: ended cause=%s signal=%d lived_ms=%u", nf_cause_name(end->cause), WTERMSIG(end->status),
                 end->lived_ms);
    else
        port_log("boot: ended cause=%s status=%d lived_ms=%u", nf_cause_name(end->cause), WEXITSTATUS(end->status),
                 end->lived_ms);
}

uint32_t port_boot_backoff_ms(unsigned failures)
{
    if (failures == 0)
        return 0;
    return failures > 7 ? 10000 : 100u << (failures - 1);
}

/* --- recovery ----------------------------------------------------------------------------------------------------- */

static int open_flash(struct boot *b)
{
    int rc = -EWOULDBLOCK;
    for (unsigned i = 0; i < LOCK_RETRIES && rc == -EWOULDBLOCK; i++) {
        rc = port_flash_open(&b->flash, b->options->flash);
        if (rc == -EWOULDBLOCK && rest(b, LOCK_PAUSE_MS))
            break;
    }
    if (rc == -EWOULDBLOCK) {
        port_log("boot: %s is in use by another bootloader", b->options->flash);
        return PORT_BOOT_LOCKED;
    }
    if (rc != 0) {
        port_log("boot: %s: %s", b->options->flash, rc == -EINVAL ? "not a flash file" : strerror(-rc));
        return PORT_BOOT_FLASH;
    }
    if (port_layout(&b->layout, &b->flash.flash) != 0) {
        port_log("boot: %s: too small", b->options->flash);
        port_flash_close(&b->flash);
        return PORT_BOOT_FLASH;
    }
    return 0;
}

/* Waits until there is another file at the path and opens it; the lock on the old one is let go, so that it can be
 * replaced. True: asked to stop. */
static bool recover(struct boot *b)
{
    struct stat old, now;
    const int known = fstat(b->flash.fd, &old);
    port_log("boot: RECOVERY: no slot boots; provision a new flash at %s", b->options->flash);
    port_flash_close(&b->flash);
    for (;;) {
        if (rest(b, RECOVERY_POLL_MS))
            return true;
        if (stat(b->options->flash, &now) != 0)
            continue;
        if (known == 0 && now.st_ino == old.st_ino && now.st_dev == old.st_dev &&
            now.st_mtim.tv_sec == old.st_mtim.tv_sec && now.st_mtim.tv_nsec == old.st_mtim.tv_nsec)
            continue;
        if (open_flash(b) == 0)
            return false;
        old = now;
    }
}

/* --- for ever ----------------------------------------------------------------------------------------------------- */

/* Boots once. True: go on with *cause; false: leave with *status. */
static bool boot_once(struct boot *b, enum boot_cause *cause, unsigned *failures, int *status)
{
    struct boot_choice choice;
    struct port_end end;
    select_slot(b, *cause, &choice);
    if (choice.slot < 0) {
        *status = b->options->once ? PORT_BOOT_RECOVERY : 0;
        *cause = BOOT_CAUSE_POWER;
        *failures = 0;
        if (b->options->once)
            port_log("boot: RECOVERY: no slot boots");
        return !b->options->once && !recover(b);
    }
    const bool confirmed = choice.record.state == BOOT_CONFIRMED;
    *status = 0;
    if (confirmed && rest(b, port_boot_backoff_ms(*failures)))
        return false;
    if (!run_slot(b, &choice, *cause, &end))
        end.cause = BOOT_CAUSE_POWER; /* nobody's fault */
    if (end.stopped)
        return false;
    log_end(&end);
    *cause = end.cause;
    *failures = confirmed && end.lived_ms < EARLY_MS ? *failures + 1 : 0;
    if (b->options->once)
        *status = (int)end.cause;
    return !b->options->once;
}

int port_boot_run(const struct port_boot_options *options)
{
    struct boot b = {.options = options, .crypto = crypto_sodium(), .image = {-1, -1}};
    enum boot_cause cause = BOOT_CAUSE_POWER;
    unsigned failures = 0;
    if (b.crypto == NULL)
        return PORT_BOOT_FLASH;
    int status = open_flash(&b);
    if (status != 0)
        return status;
    if (options->verbose)
        port_log("boot: %s: %u bytes, pages of %u, granules of %u%s; two slots of %u", options->flash,
                 b.flash.flash.size, b.flash.flash.page_size, b.flash.flash.granule,
                 b.flash.flash.write_once ? ", write once" : "", b.layout.slot_size);
    while (boot_once(&b, &cause, &failures, &status))
        ;
    drop_images(&b);
    port_flash_close(&b.flash);
    return status;
}
