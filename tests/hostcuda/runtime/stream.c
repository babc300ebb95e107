/* stream.c: work that waits until the host does, copies, events, captures and graphs. */
#include <stdlib.h>
#include <string.h>

#include "runtime_impl.h"

typedef struct task {
    struct task *next;
    void (*run)(void *context);
    const char *who; /* "kernel", "copy" */
    size_t bytes;
    _Alignas(16) char context[];
} task;

typedef struct {
    task *first, *last;
} queue;

struct CUstream_st {
    int device;
    queue work;
    cudaGraph_t graph; /* that a capture makes; NULL: none is made */
    int spoiled;       /* the capture */
};
struct CUevent_st {
    cudaStream_t stream;
    int recorded, reached, has_no_time;
    double ms; /* when it was reached last */
};
struct CUgraph_st {
    queue work;
};
struct CUgraphExec_st {
    queue work;
};

static void push(queue *q, void (*run)(void *), const char *who, const void *context,
                 size_t bytes) {
    task *t = malloc(sizeof *t + bytes);
    if (!t) hostcuda_stop("no memory");
    *t = (task){ .run = run, .who = who, .bytes = bytes };
    if (bytes) memcpy(t->context, context, bytes);
    if (q->last) q->last->next = t;
    else q->first = t;
    q->last = t;
}

static void push_all(queue *q, const queue *from) {
    for (const task *t = from->first; t; t = t->next) push(q, t->run, t->who, t->context, t->bytes);
}

static task *pop(queue *q) {
    task *t = q->first;
    q->first = t->next;
    if (!q->first) q->last = NULL;
    return t;
}

static void clear(queue *q) {
    while (q->first) free(pop(q));
}

/* ---- doing the work ---- */

double hostcuda_clock_ms;

static void run(task *t) {
    if (*t->who == 'k' && hostcuda_has.fails) {
        hostcuda_break(hostcuda_has.fails);
        hostcuda_has.fails = cudaSuccess;
        return;
    }
    hostcuda_clock_ms += *t->who == 'k';
    hostcuda_open_memory(t->who);
    t->run(t->context);
}

/* Until the event is reached; NULL: all. */
static cudaError_t drain(cudaStream_t s, cudaEvent_t event) {
    while (s->work.first && !hostcuda_is_broken() &&
           !(event && event->reached == event->recorded)) {
        task *t = pop(&s->work);
        run(t);
        free(t);
    }
    hostcuda_close_memory();
    return hostcuda_begin();
}

cudaError_t hostcuda_drain_all(void) {
    for (cudaStream_t s = NULL; (s = hostcuda_next(STREAM, s));) drain(s, NULL);
    return hostcuda_begin();
}

int hostcuda_is_capturing(void) {
    for (cudaStream_t s = NULL; (s = hostcuda_next(STREAM, s));)
        if (s->graph) return 1;
    return 0;
}

void hostcuda_spoil_captures(void) {
    for (cudaStream_t s = NULL; (s = hostcuda_next(STREAM, s));)
        if (s->graph) s->spoiled = 1;
}

cudaError_t hostcuda_legacy(void) {
    if (!hostcuda_is_capturing()) return hostcuda_begin();
    hostcuda_spoil_captures();
    return hostcuda_say(cudaErrorStreamCaptureImplicit);
}

/* The queue that work for the stream goes to. */
static cudaError_t find_queue(cudaStream_t s, queue **q) {
    HOSTCUDA_BEGIN();
    if (!hostcuda_is(STREAM, s) || s->device != hostcuda_current())
        return hostcuda_say(cudaErrorInvalidResourceHandle);
    if (s->spoiled) return hostcuda_say(cudaErrorStreamCaptureInvalidated);
    *q = s->graph ? &s->graph->work : &s->work;
    return cudaSuccess;
}

cudaError_t hostcuda_enqueue(cudaStream_t s, void (*work)(void *), const void *context,
                             size_t bytes) {
    queue *q = NULL;
    cudaError_t code = find_queue(s, &q);
    if (!code) push(q, work, "kernel", context, bytes);
    hostcuda_did.kernels += !code;
    return code;
}

cudaError_t hostcuda_enqueue_kernel(cudaStream_t s, void (*work)(void *), const void *context,
                                    size_t bytes, size_t from) {
    hostcuda_check_arguments((const char *)context + from, (const char *)context + bytes);
    return hostcuda_enqueue(s, work, context, bytes);
}

/* ---- copies ---- */

typedef struct {
    char *to;
    const char *from;
    size_t bytes;
    int value;
} copy;

static void run_copy(void *context) {
    const copy *c = context;
    memcpy(c->to, c->from, c->bytes);
}

static void run_set(void *context) {
    const copy *c = context;
    memset(c->to, c->value, c->bytes);
}

static cudaError_t enqueue_copy(cudaStream_t s, void (*work)(void *), copy c, int is_allowed) {
    queue *q = NULL;
    cudaError_t code = find_queue(s, &q);
    if (!code && c.bytes && !is_allowed) code = hostcuda_say(cudaErrorInvalidValue);
    if (!code && c.bytes) push(q, work, "copy", &c, sizeof c);
    hostcuda_did.copies += !code;
    return code;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    const void *device = kind == cudaMemcpyHostToDevice ? to : from;
    const void *host = kind == cudaMemcpyHostToDevice ? from : to;
    int is_allowed = (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToHost) &&
                     hostcuda_is_device(device, bytes) && host &&
                     !hostcuda_touches_device(host, bytes);
    return enqueue_copy(stream, run_copy, (copy){ to, from, bytes, 0 }, is_allowed);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    return enqueue_copy(stream, run_set, (copy){ memory, NULL, bytes, value },
                        hostcuda_is_device(memory, bytes));
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    HOSTCUDA_BEGIN();
    if (!stream || flags & ~(unsigned)cudaStreamNonBlocking)
        return hostcuda_say(cudaErrorInvalidValue);
    *stream = hostcuda_new(STREAM, sizeof **stream);
    (*stream)->device = hostcuda_current();
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!hostcuda_is(STREAM, stream)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    hostcuda_did.waits++;
    return drain(stream, NULL);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    if (!hostcuda_is(STREAM, stream)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    cudaError_t code = drain(stream, NULL);
    clear(&stream->work);
    hostcuda_delete(stream);
    return code;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    HOSTCUDA_BEGIN();
    if (!event || flags & ~(unsigned)cudaEventDisableTiming)
        return hostcuda_say(cudaErrorInvalidValue);
    *event = hostcuda_new(EVENT, sizeof **event);
    (*event)->has_no_time = (flags & cudaEventDisableTiming) != 0;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    if (!hostcuda_is(EVENT, event)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    hostcuda_delete(event);
    return cudaSuccess;
}

static void run_event(void *context) {
    cudaEvent_t event = *(cudaEvent_t *)context;
    if (hostcuda_is(EVENT, event)) event->reached++, event->ms = hostcuda_clock_ms;
}

/* Not for a stream that captures, in which CUDA gives events another meaning. */
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    queue *q = NULL;
    if (!hostcuda_is(EVENT, event)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    cudaError_t code = hostcuda_begin_unsafe();
    if (!code) code = find_queue(stream, &q);
    if (code) return code;
    event->stream = stream;
    event->recorded++;
    push(q, run_event, "event", &event, sizeof(cudaEvent_t));
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!hostcuda_is(EVENT, event)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    if (event->reached == event->recorded) return cudaSuccess;
    hostcuda_did.waits++;
    return drain(event->stream, event);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!hostcuda_is(EVENT, begin) || !hostcuda_is(EVENT, end) || begin->has_no_time ||
        end->has_no_time || !begin->recorded || !end->recorded)
        return hostcuda_say(cudaErrorInvalidResourceHandle);
    if (begin->reached != begin->recorded || end->reached != end->recorded)
        return hostcuda_say(cudaErrorNotReady);
    *ms = (float)(end->ms - begin->ms);
    return cudaSuccess;
}

/* ---- captures and graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    HOSTCUDA_BEGIN();
    if (!stream) return hostcuda_say(cudaErrorStreamCaptureUnsupported);
    if (!hostcuda_is(STREAM, stream)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    if (mode != cudaStreamCaptureModeGlobal && mode != cudaStreamCaptureModeThreadLocal)
        return hostcuda_say(cudaErrorInvalidValue);
    if (stream->graph) return hostcuda_say(cudaErrorIllegalState);
    stream->graph = hostcuda_new(GRAPH, sizeof *stream->graph);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    HOSTCUDA_BEGIN();
    if (!hostcuda_is(STREAM, stream)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    *status = stream->graph ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    HOSTCUDA_BEGIN();
    if (!hostcuda_is(STREAM, stream)) return hostcuda_say(cudaErrorInvalidResourceHandle);
    if (!graph) return hostcuda_say(cudaErrorInvalidValue);
    if (!stream->graph) return hostcuda_say(cudaErrorIllegalState);
    *graph = stream->graph;
    stream->graph = NULL;
    if (!stream->spoiled) return cudaSuccess;
    stream->spoiled = 0;
    cudaGraphDestroy(*graph);
    *graph = NULL;
    return hostcuda_say(cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!exec || !hostcuda_is(GRAPH, graph) || flags) return hostcuda_say(cudaErrorInvalidValue);
    *exec = hostcuda_new(GRAPH_EXEC, sizeof **exec);
    push_all(&(*exec)->work, &graph->work);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
    queue *q = NULL;
    if (!hostcuda_is(GRAPH_EXEC, exec)) return hostcuda_say(cudaErrorInvalidValue);
    return find_queue(stream, &q);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    queue *q = NULL;
    if (!hostcuda_is(GRAPH_EXEC, exec)) return hostcuda_say(cudaErrorInvalidValue);
    cudaError_t code = find_queue(stream, &q);
    if (!code) push_all(q, &exec->work);
    hostcuda_did.graphs += !code;
    return code;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    if (!hostcuda_is(GRAPH_EXEC, exec)) return hostcuda_say(cudaErrorInvalidValue);
    clear(&exec->work);
    hostcuda_delete(exec);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    if (!hostcuda_is(GRAPH, graph)) return hostcuda_say(cudaErrorInvalidValue);
    clear(&graph->work);
    hostcuda_delete(graph);
    return cudaSuccess;
}
