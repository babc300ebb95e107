/* cbp.cu: a block is a member. KP_MLP_LANES threads, half a warp, add the sizes of one row of weights, lane
 * by lane as the CPU does; then one thread decides. */
#include "units/units_cuda.h"

enum { THREADS = KP_UNITS_THREADS, ROWS = THREADS / KP_MLP_LANES };

/* Of one row, by the half warp that holds it; its first lane gets the sum. */
static __device__ __forceinline__ float sum_of_sizes(const float *w, int row) {
    const int lane = (int)threadIdx.x % KP_MLP_LANES;
    float sum = 0.0f;
    for (int k = lane; k < row; k += KP_MLP_LANES) sum += fabsf(w[k]);
    for (int n = KP_MLP_LANES / 2; n > 0; n /= 2)
        sum += __shfl_sync(0xffffffffu, sum, (lane + n) % KP_MLP_LANES, KP_MLP_LANES);
    return sum;
}

/* Returns how many units are mature, of those that this thread has counted. A warp stays together: rows
 * beyond the last are those of unit 0, unread. */
static __device__ __forceinline__ uint32_t count_sample(kp_cbp_layer c, const kp_mlp_shape *s, int l,
                                                        kp_cbp_hyper h) {
    const int n = s->out[l], outputs = kp_units_outputs(s), row = s->row[l + 1];
    const int first = (int)threadIdx.x / KP_MLP_LANES, lane = (int)threadIdx.x % KP_MLP_LANES;
    uint32_t mature = 0;
    for (int begin = 0; begin < n; begin += ROWS) {
        const int is_unit = begin + first < n, o = is_unit ? begin + first : 0;
        float contribution = 0.0f;
        for (int j = o; j < outputs * n; j += n) {
            const float x = c.x[j], sum = sum_of_sizes(c.w + (int64_t)j * row, is_unit && x != 0.0f ? row : 0);
            if (x != 0.0f) contribution = fmaf(fabsf(x), sum, contribution);
            if (is_unit && !lane) c.mean[j] = kp_cbp_average(c.mean[j], x, h);
        }
        if (is_unit && !lane) mature += (uint32_t)kp_cbp_count(c, o, contribution, h);
    }
    return mature;
}

/* owed, once every thread has counted: the same for all. */
static __device__ __forceinline__ double owe(kp_cbp_layer c, uint32_t mature, kp_cbp_hyper h) {
    KP_SHARED(uint32_t, of_warp, KP_UNITS_WARPS);
    KP_SHARED(double, owed, 1);
    mature = __reduce_add_sync(0xffffffffu, mature);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mature;
    __syncthreads();
    if (!threadIdx.x) {
        for (int w = 1; w < KP_UNITS_WARPS; w++) mature += of_warp[w];
        *owed = *c.owed += h.rate * (int)mature;
    }
    __syncthreads();
    return *owed;
}

static __device__ __forceinline__ int least(kp_cbp_layer c, int n, kp_cbp_hyper h) {
    KP_SHARED(kp_cbp_pick, of_thread, THREADS);
    kp_cbp_pick pick = { 0, -1 };
    for (int o = (int)threadIdx.x; o < n; o += THREADS) pick = kp_cbp_lesser(pick, kp_cbp_candidate(c, o, h));
    of_thread[threadIdx.x] = pick;
    __syncthreads();
    if (!threadIdx.x) {
        for (int t = 1; t < THREADS; t++) pick = kp_cbp_lesser(pick, of_thread[t]);
        of_thread[0] = pick;
    }
    __syncthreads();
    return of_thread[0].unit;
}

static __device__ __forceinline__ void replace(const kp_cbp_args *a, kp_cbp_layer c, int member, int l, int o) {
    if (!threadIdx.x) kp_cbp_correct(&a->net.shape, c, l, o);
    __syncthreads();
    for (int k = (int)threadIdx.x; k < a->net.shape.out[l + 1]; k += THREADS)
        kp_cbp_keep_mean(a, c, member, l, o, k);
    kp_units_replace(&a->net, KP_UNITS_CBP, member, l, o, a->net.replaced[member]);
    if (!threadIdx.x) kp_cbp_forget(a, c, member, l, o);
    __syncthreads();
}

static __global__ void __launch_bounds__(THREADS) cbp(kp_cbp_args a, const uint8_t *active) {
    const int member = (int)blockIdx.x;
    const kp_mlp_shape *s = &a.net.shape;
    const kp_cbp_hyper h = a.hyper[member];
    if (!active[member] || h.rate == 0.0) return;
    for (int l = 0; l + 1 < s->n_layers; l++) {
        kp_cbp_layer c = kp_cbp_layer_of(&a, member, l);
        for (double owed = owe(c, count_sample(c, s, l, h), h); owed >= 1.0; owed -= 1.0) {
            const int o = least(c, s->out[l], h);
            if (o < 0) break;
            replace(&a, c, member, l, o);
        }
    }
}

kp_status kp_cbp_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_cbp_args *a = (const kp_cbp_args *)args;
    return kp_check_cuda(kp_launch(dim3(a->P), dim3(THREADS), cuda->stream, cbp, *a, cuda->active), "cbp", err);
}
