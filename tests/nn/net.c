/* net.c: whole nets against plain double precision in PyTorch's order: [c][h][w],
 * [out][in][kh][kw]. Gradients against differences: the loss is linear in each weight but for
 * ReLU's kinks. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "nn/net.h"

enum { B = 3, MAX_P = 2, MAX_FLOATS = 1024, MAX_TENSORS = 8 };

#define NET(H, W, C, ...)                                                                          \
    {                                                                                              \
        .h = H, .w = W, .c = C, .layer = { __VA_ARGS__ },                                          \
        .n_layers = sizeof((kp_layer_spec[]){ __VA_ARGS__ }) / sizeof(kp_layer_spec)               \
    }
#define CONV(NAME, INPUT, OUT, KERNEL, STRIDE, PADDING, ACTIVATION)                                \
    {                                                                                              \
        .kind = KP_CONV, .name = NAME, .input = INPUT, .out = OUT, .kernel = KERNEL,               \
        .stride = STRIDE, .padding = PADDING, .activation = ACTIVATION, .init = KP_INIT_XAVIER     \
    }
#define DENSE(NAME, INPUT, OUT, ACTIVATION)                                                        \
    { .kind = KP_DENSE, .name = NAME, .input = INPUT, .out = OUT, .activation = ACTIVATION }

static const struct {
    const char *name;
    kp_net_spec spec;
} nets[] = {
    { "valid", NET(11, 9, 4, CONV("conv1", -1, 5, 3, 2, KP_VALID, KP_RELU),
                   CONV("conv2", 0, 6, 2, 1, KP_VALID, KP_RELU), DENSE("fc1", 1, 7, KP_RELU),
                   DENSE("fc2", 2, 4, KP_LINEAR)) },
    { "same, more padding at the far side",
      NET(9, 10, 4, CONV("conv1", -1, 5, 4, 2, KP_SAME, KP_RELU),
          CONV("conv2", 0, 6, 2, 1, KP_SAME, KP_RELU), DENSE("fc1", 1, 7, KP_RELU),
          DENSE("fc2", 2, 4, KP_LINEAR)) },
    { "same after valid after same",
      NET(10, 7, 3, CONV("conv1", -1, 4, 5, 2, KP_SAME, KP_RELU),
          CONV("conv2", 0, 5, 2, 1, KP_VALID, KP_LINEAR),
          CONV("conv3", 1, 6, 3, 1, KP_SAME, KP_RELU), DENSE("fc", 2, 3, KP_LINEAR)) },
    { "strides beyond the kernel, one frame",
      NET(10, 11, 1, CONV("conv1", -1, 4, 2, 3, KP_VALID, KP_RELU),
          CONV("conv2", 0, 3, 1, 2, KP_SAME, KP_RELU), DENSE("fc", 1, 2, KP_LINEAR)) },
    { "a stack of 17, a convolution last",
      NET(5, 5, 17, CONV("conv1", -1, 18, 3, 1, KP_SAME, KP_RELU),
          CONV("conv2", 0, 3, 3, 1, KP_VALID, KP_LINEAR)) },
    { "dense layers on an image",
      NET(3, 4, 5, DENSE("fc1", -1, 6, KP_RELU), DENSE("fc2", 0, 3, KP_LINEAR)) },
    { "one layer, a chunk and more", NET(1, 1, 70, DENSE("fc", -1, 17, KP_LINEAR)) },
    { "an input that a padded layer reads too",
      NET(6, 7, 2, CONV("unused", -1, 2, 5, 1, KP_SAME, KP_RELU),
          CONV("conv", -1, 3, 3, 1, KP_VALID, KP_RELU), DENSE("fc", 1, 2, KP_LINEAR)) },
};

/* ---- the reference --------------------------------------------------------------------------- */

typedef struct {
    int c, h, w;
    double at[MAX_FLOATS]; /* [c][h][w] */
} planes;

/* Rows or columns of padding before the image, of TensorFlow's "same"; *out: how many come out. */
static int plan(const kp_layer_spec *l, int in, int *out) {
    *out = l->padding == KP_SAME ? (in + l->stride - 1) / l->stride
                                 : (in - l->kernel) / l->stride + 1;
    int all = l->padding == KP_SAME ? (*out - 1) * l->stride + l->kernel - in : 0;
    return all > 0 ? all / 2 : 0;
}

static void convolve(const kp_layer_spec *l, const planes *x, const double *w, const double *bias,
                     planes *y) {
    int top = plan(l, x->h, &y->h), left = plan(l, x->w, &y->w), k = l->kernel;
    y->c = l->out;
    for (int o = 0; o < y->c; o++)
        for (int i = 0; i < y->h; i++)
            for (int j = 0; j < y->w; j++) {
                double sum = bias[o];
                for (int c = 0; c < x->c; c++)
                    for (int ky = 0; ky < k; ky++)
                        for (int kx = 0; kx < k; kx++) {
                            int r = i * l->stride + ky - top, s = j * l->stride + kx - left;
                            if (r < 0 || r >= x->h || s < 0 || s >= x->w) continue;
                            sum += w[((o * x->c + c) * k + ky) * k + kx] *
                                   x->at[(c * x->h + r) * x->w + s];
                        }
                y->at[(o * y->h + i) * y->w + j] = sum;
            }
}

static void multiply(const kp_layer_spec *l, const planes *x, const double *w, const double *bias,
                     planes *y) {
    int n = x->c * x->h * x->w;
    y->c = l->out, y->h = y->w = 1;
    for (int o = 0; o < y->c; o++) {
        y->at[o] = bias[o];
        for (int i = 0; i < n; i++) y->at[o] += w[o * n + i] * x->at[i];
    }
}

/* layer[i]: output of each; w: [n_tensors] in PyTorch's order. */
static void reference_forward(const kp_net_spec *spec, double *const *w, const planes *x,
                              planes *layer) {
    for (int i = 0; i < spec->n_layers; i++) {
        const kp_layer_spec *l = &spec->layer[i];
        const planes *in = l->input < 0 ? x : &layer[l->input];
        (l->kind == KP_CONV ? convolve : multiply)(l, in, w[2 * i], w[2 * i + 1], &layer[i]);
        for (int e = 0; l->activation == KP_RELU && e < MAX_FLOATS; e++)
            layer[i].at[e] = fmax(layer[i].at[e], 0);
    }
}

/* ---- both sides of a net --------------------------------------------------------------------- */

/* In [-1, 1). A member's numbers depend on its identity, not on its place. */
static float draw(int member, int what, int64_t at) {
    uint64_t counter = (uint64_t)what << 32 | (uint64_t)at;
    return 2 * kp_uniform(kp_philox((uint64_t)member, KP_STREAM_TEST, counter).x[0]) - 1;
}
enum { INPUT = 100, SLOPE = 200, OTHER = 300 }; /* what; a tensor is its own index */

static planes input_of(const kp_net_spec *spec, int member, int b) {
    planes x = { spec->c, spec->h, spec->w, { 0 } };
    for (int e = 0; e < x.c * x.h * x.w; e++) x.at[e] = (double)draw(member, INPUT + b, e);
    return x;
}

typedef struct {
    const kp_net_spec *spec;
    int P, first;
    kp_backend *backend;
    kp_net *net;
    const kp_layout *layout;
    kp_pass *pass;
    kp_program *program;
    float *theta, *grad;
} world;

static world open_world(const kp_net_spec *spec, int P, int first, int n_threads) {
    world w = { .spec = spec, .P = P, .first = first };
    kp_err err = { "" };
    kp_status st = kp_net_open(&w.net, spec, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
    w.layout = kp_net_layout(w.net);
    size_t bytes = (size_t)P * (size_t)w.layout->N * sizeof(float);
    st = kp_backend_open(&w.backend, "cpu", n_threads, &err);
    if (!st) st = kp_backend_alloc(w.backend, (void **)&w.theta, bytes, "theta", &err);
    if (!st) st = kp_backend_alloc(w.backend, (void **)&w.grad, bytes, "grad", &err);
    if (!st) st = kp_pass_open(&w.pass, w.net, w.backend, P, B, 1, &err);
    if (!st) st = kp_program_open(&w.program, w.backend, P, "test", &err);
    if (!st) st = kp_pass_add_forward(w.pass, w.program, w.theta, &err);
    if (!st) st = kp_pass_add_backward(w.pass, w.program, w.theta, w.grad, &err);
    if (!st) st = kp_program_seal(w.program, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
    for (int p = 0; p < P; p++)
        for (int i = 0; i < w.layout->n_tensors; i++) {
            const kp_tensor *t = &w.layout->tensor[i];
            float x[4 * MAX_FLOATS];
            cr_assert(t->count <= 4 * MAX_FLOATS);
            for (int64_t e = 0; e < t->count; e++) x[e] = 0.5f * draw(first + p, i, e);
            kp_tensor_import(t, w.theta + p * w.layout->N, x);
        }
    return w;
}

static void close_world(world *w) {
    kp_program_close(w->program);
    kp_pass_close(w->pass);
    kp_net_close(w->net);
    kp_backend_close(w->backend);
}

/* what + b: the input; CPU memory is host memory. Outputs are poisoned, padding is not. */
static void run(world *w, int what) {
    kp_image in = kp_net_input(w->net);
    int n = kp_net_n_outputs(w->net);
    kp_err err = { "" };
    for (int p = 0; p < w->P; p++) {
        for (int b = 0; b < B; b++) {
            float *x = kp_pass_input(w->pass) + (p * B + b) * kp_image_floats(in);
            for (int e = 0; e < in.c * in.h * in.w; e++)
                x[kp_image_at(in, e / in.w % in.h, e % in.w) + e / (in.h * in.w)] =
                    draw(w->first + p, what + b, e);
        }
        for (int e = 0; e < B * n; e++) {
            kp_pass_output(w->pass)[p * B * n + e] = NAN;
            kp_pass_output_gradient(w->pass)[p * B * n + e] = draw(w->first + p, SLOPE, e);
        }
        for (int i = 0; i < w->layout->n_tensors; i++)
            for (int64_t e = 0; e < w->layout->tensor[i].count; e++)
                w->grad[p * w->layout->N + w->layout->tensor[i].offset + e] = NAN;
    }
    cr_assert_eq(kp_program_run(w->program, NULL, &err), KP_OK, "%s", err.text);
}

/* Where output e of the reference's [c][h][w] is in the net's [h][w][c]. */
static int at_output(const planes *y, int e) {
    return (e / y->w % y->h * y->w + e % y->w) * y->c + e / (y->h * y->w);
}

/* The sum of slope * output, which the backward pass differentiates. */
static double loss(const world *w, int p, double *const *weights, const planes *x) {
    static planes layer[KP_MAX_LAYERS];
    const planes *y = &layer[w->spec->n_layers - 1];
    double sum = 0;
    for (int b = 0; b < B; b++) {
        reference_forward(w->spec, weights, &x[b], layer);
        int n = y->c * y->h * y->w;
        for (int e = 0; e < n; e++)
            sum += (double)draw(w->first + p, SLOPE, b * n + at_output(y, e)) * y->at[e];
    }
    return sum;
}

static int is_near(double got, double want) { return fabs(got - want) <= 1e-5 * (1 + fabs(want)); }

static void expect_forward(const char *name, const world *w, int p, double *const *weights,
                           const planes *x) {
    static planes layer[KP_MAX_LAYERS];
    const planes *y = &layer[w->spec->n_layers - 1];
    int n = kp_net_n_outputs(w->net);
    for (int b = 0; b < B; b++) {
        reference_forward(w->spec, weights, &x[b], layer);
        cr_assert_eq(y->c * y->h * y->w, n, "%s: %d outputs", name, n);
        for (int e = 0; e < n; e++) {
            double got = (double)kp_pass_output(w->pass)[(p * B + b) * n + at_output(y, e)];
            cr_assert(is_near(got, y->at[e]), "%s: member %d, output %d of sample %d: %g, not %g",
                      name, p, e, b, got, y->at[e]);
        }
    }
}

static void expect_backward(const char *name, const world *w, int p, double *const *weights,
                            const planes *x) {
    const double h = 1e-6;
    for (int i = 0; i < w->layout->n_tensors; i++) {
        const kp_tensor *t = &w->layout->tensor[i];
        const float *grad = w->grad + p * w->layout->N;
        float got[4 * MAX_FLOATS];
        kp_tensor_export(t, grad, got);
        for (int64_t e = 0; e < t->count; e++) {
            double was = weights[i][e], want = 0;
            for (int side = -1; side <= 1; side += 2) {
                weights[i][e] = was + side * h;
                want += side * loss(w, p, weights, x) / (2 * h);
            }
            weights[i][e] = was;
            cr_assert(is_near((double)got[e], want), "%s: member %d, %s[%ld]: %g, not %g", name, p,
                      t->name, (long)e, (double)got[e], want);
        }
        for (int64_t e = t->count; e < (int64_t)t->n_chunks * KP_CHUNK; e++)
            cr_assert_eq(grad[t->offset + e], 0, "%s: padding of %s", name, t->name);
    }
}

/* ---- the tests ------------------------------------------------------------------------------- */

Test(nn, equals_double_precision) {
    for (size_t i = 0; i < KP_COUNT(nets); i++) {
        world w = open_world(&nets[i].spec, MAX_P, 0, 2);
        run(&w, OTHER); /* must leave no trace */
        run(&w, INPUT);
        for (int p = 0; p < MAX_P; p++) {
            planes x[B];
            double *weights[MAX_TENSORS] = { NULL };
            for (int b = 0; b < B; b++) x[b] = input_of(w.spec, p, b);
            for (int t = 0; t < w.layout->n_tensors; t++) {
                int64_t n = w.layout->tensor[t].count;
                weights[t] = malloc((size_t)n * sizeof(double));
                for (int64_t e = 0; e < n; e++) weights[t][e] = 0.5 * (double)draw(p, t, e);
            }
            expect_forward(nets[i].name, &w, p, weights, x);
            expect_backward(nets[i].name, &w, p, weights, x);
            for (int t = 0; t < w.layout->n_tensors; t++) free(weights[t]);
        }
        close_world(&w);
    }
}

Test(nn, member_equals_itself_alone) {
    for (size_t i = 0; i < KP_COUNT(nets); i++) {
        world all = open_world(&nets[i].spec, MAX_P, 0, 2);
        run(&all, INPUT);
        for (int p = 0; p < MAX_P; p++) {
            world one = open_world(&nets[i].spec, 1, p, 1 + p);
            run(&one, INPUT);
            int n = B * kp_net_n_outputs(one.net);
            int64_t N = one.layout->N;
            cr_expect(!memcmp(kp_pass_output(one.pass), kp_pass_output(all.pass) + p * n,
                              (size_t)n * sizeof(float)),
                      "%s: output of member %d", nets[i].name, p);
            cr_expect(!memcmp(one.grad, all.grad + p * N, (size_t)N * sizeof(float)),
                      "%s: gradient of member %d", nets[i].name, p);
            close_world(&one);
        }
        close_world(&all);
    }
}

Test(nn, a_forward_pass_needs_no_gradients) {
    world w = open_world(&nets[1].spec, 1, 0, 1);
    run(&w, INPUT);
    kp_pass *pass = NULL;
    kp_program *program = NULL;
    kp_status st = kp_pass_open(&pass, w.net, w.backend, 1, B, 0, NULL);
    if (!st) st = kp_program_open(&program, w.backend, 1, "forward", NULL);
    if (!st) st = kp_pass_add_forward(pass, program, w.theta, NULL);
    if (!st) st = kp_program_seal(program, NULL);
    size_t image = (size_t)kp_image_floats(kp_net_input(w.net));
    memcpy(kp_pass_input(pass), kp_pass_input(w.pass), B * image * sizeof(float));
    if (!st) st = kp_program_run(program, NULL, NULL);
    cr_assert_eq(st, KP_OK);
    cr_expect(!kp_pass_output_gradient(pass));
    cr_expect(!memcmp(kp_pass_output(pass), kp_pass_output(w.pass),
                      (size_t)(B * kp_net_n_outputs(w.net)) * sizeof(float)));
    kp_program_close(program);
    kp_pass_close(pass);
    kp_pass_close(NULL);
    close_world(&w);
}

/* Of nets[1], by hand; Xavier's bound is sqrt(6 / (fan_in + fan_out)), PyTorch's 1 / sqrt(fan_in).
 */
static const struct {
    const char *name;
    kp_role role;
    int last_layer;
    int64_t dims[4], offset;
    double fan_in, init_bound;
} tensors[] = {
    { "conv1.weight", KP_WEIGHT, 0, { 5, 4, 4, 4 }, 0, 64, 0.20412414523193152 },
    { "conv1.bias", KP_BIAS, 0, { 5 }, 1024, 64, 0 },
    { "conv2.weight", KP_WEIGHT, 0, { 6, 5, 2, 2 }, 2048, 20, 0.36927447293799814 },
    { "conv2.bias", KP_BIAS, 0, { 6 }, 3072, 20, 0 },
    { "fc1.weight", KP_WEIGHT, 0, { 7, 150 }, 4096, 150, 0.08164965809277261 },
    { "fc1.bias", KP_BIAS, 0, { 7 }, 6144, 150, 0.08164965809277261 },
    { "fc2.weight", KP_WEIGHT, 1, { 4, 7 }, 7168, 7, 0.3779644730092272 },
    { "fc2.bias", KP_BIAS, 1, { 4 }, 8192, 7, 0.3779644730092272 },
};

Test(nn, lays_tensors_out_and_draws_them) {
    enum { SEED = 7, N = 9216 };
    static float member[N], x[4 * MAX_FLOATS], back[N];
    kp_net *net = NULL;
    cr_assert_eq(kp_net_open(&net, &nets[1].spec, NULL), KP_OK);
    const kp_layout *l = kp_net_layout(net);
    cr_assert(l->N == N && l->n_chunks == 9 && l->n_tensors == KP_COUNT(tensors));
    kp_layout_init(l, SEED, member);
    for (int i = 0; i < l->n_tensors; i++) {
        const kp_tensor *t = &l->tensor[i];
        const char *name = tensors[i].name;
        int64_t count = 1;
        for (int d = 0; d < 4 && tensors[i].dims[d]; d++) {
            count *= tensors[i].dims[d];
            cr_expect_eq(t->dims[d], tensors[i].dims[d], "%s: dimension %d", name, d);
        }
        cr_expect(kp_layout_find(l, name) == t && !strcmp(t->name, name), "%s", name);
        cr_expect(t->role == tensors[i].role && t->last_layer == tensors[i].last_layer, "%s", name);
        cr_expect(t->count == count && t->offset == tensors[i].offset, "%s", name);
        cr_expect(is_near((double)t->init_bound, tensors[i].init_bound), "%s", name);
        cr_expect(is_near((double)t->scale_fan_in, 1 / sqrt(tensors[i].fan_in)), "%s", name);
        cr_expect_eq(t->scale_init, l->tensor[t->role == KP_BIAS ? i - 1 : i].init_bound);
        for (int c = 0; c < t->n_chunks; c++)
            cr_expect_eq(l->chunk_tensor[t->offset / KP_CHUNK + c], i, "%s, chunk %d", name, c);

        kp_tensor_export(t, member, x);
        kp_tensor_import(t, back, x);
        for (int64_t e = 0; e < count; e++) {
            uint64_t counter = (uint64_t)i << 40 | (uint64_t)e / 4;
            float u = kp_uniform(kp_philox(SEED, KP_STREAM_INIT, counter).x[e % 4]);
            cr_assert_eq(x[e], (2 * u - 1) * t->init_bound, "%s[%ld]", name, (long)e);
        }
    }
    cr_expect(!memcmp(member, back, sizeof back), "there and back, padding zero");
    cr_expect(!kp_layout_find(l, "conv3.weight"));
    /* 5 x 5 of 5 channels from 4 x 4 x 4, 5 x 5 of 6 from 2 x 2 x 5, 150 x 7, 7 x 4 */
    cr_expect_eq(kp_net_layer_flops(net, 0), 2 * 25 * 5 * 64);
    cr_expect_eq(kp_net_flops(net), 2 * (25 * 5 * 64 + 25 * 6 * 20 + 150 * 7 + 7 * 4));
    kp_net_close(net);
    kp_net_close(NULL);
}

static const struct {
    const char *name, *says;
    kp_net_spec spec;
} misfits[] = {
    { "no layers", "0 layers, 1 to 96", { .h = 4, .w = 4, .c = 1 } },
    { "a kernel beyond the image", "layer conv: a 5x5 kernel with stride 1 does not fit its 4x4",
      NET(4, 4, 1, CONV("conv", -1, 2, 5, 1, KP_VALID, KP_LINEAR)) },
    { "no kernel", "layer conv: a 0x0 kernel",
      NET(4, 4, 1, CONV("conv", -1, 2, 0, 1, KP_VALID, KP_LINEAR)) },
    { "no stride", "layer conv: a 3x3 kernel with stride 0",
      NET(4, 4, 1, CONV("conv", -1, 2, 3, 0, KP_SAME, KP_LINEAR)) },
    { "no units", "layer fc: 0 units", NET(4, 4, 1, DENSE("fc", -1, 0, KP_LINEAR)) },
    { "a layer that reads itself", "(fc) reads layer 0",
      NET(4, 4, 1, DENSE("fc", 0, 2, KP_LINEAR)) },
    { "a layer read twice", "layer fc: its input, conv, is read by another layer too",
      NET(4, 4, 1, CONV("conv", -1, 2, 3, 1, KP_VALID, KP_RELU),
          CONV("unused", 0, 2, 1, 1, KP_VALID, KP_RELU), DENSE("fc", 0, 2, KP_LINEAR)) },
    { "an output that is not linear", "layer fc: the output must be linear",
      NET(4, 4, 1, DENSE("fc", -1, 2, KP_RELU)) },
    { "a dense layer on a border", "layer fc: its input is also read by a padded convolution",
      NET(4, 4, 1, CONV("conv", -1, 2, 3, 1, KP_SAME, KP_RELU), DENSE("fc", -1, 2, KP_LINEAR)) },
};

Test(nn, says_what_does_not_fit) {
    for (size_t i = 0; i < KP_COUNT(misfits); i++) {
        kp_net *net = NULL;
        kp_err err = { "" };
        cr_expect_eq(kp_net_open(&net, &misfits[i].spec, &err), KP_BAD_CONFIG, "%s",
                     misfits[i].name);
        cr_expect(!net && strstr(err.text, misfits[i].says), "%s: %s", misfits[i].name, err.text);
        kp_net_close(net);
    }
}
