/* What a node should end up with, for stop conditions. */
#include "attack.h"
#include "fleet.h"
#include "fleet_state.h"

uint32_t sim_fleet_awaited(const void *ctx, uint32_t node)
{
    const struct sim_fleet *f = ctx;
    if (f->is_load || sim_fleet_is_gateway(f, node) || sim_attack_is(f, node))
        return 0;
    for (uint32_t i = f->s->release_count; i-- > 0;)
        if (sim_images_find(&f->images, f->s->release[i].release, sim_fleet_model(f, node)) >= 0)
            return f->s->release[i].release;
    return 0;
}
