/* cbp.c: one slice a member: members fill the threads. */
#include "mlp/mlp_unit.h"
#include "units/units_cpu.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

/* The row with its padding, which is 0. */
static float sum_of_sizes(const float *restrict w, int row) {
    float lane[KP_MLP_LANES] = { 0 };
    for (int k = 0; k < row; k += KP_MLP_LANES)
        for (int i = 0; i < KP_MLP_LANES; i++) lane[i] += fabsf(w[k + i]);
    return kp_mlp_add_lanes(lane);
}

/* Returns how many units are mature. */
static int count_sample(kp_cbp_layer c, const kp_mlp_shape *s, int l, kp_cbp_hyper h) {
    const int n = s->out[l], outputs = kp_units_outputs(s), row = s->row[l + 1];
    int mature = 0;
    for (int j = 0; j < outputs * n; j++) c.mean[j] = kp_cbp_average(c.mean[j], c.x[j], h);
    for (int o = 0; o < n; o++) {
        float contribution = 0.0f;
        for (int j = o; j < outputs * n; j += n)
            if (c.x[j] != 0.0f)
                contribution = fmaf(fabsf(c.x[j]), sum_of_sizes(c.w + (int64_t)j * row, row),
                                    contribution);
        mature += kp_cbp_count(c, o, contribution, h);
    }
    return mature;
}

static int least(kp_cbp_layer c, int n, kp_cbp_hyper h) {
    kp_cbp_pick pick = { 0, -1 };
    for (int o = 0; o < n; o++) pick = kp_cbp_lesser(pick, kp_cbp_candidate(c, o, h));
    return pick.unit;
}

static void replace(const kp_cbp_args *a, kp_cbp_layer c, int member, int l, int o) {
    kp_cbp_correct(&a->net.shape, c, l, o);
    for (int k = 0; k < a->net.shape.out[l + 1]; k++) kp_cbp_keep_mean(a, c, member, l, o, k);
    kp_units_replace(&a->net, KP_UNITS_CBP, member, l, o, a->net.replaced[member]);
    kp_cbp_forget(a, c, member, l, o);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_cbp_args *a = args;
    const kp_mlp_shape *s = &a->net.shape;
    const kp_cbp_hyper h = a->hyper[member];
    if (h.rate == 0.0) return;
    for (int l = 0; l + 1 < s->n_layers; l++) {
        kp_cbp_layer c = kp_cbp_layer_of(a, member, l);
        *c.owed += h.rate * count_sample(c, s, l, h);
        for (int o; *c.owed >= 1.0 && (o = least(c, s->out[l], h)) >= 0;)
            replace(a, c, member, l, o);
    }
}

const kp_op KP_ISA(kp_op_cbp) = {
    .name = "cbp",
    .args_bytes = sizeof(kp_cbp_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_cbp_cuda,
};
