/*
 * Configuration parser: any text gives a config that writes and reads back to itself, or an error that names a line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct md_config a, b;
    char error[300] = "", text[4096], again[4096];
    md_config_init(&a);
    md_config_init(&b);
    if (md_config_parse(&a, "f", (const char *)data, size, error, sizeof error) < 0) {
        if (strncmp(error, "f:", 2) != 0)
            abort();
        return 0;
    }
    int n = md_config_write(&a, text, sizeof text);
    if (n < 0)
        abort();
    if (md_config_parse(&b, "f", text, (size_t)n, error, sizeof error) < 0 ||
        md_config_write(&b, again, sizeof again) != n || strcmp(text, again) != 0)
        abort();
    return 0;
}
