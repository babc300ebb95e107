/* tally_sum.c: a pass over one count in 1024 weights; not worth dividing. */
#include "tally_sum.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_tally_sum_args *a = args;
    const kp_clip_tally *tally = a->tally + (int64_t)member * a->n_chunks;
    kp_tensor_tally *total = a->total + (int64_t)member * a->n_tensors;
    for (int t = 0; t < a->n_tensors; t++) total[t].non_finite = 0;
    for (int c = 0; c < a->n_chunks; c++) {
        total[a->tensor[c]].outside += tally[c].outside;
        total[a->tensor[c]].non_finite += tally[c].non_finite;
    }
}

const kp_op KP_ISA(kp_op_tally_sum) = {
    .name = "tally_sum",
    .args_bytes = sizeof(kp_tally_sum_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_tally_sum_cuda,
};
