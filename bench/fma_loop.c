/* fma_loop.c: as many independent sums as cover a multiply-add's latency, compiled for each vector
 * width as the operations are. */
#include "gemm_peak.h"
#include "tile.h"

enum { SUMS = 12 };

int KP_ISA(kp_fma_steps)(int64_t n);
int KP_ISA(kp_fma_steps)(int64_t n) {
    kp_vec sum[SUMS], a = kp_vec_all(0.999f), b = kp_vec_all(0.001f);
    KP_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = kp_vec_all((float)i);
    for (int64_t k = 0; k < n; k++) {
        KP_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = kp_vec_fma(sum[i], a, b);
    }
    volatile float keep = 0;
    for (int i = 0; i < SUMS; i++) keep = keep + sum[i][0];
    return SUMS * KP_VEC * 2;
}
