/* stream_statistics.c: twenty tasks of input-permuted MNIST, and how often the weight clipping
 * authors' code was right on them: on other streams, so means over seeds are compared. Takes
 * minutes: ctest -C Soak -L soak. */
#include "reference.h"
#include "streams.h"

enum { SEEDS = 5, TASKS = 20, TASK_SAMPLES = 5000 };

typedef struct {
    double mean, variance; /* of the mean */
} estimate;

static estimate estimate_of(const double *x, int n) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    for (int i = 0; i < n; i++) squares += (x[i] - sum / n) * (x[i] - sum / n);
    return (estimate){ sum / n, squares / (n - 1) / n };
}

static void expect_same(const char *what, const double *ours, const double *theirs) {
    estimate a = estimate_of(ours, SEEDS), b = estimate_of(theirs, SEEDS);
    double error = sqrt(a.variance + b.variance);
    printf("%s: %.4f, theirs %.4f, standard error of the difference %.4f\n", what, a.mean, b.mean,
           error);
    cr_expect(fabs(a.mean - b.mean) <= 2 * error, "%s: %g, not %g", what, a.mean, b.mean);
}

/* Of each seed of theirs: accuracy over all tasks. */
static void their_accuracy(const json_t *all, const char *method, double accuracy[SEEDS]) {
    const json_t *run;
    size_t i;
    int n = 0;
    json_array_foreach(json_object_get(all, "runs"), i, run) {
        if (strcmp(json_string_value(json_object_get(run, "method")), method)) continue;
        const json_t *of_task = json_object_get(run, "accuracy");
        cr_assert(n < SEEDS && json_array_size(of_task) == TASKS);
        accuracy[n] = 0;
        for (size_t t = 0; t < TASKS; t++) accuracy[n] += number(of_task, t) / TASKS;
        n++;
    }
    cr_assert_eq(n, SEEDS, "%s", method);
}

/* The rule without clipping and, from the same seeds, with it: two times SEEDS members. */
static void our_accuracy(const char *rule, const char *lr, const char *kappa,
                         double accuracy[2][SEEDS]) {
    const char *const args[] = { "data.set=mnist-5k",
                                 "train.samples=100000",
                                 "log.interval_steps=5000",
                                 "diag.plasticity=false",
                                 "diag.rank=false",
                                 rule,
                                 lr };
    char home[KP_PATH], dir[KP_PATH];
    kp_config member[2 * SEEDS];
    kp_err err = { "" };
    scratch_folder(home);
    cr_assert_eq(kp_path_join(dir, home, "run", NULL), KP_OK);
    for (int i = 0; i < 2 * SEEDS; i++) {
        cr_assert_eq(kp_config_load(&member[i], NULL, "stream-input-permuted-mnist", KP_COUNT(args),
                                    args, &err),
                     KP_OK, "%s", err.text);
        member[i].seed = (uint64_t)(i % SEEDS);
        streams_set(&member[i], "optim.clip.kappa", i < SEEDS ? "none" : kappa);
    }
    kp_train_options o = { .dir = dir, .member = member, .P = 2 * SEEDS };
    cr_assert_eq(kp_train(&o, &err), KP_OK, "%s", err.text);
    for (int i = 0; i < 2 * SEEDS; i++) {
        double of_task[TASKS];
        cr_assert_eq(streams_column(dir, i, "accuracy", of_task, TASKS), TASKS);
        accuracy[i / SEEDS][i % SEEDS] = estimate_of(of_task, TASKS).mean;
    }
    kp_folder_remove(home, NULL);
}

Test(stream_statistics, accuracy_on_mnist_is_the_authors, .timeout = 3600) {
    static const struct {
        const char *rule, *lr, *kappa, *theirs[2];
    } of[] = { { "optim.rule=sgd", "optim.lr=1e-3", "2", { "sgd_1e-3", "sgd_wc2_1e-3" } },
               { "optim.rule=adam", "optim.lr=1e-4", "1", { "adam_1e-4", "adam_wc1_1e-4" } } };
    json_t *all = read_json("stats_permuted_mnist5k.json.gz");
    for (size_t i = 0; i < KP_COUNT(of); i++) {
        double ours[2][SEEDS], theirs[2][SEEDS];
        our_accuracy(of[i].rule, of[i].lr, of[i].kappa, ours);
        for (int clipped = 0; clipped < 2; clipped++) {
            their_accuracy(all, of[i].theirs[clipped], theirs[clipped]);
            expect_same(of[i].theirs[clipped], ours[clipped], theirs[clipped]);
        }
        /* what clipping costs over so few tasks: the same seeds have the same streams */
        for (int s = 0; s < SEEDS; s++)
            ours[0][s] = ours[1][s] - ours[0][s], theirs[0][s] = theirs[1][s] - theirs[0][s];
        expect_same("clipped less plain", ours[0], theirs[0]);
        cr_expect(estimate_of(ours[0], SEEDS).mean < 0);
    }
    json_decref(all);
}
