/* cudnn_fake.h: cuDNN without a GPU and without its library, below csrc/backend/cuda/cudnn_*.c: plans
 * of three engines and of one with tensor cores, which nobody may run unasked; they do what is planned on the
 * runtime's streams (conv_fake.h).
 *
 * Only what Kappa plans is understood: a convolution, or a forward one and its bias. What the real one
 * would leave undefined ends the process, exit 97, with a line on stderr: anything in a capture but
 * running, memory that is not the device's or not aligned as planned, a plan of the wrong engine. */
#pragma once

enum { CUDNN_FAKE_ENGINES = 3, CUDNN_FAKE_TENSOR_CORES = CUDNN_FAKE_ENGINES, CUDNN_FAKE_ALL };

typedef struct {
    int is_missing;
    int may_use_tensor_cores;
    float ms[CUDNN_FAKE_ALL]; /* of a run, besides the 1 ms of every kernel */
    enum { CUDNN_FAKE_WORKS, CUDNN_FAKE_NEVER, CUDNN_FAKE_NOT_IN_CAPTURES } how[CUDNN_FAKE_ALL];
} cudnn_fake_machine;
extern cudnn_fake_machine cudnn_fake_has; /* it is missing unless this is set */

typedef struct {
    int searches, plans;
    int executed[CUDNN_FAKE_ALL], captured[CUDNN_FAKE_ALL];
} cudnn_fake_counts;
extern cudnn_fake_counts cudnn_fake_did;
