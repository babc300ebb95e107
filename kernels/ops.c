/* ops.c: one row for each operation, one column for each vector width. */
#include "ops.h"

#include "backend/cpu/cpu_features.h"

#define DECLARE(name) extern const kp_op kp_op_##name##_generic, kp_op_##name##_avx2, kp_op_##name##_avx512;
KP_OPERATIONS(DECLARE)

#ifdef KAPPA_X86
#define ROW(name) { &kp_op_##name##_generic, &kp_op_##name##_avx2, &kp_op_##name##_avx512 },
#else
#define ROW(name) { &kp_op_##name##_generic, &kp_op_##name##_generic, &kp_op_##name##_generic },
#endif

static const kp_op *const ops[KP_N_OPS][3] = { KP_OPERATIONS(ROW) };

const kp_op *kp_op_get_isa(int id, int level) { return ops[id][level]; }

const kp_op *kp_op_get(int id) { return ops[id][kp_isa()]; }
