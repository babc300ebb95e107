/* td_loss.c: one slice a member: the loss is a sum over its minibatch. */
#include "td_loss.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_td_loss_args *a = args;
    const float share = 1.0f / (float)a->B;
    float sum = 0.0f;
    for (int b = 0; b < a->B; b++) {
        int64_t i = (int64_t)member * a->B + b;
        float weight = a->weight ? a->weight[i] : 1.0f;
        sum = fmaf(weight, kp_td_loss1(a, i, weight, share), sum);
    }
    a->loss[member] = sum * share;
}

const kp_op KP_ISA(kp_op_td_loss) = {
    .name = "td_loss",
    .args_bytes = sizeof(kp_td_loss_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_td_loss_cuda,
};
