/*
 * Ranks over MPI.
 *
 * The exchange sends one message to every other rank: a header, and up to INLINE_MAX bytes with it; only what is longer
 * goes in a second one, straight from and into the caller's buffers. The receives of the next round are posted before
 * this one returns, so that a rank that is ahead finds them waiting. Messages of one pair arrive in order, so rounds
 * need no numbers. Waiting is polling, and giving way to others when that takes longer: there may be more ranks than
 * cores.
 */
#ifdef SIM_WITH_MPI

#include "parallel.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#define INLINE_MAX 8192u
#define PIECE_MAX (1u << 30) /* bytes of one message; MPI counts in int */
#define SPINS 200u           /* polls before giving way */

enum tag { TAG_FIRST = 1, TAG_REST, TAG_GATHER };

struct message {
    uint64_t next;
    uint64_t size; /* of all bytes, those of the second message included */
    uint8_t data[INLINE_MAX];
};
#define MESSAGE_HEADER (sizeof(struct message) - INLINE_MAX)

static struct {
    bool is_running;
    unsigned rank, size;
    struct message *sent, *heard; /* [size] */
    MPI_Request *receive;         /* [size], persistent */
    MPI_Request *pending;         /* [2 * size]: sends, then second messages */
    int *done;                    /* [2 * size] */
} ranks = {.size = 1};

_Noreturn void sim_parallel_abort(const char *why)
{
    if (ranks.size > 1)
        fprintf(stderr, "meshsim: rank %u: %s\n", ranks.rank, why);
    else
        fprintf(stderr, "meshsim: %s\n", why);
    if (ranks.is_running)
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    exit(EXIT_FAILURE);
}

static void check(int rc)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "", why[MPI_MAX_ERROR_STRING + 32];
    int len = 0;
    if (rc == MPI_SUCCESS)
        return;
    MPI_Error_string(rc, text, &len);
    snprintf(why, sizeof why, "MPI failed: %s", text);
    sim_parallel_abort(why);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static int start_exchange(void)
{
    const unsigned n = ranks.size;
    ranks.sent = calloc(n, sizeof *ranks.sent);
    ranks.heard = calloc(n, sizeof *ranks.heard);
    ranks.receive = calloc(n, sizeof *ranks.receive);
    ranks.pending = calloc((size_t)2 * n, sizeof *ranks.pending);
    ranks.done = calloc((size_t)2 * n, sizeof *ranks.done);
    if (!ranks.sent || !ranks.heard || !ranks.receive || !ranks.pending || !ranks.done)
        return -1;
    for (unsigned r = 0; r < n; r++) {
        ranks.receive[r] = ranks.pending[r] = ranks.pending[n + r] = MPI_REQUEST_NULL;
        if (r == ranks.rank)
            continue;
        check(MPI_Recv_init(&ranks.heard[r], (int)sizeof ranks.heard[r], MPI_BYTE, (int)r, TAG_FIRST, MPI_COMM_WORLD,
                            &ranks.receive[r]));
        check(MPI_Start(&ranks.receive[r]));
    }
    return 0;
}

int sim_parallel_init(int *argc, char ***argv)
{
    int rank, size;
    if (!sim_parallel_is_launched())
        return 0;
    if (MPI_Init(argc, argv) != MPI_SUCCESS) {
        fputs("meshsim: MPI does not start\n", stderr);
        return -1;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    ranks.is_running = true;
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    check(MPI_Comm_size(MPI_COMM_WORLD, &size));
    ranks.rank = (unsigned)rank;
    ranks.size = (unsigned)size;
    if (size > SIM_RANKS_MAX) {
        if (rank == 0)
            fprintf(stderr, "meshsim: started with %d ranks; at most %d\n", size, SIM_RANKS_MAX);
        MPI_Finalize();
        ranks.is_running = false;
        return -1;
    }
    if (size > 1 && start_exchange() != 0)
        sim_parallel_abort("out of memory");
    return 0;
}

void sim_parallel_finish(void)
{
    if (!ranks.is_running)
        return;
    for (unsigned r = 0; ranks.size > 1 && r < ranks.size; r++)
        if (ranks.receive[r] != MPI_REQUEST_NULL) { /* the round that never comes */
            MPI_Cancel(&ranks.receive[r]);
            MPI_Wait(&ranks.receive[r], MPI_STATUS_IGNORE);
            MPI_Request_free(&ranks.receive[r]);
        }
    free(ranks.sent);
    free(ranks.heard);
    free(ranks.receive);
    free(ranks.pending);
    free(ranks.done);
    MPI_Finalize();
    memset(&ranks, 0, sizeof ranks);
    ranks.size = 1;
}

bool sim_parallel_is_built(void)
{
    return true;
}

unsigned sim_parallel_rank(void)
{
    return ranks.rank;
}

unsigned sim_parallel_size(void)
{
    return ranks.size;
}

/* --- exchange ----------------------------------------------------------------------------------------------------- */

static void give_way(unsigned *spins)
{
    if (++*spins > SPINS)
        sched_yield();
}

static void *room(struct sim_buffer *b, uint64_t size)
{
    b->size = 0;
    void *at = size > SIZE_MAX / 4 ? NULL : sim_buffer_add(b, (size_t)size);
    if (at == NULL)
        sim_parallel_abort("out of memory for what ranks tell each other");
    return at;
}

static void send_to(unsigned r, const struct sim_buffer *out, uint64_t next)
{
    struct message *m = &ranks.sent[r];
    const size_t here = out->size < INLINE_MAX ? out->size : INLINE_MAX;
    m->next = next;
    m->size = out->size;
    if (here > 0)
        memcpy(m->data, out->data, here);
    check(MPI_Isend(m, (int)(MESSAGE_HEADER + here), MPI_BYTE, (int)r, TAG_FIRST, MPI_COMM_WORLD, &ranks.pending[r]));
    if (out->size - here > PIECE_MAX)
        sim_parallel_abort("a window has too many transmissions for one message");
    /* sends are done before the round ends; the slot of the second message is shared with what is received */
    if (out->size > here)
        check(MPI_Isend(out->data + here, (int)(out->size - here), MPI_BYTE, (int)r, TAG_REST, MPI_COMM_WORLD,
                        &ranks.pending[ranks.size + r]));
}

/* Takes in the first message of rank r; begins to receive the second one when there is one. */
static void hear(unsigned r, struct sim_buffer *in, uint64_t *next, MPI_Request *rest)
{
    const struct message *m = &ranks.heard[r];
    const size_t here = m->size < INLINE_MAX ? (size_t)m->size : INLINE_MAX;
    uint8_t *to = room(in, m->size);
    memcpy(to, m->data, here);
    if (m->next < *next)
        *next = m->next;
    if (m->size > here)
        check(MPI_Irecv(to + here, (int)(m->size - here), MPI_BYTE, (int)r, TAG_REST, MPI_COMM_WORLD, rest));
}

uint64_t sim_parallel_exchange(struct sim_buffer out[], struct sim_buffer in[], uint64_t next)
{
    const unsigned n = ranks.size;
    MPI_Request rest[SIM_RANKS_MAX];
    out[ranks.rank].size = in[ranks.rank].size = 0;
    if (n == 1)
        return next;
    const uint64_t own = next;
    for (unsigned i = 1; i < n; i++) {
        const unsigned r = (ranks.rank + i) % n; /* so that not all begin with the same one */
        rest[r] = MPI_REQUEST_NULL;
        send_to(r, &out[r], own);
    }
    rest[ranks.rank] = MPI_REQUEST_NULL;
    unsigned spins = 0;
    for (unsigned left = n - 1; left > 0;) {
        int count = 0;
        check(MPI_Testsome((int)n, ranks.receive, &count, ranks.done, MPI_STATUSES_IGNORE));
        for (int i = 0; i < count; i++) {
            const unsigned r = (unsigned)ranks.done[i];
            hear(r, &in[r], &next, &rest[r]);
        }
        left -= count > 0 ? (unsigned)count : 0;
        if (count <= 0)
            give_way(&spins);
    }
    for (int all = 0; !all; give_way(&spins))
        check(MPI_Testall((int)n, rest, &all, MPI_STATUSES_IGNORE));
    for (int all = 0; !all; give_way(&spins))
        check(MPI_Testall((int)(2 * n), ranks.pending, &all, MPI_STATUSES_IGNORE));
    for (unsigned r = 0; r < n; r++) {
        out[r].size = 0;
        if (r != ranks.rank) /* not before all were heard: who is ahead may be in the next round already */
            check(MPI_Start(&ranks.receive[r]));
    }
    return next;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

/* Like MPI_Wait, giving way: collectives may find the other ranks far behind. */
static void wait_for(MPI_Request *request)
{
    unsigned spins = 0;
    for (int done = 0; !done; give_way(&spins))
        check(MPI_Test(request, &done, MPI_STATUS_IGNORE));
}

void sim_parallel_sum(uint64_t *values, size_t n)
{
    MPI_Request request;
    if (ranks.size == 1 || n == 0)
        return;
    if (n > INT_MAX)
        sim_parallel_abort("too many values to add up");
    check(MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD, &request));
    wait_for(&request);
}

uint64_t sim_parallel_max(uint64_t value)
{
    MPI_Request request;
    if (ranks.size == 1)
        return value;
    check(MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD, &request));
    wait_for(&request);
    return value;
}

static void gather_from(unsigned r, struct sim_buffer *in)
{
    MPI_Request request;
    uint64_t size = 0;
    check(MPI_Irecv(&size, 1, MPI_UINT64_T, (int)r, TAG_GATHER, MPI_COMM_WORLD, &request));
    wait_for(&request);
    uint8_t *to = room(in, size);
    for (uint64_t at = 0; at < size; at += PIECE_MAX) {
        const uint64_t n = size - at < PIECE_MAX ? size - at : PIECE_MAX;
        check(MPI_Irecv(to + at, (int)n, MPI_BYTE, (int)r, TAG_GATHER, MPI_COMM_WORLD, &request));
        wait_for(&request);
    }
}

void sim_parallel_gather(const struct sim_buffer *own, struct sim_buffer in[])
{
    MPI_Request request;
    const uint64_t size = own->size;
    if (ranks.rank == 0) {
        uint8_t *to = room(&in[0], own->size);
        if (own->size > 0)
            memcpy(to, own->data, own->size);
        for (unsigned r = 1; r < ranks.size; r++)
            gather_from(r, &in[r]);
        return;
    }
    check(MPI_Isend(&size, 1, MPI_UINT64_T, 0, TAG_GATHER, MPI_COMM_WORLD, &request));
    wait_for(&request);
    for (uint64_t at = 0; at < size; at += PIECE_MAX) {
        const uint64_t n = size - at < PIECE_MAX ? size - at : PIECE_MAX;
        check(MPI_Isend(own->data + at, (int)n, MPI_BYTE, 0, TAG_GATHER, MPI_COMM_WORLD, &request));
        wait_for(&request);
    }
}

void sim_parallel_broadcast(void *data, size_t size)
{
    MPI_Request request;
    if (ranks.size == 1)
        return;
    for (size_t at = 0; at < size; at += PIECE_MAX) {
        const size_t n = size - at < PIECE_MAX ? size - at : PIECE_MAX;
        check(MPI_Ibcast((uint8_t *)data + at, (int)n, MPI_BYTE, 0, MPI_COMM_WORLD, &request));
        wait_for(&request);
    }
}

#endif

/* A file must declare something. */
typedef int sim_parallel_mpi;
