/* cudnn_case.h: contexts for devices that are not here. */
#pragma once
#include <criterion/criterion.h>
#include <stdlib.h>

#include "backend/cuda/cudnn_impl.h"
#include "scratch.h"

/* Lines that a context warned of. */
typedef struct {
    int n;
    char last[2048];
} cudnn_warnings;

__attribute__((unused)) static void cudnn_warn(void *to, const char *line) {
    cudnn_warnings *w = to;
    w->n++;
    snprintf(w->last, sizeof w->last, "%s", line);
}

/* Ends the test where the library is not installed. */
__attribute__((unused)) static kp_cudnn *cudnn_open(const char *device, const char *folder,
                                                    size_t workspace, cudnn_warnings *w) {
    kp_cudnn_api api;
    kp_err err = { "" };
    if (kp_cudnn_load(&api, &err)) cr_skip_test("%s", err.text);
    char path[256];
    snprintf(path, sizeof path, KP_TEST_DATA "/cuda/%s.json", device);
    char *json = scratch_text(path);
    kp_cudnn *cudnn = NULL;
    kp_cudnn_options o = { .device_json = json,
                           .folder = folder,
                           .workspace_limit = workspace,
                           .warn = w ? cudnn_warn : NULL,
                           .warn_to = w };
    cr_assert_eq(kp_cudnn_open(&cudnn, &o, &err), KP_OK, "%s", err.text);
    free(json);
    return cudnn;
}

static inline kp_conv_plan *cudnn_plan(kp_cudnn *cudnn, const kp_cudnn_conv *conv) {
    kp_conv_plan *plan = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_cudnn_plan(&plan, cudnn, conv, &err), KP_OK, "%s", err.text);
    return plan;
}

/* h x h x c, padded before and after on both axes; the output's border likewise. */
__attribute__((unused)) static kp_conv_shape cudnn_shape(int h, int c, int out, int kernel,
                                                         int stride, int before, int after,
                                                         int border_before, int border_after) {
    int n = (h + before + after - kernel) / stride + 1;
    return (kp_conv_shape){
        .in = { h, h, c, before, before, after, after },
        .out = { n, n, out, border_before, border_before, border_after, border_after },
        .kernel = kernel,
        .stride = stride,
        .pad_top = before,
        .pad_left = before,
    };
}

/* The second layer of the Atari nets without padding. */
__attribute__((unused)) static kp_cudnn_conv cudnn_conv2(kp_cudnn_kind kind) {
    return (kp_cudnn_conv){ .kind = kind,
                            .B = 32,
                            .shape = cudnn_shape(20, 32, 64, 4, 2, 0, 0, 0, 0),
                            .has_bias = 1,
                            .activation = KP_RELU };
}
