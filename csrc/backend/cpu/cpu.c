/* cpu.c: runs programs on the pool's threads.
 *
 * Two ways, the same bits. Members over threads (each thread takes whole members, their activations
 * stay in its cache) where members fill the threads evenly; else slices over threads, with a
 * barrier after each step. Either way a thread does its own share first, always the same, whose
 * data are in its cache; then what is left of the others': one that lost its processor for a while
 * holds nobody up. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/backend_impl.h"
#include "backend/program_impl.h"
#include "base/memory.h"
#include "base/pool.h"
#include "cpu_features.h"

enum { HUGE_PAGE = 2 << 20, PAGE = 4096, COLOUR = 256, MUCH = 64 << 20 };

typedef struct {
    kp_pool *pool;
    unsigned n_allocated;
} cpu;

typedef struct {
    _Alignas(64) _Atomic int64_t next; /* the first piece of this share that nobody has taken */
} share;

typedef struct {
    char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
    share *shares; /* [2][steps][threads]: of a run and of the next */
} cpu_plan;

static kp_status cpu_open(void **impl, int device, int n_threads, kp_err *err) {
    (void)device;
    cpu *c = calloc(1, sizeof *c);
    if (!c) return kp_fail(err, KP_BAD_CONFIG, "out of host memory");
    kp_status st = kp_pool_open(&c->pool, n_threads, err);
    if (st) free(c), c = NULL;
    *impl = c;
    return st;
}

static void cpu_close(void *impl) {
    cpu *c = impl;
    kp_pool_close(c->pool);
    free(c);
}

static void cpu_describe(const void *impl, char *text, size_t size) {
    int n = kp_pool_n_threads(((const cpu *)impl)->pool);
    snprintf(text, size, "cpu, %d thread%s, %s", n, n == 1 ? "" : "s", kp_isa_name(kp_isa()));
}

/* Buffers that a loop walks side by side (weights, moments, gradient) begin at different places in
 * a page: a processor tells a load from an earlier store by the lowest 12 bits of their addresses,
 * and would wait for stores that are none of its own. */
static kp_status cpu_alloc(void *impl, void **memory, size_t bytes, const char *what, kp_err *err) {
    cpu *c = impl;
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE,
           colour = COLOUR * (size_t)(c->n_allocated++ % (PAGE / COLOUR));
    void *pages = NULL;
    const int64_t there = bytes >= MUCH ? kp_memory_available() : INT64_MAX;
    if ((int64_t)bytes > there)
        return kp_fail(err, KP_BAD_CONFIG,
                       "%s: %.2f GiB of host memory asked for, %.2f are available", what,
                       (double)bytes / (1 << 30), (double)there / (1 << 30));
    if (posix_memalign(&pages, align, colour + bytes))
        return kp_fail(err, KP_BAD_CONFIG, "%s: %.1f MB of host memory asked for, not available",
                       what, (double)bytes * 1e-6);
    if (align == HUGE_PAGE) madvise(pages, colour + bytes, MADV_HUGEPAGE);
    memset(pages, 0, colour + bytes);
    *memory = (char *)pages + colour;
    return KP_OK;
}

static void cpu_release(void *impl, void *memory) {
    (void)impl;
    free((void *)((uintptr_t)memory / PAGE * PAGE));
}

static kp_status copy(void *impl, void *to, const void *from, size_t bytes, kp_err *err) {
    (void)impl, (void)err;
    memcpy(to, from, bytes);
    return KP_OK;
}

static kp_status cpu_sync(void *impl, kp_err *err) {
    (void)impl, (void)err;
    return KP_OK;
}

static size_t cpu_available(void *impl) {
    (void)impl;
    return 0;
}

static kp_status cpu_map(void *impl, void *host, size_t bytes, void **device, kp_err *err) {
    (void)impl, (void)bytes, (void)err;
    *device = host;
    return KP_OK;
}

static void cpu_unmap(void *impl, void *host) { (void)impl, (void)host; }

static kp_status cpu_landing_open(void *impl, void **landing, size_t bytes, kp_err *err) {
    return cpu_alloc(impl, landing, bytes, "results", err);
}

static kp_status cpu_landed(void *impl, void *landing, const void **data, kp_err *err) {
    (void)impl, (void)err;
    *data = landing;
    return KP_OK;
}

static void cpu_unplan(void *impl, kp_program *p) {
    cpu_plan *plan = p->plan;
    cpu_release(impl, plan->scratch);
    cpu_release(impl, plan->shares);
    free(plan);
    p->plan = NULL;
}

static kp_status cpu_plan_program(void *impl, kp_program *p, kp_err *err) {
    cpu *c = impl;
    cpu_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return kp_fail(err, KP_BAD_CONFIG, "program %s: out of host memory", p->name);
    for (int i = 0; i < p->n_steps; i++) {
        const kp_op *op = p->steps[i].op;
        size_t bytes = op->scratch_bytes ? op->scratch_bytes(p->steps[i].args) : 0;
        if (bytes > plan->scratch_bytes) plan->scratch_bytes = bytes;
    }
    plan->scratch_bytes = (plan->scratch_bytes + 127) / 64 *
                          64; /* a line apart: no false sharing */
    size_t T = (size_t)kp_pool_n_threads(c->pool), n_steps = p->n_steps ? (size_t)p->n_steps : 1,
           n_shares = 2 * T * n_steps;
    kp_status st = cpu_alloc(impl, (void **)&plan->scratch, plan->scratch_bytes * T, "scratch",
                             err);
    if (!st)
        st = cpu_alloc(impl, (void **)&plan->shares, n_shares * sizeof *plan->shares, "scratch",
                       err);
    p->plan = plan;
    if (st) cpu_unplan(impl, p);
    return st;
}

typedef struct {
    kp_pool *pool;
    const kp_program *program;
    int n; /* runs */
    const uint8_t *active;
} job;

static int is_active(const job *j, int member) { return !j->active || j->active[member]; }

/* Takes the next of `total` pieces for this thread, 0 when none is left. Of its own share it takes
 * most of what is left where pieces next to each other are cheaper (`together`: an operation packs
 * weights once for all of them); of another's, which is late, one. */
static int take(share *shares, int T, int thread, int64_t total, int together, int64_t *begin,
                int64_t *end) {
    for (int i = 0; i < T; i++) {
        int whose = (thread + i) % T;
        int64_t first, last;
        kp_slice_range(total, T, (kp_slices){ whose, whose + 1 }, &first, &last);
        int64_t left = last - first -
                       atomic_load_explicit(&shares[whose].next, memory_order_relaxed);
        if (left <= 0) continue;
        int64_t most = T == 1 ? left : left - left / 4, n = together && i == 0 ? most : 1;
        int64_t k = first + atomic_fetch_add_explicit(&shares[whose].next, n, memory_order_relaxed);
        if (k >= last) continue;
        *begin = k;
        *end = k + n < last ? k + n : last;
        return 1;
    }
    return 0;
}

static void members_over_threads(void *context, int thread) {
    job *j = context;
    const kp_program *p = j->program;
    const cpu_plan *plan = p->plan;
    void *scratch = plan->scratch + plan->scratch_bytes * (size_t)thread;
    int64_t member, end;
    while (take(plan->shares, kp_pool_n_threads(j->pool), thread, p->P, 0, &member, &end)) {
        if (!is_active(j, (int)member)) continue;
        for (int run = 0; run < j->n; run++)
            for (int i = 0; i < p->n_steps; i++) {
                const kp_step *s = &p->steps[i];
                s->op->cpu(s->args, (int)member, (kp_slices){ 0, s->n_slices }, scratch);
            }
    }
}

/* A step's shares of the next run are given out while the threads are at that step of this one: all
 * are then past the last run that used them, and none has begun the next. */
static void slices_over_threads(void *context, int thread) {
    job *j = context;
    const kp_program *p = j->program;
    const cpu_plan *plan = p->plan;
    void *scratch = plan->scratch + plan->scratch_bytes * (size_t)thread;
    int T = kp_pool_n_threads(j->pool);
    for (int at = 0; at < j->n * p->n_steps; at++) {
        int run = at / p->n_steps, i = at % p->n_steps;
        const kp_step *s = &p->steps[i];
        share *now = plan->shares + (run % 2 * p->n_steps + i) * T,
              *next = plan->shares + ((run + 1) % 2 * p->n_steps + i) * T;
        kp_slices slices;
        int64_t begin, end, total = (int64_t)p->P * s->n_slices;
        atomic_store_explicit(&next[thread].next, 0, memory_order_relaxed);
        while (take(now, T, thread, total, 1, &begin, &end))
            for (int64_t k = begin; k < end; k += slices.end - slices.begin) {
                int member = (int)(k / s->n_slices), to_go = (int)(end - k);
                slices.begin = (int)(k % s->n_slices);
                slices.end = s->n_slices - slices.begin < to_go ? s->n_slices
                                                                : slices.begin + to_go;
                if (is_active(j, member)) s->op->cpu(s->args, member, slices, scratch);
            }
        kp_pool_barrier(j->pool);
    }
}

static kp_status cpu_run(void *impl, kp_program *p, int n, const uint8_t *active, kp_err *err) {
    (void)err;
    cpu *c = impl;
    const cpu_plan *plan = p->plan;
    job j = { c->pool, p, n, active };
    int T = kp_pool_n_threads(c->pool);
    int even = p->P % T == 0 || p->P >= 4 * T;
    for (int i = 0; i < (even ? 1 : p->n_steps) * T; i++)
        atomic_store_explicit(&plan->shares[i].next, 0, memory_order_relaxed);
    kp_pool_run(c->pool, even ? members_over_threads : slices_over_threads, &j);
    return KP_OK;
}

const kp_backend_ops kp_backend_cpu = {
    .kind = KP_CPU,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = copy,
    .download = copy,
    .sync = cpu_sync,
    .available = cpu_available,
    .map = cpu_map,
    .unmap = cpu_unmap,
    .landing_open = cpu_landing_open,
    .land = copy,
    .landed = cpu_landed,
    .landing_close = cpu_release,
    .plan = cpu_plan_program,
    .run = cpu_run,
    .unplan = cpu_unplan,
};
