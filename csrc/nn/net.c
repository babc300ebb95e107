/* net.c: layers to tensors and operations. */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv/conv.h"
#include "dense/dense.h"

typedef struct {
    kp_image out;       /* border: what the layers that read it need */
    kp_conv_shape conv; /* convolutions; in and out are filled when all borders are known */
    int weight, bias;   /* indices of its tensors */
    double flops;       /* of one sample's forward */
} shape;

struct kp_net {
    kp_net_spec spec;
    kp_image input;
    shape layer[KP_MAX_LAYERS];
    kp_layout layout;
};

struct kp_pass {
    const kp_net *net;
    kp_backend *backend;
    int P, B;
    const kp_pass *lender; /* NULL, or whose input and activations these are, but for the output */
    float *input;
    float *y[KP_MAX_LAYERS];  /* [P][B][out] of each layer */
    float *dy[KP_MAX_LAYERS]; /* the gradient before the layer's activation; NULL: forward only */
};

typedef struct {
    /* From the input's shape to the layer's: fills s->out without its border, widens *in's border.
     */
    kp_status (*plan)(const kp_layer_spec *spec, kp_image *in, shape *s, kp_err *err);
    /* Describes weight (dims, order, init) for the layer. */
    void (*weight)(const kp_layer_spec *spec, kp_image in, kp_tensor *t);
    kp_status (*forward)(kp_pass *pass, int layer, kp_program *program, const float *theta,
                         kp_err *err);
    kp_status (*backward)(kp_pass *pass, int layer, kp_program *program, const float *theta,
                          float *grad, kp_err *err);
} layer_kind;

static kp_image image_in(const kp_net *net, int layer) {
    int from = net->spec.layer[layer].input;
    return from < 0 ? net->input : net->layer[from].out;
}
static const float *x_of(const kp_pass *p, int layer) {
    int from = p->net->spec.layer[layer].input;
    return from < 0 ? p->input : p->y[from];
}
static kp_activation x_activation(const kp_net *net, int layer) {
    int from = net->spec.layer[layer].input;
    return from < 0 ? KP_LINEAR : net->spec.layer[from].activation;
}
static const kp_tensor *weight_of(const kp_net *net, int layer) {
    return &net->layout.tensor[net->layer[layer].weight];
}
static const kp_tensor *bias_of(const kp_net *net, int layer) {
    return &net->layout.tensor[net->layer[layer].bias];
}

/* ---- convolution ----------------------------------------------------------------------------- */

static void widen(int *border, int need) {
    if (need > *border) *border = need;
}

static kp_status conv_plan(const kp_layer_spec *l, kp_image *in, shape *s, kp_err *err) {
    int k = l->kernel, st = l->stride, before[2] = { 0, 0 }, after[2] = { 0, 0 };
    int size[2] = { in->h, in->w }, out[2] = { 0, 0 };
    for (int d = 0; d < 2 && k > 0 && st > 0; d++) {
        if (l->padding == KP_SAME) {
            out[d] = (size[d] + st - 1) / st;
            int pad = (out[d] - 1) * st + k - size[d];
            if (pad < 0) pad = 0;
            before[d] = pad / 2;
            after[d] = pad - before[d];
        } else if (size[d] >= k) {
            out[d] = (size[d] - k) / st + 1;
        }
    }
    if (l->out < 1 || out[0] < 1 || out[1] < 1)
        return kp_fail(err, KP_BAD_CONFIG,
                       "layer %s: a %dx%d kernel with stride %d does not fit its %dx%d input",
                       l->name, k, k, st, in->h, in->w);
    widen(&in->top, before[0]), widen(&in->left, before[1]);
    widen(&in->bottom, after[0]), widen(&in->right, after[1]);
    s->out = (kp_image){ .h = out[0], .w = out[1], .c = l->out };
    s->conv = (kp_conv_shape){
        .kernel = k, .stride = st, .pad_top = before[0], .pad_left = before[1]
    };
    s->flops = 2.0 * out[0] * out[1] * l->out * k * k * in->c;
    return KP_OK;
}

static void conv_weight(const kp_layer_spec *l, kp_image in, kp_tensor *t) {
    t->n_dims = 4;
    t->dims[0] = l->out, t->dims[1] = in.c, t->dims[2] = l->kernel, t->dims[3] = l->kernel;
    t->order = KP_ORDER_HWIO;
}

static kp_conv_shape conv_shape(const kp_net *net, int layer) {
    kp_conv_shape c = net->layer[layer].conv;
    c.in = image_in(net, layer);
    c.out = net->layer[layer].out;
    return c;
}

static kp_status conv_forward(kp_pass *p, int layer, kp_program *program, const float *theta,
                              kp_err *err) {
    const kp_net *net = p->net;
    return KP_ADD(program, err, conv_forward, .P = p->P, .B = p->B, .shape = conv_shape(net, layer),
                  .activation = net->spec.layer[layer].activation, .x = x_of(p, layer),
                  .w = theta + weight_of(net, layer)->offset,
                  .bias = theta + bias_of(net, layer)->offset, .param_stride = net->layout.N,
                  .y = p->y[layer]);
}

static kp_status conv_backward(kp_pass *p, int layer, kp_program *program, const float *theta,
                               float *grad, kp_err *err) {
    const kp_net *net = p->net;
    int from = net->spec.layer[layer].input;
    kp_status st = KP_OK;
    if (from >= 0)
        st = KP_ADD(program, err, conv_backward_data, .P = p->P, .B = p->B,
                    .shape = conv_shape(net, layer), .dy = p->dy[layer],
                    .w = theta + weight_of(net, layer)->offset, .param_stride = net->layout.N,
                    .x = x_of(p, layer), .x_activation = x_activation(net, layer),
                    .dx = p->dy[from]);
    if (st) return st;
    return KP_ADD(program, err, conv_backward_weights, .P = p->P, .B = p->B,
                  .shape = conv_shape(net, layer), .x = x_of(p, layer), .dy = p->dy[layer],
                  .dw = grad + weight_of(net, layer)->offset,
                  .dbias = grad + bias_of(net, layer)->offset, .param_stride = net->layout.N);
}

/* ---- dense ----------------------------------------------------------------------------------- */

static kp_status dense_plan(const kp_layer_spec *l, kp_image *in, shape *s, kp_err *err) {
    if (l->out < 1) return kp_fail(err, KP_BAD_CONFIG, "layer %s: %d units", l->name, l->out);
    s->out = (kp_image){ .h = 1, .w = 1, .c = l->out };
    s->flops = 2.0 * in->h * in->w * in->c * l->out;
    return KP_OK;
}

static void dense_weight(const kp_layer_spec *l, kp_image in, kp_tensor *t) {
    t->n_dims = 2;
    t->dims[0] = l->out, t->dims[1] = (int64_t)in.h * in.w * in.c;
    t->order = KP_ORDER_HWC_OUT;
    t->flat_h = in.h, t->flat_w = in.w, t->flat_c = in.c;
}

static kp_status dense_forward(kp_pass *p, int layer, kp_program *program, const float *theta,
                               kp_err *err) {
    const kp_net *net = p->net;
    const kp_tensor *w = weight_of(net, layer);
    return KP_ADD(program, err, dense_forward, .P = p->P, .B = p->B, .in = (int)w->dims[1],
                  .out = (int)w->dims[0], .activation = net->spec.layer[layer].activation,
                  .x = x_of(p, layer), .w = theta + w->offset,
                  .bias = theta + bias_of(net, layer)->offset, .param_stride = net->layout.N,
                  .y = p->y[layer]);
}

static kp_status dense_backward(kp_pass *p, int layer, kp_program *program, const float *theta,
                                float *grad, kp_err *err) {
    const kp_net *net = p->net;
    const kp_tensor *w = weight_of(net, layer);
    int from = net->spec.layer[layer].input, in = (int)w->dims[1], out = (int)w->dims[0];
    kp_status st = KP_OK;
    if (from >= 0)
        st = KP_ADD(program, err, dense_backward_data, .P = p->P, .B = p->B, .in = in, .out = out,
                    .dy = p->dy[layer], .w = theta + w->offset, .param_stride = net->layout.N,
                    .x = x_of(p, layer), .x_activation = x_activation(net, layer),
                    .dx = p->dy[from]);
    if (st) return st;
    return KP_ADD(program, err, dense_backward_weights, .P = p->P, .B = p->B, .in = in, .out = out,
                  .x = x_of(p, layer), .dy = p->dy[layer], .dw = grad + w->offset,
                  .dbias = grad + bias_of(net, layer)->offset, .param_stride = net->layout.N);
}

static const layer_kind kinds[KP_N_LAYER_KINDS] = {
    [KP_CONV] = { conv_plan, conv_weight, conv_forward, conv_backward },
    [KP_DENSE] = { dense_plan, dense_weight, dense_forward, dense_backward },
};

/* ---- the net --------------------------------------------------------------------------------- */

static void describe(kp_tensor *weight, kp_tensor *bias, const kp_layer_spec *l, int layer,
                     int last) {
    snprintf(weight->name, sizeof weight->name, "%s.weight", l->name);
    snprintf(bias->name, sizeof bias->name, "%s.bias", l->name);
    weight->role = KP_WEIGHT, bias->role = KP_BIAS;
    weight->layer = bias->layer = layer;
    weight->last_layer = bias->last_layer = last;
    bias->n_dims = 1, bias->dims[0] = weight->dims[0];
    kp_tensor_scale(weight, bias, l->init);
}

static kp_status build_layout(kp_net *net, kp_err *err) {
    kp_layout *lay = &net->layout;
    int L = net->spec.n_layers;
    lay->n_tensors = 2 * L;
    lay->tensor = calloc(2 * (size_t)KP_MAX_LAYERS, sizeof *lay->tensor);
    if (!lay->tensor) return kp_fail(err, KP_BAD_CONFIG, "net: out of host memory");
    for (int i = 0; i < L; i++) {
        const kp_layer_spec *l = &net->spec.layer[i];
        kp_tensor *w = &lay->tensor[2 * i], *b = w + 1;
        net->layer[i].weight = 2 * i, net->layer[i].bias = 2 * i + 1;
        kinds[l->kind].weight(l, image_in(net, i), w);
        describe(w, b, l, i, i == L - 1);
    }
    return kp_layout_place(lay, err);
}

static kp_status plan_shapes(kp_net *net, kp_err *err) {
    const kp_net_spec *spec = &net->spec;
    if (spec->n_layers < 1 || spec->n_layers > KP_MAX_LAYERS)
        return kp_fail(err, KP_BAD_CONFIG, "net: %d layers, 1 to %d are possible", spec->n_layers,
                       KP_MAX_LAYERS);
    net->input = (kp_image){ .h = spec->h, .w = spec->w, .c = spec->c };
    for (int i = 0; i < spec->n_layers; i++) {
        const kp_layer_spec *l = &spec->layer[i];
        if (l->input >= i || l->input < -1 || (int)l->kind < 0 || l->kind >= KP_N_LAYER_KINDS)
            return kp_fail(err, KP_BAD_CONFIG,
                           "net: layer %d (%s) reads layer %d, which is not before it", i, l->name,
                           l->input);
        kp_image *in = l->input < 0 ? &net->input : &net->layer[l->input].out;
        kp_status st = kinds[l->kind].plan(l, in, &net->layer[i], err);
        if (st) return st;
    }
    for (int i = 0; i < spec->n_layers; i++) { /* now that every border is known */
        kp_image in = image_in(net, i);
        if (spec->layer[i].kind == KP_DENSE && (in.top || in.left || in.bottom || in.right))
            return kp_fail(err, KP_BAD_CONFIG,
                           "layer %s: its input is also read by a padded convolution",
                           spec->layer[i].name);
        for (int k = 0; k < i; k++) /* a second reader's gradient would replace the first's */
            if (spec->layer[i].input >= 0 && spec->layer[k].input == spec->layer[i].input)
                return kp_fail(err, KP_BAD_CONFIG,
                               "layer %s: its input, %s, is read by another layer too",
                               spec->layer[i].name, spec->layer[spec->layer[i].input].name);
    }
    const kp_layer_spec *last = &spec->layer[spec->n_layers - 1];
    if (last->activation !=
        KP_LINEAR) /* the loss's gradient is taken for that before the activation */
        return kp_fail(err, KP_BAD_CONFIG, "layer %s: the output must be linear", last->name);
    return KP_OK;
}

kp_status kp_net_open(kp_net **out, const kp_net_spec *spec, kp_err *err) {
    *out = NULL;
    kp_net *net = calloc(1, sizeof *net);
    if (!net) return kp_fail(err, KP_BAD_CONFIG, "net: out of host memory");
    net->spec = *spec;
    kp_status st = plan_shapes(net, err);
    if (!st) st = build_layout(net, err);
    if (st) {
        kp_net_close(net);
        return st;
    }
    *out = net;
    return KP_OK;
}

const kp_layout *kp_net_layout(const kp_net *net) { return &net->layout; }
kp_image kp_net_input(const kp_net *net) { return net->input; }
int kp_net_n_outputs(const kp_net *net) {
    return (int)kp_image_floats(net->layer[net->spec.n_layers - 1].out);
}

double kp_net_flops(const kp_net *net) {
    double sum = 0;
    for (int i = 0; i < net->spec.n_layers; i++) sum += net->layer[i].flops;
    return sum;
}

double kp_net_layer_flops(const kp_net *net, int layer) { return net->layer[layer].flops; }

void kp_net_close(kp_net *net) {
    if (!net) return;
    kp_layout_release(&net->layout);
    free(net);
}

/* ---- a pass ---------------------------------------------------------------------------------- */

static kp_status alloc_images(kp_pass *p, float **memory, kp_image image, const char *what,
                              kp_err *err) {
    size_t bytes = (size_t)p->P * (size_t)p->B * (size_t)kp_image_floats(image) * sizeof(float);
    return kp_backend_alloc(p->backend, (void **)memory, bytes, what, err);
}

static kp_status new_pass(kp_pass **out, const kp_net *net, kp_backend *backend, int P, int B,
                          kp_err *err) {
    kp_pass *p = *out = calloc(1, sizeof *p);
    if (!p) return kp_fail(err, KP_BAD_CONFIG, "net: out of host memory");
    p->net = net, p->backend = backend, p->P = P, p->B = B;
    return KP_OK;
}

kp_status kp_pass_open(kp_pass **out, const kp_net *net, kp_backend *backend, int P, int B,
                       int with_gradients, kp_err *err) {
    kp_pass *p;
    kp_status st = new_pass(&p, net, backend, P, B, err);
    *out = NULL;
    if (!st) st = alloc_images(p, &p->input, net->input, "the net's input", err);
    for (int i = 0; !st && i < net->spec.n_layers; i++) {
        st = alloc_images(p, &p->y[i], net->layer[i].out, "activations", err);
        if (!st && with_gradients)
            st = alloc_images(p, &p->dy[i], net->layer[i].out, "gradients", err);
    }
    if (st) {
        kp_pass_close(p);
        return st;
    }
    *out = p;
    return KP_OK;
}

kp_status kp_pass_open_over(kp_pass **out, const kp_pass *lender, kp_err *err) {
    kp_pass *p;
    kp_status st = new_pass(&p, lender->net, lender->backend, lender->P, lender->B, err);
    *out = NULL;
    if (st) return st;
    const int last = p->net->spec.n_layers - 1;
    p->lender = lender, p->input = lender->input;
    for (int i = 0; i < last; i++) p->y[i] = lender->y[i];
    st = alloc_images(p, &p->y[last], p->net->layer[last].out, "activations", err);
    if (st) {
        kp_pass_close(p);
        return st;
    }
    *out = p;
    return KP_OK;
}

float *kp_pass_input(const kp_pass *p) { return p->input; }
float *kp_pass_output(const kp_pass *p) { return p->y[p->net->spec.n_layers - 1]; }
float *kp_pass_output_gradient(const kp_pass *p) { return p->dy[p->net->spec.n_layers - 1]; }

kp_status kp_pass_add_forward(kp_pass *p, kp_program *program, const float *theta, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = 0; !st && i < p->net->spec.n_layers; i++)
        st = kinds[p->net->spec.layer[i].kind].forward(p, i, program, theta, err);
    return st;
}

kp_status kp_pass_add_backward(kp_pass *p, kp_program *program, const float *theta, float *grad,
                               kp_err *err) {
    kp_status st = KP_OK;
    for (int i = p->net->spec.n_layers - 1; !st && i >= 0; i--)
        st = kinds[p->net->spec.layer[i].kind].backward(p, i, program, theta, grad, err);
    return st;
}

void kp_pass_close(kp_pass *p) {
    if (!p) return;
    if (!p->lender) kp_backend_release(p->backend, p->input);
    for (int i = 0; i < p->net->spec.n_layers; i++) {
        if (!p->lender || p->y[i] != p->lender->y[i]) kp_backend_release(p->backend, p->y[i]);
        kp_backend_release(p->backend, p->dy[i]);
    }
    free(p);
}
