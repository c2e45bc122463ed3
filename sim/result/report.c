#include "report.h"

#include "report_state.h"
#include "result.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_lines(FILE *to, const char *const lines[])
{
    for (size_t i = 0; lines[i] != NULL; i++) {
        fputs(lines[i], to);
        (void)putc('\n', to);
    }
}

static void put_groups(FILE *to, const struct sim_report *report)
{
    fputs("\"groups\":[", to);
    for (size_t g = 0; g < report->group_count; g++) {
        bool is_first = true;
        fprintf(to, "%s{\"first\":%zu,\"runs\":%zu,\"figures\":{", g > 0 ? "," : "", report->group[g].first,
                report->group[g].count);
        for (unsigned f = 0; f < SIM_FIGURE_COUNT; f++) {
            size_t n;
            struct sim_interval i = sim_report_interval(report, g, (enum sim_figure)f, &n);
            if (n == 0)
                continue;
            fprintf(to, "%s\"%s\":[%.9g,%.9g,%.9g,%zu]", is_first ? "" : ",", sim_figure_names[f], i.value, i.low,
                    i.high, n);
            is_first = false;
        }
        fputs("}}", to);
    }
    fputs("]", to);
}

static void put_page(FILE *to, const struct sim_report *report)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
          "script-src 'unsafe-inline'; img-src data:\">\n"
          "<link rel=\"icon\" href=\"data:,\">\n<title>Simulation report</title>\n<style>\n",
          to);
    put_lines(to, sim_report_style);
    fputs("</style>\n</head>\n<body>\n", to);
    put_lines(to, sim_report_body);
    fprintf(to, "<script type=\"application/json\" id=\"data\">\n{\"version\":\"%s\",\"runs\":[\n", SIM_VERSION);
    for (size_t i = 0; i < report->run_count; i++) {
        sim_report_put_run(to, &report->run[i]);
        fputs(i + 1 < report->run_count ? ",\n" : "\n", to);
    }
    fputs("],\n", to);
    put_groups(to, report);
    fputs("}\n</script>\n<script>\n'use strict';\n", to);
    put_lines(to, sim_report_script);
    put_lines(to, sim_report_script_map);
    fputs("</script>\n</body>\n</html>\n", to);
}

/* Beside the file and renamed, so that an older report stays until the new one is whole. */
static int store(const struct sim_report *report, const char *path)
{
    char part[4300];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part) {
        fprintf(stderr, "meshsim report: %.200s...: the name is too long\n", path);
        return -1;
    }
    FILE *to = fopen(part, "we");
    bool is_good = to != NULL;
    if (is_good) {
        put_page(to, report);
        is_good = ferror(to) == 0;
        is_good = fclose(to) == 0 && is_good;
    }
    if (is_good && rename(part, path) == 0)
        return 0;
    fprintf(stderr, "meshsim report: %s: cannot be written: %s\n", path, strerror(errno));
    if (to != NULL)
        (void)unlink(part);
    return -1;
}

/* --- table ----------------------------------------------------------------------------------------------------------- */

static const struct {
    enum sim_figure figure;
    const char *title;
    double scale;
    int decimals;
} columns[] = {
    {SIM_FIGURE_COMPLETE, "complete %", 100, 1}, {SIM_FIGURE_MEDIAN, "median s", 1, 1},
    {SIM_FIGURE_LAST, "last s", 1, 1},           {SIM_FIGURE_FRAMES, "frames/node", 1, 0},
    {SIM_FIGURE_CONTROL, "control %", 100, 1},   {SIM_FIGURE_COLLISIONS, "collided %", 100, 1},
    {SIM_FIGURE_ENERGY, "mJ/node", 1, 1},        {SIM_FIGURE_INSTALLED, "booted %", 100, 1},
};

/* Control characters of a name would reach the terminal. */
static void print_plain(const char *text, int width)
{
    int n = 0;
    for (; *text != '\0' && n < width; text++, n++)
        (void)putchar((unsigned char)*text < 0x20 || *text == 0x7F ? '?' : *text);
    printf("%*s", width - n, "");
}

static void print_table(const struct sim_report *report)
{
    print_plain("stack", 11);
    print_plain("scenario", 17);
    fputs("runs", stdout);
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
        printf("  %17s", columns[c].title);
    (void)putchar('\n');
    for (size_t g = 0; g < report->group_count; g++) {
        print_plain(report->group[g].stack, 10);
        (void)putchar(' ');
        print_plain(report->group[g].name, 16);
        printf(" %4zu", report->group[g].count);
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
            size_t n;
            char text[64] = "-";
            struct sim_interval i = sim_report_interval(report, g, columns[c].figure, &n);
            double scale = columns[c].scale;
            if (n > 1)
                snprintf(text, sizeof text, "%.*f +- %.*f", columns[c].decimals, i.value * scale, columns[c].decimals,
                         (i.high - i.value) * scale);
            else if (n == 1)
                snprintf(text, sizeof text, "%.*f", columns[c].decimals, i.value * scale);
            printf("  %17s", text);
        }
        (void)putchar('\n');
    }
    fputs("Means over the runs with 95 % confidence intervals (Student's t).\n", stdout);
}

/* --- command --------------------------------------------------------------------------------------------------------- */

static void print_help(FILE *to)
{
    fputs(
        "Usage: meshsim report DIR... [--out FILE]\n\n"
        "Writes one self-contained HTML file about the runs in the folders (those that meshsim run wrote, or folders\n"
        "of such folders), and prints a table that compares them. Runs that differ only in their seed are one line.\n\n"
        "  --out FILE  where to write; default: report.html in the first folder\n"
        "  --help\n",
        to);
}

/* Folders to the front of argv, which stay in order. Returns their number, or -1. */
static int parse(int argc, char **argv, const char **out)
{
    int folders = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--out") == 0 || strncmp(argv[i], "--out=", 6) == 0) {
            *out = argv[i][5] == '=' ? argv[i] + 6 : i + 1 < argc ? argv[++i] : "";
            if (**out == '\0') {
                fputs("meshsim report: --out needs the name of a file\n", stderr);
                return -1;
            }
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            fprintf(stderr, "meshsim report: unknown option: %s\n", argv[i]);
            return -1;
        } else {
            argv[1 + folders++] = argv[i];
        }
    }
    return folders;
}

int sim_report_command(int argc, char **argv)
{
    const char *out = NULL;
    char path[4200], error[512] = "";
    struct sim_report report = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(stdout);
            return 0;
        }
    }
    int folders = parse(argc, argv, &out), status = 1;
    if (folders < 1) {
        print_help(stderr);
        return 2;
    }
    for (int i = 1; i <= folders; i++) {
        if (sim_report_add(&report, argv[i], error, sizeof error) != 0) {
            fprintf(stderr, "meshsim report: %s\n", error);
            goto out;
        }
    }
    if (sim_report_group_runs(&report) != 0) {
        fputs("meshsim report: out of memory\n", stderr);
        goto out;
    }
    snprintf(path, sizeof path, "%s/report.html", argv[1]);
    if (store(&report, out != NULL ? out : path) != 0)
        goto out;
    print_table(&report);
    printf("Report: %s\n", out != NULL ? out : path);
    status = 0;
out:
    sim_report_free(&report);
    return status;
}
