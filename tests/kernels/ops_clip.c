/* ops_clip.c: what the clip must do, for each update rule that has it. */
#include <criterion/criterion.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "backend/cpu/cpu_features.h"
#include "ops.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"
#include "tally_sum/tally_sum.h"

enum { N = 2 * KP_CHUNK };

static int same(float a, float b) {
    return isnan(a) ? isnan(b) : a == b && !signbit(a) == !signbit(b);
}

static const struct {
    const char *name;
    float x, bound, want;
    int outside, non_finite;
} cases[] = {
    { "inside is untouched", 0.5f, 1, 0.5f, 0, 0 },
    { "above becomes +bound", 3, 1, 1, 1, 0 },
    { "below becomes -bound", -3, 1, -1, 1, 0 },
    { "on the bound is inside", 1, 1, 1, 0, 0 },
    { "minus the bound is inside", -1, 1, -1, 0, 0 },
    { "the next float above is outside", 1.00000012f, 1, 1, 1, 0 },
    { "minus zero keeps its sign", -0.0f, 1, -0.0f, 0, 0 },
    { "NaN stays NaN and is not outside", NAN, 1, NAN, 0, 1 },
    { "infinity becomes the bound", INFINITY, 1, 1, 1, 0 },
    { "minus infinity becomes -bound", -INFINITY, 1, -1, 1, 0 },
    { "no bound clips nothing", 1e30f, INFINITY, 1e30f, 0, 0 },
    { "no bound leaves infinity, and counts it", INFINITY, INFINITY, INFINITY, 0, 1 },
    { "no bound leaves NaN", NAN, INFINITY, NAN, 0, 1 },
    { "the largest float is finite", 3.40282347e38f, INFINITY, 3.40282347e38f, 0, 0 },
};

Test(clip, one_value) {
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        static float chunk[KP_CHUNK]; /* the others are zero */
        uint32_t changed = 0;
        chunk[7] = kp_clip_count(cases[i].x, cases[i].bound, &changed);
        kp_clip_tally tally = kp_clip_tally_of(chunk, cases[i].bound, changed, chunk[7]);
        float got = kp_clip(cases[i].x, cases[i].bound);
        cr_expect(same(got, cases[i].want), "%s: got %g", cases[i].name, (double)got);
        cr_expect(same(chunk[7], cases[i].want), "%s: got %g, counting", cases[i].name,
                  (double)chunk[7]);
        cr_expect_eq(tally.outside, (uint32_t)cases[i].outside, "%s: outside", cases[i].name);
        cr_expect_eq(tally.non_finite, (uint32_t)cases[i].non_finite, "%s: non-finite",
                     cases[i].name);
    }
}

/* Every update rule, for one member of two chunks, in one form. */
typedef struct {
    float theta[N], grad[N], moment[2][N];
    float bound[2]; /* of each chunk */
    kp_clip_tally tally[2];
} state;

static const int32_t tensor[2] = { 0, 1 };

#define COMMON(s)                                                                                  \
    .P = 1, .n_chunks = 2, .n_tensors = 2, .theta = (s)->theta, .grad = (s)->grad,                 \
    .tensor = tensor, .bound = (s)->bound, .tally = (s)->tally

static void run(int op, int level, const void *args) {
    const kp_op *o = kp_op_get_isa(op, level);
    o->cpu(args, 0, kp_all_slices(o, args), NULL);
}

static void adam(state *s, int level) {
    kp_adam_hyper h = { 0.9f, 0.1f, 0.99f, 0.01f, 1e-8f, 0.1f, 1, 1, 0, 0 };
    run(KP_OP_adam_clip, level,
        &(kp_adam_clip_args){ COMMON(s), .m = s->moment[0], .v = s->moment[1], .hyper = &h });
}

static void sgd(state *s, int level) {
    kp_sgd_hyper h = { 0.1f, 0.9f, 0.1f, 0 };
    run(KP_OP_sgd_clip, level,
        &(kp_sgd_clip_args){ COMMON(s), .with_terms = 1, .u = s->moment[0], .hyper = &h });
}

static void rmsprop(state *s, int level) {
    kp_rmsprop_hyper h = { 0.9f, 0.1f, 1e-8f, 0.1f, 0.1f, 0 };
    run(KP_OP_rmsprop_clip, level,
        &(kp_rmsprop_clip_args){ COMMON(s), .with_terms = 1, .v = s->moment[0], .hyper = &h });
}

static void rmsprop_centered(state *s, int level) {
    kp_rmsprop_hyper h = { 0.9f, 0.1f, 1e-8f, 0.1f, 0.1f, 0 };
    run(KP_OP_rmsprop_clip, level,
        &(kp_rmsprop_clip_args){ COMMON(s), .with_terms = 1, .v = s->moment[0],
                                 .mean = s->moment[1], .hyper = &h });
}

static const struct {
    const char *name;
    void (*update)(state *s, int level);
} rules[] = {
    { "adam", adam },
    { "sgd", sgd },
    { "rmsprop", rmsprop },
    { "rmsprop centered", rmsprop_centered },
};

/* 100 values in the first chunk and 1000 in the second, then padding. */
static int is_padding(int i) { return i < KP_CHUNK ? i >= 100 : i >= KP_CHUNK + 1000; }

static void fill(state *s) {
    memset(s, 0, sizeof *s);
    for (int i = 0; i < N; i++) {
        if (is_padding(i)) continue;
        s->theta[i] = (float)(i * 37 % 101 - 50) / 50;
        s->grad[i] = (float)(i * 61 % 97 - 48) / 48;
    }
}

#define EACH_RULE_AND_WIDTH(r, level)                                                              \
    for (size_t r = 0; r < KP_COUNT(rules); r++)                                                   \
        for (int level = 0; level <= (int)kp_isa(); level++)

Test(clip, moments_never_see_it) {
    EACH_RULE_AND_WIDTH(r, level) {
        static state clipped, free_;
        fill(&clipped), fill(&free_);
        free_.bound[0] = free_.bound[1] = INFINITY;
        clipped.bound[0] = 0.004f, clipped.bound[1] = 0.002f; /* below most moments too */
        rules[r].update(&clipped, level), rules[r].update(&free_, level);
        cr_expect(!memcmp(clipped.moment, free_.moment, sizeof free_.moment), "%s", rules[r].name);
        uint32_t outside[2] = { 0 };
        for (int i = 0; i < N; i++) {
            float want = kp_clip(free_.theta[i], clipped.bound[i / KP_CHUNK]);
            outside[i / KP_CHUNK] += want != free_.theta[i];
            cr_assert_eq(clipped.theta[i], want, "%s: %d: %g, not %g", rules[r].name, i,
                         (double)clipped.theta[i], (double)want);
        }
        cr_expect(outside[0] > 20 && outside[1] > 200, "the test clips something");
        for (int c = 0; c < 2; c++) {
            cr_expect_eq(clipped.tally[c].outside, outside[c], "%s: chunk %d: %u outside, not %u",
                         rules[r].name, c, clipped.tally[c].outside, outside[c]);
            cr_expect_eq(free_.tally[c].outside, 0u);
            cr_expect_eq(clipped.tally[c].non_finite, 0u);
        }
    }
}

Test(clip, padding_stays_zero) {
    EACH_RULE_AND_WIDTH(r, level) {
        static state s;
        fill(&s);
        s.bound[0] = 0.25f, s.bound[1] = INFINITY;
        for (int k = 0; k < 5; k++) rules[r].update(&s, level);
        for (int i = 0; i < N; i++)
            if (is_padding(i))
                cr_assert(s.theta[i] == 0 && s.moment[0][i] == 0 && s.moment[1][i] == 0, "%s: %d",
                          rules[r].name, i);
    }
}

Test(clip, non_finite_weights_are_counted_and_stay) {
    EACH_RULE_AND_WIDTH(r, level) {
        static state s;
        fill(&s);
        s.bound[0] = s.bound[1] = 0.5f;
        s.theta[3] = NAN, s.grad[50] = NAN, s.grad[KP_CHUNK + 999] = NAN;
        rules[r].update(&s, level);
        cr_expect_eq(s.tally[0].non_finite, 2u, "%s: %u", rules[r].name, s.tally[0].non_finite);
        cr_expect_eq(s.tally[1].non_finite, 1u, "%s: %u", rules[r].name, s.tally[1].non_finite);
        cr_expect(isnan(s.theta[3]) && isnan(s.theta[50]) && isnan(s.theta[KP_CHUNK + 999]), "%s",
                  rules[r].name);
        cr_expect(!isnan(s.theta[4]), "%s: its neighbour", rules[r].name);
    }
}

Test(tally_sum, adds_outside_and_replaces_non_finite) {
    const int32_t of[4] = { 0, 0, 1, 2 };
    const kp_clip_tally tally[4] = { { 5, 0 }, { 7, 2 }, { 1024, 1024 }, { 0, 0 } };
    kp_tensor_tally total[3] = { { 100, 9 }, { 0, 0 }, { 1ull << 40, 1 } };
    run(KP_OP_tally_sum, KP_ISA_GENERIC,
        &(kp_tally_sum_args){
            .P = 1, .n_chunks = 4, .n_tensors = 3, .tensor = of, .tally = tally, .total = total });
    cr_expect(total[0].outside == 112 && total[0].non_finite == 2);
    cr_expect(total[1].outside == 1024 && total[1].non_finite == 1024);
    cr_expect(total[2].outside == 1ull << 40 && total[2].non_finite == 0);
}
