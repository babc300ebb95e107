/* env.h: Atari games, many at once, played by worker processes.
 *
 *     st = kp_env_open(&env, &options, &err);
 *     for (int i = 0; !st && i < n_envs; i++) st = kp_env_reset(env, i, seed[i], &frame, &err);
 *     while (!st && more) st = kp_env_step(env, action, result, &err);
 *     kp_env_close(env);
 *
 * Environment i is a pure function of its seed and actions: neither the number of workers, nor which
 * one plays it, nor a worker that dies and is started again changes a bit. One thread at a time. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/philox.h"
#include "kappa/status.h"

enum { KP_FRAME_SIDE = 84, KP_FRAME_BYTES = KP_FRAME_SIDE * KP_FRAME_SIDE };

typedef enum {
    KP_PREPROCESS_DOPAMINE, /* grey, max of the last two screens, 84x84: Gymnasium's AtariPreprocessing */
    KP_PREPROCESS_TIANSHOU, /* max per colour, grey, 84x84; FIRE is pressed once */
    KP_PREPROCESS_CLEANRL   /* max per colour, 84x84 per colour, grey; FIRE, then action 2 */
} kp_preprocess;

typedef struct {
    kp_preprocess preprocess;
    int frame_skip;      /* 4; at least 1 */
    int noop_max;        /* a game starts with 1 .. noop_max no-op frames; 0: none; at most 255 */
    int fire_on_reset;   /* press FIRE after a start, where the game has it as action 1 */
    int life_loss_ends;  /* a lost life is terminal; the game goes on with a no-op step */
    double sticky;       /* probability that the emulator repeats the action before */
    int max_agent_steps; /* 27000; a game is cut there (truncated) */
} kp_atari_rules;

typedef struct {           /* strings are read during kp_env_open and copied */
    const char *game;      /* "pong": a row of games.h */
    const char *python;    /* NULL: kp_env_python() */
    const char *rom_dir;   /* NULL: the ROMs inside the ale_py wheel */
    int n_envs, n_workers; /* workers 0: one for each CPU allowed, never more than n_envs */
    uint32_t stream;       /* KP_STREAM_ENV or KP_STREAM_EVAL_ENV */
    kp_atari_rules rules;
    double timeout_seconds; /* a worker silent for so long is started again; 0: 60 */
} kp_env_options;

typedef struct {
    float reward;          /* sum over the skipped frames, not clipped */
    int terminal;          /* the episode ended: game over, or a lost life where that ends it */
    int truncated;         /* cut at max_agent_steps */
    int game_over;
    double game_return;    /* of the game so far: whole when game_over or truncated */
    int64_t game_steps;    /* agent steps of it */
    const uint8_t *frame;  /* [84][84] after the action; borrowed until the next send or reset */
    const uint8_t *first;  /* [84][84] the next episode's first frame if this one ended, else NULL */
} kp_env_result;

typedef struct kp_env kp_env;

/* KP_BAD_CONFIG: unknown game or rules; KP_BAD_DATA: ROM missing or altered; KP_DEVICE: no worker. */
kp_status kp_env_open(kp_env **env, const kp_env_options *options, kp_err *err);
int kp_env_n_actions(const kp_env *env); /* of the game's minimal action set */

/* Starts environment i afresh. ALE seeds and no-op counts are Philox(seed, stream, start number).
 * *frame [84][84] is borrowed until the next send or reset; `frame` may be NULL. */
kp_status kp_env_reset(kp_env *env, int i, uint64_t seed, const uint8_t **frame, kp_err *err);

/* One agent step of every environment. Allocate nothing.
 *   action  [n_envs]  0 .. n_actions - 1, or -1: leave this one idle (its result is all zero)
 *   result  [n_envs] */
kp_status kp_env_send(kp_env *env, const int *action, kp_err *err);
kp_status kp_env_receive(kp_env *env, kp_env_result *result, kp_err *err);
kp_status kp_env_step(kp_env *env, const int *action, kp_env_result *result, kp_err *err);

/* The state of environment i: its seed, its place in the stream and its actions since the ROM was
 * loaded, which load plays again. bytes has room for kp_env_state_bytes(env); *n: how many are used. */
size_t kp_env_state_bytes(const kp_env *env);
kp_status kp_env_save(const kp_env *env, int i, uint8_t *bytes, size_t *n, kp_err *err);
kp_status kp_env_load(kp_env *env, int i, const uint8_t *bytes, size_t n, kp_err *err);

/* The emulator's latest screen of environment i, as colours of kp_atari_palette times two: [height][160],
 * borrowed until the next send or reset. */
const uint8_t *kp_env_screen(const kp_env *env, int i, int *height);
extern const uint32_t kp_atari_palette[128]; /* NTSC, 0xRRGGBB, as ALE has it */

/* The process that plays environment i; tests kill it. */
int kp_env_worker_pid(const kp_env *env, int i);

void kp_env_close(kp_env *env); /* NULL is fine */

/* The interpreter for workers: KAPPA_PYTHON, else the build's venv if it is there, else python3. */
const char *kp_env_python(void);
