/* cpu_features.h: the vector width this processor has, found once at run time.
 *
 * KAPPA_ISA=generic|avx2|avx512 in the environment lowers it (never raises it), for tests.
 * Kernels that are compiled for several widths give the same bits for each, because every sum runs
 * in the order of its index; where one does not, its header says so. */
#pragma once

typedef enum { KP_ISA_GENERIC, KP_ISA_AVX2, KP_ISA_AVX512 } kp_isa_level;

kp_isa_level kp_isa(void);
const char *kp_isa_name(kp_isa_level level); /* "generic", "AVX2", "AVX-512" */
