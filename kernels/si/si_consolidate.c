/* si_consolidate.c: a slice is a run of chunks. */
#include "chunks.h"
#include "si.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_si_consolidate_args *)args)->n_chunks);
}

/* No tail test: xi is above 0, so the padding stays zero. */
static void consolidate(float *restrict importance, float *restrict path, float *restrict start,
                        const float *restrict x, float xi) {
    for (int i = 0; i < KP_CHUNK; i++) {
        importance[i] = kp_si_importance1(importance[i], path[i], x[i], start[i], xi);
        path[i] = 0.0f;
        start[i] = x[i];
    }
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_si_consolidate_args *a = args;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t at = ((int64_t)member * a->n_chunks + c) * KP_CHUNK;
        consolidate(a->importance + at, a->path + at, a->start + at, a->theta + at, a->xi[member]);
    }
}

const kp_op KP_ISA(kp_op_si_consolidate) = {
    .name = "si_consolidate",
    .args_bytes = sizeof(kp_si_consolidate_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_si_consolidate_cuda,
};
