/* noise.cu: grid (blocks of numbers / THREADS, P); a thread has one output's four columns, neighbours
 * have neighbouring outputs. */
#include "kp_cuda.h"
#include "noise.h"

enum { THREADS = 256, COLUMNS = KP_NOISE_COLUMNS };

static __global__ void __launch_bounds__(THREADS) fill(kp_noise_args a, const uint8_t *active) {
    int64_t block = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    kp_noise_hyper h = a.hyper[blockIdx.y];
    if (!active[blockIdx.y] || block >= a.n_blocks || !(h.wanted >> a.draw & 1u)) return;
    int tensor = 0;
    while (tensor + 1 < a.n_tensors && a.tensor[tensor + 1].first_block <= block) tensor++;
    kp_noise_tensor t = a.tensor[tensor];
    int64_t at = block - t.first_block;
    int group = (int)(at / t.n_out), out = (int)(at % t.n_out), first = COLUMNS * group;
    kp_philox_block x = kp_philox(h.seed, kp_noise_stream(&a, tensor),
                                  kp_noise_counter(&h, group) + (uint64_t)out * kp_noise_groups(&t));
    float z[COLUMNS];
    if (a.kind != KP_NOISE_RANDOM)
        for (int k = 0; k < COLUMNS; k++) z[k] = kp_noise_hash_at(&a, h.step, tensor, out, first + k);
    else if (a.as_initialiser)
        for (int k = 0; k < COLUMNS; k++) z[k] = kp_noise_initial(x.x[k], &t);
    else
        for (int k = 0; k < COLUMNS; k += 2) kp_normal_pair(x.x[k], x.x[k + 1], &z[k], &z[k + 1]);
    float *to = a.noise + blockIdx.y * a.N + t.offset + out * t.out_stride;
    for (int k = 0; k < COLUMNS; k++)
        if (first + k < t.n_in) to[a.place[t.column + first + k]] = z[k];
}

kp_status kp_noise_cuda(const void *args, const kp_cuda *cuda, kp_err *err) {
    const kp_noise_args *a = (const kp_noise_args *)args;
    return kp_check_cuda(kp_launch(dim3((unsigned)((a->n_blocks + THREADS - 1) / THREADS), a->P),
                                   dim3(THREADS), cuda->stream, fill, *a, cuda->active),
                         "noise", err);
}
