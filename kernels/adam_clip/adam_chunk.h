/* adam_chunk.h: the loop over one chunk on the CPU; apart from adam_clip.c so that the benchmark
 * can build it without the clip (clips = 0, a constant) and measure what the clip costs.
 *
 * In vectors by hand, and in halves: some weights' roots are taken before the quotients of those before
 * them. A processor looks ahead by so many operations that wait, and of the compiler's loop, in which
 * clip and tally wait for the quotient, too few weights are among them. */
#pragma once
#include "adam_clip.h"
#include "vec.h"

enum { KP_ADAM_AT_ONCE = 2 }; /* vectors */

/* Of those weights, between the halves: what the step goes along, to be divided by `below`. */
typedef struct {
    kp_vec along[KP_ADAM_AT_ONCE], below[KP_ADAM_AT_ONCE];
} kp_adam_steps;

typedef struct {
    float *theta, *m, *v;
    const float *grad, *anchor; /* anchor: NULL where h.l2init is 0 */
    float scale, bound;
    kp_adam_hyper h;
    kp_vec_count same; /* by vector element: weights that the clip left alone */
    kp_vec sum;        /* of the weights: finite where all of them are */
} kp_adam_pass;

/* kp_penalty and kp_adam1, operation for operation, up to the quotient; i: the first weight's. */
KP_HD void kp_adam_first_half(const kp_adam_pass *p, int i, kp_adam_steps *steps) {
    const kp_adam_hyper *h = &p->h;
    KP_UNROLL for (int k = 0; k < KP_ADAM_AT_ONCE; k++, i += KP_VEC) {
        kp_vec g = kp_vec_load(p->grad + i);
        if (p->scale != 1.0f) g = g * kp_vec_all(p->scale);
        if (h->l2 != 0.0f) g = kp_vec_fma(kp_vec_all(h->l2), kp_vec_load(p->theta + i), g);
        if (p->anchor)
            g = kp_vec_fma(kp_vec_all(h->l2init),
                           kp_vec_load(p->theta + i) - kp_vec_load(p->anchor + i), g);
        kp_vec m = kp_vec_normal(kp_vec_fma(kp_vec_all(h->beta1), kp_vec_load(p->m + i),
                                            kp_vec_all(h->one_minus_beta1) * g)),
               v = kp_vec_normal(kp_vec_fma(kp_vec_all(h->beta2), kp_vec_load(p->v + i),
                                            kp_vec_all(h->one_minus_beta2) * g * g));
        kp_vec_store(p->m + i, m);
        kp_vec_store(p->v + i, v);
        steps->along[k] = m;
        steps->below[k] = kp_vec_fma(kp_vec_sqrt(v), kp_vec_all(h->rsqrt_bc2), kp_vec_all(h->eps));
    }
}

/* The rest of kp_adam1, and kp_clip. */
KP_HD void kp_adam_second_half(kp_adam_pass *p, int i, const kp_adam_steps *steps, int clips) {
    KP_UNROLL for (int k = 0; k < KP_ADAM_AT_ONCE; k++, i += KP_VEC) {
        kp_vec x = kp_vec_load(p->theta + i);
        if (p->h.decay != 1.0f) x = kp_vec_all(p->h.decay) * x;
        x = kp_vec_fma(kp_vec_all(-p->h.step_size), steps->along[k] / steps->below[k], x);
        if (clips) {
            const kp_vec stepped = x;
            x = kp_vec_max(kp_vec_all(-p->bound), kp_vec_min(kp_vec_all(p->bound), stepped));
            p->same = kp_vec_same(p->same, x, stepped);
            p->sum = p->sum + x;
        }
        kp_vec_store(p->theta + i, x);
    }
}

KP_HD kp_clip_tally kp_adam_tally(const kp_adam_pass *p) {
    kp_clip_tally tally = { KP_CHUNK, 0 };
    int finite = 1;
    for (int k = 0; k < KP_VEC; k++) {
        tally.outside -= (uint32_t)p->same[k];
        finite &= p->sum[k] - p->sum[k] == 0.0f;
    }
    for (int i = 0; !finite && i < KP_CHUNK; i++)
        tally.non_finite += !(p->theta[i] - p->theta[i] == 0.0f);
    return tally;
}

/* No tail test: Adam and the clip both map the zero padding to zero. */
KP_HD kp_clip_tally kp_adam_chunk(float *theta, float *m, float *v, const float *grad,
                                  const float *anchor, float scale, kp_adam_hyper h, float bound,
                                  int clips) {
    enum { STEP = KP_ADAM_AT_ONCE * KP_VEC };
    kp_adam_pass p = { .theta = theta, .m = m, .v = v, .grad = grad, .anchor = anchor, .scale = scale,
                       .bound = bound, .h = h, .sum = kp_vec_all(0) };
    kp_adam_steps steps;
    kp_adam_first_half(&p, 0, &steps);
    for (int i = STEP; i < KP_CHUNK; i += STEP) {
        const kp_adam_steps before = steps;
        kp_adam_first_half(&p, i, &steps);
        kp_adam_second_half(&p, i - STEP, &before, clips);
    }
    kp_adam_second_half(&p, KP_CHUNK - STEP, &steps, clips);
    return clips ? kp_adam_tally(&p) : (kp_clip_tally){ 0, 0 };
}
