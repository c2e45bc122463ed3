/*
 * Emulated nRF51822 parts (qemu-system-arm, machine `microbit`) for tests: start, flash, reset, look inside.
 *
 *   qemu_open()            starts one part, stopped
 *   qemu_load()            writes all of its flash, resets it; still stopped
 *   qemu_run()             lets it run; qemu_pause() stops it
 *   qemu_reset()           a reset at this moment, proved by QEMU's own event; flash is kept
 *   qemu_flash()           all of its flash, consistent
 *   qemu_peek()            RAM or flash; with qemu_symbol() variables of the firmware
 *   qemu_watch(), ...      stops it at an instruction or a write, for resets inside flash operations
 *   qemu_close()           kills it, removes its files
 *
 * One test drives many parts: every call is for one part, bounded in time, and fails with a sentence that names the
 * part and shows the last lines of its log. QMP events of all parts are taken in by qemu_poll(). All sockets are unix
 * sockets in the folder that the caller names, so any number of tests runs side by side; a part ends with the test's
 * process, however that ends (PR_SET_PDEATHSIG). Not for two threads.
 *
 * What QEMU's nRF51 is: flash with page erase, word writes that only clear bits, writes ignored unless enabled; UART,
 * RNG, TIMER, GPIO. A reset keeps flash and RAM. It lacks RTC, watchdog, PPI, TEMP, ECB; RESETREAS reads as 1. Erase
 * and word write take no time. Time: `-icount shift=6` is 64 ns an instruction, about the speed of the real part; the
 * part's clock stops while it is stopped and lags behind the host's when the machine is busy.
 */
#ifndef TESTS_QEMU_H
#define TESTS_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define QEMU_FLASH_SIZE 0x40000u
#define QEMU_PAGE_SIZE 0x400u
#define QEMU_RAM 0x20000000u
#define QEMU_RAM_SIZE 0x4000u
#define QEMU_PATH_MAX 108 /* of a unix socket's address */

struct qemu_options {
    const char *name; /* of the part: for messages and files; short, no '/' */
    const char *dir;  /* existing folder for sockets, log and memory files: the test's own */
    /* Socket that the part's UART is connected to, as a client that tries again every second: DIR/NAME.sock of the
     * live air. NULL: the test plays the controller, see qemu_serial(). */
    const char *serial;
    /* Instructions take 2^shift ns; 0: 6. Negative: as fast as the host can, with a clock that is the host's. */
    int icount_shift;
    bool trace_guest_errors; /* accesses that the part would not understand go to the log (-d guest_errors,unimp) */
};

#define QEMU_PLACES_MAX 16
struct qemu_place {
    char kind; /* of the debugger's protocol */
    uint32_t address;
    uint32_t size;
};

/* One part. Zeroed: closed. Fields are for reading. */
struct qemu {
    char name[24];
    char dir[QEMU_PATH_MAX];
    pid_t pid; /* 0: none */
    int qmp;   /* sockets, -1 closed; for poll(): when readable, call qemu_poll() */
    int gdb;
    int serial_listener;
    int serial; /* the controller's end of the UART, of qemu_serial() */
    bool running;
    /* Since qemu_open(), from QEMU's events. */
    unsigned resets_asked; /* by qemu_reset() and qemu_load() */
    unsigned resets_own;   /* by the part itself: SYSRESETREQ */
    unsigned places;       /* of qemu_break() and qemu_watch() */
    struct qemu_place place[QEMU_PLACES_MAX];
    int64_t lag_ms; /* when qemu_lag_ms() looked last */
    unsigned next_id;
    uint8_t in[16384]; /* QMP, not yet a line */
    size_t in_len;
};

/* What a failure ends with: exit(1) unless somebody sets another one. Must not return. */
extern void (*qemu_failed)(void);
/* Prints the sentence, the part's name, its registers if they can be had, and the end of its log; then qemu_failed. */
_Noreturn void qemu_fail(struct qemu *q, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- life; each fails when it cannot --------------------------------------------------------------------------------- */

/* Starts it: stopped before the first instruction, its flash still without meaning, connecting to its line. */
void qemu_open(struct qemu *q, const struct qemu_options *options);
/* Kills it and removes its files, the log unless keep_log. Harmless when closed. */
void qemu_close(struct qemu *q);
/* Path of its log: QEMU's own messages. Static storage. */
const char *qemu_log(const struct qemu *q);

/*
 * Replaces all of flash (`size` bytes at 0, at most QEMU_FLASH_SIZE; 0xFF behind), reads it back, resets the part and
 * leaves it stopped. What is written this way survives resets.
 */
void qemu_load(struct qemu *q, const uint8_t *image, size_t size);
/* Puts a file (raw, from address 0) into an image that qemu_load() then takes: fails when it does not fit. */
void qemu_image_file(struct qemu *q, uint8_t image[QEMU_FLASH_SIZE], uint32_t address, const char *path);

void qemu_run(struct qemu *q);
void qemu_pause(struct qemu *q);
/* Resets it now (the pin: flash and RAM are kept), and returns when QEMU said that it happened. Runs on if it ran. */
void qemu_reset(struct qemu *q);

/* --- the other end of its UART -------------------------------------------------------------------------------------- */

/* With options.serial NULL: the connected, non-blocking socket, waiting for the connection at most 5 s. */
int qemu_serial(struct qemu *q);
/* Ends the connection; the next qemu_serial() waits for the new one. */
void qemu_serial_drop(struct qemu *q);

/* --- waiting ---------------------------------------------------------------------------------------------------------- */

/* Takes in what QEMU said of these parts; waits for at most ms until there is anything (0: does not wait). Fails when
 * one of them has ended. NULL entries and closed parts are skipped. */
void qemu_poll(struct qemu *const parts[], size_t count, int ms);
typedef bool qemu_condition(struct qemu *q, void *ctx);
/* Asks every 20 ms until it holds: true; or the time (of the host) is up: false. */
bool qemu_until(struct qemu *q, double seconds, qemu_condition *condition, void *ctx);
/* Lets so many milliseconds of the part's own clock pass; fails when that takes over limit_s of the host's. Needs a
 * part that runs, and icount. Exact to 2 ms. */
void qemu_pass(struct qemu *q, unsigned ms, double limit_s);
/* Host clock minus the part's, ms: how far it lags behind since it was started. */
int64_t qemu_lag_ms(struct qemu *q);

/* --- looking inside ----------------------------------------------------------------------------------------------------- */

/* All of flash as it is between two instructions; stops the part for the moment if it runs. */
void qemu_flash(struct qemu *q, uint8_t out[QEMU_FLASH_SIZE]);
/* Any memory that is flash or RAM, likewise. */
void qemu_peek(struct qemu *q, uint32_t address, void *out, size_t len);
uint32_t qemu_peek_u32(struct qemu *q, uint32_t address);
/* Changes RAM or flash behind the firmware's back: a fault to be found. */
void qemu_poke(struct qemu *q, uint32_t address, const void *data, size_t len);
/* r0 to r15 and xPSR. */
void qemu_registers(struct qemu *q, uint32_t out[17]);
/* Reads an answer of the human monitor; for diagnosis. */
void qemu_monitor(struct qemu *q, const char *line, char *out, size_t cap);

/* Value and size (NULL: not wanted) of a symbol of an ELF file (32 bit, little endian): 0, or -1 when the file is none
 * or lacks it. Thumb bit cleared from functions. */
int qemu_symbol(const char *elf, const char *symbol, uint32_t *value, uint32_t *size);

/* --- stopping at a place: between two instructions, inside a flash operation --------------------------------------------- */

/*
 * Attaches the debugger's end: stops the part. Then breakpoints and watched writes may be set (at most 16), and
 * qemu_debug_run() lets it run until one is hit. qemu_reset() works meanwhile. While attached, qemu_run() and
 * qemu_pause() must not be used; the part is stopped whenever qemu_debug_wait() has said so.
 */
void qemu_debug(struct qemu *q);
void qemu_break(struct qemu *q, uint32_t address); /* of an instruction */
void qemu_watch(
    struct qemu *q, uint32_t address,
    uint32_t size); /* writes to these bytes of flash or registers of peripherals: stops before the write is done */
void qemu_debug_run(struct qemu *q);                         /* runs */
bool qemu_debug_wait(struct qemu *q, int ms, uint32_t *pc);  /* true: hit and stopped; pc (NULL: not wanted) */
void qemu_debug_stop(struct qemu *q);                        /* stops it wherever it is */
void qemu_debug_step(struct qemu *q, unsigned instructions); /* of a stopped one; past any place */
/* Removes all of them and detaches; leaves the part stopped. */
void qemu_debug_end(struct qemu *q);

#endif
