/* bench.h: benchmarks of `kappa bench`. A benchmark measures ours and, when asked, the peer's in the
 * same run: ours, peer, ours, ... and reports medians; a figure is a ratio, never a bare time.
 *
 * A benchmark is one file and one row of the table in bench.c. */
#pragma once
#include <stddef.h>

#include "base/clock.h"
#include "kappa/status.h"

typedef struct {
    char name[64];       /* "adam_clip 50M" */
    double ours, peer;   /* in `unit`, higher is better; peer NAN: not measured */
    const char *unit;    /* "GB/s", "updates/s" */
    double limit;        /* the bound that binds, in `unit`, measured in the same run; NAN: none */
    const char *limit_name; /* "read-modify-write bandwidth" */
    double reach;        /* the ratio ours / peer that the project asks for; NAN: none */
    int repeats;
    char note[160];
} kp_bench_result;

typedef struct {
    int n_threads;      /* 0: all */
    int repeats;        /* 0: the benchmark's own choice */
    int with_peers;
    const char *device; /* "cpu", "cuda" or "cuda:N" */
    const char *python;   /* interpreter with bench/peers/requirements.txt installed */
    const char *peer_dir; /* the folder bench/peers */
    void (*emit)(void *context, const kp_bench_result *result);
    void *context;
} kp_bench_options;

enum { KP_BENCH_MAX_REPEATS = 99 };

/* What was asked for, else the benchmark's `standard`; at most KP_BENCH_MAX_REPEATS. */
int kp_bench_repeats(const kp_bench_options *options, int standard);

typedef kp_status (*kp_bench_fn)(const kp_bench_options *options, kp_err *err);

typedef struct {
    const char *name, *what; /* "adam_clip", one line for `kappa bench --help` */
    kp_bench_fn run;
    int on_cuda; /* also with device=cuda */
} kp_bench_row;

/* One row of adam_clip: P members of n_chunks, updated so often in one timing. */
typedef struct {
    const char *label;
    int P, n_chunks, updates;
    double reach; /* of the peer; NAN: none */
} kp_bench_adam_size;

/* How large the benchmarks of streams are. */
typedef struct {
    double seconds;       /* of one timing, of CPU time */
    int P, large;         /* members of the population, and of that which is held against one of 2 */
    const char *task;     /* "stream.task_samples=5000" */
    const char *set, *folder; /* "data.set=custom" of images of 28 x 28 there; NULL: MNIST's as found */
} kp_bench_stream_scale;

/* The benchmarks. */
kp_status kp_bench_adam_clip(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_adam_clip_sized(const kp_bench_options *options, int n_sizes,
                                   const kp_bench_adam_size *size, kp_err *err);
kp_status kp_bench_dqn_update(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_dqn_population(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_dqn_end_to_end(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_atari_env(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_streaming(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_streaming_rules(const kp_bench_options *options, kp_err *err);
kp_status kp_bench_streaming_scaled(const kp_bench_options *options,
                                    const kp_bench_stream_scale *scale, kp_err *err);
kp_status kp_bench_streaming_rules_scaled(const kp_bench_options *options,
                                          const kp_bench_stream_scale *scale, kp_err *err);
/* All benchmarks; ends with a row whose name is NULL. */
extern const kp_bench_row kp_bench_table[];

double kp_bench_median(double *x, int n); /* sorts x */

/* Runs `python peer_dir/script arguments`, whose last line must be one JSON object with the numbers
 * named; fills value[i] for name[i]. KP_DEVICE if it fails, with its last words. */
kp_status kp_bench_peer(const kp_bench_options *options, const char *script, const char *arguments,
                        int n, const char *const name[], double *value, kp_err *err);

/* KP_DEVICE where the interpreter lacks a package of peer_dir/requirements.txt. versions: of what it has,
 * "torch 2.15.0, ..." */
kp_status kp_bench_peers_present(const kp_bench_options *options, char *versions, size_t size, kp_err *err);
