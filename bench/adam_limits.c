/* adam_limits.c: what the fused update is held against, with its arguments and slices, compiled for
 * each vector width as the operation is: the same loop without clip and tally, and a loop that
 * moves the same bytes (three streams read and written, one read) and computes next to nothing. */
#include "adam_clip/adam_chunk.h"

#include "adam_limits.h"
#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_adam_clip_args *)args)->n_chunks);
}

static void run_unclipped(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_adam_clip_args *a = args;
    kp_adam_hyper h = a->hyper[member];
    h.decay = 1.0f, h.l2 = h.l2init = 0.0f; /* constants, as in the operation */
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t at = ((int64_t)member * a->n_chunks + c) * KP_CHUNK;
        kp_adam_chunk(a->theta + at, a->m + at, a->v + at, a->grad + at, NULL, 1.0f, h, INFINITY,
                      0);
    }
}

/* Second moments stay positive: the other loops go on with what is left here, and weights that were
 * NaN would send the clip on its slow path. */
static void move(float *restrict x, float *restrict m, float *restrict v, const float *restrict g) {
    for (int i = 0; i < KP_CHUNK; i++) {
        x[i] = 0.5f * x[i] + g[i];
        m[i] = 0.5f * m[i] + g[i];
        v[i] = 0.5f * v[i] + 1e-4f;
    }
}

static void run_moves(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_adam_clip_args *a = args;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t at = ((int64_t)member * a->n_chunks + c) * KP_CHUNK;
        move(a->theta + at, a->m + at, a->v + at, a->grad + at);
    }
}

const kp_op KP_ISA(kp_bench_unclipped) = { .name = "adam",
                                           .args_bytes = sizeof(kp_adam_clip_args),
                                           .n_slices = n_slices,
                                           .cpu = run_unclipped,
                                           .cuda = kp_bench_unclipped_cuda };
const kp_op KP_ISA(kp_bench_moves) = {
    .name = "moves", .args_bytes = sizeof(kp_adam_clip_args), .n_slices = n_slices, .cpu = run_moves
};
