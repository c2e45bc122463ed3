/*
 * Ranks: the processes that share one world, over MPI, or one process alone. Nobody else knows of MPI: parallel_mpi.c in
 * builds with SIM_WITH_MPI, parallel_alone.c in those without.
 *
 * MPI is started only when a launcher started the program (its environment says so), so that a build with MPI runs
 * alone as fast as one without. All calls but rank and size are collective: every rank makes them in the same order.
 * A failure of MPI itself ends the program with a message (MPI_ERRORS_RETURN, then sim_parallel_abort()). One instance
 * per process; not thread safe.
 */
#ifndef SIM_PARALLEL_H
#define SIM_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_RANKS_MAX 64

/* Call first in main. 0, or -1 after a sentence on standard error: started by a launcher but built without MPI, more
 * than SIM_RANKS_MAX ranks, or MPI does not start. */
int sim_parallel_init(int *argc, char ***argv);
void sim_parallel_finish(void);
/* Ends all ranks with this status after a sentence. Does not return. */
_Noreturn void sim_parallel_abort(const char *why);
/* True in a build with MPI. */
bool sim_parallel_is_built(void);
/* Whether an MPI launcher started this process, by its environment; and whether an environment variable ("NAME=value"
 * or "NAME") belongs to one: children that are to run alone must not inherit those. */
bool sim_parallel_is_launched(void);
bool sim_parallel_is_launcher_variable(const char *variable);
unsigned sim_parallel_rank(void);
unsigned sim_parallel_size(void);

/* Bytes to and from every rank. Grown as needed, reused from call to call, freed with sim_parallel_buffer_free(). */
struct sim_buffer {
    uint8_t *data;
    size_t size;
    size_t cap;
};
/* Room for `more` bytes at the end: where to write, size is raised. NULL: out of memory. */
void *sim_buffer_add(struct sim_buffer *b, size_t more);
void sim_buffer_free(struct sim_buffer *b);

/*
 * One round of the window protocol: sends out[r] to every rank r (own entry ignored; sizes are reset to 0), receives
 * in[r] from every rank, and returns the minimum of `next` over all ranks. The hot path: one message to and from each
 * rank, the minimum rides along.
 */
uint64_t sim_parallel_exchange(struct sim_buffer out[], struct sim_buffer in[], uint64_t next);
/* Sums, in place, of n values over all ranks (wrapping, so the result does not depend on the order). */
void sim_parallel_sum(uint64_t *values, size_t n);
uint64_t sim_parallel_max(uint64_t value);
/* Brings every rank's bytes to rank 0, in the order of ranks: in[r] on rank 0, nothing elsewhere. */
void sim_parallel_gather(const struct sim_buffer *own, struct sim_buffer in[]);
/* Rank 0's bytes to everybody. */
void sim_parallel_broadcast(void *data, size_t size);

#endif
