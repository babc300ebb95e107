/* cudnn_conv.h: convolutions by cuDNN: plans are found, kept in files, measured and run.
 *
 *     kp_cudnn_options o = { .folder = folder, .workspace_limit = KP_CUDNN_WORKSPACE };
 *     kp_cudnn *cudnn = NULL;
 *     st = kp_cudnn_open(&cudnn, &o, &err);
 *     kp_conv_plan *plan = NULL;                  borrowed; one for each convolution
 *     st = kp_cudnn_plan(&plan, cudnn, &conv, &err);
 *     ... kp_cudnn_workspace(plan) bytes of device memory ...
 *     st = kp_cudnn_run(cudnn, plan, &pointers, workspace, stream, &err);
 *     kp_cudnn_close(cudnn);
 *
 * With a description of a device (tests/data/cuda) everything but running works where there is no
 * device. The library is loaded at run time; a program that opens nothing does not need it.
 *
 * Images are kp_image: float32, NHWC, with a border. The convolution reads its padding from the
 * border, so cuDNN is told of none: it gets the bordered image as a larger one, in full where that
 * gives the same output, because some engines copy what is not packed.
 *
 * Weights are KRSC, [out.c][kernel][kernel][in.c], not the HWIO of kernels/conv. cuDNN finalises
 * plans for all 24 orders of their strides, but tells only two sorts apart (tried on conv2 of the
 * Atari nets): orders with C outside S get KCRS's candidates and workspaces, the other twelve, HWIO
 * among them, KRSC's, even from engines without a workspace to transpose in. HWIO would thus be read
 * as KRSC, as far as can be told without a device. Candidates in strict fp32, summed over the 16
 * shapes of the Atari nets and ResNet-18 (cuDNN 9.19; forward / data / weights):
 *
 *            H100 and H200     A100
 *     KRSC   99 / 77 / 60      52 / 64 / 44
 *     KCRS   93 / 77 / 64      69 / 64 / 48
 *     HWIO   as KRSC
 *
 * KRSC it is: it goes with NHWC everywhere else, has weight gradients without a workspace (engine 67),
 * and with tensor cores 25 forward configurations of conv2 to KCRS's 6.
 *
 * One thread at a time for each kp_cudnn. */
#pragma once
#include <stddef.h>

#include "base/files.h"
#include "conv/conv.h"

typedef struct kp_cudnn kp_cudnn;
typedef struct kp_conv_plan kp_conv_plan;

enum { KP_CUDNN_CANDIDATES = 8, KP_CUDNN_WORKSPACE = 256 << 20 };

typedef struct {
    const char *device_json; /* a device that need not be here; NULL: the thread's CUDA device */
    const char *folder;      /* plan files; made where it is missing. NULL: none are kept */
    const char *run_folder;  /* plan files of one run, which come first, so that it goes on as it began;
                                what is taken from `folder` is copied here. NULL: none */
    size_t workspace_limit;  /* bytes; engines that want more are left out */
    void (*warn)(void *to, const char *line); /* a plan file that is no use; NULL: not told */
    void *warn_to;
} kp_cudnn_options;

typedef enum {
    KP_CUDNN_FORWARD,         /* y from x, w and bias, activation included. A ReLU is sure to keep NaN
                               * only where the candidate says so (strict_nan) */
    KP_CUDNN_BACKWARD_DATA,   /* x, the gradient, from y and w; no engine of 9.19 fuses ReLU's mask */
    KP_CUDNN_BACKWARD_WEIGHTS /* w, the gradient, from x and y; the bias's is not cuDNN's */
} kp_cudnn_kind;

typedef struct {
    kp_cudnn_kind kind;
    kp_precision precision; /* fp32: no tensor cores, no rounded inputs, no Winograd, no FFT, sums in a fixed order.
                             * tf32: tensor cores too. bf16: no engine fits */
    int B; /* samples of one member */
    kp_conv_shape shape;
    int has_bias;             /* forward only, like the activation */
    kp_activation activation; /* ReLU needs a bias: no engine of 9.19 has it alone */
} kp_cudnn_conv;

/* Device memory of one member; the kind says which one is written. If it is x, its border is overwritten
 * with anything; that of y is left alone. */
typedef struct {
    const float *x, *y;    /* [B][in], [B][out], borders included, in arrays [P][...] that are
                            * 16-byte aligned */
    const float *w, *bias; /* KRSC, [out.c], 16-byte aligned; bias NULL where there is none */
} kp_cudnn_pointers;

typedef struct {
    int engine;
    char knobs[192]; /* "TILE_SIZE=12 IDX_MODE=1" */
    size_t workspace_bytes;
    int strict_nan; /* NaN of the input are never lost */
    float ms;       /* measured; NAN: not yet */
} kp_cudnn_candidate;

/* $XDG_CACHE_HOME/kappa/plans or ~/.cache/kappa/plans; NULL, and path "", where neither is set. */
const char *kp_cudnn_default_folder(char path[KP_PATH]);

/* Loads the library and says its version. KP_DEVICE, with what to do, where it is missing or too old. */
kp_status kp_cudnn_find(char *found, size_t size, kp_err *err);

/* KP_DEVICE, with what to do, where the library is missing or too old, or there is no device. */
kp_status kp_cudnn_open(kp_cudnn **cudnn, const kp_cudnn_options *options, kp_err *err);
void kp_cudnn_close(kp_cudnn *cudnn); /* with its plans; NULL is fine */

/* "NVIDIA H200, sm_90, 132 SMs, cuDNN 9.19.0" */
const char *kp_cudnn_describe(const kp_cudnn *cudnn);

/* From memory, from a file, or found. KP_DEVICE where no engine fits: the caller takes its plain path. */
kp_status kp_cudnn_plan(kp_conv_plan **plan, kp_cudnn *cudnn, const kp_cudnn_conv *conv,
                        kp_err *err);
size_t kp_cudnn_workspace(const kp_conv_plan *plan); /* bytes, of the candidate that would run */
const char *kp_conv_plan_describe(const kp_conv_plan *plan); /* the convolution */

/* Puts the convolution on the stream; may be captured. workspace: kp_cudnn_workspace bytes of device
 * memory, NULL where that is 0. */
kp_status kp_cudnn_run(kp_cudnn *cudnn, const kp_conv_plan *plan, const kp_cudnn_pointers *pointers,
                       void *workspace, struct CUstream_st *stream, kp_err *err);

/* Best first: as measured or, before that, as cuDNN's heuristics have it. [0] runs. */
int kp_conv_plan_n_candidates(const kp_conv_plan *plan);
const kp_cudnn_candidate *kp_conv_plan_candidate(const kp_conv_plan *plan, int i);

/* Milliseconds of kp_cudnn_run with the plan as it is during the call, which needs kp_cudnn_workspace
 * bytes. Not KP_OK: that candidate does not work here. */
typedef kp_status (*kp_cudnn_time)(void *to, const kp_conv_plan *plan, float *ms, kp_err *err);

/* Times all candidates, drops those that failed, puts the fastest first and keeps that in the plan's
 * file. Where all failed: the error of the last, and the plan stays as it was. */
kp_status kp_cudnn_choose(kp_cudnn *cudnn, kp_conv_plan *plan, kp_cudnn_time time, void *to,
                          kp_err *err);

/* Milliseconds of the same by other means, for the caller to compare; NAN: not measured. What is set is
 * kept in the plan's file by the next kp_cudnn_choose. */
float kp_conv_plan_plain_ms(const kp_conv_plan *plan);
void kp_conv_plan_set_plain_ms(kp_conv_plan *plan, float ms);
