/* redo.c: one slice a member: members fill the threads. */
#include "units/units_cpu.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

/* Doubles: a sum of up to 2^29 floats that are alike is nearly exact. */
static void count_sample(const float *restrict x, const kp_mlp_shape *s, int l,
                         double *restrict sum) {
    const int n = s->out[l];
    for (int j = 0; j < kp_units_outputs(s) * n; j += n)
        for (int o = 0; o < n; o++) sum[o] += fabs((double)x[j + o]);
}

static void replace_dormant(const kp_redo_args *a, int member, int l, const double *sum) {
    const int n = a->net.shape.out[l];
    const double most = kp_redo_most(sum, n, a->tau[member]);
    for (int o = 0; o < n; o++)
        if (n * sum[o] <= most)
            kp_units_replace(&a->net, KP_UNITS_REDO, member, l, o, a->net.replaced[member]++);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_redo_args *a = args;
    const kp_mlp_shape *s = &a->net.shape;
    const float *x = a->work + member * kp_mlp_work(s);
    double *sum = a->sum + (int64_t)member * s->n_hidden;
    for (int l = 0; l + 1 < s->n_layers; l++)
        count_sample(x + kp_mlp_x(s, l + 1), s, l, sum + kp_units_first(s, l));
    if (++a->seen[member] < a->every) return;
    a->seen[member] = 0;
    for (int l = 0; l + 1 < s->n_layers; l++)
        replace_dormant(a, member, l, sum + kp_units_first(s, l));
    for (int o = 0; o < s->n_hidden; o++) sum[o] = 0.0;
}

const kp_op KP_ISA(kp_op_redo) = {
    .name = "redo",
    .args_bytes = sizeof(kp_redo_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_redo_cuda,
};
