/* optim.c: whole updates of a population against plain double precision, member by member. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "mlp/mlp.h"
#include "optim/optim.h"
#include "sgd_clip/sgd_clip.h"

enum { N = 3 * KP_CHUNK, MAX_P = 3, STEPS = 20 };

/* Two tensors: 1500 and 300 elements, two chunks and one. */
static kp_tensor tensors[] = {
    { .name = "fc.weight", .role = KP_WEIGHT, .count = 1500, .n_chunks = 2, .scale_fan_in = 0.5f },
    { .name = "fc.bias",
      .role = KP_BIAS,
      .count = 300,
      .offset = 2 * KP_CHUNK,
      .n_chunks = 1,
      .scale_fan_in = 0.25f },
};
static int32_t chunk_tensor[] = { 0, 0, 1 };
static kp_layout layout = {
    .n_tensors = 2, .n_chunks = 3, .N = N, .tensor = tensors, .chunk_tensor = chunk_tensor
};

static int is_padding(int e) { return e < 2 * KP_CHUNK ? e >= 1500 : e >= 2 * KP_CHUNK + 300; }

/* In [-1, 1); the gradient of a member depends on its identity and the step, not on its place. */
static float value(int member, int step, int e) {
    if (is_padding(e)) return 0;
    return 2 * kp_uniform(
                   kp_philox((uint64_t)member, KP_STREAM_TEST, (uint64_t)step << 32 | (uint64_t)e)
                       .x[0]) -
           1;
}

typedef struct {
    kp_backend *backend;
    kp_program *program;
    kp_optim *optim;
    float *theta, *grad;
    int P, first, block;
} world;

static world open_world(kp_optim_options o, int P, int first) {
    world w = { .P = P, .first = first, .block = o.block ? o.block : 1 };
    kp_err err = { "" };
    size_t bytes = (size_t)P * N * sizeof(float);
    kp_status st = kp_backend_open(&w.backend, "cpu", 2, &err);
    if (!st) st = kp_backend_alloc(w.backend, (void **)&w.theta, bytes, "theta", &err);
    if (!st) st = kp_backend_alloc(w.backend, (void **)&w.grad, bytes, "grad", &err);
    for (int i = 0; !st && i < P * N; i++)
        w.theta[i] = value(first + i / N, 0, i % N); /* CPU memory is host memory */
    o.member += first;
    if (o.seed) o.seed += first;
    if (!st) st = kp_optim_open(&w.optim, w.backend, &layout, P, &o, w.theta, w.grad, &err);
    if (!st) st = kp_program_open(&w.program, w.backend, P, "test", &err);
    if (!st) st = kp_optim_add_begin(w.optim, w.program, &err);
    if (!st) st = kp_optim_add_update(w.optim, w.program, &err);
    if (!st) st = kp_program_seal(w.program, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
    return w;
}

static void close_world(world *w) {
    kp_program_close(w->program);
    kp_optim_close(w->optim);
    kp_backend_close(w->backend);
}

static void step(world *w, int s, const uint8_t *active) {
    kp_err err = { "" };
    for (int i = 0; i < w->P * N; i++) w->grad[i] = value(w->first + i / N, s, i % N);
    kp_status st = kp_optim_prepare(w->optim, 1, active, &err);
    if (!st) st = kp_program_run(w->program, active, &err);
    if (!st) st = kp_optim_between(w->optim, 0, active, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
}

/* ---- the reference --------------------------------------------------------------------------- */

typedef struct {
    double x[N], x0[N], a[N], b[N]; /* weights, at first; moments */
    double norm;
    uint64_t outside[2];
} reference;

static void reference_step(reference *r, kp_rule rule, int centered, const kp_optim_member *m,
                           int member, int t) {
    double sum = 0;
    for (int e = 0; e < N; e++) sum += (double)value(member, t, e) * (double)value(member, t, e);
    r->norm = sqrt(sum);
    double scale = fmin(1, m->grad_norm / (r->norm + 1e-6));
    for (int e = 0; e < N; e++) {
        double g = scale * (double)value(member, t, e), *x = &r->x[e], *a = &r->a[e], *b = &r->b[e];
        g += m->l2 * *x + m->l2init * (*x - r->x0[e]);
        switch (rule) {
        case KP_RULE_ADAMW: *x *= 1 - m->lr * m->weight_decay; /* fall through */
        case KP_RULE_ADAM:
            *a = m->beta1 * *a + (1 - m->beta1) * g;
            *b = m->beta2 * *b + (1 - m->beta2) * g * g;
            *x -= m->lr * (*a / (1 - pow(m->beta1, t))) /
                  (sqrt(*b / (1 - pow(m->beta2, t))) + m->eps);
            break;
        case KP_RULE_SGD:
            *a = m->momentum * *a + g + m->weight_decay * *x;
            *x -= m->lr * *a;
            break;
        case KP_RULE_RMSPROP:
            g += m->weight_decay * *x;
            *a = m->beta2 * *a + (1 - m->beta2) * g * g;
            *b = m->beta2 * *b + (1 - m->beta2) * g;
            *x -= m->lr * g / (sqrt(*a - (centered ? *b * *b : 0)) + m->eps);
            break;
        default: break;
        }
        int tensor = e >= 2 * KP_CHUNK;
        double bound = m->clip.kappa * (double)tensors[tensor].scale_fan_in;
        if (m->clip.once && m->clip.at != t) bound = INFINITY;
        r->outside[tensor] += fabs(*x) > bound;
        *x = fmin(fmax(*x, -bound), bound);
    }
}

/* Members differ in everything that may differ. */
static const kp_optim_member members[MAX_P] = {
    { .lr = 0.01,
      .beta1 = 0.9,
      .beta2 = 0.99,
      .eps = 1e-4,
      .momentum = 0.9,
      .weight_decay = 0.1,
      .grad_norm = INFINITY,
      .clip = { .kappa = 1.5, .bias = 1, .last_layer = 1 } },
    { .lr = 0.03,
      .beta1 = 0.8,
      .beta2 = 0.95,
      .eps = 1e-3,
      .momentum = 0,
      .weight_decay = 0,
      .l2init = 0.25,
      .grad_norm = 2,
      .clip = { .kappa = INFINITY, .bias = 1, .last_layer = 1 } },
    { .lr = 0.02,
      .beta1 = 0,
      .beta2 = 0.9,
      .eps = 1e-2,
      .momentum = 0.5,
      .weight_decay = 0.5,
      .l2 = 0.125,
      .l2init = 0.0625,
      .grad_norm = 1000,
      .clip = { .kappa = 1, .bias = 1, .last_layer = 1, .once = 1, .at = 7 } },
};

static const struct {
    const char *name;
    kp_rule rule;
    int centered, n_moments;
} rules[] = {
    { "adam", KP_RULE_ADAM, 0, 2 },
    { "adamw", KP_RULE_ADAMW, 0, 2 },
    { "sgd", KP_RULE_SGD, 0, 1 },
    { "rmsprop", KP_RULE_RMSPROP, 0, 1 },
    { "rmsprop centered", KP_RULE_RMSPROP, 1, 2 },
};

/* The same members with what stands around a rule: the first has nothing, the others different
 * parts. */
static const uint64_t seeds[MAX_P] = { 11, 12, 13 };
static kp_optim_member all_parts[MAX_P];

static void add_parts(void) {
    memcpy(all_parts, members, sizeof all_parts);
    for (int p = 0; p < MAX_P; p++) {
        kp_optim_member *m = &all_parts[p];
        m->madam_scale = 3, m->upgd.beta = 0.99, m->ewc.decay = 0.9, m->si.xi = 0.1;
        m->si.every = 4;
    }
    all_parts[0].weight_decay = 0;
    all_parts[1].shrink = 0.01, all_parts[1].perturb = 0.02, all_parts[1].upgd.sigma = 0.1;
    all_parts[1].ewc.strength = 0.5;
    all_parts[2].perturb = 0.03, all_parts[2].upgd.sigma = 0.2, all_parts[2].si.strength = 0.05;
}

/* Of every rule, textbook and reference. */
enum { N_FULL = 2 * KP_N_RULES };
static kp_optim_options full_options(int i) {
    add_parts();
    return (kp_optim_options){ .rule = (kp_rule)(i / 2),
                               .reference = i % 2,
                               .centered = i % 2,
                               .seed = seeds,
                               .member = all_parts };
}

static kp_optim_options options(size_t i) {
    return (kp_optim_options){ .rule = rules[i].rule,
                               .centered = rules[i].centered,
                               .member = members };
}

Test(optim, equals_double_precision) {
    for (size_t i = 0; i < KP_COUNT(rules); i++) {
        static reference want[MAX_P];
        kp_err err;
        world w = open_world(options(i), MAX_P, 0);
        memset(want, 0, sizeof want);
        for (int p = 0; p < MAX_P; p++)
            for (int e = 0; e < N; e++) want[p].x[e] = want[p].x0[e] = (double)value(p, 0, e);
        for (int t = 1; t <= STEPS; t++) {
            step(&w, t, NULL);
            for (int p = 0; p < MAX_P; p++)
                reference_step(&want[p], rules[i].rule, rules[i].centered, &members[p], p, t);
        }
        kp_tensor_tally tally[2 * MAX_P];
        float norm[MAX_P];
        cr_assert_eq(kp_optim_tally(w.optim, tally, &err), KP_OK);
        cr_assert_eq(kp_optim_grad_norm(w.optim, norm, &err), KP_OK);
        cr_expect_eq(kp_optim_n_moments(w.optim), rules[i].n_moments + 1, "%s and theta_0",
                     rules[i].name);
        for (int p = 0; p < MAX_P; p++) {
            for (int e = 0; e < N; e++) {
                double got = (double)w.theta[p * N + e], x = want[p].x[e];
                cr_assert(fabs(got - x) <= 2e-6 + 2e-6 * fabs(x),
                          "%s: member %d, element %d: %.9g, not %.9g", rules[i].name, p, e, got, x);
                cr_assert(!is_padding(e) || got == 0, "%s: padding", rules[i].name);
            }
            for (int k = 0; k < 2; k++) { /* values at the bound itself may round to either side */
                double off = fabs((double)tally[2 * p + k].outside - (double)want[p].outside[k]);
                cr_expect(off <= 0.001 * (double)want[p].outside[k],
                          "%s: member %d, tensor %d: %lu outside, not %lu", rules[i].name, p, k,
                          tally[2 * p + k].outside, want[p].outside[k]);
                cr_expect_eq(tally[2 * p + k].non_finite, 0u);
            }
            cr_expect(fabs((double)norm[p] / want[p].norm - 1) < 1e-6, "%s: norm of member %d",
                      rules[i].name, p);
            cr_expect_eq(kp_optim_step(w.optim, p), STEPS);
        }
        cr_expect(want[0].outside[0] && !want[1].outside[0] && want[2].outside[1],
                  "the test clips");
        close_world(&w);
    }
}

static void expect_equal_alone(kp_optim_options o, const char *name) {
    world all = open_world(o, MAX_P, 0);
    for (int t = 1; t <= STEPS; t++) step(&all, t, NULL);
    for (int p = 0; p < MAX_P; p++) {
        world alone = open_world(o, 1, p);
        for (int t = 1; t <= STEPS; t++) step(&alone, t, NULL);
        cr_expect(!memcmp(alone.theta, all.theta + p * N, N * sizeof(float)), "%s: member %d", name,
                  p);
        close_world(&alone);
    }
    for (int i = 0; i < MAX_P * N; i++)
        cr_assert(!is_padding(i % N) || all.theta[i] == 0, "%s: padding", name);
    close_world(&all);
}

Test(optim, member_equals_itself_alone) {
    for (size_t i = 0; i < KP_COUNT(rules); i++) expect_equal_alone(options(i), rules[i].name);
}

Test(optim, member_with_its_parts_equals_itself_alone) {
    for (int i = 0; i < N_FULL; i++) {
        char name[32];
        snprintf(name, sizeof name, "rule %d, reference %d", i / 2, i % 2);
        expect_equal_alone(full_options(i), name);
    }
}

Test(optim, NaN_stays_in_its_place) {
    for (int i = 0; i < N_FULL; i++) {
        world w = open_world(full_options(i), MAX_P, 0);
        kp_tensor_tally tally[2 * MAX_P];
        step(&w, 1, NULL);
        w.theta[N + 7] = NAN, w.theta[2 * N + 9] = NAN;
        step(&w, 2, NULL);
        kp_optim_tally(w.optim, tally, NULL);
        cr_expect(isnan(w.theta[N + 7]) && isnan(w.theta[2 * N + 9]), "rule %d", i / 2);
        for (int k = 0; k < 2 * MAX_P; k++)
            cr_expect_eq(tally[k].non_finite, (unsigned)(k == 2 || k == 4), "rule %d: %lu in %d",
                         i / 2, tally[k].non_finite, k);
        close_world(&w);
    }
}

/* What a checkpoint has. */
static void copy_state(world *to, const world *from) {
    size_t bytes = (size_t)from->P * N * sizeof(float);
    const char *name;
    memcpy(to->theta, from->theta, bytes);
    for (int k = 0; k < kp_optim_n_moments(from->optim); k++)
        memcpy(kp_optim_moment(to->optim, k, &name), kp_optim_moment(from->optim, k, &name), bytes);
    for (int p = 0; p < from->P; p++) kp_optim_steps(to->optim)[p] = kp_optim_steps(from->optim)[p];
}

Test(optim, weights_moments_and_steps_are_all_of_the_state) {
    for (int i = 0; i < N_FULL; i++) {
        world a = open_world(full_options(i), MAX_P, 0), b = open_world(full_options(i), MAX_P, 0);
        for (int t = 1; t <= 6; t++) step(&a, t, NULL);
        copy_state(&b, &a);
        for (int t = 7; t <= 9; t++) step(&a, t, NULL), step(&b, t, NULL);
        cr_expect(!memcmp(a.theta, b.theta, MAX_P * N * sizeof(float)), "rule %d", i / 2);
        close_world(&a), close_world(&b);
    }
}

Test(optim, another_step_has_other_noise) {
    world a = open_world(full_options(2 * KP_RULE_SGD), MAX_P, 0),
          b = open_world(full_options(2 * KP_RULE_SGD), MAX_P, 0);
    for (int p = 0; p < MAX_P; p++) kp_optim_steps(b.optim)[p] = 10;
    step(&a, 1, NULL), step(&b, 1, NULL);
    cr_expect(!memcmp(a.theta, b.theta, N * sizeof(float)), "member 0 has none");
    cr_expect(memcmp(a.theta + N, b.theta + N, N * sizeof(float)), "member 1 has");
    close_world(&a), close_world(&b);
}

Test(optim, inactive_members_stand_still) {
    const uint8_t active[MAX_P] = { 1, 0, 1 };
    world w = open_world(options(0), MAX_P, 0);
    for (int t = 1; t <= 3; t++) step(&w, t, active);
    for (int e = 0; e < N; e++) cr_assert_eq(w.theta[N + e], value(1, 0, e), "element %d", e);
    cr_expect(kp_optim_step(w.optim, 0) == 3 && kp_optim_step(w.optim, 1) == 0);
    const char *name;
    for (int k = 0; k < kp_optim_n_moments(w.optim); k++) {
        const float *moment = kp_optim_moment(w.optim, k, &name) + N;
        for (int e = 0; e < N; e++)
            cr_assert_eq(moment[e], strcmp(name, "anchor") ? 0 : value(1, 0, e));
    }
    close_world(&w);
}

/* Blocks of updates with the same gradient; what is announced together is run together. */
static void run_blocks(world *w, const int *length, int n_lengths, const uint8_t *active) {
    kp_err err = { "" };
    for (int s = 0; s < n_lengths; s++) {
        for (int i = 0; i < w->P * N; i++) w->grad[i] = value(w->first + i / N, s, i % N);
        for (int n, done = 0; done < length[s]; done += n) {
            n = kp_optim_room(w->optim, active);
            if (n > w->block) n = w->block;
            if (n > length[s] - done) n = length[s] - done;
            kp_status st = kp_optim_prepare(w->optim, n, active, &err);
            if (!st) st = kp_program_repeat(w->program, n, active, &err);
            if (!st) st = kp_optim_between(w->optim, 0, active, &err);
            cr_assert_eq(st, KP_OK, "%s", err.text);
            if (w->block > 1) cr_expect_eq(kp_optim_cursor(w->optim)[0], n - 1);
        }
    }
}

static void expect_equal_blocks(kp_optim_options o, int P, const char *rule) {
    static const int length[] = { 5, 1, 8, 4 };
    const uint8_t active[MAX_P] = { 1, P != 2, 1 };
    kp_tensor_tally tally[2][2 * MAX_P];
    const char *name;
    world one = open_world(o, P, 0);
    o.block = 5;
    world many = open_world(o, P, 0);
    run_blocks(&one, length, KP_COUNT(length), active);
    run_blocks(&many, length, KP_COUNT(length), active);
    size_t bytes = (size_t)P * N * sizeof(float);
    cr_expect(!memcmp(one.theta, many.theta, bytes), "%s of %d", rule, P);
    for (int k = 0; k < kp_optim_n_moments(one.optim); k++)
        cr_expect(!memcmp(kp_optim_moment(one.optim, k, &name),
                          kp_optim_moment(many.optim, k, &name), bytes),
                  "%s of %d: %s", rule, P, name);
    kp_optim_tally(one.optim, tally[0], NULL), kp_optim_tally(many.optim, tally[1], NULL);
    cr_expect(!memcmp(tally[0], tally[1], 2 * (size_t)P * sizeof *tally[0]), "%s of %d", rule, P);
    cr_expect_eq(kp_optim_step(many.optim, 0), 18);
    close_world(&one), close_world(&many);
}

/* Members by themselves, over threads, and slices over threads (three members, two threads). */
Test(optim, a_block_of_updates_equals_them_one_by_one) {
    for (int P = 1; P <= MAX_P; P++) {
        for (size_t i = 0; i < KP_COUNT(rules); i++)
            expect_equal_blocks(options(i), P, rules[i].name);
        for (int i = 0; i < N_FULL; i++)
            expect_equal_blocks(full_options(i), P, i % 2 ? "a rule, reference" : "a rule");
    }
}

Test(optim, room_ends_where_importance_is_consolidated) {
    kp_optim_options o = full_options(2 * KP_RULE_ADAM);
    all_parts[2].clip.once = 0;
    world w = open_world(o, MAX_P, 0);
    const float *importance = NULL;
    const char *name;
    for (int k = 0; k < kp_optim_n_moments(w.optim); k++) {
        const float *moment = kp_optim_moment(w.optim, k, &name) + 2 * N;
        if (!strcmp(name, "si_importance")) importance = moment;
    }
    cr_assert(importance);
    for (int t = 0; t < 8; t++) {
        cr_expect_eq(kp_optim_room(w.optim, NULL), 4 - t % 4, "after %d updates", t);
        step(&w, t + 1, NULL);
        cr_expect_eq(importance[0] != 0, t >= 3, "after %d updates", t + 1);
    }
    close_world(&w);
}

Test(optim, importance_is_consolidated_where_a_task_ends) {
    kp_optim_options o = full_options(2 * KP_RULE_SGD);
    const uint8_t active[MAX_P] = { 1, 1, 0 };
    for (int p = 0; p < MAX_P; p++) all_parts[p].si.every = 0;
    world w = open_world(o, MAX_P, 0);
    const char *name;
    int n = kp_optim_n_moments(w.optim), i = 0;
    while (i < n && (kp_optim_moment(w.optim, i, &name), strcmp(name, "si_importance"))) i++;
    const float *importance = kp_optim_moment(w.optim, i, &name) + 2 * N;
    for (int t = 1; t <= 5; t++) step(&w, t, NULL);
    cr_expect_eq(importance[0], 0);
    cr_assert_eq(kp_optim_between(w.optim, 1, active, NULL), KP_OK);
    cr_expect_eq(importance[0], 0, "not of a member that is not active");
    cr_assert_eq(kp_optim_between(w.optim, 1, NULL, NULL), KP_OK);
    cr_expect(importance[0] != 0);
    close_world(&w);
}

Test(optim, room_ends_where_bounds_change) {
    world w = open_world(options(2), MAX_P, 0); /* member 2 clips at update 7 */
    static const int room[] = { 6, 5, 4, 3, 2, 1, 1 };
    for (int t = 0; t < 7; t++) {
        cr_expect_eq(kp_optim_room(w.optim, NULL), room[t], "after %d updates", t);
        cr_expect_gt(kp_optim_room(w.optim, (const uint8_t[]){ 1, 1, 0 }), 1 << 30,
                     "a member that has stopped limits nobody");
        step(&w, t + 1, NULL);
    }
    cr_expect_gt(kp_optim_room(w.optim, NULL), 1 << 30);
    close_world(&w);
}

Test(optim, what_one_pass_can_do) {
    kp_optim_fused f;
    const char *why_not;
    kp_optim_options o = options(2);
    o.block = 4;
    world limited = open_world(o, MAX_P, 0), w = open_world(o, 1, 0);
    cr_expect(!kp_optim_fuse(limited.optim, &f, &why_not) && strstr(why_not, "optim.grad_norm"));
    cr_assert(kp_optim_fuse(w.optim, &f, &why_not) && !why_not);
    cr_expect(f.rule == KP_MLP_MOMENTUM && f.state[0] && !f.state[1] && f.bound && f.total);
    for (int i = 0; i < N_FULL; i++) {
        world full = open_world(full_options(i), 1, 0), parts = open_world(full_options(i), 1, 1);
        cr_expect_eq(kp_optim_fuse(full.optim, &f, &why_not), i / 2 <= KP_RULE_RMSPROP, "rule %d",
                     i / 2);
        cr_expect(!kp_optim_fuse(parts.optim, &f, &why_not) && why_not);
        close_world(&full), close_world(&parts);
    }
    cr_assert(kp_optim_fuse(w.optim, &f, &why_not));
    kp_optim_prepare(w.optim, 3, NULL, NULL);
    for (int k = 0; k < 3; k++) cr_expect_eq(((const kp_sgd_hyper *)f.hyper)[k].momentum, 0.9f);
    close_world(&limited), close_world(&w);
}

Test(optim, clips_once_at_its_update) {
    world w = open_world(options(2), MAX_P, 0);
    for (int t = 1; t <= 8; t++) {
        kp_tensor_tally tally[2 * MAX_P];
        step(&w, t, NULL);
        cr_assert_eq(kp_optim_tally(w.optim, tally, NULL), KP_OK);
        cr_expect_eq(tally[4].outside > 0, t >= 7, "update %d", t);
        double largest = 0;
        for (int e = 0; e < 1500; e++) largest = fmax(largest, fabs((double)w.theta[2 * N + e]));
        cr_expect(t == 7 ? largest == 0.5 : largest > 0.5, "update %d: %g", t, largest);
    }
    close_world(&w);
}

Test(optim, tally_counts_all_updates_and_can_be_set) {
    world w = open_world(options(0), 1, 0);
    kp_tensor_tally tally[2], zero[2] = { { 0, 0 } };
    step(&w, 1, NULL);
    kp_optim_tally(w.optim, tally, NULL);
    uint64_t first = tally[0].outside;
    cr_expect(first > 0);
    step(&w, 2, NULL);
    kp_optim_tally(w.optim, tally, NULL);
    cr_expect_gt(tally[0].outside, first);
    uint64_t second = tally[0].outside - first;
    kp_optim_set_tally(w.optim, zero, NULL);
    w.theta[5] = NAN;
    step(&w, 2, NULL);
    kp_optim_tally(w.optim, tally, NULL);
    cr_expect(tally[0].non_finite == 1 && tally[1].non_finite == 0 && isnan(w.theta[5]));
    cr_expect(tally[0].outside <= second * 2 && tally[0].outside > 0);
    close_world(&w);
}

Test(optim, step_size_can_change) {
    world w = open_world(options(2), 2, 0);
    step(&w, 1, NULL);
    static float before[2 * N];
    memcpy(before, w.theta, sizeof before);
    kp_optim_set_lr(w.optim, 1, 0);
    step(&w, 2, NULL);
    cr_expect(memcmp(before, w.theta, N * sizeof(float)), "member 0 moves");
    cr_expect(!memcmp(before + N, w.theta + N, N * sizeof(float)),
              "member 1, step size 0, does not");
    close_world(&w);
}

Test(optim, an_unknown_kappa_is_told) {
    kp_optim_member m = members[0];
    kp_err err = { "" };
    kp_backend *backend = NULL;
    kp_optim *optim = NULL;
    float *x = NULL;
    m.clip.n_named = 1;
    strcpy(m.clip.named[0].name, "fc7");
    cr_assert_eq(kp_backend_open(&backend, "cpu", 1, &err), KP_OK);
    cr_assert_eq(kp_backend_alloc(backend, (void **)&x, N * sizeof(float), "x", &err), KP_OK);
    kp_optim_options o = { .rule = KP_RULE_ADAM, .member = &m };
    cr_expect_eq(kp_optim_open(&optim, backend, &layout, 1, &o, x, x, &err), KP_BAD_CONFIG);
    cr_expect(strstr(err.text, "'fc7'") && !optim, "%s", err.text);
    kp_backend_close(backend);
}
