/* stream_reference.c: whole streams against the weight clipping authors' own code, on
 * Fashion-MNIST. tests/data/streaming: their first weights and permutations, what they computed,
 * and how far float32 carries (README.md). */
#include "data/safetensors.h"
#include "kappa/choices.h"
#include "learn/stream_impl.h"
#include "reference.h"
#include "streams.h"

static const double STRICT_RELATIVE = 1e-5, STRICT_ABSOLUTE = 1e-6;
enum { STRICT_SAMPLES = 250, MOST_SAMPLES = 2000, EACH = 100 };

#define HASH_NOISE "optim.perturb=0.1", "optim.noise=hash"
#define UPGD(rule) "optim.rule=" rule, "optim.weight_decay=0.01", "optim.upgd.beta=0.999"

static const struct {
    const char *name;
    int is_fused;  /* the fast path has it */
    int is_steady; /* strict over all samples: rules that do not divide by the size of gradients */
    const char *args[8];
} runs[] = {
    { "sgd", 1, 1, { "optim.rule=sgd", "optim.lr=0.01" } },
    { "sgd_lr1e-3", 1, 1, { "optim.rule=sgd", "optim.lr=0.001" } },
    { "sgd_wc1", 1, 1, { "optim.rule=sgd", "optim.lr=0.01", "optim.clip.kappa=1" } },
    { "sgd_wc1_lr1e-3", 1, 1, { "optim.rule=sgd", "optim.lr=0.001", "optim.clip.kappa=1" } },
    { "sgd_wc2", 1, 1, { "optim.rule=sgd", "optim.lr=0.01", "optim.clip.kappa=2" } },
    { "sgd_wc2_lr1e-3", 1, 1, { "optim.rule=sgd", "optim.lr=0.001", "optim.clip.kappa=2" } },
    { "adam", 1, 0, { "optim.rule=adam", "optim.lr=0.001" } },
    { "adam_lr1e-4", 1, 0, { "optim.rule=adam", "optim.lr=0.0001" } },
    { "adam_wc1", 1, 0, { "optim.rule=adam", "optim.lr=0.001", "optim.clip.kappa=1" } },
    { "adam_wc1_lr1e-4", 1, 0, { "optim.rule=adam", "optim.lr=0.0001", "optim.clip.kappa=1" } },
    { "adam_wc1_nolast",
      1,
      0,
      { "optim.rule=adam", "optim.lr=0.001", "optim.clip.kappa=1",
        "optim.clip.last_layer=false" } },
    { "adam_wc3_nolast",
      1,
      0,
      { "optim.rule=adam", "optim.lr=0.001", "optim.clip.kappa=3",
        "optim.clip.last_layer=false" } },
    { "rmsprop_wc1",
      1,
      0,
      { "optim.rule=rmsprop", "optim.lr=0.001", "optim.beta2=0.99", "optim.clip.kappa=1" } },
    { "l2_sgd", 1, 1, { "optim.rule=sgd", "optim.lr=0.001", "optim.l2=0.01" } },
    { "l2_adam", 1, 0, { "optim.rule=adam", "optim.lr=0.0001", "optim.l2=0.01" } },
    { "l2init_sgd", 0, 1, { "optim.rule=sgd", "optim.lr=0.001", "optim.l2init=0.01" } },
    { "l2init_adam", 0, 0, { "optim.rule=adam", "optim.lr=0.0001", "optim.l2init=0.001" } },
    { "sp_sgd_sigma0", 0, 1, { "optim.rule=sgd", "optim.lr=0.001", "optim.shrink=0.01" } },
    { "sp_adam_sigma0", 0, 0, { "optim.rule=adam", "optim.lr=0.0001", "optim.shrink=0.001" } },
    { "sp_sgd_hashnoise",
      0,
      1,
      { "optim.rule=sgd", "optim.lr=0.001", "optim.shrink=0.01", HASH_NOISE } },
    { "sp_adam_hashnoise",
      0,
      0,
      { "optim.rule=adam", "optim.lr=0.0001", "optim.shrink=0.001", HASH_NOISE } },
    { "madam", 0, 0, { "optim.rule=madam", "optim.lr=0.01", "optim.madam_scale=4" } },
    { "madam_lr1e-3", 0, 0, { "optim.rule=madam", "optim.lr=0.001", "optim.madam_scale=2" } },
    { "upgd_sigma0",
      0,
      1,
      { UPGD("upgd"), "optim.lr=0.01", "optim.upgd.beta=0.9999", "optim.upgd.sigma=0" } },
    { "upgd_sigma0_lr1e-3", 0, 1, { UPGD("upgd"), "optim.lr=0.001", "optim.upgd.sigma=0" } },
    { "upgd_wc1_sigma0",
      0,
      1,
      { UPGD("upgd"), "optim.lr=0.001", "optim.upgd.sigma=0", "optim.clip.kappa=1" } },
    { "upgd_hashnoise",
      0,
      1,
      { UPGD("upgd"), "optim.lr=0.001", "optim.upgd.sigma=0.1", "optim.noise=hash" } },
    { "adaupgd_sigma0", 0, 1, { UPGD("adaupgd"), "optim.lr=0.0001", "optim.upgd.sigma=0" } },
    { "adaupgd_hashnoise",
      0,
      1,
      { UPGD("adaupgd"), "optim.lr=0.0001", "optim.upgd.sigma=0.1", "optim.noise=hash" } },
};
enum { N_RUNS = sizeof runs / sizeof *runs };

/* ---- what we compute ------------------------------------------------------------------------- */

typedef struct {
    const char *name, *path;
    const json_t *want;
    kp_config config;
    kp_backend *backend;
    kp_stream *s;
    int strict;         /* samples over which losses are compared closely */
    int64_t n, correct; /* samples so far, and of them */
    double loss;        /* their sum */
} run;

static void open_run(run *r, int which, const char *path, int64_t samples, int64_t interval) {
    char length[64], rows[64], stream_path[64];
    const char *args[32] = { "data.set=fashion-mnist",
                             "data.order=sequential",
                             "data.permutations=" DATA "permutations.npy",
                             "net.init_from=" DATA "init_seed0.safetensors",
                             "stream.task_samples=1000",
                             "optim.variant=reference",
                             "threads=1",
                             length,
                             rows,
                             stream_path };
    int n = 10;
    kp_err err = { "" };
    snprintf(length, sizeof length, "train.samples=%lld", (long long)samples);
    snprintf(rows, sizeof rows, "log.interval_steps=%lld", (long long)interval);
    /* singular values take longer than the samples between them */
    if (interval < EACH || samples > STRICT_SAMPLES) args[n++] = "diag.rank=false";
    snprintf(stream_path, sizeof stream_path, "stream.path=%s", path);
    for (int i = 0; i < 8 && runs[which].args[i]; i++) args[n++] = runs[which].args[i];
    cr_assert_eq(kp_config_load(&r->config, NULL, "stream-input-permuted-fashion", n, args, &err),
                 KP_OK, "%s", err.text);
    r->name = runs[which].name, r->path = path;
    cr_assert_eq(kp_backend_open(&r->backend, "cpu", 1, &err), KP_OK, "%s", err.text);
    kp_learner_options o = { .backend = r->backend, .member = &r->config, .P = 1 };
    void *learner = NULL;
    cr_assert_eq(kp_learner_stream.open(&learner, &o, &err), KP_OK, "%s: %s", r->name, err.text);
    r->s = learner;
    cr_expect_eq(r->s->is_fused, !strcmp(path, "fused"));
}

static void close_run(run *r) {
    kp_learner_stream.close(r->s);
    kp_backend_close(r->backend);
}

static double row_value(const run *r, const char *column) {
    int n;
    const kp_metrics_column *c = kp_learner_stream.columns(r->s, &n);
    kp_metrics_value value[64];
    cr_assert(n <= 64 && kp_learner_stream.row(r->s, 0, value));
    for (int i = 0; i < n; i++)
        if (!strcmp(c[i].name, column)) return value[i].d;
    cr_assert(0, "%s", column);
    return NAN;
}

static void expect_loss(run *r, const char *what, size_t i, float got) {
    double want = number(json_object_get(r->want, what), i);
    double off = fabs((double)got - want) / (STRICT_RELATIVE * fabs(want) + STRICT_ABSOLUTE);
    cr_expect(off <= 1, "%s, %s: %s of sample %zu is %.7g, not %.7g", r->name, r->path, what, i,
              (double)got, want);
}

/* One block's samples. */
static void compare_samples(run *r, int n) {
    for (int i = 0; i < n; i++, r->n++) {
        const kp_mlp_result *got = &r->s->result_host[i];
        size_t at = (size_t)r->n;
        r->correct += got->correct, r->loss += (double)got->loss;
        if (r->n >= r->strict) continue;
        expect_loss(r, "loss", at, got->loss);
        expect_loss(r, "loss_after", at, got->loss_after);
        cr_expect_eq(got->correct, (int)number(json_object_get(r->want, "correct"), at),
                     "%s, %s: sample %zu", r->name, r->path, at);
        double off = got->inactive - number(json_object_get(r->want, "dead_units"), at);
        cr_expect(fabs(off) <= 1, "%s, %s: sample %zu, %d units are off", r->name, r->path, at,
                  got->inactive);
    }
}

static double l2_of(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Weights after the updates that the reference marks. */
static void compare_mark(run *r) {
    const json_t *mark, *index = json_object_get(r->want, "sample_index");
    size_t i;
    json_array_foreach(json_object_get(r->want, "marks"), i, mark) {
        if (json_integer_value(json_object_get(mark, "updates")) != r->s->sample) continue;
        const kp_layout *l = &r->s->layout;
        for (int t = 0; t < l->n_tensors; t++) {
            const kp_tensor *tensor = &l->tensor[t];
            double got = l2_of(r->s->theta + tensor->offset, (int64_t)tensor->n_chunks * KP_CHUNK),
                   want = number(json_object_get(mark, "tensor_l2"), (size_t)t);
            cr_expect(fabs(got - want) <= 5e-6 * want, "%s, %s: after %lld, %s: l2 %.8g, not %.8g",
                      r->name, r->path, (long long)r->s->sample, tensor->name, got, want);
        }
        for (size_t k = 0; k < json_array_size(index); k++) {
            const json_t *place = json_array_get(index, k);
            const kp_tensor *tensor = &l->tensor[(int)number(place, 0)];
            int64_t at = kp_tensor_at(tensor, (int64_t)number(place, 1));
            double got = (double)r->s->theta[tensor->offset + at],
                   want = number(json_object_get(mark, "sampled"), k);
            cr_expect(fabs(got - want) <= 1e-6, "%s, %s: after %lld, %s[%lld]: %.8g, not %.8g",
                      r->name, r->path, (long long)r->s->sample, tensor->name, (long long)at, got,
                      want);
        }
    }
}

static void expect_near(const run *r, const char *column, double want, double relative) {
    double got = row_value(r, column);
    cr_expect(fabs(got - want) <= relative * fabs(want), "%s, %s: %s after %lld is %.8g, not %.8g",
              r->name, r->path, column, (long long)r->s->sample, got, want);
}

/* The row of each 100 updates. */
static void compare_row(run *r) {
    const json_t *rows = json_object_get(r->want, "per100"),
                 *counts = json_object_get(rows, "clip_count");
    size_t i = (size_t)(r->s->sample / EACH - 1);
    if (r->s->sample % EACH || r->s->sample > r->strict ||
        i >= json_array_size(json_object_get(rows, "updates")))
        return;
    static const struct {
        const char *column;
        double relative;
    } of[] = { { "weight_l1", 1e-4 }, /* theirs is summed in float32 */
               { "weight_l2", 1e-5 }, { "grad_l1", 1e-3 },    { "grad_l2", 1e-3 },
               { "grad_l0", 1e-3 },   { "weight_rank", 1e-9 } };
    for (size_t k = 0; k < KP_COUNT(of); k++)
        if (r->config.diag.rank || strcmp(of[k].column, "weight_rank") != 0)
            expect_near(r, of[k].column, number(json_object_get(rows, of[k].column), i),
                        of[k].relative);
    /* of Madam's own limit they count the shares alone */
    if (!json_is_array(json_array_get(counts, i)) || r->config.optim.rule == KP_RULE_MADAM) return;
    for (int t = 0; t < r->s->T; t++) {
        const kp_tensor *tensor = &r->s->layout.tensor[t];
        char column[64];
        snprintf(column, sizeof column, "clipped/%s", tensor->name);
        double entries = (double)tensor->count * EACH, got = row_value(r, column) * entries;
        double want = number(json_array_get(counts, i), (size_t)t);
        cr_expect(fabs(got - want) <= 2 + 1e-4 * want, "%s, %s: %s after %lld: %g clipped, not %g",
                  r->name, r->path, tensor->name, (long long)r->s->sample, got, want);
    }
}

static void step_to_end(run *r, void (*after_row)(run *)) {
    kp_event event = KP_EVENT_NONE;
    kp_err err = { "" };
    while (event != KP_EVENT_END) {
        int64_t before = r->s->sample;
        cr_assert_eq(kp_learner_stream.step(r->s, &event, &err), KP_OK, "%s", err.text);
        compare_samples(r, (int)(r->s->sample - before));
        if (event == KP_EVENT_ROWS) after_row(r);
    }
}

/* ---- the comparison -------------------------------------------------------------------------- */

static void after_hundred(run *r) {
    compare_row(r);
    if (r->s->sample <= EACH) compare_mark(r);
}

static void compare_means(const run *r) {
    double accuracy = json_number_value(json_object_get(r->want, "accuracy")),
           loss = json_number_value(json_object_get(r->want, "mean_loss")), n = (double)r->n;
    cr_expect(fabs((double)r->correct / n - accuracy) <= 0.01, "%s, %s: accuracy %g, not %g",
              r->name, r->path, (double)r->correct / n, accuracy);
    cr_expect(fabs(r->loss / n - loss) <= 0.01 * loss, "%s, %s: mean loss %g, not %g", r->name,
              r->path, r->loss / n, loss);
}

static void follow(int which, const char *path, const json_t *want, int64_t samples) {
    run r = { .want = want };
    r.strict = runs[which].is_steady ? MOST_SAMPLES : STRICT_SAMPLES;
    open_run(&r, which, path, samples, EACH);
    step_to_end(&r, after_hundred);
    if (r.n == json_integer_value(json_object_get(want, "samples"))) compare_means(&r);
    close_run(&r);
}

static void after_each(run *r) {
    const json_t *shares = json_object_get(r->want, "clip_share");
    compare_mark(r);
    if (!json_is_array(shares)) return;
    double got = row_value(r, "share_clipped"), want = number(shares, (size_t)r->s->sample - 1);
    cr_expect(fabs(got - want) <= 1e-5, "%s, %s: share clipped of sample %lld: %.7g, not %.7g",
              r->name, r->path, (long long)r->s->sample - 1, got, want);
}

/* The first samples again, one a block: what they clip, and the weights at more places. */
static void follow_closely(int which, const char *path, const json_t *want) {
    run r = { .want = want, .strict = EACH };
    open_run(&r, which, path, EACH, 1);
    step_to_end(&r, after_each);
    close_run(&r);
}

Test(stream_reference, every_trajectory_is_followed, .timeout = 900) {
    for (int i = 0; i < N_RUNS; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.leaky_relu.json.gz", runs[i].name);
        json_t *want = read_json(file);
        const char *best = runs[i].is_fused ? "fused" : "plain";
        follow(i, best, want, json_integer_value(json_object_get(want, "samples")));
        follow_closely(i, best, want);
        if (runs[i].is_fused) follow(i, "plain", want, STRICT_SAMPLES);
        json_decref(want);
    }
}

/* Bytes become the inputs that torchvision makes of them. */
Test(stream_reference, inputs_are_torchvisions) {
    kp_safetensors *file = NULL;
    kp_array pixel;
    kp_err err = { "" };
    run r = { 0 };
    cr_assert_eq(kp_safetensors_open(&file, DATA "pixel_table.safetensors", &err), KP_OK, "%s",
                 err.text);
    cr_assert_eq(kp_safetensors_find(file, "pixel", &pixel, &err), KP_OK, "%s", err.text);
    cr_assert_eq(pixel.n, 256);
    open_run(&r, 0, "plain", 1, 1);
    cr_expect(!memcmp(r.s->value, pixel.data, 256 * sizeof *r.s->value));
    close_run(&r);
    kp_safetensors_close(file);
}
