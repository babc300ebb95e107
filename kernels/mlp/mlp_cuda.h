/* mlp_cuda.h: what the kernels of mlp.h share: a sample's way through a member's net and back, made by a
 * team, which is one block or the blocks of a cluster. Block `rank` of `size` (1, 2, 4, 8 or 16) has the
 * units o of every layer with o % size == rank: unit i of a block is o = i size + rank. So it has whole lanes
 * of the sums over units (mlp.h): its sums along a lane are its own, and of the tree's steps only the last,
 * over as many values as there are blocks, join what others made. Every block keeps the inputs of all layers,
 * which the blocks of their units send.
 *
 *     forward       a thread makes a unit's sum over inputs; a barrier of the team for each layer
 *     softmax       in every block the same, from all logits
 *     backward      a thread has an input and a lane: with each weight that it reads for dx its gradient is
 *                   known, and is taken to memory or to the update rule; a barrier of the team for each layer
 *
 * All functions are called by all threads of the team. */
#pragma once
#include <limits.h>

#include "kp_cuda.h"
#include "mlp/mlp_unit.h"

/* 64 registers a thread leave room for two blocks on a multiprocessor. */
enum { KP_MLP_THREADS = 512, KP_MLP_BLOCKS = 2 };

/* What lies where in a block's shared memory, in floats from its start. */
typedef struct {
    int size;                 /* blocks of the team */
    int x[KP_MLP_LAYERS + 1]; /* [in] inputs of the layers; the last: logits */
    int next;                 /* [in] of the first layer, of the sample that follows */
    int d[KP_MLP_LAYERS];     /* [row / size] of the block's units, as normal */
    int normal[KP_MLP_LAYERS]; /* with layer norm: the normalised z */
    int r[KP_MLP_LAYERS];     /* [1] and what it has been multiplied by */
    int expz;                 /* [classes] */
    int dx[2];                /* [in of a layer, by unit][size] sums by block; of layers in turn */
    int lanes;                /* [2][KP_MLP_LANES] partial sums over units, of sums in turn */
    int warps, tally;         /* kp_clip_tally [warps][n_tensors]; at the end those of blocks, [size][n_tensors],
                                 take the place of all that is before */
    int buffer;               /* [n_buffers] of the parameters' size; 0 floats where they stay in global memory */
    int weight[KP_MLP_LAYERS], bias[KP_MLP_LAYERS]; /* in such a buffer */
    int gain[KP_MLP_LAYERS], shift[KP_MLP_LAYERS];
    int param_floats; /* of one */
    int64_t floats;   /* all; the other numbers hold where this fits into shared memory */
} kp_mlp_room;

static inline int kp_mlp_take(kp_mlp_room *m, int64_t floats) {
    int64_t at = m->floats;
    m->floats += floats;
    return (int)at;
}

/* Threads of a block: of as many as it takes to give each one input and lane of the largest layer, or of
 * as few rounds as KP_MLP_THREADS allow, no more than those need. */
static inline int kp_mlp_threads(const kp_mlp_shape *s, int size) {
    int64_t most = 32;
    for (int l = 0; l < s->n_layers; l++) {
        int64_t n = (int64_t)s->in[l] * (KP_MLP_LANES / size);
        most = n > most ? n : most;
    }
    int64_t rounds = (most + KP_MLP_THREADS - 1) / KP_MLP_THREADS;
    return (int)((most + rounds - 1) / rounds + 31) / 32 * 32;
}

/* n_buffers: theta, state and anchor, if they are to be in shared memory; 0 else. */
static inline kp_mlp_room kp_mlp_room_of(const kp_mlp_shape *s, int size, int n_buffers) {
    kp_mlp_room m = {};
    const int last = s->n_layers - 1, has_norm = s->gain[0] >= 0;
    int64_t inputs = 0, params = 0;
    m.size = size;
    for (int l = 0; l <= last; l++) m.x[l] = kp_mlp_take(&m, kp_mlp_padded(s->in[l]));
    m.x[last + 1] = kp_mlp_take(&m, s->row[last]);
    m.next = kp_mlp_take(&m, kp_mlp_padded(s->in[0]));
    m.expz = kp_mlp_take(&m, s->row[last]);
    for (int l = 0; l <= last; l++) {
        const int units = s->row[l] / size, outputs = kp_mlp_outputs(s, l) / s->out[l] * s->row[l];
        m.d[l] = kp_mlp_take(&m, units);
        m.normal[l] = kp_mlp_take(&m, has_norm && l < last ? units : 0);
        m.r[l] = kp_mlp_take(&m, has_norm && l < last);
        if (l < last && outputs > inputs) inputs = outputs;
        m.weight[l] = (int)params, params += (int64_t)s->in[l] * units;
        m.bias[l] = (int)params, params += units;
        m.gain[l] = (int)params, params += s->gain[l] >= 0 ? units : 0;
        m.shift[l] = (int)params, params += s->gain[l] >= 0 ? units : 0;
    }
    for (int i = 0; i < 2; i++) m.dx[i] = kp_mlp_take(&m, inputs);
    m.lanes = kp_mlp_take(&m, 2 * KP_MLP_LANES);
    if (m.floats < 2 * size * s->n_tensors) m.floats = 2 * size * s->n_tensors;
    m.warps = kp_mlp_threads(s, size) / 32;
    m.tally = kp_mlp_take(&m, 2 * m.warps * s->n_tensors);
    m.param_floats = (int)params;
    m.buffer = kp_mlp_take(&m, n_buffers * params);
    return m;
}

/* Where a member's parameters are: in global memory as shape says or, CLUSTER, in shared memory as room does. */
template <bool CLUSTER> struct kp_mlp_params {
    const kp_mlp_shape &s;
    const kp_mlp_room &room;
    const float *theta;

    __device__ __forceinline__ int64_t weight_at(int l) const { return CLUSTER ? room.weight[l] : s.weight[l]; }
    __device__ __forceinline__ int64_t bias_at(int l) const { return CLUSTER ? room.bias[l] : s.bias[l]; }
    __device__ __forceinline__ int64_t gain_at(int l) const { return CLUSTER ? room.gain[l] : s.gain[l]; }
    __device__ __forceinline__ int64_t shift_at(int l) const { return CLUSTER ? room.shift[l] : s.shift[l]; }

    __device__ __forceinline__ const float *weight(int l) const { return theta + weight_at(l); }
    __device__ __forceinline__ const float *bias(int l) const { return theta + bias_at(l); }
    __device__ __forceinline__ const float *gain(int l) const { return theta + gain_at(l); }
    __device__ __forceinline__ const float *shift(int l) const { return theta + shift_at(l); }
};

/* The sum of the partial sums k, k + N, k + 2 N, ... in the order of mlp.h. */
template <int N> static __device__ __forceinline__ float kp_mlp_tree(const float *lane, int k) {
    if constexpr (N == KP_MLP_LANES) return lane[k];
    else return kp_mlp_tree<2 * N>(lane, k) + kp_mlp_tree<2 * N>(lane, k + N);
}

/* sum over j < n of x_j w_j, added to z; rows of weights are `row` floats apart. x is 16-byte aligned, its
 * padding zero. Weights of inputs that are zero are not read. */
static __device__ __forceinline__ float kp_mlp_dot(float z, const float *x, const float *w, int n, int row) {
    enum { AT_ONCE = 8 }; /* loads that do not wait for one another */
    for (int j = 0; j < n; j += AT_ONCE, w += (int64_t)AT_ONCE * row) {
        float xs[AT_ONCE], ws[AT_ONCE];
        KP_UNROLL_ALL for (int k = 0; k < AT_ONCE; k += 4) {
            const float4 four = *(const float4 *)(x + j + k);
            xs[k] = four.x, xs[k + 1] = four.y, xs[k + 2] = four.z, xs[k + 3] = four.w;
        }
        KP_UNROLL_ALL for (int k = 0; k < AT_ONCE; k++)
            ws[k] = xs[k] != 0.0f ? w[(int64_t)k * row] : 0.0f;
        KP_UNROLL_ALL for (int k = 0; k < AT_ONCE; k++)
            z = xs[k] != 0.0f ? fmaf(xs[k], ws[k], z) : z;
    }
    return z;
}

/* CLUSTER: the team may have more than one block, and the parameters are in its shared memory. */
template <bool CLUSTER> struct kp_mlp_team {
    const kp_mlp_shape &s;
    const kp_mlp_room &room;
    float *shared;
    const int member, size, rank, lanes;
    int turn = 0; /* of room.lanes */

    __device__ __forceinline__ kp_mlp_team(const kp_mlp_shape &shape, const kp_mlp_room &place, float *memory)
        : s(shape), room(place), shared(memory), member((int)blockIdx.x / (CLUSTER ? place.size : 1)),
          size(CLUSTER ? place.size : 1), rank(CLUSTER ? kp_cluster_rank() : 0), lanes(KP_MLP_LANES / size) {}

    __device__ __forceinline__ void sync() const {
        if (CLUSTER) kp_cluster_sync();
        else __syncthreads();
    }

    __device__ __forceinline__ float *x(int l) const { return shared + room.x[l]; }
    __device__ __forceinline__ float *d(int l) const { return shared + room.d[l]; }
    __device__ __forceinline__ float *normal(int l) const { return shared + room.normal[l]; }
    __device__ __forceinline__ const float *logits() const { return shared + room.x[s.n_layers]; }

    /* Of a layer: columns of weights that the block has, and units, which are fewer by the padding. */
    __device__ __forceinline__ int columns(int l) const { return s.row[l] / size; }
    __device__ __forceinline__ int units(int l) const { return (s.out[l] - rank + size - 1) / size; }

    /* To the same place in block `to`, or in every block. What is sent is there after a sync. */
    __device__ __forceinline__ void send(float *at, float value, int to) const {
        if (CLUSTER) *kp_cluster_at(at, to) = value;
        else *at = value;
    }
    __device__ __forceinline__ void send_all(float *at, float value) const {
        for (int to = 0; to < size; to++) send(at, value, to);
    }

    /* All of shared memory up to the parameters; the padding of x and d stays as it is made here. */
    __device__ __forceinline__ void clear() const {
        for (int i = (int)threadIdx.x; i < room.buffer; i += (int)blockDim.x) shared[i] = 0.0f;
        __syncthreads();
    }

    __device__ __forceinline__ void load(const kp_mlp_samples &from, int64_t sample, float *to) const {
        for (int j = (int)threadIdx.x; j < s.in[0]; j += (int)blockDim.x)
            to[j] = kp_mlp_input(&from, s.in[0], member, sample, j);
    }

    /* Over the units of layer l, in lanes: add(sum, i) adds the block's unit i, from what any of its
     * threads left in memory. Every thread of the team gets the sum. */
    template <class Add> __device__ __forceinline__ float sum_units(int l, Add add) {
        float *lane = shared + room.lanes + turn * KP_MLP_LANES;
        turn ^= 1;
        __syncthreads();
        if ((int)threadIdx.x < lanes) {
            float sum = 0.0f;
            for (int i = (int)threadIdx.x; i < units(l); i += lanes) sum = add(sum, i);
            send_all(&lane[(int)threadIdx.x * size + rank], sum);
        }
        sync();
        return kp_mlp_tree<1>(lane, 0);
    }

    /* ---- forward ---- */

    __device__ __forceinline__ void activate(int l, int i, float y) const {
        const int o = i * size + rank;
        if (l + 1 == s.n_layers) {
            send_all(x(l + 1) + o, y);
            return;
        }
        send_all(x(l + 1) + o, kp_mlp_activate(s.activation, y));
        if (s.activation == KP_MLP_CRELU) send_all(x(l + 1) + s.out[l] + o, kp_mlp_activate(s.activation, -y));
    }

    __device__ __forceinline__ void normalise(int l, const kp_mlp_params<CLUSTER> &params) {
        float *z = normal(l);
        const float n = (float)s.out[l];
        const float mean = sum_units(l, [&](float sum, int i) { return sum + z[i]; }) / n;
        const float variance = sum_units(l, [&](float sum, int i) {
            float c = z[i] - mean;
            return fmaf(c, c, sum);
        }) / n;
        const float r = 1.0f / sqrtf(variance + KP_MLP_NORM_EPS), *gain = params.gain(l), *shift = params.shift(l);
        if (!threadIdx.x) shared[room.r[l]] = r;
        for (int i = (int)threadIdx.x; i < units(l); i += (int)blockDim.x) {
            z[i] = (z[i] - mean) * r;
            activate(l, i, fmaf(gain[i], z[i], shift[i]));
        }
    }

    /* x0 and the parameters may have been written just before, by the threads of each block. */
    __device__ __forceinline__ void forward(const float *x0, const kp_mlp_params<CLUSTER> &params) {
        for (int l = 0; l < s.n_layers; l++) {
            sync();
            const float *xs = l ? x(l) : x0, *w = params.weight(l), *bias = params.bias(l);
            for (int i = (int)threadIdx.x; i < units(l); i += (int)blockDim.x) {
                const float z = kp_mlp_dot(bias[i], xs, w + i, s.in[l], columns(l));
                if (s.gain[l] >= 0) normal(l)[i] = z;
                else activate(l, i, z);
            }
            if (s.gain[l] >= 0) normalise(l, params);
        }
        sync();
    }

    /* Hidden units that are off; marks those that are not. For the first warp of the first block: sees all x. */
    __device__ __forceinline__ int count_off(uint8_t *ever_active) const {
        uint32_t off = 0;
        for (int l = 0, first = 0; l + 1 < s.n_layers; first += s.out[l++])
            for (int o = (int)threadIdx.x; o < s.out[l]; o += 32) {
                int is_off = kp_mlp_is_off(s.activation, x(l + 1)[o]);
                off += (uint32_t)is_off;
                if (ever_active && !is_off) ever_active[first + o] = 1;
            }
        return (int)__reduce_add_sync(0xffffffffu, off);
    }

    __device__ __forceinline__ int is_correct(int label) const {
        const float *z = logits();
        int first = 0;
        for (int k = 1; k < s.out[s.n_layers - 1]; k++)
            if (z[k] > z[first]) first = k;
        return first == label;
    }

    /* The loss, as in softmax_xent.h; with_d: and its gradient at the logits. */
    __device__ __forceinline__ float softmax(int label, int with_d) const {
        const int last = s.n_layers - 1, n = s.out[last];
        const float *z = logits();
        float *expz = shared + room.expz, largest = z[0], sum;
        for (int k = 1; k < n; k++) largest = z[k] > largest ? z[k] : largest;
        for (int k = (int)threadIdx.x; k < n; k += (int)blockDim.x) expz[k] = kp_exp(z[k] - largest);
        __syncthreads();
        sum = expz[0];
        for (int k = 1; k < n; k++) sum += expz[k];
        for (int i = (int)threadIdx.x; with_d && i < units(last); i += (int)blockDim.x) {
            const int o = i * size + rank;
            const float p = expz[o] / sum;
            d(last)[i] = o == label ? p - 1.0f : p;
        }
        __syncthreads();
        return logf(sum) - (z[label] - largest);
    }

    /* ---- backward ---- */

    /* Where the block's sum of dx_j of layer l > 0 goes: to the block of the unit that made x_j. */
    __device__ __forceinline__ void send_dx(int l, int j, float sum) const {
        const int out = s.out[l - 1], second = j >= out, o = j - second * out;
        const int at = second * columns(l - 1) + o / size;
        send(shared + room.dx[l & 1] + at * size + rank, sum, o % size);
    }

    /* The sum of what the blocks have sent, the tree's last steps; at as above. */
    __device__ __forceinline__ float take_dx(int l, int at) const {
        float *sum = shared + room.dx[l & 1] + at * size;
        for (int n = size / 2; n > 0; n /= 2)
            for (int k = 0; k < n; k++) sum[k] += sum[k + n];
        return sum[0];
    }

    /* Calls step(at, g) with the gradient g of the weight at params.weight(l)[at], of every weight in the
     * block's columns, after it has been read: g is 0 in the padding. */
    template <class Step>
    __device__ __forceinline__ void weights_back(int l, const float *x0, const kp_mlp_params<CLUSTER> &params,
                                                 Step step) const {
        const float *xs = l ? x(l) : x0, *ds = d(l), *w = params.weight(l);
        const int lane = (int)threadIdx.x % lanes, rows = (int)blockDim.x / lanes, columns_ = columns(l), units_ = units(l);
        for (int first = 0; first < s.in[l]; first += rows) {
            const int j = first + (int)threadIdx.x / lanes, is_there = j < s.in[l];
            const float xj = is_there ? xs[j] : 0.0f;
            float sum = 0.0f;
            for (int i = lane; is_there && i < columns_; i += lanes) {
                const int64_t at = (int64_t)j * columns_ + i;
                if (l) sum = fmaf(w[at], ds[i], sum);
                step(at, i < units_ ? xj * ds[i] : 0.0f);
            }
            if (!l) continue;
            for (int n = lanes / 2; n > 0; n /= 2) sum += __shfl_sync(0xffffffffu, sum, lane + n, lanes);
            if (is_there && !lane) send_dx(l, j, sum);
        }
    }

    /* From dx of layer l + 1 to d of hidden layer l. With layer norm gain_step(i, g) and shift_step(i, g) are
     * called with the gradients of the block's unit i. */
    template <class GainStep, class ShiftStep>
    __device__ __forceinline__ void units_back(int l, const kp_mlp_params<CLUSTER> &params, GainStep gain_step,
                                               ShiftStep shift_step) {
        float *ds = d(l);
        const float *after = x(l + 1), *n = normal(l), *gain = params.gain(l);
        const int has_norm = s.gain[l] >= 0;
        sync();
        for (int i = (int)threadIdx.x; i < units(l); i += (int)blockDim.x) {
            const int o = i * size + rank;
            float dy = kp_mlp_slope(s.activation, take_dx(l + 1, i), after[o]);
            if (s.activation == KP_MLP_CRELU)
                dy -= kp_mlp_slope(s.activation, take_dx(l + 1, columns(l) + i), after[s.out[l] + o]);
            ds[i] = dy;
            if (!has_norm) continue;
            ds[i] = dy * gain[i];
            gain_step(i, dy * n[i]);
            shift_step(i, dy);
        }
        if (has_norm) {
            const float out = (float)s.out[l], r = shared[room.r[l]];
            const float mean = sum_units(l, [&](float sum, int i) { return sum + ds[i]; }) / out;
            const float mean_n = sum_units(l, [&](float sum, int i) { return fmaf(ds[i], n[i], sum); }) / out;
            for (int i = (int)threadIdx.x; i < units(l); i += (int)blockDim.x)
                ds[i] = r * fmaf(-n[i], mean_n, ds[i] - mean);
        }
        __syncthreads();
    }

    /* x and d as mlp.h has them in memory. */
    __device__ __forceinline__ void keep(float *work, const float *x0) const {
        for (int l = 0; l < s.n_layers; l++) {
            const float *xs = l ? x(l) : x0;
            float *to = work + kp_mlp_x(&s, l), *d_to = work + kp_mlp_d(&s, l);
            for (int j = (int)threadIdx.x; !rank && j < (int)kp_mlp_padded(s.in[l]); j += (int)blockDim.x) to[j] = xs[j];
            for (int i = (int)threadIdx.x; i < columns(l); i += (int)blockDim.x) d_to[i * size + rank] = d(l)[i];
        }
    }
};

/* By one block for each member, whose parameters stay in global memory. */
template <class Args>
static inline kp_status kp_mlp_launch(const char *op, void (*kernel)(Args, kp_mlp_room, const uint8_t *),
                                      const Args *a, const kp_cuda *cuda, kp_err *err) {
    const kp_mlp_room room = kp_mlp_room_of(&a->shape, 1, 0);
    const kp_grid grid = { dim3(a->P), dim3(kp_mlp_threads(&a->shape, 1)), cuda->stream,
                           (size_t)room.floats * sizeof(float), 1 };
    const cudaError_t code = grid.shared_bytes <= INT_MAX ? kp_launch(grid, kernel, *a, room, cuda->active)
                                                          : cudaErrorInvalidValue;
    if (code == cudaSuccess) return KP_OK;
    return kp_fail(err, KP_DEVICE, "%s: %s (CUDA error %d); the net's inputs and units take %zu bytes of a block's "
                   "shared memory", op, cudaGetErrorString(code), (int)code, grid.shared_bytes);
}
