/* clip_case.h: one update rule with the clip, on the CPU and by its CUDA kernel under hostcuda, from
 * the same inputs. Used by the tests and by every planted bug. */
#pragma once
#include "ops.h"

typedef struct {
    const char *name;
    int op;
    kp_status (*cuda)(const void *args, const kp_cuda *cuda, kp_err *err);
    int P, n_chunks;
    int with_scale; /* a gradient scale other than NULL */
    int centered;   /* rmsprop */
    int asleep;     /* a member that is not active; 0: none */
} clip_case;

enum { N_CLIP_CASES = 10 };
extern const clip_case clip_cases[N_CLIP_CASES];

/* 0 where every bit agrees (NaN with NaN), padding is zero and nothing was written outside the
 * buffers; else 1, and says where. */
int clip_case_differs(const clip_case *c, char *says, size_t size);
