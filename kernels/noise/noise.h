/* noise.h: numbers added to weights: standard normal, or drawn as each tensor's initialiser draws
 * (shrink and perturb; Ash & Adams 2020).
 *
 * A number belongs to (seed, step, draw, tensor, element), element being its place in PyTorch's order,
 * wherever memory has it (nn/layout.h); padding is not written. A tensor is a matrix [n_out][n_in], a
 * 1-D one [n_out][1]. KP_NOISE_RANDOM: four columns of an output share a Philox block, and normals are
 * made in pairs (Box & Muller 1958). KP_NOISE_HASH: what the reference trajectories have for
 * torch.randn_like (tests/data), uniform in [-1, 1); only step, tensor and element go into it. */
#pragma once
#include "base/philox.h"
#include "elementary.h"

typedef enum { KP_NOISE_RANDOM, KP_NOISE_HASH } kp_noise_kind;

typedef struct {
    int64_t offset;     /* floats from a member's start */
    int64_t out_stride; /* floats from an output to the next */
    int n_out, n_in;
    int column;         /* its first one in `place` */
    int first_group;    /* of four columns: in all tensors before */
    int64_t first_block; /* n_out of them to a group */
    float init_bound, init_value; /* the initialiser: init_value + U(-init_bound, +init_bound) */
} kp_noise_tensor;

typedef struct KP_ALIGN16 {
    uint64_t seed;
    int64_t step;    /* from 0 */
    uint32_t wanted; /* bit `draw`: 0 leaves the member's as it is */
    uint32_t unused[3];
} kp_noise_hyper;

typedef struct {
    int P, n_tensors, n_groups;
    int64_t n_blocks, N;
    int kind;                      /* kp_noise_kind */
    int as_initialiser;            /* 0: normal */
    int draw;                      /* which of a step's noises, 0 or 1 */
    const kp_noise_tensor *tensor; /* [n_tensors] */
    const int32_t *place;          /* of each tensor's columns: where it has output 0, from its start */
    const kp_noise_hyper *hyper;   /* [P] */
    float *noise;                  /* [P][N] */
} kp_noise_args;

enum { KP_NOISE_COLUMNS = 4 };

KP_HD int kp_noise_groups(const kp_noise_tensor *t) {
    return (t->n_in + KP_NOISE_COLUMNS - 1) / KP_NOISE_COLUMNS;
}

/* The Philox stream and counter of a group's first output; the next output's counter is
 * kp_noise_groups further. Steps to 2^34 and tensors of 2^32 elements have numbers of their own. */
KP_HD uint32_t kp_noise_stream(const kp_noise_args *a, int tensor) {
    return (uint32_t)KP_STREAM_NOISE | (uint32_t)a->draw << 8 | (uint32_t)tensor << 16;
}
KP_HD uint64_t kp_noise_counter(const kp_noise_hyper *h, int group) {
    return ((uint64_t)h->step << 30) + (uint64_t)group;
}

/* Two normals from two words. */
KP_HD void kp_normal_pair(uint32_t x, uint32_t y, float *first, float *second) {
    float u = (float)((x >> 8) + 1u) * 0x1p-24f; /* (0, 1] */
    float r = sqrtf(-2.0f * kp_ln(u)), c, s;
    kp_cos_sin_turn(y >> 8, &c, &s);
    *first = r * c;
    *second = r * s;
}

/* splitmix64 of step, tensor and element. */
KP_HD float kp_noise_hash(const kp_noise_args *a, int64_t step, int tensor, int64_t element) {
    uint64_t z = ((uint64_t)(step * a->n_tensors + tensor) << 32) + (uint64_t)element +
                 ((uint64_t)a->draw << 31);
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return ((float)(uint32_t)(z >> 40) - 0x1p+23f) * 0x1p-23f;
}

KP_HD float kp_noise_initial(uint32_t word, const kp_noise_tensor *t) {
    return kp_uniform_within(word, t->init_bound) + t->init_value;
}

KP_HD float kp_noise_hash_at(const kp_noise_args *a, int64_t step, int tensor, int out, int column) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    float z = kp_noise_hash(a, step, tensor, (int64_t)out * t->n_in + column);
    return a->as_initialiser ? z * t->init_bound + t->init_value : z;
}

KP_CUDA_C kp_status kp_noise_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
