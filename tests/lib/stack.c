/*
 * The call graph: reading rules and disassembly, resolving calls, the longest path.
 */
#include "stack.h"

#include <stdlib.h>
#include <string.h>

#include "stack_internal.h"

/* What a processor pushes when it takes an interrupt: eight words, and one to align them (ARMv6-M Architecture
 * Reference Manual, section B1.5.6). */
enum { EXCEPTION_BYTES = 36, PRIORITIES = 4, LINE = 4096, TARGETS_MAX = 16 };

enum rule_kind { RULE_CALL, RULE_JUMP, RULE_ROOT, RULE_INTERRUPT, RULE_RECURSION, RULE_FRAME };

struct rule {
    enum rule_kind kind;
    char *word[TARGETS_MAX + 1]; /* what follows the keyword; NULL ends it */
};

struct stack {
    struct rule *rule;
    size_t rules;
    struct stack_function *function;
    size_t functions;
    char **text; /* everything that instructions and rules point into */
    size_t texts;
};

static void *grow(void *list, size_t count, size_t size)
{
    void *more = count % 64 == 0 ? realloc(list, (count + 64) * size) : list;

    if (more == NULL)
        abort();
    return more;
}

static char *keep(struct stack *s, const char *text, size_t len)
{
    /* Source files follow in runs, so the newest text is often the same. */
    if (s->texts > 0 && strlen(s->text[s->texts - 1]) == len && memcmp(s->text[s->texts - 1], text, len) == 0)
        return s->text[s->texts - 1];
    char *copy = malloc(len + 1);

    if (copy == NULL)
        abort();
    memcpy(copy, text, len);
    copy[len] = 0;
    s->text = grow(s->text, s->texts, sizeof *s->text);
    s->text[s->texts] = copy;
    s->texts++;
    return copy;
}

struct stack *stack_open(void)
{
    struct stack *s = calloc(1, sizeof *s);

    if (s == NULL)
        abort();
    return s;
}

void stack_close(struct stack *s)
{
    for (size_t i = 0; i < s->functions; i++) {
        free(s->function[i].insn);
        free(s->function[i].call);
    }
    for (size_t i = 0; i < s->texts; i++)
        free(s->text[i]);
    free(s->function);
    free(s->text);
    free(s->rule);
    free(s);
}

/* --- rules -------------------------------------------------------------------------------------------------------- */

int stack_rules(struct stack *s, FILE *in)
{
    static const struct {
        const char *name;
        unsigned least, most; /* words that follow */
    } kinds[] = {{"call", 2, TARGETS_MAX}, {"jump", 1, 1},      {"root", 2, 2},
                 {"interrupt", 3, 3},      {"recursion", 2, 2}, {"frame", 2, 2}};
    char line[LINE];
    unsigned number = 0;

    while (fgets(line, sizeof line, in) != NULL) {
        struct rule r = {0};
        unsigned words = 0, kind = 0;
        char *save = NULL;

        number++;
        line[strcspn(line, "#\n")] = 0;
        const char *name = strtok_r(line, " \t", &save);
        if (name == NULL)
            continue;
        for (char *w; words < TARGETS_MAX && (w = strtok_r(NULL, " \t", &save)) != NULL; words++)
            r.word[words] = keep(s, w, strlen(w));
        while (kind < 6 && strcmp(kinds[kind].name, name) != 0)
            kind++;
        if (kind == 6 || words < kinds[kind].least || words > kinds[kind].most) {
            fprintf(stderr, "line %u is not a rule: %s\n", number, name);
            return -1;
        }
        r.kind = (enum rule_kind)kind;
        s->rule = grow(s->rule, s->rules, sizeof *s->rule);
        s->rule[s->rules++] = r;
    }
    return 0;
}

/* The rule of a kind that begins with this word, or NULL. */
static const struct rule *rule_for(const struct stack *s, enum rule_kind kind, const char *a)
{
    for (size_t i = 0; i < s->rules; i++)
        if (s->rule[i].kind == kind && strcmp(s->rule[i].word[0], a) == 0)
            return &s->rule[i];
    return NULL;
}

/* --- reading disassembly ------------------------------------------------------------------------------------------ */

/* Whether a function is `NAME` or `NAME@FILE`; its own name without what the compiler appends to clones. */
static bool is_named(const struct stack_function *f, const char *name)
{
    const char *at = strchr(name, '@'), *file = f->insns > 0 ? f->insn[0].file : NULL;
    const size_t n = strcspn(name, "@?");
    const char *base = file != NULL ? strrchr(file, '/') : NULL;

    if (strncmp(f->name, name, n) != 0 || (f->name[n] != 0 && f->name[n] != '.'))
        return false;
    return at == NULL || (base != NULL && strncmp(base + 1, at + 1, strcspn(at + 1, "?")) == 0);
}

static struct stack_function *add_function(struct stack *s, const char *image, const char *name, uint32_t address)
{
    s->function = grow(s->function, s->functions, sizeof *s->function);
    struct stack_function *f = &s->function[s->functions++];

    memset(f, 0, sizeof *f);
    f->image = image;
    f->name = keep(s, name, strcspn(name, ">"));
    f->address = address;
    f->total = -1;
    return f;
}

static void add_insn(struct stack *s, struct stack_function *f, uint32_t address, const char *text, const char *file,
                     unsigned line)
{
    const size_t op = strcspn(text, "\t\n");
    const char *args = text[op] == '\t' ? text + op + 1 : "";
    struct stack_insn i = {.address = address, .file = file, .line = line};

    if (text[0] != '.' && strncmp(text, "@", 1) != 0)
        for (size_t k = 0; k < op && k + 1 < sizeof i.op && text[k] != '.'; k++)
            i.op[k] = text[k];
    i.args = keep(s, args, strcspn(args, "\n"));
    f->insn = grow(f->insn, f->insns, sizeof *f->insn);
    f->insn[f->insns++] = i;
}

/* "path/name.c:123", its note taken off: the path and its line, or NULL. */
static const char *source_line(struct stack *s, const char *text, unsigned *line)
{
    const char *colon = strrchr(text, ':');

    if (colon == NULL || strtoul(colon + 1, NULL, 10) == 0)
        return NULL;
    *line = (unsigned)strtoul(colon + 1, NULL, 10);
    return keep(s, text, (size_t)(colon - text));
}

int stack_read(struct stack *s, const char *image, FILE *in)
{
    const char *file = NULL, *where = keep(s, image, strlen(image));
    struct stack_function *f = NULL;
    const size_t before = s->functions;
    unsigned line = 0;
    char text[LINE];

    while (fgets(text, sizeof text, in) != NULL) {
        char *end;
        const uint32_t address = (uint32_t)strtoul(text, &end, 16);

        if (end != text && strncmp(end, " <", 2) == 0) {
            f = add_function(s, where, end + 2, address);
            file = NULL;
        } else if (end != text && strncmp(end, ":\t", 2) == 0 && f != NULL) {
            add_insn(s, f, address, end + 2, file, line);
        } else if (text[0] != ' ' && text[0] != '\n' && strstr(text, "():") == NULL) {
            text[strcspn(text, "\n")] = 0;
            char *note = strstr(text, " (");
            if (note != NULL)
                *note = 0;
            file = source_line(s, text, &line);
        }
    }
    for (size_t k = before; k < s->functions; k++) {
        s->function[k].end = k + 1 < s->functions ? s->function[k + 1].address : 0;
        if (rule_for(s, RULE_FRAME, s->function[k].name) == NULL && stack_follow(&s->function[k]) != 0)
            s->function[k].is_broken = true; /* an error only where it is called */
    }
    if (s->functions == before)
        fprintf(stderr, "%s: no disassembly\n", image);
    return s->functions > before ? 0 : -1;
}

/* --- resolving calls ---------------------------------------------------------------------------------------------- */

/* The function at an address: assembly also branches into the middle of one. */
static struct stack_function *find_at(struct stack *s, const char *image, uint32_t address)
{
    for (size_t i = 0; i < s->functions; i++) {
        struct stack_function *f = &s->function[i];
        if (strcmp(f->image, image) == 0 && (f->address == address || (f->address < address && address < f->end)))
            return f;
    }
    return NULL;
}

/* Text of a line of source; false: there is none. */
static bool source_text(const char *file, unsigned line, char *text, size_t cap)
{
    FILE *in = file != NULL ? fopen(file, "r") : NULL;

    if (in == NULL)
        return false;
    while (line > 0 && fgets(text, (int)cap, in) != NULL)
        line--;
    fclose(in);
    text[strcspn(text, "\n")] = 0;
    return line == 0;
}

static long total(struct stack *s, struct stack_function *f);

/* f calls target at this depth: is that its deepest path so far? 0, or -1. */
static int take(struct stack *s, struct stack_function *f, struct stack_function *target, long depth)
{
    const long below = total(s, target);

    if (below < 0)
        return -1;
    if (depth + below > f->total) {
        f->total = depth + below;
        f->next = target;
        f->next_at = depth;
    }
    return 0;
}

/* All functions of a rule's target, "NAME" or "IMAGE:NAME". 0, or -1: there is none. */
static int take_named(struct stack *s, struct stack_function *f, const char *target, long depth)
{
    const char *colon = strchr(target, ':');
    const char *name = colon != NULL ? colon + 1 : target;
    bool is_found = false;

    for (size_t i = 0; i < s->functions; i++) {
        struct stack_function *t = &s->function[i];
        const bool is_here =
            colon != NULL ? strncmp(t->image, target, (size_t)(colon - target)) == 0 && t->image[colon - target] == 0
                          : strcmp(t->image, f->image) == 0;
        if (!is_here || !is_named(t, name))
            continue;
        is_found = true;
        if (take(s, f, t, depth) != 0)
            return -1;
    }
    if (is_found || strchr(target, '?') != NULL)
        return 0;
    fprintf(stderr, "<%s:%s>: a rule names %s, which is not linked\n", f->image, f->name, target);
    return -1;
}

static int take_indirect(struct stack *s, struct stack_function *f, const struct stack_call *c)
{
    char text[LINE] = "";
    bool is_found = false;

    if (source_text(c->file, c->line, text, sizeof text))
        for (size_t i = 0; i < s->rules; i++) {
            const struct rule *r = &s->rule[i];
            if ((r->kind != RULE_CALL && !(r->kind == RULE_JUMP && c->may_stay)) || strstr(text, r->word[0]) == NULL)
                continue;
            is_found = true;
            for (unsigned k = 1; r->kind == RULE_CALL && r->word[k] != NULL; k++)
                if (strcmp(r->word[k], "-") != 0 && take_named(s, f, r->word[k], c->depth) != 0)
                    return -1;
        }
    if (!is_found)
        fprintf(stderr, "%x <%s:%s>: no rule for the call in %s:%u: %s\n", c->at, f->image, f->name,
                c->file != NULL ? c->file : "an unknown file", c->line, text);
    return is_found ? 0 : -1;
}

/* Bytes with everything below, or -1 after a message. */
static long total(struct stack *s, struct stack_function *f)
{
    const struct rule *again = rule_for(s, RULE_RECURSION, f->name), *frame = rule_for(s, RULE_FRAME, f->name);
    long self = 0;
    int rc = 0;

    if (f->total >= 0 && !f->is_open)
        return f->total;
    if (f->is_broken) /* which was said already */
        return -1;
    if (f->is_open) {
        fprintf(stderr, "<%s:%s>: calls itself by a way that no rule names\n", f->image, f->name);
        return -1;
    }
    f->is_open = true;
    if (frame != NULL)
        f->own = strtol(frame->word[1], NULL, 10);
    f->total = f->own;
    for (size_t i = 0; i < f->calls; i++) { /* all of them, also after an error: its messages are wanted together */
        const struct stack_call *c = &f->call[i];
        struct stack_function *target = c->address != 0 ? find_at(s, f->image, c->address) : NULL;

        if (c->address == 0) {
            rc |= take_indirect(s, f, c);
        } else if (target == f && again != NULL) {
            self = c->depth > self ? c->depth : self;
        } else if (target == NULL) {
            fprintf(stderr, "%x <%s:%s>: calls %x, where no function is\n", c->at, f->image, f->name, c->address);
            rc = -1;
        } else {
            rc |= take(s, f, target, c->depth);
        }
    }
    f->is_open = false;
    if (again != NULL)
        f->total += self * (strtol(again->word[1], NULL, 10) - 1);
    if (rc != 0) {
        f->total = -1;
        f->is_broken = true;
    }
    return f->total;
}

/* --- the longest path --------------------------------------------------------------------------------------------- */

/* The deepest function among those that a target names, for an image. NULL: there is none, or it is not to be told. */
static struct stack_function *deepest_of(struct stack *s, const char *image, const char *target)
{
    const char *colon = strchr(target, ':'), *name = colon != NULL ? colon + 1 : target;
    const size_t len = colon != NULL ? (size_t)(colon - target) : strlen(image);
    struct stack_function *best = NULL;

    for (size_t k = 0; k < s->functions; k++) {
        struct stack_function *f = &s->function[k];
        if (strncmp(f->image, colon != NULL ? target : image, len) != 0 || f->image[len] != 0 || !is_named(f, name))
            continue;
        if (total(s, f) < 0)
            return NULL;
        if (best == NULL || f->total > best->total)
            best = f;
    }
    if (best == NULL)
        fprintf(stderr, "a rule for %s names %s, which is not linked\n", image, target);
    return best;
}

static void print_path(FILE *out, const struct stack_function *f, long at)
{
    while (f != NULL) {
        const long own = f->next != NULL ? f->next_at : f->own;
        fprintf(out, "  %6ld %6ld  %s:%s\n", at + own, own, f->image, f->name);
        at += own;
        f = f->next;
    }
}

/* The nth rule of a kind for an image. */
static const struct rule *rule_of(const struct stack *s, enum rule_kind kind, const char *image, size_t n)
{
    for (size_t i = 0; i < s->rules; i++)
        if (s->rule[i].kind == kind && strcmp(s->rule[i].word[0], image) == 0 && n-- == 0)
            return &s->rule[i];
    return NULL;
}

/* Adds the deepest handler of one priority (0 to 3: those that the part tells apart), if there is one. 0, or -1. */
static int add_interrupt(struct stack *s, const char *image, unsigned priority, long *bytes, FILE *out)
{
    const struct stack_function *best = NULL;
    const struct rule *r;

    for (size_t n = 0; (r = rule_of(s, RULE_INTERRUPT, image, n)) != NULL; n++) {
        if (strtoul(r->word[1], NULL, 10) != priority)
            continue;
        const struct stack_function *f = deepest_of(s, image, r->word[2]);
        if (f == NULL)
            return -1;
        if (best == NULL || f->total > best->total)
            best = f;
    }
    if (best == NULL)
        return 0;
    *bytes += EXCEPTION_BYTES;
    if (out != NULL) {
        fprintf(out, "  %6ld %6d  (interrupt of priority %u)\n", *bytes, EXCEPTION_BYTES, priority);
        print_path(out, best, *bytes);
    }
    *bytes += best->total;
    return 0;
}

long stack_deepest(struct stack *s, const char *image, FILE *out)
{
    const struct stack_function *root = NULL;
    const struct rule *r;

    for (size_t n = 0; (r = rule_of(s, RULE_ROOT, image, n)) != NULL; n++) {
        const struct stack_function *f = deepest_of(s, image, r->word[1]);
        if (f == NULL)
            return -1;
        if (root == NULL || f->total > root->total)
            root = f;
    }
    if (root == NULL) {
        fprintf(stderr, "%s: no root\n", image);
        return -1;
    }
    long bytes = root->total;

    if (out != NULL)
        print_path(out, root, 0);
    for (unsigned priority = PRIORITIES; priority-- > 0;)
        if (add_interrupt(s, image, priority, &bytes, out) != 0)
            return -1;
    return bytes;
}

long stack_function(struct stack *s, const char *image, const char *function)
{
    for (size_t i = 0; i < s->functions; i++)
        if (strcmp(s->function[i].image, image) == 0 && is_named(&s->function[i], function))
            return total(s, &s->function[i]);
    return -1;
}
