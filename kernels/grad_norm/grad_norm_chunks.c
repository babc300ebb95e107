/* grad_norm_chunks.c: the sum of squares of each chunk. */
#include "grad_norm.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_grad_norm_chunks_args *)args)->n_chunks);
}

static double sum_of_squares(const float *g) {
    double sum[KP_NORM_SUMS] = { 0 };
    for (int i = 0; i < KP_CHUNK; i += KP_NORM_SUMS)
        for (int k = 0; k < KP_NORM_SUMS; k++) sum[k] += (double)g[i + k] * (double)g[i + k];
    double total = 0;
    for (int k = 0; k < KP_NORM_SUMS; k++) total += sum[k];
    return total;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_grad_norm_chunks_args *a = args;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c;
        a->partial[chunk] = sum_of_squares(a->grad + chunk * KP_CHUNK);
    }
}

const kp_op KP_ISA(kp_op_grad_norm_chunks) = {
    .name = "grad_norm_chunks",
    .args_bytes = sizeof(kp_grad_norm_chunks_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_grad_norm_chunks_cuda,
};
