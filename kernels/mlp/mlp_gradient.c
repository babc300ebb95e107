/* mlp_gradient.c: one slice a member: members fill the threads. */
#include "mlp_plain.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void backward_data(const kp_mlp_net *net, int l) {
    static kp_mlp_rows *const kinds[KP_MLP_KINDS] = { [KP_MLP_BACK] = kp_mlp_rows_back };
    const kp_mlp_shape *s = net->shape;
    kp_mlp_pass p = { .w = (float *)net->theta + s->weight[l], /* only read */
                      .row = s->row[l],
                      .x = net->x[l],
                      .d = net->d[l],
                      .dx = net->dx[l] };
    int masks = kp_mlp_masks(s->activation);
    kp_mlp_pass_over(&p, s->in[l], kinds, masks ? 0 : KP_MLP_BACK, masks ? KP_MLP_BACK : 0);
}

/* A tensor's gradient may end within a chunk. */
static void zero_rest(float *grad, int64_t end) {
    int64_t next = (end + KP_CHUNK - 1) / KP_CHUNK * KP_CHUNK;
    memset(grad + end, 0, (size_t)(next - end) * sizeof *grad);
}

static void put_vector(float *grad, int64_t at, const float *g, int n) {
    memcpy(grad + at, g, (size_t)n * sizeof *g);
    zero_rest(grad, at + n);
}

/* The columns of the padding are left out, lest an x that is not finite make NaN of them. */
static void put_weights(const kp_mlp_net *net, int l, float *grad) {
    const kp_mlp_shape *s = net->shape;
    const int row = s->row[l], out = s->out[l];
    const float *restrict d = net->d[l];
    float *restrict g = grad + s->weight[l];
    for (int j = 0; j < s->in[l]; j++, g += row) {
        const float x = net->x[l][j];
        for (int o = 0; o < out; o++) g[o] = x * d[o];
        for (int o = out; o < row; o++) g[o] = 0.0f;
    }
    zero_rest(grad, s->weight[l] + (int64_t)s->in[l] * row);
}

static void put_norm(const kp_mlp_net *net, int l, float *grad) {
    const kp_mlp_shape *s = net->shape;
    const int n = s->out[l];
    const float *dy = net->d[l];
    put_vector(grad, s->shift[l], dy, n);
    for (int o = 0; o < n; o++) grad[s->gain[l] + o] = dy[o] * net->normal[l][o];
    zero_rest(grad, s->gain[l] + n);
    kp_mlp_normalise_back(net->theta + s->gain[l], net->normal[l], net->r[l], n, net->d[l]);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_mlp_gradient_args *a = args;
    const kp_mlp_shape *s = &a->shape;
    const int last = s->n_layers - 1, at = a->cursor[member];
    const int64_t sample = kp_mlp_sample(a->samples.index, a->samples.T, member, at);
    const int32_t label = kp_mlp_label(a->samples.label, a->samples.label_order, s->out[last],
                                       member, sample);
    kp_mlp_net net = kp_mlp_net_of(s, a->theta, a->work, member);
    float *grad = a->grad + member * s->N;

    kp_mlp_load(&a->samples, s, member, sample, net.x[0]);
    const float *logits = kp_mlp_forward_all(&net, net.x);
    kp_mlp_result *result = &a->result[(int64_t)member * a->samples.T + at];
    *result = (kp_mlp_result){
        .loss = kp_mlp_loss(s, logits, label, net.d[last]),
        .loss_after = NAN,
        .correct = kp_mlp_is_correct(logits, s->out[last], label),
        .inactive = kp_mlp_count_off(s, net.x,
                                     a->ever_active ? a->ever_active + (int64_t)member * s->n_hidden
                                                    : NULL),
    };
    for (int l = last; l >= 0; l--) {
        if (l < last) {
            backward_data(&net, l + 1);
            kp_mlp_activate_back(s, l, net.dx[l + 1], net.x[l + 1], net.d[l]);
            if (s->gain[l] >= 0) put_norm(&net, l, grad);
        }
        put_weights(&net, l, grad);
        put_vector(grad, s->bias[l], net.d[l], s->out[l]);
    }
}

const kp_op KP_ISA(kp_op_mlp_gradient) = {
    .name = "mlp_gradient",
    .args_bytes = sizeof(kp_mlp_gradient_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_mlp_gradient_cuda,
};
