#include "http_parse.h"

#include <string.h>
#include <strings.h>

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_uri(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~/=&,:", c) != NULL);
}

/* "METHOD /path?query HTTP/1.x", len bytes without the line's end. 0 or the status to answer, negative. */
static int parse_request_line(struct md_http_head *h, const char *line, size_t len)
{
    size_t i = 0, n = 0;
    while (i < len && is_token(line[i]))
        i++;
    if (i == 0 || i >= sizeof h->method || i >= len || line[i] != ' ')
        return -400;
    memcpy(h->method, line, i);
    size_t at = ++i;
    if (i >= len || line[i] != '/')
        return -400;
    while (i < len && is_uri(line[i]))
        i++;
    n = i - at;
    if (n >= sizeof h->path)
        return -414;
    memcpy(h->path, line + at, n);
    if (i < len && line[i] == '?') {
        at = ++i;
        while (i < len && is_uri(line[i]))
            i++;
        n = i - at;
        if (n >= sizeof h->query)
            return -414;
        memcpy(h->query, line + at, n);
    }
    if (len - i != 9 || line[i] != ' ' || memcmp(line + i + 1, "HTTP/", 5) != 0)
        return -400;
    return memcmp(line + i + 6, "1.1", 3) == 0 || memcmp(line + i + 6, "1.0", 3) == 0 ? 0 : -505;
}

static bool name_is(const char *line, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(line, name, len) == 0;
}

/* Content-Length: digits only, and the same when repeated (request smuggling starts where two differ). */
static int parse_length(struct md_http_head *h, const char *value, size_t len)
{
    uint64_t v = 0;
    if (len == 0 || len > 15)
        return -400;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -400;
        v = v * 10 + (uint64_t)(value[i] - '0');
    }
    if (h->has_length && h->length != v)
        return -400;
    h->has_length = true;
    h->length = v;
    return 0;
}

static int parse_header(struct md_http_head *h, const char *line, size_t len)
{
    size_t name = 0;
    while (name < len && is_token(line[name]))
        name++;
    if (name == 0 || name >= len || line[name] != ':')
        return -400;
    const char *value = line + name + 1;
    size_t n = len - name - 1;
    while (n > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        n--;
    }
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 && value[i] != '\t')
            return -400;
    if (name_is(line, name, "content-length"))
        return parse_length(h, value, n);
    if (name_is(line, name, "transfer-encoding"))
        return -411;
    if (name_is(line, name, "expect")) {
        if (!name_is(value, n, "100-continue"))
            return -417;
        h->wants_continue = true;
    }
    return 0;
}

int md_http_parse(struct md_http_head *h, const char *data, size_t len)
{
    memset(h, 0, sizeof *h);
    size_t at = 0;
    for (int lines = 0;; lines++) {
        size_t room = (len < MD_HTTP_HEAD_MAX ? len : MD_HTTP_HEAD_MAX) - at;
        const char *end = memchr(data + at, '\n', room);
        if (end == NULL)
            return len >= MD_HTTP_HEAD_MAX ? -431 : 0;
        size_t n = (size_t)(end - data) - at;
        if (n > 0 && data[at + n - 1] == '\r')
            n--;
        const char *line = data + at;
        at = (size_t)(end - data) + 1;
        if (n == 0)
            return lines == 0 ? -400 : (int)at;
        if (lines > MD_HTTP_HEADERS_MAX)
            return -431;
        int bad = lines == 0 ? parse_request_line(h, line, n) : parse_header(h, line, n);
        if (bad != 0)
            return bad;
    }
}

bool md_http_query(const char *query, const char *name, uint64_t *value)
{
    size_t n = strlen(name);
    for (const char *p = query; p != NULL && *p != '\0'; p = strchr(p, '&')) {
        if (*p == '&')
            p++;
        if (strncmp(p, name, n) != 0 || p[n] != '=')
            continue;
        p += n + 1;
        uint64_t v = 0;
        size_t digits = 0;
        for (; p[digits] >= '0' && p[digits] <= '9' && digits < 18; digits++)
            v = v * 10 + (uint64_t)(p[digits] - '0');
        if (digits == 0 || (p[digits] != '\0' && p[digits] != '&'))
            return false;
        *value = v;
        return true;
    }
    return false;
}

const char *md_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}
