/* CSV reader of result files: any bytes give records of the head's width whose fields end, or the end of the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/result/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_csv csv;
    if (size == 0)
        return 0;
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
    if (file == NULL)
        return 0;
    uint64_t records = 0, sum = 0;
    if (sim_csv_take(&csv, file) == 0) {
        while (sim_csv_next(&csv)) {
            records++;
            if (csv.count != csv.head_count)
                abort();
            for (unsigned i = 0; i < csv.count; i++) {
                const char *text = sim_csv_text(&csv, (int)i);
                if (text < csv.text || text + strlen(text) >= csv.text + sizeof csv.text)
                    abort();
                sum += sim_csv_number(&csv, (int)i, 0) + (uint64_t)sim_csv_signed(&csv, (int)i, 0);
            }
        }
        (void)sim_csv_column(&csv, "node");
    }
    sim_csv_close(&csv);
    if (records > size || (records == 0 && sum != 0))
        abort();
    return 0;
}
