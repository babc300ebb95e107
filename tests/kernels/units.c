/* units.c: which units are replaced, and with what, by hand. The methods over hundreds of samples,
 * against another implementation: tests/learn/units.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/mlp_case.h"
#include "units/units.h"

enum { HIDDEN = 4 }; /* of the net of most tests: 2 inputs, one hidden layer, 2 outputs */

static const kp_mlp_spec spec = { "", 2, { 2, HIDDEN, 2 }, KP_MLP_RELU, 0, 0, 0, 0, 0 };

/* One member; every weight 1, x of the hidden units 1, no clip, an unused draw of weights in +-0.5.
 */
typedef struct {
    kp_case c;
    kp_mlp_shape s;
    kp_units_net net;
    float *bound, *work;
    kp_cbp_hyper hyper;
    double tau;
    kp_cbp_args cbp;
    kp_redo_args redo;
} world;

static float *ones(kp_case *c, const kp_mlp_shape *s) {
    return kp_mlp_case_param(c, s, KP_IN_OUT, 1, 1);
}

static void open_world(world *w, const kp_mlp_spec *of) {
    memset(w, 0, sizeof *w);
    w->c.P = 1;
    kp_case *c = &w->c;
    kp_mlp_shape *s = &w->s;
    *s = kp_mlp_case_shape(of);
    w->bound = kp_case_alloc(c, 'f', KP_IN, s->n_tensors, INFINITY, INFINITY);
    w->work = kp_case_alloc(c, 'f', KP_IN, kp_mlp_work(s), 1, 1);
    for (int i = 0; i < s->n_tensors; i++) w->bound[i] = INFINITY;
    w->net = (kp_units_net){ .shape = *s,
                             .init_bound = { 0.5f, 0.5f, 0.5f },
                             .seed = kp_case_alloc(c, 'l', KP_IN, 1, 7, 7),
                             .bound = w->bound,
                             .theta = ones(c, s),
                             .n_moments = 1,
                             .n_anchors = 1,
                             .moment = { ones(c, s) },
                             .anchor = { ones(c, s) },
                             .replaced = kp_case_alloc(c, 'l', KP_IN_OUT, 1, 0, 0) };
    w->hyper = (kp_cbp_hyper){ 0.25, 0, 0.5f, 0.5f };
    w->cbp = (kp_cbp_args){
        .P = 1,
        .net = w->net,
        .work = w->work,
        .hyper = &w->hyper,
        .utility = kp_case_alloc(c, 'f', KP_IN_OUT, s->n_hidden, 0, 0),
        .mass = kp_case_alloc(c, 'f', KP_IN_OUT, s->n_hidden, 0, 0),
        .mean = kp_case_alloc(c, 'f', KP_IN_OUT, s->n_hidden * kp_units_outputs(s), 0, 0),
        .age = kp_case_alloc(c, 'l', KP_IN_OUT, s->n_hidden, 0, 0),
        .owed = kp_case_alloc(c, 'd', KP_IN_OUT, KP_MLP_LAYERS, 0, 0),
    };
    w->redo = (kp_redo_args){
        .P = 1,
        .net = w->net,
        .every = 1,
        .work = w->work,
        .tau = &w->tau,
        .sum = kp_case_alloc(c, 'd', KP_IN_OUT, s->n_hidden, 0, 0),
        .seen = kp_case_alloc(c, 'l', KP_IN_OUT, 1, 0, 0),
    };
}

static void close_world(world *w) {
    char says[128];
    cr_expect(!kp_case_overrun(&w->c, says, sizeof says), "%s", says);
    kp_case_close(&w->c);
}

static float *x_of(world *w, int layer) { return w->work + kp_mlp_x(&w->s, layer); }
static void cbp(world *w) { kp_op_get(KP_OP_cbp)->cpu(&w->cbp, 0, (kp_slices){ 0, 1 }, NULL); }
static void redo(world *w) { kp_op_get(KP_OP_redo)->cpu(&w->redo, 0, (kp_slices){ 0, 1 }, NULL); }

/* Bits of the units of layer 0 whose first outgoing weight is 0; it is 1 again thereafter. */
static unsigned new_units(world *w) {
    unsigned units = 0;
    for (int o = 0; o < w->s.out[0]; o++) {
        float *out = w->net.theta + kp_units_out(&w->s, 0, o, 0, 0);
        units |= (unsigned)(*out == 0) << o;
        *out = 1;
    }
    return units;
}

Test(cbp, the_least_useful_are_replaced_the_first_of_equals) {
    static const struct {
        const char *name;
        float x[HIDDEN];
        double rate;
        unsigned replaced;
    } cases[] = {
        { "the least", { 3, 2, 1, 4 }, 0.25, 4 },
        { "a rate of one half takes two", { 3, 2, 1, 4 }, 0.5, 6 },
        { "the first of equals", { 2, 1, 1, 1 }, 0.25, 2 },
        { "an output below zero counts as much", { 3, 2, -1, -4 }, 0.25, 4 },
        { "a rate of 1 takes all", { 3, 2, 1, 4 }, 1, 15 },
        { "a rate of 0 takes none", { 3, 2, 1, 4 }, 0, 0 },
        { "too little for one", { 3, 2, 1, 4 }, 0.2, 0 },
        { "NaN is not less than others", { NAN, 2, 1, 4 }, 0.25, 4 },
        { "NaN is never replaced", { NAN, 2, NAN, NAN }, 1, 2 },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        world w;
        open_world(&w, &spec);
        w.hyper.rate = cases[i].rate;
        memcpy(x_of(&w, 1), cases[i].x, sizeof cases[i].x);
        cbp(&w);
        unsigned got = new_units(&w);
        cr_expect_eq(got, cases[i].replaced, "%s: %x", cases[i].name, got);
        cr_expect_eq(w.net.replaced[0], __builtin_popcount(got), "%s", cases[i].name);
        close_world(&w);
    }
}

Test(cbp, what_leads_away_counts_too) {
    world w;
    open_world(&w, &spec);
    for (int k = 0; k < 2; k++) w.net.theta[kp_units_out(&w.s, 0, 2, 0, k)] = k ? -1.0f : 0.5f;
    cbp(&w);
    cr_expect_eq(new_units(&w), 4u);
    close_world(&w);
}

/* A rate of 1/8 and four units, of which those are mature that have seen three samples: 1/2 a
 * sample is owed by all, 3/8 while one is young. */
Test(cbp, fractions_of_units_add_up) {
    static const double owed[14] = { 0,     0,    0.5,  0, /* 1 was replaced */
                                     0.375, 0.75, 0.25,    /* 1.25: 2 */
                                     0.625, 0,             /* 3 */
                                     0.375, 0.75, 0.25,    /* 4 */
                                     0.625, 0 };
    static const int64_t replaced[14] = { 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5 };
    world w;
    open_world(&w, &spec);
    w.hyper.rate = 0.125, w.hyper.maturity = 2;
    for (int t = 0; t < 14; t++) {
        cbp(&w);
        cr_expect_eq(w.cbp.owed[0], owed[t], "sample %d: %g owed", t + 1, w.cbp.owed[0]);
        cr_expect_eq(w.net.replaced[0], replaced[t], "sample %d: %d", t + 1,
                     (int)w.net.replaced[0]);
    }
    close_world(&w);
}

Test(cbp, a_new_unit_is_safe_until_it_is_mature) {
    world w;
    open_world(&w, &spec);
    w.hyper.maturity = 3;
    int64_t since[HIDDEN] = { 0 };
    for (int t = 1; t <= 40; t++) {
        cbp(&w);
        for (int o = 0; o < HIDDEN; o++) {
            since[o]++;
            if (w.cbp.age[o]) continue;
            cr_expect_gt(since[o], 3, "sample %d: unit %d", t, o);
            since[o] = 0;
        }
    }
    cr_expect_gt(w.net.replaced[0], 8);
    close_world(&w);
}

/* Unit 2 gives 4, then 1; decay 1/2, so its mean is (1/4 4 + 1/2 1) / (3/4) = 2. */
Test(cbp, the_next_bias_takes_over_the_mean) {
    world w;
    open_world(&w, &spec);
    float *bias = w.net.theta + w.s.bias[1];
    w.hyper.maturity = 1;
    w.net.theta[kp_units_out(&w.s, 0, 2, 0, 0)] = 0.25f;
    w.net.theta[kp_units_out(&w.s, 0, 2, 0, 1)] = -0.125f;
    const float sample[2][HIDDEN] = { { 9, 9, 4, 9 }, { 9, 9, 1, 9 } };
    for (int t = 0; t < 2; t++) {
        memcpy(x_of(&w, 1), sample[t], sizeof sample[t]);
        cbp(&w);
    }
    cr_expect_float_eq(bias[0], 1 + 0.25 * 2, 1e-6, "%g", (double)bias[0]);
    cr_expect_float_eq(bias[1], 1 - 0.125 * 2, 1e-6, "%g", (double)bias[1]);
    cr_expect_eq(w.net.moment[0][w.s.bias[1]], 1.0f, "the next bias's moment stays");
    cr_expect(w.cbp.mean[2] == 0 && w.cbp.mass[2] == 0 && w.cbp.utility[2] == 0 && !w.cbp.age[2]);
    close_world(&w);
}

static const kp_mlp_spec doubled = { "", 3, { 6, 5, HIDDEN, 3 }, KP_MLP_CRELU, 1, 0, 0, 0, 0 };

/* Every element of theta, the moment and the anchor after unit 2 of layer 1 has begun again. */
static void expect_begun_again(world *w, kp_units_method method, const float *bias_before) {
    const kp_mlp_shape *s = &w->s;
    float *want = kp_mlp_case_param(&w->c, s, KP_IN, 1, 1), *moment = ones(&w->c, s),
          *anchor = ones(&w->c, s);
    int64_t at[64];
    int n = 0;
    for (int j = 0; j < s->in[1]; j++) {
        kp_philox_block b = kp_philox(7, KP_STREAM_UNITS,
                                      (uint64_t)method << 62 | 5u << 20 | (uint64_t)j / 4);
        at[n] = s->weight[1] + (int64_t)j * s->row[1] + 2;
        want[at[n++]] = kp_clip((2 * kp_uniform(b.x[j % 4]) - 1) * 0.5f, 0.25f);
    }
    want[at[n++] = s->bias[1] + 2] = 0;
    want[at[n++] = s->gain[1] + 2] = 0.75f;
    want[at[n++] = s->shift[1] + 2] = 0;
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < 3; k++)
            want[at[n++] = s->weight[2] + (int64_t)(half * HIDDEN + 2) * s->row[2] + k] = 0;
    for (int i = 0; i < n; i++) moment[at[i]] = 0, anchor[at[i]] = want[at[i]];
    if (bias_before) memcpy(want + s->bias[2], bias_before, 3 * sizeof *want);
    size_t bytes = (size_t)s->N * sizeof *want;
    cr_expect(!memcmp(w->net.theta, want, bytes), "theta");
    cr_expect(!memcmp(w->net.moment[0], moment, bytes), "moments");
    cr_expect(!memcmp(w->net.anchor[0], anchor, bytes), "anchors");
    cr_expect_eq(w->net.replaced[0], 6);
}

static void open_doubled(world *w) {
    open_world(w, &doubled);
    const int t = w->s.tensor[1];
    w->bound[t] = 0.25f, w->bound[t + 1] = 2, w->bound[t + 2] = 0.75f;
    w->net.replaced[0] = 5;
}

/* Unit 2 gives 1/2 and 1/4, others 1 and 1; decay 0, so the means are these. */
Test(cbp, begins_again_with_both_outputs_and_its_norm) {
    world w;
    open_doubled(&w);
    w.hyper.decay = 0, w.hyper.one_minus_decay = 1, w.hyper.rate = 0.25;
    w.cbp.owed[0] = -100, w.cbp.owed[1] = 0;
    w.bound[w.s.tensor[2] + 1] = 1.5f;
    x_of(&w, 2)[2] = 0.5f, x_of(&w, 2)[HIDDEN + 2] = 0.25f;
    float *w2 = w.net.theta + w.s.weight[2];
    w2[(int64_t)2 * w.s.row[2] + 1] = -1;
    cbp(&w);
    const float bias[3] = { 1.5f /* of 1.75, clipped */, 0.75f, 1.5f };
    expect_begun_again(&w, KP_UNITS_CBP, bias);
    close_world(&w);
}

Test(redo, begins_again_with_both_outputs_and_its_norm) {
    world w;
    open_doubled(&w);
    w.tau = 0.5;
    x_of(&w, 2)[2] = 0.25f, x_of(&w, 2)[HIDDEN + 2] = -0.25f;
    redo(&w);
    expect_begun_again(&w, KP_UNITS_REDO, NULL);
    close_world(&w);
}

Test(redo, dormant_are_those_at_or_below_tau_times_the_layers_mean) {
    static const struct {
        const char *name;
        float x[HIDDEN];
        double tau;
        unsigned replaced;
    } cases[] = {
        { "none", { 1, 2, 3, 2 }, 0.25, 0 },
        { "below", { 1, 2, 3, 2 }, 0.75, 1 },
        { "at tau is dormant", { 1, 2, 3, 2 }, 0.5, 1 },
        { "at tau 0 only what gave nothing", { 0, 1e-20f, 3, 0 }, 0, 9 },
        { "what is below zero is active", { -1, -2, -3, -2 }, 0.5, 1 },
        { "in a layer that gave nothing all are", { 0, 0, 0, 0 }, 0, 15 },
        { "NaN hides nothing", { NAN, 0, 0, 3 }, 1, 0 },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        world w;
        open_world(&w, &spec);
        w.tau = cases[i].tau;
        memcpy(x_of(&w, 1), cases[i].x, sizeof cases[i].x);
        redo(&w);
        unsigned got = new_units(&w);
        cr_expect_eq(got, cases[i].replaced, "%s: %x", cases[i].name, got);
        close_world(&w);
    }
}

/* Of three samples unit 0 is on in one only; of the next three unit 1. */
Test(redo, looks_at_the_samples_since_the_latest_check) {
    world w;
    open_world(&w, &spec);
    w.redo.every = 3, w.tau = 0.45;
    for (int round = 0; round < 2; round++)
        for (int t = 0; t < 3; t++) {
            for (int o = 0; o < HIDDEN; o++) x_of(&w, 1)[o] = o != round || t == 1;
            redo(&w);
            cr_expect_eq(new_units(&w), t == 2 ? 1u << round : 0u, "round %d, sample %d", round, t);
        }
    close_world(&w);
}
