/* conv_cuda.h: convolutions as matrix products ("im2col"). The columns of a sample are the matrix
 *
 *     [out.h * out.w][kernel * kernel * in.c]    a row is what one output pixel sees
 *
 * and lie in scratch memory, which is kept small by doing a piece of the work at a time: a few
 * members, or, of a member that is too large by itself, a few samples. So a member's minibatch is
 * divided in the same way however many members there are. */
#pragma once
#include "conv.h"

#ifndef KP_CONV_SCRATCH_BYTES
#define KP_CONV_SCRATCH_BYTES (256 << 20) /* aimed at; one sample of one member may need more */
#endif

typedef struct {
    int p, members; /* members p .. p + members - 1 */
    int b, samples;
} kp_piece;

/* The first and largest piece, for scratch memory of so many floats a sample. */
kp_piece kp_first_piece(int P, int B, int64_t sample_floats);

/* run(piece) for all pieces, up to the first that fails; a member's samples come in order. */
template <class Run> static kp_status kp_each_piece(int P, int B, kp_piece first, Run run) {
    kp_status st = KP_OK;
    for (int p = 0; !st && p < P; p += first.members)
        for (int b = 0; !st && b < B; b += first.samples)
            st = run(kp_piece{ p, P - p < first.members ? P - p : first.members, b,
                               B - b < first.samples ? B - b : first.samples });
    return st;
}

/* Floats of a piece's matrices, rounded up so that what follows is aligned as well as they are. */
static inline int64_t kp_piece_floats(kp_piece piece, int64_t sample_floats) {
    return ((int64_t)piece.members * piece.samples * sample_floats + 63) / 64 * 64;
}

typedef struct {
    const float *at;
    int64_t stride; /* floats from one member's columns to the next one's */
} kp_columns;

/* Floats of a sample's columns in scratch memory; 0 where the image is its columns as it lies. */
int64_t kp_columns_floats(kp_conv_shape shape);

/* The columns of a piece of x [P][B][shape.in]: x itself or, copied, scratch. */
kp_status kp_columns_cuda(const char *op, kp_conv_shape shape, const float *x, int B, kp_piece piece,
                          float *scratch, kp_columns *columns, const kp_cuda *cuda, kp_err *err);

/* The shape whose columns are the pixels of the image without its border. */
kp_conv_shape kp_borderless(kp_image image);
