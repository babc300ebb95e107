/* mlp.c: see mlp.h. */
#include "mlp.h"

#include <stdio.h>
#include <stdlib.h>

enum { PER_LAYER = 4, MOST_UNITS = 1 << 20 };        /* weight, bias, gain, shift */
static const int64_t MOST_FLOATS = (int64_t)1 << 30; /* of a member */

static kp_status check(const kp_mlp_spec *s, kp_err *err) {
    if (s->n_hidden_layers < 0 || s->n_hidden_layers >= KP_MLP_LAYERS)
        return kp_fail(err, KP_BAD_CONFIG, "net.widths: %d hidden layers, at most %d are possible",
                       s->n_hidden_layers, KP_MLP_LAYERS - 1);
    for (int l = 0; l < s->n_hidden_layers; l++)
        if (s->width[l] < 1 || s->width[l] > MOST_UNITS)
            return kp_fail(err, KP_BAD_CONFIG, "net.widths: %d units, expected 1 to %d",
                           s->width[l], MOST_UNITS);
    if (s->n_inputs < 1 || s->n_inputs > MOST_UNITS || s->n_outputs < 1 ||
        s->n_outputs > MOST_UNITS)
        return kp_fail(err, KP_BAD_CONFIG,
                       "net: %d inputs and %d outputs, expected 1 to %d of each", s->n_inputs,
                       s->n_outputs, MOST_UNITS);
    return KP_OK;
}

/* Appends a tensor called layerN.what. */
static kp_tensor *add(kp_layout *lay, int layer, const char *what, kp_role role) {
    kp_tensor *t = &lay->tensor[lay->n_tensors++];
    snprintf(t->name, sizeof t->name, "layer%d.%s", layer + 1, what);
    t->role = role, t->layer = layer;
    return t;
}

static void add_layer(kp_layout *lay, kp_mlp_shape *s, const kp_mlp_spec *spec, int layer) {
    int last = layer == s->n_layers - 1, first = lay->n_tensors;
    kp_tensor *weight = add(lay, layer, "weight", KP_WEIGHT),
              *bias = add(lay, layer, "bias", KP_BIAS);
    s->tensor[layer] = first;
    weight->order = KP_ORDER_IN_ROWS;
    weight->n_dims = 2, weight->dims[0] = s->out[layer], weight->dims[1] = s->in[layer];
    weight->row = s->row[layer];
    kp_tensor_scale(weight, bias, spec->init);
    if (spec->layer_norm && !last) {
        add(lay, layer, "norm.weight", KP_NORM)->init_value = 1;
        add(lay, layer, "norm.bias", KP_NORM);
    }
    for (kp_tensor *t = weight; t < lay->tensor + lay->n_tensors; t++) {
        t->last_layer = last;
        if (t == weight) continue;
        t->n_dims = 1, t->dims[0] = s->out[layer];
        t->scale_fan_in = weight->scale_fan_in, t->scale_init = weight->scale_init;
    }
}

static void size_layers(kp_mlp_shape *s, const kp_mlp_spec *spec) {
    int in = spec->n_inputs, per_unit = spec->activation == KP_MLP_CRELU ? 2 : 1;
    *s = (kp_mlp_shape){ .n_layers = spec->n_hidden_layers + 1,
                         .activation = (int)spec->activation };
    for (int l = 0; l < s->n_layers; l++) {
        int last = l == s->n_layers - 1;
        s->in[l] = in;
        s->out[l] = last ? spec->n_outputs : spec->width[l];
        s->row[l] = (int)kp_mlp_padded(s->out[l]);
        if (!last) s->n_hidden += s->out[l];
        in = s->out[l] * per_unit;
    }
}

static kp_status check_size(const kp_mlp_shape *s, kp_err *err) {
    int64_t floats = 0;
    for (int l = 0; l < s->n_layers; l++) floats += (int64_t)s->in[l] * s->row[l];
    return floats <= MOST_FLOATS
               ? KP_OK
               : kp_fail(err, KP_BAD_CONFIG, "net.widths: %lld weights, more than %lld",
                         (long long)floats, (long long)MOST_FLOATS);
}

kp_status kp_mlp_plan(kp_layout *layout, kp_mlp_shape *s, const kp_mlp_spec *spec, kp_err *err) {
    *layout = (kp_layout){ 0 };
    kp_status st = check(spec, err);
    if (!st) size_layers(s, spec);
    if (!st) st = check_size(s, err);
    if (st) return st;
    layout->tensor = calloc((size_t)PER_LAYER * (size_t)s->n_layers, sizeof *layout->tensor);
    if (!layout->tensor) return kp_fail(err, KP_BAD_CONFIG, "net: out of host memory");
    for (int l = 0; l < s->n_layers; l++) add_layer(layout, s, spec, l);
    st = kp_layout_place(layout, err);
    if (st) {
        kp_layout_release(layout);
        return st;
    }
    s->n_tensors = layout->n_tensors, s->N = layout->N;
    for (int l = 0; l < s->n_layers; l++) {
        const kp_tensor *t = &layout->tensor[s->tensor[l]];
        int has_norm = spec->layer_norm && l < s->n_layers - 1;
        s->weight[l] = t[0].offset, s->bias[l] = t[1].offset;
        s->gain[l] = has_norm ? t[2].offset : -1, s->shift[l] = has_norm ? t[3].offset : -1;
    }
    return KP_OK;
}
