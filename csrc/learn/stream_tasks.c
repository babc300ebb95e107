/* stream_tasks.c: see stream_tasks.h. Fisher-Yates (Durstenfeld 1964), two draws of 64 bits a block
 * of Philox: its counter is (task or pass) << 32 | what for << 30 | draw / 2. */
#include "stream_tasks.h"

#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "data/permutations.h"

enum { FOR_ORDER, FOR_INPUTS, FOR_LABELS }; /* never renumber */

struct kp_tasks {
    kp_tasks_options o;
    uint64_t *seed;   /* [P] */
    int shown;        /* of one shuffle, at most */
    int32_t *shuffle; /* [P][shown] the pass that the member is in */
    int64_t *pass;    /* [P] which it is, -1: none yet */
    int32_t *all;     /* [n] scratch */
    int32_t *rows;    /* [n_rows][n permuted] of the file; NULL: drawn */
};

/* The first m of a permutation of 0 .. n - 1, in item[0 .. m - 1]. item: [n] */
static void shuffle(int32_t *item, int n, int m, uint64_t seed, int what, int64_t number) {
    kp_philox_block r = { { 0 } };
    for (int i = 0; i < n; i++) item[i] = i;
    for (int i = 0; i < m; i++) {
        if (i % 2 == 0) {
            uint64_t at = (uint64_t)number << 32 | (uint64_t)what << 30 | (uint64_t)i / 2;
            r = kp_philox(seed, KP_STREAM_DATA, at);
        }
        const uint32_t *x = r.x + i % 2 * 2;
        int j = i + (int)kp_below(x[0], x[1], (uint64_t)(n - i));
        int32_t t = item[i];
        item[i] = item[j], item[j] = t;
    }
}

kp_permutes kp_tasks_permutes(const kp_tasks *t, int *n) {
    switch (t->o.problem) {
    case KP_PROBLEM_INPUT_PERMUTED: *n = t->o.n_inputs; return KP_PERMUTES_INPUTS;
    case KP_PROBLEM_LABEL_PERMUTED: *n = t->o.n_classes; return KP_PERMUTES_LABELS;
    default: *n = 0; return KP_PERMUTES_NOTHING;
    }
}

static kp_status read_rows(kp_tasks *t, kp_err *err) {
    int n_rows = 0, n;
    kp_tasks_permutes(t, &n);
    if (!*t->o.permutations) return KP_OK;
    kp_status st = kp_permutations_read(&t->rows, &n_rows, n, t->o.permutations, err);
    if (st || n_rows >= t->o.n_tasks) return st;
    return kp_fail(err, KP_BAD_DATA, "%s: %d permutations, and the stream has %d tasks",
                   t->o.permutations, n_rows, t->o.n_tasks);
}

kp_status kp_tasks_open(kp_tasks **out, const kp_tasks_options *o, kp_err *err) {
    *out = NULL;
    kp_tasks *t = calloc(1, sizeof *t);
    if (!t) return kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    size_t P = (size_t)o->P;
    t->o = *o;
    t->shown = o->task_samples < o->n ? (int)o->task_samples : o->n;
    t->seed = calloc(P, sizeof *t->seed);
    t->pass = calloc(P, sizeof *t->pass);
    t->shuffle = calloc(P * (size_t)t->shown, sizeof *t->shuffle);
    t->all = calloc((size_t)o->n, sizeof *t->all);
    kp_status st = t->seed && t->pass && t->shuffle && t->all
                       ? read_rows(t, err)
                       : kp_fail(err, KP_BAD_CONFIG, "stream: out of host memory");
    if (st) {
        kp_tasks_close(t);
        return st;
    }
    for (int p = 0; p < o->P; p++) t->seed[p] = o->seed[p], t->pass[p] = -1;
    *out = t;
    return KP_OK;
}

void kp_tasks_close(kp_tasks *t) {
    if (!t) return;
    free(t->seed);
    free(t->pass);
    free(t->shuffle);
    free(t->all);
    free(t->rows);
    free(t);
}

/* The pass's shuffle, made when the member comes to it. */
static const int32_t *shuffle_of(kp_tasks *t, int member, int64_t pass) {
    int32_t *mine = t->shuffle + (int64_t)member * t->shown;
    if (t->pass[member] != pass) {
        shuffle(t->all, t->o.n, t->shown, t->seed[member], FOR_ORDER, pass);
        memcpy(mine, t->all, (size_t)t->shown * sizeof *mine);
        t->pass[member] = pass;
    }
    return mine;
}

void kp_tasks_samples(kp_tasks *t, int member, int64_t from, int n, int32_t *index) {
    int64_t data = t->o.n, task = from / t->o.task_samples, at = from % t->o.task_samples;
    int64_t passes = (t->o.task_samples + data - 1) / data; /* of a task */
    for (int i = 0; i < n; i++, at++)
        index[i] = t->o.order == KP_ORDER_SEQUENTIAL
                       ? (int32_t)((from + i) % data)
                       : shuffle_of(t, member, task * passes + at / data)[at % data];
}

void kp_tasks_permutation(const kp_tasks *t, int member, int64_t task, int32_t *permutation) {
    int n;
    int what = kp_tasks_permutes(t, &n) == KP_PERMUTES_INPUTS ? FOR_INPUTS : FOR_LABELS;
    if (t->rows) memcpy(permutation, t->rows + task * n, (size_t)n * sizeof *permutation);
    else shuffle(permutation, n, n, t->seed[member], what, task);
}
