/* population_options.c: defaults, and what is wrong with options. */
#include "population_options.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/memory.h"
#include "nn/net.h"

void kp_member_options_init(kp_member_options *o) {
    *o = (kp_member_options){ .lr = 1e-3,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .grad_norm = INFINITY,
                              .kappa = INFINITY };
}

void kp_population_options_init(kp_population_options *o) {
    *o = (kp_population_options){
        .P = 1, .B = 32, .activation = KP_RELU, .clip_bias = 1, .clip_output = 1, .device = "auto"
    };
}

/* low <= value < below. So that padding stays 0: Adam divides by eps where the gradient has always
 * been 0, and multiplies by lr / (1 - beta1), which must be finite. */
static const struct {
    const char *name;
    size_t at;
    double low, below;
    const char *range;
} ranges[] = {
    { "lr", offsetof(kp_member_options, lr), 0, 1e30, "0 or more and below 1e30" },
    { "beta1", offsetof(kp_member_options, beta1), 0, 1, "0 or more and below 1" },
    { "beta2", offsetof(kp_member_options, beta2), 0, 1, "0 or more and below 1" },
    { "eps", offsetof(kp_member_options, eps), 1e-37, INFINITY, "finite, 1e-37 or more" },
    { "momentum", offsetof(kp_member_options, momentum), 0, 1, "0 or more and below 1" },
    { "weight_decay", offsetof(kp_member_options, weight_decay), 0, INFINITY, "finite, 0 or more" },
};

kp_status kp_member_options_check(const kp_member_options *m, int p, kp_err *err) {
    for (size_t i = 0; i < KP_COUNT(ranges); i++) {
        double value;
        memcpy(&value, (const char *)m + ranges[i].at, sizeof value);
        if (!(value >= ranges[i].low && value < ranges[i].below))
            return kp_fail(err, KP_BAD_CONFIG, "member %d: %s is %g, must be %s", p, ranges[i].name,
                           value, ranges[i].range);
    }
    if (!(m->grad_norm > 0))
        return kp_fail(err, KP_BAD_CONFIG,
                       "member %d: grad_norm is %g, must be above 0; INFINITY is no limit", p,
                       m->grad_norm);
    if (!(m->kappa > 0))
        return kp_fail(err, KP_BAD_CONFIG,
                       "member %d: kappa is %g, must be above 0; INFINITY turns clipping off", p,
                       m->kappa);
    return KP_OK;
}

static kp_status check_shape(const kp_population_options *o, kp_err *err) {
    const struct {
        const char *name;
        int value;
    } counts[] = {
        { "P", o->P }, { "B", o->B }, { "n_inputs", o->n_inputs }, { "n_layers", o->n_layers }
    };
    for (size_t i = 0; i < KP_COUNT(counts); i++)
        if (counts[i].value < 1)
            return kp_fail(err, KP_BAD_CONFIG, "population: %s is %d, must be 1 or more",
                           counts[i].name, counts[i].value);
    if (o->n_layers > KP_MAX_LAYERS)
        return kp_fail(err, KP_BAD_CONFIG, "population: n_layers is %d, %d are possible",
                       o->n_layers, KP_MAX_LAYERS);
    const struct {
        const char *name;
        const void *at;
    } pointers[] = { { "width", o->width }, { "member", o->member }, { "device", o->device } };
    for (size_t i = 0; i < KP_COUNT(pointers); i++)
        if (!pointers[i].at)
            return kp_fail(err, KP_BAD_CONFIG, "population: %s is NULL", pointers[i].name);
    for (int i = 0; i < o->n_layers; i++)
        if (o->width[i] < 1)
            return kp_fail(err, KP_BAD_CONFIG, "population: width[%d] is %d, must be 1 or more", i,
                           o->width[i]);
    return KP_OK;
}

static kp_status check_choices(const kp_population_options *o, kp_err *err) {
    if (o->rule > KP_RULE_RMSPROP && o->rule < KP_N_RULES)
        return kp_fail(err, KP_BAD_CONFIG,
                       "population: rule is %d (madam, upgd or adaupgd), whose hyperparameters "
                       "kp_member_options does not have; kappa train has them",
                       (int)o->rule);
    const struct {
        const char *name;
        int value, n;
    } choices[] = {
        { "activation", (int)o->activation, KP_RELU + 1 },
        { "init", (int)o->init, KP_INIT_XAVIER + 1 },
        { "loss", (int)o->loss, KP_SQUARED_ERROR + 1 },
        { "rule", (int)o->rule, KP_N_RULES },
    };
    for (size_t i = 0; i < KP_COUNT(choices); i++)
        if (choices[i].value < 0 || choices[i].value >= choices[i].n)
            return kp_fail(err, KP_BAD_CONFIG,
                           "population: %s is %d, which is none of kappa/choices.h",
                           choices[i].name, choices[i].value);
    return KP_OK;
}

/* What is sure to be needed: weights, gradient and two moments; input, activations, their
 * gradients. Asked before the net is laid out, so that a width with a digit too many is told, not
 * tried. */
static kp_status check_memory(const kp_population_options *o, kp_err *err) {
    double in = o->n_inputs, weights = 0, sample = in;
    for (int i = 0; i < o->n_layers; in = o->width[i++]) {
        weights += (in + 1) * o->width[i];
        sample += 2.0 * o->width[i];
    }
    double bytes = o->P * (4 * weights + o->B * sample) * sizeof(float);
    double available = (double)kp_memory_available();
    if (bytes <= available) return KP_OK;
    return kp_fail(
        err, KP_BAD_CONFIG,
        "population: needs %.1f GB of memory, %.1f GB are available; lower P, B or a width",
        bytes * 1e-9, available * 1e-9);
}

kp_status kp_population_options_check(const kp_population_options *o, kp_err *err) {
    kp_status st = check_shape(o, err);
    if (!st) st = check_choices(o, err);
    for (int p = 0; !st && p < o->P; p++) st = kp_member_options_check(&o->member[p], p, err);
    if (!st) st = check_memory(o, err);
    return st;
}
