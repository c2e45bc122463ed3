/* What ranks need with and without MPI: growing buffers, and telling whether a launcher started us. */
#include "parallel.h"

#include <stdlib.h>
#include <string.h>

/* Set for every process by mpirun (Open MPI, MPICH) and srun --mpi=pmix or pmi2. */
static const char *const launched[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"};
static const char *const prefixes[] = {"OMPI_", "OPAL_", "ORTE_", "PRTE_", "PMIX_", "PMI_", "HYDRA_", "MPI_"};

bool sim_parallel_is_launched(void)
{
    for (size_t i = 0; i < sizeof launched / sizeof launched[0]; i++)
        if (getenv(launched[i]) != NULL)
            return true;
    return false;
}

bool sim_parallel_is_launcher_variable(const char *variable)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

void *sim_buffer_add(struct sim_buffer *b, size_t more)
{
    if (more > SIZE_MAX / 4 || b->size > SIZE_MAX / 4)
        return NULL;
    if (b->data == NULL || b->size + more > b->cap) {
        size_t cap = (b->size + more) + (b->size + more) / 2 + 256;
        uint8_t *grown = realloc(b->data, cap);
        if (grown == NULL)
            return NULL;
        b->data = grown;
        b->cap = cap;
    }
    void *at = b->data + b->size;
    b->size += more;
    return at;
}

void sim_buffer_free(struct sim_buffer *b)
{
    free(b->data);
    *b = (struct sim_buffer){0};
}
