/* noise.c: a slice is a run of groups of four columns, with all outputs of each, 16 at a time, so
 * that the rounds vectorise over them. */
#include "noise.h"

enum { GROUPS_A_SLICE = 16, LANES = 16, COLUMNS = KP_NOISE_COLUMNS };

static int n_slices(const void *args) {
    return (((const kp_noise_args *)args)->n_groups + GROUPS_A_SLICE - 1) / GROUPS_A_SLICE;
}

/* kp_philox of LANES counters. */
static void draw_blocks(uint64_t seed, uint32_t stream, uint64_t counter, uint64_t stride,
                        uint32_t x[COLUMNS][LANES]) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int l = 0; l < LANES; l++) {
        uint64_t c = counter + (uint64_t)l * stride;
        x[0][l] = (uint32_t)c, x[1][l] = (uint32_t)(c >> 32), x[2][l] = stream, x[3][l] = 0;
    }
    for (int round = 0; round < KP_PHILOX_ROUNDS; round++) {
        for (int l = 0; l < LANES; l++) {
            kp_philox_block c = { { x[0][l], x[1][l], x[2][l], x[3][l] } };
            c = kp_philox_round(c, k0, k1);
            x[0][l] = c.x[0], x[1][l] = c.x[1], x[2][l] = c.x[2], x[3][l] = c.x[3];
        }
        k0 += KP_PHILOX_K0, k1 += KP_PHILOX_K1;
    }
}

static void draw_random(const kp_noise_args *a, const kp_noise_hyper *h, int tensor, int group,
                        int out, float z[COLUMNS][LANES]) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    uint32_t x[COLUMNS][LANES];
    uint64_t stride = (uint64_t)kp_noise_groups(t);
    draw_blocks(h->seed, kp_noise_stream(a, tensor),
                kp_noise_counter(h, group) + (uint64_t)out * stride, stride, x);
    if (a->as_initialiser) {
        for (int k = 0; k < COLUMNS; k++)
            for (int l = 0; l < LANES; l++) z[k][l] = kp_noise_uniform(x[k][l], t->init_bound);
        return;
    }
    for (int k = 0; k < COLUMNS; k += 2)
        for (int l = 0; l < LANES; l++)
            kp_normal_pair(x[k][l], x[k + 1][l], &z[k][l], &z[k + 1][l]);
}

static void fill_group(const kp_noise_args *a, const kp_noise_hyper *h, int tensor, int group,
                       float *noise) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    float z[COLUMNS][LANES];
    int first = COLUMNS * group, columns = t->n_in - first < COLUMNS ? t->n_in - first : COLUMNS;
    for (int out = 0; out < t->n_out; out += LANES) {
        int lanes = t->n_out - out < LANES ? t->n_out - out : LANES;
        if (a->kind == KP_NOISE_RANDOM) draw_random(a, h, tensor, group, out, z);
        for (int k = 0; k < columns; k++) {
            float *to = noise + t->offset + a->place[t->column + first + k] + out * t->out_stride;
            for (int l = 0; l < lanes; l++)
                to[l * t->out_stride] = a->kind == KP_NOISE_RANDOM
                                            ? z[k][l]
                                            : kp_noise_hash_at(a, h->step, tensor, out + l,
                                                               first + k);
        }
    }
}

static void run(const void *args, int member, int slice, void *scratch) {
    (void)scratch;
    const kp_noise_args *a = args;
    kp_noise_hyper h = a->hyper[member];
    int end = (slice + 1) * GROUPS_A_SLICE, tensor = 0;
    if (end > a->n_groups) end = a->n_groups;
    if (!(h.wanted >> a->draw & 1u)) return;
    for (int g = slice * GROUPS_A_SLICE; g < end; g++) {
        while (tensor + 1 < a->n_tensors && a->tensor[tensor + 1].first_group <= g) tensor++;
        fill_group(a, &h, tensor, g - a->tensor[tensor].first_group, a->noise + member * a->N);
    }
}

const kp_op KP_ISA(kp_op_noise) = {
    .name = "noise",
    .args_bytes = sizeof(kp_noise_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = KP_CUDA_FN(kp_noise_cuda),
};
