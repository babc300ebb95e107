/* backend.c: the CUDA backend on the emulated runtime (runtime/runtime.h): it does what the CPU
 * backend does, to the bit, gives everything back, and says what is wrong. */
#include "backend/backend.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "backend/cuda/cuda_impl.h"
#include "backend/cuda/requirements.h"
#include "hostcuda/counts.h"
#include "hostcuda/hostcuda.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

static const char *const devices[] = { "cpu", "cuda" };
enum { CPU, CUDA, N_DEVICES };

static kp_backend *open_backend(const char *device) {
    kp_backend *b = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_backend_open(&b, device, 2, &err), KP_OK, "%s", err.text);
    return b;
}

static void close_backend(kp_backend *b) {
    kp_backend_close(b);
    cr_expect_eq(hostcuda_n_alive(), 0, "%d things of CUDA are left", hostcuda_n_alive());
}

static void *alloc(kp_backend *b, size_t bytes) {
    void *memory = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_backend_alloc(b, &memory, bytes, "a test's", &err), KP_OK, "%s", err.text);
    return memory;
}

static void ok(kp_status st, const kp_err *err) { cr_assert_eq(st, KP_OK, "%s", err->text); }

static void upload(kp_backend *b, void *to, const void *from, size_t bytes) {
    kp_err err = { "" };
    ok(kp_backend_upload(b, to, from, bytes, &err), &err);
}

static void download(kp_backend *b, void *to, const void *from, size_t bytes) {
    kp_err err = { "" };
    ok(kp_backend_download(b, to, from, bytes, &err), &err);
}

static void expect_says(const kp_err *err, const char *says) {
    cr_expect(strstr(err->text, says), "'%s' is not in: %s", says, err->text);
}

/* ---- memory ---- */

static void fill(unsigned char *bytes, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
}

static const size_t sizes[] = { 1,
                                3,
                                255,
                                4096,
                                65537,
                                KP_STAGING_BYTES,
                                KP_STAGING_BYTES + 1,
                                KP_STAGING_SEGMENTS *KP_STAGING_BYTES + 7 };

Test(hostcuda_backend, memory_is_zeroed_and_aligned) {
    for (int d = 0; d < N_DEVICES; d++) {
        kp_backend *b = open_backend(devices[d]);
        for (size_t i = 0; i < KP_COUNT(sizes); i++) {
            char *memory = alloc(b, sizes[i]), *host = malloc(sizes[i]);
            cr_expect_eq((uintptr_t)memory % (d == CUDA ? 256 : 64), 0, "%p", (void *)memory);
            memset(host, 1, sizes[i]);
            download(b, host, memory, sizes[i]);
            size_t at = 0;
            while (at < sizes[i] && !host[at]) at++;
            cr_expect_eq(at, sizes[i], "%s: byte %zu of %zu is not zero", devices[d], at, sizes[i]);
            free(host);
        }
        kp_backend_release(b, alloc(b, 0));
        close_backend(b);
    }
}

Test(hostcuda_backend, what_is_uploaded_comes_back) {
    for (int d = 0; d < N_DEVICES; d++) {
        kp_backend *b = open_backend(devices[d]);
        for (size_t i = 0; i < KP_COUNT(sizes); i++) {
            size_t n = sizes[i];
            unsigned char *memory = alloc(b, n), *from = malloc(n), *want = malloc(n),
                          *got = malloc(n);
            fill(from, n, (unsigned)i), fill(want, n, (unsigned)i);
            upload(b, memory, from, n);
            memset(from, 0xEE, n); /* upload is done with it */
            download(b, got, memory, n);
            cr_expect(!memcmp(got, want, n), "%s: %zu bytes", devices[d], n);
            free(from), free(want), free(got);
            kp_backend_release(b, memory);
        }
        close_backend(b);
    }
}

/* Small uploads fill the ring and go round it; until then nobody waits. */
Test(hostcuda_backend, many_small_uploads) {
    enum { BYTES = 1001, N = KP_STAGING_SEGMENTS * KP_STAGING_BYTES / 1024 * 3 / 2 };
    for (int d = 0; d < N_DEVICES; d++) {
        kp_backend *b = open_backend(devices[d]);
        unsigned char *memory = alloc(b, (size_t)N * BYTES), *got = malloc((size_t)N * BYTES),
                      from[BYTES];
        int waits = hostcuda_did.waits;
        for (int i = 0; i < N; i++) {
            fill(from, BYTES, (unsigned)i);
            upload(b, memory + (size_t)i * BYTES, from, BYTES);
            if (i == N / 2) cr_expect_eq(hostcuda_did.waits, waits, "the host has waited");
        }
        if (d == CUDA) cr_expect_gt(hostcuda_did.waits, waits, "the ring has not been full");
        download(b, got, memory, (size_t)N * BYTES);
        for (int i = 0; i < N; i++) {
            fill(from, BYTES, (unsigned)i);
            cr_assert(!memcmp(got + (size_t)i * BYTES, from, BYTES), "%s: upload %d", devices[d],
                      i);
        }
        free(got);
        close_backend(b);
    }
}

Test(hostcuda_backend, out_of_memory_says_what_to_lower) {
    kp_err err = { "" };
    void *memory = NULL;
    hostcuda_has.memory = 64 << 20;
    kp_backend *b = open_backend("cuda");
    cr_expect_eq(kp_backend_alloc(b, &memory, 1000000000, "replay frames", &err), KP_BAD_CONFIG);
    cr_expect_null(memory);
    expect_says(&err, "replay frames: 1000.0 MB asked for, 33.6 MB of cuda:0's 67.1 MB are free; "
                      "lower population.size, buffer.transitions or dqn.batch");
    upload(b, alloc(b, 100), &err, 100); /* and goes on */
    close_backend(b);
}

/* ---- programs ---- */

static kp_status waits_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    (void)args;
    cudaError_t code = cudaStreamSynchronize(cuda->stream);
    return code ? kp_fail(err, KP_DEVICE, "waits: %s", cudaGetErrorString(code)) : KP_OK;
}

static int one_slice(const void *args) {
    (void)args;
    return 1;
}

static const kp_op waits = {
    .name = "waits", .args_bytes = sizeof(counts_args), .n_slices = one_slice, .cuda = waits_cuda
};
static const kp_op cpu_only = { .name = "cpu_only",
                                .args_bytes = sizeof(counts_args),
                                .n_slices = one_slice };

/* One operation or more over 3 members, 5 numbers each, which begin as zeros. */
static kp_status make(kp_program **p, kp_backend *b, const kp_op *const *ops, int n_ops,
                      size_t scratch_bytes, uint32_t **x, kp_err *err) {
    counts_args args = { 3, 5, alloc(b, 3 * 5 * sizeof **x), scratch_bytes };
    *x = args.x;
    kp_status st = kp_program_open(p, b, 3, "a program", err);
    for (int i = 0; !st && i < n_ops; i++) st = kp_program_add(*p, ops[i], &args, err);
    return st ? st : kp_program_seal(*p, err);
}

static void expect_counts(kp_backend *b, const uint32_t *x, const uint32_t want[3]) {
    uint32_t got[3 * 5];
    download(b, got, x, sizeof got);
    for (int i = 0; i < 3 * 5; i++)
        cr_expect_eq(got[i], want[i / 5], "member %d: %u, not %u", i / 5, got[i], want[i / 5]);
}

/* The mask is sent when it differs from what the device has, and its source may change at once. */
Test(hostcuda_backend, members_that_are_not_active_stay_as_they_are) {
    static const uint8_t masks[][3] = { { 1, 1, 1 }, { 1, 0, 1 }, { 1, 0, 1 }, { 0, 0, 1 } };
    for (int d = 0; d < N_DEVICES; d++) {
        kp_backend *b = open_backend(devices[d]);
        kp_program *p = NULL;
        uint32_t *x;
        kp_err err = { "" };
        ok(make(&p, b, (const kp_op *[]){ &counts, &counts }, 2, 0, &x, &err), &err);
        expect_counts(b, x, (uint32_t[]){ 0, 0, 0 }); /* sealing has left them alone */
        hostcuda_counts before = hostcuda_did;
        for (size_t i = 0; i < KP_COUNT(masks); i++) {
            uint8_t mask[3];
            memcpy(mask, masks[i], 3);
            ok(kp_program_run(p, mask, &err), &err);
            memset(mask, 0, 3);
        }
        ok(kp_program_run(p, NULL, &err), &err);
        if (d == CUDA) {
            cr_expect_eq(hostcuda_did.copies - before.copies, 4, "masks sent");
            cr_expect_eq(hostcuda_did.graphs - before.graphs, 5);
            cr_expect_eq(hostcuda_did.kernels, before.kernels, "launched one by one");
            cr_expect_eq(hostcuda_did.waits, before.waits, "the host has waited");
            cr_expect_eq(hostcuda_did.allocations, before.allocations);
        }
        expect_counts(b, x, (uint32_t[]){ 8, 4, 10 });
        kp_program_close(p);
        close_backend(b);
    }
}

Test(hostcuda_backend, repeats_equal_runs_and_nobody_waits) {
    for (int d = 0; d < N_DEVICES; d++) {
        kp_backend *b = open_backend(devices[d]);
        kp_program *p = NULL;
        uint32_t *x;
        kp_err err = { "" };
        ok(make(&p, b, (const kp_op *[]){ &counts, &counts, &counts }, 3, 0, &x, &err), &err);
        hostcuda_counts before = hostcuda_did;
        ok(kp_program_repeat(p, 5, (uint8_t[]){ 1, 0, 1 }, &err), &err);
        ok(kp_program_repeat(p, 2, (uint8_t[]){ 1, 0, 1 }, &err), &err);
        if (d == CUDA) {
            cr_expect_eq(hostcuda_did.copies - before.copies, 1, "masks sent");
            cr_expect_eq(hostcuda_did.graphs - before.graphs, 7);
            cr_expect_eq(hostcuda_did.waits, before.waits, "the host has waited");
        }
        expect_counts(b, x, (uint32_t[]){ 21, 0, 21 });
        kp_program_close(p);
        close_backend(b);
    }
}

Test(hostcuda_backend, scratch_is_that_of_the_operation_that_wants_most) {
    kp_backend *b = open_backend("cuda");
    kp_program *p = NULL, *none = NULL;
    uint32_t *x;
    kp_err err = { "" };
    ok(make(&p, b, (const kp_op *[]){ &waits }, 0, 0, &x, &err), &err); /* no operation at all */
    ok(kp_program_run(p, NULL, &err), &err);
    kp_program_close(p);
    ok(make(&none, b, (const kp_op *[]){ &counts }, 1, 0, &x, &err), &err);
    cr_expect_null(counts_launched_with.scratch);
    ok(kp_program_open(&p, b, 3, "scratch", &err), &err);
    static const size_t scratch_bytes[] = { 300, 70001, 0, 5000 };
    for (int i = 0; i < 4; i++) {
        counts_args args = { 3, 5, x, scratch_bytes[i] };
        ok(kp_program_add(p, &counts, &args, &err), &err);
    }
    ok(kp_program_seal(p, &err), &err);
    cr_expect_eq((uintptr_t)counts_launched_with.scratch % 256, 0);
    ok(kp_program_run(p, NULL, &err), &err);
    expect_counts(b, x, (uint32_t[]){ 4, 4, 4 });
    kp_program_close(p), kp_program_close(none);
    close_backend(b);
}

Test(hostcuda_backend, launchers_get_cublas_ready_for_a_graph) {
    static const struct {
        int major, minor, mebibytes;
    } cases[] = { { 8, 0, 8 }, { 8, 9, 8 }, { 9, 0, 32 }, { 10, 0, 32 } };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_program *p = NULL;
        uint32_t *x;
        kp_err err = { "" };
        hostcuda_has.major = cases[i].major, hostcuda_has.minor = cases[i].minor;
        kp_backend *b = open_backend("cuda:0");
        if (i) ok(kp_backend_set_precision(b, KP_PRECISION_TF32, &err), &err);
        ok(make(&p, b, (const kp_op *[]){ &counts }, 1, 0, &x, &err), &err);
        cr_expect_eq(counts_launched_with.precision, i ? KP_PRECISION_TF32 : KP_PRECISION_FP32);
        hostcuda_blas blas = hostcuda_blas_of(counts_launched_with.blas);
        cr_expect_eq(blas.stream, counts_launched_with.stream);
        cr_expect_eq(blas.workspace_bytes, (size_t)cases[i].mebibytes << 20, "sm_%d%d",
                     cases[i].major, cases[i].minor);
        cr_expect_eq(blas.math, CUBLAS_DEFAULT_MATH);
        kp_program_close(p);
        close_backend(b);
    }
}

/* ---- programs that fail ---- */

static kp_status too_wide_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    (void)args;
    kp_adam_clip_args a = { .P = 65536, .n_chunks = 1 };
    return kp_adam_clip_cuda(&a, cuda, err);
}
static const kp_op too_wide = { .name = "too_wide",
                                .args_bytes = sizeof(counts_args),
                                .n_slices = one_slice,
                                .cuda = too_wide_cuda };

static const struct {
    const kp_op *op;
    size_t scratch_bytes;
    kp_status st;
    const char *says;
} bad_programs[] = {
    { &cpu_only, 0, KP_DEVICE,
      "program a program: the operation cpu_only has no CUDA kernel, so cuda:0 cannot run it; use "
      "device=cpu" },
    { &too_wide, 0, KP_DEVICE,
      "program a program, operation 2 of 2, too_wide, 3 members: cuda:0: adam_clip: invalid "
      "configuration argument (CUDA error 9)" },
    { &waits, 0, KP_DEVICE,
      "program a program, operation 2 of 2, waits, 3 members: cuda:0: waits: operation not "
      "permitted when stream is capturing" },
    { &counts, (size_t)1 << 40, KP_BAD_CONFIG, "scratch of the kernels: 1099511.6 MB asked for, " },
};

Test(hostcuda_backend, programs_that_cannot_be_run) {
    kp_backend *b = open_backend("cuda");
    for (size_t i = 0; i < KP_COUNT(bad_programs); i++) {
        kp_program *p = NULL;
        uint32_t *x;
        kp_err err = { "" };
        int alive = hostcuda_n_alive();
        kp_status st = make(&p, b, (const kp_op *[]){ &counts, bad_programs[i].op }, 2,
                            bad_programs[i].scratch_bytes, &x, &err);
        cr_expect_eq(st, bad_programs[i].st);
        expect_says(&err, bad_programs[i].says);
        kp_program_close(p);
        cr_expect_eq(hostcuda_n_alive(), alive + 1, "x, and nothing of the program");

        ok(make(&p, b, (const kp_op *[]){ &counts }, 1, 0, &x, &err), &err); /* the next one can */
        ok(kp_program_run(p, NULL, &err), &err);
        expect_counts(b, x, (uint32_t[]){ 1, 1, 1 });
        kp_program_close(p);
    }
    close_backend(b);
}

/* The host hears of it only later, and whoever asks. */
Test(hostcuda_backend, a_kernel_that_fails) {
    static const char says[] =
        "cuda:0: an illegal memory access was encountered (CUDA error 700), by work launched before "
        "cudaStreamSynchronize told of it, last of all program a program; compute-sanitizer names "
        "the kernel";
    kp_program *p = NULL;
    uint32_t *x, got;
    kp_err err = { "" };
    kp_backend *b = open_backend("cuda");
    ok(make(&p, b, (const kp_op *[]){ &counts }, 1, 0, &x, &err), &err);
    hostcuda_has.fails = cudaErrorIllegalAddress;
    ok(kp_program_run(p, NULL, &err), &err);
    cr_expect_eq(kp_backend_download(b, &got, x, sizeof got, &err), KP_DEVICE);
    expect_says(&err, says);
    expect_says(&err, "download of 4 bytes: cuda:0: ");
    cr_expect_eq(kp_program_run(p, NULL, &err), KP_DEVICE);
    expect_says(&err, "program a program: cuda:0: an illegal memory access");
    kp_program_close(p);
    kp_backend_close(b);
}

Test(hostcuda_backend, a_kernel_that_fails_while_its_program_is_planned) {
    kp_program *p = NULL;
    uint32_t *x;
    kp_err err = { "" };
    kp_backend *b = open_backend("cuda");
    hostcuda_has.fails = cudaErrorMisalignedAddress;
    cr_expect_eq(make(&p, b, (const kp_op *[]){ &counts, &counts }, 2, 0, &x, &err), KP_DEVICE);
    expect_says(&err, "program a program, operation 1 of 2, counts, 3 members: cuda:0: ");
    expect_says(&err, "(CUDA error 716)");
    kp_program_close(p);
    kp_backend_close(b);
}

/* ---- opening ---- */

static const struct {
    const char *device;
    hostcuda_machine has;
    const char *says;
} bad_machines[] = {
    { "cuda", { .n_devices = 1 }, "no NVIDIA driver is loaded; install R580 or later" },
    { "cuda",
      { .n_devices = 1, .driver = 12040, .major = 9 },
      "the NVIDIA driver is for CUDA 12.4, this build needs 13.0 or later; update the driver to R580 "
      "or later, or use device=cpu" },
    { "cuda:0", { .driver = 13000 }, "device cuda:0: no CUDA device is found" },
    { "cuda:2",
      { .n_devices = 2, .driver = 13000, .major = 9 },
      "device cuda:2: there is no cuda:2, the last is cuda:1" },
    { "cuda",
      { .n_devices = 1, .driver = 13000, .major = 7, .minor = 5 },
      "hostcuda 0 has compute capability 7.5, 8.0 or later (A100, RTX 30, H100) is needed; use "
      "another device, or device=cpu" },
    { "cuda",
      { .n_devices = 1, .driver = 13000, .major = 9, .no_cublas = 1 },
      "device cuda:0: libcublas.so.13" },
    { "cuda",
      { .n_devices = 1, .driver = 13000, .major = 9, .memory = 1 << 20 },
      "workspace of cuBLAS: 33.6 MB asked for, 1.0 MB of cuda:0's 1.0 MB are free" },
};

Test(hostcuda_backend, machines_without_what_it_needs) {
    for (size_t i = 0; i < KP_COUNT(bad_machines); i++) {
        kp_backend *b = NULL;
        kp_err err = { "" };
        hostcuda_has = bad_machines[i].has;
        kp_status st = kp_backend_open(&b, bad_machines[i].device, 0, &err);
        cr_expect_eq(st, bad_machines[i].has.memory ? KP_BAD_CONFIG : KP_DEVICE, "%s", err.text);
        cr_expect_null(b);
        expect_says(&err, bad_machines[i].says);
        cr_expect_eq(hostcuda_n_alive(), 0);

        b = open_backend("auto");
        cr_expect_eq(kp_backend_kind(b), KP_CPU, "%s", kp_backend_describe(b));
        close_backend(b);
    }
}

Test(hostcuda_backend, doctor_says_what_there_is) {
    static const char *const want[KP_CUDA_N_REQUIREMENTS][2] = {
        { "CUDA driver", "for CUDA 13.1; this build's runtime, 13.0, needs 13.0 or later" },
        { "CUDA device", "hostcuda 1, compute capability 8.0 (8.0 or later is needed), 4.0 GiB, "
                         "cuda:1 of 2" },
        { "cuBLAS", "tests/hostcuda/fakes" },
    };
    hostcuda_has = (hostcuda_machine){
        .n_devices = 2, .driver = 13010, .major = 8, .memory = (size_t)4 << 30
    };
    for (int i = 0; i < KP_CUDA_N_REQUIREMENTS; i++) {
        const kp_cuda_requirement *r = &kp_cuda_requirements[i];
        char found[300] = "";
        kp_err err = { "" };
        ok(r->check(1, found, sizeof found, &err), &err);
        cr_expect_str_eq(r->what, want[i][0]);
        cr_expect_str_eq(found, want[i][1]);
    }
}

Test(hostcuda_backend, says_what_it_runs_on) {
    hostcuda_has = (hostcuda_machine){
        .n_devices = 2, .driver = 13020, .major = 8, .minor = 6, .memory = 1 << 30
    };
    kp_backend *b = open_backend("cuda:1"), *first = open_backend("auto");
    cr_expect_str_eq(kp_backend_describe(b), "cuda:1, hostcuda 1, sm_86, driver 13.2");
    cr_expect_str_eq(kp_backend_describe(first), "cuda:0, hostcuda 0, sm_86, driver 13.2");
    cr_expect_eq(kp_backend_kind(b), KP_CUDA);
    kp_backend_close(first);
    close_backend(b);
    b = open_backend("cpu");
    cr_expect(strstr(kp_backend_describe(b), "cpu, 2 threads, "), "%s", kp_backend_describe(b));
    close_backend(b);
}

/* Streams and graphs belong to a device, which must be the thread's when they are used. */
Test(hostcuda_backend, two_devices_in_one_thread) {
    kp_backend *b[2];
    kp_program *p[2] = { NULL };
    uint32_t *x[2];
    kp_err err = { "" };
    hostcuda_has.n_devices = 2;
    b[0] = open_backend("cuda:0"), b[1] = open_backend("cuda:1");
    for (int i = 0; i < 2; i++)
        ok(make(&p[i], b[i], (const kp_op *[]){ &counts }, 1, 0, &x[i], &err), &err);
    for (int i = 0; i < 6; i++)
        ok(kp_program_run(p[i % 3 == 1], (uint8_t[]){ 1, i > 3, 1 }, &err), &err);
    for (int i = 0; i < 2; i++) ok(kp_backend_sync(b[i], &err), &err);
    expect_counts(b[0], x[0], (uint32_t[]){ 4, 1, 4 });
    expect_counts(b[1], x[1], (uint32_t[]){ 2, 1, 2 });
    kp_program_close(p[0]), kp_program_close(p[1]);
    kp_backend_close(b[0]);
    close_backend(b[1]);
}

/* ---- the fused updates as programs ---- */

enum { P = 3, CHUNKS = 5, TENSORS = 3, N = P * CHUNKS * KP_CHUNK, STEPS = 5, BUFFERS = 5 };

typedef struct {
    float *theta, *moment[3], *grad, *anchor; /* [P][CHUNKS * KP_CHUNK] */
    int32_t *tensor;
    float *bound, *grad_scale;
    void *hyper; /* [P] of the rule's */
    kp_clip_tally *tally;
} state;

#define COMMON(s)                                                                                  \
    .P = P, .n_chunks = CHUNKS, .n_tensors = TENSORS, .theta = (s)->theta, .grad = (s)->grad,      \
    .tensor = (s)->tensor, .bound = (s)->bound, .grad_scale = (s)->grad_scale,                     \
    .hyper = (s)->hyper, .tally = (s)->tally

static kp_status add_adam(kp_program *p, const state *s, kp_err *err) {
    return KP_ADD(p, err, adam_clip, COMMON(s), .with_terms = 1, .anchor = s->anchor,
                  .m = s->moment[0], .v = s->moment[1]);
}
static kp_status add_sgd(kp_program *p, const state *s, kp_err *err) {
    return KP_ADD(p, err, sgd_clip, COMMON(s), .with_terms = 1, .u = s->moment[0]);
}
static kp_status add_rmsprop(kp_program *p, const state *s, kp_err *err) {
    return KP_ADD(p, err, rmsprop_clip, COMMON(s), .with_terms = 1, .v = s->moment[1],
                  .mean = s->moment[2]);
}

/* Hyperparameters that change with the step and differ by member. */
static void adam_hyper(void *hyper, int member, float rate) {
    ((kp_adam_hyper *)hyper)[member] = (kp_adam_hyper){ 0.9f, 0.1f, 0.99f,    0.01f, 1e-8f,
                                                        rate, 1.5f, 1 - rate, 0,     rate };
}
static void sgd_hyper(void *hyper, int member, float rate) {
    ((kp_sgd_hyper *)hyper)[member] = (kp_sgd_hyper){ rate, 0.9f, rate * rate, 0 };
}
static void rmsprop_hyper(void *hyper, int member, float rate) {
    ((kp_rmsprop_hyper *)hyper)[member] = (kp_rmsprop_hyper){ 0.9f, 0.1f, 1e-8f, rate, rate, 0 };
}

static const struct {
    const char *name;
    kp_status (*add)(kp_program *p, const state *s, kp_err *err);
    void (*hyper)(void *hyper, int member, float rate);
    size_t hyper_bytes;
} rules[] = {
    { "adam", add_adam, adam_hyper, sizeof(kp_adam_hyper) },
    { "sgd", add_sgd, sgd_hyper, sizeof(kp_sgd_hyper) },
    { "rmsprop", add_rmsprop, rmsprop_hyper, sizeof(kp_rmsprop_hyper) },
};

static void *device_copy(kp_backend *b, const void *host, size_t bytes) {
    void *memory = alloc(b, bytes);
    upload(b, memory, host, bytes);
    return memory;
}

static float *device_numbers(kp_backend *b, unsigned seed, float least) {
    float *x = malloc(N * sizeof *x);
    for (unsigned i = 0; i < N; i++)
        x[i] = least + (1 - least) * (float)((i * 2654435761u + seed * 40503u) >> 8) * 0x1p-24f;
    float *memory = device_copy(b, x, N * sizeof *x);
    free(x);
    return memory;
}

static state open_state(kp_backend *b) {
    static const int32_t tensor[CHUNKS] = { 0, 0, 1, 2, 2 };
    static const float bound[P * TENSORS] = { 0.2f, 0.3f, INFINITY, 0.4f, 0.5f, 0.6f, 0.9f, 0, 1 },
                                 scale[P] = { 1, 0.5f, 0.25f };
    state s = { .theta = device_numbers(b, 0, -1), .grad = device_numbers(b, 1, -1) };
    s.anchor = device_numbers(b, 9, -1);
    for (unsigned i = 0; i < 3; i++) s.moment[i] = device_numbers(b, 2 + i, i == 1 ? 0.5f : -0.1f);
    s.tensor = device_copy(b, tensor, sizeof tensor);
    s.bound = device_copy(b, bound, sizeof bound);
    s.grad_scale = device_copy(b, scale, sizeof scale);
    s.tally = alloc(b, sizeof(kp_clip_tally) * P * CHUNKS);
    s.hyper = alloc(b, 64 * P);
    return s;
}

/* Five updates; theta, moments and tally in the end. */
static void train(const char *device, int rule, float *numbers, kp_clip_tally *tally) {
    static const uint8_t masks[STEPS][P] = {
        { 1, 1, 1 }, { 1, 1, 1 }, { 0, 1, 1 }, { 0, 1, 0 }, { 1, 0, 1 }
    };
    kp_backend *b = open_backend(device);
    state s = open_state(b);
    kp_program *p = NULL;
    kp_err err = { "" };
    ok(kp_program_open(&p, b, P, "update", &err), &err);
    ok(rules[rule].add(p, &s, &err), &err);
    ok(kp_program_seal(p, &err), &err);
    int n_waits = hostcuda_did.waits, n_allocations = hostcuda_did.allocations;
    _Alignas(16) char hyper[64 * P];
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < P; i++)
            rules[rule].hyper(hyper, i, 0.01f * (float)(1 + i) / (float)(1 + step));
        upload(b, s.hyper, hyper, rules[rule].hyper_bytes * P);
        ok(kp_program_run(p, step ? masks[step] : NULL, &err), &err);
    }
    cr_expect_eq(hostcuda_did.waits, n_waits, "the host has waited in the loop");
    cr_expect_eq(hostcuda_did.allocations, n_allocations);
    float *const buffers[BUFFERS] = { s.theta, s.moment[0], s.moment[1], s.moment[2], s.grad };
    for (int i = 0; i < BUFFERS; i++) download(b, numbers + i * N, buffers[i], N * sizeof(float));
    download(b, tally, s.tally, sizeof(kp_clip_tally) * P * CHUNKS);
    kp_program_close(p);
    close_backend(b);
}

Test(hostcuda_backend, graphs_of_the_updates_equal_the_cpu) {
    static kp_clip_tally want_tally[P * CHUNKS], got_tally[P * CHUNKS];
    static float want[BUFFERS * N], got[BUFFERS * N];
    for (int rule = 0; rule < (int)KP_COUNT(rules); rule++)
        for (unsigned order = 0; order < 3; order++) {
            hostcuda_order(order);
            train("cpu", rule, want, want_tally);
            train("cuda", rule, got, got_tally);
            int at = 0;
            while (at < BUFFERS * N && !memcmp(&got[at], &want[at], sizeof *got)) at++;
            cr_expect_eq(at, BUFFERS * N, "%s, order %u: buffer %d, %d: %.9g, %.9g on the CPU",
                         rules[rule].name, order, at / N, at % N, (double)got[at % (BUFFERS * N)],
                         (double)want[at % (BUFFERS * N)]);
            cr_expect(!memcmp(got_tally, want_tally, sizeof got_tally), "%s: tally",
                      rules[rule].name);
        }
}
