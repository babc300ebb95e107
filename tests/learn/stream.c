/* stream.c: whole streams on made-up data. Law 1: a member equals the run alone. Law 2: stopped
 * equals never stopped. Law 5: bounds, and a member that goes non-finite stops alone. And: the
 * fused path equals the plain one. */
#include "streams.h"

static char home[KP_PATH], bytes_dir[KP_PATH], floats_dir[KP_PATH];

static void path_of(char path[KP_PATH], const char *name) {
    cr_assert_eq(kp_path_join(path, home, name, NULL), KP_OK);
}

static void setup(void) {
    scratch_folder(home);
    path_of(bytes_dir, "bytes");
    path_of(floats_dir, "floats");
    streams_make_data(bytes_dir, 0);
    streams_make_data(floats_dir, 1);
}
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(stream, .init = setup, .fini = teardown, .timeout = 300);

static kp_status train(const char *dir, const kp_config *member, int P, const kp_listener *listener,
                       kp_err *err) {
    return kp_train(&(kp_train_options){ .dir = dir,
                                         .member = member,
                                         .P = P,
                                         .listener = listener },
                    err);
}

static void train_whole(char dir[KP_PATH], const char *name, const kp_config *member, int P) {
    kp_err err = { "" };
    path_of(dir, name);
    cr_assert_eq(train(dir, member, P, NULL, &err), KP_OK, "%s: %s", name, err.text);
}

static kp_status resume(const char *dir, const kp_listener *listener, kp_err *err) {
    return kp_train_resume(&(kp_train_options){ .dir = dir, .listener = listener }, 0, NULL, err);
}

static void expect_same_run(const char *a, const char *b, int P) {
    char *x = runs_text(a, "metrics.csv"), *y = runs_text(b, "metrics.csv");
    cr_expect_str_eq(x, y, "metrics.csv of %s and %s", a, b);
    free(x);
    free(y);
    for (int p = 0; p < P; p++) streams_expect_same_state(a, P, p, b, P, p);
}

static const char *const paths[] = { "plain", "fused" };

/* ---- law 1 ----------------------------------------------------------------------------------- */

Test(stream, member_equals_itself_alone) {
    enum { ALL = 8 };
    static const struct {
        int P, first, threads;
    } with[] = { { 1, 2, 2 }, { 3, 0, 2 }, { 3, 5, 1 }, { 8, 0, 2 }, { 8, 0, 1 } };
    char alone[ALL][KP_PATH], dir[KP_PATH], name[64];
    for (int path = 0; path < 2; path++) {
        kp_config common = streams_config(bytes_dir, 0, NULL), member[ALL];
        streams_set(&common, "stream.path", paths[path]);
        for (int id = 0; id < ALL; id++) {
            kp_config one = streams_member(&common, id);
            snprintf(name, sizeof name, "%s-alone-%d", paths[path], id);
            train_whole(alone[id], name, &one, 1);
        }
        for (size_t w = 0; w < sizeof with / sizeof *with; w++) {
            for (int p = 0; p < with[w].P; p++) {
                member[p] = streams_member(&common, with[w].first + p);
                member[p].threads = with[w].threads;
            }
            snprintf(name, sizeof name, "%s-%d-from-%d-threads-%d", paths[path], with[w].P,
                     with[w].first, with[w].threads);
            train_whole(dir, name, member, with[w].P);
            for (int p = 0; p < with[w].P; p++) {
                runs_expect_same_rows(dir, p, alone[with[w].first + p], 0);
                streams_expect_same_state(dir, with[w].P, p, alone[with[w].first + p], 1, 0);
            }
        }
    }
}

Test(stream, members_are_not_all_alike) { /* or the comparison above would say nothing */
    char a[KP_PATH], b[KP_PATH];
    kp_config common = streams_config(bytes_dir, 0, NULL), one = streams_member(&common, 0),
              other = one;
    other.seed++;
    train_whole(a, "a", &one, 1);
    train_whole(b, "b", &other, 1);
    char *x = runs_rows(a, 0), *y = runs_rows(b, 0);
    cr_expect_str_neq(x, y);
    static const char *const want[] = {
        ",100,100,0,", ",130,130,0,", ",200,200,1,", ",260,260,1,", ",300,300,2,", ",390,390,2,",
        ",400,400,3,", ",500,500,3,", ",520,520,3,", ",600,600,4,", ",650,650,4,", ",700,700,5,"
    };
    const char *line = x;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++, line = strchr(line, '\n') + 1)
        cr_expect(!strncmp(line, want[i], strlen(want[i])), "row %zu: %.40s", i, line);
    cr_expect(!*line, "%s", line);
    free(x);
    free(y);
}

/* ---- law 2 ----------------------------------------------------------------------------------- */

/* Most blocks end without a row, so that checkpoints lie within intervals. */
static void lengthen(kp_config *c, const char *samples) {
    streams_set(c, "train.samples", samples);
    streams_set(c, "stream.task_samples", "320");
    streams_set(c, "log.interval_steps", "1000000");
}

typedef struct {
    int pieces, at; /* told so often; stops then */
} trip;

static void tell(void *context, const kp_progress *now) {
    (void)now;
    trip *t = context;
    if (++t->pieces == t->at) kp_stop_request(SIGTERM);
}

/* Stops after each piece of work; returns how often. */
static int train_in_parts(char dir[KP_PATH], const char *name, const kp_config *member, int P,
                          kp_status want) {
    kp_err err = { "" };
    int stops = 0;
    path_of(dir, name);
    for (;; stops++) {
        trip t = { .at = 1 };
        kp_listener listener = { tell, &t };
        kp_status st = stops ? resume(dir, &listener, &err)
                             : train(dir, member, P, &listener, &err);
        kp_stop_clear();
        if (st == want) return stops;
        cr_assert_eq(st, KP_INTERRUPTED, "stop %d: %s", stops, err.text);
    }
}

Test(stream, stopped_and_resumed_equals_never_stopped) {
    char whole[KP_PATH], parts[KP_PATH];
    for (int path = 0; path < 2; path++) {
        kp_config common = streams_config(bytes_dir, 0, NULL);
        lengthen(&common, "1200");
        streams_set(&common, "stream.path", paths[path]);
        kp_config member[2] = { streams_member(&common, 1), streams_member(&common, 2) };
        train_whole(whole, path ? "whole-fused" : "whole", member, 2);
        int stops = train_in_parts(parts, path ? "parts-fused" : "parts", member, 2, KP_OK);
        cr_expect_eq(stops, 7, "%d stops", stops); /* 256, 320, 576, 640, 896, 960, 1200 */
        expect_same_run(whole, parts, 2);
    }
}

/* Rules and methods that keep more state than a gradient's moments, on the plain path. */
static const char *const stateful[][6] = {
    { "optim.rule=upgd", "optim.upgd.sigma=0.01", "optim.weight_decay=0.01" },
    { "optim.rule=adaupgd", "optim.variant=reference", "optim.noise=hash" },
    { "optim.rule=madam", "optim.clip.kappa=2" },
    { "optim.rule=adam", "optim.l2init=0.01", "optim.variant=reference" },
    { "optim.rule=sgd", "optim.shrink=0.001", "optim.perturb=0.001" },
    { "optim.rule=adam", "optim.ewc.strength=1", "optim.clip.kappa=1" },
    { "optim.rule=sgd", "optim.si.strength=1" },
    { "optim.rule=sgd", "optim.si.strength=1", "optim.si.every=37" },
    { "optim.rule=adam", "optim.cbp.rate=0.02", "optim.cbp.maturity=20" },
    { "optim.rule=sgd", "optim.redo.every=45", "optim.redo.tau=0.3" },
    { "optim.rule=adam", "optim.grad_norm=1" },
};

Test(stream, whatever_has_state_keeps_both_laws) {
    char whole[KP_PATH], parts[KP_PATH], alone[KP_PATH], name[64];
    for (size_t i = 0; i < sizeof stateful / sizeof *stateful; i++) {
        int n = 0;
        while (n < 6 && stateful[i][n]) n++;
        kp_config common = streams_config(bytes_dir, n, stateful[i]),
                  member[2] = { common, common };
        for (int p = 0; p < 2; p++) {
            lengthen(&member[p], "600");
            streams_set(&member[p], "threads", "2");
            member[p].seed = 5 + (uint64_t)p;
        }
        snprintf(name, sizeof name, "%zu-whole", i);
        train_whole(whole, name, member, 2);
        snprintf(name, sizeof name, "%zu-parts", i);
        cr_expect_geq(train_in_parts(parts, name, member, 2, KP_OK), 4);
        expect_same_run(whole, parts, 2);
        snprintf(name, sizeof name, "%zu-alone", i);
        train_whole(alone, name, &member[1], 1);
        runs_expect_same_rows(whole, 1, alone, 0);
        streams_expect_same_state(whole, 2, 1, alone, 1, 0);
        char *log = runs_text(whole, "log.txt");
        cr_expect(strstr(log, "path: plain, "), "%s", log);
        free(log);
    }
}

/* What is consolidated at a task's end pulls from then on, and no earlier. */
Test(stream, the_optimizer_is_told_where_tasks_end) {
    char dir[2][KP_PATH];
    for (int i = 0; i < 2; i++) {
        kp_config c = streams_config(bytes_dir, 2,
                                     (const char *const[]){ "optim.rule=sgd", "optim.lr=0.01" });
        if (i) streams_set(&c, "optim.si.strength", "10");
        lengthen(&c, "400");
        train_whole(dir[i], i ? "si" : "none", &c, 1);
    }
    char *x = runs_rows(dir[0], 0), *y = runs_rows(dir[1], 0);
    size_t first = strcspn(x, "\n");
    cr_expect(!strncmp(x, y, first), "the first task is alike");
    cr_expect_str_neq(x + first, y + first);
    free(x);
    free(y);
}

Test(stream, units_that_are_replaced_are_counted) {
    char dir[KP_PATH];
    kp_config c = streams_config(bytes_dir, 2,
                                 (const char *const[]){ "optim.cbp.rate=0.02",
                                                        "optim.cbp.maturity=20" });
    train_whole(dir, "run", &c, 1);
    cr_expect_gt(streams_last(dir, 0, "units_replaced"), 0);
}

/* ---- law 5 ----------------------------------------------------------------------------------- */

Test(stream, a_member_that_goes_non_finite_stops_alone) {
    char whole[KP_PATH], parts[KP_PATH], alone[KP_PATH];
    kp_err err = { "" };
    kp_config common = streams_config(bytes_dir, 1, (const char *const[]){ "optim.rule=sgd" }),
              member[3];
    for (int path = 0; path < 2; path++) {
        streams_set(&common, "stream.path", paths[path]);
        for (int p = 0; p < 3; p++) member[p] = streams_member(&common, p);
        member[1].optim.lr = 1000; /* a few updates, and numbers are too large for floats */
        streams_set(&member[1], "optim.clip.kappa", "none");
        path_of(whole, path ? "whole-fused" : "whole");
        cr_expect_eq(train(whole, member, 3, NULL, &err), KP_NON_FINITE, "%s", err.text);
        cr_expect(strstr(err.text, "1 of 3 members stopped") &&
                      strstr(err.text, "the first (seed 1017) after update "),
                  "%s", err.text);
        long long update = atoll(strstr(err.text, "after update ") + 13);
        cr_expect(update > 0 && update < 100, "%s", err.text);
        char *log = runs_text(whole, "log.txt");
        cr_expect(strstr(log, "member 1 (seed 1017): layer") &&
                      strstr(log, " is not finite after update "),
                  "%s", log);
        free(log);
        for (int p = 0; p < 3; p += 2) {
            char name[32];
            snprintf(name, sizeof name, "alone-%s-%d", paths[path], p);
            train_whole(alone, name, &member[p], 1);
            runs_expect_same_rows(whole, p, alone, 0);
            streams_expect_same_state(whole, 3, p, alone, 1, 0);
        }
        train_in_parts(parts, path ? "parts-fused" : "parts", member, 3, KP_NON_FINITE);
        expect_same_run(whole, parts, 3);
    }
}

Test(stream, a_run_whose_members_have_all_stopped_ends) {
    char dir[KP_PATH];
    kp_err err = { "" };
    kp_run_state state;
    int exit_code;
    const char *const args[] = { "optim.lr=1000", "optim.rule=sgd", "train.samples=1000000000" };
    kp_config member = streams_config(bytes_dir, 3, args);
    path_of(dir, "run");
    cr_expect_eq(train(dir, &member, 1, NULL, &err), KP_NON_FINITE, "%s", err.text);
    cr_expect_eq(kp_rundir_peek(dir, &state, &exit_code, NULL, &err), KP_OK);
    cr_expect(state == KP_RUN_DONE && exit_code == KP_NON_FINITE, "%d %d", state, exit_code);
}

Test(stream, clipped_weights_lie_within_their_bounds) {
    static const int fan_in[] = { STREAMS_INPUTS, STREAMS_INPUTS, 19, 19, 12, 12 };
    char dir[KP_PATH];
    for (int path = 0; path < 2; path++) {
        kp_config member = streams_config(bytes_dir, 2,
                                          (const char *const[]){ "optim.lr=0.01",
                                                                 "optim.clip.kappa=0.5" });
        streams_set(&member, "stream.path", paths[path]);
        train_whole(dir, paths[path], &member, 1);
        kp_checkpoint *c = runs_checkpoint(dir);
        for (int t = 0; t < STREAMS_TENSORS; t++) {
            size_t n;
            int at_bound = 0;
            const float *w = streams_tensor(c, "theta", t, 1, 0, &n);
            float bound = (float)(0.5 / sqrt(fan_in[t]));
            for (size_t e = 0; e < n; e++) {
                cr_assert(fabsf(w[e]) <= bound, "%s[%zu]: %.9g, beyond %.9g", streams_tensors[t], e,
                          (double)w[e], (double)bound);
                at_bound += fabsf(w[e]) == bound;
            }
            cr_expect(at_bound || t == 5, "%s: none at its bound", streams_tensors[t]);
        }
        kp_checkpoint_close(c);
    }
}

/* ---- the two paths --------------------------------------------------------------------------- */

static const struct {
    const char *name, *args[6];
    int floats;
} fused[] = {
    { "sgd", { "optim.rule=sgd", "optim.clip.kappa=1" }, 0 },
    { "sgd, unit inputs, many of them 0", { "optim.rule=sgd", "data.normalize=unit" }, 0 },
    { "sgd, l2", { "optim.rule=sgd", "optim.l2=0.01", "optim.clip.kappa=2" }, 0 },
    { "momentum", { "optim.rule=sgd", "optim.momentum=0.9", "optim.clip.kappa=1" }, 0 },
    { "adam", { "optim.rule=adam", "optim.clip.kappa={hidden: 1, layer1.bias: 0.1}" }, 0 },
    { "adam, features", { "optim.rule=adam", "data.normalize=none" }, 1 },
    { "adam, unit inputs", { "optim.rule=adam", "data.normalize=unit" }, 0 },
    { "adam, l2 init", { "optim.rule=adam", "optim.l2init=0.01", "optim.clip.kappa=2" }, 0 },
    { "adam, no plasticity", { "optim.rule=adam", "diag.plasticity=false" }, 0 },
    { "adam, no diagnostics",
      { "diag.units=false", "diag.plasticity=false", "diag.norms=false", "diag.rank=false" },
      0 },
    { "adam, labels permuted", { "stream.problem=label_permuted", "data.normalize=unit" }, 0 },
    { "adam, clipped once",
      { "optim.clip.kappa=1", "optim.clip.when=once", "optim.clip.at=77" },
      0 },
    { "adam, layer norm", { "net.layer_norm=true", "net.activation=relu" }, 0 },
    { "adam, tanh", { "net.activation=tanh", "net.widths=17" }, 0 },
    { "adam, crelu", { "net.activation=crelu" }, 0 },
    { "adamw", { "optim.rule=adamw", "optim.weight_decay=0.01" }, 0 },
    { "rmsprop", { "optim.rule=rmsprop", "optim.clip.kappa=1" }, 0 },
    { "rmsprop, centered", { "optim.rule=rmsprop", "optim.centered=true" }, 0 },
};

Test(stream, the_fused_path_leaves_the_bits_of_the_plain_one) {
    char name[64], dir[2][KP_PATH];
    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++) {
        int n = 0;
        while (n < 6 && fused[i].args[n]) n++;
        kp_config common = streams_config(fused[i].floats ? floats_dir : bytes_dir, n,
                                          fused[i].args);
        for (int path = 0; path < 2; path++) {
            kp_config member[2] = { common, common };
            for (int p = 0; p < 2; p++) {
                streams_set(&member[p], "stream.path", paths[path]);
                member[p].seed = 5 + (uint64_t)p;
            }
            snprintf(name, sizeof name, "%zu-%s", i, paths[path]);
            train_whole(dir[path], name, member, 2);
        }
        expect_same_run(dir[0], dir[1], 2);
    }
}

/* ---- what rows say --------------------------------------------------------------------------- */

static void expect_near(const char *what, double got, double want) {
    cr_expect(fabs(got - want) <= 1e-7 * fabs(want), "%s: got %.9g, want %.9g", what, got, want);
}

Test(stream, rows_measure_the_weight_matrices) {
    char dir[KP_PATH], start[KP_PATH];
    kp_config member = streams_config(bytes_dir, 1, (const char *const[]){ "optim.clip.kappa=1" }),
              first = member;
    first.train.samples = 1, first.optim.lr = 1e-30; /* weights as they begin */
    train_whole(dir, "run", &member, 1);
    train_whole(start, "start", &first, 1);
    kp_checkpoint *c = runs_checkpoint(dir), *c0 = runs_checkpoint(start);
    double l1 = 0, squares = 0, distance = 0;
    for (int t = 0; t < STREAMS_TENSORS; t += 2) {
        size_t n, n0;
        const float *w = streams_tensor(c, "theta", t, 1, 0, &n),
                    *w0 = streams_tensor(c0, "theta", t, 1, 0, &n0);
        for (size_t e = 0; e < n; e++) {
            double moved = (double)w[e] - (double)w0[e];
            l1 += fabs((double)w[e]), squares += (double)w[e] * (double)w[e],
                distance += moved * moved;
        }
    }
    expect_near("weight_l1", streams_last(dir, 0, "weight_l1"), l1);
    expect_near("weight_l2", streams_last(dir, 0, "weight_l2"), sqrt(squares));
    expect_near("weight_l0", streams_last(dir, 0, "weight_l0"), 1);
    expect_near("distance", streams_last(dir, 0, "distance_from_init"), sqrt(distance));
    cr_expect(streams_last(start, 0, "distance_from_init") == 0);
    expect_near("weight_rank", streams_last(dir, 0, "weight_rank"), 1);
    double rank = streams_last(dir, 0, "effective_rank"),
           accuracy = streams_last(dir, 0, "accuracy");
    cr_expect(rank > 0.5 && rank < 1, "%g", rank);
    cr_expect(accuracy > 0.5, "it learns: %g", accuracy);
    kp_checkpoint_close(c);
    kp_checkpoint_close(c0);
}

/* Rows that lie closer say the same, in parts. */
Test(stream, shares_and_means_are_those_of_the_interval) {
    static const char *const columns[] = { "share_clipped", "clipped/layer1.weight", "accuracy",
                                           "loss", "inactive_units" };
    char fine[KP_PATH], coarse[KP_PATH];
    kp_config c = streams_config(bytes_dir, 4,
                                 (const char *const[]){ "optim.clip.kappa=0.5", "train.samples=300",
                                                        "stream.task_samples=300",
                                                        "log.interval_steps=300" });
    train_whole(coarse, "coarse", &c, 1);
    streams_set(&c, "log.interval_steps", "100");
    train_whole(fine, "fine", &c, 1);
    for (size_t i = 0; i < KP_COUNT(columns); i++) {
        double all[3];
        cr_assert_eq(streams_column(fine, 0, columns[i], all, 3), 3);
        double mean = (all[0] + all[1] + all[2]) / 3, want = streams_last(coarse, 0, columns[i]);
        cr_expect(want > 0 && fabs(mean - want) <= 1e-7 * want, "%s: %.9g, not %.9g", columns[i],
                  mean, want);
    }
}

Test(stream, diagnostics_can_be_turned_off) {
    static const struct {
        const char *key, *columns[10];
    } cases[] = {
        { "diag.plasticity", { "loss_after", "plasticity" } },
        { "diag.units", { "inactive_units", "dead_units" } },
        { "diag.norms",
          { "weight_l1", "weight_l2", "weight_l0", "grad_l1", "grad_l2", "grad_l0",
            "distance_from_init" } },
        { "diag.rank", { "effective_rank", "weight_rank" } },
    };
    char dir[KP_PATH], whole[KP_PATH];
    kp_config member = streams_config(bytes_dir, 0, NULL);
    train_whole(whole, "whole", &member, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_config c = member;
        streams_set(&c, cases[i].key, "false");
        train_whole(dir, cases[i].key, &c, 1);
        for (int k = 0; k < 10 && cases[i].columns[k]; k++) {
            cr_expect(isnan(streams_last(dir, 0, cases[i].columns[k])), "%s", cases[i].columns[k]);
            cr_expect(isfinite(streams_last(whole, 0, cases[i].columns[k])), "%s",
                      cases[i].columns[k]);
        }
        cr_expect_eq(streams_last(dir, 0, "loss"), streams_last(whole, 0, "loss"));
        streams_expect_same_state(dir, 1, 0, whole, 1, 0);
    }
}

/* ---- bad data -------------------------------------------------------------------------------- */

static void expect_fails(const kp_config *c, kp_status want, const char *message) {
    char dir[KP_PATH];
    kp_err err = { "" };
    path_of(dir, "fails");
    kp_folder_remove(dir, NULL);
    cr_expect_eq(train(dir, c, 1, NULL, &err), want, "%s", err.text);
    cr_expect(strstr(err.text, message), "no '%s' in: %s", message, err.text);
}

/* A safetensors file of the first layer's weights. */
static void put_weights_with_nan(const char *path) {
    enum { N = 19 * STREAMS_INPUTS };
    char file[256 + N * sizeof(float)] = { 0 }, *head = file + 8;
    float weight[N] = { [33] = NAN };
    int n = snprintf(
        head, 248,
        "{\"layer1.weight\":{\"dtype\":\"F32\",\"shape\":[19,%d],\"data_offsets\":[0,%zu]}}",
        STREAMS_INPUTS, sizeof weight);
    file[0] = (char)n;
    memcpy(head + n, weight, sizeof weight);
    cr_assert_eq(kp_file_write(path, file, 8 + (size_t)n + sizeof weight, NULL), KP_OK);
}

Test(stream, what_does_not_fit_the_data_is_said) {
    char path[KP_PATH], text[KP_PATH + 32];
    int32_t rows[6][STREAMS_INPUTS];
    for (int r = 0; r < 6; r++)
        for (int j = 0; j < STREAMS_INPUTS; j++) rows[r][j] = (j + r) % STREAMS_INPUTS;
    kp_config c = streams_config(floats_dir, 0, NULL);
    expect_fails(&c, KP_BAD_CONFIG,
                 "data.normalize is for bytes, and custom has features: set it to none");
    c = streams_config(bytes_dir, 1, (const char *const[]){ "optim.clip.kappa={layer9: 1}" });
    expect_fails(&c, KP_BAD_CONFIG, "layer9");
    streams_put_npy(home, "five.npy", "<i4", "(5, 30)", rows, 5 * sizeof *rows);
    path_of(path, "five.npy");
    snprintf(text, sizeof text, "data.permutations=%s", path);
    c = streams_config(bytes_dir, 1, (const char *const[]){ text });
    expect_fails(&c, KP_BAD_DATA, "five.npy: 5 permutations, and the stream has 6 tasks");
    rows[3][3] = 0;
    streams_put_npy(home, "five.npy", "<i4", "(6, 30)", rows, sizeof rows);
    expect_fails(&c, KP_BAD_DATA, "five.npy: ");
    path_of(path, "absent.safetensors");
    snprintf(text, sizeof text, "net.init_from=%s", path);
    c = streams_config(bytes_dir, 1, (const char *const[]){ text });
    expect_fails(&c, KP_BAD_DATA, "absent.safetensors: ");
    put_weights_with_nan(path);
    expect_fails(&c, KP_BAD_DATA, "element 33 of layer1.weight is nan, expected a number");
    c = streams_config(home, 0, NULL);
    expect_fails(&c, KP_BAD_DATA, home);
}
