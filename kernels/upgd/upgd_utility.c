/* upgd_utility.c: a slice is a run of chunks. */
#include "chunks.h"
#include "upgd.h"

enum { LANES = 16 };

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_upgd_utility_args *)args)->n_chunks);
}

/* No tail test: the padding's utility stays zero. A maximum is the same in any order. */
static float update(float *restrict utility, const float *restrict x, const float *restrict grad,
                    float scale, kp_upgd_hyper h) {
    float lane[LANES] = { 0 }, largest = 0;
    for (int i = 0; i < KP_CHUNK; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float u = kp_upgd_utility1(utility[i + l], x[i + l], grad[i + l] * scale, h);
            utility[i + l] = u;
            lane[l] = kp_upgd_larger(lane[l], u);
        }
    for (int l = 0; l < LANES; l++) largest = kp_upgd_larger(largest, lane[l]);
    return largest;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_upgd_utility_args *a = args;
    kp_upgd_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c, at = chunk * KP_CHUNK;
        a->largest[chunk] = update(a->utility + at, a->theta + at, a->grad + at, scale, h);
    }
}

const kp_op KP_ISA(kp_op_upgd_utility) = {
    .name = "upgd_utility",
    .args_bytes = sizeof(kp_upgd_utility_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_upgd_utility_cuda,
};
