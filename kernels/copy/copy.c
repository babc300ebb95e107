/* copy.c: a slice is a run of floats. */
#include "copy.h"

#include <string.h>

enum { FLOATS_A_SLICE = 1 << 16 };

static int n_slices(const void *args) {
    const kp_copy_args *a = args;
    return a->n > FLOATS_A_SLICE ? (int)((a->n + FLOATS_A_SLICE - 1) / FLOATS_A_SLICE) : 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_copy_args *a = args;
    int64_t begin = (int64_t)slices.begin * FLOATS_A_SLICE,
            end = (int64_t)slices.end * FLOATS_A_SLICE;
    if (end > a->n) end = a->n;
    int64_t at = member * a->n + begin;
    memcpy(a->to + at, a->from + at, (size_t)(end - begin) * sizeof *a->to);
}

const kp_op KP_ISA(kp_op_copy) = {
    .name = "copy",
    .args_bytes = sizeof(kp_copy_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_copy_cuda,
};
