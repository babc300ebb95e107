/* population.h: P dense networks trained as one, with weight clipping (arXiv 2407.01704).
 *
 *     const int width[] = { 32, 2 };                          one hidden layer, two outputs
 *     kp_member_options member[2];
 *     kp_population_options options;
 *     kp_member_options_init(&member[0]);
 *     kp_member_options_init(&member[1]);
 *     member[1].kappa = 2;
 *     kp_population_options_init(&options);
 *     options.P = 2, options.B = 64, options.n_inputs = 2;
 *     options.width = width, options.n_layers = 2, options.member = member;
 *
 *     st = kp_population_open(&pop, &options, &err);
 *     while (!st && more) st = kp_population_step(pop, &batch, loss, &err);
 *     kp_population_close(pop);
 *
 * Members differ in seed and hyperparameters, never in shape. Member i of P equals the same member
 * alone, bit for bit, for any number of threads.
 *
 * One thread at a time for each population; different populations need not know of each other. */
#pragma once
#include <stdint.h>

#include "choices.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {         /* what members may differ in */
    uint64_t seed;       /* of the initial weights */
    double lr;           /* step size */
    double beta1, beta2; /* adam, adamw; rmsprop averages by beta2 */
    double eps;          /* added to the root: adam, adamw, rmsprop */
    double momentum;     /* sgd */
    double weight_decay; /* adamw: decoupled; sgd, rmsprop: added to the gradient; adam: none */
    double grad_norm;    /* limit of the gradient's l2 norm over all tensors; INFINITY: none */
    double kappa;        /* each weight stays within +-kappa * scale; > 0, INFINITY: no clipping */
} kp_member_options;

/* seed 0, lr 1e-3, beta1 0.9, beta2 0.999, eps 1e-8, momentum 0, weight_decay 0, grad_norm and
 * kappa INFINITY. */
KP_API void kp_member_options_init(kp_member_options *options);

typedef struct {
    int P;                    /* members */
    int B;                    /* samples of each member's minibatch */
    int n_inputs;             /* D */
    int n_layers;             /* "fc1", "fc2", ...; 1 to 96 */
    const int *width;         /* [n_layers] units; the last are the outputs, which are linear */
    kp_activation activation; /* of all layers but the last */
    kp_init init;
    kp_objective loss;
    kp_rule rule;
    int centered;       /* 1: rmsprop divides by the standard deviation */
    int clip_bias;      /* 0: biases are not clipped */
    int clip_output;    /* 0: the last layer is not clipped */
    int scale_init;     /* scale of a tensor: 0: 1/sqrt(fan_in); 1: its initialiser's bound */
    const char *device; /* "auto", "cpu", "cuda" or "cuda:N" */
    int n_threads;      /* on the CPU; 0: as many as the process may use */
    const kp_member_options *member; /* [P] */
} kp_population_options;

/* P 1, B 32, ReLU, PyTorch's initialiser, cross entropy, adam, biases and the last layer clipped
 * too, scale 1/sqrt(fan_in), device "auto", n_threads 0. The rest is zero and yours to set:
 * n_inputs, n_layers, width, member. */
KP_API void kp_population_options_init(kp_population_options *options);

typedef struct kp_population kp_population; /* opaque; owns its threads, host and device memory */

/* Plans memory and draws the initial weights. Copies options with all they point to. *pop is yours
 * to close; NULL on failure (KP_BAD_CONFIG, KP_DEVICE). */
KP_API kp_status kp_population_open(kp_population **pop, const kp_population_options *options,
                                    kp_err *err);

/* "cpu, 2 threads, AVX2"; lives as long as the population. */
KP_API const char *kp_population_device(const kp_population *pop);

typedef struct {          /* host memory, read during the call only */
    const float *x;       /* [P][B][D] */
    const int32_t *label; /* [P][B] 0 .. n_outputs - 1; cross entropy only, else NULL */
    const float *target;  /* [P][B][n_outputs]; squared error only, else NULL */
    int shared;           /* 1: without the [P]: every member gets the same minibatch */
} kp_batch;

/* Updates every member once: gradient of the loss, gradient-norm limit, rule, clip. Allocates
 * nothing.
 *   loss  [P]  host, of the minibatch before the update; may be NULL
 * KP_BAD_CONFIG (pointers that do not fit the loss), KP_BAD_DATA (a label): nothing has changed.
 * KP_NON_FINITE names a member, tensor and update: weights are NaN or infinite. That member has
 * stopped; the others were updated, and further calls train them, with NaN as the loss of those
 * that stopped. When all have, every call returns KP_NON_FINITE. */
KP_API kp_status kp_population_step(kp_population *pop, const kp_batch *batch, float *loss,
                                    kp_err *err);

/* A member's step size from its next update on (schedules). KP_BAD_CONFIG where lr or the member's
 * number (0 .. P - 1) is out of range. */
KP_API kp_status kp_population_set_lr(kp_population *pop, int member, double lr, kp_err *err);

/* Outputs (logits where the loss is cross entropy) for n samples, any number. Allocates nothing.
 *   x  [P][n][D] host, or [n][D] where shared is 1
 *   y  [P][n][n_outputs] host */
KP_API kp_status kp_population_predict(kp_population *pop, const float *x, int shared, int64_t n,
                                       float *y, kp_err *err);

typedef struct {
    const char *name; /* "fc1.weight", "fc1.bias"; lives as long as the population */
    int n_dims;
    int64_t dims[4]; /* PyTorch's: [out][in], [out] */
    int64_t count;   /* their product */
    double scale;    /* kappa's unit; 0: the tensor is not clipped */
} kp_tensor_info;

KP_API int kp_population_n_tensors(const kp_population *pop);
KP_API kp_tensor_info kp_population_tensor(const kp_population *pop,
                                           int tensor); /* 0 .. n_tensors - 1 */

/* One tensor of one member, in PyTorch's order: values [n] host, n its count. Writing leaves the
 * optimizer's moments alone; the next update clips what was written. KP_BAD_CONFIG where the
 * member, the name or n is wrong. */
KP_API kp_status kp_population_read(kp_population *pop, int member, const char *name, float *values,
                                    int64_t n, kp_err *err);
KP_API kp_status kp_population_write(kp_population *pop, int member, const char *name,
                                     const float *values, int64_t n, kp_err *err);

/* The share of updated weights that the clip moved, since the previous call (or opening).
 *   share  [P][n_tensors] host, 0 to 1; NaN for a member that made no update since */
KP_API kp_status kp_population_share_clipped(kp_population *pop, double *share, kp_err *err);

KP_API void kp_population_close(kp_population *pop); /* NULL is fine */

#ifdef __cplusplus
}
#endif
