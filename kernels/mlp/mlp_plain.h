/* mlp_plain.h: the sums of the plain path: one row of weights, that of one input, after the other. */
#pragma once
#include "mlp/mlp_cpu.h"

/* z = b + x W. */
KP_HD void kp_mlp_forward(const kp_mlp_net *net, int l, const float *restrict x, float *restrict z) {
    const kp_mlp_shape *s = net->shape;
    const int row = s->row[l];
    const float *restrict w = net->theta + s->weight[l];
    memcpy(z, net->theta + s->bias[l], (size_t)row * sizeof *z);
    for (int j = 0; j < s->in[l]; j++, w += row) {
        const float xj = x[j];
        if (xj == 0.0f) continue;
        for (int o = 0; o < row; o++) z[o] = fmaf(xj, w[o], z[o]);
    }
}

/* All layers; x[0] is there. Returns the logits, in z. */
KP_HD const float *kp_mlp_forward_all(const kp_mlp_net *net, float *const *x) {
    const int last = net->shape->n_layers - 1;
    for (int l = 0; l <= last; l++) {
        kp_mlp_forward(net, l, x[l], net->z[l]);
        if (l < last) kp_mlp_activate_all(net, l, net->z[l], x[l + 1]);
    }
    return net->z[last];
}
