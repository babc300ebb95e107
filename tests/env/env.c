/* env.c: games, their ROMs, and environments that do not depend on who plays them (laws 1, 2, 7).
 */
#include "env/env.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/md5.h"
#include "env/games.h"
#include "kp_kernel.h"
#include "scratch.h"

enum { N = 3, STEPS = 400 };

static kp_env_options options(int n_workers) {
    return (
        kp_env_options){ .game = "breakout",
                         .python = KP_TEST_PYTHON,
                         .n_envs = N,
                         .n_workers = n_workers,
                         .stream = KP_STREAM_ENV,
                         .timeout_seconds = 30,
                         .rules = { .preprocess = KP_PREPROCESS_CLEANRL,
                                    .frame_skip = 4,
                                    .noop_max = 30,
                                    .fire_on_reset = 1,
                                    .life_loss_ends = 1,
                                    .sticky = .25,
                                    .max_agent_steps = 90 } }; /* several starts before a move */
}

static uint64_t mix(uint64_t h, const void *bytes, size_t n) { /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return h;
}

/* An interpreter that does not start once `fails` is there, and takes it away. */
static char unlucky[KP_PATH + 8], fails[KP_PATH + 8];

static void make_unlucky(const char *folder) {
    static const char script[] = "#!/bin/sh\nrm '%s' 2>/dev/null && exit 1\nexec '%s' \"$@\"\n";
    char text[3 * KP_PATH];
    snprintf(unlucky, sizeof unlucky, "%s/python", folder);
    snprintf(fails, sizeof fails, "%s/fails", folder);
    int n = snprintf(text, sizeof text, script, fails, kp_env_python());
    cr_assert_eq(kp_file_write(unlucky, text, (size_t)n, NULL), KP_OK);
    cr_assert(!chmod(unlucky, 0700));
}

/* Everything that STEPS steps show. At step kill_at a worker dies; at step move_at all moves to a
 * new env. */
static uint64_t play(int n_workers, int kill_at, int move_at, int fails_once, int *ends) {
    kp_env_options o = options(n_workers);
    if (fails_once) o.python = unlucky;
    kp_err err = { 0 };
    kp_env *env = NULL;
    uint64_t h = 0xcbf29ce484222325u;
    cr_assert_eq(kp_env_open(&env, &o, &err), KP_OK, "%s", err.text);
    for (int i = 0; i < N; i++) {
        const uint8_t *frame = NULL;
        cr_assert_eq(kp_env_reset(env, i, 40 + (uint64_t)i, &frame, &err), KP_OK, "%s", err.text);
        h = mix(h, frame, KP_FRAME_BYTES);
    }
    for (int t = 0; t < STEPS; t++) {
        int action[N];
        kp_env_result r[N];
        if (t == kill_at && fails_once) cr_assert_eq(kp_file_write(fails, "", 0, NULL), KP_OK);
        if (t == kill_at) kill(kp_env_worker_pid(env, 1), SIGKILL);
        if (t == move_at) {
            kp_env *next = NULL;
            cr_assert_eq(kp_env_open(&next, &o, &err), KP_OK, "%s", err.text);
            uint8_t *bytes = malloc(kp_env_state_bytes(env));
            for (int i = 0; i < N; i++) {
                size_t n = 0;
                cr_assert_eq(kp_env_save(env, i, bytes, &n, &err), KP_OK, "%s", err.text);
                cr_assert_eq(kp_env_load(next, i, bytes, n, &err), KP_OK, "%s", err.text);
            }
            free(bytes);
            kp_env_close(env);
            env = next;
        }
        for (int i = 0; i < N; i++)
            action[i] = (int)(kp_philox(1, KP_STREAM_TEST, (uint64_t)(t * N + i)).x[0] %
                              (uint32_t)kp_env_n_actions(env));
        if (t % 7 == 3) action[t % N] = -1;
        cr_assert_eq(kp_env_step(env, action, r, &err), KP_OK, "step %d: %s", t, err.text);
        for (int i = 0; i < N; i++) {
            int ints[3] = { r[i].terminal, r[i].truncated, r[i].game_over };
            h = mix(mix(mix(h, &r[i].reward, 4), ints, sizeof ints), &r[i].game_return, 8);
            h = mix(h, &r[i].game_steps, 8);
            if (r[i].frame) h = mix(h, r[i].frame, KP_FRAME_BYTES);
            if (r[i].first) h = mix(h, r[i].first, KP_FRAME_BYTES);
            *ends += r[i].game_over || r[i].truncated;
        }
    }
    kp_env_close(env);
    return h;
}

Test(env, neither_workers_nor_deaths_nor_moves_change_a_bit, .timeout = 250) {
    static const struct {
        const char *name;
        int workers, kill_at, move_at, fails_once;
    } cases[] = {
        { "three workers", 3, -1, -1, 0 },
        { "killed at the start", 1, 0, -1, 0 },
        { "killed in mid-episode", 3, 250, -1, 0 },
        { "killed, and the next does not start", 3, 250, -1, 1 },
        { "killed, and the next, of all, does not start", 1, 120, -1, 1 },
        { "saved and loaded after the first step", 3, -1, 1, 0 },
        { "saved and loaded late", 1, -1, 333, 0 },
    };
    int ends = 0;
    char folder[KP_PATH];
    scratch_folder(folder);
    make_unlucky(folder);
    uint64_t want = play(1, -1, -1, 0, &ends);
    cr_expect(ends > 0, "no game ended; play longer");
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        uint64_t got = play(cases[i].workers, cases[i].kill_at, cases[i].move_at,
                            cases[i].fails_once, &ends);
        cr_expect(access(fails, F_OK), "%s: no worker failed to start", cases[i].name);
        cr_expect(got == want, "%s: %016lx, expected %016lx", cases[i].name, (long)got, (long)want);
    }
    kp_folder_remove(folder, NULL);
}

Test(env, md5_of_known_texts) {
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "d41d8cd98f00b204e9800998ecf8427e" },
        { "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
        { "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
          "57edf4a22be3c955ac49da2e2107b67a" },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char got[33];
        kp_md5((const uint8_t *)cases[i].text, strlen(cases[i].text), got);
        cr_expect_str_eq(got, cases[i].want, "\"%s\"", cases[i].text);
    }
}

Test(env, every_rom_of_the_wheel_is_in_the_table) {
    char dir[900], path[1024];
    kp_err err = { 0 };
    cr_assert_eq(kp_game_rom_dir(KP_TEST_PYTHON, dir, sizeof dir, &err), KP_OK, "%s", err.text);
    for (int i = 0; i < kp_games_n(); i++)
        cr_expect_eq(kp_game_rom_check(kp_games_at(i)->name, dir, path, sizeof path, &err), KP_OK,
                     "%s", err.text);
}

Test(env, bad_input_is_named, .timeout = 100) {
    char folder[] = "/tmp/kappa-env-XXXXXX", rom[64];
    cr_assert(mkdtemp(folder));
    snprintf(rom, sizeof rom, "%s/pong.bin", folder);
    FILE *f = fopen(rom, "w");
    cr_assert(f && fputs("not a ROM", f) >= 0 && !fclose(f));
    const struct {
        const char *game, *python, *dir;
        kp_status want;
        const char *says;
    } cases[] = {
        { "pog", KP_TEST_PYTHON, NULL, KP_BAD_CONFIG, "did you mean pong" },
        { "qbert", KP_TEST_PYTHON, folder, KP_BAD_DATA, "qbert.bin: ROM missing" },
        { "pong", KP_TEST_PYTHON, folder, KP_BAD_DATA, "pong.bin: altered ROM" },
        { "pong", "/usr/bin/python3", NULL, KP_DEVICE, "pip install ale-py==0.12.1" },
        { "pong", "/nowhere/python", NULL, KP_DEVICE, "/nowhere/python: No such file" },
        { "pong", "/bin/false", NULL, KP_DEVICE, "did not start" },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_env_options o = options(1);
        kp_env *env = NULL;
        kp_err err = { 0 };
        o.game = cases[i].game, o.python = cases[i].python, o.rom_dir = cases[i].dir;
        cr_expect_eq(kp_env_open(&env, &o, &err), cases[i].want, "%s: %s", cases[i].says, err.text);
        cr_expect(strstr(err.text, cases[i].says), "\"%s\" not in: %s", cases[i].says, err.text);
        kp_env_close(env);
    }
    unlink(rom);
    rmdir(folder);
}
