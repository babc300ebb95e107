/* stream_limits.c: what one pass over a member's weights takes at least, compiled for each vector
 * width as the operations are: its loads and stores, and of Adam its roots and divisions. */
#include "gemm_peak.h"
#include "vec.h"

enum { ROOTS = 8 };

/* As many at once as cover a root's latency. */
int KP_ISA(kp_root_steps)(int64_t n);
int KP_ISA(kp_root_steps)(int64_t n) {
    kp_vec x[ROOTS], one = kp_vec_all(1.001f);
    KP_UNROLL for (int i = 0; i < ROOTS; i++) x[i] = kp_vec_all(1.5f + (float)i);
    for (int64_t k = 0; k < n; k++) {
        KP_UNROLL for (int i = 0; i < ROOTS; i++) x[i] = one / kp_vec_sqrt(x[i]);
    }
    volatile float keep = 0;
    for (int i = 0; i < ROOTS; i++) keep = keep + x[i][0];
    return ROOTS * KP_VEC;
}

/* Reads and writes n floats of each of n_arrays, side by side as weights and their moments are;
 * with one 1 and zero 0 the values stay. */
void KP_ISA(kp_touch)(float *const *array, int n_arrays, int64_t n, float one, float zero);
void KP_ISA(kp_touch)(float *const *array, int n_arrays, int64_t n, float one, float zero) {
    const kp_vec a = kp_vec_all(one), b = kp_vec_all(zero);
    for (int64_t i = 0; i < n; i += KP_VEC)
        for (int k = 0; k < n_arrays; k++)
            kp_vec_store(array[k] + i, kp_vec_fma(kp_vec_load(array[k] + i), a, b));
}
