/* mlp.h: the network of a streaming learner: from widths to a layout and a shape for kernels/mlp.
 *
 * Tensors are called layer1.weight, layer1.bias and, with layer norm, layer1.norm.weight and
 * layer1.norm.bias (the norm stands between the linear map and its activation; Ba et al. 2016, epsilon
 * 1e-5); then layer2... Memory holds weights input-major, rows padded to 16 floats; files see PyTorch's order. */
#pragma once
#include "kappa/choices.h"
#include "layout.h"
#include "mlp/mlp.h"

typedef struct {
    int n_inputs, n_outputs;
    int n_hidden_layers;
    int width[KP_MLP_LAYERS - 1]; /* [n_hidden_layers] units */
    kp_mlp_activation activation;
    int layer_norm;
    kp_init init;
} kp_mlp_spec;

/* layout is the caller's to release, and all zeros on failure. KP_BAD_CONFIG where a size is out of range. */
kp_status kp_mlp_plan(kp_layout *layout, kp_mlp_shape *shape, const kp_mlp_spec *spec, kp_err *err);
