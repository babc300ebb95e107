/* count_allocations.h: how often this program asked for memory; its target has the linker wrap the
 * functions (tests/learn/CMakeLists.txt). */
#pragma once
#include <stdint.h>
#include <stdlib.h>

static _Atomic int64_t n_allocations;

#define COUNT(type, function, parameters, ...)                                                     \
    type __real_##function parameters;                                                             \
    type __wrap_##function parameters;                                                             \
    type __wrap_##function parameters {                                                            \
        n_allocations++;                                                                           \
        return __real_##function(__VA_ARGS__);                                                     \
    }
COUNT(void *, malloc, (size_t bytes), bytes)
COUNT(void *, calloc, (size_t n, size_t bytes), n, bytes)
COUNT(void *, realloc, (void *memory, size_t bytes), memory, bytes)
COUNT(void *, aligned_alloc, (size_t align, size_t bytes), align, bytes)
COUNT(int, posix_memalign, (void **memory, size_t align, size_t bytes), memory, align, bytes)
#undef COUNT
