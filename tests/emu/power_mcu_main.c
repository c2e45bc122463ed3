/*
 * Many power cuts on emulated parts: `make power-mcu`. Ends with "power-mcu: ok".
 *
 *   power-mcu [RESETS [PARTS [SEED]]]   200 8, a seed of its own
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "power_part.h"

int main(int argc, char **argv)
{
    static struct fleet fleet;
    struct power_options options = {.name = "power-mcu",
                                    .parts = 8,
                                    .resets = 200,
                                    .seed = (uint32_t)time(NULL) * 31 + (uint32_t)getpid(),
                                    .limit_s = 3600};
    struct power_result result;
    if (argc > 1)
        options.resets = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        options.parts = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        options.seed = (uint32_t)strtoul(argv[3], NULL, 10);
    if (options.resets == 0 || options.parts == 0 || options.parts > POWER_PARTS_MAX || argc > 4) {
        fprintf(stderr, "Usage: power-mcu [RESETS [PARTS (1 to %d) [SEED]]]\n", POWER_PARTS_MAX);
        return 2;
    }
    options.least = options.resets / 10;
    setvbuf(stdout, NULL, _IOLBF, 0);
    power_run(&fleet, &options, &result);
    power_print(&result);
    fleet_close(&fleet);
    printf("power-mcu: ok\n");
    return 0;
}
