/* stream_tasks.c: what a stream shows when, from the seed alone or from files. */
#include "learn/stream_tasks.h"

#include "streams.h"

enum { N = 50, INPUTS = 30, CLASSES = 4, P = 2 };
static const uint64_t seeds[P] = { 3, 4 };

static kp_tasks *tasks_of(int problem, int order, int64_t task_samples, const char *permutations) {
    kp_tasks *t = NULL;
    kp_err err = { "" };
    kp_tasks_options o = { .P = P,
                           .seed = seeds,
                           .problem = problem,
                           .order = order,
                           .task_samples = task_samples,
                           .n_tasks = 5,
                           .n = N,
                           .n_inputs = INPUTS,
                           .n_classes = CLASSES,
                           .permutations = permutations };
    cr_assert_eq(kp_tasks_open(&t, &o, &err), KP_OK, "%s", err.text);
    return t;
}

static void expect_permutation(const int32_t *x, int n) {
    uint8_t seen[N] = { 0 };
    for (int i = 0; i < n; i++) {
        cr_assert(x[i] >= 0 && x[i] < n && !seen[x[i]], "%d at %d", x[i], i);
        seen[x[i]] = 1;
    }
}

Test(stream_tasks, each_task_shows_the_data_in_a_fresh_shuffle) {
    kp_tasks *t = tasks_of(KP_PROBLEM_STATIONARY, KP_ORDER_SHUFFLED, 120, "");
    int32_t x[3][N], other[N], second[N], before[N] = { 0 };
    for (int task = 0; task < 2; task++) {
        for (int pass = 0; pass < 2; pass++) {
            kp_tasks_samples(t, 0, task * 120 + pass * N, N, x[pass]);
            expect_permutation(x[pass], N);
            cr_expect(memcmp(x[pass], before, sizeof before), "each pass is another");
            memcpy(before, x[pass], sizeof before);
        }
        kp_tasks_samples(t, 0, task * 120 + 2 * N, 20, x[2]);
        uint8_t seen[N] = { 0 };
        for (int i = 0; i < 20; i++)
            cr_expect(!seen[x[2][i]]++, "a third shuffle, as far as it goes");
        if (task == 0) memcpy(second, x[1], sizeof second);
        else
            cr_expect(memcmp(x[0], second, sizeof second),
                      "the next task's is no pass of this one");
        kp_tasks_samples(t, 1, task * 120, N, other);
        cr_expect(memcmp(x[0], other, sizeof other), "members have their own");
    }
    kp_tasks_samples(t, 0, 0, N, other);
    cr_expect(memcmp(x[0], other, sizeof other), "tasks have their own");
    /* in pieces, and going back, as after a resume */
    kp_tasks_samples(t, 0, 30, 40, x[0]);
    kp_tasks_samples(t, 0, 30, 15, other);
    kp_tasks_samples(t, 0, 45, 25, other + 15);
    cr_expect(!memcmp(x[0], other, 40 * sizeof *other));
    kp_tasks_close(t);
}

/* Streams that were begun go on with the numbers they began with; these were worked out in Python.
 */
Test(stream_tasks, numbers_never_change) {
    static const int32_t samples[6] = { 8, 37, 1, 32, 7, 21 }, inputs[6] = { 26, 12, 20, 9, 29, 5 },
                         labels[CLASSES] = { 1, 0, 3, 2 };
    int32_t got[INPUTS];
    kp_tasks *t = tasks_of(KP_PROBLEM_INPUT_PERMUTED, KP_ORDER_SHUFFLED, 20, "");
    kp_tasks_samples(t, 0, 40, 6, got);
    cr_expect(!memcmp(got, samples, sizeof samples), "{ %d, %d, %d, %d, %d, %d }", got[0], got[1],
              got[2], got[3], got[4], got[5]);
    kp_tasks_permutation(t, 0, 2, got);
    cr_expect(!memcmp(got, inputs, sizeof inputs), "{ %d, %d, %d, %d, %d, %d }", got[0], got[1],
              got[2], got[3], got[4], got[5]);
    kp_tasks_close(t);
    t = tasks_of(KP_PROBLEM_LABEL_PERMUTED, KP_ORDER_SHUFFLED, 20, "");
    kp_tasks_permutation(t, 0, 2, got);
    cr_expect(!memcmp(got, labels, sizeof labels), "{ %d, %d, %d, %d }", got[0], got[1], got[2],
              got[3]);
    kp_tasks_close(t);
}

Test(stream_tasks, short_tasks_show_each_sample_once) {
    kp_tasks *t = tasks_of(KP_PROBLEM_STATIONARY, KP_ORDER_SHUFFLED, 20, "");
    int counts[N] = { 0 };
    for (int task = 0; task < 2000; task++) {
        int32_t x[20];
        uint8_t seen[N] = { 0 };
        kp_tasks_samples(t, 1, (int64_t)task * 20, 20, x);
        for (int i = 0; i < 20; i++) {
            cr_assert(!seen[x[i]]++);
            counts[x[i]]++;
        }
    }
    for (int i = 0; i < N; i++) /* 800 +- 6 of 22 */
        cr_expect(counts[i] > 668 && counts[i] < 932, "sample %d: %d times", i, counts[i]);
    kp_tasks_close(t);
}

Test(stream_tasks, the_order_of_the_file_goes_on_from_task_to_task) {
    kp_tasks *t = tasks_of(KP_PROBLEM_STATIONARY, KP_ORDER_SEQUENTIAL, 20, "");
    int32_t x[20];
    for (int at = 0; at < 200; at += 20) {
        kp_tasks_samples(t, 1, at, 20, x);
        for (int i = 0; i < 20; i++) cr_expect_eq(x[i], (at + i) % N);
    }
    kp_tasks_close(t);
}

Test(stream_tasks, permutations_are_drawn_for_each_task) {
    static const int problem[] = { KP_PROBLEM_INPUT_PERMUTED, KP_PROBLEM_LABEL_PERMUTED },
                     sizes[] = { INPUTS, CLASSES };
    for (int i = 0; i < 2; i++) {
        kp_tasks *t = tasks_of(problem[i], KP_ORDER_SHUFFLED, 20, "");
        int n, first[CLASSES] = { 0 };
        int32_t x[3][INPUTS];
        cr_expect_eq(kp_tasks_permutes(t, &n), i ? KP_PERMUTES_LABELS : KP_PERMUTES_INPUTS);
        cr_assert_eq(n, sizes[i]);
        for (int task = 0; task < 4000; task++) {
            kp_tasks_permutation(t, 0, task, x[0]);
            expect_permutation(x[0], n);
            if (x[0][1] < CLASSES) first[x[0][1]]++;
        }
        double each = 4000.0 / n;
        for (int k = 0; k < CLASSES; k++)
            cr_expect(fabs(first[k] - each) < 6 * sqrt(each), "%d at 1: %d times, not %g", k,
                      first[k], each);
        if (!i) {
            kp_tasks_permutation(t, 0, 0, x[0]);
            kp_tasks_permutation(t, 0, 1, x[1]);
            kp_tasks_permutation(t, 1, 0, x[2]);
            cr_expect(memcmp(x[0], x[1], sizeof *x) && memcmp(x[0], x[2], sizeof *x));
        }
        kp_tasks_close(t);
    }
}

Test(stream_tasks, permutations_of_a_file_are_every_members) {
    char dir[KP_PATH], path[KP_PATH];
    int32_t rows[5][CLASSES], x[CLASSES];
    scratch_folder(dir);
    for (int r = 0; r < 5; r++)
        for (int k = 0; k < CLASSES; k++) rows[r][k] = (k + r) % CLASSES;
    streams_put_npy(dir, "p.npy", "<i4", "(5, 4)", rows, sizeof rows);
    cr_assert_eq(kp_path_join(path, dir, "p.npy", NULL), KP_OK);
    kp_tasks *t = tasks_of(KP_PROBLEM_LABEL_PERMUTED, KP_ORDER_SHUFFLED, 20, path);
    for (int p = 0; p < P; p++)
        for (int r = 0; r < 5; r++) {
            kp_tasks_permutation(t, p, r, x);
            cr_expect(!memcmp(x, rows[r], sizeof x));
        }
    kp_tasks_close(t);
    kp_folder_remove(dir, NULL);
}
