/* ops.h: the table of operations. A new one is one line here and a folder beside. */
#pragma once
#include "kp_kernel.h"

#define KP_OPERATIONS(X)                                                                          \
    X(tally_sum)                                                                                  \
    X(copy)                                                                                       \
    X(gather_stack)                                                                               \
    X(td_loss)                                                                                    \
    X(td_stats)                                                                                   \
    X(softmax_xent)                                                                               \
    X(squared_error)                                                                              \
    X(conv_forward)                                                                               \
    X(conv_backward_data)                                                                         \
    X(conv_backward_weights)                                                                      \
    X(dense_forward)                                                                              \
    X(dense_backward_data)                                                                        \
    X(dense_backward_weights)                                                                     \
    X(grad_norm_chunks)                                                                           \
    X(grad_norm_scale)                                                                            \
    X(mlp_gradient)                                                                               \
    X(mlp_after)                                                                                  \
    X(mlp_stream)                                                                                 \
    X(cbp)                                                                                        \
    X(redo)                                                                                       \
    X(adam_clip)                                                                                  \
    X(sgd_clip)                                                                                   \
    X(rmsprop_clip)                                                                               \
    X(optim_begin)                                                                                \
    X(noise)                                                                                      \
    X(penalties)                                                                                  \
    X(madam_clip)                                                                                 \
    X(upgd_utility)                                                                               \
    X(upgd_clip)                                                                                  \
    X(shift_clip)                                                                                 \
    X(si_path)                                                                                    \
    X(si_consolidate)

enum {
#define KP_OP_ID(name) KP_OP_##name,
    KP_OPERATIONS(KP_OP_ID)
#undef KP_OP_ID
        KP_N_OPS
};

/* The operation `id` (KP_OP_adam_clip, ...) for the widest vectors this processor has. */
const kp_op *kp_op_get(int id);

/* The same for one width, for tests and benchmarks; level as in backend/cpu/cpu_features.h. */
const kp_op *kp_op_get_isa(int id, int level);
