#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "flash_file.h"
#include "layout.h"
#include "link.h"
#include "log.h"
#include "reset.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/port.h"

#define WATCHDOG_DEFAULT_MS 4000

static struct {
    struct port_flash flash;
    struct nf_layout layout;
    const struct mp_crypto *crypto;
    struct port_link link;
    bool lost;   /* the line broke, and the loop was not told yet */
    size_t held; /* bytes in buf, from `at` on */
    size_t at;
    int kick; /* write end of the watchdog pipe, -1: nobody watches */
    mp_time kick_due;
    mp_time kick_every;
    uint8_t buf[4096];
} port = {.kick = -1};

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

/* Says why the node does not start. */
static int fail(const char *what, int code)
{
    port_log("node: %s (%d)", what, code);
    return MP_ERR_STORE;
}

int nf_port_start(void)
{
    const long watchdog_ms = from_environment(PORT_ENV_WATCHDOG);
    const int fd = (int)from_environment(PORT_ENV_FLASH);
    const char *address = getenv(PORT_ENV_HCI);
    signal(SIGPIPE, SIG_IGN);
    port.kick = (int)from_environment(PORT_ENV_KICK);
    port.kick_every = MP_MS((mp_time)(watchdog_ms > 0 ? watchdog_ms : WATCHDOG_DEFAULT_MS)) / 4;
    port.crypto = crypto_sodium();
    if (fd < 0 || port.crypto == NULL)
        return fail("no flash handed down, or no crypto", fd);
    int rc = port_flash_adopt(&port.flash, fd);
    if (rc != 0)
        return fail("flash", rc);
    if (port_layout(&port.layout, &port.flash.flash) != 0)
        return fail("flash too small", 0);
    rc = port_link_init(&port.link, address != NULL ? address : "", nf_port_now());
    return rc == 0 ? 0 : fail("controller's address", rc);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

mp_time nf_port_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mp_time)t.tv_sec * 1000000 + (mp_time)t.tv_nsec / 1000;
}

static void flush(void)
{
    port_link_flush(&port.link, nf_port_now());
    port.lost = port.link.fd < 0;
}

void nf_port_sleep(mp_time until)
{
    const mp_time retry = port_link_next_expiry(&port.link);
    const mp_time due = retry < until ? retry : until;
    const mp_time now = nf_port_now();
    const mp_time wait = due > now ? due - now : 0;
    if (port.lost || port.held != 0)
        return; /* there is something to read */
    const struct timespec t = {.tv_sec = (time_t)(wait / 1000000), .tv_nsec = (long)(wait % 1000000 * 1000)};
    struct pollfd p = {.fd = port.link.fd, .events = POLLIN};
    if (port.link.queued != 0)
        p.events |= POLLOUT;
    if (ppoll(&p, 1, &t, NULL) > 0 && (p.revents & POLLOUT) != 0)
        flush();
}

mp_time nf_port_kick(mp_time now)
{
    if (port.kick < 0)
        return MP_NEVER;
    if (now >= port.kick_due) {
        port.kick_due = now + port.kick_every;
        if (write(port.kick, "k", 1) < 0 && errno != EAGAIN)
            port.kick = -1; /* nobody watches */
    }
    return port.kick_due;
}

uint32_t nf_port_random(void)
{
    uint32_t value = 0;
    while (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
        ;
    return value;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

const struct nf_flash *nf_port_flash(void)
{
    return &port.flash.flash;
}

const struct nf_layout *nf_port_layout(void)
{
    return &port.layout;
}

const struct mp_crypto *nf_port_crypto(void)
{
    return port.crypto;
}

/* --- the line ----------------------------------------------------------------------------------------------------- */

bool nf_port_link_is_up(void)
{
    return port.link.fd >= 0;
}

/* Fills the buffer with what came, after the line was opened if that was due. False when the loop must start the HCI
 * host over: the line broke or was opened anew. */
static bool fill(void)
{
    const mp_time now = nf_port_now();
    if (port_link_expire(&port.link, now))
        return false;
    if (port.link.fd < 0)
        return true;
    const int len = port_link_read(&port.link, now, port.buf, sizeof port.buf);
    port.at = 0;
    port.held = len > 0 ? (size_t)len : 0;
    if (len < 0)
        port_log("node: controller lost");
    return len >= 0;
}

int nf_port_link_read(uint8_t *buf, size_t cap)
{
    if (port.held == 0 && (port.lost || !fill())) {
        port.lost = false;
        return MP_ERR_ABSENT;
    }
    const size_t n = port.held < cap ? port.held : cap;
    for (size_t i = 0; i < n; i++)
        buf[i] = port.buf[port.at + i];
    port.at += n;
    port.held -= n;
    return (int)n;
}

int nf_port_link_write(const uint8_t *data, size_t len)
{
    if (port.link.fd < 0)
        return MP_ERR_ABSENT;
    port_link_put(&port.link, nf_port_now(), data, len);
    port.lost = port.link.fd < 0;
    return port.lost ? MP_ERR_ABSENT : MP_OK;
}

/* --- boot --------------------------------------------------------------------------------------------------------- */

unsigned nf_port_slot(void)
{
    return from_environment(PORT_ENV_SLOT) == 1 ? 1 : 0;
}

enum boot_cause nf_port_cause(void)
{
    const long cause = from_environment(PORT_ENV_CAUSE);
    return cause >= 0 ? (enum boot_cause)cause : BOOT_CAUSE_POWER;
}

_Noreturn void nf_port_reset(enum boot_cause cause)
{
    exit((int)cause);
}

void nf_port_log(const char *line)
{
    port_log("%s", line);
}
