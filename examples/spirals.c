/* spirals.c: two networks learn which of two spirals a point is on, the second with weight
 * clipping.
 *
 *     cc spirals.c $(pkg-config --cflags --libs kappa) -lm -o spirals */
#include <kappa/kappa.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { P = 2, B = 64, N = 1000, STEPS = 2000 };

static float x[N][2], y[P][N][2];
static int32_t label[N];

static void draw_points(int n) {
    for (int i = 0; i < n; i++) {
        label[i] = rand() % 2;
        double r = rand() / (double)RAND_MAX, turn = 6.28 * r + 3.14 * label[i];
        x[i][0] = (float)(r * cos(turn)), x[i][1] = (float)(r * sin(turn));
    }
}

int main(void) {
    const int width[] = { 64, 64, 2 };
    kp_member_options member[P];
    for (int p = 0; p < P; p++) kp_member_options_init(&member[p]);
    member[1].kappa = 2; /* every weight within +-2 / sqrt(fan_in) */
    kp_population_options options;
    kp_population_options_init(&options);
    options.P = P, options.B = B, options.member = member;
    options.n_inputs = 2, options.n_layers = 3, options.width = width;

    kp_err err;
    kp_population *pop;
    kp_status st = kp_population_open(&pop, &options, &err);
    for (int t = 1; !st && t <= STEPS; t++) {
        float loss[P];
        draw_points(B);
        kp_batch batch = { .x = x[0], .label = label, .shared = 1 };
        st = kp_population_step(pop, &batch, loss, &err);
        if (!st && t % 500 == 0)
            printf("step %d: loss %.3f, clipped %.3f\n", t, (double)loss[0], (double)loss[1]);
    }
    draw_points(N);
    if (!st) st = kp_population_predict(pop, x[0], 1, N, y[0][0], &err);
    for (int p = 0; !st && p < P; p++) {
        int right = 0;
        for (int i = 0; i < N; i++) right += (y[p][i][1] > y[p][i][0]) == label[i];
        printf("kappa %g: accuracy %.3f\n", member[p].kappa, right / (double)N);
    }
    if (st) fprintf(stderr, "spirals: %s\n", err.text);
    kp_population_close(pop);
    return (int)st;
}
