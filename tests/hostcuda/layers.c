/* layers.c: convolutions and dense layers on CUDA, run on the CPU: every row of ops_layers.c is
 * near the reference, the same bits in every order of threads and for a member alone, and leaves
 * guards, borders and the space between tensors alone. Built twice: as it is, and with so little
 * scratch memory that the larger rows are done in pieces. The products are fakes/cublas_fake.c's.
 */
#include <criterion/criterion.h>
#include <cublas_v2.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "blas_cuda.h"
#include "conv/conv_engine.h"
#include "dense/dense.h"
#include "hostcuda/fakes/conv_fake.h"
#include "hostcuda/hostcuda.h"
#include "kernels/op_case.h"
#include "kernels/relu_cases.h"

enum { GUARD = KP_CASE_GUARD, POISON = KP_CASE_POISON, P = 3 };
#ifdef __SANITIZE_THREAD__
enum { N_ORDERS = 2 }; /* one shows all races, and is slow */
#else
enum { N_ORDERS = 4 };
#endif

/* Relative to the buffer's largest value: sums of up to 1,000 products, each rounded to 2^-24. */
static const double TOLERANCE = 1e-5;

typedef struct {
    int op;
    kp_status (*run)(const void *args, const kp_cuda *cuda, kp_err *err);
    size_t (*scratch_bytes)(const void *args); /* NULL: none */
} launcher;

static const launcher launchers[] = {
    { KP_OP_conv_forward, kp_conv_forward_cuda, kp_conv_forward_cuda_scratch },
    { KP_OP_conv_backward_data, kp_conv_backward_data_cuda, kp_conv_backward_data_cuda_scratch },
    { KP_OP_conv_backward_weights, kp_conv_backward_weights_cuda,
      kp_conv_backward_weights_cuda_scratch },
    { KP_OP_dense_forward, kp_dense_forward_cuda, NULL },
    { KP_OP_dense_backward_data, kp_dense_backward_data_cuda, NULL },
    { KP_OP_dense_backward_weights, kp_dense_backward_weights_cuda,
      kp_dense_backward_weights_cuda_scratch },
};

static const launcher *launcher_of(int op) {
    size_t i = 0;
    while (i < KP_COUNT(launchers) && launchers[i].op != op) i++;
    cr_assert(i < KP_COUNT(launchers), "operation %d has no launcher in the table", op);
    return &launchers[i];
}

static cublasHandle_t handle(void) {
    static cublasHandle_t made;
    if (!made) cr_assert_eq(cublasCreate(&made), CUBLAS_STATUS_SUCCESS);
    return made;
}

/* ---- an engine: one plan, for what was chosen last ---------------------------------------------
 */

static struct {
    kp_conv_engine hook;
    conv_fake conv;
    int64_t at_x, at_y; /* floats from the arrays to what is convolved */
    int n_runs;
} engine;

static conv_fake_view view_of(int64_t n, int64_t c, int64_t h, int64_t w, int64_t floats,
                              int64_t row) {
    return (conv_fake_view){ { n, c, h, w }, { floats, 1, row, c } };
}

static kp_status choose(kp_conv_engine *e, const kp_conv_task *t, const kp_cuda *cuda,
                        const kp_conv_plan **plan, kp_err *err) {
    const kp_conv_shape *s = &t->shape;
    const kp_image *in = &s->in, *out = &s->out;
    (void)e, (void)cuda, (void)err;
    engine.conv = (conv_fake){
        .kind = (conv_fake_kind)t->kind,
        .stride = s->stride,
        .x = view_of(t->B, in->c, s->pad_top + in->h + in->bottom, s->pad_left + in->w + in->right,
                     kp_image_floats(*in), kp_image_row(*in)),
        .w = view_of(out->c, in->c, s->kernel, s->kernel, (int64_t)s->kernel * s->kernel * in->c,
                     (int64_t)s->kernel * in->c),
        .y = view_of(t->B, out->c, out->h, out->w, kp_image_floats(*out), kp_image_row(*out)),
    };
    engine.at_x = kp_image_at(*in, -s->pad_top, -s->pad_left);
    engine.at_y = kp_image_at(*out, 0, 0);
    *plan = (const kp_conv_plan *)&engine.conv;
    return KP_OK;
}

static float *writable(const float *p) { return (float *)(uintptr_t)p; }

static kp_status run_plan(kp_conv_engine *e, const kp_conv_plan *plan, const kp_conv_pointers *at,
                          struct CUstream_st *stream, kp_err *err) {
    (void)e, (void)stream, (void)err;
    engine.n_runs++;
    conv_fake_run((const conv_fake *)plan, writable(at->x) + engine.at_x, writable(at->w),
                  writable(at->y) + engine.at_y, at->bias);
    return KP_OK;
}

static void install_engine(void) { engine.hook = (kp_conv_engine){ choose, run_plan }; }

static void run(const char *what, int op, const void *args) {
    const launcher *l = launcher_of(op);
    kp_err err = { "" };
    size_t bytes = l->scratch_bytes ? l->scratch_bytes(args) : 0;
    unsigned char *scratch = aligned_alloc(256, (bytes + GUARD + 255) / 256 * 256);
    memset(scratch, POISON, bytes + GUARD);
    kp_cuda cuda = { .blas = handle(),
                     .scratch = scratch,
                     .conv = engine.hook.choose ? &engine.hook : NULL };
    cr_assert_eq(l->run(args, &cuda, &err), KP_OK, "%s: %s", what, err.text);
    for (size_t i = 0; i < GUARD; i++)
        cr_assert_eq(scratch[bytes + i], POISON, "%s: wrote past its scratch memory", what);
    free(scratch);
}

static kp_case run_row(const kp_op_row *row, int members, int first) {
    kp_case c = kp_case_open(row, members, first);
    char says[128];
    run(row->name, row->op, c.args);
    cr_assert(!kp_case_overrun(&c, says, sizeof says), "%s: %s", row->name, says);
    return c;
}

Test(hostcuda_layers, near_the_reference_and_equal_in_every_order) {
    for (const kp_op_row *row = kp_layer_rows; row->name; row++) {
        hostcuda_order(0);
        kp_case first = run_row(row, P, 0), want = kp_case_open(row, P, 0);
        char says[128];
        row->reference(want.args);
        cr_assert(!kp_case_is_far(&first, &want, TOLERANCE, says, sizeof says), "%s: %s", row->name,
                  says);
        for (unsigned order = 1; order < N_ORDERS; order++) {
            hostcuda_order(order);
            kp_case got = run_row(row, P, 0);
            cr_assert(!kp_case_differs(&got, 0, &first, 0, P, ~0u, says, sizeof says),
                      "%s, order %u: %s", row->name, order, says);
            kp_case_close(&got);
        }
        kp_case_close(&first), kp_case_close(&want);
    }
}

Test(hostcuda_layers, member_equals_itself_alone) {
    for (const kp_op_row *row = kp_layer_rows; row->name; row++) {
        kp_case all = run_row(row, P, 0), alone = run_row(row, 1, P - 1);
        char says[128];
        cr_assert(!kp_case_differs(&all, P - 1, &alone, 0, 1, ~0u, says, sizeof says), "%s: %s",
                  row->name, says);
        kp_case_close(&all), kp_case_close(&alone);
    }
}

/* The border of dx is unspecified: back to what it was. */
static void forget_border(const kp_conv_backward_data_args *a) {
    const kp_image i = a->shape.in;
    for (int64_t at = 0; at < a->B * kp_image_floats(i); at++) {
        int64_t in_image = at % kp_image_floats(i), row = kp_image_row(i);
        int64_t y = in_image / row - i.top, x = in_image % row / i.c - i.left;
        if (y < 0 || y >= i.h || x < 0 || x >= i.w) memset(&a->dx[at], POISON, sizeof *a->dx);
    }
}

/* The same with an engine, which gets what one member has, and no more. */
Test(hostcuda_layers, one_member_by_an_engine) {
    int n_runs = 0;
    install_engine();
    for (const kp_op_row *row = kp_layer_rows; row->name; row++) {
        const int is_conv = row->op == KP_OP_conv_forward || row->op == KP_OP_conv_backward_data ||
                            row->op == KP_OP_conv_backward_weights;
        for (unsigned order = 0; is_conv && order < N_ORDERS; order++) {
            char says[128];
            hostcuda_order(order);
            engine.n_runs = 0;
            kp_case got = run_row(row, 1, 0), want = kp_case_open(row, 1, 0);
            const kp_conv_forward_args *f = (const void *)got.args;
            int is_aligned = row->op != KP_OP_conv_forward || (uintptr_t)f->bias % 16 == 0;
            cr_expect_eq(engine.n_runs, is_aligned, "%s: %d runs", row->name, engine.n_runs);
            n_runs += engine.n_runs;
            row->reference(want.args);
            if (row->op == KP_OP_conv_backward_data) forget_border((const void *)got.args);
            cr_assert(!kp_case_is_far(&got, &want, TOLERANCE, says, sizeof says),
                      "%s, order %u: %s", row->name, order, says);
            kp_case_close(&got), kp_case_close(&want);
        }
        engine.n_runs = 0;
        kp_case two = run_row(row, 2, 0);
        cr_expect_eq(engine.n_runs, 0, "%s: two members", row->name);
        kp_case_close(&two);
    }
    cr_expect(n_runs > 8 * N_ORDERS, "%d runs", n_runs);
}

Test(hostcuda_layers, memory_that_is_not_aligned_is_not_for_an_engine) {
    const kp_image image = { .h = 1, .w = 1, .c = 1 };
    const kp_conv_shape shape = { .in = image, .out = image, .kernel = 1, .stride = 1 };
    _Alignas(16) float x[2] = { 1, 1 }, y[2], w[2] = { 2, 2 }, bias[2] = { 0, 0 };
    install_engine();
    for (int k = 0; k < 4; k++) {
        kp_conv_forward_args a = {
            1, 1, shape, KP_LINEAR, x + (k == 1), w, bias + (k == 2), 0, y + (k == 3)
        };
        engine.n_runs = 0;
        run("one value", KP_OP_conv_forward, &a);
        cr_expect_eq(engine.n_runs, k == 0, "case %d", k);
        cr_expect_eq(y[k == 3], 2.0f, "case %d", k);
    }
}

/* ---- single values: n = 1 and 4 channels, which go by float and float4 -------------------------
 */

static int same(float x, float y) { return isnan(y) ? isnan(x) : x == y; }

static void check_single_values(void) {
    for (size_t k = 0; k < KP_COUNT(relu_cases); k++)
        for (int n = 1; n <= 4; n += 3) {
            const char *name = relu_cases[k].name;
            _Alignas(16) float x[4] = { 0 }, w[16] = { 0 }, bias[4], y[4], dy[4], dx[4];
            for (int i = 0; i < n; i++) w[i * n + i] = 2, bias[i] = relu_cases[k].bias, dy[i] = 3;
            x[n - 1] = relu_cases[k].x;
            const kp_image image = { .h = 1, .w = 1, .c = n };
            const kp_conv_shape shape = { .in = image, .out = image, .kernel = 1, .stride = 1 };
            for (int is_conv = 0; is_conv < 2; is_conv++) {
                kp_conv_forward_args cf = { 1, 1, shape, KP_RELU, x, w, bias, 0, y };
                kp_dense_forward_args df = { 1, 1, n, n, KP_RELU, x, w, bias, 0, y };
                if (is_conv) run(name, KP_OP_conv_forward, &cf);
                else run(name, KP_OP_dense_forward, &df);
                kp_conv_backward_data_args cd = { 1, 1, shape, dy, w, 0, x, KP_RELU, dx };
                kp_dense_backward_data_args dd = { 1, 1, n, n, dy, w, 0, x, KP_RELU, dx };
                if (is_conv) run(name, KP_OP_conv_backward_data, &cd);
                else run(name, KP_OP_dense_backward_data, &dd);
                cr_expect(same(y[n - 1], relu_cases[k].y), "%s: y %g", name, (double)y[n - 1]);
                cr_expect(same(dx[n - 1], relu_cases[k].dx), "%s: dx %g", name, (double)dx[n - 1]);
            }
        }
}

Test(hostcuda_layers, relu_of_single_values) { check_single_values(); }

Test(hostcuda_layers, relu_of_single_values_by_an_engine) {
    install_engine();
    check_single_values();
}

/* ---- scratch memory and errors ----------------------------------------------------------------
 */

/* Dopamine's second convolution. */
static const kp_conv_shape second = { .in = { 21, 21, 32, 1, 1, 2, 2 },
                                      .out = { 11, 11, 64, 1, 1, 1, 1 },
                                      .kernel = 4,
                                      .stride = 2,
                                      .pad_top = 1,
                                      .pad_left = 1 };

Test(hostcuda_layers, scratch_memory_is_bounded) {
    const size_t limit = KP_CONV_SCRATCH_BYTES,
                 sample = 11 * 11 * (4 * 4 * 32 + 64) * sizeof(float),
                 most = limit > sample ? limit : sample;
    for (int members = 1; members <= 4096; members *= 8)
        for (int B = 1; B <= 1024; B *= 4) {
            kp_conv_forward_args f = { .P = members, .B = B, .shape = second };
            size_t bytes = kp_conv_forward_cuda_scratch(&f);
            cr_expect(bytes <= most + 512, "%d members, B = %d: %zu bytes", members, B, bytes);
            size_t all = (size_t)members * (size_t)B * sample;
            cr_expect(bytes >= (all < most ? all : most / 3), "%d members, B = %d: only %zu bytes",
                      members, B, bytes);
        }
}

Test(hostcuda_layers, an_error_of_cublas_names_operation_and_shape) {
    const kp_image image = { .h = 2, .w = 2, .c = 3 };
    const kp_conv_shape shape = { .in = image, .out = image, .kernel = 1, .stride = 1 };
    float memory[64] = { 0 }, scratch[1024];
    kp_cuda cuda = { .blas = NULL, .scratch = scratch };
    kp_conv_backward_weights_args a = { 5, 1, shape, memory, memory, memory, memory, 9 };
    kp_err err = { "" };
    cr_expect_eq(kp_conv_backward_weights_cuda(&a, &cuda, &err), KP_DEVICE);
    cr_expect_str_eq(err.text,
                     "conv_backward_weights: cublasGemmStridedBatchedEx of 5 times [3][4] "
                     "and [4][3]: CUBLAS_STATUS_NOT_INITIALIZED (cuBLAS status 1)");
}

/* 1 + 2^-12 is a float32 alone, 1 + 2^-9 a TF32 too, 1 + 2^-6 also a bfloat16. */
Test(hostcuda_layers, products_round_as_they_are_asked_to) {
    static const double want[KP_N_PRECISIONS] = { [KP_PRECISION_FP32] = 0x1p-12 + 0x1p-9 + 0x1p-6,
                                                  [KP_PRECISION_TF32] = 0x1p-9 + 0x1p-6,
                                                  [KP_PRECISION_BF16] = 0x1p-6 };
    for (int side = 0; side < 2; side++)
        for (int is = 0; is < KP_N_PRECISIONS; is++) {
            float x[2][3] = { { 1 + 0x1p-12f, 1 + 0x1p-9f, 1 + 0x1p-6f }, { 1, 1, 1 } }, c = NAN;
            kp_gemm g = { .op = "dense_forward", .count = 1, .m = 1, .n = 1, .k = 3 };
            g.a = x[side], g.b = x[!side], g.c = &c;
            kp_err err = { "" };
            kp_cuda cuda = { .blas = handle(), .precision = (kp_precision)is };
            cr_assert_eq(kp_gemm_cuda(&g, &cuda, &err), KP_OK, "%s", err.text);
            cr_expect_eq((double)c - 3, want[is], "precision %d: 3 + %g", is, (double)c - 3);
        }
}

Test(hostcuda_layers, a_product_that_cublas_cannot_count_is_an_error) {
    kp_gemm g = { .op = "conv_forward", .count = 1, .m = INT_MAX + 1LL, .n = 2, .k = 3 };
    kp_err err = { "" };
    cr_expect_eq(kp_gemm_cuda(&g, &(kp_cuda){ .blas = handle() }, &err), KP_DEVICE);
    cr_expect_str_eq(err.text, "conv_forward: a product of [2147483648][3] and [3][2]: cuBLAS "
                               "counts to 2147483647");
}

Test(hostcuda_layers, more_members_than_a_grid_has_rows_is_an_error) {
    float *memory = calloc(3, 65536 * sizeof(float));
    kp_dense_backward_weights_args a = { .P = 65536, .B = 1, .in = 1, .out = 1 };
    a.x = memory, a.dy = memory + 65536, a.dw = a.dbias = memory + 2 * 65536, a.param_stride = 1;
    kp_err err = { "" };
    cr_expect_eq(kp_dense_backward_weights_cuda(&a, &(kp_cuda){ .blas = handle() }, &err),
                 KP_DEVICE);
    cr_expect(strstr(err.text, "dense_backward_weights"), "%s", err.text);
    free(memory);
}
