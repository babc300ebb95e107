/* runtime_impl.h: what the files of the runtime share. */
#pragma once
#include "runtime.h"

/* device.c. A call begins with one of these, and returns what is not cudaSuccess. */
cudaError_t hostcuda_begin(void);        /* an error that stays */
cudaError_t hostcuda_begin_unsafe(void); /* the same for a call that is forbidden during a capture */
#define HOSTCUDA_RETURN_IF(call)                                                                   \
    do {                                                                                           \
        cudaError_t code_ = call;                                                                  \
        if (code_) return code_;                                                                   \
    } while (0)
#define HOSTCUDA_BEGIN()        HOSTCUDA_RETURN_IF(hostcuda_begin())
#define HOSTCUDA_BEGIN_UNSAFE() HOSTCUDA_RETURN_IF(hostcuda_begin_unsafe())
cudaError_t hostcuda_say(cudaError_t code); /* remembers it for cudaGetLastError */
void hostcuda_break(cudaError_t code);      /* from now on every call returns it */
int hostcuda_is_broken(void);
int hostcuda_current(void); /* device */
_Noreturn void hostcuda_stop(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Handles that are alive. */
typedef enum { STREAM, EVENT, GRAPH, GRAPH_EXEC, BLAS, CUDNN, CUDNN_PART } hostcuda_kind;
void *hostcuda_new(hostcuda_kind kind, size_t bytes); /* zeroed */
int hostcuda_is(hostcuda_kind kind, const void *handle);
void hostcuda_delete(const void *handle);
void *hostcuda_next(hostcuda_kind kind, const void *after); /* NULL: the first */

/* memory.c */
int hostcuda_is_device(const void *at, size_t bytes); /* all of it lies in one live allocation */
int hostcuda_touches_device(const void *at, size_t bytes);
void hostcuda_check_arguments(const char *from, const char *end);
void hostcuda_open_memory(const char *who); /* for "kernel" or "copy" */
void hostcuda_close_memory(void);
int hostcuda_n_allocations(void);

/* stream.c */
cudaError_t hostcuda_drain_all(void);
void hostcuda_spoil_captures(void);
int hostcuda_is_capturing(void);
