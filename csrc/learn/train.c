/* train.c: one run. Every row that reached metrics.csv before a checkpoint is in the file when the
 * run is resumed from it, and no other: the checkpoint keeps the files' lengths. */
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/overrides.h"
#include "learner.h"
#include "run/members.h"
#include "run/rundir.h"
#include "run/signals.h"
#include "run/tensorboard.h"

static const kp_learner *const learners[KP_N_ALGORITHMS] = {
    [KP_ALGORITHM_DQN] = &kp_learner_dqn, [KP_ALGORITHM_STREAM] = &kp_learner_stream
};

typedef struct {
    const kp_train_options *o;
    kp_config *member; /* [P] */
    int P;
    kp_rundir *dir;
    kp_log *log;
    kp_backend *backend;
    const kp_learner *learner;
    void *state; /* the learner's */
    kp_metrics_log *metrics;
    kp_tensorboard *board; /* NULL: log.tensorboard is off */
    int64_t board_length;  /* of its file at the latest checkpoint, kept while it is off */
    const kp_metrics_column *column;
    int n_columns;
    kp_metrics_value *row;
    char checkpoint_dir[KP_PATH];
    double saved_s, started_s;
    int64_t started_step, started_updates;
} session;

/* ---- rows ------------------------------------------------------------------------------------ */

static kp_status put_on_board(session *s, int member, kp_err *err) {
    kp_status st = KP_OK;
    int64_t at = s->learner->agent_step(s->state);
    for (int i = 0; !st && i < s->n_columns; i++) {
        char tag[160];
        if (s->column[i].is_integer) continue;
        if (s->P == 1) snprintf(tag, sizeof tag, "%s", s->column[i].name);
        else snprintf(tag, sizeof tag, "%s/member %d", s->column[i].name, member);
        st = kp_tensorboard_scalar(s->board, tag, at, s->row[i].d, err);
    }
    return st;
}

static kp_status write_rows(session *s, kp_err *err) {
    kp_status st = KP_OK;
    for (int p = 0; !st && p < s->P; p++) {
        if (!s->learner->row(s->state, p, s->row)) continue;
        st = kp_metrics_log_row(s->metrics, s->row, err);
        if (!st && s->board) st = put_on_board(s, p, err);
    }
    if (!st) st = kp_metrics_log_flush(s->metrics, err);
    if (!st && s->board) st = kp_tensorboard_flush(s->board, err);
    return st;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* lengths: of metrics.csv and the event file. */
static kp_status add_all(session *s, kp_checkpoint_writer *w, const int64_t lengths[2],
                         int with_replay, kp_err *err) {
    kp_status st = kp_checkpoint_add(w, "run.lengths", KP_I64, 1, (int64_t[]){ 2 }, lengths, err);
    return st ? st : s->learner->save(s->state, w, with_replay, err);
}

/* At the end the replay is of no more use and is deleted. */
static kp_status save(session *s, int is_end, kp_err *err) {
    kp_checkpoint_writer *w = NULL;
    int64_t lengths[2] = { 0, s->board_length };
    char replay[KP_PATH];
    kp_status st = kp_metrics_log_sync(s->metrics, &lengths[0], err);
    if (!st && s->board) st = kp_tensorboard_sync(s->board, &lengths[1], err);
    s->board_length = lengths[1];
    if (!st) st = kp_checkpoint_begin(&w, s->checkpoint_dir, s->learner->agent_step(s->state), err);
    if (st) return st;
    st = add_all(s, w, lengths, !is_end && s->member->checkpoint.replay, err);
    if (st) {
        kp_checkpoint_abandon(w);
        return st;
    }
    st = kp_checkpoint_commit(w, is_end ? 1 : s->member->checkpoint.keep, err);
    if (!st && is_end) st = kp_path_join(replay, s->checkpoint_dir, KP_REPLAY_FOLDER, err);
    if (!st && is_end) st = kp_folder_remove(replay, err);
    s->saved_s = kp_now_s();
    return st;
}

static int save_is_due(const session *s) {
    double interval = s->member->checkpoint.interval_seconds;
    return interval > 0 && kp_now_s() - s->saved_s >= interval;
}

static kp_status open_files(session *s, const int64_t lengths[2], kp_err *err) {
    char path[KP_PATH];
    s->board_length = lengths[1];
    kp_status st = kp_rundir_file(s->dir, "metrics.csv", path, err);
    if (!st) st = kp_metrics_log_open(&s->metrics, path, s->column, s->n_columns, lengths[0], err);
    if (st || !s->member->log.tensorboard) return st;
    st = kp_rundir_file(s->dir, "events.out.tfevents.kappa", path, err);
    /* 0: it was off when the checkpoint was written */
    return st ? st
              : kp_tensorboard_open(&s->board, path, lengths[1] ? lengths[1] : KP_TENSORBOARD_NEW,
                                    err);
}

/* From the newest whole checkpoint, or from the beginning. */
static kp_status begin(session *s, kp_err *err) {
    char warning[512];
    kp_checkpoint *c = NULL;
    int64_t lengths[2] = { KP_METRICS_NEW, KP_TENSORBOARD_NEW };
    kp_status st = kp_checkpoint_open(&c, s->checkpoint_dir, warning, err);
    if (!st && warning[0])
        kp_log_line(s->log, "a checkpoint is damaged, the one before it is used: %s", warning);
    if (!st && c) {
        st = kp_checkpoint_get(c, "run.lengths", KP_I64, 1, (int64_t[]){ 2 }, lengths, err);
        if (!st) st = s->learner->load(s->state, c, err);
        if (!st)
            kp_log_line(s->log, "resumed at %s %" PRId64, s->learner->unit, kp_checkpoint_step(c));
    } else if (!st) {
        st = s->learner->start(s->state, err);
    }
    kp_checkpoint_close(c);
    return st ? st : open_files(s, lengths, err);
}

/* ---- the run --------------------------------------------------------------------------------- */

static kp_status open_learner(session *s, kp_err *err) {
    char path[KP_PATH];
    kp_status st = kp_rundir_file(s->dir, "log.txt", path, err);
    if (!st) st = kp_log_open(&s->log, path, s->o->log_to_stderr, err);
    if (!st) st = kp_rundir_file(s->dir, "checkpoint", s->checkpoint_dir, err);
    if (!st) st = kp_backend_open(&s->backend, s->member->device, s->member->threads, err);
    if (!st) st = kp_backend_set_precision(s->backend, (kp_precision)s->member->precision, err);
    if (!st) st = kp_rundir_file(s->dir, "plans", path, err);
    if (!st) st = kp_backend_keep_choices(s->backend, path, err);
    if (st) return st;
    kp_log_line(s->log, "%s: %s, %d member%s", kp_rundir_path(s->dir),
                kp_backend_describe(s->backend), s->P, s->P == 1 ? "" : "s");
    s->learner = learners[s->member->algorithm];
    kp_learner_options o = { .backend = s->backend,
                             .member = s->member,
                             .P = s->P,
                             .checkpoint_dir = s->checkpoint_dir,
                             .listener = s->o->listener,
                             .log = s->log };
    st = s->learner->open(&s->state, &o, err);
    if (st) return st;
    const char *note;
    for (int i = 0; (note = kp_backend_note(s->backend, i)); i++) kp_log_line(s->log, "%s", note);
    s->column = s->learner->columns(s->state, &s->n_columns);
    s->row = calloc((size_t)s->n_columns, sizeof *s->row);
    return s->row ? KP_OK : kp_fail(err, KP_BAD_CONFIG, "metrics: out of host memory");
}

static kp_status record_start(session *s, kp_err *err) {
    static const char *const libraries[][2] = { { "compiler", __VERSION__ },
                                                { "ale-py", "0.12.1" } };
    uint64_t *seed = calloc((size_t)s->P, sizeof *seed);
    if (!seed) return kp_fail(err, KP_BAD_CONFIG, "run: out of host memory");
    for (int p = 0; p < s->P; p++) seed[p] = s->member[p].seed;
    kp_run_info info = { .device = kp_backend_describe(s->backend),
                         .n_seeds = s->P,
                         .seed = seed,
                         .n_libraries = s->member->algorithm == KP_ALGORITHM_DQN ? 2 : 1,
                         .library = (const char *(*)[2])(uintptr_t)libraries };
    kp_status st = kp_rundir_start(s->dir, &info, err);
    free(seed);
    return st;
}

static kp_status fail_interrupted(const session *s, kp_err *err) {
    return kp_fail(err, KP_INTERRUPTED, "%s: saved at %s %" PRId64 "; `kappa resume %s` goes on",
                   kp_rundir_path(s->dir), s->learner->unit, s->learner->agent_step(s->state),
                   kp_rundir_path(s->dir));
}

static kp_status loop(session *s, kp_err *err) {
    const kp_listener *listener = s->o->listener;
    kp_event event = KP_EVENT_NONE;
    while (event != KP_EVENT_END) {
        kp_status st = kp_stop_requested() ? KP_INTERRUPTED
                                           : s->learner->step(s->state, &event, err);
        if (!st && event == KP_EVENT_ROWS) st = write_rows(s, err);
        if (st == KP_INTERRUPTED) {
            st = save(s, 0, err);
            return st ? st : fail_interrupted(s, err);
        }
        if (!st && save_is_due(s)) st = save(s, 0, err);
        if (st) return st;
        if (listener && listener->tell)
            listener->tell(listener->context, s->learner->progress(s->state));
    }
    return save(s, 1, err);
}

/* KP_NON_FINITE where members stopped on the way; says how long the run took. */
static kp_status conclude(const session *s, kp_err *err) {
    const kp_progress *now = s->learner->progress(s->state);
    int64_t all = now->updates - s->started_updates, done = 0;
    for (int p = 0; p < s->P; p++) { /* a member that stopped has learned until then */
        int64_t at = now->member[p].stopped_at - s->started_updates;
        done += now->member[p].stopped_at < 0 ? all : at > 0 ? at : 0;
    }
    double seconds = kp_now_s() - s->started_s, updates = (double)done,
           steps = (double)(now->agent_step - s->started_step) *
                   (all > 0 ? updates / (double)all : s->P);
    int stopped = 0, first = -1;
    const char *unit = s->learner->unit;
    kp_log_line(s->log,
                "done: %s %" PRId64 ", %" PRId64
                " updates; %.0f s, %.1f %ss/s, %.1f updates/s of all members",
                unit, now->agent_step, now->updates, seconds, steps / seconds, unit,
                updates / seconds);
    for (int p = s->P - 1; p >= 0; p--)
        if (now->member[p].stopped_at >= 0) stopped++, first = p;
    if (!stopped) return KP_OK;
    return kp_fail(
        err, KP_NON_FINITE,
        "%s: %d of %d members stopped with weights that are not finite, the first (seed %" PRIu64
        ") after update %" PRId64 "; log.txt names the tensors",
        kp_rundir_path(s->dir), stopped, s->P, s->member[first].seed,
        now->member[first].stopped_at);
}

/* What run.json says in the end; a failure to write it does not hide the one before it. */
static kp_status record_end(session *s, kp_status st, kp_err *err) {
    kp_err mine = { "" };
    kp_run_state state = st == KP_OK || st == KP_NON_FINITE ? KP_RUN_DONE
                         : st == KP_INTERRUPTED             ? KP_RUN_STOPPED
                                                            : KP_RUN_FAILED;
    if (st) kp_log_line(s->log, "%s", err->text);
    kp_status written = kp_rundir_finish(s->dir, state, st, st ? err->text : "", &mine);
    if (!written || st) return st;
    *err = mine;
    return written;
}

static void release(session *s) {
    if (s->learner) s->learner->close(s->state);
    kp_backend_close(s->backend);
    kp_metrics_log_close(s->metrics);
    kp_tensorboard_close(s->board);
    kp_log_close(s->log);
    kp_rundir_close(s->dir);
    free(s->row);
    free(s->member);
}

/* The directory is held. A run that cannot even be opened leaves no record, so that `kappa train`
 * may be tried again with what was wrong put right. */
static kp_status run(session *s, kp_err *err) {
    kp_status st = open_learner(s, err);
    if (!st) st = record_start(s, err);
    if (st) return st;
    st = begin(s, err);
    if (!st) {
        const kp_progress *now = s->learner->progress(s->state);
        s->started_s = s->saved_s = kp_now_s();
        s->started_step = now->agent_step, s->started_updates = now->updates;
        st = loop(s, err);
        if (!st) st = conclude(s, err);
    }
    return record_end(s, st, err);
}

kp_status kp_train(const kp_train_options *o, kp_err *err) {
    kp_err mine = { "" };
    session s = { .o = o, .P = o->P };
    if (!err) err = &mine;
    s.member = malloc((size_t)o->P * sizeof *s.member);
    if (!s.member) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", o->dir);
    memcpy(s.member, o->member, (size_t)o->P * sizeof *s.member);
    kp_status st = kp_rundir_open(&s.dir, o->dir, KP_RUNDIR_NEW, err);
    if (!st) st = kp_members_write(s.dir, o->member, o->origins, o->P, err);
    if (!st) st = run(&s, err);
    release(&s);
    return st;
}

kp_status kp_train_resume(const kp_train_options *o, int n, const char *const *args, kp_err *err) {
    kp_err mine = { "" };
    session s = { .o = o };
    kp_run_state state;
    int exit_code;
    if (!err) err = &mine;
    kp_status st = kp_rundir_open(&s.dir, o->dir, KP_RUNDIR_RESUME, err);
    if (!st) st = kp_rundir_peek(o->dir, &state, &exit_code, NULL, err);
    if (!st && state != KP_RUN_DONE) {
        st = kp_members_read(o->dir, &s.member, &s.P, err);
        if (!st)
            st = kp_override(s.member, s.P, n, args,
                             "would make it another run; start a new one with `kappa train`", err);
        if (!st) st = run(&s, err);
    }
    release(&s);
    return st;
}
