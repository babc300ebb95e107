/* conv_engine.c: one member's convolutions by cuDNN (fakes/cudnn_fake.h) on the emulated runtime:
 * near the CPU's, by the fastest way, found before the capture and kept in files. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/philox.h"
#include "conv/conv.h"
#include "hostcuda/fakes/cudnn_fake.h"
#include "hostcuda/runtime/runtime.h"
#include "scratch.h"

enum { B = 2 };

/* A padded layer whose output has a border, as Dopamine's first two. */
static const kp_conv_shape shape = { .in = { 9, 9, 4, 1, 1, 2, 2 },
                                     .out = { 5, 5, 8, 1, 1, 1, 1 },
                                     .kernel = 4,
                                     .stride = 2,
                                     .pad_top = 1,
                                     .pad_left = 1 };
enum { PARAMS = 2 * KP_CHUNK }; /* of weights, of the bias */

static char home[KP_PATH];
static char run[KP_PATH], cache[KP_PATH];
static const char *choices; /* run: plans are kept there; NULL: they are not */
static kp_precision precision;
static kp_err err;

static void ok(kp_status st) { cr_assert_eq(st, KP_OK, "%s", err.text); }

static void setup(void) {
    scratch_folder(home);
    setenv("XDG_CACHE_HOME", home, 1);
    unsetenv("KAPPA_CONV");
    ok(kp_path_join(run, home, "run", &err));
    ok(kp_path_join(cache, home, "kappa", &err));
    choices = NULL;
    precision = KP_PRECISION_FP32;
    cudnn_fake_has = (cudnn_fake_machine){ .ms = { 3, 0.5f, 2 } };
}
static void teardown(void) { kp_folder_remove(home, NULL); }
TestSuite(hostcuda_conv_engine, .init = setup, .fini = teardown);

/* ---- a program of all three convolutions --------------------------------------------------------
 */

typedef struct {
    kp_backend *backend;
    kp_program *program;
    float *x, *theta, *y, *dx, *grad; /* of the backend */
    int P;
} net;

static int64_t n_x(void) { return B * kp_image_floats(shape.in); }
static int64_t n_y(void) { return B * kp_image_floats(shape.out); }

static int is_inside(kp_image i, int64_t at) {
    int64_t in_image = at % kp_image_floats(i), row = kp_image_row(i);
    int64_t y = in_image / row - i.top, x = in_image % row / i.c - i.left;
    return y >= 0 && y < i.h && x >= 0 && x < i.w;
}

static float *numbers(net *n, int64_t floats, unsigned seed, const kp_image *image) {
    float *host = calloc((size_t)(floats * n->P), sizeof *host), *device = NULL;
    for (int64_t i = 0; i < floats * n->P; i++) {
        float is = (float)(kp_philox(seed, KP_STREAM_TEST, (uint64_t)i).x[0] % 2001) / 1000 - 1;
        host[i] = !image || is_inside(*image, i) ? is : 0;
    }
    size_t bytes = (size_t)(floats * n->P) * sizeof *host;
    ok(kp_backend_alloc(n->backend, (void **)&device, bytes, "a test's", &err));
    ok(kp_backend_upload(n->backend, device, host, bytes, &err));
    free(host);
    return device;
}

static kp_status open_net(net *n, const char *device, int P) {
    *n = (net){ .P = P };
    kp_status st = kp_backend_open(&n->backend, device, 1, &err);
    if (st) return st;
    if (choices) ok(kp_backend_keep_choices(n->backend, choices, &err));
    st = kp_backend_set_precision(n->backend, precision, &err);
    if (st) return st;
    n->x = numbers(n, n_x(), 1, &shape.in);
    n->theta = numbers(n, PARAMS, 2, NULL);
    n->y = numbers(n, n_y(), 3, &shape.out);
    n->dx = numbers(n, n_x(), 4, NULL);
    n->grad = numbers(n, PARAMS, 5, NULL);
    ok(kp_program_open(&n->program, n->backend, P, "convolutions", &err));
    ok(KP_ADD(n->program, &err, conv_forward, .P = P, .B = B, .shape = shape, .activation = KP_RELU,
              .x = n->x, .w = n->theta, .bias = n->theta + KP_CHUNK, .param_stride = PARAMS,
              .y = n->y));
    ok(KP_ADD(n->program, &err, conv_backward_data, .P = P, .B = B, .shape = shape, .dy = n->y,
              .w = n->theta, .param_stride = PARAMS, .x = n->x, .x_activation = KP_RELU,
              .dx = n->dx));
    ok(KP_ADD(n->program, &err, conv_backward_weights, .P = P, .B = B, .shape = shape, .x = n->x,
              .dy = n->y, .dw = n->grad, .dbias = n->grad + KP_CHUNK, .param_stride = PARAMS));
    return kp_program_seal(n->program, &err);
}

static void close_net(net *n) {
    kp_program_close(n->program);
    kp_backend_close(n->backend);
    cr_expect_eq(hostcuda_n_alive(), 0, "%d things of CUDA are left", hostcuda_n_alive());
}

static void expect_note(const net *n, const char *says) {
    const char *note;
    for (int i = 0; (note = kp_backend_note(n->backend, i)); i++)
        if (strstr(note, says)) return;
    cr_expect(0, "no note says: %s", says);
    for (int i = 0; (note = kp_backend_note(n->backend, i)); i++) fprintf(stderr, "%s\n", note);
}

static float *host_of(net *n, const float *at, int64_t floats) {
    float *host = malloc((size_t)(floats * n->P) * sizeof *host);
    ok(kp_backend_download(n->backend, host, at, (size_t)(floats * n->P) * sizeof *host, &err));
    return host;
}

/* Inside the images; padding of parameters is as it was. */
static void expect_near(const char *what, net *a, const float *at_a, net *b, const float *at_b,
                        int64_t floats, const kp_image *image) {
    float *got = host_of(a, at_a, floats), *want = host_of(b, at_b, floats);
    for (int64_t i = 0; i < floats * a->P; i++)
        if (!image || is_inside(*image, i))
            cr_assert(fabsf(got[i] - want[i]) < 1e-4f, "%s[%d] is %g, not %g", what, (int)i,
                      (double)got[i], (double)want[i]);
    free(got), free(want);
}

/* Runs it, and the same on the CPU. */
static void expect_as_on_the_cpu(net *n) {
    net cpu;
    ok(open_net(&cpu, "cpu", n->P));
    ok(kp_program_run(n->program, NULL, &err));
    ok(kp_program_run(cpu.program, NULL, &err));
    ok(kp_backend_sync(n->backend, &err));
    expect_near("y", n, n->y, &cpu, cpu.y, n_y(), NULL); /* its border is left alone */
    expect_near("dx", n, n->dx, &cpu, cpu.dx, n_x(), &shape.in);
    expect_near("gradient", n, n->grad, &cpu, cpu.grad, PARAMS, NULL);
    kp_program_close(cpu.program);
    kp_backend_close(cpu.backend);
}

/* What the program's graph holds: runs captured beyond those that were timed. */
static void expect_captured(const int want[CUDNN_FAKE_ENGINES]) {
    for (int i = 0; i < CUDNN_FAKE_ENGINES; i++)
        cr_expect_eq(cudnn_fake_did.captured[i], want[i], "engine %d is captured %d times, not %d",
                     i, cudnn_fake_did.captured[i], want[i]);
}

/* ---- choices -------------------------------------------------------------------------------- */

enum { TIMED = 3 * 4 }; /* captures of an engine that is timed: three convolutions, repeated */
static const float FASTER = -0.5f; /* than a kernel of products, of which there are as many */

Test(hostcuda_conv_engine, the_fastest_way_is_taken) {
    net n;
    cudnn_fake_has.ms[1] = FASTER;
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ TIMED, TIMED + 3, TIMED });
    expect_note(&n, "convolutions: hostcuda, sm_90, 1 SMs, cuDNN 9.19.0");
    expect_note(&n, ": cuDNN; cuDNN's engine 1 (TILE_SIZE=11) takes");
    expect_as_on_the_cpu(&n);
    close_net(&n);
}

Test(hostcuda_conv_engine, products_are_taken_where_they_are_faster) {
    net n;
    cudnn_fake_has.ms[1] = 5;
    cudnn_fake_has.ms[2] = 4;
    cudnn_fake_has.ms[0] = 6;
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ TIMED, TIMED, TIMED });
    expect_note(&n, ": products; cuDNN's engine 2 (TILE_SIZE=12) takes");
    expect_as_on_the_cpu(&n);
    close_net(&n);
}

Test(hostcuda_conv_engine, choices_can_be_forced) {
    net n;
    setenv("KAPPA_CONV", "cudnn", 1);
    cudnn_fake_has = (cudnn_fake_machine){ .ms = { 60, 70, 80 } };
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ TIMED + 3, TIMED, TIMED });
    expect_as_on_the_cpu(&n);
    close_net(&n);

    setenv("KAPPA_CONV", "im2col", 1);
    cudnn_fake_did = (cudnn_fake_counts){ 0 };
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ 0, 0, 0 });
    cr_expect_null(kp_backend_note(n.backend, 0));
    expect_as_on_the_cpu(&n);
    close_net(&n);

    setenv("KAPPA_CONV", "fast", 1);
    cr_expect_eq(open_net(&n, "cuda", 1), KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "KAPPA_CONV: 'fast' is not auto, cudnn or im2col");
}

/* Times, and so the choice, come from the file; the plan is tried once. */
Test(hostcuda_conv_engine, the_next_start_does_not_measure) {
    net n;
    cudnn_fake_has.ms[1] = FASTER;
    for (int start = 0; start < 2; start++) {
        cudnn_fake_did = (cudnn_fake_counts){ 0 };
        ok(open_net(&n, "cuda", 1));
        if (start) {
            cr_expect_eq(cudnn_fake_did.searches, 0, "%d searches", cudnn_fake_did.searches);
            expect_captured((const int[]){ 0, TIMED + 3, 0 });
            expect_as_on_the_cpu(&n);
        }
        close_net(&n);
        cudnn_fake_has.ms[1] = 50; /* nobody looks */
    }
}

/* Whatever other runs find out meanwhile. */
Test(hostcuda_conv_engine, a_run_keeps_its_choice) {
    net n;
    choices = run;
    cudnn_fake_has.ms[1] = FASTER;
    for (int start = 0; start < 3; start++) {
        cudnn_fake_did = (cudnn_fake_counts){ 0 };
        ok(open_net(&n, "cuda", 1));
        expect_captured(start ? (const int[]){ 0, TIMED + 3, 0 }
                              : (const int[]){ TIMED, TIMED + 3, TIMED });
        close_net(&n);
        cudnn_fake_has.ms[1] = 50;
        if (start) continue;
        ok(kp_folder_remove(cache, &err));
        choices = NULL; /* another run measures anew, and chooses otherwise */
        ok(open_net(&n, "cuda", 1));
        expect_note(&n, ": products; cuDNN's engine 2");
        close_net(&n);
        choices = run;
    }
}

/* What the cache has, a new run takes and keeps. */
Test(hostcuda_conv_engine, a_run_copies_what_it_takes) {
    net n;
    cudnn_fake_has.ms[1] = FASTER;
    ok(open_net(&n, "cuda", 1));
    close_net(&n);
    cudnn_fake_has.ms[1] = 50;
    choices = run;
    for (int start = 0; start < 2; start++) {
        cudnn_fake_did = (cudnn_fake_counts){ 0 };
        ok(open_net(&n, "cuda", 1));
        expect_captured((const int[]){ 0, TIMED + 3, 0 });
        close_net(&n);
        ok(kp_folder_remove(cache, &err));
    }
}

Test(hostcuda_conv_engine, a_population_has_products_and_does_not_open_cudnn) {
    net n;
    ok(open_net(&n, "cuda", 2));
    expect_captured((const int[]){ 0, 0, 0 });
    cr_expect_null(kp_backend_note(n.backend, 0));
    expect_as_on_the_cpu(&n);
    close_net(&n);
}

/* Plans for it are others, in files of their own. (What the fake computes is the same.) */
Test(hostcuda_conv_engine, tf32_has_tensor_cores) {
    net n;
    cudnn_fake_has.ms[1] = FASTER;
    ok(open_net(&n, "cuda", 1));
    expect_note(&n, "convolution: forward + bias in fp32");
    cr_expect_eq(cudnn_fake_did.captured[CUDNN_FAKE_TENSOR_CORES], 0);
    close_net(&n);
    precision = KP_PRECISION_TF32;
    cudnn_fake_has.may_use_tensor_cores = 1;
    cudnn_fake_has.ms[CUDNN_FAKE_TENSOR_CORES] = 2 * FASTER;
    for (int start = 0; start < 2; start++) {
        cudnn_fake_did = (cudnn_fake_counts){ 0 };
        ok(open_net(&n, "cuda", 1));
        expect_note(&n, "convolution: forward + bias in tf32");
        cr_expect_eq(cudnn_fake_did.captured[CUDNN_FAKE_TENSOR_CORES], TIMED + 3);
        cr_expect_eq(!cudnn_fake_did.searches, start);
        cr_expect(strstr(kp_backend_describe(n.backend), ", tf32"), "%s",
                  kp_backend_describe(n.backend));
        close_net(&n);
    }
}

Test(hostcuda_conv_engine, bf16_has_products) {
    net n;
    precision = KP_PRECISION_BF16;
    cudnn_fake_has.ms[1] = FASTER;
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ 0, 0, 0 });
    expect_note(&n, "convolutions: as products by cuBLAS, which alone have bf16");
    cr_expect(strstr(kp_backend_describe(n.backend), ", bf16"), "%s",
              kp_backend_describe(n.backend));
    close_net(&n);

    setenv("KAPPA_CONV", "cudnn", 1);
    cr_expect_eq(open_net(&n, "cuda", 1), KP_BAD_CONFIG);
    cr_expect(strstr(err.text, "precision bf16: cuDNN has fp32 and tf32"), "%s", err.text);
    close_net(&n);
}

/* ---- what fails ----------------------------------------------------------------------------- */

Test(hostcuda_conv_engine, without_the_library_there_are_products) {
    net n;
    cudnn_fake_has.is_missing = 1;
    ok(open_net(&n, "cuda", 1));
    expect_note(&n, "convolutions: as products by cuBLAS; libcudnn.so.9: no such file");
    expect_as_on_the_cpu(&n);
    close_net(&n);

    setenv("KAPPA_CONV", "cudnn", 1);
    cr_expect_eq(open_net(&n, "cuda", 1), KP_DEVICE);
    cr_expect(strstr(err.text, "KAPPA_CONV=cudnn: libcudnn.so.9: no such file"), "%s", err.text);
    close_net(&n);
}

Test(hostcuda_conv_engine, an_engine_that_fails_is_not_taken) {
    net n;
    setenv("KAPPA_CONV", "cudnn", 1);
    cudnn_fake_has.how[1] = CUDNN_FAKE_NOT_IN_CAPTURES;
    cudnn_fake_has.how[2] = CUDNN_FAKE_NEVER;
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ TIMED + 3, 0, 0 });
    expect_as_on_the_cpu(&n);
    close_net(&n);
}

Test(hostcuda_conv_engine, where_all_engines_fail_there_are_products) {
    net n;
    for (int i = 0; i < CUDNN_FAKE_ENGINES; i++) cudnn_fake_has.how[i] = CUDNN_FAKE_NEVER;
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ 0, 0, 0 });
    expect_note(&n, "products, for cuDNN failed: hostcuda, sm_90");
    expect_as_on_the_cpu(&n);
    close_net(&n);
}

/* The file is from a time when it worked. */
Test(hostcuda_conv_engine, a_plan_of_a_file_that_fails_is_not_taken) {
    net n;
    cudnn_fake_has.ms[1] = FASTER;
    ok(open_net(&n, "cuda", 1));
    close_net(&n);
    cudnn_fake_has.how[1] = CUDNN_FAKE_NOT_IN_CAPTURES;
    cudnn_fake_did = (cudnn_fake_counts){ 0 };
    ok(open_net(&n, "cuda", 1));
    expect_captured((const int[]){ 0, 0, 0 });
    expect_note(&n, "products, for cuDNN failed");
    expect_as_on_the_cpu(&n);
    close_net(&n);
}

Test(hostcuda_conv_engine, without_memory_for_its_workspace_there_are_products) {
    net n;
    hostcuda_has.memory = 48 << 20; /* cuBLAS's workspace is 32 MiB */
    ok(open_net(&n, "cuda", 1));
    expect_note(&n, "convolutions: as products by cuBLAS; workspace of cuDNN: 67.1 MB asked for");
    expect_as_on_the_cpu(&n);
    close_net(&n);
}
