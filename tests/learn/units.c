/* units.c: continual backprop and ReDo while a population learns: against an implementation of
 * their own in plain doubles, over PyTorch's order of weights; alone and together; stopped and
 * resumed. */
#include "learn/units.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "nn/mlp.h"
#include "scratch.h"

enum { MAX_P = 3, SAMPLES = 40, WIDEST = 48, MOST_LAYERS = 4 };

typedef struct {
    const char *name;
    kp_mlp_spec net;
    kp_rule rule;
    double kappa;
    kp_units_member unit; /* of member 0; that of others differs */
    int64_t redo_every;
    double l2init;
    struct {
        double strength, decay;
    } ewc;
} setting;

#define CBP .cbp_rate = 0.02, .cbp_decay = 0.95, .cbp_maturity = 20
static const setting settings[] = {
    { "cbp, relu, adam, clipped",
      { 12, 5, 2, { 10, 8 }, KP_MLP_RELU, 0, KP_INIT_FAN_IN },
      KP_RULE_ADAM,
      1,
      { 11, CBP },
      .redo_every = 0 },
    { "cbp, crelu, normalised, momentum, clipped",
      { 9, 4, 3, { 9, 17, 6 }, KP_MLP_CRELU, 1, KP_INIT_XAVIER },
      KP_RULE_SGD,
      0.8,
      { 12, CBP },
      .redo_every = 0 },
    { "redo, relu, adam",
      { 12, 5, 2, { 20, 8 }, KP_MLP_RELU, 0, KP_INIT_FAN_IN },
      KP_RULE_ADAM,
      INFINITY,
      { 13, .redo_tau = 0.4 },
      .redo_every = 25 },
    { "redo, crelu, rmsprop, clipped",
      { 10, 4, 2, { 9, 7 }, KP_MLP_CRELU, 0, KP_INIT_XAVIER },
      KP_RULE_RMSPROP,
      1,
      { 14, .redo_tau = 0.8 },
      .redo_every = 10 },
    { "both, tanh, normalised, adamw, clipped",
      { 8, 3, 2, { 18, 9 }, KP_MLP_TANH, 1, KP_INIT_FAN_IN },
      KP_RULE_ADAMW,
      1.5,
      { 15, CBP, .redo_tau = 0.6 },
      .redo_every = 7 },
    { "both, leaky relu, sgd",
      { 8, 3, 1, { 18 }, KP_MLP_LEAKY_RELU, 0, KP_INIT_FAN_IN },
      KP_RULE_SGD,
      INFINITY,
      { 16, CBP, .redo_tau = 0.4 },
      .redo_every = 30 },
    { "both, relu, sgd, with anchors",
      { 10, 4, 2, { 16, 8 }, KP_MLP_RELU, 0, KP_INIT_FAN_IN },
      KP_RULE_SGD,
      1.5,
      { 17, CBP, .redo_tau = 0.4 },
      .redo_every = 20,
      .l2init = 0.01,
      .ewc = { .strength = 0.1, .decay = 0.99 } },
};
#define EACH_SETTING(s) for (const setting *s = settings; s < settings + KP_COUNT(settings); s++)

static kp_units_member member_of(const setting *s, int member) {
    kp_units_member m = s->unit;
    m.seed += 100u * (uint64_t)member;
    m.cbp_rate *= member == 1 ? 0 : 1 + member;
    m.cbp_maturity += 3 * member;
    m.redo_tau *= 1 - 0.25 * member;
    return m;
}

static double kappa_of(const setting *s, int member) { return s->kappa * (1 + 0.2 * member); }

/* ---- a population that learns ------------------------------------------------------------------
 */

typedef struct {
    const setting *s;
    int P, first;
    kp_backend *backend;
    kp_layout layout;
    kp_mlp_shape shape;
    kp_optim *optim;
    kp_units *units;
    kp_program *update, *replace; /* replace NULL: update does it */
    float *theta, *grad, *work;   /* CPU memory is host memory */
    float *x;
    int32_t label[SAMPLES], index[MAX_P], cursor[MAX_P];
    kp_mlp_result result[MAX_P];
} world;

static float draw(int seed, int i) {
    return kp_uniform(kp_philox((uint64_t)seed, KP_STREAM_TEST, (uint64_t)i).x[0]);
}

static void make_data(world *w) {
    int n = w->shape.in[0];
    w->x = calloc((size_t)(SAMPLES * n), sizeof *w->x);
    for (int i = 0; i < SAMPLES * n; i++) w->x[i] = 2 * draw(1, i) - 1;
    for (int i = 0; i < SAMPLES; i++)
        w->label[i] = (int32_t)(draw(2, i) * (float)w->s->net.n_outputs);
}

static kp_status open_optim(world *w, kp_err *err) {
    kp_optim_member m[MAX_P];
    for (int p = 0; p < w->P; p++)
        m[p] = (kp_optim_member){
            .lr = w->s->rule == KP_RULE_SGD ? 0.05 : 0.01,
            .beta1 = 0.9,
            .beta2 = 0.99,
            .eps = 1e-8,
            .momentum = 0.5,
            .weight_decay = 0.01,
            .l2init = w->s->l2init,
            .ewc = { .strength = w->s->ewc.strength, .decay = w->s->ewc.decay },
            .grad_norm = INFINITY,
            .clip = { .kappa = kappa_of(w->s, w->first + p),
                      .bias = 1,
                      .norm = 1,
                      .last_layer = 1 },
        };
    return kp_optim_open(&w->optim, w->backend, &w->layout, w->P,
                         &(kp_optim_options){ .rule = w->s->rule, .member = m }, w->theta, w->grad,
                         err);
}

static kp_status open_units(world *w, kp_err *err) {
    kp_units_member m[MAX_P];
    for (int p = 0; p < w->P; p++) m[p] = member_of(w->s, w->first + p);
    return kp_units_open(&w->units, w->backend, &w->shape, &w->layout, w->P,
                         &(kp_units_options){ .member = m, .redo_every = w->s->redo_every },
                         w->optim, w->theta, w->work, err);
}

static kp_status open_programs(world *w, int apart, kp_err *err) {
    kp_status st = kp_program_open(&w->update, w->backend, w->P, "update", err);
    if (!st)
        st = KP_ADD(w->update, err, mlp_gradient, .P = w->P, .shape = w->shape,
                    .samples = { .floats = w->x, .label = w->label, .index = w->index, .T = 1 },
                    .cursor = w->cursor, .theta = w->theta, .grad = w->grad, .work = w->work,
                    .result = w->result);
    if (!st) st = kp_optim_add_update(w->optim, w->update, err);
    if (!st && apart) st = kp_program_open(&w->replace, w->backend, w->P, "replace", err);
    if (!st) st = kp_units_add(w->units, apart ? w->replace : w->update, err);
    if (!st) st = kp_program_seal(w->update, err);
    return !st && apart ? kp_program_seal(w->replace, err) : st;
}

/* apart: units are replaced by a program of their own, so that one can look in between. */
static void open_world(world *w, const setting *s, int P, int first, int apart) {
    kp_err err = { "" };
    *w = (world){ .s = s, .P = P, .first = first };
    kp_status st = kp_backend_open(&w->backend, "cpu", P > 1 ? 2 : 1, &err);
    if (!st) st = kp_mlp_plan(&w->layout, &w->shape, &s->net, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
    make_data(w);
    size_t bytes = (size_t)P * (size_t)w->shape.N * sizeof(float);
    size_t work_bytes = (size_t)P * (size_t)kp_mlp_work(&w->shape) * sizeof(float);
    st = kp_backend_alloc(w->backend, (void **)&w->theta, bytes, "theta", &err);
    if (!st) st = kp_backend_alloc(w->backend, (void **)&w->grad, bytes, "grad", &err);
    if (!st) st = kp_backend_alloc(w->backend, (void **)&w->work, work_bytes, "work", &err);
    for (int p = 0; !st && p < P; p++)
        kp_layout_init(&w->layout, (uint64_t)(first + p), w->theta + p * w->shape.N);
    if (!st) st = open_optim(w, &err);
    if (!st) st = open_units(w, &err);
    if (!st) st = open_programs(w, apart, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
}

static void close_world(world *w) {
    kp_program_close(w->update);
    kp_program_close(w->replace);
    kp_units_close(w->units);
    kp_optim_close(w->optim);
    kp_layout_release(&w->layout);
    kp_backend_close(w->backend);
    free(w->x);
}

static void update(world *w, int t, const uint8_t *active) {
    kp_err err = { "" };
    for (int p = 0; p < w->P; p++)
        w->index[p] = (int32_t)(draw(10 + w->first + p, t) * (float)SAMPLES);
    kp_status st = kp_optim_prepare(w->optim, 1, active, &err);
    if (!st) st = kp_program_run(w->update, active, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
}

static void count(world *w, int64_t *cbp, int64_t *redo) {
    kp_err err = { "" };
    cr_assert_eq(kp_units_replaced(w->units, cbp, redo, &err), KP_OK, "%s", err.text);
}

/* ---- the methods in doubles
 * ---------------------------------------------------------------------- */

enum { MOST_MOMENTS = 5 };

typedef struct {
    const world *w;
    int member; /* in w */
    kp_units_member m;
    double utility[MOST_LAYERS][WIDEST], mean[MOST_LAYERS][2 * WIDEST], size[MOST_LAYERS][WIDEST];
    int64_t age[MOST_LAYERS][WIDEST], seen, replaced[2];
    double owed[MOST_LAYERS];
    float *theta, *moment[MOST_MOMENTS]; /* [N] as they should be */
    uint8_t *is_near;                    /* [N] 1: theta may be rounded otherwise */
} reference;

typedef enum { WEIGHT, BIAS, GAIN, SHIFT } part;

static const kp_tensor *tensor(const reference *r, int l, part what) {
    return &r->w->layout.tensor[r->w->shape.tensor[l] + what];
}

/* Element [o][j] of a weight, [o] of others. */
static int64_t place(const reference *r, int l, part what, int o, int j) {
    const kp_tensor *t = tensor(r, l, what);
    int64_t in = t->n_dims > 1 ? t->dims[1] : 1;
    return t->offset + kp_tensor_at(t, o * in + j);
}

static float within(const reference *r, int l, double x) {
    const kp_tensor *t = tensor(r, l, WEIGHT);
    double bound = kappa_of(r->w->s, r->w->first + r->member) * (double)t->scale_fan_in;
    return (float)(x > bound ? (double)(float)bound : x < -bound ? -(double)(float)bound : x);
}

static void set(reference *r, int64_t at, float x) {
    r->theta[at] = x;
    for (int i = 0; i < kp_optim_n_moments(r->w->optim); i++) {
        const char *name;
        kp_optim_moment(r->w->optim, i, &name);
        r->moment[i][at] = strstr(name, "anchor") ? x : 0;
    }
}

static void begin_again(reference *r, int method, int l, int o) {
    const kp_mlp_spec *net = &r->w->s->net;
    int n_out = l + 1 < net->n_hidden_layers ? net->width[l + 1] : net->n_outputs;
    int per = net->activation == KP_MLP_CRELU ? 2 : 1, n = net->width[l];
    int n_in = l ? net->width[l - 1] * per : net->n_inputs;
    double a = (double)tensor(r, l, WEIGHT)->init_bound;
    for (int j = 0; j < n_in; j++) {
        uint64_t at = (uint64_t)method << 62 | (uint64_t)r->replaced[method] << 20 |
                      (uint64_t)(j / 4);
        double u = (double)kp_uniform(kp_philox(r->m.seed, KP_STREAM_UNITS, at).x[j % 4]);
        set(r, place(r, l, WEIGHT, o, j), within(r, l, (double)(float)((2 * u - 1) * a)));
    }
    set(r, place(r, l, BIAS, o, 0), 0);
    if (net->layer_norm) {
        set(r, place(r, l, GAIN, o, 0), within(r, l, 1));
        set(r, place(r, l, SHIFT, o, 0), 0);
    }
    for (int k = 0; k < n_out; k++)
        for (int half = 0; half < per; half++) set(r, place(r, l + 1, WEIGHT, k, half * n + o), 0);
    r->replaced[method]++;
}

static void reference_cbp(reference *r, int l, const float *h, int n, int n_out) {
    const int per = r->w->s->net.activation == KP_MLP_CRELU ? 2 : 1;
    const double eta = r->m.cbp_decay;
    int mature = 0;
    for (int o = 0; o < n; o++) {
        double contribution = 0;
        for (int half = 0; half < per; half++) {
            double out = 0, *mean = &r->mean[l][half * WIDEST + o];
            for (int k = 0; k < n_out; k++)
                out += fabs((double)r->theta[place(r, l + 1, WEIGHT, k, half * n + o)]);
            contribution += fabs((double)h[half * n + o]) * out;
            *mean = eta * *mean + (1 - eta) * (double)h[half * n + o];
        }
        r->age[l][o]++;
        r->utility[l][o] = eta * r->utility[l][o] + (1 - eta) * contribution;
        mature += r->age[l][o] > r->m.cbp_maturity;
    }
    for (r->owed[l] += mature * r->m.cbp_rate; r->owed[l] >= 1; r->owed[l]--) {
        int least = -1;
        double lowest = INFINITY;
        for (int o = 0; o < n; o++) {
            double utility = r->utility[l][o] / (1 - pow(eta, (double)r->age[l][o]));
            if (r->age[l][o] > r->m.cbp_maturity && utility < lowest) least = o, lowest = utility;
        }
        for (int k = 0; k < n_out; k++) {
            int64_t b = place(r, l + 1, BIAS, k, 0);
            double sum = (double)r->theta[b];
            for (int half = 0; half < per; half++)
                sum += (double)r->theta[place(r, l + 1, WEIGHT, k, half * n + least)] *
                       r->mean[l][half * WIDEST + least] / (1 - pow(eta, (double)r->age[l][least]));
            r->theta[b] = within(r, l + 1, sum);
            r->is_near[b] = 1;
        }
        begin_again(r, 0, l, least);
        r->utility[l][least] = r->mean[l][least] = r->mean[l][WIDEST + least] = 0;
        r->age[l][least] = 0;
    }
}

static void reference_redo(reference *r, int l, int n) {
    double mean = 0;
    for (int o = 0; o < n; o++) mean += r->size[l][o] / n;
    for (int o = 0; o < n; o++) {
        if (r->size[l][o] / mean <= r->m.redo_tau) begin_again(r, 1, l, o);
        r->size[l][o] = 0;
    }
}

/* After the update, before the world's own. */
static void reference_step(reference *r) {
    const kp_mlp_spec *net = &r->w->s->net;
    const float *work = r->w->work + r->member * kp_mlp_work(&r->w->shape);
    for (int l = 0; l < net->n_hidden_layers && r->m.cbp_rate > 0; l++)
        reference_cbp(r, l, work + kp_mlp_x(&r->w->shape, l + 1), net->width[l],
                      l + 1 < net->n_hidden_layers ? net->width[l + 1] : net->n_outputs);
    for (int l = 0; l < net->n_hidden_layers; l++) {
        const float *h = work + kp_mlp_x(&r->w->shape, l + 1);
        for (int j = 0; j < net->width[l] * (net->activation == KP_MLP_CRELU ? 2 : 1); j++)
            r->size[l][j % net->width[l]] += fabs((double)h[j]);
    }
    if (!r->w->s->redo_every || ++r->seen < r->w->s->redo_every) return;
    r->seen = 0;
    for (int l = 0; l < net->n_hidden_layers; l++) reference_redo(r, l, net->width[l]);
}

static void open_reference(reference *r, const world *w, int member) {
    size_t N = (size_t)w->shape.N;
    memset(r, 0, sizeof *r);
    r->w = w, r->member = member, r->m = member_of(w->s, w->first + member);
    r->theta = calloc(N, sizeof *r->theta);
    r->is_near = calloc(N, 1);
    for (int i = 0; i < MOST_MOMENTS; i++) r->moment[i] = calloc(N, sizeof *r->theta);
}

static void close_reference(reference *r) {
    free(r->theta), free(r->is_near);
    for (int i = 0; i < MOST_MOMENTS; i++) free(r->moment[i]);
}

/* What the world has now. */
static void look(reference *r) {
    const char *name;
    const int64_t N = r->w->shape.N, at = r->member * N;
    size_t bytes = (size_t)N * sizeof(float);
    memcpy(r->theta, r->w->theta + at, bytes);
    for (int i = 0; i < kp_optim_n_moments(r->w->optim); i++)
        memcpy(r->moment[i], kp_optim_moment(r->w->optim, i, &name) + at, bytes);
    memset(r->is_near, 0, (size_t)N);
}

static void expect_same(const reference *r, int t) {
    const char *name;
    const int64_t N = r->w->shape.N;
    const float *theta = r->w->theta + r->member * N;
    for (int64_t i = 0; i < N; i++) {
        double off = fabs((double)theta[i] - (double)r->theta[i]);
        cr_assert(off <= (r->is_near[i] ? 2e-6 : 0), "%s: sample %d, member %d, %d: %.9g, not %.9g",
                  r->w->s->name, t, r->member, (int)i, (double)theta[i], (double)r->theta[i]);
    }
    for (int m = 0; m < kp_optim_n_moments(r->w->optim); m++)
        cr_assert(!memcmp(kp_optim_moment(r->w->optim, m, &name) + r->member * N, r->moment[m],
                          (size_t)N * sizeof(float)),
                  "%s: sample %d, member %d: %s", r->w->s->name, t, r->member, name);
}

Test(units, equal_an_implementation_in_doubles) {
    EACH_SETTING(s) {
        static reference r[MAX_P];
        world w;
        int64_t cbp[MAX_P], redo[MAX_P];
        open_world(&w, s, MAX_P, 0, 1);
        for (int p = 0; p < MAX_P; p++) open_reference(&r[p], &w, p);
        for (int t = 1; t <= 300; t++) {
            kp_err err = { "" };
            update(&w, t, NULL);
            for (int p = 0; p < MAX_P; p++) look(&r[p]), reference_step(&r[p]);
            cr_assert_eq(kp_program_run(w.replace, NULL, &err), KP_OK, "%s", err.text);
            for (int p = 0; p < MAX_P; p++) expect_same(&r[p], t);
        }
        count(&w, cbp, redo);
        for (int p = 0; p < MAX_P; p++) {
            cr_expect(cbp[p] == r[p].replaced[0] && redo[p] == r[p].replaced[1], "%s: %d, %d",
                      s->name, (int)cbp[p], (int)redo[p]);
            cr_expect_eq(cbp[p] > 15, r[p].m.cbp_rate > 0, "%s: cbp replaced %d", s->name,
                         (int)cbp[p]);
            close_reference(&r[p]);
        }
        cr_expect_eq(redo[0] > 5, s->redo_every > 0, "%s: redo replaced %d", s->name, (int)redo[0]);
        close_world(&w);
    }
}

/* ---- laws --------------------------------------------------------------------------------------
 */

static size_t theta_bytes(const world *w) { return (size_t)w->shape.N * sizeof(float); }

Test(units, member_equals_itself_alone) {
    EACH_SETTING(s) {
        world all;
        open_world(&all, s, MAX_P, 0, 0);
        for (int t = 1; t <= 120; t++) update(&all, t, NULL);
        for (int p = 0; p < MAX_P; p++) {
            world alone;
            open_world(&alone, s, 1, p, 0);
            for (int t = 1; t <= 120; t++) update(&alone, t, NULL);
            cr_expect(!memcmp(alone.theta, all.theta + p * all.shape.N, theta_bytes(&all)),
                      "%s: member %d", s->name, p);
            close_world(&alone);
        }
        close_world(&all);
    }
}

Test(units, inactive_members_stand_still) {
    const setting *s = &settings[4]; /* both methods */
    const uint8_t active[MAX_P] = { 0, 1, 1 };
    world w, never;
    int64_t cbp[MAX_P], redo[MAX_P];
    open_world(&w, s, MAX_P, 0, 0);
    open_world(&never, s, MAX_P, 0, 0);
    for (int t = 1; t <= 100; t++) update(&w, t, active);
    count(&w, cbp, redo);
    cr_expect(!cbp[0] && !redo[0] && cbp[2] && redo[2]);
    cr_expect(!memcmp(w.theta, never.theta, theta_bytes(&w)));
    for (int t = 1; t <= 200; t++) update(&w, t, NULL), update(&never, t, NULL);
    cr_expect(!memcmp(w.theta, never.theta, theta_bytes(&w)), "its counts stood still too");
    close_world(&w);
    close_world(&never);
}

Test(units, padding_stays_zero) {
    EACH_SETTING(s) {
        world w;
        const char *name;
        open_world(&w, s, MAX_P, 0, 0);
        uint8_t *is_element = calloc((size_t)w.shape.N, 1);
        for (int i = 0; i < w.layout.n_tensors; i++) {
            const kp_tensor *x = &w.layout.tensor[i];
            for (int64_t e = 0; e < x->count; e++) is_element[x->offset + kp_tensor_at(x, e)] = 1;
        }
        for (int t = 1; t <= 100; t++) update(&w, t, NULL);
        for (int64_t i = 0; i < MAX_P * w.shape.N; i++) {
            int is_zero = w.theta[i] == 0;
            for (int m = 0; m < kp_optim_n_moments(w.optim); m++)
                is_zero &= kp_optim_moment(w.optim, m, &name)[i] == 0;
            cr_assert(is_element[i % w.shape.N] || is_zero, "%s: %d", s->name, (int)i);
        }
        free(is_element);
        close_world(&w);
    }
}

Test(units, all_weights_stay_within_their_bounds) {
    const setting *s = &settings[1]; /* its initialiser draws beyond them */
    world w;
    open_world(&w, s, MAX_P, 0, 0);
    for (int t = 1; t <= 100; t++) {
        update(&w, t, NULL);
        for (int i = 0; i < w.layout.n_tensors; i++) {
            const kp_tensor *x = &w.layout.tensor[i];
            for (int64_t e = 0; e < x->count; e++)
                cr_assert(fabsf(w.theta[x->offset + kp_tensor_at(x, e)]) <=
                              kp_optim_bounds(w.optim)[i],
                          "%s: sample %d", x->name, t);
        }
    }
    close_world(&w);
}

/* ---- checkpoints -------------------------------------------------------------------------------
 */

/* What the learner keeps itself. */
static void copy_learner(world *to, const world *from) {
    const char *name;
    size_t bytes = MAX_P * theta_bytes(from);
    memcpy(to->theta, from->theta, bytes);
    for (int i = 0; i < kp_optim_n_moments(from->optim); i++)
        memcpy(kp_optim_moment(to->optim, i, &name), kp_optim_moment(from->optim, i, &name), bytes);
    memcpy(kp_optim_steps(to->optim), kp_optim_steps(from->optim),
           MAX_P * sizeof *kp_optim_steps(to->optim));
}

static void save(world *w, const char *folder) {
    kp_checkpoint_writer *writer = NULL;
    kp_err err = { "" };
    kp_status st = kp_checkpoint_begin(&writer, folder, 1, &err);
    if (!st) st = kp_units_pass(w->units, &(kp_checkpoint_io){ .to = writer }, &err);
    if (!st) st = kp_checkpoint_commit(writer, 1, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
}

static kp_status load(world *w, const char *folder, kp_err *err) {
    kp_checkpoint *checkpoint = NULL;
    char warning[512];
    kp_status st = kp_checkpoint_open(&checkpoint, folder, warning, err);
    cr_assert_eq(st, KP_OK, "%s", err->text);
    st = kp_units_pass(w->units, &(kp_checkpoint_io){ .from = checkpoint }, err);
    kp_checkpoint_close(checkpoint);
    return st;
}

Test(units, stopped_and_resumed_equals_never_stopped) {
    EACH_SETTING(s) {
        char folder[KP_PATH];
        kp_err err = { "" };
        world one, first, second;
        scratch_folder(folder);
        open_world(&one, s, MAX_P, 0, 0);
        open_world(&first, s, MAX_P, 0, 0);
        open_world(&second, s, MAX_P, 0, 0);
        for (int t = 1; t <= 160; t++) update(&one, t, NULL);
        for (int t = 1; t <= 83; t++) update(&first, t, NULL);
        save(&first, folder);
        copy_learner(&second, &first);
        cr_assert_eq(load(&second, folder, &err), KP_OK, "%s", err.text);
        for (int t = 84; t <= 160; t++) update(&second, t, NULL);
        cr_expect(!memcmp(one.theta, second.theta, MAX_P * theta_bytes(&one)), "%s", s->name);
        kp_folder_remove(folder, &err);
        close_world(&one), close_world(&first), close_world(&second);
    }
}

Test(units, a_checkpoint_without_their_state_is_an_error) {
    char folder[KP_PATH];
    kp_err err = { "" };
    world redo, both;
    scratch_folder(folder);
    open_world(&redo, &settings[2], MAX_P, 0, 0);
    open_world(&both, &settings[4], MAX_P, 0, 0);
    save(&redo, folder);
    cr_expect_eq(load(&both, folder, &err), KP_STORAGE);
    cr_expect(strstr(err.text, "cbp.utility"), "%s", err.text);
    kp_folder_remove(folder, &err);
    close_world(&redo), close_world(&both);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

Test(units, without_a_method_nothing_is_added) {
    setting none = settings[0];
    none.unit = (kp_units_member){ .seed = 1 };
    world w;
    int64_t cbp[MAX_P], redo[MAX_P];
    char folder[KP_PATH];
    kp_err err = { "" };
    scratch_folder(folder);
    open_world(&w, &none, MAX_P, 0, 1);
    cr_expect_eq(kp_program_n_ops(w.replace), 0);
    update(&w, 1, NULL);
    count(&w, cbp, redo);
    for (int p = 0; p < MAX_P; p++) cr_expect(!cbp[p] && !redo[p]);
    save(&w, folder);
    cr_expect_eq(load(&w, folder, &err), KP_OK, "%s", err.text);
    kp_folder_remove(folder, &err);
    close_world(&w);
}

Test(units, a_network_without_hidden_units_is_told) {
    static const char *const key[2] = { "optim.redo.every", "optim.cbp.rate" };
    for (int cbp = 0; cbp < 2; cbp++) {
        kp_units_member m[MAX_P] = { { .cbp_rate = cbp } };
        kp_err err = { "" };
        kp_units *units = NULL;
        setting flat = settings[0];
        flat.unit = (kp_units_member){ .seed = 1 }, flat.net.n_hidden_layers = 0;
        world w;
        open_world(&w, &flat, 1, 0, 1);
        cr_expect_eq(kp_units_open(&units, w.backend, &w.shape, &w.layout, 1,
                                   &(kp_units_options){ .member = m, .redo_every = !cbp }, w.optim,
                                   w.theta, w.work, &err),
                     KP_BAD_CONFIG);
        cr_expect(!units && strstr(err.text, key[cbp]), "%s", err.text);
        close_world(&w);
    }
}
