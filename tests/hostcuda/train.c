/* train.c: whole DQN runs on a real game with device=cuda, on the emulated runtime: as on the CPU
 * within rounding, the same bits in every order of threads, resumed or not, with the frames in
 * device memory or read where they lie. */
#include "learn/runs.h"

#include <math.h>

#include "cuda_runtime_api.h"
#include "fakes/cudnn_fake.h"
#include "hostcuda.h"
#include "runtime.h"

/* Updates of a run: a sanitizer sees in a few what it can see. */
#if defined(__SANITIZE_THREAD__)
enum { UPDATES = 4, SOME_UPDATES = 2, N_ORDERS = 1, N_PRESETS = 1 };
#elif defined(__SANITIZE_ADDRESS__)
enum { UPDATES = 30, SOME_UPDATES = 10, N_ORDERS = 2, N_PRESETS = 1 };
#else
enum { UPDATES = 200, SOME_UPDATES = 40, N_ORDERS = 3, N_PRESETS = 4 };
#endif
enum { P = 2, FILL = 40 };

static char home[KP_PATH]; /* of this test's runs */

static void setup(void) {
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    scratch_folder(home);
}
static void teardown(void) { kp_folder_remove(home, NULL); }

TestSuite(hostcuda_train, .init = setup, .fini = teardown);

/* Two members that differ in seed, step size and kappa. Actions are random, so that a difference in
 * the last bit does not become another game; and epsilon is large, since Adam divides by sqrt(v) +
 * epsilon: gradients that are rounding and nothing else would become whole steps. */
static void set_up(kp_config member[P], const char *preset, const char *game, const char *device,
                   int updates, const char *transitions) {
    char game_is[32], device_is[32], steps[64], buffer[64];
    snprintf(device_is, sizeof device_is, "device=%s", device);
    snprintf(steps, sizeof steps, "train.agent_steps=%d", FILL + updates);
    snprintf(buffer, sizeof buffer, "buffer.transitions=%s", transitions);
    snprintf(game_is, sizeof game_is, "env.game=%s", game);
    const char *const more[] = { game_is,
                                 device_is,
                                 steps,
                                 buffer,
                                 "train.replay_ratio=1",
                                 "buffer.min_transitions=40",
                                 "dqn.batch=2",
                                 "net.hidden=16",
                                 "optim.eps=1e-3",
                                 "epsilon.start=1",
                                 "epsilon.end=1",
                                 "target.period=30",
                                 "target.unit=updates",
                                 "eval.interval_steps=120",
                                 "eval.episodes=1",
                                 "eval.max_agent_steps=10" };
    kp_config common = runs_config_of(preset, sizeof more / sizeof *more, more);
    for (int p = 0; p < P; p++) member[p] = runs_member(&common, p);
}

static void train_some(char dir[KP_PATH], const char *name, const kp_config *member, int n) {
    kp_err err = { "" };
    cr_assert_eq(kp_path_join(dir, home, name, NULL), KP_OK);
    cr_assert_eq(kp_train(&(kp_train_options){ .dir = dir, .member = member, .P = n }, &err), KP_OK,
                 "%s: %s", name, err.text);
}

static void train(char dir[KP_PATH], const char *name, const kp_config *member) {
    train_some(dir, name, member, P);
}

static void run(char dir[KP_PATH], const char *name, const char *preset, const char *game,
                const char *device, int updates) {
    kp_config member[P];
    set_up(member, preset, game, device, updates, "256");
    train(dir, name, member);
}

static void expect_same(const char *a, const char *b) {
    char *x = runs_text(a, "metrics.csv"), *y = runs_text(b, "metrics.csv");
    cr_expect_str_eq(x, y, "metrics.csv of %s and %s", a, b);
    free(x);
    free(y);
    for (int p = 0; p < P; p++) runs_expect_same_state(a, P, p, b, P, p);
}

/* Arrays of a checkpoint lie at any byte. */
static double value(const float *x, size_t k) {
    float value;
    memcpy(&value, (const char *)x + k * sizeof value, sizeof value);
    return (double)value;
}

/* The largest difference of any weight or moment, relative to the largest value of its tensor. */
static double distance(const char *a, const char *b, int n_members) {
    static const char *const groups[] = { "theta", "target", "m", "v" };
    kp_checkpoint *ca = runs_checkpoint(a), *cb = runs_checkpoint(b);
    double most = 0;
    for (int i = 0; i < 4 * RUNS_TENSORS * n_members; i++) {
        const char *group = groups[i % 4];
        int t = i / 4 % RUNS_TENSORS, p = i / 4 / RUNS_TENSORS;
        size_t n, m;
        const float *x = runs_tensor(ca, group, t, n_members, p, &n),
                    *y = runs_tensor(cb, group, t, n_members, p, &m);
        double largest = 0, apart = 0;
        cr_assert_eq(n, m);
        for (size_t k = 0; k < n; k++) {
            largest = fmax(largest, fabs(value(y, k)));
            apart = fmax(apart, fabs(value(x, k) - value(y, k)));
            cr_assert(isfinite(value(x, k)), "%s: %s/%s of member %d", a, group, runs_tensors[t],
                      p);
        }
        if (largest > 0) most = fmax(most, apart / largest);
    }
    kp_checkpoint_close(ca);
    kp_checkpoint_close(cb);
    return most;
}

/* A ReLU whose input is a rounding away from zero, and the same over a whole background, would part
 * two runs by more than rounding; in these games there is none. */
Test(hostcuda_train, as_on_the_cpu, .timeout = 900) {
    static const struct {
        const char *preset, *game;
    } runs[] = { { "dqn-dopamine", "pong" },
                 { "dqn-tianshou", "breakout" },
                 { "dqn-paper", "breakout" },
                 { "dqn-cleanrl", "pong" } };
    for (int i = 0; i < N_PRESETS; i++) {
        char cpu[KP_PATH], cuda[KP_PATH], name[64];
        snprintf(name, sizeof name, "%s-cpu", runs[i].preset);
        run(cpu, name, runs[i].preset, runs[i].game, "cpu", UPDATES);
        snprintf(name, sizeof name, "%s-cuda", runs[i].preset);
        run(cuda, name, runs[i].preset, runs[i].game, "cuda", UPDATES);
        double apart = distance(cuda, cpu, P);
        cr_expect(apart < 1e-4, "%s: weights are %g apart", runs[i].preset, apart);
        cr_expect(apart > 0, "%s: the CPU's sums are in another order", runs[i].preset);
    }
}

Test(hostcuda_train, the_same_bits_in_every_order, .timeout = 900) {
    char first[KP_PATH], other[KP_PATH];
    run(first, "forward", "dqn-tianshou", "breakout", "cuda", SOME_UPDATES);
    for (int order = 1; order < N_ORDERS; order++) {
        hostcuda_order((unsigned)order);
        run(other, order == 1 ? "backward" : "shuffled", "dqn-tianshou", "breakout", "cuda",
            SOME_UPDATES);
        expect_same(first, other);
    }
}

static void stop_at(void *context, const kp_progress *now) {
    if (now->updates == *(int *)context) kp_stop_request(SIGTERM);
}

Test(hostcuda_train, stopped_and_resumed, .timeout = 900) {
    char whole[KP_PATH], parts[KP_PATH];
    kp_config member[P];
    kp_err err = { "" };
    int at = SOME_UPDATES / 2 + 1;
    run(whole, "whole", "dqn-paper", "breakout", "cuda", SOME_UPDATES);
    set_up(member, "dqn-paper", "breakout", "cuda", SOME_UPDATES, "256");
    cr_assert_eq(kp_path_join(parts, home, "parts", NULL), KP_OK);
    kp_listener listener = { .context = &at, .tell = stop_at };
    cr_assert_eq(kp_train(&(kp_train_options){ .dir = parts,
                                               .member = member,
                                               .P = P,
                                               .listener = &listener },
                          &err),
                 KP_INTERRUPTED, "%s", err.text);
    kp_stop_clear();
    cr_assert_eq(kp_train_resume(&(kp_train_options){ .dir = parts }, 0, NULL, &err), KP_OK, "%s",
                 err.text);
    expect_same(whole, parts);
}

/* The replay is larger than what the device leaves for it: frames are read where they lie. */
Test(hostcuda_train, frames_that_do_not_fit_on_the_device, .timeout = 900) {
    char large[KP_PATH], small[KP_PATH];
    kp_config member[P];
    set_up(member, "dqn-cleanrl", "breakout", "cuda", SOME_UPDATES, "4000");
    train(large, "large", member);
    hostcuda_has.memory = 80 << 20;
    train(small, "small", member);
    expect_same(large, small);
    char *says = runs_text(small, "log.txt");
    cr_expect(strstr(says, "replay: its frames are in page-locked host memory"), "%s", says);
    free(says);
}

/* The first start measures, the second knows; both give the same bits. */
Test(hostcuda_train, one_agent_by_cudnn, .timeout = 900) {
    char cpu[KP_PATH], cuda[KP_PATH], again[KP_PATH];
    kp_config member[P];
    setenv("XDG_CACHE_HOME", home, 1);
    setenv("KAPPA_CONV", "cudnn",
           1); /* products are slow to measure here, and so are more engines */
    cudnn_fake_has = (cudnn_fake_machine){ .how = { CUDNN_FAKE_NEVER, CUDNN_FAKE_WORKS,
                                                    CUDNN_FAKE_NEVER } };
    set_up(member, "dqn-dopamine", "pong", "cpu", SOME_UPDATES / 2, "256");
    train_some(cpu, "cpu", member, 1);
    set_up(member, "dqn-dopamine", "pong", "cuda", SOME_UPDATES / 2, "256");
    train_some(cuda, "cuda", member, 1);
    double apart = distance(cuda, cpu, 1);
    cr_expect(apart < 1e-4 && apart > 0, "weights are %g apart", apart);
    char *says = runs_text(cuda, "log.txt");
    cr_expect(strstr(says, "convolution: weight gradient in fp32, batch 2, "), "%s", says);
    cr_expect(strstr(says, ": cuDNN; cuDNN's engine 1"), "%s", says);
    cr_expect(!strstr(says, ": products"), "%s", says);
    free(says);

    int searches = cudnn_fake_did.searches;
    cudnn_fake_has.how[0] = CUDNN_FAKE_WORKS; /* nobody looks */
    train_some(again, "again", member, 1);
    cr_expect_eq(cudnn_fake_did.searches, searches);
    cr_expect_eq(distance(again, cuda, 1), 0.0);
}
