/* optim_begin.c: a few words; one slice. */
#include "optim_begin.h"

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_optim_begin_args *a = args;
    int cursor = ++a->cursor[member];
    for (int f = 0; f < KP_BEGIN_FEEDS; f++) {
        const uint32_t *from = kp_begin_from(a, f, member, cursor);
        uint32_t *to = a->feed[f].to + (int64_t)member * a->feed[f].words;
        for (int i = 0; i < a->feed[f].words; i++) to[i] = from[i];
    }
}

const kp_op KP_ISA(kp_op_optim_begin) = {
    .name = "optim_begin",
    .args_bytes = sizeof(kp_optim_begin_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_optim_begin_cuda,
};
