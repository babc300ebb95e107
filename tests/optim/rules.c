/* rules.c: every rule, textbook and as the clipping authors have it, against the few lines of NumPy
 * in tests/data/rules/make.py (law 4), through the keys of a configuration. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "learn/optim_of.h"

enum { N = 2 * KP_CHUNK, OUT = 6, IN = 12, SPLIT = OUT * IN, COUNT = SPLIT + OUT, TASK = 100 };

/* A weight in memory's order, not PyTorch's; all clipped by 1 / sqrt(12). */
static kp_tensor tensors[2] = {
    { .name = "layer1.weight",
      .role = KP_WEIGHT,
      .n_dims = 2,
      .dims = { OUT, IN },
      .count = SPLIT,
      .n_chunks = 1,
      .order = KP_ORDER_HWC_OUT,
      .flat_h = 2,
      .flat_w = 2,
      .flat_c = 3,
      .init_bound = 0.5f },
    { .name = "layer1.bias",
      .role = KP_BIAS,
      .n_dims = 1,
      .dims = { OUT },
      .count = OUT,
      .offset = KP_CHUNK,
      .n_chunks = 1,
      .init_bound = 0.25f },
};
static int32_t chunk_tensor[2] = { 0, 1 };
static kp_layout layout = {
    .n_tensors = 2, .n_chunks = 2, .N = N, .tensor = tensors, .chunk_tensor = chunk_tensor
};

/* Where element e of both tensors, in PyTorch's order, lies in a member. */
static int64_t place(int e) {
    const kp_tensor *t = &tensors[e >= SPLIT];
    return t->offset + kp_tensor_at(t, e >= SPLIT ? e - SPLIT : e);
}

/* make.py's `drawn`. */
static double drawn(int64_t step, int e) {
    kp_noise_args a = { .n_tensors = 2 };
    return (double)kp_noise_hash(&a, step, e >= SPLIT, e >= SPLIT ? e - SPLIT : e);
}

static double theta_0(int e) { return 0.4 * drawn(1 << 20, e); }

static double gradient(double theta, int t, int e) {
    double curvature = 1 + 0.5 * drawn((1 << 20) + 1, e);
    return curvature *
           (theta - 0.5 * drawn((1 << 21) + (t - 1) / TASK, e) - 0.2 * drawn((1 << 22) + t, e));
}

typedef struct {
    kp_backend *backend;
    kp_program *program;
    kp_optim *optim;
    float *theta, *grad;
} world;

static void configure(kp_config *c, const json_t *settings) {
    const char *key;
    json_t *value;
    kp_err err = { "" };
    kp_config_defaults(c, NULL);
    json_object_foreach((json_t *)settings, key, value)
        cr_assert_eq(kp_config_set(c, NULL, key, json_string_value(value), "rules.json", &err),
                     KP_OK, "%s", err.text);
}

static world open_world(const kp_config *c) {
    world w = { 0 };
    kp_err err = { "" };
    const uint64_t seed = 0;
    kp_optim_member member = kp_optim_member_of(c);
    kp_optim_options o = kp_optim_options_of(c, &member, &seed);
    for (int i = 0; i < 2; i++) tensors[i].scale_fan_in = (float)(1 / sqrt(IN));
    kp_status st = kp_backend_open(&w.backend, "cpu", 1, &err);
    if (!st) st = kp_backend_alloc(w.backend, (void **)&w.theta, N * sizeof(float), "theta", &err);
    if (!st) st = kp_backend_alloc(w.backend, (void **)&w.grad, N * sizeof(float), "grad", &err);
    for (int e = 0; !st && e < COUNT; e++) w.theta[place(e)] = (float)theta_0(e);
    if (!st) st = kp_optim_open(&w.optim, w.backend, &layout, 1, &o, w.theta, w.grad, &err);
    if (!st) st = kp_program_open(&w.program, w.backend, 1, "rules", &err);
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

static void step(world *w, int t) {
    kp_err err = { "" };
    for (int e = 0; e < COUNT; e++)
        w->grad[place(e)] = (float)gradient((double)w->theta[place(e)], t, e);
    kp_status st = kp_optim_prepare(w->optim, 1, NULL, &err);
    if (!st) st = kp_program_run(w->program, NULL, &err);
    if (!st) st = kp_optim_between(w->optim, t % TASK == 0, NULL, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
}

/* Absolute, of weights whose size is about 0.3. Rules that divide by what has become small keep
 * less of float32's 24 bits. */
static double distance(const world *w, const json_t *mark) {
    double sum = 0, worst = 0;
    const json_t *theta = json_object_get(mark, "theta");
    for (int e = 0; e < COUNT; e++) {
        double x = (double)w->theta[place(e)];
        sum += x * x;
        if (e % 7) continue;
        double want = json_number_value(json_array_get(theta, (size_t)e / 7));
        worst = fmax(worst, fabs(x - want));
    }
    return fmax(worst, fabs(sqrt(sum) - json_number_value(json_object_get(mark, "l2"))));
}

static void check(const json_t *c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    kp_config config;
    configure(&config, json_object_get(c, "settings"));
    world w = open_world(&config);
    int t = 0;
    size_t i;
    json_t *mark;
    json_array_foreach(json_object_get(c, "marks"), i, mark) {
        int after = (int)json_integer_value(json_object_get(mark, "after"));
        while (t < after) step(&w, ++t);
        double off = distance(&w, mark);
        cr_expect(off <= 5e-6, "%s: off by %.2g after %d updates", name, off, after);
    }
    for (int at = 0; at < N; at++) {
        int is_padding = at < KP_CHUNK ? at >= SPLIT : at >= KP_CHUNK + OUT;
        cr_assert(!is_padding || w.theta[at] == 0, "%s: padding", name);
    }
    close_world(&w);
}

Test(rules, equal_numpy) {
    json_error_t error;
    json_t *cases = json_load_file(KP_TEST_DATA "/rules/rules.json", 0, &error), *c;
    size_t i;
    cr_assert(cases, "%d: %s", error.line, error.text);
    json_array_foreach(cases, i, c) check(c);
    cr_expect_eq(i, 40);
    json_decref(cases);
}
