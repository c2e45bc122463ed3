/*
 * A whole gateway over a database that is corrupt, locked by another process, or full: it says so in a sentence that
 * names the file, changes nothing in it, and with the obstacle gone everything that was ever confirmed is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/ctl/pack.h"
#include "meshd/daemon/gateway.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "tests/lib/sign.h"

enum { NODES = 40, PAGE = 4096 };

struct world {
    char dir[64];
    struct md_config config;
    struct event_base *base;
    char error[400];
};

/* --- set up ------------------------------------------------------------------------------------------------------- */

static struct md_gateway *open_gateway(struct world *w)
{
    w->error[0] = '\0';
    return md_gateway_open(w->base, &w->config, w->error, sizeof w->error);
}

static int provision(struct md_gateway *g)
{
    struct md_provision in = {.product = 1, .model = 2};
    struct md_node node;
    uint8_t settings[MP_SETTINGS_SIZE];

    return md_registry_provision(md_gateway_registry(g), 1000, &in, &node, settings);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sign_fleet fleet;
    uint8_t record[MP_KEYSET_SIZE];

    *state = w;
    strcpy(w->dir, "/tmp/test-bad-database-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    md_log_set(MD_LOG_ERROR);
    md_config_init(&w->config);
    w->config.network = 7;
    w->config.hci = MD_HCI_UNIX;
    snprintf(w->config.hci_path, sizeof w->config.hci_path, "%s/none.sock", w->dir);
    snprintf(w->config.database, sizeof w->config.database, "%s/m.db", w->dir);
    snprintf(w->config.keyset, sizeof w->config.keyset, "%s/keyset", w->dir);
    sign_fleet_make(&fleet);
    mp_keyset_put(record, &fleet.keyset);
    assert_int_equal(md_file_write(w->config.keyset, record, sizeof record, 0644, w->error, sizeof w->error), MP_OK);
    w->base = event_base_new();
    struct md_gateway *g = open_gateway(w);

    assert_non_null(g);
    for (unsigned i = 0; i < NODES; i++)
        assert_int_equal(provision(g), MP_OK);
    md_gateway_close(g);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"m.db", "m.db-wal", "m.db-shm", "m.db-journal", "keyset"};
    struct world *w = *state;
    char path[200];

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
    event_base_free(w->base);
    free(w);
    return 0;
}

static uint8_t *read_database(const struct world *w, size_t *len)
{
    uint8_t *data = NULL;
    char error[200];

    assert_int_equal(md_file_read(w->config.database, 1u << 26, &data, len, error, sizeof error), MP_OK);
    return data;
}

static void drop_wal(const struct world *w)
{
    char path[sizeof w->config.database + 8];

    snprintf(path, sizeof path, "%s-wal", w->config.database);
    unlink(path);
}

static void write_database(const struct world *w, const uint8_t *data, size_t len)
{
    int fd = open(w->config.database, O_WRONLY | O_TRUNC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static void expect_nodes(struct world *w, uint32_t count)
{
    struct md_gateway *g = open_gateway(w);

    if (g == NULL)
        fail_msg("%s", w->error);
    assert_int_equal(md_registry_count(md_gateway_registry(g)), count);
    assert_int_equal(md_store_verify_audit(md_gateway_store(g), NULL), MP_OK);
    md_gateway_close(g);
}

/* --- corrupt ------------------------------------------------------------------------------------------------------ */

/* Opens over these bytes. Refused: in a sentence, and the file is what it was, so that it can be repaired. */
static bool is_refused(struct world *w, const uint8_t *data, size_t len)
{
    size_t after_len;

    drop_wal(w); /* what an opened one wrote */
    write_database(w, data, len);
    struct md_gateway *g = open_gateway(w);

    if (g != NULL) {
        md_gateway_close(g);
        return false;
    }
    assert_non_null(strstr(w->error, "m.db: "));
    uint8_t *after = read_database(w, &after_len);

    assert_int_equal(after_len, len);
    assert_memory_equal(after, data, len);
    free(after);
    return true;
}

static void test_corrupt_database_is_refused_and_left_as_it_is(void **state)
{
    struct world *w = *state;
    size_t len;
    uint8_t *good = read_database(w, &len), *bad = malloc(len);
    unsigned refused = 0;

    assert_non_null(bad);
    memset(bad, 0xA5, len); /* no database at all */
    assert_true(is_refused(w, bad, len));
    assert_true(is_refused(w, good, len / 2)); /* cut */
    assert_true(is_refused(w, good, len - PAGE));
    for (size_t page = 0; page < len; page += PAGE) {
        memcpy(bad, good, len);
        for (size_t k = 0; k < 64; k++)
            bad[page + k] ^= 0xA5;
        refused += is_refused(w, bad, len);
    }
    assert_true(refused >= len / PAGE * 3 / 4); /* the rest are free pages */
    drop_wal(w);
    write_database(w, good, len);
    expect_nodes(w, NODES);
    free(good);
    free(bad);
}

/* --- locked ------------------------------------------------------------------------------------------------------- */

static void test_locked_database_is_refused_and_its_owner_goes_on(void **state)
{
    struct world *w = *state;
    struct md_gateway *owner = open_gateway(w);
    int status;

    assert_non_null(owner);
    fflush(NULL);
    pid_t second = fork();

    assert_true(second >= 0);
    if (second == 0) {
        struct event_base *base = event_base_new();
        char error[400] = "";
        struct md_gateway *g = md_gateway_open(base, &w->config, error, sizeof error);

        _exit(g == NULL && strstr(error, "m.db: ") != NULL && strstr(error, "locked") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(provision(owner), MP_OK);
    md_gateway_close(owner);
    expect_nodes(w, NODES + 1);
}

/* --- full --------------------------------------------------------------------------------------------------------- */

static void limit_files(bool on)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = on ? 1 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Nothing can be written, as on a full disk: every change is refused, what is there stays and can be read. */
static void test_full_database_refuses_changes_and_loses_nothing(void **state)
{
    struct world *w = *state;
    struct md_gateway *g = open_gateway(w);
    struct md_registry *registry;
    struct md_node node;

    assert_non_null(g);
    registry = md_gateway_registry(g);
    assert_int_equal(md_registry_get(registry, 0, &node), MP_OK);
    limit_files(true);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(provision(g) < 0);
        assert_true(md_registry_error(registry)[0] != '\0');
        assert_true(md_registry_rename(registry, node.node, "another") < 0);
        assert_true(md_registry_retire(registry, node.node, true) < 0);
        assert_true(md_registry_set_labels(registry, node.node, 3) < 0);
        assert_true(md_registry_name_label(registry, 1, "canary") < 0);
        assert_true(md_gateway_audit(g, "ann", "x", "y") < 0);
    }
    assert_int_equal(md_registry_count(registry), NODES);
    assert_int_equal(md_registry_find_name(registry, "another", &node), MP_ERR_ABSENT);
    limit_files(false);
    assert_int_equal(provision(g), MP_OK);
    md_gateway_close(g);
    expect_nodes(w, NODES + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_corrupt_database_is_refused_and_left_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_locked_database_is_refused_and_its_owner_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_database_refuses_changes_and_loses_nothing, set_up, tear_down),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("bad database", tests, NULL, NULL);
}
