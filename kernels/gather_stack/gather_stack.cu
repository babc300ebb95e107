/* gather_stack.cu: grid (pixels / a block's, B, P); a block makes a run of pixels of one sample. */
#include "gather_stack.h"
#include "kp_cuda.h"

enum { THREADS = 256 };

/* Where a pixel lies in y; sample counts through all P * B. */
static __device__ __forceinline__ float *place(const kp_gather_stack_args &a, int64_t sample, int pixel) {
    return a.y + sample * kp_image_floats(a.out) + kp_image_at(a.out, pixel / a.out.w, pixel % a.out.w);
}

/* Any stack, any size; a thread makes a pixel. */
static __global__ void __launch_bounds__(THREADS) gather_any(kp_gather_stack_args a) {
    int pixels = a.out.h * a.out.w, pixel = blockIdx.x * THREADS + threadIdx.x;
    if (pixel >= pixels) return;
    int64_t sample = (int64_t)blockIdx.z * a.B + blockIdx.y;
    const uint8_t *frames = a.frames + blockIdx.z * a.frames_stride;
    const int64_t *index = a.index + sample * a.stack;
    float *y = place(a, sample, pixel);
    for (int k = 0; k < a.stack; k++)
        y[k] = index[k] < 0 ? 0.0f : kp_pixel_float(frames[index[k] * pixels + pixel], a.divide);
}

/* Byte i of each frame's word: the channels of one pixel. */
static __device__ __forceinline__ uint32_t channels(const uint32_t *word, int i) {
    uint32_t all = 0;
    for (int k = 0; k < 4; k++) all |= (word[k] >> 8 * i & 255) << 8 * k;
    return all;
}

/* Four frames that can be read as words: a thread reads four pixels of each, and writes four that lie
 * THREADS apart, so that a warp reads 128 bytes of a frame and writes 512 of y, each in one piece. */
static __global__ void __launch_bounds__(THREADS) gather4(kp_gather_stack_args a) {
    KP_SHARED(uint4, turned, THREADS);
    int pixels = a.out.h * a.out.w, first = blockIdx.x * 4 * THREADS;
    int64_t sample = (int64_t)blockIdx.z * a.B + blockIdx.y;
    const uint8_t *frames = a.frames + blockIdx.z * a.frames_stride;
    int from = first + 4 * threadIdx.x;
    if (from < pixels) {
        uint32_t word[4];
        for (int k = 0; k < 4; k++) {
            int64_t index = a.index[sample * 4 + k];
            word[k] = index < 0 ? 0 : *(const uint32_t *)(frames + index * pixels + from);
        }
        turned[threadIdx.x] = { channels(word, 0), channels(word, 1), channels(word, 2), channels(word, 3) };
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 4 * THREADS && first + i < pixels; i += THREADS) {
        uint32_t c = ((const uint32_t *)turned)[i];
        *(float4 *)place(a, sample, first + i) = {
            kp_pixel_float(c & 255, a.divide), kp_pixel_float(c >> 8 & 255, a.divide),
            kp_pixel_float(c >> 16 & 255, a.divide), kp_pixel_float(c >> 24, a.divide) };
    }
}

kp_status kp_gather_stack_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_gather_stack_args *a = (const kp_gather_stack_args *)args;
    int pixels = a->out.h * a->out.w;
    bool words = a->stack == 4 && pixels % 4 == 0 && a->frames_stride % 4 == 0 &&
                 (uintptr_t)a->frames % 4 == 0 && (uintptr_t)a->y % sizeof(float4) == 0;
    int of_block = words ? 4 * THREADS : THREADS;
    return kp_check_cuda(kp_launch(dim3((pixels + of_block - 1) / of_block, a->B, a->P), dim3(THREADS),
                                   cuda->stream, words ? gather4 : gather_any, *a),
                         "gather_stack", err);
}
