/*
 * The live air's control socket: lines in, lines out. For tests and for people with socat; whoever can reach it may do
 * anything.
 */
#include "live_state.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define LINE_MAX_BYTES 256
#define BACKLOG_MAX (4u << 20) /* answers that a client has not read; it is dropped beyond */

struct live_client {
    struct live_client *next;
    struct sim_live *live;
    struct bufferevent *stream;
};

static void close_client(struct live_client *c)
{
    struct live_client **link = &c->live->clients;
    while (*link && *link != c)
        link = &(*link)->next;
    if (*link)
        *link = c->next;
    c->live->client_count--;
    bufferevent_free(c->stream);
    free(c);
}

static void answer(struct live_client *c, const char *text)
{
    bufferevent_write(c->stream, text, strlen(text));
    bufferevent_write(c->stream, "\n", 1);
}

/* --- commands
 * ---------------------------------------------------------------------------------------------------------- */

static void couple(struct sim_live *l, uint32_t a, uint32_t b)
{
    size_t count = l->scenario.count;
    bool cut = l->is_cut[a * count + a] || l->is_cut[b * count + b] || l->is_cut[a * count + b];
    sim_medium_link(l->medium, a, b, cut ? SIM_LOSS_NONE : l->loss[a * count + b]);
}

/* cut or heal NAME [NAME] */
static const char *set_cut(struct sim_live *l, char *names, bool cut)
{
    char *rest = NULL;
    const char *first = names ? strtok_r(names, " ", &rest) : NULL;
    const char *second = first ? strtok_r(NULL, " ", &rest) : NULL;
    if (!first || strtok_r(NULL, " ", &rest))
        return "error: cut and heal take the name of one or two devices";
    int a = sim_scenario_find(&l->scenario, first), b = second ? sim_scenario_find(&l->scenario, second) : a;
    if (a < 0 || b < 0)
        return "error: no such device";
    uint32_t count = l->scenario.count;
    l->is_cut[(uint32_t)a * count + (uint32_t)b] = cut;
    l->is_cut[(uint32_t)b * count + (uint32_t)a] = cut;
    for (uint32_t i = 0; i < count; i++)
        if (i != (uint32_t)a && (a == b || i == (uint32_t)b))
            couple(l, (uint32_t)a, i);
    sim_live_log(l, (uint32_t)a, cut ? "cut" : "heal", second);
    return "ok";
}

static const char *set_loss(struct sim_live *l, const char *text)
{
    char *end = NULL;
    double percent = text ? strtod(text, &end) : -1;
    if (!text || end == text || *end != 0 || !isfinite(percent) || percent < 0 || percent > 100)
        return "error: loss takes a percentage from 0 to 100";
    l->loss_ppm = (uint32_t)(percent * 10000 + 0.5);
    sim_medium_set_loss(l->medium, l->loss_ppm);
    sim_live_log(l, UINT32_MAX, "loss", text);
    return "ok";
}

static void answer_stats(struct live_client *c)
{
    cJSON *tree = sim_live_stats(c->live);
    char *text = tree ? cJSON_PrintUnformatted(tree) : NULL;
    answer(c, text ? text : "error: out of memory");
    cJSON_free(text);
    cJSON_Delete(tree);
}

static void on_line(struct live_client *c, char *line)
{
    struct sim_live *l = c->live;
    char *rest = NULL;
    const char *verb = strtok_r(line, " ", &rest);
    if (!verb) {
        answer(c, "error: commands are stats, cut, heal, loss, quit");
    } else if (strcmp(verb, "stats") == 0) {
        answer_stats(c);
    } else if (strcmp(verb, "cut") == 0 || strcmp(verb, "heal") == 0) {
        answer(c, set_cut(l, rest, verb[0] == 'c'));
    } else if (strcmp(verb, "loss") == 0) {
        answer(c, set_loss(l, strtok_r(NULL, " ", &rest)));
    } else if (strcmp(verb, "quit") == 0) {
        answer(c, "ok");
        bufferevent_flush(c->stream, EV_WRITE, BEV_FLUSH);
        event_base_loopbreak(l->base);
    } else {
        answer(c, "error: commands are stats, cut, heal, loss, quit");
    }
}

/* --- connections
 * ------------------------------------------------------------------------------------------------------- */

static void on_read(struct bufferevent *stream, void *ctx)
{
    struct live_client *c = ctx;
    struct sim_live *l = c->live;
    struct evbuffer *input = bufferevent_get_input(stream);
    char *line;
    sim_live_now(l);
    while ((line = evbuffer_readln(input, NULL, EVBUFFER_EOL_CRLF)) != NULL) {
        if (strlen(line) < LINE_MAX_BYTES)
            on_line(c, line);
        else
            answer(c, "error: line too long");
        free(line);
    }
    if (evbuffer_get_length(input) >= LINE_MAX_BYTES ||
        evbuffer_get_length(bufferevent_get_output(stream)) > BACKLOG_MAX)
        close_client(c);
    sim_live_settle(l);
}

static void on_end(struct bufferevent *stream, short what, void *ctx)
{
    (void)stream, (void)what;
    close_client(ctx);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int size, void *ctx)
{
    struct sim_live *l = ctx;
    (void)listener, (void)from, (void)size;
    struct live_client *c = l->client_count < CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;
    if (c)
        c->stream = bufferevent_socket_new(l->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!c || !c->stream) {
        free(c);
        close(fd);
        return;
    }
    c->live = l;
    c->next = l->clients;
    l->clients = c;
    l->client_count++;
    bufferevent_setcb(c->stream, on_read, NULL, on_end, c);
    bufferevent_enable(c->stream, EV_READ | EV_WRITE);
}

int sim_live_control_open(struct sim_live *l)
{
    if (sim_live_address(&l->control_address, l->config.dir, "control") != 0)
        return -1;
    if (sim_scenario_find(&l->scenario, "control") >= 0) {
        fprintf(stderr, "meshsim: a device cannot be called \"control\": the control socket has that name\n");
        return -1;
    }
    l->control = sim_live_listen(l, &l->control_address, on_accept, l);
    return l->control ? 0 : -1;
}

/* What is still to be said to a client, as far as its socket takes it. */
static void say_goodbye(struct live_client *c)
{
    struct evbuffer *output = bufferevent_get_output(c->stream);
    evbuffer_unfreeze(output, 1);
    if (evbuffer_get_length(output) > 0)
        evbuffer_write(output, bufferevent_getfd(c->stream));
}

void sim_live_control_close(struct sim_live *l)
{
    for (struct live_client *c = l->clients, *next; c; c = next) {
        next = c->next;
        say_goodbye(c);
        close_client(c);
    }
    if (l->control) {
        evconnlistener_free(l->control);
        unlink(l->control_address.sun_path);
    }
}
