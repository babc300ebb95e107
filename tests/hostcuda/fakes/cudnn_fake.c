/* cudnn_fake.c: see cudnn_fake.h. A descriptor copies what is set of it, those of others included,
 * as the real one shares it: all may be destroyed in any order. */
#include "cudnn_fake.h"

#include <cudnn_graph.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/runtime_impl.h"
#include "backend/cuda/cudnn_impl.h"
#include "conv_fake.h"

enum {
    TENSOR_CORES = CUDNN_FAKE_TENSOR_CORES,
    N_ENGINES = CUDNN_FAKE_ALL,
    MAX_POINTERS = 4,
    WORKSPACE = 4096
};

cudnn_fake_machine cudnn_fake_has = { .is_missing = 1 };
cudnn_fake_counts cudnn_fake_did;

typedef struct {
    int64_t id, is_virtual, alignment;
    conv_fake_view view;
} tensor;

/* All of one size, so that a graph is JSON as a list of numbers. */
typedef struct {
    int64_t kind, stride, has_bias;
    tensor x, w, y, bias, sum; /* y: what the convolution is called; sum: with the bias */
} graph;
enum { WORDS = sizeof(graph) / sizeof(int64_t) };

typedef struct {
    cudnnBackendDescriptorType_t type;
    int is_final, engine;
    cudnnBackendHeurMode_t mode;
    cudnnPointwiseMode_t pointwise;
    tensor tensor;
    graph graph; /* of an operation: what it says of it */
    int64_t n, id[MAX_POINTERS];
    void *pointer[MAX_POINTERS], *workspace;
} part;

struct cudnnContext {
    cudaStream_t stream;
};

static part *part_of(const void *d) {
    if (!hostcuda_is(CUDNN_PART, d)) hostcuda_stop("%p is no descriptor of cuDNN's", d);
    return (part *)(uintptr_t)d;
}

static void stop_in_capture(const char *call) {
    if (hostcuda_is_capturing()) hostcuda_stop("%s during a capture", call);
}

/* ---- the library ---- */

size_t cudnnGetVersion(void) { return 91900; }

const char *cudnnGetErrorString(cudnnStatus_t status) {
    switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED: return "CUDNN_STATUS_EXECUTION_FAILED";
    }
    return "unknown";
}

void cudnnGetLastErrorString(char *message, size_t size) { snprintf(message, size, "the fake"); }

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    stop_in_capture("cudnnCreate");
    *handle = hostcuda_new(CUDNN, sizeof **handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    if (!hostcuda_is(CUDNN, handle)) return CUDNN_STATUS_BAD_PARAM;
    hostcuda_delete(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    if (!hostcuda_is(CUDNN, handle) || !hostcuda_is(STREAM, stream)) return CUDNN_STATUS_BAD_PARAM;
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

kp_status kp_cudnn_load(kp_cudnn_api *api, kp_err *err) {
    if (cudnn_fake_has.is_missing)
        return kp_fail(err, KP_DEVICE, "libcudnn.so.9: no such file; install cuDNN 9.8 or later");
#define TAKE(name) api->name = name;
    KP_CUDNN_FUNCTIONS(TAKE)
#undef TAKE
    return KP_OK;
}

/* ---- descriptors ---- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *d) {
    if (type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) stop_in_capture("planning");
    cudnn_fake_did.searches += type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
    part *p = hostcuda_new(CUDNN_PART, sizeof *p);
    p->type = type;
    *d = p;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) {
    hostcuda_delete(part_of(d));
    return CUDNN_STATUS_SUCCESS;
}

/* The parts of a convolution that its operation names. */
static void set_operand(part *p, cudnnBackendAttributeName_t name, const part *operand) {
    switch (name) {
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X: p->graph.x = operand->tensor; break;
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW: p->graph.w = operand->tensor; break;
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY:
    case CUDNN_ATTR_OPERATION_POINTWISE_XDESC: p->graph.y = operand->tensor; break;
    case CUDNN_ATTR_OPERATION_POINTWISE_BDESC: p->graph.bias = operand->tensor; break;
    case CUDNN_ATTR_OPERATION_POINTWISE_YDESC: p->graph.sum = operand->tensor; break;
    case CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR: p->pointwise = operand->pointwise; break;
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC:
        p->graph.stride = operand->graph.stride;
        break;
    case CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH: p->graph = operand->graph; break;
    case CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG:
        p->graph = operand->graph, p->engine = operand->engine;
        break;
    case CUDNN_ATTR_ENGINEHEUR_DEVICEPROP:
    case CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP: break;
    default: hostcuda_stop("cuDNN's attribute %d is no descriptor", (int)name);
    }
}

/* The convolution and, after it, its bias. */
static cudnnStatus_t set_operations(part *p, int64_t n, cudnnBackendDescriptor_t const *op) {
    const part *first = part_of(op[0]);
    p->graph = first->graph;
    p->graph.kind = first->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR
                        ? CONV_FAKE_FORWARD
                    : first->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR
                        ? CONV_FAKE_DATA
                        : CONV_FAKE_WEIGHTS;
    if (n == 1) return CUDNN_STATUS_SUCCESS;
    const part *add = part_of(op[1]);
    if (n > 2 || p->graph.kind != CONV_FAKE_FORWARD || add->pointwise != CUDNN_POINTWISE_ADD ||
        add->graph.y.id != p->graph.y.id)
        return CUDNN_STATUS_NOT_SUPPORTED;
    p->graph.has_bias = 1, p->graph.bias = add->graph.bias, p->graph.sum = add->graph.sum;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t read_plan(part *p, const char *text, size_t n) {
    json_t *root = json_loadb(text, n, 0, NULL), *words = json_object_get(root, "graph");
    json_t *engine = json_object_get(json_object_get(root, "engine"), "engineId");
    int64_t word[WORDS];
    int is_good = json_is_integer(engine) && json_array_size(words) == WORDS;
    for (size_t i = 0; is_good && i < WORDS; i++)
        word[i] = json_integer_value(json_array_get(words, i));
    if (is_good) {
        memcpy(&p->graph, word, sizeof word);
        p->engine = (int)json_integer_value(engine);
    }
    json_decref(root);
    return is_good ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n,
                                       const void *values) {
    part *p = part_of(d);
    const size_t words = (size_t)n * sizeof(int64_t);
    const int64_t *word = values;
    if (p->is_final || n < 1) return CUDNN_STATUS_BAD_PARAM;
    switch (name) {
    case CUDNN_ATTR_TENSOR_DIMENSIONS:
        if (n != 4) return CUDNN_STATUS_NOT_SUPPORTED;
        memcpy(p->tensor.view.dim, values, words);
        break;
    case CUDNN_ATTR_TENSOR_STRIDES:
        if (n != 4) return CUDNN_STATUS_NOT_SUPPORTED;
        memcpy(p->tensor.view.stride, values, words);
        break;
    case CUDNN_ATTR_TENSOR_UNIQUE_ID: p->tensor.id = *word; break;
    case CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT: p->tensor.alignment = *word; break;
    case CUDNN_ATTR_TENSOR_IS_VIRTUAL: p->tensor.is_virtual = *(const bool *)values; break;
    case CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS:
    case CUDNN_ATTR_CONVOLUTION_POST_PADDINGS:
        if (word[0] || word[1]) return CUDNN_STATUS_NOT_SUPPORTED;
        break;
    case CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES:
        if (word[0] != word[1]) return CUDNN_STATUS_NOT_SUPPORTED;
        p->graph.stride = word[0];
        break;
    case CUDNN_ATTR_POINTWISE_MODE: p->pointwise = *(const cudnnPointwiseMode_t *)values; break;
    case CUDNN_ATTR_ENGINEHEUR_MODE: p->mode = *(const cudnnBackendHeurMode_t *)values; break;
    case CUDNN_ATTR_OPERATIONGRAPH_OPS: return set_operations(p, n, values);
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION: return read_plan(p, values, (size_t)n);
    case CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS:
        if (n > MAX_POINTERS) return CUDNN_STATUS_BAD_PARAM;
        memcpy(p->id, values, words);
        p->n = n;
        break;
    case CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS:
        if (n != p->n) return CUDNN_STATUS_BAD_PARAM;
        memcpy(p->pointer, values, (size_t)n * sizeof(void *));
        break;
    case CUDNN_ATTR_VARIANT_PACK_WORKSPACE: memcpy(&p->workspace, values, sizeof(void *)); break;
    default:
        if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) break; /* all else is the same for all */
        set_operand(p, name, part_of(*(cudnnBackendDescriptor_t const *)values));
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d) {
    part *p = part_of(d);
    if (p->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        if (p->engine < 0 || p->engine >= N_ENGINES) return CUDNN_STATUS_NOT_SUPPORTED;
        cudnn_fake_did.plans++;
    }
    p->is_final = 1;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- answers ---- */

static cudnnStatus_t give_text(const char *text, int64_t n, int64_t *count, char *to) {
    *count = (int64_t)strlen(text);
    memcpy(to, text, (size_t)(n < *count ? n : *count));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t give_plan(const part *p, int64_t n, int64_t *count, char *to) {
    int64_t word[WORDS];
    memcpy(word, &p->graph, sizeof word);
    json_t *words = json_array();
    for (size_t i = 0; i < WORDS; i++) json_array_append_new(words, json_integer(word[i]));
    json_t *root = json_pack("{s:{s:i, s:{s:i}}, s:o}", "engine", "engineId", p->engine,
                             "knobChoices", "CUDNN_KNOB_TYPE_TILE_SIZE", p->engine + 10, "graph",
                             words);
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    cudnnStatus_t code = give_text(text, n, count, to);
    free(text);
    json_decref(root);
    return code;
}

/* Mode A knows all engines, the others none. */
static cudnnStatus_t give_configs(const part *p, int64_t n, int64_t *count,
                                  cudnnBackendDescriptor_t *to) {
    *count = p->mode == CUDNN_HEUR_MODE_A ? N_ENGINES : 0;
    for (int i = 0; i < *count && i < n; i++) {
        part *config = part_of(to[i]);
        config->graph = p->graph;
        config->engine = (TENSOR_CORES + i) % N_ENGINES; /* tensor cores first */
        config->is_final = 1;
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const d,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n, int64_t *count,
                                       void *values) {
    static char none[1];
    const part *p = part_of(d);
    (void)type;
    if (!p->is_final) return CUDNN_STATUS_BAD_PARAM;
    *count = 1;
    switch (name) {
    case CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION:
        return give_text("{\"deviceName\": \"hostcuda\", \"deviceVer\": 900, "
                         "\"multiProcessorCount\": 1}",
                         n, count, n ? values : none);
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
        return give_plan(p, n, count, n ? values : none);
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: return give_configs(p, n, count, values);
    case CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG:
    case CUDNN_ATTR_ENGINECFG_ENGINE: {
        part *to = part_of(*(cudnnBackendDescriptor_t *)values);
        to->graph = p->graph, to->engine = p->engine, to->is_final = 1;
        return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *(cudnnBackendNumericalNote_t *)values = p->engine == TENSOR_CORES
                                                     ? CUDNN_NUMERICAL_NOTE_TENSOR_CORE
                                                     : CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)values = p->engine == 1 ? WORKSPACE : 0;
        return CUDNN_STATUS_SUCCESS;
    default: return CUDNN_STATUS_NOT_SUPPORTED;
    }
}

/* ---- running ---- */

typedef struct {
    conv_fake conv;
    float *x, *w, *y, *bias;
    char *workspace; /* NULL: none is used */
    float ms;
} work;

static void run(void *context) {
    const work *w = context;
    hostcuda_clock_ms += (double)w->ms;
    if (w->workspace) memset(w->workspace, 0xFF, WORKSPACE);
    conv_fake_run(&w->conv, w->x, w->w, w->y, w->bias);
}

/* The tensor's pointer in the pack, all of which must lie on the device, aligned as planned. */
static float *pointer_of(const part *pack, const tensor *t) {
    size_t bytes = sizeof(float);
    for (int k = 0; k < 4; k++)
        bytes += (size_t)((t->view.dim[k] - 1) * t->view.stride[k]) * sizeof(float);
    for (int64_t i = 0; i < pack->n; i++) {
        if (pack->id[i] != t->id) continue;
        if ((uintptr_t)pack->pointer[i] % (uintptr_t)t->alignment)
            hostcuda_stop("cuDNN: tensor %d is at %p", (int)t->id, pack->pointer[i]);
        if (!hostcuda_is_device(pack->pointer[i], bytes))
            hostcuda_stop("cuDNN: tensor %d is not all in device memory", (int)t->id);
        return pack->pointer[i];
    }
    hostcuda_stop("cuDNN: tensor %d has no pointer", (int)t->id);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack_is) {
    const part *p = part_of(plan), *pack = part_of(pack_is);
    const graph *g = &p->graph;
    int is_captured = hostcuda_is_capturing();
    if (!handle->stream || !p->is_final || !pack->is_final) return CUDNN_STATUS_BAD_PARAM;
    if (p->engine == TENSOR_CORES && !cudnn_fake_has.may_use_tensor_cores)
        hostcuda_stop("cuDNN: tensor cores are used");
    if (cudnn_fake_has.how[p->engine] == CUDNN_FAKE_NEVER ||
        (cudnn_fake_has.how[p->engine] == CUDNN_FAKE_NOT_IN_CAPTURES && is_captured))
        return CUDNN_STATUS_EXECUTION_FAILED;
    work w = { .conv = { .kind = (conv_fake_kind)g->kind,
                         .stride = g->stride,
                         .x = g->x.view,
                         .w = g->w.view,
                         .y = g->y.view },
               .x = pointer_of(pack, &g->x),
               .w = pointer_of(pack, &g->w),
               .y = pointer_of(pack, g->has_bias ? &g->sum : &g->y),
               .bias = g->has_bias ? pointer_of(pack, &g->bias) : NULL,
               .workspace = p->engine == 1 ? pack->workspace : NULL,
               .ms = cudnn_fake_has.ms[p->engine] };
    if (p->engine == 1 && !hostcuda_is_device(w.workspace, WORKSPACE))
        hostcuda_stop("cuDNN: %p is no workspace", (void *)w.workspace);
    if (is_captured) cudnn_fake_did.captured[p->engine]++;
    else cudnn_fake_did.executed[p->engine]++;
    if (hostcuda_enqueue(handle->stream, run, &w, sizeof w)) return CUDNN_STATUS_EXECUTION_FAILED;
    return CUDNN_STATUS_SUCCESS;
}
