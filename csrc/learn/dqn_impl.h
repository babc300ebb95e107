/* dqn_impl.h: the inside of the DQN learner, for dqn*.c only. */
#pragma once
#include "actor.h"
#include "backend/readback.h"
#include "dqn_update.h"
#include "env/env.h"
#include "evaluate.h"
#include "frames.h"
#include "learner.h"
#include "replay/ring.h"
#include "replay/ring_file.h"

enum { KP_DQN_RETURN, KP_DQN_EVAL }; /* values of kp_member_progress */

/* What a member gathers between two rows of metrics. */
typedef struct {
    int64_t episodes, length_sum;
    double return_sum, return_min, return_max;
} kp_dqn_interval;

typedef struct {
    kp_config *member; /* [P] */
    uint64_t *seed;    /* [P] */
    int P, E, T;       /* E: environments of a member; T: tensors */
    kp_backend *backend;
    kp_log *log;
    const kp_listener *listener;

    kp_env *env;
    kp_ring *ring;
    kp_frames *frames;
    kp_ring_file *file;
    kp_dqn_update *update;
    kp_actor *actor;
    kp_evaluator *evaluator; /* NULL: eval.interval_steps is 0 */

    /* the schedule; agent steps and updates are of each member */
    int64_t agent_step, updates;
    int64_t settled;              /* agent step up to which copies, evaluations and rows are done */
    int64_t fill_end, fill_updates; /* from fill_end on updates are due, fill_updates were made before */
    int64_t evaluations;
    int64_t row_updates;          /* updates before the latest row */
    int64_t gradient_at;          /* updates when grad_l2 was measured: checkpoints have no gradients */
    uint8_t *active;              /* [P] 0: its weights are not finite */

    int *action;                  /* [P * E] */
    kp_env_result *result;        /* [P * E] */
    double *epsilon;              /* [P] */
    kp_dqn_interval *interval;    /* [P] */

    kp_readback *after_update;    /* the tally, to see whether weights are finite */
    kp_tensor_tally *tally;       /* [P][T] read back */
    kp_td_sums *sums;             /* [P] read back */
    float *theta_l2, *grad_l2;    /* [P] read back */
    double *eval_returns;         /* [P][eval.episodes] of the latest evaluation */
    uint8_t *clips;               /* [P][T] whether the tensor is clipped */

    kp_metrics_column *column;    /* [n_columns] */
    char (*column_name)[64];      /* [T] of the columns by tensor */
    int n_columns;
    kp_metrics_value *rows;       /* [P][n_columns] the latest */
    uint8_t *has_row;             /* [P] */

    kp_progress progress;
    kp_member_progress *member_progress; /* [P] */
} kp_dqn;

/* dqn.c. Stops members whose weights were not finite after an update; with `drain`, after any that was
 * made, else after those whose result is due. */
kp_status kp_dqn_check_finite(kp_dqn *d, int drain, kp_err *err);
double kp_dqn_epsilon(const kp_config *c, int64_t agent_step);
int64_t kp_dqn_updates_due(const kp_dqn *d);

/* dqn_rows.c. make_rows ends the interval: the running sums start from zero. */
kp_status kp_dqn_rows_open(kp_dqn *d, kp_err *err);
kp_status kp_dqn_measure(kp_dqn *d, kp_err *err); /* theta_l2, grad_l2 */
kp_status kp_dqn_make_rows(kp_dqn *d, int evaluated, kp_err *err);
const kp_metrics_column *kp_dqn_columns(const void *learner, int *n);
int kp_dqn_row(const void *learner, int member, kp_metrics_value *value);

/* dqn_state.c */
kp_status kp_dqn_start(void *learner, kp_err *err);
kp_status kp_dqn_save(void *learner, kp_checkpoint_writer *writer, int with_replay, kp_err *err);
kp_status kp_dqn_load(void *learner, const kp_checkpoint *checkpoint, kp_err *err);
