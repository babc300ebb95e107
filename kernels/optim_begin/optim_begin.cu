/* optim_begin.cu: a block is a member, a thread a word. */
#include "kp_cuda.h"
#include "optim_begin.h"

enum { THREADS = 32 };

static __global__ void __launch_bounds__(THREADS) begin(kp_optim_begin_args a, const uint8_t *active) {
    int member = blockIdx.x;
    if (!active[member]) return;
    int cursor = a.cursor[member] + 1;
    for (int f = 0; f < KP_BEGIN_FEEDS; f++) {
        const uint32_t *from = kp_begin_from(&a, f, member, cursor);
        uint32_t *to = a.feed[f].to + (int64_t)member * a.feed[f].words;
        for (int i = threadIdx.x; i < a.feed[f].words; i += THREADS) to[i] = from[i];
    }
    __syncthreads(); /* every thread has read the cursor */
    if (!threadIdx.x) a.cursor[member] = cursor;
}

kp_status kp_optim_begin_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_optim_begin_args *a = (const kp_optim_begin_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(THREADS), cuda->stream, begin, *a, cuda->active),
                         "optim_begin", err);
}
