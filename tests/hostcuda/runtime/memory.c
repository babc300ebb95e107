/* memory.c: device memory that the host cannot touch, and pinned memory.
 *
 * An allocation is a mapping of its own, | closed | memory | closed |, whose memory ends, but for
 * what alignment takes, where the closed page begins. Freed ones stay mapped and closed. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "runtime_impl.h"

enum { ALIGN = 256, PAGE = 4096, MAX_ALLOCATIONS = 4096, POISONED_BYTES = 4 << 20 };
enum { FREED, DEVICE, PINNED, REGISTERED }; /* registered: page-locked memory of others */

typedef struct {
    int is, device;
    char *at;
    size_t bytes, pages_bytes; /* pages: between the closed ones */
} allocation;

static allocation list[MAX_ALLOCATIONS];
static int n_list;
static const char *running; /* who may touch device memory; NULL: nobody */

static char *pages_of(const allocation *a) { return a->at - (uintptr_t)a->at % PAGE; }

/* ---- who touches what is closed ---- */

static const allocation *find_mapping(const char *at) {
    for (int i = 0; i < n_list; i++) {
        if (list[i].is == PINNED || list[i].is == REGISTERED) continue;
        char *pages = pages_of(&list[i]);
        if (at >= pages - PAGE && at < pages + list[i].pages_bytes + PAGE) return &list[i];
    }
    return NULL;
}

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    const char *at = info->si_addr;
    const allocation *a = find_mapping(at);
    int writes = (((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
    if (!a) { /* not ours: let it happen again, without us */
        signal(signal_number, SIG_DFL);
        return;
    }
    const char *where = a->is == FREED                         ? "freed device memory"
                        : at >= a->at && at < a->at + a->bytes ? "device memory"
                                                               : "what lies beside device memory";
    hostcuda_stop("%s %s of %s: byte %td of %zu", running ? running : "host",
                  writes ? "write" : "read", where, at - a->at, a->bytes);
}

static void catch_faults(void) {
    static int caught;
    if (caught) return;
    caught = 1;
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    sigaction(SIGSEGV, &action, NULL);
}

static void protect_all(int protection) {
    for (int i = 0; i < n_list; i++)
        if (list[i].is == DEVICE && mprotect(pages_of(&list[i]), list[i].pages_bytes, protection))
            hostcuda_stop("mprotect failed");
}

void hostcuda_open_memory(const char *who) {
    if (!running) protect_all(PROT_READ | PROT_WRITE);
    running = who;
}

void hostcuda_close_memory(void) {
    protect_all(PROT_NONE);
    running = NULL;
}

/* ---- what lies where ---- */

static const allocation *find_live(const void *at, int is) {
    for (int i = 0; i < n_list; i++)
        if (list[i].is == is && (const char *)at >= list[i].at &&
            (const char *)at < list[i].at + list[i].bytes)
            return &list[i];
    return NULL;
}

int hostcuda_is_device(const void *at, size_t bytes) {
    const allocation *a = find_live(at, DEVICE);
    return a && bytes <= (size_t)(a->at + a->bytes - (const char *)at);
}

int hostcuda_touches_device(const void *at, size_t bytes) {
    for (int i = 0; i < n_list; i++)
        if (list[i].is == DEVICE && (const char *)at < list[i].at + list[i].bytes &&
            list[i].at < (const char *)at + bytes)
            return 1;
    return 0;
}

static int is_mapped(uintptr_t at) {
    unsigned char resident;
    return !mincore((void *)(at / PAGE * PAGE), 1, &resident);
}

/* Words that are addresses of this process, by their value: no count of elements lies there. Those
 * whose lower half is small may be a count with what was left in the padding after it. */
void hostcuda_check_arguments(const char *from, const char *end) {
    const uintptr_t least = 0x550000000000, most = 0x7fffffffffff;
    for (; from + sizeof(uintptr_t) <= end; from += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, from, sizeof word);
        const char *at = (const char *)word;
        if (word < least || word > most || (uint32_t)word < 1u << 16 || find_live(at, DEVICE) ||
            find_live(at, PINNED) || find_live(at, REGISTERED))
            continue;
        const allocation *a = find_mapping(at);
        if (a && a->is == FREED) hostcuda_stop("kernel is given an address of freed device memory");
        if (!a && is_mapped(word)) hostcuda_stop("kernel is given the host address %p", at);
    }
}

/* ---- the calls ---- */

static size_t n_free(void) {
    size_t n = hostcuda_has.memory;
    for (int i = 0; i < n_list; i++)
        if (list[i].is == DEVICE && list[i].device == hostcuda_current())
            n -= (list[i].bytes + ALIGN - 1) / ALIGN * ALIGN;
    return n;
}

int hostcuda_n_allocations(void) {
    int n = 0;
    for (int i = 0; i < n_list; i++) n += list[i].is != FREED;
    return n;
}

static allocation *new_allocation(int is, size_t bytes) {
    if (n_list == MAX_ALLOCATIONS) hostcuda_stop("%d allocations", n_list);
    list[n_list] = (allocation){ .is = is, .device = hostcuda_current(), .bytes = bytes };
    hostcuda_did.allocations++;
    return &list[n_list++];
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    HOSTCUDA_BEGIN();
    if (!free_bytes || !total) return hostcuda_say(cudaErrorInvalidValue);
    *free_bytes = n_free();
    *total = hostcuda_has.memory;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!memory) return hostcuda_say(cudaErrorInvalidValue);
    *memory = NULL;
    if (!bytes) return cudaSuccess;
    size_t aligned = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (aligned < bytes || aligned > n_free()) return hostcuda_say(cudaErrorMemoryAllocation);
    size_t pages = (aligned + PAGE - 1) / PAGE * PAGE;
    char *map = mmap(NULL, pages + (size_t)2 * PAGE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return hostcuda_say(cudaErrorMemoryAllocation);
    catch_faults();
    allocation *a = new_allocation(DEVICE, bytes);
    a->at = map + PAGE + (pages - aligned);
    a->pages_bytes = pages;
    mprotect(map + PAGE, pages, PROT_READ | PROT_WRITE);
    memset(a->at, 0xFF, bytes < POISONED_BYTES ? bytes : POISONED_BYTES);
    mprotect(map + PAGE, pages, PROT_NONE);
    *memory = a->at;
    return cudaSuccess;
}

static allocation *find_start(const void *memory, int is) {
    for (int i = 0; i < n_list; i++)
        if (list[i].is == is && list[i].at == memory) return &list[i];
    return NULL;
}

/* Waits for all that was asked for, as the real one is known to. */
cudaError_t cudaFree(void *memory) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!memory) return cudaSuccess;
    allocation *a = find_start(memory, DEVICE);
    if (!a) return hostcuda_say(cudaErrorInvalidValue);
    cudaError_t code = hostcuda_drain_all();
    madvise(pages_of(a), a->pages_bytes, MADV_DONTNEED);
    a->is = FREED;
    return hostcuda_say(code);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!memory || !bytes || flags != cudaHostAllocDefault)
        return hostcuda_say(cudaErrorInvalidValue);
    allocation *a = new_allocation(PINNED, bytes);
    a->at = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    if (!a->at) hostcuda_stop("no memory");
    *memory = a->at;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!memory) return cudaSuccess;
    allocation *a = find_start(memory, PINNED);
    if (!a) return hostcuda_say(cudaErrorInvalidValue);
    cudaError_t code = hostcuda_drain_all();
    free(a->at);
    a->is = FREED, a->at = NULL, a->pages_bytes = 0;
    return hostcuda_say(code);
}

/* The device sees it where the host does. */
cudaError_t cudaHostRegister(void *memory, size_t bytes, unsigned flags) {
    HOSTCUDA_BEGIN_UNSAFE();
    if (!memory || !bytes || (uintptr_t)memory % PAGE || flags != cudaHostRegisterMapped ||
        hostcuda_touches_device(memory, bytes))
        return hostcuda_say(cudaErrorInvalidValue);
    if (find_live(memory, PINNED) || find_live(memory, REGISTERED))
        return hostcuda_say(cudaErrorHostMemoryAlreadyRegistered);
    new_allocation(REGISTERED, bytes)->at = memory;
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *memory) {
    HOSTCUDA_BEGIN_UNSAFE();
    allocation *a = find_start(memory, REGISTERED);
    if (!a) return hostcuda_say(cudaErrorHostMemoryNotRegistered);
    a->is = FREED, a->at = NULL;
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void **device, void *memory, unsigned flags) {
    HOSTCUDA_BEGIN();
    if (!device || flags || !find_live(memory, REGISTERED))
        return hostcuda_say(cudaErrorInvalidValue);
    *device = memory;
    return cudaSuccess;
}
