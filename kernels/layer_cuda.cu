/* layer_cuda.cu: see layer_cuda.h. */
#include "layer_cuda.h"

#include <limits.h>

/* ---- bias and activation ---------------------------------------------------------------------- */

KP_HD float activate(float sum, const float *bias, kp_activation activation) {
    float y = sum + bias[0];
    return activation == KP_RELU ? kp_relu(y) : y;
}

KP_HD float4 activate(float4 sum, const float *bias, kp_activation activation) {
    return float4{ activate(sum.x, bias, activation), activate(sum.y, bias + 1, activation),
                   activate(sum.z, bias + 2, activation), activate(sum.w, bias + 3, activation) };
}

/* Grid (rows of pixels of all samples, P); a block does one row. */
template <class T>
static __global__ void __launch_bounds__(KP_LAYER_THREADS) bias_activation(kp_bias_activation a) {
    const int width = kp_width<T>, c = a.image.c / width, n = a.image.w * c;
    const int64_t member = blockIdx.y, sample = blockIdx.x / a.image.h,
                  row = blockIdx.x % a.image.h;
    const T *sums = (const T *)(a.sums + member * a.sums_stride) + (int64_t)blockIdx.x * n;
    const float *bias = a.bias + member * a.param_stride;
    T *y = (T *)(a.y + member * a.y_stride + sample * kp_image_floats(a.image) +
                 kp_image_at(a.image, (int)row, 0));
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        y[i] = activate(sums[i], bias + i % c * width, a.activation);
}

kp_status kp_bias_activation_cuda(const char *op, const kp_bias_activation *a, const kp_cuda *cuda,
                                  kp_err *err) {
    const int fours = kp_by_fours(a->image.c, a->sums, a->y);
    const int64_t row = (int64_t)a->image.w * a->image.c;
    return kp_check_cuda(kp_launch(dim3((unsigned)a->B * (unsigned)a->image.h, (unsigned)a->P),
                                   kp_layer_block(fours ? row / 4 : row), cuda->stream,
                                   fours ? bias_activation<float4> : bias_activation<float>, *a),
                         op, err);
}

/* ---- sums of columns -------------------------------------------------------------------------- */

enum { COLUMNS = 32, LANES = KP_LAYER_THREADS / COLUMNS, GROUP = 256 };

/* Grid (groups of pixels, columns by 32, P), block (columns, lanes). */
static __global__ void __launch_bounds__(COLUMNS *LANES)
    sum_columns(const float *__restrict__ x, int64_t x_stride, kp_image image, int n_pixels,
                int group, float *__restrict__ sums, int64_t sums_stride) {
    KP_SHARED(float, of_lane, COLUMNS *LANES);
    const int lane = (int)threadIdx.y, column = (int)(blockIdx.y * COLUMNS + threadIdx.x),
              begin = (int)blockIdx.x * group,
              end = n_pixels - begin < group ? n_pixels : begin + group;
    float *mine = &of_lane[lane * COLUMNS + (int)threadIdx.x];
    float sum = 0;
    x += blockIdx.z * x_stride + column;
    for (int i = begin + lane; column < image.c && i < end; i += LANES) {
        int row = i / image.w;
        sum += x[row / image.h * kp_image_floats(image) +
                 kp_image_at(image, row % image.h, i % image.w)];
    }
    *mine = sum;
    for (int half = LANES / 2; half; half /= 2) {
        __syncthreads();
        if (lane < half) *mine += mine[half * COLUMNS];
    }
    if (lane == 0 && column < image.c)
        sums[blockIdx.z * sums_stride + (int64_t)blockIdx.x * image.c + column] = *mine;
}

static int64_t n_pixels(int B, kp_image image) { return (int64_t)B * image.h * image.w; }
static int n_groups(int B, kp_image image) {
    return (int)((n_pixels(B, image) + GROUP - 1) / GROUP);
}

size_t kp_column_sums_bytes(int P, int B, kp_image image) {
    int groups = n_groups(B, image);
    return groups > 1 ? (size_t)P * (size_t)groups * (size_t)image.c * sizeof(float) : 0;
}

kp_status kp_column_sums_cuda(const char *op, const kp_column_sums *a, const kp_cuda *cuda,
                              kp_err *err) {
    const int64_t n = n_pixels(a->B, a->image), stride = a->B * kp_image_floats(a->image);
    if (n > INT_MAX - GROUP)
        return kp_fail(err, KP_DEVICE, "%s: %lld pixels in a minibatch, %d are possible", op,
                       (long long)n, INT_MAX - GROUP);
    const int groups = n_groups(a->B, a->image), c = a->image.c;
    const unsigned columns = (unsigned)(c + COLUMNS - 1) / COLUMNS, P = (unsigned)a->P;
    float *partial = groups > 1 ? (float *)a->scratch : a->sums;
    const int64_t partial_stride = groups > 1 ? (int64_t)groups * c : a->sums_stride;
    kp_status st = kp_check_cuda(kp_launch(dim3((unsigned)groups, columns, P), dim3(COLUMNS, LANES),
                                           cuda->stream, sum_columns, a->x, stride, a->image,
                                           (int)n, GROUP, partial, partial_stride),
                                 op, err);
    if (st || groups == 1) return st;
    const kp_image vector = { 1, 1, c, 0, 0, 0, 0 };
    return kp_check_cuda(kp_launch(dim3(1, columns, P), dim3(COLUMNS, LANES), cuda->stream,
                                   sum_columns, partial, partial_stride, vector, groups, groups,
                                   a->sums, a->sums_stride),
                         op, err);
}
