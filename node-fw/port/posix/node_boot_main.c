/*
 * node-boot: the bootloader of a node that is a program, and the tools that go with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "boot_posix.h"
#include "link.h"
#include "log.h"
#include "provision.h"

#define FLASH_SIZE (512u * 1024)

static const char usage[] =
    "Usage: node-boot --flash FILE --hci ADDRESS [options]     run a node\n"
    "       node-boot provision --flash FILE --settings BLOB --image IMG --manifest MANIFEST\n"
    "                           [--geometry word|once8] [--size BYTES]\n"
    "       node-boot inspect --flash FILE [--json]\n"
    "\n"
    "Boots the image in the flash file, watches it, and boots again when it ends. Ends on SIGTERM.\n"
    "  --hci unix:PATH | tty:DEVICE[,BAUD]  Bluetooth LE controller of the node\n"
    "  --log FILE         append the output of bootloader and image here\n"
    "  --watchdog-ms N    the image is killed when it does not kick for so long (default 5000)\n"
    "  --once             boot once; the exit status tells how the image ended\n"
    "  --verbose          say more\n"
    "\n"
    "provision writes a fresh flash file: settings record, the image sealed into slot 0, confirmed.\n"
    "  --geometry word    pages of 4096 bytes, 4-byte words (default)\n"
    "  --geometry once8   pages of 2048 bytes, 8-byte write-once granules with uncorrectable reads\n"
    "  --size N           bytes (default 524288)\n"
    "\n"
    "inspect prints settings, slots and boot record; the node may be running.\n"
    "\n"
    "Exit status: 0 stopped or done, 1 failed, 2 usage, 3 flash cannot be opened, 4 in use by another\n"
    "bootloader, 5 nothing boots (--once); with --once also 0 and 64 to 69, the reset cause.\n";

enum {
    OPT_FLASH = 256,
    OPT_HCI,
    OPT_LOG,
    OPT_WATCHDOG,
    OPT_ONCE,
    OPT_VERBOSE,
    OPT_SETTINGS,
    OPT_IMAGE,
    OPT_MANIFEST,
    OPT_GEOMETRY,
    OPT_SIZE,
    OPT_JSON,
    OPT_HELP
};

static const struct option options[] = {{"flash", required_argument, NULL, OPT_FLASH},
                                        {"hci", required_argument, NULL, OPT_HCI},
                                        {"log", required_argument, NULL, OPT_LOG},
                                        {"watchdog-ms", required_argument, NULL, OPT_WATCHDOG},
                                        {"once", no_argument, NULL, OPT_ONCE},
                                        {"verbose", no_argument, NULL, OPT_VERBOSE},
                                        {"settings", required_argument, NULL, OPT_SETTINGS},
                                        {"image", required_argument, NULL, OPT_IMAGE},
                                        {"manifest", required_argument, NULL, OPT_MANIFEST},
                                        {"geometry", required_argument, NULL, OPT_GEOMETRY},
                                        {"size", required_argument, NULL, OPT_SIZE},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

struct arguments {
    struct port_boot_options boot;
    struct port_provision provision;
    const char *flash, *log, *geometry;
    uint32_t size;
    bool json, help;
};

static bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] == '-' || v < min || v > max)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool take(struct arguments *a, int option)
{
    switch (option) {
    case OPT_FLASH:
        a->flash = optarg;
        return true;
    case OPT_HCI:
        a->boot.hci = optarg;
        return true;
    case OPT_LOG:
        a->log = optarg;
        return true;
    case OPT_WATCHDOG:
        return parse_number(optarg, 50, 3600000, &a->boot.watchdog_ms);
    case OPT_ONCE:
        a->boot.once = true;
        return true;
    case OPT_VERBOSE:
        a->boot.verbose = true;
        return true;
    case OPT_SETTINGS:
        a->provision.settings = optarg;
        return true;
    case OPT_IMAGE:
        a->provision.image = optarg;
        return true;
    case OPT_MANIFEST:
        a->provision.manifest = optarg;
        return true;
    case OPT_GEOMETRY:
        a->geometry = optarg;
        return strcmp(optarg, "word") == 0 || strcmp(optarg, "once8") == 0;
    case OPT_SIZE:
        return parse_number(optarg, 1024, 64u << 20, &a->size);
    case OPT_JSON:
        a->json = true;
        return true;
    case OPT_HELP:
        a->help = true;
        return true;
    default: /* getopt's '?', already explained */
        return false;
    }
}

static bool parse(struct arguments *a, int argc, char **argv)
{
    int option;
    *a = (struct arguments){
        .boot = {.output = -1, .stop = -1, .watchdog_ms = PORT_WATCHDOG_MS}, .geometry = "word", .size = FLASH_SIZE};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!take(a, option))
            return false;
    return a->help || (optind == argc && a->flash != NULL);
}

static int bad_usage(void)
{
    fputs("node-boot: see node-boot --help\n", stderr);
    return PORT_BOOT_USAGE;
}

/* A descriptor that becomes readable when the process is asked to end. */
static int open_stop(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run(struct arguments *a)
{
    struct port_link probe;
    if (a->boot.hci == NULL || port_link_init(&probe, a->boot.hci, 0) != 0) {
        fputs("node-boot: --hci needs unix:PATH or tty:DEVICE[,BAUD]\n", stderr);
        return PORT_BOOT_USAGE;
    }
    if (a->log != NULL) {
        a->boot.output = open(a->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (a->boot.output < 0) {
            fprintf(stderr, "node-boot: %s: %s\n", a->log, strerror(errno));
            return 1;
        }
        port_log_to(a->boot.output);
    }
    a->boot.flash = a->flash;
    a->boot.stop = open_stop();
    if (a->boot.stop < 0) {
        perror("node-boot");
        return 1;
    }
    return port_boot_run(&a->boot);
}

static int provision(struct arguments *a)
{
    if (a->provision.settings == NULL || a->provision.image == NULL || a->provision.manifest == NULL)
        return bad_usage();
    a->provision.flash = a->flash;
    a->provision.geometry = strcmp(a->geometry, "once8") == 0 ? port_flash_once8(a->size) : port_flash_word(a->size);
    return port_provision(&a->provision) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct arguments a;
    if (port_log_start() != 0)
        return 1;
    const char *verb = argc > 1 && argv[1][0] != '-' ? argv[1] : "run";
    if (argc > 1 && argv[1][0] != '-') {
        argv++;
        argc--;
    }
    if (!parse(&a, argc, argv))
        return bad_usage();
    if (a.help)
        return fputs(usage, stdout) < 0 ? 1 : 0;
    if (strcmp(verb, "run") == 0)
        return run(&a);
    if (strcmp(verb, "provision") == 0)
        return provision(&a);
    if (strcmp(verb, "inspect") == 0)
        return port_inspect(a.flash, a.json, stdout) == 0 ? 0 : 1;
    return bad_usage();
}
