/* choices.h: the named choices that options are made of. */
#pragma once

typedef enum { KP_LINEAR, KP_RELU } kp_activation;

/* What matrix products and convolutions round their factors to; sums are float32 in each. All else is float32
 * always. */
typedef enum {
    KP_PRECISION_FP32, /* not at all */
    KP_PRECISION_TF32, /* 10 bits of fraction, the exponent of a float32 */
    KP_PRECISION_BF16, /* 7 bits of fraction, the exponent of a float32 */
    KP_N_PRECISIONS
} kp_precision;

typedef enum {
    KP_INIT_FAN_IN, /* U(+-1/sqrt(fan_in)), weights and biases: PyTorch's default */
    KP_INIT_XAVIER  /* U(+-sqrt(6/(fan_in+fan_out))), biases 0 (Glorot & Bengio 2010) */
} kp_init;

typedef enum {
    KP_RULE_ADAM,
    KP_RULE_ADAMW,
    KP_RULE_SGD,
    KP_RULE_RMSPROP,
    KP_RULE_MADAM, /* this one and those below: not through population.h */
    KP_RULE_UPGD,
    KP_RULE_ADAUPGD,
    KP_N_RULES
} kp_rule;

typedef enum {
    KP_CROSS_ENTROPY, /* of a softmax over the outputs, nats, mean over B */
    KP_SQUARED_ERROR  /* mean over B and outputs */
} kp_objective;
