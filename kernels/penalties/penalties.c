/* penalties.c: a slice is a run of chunks; the terms come one after another, in a chunk that is in
 * the cache. */
#include "penalties.h"

#include "chunks.h"

static int n_slices(const void *args) {
    return kp_chunk_slices(((const kp_penalties_args *)args)->n_chunks);
}

/* No tail tests: every term maps the zero padding to zero. */
static void add_l2(float *restrict out, const float *restrict x, const float *restrict grad,
                   const float *restrict anchor, float scale, kp_penalties_hyper h) {
    for (int i = 0; i < KP_CHUNK; i++)
        out[i] = kp_penalty(grad[i] * scale, x[i], anchor ? anchor[i] : 0.0f, h.l2,
                            anchor ? h.l2init : 0.0f);
}

static void add_ewc(float *restrict out, const float *restrict x, const float *restrict grad,
                    float *restrict fisher, float *restrict mean, float scale,
                    kp_penalties_hyper h) {
    for (int i = 0; i < KP_CHUNK; i++) {
        float f = fisher[i], m = mean[i];
        out[i] = kp_ewc1(out[i], grad[i] * scale, x[i], &f, &m, h);
        fisher[i] = f;
        mean[i] = m;
    }
}

static void add_si(float *restrict out, const float *restrict x, const float *restrict importance,
                   const float *restrict start, float *restrict before, kp_penalties_hyper h) {
    for (int i = 0; i < KP_CHUNK; i++) {
        out[i] = kp_si1(out[i], x[i], importance[i], start[i], h);
        before[i] = x[i];
    }
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_penalties_args *a = args;
    kp_penalties_hyper h = a->hyper[member];
    float scale = a->grad_scale ? a->grad_scale[member] : 1.0f;
    int begin, end;
    kp_chunk_range(a->n_chunks, slices, &begin, &end);
    for (int c = begin; c < end; c++) {
        int64_t at = ((int64_t)member * a->n_chunks + c) * KP_CHUNK;
        float *out = a->out + at;
        const float *x = a->theta + at, *grad = a->grad + at;
        add_l2(out, x, grad, a->anchor ? a->anchor + at : NULL, scale, h);
        if (a->fisher && h.ewc != 0.0f)
            add_ewc(out, x, grad, a->fisher + at, a->mean + at, scale, h);
        if (a->importance && h.si != 0.0f)
            add_si(out, x, a->importance + at, a->start + at, a->before + at, h);
    }
}

const kp_op KP_ISA(kp_op_penalties) = {
    .name = "penalties",
    .args_bytes = sizeof(kp_penalties_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_penalties_cuda,
};
