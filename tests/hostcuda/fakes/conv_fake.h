/* conv_fake.h: convolutions in plain C, for what takes a library's place in tests. Sums of the forward
 * pass are doubles, rounded once. */
#pragma once
#include <stdint.h>

/* In memory: N, C, H, W; C lies together. */
typedef struct {
    int64_t dim[4], stride[4];
} conv_fake_view;

typedef enum { CONV_FAKE_FORWARD, CONV_FAKE_DATA, CONV_FAKE_WEIGHTS } conv_fake_kind;

typedef struct {
    conv_fake_kind kind;
    int64_t stride;
    conv_fake_view x, w, y; /* one member's; w: K, C, R, S */
} conv_fake;

/* Writes all that the view of the result shows. bias: [K], forward only, or NULL. */
void conv_fake_run(const conv_fake *c, float *x, float *w, float *y, const float *bias);
