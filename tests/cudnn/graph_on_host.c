/* graph_on_host.c: tensors are found by their unique ids, which are their names in the JSON. */
#include "graph_on_host.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 8 };

typedef struct {
    int64_t dim[4], stride[4];
    float *at, *owned; /* owned: a virtual tensor's */
} tensor;

graph_on_host graph_on_host_seen;
static kp_cudnn_api real;
static int64_t ids[MAX_TENSORS]; /* the variant pack's, which cannot be asked for them */
static void *pointers[MAX_TENSORS];
static int64_t n_ids;

static cudnnStatus_t set_attribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t n,
                                   const void *values) {
    if (name == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) {
        cr_assert(n <= MAX_TENSORS, "%d tensors", (int)n);
        memcpy(ids, values, (size_t)(n_ids = n) * sizeof *ids);
    } else if (name == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS) {
        cr_assert(n == n_ids, "%d pointers for %d tensors", (int)n, (int)n_ids);
        memcpy(pointers, values, (size_t)n * sizeof *pointers);
    } else if (name == CUDNN_ATTR_VARIANT_PACK_WORKSPACE) {
        memcpy(&graph_on_host_seen.workspace, values, sizeof(void *));
    }
    return real.cudnnBackendSetAttribute(d, name, type, n, values);
}

static cudnnStatus_t set_stream(cudnnHandle_t handle, cudaStream_t stream) {
    (void)handle;
    graph_on_host_seen.stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t destroy(cudnnHandle_t handle) {
    (void)handle;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- the graph ------------------------------------------------------------------------------ */

static int64_t integer(const json_t *of, const char *key) {
    const json_t *value = json_object_get(of, key);
    cr_assert(json_is_integer(value), "%s", key);
    return json_integer_value(value);
}

static void read_tensor(tensor *t, const json_t *from) {
    int64_t last = 0, id = strtoll(json_string_value(json_object_get(from, "name")), NULL, 10);
    *t = (tensor){ .at = NULL };
    for (size_t i = 0; i < 4; i++) {
        t->dim[i] = json_integer_value(json_array_get(json_object_get(from, "dim"), i));
        t->stride[i] = json_integer_value(json_array_get(json_object_get(from, "stride"), i));
        last += (t->dim[i] - 1) * t->stride[i];
    }
    if (json_is_true(json_object_get(from, "isVirtual"))) {
        t->at = t->owned = calloc((size_t)last + 1, sizeof *t->owned);
        return;
    }
    for (int64_t i = 0; i < n_ids; i++)
        if (ids[i] == id) t->at = pointers[i];
    cr_assert(t->at, "tensor %d has no pointer", (int)id);
    cr_expect((uintptr_t)t->at % (uintptr_t)integer(from, "ptrAlignment") == 0,
              "tensor %d is at %p", (int)id, (void *)t->at);
}

static float *element(const tensor *t, int64_t a, int64_t b, int64_t c, int64_t d) {
    const int64_t i[4] = { a, b, c, d };
    float *at = t->at;
    for (int k = 0; k < 4; k++) at += (t->dim[k] == 1 ? 0 : i[k]) * t->stride[k]; /* or broadcast */
    return at;
}

static void zero(const tensor *t) {
    for (int64_t a = 0; a < t->dim[0]; a++)
        for (int64_t b = 0; b < t->dim[1]; b++)
            for (int64_t c = 0; c < t->dim[2]; c++)
                for (int64_t d = 0; d < t->dim[3]; d++) *element(t, a, b, c, d) = 0;
}

/* Every product of the convolution: the tensor that is a result collects them. */
static void convolve(const json_t *node, const tensor *x, const tensor *w, const tensor *y,
                     const tensor *result) {
    const json_t *strides = json_object_get(node, "stride");
    int64_t sy = json_integer_value(json_array_get(strides, 0));
    int64_t sx = json_integer_value(json_array_get(strides, 1));
    for (size_t i = 0; i < 2; i++) {
        cr_assert(!json_integer_value(json_array_get(json_object_get(node, "pad"), i)), "padding");
        cr_assert((x->dim[2 + i] - w->dim[2 + i]) / (i ? sx : sy) + 1 == y->dim[2 + i], "size");
    }
    cr_assert_eq(x->dim[1], w->dim[1]);
    cr_assert_eq(y->dim[1], w->dim[0]);
    zero(result);
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t k = 0; k < y->dim[1]; k++)
            for (int64_t p = 0; p < y->dim[2]; p++)
                for (int64_t q = 0; q < y->dim[3]; q++)
                    for (int64_t c = 0; c < w->dim[1]; c++)
                        for (int64_t r = 0; r < w->dim[2]; r++)
                            for (int64_t s = 0; s < w->dim[3]; s++) {
                                float *at_x = element(x, n, c, p * sy + r, q * sx + s);
                                float *at_w = element(w, k, c, r, s),
                                      *at_y = element(y, n, k, p, q);
                                if (result == x) *at_x += *at_w * *at_y;
                                if (result == w) *at_w += *at_x * *at_y;
                                if (result == y) *at_y += *at_x * *at_w;
                            }
}

static void pointwise(const char *mode, const tensor *x, const tensor *b, const tensor *y) {
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t k = 0; k < y->dim[1]; k++)
            for (int64_t p = 0; p < y->dim[2]; p++)
                for (int64_t q = 0; q < y->dim[3]; q++) {
                    float v = *element(x, n, k, p, q);
                    if (!strcmp(mode, "CUDNN_POINTWISE_ADD")) v += *element(b, n, k, p, q);
                    else if (!strcmp(mode, "CUDNN_POINTWISE_RELU_FWD")) v = v < 0 ? 0 : v;
                    else cr_assert(0, "%s", mode);
                    *element(y, n, k, p, q) = v;
                }
}

/* The tensor that the node calls so, a gradient with a d before it. */
static const tensor *operand(const json_t *node, const char *role, const json_t *tensors,
                             const tensor *t) {
    char gradient[8];
    snprintf(gradient, sizeof gradient, "d%s", role);
    const char *name = json_string_value(json_object_get(node, role));
    if (!name) name = json_string_value(json_object_get(node, gradient));
    const json_t *one;
    size_t i;
    json_array_foreach(tensors, i, one) {
        if (name && !strcmp(json_string_value(json_object_get(one, "name")), name)) return &t[i];
    }
    return NULL;
}

static void run_node(const json_t *node, const json_t *tensors, const tensor *t) {
    const char *what = json_string_value(json_object_get(node, "operation"));
    const tensor *x = operand(node, "X", tensors, t), *y = operand(node, "Y", tensors, t);
    const tensor *w = operand(node, "W", tensors, t);
    if (strstr(what, "CONVOLUTION"))
        convolve(node, x, w, y,
                 strstr(what, "BACKWARD_DATA")     ? x
                 : strstr(what, "BACKWARD_FILTER") ? w
                                                   : y);
    else
        pointwise(json_string_value(json_object_get(node, "pointwiseMode")), x,
                  operand(node, "B", tensors, t), y);
}

static cudnnStatus_t execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack) {
    (void)handle, (void)pack;
    static char text[1 << 16];
    int64_t n = 0, workspace = 0;
    memset(text, 0, sizeof text);
    cudnnStatus_t code =
        real.cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                      CUDNN_TYPE_CHAR, sizeof text - 1, &n, text);
    cr_assert_eq(code, CUDNN_STATUS_SUCCESS);
    code = real.cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                         CUDNN_TYPE_INT64, 1, &n, &workspace);
    cr_assert_eq(code, CUDNN_STATUS_SUCCESS);
    cr_expect(!workspace || graph_on_host_seen.workspace, "no workspace of %d bytes",
              (int)workspace);
    json_t *root = json_loads(text, 0, NULL), *graph = json_object_get(root, "operationGraph");
    const json_t *tensors = json_object_get(graph, "tensors"), *one;
    tensor t[MAX_TENSORS];
    size_t i;
    cr_assert(json_array_size(tensors) <= MAX_TENSORS);
    json_array_foreach(tensors, i, one) read_tensor(&t[i], one);
    json_array_foreach(json_object_get(graph, "nodes"), i, one) run_node(one, tensors, t);
    for (i = 0; i < json_array_size(tensors); i++) free(t[i].owned);
    json_decref(root);
    graph_on_host_seen.n_runs++;
    return CUDNN_STATUS_SUCCESS;
}

void graph_on_host_install(kp_cudnn *cudnn) {
    static int somewhere;
    real = cudnn->api;
    cudnn->handle = (cudnnHandle_t)&somewhere;
    cudnn->api.cudnnBackendSetAttribute = set_attribute;
    cudnn->api.cudnnSetStream = set_stream;
    cudnn->api.cudnnBackendExecute = execute;
    cudnn->api.cudnnDestroy = destroy;
}
