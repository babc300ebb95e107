/* program.h: a fixed list of operations, planned once and run many times.
 *
 *     kp_program *update = NULL;
 *     st = kp_program_open(&update, backend, P, "update", &err);
 *     if (!st) st = KP_ADD(update, &err, adam_clip, .P = P, .theta = theta, ...);
 *     if (!st) st = kp_program_seal(update, &err);
 *     while (!st && more) st = kp_program_run(update, NULL, &err);
 *     kp_program_close(update);
 *
 * Pointers and shapes are fixed when an operation is added; all that changes from run to run
 * (minibatch, hyperparameters, step counts) lies in the memory they point to. So the CPU backend
 * allocates nothing while it runs, and the CUDA backend replays one graph.
 *
 * On the CPU a program over P members on T threads runs member by member where members fill the
 * threads, step by step where they do not. The results are the same bits either way. */
#pragma once
#include <stdint.h>

#include "ops.h"

typedef struct kp_backend kp_backend;
typedef struct kp_program kp_program;

/* name is borrowed for the life of the program and used in messages. */
kp_status kp_program_open(kp_program **program, kp_backend *backend, int P, const char *name,
                          kp_err *err);

/* Appends an operation; copies args. The operation's P must equal the program's. */
kp_status kp_program_add(kp_program *program, const kp_op *op, const void *args, kp_err *err);

/* Plans scratch memory; captures the graph on CUDA. Nothing may be added after. */
kp_status kp_program_seal(kp_program *program, kp_err *err);

/* Runs every operation in order. active: [P] host, 0 leaves that member's memory untouched; NULL
 * runs all. On the CPU the results are there on return; on CUDA after kp_backend_sync. */
kp_status kp_program_run(kp_program *program, const uint8_t *active, kp_err *err);

/* The same n times, n >= 1, with nothing of the host's in between: what differs from run to run follows
 * from what earlier runs left. On the CPU a member has all of its runs at once where members fill the
 * threads, so that its state stays in the cache. */
kp_status kp_program_repeat(kp_program *program, int n, const uint8_t *active, kp_err *err);

int kp_program_n_ops(const kp_program *program);
void kp_program_close(kp_program *program); /* NULL is fine */

#define KP_ADD(program, err, op, ...)                                                             \
    kp_program_add(program, kp_op_get(KP_OP_##op), &(kp_##op##_args){ __VA_ARGS__ }, err)
