/*
 * The daemon's API over a real unix socket: the real server, API, gateway and store in a child process, and clients
 * that are malformed, oversized, slow, many, or gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/ctl/client.h"
#include "meshd/ctl/keyfile.h"
#include "meshd/ctl/pack.h"
#include "meshd/daemon/api.h"
#include "node-fw/port/crypto/crypto_sodium.h"

#define REQUEST_S 1 /* time for a request to arrive, in these tests */

struct world {
    char dir[64];
    char socket[100];
    struct md_config config;
    pid_t server;
};

/* --- the server --------------------------------------------------------------------------------------------------- */

static void wake(void *http)
{
    md_http_wake(http);
}

static void serve(struct world *w, int ready)
{
    char error[400];
    struct event_base *base = event_base_new();
    struct md_gateway *gateway = md_gateway_open(base, &w->config, error, sizeof error);
    struct md_http_handler handler = {.body_max = md_api_body_max, .handle = md_api_handle, .request_s = REQUEST_S};
    handler.ctx = gateway != NULL ? md_api_new(gateway) : NULL;
    struct md_http *http = gateway != NULL ? md_http_open(base, w->socket, &handler, error, sizeof error) : NULL;
    if (http == NULL) {
        fprintf(stderr, "server: %s\n", error);
        _exit(1);
    }
    md_gateway_on_change(gateway, wake, http);
    if (write(ready, "r", 1) == 1)
        event_base_dispatch(base);
    _exit(1);
}

static void start_server(struct world *w)
{
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    w->server = fork();
    assert_true(w->server >= 0);
    if (w->server == 0) {
        close(ready[0]);
        signal(SIGPIPE, SIG_IGN);
        md_log_set(MD_LOG_ERROR);
        serve(w, ready[1]);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
}

static void kill_server(struct world *w)
{
    int status;
    kill(w->server, SIGKILL);
    assert_int_equal(waitpid(w->server, &status, 0), w->server);
    assert_true(WIFSIGNALED(status)); /* it ran until now */
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct md_key root[3], publisher, release;
    uint8_t record[MP_KEYSET_SIZE];
    char error[300], path[200];
    *state = w;
    signal(SIGPIPE, SIG_IGN);
    strcpy(w->dir, "/tmp/test-http-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_non_null(crypto_sodium());
    for (uint8_t i = 0; i < 3; i++)
        assert_int_equal(md_key_generate(&root[i], MP_ROLE_ROOT, i, 0), MP_OK);
    assert_int_equal(md_key_generate(&publisher, MP_ROLE_PUBLISHER, 0, 1), MP_OK);
    assert_int_equal(md_key_generate(&release, MP_ROLE_RELEASE, 0, 1), MP_OK);
    assert_int_equal(md_keyset_make(crypto_sodium(), (const struct md_key *)root, &publisher, &release, record), MP_OK);
    snprintf(path, sizeof path, "%s/keyset", w->dir);
    assert_int_equal(md_file_write(path, record, sizeof record, 0644, error, sizeof error), MP_OK);
    snprintf(path, sizeof path, "%s/release.key", w->dir);
    assert_int_equal(md_key_write(path, &release, true, NULL, error, sizeof error), MP_OK);
    md_config_init(&w->config);
    w->config.network = 7;
    w->config.hci = MD_HCI_UNIX;
    snprintf(w->config.hci_path, sizeof w->config.hci_path, "%s/none.sock", w->dir);
    snprintf(w->config.database, sizeof w->config.database, "%s/m.db", w->dir);
    snprintf(w->config.keyset, sizeof w->config.keyset, "%s/keyset", w->dir);
    snprintf(w->config.release_key, sizeof w->config.release_key, "%s/release.key", w->dir);
    snprintf(w->socket, sizeof w->socket, "%s/http.sock", w->dir);
    start_server(w);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"m.db",   "m.db-wal",    "m.db-shm", "m.db-journal",
                                        "keyset", "release.key", "http.sock"};
    struct world *w = *state;
    char path[200];
    kill_server(w);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

/* --- clients ------------------------------------------------------------------------------------------------------ */

static int dial(const struct world *w)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    strcpy(addr.sun_path, w->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void say(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server refused already; its answer is what counts */
        data += n;
        len -= (size_t)n;
    }
}

/* Reads the reply to the end; 0 when the server closed without one, or took longer than timeout_s. */
static int hear(int fd, cJSON **json, int timeout_s)
{
    static char data[1 << 20];
    size_t got = 0;
    struct md_client_reply reply = {0};
    char error[200];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, timeout_s * 1000) <= 0)
            break;
        ssize_t n = read(fd, data + got, sizeof data - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    close(fd);
    if (got == 0)
        return 0;
    assert_int_equal(md_client_parse(data, got, &reply, error, sizeof error), 0);
    if (json != NULL)
        *json = reply.json;
    else
        cJSON_Delete(reply.json);
    return reply.status;
}

/* Sends raw bytes; the status of the answer, which must be an error with a hint when it is not 2xx. */
static int raw(const struct world *w, const char *data, size_t len)
{
    cJSON *json = NULL;
    int fd = dial(w);
    say(fd, data, len);
    int status = hear(fd, &json, 5);
    if (status >= 300) {
        const cJSON *error = cJSON_GetObjectItem(json, "error");
        assert_true(cJSON_IsString(error) && error->valuestring[0] != '\0');
        assert_true(cJSON_IsString(cJSON_GetObjectItem(json, "hint")));
    }
    cJSON_Delete(json);
    return status;
}

static int call(const struct world *w, const char *method, const char *path, const char *body, cJSON **json)
{
    struct md_client_reply reply = {0};
    char error[300] = "";
    if (md_client_call(w->socket, method, path, body, body != NULL ? strlen(body) : 0, 10, &reply, error,
                       sizeof error) != 0)
        fail_msg("%s %s: %s", method, path, error);
    if (json != NULL)
        *json = reply.json;
    else
        cJSON_Delete(reply.json);
    return reply.status;
}

/* Rows of the audit log and nodes: what a refused request must not change. */
static int stored(const struct world *w)
{
    cJSON *audit = NULL, *nodes = NULL, *rollouts = NULL;
    assert_int_equal(call(w, "GET", "/v1/audit", NULL, &audit), 200);
    assert_int_equal(call(w, "GET", "/v1/nodes", NULL, &nodes), 200);
    assert_int_equal(call(w, "GET", "/v1/rollouts", NULL, &rollouts), 200);
    int sum = cJSON_GetArraySize(cJSON_GetObjectItem(audit, "audit")) * 10000 +
              cJSON_GetArraySize(cJSON_GetObjectItem(nodes, "nodes")) * 100 +
              cJSON_GetArraySize(cJSON_GetObjectItem(rollouts, "rollouts"));
    cJSON_Delete(audit);
    cJSON_Delete(nodes);
    cJSON_Delete(rollouts);
    return sum;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void the_socket_is_for_owner_and_group(void **state)
{
    struct world *w = *state;
    struct stat st;
    cJSON *json = NULL;
    assert_int_equal(stat(w->socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(call(w, "GET", "/v1/status", NULL, &json), 200);
    assert_int_equal(cJSON_GetObjectItem(json, "network")->valueint, 7);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "signs")));
    cJSON_Delete(json);
}

static void malformed_requests_are_refused(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"GET /v1/status\r\n\r\n", 400},
        {"GET  /v1/status HTTP/1.1\r\n\r\n", 400},
        {"GET v1/status HTTP/1.1\r\n\r\n", 400},
        {"GET /v1/%73tatus HTTP/1.1\r\n\r\n", 400},
        {"GET /v1/status HTTP/2.0\r\n\r\n", 505},
        {"GET /v1/status HTTP/1.1 \r\n\r\n", 400},
        {"GET /v1/status HTTP/1.1\r\nbroken header\r\n\r\n", 400},
        {"GET /v1/status HTTP/1.1\r\n: empty\r\n\r\n", 400},
        {"GET /v1/status HTTP/1.1\r\nX: a\x01z\r\n\r\n", 400},
        {"GET /v1/status HTTP/1.1\r\nX: 1\r\n folded\r\n\r\n", 400},
        {"POST /v1/nodes HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST /v1/nodes HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n", 400},
        {"POST /v1/nodes HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400},
        {"POST /v1/nodes HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
        {"POST /v1/nodes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411},
        {"POST /v1/nodes HTTP/1.1\r\nExpect: miracles\r\n\r\n", 417},
        {"WAYTOOLONGMETHOD / HTTP/1.1\r\n\r\n", 400},
        {"DELETE /v1/nodes HTTP/1.1\r\n\r\n", 405},
        {"GET /v2/status HTTP/1.1\r\n\r\n", 404},
        {"GET / HTTP/1.1\r\n\r\n", 404},
        {"GET /v1/status/ HTTP/1.1\r\n\r\n", 404},
        {"GET /v1/nodes/../status HTTP/1.1\r\n\r\n", 404},
    };
    int before = stored(w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = raw(w, cases[i].text, strlen(cases[i].text));
        if (status != cases[i].status)
            fail_msg("case %zu: %d, not %d", i, status, cases[i].status);
    }
    assert_int_equal(raw(w, "GET /v1/st\0tus HTTP/1.1\r\n\r\n", 28), 400);
    assert_int_equal(stored(w), before);
}

static void oversized_requests_are_refused(void **state)
{
    struct world *w = *state;
    static char text[200000];
    int before = stored(w);
    int n = snprintf(text, sizeof text, "GET /%0300d HTTP/1.1\r\n\r\n", 0);
    assert_int_equal(raw(w, text, (size_t)n), 414);
    n = snprintf(text, sizeof text, "GET /v1/status?x=%0300d HTTP/1.1\r\n\r\n", 0);
    assert_int_equal(raw(w, text, (size_t)n), 414);
    n = snprintf(text, sizeof text, "GET /v1/status HTTP/1.1\r\nX: %09000d\r\n\r\n", 0);
    assert_int_equal(raw(w, text, (size_t)n), 431);
    n = snprintf(text, sizeof text, "GET /v1/status HTTP/1.1\r\n");
    for (int i = 0; i < 100; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "A: b\r\n");
    n += snprintf(text + n, sizeof text - (size_t)n, "\r\n");
    assert_int_equal(raw(w, text, (size_t)n), 431);
    /* a body larger than its route takes: refused before it is sent, and also while it is being sent */
    n = snprintf(text, sizeof text, "POST /v1/nodes HTTP/1.1\r\nContent-Length: 65537\r\n\r\n");
    assert_int_equal(raw(w, text, (size_t)n), 413);
    memset(text + n, ' ', 100000);
    assert_int_equal(raw(w, text, (size_t)n + 65537), 413);
    n = snprintf(text, sizeof text, "POST /v1/keychange HTTP/1.1\r\nContent-Length: 201\r\n\r\n");
    assert_int_equal(raw(w, text, (size_t)n), 413);
    n = snprintf(text, sizeof text, "POST /v1/import HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n");
    assert_int_equal(raw(w, text, (size_t)n), 413);
    n = snprintf(text, sizeof text, "GET /v1/status HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    assert_int_equal(raw(w, text, (size_t)n), 413);
    assert_int_equal(stored(w), before);
}

static void bad_json_and_bad_values_are_refused(void **state)
{
    struct world *w = *state;
    static char deep[20001];
    static const struct {
        const char *path, *body;
        int status;
    } cases[] = {
        {"/v1/nodes", "", 400},
        {"/v1/nodes", "{", 400},
        {"/v1/nodes", "[]", 400},
        {"/v1/nodes", "{} {}", 400},
        {"/v1/nodes", "{\"product\":1}", 400},
        {"/v1/nodes", "{\"product\":\"1\",\"model\":1}", 400},
        {"/v1/nodes", "{\"product\":1.5,\"model\":1}", 400},
        {"/v1/nodes", "{\"product\":-1,\"model\":1}", 400},
        {"/v1/nodes", "{\"product\":1e300,\"model\":1}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":65536}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":1,\"hw_revision\":32}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":1,\"node\":4294967295}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":1,\"name\":\"a b\"}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":1,\"labels\":\"canary\"}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":1,\"labels\":[{}]}", 400},
        {"/v1/nodes", "{\"product\":1,\"model\":1,\"labels\":[16]}", 400},
        {"/v1/nodes/nobody/retire", "{}", 404},
        {"/v1/nodes/2/label", "{\"add\":[\"x\"]}", 404},
        {"/v1/labels", "{\"bit\":16,\"name\":\"x\"}", 400},
        {"/v1/rollouts", "{\"release\":2}", 400},
        {"/v1/rollouts", "{\"release\":0,\"policy\":\"a: share=100%\"}", 400},
        {"/v1/rollouts", "{\"release\":2,\"policy\":\"nonsense\"}", 400},
        {"/v1/rollouts", "{\"release\":2,\"policy\":\"a: label=unheard-of\"}", 400},
        {"/v1/rollouts", "{\"release\":2,\"policy\":\"a: share=100%\"}", 404},
        {"/v1/rollouts/plan", "{\"release\":2,\"policy\":\"a: share=100%\"}", 404},
        {"/v1/rollouts/2/hold", "{}", 404},
        {"/v1/rollouts/0/hold", "{}", 404},
        {"/v1/rollouts/x/hold", "{}", 404},
        {"/v1/rollouts/2/revert", "{\"to\":-1}", 400},
        {"/v1/rollouts/2/override", "{\"on\":1}", 400},
        {"/v1/import", "this is no bundle", 400},
        {"/v1/keychange", "short", 400},
    };
    int before = stored(w);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = call(w, "POST", cases[i].path, cases[i].body, NULL);
        if (status != cases[i].status)
            fail_msg("%s %s: %d, not %d", cases[i].path, cases[i].body, status, cases[i].status);
    }
    memset(deep, '[', sizeof deep - 1);
    assert_int_equal(call(w, "POST", "/v1/nodes", deep, NULL), 400);
    uint8_t junk[MP_KEYCHANGE_SIZE] = {0x11};
    struct md_client_reply reply;
    char error[200];
    assert_int_equal(
        md_client_call(w->socket, "POST", "/v1/keychange", junk, sizeof junk, 5, &reply, error, sizeof error), 0);
    assert_true(reply.status >= 400 && reply.status < 500);
    cJSON_Delete(reply.json);
    assert_int_equal(stored(w), before);
}

static void a_node_lives_through_the_api(void **state)
{
    struct world *w = *state;
    cJSON *json = NULL;
    assert_int_equal(
        call(w, "POST", "/v1/nodes", "{\"product\":1,\"model\":2,\"name\":\"lamp\",\"labels\":[\"canary\"]}", &json),
        201);
    assert_int_equal(strlen(cJSON_GetObjectItem(json, "settings")->valuestring), 720);
    cJSON_Delete(json);
    assert_int_equal(call(w, "POST", "/v1/nodes", "{\"product\":1,\"model\":2,\"name\":\"lamp\"}", NULL), 409);
    assert_int_equal(call(w, "POST", "/v1/nodes/lamp/retire", "{}", NULL), 200);
    assert_int_equal(call(w, "POST", "/v1/nodes/lamp/retire", "{}", NULL), 409);
    assert_int_equal(call(w, "POST", "/v1/nodes/lamp/unretire", NULL, NULL), 200);
    assert_int_equal(call(w, "POST", "/v1/nodes/lamp/label", "{\"add\":[\"x\"],\"remove\":[\"canary\"]}", NULL), 200);
    assert_int_equal(call(w, "POST", "/v1/nodes/lamp/name", "{\"name\":\"lamp-2\"}", NULL), 200);
    assert_int_equal(call(w, "GET", "/v1/nodes/lamp", NULL, NULL), 404);
    assert_int_equal(call(w, "GET", "/v1/nodes/lamp-2", NULL, &json), 200);
    assert_string_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(json, "labels"), 0)->valuestring, "x");
    cJSON_Delete(json);
    assert_int_equal(call(w, "GET", "/v1/audit/verify", NULL, &json), 200);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "intact")));
    cJSON_Delete(json);
}

static int labels(const struct world *w)
{
    cJSON *json = NULL;
    assert_int_equal(call(w, "GET", "/v1/labels", NULL, &json), 200);
    int count = cJSON_GetArraySize(cJSON_GetObjectItem(json, "labels"));
    cJSON_Delete(json);
    return count;
}

static void a_refused_request_leaves_no_label_behind(void **state)
{
    struct world *w = *state;
    static const char *const bodies[] = {
        "{\"product\":1,\"model\":2,\"name\":\"twin\",\"labels\":[\"left\"]}",      /* the name is taken */
        "{\"product\":1,\"model\":2,\"name\":\"a b\",\"labels\":[\"left\"]}",       /* no name at all */
        "{\"product\":1,\"model\":2,\"labels\":[\"left\",\"right\",\"no label\"]}", /* the third is none */
        "{\"product\":1,\"model\":2,\"labels\":[\"left\",1.5]}",
    };
    call(w, "POST", "/v1/nodes", "{\"product\":1,\"model\":2,\"name\":\"twin\"}", NULL);
    int before = labels(w);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        assert_true(call(w, "POST", "/v1/nodes", bodies[i], NULL) >= 400);
    assert_int_equal(call(w, "POST", "/v1/nodes/twin/label", "{\"add\":[\"left\",\"no label\"]}", NULL), 400);
    assert_int_equal(labels(w), before);
    assert_int_equal(call(w, "POST", "/v1/nodes/twin/label", "{\"add\":[\"left\"]}", NULL), 200);
    assert_int_equal(labels(w), before + 1);
}

static void a_slow_client_is_cut_off_and_others_are_served(void **state)
{
    struct world *w = *state;
    cJSON *json = NULL;
    static const char text[] =
        "GET /v1/status HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    int fd = dial(w);
    time_t start = time(NULL);
    size_t sent = 0;
    /* a byte now and then: the time of the whole request counts, not the time between bytes */
    for (; sent < sizeof text - 1; sent++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        say(fd, text + sent, 1);
        if (poll(&p, 1, 100) > 0)
            break;
        if (sent == 5)
            assert_int_equal(call(w, "GET", "/v1/status", NULL, NULL), 200);
    }
    assert_true(sent < sizeof text - 1);
    assert_int_equal(hear(fd, &json, 5), 408);
    cJSON_Delete(json);
    assert_true(time(NULL) - start <= REQUEST_S + 3);
    /* the same in the middle of a body */
    fd = dial(w);
    static const char half[] = "POST /v1/nodes HTTP/1.1\r\nContent-Length: 50\r\n\r\n{\"product\":";
    say(fd, half, sizeof half - 1);
    assert_int_equal(hear(fd, &json, REQUEST_S + 3), 408);
    cJSON_Delete(json);
}

static void many_idle_clients_do_not_keep_others_out(void **state)
{
    struct world *w = *state;
    int fd[MD_HTTP_CONNECTIONS_MAX + 20];
    size_t open_count = 0;
    for (; open_count < sizeof fd / sizeof fd[0]; open_count++)
        fd[open_count] = dial(w);
    /* waits for the idle ones to be cut off */
    assert_int_equal(call(w, "GET", "/v1/status", NULL, NULL), 200);
    for (size_t i = 0; i < open_count; i++)
        close(fd[i]);
    assert_int_equal(call(w, "GET", "/v1/status", NULL, NULL), 200);
}

static void clients_may_part_pipeline_half_close_and_expect(void **state)
{
    struct world *w = *state;
    static const char get[] = "GET /v1/labels HTTP/1.1\r\nHost: x\r\n\r\n";
    cJSON *json = NULL;
    /* in pieces */
    int fd = dial(w);
    for (size_t i = 0; i < sizeof get - 1; i++)
        say(fd, get + i, 1);
    assert_int_equal(hear(fd, NULL, 5), 200);
    /* half closed */
    fd = dial(w);
    say(fd, get, sizeof get - 1);
    shutdown(fd, SHUT_WR);
    assert_int_equal(hear(fd, NULL, 5), 200);
    /* gone before the answer, and before the end of the request */
    for (int i = 0; i < 20; i++) {
        fd = dial(w);
        say(fd, get, i % 2 == 0 ? sizeof get - 1 : 10);
        close(fd);
    }
    /* pipelined: the first is answered, the rest ignored */
    fd = dial(w);
    say(fd, get, sizeof get - 1);
    say(fd, get, sizeof get - 1);
    assert_int_equal(hear(fd, NULL, 5), 200);
    /* bare line feeds are understood */
    assert_int_equal(raw(w, "GET /v1/labels HTTP/1.0\n\n", 25), 200);
    /* 100-continue, and a large body in pieces */
    static char body[70000];
    memset(body, 'x', sizeof body);
    fd = dial(w);
    static const char post[] = "POST /v1/import HTTP/1.1\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n";
    say(fd, post, sizeof post - 1);
    char answer[25] = "";
    assert_int_equal(recv(fd, answer, 25, MSG_WAITALL), 25);
    assert_memory_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    say(fd, body, sizeof body);
    assert_int_equal(hear(fd, &json, 5), 400);
    cJSON_Delete(json);
}

static void noise_is_survived(void **state)
{
    struct world *w = *state;
    static const char *const words[] = {"GET ",     "POST ",    "/v1/",
                                        "nodes",    "status",   " HTTP/1.1",
                                        "\r\n",     "\r\n\r\n", "Content-Length: ",
                                        "9",        "{",        "\"a\":",
                                        "\x00\xff", ":",        "Expect: 100-continue",
                                        "rollouts"};
    unsigned seed = 7;
    char text[512];
    for (int i = 0; i < 300; i++) {
        size_t n = 0;
        for (int k = rand_r(&seed) % 14; k > 0; k--) {
            const char *word = words[(unsigned)rand_r(&seed) % (sizeof words / sizeof words[0])];
            size_t len = strlen(word);
            memcpy(text + n, word, len);
            n += len;
        }
        int fd = dial(w);
        say(fd, text, n);
        shutdown(fd, SHUT_WR);
        hear(fd, NULL, 5);
    }
    assert_int_equal(call(w, "GET", "/v1/status", NULL, NULL), 200);
}

static void events_wait_and_wake(void **state)
{
    struct world *w = *state;
    cJSON *json = NULL;
    /* nothing new: answered at the end of the wait, empty */
    assert_int_equal(call(w, "GET", "/v1/events?since=1000000&wait=1", NULL, &json), 200);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "audit")), 0);
    cJSON_Delete(json);
    assert_int_equal(call(w, "GET", "/v1/events?since=0&wait=30", NULL, &json), 200);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(json, "audit")) > 0);
    double next = cJSON_GetObjectItem(json, "next")->valuedouble;
    cJSON_Delete(json);
    /* a change wakes whoever waits */
    char text[120];
    int n = snprintf(text, sizeof text, "GET /v1/events?since=%.0f&wait=50 HTTP/1.1\r\n\r\n", next);
    int fd = dial(w);
    say(fd, text, (size_t)n);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 300), 0);
    assert_int_equal(call(w, "POST", "/v1/nodes", "{\"product\":1,\"model\":2}", NULL), 201);
    assert_int_equal(hear(fd, &json, 5), 200);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(json, "audit")) > 0);
    cJSON_Delete(json);
}

static void a_second_daemon_is_refused_and_a_killed_one_replaced(void **state)
{
    struct world *w = *state;
    char error[300];
    struct event_base *base = event_base_new();
    const struct md_http_handler handler = {.body_max = md_api_body_max, .handle = md_api_handle};
    assert_null(md_http_open(base, w->socket, &handler, error, sizeof error));
    assert_non_null(strstr(error, "another daemon"));
    assert_null(md_http_open(base, w->config.keyset, &handler, error, sizeof error)); /* a file, not a socket */
    assert_null(md_gateway_open(base, &w->config, error, sizeof error));              /* its database is locked */
    assert_non_null(strstr(error, "m.db"));
    event_base_free(base);
    int before = stored(w);
    kill_server(w);
    start_server(w);
    assert_int_equal(stored(w), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_socket_is_for_owner_and_group),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(oversized_requests_are_refused),
        cmocka_unit_test(bad_json_and_bad_values_are_refused),
        cmocka_unit_test(a_node_lives_through_the_api),
        cmocka_unit_test(a_refused_request_leaves_no_label_behind),
        cmocka_unit_test(a_slow_client_is_cut_off_and_others_are_served),
        cmocka_unit_test(many_idle_clients_do_not_keep_others_out),
        cmocka_unit_test(clients_may_part_pipeline_half_close_and_expect),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(events_wait_and_wake),
        cmocka_unit_test(a_second_daemon_is_refused_and_a_killed_one_replaced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
