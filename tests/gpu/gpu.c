/* gpu.c: the CUDA backend and every operation against the CPU's, on a real GPU (ctest -L gpu),
 * which is skipped, saying why, where none can be opened. The same program runs on the emulated
 * runtime (hostcuda_gpu), so that it is known to work before it meets a device. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/philox.h"
#include "kernels/op_case.h"
#include "learn/dqn_update.h"

enum { P = 3 };

static kp_err err;
static void ok(kp_status st, const char *what) {
    cr_assert_eq(st, KP_OK, "%s: %s", what, err.text);
}

static kp_backend *open_cpu(void) {
    kp_backend *b = NULL;
    ok(kp_backend_open(&b, "cpu", 1, &err), "cpu");
    return b;
}

/* NULL, having said why: tests/gpu/CMakeLists.txt knows the line. */
static kp_backend *open_gpu(void) {
    kp_backend *b = NULL;
    if (kp_backend_open(&b, "cuda", 1, &err)) fprintf(stderr, "gpu: skipped: %s\n", err.text);
    return b;
}

/* ---- memory ---------------------------------------------------------------------------------- */

Test(gpu, memory_is_zeroed_and_keeps_what_is_uploaded) {
    static const size_t sizes[] = { 1, 3, 255, 4096, 65537, 5 << 20 };
    kp_backend *gpu = open_gpu();
    for (size_t i = 0; gpu && i < KP_COUNT(sizes); i++) {
        size_t n = sizes[i];
        void *memory = NULL;
        unsigned char *from = malloc(n), *got = malloc(n);
        for (size_t k = 0; k < n; k++) from[k] = (unsigned char)((k * 2654435761u) >> 13);
        ok(kp_backend_alloc(gpu, &memory, n, "a test's", &err), "alloc");
        memset(got, 1, n);
        ok(kp_backend_download(gpu, got, memory, n, &err), "download");
        for (size_t k = 0; k < n; k++) cr_assert_eq(got[k], 0, "byte %zu of %zu", k, n);
        ok(kp_backend_upload(gpu, memory, from, n, &err), "upload");
        ok(kp_backend_download(gpu, got, memory, n, &err), "download");
        cr_expect(!memcmp(from, got, n), "%zu bytes", n);
        kp_backend_release(gpu, memory);
        free(from), free(got);
    }
    kp_backend_close(gpu);
}

/* ---- every operation ------------------------------------------------------------------------- */

static size_t raw_bytes(const kp_case_buffer *b) { return b->bytes + 2 * KP_CASE_GUARD; }

/* The case's buffers with their guards in the GPU's memory; pointers of its arguments follow. */
static void move_to(kp_backend *gpu, const kp_case *c, char **raw, unsigned char *args) {
    memcpy(args, c->args, sizeof c->args);
    for (int i = 0; i < c->n_buffers; i++) {
        const kp_case_buffer *b = &c->buffer[i];
        ok(kp_backend_alloc(gpu, (void **)&raw[i], raw_bytes(b), "a case", &err), "alloc");
        ok(kp_backend_upload(gpu, raw[i], b->raw, raw_bytes(b), &err), "upload");
        for (size_t k = 0; k < sizeof c->args; k += sizeof(uintptr_t)) {
            uintptr_t pointer;
            memcpy(&pointer, c->args + k, sizeof pointer);
            uintptr_t offset = pointer - (uintptr_t)b->raw;
            if (offset >= raw_bytes(b)) continue;
            pointer = (uintptr_t)raw[i] + offset;
            memcpy(args + k, &pointer, sizeof pointer);
        }
    }
}

static void run_program(kp_backend *b, const kp_op_row *row, const void *args,
                        const uint8_t *active) {
    kp_program *program = NULL;
    ok(kp_program_open(&program, b, P, row->name, &err), row->name);
    ok(kp_program_add(program, kp_op_get(row->op), args, &err), row->name);
    ok(kp_program_seal(program, &err), row->name);
    ok(kp_program_run(program, active, &err), row->name);
    kp_program_close(program);
}

static void run_on_gpu(kp_backend *gpu, const kp_op_row *row, kp_case *c, const uint8_t *active) {
    _Alignas(16) unsigned char args[sizeof c->args];
    char *raw[KP_COUNT(c->buffer)] = { NULL };
    move_to(gpu, c, raw, args);
    run_program(gpu, row, args, active);
    for (int i = 0; i < c->n_buffers; i++) {
        kp_case_buffer *b = &c->buffer[i];
        ok(kp_backend_download(gpu, b->raw, raw[i], raw_bytes(b), &err), row->name);
        kp_backend_release(gpu, raw[i]);
    }
}

/* Element operations: every bit, as one rounding sequence serves both; of softmax_xent and of small
 * networks the logarithm in the loss is the device's own. Layers: cuBLAS adds in another order. */
static double tolerance_of(const kp_op_row *row, int is_layer) {
    return is_layer ? 1e-5
           : row->op == KP_OP_softmax_xent || row->op == KP_OP_mlp_gradient ||
                   row->op == KP_OP_mlp_after || row->op == KP_OP_mlp_stream
               ? 1e-6
               : 0;
}

static void check_row(kp_backend *gpu, kp_backend *cpu, const kp_op_row *row, double tolerance) {
    static const uint8_t some[P] = { 1, 0, 1 };
    char says[160] = "";
    kp_case got = kp_case_open(row, P, 0), want = kp_case_open(row, P, 0),
            part = kp_case_open(row, P, 0), before = kp_case_open(row, P, 0);
    run_on_gpu(gpu, row, &got, NULL);
    run_program(cpu, row, want.args, NULL);
    cr_expect(!kp_case_overrun(&got, says, sizeof says), "%s: %s", row->name, says);
    int differs = tolerance > 0 ? kp_case_is_far(&got, &want, tolerance, says, sizeof says)
                                : kp_case_differs(&got, 0, &want, 0, P, ~0u, says, sizeof says);
    cr_expect(!differs, "%s: %s", row->name, says);

    run_on_gpu(gpu, row, &part, some);
    for (int p = 0; p < P; p++) {
        unsigned uses = some[p] ? ~0u : 1u << KP_IN | 1u << KP_IN_OUT;
        differs = kp_case_differs(&part, p, some[p] ? &got : &before, p, 1, uses, says,
                                  sizeof says);
        cr_expect(!differs, "%s, member %d of those active or not: %s", row->name, p, says);
    }
    kp_case_close(&got), kp_case_close(&want), kp_case_close(&part), kp_case_close(&before);
}

static void check_rows(const kp_op_row *row, int is_layer) {
    kp_backend *gpu = open_gpu(), *cpu = gpu ? open_cpu() : NULL;
    for (; gpu && row->name; row++) check_row(gpu, cpu, row, tolerance_of(row, is_layer));
    kp_backend_close(gpu), kp_backend_close(cpu);
}

Test(gpu, element_operations_equal_the_cpus) { check_rows(kp_element_rows, 0); }
Test(gpu, small_networks_equal_the_cpus) { check_rows(kp_mlp_rows, 0); }
Test(gpu, layers_equal_the_cpus, .timeout = 600) { check_rows(kp_layer_rows, 1); }

/* ---- a whole update -------------------------------------------------------------------------- */

enum { AGENTS = 2, B = 4, STACK = 4, SIDE = 44, ACTIONS = 4, FRAMES = 40, UPDATES = 5 };

static kp_dqn_update *open_update(kp_backend *b) {
    static const uint64_t seed[AGENTS] = { 3, 4 };
    static uint8_t host[FRAMES * SIDE * SIDE];
    kp_optim_member member[AGENTS];
    kp_dqn_update *update = NULL;
    uint8_t *frames = NULL;
    for (int p = 0; p < AGENTS;
         p++) /* eps is large: gradients that are rounding stay small steps */
        member[p] = (kp_optim_member){ .lr = 1e-4,
                                       .beta1 = 0.9,
                                       .beta2 = 0.999,
                                       .eps = 1e-3,
                                       .grad_norm = 10,
                                       .clip = { .kappa = 1 + p, .bias = 1, .last_layer = 1 } };
    for (size_t i = 0; i < sizeof host; i++)
        host[i] = (uint8_t)kp_philox(1, KP_STREAM_TEST, i).x[0];
    ok(kp_backend_alloc(b, (void **)&frames, sizeof host, "frames", &err), "frames");
    ok(kp_backend_upload(b, frames, host, sizeof host, &err), "frames");
    const kp_dqn_update_options options = {
        .P = AGENTS,
        .B = B,
        .net = { .n_actions = ACTIONS,
                 .hidden = 16,
                 .stack = STACK,
                 .side = SIDE,
                 .padding = KP_VALID,
                 .init = KP_INIT_FAN_IN },
        .divide = 1,
        .loss = KP_HUBER,
        .double_q = 1,
        .seed = seed,
        .optim = { .rule = KP_RULE_ADAM, .member = member },
        .frames = frames,
    };
    ok(kp_dqn_update_open(&update, b, &options, &err), "open");
    return update;
}

static void draw(kp_dqn_batch *batch, int step) {
    for (int i = 0; i < AGENTS * B; i++) {
        kp_philox_block r = kp_philox((uint64_t)step, KP_STREAM_TEST, (uint64_t)i);
        for (int k = 0; k < STACK; k++) {
            batch->s[i * STACK + k] = r.x[0] % (FRAMES - STACK) + (unsigned)k;
            batch->s_next[i * STACK + k] = batch->s[i * STACK + k] + 1;
        }
        batch->action[i] = (int32_t)(r.x[1] % ACTIONS);
        batch->reward[i] = kp_uniform(r.x[2]) - 0.5f;
        batch->discount[i] = 0.99f;
    }
}

/* The weights after some updates; yours to free. */
static float *train(kp_backend *b, kp_precision precision, size_t *n) {
    ok(kp_backend_set_precision(b, precision, &err), "precision");
    kp_dqn_update *update = open_update(b);
    *n = (size_t)AGENTS * (size_t)kp_net_layout(kp_dqn_update_net(update))->n_chunks * KP_CHUNK;
    float *theta = malloc(*n * sizeof *theta);
    for (int i = 0; i < UPDATES; i++) {
        draw(kp_dqn_update_batch(update), i);
        ok(kp_dqn_update_run(update, NULL, &err), "update");
        if (i == 2) ok(kp_dqn_update_target(update, NULL, &err), "target");
    }
    ok(kp_backend_download(b, theta, kp_dqn_update_theta(update), *n * sizeof *theta, &err),
       "download");
    kp_dqn_update_close(update);
    return theta;
}

static void expect_updates(kp_precision precision, double tolerance) {
    kp_backend *gpu = open_gpu();
    if (!gpu) return;
    kp_backend *cpu = open_cpu();
    size_t n;
    float *got = train(gpu, precision, &n), *again = train(gpu, precision, &n),
          *want = train(cpu, KP_PRECISION_FP32, &n);
    double largest = 0, apart = 0;
    for (size_t i = 0; i < n; i++) {
        cr_assert(isfinite(got[i]), "weight %zu", i);
        largest = fmax(largest, fabs((double)want[i]));
        apart = fmax(apart, fabs((double)got[i] - (double)want[i]));
    }
    cr_expect(apart <= tolerance * largest, "%s: %g apart, the largest weight is %g",
              kp_precision_name(precision), apart, largest);
    cr_expect(!memcmp(got, again, n * sizeof *got), "two runs on the GPU differ");
    free(got), free(again), free(want);
    kp_backend_close(gpu), kp_backend_close(cpu);
}

Test(gpu, dqn_updates_equal_the_cpus_and_themselves, .timeout = 600) {
    expect_updates(KP_PRECISION_FP32, 1e-4);
}
Test(gpu, dqn_updates_in_tf32_and_bf16_are_near_the_cpus, .timeout = 600) {
    expect_updates(KP_PRECISION_TF32, 1e-3);
    expect_updates(KP_PRECISION_BF16, 1e-2);
}
