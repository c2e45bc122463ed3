/* Positions from a file: any bytes give devices with distinct good names within range, or a message. */
#include <stdlib.h>
#include <string.h>

#include "sim/world/scenario_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool is_near(int32_t mm)
{
    return mm >= -1000000000 && mm <= 1000000000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_scenario_node *node;
    uint32_t count;
    char error[160];
    memset(error, 0x7F, sizeof error);
    if (sim_csv_parse("fuzz", (const char *)data, size, &node, &count, error, sizeof error) != 0) {
        require(node == NULL && count == 0 && memchr(error, '\0', sizeof error) != NULL);
        return 0;
    }
    require(count >= 1 && count <= SIM_NODES_MAX);
    uint32_t *order = sim_names_sort(node, count);
    require(order != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_position *at = &node[i].position;
        require(memchr(node[i].name, '\0', SIM_NAME_MAX) != NULL && node[i].name[0] != '\0');
        require(is_near(at->x_mm) && is_near(at->y_mm) && is_near(at->z_mm));
        require(sim_names_find(node, order, count, node[i].name) == (int)i);
    }
    free(order);
    free(node);
    return 0;
}
