/* schema.c: the table of keys. Validation, the written configuration and the reference all come
 * from it. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

/* The field's offset; does not compile where the field has another type. */
#define AT(type, field) _Generic(((kp_config *)0)->field, type : offsetof(kp_config, field))
#define ENUM(key, field, names, standard, help)                                                    \
    { key, KP_KEY_ENUM, AT(int, field), 0, names, 0, 0, 0, standard, "", 0, help }
#define BOOL(key, field, standard, help)                                                           \
    { key, KP_KEY_BOOL, AT(int, field), 0, NULL, 0, 0, 0, standard, "", 0, help }
#define INT(key, field, min, max, standard, unit, help)                                            \
    { key, KP_KEY_INT, AT(int, field), 0, NULL, min, max, 0, standard, unit, 0, help }
#define INT64(key, field, min, max, standard, unit, help)                                          \
    { key, KP_KEY_INT64, AT(int64_t, field), 0, NULL, min, max, 0, standard, unit, 0, help }
#define DOUBLE(key, field, min, max, standard, unit, help)                                         \
    { key, KP_KEY_DOUBLE, AT(double, field), 0, NULL, min, max, 0, standard, unit, 0, help }
#define ABOVE0(key, field, max, standard, unit, help)                                              \
    { key, KP_KEY_DOUBLE, AT(double, field), 0, NULL, 0, max, 1, standard, unit, 0, help }
#define STRING(key, field, standard, help)                                                         \
    {                                                                                              \
        key, KP_KEY_STRING, offsetof(kp_config, field), sizeof((kp_config *)0)->field, NULL, 0, 0, \
            0, standard, "", 0, help                                                               \
    }
/* what members of one population may differ in */
#define M_DOUBLE(key, field, min, max, standard, help)                                             \
    { key, KP_KEY_DOUBLE, AT(double, field), 0, NULL, min, max, 0, standard, "", 1, help }
#define M_ABOVE0(key, field, max, standard, help)                                                  \
    { key, KP_KEY_DOUBLE, AT(double, field), 0, NULL, 0, max, 1, standard, "", 1, help }
#define M_BOOL(key, field, standard, help)                                                         \
    { key, KP_KEY_BOOL, AT(int, field), 0, NULL, 0, 0, 0, standard, "", 1, help }
#define M_ENUM(key, field, names, standard, help)                                                  \
    { key, KP_KEY_ENUM, AT(int, field), 0, names, 0, 0, 0, standard, "", 1, help }

/* 2^53: every whole number up to here is exact as a double. */
#define MOST 9007199254740992.0

static const kp_key keys[] = {
    ENUM("algorithm", algorithm, "dqn|stream", "dqn", "Which learner trains."),
    STRING("device", device, "auto", "auto (the first GPU, else the CPU), cpu, cuda or cuda:N."),
    ENUM(
        "precision", precision, "fp32|tf32|bf16", "fp32",
        "What a GPU's matrix products and convolutions round their factors to; sums are fp32 always."),
    INT("threads", threads, 0, 4096, "0", "", "CPU threads; 0: one for each core."),
    { "seed", KP_KEY_UINT64, AT(uint64_t, seed), 0, NULL, 0, 0, 0, "0", "", 1,
      "Seed of the first member; the others take seed + 1, seed + 2, ..." },
    INT("population.size", population.size, 1, 4096, "1", "members",
        "Members trained at once, alike but for their seeds."),
    STRING("run.dir", run.dir, "", "Where the run is kept; empty: runs/ and the run's name."),
    STRING("run.name", run.name, "",
           "Name of the run; empty: made from preset, game, kappa and seed."),
    STRING("run.method", run.method, "",
           "What reports call the method; empty: made from the keys that differ."),

    INT64("train.agent_steps", train.agent_steps, 1, MOST, "50000000", "agent steps",
          "Length of training; an agent step is one action, env.frame_skip frames."),
    ABOVE0("train.replay_ratio", train.replay_ratio, 64, "0.25", "updates per agent step",
           "Gradient updates made for each agent step."),
    INT64("train.samples", train.samples, 1, MOST, "1000000", "samples",
          "Length of the stream; one update a sample."),

    STRING("data.set", data.set, "fashion-mnist",
           "Which samples, as in kappa list data; custom: the files of data.dir."),
    STRING("data.dir", data.dir, "",
           "Folder of the set's files; empty: where it is usually kept (kappa doctor)."),
    ENUM("data.normalize", data.normalize, "symmetric|unit|none", "symmetric",
         "Bytes as (p/255 - 0.5)/0.5, -1 to 1 (symmetric), or p/255 (unit); features as they are "
         "(none)."),
    ENUM("data.order", data.order, "shuffled|sequential", "shuffled",
         "A fresh shuffle for every task, or the order of the file."),
    STRING("data.permutations", data.permutations, "",
           "NPY file of int32 permutations, one row a task; empty: drawn from the seed."),
    ENUM("stream.problem", stream.problem, "input_permuted|label_permuted|stationary",
         "input_permuted", "What changes from task to task."),
    INT64("stream.task_samples", stream.task_samples, 1, MOST, "5000", "samples",
          "Length of a task; a stationary stream has tasks too, for its metrics."),
    ENUM("stream.path", stream.path, "auto|fused|plain", "auto",
         "Update rule and clip within the passes over the weights, where the rule allows; the same "
         "bits either way."),
    BOOL("diag.plasticity", diag.plasticity, "true",
         "Measure each sample's loss again after its update."),
    BOOL("diag.units", diag.units, "true", "Count units that are never active in an interval."),
    BOOL("diag.norms", diag.norms, "true",
         "Norms of weights and gradients, distance from initialisation, at each row."),
    BOOL("diag.rank", diag.rank, "true", "Effective rank of the weights, at each row."),

    ENUM("net.init", net.init, "fan_in|xavier", "xavier",
         "Initial weights: U(+-1/sqrt(fan_in)) as PyTorch, or Xavier uniform with zero biases."),
    ENUM("net.padding", net.padding, "valid|same", "same", "Padding of the convolutions."),
    INT("net.hidden", net.hidden, 1, 16384, "512", "units", "Width of the fully connected layer."),
    STRING("net.widths", net.widths, "300-150", "Units of the hidden layers of an MLP."),
    ENUM("net.activation", net.activation, "relu|leaky_relu|tanh|crelu", "leaky_relu",
         "Activation of the hidden layers of an MLP."),
    BOOL("net.layer_norm", net.layer_norm, "false",
         "Layer norm between the linear maps of an MLP and their activations."),
    STRING("net.init_from", net.init_from, "",
           "Safetensors file of initial weights; empty: drawn from the seed."),
    ENUM("net.input_scale", net.input_scale, "unit|raw", "unit",
         "Pixels as 0 to 1 (unit) or 0 to 255 (raw)."),

    ENUM("dqn.loss", dqn.loss, "mse|huber", "mse", "Loss of the temporal-difference error."),
    BOOL("dqn.double", dqn.double_q, "false",
         "Double Q-learning: the online net chooses the next action."),
    INT("dqn.n_step", dqn.n_step, 1, 100, "1", "agent steps",
        "Rewards summed before bootstrapping."),
    DOUBLE("dqn.gamma", dqn.gamma, 0, 1, "0.99", "", "Discount of one agent step."),
    INT("dqn.batch", dqn.batch, 1, 65536, "32", "transitions", "Transitions in one update."),

    ENUM("optim.rule", optim.rule, "adam|adamw|sgd|rmsprop|madam|upgd|adaupgd", "adam",
         "Update rule."),
    ENUM("optim.variant", optim.variant, "textbook|reference", "textbook",
         "Rules as published, or as the weight clipping authors' code has them."),
    M_ABOVE0("optim.lr", optim.lr, 1000, "6.25e-05", "Step size."),
    M_DOUBLE("optim.beta1", optim.beta1, 0, 0.999999999, "0.9", "Decay of the first moment."),
    M_DOUBLE("optim.beta2", optim.beta2, 0, 0.999999999, "0.999", "Decay of the second moment."),
    M_DOUBLE("optim.eps", optim.eps, 1e-37, 1000, "0.00015",
             "Added to the root of the second moment."),
    M_DOUBLE("optim.momentum", optim.momentum, 0, 0.999999999, "0", "Momentum of sgd."),
    BOOL("optim.centered", optim.centered, "false", "rmsprop: divide by the standard deviation."),
    M_DOUBLE("optim.weight_decay", optim.weight_decay, 0, 1000, "0",
             "Decoupled weight decay of adamw, upgd and adaupgd; sgd and rmsprop add it to "
             "optim.l2."),
    M_DOUBLE("optim.l2", optim.l2, 0, 1000, "0", "L2: lambda theta is added to the gradient."),
    M_DOUBLE("optim.l2init", optim.l2init, 0, 1000, "0",
             "L2 Init: lambda (theta - theta_0) is added to the gradient."),
    M_DOUBLE("optim.shrink", optim.shrink, 0, 1, "0",
             "Shrink and perturb: weights are multiplied by 1 - shrink after each update."),
    M_DOUBLE(
        "optim.perturb", optim.perturb, 0, 1000, "0",
        "Shrink and perturb: noise from the initialiser times this is added after each update."),
    ENUM("optim.noise", optim.noise, "random|hash", "random",
         "Noise from the seed, or from a hash that another program can compute too."),
    M_ABOVE0("optim.madam_scale", optim.madam_scale, 1000, "3",
             "madam: weights stay within this times the root mean square of the initial ones."),
    M_DOUBLE("optim.upgd.beta", optim.upgd.beta, 0, 0.999999999, "0.999",
             "upgd: decay of the utility."),
    M_DOUBLE("optim.upgd.sigma", optim.upgd.sigma, 0, 1000, "0.001",
             "upgd: standard deviation of the noise."),
    M_DOUBLE("optim.ewc.strength", optim.ewc.strength, 0, 1e9, "0",
             "Streaming EWC: weight of the penalty."),
    M_DOUBLE("optim.ewc.decay", optim.ewc.decay, 0, 0.999999999, "0.999",
             "Streaming EWC: decay of the Fisher information and of the anchor."),
    M_DOUBLE("optim.si.strength", optim.si.strength, 0, 1e9, "0",
             "Synaptic Intelligence: weight of the penalty."),
    M_DOUBLE("optim.si.xi", optim.si.xi, 1e-37, 1000, "0.1",
             "Synaptic Intelligence: damping of the importance."),
    INT64("optim.si.every", optim.si.every, 0, MOST, "0", "samples",
          "Synaptic Intelligence: time between consolidations; 0: at the end of each task."),
    M_DOUBLE("optim.cbp.rate", optim.cbp.rate, 0, 1, "0",
             "Continual backprop: share of mature units replaced at each update; 0: none."),
    M_DOUBLE("optim.cbp.decay", optim.cbp.decay, 0, 0.999999999, "0.99",
             "Continual backprop: decay of a unit's utility."),
    { "optim.cbp.maturity", KP_KEY_INT64, AT(int64_t, optim.cbp.maturity), 0, NULL, 0, MOST, 0,
      "100", "samples", 1, "Continual backprop: age up to which a unit is not replaced." },
    INT64("optim.redo.every", optim.redo.every, 0, MOST, "0", "samples",
          "ReDo: time between recyclings of dormant units; 0: none."),
    M_DOUBLE("optim.redo.tau", optim.redo.tau, 0, 1, "0.025",
             "ReDo: units whose normalised activation is not above this are dormant."),
    { "optim.grad_norm", KP_KEY_DOUBLE_OR_NONE, AT(double, optim.grad_norm), 0, NULL, 0, 1e30, 1,
      "none", "", 1, "Limit of the gradient's global norm, applied before the rule." },
    { "optim.clip.kappa", KP_KEY_KAPPA, AT(kp_clip_options, optim.clip), 0, NULL, 0, 1e30, 1,
      "none", "", 1,
      "Weights stay within kappa times their initialisation bound; none, a number, or numbers by "
      "name: "
      "{hidden: 5, output: 1.5, fc1: 2, fc1.weight: 3}." },
    M_ENUM("optim.clip.scale", optim.clip.scale_init_bound, "fan_in|init_bound", "fan_in",
           "The bound at kappa 1: 1/sqrt(fan_in), or the true bound of the initialiser."),
    M_BOOL("optim.clip.bias", optim.clip.bias, "true",
           "Clip biases, by the bound of their weights."),
    M_BOOL("optim.clip.norm", optim.clip.norm, "true",
           "Clip gains and shifts of normalisation layers."),
    M_BOOL("optim.clip.logstd", optim.clip.log_std, "true",
           "Clip the policy's log standard deviation."),
    M_BOOL("optim.clip.noisy_sigma", optim.clip.noisy_sigma, "false",
           "Clip the sigmas of noisy layers."),
    M_BOOL("optim.clip.last_layer", optim.clip.last_layer, "true", "Clip the output layer too."),
    M_ENUM("optim.clip.when", optim.clip.once, "every|once", "every",
           "After every update, or once after update optim.clip.at."),
    { "optim.clip.at", KP_KEY_INT64, AT(int64_t, optim.clip.at), 0, NULL, 0, MOST, 0, "0",
      "updates", 1, "The update after which optim.clip.when: once clips." },

    DOUBLE("epsilon.start", epsilon.start, 0, 1, "1", "", "Share of random actions at first."),
    DOUBLE("epsilon.end", epsilon.end, 0, 1, "0.01", "",
           "Share of random actions after the decay."),
    INT64("epsilon.decay_agent_steps", epsilon.decay_agent_steps, 0, MOST, "250000", "agent steps",
          "Length of the linear decay."),
    ENUM("epsilon.decay_from", epsilon.decay_from, "start|first_update", "first_update",
         "Whether the decay begins with the run or with the first update."),

    STRING("env.game", env.game, "pong", "Atari game, as in kappa list games."),
    INT("env.count", env.count, 1, 1024, "1", "environments", "Environments of one member."),
    INT("env.workers", env.workers, 0, 1024, "0", "processes",
        "Emulator processes; 0: chosen from the cores."),
    ENUM("env.preprocessing", env.preprocessing, "dopamine|tianshou|cleanrl", "dopamine",
         "Whose way of turning screens into 84x84 observations."),
    INT("env.frame_skip", env.frame_skip, 1, 60, "4", "frames", "Frames an action is held."),
    INT("env.stack", env.stack, 1, 16, "4", "observations", "Observations the net sees at once."),
    DOUBLE("env.sticky", env.sticky, 0, 0.999999999, "0.25", "",
           "Probability that the emulator repeats the last action."),
    INT("env.noop_max", env.noop_max, 0, 255, "0", "frames", "Most no-ops at the start of a game."),
    BOOL("env.fire_on_reset", env.fire_on_reset, "false",
         "Press FIRE at the start of games that have it."),
    BOOL("env.life_loss_ends", env.life_loss_ends, "false",
         "In training, a lost life ends the episode."),
    INT64("env.max_agent_steps", env.max_agent_steps, 1, 1e6, "27000", "agent steps",
          "Longest training game."),
    BOOL("env.clip_rewards", env.clip_rewards, "true", "Train on the sign of the reward."),
    STRING("env.python", env.python, "", "Python that runs the emulators; empty: found by kappa."),
    STRING("env.rom_dir", env.rom_dir, "", "Folder of ROM files; empty: those of ale-py."),

    INT64("buffer.transitions", buffer.transitions, 1, 1e10, "1000000", "transitions",
          "Size of the replay buffer."),
    INT64("buffer.min_transitions", buffer.min_transitions, 1, 1e10, "20000", "transitions",
          "Transitions gathered before the first update."),
    INT64("target.period", target.period, 1, MOST, "8000", "target.unit",
          "Time between copies of the online net to the target net."),
    ENUM("target.unit", target.unit, "updates|agent_steps", "agent_steps",
         "Unit of target.period."),

    INT64("eval.interval_steps", eval.interval_steps, 0, MOST, "250000", "agent steps",
          "Time between evaluations; 0: none."),
    INT("eval.episodes", eval.episodes, 1, 100000, "10", "games",
        "Whole games played in one evaluation."),
    DOUBLE("eval.epsilon", eval.epsilon, 0, 1, "0.001", "",
           "Share of random actions in evaluation."),
    INT64("eval.max_agent_steps", eval.max_agent_steps, 1, 1e6, "27000", "agent steps",
          "Longest evaluation game."),
    DOUBLE("checkpoint.interval_seconds", checkpoint.interval_seconds, 0, 1e9, "600", "seconds",
           "Time between checkpoints; 0: only at the end and when stopped."),
    INT("checkpoint.keep", checkpoint.keep, 1, 1000, "2", "checkpoints",
        "Newest checkpoints that are kept."),
    BOOL("checkpoint.replay", checkpoint.replay, "true",
         "Keep the replay buffer, so that resuming is exact."),
    INT64("log.interval_steps", log.interval_steps, 1, MOST, "10000", "agent steps or samples",
          "Time between rows of metrics.csv."),
    BOOL("log.tensorboard", log.tensorboard, "false", "Write TensorBoard event files too."),
};

enum { N_KEYS = sizeof keys / sizeof *keys };
_Static_assert((int)N_KEYS <= (int)KP_CONFIG_MAX_KEYS, "kp_origins has a row for every key");

int kp_n_keys(void) { return N_KEYS; }
const kp_key *kp_key_at(int i) { return &keys[i]; }

int kp_key_find(const char *key) {
    for (int i = 0; i < N_KEYS; i++)
        if (!strcmp(keys[i].key, key)) return i;
    return -1;
}

/* A name that ends in a dot stands for all keys below it. */
static int is_among(const char *key, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(names[i]);
        if (names[i][length - 1] == '.' ? !strncmp(key, names[i], length) : !strcmp(key, names[i]))
            return 1;
    }
    return 0;
}

int kp_key_changes_results(const char *key) {
    static const char *const free_of[] = { "device",      "threads",     "population.",
                                           "run.",        "env.workers", "env.python",
                                           "env.rom_dir", "checkpoint.", "log." };
    return !is_among(key, free_of, KP_COUNT(free_of));
}

int kp_key_algorithm(const char *key) {
    static const char *const of_dqn[] = { "precision",
                                          "train.agent_steps",
                                          "train.replay_ratio",
                                          "net.padding",
                                          "net.hidden",
                                          "net.input_scale",
                                          "dqn.",
                                          "epsilon.",
                                          "env.",
                                          "buffer.",
                                          "target.",
                                          "eval.",
                                          "checkpoint.replay" };
    static const char *const of_streams[] = { "train.samples",  "data.",         "stream.",
                                              "diag.",          "net.widths",    "net.activation",
                                              "net.layer_norm", "net.init_from", "optim.cbp.",
                                              "optim.redo." };
    if (is_among(key, of_dqn, KP_COUNT(of_dqn))) return KP_ALGORITHM_DQN;
    if (is_among(key, of_streams, KP_COUNT(of_streams))) return KP_ALGORITHM_STREAM;
    return -1;
}

const char *kp_algorithm_name(int algorithm) {
    static const char *const names[KP_N_ALGORITHMS] = { "dqn", "stream" };
    return names[algorithm];
}

int kp_key_is_of(const char *key, int algorithm) {
    int of = kp_key_algorithm(key);
    return of < 0 || of == algorithm;
}

/* Levenshtein distance; words longer than a row count as far. */
static int distance(const char *a, const char *b) {
    enum { ROW = 64 };
    int row[ROW + 1], n = (int)strlen(b);
    if (n > ROW) return ROW;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 1; j <= n; j++) {
            int best = diagonal + (a[i] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *kp_key_nearest(const char *key) {
    const char *nearest = NULL;
    int limit = (int)strlen(key) / 4 + 1, best = limit + 1;
    for (int i = 0; i < N_KEYS; i++) {
        const char *last = strrchr(keys[i].key, '.');
        int d = distance(key, keys[i].key);
        if (last && !strcmp(last + 1, key)) d = 1; /* "kappa" for optim.clip.kappa */
        if (d < best) best = d, nearest = keys[i].key;
    }
    return nearest;
}
