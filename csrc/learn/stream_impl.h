/* stream_impl.h: the inside of the learner of streams, for stream*.c only. */
#pragma once
#include "base/pool.h"
#include "learner.h"
#include "nn/mlp.h"
#include "optim/optim.h"
#include "rank.h"
#include "stream_tasks.h"
#include "units.h"

enum { KP_STREAM_BLOCK = 256 }; /* samples between which the host has no part */
enum { KP_STREAM_ACCURACY, KP_STREAM_LOSS }; /* values of kp_member_progress */

/* What a member gathers between two rows of metrics: sums over samples, in their order. */
typedef struct {
    double correct, loss, loss_after, plasticity, inactive;
} kp_stream_sums;

/* What is measured for a row, of the weight matrices. */
typedef struct {
    double weight_l1, weight_l2, weight_l0, grad_l1, grad_l2, grad_l0;
    double effective_rank, weight_rank, distance;
} kp_stream_measures;

typedef struct {
    kp_config *member; /* [P] */
    uint64_t *seed;    /* [P] */
    int P, T;          /* T: tensors */
    kp_backend *backend;
    kp_log *log;

    int n_inputs, n_classes;
    kp_tasks *tasks;
    kp_layout layout;
    kp_mlp_shape shape;
    kp_optim *optim;
    kp_units *units;
    kp_program *program;
    int is_fused; /* the program makes a whole block, else one update of it */

    /* backend memory */
    uint8_t *bytes; /* [n][n_inputs], or NULL */
    float *floats;  /* or NULL */
    float *value;   /* [256] NULL with floats */
    int32_t *label; /* [n] */
    int32_t *input_order, *label_order; /* [P][n_inputs], [P][n_classes]; NULL: not permuted */
    int32_t *index;                     /* [P][KP_STREAM_BLOCK] */
    int32_t *n;                         /* [1] */
    float *theta, *grad;                /* [P][N]; grad NULL where is_fused */
    float *work;                        /* [P][kp_mlp_work] */
    kp_mlp_result *result;              /* [P][KP_STREAM_BLOCK] */
    uint8_t *ever_active;               /* [P][n_hidden]; NULL: diag.units is off */

    /* of each member */
    int64_t sample;     /* samples learned, which are its updates */
    int64_t row_sample; /* at the latest row */
    int64_t task;       /* whose permutations are in place; -1: none yet */
    uint8_t *active;    /* [P] 0: its weights are not finite */

    /* host */
    float *first_theta;            /* [P][N] the initial weights */
    int32_t *index_host;           /* [P][KP_STREAM_BLOCK] */
    int32_t *permutation;          /* [P][n_inputs or n_classes] */
    kp_mlp_result *result_host;    /* [P][KP_STREAM_BLOCK] */
    kp_stream_sums *sums;          /* [P] */
    int64_t *replaced;             /* [2][P] units replaced so far, by either method */
    kp_tensor_tally *tally;        /* [P][T] read back */
    uint8_t *ever_active_host;     /* [P][n_hidden] */
    float *theta_host, *work_host; /* [P][N], [P][kp_mlp_work] read back for measures */
    kp_stream_measures *measures;  /* [P] */
    kp_pool *pool;                 /* for them */
    double *rank_scratch;          /* [threads][rank_room] */
    size_t rank_room;
    uint8_t *clips;                /* [P][T] whether the tensor is clipped */

    kp_metrics_column *column; /* [n_columns] */
    char (*column_name)[64];   /* [T] of the columns by tensor */
    int n_columns;
    kp_metrics_value *rows; /* [P][n_columns] the latest */
    uint8_t *has_row;       /* [P] */

    kp_progress progress;
    kp_member_progress *member_progress; /* [P] */
} kp_stream;

/* stream_weights.c: first_theta, drawn from the seeds or read from net.init_from. */
kp_status kp_stream_first_weights(kp_stream *s, kp_err *err);

/* stream_measure.c. Fills measures, of the members that are active. */
kp_status kp_stream_measure_open(kp_stream *s, kp_err *err);
kp_status kp_stream_measure(kp_stream *s, kp_err *err);
void kp_stream_measure_close(kp_stream *s);

/* stream_rows.c. make_rows ends the interval: the sums start from zero. */
kp_status kp_stream_rows_open(kp_stream *s, kp_err *err);
kp_status kp_stream_make_rows(kp_stream *s, kp_err *err);
const kp_metrics_column *kp_stream_columns(const void *learner, int *n);
int kp_stream_row(const void *learner, int member, kp_metrics_value *value);

/* stream_state.c */
kp_status kp_stream_save(void *learner, kp_checkpoint_writer *writer, int with_replay, kp_err *err);
kp_status kp_stream_load(void *learner, const kp_checkpoint *checkpoint, kp_err *err);
