/* layer_reference.c: see layer_reference.h. */
#include "kernels/layer_reference.h"

static float activate(float x, kp_activation activation) {
    return activation == KP_RELU && x < 0.0f ? 0.0f : x;
}

/* Where the input sample b, padded pixel (y, x) of member p lies; -1: in nobody's memory. */
static int64_t pixel(kp_image image, int B, int p, int b, int y, int x) {
    return ((int64_t)p * B + b) * kp_image_floats(image) + kp_image_at(image, y, x);
}

void kp_reference_conv_forward(const void *args) {
    const kp_conv_forward_args *a = args;
    const kp_conv_shape s = a->shape;
    for (int p = 0; p < a->P; p++)
        for (int b = 0; b < a->B; b++)
            for (int oy = 0; oy < s.out.h; oy++)
                for (int ox = 0; ox < s.out.w; ox++)
                    for (int n = 0; n < s.out.c; n++) {
                        const float *w = a->w + p * a->param_stride + n;
                        float sum = a->bias[p * a->param_stride + n];
                        for (int ky = 0; ky < s.kernel; ky++)
                            for (int kx = 0; kx < s.kernel; kx++)
                                for (int c = 0; c < s.in.c; c++, w += s.out.c) {
                                    int y = oy * s.stride + ky - s.pad_top,
                                        x = ox * s.stride + kx - s.pad_left;
                                    sum = fmaf(a->x[pixel(s.in, a->B, p, b, y, x) + c], *w, sum);
                                }
                        a->y[pixel(s.out, a->B, p, b, oy, ox) + n] = activate(sum, a->activation);
                    }
}

void kp_reference_conv_backward_data(const void *args) {
    const kp_conv_backward_data_args *a = args;
    const kp_conv_shape s = a->shape;
    for (int p = 0; p < a->P; p++)
        for (int b = 0; b < a->B; b++)
            for (int y = 0; y < s.in.h; y++)
                for (int x = 0; x < s.in.w; x++)
                    for (int c = 0; c < s.in.c; c++) {
                        float sum = 0;
                        for (int ky = 0; ky < s.kernel; ky++)
                            for (int kx = 0; kx < s.kernel; kx++) {
                                int sy = y + s.pad_top - ky, sx = x + s.pad_left - kx;
                                if (sy < 0 || sx < 0 || sy % s.stride || sx % s.stride) continue;
                                if (sy / s.stride >= s.out.h || sx / s.stride >= s.out.w) continue;
                                const float *dy = a->dy + pixel(s.out, a->B, p, b, sy / s.stride,
                                                                sx / s.stride);
                                const float *w = a->w + p * a->param_stride +
                                                 ((ky * s.kernel + kx) * s.in.c + c) * s.out.c;
                                for (int n = 0; n < s.out.c; n++) sum = fmaf(dy[n], w[n], sum);
                            }
                        int64_t at = pixel(s.in, a->B, p, b, y, x) + c;
                        a->dx[at] = a->x_activation == KP_RELU && a->x[at] <= 0 ? 0 : sum;
                    }
}

void kp_reference_conv_backward_weights(const void *args) {
    const kp_conv_backward_weights_args *a = args;
    const kp_conv_shape s = a->shape;
    for (int p = 0; p < a->P; p++)
        for (int n = 0; n < s.out.c; n++) {
            float *dw = a->dw + p * a->param_stride + n,
                  *dbias = a->dbias + p * a->param_stride + n;
            for (int ky = 0; ky < s.kernel; ky++)
                for (int kx = 0; kx < s.kernel; kx++)
                    for (int c = 0; c < s.in.c; c++, dw += s.out.c) {
                        float sum = 0, bias = 0;
                        for (int b = 0; b < a->B; b++)
                            for (int oy = 0; oy < s.out.h; oy++)
                                for (int ox = 0; ox < s.out.w; ox++) {
                                    int y = oy * s.stride + ky - s.pad_top,
                                        x = ox * s.stride + kx - s.pad_left;
                                    float dy = a->dy[pixel(s.out, a->B, p, b, oy, ox) + n];
                                    sum = fmaf(a->x[pixel(s.in, a->B, p, b, y, x) + c], dy, sum);
                                    bias += dy;
                                }
                        *dw = sum, *dbias = bias;
                    }
        }
}

void kp_reference_dense_forward(const void *args) {
    const kp_dense_forward_args *a = args;
    for (int p = 0; p < a->P; p++)
        for (int b = 0; b < a->B; b++)
            for (int n = 0; n < a->out; n++) {
                int64_t row = (int64_t)p * a->B + b;
                float sum = a->bias[p * a->param_stride + n];
                for (int i = 0; i < a->in; i++)
                    sum = fmaf(a->x[row * a->in + i], a->w[p * a->param_stride + i * a->out + n],
                               sum);
                a->y[row * a->out + n] = activate(sum, a->activation);
            }
}

void kp_reference_dense_backward_data(const void *args) {
    const kp_dense_backward_data_args *a = args;
    for (int p = 0; p < a->P; p++)
        for (int b = 0; b < a->B; b++)
            for (int i = 0; i < a->in; i++) {
                int64_t row = (int64_t)p * a->B + b;
                float sum = 0;
                for (int n = 0; n < a->out; n++)
                    sum = fmaf(a->dy[row * a->out + n], a->w[p * a->param_stride + i * a->out + n],
                               sum);
                int dead = a->x_activation == KP_RELU && a->x[row * a->in + i] <= 0;
                a->dx[row * a->in + i] = dead ? 0 : sum;
            }
}

void kp_reference_dense_backward_weights(const void *args) {
    const kp_dense_backward_weights_args *a = args;
    for (int p = 0; p < a->P; p++)
        for (int n = 0; n < a->out; n++) {
            float bias = 0;
            for (int b = 0; b < a->B; b++) bias += a->dy[((int64_t)p * a->B + b) * a->out + n];
            a->dbias[p * a->param_stride + n] = bias;
            for (int i = 0; i < a->in; i++) {
                float sum = 0;
                for (int b = 0; b < a->B; b++) {
                    int64_t row = (int64_t)p * a->B + b;
                    sum = fmaf(a->x[row * a->in + i], a->dy[row * a->out + n], sum);
                }
                a->dw[p * a->param_stride + i * a->out + n] = sum;
            }
        }
}
