/* parts.c: what stands around an update rule. */
#include <stdlib.h>

#include "optim_impl.h"
#include "penalties/penalties.h"
#include "shift_clip/shift_clip.h"
#include "si/si.h"

static int is_upgd(const kp_optim *o) {
    return o->kind == KP_RULE_UPGD || o->kind == KP_RULE_ADAUPGD;
}

/* sgd and rmsprop have no decay of their own, and add it here; so does the authors' code with what
 * shrinks, and with L2 Init's half. */
double kp_optim_l2(const kp_optim *o, int p) {
    const kp_optim_member *m = &o->member[p];
    int adds_decay = o->kind == KP_RULE_SGD || o->kind == KP_RULE_RMSPROP;
    return m->l2 + (adds_decay ? m->weight_decay : 0) + (o->reference ? m->shrink + m->l2init : 0);
}

double kp_optim_l2init(const kp_optim *o, int p) { return o->reference ? 0 : o->member[p].l2init; }

void kp_optim_find_parts(kp_optim *o) {
    kp_optim_has *has = &o->has;
    for (int p = 0; p < o->P; p++) {
        const kp_optim_member *m = &o->member[p];
        has->norm_limit |= isfinite(m->grad_norm);
        has->momentum |= m->momentum != 0;
        has->anchor |= m->l2init != 0;
        has->terms |= kp_optim_l2(o, p) != 0 || m->l2init != 0;
        has->ewc |= m->ewc.strength != 0;
        has->si |= m->si.strength != 0;
        has->noise |= m->perturb != 0 || (is_upgd(o) && m->upgd.sigma != 0);
        has->shift |= m->perturb != 0 || (o->reference ? m->l2init : m->shrink) != 0;
    }
    has->penalties = has->ewc || has->si || (has->terms && !o->rule->takes_terms);
}

/* ---- noise ----------------------------------------------------------------------------------- */

/* A number belongs to a draw of a step; which draw depends on the rule alone, or a member would
 * have other numbers in company. */
static int draw_of(const kp_optim *o, int of_shift) { return of_shift && is_upgd(o); }

static void fill_noise(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    uint32_t wanted = (uint32_t)(m->perturb != 0) << draw_of(o, 1);
    if (is_upgd(o)) wanted |= m->upgd.sigma != 0;
    *(kp_noise_hyper *)hyper = (kp_noise_hyper){ .seed = o->seed[p],
                                                 .step = step - 1,
                                                 .wanted = wanted };
}

/* Every tensor as a matrix of outputs and columns: kp_tensor_at is affine in the output. */
static kp_noise_tensor noise_tensor(const kp_tensor *t) {
    kp_noise_tensor n = { .offset = t->offset,
                          .init_bound = t->init_bound,
                          .init_value = t->init_value };
    n.n_out = (int)(t->n_dims > 1 ? t->dims[0] : t->count);
    n.n_in = (int)(t->count / n.n_out);
    n.out_stride = n.n_out > 1 ? kp_tensor_at(t, n.n_in) - kp_tensor_at(t, 0) : 0;
    return n;
}

static kp_status open_noise(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    size_t T = (size_t)l->n_tensors, n_columns = 0;
    kp_noise_tensor *tensor = calloc(T, sizeof *tensor);
    int32_t *place = NULL;
    kp_status st = KP_OK;
    for (size_t i = 0; tensor && i < T; i++) {
        tensor[i] = noise_tensor(&l->tensor[i]);
        tensor[i].column = (int)n_columns;
        tensor[i].first_group = o->n_noise_groups;
        tensor[i].first_block = o->n_noise_blocks;
        n_columns += (size_t)tensor[i].n_in;
        o->n_noise_groups += kp_noise_groups(&tensor[i]);
        o->n_noise_blocks += (int64_t)kp_noise_groups(&tensor[i]) * tensor[i].n_out;
    }
    if (!tensor || !(place = calloc(n_columns, sizeof *place)))
        st = kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    for (size_t i = 0; !st && i < T; i++)
        for (int c = 0; c < tensor[i].n_in; c++)
            place[tensor[i].column + c] = (int32_t)kp_tensor_at(&l->tensor[i], c);
    if (!st)
        st = kp_backend_alloc(o->backend, (void **)&o->noise,
                              (size_t)o->P * (size_t)l->N * sizeof *o->noise, "noise", err);
    if (!st)
        st = kp_backend_alloc(o->backend, (void **)&o->noise_tensor, T * sizeof *tensor, "noise",
                              err);
    if (!st)
        st = kp_backend_alloc(o->backend, (void **)&o->noise_place, n_columns * sizeof *place,
                              "noise", err);
    if (!st) st = kp_backend_upload(o->backend, o->noise_tensor, tensor, T * sizeof *tensor, err);
    if (!st)
        st = kp_backend_upload(o->backend, o->noise_place, place, n_columns * sizeof *place, err);
    free(tensor);
    free(place);
    return st ? st : kp_optim_open_feed(o, sizeof(kp_noise_hyper), fill_noise, &o->of_noise, err);
}

kp_status kp_optim_add_noise(kp_optim *o, kp_program *program, int of_shift, kp_err *err) {
    if (!o->has.noise) return KP_OK;
    return KP_ADD(program, err, noise, .P = o->P, .n_tensors = o->layout->n_tensors,
                  .n_groups = o->n_noise_groups, .n_blocks = o->n_noise_blocks, .N = o->layout->N,
                  .kind = o->noise_kind, .as_initialiser = of_shift && !o->reference,
                  .draw = draw_of(o, of_shift), .tensor = o->noise_tensor, .place = o->noise_place,
                  .hyper = o->of_noise->now, .noise = o->noise);
}

/* ---- penalties ------------------------------------------------------------------------------- */

static void fill_penalties(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    *(kp_penalties_hyper *)hyper = (kp_penalties_hyper){
        .l2 = (float)kp_optim_l2(o, p),
        .l2init = (float)kp_optim_l2init(o, p),
        .ewc = (float)m->ewc.strength,
        .decay = (float)m->ewc.decay,
        .one_minus_decay = (float)(1.0 - m->ewc.decay),
        .bc = (float)(1.0 - pow(m->ewc.decay, (double)step)),
        .si = (float)(2 * m->si.strength),
    };
}

kp_status kp_optim_add_penalties(kp_optim *o, kp_program *program, kp_err *err) {
    if (!o->has.penalties) return KP_OK;
    return KP_ADD(program, err, penalties, .P = o->P, .n_chunks = o->layout->n_chunks,
                  .theta = o->theta, .grad = o->grad,
                  .grad_scale = o->has.norm_limit ? o->grad_scale : NULL,
                  .anchor = o->reference ? NULL : o->anchor, .fisher = o->fisher, .mean = o->mean,
                  .importance = o->importance, .start = o->start, .before = o->before,
                  .hyper = o->of_penalties->now, .out = o->penalised);
}

/* ---- shrink and perturb, and what else comes after a rule ------------------------------------ */

static void fill_shift(const kp_optim *o, int p, int64_t step, void *hyper) {
    const kp_optim_member *m = &o->member[p];
    kp_shift_hyper h = { .keep = (float)(1.0 - m->shrink), .noise = (float)m->perturb };
    if (o->reference)
        h = (kp_shift_hyper){ .keep = 1,
                              .noise = (float)(-m->lr * m->perturb),
                              .pull = (float)(m->lr * m->l2init),
                              .takes_anchor = step == 1 };
    *(kp_shift_hyper *)hyper = h;
}

kp_status kp_optim_add_shift(kp_optim *o, kp_program *program, kp_err *err) {
    const kp_layout *l = o->layout;
    if (!o->has.shift) return KP_OK;
    kp_status st = kp_optim_add_noise(o, program, 1, err);
    if (st) return st;
    return KP_ADD(program, err, shift_clip, .P = o->P, .n_chunks = l->n_chunks,
                  .n_tensors = l->n_tensors, .theta = o->theta, .noise = o->noise,
                  .anchor = o->reference ? o->anchor : NULL, .tensor = o->chunk_tensor,
                  .bound = o->bound, .hyper = o->of_shift->now, .tally = o->tally);
}

/* ---- Synaptic Intelligence ------------------------------------------------------------------- */

static kp_status open_si(kp_optim *o, kp_err *err) {
    size_t P = (size_t)o->P, n = P * (size_t)o->layout->N * sizeof(float);
    kp_status st = kp_optim_add_moment(o, "si_path", &o->path, err);
    if (!st) st = kp_optim_add_moment(o, "si_importance", &o->importance, err);
    if (!st) st = kp_optim_add_moment(o, "si_anchor", &o->start, err);
    if (!st) st = kp_backend_alloc(o->backend, (void **)&o->before, n, "weights before", err);
    if (!st) st = kp_backend_alloc(o->backend, (void **)&o->xi, P * sizeof *o->xi, "xi", err);
    for (int p = 0; !st && p < o->P; p++) {
        float xi = (float)o->member[p].si.xi;
        st = kp_backend_upload(o->backend, o->xi + p, &xi, sizeof xi, err);
    }
    if (!st && !(o->due = calloc(P, 1)))
        st = kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    if (!st) st = kp_program_open(&o->consolidate, o->backend, o->P, "consolidation", err);
    if (!st)
        st = KP_ADD(o->consolidate, err, si_consolidate, .P = o->P, .n_chunks = o->layout->n_chunks,
                    .theta = o->theta, .xi = o->xi, .path = o->path, .importance = o->importance,
                    .start = o->start);
    return st ? st : kp_program_seal(o->consolidate, err);
}

kp_status kp_optim_add_path(kp_optim *o, kp_program *program, kp_err *err) {
    if (!o->has.si) return KP_OK;
    return KP_ADD(program, err, si_path, .P = o->P, .n_chunks = o->layout->n_chunks,
                  .theta = o->theta, .before = o->before, .grad = o->grad, .path = o->path);
}

kp_status kp_optim_between(kp_optim *o, int is_task_end, const uint8_t *active, kp_err *err) {
    int any = 0;
    for (int p = 0; o->has.si && p < o->P; p++) {
        int64_t every = o->member[p].si.every;
        o->due[p] = (!active || active[p]) && (every ? o->step[p] % every == 0 : is_task_end);
        any |= o->due[p];
    }
    return any ? kp_program_run(o->consolidate, o->due, err) : KP_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

kp_status kp_optim_open_parts(kp_optim *o, kp_err *err) {
    size_t n = (size_t)o->P * (size_t)o->layout->N * sizeof(float);
    kp_status st = KP_OK;
    if (o->has.anchor) st = kp_optim_add_moment(o, "anchor", &o->anchor, err);
    if (!st && o->has.ewc) st = kp_optim_add_moment(o, "ewc_fisher", &o->fisher, err);
    if (!st && o->has.ewc) st = kp_optim_add_moment(o, "ewc_anchor", &o->mean, err);
    if (!st && o->has.si) st = open_si(o, err);
    if (!st && o->has.penalties)
        st = kp_backend_alloc(o->backend, (void **)&o->penalised, n, "penalties", err);
    if (!st && o->has.penalties)
        st = kp_optim_open_feed(o, sizeof(kp_penalties_hyper), fill_penalties, &o->of_penalties,
                                err);
    if (!st && o->has.noise) st = open_noise(o, err);
    if (!st && o->has.shift)
        st = kp_optim_open_feed(o, sizeof(kp_shift_hyper), fill_shift, &o->of_shift, err);
    if (!st && is_upgd(o))
        st = kp_backend_alloc(o->backend, (void **)&o->largest,
                              (size_t)o->P * (size_t)o->layout->n_chunks * sizeof *o->largest,
                              "utilities", err);
    return st;
}

/* ---- madam ----------------------------------------------------------------------------------- */

static float root_mean_square(const kp_tensor *t, const float *member) {
    double sum = 0; /* the padding is zero */
    for (int64_t i = 0; i < (int64_t)t->n_chunks * KP_CHUNK; i++)
        sum += (double)member[t->offset + i] * (double)member[t->offset + i];
    return (float)sqrt(sum / (double)t->count);
}

kp_status kp_optim_limit_madam(kp_optim *o, kp_err *err) {
    const kp_layout *l = o->layout;
    size_t bytes = (size_t)l->N * sizeof(float);
    if (o->kind != KP_RULE_MADAM) return KP_OK;
    float *member = malloc(bytes);
    kp_status st = member ? KP_OK : kp_fail(err, KP_BAD_CONFIG, "optimizer: out of host memory");
    for (int p = 0; !st && p < o->P; p++) {
        st = kp_backend_download(o->backend, member, o->theta + p * l->N, bytes, err);
        for (int i = 0; !st && i < l->n_tensors; i++) {
            int at = p * l->n_tensors + i;
            o->bounds_free[at] = (float)(o->member[p].madam_scale *
                                         (double)root_mean_square(&l->tensor[i], member));
            if (o->bounds_host[at] > o->bounds_free[at]) o->bounds_host[at] = o->bounds_free[at];
        }
    }
    free(member);
    return st;
}
