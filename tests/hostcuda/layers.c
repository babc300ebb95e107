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
#include "conv/conv.h"
#include "dense/dense.h"
#include "hostcuda/hostcuda.h"
#include "kernels/op_case.h"

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

static void run(const char *what, int op, const void *args) {
    const launcher *l = launcher_of(op);
    kp_err err = { "" };
    size_t bytes = l->scratch_bytes ? l->scratch_bytes(args) : 0;
    unsigned char *scratch = aligned_alloc(256, (bytes + GUARD + 255) / 256 * 256);
    memset(scratch, POISON, bytes + GUARD);
    kp_cuda cuda = { .blas = handle(), .scratch = scratch };
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

/* ---- single values: n = 1 and 4 channels, which go by float and float4 -------------------------
 */

static const struct {
    const char *name;
    float x, bias, y, dx; /* weight 2 of each channel with itself, slope 3 */
} value_cases[] = {
    { "positive", 1, -1, 1, 6 },
    { "below zero is zero", 1, -3, 0, 6 },
    { "dead input has no gradient", -1, 4, 2, 0 },
    { "zero is dead", 0, 5, 5, 0 },
    { "negative zero is dead", -0.0f, 5, 5, 0 },
    { "NaN stays NaN", NAN, 0, NAN, 6 },
    { "infinity stays", INFINITY, 0, INFINITY, 6 },
};

static int same(float x, float y) { return isnan(y) ? isnan(x) : x == y; }

Test(hostcuda_layers, relu_of_single_values) {
    for (size_t k = 0; k < KP_COUNT(value_cases); k++)
        for (int n = 1; n <= 4; n += 3) {
            const char *name = value_cases[k].name;
            _Alignas(16) float x[4] = { 0 }, w[16] = { 0 }, bias[4], y[4], dy[4], dx[4];
            for (int i = 0; i < n; i++) w[i * n + i] = 2, bias[i] = value_cases[k].bias, dy[i] = 3;
            x[n - 1] = value_cases[k].x;
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
                cr_expect(same(y[n - 1], value_cases[k].y), "%s: y %g", name, (double)y[n - 1]);
                cr_expect(same(dx[n - 1], value_cases[k].dx), "%s: dx %g", name, (double)dx[n - 1]);
            }
        }
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
    cr_expect_str_eq(err.text, "conv_backward_weights: cublasSgemmStridedBatched of 5 times [3][4] "
                               "and [4][3]: CUBLAS_STATUS_NOT_INITIALIZED (cuBLAS status 1)");
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
