#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(struct sim_out *out, const char *what, int error)
{
    if (!out->failed)
        snprintf(out->error, sizeof out->error, "%s: %s: %s", out->path != NULL ? out->path : "result", what,
                 strerror(error));
    out->failed = true;
    return -1;
}

int sim_out_open(struct sim_out *out, const char *dir, const char *name, bool is_text)
{
    memset(out, 0, sizeof *out);
    out->fd = -1;
    out->is_text = is_text;
    size_t size = strlen(dir) + strlen(name) + 2;
    out->path = malloc(size);
    if (out->path == NULL)
        return fail(out, name, ENOMEM);
    snprintf(out->path, size, "%s/%s", dir, name);
    /* Not emptied here: a resumed run goes on in what is there. The first flush, or the cut, sets the length. */
    out->fd = open(out->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    return out->fd < 0 ? fail(out, "cannot be created", errno) : 0;
}

static char *room(struct sim_out *out, size_t more)
{
    if (out->cap - out->size < more) {
        size_t cap = (out->size + more) * 2 + 4096;
        char *data = realloc(out->data, cap);
        if (data == NULL) {
            (void)fail(out, "no memory for what is to be written", ENOMEM);
            return NULL;
        }
        out->data = data;
        out->cap = cap;
    }
    return out->data + out->size;
}

void sim_out_add(struct sim_out *out, const void *data, size_t size)
{
    if (out->fd < 0 || out->failed || size == 0)
        return;
    char *to = room(out, size);
    if (to == NULL)
        return;
    memcpy(to, data, size);
    out->size += size;
}

void sim_out_print(struct sim_out *out, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len > 0)
        sim_out_add(out, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

void sim_out_field(struct sim_out *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        sim_out_add(out, text, strlen(text));
        return;
    }
    sim_out_add(out, "\"", 1);
    for (const char *at = text; *at != '\0';) {
        size_t plain = strcspn(at, "\"");
        sim_out_add(out, at, plain);
        at += plain;
        if (*at == '"') {
            sim_out_add(out, "\"\"", 2);
            at++;
        }
    }
    sim_out_add(out, "\"", 1);
}

/* Where the file may end after `written` of the buffer's bytes went out: behind the last line that is whole. A newline
 * inside a quoted field ends no line. */
static size_t whole(const struct sim_out *out, size_t written)
{
    size_t end = 0;
    bool is_quoted = false;
    for (size_t i = 0; out->is_text && i < written; i++) {
        if (out->data[i] == '"')
            is_quoted = !is_quoted;
        if (out->data[i] == '\n' && !is_quoted)
            end = i + 1;
    }
    return end;
}

int sim_out_flush(struct sim_out *out)
{
    if (out->failed)
        return -1;
    if (out->fd < 0)
        return 0;
    size_t done = 0;
    while (done < out->size) {
        ssize_t n = pwrite(out->fd, out->data + done, out->size - done, (off_t)(out->length + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int error = n < 0 ? errno : ENOSPC;
            out->length += whole(out, done);
            (void)!ftruncate(out->fd, (off_t)out->length);
            return fail(out, "cannot be written", error);
        }
        done += (size_t)n;
    }
    out->length += out->size;
    out->size = 0;
    struct stat status;
    if (fstat(out->fd, &status) == 0 && S_ISREG(status.st_mode) && (uint64_t)status.st_size > out->length &&
        ftruncate(out->fd, (off_t)out->length) != 0)
        return fail(out, "cannot be cut", errno);
    return 0;
}

int sim_out_cut(struct sim_out *out, uint64_t length)
{
    if (out->fd < 0)
        return 0;
    struct stat status;
    if (fstat(out->fd, &status) != 0)
        return fail(out, "cannot be read", errno);
    if ((uint64_t)status.st_size < length) {
        if (!out->failed)
            snprintf(out->error, sizeof out->error,
                     "%s: is shorter than the checkpoint says; it was changed since, so the run cannot go on here",
                     out->path);
        out->failed = true;
        return -1;
    }
    if (ftruncate(out->fd, (off_t)length) != 0)
        return fail(out, "cannot be cut", errno);
    out->length = length;
    out->size = 0;
    return 0;
}

int sim_out_close(struct sim_out *out)
{
    int result = sim_out_flush(out);
    if (out->fd >= 0 && close(out->fd) != 0 && result == 0)
        result = fail(out, "cannot be closed", errno);
    out->fd = -1;
    free(out->path);
    free(out->data);
    out->path = NULL;
    out->data = NULL;
    out->size = out->cap = 0;
    return result;
}
