/* Who should get a release, for stop conditions. */
#include "attack.h"
#include "fleet.h"
#include "fleet_state.h"

uint32_t sim_fleet_targets(const void *ctx, uint32_t release)
{
    const struct sim_fleet *f = ctx;
    uint32_t count = 0;
    if (f->is_load)
        return 0;
    for (uint32_t node = f->field->first; node < f->field->limit; node++)
        if (!sim_fleet_is_gateway(f, node) && !sim_attack_is(f, node))
            count += sim_images_find(&f->images, release, sim_fleet_model(f, node)) >= 0;
    return count;
}
