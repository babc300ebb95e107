/* layer_cuda.h: what convolutions and dense layers share on CUDA: blocks of threads, vectors of four
 * channels, and the two passes beside the matrix product: bias with activation, and the sum over
 * samples that is the gradient of the bias. */
#pragma once
#include "image.h"
#include "kp_cuda.h"

#define KP_LAYER_THREADS 256 /* most of a block */

/* Threads for n items of one block: whole warps. */
static inline dim3 kp_layer_block(int64_t n) {
    return dim3(n < KP_LAYER_THREADS ? (unsigned)(n + 31) / 32 * 32 : KP_LAYER_THREADS);
}

/* Kernels are templates of float and float4; of the latter, shapes count channels by fours. Images
 * begin at multiples of c floats, so that c and the two arrays decide for all of them. */
static inline int kp_by_fours(int c, const void *a, const void *b) {
    return c % 4 == 0 && ((uintptr_t)a | (uintptr_t)b) % 16 == 0;
}

template <class T> constexpr int kp_width = (int)(sizeof(T) / sizeof(float));

KP_HD float kp_add(float x, float y) { return x + y; }
KP_HD float4 kp_add(float4 x, float4 y) { return float4{ x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w }; }

KP_HD float4 kp_relu(float4 x) { return float4{ kp_relu(x.x), kp_relu(x.y), kp_relu(x.z), kp_relu(x.w) }; }

KP_HD float4 kp_relu_gradient(float4 dx, float4 x) {
    return float4{ kp_relu_gradient(dx.x, x.x), kp_relu_gradient(dx.y, x.y), kp_relu_gradient(dx.z, x.z),
                   kp_relu_gradient(dx.w, x.w) };
}

typedef struct {
    int P, B;
    kp_image image;
    kp_activation activation;
    const float *sums; /* [P][B][h][w][c], no border; may be y */
    int64_t sums_stride, param_stride, y_stride; /* floats from one member to the next */
    const float *bias; /* [c], one a member */
    float *y;          /* [B][image], one a member: activation(sums + bias); its border is left alone */
} kp_bias_activation;

KP_C kp_status kp_bias_activation_cuda(const char *op, const kp_bias_activation *a, const kp_cuda *cuda,
                                       kp_err *err);

/* The order of the sum depends on B and the image only: pixels, in the order (sample, y, x), are
 * divided into groups of 256; of a group, lane i of 8 adds pixels i, i + 8, ...; lanes are added by
 * halves (i and i + 4, then i + 2, then i + 1). The sums of groups are added the same way. */
typedef struct {
    int P, B;
    kp_image image;
    const float *x; /* [P][B][image]; border not read */
    float *sums;    /* [c], one a member; overwritten */
    int64_t sums_stride;
    void *scratch; /* kp_column_sums_bytes, aligned for floats */
} kp_column_sums;

KP_C size_t kp_column_sums_bytes(int P, int B, kp_image image);
KP_C kp_status kp_column_sums_cuda(const char *op, const kp_column_sums *a, const kp_cuda *cuda,
                                   kp_err *err);
