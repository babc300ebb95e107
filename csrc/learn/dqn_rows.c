/* dqn_rows.c: a row of metrics for each member: fixed columns, then the share clipped of each
 * tensor.
 *
 * Shares, losses and Q values are means over the updates since the row before; norms are of now. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dqn_impl.h"

enum {
    MEMBER,
    AGENT_STEP,
    FRAMES,
    UPDATES,
    EPISODES,
    RETURN_MEAN,
    RETURN_MIN,
    RETURN_MAX,
    LENGTH_MEAN,
    EPSILON,
    LOSS,
    Q_MAX_MEAN,
    WEIGHT_L2,
    GRADIENT_L2,
    SHARE_CLIPPED,
    EVAL_MEAN,
    EVAL_MIN,
    EVAL_MAX,
    N_FIXED
};

static const kp_metrics_column fixed[N_FIXED] = {
    [MEMBER] = { "member", 1 },
    [AGENT_STEP] = { "agent_step", 1 },
    [FRAMES] = { "frames", 1 },
    [UPDATES] = { "updates", 1 },
    [EPISODES] = { "episodes", 1 }, /* training games finished, and their unclipped returns */
    [RETURN_MEAN] = { "return_mean", 0 },
    [RETURN_MIN] = { "return_min", 0 },
    [RETURN_MAX] = { "return_max", 0 },
    [LENGTH_MEAN] = { "length_mean", 0 }, /* agent steps */
    [EPSILON] = { "epsilon", 0 },
    [LOSS] = { "loss", 0 },
    [Q_MAX_MEAN] = { "q_max_mean", 0 },
    [WEIGHT_L2] = { "weight_l2", 0 },
    [GRADIENT_L2] = { "gradient_l2", 0 }, /* of the latest update */
    [SHARE_CLIPPED] = { "share_clipped", 0 },
    [EVAL_MEAN] = { "eval_return_mean", 0 },
    [EVAL_MIN] = { "eval_return_min", 0 },
    [EVAL_MAX] = { "eval_return_max", 0 },
};

static const kp_layout *layout(const kp_dqn *d) {
    return kp_net_layout(kp_dqn_update_net(d->update));
}

static kp_status find_clipped(kp_dqn *d, kp_err *err) {
    float *bound = calloc((size_t)d->T, sizeof *bound);
    kp_status st = bound ? KP_OK : kp_fail(err, KP_BAD_CONFIG, "metrics: out of host memory");
    for (int p = 0; !st && p < d->P; p++) {
        st = kp_clip_bounds(layout(d), &d->member[p].optim.clip, bound, err);
        for (int t = 0; !st && t < d->T; t++) d->clips[p * d->T + t] = bound[t] < INFINITY;
    }
    free(bound);
    return st;
}

kp_status kp_dqn_rows_open(kp_dqn *d, kp_err *err) {
    const kp_layout *l = layout(d);
    d->T = l->n_tensors;
    d->n_columns = N_FIXED + d->T;
    size_t P = (size_t)d->P, T = (size_t)d->T, columns = (size_t)d->n_columns;
    d->tally = calloc(P * T, sizeof *d->tally);
    d->clips = calloc(P * T, 1);
    d->sums = calloc(P, sizeof *d->sums);
    d->theta_l2 = calloc(P, sizeof *d->theta_l2);
    d->grad_l2 = calloc(P, sizeof *d->grad_l2);
    d->column = calloc(columns, sizeof *d->column);
    d->column_name = calloc(T, sizeof *d->column_name);
    d->rows = calloc(P * columns, sizeof *d->rows);
    d->has_row = calloc(P, 1);
    if (!d->tally || !d->clips || !d->sums || !d->theta_l2 || !d->grad_l2 || !d->column ||
        !d->column_name || !d->rows || !d->has_row)
        return kp_fail(err, KP_BAD_CONFIG, "metrics: out of host memory");
    memcpy(d->column, fixed, sizeof fixed);
    for (int t = 0; t < d->T; t++) {
        snprintf(d->column_name[t], sizeof *d->column_name, "clipped/%s", l->tensor[t].name);
        d->column[N_FIXED + t].name = d->column_name[t];
    }
    return find_clipped(d, err);
}

const kp_metrics_column *kp_dqn_columns(const void *learner, int *n) {
    const kp_dqn *d = learner;
    *n = d->n_columns;
    return d->column;
}

int kp_dqn_row(const void *learner, int member, kp_metrics_value *value) {
    const kp_dqn *d = learner;
    size_t n = (size_t)d->n_columns;
    if (d->has_row[member]) memcpy(value, d->rows + (size_t)member * n, n * sizeof *value);
    return d->has_row[member];
}

/* Shares of entries outside the bound, by tensor; returns that of all clipped tensors together. */
static double fill_shares(const kp_dqn *d, int p, int64_t updates, kp_metrics_value *share) {
    double outside = 0, entries = 0;
    for (int t = 0; t < d->T; t++) {
        const kp_tensor *tensor = &layout(d)->tensor[t];
        double here = (double)d->tally[p * d->T + t].outside,
               of = (double)tensor->count * (double)updates;
        share[t].d = updates ? here / of : NAN;
        if (!d->clips[p * d->T + t]) continue;
        outside += here, entries += of;
    }
    if (!updates) return NAN;
    return entries > 0 ? outside / entries : 0;
}

static void fill_row(kp_dqn *d, int p, int evaluated, kp_metrics_value *v) {
    const kp_config *c = &d->member[p];
    const kp_dqn_interval *sum = &d->interval[p];
    double games = sum->episodes ? (double)sum->episodes : NAN;
    int64_t updates = d->updates - d->row_updates;
    v[MEMBER].i = p;
    v[AGENT_STEP].i = d->agent_step;
    v[FRAMES].i = d->agent_step * c->env.frame_skip;
    v[UPDATES].i = d->updates;
    v[EPISODES].i = sum->episodes;
    v[RETURN_MEAN].d = sum->return_sum / games;
    v[RETURN_MIN].d = sum->episodes ? sum->return_min : NAN;
    v[RETURN_MAX].d = sum->episodes ? sum->return_max : NAN;
    v[LENGTH_MEAN].d = (double)sum->length_sum / games;
    v[EPSILON].d = kp_dqn_epsilon(c, d->agent_step);
    v[LOSS].d = d->sums[p].n ? d->sums[p].loss / (double)d->sums[p].n : NAN;
    v[Q_MAX_MEAN].d = d->sums[p].n ? d->sums[p].q_max / (double)d->sums[p].n : NAN;
    v[WEIGHT_L2].d = (double)d->theta_l2[p];
    v[GRADIENT_L2].d = d->updates ? (double)d->grad_l2[p] : NAN;
    v[SHARE_CLIPPED].d = fill_shares(d, p, updates, v + N_FIXED);
    v[EVAL_MEAN].d = v[EVAL_MIN].d = v[EVAL_MAX].d = NAN;
    if (evaluated) {
        int n = c->eval.episodes;
        const double *returns = d->eval_returns + (size_t)p * (size_t)n;
        v[EVAL_MEAN].d = d->member_progress[p].value[KP_DQN_EVAL];
        v[EVAL_MIN].d = v[EVAL_MAX].d = returns[0];
        for (int i = 1; i < n; i++) {
            v[EVAL_MIN].d = fmin(v[EVAL_MIN].d, returns[i]);
            v[EVAL_MAX].d = fmax(v[EVAL_MAX].d, returns[i]);
        }
    }
    kp_member_progress *m = &d->member_progress[p];
    if (sum->episodes) m->value[KP_DQN_RETURN] = v[RETURN_MEAN].d;
    m->weight_l2 = v[WEIGHT_L2].d;
    if (updates) m->share_clipped = v[SHARE_CLIPPED].d;
}

kp_status kp_dqn_measure(kp_dqn *d, kp_err *err) {
    float *grad_l2 = d->gradient_at == d->updates ? NULL : d->grad_l2;
    kp_status st = kp_dqn_update_norms(d->update, d->theta_l2, grad_l2, err);
    if (!st) d->gradient_at = d->updates;
    return st;
}

kp_status kp_dqn_make_rows(kp_dqn *d, int evaluated, kp_err *err) {
    size_t P = (size_t)d->P, sums_bytes = P * sizeof *d->sums;
    kp_optim *optim = kp_dqn_update_optim(d->update);
    kp_td_sums *sums = kp_dqn_update_sums(d->update);
    kp_status st = kp_optim_tally(optim, d->tally, err);
    if (!st) st = kp_backend_download(d->backend, d->sums, sums, sums_bytes, err);
    if (!st) st = kp_dqn_measure(d, err);
    if (st) return st;
    for (int p = 0; p < d->P; p++) {
        d->has_row[p] = d->active[p];
        if (d->active[p]) fill_row(d, p, evaluated, d->rows + (size_t)p * (size_t)d->n_columns);
    }
    d->row_updates = d->updates;
    memset(d->interval, 0, P * sizeof *d->interval);
    memset(d->sums, 0, sums_bytes);
    memset(d->tally, 0, P * (size_t)d->T * sizeof *d->tally);
    st = kp_backend_upload(d->backend, sums, d->sums, sums_bytes, err);
    return st ? st : kp_optim_set_tally(optim, d->tally, err);
}
