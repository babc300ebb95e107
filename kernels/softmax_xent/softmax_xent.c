/* softmax_xent.c: one slice a member: the loss is a sum over its minibatch. */
#include "softmax_xent.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

/* dz = (softmax(z) - onehot) * share; returns the sample's loss. A NaN among the logits reaches
 * all. */
static float sample(float *restrict dz, const float *restrict z, int n, int label, float share) {
    float largest = z[0];
    for (int k = 1; k < n; k++) largest = z[k] > largest ? z[k] : largest;
    for (int k = 0; k < n; k++) dz[k] = kp_exp_below0(z[k] - largest);
    float sum = dz[0];
    for (int k = 1; k < n; k++) sum += dz[k];
    float loss = logf(sum) - (z[label] - largest);
    for (int k = 0; k < n; k++) dz[k] = dz[k] / sum * share;
    dz[label] -= share;
    return loss;
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)slice, (void)scratch;
    const kp_softmax_xent_args *a = args;
    const float share = 1.0f / (float)a->B;
    float sum = 0.0f;
    for (int b = 0; b < a->B; b++) {
        int64_t i = (int64_t)member * a->B + b;
        sum += sample(a->dz + i * a->n_classes, a->z + i * a->n_classes, a->n_classes, a->label[i],
                      share);
    }
    a->loss[member] = sum * share;
}

const kp_op KP_ISA(kp_op_softmax_xent) = {
    .name = "softmax_xent",
    .args_bytes = sizeof(kp_softmax_xent_args),
    .n_slices = n_slices,
    .cpu = run,
};
