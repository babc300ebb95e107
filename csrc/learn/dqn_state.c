/* dqn_state.c: a DQN's beginning, and its whole state in a checkpoint.
 *
 *     theta/ target/ m/ v/ ...    [P][tensor]     weights.h
 *     dqn.counters                [8] int64       the schedule
 *     dqn.active                  [P]             0: weights not finite, stopped
 *     dqn.optimizer_steps         [P]
 *     dqn.interval, .sums, .tally [P][...]        sums since the latest row of metrics
 *     dqn.gradient_l2             [P]             of the latest update
 *     dqn.progress                [P][5]          what the live table shows
 *     env.bytes, env.lengths                      each emulator's log (env.h)
 *     replay.index                                and segments in files of their own (ring_file.h)
 */
#include <stdlib.h>
#include <string.h>

#include "dqn_impl.h"
#include "weights.h"

enum { N_COUNTERS = 8 };

/* ---- the beginning --------------------------------------------------------------------------- */

/* New games in every environment. `start` tells those of a run from those after a resume without
 * replay. */
static kp_status new_games(kp_dqn *d, uint64_t start, kp_err *err) {
    kp_status st = KP_OK;
    for (int lane = 0; !st && lane < d->P * d->E; lane++) {
        uint64_t at = start << 16 | (uint64_t)(lane % d->E);
        kp_philox_block r = kp_philox(d->seed[lane / d->E], KP_STREAM_ENV, at);
        const uint8_t *frame = NULL;
        st = kp_env_reset(d->env, lane, (uint64_t)r.x[0] << 32 | r.x[1], &frame, err);
        if (!st) kp_ring_begin(d->ring, lane, frame);
    }
    return st;
}

kp_status kp_dqn_start(void *learner, kp_err *err) { return new_games(learner, 0, err); }

/* ---- small arrays ---------------------------------------------------------------------------- */

static kp_status pass_small(kp_dqn *d, const kp_checkpoint_io *io, kp_err *err) {
    int64_t P[1] = { d->P };
    _Static_assert(sizeof(kp_td_sums) == 3 * sizeof(int64_t) &&
                       sizeof(kp_tensor_tally) == 2 * sizeof(int64_t) &&
                       sizeof(kp_dqn_interval) == 5 * sizeof(int64_t) &&
                       sizeof(kp_member_progress) == 5 * sizeof(int64_t),
                   "rows of 8-byte numbers");
    kp_status st = kp_checkpoint_pass(io, "dqn.active", KP_U8, 1, P, d->active, err);
    if (!st)
        st = kp_checkpoint_pass(io, "dqn.optimizer_steps", KP_I64, 1, P,
                                kp_optim_steps(kp_dqn_update_optim(d->update)), err);
    /* counts and doubles side by side: kept as bits */
    if (!st)
        st = kp_checkpoint_pass(io, "dqn.interval", KP_U64, 2, (int64_t[]){ d->P, 5 }, d->interval,
                                err);
    if (!st)
        st = kp_checkpoint_pass(io, "dqn.sums", KP_U64, 2, (int64_t[]){ d->P, 3 }, d->sums, err);
    if (!st)
        st = kp_checkpoint_pass(io, "dqn.tally", KP_U64, 3, (int64_t[]){ d->P, d->T, 2 }, d->tally,
                                err);
    if (!st) st = kp_checkpoint_pass(io, "dqn.gradient_l2", KP_F32, 1, P, d->grad_l2, err);
    if (!st)
        st = kp_checkpoint_pass(io, "dqn.progress", KP_U64, 2, (int64_t[]){ d->P, 5 },
                                d->member_progress, err);
    return st;
}

static kp_status pass_counters(kp_dqn *d, const kp_checkpoint_io *io, kp_err *err) {
    int64_t
        *all[N_COUNTERS] = { &d->agent_step,   &d->updates,     &d->settled,     &d->fill_end,
                             &d->fill_updates, &d->evaluations, &d->row_updates, &d->gradient_at },
        value[N_COUNTERS];
    for (int i = 0; i < N_COUNTERS; i++) value[i] = *all[i];
    kp_status st = kp_checkpoint_pass(io, "dqn.counters", KP_I64, 1, (int64_t[]){ N_COUNTERS },
                                      value, err);
    for (int i = 0; !st && i < N_COUNTERS; i++) *all[i] = value[i];
    return st;
}

static kp_status pass_weights(kp_dqn *d, const kp_checkpoint_io *io, kp_err *err) {
    const kp_layout *l = kp_net_layout(kp_dqn_update_net(d->update));
    kp_optim *optim = kp_dqn_update_optim(d->update);
    struct {
        const char *group;
        float *buffer;
    } all[2 + KP_OPTIM_MAX_MOMENTS] = { { "theta", kp_dqn_update_theta(d->update) },
                                        { "target", kp_dqn_update_target_theta(d->update) } };
    int n = 2;
    for (int i = 0; i < kp_optim_n_moments(optim); i++, n++)
        all[n].buffer = kp_optim_moment(optim, i, &all[n].group);
    kp_status st = KP_OK;
    for (int i = 0; !st && i < n; i++)
        st = kp_weights_pass(io, all[i].group, l, d->backend, d->P, all[i].buffer, err);
    return st;
}

static kp_status pass_state(kp_dqn *d, const kp_checkpoint_io *io, kp_err *err) {
    kp_status st = pass_counters(d, io, err);
    if (!st) st = pass_small(d, io, err);
    return st ? st : pass_weights(d, io, err);
}

/* ---- emulators and replay -------------------------------------------------------------------- */

static kp_status save_envs(kp_dqn *d, kp_checkpoint_writer *w, kp_err *err) {
    int lanes = d->P * d->E;
    uint8_t *bytes = malloc((size_t)lanes * kp_env_state_bytes(d->env));
    int64_t *length = calloc((size_t)lanes, sizeof *length), total = 0;
    kp_status st = bytes && length ? KP_OK
                                   : kp_fail(err, KP_BAD_CONFIG, "checkpoint: out of host memory");
    for (int i = 0; !st && i < lanes; i++) {
        size_t n = 0;
        st = kp_env_save(d->env, i, bytes + total, &n, err);
        length[i] = (int64_t)n, total += (int64_t)n;
    }
    if (!st) st = kp_checkpoint_add(w, "env.lengths", KP_I64, 1, (int64_t[]){ lanes }, length, err);
    if (!st) st = kp_checkpoint_add(w, "env.bytes", KP_U8, 1, (int64_t[]){ total }, bytes, err);
    free(bytes);
    free(length);
    return st;
}

static kp_status load_envs(kp_dqn *d, const kp_checkpoint *r, kp_err *err) {
    int lanes = d->P * d->E;
    const void *bytes = NULL;
    size_t n_bytes = 0, at = 0;
    int64_t *length = calloc((size_t)lanes, sizeof *length);
    kp_status st = length ? KP_OK : kp_fail(err, KP_BAD_CONFIG, "checkpoint: out of host memory");
    if (!st) st = kp_checkpoint_get(r, "env.lengths", KP_I64, 1, (int64_t[]){ lanes }, length, err);
    if (!st) st = kp_checkpoint_borrow(r, "env.bytes", KP_U8, &bytes, &n_bytes, err);
    for (int i = 0; !st && i < lanes; i++) {
        if (length[i] < 0 || (uint64_t)length[i] > n_bytes - at)
            st = kp_fail(err, KP_STORAGE, "checkpoint: env.lengths does not fit env.bytes");
        else st = kp_env_load(d->env, i, (const uint8_t *)bytes + at, (size_t)length[i], err);
        at += (size_t)length[i];
    }
    free(length);
    return st;
}

static kp_status save_replay(kp_dqn *d, kp_checkpoint_writer *w, kp_err *err) {
    int n = 0;
    size_t bytes = 0;
    kp_status st = kp_ring_file_save(d->file, err);
    if (st) return st;
    const kp_ring_segment *s = kp_ring_file_segments(d->file, &n);
    const uint8_t *index = kp_ring_file_index(d->file, &bytes);
    for (int i = 0; !st && i < n; i++)
        st = kp_checkpoint_share(w, KP_REPLAY_FOLDER, s[i].name, s[i].n_bytes, s[i].xxh64, err);
    return st ? st
              : kp_checkpoint_add(w, "replay.index", KP_U8, 1, (int64_t[]){ (int64_t)bytes }, index,
                                  err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

kp_status kp_dqn_save(void *learner, kp_checkpoint_writer *w, int with_replay, kp_err *err) {
    kp_dqn *d = learner;
    kp_status st = kp_dqn_check_finite(d, 1, err);
    if (!st) st = kp_optim_tally(kp_dqn_update_optim(d->update), d->tally, err);
    if (!st)
        st = kp_backend_download(d->backend, d->sums, kp_dqn_update_sums(d->update),
                                 (size_t)d->P * sizeof *d->sums, err);
    if (!st) st = kp_dqn_measure(d, err);
    if (!st) st = pass_state(d, &(kp_checkpoint_io){ .to = w }, err);
    if (!st && with_replay) st = save_envs(d, w, err);
    if (!st && with_replay) st = save_replay(d, w, err);
    return st;
}

/* Without replay nothing is sampled before it has filled again; the counts of agent steps go on. */
static kp_status begin_again(kp_dqn *d, kp_err *err) {
    d->fill_updates = d->updates;
    d->fill_end = d->agent_step + d->member->buffer.min_transitions;
    kp_log_line(d->log,
                "the checkpoint has no replay: new games, and no update before agent step %lld",
                (long long)d->fill_end);
    return new_games(d, (uint64_t)d->agent_step + 1, err);
}

kp_status kp_dqn_load(void *learner, const kp_checkpoint *r, kp_err *err) {
    kp_dqn *d = learner;
    const void *index = NULL;
    size_t n = 0;
    kp_status st = pass_state(d, &(kp_checkpoint_io){ .from = r }, err);
    if (!st) st = kp_optim_set_tally(kp_dqn_update_optim(d->update), d->tally, err);
    if (!st)
        st = kp_backend_upload(d->backend, kp_dqn_update_sums(d->update), d->sums,
                               (size_t)d->P * sizeof *d->sums, err);
    if (!st) d->progress.agent_step = d->agent_step, d->progress.updates = d->updates;
    if (st || !kp_checkpoint_has(r, "replay.index")) return st ? st : begin_again(d, err);
    st = kp_checkpoint_borrow(r, "replay.index", KP_U8, &index, &n, err);
    if (!st) st = kp_ring_file_load(d->file, index, n, err);
    return st ? st : load_envs(d, r, err);
}
