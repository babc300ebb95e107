/* plan.c: a program becomes one CUDA graph.
 *
 * Each operation is launched once before, with no member active, which leaves all state alone: so
 * kernels and cuBLAS are loaded when the graph is captured, where they could not be, and an
 * operation that fails is named. */
#include <stdlib.h>
#include <string.h>

#include "backend/program_impl.h"
#include "cuda_impl.h"

typedef struct {
    cudaGraphExec_t graph;
    void *scratch;      /* of the operation that wants most; NULL: none does */
    void *active;       /* [P] device */
    uint8_t *on_device; /* [P] what active holds */
} cuda_plan;

static kp_status launch(const kp_cuda_backend *c, const kp_program *p, int step, kp_err *err) {
    const cuda_plan *plan = p->plan;
    const kp_step *s = &p->steps[step];
    const kp_cuda context = {
        .stream = c->stream,
        .blas = c->blas,
        .precision = c->precision,
        .conv = c->conv,
        .scratch = plan->scratch,
        .active = plan->active,
    };
    kp_status st = s->op->cuda(s->args, &context, err);
    if (st) kp_err_prefix(err, "cuda:%d: ", c->device);
    return st;
}

static void say_where(const kp_program *p, int step, kp_err *err) {
    kp_err_prefix(err, "program %s, operation %d of %d, %s, %d members: ", p->name, step + 1,
                  p->n_steps, p->steps[step].op->name, p->P);
}

static kp_status find_scratch_bytes(const kp_cuda_backend *c, const kp_program *p, size_t *bytes,
                                    kp_err *err) {
    *bytes = 0;
    for (int i = 0; i < p->n_steps; i++) {
        const kp_op *op = p->steps[i].op;
        if (!op->cuda)
            return kp_fail(err, KP_DEVICE,
                           "program %s: the operation %s has no CUDA kernel, so cuda:%d cannot run "
                           "it; use device=cpu",
                           p->name, op->name, c->device);
        size_t wanted = op->cuda_scratch_bytes ? op->cuda_scratch_bytes(p->steps[i].args) : 0;
        if (wanted > *bytes) *bytes = wanted;
    }
    return KP_OK;
}

static kp_status launch_with_no_member_active(const kp_cuda_backend *c, const kp_program *p,
                                              kp_err *err) {
    for (int i = 0; i < p->n_steps; i++) {
        kp_status st = launch(c, p, i, err);
        if (!st) st = KP_CUDA_CALL(c, err, cudaStreamSynchronize, c->stream);
        if (!st) continue;
        say_where(p, i, err);
        return st;
    }
    return KP_OK;
}

kp_status kp_cuda_make_graph(const kp_cuda_backend *c, kp_cuda_record *record, const void *what,
                             cudaGraphExec_t *exec, kp_err *err) {
    cudaGraph_t graph = NULL;
    kp_status st = KP_CUDA_CALL(c, err, cudaStreamBeginCapture, c->stream,
                                cudaStreamCaptureModeThreadLocal);
    if (st) return st;
    st = record(c, what, err);
    /* Whatever happened, the stream must come out of it. */
    cudaError_t end = cudaStreamEndCapture(c->stream, &graph);
    if (!st) st = kp_cuda_check(c, end, "cudaStreamEndCapture", err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaGraphInstantiate, exec, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    return st;
}

static kp_status launch_all(const kp_cuda_backend *c, const void *program, kp_err *err) {
    const kp_program *p = program;
    kp_status st = KP_OK;
    for (int i = 0; !st && i < p->n_steps; i++) {
        st = launch(c, p, i, err);
        if (st) say_where(p, i, err);
    }
    return st;
}

static kp_status set_active(kp_cuda_backend *c, const kp_program *p, const uint8_t *active,
                            kp_err *err) {
    cuda_plan *plan = p->plan;
    int changed = 0;
    for (int i = 0; i < p->P; i++) {
        uint8_t now = !active || active[i];
        changed |= now != plan->on_device[i];
        plan->on_device[i] = now;
    }
    return changed ? kp_cuda_upload(c, plan->active, plan->on_device, (size_t)p->P, err) : KP_OK;
}

kp_status kp_cuda_plan(void *impl, kp_program *p, kp_err *err) {
    kp_cuda_backend *c = impl;
    size_t scratch_bytes;
    kp_status st = find_scratch_bytes(c, p, &scratch_bytes, err);
    if (!st) st = kp_cuda_enter(c, err);
    if (st) return st;
    cuda_plan *plan = calloc(1, sizeof *plan);
    uint8_t *on_device = calloc((size_t)p->P, 1);
    if (!plan || !on_device) {
        free(plan), free(on_device);
        return kp_fail(err, KP_BAD_CONFIG, "program %s: out of host memory", p->name);
    }
    plan->on_device = on_device;
    p->plan = plan;
    st = kp_cuda_alloc(c, &plan->active, (size_t)p->P, "active members", err);
    if (!st && scratch_bytes)
        st = kp_cuda_alloc_undefined(c, &plan->scratch, scratch_bytes, "scratch of the kernels",
                                     err);
    if (!st) st = launch_with_no_member_active(c, p, err);
    if (!st) st = kp_cuda_make_graph(c, launch_all, p, &plan->graph, err);
    if (!st) st = KP_CUDA_CALL(c, err, cudaGraphUpload, plan->graph, c->stream);
    if (st) kp_cuda_unplan(c, p);
    return st;
}

kp_status kp_cuda_run(void *impl, kp_program *p, int n, const uint8_t *active, kp_err *err) {
    kp_cuda_backend *c = impl;
    const cuda_plan *plan = p->plan;
    kp_status st = kp_cuda_enter(c, err);
    if (!st) st = set_active(c, p, active, err);
    if (!st) c->last = p->name;
    for (int i = 0; !st && i < n; i++)
        st = KP_CUDA_CALL(c, err, cudaGraphLaunch, plan->graph, c->stream);
    if (st) kp_err_prefix(err, "program %s: ", p->name);
    return st;
}

/* cudaFree waits for a graph that still runs. */
void kp_cuda_unplan(void *impl, kp_program *p) {
    kp_cuda_backend *c = impl;
    cuda_plan *plan = p->plan;
    if (!kp_cuda_enter(c, NULL)) {
        if (plan->graph) cudaGraphExecDestroy(plan->graph);
        if (plan->scratch) cudaFree(plan->scratch);
        if (plan->active) cudaFree(plan->active);
    }
    if (c->last == p->name) c->last = NULL;
    free(plan->on_device);
    free(plan);
    p->plan = NULL;
}
