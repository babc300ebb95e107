/* mlp_unit.h: what a unit of mlp.h does, element by element: the same bits on CPU and CUDA.
 *
 * Layer norm of a hidden layer's z, [out] (Ba et al. 2016; the variance is the biased one):
 *
 *     mean = sum z / out,  var = sum (z - mean)^2 / out,  r = 1 / sqrt(var + KP_MLP_NORM_EPS)
 *     n = (z - mean) r,  y = gain n + shift,  x' = activation(y)
 *
 * and back, dy being the gradient at y:
 *
 *     d gain = dy n,  d shift = dy,  h = dy gain
 *     d = r ((h - sum h / out) - n sum(h n) / out)
 *
 * Its sums have KP_MLP_LANES partial sums as those of dx (mlp.h), over the out units alone; squares and
 * products are added by one fused multiply-add each. */
#pragma once
#include "image.h"
#include "mlp/mlp.h"
#include "softmax_xent/softmax_xent.h"

#define KP_MLP_NORM_EPS 1e-5f /* PyTorch's default */
#define KP_MLP_SATURATED 0.9f

/* Below 0.625 an odd polynomial (Moshier's, Cephes tanhf), above by exp; within 2 units in the last place.
 * Our own for the reason that elementary.h has. */
KP_HD float kp_mlp_tanh(float z) {
    float size = fabsf(z), square = z * z;
    float near0 = fmaf(square, -5.70498872745e-3f, 2.06390887954e-2f);
    near0 = fmaf(near0, square, -5.37397155531e-2f);
    near0 = fmaf(near0, square, 1.33314422036e-1f);
    near0 = fmaf(near0, square, -3.33332819422e-1f);
    near0 = fmaf(near0 * square, z, z);
    float e = kp_exp(-2.0f * size);
    float far = copysignf(1.0f - 2.0f * e / (1.0f + e), z);
    return size < 0.625f ? near0 : far;
}

/* Of CReLU the first half of the outputs; the second is kp_mlp_activate(.., -y). */
KP_HD float kp_mlp_activate(int activation, float y) {
    if (activation == KP_MLP_TANH) return kp_mlp_tanh(y);
    if (activation == KP_MLP_LEAKY_RELU) return y < 0.0f ? KP_MLP_LEAK * y : y;
    return kp_relu(y);
}

/* The gradient dx at the activation's output x, taken to its input. Of CReLU that of the second half is
 * to be subtracted from that of the first. */
KP_HD float kp_mlp_slope(int activation, float dx, float x) {
    if (activation == KP_MLP_TANH) return dx * fmaf(-x, x, 1.0f);
    if (activation == KP_MLP_LEAKY_RELU) return x <= 0.0f ? KP_MLP_LEAK * dx : dx;
    return kp_relu_gradient(dx, x);
}

/* Whether kp_mlp_slope is 0 where x is, whatever dx. */
KP_HD int kp_mlp_masks(int activation) {
    return activation == KP_MLP_RELU || activation == KP_MLP_CRELU;
}

/* Whether a unit whose output is x counts as inactive (kp_mlp_result). */
KP_HD int kp_mlp_is_off(int activation, float x) {
    if (activation == KP_MLP_TANH) return fabsf(x) > KP_MLP_SATURATED;
    if (activation == KP_MLP_LEAKY_RELU) return x < 0.0f;
    return activation == KP_MLP_RELU && x <= 0.0f;
}

/* Outputs of hidden layer l: inputs of the next. */
KP_HD int kp_mlp_outputs(const kp_mlp_shape *s, int l) {
    return s->activation == KP_MLP_CRELU && l + 1 < s->n_layers ? 2 * s->out[l] : s->out[l];
}

/* The sum of the partial sums; they are overwritten. */
KP_HD float kp_mlp_add_lanes(float *lane) {
    for (int n = KP_MLP_LANES / 2; n > 0; n /= 2)
        for (int l = 0; l < n; l++) lane[l] += lane[l + n];
    return lane[0];
}

/* The sample that comes next, and its label as this member sees it. */
KP_HD int64_t kp_mlp_sample(const int32_t *index, int T, int member, int at) {
    return index[(int64_t)member * T + at];
}
KP_HD int32_t kp_mlp_label(const int32_t *label, const int32_t *order, int n_classes, int member,
                           int64_t sample) {
    return order ? order[(int64_t)member * n_classes + label[sample]] : label[sample];
}

/* Input j of the sample. */
KP_HD float kp_mlp_input(const kp_mlp_samples *s, int n, int member, int64_t sample, int j) {
    int64_t at = sample * n + (s->input_order ? s->input_order[(int64_t)member * n + j] : j);
    return s->bytes ? s->value[s->bytes[at]] : s->floats[at];
}
