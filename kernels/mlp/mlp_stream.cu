/* mlp_stream.cu: a member is a team's (mlp_cuda.h) for all samples of the block: one block of threads, that
 * leaves parameters and state in global memory; or, where that can be, as many blocks of a cluster as hold
 * them in shared memory, each its own columns. The bits are the same. */
#include "mlp_cuda.h"

#include "adam_clip/adam_clip.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

/* ---- rules ------------------------------------------------------------------------------------- */

template <int RULE> struct rule;
template <> struct rule<KP_MLP_SGD> {
    enum { N_STATES = 0 };
    typedef kp_sgd_hyper hyper;
    static __device__ __forceinline__ float step(float x, float g, float *, float *, hyper h) {
        return kp_sgd_plain1(x, g, h);
    }
};
template <> struct rule<KP_MLP_MOMENTUM> {
    enum { N_STATES = 1 };
    typedef kp_sgd_hyper hyper;
    static __device__ __forceinline__ float step(float x, float g, float *u, float *, hyper h) {
        return kp_sgd1(x, g, u, h);
    }
};
template <> struct rule<KP_MLP_ADAM> {
    enum { N_STATES = 2 };
    typedef kp_adam_hyper hyper;
    static __device__ __forceinline__ float step(float x, float g, float *m, float *v, hyper h) {
        return kp_adam1(x, g, m, v, h);
    }
};
template <> struct rule<KP_MLP_RMSPROP> {
    enum { N_STATES = 1 };
    typedef kp_rmsprop_hyper hyper;
    static __device__ __forceinline__ float step(float x, float g, float *v, float *, hyper h) {
        return kp_rmsprop1(x, g, v, h);
    }
};
template <> struct rule<KP_MLP_RMSPROP_CENTERED> {
    enum { N_STATES = 2 };
    typedef kp_rmsprop_hyper hyper;
    static __device__ __forceinline__ float step(float x, float g, float *v, float *mean, hyper h) {
        return kp_rmsprop_centered1(x, g, v, mean, h);
    }
};

/* ---- the update -------------------------------------------------------------------------------- */

template <int RULE> struct update {
    float *theta, *state[2];
    const float *anchor;
    typename rule<RULE>::hyper hyper;

    /* Returns whether the weight lay outside the bound, as kp_clip_tally_of counts: NaN does not. */
    __device__ __forceinline__ uint32_t operator()(int64_t at, float g, float bound) const {
        float x = theta[at], x0 = 0.0f, s0 = 0.0f, s1 = 0.0f;
        if (hyper.l2init != 0.0f) x0 = anchor[at];
        if (rule<RULE>::N_STATES > 0) s0 = state[0][at];
        if (rule<RULE>::N_STATES > 1) s1 = state[1][at];
        x = rule<RULE>::step(x, kp_penalty(g, x, x0, hyper.l2, hyper.l2init), &s0, &s1, hyper);
        if (rule<RULE>::N_STATES > 0) state[0][at] = s0;
        if (rule<RULE>::N_STATES > 1) state[1][at] = s1;
        theta[at] = kp_clip(x, bound);
        return x > bound || x < -bound;
    }
};

/* [n_tensors] of the warp. */
static __device__ __forceinline__ kp_clip_tally *tally_of_warp(float *shared, const kp_mlp_room &room, int n_tensors) {
    return (kp_clip_tally *)(shared + room.tally) + (int)threadIdx.x / 32 * n_tensors;
}

/* Adds n of the threads of a warp to one of its counts. */
static __device__ __forceinline__ void count(uint32_t *to, uint32_t n) {
    n = __reduce_add_sync(0xffffffffu, n);
    if (threadIdx.x % 32 == 0) *to += n;
}

/* The padding is updated too, as by the rules' own operations: it stays zero. */
template <int RULE, bool CLUSTER>
static __device__ __forceinline__ void backward(kp_mlp_team<CLUSTER> &team, const kp_mlp_params<CLUSTER> &params,
                                                const update<RULE> &step, const float *bounds, const float *x0) {
    const kp_mlp_shape &s = team.s;
    kp_clip_tally *all = tally_of_warp(team.shared, team.room, s.n_tensors);
    for (int l = s.n_layers - 1; l >= 0; l--) {
        const int64_t weight = params.weight_at(l), bias = params.bias_at(l);
        kp_clip_tally *tally = all + s.tensor[l];
        const float *bound = bounds + s.tensor[l], of_weight = bound[0], of_bias = bound[1];
        uint32_t outside = 0, outside_bias = 0;
        team.weights_back(l, x0, params, [&](int64_t i, float g) { outside += step(weight + i, g, of_weight); });
        for (int i = (int)threadIdx.x; i < team.units(l); i += (int)blockDim.x)
            outside_bias += step(bias + i, team.d(l)[i], of_bias);
        count(&tally[0].outside, outside);
        count(&tally[1].outside, outside_bias);
        if (!l) break;
        const int below = l - 1, has_norm = s.gain[below] >= 0;
        const int64_t gain = params.gain_at(below), shift = params.shift_at(below);
        const float of_gain = has_norm ? bounds[s.tensor[below] + 2] : 0.0f,
                    of_shift = has_norm ? bounds[s.tensor[below] + 3] : 0.0f;
        uint32_t outside_gain = 0, outside_shift = 0;
        team.units_back(
            below, params, [&](int i, float g) { outside_gain += step(gain + i, g, of_gain); },
            [&](int i, float g) { outside_shift += step(shift + i, g, of_shift); });
        if (!has_norm) continue;
        tally = all + s.tensor[below];
        count(&tally[2].outside, outside_gain);
        count(&tally[3].outside, outside_shift);
    }
}

/* ---- begin and end of a block of samples -------------------------------------------------------- */

/* Buffers in order: theta, state, anchor. In shared memory they are one after the other. */
static __device__ __forceinline__ float *in_global(const kp_mlp_stream_args &a, int n_states, int b) {
    return !b ? a.theta : b <= n_states ? a.state[b - 1] : (float *)a.anchor;
}

/* f(tensor, where it begins in global memory, where for the team, rows) for every tensor of layer l. */
template <bool CLUSTER, class F>
static __device__ __forceinline__ void each_tensor(const kp_mlp_params<CLUSTER> &params, int l, F f) {
    const kp_mlp_shape &s = params.s;
    f(s.tensor[l], s.weight[l], params.weight_at(l), s.in[l]);
    f(s.tensor[l] + 1, s.bias[l], params.bias_at(l), 1);
    if (s.gain[l] < 0) return;
    f(s.tensor[l] + 2, s.gain[l], params.gain_at(l), 1);
    f(s.tensor[l] + 3, s.shift[l], params.shift_at(l), 1);
}

/* Into shared memory, each block its columns. */
static __device__ __forceinline__ void fetch(const kp_mlp_team<true> &team, const kp_mlp_params<true> &params,
                                             const kp_mlp_stream_args &a, int n_states) {
    const int n_buffers = 1 + n_states + (a.anchor != nullptr);
    const int64_t member_at = team.member * team.s.N;
    for (int l = 0; l < team.s.n_layers; l++)
        each_tensor(params, l, [&](int, int64_t global, int64_t mine, int rows) {
            const int columns = team.columns(l);
            float *to = team.shared + team.room.buffer + mine;
            for (int e = (int)threadIdx.x; e < rows * columns; e += (int)blockDim.x) {
                const int64_t from = member_at + global + (int64_t)(e / columns) * team.s.row[l] +
                                     e % columns * team.size + team.rank;
                for (int b = 0; b < n_buffers; b++) to[b * team.room.param_floats + e] = in_global(a, n_states, b)[from];
            }
        });
}

static __device__ __forceinline__ void put_back(const kp_mlp_team<true> &team, const kp_mlp_params<true> &params,
                                                const kp_mlp_stream_args &a, int n_states) {
    const int64_t member_at = team.member * team.s.N;
    for (int l = 0; l < team.s.n_layers; l++)
        each_tensor(params, l, [&](int, int64_t global, int64_t mine, int rows) {
            const int columns = team.columns(l);
            const float *from = team.shared + team.room.buffer + mine;
            for (int e = (int)threadIdx.x; e < rows * columns; e += (int)blockDim.x) {
                const int64_t to = member_at + global + (int64_t)(e / columns) * team.s.row[l] +
                                   e % columns * team.size + team.rank;
                for (int b = 0; b <= n_states; b++) in_global(a, n_states, b)[to] = from[b * team.room.param_floats + e];
            }
        });
}

template <bool CLUSTER>
static __device__ __forceinline__ void count_non_finite(const kp_mlp_team<CLUSTER> &team,
                                                        const kp_mlp_params<CLUSTER> &params) {
    kp_clip_tally *tally = tally_of_warp(team.shared, team.room, team.s.n_tensors);
    for (int l = 0; l < team.s.n_layers; l++)
        each_tensor(params, l, [&](int tensor, int64_t, int64_t at, int rows) {
            uint32_t n = 0;
            for (int64_t e = threadIdx.x; e < (int64_t)rows * team.columns(l); e += blockDim.x) {
                const float x = params.theta[at + e];
                n += !(x - x == 0.0f);
            }
            count(&tally[tensor].non_finite, n);
        });
}

/* Of the warps, then of the team's blocks, in the first of which they are added to the totals. */
template <bool CLUSTER>
static __device__ __forceinline__ void add_tallies(const kp_mlp_team<CLUSTER> &team, kp_tensor_tally *total) {
    const int n = team.s.n_tensors, tensor = (int)threadIdx.x;
    kp_clip_tally *of_warp = (kp_clip_tally *)(team.shared + team.room.tally), *of_block = (kp_clip_tally *)team.shared, sum = { 0, 0 };
    team.sync(); /* nobody needs what the blocks' tallies replace */
    if (tensor < n) {
        for (int w = 0; w < team.room.warps; w++) {
            sum.outside += of_warp[w * n + tensor].outside;
            sum.non_finite += of_warp[w * n + tensor].non_finite;
        }
        kp_clip_tally *to = &of_block[team.rank * n + tensor];
        if (CLUSTER) to = kp_cluster_at(to, 0);
        *to = sum;
    }
    team.sync(); /* the last: from here on no block looks into another, which may have returned */
    if (team.rank || tensor >= n) return;
    total[tensor].non_finite = 0;
    for (int r = 0; r < team.size; r++) {
        total[tensor].outside += of_block[r * n + tensor].outside;
        total[tensor].non_finite += of_block[r * n + tensor].non_finite;
    }
}

/* ---- the kernel -------------------------------------------------------------------------------- */

template <int RULE, bool CLUSTER>
static __global__ void __launch_bounds__(KP_MLP_THREADS, CLUSTER ? 1 : KP_MLP_BLOCKS)
    stream(const __grid_constant__ kp_mlp_stream_args a, const __grid_constant__ kp_mlp_room room,
           const uint8_t *active) {
    KP_DYNAMIC_SHARED(float, shared);
    const kp_mlp_shape &s = a.shape;
    kp_mlp_team<CLUSTER> team(s, room, shared);
    const int member = team.member, n = *a.n, T = a.samples.T;
    if (!active[member]) return; /* all blocks of the team */
    enum { N_STATES = rule<RULE>::N_STATES };
    const auto buffer = [&](int b) {
        return CLUSTER ? shared + room.buffer + b * room.param_floats : in_global(a, N_STATES, b) + member * s.N;
    };
    update<RULE> step = { buffer(0), {}, a.anchor ? buffer(1 + N_STATES) : nullptr, {} };
    if (N_STATES > 0) step.state[0] = buffer(1);
    if (N_STATES > 1) step.state[1] = buffer(2);
    const kp_mlp_params<CLUSTER> params = { s, room, step.theta };
    const float *bounds = a.bound + (int64_t)member * s.n_tensors;
    const typename rule<RULE>::hyper *hyper = (const typename rule<RULE>::hyper *)a.hyper + (int64_t)member * T;
    kp_mlp_result *result = a.result + (int64_t)member * T;
    uint8_t *ever_active = a.ever_active ? a.ever_active + (int64_t)member * s.n_hidden : nullptr;
    const int reports = !team.rank && threadIdx.x < 32; /* all x are everywhere */
    float *x0 = team.x(0), *next = shared + room.next;

    team.clear();
    if constexpr (CLUSTER) fetch(team, params, a, N_STATES);
    team.load(a.samples, kp_mlp_sample(a.samples.index, T, member, 0), x0);
    for (int t = 0; t < n; t++) {
        const int64_t sample = kp_mlp_sample(a.samples.index, T, member, t);
        const int label = kp_mlp_label(a.samples.label, a.samples.label_order, s.out[s.n_layers - 1], member, sample);
        step.hyper = hyper[t];
        if (!a.anchor) step.hyper.l2init = 0.0f;
        team.forward(x0, params);
        const float loss = team.softmax(label, 1);
        if (reports) {
            const int off = team.count_off(ever_active);
            if (!threadIdx.x) result[t] = { loss, NAN, team.is_correct(label), off };
        }
        if (t + 1 < n) team.load(a.samples, kp_mlp_sample(a.samples.index, T, member, t + 1), next);
        backward(team, params, step, bounds, x0);
        if (t + 1 == n) team.keep(a.work + member * kp_mlp_work(&s), x0);
        if (a.with_after) {
            team.forward(x0, params);
            const float loss_after = team.softmax(label, 0);
            if (reports) {
                const int off = team.count_off(nullptr);
                if (!threadIdx.x) result[t].loss_after = loss_after, result[t].inactive = off;
            }
        }
        float *was = x0;
        x0 = next, next = was;
    }
    __syncthreads(); /* all updates */
    if constexpr (CLUSTER) put_back(team, params, a, N_STATES);
    count_non_finite(team, params);
    add_tallies(team, a.total + (int64_t)member * s.n_tensors);
}

/* ---- the launch -------------------------------------------------------------------------------- */

/* Of the clusters that hold a member the largest of which the device has one for each member at the same
 * time; else the smallest. Returns 0 where none does. */
template <class Kernel>
static int find_cluster(const kp_mlp_stream_args *a, int n_buffers, Kernel *kernel, kp_grid *grid, kp_mlp_room *room) {
    int size = 0;
    for (int k = 1; k <= KP_MLP_LANES; k *= 2) {
        const kp_mlp_room of_k = kp_mlp_room_of(&a->shape, k, n_buffers);
        const kp_grid g = { dim3(a->P * k), dim3(kp_mlp_threads(&a->shape, k)), grid->stream,
                            (size_t)of_k.floats * sizeof(float), k };
        const int n = g.shared_bytes <= INT_MAX ? kp_most_clusters(g, kernel) : 0;
        if (n && (!size || n >= a->P)) size = k, *grid = g, *room = of_k;
    }
    return size;
}

template <int RULE> static kp_status launch(const kp_mlp_stream_args *a, const kp_cuda *cuda, kp_err *err) {
    kp_mlp_room room = {};
    kp_grid grid = { dim3(), dim3(), cuda->stream, 0, 1 };
    if (find_cluster(a, 1 + rule<RULE>::N_STATES + (a->anchor != nullptr), stream<RULE, true>, &grid, &room))
        return kp_check_cuda(kp_launch(grid, stream<RULE, true>, *a, room, cuda->active), "mlp_stream", err);
    return kp_mlp_launch("mlp_stream", stream<RULE, false>, a, cuda, err);
}

kp_status kp_mlp_stream_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_mlp_stream_args *a = (const kp_mlp_stream_args *)args;
    static kp_status (*const launches[KP_MLP_N_RULES])(const kp_mlp_stream_args *, const kp_cuda *, kp_err *) = {
        launch<KP_MLP_SGD>, launch<KP_MLP_MOMENTUM>, launch<KP_MLP_ADAM>, launch<KP_MLP_RMSPROP>,
        launch<KP_MLP_RMSPROP_CENTERED>,
    };
    return launches[a->rule](a, cuda, err);
}
