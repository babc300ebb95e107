/* conv_engine.c: the launchers' kp_conv_engine: for each convolution of one member, cuDNN or
 * products.
 *
 * What is fastest is measured when a convolution is first launched, before the capture: every way
 * as a graph of its own, as it will run. The times are kept in cuDNN's plan files, so that the next
 * process chooses the same, and the same bits, without measuring; a run's own files come first
 * (kp_backend_keep_choices). A plan that fails is not used. */
#include "conv/conv_engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_impl.h"
#include "cudnn_conv.h"

enum {
    WORKSPACE_BYTES = 64 << 20,
    REPEATS = 4,  /* of an operation in a graph that is timed */
    LAUNCHES = 4, /* of the graph; the best counts, the first warms up */
};

typedef struct {
    kp_cudnn_conv conv;
    kp_conv_plan *plan; /* NULL: products */
} choice;

typedef struct {
    kp_conv_engine hook; /* first: the engine is this */
    kp_cuda_backend *c;
    int is_forced; /* cuDNN wherever it can */
    int has_tried; /* to open cuDNN */
    kp_cudnn *cudnn;
    void *workspace;
    cudaEvent_t begin, end;
    choice *choices;
    int n_choices;
} conv_engine;

/* ---- opening -------------------------------------------------------------------------------- */

static void warn(void *c, const char *line) { kp_cuda_note(c, "%s", line); }

static kp_status open_cudnn(conv_engine *e, kp_err *err) {
    char folder[KP_PATH];
    kp_cudnn_options o = { .folder = kp_cudnn_default_folder(folder),
                           .run_folder = e->c->choices_folder[0] ? e->c->choices_folder : NULL,
                           .workspace_limit = WORKSPACE_BYTES,
                           .warn = warn,
                           .warn_to = e->c };
    kp_status st = kp_cudnn_open(&e->cudnn, &o, err);
    if (!st) st = KP_CUDA_CALL(e->c, err, cudaEventCreateWithFlags, &e->begin, cudaEventDefault);
    if (!st) st = KP_CUDA_CALL(e->c, err, cudaEventCreateWithFlags, &e->end, cudaEventDefault);
    if (!st)
        st = kp_cuda_alloc_undefined(e->c, &e->workspace, WORKSPACE_BYTES, "workspace of cuDNN",
                                     err);
    return st;
}

static void close_cudnn(conv_engine *e) {
    if (e->workspace) cudaFree(e->workspace);
    if (e->end) cudaEventDestroy(e->end);
    if (e->begin) cudaEventDestroy(e->begin);
    kp_cudnn_close(e->cudnn);
    e->workspace = NULL, e->end = e->begin = NULL, e->cudnn = NULL;
}

/* Once; without it all is done as products, unless it was asked for. */
static kp_status try_cudnn(conv_engine *e, kp_err *err) {
    kp_err why = { "" };
    if (e->has_tried) return KP_OK;
    kp_status st = open_cudnn(e, &why);
    if (st) close_cudnn(e);
    if (st && e->is_forced) return kp_fail(err, st, "KAPPA_CONV=cudnn: %s", why.text);
    if (st) kp_cuda_note(e->c, "convolutions: as products by cuBLAS; %s", why.text);
    else kp_cuda_note(e->c, "convolutions: %s", kp_cudnn_describe(e->cudnn));
    e->has_tried = 1;
    return KP_OK;
}

/* ---- measuring ------------------------------------------------------------------------------ */

typedef struct {
    conv_engine *e;
    const kp_conv_task *task;
    const kp_cuda *cuda;
} bench;

typedef struct {
    const bench *b;
    const kp_conv_plan *plan;
} way;

static kp_status launch_repeats(const kp_cuda_backend *c, const void *what, kp_err *err) {
    (void)c;
    const way *w = what;
    const bench *b = w->b;
    kp_status st = KP_OK;
    for (int i = 0; !st && i < REPEATS; i++)
        st = b->task->launch(b->task->args, w->plan, b->cuda, err);
    return st;
}

static kp_status time_launch(const bench *b, cudaGraphExec_t graph, float *ms, kp_err *err) {
    const conv_engine *e = b->e;
    cudaStream_t stream = e->c->stream;
    float is = 0;
    kp_status st = KP_CUDA_CALL(e->c, err, cudaEventRecord, e->begin, stream);
    if (!st) st = KP_CUDA_CALL(e->c, err, cudaGraphLaunch, graph, stream);
    if (!st) st = KP_CUDA_CALL(e->c, err, cudaEventRecord, e->end, stream);
    if (!st) st = KP_CUDA_CALL(e->c, err, cudaEventSynchronize, e->end);
    if (!st) st = KP_CUDA_CALL(e->c, err, cudaEventElapsedTime, &is, e->begin, e->end);
    if (!st) *ms = fminf(*ms, is / REPEATS);
    return st;
}

/* Milliseconds of the operation in one way, which is thus known to work, in a graph too. Launched
 * by itself first: a library may load kernels then, which no capture allows. */
static kp_status measure(const bench *b, const kp_conv_plan *plan, int n_launches, float *ms,
                         kp_err *err) {
    const kp_cuda_backend *c = b->e->c;
    cudaGraphExec_t exec = NULL;
    *ms = INFINITY;
    kp_status st = b->task->launch(b->task->args, plan, b->cuda, err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaStreamSynchronize, c->stream);
    if (!st) st = kp_cuda_make_graph(c, launch_repeats, &(way){ b, plan }, &exec, err);
    for (int i = 0; !st && i < n_launches; i++) st = time_launch(b, exec, ms, err);
    if (exec) cudaGraphExecDestroy(exec);
    return st;
}

static kp_status time_candidate(void *to, const kp_conv_plan *plan, float *ms, kp_err *err) {
    return measure(to, plan, LAUNCHES, ms, err);
}

/* Products need no time where they are not asked for. */
static int is_measured(const conv_engine *e, const kp_conv_plan *plan) {
    return !isnan(kp_conv_plan_candidate(plan, 0)->ms) &&
           (e->is_forced || !isnan(kp_conv_plan_plain_ms(plan)));
}

/* ---- choosing ------------------------------------------------------------------------------- */

static kp_cudnn_conv conv_of(const kp_conv_task *task, kp_precision precision) {
    static const kp_cudnn_kind kinds[] = { [KP_CONV_FORWARD] = KP_CUDNN_FORWARD,
                                           [KP_CONV_BACKWARD_DATA] = KP_CUDNN_BACKWARD_DATA,
                                           [KP_CONV_BACKWARD_WEIGHTS] = KP_CUDNN_BACKWARD_WEIGHTS };
    return (kp_cudnn_conv){ .kind = kinds[task->kind],
                            .precision = precision,
                            .B = task->B,
                            .shape = task->shape,
                            .has_bias = task->at.bias != NULL,
                            .activation = KP_LINEAR };
}

/* Times of a plan that nobody has measured yet, or, once more, that one from a file works. A
 * failure of products is one of the operation; of the plan, it is in why. */
static kp_status test_plan(const bench *b, kp_conv_plan *plan, int *works, kp_err *why,
                           kp_err *err) {
    kp_status st = KP_OK;
    float ms;
    *works = 0;
    if (!is_measured(b->e, plan)) {
        if (!b->e->is_forced) st = measure(b, NULL, LAUNCHES, &ms, err);
        if (st) return st;
        if (!b->e->is_forced) kp_conv_plan_set_plain_ms(plan, ms);
        *works = !kp_cudnn_choose(b->e->cudnn, plan, time_candidate, (void *)b, why);
    } else {
        *works = !measure(b, plan, 1, &ms, why);
    }
    return KP_OK;
}

static void note_choice(conv_engine *e, const kp_conv_plan *plan, int is_taken) {
    char products[64] = "";
    float plain_ms = kp_conv_plan_plain_ms(plan);
    const kp_cudnn_candidate *is = kp_conv_plan_candidate(plan, 0);
    if (!isnan(plain_ms)) snprintf(products, sizeof products, ", products %.4f", (double)plain_ms);
    kp_cuda_note(e->c, "convolution: %s: %s; cuDNN's engine %d (%s) takes %.4f ms%s",
                 kp_conv_plan_describe(plan), is_taken ? "cuDNN" : "products", is->engine,
                 is->knobs, (double)is->ms, products);
}

static kp_status choose_new(const bench *b, const kp_cudnn_conv *conv, kp_conv_plan **plan,
                            kp_err *err) {
    conv_engine *e = b->e;
    kp_err why = { "" };
    int works = 0;
    *plan = NULL;
    kp_status st = try_cudnn(e, err);
    if (st || !e->cudnn) return st;
    kp_conv_plan *found = NULL;
    if (!kp_cudnn_plan(&found, e->cudnn, conv, &why)) {
        st = test_plan(b, found, &works, &why, err);
        if (st) return st;
    }
    if (!works) {
        kp_cuda_note(e->c, "convolution: products, for cuDNN failed: %s", why.text);
        return KP_OK;
    }
    if (e->is_forced || kp_conv_plan_candidate(found, 0)->ms < kp_conv_plan_plain_ms(found))
        *plan = found;
    note_choice(e, found, *plan != NULL);
    return KP_OK;
}

static kp_status keep(conv_engine *e, const kp_cudnn_conv *conv, kp_conv_plan *plan, kp_err *err) {
    choice *more = realloc(e->choices, (size_t)(e->n_choices + 1) * sizeof *more);
    if (!more) return kp_fail(err, KP_BAD_CONFIG, "convolutions: out of host memory");
    e->choices = more;
    more[e->n_choices++] = (choice){ *conv, plan };
    return KP_OK;
}

static kp_status choose(kp_conv_engine *engine, const kp_conv_task *task, const kp_cuda *cuda,
                        const kp_conv_plan **plan, kp_err *err) {
    conv_engine *e = (conv_engine *)engine;
    const kp_cudnn_conv conv = conv_of(task, e->c->precision);
    kp_conv_plan *new = NULL;
    enum cudaStreamCaptureStatus is;
    *plan = NULL;
    for (int i = 0; i < e->n_choices; i++)
        if (!memcmp(&e->choices[i].conv, &conv, sizeof conv)) {
            *plan = e->choices[i].plan;
            return KP_OK;
        }
    kp_status st = KP_CUDA_CALL(e->c, err, cudaStreamIsCapturing, e->c->stream, &is);
    if (st || is != cudaStreamCaptureStatusNone) return st;
    st = choose_new(&(bench){ e, task, cuda }, &conv, &new, err);
    if (!st) st = keep(e, &conv, new, err);
    if (!st) *plan = new;
    return st;
}

static kp_status run(kp_conv_engine *engine, const kp_conv_plan *plan, const kp_conv_pointers *at,
                     struct CUstream_st *stream, kp_err *err) {
    conv_engine *e = (conv_engine *)engine;
    return kp_cudnn_run(e->cudnn, plan, &(kp_cudnn_pointers){ at->x, at->y, at->w, at->bias },
                        e->workspace, stream, err);
}

/* ---- the backend's side --------------------------------------------------------------------- */

kp_status kp_cuda_conv_open(kp_cuda_backend *c, kp_err *err) {
    const char *how = getenv("KAPPA_CONV");
    if (!how || !*how) how = "auto";
    if (!strcmp(how, "im2col")) return KP_OK;
    int is_forced = !strcmp(how, "cudnn");
    if (!is_forced && strcmp(how, "auto") != 0)
        return kp_fail(err, KP_BAD_CONFIG, "KAPPA_CONV: '%s' is not auto, cudnn or im2col", how);
    conv_engine *e = calloc(1, sizeof *e);
    if (!e) return kp_fail(err, KP_BAD_CONFIG, "out of host memory");
    e->hook = (kp_conv_engine){ .choose = choose, .run = run };
    e->c = c;
    e->is_forced = is_forced;
    c->conv = &e->hook;
    return KP_OK;
}

kp_status kp_cuda_conv_set_precision(kp_cuda_backend *c, kp_err *err) {
    const conv_engine *e = (const conv_engine *)c->conv;
    if (!e || c->precision != KP_PRECISION_BF16) return KP_OK;
    if (e->is_forced)
        return kp_fail(err, KP_BAD_CONFIG,
                       "precision bf16: cuDNN has fp32 and tf32 here; leave KAPPA_CONV=cudnn out");
    kp_cuda_note(c, "convolutions: as products by cuBLAS, which alone have bf16");
    kp_cuda_conv_close(c);
    return KP_OK;
}

void kp_cuda_conv_close(kp_cuda_backend *c) {
    conv_engine *e = (conv_engine *)c->conv;
    if (!e) return;
    close_cudnn(e);
    free(e->choices);
    free(e);
    c->conv = NULL;
}
