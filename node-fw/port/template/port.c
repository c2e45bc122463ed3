/*
 * A port to fill in: copy this folder, and work down this file. The contract of each function is in
 * node-fw/port/port.h, the walk-throughs of several parts in docs/PORTING.md, a finished one in node-fw/port/nrf51.
 *
 * It compiles as it is, and does nothing well: every function is honest about being empty, so that the conformance test
 * (tests/port) fails, names it, and goes on to the next one as soon as it is filled in. Begin with nf_port_log(), or
 * the line, so that you can read what it says.
 */
#include "node-fw/port/port.h"

#include "map.h"

/*
 * Starts clock, random source, flash controller and UART. Return 0 when all of them run; nothing is retried.
 * On parts with a bootloader of this project, check its exports first (magic, version, size): an image that meets a
 * bootloader it does not know must not run.
 */
int nf_port_start(void)
{
    return MP_ERR_UNSUPPORTED; /* nothing is here yet */
}

/* --- time --------------------------------------------------------------------------------------------------------- */

/*
 * A free-running counter, extended to 64 bits and to microseconds. Pick one that runs in the sleep that nf_port_sleep()
 * uses (an RTC, a low-power timer). Extending in software means noticing each wrap: by its interrupt, or because the
 * loop calls this more often than the counter wraps. A counter of 32,768 Hz: ticks * 15625 / 512.
 */
mp_time nf_port_now(void)
{
    return 0; /* stands still */
}

/*
 * Arm a compare interrupt for `until`, mask interrupts, look once more for bytes and for `until`, wait (WFI; it wakes
 * for a pending interrupt even when masked), unmask. Without the second look, a byte that came just before the WFI is
 * seen only when the timer wakes the part. Sleep no deeper than the UART can wake from.
 */
void nf_port_sleep(mp_time until)
{
    (void)until; /* does not sleep: the loop spins */
}

/*
 * Feed the hardware watchdog: through the bootloader's exports where it owns it. Longest period not below 5 s, better
 * 8 s or more. Return now plus a third of it.
 */
mp_time nf_port_kick(mp_time now)
{
    return now; /* too late already */
}

/*
 * The hardware's random source, with its health tests and bias correction on. One that is slow or may fail seeds a
 * generator instead; a serial number, an ADC or the time is no seed.
 */
uint32_t nf_port_random(void)
{
    return 0;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/*
 * read(): check the range, copy. On parts with ECC a double error traps (NMI, bus fault): arm a flag around the copy,
 * let the handler set it, and return NF_FLASH_UNCORRECTABLE; a cut leaves such granules behind, so this will happen.
 * Caches in front of flash must be invalidated after erase and program.
 */
static int flash_read(void *ctx, uint32_t address, void *data, size_t len)
{
    (void)ctx, (void)address, (void)data, (void)len;
    return NF_FLASH_FAILED;
}

/*
 * program(): whole granules, aligned, any number of them, also across pages; the source buffer may lie at any address.
 * Refuse everything below PART_BOOT_SIZE. Wait for the end, look at the error flags, clear them, read back.
 */
static int flash_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    (void)ctx, (void)address, (void)data, (void)len;
    return NF_FLASH_FAILED;
}

/*
 * erase(): one page. It may take tens of milliseconds with the CPU halted: the UART's flow control must stop the
 * controller meanwhile, or bytes are lost (and said to be lost).
 */
static int flash_erase(void *ctx, uint32_t address)
{
    (void)ctx, (void)address;
    return NF_FLASH_FAILED;
}

/* is_blank is left out where erased flash reads as ones; behind transparent encryption it does not (flash.h). */
static const struct nf_flash flash = {.size = PART_FLASH_SIZE,
                                      .page_size = PART_PAGE_SIZE,
                                      .granule = PART_GRANULE,
                                      .write_once = PART_WRITE_ONCE,
                                      .read = flash_read,
                                      .program = flash_program,
                                      .erase = flash_erase};

/* slot_base differs where code runs in place: images are then packed from two links, one for each slot. Both 0 where an
 * image is copied, mapped by an MMU, or moved by swapping banks. */
static const struct nf_layout layout = {.boot_record = PART_BOOT_RECORD,
                                        .settings = PART_SETTINGS,
                                        .objects = PART_OBJECTS,
                                        .objects_size = PART_OBJECTS_SIZE,
                                        .slot = {PART_SLOT_A, PART_SLOT_B},
                                        .slot_size = PART_SLOT_SIZE,
                                        .slot_base = {PART_FLASH_BASE + PART_SLOT_A, PART_FLASH_BASE + PART_SLOT_B}};

/* Once map.h is filled in, let the compiler hold you to it. */
#if PART_FLASH_SIZE != 0
#define IS_PAGES(value) ((value) % PART_PAGE_SIZE == 0)
_Static_assert(IS_PAGES(PART_BOOT_SIZE) && PART_BOOT_RECORD >= PART_BOOT_SIZE, "bootloader");
_Static_assert(PART_SETTINGS >= PART_BOOT_RECORD + 2 * PART_PAGE_SIZE, "boot record: two pages");
_Static_assert(PART_OBJECTS >= PART_SETTINGS + PART_PAGE_SIZE, "settings: one page");
_Static_assert(PART_OBJECTS_SIZE >= 4 * PART_PAGE_SIZE && PART_SLOT_A >= PART_OBJECTS + PART_OBJECTS_SIZE, "log");
_Static_assert(PART_SLOT_B >= PART_SLOT_A + PART_SLOT_SIZE && IS_PAGES(PART_SLOT_SIZE), "slots");
_Static_assert(PART_SLOT_B + PART_SLOT_SIZE <= PART_FLASH_SIZE, "end of flash");
#endif

const struct nf_flash *nf_port_flash(void)
{
    return &flash;
}

const struct nf_layout *nf_port_layout(void)
{
    return &layout;
}

/*
 * With a bootloader of this project: the table that it exports at a fixed address. Else your own over any library with
 * Ed25519 (RFC 8032, S below the order, no keys of small order), SHA-256 and SipHash-2-4.
 */
const struct mp_crypto *nf_port_crypto(void)
{
    return NULL;
}

/* --- the line to the controller: HCI over H4 ---------------------------------------------------------------------- */

/* True, unless the line itself can be down (USB, a socket, a controller core that is off). */
bool nf_port_link_is_up(void)
{
    return false;
}

/*
 * From a ring that the receive interrupt (or DMA) fills: 256 bytes at least, 512 is better where erasing halts the CPU.
 * Drop RTS while there is room for what a controller still sends after it: 8 bytes at least. On an overrun, a framing
 * error or a break: empty the ring and return MP_ERR_ABSENT at the next call, once.
 */
int nf_port_link_read(uint8_t *buf, size_t cap)
{
    (void)buf, (void)cap;
    return 0;
}

/*
 * All of it or an error: wait for CTS, asleep if you can, for at most 100 ms without a byte taken and a second in all.
 */
int nf_port_link_write(const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    return MP_ERR_ABSENT;
}

/* --- boot --------------------------------------------------------------------------------------------------------- */

/* From the handover area (node-fw/port/exports.h), or from the address that this code runs at. */
unsigned nf_port_slot(void)
{
    return 2; /* neither */
}

/* From the handover area: the bootloader has read the part's reset reasons, which are gone by now. */
enum boot_cause nf_port_cause(void)
{
    return (enum boot_cause)1; /* none of them */
}

/*
 * Write cause, then ~cause, to the handover area, and reset the part as a whole (SYSRESETREQ, or the watchdog), so that
 * the bootloader finds every peripheral as after power-on. Fault handlers end here with BOOT_CAUSE_CRASH.
 */
_Noreturn void nf_port_reset(enum boot_cause cause)
{
    (void)cause;
    for (;;)
        ; /* a watchdog would end this */
}

/* RTT, semihosting, a second UART; or nothing, and the conformance test's lines go over the line to the controller
 * (conformance_say_link()). */
void nf_port_log(const char *line)
{
    (void)line;
}
