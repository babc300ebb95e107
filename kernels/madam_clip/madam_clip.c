/* madam_clip.c: a slice is a run of chunks; the compiler vectorises inside a chunk. */
#include "madam_clip.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_madam_clip_args *)args)->n_chunks);
}

/* No tail test: what is zero stays it. */
static kp_clip_tally update(float *restrict theta, float *restrict v, const float *restrict grad,
                            float scale, kp_madam_hyper h, float bound) {
    uint32_t changed = 0;
    float sum = 0;
    KP_CLIP_LOOP
    for (int i = 0; i < KP_CHUNK; i++) {
        float vi = v[i];
        float x = kp_madam1(theta[i], grad[i] * scale, &vi, h);
        v[i] = vi;
        theta[i] = x = kp_clip_count(x, bound, &changed);
        sum += x;
    }
    return kp_clip_tally_of(theta, bound, changed, sum);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_madam_clip_args *a = args;
    kp_madam_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c, at = chunk * KP_CHUNK;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        a->tally[chunk] = update(a->theta + at, a->v + at, a->grad + at, scale, h, bound);
    }
}

const kp_op KP_ISA(kp_op_madam_clip) = {
    .name = "madam_clip",
    .args_bytes = sizeof(kp_madam_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_madam_clip_cuda,
};
