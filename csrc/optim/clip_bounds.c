/* clip_bounds.c: see clip_bounds.h. */
#include "clip_bounds.h"

#include <stdio.h>
#include <string.h>

/* 0: does not match; the larger, the more exact. */
static int match(const char *name, const kp_tensor *t) {
    size_t n = strlen(name);
    if (!strcmp(name, t->name)) return 3;
    if (!strncmp(name, t->name, n) && t->name[n] == '.') return 2;
    if (!strcmp(name, t->last_layer ? "output" : "hidden")) return 1;
    return 0;
}

static int is_clipped(const kp_tensor *t, const kp_clip_options *o) {
    if (t->last_layer && !o->last_layer) return 0;
    switch (t->role) {
    case KP_WEIGHT: return 1;
    case KP_BIAS: return o->bias;
    case KP_NORM: return o->norm;
    case KP_LOG_STD: return o->log_std;
    case KP_NOISY_SIGMA: return o->noisy_sigma;
    }
    return 1;
}

static kp_status check_names(const kp_layout *l, const kp_clip_options *o, kp_err *err) {
    for (int k = 0; k < o->n_named; k++) {
        int found = 0;
        for (int i = 0; i < l->n_tensors; i++) found |= match(o->named[k].name, &l->tensor[i]);
        if (found) continue;
        char names[256] = "";
        for (int i = 0; i < l->n_tensors; i++) {
            size_t n = strlen(names);
            snprintf(names + n, sizeof names - n, ", %s", l->tensor[i].name);
        }
        return kp_fail(err, KP_BAD_CONFIG,
                       "optim.clip.kappa: no tensor is called '%s'; there are hidden, output%s",
                       o->named[k].name, names);
    }
    return KP_OK;
}

kp_status kp_clip_bounds(const kp_layout *l, const kp_clip_options *o, float *bound, kp_err *err) {
    kp_status st = check_names(l, o, err);
    if (st) return st;
    for (int i = 0; i < l->n_tensors; i++) {
        const kp_tensor *t = &l->tensor[i];
        double kappa = o->kappa;
        int best = 0;
        for (int k = 0; k < o->n_named; k++)
            if (match(o->named[k].name, t) > best) {
                best = match(o->named[k].name, t);
                kappa = o->named[k].kappa;
            }
        if (!(kappa > 0))
            return kp_fail(err, KP_BAD_CONFIG,
                           "optim.clip.kappa: %g for %s, must be above 0; none turns clipping off",
                           kappa, t->name);
        bound[i] = is_clipped(t, o)
                       ? (float)(kappa * (o->scale_init_bound ? t->scale_init : t->scale_fan_in))
                       : INFINITY;
    }
    return KP_OK;
}
