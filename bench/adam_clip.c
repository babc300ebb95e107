/* adam_clip.c: the fused update's bandwidth, at 28 bytes a parameter, on every thread or on a GPU.
 *
 * A GPU is timed by the host's clock around many runs of a program with a wait at their end: runs
 * are graphs in one stream, so the time of launching them is hidden but for the first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "adam_model.h"
#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "base/philox.h"
#include "bench.h"
#include "copy/copy.h"

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

/* What is timed. The limits run between ours, so that a slow spell of the machine meets all. */
enum { OURS, UNCLIPPED, UNBOUNDED, LIMIT, N_LOOPS };

static const kp_bench_adam_size cpu_sizes[] = {
    { "50M", 1, 48829, 1, 1.2 }, { "1.69M", 1, 1650, 30, 1.6 }, /* Nature DQN: stays in cache */
};
static const kp_bench_adam_size cuda_sizes[] = {
    { "50M", 1, 48829, 50, 1.3 },
    { "1.69M", 1, 1650, 500, 1.3 },
    { "32 x 1.69M", 32, 1650, 50, 1.3 },
};

static const double CUDA_SHARE = 0.93; /* of the copy's bandwidth, asked of the kernel */

typedef struct {
    kp_backend *backend;
    kp_program *loop[N_LOOPS];
    kp_adam_clip_args args;
    float *bounds;    /* [2][P]: finite, infinite */
    float *from, *to; /* [P][2 N] of the copy: as much memory as theta, m, v and the gradient */
} bench;

static int on_cuda(const bench *b) { return kp_backend_kind(b->backend) == KP_CUDA; }

static int64_t n_floats(const bench *b) { return (int64_t)b->args.P * b->args.n_chunks * KP_CHUNK; }

static kp_status fill(bench *b, kp_err *err) {
    size_t n = (size_t)n_floats(b);
    float *values = malloc(n * sizeof *values);
    if (!values) return kp_fail(err, KP_BAD_CONFIG, "out of host memory");
    for (size_t i = 0; i < n; i++)
        values[i] = 0.1f * (kp_uniform(kp_philox(1, KP_STREAM_TEST, i / 4).x[i % 4]) - 0.5f);
    kp_status st = kp_backend_upload(b->backend, (float *)b->args.grad, values, n * sizeof *values,
                                     err);
    if (!st) st = kp_backend_upload(b->backend, b->args.theta, values, n * sizeof *values, err);
    free(values);
    return st;
}

static kp_status fill_members(bench *b, kp_adam_hyper *hyper, kp_err *err) {
    const kp_adam_hyper h = { 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 1e-4f, 1.0f, 1.0f, 0, 0 };
    const float bound[2] = { 0.04f, INFINITY };
    int P = b->args.P;
    kp_status st = KP_OK;
    for (int p = 0; !st && p < P; p++) {
        st = kp_backend_upload(b->backend, hyper + p, &h, sizeof h, err);
        for (int k = 0; !st && k < 2; k++)
            st = kp_backend_upload(b->backend, b->bounds + k * P + p, &bound[k], sizeof bound[k],
                                   err);
    }
    return st;
}

static kp_status prepare_memory(bench *b, kp_err *err) {
    size_t n = (size_t)n_floats(b) * sizeof(float), P = (size_t)b->args.P;
    float *grad = NULL;
    int32_t *tensor = NULL;
    kp_adam_hyper *hyper = NULL;
    kp_adam_clip_args *a = &b->args;
    kp_status st = KP_OK;
#define ALLOC(pointer, bytes)                                                                      \
    if (!st) st = kp_backend_alloc(b->backend, (void **)&(pointer), bytes, "the benchmark", err)
    ALLOC(a->theta, n);
    ALLOC(a->m, n);
    ALLOC(a->v, n);
    ALLOC(grad, n);
    ALLOC(tensor, (size_t)a->n_chunks * sizeof *tensor);
    ALLOC(b->bounds, 2 * P * sizeof *b->bounds);
    ALLOC(hyper, P * sizeof *hyper);
    ALLOC(a->tally, P * (size_t)a->n_chunks * sizeof *a->tally);
    if (on_cuda(b)) {
        ALLOC(b->from, 2 * n);
        ALLOC(b->to, 2 * n);
    }
#undef ALLOC
    if (!st) st = fill_members(b, hyper, err);
    a->n_tensors = 1, a->grad = grad, a->tensor = tensor, a->bound = b->bounds, a->hyper = hyper;
    return st ? st : fill(b, err);
}

static kp_status prepare(bench *b, const kp_bench_adam_size *s, const kp_bench_options *o,
                         kp_err *err) {
    b->args.P = s->P, b->args.n_chunks = s->n_chunks;
    kp_status st = kp_backend_open(&b->backend, o->device, o->n_threads, err);
    if (!st) st = prepare_memory(b, err);
    if (st) return st;
    const kp_copy_args copy = { s->P, 2LL * s->n_chunks * KP_CHUNK, b->from, b->to };
    const kp_op *op[N_LOOPS] = { kp_op_get(KP_OP_adam_clip), unclipped[kp_isa()],
                                 kp_op_get(KP_OP_adam_clip),
                                 on_cuda(b) ? kp_op_get(KP_OP_copy) : moves[kp_isa()] };
    for (int i = 0; !st && i < N_LOOPS; i++) {
        kp_adam_clip_args args = b->args;
        if (i == UNBOUNDED) args.bound = b->bounds + s->P;
        st = kp_program_open(&b->loop[i], b->backend, s->P, op[i]->name, err);
        if (!st)
            st = kp_program_add(b->loop[i], op[i],
                                i == LIMIT && on_cuda(b) ? (const void *)&copy : &args, err);
        if (!st) st = kp_program_seal(b->loop[i], err);
    }
    return st;
}

static void release(bench *b) {
    for (int i = 0; i < N_LOOPS; i++) kp_program_close(b->loop[i]);
    kp_backend_close(b->backend);
}

static kp_status time_loop(const bench *b, int loop, int updates, double *seconds, kp_err *err) {
    kp_status st = kp_backend_sync(b->backend, err);
    double start = kp_now_s();
    for (int k = 0; !st && k < updates; k++) st = kp_program_run(b->loop[loop], NULL, err);
    if (!st) st = kp_backend_sync(b->backend, err);
    *seconds = kp_now_s() - start;
    return st;
}

/* GB/s of each loop. */
static kp_status measure(const kp_bench_options *o, const kp_bench_adam_size *s, int repeats,
                         double *rate, kp_err *err) {
    bench b = { 0 };
    double seconds[N_LOOPS][KP_BENCH_MAX_REPEATS];
    kp_status st = prepare(&b, s, o, err);
    for (int r = -1; !st && r < repeats; r++) /* -1 warms up */
        for (int i = 0; !st && i < N_LOOPS; i++)
            st = time_loop(&b, i, s->updates, &seconds[i][r < 0 ? 0 : r], err);
    for (int i = 0; !st && i < N_LOOPS; i++) {
        double bytes = i == LIMIT && on_cuda(&b) ? 16 : KP_ADAM_BYTES; /* two floats copied */
        rate[i] = 1e-9 * bytes * (double)n_floats(&b) * s->updates /
                  kp_bench_median(seconds[i], repeats);
    }
    if (b.backend) release(&b);
    if (st) kp_err_prefix(err, "bench adam_clip %s: ", s->label);
    return st;
}

/* What torch.compile makes of Adam and clamp, and torch's fused Adam with a foreach clamp. On a GPU
 * the latter is the peer. */
static kp_status measure_peers(const kp_bench_options *o, const kp_bench_adam_size *s, double *peer,
                               kp_err *err) {
    char arguments[64];
    snprintf(arguments, sizeof arguments, "%lld --device %s",
             (long long)s->P * s->n_chunks * KP_CHUNK, o->device);
    return kp_bench_peer(o, "adam_clip.py", arguments, 2,
                         (const char *const[]){ "compiled_gb_s", "fused_gb_s" }, peer, err);
}

static void emit(const kp_bench_options *o, const kp_bench_adam_size *s, int cuda, int repeats,
                 const double *rate, const double *peer) {
    kp_bench_result r = {
        .ours = rate[OURS],
        .peer = peer[cuda],
        .unit = "GB/s",
        .limit = rate[LIMIT],
        .limit_name = cuda ? "copy operation" : "read-modify-write",
        .reach = s->reach,
        .repeats = repeats,
    };
    snprintf(r.name, sizeof r.name, "adam_clip %s%s", cuda ? "cuda " : "", s->label);
    int n = snprintf(r.note, sizeof r.note,
                     "clip and tally cost %.1f%% (without: %.4g; no bound: %.4g)",
                     100 * (rate[UNCLIPPED] / rate[OURS] - 1), rate[UNCLIPPED], rate[UNBOUNDED]);
    if (cuda)
        n += snprintf(r.note + n, sizeof r.note - (size_t)n, "; %.2f of the copy, asked %.2f",
                      rate[OURS] / rate[LIMIT], CUDA_SHARE);
    if (isfinite(peer[!cuda]))
        snprintf(r.note + n, sizeof r.note - (size_t)n, "; torch %s: %.4g",
                 cuda ? "compiled" : "fused + clamp", peer[!cuda]);
    o->emit(o->context, &r);
}

kp_status kp_bench_adam_clip_sized(const kp_bench_options *o, int n_sizes,
                                   const kp_bench_adam_size *size, kp_err *err) {
    int repeats = kp_bench_repeats(o, 9), cuda = strcmp(o->device, "cpu") != 0;
    for (const kp_bench_adam_size *s = size; s < size + n_sizes; s++) {
        double rate[N_LOOPS], again[N_LOOPS], peer[2] = { NAN, NAN };
        kp_status st = measure(o, s, repeats, rate, err);
        if (!st && o->with_peers) { /* between two of ours, so that a slow spell meets both */
            st = measure_peers(o, s, peer, err);
            if (!st) st = measure(o, s, repeats, again, err);
            for (int i = 0; !st && i < N_LOOPS; i++) rate[i] = 0.5 * (rate[i] + again[i]);
        }
        if (st) return st;
        emit(o, s, cuda, repeats, rate, peer);
    }
    return KP_OK;
}

kp_status kp_bench_adam_clip(const kp_bench_options *o, kp_err *err) {
    if (!strcmp(o->device, "cpu"))
        return kp_bench_adam_clip_sized(o, (int)KP_COUNT(cpu_sizes), cpu_sizes, err);
    return kp_bench_adam_clip_sized(o, (int)KP_COUNT(cuda_sizes), cuda_sizes, err);
}
