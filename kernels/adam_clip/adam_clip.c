/* adam_clip.c: a slice is a run of chunks; the compiler vectorises inside a chunk. */
#include "adam_chunk.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_adam_clip_args *)args)->n_chunks);
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)scratch;
    const kp_adam_clip_args *a = args;
    kp_adam_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f;
    /* Most members need neither; constants of 1 leave the same bits and two multiplications less.
     */
    int plain = scale == 1.0f && h.decay == 1.0f;
    kp_adam_hyper without_decay = h;
    without_decay.decay = 1.0f;
    int begin, end;
    kp_chunk_range(a->n_chunks, slice, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t chunk = (int64_t)member * a->n_chunks + c, at = chunk * KP_CHUNK;
        float bound = a->bound[(int64_t)member * a->n_tensors + a->tensor[c]];
        a->tally[chunk] = plain ? kp_adam_chunk(a->theta + at, a->m + at, a->v + at, a->grad + at,
                                                1.0f, without_decay, bound, 1)
                                : kp_adam_chunk(a->theta + at, a->m + at, a->v + at, a->grad + at,
                                                scale, h, bound, 1);
    }
}

const kp_op KP_ISA(kp_op_adam_clip) = {
    .name = "adam_clip",
    .args_bytes = sizeof(kp_adam_clip_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = KP_CUDA_FN(kp_adam_clip_cuda),
};
