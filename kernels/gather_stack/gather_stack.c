/* gather_stack.c: a slice is one sample; its frames become the channels of its image. */
#include "gather_stack.h"

static int n_slices(const void *args) {
    const kp_gather_stack_args *a = args;
    return a->B;
}

KP_HD void gather_row4(float *restrict y, const uint8_t *restrict f0, const uint8_t *restrict f1,
                       const uint8_t *restrict f2, const uint8_t *restrict f3, int w, int divide) {
    for (int x = 0; x < w; x++) {
        y[4 * x] = kp_pixel_float(f0[x], divide);
        y[4 * x + 1] = kp_pixel_float(f1[x], divide);
        y[4 * x + 2] = kp_pixel_float(f2[x], divide);
        y[4 * x + 3] = kp_pixel_float(f3[x], divide);
    }
}

static void gather_frame(float *restrict y, kp_image out, int k, const uint8_t *restrict frame,
                         int divide) {
    for (int row = 0; row < out.h; row++) {
        float *at = y + kp_image_at(out, row, 0) + k;
        for (int x = 0; x < out.w; x++)
            at[x * out.c] = frame ? kp_pixel_float(frame[row * out.w + x], divide) : 0.0f;
    }
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)scratch;
    const kp_gather_stack_args *a = args;
    const kp_image out = a->out;
    int64_t sample = (int64_t)member * a->B + slice, pixels = (int64_t)out.h * out.w;
    const int64_t *index = a->index + sample * a->stack;
    const uint8_t *frames = a->frames + member * a->frames_stride;
    float *y = a->y + sample * kp_image_floats(out);

    int whole = a->stack == 4;
    for (int k = 0; k < a->stack; k++) whole &= index[k] >= 0;
    if (!whole) {
        for (int k = 0; k < a->stack; k++)
            gather_frame(y, out, k, index[k] < 0 ? NULL : frames + index[k] * pixels, a->divide);
        return;
    }
    const uint8_t *f[4];
    for (int k = 0; k < 4; k++) f[k] = frames + index[k] * pixels;
    for (int row = 0; row < out.h; row++) {
        float *at = y + kp_image_at(out, row, 0);
        int64_t from = (int64_t)row * out.w;
        if (a->divide)
            gather_row4(at, f[0] + from, f[1] + from, f[2] + from, f[3] + from, out.w, 1);
        else gather_row4(at, f[0] + from, f[1] + from, f[2] + from, f[3] + from, out.w, 0);
    }
}

const kp_op KP_ISA(kp_op_gather_stack) = {
    .name = "gather_stack",
    .args_bytes = sizeof(kp_gather_stack_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_gather_stack_cuda,
};
