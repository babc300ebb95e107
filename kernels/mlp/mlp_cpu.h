/* mlp_cpu.h: what the three operations of mlp.h share on the CPU: a sample's way into the net, from a
 * layer's sums to the next layer's input and back, and the loss. The sums themselves are theirs.
 *
 * A member's workspace is four blocks like the first, which mlp.h describes; the second is another
 * pass's. The third holds the normalised z of each hidden layer in d's place, the fourth z in d's place
 * and the gradient at the layer's input in x's (in that of layer 0, which nobody wants, layer norm's r). */
#pragma once
#include <string.h>

#include "mlp/mlp_unit.h"

typedef struct {
    const kp_mlp_shape *shape;
    const float *theta; /* the member's */
    float *x[KP_MLP_LAYERS], *d[KP_MLP_LAYERS], *z[KP_MLP_LAYERS];
    float *other_x[KP_MLP_LAYERS], *other_d[KP_MLP_LAYERS];
    float *normal[KP_MLP_LAYERS], *dx[KP_MLP_LAYERS];
    float *r; /* [n_layers] */
} kp_mlp_net;

KP_HD kp_mlp_net kp_mlp_net_of(const kp_mlp_shape *s, const float *theta, float *work, int member) {
    kp_mlp_net net;
    net.shape = s;
    net.theta = theta + member * s->N;
    int64_t block = kp_mlp_x(s, s->n_layers);
    work += member * kp_mlp_work(s);
    int l = 0;
    do { /* there is a layer */
        net.x[l] = work + kp_mlp_x(s, l);
        net.d[l] = work + kp_mlp_d(s, l);
        net.other_x[l] = net.x[l] + block;
        net.other_d[l] = net.d[l] + block;
        net.normal[l] = net.d[l] + 2 * block;
        net.dx[l] = net.x[l] + 3 * block;
        net.z[l] = net.d[l] + 3 * block;
    } while (++l < s->n_layers);
    net.r = net.dx[0];
    return net;
}

/* The padding behind x's n values, and some of them: before they are written. */
KP_HD void kp_mlp_pad(float *x, int n) {
    memset(x + kp_mlp_padded(n) - KP_MLP_LANES, 0, KP_MLP_LANES * sizeof *x);
}

/* Asks for a sample that comes soon. */
KP_HD void kp_mlp_ask_for(const kp_mlp_samples *s, int n, int64_t sample) {
    const char *at = s->bytes ? (const char *)(s->bytes + sample * n)
                              : (const char *)(s->floats + sample * n);
    const int64_t bytes = s->bytes ? n : n * (int64_t)sizeof(float);
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
}

/* x: the sample's inputs as this member sees them. */
KP_HD void kp_mlp_load(const kp_mlp_samples *s, const kp_mlp_shape *shape, int member,
                       int64_t sample, float *restrict x) {
    const int n = shape->in[0];
    const int32_t *order = s->input_order ? s->input_order + (int64_t)member * n : NULL;
    const uint8_t *bytes = s->bytes ? s->bytes + sample * n : NULL;
    const float *floats = s->bytes ? NULL : s->floats + sample * n, *value = s->value;
    kp_mlp_pad(x, n);
    if (bytes && order)
        for (int j = 0; j < n; j++) x[j] = value[bytes[order[j]]];
    else if (bytes)
        for (int j = 0; j < n; j++) x[j] = value[bytes[j]];
    else if (order)
        for (int j = 0; j < n; j++) x[j] = floats[order[j]];
    else
        memcpy(x, floats, (size_t)n * sizeof *x);
}

/* ---- layer norm ------------------------------------------------------------------------------ */

/* normal: (z - mean) r; returns r. */
KP_HD float kp_mlp_normalise(const float *restrict z, int n, float *restrict normal) {
    float lane[KP_MLP_LANES] = { 0 };
    for (int o = 0; o < n; o++) lane[o % KP_MLP_LANES] += z[o];
    float mean = kp_mlp_add_lanes(lane) / (float)n;
    memset(lane, 0, sizeof lane);
    for (int o = 0; o < n; o++) {
        float c = z[o] - mean;
        lane[o % KP_MLP_LANES] = fmaf(c, c, lane[o % KP_MLP_LANES]);
    }
    float r = 1.0f / sqrtf(kp_mlp_add_lanes(lane) / (float)n + KP_MLP_NORM_EPS);
    for (int o = 0; o < n; o++) normal[o] = (z[o] - mean) * r;
    return r;
}

/* d: the gradient dy at the norm's output becomes that at its input. */
KP_HD void kp_mlp_normalise_back(const float *restrict gain, const float *restrict normal, float r,
                                 int n, float *restrict d) {
    float lane[KP_MLP_LANES] = { 0 }, lane_n[KP_MLP_LANES] = { 0 };
    for (int o = 0; o < n; o++) {
        int l = o % KP_MLP_LANES;
        d[o] *= gain[o];
        lane[l] += d[o];
        lane_n[l] = fmaf(d[o], normal[o], lane_n[l]);
    }
    float mean = kp_mlp_add_lanes(lane) / (float)n, mean_n = kp_mlp_add_lanes(lane_n) / (float)n;
    for (int o = 0; o < n; o++) d[o] = r * fmaf(-normal[o], mean_n, d[o] - mean);
}

/* ---- from z to the next layer's input, and back ------------------------------------------------ */

/* z may be overwritten; x: the next layer's input, padding included. normal: for layer norm; returns its
 * r. */
KP_HD float kp_mlp_activate_all(const kp_mlp_net *net, int l, float *restrict z,
                                float *restrict normal, float *restrict x) {
    const kp_mlp_shape *s = net->shape;
    const int n = s->out[l], outputs = kp_mlp_outputs(s, l);
    float r = 0;
    kp_mlp_pad(x, outputs);
    if (s->gain[l] >= 0) {
        const float *gain = net->theta + s->gain[l], *shift = net->theta + s->shift[l];
        r = kp_mlp_normalise(z, n, normal);
        for (int o = 0; o < n; o++) z[o] = fmaf(gain[o], normal[o], shift[o]);
    }
    switch (s->activation) {
    case KP_MLP_TANH:
        for (int o = 0; o < n; o++) x[o] = kp_mlp_activate(KP_MLP_TANH, z[o]);
        break;
    case KP_MLP_LEAKY_RELU:
        for (int o = 0; o < n; o++) x[o] = kp_mlp_activate(KP_MLP_LEAKY_RELU, z[o]);
        break;
    default:
        for (int o = 0; o < n; o++) x[o] = kp_mlp_activate(KP_MLP_RELU, z[o]);
        for (int o = n; o < outputs; o++) x[o] = kp_mlp_activate(KP_MLP_RELU, -z[o - n]);
    }
    return r;
}

/* From the gradient dx at layer l + 1's input x to dy, that at hidden layer l's activation's input. */
KP_HD void kp_mlp_activate_back(const kp_mlp_shape *s, int l, const float *restrict dx,
                                const float *restrict x, float *restrict dy) {
    const int n = s->out[l];
    kp_mlp_pad(dy, n);
    switch (s->activation) {
    case KP_MLP_TANH:
        for (int o = 0; o < n; o++) dy[o] = kp_mlp_slope(KP_MLP_TANH, dx[o], x[o]);
        break;
    case KP_MLP_LEAKY_RELU:
        for (int o = 0; o < n; o++) dy[o] = kp_mlp_slope(KP_MLP_LEAKY_RELU, dx[o], x[o]);
        break;
    case KP_MLP_CRELU:
        for (int o = 0; o < n; o++)
            dy[o] = kp_mlp_slope(KP_MLP_CRELU, dx[o], x[o]) -
                    kp_mlp_slope(KP_MLP_CRELU, dx[n + o], x[n + o]);
        break;
    default:
        for (int o = 0; o < n; o++) dy[o] = kp_mlp_slope(KP_MLP_RELU, dx[o], x[o]);
    }
}

KP_HD int kp_mlp_count_off1(const int activation, const float *restrict x, int n,
                            uint8_t *restrict ever_active) {
    int off = 0;
    for (int o = 0; o < n; o++) off += kp_mlp_is_off(activation, x[o]);
    for (int o = 0; ever_active && o < n; o++)
        ever_active[o] |= (uint8_t)!kp_mlp_is_off(activation, x[o]);
    return off;
}

/* Units that are off, x being the inputs of the layers; marks those that are not. */
KP_HD int kp_mlp_count_off(const kp_mlp_shape *s, float *const *x, uint8_t *ever_active) {
    int off = 0;
    for (int l = 0; l + 1 < s->n_layers; l++) {
        const float *units = x[l + 1];
        switch (s->activation) { /* a loop each */
        case KP_MLP_TANH:
            off += kp_mlp_count_off1(KP_MLP_TANH, units, s->out[l], ever_active);
            break;
        case KP_MLP_LEAKY_RELU:
            off += kp_mlp_count_off1(KP_MLP_LEAKY_RELU, units, s->out[l], ever_active);
            break;
        case KP_MLP_CRELU:
            off += kp_mlp_count_off1(KP_MLP_CRELU, units, s->out[l], ever_active);
            break;
        default: off += kp_mlp_count_off1(KP_MLP_RELU, units, s->out[l], ever_active);
        }
        if (ever_active) ever_active += s->out[l];
    }
    return off;
}

/* ---- the loss ---------------------------------------------------------------------------------- */

/* d: its gradient at the logits, padding included. */
KP_HD float kp_mlp_loss(const kp_mlp_shape *s, const float *logits, int32_t label, float *d) {
    const int last = s->n_layers - 1;
    const kp_softmax_xent_args a = {
        .P = 1, .B = 1, .n_classes = s->out[last], .z = logits, .label = &label, .dz = d
    };
    kp_mlp_pad(d, s->out[last]);
    return kp_softmax_xent1(&a, 0, 1.0f);
}

/* Whether the first of the largest is the label's. */
KP_HD int32_t kp_mlp_is_correct(const float *logits, int n, int32_t label) {
    int first = 0;
    for (int k = 1; k < n; k++)
        if (logits[k] > logits[first]) first = k;
    return first == label;
}
