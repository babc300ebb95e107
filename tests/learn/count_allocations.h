/* count_allocations.h: how often this program asked for memory; its target has the linker wrap the
 * functions (tests/learn/CMakeLists.txt). */
#pragma once
#include <stdint.h>
#include <stdlib.h>

static _Atomic int64_t n_allocations;

#define COUNT(function, parameters, ...)                                                           \
    void *__real_##function parameters;                                                            \
    void *__wrap_##function parameters;                                                            \
    void *__wrap_##function parameters {                                                           \
        n_allocations++;                                                                           \
        return __real_##function(__VA_ARGS__);                                                     \
    }
COUNT(malloc, (size_t bytes), bytes)
COUNT(calloc, (size_t n, size_t bytes), n, bytes)
COUNT(realloc, (void *memory, size_t bytes), memory, bytes)
COUNT(aligned_alloc, (size_t align, size_t bytes), align, bytes)
#undef COUNT
