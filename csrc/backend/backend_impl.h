/* backend_impl.h: the inside of a backend handle, for this folder only. */
#pragma once
#include "backend.h"

struct kp_backend {
    const kp_backend_ops *ops;
    void *impl;
    int n_threads;
    char description[192];
    void **memory; /* every live allocation, so that close frees what is left */
    int n_memory, capacity;
};
