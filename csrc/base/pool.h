/* pool.h: the process's compute threads.
 *
 *     kp_pool *pool = NULL;
 *     st = kp_pool_open(&pool, n_threads, &err);
 *     kp_pool_run(pool, work, context);     work(context, 0 .. n_threads - 1), one call a thread
 *     kp_pool_close(pool);
 *
 * Not OpenMP: a race detector sees through these threads, oneDNN's and PyTorch's OpenMP runtimes in
 * the same process cannot disturb them, and nothing is allocated after opening. The caller is
 * thread 0. Idle threads spin for some microseconds, then sleep. */
#pragma once
#include "kappa/status.h"

typedef struct kp_pool kp_pool;
typedef void (*kp_pool_fn)(void *context, int thread);

/* n_threads 0: as many as the process's CPU affinity allows. */
kp_status kp_pool_open(kp_pool **pool, int n_threads, kp_err *err);
int kp_pool_n_threads(const kp_pool *pool);

/* Returns when every thread has returned from fn. One caller at a time; not from inside fn. */
void kp_pool_run(kp_pool *pool, kp_pool_fn fn, void *context);

/* Inside fn: waits until all threads have come here. Every thread must call it equally often. */
void kp_pool_barrier(kp_pool *pool);

void kp_pool_close(kp_pool *pool); /* NULL is fine */

int kp_cpus_allowed(void); /* CPUs in the process's affinity mask */
