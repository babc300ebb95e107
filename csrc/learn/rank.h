/* rank.h: how many directions a matrix of weights makes use of.
 *
 *     effective   exp of the entropy of the singular values divided by their sum (Roy & Vetterli 2007,
 *                 "The effective rank"); 0 for a matrix of zeros
 *     numerical   singular values above max(rows, columns) 2^-23 times the largest, as
 *                 numpy.linalg.matrix_rank and torch.linalg.matrix_rank count for float32
 *
 * Singular values are roots of eigenvalues of the smaller Gram matrix, in doubles: exact to some 1e-8 of the
 * largest, where `numerical` cuts at 1e-5 and more. */
#pragma once
#include <stddef.h>

typedef struct {
    double effective;
    int numerical;
} kp_rank;

/* Doubles of scratch for a matrix of this size. */
size_t kp_rank_room(int rows, int columns);

/* w: [rows][stride] host, finite; stride >= columns. */
kp_rank kp_rank_of(const float *w, int rows, int columns, int stride, double *scratch);
