/* population.c: the public API: it learns, a member equals itself alone, the clip holds, nothing is
 * allocated, and what is wrong is told. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "count_allocations.h"
#include "kappa/kappa.h"

enum { D = 5, HIDDEN = 70, CLASSES = 3, MAX_B = 16, MAX_P = 8, STEPS = 12, TENSORS = 4 };

/* ---- worlds ---------------------------------------------------------------------------------- */

static float draw(int member, int step, int64_t at) {
    uint64_t counter = (uint64_t)step << 32 | (uint64_t)at;
    return 2 * kp_uniform(kp_philox((uint64_t)member, KP_STREAM_TEST, counter).x[0]) - 1;
}

/* A member's options depend on its identity, not on its place. */
static kp_member_options member_options(int id) {
    kp_member_options m;
    kp_member_options_init(&m);
    m.seed = 100 + (uint64_t)id;
    m.lr = 0.01 * (1 + id % 3);
    m.eps = 1e-4;
    m.momentum = 0.1 * id;
    m.kappa = id % 2 ? 1 : INFINITY;
    m.grad_norm = id % 3 == 2 ? 0.5 : INFINITY;
    return m;
}

static const int widths[] = { HIDDEN, CLASSES };

static kp_population_options options(int P, const kp_member_options *member) {
    kp_population_options o;
    kp_population_options_init(&o);
    o.P = P, o.B = MAX_B, o.n_inputs = D, o.n_layers = 2, o.width = widths, o.member = member;
    o.device = "cpu", o.n_threads = 2;
    return o;
}

static kp_population *open_it(const kp_population_options *o) {
    kp_population *pop = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_population_open(&pop, o, &err), KP_OK, "%s", err.text);
    return pop;
}

typedef struct {
    float x[MAX_P][MAX_B][D], target[MAX_P][MAX_B][CLASSES];
    int32_t label[MAX_P][MAX_B];
} data;

/* The minibatch of `step` for the members first, first + 1, ... */
static void fill(data *d, int P, int first, int step) {
    for (int p = 0; p < P; p++)
        for (int b = 0; b < MAX_B; b++) {
            for (int i = 0; i < D; i++) d->x[p][b][i] = draw(first + p, step, b * D + i);
            for (int k = 0; k < CLASSES; k++)
                d->target[p][b][k] = draw(first + p, step, 1000 + b * CLASSES + k);
            d->label[p][b] = d->x[p][b][0] > d->x[p][b][1] ? 2 : d->x[p][b][2] > 0;
        }
}

static kp_batch batch(const data *d, kp_objective loss, int shared) {
    kp_batch b = { .x = d->x[0][0], .shared = shared };
    if (loss == KP_CROSS_ENTROPY) b.label = d->label[0];
    else b.target = d->target[0][0];
    return b;
}

static float *read_all(kp_population *pop, int member, int64_t *n) {
    *n = 0;
    for (int i = 0; i < kp_population_n_tensors(pop); i++) *n += kp_population_tensor(pop, i).count;
    float *all = malloc((size_t)*n * sizeof *all), *at = all;
    for (int i = 0; i < kp_population_n_tensors(pop); i++) {
        kp_tensor_info t = kp_population_tensor(pop, i);
        kp_err err = { "" };
        cr_assert_eq(kp_population_read(pop, member, t.name, at, t.count, &err), KP_OK, "%s",
                     err.text);
        at += t.count;
    }
    return all;
}

static void expect_same_weights(const char *what, kp_population *a, int member_a, kp_population *b,
                                int member_b) {
    int64_t n;
    float *x = read_all(a, member_a, &n), *y = read_all(b, member_b, &n);
    for (int64_t i = 0; i < n; i++)
        cr_assert(!memcmp(&x[i], &y[i], sizeof *x), "%s: weight %ld: %.9g, not %.9g", what, (long)i,
                  (double)x[i], (double)y[i]);
    free(x), free(y);
}

/* ---- learning -------------------------------------------------------------------------------- */

/* Exclusive or of two signs, which no linear net can tell. */
Test(population, learns_with_and_without_clipping) {
    enum { P = 2, B = 64, N = 500 };
    static float x[B][2], test[N][2], y[P][N][2];
    const int width[] = { 32, 2 };
    kp_member_options member[P] = { member_options(0), member_options(0) };
    member[1].kappa = 3;
    kp_population_options o = options(P, member);
    o.B = B, o.n_inputs = 2, o.width = width;
    kp_population *pop = open_it(&o);
    int32_t label[B];
    float first[P], loss[P];
    for (int t = 0; t < 400; t++) {
        for (int b = 0; b < B; b++) {
            for (int i = 0; i < 2; i++) x[b][i] = draw(50, t, 2 * b + i);
            label[b] = x[b][0] * x[b][1] > 0;
        }
        kp_batch shared = { .x = x[0], .label = label, .shared = 1 };
        cr_assert_eq(kp_population_step(pop, &shared, t ? loss : first, NULL), KP_OK);
    }
    for (int i = 0; i < 2 * N; i++) test[i / 2][i % 2] = draw(51, 0, i);
    cr_assert_eq(kp_population_predict(pop, test[0], 1, N, y[0][0], NULL), KP_OK);
    for (int p = 0; p < P; p++) {
        int right = 0;
        for (int i = 0; i < N; i++)
            right += (y[p][i][1] > y[p][i][0]) == (test[i][0] * test[i][1] > 0);
        cr_expect(right > 0.95 * N, "member %d: %d of %d", p, right, N);
        cr_expect(first[p] > 0.6f && loss[p] < 0.2f, "member %d: loss %g to %g", p,
                  (double)first[p], (double)loss[p]);
    }
    kp_population_close(pop);
}

/* The loss of the weights in `pop`, in double precision, from what predict() says. */
static double loss_of(kp_population *pop, const data *d, kp_objective objective) {
    static float y[MAX_B][CLASSES];
    double sum = 0;
    cr_assert_eq(kp_population_predict(pop, d->x[0][0], 0, MAX_B, y[0], NULL), KP_OK);
    for (int b = 0; b < MAX_B; b++) {
        double total = 0;
        for (int k = 0; k < CLASSES; k++) {
            total += exp((double)y[b][k]);
            if (objective == KP_SQUARED_ERROR)
                sum += pow((double)y[b][k] - (double)d->target[0][b][k], 2) / (MAX_B * CLASSES);
        }
        if (objective == KP_CROSS_ENTROPY)
            sum += (log(total) - (double)y[b][d->label[0][b]]) / MAX_B;
    }
    return sum;
}

/* One step of SGD is minus the gradient; the net is linear, so differences see no kinks. */
Test(population, a_step_goes_down_the_gradient) {
    for (int objective = KP_CROSS_ENTROPY; objective <= KP_SQUARED_ERROR; objective++) {
        static data d;
        kp_member_options member = member_options(0);
        member.lr = 1, member.momentum = 0;
        kp_population_options o = options(1, &member);
        o.loss = (kp_objective)objective, o.rule = KP_RULE_SGD, o.activation = KP_LINEAR;
        kp_population *pop = open_it(&o), *moved = open_it(&o);
        fill(&d, 1, 0, 0);
        kp_batch b = batch(&d, o.loss, 0);
        float loss;
        cr_assert_eq(kp_population_step(moved, &b, &loss, NULL), KP_OK);
        cr_expect(fabs((double)loss - loss_of(pop, &d, o.loss)) < 1e-5, "loss %g", (double)loss);
        for (int i = 0; i < TENSORS; i++) {
            kp_tensor_info t = kp_population_tensor(pop, i);
            static float was[HIDDEN * D], is[HIDDEN * D];
            kp_population_read(pop, 0, t.name, was, t.count, NULL);
            kp_population_read(moved, 0, t.name, is, t.count, NULL);
            for (int64_t e = 0; e < t.count; e += 1 + t.count / 20) {
                const float h = 0x1p-6f;
                float keep = was[e];
                double slope = 0;
                for (int side = -1; side <= 1; side += 2) {
                    was[e] = keep + (float)side * h;
                    kp_population_write(pop, 0, t.name, was, t.count, NULL);
                    slope += side * loss_of(pop, &d, o.loss) / (2 * (double)h);
                }
                was[e] = keep;
                kp_population_write(pop, 0, t.name, was, t.count, NULL);
                cr_expect(fabs((double)(keep - is[e]) - slope) < 2e-4, "%s[%ld]: %g, not %g",
                          t.name, (long)e, (double)(keep - is[e]), slope);
            }
        }
        kp_population_close(pop);
        kp_population_close(moved);
    }
}

/* ---- the population law ---------------------------------------------------------------------- */

static void train(kp_population *pop, kp_objective objective, int P, int first,
                  float loss[STEPS][MAX_P]) {
    data d;
    for (int t = 0; t < STEPS; t++) {
        kp_err err = { "" };
        fill(&d, P, first, t);
        kp_batch b = batch(&d, objective, 0);
        cr_assert_eq(kp_population_step(pop, &b, loss[t], &err), KP_OK, "%s", err.text);
    }
}

Test(population, member_equals_itself_alone) {
    static const int sizes[] = { 2, 3, MAX_P };
    for (int rule = 0; rule <= KP_RULE_RMSPROP; rule++)
        for (int s = 0; s < 3; s++)
            for (int threads = 1; threads <= 2; threads++) {
                int P = sizes[s];
                kp_member_options member[MAX_P];
                for (int p = 0; p < P; p++) member[p] = member_options(p);
                kp_population_options o = options(P, member);
                o.rule = (kp_rule)rule, o.n_threads = threads;
                o.loss = rule % 2 ? KP_SQUARED_ERROR : KP_CROSS_ENTROPY;
                float loss[STEPS][MAX_P], own[STEPS][MAX_P];
                kp_population *all = open_it(&o);
                train(all, o.loss, P, 0, loss);
                for (int p = 0; p < P; p++) {
                    o.P = 1, o.member = &member[p], o.n_threads = 3 - threads;
                    kp_population *alone = open_it(&o);
                    train(alone, o.loss, 1, p, own);
                    char what[80];
                    snprintf(what, sizeof what, "rule %d, %d threads, member %d of %d", rule,
                             threads, p, P);
                    expect_same_weights(what, all, p, alone, 0);
                    for (int t = 0; t < STEPS; t++)
                        cr_expect_eq(loss[t][p], own[t][0], "%s: loss %d", what, t);
                    kp_population_close(alone);
                }
                kp_population_close(all);
            }
}

typedef struct {
    kp_population *pop;
    int first;
} trainee;

static void *train_one(void *context) {
    trainee *t = context;
    float loss[STEPS][MAX_P];
    train(t->pop, KP_CROSS_ENTROPY, 3, t->first, loss);
    return NULL;
}

Test(population, different_populations_may_train_in_different_threads) {
    kp_member_options member[6];
    for (int p = 0; p < 6; p++) member[p] = member_options(p);
    pthread_t thread[2];
    trainee one[2], together[2];
    for (int i = 0; i < 2; i++) {
        kp_population_options o = options(3, member + 3 * i);
        one[i] = (trainee){ open_it(&o), 3 * i }, together[i] = (trainee){ open_it(&o), 3 * i };
        train_one(&one[i]);
    }
    for (int i = 0; i < 2; i++) pthread_create(&thread[i], NULL, train_one, &together[i]);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++) {
        for (int p = 0; p < 3; p++)
            expect_same_weights("two threads", one[i].pop, p, together[i].pop, p);
        kp_population_close(one[i].pop);
        kp_population_close(together[i].pop);
    }
}

Test(population, a_shared_minibatch_is_the_same_for_each) {
    static data d;
    for (int objective = KP_CROSS_ENTROPY; objective <= KP_SQUARED_ERROR; objective++) {
        kp_member_options member[3] = { member_options(0), member_options(1), member_options(2) };
        kp_population_options o = options(3, member);
        o.loss = (kp_objective)objective;
        kp_population *shared = open_it(&o), *each = open_it(&o);
        fill(&d, 1, 7, 0);
        for (int p = 1; p < 3; p++) {
            memcpy(d.x[p], d.x[0], sizeof d.x[0]);
            memcpy(d.label[p], d.label[0], sizeof d.label[0]);
            memcpy(d.target[p], d.target[0], sizeof d.target[0]);
        }
        kp_batch one = batch(&d, o.loss, 1), three = batch(&d, o.loss, 0);
        cr_assert_eq(kp_population_step(shared, &one, NULL, NULL), KP_OK);
        cr_assert_eq(kp_population_step(each, &three, NULL, NULL), KP_OK);
        for (int p = 0; p < 3; p++) expect_same_weights("shared", shared, p, each, p);
        kp_population_close(shared);
        kp_population_close(each);
    }
}

Test(population, predicts_any_number_of_samples) {
    enum { N = 2 * MAX_B + 3 };
    static float x[2][N][D], y[2][N][CLASSES], one[2][1][CLASSES], same[2][N][CLASSES];
    kp_member_options member[2] = { member_options(0), member_options(1) };
    kp_population_options o = options(2, member);
    kp_population *pop = open_it(&o);
    for (int p = 0; p < 2; p++)
        for (int i = 0; i < N * D; i++) x[p][i / D][i % D] = draw(p, 9, i);
    cr_assert_eq(kp_population_predict(pop, x[0][0], 0, N, y[0][0], NULL), KP_OK);
    cr_assert_eq(kp_population_predict(pop, x[0][0], 1, N, same[0][0], NULL), KP_OK);
    cr_expect(!memcmp(same[0], y[0], sizeof y[0]) && memcmp(same[1], y[1], sizeof y[1]));
    for (int i = 0; i < N; i++) {
        float at[2][1][D];
        for (int p = 0; p < 2; p++) memcpy(at[p][0], x[p][i], sizeof at[p][0]);
        cr_assert_eq(kp_population_predict(pop, at[0][0], 0, 1, one[0][0], NULL), KP_OK);
        for (int p = 0; p < 2; p++)
            cr_assert(!memcmp(one[p][0], y[p][i], sizeof one[p][0]), "member %d, sample %d", p, i);
    }
    kp_population_close(pop);
}

Test(population, a_step_allocates_nothing) {
    static data d;
    static float y[3][40][CLASSES], x[40][D], values[HIDDEN * D];
    double share[3 * TENSORS];
    kp_member_options member[3] = { member_options(0), member_options(1), member_options(2) };
    kp_population_options o = options(3, member);
    int64_t before = n_allocations;
    kp_population *pop = open_it(&o);
    cr_assert(n_allocations > before, "allocations are counted");
    fill(&d, 3, 0, 0);
    kp_batch b = batch(&d, o.loss, 0);
    before = n_allocations;
    for (int t = 0; t < 3; t++) {
        float loss[3];
        kp_population_step(pop, &b, loss, NULL);
        kp_population_predict(pop, x[0], 1, 40, y[0][0], NULL);
        kp_population_share_clipped(pop, share, NULL);
        kp_population_read(pop, 1, "fc1.weight", values, HIDDEN * D, NULL);
        kp_population_write(pop, 1, "fc1.weight", values, HIDDEN * D, NULL);
    }
    int64_t after = n_allocations;
    cr_expect_eq(after, before, "%ld allocations", (long)(after - before));
    kp_population_close(pop);
}

/* ---- clipping -------------------------------------------------------------------------------- */

/* Returns how many weights lie at the bound. */
static int expect_within(kp_population *pop, int member, kp_tensor_info t, double kappa) {
    static float w[HIDDEN * D];
    float bound = (float)(kappa * t.scale);
    int at_bound = 0;
    cr_assert_eq(kp_population_read(pop, member, t.name, w, t.count, NULL), KP_OK);
    for (int64_t e = 0; e < t.count; e++) {
        cr_assert(fabsf(w[e]) <= bound, "member %d, %s[%ld]: %.9g, beyond %.9g", member, t.name,
                  (long)e, (double)w[e], (double)bound);
        at_bound += fabsf(w[e]) == bound;
    }
    return at_bound;
}

Test(population, weights_stay_within_kappa_after_every_step) {
    static data d;
    const double kappa[3] = { 1, 0.5, 2 };
    for (int scale_init = 0; scale_init <= 1; scale_init++) {
        kp_member_options member[3];
        for (int p = 0; p < 3; p++) {
            member[p] = member_options(p);
            member[p].lr = 0.05, member[p].kappa = kappa[p];
        }
        kp_population_options o = options(3, member);
        o.scale_init = scale_init, o.init = KP_INIT_XAVIER;
        kp_population *pop = open_it(&o);
        double in[2] = { D, HIDDEN }, out[2] = { HIDDEN, CLASSES };
        for (int i = 0; i < TENSORS; i++) {
            double want = scale_init ? sqrt(6 / (in[i / 2] + out[i / 2])) : 1 / sqrt(in[i / 2]);
            double scale = kp_population_tensor(pop, i).scale;
            cr_expect(fabs(scale / want - 1) < 1e-6, "scale %g, not %g", scale, want);
        }
        int n_at_bound = 0;
        for (int t = 0; t < STEPS; t++) {
            fill(&d, 3, 0, t);
            kp_batch b = batch(&d, o.loss, 0);
            cr_assert_eq(kp_population_step(pop, &b, NULL, NULL), KP_OK);
            for (int p = 0; p < 3; p++)
                for (int i = 0; i < TENSORS; i++)
                    n_at_bound += expect_within(pop, p, kp_population_tensor(pop, i), kappa[p]);
        }
        cr_expect_gt(n_at_bound, 1000, "the test clips");
        kp_population_close(pop);
    }
}

/* Against a twin without clipping: after one update, what it has outside is what was clipped. */
Test(population, share_clipped_counts_what_the_clip_moved) {
    static data d;
    kp_member_options member[2] = { member_options(1), member_options(1) };
    member[0].kappa = 0.9, member[1].kappa = INFINITY;
    kp_population_options o = options(2, member);
    kp_population *pop = open_it(&o);
    double share[2][TENSORS];
    fill(&d, 1, 0, 0);
    kp_batch b = batch(&d, o.loss, 1);
    cr_assert_eq(kp_population_share_clipped(pop, share[0], NULL), KP_OK);
    cr_expect(isnan(share[0][0]), "no update yet");
    cr_assert_eq(kp_population_step(pop, &b, NULL, NULL), KP_OK);
    cr_assert_eq(kp_population_share_clipped(pop, share[0], NULL), KP_OK);
    for (int i = 0; i < TENSORS; i++) {
        static float w[HIDDEN * D];
        kp_tensor_info t = kp_population_tensor(pop, i);
        int outside = 0;
        kp_population_read(pop, 1, t.name, w, t.count, NULL);
        for (int64_t e = 0; e < t.count; e++) outside += fabsf(w[e]) > (float)(0.9 * t.scale);
        cr_expect_eq(share[0][i], outside / (double)t.count, "%s: %g", t.name, share[0][i]);
        cr_expect_eq(share[1][i], 0);
    }
    cr_expect_gt(share[0][0], 0);
    /* step size 0: nothing is moved by updates 2 and 3, one bias by update 4 */
    static float bias[HIDDEN];
    kp_population_set_lr(pop, 0, 0, NULL);
    for (int t = 0; t < 2; t++) cr_assert_eq(kp_population_step(pop, &b, NULL, NULL), KP_OK);
    cr_assert_eq(kp_population_share_clipped(pop, share[0], NULL), KP_OK);
    cr_expect(share[0][0] == 0 && share[0][1] == 0, "since the previous call");
    kp_population_read(pop, 0, "fc1.bias", bias, HIDDEN, NULL);
    bias[7] = 10;
    kp_population_write(pop, 0, "fc1.bias", bias, HIDDEN, NULL);
    cr_assert_eq(kp_population_step(pop, &b, NULL, NULL), KP_OK);
    cr_assert_eq(kp_population_share_clipped(pop, share[0], NULL), KP_OK);
    cr_expect(share[0][0] == 0 && share[0][1] == 1.0 / HIDDEN, "%g", share[0][1]);
    kp_population_close(pop);
}

Test(population, biases_and_output_may_be_left_out) {
    kp_member_options member = member_options(1);
    kp_population_options o = options(1, &member);
    o.clip_bias = 0, o.clip_output = 0;
    kp_population *pop = open_it(&o);
    for (int i = 0; i < TENSORS; i++) {
        kp_tensor_info t = kp_population_tensor(pop, i);
        cr_expect_eq(t.scale > 0, !strcmp(t.name, "fc1.weight"), "%s", t.name);
    }
    kp_population_close(pop);
}

/* ---- tensors, step size, members that stop --------------------------------------------------- */

Test(population, tensors_are_in_PyTorchs_order) {
    static float w[CLASSES][D], back[CLASSES][D];
    const float bias[CLASSES] = { 100, 200, 300 };
    const int width[] = { CLASSES };
    kp_member_options member[2] = { member_options(0), member_options(1) };
    kp_population_options o = options(2, member);
    o.n_layers = 1, o.width = width;
    kp_population *pop = open_it(&o);
    kp_tensor_info t = kp_population_tensor(pop, 0);
    cr_expect(!strcmp(t.name, "fc1.weight") && t.n_dims == 2 && t.dims[0] == CLASSES &&
              t.dims[1] == D && t.count == CLASSES * D);
    for (int k = 0; k < CLASSES; k++)
        for (int i = 0; i < D; i++) w[k][i] = (float)(10 * k + i);
    cr_assert_eq(kp_population_write(pop, 1, t.name, w[0], t.count, NULL), KP_OK);
    cr_assert_eq(kp_population_write(pop, 1, "fc1.bias", bias, CLASSES, NULL), KP_OK);
    cr_assert_eq(kp_population_read(pop, 1, t.name, back[0], t.count, NULL), KP_OK);
    cr_expect(!memcmp(w, back, sizeof w));
    for (int i = 0; i < D; i++) {
        float x[D] = { 0 }, y[2][CLASSES];
        x[i] = 1;
        cr_assert_eq(kp_population_predict(pop, x, 1, 1, y[0], NULL), KP_OK);
        for (int k = 0; k < CLASSES; k++)
            cr_expect_eq(y[1][k], w[k][i] + bias[k], "output %d of input %d: %g", k, i,
                         (double)y[1][k]);
    }
    kp_population_close(pop);
}

Test(population, initial_weights_are_the_seeds) {
    kp_member_options member[3] = { member_options(0), member_options(0), member_options(1) };
    member[1].kappa = 1, member[1].lr = 1;
    kp_population_options o = options(3, member);
    kp_population *pop = open_it(&o);
    int64_t n;
    float *a = read_all(pop, 0, &n), *b = read_all(pop, 1, &n), *c = read_all(pop, 2, &n);
    cr_expect(!memcmp(a, b, (size_t)n * sizeof *a) && memcmp(a, c, (size_t)n * sizeof *a));
    free(a), free(b), free(c);
    kp_population_close(pop);
}

Test(population, step_size_can_change) {
    static data d;
    kp_member_options member[2] = { member_options(0), member_options(1) };
    kp_population_options o = options(2, member);
    kp_population *pop = open_it(&o), *before = open_it(&o);
    fill(&d, 2, 0, 0);
    kp_batch b = batch(&d, o.loss, 0);
    cr_assert_eq(kp_population_set_lr(pop, 0, 0, NULL), KP_OK);
    cr_assert_eq(kp_population_step(pop, &b, NULL, NULL), KP_OK);
    expect_same_weights("step size 0", pop, 0, before, 0);
    int64_t n;
    float *x = read_all(pop, 1, &n), *y = read_all(before, 1, &n);
    cr_expect(memcmp(x, y, (size_t)n * sizeof *x), "the other member moves");
    free(x), free(y);
    kp_err err = { "" };
    cr_expect_eq(kp_population_set_lr(pop, 2, 0.1, &err), KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "member 2: there are 0 to 1");
    cr_expect_eq(kp_population_set_lr(pop, 0, NAN, NULL), KP_BAD_CONFIG);
    kp_population_close(pop);
    kp_population_close(before);
}

/* Member 1's weights overflow in its first update, whose loss is still finite. */
Test(population, a_member_that_is_not_finite_stops_alone) {
    static data d;
    static float w[HIDDEN];
    kp_member_options member[3] = { member_options(0), member_options(1), member_options(2) };
    kp_population_options o = options(3, member);
    o.rule = KP_RULE_SGD;
    kp_population *whole = open_it(&o);
    member[1].lr = 1e29, member[1].weight_decay = 1e30, member[1].kappa = INFINITY;
    kp_population *pop = open_it(&o);
    float loss[3], want[3];
    double share[3][TENSORS];
    kp_err err = { "" };
    for (int t = 0; t < 4; t++) {
        fill(&d, 3, 0, t);
        kp_batch b = batch(&d, o.loss, 0);
        kp_status st = kp_population_step(pop, &b, loss, &err);
        cr_expect_eq(st, t ? KP_OK : KP_NON_FINITE, "step %d: %d", t, st);
        cr_assert_eq(kp_population_step(whole, &b, want, NULL), KP_OK);
        cr_expect(loss[0] == want[0] && loss[2] == want[2], "step %d", t);
        cr_expect(t ? isnan(loss[1]) : loss[1] == want[1], "step %d: loss %g", t, (double)loss[1]);
        cr_assert_eq(kp_population_share_clipped(pop, share[0], NULL), KP_OK);
        cr_expect_eq(isnan(share[1][0]), t > 0, "step %d: share %g", t, share[1][0]);
    }
    cr_expect_str_eq(err.text, "member 1: fc1.weight is not finite after update 1; it has stopped");
    expect_same_weights("member 0", pop, 0, whole, 0);
    expect_same_weights("member 2", pop, 2, whole, 2);
    w[3] = NAN;
    kp_population_write(pop, 0, "fc1.bias", w, HIDDEN, NULL);
    kp_population_write(pop, 2, "fc1.bias", w, HIDDEN, NULL);
    kp_batch b = batch(&d, o.loss, 0);
    cr_expect_eq(kp_population_step(pop, &b, loss, &err), KP_NON_FINITE);
    cr_expect(strstr(err.text, "member 0: fc1."), "the first of several: %s", err.text);
    cr_expect_eq(kp_population_step(pop, &b, loss, &err), KP_NON_FINITE);
    cr_expect(strstr(err.text, "every member"), "%s", err.text);
    kp_population_close(pop);
    kp_population_close(whole);
}

/* ---- what is wrong is told ------------------------------------------------------------------- */

static void no_members(kp_population_options *o, kp_member_options *m) { (void)m, o->P = 0; }
static void no_inputs(kp_population_options *o, kp_member_options *m) { (void)m, o->n_inputs = 0; }
static void no_batch(kp_population_options *o, kp_member_options *m) { (void)m, o->B = -1; }
static void many_layers(kp_population_options *o, kp_member_options *m) {
    (void)m, o->n_layers = 97;
}
static void no_width(kp_population_options *o, kp_member_options *m) { (void)m, o->width = NULL; }
static void no_options(kp_population_options *o, kp_member_options *m) {
    (void)m, o->member = NULL;
}
static void no_device(kp_population_options *o, kp_member_options *m) { (void)m, o->device = NULL; }
static void odd_device(kp_population_options *o, kp_member_options *m) {
    (void)m, o->device = "tpu";
}
static void odd_rule(kp_population_options *o, kp_member_options *m) {
    (void)m;
    o->rule = KP_N_RULES;
}
static void rule_of_kappa_train(kp_population_options *o, kp_member_options *m) {
    (void)m;
    o->rule = KP_RULE_UPGD;
}
static void empty_layer(kp_population_options *o, kp_member_options *m) {
    static const int width[] = { 4, 0 };
    (void)m, o->width = width;
}
static void huge_layers(kp_population_options *o, kp_member_options *m) {
    static const int width[] = { 2000000000, 2000000000 };
    (void)m, o->width = width;
}
static void zero_kappa(kp_population_options *o, kp_member_options *m) { (void)o, m[1].kappa = 0; }
static void nan_kappa(kp_population_options *o, kp_member_options *m) { (void)o, m[1].kappa = NAN; }
static void one_beta(kp_population_options *o, kp_member_options *m) { (void)o, m[1].beta1 = 1; }
static void zero_eps(kp_population_options *o, kp_member_options *m) { (void)o, m[0].eps = 0; }
static void negative_lr(kp_population_options *o, kp_member_options *m) { (void)o, m[1].lr = -1; }
static void zero_norm(kp_population_options *o, kp_member_options *m) {
    (void)o, m[1].grad_norm = 0;
}

static const struct {
    void (*spoil)(kp_population_options *o, kp_member_options *m);
    const char *message;
} bad_options[] = {
    { no_members, "P is 0, must be 1 or more" },
    { no_inputs, "n_inputs is 0, must be 1 or more" },
    { no_batch, "B is -1, must be 1 or more" },
    { many_layers, "n_layers is 97, 96 are possible" },
    { no_width, "width is NULL" },
    { no_options, "member is NULL" },
    { no_device, "device is NULL" },
    { odd_device, "'tpu' is not auto, cpu, cuda or cuda:N" },
    { odd_rule, "rule is 7, which is none of kappa/choices.h" },
    { rule_of_kappa_train, "rule is 5 (madam, upgd or adaupgd)" },
    { empty_layer, "width[1] is 0, must be 1 or more" },
    { huge_layers, "GB are available; lower P, B or a width" },
    { zero_kappa, "member 1: kappa is 0, must be above 0; INFINITY turns clipping off" },
    { nan_kappa, "member 1: kappa is nan" },
    { one_beta, "member 1: beta1 is 1, must be 0 or more and below 1" },
    { zero_eps, "member 0: eps is 0, must be finite, 1e-37 or more" },
    { negative_lr, "member 1: lr is -1, must be 0 or more and below 1e30" },
    { zero_norm, "member 1: grad_norm is 0, must be above 0" },
};

Test(population, bad_options_are_told) {
    for (size_t i = 0; i < sizeof bad_options / sizeof *bad_options; i++) {
        kp_member_options member[2] = { member_options(0), member_options(1) };
        kp_population_options o = options(2, member);
        kp_population *pop = (kp_population *)&o;
        kp_err err = { "" };
        bad_options[i].spoil(&o, member);
        cr_expect_eq(kp_population_open(&pop, &o, &err), KP_BAD_CONFIG, "%s",
                     bad_options[i].message);
        cr_expect(!pop && strstr(err.text, bad_options[i].message), "'%s' lacks '%s'", err.text,
                  bad_options[i].message);
    }
}

Test(population, a_bad_minibatch_changes_nothing) {
    static data d;
    kp_member_options member[2] = { member_options(0), member_options(1) };
    kp_population_options o = options(2, member);
    kp_population *pop = open_it(&o), *before = open_it(&o);
    kp_err err = { "" };
    fill(&d, 2, 0, 0);
    d.label[1][3] = CLASSES;
    kp_batch b = batch(&d, o.loss, 0);
    cr_expect_eq(kp_population_step(pop, &b, NULL, &err), KP_BAD_DATA);
    cr_expect_str_eq(err.text, "batch: the label of sample 3 of member 1 is 3, must be 0 to 2");
    d.label[1][3] = -1;
    cr_expect_eq(kp_population_step(pop, &b, NULL, &err), KP_BAD_DATA);
    b.shared = 1; /* the second member's labels are not read */
    cr_expect_eq(kp_population_step(pop, &b, NULL, &err), KP_OK);
    kp_population_close(pop);

    pop = open_it(&o);
    b.label = NULL, b.target = d.target[0][0];
    cr_expect_eq(kp_population_step(pop, &b, NULL, &err), KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "batch: cross entropy needs x and label, and NULL for target");
    for (int p = 0; p < 2; p++) expect_same_weights("a bad minibatch", pop, p, before, p);

    float w[2];
    cr_expect_eq(kp_population_read(pop, 0, "fc3.weight", w, 2, &err), KP_BAD_CONFIG);
    cr_expect(strstr(err.text, "'fc3.weight'; there are fc1.weight"), "%s", err.text);
    cr_expect_eq(kp_population_write(pop, 0, "fc1.bias", w, 2, &err), KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "fc1.bias has 70 values, not 2");
    cr_expect_eq(kp_population_read(pop, 2, "fc1.bias", w, 2, &err), KP_BAD_CONFIG);
    kp_population_close(pop);
    kp_population_close(before);
    kp_population_close(NULL);
}
