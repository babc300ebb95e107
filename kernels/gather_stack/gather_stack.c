/* gather_stack.c: a slice is one sample; its frames become the channels of its image. */
#include "gather_stack.h"
#include "vec.h"

static int n_slices(const void *args) {
    const kp_gather_stack_args *a = args;
    return a->B;
}

/* x / 255, rounded correctly for every byte x: the product with 1/255 and its remainder. */
KP_HD kp_vec divide_by_255(kp_vec x) {
    const kp_vec r = kp_vec_all(1.0f / 255.0f), q = x * r;
    return kp_vec_fma(kp_vec_fma(-q, kp_vec_all(255.0f), x), r, q);
}

/* Sixteen pixels of four frames, interleaved. */
KP_HD void gather_pixels(float *y, const uint8_t *const *frame, int divide) {
    typedef uint8_t bytes __attribute__((vector_size(16), aligned(1), may_alias));
    typedef uint16_t pairs __attribute__((vector_size(16), may_alias));
    const bytes f0 = *(const bytes *)frame[0], f1 = *(const bytes *)frame[1],
                f2 = *(const bytes *)frame[2], f3 = *(const bytes *)frame[3];
#define LOW(a, b)                                                                                  \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
    const pairs a[2] = { (pairs)LOW(f0, f1), (pairs)HIGH(f0, f1) },
                b[2] = { (pairs)LOW(f2, f3), (pairs)HIGH(f2, f3) };
#undef LOW
#undef HIGH
    pairs four[4]; /* pixels each */
    for (int i = 0; i < 2; i++) {
        four[2 * i] = __builtin_shufflevector(a[i], b[i], 0, 8, 1, 9, 2, 10, 3, 11);
        four[2 * i + 1] = __builtin_shufflevector(a[i], b[i], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    const uint8_t *at = (const uint8_t *)four;
    for (int i = 0; i < 64; i += KP_VEC) {
        kp_vec x = kp_vec_of_bytes(at + i);
        kp_vec_store(y + i, divide ? divide_by_255(x) : x);
    }
}

/* A row of w >= 16 pixels; the last sixteen may overlap others. */
KP_HD void gather_row4(float *y, const uint8_t *const *frame, int64_t from, int w, int divide) {
    for (int x = 0; x < w; x += 16) {
        int at = x + 16 <= w ? x : w - 16;
        const uint8_t *f[4];
        for (int k = 0; k < 4; k++) f[k] = frame[k] + from + at;
        gather_pixels(y + 4 * at, f, divide);
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

static void gather_sample(const kp_gather_stack_args *a, int member, int b) {
    const kp_image out = a->out;
    int64_t sample = (int64_t)member * a->B + b, pixels = (int64_t)out.h * out.w;
    const int64_t *index = a->index + sample * a->stack;
    const uint8_t *frames = a->frames + member * a->frames_stride;
    float *y = a->y + sample * kp_image_floats(out);

    int whole = a->stack == 4 && out.w >= 16;
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
        if (a->divide) gather_row4(at, f, from, out.w, 1);
        else gather_row4(at, f, from, out.w, 0);
    }
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    for (int b = slices.begin; b < slices.end; b++) gather_sample(args, member, b);
}

const kp_op KP_ISA(kp_op_gather_stack) = {
    .name = "gather_stack",
    .args_bytes = sizeof(kp_gather_stack_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_gather_stack_cuda,
};
