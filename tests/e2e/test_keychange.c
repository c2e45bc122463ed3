/*
 * In the middle of a release the publisher's key is replaced and the old one revoked. Nothing that the old one signed
 * is started any more, nothing that runs is lost, and the new key's release is taken.
 */
#include "e2e.h"

#include <string.h>

static bool all_fetch(struct fleet *f, void *ctx)
{
    unsigned count = 0;
    (void)ctx;
    for (unsigned i = 0; i < f->count; i++)
        count += fleet_logged(f, f->node[i].name, "phase=fetching");
    return count == f->count;
}

static bool all_have_keyset(struct fleet *f, void *ctx)
{
    const unsigned *number = ctx;
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++) {
        cJSON *flash = fleet_inspect(f, &f->node[i]);
        count += (unsigned)fleet_number(flash, "keyset.number") == *number;
        cJSON_Delete(flash);
    }
    return count == f->count;
}

/* Installs or revokes a publisher key with two of the roots, as the manual says. */
static void change(struct fleet *f, const char *op, const char *key)
{
    char roots[2][FLEET_PATH_MAX], out[FLEET_PATH_MAX];
    fleet_path(f, roots[0], "keys/root-0.key");
    fleet_path(f, roots[1], "keys/root-2.key");
    fleet_path(f, out, op);
    fleet_do(f, NULL, "key", "change", op, "--key", key, "--root", roots[0], "--root", roots[1], "-o", out, NULL);
    fleet_do(f, NULL, "key", "apply", out, NULL);
}

static void reboot_all(struct fleet *f)
{
    for (unsigned i = 0; i < f->count; i++)
        fleet_node_kill(f, &f->node[i]);
    for (unsigned i = 0; i < f->count; i++)
        fleet_node_start(f, &f->node[i]);
}

struct restart {
    unsigned boots[FLEET_NODES_MAX];
};

static bool all_restarted(struct fleet *f, void *ctx)
{
    const struct restart *before = ctx;
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++)
        count += f->node[i].boots > before->boots[i];
    return count == f->count;
}

/* A power cut everywhere: all start the version they ran. */
static void expect_reboot(struct fleet *f, const char *version, unsigned release)
{
    struct restart before = {{0}};
    fleet_witness(f);
    for (unsigned i = 0; i < f->count; i++)
        before.boots[i] = f->node[i].boots;
    reboot_all(f);
    fleet_wait(f, 20, "all to start again", all_restarted, &before);
    fleet_wait_running(f, 20, version, release);
}

static void a_replaced_key_bricks_nobody(void **state)
{
    struct fleet *f = &e2e_fleet;
    char old[FLEET_PATH_MAX], fresh[FLEET_PATH_MAX];
    unsigned number = 2;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "key change", .text = e2e_line(3, 5)}, 3, 1);
    memcpy(old, f->publisher, sizeof old);
    fleet_path(f, fresh, "keys/publisher-1.key");
    fleet_do(f, NULL, "key", "generate", "publisher", fresh, "--id", "1", "--generation", "2", NULL);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_CANARY);
    fleet_wait(f, 30, "all to fetch", all_fetch, NULL);
    FLEET_REQUIRE(f, !fleet_holds(f, &f->node[2], 2)); /* in mid-release indeed */
    change(f, "install", fresh);
    change(f, "revoke", old);
    fleet_wait(f, 30, "all to know the new keys", all_have_keyset, &number);
    fleet_wait_phase(f, 120, 2, "held");
    for (unsigned i = 0; i < f->count; i++)
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "2.0.0") == 0);
    /* 1.0.0 was signed with the revoked key too, and keeps booting */
    expect_reboot(f, "1.0.0", 1);
    /* what the old key signs is not even imported; the new one is followed */
    fleet_sign(f, 3, "2.1.0", 1u << 1);
    FLEET_REQUIRE(f, fleet_ctl(f, NULL, "import", fleet_bundle(f, 3), NULL) == 4);
    memcpy(f->publisher, fresh, sizeof f->publisher);
    fleet_release(f, 3, "2.1.0", 1u << 1);
    fleet_rollout(f, 3, E2E_CANARY);
    fleet_wait_phase(f, 120, 3, "done");
    fleet_wait_running(f, 20, "2.1.0", 3);
    expect_reboot(f, "2.1.0", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(a_replaced_key_bricks_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
