/* stream_state.c: the whole state of a stream in a checkpoint.
 *
 *     theta/ m/ v/ ...            [P][tensor]      weights.h
 *     cbp.* redo.*                                 units.h
 *     stream.counters             [2] int64        samples: now, at the latest row
 *     stream.active               [P]              0: weights not finite, stopped
 *     stream.optimizer_steps      [P]
 *     stream.sums, .tally         [P][...]         since the latest row of metrics
 *     stream.ever_active          [P][n_hidden]    likewise
 *     stream.progress             [P][5]           what the live table shows
 *
 * Samples and permutations follow from the seeds, the first weights too or from net.init_from. */
#include "stream_impl.h"
#include "weights.h"

static kp_status pass_counters(kp_stream *s, const kp_checkpoint_io *io, kp_err *err) {
    int64_t value[2] = { s->sample, s->row_sample };
    kp_status st = kp_checkpoint_pass(io, "stream.counters", KP_I64, 1, (int64_t[]){ 2 }, value,
                                      err);
    if (!st) s->sample = value[0], s->row_sample = value[1];
    return st;
}

static kp_status pass_small(kp_stream *s, const kp_checkpoint_io *io, kp_err *err) {
    int64_t P[1] = { s->P };
    _Static_assert(sizeof(kp_tensor_tally) == 2 * sizeof(int64_t) &&
                       sizeof(kp_stream_sums) == 5 * sizeof(double) &&
                       sizeof(kp_member_progress) == 5 * sizeof(int64_t),
                   "rows of 8-byte numbers");
    kp_status st = kp_checkpoint_pass(io, "stream.active", KP_U8, 1, P, s->active, err);
    if (!st)
        st = kp_checkpoint_pass(io, "stream.optimizer_steps", KP_I64, 1, P,
                                kp_optim_steps(s->optim), err);
    if (!st)
        st = kp_checkpoint_pass(io, "stream.sums", KP_F64, 2, (int64_t[]){ s->P, 5 }, s->sums, err);
    /* counts, or counts and doubles, side by side: kept as bits */
    if (!st)
        st = kp_checkpoint_pass(io, "stream.tally", KP_U64, 3, (int64_t[]){ s->P, s->T, 2 },
                                s->tally, err);
    if (!st)
        st = kp_checkpoint_pass(io, "stream.progress", KP_U64, 2, (int64_t[]){ s->P, 5 },
                                s->member_progress, err);
    if (!st && s->ever_active)
        st = kp_checkpoint_pass(io, "stream.ever_active", KP_U8, 2,
                                (int64_t[]){ s->P, s->shape.n_hidden }, s->ever_active_host, err);
    return st;
}

static kp_status pass_weights(kp_stream *s, const kp_checkpoint_io *io, kp_err *err) {
    kp_status st = KP_OK;
    for (int i = -1; !st && i < kp_optim_n_moments(s->optim); i++) {
        const char *group = "theta";
        float *buffer = i < 0 ? s->theta : kp_optim_moment(s->optim, i, &group);
        st = kp_weights_pass(io, group, &s->layout, s->backend, s->P, buffer, err);
    }
    return st;
}

static kp_status pass_state(kp_stream *s, const kp_checkpoint_io *io, kp_err *err) {
    kp_status st = pass_counters(s, io, err);
    if (!st) st = pass_small(s, io, err);
    if (!st) st = pass_weights(s, io, err);
    return st ? st : kp_units_pass(s->units, io, err);
}

static size_t units_bytes(const kp_stream *s) { return (size_t)s->P * (size_t)s->shape.n_hidden; }

kp_status kp_stream_save(void *learner, kp_checkpoint_writer *w, int with_replay, kp_err *err) {
    kp_stream *s = learner;
    (void)with_replay; /* there is none */
    kp_status st = kp_optim_tally(s->optim, s->tally, err);
    if (!st && s->ever_active)
        st = kp_backend_download(s->backend, s->ever_active_host, s->ever_active, units_bytes(s),
                                 err);
    return st ? st : pass_state(s, &(kp_checkpoint_io){ .to = w }, err);
}

kp_status kp_stream_load(void *learner, const kp_checkpoint *r, kp_err *err) {
    kp_stream *s = learner;
    kp_status st = pass_state(s, &(kp_checkpoint_io){ .from = r }, err);
    if (!st) st = kp_optim_set_tally(s->optim, s->tally, err);
    if (!st && s->ever_active)
        st = kp_backend_upload(s->backend, s->ever_active, s->ever_active_host, units_bytes(s),
                               err);
    s->progress.agent_step = s->progress.updates = s->sample;
    return st;
}
