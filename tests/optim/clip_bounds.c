/* clip_bounds.c: every option of optim.clip. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "optim/clip_bounds.h"

/* fan_in 64, 64, -, 256; the initialiser's bounds differ. Scales are exact in binary. */
static kp_tensor tensors[] = {
    { .name = "conv1.weight", .role = KP_WEIGHT, .scale_fan_in = 0.125f, .scale_init = 0.25f },
    { .name = "conv1.bias", .role = KP_BIAS, .scale_fan_in = 0.125f, .scale_init = 0.25f },
    { .name = "norm1.weight", .role = KP_NORM, .scale_fan_in = 0.125f, .scale_init = 0.25f },
    { .name = "fc1.weight", .role = KP_WEIGHT, .scale_fan_in = 0.0625f, .scale_init = 0.5f },
    { .name = "fc1.sigma", .role = KP_NOISY_SIGMA, .scale_fan_in = 0.0625f, .scale_init = 0.5f },
    { .name = "fc10.weight",
      .role = KP_WEIGHT,
      .last_layer = 1,
      .scale_fan_in = 0.03125f,
      .scale_init = 1 },
    { .name = "fc10.bias",
      .role = KP_BIAS,
      .last_layer = 1,
      .scale_fan_in = 0.03125f,
      .scale_init = 1 },
    { .name = "log_std", .role = KP_LOG_STD, .scale_fan_in = 0.03125f, .scale_init = 1 },
};
enum { T = KP_COUNT(tensors) };
static kp_layout layout = { .n_tensors = T, .tensor = tensors };

#define DEFAULTS .bias = 1, .norm = 1, .log_std = 1, .last_layer = 1
#define I        INFINITY

static const struct {
    const char *name;
    kp_clip_options o;
    float want[T];
} cases[] = {
    { "kappa times 1/sqrt(fan_in); noisy sigmas are free",
      { .kappa = 2, DEFAULTS },
      { 0.25f, 0.25f, 0.25f, 0.125f, I, 0.0625f, 0.0625f, 0.0625f } },
    { "init_bound",
      { .kappa = 2, .scale_init_bound = 1, DEFAULTS },
      { 0.5f, 0.5f, 0.5f, 1, I, 2, 2, 2 } },
    { "an infinite kappa clips nothing", { .kappa = I, DEFAULTS }, { I, I, I, I, I, I, I, I } },
    { "biases left out",
      { .kappa = 1, .norm = 1, .log_std = 1, .last_layer = 1 },
      { 0.125f, I, 0.125f, 0.0625f, I, 0.03125f, I, 0.03125f } },
    { "norms left out",
      { .kappa = 1, .bias = 1, .log_std = 1, .last_layer = 1 },
      { 0.125f, 0.125f, I, 0.0625f, I, 0.03125f, 0.03125f, 0.03125f } },
    { "log-std left out",
      { .kappa = 1, .bias = 1, .norm = 1, .last_layer = 1 },
      { 0.125f, 0.125f, 0.125f, 0.0625f, I, 0.03125f, 0.03125f, I } },
    { "noisy sigmas clipped",
      { .kappa = 1, .noisy_sigma = 1, DEFAULTS },
      { 0.125f, 0.125f, 0.125f, 0.0625f, 0.0625f, 0.03125f, 0.03125f, 0.03125f } },
    { "the last layer left out, its bias too",
      { .kappa = 1, .bias = 1, .norm = 1, .log_std = 1 },
      { 0.125f, 0.125f, 0.125f, 0.0625f, I, I, I, 0.03125f } },
    { "hidden and output",
      { .kappa = I, DEFAULTS, .n_named = 2, .named = { { "hidden", 4 }, { "output", 2 } } },
      { 0.5f, 0.5f, 0.5f, 0.25f, I, 0.0625f, 0.0625f, 0.125f } },
    { "a layer by name, not those whose names begin like it",
      { .kappa = 1, DEFAULTS, .noisy_sigma = 1, .n_named = 1, .named = { { "fc1", 8 } } },
      { 0.125f, 0.125f, 0.125f, 0.5f, 0.5f, 0.03125f, 0.03125f, 0.03125f } },
    { "tensor beats layer beats hidden, in any order",
      { .kappa = 1,
        DEFAULTS,
        .n_named = 3,
        .named = { { "conv1.bias", 8 }, { "conv1", 4 }, { "hidden", 2 } } },
      { 0.5f, 1, 0.25f, 0.125f, I, 0.03125f, 0.03125f, 0.0625f } },
    { "the same from the least exact on",
      { .kappa = 1,
        DEFAULTS,
        .n_named = 3,
        .named = { { "hidden", 2 }, { "conv1", 4 }, { "conv1.bias", 8 } } },
      { 0.5f, 1, 0.25f, 0.125f, I, 0.03125f, 0.03125f, 0.0625f } },
    { "a named bias is still left out where biases are",
      { .kappa = 1,
        .norm = 1,
        .log_std = 1,
        .last_layer = 1,
        .n_named = 1,
        .named = { { "conv1.bias", 8 } } },
      { 0.125f, I, 0.125f, 0.0625f, I, 0.03125f, I, 0.03125f } },
};

Test(clip_bounds, options) {
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        float bound[T];
        kp_err err = { "" };
        cr_assert_eq(kp_clip_bounds(&layout, &cases[i].o, bound, &err), KP_OK, "%s: %s",
                     cases[i].name, err.text);
        for (int t = 0; t < T; t++)
            cr_expect_eq(bound[t], cases[i].want[t], "%s: %s: %g, not %g", cases[i].name,
                         tensors[t].name, (double)bound[t], (double)cases[i].want[t]);
    }
}

static const struct {
    const char *name;
    kp_clip_options o;
    const char *says[2];
} mistakes[] = {
    { "no such tensor",
      { .kappa = 1, .n_named = 1, .named = { { "conv9", 1 } } },
      { "'conv9'", "fc10.bias" } },
    { "part of a name",
      { .kappa = 1, .n_named = 1, .named = { { "conv", 1 } } },
      { "'conv'", "hidden" } },
    { "kappa 0", { .kappa = 0, DEFAULTS }, { "optim.clip.kappa: 0", "above 0" } },
    { "kappa below 0, named",
      { .kappa = 1, .n_named = 1, .named = { { "fc1", -2 } } },
      { "-2 for fc1", "above 0" } },
    { "kappa NaN", { .kappa = NAN, DEFAULTS }, { "nan", "above 0" } },
};

Test(clip_bounds, mistakes) {
    for (size_t i = 0; i < KP_COUNT(mistakes); i++) {
        float bound[T];
        kp_err err = { "" };
        cr_expect_eq(kp_clip_bounds(&layout, &mistakes[i].o, bound, &err), KP_BAD_CONFIG, "%s",
                     mistakes[i].name);
        for (int k = 0; k < 2; k++)
            cr_expect(strstr(err.text, mistakes[i].says[k]), "%s: \"%s\" does not say \"%s\"",
                      mistakes[i].name, err.text, mistakes[i].says[k]);
    }
}
