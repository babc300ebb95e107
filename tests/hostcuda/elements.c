/* elements.c: the CUDA kernels of the element operations, run on the CPU, leave the bits that the
 * CPU's own loops leave, in any order of threads and blocks. Bugs planted in them: plants.cmake. */
#include <criterion/criterion.h>
#include <string.h>

#include "hostcuda/hostcuda.h"
#include "hostcuda/launch_case.h"

static void every_row(unsigned order, unsigned active, int special) {
    char says[256];
    hostcuda_order(order);
    for (const kp_op_row *row = kp_element_rows; row->name; row++)
        cr_expect(!kp_launch_differs(row, active, special, says, sizeof says), "order %u: %s",
                  order, says);
}

Test(hostcuda_elements, equal_the_cpu) {
    for (unsigned order = 0; order < 3; order++) every_row(order, KP_LAUNCH_ALL, 0);
}

Test(hostcuda_elements, equal_the_cpu_on_special_values) {
    for (unsigned order = 0; order < 3; order++) every_row(order, KP_LAUNCH_ALL, 1);
}

Test(hostcuda_elements, state_of_inactive_members_is_untouched) {
    for (unsigned active = 0; active < KP_LAUNCH_ALL; active += 5) every_row(3, active, 0);
}

/* P lies in a dimension of the grid that goes to 65,535, or to 2^31 - 1; never to 0. */
Test(hostcuda_elements, impossible_launches_are_errors) {
    static const int other[] = { KP_OP_td_loss,       KP_OP_td_stats,        KP_OP_softmax_xent,
                                 KP_OP_squared_error, KP_OP_grad_norm_scale, KP_OP_optim_begin };
    for (const kp_op_row *row = kp_element_rows; row->name; row++) {
        kp_case c = kp_case_open(row, 1, 0);
        int too_many = 65536;
        for (size_t i = 0; i < KP_COUNT(other); i++)
            if (row->op == other[i]) too_many = 0;
        for (int k = 0; k < 2; k++) {
            kp_err err = { "" };
            *(int *)c.args = k ? too_many : 0;
            cr_expect_eq(kp_launcher_of(row->op)(c.args, &(kp_cuda){ 0 }, &err), KP_DEVICE, "%s",
                         row->name);
            cr_expect(strstr(err.text, kp_op_get(row->op)->name), "%s: %s", row->name, err.text);
        }
        kp_case_close(&c);
    }
}
