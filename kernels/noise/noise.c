/* noise.c: a slice is a run of groups of four columns, with all outputs of each, 16 at a time. */
#include "noise.h"

#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { GROUPS_A_SLICE = 16, LANES = 16, COLUMNS = KP_NOISE_COLUMNS };

static int n_slices(const void *args) {
    return (((const kp_noise_args *)args)->n_groups + GROUPS_A_SLICE - 1) / GROUPS_A_SLICE;
}

/* kp_philox of LANES counters, a word in 64 bits. The compiler does not see that a product of 32
 * bits by 32 is one instruction; nobody reads the upper halves that are left behind in x1 and x3.
 */
#ifdef __AVX2__
enum { AT_ONCE = 2, WIDTH = 4 }; /* vectors, whose chains of products overlap, of so many lanes */
static void philox_rounds(uint64_t seed, uint64_t x[COLUMNS][LANES]) {
    const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57);
    for (int l = 0; l < LANES; l += AT_ONCE * WIDTH) {
        __m256i v[AT_ONCE][COLUMNS];
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int i = 0; i < AT_ONCE; i++)
            for (int k = 0; k < COLUMNS; k++)
                v[i][k] = _mm256_loadu_si256((__m256i *)&x[k][l + i * WIDTH]);
        for (int round = 0; round < KP_PHILOX_ROUNDS; round++) {
            const __m256i key0 = _mm256_set1_epi64x(k0), key1 = _mm256_set1_epi64x(k1);
            for (int i = 0; i < AT_ONCE; i++) {
                __m256i a = _mm256_mul_epu32(m0, v[i][0]), b = _mm256_mul_epu32(m1, v[i][2]);
                __m256i c = _mm256_xor_si256(v[i][1], key0), d = _mm256_xor_si256(v[i][3], key1);
                v[i][0] = _mm256_xor_si256(_mm256_srli_epi64(b, 32), c);
                v[i][1] = b;
                v[i][2] = _mm256_xor_si256(_mm256_srli_epi64(a, 32), d);
                v[i][3] = a;
            }
            k0 += KP_PHILOX_K0, k1 += KP_PHILOX_K1;
        }
        for (int i = 0; i < AT_ONCE; i++)
            for (int k = 0; k < COLUMNS; k++)
                _mm256_storeu_si256((__m256i *)&x[k][l + i * WIDTH], v[i][k]);
    }
}
#else
static void philox_rounds(uint64_t seed, uint64_t x[COLUMNS][LANES]) {
    for (int l = 0; l < LANES; l++) {
        uint64_t counter = (x[1][l] << 32) + x[0][l];
        kp_philox_block b = kp_philox(seed, (uint32_t)x[2][l], counter);
        for (int k = 0; k < COLUMNS; k++) x[k][l] = b.x[k];
    }
}
#endif

static void draw_blocks(uint64_t seed, uint32_t stream, uint64_t counter, uint64_t stride,
                        uint32_t word[COLUMNS][LANES]) {
    uint64_t x[COLUMNS][LANES];
    for (int l = 0; l < LANES; l++) {
        uint64_t c = counter + (uint64_t)l * stride;
        x[0][l] = (uint32_t)c, x[1][l] = c >> 32, x[2][l] = stream, x[3][l] = 0;
    }
    philox_rounds(seed, x);
    for (int k = 0; k < COLUMNS; k++)
        for (int l = 0; l < LANES; l++) word[k][l] = (uint32_t)x[k][l];
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

static void draw_hash(const kp_noise_args *a, const kp_noise_hyper *h, int tensor, int group,
                      int out, float z[COLUMNS][LANES]) {
    for (int k = 0; k < COLUMNS; k++)
        for (int l = 0; l < LANES; l++)
            z[k][l] = kp_noise_hash_at(a, h->step, tensor, out + l, COLUMNS * group + k);
}

static void fill_group(const kp_noise_args *a, const kp_noise_hyper *h, int tensor, int group,
                       float *noise) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    float z[COLUMNS][LANES];
    int first = COLUMNS * group, columns = t->n_in - first < COLUMNS ? t->n_in - first : COLUMNS;
    for (int out = 0; out < t->n_out; out += LANES) {
        int lanes = t->n_out - out < LANES ? t->n_out - out : LANES;
        (a->kind == KP_NOISE_RANDOM ? draw_random : draw_hash)(a, h, tensor, group, out, z);
        for (int k = 0; k < columns; k++) {
            float *to = noise + t->offset + a->place[t->column + first + k] + out * t->out_stride;
            if (t->out_stride == 1) memcpy(to, z[k], (size_t)lanes * sizeof *to);
            else
                for (int l = 0; l < lanes; l++) to[l * t->out_stride] = z[k][l];
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
