/* mlp_plain.h: the forward pass of the plain path. */
#pragma once
#include "mlp/mlp_rows.h"

static kp_mlp_rows *const kp_mlp_only_forward[KP_MLP_KINDS] = { [KP_MLP_NEXT] = kp_mlp_rows_next };

/* All layers; x[0] is there. Returns the logits, in z. */
KP_HD const float *kp_mlp_forward_all(const kp_mlp_net *net, float *const *x) {
    const kp_mlp_shape *s = net->shape;
    const int last = s->n_layers - 1;
    for (int l = 0; l <= last; l++) {
        kp_mlp_pass p = { .w = (float *)net->theta + s->weight[l], /* only read */
                          .row = s->row[l],
                          .next = x[l],
                          .z = net->z[l] };
        memcpy(p.z, net->theta + s->bias[l], (size_t)s->row[l] * sizeof *p.z);
        kp_mlp_pass_over(&p, s->in[l], kp_mlp_only_forward, 0, 0);
        if (l < last) net->r[l] = kp_mlp_activate_all(net, l, p.z, net->normal[l], x[l + 1]);
    }
    return net->z[last];
}
