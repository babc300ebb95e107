/* mlp_gradient.cu: a block is a member (mlp_cuda.h). */
#include "mlp_cuda.h"

/* The padding after n floats at `at`, to the next chunk. */
static __device__ __forceinline__ void zero_rest(float *grad, int64_t at, int64_t n) {
    for (int64_t i = at + n + threadIdx.x; i < (at + n + KP_CHUNK - 1) / KP_CHUNK * KP_CHUNK; i += blockDim.x)
        grad[i] = 0.0f;
}

static __device__ __forceinline__ void zero_padding(const kp_mlp_shape &s, float *grad) {
    for (int l = 0; l < s.n_layers; l++) {
        zero_rest(grad, s.weight[l], (int64_t)s.in[l] * s.row[l]);
        zero_rest(grad, s.bias[l], s.out[l]);
        if (s.gain[l] < 0) continue;
        zero_rest(grad, s.gain[l], s.out[l]);
        zero_rest(grad, s.shift[l], s.out[l]);
    }
}

static __global__ void __launch_bounds__(KP_MLP_THREADS, KP_MLP_BLOCKS)
    gradient(const __grid_constant__ kp_mlp_gradient_args a, const __grid_constant__ kp_mlp_room room,
             const uint8_t *active) {
    if (!active[blockIdx.x]) return;
    KP_DYNAMIC_SHARED(float, shared);
    const kp_mlp_shape &s = a.shape;
    kp_mlp_team<false> team(s, room, shared);
    const int member = team.member, last = s.n_layers - 1, at = a.cursor[member];
    const int64_t sample = kp_mlp_sample(a.samples.index, a.samples.T, member, at);
    const int label = kp_mlp_label(a.samples.label, a.samples.label_order, s.out[last], member, sample);
    const kp_mlp_params<false> params = { s, room, a.theta + member * s.N };
    float *grad = a.grad + member * s.N, *x0 = team.x(0);
    uint8_t *ever_active = a.ever_active ? a.ever_active + (int64_t)member * s.n_hidden : nullptr;

    team.clear();
    team.load(a.samples, sample, x0);
    team.forward(x0, params);
    const float loss = team.softmax(label, 1);
    if (threadIdx.x < 32) {
        const int off = team.count_off(ever_active);
        if (!threadIdx.x)
            a.result[(int64_t)member * a.samples.T + at] = { loss, NAN, team.is_correct(label), off };
    }
    for (int l = last; l >= 0; l--) {
        float *weight = grad + s.weight[l], *bias = grad + s.bias[l];
        team.weights_back(l, x0, params, [&](int64_t i, float g) { weight[i] = g; });
        for (int o = (int)threadIdx.x; o < s.out[l]; o += (int)blockDim.x) bias[o] = team.d(l)[o];
        if (!l) break;
        float *gain = grad + s.gain[l - 1], *shift = grad + s.shift[l - 1];
        team.units_back(l - 1, params, [&](int o, float g) { gain[o] = g; }, [&](int o, float g) { shift[o] = g; });
    }
    zero_padding(s, grad);
    team.keep(a.work + member * kp_mlp_work(&s), x0);
}

kp_status kp_mlp_gradient_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    return kp_mlp_launch("mlp_gradient", gradient, (const kp_mlp_gradient_args *)args, cuda, err);
}
