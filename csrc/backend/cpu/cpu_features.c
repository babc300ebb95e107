/* cpu_features.c: see cpu_features.h. */
#include "cpu_features.h"

#include <stdlib.h>
#include <strings.h>

static kp_isa_level detect(void) {
    kp_isa_level have = KP_ISA_GENERIC;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) have = KP_ISA_AVX2;
    if (have == KP_ISA_AVX2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        have = KP_ISA_AVX512;
#endif
    const char *wish = getenv("KAPPA_ISA");
    if (!wish) return have;
    kp_isa_level want = have;
    if (!strcasecmp(wish, "generic")) want = KP_ISA_GENERIC;
    if (!strcasecmp(wish, "avx2")) want = KP_ISA_AVX2;
    return want < have ? want : have;
}

kp_isa_level kp_isa(void) {
    static int known = -1; /* every thread computes the same value */
    int level = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (level < 0) __atomic_store_n(&known, level = (int)detect(), __ATOMIC_RELAXED);
    return (kp_isa_level)level;
}

const char *kp_isa_name(kp_isa_level level) {
    static const char *const names[] = { "generic", "AVX2", "AVX-512" };
    return names[level];
}
