/* hostcuda.cpp: the scheduler behind hostcuda.h. Built without sanitizers: it tells them about
 * fibers (HOSTCUDA_ASAN, HOSTCUDA_TSAN) and is not to be watched itself.
 *
 * For TSan, consecutive blocks use two sets of fibers in turn, and a fiber learns of nothing but the
 * launch: so an access by one block is not ordered before one by the next. */
#include "hostcuda.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <vector>

extern "C" {
#ifdef HOSTCUDA_ASAN
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
#endif
#ifdef HOSTCUDA_TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *);
void __tsan_release(void *);
#else
static void __tsan_acquire(void *) {}
static void __tsan_release(void *) {}
#endif
void hostcuda_switch(void **save_sp, void *to_sp);
}

#if !defined(__x86_64__)
#error "hostcuda: hostcuda_switch and first_frame are written for x86-64"
#endif
asm(".text\n.globl hostcuda_switch\n.type hostcuda_switch, @function\nhostcuda_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size hostcuda_switch, . - hostcuda_switch\n");

enum { STACK = 128 << 10, MAX_THREADS = 1024, MAX_CLUSTER = 16, MAX_SHARED = 16, SHARED_BYTES = 48 << 10 };
enum state { READY, AT_BARRIER, AT_CLUSTER, IN_WARP, DONE };

struct piece { /* of shared memory */
    const void *key;
    char *memory;
    size_t bytes;
};

/* One of those that run together: a cluster's, or one alone. */
struct block {
    uint3 index;
    struct fiber *fibers; /* [n_threads] */
    piece shared[MAX_SHARED];
    size_t shared_bytes;
    int n_done, has_begun;
    char barrier[2]; /* see below */
};

struct fiber {
    state at;
    block *of;
    uint3 thread;
    void *sp;
    char *stack;
    const char *file; /* of the barrier or warp operation it waits in */
    int line;
    uint32_t mask;
    int from;
    uint64_t in, out;
    unsigned n_barriers[2]; /* of its block, of its cluster */
    void *asan, *tsan;
};

hostcuda_place hostcuda_now;

static fiber fibers[2][MAX_CLUSTER * MAX_THREADS], *set = fibers[0], *current;
static block cluster[MAX_CLUSTER];
static int n_threads, n_blocks; /* of a block, of a cluster */
static size_t dynamic_bytes;
static unsigned order;
static uint64_t random_state;
static struct { void (*body)(void *); void *context; } kernel;
static struct { void *sp, *asan, *tsan; const void *bottom; size_t size; } host;

/* Addresses that TSan knows as locks. Barriers alternate between two: else a slow thread's acquire
 * would see what a fast one released at the next. */
static char launched, finished, made_shared, cluster_barrier[2];

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "hostcuda: block (%u,%u,%u): ", blockIdx.x, blockIdx.y, blockIdx.z);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    _Exit(97);
}

void hostcuda_order(unsigned o) {
    order = o;
    random_state = o;
}

int hostcuda_cluster() { return n_blocks; }

static int below(int n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int)((random_state >> 33) % (unsigned)n);
}

/* ---- fibers ----------------------------------------------------------------------------------- */

static void to_host(fiber *f) {
#ifdef HOSTCUDA_TSAN
    __tsan_switch_to_fiber(host.tsan, 1);
#endif
#ifdef HOSTCUDA_ASAN
    __sanitizer_start_switch_fiber(f->at == DONE ? nullptr : &f->asan, host.bottom, host.size);
#endif
    hostcuda_switch(&f->sp, host.sp);
#ifdef HOSTCUDA_ASAN
    __sanitizer_finish_switch_fiber(f->asan, nullptr, nullptr);
#endif
}

static void entry() {
    fiber *f = current;
#ifdef HOSTCUDA_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &host.bottom, &host.size);
#endif
    __tsan_acquire(&launched);
    kernel.body(kernel.context);
    __tsan_release(&finished);
    f->at = DONE;
    to_host(f);
    abort();
}

/* Six registers, then where to return to; entry begins as if called: sp = 8 modulo 16. */
static void first_frame(fiber *f) {
    if (!f->stack) {
        f->stack = (char *)mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->stack == MAP_FAILED) die("no memory for stacks");
    }
    void **sp = (void **)(f->stack + STACK) - 8;
    memset(sp, 0, 8 * sizeof *sp);
    sp[6] = (void *)entry;
    f->sp = sp;
#ifdef HOSTCUDA_TSAN
    if (!f->tsan) f->tsan = __tsan_create_fiber(0);
#endif
}

static void resume(fiber *f) {
    current = f;
    threadIdx = f->thread;
    blockIdx = f->of->index;
    f->of->has_begun = 1;
#ifdef HOSTCUDA_TSAN
    __tsan_switch_to_fiber(f->tsan, 1);
#endif
#ifdef HOSTCUDA_ASAN
    __sanitizer_start_switch_fiber(&host.asan, f->stack, STACK);
#endif
    hostcuda_switch(&host.sp, f->sp);
#ifdef HOSTCUDA_ASAN
    __sanitizer_finish_switch_fiber(host.asan, nullptr, nullptr);
#endif
}

static void wait(fiber *f, state at, char *lock, const char *file, int line) {
    f->at = at, f->file = file, f->line = line;
    __tsan_release(lock);
    to_host(f);
    __tsan_acquire(lock);
}

/* ---- what kernels call ------------------------------------------------------------------------ */

void hostcuda_syncthreads(const char *file, int line) {
    wait(current, AT_BARRIER, &current->of->barrier[current->n_barriers[0]++ & 1], file, line);
}

void hostcuda_cluster_sync(const char *file, int line) {
    wait(current, AT_CLUSTER, &cluster_barrier[current->n_barriers[1]++ & 1], file, line);
}

int hostcuda_cluster_rank() { return (int)(current->of - cluster); }

/* The last lane to come computes for all. */
static void finish_warp_op(fiber *lanes, uint32_t mask) {
    uint32_t sum = 0;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) sum += (uint32_t)lanes[i].in;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) lanes[i].out = lanes[i].from < 0 ? sum : lanes[lanes[i].from].in, lanes[i].at = READY;
}

/* from: the lane whose value the caller wants; -1: the sum of all. */
static uint64_t warp_op(uint32_t mask, uint64_t value, int from, const char *file, int line) {
    fiber *f = current, *first = f->of->fibers, *lanes = first + (f - first) / 32 * 32;
    if (!(mask >> (f - lanes) & 1)) die("%s:%d: lane %d is not in its mask %08x", file, line, (int)(f - lanes), mask);
    if (from >= 0 && !(mask >> from & 1)) die("%s:%d: lane %d is read, and not in the mask %08x", file, line, from, mask);
    f->mask = mask, f->in = value, f->from = from;
    int missing = 0;
    for (int i = 0; i < 32; i++) {
        fiber *g = &lanes[i];
        if (!(mask >> i & 1) || g == f) continue;
        if (g - first >= n_threads) die("%s:%d: lane %d of mask %08x does not exist", file, line, i, mask);
        if (g->at != IN_WARP) missing = 1;
        else if (g->mask != mask || g->line != line || (g->file != file && strcmp(g->file, file)))
            die("%s:%d: lane %d is at %s:%d, mask %08x, instead", file, line, i, g->file, g->line, g->mask);
    }
    f->at = IN_WARP, f->file = file, f->line = line;
    if (!missing) finish_warp_op(lanes, mask);
    to_host(f);
    return f->out;
}

uint32_t hostcuda_reduce_add(uint32_t mask, uint32_t value, const char *file, int line) {
    return (uint32_t)warp_op(mask, value, -1, file, line);
}

uint64_t hostcuda_shuffle(const char *file, int line, uint32_t mask, uint64_t value, int from, int width) {
    int lane = (int)(current - current->of->fibers) % 32;
    return warp_op(mask, value, lane / width * width + from % width, file, line);
}

static piece *find_piece(block *b, const void *key, size_t bytes) {
    for (piece *p = b->shared; p < b->shared + MAX_SHARED; p++) {
        if (p->key == key) return p;
        if (p->key) continue;
        b->shared_bytes += bytes;
        if (b->shared_bytes > SHARED_BYTES + dynamic_bytes)
            die("%zu bytes of shared memory, %zu are possible", b->shared_bytes, SHARED_BYTES + dynamic_bytes);
        *p = { key, (char *)malloc(bytes), bytes }; /* anew for each block: nothing that sanitizers know stays */
        if (!p->memory) die("no memory");
        memset(p->memory, 0xFF, bytes);
        __tsan_release(&made_shared);
        return p;
    }
    die("more than %d pieces of shared memory", MAX_SHARED);
}

void *hostcuda_shared(const void *key, size_t bytes) {
    piece *p = find_piece(current->of, key, bytes);
    __tsan_acquire(&made_shared);
    return p->memory;
}

void *hostcuda_dynamic_shared() { return hostcuda_shared(&dynamic_bytes, dynamic_bytes); }

void *hostcuda_cluster_at(const void *at, int rank, const char *file, int line) {
    if (rank < 0 || rank >= n_blocks) die("%s:%d: block %d of a cluster of %d", file, line, rank, n_blocks);
    for (const piece &p : current->of->shared) {
        if (!p.key || (const char *)at < p.memory || (const char *)at >= p.memory + p.bytes) continue;
        block *b = &cluster[rank];
        if (!b->has_begun) die("%s:%d: memory of block %d of the cluster, which may not have begun", file, line, rank);
        if (b->n_done == n_threads) die("%s:%d: memory of block %d of the cluster, which has returned", file, line, rank);
        piece *theirs = find_piece(b, p.key, p.bytes);
        __tsan_acquire(&made_shared);
        return theirs->memory + ((const char *)at - p.memory);
    }
    die("%s:%d: an address that is not of the block's shared memory", file, line);
}

/* ---- blocks and grids ------------------------------------------------------------------------- */

static void open(int n, fiber *waiting) {
    for (int i = 0; i < n; i++)
        if (waiting[i].at != DONE) waiting[i].at = READY;
}

/* All that can be resumed of the block has been: what are the others waiting for? Opens its barrier if
 * they are there; else they are at the cluster's, or have returned. */
static int open_barrier(block *b) {
    fiber *done = nullptr, *waiting = nullptr;
    for (int i = 0; i < n_threads; i++) {
        fiber *f = &b->fibers[i];
        blockIdx = b->index;
        if (f->at == IN_WARP)
            die("deadlock: thread %d waits at %s:%d for lanes (mask %08x) that do not come", i, f->file, f->line, f->mask);
        if (f->at == DONE) {
            done = f;
            continue;
        }
        if (waiting && (waiting->line != f->line || strcmp(waiting->file, f->file)))
            die("divergent barrier: thread %d is at %s:%d, thread %d at %s:%d", (int)(waiting - b->fibers), waiting->file, waiting->line, i, f->file, f->line);
        waiting = f;
    }
    if (done && waiting)
        die("divergent barrier: thread %d is at %s:%d, thread %d has returned", (int)(waiting - b->fibers), waiting->file, waiting->line, (int)(done - b->fibers));
    if (!waiting || waiting->at != AT_BARRIER) return 0;
    open(n_threads, b->fibers);
    return 1;
}

static void begin_block(block *b, fiber *its, uint3 index, dim3 size) {
    *b = {};
    b->index = index;
    b->fibers = its;
    for (int i = 0; i < n_threads; i++) {
        fiber *f = &its[i];
        first_frame(f);
        f->at = READY;
        f->of = b;
        f->n_barriers[0] = f->n_barriers[1] = 0;
        f->thread = { i % size.x, i / size.x % size.y, i / (size.x * size.y) };
    }
}

/* Its shared memory is gone; who still has its address finds NaN, or is reported. */
static void end_block(block *b) {
    __tsan_acquire(&finished);
    for (piece &p : b->shared) {
        if (p.memory) memset(p.memory, 0xFF, p.bytes);
#ifdef HOSTCUDA_ASAN
        free(p.memory);
        p.memory = nullptr;
#endif
    }
}

static void shuffle(int *turn, int n) {
    for (int i = n - 1; order > 1 && i > 0; i--) {
        int k = below(i + 1), t = turn[i];
        turn[i] = turn[k], turn[k] = t;
    }
}

static void in_order(int *turn, int n) {
    for (int i = 0; i < n; i++) turn[i] = order == 1 ? n - 1 - i : i;
}

/* Every thread of the block that can goes on to where it waits. */
static int run_round(block *b) {
    static int turn[MAX_THREADS];
    int n_ran = 0;
    in_order(turn, n_threads);
    shuffle(turn, n_threads);
    for (int i = 0; i < n_threads; i++) {
        fiber *f = &b->fibers[turn[i]];
        if (f->at != READY) continue;
        resume(f);
        n_ran++;
        b->n_done += f->at == DONE;
    }
    if (n_ran && b->n_done == n_threads) end_block(b);
    return n_ran;
}

/* A block runs until it waits for the others, or in shuffled orders for some while. Blocks that have
 * returned are not waited for, as on the device. */
static void run_cluster() {
    int turn[MAX_CLUSTER], n_done = 0;
    in_order(turn, n_blocks);
    while (n_done < n_blocks) {
        int n_ran = 0;
        shuffle(turn, n_blocks);
        for (int i = 0; i < n_blocks; i++) {
            block *b = &cluster[turn[i]];
            int before = b->n_done == n_threads;
            while (run_round(b) || open_barrier(b)) {
                n_ran++;
                if (order > 1 && below(2)) break;
            }
            n_done += !before && b->n_done == n_threads;
        }
        if (!n_ran) open(n_blocks * n_threads, set);
    }
    __tsan_acquire(&finished);
    for (int b = 0; b < n_blocks; b++)
        for (piece &p : cluster[b].shared) free(p.memory);
}

static uint3 place_of(int64_t block, dim3 grid) {
    return { (unsigned)(block % grid.x), (unsigned)(block / grid.x % grid.y),
             (unsigned)(block / ((int64_t)grid.x * grid.y)) };
}

static void run_grid(const hostcuda_shape &shape, void (*body)(void *), void *context) {
    const dim3 grid = shape.grid, size = shape.block;
    n_threads = (int)(size.x * size.y * size.z);
    n_blocks = (int)shape.cluster;
    dynamic_bytes = shape.shared_bytes;
    kernel = { body, context };
    blockDim = size, gridDim = grid;
#ifdef HOSTCUDA_TSAN
    host.tsan = __tsan_get_current_fiber();
#endif
    __tsan_release(&launched);
    int64_t n = (int64_t)grid.x * grid.y * grid.z / n_blocks;
    for (int64_t k = 0; k < n; k++) {
        int64_t i = order == 1 ? n - 1 - k : k;
        set = fibers[k % 2];
        for (int b = 0; b < n_blocks; b++)
            begin_block(&cluster[b], set + b * n_threads, place_of(i * n_blocks + b, grid), size);
        run_cluster();
    }
}

struct alignas(16) launch { /* the body's context follows */
    hostcuda_shape shape;
    void (*body)(void *);
};

static void run_launch(void *self) {
    auto *l = static_cast<launch *>(self);
    run_grid(l->shape, l->body, l + 1);
}

static int is_possible(const hostcuda_shape &s) {
    const dim3 &grid = s.grid, &block = s.block;
    return grid.x && grid.y && grid.z && grid.x <= 0x7FFFFFFFu && grid.y <= 65535 && grid.z <= 65535 &&
           block.x && block.y && block.z && block.z <= 64 &&
           (uint64_t)block.x * block.y * block.z <= MAX_THREADS &&
           s.cluster && s.cluster <= MAX_CLUSTER && grid.x % s.cluster == 0 &&
           (s.cluster == 1 || hostcuda_has.major >= 9) &&
           s.shared_bytes <= (size_t)hostcuda_has.shared_bytes;
}

int hostcuda_most_clusters(hostcuda_shape shape) {
    return is_possible(shape) ? hostcuda_has.multiprocessors / (int)shape.cluster : 0;
}

cudaError_t hostcuda_launch(hostcuda_shape shape, cudaStream_t stream, void (*body)(void *), void *context,
                            size_t bytes) {
    if (!is_possible(shape)) return cudaErrorInvalidConfiguration;
    if (!stream) {
        cudaError_t code = hostcuda_legacy();
        if (!code) run_grid(shape, body, context);
        return code;
    }
    std::vector<launch> copy(1 + (bytes + sizeof(launch) - 1) / sizeof(launch));
    copy[0] = { shape, body };
    memcpy(copy.data() + 1, context, bytes);
    return hostcuda_enqueue_kernel(stream, run_launch, copy.data(), sizeof(launch) + bytes,
                                   sizeof(launch) + sizeof(void *));
}
