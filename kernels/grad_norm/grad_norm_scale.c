/* grad_norm_scale.c: from the chunks' sums to the norm and the factor, one slice a member. */
#include "grad_norm.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_grad_norm_scale_args *a = args;
    const double *partial = a->partial + (int64_t)member * a->n_chunks;
    double sum[KP_NORM_SUMS] = { 0 }, total = 0;
    for (int c = 0; c < a->n_chunks; c++) sum[c % KP_NORM_SUMS] += partial[c];
    for (int k = 0; k < KP_NORM_SUMS; k++) total += sum[k];
    float norm = (float)sqrt(total);
    a->norm[member] = norm;
    a->scale[member] = kp_norm_scale(norm, a->limit[member]);
}

const kp_op KP_ISA(kp_op_grad_norm_scale) = {
    .name = "grad_norm_scale",
    .args_bytes = sizeof(kp_grad_norm_scale_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_grad_norm_scale_cuda,
};
