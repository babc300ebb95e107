/* conv_engine.cu: see conv_engine.h. */
#include "conv_engine.h"

#include "layer_cuda.h"

kp_status kp_conv_launch_cuda(const kp_conv_task *task, int P, const kp_cuda *cuda, kp_err *err) {
    const kp_conv_pointers *at = &task->at;
    const int is_aligned = ((uintptr_t)at->x | (uintptr_t)at->y | (uintptr_t)at->bias) % 16 == 0;
    const kp_conv_plan *plan = NULL;
    kp_status st = KP_OK;
    if (cuda->conv && P == 1 && is_aligned)
        st = cuda->conv->choose(cuda->conv, task, cuda, &plan, err);
    return st ? st : task->launch(task->args, plan, cuda, err);
}

/* ---- order of weights ------------------------------------------------------------------------- */

enum { TILE = 32, LANES = 8 };

/* Grid (columns, rows by 32), block (32, 8): to[c][r] = from[r][c], by a tile with an odd pitch, so that
 * reads and writes coalesce and a warp's 32 words lie in 32 banks. */
static __global__ void __launch_bounds__(TILE *LANES)
    transpose(const float *__restrict__ from, int n_rows, int n_columns, float *__restrict__ to) {
    KP_SHARED(float, tile, TILE * (TILE + 1));
    const int x = (int)threadIdx.x, row = (int)blockIdx.y * TILE, column = (int)blockIdx.x * TILE;
    for (int y = (int)threadIdx.y; y < TILE; y += LANES)
        if (row + y < n_rows && column + x < n_columns)
            tile[y * (TILE + 1) + x] = from[(int64_t)(row + y) * n_columns + column + x];
    __syncthreads();
    for (int y = (int)threadIdx.y; y < TILE; y += LANES)
        if (column + y < n_columns && row + x < n_rows)
            to[(int64_t)(column + y) * n_rows + row + x] = tile[x * (TILE + 1) + y];
}

static kp_status launch_transpose(const char *op, const float *from, int n_rows, int n_columns,
                                  float *to, const kp_cuda *cuda, kp_err *err) {
    return kp_check_cuda(kp_launch(dim3((unsigned)(n_columns + TILE - 1) / TILE,
                                        (unsigned)(n_rows + TILE - 1) / TILE),
                                   dim3(TILE, LANES), cuda->stream, transpose, from, n_rows,
                                   n_columns, to),
                         op, err);
}

/* HWIO is [taps][out.c] and KRSC [out.c][taps]; a tap is (ky, kx, c). */
static int n_taps(const kp_conv_shape *s) { return s->kernel * s->kernel * s->in.c; }

kp_status kp_conv_to_krsc_cuda(const char *op, const kp_conv_shape *s, const float *hwio,
                               float *krsc, const kp_cuda *cuda, kp_err *err) {
    return launch_transpose(op, hwio, n_taps(s), s->out.c, krsc, cuda, err);
}

kp_status kp_conv_to_hwio_cuda(const char *op, const kp_conv_shape *s, const float *krsc,
                               float *hwio, const kp_cuda *cuda, kp_err *err) {
    return launch_transpose(op, krsc, s->out.c, n_taps(s), hwio, cuda, err);
}

/* ---- ReLU ------------------------------------------------------------------------------------- */

/* Grid: rows of pixels of all samples; a block does one row. */
template <class T>
static __global__ void __launch_bounds__(KP_LAYER_THREADS)
    relu_rows(kp_image image, const T *x, T *y) {
    const int64_t at = blockIdx.x / image.h * kp_image_floats(image) +
                       kp_image_at(image, (int)(blockIdx.x % image.h), 0);
    for (int i = (int)threadIdx.x; i < image.w * image.c; i += (int)blockDim.x)
        y[at + i] = x ? kp_relu_gradient(y[at + i], x[at + i]) : kp_relu(y[at + i]);
}

template <class T>
static cudaError_t launch_relu(int B, kp_image image, const float *x, float *y,
                               const kp_cuda *cuda) {
    image.c /= kp_width<T>;
    return kp_launch(dim3((unsigned)B * (unsigned)image.h),
                     kp_layer_block((int64_t)image.w * image.c), cuda->stream, relu_rows<T>, image,
                     (const T *)x, (T *)y);
}

kp_status kp_relu_rows_cuda(const char *op, int B, kp_image image, const float *x, float *y,
                            const kp_cuda *cuda, kp_err *err) {
    return kp_check_cuda(kp_by_fours(image.c, x, y) ? launch_relu<float4>(B, image, x, y, cuda)
                                                    : launch_relu<float>(B, image, x, y, cuda),
                         op, err);
}
