/* ops_cases.c: hand-computed cases of the losses, the sums of TD, the gradient norm and the stacks.
 */
#include <criterion/criterion.h>

#include "backend/cpu/cpu_features.h"
#include "elementary.h"
#include "gather_stack/gather_stack.h"
#include "grad_norm/grad_norm.h"
#include "madam_clip/madam_clip.h"
#include "noise/noise.h"
#include "ops.h"
#include "softmax_xent/softmax_xent.h"
#include "squared_error/squared_error.h"
#include "td_loss/td_loss.h"
#include "td_stats/td_stats.h"

static void run(int op, const void *args) {
    const kp_op *o = kp_op_get(op);
    o->cpu(args, 0, kp_all_slices(o, args), NULL);
}

/* B = 1, A = 3, reward 1, discount 1/2, action 1; every number is exact in binary. */
static const struct {
    const char *name;
    kp_td_kind kind;
    float q, next[3], next_online[3];
    int is_double, ended;
    float td, loss, slope;
} td_cases[] = {
    { "squared: e = 3 - (1 + 4/2)", KP_MSE, 3, { 2, 4, 3 }, { 0 }, 0, 0, 0, 0, 0 },
    { "squared: e = 1/2", KP_MSE, 3.5f, { 2, 4, 3 }, { 0 }, 0, 0, 0.5f, 0.25f, 1 },
    { "squared: e = -4", KP_MSE, -1, { 2, 4, 3 }, { 0 }, 0, 0, -4, 16, -8 },
    { "Huber: e = 1/2 is squared", KP_HUBER, 3.5f, { 2, 4, 3 }, { 0 }, 0, 0, 0.5f, 0.125f, 0.5f },
    { "Huber: e = 1 is where they meet", KP_HUBER, 4, { 2, 4, 3 }, { 0 }, 0, 0, 1, 0.5f, 1 },
    { "Huber: e = -4 is linear", KP_HUBER, -1, { 2, 4, 3 }, { 0 }, 0, 0, -4, 3.5f, -1 },
    { "Huber: e = 4 is linear", KP_HUBER, 7, { 2, 4, 3 }, { 0 }, 0, 0, 4, 3.5f, 1 },
    { "double: the online net chooses, the target net judges",
      KP_MSE,
      3,
      { 2, 4, 3 },
      { 5, 0, 6 },
      1,
      0,
      0.5f,
      0.25f,
      1 },
    { "double: the first of equal maxima", KP_MSE, 3, { 2, 4, 3 }, { 6, 0, 6 }, 1, 0, 1, 1, 2 },
    { "a negative maximum is still one", KP_MSE, 0, { -4, -2, -8 }, { 0 }, 0, 0, 0, 0, 0 },
    { "an ended episode has no next value",
      KP_MSE,
      1.5f,
      { 2, 4, 3 },
      { 0 },
      0,
      1,
      0.5f,
      0.25f,
      1 },
};

Test(td_loss, by_hand) {
    for (size_t i = 0; i < KP_COUNT(td_cases); i++) {
        float q[3] = { 100, td_cases[i].q, 100 }, dq[3] = { 7, 7, 7 }, td = 7, loss = 7;
        const float reward = 1, discount = td_cases[i].ended ? 0 : 0.5f;
        const int32_t action = 1;
        run(KP_OP_td_loss,
            &(kp_td_loss_args){ .P = 1,
                                .B = 1,
                                .A = 3,
                                .kind = td_cases[i].kind,
                                .q = q,
                                .q_next = td_cases[i].next,
                                .q_next_online = td_cases[i].is_double ? td_cases[i].next_online
                                                                       : NULL,
                                .action = &action,
                                .reward = &reward,
                                .discount = &discount,
                                .dq = dq,
                                .td = &td,
                                .loss = &loss });
        cr_expect_eq(td, td_cases[i].td, "%s: td %g", td_cases[i].name, (double)td);
        cr_expect_eq(loss, td_cases[i].loss, "%s: loss %g", td_cases[i].name, (double)loss);
        cr_expect(dq[0] == 0 && dq[1] == td_cases[i].slope && dq[2] == 0, "%s: gradient %g %g %g",
                  td_cases[i].name, (double)dq[0], (double)dq[1], (double)dq[2]);
    }
}

Test(td_loss, mean_over_the_minibatch_with_weights) {
    const float q[4] = { 2, 0, 0, 4 }, next[4] = { 0 }, reward[2] = { 0, 0 },
                discount[2] = { 1, 1 };
    const float weight[2] = { 0.5f, 0.25f };
    const int32_t action[2] = { 0, 1 };
    float dq[4], td[2], loss;
    run(KP_OP_td_loss, &(kp_td_loss_args){ .P = 1,
                                           .B = 2,
                                           .A = 2,
                                           .kind = KP_MSE,
                                           .q = q,
                                           .q_next = next,
                                           .action = action,
                                           .reward = reward,
                                           .discount = discount,
                                           .weight = weight,
                                           .dq = dq,
                                           .td = td,
                                           .loss = &loss });
    cr_expect_eq(loss, (0.5f * 4 + 0.25f * 16) / 2, "%g", (double)loss);
    cr_expect(dq[0] == 1 && dq[1] == 0 && dq[2] == 0 && dq[3] == 1,
              "the weight and 1/B reach the gradient");
}

Test(td_loss, a_NaN_reaches_the_gradient) {
    for (int kind = KP_MSE; kind <= KP_HUBER; kind++) {
        const float q[2] = { NAN, 0 }, next[2] = { 0 }, reward = 0, discount = 1;
        const int32_t action = 0;
        float dq[2], td, loss;
        run(KP_OP_td_loss, &(kp_td_loss_args){ .P = 1,
                                               .B = 1,
                                               .A = 2,
                                               .kind = (kp_td_kind)kind,
                                               .q = q,
                                               .q_next = next,
                                               .action = &action,
                                               .reward = &reward,
                                               .discount = &discount,
                                               .dq = dq,
                                               .td = &td,
                                               .loss = &loss });
        cr_expect(isnan(dq[0]) && isnan(td) && isnan(loss));
    }
}

/* Two classes, one sample; every gradient is exact in binary. */
static const struct {
    const char *name;
    float z[2];
    int32_t label;
    float loss, dz[2];
} xent_cases[] = {
    { "no preference is one bit", { 3, 3 }, 0, 0x1.62e43p-1f, { -0.5f, 0.5f } },
    { "certain and right is free", { 200, -200 }, 0, 0, { 0, 0 } },
    { "certain and wrong costs the distance", { 200, -200 }, 1, 400, { 1, -1 } },
    { "huge logits do not overflow", { 3e38f, 0 }, 0, 0, { 0, 0 } },
    { "a NaN reaches all", { 0, NAN }, 0, NAN, { NAN, NAN } },
    { "so does an infinite logit", { INFINITY, 0 }, 0, NAN, { NAN, NAN } },
};

static int same(float x, float y) { return isnan(y) ? isnan(x) : x == y; }

Test(softmax_xent, by_hand) {
    for (size_t i = 0; i < KP_COUNT(xent_cases); i++) {
        float dz[2] = { 7, 7 }, loss = 7;
        run(KP_OP_softmax_xent, &(kp_softmax_xent_args){ .P = 1,
                                                         .B = 1,
                                                         .n_classes = 2,
                                                         .z = xent_cases[i].z,
                                                         .label = &xent_cases[i].label,
                                                         .dz = dz,
                                                         .loss = &loss });
        cr_expect(same(loss, xent_cases[i].loss), "%s: loss %.9g", xent_cases[i].name,
                  (double)loss);
        cr_expect(same(dz[0], xent_cases[i].dz[0]) && same(dz[1], xent_cases[i].dz[1]),
                  "%s: gradient %.9g %.9g", xent_cases[i].name, (double)dz[0], (double)dz[1]);
    }
}

Test(elementary, exp_is_right_to_two_units_in_the_last_place) {
    double worst = 0;
    for (float x = -87; x <= 88; x += 1.0f / 4096) {
        double want = exp((double)x), got = (double)kp_exp(x);
        worst = fmax(worst, fabs(got - want) / want);
    }
    cr_expect(worst < 2 * 0x1p-23, "%g", worst);
    cr_expect(kp_exp(0) == 1 && kp_exp(-87.1f) == 0 && kp_exp(-INFINITY) == 0 &&
              kp_exp(-1e38f) == 0);
    cr_expect(kp_exp(88.1f) == INFINITY && kp_exp(INFINITY) == INFINITY &&
              kp_exp(1e38f) == INFINITY);
    cr_expect(isnan(kp_exp(NAN)));
}

Test(elementary, logarithm_sine_and_cosine_are_right_to_two_units_in_the_last_place) {
    double ln = 0, turn = 0;
    for (uint32_t k = 1; k <= 1u << 24; k += k < 65536 ? 1 : 67) {
        float x = (float)k * 0x1p-24f, c, s;
        double want = log((double)x), angle = 2 * acos(-1) * (double)x;
        ln = fmax(ln, fabs((double)kp_ln(x) - want) / fmax(fabs(want), 0.1));
        kp_cos_sin_turn(k & 0xffffffu, &c, &s);
        turn = fmax(turn, fmax(fabs((double)c - cos(angle)), fabs((double)s - sin(angle))));
    }
    cr_expect(ln < 2 * 0x1p-23 && kp_ln(1) == 0, "%g", ln);
    cr_expect(turn < 0x1p-23, "%g", turn);
}

/* From the authors' noise replaced by the hash (the reference trajectories' hash_noise_check). */
Test(noise, hash_by_hand) {
    const kp_noise_args six = { .n_tensors = 6 };
    cr_expect_eq(kp_noise_hash(&six, 0, 0, 0), 0.7666215896606445f);
    cr_expect_eq(kp_noise_hash(&six, 0, 0, 3), -0.773099422454834f);
    cr_expect_eq(kp_noise_hash(&six, 0, 1, 2), 0.40186238288879395f);
}

/* Moments and tails of a million normals; each limit is five standard errors. */
Test(noise, is_normal) {
    enum { OUT = 1 << 10, IN = 1 << 10, COUNT = OUT * IN };
    static float z[COUNT];
    static int32_t place[IN];
    const kp_noise_tensor tensor = { .out_stride = 1, .n_out = OUT, .n_in = IN };
    const kp_noise_hyper hyper = { .seed = 3, .step = 5, .wanted = 1 };
    double moment[5] = { 0 }, beyond[4] = { 0 }, neighbours = 0;
    for (int k = 0; k < IN; k++) place[k] = k * OUT;
    run(KP_OP_noise, &(kp_noise_args){ .P = 1,
                                       .n_tensors = 1,
                                       .n_groups = IN / 4,
                                       .n_blocks = COUNT / 4,
                                       .N = COUNT,
                                       .tensor = &tensor,
                                       .place = place,
                                       .hyper = &hyper,
                                       .noise = z });
    for (int i = 0; i < COUNT; i++) {
        double x = (double)z[i], power = 1;
        for (int k = 1; k < 5; k++) moment[k] += (power *= x) / COUNT;
        for (int k = 1; k < 4; k++) beyond[k] += (fabs(x) > k) / (double)COUNT;
        neighbours += x * (double)z[(i + OUT) % COUNT] / COUNT; /* the next column: a pair */
    }
    double error = 5 / sqrt(COUNT);
    cr_expect(fabs(moment[1]) < error && fabs(neighbours) < error, "%g %g", moment[1], neighbours);
    cr_expect(fabs(moment[2] - 1) < sqrt(2) * error, "%g", moment[2]);
    cr_expect(fabs(moment[3]) < sqrt(15) * error, "%g", moment[3]);
    cr_expect(fabs(moment[4] - 3) < sqrt(96) * error, "%g", moment[4]);
    for (int k = 1; k < 4; k++) {
        double want = erfc(k / sqrt(2));
        cr_expect(fabs(beyond[k] - want) < sqrt(want) * error, "beyond %d: %g", k, beyond[k]);
    }
}

Test(squared_error, by_hand) {
    const float y[4] = { 1, 2, 3, -4 }, target[4] = { 1, 0, 4, 0 };
    float dy[4], loss;
    run(KP_OP_squared_error,
        &(kp_squared_error_args){
            .P = 1, .B = 2, .n_outputs = 2, .y = y, .target = target, .dy = dy, .loss = &loss });
    cr_expect_eq(loss, (4 + 1 + 16) / 4.0f, "%g", (double)loss);
    cr_expect(dy[0] == 0 && dy[1] == 1 && dy[2] == -0.5f && dy[3] == -2, "%g %g %g %g",
              (double)dy[0], (double)dy[1], (double)dy[2], (double)dy[3]);
}

static const struct {
    const char *name;
    float q[4]; /* B = 2, A = 2 */
    double q_max;
} stats_cases[] = {
    { "the mean over the minibatch of the largest", { 1, 4, 2, -8 }, 3 },
    { "a negative maximum is still one", { -4, -2, -8, -16 }, -5 },
    { "a NaN shows, whichever action has it first", { NAN, 1, 2, 3 }, NAN },
};

Test(td_stats, by_hand) {
    for (size_t i = 0; i < KP_COUNT(stats_cases); i++) {
        const float loss = 0.5f;
        kp_td_sums sums = { 1, 2, 3 };
        run(KP_OP_td_stats,
            &(kp_td_stats_args){
                .P = 1, .B = 2, .A = 2, .q = stats_cases[i].q, .loss = &loss, .sums = &sums });
        double q_max = sums.q_max - 2;
        cr_expect(isnan(stats_cases[i].q_max) ? isnan(q_max) : q_max == stats_cases[i].q_max,
                  "%s: %g", stats_cases[i].name, q_max);
        cr_expect(sums.loss == 1.5 && sums.n == 4, "%s: loss %g in %lld updates",
                  stats_cases[i].name, sums.loss, (long long)sums.n);
    }
}

static const struct {
    const char *name;
    float limit, grad, norm, scale;
} norm_cases[] = {
    { "above the limit is scaled to it", 1, 2, 64, 1 / (64 + 1e-6f) },
    { "below the limit is left alone", 100, 2, 64, 1 },
    { "an infinite limit is none", INFINITY, 1e30f, 32e30f, 1 },
    { "an infinite limit is none for an infinite norm too", INFINITY, INFINITY, INFINITY, 1 },
    { "a limit of zero is none", 0, 2, 64, 1 },
    { "a gradient of zero is left alone", 1, 0, 0, 1 },
    { "NaN makes the scale NaN", 1, NAN, NAN, NAN },
};

Test(grad_norm, by_hand) {
    static float grad[KP_CHUNK];
    for (size_t i = 0; i < KP_COUNT(norm_cases); i++) {
        double partial[1];
        float norm, scale;
        for (int k = 0; k < KP_CHUNK; k++) grad[k] = norm_cases[i].grad;
        run(KP_OP_grad_norm_chunks,
            &(kp_grad_norm_chunks_args){ .P = 1, .n_chunks = 1, .grad = grad, .partial = partial });
        run(KP_OP_grad_norm_scale, &(kp_grad_norm_scale_args){ .P = 1,
                                                               .n_chunks = 1,
                                                               .partial = partial,
                                                               .limit = &norm_cases[i].limit,
                                                               .norm = &norm,
                                                               .scale = &scale });
        cr_expect(isnan(norm_cases[i].norm) ? isnan(norm) : norm == norm_cases[i].norm,
                  "%s: norm %g", norm_cases[i].name, (double)norm);
        cr_expect(isnan(norm_cases[i].scale) ? isnan(scale) : scale == norm_cases[i].scale,
                  "%s: scale %g", norm_cases[i].name, (double)scale);
    }
}

/* The quotient times 255 and every product below are exact in long double: 24 + 8 bits of 64. */
Test(gather_stack, divides_by_255_correctly_rounded) {
    const kp_image out = { 16, 16, 4, 0, 0, 0, 0 };
    uint8_t frame[256];
    static float y[256 * 4];
    const int64_t index[4] = { 0, 0, 0, 0 };
    for (int i = 0; i < 256; i++) frame[i] = (uint8_t)i;
    run(KP_OP_gather_stack, &(kp_gather_stack_args){ .P = 1,
                                                     .B = 1,
                                                     .stack = 4,
                                                     .out = out,
                                                     .divide = 1,
                                                     .frames = frame,
                                                     .index = index,
                                                     .y = y });
    for (int x = 0; x < 256; x++)
        for (int k = 0; k < 4; k++) {
            float got = y[4 * x + k];
            long double error = fabsl((long double)got * 255 - x);
            cr_assert(error <= fabsl((long double)nextafterf(got, 2) * 255 - x) &&
                          error <= fabsl((long double)nextafterf(got, -1) * 255 - x),
                      "%d / 255 is not %.9g", x, (double)got);
        }
}

/* exp(100) is infinite, and 0 times it would be no number. */
Test(madam, a_zero_stays_where_steps_are_large) {
    enum { N = KP_CHUNK };
    float theta[N] = { 0, 0.5f, -0.5f }, v[N] = { 0 }, bound = 1;
    const float grad[N] = { -1, -1, 1 };
    const int32_t tensor = 0;
    kp_clip_tally tally;
    const kp_madam_hyper h = {
        .step_size = 100, .beta = 0.9f, .one_minus_beta = 0.1f, .rsqrt_bc = 1 / sqrtf(0.1f)
    };
    run(KP_OP_madam_clip, &(kp_madam_clip_args){ .P = 1,
                                                 .n_chunks = 1,
                                                 .n_tensors = 1,
                                                 .theta = theta,
                                                 .v = v,
                                                 .grad = grad,
                                                 .tensor = &tensor,
                                                 .bound = &bound,
                                                 .hyper = &h,
                                                 .tally = &tally });
    cr_expect_eq(theta[0], 0);
    cr_expect_eq(theta[1], 1, "to its bound, not %g", (double)theta[1]);
    cr_expect_eq(theta[2], -1);
    cr_expect_eq(theta[3], 0, "padding");
}
