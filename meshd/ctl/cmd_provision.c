/*
 * meshctl provision: enter a node, and bring its settings and first image to it: as a file, over the serial line of a
 * part that waits in its bootloader, or as Intel HEX for a programmer.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "human.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "part.h"
#include "proto/mp_wire.h"
#include "provision.h"
#include "serial.h"

static const char provision_help[] =
    "meshctl provision - enter a node into the network, and set it up\n"
    "\n"
    "Usage:\n"
    "  meshctl provision --product N --model N [NODE OPTIONS] TARGET... [IMAGE]\n"
    "  meshctl provision --settings FILE TARGET... [IMAGE]\n"
    "  meshctl provision --serial LINE IMAGE | --info | --erase --yes\n"
    "\n"
    "The daemon allocates id, enrolment index and report key (or --settings FILE brings a\n"
    "record from before; no daemon is needed then). The settings record (360 bytes) holds\n"
    "the network key: whoever has it is a member. The node is enrolled with its first\n"
    "authentic report.\n"
    "\n"
    "Node options:\n"
    "  --product N, --model N   what the node is; decide which images it takes\n"
    "  --hw-revision N          0 to 31 (default 0)\n"
    "  --label NAME             label (may be repeated); a new name gets a free one of 16\n"
    "  --name NAME              name for people (default node-ID)\n"
    "  --node ID                id instead of the next free one\n"
    "\n"
    "Targets:\n"
    "  -o FILE                  the settings record, mode 0600 (POSIX: node-boot provision);\n"
    "                           delete it once the node has it\n"
    "  --serial LINE            a part that waits in its bootloader: unix:PATH, or\n"
    "                           tty:DEVICE[,BAUD] (115200; an nRF51 wants 1000000). What\n"
    "                           was interrupted goes on where it was\n"
    "  --hex FILE               a new part's whole flash as Intel HEX, mode 0600; needs\n"
    "                           --part and an image\n"
    "\n"
    "Image:\n"
    "  --image FILE             release bundle (.mfr); the image for the node is taken. Or\n"
    "                           a payload or image file (.mfi), with --manifest\n"
    "  --manifest FILE          its signed manifest (200 bytes)\n"
    "  --index N                which image of a bundle (when nothing else says it)\n"
    "\n"
    "Options with --serial:\n"
    "  --info                   say what the part is and holds; change nothing\n"
    "  --erase --yes            first take away settings, objects and images (a factory\n"
    "                           reset); without an image nothing more\n"
    "  --slot N                 0 or 1 (default: the one that does not boot now)\n"
    "  --no-reset               leave the part in its bootloader\n"
    "  --patience S             how long it may be silent, seconds (default 10)\n"
    "\n"
    "Options with --hex:\n"
    "  --part NAME|FILE         nrf51, or a file with lines \"name = number\": flash_size,\n"
    "                           page_size, granule, boot_record, settings, objects,\n"
    "                           objects_size, slot_a, slot_b, slot_size; and as needed\n"
    "                           flash_base, boot, boot_size, slot_base_a, slot_base_b,\n"
    "                           seal_a, seal_b\n"
    "  --bootloader FILE        Intel HEX or binary; put in, so that one file is enough\n"
    "\n"
    "Examples:\n"
    "  meshctl provision --product 1 --model 2 --label canary --name lamp-7 -o lamp-7.settings\n"
    "  meshctl provision --product 1 --model 2 --name lamp-8 --serial \\\n"
    "          tty:/dev/ttyACM0,1000000 --image lamp-2.0.0.mfr\n"
    "  meshctl provision --settings lamp-7.settings --image lamp-2.0.0.mfr --part nrf51 \\\n"
    "          --bootloader boot.hex --hex lamp-7.hex\n"
    "  meshctl provision --serial tty:/dev/ttyACM0,1000000 --info\n";

#define NOT_GIVEN UINT64_MAX

/* The command line. */
struct args {
    uint64_t node, product, model, revision, index, slot, patience_s;
    const char *name, *output, *settings, *serial, *hex, *image, *manifest, *part, *bootloader;
    struct md_list labels;
    bool info, erase, yes, no_reset;
};

/* What becomes of it. */
struct work {
    struct md_ctl *c;
    const struct args *a;
    cJSON *reply; /* what --json prints */
    bool has_settings;
    uint8_t record[MP_SETTINGS_SIZE];
    struct mp_settings settings;
    bool has_image;
    struct md_first_image image;
    struct md_part part;
    struct md_serial line;
    struct md_recover run;
    bool is_entered;  /* the daemon has a new node */
    unsigned percent; /* shown last */
};

/* --- settings ------------------------------------------------------------------------------------------------------ */

static cJSON *request(const struct args *a)
{
    cJSON *body = cJSON_CreateObject();
    if (a->node != 0)
        cJSON_AddNumberToObject(body, "node", (double)a->node);
    cJSON_AddNumberToObject(body, "product", (double)a->product);
    cJSON_AddNumberToObject(body, "model", (double)a->model);
    cJSON_AddNumberToObject(body, "hw_revision", (double)a->revision);
    if (a->name != NULL)
        cJSON_AddStringToObject(body, "name", a->name);
    cJSON *array = cJSON_AddArrayToObject(body, "labels");
    for (unsigned i = 0; i < a->labels.count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(a->labels.item[i]));
    return body;
}

/* Lets the daemon enter the node, and takes the record out of its reply. */
static int enter_node(struct work *w)
{
    cJSON *body = request(w->a), *j = NULL;
    int status = md_ctl_call(w->c, "POST", "/v1/nodes", body, &j);
    cJSON_Delete(body);
    if (status != MD_EXIT_OK)
        return status;
    w->is_entered = true;
    cJSON_Delete(w->reply);
    w->reply = j;
    if (md_json_hex(j, "settings", w->record, sizeof w->record) != MP_SETTINGS_SIZE ||
        mp_settings_get(&w->settings, w->record, sizeof w->record) != MP_OK)
        return md_ctl_fail(w->c, MD_EXIT_FAILED, "the daemon gave no settings record");
    cJSON_DeleteItemFromObject(j, "settings");
    return MD_EXIT_OK;
}

static int get_settings(struct work *w)
{
    char error[300];
    int status = MD_EXIT_OK;
    if (w->a->settings != NULL) {
        if (md_settings_load(w->record, &w->settings, w->a->settings, error, sizeof error) != MP_OK)
            return md_ctl_fail(w->c, MD_EXIT_FAILED, "%s", error);
        cJSON_AddNumberToObject(w->reply, "node", w->settings.node);
        cJSON_AddNumberToObject(w->reply, "index", w->settings.index);
    } else if (w->a->product != NOT_GIVEN) {
        status = enter_node(w);
    } else {
        return MD_EXIT_OK;
    }
    w->has_settings = status == MD_EXIT_OK;
    if (status == MD_EXIT_OK && w->a->output != NULL &&
        md_file_write(w->a->output, w->record, sizeof w->record, 0600, error, sizeof error) != MP_OK)
        status = md_ctl_fail(w->c, MD_EXIT_FAILED, "%s", error);
    return status;
}

/* --- image --------------------------------------------------------------------------------------------------------- */

/* Errors of files are failures, those of their contents refusals. */
static int exit_of(int code)
{
    return code == MP_ERR_STORE || code == MP_ERR_ROOM ? MD_EXIT_FAILED : MD_EXIT_REFUSED;
}

static int get_image(struct work *w)
{
    const struct args *a = w->a;
    struct md_first_device device = {a->product != NOT_GIVEN, (uint32_t)a->product, (uint16_t)a->model,
                                     (uint8_t)a->revision};
    struct mp_settings settings;
    uint8_t record[MP_SETTINGS_SIZE];
    char error[400];
    if (a->image == NULL)
        return MD_EXIT_OK;
    if (a->settings != NULL && md_settings_load(record, &settings, a->settings, error, sizeof error) == MP_OK) {
        device = (struct md_first_device){true, settings.product, settings.model, settings.hw_revision};
        sodium_memzero(record, sizeof record);
        sodium_memzero(&settings, sizeof settings);
    }
    int code = md_first_image_load(&w->image, a->image, a->manifest, a->index == NOT_GIVEN ? -1 : (int)a->index,
                                   &device, error, sizeof error);
    w->has_image = code == MP_OK;
    return code == MP_OK ? MD_EXIT_OK : md_ctl_fail(w->c, exit_of(code), "%s", error);
}

static int check_image(struct work *w)
{
    char error[300];
    if (!w->has_image || !w->has_settings)
        return MD_EXIT_OK;
    int code = md_first_image_check(&w->image, &w->settings, error, sizeof error);
    return code == MP_OK ? MD_EXIT_OK : md_ctl_fail(w->c, MD_EXIT_REFUSED, "%s: %s", w->a->image, error);
}

/* --- hex ----------------------------------------------------------------------------------------------------------- */

static int add_bootloader(struct work *w, struct md_hex *hex)
{
    uint8_t *file = NULL;
    size_t len = 0;
    char error[300];
    if (w->a->bootloader == NULL)
        return MD_EXIT_OK;
    if (md_file_read(w->a->bootloader, MD_HEX_BYTES_MAX, &file, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(w->c, MD_EXIT_FAILED, "%s", error);
    int code = md_part_bootloader(hex, &w->part, file, len, error, sizeof error);
    free(file);
    return code == MP_OK ? MD_EXIT_OK : md_ctl_fail(w->c, exit_of(code), "%s: %s", w->a->bootloader, error);
}

static int write_hex(struct work *w)
{
    const struct md_material material = {w->record, w->image.manifest, w->image.payload, w->image.m.image_size};
    struct md_hex *hex = md_hex_new();
    char error[300], *text = NULL;
    size_t len = 0;
    int status = hex != NULL ? MD_EXIT_OK : md_ctl_fail(w->c, MD_EXIT_FAILED, "out of memory");
    if (status == MD_EXIT_OK)
        status = add_bootloader(w, hex);
    if (status == MD_EXIT_OK) {
        int code = md_part_flash(hex, &w->part, crypto_sodium(), &material, error, sizeof error);
        if (code != MP_OK)
            status = md_ctl_fail(w->c, code == MP_ERR_ROOM ? MD_EXIT_REFUSED : MD_EXIT_FAILED, "%s", error);
    }
    if (status == MD_EXIT_OK && (text = md_hex_text(hex, &len)) == NULL)
        status = md_ctl_fail(w->c, MD_EXIT_FAILED, "out of memory");
    if (status == MD_EXIT_OK && md_file_write(w->a->hex, text, len, 0600, error, sizeof error) != MP_OK)
        status = md_ctl_fail(w->c, MD_EXIT_FAILED, "%s", error);
    if (text != NULL)
        sodium_memzero(text, len);
    free(text);
    md_hex_free(hex);
    return status;
}

/* --- serial -------------------------------------------------------------------------------------------------------- */

/* A bar on a terminal; nothing anywhere else. */
static void show_progress(void *ctx, const struct md_recover *r)
{
    static const char bar[] = "##############################";
    struct work *w = ctx;
    if (w->c->json || !isatty(STDERR_FILENO))
        return;
    bool is_image = r->step == MD_RECOVER_DATA;
    unsigned percent = is_image && r->pieces > 0 ? (unsigned)((uint64_t)r->piece * 100 / r->pieces) : 101u + r->step;
    if (percent == w->percent && md_recover_state(r) == MD_RECOVER_RUNNING)
        return;
    w->percent = percent;
    if (md_recover_state(r) != MD_RECOVER_RUNNING)
        fprintf(stderr, "\r%60s\r", "");
    else if (is_image)
        fprintf(stderr, "\rimage    [%-30.*s] %3u%%  ", (int)(percent * 30 / 100), bar, percent);
    else
        fprintf(stderr, "\r%-60s",
                r->step == MD_RECOVER_HELLO     ? "waiting for the part"
                : r->step < MD_RECOVER_SETTINGS ? "erasing"
                : r->step < MD_RECOVER_BEGIN    ? "settings"
                : r->step == MD_RECOVER_FINISH  ? "the part checks the image"
                                                : "one moment");
}

static int run_plan(struct work *w, const struct md_recover_plan *plan)
{
    struct md_recover *r = &w->run;
    if (md_recover_start(r, plan, md_serial_now()) != MP_OK)
        return md_ctl_fail(w->c, MD_EXIT_REFUSED, "the manifest is not one of a full image");
    md_serial_run(&w->line, r, show_progress, w);
    if (md_recover_state(r) == MD_RECOVER_DONE)
        return MD_EXIT_OK;
    return md_ctl_fail(w->c,
                       r->is_silent            ? MD_EXIT_UNREACHABLE
                       : r->is_failure_refusal ? MD_EXIT_REFUSED
                                               : MD_EXIT_FAILED,
                       "%s: %s", w->a->serial, r->error);
}

static const char *hex_of(const uint8_t *data, size_t len, char *out)
{
    return sodium_bin2hex(out, 2 * len + 1, data, len);
}

/* Before the daemon is asked for anything: is somebody there, and does what is wanted make sense? */
static int look(struct work *w)
{
    const struct md_recover_plan plan = {.patience_ms = (uint32_t)w->a->patience_s * 1000, .slot = -1};
    const struct md_part_info *info = &w->run.info;
    int status = run_plan(w, &plan);
    if (status != MD_EXIT_OK || w->a->info || w->a->erase)
        return status;
    if (w->a->product != NOT_GIVEN && info->has_settings)
        return md_ctl_fail(w->c, MD_EXIT_REFUSED,
                           "the part is node %u already; --erase --yes makes it a new one, and without --product and "
                           "--model it gets an image only",
                           (unsigned)info->node);
    if (!info->has_settings && w->a->product == NOT_GIVEN && w->a->settings == NULL)
        return md_ctl_fail(w->c, MD_EXIT_REFUSED, "the part has no settings: give it some, or --product and --model");
    return MD_EXIT_OK;
}

static int provision_part(struct work *w)
{
    const struct args *a = w->a;
    const struct md_recover_plan plan = {.erase = a->erase,
                                         .settings = w->has_settings ? w->record : NULL,
                                         .manifest = w->has_image ? w->image.manifest : NULL,
                                         .payload = w->image.payload,
                                         .tree = w->image.tree,
                                         .slot = a->slot == NOT_GIVEN ? -1 : (int)a->slot,
                                         .reset = !a->no_reset && w->has_image,
                                         .patience_ms = (uint32_t)a->patience_s * 1000};
    struct md_recover_plan with_id = plan;
    memcpy(with_id.id, w->image.id, sizeof with_id.id);
    bool had_settings = w->run.info.has_settings && !a->erase;
    char text[2 * 8 + 1];
    int status = run_plan(w, &with_id);
    if (status != MD_EXIT_OK)
        return status;
    if (had_settings && w->has_settings && !w->c->json)
        md_ctl_warn("the settings of node %u were there already and stay as they are (--erase --yes renews them)",
                    (unsigned)w->settings.node);
    cJSON_AddStringToObject(w->reply, "part", hex_of(w->run.info.number, 8, text));
    cJSON_AddBoolToObject(w->reply, "settings_kept", had_settings);
    if (w->has_image) {
        cJSON_AddNumberToObject(w->reply, "slot", w->run.info.record.home);
        cJSON_AddStringToObject(w->reply, "manifest", hex_of(w->image.id, 8, text));
        cJSON_AddNumberToObject(w->reply, "bytes", w->image.m.image_size);
        cJSON_AddBoolToObject(w->reply, "image_kept", w->run.was_there);
        cJSON_AddNumberToObject(w->reply, "resent", w->run.resent);
    }
    return MD_EXIT_OK;
}

/* --- info ---------------------------------------------------------------------------------------------------------- */

static const char *const state_names[] = {"none", "confirmed", "pending", "trial"};

static int print_info(const struct work *w)
{
    const struct md_part_info *i = &w->run.info;
    char number[17], version[16], id[17], size[MD_HUMAN_MAX], page[MD_HUMAN_MAX], slot_size[MD_HUMAN_MAX];
    md_version_format(i->boot_version, version);
    hex_of(i->number, 8, number);
    if (!w->c->json) {
        printf("part        %s, bootloader %s\n", number, version);
        printf("flash       %s, pages of %s, slots of %s at 0x%x and 0x%x\n", md_human_bytes(i->flash_size, size),
               md_human_bytes(i->page_size, page), md_human_bytes(i->layout.slot_size, slot_size),
               (unsigned)i->layout.slot_base[0], (unsigned)i->layout.slot_base[1]);
        if (i->has_settings)
            printf("settings    node %u\n", (unsigned)i->node);
        else
            printf("settings    none\n");
        for (unsigned slot = 0; slot < 2; slot++)
            printf("slot %u      %s\n", slot, i->is_sealed[slot] ? hex_of(i->sealed[slot], 8, id) : "no image");
        if (i->has_record)
            printf("boot        %s, home slot %u, release %u, floor %u\n", state_names[i->record.state], i->record.home,
                   (unsigned)i->record.release, (unsigned)i->record.floor);
        else
            printf("boot        no record\n");
        return MD_EXIT_OK;
    }
    cJSON *j = cJSON_CreateObject();
    cJSON_AddStringToObject(j, "part", number);
    cJSON_AddStringToObject(j, "bootloader", version);
    cJSON_AddNumberToObject(j, "flash_size", i->flash_size);
    cJSON_AddNumberToObject(j, "page_size", i->page_size);
    cJSON_AddNumberToObject(j, "granule", i->granule);
    cJSON_AddNumberToObject(j, "slot_size", i->layout.slot_size);
    cJSON_AddItemToObject(j, "node", i->has_settings ? cJSON_CreateNumber(i->node) : cJSON_CreateNull());
    cJSON *slots = cJSON_AddArrayToObject(j, "slots");
    for (unsigned slot = 0; slot < 2; slot++)
        cJSON_AddItemToArray(slots, i->is_sealed[slot] ? cJSON_CreateString(hex_of(i->sealed[slot], 8, id))
                                                       : cJSON_CreateNull());
    cJSON_AddStringToObject(j, "state", state_names[i->has_record ? i->record.state : BOOT_NONE]);
    if (i->has_record) {
        cJSON_AddNumberToObject(j, "home", i->record.home);
        cJSON_AddNumberToObject(j, "release", i->record.release);
        cJSON_AddNumberToObject(j, "floor", i->record.floor);
    }
    int status = md_ctl_print_json(j);
    cJSON_Delete(j);
    return status;
}

/* --- the command --------------------------------------------------------------------------------------------------- */

static int check_args(const struct md_ctl *c, const struct args *a)
{
    bool is_new = a->product != NOT_GIVEN || a->model != NOT_GIVEN, has_record = is_new || a->settings != NULL;
    if (is_new && (a->product == NOT_GIVEN || a->model == NOT_GIVEN))
        return md_ctl_fail(c, MD_EXIT_USAGE, "--product and --model belong together");
    if (is_new && a->settings != NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--settings has product and model in it");
    if (a->output == NULL && a->serial == NULL && a->hex == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "-o, --serial or --hex is needed");
    if (a->serial == NULL && !has_record)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--product and --model, or --settings are needed");
    if (a->output != NULL && !is_new)
        return md_ctl_fail(c, MD_EXIT_USAGE, "-o is for the record of a new node: --product and --model are needed");
    if ((a->info || a->erase || a->yes || a->no_reset || a->slot != NOT_GIVEN) && a->serial == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--info, --erase, --slot and --no-reset need --serial");
    if (a->info && (has_record || a->image != NULL || a->erase || a->hex != NULL))
        return md_ctl_fail(c, MD_EXIT_USAGE, "--info changes nothing, so nothing else goes with it");
    if (a->erase && !a->yes)
        return md_ctl_fail(c, MD_EXIT_USAGE, "--erase takes the node's keys and images away; say --yes, too");
    if (a->serial != NULL && !a->info && !a->erase && !has_record && a->image == NULL)
        return md_ctl_fail(c, MD_EXIT_USAGE, "what shall the part get? --image, --settings, or --product and --model");
    if (a->hex != NULL && (a->part == NULL || a->image == NULL || !has_record))
        return md_ctl_fail(c, MD_EXIT_USAGE, "--hex needs --part, --image, and --settings or --product and --model");
    if (a->hex == NULL && (a->part != NULL || a->bootloader != NULL))
        return md_ctl_fail(c, MD_EXIT_USAGE, "--part and --bootloader are for --hex");
    if (a->image == NULL && (a->manifest != NULL || a->index != NOT_GIVEN))
        return md_ctl_fail(c, MD_EXIT_USAGE, "--manifest and --index are about an --image");
    return MD_EXIT_OK;
}

static void print_done(const struct work *w)
{
    const struct args *a = w->a;
    char version[16];
    if (w->c->json) {
        md_ctl_print_json(w->reply);
        return;
    }
    if (w->is_entered)
        printf("%s: node %u, index %u%s%s\n", md_json_string(w->reply, "name"), (unsigned)w->settings.node,
               w->settings.index, a->output != NULL ? "; settings in " : "", a->output != NULL ? a->output : "");
    if (a->hex != NULL)
        printf("%s: flash of node %u\n", a->hex, (unsigned)w->settings.node);
    if (a->serial == NULL)
        return;
    md_version_format(w->image.m.version, version);
    if (w->has_image)
        printf("%s: node %u, version %s in slot %u%s\n", a->serial, (unsigned)w->run.info.node, version,
               w->run.info.record.home, w->run.was_there ? ", which it held already" : "");
    else if (w->has_settings)
        printf("%s: node %u, without an image yet\n", a->serial, (unsigned)w->run.info.node);
    else
        printf("%s: erased\n", a->serial);
}

static int provision(struct work *w)
{
    const struct args *a = w->a;
    char error[300];
    int status = MD_EXIT_OK;
    if (a->part != NULL && md_part_load(&w->part, a->part, error, sizeof error) != MP_OK)
        return md_ctl_fail(w->c, MD_EXIT_FAILED, "%s", error);
    if (a->serial != NULL && md_serial_parse(&w->line, a->serial) != MP_OK)
        return md_ctl_fail(w->c, MD_EXIT_USAGE, "--serial must be unix:PATH or tty:DEVICE[,BAUD], not \"%s\"",
                           a->serial);
    status = get_image(w);
    if (status == MD_EXIT_OK && a->serial != NULL)
        status = look(w);
    if (status == MD_EXIT_OK && a->info)
        return print_info(w);
    if (status == MD_EXIT_OK)
        status = get_settings(w);
    if (status == MD_EXIT_OK)
        status = check_image(w);
    if (status == MD_EXIT_OK && a->hex != NULL)
        status = write_hex(w);
    if (status == MD_EXIT_OK && a->serial != NULL)
        status = provision_part(w);
    if (status == MD_EXIT_OK)
        print_done(w);
    else if (w->is_entered && a->output == NULL)
        md_ctl_warn("the node is entered as %u; its settings: meshctl nodes settings %u -o FILE",
                    (unsigned)md_json_number(w->reply, "node"), (unsigned)md_json_number(w->reply, "node"));
    return status;
}

int md_cmd_provision(struct md_ctl *c, int argc, char **argv)
{
    struct args a = {.product = NOT_GIVEN, .model = NOT_GIVEN, .index = NOT_GIVEN, .slot = NOT_GIVEN, .patience_s = 10};
    const struct md_option options[] = {{"node", MD_OPTION_NUMBER, &a.node, 1, 0xFFFFFFFEu},
                                        {"product", MD_OPTION_NUMBER, &a.product, 0, UINT32_MAX},
                                        {"model", MD_OPTION_NUMBER, &a.model, 0, UINT16_MAX},
                                        {"hw-revision", MD_OPTION_NUMBER, &a.revision, 0, 31},
                                        {"label", MD_OPTION_LIST, &a.labels, 0, 0},
                                        {"name", MD_OPTION_STRING, &a.name, 0, 0},
                                        {"output", MD_OPTION_STRING, &a.output, 0, 0},
                                        {"settings", MD_OPTION_STRING, &a.settings, 0, 0},
                                        {"serial", MD_OPTION_STRING, &a.serial, 0, 0},
                                        {"hex", MD_OPTION_STRING, &a.hex, 0, 0},
                                        {"image", MD_OPTION_STRING, &a.image, 0, 0},
                                        {"manifest", MD_OPTION_STRING, &a.manifest, 0, 0},
                                        {"index", MD_OPTION_NUMBER, &a.index, 0, MD_BUNDLE_MANIFESTS_MAX - 1},
                                        {"part", MD_OPTION_STRING, &a.part, 0, 0},
                                        {"bootloader", MD_OPTION_STRING, &a.bootloader, 0, 0},
                                        {"slot", MD_OPTION_NUMBER, &a.slot, 0, 1},
                                        {"patience", MD_OPTION_NUMBER, &a.patience_s, 1, 3600},
                                        {"info", MD_OPTION_FLAG, &a.info, 0, 0},
                                        {"erase", MD_OPTION_FLAG, &a.erase, 0, 0},
                                        {"yes", MD_OPTION_FLAG, &a.yes, 0, 0},
                                        {"no-reset", MD_OPTION_FLAG, &a.no_reset, 0, 0}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), NULL, 0, 0, provision_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    int status = check_args(c, &a);
    if (status != MD_EXIT_OK)
        return status;
    struct work w = {.c = c, .a = &a, .reply = cJSON_CreateObject(), .line = {.fd = -1}, .percent = UINT32_MAX};
    status = provision(&w);
    md_serial_close(&w.line);
    md_first_image_free(&w.image);
    cJSON_Delete(w.reply);
    sodium_memzero(&w, sizeof w);
    return status;
}
