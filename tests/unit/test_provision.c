/*
 * meshctl provision with a part at the other end of a real line, in another process: over a unix socket and a terminal,
 * with lines that break; and the same part from a hex file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meshd/ctl/ctl.h"
#include "meshd/ctl/hex.h"
#include "meshd/ctl/pack.h"
#include "tests/lib/recovery_part.h"

static const struct rig_part word = {.name = "word", .page_size = 1024, .granule = 4, .relocates = true};
enum { NODE = 4711, ARGS_MAX = 40 };

/* Shared with the process that plays the part. */
struct shared {
    struct recovery_part part;
    volatile unsigned break_every; /* bytes after which the line is closed, 0 never */
    volatile unsigned mute_after;  /* bytes after which nothing is answered any more */
    volatile unsigned resets;
    volatile unsigned bytes;
};
static struct shared *shared;
static pid_t child;
static char folder[32], out_text[8192], err_text[8192];

static const char *path_of(const char *name)
{
    static char path[4][64];
    static unsigned n;

    n = (n + 1) % 4;
    snprintf(path[n], sizeof path[n], "%s/%s", folder, name);
    return path[n];
}

/* --- the part ------------------------------------------------------------------------------------------------------ */

/* Serves one line until it breaks. */
static void serve(int fd)
{
    struct recovery_part *p = &shared->part;
    uint8_t byte;

    for (unsigned n = 0; read(fd, &byte, 1) == 1;) {
        n++;
        shared->bytes++;
        size_t len = boot_recovery_receive(&p->r, byte);
        if (shared->break_every > 0 && n >= shared->break_every)
            return;
        if (shared->mute_after > 0 && shared->bytes > shared->mute_after)
            continue;
        if (len > 0 && write(fd, p->r.frame, len) != (ssize_t)len)
            return;
        if (p->r.reset) {
            shared->resets++;
            recovery_part_restart(p);
        }
    }
}

static pid_t start_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void listen_on_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/line", folder);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    child = start_child();
    if (child == 0)
        for (;;) {
            int line = accept(fd, NULL, NULL);
            serve(line);
            close(line);
        }
    close(fd);
}

/* A terminal with the part behind it; its name is put into name. */
static void listen_on_terminal(char *name)
{
    int master, slave;

    assert_int_equal(openpty(&master, &slave, name, NULL, NULL), 0);
    child = start_child();
    if (child == 0) {
        serve(master);
        _exit(0);
    }
    /* The terminal's other side stays open, so that the part is not hung up before meshctl comes. */
    close(master);
}

static void stop_child(void)
{
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    child = 0;
    unlink(path_of("line"));
}

/* --- the command --------------------------------------------------------------------------------------------------- */

static void read_back(int fd, char *text, size_t cap)
{
    lseek(fd, 0, SEEK_SET);
    ssize_t n = read(fd, text, cap - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
}

/* "meshctl provision" and what is printed behind; "@NAME" stands for a file in the folder. */
static int provision(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int provision(const char *format, ...)
{
    char line[1000], expanded[ARGS_MAX][100], *argv[ARGS_MAX + 1] = {0}, *save = NULL;
    va_list args;
    int argc = 0;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *w = strtok_r(line, " ", &save); w != NULL && argc < ARGS_MAX; w = strtok_r(NULL, " ", &save)) {
        char *at = strchr(w, '@');
        if (at != NULL)
            snprintf(expanded[argc], sizeof expanded[argc], "%.*s%s/%s", (int)(at - w), w, folder, at + 1);
        else
            snprintf(expanded[argc], sizeof expanded[argc], "%s", w);
        argv[argc] = expanded[argc];
        argc++;
    }
    char out_path[] = "/tmp/test-provision-XXXXXX", err_path[] = "/tmp/test-provision-XXXXXX";
    fflush(NULL);
    int out = mkstemp(out_path), err = mkstemp(err_path), keep_out = dup(1), keep_err = dup(2);
    unlink(out_path);
    unlink(err_path);
    dup2(out, 1);
    dup2(err, 2);
    int status = md_ctl_run(argc, argv);
    fflush(NULL);
    dup2(keep_out, 1);
    dup2(keep_err, 2);
    close(keep_out);
    close(keep_err);
    read_back(out, out_text, sizeof out_text);
    read_back(err, err_text, sizeof err_text);
    return status;
}

static void expect_text(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", text, wanted);
}

static void expect_status(int status, int wanted)
{
    if (status != wanted)
        fail_msg("exit %d, not %d: %s%s", status, wanted, out_text, err_text);
}

/* --- files --------------------------------------------------------------------------------------------------------- */

static void edit(uint32_t release, struct mp_manifest *m)
{
    m->security_counter = release;
    if (release == 4)
        m->model = RIG_MODEL + 1;
}

static void write_bundle(const char *name, unsigned count, uint32_t release)
{
    static uint8_t file[4 * RIG_PAYLOAD_MAX], manifests[2][MP_MANIFEST_SIZE];
    const uint8_t *payloads[2];
    char error[200];

    for (unsigned i = 0; i < count; i++) { /* for another model, then for this one */
        struct mp_manifest m = rig_image[release].m;
        m.model = count == 2 && i == 0 ? RIG_MODEL + 5 : m.model;
        sign_manifest(manifests[i], &m, &rig_fleet.publisher);
        payloads[i] = rig_image[release].payload;
    }
    long n = md_bundle_put(rig_crypto(), (const uint8_t(*)[MP_MANIFEST_SIZE])manifests, payloads, count, file,
                           sizeof file, error, sizeof error);
    assert_true(n > 0);
    assert_int_equal(md_file_write(path_of(name), file, (size_t)n, 0644, error, sizeof error), 0);
}

static void write_part(const char *name)
{
    const struct nf_layout *l = &shared->part.layout;
    char text[600], error[200];
    int n = snprintf(text, sizeof text,
                     "flash_base = 0x08000000\nflash_size = %u\npage_size = 1024\ngranule = 4\nboot = 0\n"
                     "boot_size = 1K\nboot_record = %u\nsettings = %u\nobjects = %u\nobjects_size = %u\nslot_a = %u\n"
                     "slot_b = %u\nslot_size = %u\n",
                     shared->part.flash.size / 1024 * 1024, l->boot_record, l->settings, l->objects, l->objects_size,
                     l->slot[0], l->slot[1], l->slot_size);
    assert_int_equal(md_file_write(path_of(name), text, (size_t)n, 0644, error, sizeof error), 0);
}

static int set_up(void **state)
{
    uint8_t settings[MP_SETTINGS_SIZE];
    char error[200];
    (void)state;

    strcpy(folder, "/tmp/test-provision-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -1;
    rig_images(&word, edit);
    recovery_part_init(&shared->part, &word);
    for (uint32_t node = NODE; node < NODE + 2; node++) {
        recovery_settings(settings, node);
        if (md_file_write(path_of(node == NODE ? "settings" : "other"), settings, sizeof settings, 0600, error,
                          sizeof error) != 0)
            return -1;
    }
    write_bundle("1.mfr", 1, 1);
    write_bundle("2.mfr", 2, 2);
    write_bundle("4.mfr", 1, 4);
    write_part("part");
    md_file_write(path_of("payload"), rig_image[3].payload, rig_image[3].size, 0644, error, sizeof error);
    return md_file_write(path_of("manifest"), rig_image[3].manifest, MP_MANIFEST_SIZE, 0644, error, sizeof error);
}

static int tear_down(void **state)
{
    static const char *const files[] = {"settings", "other", "1.mfr", "2.mfr",    "4.mfr",
                                        "part",     "hex",   "boot",  "manifest", "payload"};
    (void)state;

    stop_child();
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(path_of(files[i]));
    munmap(shared, sizeof *shared);
    return rmdir(folder);
}

static void expect_boots(unsigned slot, uint32_t release)
{
    struct boot_choice choice;

    assert_int_equal(recovery_part_boot(&shared->part, &choice), (int)slot);
    assert_int_equal(choice.record.release, release);
}

/* The part resets behind its last answer. */
static void expect_resets(unsigned n)
{
    for (int i = 0; i < 500 && shared->resets < n; i++)
        poll(NULL, 0, 10);
    assert_int_equal(shared->resets, n);
}

/* --- tests --------------------------------------------------------------------------------------------------------- */

static void a_part_is_provisioned_over_a_socket(void **state)
{
    (void)state;
    listen_on_socket();
    expect_status(provision("meshctl provision --serial unix:@line --info"), MD_EXIT_OK);
    expect_text(out_text, "part        0102030405060708, bootloader 1.2.3");
    expect_text(out_text, "settings    none");
    expect_text(out_text, "boot        no record");
    expect_status(provision("meshctl provision --serial unix:@line --settings @settings --image @2.mfr"), MD_EXIT_OK);
    expect_text(out_text, "node 4711, version 2.0.0 in slot 0");
    assert_string_equal(err_text, "");
    expect_resets(1);
    expect_boots(0, 2);

    expect_status(provision("meshctl --json provision --serial unix:@line --info"), MD_EXIT_OK);
    cJSON *j = cJSON_Parse(out_text);
    assert_int_equal((int)md_json_number(j, "node"), NODE);
    assert_string_equal(md_json_string(j, "state"), "confirmed");
    assert_int_equal((int)md_json_number(j, "floor"), 2);
    cJSON_Delete(j);

    /* An image alone, into the other slot, from two files; then nothing is left to do. */
    expect_status(provision("meshctl --json provision --serial unix:@line --image @payload --manifest @manifest"),
                  MD_EXIT_OK);
    j = cJSON_Parse(out_text);
    assert_int_equal((int)md_json_number(j, "slot"), 1);
    assert_int_equal((int)md_json_number(j, "bytes"), (int)rig_image[3].size);
    assert_false(md_json_true(j, "image_kept"));
    cJSON_Delete(j);
    expect_boots(1, 3);
    expect_status(provision("meshctl --json provision --serial unix:@line --image @payload --manifest @manifest"),
                  MD_EXIT_OK);
    expect_text(out_text, "\"image_kept\":\ttrue");
    expect_status(
        provision("meshctl provision --serial unix:@line --settings @settings --image @payload --manifest @manifest"),
        MD_EXIT_OK);
    expect_text(err_text, "stay as they are");

    /* Below the floor; another node's settings; then a factory reset takes all of it away. */
    expect_status(provision("meshctl provision --serial unix:@line --image @1.mfr"), MD_EXIT_REFUSED);
    expect_text(err_text, "refuses the image");
    expect_status(provision("meshctl provision --serial unix:@line --settings @other"), MD_EXIT_REFUSED);
    expect_text(err_text, "settings already, of node 4711");
    expect_status(provision("meshctl provision --serial unix:@line --product 1 --model 3"), MD_EXIT_REFUSED);
    expect_text(err_text, "is node 4711 already");
    expect_boots(1, 3);
    expect_status(provision("meshctl provision --serial unix:@line --erase"), MD_EXIT_USAGE);
    expect_status(provision("meshctl provision --serial unix:@line --erase --yes"), MD_EXIT_OK);
    expect_text(out_text, "erased");
    assert_int_equal(recovery_part_boot(&shared->part, NULL), -1);
    expect_status(provision("meshctl provision --serial unix:@line --image @1.mfr"), MD_EXIT_REFUSED);
    expect_text(err_text, "has no settings");
    expect_status(
        provision("meshctl provision --serial unix:@line --settings @other --image @1.mfr --slot 1 --no-reset"),
        MD_EXIT_OK);
    expect_boots(1, 1);
    expect_resets(4);
}

static void a_line_that_breaks_is_opened_again(void **state)
{
    (void)state;
    listen_on_socket();
    shared->break_every = 3001;
    expect_status(provision("meshctl provision --serial unix:@line --settings @settings --image @1.mfr"), MD_EXIT_OK);
    expect_boots(0, 1);
    /* One that always breaks has an end, and says so. */
    shared->break_every = 5;
    expect_status(provision("meshctl provision --serial unix:@line --image @2.mfr --index 1 --patience 1"),
                  MD_EXIT_UNREACHABLE);
    expect_text(err_text, "closed again and again");
    stop_child();
    expect_status(provision("meshctl provision --serial unix:@line --info --patience 1"), MD_EXIT_UNREACHABLE);
    expect_text(err_text, "No such file");
    expect_boots(0, 1);
}

static void silence_is_told_apart_from_a_line_that_is_not_there(void **state)
{
    (void)state;
    listen_on_socket();
    shared->mute_after = 1;
    expect_status(provision("meshctl provision --serial unix:@line --info --patience 1"), MD_EXIT_UNREACHABLE);
    expect_text(err_text, "no bootloader answers");
}

static void a_part_is_provisioned_over_a_terminal(void **state)
{
    char name[64];
    (void)state;

    listen_on_terminal(name);
    expect_status(provision("meshctl provision --serial tty:%s,1000000 --settings @settings --image @1.mfr", name),
                  MD_EXIT_OK);
    expect_boots(0, 1);
    expect_status(provision("meshctl provision --serial tty:%s,12345 --info", name), MD_EXIT_USAGE);
    expect_status(provision("meshctl provision --serial serial:%s --info", name), MD_EXIT_USAGE);
    expect_status(provision("meshctl provision --serial tty:/dev/null --info --patience 1"), MD_EXIT_UNREACHABLE);
}

/* What a programmer makes of the hex is what the serial line leaves. */
static void a_hex_is_the_same_part(void **state)
{
    static uint8_t flash[FLASH_SIM_SIZE_MAX];
    struct recovery_part *p = &shared->part;
    uint8_t *text, boot[1024];
    size_t len;
    struct stat st;
    char error[200];
    (void)state;

    memset(boot, 0x5A, sizeof boot);
    assert_int_equal(md_file_write(path_of("boot"), boot, sizeof boot, 0644, error, sizeof error), 0);
    expect_status(provision("meshctl provision --settings @settings --image @2.mfr --part @part --bootloader @boot "
                            "--hex @hex"),
                  MD_EXIT_OK);
    expect_text(out_text, "flash of node 4711");
    assert_int_equal(stat(path_of("hex"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(md_file_read(path_of("hex"), 1 << 20, &text, &len, error, sizeof error), 0);
    struct md_hex *h = md_hex_new();
    assert_int_equal(md_hex_parse(h, (const char *)text, len, error, sizeof error), 0);
    free(text);
    md_hex_get(h, 0x08000000, flash, p->flash.size, 0xFF);
    md_hex_free(h);
    assert_memory_equal(flash, boot, sizeof boot);

    listen_on_socket();
    expect_status(provision("meshctl provision --serial unix:@line --settings @settings --image @2.mfr"), MD_EXIT_OK);
    expect_boots(0, 2);
    assert_memory_equal(flash + 1024, p->sim.data + 1024, p->flash.size - 1024);
    stop_child();
    memcpy(p->sim.data, flash, p->flash.size);
    expect_boots(0, 2);
}

static void what_does_not_fit_together_is_refused(void **state)
{
    (void)state;
    expect_status(provision("meshctl provision --settings @settings --image @4.mfr --part @part --hex @hex"),
                  MD_EXIT_REFUSED);
    expect_text(err_text, "no image for product 1, model 3");
    expect_status(provision("meshctl provision --settings @settings --image @4.mfr --index 0 --part @part --hex @hex"),
                  MD_EXIT_REFUSED);
    expect_text(err_text, "another product, model");
    expect_status(provision("meshctl provision --settings @settings --image @2.mfr --index 5 --part @part --hex @hex"),
                  MD_EXIT_REFUSED);
    expect_status(provision("meshctl provision --settings @1.mfr --image @1.mfr --part @part --hex @hex"),
                  MD_EXIT_FAILED);
    expect_status(provision("meshctl provision --settings @manifest --image @1.mfr --part @part --hex @hex"),
                  MD_EXIT_FAILED);
    expect_text(err_text, "not a settings record");
    expect_status(provision("meshctl provision --settings @settings --image @payload --part @part --hex @hex"),
                  MD_EXIT_REFUSED);
    expect_status(
        provision("meshctl provision --settings @settings --image @settings --manifest @manifest --part @part "
                  "--hex @hex"),
        MD_EXIT_REFUSED);
    expect_text(err_text, "not the image that");
    expect_status(provision("meshctl provision --settings @settings --image @1.mfr --part @payload --hex @hex"),
                  MD_EXIT_FAILED);
    expect_status(provision("meshctl provision --settings @settings --image @1.mfr --part @part --bootloader @payload "
                            "--hex @hex"),
                  MD_EXIT_FAILED);
    assert_int_not_equal(access(path_of("hex"), F_OK), 0);
    /* usage */
    static const char *const wrong[] = {"--settings @settings",
                                        "--serial unix:@line",
                                        "--hex @hex --settings @settings",
                                        "--hex @hex --settings @settings --image @1.mfr",
                                        "--settings @settings -o @x",
                                        "--settings @settings --product 1 --model 1 -o @x",
                                        "--product 1 -o @x",
                                        "--info -o @x --product 1 --model 1",
                                        "--info --serial unix:@line --image @1.mfr",
                                        "--serial unix:@line --manifest @manifest --settings @settings",
                                        "--serial unix:@line --part nrf51 --settings @settings",
                                        "--serial unix:@line --slot 2 --image @1.mfr"};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_status(provision("meshctl provision %s", wrong[i]), MD_EXIT_USAGE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_part_is_provisioned_over_a_socket),
        TEST(a_line_that_breaks_is_opened_again),
        TEST(silence_is_told_apart_from_a_line_that_is_not_there),
        TEST(a_part_is_provisioned_over_a_terminal),
        TEST(a_hex_is_the_same_part),
        TEST(what_does_not_fit_together_is_refused),
    };

    return cmocka_run_group_tests_name("provision", tests, NULL, NULL);
}
