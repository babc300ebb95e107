/* adam_model.h: what the fused Adam + clip should reach on a GPU: a roofline from the compiled kernel
 * and published figures. It needs no device and has been held against none. */
#pragma once

enum { KP_ADAM_BYTES = 28 }; /* a parameter: theta, m, v read and written, the gradient read */

typedef struct {
    const char *gpu;
    int sm;            /* compute capability: 80 */
    int n_sm;          /* multiprocessors */
    int boost_mhz;
    double memory_gb_s; /* published */
    int registers;     /* a thread, as ptxas says; the test cuda_static keeps these two true */
    int instructions;  /* a warp issues on the fast path, for four elements a lane */
} kp_adam_gpu;

typedef struct {
    double occupancy;       /* warps that the registers leave room for, of those there may be */
    double per_element;     /* instructions, all of a thread's divided by its four elements */
    double memory_s, issue_s; /* a parameter: to move its bytes, to issue its instructions */
} kp_adam_model;

extern const kp_adam_gpu kp_adam_gpus[]; /* ends with a row without a name */

kp_adam_model kp_adam_model_of(const kp_adam_gpu *gpu);
