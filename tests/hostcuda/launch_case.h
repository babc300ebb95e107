/* launch_case.h: a row of tests/kernels, run by its operation's CUDA launcher under hostcuda and, from
 * the same inputs, by its CPU side. Used by the tests and by every planted bug. */
#pragma once
#include "kernels/op_case.h"

typedef kp_status kp_launcher(const void *args, const kp_cuda *cuda, kp_err *err);

enum { KP_LAUNCH_P = 3, KP_LAUNCH_ALL = 7 };

/* NULL: the operation has no CUDA side. */
kp_launcher *kp_launcher_of(int op);

/* 0 where every bit agrees (NaN with NaN), the state of members that are not active (bits) is as it
 * was and nothing was written outside the buffers; else 1, and says what is wrong. special: with
 * kp_case_make_special's inputs. */
int kp_launch_differs(const kp_op_row *row, unsigned active, int special, char *says, size_t size);
