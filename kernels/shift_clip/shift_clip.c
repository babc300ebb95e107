/* shift_clip.c: a slice is a run of chunks; the compiler vectorises inside a chunk. */
#include "shift_clip.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_shift_clip_args *)args)->n_chunks);
}

/* No tail test: noise and anchor are zero in the padding. Inlined with NULL where there are none.
 */
KP_HD kp_clip_tally update_chunk(float *restrict theta, const float *restrict noise,
                                 float *restrict anchor, kp_shift_hyper h, float bound) {
    uint32_t changed = 0;
    float sum = 0;
    KP_CLIP_LOOP
    for (int i = 0; i < KP_CHUNK; i++) {
        float x0 = anchor ? anchor[i] : 0.0f;
        float x = kp_shift1(theta[i], noise ? noise[i] : 0.0f, &x0, h);
        if (anchor) anchor[i] = x0;
        theta[i] = x = kp_clip_count(x, bound, &changed);
        sum += x;
    }
    return kp_clip_tally_of(theta, bound, changed, sum);
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)scratch;
    const kp_shift_clip_args *a = args;
    kp_shift_hyper h = a->hyper[member];
    int begin, end;
    kp_chunk_range(a->n_chunks, slice, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c, at = chunk * KP_CHUNK;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        const float *noise = a->noise ? a->noise + at : NULL;
        a->tally[chunk] = a->anchor ? update_chunk(a->theta + at, noise, a->anchor + at, h, bound)
                                    : update_chunk(a->theta + at, noise, NULL, h, bound);
    }
}

const kp_op KP_ISA(kp_op_shift_clip) = {
    .name = "shift_clip",
    .args_bytes = sizeof(kp_shift_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = KP_CUDA_FN(kp_shift_clip_cuda),
};
