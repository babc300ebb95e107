/* si_path.c: a slice is a run of chunks. */
#include "chunks.h"
#include "si.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_si_path_args *)args)->n_chunks);
}

/* No tail test: the padding is zero and stays it. */
static void follow(float *restrict path, const float *restrict x, const float *restrict before,
                   const float *restrict grad) {
    for (int i = 0; i < KP_CHUNK; i++) path[i] = kp_si_path1(path[i], x[i], before[i], grad[i]);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_si_path_args *a = args;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t at = ((int64_t)member * a->n_chunks + c) * KP_CHUNK;
        follow(a->path + at, a->theta + at, a->before + at, a->grad + at);
    }
}

const kp_op KP_ISA(kp_op_si_path) = {
    .name = "si_path",
    .args_bytes = sizeof(kp_si_path_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_si_path_cuda,
};
