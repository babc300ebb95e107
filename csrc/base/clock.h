/* clock.h: the time that only ever grows. */
#pragma once
#include <time.h>

/* Seconds since some moment in the past, the same for all threads of the machine. */
static inline double kp_now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of CPU that all threads of this process have had. */
static inline double kp_cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
