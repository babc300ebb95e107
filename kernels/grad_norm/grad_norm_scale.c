/* grad_norm_scale.c: from the chunks' sums to the norm and the factor, one slice a member. */
#include "grad_norm.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)slice, (void)scratch;
    const kp_grad_norm_scale_args *a = args;
    const double *partial = a->partial + (int64_t)member * a->n_chunks;
    double sum = 0;
    for (int c = 0; c < a->n_chunks; c++) sum += partial[c];
    float norm = (float)sqrt(sum), limit = a->limit[member];
    a->norm[member] = norm;
    float scale = limit / (norm + 1e-6f);
    /* A norm that is NaN makes the scale NaN: the member is reported, not trained on. */
    a->scale[member] = !(limit > 0.0f) || limit == INFINITY || scale > 1.0f ? 1.0f : scale;
}

const kp_op KP_ISA(kp_op_grad_norm_scale) = {
    .name = "grad_norm_scale",
    .args_bytes = sizeof(kp_grad_norm_scale_args),
    .n_slices = n_slices,
    .cpu = run,
};
