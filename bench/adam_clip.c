/* adam_clip.c: the fused update's bandwidth, at 28 bytes a parameter, on every thread. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "adam_clip/adam_clip.h"
#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "base/philox.h"
#include "bench.h"

#define LIMITS(width) extern const kp_op kp_bench_unclipped_##width, kp_bench_moves_##width;
LIMITS(generic)
#ifdef KAPPA_X86
LIMITS(avx2)
LIMITS(avx512)
static const kp_op *const unclipped[] = { &kp_bench_unclipped_generic, &kp_bench_unclipped_avx2,
                                          &kp_bench_unclipped_avx512 };
static const kp_op *const moves[] = { &kp_bench_moves_generic, &kp_bench_moves_avx2,
                                      &kp_bench_moves_avx512 };
#else
static const kp_op *const unclipped[] = { &kp_bench_unclipped_generic };
static const kp_op *const moves[] = { &kp_bench_moves_generic };
#endif

enum { BYTES = 28 };

/* What is timed. The limits run between ours, so that a slow spell of the machine meets all. */
enum { OURS, UNCLIPPED, UNBOUNDED, MOVES, N_LOOPS };

static const struct {
    const char *label;
    int n_chunks, updates; /* updates: in one timing */
    double reach;
} sizes[] = {
    { "50M", 48829, 1, 1.2 }, { "1.69M", 1650, 30, 1.6 }, /* Nature DQN: stays in cache */
};

typedef struct {
    kp_backend *backend;
    kp_program *loop[N_LOOPS];
    kp_adam_clip_args args;
} bench;

static kp_status fill(bench *b, kp_err *err) {
    size_t n = (size_t)b->args.n_chunks * KP_CHUNK;
    float *values = malloc(n * sizeof *values);
    if (!values) return kp_fail(err, KP_BAD_CONFIG, "bench adam_clip: out of host memory");
    for (size_t i = 0; i < n; i++)
        values[i] = 0.1f * (kp_uniform(kp_philox(1, KP_STREAM_TEST, i / 4).x[i % 4]) - 0.5f);
    kp_status st = kp_backend_upload(b->backend, (float *)b->args.grad, values, n * sizeof *values,
                                     err);
    if (!st) st = kp_backend_upload(b->backend, b->args.theta, values, n * sizeof *values, err);
    free(values);
    return st;
}

static kp_status prepare(bench *b, int n_chunks, int n_threads, kp_err *err) {
    size_t n = (size_t)n_chunks * KP_CHUNK * sizeof(float);
    kp_adam_hyper h = { 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 1e-4f, 1.0f, 1.0f };
    float *grad = NULL, *bounds = NULL;
    int32_t *tensor = NULL;
    kp_adam_hyper *hyper = NULL;
    kp_adam_clip_args *a = &b->args;
    kp_status st = kp_backend_open(&b->backend, "cpu", n_threads, err);
#define ALLOC(pointer, bytes)                                                                      \
    if (!st) st = kp_backend_alloc(b->backend, (void **)&(pointer), bytes, "the benchmark", err)
    ALLOC(a->theta, n);
    ALLOC(a->m, n);
    ALLOC(a->v, n);
    ALLOC(grad, n);
    ALLOC(tensor, (size_t)n_chunks * sizeof *tensor);
    ALLOC(bounds, 2 * sizeof *bounds);
    ALLOC(hyper, sizeof *hyper);
    ALLOC(a->tally, (size_t)n_chunks * sizeof *a->tally);
#undef ALLOC
    if (st) return st;
    const float bound[2] = { 0.04f, INFINITY };
    st = kp_backend_upload(b->backend, bounds, bound, sizeof bound, err);
    if (!st) st = kp_backend_upload(b->backend, hyper, &h, sizeof h, err);
    a->P = 1, a->n_chunks = n_chunks, a->n_tensors = 1;
    a->grad = grad, a->tensor = tensor, a->bound = bounds, a->hyper = hyper;
    if (!st) st = fill(b, err);

    const kp_op *op[N_LOOPS] = { kp_op_get(KP_OP_adam_clip), unclipped[kp_isa()],
                                 kp_op_get(KP_OP_adam_clip), moves[kp_isa()] };
    for (int i = 0; !st && i < N_LOOPS; i++) {
        kp_adam_clip_args args = *a;
        if (i == UNBOUNDED) args.bound = bounds + 1;
        st = kp_program_open(&b->loop[i], b->backend, 1, op[i]->name, err);
        if (!st) st = kp_program_add(b->loop[i], op[i], &args, err);
        if (!st) st = kp_program_seal(b->loop[i], err);
    }
    return st;
}

static void release(bench *b) {
    for (int i = 0; i < N_LOOPS; i++) kp_program_close(b->loop[i]);
    kp_backend_close(b->backend);
}

/* GB/s of each loop; the peer in turns with them. */
static kp_status measure(const kp_bench_options *o, const char *label, int n_chunks, int updates,
                         int repeats, double *rate, kp_err *err) {
    bench b = { 0 };
    double seconds[N_LOOPS][KP_BENCH_MAX_REPEATS];
    kp_status st = prepare(&b, n_chunks, o->n_threads, err);
    if (st) st = (kp_err_prefix(err, "bench adam_clip %s", label), st);
    for (int r = -1; !st && r < repeats; r++) /* -1 warms up */
        for (int i = 0; !st && i < N_LOOPS; i++) {
            double start = kp_now_s();
            for (int k = 0; !st && k < updates; k++) st = kp_program_run(b.loop[i], NULL, err);
            if (r >= 0) seconds[i][r] = kp_now_s() - start;
        }
    for (int i = 0; !st && i < N_LOOPS; i++)
        rate[i] = 1e-9 * BYTES * KP_CHUNK * n_chunks * updates /
                  kp_bench_median(seconds[i], repeats);
    release(&b);
    return st;
}

kp_status kp_bench_adam_clip(const kp_bench_options *o, kp_err *err) {
    for (size_t s = 0; s < KP_COUNT(sizes); s++) {
        int repeats = kp_bench_repeats(o, 9);
        double rate[N_LOOPS], again[N_LOOPS], peer[2] = { NAN, NAN };
        kp_status st = measure(o, sizes[s].label, sizes[s].n_chunks, sizes[s].updates, repeats,
                               rate, err);
        if (!st && o->with_peers) { /* between two of ours, so that a slow spell meets both */
            char arguments[64];
            snprintf(arguments, sizeof arguments, "%d", sizes[s].n_chunks * KP_CHUNK);
            st = kp_bench_peer(o, "adam_clip.py", arguments, 2,
                               (const char *const[]){ "compiled_gb_s", "fused_gb_s" }, peer, err);
            if (!st)
                st = measure(o, sizes[s].label, sizes[s].n_chunks, sizes[s].updates, repeats, again,
                             err);
            for (int i = 0; !st && i < N_LOOPS; i++) rate[i] = 0.5 * (rate[i] + again[i]);
        }
        if (st) return st;
        kp_bench_result r = {
            .ours = rate[OURS],
            .peer = peer[0],
            .unit = "GB/s",
            .limit = rate[MOVES],
            .limit_name = "read-modify-write",
            .reach = sizes[s].reach,
            .repeats = repeats,
        };
        snprintf(r.name, sizeof r.name, "adam_clip %s", sizes[s].label);
        int n = snprintf(r.note, sizeof r.note,
                         "clip and tally cost %.1f%% (without: %.4g; no bound: %.4g)",
                         100 * (rate[UNCLIPPED] / rate[OURS] - 1), rate[UNCLIPPED],
                         rate[UNBOUNDED]);
        if (isfinite(peer[1]))
            snprintf(r.note + n, sizeof r.note - (size_t)n, "; torch fused + clamp: %.4g", peer[1]);
        o->emit(o->context, &r);
    }
    return KP_OK;
}
