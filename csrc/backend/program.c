/* program.c: building a list of operations; running it is the backend's part. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

#include "backend_impl.h"
#include "program_impl.h"

kp_status kp_program_open(kp_program **program, kp_backend *backend, int P, const char *name,
                          kp_err *err) {
    kp_program *p = calloc(1, sizeof *p);
    *program = NULL;
    if (!p) return kp_fail(err, KP_BAD_CONFIG, "program %s: out of host memory", name);
    p->backend = backend;
    p->name = name;
    p->P = P;
    *program = p;
    return KP_OK;
}

kp_status kp_program_add(kp_program *p, const kp_op *op, const void *args, kp_err *err) {
    int P = *(const int *)args;
    if (p->sealed)
        return kp_fail(err, KP_BAD_CONFIG, "program %s: %s added after sealing", p->name, op->name);
    if (P != p->P)
        return kp_fail(err, KP_BAD_CONFIG, "program %s: %s is for %d members, not %d", p->name,
                       op->name, P, p->P);
    if (p->n_steps == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 32;
        kp_step *steps = realloc(p->steps, (size_t)capacity * sizeof *steps);
        if (!steps) return kp_fail(err, KP_BAD_CONFIG, "program %s: out of host memory", p->name);
        p->steps = steps;
        p->capacity = capacity;
    }
    void *copy = malloc(op->args_bytes);
    if (!copy) return kp_fail(err, KP_BAD_CONFIG, "program %s: out of host memory", p->name);
    memcpy(copy, args, op->args_bytes);
    p->steps[p->n_steps++] = (kp_step){ op, copy, op->n_slices(copy) };
    return KP_OK;
}

kp_status kp_program_seal(kp_program *p, kp_err *err) {
    p->sealed = 1;
    return p->backend->ops->plan(p->backend->impl, p, err);
}

kp_status kp_program_run(kp_program *p, const uint8_t *active, kp_err *err) {
    return kp_program_repeat(p, 1, active, err);
}

kp_status kp_program_repeat(kp_program *p, int n, const uint8_t *active, kp_err *err) {
    return p->backend->ops->run(p->backend->impl, p, n, active, err);
}

int kp_program_n_ops(const kp_program *p) { return p->n_steps; }

void kp_program_close(kp_program *p) {
    if (!p) return;
    if (p->plan) p->backend->ops->unplan(p->backend->impl, p);
    for (int i = 0; i < p->n_steps; i++) free(p->steps[i].args);
    free(p->steps);
    free(p);
}
