/* sgd_clip.c: a slice is a run of chunks; the compiler vectorises inside a chunk. */
#include "sgd_clip.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_sgd_clip_args *)args)->n_chunks);
}

/* No tail test: the rule and the clip map the zero padding to zero. Inlined with NULL and 0 where
 * the member has no such term: a constant in the loop. */
KP_HD kp_clip_tally update_chunk(float *restrict theta, float *restrict u,
                                 const float *restrict grad, const float *restrict anchor,
                                 float scale, kp_sgd_hyper h, float bound) {
    uint32_t changed = 0;
    float sum = 0;
    KP_CLIP_LOOP
    for (int i = 0; i < KP_CHUNK; i++) {
        float x = theta[i], ui = u ? u[i] : 0.0f;
        float g = kp_penalty(grad[i] * scale, x, anchor ? anchor[i] : 0.0f, h.l2, h.l2init);
        x = u ? kp_sgd1(x, g, &ui, h) : kp_sgd_plain1(x, g, h);
        if (u) u[i] = ui;
        theta[i] = x = kp_clip_count(x, bound, &changed);
        sum += x;
    }
    return kp_clip_tally_of(theta, bound, changed, sum);
}

KP_HD kp_clip_tally update(const kp_sgd_clip_args *a, int64_t at, float *u, float scale,
                           kp_sgd_hyper h, float bound) {
    float *theta = a->theta + at;
    const float *grad = a->grad + at;
    if (a->anchor && h.l2init != 0.0f)
        return update_chunk(theta, u, grad, a->anchor + at, scale, h, bound);
    h.l2init = 0.0f;
    if (a->with_terms && h.l2 != 0.0f) return update_chunk(theta, u, grad, NULL, scale, h, bound);
    h.l2 = 0.0f;
    return update_chunk(theta, u, grad, NULL, scale, h, bound);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_sgd_clip_args *a = args;
    kp_sgd_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c, at = chunk * KP_CHUNK;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        a->tally[chunk] = a->u ? update(a, at, a->u + at, scale, h, bound)
                               : update(a, at, NULL, scale, h, bound);
    }
}

const kp_op KP_ISA(kp_op_sgd_clip) = {
    .name = "sgd_clip",
    .args_bytes = sizeof(kp_sgd_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_sgd_clip_cuda,
};
