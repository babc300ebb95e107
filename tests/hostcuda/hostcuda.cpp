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

enum { STACK = 128 << 10, MAX_THREADS = 1024, MAX_SHARED = 16, SHARED_BYTES = 48 << 10 };
enum state { READY, AT_BARRIER, IN_WARP, DONE };

struct fiber {
    state at;
    uint3 thread;
    void *sp;
    char *stack;
    const char *file; /* of the barrier or warp operation it waits in */
    int line;
    uint32_t mask;
    int from;
    uint64_t in, out;
    unsigned n_barriers;
    void *asan, *tsan;
};

hostcuda_place hostcuda_now;

static fiber fibers[2][MAX_THREADS], *set = fibers[0], *current;
static int n_threads;
static unsigned order;
static uint64_t random_state;
static struct { void (*body)(void *); void *context; } kernel;
static struct { const void *key; void *memory; } shared[MAX_SHARED];
static size_t shared_bytes;
static struct { void *sp, *asan, *tsan; const void *bottom; size_t size; } host;

/* Addresses that TSan knows as locks. Barriers alternate between two: else a slow thread's acquire
 * would see what a fast one released at the next. */
static char launched, finished, made_shared, barrier[2];

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
    wait(current, AT_BARRIER, &barrier[current->n_barriers++ & 1], file, line);
}

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
    fiber *f = current, *lanes = set + (f - set) / 32 * 32;
    if (!(mask >> (f - lanes) & 1)) die("%s:%d: lane %d is not in its mask %08x", file, line, (int)(f - lanes), mask);
    if (from >= 0 && !(mask >> from & 1)) die("%s:%d: lane %d is read, and not in the mask %08x", file, line, from, mask);
    f->mask = mask, f->in = value, f->from = from;
    int missing = 0;
    for (int i = 0; i < 32; i++) {
        fiber *g = &lanes[i];
        if (!(mask >> i & 1) || g == f) continue;
        if (g - set >= n_threads) die("%s:%d: lane %d of mask %08x does not exist", file, line, i, mask);
        if (g->at != IN_WARP) missing = 1;
        else if (g->mask != mask || g->line != line || strcmp(g->file, file))
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
    int lane = (int)(current - set) % 32;
    return warp_op(mask, value, lane / width * width + from % width, file, line);
}

void *hostcuda_shared(const void *key, size_t bytes) {
    for (int i = 0; i < MAX_SHARED; i++) {
        if (shared[i].key == key) {
            __tsan_acquire(&made_shared);
            return shared[i].memory;
        }
        if (shared[i].key) continue;
        shared_bytes += bytes;
        if (shared_bytes > SHARED_BYTES) die("%zu bytes of shared memory, %d are possible", shared_bytes, SHARED_BYTES);
        shared[i].key = key;
        shared[i].memory = malloc(bytes); /* anew for each block: nothing that sanitizers know stays */
        if (!shared[i].memory) die("no memory");
        memset(shared[i].memory, 0xFF, bytes);
        __tsan_release(&made_shared);
        return shared[i].memory;
    }
    die("more than %d pieces of shared memory", MAX_SHARED);
}

/* ---- blocks and grids ------------------------------------------------------------------------- */

/* All that can be resumed has been: what are the others waiting for? */
static void open_barrier() {
    int n_done = 0, n_barrier = 0;
    fiber *done = nullptr, *waiting = nullptr;
    for (int i = 0; i < n_threads; i++) {
        fiber *f = &set[i];
        if (f->at == IN_WARP)
            die("deadlock: thread %d waits at %s:%d for lanes (mask %08x) that do not come", i, f->file, f->line, f->mask);
        if (f->at == DONE) n_done++, done = f;
        if (f->at != AT_BARRIER) continue;
        if (waiting && (waiting->line != f->line || strcmp(waiting->file, f->file)))
            die("divergent barrier: thread %d is at %s:%d, thread %d at %s:%d", (int)(waiting - set), waiting->file, waiting->line, i, f->file, f->line);
        waiting = f;
        n_barrier++;
    }
    if (n_done && n_barrier)
        die("divergent barrier: thread %d is at %s:%d, thread %d has returned", (int)(waiting - set), waiting->file, waiting->line, (int)(done - set));
    for (int i = 0; i < n_threads; i++)
        if (set[i].at == AT_BARRIER) set[i].at = READY;
}

static void run_block(dim3 block) {
    static int turn[MAX_THREADS];
    for (int i = 0; i < n_threads; i++) {
        fiber *f = &set[i];
        first_frame(f);
        f->at = READY;
        f->n_barriers = 0;
        f->thread = { i % block.x, i / block.x % block.y, i / (block.x * block.y) };
        turn[i] = order == 1 ? n_threads - 1 - i : i;
    }
    for (int n_done = 0; n_done < n_threads;) {
        for (int i = n_threads - 1; order > 1 && i > 0; i--) {
            int k = below(i + 1), t = turn[i];
            turn[i] = turn[k], turn[k] = t;
        }
        int n_ran = 0;
        for (int i = 0; i < n_threads; i++)
            if (set[turn[i]].at == READY) {
                resume(&set[turn[i]]);
                n_done += set[turn[i]].at == DONE;
                n_ran++;
            }
        if (!n_ran) open_barrier();
    }
    __tsan_acquire(&finished);
    for (int i = 0; i < MAX_SHARED; i++) {
        free(shared[i].memory);
        shared[i] = {};
    }
    shared_bytes = 0;
}

static void run_grid(dim3 grid, dim3 block, void (*body)(void *), void *context) {
    n_threads = (int)(block.x * block.y * block.z);
    kernel = { body, context };
    blockDim = block, gridDim = grid;
#ifdef HOSTCUDA_TSAN
    host.tsan = __tsan_get_current_fiber();
#endif
    __tsan_release(&launched);
    int64_t n = (int64_t)grid.x * grid.y * grid.z;
    for (int64_t k = 0; k < n; k++) {
        int64_t i = order == 1 ? n - 1 - k : k;
        blockIdx = { (unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y),
                     (unsigned)(i / ((int64_t)grid.x * grid.y)) };
        set = fibers[k % 2];
        run_block(block);
    }
}

struct alignas(16) launch { /* the body's context follows */
    dim3 grid, block;
    void (*body)(void *);
};

static void run_launch(void *self) {
    auto *l = static_cast<launch *>(self);
    run_grid(l->grid, l->block, l->body, l + 1);
}

cudaError_t hostcuda_launch(dim3 grid, dim3 block, cudaStream_t stream, void (*body)(void *), void *context,
                            size_t bytes) {
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535 ||
        !block.x || !block.y || !block.z || block.z > 64 ||
        (uint64_t)block.x * block.y * block.z > MAX_THREADS)
        return cudaErrorInvalidConfiguration;
    if (!stream) {
        cudaError_t code = hostcuda_legacy();
        if (!code) run_grid(grid, block, body, context);
        return code;
    }
    std::vector<launch> copy(1 + (bytes + sizeof(launch) - 1) / sizeof(launch));
    copy[0] = { grid, block, body };
    memcpy(copy.data() + 1, context, bytes);
    return hostcuda_enqueue_kernel(stream, run_launch, copy.data(), sizeof(launch) + bytes,
                                   sizeof(launch) + sizeof(void *));
}
