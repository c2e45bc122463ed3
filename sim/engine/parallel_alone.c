/* One process alone: the build without MPI. */
#ifndef SIM_WITH_MPI

#include "parallel.h"

#include <stdio.h>
#include <stdlib.h>

int sim_parallel_init(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    if (!sim_parallel_is_launched())
        return 0;
    fputs("meshsim: started by mpirun or srun, but built without MPI: every process would simulate the same world.\n"
          "Install libopenmpi-dev and openmpi-bin and build again, or start meshsim alone.\n",
          stderr);
    return -1;
}

void sim_parallel_finish(void)
{
}

_Noreturn void sim_parallel_abort(const char *why)
{
    fprintf(stderr, "meshsim: %s\n", why);
    exit(EXIT_FAILURE);
}

bool sim_parallel_is_built(void)
{
    return false;
}

unsigned sim_parallel_rank(void)
{
    return 0;
}

unsigned sim_parallel_size(void)
{
    return 1;
}

uint64_t sim_parallel_exchange(struct sim_buffer out[], struct sim_buffer in[], uint64_t next)
{
    out[0].size = in[0].size = 0;
    return next;
}

void sim_parallel_sum(uint64_t *values, size_t n)
{
    (void)values;
    (void)n;
}

uint64_t sim_parallel_max(uint64_t value)
{
    return value;
}

void sim_parallel_gather(const struct sim_buffer *own, struct sim_buffer in[])
{
    in[0].size = 0;
    if (own->size > 0) {
        uint8_t *to = sim_buffer_add(&in[0], own->size);
        if (to == NULL)
            sim_parallel_abort("out of memory for what ranks tell each other");
        for (size_t i = 0; i < own->size; i++)
            to[i] = own->data[i];
    }
}

void sim_parallel_broadcast(void *data, size_t size)
{
    (void)data;
    (void)size;
}

#endif

/* A file must declare something. */
typedef int sim_parallel_alone;
