/* mlp_after.c: the forward pass of mlp_gradient.c, with another x and without a gradient. */
#include "mlp_plain.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_mlp_after_args *a = args;
    const kp_mlp_shape *s = &a->shape;
    const int last = s->n_layers - 1, at = a->cursor[member];
    const int64_t sample = kp_mlp_sample(a->index, a->T, member, at);
    const int32_t label = kp_mlp_label(a->label, a->label_order, s->out[last], member, sample);
    kp_mlp_net net = kp_mlp_net_of(s, a->theta, a->work, member);

    net.other_x[0] = net.x[0];
    const float *logits = kp_mlp_forward_all(&net, net.other_x);
    kp_mlp_result *result = &a->result[(int64_t)member * a->T + at];
    result->loss_after = kp_mlp_loss(s, logits, label, net.other_d[last]);
    result->inactive = kp_mlp_count_off(s, net.other_x, NULL);
}

const kp_op KP_ISA(kp_op_mlp_after) = {
    .name = "mlp_after",
    .args_bytes = sizeof(kp_mlp_after_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_mlp_after_cuda,
};
