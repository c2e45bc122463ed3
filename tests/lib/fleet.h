/*
 * A whole mesh of real programs on one machine, for end-to-end tests and the demonstration: the live air, a gateway
 * daemon, and one bootloader process a node, each as an operator would start it, in a temporary folder.
 *
 *   fleet_open()            folder, scenario, `meshsim live`
 *   fleet_network()         `meshctl network create`: keys, keyset, configuration
 *   fleet_gateway_start()   `meshd`
 *   fleet_release()         `meshctl image pack`, `sign`, `import` of one of the images in BUILD/images
 *   fleet_add()             `meshctl provision` and `node-boot provision`
 *   fleet_node_start()      `node-boot`
 *   fleet_wait()            polls until something holds
 *   fleet_close()           ends everything, removes the folder
 *
 * Two witnesses tell what happened, and neither believes the other: the daemon's API (what nodes reported), and the
 * air's log, where the controller of each node wrote down which version connected to it and when.
 *
 * No port, no fixed path, no process name: any number of fleets run side by side. A process that this one started ends
 * with it, however it ends (PR_SET_PDEATHSIG; the temporary folder is removed by a caretaker process). Nothing here is
 * reentrant: one fleet at a time a process. What fails prints the tails of all logs and calls fleet_failed.
 */
#ifndef TESTS_FLEET_H
#define TESTS_FLEET_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FLEET_NODES_MAX 32
#define FLEET_BOOTS_MAX 128
#define FLEET_PATH_MAX 240
/* What is sold: programs, emulated parts. Models are numbered through, whatever product they belong to. */
#define FLEET_PRODUCT 1
#define FLEET_PART_PRODUCT 2

/* A start of a node's program, as the air saw it. */
struct fleet_boot {
    uint64_t at_us; /* of the air */
    char version[16];
};

struct fleet_part;

struct fleet_node {
    char name[24]; /* of the device in the scenario, and of the node in the registry */
    uint32_t id;
    uint16_t model;
    pid_t pid;               /* bootloader or emulator, 0 none */
    struct fleet_part *part; /* an emulated part (fleet_part.h), NULL: a process */
    unsigned boots;
    struct fleet_boot boot[FLEET_BOOTS_MAX];
};

struct fleet_options {
    const char *name;     /* for messages */
    const char *scenario; /* path of a scenario file, or */
    const char *text;     /* a scenario */
    unsigned watchdog_ms; /* of the nodes, 0: 1500 */
    int part_shift;       /* of emulated parts, as icount_shift of qemu.h */
    bool record;          /* every frame, for fleet_frames() */
};

struct fleet {
    struct fleet_options options;
    char build[FLEET_PATH_MAX];
    char dir[FLEET_PATH_MAX / 2];
    char http[FLEET_PATH_MAX]; /* socket of the API */
    pid_t air, gateway;        /* 0 none */
    char publisher[FLEET_PATH_MAX];
    unsigned part_models; /* bit m: model m is an nRF51 (FLEET_PART_PRODUCT), images BUILD/nrf51/node-STEM.{a,b}.bin */
    unsigned count;
    struct fleet_node node[FLEET_NODES_MAX];
    long log_offset; /* of the air's log, read so far */
};

/* What fleet_fail() ends with; exit(1) unless somebody sets another one. Must not return. */
extern void (*fleet_failed)(void);
/* Prints the sentence and the tails of all logs, then calls fleet_failed. */
_Noreturn void fleet_fail(struct fleet *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define FLEET_REQUIRE(f, condition)                                                                                    \
    ((condition) ? (void)0 : fleet_fail((f), "%s:%d: not so: %s", __FILE__, __LINE__, #condition))

/* --- life: each fails the fleet when it cannot -------------------------------------------------------------------- */

/* Makes the folder and starts the air. BUILD in the environment names the build folder, else the program's own place
 * does. */
void fleet_open(struct fleet *f, const struct fleet_options *options);
/* Ends what runs and removes the folder. FLEET_KEEP=1 in the environment keeps it, with a record of every frame in it.
 * Harmless when nothing is open. */
void fleet_close(struct fleet *f);

void fleet_network(struct fleet *f);
/* Starts the daemon and waits until it answers and its controller runs. */
void fleet_gateway_start(struct fleet *f);
void fleet_gateway_kill(struct fleet *f); /* SIGKILL */

/* Packs one image a model, bit m of `models` for model m, signs them as one release, and imports that. `stem` is
 * VERSION or VERSION-FAULT of BUILD/images/node-STEM.bin. Signed with the key file fleet.publisher. */
void fleet_release(struct fleet *f, unsigned release, const char *stem, unsigned models);
/* The two halves of it. */
void fleet_sign(struct fleet *f, unsigned release, const char *stem, unsigned models);
void fleet_import(struct fleet *f, unsigned release);
/* Path of what fleet_sign() made. Static storage. */
const char *fleet_bundle(const struct fleet *f, unsigned release);

/* Enters a node (label NULL: none) and writes its flash with the release's image for its model; not started. */
struct fleet_node *fleet_add(struct fleet *f, const char *name, unsigned model, const char *label, unsigned release);
/* Its two halves: enters the node, writing its settings to NAME.settings in the folder; takes manifest and payload of a
 * release for a model out of the bundle, into files whose paths it gives. */
struct fleet_node *fleet_enter(struct fleet *f, const char *name, unsigned model, const char *label);
void fleet_factory(struct fleet *f, unsigned release, unsigned model, char manifest[FLEET_PATH_MAX],
                   char payload[FLEET_PATH_MAX]);
void fleet_node_start(struct fleet *f, struct fleet_node *n);
void fleet_node_kill(struct fleet *f, struct fleet_node *n); /* SIGKILL to the bootloader: a power cut */
/* The process that runs the node's image, 0 none. */
pid_t fleet_node_image(const struct fleet_node *n);
struct fleet_node *fleet_find(struct fleet *f, const char *name);

/*
 * All of the above: network, gateway, release 1 (image 1.0.0) for model 1, nodes n1 to nCOUNT, the first `canaries` of
 * them with label "canary", started and enrolled.
 */
void fleet_start(struct fleet *f, const struct fleet_options *options, unsigned count, unsigned canaries);

/* --- tools -------------------------------------------------------------------------------------------------------- */

/* Runs meshctl --json with these arguments, NULL last; its exit status, and what it printed (NULL when that is no
 * JSON) in *json unless json is NULL. The caller deletes it. */
int fleet_ctl(struct fleet *f, cJSON **json, ...) __attribute__((sentinel));
/* The same, and fails unless it exits with 0. */
void fleet_do(struct fleet *f, cJSON **json, ...) __attribute__((sentinel));
/* Runs a program of BUILD/bin (or a path) with these arguments; its exit status, output in out (cut to cap). */
int fleet_run(struct fleet *f, char *out, size_t cap, const char *const argv[]);
/* Starts a rollout with this policy. */
void fleet_rollout(struct fleet *f, unsigned release, const char *policy);

/* GET of the API: NULL when the daemon does not answer with 200. The caller deletes it. */
cJSON *fleet_get(struct fleet *f, const char *path);
/* A request with a JSON body (NULL: none); HTTP status, or -1. *json (the caller's) unless json is NULL. */
int fleet_call(struct fleet *f, const char *method, const char *path, const cJSON *body, cJSON **json);
/* One line to the air's control socket; its answer in out. */
void fleet_air(struct fleet *f, char *out, size_t cap, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* What `node-boot inspect` says. The caller deletes it. */
cJSON *fleet_inspect(struct fleet *f, const struct fleet_node *n);

/* Path of a file in the fleet's folder. */
void fleet_path(const struct fleet *f, char out[FLEET_PATH_MAX], const char *name);
/* String or number at a path "a.b.c" of a JSON tree; "" or 0 when there is none. */
const char *fleet_text(const cJSON *tree, const char *path);
double fleet_number(const cJSON *tree, const char *path);

/* --- what happened ------------------------------------------------------------------------------------------------ */

typedef bool fleet_condition(struct fleet *f, void *ctx);
/* Polls until it holds: true; or the time is up: false. */
bool fleet_poll(struct fleet *f, double seconds, fleet_condition *condition, void *ctx);
/* The same; fails when the time is up, naming what was waited for. */
void fleet_wait(struct fleet *f, double seconds, const char *what, fleet_condition *condition, void *ctx);
/* Lets time pass. */
void fleet_pause(double seconds);
double fleet_now(void); /* seconds, monotonic */

/* Takes in what the air logged since. fleet_poll() does it before each try. */
void fleet_witness(struct fleet *f);
/* Version that connected last, "" none. */
const char *fleet_runs(const struct fleet_node *n);
/* How many starts of this version. */
unsigned fleet_booted(const struct fleet_node *n, const char *version);
/* How often it came with another version than the time before. A node also says its version when it had to start its
 * controller anew, which a busy machine can make it do; so this is what an update does, and only that. */
unsigned fleet_changes(const struct fleet_node *n);
/* Time of the first one, UINT64_MAX none. */
uint64_t fleet_first_boot(const struct fleet_node *n, const char *version);

/*
 * Ends the air (and with it what can happen) and hands out every frame that was sent, in order, with the devices that
 * received it: of options.record.
 */
struct fleet_frame {
    uint64_t at_us;
    const char *device;
    const uint8_t *frame; /* as of docs/SPEC.md section 1, tag included */
    size_t len;
    const char *outcomes; /* "n2=R n3=L ..." */
};
typedef void fleet_each_frame(struct fleet *f, const struct fleet_frame *frame, void *ctx);
void fleet_frames(struct fleet *f, fleet_each_frame *each, void *ctx);
/* Whether this device received it. */
bool fleet_received(const struct fleet_frame *frame, const char *device);

/* Report of a node: phase, reason ("" none), release it runs. False when there is none. */
struct fleet_report {
    char phase[24];
    char reason[32];
    unsigned running, target;
};
bool fleet_reported(struct fleet *f, const struct fleet_node *n, struct fleet_report *report);

/* Waits: every running node enrolled; a rollout's phase ("done", "held", ...); every node of the list (NULL-ended;
 * NULL: all) last started this version by the air's log and reports the release as what it runs; every node holds the
 * release's image whole and verified, by its own flash. */
void fleet_wait_enrolled(struct fleet *f, double seconds);
void fleet_wait_phase(struct fleet *f, double seconds, unsigned release, const char *phase);
void fleet_wait_running(struct fleet *f, double seconds, const char *version, unsigned release);
void fleet_wait_staged(struct fleet *f, double seconds, unsigned release);
/* Whether a node's log has a line with this text. */
bool fleet_logged(const struct fleet *f, const char *name, const char *text);
/* Whether one node's flash holds the image of this release, sealed, verified, in either slot. */
bool fleet_holds(struct fleet *f, const struct fleet_node *n, unsigned release);

#endif
