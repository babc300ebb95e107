/* dqn.c: DQN (Mnih et al. 2015) of P members in lockstep: acting, replay, the schedule of updates.
 *
 * A step of the learner is, in this order: an update if one is due; else what the agent step it
 * stands at still asks for (target copy, evaluation, row of metrics), each a function of the state
 * alone, so that it can be done again after a resume; else one agent step in every environment. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "dqn_impl.h"
#include "dqn_options.h"
#include "optim_of.h"

/* ---- the schedule ---------------------------------------------------------------------------- */

double kp_dqn_epsilon(const kp_config *c, int64_t agent_step) {
    int64_t from = c->epsilon.decay_from == KP_DECAY_FROM_START ? 0 : c->buffer.min_transitions;
    int64_t length = c->epsilon.decay_agent_steps;
    if (agent_step >= from + length) return c->epsilon.end;
    if (agent_step <= from) return c->epsilon.start;
    return c->epsilon.start +
           (c->epsilon.end - c->epsilon.start) * (double)(agent_step - from) / (double)length;
}

/* The half-ulp keeps 0.1 updates a step from coming one step late. */
int64_t kp_dqn_updates_due(const kp_dqn *d) {
    if (d->agent_step < d->fill_end) return d->fill_updates;
    double due = (double)(d->agent_step - d->fill_end) * d->member->train.replay_ratio;
    return d->fill_updates + (int64_t)floor(due * (1 + 1e-12));
}

/* Whether the latest agent steps reached or passed a multiple of the period. */
static int crossed(const kp_dqn *d, int64_t period) {
    return period > 0 && d->agent_step / period > (d->agent_step - d->E) / period;
}

static int is_at_end(const kp_dqn *d) { return d->agent_step >= d->member->train.agent_steps; }

static int any_active(const kp_dqn *d) {
    for (int p = 0; p < d->P; p++)
        if (d->active[p]) return 1;
    return 0;
}

/* ---- pieces of work -------------------------------------------------------------------------- */

static void stop_member(kp_dqn *d, int p, int tensor, int64_t update) {
    const kp_config *c = &d->member[p];
    d->active[p] = 0;
    d->member_progress[p].stopped_at = update;
    kp_log_line(d->log,
                "member %d (seed %" PRIu64 "): %s is not finite after update %" PRId64
                ", agent step %" PRId64
                "; this member stops. Lower optim.lr or set optim.clip.kappa",
                p, c->seed, kp_net_layout(kp_dqn_update_net(d->update))->tensor[tensor].name,
                update, d->agent_step);
}

/* Members whose weights went non-finite stop: their later numbers mean nothing. */
kp_status kp_dqn_check_finite(kp_dqn *d, int drain, kp_err *err) {
    const void *data = NULL;
    int64_t update = 0;
    for (;;) {
        kp_status st = kp_readback_take(d->after_update, drain, &data, &update, err);
        if (st || !data) return st;
        const kp_tensor_tally *tally = data;
        for (int p = 0; p < d->P; p++)
            for (int t = 0; d->active[p] && t < d->T; t++)
                if (tally[p * d->T + t].non_finite) stop_member(d, p, t, update);
    }
}

static kp_status update(kp_dqn *d, kp_err *err) {
    const kp_config *c = d->member;
    const kp_dqn_batch *all = kp_dqn_update_batch(d->update);
    int64_t B = c->dqn.batch, stack = c->env.stack;
    kp_status st = kp_frames_refresh(d->frames, err);
    for (int p = 0; !st && p < d->P; p++) {
        if (!d->active[p]) continue;
        kp_ring_batch batch = { all->s + p * B * stack, all->s_next + p * B * stack,
                                all->action + p * B, all->reward + p * B, all->discount + p * B };
        st = kp_ring_sample(d->ring, p, d->seed[p], (uint64_t)d->updates, (int)B, &batch, err);
    }
    if (!st) st = kp_dqn_update_run(d->update, d->active, err);
    if (st) return st;
    d->updates++;
    if (c->target.unit == KP_UNIT_UPDATES && d->updates % c->target.period == 0)
        st = kp_dqn_update_target(d->update, d->active, err);
    if (!st) st = kp_readback_post(d->after_update, d->updates, err);
    return st ? st : kp_dqn_check_finite(d, 0, err);
}

static void take(kp_dqn *d, int lane) {
    const kp_env_result *r = &d->result[lane];
    kp_dqn_interval *sum = &d->interval[lane / d->E];
    kp_end end = r->terminal ? KP_END_TERMINAL : r->truncated ? KP_END_TRUNCATED : KP_END_NONE;
    float reward = r->reward;
    if (d->member->env.clip_rewards) reward = (float)((reward > 0) - (reward < 0));
    kp_ring_push(d->ring, lane, d->action[lane], reward, end, r->frame);
    if (end) kp_ring_begin(d->ring, lane, r->first);
    if (!r->game_over && !r->truncated) return;
    if (sum->episodes == 0 || r->game_return < sum->return_min) sum->return_min = r->game_return;
    if (sum->episodes == 0 || r->game_return > sum->return_max) sum->return_max = r->game_return;
    sum->return_sum += r->game_return;
    sum->length_sum += r->game_steps;
    sum->episodes++;
}

static kp_status act(kp_dqn *d, kp_err *err) {
    int lanes = d->P * d->E, stack = d->member->env.stack;
    for (int p = 0; p < d->P; p++) d->epsilon[p] = kp_dqn_epsilon(&d->member[p], d->agent_step);
    for (int i = 0; i < lanes; i++) {
        d->action[i] = d->active[i / d->E] ? 0 : -1;
        kp_ring_stack(d->ring, i, kp_actor_stacks(d->actor) + (int64_t)i * stack);
    }
    kp_status st = kp_frames_refresh(d->frames, err);
    if (!st) st = kp_actor_act(d->actor, d->epsilon, (uint64_t)d->agent_step, d->action, err);
    if (!st) st = kp_env_step(d->env, d->action, d->result, err);
    if (!st) st = kp_frames_await(d->frames, err);
    for (int i = 0; !st && i < lanes; i++)
        if (d->action[i] >= 0) take(d, i);
    if (!st) d->agent_step += d->E;
    return st;
}

static kp_status evaluate(kp_dqn *d, kp_err *err) {
    int n = d->member->eval.episodes;
    kp_status st = kp_evaluator_run(d->evaluator, d->evaluations, 0, d->active, d->eval_returns,
                                    d->listener, &d->progress, err);
    if (st) return st;
    d->evaluations++;
    for (int p = 0; p < d->P; p++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += d->eval_returns[p * n + i];
        if (d->active[p]) d->member_progress[p].value[KP_DQN_EVAL] = sum / n;
    }
    return KP_OK;
}

/* What this agent step asks for besides updates. */
static kp_status settle(kp_dqn *d, kp_event *event, kp_err *err) {
    const kp_config *c = d->member;
    int evaluates = d->evaluator && (crossed(d, c->eval.interval_steps) || is_at_end(d));
    kp_status st = kp_dqn_check_finite(d, 1, err);
    if (!st && c->target.unit == KP_UNIT_AGENT_STEPS && crossed(d, c->target.period))
        st = kp_dqn_update_target(d->update, d->active, err);
    if (!st && evaluates) st = evaluate(d, err);
    if (!st && (evaluates || crossed(d, c->log.interval_steps) || is_at_end(d))) {
        st = kp_dqn_make_rows(d, evaluates, err);
        *event = KP_EVENT_ROWS;
    }
    if (!st) d->settled = d->agent_step;
    return st;
}

static kp_status step(void *learner, kp_event *event, kp_err *err) {
    kp_dqn *d = learner;
    kp_status st = KP_OK;
    *event = KP_EVENT_NONE;
    if (!any_active(d)) *event = KP_EVENT_END;
    else if (d->updates < kp_dqn_updates_due(d)) st = update(d, err);
    else if (d->settled < d->agent_step) st = settle(d, event, err);
    else if (is_at_end(d)) *event = KP_EVENT_END;
    else st = act(d, err);
    d->progress.phase = d->updates ? "train" : "fill";
    d->progress.agent_step = d->agent_step, d->progress.updates = d->updates;
    return st;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void say_memory(const kp_dqn *d, const kp_ring_options *ring) {
    kp_log_line(d->log,
                "replay: %.2f GiB for %d member%s of %" PRId64
                " transitions, taken as it fills; %.1f GiB are "
                "available",
                (double)kp_ring_bytes(ring) / 0x1p30, d->P, d->P == 1 ? "" : "s", ring->transitions,
                (double)kp_memory_available() / 0x1p30);
}

static kp_status open_memory(kp_dqn *d, kp_err *err) {
    size_t P = (size_t)d->P, lanes = P * (size_t)d->E;
    d->active = malloc(P);
    d->action = calloc(lanes, sizeof *d->action);
    d->result = calloc(lanes, sizeof *d->result);
    d->epsilon = calloc(P, sizeof *d->epsilon);
    d->interval = calloc(P, sizeof *d->interval);
    d->member_progress = calloc(P, sizeof *d->member_progress);
    d->eval_returns = calloc(P * (size_t)d->member->eval.episodes, sizeof *d->eval_returns);
    if (!d->active || !d->action || !d->result || !d->epsilon || !d->interval ||
        !d->member_progress || !d->eval_returns)
        return kp_fail(err, KP_BAD_CONFIG, "DQN: out of host memory");
    memset(d->active, 1, P);
    for (int p = 0; p < d->P; p++)
        d->member_progress[p] = (kp_member_progress){ { NAN, NAN }, NAN, NAN, -1 };
    d->progress = (kp_progress){ .phase = "fill",
                                 .unit = "steps",
                                 .shown = { [KP_DQN_RETURN] = { "return", "%.1f", 1 },
                                            [KP_DQN_EVAL] = { "eval", "%.1f", 1 } },
                                 .P = d->P,
                                 .agent_steps = d->member->train.agent_steps,
                                 .member = d->member_progress };
    return KP_OK;
}

static kp_status open_update(kp_dqn *d, kp_err *err) {
    const kp_config *c = d->member;
    if (c->optim.si.strength != 0 && !c->optim.si.every)
        return kp_fail(err, KP_BAD_CONFIG,
                       "optim.si.every is 0, the end of each task, and dqn has no tasks: give it a "
                       "number of updates, or optim.si.strength=0");
    kp_optim_member *optim = calloc((size_t)d->P, sizeof *optim);
    if (!optim) return kp_fail(err, KP_BAD_CONFIG, "DQN: out of host memory");
    for (int p = 0; p < d->P; p++) optim[p] = kp_optim_member_of(&d->member[p]);
    kp_dqn_update_options o = {
        .P = d->P,
        .B = c->dqn.batch,
        .net = kp_dqn_net_options_of(c, kp_env_n_actions(d->env)),
        .divide = c->net.input_scale == KP_INPUT_UNIT,
        .loss = (kp_td_kind)c->dqn.loss,
        .double_q = c->dqn.double_q,
        .seed = d->seed,
        .optim = kp_optim_options_of(c, optim, d->seed),
        .frames = kp_frames_memory(d->frames),
        .frames_stride = kp_ring_frames_stride(d->ring),
    };
    kp_status st = kp_dqn_update_open(&d->update, d->backend, &o, err);
    free(optim);
    return st ? st : kp_optim_open_readback(kp_dqn_update_optim(d->update), &d->after_update, err);
}

static kp_status open_actor(kp_dqn *d, kp_err *err) {
    const kp_config *c = d->member;
    kp_actor_options o = {
        .P = d->P,
        .E = d->E,
        .stack = c->env.stack,
        .n_actions = kp_env_n_actions(d->env),
        .divide = c->net.input_scale == KP_INPUT_UNIT,
        .stream = KP_STREAM_ACT,
        .seed = d->seed,
        .net = kp_dqn_update_net(d->update),
        .theta = kp_dqn_update_theta(d->update),
        .frames = kp_frames_memory(d->frames),
        .frames_stride = kp_ring_frames_stride(d->ring),
    };
    return kp_actor_open(&d->actor, d->backend, &o, err);
}

static kp_status open_evaluator(kp_dqn *d, kp_err *err) {
    kp_evaluator_options o = kp_dqn_evaluator_options_of(d->member);
    o.P = d->P, o.seed = d->seed;
    o.net = kp_dqn_update_net(d->update), o.theta = kp_dqn_update_theta(d->update);
    return d->member->eval.interval_steps > 0
               ? kp_evaluator_open(&d->evaluator, d->backend, &o, err)
               : KP_OK;
}

static void close_dqn(void *learner) {
    kp_dqn *d = learner;
    if (!d) return;
    kp_evaluator_close(d->evaluator);
    kp_actor_close(d->actor);
    kp_readback_close(d->after_update);
    kp_dqn_update_close(d->update);
    kp_ring_file_close(d->file);
    kp_frames_close(d->frames);
    kp_ring_close(d->ring);
    kp_env_close(d->env);
    void *memory[] = { d->member,  d->seed,         d->active,         d->action, d->result,
                       d->epsilon, d->interval,     d->tally,          d->sums,   d->theta_l2,
                       d->grad_l2, d->eval_returns, d->clips,          d->column, d->column_name,
                       d->rows,    d->has_row,      d->member_progress };
    for (size_t i = 0; i < KP_COUNT(memory); i++) free(memory[i]);
    free(d);
}

static kp_status open_dqn(void **out, const kp_learner_options *o, kp_err *err) {
    *out = NULL;
    kp_dqn *d = calloc(1, sizeof *d);
    if (!d) return kp_fail(err, KP_BAD_CONFIG, "DQN: out of host memory");
    d->backend = o->backend, d->log = o->log, d->listener = o->listener;
    d->P = o->P, d->E = o->member->env.count;
    d->member = calloc((size_t)o->P, sizeof *d->member);
    d->seed = calloc((size_t)o->P, sizeof *d->seed);
    kp_status st = d->member && d->seed ? KP_OK
                                        : kp_fail(err, KP_BAD_CONFIG, "DQN: out of host memory");
    for (int p = 0; !st && p < o->P; p++)
        d->member[p] = o->member[p], d->seed[p] = o->member[p].seed;
    if (!st) st = open_memory(d, err);
    const kp_config *c = o->member;
    kp_ring_options ring = { .P = o->P,
                             .E = d->E,
                             .frame_bytes = KP_FRAME_BYTES,
                             .stack = c->env.stack,
                             .n_step = c->dqn.n_step,
                             .transitions = c->buffer.transitions,
                             .gamma = c->dqn.gamma };
    kp_env_options env = kp_dqn_env_options_of(c, 0);
    env.n_envs = d->P * d->E;
    char folder[KP_PATH];
    if (!st) say_memory(d, &ring);
    if (!st) st = kp_ring_open(&d->ring, &ring, err);
    if (!st)
        st = kp_frames_open(&d->frames, d->backend, d->ring, "replay (buffer.transitions)", err);
    if (!st && kp_backend_kind(d->backend) != KP_CPU)
        kp_log_line(d->log, "replay: its frames are in %s", kp_frames_where(d->frames));
    if (!st) st = kp_path_join(folder, o->checkpoint_dir, KP_REPLAY_FOLDER, err);
    if (!st) st = kp_ring_file_open(&d->file, d->ring, folder, err);
    if (!st) st = kp_env_open(&d->env, &env, err);
    if (!st) st = open_update(d, err);
    if (!st) st = open_actor(d, err);
    if (!st) st = open_evaluator(d, err);
    if (!st) st = kp_dqn_rows_open(d, err);
    d->fill_end = c->buffer.min_transitions;
    if (st) {
        close_dqn(d);
        return st;
    }
    *out = d;
    return KP_OK;
}

static const kp_progress *progress(const void *learner) {
    return &((const kp_dqn *)learner)->progress;
}
static int64_t agent_step(const void *learner) { return ((const kp_dqn *)learner)->agent_step; }

const kp_learner kp_learner_dqn = {
    .name = "dqn",
    .unit = "agent step",
    .open = open_dqn,
    .start = kp_dqn_start,
    .step = step,
    .columns = kp_dqn_columns,
    .row = kp_dqn_row,
    .progress = progress,
    .agent_step = agent_step,
    .save = kp_dqn_save,
    .load = kp_dqn_load,
    .close = close_dqn,
};
