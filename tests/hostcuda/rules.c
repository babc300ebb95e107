/* rules.c: whole optimizers on the emulated device: every rule with everything around it, in
 * blocks, leaves the bits that it leaves on the CPU. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "hostcuda/hostcuda.h"
#include "optim/optim.h"

enum {
    P = 3,
    CHUNKS = 4,
    N = CHUNKS * KP_CHUNK,
    BLOCK = 3,
    MAX_BUFFERS = 1 + KP_OPTIM_MAX_MOMENTS
};

static kp_tensor tensors[2] = {
    { .name = "fc.weight",
      .n_dims = 2,
      .dims = { 30, 70 },
      .count = 2100,
      .n_chunks = 3,
      .order = KP_ORDER_HWC_OUT,
      .flat_h = 1,
      .flat_w = 7,
      .flat_c = 10,
      .init_bound = 0.5f,
      .scale_fan_in = 0.125f },
    { .name = "fc.bias",
      .role = KP_BIAS,
      .n_dims = 1,
      .dims = { 30 },
      .count = 30,
      .offset = 3 * KP_CHUNK,
      .n_chunks = 1,
      .scale_fan_in = 0.125f },
};
static int32_t chunk_tensor[CHUNKS] = { 0, 0, 0, 1 };
static kp_layout layout = {
    .n_tensors = 2, .n_chunks = CHUNKS, .N = N, .tensor = tensors, .chunk_tensor = chunk_tensor
};

static kp_optim_member member(int p) {
    kp_optim_member m = { .lr = 0.01 * (p + 1), .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-4 };
    m.grad_norm = p == 1 ? 5 : INFINITY;
    m.momentum = 0.5 * (p == 2), m.weight_decay = 0.01 * p, m.l2 = 0.1 * (p == 0);
    m.l2init = 0.2 * (p == 1), m.shrink = 1e-3 * p, m.perturb = 0.02 * (p > 0);
    m.madam_scale = 2, m.upgd.beta = 0.9, m.upgd.sigma = 0.1 * p;
    m.ewc.strength = 0.5 * (p == 2), m.ewc.decay = 0.9;
    m.si.strength = 0.1 * (p == 0), m.si.xi = 0.1, m.si.every = 4;
    m.clip = (kp_clip_options){ .kappa = p == 2 ? INFINITY : 2, .bias = 1, .last_layer = 1 };
    return m;
}

static void fill(float *x, unsigned seed, float spread) {
    memset(x, 0, P * N * sizeof *x);
    for (unsigned i = 0; i < P * N; i++) {
        unsigned e = i % N;
        if (e < 2100 || (e >= 3 * KP_CHUNK && e < 3 * KP_CHUNK + 30))
            x[i] = spread * ((float)((i * 2654435761u + seed * 40503u) >> 8) * 0x1p-23f - 1);
    }
}

typedef struct {
    float buffer[MAX_BUFFERS][P * N]; /* weights and moments */
    kp_tensor_tally tally[2 * P];
    int n;
} result;

static void ok(kp_status st, const kp_err *err) { cr_assert_eq(st, KP_OK, "%s", err->text); }

/* Six blocks of updates, cut where the optimizer says; in the second member 1 is not active. */
static void train(const char *device, kp_rule rule, int reference, kp_noise_kind noise, result *r) {
    kp_backend *b = NULL;
    kp_optim *optim = NULL;
    kp_program *program = NULL;
    kp_err err = { "" };
    float *theta = NULL, *grad = NULL;
    static float host[P * N];
    const uint64_t seed[P] = { 5, 6, 7 };
    const uint8_t active[P] = { 1, 0, 1 };
    const kp_optim_member members[P] = { member(0), member(1), member(2) };
    kp_optim_options o = { .rule = rule,
                           .reference = reference,
                           .noise = noise,
                           .seed = seed,
                           .centered = 1,
                           .block = BLOCK,
                           .member = members };
    ok(kp_backend_open(&b, device, 2, &err), &err);
    ok(kp_backend_alloc(b, (void **)&theta, sizeof host, "theta", &err), &err);
    ok(kp_backend_alloc(b, (void **)&grad, sizeof host, "grad", &err), &err);
    fill(host, 1, 0.3f);
    ok(kp_backend_upload(b, theta, host, sizeof host, &err), &err);
    ok(kp_optim_open(&optim, b, &layout, P, &o, theta, grad, &err), &err);
    ok(kp_program_open(&program, b, P, "updates", &err), &err);
    ok(kp_optim_add_begin(optim, program, &err), &err);
    ok(kp_optim_add_update(optim, program, &err), &err);
    ok(kp_program_seal(program, &err), &err);
    for (unsigned s = 0; s < 6; s++) {
        const uint8_t *who = s == 1 ? active : NULL;
        int room = kp_optim_room(optim, who), n = room < BLOCK ? room : BLOCK;
        fill(host, 2 + s, 1);
        ok(kp_backend_upload(b, grad, host, sizeof host, &err), &err);
        ok(kp_optim_prepare(optim, n, who, &err), &err);
        ok(kp_program_repeat(program, n, who, &err), &err);
        ok(kp_optim_between(optim, 0, who, &err), &err);
    }
    r->n = kp_optim_n_moments(optim) + 1;
    for (int i = 0; i < r->n; i++) {
        const char *name;
        const float *from = i ? kp_optim_moment(optim, i - 1, &name) : theta;
        ok(kp_backend_download(b, r->buffer[i], from, sizeof host, &err), &err);
    }
    ok(kp_optim_tally(optim, r->tally, &err), &err);
    kp_program_close(program);
    kp_optim_close(optim);
    kp_backend_close(b);
    cr_expect_eq(hostcuda_n_alive(), 0, "%d things of CUDA are left", hostcuda_n_alive());
}

Test(hostcuda_rules, equal_the_cpu) {
    static result want, got;
    for (int i = 0; i < 2 * KP_N_RULES; i++) {
        kp_noise_kind noise = i % 3 ? KP_NOISE_RANDOM : KP_NOISE_HASH;
        hostcuda_order((unsigned)i % 3);
        train("cpu", (kp_rule)(i / 2), i % 2, noise, &want);
        train("cuda", (kp_rule)(i / 2), i % 2, noise, &got);
        for (int k = 0; k < want.n; k++)
            cr_expect(!memcmp(want.buffer[k], got.buffer[k], sizeof want.buffer[k]),
                      "rule %d, reference %d: buffer %d of %d", i / 2, i % 2, k, want.n);
        cr_expect(!memcmp(want.tally, got.tally, sizeof want.tally), "rule %d: tally", i / 2);
        cr_expect(want.tally[0].outside > 0, "the test clips");
    }
}
