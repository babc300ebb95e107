/* gemm_peak.c: see gemm_peak.h. */
#include "gemm_peak.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_features.h"
#include "bench.h"

enum { TRIALS = 7 };
static const double TRIAL_S = 5e-3;

#define LOOPS(width)                                                                               \
    int kp_fma_steps_##width(int64_t n);                                                           \
    int kp_root_steps_##width(int64_t n);                                                          \
    void kp_touch_##width(float *const *array, int n_arrays, int64_t n, float one, float zero);
LOOPS(generic)
#ifdef KAPPA_X86
LOOPS(avx2)
LOOPS(avx512)
#define EACH_WIDTH(name)                                                                           \
    { name##_generic, name##_avx2, name##_avx512 }
#else
#define EACH_WIDTH(name)                                                                           \
    { name##_generic, name##_generic, name##_generic }
#endif
typedef void touch(float *const *array, int n_arrays, int64_t n, float one, float zero);
static const kp_fma_loop fma_loops[] = EACH_WIDTH(kp_fma_steps),
                         root_loops[] = EACH_WIDTH(kp_root_steps);
static touch *const touches[] = EACH_WIDTH(kp_touch);

typedef struct {
    kp_fma_loop loop;
    int64_t steps;
} work;

static void run_loop(void *context, int thread) {
    (void)thread;
    const work *w = context;
    w->loop(w->steps);
}

typedef struct {
    float **array; /* [threads][n_arrays] */
    int n_arrays;
    int64_t n, steps;
    float one, zero;
} pass;

static void run_pass(void *context, int thread) {
    const pass *p = context;
    for (int64_t k = 0; k < p->steps; k++)
        touches[kp_isa()](p->array + thread * p->n_arrays, p->n_arrays, p->n, p->one, p->zero);
}

static double seconds(kp_pool *pool, kp_pool_fn fn, void *context) {
    double start = kp_now_s();
    kp_pool_run(pool, fn, context);
    return kp_now_s() - start;
}

/* Steps a second, of each thread: the best of a few trials of TRIAL_S or more. *steps: to begin
 * with, enough that no trial is a matter of microseconds where the machine was away in the first.
 */
static double steps_per_s(kp_pool *pool, kp_pool_fn fn, void *context, int64_t *steps) {
    double best = 0;
    while (seconds(pool, fn, context) < TRIAL_S) *steps *= 2;
    for (int i = 0; i < TRIALS; i++) {
        double rate = (double)*steps / seconds(pool, fn, context);
        best = rate > best ? rate : best;
    }
    return best;
}

static double peak_of(kp_pool *pool, kp_fma_loop loop) {
    work w = { loop, 1000 };
    return kp_pool_n_threads(pool) * loop(1) * steps_per_s(pool, run_loop, &w, &w.steps);
}

double kp_gemm_peak(kp_pool *pool) { return peak_of(pool, fma_loops[kp_isa()]); }
double kp_root_peak(kp_pool *pool) { return peak_of(pool, root_loops[kp_isa()]); }

double kp_pass_peak(kp_pool *pool, int n_arrays, int64_t n) {
    enum { MAX = 256 };
    float *array[MAX] = { 0 };
    pass p = { array, n_arrays, n, 8, 1, 0 };
    int n_all = kp_pool_n_threads(pool) * n_arrays, complete = n_all <= MAX;
    size_t bytes = ((size_t)n * sizeof(float) + 4095) / 4096 * 4096;
    for (int i = 0; complete && i < n_all; i++) {
        array[i] = aligned_alloc(4096, bytes);
        complete = array[i] != NULL;
        if (complete) memset(array[i], 0, bytes);
    }
    double rate = complete ? steps_per_s(pool, run_pass, &p, &p.steps) : NAN;
    for (int i = 0; i < n_all && i < MAX; i++) free(array[i]);
    return rate * kp_pool_n_threads(pool);
}
