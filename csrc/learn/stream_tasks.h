/* stream_tasks.h: which samples a stream shows, and what a task does to them.
 *
 * Task k has the samples k task_samples .. (k + 1) task_samples - 1 of the stream. Every task shows the
 * data in a fresh shuffle (again and again, each time in another, where it is longer than the data), or
 * goes on where the one before it stopped in the order of the file. Every task has a permutation of its
 * own, the first too. A number depends on (seed, task) alone. */
#pragma once
#include <stdint.h>

#include "config/config.h"

typedef struct {
    int P;
    const uint64_t *seed;     /* [P], copied */
    int problem, order;       /* kp_problem, kp_data_order */
    int64_t task_samples;
    int n_tasks;
    int n, n_inputs, n_classes; /* of the data */
    const char *permutations; /* NPY file, a row a task, the same for all members; "": drawn */
} kp_tasks_options;

typedef struct kp_tasks kp_tasks;

/* KP_BAD_DATA: the file of permutations is missing, damaged or too short. */
kp_status kp_tasks_open(kp_tasks **tasks, const kp_tasks_options *options, kp_err *err);
void kp_tasks_close(kp_tasks *tasks); /* NULL is fine */

/* index[n]: which of the data are samples from .. from + n - 1 of the stream, all of one task. */
void kp_tasks_samples(kp_tasks *tasks, int member, int64_t from, int n, int32_t *index);

/* 0: nothing is permuted. Else *of: KP_PERMUTES_*, *n: how many. */
typedef enum { KP_PERMUTES_NOTHING, KP_PERMUTES_INPUTS, KP_PERMUTES_LABELS } kp_permutes;
kp_permutes kp_tasks_permutes(const kp_tasks *tasks, int *n);

/* permutation[n] of the task. */
void kp_tasks_permutation(const kp_tasks *tasks, int member, int64_t task, int32_t *permutation);
