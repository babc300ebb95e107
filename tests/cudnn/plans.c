/* plans.c: what a plan makes cuDNN compute, and what goes wrong. */
#include <string.h>

#include "base/philox.h"
#include "cudnn_case.h"
#include "graph_on_host.h"
#include "ops.h"

/* ---- the plan computes what kernels/conv does ----------------------------------------------- */

enum { B = 2 };

/* Small integers, so that sums are exact in any order. */
static float *integers(int64_t n, unsigned seed) {
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(kp_philox(seed, KP_STREAM_TEST, (uint64_t)i).x[0] % 7) - 3;
    return x;
}

/* Zero border, as in forward activations. */
static float *image(kp_image i, unsigned seed) {
    int64_t floats = kp_image_floats(i);
    float *x = integers(B * floats, seed);
    for (int64_t at = 0; at < B * floats; at++) {
        int64_t pixel = at % floats / i.c, row = i.left + i.w + i.right;
        int y = (int)(pixel / row) - i.top, c = (int)(pixel % row) - i.left;
        if (y < 0 || y >= i.h || c < 0 || c >= i.w) x[at] = 0;
    }
    return x;
}

/* HWIO, or its inverse, to the order that plans want. */
static void reorder(float *krsc, float *hwio, const kp_conv_shape *s, int back) {
    for (int y = 0; y < s->kernel; y++)
        for (int x = 0; x < s->kernel; x++)
            for (int c = 0; c < s->in.c; c++)
                for (int k = 0; k < s->out.c; k++) {
                    float *a = &krsc[((k * s->kernel + y) * s->kernel + x) * s->in.c + c];
                    float *b = &hwio[((y * s->kernel + x) * s->in.c + c) * s->out.c + k];
                    *(back ? b : a) = *(back ? a : b);
                }
}

static void run_op(int id, const void *args) {
    const kp_op *op = kp_op_get(id);
    void *scratch = aligned_alloc(64, ((op->scratch_bytes ? op->scratch_bytes(args) : 0) + 127) /
                                          64 * 64);
    op->cpu(args, 0, kp_all_slices(op, args), scratch);
    free(scratch);
}

static void run_plan(kp_cudnn *cudnn, kp_cudnn_conv conv, const kp_cudnn_pointers *at) {
    kp_err err = { "" };
    kp_conv_plan *p = cudnn_plan(cudnn, &conv);
    static int stream;
    void *workspace = malloc(kp_cudnn_workspace(p) + 1);
    kp_status st = kp_cudnn_run(cudnn, p, at, workspace, (struct CUstream_st *)&stream, &err);
    cr_assert_eq(st, KP_OK, "%s", err.text);
    cr_expect(graph_on_host_seen.stream == &stream && graph_on_host_seen.workspace == workspace);
    free(workspace);
}

static void expect_same(const char *name, const char *what, const float *got, const float *want,
                        int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (got[i] != want[i]) {
            cr_expect(0, "%s: %s[%d] is %g, not %g", name, what, (int)i, got[i], want[i]);
            return;
        }
}

/* Pixels only: the border of a gradient is unspecified. */
static void expect_same_pixels(const char *name, kp_image i, const float *got, const float *want) {
    for (int n = 0; n < B; n++)
        for (int y = 0; y < i.h; y++) {
            int64_t at = n * kp_image_floats(i) + kp_image_at(i, y, 0);
            expect_same(name, "dx", got + at, want + at, (int64_t)i.w * i.c);
        }
}

#define PLAIN(H, W, C)                                                                             \
    { H, W, C, 0, 0, 0, 0 }

static const struct {
    const char *name;
    kp_conv_shape shape;
} shapes[] = {
    { "no padding", { PLAIN(6, 8, 4), PLAIN(2, 3, 5), 4, 2, 0, 0 } },
    { "padding before and after, into a bordered image",
      { { 7, 5, 3, 1, 1, 2, 2 }, { 4, 3, 6, 1, 0, 2, 3 }, 4, 2, 1, 1 } },
    { "pixels that no tap reads get a gradient of zero",
      { { 9, 8, 2, 0, 0, 2, 3 }, PLAIN(3, 3, 4), 2, 3, 0, 0 } },
    { "a border that another layer needs",
      { { 6, 6, 4, 2, 1, 2, 3 }, PLAIN(3, 3, 2), 1, 2, 0, 0 } },
    { "a border wider than the padding",
      { { 5, 6, 2, 3, 2, 3, 2 }, { 5, 6, 3, 1, 1, 1, 1 }, 3, 1, 1, 1 } },
    { "one pixel", { { 1, 1, 8, 1, 1, 1, 1 }, PLAIN(1, 1, 8), 3, 1, 1, 1 } },
};

static void expect_forward(kp_cudnn *cudnn, const char *name, const kp_conv_shape *s, int has_bias,
                           kp_activation activation, const float *x, float *w, float *krsc) {
    int64_t n_y = B * kp_image_floats(s->out);
    float *bias = integers(s->out.c, 3), *none = calloc((size_t)s->out.c, sizeof *none);
    float *got = integers(n_y, 4), *want = integers(n_y, 4); /* equal borders, to be left alone */
    run_op(KP_OP_conv_forward, &(kp_conv_forward_args){ .P = 1,
                                                        .B = B,
                                                        .shape = *s,
                                                        .activation = activation,
                                                        .x = x,
                                                        .w = w,
                                                        .bias = has_bias ? bias : none,
                                                        .y = want });
    run_plan(cudnn,
             (kp_cudnn_conv){ .kind = KP_CUDNN_FORWARD,
                              .B = B,
                              .shape = *s,
                              .has_bias = has_bias,
                              .activation = activation },
             &(kp_cudnn_pointers){ x, got, krsc, has_bias ? bias : NULL });
    expect_same(name, "y", got, want, n_y);
    free(bias), free(none), free(got), free(want);
}

static void expect_gradients(kp_cudnn *cudnn, const char *name, const kp_conv_shape *s,
                             const float *x, float *w, float *krsc) {
    int64_t n_x = B * kp_image_floats(s->in), n_y = B * kp_image_floats(s->out);
    int64_t n_w = (int64_t)s->kernel * s->kernel * s->in.c * s->out.c;
    float *dy = integers(n_y, 5), *dx = integers(n_x, 6), *want_dx = integers(n_x, 7);
    float *dw = integers(n_w, 8), *got_dw = integers(n_w, 9), *want_dw = integers(n_w, 9);
    float *dbias = integers(s->out.c, 9);
    run_op(KP_OP_conv_backward_data,
           &(kp_conv_backward_data_args){
               .P = 1, .B = B, .shape = *s, .dy = dy, .w = w, .x = x, .dx = want_dx });
    run_plan(cudnn, (kp_cudnn_conv){ .kind = KP_CUDNN_BACKWARD_DATA, .B = B, .shape = *s },
             &(kp_cudnn_pointers){ dx, dy, krsc, NULL });
    expect_same_pixels(name, s->in, dx, want_dx);

    run_op(KP_OP_conv_backward_weights,
           &(kp_conv_backward_weights_args){
               .P = 1, .B = B, .shape = *s, .x = x, .dy = dy, .dw = want_dw, .dbias = dbias });
    run_plan(cudnn, (kp_cudnn_conv){ .kind = KP_CUDNN_BACKWARD_WEIGHTS, .B = B, .shape = *s },
             &(kp_cudnn_pointers){ x, dy, dw, NULL });
    reorder(dw, got_dw, s, 1);
    expect_same(name, "dw", got_dw, want_dw, n_w);
    free(dy), free(dx), free(want_dx), free(dw), free(got_dw), free(want_dw), free(dbias);
}

Test(cudnn_plans, what_cudnn_is_asked_for_is_what_kernels_conv_computes) {
    kp_cudnn *cudnn = cudnn_open("h100", NULL, KP_CUDNN_WORKSPACE, NULL);
    graph_on_host_install(cudnn);
    for (size_t i = 0; i < KP_COUNT(shapes); i++) {
        const kp_conv_shape *s = &shapes[i].shape;
        int64_t n_w = (int64_t)s->kernel * s->kernel * s->in.c * s->out.c;
        float *x = image(s->in, 1), *w = integers(n_w, 2), *krsc = integers(n_w, 0);
        reorder(krsc, w, s, 0);
        expect_forward(cudnn, shapes[i].name, s, 0, KP_LINEAR, x, w, krsc);
        expect_forward(cudnn, shapes[i].name, s, 1, KP_LINEAR, x, w, krsc);
        expect_forward(cudnn, shapes[i].name, s, 1, KP_RELU, x, w, krsc);
        expect_gradients(cudnn, shapes[i].name, s, x, w, krsc);
        free(x), free(w), free(krsc);
    }
    cr_expect_eq(graph_on_host_seen.n_runs, 5 * (int)KP_COUNT(shapes));
    kp_cudnn_close(cudnn);
}

/* Engines copy what is not packed, so a border that may count as pixels does. */
Test(cudnn_plans, images_are_packed_where_they_can_be) {
    static const struct {
        const char *name;
        kp_conv_shape shape;
        int B;
        int64_t h, w, offset, alignment; /* what cuDNN gets for x */
    } views[] = {
        { "padding is the border",
          { { 8, 8, 4, 1, 1, 1, 1 }, PLAIN(8, 8, 4), 3, 1, 1, 1 },
          4,
          10,
          10,
          0,
          16 },
        { "the border's last row is not read",
          { { 8, 8, 4, 1, 1, 1, 1 }, PLAIN(4, 4, 4), 3, 2, 1, 1 },
          4,
          10,
          10,
          0,
          16 },
        { "a border that would give more output",
          { { 6, 6, 4, 0, 0, 2, 2 }, PLAIN(3, 3, 4), 2, 2, 0, 0 },
          4,
          6,
          6,
          0,
          16 },
        { "a start at 132 bytes",
          { { 8, 8, 3, 1, 1, 1, 1 }, PLAIN(6, 6, 4), 3, 1, 0, 0 },
          4,
          8,
          8,
          33,
          4 },
        { "a start at 24 bytes",
          { { 3, 3, 1, 1, 1, 1, 1 }, PLAIN(2, 2, 4), 2, 1, 0, 0 },
          4,
          3,
          3,
          6,
          8 },
        { "the second member at 72 bytes",
          { PLAIN(3, 3, 1), PLAIN(2, 2, 4), 2, 1, 0, 0 },
          2,
          3,
          3,
          0,
          8 },
    };
    for (size_t i = 0; i < KP_COUNT(views); i++) {
        kp_cudnn_conv c = { .B = views[i].B, .shape = views[i].shape };
        kp_cudnn_view v = kp_cudnn_view_x(&c);
        cr_expect(v.dims[2] == views[i].h && v.dims[3] == views[i].w, "%s: %d x %d", views[i].name,
                  (int)v.dims[2], (int)v.dims[3]);
        cr_expect_eq(v.offset, views[i].offset, "%s: at %d", views[i].name, (int)v.offset);
        cr_expect_eq(v.alignment, views[i].alignment, "%s: aligned to %d", views[i].name,
                     (int)v.alignment);
    }
}

/* ---- one plan for each convolution ---------------------------------------------------------- */

Test(cudnn_plans, a_convolution_is_planned_once) {
    kp_cudnn *cudnn = cudnn_open("h100", NULL, KP_CUDNN_WORKSPACE, NULL);
    kp_cudnn_conv a = cudnn_conv2(KP_CUDNN_FORWARD), b = a, c = a, d = a;
    b.activation = KP_LINEAR, c.shape.in.bottom = 1, d.B = 31;
    const kp_conv_plan *p = cudnn_plan(cudnn, &a);
    cr_expect(cudnn_plan(cudnn, &a) == p);
    cr_expect(cudnn_plan(cudnn, &b) != p);
    cr_expect(cudnn_plan(cudnn, &c) != p);
    cr_expect(cudnn_plan(cudnn, &d) != p);
    kp_cudnn_conv data = cudnn_conv2(KP_CUDNN_BACKWARD_DATA), linear = data;
    linear.activation = KP_LINEAR, linear.has_bias = 0;
    cr_expect(cudnn_plan(cudnn, &data) == cudnn_plan(cudnn, &linear),
              "activation and bias are the forward's");
    kp_cudnn_close(cudnn);
}

Test(cudnn_plans, workspaces_stay_within_the_limit) {
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_BACKWARD_DATA);
    for (size_t limit = 0; limit <= 1 << 20; limit += 1 << 20) {
        kp_cudnn *cudnn = cudnn_open("h100", NULL, limit, NULL);
        const kp_conv_plan *p = cudnn_plan(cudnn, &conv);
        for (int i = 0; i < kp_conv_plan_n_candidates(p); i++)
            cr_expect(kp_conv_plan_candidate(p, i)->workspace_bytes <= limit, "%zu",
                      kp_conv_plan_candidate(p, i)->workspace_bytes);
        kp_cudnn_close(cudnn);
    }
}

/* ---- failures ------------------------------------------------------------------------------- */

Test(cudnn_plans, a_described_device_runs_nothing) {
    kp_cudnn *cudnn = cudnn_open("h200", NULL, KP_CUDNN_WORKSPACE, NULL);
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD);
    kp_err err = { "" };
    cr_expect_eq(kp_cudnn_run(cudnn, cudnn_plan(cudnn, &conv), &(kp_cudnn_pointers){ NULL }, NULL,
                              NULL, &err),
                 KP_DEVICE);
    cr_expect(strstr(err.text, "NVIDIA H200") && strstr(err.text, "description"), "%s", err.text);
    kp_cudnn_close(cudnn);
}

static cudnnStatus_t refuse(cudnnBackendDescriptor_t d) {
    (void)d;
    return CUDNN_STATUS_NOT_SUPPORTED;
}

Test(cudnn_plans, failures_say_device_convolution_and_call) {
    kp_cudnn *cudnn = cudnn_open("h200", NULL, KP_CUDNN_WORKSPACE, NULL);
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD), wrong = conv;
    kp_conv_plan *p = NULL;
    kp_err err = { "" };
    wrong.shape.out.h = 12; /* more than a kernel of 4 leaves of 20 */
    cr_expect_eq(kp_cudnn_plan(&p, cudnn, &wrong, &err), KP_DEVICE);
    cr_expect_null(p);
    cr_expect(strstr(err.text, "NVIDIA H200") && strstr(err.text, "cuDNN 9.") &&
                  strstr(err.text, "12x9x64") && strstr(err.text, "cudnnBackendFinalize"),
              "%s", err.text);
    cudnn->api.cudnnBackendFinalize = refuse;
    cr_expect_eq(kp_cudnn_plan(&p, cudnn, &conv, &err), KP_DEVICE);
    cr_expect(strstr(err.text, "CUDNN_STATUS_NOT_SUPPORTED"), "%s", err.text);
    kp_cudnn_close(cudnn);
}

Test(cudnn_plans, devices_that_are_not_there_or_make_no_sense) {
    kp_cudnn_api api;
    kp_cudnn *cudnn = NULL;
    kp_err err = { "" };
    if (kp_cudnn_load(&api, &err)) cr_skip_test("%s", err.text);
    static const char *const junk[] = { "", "{}", "{ \"deviceName\": \"A100\" }", "A100" };
    for (size_t i = 0; i < KP_COUNT(junk); i++) {
        kp_cudnn_options o = { .device_json = junk[i] };
        cr_expect_eq(kp_cudnn_open(&cudnn, &o, &err), KP_DEVICE, "%s", junk[i]);
        cr_expect_null(cudnn);
        cr_expect(strstr(err.text, "device description"), "%s: %s", junk[i], err.text);
    }
    kp_cudnn_options o = { .device_json = NULL };
    if (kp_cudnn_open(&cudnn, &o, &err) == KP_OK) cr_log_info("%s", kp_cudnn_describe(cudnn));
    else cr_expect(strstr(err.text, "cudnnCreate"), "%s", err.text);
    kp_cudnn_close(cudnn);
}
