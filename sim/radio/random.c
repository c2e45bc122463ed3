/* Philox itself is the authors' library, Random123 (headers only). */
#include "radio.h"

#include <Random123/philox.h>

void sim_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    const philox4x32_ctr_t c = {{counter[0], counter[1], counter[2], counter[3]}};
    const philox4x32_key_t k = {{key[0], key[1]}};
    const philox4x32_ctr_t drawn = philox4x32(c, k);
    for (unsigned i = 0; i < 4; i++)
        out[i] = drawn.v[i];
}

uint32_t sim_draw(uint64_t seed, enum sim_draw purpose, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t counter[4] = {a, b, c, (uint32_t)purpose};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    sim_philox(counter, key, out);
    return out[0];
}

uint32_t sim_scale(uint32_t draw, uint32_t n)
{
    return (uint32_t)((uint64_t)draw * n >> 32);
}
