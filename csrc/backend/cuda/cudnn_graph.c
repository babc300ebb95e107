/* cudnn_graph.c: a convolution as tensors and operations. */
#include <stdbool.h> /* cuDNN's CUDNN_TYPE_BOOLEAN */
#include <stdio.h>

#include "backend/backend.h"
#include "cudnn_impl.h"

/* ---- tensors -------------------------------------------------------------------------------- */

/* The largest power of two up to 16 bytes that divides both distances. */
static int64_t alignment(int64_t offset, int64_t member) {
    uint64_t bytes = (uint64_t)(offset | member) * sizeof(float) | 16;
    return (int64_t)(bytes & -bytes);
}

static kp_cudnn_view view(kp_image i, int B, int h, int w, int64_t offset) {
    int64_t floats = kp_image_floats(i);
    return (kp_cudnn_view){ .dims = { B, i.c, h, w },
                            .strides = { floats, 1, kp_image_row(i), i.c },
                            .offset = offset,
                            .alignment = alignment(offset, B * floats) };
}

/* Pixels along one side, from where the first tap reads: to the end of the border where that gives
 * the same output, for then the image is packed; else those that are read or that must get a
 * gradient. */
static int extent(int pad, int inner, int border, int out, int kernel, int stride) {
    int all = pad + inner + border, read = (out - 1) * stride + kernel;
    if ((all - kernel) / stride + 1 == out) return all;
    return read > pad + inner ? read : pad + inner;
}

kp_cudnn_view kp_cudnn_view_x(const kp_cudnn_conv *conv) {
    const kp_conv_shape *s = &conv->shape;
    return view(s->in, conv->B,
                extent(s->pad_top, s->in.h, s->in.bottom, s->out.h, s->kernel, s->stride),
                extent(s->pad_left, s->in.w, s->in.right, s->out.w, s->kernel, s->stride),
                kp_image_at(s->in, -s->pad_top, -s->pad_left));
}

kp_cudnn_view kp_cudnn_view_y(const kp_cudnn_conv *conv) {
    kp_image out = conv->shape.out;
    return view(out, conv->B, out.h, out.w, kp_image_at(out, 0, 0));
}

kp_cudnn_view kp_cudnn_view_w(const kp_cudnn_conv *conv) {
    int64_t k = conv->shape.kernel, c = conv->shape.in.c;
    return (kp_cudnn_view){ .dims = { conv->shape.out.c, c, k, k },
                            .strides = { k * k * c, 1, k * c, c },
                            .alignment = 16 };
}

static cudnnBackendDescriptor_t tensor(kp_cudnn_maker *m, int64_t id, const kp_cudnn_view *v,
                                       bool is_virtual) {
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = kp_cudnn_make(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    kp_cudnn_set(m, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    kp_cudnn_set(m, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, v->dims);
    kp_cudnn_set(m, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, v->strides);
    kp_cudnn_set(m, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    kp_cudnn_set(m, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &v->alignment);
    kp_cudnn_set(m, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    kp_cudnn_finalize(m, d);
    return d;
}

/* ---- operations ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, w, y, conv, alpha, beta;
} kinds[] = {
#define KIND(NAME, TYPE, ATTR, X, W, Y)                                                            \
    {                                                                                              \
        NAME, CUDNN_BACKEND_OPERATION_CONVOLUTION_##TYPE##_DESCRIPTOR,                             \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##ATTR##_##X,                                         \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##ATTR##_##W,                                         \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##ATTR##_##Y,                                         \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##ATTR##_CONV_DESC,                                   \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##ATTR##_ALPHA,                                       \
            CUDNN_ATTR_OPERATION_CONVOLUTION_##ATTR##_BETA                                         \
    }
    [KP_CUDNN_FORWARD] = KIND("forward", FORWARD, FORWARD, X, W, Y),
    [KP_CUDNN_BACKWARD_DATA] = KIND("data gradient", BACKWARD_DATA, BWD_DATA, DX, W, DY),
    [KP_CUDNN_BACKWARD_WEIGHTS] = KIND("weight gradient", BACKWARD_FILTER, BWD_FILTER, X, DW, DY),
#undef KIND
};

static cudnnBackendDescriptor_t convolution(kp_cudnn_maker *m, const kp_cudnn_conv *conv,
                                            cudnnBackendDescriptor_t y) {
    int64_t n = 2, none[2] = { 0, 0 }, dilation[2] = { 1, 1 };
    int64_t stride[2] = { conv->shape.stride, conv->shape.stride };
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t c = kp_cudnn_make(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, n, none);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, n, none);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, n, dilation);
    kp_cudnn_set(m, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, n, stride);
    kp_cudnn_finalize(m, c);

    kp_cudnn_view view_x = kp_cudnn_view_x(conv), view_w = kp_cudnn_view_w(conv);
    cudnnBackendDescriptor_t x = tensor(m, KP_CUDNN_X, &view_x, false);
    cudnnBackendDescriptor_t w = tensor(m, KP_CUDNN_W, &view_w, false);
    float alpha = 1, beta = 0;
    cudnnBackendDescriptor_t op = kp_cudnn_make(m, kinds[conv->kind].type);
    kp_cudnn_link(m, op, kinds[conv->kind].conv, c);
    kp_cudnn_link(m, op, kinds[conv->kind].x, x);
    kp_cudnn_link(m, op, kinds[conv->kind].w, w);
    kp_cudnn_link(m, op, kinds[conv->kind].y, y);
    kp_cudnn_set(m, op, kinds[conv->kind].alpha, CUDNN_TYPE_FLOAT, 1, &alpha);
    kp_cudnn_set(m, op, kinds[conv->kind].beta, CUDNN_TYPE_FLOAT, 1, &beta);
    kp_cudnn_finalize(m, op);
    return op;
}

/* y = mode(x) or, with b, mode(x, b). */
static cudnnBackendDescriptor_t pointwise(kp_cudnn_maker *m, cudnnPointwiseMode_t mode,
                                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                          cudnnBackendDescriptor_t y) {
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t p = kp_cudnn_make(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    kp_cudnn_set(m, p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    kp_cudnn_set(m, p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    kp_cudnn_finalize(m, p);
    cudnnBackendDescriptor_t op = kp_cudnn_make(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    kp_cudnn_link(m, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
    kp_cudnn_link(m, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) kp_cudnn_link(m, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    kp_cudnn_link(m, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    kp_cudnn_finalize(m, op);
    return op;
}

cudnnBackendDescriptor_t kp_cudnn_graph(kp_cudnn_maker *m, const kp_cudnn_conv *conv) {
    enum { FIRST_VIRTUAL = KP_CUDNN_BIAS + 1 };
    cudnnBackendDescriptor_t op[3], sum[3];
    kp_cudnn_view view_y = kp_cudnn_view_y(conv);
    int n_ops = 1 + (conv->has_bias != 0) + (conv->activation == KP_RELU), n = 0;
    for (int i = 0; i < n_ops;
         i++) { /* the output of the last is y, the others stay in registers */
        int last = i == n_ops - 1;
        sum[i] = tensor(m, last ? KP_CUDNN_Y : FIRST_VIRTUAL + i, &view_y, !last);
    }
    op[n] = convolution(m, conv, sum[n]), n++;
    if (conv->has_bias) {
        int64_t C = conv->shape.out.c;
        kp_cudnn_view view_b = { .dims = { 1, C, 1, 1 },
                                 .strides = { C, 1, C, C },
                                 .alignment = 16 };
        cudnnBackendDescriptor_t bias = tensor(m, KP_CUDNN_BIAS, &view_b, false);
        op[n] = pointwise(m, CUDNN_POINTWISE_ADD, sum[n - 1], bias, sum[n]), n++;
    }
    if (conv->activation == KP_RELU)
        op[n] = pointwise(m, CUDNN_POINTWISE_RELU_FWD, sum[n - 1], NULL, sum[n]), n++;
    cudnnBackendDescriptor_t graph = kp_cudnn_make(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    kp_cudnn_set(m, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, op);
    kp_cudnn_finalize(m, graph);
    return graph;
}

void kp_cudnn_conv_text(char *text, size_t size, const kp_cudnn_conv *conv) {
    const kp_conv_shape *s = &conv->shape;
    const kp_image *i = &s->in, *o = &s->out;
    snprintf(text, size,
             "%s%s%s in %s, batch %d, %dx%dx%d (border %d,%d,%d,%d) to %dx%dx%d (border "
             "%d,%d,%d,%d), kernel %d, stride %d, padding %d,%d",
             kinds[conv->kind].name, conv->has_bias ? " + bias" : "",
             conv->activation == KP_RELU ? " + ReLU" : "", kp_precision_name(conv->precision),
             conv->B, i->h, i->w, i->c, i->top, i->left, i->bottom, i->right, o->h, o->w, o->c,
             o->top, o->left, o->bottom, o->right, s->kernel, s->stride, s->pad_top, s->pad_left);
}
