/* units.h: hidden units of small networks (mlp/mlp.h) that begin again, after an update and its clip.
 *
 * cbp: continual backprop (Dohare et al. 2024, "Loss of plasticity in deep continual learning", Nature
 * 632, algorithm 1 and equation 1; 2108.06325). After every sample, layer by layer from the first:
 *
 *     age += 1
 *     utility = decay utility + (1 - decay) |h| sum over k of |w_k|     h: the unit's output on the sample,
 *                                                                       w: its outgoing weights, updated
 *     owed += rate (units older than maturity);  while owed >= 1: one of these is replaced, owed -= 1
 *
 * the one with the least utility / (1 - decay^age), of equals the first. What it gave on average stays:
 * next layer's bias += w mean(h), mean(h) being a running average corrected likewise. The article's utility
 * is the contribution alone, which is taken here, and not 2108.06325's, less the mean output and over the
 * incoming weights. Bias and correction are in 2108.06325 and in the authors' gnt.py, the article leaves
 * them out. (gnt.py means to correct the bias too, but sets mean(h) to 0 just before, so does not.)
 *
 * redo: Sokar et al. 2023, "The dormant neuron phenomenon in deep reinforcement learning". After every
 * `every` samples, the units whose mean |h| over these is at most tau times their layer's mean of it are
 * replaced: in a layer that gave nothing, all.
 *
 * A unit that is replaced has incoming weights drawn anew from their tensor's initialiser, bias 0 (as in
 * both authors' code, whatever the initialiser draws; the articles do not say), gain 1 and shift 0 of layer
 * norm, all clipped to their bounds, and outgoing weights 0; moments of all these are 0, their anchors what
 * the weights are. Layers follow each other from the first, so what leads from one new unit to another is
 * drawn, as in the article's algorithm; redo's code has zeros there.
 *
 * A unit of CReLU has two outputs: contributions and |h| are their sums. Outputs that are 0 contribute 0.
 * A unit that is NaN is never replaced: it would hide that its member has diverged. */
#pragma once
#include "base/philox.h"
#include "clip.h"
#include "mlp/mlp.h"

enum { KP_UNITS_MOMENTS = 12, KP_UNITS_ANCHORS = 3 };

/* Which numbers new weights are: input j of the n-th replacement of a member, from 0, is drawn by word
 * j % 4 of block (seed, KP_STREAM_UNITS, method << 62 | n << 20 | j / 4). */
typedef enum { KP_UNITS_CBP, KP_UNITS_REDO } kp_units_method;

typedef struct {
    kp_mlp_shape shape;
    float init_bound[KP_MLP_LAYERS]; /* layer's weights are drawn from U(-init_bound, +init_bound) */
    const uint64_t *seed;            /* [P] */
    const float *bound;              /* [P][n_tensors] INFINITY: not clipped */
    float *theta;                    /* [P][N] */
    int n_moments, n_anchors;
    float *moment[KP_UNITS_MOMENTS]; /* [P][N] each: 0 where a weight begins again */
    float *anchor[KP_UNITS_ANCHORS]; /* [P][N] each: theta there */
    int64_t *replaced;               /* [P] units so far */
} kp_units_net;

typedef struct KP_ALIGN16 {
    double rate; /* 0: the member is left alone */
    int64_t maturity;
    float decay, one_minus_decay;
} kp_cbp_hyper;

/* n_out: kp_units_outputs * n_hidden; of a layer the outputs lie as in its x. */
typedef struct {
    int P;
    kp_units_net net;
    const float *work;         /* [P][kp_mlp_work] x is read, as mlp_gradient left it */
    const kp_cbp_hyper *hyper; /* [P] */
    float *utility;            /* [P][n_hidden] */
    float *mass;               /* [P][n_hidden] 1 - decay^age, as a running average of 1 */
    float *mean;               /* [P][n_out] of h */
    int64_t *age;              /* [P][n_hidden] samples */
    double *owed;              /* [P][KP_MLP_LAYERS] units */
} kp_cbp_args;

typedef struct {
    int P;
    kp_units_net net;
    int64_t every;     /* >= 1 */
    const float *work; /* [P][kp_mlp_work] x is read, as mlp_gradient left it */
    const double *tau; /* [P] */
    double *sum;       /* [P][n_hidden] of |h| since the latest check */
    int64_t *seen;     /* [P] samples since then */
} kp_redo_args;

KP_HD int kp_units_outputs(const kp_mlp_shape *s) { return s->activation == KP_MLP_CRELU ? 2 : 1; }

/* The first unit of layer l among the hidden units. */
KP_HD int kp_units_first(const kp_mlp_shape *s, int l) {
    int n = 0;
    for (int k = 0; k < l; k++) n += s->out[k];
    return n;
}

/* ---- a unit that begins again ------------------------------------------------------------------ */

KP_HD float kp_units_bound(const kp_units_net *u, int member, int tensor) {
    return u->bound[(int64_t)member * u->shape.n_tensors + tensor];
}

/* at: from the start of theta. */
KP_HD void kp_units_put(const kp_units_net *u, int64_t at, float x, float bound) {
    u->theta[at] = x = kp_clip(x, bound);
    for (int i = 0; i < u->n_moments; i++) u->moment[i][at] = 0.0f;
    for (int i = 0; i < u->n_anchors; i++) u->anchor[i][at] = x;
}

/* Unit o of layer l: incoming weight j. Not b.x[j % 4]: on a GPU it would lie in local memory. */
KP_HD void kp_units_draw(const kp_units_net *u, kp_units_method method, int member, int l, int o, int64_t n,
                         int j) {
    const kp_mlp_shape *s = &u->shape;
    const kp_philox_block b = kp_philox(u->seed[member], KP_STREAM_UNITS,
                                        (uint64_t)method << 62 | (uint64_t)n << 20 | (uint64_t)j / 4);
    const uint32_t word = j & 2 ? (j & 1 ? b.x[3] : b.x[2]) : j & 1 ? b.x[1] : b.x[0];
    kp_units_put(u, member * s->N + s->weight[l] + (int64_t)j * s->row[l] + o,
                 kp_uniform_within(word, u->init_bound[l]),
                 kp_units_bound(u, member, s->tensor[l]));
}

/* What it has beside weights. */
KP_HD void kp_units_put_own(const kp_units_net *u, int member, int l, int o) {
    const kp_mlp_shape *s = &u->shape;
    const int64_t at = member * s->N + o;
    const int t = s->tensor[l];
    kp_units_put(u, at + s->bias[l], 0.0f, kp_units_bound(u, member, t + 1));
    if (s->gain[l] < 0) return;
    kp_units_put(u, at + s->gain[l], 1.0f, kp_units_bound(u, member, t + 2));
    kp_units_put(u, at + s->shift[l], 0.0f, kp_units_bound(u, member, t + 3));
}

/* Outgoing weight to unit k, of each output. */
KP_HD int64_t kp_units_out(const kp_mlp_shape *s, int l, int o, int output, int k) {
    return s->weight[l + 1] + ((int64_t)output * s->out[l] + o) * s->row[l + 1] + k;
}
KP_HD void kp_units_zero_out(const kp_units_net *u, int member, int l, int o, int k) {
    const kp_mlp_shape *s = &u->shape;
    for (int i = 0; i < kp_units_outputs(s); i++)
        kp_units_put(u, member * s->N + kp_units_out(s, l, o, i, k), 0.0f, INFINITY);
}

/* ---- cbp --------------------------------------------------------------------------------------- */

/* What a member's state has of layer l. */
typedef struct {
    const float *x, *w; /* outputs; their weights, [kp_units_outputs][out][row of the next layer] */
    float *utility, *mass, *mean;
    int64_t *age;
    double *owed;
} kp_cbp_layer;

KP_HD kp_cbp_layer kp_cbp_layer_of(const kp_cbp_args *a, int member, int l) {
    const kp_mlp_shape *s = &a->net.shape;
    const int64_t first = (int64_t)member * s->n_hidden + kp_units_first(s, l);
    kp_cbp_layer c = {
        a->work + member * kp_mlp_work(s) + kp_mlp_x(s, l + 1),
        a->net.theta + member * s->N + s->weight[l + 1],
        a->utility + first,
        a->mass + first,
        a->mean + first * kp_units_outputs(s),
        a->age + first,
        a->owed + (int64_t)member * KP_MLP_LAYERS + l,
    };
    return c;
}

KP_HD float kp_cbp_average(float average, float x, kp_cbp_hyper h) {
    return fmaf(h.decay, average, h.one_minus_decay * x);
}

/* One more sample for unit o; returns whether it is mature. */
KP_HD int kp_cbp_count(kp_cbp_layer c, int o, float contribution, kp_cbp_hyper h) {
    c.utility[o] = kp_cbp_average(c.utility[o], contribution, h);
    c.mass[o] = kp_cbp_average(c.mass[o], 1.0f, h);
    return ++c.age[o] > h.maturity;
}

/* Who is to be replaced; unit -1: nobody. */
typedef struct {
    float utility;
    int unit;
} kp_cbp_pick;

KP_HD kp_cbp_pick kp_cbp_candidate(kp_cbp_layer c, int o, kp_cbp_hyper h) {
    kp_cbp_pick pick = { c.utility[o] / c.mass[o], o };
    if (c.age[o] <= h.maturity || isnan(pick.utility)) pick.unit = -1;
    return pick;
}
KP_HD kp_cbp_pick kp_cbp_lesser(kp_cbp_pick a, kp_cbp_pick b) {
    if (a.unit < 0 || b.unit < 0) return a.unit < 0 ? b : a;
    return b.utility < a.utility || (b.utility == a.utility && b.unit < a.unit) ? b : a;
}

/* Before o is replaced: its mean outputs, corrected. */
KP_HD void kp_cbp_correct(const kp_mlp_shape *s, kp_cbp_layer c, int l, int o) {
    for (int i = 0; i < kp_units_outputs(s); i++) c.mean[i * s->out[l] + o] /= c.mass[o];
}

/* The bias of unit k of the next layer takes over the average of what o gave it. */
KP_HD void kp_cbp_keep_mean(const kp_cbp_args *a, kp_cbp_layer c, int member, int l, int o, int k) {
    const kp_mlp_shape *s = &a->net.shape;
    float *theta = a->net.theta + member * s->N, *b = theta + s->bias[l + 1] + k;
    for (int i = 0; i < kp_units_outputs(s); i++)
        *b = fmaf(theta[kp_units_out(s, l, o, i, k)], c.mean[i * s->out[l] + o], *b);
    *b = kp_clip(*b, kp_units_bound(&a->net, member, s->tensor[l + 1] + 1));
}

KP_HD void kp_cbp_forget(const kp_cbp_args *a, kp_cbp_layer c, int member, int l, int o) {
    const kp_mlp_shape *s = &a->net.shape;
    for (int i = 0; i < kp_units_outputs(s); i++) c.mean[i * s->out[l] + o] = 0.0f;
    c.utility[o] = c.mass[o] = 0.0f;
    c.age[o] = 0;
    *c.owed -= 1.0;
    a->net.replaced[member]++;
}

/* ---- redo -------------------------------------------------------------------------------------- */

/* n times the largest sum of a unit of n that is dormant. */
KP_HD double kp_redo_most(const double *sum, int n, double tau) {
    double all = 0.0;
    for (int o = 0; o < n; o++) all += sum[o];
    return tau * all;
}

KP_CUDA_C kp_status kp_cbp_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
KP_CUDA_C kp_status kp_redo_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
