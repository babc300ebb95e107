/* mlp.c: the gradient of small networks is the slope of their loss, computed in doubles. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_features.h"
#include "kernels/mlp_case.h"
#include "mlp/mlp_unit.h"

enum { P = 2, T = 4, WIDEST = 256 };

static const kp_mlp_spec specs[] = {
    { "relu, bytes, permuted", 3, { 37, 18, 11, 5 }, KP_MLP_RELU, 0, 1, 1, 0.6, 0 },
    { "relu, floats", 3, { 20, 17, 16, 10 }, KP_MLP_RELU, 0, 0, 0, 0, -1 },
    { "leaky relu, bytes", 2, { 19, 33, 10 }, KP_MLP_LEAKY_RELU, 0, 0, 1, 0.2, -1 },
    { "leaky relu, norm, permuted", 3, { 12, 15, 13, 4 }, KP_MLP_LEAKY_RELU, 1, 1, 0, 0.2, -1 },
    { "tanh, floats", 3, { 15, 17, 9, 20 }, KP_MLP_TANH, 0, 0, 0, 0, -1 },
    { "tanh, norm", 4, { 9, 17, 3, 14, 3 }, KP_MLP_TANH, 1, 0, 0, 0.2, -1 },
    { "crelu, bytes", 3, { 21, 10, 9, 7 }, KP_MLP_CRELU, 0, 0, 1, 0.5, 0 },
    { "crelu, norm, permuted", 3, { 18, 21, 9, 17 }, KP_MLP_CRELU, 1, 1, 0, 0.5, -0.2 },
    { "one layer", 1, { 30, 12 }, KP_MLP_RELU, 0, 1, 1, 0.5, 0 },
};

/* ---- a network in doubles -------------------------------------------------------------------- */

typedef struct {
    double x[KP_MLP_LAYERS + 1][WIDEST]; /* inputs of the layers; then the logits */
    double loss;
    int correct, inactive;
} reference;

static void normalise(const kp_mlp_shape *s, int l, const double *theta, double *z) {
    int n = s->out[l];
    double mean = 0, variance = 0;
    for (int o = 0; o < n; o++) mean += z[o] / n;
    for (int o = 0; o < n; o++) variance += (z[o] - mean) * (z[o] - mean) / n;
    for (int o = 0; o < n; o++)
        z[o] = (z[o] - mean) / sqrt(variance + 1e-5) * theta[s->gain[l] + o] +
               theta[s->shift[l] + o];
}

static double activate(int activation, double z) {
    return activation == KP_MLP_TANH                  ? tanh(z)
           : activation == KP_MLP_LEAKY_RELU && z < 0 ? 0.01 * z
           : activation != KP_MLP_LEAKY_RELU && z < 0 ? 0
                                                      : z;
}

static int is_off(int activation, double x) {
    return activation == KP_MLP_TANH         ? fabs(x) > 0.9
           : activation == KP_MLP_LEAKY_RELU ? x < 0
                                             : activation == KP_MLP_RELU && x <= 0;
}

/* x[0] is there. */
static void forward(reference *r, const kp_mlp_shape *s, const double *theta, int label) {
    int last = s->n_layers - 1, crelu = s->activation == KP_MLP_CRELU;
    r->inactive = 0;
    for (int l = 0; l <= last; l++) {
        double *z = r->x[l + 1];
        for (int o = 0; o < s->out[l]; o++) {
            z[o] = theta[s->bias[l] + o];
            for (int j = 0; j < s->in[l]; j++)
                z[o] += r->x[l][j] * theta[s->weight[l] + (int64_t)j * s->row[l] + o];
        }
        if (s->gain[l] >= 0) normalise(s, l, theta, z);
        for (int o = 0; o < s->out[l] && l < last; o++) {
            if (crelu) z[s->out[l] + o] = activate(s->activation, -z[o]);
            z[o] = activate(s->activation, z[o]);
            r->inactive += is_off(s->activation, z[o]);
        }
    }
    const double *logit = r->x[last + 1];
    double sum = 0;
    int first = 0;
    for (int k = 0; k < s->out[last]; k++) {
        sum += exp(logit[k]);
        if (logit[k] > logit[first]) first = k;
    }
    r->loss = log(sum) - logit[label];
    r->correct = first == label;
}

/* The sample that the member sees, in r->x[0]; returns its label. */
static int see(reference *r, const kp_mlp_shape *s, const kp_mlp_samples *data, int member,
               int at) {
    int n = s->in[0], classes = s->out[s->n_layers - 1], i = data->index[member * data->T + at];
    for (int j = 0; j < n; j++) {
        int from = data->input_order ? data->input_order[member * n + j] : j;
        r->x[0][j] = data->bytes ? (double)data->value[data->bytes[i * n + from]]
                                 : (double)data->floats[i * n + from];
    }
    int label = data->label[i];
    return data->label_order ? data->label_order[member * classes + label] : label;
}

/* ---- a case of mlp_gradient and mlp_after -------------------------------------------------------
 */

typedef struct {
    kp_case c;
    kp_mlp_shape s;
    kp_mlp_gradient_args gradient;
    kp_mlp_after_args after;
    float *theta;
    int32_t *cursor;
} net;

static net net_open(const kp_mlp_spec *spec) {
    net n = { .c = { .P = P }, .s = kp_mlp_case_shape(spec) };
    kp_case *c = &n.c;
    kp_mlp_samples data = kp_mlp_case_samples(c, spec, T);
    n.cursor = kp_case_alloc(c, 'i', KP_IN, 1, 0, T);
    n.theta = kp_mlp_case_param(c, &n.s, KP_IN, -0.6, 0.6);
    n.gradient = (kp_mlp_gradient_args){
        .P = P,
        .shape = n.s,
        .samples = data,
        .cursor = n.cursor,
        .theta = n.theta,
        .grad = kp_case_alloc(c, 'f', KP_OUT, n.s.N, 0, 0),
        .work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&n.s), 0, 0),
        .result = kp_case_alloc(c, 'f', KP_OUT, T * (int64_t)sizeof(kp_mlp_result) / 4, 0, 0),
        .ever_active = kp_case_alloc(c, 'b', KP_IN_OUT, n.s.n_hidden, 0, 1),
    };
    n.after = (kp_mlp_after_args){
        .P = P,
        .shape = n.s,
        .label_order = data.label_order,
        .label = data.label,
        .index = data.index,
        .T = T,
        .cursor = n.cursor,
        .theta = n.theta,
        .work = n.gradient.work,
        .result = n.gradient.result,
    };
    return n;
}

static void net_close(net *n) {
    char says[128];
    cr_expect(!kp_case_overrun(&n->c, says, sizeof says), "%s", says);
    kp_case_close(&n->c);
}

static void run(int op, const void *args) {
    for (int p = 0; p < P; p++) kp_op_get(op)->cpu(args, p, (kp_slices){ 0, 1 }, NULL);
}

static double *doubles(const float *x, int64_t n) {
    double *y = malloc((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

#define EACH_SPEC(spec)                                                                            \
    for (const kp_mlp_spec *spec = specs; spec < specs + KP_COUNT(specs); spec++)
#define NEAR(got, want, tolerance) (fabs((double)(got) - (want)) <= (tolerance))

/* ---- tests --------------------------------------------------------------------------------------
 */

Test(mlp, gradient_is_the_slope_of_the_loss) {
    const double h = 1e-6;
    EACH_SPEC(spec) {
        net n = net_open(spec);
        run(KP_OP_mlp_gradient, &n.gradient);
        for (int p = 0; p < P; p++) {
            static reference r;
            double *theta = doubles(n.theta + p * n.s.N, n.s.N);
            int label = see(&r, &n.s, &n.gradient.samples, p, n.cursor[p]);
            const float *grad = n.gradient.grad + p * n.s.N;
            for (int64_t i = 0; i < n.s.N; i++) {
                if (kp_mlp_case_is_padding(&n.s, i)) {
                    static const float zero = 0;
                    cr_assert(!memcmp(&grad[i], &zero, 4), "%s: padding %d", spec->name, (int)i);
                    continue;
                }
                double x = theta[i], slope = 0;
                for (int side = -1; side <= 1; side += 2) {
                    theta[i] = x + side * h;
                    forward(&r, &n.s, theta, label);
                    slope += side * r.loss / (2 * h);
                }
                theta[i] = x;
                cr_assert(NEAR(grad[i], slope, 3e-6 * (1 + fabs(slope))), "%s: %d: %.9g, not %.9g",
                          spec->name, (int)i, (double)grad[i], slope);
            }
            free(theta);
        }
        net_close(&n);
    }
}

static void expect_result(const char *name, const kp_mlp_result *got, const reference *want) {
    cr_expect(NEAR(got->loss, want->loss, 1e-5), "%s: loss %.9g, not %.9g", name, (double)got->loss,
              want->loss);
    cr_expect(isnan(got->loss_after), "%s: a loss after no update", name);
    cr_expect(got->correct == want->correct && got->inactive == want->inactive,
              "%s: correct %d, not %d; inactive %d, not %d", name, got->correct, want->correct,
              got->inactive, want->inactive);
}

Test(mlp, what_a_sample_leaves) {
    EACH_SPEC(spec) {
        net n = net_open(spec);
        int active = 0;
        n.cursor[0] = T - 1, n.cursor[1] = 0;
        run(KP_OP_mlp_gradient, &n.gradient);
        for (int p = 0; p < P; p++) {
            static reference r;
            double *theta = doubles(n.theta + p * n.s.N, n.s.N);
            forward(&r, &n.s, theta, see(&r, &n.s, &n.gradient.samples, p, n.cursor[p]));
            const kp_mlp_result *result = n.gradient.result + p * T;
            expect_result(spec->name, &result[n.cursor[p]], &r);
            for (int t = 0; t < T; t++)
                cr_expect(t == n.cursor[p] || isnan(result[t].loss), "%s: another's", spec->name);
            const float *work = n.gradient.work + p * kp_mlp_work(&n.s);
            for (int l = 0; l < n.s.n_layers; l++) {
                for (int j = 0; j < n.s.in[l]; j++)
                    cr_expect(NEAR(work[kp_mlp_x(&n.s, l) + j], r.x[l][j], 1e-5), "%s: x",
                              spec->name);
                cr_expect(!memcmp(work + kp_mlp_d(&n.s, l),
                                  n.gradient.grad + p * n.s.N + n.s.bias[l],
                                  (size_t)n.s.row[l] * sizeof(float)),
                          "%s: d is not the bias's gradient", spec->name);
            }
            for (int u = 0; u < n.s.n_hidden; u++)
                active += n.gradient.ever_active[p * n.s.n_hidden + u];
            active += r.inactive;
            free(theta);
        }
        cr_expect_eq(active, P * n.s.n_hidden, "%s: ever_active", spec->name);
        net_close(&n);
    }
}

/* In floats, as mlp.h says. */
static float z_of(const net *n, int l, int o, const float *theta, const float *x) {
    float z = theta[n->s.bias[l] + o];
    for (int j = 0; j < n->s.in[l]; j++)
        if (x[j] != 0) z = fmaf(x[j], theta[n->s.weight[l] + (int64_t)j * n->s.row[l] + o], z);
    return z;
}

static float dx_of(const net *n, int l, int j, const float *theta, const float *d) {
    float lane[KP_MLP_LANES] = { 0 };
    const float *w = theta + n->s.weight[l] + (int64_t)j * n->s.row[l];
    for (int o = 0; o < n->s.row[l]; o++)
        lane[o % KP_MLP_LANES] = fmaf(w[o], d[o], lane[o % KP_MLP_LANES]);
    for (int half = KP_MLP_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

Test(mlp, sums_have_their_order) {
    EACH_SPEC(spec) {
        if (spec->layer_norm || spec->activation == KP_MLP_CRELU) continue;
        net n = net_open(spec);
        run(KP_OP_mlp_gradient, &n.gradient);
        for (int p = 0; p < P; p++)
            for (int l = 0; l + 1 < n.s.n_layers; l++) {
                const float *theta = n.theta + p * n.s.N,
                            *work = n.gradient.work + p * kp_mlp_work(&n.s);
                const float *x = work + kp_mlp_x(&n.s, l + 1), *d = work + kp_mlp_d(&n.s, l);
                for (int o = 0; o < n.s.out[l]; o++) {
                    float z = z_of(&n, l, o, theta, work + kp_mlp_x(&n.s, l)),
                          dx = dx_of(&n, l + 1, o, theta, work + kp_mlp_d(&n.s, l + 1));
                    cr_expect_eq(x[o], kp_mlp_activate(spec->activation, z), "%s: z", spec->name);
                    cr_expect_eq(d[o], kp_mlp_slope(spec->activation, dx, x[o]), "%s: dx",
                                 spec->name);
                }
            }
        net_close(&n);
    }
}

Test(mlp, after_is_the_same_sample_with_other_weights) {
    EACH_SPEC(spec) {
        net n = net_open(spec);
        run(KP_OP_mlp_gradient, &n.gradient);
        for (int64_t i = 0; i < P * n.s.N; i++) n.theta[i] -= 0.05f * n.gradient.grad[i];
        kp_mlp_result before[P * T];
        memcpy(before, n.gradient.result, sizeof before);
        int64_t block = kp_mlp_x(&n.s, n.s.n_layers);
        float *work = malloc((size_t)block * sizeof *work);
        memcpy(work, n.gradient.work, (size_t)block * sizeof *work);
        run(KP_OP_mlp_after, &n.after);
        cr_expect(!memcmp(work, n.after.work, (size_t)block * sizeof *work), "%s: x or d changed",
                  spec->name);
        for (int p = 0; p < P; p++) {
            static reference r;
            double *theta = doubles(n.theta + p * n.s.N, n.s.N);
            forward(&r, &n.s, theta, see(&r, &n.s, &n.gradient.samples, p, n.cursor[p]));
            const kp_mlp_result *was = &before[p * T + n.cursor[p]],
                                *is = &n.after.result[p * T + n.cursor[p]];
            cr_expect(NEAR(is->loss_after, r.loss, 1e-5) && is->inactive == r.inactive,
                      "%s: %.9g, not %.9g; %d, not %d", spec->name, (double)is->loss_after, r.loss,
                      is->inactive, r.inactive);
            cr_expect(is->loss == was->loss && is->correct == was->correct, "%s", spec->name);
            cr_expect_lt(is->loss_after, is->loss, "%s: the step did not help", spec->name);
            free(theta);
        }
        free(work);
        net_close(&n);
    }
}

Test(mlp, nan_is_not_lost_and_does_not_reach_the_padding) {
    EACH_SPEC(spec) {
        net n = net_open(spec);
        int last = n.s.n_layers - 1;
        n.theta[n.s.bias[0]] = NAN;            /* of one member */
        n.theta[n.s.N + n.s.bias[last]] = NAN; /* of the other */
        run(KP_OP_mlp_gradient, &n.gradient);
        for (int p = 0; p < P; p++) {
            const float *grad = n.gradient.grad + p * n.s.N;
            cr_expect(isnan(n.gradient.result[p * T + n.cursor[p]].loss), "%s", spec->name);
            cr_expect(isnan(grad[n.s.bias[last]]), "%s", spec->name);
            for (int64_t i = 0; i < n.s.N; i++)
                cr_assert(!kp_mlp_case_is_padding(&n.s, i) || grad[i] == 0, "%s: %d", spec->name,
                          (int)i);
        }
        net_close(&n);
    }
}

Test(mlp, the_first_of_equal_logits_is_the_answer) {
    EACH_SPEC(spec) {
        net n = net_open(spec);
        memset(n.theta, 0, (size_t)(P * n.s.N) * sizeof *n.theta);
        run(KP_OP_mlp_gradient, &n.gradient);
        for (int p = 0; p < P; p++) {
            static reference r;
            int label = see(&r, &n.s, &n.gradient.samples, p, n.cursor[p]);
            cr_expect_eq(n.gradient.result[p * T + n.cursor[p]].correct, label == 0, "%s: %d",
                         spec->name, label);
        }
        net_close(&n);
    }
}

Test(mlp, tanh_is_tanh) {
    for (double z = 1e-30; z < 200; z *= 1.0007) {
        float x = (float)z, got = kp_mlp_tanh(x);
        double want = tanh((double)x);
        cr_assert(NEAR(got, want, 1.5e-7 * want), "tanh(%.9g) = %.9g, not %.9g", (double)x,
                  (double)got, want);
        cr_assert_eq(kp_mlp_tanh(-x), -got, "tanh is odd at %.9g", (double)x);
    }
    cr_expect(kp_mlp_tanh(0) == 0 && kp_mlp_tanh(INFINITY) == 1 && kp_mlp_tanh(-INFINITY) == -1);
    cr_expect(kp_mlp_tanh(1e-45f) == 1e-45f && isnan(kp_mlp_tanh(NAN)));
}
