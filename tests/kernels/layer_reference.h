/* layer_reference.h: convolution and dense layers as their headers define them, one loop an index.
 * Each takes the operation's arguments and does all members. */
#pragma once
#include "conv/conv.h"
#include "dense/dense.h"

void kp_reference_conv_forward(const void *args);
void kp_reference_conv_backward_data(const void *args);
void kp_reference_conv_backward_weights(const void *args);
void kp_reference_dense_forward(const void *args);
void kp_reference_dense_backward_data(const void *args);
void kp_reference_dense_backward_weights(const void *args);
