/* env.c: slots in shared memory, one log per environment, and workers that can be started again.
 *
 *     memory  [n_workers] control words, 64 bytes each, then [n_envs] slots
 *     slot    input, output, no-op counts [LOG], actions [LOG], five screens
 *
 * The log of an environment lives in its slot, so a new worker finds what it must play again. */
#include "env.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/pool.h"
#include "games.h"
#include "screen.h"

enum {
    RELOAD_STEPS = 5000,
    SLACK = 64,
    SCREEN_ROOM = 40000,
    SLOT_HEAD = 128,
    CONTROL = 64,
    MAX_RESTARTS = 3,
    N_SCREENS = 5
};
enum { IDLE = 0, STEP = 1, REPLAY = 2 };

typedef struct {
    uint32_t asked, answered, n_actions, height, ready;
} control;

typedef struct { /* the worker's structs IN and OUT */
    int32_t command, action, noops, n_log;
    int64_t ale_seed;
    int64_t unused;
    double reward, game_return, game_steps;
    int32_t terminal, truncated, over, loaded, third;
} slot;

typedef struct {
    uint64_t seed, first; /* the stream's place of the start that loaded the ROM */
    uint64_t n_starts;    /* since then, that one included */
    uint64_t n_actions;
} history;

typedef struct {
    pid_t pid;
    int said; /* pipe of its stderr */
} worker;

struct kp_env {
    int n_envs, n_workers, log, n_actions;
    uint32_t stream;
    kp_atari_rules rules;
    double timeout;
    char *python, *rom_dir;
    const kp_game *game;
    int fd;
    size_t bytes, slot_bytes;
    uint8_t *memory;
    worker *workers;
    history *past;   /* [n_envs] */
    int *command;    /* [n_envs] of the step under way */
    uint8_t *frames; /* [n_envs][2][KP_FRAME_BYTES] */
    kp_screen *screen;
};

extern const unsigned char kp_atari_worker[];

static control *control_of(kp_env *e, int w) {
    return (control *)(e->memory + (size_t)w * CONTROL);
}
static slot *slot_of(const kp_env *e, int i) {
    return (slot *)(e->memory + (size_t)e->n_workers * CONTROL + (size_t)i * e->slot_bytes);
}
static uint8_t *noops_of(const kp_env *e, int i) { return (uint8_t *)slot_of(e, i) + SLOT_HEAD; }
static uint8_t *actions_of(const kp_env *e, int i) { return noops_of(e, i) + e->log; }
static uint8_t *screen_of(const kp_env *e, int i, int k) {
    return actions_of(e, i) + e->log + k * SCREEN_ROOM;
}

const char *kp_env_python(void) {
    const char *set = getenv("KAPPA_PYTHON");
    if (set && *set) return set;
    return access(KAPPA_VENV_PYTHON, X_OK) == 0 ? KAPPA_VENV_PYTHON : "python3";
}

static int noops_at(const kp_env *e, uint64_t seed, uint64_t start) {
    kp_philox_block r = kp_philox(seed, e->stream, start);
    return e->rules.noop_max ? 1 + (int)kp_below(r.x[0], r.x[1], (uint64_t)e->rules.noop_max) : 0;
}
static int64_t ale_seed_at(const kp_env *e, uint64_t seed, uint64_t start) {
    return kp_philox(seed, e->stream, start).x[2] >> 1;
}

static void stop(worker *w) {
    if (w->pid > 0) kill(w->pid, SIGKILL), waitpid(w->pid, NULL, 0);
    if (w->said >= 0) close(w->said);
    w->pid = 0, w->said = -1;
}

static kp_status start(kp_env *e, int at, kp_err *err) {
    char n[5][32], layout[160], rules[128];
    snprintf(n[0], sizeof n[0], "%d", e->fd);
    snprintf(n[1], sizeof n[1], "%d", at);
    snprintf(n[2], sizeof n[2], "%ld", (long)SYS_futex);
    snprintf(layout, sizeof layout, "%d,%d,%d,%zu,%d,%d,%d,%d,%d", e->n_envs, e->n_workers, CONTROL,
             e->slot_bytes, e->log, SLOT_HEAD + 2 * e->log, SLOT_HEAD, SLOT_HEAD + e->log,
             e->n_workers * CONTROL);
    snprintf(rules, sizeof rules, "%d,%d,%d,%d,%d,%.17g", (int)e->rules.preprocess,
             e->rules.frame_skip, e->rules.fire_on_reset, e->rules.life_loss_ends,
             e->rules.max_agent_steps, e->rules.sticky);
    char *argv[] = { e->python,
                     "-c",
                     (char *)(uintptr_t)kp_atari_worker,
                     n[0],
                     n[1],
                     layout,
                     (char *)(uintptr_t)e->game->name,
                     e->rom_dir,
                     (char *)(uintptr_t)e->game->md5,
                     rules,
                     n[2],
                     NULL };
    control *c = control_of(e, at);
    c->ready = 0;
    c->asked = c->answered = 0;
    int said[2];
    if (pipe2(said, O_CLOEXEC)) return kp_fail(err, KP_DEVICE, "env: no pipe: %s", strerror(errno));
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* These are for the program, which saves; they may be sent to the whole process group. */
        signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN), signal(SIGUSR1, SIG_IGN);
        if (getppid() != parent) _exit(1);
        dup2(said[1], 2);
        int same = dup(e->fd);
        dup2(same, e->fd);
        execvp(e->python, argv);
        dprintf(2, "%s: %s\n", e->python, strerror(errno));
        _exit(4);
    }
    close(said[1]);
    e->workers[at] = (worker){ pid, said[0] };
    if (pid < 0)
        return kp_fail(err, KP_DEVICE, "env: no process for a worker: %s", strerror(errno));
    double until = kp_now_s() + e->timeout;
    while (!__atomic_load_n(&c->ready, __ATOMIC_ACQUIRE)) {
        int rc = 0;
        if (waitpid(pid, &rc, WNOHANG) == pid) {
            char text[400] = "";
            ssize_t got = read(said[0], text, sizeof text - 1);
            text[got > 0 ? got : 0] = 0;
            text[strcspn(text, "\n")] = 0;
            if (!*text)
                snprintf(text, sizeof text, "%.300s: ended at once, %s %d", e->python,
                         WIFEXITED(rc) ? "exit code" : "signal",
                         WIFEXITED(rc) ? WEXITSTATUS(rc) : WTERMSIG(rc));
            e->workers[at].pid = 0;
            if (WIFEXITED(rc) && WEXITSTATUS(rc) == KP_BAD_DATA)
                return kp_fail(err, KP_BAD_DATA, "%s", text);
            return kp_fail(
                err, KP_DEVICE,
                "env: the Atari worker did not start (%s); pip install ale-py==0.12.1"
                " numpy, or name an interpreter that has them in KAPPA_PYTHON or env.python",
                text);
        }
        if (kp_now_s() > until)
            return kp_fail(err, KP_DEVICE, "env: the Atari worker %s did not start in %g s",
                           e->python, e->timeout);
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
    }
    return KP_OK;
}

static void ask(kp_env *e, int w) {
    control *c = control_of(e, w);
    __atomic_add_fetch(&c->asked, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &c->asked, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* 1: answered; 0: dead or silent for too long. */
static int await(kp_env *e, int w) {
    control *c = control_of(e, w);
    double until = kp_now_s() + e->timeout;
    while (e->workers[w].pid > 0) {
        uint32_t answered = 0;
        for (int spin = 0; spin < 2000; spin++) {
            answered = __atomic_load_n(&c->answered, __ATOMIC_ACQUIRE);
            if (answered == c->asked) return 1;
        }
        struct timespec slice = { 0, 100000000 };
        syscall(SYS_futex, &c->answered, FUTEX_WAIT, answered, &slice, NULL, 0);
        if (__atomic_load_n(&c->answered, __ATOMIC_ACQUIRE) == c->asked) return 1;
        if (waitpid(e->workers[w].pid, NULL, WNOHANG) == e->workers[w].pid) {
            e->workers[w].pid = 0;
            return 0;
        }
        if (kp_now_s() > until) return 0;
    }
    return 0;
}

/* Fills the slot so that the worker plays environment i's log. */
static void ask_replay(kp_env *e, int i) {
    history *h = &e->past[i];
    slot *s = slot_of(e, i);
    for (uint64_t k = 0; k <= h->n_starts && k < (uint64_t)e->log; k++)
        noops_of(e, i)[k] = (uint8_t)noops_at(e, h->seed, h->first + k);
    s->command = REPLAY, s->n_log = (int)h->n_actions,
    s->ale_seed = ale_seed_at(e, h->seed, h->first);
}

static void ask_step(kp_env *e, int i) {
    history *h = &e->past[i];
    slot *s = slot_of(e, i);
    uint64_t next = h->first + h->n_starts;
    s->command = e->command[i] < 0 ? IDLE : STEP, s->action = e->command[i];
    s->noops = noops_at(e, h->seed, next);
    s->ale_seed = h->n_actions + 1 >= RELOAD_STEPS ? ale_seed_at(e, h->seed, next) : -1;
}

static void ask_replay_alone(kp_env *e, int i) {
    int w = i % e->n_workers;
    for (int k = w; k < e->n_envs; k += e->n_workers) slot_of(e, k)->command = IDLE;
    ask_replay(e, i);
    ask(e, w);
}

/* Starts worker w again and replays its games, one by one: each has the time that a step has. */
static kp_status revive(kp_env *e, int w, kp_err *err) {
    stop(&e->workers[w]); /* before any slot is touched: it may only have hung */
    kp_status st = start(e, w, err);
    for (int i = w; !st && i < e->n_envs; i += e->n_workers) {
        if (!e->past[i].n_starts) continue;
        ask_replay_alone(e, i);
        if (!await(e, w))
            st = kp_fail(err, KP_DEVICE, "env: worker %d died or hung again while replaying", w);
    }
    return st;
}

/* Waits for worker w; one that fails is started again, its games replayed, and asked once more. */
static kp_status finish(kp_env *e, int w, int only, kp_err *err) {
    kp_status st = KP_OK;
    for (int tries = 0; st || !await(e, w); tries++) { /* st: there is none to wait for */
        if (tries == MAX_RESTARTS)
            return st ? st
                      : kp_fail(err, KP_DEVICE,
                                "env: worker %d of %s died or hung %d times in one step", w,
                                e->game->name, MAX_RESTARTS + 1);
        st = revive(e, w, err);
        if (st) continue;
        if (only >= 0) {
            ask_replay_alone(e, only);
        } else {
            for (int i = w; i < e->n_envs; i += e->n_workers) ask_step(e, i);
            ask(e, w);
        }
    }
    return KP_OK;
}

kp_status kp_env_open(kp_env **out, const kp_env_options *o, kp_err *err) {
    *out = NULL;
    const kp_game *game = NULL;
    kp_status st = kp_game_find(o->game, &game, err);
    if (st) return st;
    const kp_atari_rules *r = &o->rules;
    if (o->n_envs < 1 || r->frame_skip < 1 || r->noop_max < 0 || r->noop_max > 255 ||
        r->max_agent_steps < 1 || !(r->sticky >= 0 && r->sticky <= 1))
        return kp_fail(err, KP_BAD_CONFIG,
                       "env: rules out of range: %d environments, frame skip %d, no-ops %d, "
                       "cap %d, sticky %g",
                       o->n_envs, r->frame_skip, r->noop_max, r->max_agent_steps, r->sticky);
    kp_env *e = calloc(1, sizeof *e);
    if (!e) return kp_fail(err, KP_BAD_CONFIG, "env: out of host memory");
    e->n_envs = o->n_envs, e->stream = o->stream, e->rules = *r, e->game = game, e->fd = -1;
    e->n_workers = o->n_workers > 0 ? o->n_workers : kp_cpus_allowed();
    if (e->n_workers > e->n_envs) e->n_workers = e->n_envs;
    e->timeout = o->timeout_seconds > 0 ? o->timeout_seconds : 60;
    e->python = strdup(o->python ? o->python : kp_env_python());
    e->rom_dir = strdup(o->rom_dir ? o->rom_dir : "");
    e->log = (RELOAD_STEPS + r->max_agent_steps + SLACK + 63) / 64 * 64;
    e->slot_bytes = SLOT_HEAD + 2 * (size_t)e->log + N_SCREENS * SCREEN_ROOM;
    e->bytes = (size_t)e->n_workers * CONTROL + (size_t)e->n_envs * e->slot_bytes;
    e->workers = calloc((size_t)e->n_workers, sizeof *e->workers);
    e->past = calloc((size_t)e->n_envs, sizeof *e->past);
    e->command = calloc((size_t)e->n_envs, sizeof *e->command);
    e->frames = calloc((size_t)e->n_envs, 2 * KP_FRAME_BYTES);
    for (int w = 0; e->workers && w < e->n_workers; w++) e->workers[w].said = -1;
    e->fd = memfd_create("kappa-env", MFD_CLOEXEC);
    if (e->fd >= 0 && ftruncate(e->fd, (off_t)e->bytes) == 0)
        e->memory = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0);
    if (e->memory == MAP_FAILED) e->memory = NULL;
    if (!e->memory || !e->workers || !e->past || !e->command || !e->frames || !e->python ||
        !e->rom_dir)
        st = kp_fail(err, KP_BAD_CONFIG, "env: no memory for %d environments (%zu bytes)",
                     e->n_envs, e->bytes);
    for (int w = 0; !st && w < e->n_workers; w++) st = start(e, w, err);
    if (!st) e->n_actions = (int)control_of(e, 0)->n_actions;
    if (!st) st = kp_screen_open(&e->screen, r->preprocess, (int)control_of(e, 0)->height, err);
    if (st) {
        kp_env_close(e);
        return st;
    }
    *out = e;
    return KP_OK;
}

int kp_env_n_actions(const kp_env *env) { return env->n_actions; }
int kp_env_worker_pid(const kp_env *e, int i) { return e->workers[i % e->n_workers].pid; }

const uint8_t *kp_env_screen(const kp_env *e, int i, int *height) {
    *height = (int)((const control *)e->memory)->height;
    return screen_of(e, i, 1);
}

static kp_status replay_one(kp_env *e, int i, kp_err *err) {
    ask_replay_alone(e, i);
    return finish(e, i % e->n_workers, i, err);
}

kp_status kp_env_reset(kp_env *e, int i, uint64_t seed, const uint8_t **frame, kp_err *err) {
    e->past[i] = (history){ .seed = seed, .n_starts = 1 };
    kp_status st = replay_one(e, i, err);
    uint8_t *out = e->frames + (size_t)i * 2 * KP_FRAME_BYTES;
    if (!st) kp_screen_observe(e->screen, screen_of(e, i, 0), screen_of(e, i, 1), NULL, out);
    if (frame) *frame = st ? NULL : out;
    return st;
}

kp_status kp_env_send(kp_env *e, const int *action, kp_err *err) {
    for (int i = 0; i < e->n_envs; i++) {
        if (action[i] >= e->n_actions || (action[i] >= 0 && !e->past[i].n_starts))
            return kp_fail(err, KP_BAD_CONFIG,
                           "env: action %d of environment %d; %d actions, after a reset", action[i],
                           i, e->n_actions);
        e->command[i] = action[i];
        ask_step(e, i);
    }
    for (int w = 0; w < e->n_workers; w++) ask(e, w);
    return KP_OK;
}

static void take(kp_env *e, int i, kp_env_result *r) {
    history *h = &e->past[i];
    slot *s = slot_of(e, i);
    uint8_t *frame = e->frames + (size_t)i * 2 * KP_FRAME_BYTES, *first = frame + KP_FRAME_BYTES;
    *r = (kp_env_result){ 0 };
    if (e->command[i] < 0) return;
    *r = (kp_env_result){ .reward = (float)s->reward,
                          .terminal = s->terminal,
                          .truncated = s->truncated,
                          .game_over = s->over,
                          .game_return = s->game_return,
                          .game_steps = (int64_t)s->game_steps,
                          .frame = frame };
    kp_screen_observe(e->screen, screen_of(e, i, 0), screen_of(e, i, 1),
                      s->third ? screen_of(e, i, 4) : NULL, frame);
    if (s->terminal || s->truncated) {
        kp_screen_observe(e->screen, screen_of(e, i, 2), screen_of(e, i, 3), NULL, first);
        r->first = first;
    }
    if (s->loaded) {
        h->first += h->n_starts, h->n_starts = 1, h->n_actions = 0;
    } else {
        actions_of(e, i)[h->n_actions++] = (uint8_t)e->command[i];
        h->n_starts += s->over || s->truncated;
    }
}

kp_status kp_env_receive(kp_env *e, kp_env_result *result, kp_err *err) {
    for (int w = 0; w < e->n_workers; w++) {
        kp_status st = finish(e, w, -1, err);
        if (st) return st;
        for (int i = w; i < e->n_envs; i += e->n_workers) take(e, i, &result[i]);
    }
    return KP_OK;
}

kp_status kp_env_step(kp_env *e, const int *action, kp_env_result *result, kp_err *err) {
    kp_status st = kp_env_send(e, action, err);
    return st ? st : kp_env_receive(e, result, err);
}

size_t kp_env_state_bytes(const kp_env *e) { return sizeof(history) + (size_t)e->log; }

kp_status kp_env_save(const kp_env *e, int i, uint8_t *bytes, size_t *n, kp_err *err) {
    (void)err;
    memcpy(bytes, &e->past[i], sizeof(history));
    memcpy(bytes + sizeof(history), actions_of(e, i), (size_t)e->past[i].n_actions);
    *n = sizeof(history) + (size_t)e->past[i].n_actions;
    return KP_OK;
}

kp_status kp_env_load(kp_env *e, int i, const uint8_t *bytes, size_t n, kp_err *err) {
    history h = { 0 };
    if (n >= sizeof h) memcpy(&h, bytes, sizeof h);
    int bad = n < sizeof h || h.n_actions > (uint64_t)e->log || n != sizeof h + h.n_actions ||
              h.n_starts > h.n_actions + 1;
    for (size_t k = sizeof h; !bad && k < n; k++) bad = bytes[k] >= e->n_actions;
    if (bad)
        return kp_fail(err, KP_STORAGE, "env: state of environment %d is damaged (%zu bytes)", i,
                       n);
    e->past[i] = h;
    memcpy(actions_of(e, i), bytes + sizeof h, (size_t)h.n_actions);
    return h.n_starts ? replay_one(e, i, err) : KP_OK;
}

void kp_env_close(kp_env *e) {
    if (!e) return;
    for (int w = 0; e->workers && w < e->n_workers; w++) stop(&e->workers[w]);
    if (e->memory) munmap(e->memory, e->bytes);
    if (e->fd >= 0) close(e->fd);
    kp_screen_close(e->screen);
    free(e->workers);
    free(e->past);
    free(e->command);
    free(e->frames);
    free(e->python);
    free(e->rom_dir);
    free(e);
}
