/*
 * An emulated part as it comes from the shop, provisioned by the real meshctl: over its serial line, with and without
 * resets in between, and from a hex file. What they leave is the same, boots, and becomes a node of the mesh.
 */
#include "emu.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "meshd/ctl/hex.h"
#include "meshd/ctl/pack.h"
#include "node-fw/port/nrf51/map.h"
#include "tests/lib/fleet_part.h"

#define MODEL 2u
#define STEM "1.0.0"

static struct fleet fleet;

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

/* --- a line that meshctl can open ----------------------------------------------------------------------------------- */

/* Hands on what the part and whoever connects to a socket say, in a thread of its own. */
struct relay {
    pthread_t thread;
    int part, listener, client, wake[2];
    char path[QEMU_PATH_MAX];
    uint8_t heard[4];          /* last bytes of the part */
    volatile bool has_started; /* it said HCI Reset: its image runs */
};

static struct relay relay;

static void hand_on(int from, int *to, struct relay *r)
{
    static const uint8_t hci_reset[4] = {0x01, 0x03, 0x0C, 0x00};
    uint8_t data[512];
    const ssize_t n = read(from, data, sizeof data);
    for (ssize_t i = 0; i < n && from == r->part; i++) {
        memmove(r->heard, r->heard + 1, 3);
        r->heard[3] = data[i];
        if (memcmp(r->heard, hci_reset, 4) == 0)
            r->has_started = true;
    }
    for (ssize_t at = 0; at < n && *to >= 0;) {
        const ssize_t sent = send(*to, data + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent > 0)
            at += sent;
        else if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = *to, .events = POLLOUT}, 1, 100);
        else
            break;
    }
    if (n == 0 && from == r->client) {
        close(r->client);
        r->client = -1;
    }
}

static void *relay_main(void *ctx)
{
    struct relay *r = ctx;
    for (;;) {
        struct pollfd p[4] = {{.fd = r->wake[0], .events = POLLIN},
                              {.fd = r->part, .events = POLLIN},
                              {.fd = r->client < 0 ? r->listener : -1, .events = POLLIN},
                              {.fd = r->client, .events = POLLIN}};
        if (poll(p, 4, -1) < 0)
            continue;
        if (p[0].revents != 0)
            return NULL;
        if (p[1].revents != 0)
            hand_on(r->part, &r->client, r);
        if (p[2].revents != 0)
            r->client = accept(r->listener, NULL, NULL);
        if (p[3].revents != 0)
            hand_on(r->client, &r->part, r);
    }
}

static void relay_open(struct relay *r, struct qemu *q, const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *r = (struct relay){.client = -1, .part = qemu_serial(q)};
    snprintf(r->path, sizeof r->path, "%s/line", dir);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", r->path);
    unlink(r->path);
    r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(r->listener, (const struct sockaddr *)&address, sizeof address) != 0 || listen(r->listener, 1) != 0 ||
        pipe(r->wake) != 0 || pthread_create(&r->thread, NULL, relay_main, r) != 0)
        fail_msg("%s: %s", r->path, strerror(errno));
}

static void relay_close(struct relay *r)
{
    if (r->thread == 0)
        return;
    close(r->wake[1]);
    pthread_join(r->thread, NULL);
    close(r->wake[0]);
    close(r->listener);
    if (r->client >= 0)
        close(r->client);
    r->thread = 0;
}

/* --- one fleet a test ------------------------------------------------------------------------------------------------ */

static char line[QEMU_PATH_MAX + 8];

static int set_up(void **state)
{
    struct fleet *f = &fleet;
    (void)state;
    fleet_failed = qemu_failed = fail_test;
    fleet_open(f, &(struct fleet_options){.name = "recovery",
                                          .text = "[scenario]\nname = test\nseed = 12\n[topology]\nkind = line\n"
                                                  "nodes = 2\nspacing = 2 m\nfirst = gw\nprefix = n\n"});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, STEM, 1u << MODEL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    relay_close(&relay);
    for (unsigned i = 0; i < EMU_PARTS_MAX; i++)
        qemu_close(&emu_part[i]);
    fleet_close(&fleet);
    return 0;
}

/* A part with nothing but its bootloader, running, its line behind the socket. */
static struct qemu *blank_part(struct fleet *f, unsigned i)
{
    struct qemu *q = &emu_part[i];
    static uint8_t image[QEMU_FLASH_SIZE];
    char name[16];
    snprintf(name, sizeof name, "p%u", i);
    qemu_open(q, &(struct qemu_options){.name = name, .dir = f->dir});
    memset(image, 0xFF, sizeof image);
    qemu_image_file(q, image, 0, emu_built("nrf51/boot.bin"));
    qemu_load(q, image, sizeof image);
    qemu_run(q);
    relay_open(&relay, q, f->dir);
    snprintf(line, sizeof line, "unix:%s", relay.path);
    return q;
}

static bool has_started(struct qemu *q, void *ctx)
{
    (void)q;
    return ((const struct relay *)ctx)->has_started;
}

/* The part of this test as a node of the fleet, with what is in its flash now. */
static struct fleet_part *join(struct fleet *f, const char *name, unsigned id, struct qemu *q)
{
    struct fleet_part *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->node = &f->node[f->count++];
    *p->node = (struct fleet_node){.model = MODEL, .id = id, .part = p};
    snprintf(p->node->name, sizeof p->node->name, "%s", name);
    qemu_flash(q, p->flash);
    return p;
}

static void expect_same(const uint8_t *a, const uint8_t *b, uint32_t start, uint32_t size)
{
    for (uint32_t i = start; i < start + size; i++)
        if (a[i] != b[i])
            fail_msg("0x%x: 0x%02x and 0x%02x", (unsigned)i, a[i], b[i]);
}

/* --- tests ------------------------------------------------------------------------------------------------------------ */

/* The daemon enters it, its line brings it up, and it reports. The same as hex, in another part, boots likewise. */
static void a_blank_part_becomes_a_node(void **state)
{
    struct fleet *f = &fleet;
    static uint8_t serial[QEMU_FLASH_SIZE], flash[QEMU_FLASH_SIZE];
    char settings[FLEET_PATH_MAX], hex[FLEET_PATH_MAX], error[200];
    uint8_t *text;
    size_t len;
    cJSON *j = NULL;
    (void)state;
    struct qemu *q = blank_part(f, 0);
    fleet_do(f, &j, "provision", "--serial", line, "--info", NULL);
    FLEET_REQUIRE(f,
                  fleet_number(j, "flash_size") == NRF51_FLASH_SIZE && fleet_number(j, "page_size") == NRF51_PAGE_SIZE);
    cJSON_Delete(j);
    fleet_do(f, &j, "provision", "--product", "2", "--model", "2", "--name", "n1", "--serial", line, "--image",
             fleet_bundle(f, 1), "--no-reset", NULL);
    const unsigned id = (unsigned)fleet_number(j, "node");
    FLEET_REQUIRE(f, id != 0 && fleet_number(j, "slot") == 0);
    printf("%u bytes over the line, %u requests sent again\n", (unsigned)fleet_number(j, "bytes"),
           (unsigned)fleet_number(j, "resent"));
    cJSON_Delete(j);
    FLEET_REQUIRE(f, q->resets_own == 0);
    qemu_flash(q, serial);

    fleet_path(f, settings, "n1.settings");
    fleet_path(f, hex, "n1.hex");
    fleet_do(f, NULL, "nodes", "settings", "n1", "-o", settings, NULL);
    fleet_do(f, NULL, "provision", "--settings", settings, "--image", fleet_bundle(f, 1), "--part", "nrf51",
             "--bootloader", emu_built("nrf51/boot.bin"), "--hex", hex, NULL);
    assert_int_equal(md_file_read(hex, 4u << 20, &text, &len, error, sizeof error), 0);
    struct md_hex *h = md_hex_new();
    assert_int_equal(md_hex_parse(h, (const char *)text, len, error, sizeof error), 0);
    free(text);
    md_hex_get(h, 0, flash, sizeof flash, 0xFF);
    md_hex_free(h);
    expect_same(serial, flash, 0, sizeof flash);

    /* There is nothing left to do but the reset; then the image talks to its controller. */
    fleet_do(f, &j, "provision", "--serial", line, "--image", fleet_bundle(f, 1), NULL);
    FLEET_REQUIRE(f, cJSON_IsTrue(cJSON_GetObjectItem(j, "image_kept")));
    cJSON_Delete(j);
    FLEET_REQUIRE(f, qemu_until(q, 60, has_started, &relay));
    FLEET_REQUIRE(f, q->resets_own == 1);
    relay_close(&relay);

    /* In the mesh, with the flash that it has now. */
    struct fleet_part *p = join(f, "n1", id, q);
    qemu_close(q);
    fleet_part_start(f, p);
    fleet_wait_enrolled(f, 60);
    FLEET_REQUIRE(f, strcmp(fleet_runs(p->node), STEM) == 0);
    fleet_part_stop(p);

    /* And from the hex. */
    memcpy(p->flash, flash, sizeof p->flash);
    const unsigned boots = p->node->boots;
    fleet_part_start(f, p);
    for (int i = 0; i < 600 && p->node->boots == boots; i++) {
        fleet_pause(0.1);
        fleet_witness(f);
    }
    FLEET_REQUIRE(f, p->node->boots > boots && strcmp(fleet_runs(p->node), STEM) == 0);
}

/* meshctl in a thread, while the part is being reset. */
struct attempt {
    struct fleet *f;
    char settings[FLEET_PATH_MAX];
    int status;
    cJSON *reply;
    volatile bool done;
};

static void *attempt_main(void *ctx)
{
    struct attempt *a = ctx;
    a->status = fleet_ctl(a->f, &a->reply, "provision", "--serial", line, "--settings", a->settings, "--image",
                          fleet_bundle(a->f, 1), "--patience", "30", NULL);
    a->done = true;
    return NULL;
}

static void resets_while_it_is_provisioned_are_got_over(void **state)
{
    enum { RESETS = 12, SURE = 5 };
    struct fleet *f = &fleet;
    struct attempt a = {.f = f};
    pthread_t thread;
    unsigned resets = 0;
    (void)state;
    struct qemu *q = blank_part(f, 0);
    fleet_path(f, a.settings, "n1.settings");
    fleet_do(f, NULL, "provision", "--product", "2", "--model", "2", "--name", "n1", "-o", a.settings, NULL);
    assert_int_equal(pthread_create(&thread, NULL, attempt_main, &a), 0);
    for (unsigned i = 0; i < RESETS && !a.done; i++) {
        /* Later and later: into the signature's check, which takes 0.8 s, and then into the pieces. */
        qemu_pass(q, 200 + 150 * i, 60);
        if (a.done)
            break;
        qemu_reset(q);
        resets++;
    }
    while (!a.done)
        qemu_poll(&q, 1, 100);
    pthread_join(thread, NULL);
    FLEET_REQUIRE(f, a.status == 0);
    printf("%u resets, %u requests sent again\n", resets, (unsigned)fleet_number(a.reply, "resent"));
    FLEET_REQUIRE(f, resets >= SURE);
    cJSON_Delete(a.reply);
    FLEET_REQUIRE(f, qemu_until(q, 60, has_started, &relay));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_blank_part_becomes_a_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(resets_while_it_is_provisioned_are_got_over, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
