/* ops_layers.c: rows of the layers' operations: one list of shapes each for convolution and dense,
 * every bit equal to layer_reference.c. Gradients against differences: conv.c, dense.c. */
#include <string.h>

#include "kernels/layer_reference.h"
#include "kernels/op_case.h"

/* X(id, name, B, in h, w, c, out c, kernel, stride, same padding, extra border, activation) */
#define CONVOLUTIONS(X)                                                                            \
    X(first, "DQN's first, small", 2, 20, 20, 4, 32, 8, 4, 0, 0, KP_RELU)                          \
    X(second, "DQN's second, small", 3, 8, 8, 32, 64, 4, 2, 0, 0, KP_RELU)                         \
    X(third, "DQN's third, small", 2, 5, 5, 64, 64, 3, 1, 0, 0, KP_RELU)                           \
    X(first_same, "Dopamine's first, small", 2, 21, 21, 4, 32, 8, 4, 1, 0, KP_RELU)                \
    X(second_same, "Dopamine's second, small", 2, 9, 7, 32, 64, 4, 2, 1, 1, KP_RELU)               \
    X(third_same, "Dopamine's third, small", 2, 6, 5, 64, 64, 3, 1, 1, 2, KP_LINEAR)               \
    X(batch, "a whole minibatch", 32, 4, 4, 8, 16, 3, 1, 0, 0, KP_RELU)                            \
    X(pixel, "one pixel, one channel", 1, 1, 1, 1, 1, 1, 1, 0, 0, KP_LINEAR)                       \
    X(gray, "one channel to 5, stride 2", 3, 9, 11, 1, 5, 3, 2, 0, 1, KP_LINEAR)                   \
    X(rgb, "3 channels to 18", 1, 7, 6, 3, 18, 3, 1, 1, 0, KP_RELU)                                \
    X(seven, "7 channels to 51, stride 4", 7, 10, 9, 7, 51, 4, 4, 1, 1, KP_LINEAR)                 \
    X(gap, "a stride wider than the kernel", 2, 11, 12, 5, 17, 2, 4, 0, 1, KP_RELU)                \
    X(tall, "more output pixels than one block", 2, 40, 14, 2, 33, 3, 1, 0, 0, KP_LINEAR)          \
    X(mix, "1 x 1", 3, 5, 4, 8, 12, 1, 1, 0, 0, KP_RELU)                                           \
    X(skip, "1 x 1, stride 2", 2, 7, 7, 4, 6, 1, 2, 0, 0, KP_LINEAR)

/* X(id, name, B, in, out, activation) */
#define DENSE(X)                                                                                   \
    X(hidden, "hidden", 32, 150, 96, KP_RELU)                                                      \
    X(head, "head of 18 actions", 32, 64, 18, KP_LINEAR)                                           \
    X(head6, "head of 6 actions", 32, 40, 6, KP_LINEAR)                                            \
    X(atoms, "51 atoms", 5, 33, 51, KP_RELU)                                                       \
    X(one, "one sample", 1, 300, 64, KP_RELU)                                                      \
    X(three, "three samples, long sum", 3, 1000, 7, KP_RELU)                                       \
    X(many, "more samples than a panel", 67, 19, 35, KP_LINEAR)                                    \
    X(crowd, "a very large minibatch", 300, 8, 36, KP_RELU)                                        \
    X(scalar, "one by one", 1, 1, 1, KP_LINEAR)

/* Halves of the pads of TensorFlow's "same", the smaller half first. */
static int pad_before(int n, int out, int kernel, int stride) {
    int pad = (out - 1) * stride + kernel - n;
    return pad > 0 ? pad / 2 : 0;
}

static kp_conv_shape shape_of(int h, int w, int c, int n, int kernel, int stride, int same,
                              int border) {
    kp_conv_shape s = { .kernel = kernel, .stride = stride };
    s.out = (kp_image){ .h = (h - kernel) / stride + 1, .w = (w - kernel) / stride + 1, .c = n };
    if (same) s.out.h = (h + stride - 1) / stride, s.out.w = (w + stride - 1) / stride;
    if (same) s.pad_top = pad_before(h, s.out.h, kernel, stride);
    if (same) s.pad_left = pad_before(w, s.out.w, kernel, stride);
    int below = (s.out.h - 1) * stride + kernel - s.pad_top - h,
        right = (s.out.w - 1) * stride + kernel - s.pad_left - w;
    s.in = (kp_image){ .h = h, .w = w, .c = c };
    s.in.top = s.pad_top + border, s.in.left = s.pad_left;
    s.in.bottom = (below > 0 ? below : 0), s.in.right = (right > 0 ? right : 0) + border;
    s.out.top = border, s.out.left = 2 * border, s.out.right = border;
    return s;
}

static int64_t n_weights(kp_conv_shape s) {
    return (int64_t)s.kernel * s.kernel * s.in.c * s.out.c;
}

static void conv_forward(kp_case *c, int B, kp_conv_shape s, kp_activation activation) {
    int64_t N = n_weights(s), stride = N + s.out.c + 3;
    kp_conv_forward_args a = { .P = c->P, .B = B, .shape = s, .activation = activation };
    a.param_stride = stride;
    a.x = kp_case_alloc(c, 'f', KP_IN, B * kp_image_floats(s.in), -1, 1);
    a.w = kp_case_alloc(c, 'f', KP_IN, stride, -1, 1);
    a.bias = a.w + N;
    a.y = kp_case_alloc(c, 'f', KP_OUT, B * kp_image_floats(s.out), 0, 0);
    memcpy(c->args, &a, sizeof a);
}

static void conv_backward_data(kp_case *c, int B, kp_conv_shape s, kp_activation activation) {
    kp_conv_backward_data_args a = { .P = c->P, .B = B, .shape = s, .x_activation = activation };
    a.param_stride = n_weights(s) + 5;
    a.dy = kp_case_alloc(c, 'f', KP_IN, B * kp_image_floats(s.out), -1, 1);
    a.w = kp_case_alloc(c, 'f', KP_IN, a.param_stride, -1, 1);
    a.x = kp_case_alloc(c, 'f', KP_IN, B * kp_image_floats(s.in), -1, 1);
    a.dx = kp_case_alloc(c, 'f', KP_OUT, B * kp_image_floats(s.in), 0, 0);
    memcpy(c->args, &a, sizeof a);
}

static void conv_backward_weights(kp_case *c, int B, kp_conv_shape s, kp_activation activation) {
    (void)activation;
    int64_t N = n_weights(s), stride = N + s.out.c + 3;
    kp_conv_backward_weights_args a = { .P = c->P, .B = B, .shape = s, .param_stride = stride };
    a.x = kp_case_alloc(c, 'f', KP_IN, B * kp_image_floats(s.in), -1, 1);
    a.dy = kp_case_alloc(c, 'f', KP_IN, B * kp_image_floats(s.out), -1, 1);
    a.dw = kp_case_alloc(c, 'f', KP_OUT, stride, 0, 0);
    a.dbias = a.dw + N;
    memcpy(c->args, &a, sizeof a);
}

static void dense_forward(kp_case *c, int B, int in, int out, kp_activation activation) {
    int64_t N = (int64_t)in * out;
    kp_dense_forward_args a = { .P = c->P, .B = B, .in = in, .out = out, .activation = activation };
    a.param_stride = N + out + 3;
    a.x = kp_case_alloc(c, 'f', KP_IN, (int64_t)B * in, -1, 1);
    a.w = kp_case_alloc(c, 'f', KP_IN, a.param_stride, -1, 1);
    a.bias = a.w + N;
    a.y = kp_case_alloc(c, 'f', KP_OUT, (int64_t)B * out, 0, 0);
    memcpy(c->args, &a, sizeof a);
}

static void dense_backward_data(kp_case *c, int B, int in, int out, kp_activation activation) {
    kp_dense_backward_data_args a = { .P = c->P, .B = B, .in = in, .out = out };
    a.x_activation = activation;
    a.param_stride = (int64_t)in * out + 5;
    a.dy = kp_case_alloc(c, 'f', KP_IN, (int64_t)B * out, -1, 1);
    a.w = kp_case_alloc(c, 'f', KP_IN, a.param_stride, -1, 1);
    a.x = kp_case_alloc(c, 'f', KP_IN, (int64_t)B * in, -1, 1);
    a.dx = kp_case_alloc(c, 'f', KP_OUT, (int64_t)B * in, 0, 0);
    memcpy(c->args, &a, sizeof a);
}

static void dense_backward_weights(kp_case *c, int B, int in, int out, kp_activation activation) {
    (void)activation;
    int64_t N = (int64_t)in * out;
    kp_dense_backward_weights_args a = { .P = c->P, .B = B, .in = in, .out = out };
    a.param_stride = N + out + 3;
    a.x = kp_case_alloc(c, 'f', KP_IN, (int64_t)B * in, -1, 1);
    a.dy = kp_case_alloc(c, 'f', KP_IN, (int64_t)B * out, -1, 1);
    a.dw = kp_case_alloc(c, 'f', KP_OUT, a.param_stride, 0, 0);
    a.dbias = a.dw + N;
    memcpy(c->args, &a, sizeof a);
}

#define MAKE_CONV(op, id, B, h, w, c, n, kernel, stride, same, border, activation)                 \
    static void make_##op##_##id(kp_case *k) {                                                     \
        op(k, B, shape_of(h, w, c, n, kernel, stride, same, border), activation);                  \
    }
#define MAKE_CONVS(id, name, ...)                                                                  \
    MAKE_CONV(conv_forward, id, __VA_ARGS__)                                                       \
    MAKE_CONV(conv_backward_data, id, __VA_ARGS__)                                                 \
    MAKE_CONV(conv_backward_weights, id, __VA_ARGS__)
CONVOLUTIONS(MAKE_CONVS)

#define MAKE_DENSE(op, id, B, in, out, activation)                                                 \
    static void make_##op##_##id(kp_case *k) { op(k, B, in, out, activation); }
#define MAKE_DENSES(id, name, ...)                                                                 \
    MAKE_DENSE(dense_forward, id, __VA_ARGS__)                                                     \
    MAKE_DENSE(dense_backward_data, id, __VA_ARGS__)                                               \
    MAKE_DENSE(dense_backward_weights, id, __VA_ARGS__)
DENSE(MAKE_DENSES)

#define ROW(op, id, what) { #op ": " what, KP_OP_##op, make_##op##_##id, kp_reference_##op, 0 },
#define CONV_ROWS(id, what, ...)                                                                   \
    ROW(conv_forward, id, what)                                                                    \
    ROW(conv_backward_data, id, what) ROW(conv_backward_weights, id, what)
#define DENSE_ROWS(id, what, ...)                                                                  \
    ROW(dense_forward, id, what)                                                                   \
    ROW(dense_backward_data, id, what) ROW(dense_backward_weights, id, what)

const kp_op_row kp_layer_rows[] = {
    CONVOLUTIONS(CONV_ROWS) /**/
    DENSE(DENSE_ROWS)       /**/
    { 0 },
};
