/* softmax_xent.c: one slice a member: the loss is a sum over its minibatch. */
#include "softmax_xent.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_softmax_xent_args *a = args;
    const float share = 1.0f / (float)a->B;
    float sum = 0.0f;
    for (int b = 0; b < a->B; b++) {
        int64_t i = (int64_t)member * a->B + b;
        sum += kp_softmax_xent1(a, i, share);
    }
    a->loss[member] = sum * share;
}

const kp_op KP_ISA(kp_op_softmax_xent) = {
    .name = "softmax_xent",
    .args_bytes = sizeof(kp_softmax_xent_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_softmax_xent_cuda,
};
