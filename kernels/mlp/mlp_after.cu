/* mlp_after.cu: a block is a member (mlp_cuda.h). */
#include "mlp_cuda.h"

static __global__ void __launch_bounds__(KP_MLP_THREADS, KP_MLP_BLOCKS)
    after(const __grid_constant__ kp_mlp_after_args a, const __grid_constant__ kp_mlp_room room,
          const uint8_t *active) {
    if (!active[blockIdx.x]) return;
    KP_DYNAMIC_SHARED(float, shared);
    const kp_mlp_shape &s = a.shape;
    kp_mlp_team<false> team(s, room, shared);
    const int member = team.member, at = a.cursor[member];
    const int64_t sample = kp_mlp_sample(a.index, a.T, member, at);
    const int label = kp_mlp_label(a.label, a.label_order, s.out[s.n_layers - 1], member, sample);
    const float *x0 = a.work + member * kp_mlp_work(&s);

    team.clear();
    for (int j = (int)threadIdx.x; j < s.in[0]; j += (int)blockDim.x) team.x(0)[j] = x0[j];
    team.forward(team.x(0), kp_mlp_params<false>{ s, room, a.theta + member * s.N });
    const float loss = team.softmax(label, 0);
    if (threadIdx.x >= 32) return;
    const int off = team.count_off(nullptr);
    kp_mlp_result *result = &a.result[(int64_t)member * a.T + at];
    if (!threadIdx.x) result->loss_after = loss, result->inactive = off;
}

kp_status kp_mlp_after_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    return kp_mlp_launch("mlp_after", after, (const kp_mlp_after_args *)args, cuda, err);
}
