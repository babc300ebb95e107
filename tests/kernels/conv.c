/* conv.c: gradients of the convolution against differences, DQN's own shapes at full size, and what
 * must hold for single values. Every bit in every mode: ops_layers.c. */
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

static kp_conv_shape shape(int h, int c, int n, int kernel, int stride, int pad) {
    kp_conv_shape s = { .kernel = kernel, .stride = stride, .pad_top = pad, .pad_left = pad };
    int out = (h + 2 * pad - kernel) / stride + 1;
    s.in = (kp_image){ h, h, c, pad, pad, pad, pad };
    s.out = (kp_image){ .h = out, .w = out, .c = n };
    return s;
}

static int64_t n_weights(kp_conv_shape s) {
    return (int64_t)s.kernel * s.kernel * s.in.c * s.out.c;
}

/* ---- gradients ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int B, h, c, n, kernel, stride, pad;
} gradient_cases[] = {
    { "stride 1", 2, 5, 3, 4, 3, 1, 0 },
    { "padded", 2, 5, 3, 4, 3, 1, 1 },
    { "stride 2", 2, 8, 2, 5, 4, 2, 1 },
    { "stride 4", 1, 16, 1, 18, 8, 4, 2 },
    { "1 x 1", 3, 3, 7, 3, 1, 1, 0 },
    { "rows that no tap reads", 1, 7, 2, 3, 2, 2, 0 },
    { "three of stride 3", 1, 10, 1, 2, 3, 3, 1 },
};

typedef struct {
    kp_conv_shape s;
    int B;
    float *x, *w, *bias, *y, *slope; /* slope: of the loss, sum of slope * y */
} problem;

static double loss(const problem *p) {
    run(KP_OP_conv_forward,
        &(kp_conv_forward_args){
            .P = 1, .B = p->B, .shape = p->s, .x = p->x, .w = p->w, .bias = p->bias, .y = p->y });
    double sum = 0;
    for (int64_t i = 0; i < p->B * kp_image_floats(p->s.out); i++)
        sum += (double)p->slope[i] * (double)p->y[i];
    return sum;
}

/* The loss is linear in each value: a large step has no error but rounding. */
static double difference(const problem *p, float *at) {
    float was = *at;
    *at = was + 0.5f;
    double above = loss(p);
    *at = was - 0.5f;
    double below = loss(p);
    *at = was;
    return above - below;
}

static void expect_gradient(const char *name, const char *what, const problem *p, float *at,
                            const float *gradient, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double want = difference(p, at + i);
        cr_assert(fabs((double)gradient[i] - want) < 2e-5, "%s: %s %lld: %g, by differences %g",
                  name, what, (long long)i, (double)gradient[i], want);
    }
}

Test(conv, gradients_equal_differences) {
    for (size_t k = 0; k < KP_COUNT(gradient_cases); k++) {
        kp_conv_shape s = shape(gradient_cases[k].h, gradient_cases[k].c, gradient_cases[k].n,
                                gradient_cases[k].kernel, gradient_cases[k].stride,
                                gradient_cases[k].pad);
        int B = gradient_cases[k].B;
        int64_t X = B * kp_image_floats(s.in), Y = B * kp_image_floats(s.out), W = n_weights(s);
        problem p = {
            .s = s, .B = B, .x = values(X, 1), .w = values(W, 2), .bias = values(s.out.c, 3)
        };
        p.y = values(Y, 4), p.slope = values(Y, 5);
        float *dx = values(X, 6), *dw = values(W, 7), *dbias = values(s.out.c, 8);
        run(KP_OP_conv_backward_data,
            &(kp_conv_backward_data_args){
                .P = 1, .B = B, .shape = s, .dy = p.slope, .w = p.w, .x = p.x, .dx = dx });
        run(KP_OP_conv_backward_weights,
            &(kp_conv_backward_weights_args){
                .P = 1, .B = B, .shape = s, .x = p.x, .dy = p.slope, .dw = dw, .dbias = dbias });
        const char *name = gradient_cases[k].name;
        expect_gradient(name, "weight", &p, p.w, dw, W);
        expect_gradient(name, "bias", &p, p.bias, dbias, s.out.c);
        for (int b = 0; b < B; b++)
            for (int y = 0; y < s.in.h; y++) {
                int64_t at = b * kp_image_floats(s.in) + kp_image_at(s.in, y, 0);
                expect_gradient(name, "input", &p, p.x + at, dx + at, (int64_t)s.in.w * s.in.c);
            }
        free(p.x), free(p.w), free(p.bias), free(p.y), free(p.slope), free(dx), free(dw),
            free(dbias);
    }
}

/* ---- full size ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int h, c, n, kernel, stride, pad;
} full_cases[] = {
    { "DQN's first", 84, 4, 32, 8, 4, 0 },   { "DQN's second", 20, 32, 64, 4, 2, 0 },
    { "DQN's third", 9, 64, 64, 3, 1, 0 },   { "padded first", 84, 4, 32, 8, 4, 2 },
    { "padded third", 11, 64, 64, 3, 1, 1 },
};

static void expect_equal(const char *name, const char *what, const float *got, const float *want,
                         int64_t n) {
    for (int64_t i = 0; i < n; i++)
        cr_assert_eq(got[i], want[i], "%s: %s %lld: %.9g, not %.9g", name, what, (long long)i,
                     (double)got[i], (double)want[i]);
}

Test(conv, equals_reference_at_full_size) {
    enum { B = 3 };
    for (size_t k = 0; k < KP_COUNT(full_cases); k++) {
        const char *name = full_cases[k].name;
        kp_conv_shape s = shape(full_cases[k].h, full_cases[k].c, full_cases[k].n,
                                full_cases[k].kernel, full_cases[k].stride, full_cases[k].pad);
        int64_t X = B * kp_image_floats(s.in), Y = B * kp_image_floats(s.out), W = n_weights(s);
        float *x = values(X, 1), *w = values(W + s.out.c, 2), *dy = values(Y, 3);
        float *got = values(Y, 4), *want = values(Y, 4);
        kp_conv_forward_args f = {
            .P = 1, .B = B, .shape = s, .activation = KP_RELU, .x = x, .w = w
        };
        f.bias = w + W;
        f.y = got, run(KP_OP_conv_forward, &f);
        f.y = want, kp_reference_conv_forward(&f);
        expect_equal(name, "output", got, want, Y);
        free(got), free(want);

        got = values(X, 5), want = values(X, 5);
        kp_conv_backward_data_args d = { .P = 1, .B = B, .shape = s, .dy = dy, .w = w, .x = x };
        d.x_activation = KP_RELU;
        d.dx = got, run(KP_OP_conv_backward_data, &d);
        d.dx = want, kp_reference_conv_backward_data(&d);
        expect_equal(name, "input gradient", got, want, X);
        free(got), free(want);

        got = values(W + s.out.c, 6), want = values(W + s.out.c, 7);
        kp_conv_backward_weights_args g = { .P = 1, .B = B, .shape = s, .x = x, .dy = dy };
        g.dw = got, g.dbias = got + W, run(KP_OP_conv_backward_weights, &g);
        g.dw = want, g.dbias = want + W, kp_reference_conv_backward_weights(&g);
        expect_equal(name, "weight gradient", got, want, W + s.out.c);
        free(got), free(want), free(x), free(w), free(dy);
    }
}

/* ---- single values --------------------------------------------------------------------------- */

Test(conv, relu_of_single_values) {
    for (size_t k = 0; k < KP_COUNT(relu_cases); k++) {
        kp_conv_shape s = shape(1, 1, 1, 1, 1, 0);
        float x = relu_cases[k].x, w = 2, bias = relu_cases[k].bias, y = 7, dy = 3, dx = 7;
        kp_conv_forward_args f = {
            .P = 1, .B = 1, .shape = s, .activation = KP_RELU, .x = &x, .w = &w
        };
        f.bias = &bias, f.y = &y;
        run(KP_OP_conv_forward, &f);
        kp_conv_backward_data_args d = { .P = 1, .B = 1, .shape = s, .dy = &dy, .w = &w, .x = &x };
        d.x_activation = KP_RELU, d.dx = &dx;
        run(KP_OP_conv_backward_data, &d);
        cr_expect(y == relu_cases[k].y || (isnan(y) && isnan(relu_cases[k].y)), "%s: y %g",
                  relu_cases[k].name, (double)y);
        cr_expect_eq(dx, relu_cases[k].dx, "%s: dx %g", relu_cases[k].name, (double)dx);
    }
}

/* One member over many threads needs slices; a large population needs none to repeat packing. */
Test(conv, slices_follow_the_population) {
    kp_conv_forward_args f = { .P = 1, .B = 32, .shape = shape(20, 32, 64, 4, 2, 0) };
    cr_expect_eq(kp_op_get(KP_OP_conv_forward)->n_slices(&f), 16);
    f.P = 64;
    cr_expect_eq(kp_op_get(KP_OP_conv_forward)->n_slices(&f), 1);
}
