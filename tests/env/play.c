/* play.c: plays a game with fixed actions and writes what the environment showed, for
 * preprocessing.py. play PYTHON GAME VARIANT STEPS NOOPS FIRE LIFE STICKY CAP First { int64 ALE
 * seed, int64 no-ops, int64 actions }, then per step { int32 action, int32 flags, float reward,
 * frame }, and after an end { frame } for the next episode's first. Flags: 1 terminal, 2 truncated,
 * 4 over. */
#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"

static void fail(const kp_err *err) {
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 10) return 2;
    kp_err err = { 0 };
    kp_env *env = NULL;
    const uint8_t *frame = NULL;
    uint64_t seed = 7;
    kp_env_options o = { .game = argv[2],
                         .python = argv[1],
                         .n_envs = 1,
                         .n_workers = 1,
                         .stream = KP_STREAM_ENV,
                         .rules = { .preprocess = (kp_preprocess)atoi(argv[3]),
                                    .frame_skip = 4,
                                    .noop_max = atoi(argv[5]),
                                    .fire_on_reset = atoi(argv[6]),
                                    .life_loss_ends = atoi(argv[7]),
                                    .sticky = atof(argv[8]),
                                    .max_agent_steps = atoi(argv[9]) } };
    if (kp_env_open(&env, &o, &err) || kp_env_reset(env, 0, seed, &frame, &err)) fail(&err);
    kp_philox_block r = kp_philox(seed, KP_STREAM_ENV, 0);
    int64_t head[3] = { r.x[2] >> 1,
                        o.rules.noop_max
                            ? 1 + (int64_t)kp_below(r.x[0], r.x[1], (uint64_t)o.rules.noop_max)
                            : 0,
                        kp_env_n_actions(env) };
    fwrite(head, sizeof head, 1, stdout);
    fwrite(frame, KP_FRAME_BYTES, 1, stdout);
    for (int t = 0; t < atoi(argv[4]); t++) {
        int action = (int)(kp_philox(seed, KP_STREAM_TEST, (uint64_t)t).x[0] % (uint32_t)head[2]);
        kp_env_result result;
        if (kp_env_step(env, &action, &result, &err)) fail(&err);
        int32_t step[2] = { action,
                            result.terminal | result.truncated << 1 | result.game_over << 2 };
        fwrite(step, sizeof step, 1, stdout);
        fwrite(&result.reward, sizeof result.reward, 1, stdout);
        fwrite(result.frame, KP_FRAME_BYTES, 1, stdout);
        if (result.first) fwrite(result.first, KP_FRAME_BYTES, 1, stdout);
    }
    kp_env_close(env);
    return 0;
}
