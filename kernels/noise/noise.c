/* noise.c: a slice is a run of groups of four columns, with all outputs of each, a vector at a
 * time. */
#include "noise.h"
#include "vec_elementary.h"

enum { GROUPS_A_SLICE = 16, COLUMNS = KP_NOISE_COLUMNS };

static int n_slices(const void *args) {
    return (((const kp_noise_args *)args)->n_groups + GROUPS_A_SLICE - 1) / GROUPS_A_SLICE;
}

typedef struct {
    kp_vec_wide of[KP_PHILOX_ROUNDS][2];
} keys;

static keys keys_of(uint64_t seed) {
    keys k;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < KP_PHILOX_ROUNDS; round++) {
        k.of[round][0] = (kp_vec_wide){ 0 } + k0;
        k.of[round][1] = (kp_vec_wide){ 0 } + k1;
        k0 += KP_PHILOX_K0, k1 += KP_PHILOX_K1;
    }
    return k;
}

/* kp_philox of KP_VEC counters, `stride` apart. Those of even and of odd outputs lie in vectors of
 * their own, a word in the lower half of 64 bits: then a product of words is one instruction.
 * Nobody reads what is left in the upper halves. */
KP_HD void draw_blocks(const keys *key, uint32_t stream, uint64_t counter, uint64_t stride,
                       kp_vec_words word[COLUMNS]) {
    enum { WIDE = KP_VEC / 2 };
    const kp_vec_wide m0 = (kp_vec_wide){ 0 } + 0xD2511F53u, m1 = (kp_vec_wide){ 0 } + 0xCD9E8D57u;
    kp_vec_wide v[2][COLUMNS]; /* of even outputs, of odd ones */
    kp_vec_wide place = { 0 };
    for (int l = 0; l < WIDE; l++) place[l] = 2 * (uint64_t)l;
    for (int odd = 0; odd < 2; odd++) {
        v[odd][0] = kp_vec_product(place + (uint64_t)odd, (kp_vec_wide){ 0 } + stride) + counter;
        v[odd][1] = v[odd][0] >> 32;
        v[odd][2] = (kp_vec_wide){ 0 } + stream;
        v[odd][3] = (kp_vec_wide){ 0 };
    }
    KP_UNROLL for (int round = 0; round < KP_PHILOX_ROUNDS; round++)
        KP_UNROLL for (int odd = 0; odd < 2; odd++) {
        kp_vec_wide *x = v[odd];
        kp_vec_wide a = kp_vec_product(m0, x[0]), b = kp_vec_product(m1, x[2]);
        x[0] = (b >> 32) ^ x[1] ^ key->of[round][0];
        x[1] = b;
        x[2] = (a >> 32) ^ x[3] ^ key->of[round][1];
        x[3] = a;
    }
    for (int k = 0; k < COLUMNS; k++)
        word[k] = (kp_vec_words)((v[0][k] & 0xffffffffu) | v[1][k] << 32);
}

/* kp_normal_pair */
static void normal_pair(kp_vec_words x, kp_vec_words y, kp_vec *first, kp_vec *second) {
    kp_vec u = kp_vec_of_words((x >> 8) + 1u) * 0x1p-24f, c, s;
    kp_vec r = kp_vec_sqrt(-2.0f * kp_vec_ln(u));
    kp_vec_cos_sin_turn(y >> 8, &c, &s);
    *first = r * c;
    *second = r * s;
}

static void draw_random(const kp_noise_args *a, const kp_noise_hyper *h, const keys *key,
                        int tensor, int group, int out, kp_vec z[COLUMNS]) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    kp_vec_words x[COLUMNS];
    uint64_t stride = (uint64_t)kp_noise_groups(t);
    draw_blocks(key, kp_noise_stream(a, tensor),
                kp_noise_counter(h, group) + (uint64_t)out * stride, stride, x);
    if (a->as_initialiser) /* kp_noise_initial */
        for (int k = 0; k < COLUMNS; k++)
            z[k] = (2.0f * (kp_vec_of_words(x[k] >> 8) * 0x1p-24f) - 1.0f) * t->init_bound +
                   t->init_value;
    else
        for (int k = 0; k < COLUMNS; k += 2) normal_pair(x[k], x[k + 1], &z[k], &z[k + 1]);
}

static void draw_hash(const kp_noise_args *a, const kp_noise_hyper *h, int tensor, int group,
                      int out, kp_vec z[COLUMNS]) {
    for (int k = 0; k < COLUMNS; k++)
        for (int l = 0; l < KP_VEC; l++)
            z[k][l] = kp_noise_hash_at(a, h->step, tensor, out + l, COLUMNS * group + k);
}

static void fill_group(const kp_noise_args *a, const kp_noise_hyper *h, const keys *key, int tensor,
                       int group, float *noise) {
    const kp_noise_tensor *t = &a->tensor[tensor];
    int first = COLUMNS * group, columns = t->n_in - first < COLUMNS ? t->n_in - first : COLUMNS;
    for (int out = 0; out < t->n_out; out += KP_VEC) {
        int lanes = t->n_out - out < KP_VEC ? t->n_out - out : KP_VEC;
        kp_vec z[COLUMNS];
        if (a->kind == KP_NOISE_RANDOM) draw_random(a, h, key, tensor, group, out, z);
        else draw_hash(a, h, tensor, group, out, z);
        for (int k = 0; k < columns; k++) {
            float *to = noise + t->offset + a->place[t->column + first + k] + out * t->out_stride;
            if (t->out_stride == 1 && lanes == KP_VEC) kp_vec_store(to, z[k]);
            else
                for (int l = 0; l < lanes; l++) to[l * t->out_stride] = z[k][l];
        }
    }
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)scratch;
    const kp_noise_args *a = args;
    kp_noise_hyper h = a->hyper[member];
    int end = slices.end * GROUPS_A_SLICE, tensor = 0;
    if (end > a->n_groups) end = a->n_groups;
    if (!(h.wanted >> a->draw & 1u)) return;
    const keys key = keys_of(h.seed);
    for (int g = slices.begin * GROUPS_A_SLICE; g < end; g++) {
        while (tensor + 1 < a->n_tensors && a->tensor[tensor + 1].first_group <= g) tensor++;
        fill_group(a, &h, &key, tensor, g - a->tensor[tensor].first_group,
                   a->noise + member * a->N);
    }
}

const kp_op KP_ISA(kp_op_noise) = {
    .name = "noise",
    .args_bytes = sizeof(kp_noise_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_noise_cuda,
};
