/* conv_cuda.cu: see conv_cuda.h. */
#include "conv_cuda.h"

#include "layer_cuda.h"

/* The size of parts of nearly equal size, none larger than `most`: a last part of one sample would
 * take as many launches as the others. */
static int even_part(int n, int64_t most) {
    const int64_t parts = (n + most - 1) / most;
    return (int)((n + parts - 1) / parts);
}

kp_piece kp_first_piece(int P, int B, int64_t sample_floats) {
    const int64_t bytes = sample_floats * (int64_t)sizeof(float);
    const int64_t fit = bytes > KP_CONV_SCRATCH_BYTES ? 1 : KP_CONV_SCRATCH_BYTES / (bytes ? bytes : 1);
    const int samples = even_part(B, fit);
    return kp_piece{ 0, samples == B ? even_part(P, fit / B) : 1, 0, samples };
}

int64_t kp_columns_floats(kp_conv_shape s) {
    const int has_border = kp_image_floats(s.in) > (int64_t)s.in.h * s.in.w * s.in.c,
              is_itself = s.kernel == 1 && s.stride == 1 && !has_border;
    return is_itself ? 0 : (int64_t)s.out.h * s.out.w * s.kernel * s.kernel * s.in.c;
}

kp_conv_shape kp_borderless(kp_image image) {
    const kp_image inside = { image.h, image.w, image.c, 0, 0, 0, 0 };
    return kp_conv_shape{ image, inside, 1, 1, 0, 0 };
}

/* Grid (out.h of all samples, members); a block makes the columns of one row of output pixels, which
 * lie one after another. What a pixel sees of one row of x, kernel * in.c floats, does so too: reads
 * and writes coalesce. The padding is read from the border. */
template <class T>
static __global__ void __launch_bounds__(KP_LAYER_THREADS)
    im2col(const T *__restrict__ x, int64_t x_stride, kp_conv_shape s, T *__restrict__ columns) {
    const int segment = s.kernel * s.in.c, K = s.kernel * segment, n = s.out.w * K,
              step = s.stride * s.in.c;
    const int64_t member = blockIdx.y, sample = blockIdx.x / s.out.h, row = kp_image_row(s.in);
    const int y = (int)(blockIdx.x % s.out.h) * s.stride - s.pad_top;
    x += member * x_stride + sample * kp_image_floats(s.in) + kp_image_at(s.in, y, -s.pad_left);
    columns += (member * gridDim.x + blockIdx.x) * n;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
        int pixel = i / K, k = i % K, ky = k / segment;
        columns[i] = x[ky * row + pixel * step + k % segment];
    }
}

template <class T>
static kp_status make_columns(const char *op, kp_conv_shape s, const float *x, int64_t x_stride,
                              kp_piece piece, float *columns, const kp_cuda *cuda, kp_err *err) {
    const int width = kp_width<T>;
    s.in.c /= width;
    return kp_check_cuda(kp_launch(dim3((unsigned)piece.samples * (unsigned)s.out.h,
                                        (unsigned)piece.members),
                                   kp_layer_block((int64_t)s.out.w * s.kernel * s.kernel * s.in.c),
                                   cuda->stream, im2col<T>, (const T *)x, x_stride / width, s,
                                   (T *)columns),
                         op, err);
}

kp_status kp_columns_cuda(const char *op, kp_conv_shape s, const float *x, int B, kp_piece piece,
                          float *scratch, kp_columns *columns, const kp_cuda *cuda, kp_err *err) {
    const int64_t in = kp_image_floats(s.in), floats = kp_columns_floats(s);
    x += ((int64_t)piece.p * B + piece.b) * in;
    *columns = floats ? kp_columns{ scratch, piece.samples * floats } : kp_columns{ x, B * in };
    if (!floats) return KP_OK;
    return kp_by_fours(s.in.c, x, scratch)
               ? make_columns<float4>(op, s, x, B * in, piece, scratch, cuda, err)
               : make_columns<float>(op, s, x, B * in, piece, scratch, cuda, err);
}
