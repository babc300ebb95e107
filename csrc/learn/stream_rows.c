/* stream_rows.c: a row of metrics for each member: fixed columns, then the share clipped of each
 * tensor.
 *
 * Means and shares are over the samples since the row before, which are of one task; norms and
 * ranks are of the weight matrices as they are now, together, and of the latest sample's gradient.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream_impl.h"

enum {
    MEMBER,
    AGENT_STEP,
    UPDATES,
    TASK,
    ACCURACY,
    LOSS,
    LOSS_AFTER,
    PLASTICITY,
    INACTIVE_UNITS,
    DEAD_UNITS,
    REPLACED,
    WEIGHT_L1,
    WEIGHT_L2,
    WEIGHT_L0,
    GRAD_L1,
    GRAD_L2,
    GRAD_L0,
    DISTANCE,
    EFFECTIVE_RANK,
    WEIGHT_RANK,
    SHARE_CLIPPED,
    N_FIXED
};

static const kp_metrics_column fixed[N_FIXED] = {
    [MEMBER] = { "member", 1 },
    [AGENT_STEP] = { "agent_step", 1 }, /* samples */
    [UPDATES] = { "updates", 1 },
    [TASK] = { "task", 1 },
    [ACCURACY] = { "accuracy", 0 }, /* before each sample's update */
    [LOSS] = { "loss", 0 },
    [LOSS_AFTER] = { "loss_after", 0 }, /* the same sample's, after its update */
    [PLASTICITY] = { "plasticity", 0 },
    [INACTIVE_UNITS] = { "inactive_units", 0 }, /* share of hidden units, mean over samples */
    [DEAD_UNITS] = { "dead_units", 0 },         /* share never active since the row before */
    [REPLACED] = { "units_replaced", 1 },       /* so far */
    [WEIGHT_L1] = { "weight_l1", 0 },
    [WEIGHT_L2] = { "weight_l2", 0 },
    [WEIGHT_L0] = { "weight_l0", 0 }, /* share that is not zero */
    [GRAD_L1] = { "grad_l1", 0 },
    [GRAD_L2] = { "grad_l2", 0 },
    [GRAD_L0] = { "grad_l0", 0 },
    [DISTANCE] = { "distance_from_init", 0 },
    [EFFECTIVE_RANK] = { "effective_rank", 0 }, /* of the most there can be, as the next */
    [WEIGHT_RANK] = { "weight_rank", 0 },
    [SHARE_CLIPPED] = { "share_clipped", 0 },
};

static kp_status find_clipped(kp_stream *s, kp_err *err) {
    float *bound = calloc((size_t)s->T, sizeof *bound);
    kp_status st = bound ? KP_OK : kp_fail(err, KP_BAD_CONFIG, "metrics: out of host memory");
    for (int p = 0; !st && p < s->P; p++) {
        int limits = s->member[p].optim.rule == KP_RULE_MADAM; /* weights, with and without clip */
        st = kp_clip_bounds(&s->layout, &s->member[p].optim.clip, bound, err);
        for (int t = 0; !st && t < s->T; t++)
            s->clips[p * s->T + t] = limits || bound[t] < INFINITY;
    }
    free(bound);
    return st;
}

kp_status kp_stream_rows_open(kp_stream *s, kp_err *err) {
    size_t P = (size_t)s->P, T = (size_t)s->T;
    s->n_columns = N_FIXED + s->T;
    s->clips = calloc(P * T, 1);
    s->column = calloc((size_t)s->n_columns, sizeof *s->column);
    s->column_name = calloc(T, sizeof *s->column_name);
    s->rows = calloc(P * (size_t)s->n_columns, sizeof *s->rows);
    s->has_row = calloc(P, 1);
    if (!s->clips || !s->column || !s->column_name || !s->rows || !s->has_row)
        return kp_fail(err, KP_BAD_CONFIG, "metrics: out of host memory");
    memcpy(s->column, fixed, sizeof fixed);
    for (int t = 0; t < s->T; t++) {
        snprintf(s->column_name[t], sizeof *s->column_name, "clipped/%s", s->layout.tensor[t].name);
        s->column[N_FIXED + t].name = s->column_name[t];
    }
    return find_clipped(s, err);
}

const kp_metrics_column *kp_stream_columns(const void *learner, int *n) {
    const kp_stream *s = learner;
    *n = s->n_columns;
    return s->column;
}

int kp_stream_row(const void *learner, int member, kp_metrics_value *value) {
    const kp_stream *s = learner;
    size_t n = (size_t)s->n_columns;
    if (s->has_row[member]) memcpy(value, s->rows + (size_t)member * n, n * sizeof *value);
    return s->has_row[member];
}

/* Shares of entries outside the bound, by tensor; returns that of all clipped tensors together. */
static double fill_shares(const kp_stream *s, int p, double samples, kp_metrics_value *share) {
    double outside = 0, entries = 0;
    for (int t = 0; t < s->T; t++) {
        double here = (double)s->tally[p * s->T + t].outside,
               of = (double)s->layout.tensor[t].count * samples;
        share[t].d = here / of;
        if (!s->clips[p * s->T + t]) continue;
        outside += here, entries += of;
    }
    return entries > 0 ? outside / entries : 0;
}

static double dead_share(const kp_stream *s, int p) {
    int n = s->shape.n_hidden, dead = 0;
    const uint8_t *ever = s->ever_active_host + (int64_t)p * n;
    for (int i = 0; i < n; i++) dead += !ever[i];
    return (double)dead / n;
}

static void fill_row(kp_stream *s, int p, kp_metrics_value *v) {
    const kp_stream_sums *sum = &s->sums[p];
    const kp_stream_measures *m = &s->measures[p];
    int has_units = s->ever_active && s->shape.activation != KP_MLP_CRELU;
    double n = (double)(s->sample - s->row_sample);
    v[MEMBER].i = p;
    v[AGENT_STEP].i = v[UPDATES].i = s->sample;
    v[TASK].i = s->task;
    v[ACCURACY].d = sum->correct / n;
    v[LOSS].d = sum->loss / n;
    v[LOSS_AFTER].d = sum->loss_after / n;
    v[PLASTICITY].d = sum->plasticity / n;
    v[INACTIVE_UNITS].d = has_units ? sum->inactive / n / s->shape.n_hidden : NAN;
    v[DEAD_UNITS].d = has_units ? dead_share(s, p) : NAN;
    v[REPLACED].i = s->replaced[p] + s->replaced[s->P + p];
    v[WEIGHT_L1].d = m->weight_l1, v[WEIGHT_L2].d = m->weight_l2, v[WEIGHT_L0].d = m->weight_l0;
    v[GRAD_L1].d = m->grad_l1, v[GRAD_L2].d = m->grad_l2, v[GRAD_L0].d = m->grad_l0;
    v[DISTANCE].d = m->distance;
    v[EFFECTIVE_RANK].d = m->effective_rank, v[WEIGHT_RANK].d = m->weight_rank;
    v[SHARE_CLIPPED].d = fill_shares(s, p, n, v + N_FIXED);
    s->member_progress[p].weight_l2 = m->weight_l2;
    s->member_progress[p].share_clipped = v[SHARE_CLIPPED].d;
}

kp_status kp_stream_make_rows(kp_stream *s, kp_err *err) {
    size_t P = (size_t)s->P, units = P * (size_t)s->shape.n_hidden;
    kp_status st = kp_stream_measure(s, err);
    if (!st) st = kp_units_replaced(s->units, s->replaced, s->replaced + s->P, err);
    if (!st && s->ever_active)
        st = kp_backend_download(s->backend, s->ever_active_host, s->ever_active, units, err);
    if (st) return st;
    for (int p = 0; p < s->P; p++) {
        s->has_row[p] = s->active[p];
        if (s->active[p]) fill_row(s, p, s->rows + (size_t)p * (size_t)s->n_columns);
    }
    s->row_sample = s->sample;
    memset(s->sums, 0, P * sizeof *s->sums);
    memset(s->tally, 0, P * (size_t)s->T * sizeof *s->tally);
    memset(s->ever_active_host, 0, units);
    st = kp_optim_set_tally(s->optim, s->tally, err);
    if (!st && s->ever_active)
        st = kp_backend_upload(s->backend, s->ever_active, s->ever_active_host, units, err);
    return st;
}
