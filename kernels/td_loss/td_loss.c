/* td_loss.c: one slice a member: the loss is a sum over its minibatch. */
#include "td_loss.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static int first_max(const float *q, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (q[i] > q[best]) best = i;
    return best;
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)slice, (void)scratch;
    const kp_td_loss_args *a = args;
    const float share = 1.0f / (float)a->B;
    float sum = 0.0f;
    for (int b = 0; b < a->B; b++) {
        int64_t i = (int64_t)member * a->B + b;
        const float *next = a->q_next + i * a->A;
        int best = first_max(a->q_next_online ? a->q_next_online + i * a->A : next, a->A);
        float target = fmaf(a->discount[i], next[best], a->reward[i]);
        float e = a->q[i * a->A + a->action[i]] - target;
        float w = a->weight ? a->weight[i] : 1.0f, size = fabsf(e), loss, slope;
        if (a->kind == KP_MSE) {
            loss = e * e;
            slope = 2.0f * e;
        } else if (size > 1.0f) { /* not for NaN, which must reach the gradient */
            loss = size - 0.5f;
            slope = e > 0.0f ? 1.0f : -1.0f;
        } else {
            loss = 0.5f * e * e;
            slope = e;
        }
        for (int k = 0; k < a->A; k++) a->dq[i * a->A + k] = 0.0f;
        a->dq[i * a->A + a->action[i]] = w * slope * share;
        a->td[i] = e;
        sum = fmaf(w, loss, sum);
    }
    a->loss[member] = sum * share;
}

const kp_op KP_ISA(kp_op_td_loss) = {
    .name = "td_loss",
    .args_bytes = sizeof(kp_td_loss_args),
    .n_slices = n_slices,
    .cpu = run,
};
