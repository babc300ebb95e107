/* pool.c: threads that wait for a generation number to change, by spinning, then by futex. */
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPIN = 4000 }; /* about 20-100 us: longer than a step's barrier, shorter than a game step */

typedef struct {
    _Alignas(64) _Atomic uint32_t generation; /* of work (begin) or of a barrier */
    _Alignas(64) _Atomic uint32_t arrived;
    _Alignas(64) _Atomic uint32_t sleeping;
} gate;

struct kp_pool {
    gate begin, barrier;
    int n_threads;
    _Atomic int stop;
    kp_pool_fn fn;
    void *context;
    pthread_t *threads; /* [n_threads - 1] */
    struct seat {
        kp_pool *pool;
        int thread;
    } * seats;
};

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void wait_change(gate *g, uint32_t seen) {
    for (int i = 0; i < SPIN; i++) {
        if (atomic_load_explicit(&g->generation, memory_order_acquire) != seen) return;
        pause_cpu();
    }
    while (atomic_load_explicit(&g->generation, memory_order_acquire) == seen) {
        atomic_fetch_add(&g->sleeping, 1);
        syscall(SYS_futex, &g->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        atomic_fetch_sub(&g->sleeping, 1);
    }
}

static void advance(gate *g) {
    atomic_fetch_add(&g->generation, 1); /* sequentially consistent with `sleeping`: no lost wake */
    if (atomic_load(&g->sleeping))
        syscall(SYS_futex, &g->generation, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void kp_pool_barrier(kp_pool *p) {
    if (p->n_threads == 1) return;
    gate *g = &p->barrier;
    uint32_t seen = atomic_load_explicit(&g->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&g->arrived, 1, memory_order_acq_rel) + 1 ==
        (uint32_t)p->n_threads) {
        atomic_store_explicit(&g->arrived, 0, memory_order_relaxed);
        advance(g);
    } else {
        wait_change(g, seen);
    }
}

static void *serve(void *argument) {
    struct seat seat = *(struct seat *)argument;
    kp_pool *p = seat.pool;
    uint32_t seen = 0;
    for (;;) {
        wait_change(&p->begin, seen);
        seen++;
        if (atomic_load(&p->stop)) return NULL;
        p->fn(p->context, seat.thread);
        kp_pool_barrier(p);
    }
}

int kp_cpus_allowed(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

kp_status kp_pool_open(kp_pool **pool, int n_threads, kp_err *err) {
    *pool = NULL;
    if (n_threads <= 0) n_threads = kp_cpus_allowed();
    kp_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p) return kp_fail(err, KP_BAD_CONFIG, "out of host memory for %d threads", n_threads);
    memset(p, 0, sizeof *p);
    p->n_threads = 1;
    p->threads = calloc((size_t)n_threads, sizeof *p->threads);
    p->seats = calloc((size_t)n_threads, sizeof *p->seats);
    if (!p->threads || !p->seats) {
        kp_pool_close(p);
        return kp_fail(err, KP_BAD_CONFIG, "out of host memory for %d threads", n_threads);
    }
    /* Threads read n_threads only after the first run has begun, so it may still grow here. */
    for (int t = 1; t < n_threads; t++) {
        p->seats[t] = (struct seat){ p, t };
        int rc = pthread_create(&p->threads[t - 1], NULL, serve, &p->seats[t]);
        if (rc) {
            kp_pool_close(p);
            return kp_fail(err, KP_DEVICE, "cannot start thread %d of %d (%s); lower `threads`",
                           t + 1, n_threads, strerror(rc));
        }
        p->n_threads = t + 1;
    }
    *pool = p;
    return KP_OK;
}

int kp_pool_n_threads(const kp_pool *p) { return p->n_threads; }

void kp_pool_run(kp_pool *p, kp_pool_fn fn, void *context) {
    if (p->n_threads > 1) {
        p->fn = fn;
        p->context = context;
        advance(&p->begin);
    }
    fn(context, 0);
    kp_pool_barrier(p);
}

void kp_pool_close(kp_pool *p) {
    if (!p) return;
    atomic_store(&p->stop, 1);
    advance(&p->begin);
    for (int t = 1; t < p->n_threads; t++) pthread_join(p->threads[t - 1], NULL);
    free(p->threads);
    free(p->seats);
    free(p);
}
