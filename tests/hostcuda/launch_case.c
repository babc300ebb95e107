/* launch_case.c: the launchers by operation, and the comparison. */
#include "hostcuda/launch_case.h"

#include <stdio.h>
#include <string.h>

#include "adam_clip/adam_clip.h"
#include "copy/copy.h"
#include "gather_stack/gather_stack.h"
#include "grad_norm/grad_norm.h"
#include "madam_clip/madam_clip.h"
#include "mlp/mlp.h"
#include "noise/noise.h"
#include "optim_begin/optim_begin.h"
#include "penalties/penalties.h"
#include "rmsprop_clip/rmsprop_clip.h"
#include "sgd_clip/sgd_clip.h"
#include "shift_clip/shift_clip.h"
#include "si/si.h"
#include "softmax_xent/softmax_xent.h"
#include "squared_error/squared_error.h"
#include "tally_sum/tally_sum.h"
#include "td_loss/td_loss.h"
#include "td_stats/td_stats.h"
#include "units/units.h"
#include "upgd/upgd.h"

kp_launcher *kp_launcher_of(int op) {
#define LAUNCHER(name) [KP_OP_##name] = kp_##name##_cuda
    static kp_launcher *const launchers[KP_N_OPS] = {
        LAUNCHER(adam_clip),        LAUNCHER(copy),         LAUNCHER(gather_stack),
        LAUNCHER(grad_norm_chunks), LAUNCHER(rmsprop_clip), LAUNCHER(grad_norm_scale),
        LAUNCHER(sgd_clip),         LAUNCHER(softmax_xent), LAUNCHER(squared_error),
        LAUNCHER(tally_sum),        LAUNCHER(td_loss),      LAUNCHER(td_stats),
        LAUNCHER(optim_begin),      LAUNCHER(madam_clip),   LAUNCHER(noise),
        LAUNCHER(penalties),        LAUNCHER(shift_clip),   LAUNCHER(si_path),
        LAUNCHER(si_consolidate),   LAUNCHER(upgd_utility), LAUNCHER(upgd_clip),
        LAUNCHER(cbp),              LAUNCHER(redo),
        LAUNCHER(mlp_gradient),     LAUNCHER(mlp_after),    LAUNCHER(mlp_stream),
    };
#undef LAUNCHER
    return launchers[op];
}

static void run_cpu(const kp_op *op, const kp_case *c) {
    for (int p = 0; p < c->P; p++) op->cpu(c->args, p, kp_all_slices(op, c->args), NULL);
}

/* Of the workspace of a small network what mlp.h describes: x and d of the layers. */
static int work_differs(int op, const kp_case *got, const kp_case *want, int p, char *says,
                        size_t size) {
    const kp_mlp_gradient_args *g = (const void *)got->args, *gw = (const void *)want->args;
    const kp_mlp_stream_args *s = (const void *)got->args, *sw = (const void *)want->args;
    if (op != KP_OP_mlp_gradient && op != KP_OP_mlp_stream) return 0;
    const kp_mlp_shape *shape = op == KP_OP_mlp_gradient ? &g->shape : &s->shape;
    const float *x = (op == KP_OP_mlp_gradient ? g->work : s->work) + p * kp_mlp_work(shape),
                *y = (op == KP_OP_mlp_gradient ? gw->work : sw->work) + p * kp_mlp_work(shape);
    for (int64_t i = 0; i < kp_mlp_x(shape, shape->n_layers); i++)
        if (memcmp(&x[i], &y[i], sizeof *x) && (x[i] == x[i] || y[i] == y[i]))
            return snprintf(says, size, "x or d, float %lld of member %d: %g, not %g", (long long)i,
                            p, (double)x[i], (double)y[i]);
    return 0;
}

int kp_launch_differs(const kp_op_row *row, unsigned active, int special, char *says, size_t size) {
    kp_case c[3]; /* run by the launcher, by the CPU, not at all */
    uint8_t bytes[KP_LAUNCH_P];
    kp_err err = { "" };
    char what[128] = "";
    for (int i = 0; i < 3; i++) {
        c[i] = kp_case_open(row, KP_LAUNCH_P, 0);
        if (special) kp_case_make_special(&c[i]);
    }
    run_cpu(kp_op_get(row->op), &c[1]);
    for (int p = 0; p < KP_LAUNCH_P; p++) bytes[p] = active >> p & 1;
    int differs = kp_launcher_of(row->op)(c[0].args, &(kp_cuda){ .active = bytes }, &err) != KP_OK;
    if (differs) snprintf(what, sizeof what, "%s", err.text);
    else differs = kp_case_overrun(&c[0], what, sizeof what);
    for (int p = 0; p < KP_LAUNCH_P && !differs; p++)
        differs = bytes[p] ? kp_case_differs(&c[0], p, &c[1], p, 1, ~0u, what, sizeof what) ||
                                 work_differs(row->op, &c[0], &c[1], p, what, sizeof what)
                           : kp_case_differs(&c[0], p, &c[2], p, 1, 1u << KP_IN | 1u << KP_IN_OUT,
                                             what, sizeof what);
    if (differs) snprintf(says, size, "%s: %s", row->name, what);
    for (int i = 0; i < 3; i++) kp_case_close(&c[i]);
    return differs;
}
