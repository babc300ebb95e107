/* gemm_peak.c: see gemm_peak.h. */
#include "gemm_peak.h"

#include "backend/cpu/cpu_features.h"
#include "bench.h"

enum { TRIALS = 7 };
static const double TRIAL_S = 5e-3;

int kp_fma_steps_generic(int64_t n);
#ifdef KAPPA_X86
int kp_fma_steps_avx2(int64_t n);
int kp_fma_steps_avx512(int64_t n);
static const kp_fma_loop loops[] = { kp_fma_steps_generic, kp_fma_steps_avx2, kp_fma_steps_avx512 };
#else
static const kp_fma_loop loops[] = { kp_fma_steps_generic, kp_fma_steps_generic,
                                     kp_fma_steps_generic };
#endif

static void run_loop(void *steps, int thread) {
    (void)thread;
    loops[kp_isa()](*(int64_t *)steps);
}

static double seconds(kp_pool *pool, int64_t steps) {
    double start = kp_now_s();
    kp_pool_run(pool, run_loop, &steps);
    return kp_now_s() - start;
}

double kp_gemm_peak(kp_pool *pool) {
    int64_t steps = 1000;
    double best = 0, flops = (double)kp_pool_n_threads(pool) * loops[kp_isa()](1);
    while (seconds(pool, steps) < TRIAL_S) steps *= 2;
    for (int i = 0; i < TRIALS; i++) {
        double rate = flops * (double)steps / seconds(pool, steps);
        best = rate > best ? rate : best;
    }
    return best;
}
