/* cudnn_impl.h: the inside of the planner, for cudnn_*.c and tests/cudnn. */
#pragma once
#include <cudnn_graph.h>

#include "cudnn_conv.h"

/* All that is used of the library. */
#define KP_CUDNN_FUNCTIONS(X)                                                                      \
    X(cudnnGetVersion)                                                                             \
    X(cudnnGetErrorString)                                                                         \
    X(cudnnGetLastErrorString)                                                                     \
    X(cudnnCreate)                                                                                 \
    X(cudnnDestroy)                                                                                \
    X(cudnnSetStream)                                                                              \
    X(cudnnBackendCreateDescriptor)                                                                \
    X(cudnnBackendDestroyDescriptor)                                                               \
    X(cudnnBackendSetAttribute)                                                                    \
    X(cudnnBackendGetAttribute)                                                                    \
    X(cudnnBackendFinalize)                                                                        \
    X(cudnnBackendExecute)

typedef struct {
#define KP_CUDNN_POINTER(name) __typeof__(name) *name;
    KP_CUDNN_FUNCTIONS(KP_CUDNN_POINTER)
#undef KP_CUDNN_POINTER
} kp_cudnn_api;

enum { KP_CUDNN_FOLDERS = 2 };

struct kp_cudnn {
    kp_cudnn_api api;
    cudnnHandle_t handle; /* NULL: a described device */
    cudnnBackendDescriptor_t device;
    char text[256]; /* what plans depend on besides the convolution */
    char folder[KP_CUDNN_FOLDERS][KP_PATH]; /* in which files are looked for, the run's first; "": none */
    size_t workspace_limit;
    void (*warn)(void *to, const char *line);
    void *warn_to;
    kp_conv_plan *plans;
};

typedef struct {
    kp_cudnn_candidate is;
    cudnnBackendDescriptor_t plan;
    char *json; /* what cuDNN makes the same plan of */
} kp_cudnn_choice;

struct kp_conv_plan {
    kp_conv_plan *next;
    kp_cudnn_conv conv;
    char text[256]; /* the convolution, unambiguously */
    int n, current;
    float plain_ms; /* NAN: not measured */
    kp_cudnn_choice choice[KP_CUDNN_CANDIDATES];
};

/* ---- cudnn_api.c: calls -------------------------------------------------------------------------
 * A maker owns the descriptors it made. Its first failure is kept in st, and what is asked of it
 * after that does nothing, so that a chain of calls is checked once. */

enum { KP_CUDNN_MADE = 160 };

typedef struct {
    const kp_cudnn *cudnn;
    const char *what; /* for messages: the convolution */
    kp_err *err;
    kp_status st;
    int n;
    cudnnBackendDescriptor_t made[KP_CUDNN_MADE];
} kp_cudnn_maker;

kp_status kp_cudnn_load(kp_cudnn_api *api, kp_err *err); /* cudnn_library.c */

/* KP_DEVICE: "cuDNN 9.19.0 on NVIDIA H200, WHAT: CALL: CODE (its own words)". */
kp_status kp_cudnn_check(const kp_cudnn *cudnn, cudnnStatus_t code, const char *what,
                         const char *call, kp_err *err);

cudnnBackendDescriptor_t kp_cudnn_make(kp_cudnn_maker *m, cudnnBackendDescriptorType_t type);
void kp_cudnn_set(kp_cudnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t n, const void *values);
void kp_cudnn_link(kp_cudnn_maker *m, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                   cudnnBackendDescriptor_t to);
/* How many there are; fills at most n of values, which may be NULL where n is 0. */
int64_t kp_cudnn_get(kp_cudnn_maker *m, cudnnBackendDescriptor_t d,
                     cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                     void *values);
/* Text; yours to free, NULL on failure. */
char *kp_cudnn_get_text(kp_cudnn_maker *m, cudnnBackendDescriptor_t d,
                        cudnnBackendAttributeName_t name);
void kp_cudnn_finalize(kp_cudnn_maker *m, cudnnBackendDescriptor_t d);
void kp_cudnn_keep(kp_cudnn_maker *m, cudnnBackendDescriptor_t d); /* it is the caller's now */
void kp_cudnn_release(kp_cudnn_maker *m);

/* ---- cudnn_graph.c: from a convolution to cuDNN's graph ---------------------------------------- */

enum { KP_CUDNN_X = 1, KP_CUDNN_W, KP_CUDNN_Y, KP_CUDNN_BIAS }; /* unique ids of tensors */

/* A tensor in memory, as cuDNN sees it: N, C, H, W. */
typedef struct {
    int64_t dims[4], strides[4]; /* floats */
    int64_t offset;              /* floats, from the pointer given */
    int64_t alignment;           /* bytes, of every member's */
} kp_cudnn_view;

kp_cudnn_view kp_cudnn_view_x(const kp_cudnn_conv *conv);
kp_cudnn_view kp_cudnn_view_y(const kp_cudnn_conv *conv);
kp_cudnn_view kp_cudnn_view_w(const kp_cudnn_conv *conv);

/* conv->shape in words and numbers, all of them. */
void kp_cudnn_conv_text(char *text, size_t size, const kp_cudnn_conv *conv);

cudnnBackendDescriptor_t kp_cudnn_graph(kp_cudnn_maker *m, const kp_cudnn_conv *conv);

/* ---- cudnn_plan.c: candidates ------------------------------------------------------------------ */

/* Candidates by cuDNN's heuristics, at least one. */
kp_status kp_conv_plan_find(kp_conv_plan *plan, const kp_cudnn *cudnn, kp_err *err);

/* One more candidate, from its JSON. KP_DEVICE where it is damaged, not of the plan's precision or
 * wants too much workspace. */
kp_status kp_conv_plan_add(kp_conv_plan *plan, const kp_cudnn *cudnn, const char *json, float ms,
                           kp_err *err);
void kp_cudnn_choice_close(kp_cudnn_choice *choice, const kp_cudnn *cudnn);
void kp_conv_plan_clear(kp_conv_plan *plan, const kp_cudnn *cudnn); /* no candidates */

/* ---- cudnn_file.c: plans in files -------------------------------------------------------------- */

/* Candidates of the plan's file in the first folder that has one; none where there is none, or none that
 * is to be used (warned of). */
void kp_conv_plan_read(kp_conv_plan *plan, const kp_cudnn *cudnn);
/* To every folder; failure is warned of. */
void kp_conv_plan_write(const kp_conv_plan *plan, const kp_cudnn *cudnn);
kp_status kp_conv_plan_path(char path[KP_PATH], const kp_conv_plan *plan, const kp_cudnn *cudnn,
                            const char *folder, kp_err *err);
