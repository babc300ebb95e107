/* ops_element.c: rows of the element operations. */
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "copy/copy.h"
#include "gather_stack/gather_stack.h"
#include "grad_norm/grad_norm.h"
#include "kernels/op_case.h"
#include "madam_clip/madam_clip.h"
#include "noise/noise.h"
#include "optim_begin/optim_begin.h"
#include "penalties/penalties.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"
#include "shift_clip/shift_clip.h"
#include "si/si.h"
#include "softmax_xent/softmax_xent.h"
#include "squared_error/squared_error.h"
#include "tally_sum/tally_sum.h"
#include "td_loss/td_loss.h"
#include "td_stats/td_stats.h"
#include "upgd/upgd.h"

/* ---- update rules: 35 chunks are three slices; 3 tensors, each ending in padding ------------- */

enum { CHUNKS = 35, N = CHUNKS * KP_CHUNK, TENSORS = 3, PADDING = 100 };

static const int first_chunk[TENSORS + 1] = { 0, 4, 5, CHUNKS };

static int32_t *tensor_table(kp_case *c) {
    int32_t *tensor = kp_case_shared(c, 'i', CHUNKS, 0, 1);
    for (int t = 0; t < TENSORS; t++)
        for (int k = first_chunk[t]; k < first_chunk[t + 1]; k++) tensor[k] = t;
    return tensor;
}

static float *param(kp_case *c, kp_use use, double lo, double hi) {
    float *x = kp_case_alloc(c, 'f', use, N, lo, hi);
    for (int p = 0; p < c->P; p++)
        for (int t = 0; t < TENSORS; t++)
            memset(x + (int64_t)p * N + first_chunk[t + 1] * KP_CHUNK - PADDING, 0,
                   PADDING * sizeof *x);
    return x;
}

static float *bounds(kp_case *c) {
    float *bound = kp_case_alloc(c, 'f', KP_IN, TENSORS, 0.2, 0.6);
    for (int p = 0; p < c->P; p++) bound[p * TENSORS + 1] = INFINITY;
    return bound;
}

/* hyper: a member's floats between the given ones; rounding to float is then the same for both. */
static void *hyper(kp_case *c, size_t bytes, int n, const double (*range)[2]) {
    float *h = kp_case_alloc(c, 'f', KP_IN, (int64_t)(bytes / sizeof(float)), 0, 1);
    for (int p = 0; p < c->P; p++)
        for (int i = 0; i < n; i++) {
            float *x = h + (size_t)p * (bytes / sizeof(float)) + i;
            *x = (float)(range[i][0] + (range[i][1] - range[i][0]) * (double)*x);
        }
    return h;
}

static void count(kp_clip_tally *tally, double *x, double bound) {
    tally->outside += fabs(*x) > bound;
    tally->non_finite += !isfinite(*x);
    if (*x > bound) *x = bound;
    if (*x < -bound) *x = -bound;
}

/* Calls rule for every element of every member; what a rule returns is clipped and counted. */
#define EACH_ELEMENT(a, x, expression)                                                             \
    memset((a)->tally, 0, (size_t)(a)->P *(size_t)(a)->n_chunks * sizeof *(a)->tally);             \
    for (int p = 0; p < (a)->P; p++)                                                               \
        for (int64_t e = 0; e < N; e++) {                                                          \
            int64_t i = (int64_t)p * N + e;                                                        \
            double g = (double)(a)->grad[i] *                                                      \
                       ((a)->grad_scale ? (double)(a)->grad_scale[p] : 1.0);                       \
            double x = (double)(a)->theta[i];                                                      \
            expression;                                                                            \
            count(&(a)->tally[i / KP_CHUNK], &x,                                                   \
                  (double)(a)->bound[p * TENSORS + (a)->tensor[e / KP_CHUNK]]);                    \
            (a)->theta[i] = (float)x;                                                              \
        }

/* The rule's terms, which follow its other hyperparameters; rows without them have constants there.
 */
static void set_terms(kp_case *c, float *hyper, size_t bytes, int at, int with) {
    for (int p = 0; p < c->P; p++) {
        float *l2 = hyper + (size_t)p * (bytes / sizeof(float)) + at;
        l2[0] = with ? 0.125f * (float)((c->first + p + 1) % 3) : 0;  /* member 2 has no L2 */
        l2[1] = with > 1 ? 0.0625f * (float)((c->first + p) % 3) : 0; /* member 0 no L2 Init */
    }
}
#define TERMS(c, a, type, with)                                                                    \
    set_terms(c, (float *)(a)->hyper, sizeof(type), (int)(offsetof(type, l2) / sizeof(float)),     \
              with);                                                                               \
    (a)->with_terms = (with) > 0;                                                                  \
    (a)->anchor = (with) > 1 ? param(c, KP_IN, -0.5, 0.5) : NULL

static double with_terms(double g, double x, const float *x0, int64_t i, float l2, float l2init) {
    return g + (double)l2 * x + (x0 ? (double)l2init * (x - (double)x0[i]) : 0);
}

static void make_adam(kp_case *c) {
    static const double range[8][2] = { { 0.8, 0.9 },   { 0.1, 0.2 },   { 0.9, 0.999 },
                                        { 0.001, 0.1 }, { 1e-8, 1e-4 }, { 0.01, 0.1 },
                                        { 1, 3 },       { 1, 1 } };
    *(kp_adam_clip_args *)c->args = (kp_adam_clip_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .n_tensors = TENSORS,
        .theta = param(c, KP_IN_OUT, -0.5, 0.5),
        .m = param(c, KP_IN_OUT, -0.1, 0.1),
        .v = param(c, KP_IN_OUT, 0, 0.1),
        .grad = param(c, KP_IN, -1, 1),
        .tensor = tensor_table(c),
        .bound = bounds(c),
        .hyper = hyper(c, sizeof(kp_adam_hyper), 8, range),
        .tally = kp_case_alloc(c, 'i', KP_OUT, 2 * CHUNKS, 0, 0),
    };
    TERMS(c, (kp_adam_clip_args *)c->args, kp_adam_hyper, 0);
}

static void make_adam_l2(kp_case *c) {
    make_adam(c);
    TERMS(c, (kp_adam_clip_args *)c->args, kp_adam_hyper, 1);
}

static void make_adam_limited(kp_case *c) {
    make_adam(c);
    ((kp_adam_clip_args *)c->args)->grad_scale = kp_case_alloc(c, 'f', KP_IN, 1, 0.1, 0.9);
}

static void make_adam_l2init(kp_case *c) {
    make_adam_limited(c);
    TERMS(c, (kp_adam_clip_args *)c->args, kp_adam_hyper, 2);
}

static void make_adamw(kp_case *c) {
    make_adam(c);
    kp_adam_clip_args *a = (void *)c->args;
    for (int p = 0; p < c->P; p++) ((kp_adam_hyper *)a->hyper)[p].decay = 0.875f;
}

static void reference_adam(const void *args) {
    const kp_adam_clip_args *a = args;
    EACH_ELEMENT(a, x, {
        kp_adam_hyper h = a->hyper[p];
        g = with_terms(g, x, a->anchor, i, h.l2, h.l2init);
        double m = (double)h.beta1 * (double)a->m[i] + (double)h.one_minus_beta1 * g;
        double v = (double)h.beta2 * (double)a->v[i] + (double)h.one_minus_beta2 * g * g;
        x = (double)h.decay * x -
            (double)h.step_size * m / (sqrt(v) * (double)h.rsqrt_bc2 + (double)h.eps);
        a->m[i] = (float)m;
        a->v[i] = (float)v;
    });
}

static void make_sgd(kp_case *c) {
    static const double range[2][2] = { { 0.01, 0.1 }, { 0, 0.99 } };
    *(kp_sgd_clip_args *)c->args = (kp_sgd_clip_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .n_tensors = TENSORS,
        .theta = param(c, KP_IN_OUT, -0.5, 0.5),
        .u = param(c, KP_IN_OUT, -1, 1),
        .grad = param(c, KP_IN, -1, 1),
        .tensor = tensor_table(c),
        .bound = bounds(c),
        .grad_scale = kp_case_alloc(c, 'f', KP_IN, 1, 0.1, 0.9),
        .hyper = hyper(c, sizeof(kp_sgd_hyper), 2, range),
        .tally = kp_case_alloc(c, 'i', KP_OUT, 2 * CHUNKS, 0, 0),
    };
    TERMS(c, (kp_sgd_clip_args *)c->args, kp_sgd_hyper, 0);
}

static void make_sgd_terms(kp_case *c) {
    make_sgd(c);
    TERMS(c, (kp_sgd_clip_args *)c->args, kp_sgd_hyper, 2);
}

static void make_sgd_plain(kp_case *c) {
    make_sgd(c);
    ((kp_sgd_clip_args *)c->args)->u = NULL;
}

static void make_sgd_plain_l2(kp_case *c) {
    make_sgd_plain(c);
    TERMS(c, (kp_sgd_clip_args *)c->args, kp_sgd_hyper, 1);
}

static void reference_sgd(const void *args) {
    const kp_sgd_clip_args *a = args;
    EACH_ELEMENT(a, x, {
        kp_sgd_hyper h = a->hyper[p];
        double u = with_terms(g, x, a->anchor, i, h.l2, h.l2init);
        if (a->u) u += (double)h.momentum * (double)a->u[i];
        x -= (double)h.step_size * u;
        if (a->u) a->u[i] = (float)u;
    });
}

static void make_rmsprop(kp_case *c) {
    static const double range[4][2] = {
        { 0.9, 0.99 }, { 0.01, 0.1 }, { 1e-8, 1e-4 }, { 0.01, 0.1 }
    };
    *(kp_rmsprop_clip_args *)c->args = (kp_rmsprop_clip_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .n_tensors = TENSORS,
        .theta = param(c, KP_IN_OUT, -0.5, 0.5),
        .v = param(c, KP_IN_OUT, 0.05, 1),
        .grad = param(c, KP_IN, -1, 1),
        .tensor = tensor_table(c),
        .bound = bounds(c),
        .hyper = hyper(c, sizeof(kp_rmsprop_hyper), 4, range),
        .tally = kp_case_alloc(c, 'i', KP_OUT, 2 * CHUNKS, 0, 0),
    };
    TERMS(c, (kp_rmsprop_clip_args *)c->args, kp_rmsprop_hyper, 0);
}

static void make_rmsprop_l2(kp_case *c) {
    make_rmsprop(c);
    TERMS(c, (kp_rmsprop_clip_args *)c->args, kp_rmsprop_hyper, 1);
}

static void make_rmsprop_centered(kp_case *c) {
    make_rmsprop(c);
    ((kp_rmsprop_clip_args *)c->args)->mean = param(c, KP_IN_OUT, -0.2, 0.2);
}

static void make_rmsprop_centered_terms(kp_case *c) {
    make_rmsprop_centered(c);
    TERMS(c, (kp_rmsprop_clip_args *)c->args, kp_rmsprop_hyper, 2);
}

static void reference_rmsprop(const void *args) {
    const kp_rmsprop_clip_args *a = args;
    EACH_ELEMENT(a, x, {
        kp_rmsprop_hyper h = a->hyper[p];
        g = with_terms(g, x, a->anchor, i, h.l2, h.l2init);
        double v = (double)h.beta * (double)a->v[i] + (double)h.one_minus_beta * g * g;
        double mean = a->mean ? (double)h.beta * (double)a->mean[i] + (double)h.one_minus_beta * g
                              : 0;
        x -= (double)h.step_size * g / (sqrt(fmax(v - mean * mean, 0)) + (double)h.eps);
        a->v[i] = (float)v;
        if (a->mean) a->mean[i] = (float)mean;
    });
}

#define RULE(c)                                                                                    \
    .P = (c)->P, .n_chunks = CHUNKS, .n_tensors = TENSORS,                                         \
    .theta = param(c, KP_IN_OUT, -0.5, 0.5), .tensor = tensor_table(c), .bound = bounds(c),        \
    .tally = kp_case_alloc(c, 'i', KP_OUT, 2 * CHUNKS, 0, 0)

static void make_madam(kp_case *c) {
    static const double range[4][2] = { { 0.01, 0.1 }, { 0.9, 0.999 }, { 0.001, 0.1 }, { 0.1, 1 } };
    *(kp_madam_clip_args *)c->args = (kp_madam_clip_args){
        RULE(c),
        .v = param(c, KP_IN_OUT, 0, 0.1),
        .grad = param(c, KP_IN, -1, 1),
        .grad_scale = kp_case_alloc(c, 'f', KP_IN, 1, 0.1, 0.9),
        .hyper = hyper(c, sizeof(kp_madam_hyper), 4, range),
    };
}

static void reference_madam(const void *args) {
    const kp_madam_clip_args *a = args;
    EACH_ELEMENT(a, x, {
        kp_madam_hyper h = a->hyper[p];
        double v = (double)h.beta * (double)a->v[i] + (double)h.one_minus_beta * g * g;
        double n = v > 0 ? fmax(fmin(g / (sqrt(v) * (double)h.rsqrt_bc), 10), -10) : 0;
        x *= exp(-(double)h.step_size * n * (x < 0 ? -1 : 1));
        a->v[i] = (float)v;
    });
}

static const double upgd_range[13][2] = {
    { 0.01, 0.1 },  { 0.9, 1 },   { 0.1, 0.5 }, { 0.9, 0.999 }, { 0.001, 0.1 },
    { 0.5, 1 },     { 0.8, 0.9 }, { 0.1, 0.2 }, { 0.9, 0.999 }, { 0.001, 0.1 },
    { 1e-4, 1e-2 }, { 0.1, 1 },   { 1, 3 },
};

static void make_utility(kp_case *c) {
    *(kp_upgd_utility_args *)c->args = (kp_upgd_utility_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .theta = param(c, KP_IN, -0.5, 0.5),
        .grad = param(c, KP_IN, -1, 1),
        .grad_scale = kp_case_alloc(c, 'f', KP_IN, 1, 0.1, 0.9),
        .utility = param(c, KP_IN_OUT, -1, 1),
        .hyper = hyper(c, sizeof(kp_upgd_hyper), 13, upgd_range),
        .largest = kp_case_alloc(c, 'f', KP_OUT, CHUNKS, 0, 0),
    };
}

static void reference_utility(const void *args) {
    const kp_upgd_utility_args *a = args;
    for (int64_t c = 0; c < (int64_t)a->P * CHUNKS; c++) {
        int p = (int)(c / CHUNKS);
        kp_upgd_hyper h = a->hyper[p];
        double largest = 0;
        for (int64_t i = c * KP_CHUNK; i < (c + 1) * KP_CHUNK; i++) {
            double g = (double)a->grad[i] * (double)a->grad_scale[p];
            double u = (double)h.beta_utility * (double)a->utility[i] -
                       (double)h.one_minus_beta_utility * g * (double)a->theta[i];
            a->utility[i] = (float)u;
            largest = fmax(largest, u);
        }
        a->largest[c] = (float)largest;
    }
}

/* Member 1's utilities are all below 0: every gate is 1/2. */
static void make_upgd(kp_case *c) {
    kp_upgd_clip_args *a = (void *)c->args;
    *a = (kp_upgd_clip_args){
        RULE(c),
        .grad = param(c, KP_IN, -1, 1),
        .utility = param(c, KP_IN, -1, 1),
        .largest = kp_case_alloc(c, 'f', KP_IN, CHUNKS, 0, 1),
        .hyper = hyper(c, sizeof(kp_upgd_hyper), 13, upgd_range),
    };
    for (int p = 0; p < c->P; p++)
        for (int k = 0; k < CHUNKS && c->first + p == 1; k++)
            ((float *)a->largest)[p * CHUNKS + k] = 0;
}

static void make_adaupgd(kp_case *c) {
    make_upgd(c);
    kp_upgd_clip_args *a = (void *)c->args;
    a->m = param(c, KP_IN_OUT, -0.1, 0.1);
    a->v = param(c, KP_IN_OUT, 0, 0.1);
    a->noise = param(c, KP_IN, -1, 1);
    a->grad_scale = kp_case_alloc(c, 'f', KP_IN, 1, 0.1, 0.9);
}

static void reference_upgd(const void *args) {
    const kp_upgd_clip_args *a = args;
    EACH_ELEMENT(a, x, {
        kp_upgd_hyper h = a->hyper[p];
        double largest = 0;
        for (int k = 0; k < CHUNKS; k++)
            largest = fmax(largest, (double)a->largest[p * CHUNKS + k]);
        double ratio = largest > 0 ? (double)a->utility[i] / (double)h.bc / largest : 0;
        if (a->m) {
            double m = (double)h.beta1 * (double)a->m[i] + (double)h.one_minus_beta1 * g;
            double v = (double)h.beta2 * (double)a->v[i] + (double)h.one_minus_beta2 * g * g;
            a->m[i] = (float)m;
            a->v[i] = (float)v;
            g = m * (double)h.inverse_bc1 / (sqrt(v) * (double)h.rsqrt_bc2 + (double)h.eps);
        }
        double noise = a->noise ? (double)h.sigma * (double)a->noise[i] : 0;
        x = (double)h.decay * x - (double)h.step_size * (g + noise) * (1 - 1 / (1 + exp(-ratio)));
    });
}

static void set_shift(kp_case *c, kp_shift_hyper *h) {
    for (int p = 0; p < c->P; p++)
        h[p] = (kp_shift_hyper){ .keep = 0.875f,
                                 .noise = 0.25f * (float)((c->first + p) % 3),
                                 .pull = 0.125f * (float)((c->first + p + 1) % 3),
                                 .takes_anchor = (uint32_t)((c->first + p) % 2) };
}

static void make_shift(kp_case *c) {
    kp_shift_clip_args *a = (void *)c->args;
    *a = (kp_shift_clip_args){
        RULE(c),
        .noise = param(c, KP_IN, -1, 1),
        .anchor = param(c, KP_IN_OUT, -1, 1),
        .hyper = kp_case_alloc(c, 'b', KP_IN, sizeof(kp_shift_hyper), 0, 1),
    };
    set_shift(c, (kp_shift_hyper *)a->hyper);
}

static void make_shrink(kp_case *c) {
    make_shift(c);
    kp_shift_clip_args *a = (void *)c->args;
    a->noise = a->anchor = NULL;
    for (int p = 0; p < c->P; p++) ((kp_shift_hyper *)a->hyper)[p].noise = 0;
    for (int p = 0; p < c->P; p++) ((kp_shift_hyper *)a->hyper)[p].pull = 0;
}

static void reference_shift(const void *args) {
    const kp_shift_clip_args *a = args;
    memset(a->tally, 0, (size_t)a->P * CHUNKS * sizeof *a->tally);
    for (int64_t i = 0; i < (int64_t)a->P * N; i++) {
        int p = (int)(i / N);
        kp_shift_hyper h = a->hyper[p];
        double x = (double)a->theta[i];
        if (a->anchor && h.takes_anchor) a->anchor[i] = a->theta[i];
        x = (double)h.keep * x + (a->noise ? (double)h.noise * (double)a->noise[i] : 0) +
            (a->anchor ? (double)h.pull * (double)a->anchor[i] : 0);
        count(&a->tally[i / KP_CHUNK], &x,
              (double)a->bound[p * TENSORS + a->tensor[i % N / KP_CHUNK]]);
        a->theta[i] = (float)x;
    }
}

/* ---- regularisers with an operation of their own ----------------------------------------------
 */

static const double penalties_range[7][2] = { { 0, 0.1 },    { 0, 0.1 },    { 0.1, 1 },
                                              { 0.9, 0.99 }, { 0.01, 0.1 }, { 0.1, 0.9 },
                                              { 0.1, 1 } };

/* with: 1 L2 and L2 Init, 2 EWC, 4 Synaptic Intelligence */
static void make_penalties(kp_case *c, int with) {
    kp_penalties_args *a = (void *)c->args;
    *a = (kp_penalties_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .theta = param(c, KP_IN, -0.5, 0.5),
        .grad = param(c, KP_IN, -1, 1),
        .hyper = hyper(c, sizeof(kp_penalties_hyper), 7, penalties_range),
        .out = kp_case_alloc(c, 'f', KP_OUT, N, 0, 0),
    };
    if (with & 1) a->anchor = param(c, KP_IN, -0.5, 0.5);
    if (with & 2) a->fisher = param(c, KP_IN_OUT, 0, 1), a->mean = param(c, KP_IN_OUT, -0.5, 0.5);
    if (with & 4) {
        a->importance = param(c, KP_IN, 0, 1);
        a->start = param(c, KP_IN, -0.5, 0.5);
        a->before = param(c, KP_IN_OUT, -0.5, 0.5);
    }
    if (with == 7) a->grad_scale = kp_case_alloc(c, 'f', KP_IN, 1, 0.1, 0.9);
    for (int p = 0; p < c->P; p++) {
        kp_penalties_hyper *h = (kp_penalties_hyper *)a->hyper + p;
        if (c->first + p == 1) h->ewc = 0;
        if (c->first + p == 2) h->si = 0;
    }
}

static void make_l2(kp_case *c) { make_penalties(c, 0); }
static void make_l2init(kp_case *c) { make_penalties(c, 1); }
static void make_ewc(kp_case *c) { make_penalties(c, 2); }
static void make_si(kp_case *c) { make_penalties(c, 4); }
static void make_all_penalties(kp_case *c) { make_penalties(c, 7); }

static void reference_penalties(const void *args) {
    const kp_penalties_args *a = args;
    for (int64_t i = 0; i < (int64_t)a->P * N; i++) {
        int p = (int)(i / N);
        kp_penalties_hyper h = a->hyper[p];
        double x = (double)a->theta[i],
               g = (double)a->grad[i] * (a->grad_scale ? (double)a->grad_scale[p] : 1);
        double out = with_terms(g, x, a->anchor, i, h.l2, h.l2init);
        if (a->fisher && h.ewc != 0) {
            double f = (double)h.decay * (double)a->fisher[i] + (double)h.one_minus_decay * g * g;
            double m = (double)a->mean[i], weight = (double)h.one_minus_decay / (double)h.bc;
            m += weight * (x - m);
            out += (double)h.ewc * f / (double)h.bc * (x - m);
            a->fisher[i] = (float)f, a->mean[i] = (float)m;
        }
        if (a->importance && h.si != 0) {
            out += (double)h.si * (double)a->importance[i] * (x - (double)a->start[i]);
            a->before[i] = (float)x;
        }
        a->out[i] = (float)out;
    }
}

static void make_path(kp_case *c) {
    *(kp_si_path_args *)c->args = (kp_si_path_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .theta = param(c, KP_IN, -0.5, 0.5),
        .before = param(c, KP_IN, -0.5, 0.5),
        .grad = param(c, KP_IN, -1, 1),
        .path = param(c, KP_IN_OUT, -1, 1),
    };
}

static void reference_path(const void *args) {
    const kp_si_path_args *a = args;
    for (int64_t i = 0; i < (int64_t)a->P * N; i++)
        a->path[i] = (float)((double)a->path[i] -
                             (double)a->grad[i] * ((double)a->theta[i] - (double)a->before[i]));
}

static void make_consolidate(kp_case *c) {
    *(kp_si_consolidate_args *)c->args = (kp_si_consolidate_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .theta = param(c, KP_IN, -0.5, 0.5),
        .xi = kp_case_alloc(c, 'f', KP_IN, 1, 0.01, 0.1),
        .path = param(c, KP_IN_OUT, -1, 1),
        .importance = param(c, KP_IN_OUT, -1, 1),
        .start = param(c, KP_IN_OUT, -0.5, 0.5),
    };
}

static void reference_consolidate(const void *args) {
    const kp_si_consolidate_args *a = args;
    for (int64_t i = 0; i < (int64_t)a->P * N; i++) {
        double d = (double)a->theta[i] - (double)a->start[i], xi = (double)a->xi[i / N];
        a->importance[i] = (float)((double)a->importance[i] + (double)a->path[i] / (d * d + xi));
        a->path[i] = 0, a->start[i] = a->theta[i];
    }
}

/* ---- noise -------------------------------------------------------------------------------------
 */

/* A matrix in PyTorch's order, one whose columns lie elsewhere, rows padded to 24, and two that are
 * 1-D; odd numbers of columns and outputs. */
enum { NOISE_TENSORS = 4, NOISE_COLUMNS = 7 + 10 + 1 + 1, NOISE_N = 3 * KP_CHUNK };

static void make_noise(kp_case *c, kp_noise_kind kind, int as_initialiser, int draw) {
    static const kp_noise_tensor tensors[NOISE_TENSORS] = {
        { .offset = 0, .out_stride = 7, .n_out = 37, .n_in = 7, .init_bound = 0.5f },
        { .offset = 400,
          .out_stride = 1,
          .n_out = 19,
          .n_in = 10,
          .column = 7,
          .first_group = 2,
          .first_block = 74,
          .init_bound = 0.25f },
        { .offset = 1024,
          .out_stride = 1,
          .n_out = 1000,
          .n_in = 1,
          .column = 17,
          .first_group = 5,
          .first_block = 131,
          .init_value = 1 },
        { .offset = 2048,
          .n_out = 1,
          .n_in = 1,
          .column = 18,
          .first_group = 6,
          .first_block = 1131,
          .init_bound = 2 },
    };
    kp_noise_args *a = (void *)c->args;
    *a = (kp_noise_args){ .P = c->P,
                          .n_tensors = NOISE_TENSORS,
                          .n_groups = 7,
                          .n_blocks = 1132,
                          .N = NOISE_N,
                          .kind = kind,
                          .as_initialiser = as_initialiser,
                          .draw = draw };
    a->tensor = memcpy(kp_case_shared(c, 'b', sizeof tensors, 0, 1), tensors, sizeof tensors);
    int32_t *place = kp_case_shared(c, 'i', NOISE_COLUMNS, 0, 1);
    for (int k = 0; k < 7; k++) place[k] = k;
    for (int k = 0; k < 10; k++) place[7 + k] = 24 * (k * 3 % 10);
    place[17] = place[18] = 0;
    a->place = place;
    kp_noise_hyper *h = kp_case_alloc(c, 'b', KP_IN, sizeof *h, 0, 1);
    for (int p = 0; p < c->P; p++)
        h[p] = (kp_noise_hyper){ .seed = 1234567890123u + (uint64_t)(c->first + p),
                                 .step = (int64_t)5000000000 * (c->first + p),
                                 .wanted = c->first + p == 1 ? 1u : 3u };
    a->hyper = h;
    a->noise = kp_case_alloc(c, 'f', KP_IN_OUT, NOISE_N, 0, 1);
}

static void make_normal(kp_case *c) { make_noise(c, KP_NOISE_RANDOM, 0, 0); }
static void make_initialiser(kp_case *c) { make_noise(c, KP_NOISE_RANDOM, 1, 1); }
static void make_hash(kp_case *c) { make_noise(c, KP_NOISE_HASH, 0, 0); }
static void make_hash_initialiser(kp_case *c) { make_noise(c, KP_NOISE_HASH, 1, 1); }

static double hash_noise(int64_t step, int tensor, int64_t element, int draw) {
    uint64_t z = ((uint64_t)(step * NOISE_TENSORS + tensor) << 32) + (uint64_t)element;
    z += (uint64_t)draw << 31;
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return ((double)(z >> 40) - 8388608) / 8388608;
}

/* Element by element, with libm. */
static double noise_at(const kp_noise_args *a, const kp_noise_hyper *h, int tensor,
                       int64_t element) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    int64_t out = element / t->n_in, column = element % t->n_in;
    double bound = a->as_initialiser ? (double)t->init_bound : 1,
           value = a->as_initialiser ? (double)t->init_value : 0;
    if (a->kind == KP_NOISE_HASH)
        return hash_noise(h->step, tensor, element, a->draw) * bound + value;
    uint64_t block = (uint64_t)(out * ((t->n_in + 3) / 4) + column / 4);
    kp_philox_block b = kp_philox(h->seed, 7u + ((uint32_t)a->draw << 8) + ((uint32_t)tensor << 16),
                                  ((uint64_t)h->step << 30) + block);
    if (a->as_initialiser)
        return (2 * (double)(b.x[column % 4] >> 8) / 16777216 - 1) * bound + value;
    double u = ((double)(b.x[column % 4 & 2] >> 8) + 1) / 16777216,
           angle = 2 * acos(-1) * (double)(b.x[(column % 4) | 1] >> 8) / 16777216;
    return sqrt(-2 * log(u)) * (column % 2 ? sin(angle) : cos(angle));
}

static void reference_noise(const void *args) {
    const kp_noise_args *a = args;
    for (int p = 0; p < a->P; p++)
        for (int i = 0; i < NOISE_TENSORS && a->hyper[p].wanted >> a->draw & 1u; i++) {
            const kp_noise_tensor *t = &a->tensor[i];
            for (int64_t e = 0; e < (int64_t)t->n_out * t->n_in; e++)
                a->noise[p * NOISE_N + t->offset + e / t->n_in * t->out_stride +
                         a->place[t->column + e % t->n_in]] = (float)noise_at(a, &a->hyper[p], i,
                                                                              e);
        }
}

/* ---- the next update of a block ---------------------------------------------------------------
 */

static void make_begin(kp_case *c) {
    enum { BLOCK = 7 };
    static const int words[KP_BEGIN_FEEDS] = { 12, 4, 70, 1 };
    kp_optim_begin_args *a = (void *)c->args;
    *a = (kp_optim_begin_args){ .P = c->P, .block = BLOCK };
    a->cursor = kp_case_alloc(c, 'i', KP_IN_OUT, 1, -1, BLOCK - 1);
    for (int f = 0; f < KP_BEGIN_FEEDS; f++)
        a->feed[f] = (kp_begin_feed){
            .from = kp_case_alloc(c, 'f', KP_IN, (int64_t)BLOCK * words[f], 0, 1),
            .to = kp_case_alloc(c, 'f', KP_IN_OUT, words[f], 0, 1),
            .words = words[f],
        };
}

static void make_begin_one(kp_case *c) {
    make_begin(c);
    memset(((kp_optim_begin_args *)c->args)->feed + 1, 0, 3 * sizeof(kp_begin_feed));
}

static void reference_begin(const void *args) {
    const kp_optim_begin_args *a = args;
    for (int p = 0; p < a->P; p++) {
        a->cursor[p]++;
        for (int f = 0; f < KP_BEGIN_FEEDS && a->feed[f].words; f++) {
            int n = a->feed[f].words;
            memcpy(a->feed[f].to + p * n, a->feed[f].from + (p * a->block + a->cursor[p]) * n,
                   (size_t)n * sizeof(float));
        }
    }
}

/* ---- sums over chunks ------------------------------------------------------------------------ */

static void make_norm_chunks(kp_case *c) {
    *(kp_grad_norm_chunks_args *)c->args = (kp_grad_norm_chunks_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .grad = param(c, KP_IN, -1, 1),
        .partial = kp_case_alloc(c, 'd', KP_OUT, CHUNKS, 0, 0),
    };
}

static void reference_norm_chunks(const void *args) {
    const kp_grad_norm_chunks_args *a = args;
    for (int64_t c = 0; c < (int64_t)a->P * CHUNKS; c++) {
        a->partial[c] = 0;
        for (int i = 0; i < KP_CHUNK; i++)
            a->partial[c] += (double)a->grad[c * KP_CHUNK + i] * (double)a->grad[c * KP_CHUNK + i];
    }
}

static void make_norm_scale(kp_case *c) {
    *(kp_grad_norm_scale_args *)c->args = (kp_grad_norm_scale_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .partial = kp_case_alloc(c, 'd', KP_IN, CHUNKS, 0, 2),
        .limit = kp_case_alloc(c, 'f', KP_IN, 1, 0.5, 10),
        .norm = kp_case_alloc(c, 'f', KP_OUT, 1, 0, 0),
        .scale = kp_case_alloc(c, 'f', KP_OUT, 1, 0, 0),
    };
}

static void reference_norm_scale(const void *args) {
    const kp_grad_norm_scale_args *a = args;
    for (int p = 0; p < a->P; p++) {
        double sum = 0;
        for (int c = 0; c < CHUNKS; c++) sum += a->partial[p * CHUNKS + c];
        a->norm[p] = (float)sqrt(sum);
        a->scale[p] = (float)fmin(1, (double)a->limit[p] / (sqrt(sum) + 1e-6));
    }
}

static void make_tally_sum(kp_case *c) {
    *(kp_tally_sum_args *)c->args = (kp_tally_sum_args){
        .P = c->P,
        .n_chunks = CHUNKS,
        .n_tensors = TENSORS,
        .tensor = tensor_table(c),
        .tally = kp_case_alloc(c, 'i', KP_IN, 2 * CHUNKS, 0, 1024),
        .total = kp_case_alloc(c, 'i', KP_IN_OUT, 4 * TENSORS, 0, 1 << 30),
    };
}

static void reference_tally_sum(const void *args) {
    const kp_tally_sum_args *a = args;
    for (int p = 0; p < a->P; p++)
        for (int t = 0; t < TENSORS; t++) {
            kp_tensor_tally *total = &a->total[p * TENSORS + t];
            total->non_finite = 0;
            for (int c = first_chunk[t]; c < first_chunk[t + 1]; c++) {
                total->outside += a->tally[p * CHUNKS + c].outside;
                total->non_finite += a->tally[p * CHUNKS + c].non_finite;
            }
        }
}

/* ---- copy and stacks ------------------------------------------------------------------------- */

static void make_copy(kp_case *c, int64_t n) {
    *(kp_copy_args *)c->args = (kp_copy_args){
        .P = c->P,
        .n = n,
        .from = kp_case_alloc(c, 'f', KP_IN, n, -1, 1),
        .to = kp_case_alloc(c, 'f', KP_IN_OUT, n, -1, 1),
    };
}

static void make_copy_odd(kp_case *c) { make_copy(c, 65536 * 2 + 321); }
static void make_copy_params(kp_case *c) { make_copy(c, 5 * KP_CHUNK); }

static void reference_copy(const void *args) {
    const kp_copy_args *a = args;
    for (int64_t i = 0; i < a->P * a->n; i++) a->to[i] = a->from[i];
}

enum { FRAMES = 6 };

static void make_stack(kp_case *c, int h, int w, int stack, int divide) {
    enum { B = 5 };
    kp_image out = { h, w, stack, 2, 1, 0, 3 };
    *(kp_gather_stack_args *)c->args = (kp_gather_stack_args){
        .P = c->P,
        .B = B,
        .stack = stack,
        .out = out,
        .divide = divide,
        .frames = kp_case_alloc(c, 'b', KP_IN, FRAMES * out.h * out.w, 0, 256),
        .frames_stride = FRAMES * out.h * out.w,
        .index = kp_case_alloc(c, 'l', KP_IN, B * stack, -2, FRAMES), /* below 0: zeros */
        .y = kp_case_alloc(c, 'f', KP_OUT, B * kp_image_floats(out), 0, 0),
    };
}

static void make_stack4(kp_case *c) { make_stack(c, 9, 11, 4, 1); }
static void make_stack4_plain(kp_case *c) { make_stack(c, 9, 12, 4, 0); }
static void make_stack4_large(kp_case *c) { make_stack(c, 42, 38, 4, 1); }
static void make_stack3(kp_case *c) { make_stack(c, 9, 12, 3, 1); }

static void reference_stack(const void *args) {
    const kp_gather_stack_args *a = args;
    for (int i = 0; i < a->P * a->B; i++)
        for (int k = 0; k < a->stack; k++)
            for (int y = 0; y < a->out.h; y++)
                for (int x = 0; x < a->out.w; x++) {
                    int64_t f = a->index[i * a->stack + k];
                    const uint8_t *frames = a->frames + (i / a->B) * a->frames_stride;
                    double v = f < 0 ? 0 : frames[(f * a->out.h + y) * a->out.w + x];
                    a->y[i * kp_image_floats(a->out) + kp_image_at(a->out, y, x) + k] =
                        (float)(a->divide ? v / 255 : v);
                }
}

/* ---- TD loss --------------------------------------------------------------------------------- */

static void make_td(kp_case *c, int B, int A, kp_td_kind kind, int is_double, int weighted) {
    *(kp_td_loss_args *)c->args = (kp_td_loss_args){
        .P = c->P,
        .B = B,
        .A = A,
        .kind = kind,
        .q = kp_case_alloc(c, 'f', KP_IN, B * A, -2, 2),
        .q_next = kp_case_alloc(c, 'f', KP_IN, B * A, -2, 2),
        .q_next_online = is_double ? kp_case_alloc(c, 'f', KP_IN, B * A, -2, 2) : NULL,
        .action = kp_case_alloc(c, 'i', KP_IN, B, 0, A),
        .reward = kp_case_alloc(c, 'f', KP_IN, B, -1, 1),
        .discount = kp_case_alloc(c, 'f', KP_IN, B, 0, 1),
        .weight = weighted ? kp_case_alloc(c, 'f', KP_IN, B, 0, 1) : NULL,
        .dq = kp_case_alloc(c, 'f', KP_OUT, B * A, 0, 0),
        .td = kp_case_alloc(c, 'f', KP_OUT, B, 0, 0),
        .loss = kp_case_alloc(c, 'f', KP_OUT, 1, 0, 0),
    };
}

static void make_td_mse(kp_case *c) { make_td(c, 32, 6, KP_MSE, 0, 0); }
static void make_td_huber(kp_case *c) { make_td(c, 32, 6, KP_HUBER, 1, 1); }
static void make_td_large(kp_case *c) { make_td(c, 300, 3, KP_HUBER, 0, 1); }

static void reference_td(const void *args) {
    const kp_td_loss_args *a = args;
    for (int p = 0; p < a->P; p++) {
        double loss = 0;
        for (int i = p * a->B; i < (p + 1) * a->B; i++) {
            const float *choose = a->q_next_online ? a->q_next_online : a->q_next;
            int best = 0;
            for (int k = 1; k < a->A; k++)
                if (choose[i * a->A + k] > choose[i * a->A + best]) best = k;
            double target = (double)a->reward[i] +
                            (double)a->discount[i] * (double)a->q_next[i * a->A + best];
            double e = (double)a->q[i * a->A + a->action[i]] - target;
            double w = (a->weight ? (double)a->weight[i] : 1) / a->B;
            int linear = a->kind == KP_HUBER && fabs(e) > 1;
            double half = a->kind == KP_HUBER ? 0.5 : 1;
            loss += w * (linear ? fabs(e) - 0.5 : half * e * e);
            for (int k = 0; k < a->A; k++)
                a->dq[i * a->A + k] = k != a->action[i]
                                          ? 0
                                          : (float)(w * (linear ? copysign(1, e) : 2 * half * e));
            a->td[i] = (float)e;
        }
        a->loss[p] = (float)loss;
    }
}

static void make_td_stats(kp_case *c, int B, int A) {
    kp_td_sums *sums = kp_case_alloc(c, 'd', KP_IN_OUT, sizeof *sums / sizeof(double), 0, 100);
    for (int p = 0; p < c->P; p++) sums[p].n = 41;
    *(kp_td_stats_args *)c->args = (kp_td_stats_args){
        .P = c->P,
        .B = B,
        .A = A,
        .q = kp_case_alloc(c, 'f', KP_IN, B * A, -2, 2),
        .loss = kp_case_alloc(c, 'f', KP_IN, 1, 0, 2),
        .sums = sums,
    };
}

static void make_td_stats_atari(kp_case *c) { make_td_stats(c, 32, 6); }
static void make_td_stats_large(kp_case *c) { make_td_stats(c, 300, 3); }

static void reference_td_stats(const void *args) {
    const kp_td_stats_args *a = args;
    for (int p = 0; p < a->P; p++) {
        double sum = 0;
        for (int i = p * a->B; i < (p + 1) * a->B; i++) {
            double best = -INFINITY;
            for (int k = 0; k < a->A; k++) best = fmax(best, (double)a->q[i * a->A + k]);
            sum += best;
        }
        a->sums[p].loss += (double)a->loss[p];
        a->sums[p].q_max += sum / a->B;
        a->sums[p].n = 42;
    }
}

/* ---- supervised losses ----------------------------------------------------------------------- */

static void make_xent(kp_case *c, int B, int n, double spread) {
    *(kp_softmax_xent_args *)c->args = (kp_softmax_xent_args){
        .P = c->P,
        .B = B,
        .n_classes = n,
        .z = kp_case_alloc(c, 'f', KP_IN, (int64_t)B * n, -spread, spread),
        .label = kp_case_alloc(c, 'i', KP_IN, B, 0, n),
        .dz = kp_case_alloc(c, 'f', KP_OUT, (int64_t)B * n, 0, 0),
        .loss = kp_case_alloc(c, 'f', KP_OUT, 1, 0, 0),
    };
}

static void make_xent_digits(kp_case *c) { make_xent(c, 32, 10, 4); }
static void make_xent_wide(kp_case *c) { make_xent(c, 5, 37, 100); }
static void make_xent_large(kp_case *c) { make_xent(c, 200, 3, 4); }

static void reference_xent(const void *args) {
    const kp_softmax_xent_args *a = args;
    for (int p = 0; p < a->P; p++) {
        double loss = 0;
        for (int i = p * a->B; i < (p + 1) * a->B; i++) {
            const float *z = a->z + (int64_t)i * a->n_classes;
            double sum = 0, label = (double)z[a->label[i]];
            for (int k = 0; k < a->n_classes; k++) sum += exp((double)z[k] - label);
            for (int k = 0; k < a->n_classes; k++)
                a->dz[(int64_t)i * a->n_classes + k] =
                    (float)((exp((double)z[k] - label) / sum - (k == a->label[i])) / a->B);
            loss += log(sum) / a->B;
        }
        a->loss[p] = (float)loss;
    }
}

static void make_squared_error(kp_case *c, int B, int outputs) {
    *(kp_squared_error_args *)c->args = (kp_squared_error_args){
        .P = c->P,
        .B = B,
        .n_outputs = outputs,
        .y = kp_case_alloc(c, 'f', KP_IN, B * outputs, -2, 2),
        .target = kp_case_alloc(c, 'f', KP_IN, B * outputs, -2, 2),
        .dy = kp_case_alloc(c, 'f', KP_OUT, B * outputs, 0, 0),
        .loss = kp_case_alloc(c, 'f', KP_OUT, 1, 0, 0),
    };
}

static void make_squared_error_small(kp_case *c) { make_squared_error(c, 17, 3); }
static void make_squared_error_large(kp_case *c) { make_squared_error(c, 30, 11); }

static void reference_squared_error(const void *args) {
    const kp_squared_error_args *a = args;
    int n = a->B * a->n_outputs;
    for (int p = 0; p < a->P; p++) {
        double loss = 0;
        for (int i = p * n; i < (p + 1) * n; i++) {
            double e = (double)a->y[i] - (double)a->target[i];
            loss += e * e / n;
            a->dy[i] = (float)(2 * e / n);
        }
        a->loss[p] = (float)loss;
    }
}

const kp_op_row kp_element_rows[] = {
    { "adam_clip", KP_OP_adam_clip, make_adam, reference_adam, 1e-6 },
    { "adam_clip with a gradient limit", KP_OP_adam_clip, make_adam_limited, reference_adam, 1e-6 },
    { "adam_clip with decay", KP_OP_adam_clip, make_adamw, reference_adam, 1e-6 },
    { "adam_clip with L2", KP_OP_adam_clip, make_adam_l2, reference_adam, 1e-6 },
    { "adam_clip with L2 Init and a limit", KP_OP_adam_clip, make_adam_l2init, reference_adam,
      1e-6 },
    { "sgd_clip", KP_OP_sgd_clip, make_sgd, reference_sgd, 1e-6 },
    { "sgd_clip with L2 and L2 Init", KP_OP_sgd_clip, make_sgd_terms, reference_sgd, 1e-6 },
    { "sgd_clip without momentum", KP_OP_sgd_clip, make_sgd_plain, reference_sgd, 1e-6 },
    { "sgd_clip without momentum, L2", KP_OP_sgd_clip, make_sgd_plain_l2, reference_sgd, 1e-6 },
    { "rmsprop_clip", KP_OP_rmsprop_clip, make_rmsprop, reference_rmsprop, 1e-6 },
    { "rmsprop_clip with L2", KP_OP_rmsprop_clip, make_rmsprop_l2, reference_rmsprop, 1e-6 },
    { "rmsprop_clip centered, L2 and L2 Init", KP_OP_rmsprop_clip, make_rmsprop_centered_terms,
      reference_rmsprop, 1e-6 },
    { "madam_clip", KP_OP_madam_clip, make_madam, reference_madam, 1e-6 },
    { "upgd_utility", KP_OP_upgd_utility, make_utility, reference_utility, 1e-6 },
    { "upgd_clip", KP_OP_upgd_clip, make_upgd, reference_upgd, 1e-6 },
    { "upgd_clip with Adam's direction and noise", KP_OP_upgd_clip, make_adaupgd, reference_upgd,
      1e-6 },
    { "shift_clip", KP_OP_shift_clip, make_shift, reference_shift, 1e-6 },
    { "shift_clip, shrinking only", KP_OP_shift_clip, make_shrink, reference_shift, 1e-6 },
    { "penalties: L2", KP_OP_penalties, make_l2, reference_penalties, 1e-6 },
    { "penalties: L2 and L2 Init", KP_OP_penalties, make_l2init, reference_penalties, 1e-6 },
    { "penalties: EWC", KP_OP_penalties, make_ewc, reference_penalties, 1e-6 },
    { "penalties: Synaptic Intelligence", KP_OP_penalties, make_si, reference_penalties, 1e-6 },
    { "penalties: all, with a limit", KP_OP_penalties, make_all_penalties, reference_penalties,
      1e-6 },
    { "si_path", KP_OP_si_path, make_path, reference_path, 1e-6 },
    { "si_consolidate", KP_OP_si_consolidate, make_consolidate, reference_consolidate, 1e-6 },
    { "noise, normal", KP_OP_noise, make_normal, reference_noise, 1e-6 },
    { "noise as initialisers draw", KP_OP_noise, make_initialiser, reference_noise, 0 },
    { "noise from the hash", KP_OP_noise, make_hash, reference_noise, 0 },
    { "noise from the hash, as initialisers draw", KP_OP_noise, make_hash_initialiser,
      reference_noise, 0 },
    { "optim_begin", KP_OP_optim_begin, make_begin, reference_begin, 0 },
    { "optim_begin of one feed", KP_OP_optim_begin, make_begin_one, reference_begin, 0 },
    { "rmsprop_clip centered", KP_OP_rmsprop_clip, make_rmsprop_centered, reference_rmsprop, 1e-6 },
    { "grad_norm_chunks", KP_OP_grad_norm_chunks, make_norm_chunks, reference_norm_chunks, 1e-13 },
    { "grad_norm_scale", KP_OP_grad_norm_scale, make_norm_scale, reference_norm_scale, 1e-6 },
    { "tally_sum", KP_OP_tally_sum, make_tally_sum, reference_tally_sum, 0 },
    { "copy", KP_OP_copy, make_copy_params, reference_copy, 0 },
    { "copy of an odd size", KP_OP_copy, make_copy_odd, reference_copy, 0 },
    { "gather_stack of 4, / 255", KP_OP_gather_stack, make_stack4, reference_stack, 0 },
    { "gather_stack of 4, large frames", KP_OP_gather_stack, make_stack4_large, reference_stack,
      0 },
    { "gather_stack of 4", KP_OP_gather_stack, make_stack4_plain, reference_stack, 0 },
    { "gather_stack of 3, / 255", KP_OP_gather_stack, make_stack3, reference_stack, 0 },
    { "td_loss, squared error", KP_OP_td_loss, make_td_mse, reference_td, 1e-6 },
    { "td_loss, Huber, double, weighted", KP_OP_td_loss, make_td_huber, reference_td, 1e-6 },
    { "td_loss, many samples", KP_OP_td_loss, make_td_large, reference_td, 1e-6 },
    { "td_stats", KP_OP_td_stats, make_td_stats_atari, reference_td_stats, 0 },
    { "td_stats, many samples", KP_OP_td_stats, make_td_stats_large, reference_td_stats, 0 },
    { "softmax_xent of 10 classes", KP_OP_softmax_xent, make_xent_digits, reference_xent, 1e-6 },
    { "softmax_xent, logits far apart", KP_OP_softmax_xent, make_xent_wide, reference_xent, 1e-6 },
    { "softmax_xent, many samples", KP_OP_softmax_xent, make_xent_large, reference_xent, 1e-6 },
    { "squared_error", KP_OP_squared_error, make_squared_error_small, reference_squared_error,
      1e-6 },
    { "squared_error, many outputs", KP_OP_squared_error, make_squared_error_large,
      reference_squared_error, 1e-6 },
    { 0 },
};
