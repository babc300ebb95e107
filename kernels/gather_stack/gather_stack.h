/* gather_stack.h: minibatches of stacked frames, from single uint8 frames to float32 images.
 *
 * y[p][b][.., .., k] = frames[p][index[p][b][k]] * scale, k = 0 the oldest; an index below 0 is a
 * frame before the episode's start: zeros. With scale 1/255 the quotient is the correctly rounded
 * one, as PyTorch's x / 255. */
#pragma once
#include "image.h"

typedef struct {
    int P, B, stack;       /* out.c = stack */
    kp_image out;
    int divide;            /* 1: y = x / 255; 0: y = x */
    const uint8_t *frames; /* member p's at frames + p * frames_stride: [capacity][h][w] */
    int64_t frames_stride; /* bytes */
    const int64_t *index;  /* [P][B][stack] frame numbers, or below 0 */
    float *y;              /* [P][B][out]; its border is left alone */
} kp_gather_stack_args;

/* A division, not a multiplication by 1/255: that would round some of the 256 values differently. */
KP_HD float kp_pixel_float(uint8_t x, int divide) { return divide ? (float)x / 255.0f : (float)x; }

KP_CUDA_C kp_status kp_gather_stack_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
