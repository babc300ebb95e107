/* actor.c: draw first, then run the network for the members that have a greedy action to take. */
#include "actor.h"

#include <stdlib.h>
#include <string.h>

#include "gather_stack/gather_stack.h"

struct kp_actor {
    kp_backend *backend;
    kp_actor_options o;
    uint64_t *seed; /* [P] */
    kp_pass *pass;
    kp_program *program;
    int64_t *index;  /* [P][E][stack] backend */
    int64_t *stacks; /* the same, host */
    float *q;        /* [P][E][A] host */
    uint8_t *needs;  /* [P] members with a greedy action this time */
};

kp_status kp_actor_open(kp_actor **out, kp_backend *backend, const kp_actor_options *o,
                        kp_err *err) {
    *out = NULL;
    kp_actor *a = calloc(1, sizeof *a);
    if (!a) return kp_fail(err, KP_BAD_CONFIG, "actor: out of host memory");
    size_t P = (size_t)o->P, lanes = P * (size_t)o->E, indices = lanes * (size_t)o->stack;
    a->backend = backend;
    a->o = *o;
    a->seed = calloc(P, sizeof *a->seed);
    a->stacks = calloc(indices, sizeof *a->stacks);
    a->q = calloc(lanes * (size_t)o->n_actions, sizeof *a->q);
    a->needs = calloc(P, 1);
    kp_status st = KP_OK;
    if (!a->seed || !a->stacks || !a->q || !a->needs)
        st = kp_fail(err, KP_BAD_CONFIG, "actor: out of host memory");
    if (!st) memcpy(a->seed, o->seed, P * sizeof *a->seed);
    if (!st)
        st = kp_backend_alloc(backend, (void **)&a->index, indices * sizeof *a->index,
                              "observations", err);
    if (!st) st = kp_pass_open(&a->pass, o->net, backend, o->P, o->E, 0, err);
    if (!st) st = kp_program_open(&a->program, backend, o->P, "act", err);
    if (!st)
        st = KP_ADD(a->program, err, gather_stack, .P = o->P, .B = o->E, .stack = o->stack,
                    .out = kp_net_input(o->net), .divide = o->divide, .frames = o->frames,
                    .frames_stride = o->frames_stride, .index = a->index,
                    .y = kp_pass_input(a->pass));
    if (!st) st = kp_pass_add_forward(a->pass, a->program, o->theta, err);
    if (!st) st = kp_program_seal(a->program, err);
    if (st) {
        kp_actor_close(a);
        return st;
    }
    *out = a;
    return KP_OK;
}

int64_t *kp_actor_stacks(kp_actor *a) { return a->stacks; }

enum { IDLE = -1, GREEDY = -2 };

/* Random actions are final; greedy ones are marked. Returns whether any is greedy. */
static int draw(kp_actor *a, const double *epsilon, uint64_t counter, int *action) {
    int any = 0;
    for (int p = 0; p < a->o.P; p++) {
        a->needs[p] = 0;
        for (int e = 0; e < a->o.E; e++) {
            int *act = &action[p * a->o.E + e];
            if (*act == IDLE) continue;
            kp_philox_block r = kp_philox(a->seed[p], a->o.stream,
                                          ((uint64_t)e << KP_ACTOR_ENV_SHIFT) + counter);
            if ((double)kp_uniform(r.x[0]) < epsilon[p])
                *act = (int)kp_below(r.x[1], r.x[2], (uint64_t)a->o.n_actions);
            else *act = GREEDY, a->needs[p] = 1;
        }
        any |= a->needs[p];
    }
    return any;
}

static int argmax(const float *q, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (q[i] > q[best]) best = i;
    return best;
}

kp_status kp_actor_act(kp_actor *a, const double *epsilon, uint64_t counter, int *action,
                       kp_err *err) {
    if (!draw(a, epsilon, counter, action)) return KP_OK;
    size_t lanes = (size_t)a->o.P * (size_t)a->o.E, A = (size_t)a->o.n_actions;
    kp_status st = kp_backend_upload(a->backend, a->index, a->stacks,
                                     lanes * (size_t)a->o.stack * sizeof *a->index, err);
    if (!st) st = kp_program_run(a->program, a->needs, err);
    if (!st)
        st = kp_backend_download(a->backend, a->q, kp_pass_output(a->pass),
                                 lanes * A * sizeof *a->q, err);
    if (st) return st;
    for (size_t i = 0; i < lanes; i++)
        if (action[i] == GREEDY) action[i] = argmax(a->q + i * A, (int)A);
    return KP_OK;
}

void kp_actor_close(kp_actor *a) {
    if (!a) return;
    kp_program_close(a->program);
    kp_pass_close(a->pass);
    kp_backend_release(a->backend, a->index);
    free(a->seed);
    free(a->stacks);
    free(a->q);
    free(a->needs);
    free(a);
}
