/* dense.c: gradients of the dense layer against differences, DQN's hidden layer at full size. Every
 * bit in every mode: ops_layers.c. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/philox.h"
#include "kernels/layer_reference.h"
#include "kernels/relu_cases.h"
#include "ops.h"

static float *values(int64_t n, unsigned seed) {
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = 2 * kp_uniform(kp_philox(seed, KP_STREAM_TEST, (uint64_t)i).x[0]) - 1;
    return x;
}

static void run(int id, const void *args) {
    const kp_op *op = kp_op_get(id);
    size_t bytes = op->scratch_bytes ? op->scratch_bytes(args) : 0;
    void *scratch = aligned_alloc(64, (bytes + 127) / 64 * 64);
    op->cpu(args, 0, kp_all_slices(op, args), scratch);
    free(scratch);
}

static const struct {
    const char *name;
    int B, in, out;
} gradient_cases[] = {
    { "wide", 3, 40, 17 },
    { "one sample", 1, 9, 6 },
    { "more samples than a tile", 18, 5, 4 },
    { "one output", 4, 31, 1 },
};

typedef struct {
    int B, in, out;
    float *x, *w, *bias, *y, *slope; /* slope: of the loss, sum of slope * y */
} problem;

static double loss(const problem *p) {
    run(KP_OP_dense_forward, &(kp_dense_forward_args){ .P = 1,
                                                       .B = p->B,
                                                       .in = p->in,
                                                       .out = p->out,
                                                       .x = p->x,
                                                       .w = p->w,
                                                       .bias = p->bias,
                                                       .y = p->y });
    double sum = 0;
    for (int i = 0; i < p->B * p->out; i++) sum += (double)p->slope[i] * (double)p->y[i];
    return sum;
}

/* The loss is linear in each value: a large step has no error but rounding. */
static void expect_gradient(const char *name, const char *what, const problem *p, float *at,
                            const float *gradient, int n) {
    for (int i = 0; i < n; i++) {
        float was = at[i];
        at[i] = was + 0.5f;
        double above = loss(p);
        at[i] = was - 0.5f;
        double want = above - loss(p);
        at[i] = was;
        cr_assert(fabs((double)gradient[i] - want) < 2e-5, "%s: %s %d: %g, by differences %g", name,
                  what, i, (double)gradient[i], want);
    }
}

Test(dense, gradients_equal_differences) {
    for (size_t k = 0; k < KP_COUNT(gradient_cases); k++) {
        const char *name = gradient_cases[k].name;
        int B = gradient_cases[k].B, in = gradient_cases[k].in, out = gradient_cases[k].out;
        problem p = {
            .B = B, .in = in, .out = out, .x = values(B * in, 1), .w = values(in * out, 2)
        };
        p.bias = values(out, 3), p.y = values(B * out, 4), p.slope = values(B * out, 5);
        float *dx = values(B * in, 6), *dw = values(in * out, 7), *dbias = values(out, 8);
        run(KP_OP_dense_backward_data, &(kp_dense_backward_data_args){ .P = 1,
                                                                       .B = B,
                                                                       .in = in,
                                                                       .out = out,
                                                                       .dy = p.slope,
                                                                       .w = p.w,
                                                                       .x = p.x,
                                                                       .dx = dx });
        run(KP_OP_dense_backward_weights, &(kp_dense_backward_weights_args){ .P = 1,
                                                                             .B = B,
                                                                             .in = in,
                                                                             .out = out,
                                                                             .x = p.x,
                                                                             .dy = p.slope,
                                                                             .dw = dw,
                                                                             .dbias = dbias });
        expect_gradient(name, "weight", &p, p.w, dw, in * out);
        expect_gradient(name, "bias", &p, p.bias, dbias, out);
        expect_gradient(name, "input", &p, p.x, dx, B * in);
        free(p.x), free(p.w), free(p.bias), free(p.y), free(p.slope), free(dx), free(dw),
            free(dbias);
    }
}

static void expect_equal(const char *what, const float *got, const float *want, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        cr_assert_eq(got[i], want[i], "%s %lld: %.9g, not %.9g", what, (long long)i, (double)got[i],
                     (double)want[i]);
}

/* 3136 to 512, as DQN has it: blocks of inputs and of outputs both end unevenly. */
Test(dense, equals_reference_at_full_size) {
    enum { B = 10, IN = 3136, OUT = 512 };
    int64_t W = (int64_t)IN * OUT;
    float *x = values(B * IN, 1), *w = values(W + OUT, 2), *dy = values(B * OUT, 3);
    float *got = values(B * OUT, 4), *want = values(B * OUT, 5);
    kp_dense_forward_args f = { .P = 1, .B = B, .in = IN, .out = OUT, .activation = KP_RELU };
    f.x = x, f.w = w, f.bias = w + W;
    f.y = got, run(KP_OP_dense_forward, &f);
    f.y = want, kp_reference_dense_forward(&f);
    expect_equal("output", got, want, B * OUT);
    free(got), free(want);

    got = values(B * IN, 4), want = values(B * IN, 5);
    kp_dense_backward_data_args d = { .P = 1, .B = B, .in = IN, .out = OUT, .dy = dy, .w = w };
    d.x = x, d.x_activation = KP_RELU;
    d.dx = got, run(KP_OP_dense_backward_data, &d);
    d.dx = want, kp_reference_dense_backward_data(&d);
    expect_equal("input gradient", got, want, B * IN);
    free(got), free(want);

    got = values(W + OUT, 4), want = values(W + OUT, 5);
    kp_dense_backward_weights_args g = { .P = 1, .B = B, .in = IN, .out = OUT, .x = x, .dy = dy };
    g.dw = got, g.dbias = got + W, run(KP_OP_dense_backward_weights, &g);
    g.dw = want, g.dbias = want + W, kp_reference_dense_backward_weights(&g);
    expect_equal("weight gradient", got, want, W + OUT);
    free(got), free(want), free(x), free(w), free(dy);
}

Test(dense, relu_of_single_values) {
    for (size_t k = 0; k < KP_COUNT(relu_cases); k++) {
        float x = relu_cases[k].x, w = 2, bias = relu_cases[k].bias, y = 7, dy = 3, dx = 7;
        kp_dense_forward_args f = { .P = 1, .B = 1, .in = 1, .out = 1, .activation = KP_RELU };
        f.x = &x, f.w = &w, f.bias = &bias, f.y = &y;
        run(KP_OP_dense_forward, &f);
        kp_dense_backward_data_args d = { .P = 1, .B = 1, .in = 1, .out = 1, .dy = &dy, .w = &w };
        d.x = &x, d.x_activation = KP_RELU, d.dx = &dx;
        run(KP_OP_dense_backward_data, &d);
        cr_expect(y == relu_cases[k].y || (isnan(y) && isnan(relu_cases[k].y)), "%s: y %g",
                  relu_cases[k].name, (double)y);
        cr_expect_eq(dx, relu_cases[k].dx, "%s: dx %g", relu_cases[k].name, (double)dx);
    }
}
