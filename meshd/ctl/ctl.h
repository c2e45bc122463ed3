/*
 * meshctl: the operator's tool. Dispatch, options, output, and calls to the daemon, shared by the command files.
 *
 * Every command is a function (argc, argv) like main's, argv[0] being the command's name; it returns an exit status.
 * What is asked for goes to stdout, everything else to stderr. Not reentrant: one command a process.
 */
#ifndef MD_CTL_H
#define MD_CTL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses: stable, listed in docs/OPERATING.md. */
enum md_exit {
    MD_EXIT_OK = 0,
    MD_EXIT_FAILED = 1,      /* a file, the system, or the daemon's store failed */
    MD_EXIT_USAGE = 2,       /* the command line is wrong */
    MD_EXIT_UNREACHABLE = 3, /* no daemon answers at the socket, no part at the serial line */
    MD_EXIT_REFUSED = 4,     /* against a rule: signature, order, state */
    MD_EXIT_NOT_FOUND = 5,   /* no such node, release, rollout */
    MD_EXIT_HELD = 6,        /* watch: the rollout was held or reverted */
    MD_EXIT_TAMPERED = 7     /* audit: the hash chain does not close */
};

struct md_ctl {
    const char *socket; /* path of the daemon's socket */
    bool json;
};

/* Runs one command line, argv[0] being the program's name. Exit status. */
int md_ctl_run(int argc, char **argv);

/* --- commands ----------------------------------------------------------------------------------------------------- */

typedef int md_command(struct md_ctl *c, int argc, char **argv);
md_command md_cmd_network, md_cmd_key, md_cmd_provision, md_cmd_image, md_cmd_sign, md_cmd_import, md_cmd_releases,
    md_cmd_rollout, md_cmd_nodes, md_cmd_labels, md_cmd_status, md_cmd_watch, md_cmd_audit, md_cmd_version;

/* A subcommand of a group ("rollout start"). */
struct md_subcommand {
    const char *name;
    md_command *run;
};
/* Runs argv[1] of a group; help is the group's text, printed for --help or when the subcommand is missing. */
int md_ctl_group(struct md_ctl *c, int argc, char **argv, const struct md_subcommand *subs, const char *help);

/* --- options ------------------------------------------------------------------------------------------------------ */

enum md_option_kind { MD_OPTION_FLAG, MD_OPTION_STRING, MD_OPTION_NUMBER, MD_OPTION_LIST };
#define MD_LIST_MAX 16

struct md_list {
    unsigned count;
    const char *item[MD_LIST_MAX];
};

/* One "--name VALUE" or "--name=VALUE"; -o stands for --output. */
struct md_option {
    const char *name; /* without dashes */
    enum md_option_kind kind;
    void *out;         /* bool, const char *, uint64_t, struct md_list; untouched when the option is absent */
    uint64_t min, max; /* of a number */
};

/* Parses argv[1..]: options in any order, positional arguments into `args` (at least `need`, at most `max`). Number of
 * positional arguments; -1 after an error was printed (exit MD_EXIT_USAGE); -2 when help was printed (exit 0). */
int md_ctl_options(int argc, char **argv, const struct md_option *options, size_t option_count, const char **args,
                   int need, int max, const char *help);
#define MD_OPTIONS(a) (a), sizeof(a) / sizeof((a)[0])
/* Exit status for a negative result of the above. */
#define MD_OPTIONS_EXIT(n) ((n) == -2 ? MD_EXIT_OK : MD_EXIT_USAGE)

/* Decimal or 0x number within a range. */
bool md_ctl_number(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* --- output ------------------------------------------------------------------------------------------------------- */

/* "meshctl: " and the sentence on stderr; with --json also {"error", "exit"} on stdout. Returns status. */
int md_ctl_fail(const struct md_ctl *c, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A warning on stderr. */
void md_ctl_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints JSON, one document, and returns MD_EXIT_OK. */
int md_ctl_print_json(const cJSON *json);
/* Prints "warnings" of a reply to stderr. */
void md_ctl_print_warnings(const cJSON *json);

/* --- daemon ------------------------------------------------------------------------------------------------------- */

/* Calls the daemon with a JSON body (NULL: none). MD_EXIT_OK and *json (the caller's), or the exit status after the
 * error was printed. */
int md_ctl_call(const struct md_ctl *c, const char *method, const char *path, const cJSON *body, cJSON **json);
/* The same with a body of bytes. */
int md_ctl_upload(const struct md_ctl *c, const char *path, const void *data, size_t len, unsigned timeout_s,
                  cJSON **json);
/* Whether a path segment from the command line may go into a request's path. */
bool md_ctl_is_name(const char *text);

/* --- JSON readers that bear anything ------------------------------------------------------------------------------ */

const char *md_json_string(const cJSON *object, const char *name); /* "" when it is no string */
double md_json_number(const cJSON *object, const char *name);      /* 0 when it is no number */
bool md_json_true(const cJSON *object, const char *name);
/* Strings of an array, joined by ','. */
void md_json_join(const cJSON *object, const char *name, char *out, size_t cap);
/* Hex string into bytes: their number, or -1. */
int md_json_hex(const cJSON *object, const char *name, uint8_t *out, size_t cap);

#endif
