/* mlp_stream.c: law 1: blocks of samples in fused passes leave every bit that mlp_gradient, a
 * rule's own operation, tally_sum and mlp_after leave, one sample after the other. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "backend/cpu/cpu_features.h"
#include "kernels/mlp_case.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

enum { P = 2, SAMPLES = 24, TERMS = 1, CLIPS = 2, DIVERGES = 4 };

static const kp_mlp_spec specs[] = {
    { "relu, sparse", 3, { 150, 37, 18, 5 }, KP_MLP_RELU, 0, 1, 1, 0.8, 0 },
    { "relu, dense", 3, { 70, 20, 33, 10 }, KP_MLP_RELU, 0, 0, 0, 0, -1 },
    { "leaky relu, sparse", 2, { 64, 33, 10 }, KP_MLP_LEAKY_RELU, 0, 1, 0, 0.7, 0 },
    { "leaky relu, norm", 3, { 65, 15, 13, 4 }, KP_MLP_LEAKY_RELU, 1, 1, 0, 0.2, -1 },
    { "tanh", 3, { 31, 17, 16, 20 }, KP_MLP_TANH, 0, 0, 1, 0.5, 0 },
    { "tanh, norm", 4, { 130, 17, 3, 14, 3 }, KP_MLP_TANH, 1, 0, 0, 0.2, -1 },
    { "crelu, sparse", 3, { 90, 40, 9, 7 }, KP_MLP_CRELU, 0, 0, 1, 0.5, 0 },
    { "crelu, norm, permuted", 3, { 38, 21, 9, 17 }, KP_MLP_CRELU, 1, 1, 0, 0.5, -0.2 },
    { "leaky relu, no input", 3, { 20, 18, 9, 5 }, KP_MLP_LEAKY_RELU, 0, 0, 0, 1, 0 },
    { "one layer", 1, { 70, 12 }, KP_MLP_RELU, 0, 1, 1, 0.8, 0 },
};

static const char *const rules[KP_MLP_N_RULES] = { "sgd", "momentum", "adam", "rmsprop",
                                                   "rmsprop centered" };

/* Everything that training changes, and the data. hyper: [SAMPLES][P]. */
typedef struct {
    kp_case c;
    kp_mlp_shape s;
    kp_mlp_samples samples; /* index: [P][SAMPLES] */
    float *theta, *state[2], *anchor, *bound, *work;
    kp_mlp_result *result; /* [P][SAMPLES] */
    uint8_t *ever_active;
    kp_tensor_tally *total;
} run_state;

static run_state open_run(const kp_mlp_spec *spec, int options) {
    run_state r = { .c = { .P = P }, .s = kp_mlp_case_shape(spec) };
    kp_case *c = &r.c;
    double small = options & CLIPS ? 0.02 : 0.3;
    r.samples = kp_mlp_case_samples(c, spec, SAMPLES);
    r.theta = kp_mlp_case_param(c, &r.s, KP_IN_OUT, -0.3, 0.3);
    for (int i = 0; i < 2; i++) /* some will settle */
        r.state[i] = kp_mlp_case_param(c, &r.s, KP_IN_OUT, 0, 3e-38);
    r.anchor = kp_mlp_case_param(c, &r.s, KP_IN, -0.3, 0.3);
    r.bound = kp_case_alloc(c, 'f', KP_IN, r.s.n_tensors, small, 2 * small);
    r.bound[1] = INFINITY; /* the first bias of member 0 */
    if (spec->zeros == 1)
        r.bound[1] = r.bound[r.s.n_tensors + 1] = 0; /* units that are exactly 0 */
    r.work = kp_case_alloc(c, 'f', KP_SCRATCH, kp_mlp_work(&r.s), 0, 0);
    r.result = kp_case_alloc(c, 'f', KP_OUT, SAMPLES * (int64_t)sizeof *r.result / 4, 0, 0);
    r.ever_active = kp_case_alloc(c, 'b', KP_IN_OUT, r.s.n_hidden, 0, 1);
    r.total = kp_case_alloc(c, 'l', KP_IN_OUT, 2 * r.s.n_tensors, 0, 1);
    if (options & DIVERGES) {
        r.theta[r.s.weight[0] + 3 * r.s.row[0]] = NAN;
        r.theta[r.s.N + r.s.weight[r.s.n_layers - 1]] = INFINITY;
    }
    return r;
}

/* ---- hyperparameters: other ones for each member and sample
 * --------------------------------------- */

typedef union {
    kp_sgd_hyper sgd;
    kp_adam_hyper adam;
    kp_rmsprop_hyper rmsprop;
} any_hyper;

static size_t hyper_bytes(int rule) {
    return rule <= KP_MLP_MOMENTUM ? sizeof(kp_sgd_hyper)
           : rule == KP_MLP_ADAM   ? sizeof(kp_adam_hyper)
                                   : sizeof(kp_rmsprop_hyper);
}

static any_hyper hyper_of(int rule, int options, int member, int t) {
    float lr = 0.01f + 0.01f * (float)member + 0.0001f * (float)t;
    float l2 = options & TERMS && t % 3 ? 0.01f : 0, l2init = options & TERMS && t % 4 ? 0.02f : 0;
    if (rule <= KP_MLP_MOMENTUM)
        return (any_hyper){ .sgd = { .step_size = 2 * lr,
                                     .momentum = rule == KP_MLP_SGD ? 0 : 0.9f,
                                     .l2 = l2,
                                     .l2init = l2init } };
    if (rule == KP_MLP_ADAM)
        return (any_hyper){ .adam = { .beta1 = 0.9f,
                                      .one_minus_beta1 = 0.1f,
                                      .beta2 = 0.99f,
                                      .one_minus_beta2 = 0.01f,
                                      .eps = 1e-8f,
                                      .step_size = lr * (1 + 1 / (float)(t + 1)),
                                      .rsqrt_bc2 = 1 + 1 / (float)(t + 1),
                                      .decay = options & TERMS ? 0.999f : 1,
                                      .l2 = l2,
                                      .l2init = l2init } };
    return (any_hyper){ .rmsprop = { .beta = 0.9f,
                                     .one_minus_beta = 0.1f,
                                     .eps = 1e-8f,
                                     .step_size = lr,
                                     .l2 = l2,
                                     .l2init = l2init } };
}

/* ---- the two paths ------------------------------------------------------------------------------
 */

static void run_op(int op, int level, const void *args) {
    const kp_op *o = kp_op_get_isa(op, level);
    for (int p = 0; p < P; p++) o->cpu(args, p, kp_all_slices(o, args), NULL);
}

typedef struct {
    int rule, n_chunks;
    float *grad;
    int32_t *tensor; /* [n_chunks] */
    kp_clip_tally *tally;
    int32_t cursor[P];
    any_hyper hyper[P]; /* packed */
} plain;

static void open_plain(plain *p, const run_state *r, int rule) {
    *p = (plain){ .rule = rule, .n_chunks = (int)(r->s.N / KP_CHUNK) };
    size_t n = (size_t)p->n_chunks;
    p->grad = malloc(P * n * KP_CHUNK * sizeof *p->grad);
    p->tensor = malloc(n * sizeof *p->tensor);
    p->tally = malloc(P * n * sizeof *p->tally);
    for (int l = 0; l < r->s.n_layers; l++) {
        const int64_t at[4] = { r->s.weight[l], r->s.bias[l], r->s.gain[l], r->s.shift[l] };
        for (int i = 0; i < 4; i++)
            for (int64_t c = at[i] / KP_CHUNK; at[i] >= 0 && c < p->n_chunks; c++)
                p->tensor[c] = r->s.tensor[l] + i;
    }
}

static void close_plain(plain *p) { free(p->grad), free(p->tensor), free(p->tally); }

#define CLIP(r, p)                                                                                 \
    .P = P, .n_chunks = (p)->n_chunks, .n_tensors = (r)->s.n_tensors, .theta = (r)->theta,         \
    .grad = (p)->grad, .tensor = (p)->tensor, .bound = (r)->bound, .tally = (p)->tally,            \
    .anchor = (r)->anchor, .with_terms = 1, .hyper = (void *)(p)->hyper

static void run_rule(const run_state *r, plain *p, int level) {
    float *s = r->state[0], *t = r->state[1];
    if (p->rule == KP_MLP_ADAM)
        run_op(KP_OP_adam_clip, level, &(kp_adam_clip_args){ CLIP(r, p), .m = s, .v = t });
    else if (p->rule <= KP_MLP_MOMENTUM)
        run_op(KP_OP_sgd_clip, level,
               &(kp_sgd_clip_args){ CLIP(r, p), .u = p->rule == KP_MLP_SGD ? NULL : s });
    else
        run_op(KP_OP_rmsprop_clip, level,
               &(kp_rmsprop_clip_args){ CLIP(r, p), .v = s,
                                        .mean = p->rule == KP_MLP_RMSPROP_CENTERED ? t : NULL });
}

static void run_plain(run_state *r, int rule, int options, int with_after, int level) {
    plain p;
    open_plain(&p, r, rule);
    for (int t = 0; t < SAMPLES; t++) {
        for (int i = 0; i < P; i++) {
            any_hyper h = hyper_of(rule, options, i, t);
            memcpy((char *)p.hyper + (size_t)i * hyper_bytes(rule), &h, hyper_bytes(rule));
            p.cursor[i] = t;
        }
        run_op(KP_OP_mlp_gradient, level,
               &(kp_mlp_gradient_args){ P, r->s, r->samples, p.cursor, r->theta, p.grad, r->work,
                                        r->result, r->ever_active });
        run_rule(r, &p, level);
        run_op(KP_OP_tally_sum, level,
               &(kp_tally_sum_args){ P, p.n_chunks, r->s.n_tensors, p.tensor, p.tally, r->total });
        if (with_after)
            run_op(KP_OP_mlp_after, level,
                   &(kp_mlp_after_args){ P, r->s, r->samples.label_order, r->samples.label,
                                         r->samples.index, SAMPLES, p.cursor, r->theta, r->work,
                                         r->result });
    }
    close_plain(&p);
}

static void run_fused(run_state *r, int rule, int options, int with_after, int level, int block) {
    int32_t *index = malloc(P * (size_t)block * sizeof *index), n;
    kp_mlp_result *result = malloc(P * (size_t)block * sizeof *result);
    size_t each = hyper_bytes(rule);
    char *hyper = aligned_alloc(64, (P * (size_t)block * each + 63) / 64 * 64);
    kp_mlp_stream_args a = {
        .P = P,
        .shape = r->s,
        .samples = r->samples,
        .n = &n,
        .rule = rule,
        .with_after = with_after,
        .theta = r->theta,
        .state = { rule == KP_MLP_SGD ? NULL : r->state[0],
                   rule == KP_MLP_ADAM || rule == KP_MLP_RMSPROP_CENTERED ? r->state[1] : NULL },
        .anchor = options & TERMS ? r->anchor : NULL,
        .hyper = hyper,
        .bound = r->bound,
        .total = r->total,
        .work = r->work,
        .result = result,
        .ever_active = r->ever_active,
    };
    a.samples.index = index, a.samples.T = block;
    for (int t = 0; t < SAMPLES; t += n) {
        n = SAMPLES - t < block ? SAMPLES - t : block;
        for (int i = 0; i < P; i++)
            for (int k = 0; k < n; k++) {
                any_hyper h = hyper_of(rule, options, i, t + k);
                memcpy(hyper + (size_t)(i * block + k) * each, &h, each);
                index[i * block + k] = r->samples.index[i * SAMPLES + t + k];
            }
        run_op(KP_OP_mlp_stream, level, &a);
        for (int i = 0; i < P; i++)
            memcpy(r->result + i * SAMPLES + t, result + i * block, (size_t)n * sizeof *result);
    }
    free(index), free(result), free(hyper);
}

/* ---- the law
 * -------------------------------------------------------------------------------------- */

static uint64_t n_outside(const run_state *r) {
    uint64_t n = 0;
    for (int i = 0; i < P * r->s.n_tensors; i++) n += r->total[i].outside;
    return n;
}

/* x and d of the latest sample are there for other operations. */
static void expect_work(const char *name, const run_state *got, const run_state *want) {
    const int64_t each = kp_mlp_work(&want->s);
    for (int p = 0; p < P; p++)
        for (int64_t i = 0; i < kp_mlp_x(&want->s, want->s.n_layers); i++) {
            float x = got->work[p * each + i], y = want->work[p * each + i];
            cr_assert(!memcmp(&x, &y, 4) || (isnan(x) && isnan(y)), "%s: work, %d: %g, not %g",
                      name, (int)i, (double)x, (double)y);
        }
}

static void expect_law(const kp_mlp_spec *spec, int rule, int options, int with_after, int level,
                       const int *blocks, int n_blocks) {
    char says[128];
    run_state want = open_run(spec, options);
    run_plain(&want, rule, options, with_after, level);
    if (options & CLIPS) cr_assert_gt(n_outside(&want), 200, "%s: little is clipped", spec->name);
    for (int b = 0; b < n_blocks; b++) {
        run_state got = open_run(spec, options);
        run_fused(&got, rule, options, with_after, level, blocks[b]);
        cr_assert(!kp_case_overrun(&got.c, says, sizeof says), "%s", says);
        cr_assert(!kp_case_differs(&got.c, 0, &want.c, 0, P, ~0u, says, sizeof says),
                  "%s, %s, options %d, after %d, blocks of %d, %s: %s", spec->name, rules[rule],
                  options, with_after, blocks[b], kp_isa_name((kp_isa_level)level), says);
        expect_work(spec->name, &got, &want);
        kp_case_close(&got.c);
    }
    kp_case_close(&want.c);
}

#define EACH_SPEC(spec)                                                                            \
    for (const kp_mlp_spec *spec = specs; spec < specs + KP_COUNT(specs); spec++)

Test(mlp_stream, equals_the_plain_path) {
    static const int blocks[] = { 3, SAMPLES };
    EACH_SPEC(spec)
    for (int rule = 0; rule < KP_MLP_N_RULES; rule++)
        for (int options = 0; options < 4; options++)
            expect_law(spec, rule, options, (rule + options + (int)(spec - specs)) % 2,
                       (int)kp_isa(), blocks, KP_COUNT(blocks));
}

Test(mlp_stream, equals_it_at_every_width) {
    static const int blocks[] = { 1, 7 };
    for (int level = KP_ISA_GENERIC; level <= (int)kp_isa(); level++) EACH_SPEC(spec)
    for (int rule = 0; rule < KP_MLP_N_RULES; rule++)
        expect_law(spec, rule, rule % 2 ? TERMS | CLIPS : CLIPS, 1, level, blocks,
                   KP_COUNT(blocks));
}

/* Weights that are not finite are as many, and nothing reaches the padding. */
Test(mlp_stream, diverges_as_the_plain_path) {
    static const int blocks[] = { 2, SAMPLES };
    EACH_SPEC(spec)
    for (int rule = 0; rule < KP_MLP_N_RULES; rule++)
        expect_law(spec, rule, DIVERGES, rule % 2, (int)kp_isa(), blocks, KP_COUNT(blocks));
}
