/* mlp_rows.h: passes over the rows of one layer's weights, in registers from load to store:
 *
 *     KP_MLP_BACK     dx_j = w_j . d                  with the weights as they come
 *     KP_MLP_UPDATE   w_j = clip(rule(w_j, x_j d))    and the rule's state
 *     KP_MLP_NEXT     z += next_j w_j                 with the weights as they leave
 *     KP_MLP_AFTER    after += x_j w_j                likewise
 *
 * What a pass does, its rule and how many rows it takes at once are constants of an inlined function, so
 * that each combination is a loop of its own. Which of the four a row needs depends on its inputs. */
#pragma once
#include "mlp/mlp_cpu.h"
#include "vec.h"

enum { KP_MLP_UPDATE = 1, KP_MLP_NEXT = 2, KP_MLP_AFTER = 4, KP_MLP_BACK = 8, KP_MLP_KINDS = 16 };

/* What the rules' structs of hyperparameters say, in one form. */
typedef struct {
    float step; /* negative */
    float beta1, one_minus_beta1; /* momentum: beta1 */
    float beta2, one_minus_beta2; /* of squares; RMSProp's average as well */
    float eps, rsqrt_bc2, decay;
    float l2, l2init;
} kp_mlp_hyper;

typedef struct {
    kp_vec_count same;  /* by vector element: weights that the clip left alone */
    int64_t n_updated;  /* weights */
    float *w, *state[2]; /* of the layer's first row */
    const float *anchor;
    int row; /* floats */
    const float *x, *d, *next;
    float *z, *after, *dx;
    kp_mlp_hyper h;
    float bound;
} kp_mlp_pass;

/* Takes n rows, j[0] ..., ascending. */
typedef void kp_mlp_rows(kp_mlp_pass *p, const int32_t *j, int n);

/* ---- one vector of weights --------------------------------------------------------------------- */

typedef struct {
    kp_vec step, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, rsqrt_bc2, decay, l2, l2init;
    int has_l2, has_l2init;
} kp_mlp_constants;

KP_HD kp_mlp_constants kp_mlp_constants_of(const kp_mlp_hyper *h) {
    return (kp_mlp_constants){
        .step = kp_vec_all(h->step),
        .beta1 = kp_vec_all(h->beta1),
        .one_minus_beta1 = kp_vec_all(h->one_minus_beta1),
        .beta2 = kp_vec_all(h->beta2),
        .one_minus_beta2 = kp_vec_all(h->one_minus_beta2),
        .eps = kp_vec_all(h->eps),
        .rsqrt_bc2 = kp_vec_all(h->rsqrt_bc2),
        .decay = kp_vec_all(h->decay),
        .l2 = kp_vec_all(h->l2),
        .l2init = kp_vec_all(h->l2init),
        .has_l2 = h->l2 != 0.0f,
        .has_l2init = h->l2init != 0.0f,
    };
}

/* A rule in two halves: the state, then the weight. They are kp_sgd_plain1, kp_sgd1, kp_adam1,
 * kp_rmsprop1 and kp_rmsprop_centered1 of the rules' own headers, operation for operation. */
KP_HD int kp_mlp_divides(const int rule) { return rule > KP_MLP_MOMENTUM; }

/* s, t: the state; returns what the step goes along, to be divided by `below`. */
KP_HD kp_vec kp_mlp_state1(const int rule, kp_vec g, kp_vec *s, kp_vec *t, kp_vec *below,
                           const kp_mlp_constants *h) {
    if (rule == KP_MLP_SGD) return g;
    if (rule == KP_MLP_MOMENTUM) return *s = kp_vec_normal(kp_vec_fma(h->beta1, *s, g));
    if (rule == KP_MLP_ADAM) {
        *s = kp_vec_normal(kp_vec_fma(h->beta1, *s, h->one_minus_beta1 * g));
        *t = kp_vec_normal(kp_vec_fma(h->beta2, *t, h->one_minus_beta2 * g * g));
        *below = kp_vec_fma(kp_vec_sqrt(*t), h->rsqrt_bc2, h->eps);
        return *s;
    }
    *s = kp_vec_normal(kp_vec_fma(h->beta2, *s, h->one_minus_beta2 * g * g));
    kp_vec variance = *s;
    if (rule == KP_MLP_RMSPROP_CENTERED) {
        *t = kp_vec_normal(kp_vec_fma(h->beta2, *t, h->one_minus_beta2 * g));
        variance = kp_vec_max(kp_vec_all(0), kp_vec_fma(-*t, *t, *s)); /* NaN stays */
    }
    *below = kp_vec_sqrt(variance) + h->eps;
    return g;
}

/* The weight before the clip. terms: Adam's may decay. */
KP_HD kp_vec kp_mlp_weight1(const int rule, const int terms, kp_vec x, kp_vec along, kp_vec below,
                            const kp_mlp_constants *h) {
    if (kp_mlp_divides(rule)) along = along / below;
    if (terms && rule == KP_MLP_ADAM) x = h->decay * x;
    return kp_vec_fma(h->step, along, x);
}

/* kp_penalty, where there may be one. */
KP_HD kp_vec kp_mlp_penalty1(const int terms, kp_vec g, const float *weight, const float *anchor,
                             int at, const kp_mlp_constants *h) {
    if (!terms) return g;
    const kp_vec x = kp_vec_load(weight + at);
    if (h->has_l2) g = kp_vec_fma(h->l2, x, g);
    if (h->has_l2init) g = kp_vec_fma(h->l2init, x - kp_vec_load(anchor + at), g);
    return g;
}

/* ---- rows -------------------------------------------------------------------------------------- */

enum { KP_MLP_AT_ONCE = 4, KP_MLP_PARTS = KP_MLP_LANES / KP_VEC };

/* Rows that are taken at once. */
typedef struct {
    kp_mlp_constants h;
    kp_vec high, low;
    kp_vec_count same;
    const float *d, *anchor[KP_MLP_AT_ONCE];
    float *z, *after, *weight[KP_MLP_AT_ONCE], *state0[KP_MLP_AT_ONCE], *state1[KP_MLP_AT_ONCE];
    int64_t skip[KP_MLP_AT_ONCE]; /* from a row to that which is asked for */
    kp_vec x[KP_MLP_AT_ONCE], next[KP_MLP_AT_ONCE], dot[KP_MLP_AT_ONCE][KP_MLP_PARTS];
} kp_mlp_group;

/* Of KP_MLP_LANES columns, between the halves of a rule. */
typedef struct {
    kp_vec along[KP_MLP_AT_ONCE][KP_MLP_PARTS], below[KP_MLP_AT_ONCE][KP_MLP_PARTS];
} kp_mlp_steps;

KP_HD int kp_mlp_states(const int rule, const int does) {
    if (!(does & KP_MLP_UPDATE) || rule == KP_MLP_SGD) return 0;
    return rule == KP_MLP_ADAM || rule == KP_MLP_RMSPROP_CENTERED ? 2 : 1;
}

/* Columns o ... of the rows: their state. */
KP_HD void kp_mlp_first_half(const int rule, const int terms, const int does, const int R,
                             kp_mlp_group *u, int o, kp_mlp_steps *steps) {
    const int states = kp_mlp_states(rule, does);
    KP_UNROLL for (int r = 0; r < R; r++) {
        __builtin_prefetch(u->weight[r] + o + u->skip[r]);
        if (states > 0) __builtin_prefetch(u->state0[r] + o + u->skip[r]);
        if (states > 1) __builtin_prefetch(u->state1[r] + o + u->skip[r]);
    }
    if (does & KP_MLP_UPDATE)
        KP_UNROLL for (int k = 0; k < KP_MLP_PARTS; k++) {
            const int c = o + k * KP_VEC;
            const kp_vec d = kp_vec_load(u->d + c);
            KP_UNROLL for (int r = 0; r < R; r++) {
                kp_vec s = kp_vec_all(0), t = s, g = u->x[r] * d;
                g = kp_mlp_penalty1(terms, g, u->weight[r], u->anchor[r], c, &u->h);
                if (states > 0) s = kp_vec_load(u->state0[r] + c);
                if (states > 1) t = kp_vec_load(u->state1[r] + c);
                steps->along[r][k] = kp_mlp_state1(rule, g, &s, &t, &steps->below[r][k], &u->h);
                if (states > 0) kp_vec_store(u->state0[r] + c, s);
                if (states > 1) kp_vec_store(u->state1[r] + c, t);
            }
        }
}

/* Their weights, and the sums. */
KP_HD void kp_mlp_second_half(const int rule, const int terms, const int does, const int R,
                              kp_mlp_group *u, int o, const kp_mlp_steps *steps) {
    const int next = does & KP_MLP_NEXT, after = does & KP_MLP_AFTER;
    KP_UNROLL for (int k = 0; k < KP_MLP_PARTS; k++) {
        const int c = o + k * KP_VEC;
        kp_vec d = kp_vec_all(0), sum = d, sum_after = d;
        if (does & KP_MLP_BACK) d = kp_vec_load(u->d + c);
        if (next) sum = kp_vec_load(u->z + c);
        if (after) sum_after = kp_vec_load(u->after + c);
        KP_UNROLL for (int r = 0; r < R; r++) {
            kp_vec w = kp_vec_load(u->weight[r] + c);
            if (does & KP_MLP_BACK) u->dot[r][k] = kp_vec_fma(w, d, u->dot[r][k]);
            if (does & KP_MLP_UPDATE) {
                const kp_vec stepped = kp_mlp_weight1(rule, terms, w, steps->along[r][k],
                                                      steps->below[r][k], &u->h);
                w = kp_vec_max(u->low, kp_vec_min(u->high, stepped)); /* kp_clip */
                u->same = kp_vec_same(u->same, w, stepped);
                kp_vec_store(u->weight[r] + c, w);
            }
            if (next) sum = kp_vec_fma(u->next[r], w, sum);
            if (after) sum_after = kp_vec_fma(u->x[r], w, sum_after);
        }
        if (next) kp_vec_store(u->z + c, sum);
        if (after) kp_vec_store(u->after + c, sum_after);
    }
}

/* Under AddressSanitizer one function does it all: a loop for each combination takes a minute to compile. */
#ifdef __SANITIZE_ADDRESS__
#define KP_MLP_TAKE static __attribute__((noinline))
#else
#define KP_MLP_TAKE KP_HD
#endif

/* R rows; those of `ahead` are asked for. Where a rule divides, the square roots of some columns are
 * taken before the quotients of those before them, so that neither waits for the other. */
KP_MLP_TAKE void kp_mlp_take_rows(const int rule, const int terms, const int does, const int R,
                            kp_mlp_pass *p, const int32_t *j, const int32_t *ahead) {
    const int row = p->row, states = kp_mlp_states(rule, does);
    kp_mlp_group u;
    kp_mlp_steps steps;
    u.h = kp_mlp_constants_of(&p->h);
    u.high = kp_vec_all(p->bound), u.low = kp_vec_all(-p->bound);
    u.same = p->same, u.d = p->d, u.z = p->z, u.after = p->after;
    KP_UNROLL for (int r = 0; r < R; r++) {
        const int64_t at = (int64_t)j[r] * row;
        u.weight[r] = p->w + at;
        u.skip[r] = (int64_t)(ahead[r] - j[r]) * row;
        if (states > 0) u.state0[r] = p->state[0] + at;
        if (states > 1) u.state1[r] = p->state[1] + at;
        u.anchor[r] = terms && u.h.has_l2init ? p->anchor + at : NULL;
        if (does & (KP_MLP_UPDATE | KP_MLP_AFTER)) u.x[r] = kp_vec_all(p->x[j[r]]);
        if (does & KP_MLP_NEXT) u.next[r] = kp_vec_all(p->next[j[r]]);
        KP_UNROLL for (int k = 0; k < KP_MLP_PARTS; k++) u.dot[r][k] = kp_vec_all(0);
    }
    if ((does & KP_MLP_UPDATE) && kp_mlp_divides(rule)) {
        kp_mlp_first_half(rule, terms, does, R, &u, 0, &steps);
        for (int o = KP_MLP_LANES; o < row; o += KP_MLP_LANES) {
            const kp_mlp_steps before = steps;
            kp_mlp_first_half(rule, terms, does, R, &u, o, &steps);
            kp_mlp_second_half(rule, terms, does, R, &u, o - KP_MLP_LANES, &before);
        }
        kp_mlp_second_half(rule, terms, does, R, &u, row - KP_MLP_LANES, &steps);
    } else {
        for (int o = 0; o < row; o += KP_MLP_LANES) {
            kp_mlp_first_half(rule, terms, does, R, &u, o, &steps);
            kp_mlp_second_half(rule, terms, does, R, &u, o, &steps);
        }
    }
    if (does & KP_MLP_BACK)
        KP_UNROLL for (int r = 0; r < R; r++) p->dx[j[r]] = kp_vec_add_lanes(u.dot[r]);
    if (does & KP_MLP_UPDATE) p->same = u.same, p->n_updated += (int64_t)R * row;
}

#define KP_MLP_ROWS(name, rule, terms, does, R)                                                    \
    static __attribute__((noinline, unused)) void name(kp_mlp_pass *p, const int32_t *j, int n) {  \
        for (; n >= (R); n -= (R), j += (R))                                                       \
            kp_mlp_take_rows(rule, terms, does, R, p, j, n >= 2 * (R) ? j + (R) : j);              \
        for (; n > 0; n--, j++) kp_mlp_take_rows(rule, terms, does, 1, p, j, n > 1 ? j + 1 : j);   \
    }

/* Without an update. */
KP_MLP_ROWS(kp_mlp_rows_next, KP_MLP_SGD, 0, KP_MLP_NEXT, 4)
KP_MLP_ROWS(kp_mlp_rows_after, KP_MLP_SGD, 0, KP_MLP_AFTER, 4)
KP_MLP_ROWS(kp_mlp_rows_back, KP_MLP_SGD, 0, KP_MLP_BACK, 4)

/* ---- which rows -------------------------------------------------------------------------------- */

enum { KP_MLP_TURN = 256 }; /* rows that are listed together: those that are taken twice stay near */

/* n is a multiple of KP_MLP_LANES. */
KP_HD int kp_mlp_all_finite(const float *x, int n) {
    const kp_vec zero = kp_vec_all(0);
    kp_vec sum[2] = { zero, zero };
    for (int i = 0; i < n; i += KP_MLP_LANES)
        KP_UNROLL for (int k = 0; k < KP_MLP_LANES / KP_VEC; k++)
            sum[k % 2] = sum[k % 2] + kp_vec_load(x + i + k * KP_VEC) * zero;
    return !kp_vec_nonzero(sum[0] + sum[1]);
}

/* Lists those of n rows from `base` on whose x is not 0, or is where zeros is 1; returns how many. x is
 * padded with zeros to KP_MLP_LANES. */
KP_HD int kp_mlp_list(const float *x, int base, int n, int zeros, int32_t *j) {
    int listed = 0;
    for (int at = 0; at < n; at += 64, base += 64) {
        const int rows = n - at < 64 ? n - at : 64;
        uint64_t bits = 0;
        for (int i = 0; i < rows; i += KP_VEC)
            bits |= kp_vec_nonzero(kp_vec_load(x + base + i)) << i;
        if (zeros) bits = ~bits & (rows < 64 ? (1ull << rows) - 1 : ~0ull);
        if (bits == ~0ull)
            for (int i = 0; i < 64; i++) j[listed++] = base + i;
        else
            for (; bits; bits &= bits - 1) j[listed++] = base + __builtin_ctzll(bits);
    }
    return listed;
}

/* A pass over `in` rows. All have what `always` says, those whose x is not 0 with_x as well, those
 * whose next is not 0 KP_MLP_NEXT. Where every row has everything it is taken once; else the rows of each
 * sum follow one another, ascending. */
static void kp_mlp_pass_over(kp_mlp_pass *p, int in, kp_mlp_rows *const *kinds, int always,
                             int with_x) {
    const int most = always | with_x;
    int32_t x[KP_MLP_TURN], next[KP_MLP_TURN];
    for (int base = 0; base < in; base += KP_MLP_TURN) {
        const int n = in - base < KP_MLP_TURN ? in - base : KP_MLP_TURN;
        int n_next = p->next ? kp_mlp_list(p->next, base, n, 0, next) : 0, n_x = n;
        if (with_x) n_x = kp_mlp_list(p->x, base, n, 0, x);
        else
            for (int i = 0; most && i < n; i++) x[i] = base + i;
        kp_mlp_rows *together = kinds[most | KP_MLP_NEXT];
        if (most && n_x == n && n_next == n && together) {
            together(p, next, n);
            continue;
        }
        if (most) kinds[most](p, x, n_x);
        if (always && n_x < n) kinds[always](p, x, kp_mlp_list(p->x, base, n, 1, x));
        if (p->next) kinds[KP_MLP_NEXT](p, next, n_next);
    }
}
