/* bench.c: `kappa bench adam_clip device=cuda` with small sizes on the emulated runtime: every loop
 * is run as often as it is said to be, what is reported belongs together, and the kernel that is
 * timed without the clip does what the one with an infinite bound does. */
#include "bench.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adam_limits.h"
#include "adam_model.h"
#include "backend/backend.h"
#include "hostcuda.h"

enum { MAX_ROWS = 4, LOOPS = 4, P = 2, N = 2 * KP_CHUNK };

typedef struct {
    int n;
    kp_bench_result row[MAX_ROWS];
} said;

static void take(void *context, const kp_bench_result *r) {
    said *s = context;
    cr_assert(s->n < MAX_ROWS);
    s->row[s->n++] = *r;
}

Test(hostcuda_bench, the_table_of_a_gpu) {
    static const kp_bench_adam_size sizes[] = { { "tiny", 1, 1, 3, 1.3 },
                                                { "2 x tiny", P, 2, 2, 1.3 } };
    said s = { 0 };
    kp_err err = { "" };
    kp_bench_options o = { .device = "cuda", .repeats = 2, .emit = take, .context = &s };
    cr_assert_eq(kp_bench_adam_clip_sized(&o, 2, sizes, &err), KP_OK, "%s", err.text);
    cr_assert_eq(s.n, 2);
    cr_expect_str_eq(s.row[0].name, "adam_clip cuda tiny");
    for (int i = 0; i < s.n; i++) {
        const kp_bench_result *r = &s.row[i];
        cr_expect(r->ours > 0 && r->limit > 0 && isnan(r->peer) && r->reach == 1.3, "%s", r->name);
        cr_expect_str_eq(r->limit_name, "copy operation");
        cr_expect(strstr(r->note, "clip and tally cost ") && strstr(r->note, "asked 0.93"), "%s",
                  r->note);
    }
    /* a warm-up and two repeats of each loop */
    cr_expect_eq(hostcuda_did.graphs, LOOPS * 3 * (3 + 2), "%d runs", hostcuda_did.graphs);
    cr_expect_eq(hostcuda_n_alive(), 0);
}

Test(hostcuda_bench, without_a_gpu_it_says_so) {
    said s = { 0 };
    kp_err err = { "" };
    kp_bench_options o = { .device = "cuda", .emit = take, .context = &s };
    hostcuda_has.driver = 0;
    cr_expect_eq(kp_bench_adam_clip(&o, &err), KP_DEVICE);
    cr_expect(strstr(err.text, "no NVIDIA driver is loaded"), "%s", err.text);
    cr_expect_eq(s.n, 0);
}

Test(hostcuda_bench, without_the_clip_as_with_an_infinite_bound) {
    static float state[2][4][P * N]; /* theta, m, v, gradient */
    static kp_clip_tally tally[P * N / KP_CHUNK];
    static const int32_t tensor[N / KP_CHUNK];
    static const float bound[P] = { INFINITY, INFINITY };
    static const uint8_t active[P] = { 1, 0 };
    kp_adam_hyper h[P];
    kp_err err = { "" };
    for (int p = 0; p < P; p++)
        h[p] = (kp_adam_hyper){ 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 1e-2f, 1.5f, 0.99f, 0, 0 };
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < P * N; i++)
            state[0][k][i] = state[1][k][i] = (k == 2 ? 1e-4f : 1e-2f) * (float)(1 + i % 97);
    for (int i = 0; i < 2; i++) {
        kp_adam_clip_args a = { .P = P, .n_chunks = N / KP_CHUNK, .n_tensors = 1 };
        a.theta = state[i][0], a.m = state[i][1], a.v = state[i][2], a.grad = state[i][3];
        a.tensor = tensor, a.bound = bound, a.hyper = h, a.tally = tally;
        kp_cuda cuda = { .active = active };
        cr_assert_eq((i ? kp_bench_unclipped_cuda : kp_adam_clip_cuda)(&a, &cuda, &err), KP_OK);
    }
    cr_expect(!memcmp(state[0], state[1], sizeof state[0]));
    cr_expect(state[1][0][0] != 1e-2f, "weights are updated");
    cr_expect_eq(state[1][0][N], 1e-2f * (float)(1 + N % 97), "an inactive member's are not");
}

/* By hand: 48 registers leave room for 5 blocks of 256 threads in 65,536, 40 for 6. */
Test(hostcuda_bench, the_roofline) {
    kp_adam_gpu g = { "a GPU", 80, 100, 1000, 1000, 48, 200 };
    kp_adam_model m = kp_adam_model_of(&g);
    cr_expect_eq(m.occupancy, 5.0 / 8);
    cr_expect_eq(m.per_element, 50);
    cr_expect_float_eq(m.memory_s * 1e12, 28, 1e-9);
    cr_expect_float_eq(m.issue_s * 1e12, 50 / 12.8, 1e-9); /* 100 * 128 lanes at 1 GHz */
    g.registers = 40;
    cr_expect_eq(kp_adam_model_of(&g).occupancy, 6.0 / 8);
}
