#include "qemu_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALL_S = 20 }; /* a busy machine may keep QEMU from its monitor for long */

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text != NULL ? text : "";
}

static void take_event(struct qemu *q, const cJSON *line)
{
    const char *event = text_of(line, "event");
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(line, "data");
    if (strcmp(event, "RESET") == 0) {
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(data, "guest")))
            q->resets_own++;
        else
            q->resets_asked++;
    } else if (strcmp(event, "STOP") == 0) {
        q->running = false;
    } else if (strcmp(event, "RESUME") == 0) {
        q->running = true;
    }
}

/* Reads what the socket holds. False: nothing was there. */
static bool fill(struct qemu *q)
{
    if (q->in_len == sizeof q->in)
        qemu_fail(q, "its monitor sends lines of more than %zu bytes", sizeof q->in);
    const ssize_t n = read(q->qmp, q->in + q->in_len, sizeof q->in - q->in_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        qemu_check_alive(q);
        qemu_fail(q, "its monitor hung up");
    }
    q->in_len += (size_t)n;
    return true;
}

/* The next whole line that was read, as JSON for the caller to delete; NULL: none. */
static cJSON *next_line(struct qemu *q)
{
    const uint8_t *end = memchr(q->in, '\n', q->in_len);
    if (end == NULL)
        return NULL;
    const size_t len = (size_t)(end - q->in) + 1;
    cJSON *line = cJSON_ParseWithLength((const char *)q->in, len);
    if (!cJSON_IsObject(line))
        qemu_fail(q, "its monitor said what is no JSON object: %.*s", (int)len, (const char *)q->in);
    memmove(q->in, q->in + len, q->in_len - len);
    q->in_len -= len;
    return line;
}

/* The next line that is no event, within CALL_S. */
static cJSON *next_answer(struct qemu *q, const char *what)
{
    const double until = qemu_now() + CALL_S;
    for (;;) {
        cJSON *line = next_line(q);
        if (line != NULL && cJSON_HasObjectItem(line, "event")) {
            take_event(q, line);
            cJSON_Delete(line);
        } else if (line != NULL) {
            return line;
        } else if (!qemu_readable(q->qmp, until)) {
            qemu_check_alive(q);
            qemu_fail(q, "its monitor did not answer for %d s: %s", CALL_S, what);
        } else {
            fill(q);
        }
    }
}

void qemu_qmp_events(struct qemu *q)
{
    while (qemu_readable(q->qmp, 0) && fill(q)) {
        for (cJSON *line; (line = next_line(q)) != NULL; cJSON_Delete(line))
            take_event(q, line);
    }
}

cJSON *qemu_qmp_call(struct qemu *q, const char *command, cJSON *arguments)
{
    cJSON *call = cJSON_CreateObject();
    const unsigned id = ++q->next_id;
    if (call == NULL || !cJSON_AddStringToObject(call, "execute", command) || !cJSON_AddNumberToObject(call, "id", id))
        qemu_fail(q, "out of memory");
    if (arguments != NULL && !cJSON_AddItemToObject(call, "arguments", arguments))
        qemu_fail(q, "out of memory");
    char *text = cJSON_PrintUnformatted(call);
    const size_t len = text != NULL ? strlen(text) : 0;
    if (len == 0)
        qemu_fail(q, "out of memory");
    qemu_send(q, q->qmp, text, len);
    qemu_send(q, q->qmp, "\n", 1);
    cJSON_Delete(call);
    cJSON *answer = next_answer(q, text);
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(answer, "id");
    cJSON *result = cJSON_DetachItemFromObjectCaseSensitive(answer, "return");
    if (result == NULL || !cJSON_IsNumber(number) || (unsigned)number->valuedouble != id) {
        char *said = cJSON_PrintUnformatted(answer);
        qemu_fail(q, "%s: its monitor answered %s", text, said != NULL ? said : "?");
    }
    cJSON_Delete(answer);
    free(text);
    return result;
}

void qemu_qmp_do(struct qemu *q, const char *command, cJSON *arguments)
{
    cJSON_Delete(qemu_qmp_call(q, command, arguments));
}

void qemu_qmp_open(struct qemu *q)
{
    q->qmp = qemu_connect(q, "q");
    cJSON *greeting = next_answer(q, "greeting");
    if (!cJSON_HasObjectItem(greeting, "QMP"))
        qemu_fail(q, "its monitor is no QMP");
    cJSON_Delete(greeting);
    qemu_qmp_do(q, "qmp_capabilities", NULL);
}

void qemu_monitor(struct qemu *q, const char *line, char *out, size_t cap)
{
    cJSON *arguments = cJSON_CreateObject();
    if (arguments == NULL || !cJSON_AddStringToObject(arguments, "command-line", line))
        qemu_fail(q, "out of memory");
    cJSON *result = qemu_qmp_call(q, "human-monitor-command", arguments);
    const char *text = cJSON_GetStringValue(result);
    if (cap > 0) {
        const size_t n = text != NULL ? strnlen(text, cap - 1) : 0;
        memcpy(out, text != NULL ? text : "", n);
        out[n] = 0;
    }
    cJSON_Delete(result);
}
