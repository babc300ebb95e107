/* adam_model.c: the GPUs, and the roofline.
 *
 * Multiprocessors, boost clocks and bandwidths are published ones, as listings repeat them, not read
 * off a device; of B200 they give 7.7 to 8 TB/s and 1,965 to 1,980 MHz. */
#include "adam_model.h"

#include <stddef.h>

/* Registers and instructions: nvcc 13.0; tests/hostcuda/cuda_static.py reads this table, compiles
 * the kernel and counts. */
const kp_adam_gpu kp_adam_gpus[] = {
    /* name, sm, multiprocessors, MHz, GB/s, registers, instructions */
    { "A100 80 GB SXM", 80, 108, 1410, 2039, 48, 249 },
    { "H100 SXM", 90, 132, 1980, 3350, 48, 262 },
    { "B200", 100, 148, 1965, 8000, 45, 260 },
    { 0 },
};

/* Of a multiprocessor from compute capability 8.0 on; registers are given out by 8 a thread. */
enum { REGISTERS = 65536, THREADS = 2048, SCHEDULERS = 4, LANES = 32, BLOCK = 256, ELEMENTS = 4 };

kp_adam_model kp_adam_model_of(const kp_adam_gpu *g) {
    int blocks = REGISTERS / ((g->registers + 7) / 8 * 8 * BLOCK);
    if (blocks > THREADS / BLOCK) blocks = THREADS / BLOCK;
    double per_element = (double)g->instructions / ELEMENTS,
           issued_per_s = 1e6 * g->boost_mhz * g->n_sm * SCHEDULERS * LANES;
    return (kp_adam_model){
        .occupancy = (double)blocks * BLOCK / THREADS,
        .per_element = per_element,
        .memory_s = KP_ADAM_BYTES / (1e9 * g->memory_gb_s),
        .issue_s = per_element / issued_per_s,
    };
}
