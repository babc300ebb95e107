/* philox.h: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A number depends on (seed, stream, counter) and on nothing else, so the order in which members,
 * threads or workers draw never matters, and a checkpoint keeps counters only. Every use has its own
 * stream; the counter is the user's own step. */
#pragma once
#include <stdint.h>

#include "kp_kernel.h"

typedef enum { /* never renumber: streams are part of a run's identity */
    KP_STREAM_INIT = 1,      /* initial weights; counter: tensor << 40 | element / 4 */
    KP_STREAM_ACT = 2,       /* epsilon-greedy; counter: environment << 48 | agent step */
    KP_STREAM_SAMPLE = 3,    /* minibatches; counter: update << 16 | draw */
    KP_STREAM_ENV = 4,       /* seeds and no-op counts of training games */
    KP_STREAM_EVAL_ENV = 5,  /* the same of evaluation games */
    KP_STREAM_EVAL_ACT = 6,  /* evaluation's epsilon */
    KP_STREAM_NOISE = 7,     /* noise on weights (kernels/noise) */
    KP_STREAM_DATA = 8,      /* shuffles and permutations */
    KP_STREAM_BOOTSTRAP = 9, /* confidence intervals */
    KP_STREAM_UNITS = 10,    /* units that begin again (units/units.h) */
    KP_STREAM_TEST = 99
} kp_stream_id;

typedef struct { uint32_t x[4]; } kp_philox_block;

#define KP_PHILOX_ROUNDS 10
#define KP_PHILOX_K0     0x9E3779B9u /* what a round adds to the key */
#define KP_PHILOX_K1     0xBB67AE85u

KP_HD kp_philox_block kp_philox_round(kp_philox_block c, uint32_t k0, uint32_t k1) {
    uint64_t a = (uint64_t)0xD2511F53u * c.x[0], b = (uint64_t)0xCD9E8D57u * c.x[2];
    kp_philox_block next = { { (uint32_t)(b >> 32) ^ c.x[1] ^ k0, (uint32_t)b,
                               (uint32_t)(a >> 32) ^ c.x[3] ^ k1, (uint32_t)a } };
    return next;
}

KP_HD kp_philox_block kp_philox(uint64_t seed, uint32_t stream, uint64_t counter) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    kp_philox_block c = { { (uint32_t)counter, (uint32_t)(counter >> 32), stream, 0 } };
    for (int round = 0; round < KP_PHILOX_ROUNDS; round++) {
        c = kp_philox_round(c, k0, k1);
        k0 += KP_PHILOX_K0;
        k1 += KP_PHILOX_K1;
    }
    return c;
}

/* [0, 1), 24 bits: exact in float, never 1. */
KP_HD float kp_uniform(uint32_t x) { return (float)(x >> 8) * 0x1p-24f; }

/* [-bound, bound): what initialisers draw. */
KP_HD float kp_uniform_within(uint32_t x, float bound) { return (2.0f * kp_uniform(x) - 1.0f) * bound; }

/* 0 .. n - 1 from 64 random bits by multiplication; the bias is below n / 2^64. */
KP_HD uint64_t kp_below(uint32_t hi, uint32_t lo, uint64_t n) {
    return (uint64_t)(((unsigned __int128)((uint64_t)hi << 32 | lo) * n) >> 64);
}
