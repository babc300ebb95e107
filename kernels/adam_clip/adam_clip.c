/* adam_clip.c: a slice is a run of chunks; the compiler vectorises inside a chunk. */
#include "adam_chunk.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_adam_clip_args *)args)->n_chunks);
}

/* Most members have no limit, decay or penalty. As constants these leave the same bits and cost
 * nothing. */
static kp_clip_tally update(const kp_adam_clip_args *a, int64_t at, float scale, kp_adam_hyper h,
                            float bound) {
    float *theta = a->theta + at, *m = a->m + at, *v = a->v + at;
    const float *grad = a->grad + at;
    if (a->anchor && h.l2init != 0.0f)
        return kp_adam_chunk(theta, m, v, grad, a->anchor + at, scale, h, bound, 1);
    h.l2init = 0.0f;
    if (a->with_terms && h.l2 != 0.0f)
        return kp_adam_chunk(theta, m, v, grad, NULL, scale, h, bound, 1);
    h.l2 = 0.0f;
    if (scale != 1.0f || h.decay != 1.0f)
        return kp_adam_chunk(theta, m, v, grad, NULL, scale, h, bound, 1);
    h.decay = 1.0f;
    return kp_adam_chunk(theta, m, v, grad, NULL, 1.0f, h, bound, 1);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_adam_clip_args *a = args;
    kp_adam_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        a->tally[chunk] = update(a, chunk * KP_CHUNK, scale, h, bound);
    }
}

const kp_op KP_ISA(kp_op_adam_clip) = {
    .name = "adam_clip",
    .args_bytes = sizeof(kp_adam_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_adam_clip_cuda,
};
