#include "csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads one record into text and field. True when it is whole. */
static bool read_record(struct sim_csv *csv)
{
    size_t size = 0;
    bool is_quoted = false, was_quote = false;
    csv->count = 0;
    csv->field[csv->count++] = csv->text;
    for (;;) {
        int c = getc(csv->file);
        if (c == EOF || size + 1 >= sizeof csv->text)
            return false;
        if (c == '"') {
            /* A quote inside quotes ends them, unless another one follows: then it stands for itself. */
            if (!is_quoted && was_quote)
                csv->text[size++] = '"';
            is_quoted = !is_quoted;
            was_quote = !is_quoted;
            continue;
        }
        was_quote = false;
        if (is_quoted || (c != ',' && c != '\n' && c != '\r')) {
            csv->text[size++] = (char)(c == '\0' ? ' ' : c);
        } else if (c == ',') {
            if (csv->count == SIM_CSV_FIELDS_MAX)
                return false;
            csv->text[size++] = '\0';
            csv->field[csv->count++] = csv->text + size;
        } else if (c == '\n') {
            csv->text[size] = '\0';
            return true;
        }
    }
}

int sim_csv_take(struct sim_csv *csv, FILE *file)
{
    memset(csv, 0, sizeof *csv);
    csv->file = file;
    if (!read_record(csv)) {
        errno = EINVAL;
        return -1;
    }
    for (unsigned i = 0; i < csv->count; i++) {
        csv->head[i] = strdup(csv->field[i]);
        if (csv->head[i] == NULL)
            return -1;
        csv->head_count++;
    }
    return 0;
}

int sim_csv_open(struct sim_csv *csv, const char *path)
{
    memset(csv, 0, sizeof *csv);
    FILE *file = fopen(path, "re");
    return file == NULL ? -1 : sim_csv_take(csv, file);
}

void sim_csv_close(struct sim_csv *csv)
{
    if (csv->file != NULL)
        (void)fclose(csv->file);
    for (unsigned i = 0; i < csv->head_count; i++)
        free(csv->head[i]);
    csv->file = NULL;
    csv->head_count = csv->count = 0;
}

bool sim_csv_next(struct sim_csv *csv)
{
    if (csv->file == NULL)
        return false;
    if (!read_record(csv) || csv->count != csv->head_count) {
        csv->count = 0;
        (void)fclose(csv->file);
        csv->file = NULL;
        return false;
    }
    csv->record++;
    return true;
}

int sim_csv_column(const struct sim_csv *csv, const char *name)
{
    for (unsigned i = 0; i < csv->head_count; i++)
        if (strcmp(csv->head[i], name) == 0)
            return (int)i;
    return -1;
}

const char *sim_csv_text(const struct sim_csv *csv, int column)
{
    return column >= 0 && (unsigned)column < csv->count ? csv->field[column] : "";
}

uint64_t sim_csv_number(const struct sim_csv *csv, int column, uint64_t other)
{
    const char *text = sim_csv_text(csv, column);
    char *end;
    if (*text < '0' || *text > '9')
        return other;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0 ? value : other;
}

int64_t sim_csv_signed(const struct sim_csv *csv, int column, int64_t other)
{
    const char *text = sim_csv_text(csv, column);
    char *end;
    if (*text == '\0')
        return other;
    errno = 0;
    int64_t value = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0 ? value : other;
}
