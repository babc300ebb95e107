/* image.h: the activations of one layer: float32, NHWC, with a border.
 *
 *     [top + h + bottom][left + w + right][c]   for each sample
 *
 * The border is what the next convolution's padding needs; in forward activations it is zero and
 * stays zero (nobody writes it), in gradients its contents are unspecified and nobody reads it.
 * A vector of n values is the image 1 x 1 x n without border. */
#pragma once
#include "kappa/choices.h"
#include "kp_kernel.h"

typedef struct {
    int h, w, c;
    int top, left, bottom, right; /* border, pixels */
} kp_image;

/* ReLU and what its gradient becomes at x, ReLU's input or output; a NaN stays a NaN. */
KP_HD float kp_relu(float x) { return x < 0.0f ? 0.0f : x; }
KP_HD float kp_relu_gradient(float dx, float x) { return x <= 0.0f ? 0.0f : dx; }

KP_HD int64_t kp_image_row(kp_image i) { return (int64_t)(i.left + i.w + i.right) * i.c; }

/* Floats of one sample, border included. */
KP_HD int64_t kp_image_floats(kp_image i) { return (i.top + i.h + i.bottom) * kp_image_row(i); }

/* Offset of pixel (y, x); -top <= y < h + bottom, -left <= x < w + right. */
KP_HD int64_t kp_image_at(kp_image i, int y, int x) {
    return (i.top + y) * kp_image_row(i) + (int64_t)(i.left + x) * i.c;
}
