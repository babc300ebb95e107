/* units_cpu.h: one unit that begins again, on the CPU. */
#pragma once
#include "units/units.h"

/* Its member's n-th. */
KP_HD void kp_units_replace(const kp_units_net *u, kp_units_method method, int member, int l, int o,
                            int64_t n) {
    const kp_mlp_shape *s = &u->shape;
    for (int j = 0; j < s->in[l]; j++) kp_units_draw(u, method, member, l, o, n, j);
    kp_units_put_own(u, member, l, o);
    for (int k = 0; k < s->out[l + 1]; k++) kp_units_zero_out(u, member, l, o, k);
}
