/* stream.c: learning from a stream of labelled samples, one update a sample (arXiv 2407.01704,
 * "streaming"). P members in lockstep, each with its own order of samples and its own tasks.
 *
 * A step of the learner is a block of samples: at most KP_STREAM_BLOCK, none of them beyond the end
 * of a task, the next row of metrics or what the optimizer has room for; and the row that is due
 * behind it. Where blocks end is thus a function of the state alone. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "optim_of.h"
#include "stream_impl.h"

/* ---- blocks ---------------------------------------------------------------------------------- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t until(int64_t at, int64_t period) { return period - at % period; }

static int64_t samples_of_block(const kp_stream *s) {
    const kp_config *c = s->member;
    int64_t n = least(KP_STREAM_BLOCK, c->train.samples - s->sample);
    n = least(n, until(s->sample, c->stream.task_samples));
    n = least(n, until(s->sample, c->log.interval_steps));
    return least(n, kp_optim_room(s->optim, s->active));
}

static int row_is_due(const kp_stream *s) {
    const kp_config *c = s->member;
    return s->sample % c->stream.task_samples == 0 || s->sample % c->log.interval_steps == 0 ||
           s->sample == c->train.samples;
}

static kp_status begin_task(kp_stream *s, kp_err *err) {
    int n;
    int64_t task = s->sample / s->member->stream.task_samples;
    kp_permutes what = kp_tasks_permutes(s->tasks, &n);
    if (task == s->task) return KP_OK;
    s->task = task;
    if (what == KP_PERMUTES_NOTHING) return KP_OK;
    for (int p = 0; p < s->P; p++)
        kp_tasks_permutation(s->tasks, p, task, s->permutation + (int64_t)p * n);
    return kp_backend_upload(s->backend,
                             what == KP_PERMUTES_INPUTS ? s->input_order : s->label_order,
                             s->permutation, (size_t)s->P * (size_t)n * sizeof *s->permutation,
                             err);
}

static kp_status choose_samples(kp_stream *s, int n, kp_err *err) {
    int32_t count = n;
    for (int p = 0; p < s->P; p++)
        kp_tasks_samples(s->tasks, p, s->sample, n, s->index_host + p * KP_STREAM_BLOCK);
    kp_status st = kp_backend_upload(s->backend, s->index, s->index_host,
                                     (size_t)s->P * KP_STREAM_BLOCK * sizeof *s->index, err);
    return st ? st : kp_backend_upload(s->backend, s->n, &count, sizeof count, err);
}

/* One member's samples of a block, in their order. */
static void add_results(kp_stream_sums *sum, const kp_mlp_result *r, int n) {
    for (int i = 0; i < n; i++) {
        double loss = (double)r[i].loss, after = (double)r[i].loss_after;
        double plasticity = 1 - after / fmax(loss, 1e-8);
        sum->correct += r[i].correct, sum->inactive += r[i].inactive;
        sum->loss += loss, sum->loss_after += after;
        sum->plasticity += isnan(plasticity) ? NAN : fmin(fmax(plasticity, 0), 1);
    }
}

/* The update that spoilt the weights is the one before the first sample whose loss shows it. */
static int64_t update_that_failed(const kp_stream *s, int p, int n) {
    const kp_mlp_result *r = s->result_host + p * KP_STREAM_BLOCK;
    int i = 0;
    while (i < n && isfinite(r[i].loss)) i++;
    return s->sample + i;
}

static void stop_member(kp_stream *s, int p, int tensor, int n) {
    const kp_config *c = &s->member[p];
    int64_t update = update_that_failed(s, p, n);
    s->active[p] = 0;
    s->member_progress[p].stopped_at = update;
    kp_log_line(s->log,
                "member %d (seed %" PRIu64 "): %s is not finite after update %" PRId64
                "; this member stops. Lower optim.lr or set optim.clip.kappa",
                p, c->seed, s->layout.tensor[tensor].name, update);
}

/* What a block of n samples has come to; s->sample is still its first. */
static kp_status take_results(kp_stream *s, int n, kp_err *err) {
    kp_status st = kp_backend_download(s->backend, s->result_host, s->result,
                                       (size_t)s->P * KP_STREAM_BLOCK * sizeof *s->result, err);
    if (!st) st = kp_optim_tally(s->optim, s->tally, err);
    for (int p = 0; !st && p < s->P; p++) {
        kp_stream_sums *sum = &s->sums[p];
        if (!s->active[p]) continue;
        add_results(sum, s->result_host + p * KP_STREAM_BLOCK, n);
        double samples = (double)(s->sample + n - s->row_sample);
        s->member_progress[p].value[KP_STREAM_ACCURACY] = sum->correct / samples;
        s->member_progress[p].value[KP_STREAM_LOSS] = sum->loss / samples;
        for (int t = 0; s->active[p] && t < s->T; t++)
            if (s->tally[p * s->T + t].non_finite) stop_member(s, p, t, n);
    }
    return st;
}

static kp_status run_block(kp_stream *s, kp_err *err) {
    int n = (int)samples_of_block(s);
    kp_status st = begin_task(s, err);
    if (!st) st = choose_samples(s, n, err);
    if (!st) st = kp_optim_prepare(s->optim, n, s->active, err);
    if (!st)
        st = s->is_fused ? kp_program_run(s->program, s->active, err)
                         : kp_program_repeat(s->program, n, s->active, err);
    if (!st) st = take_results(s, n, err);
    if (st) return st;
    s->sample += n;
    int is_task_end = s->sample % s->member->stream.task_samples == 0;
    return kp_optim_between(s->optim, is_task_end, s->active, err);
}

static kp_status step(void *learner, kp_event *event, kp_err *err) {
    kp_stream *s = learner;
    *event = KP_EVENT_END;
    if (!memchr(s->active, 1, (size_t)s->P) || s->sample >= s->member->train.samples) return KP_OK;
    kp_status st = run_block(s, err);
    *event = KP_EVENT_NONE;
    if (!st && row_is_due(s)) {
        st = kp_stream_make_rows(s, err);
        *event = KP_EVENT_ROWS;
    }
    s->progress.agent_step = s->progress.updates = s->sample;
    return st;
}

/* ---- life ------------------------------------------------------------------------------------ */

#define BACKEND(pointer, n, what)                                                                  \
    if (!st)                                                                                       \
    st = kp_backend_alloc(s->backend, (void **)&s->pointer, (n) * sizeof *s->pointer, what, err)
#define UPLOAD(pointer, from, n)                                                                   \
    if (!st) st = kp_backend_upload(s->backend, s->pointer, from, (n) * sizeof *s->pointer, err)

/* (p/255 - 0.5)/0.5 in float32, as torchvision's ToTensor and Normalize(.5, .5) have it. */
static void fill_values(float value[256], int normalize) {
    for (int p = 0; p < 256; p++) {
        float unit = (float)p / 255.0f;
        value[p] = normalize == KP_NORMALIZE_SYMMETRIC ? (unit - 0.5f) / 0.5f
                   : normalize == KP_NORMALIZE_UNIT    ? unit
                                                       : (float)p;
    }
}

static kp_status upload_data(kp_stream *s, const kp_data *d, kp_err *err) {
    const char *what = "samples (data.set)";
    size_t n = (size_t)d->n, inputs = n * (size_t)d->n_inputs;
    kp_status st = KP_OK;
    if (d->bytes) {
        float value[256];
        fill_values(value, s->member->data.normalize);
        BACKEND(bytes, inputs, what);
        BACKEND(value, 256, what);
        UPLOAD(bytes, d->bytes, inputs);
        UPLOAD(value, value, 256);
    } else {
        BACKEND(floats, inputs, what);
        UPLOAD(floats, d->floats, inputs);
    }
    BACKEND(label, n, what);
    UPLOAD(label, d->label, n);
    return st;
}

static kp_status open_tasks(kp_stream *s, const kp_data *d, kp_err *err) {
    const kp_config *c = s->member;
    int64_t length = c->stream.task_samples, tasks = (c->train.samples + length - 1) / length;
    kp_tasks_options o = { .P = s->P,
                           .seed = s->seed,
                           .problem = c->stream.problem,
                           .order = c->data.order,
                           .task_samples = length,
                           .n_tasks = (int)tasks,
                           .n = d->n,
                           .n_inputs = d->n_inputs,
                           .n_classes = d->n_classes,
                           .permutations = c->data.permutations };
    return kp_tasks_open(&s->tasks, &o, err);
}

static kp_status open_data(kp_stream *s, kp_err *err) {
    const kp_config *c = s->member;
    kp_data *d = NULL;
    kp_status st = kp_data_open(&d, &(kp_data_options){ .set = c->data.set, .dir = c->data.dir },
                                err);
    if (st) return st;
    s->n_inputs = d->n_inputs, s->n_classes = d->n_classes;
    kp_log_line(s->log, "%s: %d samples of %d inputs, %d classes", d->source, d->n, d->n_inputs,
                d->n_classes);
    if (d->floats && c->data.normalize != KP_NORMALIZE_NONE)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "data.normalize is for bytes, and %s has features: set it to none",
                     c->data.set);
    if (!st) st = upload_data(s, d, err);
    if (!st) st = open_tasks(s, d, err);
    kp_data_close(d);
    return st;
}

static kp_status plan_net(kp_stream *s, kp_err *err) {
    const kp_config *c = s->member;
    kp_mlp_spec spec = { .n_inputs = s->n_inputs,
                         .n_outputs = s->n_classes,
                         .activation = (kp_mlp_activation)c->net.activation,
                         .layer_norm = c->net.layer_norm,
                         .init = (kp_init)c->net.init };
    spec.n_hidden_layers = kp_config_widths(c->net.widths, spec.width, (int)KP_COUNT(spec.width));
    kp_status st = kp_mlp_plan(&s->layout, &s->shape, &spec, err);
    s->T = s->layout.n_tensors;
    return st;
}

static kp_status open_host(kp_stream *s, kp_err *err) {
    size_t P = (size_t)s->P, N = (size_t)s->layout.N, block = P * KP_STREAM_BLOCK;
    int permuted;
    kp_tasks_permutes(s->tasks, &permuted);
#define HOST(pointer, n) (s->pointer = calloc((n) + 1, sizeof *s->pointer))
    int complete = HOST(first_theta, P * N) && HOST(index_host, block) &&
                   HOST(permutation, P * (size_t)permuted) && HOST(result_host, block) &&
                   HOST(sums, P) && HOST(replaced, 2 * P) && HOST(tally, P * (size_t)s->T) &&
                   HOST(active, P) && HOST(ever_active_host, P * (size_t)s->shape.n_hidden) &&
                   HOST(member_progress, P);
#undef HOST
    if (!complete) return kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    memset(s->active, 1, P);
    for (int p = 0; p < s->P; p++)
        s->member_progress[p] = (kp_member_progress){ { NAN, NAN }, NAN, NAN, -1 };
    s->progress = (kp_progress){ .phase = "train",
                                 .unit = "samples",
                                 .shown = { [KP_STREAM_ACCURACY] = { "accuracy", "%.2f%%", 100 },
                                            [KP_STREAM_LOSS] = { "loss", "%.4f", 1 } },
                                 .P = s->P,
                                 .agent_steps = s->member->train.samples,
                                 .member = s->member_progress };
    return KP_OK;
}

static kp_status open_backend_memory(kp_stream *s, kp_err *err) {
    size_t P = (size_t)s->P, N = (size_t)s->layout.N;
    int permuted;
    kp_permutes what = kp_tasks_permutes(s->tasks, &permuted);
    kp_status st = KP_OK;
    if (what == KP_PERMUTES_INPUTS) BACKEND(input_order, P * (size_t)permuted, "tasks");
    if (what == KP_PERMUTES_LABELS) BACKEND(label_order, P * (size_t)permuted, "tasks");
    BACKEND(index, P * KP_STREAM_BLOCK, "a block of samples");
    BACKEND(n, 1, "a block of samples");
    BACKEND(result, P * KP_STREAM_BLOCK, "a block of samples");
    BACKEND(theta, P * N, "weights (population.size)");
    BACKEND(work, P * (size_t)kp_mlp_work(&s->shape), "activations (population.size)");
    if (s->member->diag.units) BACKEND(ever_active, P * (size_t)s->shape.n_hidden, "diagnostics");
    UPLOAD(theta, s->first_theta, P * N);
    return st;
}

static kp_status open_optim(kp_stream *s, kp_err *err) {
    const kp_config *c = s->member;
    kp_status st = KP_OK;
    BACKEND(grad, (size_t)s->P * (size_t)s->layout.N, "gradients (population.size)");
    kp_optim_member *member = calloc((size_t)s->P, sizeof *member);
    if (!member) return kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    for (int p = 0; p < s->P; p++) member[p] = kp_optim_member_of(&s->member[p]);
    kp_optim_options o = kp_optim_options_of(c, member, s->seed);
    o.block = KP_STREAM_BLOCK;
    if (!st)
        st = kp_optim_open(&s->optim, s->backend, &s->layout, s->P, &o, s->theta, s->grad, err);
    free(member);
    return st;
}

static kp_status open_units(kp_stream *s, kp_err *err) {
    kp_units_member *member = calloc((size_t)s->P, sizeof *member);
    if (!member) return kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    for (int p = 0; p < s->P; p++) {
        const kp_config *c = &s->member[p];
        member[p] = (kp_units_member){ .seed = s->seed[p],
                                       .cbp_rate = c->optim.cbp.rate,
                                       .cbp_decay = c->optim.cbp.decay,
                                       .cbp_maturity = c->optim.cbp.maturity,
                                       .redo_tau = c->optim.redo.tau };
    }
    kp_units_options o = { .member = member, .redo_every = s->member->optim.redo.every };
    kp_status st = kp_units_open(&s->units, s->backend, &s->shape, &s->layout, s->P, &o, s->optim,
                                 s->theta, s->work, err);
    free(member);
    return st;
}

/* Units are replaced between the rule and the second forward pass. */
static int replaces_units(const kp_stream *s) {
    int any = s->member->optim.redo.every > 0;
    for (int p = 0; p < s->P; p++) any |= s->member[p].optim.cbp.rate > 0;
    return any;
}

static kp_mlp_samples samples_of(const kp_stream *s) {
    return (kp_mlp_samples){ .bytes = s->bytes,
                             .floats = s->floats,
                             .value = s->value,
                             .label = s->label,
                             .input_order = s->input_order,
                             .label_order = s->label_order,
                             .index = s->index,
                             .T = KP_STREAM_BLOCK };
}

static kp_status add_fused(kp_stream *s, const kp_optim_fused *f, kp_err *err) {
    return KP_ADD(s->program, err, mlp_stream, .P = s->P, .shape = s->shape,
                  .samples = samples_of(s), .n = s->n, .rule = f->rule,
                  .with_after = s->member->diag.plasticity, .theta = s->theta,
                  .state = { f->state[0], f->state[1] }, .anchor = f->anchor, .hyper = f->hyper,
                  .bound = f->bound, .total = f->total, .work = s->work, .result = s->result,
                  .ever_active = s->ever_active);
}

static kp_status add_plain(kp_stream *s, kp_err *err) {
    const int32_t *cursor = kp_optim_cursor(s->optim);
    kp_status st = kp_optim_add_begin(s->optim, s->program, err);
    if (!st)
        st = KP_ADD(s->program, err, mlp_gradient, .P = s->P, .shape = s->shape,
                    .samples = samples_of(s), .cursor = cursor, .theta = s->theta, .grad = s->grad,
                    .work = s->work, .result = s->result, .ever_active = s->ever_active);
    if (!st) st = kp_optim_add_update(s->optim, s->program, err);
    if (!st) st = kp_units_add(s->units, s->program, err);
    if (!st && s->member->diag.plasticity)
        st = KP_ADD(s->program, err, mlp_after, .P = s->P, .shape = s->shape,
                    .label_order = s->label_order, .label = s->label, .index = s->index,
                    .T = KP_STREAM_BLOCK, .cursor = cursor, .theta = s->theta, .work = s->work,
                    .result = s->result);
    return st;
}

static kp_status build_program(kp_stream *s, kp_err *err) {
    const char *why = "stream.path is plain";
    kp_optim_fused fused = { 0 };
    int path = s->member->stream.path;
    if (path != KP_PATH_PLAIN) {
        s->is_fused = kp_optim_fuse(s->optim, &fused, &why);
        if (s->is_fused && replaces_units(s))
            s->is_fused = 0, why = "optim.cbp and optim.redo replace units after the rule";
    }
    if (path == KP_PATH_FUSED && !s->is_fused)
        return kp_fail(err, KP_BAD_CONFIG,
                       "stream.path is fused, which these settings cannot be: %s", why);
    if (s->is_fused)
        kp_log_line(s->log, "path: fused, the update within the passes over the weights");
    else kp_log_line(s->log, "path: plain, gradients in memory: %s", why);
    kp_status st = kp_program_open(&s->program, s->backend, s->P, "stream", err);
    if (!st) st = s->is_fused ? add_fused(s, &fused, err) : add_plain(s, err);
    return st ? st : kp_program_seal(s->program, err);
}

static void close_stream(void *learner) {
    kp_stream *s = learner;
    if (!s) return;
    kp_stream_measure_close(s);
    kp_program_close(s->program);
    kp_units_close(s->units);
    kp_optim_close(s->optim);
    kp_tasks_close(s->tasks);
    kp_layout_release(&s->layout);
    void *memory[] = { s->bytes,       s->floats, s->value,      s->label, s->input_order,
                       s->label_order, s->index,  s->n,          s->theta, s->grad,
                       s->work,        s->result, s->ever_active };
    for (size_t i = 0; i < KP_COUNT(memory); i++) kp_backend_release(s->backend, memory[i]);
    void *host[] = {
        s->member,           s->seed,           s->active, s->first_theta, s->index_host,
        s->permutation,      s->result_host,    s->sums,   s->replaced,    s->tally,
        s->ever_active_host, s->clips,          s->column, s->column_name, s->rows,
        s->has_row,          s->member_progress
    };
    for (size_t i = 0; i < KP_COUNT(host); i++) free(host[i]);
    free(s);
}

static kp_status open_all(kp_stream *s, kp_err *err) {
    kp_status st = open_data(s, err);
    if (!st) st = plan_net(s, err);
    if (!st) st = open_host(s, err);
    if (!st) st = kp_stream_first_weights(s, err);
    if (!st) st = open_backend_memory(s, err);
    if (!st) st = open_optim(s, err);
    if (!st) st = open_units(s, err);
    if (!st) st = build_program(s, err);
    if (!st) st = kp_stream_measure_open(s, err);
    return st ? st : kp_stream_rows_open(s, err);
}

static kp_status open_stream(void **out, const kp_learner_options *o, kp_err *err) {
    *out = NULL;
    kp_stream *s = calloc(1, sizeof *s);
    if (!s) return kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    s->backend = o->backend, s->log = o->log, s->P = o->P, s->task = -1;
    s->member = calloc((size_t)o->P, sizeof *s->member);
    s->seed = calloc((size_t)o->P, sizeof *s->seed);
    kp_status st = s->member && s->seed ? KP_OK
                                        : kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    for (int p = 0; !st && p < o->P; p++)
        s->member[p] = o->member[p], s->seed[p] = o->member[p].seed;
    if (!st) st = open_all(s, err);
    if (st) {
        close_stream(s);
        return st;
    }
    *out = s;
    return KP_OK;
}

/* Opening has put the first weights in place. */
static kp_status start(void *learner, kp_err *err) {
    (void)learner, (void)err;
    return KP_OK;
}

static const kp_progress *progress(const void *learner) {
    return &((const kp_stream *)learner)->progress;
}
static int64_t agent_step(const void *learner) { return ((const kp_stream *)learner)->sample; }

const kp_learner kp_learner_stream = {
    .name = "stream",
    .unit = "sample",
    .open = open_stream,
    .start = start,
    .step = step,
    .columns = kp_stream_columns,
    .row = kp_stream_row,
    .progress = progress,
    .agent_step = agent_step,
    .save = kp_stream_save,
    .load = kp_stream_load,
    .close = close_stream,
};
