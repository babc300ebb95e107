/* config.h: the configuration of one run (of one member, where a population trains several).
 *
 *     st = kp_config_load(&config, &origins, "dqn-dopamine", n_args, args, &err);
 *     st = kp_config_write(&config, &origins, &text, &err);      config.yaml of the run
 *     st = kp_config_from_text(&config, &origins, text, "config.yaml", &err);
 *
 * Layers, each over the one before: defaults, preset, the file's `base:`, the file, key=value.
 * Every key is one row of the table in schema.c; a kp_config is plain memory, to be copied at will.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kappa/status.h"
#include "optim/clip_bounds.h"

enum { KP_CONFIG_MAX_KEYS = 144, KP_CONFIG_TEXT = 1536 };

/* Orders agree with kp_init, kp_rule (kappa/choices.h), kp_padding (nn/net.h), kp_td_kind. env.preprocessing
 * is a kp_preprocess (env/env.h), net.activation a kp_mlp_activation (kernels/mlp/mlp.h), optim.noise a
 * kp_noise_kind (kernels/noise/noise.h). */
typedef enum { KP_ALGORITHM_DQN, KP_ALGORITHM_STREAM, KP_N_ALGORITHMS } kp_algorithm;
typedef enum { KP_NORMALIZE_SYMMETRIC, KP_NORMALIZE_UNIT, KP_NORMALIZE_NONE } kp_normalize;
typedef enum { KP_ORDER_SHUFFLED, KP_ORDER_SEQUENTIAL } kp_data_order;
typedef enum { KP_PROBLEM_INPUT_PERMUTED, KP_PROBLEM_LABEL_PERMUTED, KP_PROBLEM_STATIONARY } kp_problem;
typedef enum { KP_PATH_AUTO, KP_PATH_FUSED, KP_PATH_PLAIN } kp_stream_path;
typedef enum { KP_VARIANT_TEXTBOOK, KP_VARIANT_REFERENCE } kp_variant;
typedef enum { KP_INPUT_UNIT, KP_INPUT_RAW } kp_input_scale;
typedef enum { KP_LOSS_MSE, KP_LOSS_HUBER } kp_loss;
typedef enum { KP_DECAY_FROM_START, KP_DECAY_FROM_FIRST_UPDATE } kp_decay_from;
typedef enum { KP_UNIT_UPDATES, KP_UNIT_AGENT_STEPS } kp_period_unit;

/* clang-format off */
typedef struct {
    int algorithm;   /* kp_algorithm */
    char preset[48]; /* the preset below all other layers; "": none */
    char device[32];
    int precision;   /* kp_precision (kappa/choices.h) */
    int threads;     /* 0: one for each core */
    uint64_t seed;   /* of the first member */
    struct { int size; } population; /* members: seed, seed + 1, ... */
    struct { char dir[512], name[128], method[64]; } run; /* dir "": runs/<name>; name "": derived */
    struct { int64_t agent_steps; double replay_ratio; int64_t samples; } train; /* updates per agent step */
    struct {
        char set[64], dir[512], permutations[512]; /* permutations "": drawn from the seed */
        int normalize, order;                      /* kp_normalize, kp_data_order */
    } data;
    struct { int problem; int64_t task_samples; int path; } stream; /* kp_problem, -, kp_stream_path */
    struct { int plasticity, units, norms, rank; } diag;
    struct {
        int init, padding, hidden, input_scale; /* kp_init, kp_padding, -, kp_input_scale */
        char widths[64], init_from[512];        /* "300-150"; init_from "": drawn from the seed */
        int activation, layer_norm;             /* kp_mlp_activation, - */
    } net;
    struct { int loss, double_q, n_step; double gamma; int batch; } dqn; /* loss: kp_loss */
    struct {
        int rule; /* kp_rule */
        double lr, beta1, beta2, eps, momentum;
        int centered;
        double weight_decay;
        double grad_norm; /* INFINITY: none */
        int variant;      /* kp_variant */
        double l2, l2init, shrink, perturb;
        int noise; /* kp_noise_kind */
        double madam_scale;
        struct { double beta, sigma; } upgd;
        struct { double strength, decay; } ewc;
        struct { double strength, xi; int64_t every; } si;       /* every 0: at each task */
        struct { double rate, decay; int64_t maturity; } cbp;    /* rate 0: off */
        struct { int64_t every; double tau; } redo;              /* every 0: off */
        kp_clip_options clip; /* unused names are zeros, so that equal configurations are equal bytes */
    } optim;
    struct { double start, end; int64_t decay_agent_steps; int decay_from; } epsilon;
    struct {
        char game[64];
        int count;   /* environments of one member */
        int workers; /* 0: chosen from the cores */
        int preprocessing, frame_skip, stack;
        double sticky;
        int noop_max, fire_on_reset, life_loss_ends;
        int64_t max_agent_steps; /* of one game */
        int clip_rewards;
        char python[512], rom_dir[512];
    } env;
    struct { int64_t transitions, min_transitions; } buffer; /* of one member */
    struct { int64_t period; int unit; } target;             /* kp_period_unit */
    struct { int64_t interval_steps; int episodes; double epsilon; int64_t max_agent_steps; } eval;
    struct { double interval_seconds; int keep, replay; } checkpoint;
    struct { int64_t interval_steps; int tensorboard; } log;
} kp_config;
/* clang-format on */

/* Where each value came from: "default", "preset dqn-paper", "pong.yaml:12", "command line". */
typedef struct {
    char text[KP_CONFIG_MAX_KEYS][128];
} kp_origins;

typedef enum {
    KP_KEY_ENUM,
    KP_KEY_BOOL,
    KP_KEY_INT,
    KP_KEY_INT64,
    KP_KEY_UINT64,
    KP_KEY_DOUBLE,
    KP_KEY_DOUBLE_OR_NONE, /* none: INFINITY */
    KP_KEY_KAPPA,
    KP_KEY_STRING
} kp_key_type;

typedef struct {
    const char *key; /* "optim.lr" */
    kp_key_type type;
    size_t offset;        /* into kp_config */
    size_t size_bytes;    /* KP_KEY_STRING: of the array */
    const char *names;    /* KP_KEY_ENUM: "mse|huber", in the order of its enum */
    double min, max;      /* numbers; both ends are allowed unless above_min */
    int above_min;        /* 1: min itself is not allowed */
    const char *standard; /* the default, as text */
    const char *unit;     /* "" where there is none */
    int per_member;       /* 1: members of one population may differ in it */
    const char *help;     /* one sentence */
} kp_key;

/* The table, in the order of the reference; kp_key_find gives its index, -1 if there is none. */
int kp_n_keys(void);
const kp_key *kp_key_at(int i);
int kp_key_find(const char *key);

/* The key nearest to a misspelt one; NULL if none is near. */
const char *kp_key_nearest(const char *key);

/* 1 if the algorithm has any use for the key. The others keep their defaults, are not written, and may not
 * be set: kp_config_set puts them back where `algorithm` changes. */
int kp_key_is_of(const char *key, int algorithm);
/* Which algorithm alone has a use for it; -1: all. */
int kp_key_algorithm(const char *key);
const char *kp_algorithm_name(int algorithm); /* "stream" */

/* 0 for keys that say how a run is carried out, not what it computes: folders, device, threads, workers,
 * logging, checkpoints, population.size. */
int kp_key_changes_results(const char *key);

/* What a key takes, in words: "a number above 0, at most 64". */
void kp_key_expected(const kp_key *key, char *text, size_t size);

/* Embedded presets; text is YAML whose first comment names the implementation it follows. */
typedef struct {
    const char *name, *text;
} kp_preset;
int kp_n_presets(void);
const kp_preset *kp_preset_at(int i);

/* origins may be NULL in every call below. All of them name the file and line, or the command line,
 * in err; KP_BAD_CONFIG for values, KP_STORAGE where a file cannot be read. */

void kp_config_defaults(kp_config *config, kp_origins *origins);

/* Defaults, then preset_or_file alone, unchecked. from: the file that names it, for relative paths;
 * NULL: the current folder. */
kp_status kp_config_layer(kp_config *config, kp_origins *origins, const char *preset_or_file,
                          const char *from, kp_err *err);

/* preset_or_file: a preset's name or a path; NULL: defaults. args: "key=value", n of them. Ends
 * with kp_config_check. */
kp_status kp_config_load(kp_config *config, kp_origins *origins, const char *preset_or_file, int n,
                         const char *const *args, kp_err *err);

/* The same from the text of a file; `name` is for messages and for a relative `base:`. */
kp_status kp_config_from_text(kp_config *config, kp_origins *origins, const char *text,
                              const char *name, kp_err *err);

/* One value from text, as it would stand in a file: "2", "none", "{hidden: 5, output: 1.5}". The
 * message begins with `where`, which also becomes the origin. */
kp_status kp_config_set(kp_config *config, kp_origins *origins, const char *key, const char *value,
                        const char *where, kp_err *err);

/* text: KP_CONFIG_TEXT bytes; reading it back gives the same value to the bit. */
void kp_config_get(const kp_config *config, int key, char *text);

/* Rules between keys (min_transitions <= transitions, ...). load and from_text call it. */
kp_status kp_config_check(const kp_config *config, kp_err *err);

/* net.widths as numbers, width: [most]; how many, or 0 where it is not like "300-150". */
int kp_config_widths(const char *widths, int *width, int most);

/* 1 if the value of the key is the same in both. */
int kp_config_same(const kp_config *a, const kp_config *b, int key);

/* Member i of the population that config describes: seed + i, population.size 1. */
kp_config kp_config_member(const kp_config *config, int i);

/* run.name, or one made of what a reader asks first: "dqn-paper-pong-kappa2-s0", "...-s0-7" for eight
 * members, "input_permuted-mnist-adam-kappa1-s0". Fit for a folder. */
void kp_config_name(const kp_config *config, char *name, size_t size);

/* Each of these allocates *text, yours to free.
 *   write     YAML, every value with a comment that says where it came from
 *   explain   the same, with each key's help, unit and range
 *   reference Markdown table of the schema */
kp_status kp_config_write(const kp_config *config, const kp_origins *origins, char **text,
                          kp_err *err);
kp_status kp_config_explain(const kp_config *config, const kp_origins *origins, char **text,
                            kp_err *err);
kp_status kp_config_reference(char **text, kp_err *err);
