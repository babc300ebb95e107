/* mlp_stream.c: a member's block of samples on one thread.
 *
 * The update of the first layer waits for the next sample: one pass updates a row and takes it into
 * that sample's z ("deferred fusion"; 80% of the weights are there), and into the z of the pass
 * after the update. In the other layers one pass goes back through a row and updates it. So for
 * each sample
 *
 *     layer 1             update of the sample before | z | z after the update of the sample before
 *     layers 2 ...        z | z after the update of the sample before
 *     layers ... 2        dx | update
 *
 * and the block ends with what is left of its last sample. Under plain gradient descent a row whose
 * input is 0 is left out where it stays as it is: not in a block's first update, which may clip it.
 */
#include "adam_clip/adam_clip.h"
#include "mlp_rows.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"

/* ---- one function for each rule and each kind of row -------------------------------------------
 */

enum { N_RULES = KP_MLP_N_RULES * 2 }; /* with and without terms */

#define KINDS(name, rule, terms, R)                                                                \
    KP_MLP_ROWS(name##_u, rule, terms, KP_MLP_UPDATE, R)                                           \
    KP_MLP_ROWS(name##_un, rule, terms, KP_MLP_UPDATE | KP_MLP_NEXT, R)                            \
    KP_MLP_ROWS(name##_ua, rule, terms, KP_MLP_UPDATE | KP_MLP_AFTER, R)                           \
    KP_MLP_ROWS(name##_una, rule, terms, KP_MLP_UPDATE | KP_MLP_NEXT | KP_MLP_AFTER, R)            \
    KP_MLP_ROWS(name##_ub, rule, terms, KP_MLP_UPDATE | KP_MLP_BACK, R)
#define BOTH(name, rule, R)                                                                        \
    KINDS(name, rule, 0, R)                                                                        \
    KINDS(name##_terms, rule, 1, R)

BOTH(sgd, KP_MLP_SGD, 2)
BOTH(momentum, KP_MLP_MOMENTUM, 2)
BOTH(adam, KP_MLP_ADAM, 1)
BOTH(rmsprop, KP_MLP_RMSPROP, 1)
BOTH(centered, KP_MLP_RMSPROP_CENTERED, 1)

/* clang-format off */
#define ROW(name)                                                                                  \
    { [KP_MLP_NEXT] = kp_mlp_rows_next,                                                            \
      [KP_MLP_AFTER] = kp_mlp_rows_after,                                                          \
      [KP_MLP_UPDATE] = name##_u,                                                                  \
      [KP_MLP_UPDATE | KP_MLP_NEXT] = name##_un,                                                   \
      [KP_MLP_UPDATE | KP_MLP_AFTER] = name##_ua,                                                  \
      [KP_MLP_UPDATE | KP_MLP_NEXT | KP_MLP_AFTER] = name##_una,                                   \
      [KP_MLP_UPDATE | KP_MLP_BACK] = name##_ub }
/* clang-format on */
#define ROWS(name) ROW(name), ROW(name##_terms)

static kp_mlp_rows *const functions[N_RULES][KP_MLP_KINDS] = {
    ROWS(sgd), ROWS(momentum), ROWS(adam), ROWS(rmsprop), ROWS(centered),
};

/* ---- a member ----------------------------------------------------------------------------------
 */

typedef struct {
    const kp_mlp_stream_args *a;
    int member;
    kp_mlp_net net;
    float *theta, *state[2];
    const float *anchor;
    kp_mlp_hyper h; /* of the latest sample */
    kp_mlp_rows *const *kinds;
    float *x, *x_before;         /* inputs of the latest sample and of the one before */
    int32_t label, label_before; /* likewise */
    int may_skip;                /* rows whose input is 0 stay as they are in this update */
    kp_mlp_result *result;       /* [n] */
} stream;

static kp_mlp_hyper sgd_hyper(const kp_sgd_hyper *h) {
    return (kp_mlp_hyper){
        .step = -h->step_size, .beta1 = h->momentum, .l2 = h->l2, .l2init = h->l2init
    };
}

static kp_mlp_hyper rmsprop_hyper(const kp_rmsprop_hyper *h) {
    return (kp_mlp_hyper){ .step = -h->step_size,
                           .beta2 = h->beta,
                           .one_minus_beta2 = h->one_minus_beta,
                           .eps = h->eps,
                           .l2 = h->l2,
                           .l2init = h->l2init };
}

static kp_mlp_hyper adam_hyper(const kp_adam_hyper *h) {
    return (kp_mlp_hyper){ .step = -h->step_size,
                           .beta1 = h->beta1,
                           .one_minus_beta1 = h->one_minus_beta1,
                           .beta2 = h->beta2,
                           .one_minus_beta2 = h->one_minus_beta2,
                           .eps = h->eps,
                           .rsqrt_bc2 = h->rsqrt_bc2,
                           .decay = h->decay,
                           .l2 = h->l2,
                           .l2init = h->l2init };
}

static void use_hyper(stream *m, int t) {
    const kp_mlp_stream_args *a = m->a;
    int64_t at = (int64_t)m->member * a->samples.T + t;
    switch (a->rule) {
    case KP_MLP_SGD:
    case KP_MLP_MOMENTUM: m->h = sgd_hyper((const kp_sgd_hyper *)a->hyper + at); break;
    case KP_MLP_ADAM: m->h = adam_hyper((const kp_adam_hyper *)a->hyper + at); break;
    default: m->h = rmsprop_hyper((const kp_rmsprop_hyper *)a->hyper + at);
    }
    if (!m->anchor) m->h.l2init = 0.0f;
    int terms = m->h.l2 != 0.0f || m->h.l2init != 0.0f ||
                (a->rule == KP_MLP_ADAM && m->h.decay != 1.0f);
    m->kinds = functions[2 * a->rule + terms];
    m->may_skip = a->rule == KP_MLP_SGD && !terms && t > 0;
}

static stream stream_of(const kp_mlp_stream_args *a, int member) {
    int64_t at = member * a->shape.N;
    stream m = {
        .a = a,
        .member = member,
        .net = kp_mlp_net_of(&a->shape, a->theta, a->work, member),
        .theta = a->theta + at,
        .anchor = a->anchor ? a->anchor + at : NULL,
        .result = a->result + (int64_t)member * a->samples.T,
    };
    for (int i = 0; i < 2; i++) m.state[i] = a->state[i] ? a->state[i] + at : NULL;
    return m;
}

/* ---- passes ------------------------------------------------------------------------------------
 */

/* Over a tensor that begins `at` floats into the member. */
static kp_mlp_pass pass_at(const stream *m, int64_t at, int tensor, int row) {
    const kp_mlp_stream_args *a = m->a;
    return (kp_mlp_pass){
        .w = m->theta + at,
        .state = { m->state[0] ? m->state[0] + at : NULL, m->state[1] ? m->state[1] + at : NULL },
        .anchor = m->anchor ? m->anchor + at : NULL,
        .row = row,
        .h = m->h,
        .bound = a->bound[(int64_t)m->member * a->shape.n_tensors + tensor],
    };
}

static void count(const stream *m, const kp_mlp_pass *p, int tensor) {
    int64_t changed = p->n_updated;
    for (int i = 0; i < KP_VEC; i++) changed -= p->same[i];
    m->a->total[(int64_t)m->member * m->a->shape.n_tensors + tensor].outside += (uint64_t)changed;
}

/* Where an input is not finite, 0 times it is not 0. */
static void clean_padding(const stream *m, int l, const float *x) {
    const kp_mlp_shape *s = &m->a->shape;
    for (int j = 0; j < s->in[l]; j++) {
        if (x[j] - x[j] == 0.0f) continue;
        int64_t row = s->weight[l] + (int64_t)j * s->row[l];
        for (int o = s->out[l]; o < s->row[l]; o++) {
            m->theta[row + o] = 0;
            for (int i = 0; i < 2; i++)
                if (m->state[i]) m->state[i][row + o] = 0;
        }
    }
}

/* Updates layer l from x and d; does: KP_MLP_AFTER or KP_MLP_BACK as well, or 0. */
static void update_weights(const stream *m, int l, kp_mlp_pass *p, const float *x, int does) {
    const kp_mlp_shape *s = &m->a->shape;
    p->x = x, p->d = m->net.d[l];
    int skips = m->may_skip && (does != KP_MLP_BACK || kp_mlp_masks(s->activation)) &&
                kp_mlp_all_finite(p->d, s->row[l]);
    if (skips) kp_mlp_pass_over(p, s->in[l], m->kinds, 0, KP_MLP_UPDATE | does);
    else if (does == KP_MLP_AFTER)
        kp_mlp_pass_over(p, s->in[l], m->kinds, KP_MLP_UPDATE, KP_MLP_AFTER);
    else kp_mlp_pass_over(p, s->in[l], m->kinds, KP_MLP_UPDATE | does, 0);
    if (!kp_mlp_all_finite(x, (int)kp_mlp_padded(s->in[l]))) clean_padding(m, l, x);
    count(m, p, s->tensor[l]);
}

/* Updates a tensor of one row from its gradient g, [row]. */
static void update_vector(const stream *m, int64_t at, int tensor, int row, const float *g) {
    const float one = 1.0f;
    const int32_t first = 0;
    kp_mlp_pass p = pass_at(m, at, tensor, row);
    p.x = &one, p.d = g;
    m->kinds[KP_MLP_UPDATE](&p, &first, 1);
    count(m, &p, tensor);
}

static float *begin_sum(const stream *m, int l, float *z) {
    const kp_mlp_shape *s = &m->a->shape;
    return memcpy(z, m->theta + s->bias[l], (size_t)s->row[l] * sizeof *z);
}

/* ---- forward -----------------------------------------------------------------------------------
 */

/* The passes over layers 2 ... for the latest sample, `next`, and for that before, `after`, whose z
 * of layer 1 are there. */
static void forward_rest(stream *m, int next, int after) {
    const kp_mlp_shape *s = &m->a->shape;
    kp_mlp_net *net = &m->net;
    for (int l = 0; l + 1 < s->n_layers; l++) {
        if (next) net->r[l] = kp_mlp_activate_all(net, l, net->z[l], net->normal[l], net->x[l + 1]);
        if (after)
            kp_mlp_activate_all(net, l, net->other_d[l], net->dx[l + 1], net->other_x[l + 1]);
        kp_mlp_pass p = pass_at(m, s->weight[l + 1], s->tensor[l + 1], s->row[l + 1]);
        if (next) p.next = net->x[l + 1], p.z = begin_sum(m, l + 1, net->z[l + 1]);
        if (after) p.x = net->other_x[l + 1], p.after = begin_sum(m, l + 1, net->other_d[l + 1]);
        kp_mlp_pass_over(&p, s->in[l + 1], m->kinds, 0, after ? KP_MLP_AFTER : 0);
    }
}

/* The first layer: the update that the sample before left, and z of the samples as in forward_rest.
 */
static void forward_first(stream *m, int update, int next, int after) {
    const kp_mlp_shape *s = &m->a->shape;
    kp_mlp_net *net = &m->net;
    kp_mlp_pass p = pass_at(m, s->weight[0], s->tensor[0], s->row[0]);
    if (next) p.next = m->x, p.z = begin_sum(m, 0, net->z[0]);
    if (after) p.after = begin_sum(m, 0, net->other_d[0]);
    if (update) update_weights(m, 0, &p, m->x_before, after ? KP_MLP_AFTER : 0);
    else kp_mlp_pass_over(&p, s->in[0], m->kinds, 0, 0);
}

static void finish_after(stream *m, int t) {
    const kp_mlp_shape *s = &m->a->shape;
    const int last = s->n_layers - 1;
    m->result[t].loss_after = kp_mlp_loss(s, m->net.other_d[last], m->label_before,
                                          m->net.normal[last]);
    m->result[t].inactive = kp_mlp_count_off(s, m->net.other_x, NULL);
}

static void finish_sample(stream *m, int t) {
    const kp_mlp_stream_args *a = m->a;
    const kp_mlp_shape *s = &a->shape;
    const int last = s->n_layers - 1;
    const float *logits = m->net.z[last];
    m->result[t] = (kp_mlp_result){
        .loss = kp_mlp_loss(s, logits, m->label, m->net.d[last]),
        .loss_after = NAN,
        .correct = kp_mlp_is_correct(logits, s->out[last], m->label),
        .inactive = kp_mlp_count_off(s, m->net.x,
                                     a->ever_active
                                         ? a->ever_active + (int64_t)m->member * s->n_hidden
                                         : NULL),
    };
}

/* ---- backward ----------------------------------------------------------------------------------
 */

static void update_norm(stream *m, int l) {
    const kp_mlp_shape *s = &m->a->shape;
    kp_mlp_net *net = &m->net;
    float *gain_gradient = net->other_d[l];
    for (int o = 0; o < s->row[l]; o++)
        gain_gradient[o] = o < s->out[l] ? net->d[l][o] * net->normal[l][o] : 0.0f;
    update_vector(m, s->shift[l], s->tensor[l] + 3, s->row[l], net->d[l]);
    kp_mlp_normalise_back(m->theta + s->gain[l], net->normal[l], net->r[l], s->out[l], net->d[l]);
    update_vector(m, s->gain[l], s->tensor[l] + 2, s->row[l], gain_gradient);
}

/* All but the weights of the first layer. */
static void backward(stream *m) {
    const kp_mlp_shape *s = &m->a->shape;
    kp_mlp_net *net = &m->net;
    for (int l = s->n_layers - 1; l >= 0; l--) {
        update_vector(m, s->bias[l], s->tensor[l] + 1, s->row[l], net->d[l]);
        if (l == 0) return;
        kp_mlp_pass p = pass_at(m, s->weight[l], s->tensor[l], s->row[l]);
        p.dx = net->dx[l];
        update_weights(m, l, &p, net->x[l], KP_MLP_BACK);
        kp_mlp_activate_back(s, l - 1, net->dx[l], net->x[l], net->d[l - 1]);
        if (s->gain[l - 1] >= 0) update_norm(m, l - 1);
    }
}

/* ---- a block -----------------------------------------------------------------------------------
 */

static void load(stream *m, int t, int n) {
    const kp_mlp_stream_args *a = m->a;
    const kp_mlp_shape *s = &a->shape;
    const int64_t sample = kp_mlp_sample(a->samples.index, a->samples.T, m->member, t);
    m->x_before = m->x, m->label_before = m->label;
    m->x = (n - t) % 2 ? m->net.x[0] : m->net.other_x[0]; /* the last sample's stay in x(0) */
    m->label = kp_mlp_label(a->samples.label, a->samples.label_order, s->out[s->n_layers - 1],
                            m->member, sample);
    kp_mlp_load(&a->samples, s, m->member, sample, m->x);
    if (t + 1 < n)
        kp_mlp_ask_for(&a->samples, s->in[0],
                       kp_mlp_sample(a->samples.index, a->samples.T, m->member, t + 1));
}

static void count_non_finite(const stream *m) {
    const kp_mlp_shape *s = &m->a->shape;
    kp_tensor_tally *total = m->a->total + (int64_t)m->member * s->n_tensors;
    for (int l = 0; l < s->n_layers; l++) {
        const int64_t at[4] = { s->weight[l], s->bias[l], s->gain[l], s->shift[l] };
        for (int i = 0; i < (s->gain[l] >= 0 ? 4 : 2); i++) {
            const float *w = m->theta + at[i];
            const int64_t n = i ? s->row[l] : (int64_t)s->in[l] * s->row[l];
            uint64_t bad = 0;
            for (int64_t k = 0; k < n; k++) bad += !(w[k] - w[k] == 0.0f);
            total[s->tensor[l] + i].non_finite = bad;
        }
    }
}

static int n_slices(const void *args) {
    (void)args;
    return 1;
}

static void run(const void *args, int member, kp_slices slices, void *scratch) {
    (void)slices, (void)scratch;
    const kp_mlp_stream_args *a = args;
    const int n = a->n[0], with_after = a->with_after;
    stream m = stream_of(a, member);
    for (int t = 0; t <= n; t++) {
        const int update = t > 0, next = t < n, after = update && with_after;
        if (next) load(&m, t, n);
        else m.x_before = m.x, m.label_before = m.label;
        if (!update) use_hyper(&m, 0);
        forward_first(&m, update, next, after);
        if (next || after) forward_rest(&m, next, after);
        if (after) finish_after(&m, t - 1);
        if (!next) break;
        finish_sample(&m, t);
        use_hyper(&m, t);
        backward(&m);
    }
    count_non_finite(&m);
}

const kp_op KP_ISA(kp_op_mlp_stream) = {
    .name = "mlp_stream",
    .args_bytes = sizeof(kp_mlp_stream_args),
    .n_slices = n_slices,
    .cpu = run,
    .cuda = kp_mlp_stream_cuda,
};
