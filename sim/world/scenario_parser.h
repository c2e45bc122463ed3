/*
 * Inside of the scenario parser, for its own files alone: what one reading of a file and its overrides keeps.
 *
 * The order of work: libinih hands over key after key (scenario.c), each goes to its entry in the table of keys
 * (scenario_keys.c) or becomes a named device or link (scenario_named.c); then relations are checked (scenario_check.c),
 * and devices and links are made (scenario_build.c). The first error ends it.
 */
#ifndef SIM_SCENARIO_PARSER_H
#define SIM_SCENARIO_PARSER_H

#include "quantity.h"
#include "scenario.h"

#define SIM_FARTHEST_MM 1000000000 /* of any coordinate from the origin */
#define SIM_RELEASE_FIRST 2        /* number of the first [release] */
#define SIM_KEYS_MAX 128

enum sim_key_type { SIM_KEY_NUMBER, SIM_KEY_CHOICE, SIM_KEY_TEXT };
enum sim_key_text { SIM_TEXT_NAME, SIM_TEXT_SEED, SIM_TEXT_FIRST, SIM_TEXT_PREFIX, SIM_TEXT_FILE, SIM_TEXT_POLICY };

struct sim_choice {
    const char *name; /* NULL: end of the list */
    uint32_t value;
};

/* A key: where its value goes, what it may be, and what it is when not given. */
struct sim_key {
    const char *section, *key; /* section "release": offset is into struct sim_release_plan */
    enum sim_key_type type;
    size_t offset;
    size_t size; /* of the field: 1, 4 or 8 */
    enum sim_quantity quantity;
    int64_t low, high;
    const char *right;    /* the range in words */
    const char *standard; /* NULL: set elsewhere */
    const struct sim_choice *choice;
    enum sim_key_text text;
};
extern const struct sim_key sim_keys[];
extern const size_t sim_key_count;

struct sim_named_node {
    struct sim_scenario_node node;
    int line;
};

struct sim_named_link {
    char name[2][SIM_NAME_MAX];
    struct sim_scenario_link link;
    int line;
};

struct sim_parser {
    struct sim_scenario *s;
    const char *path;
    const char *text;
    size_t len, at;
    const char *const *sets;
    int line;                                     /* being read; -1 - n: override n */
    int section_line;                             /* of the last [section] */
    bool is_section_used;                         /* a key of it was seen */
    int key_line[SIM_RELEASES_MAX][SIM_KEYS_MAX]; /* where each key was given, 0 not; [0] when not of a release */
    int release_line[SIM_RELEASES_MAX];           /* where the first key of each was */
    struct sim_release_plan release[SIM_RELEASES_MAX];
    char file[256];              /* of positions */
    struct sim_named_node *node; /* [SIM_DEVICES_MAX] */
    uint32_t node_count;
    struct sim_named_link *link;
    uint32_t link_count, link_cap;
    int error_line; /* 0: the whole file */
    bool is_failed;
    char error[512];
};

/* Notes the first error; line 0 speaks of the whole file, below 0 of an override. Always false, so that a handler can
 * return it. */
__attribute__((format(printf, 3, 4))) bool sim_parser_fail(struct sim_parser *p, int line, const char *format, ...);
/* A line in words, for messages: "on line 3" or "by --set". */
const char *sim_parser_where(int line, char out[32]);

/* 1 to max letters, digits, - _ and ., beginning with a letter or digit. */
bool sim_is_name(const char *text, size_t max);
/* The same, copied to out, with a message when it is not. */
bool sim_parser_name(struct sim_parser *p, const char *what, const char *text, char *out, size_t max);
/* One key = value of a section. */
bool sim_parser_key(struct sim_parser *p, const char *section, const char *key, const char *text);
/* Every key that has one gets its standard value. */
void sim_parser_defaults(struct sim_parser *p);
/* Line of a key of no release, 0: not given. */
int sim_parser_given(const struct sim_parser *p, const char *section, const char *key);
/* The same of a release. */
int sim_parser_release_given(const struct sim_parser *p, unsigned slot, const char *key);
/* Keys of [node NAME] and [link A B]. */
bool sim_parser_node(struct sim_parser *p, const char *name, const char *key, const char *text);
bool sim_parser_link(struct sim_parser *p, const char *names, const char *key, const char *text);
/* Ranges that depend on each other, keys without effect. */
bool sim_parser_check(struct sim_parser *p);
/* Checks that need the number of devices. */
bool sim_parser_check_fleet(struct sim_parser *p);
bool sim_parser_build(struct sim_parser *p);

#endif
