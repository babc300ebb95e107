/* upgd_clip.c: a slice is a run of chunks, and looks through the maxima of all: one number in 1024.
 */
#include "chunks.h"
#include "upgd.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_upgd_clip_args *)args)->n_chunks);
}

/* No tail test: the padding stays zero. Inlined with NULL where there is no such buffer. */
KP_HD kp_clip_tally update_chunk(float *restrict theta, float *restrict m, float *restrict v,
                                 const float *restrict utility, const float *restrict grad,
                                 const float *restrict noise, float scale, float per,
                                 kp_upgd_hyper h, float bound) {
    uint32_t changed = 0;
    float sum = 0;
    KP_CLIP_LOOP
    for (int i = 0; i < KP_CHUNK; i++) {
        float g = grad[i] * scale, mi = m ? m[i] : 0.0f, vi = m ? v[i] : 0.0f;
        if (m) g = kp_adam_direction(g, &mi, &vi, h);
        if (m) m[i] = mi, v[i] = vi;
        float x = kp_upgd1(theta[i], g, noise ? noise[i] : 0.0f, kp_upgd_gate(utility[i], per), h);
        theta[i] = x = kp_clip_count(x, bound, &changed);
        sum += x;
    }
    return kp_clip_tally_of(theta, bound, changed, sum);
}

KP_HD kp_clip_tally update(const kp_upgd_clip_args *a, int64_t at, float *m, float *v, float scale,
                           float per, kp_upgd_hyper h, float bound) {
    float *theta = a->theta + at;
    const float *utility = a->utility + at, *grad = a->grad + at;
    if (a->noise && h.sigma != 0.0f)
        return update_chunk(theta, m, v, utility, grad, a->noise + at, scale, per, h, bound);
    h.sigma = 0.0f;
    return update_chunk(theta, m, v, utility, grad, NULL, scale, per, h, bound);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_upgd_clip_args *a = args;
    kp_upgd_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f, largest = 0;
    const float *of_chunk = a->largest + (int64_t)member * a->n_chunks;
    for (int c = 0; c < a->n_chunks; c++) largest = kp_upgd_larger(largest, of_chunk[c]);
    float per = kp_upgd_per(largest, h.bc);
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c, at = chunk * KP_CHUNK;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        a->tally[chunk] = a->m ? update(a, at, a->m + at, a->v + at, scale, per, h, bound)
                               : update(a, at, NULL, NULL, scale, per, h, bound);
    }
}

const kp_op KP_ISA(kp_op_upgd_clip) = {
    .name = "upgd_clip",
    .args_bytes = sizeof(kp_upgd_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_upgd_clip_cuda,
};
