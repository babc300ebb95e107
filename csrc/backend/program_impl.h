/* program_impl.h: the inside of a program, for the backends only. */
#pragma once
#include "backend.h"

typedef struct {
    const kp_op *op;
    void *args;   /* op->args_bytes, owned by the program */
    int n_slices; /* of one member */
} kp_step;

struct kp_program {
    kp_backend *backend;
    const char *name;
    int P;
    int n_steps, capacity;
    kp_step *steps;
    int sealed;
    void *plan; /* the backend's own; freed by its unplan */
};
