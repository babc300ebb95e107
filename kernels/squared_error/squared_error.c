/* squared_error.c: one slice a member: the loss is a sum over its minibatch. */
#include "squared_error.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_squared_error_args *a = args;
    int64_t n = (int64_t)a->B * a->n_outputs;
    const float *restrict y = a->y + member * n, *restrict target = a->target + member * n;
    float *restrict dy = a->dy + member * n;
    float share = 1.0f / (float)n, sum = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        float e = kp_squared_error1(y[i], target[i], share, &dy[i]);
        sum = fmaf(e, e, sum);
    }
    a->loss[member] = sum * share;
}

const kp_op KP_ISA(kp_op_squared_error) = {
    .name = "squared_error",
    .args_bytes = sizeof(kp_squared_error_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_squared_error_cuda,
};
