/* units.c: the CUDA kernels of what replaces hidden units, run on the CPU, leave the bits that the
 * CPU's own loops leave, in any order of threads and blocks, and go on to. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/philox.h"
#include "hostcuda/hostcuda.h"
#include "hostcuda/launch_case.h"
#include "units/units.h"

enum { P = KP_LAUNCH_P, SAMPLES = 6 };

static void every_row(unsigned order, unsigned active, int special) {
    char says[256];
    hostcuda_order(order);
    for (const kp_op_row *row = kp_units_rows; row->name; row++)
        cr_expect(!kp_launch_differs(row, active, special, says, sizeof says), "order %u: %s",
                  order, says);
}

Test(hostcuda_units, equal_the_cpu) {
    for (unsigned order = 0; order < 3; order++) every_row(order, KP_LAUNCH_ALL, 0);
}

Test(hostcuda_units, equal_the_cpu_on_special_values) { every_row(3, KP_LAUNCH_ALL, 1); }

Test(hostcuda_units, state_of_inactive_members_is_untouched) {
    for (unsigned active = 0; active < KP_LAUNCH_ALL; active += 5) every_row(3, active, 0);
}

/* What the net gave on sample t, about half of it 0. */
static void see(const kp_case *c, int op, int t) {
    const kp_cbp_args *cbp = (const void *)c->args;
    const kp_redo_args *redo = (const void *)c->args;
    const kp_mlp_shape *s = op == KP_OP_cbp ? &cbp->net.shape : &redo->net.shape;
    float *work = (float *)(op == KP_OP_cbp ? cbp->work : redo->work);
    for (int64_t i = 0; i < P * kp_mlp_work(s); i++) {
        uint32_t bits = kp_philox((uint64_t)t, KP_STREAM_TEST, (uint64_t)i).x[0];
        work[i] = bits & 1 ? kp_uniform(bits) : 0;
    }
}

Test(hostcuda_units, equal_the_cpu_over_many_samples) {
    const uint8_t active[P] = { 1, 1, 1 };
    for (const kp_op_row *row = kp_units_rows; row->name; row++) {
        kp_case c[2] = { kp_case_open(row, P, 0), kp_case_open(row, P, 0) };
        char says[256];
        hostcuda_order(7);
        for (int t = 0; t < SAMPLES; t++) {
            kp_err err = { "" };
            for (int i = 0; i < 2; i++) see(&c[i], row->op, t);
            for (int p = 0; p < P; p++)
                kp_op_get(row->op)->cpu(c[0].args, p, (kp_slices){ 0, 1 }, NULL);
            cr_assert_eq(kp_launcher_of(row->op)(c[1].args, &(kp_cuda){ .active = active }, &err),
                         KP_OK, "%s", err.text);
        }
        cr_expect(!kp_case_differs(&c[1], 0, &c[0], 0, P, ~0u, says, sizeof says), "%s: %s",
                  row->name, says);
        for (int i = 0; i < 2; i++) kp_case_close(&c[i]);
    }
}
