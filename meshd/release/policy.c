#include "policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 96
#define SECONDS_MAX (366u * 86400u)

struct parser {
    struct md_policy *policy;
    struct md_ring_policy *ring; /* NULL before the first name of a clause */
    md_label_lookup lookup;
    void *ctx;
    char *error;
    size_t error_size;
};

static int refuse(char *error, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size)
        vsnprintf(error, size, format, args);
    va_end(args);
    return MP_ERR_FORMAT;
}

void md_policy_init(struct md_policy *p)
{
    memset(p, 0, sizeof *p);
    p->confirm_s = 60;
    p->stage_deadline_s = 86400;
    p->cap = MD_UNLIMITED;
    p->roll_call_s = MD_ROLL_CALL_S;
}

struct md_ring_policy *md_policy_add(struct md_policy *p, const char *name)
{
    if (p->ring_count >= MD_RINGS_MAX)
        return NULL;
    struct md_ring_policy *ring = &p->ring[p->ring_count++];
    memset(ring, 0, sizeof *ring);
    snprintf(ring->name, sizeof ring->name, "%s", name);
    ring->soak_s = 300;
    ring->deadline_s = 3600;
    ring->min_reports = 1;
    ring->max_failures_bp = MP_SHARE_ALL;
    return ring;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_name(const char *name, size_t len)
{
    if (len == 0 || len >= MD_RING_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(name[i]))
            return false;
    return true;
}

/* Decimal digits only: no sign, no space, at most max. */
static bool read_number(const char **text, uint32_t max, uint32_t *out)
{
    const char *p = *text;
    uint64_t value = 0;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (uint64_t)(*p - '0');
        if (value > max)
            return false;
    }
    *text = p;
    *out = (uint32_t)value;
    return true;
}

static bool read_seconds(const char *text, uint32_t max, uint32_t *out)
{
    uint32_t n, unit = 1;
    if (!read_number(&text, SECONDS_MAX, &n))
        return false;
    switch (*text) {
    case 's':
        text++;
        break;
    case 'm':
        unit = 60;
        text++;
        break;
    case 'h':
        unit = 3600;
        text++;
        break;
    case 'd':
        unit = 86400;
        text++;
        break;
    case '\0':
        break;
    default:
        return false;
    }
    if (*text || (uint64_t)n * unit > max)
        return false;
    *out = n * unit;
    return true;
}

/* "25%", "12.5%", "0.01%" or, when bare is set, basis points as they are. */
static bool read_share(const char *text, bool bare, uint16_t *out)
{
    uint32_t whole, part = 0;
    if (!read_number(&text, MP_SHARE_ALL, &whole))
        return false;
    if (*text == '\0' && bare) {
        *out = (uint16_t)whole;
        return true;
    }
    if (*text == '.') {
        text++;
        for (uint32_t place = 10; place; place /= 10) {
            if (*text >= '0' && *text <= '9')
                part += (uint32_t)(*text++ - '0') * place;
            else if (place == 10)
                return false;
        }
    }
    if (text[0] != '%' || text[1] != '\0' || whole * 100 + part > MP_SHARE_ALL)
        return false;
    *out = (uint16_t)(whole * 100 + part);
    return true;
}

static bool read_count(const char *text, const char *word, uint32_t *out)
{
    if (strcmp(text, word) == 0) {
        *out = MD_UNLIMITED;
        return true;
    }
    return read_number(&text, MD_UNLIMITED - 1, out) && *text == '\0';
}

static bool read_label(struct parser *p, const char *text, uint16_t *labels)
{
    const char *end = text;
    uint32_t bit;
    if (!read_number(&end, MD_LABEL_ANY - 1, &bit) || *end) {
        int found = p->lookup ? p->lookup(p->ctx, text) : -1;
        if (found < 0 || found >= MD_LABEL_ANY)
            return false;
        bit = (uint32_t)found;
    }
    *labels = (uint16_t)(*labels | 1u << bit);
    return true;
}

static bool set_ring(struct parser *p, const char *key, const char *value)
{
    struct md_ring_policy *ring = p->ring;
    if (strcmp(key, "label") == 0)
        return read_label(p, value, &ring->labels);
    if (strcmp(key, "share") == 0)
        return read_share(value, true, &ring->share);
    if (strcmp(key, "soak") == 0)
        return read_seconds(value, SECONDS_MAX, &ring->soak_s);
    if (strcmp(key, "deadline") == 0)
        return read_seconds(value, SECONDS_MAX, &ring->deadline_s);
    if (strcmp(key, "min-reports") == 0)
        return read_number(&value, MD_UNLIMITED - 1, &ring->min_reports) && *value == '\0';
    if (strcmp(key, "max-failures") == 0)
        return read_count(value, "any", &ring->max_failures);
    if (strcmp(key, "max-failures-percent") == 0)
        return read_share(value, false, &ring->max_failures_bp);
    return false;
}

static bool set_whole(struct parser *p, const char *key, const char *value)
{
    uint32_t seconds;
    if (strcmp(key, "stage-deadline") == 0)
        return read_seconds(value, SECONDS_MAX, &p->policy->stage_deadline_s);
    if (strcmp(key, "cap") == 0)
        return read_count(value, "none", &p->policy->cap);
    if (strcmp(key, "roll-call") == 0) {
        p->policy->roll_call_s = 0;
        return strcmp(value, "none") == 0 ||
               (read_seconds(value, SECONDS_MAX, &p->policy->roll_call_s) && p->policy->roll_call_s > 0);
    }
    if (strcmp(key, "spread") == 0 && read_seconds(value, UINT16_MAX, &seconds)) {
        p->policy->spread_s = (uint16_t)seconds;
        return true;
    }
    if (strcmp(key, "confirm") == 0 && read_seconds(value, 3600, &seconds)) {
        p->policy->confirm_s = (uint16_t)seconds;
        return true;
    }
    return false;
}

static int read_word(struct parser *p, char *word)
{
    size_t len = strlen(word);
    if (word[len - 1] == ':') {
        word[len - 1] = '\0';
        if (p->ring)
            return refuse(p->error, p->error_size, "\"%s:\" follows in the clause of ring \"%s\": a ';' is missing",
                          word, p->ring->name);
        if (!is_name(word, len - 1))
            return refuse(p->error, p->error_size, "\"%s\" is no ring name: 1 to %d letters, digits, '-' or '_'", word,
                          MD_RING_NAME_MAX - 1);
        p->ring = md_policy_add(p->policy, word);
        return p->ring ? MP_OK : refuse(p->error, p->error_size, "more than %d rings", MD_RINGS_MAX);
    }
    char *equals = strchr(word, '=');
    if (!equals)
        return refuse(p->error, p->error_size, "\"%s\" is neither \"name:\" nor \"setting=value\"", word);
    *equals = '\0';
    bool good = p->ring ? set_ring(p, word, equals + 1) : set_whole(p, word, equals + 1);
    if (good)
        return MP_OK;
    return refuse(p->error, p->error_size, "%s%s: setting \"%s\" is unknown or cannot be \"%s\"",
                  p->ring ? "ring " : "policy", p->ring ? p->ring->name : "", word, equals + 1);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

int md_policy_parse(struct md_policy *p, const char *text, md_label_lookup lookup, void *ctx, char *error,
                    size_t error_size)
{
    struct parser parser = {p, NULL, lookup, ctx, error, error_size};
    char word[WORD_MAX];
    md_policy_init(p);
    if (error && error_size)
        error[0] = '\0';
    while (*text) {
        if (*text == '#')
            text += strcspn(text, "\n");
        if (*text == ';' || *text == '\n')
            parser.ring = NULL;
        if (*text == '\0')
            break;
        if (*text == ';' || *text == '\n' || is_space(*text)) {
            text++;
            continue;
        }
        size_t len = strcspn(text, " \t\r\n;#");
        /* "name:setting=value" without a space in between is two words */
        size_t colon = strcspn(text, ":=");
        if (colon < len && text[colon] == ':')
            len = colon + 1;
        if (len >= sizeof word)
            return refuse(error, error_size, "a word of more than %zu letters", sizeof word - 1);
        memcpy(word, text, len);
        word[len] = '\0';
        int result = read_word(&parser, word);
        if (result < 0)
            return result;
        text += len;
    }
    return md_policy_check(p, error, error_size);
}

struct text {
    char *out;
    size_t cap;
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = t->len < t->cap ? t->cap - t->len : 0;
    int n = vsnprintf(room ? t->out + t->len : NULL, room, format, args);
    va_end(args);
    t->len += n > 0 ? (size_t)n : 0;
}

static void format_ring(struct text *t, const struct md_ring_policy *ring)
{
    add(t, "; %s:", ring->name);
    for (unsigned bit = 0; bit < MD_LABEL_ANY; bit++)
        if (ring->labels >> bit & 1)
            add(t, " label=%u", bit);
    if (ring->share)
        add(t, " share=%u.%02u%%", ring->share / 100u, ring->share % 100u);
    add(t, " soak=%u deadline=%u min-reports=%u", ring->soak_s, ring->deadline_s, ring->min_reports);
    if (ring->max_failures == MD_UNLIMITED)
        add(t, " max-failures=any");
    else
        add(t, " max-failures=%u", ring->max_failures);
    if (ring->max_failures_bp != MP_SHARE_ALL)
        add(t, " max-failures-percent=%u.%02u%%", ring->max_failures_bp / 100u, ring->max_failures_bp % 100u);
}

int md_policy_format(const struct md_policy *p, char *out, size_t cap)
{
    struct text t = {out, cap, 0};
    add(&t, "stage-deadline=%u spread=%u confirm=%u", p->stage_deadline_s, p->spread_s, p->confirm_s);
    if (p->cap == MD_UNLIMITED)
        add(&t, " cap=none");
    else
        add(&t, " cap=%u", p->cap);
    if (p->roll_call_s)
        add(&t, " roll-call=%u", p->roll_call_s);
    else
        add(&t, " roll-call=none");
    for (unsigned i = 0; i < p->ring_count && i < MD_RINGS_MAX; i++)
        format_ring(&t, &p->ring[i]);
    return t.len < cap ? (int)t.len : MP_ERR_ROOM;
}

static int check_ring(const struct md_policy *p, unsigned i, char *error, size_t size)
{
    const struct md_ring_policy *ring = &p->ring[i];
    uint16_t labels = 0;
    uint16_t share = i ? p->ring[i - 1].share : 0;
    if (!is_name(ring->name, strnlen(ring->name, MD_RING_NAME_MAX)))
        return refuse(error, size, "ring %u has no proper name", i + 1);
    for (unsigned j = 0; j < i; j++) {
        labels |= p->ring[j].labels;
        if (strcmp(ring->name, p->ring[j].name) == 0)
            return refuse(error, size, "ring \"%s\" is named twice", ring->name);
    }
    if (ring->share > MP_SHARE_ALL || ring->max_failures_bp > MP_SHARE_ALL)
        return refuse(error, size, "ring %s: more than 100 %%", ring->name);
    if (ring->share < share)
        return refuse(error, size, "ring %s: its share is below that of the ring before; shares are cumulative",
                      ring->name);
    if (ring->share == share && !(ring->labels & ~labels))
        return refuse(error, size, "ring %s: adds neither a label nor to the share", ring->name);
    if (ring->soak_s > SECONDS_MAX || ring->deadline_s > SECONDS_MAX)
        return refuse(error, size, "ring %s: soak or deadline above 366 days", ring->name);
    if (ring->deadline_s <= (uint32_t)p->spread_s + p->confirm_s)
        return refuse(error, size,
                      "ring %s: deadline %u s is not above spread + confirm (%u s): a good node would count as silent",
                      ring->name, ring->deadline_s, (unsigned)p->spread_s + p->confirm_s);
    return MP_OK;
}

int md_policy_check(const struct md_policy *p, char *error, size_t error_size)
{
    if (p->ring_count == 0 || p->ring_count > MD_RINGS_MAX)
        return refuse(error, error_size, "a policy needs 1 to %d rings", MD_RINGS_MAX);
    if (p->confirm_s < 1 || p->confirm_s > 3600)
        return refuse(error, error_size, "the confirm window is 1 to 3600 s");
    if (p->stage_deadline_s > SECONDS_MAX)
        return refuse(error, error_size, "the stage deadline is at most 366 days");
    if (p->roll_call_s > SECONDS_MAX)
        return refuse(error, error_size, "the roll call is at most 366 days");
    uint32_t answers_s = p->spread_s < MP_ROLL_CALL_SPREAD_S ? p->spread_s : MP_ROLL_CALL_SPREAD_S;
    if (p->roll_call_s && p->roll_call_s <= answers_s)
        return refuse(error, error_size, "roll call %u s is not above the %u s that nodes spread their answers over",
                      p->roll_call_s, answers_s);
    if (p->cap == 0)
        return refuse(error, error_size, "a cap of 0 would open nothing");
    for (unsigned i = 0; i < p->ring_count; i++) {
        int result = check_ring(p, i, error, error_size);
        if (result < 0)
            return result;
    }
    return MP_OK;
}

int md_policy_ring(const struct md_policy *p, uint16_t labels, unsigned draw)
{
    uint16_t reached = 0;
    for (unsigned i = 0; i < p->ring_count && i < MD_RINGS_MAX; i++) {
        reached |= p->ring[i].labels;
        if ((reached & labels) || p->ring[i].share > draw)
            return (int)i;
    }
    return -1;
}
