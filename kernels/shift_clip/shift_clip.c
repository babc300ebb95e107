/* shift_clip.c: a slice is a run of chunks. */
#include "shift_clip.h"

#include <string.h>

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_shift_clip_args *)args)->n_chunks);
}

/* No tail tests: noise and anchor are zero in the padding. Each step by itself, in a chunk that is
 * in the cache. */
static void shift_by(float *restrict x, float factor, const float *restrict y) {
    for (int i = 0; i < KP_CHUNK; i++) x[i] = kp_shift_by(x[i], factor, y[i]);
}

static kp_clip_tally clip(float *restrict x, float bound) {
    uint32_t changed = 0;
    float sum = 0;
    KP_CLIP_LOOP
    for (int i = 0; i < KP_CHUNK; i++) {
        float y = x[i] = kp_clip_count(x[i], bound, &changed);
        sum += y;
    }
    return kp_clip_tally_of(x, bound, changed, sum);
}

static kp_clip_tally update(const kp_shift_clip_args *a, int64_t at, kp_shift_hyper h,
                            float bound) {
    float *x = a->theta + at;
    if (a->anchor && h.takes_anchor) memcpy(a->anchor + at, x, KP_CHUNK * sizeof *x);
    for (int i = 0; i < KP_CHUNK; i++) x[i] = h.keep * x[i];
    if (a->noise) shift_by(x, h.noise, a->noise + at);
    if (a->anchor) shift_by(x, h.pull, a->anchor + at);
    return clip(x, bound);
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_shift_clip_args *a = args;
    kp_shift_hyper h = a->hyper[member];
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        a->tally[chunk] = update(a, chunk * KP_CHUNK, h, bound);
    }
}

const kp_op KP_ISA(kp_op_shift_clip) = {
    .name = "shift_clip",
    .args_bytes = sizeof(kp_shift_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_shift_clip_cuda,
};
