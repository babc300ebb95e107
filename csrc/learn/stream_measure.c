/* stream_measure.c: norms and ranks for a row of metrics, on the host, members side by side.
 *
 * The gradient of a sample with respect to a weight matrix is the outer product of x and d, which
 * the workspace holds: its norms are products of theirs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stream_impl.h"

typedef struct {
    double l1, squares, nonzero;
} norms;

static norms norms_of(const float *x, int64_t n) {
    norms s = { 0, 0, 0 };
    for (int64_t i = 0; i < n; i++) {
        double a = (double)x[i];
        s.l1 += fabs(a), s.squares += a * a, s.nonzero += a != 0;
    }
    return s;
}

kp_status kp_stream_measure_open(kp_stream *s, kp_err *err) {
    int threads = kp_backend_n_threads(s->backend);
    size_t P = (size_t)s->P;
    for (int l = 0; l < s->shape.n_layers; l++) {
        size_t room = kp_rank_room(s->shape.in[l], s->shape.out[l]);
        if (room > s->rank_room) s->rank_room = room;
    }
    if (threads > s->P) threads = s->P;
    kp_status st = kp_pool_open(&s->pool, threads, err);
    if (st) return st;
    s->theta_host = calloc(P * (size_t)s->layout.N, sizeof *s->theta_host);
    s->work_host = calloc(P * (size_t)kp_mlp_work(&s->shape), sizeof *s->work_host);
    s->measures = calloc(P, sizeof *s->measures);
    s->rank_scratch = calloc((size_t)threads * s->rank_room, sizeof *s->rank_scratch);
    return s->theta_host && s->work_host && s->measures && s->rank_scratch
               ? KP_OK
               : kp_fail(err, KP_BAD_CONFIG, "metrics: out of host memory");
}

void kp_stream_measure_close(kp_stream *s) {
    kp_pool_close(s->pool);
    free(s->theta_host);
    free(s->work_host);
    free(s->measures);
    free(s->rank_scratch);
}

static void measure_norms(const kp_stream *s, int p, kp_stream_measures *m) {
    const kp_mlp_shape *shape = &s->shape;
    const float *theta = s->theta_host + p * s->layout.N, *first = s->first_theta + p * s->layout.N;
    const float *work = s->work_host + p * kp_mlp_work(shape);
    double weights = 0, weight_squares = 0, grad_squares = 0, distance_squares = 0;
    m->weight_l1 = m->weight_l0 = m->grad_l1 = m->grad_l0 = 0;
    for (int l = 0; l < shape->n_layers; l++) {
        int64_t n = (int64_t)shape->in[l] * shape->row[l]; /* padding is zero */
        const float *w = theta + shape->weight[l], *w0 = first + shape->weight[l];
        norms of_w = norms_of(w, n), of_x = norms_of(work + kp_mlp_x(shape, l), shape->in[l]),
              of_d = norms_of(work + kp_mlp_d(shape, l), shape->out[l]);
        weights += (double)shape->in[l] * shape->out[l];
        m->weight_l1 += of_w.l1, weight_squares += of_w.squares, m->weight_l0 += of_w.nonzero;
        m->grad_l1 += of_x.l1 * of_d.l1, grad_squares += of_x.squares * of_d.squares;
        m->grad_l0 += of_x.nonzero * of_d.nonzero;
        for (int64_t i = 0; i < n; i++) {
            double moved = (double)w[i] - (double)w0[i];
            distance_squares += moved * moved;
        }
    }
    m->weight_l0 /= weights, m->grad_l0 /= weights;
    m->weight_l2 = sqrt(weight_squares), m->grad_l2 = sqrt(grad_squares);
    m->distance = sqrt(distance_squares);
}

static void measure_rank(const kp_stream *s, int p, double *scratch, kp_stream_measures *m) {
    const kp_mlp_shape *shape = &s->shape;
    const float *theta = s->theta_host + p * s->layout.N;
    double most = 0;
    m->effective_rank = m->weight_rank = 0;
    for (int l = 0; l < shape->n_layers; l++) {
        int in = shape->in[l], out = shape->out[l];
        kp_rank r = kp_rank_of(theta + shape->weight[l], in, out, shape->row[l], scratch);
        m->effective_rank += r.effective, m->weight_rank += r.numerical;
        most += in < out ? in : out;
    }
    m->effective_rank /= most, m->weight_rank /= most;
}

static void measure(void *context, int thread) {
    kp_stream *s = context;
    const kp_config *c = s->member;
    for (int p = thread; p < s->P; p += kp_pool_n_threads(s->pool)) {
        kp_stream_measures *m = &s->measures[p];
        if (!s->active[p]) continue;
        if (c->diag.norms) measure_norms(s, p, m);
        if (c->diag.rank) measure_rank(s, p, s->rank_scratch + (size_t)thread * s->rank_room, m);
    }
}

kp_status kp_stream_measure(kp_stream *s, kp_err *err) {
    const kp_config *c = s->member;
    size_t P = (size_t)s->P;
    kp_status st = KP_OK;
    for (int p = 0; p < s->P; p++)
        s->measures[p] = (kp_stream_measures){ NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN };
    if (!c->diag.norms && !c->diag.rank) return KP_OK;
    st = kp_backend_download(s->backend, s->theta_host, s->theta,
                             P * (size_t)s->layout.N * sizeof *s->theta, err);
    if (!st && c->diag.norms)
        st = kp_backend_download(s->backend, s->work_host, s->work,
                                 P * (size_t)kp_mlp_work(&s->shape) * sizeof *s->work, err);
    if (!st) kp_pool_run(s->pool, measure, s);
    return st;
}
