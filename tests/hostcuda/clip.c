/* clip.c: the fused updates' CUDA kernels, run on the CPU, leave the bits that the CPU's own loops
 * leave, in any order of threads and blocks. Bugs planted in them: plants.cmake. */
#include <criterion/criterion.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "hostcuda/clip_case.h"
#include "hostcuda/hostcuda.h"

enum { N_ORDERS = 5 };

Test(hostcuda_clip, equals_the_cpu_in_every_order) {
    char says[256];
    for (unsigned order = 0; order < N_ORDERS; order++) {
        hostcuda_order(order);
        for (int i = 0; i < N_CLIP_CASES; i++)
            cr_expect(!clip_case_differs(&clip_cases[i], says, sizeof says), "order %u: %s", order,
                      says);
    }
}

Test(hostcuda_clip, more_members_than_a_grid_has_rows_is_an_error) {
    kp_err err = { "" };
    kp_adam_clip_args a = { .P = 65536, .n_chunks = 1 };
    cr_expect_eq(kp_adam_clip_cuda(&a, &(kp_cuda){ 0 }, &err), KP_DEVICE);
    cr_expect(strstr(err.text, "adam_clip"), "%s", err.text);
}
