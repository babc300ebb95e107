/* counts.c: see counts.h. The kernel is work for a stream in plain C. */
#include "hostcuda/counts.h"

#include <string.h>

#include "hostcuda/runtime/runtime.h"

typedef struct {
    counts_args args;
    const uint8_t *active;
    void *scratch;
} call;

kp_cuda counts_launched_with;

static void kernel(void *context) {
    const call *c = context;
    if (c->scratch) memset(c->scratch, 0x5A, c->args.scratch_bytes);
    for (int i = 0; i < c->args.P * c->args.n; i++) c->args.x[i] += c->active[i / c->args.n];
}

static kp_status launch(const void *args, const kp_cuda *cuda, kp_err *err) {
    call c = { *(const counts_args *)args, cuda->active, cuda->scratch };
    counts_launched_with = *cuda;
    cudaError_t code = hostcuda_enqueue_kernel(cuda->stream, kernel, &c, sizeof c, 0);
    return code ? kp_fail(err, KP_DEVICE, "counts: %s", cudaGetErrorString(code)) : KP_OK;
}

static int one_slice(const void *args) {
    (void)args;
    return 1;
}
static size_t scratch_bytes(const void *args) { return ((const counts_args *)args)->scratch_bytes; }

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const counts_args *a = args;
    for (int i = 0; i < a->n; i++) a->x[member * a->n + i]++;
}

const kp_op counts = {
    .name = "counts",
    .args_bytes = sizeof(counts_args),
    .n_slices = one_slice,
    .cpu = run,
    .cuda = launch,
    .cuda_scratch_bytes = scratch_bytes,
};
