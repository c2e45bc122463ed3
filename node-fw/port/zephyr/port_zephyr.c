#include "port_zephyr.h"

#include <zephyr/device.h>
#include <zephyr/devicetree.h>
#include <zephyr/drivers/hwinfo.h>
#include <zephyr/drivers/watchdog.h>
#include <zephyr/fatal.h>
#include <zephyr/kernel.h>
#include <zephyr/random/random.h>
#include <zephyr/retention/retention.h>
#include <zephyr/sys/printk.h>
#include <zephyr/sys/reboot.h>

#include "node-fw/port/crypto/crypto_table.h"
#include "node-fw/port/port.h"

BUILD_ASSERT(CONFIG_SYS_CLOCK_TICKS_PER_SEC >= 1000, "sleep must end within 10 ms, so ticks are to be 1 ms or less");

#define SLEEP_MAX MP_SECONDS(10)
#define HAS_WATCHDOG DT_NODE_HAS_STATUS(DT_ALIAS(watchdog0), okay)
#define HAS_HANDOVER DT_HAS_CHOSEN(meshfw_handover)

static K_SEM_DEFINE(wake, 0, 1);
static enum boot_cause cause = BOOT_CAUSE_POWER;
#if HAS_WATCHDOG
static const struct device *const watchdog = DEVICE_DT_GET(DT_ALIAS(watchdog0));
static int channel = -1;
#endif
#if HAS_HANDOVER
static const struct device *const handover = DEVICE_DT_GET(DT_CHOSEN(meshfw_handover));
#endif

/* --- causes ------------------------------------------------------------------------------------------------------- */

static bool is_cause(uint32_t value)
{
    return value == BOOT_CAUSE_REQUEST || (value >= BOOT_CAUSE_POWER && value <= BOOT_CAUSE_WATCHDOG);
}

/* What nf_port_reset() left, BOOT_CAUSE_POWER when it left nothing; once. */
static enum boot_cause handed_cause(void)
{
#if HAS_HANDOVER
    uint32_t words[2] = {0, 0};
    const bool is_there = retention_read(handover, 0, (uint8_t *)words, sizeof words) == 0 && words[1] == ~words[0];

    retention_clear(handover);
    if (is_there && is_cause(words[0]))
        return (enum boot_cause)words[0];
#endif
    return BOOT_CAUSE_POWER;
}

static void hand_cause(enum boot_cause why)
{
#if HAS_HANDOVER
    const uint32_t words[2] = {(uint32_t)why, ~(uint32_t)why};

    retention_write(handover, 0, (const uint8_t *)words, sizeof words);
#else
    ARG_UNUSED(why);
#endif
}

/* The part's own reasons first: they are of what could not say anything any more. */
static enum boot_cause read_cause(void)
{
    const enum boot_cause handed = handed_cause();
    uint32_t reasons = 0;

    if (hwinfo_get_reset_cause(&reasons) == 0)
        hwinfo_clear_reset_cause();
    if ((reasons & RESET_WATCHDOG) != 0)
        return BOOT_CAUSE_WATCHDOG;
    if ((reasons & (RESET_CPU_LOCKUP | RESET_PARITY | RESET_FLASH)) != 0)
        return BOOT_CAUSE_CRASH;
    return handed;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static int start_watchdog(void)
{
#if HAS_WATCHDOG
    const struct wdt_timeout_cfg config = {.window = {.min = 0, .max = CONFIG_MESHFW_WATCHDOG_MS},
                                           .flags = WDT_FLAG_RESET_SOC};

    if (!device_is_ready(watchdog))
        return MP_ERR_STATE;
    channel = wdt_install_timeout(watchdog, &config);
    if (channel < 0 || wdt_setup(watchdog, WDT_OPT_PAUSE_HALTED_BY_DBG) != 0)
        return MP_ERR_STATE;
#endif
    return 0;
}

int nf_port_start(void)
{
    cause = read_cause();
    int rc = start_watchdog();

    if (rc == 0)
        rc = nf_zephyr_flash_start();
    return rc == 0 ? nf_zephyr_uart_start() : rc;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

mp_time nf_port_now(void)
{
    return k_ticks_to_us_floor64((uint64_t)k_uptime_ticks());
}

void nf_zephyr_wake(void)
{
    k_sem_give(&wake);
}

void nf_port_sleep(mp_time until)
{
    k_sem_reset(&wake);
    const mp_time now = nf_port_now();

    /* What comes from here on gives the semaphore. */
    if (until <= now || nf_zephyr_uart_has_input())
        return;
    k_sem_take(&wake, K_USEC(until - now < SLEEP_MAX ? until - now : SLEEP_MAX));
}

mp_time nf_port_kick(mp_time now)
{
#if HAS_WATCHDOG
    if (channel >= 0)
        wdt_feed(watchdog, channel);
    return now + MP_MS(CONFIG_MESHFW_WATCHDOG_MS) / 3;
#else
    ARG_UNUSED(now);
    return MP_NEVER;
#endif
}

uint32_t nf_port_random(void)
{
    uint32_t value;

    while (sys_csrand_get(&value, sizeof value) != 0)
        k_sleep(K_MSEC(1)); /* the source is not ready; the watchdog ends it if it never is */
    return value;
}

const struct mp_crypto *nf_port_crypto(void)
{
    return &crypto_table;
}

/* --- boot --------------------------------------------------------------------------------------------------------- */

enum boot_cause nf_port_cause(void)
{
    return cause;
}

_Noreturn void nf_port_reset(enum boot_cause why)
{
    hand_cause(why);
    sys_reboot(SYS_REBOOT_COLD);
    CODE_UNREACHABLE;
}

#if defined(CONFIG_MESHFW_FATAL_RESET)
void k_sys_fatal_error_handler(unsigned int reason, const struct arch_esf *esf)
{
    ARG_UNUSED(reason);
    ARG_UNUSED(esf);
    nf_port_reset(BOOT_CAUSE_CRASH);
}
#endif

void nf_port_log(const char *line)
{
    printk("%s\n", line);
}
